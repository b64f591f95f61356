//! What passes, by route and by endpoint. Each shard counts for itself, where only it writes; whoever asks adds up.

use super::counter::Counter;
use crate::model::RouteKey;
use foldhash::HashMap;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Upper bounds of the histogram's buckets, in microseconds: 250 µs to 60 s. One more has all that takes longer.
pub const BOUNDS: [u64; 17] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000, 30_000_000, 60_000_000,
];
/// Routes a shard counts apart; requests of further ones are counted together.
pub const MOST_ROUTES: usize = 10_000;
/// Routes and reasons of refusals a shard counts apart; further ones are left out.
const MOST_REFUSALS: usize = 20_000;
/// Failures a shard remembers.
const MOST_ERRORS: usize = 100;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often something took how long.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; BOUNDS.len() + 1],
    sum: Counter,
}

impl Histogram {
    /// Once more.
    pub fn record(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| *bound < micros);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.add();
        }
        self.sum.add_many(micros);
    }
}

/// The numbers of one histogram, or the sum of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// By bucket, not cumulative.
    pub buckets: [u64; BOUNDS.len() + 1],
    /// Microseconds in all.
    pub sum: u64,
}

impl Times {
    /// Adds one histogram.
    pub fn take(&mut self, histogram: &Histogram) {
        for (sum, bucket) in self.buckets.iter_mut().zip(&histogram.buckets) {
            *sum += bucket.get();
        }
        self.sum += histogram.sum.get();
    }

    /// Adds what another has.
    pub fn add(&mut self, other: &Self) {
        for (sum, bucket) in self.buckets.iter_mut().zip(&other.buckets) {
            *sum += bucket;
        }
        self.sum += other.sum;
    }

    /// What came since an earlier reading.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = *self;
        for (now, before) in since.buckets.iter_mut().zip(&earlier.buckets) {
            *now = now.saturating_sub(*before);
        }
        since.sum = since.sum.saturating_sub(earlier.sum);
        since
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The time in which a share of them was done, interpolated within its bucket; none of none.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "counts of requests")]
        let mut rank = share * count as f64;
        let mut lower = 0.0;
        for (index, bucket) in self.buckets.iter().enumerate() {
            #[expect(clippy::cast_precision_loss, reason = "counts and microseconds")]
            let (within, upper) = (
                *bucket as f64,
                BOUNDS.get(index).map_or(lower * 2.0, |bound| *bound as f64),
            );
            if within > 0.0 && rank <= within {
                let micros = lower + (upper - lower) * (rank / within);
                return Some(Duration::from_secs_f64(micros / 1e6));
            }
            rank -= within;
            lower = upper;
        }
        None
    }
}

/// What passed over one route on one shard.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Replies by version (HTTP/1, HTTP/2) and class (1xx to 5xx).
    pub codes: [[Counter; 5]; 2],
    /// Requests under way.
    pub in_flight: Counter,
    /// From a request's head to the end of its reply.
    pub whole: Histogram,
    /// Of that, from when it was sent to a pod until the pod's response head came.
    pub pod: Histogram,
    /// Bytes of request bodies.
    pub bytes_in: Counter,
    /// Bytes of reply bodies.
    pub bytes_out: Counter,
    /// Requests that were sent again.
    pub retries: Counter,
    /// Requests whose clients left before an answer. They are in none of the numbers above.
    pub abandoned: Counter,
}

/// The numbers of one route, or the sum of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Replies by version (HTTP/1, HTTP/2) and class (1xx to 5xx).
    pub codes: [[u64; 5]; 2],
    /// Requests under way.
    pub in_flight: u64,
    /// From a request's head to the end of its reply.
    pub whole: Times,
    /// Of that, until a pod's response head.
    pub pod: Times,
    /// Bytes of request bodies.
    pub bytes_in: u64,
    /// Bytes of reply bodies.
    pub bytes_out: u64,
    /// Requests that were sent again.
    pub retries: u64,
    /// Requests whose clients left before an answer.
    pub abandoned: u64,
}

impl Totals {
    /// Adds one shard's numbers.
    pub fn take(&mut self, traffic: &Traffic) {
        for (sums, counters) in self.codes.iter_mut().zip(&traffic.codes) {
            for (sum, counter) in sums.iter_mut().zip(counters) {
                *sum += counter.get();
            }
        }
        self.in_flight += traffic.in_flight.get();
        self.whole.take(&traffic.whole);
        self.pod.take(&traffic.pod);
        self.bytes_in += traffic.bytes_in.get();
        self.bytes_out += traffic.bytes_out.get();
        self.retries += traffic.retries.get();
        self.abandoned += traffic.abandoned.get();
    }

    /// Adds what another has.
    pub fn add(&mut self, other: &Self) {
        for (sums, others) in self.codes.iter_mut().zip(&other.codes) {
            for (sum, other) in sums.iter_mut().zip(others) {
                *sum += other;
            }
        }
        self.in_flight += other.in_flight;
        self.whole.add(&other.whole);
        self.pod.add(&other.pod);
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.retries += other.retries;
        self.abandoned += other.abandoned;
    }

    /// Replies of a class, 1 to 5, over both versions.
    pub fn class(&self, class: usize) -> u64 {
        let place = class.wrapping_sub(1);
        self.codes.iter().filter_map(|codes| codes.get(place)).sum()
    }

    /// All replies.
    pub fn requests(&self) -> u64 {
        self.codes.iter().flatten().sum()
    }
}

/// What passed to one endpoint from one shard.
#[derive(Debug, Default)]
pub struct EndpointTraffic {
    /// Requests sent, each attempt for itself.
    pub requests: Counter,
    /// Attempts that failed by the endpoint's fault.
    pub failures: Counter,
    /// Attempts that were answered, and not with a failure. Those that tell nothing are in neither number.
    pub good: Counter,
    /// How often it was set aside for what it answered.
    pub ejections: Counter,
    /// Requests under way.
    pub in_flight: Counter,
    /// Idle HTTP/1.1 connections and all HTTP/2 ones, as of the last tick.
    pub kept: Counter,
    /// Until when it is set aside, in milliseconds since 1970; 0 if it is not.
    aside_until: Counter,
    aside_why: AtomicU8,
    last_failure: Mutex<Option<EndpointFailure>>,
}

/// How an attempt at an endpoint failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointFailure {
    /// When.
    pub at: jiff::Timestamp,
    /// What happened: `connection refused`.
    pub what: Box<str>,
}

impl EndpointTraffic {
    /// It is set aside for so long, for a reason the caller knows by a number.
    pub fn set_aside(&self, pause: Duration, why: u8) {
        let until = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + pause;
        self.aside_why.store(why, Ordering::Relaxed);
        self.aside_until
            .set(u64::try_from(until.as_millis()).unwrap_or(u64::MAX));
    }

    /// It is not any more.
    pub fn well(&self) {
        self.aside_until.set(0);
    }

    /// An attempt failed by its fault.
    pub fn failed(&self, what: impl Into<Box<str>>) {
        self.failures.add();
        let at = jiff::Timestamp::now();
        *lock(&self.last_failure) = Some(EndpointFailure { at, what: what.into() });
    }

    /// How the last attempt that failed did so.
    pub fn last_failure(&self) -> Option<EndpointFailure> {
        lock(&self.last_failure).clone()
    }

    /// For how long it still is, and why.
    pub fn aside(&self) -> Option<(Duration, u8)> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let until = Duration::from_millis(self.aside_until.get());
        let left = until.checked_sub(now).filter(|left| !left.is_zero())?;
        Some((left, self.aside_why.load(Ordering::Relaxed)))
    }
}

/// A request that failed.
#[derive(Clone, Debug)]
pub struct RecentError {
    /// When.
    pub at: jiff::Timestamp,
    /// What the client got.
    pub status: u16,
    /// The stable name of the reason.
    pub reason: &'static str,
    /// Whose fault it was.
    pub side: &'static str,
    /// The request's method.
    pub method: Box<str>,
    /// Its host, in canonical form; empty if it has none.
    pub host: Box<str>,
    pub path: Box<str>,
    /// The route, where there is one.
    pub route: Option<RouteKey>,
    /// Whose rule that is.
    pub origin: Option<String>,
    /// The last endpoint tried.
    pub endpoint: Option<String>,
    /// More on the reason.
    pub cause: Option<String>,
    pub request_id: Box<str>,
}

/// Why requests fail, and by whose fault: both names of a fixed set.
pub type Reason = (&'static str, &'static str);

/// What one shard has counted.
#[derive(Debug, Default)]
pub struct ShardTraffic {
    routes: Mutex<Routes>,
    /// Requests without a route, or with one that is not counted apart.
    pub rest: Arc<Traffic>,
    errors: Mutex<VecDeque<RecentError>>,
    failed: Mutex<BTreeMap<Reason, u64>>,
    refused: Mutex<HashMap<(RouteKey, &'static str), u64>>,
}

/// How many requests a route refused, by reason.
pub type Refusals = HashMap<RouteKey, BTreeMap<&'static str, u64>>;

#[derive(Debug, Default)]
struct Routes {
    by_key: HashMap<RouteKey, Arc<Traffic>>,
    /// Counts how often routes were forgotten.
    epoch: u64,
}

impl ShardTraffic {
    /// The numbers of a route, with the epoch they belong to; those of the rest where there are too many routes.
    pub fn of(&self, route: RouteKey) -> (Arc<Traffic>, u64) {
        let mut routes = lock(&self.routes);
        let full = routes.by_key.len() >= MOST_ROUTES;
        let epoch = routes.epoch;
        match routes.by_key.get(&route) {
            Some(known) => (known.clone(), epoch),
            None if full => (self.rest.clone(), epoch),
            None => (routes.by_key.entry(route).or_default().clone(), epoch),
        }
    }

    /// Whether the numbers of a route are its own: beyond the bound they are in those of the rest.
    pub fn counts(&self, route: RouteKey) -> bool {
        let routes = lock(&self.routes);
        routes.by_key.len() < MOST_ROUTES || routes.by_key.contains_key(&route)
    }

    /// Which epoch it is.
    pub fn epoch(&self) -> u64 {
        lock(&self.routes).epoch
    }

    /// Forgets routes that are gone.
    pub fn retain(&self, is_there: impl Fn(RouteKey) -> bool) {
        lock(&self.refused).retain(|(key, _), _| is_there(*key));
        let mut routes = lock(&self.routes);
        let before = routes.by_key.len();
        routes.by_key.retain(|key, _| is_there(*key));
        if routes.by_key.len() != before {
            routes.epoch += 1;
        }
    }

    /// Adds all numbers to those of others, by route.
    pub fn collect(&self, totals: &mut HashMap<RouteKey, Totals>) {
        for (key, traffic) in &lock(&self.routes).by_key {
            totals.entry(*key).or_default().take(traffic);
        }
    }

    /// One more request that failed, for this reason and by this side's fault.
    pub fn failed(&self, reason: &'static str, side: &'static str) {
        *lock(&self.failed).entry((reason, side)).or_default() += 1;
    }

    /// Adds how many failed to the numbers of others.
    pub fn collect_failed(&self, totals: &mut BTreeMap<Reason, u64>) {
        for (reason, count) in lock(&self.failed).iter() {
            *totals.entry(*reason).or_default() += count;
        }
    }

    /// One more request that a route refused.
    pub fn refused(&self, route: RouteKey, reason: &'static str) {
        let mut refused = lock(&self.refused);
        let full = refused.len() >= MOST_REFUSALS;
        match refused.get_mut(&(route, reason)) {
            Some(count) => *count += 1,
            None if full => {}
            None => {
                refused.insert((route, reason), 1);
            }
        }
    }

    /// Adds how many were refused to the numbers of others.
    pub fn collect_refused(&self, totals: &mut Refusals) {
        for ((route, reason), count) in lock(&self.refused).iter() {
            *totals.entry(*route).or_default().entry(reason).or_default() += count;
        }
    }

    /// Remembers a failure.
    pub fn remember(&self, error: RecentError) {
        let mut errors = lock(&self.errors);
        if errors.len() >= MOST_ERRORS {
            errors.pop_front();
        }
        errors.push_back(error);
    }

    /// The last failures, the oldest first.
    pub fn errors(&self) -> Vec<RecentError> {
        lock(&self.errors).iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(micros: &[u64]) -> Times {
        let histogram = Histogram::default();
        for micros in micros {
            histogram.record(Duration::from_micros(*micros));
        }
        let mut times = Times::default();
        times.take(&histogram);
        times
    }

    #[test]
    fn quantiles_lie_in_their_bucket() {
        assert_eq!(Times::default().quantile(0.5), None);
        let half = times(&[100; 50]).quantile(0.5).unwrap();
        assert!(half > Duration::ZERO && half <= Duration::from_micros(250));
        let mut mixed = vec![900; 98];
        mixed.extend([400_000, 90_000_000]);
        let mixed = times(&mixed);
        assert_eq!(mixed.count(), 100);
        assert!(mixed.quantile(0.5).unwrap() <= Duration::from_millis(1));
        let late = mixed.quantile(0.99).unwrap();
        assert!(
            late > Duration::from_millis(250) && late <= Duration::from_millis(500),
            "{late:?}"
        );
        assert!(mixed.quantile(1.0).unwrap() > Duration::from_secs(60));
    }

    #[test]
    fn what_is_beyond_the_bound_is_counted_together() {
        let shard = ShardTraffic::default();
        for key in 0..MOST_ROUTES as u64 + 10 {
            shard.of(RouteKey(key)).0.retries.add();
        }
        assert_eq!(shard.rest.retries.get(), 10);
        let last = RouteKey(MOST_ROUTES as u64 + 9);
        assert!(shard.counts(RouteKey(0)) && !shard.counts(last));
        shard.retain(|key| key.0 >= 10);
        assert_eq!(shard.epoch(), 1);
        assert!(shard.counts(last));
        shard.of(RouteKey(0)).0.retries.add();
        assert_eq!(shard.rest.retries.get(), 10, "there is room again");
        let mut all = HashMap::default();
        shard.collect(&mut all);
        assert_eq!(all.len(), MOST_ROUTES - 10 + 1);
    }

    #[test]
    fn an_endpoint_is_set_aside_for_a_time() {
        let endpoint = EndpointTraffic::default();
        assert_eq!(endpoint.aside(), None);
        endpoint.set_aside(Duration::from_secs(60), 2);
        let (left, why) = endpoint.aside().unwrap();
        assert!(left <= Duration::from_secs(60) && left > Duration::from_secs(50));
        assert_eq!(why, 2);
        endpoint.well();
        assert_eq!(endpoint.aside(), None);
    }
}
