//! Heads of responses (RFC 9112, sections 4 to 6).
//!
//! Pods get the leniency that proxies owe them and that leaves no doubt: a bare LF ends a line (section 2.2), blanks may
//! stand before a colon (section 5.1), empty lines before the status line, and the reason may be missing or of any text.
//! Folded lines and whatever leaves in doubt where the body ends are refused.

use super::class::run_name;
use super::head::{LONGEST_HEAD, line, plain_line, span};
use super::last_lines::LastLines;
use super::scan::text_end;
use super::{Fault, Framing, Line, Name, Position, ResponseHead, ResponseLimits};

/// What the next byte is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the status line, and after the CR of an empty line there.
    Start,
    StartLf,
    // The status line.
    Version,
    Status,
    StatusEnd,
    Reason,
    ReasonLf,
    // Field lines.
    LineStart,
    Name,
    /// In blanks behind a name.
    NameEnd,
    Value,
    LineLf,
    HeadLf,
    /// After a fault.
    Failed(Fault),
}

/// Why reading stops before the end of a head.
enum Stop {
    /// All bytes were looked at.
    More,
    Fault(Fault),
}

impl From<Fault> for Stop {
    #[cold]
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// The head of a response that is being read.
#[derive(Debug, Clone)]
pub struct ResponseReader {
    limits: ResponseLimits,
    /// How many bytes were looked at.
    at: usize,
    /// Where the reason or the name begins that is being read.
    mark: usize,
    /// Where that name ends.
    name_end: usize,
    /// Where its value begins.
    value: usize,
    /// Content-Length.
    length: Option<u64>,
    state: State,
    known: Name,
    /// How far into the version or the status we are.
    digits: u8,
    is_chunked: bool,
    /// Where the fault was.
    halted: Position,
    last: LastLines,
}

impl ResponseReader {
    /// For the first head of a connection.
    pub fn new(limits: ResponseLimits) -> Self {
        Self {
            limits: ResponseLimits {
                head_bytes: limits.head_bytes.min(LONGEST_HEAD),
                ..limits
            },
            at: 0,
            mark: 0,
            name_end: 0,
            value: 0,
            length: None,
            state: State::Start,
            known: Name::Other,
            digits: 0,
            is_chunked: false,
            halted: Position::Between,
            last: LastLines::default(),
        }
    }

    /// Reads on. `input` holds all bytes since the end of the last message. Each call gets the same bytes, perhaps with more
    /// behind them, and the same `head`. `is_head` says whether the request's method was HEAD, whose responses have
    /// no body.
    ///
    /// Whether the head is complete, which may be that of an interim response (1xx). Then `head` is filled in, its first
    /// `head.length` bytes of `input` are taken, and the reader is ready for the next head.
    ///
    /// # Errors
    /// What is wrong with the head. Every further call gives the same fault.
    pub fn read(&mut self, input: &[u8], head: &mut ResponseHead, is_head: bool) -> Result<bool, Fault> {
        if let State::Failed(fault) = self.state {
            return Err(fault);
        }
        let limit = self.limits.head_bytes;
        let within = input.get(..limit).unwrap_or(input);
        if self.at >= within.len() && self.at < input.len() {
            return self.fail(Fault::HeadTooLong);
        }
        match self.head(within, head) {
            Ok(length) => match self.framing(head, is_head) {
                Ok(framing) => {
                    head.framing = framing;
                    head.has_both_framings = self.is_chunked && self.length.is_some();
                    head.length = length;
                    self.state = State::Start;
                    self.at = 0;
                    Ok(true)
                }
                Err(fault) => self.fail(fault),
            },
            Err(Stop::More) if within.len() == limit && limit > 0 => self.fail(Fault::HeadTooLong),
            Err(Stop::More) => {
                self.at = within.len();
                Ok(false)
            }
            Err(Stop::Fault(fault)) => self.fail(fault),
        }
    }

    /// Where the input stands. After a fault, where it was.
    pub fn position(&self) -> Position {
        match self.state {
            State::Start | State::StartLf => Position::Between,
            State::Failed(_) => self.halted,
            _ => Position::Head,
        }
    }

    /// What ends the body (RFC 9112, section 6.3).
    #[inline(always)]
    fn framing(&self, head: &ResponseHead, is_head: bool) -> Result<Framing, Fault> {
        if is_head || matches!(head.status, 100..=199 | 204 | 304) {
            return Ok(Framing::None);
        }
        match (self.is_chunked, self.length) {
            (true, _) if head.version == 10 => Err(Fault::CodingInOldVersion),
            (true, _) => Ok(Framing::Chunked),
            (false, Some(length)) => Ok(Framing::Length(length)),
            (false, None) => Ok(Framing::UntilClose),
        }
    }

    /// Reads the head up to its end, which is returned, or to the end of `w`.
    #[inline(always)]
    fn head(&mut self, w: &[u8], head: &mut ResponseHead) -> Result<usize, Stop> {
        let mut i = self.at;
        if matches!(self.state, State::Start | State::StartLf) {
            i = self.between(w, i, head)?;
        }
        if matches!(
            self.state,
            State::Version | State::Status | State::StatusEnd | State::Reason | State::ReasonLf
        ) {
            i = self.status_line(w, i, head)?;
        }
        self.fields(w, i, head)
    }

    /// Skips empty lines.
    #[inline(always)]
    fn between(&mut self, w: &[u8], mut i: usize, head: &mut ResponseHead) -> Result<usize, Stop> {
        loop {
            match (self.state, w.get(i)) {
                (_, None) => return Err(Stop::More),
                (State::StartLf, Some(b'\n')) => self.state = State::Start,
                (State::StartLf, _) => return Err(Fault::BareCr.into()),
                (_, Some(b'\r')) => self.state = State::StartLf,
                (_, Some(b'\n')) => {}
                _ => break,
            }
            i += 1;
        }
        head.lines.clear();
        self.length = None;
        self.is_chunked = false;
        self.digits = 0;
        self.state = State::Version;
        Ok(i)
    }

    /// Follows the status line with its end.
    #[inline(always)]
    fn status_line(&mut self, w: &[u8], mut i: usize, head: &mut ResponseHead) -> Result<usize, Stop> {
        if self.state == State::Version
            && self.digits == 0
            && let Some(start) = w.get(i..).and_then(<[u8]>::first_chunk::<13>)
            && let [
                b'H',
                b'T',
                b'T',
                b'P',
                b'/',
                b'1',
                b'.',
                b'1',
                b' ',
                b'1'..=b'9',
                b'0'..=b'9',
                b'0'..=b'9',
                b' ',
            ] = start
        {
            let digit = |at: usize| start.get(at).map_or(0, |b| u16::from(b - b'0'));
            head.version = 11;
            head.status = digit(9) * 100 + digit(10) * 10 + digit(11);
            i += start.len();
            self.mark = i;
            self.state = State::Reason;
        }
        while let Some(&b) = w.get(i) {
            match (self.state, self.digits, b) {
                (State::Version, 7, b'0' | b'1') => {
                    head.version = 10 + (b - b'0');
                    self.digits += 1;
                }
                (State::Version, 8, b' ') => {
                    head.status = 0;
                    self.digits = 0;
                    self.state = State::Status;
                }
                (State::Version, at, _) if b"HTTP/1.".get(usize::from(at)) == Some(&b) => self.digits += 1,
                (State::Version, ..) => return Err(Fault::Version.into()),
                (State::Status, 0, b'1'..=b'9') | (State::Status, 1 | 2, b'0'..=b'9') => {
                    head.status = head.status * 10 + u16::from(b - b'0');
                    self.digits += 1;
                    if self.digits == 3 {
                        self.state = State::StatusEnd;
                    }
                }
                (State::StatusEnd, _, b' ') => {
                    self.mark = i + 1;
                    self.state = State::Reason;
                }
                (State::StatusEnd, _, b'\r' | b'\n') => {
                    self.mark = i;
                    self.state = State::Reason;
                    continue;
                }
                (State::Reason, ..) => {
                    i += text_end(w.get(i..).unwrap_or_default());
                    match w.get(i) {
                        None => break,
                        Some(b'\t') => {}
                        Some(end @ (b'\r' | b'\n')) => {
                            head.reason = span(self.mark, i);
                            if *end == b'\n' {
                                self.state = State::LineStart;
                                return Ok(i + 1);
                            }
                            self.state = State::ReasonLf;
                        }
                        Some(_) => return Err(Fault::Status.into()),
                    }
                }
                (State::ReasonLf, _, b'\n') => {
                    self.state = State::LineStart;
                    return Ok(i + 1);
                }
                (State::ReasonLf, ..) => return Err(Fault::BareCr.into()),
                _ => return Err(Fault::Status.into()),
            }
            i += 1;
        }
        Err(Stop::More)
    }

    /// Follows field lines from offset `i` of `w` on, up to the end of the head, which is returned.
    #[inline(always)]
    fn fields(&mut self, w: &[u8], mut i: usize, head: &mut ResponseHead) -> Result<usize, Stop> {
        match self.state {
            State::LineStart => {}
            State::HeadLf => return self.line_lf(w, i, State::HeadLf),
            _ => i = self.resume(w, i, head)?,
        }
        loop {
            i = self.plain_lines(w, i, head)?;
            match w.get(i) {
                None => return Err(self.pause(State::LineStart)),
                Some(b'\r') => return self.line_lf(w, i + 1, State::HeadLf),
                Some(b'\n') => return Ok(i + 1),
                Some(_) => i = self.line(w, i, head)?,
            }
        }
    }

    /// Follows lines that are whole and have nothing unusual, up to the first other one.
    #[inline(always)]
    fn plain_lines(&mut self, w: &[u8], i: usize, head: &mut ResponseHead) -> Result<usize, Fault> {
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
                for line in head.lines.get(known..).unwrap_or_default() {
                    self.plain(line, w)?;
                }
                left = left.get(repeated..).unwrap_or_default();
            }
            if left.first() == Some(&b'\r') || head.lines.len() >= most {
                break;
            }
            let Some(plain) = plain_line(w.len(), left) else { break };
            self.plain(&plain.line, w)?;
            self.last.read(&mut expected, plain.line.known);
            is_other = true;
            head.lines.push(plain.line);
            left = plain.rest;
        }
        let end = w.len() - left.len();
        if is_begin && is_other {
            self.last.keep(i, w.get(i..end).unwrap_or_default(), &head.lines);
        }
        Ok(end)
    }

    /// Looks at what a line may say of the body.
    #[inline(always)]
    fn plain(&mut self, line: &Line, w: &[u8]) -> Result<(), Fault> {
        match line.known {
            Name::ContentLength | Name::TransferEncoding => self.framing_field(line.known, line.value.of(w)),
            _ => Ok(()),
        }
    }

    /// Sets the state that the end of the input leaves us in.
    #[cold]
    fn pause(&mut self, state: State) -> Stop {
        self.state = state;
        Stop::More
    }

    /// Follows the rest of a line that an earlier call left unfinished.
    #[inline(never)]
    fn resume(&mut self, w: &[u8], i: usize, head: &mut ResponseHead) -> Result<usize, Stop> {
        match self.state {
            State::Name => {
                let end = i + run_name(w.get(i..).unwrap_or_default());
                self.named(w, (self.mark, end), end, head)
            }
            State::NameEnd => self.named(w, (self.mark, self.name_end), i, head),
            State::Value => self.value(w, (self.mark, self.name_end), self.value, i, self.known, head),
            _ => self.line_lf(w, i, State::LineLf),
        }
    }

    #[inline(never)]
    fn line(&mut self, w: &[u8], mark: usize, head: &mut ResponseHead) -> Result<usize, Stop> {
        let end = mark + run_name(w.get(mark..).unwrap_or_default());
        if end == mark {
            let blank = matches!(w.get(mark), Some(b' ' | b'\t'));
            return Err(if blank { Fault::Fold } else { Fault::FieldName }.into());
        }
        if head.lines.len() >= self.limits.header_count {
            return Err(Fault::TooManyFields.into());
        }
        self.named(w, (mark, end), end, head)
    }

    /// Goes on at offset `i` behind a name.
    fn named(&mut self, w: &[u8], name: (usize, usize), mut i: usize, head: &mut ResponseHead) -> Result<usize, Stop> {
        loop {
            match w.get(i) {
                Some(b':') => break,
                Some(b' ' | b'\t') => i += 1,
                Some(_) => return Err(Fault::FieldName.into()),
                None => {
                    (self.mark, self.name_end) = name;
                    let state = if i == name.1 { State::Name } else { State::NameEnd };
                    return Err(self.pause(state));
                }
            }
        }
        let known = Name::of(w.get(name.0..name.1).unwrap_or_default());
        self.value(w, name, i + 1, i + 1, known, head)
    }

    /// Follows the value that begins at `start` from offset `i` on.
    fn value(
        &mut self,
        w: &[u8],
        name: (usize, usize),
        start: usize,
        mut i: usize,
        known: Name,
        head: &mut ResponseHead,
    ) -> Result<usize, Stop> {
        let end = loop {
            i += text_end(w.get(i..).unwrap_or_default());
            match w.get(i) {
                Some(end @ (b'\r' | b'\n')) => break *end,
                Some(b'\t') => i += 1,
                Some(_) => return Err(Fault::FieldValue.into()),
                None => {
                    (self.mark, self.name_end) = name;
                    (self.value, self.known) = (start, known);
                    return Err(self.pause(State::Value));
                }
            }
        };
        let line = line(w, name, start, i, known);
        if matches!(known, Name::ContentLength | Name::TransferEncoding) {
            self.framing_field(known, line.value.of(w))?;
        }
        head.lines.push(line);
        if end == b'\n' {
            return Ok(i + 1);
        }
        self.line_lf(w, i + 1, State::LineLf)
    }

    /// Takes note of a field that frames the body.
    #[inline(never)]
    fn framing_field(&mut self, known: Name, value: &[u8]) -> Result<(), Fault> {
        if known == Name::TransferEncoding {
            if std::mem::replace(&mut self.is_chunked, true) {
                return Err(Fault::CodingRepeated);
            }
            return match value.eq_ignore_ascii_case(b"chunked") {
                true => Ok(()),
                false => Err(Fault::Coding),
            };
        }
        let length = if value.is_empty() { None } else { number(value) };
        let length = length.ok_or(Fault::Length)?;
        match self.length.replace(length) {
            // `5, 5` and two equal lines are refused as well: two readers may not agree on them.
            Some(_) => Err(Fault::LengthRepeated),
            None => Ok(()),
        }
    }

    fn line_lf(&mut self, w: &[u8], i: usize, state: State) -> Result<usize, Stop> {
        match w.get(i) {
            Some(b'\n') => Ok(i + 1),
            None => Err(self.pause(state)),
            Some(_) => Err(Fault::BareCr.into()),
        }
    }

    /// Refuses all from here on.
    #[cold]
    fn fail(&mut self, fault: Fault) -> Result<bool, Fault> {
        self.halted = self.position();
        self.state = State::Failed(fault);
        Err(fault)
    }
}

/// What these digits say, if they are digits and it fits.
fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}
