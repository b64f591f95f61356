//! What a request holds from its routing to its end: what is asked of the pods, and their live state.

use super::balance::{Affinity, Choice};
use super::clock::Clock;
use super::endpoint::{Connections, LiveEndpoint};
use super::health::Why;
use super::limit::{Limit, QUEUE_TIMEOUT};
use super::pod_limit::{PodLimit, PodPlace};
use super::{BUDGET_MOST, BUDGET_SHARE, Upstream};
use crate::table::{Backend, BackendState, Balance, Table};
use bytes::Bytes;
use http_body::Body;
use std::cell::Cell;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Failures in a row after which an endpoint is set aside, where nothing else is said (Envoy: 5).
const EJECT_AFTER: u32 = 5;
/// The share of a backend's endpoints that may be set aside for what they answer, in percent. Those that cannot be
/// reached do not count, for nothing is lost by not asking them.
const EJECT_SHARE: u32 = 50;
/// If fewer than this percentage of endpoints are healthy, the health information is probably wrong: then all
/// are used (Envoy: "panic threshold").
const PANIC_PERCENT: usize = 10;
/// Seconds an endpoint must be slower than the others, whatever the factor: of a millisecond three are no sign.
const LEAST_GAP: f32 = 0.01;

/// A backend as a request was routed to it. What is asked of the pods stays as it was then; the pods are those of now.
pub struct Target<B> {
    /// What is asked of them.
    pub backend: Arc<Backend>,
    upstream: Rc<Upstream<B>>,
    /// Whether too few endpoints are well to believe it.
    panics: Cell<bool>,
    /// How many requests each pod may have, where that is limited.
    room: Option<Box<PodLimit>>,
}

/// What came of choosing an endpoint.
pub enum Picked<B> {
    /// An endpoint.
    Lease(Lease<B>),
    /// None that was not tried yet, for the pods are so.
    Nobody(BackendState),
    /// None, for each has as many requests as it may have; see [`Target::room`].
    Full,
    /// The pods are nobody's any more, or are not to be connected to on these terms.
    Gone,
}

/// A request's hold on an endpoint: counted in its load until dropped.
pub struct Lease<B> {
    target: Rc<Target<B>>,
    /// The endpoint.
    pub endpoint: Rc<LiveEndpoint<B>>,
    /// Its connections on the request's terms.
    pub connections: Rc<Connections<B>>,
    /// Whether the request tries an endpoint that was set aside.
    pub probes: bool,
    /// Its place at the pod, where those are limited.
    #[expect(dead_code, reason = "it is given back when it is dropped")]
    place: Option<Box<PodPlace>>,
}

impl<B> Drop for Lease<B> {
    fn drop(&mut self) {
        let (upstream, endpoint) = (&self.target.upstream.in_flight, &self.endpoint.in_flight);
        upstream.set(upstream.get().saturating_sub(1));
        endpoint.set(endpoint.get().saturating_sub(1));
        self.endpoint.health.traffic.in_flight.set(endpoint.get().into());
    }
}

impl<B> Target<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    pub(super) fn new(backend: &Arc<Backend>, upstream: Rc<Upstream<B>>) -> Self {
        let counts = || upstream.common.pod_counts(backend.counts_by_pod_for());
        let most = backend.settings.max_in_flight_per_pod;
        Self {
            backend: backend.clone(),
            room: most.map(|most| Box::new(PodLimit::new(most, counts()))),
            upstream,
            panics: Cell::new(false),
        }
    }

    /// The limit of requests under way, where there is one.
    pub fn limit(&self) -> Option<Arc<Limit>> {
        self.backend.settings.max_in_flight?;
        let limits = self.upstream.limits.borrow();
        let counts_for = self.backend.counts_for();
        let ours = limits.iter().find(|(by, _)| by.as_ref() == counts_for);
        ours.map(|(_, limit)| limit.clone())
    }

    /// How many may wait for the limit, and how long each.
    pub fn queue(&self) -> (u32, Duration) {
        let settings = &self.backend.settings;
        let (pending, patience) = (settings.max_pending, settings.queue_timeout);
        (pending.unwrap_or(0), patience.unwrap_or(QUEUE_TIMEOUT))
    }

    /// Chooses an endpoint from those that the live table has.
    pub fn pick(
        self: &Rc<Self>,
        table: &Table,
        tried: &[Rc<LiveEndpoint<B>>],
        affinity: Affinity,
        clock: &Clock,
    ) -> Picked<B> {
        let upstream = &self.upstream;
        let Some(set) = table.pods(upstream.id()) else {
            return Picked::Gone;
        };
        upstream.refresh(set, clock);
        let terms = &self.backend.terms;
        if !set.terms.iter().any(|known| Arc::ptr_eq(known, terms)) && !set.terms.contains(terms) {
            return Picked::Gone;
        }
        let endpoints = upstream.endpoints.borrow();
        let choice = Choice {
            endpoints: &endpoints,
            tried,
            settings: &self.backend.settings,
            check: self.backend.check.as_ref(),
            clock,
            affinity,
            in_flight: upstream.in_flight.get(),
            rotation: &upstream.common.rotation,
            panics: self.panics.get(),
            by_hints: upstream.by_hints.get(),
            room: self.room.as_deref(),
        };
        let (chosen, place) = loop {
            let Some(chosen) = choice.make() else {
                return if choice.is_full() {
                    Picked::Full
                } else {
                    Picked::Nobody(set.state)
                };
            };
            let Some(room) = choice.room else { break (chosen, None) };
            // Another shard may have taken the last place meanwhile: then this pod is full.
            if let Some(place) = room.take(chosen) {
                break (chosen, Some(place));
            }
        };
        let probes = chosen.health.picked(clock);
        chosen.in_flight.set(chosen.in_flight.get() + 1);
        chosen.health.traffic.requests.add();
        chosen.health.traffic.in_flight.set(chosen.in_flight.get().into());
        upstream.in_flight.set(upstream.in_flight.get() + 1);
        Picked::Lease(Lease {
            target: self.clone(),
            endpoint: chosen.clone(),
            connections: chosen.connections(terms),
            probes,
            place,
        })
    }

    /// Whether requests wait for a pod with room: those that come now wait behind them.
    pub fn is_awaited(&self) -> bool {
        self.room.as_ref().is_some_and(|limit| limit.counts.is_awaited())
    }

    /// Chooses once more, as soon as and whenever a pod may have room, for as long as a request may wait for its turn. Requests
    /// take turns in the order in which they came, but for another try: it may be for some pods only, and would hold up others.
    pub async fn room(&self, is_first_try: bool, mut again: impl FnMut() -> Picked<B>) -> Picked<B> {
        let Some(limit) = &self.room else { return again() };
        let until = tokio::time::Instant::now() + self.queue().1;
        let mut turn = None;
        if is_first_try {
            match tokio::time::timeout_at(until, limit.counts.turn()).await {
                Ok(mine) => turn = Some(mine),
                Err(_) => return Picked::Full,
            }
        }
        loop {
            let mut freed = pin!(limit.counts.freed());
            // Before one looks: a place that is given back meanwhile would be missed.
            freed.as_mut().enable();
            match again() {
                Picked::Full => {}
                picked => {
                    drop(turn);
                    return picked;
                }
            }
            if tokio::time::timeout_at(until, freed).await.is_err() {
                return Picked::Full;
            }
        }
    }

    /// A request adds to the budget of retries.
    pub fn earn_retries(&self) {
        let budget = &self.upstream.budget;
        budget.set((budget.get() + BUDGET_SHARE).min(BUDGET_MOST));
    }

    /// Whether too few endpoints are well to believe it.
    pub(super) fn look_for_panic(&self, clock: &Clock) {
        let (endpoints, check) = (self.upstream.endpoints.borrow(), self.backend.check.as_ref());
        let well = endpoints.iter().filter(|live| live.is_well(clock, check)).count();
        self.panics.set(well * 100 < endpoints.len() * PANIC_PERCENT);
    }
}

impl<B> Lease<B> {
    /// The endpoint failed: set aside after several in a row, unless too many are already. Whether it is now.
    pub fn failed(&self, clock: &Clock, what: impl Into<Box<str>>) -> bool {
        let limit = self.target.backend.settings.eject_after.unwrap_or(EJECT_AFTER);
        self.endpoint.health.bad(clock, limit, what) && self.eject(clock, Why::Failing)
    }

    /// The endpoint could not be reached.
    pub fn unreachable(&self, clock: &Clock, cause: &io::Error) {
        // The system's own words have its number of the error behind them.
        let what = match cause.raw_os_error() {
            Some(_) => cause.kind().to_string(),
            None => cause.to_string(),
        };
        self.endpoint.health.unreachable(clock, what);
    }

    /// Whether another attempt fits in the budget, which it then uses.
    pub fn may_retry(&self) -> bool {
        let budget = &self.target.upstream.budget;
        let left = budget.get() - 1.0;
        if left >= 0.0 {
            budget.set(left);
        }
        left >= 0.0
    }

    /// Whether times are asked for.
    pub fn is_timed(&self) -> bool {
        let settings = &self.target.backend.settings;
        settings.balance == Some(Balance::Ewma) || settings.eject_slower.is_some()
    }

    /// Notes that a response head took this many seconds. Returns whether the endpoint was ejected as too slow.
    pub fn measured(&self, clock: &Clock, seconds: f32) -> bool {
        let health = &self.endpoint.health;
        health.measure(clock, seconds);
        let Some(slower) = self.target.backend.settings.eject_slower else {
            return false;
        };
        let (Some(latency), true) = (health.latency(), health.is_settled()) else {
            return false;
        };
        let endpoints = self.target.upstream.endpoints.borrow();
        let others = endpoints.iter().filter(|live| !Rc::ptr_eq(live, &self.endpoint));
        let (mut sum, mut count) = (0.0, 0.0);
        for known in others.filter_map(|live| live.health.latency()) {
            sum += known;
            count += 1.0;
        }
        drop(endpoints);
        #[expect(clippy::cast_precision_loss, reason = "a factor is small")]
        let slow = count > 0.0 && latency > sum / count * slower as f32 && latency > sum / count + LEAST_GAP;
        slow && !health.is_set_aside(clock) && self.eject(clock, Why::Slow)
    }

    /// Sets the endpoint aside if not too many are: one that was set aside before and is tried again still is.
    fn eject(&self, clock: &Clock, why: Why) -> bool {
        let share = self.target.backend.settings.eject_share.unwrap_or(EJECT_SHARE);
        let endpoints = self.target.upstream.endpoints.borrow();
        let aside = endpoints
            .iter()
            .filter(|live| !Rc::ptr_eq(live, &self.endpoint) && live.health.is_set_aside(clock))
            .count();
        let room = (aside + 1) * 100 <= endpoints.len() * share as usize;
        if room {
            self.endpoint.health.set_aside(clock, why);
        }
        room
    }
}
