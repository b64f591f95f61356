//! What all requests of one shard share.

use super::body::{ClientBody, Upload};
use super::error::ProxyError;
use super::mirrors::Copies;
use super::passwords::Passwords;
use super::timeouts::Timeouts;
use super::trail::Dictionary;
use super::trust::TrustedProxies;
use crate::message::Buffers;
use crate::model::RouteKey;
use crate::policy::answers::Answers;
use crate::policy::compress::Memory;
use crate::policy::digests::Digests;
use crate::policy::rate::Buckets;
use crate::policy::tokens::Tokens;
use crate::policy::under_way::UnderWay;
use crate::table::decide::Rules;
use crate::table::{After, KnownHosts, Route, Table};
use crate::telemetry::Counter;
use crate::telemetry::access::{AccessLog, ShardLog};
use crate::telemetry::tap::Tap;
use crate::telemetry::traces::Tracer;
use crate::telemetry::traffic::{ShardTraffic, Traffic};
use crate::upstream::{Clock, Commons, PoolSettings, Upstreams};
use arc_swap::{ArcSwap, Cache};
use foldhash::HashMap;
use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Requests under way on a shard while memory is short. Not none: what is short may not come back by itself.
const FEW: u64 = 8;

/// Limits and choices of the request's road. Every default is in `config.rs`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Connections to pods.
    pub pool: PoolSettings,
    /// How long clients and pods may take.
    pub timeouts: Timeouts,
    /// How many endpoints are tried.
    pub attempts: usize,
    /// `--encoded-slash=reject`.
    pub reject_encoded_slash: bool,
    /// Done to every pod's reply, behind what its route does.
    pub after: Box<[After]>,
    /// The port of `--listen-https`: where plain requests are sent, if their route says so. None where there is none.
    pub https_port: Option<u16>,
    /// `--trusted-proxies`.
    pub trusted_proxies: TrustedProxies,
    /// Requests under way in the process.
    pub max_in_flight: u64,
    /// Whether the process is near the end of its memory: then a shard takes only a few requests at a time.
    pub short_of_memory: Arc<AtomicBool>,
    /// What the encoders of replies may take, over all shards.
    pub compression_memory: Arc<Memory>,
    /// `--count-routes`.
    pub count_routes: bool,
    /// What clients have asked for lately, over all shards.
    pub buckets: Arc<Buckets>,
    /// How many requests of each client are under way, over all shards.
    pub under_way: Arc<UnderWay>,
    /// The passwords of clients, of all shards.
    pub passwords: Arc<Passwords>,
    /// The nonces of digests, of all shards.
    pub digests: Arc<Digests>,
    /// What services that say who may come in have answered lately, over all shards.
    pub answers: Arc<Answers>,
    /// The tokens of clients, likewise.
    pub tokens: Arc<Tokens>,
    /// Where requests are logged, if they are.
    pub access_log: Option<Arc<AccessLog>>,
    /// Which requests are traced, if any are.
    pub tracer: Option<Tracer>,
    /// The watchers of requests (`narthex tap`).
    pub tap: Arc<Tap>,
}

impl Settings {
    /// Those that decide what becomes of a request.
    pub fn rules(&self) -> Rules {
        Rules {
            https_port: self.https_port,
            reject_encoded_slash: self.reject_encoded_slash,
        }
    }
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
            /// By route, and the last failures.
            pub traffic: ShardTraffic,
            /// Replies by status, from 100 on.
            pub codes: Codes,
        }

        impl Counters {
            /// Every counter with its name.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name.get()),)*].into_iter()
            }
        }
    };
}

/// Replies by status, from 100 on.
#[derive(Debug)]
pub struct Codes(Box<[Counter; 500]>);

impl Default for Codes {
    fn default() -> Self {
        Self(Box::new(std::array::from_fn(|_| Counter::default())))
    }
}

impl Codes {
    /// Every status that was answered, with how often.
    pub fn each(&self) -> impl Iterator<Item = (u16, u64)> {
        let each = (100..).zip(self.0.iter()).map(|(code, count)| (code, count.get()));
        each.filter(|(_, count)| *count > 0)
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
    /// Connections reset because they came to an address of a Gateway, on a port that the Gateway does not listen on.
    strays,
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
    /// Requests whose bytes are not HTTP/1.1.
    refused_by_filter,
    /// Requests that the HTTP library refused though narthex had read them: should stay 0.
    refused_by_hyper,
    /// Replies compressed.
    compressions,
    /// Replies not compressed for want of memory: see --compression-memory.
    compressions_refused,
    /// Passwords that were right and are forgotten because there were too many of them.
    passwords_forgotten,
    /// Answers of services that say who may come in, forgotten because there were too many of them.
    answers_forgotten,
    /// Verified tokens that were forgotten for others.
    tokens_forgotten,
    /// Nonces of digests that were forgotten for others.
    nonces_forgotten,
    /// Clients whose rate was forgotten because there were too many of them.
    rates_forgotten,
    /// HTTP/2 connections closed because their client sent too many resets, questions or idle frames.
    floods,
    /// Requests over HTTP/2 ended because they held memory while their client, or their pod, stood still.
    stuck_ended,
    /// Idle and slow connections closed to make room for others: see --max-connections.
    let_go,
    /// Requests that ended in a panic.
    panics,
    /// Connections closed because a head, a body or the reading of a reply took too long.
    timeouts,
    /// Copies of requests that a mirror has answered.
    mirrors,
    /// Copies of requests that are lost, for want of room or of an answer.
    mirrors_lost,
    /// Lines of the access log that are lost, since more came than could be written.
    access_log_dropped,
    /// Requests whose spans are lost, since they could not be exported.
    spans_dropped,
}

impl Counters {
    /// Counts a request that failed.
    pub fn failed(&self, error: ProxyError) {
        let verdict = error.verdict();
        self.traffic.failed(verdict.label, verdict.side.name());
    }

    /// Counts a response by its class.
    pub fn response(&self, status: http::StatusCode) {
        if let Some(code) = self.codes.0.get(usize::from(status.as_u16()).wrapping_sub(100)) {
            code.add();
        }
        match status.as_u16() / 100 {
            2 => self.responses_2xx.add(),
            3 => self.responses_3xx.add(),
            4 => self.responses_4xx.add(),
            5 => self.responses_5xx.add(),
            _ => {}
        }
    }
}

impl KnownTraffic {
    fn renew(&mut self, epoch: u64) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.last = None;
            self.by_key.clear();
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
    /// Memory for messages.
    pub buffers: Rc<Buffers>,
    /// What the copies of requests hold.
    pub copies: Copies,
    /// What is shared by all requests without a body.
    pub no_upload: Rc<Upload>,
    /// What happened.
    pub counters: Arc<Counters>,
    /// What happened on all shards, this one among them.
    all: Arc<[Arc<Counters>]>,
    tables: RefCell<Cache<Arc<ArcSwap<Table>>, Arc<Table>>>,
    current: RefCell<Rc<Held>>,
    traffic: RefCell<KnownTraffic>,
    /// Hosts that requests have asked for lately.
    pub known_hosts: KnownHosts,
    /// Rules in words, for logs and traces.
    pub words: RefCell<Dictionary>,
    /// The access log, where there is one.
    pub access_log: Option<ShardLog>,
    /// Requests over HTTP/2 whose replies wait for their client to open its window, when last counted.
    pub waiting_for_clients: Cell<u64>,
}

/// Where the numbers of routes are, as far as this shard has met them.
#[derive(Default)]
struct KnownTraffic {
    /// Those of the last request, since the next one is mostly for the same route.
    last: Option<(RouteKey, Arc<Traffic>)>,
    by_key: HashMap<RouteKey, Arc<Traffic>>,
    epoch: u64,
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
            buffers: Rc::default(),
            copies: Copies::default(),
            no_upload: Rc::new(Upload::empty()),
            access_log: settings.access_log.clone().map(ShardLog::new),
            settings,
            counters,
            all,
            tables: RefCell::new(cache),
            current: RefCell::new(current),
            traffic: RefCell::default(),
            known_hosts: KnownHosts::default(),
            words: RefCell::default(),
            waiting_for_clients: Cell::new(0),
        }
    }

    /// Whether more requests are under way in the process than `--max-in-flight` allows. A shard that has no more than
    /// its share need not look at the others: if they have more than theirs, it is they who refuse.
    pub fn is_overloaded(&self) -> bool {
        let (mine, most) = (self.counters.in_flight.get(), self.settings.max_in_flight);
        // Newcomers do not suffer for requests that wait for clients that do not take their replies.
        if mine.saturating_sub(self.waiting_for_clients.get()) > FEW && self.is_short_of_memory() {
            return true;
        }
        if mine.saturating_mul(self.all.len() as u64) <= most {
            return false;
        }
        let all: u64 = self.all.iter().map(|shard| shard.in_flight.get()).sum();
        all > most
    }

    /// Whether the process is near the end of its memory.
    pub fn is_short_of_memory(&self) -> bool {
        self.settings.short_of_memory.load(Ordering::Relaxed)
    }

    /// Where requests of a route are counted.
    pub fn traffic(&self, route: &Route) -> Arc<Traffic> {
        let mut known = self.traffic.borrow_mut();
        if let Some((key, traffic)) = &known.last
            && *key == route.key
        {
            return traffic.clone();
        }
        let traffic = match known.by_key.get(&route.key) {
            Some(traffic) => traffic.clone(),
            None => {
                let (traffic, epoch) = self.counters.traffic.of(route.key);
                known.renew(epoch);
                known.by_key.insert(route.key, traffic.clone());
                traffic
            }
        };
        known.last = Some((route.key, traffic.clone()));
        traffic
    }

    /// Requests of all shards so far.
    pub fn requests(&self) -> u64 {
        self.all.iter().map(|shard| shard.requests.get()).sum()
    }

    /// Hands over lines of the access log, and forgets the numbers of routes that are gone; called every tick.
    pub fn tidy(&self) {
        if let Some(log) = &self.access_log {
            self.counters.access_log_dropped.add_many(log.tick());
        }
        if let Some(tracer) = &self.settings.tracer {
            self.counters.spans_dropped.add_many(tracer.take_lost());
        }
        self.traffic.borrow_mut().renew(self.counters.traffic.epoch());
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
