//! Answers that a route says: redirects and texts.

use super::template::{Known, Template};
use http::StatusCode;
use std::sync::Arc;

/// Where all requests of a route are sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Redirection {
    pub status: StatusCode,
    pub to: Template,
    /// Whether a target that is a path alone is sent as such; else it gets the scheme and host of the request.
    pub relative: bool,
    /// The host that a target gets which is a path alone; absent for that of the request.
    pub host: Option<Arc<str>>,
    /// Whether such a target also gets the port that the client names.
    pub with_port: bool,
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
        match self.host.as_deref().or(known.host) {
            Some(host) if to.starts_with('/') && !self.relative => {
                let port = if self.with_port { port(known) } else { "" };
                format!("{}://{host}{port}{to}", if known.secure { "https" } else { "http" })
            }
            _ => to.into_owned(),
        }
    }
}

/// The port in a client's `Host` with its colon; empty where that is the usual one.
fn port<'r>(known: &Known<'r>) -> &'r str {
    let host = known.http_host.unwrap_or_default();
    // An address of IPv6 has colons inside its brackets.
    let end = host.rfind(']').unwrap_or_default();
    let colon = host.get(end..).and_then(|rest| rest.find(':'));
    let port = colon.and_then(|colon| host.get(end + colon..)).unwrap_or_default();
    let usual = if known.secure { ":443" } else { ":80" };
    if port == usual || port == ":" { "" } else { port }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Fields;
    use http::Method;

    #[test]
    fn a_path_gets_what_it_lacks() {
        let fields = Fields::new();
        let location = |(host, with_port, relative): (Option<&str>, bool, bool), secure, http_host| {
            let redirection = Redirection {
                status: StatusCode::FOUND,
                to: Template::new("/x").unwrap(),
                relative,
                host: host.map(Arc::from),
                with_port,
            };
            redirection.location(&Known {
                secure,
                host: Some("a.test"),
                http_host: Some(http_host),
                path: "/",
                query: None,
                method: &Method::GET,
                client: None,
                fields: &fields,
                request_id: None,
                route: None,
                backend: None,
            })
        };
        for (asked, secure, http_host, wanted) in [
            ((None, false, false), false, "a.test:8080", "http://a.test/x"),
            ((None, true, false), false, "a.test:8080", "http://a.test:8080/x"),
            ((None, true, false), false, "a.test:80", "http://a.test/x"),
            ((None, true, false), true, "a.test:443", "https://a.test/x"),
            ((None, true, false), true, "[::1]:8443", "https://a.test:8443/x"),
            ((None, true, false), true, "[::1]", "https://a.test/x"),
            (
                (Some("b.test"), true, false),
                true,
                "a.test:8443",
                "https://b.test:8443/x",
            ),
            ((None, true, true), true, "a.test:8443", "/x"),
        ] {
            assert_eq!(location(asked, secure, http_host), wanted, "{asked:?} {http_host}");
        }
    }
}
