//! What a request says of itself, for the decision, and the target a pod gets.

use super::client::Client;
use super::error::ProxyError;
use super::facts::Facts;
use crate::message::Request;
use crate::table::decide::{Ask, Refusal};
use crate::table::{KnownHost, ListenerId, Presented, Route};
use std::cell::Cell;
use std::net::IpAddr;

pub use crate::table::decide::Canonical;

/// What a request's connection, or a trusted proxy, says of where it comes from.
pub struct Came<'r> {
    /// The listener it came in by.
    pub listener: ListenerId,
    /// The name that its client asked for in the TLS handshake (SNI).
    pub server_name: Option<&'r str>,
    /// Whether its client's TLS ends here.
    pub tls: bool,
    /// What its client has shown in the handshake.
    pub shown: Option<&'r Presented>,
    /// Whether its peer is one of `--trusted-proxies`.
    pub trusted: bool,
    /// Whether its client speaks HTTPS, to us or to a trusted proxy that says so.
    pub secure: bool,
    /// Its client's address, if that is known.
    pub client: Option<IpAddr>,
}

/// What decides of a request's head.
pub fn ask<'r>(
    request: &'r Request,
    facts: &Facts<'r>,
    client: &'r Client,
    known_host: Option<&'r KnownHost>,
    websocket: bool,
) -> Ask<'r> {
    let tls = client.peer.tls.as_ref();
    let came = Came {
        listener: client.peer.listener,
        server_name: tls.and_then(|handshake| handshake.server_name.as_deref()),
        tls: tls.is_some(),
        shown: tls.and_then(|handshake| handshake.shown.as_deref()),
        trusted: client.peer.trusted,
        secure: client.is_secure(),
        client: Some(client.address()),
    };
    let mut ask = ask_of(request, facts, came, websocket);
    ask.known_host = known_host;
    ask
}

/// The same for a head without a connection, which somebody asks about.
pub fn ask_of<'r>(request: &'r Request, facts: &Facts<'r>, came: Came<'r>, websocket: bool) -> Ask<'r> {
    Ask {
        listener: came.listener,
        server_name: came.server_name,
        tls: came.tls,
        shown: came.shown,
        trusted: came.trusted,
        secure: came.secure,
        client: came.client,
        method: &request.method,
        version: request.version,
        authority: request.authority(),
        path: request.path(),
        query: request.query(),
        fields: &request.fields,
        host: facts.host,
        known_host: None,
        second_host: facts.second_host,
        expect: facts.expect,
        hops: facts.hops,
        lists_too_much: facts.lists_too_much(&request.fields),
        length: facts.length.and_then(|length| length.to_str()?.parse().ok()),
        websocket,
        draw: |below| fastrand::u32(..below),
        share: Cell::new(None),
    }
}

impl From<Refusal> for ProxyError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Malformed => Self::Malformed,
            Refusal::MethodNotAllowed => Self::MethodNotAllowed,
            Refusal::BadExpectation => Self::BadExpectation,
            Refusal::MissingHost => Self::MissingHost,
            Refusal::DuplicateHost => Self::DuplicateHost,
            Refusal::BadHost(error) => Self::BadHost(error),
            Refusal::BadTarget => Self::BadTarget,
            Refusal::BadPath(error) => Self::BadPath(error),
            Refusal::Misdirected => Self::Misdirected,
            Refusal::NoRoute => Self::NoRoute,
            Refusal::BackendGone => Self::BackendGone,
            Refusal::NoWebSocket => Self::NoWebSocket,
            Refusal::Loop => Self::Loop,
            Refusal::BodyTooLarge => Self::BodyTooLarge,
            Refusal::AddressNotAllowed => Self::AddressNotAllowed,
            Refusal::Blocked => Self::Blocked,
            Refusal::RedirectsToItself => Self::RedirectsToItself,
            Refusal::PlainNotServed => Self::PlainNotServed,
            Refusal::TlsNotServed => Self::TlsNotServed,
            Refusal::NoClientCertificate => Self::NoClientCertificate,
            Refusal::BadClientCertificate => Self::BadClientCertificate,
            Refusal::SubjectNotAllowed => Self::SubjectNotAllowed,
        }
    }
}

impl Canonical<'_> {
    /// The target a pod gets, where that is not the client's: the very path that was matched, with the query as it came.
    pub fn target(&self, request: &Request, route: &Route) -> Option<String> {
        let path = self.path.form(route.keep_slashes);
        if request.has_path(path) {
            return None;
        }
        Some(match request.query() {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        })
    }
}
