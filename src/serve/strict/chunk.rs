//! The lines between the chunks of a chunked body (RFC 9112 7.1).

use super::{Fault, Framer, State};
use crate::http1::classes::{QUOTED, TEXT, TOKEN, is, run};

/// More digits would not fit 64 bits, leading zeros or not.
const SIZE_DIGITS: u8 = 16;

impl Framer {
    /// Makes ready for the first chunk of a body.
    pub(super) fn begin_chunks(&mut self) {
        self.extension_bytes = 0;
        self.begin_chunk();
    }

    fn begin_chunk(&mut self) {
        self.remaining = 0;
        self.digits = 0;
        self.state = State::ChunkSize;
    }

    /// Follows chunk lines and the line ends after chunk data until data, the
    /// trailer section or the end of `w`; how much was accepted.
    pub(super) fn chunk_lines(&mut self, w: &[u8]) -> usize {
        let mut i = 0;
        while let Some(&b) = w.get(i) {
            match self.state {
                State::ChunkSize => {
                    if let Some(digit) = (b as char).to_digit(16) {
                        if self.digits == SIZE_DIGITS {
                            return self.stop(i, Fault::ChunkSize);
                        }
                        self.digits += 1;
                        self.remaining = self.remaining << 4 | u64::from(digit);
                    } else if self.digits == 0 {
                        return self.stop(i, Fault::ChunkSize);
                    } else {
                        match b {
                            b'\r' => self.state = State::ChunkSizeLf,
                            b';' | b' ' | b'\t' => {
                                self.state = State::ExtEnd;
                                // The byte is the extension's, not the size's.
                                continue;
                            }
                            _ => return self.stop(i, Fault::ChunkSize),
                        }
                    }
                    i += 1;
                }
                State::ChunkSizeLf => {
                    if b != b'\n' {
                        return self.stop(i, Fault::BareCr);
                    }
                    if self.remaining == 0 {
                        self.begin_trailers();
                    } else {
                        self.state = State::Data;
                    }
                    return i + 1;
                }
                State::DataCr => {
                    if b != b'\r' {
                        return self.stop(i, Fault::ChunkEnd);
                    }
                    self.state = State::DataLf;
                    i += 1;
                }
                State::DataLf => {
                    if b != b'\n' {
                        return self.stop(i, Fault::ChunkEnd);
                    }
                    self.begin_chunk();
                    i += 1;
                }
                _ => {
                    i += self.extension(&w[i..]);
                    if !self.state.is_extension() && self.state != State::ChunkSizeLf {
                        return i;
                    }
                }
            }
        }
        i
    }

    /// Follows chunk extensions up to and with the CR (RFC 9112 7.1.1):
    /// `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )`.
    ///
    /// Whitespace may stand around `;` and `=` only, so not before the CR.
    fn extension(&mut self, w: &[u8]) -> usize {
        let room = self.limits.chunk_ext_bytes - self.extension_bytes;
        let mut i = 0;
        while let Some(&b) = w.get(i) {
            let blank = matches!(b, b' ' | b'\t');
            let next = match (self.state, b) {
                (State::ExtName | State::ExtValue | State::ExtQuotedEnd, b'\r') => {
                    self.extension_bytes += i;
                    self.state = State::ChunkSizeLf;
                    return i + 1;
                }
                (_, b'\n') => return self.stop(i, Fault::BareLf),
                _ if i >= room => return self.stop(i, Fault::ChunkExtensionsTooLong),
                (State::ExtQuoted, b'"') => State::ExtQuotedEnd,
                (State::ExtQuoted, b'\\') => State::ExtQuotedPair,
                (State::ExtQuoted, _) if is(b, QUOTED) => {
                    let text = &w[i..w.len().min(room)];
                    i += run(text, QUOTED);
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
                _ => return self.stop(i, Fault::ChunkExtension),
            };
            self.state = next;
            i += 1;
        }
        self.extension_bytes += i;
        i
    }
}
