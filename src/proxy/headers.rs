//! Which header fields pass, which go, and which are ours (RFC 9110 §7.6.1, RFC 7239; docs/security.md, rows 20-22).

use super::client::Client;
use super::error::ProxyError;
use super::names::{HOPS, PROTECTED, is_hop_by_hop, is_managed, misleads};
use super::peer::Peer;
use super::trust::address_value;
use super::upgrade;
use crate::table::canonical::canonical_host;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;
use std::net::IpAddr;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
/// Names one request through all logs.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// How many fields `Connection` may name. Nobody needs as many, and each is compared with every field of the head.
const MAX_OPTIONS: usize = 64;

type ConnectionOptions = SmallVec<[HeaderName; 4]>;

/// What forwarding needs to know of a request's fields, gathered in one pass: each look-up by name would cost a hash.
#[derive(Default)]
pub struct Fields<'r> {
    /// The first `Host`.
    pub host: Option<&'r HeaderValue>,
    /// Whether there is another.
    pub second_host: bool,
    /// `Expect`.
    pub expect: Option<&'r HeaderValue>,
    /// Whether `Authorization` names a scheme that authenticates the connection, not the request.
    pub binds_identity: bool,
    /// [`HOPS`].
    pub hops: Option<&'r HeaderValue>,
    /// Whether `Transfer-Encoding` is there; the filter has checked that it says `chunked` and no more.
    pub chunked: bool,
    /// Whether `Content-Length` is there.
    pub length: bool,
    /// `Upgrade`, if there is one and no more.
    pub upgrade: Option<&'r HeaderValue>,
    upgrades: bool,
    /// Whether `Content-Type` says that it is gRPC (gRPC-Web is not: its errors are HTTP's).
    pub grpc: bool,
    /// Whether `Cookie` is there more than once.
    crumbs: bool,
    cookie: bool,
    connection: bool,
    /// Whether `Connection` says `close`.
    pub close: bool,
    /// Whether it says `keep-alive`, which matters to HTTP/1.0 only.
    pub keep_alive: bool,
    te: bool,
}

impl<'r> Fields<'r> {
    /// Reads them.
    pub fn of(headers: &'r HeaderMap) -> Self {
        let mut fields = Self::default();
        for (name, value) in headers {
            match name.as_str().len() {
                2 => fields.te |= *name == header::TE,
                4 if *name == header::HOST => {
                    fields.second_host = fields.host.is_some();
                    fields.host = fields.host.or(Some(value));
                }
                6 if *name == header::EXPECT => fields.expect = Some(value),
                6 if *name == header::COOKIE => fields.crumbs |= std::mem::replace(&mut fields.cookie, true),
                7 if *name == header::UPGRADE => {
                    fields.upgrade = fields.upgrade.is_none().then_some(value).filter(|_| !fields.upgrades);
                    fields.upgrades = true;
                }
                10 if *name == header::CONNECTION => {
                    fields.connection = true;
                    fields.close |= has_option(value, b"close");
                    fields.keep_alive |= has_option(value, b"keep-alive");
                }
                12 if *name == header::CONTENT_TYPE => fields.grpc = is_grpc(value.as_bytes()),
                13 if *name == header::AUTHORIZATION => fields.binds_identity |= binds(value.as_bytes()),
                14 if *name == HOPS => fields.hops = Some(value),
                14 => fields.length |= *name == header::CONTENT_LENGTH,
                17 => fields.chunked |= *name == header::TRANSFER_ENCODING,
                _ => {}
            }
        }
        fields
    }

    /// Whether `Connection` names more fields than can be taken away.
    pub fn lists_too_much(&self, headers: &HeaderMap) -> bool {
        self.connection && lists_too_much(headers)
    }
}

/// `application/grpc`, perhaps with `+proto` or the like.
fn is_grpc(kind: &[u8]) -> bool {
    kind.strip_prefix(b"application/grpc")
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// Whether a `Connection` line has this option.
fn has_option(line: &HeaderValue, wanted: &[u8]) -> bool {
    let mut options = line.as_bytes().split(|byte| *byte == b',');
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(wanted))
}

/// Whether a `Connection` is one of the two everyday ones.
fn names_no_field(line: &HeaderValue) -> bool {
    line.as_bytes() == b"keep-alive" || line.as_bytes() == b"close"
}

/// What `Connection` lists, over all its lines.
fn listed(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(header::CONNECTION).into_iter();
    lines
        .filter(|line| !names_no_field(line))
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
}

/// Whether `Connection` lists more than can be obeyed.
fn lists_too_much(headers: &HeaderMap) -> bool {
    listed(headers).nth(MAX_OPTIONS).is_some()
}

/// The fields that `Connection` takes away.
fn connection_options(headers: &HeaderMap) -> ConnectionOptions {
    let names = listed(headers)
        .take(MAX_OPTIONS)
        .filter_map(|option| HeaderName::from_bytes(option).ok());
    names
        .filter(|name| !PROTECTED.contains(name) && !is_managed(name.as_str()))
        .collect()
}

/// What a request says of itself that forwarding needs.
pub struct Forwarded<'a> {
    /// `Host` as the pod gets it; none for an HTTP/1.0 request without one, which gets the pod's address.
    pub host: Option<&'a HeaderValue>,
    /// The pod's address.
    pub endpoint: std::net::SocketAddr,
    /// The port in it.
    pub port: Option<u16>,
    /// The id the request came with or got.
    pub request_id: &'a HeaderValue,
    /// How often it has passed through narthex, this time included.
    pub hops: u8,
    /// Whether it has a body whose length is not known.
    pub chunked: bool,
    /// Whether the pod speaks HTTP/2, which has no fields of one hop.
    pub multiplexed: bool,
    /// Whether it asks for a WebSocket.
    pub upgrade: bool,
    /// The fields it came with.
    pub fields: &'a Fields<'a>,
}

/// The names of what a request from a stranger gets, with room for values: cloned for each request and filled in by
/// place, which spares eight insertions by hash. One serves a whole shard.
pub fn template() -> HeaderMap {
    let mut template = HeaderMap::with_capacity(20);
    for name in [
        header::HOST,
        X_FORWARDED_HOST,
        X_FORWARDED_PORT,
        X_FORWARDED_FOR,
        X_FORWARDED_PROTO,
        X_REAL_IP,
        X_REQUEST_ID,
        HOPS,
    ] {
        template.append(name, HeaderValue::from_static(""));
    }
    template
}

/// The fields narthex sets, before any of the client's. Those of [`template`], in its order, for a stranger's request
/// that names a host.
fn own_fields(peer: &Peer, forwarded: &Forwarded<'_>, template: &HeaderMap) -> HeaderMap {
    if let (false, Some(host)) = (peer.trusted, forwarded.host) {
        let values = [
            host.clone(),
            host.clone(),
            port_value(peer, forwarded),
            peer.address.clone(),
            HeaderValue::from_static(peer.scheme),
            peer.address.clone(),
            forwarded.request_id.clone(),
            hops_value(forwarded.hops),
        ];
        let mut headers = template.clone();
        for (place, value) in headers.values_mut().zip(values) {
            *place = value;
        }
        return headers;
    }
    let mut headers = HeaderMap::new();
    // HTTP/1.1 has no requests without Host, and the pod gets HTTP/1.1.
    let address = || HeaderValue::from_str(&forwarded.endpoint.to_string()).ok();
    if let Some(host) = forwarded.host.cloned().or_else(address) {
        headers.append(header::HOST, host);
    }
    headers.append(X_REQUEST_ID, forwarded.request_id.clone());
    headers.append(HOPS, hops_value(forwarded.hops));
    if !peer.trusted {
        headers.append(X_FORWARDED_PORT, port_value(peer, forwarded));
        headers.append(X_FORWARDED_FOR, peer.address.clone());
        headers.append(X_FORWARDED_PROTO, HeaderValue::from_static(peer.scheme));
        headers.append(X_REAL_IP, peer.address.clone());
    }
    headers
}

/// The fields a pod gets. The originals stay as they are, for another attempt.
pub fn upstream_headers(
    original: &HeaderMap,
    client: &Client,
    forwarded: &Forwarded<'_>,
    template: &HeaderMap,
) -> HeaderMap {
    let options = if forwarded.fields.connection {
        connection_options(original)
    } else {
        ConnectionOptions::new()
    };
    let peer = &*client.peer;
    let mut headers = own_fields(peer, forwarded, template);
    for (name, value) in original {
        let text = name.as_str();
        let dropped = *name == header::HOST
            || *name == header::EXPECT
            || is_hop_by_hop(name)
            || (!options.is_empty() && options.contains(name))
            || (is_managed(text) && (!peer.trusted || *name == HOPS || *name == X_REQUEST_ID))
            || misleads(text);
        if !dropped {
            headers.append(name.clone(), value.clone());
        }
    }
    if forwarded.chunked && !forwarded.multiplexed {
        // hyper's client would send a GET without its body otherwise.
        headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if forwarded.fields.crumbs {
        join_cookies(&mut headers);
    }
    if forwarded.fields.length {
        shorten_length(&mut headers);
    }
    if forwarded.fields.te && wants_trailers(original) {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        if !forwarded.multiplexed {
            headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
        }
    }
    if forwarded.upgrade {
        upgrade::ask(&mut headers);
    }
    if peer.trusted {
        append_to_trusted(&mut headers, client, forwarded);
    }
    headers
}

/// HTTP/2 clients send a cookie in crumbs; over HTTP/1.1 it must be one line again (RFC 9113, section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let crumbs: Vec<&[u8]> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(header::COOKIE, joined);
    }
}

/// `000` is a length like any other (RFC 9110, section 8.6), but not every server takes it for one.
fn shorten_length(headers: &mut HeaderMap) {
    let padded = |value: &HeaderValue| value.len() > 1 && value.as_bytes().first() == Some(&b'0');
    if let Some(length) = headers.get_mut(header::CONTENT_LENGTH).filter(|length| padded(length)) {
        let zeroes = length.as_bytes().iter().take_while(|byte| **byte == b'0').count();
        let digits = length
            .as_bytes()
            .get(zeroes.min(length.len() - 1)..)
            .unwrap_or_default();
        if let Ok(short) = HeaderValue::from_bytes(digits) {
            *length = short;
        }
    }
}

/// A trusted proxy's words stay; our part is added.
fn append_to_trusted(headers: &mut HeaderMap, client: &Client, forwarded: &Forwarded<'_>) {
    let peer = &*client.peer;
    let lines: Vec<&[u8]> = headers
        .get_all(X_FORWARDED_FOR)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if lines.is_empty() && client.address() == peer.ip {
        headers.insert(X_FORWARDED_FOR, peer.address.clone());
    } else if lines.is_empty() {
        // The proxy has named the client in `Forwarded`; many servers know the older field only.
        if let Ok(value) = HeaderValue::from_str(&format!("{}, {}", client.address(), peer.ip)) {
            headers.insert(X_FORWARDED_FOR, value);
        }
    } else {
        let mut all = lines.join(&b", "[..]);
        all.extend_from_slice(b", ");
        all.extend_from_slice(peer.address.as_bytes());
        if let Ok(value) = HeaderValue::from_bytes(&all) {
            headers.insert(X_FORWARDED_FOR, value);
        }
    }
    if headers.contains_key(header::FORWARDED) {
        let node = match peer.ip {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("\"[{v6}]\""),
        };
        if let Ok(value) = HeaderValue::from_str(&format!("for={node};proto={}", peer.scheme)) {
            headers.append(header::FORWARDED, value);
        }
    }
    let said = client.told_host();
    headers
        .entry(X_FORWARDED_PROTO)
        .or_insert_with(|| HeaderValue::from_static(client.scheme()));
    if !headers.contains_key(X_FORWARDED_PORT) {
        let said = headers.get(X_FORWARDED_HOST).or(said.as_ref());
        let port = told_port(client.scheme(), said, forwarded.port);
        headers.insert(X_FORWARDED_PORT, HeaderValue::from(port));
    }
    if let Some(host) = said.as_ref().or(forwarded.host) {
        headers.entry(X_FORWARDED_HOST).or_insert_with(|| host.clone());
    }
    headers
        .entry(X_REAL_IP)
        .or_insert_with(|| address_value(client.address()));
}

/// The port a client came in by, as far as a trusted proxy tells: that of the host it names, else of the host the
/// request is for, unless that is the other scheme's.
fn told_port(scheme: &str, said: Option<&HeaderValue>, port: Option<u16>) -> u16 {
    let (own, other) = if scheme == "https" { (443, 80) } else { (80, 443) };
    let port = match said {
        Some(said) => said.to_str().ok().and_then(|host| canonical_host(host).ok()?.port),
        None => port,
    };
    port.filter(|port| *port != other).unwrap_or(own)
}

fn port_value(peer: &Peer, forwarded: &Forwarded<'_>) -> HeaderValue {
    match (forwarded.port, peer.scheme) {
        (Some(port), _) => HeaderValue::from(port),
        (None, "https") => HeaderValue::from_static("443"),
        (None, _) => HeaderValue::from_static("80"),
    }
}

fn hops_value(hops: u8) -> HeaderValue {
    HeaderValue::from_static(match hops {
        0 | 1 => "1",
        2 => "2",
        3 => "3",
        4 => "4",
        _ => "5",
    })
}

fn wants_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(header::TE).iter().any(|line| {
        line.as_bytes()
            .split(|byte| *byte == b',')
            .any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    })
}

/// Takes what was for our hop out of a response, and what would confuse its framing. Says whether the connection it
/// came on may be used again as far as framing goes.
///
/// # Errors
/// [`ProxyError::BadResponse`] for a transfer coding other than `chunked`, whose name would be lost with the field, and
/// for a `Connection` that names too many fields.
pub fn clean_response(headers: &mut HeaderMap) -> Result<bool, ProxyError> {
    let mut found: SmallVec<[HeaderName; 4]> = SmallVec::new();
    let (mut chunked, mut length, mut names_fields) = (false, false, false);
    for (name, value) in headers.iter() {
        if is_hop_by_hop(name) {
            chunked |= *name == header::TRANSFER_ENCODING;
            names_fields |= *name == header::CONNECTION && !names_no_field(value);
            found.push(name.clone());
        } else if *name == header::CONTENT_LENGTH {
            // hyper takes `5, 5` and would pass it on; two readers may not agree on it (RFC 9112 §6.3).
            let digits = value.as_bytes().iter().all(u8::is_ascii_digit);
            if std::mem::replace(&mut length, true) || !digits {
                return Err(ProxyError::BadResponse);
            }
        }
    }
    if chunked {
        let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
        let (first, second) = (codings.next(), codings.next());
        if second.is_some() || !first.is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
            return Err(ProxyError::BadResponse);
        }
        if length {
            // Chunked is what hyper read (RFC 9112 §6.3).
            headers.remove(header::CONTENT_LENGTH);
        }
    }
    if names_fields {
        if lists_too_much(headers) {
            return Err(ProxyError::BadResponse);
        }
        let named = connection_options(headers);
        found.extend(
            named
                .into_iter()
                .filter(|name| *name != header::SET_COOKIE && *name != header::DATE),
        );
    }
    for name in found {
        headers.remove(name);
    }
    Ok(!(chunked && length))
}

/// Takes out what a response of this status may not say: 1xx and 204 have no length (RFC 9110, section 8.6). That of a 304
/// is one of another response, and over HTTP/2 there are clients that miss its bytes.
pub fn forbid_by_status(status: http::StatusCode, multiplexed: bool, headers: &mut HeaderMap) {
    let forbidden = status.is_informational()
        || status == http::StatusCode::NO_CONTENT
        || (multiplexed && status == http::StatusCode::NOT_MODIFIED);
    if forbidden {
        headers.remove(header::CONTENT_LENGTH);
    }
}

/// Whether a connection that got this response belongs to one user from now on (docs/security.md, row 24).
pub fn binds_identity(status: http::StatusCode, headers: &HeaderMap) -> bool {
    status == http::StatusCode::UNAUTHORIZED
        && headers
            .get_all(header::WWW_AUTHENTICATE)
            .iter()
            .any(|line| line.as_bytes().split(|byte| *byte == b',').any(binds))
}

/// Whether credentials or a challenge are of a scheme that authenticates connections (RFC 4559 §6).
fn binds(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    let scheme = text.split(|byte| *byte == b' ').next().unwrap_or_default();
    scheme.eq_ignore_ascii_case(b"ntlm") || scheme.eq_ignore_ascii_case(b"negotiate")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::Ends;
    use crate::table::ListenerId;
    use std::rc::Rc;

    #[test]
    fn the_template_is_filled_in_its_own_order() {
        let host = HeaderValue::from_static("a.test:8000");
        let id = HeaderValue::from_static("id");
        let fields = Fields::default();
        let ends = Ends {
            client: "10.0.0.1:5".parse().unwrap(),
            local: "10.0.0.2:80".parse().unwrap(),
            tls_version: None,
            silent_on_tls: false,
        };
        let client = Client::new(Rc::new(Peer::new(ListenerId::default(), ends, false, None, None)));
        let forwarded = Forwarded {
            host: Some(&host),
            endpoint: "10.0.0.9:80".parse().unwrap(),
            port: Some(8000),
            request_id: &id,
            hops: 2,
            chunked: false,
            multiplexed: false,
            upgrade: false,
            fields: &fields,
        };
        let headers = upstream_headers(&HeaderMap::new(), &client, &forwarded, &template());
        for (name, wanted) in [
            ("host", "a.test:8000"),
            ("x-forwarded-host", "a.test:8000"),
            ("x-forwarded-port", "8000"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-proto", "http"),
            ("x-real-ip", "10.0.0.1"),
            ("x-request-id", "id"),
            ("x-narthex-hops", "2"),
        ] {
            assert_eq!(headers.get(name).unwrap(), wanted, "{name}");
        }
        assert_eq!(headers.len(), 8);
    }
}
