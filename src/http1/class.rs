//! Which bytes may stand where, as one table and two ways to skip over a run.

/// Token characters (RFC 9110 5.6.2).
pub const TOKEN: u8 = 1;
/// The path of a target, up to a `?`.
pub const PATH: u8 = 1 << 1;
/// The query of a target.
pub const QUERY: u8 = 1 << 2;
/// A registered name or IPv4 address: unreserved and sub-delims (RFC 3986
/// 3.2.2), without percent-encoding, which the `http` crate refuses there.
pub const NAME: u8 = 1 << 3;
/// An IPv6 address between its brackets.
pub const IPV6: u8 = 1 << 4;
/// `qdtext` of a quoted string (RFC 9110 5.6.4).
pub const QUOTED: u8 = 1 << 5;
/// Field content, and what a quoted pair may quote: no control but HTAB.
pub const TEXT: u8 = 1 << 6;

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
                b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            )
        {
            class |= TOKEN;
        }
        // What is visible ASCII without `#`, less what http::Uri refuses:
        // hyper would otherwise answer those itself. A path has no `\` either,
        // which some take for a `/`.
        if b.is_ascii_graphic() && !matches!(b, b'#' | b'<' | b'>') {
            if !matches!(b, b'?' | b'`' | b'\\') {
                class |= PATH;
            }
            if b != b'"' {
                class |= QUERY;
            }
        }
        if alnum
            || matches!(
                b,
                b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
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
pub fn is(b: u8, class: u8) -> bool {
    CLASS[usize::from(b)] & class != 0
}

/// How many of the first bytes are of `class`.
#[inline]
pub fn run(bytes: &[u8], class: u8) -> usize {
    let mut i = 0;
    while let Some(&b) = bytes.get(i)
        && is(b, class)
    {
        i += 1;
    }
    i
}

/// The same as [`run`] for [`PATH`] or [`QUERY`], quicker for long targets:
/// 16 bytes are skipped together when all are letters, digits or other bytes
/// that are common in both, in a way that compiles to vector instructions.
#[inline]
pub fn run_target(bytes: &[u8], class: u8) -> usize {
    let mut left = bytes;
    while let Some((block, rest)) = left.split_first_chunk::<16>() {
        let common = block.map(|b| {
            // From `$` to `;` there are digits and nearly all delimiters.
            let middle = b.wrapping_sub(b'$') <= b';' - b'$';
            let letter = (b | 0x20).wrapping_sub(b'a') < 26;
            middle | letter | (b == b'=') | (b == b'_')
        });
        if !common.iter().fold(true, |all, one| all & one) {
            break;
        }
        left = rest;
    }
    bytes.len() - left.len() + run(left, class)
}

const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
const LOWS: u64 = u64::from_ne_bytes([0x7f; 8]);
const TOPS: u64 = u64::from_ne_bytes([0x80; 8]);

/// The same as [`run`] for [`TOKEN`], quicker for field names.
///
/// Those are letters and hyphens mostly, of which eight are seen at once; from
/// the first other byte on the table decides.
#[inline]
pub fn run_name(bytes: &[u8]) -> usize {
    let mut left = bytes;
    while let Some((word, rest)) = left.split_first_chunk() {
        let x = u64::from_le_bytes(*word);
        // Without their top bits, no sum below carries into the next byte.
        let low = x & LOWS;
        let folded = low | (ONES * 0x20);
        let letter = (folded + ONES * (0x80 - 0x61)) & !(folded + ONES * (0x80 - 0x7b));
        let not_hyphen = (low ^ (ONES * 0x2d)) + LOWS;
        let others = (!letter & not_hyphen | x) & TOPS;
        if others != 0 {
            let n = others.trailing_zeros() as usize / 8;
            if word[n] == b':' {
                return bytes.len() - left.len() + n;
            }
            left = &left[n..];
            break;
        }
        left = rest;
    }
    bytes.len() - left.len() + run(left, TOKEN)
}
