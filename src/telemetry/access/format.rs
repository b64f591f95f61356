//! The three formats. Nothing of what a client sends can end a line or a quoted string, or drive a terminal.

use super::entry::Entry;
use super::options::{AccessOptions, Format};
use crate::model::visible::{Keep, visible};
use http::{HeaderName, header};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Bytes of a target and of a field's value that are shown; the rest is cut.
const MOST_OF_TARGET: usize = 8 << 10;
const MOST_OF_VALUE: usize = 1 << 10;

/// Room for most lines.
const USUAL: usize = 768;

/// The second that was written last, as text: most lines have the same as the one before.
#[derive(Debug, Default)]
pub struct Second {
    second: Option<u64>,
    text: String,
}

impl Second {
    /// The second in a format, which is the same each time.
    fn of(&mut self, at: Duration, format: &str) -> &[u8] {
        let second = at.as_secs();
        if self.second != Some(second) {
            self.second = Some(second);
            let at = i64::try_from(second)
                .ok()
                .and_then(|second| Timestamp::from_second(second).ok());
            let at = at.unwrap_or_default().to_zoned(TimeZone::UTC);
            self.text = at.strftime(format).to_string();
        }
        self.text.as_bytes()
    }
}

/// Adds a line.
pub fn write(options: &AccessOptions, entry: &Entry<'_>, second: &mut Second, out: &mut Vec<u8>) {
    match options.format {
        Format::Off => return,
        Format::Json => json(entry, second, out),
        Format::Combined => combined(entry, second, out),
        Format::Traefik => traefik(entry, second, out),
    }
    out.push(b'\n');
}

fn cut(bytes: &[u8], most: usize) -> &[u8] {
    bytes.get(..most).unwrap_or(bytes)
}

/// Writes milliseconds with as many digits behind the point as it takes, three at most.
fn milliseconds(time: Duration, out: &mut Vec<u8>) {
    let micros = (time + Duration::from_nanos(500)).as_micros();
    number(micros / 1000, out);
    let mut rest = (micros % 1000) as u16;
    if rest > 0 {
        out.push(b'.');
        let mut unit = 100;
        while rest > 0 {
            out.push(b'0' + (rest / unit) as u8);
            rest %= unit;
            unit /= 10;
        }
    }
}

/// Client, two dashes for users that are not known (Authorization is never looked at), time, request line, status, bytes,
/// referrer, agent.
fn combined(entry: &Entry<'_>, second: &mut Second, out: &mut Vec<u8>) {
    out.reserve(USUAL);
    address(entry.client, out);
    out.extend_from_slice(b" - - [");
    out.extend_from_slice(second.of(entry.at, "%d/%b/%Y:%H:%M:%S +0000"));
    out.extend_from_slice(b"] ");
    match entry.method {
        None => out.extend_from_slice(b"\"-\""),
        Some(method) => {
            // A method is a token, which has nothing to escape.
            out.push(b'"');
            out.extend_from_slice(method.as_bytes());
            out.push(b' ');
            escape(cut(entry.target, MOST_OF_TARGET), out);
            out.push(b' ');
            out.extend_from_slice(entry.protocol.unwrap_or_default().as_bytes());
            out.push(b'"');
        }
    }
    out.push(b' ');
    number(entry.status, out);
    out.push(b' ');
    number(entry.bytes_out, out);
    out.push(b' ');
    for (index, name) in [header::REFERER, header::USER_AGENT].iter().enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        let value = entry.headers.iter().find(|(other, _)| *other == name);
        let value = value.map_or(&b"-"[..], |(_, value)| value);
        quote(cut(value, MOST_OF_VALUE), out);
    }
}

/// The same, and `$count "$route" "$server" $milliseconds`.
fn traefik(entry: &Entry<'_>, second: &mut Second, out: &mut Vec<u8>) {
    combined(entry, second, out);
    // Writing to a vector cannot fail.
    let _ = write!(out, " {} ", entry.count);
    quote(entry.route.unwrap_or("-").as_bytes(), out);
    let _ = match entry.endpoint {
        Some(endpoint) => write!(out, " \"http://{}\"", endpoint.address),
        None => write!(out, " \"-\""),
    };
    let _ = write!(out, " {}ms", entry.total.as_millis());
}

/// Whether a byte stands for itself in both kinds of quotes.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')
}

/// Whether all bytes do. It looks at blocks as a whole, so that it compiles to vector instructions.
fn is_all_plain(bytes: &[u8]) -> bool {
    let (blocks, rest) = bytes.as_chunks::<16>();
    let all = |block: &[u8; 16]| block.iter().fold(true, |all, byte| all & is_plain(*byte));
    blocks.iter().all(all) && rest.iter().all(|byte| PLAIN[usize::from(*byte)])
}

static PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0;
    while byte < plain.len() {
        plain[byte] = is_plain(byte as u8);
        byte += 1;
    }
    plain
};

/// Writes a number, without the costs of formatting.
fn number(number: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Writes an address.
fn address(address: IpAddr, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => {
            for (index, octet) in address.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                number(octet, out);
            }
        }
        IpAddr::V6(address) => {
            let _ = write!(out, "{address}");
        }
    }
}

fn quote(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    escape(text, out);
    out.push(b'"');
}

/// All but printable ASCII as `\xXX`, as nginx does.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    if is_all_plain(text) {
        return out.extend_from_slice(text);
    }
    for run in text.chunk_by(|a, b| is_plain(*a) == is_plain(*b)) {
        if run.first().is_some_and(|byte| is_plain(*byte)) {
            out.extend_from_slice(run);
        } else {
            for byte in run {
                let _ = write!(out, "\\x{byte:02X}");
            }
        }
    }
}

/// Writes an address and a port.
fn socket(socket: SocketAddr, out: &mut Vec<u8>) {
    match socket {
        SocketAddr::V4(socket) => {
            address(IpAddr::V4(*socket.ip()), out);
            out.push(b':');
            number(socket.port(), out);
        }
        SocketAddr::V6(socket) => {
            let _ = write!(out, "{socket}");
        }
    }
}

/// The beginning of a member whose name has nothing to escape, and is not the first.
macro_rules! member {
    ($name:literal) => {
        concat!(",\"", $name, "\":").as_bytes()
    };
}

fn json(entry: &Entry<'_>, second: &mut Second, out: &mut Vec<u8>) {
    let target = cut(entry.target, MOST_OF_TARGET);
    let (path, query) = match target.iter().position(|byte| *byte == b'?') {
        Some(at) => (target.get(..at).unwrap_or_default(), target.get(at + 1..)),
        None => (target, None),
    };
    out.reserve(USUAL);
    out.extend_from_slice(b"{\"time\":\"");
    out.extend_from_slice(second.of(entry.at, "%Y-%m-%dT%H:%M:%S"));
    let thousandths = entry.at.subsec_millis();
    let digit = |unit| b'0' + (thousandths / unit % 10) as u8;
    out.extend_from_slice(&[b'.', digit(100), digit(10), digit(1), b'Z', b'"']);
    out.extend_from_slice(member!("client"));
    quoted(|out| address(entry.client, out), out);
    out.extend_from_slice(member!("peer"));
    quoted(|out| socket(entry.peer, out), out);
    text(member!("method"), entry.method, out);
    text(member!("scheme"), Some(entry.scheme), out);
    text(member!("host"), Some(entry.host).filter(|host| !host.is_empty()), out);
    text(member!("path"), entry.method.map(|_| path), out);
    text(member!("query"), query, out);
    text(member!("protocol"), entry.protocol, out);
    text(member!("tls"), entry.tls, out);
    count(member!("status"), entry.status, out);
    text(member!("reason"), entry.reason, out);
    text(member!("side"), entry.side, out);
    text(member!("cause"), entry.cause, out);
    text(member!("route"), entry.route, out);
    text(member!("origin"), entry.origin, out);
    text(member!("service"), entry.service, out);
    if let Some(endpoint) = entry.endpoint {
        out.extend_from_slice(member!("endpoint"));
        quoted(|out| socket(endpoint.address, out), out);
        text(member!("pod"), endpoint.pod, out);
    }
    count(member!("retries"), entry.retries, out);
    count(member!("bytes_in"), entry.bytes_in, out);
    count(member!("bytes_out"), entry.bytes_out, out);
    time(member!("duration_ms"), Some(entry.total), out);
    time(member!("connect_ms"), entry.connect, out);
    time(member!("backend_ms"), entry.backend, out);
    let request_id = cut(entry.request_id, MOST_OF_VALUE);
    text(member!("request_id"), Some(request_id).filter(|id| !id.is_empty()), out);
    text(member!("trace_id"), entry.trace_id, out);
    fields(member!("headers"), entry.headers, out);
    fields(member!("response_headers"), entry.response_headers, out);
    out.push(b'}');
}

fn quoted(write: impl FnOnce(&mut Vec<u8>), out: &mut Vec<u8>) {
    out.push(b'"');
    write(out);
    out.push(b'"');
}

fn text<T: AsRef<[u8]>>(member: &[u8], value: Option<T>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        out.extend_from_slice(member);
        json_string(value.as_ref(), out);
    }
}

fn count(member: &[u8], value: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(member);
    number(value, out);
}

fn time(member: &[u8], time: Option<Duration>, out: &mut Vec<u8>) {
    if let Some(time) = time {
        out.extend_from_slice(member);
        milliseconds(time, out);
    }
}

/// Fields of a head, by name; several of one name as the list they are.
fn fields(member: &[u8], fields: &[(&HeaderName, &[u8])], out: &mut Vec<u8>) {
    if fields.is_empty() {
        return;
    }
    out.extend_from_slice(member);
    let mut last: Option<&HeaderName> = None;
    for (field, _) in fields {
        // Those of one name stand together.
        let before = last.replace(field);
        if before == Some(field) {
            continue;
        }
        out.push(if before.is_none() { b'{' } else { b',' });
        let values: Vec<&[u8]> = fields
            .iter()
            .filter(|(other, _)| other == field)
            .map(|(_, value)| *value)
            .collect();
        json_string(field.as_str().as_bytes(), out);
        out.push(b':');
        json_string(cut(&values.join(&b", "[..]), MOST_OF_VALUE), out);
    }
    out.push(b'}');
}

/// What is no UTF-8 shows as U+FFFD. Everything is escaped that would drive a terminal or is not seen.
fn json_string(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    if is_all_plain(bytes) {
        out.extend_from_slice(bytes);
        out.push(b'"');
        return;
    }
    let mut encoded = [0; 4];
    for character in String::from_utf8_lossy(bytes).chars() {
        match character {
            '"' | '\\' => {
                let _ = write!(out, "\\{character}");
            }
            _ => {
                let shown = visible(character.encode_utf8(&mut encoded), Keep::Nothing);
                out.extend_from_slice(shown.as_bytes());
            }
        }
    }
    out.push(b'"');
}
