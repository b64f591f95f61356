//! Who may come in, where that takes more than a look at the request's head.

use super::addresses::Addresses;
use super::digest::Digest;
use super::external::External;
use super::jwt::Jwt;
use super::users::Users;
use http::HeaderValue;
use std::fmt;
use std::sync::Arc;

/// What a client has to show before it is let in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Access {
    /// A password.
    pub basic: Option<Basic>,
    /// A digest of a password.
    pub digest: Option<Arc<Digest>>,
    /// A token.
    pub jwt: Option<Arc<Jwt>>,
    /// What a service wants to see.
    pub external: Option<External>,
    /// How much of it.
    pub satisfy: Satisfy,
}

/// A name with its password (RFC 7617).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Basic {
    /// `WWW-Authenticate` for those who show none, or a wrong one.
    pub challenge: HeaderValue,
    /// Who may come in.
    pub users: Arc<Users>,
    /// Whether pods get `Authorization`.
    pub is_kept: bool,
}

/// How much a client has to show.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Satisfy {
    All,
    /// One of it; one of these addresses is enough too.
    Any(Option<Arc<Addresses>>),
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses = match &self.satisfy {
            Satisfy::Any(Some(_)) => Some("addresses".to_owned()),
            _ => None,
        };
        let basic = self.basic.as_ref();
        let basic = basic.map(|basic| format!("basic(users={})", basic.users.count()));
        let digest = self.digest.as_ref();
        let digest = digest.map(|digest| format!("digest(users={})", digest.count()));
        let jwt = self.jwt.as_ref().map(ToString::to_string);
        let external = self.external.as_ref().map(ToString::to_string);
        let all: Vec<String> = [addresses, basic, digest, jwt, external]
            .into_iter()
            .flatten()
            .collect();
        let word = if self.satisfy == Satisfy::All { " and " } else { " or " };
        write!(f, "access({})", all.join(word))
    }
}
