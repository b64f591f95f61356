//! What is remembered of a request for the access log and for its trace, where there is one.

use super::failures;
use super::words::Words;
use crate::model::RouteKey;
use crate::proxy::body::ClientBody;
use crate::proxy::client::Client;
use crate::proxy::error::ProxyError;
use crate::proxy::peer::Peer;
use crate::proxy::wait::Silence;
use crate::proxy::worker::Worker;
use crate::telemetry::access::{Endpoint, Entry, Format, ShardLog, Shown};
use crate::telemetry::trace_context::{TRACEPARENT, TRACESTATE, TraceContext};
use crate::telemetry::traces::{self, AttemptSpan, RequestSpan, Traced};
use crate::upstream::LiveEndpoint;
use http::header;
use http::uri::Uri;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

/// The status of a client that was gone before it was answered, as nginx has it. Nobody ever gets it.
const GONE: u16 = 499;

/// A request as it will be told of. What is of the client is kept as it came: that costs no copy.
pub struct Story {
    peer: Rc<Peer>,
    client: IpAddr,
    /// By which the client came, as far as is known.
    scheme: &'static str,
    head: Option<Head>,
    key: Option<RouteKey>,
    rule: Option<Rc<Words>>,
    /// Whether it got so far that its Service was looked for.
    has_service: bool,
    attempts: Vec<AttemptNote>,
    /// Where it belongs, if it is recorded.
    traced: Option<Traced>,
    reason: Option<&'static str>,
    side: Option<&'static str>,
    cause: Option<String>,
    response_fields: Vec<(HeaderName, HeaderValue)>,
}

/// What is noted of one attempt.
pub struct AttemptNote {
    endpoint: Rc<LiveEndpoint<ClientBody>>,
    /// Whether by TLS.
    secure: bool,
    /// For opening a connection, where that was needed.
    pub connect: Option<Duration>,
    /// From sending the request to the response head.
    pub pod: Option<Duration>,
    /// Its span, if it is recorded.
    span: u64,
    began: Instant,
    /// When it failed, or its answer was thrown away.
    pub ended: Option<Instant>,
    /// What the pod answered, or why it did not.
    pub outcome: Option<Result<StatusCode, ProxyError>>,
}

/// What the request's head says.
struct Head {
    method: Method,
    target: Uri,
    version: Version,
    host: Option<HeaderValue>,
    fields: Vec<(HeaderName, HeaderValue)>,
    /// Its trace, by our own count or the client's.
    trace: Option<u128>,
}

/// How a request went by, in numbers.
pub struct Passed {
    /// What the client got; none if it left before.
    pub status: Option<u16>,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the reply's.
    pub bytes_out: u64,
    /// From its head to the end of its reply.
    pub total: Duration,
    /// Whether the shard has nothing else under way.
    pub quiet: bool,
}

impl Story {
    /// Of a request whose head could not be read.
    fn unread(peer: &Rc<Peer>) -> Self {
        Self {
            peer: peer.clone(),
            client: peer.ip,
            scheme: peer.scheme,
            head: None,
            key: None,
            rule: None,
            has_service: false,
            attempts: Vec::new(),
            traced: None,
            reason: None,
            side: None,
            cause: None,
            response_fields: Vec::new(),
        }
    }

    /// One that begins; absent where neither a log nor a trace wants it.
    pub fn of(worker: &Worker, client: &Client, head: super::Head<'_>) -> Option<Box<RefCell<Self>>> {
        let (log, tracer) = (&worker.access_log, &worker.settings.tracer);
        if log.is_none() && tracer.is_none() {
            return None;
        }
        let (headers, peer) = (head.headers, &client.peer);
        let context = TraceContext::of(headers);
        let traced = tracer.as_ref().and_then(|tracer| tracer.decide(context, peer.trusted));
        if log.is_none() && traced.is_none() {
            return None;
        }
        let head = Head {
            method: head.method.clone(),
            target: head.target.clone(),
            version: head.version,
            host: headers.get(header::HOST).cloned(),
            fields: log
                .as_ref()
                .map_or_else(Vec::new, |log| shown(&log.options().headers, headers)),
            trace: traced
                .map(|traced| traced.trace)
                .or(context.map(|context| context.trace)),
        };
        Some(Box::new(RefCell::new(Self {
            client: client.address(),
            scheme: client.scheme(),
            head: Some(head),
            traced,
            ..Self::unread(peer)
        })))
    }

    /// Its rule is known, and perhaps its Service.
    pub fn decided(&mut self, key: RouteKey, rule: Rc<Words>, has_service: bool) {
        self.key = Some(key);
        self.rule = Some(rule);
        self.has_service |= has_service;
    }

    /// An attempt at this endpoint begins.
    pub fn attempt(&mut self, endpoint: &Rc<LiveEndpoint<ClientBody>>, secure: bool) {
        self.note(|before| before.ended = before.ended.or_else(|| Some(Instant::now())));
        self.attempts.push(AttemptNote {
            endpoint: endpoint.clone(),
            secure,
            connect: None,
            pod: None,
            span: self.traced.map_or(0, |_| traces::new_span()),
            began: Instant::now(),
            ended: None,
            outcome: None,
        });
    }

    /// Notes something of the last attempt.
    pub fn note(&mut self, change: impl FnOnce(&mut AttemptNote)) {
        if let Some(last) = self.attempts.last_mut() {
            change(last);
        }
    }

    /// Names the last attempt's span in the fields for the pod.
    pub fn trace(&self, headers: &mut HeaderMap) {
        let Some(traced) = self.traced else { return };
        let span = self.attempts.last().map(|attempt| attempt.span);
        if let Some(named) = span.and_then(|span| traced.traceparent(span)) {
            headers.insert(TRACEPARENT, named);
        }
        if traced.parent.is_none() {
            // It belongs to a trace that is not this one.
            headers.remove(TRACESTATE);
        }
    }

    /// It failed.
    pub fn failed(&mut self, error: ProxyError, cause: Option<&str>) {
        let verdict = error.verdict();
        self.broke(verdict.label, verdict.side.name());
        self.cause = cause.map(str::to_owned);
    }

    /// What went wrong. The first that is told counts: others come of it.
    fn broke(&mut self, reason: &'static str, side: &'static str) {
        if self.reason.is_none() {
            self.reason = Some(reason);
            self.side = Some(side);
        }
    }

    /// The reply is on its way.
    pub fn answered(&mut self, worker: &Worker, headers: &HeaderMap) {
        if let Some(log) = &worker.access_log
            && log.options().format == Format::Json
        {
            self.response_fields = shown(&log.options().headers, headers);
        }
    }

    /// Its reply was not read to the end: the pod or its time broke it off, or the client left.
    pub fn broken_off(&mut self, by_pod: bool) {
        let without_body = self.head.as_ref().is_some_and(|head| head.method == Method::HEAD);
        match by_pod {
            true => self.broke("broken_off", "upstream"),
            false if without_body => {}
            false => self.broke("client_gone", "client"),
        }
    }

    /// It was ended for a silence, which `limit` names the limit of.
    pub fn fell_silent(&mut self, silence: Silence, limit: &'static str) {
        if self.reason.is_none() {
            self.cause = Some(limit.to_owned());
        }
        self.broke(silence.label(), silence.side().name());
    }

    /// The end.
    pub fn tell(mut self, worker: &Worker, request_id: &HeaderValue, passed: &Passed) {
        if passed.status.is_none() {
            self.broke("client_gone", "client");
        }
        if let (Some(tracer), Some(traced)) = (&worker.settings.tracer, self.traced)
            && !tracer.take(self.span(traced, request_id, passed))
        {
            worker.counters.spans_dropped.add();
        }
        if let Some(log) = &worker.access_log {
            self.write(worker, log, request_id, passed);
        }
    }

    /// The request as it is exported.
    fn span(&self, traced: Traced, request_id: &HeaderValue, passed: &Passed) -> RequestSpan {
        let (head, rule) = (self.head.as_ref(), self.rule.as_deref());
        let now = Instant::now();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into();
        let version = |multiplexed| if multiplexed { "2" } else { "1.1" };
        let attempts = self.attempts.iter().map(|attempt| AttemptSpan {
            span: attempt.span,
            began: attempt.began,
            ended: attempt.ended.unwrap_or(now),
            address: attempt.endpoint.endpoint.address,
            pod: attempt.endpoint.endpoint.pod.as_deref().map(Box::from),
            scheme: if attempt.secure { "https" } else { "http" },
            version: version(rule.is_some_and(|rule| rule.to_h2)),
            status: attempt.outcome.and_then(Result::ok).map(|status| status.as_u16()),
            error: attempt.outcome.and_then(Result::err).map(|error| error.verdict().label),
        });
        RequestSpan {
            traced,
            at: (now, SystemTime::now()),
            took: passed.total,
            method: head.map(|head| head.method.as_str().into()),
            scheme: self.scheme,
            host: text(head.map_or(&b""[..], Head::host)),
            path: text(head.map_or("", |head| head.target.path()).as_bytes()),
            version: version(head.is_some_and(|head| head.version == Version::HTTP_2)),
            client: self.client,
            peer: self.peer.socket,
            status: passed.status.unwrap_or(GONE),
            error: self.reason,
            route: rule.and_then(|rule| rule.pattern.as_deref()).map(Box::from),
            origin: rule.map(|rule| rule.origin.as_str().into()),
            request_id: text(request_id.as_bytes()),
            attempts: attempts.collect(),
        }
    }

    /// Its line, if it is to have one.
    fn write(&self, worker: &Worker, log: &ShardLog, request_id: &HeaderValue, passed: &Passed) {
        let status = passed.status.unwrap_or(GONE);
        if !log.wants(status, passed.total, self.key) {
            return;
        }
        let (head, rule) = (self.head.as_ref(), self.rule.as_deref());
        let service = rule.filter(|_| self.has_service);
        let trace_id = head.and_then(|head| head.trace).map(|trace| format!("{trace:032x}"));
        let last = self.attempts.last();
        let ended = jiff::Timestamp::now();
        let entry = Entry {
            at: ended.checked_sub(passed.total).unwrap_or(ended),
            client: self.client,
            peer: self.peer.socket,
            scheme: self.scheme,
            tls: self.peer.tls_version.as_deref(),
            method: head.map(|head| head.method.as_str()),
            protocol: head.map(|head| protocol(head.version)),
            host: head.map_or(&b""[..], Head::host),
            target: head.map_or(&b""[..], Head::target),
            status,
            reason: self.reason,
            side: self.side,
            cause: self.cause.as_deref(),
            route: rule.map(|rule| rule.route.as_str()),
            origin: rule.map(|rule| rule.origin.as_str()),
            service: service.and_then(|rule| rule.service.as_deref()),
            endpoint: last.map(|last| &last.endpoint.endpoint).map(|endpoint| Endpoint {
                address: endpoint.address,
                pod: endpoint.pod.as_deref(),
            }),
            retries: u32::try_from(self.attempts.len().saturating_sub(1)).unwrap_or(u32::MAX),
            bytes_in: passed.bytes_in,
            bytes_out: passed.bytes_out,
            total: passed.total,
            connect: last.and_then(|last| last.connect),
            backend: last.and_then(|last| last.pod),
            request_id: request_id.as_bytes(),
            trace_id: trace_id.as_deref(),
            headers: head.map_or(&[], |head| &head.fields),
            response_headers: &self.response_fields,
            count: match log.options().format {
                // The one format that has it.
                Format::Traefik => worker.requests(),
                _ => 0,
            },
        };
        let lost = log.write(&entry, passed.quiet);
        worker.counters.access_log_dropped.add_many(lost);
    }
}

impl Head {
    fn host(&self) -> &[u8] {
        failures::host(&self.target, self.host.as_ref())
    }

    fn target(&self) -> &[u8] {
        let target = self.target.path_and_query().map(|target| target.as_str().as_bytes());
        // Only CONNECT has none.
        target.unwrap_or_else(|| self.host())
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

/// The fields that are to be shown, those of one name together.
fn shown(wanted: &[Shown], headers: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    let mut fields = Vec::new();
    for Shown { name, clear } in wanted {
        for value in headers.get_all(name) {
            let value = if *clear {
                value.clone()
            } else {
                HeaderValue::from_static("redacted")
            };
            fields.push((name.clone(), value));
        }
    }
    fields
}

/// Notes a request whose head could not be read and that gets a raw reply: in the counters and in the logs.
pub fn unread(worker: &Worker, peer: &Rc<Peer>, error: ProxyError, request_id: &str, cause: Option<String>) {
    let verdict = error.verdict();
    worker.counters.requests.add();
    worker.counters.response(verdict.status);
    worker.counters.failed(error);
    tracing::debug!(
        status = verdict.status.as_u16(), side = verdict.side.name(), reason = verdict.label, fault = cause.as_deref(),
        peer = %peer.socket, request_id, "request refused"
    );
    refused(worker, peer, error, request_id, cause);
}

/// Writes the line of the access log for such a request, with as many bytes as its reply has.
pub fn refused(worker: &Worker, peer: &Rc<Peer>, error: ProxyError, request_id: &str, cause: Option<String>) {
    if worker.access_log.is_none() {
        return;
    }
    let request_id = HeaderValue::from_str(request_id).unwrap_or_else(|_| HeaderValue::from_static(""));
    let mut story = Story::unread(peer);
    story.failed(error, cause.as_deref());
    let verdict = error.verdict();
    let passed = Passed {
        status: Some(verdict.status.as_u16()),
        bytes_in: 0,
        bytes_out: verdict.body.len() as u64 + 1,
        total: Duration::ZERO,
        quiet: worker.counters.in_flight.get() == 0,
    };
    story.tell(worker, &request_id, &passed);
}
