//! Conditions of a route beside host and path.

use crate::message::Fields;
use http::Method;
use http::header::{HeaderName, HeaderValue};
use std::fmt;

/// What a request has to say for a route; all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct When {
    /// The method; any if absent.
    pub method: Option<Method>,
    /// Fields that have to be there with these values.
    pub fields: Box<[(HeaderName, HeaderValue)]>,
    /// Query parameters that have to be there with these values, compared as they come.
    pub query: Box<[(Box<str>, Box<str>)]>,
}

/// What a request says that conditions are about.
#[derive(Clone, Copy, Debug)]
pub struct Says<'r> {
    pub method: &'r Method,
    /// The fields; absent where nothing is known of them.
    pub fields: Option<&'r Fields>,
    pub query: Option<&'r str>,
}

impl Default for Says<'_> {
    fn default() -> Self {
        Self {
            method: &Method::GET,
            fields: None,
            query: None,
        }
    }
}

impl When {
    /// Whether a request fulfils all of it. Of a field with several lines one has to fit, and of a query parameter the
    /// first.
    pub fn holds(&self, says: &Says<'_>) -> bool {
        let has_field = |(name, value): &(HeaderName, HeaderValue)| {
            says.fields
                .is_some_and(|fields| fields.get_all(name).any(|line| line.as_bytes() == value.as_bytes()))
        };
        self.method.as_ref().is_none_or(|method| method == says.method)
            && self.fields.iter().all(has_field)
            && self
                .query
                .iter()
                .all(|(name, value)| parameter(says.query, name) == Some(value))
    }

    /// For the order of precedence: whether there is a method, how many fields, how many query parameters.
    pub fn count(&self) -> (bool, usize, usize) {
        (self.method.is_some(), self.fields.len(), self.query.len())
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "method={}", self.method.as_ref().map_or("*", Method::as_str))?;
        for (name, value) in &self.fields {
            write!(f, " field={name}:{value:?}")?;
        }
        for (name, value) in &self.query {
            write!(f, " query={name}={value}")?;
        }
        Ok(())
    }
}

/// The first value of a query parameter.
fn parameter<'q>(query: Option<&'q str>, name: &str) -> Option<&'q str> {
    let pairs = query?.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.filter(|(other, _)| *other == name).map(|(_, value)| value).next()
}
