//! Which fields may stand behind a body (RFC 9110, section 6.5.1; docs/security.md, row 6).
//!
//! A recipient may merge trailers into the head after all was decided by the head alone. So none may be one that frames
//! the message, routes it, is about this connection, says who the sender is, modifies how the request is handled, or
//! says how to read the content.

use super::class::{TEXT, TOKEN, is};
use super::fault::odd;
use super::{Fault, Line, Name, Span};

/// Their names, but for those that begin with `x-forwarded-`, or tell of a client's certificate.
pub const FORBIDDEN: &[&str] = &[
    // framing and routing
    "content-length",
    "transfer-encoding",
    "host",
    "max-forwards",
    // the connection
    "connection",
    "keep-alive",
    "proxy",
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
    "x-real-ip",
    "x-request-id",
    "x-narthex-hops",
    "x-original-url",
    "x-rewrite-url",
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

const FORWARDED: &str = "x-forwarded-";
const CLIENT_CERTIFICATE: &str = "ssl-client-";

/// Whether a field of this name may not be a trailer, however it is spelled: see [`fold`].
pub fn is_forbidden(name: &[u8]) -> bool {
    let begins = |with: &str| name.len() >= with.len() && name.iter().zip(with.bytes()).all(|(a, b)| fold(*a) == b);
    [FORWARDED, CLIENT_CERTIFICATE].into_iter().any(begins)
        || FORBIDDEN.iter().any(|other| other.len() == name.len() && begins(other))
}

/// A byte of a name as servers read it that put names into variables: CGI and WSGI turn `-` into `_`, PHP turns dots
/// into `_` too, and others do so with every byte that is neither a letter nor a digit.
pub fn fold(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() {
        byte.to_ascii_lowercase()
    } else {
        b'-'
    }
}

/// A trailer section with at least one field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trailers {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its field lines, by offsets into `bytes`.
    pub lines: Vec<Line>,
}

impl Trailers {
    /// Names and values.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let lines = self.lines.iter();
        lines.map(|line| (line.name.of(&self.bytes), line.value.of(&self.bytes)))
    }
}

/// What the next byte of a trailer section is part of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    LineStart,
    Name,
    Value,
    LineLf,
    EndLf,
    Whole,
}

/// A trailer section that is being read.
#[derive(Debug, Default)]
pub(super) struct Section {
    trailers: Trailers,
    /// Bytes so far.
    length: usize,
    /// Fields so far, with those that are left out.
    fields: usize,
    name: Span,
    state: State,
}

impl Section {
    /// Follows the section up to its end or the end of `w`; how much that is. Fields that may not be there are left out
    /// where that is `lenient`, and are a fault otherwise.
    pub(super) fn read(&mut self, w: &[u8], bytes: usize, fields: usize, lenient: bool) -> Result<usize, Fault> {
        for (i, &b) in w.iter().enumerate() {
            if self.length == bytes {
                return Err(Fault::TrailersTooLong);
            }
            self.step(b, fields, lenient)?;
            self.length += 1;
            if self.state == State::Whole {
                return Ok(i + 1);
            }
        }
        if self.length == bytes && !w.is_empty() {
            return Err(Fault::TrailersTooLong);
        }
        Ok(w.len())
    }

    pub(super) fn is_whole(&self) -> bool {
        self.state == State::Whole
    }

    pub(super) fn into_trailers(self) -> Option<Trailers> {
        (!self.trailers.lines.is_empty()).then_some(self.trailers)
    }

    fn step(&mut self, b: u8, fields: usize, lenient: bool) -> Result<(), Fault> {
        let at = u32::try_from(self.trailers.bytes.len()).unwrap_or(u32::MAX);
        self.state = match self.state {
            State::LineStart if b == b'\r' => State::EndLf,
            State::EndLf if b == b'\n' => State::Whole,
            State::LineStart if matches!(b, b' ' | b'\t') => return Err(Fault::Fold),
            State::LineStart if !is(b, TOKEN) => return Err(odd(b, Fault::FieldName)),
            State::LineStart if self.fields == fields => return Err(Fault::TooManyFields),
            State::LineStart => {
                self.fields += 1;
                self.name = Span { start: at, end: at };
                State::Name
            }
            State::Name if is(b, TOKEN) => State::Name,
            State::Name if b == b':' => {
                self.name.end = at;
                if !lenient && is_forbidden(self.name.of(&self.trailers.bytes)) {
                    return Err(Fault::TrailerForbidden);
                }
                State::Value
            }
            State::Name => return Err(odd(b, Fault::FieldName)),
            State::Value if b == b'\r' => {
                self.keep(at);
                State::LineLf
            }
            State::Value if is(b, TEXT) => State::Value,
            State::Value => return Err(odd(b, Fault::FieldValue)),
            State::LineLf if b == b'\n' => State::LineStart,
            State::LineLf | State::EndLf => return Err(Fault::BareCr),
            State::Whole => State::Whole,
        };
        if !matches!(self.state, State::EndLf | State::Whole) {
            self.trailers.bytes.push(b);
        }
        Ok(())
    }

    /// Keeps the line whose value ends at `end`, unless it may not be there.
    fn keep(&mut self, end: u32) {
        let bytes = &self.trailers.bytes;
        let name = self.name.of(bytes);
        if is_forbidden(name) {
            return;
        }
        let value = Span {
            start: self.name.end + 1,
            end,
        };
        self.trailers.lines.push(Line {
            name: self.name,
            value: value.trimmed(bytes),
            known: Name::of(name),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_disguises_nothing() {
        for name in [
            "Host",
            "X_Real_IP",
            "x-forwarded-PREFIX",
            "X_Forwarded-For",
            "content-Length",
            "X.Forwarded.For",
            "x!real~ip",
            "Proxy",
        ] {
            assert!(is_forbidden(name.as_bytes()), "{name}");
        }
        for name in [
            "x-sum",
            "grpc-status",
            "hos",
            "hosts",
            "x-forwarded",
            "x-real",
            "proxy-status",
            "x--real-ip",
            "",
        ] {
            assert!(!is_forbidden(name.as_bytes()), "{name}");
        }
    }
}
