//! The access log: a line for each request. Shards write lines into a buffer of their own and hand it over now and then;
//! a thread writes what it is handed. Where that thread cannot keep up, lines are lost and counted: no shard ever waits.

mod entry;
mod format;
mod options;
mod writer;

pub use entry::{Endpoint, Entry};
pub use options::{AccessOptions, Format, Shown};
pub use writer::AccessLog;

use crate::model::RouteKey;
use foldhash::HashMap;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

/// Bytes of lines that a shard hands over at once, when many requests come.
const CHUNK: usize = 32 << 10;
/// Routes whose lines are counted apart for `--access-log-sample`; beyond these, counting begins anew.
const MOST_ROUTES: usize = 10_000;

/// The access log on one shard.
pub struct ShardLog {
    log: Arc<AccessLog>,
    buffer: RefCell<Buffer>,
    sampled: RefCell<HashMap<Option<RouteKey>, u32>>,
    /// Whether lines may be handed over as soon as the shard has nothing else to do.
    prompt: Cell<bool>,
    ending: Cell<bool>,
}

#[derive(Default)]
struct Buffer {
    text: Vec<u8>,
    lines: u64,
    second: format::Second,
}

impl ShardLog {
    /// With an empty buffer.
    pub fn new(log: Arc<AccessLog>) -> Self {
        Self {
            log,
            buffer: RefCell::default(),
            sampled: RefCell::default(),
            prompt: Cell::new(true),
            ending: Cell::new(false),
        }
    }

    /// What is logged, and how.
    pub fn options(&self) -> &AccessOptions {
        self.log.options()
    }

    /// Whether a request is logged. All requests that a filter selects are. Of the others, one in a number per route is
    /// logged if sampling is on; without sampling, none is logged if there is a filter.
    pub fn wants(&self, status: u16, total: Duration, route: Option<RouteKey>) -> bool {
        let options = self.options();
        let filtered = !options.statuses.is_empty() || options.min_duration.is_some();
        let picked = options.statuses.iter().any(|range| range.contains(status))
            || options.min_duration.is_some_and(|least| total >= least);
        if picked {
            return true;
        }
        let Some(sample) = options.sample else {
            return !filtered;
        };
        let mut sampled = self.sampled.borrow_mut();
        if sampled.len() >= MOST_ROUTES && !sampled.contains_key(&route) {
            sampled.clear();
        }
        let count = sampled.entry(route).or_default();
        let first = *count == 0;
        *count = (*count + 1) % sample;
        first
    }

    /// Writes a line. `quiet` says that the shard has nothing else under way. How many lines were lost.
    #[must_use]
    pub fn write(&self, entry: &Entry<'_>, quiet: bool) -> u64 {
        let full = {
            let buffer = &mut *self.buffer.borrow_mut();
            format::write(self.options(), entry, &mut buffer.second, &mut buffer.text);
            buffer.lines += 1;
            buffer.text.len() >= CHUNK
        };
        // One line at a time would wake the writer for each, so a shard does that once a tick; but who looks on while
        // little happens sees each at once.
        if full || self.ending.get() || (quiet && self.prompt.replace(false)) {
            return self.hand_over();
        }
        0
    }

    /// Hands over what there is; called every tick. How many lines were lost, the writer's among them.
    #[must_use]
    pub fn tick(&self) -> u64 {
        self.prompt.set(true);
        self.hand_over() + self.log.take_lost()
    }

    /// The process is about to end: from now on each line is handed over at once.
    pub fn end(&self) {
        self.ending.set(true);
    }

    fn hand_over(&self) -> u64 {
        let (text, lines) = {
            let mut buffer = self.buffer.borrow_mut();
            (std::mem::take(&mut buffer.text), std::mem::take(&mut buffer.lines))
        };
        if lines == 0 || self.log.take(text, lines) {
            return 0;
        }
        lines
    }
}

#[cfg(test)]
mod tests;
