//! Probes, metrics and questions on the admin address. Read-only, and on the control task's runtime: it
//! answers while the data plane is busy.

mod api;
mod cluster;
mod connections;
mod explain;
pub mod gate;
mod metrics;
mod pages;
mod patient;
pub mod probe;
mod reply;
mod room;
pub mod sampler;
mod traefik;
pub mod view;

pub use api::openapi_text as openapi;
pub use api::{EndpointInfo, LeftOut, Overview, Page, RouteInfo, SORTS, Status};
pub use connections::run;
pub use metrics::Labelled;

use crate::control::{Shared, lock};
use crate::model::RouteKey;
use crate::peers::{POD, STARTED};
use crate::serve::Server;
use crate::source::Phase;
use crate::source::directory::Places;
use bytes::Bytes;
use connections::Connections;
use gate::Gate;
use http::header::{self, HeaderValue};
use http::{Method, Request, StatusCode};
use reply::{Reply, complain, not_found, refused, reply, text};
use room::{AnswerLimits, AsOf, Asked};
use sampler::Sampler;
use std::collections::HashSet;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Where the numbers are.
const METRICS: &str = "/metrics";
/// Where the problems are, which change with the report alone.
const DIAGNOSTICS: &str = "/api/v1/diagnostics";
/// Who may listen to the stream of events at once.
const MAX_SUBSCRIBERS: usize = 64;
/// How often routes that are gone are looked for, in seconds.
const FORGET: u64 = 30;
/// After so long without a sign of the control task, `/healthz` fails.
const MAX_SILENCE: Duration = Duration::from_secs(30);

/// What else there is.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// `--peers`.
    pub peers: Vec<Arc<str>>,
    /// The addresses by which this process is asked.
    pub own: Vec<SocketAddr>,
    /// Where objects are, if they are in files.
    pub places: Option<Places>,
    /// What is counted apart.
    pub metrics: Labelled,
}

/// What the admin side answers from.
pub struct Admin {
    /// The control task's side.
    pub shared: Arc<Shared>,
    /// The shards.
    pub server: Arc<Mutex<Server>>,
    /// Which of several narthexes answers.
    pub identity: Identity,
    /// Who may ask what.
    pub gate: Gate,
    /// The flags as they are in effect.
    pub config: serde_json::Value,
    around: Around,
    connections: Arc<Connections>,
    room: AnswerLimits,
    sampler: Mutex<Sampler>,
    subscribers: Arc<Semaphore>,
    last_tick: Mutex<Option<(Instant, Bytes)>>,
}

impl Admin {
    /// Over the two roads.
    pub fn new(
        shared: Arc<Shared>,
        server: Arc<Mutex<Server>>,
        identity: Identity,
        gate: Gate,
        config: serde_json::Value,
    ) -> Self {
        Self {
            shared,
            server,
            identity,
            gate,
            config,
            around: Around::default(),
            connections: Arc::default(),
            room: AnswerLimits::default(),
            sampler: Mutex::default(),
            subscribers: Arc::new(Semaphore::new(MAX_SUBSCRIBERS)),
            last_tick: Mutex::default(),
        }
    }

    /// With what else there is.
    #[must_use]
    pub fn with(self, around: Around) -> Self {
        Self { around, ..self }
    }

    fn sampler(&self) -> MutexGuard<'_, Sampler> {
        self.sampler.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads all numbers each second, and now and then forgets those of routes that are gone. Never ends.
pub async fn sample(admin: Arc<Admin>) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut known = 0;
    for second in 0_u64.. {
        seconds.tick().await;
        let (shards, commons) = {
            let server = lock(&admin.server);
            (server.counters().to_vec(), server.commons())
        };
        let table = admin.shared.tables.load_full();
        if second.is_multiple_of(FORGET) && table.generation != known {
            known = table.generation;
            let live: HashSet<RouteKey> = table.routes().map(|route| route.key).collect();
            for shard in &shards {
                shard.traffic.retain(|key| live.contains(&key));
            }
        }
        admin.sampler().tick(&shards, &commons);
    }
}

/// Which narthex it is: during an upgrade there are two on a node, and behind a Service many.
pub struct Identity {
    /// Its pod's name, or its host's.
    pub pod: String,
    /// When it began.
    pub started: jiff::Timestamp,
}

impl Identity {
    /// One that begins now, by the name a user gave or the host's.
    pub fn new(name: Option<&str>) -> Self {
        let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self {
            pod: name.map_or_else(host, str::to_owned),
            started: jiff::Timestamp::from_second(jiff::Timestamp::now().as_second()).unwrap_or_default(),
        }
    }

    fn mark(&self, mut reply: Reply) -> Reply {
        for (name, value) in [(POD, self.pod.clone()), (STARTED, self.started.to_string())] {
            if let Ok(value) = HeaderValue::try_from(value) {
                reply.headers_mut().insert(name, value);
            }
        }
        reply
    }
}

impl Admin {
    async fn answer(self: &Arc<Self>, request: &Request<()>, from: IpAddr) -> Reply {
        let path = request.uri().path();
        let mut reply = match self.gate.check(request, from) {
            Err(refusal) => refused(path, refusal),
            Ok(()) if request.method() != Method::GET && request.method() != Method::HEAD => {
                let said = "the admin address only answers questions: GET";
                let mut refused = complain(path, StatusCode::METHOD_NOT_ALLOWED, said);
                let allowed = HeaderValue::from_static("GET, HEAD");
                refused.headers_mut().insert(header::ALLOW, allowed);
                refused
            }
            Ok(()) => match self.answer_at_once(request) {
                Some(reply) => reply,
                None => self.answer_in_turn(request).await,
            },
        };
        gate::secure(reply.headers_mut());
        reply
    }

    /// Answers what does not wait for a turn: probes, what other narthexes ask each second, the dashboard's files, and the
    /// streams of events and of requests.
    fn answer_at_once(self: &Arc<Self>, request: &Request<()>) -> Option<Reply> {
        match request.uri().path() {
            "/api/v1/stream" if !cluster::is_for_all(request) => Some(api::stream(self)),
            gate::TAP => Some(api::tap(self, request.uri().query().unwrap_or_default())),
            "/api/v1/live" if !cluster::is_for_all(request) => Some(self.answer_question(request)),
            path => self
                .answer_probe(path)
                .or_else(|| pages::answer(path, request.headers())),
        }
    }

    /// The answer to a probe, absent for other questions.
    fn answer_probe(&self, path: &str) -> Option<Reply> {
        match path {
            "/healthz" => Some(self.health()),
            "/readyz" => Some(self.readiness()),
            "/ping" => Some(self.ping()),
            _ => None,
        }
    }

    /// Answers what may be long, when it is this question's turn.
    async fn answer_in_turn(self: &Arc<Self>, request: &Request<()>) -> Reply {
        let (path, fields) = (request.uri().path(), request.headers());
        // Metrics are the same whatever the query says, so all who ask share one answer.
        let target = match path {
            METRICS => METRICS,
            _ => request.uri().path_and_query().map_or("/", |target| target.as_str()),
        };
        let asked = match path {
            METRICS if metrics::wants_openmetrics(fields) => Asked::OpenMetrics,
            METRICS => Asked::Metrics,
            _ if cluster::is_for_all(request) => Asked::ForAll,
            _ => Asked::Question,
        };
        let as_of = || AsOf::now(&self.shared, path == DIAGNOSTICS && asked == Asked::Question);
        let make = async {
            match asked {
                Asked::ForAll => self.answer_for_all(request).await,
                // Much of a large cluster may be asked for; the other tasks go on meanwhile.
                _ => tokio::task::block_in_place(|| self.answer_question(request)),
            }
        };
        self.room.answer((asked, target), as_of, &self.connections, make).await
    }

    fn answer_question(&self, request: &Request<()>) -> Reply {
        match request.uri().path() {
            METRICS => self.metrics(metrics::wants_openmetrics(request.headers())),
            path => path
                .strip_prefix("/api/v1/")
                .and_then(|below| self.answer_api(below, request.uri().query().unwrap_or_default()))
                .or_else(|| self.answer_traefik(path))
                .unwrap_or_else(|| not_found(path)),
        }
    }

    /// Whether the process makes progress, with or without an API server.
    fn health(&self) -> Reply {
        let silence = self.shared.silence();
        if silence > MAX_SILENCE {
            let said = format!("the control task has stood still for {} s\n", silence.as_secs());
            return text(StatusCode::SERVICE_UNAVAILABLE, said);
        }
        text(StatusCode::OK, "ok\n")
    }

    /// Whether requests may be sent here; with the state of every watch.
    fn readiness(&self) -> Reply {
        let ready = self.shared.is_ready();
        let mut said = String::new();
        // Writing to a String cannot fail.
        let _ = if ready {
            writeln!(said, "ready")
        } else if self.shared.ending.load(Ordering::Acquire) {
            writeln!(said, "not ready: shutting down")
        } else {
            writeln!(
                said,
                "not ready: waiting for the first full list of every required watch"
            )
        };
        for (name, watch) in self.shared.watches.snapshot() {
            let need = if watch.required { "required" } else { "optional" };
            let state = match &watch.phase {
                Phase::Listing => "listing".to_owned(),
                Phase::Live => "live".to_owned(),
                Phase::Failing(why) => format!("failing: {why}"),
            };
            let seen = watch
                .last_event
                .map(|at| format!(", last heard of {} s ago", at.elapsed().as_secs()));
            let synced = if watch.synced { "synced" } else { "not synced" };
            let _ = writeln!(said, "{name} ({need}): {synced}, {state}{}", seen.unwrap_or_default());
        }
        let status = if ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        text(status, said)
    }

    /// As Traefik has it: 200 `OK`.
    fn ping(&self) -> Reply {
        if self.shared.ending.load(Ordering::Acquire) {
            text(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable")
        } else {
            text(StatusCode::OK, "OK")
        }
    }

    /// What was counted.
    fn metrics(&self, openmetrics: bool) -> Reply {
        let kind = if openmetrics {
            metrics::OPENMETRICS
        } else {
            metrics::TEXT
        };
        match metrics::text(self.snapshot(), openmetrics) {
            Ok(text) => reply(StatusCode::OK, kind, text),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }
}

/// Undoes percent-encoding and `+` of a query's value.
fn unescape(text: &str) -> String {
    unescape_path(&text.replace('+', " "))
}

/// Undoes percent-encoding.
fn unescape_path(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits =
                    [rest.next(), rest.next()].map(|digit| digit.and_then(|digit| char::from(digit).to_digit(16)));
                if let [Some(high), Some(low)] = digits {
                    out.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                }
            }
            other => out.push(other),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
