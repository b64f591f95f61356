//! Who may come in, where that takes more than a look at the request's head.

use super::users::Users;
use http::HeaderValue;
use std::fmt;
use std::sync::Arc;

/// What a request has to show before it is let in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Access {
    /// A password.
    pub basic: Option<Basic>,
}

/// A name with its password (RFC 7617).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Basic {
    /// `WWW-Authenticate` for those who show none, or a wrong one.
    pub challenge: HeaderValue,
    /// Who may come in.
    pub users: Arc<Users>,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let basic = self.basic.as_ref();
        let basic = basic.map(|basic| format!("basic(users={})", basic.users.len()));
        let all: Vec<String> = basic.into_iter().collect();
        write!(f, "access({})", all.join(" and "))
    }
}
