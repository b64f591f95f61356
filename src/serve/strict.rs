//! A strict filter of request framing below hyper's reader.
//!
//! hyper's parser takes a bare LF for a line end, looks only at the last
//! transfer coding, prefers Transfer-Encoding over a Content-Length beside it
//! and answers some malformed heads itself. A proxy may not: two parties that
//! see different message boundaries in the same bytes is what request
//! smuggling is made of (RFC 9112 11.2). So a [`Framer`] sees every byte a
//! client sends first, follows heads, lengths and chunks over pipelined
//! messages, and says how many bytes hyper may have. The last byte of a head
//! is only ever let through when the whole head is valid, and hyper starts no
//! request before that byte.
//!
//! The framer is one state machine over bytes, with runs of equal state
//! skipped at once, so its verdict does not depend on how reads split the
//! input. Nothing is buffered but the short word that straddles two reads.
//!
//! Whatever hyper or `http::Uri` would refuse is refused here first, so that
//! all error replies are the proxy's own. For that, hyper's own limits have to
//! be looser than [`Limits`]; what that means is said at each field.

mod chunk;
mod head;
mod target;
#[cfg(test)]
mod tests;

pub use crate::http1::{Fault, Limits, Position, is_length, is_target};

use head::{Field, Method, Word};

/// What [`Framer::scan`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Scan {
    /// How many leading bytes of the input may be passed to hyper.
    pub accepted: usize,
    /// How many heads were completed by those bytes.
    pub heads: u32,
    /// Why nothing more is accepted. Without one all of the input was, but for a version that is about to be refused:
    /// hyper must not see that before it is known how.
    pub fault: Option<Fault>,
    /// The byte behind the accepted ones, if it has to be passed on percent-encoded. Nothing behind it was looked at.
    pub raw: Option<u8>,
}

/// What the next byte is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// Before a byte of a query that `http::Uri` does not take as it is.
    Raw,
    // Field lines, of a head or a trailer section.
    LineLf,
    LineStart,
    Name,
    ValueStart,
    Value,
    Length,
    Coding,
    ValueEnd,
    SectionLf,
    // Bodies. `Data` is shared by both framings.
    Data,
    DataCr,
    DataLf,
    ChunkSize,
    ChunkSizeLf,
    // Chunk extensions, where each `Start` is before and each `End` after.
    ExtNameStart,
    ExtName,
    ExtNameEnd,
    ExtValueStart,
    ExtValue,
    ExtQuoted,
    ExtQuotedPair,
    ExtQuotedEnd,
    ExtEnd,
    /// After a fault.
    Dead,
}

impl State {
    fn is_request_line(self) -> bool {
        (State::Method as u8..=State::Version as u8).contains(&(self as u8))
    }

    fn is_section(self) -> bool {
        (State::Method as u8..=State::SectionLf as u8).contains(&(self as u8))
    }

    fn is_extension(self) -> bool {
        (State::ExtNameStart as u8..=State::ExtEnd as u8).contains(&(self as u8))
    }
}

/// Empty lines that are skipped before a request line (RFC 9112 2.2). One is
/// what old clients sent after a body; a flood of them is not a request.
const EMPTY_LINES: u8 = 2;

/// The state of one connection's input.
#[derive(Debug, Clone)]
pub struct Framer {
    limits: Limits,
    /// Bytes of the body or of the chunk that are still to come; while a chunk
    /// size is read, that size; while a head is read, its Content-Length.
    remaining: u64,
    /// Bytes of the head or trailer section so far.
    section_bytes: usize,
    uri_bytes: usize,
    extension_bytes: usize,
    fields: usize,
    word: Word,
    state: State,
    method: Method,
    field: Field,
    /// How far into a version, a number or the word `chunked` we are.
    digits: u8,
    /// 10 or 11.
    version: u8,
    empty_lines: u8,
    /// Whether the section is a trailer section.
    trailers: bool,
    host: bool,
    length: bool,
    chunked: bool,
    fault: Option<Fault>,
    /// Where the fault was.
    halted: Position,
}

impl Framer {
    /// A framer for a new connection.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        // Longer names break hyper, http::Uri takes no longer target, and hyper's own bounds on chunks are not settings.
        // hyper counts the empty lines before a head as well, so its `max_buf_size` has to be at least 5 more.
        const HYPER_CHUNK_BYTES: usize = (16 << 10) - 1;
        Self {
            limits: Limits {
                head_bytes: limits.head_bytes.min(usize::from(u16::MAX)),
                uri_bytes: limits.uri_bytes.min(usize::from(u16::MAX - 1)),
                header_count: limits.header_count,
                chunk_ext_bytes: limits.chunk_ext_bytes.min(HYPER_CHUNK_BYTES),
                trailer_bytes: limits.trailer_bytes.min(HYPER_CHUNK_BYTES),
            },
            remaining: 0,
            section_bytes: 0,
            uri_bytes: 0,
            extension_bytes: 0,
            fields: 0,
            word: Word::default(),
            state: State::Start,
            method: Method::Other,
            field: Field::Other,
            digits: 0,
            version: 0,
            empty_lines: 0,
            trailers: false,
            host: false,
            length: false,
            chunked: false,
            fault: None,
            halted: Position::Between,
        }
    }

    /// Looks at the next bytes of the connection, which may end anywhere.
    ///
    /// The accepted bytes are a prefix of `input`. After a fault nothing more is accepted, and every further
    /// call reports that fault again.
    pub fn scan(&mut self, input: &[u8]) -> Scan {
        let mut at = 0;
        let mut heads = 0;
        let mut raw = None;
        while let Some((&b, _)) = input[at..].split_first() {
            let rest = &input[at..];
            at += match self.state {
                State::OtherVersion => {
                    self.other_version(rest);
                    break;
                }
                State::Raw => {
                    self.state = State::Query;
                    raw = Some(b);
                    break;
                }
                State::Start if b != b'\r' => {
                    self.begin_head();
                    self.section(rest, &mut heads)
                }
                State::Start | State::StartLf => self.between(rest),
                State::Data => self.data(rest),
                State::Dead => break,
                state if state.is_section() => self.section(rest, &mut heads),
                _ => self.chunk_lines(rest),
            };
        }
        Scan {
            accepted: at,
            heads,
            fault: self.fault,
            raw,
        }
    }

    /// Goes on behind a byte that has to be percent-encoded, which means the
    /// same (RFC 3986 2.1): what hyper is to get behind what was accepted. `scan`
    /// is that of `input`, and becomes that of all of it.
    #[cold]
    pub fn encode(&mut self, input: &[u8], scan: &mut Scan) -> Vec<u8> {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        let (mut passed, mut rest) = (Vec::new(), input);
        while let Some(raw) = scan.raw {
            rest = rest.get(scan.accepted + 1..).unwrap_or_default();
            passed.extend([b'%', DIGITS[usize::from(raw >> 4)], DIGITS[usize::from(raw & 15)]]);
            let heads = scan.heads;
            *scan = self.scan(rest);
            scan.heads += heads;
            passed.extend_from_slice(rest.get(..scan.accepted).unwrap_or_default());
        }
        passed
    }

    /// Where the connection stands after what was accepted so far. After a
    /// fault, where the refused byte would have been.
    #[must_use]
    pub fn position(&self) -> Position {
        match self.state {
            State::Start | State::StartLf => Position::Between,
            State::Dead => self.halted,
            state if state.is_section() && !self.trailers => Position::Head,
            _ => Position::Body,
        }
    }

    /// Skips empty lines up to the first byte that is no part of one.
    fn between(&mut self, w: &[u8]) -> usize {
        let mut i = 0;
        while let Some(&b) = w.get(i) {
            match (self.state, b) {
                (State::StartLf, b'\n') => {
                    self.empty_lines += 1;
                    self.state = State::Start;
                }
                (State::StartLf, _) => return self.stop(i, Fault::BareCr),
                (_, b'\r') if self.empty_lines == EMPTY_LINES => {
                    return self.stop(i, Fault::EmptyLines);
                }
                (_, b'\r') => self.state = State::StartLf,
                _ => break,
            }
            i += 1;
        }
        i
    }

    /// Counts body bytes.
    fn data(&mut self, w: &[u8]) -> usize {
        let n = usize::try_from(self.remaining).map_or(w.len(), |left| left.min(w.len()));
        self.remaining -= n as u64;
        if self.remaining == 0 {
            self.state = if self.chunked { State::DataCr } else { State::Start };
        }
        n
    }

    /// Refuses all from offset `at` of the bytes at hand on; returns `at`.
    #[cold]
    fn stop(&mut self, at: usize, fault: Fault) -> usize {
        self.halted = self.position();
        self.state = State::Dead;
        self.fault = Some(fault);
        at
    }
}
