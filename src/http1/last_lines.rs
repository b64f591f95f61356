//! The field lines of the last head on a connection. Most messages on a connection repeat most lines of the one before, and
//! comparing bytes takes less time than reading them.

use super::{Line, Name, Span};

/// The longest field lines that are kept, in bytes.
const LONGEST: usize = 2 << 10;

/// How many lines that are missing in a head are noticed at once.
const MISSING: usize = 4;

/// The lines of the head before, from its first one on. They are kept of the second head for the first time, since many
/// connections carry one message only.
#[derive(Clone, Debug, Default)]
pub(super) struct LastLines {
    is_first_over: bool,
    kept: Option<Box<Kept>>,
}

/// Lines that were read, with their bytes. Each is whole and has nothing unusual: see `plain_line`.
#[derive(Clone, Debug, Default)]
struct Kept {
    bytes: Vec<u8>,
    /// One behind the other without a gap, by their offsets in the head that they are from: in the next one they often have
    /// the same.
    lines: Vec<Line>,
    /// The offset of the first one.
    start: usize,
}

/// Which of the last lines is expected next. It may be behind the last of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected(usize);

impl LastLines {
    /// The first line, unless a part of the head has been read already: what is kept begins at the first line.
    #[inline(always)]
    pub(super) fn expected(&self, lines: &[Line]) -> Expected {
        Expected(if lines.is_empty() { 0 } else { usize::MAX })
    }

    /// Puts those of the expected lines into `lines`, `most` at most, that `left` begins with. That is the last part of an
    /// input of `total` bytes. How many bytes these lines have.
    #[inline(always)]
    pub(super) fn repeated(
        &self,
        expected: &mut Expected,
        (total, left): (usize, &[u8]),
        lines: &mut Vec<Line>,
        most: usize,
    ) -> usize {
        let Some(kept) = &self.kept else { return 0 };
        let behind = kept.lines.get(expected.0..).unwrap_or_default();
        let Some(first) = behind.first() else { return 0 };
        let start = first.name.start as usize;
        let bytes = kept.bytes.get(start - kept.start..).unwrap_or_default();
        let same = if left.starts_with(bytes) {
            bytes.len()
        } else {
            common_prefix(left, bytes)
        };
        let same = start + same;
        let count = behind.iter().take(most).take_while(|line| end(line) <= same).count();
        let repeated = behind.get(..count).unwrap_or_default();
        let Some(last) = repeated.last() else { return 0 };
        let shift = ((total - left.len()) as u32).wrapping_sub(start as u32);
        if shift == 0 {
            lines.extend_from_slice(repeated);
        } else {
            lines.extend(repeated.iter().map(|line| moved(line, shift)));
        }
        expected.0 += count;
        end(last) - start
    }

    /// Takes note that a line of this name was read where another one was expected.
    #[inline(always)]
    pub(super) fn read(&self, expected: &mut Expected, name: Name) {
        let Some(kept) = &self.kept else { return };
        let behind = kept.lines.get(expected.0..).unwrap_or_default();
        let place = behind.iter().take(MISSING).position(|line| line.known == name);
        expected.0 += place.map_or(0, |place| place + 1);
    }

    /// Keeps the lines at the beginning of a head. `bytes` are theirs, from offset `start` of the input on.
    #[inline(never)]
    pub(super) fn keep(&mut self, start: usize, bytes: &[u8], lines: &[Line]) {
        if !std::mem::replace(&mut self.is_first_over, true) {
            return;
        }
        if bytes.len() > LONGEST {
            return self.forget();
        }
        let Kept {
            bytes: kept,
            lines: places,
            start: first,
        } = &mut **self.kept.get_or_insert_default();
        kept.clear();
        kept.extend_from_slice(bytes);
        places.clear();
        places.extend_from_slice(lines);
        *first = start;
    }

    /// Gives their memory back.
    pub(super) fn forget(&mut self) {
        self.kept = None;
    }
}

/// The offset behind a line, which ends with CRLF.
#[inline(always)]
fn end(line: &Line) -> usize {
    line.value.end as usize + 2
}

#[inline(always)]
fn moved(line: &Line, shift: u32) -> Line {
    let moved = |span: Span| Span {
        start: span.start.wrapping_add(shift),
        end: span.end.wrapping_add(shift),
    };
    Line {
        name: moved(line.name),
        value: moved(line.value),
        known: line.known,
    }
}

/// How many bytes both begin with.
#[inline(always)]
fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let pairs = a.as_chunks::<32>().0.iter().zip(b.as_chunks::<32>().0);
    let mut same = 32 * pairs.take_while(|(one, other)| one == other).count();
    let (mut a, mut b) = (a.get(same..).unwrap_or_default(), b.get(same..).unwrap_or_default());
    while let (Some((one, more)), Some((other, others))) = (a.split_first_chunk(), b.split_first_chunk()) {
        let differ = u64::from_le_bytes(*one) ^ u64::from_le_bytes(*other);
        if differ != 0 {
            return same + differ.trailing_zeros() as usize / 8;
        }
        same += 8;
        (a, b) = (more, others);
    }
    same + a.iter().zip(b).take_while(|(one, other)| one == other).count()
}
