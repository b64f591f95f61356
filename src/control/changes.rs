//! The last changes of the table, for whoever asks why something is different now.

use crate::compile::Journal;
use crate::telemetry::traffic::{Histogram, Times};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::broadcast;

/// Changes that are remembered.
const MOST: usize = 500;
/// Changes that a listener may be behind.
const BEHIND: usize = 64;
/// Objects that are named with a change.
pub(super) const MOST_OBJECTS: usize = 20;

/// One swap of the table.
#[derive(Clone, Debug)]
pub struct ChangeRecord {
    /// When the table was live.
    pub at: jiff::Timestamp,
    /// Which table it is.
    pub generation: u64,
    /// The objects that came before it; the first of them.
    pub objects: Vec<String>,
    /// What is different.
    pub journal: Journal,
    /// From the arrival of the first object to the swap.
    pub took: Duration,
}

/// The last changes.
#[derive(Debug)]
pub struct Changes {
    last: Mutex<VecDeque<Arc<ChangeRecord>>>,
    /// How long each took, of all that there were.
    times: Histogram,
    listeners: broadcast::Sender<Arc<ChangeRecord>>,
}

impl Default for Changes {
    fn default() -> Self {
        Self {
            last: Mutex::default(),
            times: Histogram::default(),
            listeners: broadcast::channel(BEHIND).0,
        }
    }
}

impl Changes {
    /// One more.
    pub(super) fn push(&self, change: ChangeRecord) {
        self.times.record(change.took);
        let change = Arc::new(change);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() >= MOST {
            last.pop_front();
        }
        last.push_back(change.clone());
        drop(last);
        // Nobody may be listening.
        let _ = self.listeners.send(change);
    }

    /// All that are remembered, the oldest first.
    pub fn all(&self) -> Vec<Arc<ChangeRecord>> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.iter().cloned().collect()
    }

    /// How long changes took, since the process began.
    pub fn times(&self) -> Times {
        let mut times = Times::default();
        times.take(&self.times);
        times
    }

    /// Those that come.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<ChangeRecord>> {
        self.listeners.subscribe()
    }
}
