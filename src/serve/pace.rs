//! How fast bytes pass on a client's connection, where that decides who makes room for others.

use crate::upstream::{Clock, Tick};
use std::cell::Cell;
use std::time::Duration;

/// Bytes a second. A client that keeps others waiting makes room for them where there is none if it is slower (Apache's
/// `mod_reqtimeout`: 500).
pub const LEAST: u64 = 500;
/// What the rate is an average over. Shorter, and a single lost packet would count.
const WINDOW: Duration = Duration::from_secs(1);

/// A client that is too slow. Who compares less goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slow {
    /// Whether other requests may be under way on its connection, which would be lost too (HTTP/2).
    pub shared: bool,
    /// Bytes a second.
    pub rate: u64,
}

/// Counts the bytes of one connection.
#[derive(Debug)]
pub struct Pace {
    bytes: Cell<u64>,
    /// Since when, and how many there had been.
    began: Cell<(Tick, u64)>,
    rate: Cell<Option<u64>>,
}

impl Pace {
    /// Nothing has passed yet.
    pub fn new(clock: &Clock) -> Self {
        Self {
            bytes: Cell::new(0),
            began: Cell::new((clock.now(), 0)),
            rate: Cell::new(None),
        }
    }

    /// So many bytes have passed.
    pub fn passed(&self, bytes: usize) {
        self.bytes.set(self.bytes.get().wrapping_add(bytes as u64));
    }

    /// What was before tells nothing any more: a request begins.
    pub fn begin(&self, clock: &Clock) {
        self.began.set((clock.now(), self.bytes.get()));
        self.rate.set(None);
    }

    /// Looks how many bytes have passed; called every tick.
    pub fn look(&self, clock: &Clock) {
        let (began, before) = self.began.get();
        if clock.passed(began, WINDOW) {
            let time = clock.since(began).as_millis().max(1);
            let bytes = u128::from(self.bytes.get().wrapping_sub(before));
            self.rate.set(u64::try_from(bytes * 1000 / time).ok());
            self.began.set((clock.now(), self.bytes.get()));
        }
    }

    /// Bytes a second, if that is known by now and too slow.
    pub fn slow(&self) -> Option<u64> {
        self.rate.get().filter(|rate| *rate < LEAST)
    }
}
