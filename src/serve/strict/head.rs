//! Request lines and field lines (RFC 9112 3 and 5), the latter also those of
//! trailer sections.

use super::{Fault, Framer, State};
use crate::http1::classes::{TOKEN, is, run, run_name, run_text};
use crate::http1::is_forbidden;

/// The longest method that is let through. Registered ones end at 17 bytes.
const METHOD_BYTES: usize = 32;
/// What fits 64 bits without a check (RFC 9112 6.3 leaves the bound to us).
const LENGTH_DIGITS: u8 = 19;
/// The only transfer coding.
const CODING: &[u8] = b"chunked";

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
    #[inline(always)]
    fn named(name: &[u8]) -> Self {
        const HOST: u32 = u32::from_le_bytes(*b"host");
        match (name.len(), name) {
            // A token has no other bytes that become letters by that bit.
            (4, &[a, b, c, d]) if u32::from_le_bytes([a, b, c, d]) | 0x2020_2020 == HOST => Self::Host,
            (14 | 17, _) => Self::framing(name),
            _ => Self::Other,
        }
    }

    fn framing(name: &[u8]) -> Self {
        match name {
            [b'c' | b'C', ..] if name.eq_ignore_ascii_case(b"content-length") => Self::Length,
            [b't' | b'T', ..] if name.eq_ignore_ascii_case(b"transfer-encoding") => Self::Coding,
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
    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Keeps another part. A word that does not fit is none we look for, but
    /// may begin as one does: it loses its end only.
    pub(super) fn push(&mut self, part: &[u8]) {
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

    pub(super) fn get(&self) -> &[u8] {
        self.bytes.get(..self.len()).unwrap_or(&self.bytes)
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
pub(super) fn odd(b: u8, fault: Fault) -> Fault {
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
        let room = limit.saturating_sub(self.section_bytes);
        let n = self.lines(&w[..w.len().min(room)], heads);
        self.section_bytes += n;
        if n == room && self.state.is_section() {
            return self.stop(n, fault);
        }
        n
    }

    fn lines(&mut self, w: &[u8], heads: &mut u32) -> usize {
        let mut i = 0;
        if self.state.is_request_line() {
            i = self.request_line(w);
        }
        while !matches!(self.state, State::Dead | State::OtherVersion | State::Raw) && i < w.len() {
            match self.state {
                State::Length | State::Coding | State::ValueEnd => i = self.framing_value(w, i),
                State::SectionLf => return self.end_section(w, i, heads),
                _ => i = self.field_lines(w, i),
            }
        }
        i
    }

    /// Follows a request line up to and with its CR at least (RFC 9112 3).
    fn request_line(&mut self, w: &[u8]) -> usize {
        let mut i = 0;
        if self.state == State::Method && self.word.len() == 0 && w.starts_with(b"GET ") {
            self.method = Method::Other;
            self.state = State::TargetStart;
            i = b"GET ".len();
        } else if self.state == State::Method {
            i = run(w, TOKEN);
            let room = METHOD_BYTES - self.word.len();
            if i > room {
                return self.stop(room, Fault::MethodTooLong);
            }
            let Some(&end) = w.get(i) else {
                self.word.push(w);
                return i;
            };
            let method = self.word.with(&w[..i]);
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
        if self.state != State::Version {
            i += self.target(&w[i..]);
        }
        if self.state == State::Version {
            i += self.version(&w[i..]);
        }
        i
    }

    /// Follows the value of a field that frames the body, up to and with the
    /// CR after it.
    fn framing_value(&mut self, w: &[u8], start: usize) -> usize {
        let fault = match self.field {
            Field::Length => Fault::Length,
            _ => Fault::Coding,
        };
        for (i, &b) in w.iter().enumerate().skip(start) {
            let blank = matches!(b, b' ' | b'\t');
            let complete = match self.state {
                State::Length => self.digits > 0,
                State::Coding => usize::from(self.digits) == CODING.len(),
                _ => true,
            };
            match (self.state, b) {
                (State::Length, b'0'..=b'9') if self.digits < LENGTH_DIGITS => {
                    self.digits += 1;
                    self.remaining = self.remaining * 10 + u64::from(b - b'0');
                }
                (State::Coding, _) if CODING.get(usize::from(self.digits)) == Some(&b.to_ascii_lowercase()) => {
                    self.digits += 1;
                }
                (_, b'\r') if complete => {
                    self.state = State::LineLf;
                    return i + 1;
                }
                _ if complete && blank => self.state = State::ValueEnd,
                _ => return self.stop(i, odd(b, fault)),
            }
        }
        w.len()
    }

    /// Takes the last LF of a head or trailer section, unless something that
    /// has to be there is missing.
    fn end_section(&mut self, w: &[u8], i: usize, heads: &mut u32) -> usize {
        if w.get(i) != Some(&b'\n') {
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
        i + 1
    }

    /// Follows field lines from offset `i` of `w` on, up to the last line or the
    /// value of a field that frames the body.
    ///
    /// These are most of a head. So every step calls the next one itself and
    /// the state is only set where the input ends: `Err` is where that was, and
    /// `Ok` where the next line begins.
    fn field_lines(&mut self, w: &[u8], mut i: usize) -> usize {
        if self.state != State::LineStart {
            match self.resume_line(w, i) {
                Ok(next) => i = next,
                Err(end) => return end,
            }
        }
        loop {
            match self.line(w, i) {
                Ok(next) => i = next,
                Err(end) => return end,
            }
        }
    }

    /// Follows the rest of a line that an earlier call left unfinished.
    #[inline(never)]
    fn resume_line(&mut self, w: &[u8], i: usize) -> Result<usize, usize> {
        match self.state {
            State::Name => self.name(w, i),
            State::ValueStart => self.value_start(w, i),
            State::Value => self.value(w, i),
            _ => self.line_lf(w, i),
        }
    }

    /// Sets the state that the end of the input leaves us in.
    fn pause(&mut self, at: usize, state: State) -> Result<usize, usize> {
        self.state = state;
        Err(at)
    }

    #[inline(always)]
    fn line(&mut self, w: &[u8], i: usize) -> Result<usize, usize> {
        let Some(&b) = w.get(i) else {
            return self.pause(i, State::LineStart);
        };
        if b == b'\r' {
            return self.pause(i + 1, State::SectionLf);
        }
        if !is(b, TOKEN) {
            let fault = match b {
                b' ' | b'\t' => Fault::Fold,
                _ => odd(b, Fault::FieldName),
            };
            return Err(self.stop(i, fault));
        }
        if self.fields == self.limits.header_count {
            return Err(self.stop(i, Fault::TooManyFields));
        }
        self.fields += 1;
        self.word.clear();
        self.name(w, i)
    }

    #[inline(always)]
    fn name(&mut self, w: &[u8], start: usize) -> Result<usize, usize> {
        let rest = &w[start..];
        let n = run_name(rest);
        let i = start + n;
        let Some(&end) = rest.get(n) else {
            self.word.push(rest);
            return self.pause(i, State::Name);
        };
        if end != b':' {
            return Err(self.stop(i, odd(end, Fault::FieldName)));
        }
        if let Err(fault) = self.named(&rest[..n]) {
            return Err(self.stop(i, fault));
        }
        match self.field {
            // Leading whitespace is skipped with the rest of the value.
            Field::Other => self.value(w, i + 1),
            // The usual way to write a value that is not empty.
            Field::Host if matches!(rest.get(n + 1..n + 3), Some([b' ', b'!'..=b'~'])) => self.value(w, i + 2),
            _ => self.value_start(w, i + 1),
        }
    }

    #[inline(never)]
    fn value_start(&mut self, w: &[u8], mut i: usize) -> Result<usize, usize> {
        while let Some(b' ' | b'\t') = w.get(i) {
            i += 1;
        }
        let Some(&b) = w.get(i) else {
            return self.pause(i, State::ValueStart);
        };
        self.digits = 0;
        match self.field {
            Field::Length => self.pause(i, State::Length),
            Field::Coding => self.pause(i, State::Coding),
            _ if b == b'\r' => Err(self.stop(i, Fault::HostEmpty)),
            _ => self.value(w, i),
        }
    }

    #[inline(always)]
    fn value(&mut self, w: &[u8], mut i: usize) -> Result<usize, usize> {
        loop {
            let rest = &w[i..];
            let n = run_text(rest);
            i += n;
            match rest.get(n) {
                None => return self.pause(i, State::Value),
                Some(b'\r') => return self.line_lf(w, i + 1),
                Some(b'\t') => i += 1,
                Some(&b) => return Err(self.stop(i, odd(b, Fault::FieldValue))),
            }
        }
    }

    #[inline(always)]
    fn line_lf(&mut self, w: &[u8], i: usize) -> Result<usize, usize> {
        match w.get(i) {
            None => self.pause(i, State::LineLf),
            Some(b'\n') => Ok(i + 1),
            Some(_) => Err(self.stop(i, Fault::BareCr)),
        }
    }

    /// Takes note of a field name that ends with `part`.
    #[inline(always)]
    fn named(&mut self, part: &[u8]) -> Result<(), Fault> {
        let name = self.word.with(part);
        if self.trailers {
            self.field = Field::Other;
            return trailer_named(name);
        }
        self.field = Field::named(name);
        if self.field == Field::Other {
            return Ok(());
        }
        self.known_field()
    }

    /// Checks a field that may be there once against those before it.
    fn known_field(&mut self) -> Result<(), Fault> {
        match self.field {
            Field::Other => return Ok(()),
            Field::Host if self.host => return Err(Fault::HostRepeated),
            Field::Host => self.host = true,
            Field::Length if self.length => return Err(Fault::LengthRepeated),
            Field::Length if self.chunked => return Err(Fault::LengthAndCoding),
            Field::Length => self.length = true,
            Field::Coding if self.version == 10 => return Err(Fault::CodingInOldVersion),
            Field::Coding if self.chunked => return Err(Fault::CodingRepeated),
            Field::Coding if self.length => return Err(Fault::LengthAndCoding),
            Field::Coding => self.chunked = true,
        }
        Ok(())
    }
}

#[cold]
fn trailer_named(name: &[u8]) -> Result<(), Fault> {
    match is_forbidden(name) {
        true => Err(Fault::TrailerForbidden),
        false => Ok(()),
    }
}
