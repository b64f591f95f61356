//! What is remembered of a request for the access log, for its trace, and for those who tap, where there is one of them.

use super::words::Words;
use crate::message::{Fields, Request};
use crate::model::RouteKey;
use crate::proxy::body::ClientBody;
use crate::proxy::client::Client;
use crate::proxy::error::ProxyError;
use crate::proxy::headers::Trace;
use crate::proxy::peer::Peer;
use crate::proxy::request_id::RequestId;
use crate::proxy::wait::Silence;
use crate::proxy::worker::Worker;
use crate::telemetry::access::{Endpoint, Entry, Format, ShardLog, Shown};
use crate::telemetry::tap::{Ended, Tapped, TappedAttempt};
use crate::telemetry::trace_context::TraceContext;
use crate::telemetry::traces::{self, AttemptSpan, RequestSpan, Traced};
use crate::upstream::LiveEndpoint;
use http::{HeaderName, HeaderValue, Method, StatusCode, Version};
use smallvec::SmallVec;
use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Bytes of a host or path that are shown to those who tap.
const LONGEST: usize = 1024;
/// The status of a client that was gone before it was answered, as nginx has it. Nobody ever gets it.
const GONE: u16 = 499;

/// A request as it will be told of. What is of the client is kept as it came: that costs no copy.
pub struct Story {
    peer: Rc<Peer>,
    client: IpAddr,
    /// By which the client came, as far as is known.
    scheme: &'static str,
    request: Option<Rc<Request>>,
    /// Its trace, by our own count or the client's.
    trace: Option<u128>,
    key: Option<RouteKey>,
    rule: Option<Rc<Words>>,
    /// Whether it got so far that its Service was looked for.
    has_service: bool,
    /// Whether it is left out of the access log, and not shown to those who tap.
    pub is_unlogged: bool,
    attempts: SmallVec<[AttemptNote; 1]>,
    /// Where it belongs, if it is recorded.
    traced: Option<Traced>,
    reason: Option<&'static str>,
    side: Option<&'static str>,
    cause: Option<String>,
    response_fields: Vec<(HeaderName, Box<[u8]>)>,
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
    /// When it began, if it is recorded.
    began: Option<Instant>,
    /// When it failed, or its answer was thrown away.
    pub ended: Option<Instant>,
    /// What the pod answered, or why it did not.
    pub outcome: Option<Result<StatusCode, ProxyError>>,
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
            request: None,
            trace: None,
            key: None,
            rule: None,
            has_service: false,
            is_unlogged: false,
            attempts: SmallVec::new(),
            traced: None,
            reason: None,
            side: None,
            cause: None,
            response_fields: Vec::new(),
        }
    }

    /// One that begins; absent where neither a log nor a trace wants it, and nobody taps.
    pub fn of(worker: &Worker, client: &Client, request: &Rc<Request>) -> Option<Box<RefCell<Self>>> {
        let (log, tracer) = (&worker.access_log, &worker.settings.tracer);
        let is_tapped = || worker.settings.tap.is_watched();
        if log.is_none() && tracer.is_none() && !is_tapped() {
            return None;
        }
        let peer = &client.peer;
        let context = TraceContext::of(&request.fields);
        let traced = tracer.as_ref().and_then(|tracer| tracer.decide(context, peer.trusted));
        if log.is_none() && traced.is_none() && !is_tapped() {
            return None;
        }
        Some(Box::new(RefCell::new(Self {
            client: client.address(),
            scheme: client.scheme(),
            request: Some(request.clone()),
            trace: traced
                .map(|traced| traced.trace)
                .or(context.map(|context| context.trace)),
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
            began: self.traced.map(|_| Instant::now()),
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

    /// How the last attempt's span is named to the pod.
    pub fn trace(&self) -> Option<Trace> {
        let traced = self.traced?;
        Some(Trace {
            parent: traced.traceparent(self.attempts.last()?.span)?,
            keeps_state: traced.parent.is_some(),
        })
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
    pub fn answered(&mut self, worker: &Worker, fields: &Fields) {
        if let Some(log) = &worker.access_log
            && log.options().format == Format::Json
        {
            shown(&log.options().headers, fields, |name, value| {
                self.response_fields.push((name.clone(), value.into()));
            });
        }
    }

    /// Its reply was not read to the end: the pod or its time broke it off, or the client left.
    pub fn broken_off(&mut self, by_pod: bool) {
        let without_body = self
            .request
            .as_ref()
            .is_some_and(|request| request.method == Method::HEAD);
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
    pub fn tell(&mut self, worker: &Worker, request_id: &RequestId, passed: &Passed) {
        if passed.status.is_none() {
            self.broke("client_gone", "client");
        }
        if let (Some(tracer), Some(traced)) = (&worker.settings.tracer, self.traced)
            && !tracer.take(self.span(traced, request_id, passed))
        {
            worker.counters.spans_dropped.add();
        }
        if let Some(log) = &worker.access_log
            && !self.is_unlogged
        {
            self.write(worker, log, request_id, passed);
        }
        let tap = &worker.settings.tap;
        if tap.is_watched() && !self.is_unlogged {
            let ended = Ended {
                host: self.request.as_ref().map_or(b"", |request| request.host()),
                path: self.request.as_ref().map_or("", |request| request.path()),
                route: self.key,
                status: passed.status.unwrap_or(GONE),
                total: passed.total,
            };
            let tried = |name: &str| {
                self.attempts
                    .iter()
                    .map(|attempt| &attempt.endpoint.endpoint)
                    .any(|endpoint| {
                        let pod = endpoint.pod.as_deref();
                        pod.is_some_and(|pod| pod.starts_with(name)) || endpoint.address.to_string().starts_with(name)
                    })
            };
            tap.offer(&ended, tried, || self.tapped(&ended, request_id, passed));
        }
    }

    /// The request as those see it who tap. Neither its fields nor its query are shown, since both carry secrets.
    fn tapped(&self, ended: &Ended<'_>, request_id: &RequestId, passed: &Passed) -> Tapped {
        let (request, rule) = (self.request.as_ref(), self.rule.as_deref());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes.get(..LONGEST).unwrap_or(bytes)).into_owned();
        let millis = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
        let attempts = self.attempts.iter().map(|attempt| TappedAttempt {
            address: attempt.endpoint.endpoint.address,
            pod: attempt.endpoint.endpoint.pod.as_deref().map(str::to_owned),
            connect_ms: attempt.connect.map(millis),
            response_ms: attempt.pod.map(millis),
            status: attempt.outcome.and_then(Result::ok).map(|status| status.as_u16()),
            error: attempt
                .outcome
                .and_then(Result::err)
                .map(|error| error.verdict().label.to_owned()),
        });
        Tapped {
            at: format!("{:.3}", jiff::Timestamp::now()),
            client: self.client,
            scheme: self.scheme.to_owned(),
            protocol: request.map(|request| protocol(request.version).to_owned()),
            method: request.map(|request| request.method.as_str().to_owned()),
            host: text(ended.host),
            path: text(ended.path.as_bytes()),
            status: ended.status,
            total_ms: millis(ended.total),
            reason: self.reason.map(str::to_owned),
            side: self.side.map(str::to_owned),
            cause: self.cause.clone(),
            route: self.key.map(|key| key.to_string()),
            origin: rule.map(|rule| rule.origin.clone()),
            service: rule.filter(|_| self.has_service).and_then(|rule| rule.service.clone()),
            attempts: attempts.collect(),
            bytes_in: passed.bytes_in,
            bytes_out: passed.bytes_out,
            request_id: text(request_id.as_bytes()),
        }
    }

    /// The request as it is exported.
    fn span(&self, traced: Traced, request_id: &RequestId, passed: &Passed) -> RequestSpan {
        let (request, rule) = (self.request.as_ref(), self.rule.as_deref());
        let now = Instant::now();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into();
        let version = |multiplexed| if multiplexed { "2" } else { "1.1" };
        let attempts = self.attempts.iter().map(|attempt| AttemptSpan {
            span: attempt.span,
            began: attempt.began.unwrap_or(now),
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
            method: request.map(|request| request.method.as_str().into()),
            scheme: self.scheme,
            host: text(request.map_or(&b""[..], |request| request.host())),
            path: text(request.map_or("", |request| request.path()).as_bytes()),
            version: version(request.is_some_and(|request| request.version == Version::HTTP_2)),
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
    fn write(&self, worker: &Worker, log: &ShardLog, request_id: &RequestId, passed: &Passed) {
        let status = passed.status.unwrap_or(GONE);
        if !log.wants(status, passed.total, self.key) {
            return;
        }
        let (request, rule) = (self.request.as_ref(), self.rule.as_deref());
        let service = rule.filter(|_| self.has_service);
        let trace_id = self.trace.map(|trace| format!("{trace:032x}"));
        let last = self.attempts.last();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut fields = SmallVec::<[_; 8]>::new();
        if let Some(request) = request {
            shown(&log.options().headers, &request.fields, |name, value| {
                fields.push((name, value))
            });
        }
        let response_fields = self.response_fields.iter().map(|(name, value)| (name, &**value));
        let response_fields: SmallVec<[_; 8]> = response_fields.collect();
        let entry = Entry {
            at: now.saturating_sub(passed.total),
            client: self.client,
            peer: self.peer.socket,
            scheme: self.scheme,
            tls: self.peer.tls_version.as_deref(),
            method: request.map(|request| request.method.as_str()),
            protocol: request.map(|request| protocol(request.version)),
            host: request.map_or(&b""[..], |request| request.host()),
            target: request.map_or(&b""[..], |request| target(request)),
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
            headers: &fields,
            response_headers: &response_fields,
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

/// Path and query.
fn target(request: &Request) -> &[u8] {
    match request.target() {
        // Only CONNECT has none.
        b"" => request.host(),
        target => target,
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

/// Gives out the fields that are to be shown, those of one name together.
fn shown<'f>(wanted: &'f [Shown], fields: &'f Fields, mut show: impl FnMut(&'f HeaderName, &'f [u8])) {
    for Shown { name, clear } in wanted {
        for value in fields.get_all(name) {
            show(name, if *clear { value.as_bytes() } else { b"redacted" });
        }
    }
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

/// Writes the line of the access log for such a request, with as many bytes as its reply has, and shows it to those who tap.
pub fn refused(worker: &Worker, peer: &Rc<Peer>, error: ProxyError, request_id: &str, cause: Option<String>) {
    if worker.access_log.is_none() && !worker.settings.tap.is_watched() {
        return;
    }
    let request_id = HeaderValue::from_str(request_id).unwrap_or_else(|_| HeaderValue::from_static(""));
    let request_id = RequestId::Told(request_id);
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
