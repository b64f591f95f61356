//! Request targets and versions (RFC 9112 2.3 and 3.2).

use super::head::{Method, odd};
use super::{Fault, Framer, State};
use crate::http1::classes::{IPV6, NAME, PATH, QUERY, is, run, run_target};

/// What `http::Uri` allows in an IPv6 address.
const IPV6_COLONS: u8 = 8;
const PORT_DIGITS: u8 = 5;
/// The length of a percent-encoded byte.
const ENCODED: usize = 3;

impl Framer {
    /// Follows a request target and the space after it (RFC 9112 3.2).
    pub(super) fn target(&mut self, w: &[u8]) -> usize {
        let room = self.limits.uri_bytes.saturating_sub(self.uri_bytes);
        let t = &w[..w.len().min(room)];
        let mut i = 0;
        if self.state == State::TargetStart && self.method != Method::Connect && t.first() == Some(&b'/') {
            // Nearly all targets begin so.
            self.state = State::Path;
            i = 1;
        }
        while let Some(&b) = t.get(i) {
            if b == b' ' {
                break;
            }
            match (self.state, b) {
                (State::Path, b'?') => self.state = State::Query,
                (State::Path, _) if is(b, PATH) => {
                    i += run_target(&t[i..], PATH);
                    continue;
                }
                (State::Query, _) if is(b, QUERY) => {
                    i += run_target(&t[i..], QUERY);
                    continue;
                }
                (State::Query, b'"' | b'<' | b'>') => {
                    // It is passed on as three bytes, which count.
                    if i + ENCODED > room {
                        return self.stop(i, Fault::TargetTooLong);
                    }
                    self.uri_bytes += i + ENCODED;
                    self.section_bytes += ENCODED;
                    self.state = State::Raw;
                    return i;
                }
                (State::TargetStart, _) => {
                    self.word.clear();
                    self.digits = 0;
                    self.state = match (self.method, b) {
                        (Method::Connect, b'/' | b'*') => {
                            return self.stop(i, Fault::TargetForm);
                        }
                        (Method::Connect, _) => State::HostStart,
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
                (State::HostName | State::HostEnd | State::Port, b'/' | b'?') if self.method != Method::Connect => {
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
                self.state = State::Version;
                i + 1
            }
            Some(_) => self.stop(i, Fault::TargetTooLong),
        }
    }

    /// Follows a version and at least the CR after it (RFC 9112 2.3).
    ///
    /// At the first digit that makes it another version than 1.0 and 1.1 it is
    /// certain to be refused. How is not, for something malformed may follow;
    /// but hyper, if it saw that digit, would answer before the rest has come.
    pub(super) fn version(&mut self, w: &[u8]) -> usize {
        if self.digits == 0 && self.method != Method::Pri && w.starts_with(b"HTTP/1.1\r\n") {
            self.version = 11;
            self.state = State::LineStart;
            return b"HTTP/1.1\r\n".len();
        }
        for (i, &b) in w.iter().enumerate() {
            match (self.digits, b) {
                (5, b'1') if self.method == Method::Pri => {
                    return self.stop(i, Fault::TargetForm);
                }
                (7, b'0' | b'1') => self.version = 10 + (b - b'0'),
                (5, b'0' | b'2'..=b'9') | (7, b'2'..=b'9') => {
                    self.state = State::OtherVersion;
                    return i;
                }
                (8, b'\r') => {
                    self.state = State::LineLf;
                    return i + 1;
                }
                (at, _) if b"HTTP/1.".get(usize::from(at)) == Some(&b) => {}
                _ => return self.stop(i, odd(b, Fault::Version)),
            }
            self.digits += 1;
        }
        w.len()
    }

    /// Follows a version that is refused, from the digit on that shows it, to
    /// know whether it is one at all: a digit, a dot, a digit and the CR.
    #[cold]
    pub(super) fn other_version(&mut self, w: &[u8]) {
        for &b in w {
            match (self.digits, b) {
                (5 | 7, b'0'..=b'9') | (6, b'.') => self.digits += 1,
                (8, b'\r') => {
                    self.stop(0, Fault::UnsupportedVersion);
                    return;
                }
                _ => {
                    self.stop(0, odd(b, Fault::Version));
                    return;
                }
            }
        }
    }
}
