//! One endpoint as a shard sees it: connections, load, health.

use super::clock::{Clock, Tick};
use super::h2::H2Pool;
use super::health::Health;
use super::pool::{Pool, PoolSettings};
use crate::table::{Check, Endpoint, Terms};
use crate::telemetry::traffic::EndpointTraffic;
use bytes::Bytes;
use http_body::Body;
use smallvec::SmallVec;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use twox_hash::XxHash3_64;

/// The share of its share that a pod gets at least while it starts slowly.
const LEAST_WARMTH: f32 = 0.1;

/// Connections to an endpoint that were opened on the same terms.
pub struct Connections<B> {
    /// The terms.
    pub terms: Arc<Terms>,
    /// Idle HTTP/1.1 connections.
    pub pool: Pool<B>,
    /// HTTP/2 connections.
    pub h2: H2Pool<B>,
    /// Set when the endpoint left, or nobody connects on these terms any more: then none of them is kept.
    pub closed: Cell<bool>,
}

impl<B> Connections<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn new(terms: &Arc<Terms>) -> Rc<Self> {
        Rc::new(Self {
            terms: terms.clone(),
            pool: Pool::default(),
            h2: H2Pool::default(),
            closed: Cell::new(false),
        })
    }

    /// Keeps none from now on. Those in use close when their last request is done.
    fn close(&self) {
        self.closed.set(true);
        self.pool.clear();
        self.h2.clear();
    }
}

/// An active check, and whether the endpoint passes it.
type Checked = (Arc<Check>, Arc<AtomicBool>);

/// The live state of one endpoint on one shard. Outlives tables: it is found again by pod and address.
pub struct LiveEndpoint<B> {
    /// Where it is and whose.
    pub endpoint: Endpoint,
    /// A number that is the same on all replicas of narthex and after a restart, and another's for another pod.
    pub id: u64,
    /// Its connections, by the terms they were opened on; mostly all have the same.
    connections: RefCell<SmallVec<[Rc<Connections<B>>; 1]>>,
    /// Requests under way.
    pub in_flight: Cell<u32>,
    /// What its answers have shown.
    pub health: Health,
    /// Whether the hints of its slice prefer it for this node.
    pub near: Cell<bool>,
    /// What each active check says.
    checked: RefCell<SmallVec<[Checked; 1]>>,
    /// When it joined a backend that was there already.
    joined: Option<Tick>,
}

impl<B> LiveEndpoint<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// A new endpoint, in good health. `joined` is now, if it joins others.
    pub fn new(endpoint: Endpoint, traffic: Arc<EndpointTraffic>, joined: Option<Tick>) -> Self {
        Self {
            id: stable_id(&endpoint),
            near: Cell::new(endpoint.near),
            endpoint,
            connections: RefCell::default(),
            in_flight: Cell::new(0),
            health: Health::new(traffic),
            checked: RefCell::default(),
            joined,
        }
    }

    /// Its connections on these terms.
    pub(super) fn connections(&self, terms: &Arc<Terms>) -> Rc<Connections<B>> {
        let mut all = self.connections.borrow_mut();
        let known = all.iter().find(|known| Arc::ptr_eq(&known.terms, terms));
        if let Some(known) = known.or_else(|| all.iter().find(|known| known.terms == *terms)) {
            return known.clone();
        }
        let new = Connections::new(terms);
        all.push(new.clone());
        new
    }

    /// Closes connections on terms that do not hold any more.
    pub(super) fn hold_to(&self, terms: &[Arc<Terms>]) {
        self.connections.borrow_mut().retain(|known| {
            let holds = terms.contains(&known.terms);
            if !holds {
                known.close();
            }
            holds
        });
    }

    /// It left: none of its connections is kept.
    pub(super) fn leave(&self) {
        self.hold_to(&[]);
        self.health.traffic.kept.set(0);
    }

    /// Closes connections that nobody uses.
    pub(super) fn close_idle(&self) {
        for known in self.connections.borrow().iter() {
            known.pool.clear();
            known.h2.close_idle();
        }
    }

    /// Closes connections that have been idle too long.
    pub(super) fn sweep(&self, clock: &Clock, settings: &PoolSettings) {
        let mut kept = 0;
        for known in self.connections.borrow().iter() {
            known.pool.sweep(clock, settings);
            known.h2.sweep();
            kept += known.pool.count() + known.h2.count();
        }
        self.health.traffic.kept.set(kept as u64);
    }

    /// Follows what is checked, and where that is written down.
    pub(super) fn follow_checks(&self, checks: impl Iterator<Item = (Arc<Check>, Arc<AtomicBool>)>) {
        self.checked.replace(checks.collect());
    }
}

impl<B> LiveEndpoint<B> {
    /// Whether it may get requests as far as its health is known, by its answers and by this check.
    pub fn is_well(&self, clock: &Clock, check: Option<&Arc<Check>>) -> bool {
        !self.health.is_set_aside(clock) && check.is_none_or(|check| self.passes(check))
    }

    /// By the last settings, where a request that began with others asks.
    fn passes(&self, check: &Arc<Check>) -> bool {
        let checked = self.checked.borrow();
        let said = |(_, well): &(_, Arc<AtomicBool>)| well.load(Ordering::Relaxed);
        let same = checked.iter().find(|(known, _)| known == check);
        same.map_or_else(|| checked.iter().all(said), said)
    }

    /// Whether it takes a request now: always, but seldom in the first `window` after it joined.
    pub fn is_warm(&self, clock: &Clock, window: Duration) -> bool {
        let Some(joined) = self.joined else { return true };
        let age = clock.since(joined);
        age >= window || fastrand::f32() < (age.as_secs_f32() / window.as_secs_f32()).max(LEAST_WARMTH)
    }
}

/// By pod where there is one, so that it is the same wherever a slice lists it.
pub fn stable_id(endpoint: &Endpoint) -> u64 {
    let pod = endpoint.uid.as_deref().or(endpoint.pod.as_deref()).unwrap_or_default();
    XxHash3_64::oneshot(format!("{pod}@{}", endpoint.address).as_bytes())
}
