//! What clients have to show before they are let in, as annotations ask for it. What it needs of other objects is not
//! looked up yet.

use http::HeaderValue;
use std::sync::Arc;

/// What clients have to show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AccessWanted {
    /// A password.
    pub basic: Option<BasicWanted>,
}

/// A password of one of the users that a Secret names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BasicWanted {
    /// The annotation that names the Secret.
    pub named_by: &'static str,
    /// The Secret, in the namespace of the object.
    pub secret: Arc<str>,
    /// Whether each of its entries is a user; else one entry is a file by htpasswd.
    pub map: bool,
    /// `WWW-Authenticate` for those who show no password, or a wrong one.
    pub challenge: HeaderValue,
}

impl AccessWanted {
    /// The Secret that names users.
    pub fn users_secret(&self) -> Option<&Arc<str>> {
        self.basic.as_ref().map(|basic| &basic.secret)
    }
}
