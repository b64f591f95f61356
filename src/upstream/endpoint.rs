//! One endpoint as a shard sees it: connections, load, health.

use super::clock::{Clock, Tick};
use super::h2::H2Pool;
use super::pool::Pool;
use crate::table::Endpoint;
use std::cell::Cell;
use std::time::Duration;

/// The first time an unreachable endpoint is set aside for; doubles with each further failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// How often that doubles: 32 s.
const MAX_DOUBLINGS: u32 = 5;

/// The live state of one endpoint on one shard. Outlives tables: it is found again by pod and address.
pub struct LiveEndpoint<B> {
    /// Where it is and whose.
    pub endpoint: Endpoint,
    /// Its idle HTTP/1.1 connections.
    pub pool: Pool<B>,
    /// Its HTTP/2 connections.
    pub h2: H2Pool<B>,
    /// Requests under way.
    pub in_flight: Cell<u32>,
    /// Set when the endpoint left the backend: its connections are not kept any more.
    pub gone: Cell<bool>,
    failures: Cell<u32>,
    failed_at: Cell<Option<Tick>>,
    probing: Cell<bool>,
}

impl<B> LiveEndpoint<B> {
    /// A new endpoint, in good health.
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            pool: Pool::default(),
            h2: H2Pool::default(),
            in_flight: Cell::new(0),
            gone: Cell::new(false),
            failures: Cell::new(0),
            failed_at: Cell::new(None),
            probing: Cell::new(false),
        }
    }

    /// It could not be reached: it is set aside, twice as long each time. Failures of requests that were under way
    /// when that began say nothing new.
    pub fn failed(&self, clock: &Clock) {
        if self.probing.take() || !self.set_aside(clock) {
            self.failures.set(self.failures.get().saturating_add(1));
            self.failed_at.set(Some(clock.now()));
        }
    }

    /// It was picked. After a pause one request tries it again, and the others pass it over until that one knows.
    pub fn picked(&self, clock: &Clock) {
        if self.failed_at.get().is_some() && !self.set_aside(clock) {
            self.probing.set(true);
            self.failed_at.set(Some(clock.now()));
        }
    }

    /// It was reached.
    pub fn reached(&self) {
        self.failures.set(0);
        self.failed_at.set(None);
        self.probing.set(false);
    }

    /// Whether it is set aside at present.
    pub fn set_aside(&self, clock: &Clock) -> bool {
        self.failed_at.get().is_some_and(|then| {
            let doublings = self.failures.get().saturating_sub(1).min(MAX_DOUBLINGS);
            !clock.passed(then, FIRST_PAUSE * (1 << doublings))
        })
    }
}
