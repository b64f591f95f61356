//! Request lines (RFC 9112, sections 2.3 and 3).

use super::{ENCODED, Method, RequestReader, State, Stop};
use crate::http1::class::{IPV6, NAME, PATH, QUERY, TOKEN, is, run, run_target};
use crate::http1::fault::odd;
use crate::http1::head::span;
use crate::http1::{Fault, RequestHead};

/// The longest method that is let through. Registered ones end at 17 bytes.
const METHOD_BYTES: usize = 32;
/// An IPv6 address has no more.
const IPV6_COLONS: u8 = 8;
const PORT_DIGITS: u8 = 5;

/// Whether this is a path, perhaps with a query, as [`RequestReader`] lets it pass: for HTTP/2.
pub fn is_target(target: &[u8]) -> bool {
    let (path, query) = match memchr::memchr(b'?', target) {
        Some(at) => target.split_at(at),
        None => (target, &b""[..]),
    };
    path.first() == Some(&b'/') && path.iter().all(|byte| is(*byte, PATH)) && query.iter().all(|byte| is(*byte, QUERY))
}

/// Whether a byte of a query has to be percent-encoded, which means the same (RFC 3986, section 2.1).
fn is_raw(byte: u8) -> bool {
    matches!(byte, b'"' | b'<' | b'>')
}

/// The target with its raw bytes percent-encoded: they are in its query only.
#[cold]
pub(super) fn encode(target: &[u8]) -> Box<[u8]> {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let path = memchr::memchr(b'?', target).unwrap_or(target.len());
    let mut encoded = Vec::with_capacity(target.len() + 8);
    for (at, byte) in target.iter().enumerate() {
        if at > path && is_raw(*byte) {
            encoded.extend([b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        } else {
            encoded.push(*byte);
        }
    }
    encoded.into()
}

impl RequestReader {
    /// Follows a request line up to and with its CR at least.
    #[inline(always)]
    pub(super) fn request_line(&mut self, w: &[u8], mut i: usize, head: &mut RequestHead) -> Result<usize, Stop> {
        if self.state == State::Method {
            i = self.method(w, i, head)?;
        }
        if self.state != State::Version {
            i = self.target(w, i, head)?;
        }
        self.version(w, i)
    }

    /// Follows a method and the space after it.
    #[inline(always)]
    fn method(&mut self, w: &[u8], i: usize, head: &mut RequestHead) -> Result<usize, Stop> {
        let mark = self.mark;
        let rest = w.get(i..).unwrap_or_default();
        let end = if i == mark && rest.starts_with(b"GET ") {
            self.method = Method::Other;
            i + b"GET".len()
        } else {
            let end = i + run(rest, TOKEN);
            if end - mark > METHOD_BYTES {
                return Err(Fault::MethodTooLong.into());
            }
            match w.get(end) {
                None => return Err(Stop::More),
                Some(b' ') if end > mark => {}
                Some(&b) => return Err(odd(b, Fault::Method).into()),
            }
            self.method = match w.get(mark..end).unwrap_or_default() {
                b"CONNECT" => Method::Connect,
                b"OPTIONS" => Method::Options,
                b"PRI" => Method::Pri,
                _ => Method::Other,
            };
            end
        };
        head.method = span(mark, end);
        self.mark = end + 1;
        self.state = State::TargetStart;
        Ok(end + 1)
    }

    /// Follows a request target and the space after it (RFC 9112, section 3.2).
    #[inline(always)]
    fn target(&mut self, w: &[u8], mut i: usize, head: &mut RequestHead) -> Result<usize, Stop> {
        let limit = (self.mark + self.limits.uri_bytes).saturating_sub(self.encoded).max(i);
        let t = w.get(..limit).unwrap_or(w);
        if self.state == State::TargetStart && self.method != Method::Connect && t.get(i) == Some(&b'/') {
            // Nearly all targets begin so.
            self.state = State::Path;
            i += 1;
        }
        while let Some(&b) = t.get(i) {
            if b == b' ' {
                break;
            }
            match (self.state, b) {
                (State::Path, b'?') => self.state = State::Query,
                (State::Path, _) if is(b, PATH) => {
                    i += run_target(t.get(i..).unwrap_or_default(), PATH);
                    continue;
                }
                (State::Query, _) if is(b, QUERY) => {
                    i += run_target(t.get(i..).unwrap_or_default(), QUERY);
                    continue;
                }
                (State::Query, _) if is_raw(b) => {
                    // It is passed on as three bytes, which count.
                    if i + ENCODED > limit {
                        return Err(Fault::TargetTooLong.into());
                    }
                    return Err(Stop::Raw(i));
                }
                (State::TargetStart, _) => {
                    self.state = match (self.method, b) {
                        (Method::Connect, b'/' | b'*') => return Err(Fault::TargetForm.into()),
                        (Method::Connect, _) => State::HostStart,
                        (Method::Options | Method::Pri, b'*') => State::TargetStar,
                        (_, b'*') => return Err(Fault::TargetForm.into()),
                        _ => State::TargetScheme,
                    };
                    self.digits = 0;
                    if matches!(self.state, State::HostStart | State::TargetScheme) {
                        continue;
                    }
                }
                (State::TargetScheme, _) => {
                    let word = t.get(self.mark..=i).unwrap_or_default().to_ascii_lowercase();
                    if word == b"http://" || word == b"https://" {
                        self.state = State::HostStart;
                    } else if !b"http://".starts_with(&word) && !b"https://".starts_with(&word) {
                        let fault = if is(b, PATH) {
                            Fault::TargetForm
                        } else {
                            odd(b, Fault::Target)
                        };
                        return Err(fault.into());
                    }
                }
                // User information is refused: RFC 9110, section 4.2.4.
                (State::HostStart, b'[') => self.state = State::HostIpv6,
                (State::HostStart | State::HostName, _) if is(b, NAME) => {
                    self.state = State::HostName;
                    i += run(t.get(i..).unwrap_or_default(), NAME);
                    continue;
                }
                (State::HostIpv6, b']') => self.state = State::HostEnd,
                (State::HostIpv6, _) if is(b, IPV6) => {
                    self.digits += u8::from(b == b':');
                    if self.digits > IPV6_COLONS {
                        return Err(Fault::Target.into());
                    }
                }
                (State::HostName | State::HostEnd, b':') => {
                    self.digits = 0;
                    self.state = State::Port;
                }
                (State::Port, b'0'..=b'9') if self.digits < PORT_DIGITS => self.digits += 1,
                (State::HostName | State::HostEnd | State::Port, b'/' | b'?') if self.method != Method::Connect => {
                    self.state = if b == b'/' { State::Path } else { State::Query };
                }
                _ => return Err(odd(b, Fault::Target).into()),
            }
            i += 1;
        }
        match w.get(i) {
            None => return Err(Stop::More),
            Some(b' ') => {}
            Some(_) => return Err(Fault::TargetTooLong.into()),
        }
        let is_complete = match self.state {
            State::Path | State::Query | State::TargetStar => true,
            // A port may be empty but in CONNECT (RFC 9110, sections 4.2.1 and 9.3.6).
            State::HostName | State::HostEnd => self.method != Method::Connect,
            State::Port => self.method != Method::Connect || self.digits > 0,
            _ => false,
        };
        if !is_complete {
            return Err(Fault::Target.into());
        }
        // Only version 2.0 goes with the target of the HTTP/2 preface.
        if self.state != State::TargetStar {
            self.method = Method::Other;
        }
        head.target = span(self.mark, i);
        self.digits = 0;
        self.state = State::Version;
        Ok(i + 1)
    }

    /// Follows a version and at least the CR after it (RFC 9112, section 2.3).
    #[inline(always)]
    fn version(&mut self, w: &[u8], start: usize) -> Result<usize, Stop> {
        let rest = w.get(start..).unwrap_or_default();
        if self.digits == 0 && self.method != Method::Pri && rest.starts_with(b"HTTP/1.1\r\n") {
            self.version = 11;
            self.state = State::LineStart;
            return Ok(start + b"HTTP/1.1\r\n".len());
        }
        self.version_bytewise(w, start)
    }

    fn version_bytewise(&mut self, w: &[u8], start: usize) -> Result<usize, Stop> {
        for (i, &b) in w.iter().enumerate().skip(start) {
            match (self.digits, b) {
                (5, b'1') if self.method == Method::Pri => return Err(Fault::TargetForm.into()),
                (7, b'0' | b'1') => self.version = 10 + (b - b'0'),
                (5, b'0' | b'2'..=b'9') | (7, b'2'..=b'9') => return Err(Stop::OtherVersion(i)),
                (8, b'\r') => {
                    self.state = State::LineLf;
                    return Ok(i + 1);
                }
                (at, _) if b"HTTP/1.".get(usize::from(at)) == Some(&b) => {}
                _ => return Err(odd(b, Fault::Version).into()),
            }
            self.digits += 1;
        }
        Err(Stop::More)
    }

    /// Follows a version that is refused, from the digit on that shows it, to know whether it is one at all: a digit, a
    /// dot, a digit and the CR.
    #[cold]
    pub(super) fn other_version(&mut self, input: &[u8]) -> Result<bool, Fault> {
        while let Some(&b) = input.get(self.at) {
            match (self.digits, b) {
                (5 | 7, b'0'..=b'9') | (6, b'.') => self.digits += 1,
                (8, b'\r') => return self.fail(Fault::UnsupportedVersion),
                _ => return self.fail(odd(b, Fault::Version)),
            }
            self.at += 1;
        }
        Ok(false)
    }
}
