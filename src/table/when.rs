//! Conditions of a route beside host and path.

use super::patterns::PathRegex;
use crate::message::Fields;
use http::Method;
use http::header::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use std::borrow::Cow;
use std::fmt;

/// What a request has to say for a route; all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct When {
    /// The method; any if absent.
    pub method: Option<Method>,
    /// Fields that have to be there with these values.
    pub fields: Box<[(HeaderName, HeaderValue)]>,
    /// Query parameters that have to be there with these values.
    pub query: Box<[(Box<str>, Box<str>)]>,
    /// Fields and query parameters that have to fit expressions.
    pub expressions: Option<Box<Expressions>>,
}

/// Conditions whose texts are regular expressions, over the whole value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expressions {
    pub fields: Box<[(HeaderName, PathRegex)]>,
    pub query: Box<[(Box<str>, PathRegex)]>,
}

/// How a request comes to narthex.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// In plain.
    #[default]
    Http,
    /// Over TLS that ends here.
    Https,
    /// In plain, from a trusted proxy whose client speaks HTTPS.
    HttpsToProxy,
}

/// What a request says that conditions are about.
#[derive(Clone, Copy, Debug)]
pub struct Says<'r> {
    pub scheme: Scheme,
    pub method: &'r Method,
    /// The fields; absent where nothing is known of them.
    pub fields: Option<&'r Fields>,
    pub query: Option<&'r str>,
}

impl Default for Says<'_> {
    fn default() -> Self {
        Self {
            scheme: Scheme::Http,
            method: &Method::GET,
            fields: None,
            query: None,
        }
    }
}

impl When {
    /// Whether a request fulfils all of it. A field with several lines has the value that they are together, with commas
    /// between, and of a query parameter the first counts.
    pub fn holds(&self, says: &Says<'_>) -> bool {
        let has_field = |(name, value): &(HeaderName, HeaderValue)| {
            field(says, name).is_some_and(|text| *text == *value.as_bytes())
        };
        let has_parameter = |(name, value): &(Box<str>, Box<str>)| {
            parameter(says.query, name).is_some_and(|text| *text == *value.as_bytes())
        };
        self.method.as_ref().is_none_or(|method| method == says.method)
            && self.fields.iter().all(has_field)
            && self.query.iter().all(has_parameter)
            && self
                .expressions
                .as_ref()
                .is_none_or(|expressions| expressions.hold(says))
    }

    /// For the order of precedence: whether there is a method, how many fields, how many query parameters.
    pub fn count(&self) -> (bool, usize, usize) {
        let more = self.expressions.as_ref();
        let more = more.map_or((0, 0), |more| (more.fields.len(), more.query.len()));
        (
            self.method.is_some(),
            self.fields.len() + more.0,
            self.query.len() + more.1,
        )
    }
}

impl Expressions {
    fn hold(&self, says: &Says<'_>) -> bool {
        let field_fits =
            |(name, regex): &(HeaderName, PathRegex)| field(says, name).is_some_and(|text| regex.fits(&text));
        let parameter_fits =
            |(name, regex): &(Box<str>, PathRegex)| parameter(says.query, name).is_some_and(|text| regex.fits(&text));
        self.fields.iter().all(field_fits) && self.query.iter().all(parameter_fits)
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
        let Some(more) = &self.expressions else {
            return Ok(());
        };
        for (name, regex) in &more.fields {
            write!(f, " field={name}~{}", regex.text())?;
        }
        for (name, regex) in &more.query {
            write!(f, " query={name}~{}", regex.text())?;
        }
        Ok(())
    }
}

/// The value of a field.
fn field<'r>(says: &Says<'r>, name: &'r HeaderName) -> Option<Cow<'r, [u8]>> {
    let mut lines = says.fields?.get_all(name);
    let first = lines.next()?.as_bytes();
    let Some(second) = lines.next() else {
        return Some(Cow::Borrowed(first));
    };
    let mut text = first.to_vec();
    for line in std::iter::once(second).chain(lines) {
        text.push(b',');
        text.extend_from_slice(line.as_bytes());
    }
    Some(Cow::Owned(text))
}

/// The first value of a query parameter, with its escapes decoded.
fn parameter<'q>(query: Option<&'q str>, name: &str) -> Option<Cow<'q, [u8]>> {
    let pairs = query?.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let mut values = pairs.filter(|(other, _)| *decoded(other) == *name.as_bytes());
    values.next().map(|(_, value)| decoded(value))
}

/// A part of a query without its escapes, as forms write them (WHATWG URL, "application/x-www-form-urlencoded parsing"). What is not
/// an escape stays as it is.
fn decoded(text: &str) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'%', b'+', text.as_bytes()).is_none() {
        return Cow::Borrowed(text.as_bytes());
    }
    Cow::Owned(percent_decode_str(&text.replace('+', " ")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_compared_without_its_escapes() {
        for (query, wanted) in [
            ("a=1&animal=blue%20whale", Some(&b"blue whale"[..])),
            ("an%69mal=blue+whale&animal=x", Some(b"blue whale")),
            ("animal", Some(b"")),
            ("animal=100%", Some(b"100%")),
            ("animal=%zz%4", Some(b"%zz%4")),
            ("Animal=x", None),
        ] {
            assert_eq!(parameter(Some(query), "animal").as_deref(), wanted, "{query}");
        }
    }

    #[test]
    fn lines_of_one_field_are_one_value() {
        let mut fields = Fields::new();
        fields.append("x-color", "blue");
        fields.append("x-color", "green");
        let name = HeaderName::from_static("x-color");
        let says = Says {
            fields: Some(&fields),
            ..Says::default()
        };
        let when = |value| When {
            fields: Box::new([(name.clone(), HeaderValue::from_static(value))]),
            ..When::default()
        };
        assert!(when("blue,green").holds(&says));
        assert!(!when("blue").holds(&says));
        let expression = |text| When {
            expressions: Some(Box::new(Expressions {
                fields: Box::new([(name.clone(), PathRegex::whole(text).unwrap())]),
                query: Box::default(),
            })),
            ..When::default()
        };
        assert!(expression("blue.*").holds(&says));
        assert!(!expression("blue").holds(&says));
        assert_eq!(expression("blue").count(), (false, 1, 0));
    }
}
