//! The live side of backends on one shard: endpoints' state, balance, health, connections.
//!
//! What must survive a change lives in an [`Upstream`], which belongs to a pod set: it stays the same whoever leads there
//! and whatever is asked of the pods. What is asked of them is in a [`Target`], which a request holds from its routing to
//! its end. Nothing here is shared with another shard but what `common` names.

mod balance;
pub mod clock;
mod common;
pub mod endpoint;
pub mod frames;
pub mod h2;
pub mod health;
pub mod http1;
mod limit;
pub mod lost;
mod pod_limit;
pub mod pool;
pub mod proxy_protocol;
#[cfg(test)]
pub mod simulated;
mod stream;
mod target;
pub mod tls;

pub use balance::Affinity;
pub use clock::{Clock, TICK, Tick};
pub use common::{Common, Commons};
pub use endpoint::{LiveEndpoint, stable_id};
pub use limit::{Limit, RequestPermit};
pub use pool::{Connection, PoolSettings, Sockets};
pub use stream::Stream;
pub use target::{Lease, Picked, Target};

use crate::table::{Backend, PodSet, PodSetId, Table};
use bytes::Bytes;
use foldhash::HashMap;
use http_body::Body;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

/// What one request adds to the budget of retries: they may be 20 % of the requests.
const BUDGET_SHARE: f32 = 0.2;
/// What the budget is at first, enough until a failing endpoint is set aside, and at most.
const BUDGET_FIRST: f32 = 5.0;
const BUDGET_MOST: f32 = 100.0;

/// What limits the requests under way, with the count of them.
type KnownLimit = (Option<Arc<str>>, Arc<Limit>);

/// One pod set's live state on one shard.
pub struct Upstream<B> {
    seen: RefCell<Arc<PodSet>>,
    endpoints: RefCell<Vec<Rc<LiveEndpoint<B>>>>,
    in_flight: Cell<u32>,
    common: Arc<Common>,
    limits: RefCell<Vec<KnownLimit>>,
    by_hints: Cell<bool>,
    budget: Cell<f32>,
}

impl<B> Upstream<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn new(set: &Arc<PodSet>, common: Arc<Common>) -> Self {
        let upstream = Self {
            seen: RefCell::new(set.clone()),
            endpoints: RefCell::default(),
            in_flight: Cell::new(0),
            common,
            limits: RefCell::default(),
            by_hints: Cell::new(false),
            budget: Cell::new(BUDGET_FIRST),
        };
        upstream.take_in(set, None);
        upstream
    }

    /// Which pod set it is of.
    fn id(&self) -> PodSetId {
        self.seen.borrow().id
    }

    /// Follows the table: new endpoints come, gone ones lose their connections, the others keep all they have.
    fn refresh(&self, set: &Arc<PodSet>, clock: &Clock) {
        if !Arc::ptr_eq(&self.seen.borrow(), set) {
            self.seen.replace(set.clone());
            self.take_in(set, Some(clock.now()));
        }
    }

    /// `joined` is when endpoints that are new join those that are there.
    fn take_in(&self, set: &PodSet, joined: Option<Tick>) {
        let limits = set.limits.iter();
        let limits = limits.map(|wanted| (wanted.by.clone(), self.common.limit(wanted)));
        self.limits.replace(limits.collect());
        let mut endpoints = self.endpoints.borrow_mut();
        let joined = joined.filter(|_| !endpoints.is_empty());
        let known = endpoints.drain(..).map(|live| (live.endpoint.identity(), live));
        let mut old: HashMap<_, _> = known.collect();
        for wanted in set.endpoints.iter() {
            let identity = wanted.identity();
            let live = old.remove(&identity).unwrap_or_else(|| {
                let traffic = self.common.count(&identity);
                Rc::new(LiveEndpoint::new(wanted.clone(), traffic, joined))
            });
            live.near.set(wanted.near);
            live.hold_to(&set.terms);
            let checks = set.checks.iter();
            live.follow_checks(checks.map(|check| (check.clone(), self.common.checked(&identity, check))));
            endpoints.push(live);
        }
        self.by_hints.set(set.endpoints.iter().any(|endpoint| !endpoint.near));
        for live in old.into_values() {
            live.leave();
        }
    }

    /// The pod set is gone.
    fn leave(&self) {
        for live in self.endpoints.take() {
            live.leave();
        }
    }
}

/// All live state on one shard.
pub struct Upstreams<B> {
    /// By the slot of a pod set.
    by_pods: RefCell<Vec<Option<Rc<Upstream<B>>>>>,
    /// By the slot of a backend: what requests that come now are routed to.
    targets: RefCell<Vec<Option<Rc<Target<B>>>>>,
    commons: Arc<Commons>,
}

/// Puts something in its slot.
fn put<T>(slots: &RefCell<Vec<Option<Rc<T>>>>, slot: u32, thing: Rc<T>) -> Option<Rc<T>> {
    let (mut slots, slot) = (slots.borrow_mut(), slot as usize);
    if slots.len() <= slot {
        slots.resize_with(slot + 1, || None);
    }
    slots.get_mut(slot)?.replace(thing)
}

impl<B> Upstreams<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Nothing yet; `commons` is shared by all shards.
    pub fn new(commons: Arc<Commons>) -> Self {
        Self {
            by_pods: RefCell::default(),
            targets: RefCell::default(),
            commons,
        }
    }

    /// What a request that is routed to a backend holds; absent where `live` has no such pod set. That is asked only where
    /// the backend is new.
    pub fn target(
        &self,
        live: impl FnOnce(PodSetId) -> Option<Arc<PodSet>>,
        backend: &Arc<Backend>,
        clock: &Clock,
    ) -> Option<Rc<Target<B>>> {
        let slot = backend.id.slot;
        if let Some(Some(target)) = self.targets.borrow().get(slot as usize)
            && Arc::ptr_eq(&target.backend, backend)
        {
            return Some(target.clone());
        }
        let upstream = self.upstream(&live(backend.pods?)?, clock);
        let target = Rc::new(Target::new(backend, upstream));
        target.look_for_panic(clock);
        put(&self.targets, slot, target.clone());
        Some(target)
    }

    /// The live state of a pod set.
    fn upstream(&self, set: &Arc<PodSet>, clock: &Clock) -> Rc<Upstream<B>> {
        let slot = set.id.slot;
        if let Some(Some(upstream)) = self.by_pods.borrow().get(slot as usize)
            && upstream.id() == set.id
        {
            upstream.refresh(set, clock);
            return upstream.clone();
        }
        let upstream = Rc::new(Upstream::new(set, self.commons.of(set.id)));
        // One that stood here was of another pod set, gone since; its connections go with it.
        if let Some(old) = put(&self.by_pods, slot, upstream.clone()) {
            old.leave();
        }
        upstream
    }

    /// Follows a new table: connections to endpoints that are gone are closed at once, used or not.
    pub fn follow(&self, table: &Table, clock: &Clock) {
        for place in self.targets.borrow_mut().iter_mut() {
            let stays = |target: &Rc<Target<B>>| {
                let backend = table.backend(target.backend.id);
                backend.is_some_and(|backend| Arc::ptr_eq(backend, &target.backend))
            };
            if !place.as_ref().is_some_and(stays) {
                *place = None;
            }
        }
        for place in self.by_pods.borrow_mut().iter_mut() {
            let Some(upstream) = place else { continue };
            match table.pods(upstream.id()) {
                Some(set) => upstream.refresh(set, clock),
                None => {
                    upstream.leave();
                    *place = None;
                }
            }
        }
    }

    /// Closes connections that nobody uses.
    pub fn close_idle(&self) {
        for upstream in self.by_pods.borrow().iter().flatten() {
            for live in upstream.endpoints.borrow().iter() {
                live.close_idle();
            }
        }
    }

    /// Closes connections that have been idle too long.
    pub fn sweep(&self, clock: &Clock, settings: &PoolSettings) {
        for target in self.targets.borrow().iter().flatten() {
            target.look_for_panic(clock);
        }
        for upstream in self.by_pods.borrow().iter().flatten() {
            for live in upstream.endpoints.borrow().iter() {
                live.sweep(clock, settings);
            }
        }
    }
}
