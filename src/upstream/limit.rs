//! How many requests may be under way to the pods of a Service port, and the queue of those that wait.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a request waits for its turn where nothing else is said.
pub(super) const QUEUE_TIMEOUT: Duration = Duration::from_secs(1);

/// A count of the requests under way, and the queue for it. Both stay when the limit changes.
#[derive(Debug)]
pub struct Limit {
    most: Mutex<u32>,
    places: Arc<Semaphore>,
    /// Places that go when the requests which have them end, since the limit was lowered.
    owed: AtomicU32,
    waiting: AtomicU32,
}

/// A request's place among those under way, until dropped.
#[derive(Debug)]
pub struct RequestPermit {
    limit: Arc<Limit>,
    permit: Option<OwnedSemaphorePermit>,
}

impl RequestPermit {
    /// Whether it is a place of this limit.
    pub fn is_of(&self, limit: &Arc<Limit>) -> bool {
        Arc::ptr_eq(&self.limit, limit)
    }
}

impl Drop for RequestPermit {
    fn drop(&mut self) {
        if self.limit.pays_one()
            && let Some(permit) = self.permit.take()
        {
            permit.forget();
        }
    }
}

impl Limit {
    /// So many places, all free.
    pub(super) fn new(most: u32) -> Self {
        Self {
            most: Mutex::new(most),
            places: Arc::new(Semaphore::new(most as usize)),
            owed: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
        }
    }

    /// Changes how many places there are. Requests that have one keep it, and those that wait keep their turn.
    pub(super) fn adjust(&self, most: u32) {
        let mut now = self.most.lock().unwrap_or_else(PoisonError::into_inner);
        if most > *now {
            let mut more = most - *now;
            while more > 0 && self.pays_one() {
                more -= 1;
            }
            self.places.add_permits(more as usize);
        } else if most < *now {
            let fewer = (*now - most) as usize;
            let gone = self.places.forget_permits(fewer);
            let owed = u32::try_from(fewer - gone).unwrap_or(u32::MAX);
            self.owed.fetch_add(owed, Ordering::Relaxed);
        }
        *now = most;
    }

    /// Takes one place off what is owed; false if nothing is.
    fn pays_one(&self) -> bool {
        let less = |owed: u32| owed.checked_sub(1);
        self.owed
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .is_ok()
    }

    /// Takes a place, or waits for one. Absent if as many as `pending` wait already, or none becomes free in time.
    pub async fn enter(self: &Arc<Self>, pending: u32, patience: Duration) -> Option<RequestPermit> {
        let place = |permit| RequestPermit {
            limit: self.clone(),
            permit: Some(permit),
        };
        if let Ok(permit) = self.places.clone().try_acquire_owned() {
            return Some(place(permit));
        }
        let _turn = Waiting::join(self, pending)?;
        let permit = self.places.clone().acquire_owned();
        tokio::time::timeout(patience, permit).await.ok()?.ok().map(place)
    }
}

/// One of those that wait, until dropped.
struct Waiting<'l>(&'l Limit);

impl<'l> Waiting<'l> {
    fn join(limit: &'l Limit, pending: u32) -> Option<Self> {
        let joined = Self(limit);
        (limit.waiting.fetch_add(1, Ordering::Relaxed) < pending).then_some(joined)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_limit_that_changes_keeps_places_and_turns() {
        let limit = Arc::new(Limit::new(2));
        let patience = Duration::from_secs(20);
        let first = limit.enter(0, patience).await.unwrap();
        let second = limit.enter(0, patience).await.unwrap();
        assert!(limit.enter(0, Duration::ZERO).await.is_none());
        // Lowered while both are taken: the next place to go is owed, the one after it is free.
        limit.adjust(1);
        drop(first);
        assert!(limit.enter(1, Duration::ZERO).await.is_none());
        drop(second);
        let third = limit.enter(0, patience).await.unwrap();
        // Raised while one waits: it gets in.
        let waits = tokio::spawn({
            let limit = limit.clone();
            async move { limit.enter(1, patience).await }
        });
        while limit.waiting.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        limit.adjust(2);
        let fourth = waits.await.unwrap().unwrap();
        // Lowered and raised again: nothing is owed.
        limit.adjust(1);
        limit.adjust(2);
        drop((third, fourth));
        assert_eq!(limit.places.available_permits(), 2);
    }
}
