//! Files that were written to while they were read.

use super::{Signal, Watching, absolute};
use crate::source::directory::scan::{FileKey, Stamp};
use crate::source::directory::state::Update;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

/// How long to wait, after files were read, for word that somebody was writing to them.
const CONFIRM: Duration = Duration::from_millis(2);

impl Watching {
    /// Hears events until none has come for a while, and for no longer than `most`; false means to stop.
    pub(super) fn gather(&mut self, signals: &Receiver<Signal>, quiet: Duration, most: Duration) -> bool {
        let until = Instant::now() + most;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match signals.recv_timeout(quiet.min(left)) {
                Ok(Signal::File(event)) => self.hear(event),
                Ok(Signal::Stop) => return false,
                Err(_) => return true,
            }
            if left.is_zero() {
                return true;
            }
        }
    }

    /// Leaves out files that somebody was writing to when they were read: what was read may be half of what is meant.
    /// inotify tells of a write a moment after it happened, so this waits for that moment. Absent means to stop.
    pub(super) fn confirmed(
        &mut self,
        mut updates: Vec<(FileKey, Update)>,
        signals: &Receiver<Signal>,
    ) -> Option<Vec<(FileKey, Update)>> {
        let was_read = |update: &Update| matches!(update, Update::Read(_) | Update::Unreadable(_));
        if !updates.iter().any(|(_, update)| was_read(update)) {
            return Some(updates);
        }
        if !self.gather(signals, CONFIRM, CONFIRM) {
            return None;
        }
        updates.retain(|(key, update)| {
            let Some(known) = self.known.get_mut(key).filter(|_| was_read(update)) else {
                return true;
            };
            let changed = std::fs::metadata(&key.path).is_ok_and(|metadata| Stamp::of(&metadata) != known.stamp);
            let whole = !changed && !self.writing.contains(&absolute(&key.path));
            if !whole {
                known.unsettled = Some(Instant::now());
            }
            whole
        });
        Some(updates)
    }
}
