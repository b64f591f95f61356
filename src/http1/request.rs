//! Heads of requests (RFC 9112, sections 2, 3 and 5), read as strictly as can be.
//!
//! A bare LF is no line end, Content-Length and Transfer-Encoding are never there both or twice, and `chunked` is the
//! only transfer coding: whatever two parsers may read differently is refused.

mod fields;
mod target;

pub use fields::is_length;
pub use target::is_target;

use super::head::LONGEST_HEAD;
use super::last_lines::LastLines;
use super::{Fault, Framing, Limits, Name, Position, RequestHead};

/// Empty lines that are skipped before a request line (RFC 9112, section 2.2). Old clients sent one after a body; a
/// flood of them is not a request.
const EMPTY_LINES: u8 = 2;

/// What the next byte is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Between messages, and after the CR of an empty line there.
    Start,
    StartLf,
    // The request line.
    Method,
    TargetStart,
    TargetStar,
    TargetScheme,
    HostStart,
    HostName,
    HostIpv6,
    HostEnd,
    Port,
    Path,
    Query,
    Version,
    /// In a version that is not ours.
    OtherVersion,
    // Field lines.
    LineLf,
    LineStart,
    Name,
    Value,
    Length,
    Coding,
    ValueEnd,
    HeadLf,
    /// After a fault.
    Failed(Fault),
}

/// Methods that a target's form depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Connect,
    Options,
    /// The beginning of the HTTP/2 preface (RFC 9113, section 3.4).
    Pri,
    Other,
}

/// Why reading stops before the end of a head.
enum Stop {
    /// All bytes were looked at.
    More,
    /// At a byte of the query that has to be percent-encoded.
    Raw(usize),
    /// At a digit that makes another version than 1.0 and 1.1.
    OtherVersion(usize),
    Fault(Fault),
}

impl From<Fault> for Stop {
    #[cold]
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// The head of a request that is being read.
#[derive(Debug, Clone)]
pub struct RequestReader {
    limits: Limits,
    /// Where the head begins.
    start: usize,
    /// How many bytes were looked at.
    at: usize,
    /// Where the method, target or name begins that is being read.
    mark: usize,
    /// Where the name ends that is being read the value of.
    colon: usize,
    /// How many bytes more there would be if all were encoded so far that have to be.
    encoded: usize,
    /// Content-Length.
    length: u64,
    state: State,
    method: Method,
    /// The name of the line that is being read.
    known: Name,
    /// How far into a version, a number or the word `chunked` we are.
    digits: u8,
    /// 10 or 11.
    version: u8,
    empty_lines: u8,
    has_host: bool,
    has_length: bool,
    is_chunked: bool,
    /// Where the fault was.
    halted: Position,
    last: LastLines,
}

impl RequestReader {
    /// For the first head of a connection.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits: Limits {
                head_bytes: limits.head_bytes.min(LONGEST_HEAD),
                uri_bytes: limits.uri_bytes.min(LONGEST_HEAD),
                ..limits
            },
            start: 0,
            at: 0,
            mark: 0,
            colon: 0,
            encoded: 0,
            length: 0,
            state: State::Start,
            method: Method::Other,
            known: Name::Other,
            digits: 0,
            version: 0,
            empty_lines: 0,
            has_host: false,
            has_length: false,
            is_chunked: false,
            halted: Position::Between,
            last: LastLines::default(),
        }
    }

    /// Reads on. `input` holds all bytes since the end of the last message, empty lines before the head included. Each
    /// call gets the same bytes, perhaps with more behind them, and the same `head`.
    ///
    /// Whether the head is complete. Then `head` is filled in, its first `head.length` bytes of `input` are taken, and the
    /// reader is ready for the next head.
    ///
    /// # Errors
    /// The fault of the first byte that may not be where it is. Every further call gives the same one.
    pub fn read(&mut self, input: &[u8], head: &mut RequestHead) -> Result<bool, Fault> {
        if !self.begin(input, head)? {
            return Ok(false);
        }
        while self.at < input.len() {
            if self.state == State::OtherVersion {
                return self.other_version(input);
            }
            let limit = (self.start + self.limits.head_bytes).saturating_sub(self.encoded);
            let end = limit.min(input.len());
            let within = input.get(..end).unwrap_or_default();
            if self.at >= end {
                return self.fail(Fault::HeadTooLong);
            }
            match self.head(within, head) {
                Ok(length) => {
                    self.finish(input, head, length);
                    return Ok(true);
                }
                Err(Stop::More) => {
                    self.at = end;
                    if end == limit {
                        return self.fail(Fault::HeadTooLong);
                    }
                }
                Err(Stop::Raw(at)) => {
                    self.at = at + 1;
                    self.encoded += ENCODED - 1;
                }
                Err(Stop::OtherVersion(at)) => {
                    self.at = at;
                    self.state = State::OtherVersion;
                }
                Err(Stop::Fault(fault)) => return self.fail(fault),
            }
        }
        Ok(false)
    }

    /// Gives back the memory by which it reads the next head sooner.
    pub fn rest(&mut self) {
        self.last.forget();
    }

    /// Where the input stands. After a fault, where the refused byte would have been.
    pub fn position(&self) -> Position {
        match self.state {
            State::Start | State::StartLf => Position::Between,
            State::Failed(_) => self.halted,
            _ => Position::Head,
        }
    }

    /// Skips empty lines. Whether a byte of a head has come.
    #[inline(always)]
    fn begin(&mut self, input: &[u8], head: &mut RequestHead) -> Result<bool, Fault> {
        if !matches!(self.state, State::Start | State::StartLf | State::Failed(_)) {
            return Ok(true);
        }
        if (self.state != State::Start || matches!(input.get(self.at), None | Some(b'\r'))) && !self.between(input)? {
            return Ok(false);
        }
        self.state = State::Method;
        self.start = self.at;
        self.mark = self.at;
        self.encoded = 0;
        self.length = 0;
        self.empty_lines = 0;
        self.has_host = false;
        self.has_length = false;
        self.is_chunked = false;
        head.lines.clear();
        head.encoded = None;
        Ok(true)
    }

    /// Skips empty lines up to the first byte that is no part of one, if it is there.
    #[cold]
    fn between(&mut self, input: &[u8]) -> Result<bool, Fault> {
        while let Some(&b) = input.get(self.at) {
            match (self.state, b) {
                (State::Failed(fault), _) => return Err(fault),
                (State::StartLf, b'\n') => {
                    self.empty_lines += 1;
                    self.state = State::Start;
                }
                (State::StartLf, _) => return self.fail(Fault::BareCr),
                (_, b'\r') if self.empty_lines == EMPTY_LINES => return self.fail(Fault::EmptyLines),
                (_, b'\r') => self.state = State::StartLf,
                _ => return Ok(true),
            }
            self.at += 1;
        }
        match self.state {
            State::Failed(fault) => Err(fault),
            _ => Ok(false),
        }
    }

    /// Reads the head up to its end, which is returned, or to the end of `w`.
    #[inline(always)]
    fn head(&mut self, w: &[u8], head: &mut RequestHead) -> Result<usize, Stop> {
        let mut i = self.at;
        if self.state.is_request_line() {
            i = self.request_line(w, i, head)?;
        }
        self.fields(w, i, head)
    }

    #[inline(always)]
    fn finish(&mut self, input: &[u8], head: &mut RequestHead, length: usize) {
        head.version = self.version;
        head.length = length;
        head.framing = if self.is_chunked {
            Framing::Chunked
        } else if self.has_length {
            Framing::Length(self.length)
        } else {
            Framing::None
        };
        if self.encoded > 0 {
            head.encoded = Some(target::encode(head.target.of(input)));
        }
        self.state = State::Start;
        self.at = 0;
    }

    /// Refuses all from here on.
    #[cold]
    fn fail(&mut self, fault: Fault) -> Result<bool, Fault> {
        self.halted = self.position();
        self.state = State::Failed(fault);
        Err(fault)
    }
}

/// The length of a percent-encoded byte.
const ENCODED: usize = 3;

impl State {
    #[inline(always)]
    fn is_request_line(self) -> bool {
        matches!(
            self,
            Self::Method
                | Self::TargetStart
                | Self::TargetStar
                | Self::TargetScheme
                | Self::HostStart
                | Self::HostName
                | Self::HostIpv6
                | Self::HostEnd
                | Self::Port
                | Self::Path
                | Self::Query
                | Self::Version
        )
    }
}
