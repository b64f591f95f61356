//! Probes, metrics and questions on the admin address. Read-only, and on the control task's runtime: it
//! answers while the data plane is busy.

pub mod gate;
pub mod probe;
pub mod view;

use crate::control::{Shared, lock};
use crate::serve::Server;
use crate::serve::handover::Intake;
use crate::source::Phase;
use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use socket2::SockRef;
use std::convert::Infallible;
use std::fmt::Write;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Connections to the admin address at once.
const MAX_CONNECTIONS: usize = 256;
/// How long a request head may take, and a connection be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer may stay unread.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);
/// After so long without a sign of the control task, `/healthz` fails.
const MAX_SILENCE: Duration = Duration::from_secs(30);

/// What the admin side answers from.
pub struct Admin {
    /// The control task's side.
    pub shared: Arc<Shared>,
    /// The shards.
    pub server: Arc<Mutex<Server>>,
    /// Which of several narthexes answers.
    pub identity: Identity,
    /// Who may ask what.
    pub gate: gate::Gate,
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

const POD: HeaderName = HeaderName::from_static("narthex-pod");
const STARTED: HeaderName = HeaderName::from_static("narthex-started");

type Reply = Response<Full<Bytes>>;

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
            // Much of a large cluster may be asked for; the other tasks go on meanwhile.
            tokio::task::block_in_place(|| admin.identity.mark(admin.answer(request)))
        }));
    }
}

/// One connection, to its end.
async fn converse<S>(stream: S, permit: OwnedSemaphorePermit, answer: impl Fn(&Request<Incoming>) -> Reply)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(|request| std::future::ready(Ok::<_, Infallible>(answer(&request))));
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
    let mut reply = Response::new(Full::new(Bytes::from(body)));
    *reply.status_mut() = status;
    let fields = reply.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    gate::secure(fields);
    reply
}

fn text(status: StatusCode, body: impl Into<String>) -> Reply {
    reply(status, "text/plain; charset=utf-8", body.into())
}

fn json(status: StatusCode, body: &impl serde::Serialize) -> Reply {
    match serde_json::to_string_pretty(body) {
        Ok(body) => reply(status, "application/json", body + "\n"),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

impl Admin {
    fn answer(&self, request: &Request<Incoming>) -> Reply {
        if let Err(refusal) = self.gate.check(request) {
            let mut refused = text(refusal.status(), format!("{refusal}\n"));
            if refusal.status() == StatusCode::UNAUTHORIZED {
                let scheme = HeaderValue::from_static("Bearer");
                refused.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
            }
            return refused;
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut refused = text(
                StatusCode::METHOD_NOT_ALLOWED,
                "the admin address only answers questions: GET\n",
            );
            refused
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        match request.uri().path() {
            "/healthz" => self.health(),
            "/readyz" => self.readiness(),
            "/ping" => self.ping(),
            "/metrics" => reply(
                StatusCode::OK,
                "text/plain; version=0.0.4; charset=utf-8",
                self.metrics(),
            ),
            "/api/v1/version" => json(
                StatusCode::OK,
                &json!({
                    "name": "narthex", "version": env!("CARGO_PKG_VERSION"),
                    "pod": self.identity.pod, "started": self.identity.started.to_string(),
                }),
            ),
            "/api/v1/overview" => self.overview(),
            "/api/v1/explain" => self.explain(request.uri().query().unwrap_or_default()),
            "/api/v1/diagnostics" => {
                let report = self.shared.report.load();
                let problems: Vec<view::Problem> = report.iter().map(view::Problem::from).collect();
                json(StatusCode::OK, &problems)
            }
            "/" => text(
                StatusCode::OK,
                "narthex\n\n/healthz /readyz /metrics\n/api/v1/version /api/v1/overview /api/v1/diagnostics\n\
                 /api/v1/explain?url=http://HOST/PATH&method=GET&header=Name:value\n",
            ),
            _ => text(StatusCode::NOT_FOUND, "404 page not found\n"),
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

    fn overview(&self) -> Reply {
        let table = self.shared.tables.load();
        let report = self.shared.report.load();
        let counts = self
            .shared
            .counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let objects: serde_json::Map<String, serde_json::Value> = counts
            .iter()
            .map(|(kind, count)| (kind.plural().to_owned(), json!(count)))
            .collect();
        json(
            StatusCode::OK,
            &json!({
                "ready": self.shared.is_ready(),
                "generation": table.generation,
                "swaps": self.shared.swaps.load(Ordering::Relaxed),
                "routes": table.routes().count(),
                "backends": table.backends().count(),
                "objects": objects,
                "problems": report.iter().count(),
                "uptime_seconds": self.shared.started.elapsed().as_secs(),
                "connections_by_shard": lock(&self.server).connections_by_shard(),
            }),
        )
    }

    fn explain(&self, query: &str) -> Reply {
        let mut question = view::Question::default();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = unescape(value);
            match name {
                "url" => question.url = value,
                "method" => question.method = value,
                "header" => {
                    if let Some((name, value)) = value.split_once(':') {
                        question.headers.push((name.trim().to_owned(), value.trim().to_owned()));
                    }
                }
                _ => {}
            }
        }
        if question.url.is_empty() {
            return json(
                StatusCode::BAD_REQUEST,
                &json!({"error": "ask with ?url=http://HOST/PATH, and perhaps &method= and &header=Name:value"}),
            );
        }
        let table = self.shared.tables.load();
        match view::decide(&table, &self.shared.report.load(), &question) {
            Ok(decision) => json(StatusCode::OK, &decision),
            Err(error) => json(StatusCode::BAD_REQUEST, &json!({"error": error})),
        }
    }

    fn metrics(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.write_metrics(&mut out);
        out
    }

    fn write_metrics(&self, out: &mut String) -> std::fmt::Result {
        // The lock is the control task's too, so it is not held while text is written.
        let (shards, open) = {
            let server = lock(&self.server);
            (server.counters().to_vec(), server.open_connections())
        };
        if let Some(first) = shards.first() {
            for (name, _) in first.each() {
                writeln!(out, "# TYPE narthex_{name}_total counter")?;
                for (index, shard) in shards.iter().enumerate() {
                    let value = shard
                        .each()
                        .find(|(other, _)| *other == name)
                        .map_or(0, |(_, value)| value);
                    writeln!(out, "narthex_{name}_total{{shard=\"{index}\"}} {value}")?;
                }
            }
        }
        writeln!(out, "# TYPE narthex_open_connections gauge")?;
        writeln!(out, "narthex_open_connections {open}")?;
        writeln!(out, "# TYPE narthex_table_swaps_total counter")?;
        writeln!(
            out,
            "narthex_table_swaps_total {}",
            self.shared.swaps.load(Ordering::Relaxed)
        )?;
        writeln!(out, "# TYPE narthex_ready gauge")?;
        writeln!(out, "narthex_ready {}", u8::from(self.shared.is_ready()))?;
        writeln!(
            out,
            "# HELP narthex_watch_staleness_seconds Since the last event or bookmark of a watch."
        )?;
        writeln!(out, "# TYPE narthex_watch_staleness_seconds gauge")?;
        for (name, watch) in self.shared.watches.snapshot() {
            if let Some(at) = watch.last_event {
                let name = name.replace(['\\', '"', '\n'], "_");
                let seconds = at.elapsed().as_secs_f64();
                writeln!(out, "narthex_watch_staleness_seconds{{watch=\"{name}\"}} {seconds:.3}")?;
            }
        }
        Ok(())
    }
}

/// Undoes percent-encoding and `+` of a query's value.
fn unescape(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => out.push(b' '),
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
