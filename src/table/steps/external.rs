//! Asking a service whether a client may come in.

use super::super::backend::BackendId;
use super::fields::RequestFields;
use super::template::{Known, Template};
use http::{Method, StatusCode};
use std::fmt;
use std::time::Duration;

/// A service that says whether a client may come in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct External {
    /// Where it is.
    pub at: At,
    /// The path and query that it is asked for.
    pub target: Template,
    pub method: Method,
    /// Whether it is told the target and the scheme of the client's request once more, in fields of their own.
    pub tells_more: bool,
    /// How long it may take.
    pub patience: Duration,
    /// Where a client goes to sign in.
    pub sign_in: Option<Template>,
    /// The fields of its answer that the pod gets. No client's get there.
    pub fields: Box<[Box<str>]>,
    /// What it is told of where a client wants to go after signing in; else the target of the request.
    pub returns_to: Option<Template>,
    /// Whether its cookies are set whatever the status of the reply.
    pub always_sets_cookies: bool,
    /// Fields that it gets beside those of the client.
    pub told: RequestFields,
    /// How its answers are remembered, where they are.
    pub remembered: Option<Box<Remembered>>,
}

/// How the answers of a service are remembered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Remembered {
    /// Whose answers they are.
    pub id: u64,
    /// Requests that it is the same for get the same answer.
    pub key: Template,
    /// For how long an answer of each status counts; no status stands for all.
    pub times: Box<[(Option<StatusCode>, Duration)]>,
}

impl Remembered {
    /// For how long an answer of this status counts, if it is remembered at all.
    pub fn time(&self, status: StatusCode) -> Option<Duration> {
        let mut times = self.times.iter();
        let found = times.find(|(known, _)| known.is_none_or(|known| known == status));
        found.map(|(_, time)| *time).filter(|time| !time.is_zero())
    }
}

/// Where a service is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum At {
    /// At a backend, with this `Host`.
    Backend(BackendId, Box<str>),
    /// Wherever the host of the client's request leads, with that path; whether by HTTPS.
    SameHost { secure: bool },
}

impl External {
    /// Whether a field of a client's may be taken for one that the service says, by a pod that does not tell some
    /// characters apart.
    pub fn says(&self, name: &[u8]) -> bool {
        self.fields.iter().any(|field| is_same_name(field.as_bytes(), name))
    }

    /// What it is told of where a client wants to go after signing in.
    pub fn returns_to(&self, known: &Known<'_>) -> Option<String> {
        let template = self.returns_to.as_ref()?;
        Some(template.expand(known).to_string())
    }

    /// Whether its cookies are set with a reply of this status.
    pub fn sets_cookies(&self, status: StatusCode) -> bool {
        self.always_sets_cookies || matches!(status.as_u16(), 200 | 201 | 204 | 206 | 301..=304 | 307 | 308)
    }
}

impl fmt::Display for External {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            At::Backend(_, host) => write!(f, "external({host})"),
            At::SameHost { .. } => f.write_str("external(the same host)"),
        }
    }
}

/// Whether two names are the same to a pod that does not tell some characters apart.
pub fn is_same_name(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| fold(*one) == fold(*other))
}

/// A byte of a name as programs compare it that know names as variables: `X-User` is `HTTP_X_USER`.
fn fold(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() {
        byte.to_ascii_lowercase()
    } else {
        b'-'
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_look_alike_are_the_same() {
        let external = External {
            at: At::SameHost { secure: false },
            target: Template::default(),
            method: Method::GET,
            tells_more: false,
            patience: Duration::ZERO,
            sign_in: None,
            fields: ["X-Auth-User".into()].into(),
            returns_to: None,
            always_sets_cookies: false,
            told: RequestFields::default(),
            remembered: None,
        };
        for (name, same) in [
            ("X-Auth-User", true),
            ("x_auth_user", true),
            ("X-AUTH_user", true),
            ("x.auth.user", true),
            ("X-Auth-Users", false),
            ("X-Auth", false),
        ] {
            assert_eq!(external.says(name.as_bytes()), same, "{name}");
        }
        assert!(external.sets_cookies(StatusCode::OK) && !external.sets_cookies(StatusCode::NOT_FOUND));
    }
}
