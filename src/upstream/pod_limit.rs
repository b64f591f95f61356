//! How many requests may be under way to each pod of a backend, in the whole process, and the waiting for a pod with room.

use super::common::lock;
use super::endpoint::LiveEndpoint;
use foldhash::HashMap;
use std::cell::RefCell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// The requests under way to each pod, for all shards.
#[derive(Debug, Default)]
pub struct PodCounts {
    by_pod: Mutex<HashMap<u64, Arc<AtomicU32>>>,
    freed: Notify,
    /// How many requests wait for a pod with room.
    waiting: AtomicU32,
    /// The first of them holds this, and the others wait for it in their order.
    first: tokio::sync::Mutex<()>,
}

/// A request that waits, until dropped.
pub(super) struct Waiting<'c>(&'c PodCounts);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl PodCounts {
    /// Forgets pods that nobody counts for.
    pub(super) fn tidy(&self) {
        lock(&self.by_pod).retain(|_, count| Arc::strong_count(count) > 1);
    }

    /// Waits until the requests that came before have found a pod, or given up.
    pub(super) async fn turn(&self) -> (Waiting<'_>, tokio::sync::MutexGuard<'_, ()>) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = Waiting(self);
        (waiting, self.first.lock().await)
    }

    /// Whether requests wait for a pod with room.
    pub(super) fn is_awaited(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Ends when a request to one of the pods has ended. It has to be enabled before one looks for room.
    pub(super) fn freed(&self) -> tokio::sync::futures::Notified<'_> {
        self.freed.notified()
    }
}

/// The limit of one backend on one shard.
#[derive(Debug)]
pub(super) struct PodLimit {
    most: u32,
    pub counts: Arc<PodCounts>,
    /// What this shard has met of the counts.
    known: RefCell<HashMap<u64, Arc<AtomicU32>>>,
}

/// A request's place at a pod, until dropped.
#[derive(Debug)]
pub(super) struct PodPlace {
    count: Arc<AtomicU32>,
    counts: Arc<PodCounts>,
}

impl Drop for PodPlace {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.counts.freed.notify_waiters();
    }
}

impl PodLimit {
    pub fn new(most: u32, counts: Arc<PodCounts>) -> Self {
        Self {
            most,
            counts,
            known: RefCell::default(),
        }
    }

    fn count<B>(&self, live: &LiveEndpoint<B>) -> Arc<AtomicU32> {
        let mut known = self.known.borrow_mut();
        let shared = || lock(&self.counts.by_pod).entry(live.id).or_default().clone();
        known.entry(live.id).or_insert_with(shared).clone()
    }

    /// Whether a pod may have one more.
    pub fn has_room<B>(&self, live: &LiveEndpoint<B>) -> bool {
        self.count(live).load(Ordering::Relaxed) < self.most
    }

    /// Takes a place at a pod; absent if another shard was quicker.
    pub fn take<B>(&self, live: &LiveEndpoint<B>) -> Option<Box<PodPlace>> {
        let count = self.count(live);
        let more = |now: u32| (now < self.most).then(|| now + 1);
        let taken = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.ok()?;
        let counts = self.counts.clone();
        Some(Box::new(PodPlace { count, counts }))
    }
}
