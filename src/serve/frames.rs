//! Counts the frames of an HTTP/2 client that cost it little and us more, and says when they are too many. The h2 crate
//! bounds what they may take of memory, but not how often they come (reliability rows 28 to 30).

use super::h2::PREFACE;
use crate::upstream::{Clock, Tick};
use std::time::Duration;

/// Frames are counted over this time.
const WINDOW: Duration = Duration::from_secs(10);
/// Resets of streams (RST_STREAM) in a window. A browser that leaves a page resets what it still waits for.
const RESETS: u32 = 500;
/// PING and SETTINGS, each of which wants an answer.
const QUESTIONS: u32 = 200;
/// PRIORITY and frames of unknown types, which are read for nothing.
const IDLE: u32 = 2000;
/// WINDOW_UPDATE without anything having been sent; one more for each [`BYTES_PER_UPDATE`] that were.
const UPDATES: u32 = 2000;
const BYTES_PER_UPDATE: u64 = 256;
/// The length of a frame's head (RFC 9113, section 4.1).
const HEAD: usize = 9;

/// What there was too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flood {
    /// RST_STREAM.
    Resets,
    /// PING or SETTINGS.
    Questions,
    /// PRIORITY, or what nobody knows.
    Idle,
    /// WINDOW_UPDATE.
    Updates,
}

impl Flood {
    /// For the log.
    pub fn name(self) -> &'static str {
        match self {
            Flood::Resets => "resets of streams",
            Flood::Questions => "PING or SETTINGS",
            Flood::Idle => "frames that do nothing",
            Flood::Updates => "WINDOW_UPDATE",
        }
    }
}

/// Follows the frames of one client.
#[derive(Debug)]
pub struct Frames {
    /// Bytes that belong to no frame's head: the preface at first, then payloads.
    skip: usize,
    head: [u8; HEAD],
    have: usize,
    began: Tick,
    resets: u32,
    questions: u32,
    idle: u32,
    updates: u32,
    sent: u64,
}

impl Frames {
    /// A connection that begins now, with its preface.
    pub fn new(clock: &Clock) -> Self {
        Self {
            skip: PREFACE.len(),
            head: [0; HEAD],
            have: 0,
            began: clock.now(),
            resets: 0,
            questions: 0,
            idle: 0,
            updates: 0,
            sent: 0,
        }
    }

    /// So much was sent to the client.
    pub fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    /// The next bytes from the client.
    ///
    /// # Errors
    /// When there are too many frames of a kind.
    pub fn read(&mut self, mut bytes: &[u8], clock: &Clock) -> Result<(), Flood> {
        if clock.passed(self.began, WINDOW) {
            *self = Self {
                skip: self.skip,
                head: self.head,
                have: self.have,
                ..Self::new(clock)
            };
        }
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            if bytes.is_empty() {
                return Ok(());
            }
            let taken = (HEAD - self.have).min(bytes.len());
            let (now, rest) = bytes.split_at(taken);
            if let Some(place) = self.head.get_mut(self.have..self.have + taken) {
                place.copy_from_slice(now);
            }
            (self.have, bytes) = (self.have + taken, rest);
            if self.have < HEAD {
                return Ok(());
            }
            let [high, middle, low, kind, flags, ..] = self.head;
            (self.have, self.skip) = (0, usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low));
            self.count(kind, flags)?;
        }
    }

    fn count(&mut self, kind: u8, flags: u8) -> Result<(), Flood> {
        let allowed = |count: &mut u32, most: u64, flood| {
            *count = count.saturating_add(1);
            if u64::from(*count) > most { Err(flood) } else { Ok(()) }
        };
        match (kind, flags & 1) {
            (0x3, _) => allowed(&mut self.resets, RESETS.into(), Flood::Resets),
            // With ACK they are answers.
            (0x4 | 0x6, 0) => allowed(&mut self.questions, QUESTIONS.into(), Flood::Questions),
            (0x8, _) => {
                let most = u64::from(UPDATES) + self.sent / BYTES_PER_UPDATE;
                allowed(&mut self.updates, most, Flood::Updates)
            }
            // DATA, HEADERS, GOAWAY and CONTINUATION, which the h2 crate bounds.
            (0x0 | 0x1 | 0x4 | 0x6 | 0x7 | 0x9, _) => Ok(()),
            _ => allowed(&mut self.idle, IDLE.into(), Flood::Idle),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let mut frame = vec![0, 0, u8::try_from(length).unwrap(), kind, flags, 0, 0, 0, 1];
        frame.resize(HEAD + length, 0x3);
        frame
    }

    #[test]
    fn frames_are_found_however_they_are_cut() {
        for piece in [1, 2, 7, 9, 10, 1000] {
            let clock = Clock::default();
            let mut frames = Frames::new(&clock);
            let mut bytes = PREFACE.to_vec();
            // Payloads that look like frames are none.
            bytes.extend((0..50).flat_map(|_| [frame(0x0, 0, 100), frame(0x3, 0, 4), frame(0x6, 1, 8)].concat()));
            for piece in bytes.chunks(piece) {
                frames.read(piece, &clock).unwrap();
            }
            assert_eq!((frames.resets, frames.questions, frames.idle), (50, 0, 0), "{piece}");
        }
    }

    #[test]
    fn too_many_are_too_many_until_time_has_passed() {
        let clock = Clock::default();
        let begun = || {
            let mut frames = Frames::new(&clock);
            frames.read(PREFACE, &clock).unwrap();
            frames
        };
        for (kind, most, flood) in [
            (0x3, RESETS, Flood::Resets),
            (0x6, QUESTIONS, Flood::Questions),
            (0x2, IDLE, Flood::Idle),
            (0x8, UPDATES, Flood::Updates),
        ] {
            let mut frames = begun();
            for _ in 0..most {
                frames.read(&frame(kind, 0, 4), &clock).unwrap();
            }
            assert_eq!(frames.read(&frame(kind, 0, 4), &clock), Err(flood));
        }
        let mut frames = begun();
        for _ in 0..3 {
            for _ in 0..RESETS {
                frames.read(&frame(0x3, 0, 4), &clock).unwrap();
            }
            for _ in 0..42 {
                clock.advance();
            }
        }
        frames.read(&frame(0x3, 0, 4), &clock).unwrap();
        // A long download wants many updates.
        frames.sent(1 << 20);
        for _ in 0..4096 {
            frames.read(&frame(0x8, 0, 4), &clock).unwrap();
        }
    }
}
