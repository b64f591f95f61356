//! What the annotations about authentication ask for, before they are put together.

use crate::dialect::annotations::access::{AccessWanted, BasicWanted};
use http::HeaderValue;
use std::sync::Arc;

/// The annotation that names the Secret.
const SECRET: &str = "nginx.ingress.kubernetes.io/auth-secret";

/// What they ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::dialect::annotations) struct Asked {
    /// `auth-type: basic`.
    pub basic: bool,
    /// `auth-secret`.
    pub secret: Option<Arc<str>>,
    /// `auth-secret-type: auth-map`.
    pub map: bool,
    /// `WWW-Authenticate` with `auth-realm`.
    pub challenge: Option<HeaderValue>,
}

/// An annotation that needs another one.
pub(in crate::dialect::annotations) struct Incomplete {
    pub annotation: &'static str,
    pub message: &'static str,
    /// Whether it guards, so that the routes are closed.
    pub closes: bool,
}

impl Asked {
    /// What is missing of what belongs together.
    pub fn incomplete(&self) -> Option<Incomplete> {
        match (self.basic, &self.secret) {
            (true, None) => Some(Incomplete {
                annotation: "auth-type",
                message: "it needs auth-secret, which is missing or wrong",
                closes: true,
            }),
            (false, Some(_)) => Some(Incomplete {
                annotation: "auth-secret",
                message: "it does nothing without auth-type, so nobody is asked for a password",
                closes: false,
            }),
            _ => None,
        }
    }

    /// Puts together what was asked for.
    pub fn settle(self) -> AccessWanted {
        const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"\"");
        let secret = self.secret.filter(|_| self.basic);
        AccessWanted {
            basic: secret.map(|secret| BasicWanted {
                named_by: SECRET,
                secret,
                map: self.map,
                challenge: self.challenge.unwrap_or(CHALLENGE),
            }),
        }
    }
}

/// `auth-realm`, as `WWW-Authenticate` has it.
pub(super) fn challenge(text: &str) -> Result<HeaderValue, String> {
    let fits = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
    let wrong = || format!("\"{text}\" has a character that a realm may not have, or is longer than 256 bytes");
    if text.len() > 256 || !text.bytes().all(fits) {
        return Err(wrong());
    }
    HeaderValue::from_str(&format!("Basic realm=\"{text}\"")).map_err(|_| wrong())
}
