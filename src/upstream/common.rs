//! What all shards have in common of a backend: where the next round begins, how many requests may be under way, and
//! what active checks say of its endpoints. Shards look here when they meet a backend or it changes, not per request;
//! but a backend with a limit pays for one shared counter.

use crate::table::backend::EndpointIdentity;
use crate::table::{BackendId, BackendSettings, Table};
use crate::telemetry::traffic::EndpointTraffic;
use foldhash::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a request waits for its turn where nothing else is said.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(1);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One backend, for all shards.
#[derive(Debug, Default)]
pub struct Common {
    /// Few requests spread evenly however many shards there are.
    pub rotation: AtomicUsize,
    limit: Mutex<Option<Arc<Limit>>>,
    checked: Mutex<HashMap<EndpointIdentity, Arc<AtomicBool>>>,
    /// By shard.
    traffic: Mutex<HashMap<EndpointIdentity, Vec<Arc<EndpointTraffic>>>>,
}

impl Common {
    /// The limit as the backend's settings have it; the same for all shards as long as they stay the same.
    pub fn limit(&self, settings: &BackendSettings) -> Option<Arc<Limit>> {
        let mut limit = lock(&self.limit);
        let wanted = settings.max_in_flight.map(|most| Limit::new(most, settings));
        match (&*limit, wanted) {
            (Some(known), Some(wanted)) if known.is_same(&wanted) => {}
            (_, wanted) => *limit = wanted.map(Arc::new),
        }
        limit.clone()
    }

    /// What active checks say of an endpoint: well, until they say otherwise.
    pub fn checked(&self, endpoint: &EndpointIdentity) -> Arc<AtomicBool> {
        let mut checked = lock(&self.checked);
        let known = checked.entry(endpoint.clone());
        known.or_insert_with(|| Arc::new(AtomicBool::new(true))).clone()
    }

    /// A shard begins to count what passes to an endpoint.
    pub fn count(&self, endpoint: &EndpointIdentity) -> Arc<EndpointTraffic> {
        let traffic = Arc::new(EndpointTraffic::default());
        let mut all = lock(&self.traffic);
        all.entry(endpoint.clone()).or_default().push(traffic.clone());
        traffic
    }

    /// What passes to an endpoint, by shard.
    pub fn traffic(&self, endpoint: &EndpointIdentity) -> Vec<Arc<EndpointTraffic>> {
        lock(&self.traffic).get(endpoint).cloned().unwrap_or_default()
    }

    /// What active checks say of an endpoint; none where there are none.
    pub fn check(&self, endpoint: &EndpointIdentity) -> Option<bool> {
        let checked = lock(&self.checked);
        checked.get(endpoint).map(|well| well.load(Ordering::Relaxed))
    }

    /// Forgets endpoints that nobody else holds.
    fn tidy(&self) {
        lock(&self.checked).retain(|_, well| Arc::strong_count(well) > 1);
        lock(&self.traffic).retain(|_, shards| {
            shards.retain(|shard| Arc::strong_count(shard) > 1);
            !shards.is_empty()
        });
    }
}

/// All backends, for all shards.
#[derive(Debug, Default)]
pub struct Commons {
    by_backend: Mutex<HashMap<BackendId, Arc<Common>>>,
}

impl Commons {
    /// What is common of a backend.
    pub fn of(&self, backend: BackendId) -> Arc<Common> {
        lock(&self.by_backend).entry(backend).or_default().clone()
    }

    /// Every endpoint that shards know, with the requests sent to it.
    pub fn each_endpoint(&self, mut each: impl FnMut(BackendId, &EndpointIdentity, u64)) {
        let backends: Vec<_> = lock(&self.by_backend)
            .iter()
            .map(|(id, common)| (*id, common.clone()))
            .collect();
        for (id, common) in backends {
            for (endpoint, shards) in lock(&common.traffic).iter() {
                each(id, endpoint, shards.iter().map(|shard| shard.requests.get()).sum());
            }
        }
    }

    /// Forgets backends that are gone from the table.
    pub fn retain(&self, table: &Table) {
        lock(&self.by_backend).retain(|backend, common| {
            common.tidy();
            table.backend(*backend).is_some()
        });
    }
}

/// How many requests may be under way to a backend, and how many may wait.
#[derive(Debug)]
pub struct Limit {
    most: u32,
    pending: u32,
    patience: Duration,
    places: Arc<Semaphore>,
    waiting: AtomicU32,
}

/// A request's place among those under way, until dropped.
pub type Place = OwnedSemaphorePermit;

impl Limit {
    fn new(most: u32, settings: &BackendSettings) -> Self {
        Self {
            most,
            pending: settings.max_pending.unwrap_or(0),
            patience: settings.queue_timeout.unwrap_or(QUEUE_TIMEOUT),
            places: Arc::new(Semaphore::new(most as usize)),
            waiting: AtomicU32::new(0),
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        (self.most, self.pending, self.patience) == (other.most, other.pending, other.patience)
    }

    /// Takes a place, or waits for one. None if too many wait already or none becomes free in time.
    pub async fn enter(&self) -> Option<Place> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Some(place);
        }
        let _turn = Waiting::join(self)?;
        let place = self.places.clone().acquire_owned();
        tokio::time::timeout(self.patience, place).await.ok()?.ok()
    }
}

/// One of those that wait, until dropped.
struct Waiting<'l>(&'l Limit);

impl<'l> Waiting<'l> {
    fn join(limit: &'l Limit) -> Option<Self> {
        let joined = Self(limit);
        (limit.waiting.fetch_add(1, Ordering::Relaxed) < limit.pending).then_some(joined)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
