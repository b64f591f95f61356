//! What all requests of one shard share.

use super::body::ClientBody;
use super::headers::template;
use super::trust::TrustedProxies;
use crate::policy::compress::Memory;
use crate::table::Table;
use crate::upstream::{Clock, Commons, PoolSettings, Upstreams};
use arc_swap::{ArcSwap, Cache};
use http::{HeaderMap, HeaderValue};
use std::cell::RefCell;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Limits and choices of the request's road. Every default is in `config.rs`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Connections to pods.
    pub pool: PoolSettings,
    /// How long a pod may take to begin its answer, counted from the last byte of the request.
    pub response_timeout: Duration,
    /// How long a response may stand still.
    pub stream_timeout: Duration,
    /// How many endpoints are tried.
    pub attempts: usize,
    /// `--encoded-slash=reject`.
    pub reject_encoded_slash: bool,
    /// `--server-header`.
    pub server_header: Option<HeaderValue>,
    /// The port of `--listen-https`: where plain requests are sent, if their route says so. None where there is none.
    pub https_port: Option<u16>,
    /// `--trusted-proxies`.
    pub trusted_proxies: TrustedProxies,
    /// Requests under way in the process.
    pub max_in_flight: u64,
    /// What the encoders of replies may take, over all shards.
    pub compression_memory: Arc<Memory>,
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What happened on one shard. Only that shard writes; the admin side reads and adds up.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub struct Counters {
            /// Requests under way.
            pub in_flight: Counter,
            $($(#[$doc])* pub $name: Counter,)*
        }

        impl Counters {
            /// Every counter with its name.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name.get()),)*].into_iter()
            }
        }
    };
}

/// A number with one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more. Not atomic as a whole, for there is one writer, and so costs no lock.
    pub fn add(&self) {
        self.0
            .store(self.0.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// Another number, likewise.
    pub fn set(&self, number: u64) {
        self.0.store(number, Ordering::Relaxed);
    }

    /// As of now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

counters! {
    /// Client connections accepted.
    connections,
    /// Of these, those that speak HTTP/2.
    connections_h2,
    /// TLS handshakes done.
    handshakes,
    /// TLS handshakes that failed, were refused or took too long.
    handshake_failures,
    /// Connections closed because their PROXY header was missing, malformed or late, or who sent it is not trusted.
    proxy_protocol_failures,
    /// Requests with a complete head.
    requests,
    /// Responses 2xx.
    responses_2xx,
    /// Responses 3xx.
    responses_3xx,
    /// Responses 4xx.
    responses_4xx,
    /// Responses 5xx.
    responses_5xx,
    /// Connections to pods opened.
    upstream_connects,
    /// Connects to pods that failed.
    upstream_connect_failures,
    /// Requests sent again.
    retries,
    /// Endpoints set aside for what they answered.
    ejections,
    /// Requests that went round in circles.
    loops,
    /// Requests the strict filter refused.
    refused_by_filter,
    /// Requests hyper refused though the filter let them pass: should stay 0.
    refused_by_hyper,
    /// Replies compressed.
    compressions,
    /// Replies not compressed for want of memory: see --compression-memory.
    compressions_refused,
    /// Requests that ended in a panic.
    panics,
    /// Connections closed because a head, a body or the reading of a reply took too long.
    timeouts,
}

impl Counters {
    /// Counts a response by its class.
    pub fn response(&self, status: http::StatusCode) {
        match status.as_u16() / 100 {
            2 => self.responses_2xx.add(),
            3 => self.responses_3xx.add(),
            4 => self.responses_4xx.add(),
            5 => self.responses_5xx.add(),
            _ => {}
        }
    }
}

/// One shard's road.
pub struct Worker {
    /// The shard's clock.
    pub clock: Clock,
    /// The live side of backends.
    pub upstreams: Upstreams<ClientBody>,
    /// Limits and choices.
    pub settings: Arc<Settings>,
    /// What happened.
    pub counters: Arc<Counters>,
    /// What happened on all shards, this one among them.
    all: Arc<[Arc<Counters>]>,
    /// What requests to pods are made from: see [`template`].
    pub template: HeaderMap,
    tables: RefCell<Cache<Arc<ArcSwap<Table>>, Arc<Table>>>,
    current: RefCell<Rc<Held>>,
}

impl Worker {
    /// A shard's road over the tables in `tables`.
    pub fn new(
        tables: Arc<ArcSwap<Table>>,
        settings: Arc<Settings>,
        counters: Arc<Counters>,
        all: Arc<[Arc<Counters>]>,
        commons: Arc<Commons>,
    ) -> Self {
        let mut cache = Cache::new(tables);
        let current = Rc::new(Held(cache.load().clone()));
        Self {
            clock: Clock::default(),
            upstreams: Upstreams::new(commons),
            settings,
            counters,
            all,
            template: template(),
            tables: RefCell::new(cache),
            current: RefCell::new(current),
        }
    }

    /// Whether more requests are under way in the process than `--max-in-flight` allows. A shard that has no more than
    /// its share need not look at the others: if they have more than theirs, it is they who refuse.
    pub fn is_overloaded(&self) -> bool {
        let (mine, most) = (self.counters.in_flight.get(), self.settings.max_in_flight);
        if mine.saturating_mul(self.all.len() as u64) <= most {
            return false;
        }
        let all: u64 = self.all.iter().map(|shard| shard.in_flight.get()).sum();
        all > most
    }

    /// The live table. Cloning the `Rc` touches no memory of another shard.
    pub fn table(&self) -> Rc<Held> {
        let mut tables = self.tables.borrow_mut();
        let live = tables.load();
        let mut current = self.current.borrow_mut();
        if !Arc::ptr_eq(live, &current.0) {
            *current = Rc::new(Held(live.clone()));
        }
        current.clone()
    }
}

/// A table as a shard holds it: one count of the process-wide `Arc` for all its requests.
pub struct Held(Arc<Table>);

impl Deref for Held {
    type Target = Table;

    fn deref(&self) -> &Table {
        &self.0
    }
}
