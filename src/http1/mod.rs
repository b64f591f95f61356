//! Messages of HTTP/1.1 (RFC 9112) without input or output: readers of heads and a decoder of bodies.
//!
//! Two parties that see different message boundaries in the same bytes are what request smuggling is made of (RFC 9112,
//! section 11.2). So there is one grammar, which is strict for clients and lenient for pods only where a reading is
//! certain. All readers are state machines over bytes, with runs of equal state skipped at once: their verdicts do
//! not depend on how reads split the input, and a faulty byte is refused as soon as it has come.

mod class;
mod decoder;
mod encoder;
mod fault;
mod head;
mod last_lines;
mod limits;
mod name;
mod outgoing;
mod request;
mod response;
mod scan;
#[cfg(test)]
pub(crate) mod tests;
mod trailers;

pub use decoder::{Decoder, Part};
pub use encoder::{Encoder, WrongLength};
pub use fault::{Fault, FaultKind};
pub use head::{RequestHead, ResponseHead};
pub use limits::{Limits, ResponseLimits};
pub use name::Name;
pub use outgoing::{LONGEST_KEPT, Outgoing};
pub use request::{RequestReader, is_length, is_target};
pub use response::ResponseReader;
pub use trailers::{FORBIDDEN, Trailers, fold, is_forbidden};

/// A part of a head or trailer section, by its offsets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// The offset of its first byte.
    pub start: u32,
    /// The offset behind its last byte.
    pub end: u32,
}

impl Span {
    /// Its bytes. It is empty where `bytes` are not those that it was made from.
    #[inline]
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// It without the blanks at its ends.
    #[inline]
    fn trimmed(self, bytes: &[u8]) -> Self {
        let blank = |at: u32| matches!(bytes.get(at as usize), Some(b' ' | b'\t'));
        let Self { mut start, mut end } = self;
        while start < end && blank(start) {
            start += 1;
        }
        while start < end && blank(end - 1) {
            end -= 1;
        }
        Self { start, end }
    }

    /// How many bytes it has.
    #[inline]
    pub fn len(self) -> usize {
        self.end.saturating_sub(self.start) as usize
    }

    /// Whether it has no bytes.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.end <= self.start
    }
}

/// A field line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// The name as it came.
    pub name: Span,
    /// The value without the blanks around it.
    pub value: Span,
    /// Which field it is, if it is a well-known one.
    pub known: Name,
}

/// What ends the body of a message (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    #[default]
    None,
    /// This many bytes.
    Length(u64),
    /// The chunk of size 0 and the trailer section behind it.
    Chunked,
    /// The end of the connection.
    UntilClose,
}

/// Where in the stream of messages the input of a reader stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Position {
    /// No byte of the next message has come, though maybe empty lines before it (RFC 9112, section 2.2).
    Between,
    /// Inside a head.
    Head,
    /// Inside a body, with its chunk lines and trailer section.
    Body,
}
