//! The field lines of a request's head (RFC 9112, section 5).

use super::{RequestReader, State, Stop};
use crate::http1::class::{TOKEN, is, run_name};
use crate::http1::fault::odd;
use crate::http1::head::{line, plain_line};
use crate::http1::scan::text_end;
use crate::http1::{Fault, Name, RequestHead};

/// What fits 64 bits without a check (RFC 9112, section 6.3, leaves the bound to us).
const LENGTH_DIGITS: u8 = 19;
/// The only transfer coding.
const CODING: &[u8] = b"chunked";

/// Whether this is the value of a Content-Length, as [`RequestReader`] lets it pass.
pub fn is_length(value: &[u8]) -> bool {
    !value.is_empty() && value.len() <= usize::from(LENGTH_DIGITS) && value.iter().all(u8::is_ascii_digit)
}

impl RequestReader {
    /// Follows field lines from offset `i` of `w` on, up to the end of the head, which is returned.
    #[inline(always)]
    pub(super) fn fields(&mut self, w: &[u8], mut i: usize, head: &mut RequestHead) -> Result<usize, Stop> {
        if self.state != State::LineStart {
            if self.state == State::HeadLf {
                return self.end(w, i);
            }
            i = self.resume(w, i, head)?;
        }
        loop {
            i = self.plain_lines(w, i, head);
            match w.get(i) {
                None => return Err(self.pause(State::LineStart)),
                Some(b'\r') => return self.end(w, i + 1),
                Some(_) => i = self.line(w, i, head)?,
            }
        }
    }

    /// Follows lines that are whole and have nothing unusual, up to the first other one.
    #[inline(always)]
    fn plain_lines(&mut self, w: &[u8], i: usize, head: &mut RequestHead) -> usize {
        let most = self.limits.header_count;
        let mut left = w.get(i..).unwrap_or_default();
        let mut expected = self.last.expected(&head.lines);
        let (is_begin, mut is_other) = (head.lines.is_empty(), false);
        loop {
            let known = head.lines.len();
            let room = most.saturating_sub(known);
            let repeated = self
                .last
                .repeated(&mut expected, (w.len(), left), &mut head.lines, room);
            if repeated > 0 {
                // No more than one of what is kept is a Host, and none frames a body.
                let mut lines = head.lines.iter().skip(known);
                if let Some(host) = lines.position(|line| line.known == Name::Host)
                    && std::mem::replace(&mut self.has_host, true)
                {
                    head.lines.truncate(known + host);
                    let end = head.lines.last().map_or(i, |line| line.value.end as usize + 2);
                    left = w.get(end..).unwrap_or_default();
                    break;
                }
                left = left.get(repeated..).unwrap_or_default();
            }
            if left.first() == Some(&b'\r') || head.lines.len() >= most {
                break;
            }
            let Some(plain) = plain_line(w.len(), left) else { break };
            match plain.line.known {
                Name::ContentLength | Name::TransferEncoding => break,
                Name::Host if self.has_host => break,
                Name::Host => self.has_host = true,
                _ => {}
            }
            self.last.read(&mut expected, plain.line.known);
            is_other = true;
            head.lines.push(plain.line);
            left = plain.rest;
        }
        let end = w.len() - left.len();
        if is_begin && is_other {
            self.last.keep(i, w.get(i..end).unwrap_or_default(), &head.lines);
        }
        end
    }

    /// Sets the state that the end of the input leaves us in.
    #[cold]
    fn pause(&mut self, state: State) -> Stop {
        self.state = state;
        Stop::More
    }

    /// Follows the rest of a line that an earlier call left unfinished.
    #[inline(never)]
    fn resume(&mut self, w: &[u8], i: usize, head: &mut RequestHead) -> Result<usize, Stop> {
        let (mark, colon, known) = (self.mark, self.colon, self.known);
        match self.state {
            State::Name => self.name(w, mark, i, head),
            State::Value => self.value(w, (mark, colon, known), i, head),
            State::Length | State::Coding | State::ValueEnd => self.framing_value(w, i, head),
            _ => self.line_lf(w, i),
        }
    }

    /// Follows the line that begins at `mark`.
    #[inline(never)]
    fn line(&mut self, w: &[u8], mark: usize, head: &mut RequestHead) -> Result<usize, Stop> {
        match w.get(mark) {
            Some(b' ' | b'\t') => return Err(Fault::Fold.into()),
            Some(&b) if !is(b, TOKEN) => return Err(odd(b, Fault::FieldName).into()),
            _ => {}
        }
        if head.lines.len() >= self.limits.header_count {
            return Err(Fault::TooManyFields.into());
        }
        self.name(w, mark, mark, head)
    }

    /// Follows a name that begins at `mark` from offset `i` on.
    fn name(&mut self, w: &[u8], mark: usize, i: usize, head: &mut RequestHead) -> Result<usize, Stop> {
        let end = i + run_name(w.get(i..).unwrap_or_default());
        match w.get(end) {
            Some(b':') => {}
            Some(&b) => return Err(odd(b, Fault::FieldName).into()),
            None => {
                self.mark = mark;
                return Err(self.pause(State::Name));
            }
        }
        let known = Name::of(w.get(mark..end).unwrap_or_default());
        match known {
            Name::ContentLength | Name::TransferEncoding => {
                self.framing_field(known)?;
                (self.mark, self.colon, self.known, self.digits) = (mark, end, known, 0);
                self.framing_value(w, end + 1, head)
            }
            Name::Host if std::mem::replace(&mut self.has_host, true) => Err(Fault::HostRepeated.into()),
            _ => self.value(w, (mark, end, known), end + 1, head),
        }
    }

    /// Checks a field that frames the body against those before it.
    #[inline(never)]
    fn framing_field(&mut self, known: Name) -> Result<(), Fault> {
        if known == Name::ContentLength {
            match (self.has_length, self.is_chunked) {
                (true, _) => return Err(Fault::LengthRepeated),
                (_, true) => return Err(Fault::LengthAndCoding),
                _ => {}
            }
            self.has_length = true;
            self.state = State::Length;
        } else {
            match (self.version, self.is_chunked, self.has_length) {
                (10, ..) => return Err(Fault::CodingInOldVersion),
                (_, true, _) => return Err(Fault::CodingRepeated),
                (.., true) => return Err(Fault::LengthAndCoding),
                _ => {}
            }
            self.is_chunked = true;
            self.state = State::Coding;
        }
        Ok(())
    }

    /// Follows a value from offset `i` on, which is behind the colon.
    fn value(
        &mut self,
        w: &[u8],
        (mark, colon, known): (usize, usize, Name),
        mut i: usize,
        head: &mut RequestHead,
    ) -> Result<usize, Stop> {
        loop {
            i += text_end(w.get(i..).unwrap_or_default());
            match w.get(i) {
                Some(b'\r') => break,
                Some(b'\t') => i += 1,
                Some(&b) => return Err(odd(b, Fault::FieldValue).into()),
                None => {
                    (self.mark, self.colon, self.known) = (mark, colon, known);
                    return Err(self.pause(State::Value));
                }
            }
        }
        let line = line(w, (mark, colon), colon + 1, i, known);
        if known == Name::Host && line.value.is_empty() {
            return Err(Fault::HostEmpty.into());
        }
        head.lines.push(line);
        self.line_lf(w, i + 1)
    }

    /// Follows the value of a field that frames the body, up to and with the end of the line.
    #[inline(never)]
    fn framing_value(&mut self, w: &[u8], start: usize, head: &mut RequestHead) -> Result<usize, Stop> {
        let fault = match self.known {
            Name::ContentLength => Fault::Length,
            _ => Fault::Coding,
        };
        for (i, &b) in w.iter().enumerate().skip(start) {
            let blank = matches!(b, b' ' | b'\t');
            let is_complete = match self.state {
                State::Length => self.digits > 0,
                State::Coding => usize::from(self.digits) == CODING.len(),
                _ => true,
            };
            match (self.state, b) {
                (State::Length, b'0'..=b'9') if self.digits < LENGTH_DIGITS => {
                    self.digits += 1;
                    self.length = self.length * 10 + u64::from(b - b'0');
                }
                (State::Coding, _) if CODING.get(usize::from(self.digits)) == Some(&b.to_ascii_lowercase()) => {
                    self.digits += 1;
                }
                (_, b'\r') if is_complete => {
                    head.lines
                        .push(line(w, (self.mark, self.colon), self.colon + 1, i, self.known));
                    return self.line_lf(w, i + 1);
                }
                _ if is_complete && blank => self.state = State::ValueEnd,
                _ if self.digits == 0 && blank => {}
                _ => return Err(odd(b, fault).into()),
            }
        }
        Err(Stop::More)
    }

    fn line_lf(&mut self, w: &[u8], i: usize) -> Result<usize, Stop> {
        match w.get(i) {
            Some(b'\n') => Ok(i + 1),
            None => Err(self.pause(State::LineLf)),
            Some(_) => Err(Fault::BareCr.into()),
        }
    }

    /// Takes the last LF of a head, unless something that has to be there is missing.
    #[inline(always)]
    fn end(&mut self, w: &[u8], i: usize) -> Result<usize, Stop> {
        match w.get(i) {
            None => Err(self.pause(State::HeadLf)),
            Some(b'\n') if self.has_host || self.version == 10 => Ok(i + 1),
            Some(b'\n') => Err(Fault::HostMissing.into()),
            Some(_) => Err(Fault::BareCr.into()),
        }
    }
}
