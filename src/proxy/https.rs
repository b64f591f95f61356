//! Plain HTTP to HTTPS, the certificate a request may be answered under, and `Strict-Transport-Security`.

use super::client::{Client, Peer};
use crate::table::{Policies, Table};
use http::header::{self, HeaderMap, HeaderValue};

/// Paths a certificate authority asks for in plain (RFC 8555, section 8.3).
pub const ACME: &str = "/.well-known/acme-challenge/";

/// Where a request of a route that wants HTTPS goes, if it came in plain; none where it may stay.
///
/// Never where the client spoke HTTPS to a trusted proxy: behind such a one the redirect would come back in plain for
/// ever.
pub fn redirect(
    client: &Client,
    https_port: Option<u16>,
    host: Option<&str>,
    path: &str,
    query: Option<&str>,
) -> Option<HeaderValue> {
    let (port, host) = (https_port?, host?);
    if client.is_secure() || path.starts_with(ACME) {
        return None;
    }
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    HeaderValue::try_from(format!("https://{host}{port}{path}{query}")).ok()
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
pub fn add_hsts(policies: &Policies, client: &Client, reply: &mut HeaderMap) {
    if let Some(value) = &policies.hsts
        && client.is_secure()
    {
        reply.insert(header::STRICT_TRANSPORT_SECURITY, value.clone());
    }
}
