//! The three formats. Nothing of what a client sends can end a line or a quoted string, or drive a terminal.

use super::entry::Entry;
use super::options::{AccessOptions, Format};
use crate::model::visible::{Keep, visible};
use http::{HeaderName, header};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;

/// Bytes of a target and of a field's value that are shown; the rest is cut.
const MOST_OF_TARGET: usize = 8 << 10;
const MOST_OF_VALUE: usize = 1 << 10;

/// The second that was written last, as text: most lines have the same as the one before.
#[derive(Debug, Default)]
pub struct Second {
    second: Option<i64>,
    text: String,
}

impl Second {
    /// The second in a format, which is the same each time.
    fn of(&mut self, at: Timestamp, format: &str) -> &[u8] {
        let second = at.as_second();
        if self.second != Some(second) {
            self.second = Some(second);
            self.text = at.to_zoned(TimeZone::UTC).strftime(format).to_string();
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

fn micros(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// Client, two dashes for users that are not known (Authorization is never looked at), time, request line, status, bytes,
/// referrer, agent.
fn combined(entry: &Entry<'_>, second: &mut Second, out: &mut Vec<u8>) {
    address(entry.client, out);
    out.extend_from_slice(b" - - [");
    out.extend_from_slice(second.of(entry.at, "%d/%b/%Y:%H:%M:%S +0000"));
    out.extend_from_slice(b"] ");
    match entry.method {
        None => quote(&[b"-"], out),
        Some(method) => {
            let protocol = entry.protocol.unwrap_or_default();
            let target = cut(entry.target, MOST_OF_TARGET);
            quote(&[method.as_bytes(), b" ", target, b" ", protocol.as_bytes()], out);
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
        quote(&[cut(value, MOST_OF_VALUE)], out);
    }
}

/// The same, and `$count "$route" "$server" $milliseconds`.
fn traefik(entry: &Entry<'_>, second: &mut Second, out: &mut Vec<u8>) {
    combined(entry, second, out);
    // Writing to a vector cannot fail.
    let _ = write!(out, " {} ", entry.count);
    quote(&[entry.route.unwrap_or("-").as_bytes()], out);
    let _ = match entry.endpoint {
        Some(endpoint) => write!(out, " \"http://{}\"", endpoint.address),
        None => write!(out, " \"-\""),
    };
    let _ = write!(out, " {}ms", entry.total.as_millis());
}

/// Whether a byte stands for itself in both kinds of quotes.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')
}

/// Whether all bytes do. It looks at blocks as a whole, so that it compiles to vector instructions.
fn is_all_plain(bytes: &[u8]) -> bool {
    let (blocks, rest) = bytes.as_chunks::<16>();
    let all = |bytes: &[u8]| bytes.iter().fold(true, |all, byte| all & is_plain(*byte));
    blocks.iter().all(|block| all(block)) && all(rest)
}

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

/// In quotes, all but printable ASCII as `\xXX`, as nginx does.
fn quote(parts: &[&[u8]], out: &mut Vec<u8>) {
    out.push(b'"');
    for part in parts {
        if is_all_plain(part) {
            out.extend_from_slice(part);
            continue;
        }
        for run in part.chunk_by(|a, b| is_plain(*a) == is_plain(*b)) {
            if run.first().is_some_and(|byte| is_plain(*byte)) {
                out.extend_from_slice(run);
            } else {
                for byte in run {
                    let _ = write!(out, "\\x{byte:02X}");
                }
            }
        }
    }
    out.push(b'"');
}

fn json(entry: &Entry<'_>, second: &mut Second, out: &mut Vec<u8>) {
    let target = cut(entry.target, MOST_OF_TARGET);
    let (path, query) = match target.iter().position(|byte| *byte == b'?') {
        Some(at) => (target.get(..at).unwrap_or_default(), target.get(at + 1..)),
        None => (target, None),
    };
    let mut object = Object { out, first: true };
    object.open();
    object.name("time");
    object.out.push(b'"');
    object.out.extend_from_slice(second.of(entry.at, "%Y-%m-%dT%H:%M:%S"));
    let _ = write!(object.out, ".{:03}Z\"", entry.at.subsec_millisecond());
    object.name("client");
    object.out.push(b'"');
    address(entry.client, object.out);
    object.out.push(b'"');
    object.address("peer", entry.peer);
    object.optional("method", entry.method.map(str::as_bytes));
    object.text("scheme", entry.scheme.as_bytes());
    object.optional("host", Some(entry.host).filter(|host| !host.is_empty()));
    object.optional("path", entry.method.map(|_| path));
    object.optional("query", query);
    object.optional("protocol", entry.protocol.map(str::as_bytes));
    object.optional("tls", entry.tls.map(str::as_bytes));
    object.count("status", entry.status);
    object.optional("reason", entry.reason.map(str::as_bytes));
    object.optional("side", entry.side.map(str::as_bytes));
    object.optional("cause", entry.cause.map(str::as_bytes));
    object.optional("route", entry.route.map(str::as_bytes));
    object.optional("origin", entry.origin.map(str::as_bytes));
    object.optional("service", entry.service.map(str::as_bytes));
    if let Some(endpoint) = entry.endpoint {
        object.address("endpoint", endpoint.address);
        object.optional("pod", endpoint.pod.map(str::as_bytes));
    }
    object.count("retries", entry.retries);
    object.count("bytes_in", entry.bytes_in);
    object.count("bytes_out", entry.bytes_out);
    object.number("duration_ms", micros(entry.total));
    for (name, time) in [("connect_ms", entry.connect), ("backend_ms", entry.backend)] {
        if let Some(time) = time {
            object.number(name, micros(time));
        }
    }
    object.optional(
        "request_id",
        Some(cut(entry.request_id, MOST_OF_VALUE)).filter(|id| !id.is_empty()),
    );
    object.optional("trace_id", entry.trace_id.map(str::as_bytes));
    object.fields("headers", entry.headers);
    object.fields("response_headers", entry.response_headers);
    object.close();
}

/// A JSON object being written.
struct Object<'o> {
    out: &'o mut Vec<u8>,
    first: bool,
}

impl Object<'_> {
    fn open(&mut self) {
        self.out.push(b'{');
        self.first = true;
    }

    fn close(&mut self) {
        self.out.push(b'}');
        self.first = false;
    }

    fn name(&mut self, name: &str) {
        if !std::mem::replace(&mut self.first, false) {
            self.out.push(b',');
        }
        json_string(name.as_bytes(), self.out);
        self.out.push(b':');
    }

    fn text(&mut self, name: &str, value: &[u8]) {
        self.name(name);
        json_string(value, self.out);
    }

    fn optional(&mut self, name: &str, value: Option<&[u8]>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// What has nothing that would have to be escaped.
    fn address(&mut self, name: &str, value: impl std::fmt::Display) {
        self.name(name);
        let _ = write!(self.out, "\"{value}\"");
    }

    fn count(&mut self, name: &str, value: impl itoa::Integer) {
        self.name(name);
        number(value, self.out);
    }

    fn number(&mut self, name: &str, value: impl std::fmt::Display) {
        self.name(name);
        let _ = write!(self.out, "{value}");
    }

    /// Fields of a head, by name; several of one name as the list they are.
    fn fields(&mut self, name: &str, fields: &[(&HeaderName, &[u8])]) {
        if fields.is_empty() {
            return;
        }
        self.name(name);
        self.open();
        let mut last: Option<&HeaderName> = None;
        for (field, _) in fields {
            // Those of one name stand together.
            if last.replace(field) == Some(field) {
                continue;
            }
            let values: Vec<&[u8]> = fields
                .iter()
                .filter(|(other, _)| other == field)
                .map(|(_, value)| *value)
                .collect();
            self.text(field.as_str(), cut(&values.join(&b", "[..]), MOST_OF_VALUE));
        }
        self.close();
    }
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
