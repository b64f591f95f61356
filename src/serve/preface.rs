//! HTTP/2 in plain by prior knowledge: told from HTTP/1.1 by its first bytes (RFC 9113, section 3.3).

use crate::upstream::frames::PREFACE;
use bytes::Bytes;

/// What a connection's first bytes have shown so far.
#[derive(Debug)]
pub enum Preface {
    /// So many bytes are those of the preface; hyper has not seen them.
    Begun(usize),
    /// Not HTTP/2, and hyper has not seen these first bytes.
    Held(&'static [u8]),
    /// Not HTTP/2, or not asked.
    Other,
    /// HTTP/2: the preface and what was read after it.
    Http2(Bytes),
}

/// What the next bytes mean.
#[derive(Debug, PartialEq, Eq)]
pub enum Look {
    /// HTTP/1.1.
    Other,
    /// HTTP/1.1, and these were held back before.
    OtherAfter(&'static [u8]),
    /// So far both are possible.
    Unclear,
    /// HTTP/2.
    Http2,
}

impl Preface {
    /// Nothing seen yet but `held`, which was read before; `possible` says whether to look at all.
    pub fn seen(possible: bool, held: &'static [u8]) -> Self {
        if possible && PREFACE.starts_with(held) {
            Self::Begun(held.len())
        } else if held.is_empty() {
            Self::Other
        } else {
            Self::Held(held)
        }
    }

    /// How many bytes are held back.
    pub fn held(&self) -> usize {
        match self {
            Self::Begun(held) => *held,
            Self::Held(held) => held.len(),
            Self::Other | Self::Http2(_) => 0,
        }
    }

    /// Looks at the next bytes.
    pub fn look(&mut self, bytes: &[u8]) -> Look {
        let held = match *self {
            Self::Begun(held) => held,
            Self::Held(held) => {
                *self = Self::Other;
                return Look::OtherAfter(held);
            }
            Self::Other | Self::Http2(_) => return Look::Other,
        };
        let (known, wanted) = PREFACE.split_at(held);
        if bytes.len() < wanted.len() && wanted.starts_with(bytes) {
            *self = Self::Begun(held + bytes.len());
            return Look::Unclear;
        }
        if bytes.starts_with(wanted) {
            *self = Self::Http2([known, bytes].concat().into());
            return Look::Http2;
        }
        *self = Self::Other;
        if held == 0 {
            Look::Other
        } else {
            Look::OtherAfter(known)
        }
    }

    /// The bytes an HTTP/2 connection begins with, if it is one.
    pub fn take(&mut self) -> Option<Bytes> {
        match std::mem::replace(self, Self::Other) {
            Self::Http2(bytes) => Some(bytes),
            Self::Begun(_) | Self::Held(_) | Self::Other => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(pieces: &[&[u8]]) -> (Vec<Look>, Option<Bytes>) {
        let mut preface = Preface::seen(true, b"");
        let looks = pieces.iter().map(|piece| preface.look(piece)).collect();
        (looks, preface.take())
    }

    #[test]
    fn however_it_is_split_it_is_seen() {
        for at in 1..PREFACE.len() {
            let (first, rest) = PREFACE.split_at(at);
            let rest = [rest, b"settings"].concat();
            let (said, bytes) = looks(&[first, &rest]);
            assert_eq!(said, [Look::Unclear, Look::Http2]);
            assert_eq!(bytes.unwrap(), [&PREFACE[..], b"settings"].concat());
        }
    }

    #[test]
    fn methods_that_begin_alike_are_not_it() {
        assert_eq!(looks(&[b"GET / HTTP/1.1"]).0, [Look::Other]);
        assert_eq!(looks(&[b"P", b"OST /"]).0, [Look::Unclear, Look::OtherAfter(b"P")]);
        assert_eq!(
            looks(&[b"PR", b"I", b" * HTTP/1.1"]).0,
            [Look::Unclear, Look::Unclear, Look::OtherAfter(b"PRI")]
        );
        assert_eq!(Preface::seen(false, b"").look(PREFACE), Look::Other);
    }

    #[test]
    fn what_was_read_before_comes_first() {
        let mut preface = Preface::seen(true, b"PRO");
        assert_eq!(preface.held(), 3);
        assert_eq!(preface.look(b"PFIND / HTTP/1.1"), Look::OtherAfter(b"PRO"));
        assert_eq!(preface.look(b"\r\n"), Look::Other);
        assert_eq!(Preface::seen(true, b"PR").look(&PREFACE[2..]), Look::Http2);
    }
}
