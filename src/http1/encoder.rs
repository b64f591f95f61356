//! How a body is framed on its way out (RFC 9112, section 6).

use super::Outgoing;
use bytes::Bytes;
use std::io::Write;

/// The framing of a body that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoder {
    /// Bytes that are still to come.
    Length(u64),
    /// In chunks.
    Chunked,
    /// Until the connection closes.
    UntilClose,
}

/// A body that is longer or shorter than its head said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body is not as long as its head says")]
pub struct WrongLength;

impl Encoder {
    /// Puts out a piece of the body; `last` says that it is the last one, and that no trailers follow.
    ///
    /// # Errors
    /// [`WrongLength`] for more than the head said, and for less where it is the last piece.
    pub fn piece(&mut self, out: &mut Outgoing, data: Bytes, last: bool) -> Result<(), WrongLength> {
        match self {
            Self::UntilClose => out.put(data, b""),
            Self::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(WrongLength)?;
                if last && *left > 0 {
                    return Err(WrongLength);
                }
                out.put(data, b"");
            }
            Self::Chunked if data.is_empty() => {
                // An empty chunk would be the last one.
                out.put(data, if last { b"0\r\n\r\n" } else { b"" });
            }
            Self::Chunked => {
                // Writing to a Vec does not fail.
                let _ = write!(out.head(), "{:x}\r\n", data.len());
                out.put(data, if last { b"\r\n0\r\n\r\n" } else { b"\r\n" });
            }
        }
        Ok(())
    }

    /// Puts out the end of the body, with its trailers: lines with their ends.
    ///
    /// # Errors
    /// [`WrongLength`] where the head said more.
    pub fn end(&mut self, out: &mut Outgoing, trailers: &[u8]) -> Result<(), WrongLength> {
        match self {
            Self::UntilClose | Self::Length(0) => {}
            Self::Length(_) => return Err(WrongLength),
            Self::Chunked if trailers.is_empty() => out.put(Bytes::new(), b"0\r\n\r\n"),
            Self::Chunked => {
                out.head().extend_from_slice(b"0\r\n");
                out.head().extend_from_slice(trailers);
                out.put(Bytes::new(), b"\r\n");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::IoSlice;

    fn text(out: &Outgoing) -> Vec<u8> {
        let mut slices = [IoSlice::new(b""); 3];
        let count = out.slices(&mut slices);
        slices[..count].iter().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn chunks_say_their_size_and_their_end() {
        let mut out = Outgoing::default();
        Encoder::Chunked
            .piece(&mut out, Bytes::from(vec![b'a'; 26]), false)
            .unwrap();
        assert_eq!(text(&out), [b"1a\r\n", &[b'a'; 26][..], b"\r\n"].concat());
        let mut out = Outgoing::default();
        Encoder::Chunked
            .piece(&mut out, Bytes::from_static(b"a"), true)
            .unwrap();
        assert_eq!(text(&out), b"1\r\na\r\n0\r\n\r\n");
        let mut out = Outgoing::default();
        Encoder::Chunked.piece(&mut out, Bytes::new(), false).unwrap();
        assert!(out.is_empty());
        Encoder::Chunked.end(&mut out, b"x-sum: 1\r\n").unwrap();
        assert_eq!(text(&out), b"0\r\nx-sum: 1\r\n\r\n");
    }

    #[test]
    fn a_body_is_as_long_as_was_said() {
        let mut out = Outgoing::default();
        let mut encoder = Encoder::Length(3);
        encoder.piece(&mut out, Bytes::from_static(b"ab"), false).unwrap();
        assert_eq!(encoder.end(&mut out, b""), Err(WrongLength));
        assert_eq!(
            encoder.piece(&mut out, Bytes::from_static(b"cd"), false),
            Err(WrongLength)
        );
        assert_eq!(
            Encoder::Length(3).piece(&mut out, Bytes::from_static(b"ab"), true),
            Err(WrongLength)
        );
        encoder.piece(&mut out, Bytes::from_static(b"c"), true).unwrap();
        encoder.end(&mut out, b"").unwrap();
    }
}
