//! Probes, metrics and questions on the admin address. Read-only, and on the control task's runtime: it
//! answers while the data plane is busy.

mod api;
mod cluster;
pub mod gate;
mod metrics;
mod pages;
pub mod probe;
pub mod sampler;
mod traefik;
pub mod view;

pub use api::openapi_text as openapi;
pub use api::{EndpointInfo, Overview, Page, RouteInfo, SORTS, Status};
pub use metrics::Labelled;

use crate::control::{Shared, lock};
use crate::model::RouteKey;
use crate::peers::{POD, STARTED};
use crate::serve::Server;
use crate::serve::handover::Intake;
use crate::source::Phase;
use crate::source::directory::Places;
use bytes::Bytes;
use gate::{Gate, Refusal};
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sampler::Sampler;
use serde_json::json;
use socket2::SockRef;
use std::collections::HashSet;
use std::convert::Infallible;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use twox_hash::XxHash3_64;

/// Connections to the admin address at once.
const MAX_CONNECTIONS: usize = 256;
/// How long a request head may take, and a connection be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer may stay unread.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);
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
    questions: Semaphore,
    sampler: Mutex<Sampler>,
    subscribers: Arc<Semaphore>,
    last_tick: Mutex<Option<(Instant, Arc<str>)>>,
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
            questions: Semaphore::new(cluster::MOST_QUESTIONS),
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

type Reply = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// Answers on the admin address until the process ends.
pub async fn run(listener: std::net::TcpListener, admin: Arc<Admin>, mut intake: watch::Receiver<Intake>) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "the admin address cannot be served");
            return;
        }
    };
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else {
            return;
        };
        if intake.wait_for(|intake| *intake == Intake::Open).await.is_err() {
            return;
        }
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = intake.changed() => continue,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "the admin address cannot accept for a moment");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        // A reader that does not read is the kernel's to cut off.
        let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(WRITE_TIMEOUT));
        let admin = admin.clone();
        tokio::spawn(converse(stream, permit, move |request| {
            let admin = admin.clone();
            async move {
                let reply = admin.answer(&request).await;
                admin.identity.mark(unless_known(&request, reply))
            }
        }));
    }
}

/// One connection, to its end.
async fn converse<S, F>(stream: S, permit: OwnedSemaphorePermit, answer: impl Fn(Request<()>) -> F)
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = Reply>,
{
    let service = service_fn(|request: Request<Incoming>| {
        let answering = answer(request.map(drop));
        async { Ok::<_, Infallible>(answering.await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(64 << 10)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "an admin connection broke off");
    }
    drop(permit);
}

fn reply(status: StatusCode, kind: &'static str, body: String) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from(body)).boxed_unsync());
    *reply.status_mut() = status;
    let fields = reply.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// Says what is wrong with a question: in JSON where all is JSON, as text elsewhere.
fn complain(path: &str, status: StatusCode, said: impl std::fmt::Display) -> Reply {
    if path.starts_with("/api/v1/") {
        return as_json(status, &json!({"error": said.to_string()}));
    }
    text(status, format!("{said}\n"))
}

fn not_found(path: &str) -> Reply {
    complain(path, StatusCode::NOT_FOUND, "404 page not found")
}

fn refused(path: &str, refusal: Refusal) -> Reply {
    let mut reply = complain(path, refusal.status(), refusal);
    if refusal == Refusal::NoToken {
        let scheme = HeaderValue::from_static("Bearer");
        reply.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
    }
    reply
}

fn text(status: StatusCode, body: impl Into<String>) -> Reply {
    reply(status, "text/plain; charset=utf-8", body.into())
}

fn as_json(status: StatusCode, body: &impl serde::Serialize) -> Reply {
    json_reply(status, serde_json::to_string_pretty(body))
}

fn json_reply(status: StatusCode, body: serde_json::Result<String>) -> Reply {
    let text = match body {
        Ok(text) => text + "\n",
        Err(error) => return text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    };
    let tag = format!("\"{:016x}\"", XxHash3_64::oneshot(text.as_bytes()));
    let mut reply = reply(status, "application/json", text);
    let fields = reply.headers_mut();
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if status == StatusCode::OK
        && let Ok(tag) = HeaderValue::try_from(tag)
    {
        fields.insert(header::ETAG, tag);
    }
    reply
}

/// An answer, or 304 to whoever has it already (RFC 9110, section 13.1.2).
fn unless_known(request: &Request<()>, reply: Reply) -> Reply {
    let known = request.headers().get_all(header::IF_NONE_MATCH);
    let mut tags = known
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let is_known = |tag: &HeaderValue| {
        tags.any(|known| {
            let known = known.trim_ascii();
            known.strip_prefix(b"W/").unwrap_or(known) == tag.as_bytes()
        })
    };
    let tag = reply.headers().get(header::ETAG);
    if !tag.is_some_and(is_known) {
        return reply;
    }
    let (mut parts, _) = reply.into_parts();
    parts.status = StatusCode::NOT_MODIFIED;
    parts.headers.remove(header::CONTENT_TYPE);
    Response::from_parts(parts, Full::default().boxed_unsync())
}

impl Admin {
    async fn answer(self: &Arc<Self>, request: &Request<()>) -> Reply {
        let path = request.uri().path();
        let mut reply = match self.gate.check(request) {
            Err(refusal) => refused(path, refusal),
            Ok(()) if request.method() != Method::GET && request.method() != Method::HEAD => {
                let said = "the admin address only answers questions: GET";
                let mut refused = complain(path, StatusCode::METHOD_NOT_ALLOWED, said);
                let allowed = HeaderValue::from_static("GET, HEAD");
                refused.headers_mut().insert(header::ALLOW, allowed);
                refused
            }
            Ok(()) if cluster::is_for_all(request) => self.answer_for_all(request).await,
            // Much of a large cluster may be asked for; the other tasks go on meanwhile.
            Ok(()) => tokio::task::block_in_place(|| self.answer_question(request)),
        };
        gate::secure(reply.headers_mut());
        reply
    }

    fn answer_question(self: &Arc<Self>, request: &Request<()>) -> Reply {
        match request.uri().path() {
            "/healthz" => self.health(),
            "/readyz" => self.readiness(),
            "/ping" => self.ping(),
            "/metrics" => self.metrics(request.headers()),
            "/api/v1/stream" => api::stream(self),
            path => path
                .strip_prefix("/api/v1/")
                .and_then(|below| self.answer_api(below, request.uri().query().unwrap_or_default()))
                .or_else(|| pages::answer(path, request.headers()))
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

    fn explain(&self, query: &api::Query) -> Reply {
        let mut question = view::Question {
            url: query.get("url").unwrap_or_default().to_owned(),
            method: query.get("method").unwrap_or_default().to_owned(),
            headers: Vec::new(),
        };
        for header in query.all("header") {
            if let Some((name, value)) = header.split_once(':') {
                question.headers.push((name.trim().to_owned(), value.trim().to_owned()));
            }
        }
        if question.url.is_empty() {
            return as_json(
                StatusCode::BAD_REQUEST,
                &json!({"error": "ask with ?url=http://HOST/PATH, and perhaps &method= and &header=Name:value"}),
            );
        }
        let table = self.shared.tables.load();
        match view::decide(&table, &self.shared.report.load(), &question) {
            Ok(decision) => as_json(StatusCode::OK, &decision),
            Err(error) => as_json(StatusCode::BAD_REQUEST, &json!({"error": error})),
        }
    }

    /// What was counted.
    fn metrics(&self, fields: &http::HeaderMap) -> Reply {
        let openmetrics = metrics::wants_openmetrics(fields);
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
