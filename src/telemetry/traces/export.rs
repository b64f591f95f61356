//! The thread that exports: requests become spans by OpenTelemetry's semantic conventions for HTTP, and spans go out in
//! batches. A collector that is slow or gone costs spans, which are counted, and nothing else.

use super::http::Client;
use super::{AttemptSpan, Message, RequestSpan, Tracer};
use http::{HeaderValue, Uri};
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use rustls::ClientConfig;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc::Receiver;

/// Requests of one batch.
const BATCH: usize = 512;
/// How long a batch that is not full waits.
const PAUSE: Duration = Duration::from_secs(1);
/// How long one batch may take, with its repetitions.
const PATIENCE: Duration = Duration::from_secs(10);

/// Methods that semantic conventions know. Others would make as many names of spans as a client likes.
const METHODS: [&str; 9] = [
    "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE",
];

/// Where spans go.
#[derive(Debug)]
pub struct ExportOptions {
    /// The collector, with the path where it takes traces.
    pub endpoint: Uri,
    /// What is sent to it as `Authorization`.
    pub authorization: Option<HeaderValue>,
    /// The share of requests that is recorded.
    pub ratio: f64,
    /// What this narthex calls itself.
    pub instance: String,
    /// For a collector behind TLS.
    pub tls: Arc<ClientConfig>,
}

/// Begins to export.
///
/// # Errors
/// When the endpoint makes no sense, or the thread cannot be started.
pub fn start(options: ExportOptions) -> io::Result<Tracer> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Client {
            tls: options.tls,
            authorization: options.authorization,
        })
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(options.endpoint.to_string())
        .with_timeout(PATIENCE)
        .build();
    // Its own words would show the endpoint, whose path or query may be a secret.
    let mut exporter = exporter.map_err(|_| io::Error::other("the exporter does not take this URL"))?;
    let resource = Resource::builder()
        .with_service_name("narthex")
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("service.instance.id", options.instance))
        .build();
    exporter.set_resource(&resource);
    let lost = Arc::new(AtomicU64::new(0));
    let (tracer, requests) = Tracer::new(options.ratio, lost.clone());
    // A thread and a runtime of its own: what repeats an export may sleep.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new()
        .name("traces".to_owned())
        .spawn(move || runtime.block_on(export(exporter, requests, &lost)))?;
    Ok(tracer)
}

async fn export(exporter: SpanExporter, mut messages: Receiver<Message>, lost: &AtomicU64) {
    let scope = InstrumentationScope::builder("narthex")
        .with_version(env!("CARGO_PKG_VERSION"))
        .build();
    let mut failing = false;
    loop {
        let (mut batch, mut end) = (Vec::new(), None);
        match messages.recv().await {
            None => return,
            Some(Message::End(done)) => end = Some(done),
            Some(Message::Request(request)) => {
                batch.push(*request);
                let _ = tokio::time::timeout(PAUSE, gather(&mut messages, &mut batch, &mut end)).await;
            }
        }
        if !batch.is_empty() {
            let count = batch.len() as u64;
            let spans = batch.into_iter().flat_map(|request| spans(&request, &scope)).collect();
            let exported = exporter.export(spans).await;
            note(exported, count, lost, &mut failing);
        }
        if let Some(done) = end {
            let _ = done.send(());
        }
    }
}

/// Fills a batch, unless the end comes before.
async fn gather(messages: &mut Receiver<Message>, batch: &mut Vec<RequestSpan>, end: &mut Option<SyncSender<()>>) {
    while batch.len() < BATCH && end.is_none() {
        match messages.recv().await {
            None => return,
            Some(Message::Request(request)) => batch.push(*request),
            Some(Message::End(done)) => *end = Some(done),
        }
    }
}

/// Counts what is lost, and says so once, not for each batch.
fn note(exported: OTelSdkResult, count: u64, lost: &AtomicU64, failing: &mut bool) {
    match exported {
        Ok(()) if std::mem::take(failing) => tracing::info!("traces can be exported again"),
        Ok(()) => {}
        Err(error) => {
            lost.fetch_add(count, Ordering::Relaxed);
            if !std::mem::replace(failing, true) {
                tracing::warn!(%error, "traces cannot be exported: they are lost");
            }
        }
    }
}

/// When that was, by the clock on the wall.
fn wall((now, at): (Instant, SystemTime), then: Instant) -> SystemTime {
    at.checked_sub(now.saturating_duration_since(then)).unwrap_or(at)
}

fn context(trace: u128, span: u64) -> SpanContext {
    SpanContext::new(
        TraceId::from(trace),
        SpanId::from(span),
        TraceFlags::SAMPLED,
        false,
        TraceState::NONE,
    )
}

/// A request's spans: its own, and one for each attempt.
fn spans(request: &RequestSpan, scope: &InstrumentationScope) -> Vec<SpanData> {
    let method = request.method.as_deref().unwrap_or("_OTHER");
    let known = METHODS.contains(&method);
    let mut attributes = vec![
        KeyValue::new(
            "http.request.method",
            if known { method.to_owned() } else { "_OTHER".to_owned() },
        ),
        KeyValue::new("url.scheme", request.scheme),
        KeyValue::new("url.path", request.path.to_string()),
        KeyValue::new("server.address", request.host.to_string()),
        KeyValue::new("client.address", request.client.to_string()),
        KeyValue::new("network.peer.address", request.peer.ip().to_string()),
        KeyValue::new("network.peer.port", i64::from(request.peer.port())),
        KeyValue::new("network.protocol.version", request.version),
        KeyValue::new("http.response.status_code", i64::from(request.status)),
        KeyValue::new("narthex.request_id", request.request_id.to_string()),
    ];
    if !known {
        attributes.push(KeyValue::new("http.request.method_original", method.to_owned()));
    }
    for (name, value) in [("http.route", &request.route), ("narthex.origin", &request.origin)] {
        attributes.extend(value.as_deref().map(|value| KeyValue::new(name, value.to_owned())));
    }
    let failed = request.status >= 500;
    let error = request.error.map(str::to_owned);
    let error = error.or_else(|| failed.then(|| request.status.to_string()));
    attributes.extend(error.map(|error| KeyValue::new("error.type", error)));
    // By the conventions the name has what there are few of: the rule's path, not the client's.
    let named = if known { method } else { "HTTP" };
    let name = match &request.route {
        Some(route) => format!("{named} {route}"),
        None => named.to_owned(),
    };
    let attempts = request.attempts.iter().enumerate();
    let mut spans: Vec<SpanData> = attempts
        .map(|(index, attempt)| client_span(request, index, attempt, named, scope))
        .collect();
    spans.push(SpanData {
        span_context: context(request.traced.trace, request.traced.span),
        parent_span_id: request.traced.parent.map_or(SpanId::INVALID, SpanId::from),
        parent_span_is_remote: request.traced.parent.is_some(),
        span_kind: SpanKind::Server,
        name: name.into(),
        start_time: request.at.1.checked_sub(request.took).unwrap_or(request.at.1),
        end_time: request.at.1,
        attributes,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        // What a client did wrong is no error of the server's.
        status: if failed { Status::error("") } else { Status::Unset },
        instrumentation_scope: scope.clone(),
    });
    spans
}

fn client_span(
    request: &RequestSpan,
    index: usize,
    attempt: &AttemptSpan,
    name: &str,
    scope: &InstrumentationScope,
) -> SpanData {
    let method = if name == "HTTP" { "_OTHER" } else { name };
    let mut attributes = vec![
        KeyValue::new("http.request.method", method.to_owned()),
        KeyValue::new("server.address", attempt.address.ip().to_string()),
        KeyValue::new("server.port", i64::from(attempt.address.port())),
        KeyValue::new("network.peer.address", attempt.address.ip().to_string()),
        KeyValue::new("network.peer.port", i64::from(attempt.address.port())),
        KeyValue::new("network.protocol.version", attempt.version),
        KeyValue::new(
            "url.full",
            format!("{}://{}{}", attempt.scheme, request.host, request.path),
        ),
    ];
    if index > 0 {
        let count = i64::try_from(index).unwrap_or(i64::MAX);
        attributes.push(KeyValue::new("http.request.resend_count", count));
    }
    if let Some(status) = attempt.status {
        attributes.push(KeyValue::new("http.response.status_code", i64::from(status)));
    }
    let pod = attempt.pod.as_deref().map(str::to_owned);
    attributes.extend(pod.map(|pod| KeyValue::new("k8s.pod.name", pod)));
    let status = attempt
        .status
        .filter(|status| *status >= 400)
        .map(|status| status.to_string());
    let error = attempt.error.map(str::to_owned).or(status);
    let failed = error.is_some();
    attributes.extend(error.map(|error| KeyValue::new("error.type", error)));
    SpanData {
        span_context: context(request.traced.trace, attempt.span),
        parent_span_id: SpanId::from(request.traced.span),
        parent_span_is_remote: false,
        span_kind: SpanKind::Client,
        name: name.to_owned().into(),
        start_time: wall(request.at, attempt.began),
        end_time: wall(request.at, attempt.ended),
        attributes,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: if failed { Status::error("") } else { Status::Unset },
        instrumentation_scope: scope.clone(),
    }
}
