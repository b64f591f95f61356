//! Answers that a route says: redirects and texts.

use super::template::{Known, Template};
use http::StatusCode;

/// Where all requests of a route are sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Redirection {
    pub status: StatusCode,
    pub to: Template,
    /// Whether a target that is a path alone is sent as such; else it gets the scheme and host of the request.
    pub relative: bool,
}

/// What all requests of a route are answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Returned {
    pub status: StatusCode,
    /// The body; where it is absent, that of narthex's own answers.
    pub text: Option<Template>,
}

impl Redirection {
    /// `Location` for a request.
    pub fn location(&self, known: &Known<'_>) -> String {
        let to = self.to.expand(known);
        match known.host {
            Some(host) if to.starts_with('/') && !self.relative => {
                format!("{}://{host}{to}", if known.secure { "https" } else { "http" })
            }
            _ => to.into_owned(),
        }
    }
}
