//! Redirects as Gateway API has them: parts of the URL change, and all others stay.

use super::template::Known;
use crate::table::route::PathPattern;
use http::StatusCode;

/// Where a request is sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SendTo {
    pub status: StatusCode,
    /// Absent to keep the request's scheme.
    pub scheme: Option<Box<str>>,
    /// Absent to keep the request's host.
    pub host: Option<Box<str>>,
    /// The port; absent for the usual one of the scheme.
    pub port: Option<u16>,
    pub path: NewPath,
}

/// What becomes of the path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NewPath {
    /// It stays.
    Same,
    /// It becomes this.
    Whole(Box<str>),
    /// This takes the place of the prefix that the route is for.
    Prefix(Box<str>),
}

impl SendTo {
    /// `Location` for a request of a route that is for these paths.
    pub fn location(&self, known: &Known<'_>, pattern: Option<&PathPattern>) -> String {
        let own = if known.secure { "https" } else { "http" };
        let scheme = self.scheme.as_deref().unwrap_or(own);
        let usual = match scheme {
            "https" => 443,
            _ => 80,
        };
        let host = self.host.as_deref().or(known.host).unwrap_or_default();
        let port = self.port.filter(|port| *port != usual);
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let query = known.query.map(|query| format!("?{query}")).unwrap_or_default();
        let mut path = match &self.path {
            NewPath::Same => known.path.to_owned(),
            NewPath::Whole(path) => path.to_string(),
            NewPath::Prefix(new) => {
                let old = pattern.map(PathPattern::key).unwrap_or_default();
                let rest = known.path.strip_prefix(old).unwrap_or(known.path);
                format!("{}{rest}", new.trim_end_matches('/'))
            }
        };
        if !path.starts_with('/') {
            path.insert(0, '/');
        }
        format!("{scheme}://{host}{port}{path}{query}")
    }
}
