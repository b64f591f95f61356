//! A pod that reads requests as strictly as RFC 9112 allows, and keeps what it saw: whatever a proxy lets through that
//! two parsers may read differently is shown as a fault.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What came over a connection, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// A whole request.
    Whole(Message),
    /// Bytes that are no request, and what is wrong with them. Nothing is read after them.
    Fault(&'static str, String),
    /// A request that the connection's end cut short.
    Cut(String),
}

/// A request, taken apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// The request line.
    pub line: String,
    /// Names in lower case, and values.
    pub fields: Vec<(String, String)>,
    /// The body, without chunk lines.
    pub body: String,
    pub trailers: Vec<(String, String)>,
}

impl Message {
    pub fn field(&self, name: &str) -> Vec<&str> {
        let named = self.fields.iter().filter(|(other, _)| other == name);
        named.map(|(_, value)| value.as_str()).collect()
    }
}

/// The pod.
pub struct StrictPod {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl StrictPod {
    /// Listens at an address; port 0 is any.
    pub fn start(address: &str) -> Self {
        let listener = TcpListener::bind(address).unwrap_or_else(|error| panic!("{address}: {error}"));
        let pod = Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
        };
        let seen = pod.seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = seen.clone();
                std::thread::spawn(move || converse(stream, &seen));
            }
        });
        pod
    }

    /// All that was seen since the start.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn converse(mut stream: TcpStream, seen: &Mutex<Vec<Seen>>) {
    let note = |what| seen.lock().unwrap().push(what);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut buffer = Vec::new();
    loop {
        match parse(&buffer) {
            Ok(Some((message, length))) => {
                buffer.drain(..length);
                note(Seen::Whole(message));
                if stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n")
                    .is_err()
                {
                    return;
                }
            }
            Err(why) => {
                note(Seen::Fault(why, text(&buffer)));
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                return;
            }
            Ok(None) => {
                let mut piece = [0; 65536];
                match stream.read(&mut piece) {
                    Ok(count) if count > 0 => buffer.extend_from_slice(&piece[..count]),
                    _ => {
                        if !buffer.is_empty() {
                            note(Seen::Cut(text(&buffer)));
                        }
                        return;
                    }
                }
            }
        }
    }
}

type Fields = Vec<(String, String)>;
/// Something and how long it is, if all of it is there; or what is wrong with it.
type Parsed<T> = Result<Option<(T, usize)>, &'static str>;

fn is_token(text: &[u8]) -> bool {
    let special = |byte: &u8| b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(|byte| byte.is_ascii_alphanumeric() || special(byte))
}

/// The first line and how long it is with its end; a CR or LF that is no part of a line end is a fault.
fn line(bytes: &[u8]) -> Parsed<&[u8]> {
    let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n' | 0)) else {
        return Ok(None);
    };
    match (bytes[end], bytes.get(end + 1)) {
        (0, _) => Err("NUL"),
        (b'\n', _) => Err("bare LF"),
        (_, None) => Ok(None),
        (_, Some(b'\n')) => Ok(Some((&bytes[..end], end + 2))),
        _ => Err("bare CR"),
    }
}

/// Field lines up to the empty one.
fn fields(bytes: &[u8]) -> Parsed<Fields> {
    let (mut all, mut at) = (Fields::new(), 0);
    loop {
        let Some((text, length)) = line(&bytes[at..])? else {
            return Ok(None);
        };
        at += length;
        if text.is_empty() {
            return Ok(Some((all, at)));
        }
        if matches!(text[0], b' ' | b'\t') {
            return Err("a folded line");
        }
        let colon = text.iter().position(|byte| *byte == b':').ok_or("no colon")?;
        let (name, value) = (&text[..colon], &text[colon + 1..]);
        if !is_token(name) {
            return Err("an invalid field name");
        }
        if value
            .iter()
            .any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f)
        {
            return Err("a control character in a value");
        }
        let value = String::from_utf8_lossy(value).trim_matches([' ', '\t']).to_owned();
        all.push((String::from_utf8_lossy(name).to_lowercase(), value));
    }
}

fn chunks(bytes: &[u8]) -> Parsed<(Vec<u8>, Fields)> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let Some((text, length)) = line(&bytes[at..])? else {
            return Ok(None);
        };
        at += length;
        let size = std::str::from_utf8(text).ok().filter(|text| !text.starts_with('+'));
        let size = size.and_then(|text| usize::from_str_radix(text, 16).ok());
        let size = size.ok_or("an invalid chunk size, or an extension")?;
        if size == 0 {
            let section = fields(&bytes[at..])?;
            return Ok(section.map(|(trailers, length)| ((body, trailers), at + length)));
        }
        let Some(data) = bytes.get(at..at.saturating_add(size).saturating_add(2)) else {
            return Ok(None);
        };
        if !data.ends_with(b"\r\n") {
            return Err("a chunk without its end");
        }
        body.extend_from_slice(&data[..size]);
        at += size + 2;
    }
}

/// The first request of a buffer and its length, if all of it is there.
fn parse(bytes: &[u8]) -> Parsed<Message> {
    let Some((first, begins)) = line(bytes)? else {
        return Ok(None);
    };
    let words: Vec<&[u8]> = first.split(|byte| *byte == b' ').collect();
    let [method, target, version] = words[..] else {
        return Err("an invalid request line");
    };
    if !is_token(method) || target.is_empty() || !matches!(version, b"HTTP/1.1" | b"HTTP/1.0") {
        return Err("an invalid request line");
    }
    let visible = |byte: &u8| byte.is_ascii_graphic() && *byte != b'#';
    // An origin server has to take an absolute target too (RFC 9112, section 3.2.2).
    let known = target.starts_with(b"/") || target.to_ascii_lowercase().starts_with(b"http://");
    if !(known && target.iter().all(visible)) {
        return Err("an invalid target");
    }
    let Some((fields, length)) = fields(&bytes[begins..])? else {
        return Ok(None);
    };
    let mut message = Message {
        line: String::from_utf8_lossy(first).into_owned(),
        fields,
        body: String::new(),
        trailers: Fields::new(),
    };
    let at = begins + length;
    if message.field("host").len() != 1 && version == b"HTTP/1.1" {
        return Err("not one Host");
    }
    let body = match (
        &message.field("content-length")[..],
        &message.field("transfer-encoding")[..],
    ) {
        ([], []) => Some((Default::default(), 0)),
        ([length], []) => {
            let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
            let length: usize = length.parse().ok().filter(|_| digits).ok_or("an invalid length")?;
            bytes
                .get(at..at.saturating_add(length))
                .map(|body| ((body.to_vec(), Fields::new()), length))
        }
        ([], [coding]) if coding.eq_ignore_ascii_case("chunked") && version == b"HTTP/1.1" => chunks(&bytes[at..])?,
        ([], _) => return Err("a transfer coding other than chunked"),
        ([_, ..], []) => return Err("two lengths"),
        _ => return Err("both framings"),
    };
    Ok(body.map(|((body, trailers), length)| {
        message.body = String::from_utf8_lossy(&body).into_owned();
        message.trailers = trailers;
        (message, at + length)
    }))
}
