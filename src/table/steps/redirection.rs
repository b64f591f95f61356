//! Answers that a route says: redirects and texts.

use super::template::{Known, Template};
use crate::message::Fields;
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
    /// Whether it leads a GET for this URL, which has no query and no fields, to the same URL.
    pub fn leads_to_itself(&self, host: &str, path: &str, secure: bool) -> bool {
        let fields = Fields::new();
        let known = Known {
            secure,
            ..Known::of_get(Some(host), path, &fields)
        };
        is_own_url(&self.location(&known), &known)
    }

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

/// Whether a `Location` is the URL that was asked for.
pub fn is_own_url(location: &str, known: &Known<'_>) -> bool {
    let own = if known.secure { "https://" } else { "http://" };
    let target = match location.strip_prefix(own) {
        None => location,
        Some(rest) => {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            let (host, target) = rest.split_at(end);
            let named = [known.host, known.http_host];
            if !named.into_iter().flatten().any(|own| own.eq_ignore_ascii_case(host)) {
                return false;
            }
            target
        }
    };
    let target = target.split('#').next().unwrap_or_default();
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let path = if path.is_empty() { "/" } else { path };
    path == known.path && query.unwrap_or_default() == known.query.unwrap_or_default()
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
                http_host: Some(http_host),
                ..Known::of_get(Some("a.test"), "/", &fields)
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
