//! Which bytes may stand where, as one table and two ways to skip over a run.

/// Token characters (RFC 9110 5.6.2).
pub(super) const TOKEN: u8 = 1;
/// The path of a target, up to a `?`.
pub(super) const PATH: u8 = 1 << 1;
/// The query of a target.
pub(super) const QUERY: u8 = 1 << 2;
/// A registered name or IPv4 address: unreserved and sub-delims (RFC 3986
/// 3.2.2), without percent-encoding, which the `http` crate refuses there.
pub(super) const NAME: u8 = 1 << 3;
/// An IPv6 address between its brackets.
pub(super) const IPV6: u8 = 1 << 4;
/// `qdtext` of a quoted string (RFC 9110 5.6.4).
pub(super) const QUOTED: u8 = 1 << 5;
/// Field content, and what a quoted pair may quote: no control but HTAB.
pub(super) const TEXT: u8 = 1 << 6;

static CLASS: [u8; 256] = table();

const fn table() -> [u8; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        let mut class = 0;
        let alnum = b.is_ascii_alphanumeric();
        if alnum
            || matches!(
                b,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            )
        {
            class |= TOKEN;
        }
        // What is visible ASCII without `#` and `\`, less what http::Uri
        // refuses: hyper would otherwise answer those itself.
        if b.is_ascii_graphic() && !matches!(b, b'#' | b'\\' | b'<' | b'>') {
            if !matches!(b, b'?' | b'`') {
                class |= PATH;
            }
            if b != b'"' {
                class |= QUERY;
            }
        }
        if alnum
            || matches!(
                b,
                b'-' | b'.'
                    | b'_'
                    | b'~'
                    | b'!'
                    | b'$'
                    | b'&'
                    | b'\''
                    | b'('
                    | b')'
                    | b'*'
                    | b'+'
                    | b','
                    | b';'
                    | b'='
            )
        {
            class |= NAME;
        }
        if b.is_ascii_hexdigit() || matches!(b, b':' | b'.') {
            class |= IPV6;
        }
        if b == b'\t' || (b >= b' ' && b != 0x7f) {
            class |= TEXT;
            if !matches!(b, b'"' | b'\\') {
                class |= QUOTED;
            }
        }
        table[i] = class;
        i += 1;
    }
    table
}

/// Whether `b` is of `class`.
#[inline]
pub(super) fn is(b: u8, class: u8) -> bool {
    CLASS[usize::from(b)] & class != 0
}

/// How many of the first bytes are of `class`.
#[inline]
pub(super) fn run(bytes: &[u8], class: u8) -> usize {
    bytes
        .iter()
        .position(|&b| !is(b, class))
        .unwrap_or(bytes.len())
}

/// How many of the first bytes are field content; it may also stop before an
/// HTAB, which is field content all the same.
///
/// Values make up most of a head, so eight bytes are looked at together. A
/// borrow out of a byte below the bound can only spoil the bytes after it, so
/// the first byte that is marked is always one that has to be.
#[inline]
pub(super) fn run_text(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const TOPS: u64 = u64::from_ne_bytes([0x80; 8]);
    let (words, tail) = bytes.as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        let x = u64::from_le_bytes(*word);
        let del = x ^ (ONES * 0x7f);
        let below = x.wrapping_sub(ONES * 0x20) & !x;
        let marks = (below | (del.wrapping_sub(ONES) & !del)) & TOPS;
        if marks != 0 {
            return i * 8 + marks.trailing_zeros() as usize / 8;
        }
    }
    words.len() * 8 + run(tail, TEXT)
}
