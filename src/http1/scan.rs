//! How far runs of bytes go.
//!
//! Field lines are most of a head, and looking for the ends of names and values is most of what reading them costs.

use super::class::{TEXT, run};

const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
const LOWS: u64 = u64::from_ne_bytes([0x7f; 8]);
const TOPS: u64 = u64::from_ne_bytes([0x80; 8]);

/// The first control character, HTAB and DEL among them, or the end.
#[inline(always)]
pub fn text_end(bytes: &[u8]) -> usize {
    let mut left = skip_text(bytes);
    while let Some((word, rest)) = left.split_first_chunk() {
        let found = controls(u64::from_le_bytes(*word));
        if found != 0 {
            return bytes.len() - left.len() + first(found);
        }
        left = rest;
    }
    bytes.len() - left.len() + run(left, TEXT)
}

/// The first colon, or the end.
#[inline(always)]
pub fn colon(bytes: &[u8]) -> usize {
    let mut left = bytes;
    while let Some((word, rest)) = left.split_first_chunk() {
        let word = u64::from_le_bytes(*word) ^ (ONES * b':' as u64);
        let found = word.wrapping_sub(ONES) & !word & TOPS;
        if found != 0 {
            return bytes.len() - left.len() + first(found);
        }
        left = rest;
    }
    let colon = left.iter().position(|b| *b == b':');
    colon.map_or(bytes.len(), |at| bytes.len() - left.len() + at)
}

/// Skips blocks without a control character.
///
/// It is a function of its own since it compiles to vector instructions only where nothing else is done with the block.
#[inline(never)]
fn skip_text(mut left: &[u8]) -> &[u8] {
    while let Some((block, rest)) = left.split_first_chunk::<16>() {
        let stops = block.map(|b| (b < b' ') | (b == 0x7f));
        if stops.iter().fold(false, |any, stop| any | stop) {
            break;
        }
        left = rest;
    }
    left
}

/// The top bits of bytes that are control characters, and perhaps of some behind the first of them.
#[inline(always)]
fn controls(word: u64) -> u64 {
    // A borrow out of a byte below the bound can only spoil the bytes after it.
    let below = word.wrapping_sub(ONES * 0x20);
    let del = (word ^ LOWS).wrapping_sub(ONES);
    // A byte with its top bit set is neither, though both terms may say so.
    (below | del) & !word & TOPS
}

/// The first byte whose top bit is set.
#[inline(always)]
fn first(found: u64) -> usize {
    found.trailing_zeros() as usize / 8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::class::is;

    #[test]
    fn each_byte_is_seen_wherever_it_is() {
        for length in 0..50 {
            for b in 0..=255 {
                for place in 0..length {
                    let mut bytes = vec![b'x'; length];
                    bytes[place] = b;
                    let found = if is(b, TEXT) { length } else { place };
                    // At the end, a run of text may go over a tab.
                    let is_tab = b == b'\t' && text_end(&bytes) == place;
                    assert!(text_end(&bytes) == found || is_tab, "{b} at {place} of {length}");
                    let found = if b == b':' { place } else { length };
                    assert_eq!(colon(&bytes), found, "{b} at {place} of {length}");
                }
            }
        }
    }

    #[test]
    fn the_first_counts() {
        let bytes = b"abcdefghijkl:mno\0:\r\n\x7f:ab\xff\x80\x7f\x1f";
        for at in 0..bytes.len() {
            let left = &bytes[at..];
            let found = left.iter().position(|b| *b < b' ' || *b == 0x7f);
            assert_eq!(text_end(left), found.unwrap_or(left.len()), "{at}");
            let found = left.iter().position(|b| *b == b':');
            assert_eq!(colon(left), found.unwrap_or(left.len()), "{at}");
        }
    }
}
