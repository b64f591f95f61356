//! Which connections of a shard close for the sake of others: because there is no room, because their listener is gone, or
//! because the process ends.

use super::{Shard, Swept};
use crate::proxy::Peer;
use crate::table::{ListenerId, Table};
use crate::upstream::TICK;
use std::sync::Arc;
use std::time::Duration;

/// How long a connection has to be idle before it is closed to make room for another or because the process ends, and
/// what part of the idle ones is closed at a time.
const LEAST_IDLE: Duration = Duration::from_secs(1);
const IDLE_PART: usize = 4;
/// The same for a connection that has said nothing yet. All of these are closed at once, or a flood of clients that
/// only connect would keep the others waiting.
const LEAST_SILENT: Duration = Duration::from_millis(500);

impl Shard {
    /// Where connections wait for a place, or memory is short, some of the idle ones go. For a place these are all that
    /// have said nothing yet; beyond them, those go first that have been idle longest.
    pub(super) fn make_room(&self) {
        let wanted = self.room.wanted();
        let is_wanted = self.wanted.replace(wanted) != wanted;
        if !is_wanted && !self.worker.is_short_of_memory() {
            return;
        }
        let mut idle = self.idle(|conn| if conn.is_silent() { LEAST_SILENT } else { LEAST_IDLE });
        let mut going = idle.len().div_ceil(IDLE_PART);
        if is_wanted {
            let silent = self.silent_first(&mut idle);
            going = going.max(silent);
        }
        self.worker.counters.let_go.add_many(going as u64);
        self.let_go(&idle, going);
        if is_wanted && going == 0 {
            self.cut_slow_ones_short();
        }
    }

    /// Where connections wait for a place and none is idle, those go whose clients are too slow, the slowest first.
    fn cut_slow_ones_short(&self) {
        let connections = self.connections.borrow();
        let slow = connections.iter().filter_map(|(key, conn)| Some((conn.slow()?, key)));
        let mut slow: Vec<_> = slow.collect();
        slow.sort_unstable();
        let going = slow.len().div_ceil(IDLE_PART);
        self.worker.counters.let_go.add_many(going as u64);
        for conn in slow.iter().take(going).filter_map(|(_, key)| connections.get(*key)) {
            conn.cut_short();
        }
    }

    /// Connections that nothing is asked of for at least so long, those first that have been so longest.
    fn idle(&self, least: impl Fn(&dyn Swept) -> Duration) -> Vec<usize> {
        let connections = self.connections.borrow();
        let idle = connections.iter().filter_map(|(key, conn)| {
            let time = self.worker.clock.since(conn.idle()?);
            (time >= least(&**conn)).then_some((time, key))
        });
        let mut idle: Vec<_> = idle.collect();
        idle.sort_unstable();
        idle.into_iter().rev().map(|(_, key)| key).collect()
    }

    /// Puts those that have said nothing yet before the others; how many they are.
    fn silent_first(&self, idle: &mut [usize]) -> usize {
        let connections = self.connections.borrow();
        let is_silent = |key: &usize| connections.get(*key).is_some_and(|conn| conn.is_silent());
        idle.sort_by_key(|key| !is_silent(key));
        idle.partition_point(is_silent)
    }

    fn let_go(&self, idle: &[usize], going: usize) {
        let connections = self.connections.borrow();
        for conn in idle.iter().take(going).filter_map(|key| connections.get(*key)) {
            conn.let_go();
        }
    }

    /// Has connections end that the table does not have any more: see [`is_orphan`]. They end with what they do now, or in
    /// a second if they are idle.
    pub(super) fn follow_table(&self) {
        let table = self.worker.table();
        let changes = table.profile_changes();
        let same_profiles = self.profile_changes.replace(changes) == changes;
        if same_profiles && self.listeners.borrow().is_same(table.all_listeners()) {
            return;
        }
        self.listeners.replace(table.all_listeners().clone());
        for (_, conn) in self.connections.borrow().iter() {
            if is_orphan(&table, &**conn) {
                self.orphans.set(true);
                conn.drain(Duration::ZERO);
            }
        }
    }

    /// Whether a connection that begins is to end after what it has sent already.
    pub fn is_leaving(&self, listener: ListenerId, peer: Option<&Peer>) -> bool {
        let table = self.worker.table();
        let is_orphan = table.listener(listener).is_none() || peer.is_some_and(|peer| has_old_profile(&table, peer));
        if is_orphan {
            self.orphans.set(true);
        }
        is_orphan || self.draining.get()
    }

    /// Closes idle connections that the table does not have any more.
    pub(super) fn close_orphans(&self) {
        if !self.orphans.replace(false) {
            return;
        }
        let table = self.worker.table();
        for (_, conn) in self.connections.borrow().iter() {
            if is_orphan(&table, &**conn) {
                self.orphans.set(true);
                if conn
                    .idle()
                    .is_some_and(|since| self.worker.clock.passed(since, LEAST_IDLE))
                {
                    conn.let_go();
                }
            }
        }
    }

    /// While the process ends, idle connections go: those first that have been so longest, for of these a request is
    /// least likely to be under way, and evenly, for their clients come back elsewhere.
    pub(super) fn close_idle(&self) {
        let Some((began, spread)) = self.spread.get() else {
            return;
        };
        let idle = self.idle(|_| LEAST_IDLE);
        let left = spread.saturating_sub(self.worker.clock.since(began));
        let turns = left.as_millis() / TICK.as_millis() + 1;
        let going = idle.len().div_ceil(usize::try_from(turns).unwrap_or(usize::MAX));
        self.let_go(&idle, going);
    }

    pub(super) fn drain(&self, spread: Duration) {
        self.draining.set(true);
        self.spread.set(Some((self.worker.clock.now(), spread)));
        if let Some(log) = &self.worker.access_log {
            log.end();
        }
        for (_, conn) in self.connections.borrow().iter() {
            conn.drain(spread.mul_f32(fastrand::f32()));
        }
    }
}

/// Whether a connection's listener is gone, or the name that it was opened for has another profile now.
fn is_orphan(table: &Table, conn: &dyn Swept) -> bool {
    conn.listener().is_some_and(|id| table.listener(id).is_none())
        || conn.peer().is_some_and(|peer| has_old_profile(table, peer))
}

/// Whether the name that a connection was opened for has another profile now.
fn has_old_profile(table: &Table, peer: &Peer) -> bool {
    let Some(tls) = &peer.tls else { return false };
    let profile = table.profile(peer.listener, tls.server_name.as_deref());
    let has = tls.shown.as_ref().map(|shown| Arc::as_ptr(&shown.profile));
    profile.map(Arc::as_ptr) != has
}
