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
    pub port: NewPort,
    pub path: NewPath,
}

/// What becomes of the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NewPort {
    /// The usual one of the scheme.
    Usual,
    /// This one.
    Named(u16),
    /// The one of the listener, which has TLS or not. Where a trusted proxy says that its client used the other scheme, the
    /// client did not use this port either.
    Own { port: u16, tls: bool },
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
        let port = match self.port {
            NewPort::Usual => None,
            NewPort::Own { tls, .. } if tls != known.secure => None,
            NewPort::Own { port, .. } | NewPort::Named(port) => Some(port).filter(|port| *port != usual),
        };
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
