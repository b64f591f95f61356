//! The live side of backends on one shard: endpoints' state, balance, health, connections.
//!
//! What must survive a swap of tables lives here, found again by identity. Nothing here is shared with another shard
//! but what `common` names.

mod balance;
pub mod clock;
mod common;
pub mod endpoint;
pub mod frames;
pub mod h2;
pub mod health;
mod lost;
pub mod pool;
pub mod proxy_protocol;
mod stream;
pub mod tls;

pub use balance::Affinity;
pub use clock::{Clock, TICK, Tick};
pub use common::{Common, Commons, Limit, Place};
pub use endpoint::{LiveEndpoint, stable_id};
pub use pool::{Connection, PoolSettings, Sockets};
pub use stream::Stream;

use crate::table::{Backend, BackendId, Balance, Table};
use balance::Choice;
use bytes::Bytes;
use foldhash::HashMap;
use health::Why;
use http_body::Body;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

/// Failures in a row after which an endpoint is set aside, where nothing else is said (Envoy: 5).
const EJECT_AFTER: u32 = 5;
/// The share of a backend's endpoints that may be set aside for what they answer, in percent. Those that cannot be
/// reached do not count, for nothing is lost by not asking them.
const EJECT_SHARE: u32 = 50;
/// Where not even so many of a hundred endpoints are well, it is more likely that the way of telling is wrong: then all
/// are used (Envoy: "panic threshold").
const PANIC_PERCENT: usize = 10;
/// Seconds an endpoint must be slower than the others, whatever the factor: of a millisecond three are no sign.
const LEAST_GAP: f32 = 0.01;
/// What one request adds to the budget of retries: they may be 20 % of the requests.
const BUDGET_SHARE: f32 = 0.2;
/// What the budget is at first, enough until a failing endpoint is set aside, and at most.
const BUDGET_FIRST: f32 = 5.0;
const BUDGET_MOST: f32 = 100.0;

/// One backend's live state on one shard.
pub struct Upstream<B> {
    seen: RefCell<Arc<Backend>>,
    endpoints: RefCell<Vec<Rc<LiveEndpoint<B>>>>,
    in_flight: Cell<u32>,
    common: Arc<Common>,
    limit: RefCell<Option<Arc<Limit>>>,
    by_hints: Cell<bool>,
    panics: Cell<bool>,
    budget: Cell<f32>,
}

/// A request's hold on an endpoint: counted in its load until dropped.
pub struct Lease<B> {
    upstream: Rc<Upstream<B>>,
    /// The endpoint.
    pub endpoint: Rc<LiveEndpoint<B>>,
}

impl<B> Drop for Lease<B> {
    fn drop(&mut self) {
        let (upstream, endpoint) = (&self.upstream.in_flight, &self.endpoint.in_flight);
        upstream.set(upstream.get().saturating_sub(1));
        endpoint.set(endpoint.get().saturating_sub(1));
        self.endpoint.health.traffic.in_flight.set(endpoint.get().into());
    }
}

impl<B> Upstream<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn new(backend: &Arc<Backend>, common: Arc<Common>) -> Self {
        let upstream = Self {
            seen: RefCell::new(backend.clone()),
            endpoints: RefCell::default(),
            in_flight: Cell::new(0),
            common,
            limit: RefCell::default(),
            by_hints: Cell::new(false),
            panics: Cell::new(false),
            budget: Cell::new(BUDGET_FIRST),
        };
        upstream.take_in(backend, None, true);
        upstream
    }

    /// Follows the table: new endpoints come, gone ones lose their connections, the others keep all they have.
    fn refresh(&self, backend: &Arc<Backend>, clock: &Clock) {
        if !Arc::ptr_eq(&self.seen.borrow(), backend) {
            let before = self.seen.replace(backend.clone());
            // Whoever was trusted before may not be now.
            self.take_in(backend, Some(clock.now()), before.tls == backend.tls);
        }
    }

    /// `joined` is when endpoints that are new join those that are there. `same_trust` says that connections which are
    /// open already may be used.
    fn take_in(&self, backend: &Backend, joined: Option<Tick>, same_trust: bool) {
        let settings = &backend.settings;
        self.limit.replace(self.common.limit(settings));
        let mut endpoints = self.endpoints.borrow_mut();
        let joined = joined.filter(|_| same_trust && !endpoints.is_empty());
        let known = endpoints.drain(..).map(|live| (live.endpoint.identity(), live));
        let mut old: HashMap<_, _> = known.collect();
        for wanted in backend.endpoints.iter() {
            let kept = same_trust.then(|| old.remove(&wanted.identity())).flatten();
            let live = kept.unwrap_or_else(|| {
                let traffic = self.common.count(&wanted.identity());
                Rc::new(LiveEndpoint::new(wanted.clone(), backend.tls.clone(), traffic, joined))
            });
            live.near.set(wanted.near);
            let checks = settings.is_checked();
            live.checked
                .replace(checks.then(|| self.common.checked(&wanted.identity())));
            endpoints.push(live);
        }
        self.by_hints
            .set(backend.endpoints.iter().any(|endpoint| !endpoint.near));
        for live in old.into_values() {
            live.gone.set(true);
            live.pool.clear();
            live.h2.clear();
            live.health.traffic.kept.set(0);
        }
    }

    /// The limit of requests under way, where there is one.
    pub fn limit(&self) -> Option<Arc<Limit>> {
        self.limit.borrow().clone()
    }

    /// Chooses an endpoint that was not tried yet.
    pub fn pick(self: &Rc<Self>, tried: &[Rc<LiveEndpoint<B>>], affinity: Affinity, clock: &Clock) -> Option<Lease<B>> {
        let endpoints = self.endpoints.borrow();
        let choice = Choice {
            endpoints: &endpoints,
            tried,
            settings: &self.seen.borrow().settings,
            clock,
            affinity,
            in_flight: self.in_flight.get(),
            rotation: &self.common.rotation,
            panics: self.panics.get(),
            by_hints: self.by_hints.get(),
        };
        let chosen = choice.make()?;
        chosen.health.picked(clock);
        chosen.in_flight.set(chosen.in_flight.get() + 1);
        chosen.health.traffic.requests.add();
        chosen.health.traffic.in_flight.set(chosen.in_flight.get().into());
        self.in_flight.set(self.in_flight.get() + 1);
        Some(Lease {
            upstream: self.clone(),
            endpoint: chosen.clone(),
        })
    }

    /// A request adds to the budget of retries.
    pub fn earn_retries(&self) {
        self.budget.set((self.budget.get() + BUDGET_SHARE).min(BUDGET_MOST));
    }

    /// Whether too few endpoints are well to believe it.
    fn look_for_panic(&self, clock: &Clock) {
        let endpoints = self.endpoints.borrow();
        let well = endpoints.iter().filter(|live| live.is_well(clock)).count();
        self.panics.set(well * 100 < endpoints.len() * PANIC_PERCENT);
    }
}

impl<B> Lease<B> {
    /// The endpoint failed: set aside after several in a row, unless too many are already. Whether it is now.
    pub fn failed(&self, clock: &Clock) -> bool {
        let limit = self.upstream.seen.borrow().settings.eject_after;
        self.endpoint.health.bad(clock, limit.unwrap_or(EJECT_AFTER)) && self.eject(clock, Why::Failing)
    }

    /// The endpoint could not be reached.
    pub fn unreachable(&self, clock: &Clock) {
        self.endpoint.health.unreachable(clock);
    }

    /// Whether another attempt fits in the budget, which it then uses.
    pub fn may_retry(&self) -> bool {
        let budget = &self.upstream.budget;
        let left = budget.get() - 1.0;
        if left >= 0.0 {
            budget.set(left);
        }
        left >= 0.0
    }

    /// Whether times are asked for.
    pub fn is_timed(&self) -> bool {
        let seen = self.upstream.seen.borrow();
        seen.settings.balance == Some(Balance::Ewma) || seen.settings.eject_slower.is_some()
    }

    /// A response head came after so many seconds. Whether the endpoint was found too slow and set aside.
    pub fn measured(&self, clock: &Clock, seconds: f32) -> bool {
        let health = &self.endpoint.health;
        health.measure(clock, seconds);
        let Some(slower) = self.upstream.seen.borrow().settings.eject_slower else {
            return false;
        };
        let (Some(latency), true) = (health.latency(), health.is_settled()) else {
            return false;
        };
        let endpoints = self.upstream.endpoints.borrow();
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
        let share = self.upstream.seen.borrow().settings.eject_share.unwrap_or(EJECT_SHARE);
        let endpoints = self.upstream.endpoints.borrow();
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

/// A slot of the table, with the backend that has it.
type Slot<B> = Option<(BackendId, Rc<Upstream<B>>)>;

/// All backends' live state on one shard, by slot.
pub struct Upstreams<B> {
    by_slot: RefCell<Vec<Slot<B>>>,
    commons: Arc<Commons>,
}

impl<B> Upstreams<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Nothing yet; `commons` is shared by all shards.
    pub fn new(commons: Arc<Commons>) -> Self {
        Self {
            by_slot: RefCell::default(),
            commons,
        }
    }

    /// The live state of a backend, as the table now has it; none if the table has it no more.
    pub fn get(&self, table: &Table, id: BackendId, clock: &Clock) -> Option<Rc<Upstream<B>>> {
        let backend = table.backend(id)?;
        let slot = id.slot as usize;
        if let Some(Some((known, upstream))) = self.by_slot.borrow().get(slot)
            && *known == id
        {
            upstream.refresh(backend, clock);
            return Some(upstream.clone());
        }
        let mut by_slot = self.by_slot.borrow_mut();
        if by_slot.len() <= slot {
            by_slot.resize_with(slot + 1, || None);
        }
        let upstream = Rc::new(Upstream::new(backend, self.commons.of(id)));
        if let Some(place) = by_slot.get_mut(slot) {
            // One that stood here is another backend's, gone since; its connections go with it.
            if let Some((_, old)) = place.replace((id, upstream.clone())) {
                old.replace_endpoints_with_none();
            }
        }
        Some(upstream)
    }

    /// Follows a new table: connections to endpoints that are gone are closed at once, used or not.
    pub fn follow(&self, table: &Table, clock: &Clock) {
        for place in self.by_slot.borrow_mut().iter_mut() {
            let Some((id, upstream)) = place else { continue };
            match table.backend(*id) {
                Some(backend) => upstream.refresh(backend, clock),
                None => {
                    upstream.replace_endpoints_with_none();
                    *place = None;
                }
            }
        }
    }

    /// Closes connections that nobody uses.
    pub fn close_idle(&self) {
        for (_, upstream) in self.by_slot.borrow().iter().flatten() {
            for live in upstream.endpoints.borrow().iter() {
                live.pool.clear();
                live.h2.close_idle();
            }
        }
    }

    /// Closes connections that have been idle too long.
    pub fn sweep(&self, clock: &Clock, settings: &PoolSettings) {
        for (_, upstream) in self.by_slot.borrow().iter().flatten() {
            upstream.look_for_panic(clock);
            for live in upstream.endpoints.borrow().iter() {
                live.pool.sweep(clock, settings);
                live.h2.sweep();
                live.health
                    .traffic
                    .kept
                    .set((live.pool.count() + live.h2.count()) as u64);
            }
        }
    }
}

impl<B> Upstream<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn replace_endpoints_with_none(&self) {
        for live in self.endpoints.take() {
            live.gone.set(true);
            live.pool.clear();
            live.h2.clear();
        }
    }
}
