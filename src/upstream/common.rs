//! What all shards have in common of a pod set: where the next round begins, how many requests may be under way, and
//! what active checks say of its endpoints. Shards look here when they meet a pod set or it changes, not per request;
//! but a backend with a limit pays for one shared counter.

use super::limit::Limit;
use super::pod_limit::PodCounts;
use crate::table::backend::EndpointIdentity;
use crate::table::{Check, InFlightLimit, PodSetId, Table};
use crate::telemetry::traffic::EndpointTraffic;
use foldhash::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One pod set, for all shards.
#[derive(Debug, Default)]
pub struct Common {
    /// Few requests spread evenly however many shards there are.
    pub rotation: AtomicUsize,
    /// By who limits. As many as Ingresses once limited, which lead to one Service port.
    limits: Mutex<HashMap<Option<Arc<str>>, Arc<Limit>>>,
    /// The same for the limits of each pod.
    pod_limits: Mutex<HashMap<Option<Arc<str>>, Arc<PodCounts>>>,
    checked: Mutex<HashMap<EndpointIdentity, Checked>>,
    /// By shard.
    traffic: Mutex<HashMap<EndpointIdentity, Vec<Arc<EndpointTraffic>>>>,
}

/// What active checks say of one endpoint.
#[derive(Debug)]
struct Checked {
    by: Vec<(Arc<Check>, Arc<AtomicBool>)>,
    /// What the last of those said that are not made any more.
    last: bool,
}

impl Default for Checked {
    fn default() -> Self {
        Self {
            by: Vec::new(),
            last: true,
        }
    }
}

impl Checked {
    /// What this check says. One that is new begins with what the others say: an endpoint that is out stays out until
    /// it has passed.
    fn of(&mut self, check: &Arc<Check>) -> Arc<AtomicBool> {
        if let Some((_, well)) = self.by.iter().find(|(known, _)| known == check) {
            return well.clone();
        }
        let well = self.is_well() && std::mem::replace(&mut self.last, true);
        let well = Arc::new(AtomicBool::new(well));
        self.by.push((check.clone(), well.clone()));
        well
    }

    fn is_well(&self) -> bool {
        self.by.iter().all(|(_, well)| well.load(Ordering::Relaxed))
    }

    /// Forgets checks that nobody makes any more.
    fn tidy(&mut self) {
        let last = &mut self.last;
        self.by.retain(|(_, well)| {
            let made = Arc::strong_count(well) > 1;
            if !made {
                *last = well.load(Ordering::Relaxed);
            }
            made
        });
    }
}

impl Common {
    /// A limit as it is now. Those who have a place or wait for one keep it when it changes.
    pub(super) fn limit(&self, wanted: &InFlightLimit) -> Arc<Limit> {
        let mut limits = lock(&self.limits);
        if let Some(limit) = limits.get(&wanted.by) {
            limit.adjust(wanted.most);
            return limit.clone();
        }
        let limit = Arc::new(Limit::new(wanted.most));
        limits.insert(wanted.by.clone(), limit.clone());
        limit
    }

    /// The requests under way to each pod, as far as this one limits them.
    pub(super) fn pod_counts(&self, by: Option<&Arc<str>>) -> Arc<PodCounts> {
        lock(&self.pod_limits).entry(by.cloned()).or_default().clone()
    }

    /// What a check says of an endpoint: well, until it says otherwise.
    pub fn checked(&self, endpoint: &EndpointIdentity, check: &Arc<Check>) -> Arc<AtomicBool> {
        lock(&self.checked).entry(endpoint.clone()).or_default().of(check)
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

    /// How many endpoints are gone from the table while requests to them go on, and how many requests these are.
    pub fn leaving(&self, is_there: impl Fn(&EndpointIdentity) -> bool) -> (usize, u64) {
        let traffic = lock(&self.traffic);
        let gone = traffic.iter().filter(|(identity, _)| !is_there(identity));
        let under_way = gone.map(|(_, shards)| shards.iter().map(|shard| shard.in_flight.get()).sum::<u64>());
        under_way
            .filter(|count| *count > 0)
            .fold((0, 0), |(pods, all), count| (pods + 1, all + count))
    }

    /// What a check says of an endpoint; absent where nothing is known of it.
    pub fn check(&self, endpoint: &EndpointIdentity, check: &Check) -> Option<bool> {
        let checked = lock(&self.checked);
        let by = &checked.get(endpoint)?.by;
        let known = by.iter().find(|(known, _)| **known == *check);
        known.map(|(_, well)| well.load(Ordering::Relaxed))
    }

    /// Forgets limits and checks that nobody holds, and endpoints that are gone.
    fn tidy(&self, mut is_there: impl FnMut(&EndpointIdentity) -> bool) {
        lock(&self.limits).retain(|_, limit| Arc::strong_count(limit) > 1);
        lock(&self.pod_limits).retain(|_, counts| {
            counts.tidy();
            Arc::strong_count(counts) > 1
        });
        lock(&self.checked).retain(|endpoint, checked| {
            checked.tidy();
            !checked.by.is_empty() || (!checked.last && is_there(endpoint))
        });
        lock(&self.traffic).retain(|_, shards| {
            shards.retain(|shard| Arc::strong_count(shard) > 1);
            !shards.is_empty()
        });
    }
}

/// All pod sets, for all shards.
#[derive(Debug, Default)]
pub struct Commons {
    by_pods: Mutex<HashMap<PodSetId, Arc<Common>>>,
}

impl Commons {
    /// What is common of a pod set.
    pub fn of(&self, pods: PodSetId) -> Arc<Common> {
        lock(&self.by_pods).entry(pods).or_default().clone()
    }

    /// Every endpoint that shards know, with what passes to it from each of them.
    pub fn each_endpoint(&self, mut each: impl FnMut(PodSetId, &EndpointIdentity, &[Arc<EndpointTraffic>])) {
        let all: Vec<_> = lock(&self.by_pods)
            .iter()
            .map(|(id, common)| (*id, common.clone()))
            .collect();
        for (id, common) in all {
            for (endpoint, shards) in lock(&common.traffic).iter() {
                each(id, endpoint, shards);
            }
        }
    }

    /// Forgets pod sets that are gone from the table.
    pub fn retain(&self, table: &Table) {
        lock(&self.by_pods).retain(|id, common| {
            let Some(set) = table.pods(*id) else { return false };
            common.tidy(|identity| set.endpoints.iter().any(|endpoint| endpoint.identity() == *identity));
            true
        });
    }
}
