//! The fields that a pod gets: which of the client's pass, which go, and which are ours (RFC 9110 §7.6.1, RFC 7239;
//! docs/security.md, rows 20-22).

use super::access::Granted;
use super::certificate::Told;
use super::client::Client;
use super::facts::{ConnectionOptions, Facts, connection_options};
use super::names::{is_hop_by_hop, is_managed, misleads};
use super::peer::Peer;
use super::upgrade::Key;
use crate::message::{Field, Fields, Name, Value};
use crate::table::canonical::canonical_host;
use crate::table::{ForwardedFields, RequestFields};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

/// What is said to a pod of a request besides what the client says.
pub struct Forwarded<'a> {
    /// `Host` as the pod gets it; absent for an HTTP/1.0 request without one, which gets the pod's address.
    pub host: Option<&'a [u8]>,
    /// `Host` as the client said it, for `X-Forwarded-Host`.
    pub asked_host: Option<&'a [u8]>,
    /// The pod's address.
    pub endpoint: SocketAddr,
    /// The port in the client's `Host`.
    pub port: Option<u16>,
    /// The id the request came with or got.
    pub request_id: &'a [u8],
    /// How often it has passed through narthex, this time included.
    pub hops: u8,
    /// Whether it has a body whose length is not known.
    pub chunked: bool,
    /// Whether the pod speaks HTTP/2, which has no fields of one hop.
    pub multiplexed: bool,
    /// Whether it asks for a WebSocket.
    pub upgrade: bool,
    /// Over HTTP/2, where the handshake with the pod is ours: its key.
    pub key: Option<&'a Key>,
    /// The span that the attempt has, if it is recorded.
    pub trace: Option<&'a Trace>,
    /// What the client's fields say.
    pub facts: &'a Facts<'a>,
    /// What was found out about the client, where it was asked who it is.
    pub granted: Option<&'a Granted>,
    /// What the pod is told of the client's certificate, where its host asks for one.
    pub told: Option<&'a Told>,
    /// What the route changes of them, where it does.
    pub changes: Option<&'a Changes<'a>>,
    /// Whether it is told to be the last one of its connection.
    pub closes: bool,
    /// What becomes of the words of a trusted proxy.
    pub mode: ForwardedFields,
}

/// What a route changes of the fields that a pod gets.
pub struct Changes<'a> {
    /// Which fields of the client's go.
    pub of: &'a RequestFields,
    /// What it gets.
    pub more: Fields,
}

/// What is said to a pod of the trace that a request belongs to.
pub struct Trace {
    /// `traceparent`.
    pub parent: HeaderValue,
    /// Whether `tracestate` is of that trace too.
    pub keeps_state: bool,
}

/// Where the fields for a pod are written.
pub trait Sink {
    /// Writes a field. Its name ends with a colon and a blank.
    fn field(&mut self, name: &'static str, value: &[u8]);
    /// Writes a whole line, which ends with CRLF.
    fn line(&mut self, line: &'static str) {
        if let Some((name, value)) = line
            .trim_end()
            .split_at_checked(line.find(": ").map_or(0, |colon| colon + 2))
        {
            self.field(name, value.as_bytes());
        }
    }
    /// Writes fields as they came.
    fn lines(&mut self, fields: &Fields, lines: Range<usize>);
    /// Writes the first ones of fields that were put in one by one.
    fn first_lines(&mut self, fields: &Fields, count: usize) {
        self.lines(fields, 0..count);
    }
}

/// A head of HTTP/1.1.
impl Sink for Vec<u8> {
    // Inlined since the length of the name is known where it is called.
    #[inline(always)]
    fn field(&mut self, name: &'static str, value: &[u8]) {
        self.extend_from_slice(name.as_bytes());
        self.extend_from_slice(value);
        self.extend_from_slice(b"\r\n");
    }

    #[inline(always)]
    fn line(&mut self, line: &'static str) {
        self.extend_from_slice(line.as_bytes());
    }

    fn lines(&mut self, fields: &Fields, lines: Range<usize>) {
        fields.write_lines(lines, self);
    }

    fn first_lines(&mut self, fields: &Fields, count: usize) {
        fields.write_appended(count, self);
    }
}

/// A head of HTTP/2. What the `http` crate does not take is left out, but every reader has checked it.
impl Sink for HeaderMap {
    fn field(&mut self, name: &'static str, value: &[u8]) {
        let name = name.trim_end_matches(": ");
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value)) {
            self.append(name, value);
        }
    }

    fn lines(&mut self, fields: &Fields, lines: Range<usize>) {
        for field in fields.iter().skip(lines.start).take(lines.len()) {
            if let (Ok(name), Some(value)) = (HeaderName::from_bytes(field.name), field.value.to_header()) {
                self.append(name, value);
            }
        }
    }
}

/// Writes the fields that a pod gets: `Host`, then the client's in their order, then ours.
pub fn write_fields(out: &mut impl Sink, original: &Fields, client: &Client, forwarded: &Forwarded<'_>) {
    match forwarded.host {
        Some(host) => out.field("Host: ", host),
        // HTTP/1.1 has no requests without Host, and the pod gets HTTP/1.1.
        None => out.field("Host: ", forwarded.endpoint.to_string().as_bytes()),
    }
    let options = if forwarded.facts.connection {
        connection_options(original)
    } else {
        ConnectionOptions::new()
    };
    let mode = forwarded.mode;
    let trusted = client.peer.trusted && mode != ForwardedFields::Replace;
    let keeps_list = trusted
        && match mode {
            ForwardedFields::Append | ForwardedFields::Replace => false,
            ForwardedFields::IfNone => original.contains(&Name::XForwardedFor),
            ForwardedFields::Never => true,
        };
    let passes = |field: Field<'_>| {
        stays(field, &options, trusted, forwarded) || (keeps_list && field.known == Name::XForwardedFor)
    };
    match (forwarded.granted, forwarded.changes, forwarded.told) {
        (None, None, None) => write_those(out, original, passes),
        (granted, changes, told) => write_those(out, original, |field| {
            passes(field)
                && !granted.is_some_and(|granted| granted.takes(field))
                && !changes.is_some_and(|changes| changes.of.replaces(field.name))
                && !told.is_some_and(|_| Told::takes(field.name))
        }),
    }
    write_framing(out, original, forwarded);
    match mode {
        ForwardedFields::Never => {}
        _ if trusted => append_to_trusted(out, original, (client, keeps_list), forwarded),
        _ => write_origin(out, &client.peer, forwarded),
    }
    out.field("X-Request-Id: ", forwarded.request_id);
    out.line(hops(forwarded.hops));
    if let Some(trace) = forwarded.trace {
        out.field("traceparent: ", trace.parent.as_bytes());
    }
    if let Some(changes) = forwarded.changes {
        out.lines(&changes.more, 0..changes.more.len());
    }
    if let Some(told) = forwarded.told {
        out.lines(&told.fields, 0..told.fields.len());
    }
    if let Some(granted) = forwarded.granted {
        out.lines(&granted.fields, 0..granted.fields.len());
    }
}

/// Writes the client's fields that pass.
#[inline(always)]
fn write_those(out: &mut impl Sink, original: &Fields, passes: impl Fn(Field<'_>) -> bool) {
    let mut run = 0..0;
    for field in original.iter() {
        if !passes(field) {
            if !run.is_empty() {
                out.lines(original, run.clone());
            }
            run.start = run.end + 1;
        }
        run.end += 1;
    }
    if !run.is_empty() {
        out.lines(original, run);
    }
}

/// Whether a field of the client's passes as it is.
#[inline]
fn stays(field: Field<'_>, options: &ConnectionOptions<'_>, trusted: bool, forwarded: &Forwarded<'_>) -> bool {
    let named = || !options.is_empty() && options.iter().any(|option| field.name.eq_ignore_ascii_case(option));
    let goes = match field.known {
        Name::Host | Name::Expect | Name::XRequestId | Name::XNarthexHops => true,
        known if is_hop_by_hop(known) => true,
        // It is written again, in another form.
        Name::Cookie if forwarded.facts.crumbs => true,
        Name::ContentLength => is_padded(field.value),
        Name::XForwardedFor if trusted => true,
        Name::Traceparent if forwarded.trace.is_some() => true,
        // It belongs to a trace that is not this one.
        Name::Tracestate if forwarded.trace.is_some_and(|trace| !trace.keeps_state) => true,
        Name::SecWebsocketKey if forwarded.key.is_some() => true,
        known => (!trusted && is_managed(known, field.name)) || misleads(known, field.name) || named(),
    };
    !goes
}

/// All `Cookie` fields as one. HTTP/2 clients send a cookie in crumbs, and over HTTP/1.1 it must be one line again (RFC 9113,
/// section 8.2.3). Empty ones are left out, or the line would end in white space.
pub fn joined_cookie(fields: &Fields) -> Vec<u8> {
    let crumbs = fields.get_all(&Name::Cookie).map(Value::as_bytes);
    let crumbs: Vec<&[u8]> = crumbs.filter(|crumb| !crumb.is_empty()).collect();
    crumbs.join(&b"; "[..])
}

/// Writes what frames the body, what is for the next hop, and what has another form there.
fn write_framing(out: &mut impl Sink, original: &Fields, forwarded: &Forwarded<'_>) {
    let facts = forwarded.facts;
    if forwarded.chunked && !forwarded.multiplexed {
        out.field("Transfer-Encoding: ", b"chunked");
    }
    if let Some(length) = facts.length.filter(|length| is_padded(*length)) {
        out.field("Content-Length: ", shortened(length));
    }
    if facts.crumbs {
        out.field("Cookie: ", &joined_cookie(original));
    }
    if facts.takes_trailers {
        out.field("TE: ", b"trailers");
    }
    if forwarded.upgrade {
        out.field("Connection: ", b"upgrade");
        out.field("Upgrade: ", b"websocket");
    } else if forwarded.closes && !forwarded.multiplexed {
        let takes = facts.takes_trailers;
        out.field("Connection: ", if takes { b"close, te" } else { b"close" });
    } else if facts.takes_trailers && !forwarded.multiplexed {
        out.field("Connection: ", b"te");
    }
    if let Some(key) = forwarded.key {
        out.field("Sec-WebSocket-Key: ", key.text().as_bytes());
        if !original.contains(&Name::SecWebsocketVersion) {
            out.field("Sec-WebSocket-Version: ", b"13");
        }
    }
}

/// `000` is a length like any other (RFC 9110, section 8.6), but not every server takes it for one.
fn is_padded(length: Value<'_>) -> bool {
    matches!(length.as_bytes(), [b'0', _, ..])
}

fn shortened(length: Value<'_>) -> &[u8] {
    let digits = length.as_bytes();
    let zeroes = digits.iter().take_while(|byte| **byte == b'0').count();
    digits
        .get(zeroes.min(digits.len().saturating_sub(1))..)
        .unwrap_or_default()
}

/// Writes where a stranger's request comes from.
fn write_origin(out: &mut impl Sink, peer: &Peer, forwarded: &Forwarded<'_>) {
    if let Some(host) = forwarded.asked_host {
        out.field("X-Forwarded-Host: ", host);
    }
    let told;
    let origin = if peer.trusted {
        told = super::peer::origin(peer.ip, peer.scheme);
        &told
    } else {
        &peer.origin
    };
    match forwarded.port {
        // The last line says the usual port of the scheme.
        Some(port) => {
            out.first_lines(origin, origin.len().saturating_sub(1));
            out.field("X-Forwarded-Port: ", Digits::of(port).as_bytes());
        }
        None => out.first_lines(origin, origin.len()),
    }
}

/// A trusted proxy's words stay; our part is added. A list that is kept as it is gets none.
fn append_to_trusted(
    out: &mut impl Sink,
    original: &Fields,
    (client, keeps_list): (&Client, bool),
    forwarded: &Forwarded<'_>,
) {
    if !keeps_list {
        append_to_lists(out, original, client);
    }
    let said = client.told_host();
    if !original.contains(&Name::XForwardedProto) {
        out.field("X-Forwarded-Proto: ", client.scheme().as_bytes());
    }
    if !original.contains(&Name::XForwardedPort) {
        let named = original.get(&Name::XForwardedHost).map(Value::as_bytes);
        let named = named.or(said.as_deref().map(str::as_bytes));
        let port = told_port(client.scheme(), named, forwarded.port);
        out.field("X-Forwarded-Port: ", Digits::of(port).as_bytes());
    }
    if !original.contains(&Name::XForwardedHost)
        && let Some(host) = said.as_deref().map(str::as_bytes).or(forwarded.asked_host)
    {
        out.field("X-Forwarded-Host: ", host);
    }
    if !original.contains(&Name::XRealIp) {
        out.field("X-Real-IP: ", client.address().to_string().as_bytes());
    }
}

/// Adds the proxy that we see to the lists of those that the request came through.
fn append_to_lists(out: &mut impl Sink, original: &Fields, client: &Client) {
    let peer = &*client.peer;
    let mut list = Vec::new();
    for line in original.get_all(&Name::XForwardedFor) {
        list.extend_from_slice(line.as_bytes());
        list.extend_from_slice(b", ");
    }
    if list.is_empty() && client.address() != peer.ip {
        // The proxy has named the client in `Forwarded`; many servers know the older field only. Writing to a Vec does
        // not fail.
        let _ = write!(list, "{}, ", client.address());
    }
    let _ = write!(list, "{}", peer.ip);
    out.field("X-Forwarded-For: ", &list);
    if original.contains(&Name::Forwarded) {
        let node = match peer.ip {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("\"[{v6}]\""),
        };
        out.field("Forwarded: ", format!("for={node};proto={}", peer.scheme).as_bytes());
    }
}

/// The port a client came in by, as far as a trusted proxy tells: that of the host it names, else of the host the
/// request is for, unless that is the other scheme's.
fn told_port(scheme: &str, said: Option<&[u8]>, port: Option<u16>) -> u16 {
    let (own, other) = if scheme == "https" { (443, 80) } else { (80, 443) };
    let port = match said {
        Some(said) => std::str::from_utf8(said)
            .ok()
            .and_then(|host| canonical_host(host).ok()?.port),
        None => port,
    };
    port.filter(|port| *port != other).unwrap_or(own)
}

/// A small number as text, without memory of its own.
struct Digits {
    bytes: [u8; 5],
    start: usize,
}

impl Digits {
    fn of(mut number: u16) -> Self {
        let mut digits = Self {
            bytes: [0; 5],
            start: 5,
        };
        for place in digits.bytes.iter_mut().rev() {
            *place = b'0' + (number % 10) as u8;
            digits.start -= 1;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        digits
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }
}

fn hops(hops: u8) -> &'static str {
    match hops {
        0 | 1 => "X-Narthex-Hops: 1\r\n",
        2 => "X-Narthex-Hops: 2\r\n",
        3 => "X-Narthex-Hops: 3\r\n",
        4 => "X-Narthex-Hops: 4\r\n",
        _ => "X-Narthex-Hops: 5\r\n",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::Ends;
    use crate::table::ListenerId;
    use std::rc::Rc;

    fn written(lines: &[(&str, &str)]) -> String {
        let mut original = Fields::new();
        for (name, value) in lines {
            original.append(*name, value);
        }
        let facts = Facts::of(&original);
        let ends = Ends {
            client: "10.0.0.1:5".parse().unwrap(),
            local: "10.0.0.2:80".parse().unwrap(),
            tls_version: None,
            silent_on_tls: false,
        };
        let client = Client::new(Rc::new(Peer::new(ListenerId::default(), ends, false, None, None)));
        let forwarded = Forwarded {
            host: Some(b"a.test:8000"),
            asked_host: Some(b"a.test:8000"),
            endpoint: "10.0.0.9:80".parse().unwrap(),
            port: Some(8000),
            request_id: b"id",
            hops: 2,
            chunked: false,
            multiplexed: false,
            upgrade: false,
            key: None,
            trace: None,
            facts: &facts,
            granted: None,
            told: None,
            changes: None,
            closes: false,
            mode: ForwardedFields::Append,
        };
        let mut out = Vec::new();
        write_fields(&mut out, &original, &client, &forwarded);
        String::from_utf8(out).unwrap()
    }

    const OURS: &str = "X-Forwarded-Host: a.test:8000\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: http\r\n\
                        X-Real-IP: 10.0.0.1\r\nX-Forwarded-Port: 8000\r\nX-Request-Id: id\r\nX-Narthex-Hops: 2\r\n";

    #[test]
    fn what_stays_keeps_its_order_and_its_case() {
        let lines = [
            ("X-CamelCase", "1"),
            ("HOST", "a.test:8000"),
            ("b", "2"),
            ("X-Forwarded-For", "6.6.6.6"),
            ("X_Real_Ip", "6.6.6.6"),
            ("Connection", "keep-alive, X-Gone"),
            ("x-gone", "3"),
            ("C", ""),
        ];
        let wanted = format!("Host: a.test:8000\r\nX-CamelCase: 1\r\nb: 2\r\nC: \r\n{OURS}");
        assert_eq!(written(&lines), wanted);
    }

    #[test]
    fn numbers_are_written_without_zeroes_before_them() {
        for number in [0, 7, 80, 443, 8080, 65535] {
            assert_eq!(Digits::of(number).as_bytes(), number.to_string().as_bytes());
        }
    }
}
