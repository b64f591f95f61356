//! Plain HTTP to HTTPS, the certificate a request may be answered under, and `Strict-Transport-Security`.

use super::client::Peer;
use crate::table::{Policies, Table};
use http::header::{self, HeaderMap, HeaderValue};

/// Paths a certificate authority asks for in plain (RFC 8555, section 8.3).
pub const ACME: &str = "/.well-known/acme-challenge/";

/// Where a request of a route that wants HTTPS goes, if it came in plain; none where it may stay.
///
/// Never where a trusted proxy says that the client spoke HTTPS to it: behind such a one the redirect would come back
/// in plain for ever.
pub fn redirect(
    peer: &Peer,
    headers: &HeaderMap,
    https_port: Option<u16>,
    host: Option<&str>,
    path: &str,
    query: Option<&str>,
) -> Option<HeaderValue> {
    let (port, host) = (https_port?, host?);
    if is_secure(peer, headers) || path.starts_with(ACME) {
        return None;
    }
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    HeaderValue::try_from(format!("https://{host}{port}{path}{query}")).ok()
}

/// Whether the client speaks HTTPS, to us or to a trusted proxy before us that says so, by the PROXY protocol or in a
/// field.
pub fn is_secure(peer: &Peer, headers: &HeaderMap) -> bool {
    if peer.tls_version.is_some() {
        return true;
    }
    let said = headers.get("x-forwarded-proto").map(HeaderValue::as_bytes);
    peer.trusted && said.is_some_and(|said| said.trim_ascii().eq_ignore_ascii_case(b"https"))
}

/// Whether a host may be asked for on this connection, by [`Table::may_ask`]. Without that, a client that was let in
/// for one name could reach another (domain fronting), and browsers that join connections would go astray. A trusted
/// proxy sends the requests of many clients over a connection that it opened for one of them, so there the name says
/// nothing.
pub fn may_ask(table: &Table, peer: &Peer, host: Option<&str>) -> bool {
    let Some(handshake) = &peer.tls else { return true };
    let name = handshake.server_name.as_deref();
    name == host || peer.trusted || table.may_ask(name, host)
}

/// Adds `Strict-Transport-Security` where the route asks for it, over HTTPS only (RFC 6797, section 7.2).
pub fn add_hsts(policies: &Policies, peer: &Peer, request: &HeaderMap, reply: &mut HeaderMap) {
    if let Some(value) = &policies.hsts
        && is_secure(peer, request)
    {
        reply.insert(header::STRICT_TRANSPORT_SECURITY, value.clone());
    }
}
