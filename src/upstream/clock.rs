//! A coarse clock per shard, so that a request needs no timer and no system call to know what is late.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// How long a tick is: how exact time-outs are.
pub const TICK: Duration = Duration::from_millis(TICK_MILLIS);
const TICK_MILLIS: u64 = 250;

/// A point in time, in ticks since the shard began. Wraps after 34 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tick(u32);

/// Counts ticks; the shard's sweeper advances it. A clone shows the same time.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    now: Rc<Cell<u32>>,
}

impl Clock {
    /// The present tick.
    pub fn now(&self) -> Tick {
        Tick(self.now.get())
    }

    /// One tick later.
    pub fn advance(&self) {
        self.now.set(self.now.get().wrapping_add(1));
    }

    /// How long ago `then` was, to a tick.
    pub fn since(&self, then: Tick) -> Duration {
        TICK * self.now.get().wrapping_sub(then.0)
    }

    /// Whether `limit` has passed since `then`. Late by up to a tick, never early.
    pub fn passed(&self, then: Tick, limit: Duration) -> bool {
        // Requests ask this of connections that were used in this very tick, and a division takes long.
        let Some(whole) = self.now.get().wrapping_sub(then.0).checked_sub(1) else {
            return false;
        };
        let millis = limit
            .as_secs()
            .saturating_mul(1000)
            .saturating_add(limit.subsec_millis().into());
        u64::from(whole) * TICK_MILLIS >= millis
    }
}
