//! What is written next on a connection.

use bytes::{Buf, Bytes};
use std::io::IoSlice;

/// The memory of a head is used again if it has at most this many bytes.
pub const LONGEST_KEPT: usize = 4 << 10;

/// Pieces of a body up to this length are copied behind the head: that costs less than a write of two slices.
const SHORT: usize = 1 << 10;

/// A head or a chunk's line, a piece of a body behind it, and what ends the piece. They leave in one write.
#[derive(Debug, Default)]
pub struct Outgoing {
    head: Vec<u8>,
    /// How much of `head` are pieces of a body.
    copied: usize,
    /// How much of `head` was written.
    written: usize,
    data: Bytes,
    tail: &'static [u8],
}

impl Outgoing {
    /// Whether all of it was written.
    pub fn is_empty(&self) -> bool {
        self.written == self.head.len() && self.data.is_empty() && self.tail.is_empty()
    }

    /// Whether a piece of a body can be put in.
    pub fn has_room(&self) -> bool {
        self.data.is_empty() && self.tail.is_empty() && self.copied < SHORT
    }

    /// What goes out before the next piece; to be written to only where [`Self::has_room`].
    pub fn head(&mut self) -> &mut Vec<u8> {
        &mut self.head
    }

    /// The memory of what was written before the last piece; empty if some of that is still to be written.
    pub fn take_head(&mut self) -> Vec<u8> {
        if self.head.is_empty() {
            std::mem::take(&mut self.head)
        } else {
            Vec::new()
        }
    }

    /// A piece of a body, and what ends it.
    pub fn put(&mut self, data: Bytes, tail: &'static [u8]) {
        if data.len() <= SHORT && !self.head.is_empty() {
            self.head.extend_from_slice(&data);
            self.head.extend_from_slice(tail);
            self.copied += data.len() + tail.len();
            return;
        }
        self.data = data;
        self.tail = tail;
    }

    /// What is to be written; how many slices there are.
    pub fn slices<'s>(&'s self, slices: &mut [IoSlice<'s>; 3]) -> usize {
        let parts = [self.head.get(self.written..).unwrap_or_default(), &self.data, self.tail];
        let mut count = 0;
        for (place, part) in slices.iter_mut().zip(parts.into_iter().filter(|part| !part.is_empty())) {
            *place = IoSlice::new(part);
            count += 1;
        }
        count
    }

    /// Takes away bytes that were written.
    pub fn advance(&mut self, mut bytes: usize) {
        let head = bytes.min(self.head.len() - self.written);
        self.written += head;
        bytes -= head;
        if self.written == self.head.len() {
            (self.written, self.copied) = (0, 0);
            self.head.clear();
            // The memory of a large head is not kept until the message ends.
            if self.head.capacity() > LONGEST_KEPT {
                self.head = Vec::new();
            }
        }
        let data = bytes.min(self.data.len());
        self.data.advance(data);
        if self.data.is_empty() {
            // The memory may be a large buffer of the other side's connection.
            self.data = Bytes::new();
        }
        bytes -= data;
        self.tail = self.tail.get(bytes..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_little_is_written_at_once_all_of_it_leaves_in_order() {
        for step in 1..12 {
            let mut outgoing = Outgoing::default();
            outgoing.head().extend_from_slice(b"3\r\n");
            outgoing.put(Bytes::from_static(b"abc"), b"\r\n0\r\n\r\n");
            let mut seen = Vec::new();
            while !outgoing.is_empty() {
                let mut slices = [IoSlice::new(b""); 3];
                let count = outgoing.slices(&mut slices);
                let all = slices[..count].iter().flat_map(|slice| slice.to_vec());
                let now: Vec<u8> = all.take(step).collect();
                seen.extend_from_slice(&now);
                outgoing.advance(now.len());
            }
            assert_eq!(seen, b"3\r\nabc\r\n0\r\n\r\n", "{step}");
        }
    }
}
