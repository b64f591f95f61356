//! Rates and times of the last minute: a look at all numbers each second.

use crate::model::RouteKey;
use crate::proxy::Counters;
use crate::table::PodSetId;
use crate::table::backend::EndpointIdentity;
use crate::telemetry::traffic::{EndpointTraffic, Times, Totals};
use crate::upstream::Commons;
use foldhash::HashMap;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Seconds that are remembered one by one.
const SECONDS: usize = 60;
/// Seconds over which a rate is taken.
const RATE: usize = 10;
/// Seconds between two readings of all times.
const COARSE: u64 = 10;

/// What passed over a route, or over all.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Traffic")]
pub struct TrafficView {
    /// Replies since the process began.
    pub requests: u64,
    /// Of these, by class.
    pub codes: Codes,
    /// Requests under way.
    pub in_flight: u64,
    /// Bytes of request bodies.
    pub bytes_in: u64,
    /// Bytes of reply bodies.
    pub bytes_out: u64,
    /// Replies a second, over the last ten.
    pub rate: f64,
    /// The share of 5xx in the last minute.
    pub error_share: f64,
    /// In how many milliseconds half of the last minute's were done.
    pub p50_ms: Option<f64>,
    /// And 99 of 100.
    pub p99_ms: Option<f64>,
    /// Replies in each of the last 60 seconds, the oldest first.
    pub spark: Vec<u64>,
}

/// Replies by class.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Codes {
    #[serde(rename = "1xx")]
    one: u64,
    #[serde(rename = "2xx")]
    two: u64,
    #[serde(rename = "3xx")]
    three: u64,
    #[serde(rename = "4xx")]
    four: u64,
    #[serde(rename = "5xx")]
    five: u64,
}

impl From<&Totals> for Codes {
    fn from(totals: &Totals) -> Self {
        Self {
            one: totals.class(1),
            two: totals.class(2),
            three: totals.class(3),
            four: totals.class(4),
            five: totals.class(5),
        }
    }
}

/// One reading of the times, and of what goes with them.
#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    whole: Times,
    requests: u64,
    errors: u64,
    abandoned: u64,
}

impl Reading {
    fn of(totals: &Totals) -> Self {
        Self {
            whole: totals.whole,
            requests: totals.requests(),
            errors: totals.class(5),
            abandoned: totals.abandoned,
        }
    }
}

/// This many failures in a row count as a series. Fewer do so too if nothing else came for a minute.
const ROW: u64 = 3;

/// Since when all that was tried has failed.
#[derive(Clone, Copy, Debug, Default)]
struct Streak {
    time: Option<(Timestamp, Timestamp)>,
    failures: u64,
}

impl Streak {
    /// Takes in what came in the last second: one that did not fail ends it.
    fn take(&mut self, good: u64, failed: u64) {
        if good > 0 {
            *self = Self::default();
        } else if failed > 0 {
            let now = Timestamp::now();
            let began = now.checked_sub(jiff::SignedDuration::from_secs(1)).unwrap_or(now);
            let (since, _) = self.time.unwrap_or((began, now));
            self.time = Some((since, now));
            self.failures += failed;
        }
    }

    /// With what was tried in the last minute, and what failed of it.
    fn tries(self, all: u64, failed: u64) -> Tries {
        let counts = self.failures >= ROW || all == failed;
        Tries {
            all,
            failed,
            abandoned: 0,
            under_way: 0,
            failing: self.time.filter(|_| counts),
        }
    }
}

/// How often something was tried in the last minute, and what came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tries {
    /// How often: requests that were answered, or attempts that began.
    pub all: u64,
    /// Of these, how many failed.
    pub failed: u64,
    /// Requests whose clients left before an answer. They are not in `all`.
    pub abandoned: u64,
    /// Requests that have not ended yet. They are not in `all`.
    pub under_way: u64,
    /// The first and the last second of a series of failures that goes on: nothing has succeeded since it began. Absent if
    /// there were only a few, after others in the last minute that did not fail.
    pub failing: Option<(Timestamp, Timestamp)>,
}

/// The last minute of one route.
#[derive(Debug, Default)]
struct Minute {
    now: Totals,
    streak: Streak,
    seconds: VecDeque<u64>,
    /// Every [`COARSE`] seconds, the oldest first.
    readings: VecDeque<Reading>,
}

impl Minute {
    fn take(&mut self, totals: Totals, coarse: bool) {
        let came = totals.requests().saturating_sub(self.now.requests());
        if self.seconds.len() == SECONDS {
            self.seconds.pop_front();
        }
        self.seconds.push_back(came);
        if coarse || self.readings.is_empty() {
            if self.readings.len() > SECONDS / usize::try_from(COARSE).unwrap_or(1) {
                self.readings.pop_front();
            }
            // The first second of a route is part of its first minute.
            let first = self.readings.is_empty().then(Reading::default);
            self.readings.push_back(first.unwrap_or_else(|| Reading::of(&totals)));
        }
        let failed = totals.class(5).saturating_sub(self.now.class(5));
        self.streak.take(came.saturating_sub(failed), failed);
        self.now = totals;
    }

    fn tries(&self) -> Tries {
        let before = self.readings.front().copied().unwrap_or_default();
        let now = Reading::of(&self.now);
        let (all, failed) = (now.requests - before.requests, now.errors - before.errors);
        Tries {
            abandoned: now.abandoned - before.abandoned,
            under_way: self.now.in_flight,
            ..self.streak.tries(all, failed)
        }
    }

    fn is_quiet(&self) -> bool {
        self.seconds.iter().all(|count| *count == 0)
    }

    #[expect(clippy::cast_precision_loss, reason = "rates are for people")]
    fn view(&self) -> TrafficView {
        let last: u64 = self.seconds.iter().rev().take(RATE).sum();
        let over = self.seconds.len().clamp(1, RATE);
        let before = self.readings.front().copied().unwrap_or_default();
        let now = Reading::of(&self.now);
        let (requests, errors) = (now.requests - before.requests, now.errors - before.errors);
        let times = now.whole.since(&before.whole);
        let millis = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
        TrafficView {
            requests: now.requests,
            codes: Codes::from(&self.now),
            in_flight: self.now.in_flight,
            bytes_in: self.now.bytes_in,
            bytes_out: self.now.bytes_out,
            rate: last as f64 / over as f64,
            error_share: if requests == 0 {
                0.0
            } else {
                errors as f64 / requests as f64
            },
            p50_ms: times.quantile(0.5).map(millis),
            p99_ms: times.quantile(0.99).map(millis),
            spark: self.seconds.iter().copied().collect(),
        }
    }
}

/// The last seconds of one endpoint.
#[derive(Debug, Default)]
struct Recent {
    now: Attempts,
    seconds: VecDeque<u64>,
    /// Every [`COARSE`] seconds, the oldest first.
    readings: VecDeque<Attempts>,
    streak: Streak,
}

/// Attempts at an endpoint so far.
#[derive(Clone, Copy, Debug, Default)]
struct Attempts {
    requests: u64,
    failures: u64,
    /// Those that were answered, and not with a failure.
    good: u64,
}

impl Attempts {
    fn of(shards: &[Arc<EndpointTraffic>]) -> Self {
        let sum = |number: fn(&EndpointTraffic) -> u64| shards.iter().map(|shard| number(shard)).sum::<u64>();
        Self {
            requests: sum(|shard| shard.requests.get()),
            failures: sum(|shard| shard.failures.get()),
            good: sum(|shard| shard.good.get()),
        }
    }
}

impl Recent {
    fn take(&mut self, now: Attempts, coarse: bool) {
        if self.seconds.len() == RATE {
            self.seconds.pop_front();
        }
        self.seconds.push_back(now.requests.saturating_sub(self.now.requests));
        if coarse || self.readings.is_empty() {
            if self.readings.len() > SECONDS / usize::try_from(COARSE).unwrap_or(1) {
                self.readings.pop_front();
            }
            // The first second of an endpoint is part of its first minute.
            let first = self.readings.is_empty().then(Attempts::default);
            self.readings.push_back(first.unwrap_or(now));
        }
        let good = now.good.saturating_sub(self.now.good);
        self.streak.take(good, now.failures.saturating_sub(self.now.failures));
        self.now = now;
    }
}

/// The last minute of everything.
#[derive(Debug, Default)]
pub struct Sampler {
    routes: HashMap<RouteKey, Minute>,
    endpoints: HashMap<(PodSetId, EndpointIdentity), Recent>,
    all: Minute,
    /// All replies by class, at each of the last seconds.
    classes: VecDeque<[u64; 5]>,
    /// All replies by status, and those of the last second.
    codes: BTreeMap<u16, u64>,
    second: BTreeMap<u16, u64>,
    ticks: u64,
}

/// What all shards have counted, by route, and of requests without one.
pub fn totals(shards: &[Arc<Counters>]) -> (HashMap<RouteKey, Totals>, Totals) {
    let (mut routes, mut rest) = (HashMap::default(), Totals::default());
    for shard in shards {
        shard.traffic.collect(&mut routes);
        rest.take(&shard.traffic.rest);
    }
    (routes, rest)
}

impl Sampler {
    /// Takes a reading; called each second.
    pub fn tick(&mut self, shards: &[Arc<Counters>], commons: &Commons) {
        let coarse = self.ticks.is_multiple_of(COARSE);
        self.ticks += 1;
        let (routes, mut all) = totals(shards);
        self.routes.retain(|key, _| routes.contains_key(key));
        for (key, totals) in routes {
            all.add(&totals);
            self.routes.entry(key).or_default().take(totals, coarse);
        }
        self.all.take(all, coarse);
        if self.classes.len() > RATE {
            self.classes.pop_front();
        }
        self.classes
            .push_back(std::array::from_fn(|place| all.class(place + 1)));
        self.take_codes(shards);
        let mut seen = HashMap::default();
        commons.each_endpoint(|pods, endpoint, shards| {
            let key = (pods, endpoint.clone());
            let mut recent = self.endpoints.remove(&key).unwrap_or_default();
            recent.take(Attempts::of(shards), coarse);
            seen.insert(key, recent);
        });
        self.endpoints = seen;
    }

    fn take_codes(&mut self, shards: &[Arc<Counters>]) {
        let mut codes: BTreeMap<u16, u64> = BTreeMap::new();
        for (code, count) in shards.iter().flat_map(|shard| shard.codes.each()) {
            *codes.entry(code).or_default() += count;
        }
        let came = codes.iter().map(|(code, count)| {
            let before = self.codes.get(code).copied().unwrap_or_default();
            (*code, count.saturating_sub(before))
        });
        self.second = came.filter(|(_, count)| *count > 0).collect();
        self.codes = codes;
    }

    /// Replies of the last second, by status.
    pub fn last_second(&self) -> &BTreeMap<u16, u64> {
        &self.second
    }

    /// The times of all replies.
    pub fn times(&self) -> Times {
        self.all.now.whole
    }

    /// What passed over one route.
    pub fn route(&self, key: RouteKey) -> TrafficView {
        self.routes.get(&key).map(Minute::view).unwrap_or_default()
    }

    /// The requests of the last minute for one route, and those that were answered with 5xx. It has to be counted.
    pub fn tries(&self, key: RouteKey) -> Tries {
        self.routes.get(&key).map(Minute::tries).unwrap_or_default()
    }

    /// The attempts of the last minute at one endpoint, and those that failed by its fault.
    pub fn attempts(&self, pods: PodSetId, endpoint: &EndpointIdentity) -> Tries {
        let Some(recent) = self.endpoints.get(&(pods, endpoint.clone())) else {
            return Tries::default();
        };
        let before = recent.readings.front().copied().unwrap_or_default();
        let all = recent.now.requests.saturating_sub(before.requests);
        let failed = recent.now.failures.saturating_sub(before.failures);
        recent.streak.tries(all, failed)
    }

    /// What passed over all of them, and without any.
    pub fn all(&self) -> TrafficView {
        self.all.view()
    }

    /// Replies a second by class, over the last ten seconds.
    #[expect(clippy::cast_precision_loss, reason = "rates are for people")]
    pub fn class_rates(&self) -> [f64; 5] {
        let (Some(first), Some(last)) = (self.classes.front(), self.classes.back()) else {
            return [0.0; 5];
        };
        let seconds = (self.classes.len() - 1).max(1) as f64;
        std::array::from_fn(|place| last[place].saturating_sub(first[place]) as f64 / seconds)
    }

    /// Routes with traffic in the last minute, busiest first, up to a limit.
    pub fn busy(&self, most: usize) -> Vec<(RouteKey, TrafficView)> {
        let busy = self.routes.iter().filter(|(_, minute)| !minute.is_quiet());
        let mut busy: Vec<_> = busy.map(|(key, minute)| (*key, minute)).collect();
        busy.sort_by_key(|(_, minute)| std::cmp::Reverse(minute.seconds.iter().sum::<u64>()));
        busy.truncate(most);
        busy.into_iter().map(|(key, minute)| (key, minute.view())).collect()
    }

    /// Requests a second to one endpoint.
    #[expect(clippy::cast_precision_loss, reason = "rates are for people")]
    pub fn endpoint_rate(&self, pods: PodSetId, endpoint: &EndpointIdentity) -> f64 {
        let recent = self.endpoints.get(&(pods, endpoint.clone()));
        recent.map_or(0.0, |recent| {
            recent.seconds.iter().sum::<u64>() as f64 / recent.seconds.len().max(1) as f64
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_in_a_row_have_a_beginning_until_something_succeeds() {
        let (mut minute, mut totals) = (Minute::default(), Totals::default());
        let mut second = |ok: u64, failed: u64| {
            totals.codes[0][1] += ok;
            totals.codes[1][4] += failed;
            minute.take(totals, false);
            minute.tries()
        };
        assert_eq!(second(3, 1).failing, None, "not all of them failed");
        assert_eq!(second(0, 2).failing, None, "two may be an accident");
        let (since, _) = second(0, 1).failing.unwrap();
        assert_eq!(second(0, 0).failing.unwrap().0, since, "silence says nothing");
        let tries = second(0, 1);
        assert_eq!((tries.all, tries.failed), (8, 5));
        let (again, until) = tries.failing.unwrap();
        assert!(again == since && until > since);
        assert_eq!(second(1, 0).failing, None);
    }

    #[test]
    fn requests_under_way_and_abandoned_ones_are_known_apart() {
        let (mut minute, mut totals) = (Minute::default(), Totals::default());
        totals.in_flight = 2;
        minute.take(totals, true);
        let tries = minute.tries();
        assert_eq!((tries.all, tries.abandoned, tries.under_way), (0, 0, 2));
        (totals.in_flight, totals.abandoned) = (1, 1);
        minute.take(totals, false);
        let tries = minute.tries();
        assert_eq!((tries.all, tries.abandoned, tries.under_way), (0, 1, 1));
        for second in 0..=2 * SECONDS as u64 {
            minute.take(totals, second.is_multiple_of(COARSE));
        }
        assert_eq!(minute.tries().abandoned, 0, "that was not in the last minute");
    }

    #[test]
    fn only_an_answer_ends_a_series_of_failed_attempts() {
        let traffic = Arc::new(EndpointTraffic::default());
        let mut recent = Recent::default();
        traffic.requests.add_many(3);
        traffic.in_flight.set(3);
        recent.take(Attempts::of(std::slice::from_ref(&traffic)), true);
        assert!(recent.streak.time.is_none());
        // A 5xx is a failure when its head comes, while its body is still under way.
        traffic.failed("connection refused");
        recent.take(Attempts::of(std::slice::from_ref(&traffic)), false);
        assert!(recent.streak.time.is_some());
        traffic.in_flight.set(2);
        recent.take(Attempts::of(std::slice::from_ref(&traffic)), false);
        assert!(recent.streak.time.is_some(), "its body has ended");
        traffic.in_flight.set(1);
        recent.take(Attempts::of(std::slice::from_ref(&traffic)), false);
        assert!(recent.streak.time.is_some(), "the client of another has left");
        traffic.good.add();
        recent.take(Attempts::of(std::slice::from_ref(&traffic)), false);
        assert!(recent.streak.time.is_none(), "one has succeeded");
        assert_eq!(&*traffic.last_failure().unwrap().what, "connection refused");
    }

    #[test]
    fn a_minute_is_remembered_and_no_more() {
        let mut minute = Minute::default();
        let mut totals = Totals::default();
        for second in 0..200_u64 {
            totals.codes[0][1] += 5;
            // All that failed did so in the beginning.
            totals.codes[0][4] += u64::from(second < 30);
            minute.take(totals, second % COARSE == 0);
            if second == 29 {
                assert!((minute.view().error_share - 30.0 / 180.0).abs() < 0.02);
            }
        }
        let view = minute.view();
        assert_eq!(view.spark, vec![5; 60]);
        assert!((view.rate - 5.0).abs() < f64::EPSILON);
        assert!(view.error_share.abs() < f64::EPSILON);
        assert_eq!(view.requests, 1030);
        for second in 0..60 {
            minute.take(totals, second % COARSE == 0);
        }
        assert!(minute.is_quiet());
    }
}
