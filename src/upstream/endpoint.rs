//! One endpoint as a shard sees it: connections, load, health.

use super::clock::{Clock, Tick};
use super::h2::H2Pool;
use super::health::Health;
use super::pool::Pool;
use crate::table::{BackendTls, Endpoint};
use crate::telemetry::traffic::EndpointTraffic;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use twox_hash::XxHash3_64;

/// The share of its share that a pod gets at least while it starts slowly.
const LEAST_WARMTH: f32 = 0.1;

/// The live state of one endpoint on one shard. Outlives tables: it is found again by pod and address.
pub struct LiveEndpoint<B> {
    /// Where it is and whose.
    pub endpoint: Endpoint,
    /// The TLS that is spoken to it, where any is; for another there is another endpoint. So whoever connects goes by
    /// what holds for its pools, however old the table is that the request began with.
    pub tls: Option<Arc<BackendTls>>,
    /// A number that is the same on all replicas of narthex and after a restart, and another's for another pod.
    pub id: u64,
    /// Its idle HTTP/1.1 connections.
    pub pool: Pool<B>,
    /// Its HTTP/2 connections.
    pub h2: H2Pool<B>,
    /// Requests under way.
    pub in_flight: Cell<u32>,
    /// Set when the endpoint left the backend: its connections are not kept any more.
    pub gone: Cell<bool>,
    /// What its answers have shown.
    pub health: Health,
    /// Whether the hints of its slice prefer it for this node.
    pub near: Cell<bool>,
    /// What active checks say; none where there are none.
    pub checked: RefCell<Option<Arc<AtomicBool>>>,
    /// When it joined a backend that was there already.
    joined: Option<Tick>,
}

impl<B> LiveEndpoint<B> {
    /// A new endpoint, in good health. `joined` is now, if it joins others.
    pub fn new(
        endpoint: Endpoint,
        tls: Option<Arc<BackendTls>>,
        traffic: Arc<EndpointTraffic>,
        joined: Option<Tick>,
    ) -> Self {
        Self {
            id: stable_id(&endpoint),
            near: Cell::new(endpoint.near),
            endpoint,
            tls,
            pool: Pool::default(),
            h2: H2Pool::default(),
            in_flight: Cell::new(0),
            gone: Cell::new(false),
            health: Health::new(traffic),
            checked: RefCell::default(),
            joined,
        }
    }

    /// Whether it may get requests as far as its health is known.
    pub fn is_well(&self, clock: &Clock) -> bool {
        !self.health.is_set_aside(clock)
            && self
                .checked
                .borrow()
                .as_ref()
                .is_none_or(|well| well.load(Ordering::Relaxed))
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
