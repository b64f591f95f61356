//! Request lines and field lines (RFC 9112 3 and 5), the latter also those of
//! trailer sections.

use super::class::{IPV6, NAME, PATH, QUERY, TOKEN, is, run, run_text};
use super::{Fault, Framer, State};

/// The longest method that is let through. Registered ones end at 17 bytes.
const METHOD_BYTES: usize = 32;
/// What `http::Uri` allows in an IPv6 address.
const IPV6_COLONS: u8 = 8;
const PORT_DIGITS: u8 = 5;
/// What fits 64 bits without a check (RFC 9112 6.3 leaves the bound to us).
const LENGTH_DIGITS: u8 = 19;

/// Fields that are refused as trailers (RFC 9110 6.5.1). A recipient may merge
/// trailers into the head after everything was decided by the head alone, so
/// none may be one that frames the message, routes it, is about this
/// connection, says who the sender is, modifies how the request is handled, or
/// says how to read the content.
pub(super) const NOT_TRAILERS: &[&str] = &[
    // framing and routing
    "content-length",
    "transfer-encoding",
    "host",
    "max-forwards",
    // the connection
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
    "http2-settings",
    // who sent it
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
    // request modifiers
    "cache-control",
    "expect",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "range",
    // content
    "content-encoding",
    "content-range",
    "content-type",
];

/// Methods that a target's form depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Connect,
    Options,
    /// The beginning of the HTTP/2 preface (RFC 9113 3.4).
    Pri,
    Other,
}

/// Fields whose value matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Host,
    Length,
    Coding,
    Other,
}

impl Field {
    #[inline]
    fn named(name: &[u8]) -> Self {
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => Self::Host,
            14 if name.eq_ignore_ascii_case(b"content-length") => Self::Length,
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => Self::Coding,
            _ => Self::Other,
        }
    }
}

/// A method, scheme or name of which the input so far had only a part.
#[derive(Debug, Clone, Default)]
pub(super) struct Word {
    bytes: [u8; METHOD_BYTES],
    len: u8,
}

impl Word {
    fn clear(&mut self) {
        self.len = 0;
    }

    fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Keeps another part. A word that does not fit is none we look for, so it
    /// may lose its end as long as it is seen not to fit.
    fn push(&mut self, part: &[u8]) {
        for &b in part {
            match self.bytes.get_mut(usize::from(self.len)) {
                Some(place) => *place = b,
                None => {
                    self.len = METHOD_BYTES as u8 + 1;
                    return;
                }
            }
            self.len += 1;
        }
    }

    fn get(&self) -> &[u8] {
        self.bytes.get(..self.len()).unwrap_or_default()
    }

    /// The word that ends with `part`.
    #[inline]
    fn with<'a>(&'a mut self, part: &'a [u8]) -> &'a [u8] {
        if self.len == 0 {
            return part;
        }
        self.push(part);
        self.get()
    }
}

/// The fault of a byte that may not be in a head: a line feed has one of its
/// own wherever it is.
#[cold]
fn odd(b: u8, fault: Fault) -> Fault {
    if b == b'\n' { Fault::BareLf } else { fault }
}

impl Framer {
    /// Makes ready for a head.
    pub(super) fn begin_head(&mut self) {
        self.state = State::Method;
        self.word.clear();
        self.section_bytes = 0;
        self.uri_bytes = 0;
        self.fields = 0;
        self.remaining = 0;
        self.empty_lines = 0;
        self.trailers = false;
        self.host = false;
        self.length = false;
        self.chunked = false;
    }

    /// Makes ready for a trailer section.
    pub(super) fn begin_trailers(&mut self) {
        self.state = State::LineStart;
        self.section_bytes = 0;
        self.fields = 0;
        self.trailers = true;
    }

    /// Follows a head or trailer section up to its end or the end of `w`; how
    /// much was accepted.
    pub(super) fn section(&mut self, w: &[u8], heads: &mut u32) -> usize {
        let (limit, fault) = if self.trailers {
            (self.limits.trailer_bytes, Fault::TrailersTooLong)
        } else {
            (self.limits.head_bytes, Fault::HeadTooLong)
        };
        let room = limit - self.section_bytes;
        let n = self.lines(&w[..w.len().min(room)], heads);
        self.section_bytes += n;
        if n == room && self.state.is_section() {
            return self.stop(n, fault);
        }
        n
    }

    fn lines(&mut self, w: &[u8], heads: &mut u32) -> usize {
        let mut i = 0;
        while let Some(&b) = w.get(i) {
            match self.state {
                State::Method => {
                    let start = i;
                    i += run(&w[i..], TOKEN);
                    let room = METHOD_BYTES - self.word.len();
                    if i - start > room {
                        return self.stop(start + room, Fault::MethodTooLong);
                    }
                    let Some(&end) = w.get(i) else {
                        self.word.push(&w[start..i]);
                        return i;
                    };
                    let method = self.word.with(&w[start..i]);
                    if end != b' ' || method.is_empty() {
                        return self.stop(i, odd(end, Fault::Method));
                    }
                    self.method = match method {
                        b"CONNECT" => Method::Connect,
                        b"OPTIONS" => Method::Options,
                        b"PRI" => Method::Pri,
                        _ => Method::Other,
                    };
                    self.state = State::TargetStart;
                    i += 1;
                }
                State::Version => i += self.version(&w[i..]),
                State::LineLf => {
                    if b != b'\n' {
                        return self.stop(i, Fault::BareCr);
                    }
                    self.state = State::LineStart;
                    i += 1;
                }
                State::LineStart => match b {
                    b'\r' => {
                        self.state = State::SectionLf;
                        i += 1;
                    }
                    b' ' | b'\t' => return self.stop(i, Fault::Fold),
                    _ if !is(b, TOKEN) => return self.stop(i, odd(b, Fault::FieldName)),
                    _ if self.fields == self.limits.header_count => {
                        return self.stop(i, Fault::TooManyFields);
                    }
                    _ => {
                        self.fields += 1;
                        self.word.clear();
                        self.state = State::Name;
                    }
                },
                State::Name => {
                    let start = i;
                    i += run(&w[i..], TOKEN);
                    let Some(&end) = w.get(i) else {
                        self.word.push(&w[start..i]);
                        return i;
                    };
                    if end != b':' {
                        return self.stop(i, odd(end, Fault::FieldName));
                    }
                    if let Err(fault) = self.named(&w[start..i]) {
                        return self.stop(i, fault);
                    }
                    self.state = State::ValueStart;
                    i += 1;
                }
                State::ValueStart => {
                    if matches!(b, b' ' | b'\t') {
                        i += 1;
                        continue;
                    }
                    self.state = match self.field {
                        Field::Other => State::Value,
                        Field::Host if b == b'\r' => return self.stop(i, Fault::HostEmpty),
                        Field::Host => State::Value,
                        Field::Length if b == b'\r' => return self.stop(i, Fault::Length),
                        Field::Length => State::Length,
                        Field::Coding if b == b'\r' => return self.stop(i, Fault::Coding),
                        Field::Coding => State::Coding,
                    };
                    self.digits = 0;
                }
                State::Value => {
                    i += run_text(&w[i..]);
                    match w.get(i) {
                        None => return i,
                        Some(b'\r') => self.state = State::LineLf,
                        Some(b'\t') => {}
                        Some(&b) => return self.stop(i, odd(b, Fault::FieldValue)),
                    }
                    i += 1;
                }
                State::Length => {
                    if b.is_ascii_digit() {
                        if self.digits == LENGTH_DIGITS {
                            return self.stop(i, Fault::Length);
                        }
                        self.digits += 1;
                        self.remaining = self.remaining * 10 + u64::from(b - b'0');
                        i += 1;
                    } else if self.digits == 0 {
                        return self.stop(i, odd(b, Fault::Length));
                    } else {
                        self.state = State::ValueEnd;
                    }
                }
                State::Coding => {
                    let rest = b"chunked".get(usize::from(self.digits)..);
                    match rest.and_then(<[u8]>::first) {
                        Some(&want) if b.eq_ignore_ascii_case(&want) => {
                            self.digits += 1;
                            i += 1;
                        }
                        Some(_) => return self.stop(i, odd(b, Fault::Coding)),
                        None => self.state = State::ValueEnd,
                    }
                }
                State::ValueEnd => {
                    match b {
                        b' ' | b'\t' => {}
                        b'\r' => self.state = State::LineLf,
                        _ if self.field == Field::Length => {
                            return self.stop(i, odd(b, Fault::Length));
                        }
                        _ => return self.stop(i, odd(b, Fault::Coding)),
                    }
                    i += 1;
                }
                State::SectionLf => {
                    if b != b'\n' {
                        return self.stop(i, Fault::BareCr);
                    }
                    if self.trailers {
                        self.state = State::Start;
                        return i + 1;
                    }
                    if !self.host && self.version != 10 {
                        return self.stop(i, Fault::HostMissing);
                    }
                    *heads += 1;
                    if self.chunked {
                        self.begin_chunks();
                    } else if self.remaining > 0 {
                        self.state = State::Data;
                    } else {
                        self.state = State::Start;
                    }
                    return i + 1;
                }
                State::Dead => return i,
                _ => i += self.target(&w[i..]),
            }
        }
        i
    }

    /// Takes note of a field name that ends with `part`.
    #[inline]
    fn named(&mut self, part: &[u8]) -> Result<(), Fault> {
        let name = self.word.with(part);
        if self.trailers {
            self.field = Field::Other;
            let is_name = |other: &&str| name.eq_ignore_ascii_case(other.as_bytes());
            return match NOT_TRAILERS.iter().any(|other| is_name(&other)) {
                true => Err(Fault::TrailerForbidden),
                false => Ok(()),
            };
        }
        self.field = Field::named(name);
        match self.field {
            Field::Other => Ok(()),
            Field::Host if self.host => Err(Fault::HostRepeated),
            Field::Host => {
                self.host = true;
                Ok(())
            }
            Field::Length if self.length => Err(Fault::LengthRepeated),
            Field::Length if self.chunked => Err(Fault::LengthAndCoding),
            Field::Length => {
                self.length = true;
                Ok(())
            }
            Field::Coding if self.version == 10 => Err(Fault::CodingInOldVersion),
            Field::Coding if self.chunked => Err(Fault::CodingRepeated),
            Field::Coding if self.length => Err(Fault::LengthAndCoding),
            Field::Coding => {
                self.chunked = true;
                Ok(())
            }
        }
    }

    /// Follows a request target and the space after it (RFC 9112 3.2).
    fn target(&mut self, w: &[u8]) -> usize {
        let room = self.limits.uri_bytes - self.uri_bytes;
        let t = &w[..w.len().min(room)];
        let mut i = 0;
        while let Some(&b) = t.get(i) {
            if b == b' ' {
                break;
            }
            match (self.state, b) {
                (State::Path, b'?') => self.state = State::Query,
                (State::Path, _) if is(b, PATH) => {
                    i += run(&t[i..], PATH);
                    continue;
                }
                (State::Query, _) if is(b, QUERY) => {
                    i += run(&t[i..], QUERY);
                    continue;
                }
                (State::TargetStart, _) => {
                    self.word.clear();
                    self.digits = 0;
                    self.state = match (self.method, b) {
                        (Method::Connect, b'/' | b'*') => {
                            return self.stop(i, Fault::TargetForm);
                        }
                        (Method::Connect, _) => State::HostStart,
                        (_, b'/') => State::Path,
                        (Method::Options | Method::Pri, b'*') => State::TargetStar,
                        (_, b'*') => return self.stop(i, Fault::TargetForm),
                        _ => State::TargetScheme,
                    };
                    if matches!(self.state, State::HostStart | State::TargetScheme) {
                        continue;
                    }
                }
                (State::TargetScheme, _) => {
                    self.word.push(&[b.to_ascii_lowercase()]);
                    let word = self.word.get();
                    if word == b"http://" || word == b"https://" {
                        self.state = State::HostStart;
                    } else if !b"http://".starts_with(word) && !b"https://".starts_with(word) {
                        let fault = if is(b, PATH) {
                            Fault::TargetForm
                        } else {
                            odd(b, Fault::Target)
                        };
                        return self.stop(i, fault);
                    }
                }
                // User information is refused: RFC 9110 4.2.4.
                (State::HostStart, b'[') => self.state = State::HostIpv6,
                (State::HostStart | State::HostName, _) if is(b, NAME) => {
                    self.state = State::HostName;
                    i += run(&t[i..], NAME);
                    continue;
                }
                (State::HostIpv6, b']') => self.state = State::HostEnd,
                (State::HostIpv6, _) if is(b, IPV6) => {
                    self.digits += u8::from(b == b':');
                    if self.digits > IPV6_COLONS {
                        return self.stop(i, Fault::Target);
                    }
                }
                (State::HostName | State::HostEnd, b':') => {
                    self.digits = 0;
                    self.state = State::Port;
                }
                (State::Port, b'0'..=b'9') if self.digits < PORT_DIGITS => self.digits += 1,
                (State::HostName | State::HostEnd | State::Port, b'/' | b'?')
                    if self.method != Method::Connect =>
                {
                    self.state = if b == b'/' { State::Path } else { State::Query };
                }
                _ => return self.stop(i, odd(b, Fault::Target)),
            }
            i += 1;
        }
        self.uri_bytes += i;
        match w.get(i) {
            None => i,
            Some(b' ') => {
                let complete = match self.state {
                    State::Path | State::Query | State::TargetStar => true,
                    // A port may be empty but in CONNECT (RFC 9110 4.2.1, 9.3.6).
                    State::HostName | State::HostEnd => self.method != Method::Connect,
                    State::Port => self.method != Method::Connect || self.digits > 0,
                    _ => false,
                };
                if !complete {
                    return self.stop(i, Fault::Target);
                }
                // No version but 2.0 goes with the HTTP/2 preface's target.
                if self.state != State::TargetStar {
                    self.method = Method::Other;
                }
                self.digits = 0;
                self.version = 0;
                self.state = State::Version;
                i + 1
            }
            Some(_) => self.stop(i, Fault::TargetTooLong),
        }
    }

    /// Follows a version and the CR after it (RFC 9112 2.3).
    fn version(&mut self, w: &[u8]) -> usize {
        if self.digits == 0 && self.method != Method::Pri && w.starts_with(b"HTTP/1.1\r") {
            self.version = 11;
            self.state = State::LineLf;
            return b"HTTP/1.1\r".len();
        }
        for (i, &b) in w.iter().enumerate() {
            match (self.digits, b) {
                (0..5, _) if b == b"HTTP/"[usize::from(self.digits)] => {}
                (6, b'.') => {}
                (5 | 7, b'0'..=b'9') => self.version = self.version * 10 + (b - b'0'),
                (8, b'\r') => {
                    let known = matches!(self.version, 10 | 11);
                    if known && self.method == Method::Pri {
                        return self.stop(i, Fault::TargetForm);
                    }
                    if !known {
                        return self.stop(i, Fault::UnsupportedVersion);
                    }
                    self.state = State::LineLf;
                    return i + 1;
                }
                _ => return self.stop(i, odd(b, Fault::Version)),
            }
            self.digits += 1;
        }
        w.len()
    }
}
