//! Bodies: by length, chunked, or until the connection closes (RFC 9112, sections 6 and 7).

use super::class::{QUOTED, TEXT, TOKEN, is, run};
use super::trailers::Section;
use super::{Fault, Framing, Limits, ResponseLimits, Trailers};

/// More digits would not fit 64 bits, leading zeros or not.
const SIZE_DIGITS: u8 = 16;

/// What the first bytes of the input are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Part {
    /// Bytes of chunk lines before the data, to be thrown away.
    pub framing: usize,
    /// Bytes of the body behind them.
    pub data: usize,
}

/// What the next byte is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The body by its length.
    Length,
    UntilClose,
    // A chunk, and the line end behind it.
    Data,
    DataCr,
    DataLf,
    // The line before a chunk.
    Size,
    SizeLf,
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
    /// In the extensions of a pod, which are thrown away whatever they say.
    ExtAny,
    // The trailer section: the CR of an empty one is not kept.
    FirstTrailer,
    Trailers,
    EndLf,
    Done,
    /// After a fault.
    Failed(Fault),
}

/// What separates the bytes of a body from those that frame it.
///
/// Nothing is allocated but for the fields of a trailer section.
#[derive(Debug)]
pub struct Decoder {
    /// Bytes of the body or of the chunk that are still to come; while a chunk size is read, that size.
    remaining: u64,
    /// Bytes that chunk extensions may still have.
    extensions: u32,
    trailer_bytes: u32,
    header_count: u32,
    /// Digits of a chunk size so far.
    digits: u8,
    /// Whether the body is a pod's.
    lenient: bool,
    state: State,
    section: Option<Box<Section>>,
}

fn bound(limit: usize) -> u32 {
    u32::try_from(limit).unwrap_or(u32::MAX)
}

impl Decoder {
    /// For the body of a request.
    pub fn new(framing: Framing, limits: &Limits) -> Self {
        let (remaining, state) = match framing {
            Framing::None | Framing::Length(0) => (0, State::Done),
            Framing::Length(length) => (length, State::Length),
            Framing::Chunked => (0, State::Size),
            Framing::UntilClose => (0, State::UntilClose),
        };
        Self {
            remaining,
            extensions: bound(limits.chunk_ext_bytes),
            trailer_bytes: bound(limits.trailer_bytes),
            header_count: bound(limits.header_count),
            digits: 0,
            lenient: false,
            state,
            section: None,
        }
    }

    /// For the body of a response.
    ///
    /// Chunk lines of pods may have blanks behind the size and extensions of any text, because both are thrown away and
    /// the size is certain. Trailers that may not be there are left out.
    pub fn of_response(framing: Framing, limits: &ResponseLimits) -> Self {
        let limits = Limits {
            header_count: limits.header_count,
            chunk_ext_bytes: limits.chunk_ext_bytes,
            trailer_bytes: limits.trailer_bytes,
            ..Limits::default()
        };
        Self {
            lenient: true,
            ..Self::new(framing, &limits)
        }
    }

    /// What the first bytes of `input` are. It has to be called again with the rest, after `framing + data` bytes were
    /// taken away, until it is done; it needs more input if both are 0.
    ///
    /// # Errors
    /// The fault of the first byte that may not be where it is. Every further call gives the same one.
    pub fn next(&mut self, input: &[u8]) -> Result<Part, Fault> {
        let framing = match self.state {
            State::Done => return Ok(Part::default()),
            State::UntilClose => {
                let data = input.len();
                return Ok(Part { framing: 0, data });
            }
            State::Length | State::Data => 0,
            State::Failed(fault) => return Err(fault),
            _ => self
                .lines(input)
                .inspect_err(|fault| self.state = State::Failed(*fault))?,
        };
        let data = match self.state {
            State::Length | State::Data => self.take(input.len() - framing),
            _ => 0,
        };
        Ok(Part { framing, data })
    }

    /// Whether the body has come to its end.
    #[inline]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Bytes of the body that are still to come, where that is known.
    pub fn left(&self) -> Option<u64> {
        match self.state {
            State::Length => Some(self.remaining),
            State::Done => Some(0),
            _ => None,
        }
    }

    /// The trailer section, once it was read and if it has fields.
    pub fn take_trailers(&mut self) -> Option<Trailers> {
        if !self.is_done() {
            return None;
        }
        self.section.take()?.into_trailers()
    }

    /// Notes that the connection has ended.
    ///
    /// # Errors
    /// [`Fault::Incomplete`], unless the body is done or lasts until then.
    pub fn end(&mut self) -> Result<(), Fault> {
        match self.state {
            State::Done => Ok(()),
            State::UntilClose => {
                self.state = State::Done;
                Ok(())
            }
            State::Failed(fault) => Err(fault),
            _ => {
                self.state = State::Failed(Fault::Incomplete);
                Err(Fault::Incomplete)
            }
        }
    }

    /// Takes as much of `available` bytes as belongs to the body or the chunk.
    fn take(&mut self, available: usize) -> usize {
        let data = usize::try_from(self.remaining).map_or(available, |left| left.min(available));
        self.remaining -= data as u64;
        if self.remaining == 0 {
            self.state = match self.state {
                State::Length => State::Done,
                _ => State::DataCr,
            };
        }
        data
    }

    /// Follows what is not data until data, the end of the body or the end of `w`; how much that is.
    fn lines(&mut self, w: &[u8]) -> Result<usize, Fault> {
        let mut i = 0;
        while let Some(&b) = w.get(i) {
            match self.state {
                State::Size => match char::from(b).to_digit(16) {
                    Some(_) if self.digits == SIZE_DIGITS => return Err(Fault::ChunkSize),
                    Some(digit) => {
                        self.digits += 1;
                        self.remaining = self.remaining << 4 | u64::from(digit);
                    }
                    None if self.digits == 0 => return Err(Fault::ChunkSize),
                    None => match b {
                        b'\r' => self.state = State::SizeLf,
                        b';' | b' ' | b'\t' => {
                            self.state = State::ExtEnd;
                            // The byte is the extension's, not the size's.
                            continue;
                        }
                        _ => return Err(Fault::ChunkSize),
                    },
                },
                State::SizeLf if b != b'\n' => return Err(Fault::BareCr),
                State::SizeLf if self.remaining > 0 => {
                    self.state = State::Data;
                    return Ok(i + 1);
                }
                State::SizeLf => self.state = State::FirstTrailer,
                State::DataCr if b == b'\r' => self.state = State::DataLf,
                State::DataLf if b == b'\n' => {
                    self.remaining = 0;
                    self.digits = 0;
                    self.state = State::Size;
                }
                State::DataCr | State::DataLf => return Err(Fault::ChunkEnd),
                State::FirstTrailer if b == b'\r' && self.trailer_bytes >= 2 => self.state = State::EndLf,
                State::EndLf if b == b'\n' => {
                    self.state = State::Done;
                    return Ok(i + 1);
                }
                State::EndLf => return Err(Fault::BareCr),
                State::FirstTrailer | State::Trailers => {
                    self.state = State::Trailers;
                    i += self.trailers(w.get(i..).unwrap_or_default())?;
                    return Ok(i);
                }
                _ => {
                    i += self.extensions(w.get(i..).unwrap_or_default())?;
                    continue;
                }
            }
            i += 1;
        }
        Ok(i)
    }

    /// Follows chunk extensions up to and with the CR (RFC 9112, section 7.1.1):
    /// `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )`.
    ///
    /// Whitespace may stand around `;` and `=` only, so not before the CR, unless a pod sent it.
    fn extensions(&mut self, w: &[u8]) -> Result<usize, Fault> {
        let room = self.extensions as usize;
        let mut i = 0;
        while let Some(&b) = w.get(i) {
            let blank = matches!(b, b' ' | b'\t');
            let next = match (self.state, b) {
                (State::ExtName | State::ExtValue | State::ExtQuotedEnd | State::ExtAny, b'\r') => {
                    self.state = State::SizeLf;
                    return Ok(self.count(i) + 1);
                }
                (State::ExtEnd, b'\r') if self.lenient => {
                    self.state = State::SizeLf;
                    return Ok(self.count(i) + 1);
                }
                (_, b'\n') => return Err(Fault::BareLf),
                _ if i >= room => return Err(Fault::ChunkExtensionsTooLong),
                (State::ExtEnd, b';') if self.lenient => State::ExtAny,
                (State::ExtAny, _) if is(b, TEXT) => State::ExtAny,
                (State::ExtQuoted, b'"') => State::ExtQuotedEnd,
                (State::ExtQuoted, b'\\') => State::ExtQuotedPair,
                (State::ExtQuoted, _) if is(b, QUOTED) => {
                    i += run(w.get(i..room.min(w.len())).unwrap_or_default(), QUOTED);
                    continue;
                }
                (State::ExtQuotedPair, _) if is(b, TEXT) => State::ExtQuoted,
                (State::ExtNameStart | State::ExtName, _) if is(b, TOKEN) => State::ExtName,
                (State::ExtValueStart | State::ExtValue, _) if is(b, TOKEN) => State::ExtValue,
                (State::ExtValueStart, b'"') => State::ExtQuoted,
                (State::ExtNameStart | State::ExtValueStart, _) if blank => self.state,
                (State::ExtName | State::ExtNameEnd, b'=') => State::ExtValueStart,
                (State::ExtName | State::ExtNameEnd, _) if blank => State::ExtNameEnd,
                (State::ExtValue | State::ExtQuotedEnd | State::ExtEnd, _) if blank => State::ExtEnd,
                (State::ExtName | State::ExtNameEnd | State::ExtValue | State::ExtQuotedEnd | State::ExtEnd, b';') => {
                    State::ExtNameStart
                }
                _ => return Err(Fault::ChunkExtension),
            };
            self.state = next;
            i += 1;
        }
        Ok(self.count(i))
    }

    /// Counts bytes of extensions, which are within what is left of their limit.
    fn count(&mut self, bytes: usize) -> usize {
        self.extensions = self.extensions.saturating_sub(bound(bytes));
        bytes
    }

    fn trailers(&mut self, w: &[u8]) -> Result<usize, Fault> {
        let (bytes, fields) = (self.trailer_bytes as usize, self.header_count as usize);
        let section = self.section.get_or_insert_default();
        let taken = section.read(w, bytes, fields, self.lenient)?;
        if section.is_whole() {
            self.state = State::Done;
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests;
