//! Who may send which requests to the admin address (row 40 of the threat table in docs/security.md).
//!
//! On `hostNetwork` the address is every node's, and network policies do not cover it. So three things are looked at
//! before a question is: that it did not come through a narthex, whose rules a tenant writes; that its `Host` is a name
//! of ours, for a page of somebody else's may have made a browser take our address for its own (DNS rebinding); and,
//! where `--admin-token-file` is given, that it comes with the token. Without a token, requests are shown as they pass
//! (`narthex tap`) on the same machine or in the same pod only.

use super::METRICS;
use super::pages::is_page;
use crate::message::Name;
use crate::table::canonical::canonical_host;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, StatusCode};
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// More than any token has.
const TOKEN_BYTES: u64 = 4096;

/// What probes ask: open to all, lest a probe's `Host` takes a pod away.
const PROBES: [&str; 3] = ["/healthz", "/readyz", "/ping"];

/// What shows clients' addresses and paths of all requests, so that it is not for everybody.
pub(super) const TAP: &str = "/api/v1/tap";

/// What browsers are told: nothing may be loaded, framed, embedded or told to others.
const SECURITY: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Puts in what browsers are told.
pub fn secure(headers: &mut HeaderMap) {
    for (name, value) in SECURITY {
        // A page of our own says itself what it may load.
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

/// Why a question is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It came through a narthex.
    #[error("the admin address does not answer requests that came through narthex")]
    Proxied,
    /// Its `Host` is somebody else's name.
    #[error("this Host is not accepted (DNS rebinding?): use an address, or start narthex with --admin-host NAME")]
    ForeignHost,
    /// It lacks the token, or has another.
    #[error("ask with \"Authorization: Bearer TOKEN\", where TOKEN is what --admin-token-file holds")]
    NoToken,
    /// It would be shown requests as they pass, from another machine and without a token.
    #[error(
        "requests are shown as they pass on loopback only: use kubectl port-forward, or start narthex with --admin-token-file"
    )]
    TapFromAfar,
    /// There is no token to compare with.
    #[error("--admin-token-file cannot be read or is empty, so nobody is let in")]
    TokenUnreadable,
}

impl Refusal {
    /// The status it is answered with.
    pub fn status(self) -> StatusCode {
        match self {
            Refusal::Proxied | Refusal::ForeignHost | Refusal::TapFromAfar => StatusCode::FORBIDDEN,
            Refusal::NoToken => StatusCode::UNAUTHORIZED,
            Refusal::TokenUnreadable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// What is asked of those who ask.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    /// `--admin-token-file`.
    token_file: Option<PathBuf>,
    /// Names by which narthex may be asked, besides addresses and those of a cluster.
    hosts: Vec<String>,
}

impl Gate {
    /// A gate that wants this file's token, if there is one, and knows these names besides its own.
    ///
    /// # Errors
    /// Where the file cannot be read or is empty: better now than when somebody asks.
    pub fn new(token_file: Option<&Path>, hosts: &[String], own: &str) -> Result<Self, String> {
        if let Some(path) = token_file {
            let wrong = |why: String| format!("--admin-token-file {}: {why}", path.display());
            let token = read(path).map_err(|error| wrong(error.to_string()))?;
            if token.is_empty() {
                return Err(wrong("it is empty".to_owned()));
            }
        }
        let known = hosts.iter().map(String::as_str).chain([own]);
        Ok(Self {
            token_file: token_file.map(Path::to_owned),
            hosts: known.map(str::to_ascii_lowercase).collect(),
        })
    }

    /// Whether a token is asked for.
    pub fn wants_token(&self) -> bool {
        self.token_file.is_some()
    }

    /// Looks at a question from this address.
    ///
    /// # Errors
    /// Why it is not answered.
    pub fn check<B>(&self, request: &Request<B>, from: IpAddr) -> Result<(), Refusal> {
        let (fields, path) = (request.headers(), request.uri().path());
        if fields.contains_key(Name::XNarthexHops.as_str()) {
            return Err(Refusal::Proxied);
        }
        if PROBES.contains(&path) {
            return Ok(());
        }
        let hosts = fields.get_all(header::HOST).iter().map(|host| host.to_str().ok());
        let target = request.uri().authority().map(|authority| Some(authority.as_str()));
        if !hosts
            .chain(target)
            .all(|host| host.is_some_and(|host| self.knows(host)))
        {
            return Err(Refusal::ForeignHost);
        }
        match &self.token_file {
            // Scrapers seldom have tokens.
            Some(file) if path != METRICS && !is_page(path) => check_token(file, fields),
            None if path == TAP && !from.to_canonical().is_loopback() => Err(Refusal::TapFromAfar),
            _ => Ok(()),
        }
    }

    /// An address, a name without a dot, one of a cluster's Services, or one that was named to us. Nobody can have the
    /// others but the operator: a page cannot come from them.
    fn knows(&self, host: &str) -> bool {
        let Ok(host) = canonical_host(host) else { return false };
        let name = &*host.name;
        name.starts_with('[')
            || name.parse::<IpAddr>().is_ok()
            || !name.contains('.')
            || name.ends_with(".svc")
            || name.ends_with(".svc.cluster.local")
            || self.hosts.iter().any(|known| known == name)
    }
}

/// The file is read each time, for a Secret that is mounted changes under a process.
fn check_token(file: &Path, fields: &HeaderMap) -> Result<(), Refusal> {
    let wanted = read(file).ok().filter(|token| !token.is_empty());
    let wanted = wanted.ok_or(Refusal::TokenUnreadable)?;
    let mut given = fields.get_all(header::AUTHORIZATION).iter().map(HeaderValue::as_bytes);
    let (Some(given), None) = (given.next(), given.next()) else {
        return Err(Refusal::NoToken);
    };
    let given = match given.split_at_checked(7) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => token.trim_ascii(),
        _ => return Err(Refusal::NoToken),
    };
    // However much of it is right, it takes the same time.
    verify_slices_are_equal(given, &wanted).map_err(|_| Refusal::NoToken)
}

fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut token = Vec::new();
    std::fs::File::open(file)?.take(TOKEN_BYTES).read_to_end(&mut token)?;
    Ok(token.trim_ascii().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_token_requests_are_shown_on_loopback_only() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "sesame").unwrap();
        let (open, closed) = (
            Gate::new(None, &[], "").unwrap(),
            Gate::new(Some(&file), &[], "").unwrap(),
        );
        let ask = |gate: &Gate, path: &str, from: &str, token: bool| {
            let mut request = Request::get(path).header("host", "10.0.0.1:8080");
            if token {
                request = request.header("authorization", "Bearer sesame");
            }
            gate.check(&request.body(()).unwrap(), from.parse().unwrap())
        };
        for local in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(ask(&open, "/api/v1/tap?host=a.test", local, false), Ok(()), "{local}");
            assert_eq!(ask(&closed, "/api/v1/tap", local, false), Err(Refusal::NoToken));
        }
        for remote in ["10.0.0.7", "2001:db8::1", "::ffff:10.0.0.7"] {
            let refused = ask(&open, "/api/v1/tap", remote, false).unwrap_err();
            assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{remote}");
            assert!(refused.to_string().contains("--admin-token-file"), "{refused}");
            assert_eq!(ask(&open, "/api/v1/routes", remote, false), Ok(()));
            assert_eq!(ask(&closed, "/api/v1/tap", remote, true), Ok(()));
        }
    }

    #[test]
    fn names_that_a_page_can_come_from_are_refused() {
        let gate = Gate::new(None, &["ops.example.com".to_owned()], "node-1.example.net").unwrap();
        for host in [
            "127.0.0.1",
            "127.0.0.1:8080",
            "[::1]:8080",
            "localhost:8080",
            "narthex",
            "narthex.ingress.svc",
            "narthex.ingress.svc.cluster.local:8080",
            "OPS.example.com.",
            "node-1.example.net",
        ] {
            assert!(gate.knows(host), "{host}");
        }
        for host in [
            "evil.test",
            "127.0.0.1.evil.test",
            "x.svc.evil.test",
            "svc.cluster.local.evil.test",
            "ops.example.com.evil.test",
            "",
            "u@127.0.0.1",
            "a/b",
        ] {
            assert!(!gate.knows(host), "{host}");
        }
    }
}
