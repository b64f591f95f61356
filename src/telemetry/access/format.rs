//! The three formats. Nothing of what a client sends can end a line or a quoted string, or drive a terminal.

use super::entry::Entry;
use super::options::{Format, Options};
use http::{HeaderName, HeaderValue, header};
use jiff::tz::TimeZone;
use std::io::Write;
use std::time::Duration;

/// Bytes of a target and of a field's value that are shown; the rest is cut.
const MOST_OF_TARGET: usize = 8 << 10;
const MOST_OF_VALUE: usize = 1 << 10;

/// Adds a line.
pub fn write(options: &Options, entry: &Entry<'_>, out: &mut Vec<u8>) {
    match options.format {
        Format::Off => return,
        Format::Json => json(entry, out),
        Format::Combined => combined(entry, out),
        Format::Traefik => traefik(entry, out),
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
fn combined(entry: &Entry<'_>, out: &mut Vec<u8>) {
    let time = entry.at.to_zoned(TimeZone::UTC);
    // Writing to a vector cannot fail.
    let _ = write!(
        out,
        "{} - - [{}] ",
        entry.client,
        time.strftime("%d/%b/%Y:%H:%M:%S +0000")
    );
    quote(&[&request_line(entry)], out);
    let _ = write!(out, " {} {} ", entry.status, entry.bytes_out);
    for (index, name) in [header::REFERER, header::USER_AGENT].iter().enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        let value = entry.headers.iter().find(|(other, _)| other == name);
        let value = value.map_or(&b"-"[..], |(_, value)| value.as_bytes());
        quote(&[cut(value, MOST_OF_VALUE)], out);
    }
}

fn request_line(entry: &Entry<'_>) -> Vec<u8> {
    let Some(method) = entry.method else {
        return b"-".to_vec();
    };
    let protocol = entry.protocol.unwrap_or_default();
    [
        method.as_bytes(),
        cut(entry.target, MOST_OF_TARGET),
        protocol.as_bytes(),
    ]
    .join(&b' ')
}

/// The same, and `$count "$route" "$server" $milliseconds`.
fn traefik(entry: &Entry<'_>, out: &mut Vec<u8>) {
    combined(entry, out);
    let _ = write!(out, " {} ", entry.count);
    quote(&[entry.route.unwrap_or("-").as_bytes()], out);
    out.push(b' ');
    let server = entry.endpoint.map(|endpoint| format!("http://{}", endpoint.address));
    quote(&[server.as_deref().unwrap_or("-").as_bytes()], out);
    let _ = write!(out, " {}ms", entry.total.as_millis());
}

/// In quotes, all but printable ASCII as `\xXX`, as nginx does.
fn quote(parts: &[&[u8]], out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in parts.iter().copied().flatten() {
        match byte {
            b'"' | b'\\' | 0..=0x1f | 0x7f..=0xff => {
                let _ = write!(out, "\\x{byte:02X}");
            }
            _ => out.push(*byte),
        }
    }
    out.push(b'"');
}

fn json(entry: &Entry<'_>, out: &mut Vec<u8>) {
    let target = cut(entry.target, MOST_OF_TARGET);
    let (path, query) = match target.iter().position(|byte| *byte == b'?') {
        Some(at) => (target.get(..at).unwrap_or_default(), target.get(at + 1..)),
        None => (target, None),
    };
    let text = |text: Option<&'_ str>| text.map(str::as_bytes).map(<[u8]>::to_vec);
    let mut object = Object { out, first: true };
    object.open();
    object.text("time", format!("{:.3}", entry.at).as_bytes());
    object.text("client", entry.client.to_string().as_bytes());
    object.text("peer", entry.peer.to_string().as_bytes());
    object.optional("method", text(entry.method).as_deref());
    object.text("scheme", entry.scheme.as_bytes());
    object.optional("host", Some(entry.host).filter(|host| !host.is_empty()));
    object.optional("path", entry.method.map(|_| path));
    object.optional("query", query);
    object.optional("protocol", text(entry.protocol).as_deref());
    object.optional("tls", text(entry.tls).as_deref());
    object.number("status", entry.status);
    object.optional("reason", text(entry.reason).as_deref());
    object.optional("side", text(entry.side).as_deref());
    object.optional("cause", text(entry.cause).as_deref());
    object.optional("route", text(entry.route).as_deref());
    object.optional("origin", text(entry.origin).as_deref());
    object.optional("service", text(entry.service).as_deref());
    if let Some(endpoint) = entry.endpoint {
        object.text("endpoint", endpoint.address.to_string().as_bytes());
        object.optional("pod", text(endpoint.pod).as_deref());
    }
    object.number("retries", entry.retries);
    object.number("bytes_in", entry.bytes_in);
    object.number("bytes_out", entry.bytes_out);
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
    object.optional("trace_id", text(entry.trace_id).as_deref());
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

    fn number(&mut self, name: &str, value: impl std::fmt::Display) {
        self.name(name);
        let _ = write!(self.out, "{value}");
    }

    /// Fields of a head, by name; several of one name as the list they are.
    fn fields(&mut self, name: &str, fields: &[(HeaderName, HeaderValue)]) {
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
                .map(|(_, value)| value.as_bytes())
                .collect();
            self.text(field.as_str(), cut(&values.join(&b", "[..]), MOST_OF_VALUE));
        }
        self.close();
    }
}

/// What is no UTF-8 shows as U+FFFD. Control characters of both ranges, and what some take for the end of a line, are
/// escaped.
fn json_string(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for character in String::from_utf8_lossy(bytes).chars() {
        match character {
            '"' | '\\' => {
                let _ = write!(out, "\\{character}");
            }
            '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(character));
            }
            _ => {
                let _ = write!(out, "{character}");
            }
        }
    }
    out.push(b'"');
}
