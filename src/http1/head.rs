//! Heads that were read: where their parts lie in the bytes.

use super::class::run_name;
use super::scan::{colon, text_end};
use super::{Framing, Line, Name, Span};

/// Offsets have 32 bits.
pub(super) const LONGEST_HEAD: usize = 1 << 30;

/// The head of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestHead {
    /// The method.
    pub method: Span,
    /// The target as it came.
    pub target: Span,
    /// 10 or 11.
    pub version: u8,
    /// The field lines in order.
    pub lines: Vec<Line>,
    /// How the body is framed.
    pub framing: Framing,
    /// How many bytes the head has, with the empty lines before it and the one that ends it.
    pub length: usize,
    /// The target with raw `"`, `<` and `>` of its query percent-encoded; absent where nothing had to be encoded.
    pub encoded: Option<Box<[u8]>>,
}

/// The head of a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseHead {
    /// 10 or 11.
    pub version: u8,
    /// From 100 to 999.
    pub status: u16,
    /// What stands behind the status.
    pub reason: Span,
    /// The field lines in order.
    pub lines: Vec<Line>,
    /// How the body is framed.
    pub framing: Framing,
    /// Whether Content-Length stands beside Transfer-Encoding. The latter counts; the length must not be passed on, and the
    /// connection not be used again (RFC 9112, section 6.3).
    pub has_both_framings: bool,
    /// How many bytes the head has, with the empty lines before it and the one that ends it.
    pub length: usize,
}

#[inline(always)]
pub(super) fn span(start: usize, end: usize) -> Span {
    Span {
        start: start as u32,
        end: end as u32,
    }
}

/// The line of this name whose value is from behind the colon at `start` to `end`.
#[inline(always)]
pub(super) fn line(w: &[u8], name: (usize, usize), start: usize, end: usize, known: Name) -> Line {
    let text = w.get(start..end).unwrap_or_default();
    // The usual way to write a value is a space before it and none behind it.
    let text = text.strip_prefix(b" ").unwrap_or(text);
    let value = match text {
        [first, .., last] if *first > b' ' && *last > b' ' => span(end - text.len(), end),
        _ => span(start, end).trimmed(w),
    };
    Line {
        name: span(name.0, name.1),
        value,
        known,
    }
}

/// A line that is whole and has nothing unusual: a name, a colon, perhaps a space, a value without tabs or further blanks
/// around it, and CRLF. All but few are.
pub(super) struct PlainLine<'a> {
    pub line: Line,
    /// What follows it.
    pub rest: &'a [u8],
}

/// The line at the beginning of `left`, which is the last part of an input of `total` bytes.
#[inline(always)]
pub(super) fn plain_line(total: usize, left: &[u8]) -> Option<PlainLine<'_>> {
    let (name, text) = left.split_at_checked(colon(left))?;
    let [b':', text @ ..] = text else { return None };
    let known = Name::of(name);
    // A name that is known is a token.
    if known == Name::Other && (name.is_empty() || run_name(name) != name.len()) {
        return None;
    }
    let (value, end) = text.split_at_checked(text_end(text))?;
    let [b'\r', b'\n', rest @ ..] = end else { return None };
    let value = match value {
        [b' ', value @ ..] => value,
        value => value,
    };
    match value {
        [first, .., last] if *first > b' ' && *last > b' ' => {}
        [only] if *only > b' ' => {}
        _ => return None,
    }
    let (start, end) = (total - left.len(), total - end.len());
    let line = Line {
        name: span(start, start + name.len()),
        value: span(end - value.len(), end),
        known,
    };
    Some(PlainLine { line, rest })
}
