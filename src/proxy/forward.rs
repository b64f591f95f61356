//! From a route to a pod's response: pick an endpoint, find a connection, send, and try again where nothing is lost.

use super::access::Granted;
use super::answer::{self, Answer, Broken};
use super::attempt::Attempt;
use super::body::{ClientBody, Source, Upload};
use super::canonical::Canonical;
use super::certificate::Told;
use super::client::Client;
use super::dial::{checkout, connect_error};
use super::error::ProxyError;
use super::exchange::Exchange;
use super::facts::Facts;
use super::headers::{self, Changes, Forwarded, Sink};
use super::reply::Draft;
use super::response_fields::{self, clean_response};
use super::retry::{Retries, Tried};
use super::trail::Trail;
use super::upgrade;
use super::worker::Worker;
use crate::http1::Encoder;
use crate::message;
use crate::message::{Buffers, Name};
use crate::table::decide::{Ask, Outcome, decide};
use crate::table::{Backend, BackendSettings, BackendState, Protocol, Route};
use crate::upstream::http1::RequestOut;
use crate::upstream::pool::is_local;
use crate::upstream::{Affinity, Connection, Limit, LiveEndpoint, Picked, RequestPermit, Target};
use http::header::HeaderMap;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, StatusCode, Uri, Version};
use http_body::Body;
use std::borrow::Cow;
use std::net::SocketAddr;
use std::ops::Range;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use std::time::Instant;

/// What the steps before forwarding make of a request: all that a pod is to get, for as many attempts as it takes.
pub struct Plan<'r> {
    /// The client's request line and fields, untouched.
    pub request: &'r message::Request,
    /// What of it decides where it goes.
    pub ask: &'r Ask<'r>,
    /// Its canonical form.
    pub canonical: &'r Canonical<'r>,
    /// Where it goes.
    pub route: &'r Route,
    /// The target that the pod gets, where that is not the client's.
    pub target: Option<String>,
    /// `Host` as the pod gets it, where that is not the client's.
    pub host: Option<Cow<'r, [u8]>>,
    /// What the route changes of the fields.
    pub changes: Option<Box<Changes<'r>>>,
    /// What was found out about its client, where it was asked.
    pub granted: Option<&'r Granted>,
    /// What the pod is told of its client's certificate.
    pub told: Option<&'r Told>,
    /// How often it has passed through narthex.
    pub hops: u8,
    /// The backend it leads to.
    pub backend: &'r Arc<Backend>,
    /// The generation of the table that said so.
    pub generation: u64,
    /// What the backend's endpoints speak.
    pub protocol: Protocol,
    /// What annotations say of the backend.
    pub settings: &'r BackendSettings,
    /// What of the request decides for an endpoint.
    pub affinity: Affinity,
    /// Whether it asks for a WebSocket.
    pub upgrade: bool,
    /// Over HTTP/2, where the handshake with the pod is ours: its key.
    pub key: Option<&'r upgrade::Key>,
    /// What its fields say.
    pub facts: &'r Facts<'r>,
    /// How far its body has come.
    pub upload: &'r Rc<Upload>,
    /// What is noted of it.
    pub trail: &'r Trail,
    /// When the time is up that the backend's `request-timeout` gives.
    pub until: Option<tokio::time::Instant>,
}

/// Room in a pod's head for the request line and for the fields that are ours.
const ROOM: usize = 384;

/// Why forwarding failed, and at which endpoint.
pub struct ForwardError {
    /// Why.
    pub error: ProxyError,
    /// Where, if it got that far.
    pub endpoint: Option<String>,
    /// What exactly, where more is known than the error says.
    pub cause: Option<String>,
}

impl ForwardError {
    fn at(error: ProxyError, endpoint: &LiveEndpoint<ClientBody>) -> Self {
        Self {
            error,
            endpoint: Some(endpoint.endpoint.to_string()),
            cause: None,
        }
    }
}

impl From<ProxyError> for ForwardError {
    fn from(error: ProxyError) -> Self {
        Self {
            error,
            endpoint: None,
            cause: None,
        }
    }
}

/// Why a request went no further.
pub enum Stop {
    /// It failed.
    Failed(ForwardError),
    /// It is to be routed anew: what it was routed to is gone, and another attempt is allowed. This is what it fails with
    /// if that does not help.
    Anew(ForwardError),
}

/// What a request takes along when it is routed anew.
pub struct Luggage {
    /// Its body, if nothing of it was sent; else it is made again.
    pub body: Option<ClientBody>,
    /// Its place among the requests under way to the backend it was routed to.
    pub place: Option<RequestPermit>,
    /// Whether something was waited for since its head was there.
    pub waited: bool,
}

impl<T: Into<ForwardError>> From<T> for Stop {
    fn from(failure: T) -> Self {
        Self::Failed(failure.into())
    }
}

impl Stop {
    fn anew(failure: impl Into<ForwardError>) -> Self {
        Self::Anew(failure.into())
    }
}

/// Sends a request and waits for the response head. The draft gets it, and where the body comes from. Each attempt picks from
/// the backend's endpoints as they are then.
///
/// # Errors
/// The last attempt's failure, or that the request is to be routed anew.
pub async fn forward(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    plan: &Plan<'_>,
    luggage: &mut Luggage,
    draft: &mut Draft<'_>,
) -> Result<(), Stop> {
    let state = plan.backend.state;
    if plan.backend.pods.is_none() || state == BackendState::TlsUnready {
        return Err(ProxyError::NoBackend(state).into());
    }
    let live = |pods| worker.table().pods(pods).cloned();
    let target = worker.upstreams.target(live, plan.backend, &worker.clock);
    let Some(target) = target else {
        return Err(Stop::anew(ProxyError::BackendGone));
    };
    // What few requests need lies on the heap: all of them would carry it otherwise.
    luggage.place = match target.limit() {
        None => None,
        Some(limit) => Box::pin(enter(&target, &limit, luggage.place.take())).await?,
    };
    let mut retries = Retries::new(worker, plan);
    let (mut fresh, mut begun) = (false, false);
    loop {
        retries.attempts += 1;
        let first = !std::mem::replace(&mut begun, true);
        let picked = match first && target.is_awaited() {
            true => Picked::Full,
            false => pick(worker, plan, &target, &mut retries.tried, first),
        };
        let picked = match picked {
            Picked::Full => {
                luggage.waited = true;
                Box::pin(target.room(first, || pick(worker, plan, &target, &mut retries.tried, false))).await
            }
            picked => picked,
        };
        let lease = match picked {
            Picked::Lease(lease) => lease,
            Picked::Full => return Err(ProxyError::BackendFull.into()),
            Picked::Gone => return Err(Stop::anew(ProxyError::BackendGone)),
            Picked::Nobody(state) if is_elsewhere(worker, plan) => {
                return Err(Stop::anew(ProxyError::NoBackend(state)));
            }
            Picked::Nobody(state) => return Err(ProxyError::NoBackend(state).into()),
        };
        let endpoint = lease.endpoint.clone();
        plan.trail.attempt(&endpoint, lease.connections.terms.tls.is_some());
        let attempt = Attempt::new(worker, &lease, plan.until);
        let mut connection = match checkout(worker, client, &lease, plan, fresh).await {
            Ok(connection) => connection,
            Err(cause) => {
                let error = connect_error(&cause);
                plan.trail.came_to(Err(error));
                worker.counters.upstream_connect_failures.add();
                if is_local(&cause) {
                    attempt.tells_nothing();
                    // Others may hold what is lacking for nothing. Their tasks let go of it at their next turn.
                    worker.upstreams.close_idle();
                    tokio::task::yield_now().await;
                } else {
                    attempt.unreachable(&cause);
                }
                if !retries.again_unconnected(&cause) {
                    let cause = Some(cause.to_string());
                    let failure = ForwardError {
                        cause,
                        ..ForwardError::at(error, &endpoint)
                    };
                    if !is_elsewhere(worker, plan) {
                        return Err(failure.into());
                    }
                    retries.go_on(None);
                    return Err(Stop::anew(failure));
                }
                retries.go_on(Some(endpoint));
                continue;
            }
        };
        // While the connection was opened, the endpoint may have left the backend, or other terms may hold.
        if lease.connections.closed.get() {
            retries.attempts -= 1;
            attempt.tells_nothing();
            continue;
        }
        let reused = connection.reused();
        // Where it had to wait, for a place, a connection or another try, a guard may have come meanwhile.
        let waited = luggage.waited || !reused || luggage.place.is_some() || retries.attempts > 1;
        if waited && let Some(guard) = closed_since(worker, plan) {
            attempt.tells_nothing();
            return Err(Stop::anew(ForwardError {
                error: ProxyError::GuardNotEnforced,
                endpoint: None,
                cause: Some(guard),
            }));
        }
        let body = luggage.body.take();
        let sent = body.map_or_else(|| plan.upload.again(client, worker), ClientBody::unsent);
        // The time in which a client sends its body is not the pod's.
        let began = (plan.upload.is_done() && lease.is_timed()).then(Instant::now);
        // What has waited for nothing is sent as soon as its head is there, and reading the clock takes time too.
        let sent_at = if waited { Instant::now() } else { plan.trail.began() };
        let limit = retries.limit();
        let outcome = match &mut connection {
            Connection::Http1(connection) => {
                connection.send(
                    plan.http1(client, &endpoint, &sent, &worker.buffers),
                    sent,
                    plan.upgrade,
                );
                let polled = |cx: &mut Context<'_>| answer::poll_final(connection, client, draft.head, cx);
                let came = answer::in_time(worker, client, plan, limit, polled).await;
                answer::by_http1(plan, connection, draft.head.status, came)
            }
            Connection::Http2(stream) => {
                let request = plan
                    .http2(client, &endpoint, sent)
                    .map_err(|error| ForwardError::at(error, &endpoint))?;
                // Pinned here and lent, since it is large and would be moved into the other's future.
                let mut sending = pin!(stream.sender().try_send_request(request));
                let polled = |cx: &mut Context<'_>| sending.as_mut().poll(cx);
                let came = answer::in_time(worker, client, plan, limit, polled).await;
                answer::by_http2(plan, stream, &lease.connections, draft.head, came)
            }
        };
        plan.trail.pod_took(sent_at.elapsed());
        match outcome {
            Ok(Answer { incoming, first }) => {
                let status = draft.head.status;
                plan.trail.came_to(Ok(status));
                attempt.answered(status, began);
                if retries.again_for(&lease, status) {
                    retries.go_on(Some(endpoint));
                    continue;
                }
                client.wait.flows(&worker.clock);
                let reusable = match accept(plan, draft.head) {
                    Ok(reusable) => reusable,
                    Err(error) => return Err(ForwardError::at(error, &endpoint).into()),
                };
                *draft.source = Source::Pod(Exchange {
                    incoming,
                    first,
                    connection: Some(connection),
                    reusable,
                    lease,
                    place: luggage.place.take(),
                    counted: None,
                    upload: plan.upload.clone(),
                    ended: false,
                    error: None,
                    worker: worker.clone(),
                });
                return Ok(());
            }
            Err(Broken {
                error,
                cause,
                unsent,
                given_up,
            }) => {
                drop(connection);
                plan.trail.came_to(Err(error));
                attempt.failed(error, reused || given_up || !plan.upload.is_done());
                // An old connection that turns out to be dead says nothing about the pod, so it costs no attempt.
                // But only the first: over HTTP/2 another attempt may come upon the same connection.
                retries.attempts -= usize::from(reused && !fresh);
                if !retries.again_after(&lease, error, unsent.is_some()) {
                    let failure = ForwardError {
                        cause,
                        ..ForwardError::at(error, &endpoint)
                    };
                    if !retries.is_safe(error, unsent.is_some()) || !is_elsewhere(worker, plan) {
                        return Err(failure.into());
                    }
                    retries.go_on(None);
                    luggage.body = unsent;
                    return Err(Stop::anew(failure));
                }
                retries.go_on((!reused || fresh).then_some(endpoint));
                luggage.body = unsent;
                fresh = true;
            }
        }
    }
}

/// Takes a place among the requests under way, unless the request has one already.
async fn enter(
    target: &Target<ClientBody>,
    limit: &Arc<Limit>,
    place: Option<RequestPermit>,
) -> Result<Option<RequestPermit>, ProxyError> {
    if place.as_ref().is_some_and(|place| place.is_of(limit)) {
        return Ok(place);
    }
    // It must not hold one place while it waits for another.
    drop(place);
    let (pending, patience) = target.queue();
    let place = limit.enter(pending, patience).await;
    place.map(Some).ok_or(ProxyError::BackendFull)
}

/// An endpoint of those that are live. When all have been tried, another round begins.
fn pick(
    worker: &Worker,
    plan: &Plan<'_>,
    target: &Rc<Target<ClientBody>>,
    tried: &mut Tried,
    first: bool,
) -> Picked<ClientBody> {
    let table = worker.table();
    if first && plan.settings.retries.is_some() {
        target.earn_retries();
    }
    match target.pick(&table, tried, plan.affinity, &worker.clock) {
        Picked::Nobody(_) if !tried.is_empty() => {
            tried.clear();
            target.pick(&table, tried, plan.affinity, &worker.clock)
        }
        picked => picked,
    }
}

/// Whether a request that came now would go to other pods, or to none at all.
fn is_elsewhere(worker: &Worker, plan: &Plan<'_>) -> bool {
    let (table, rules) = (worker.table(), worker.settings.rules());
    match decide(&table, plan.ask, plan.canonical, &rules).outcome {
        Outcome::Forward { backend, .. } => backend.pods.is_some() && backend.pods != plan.backend.pods,
        Outcome::Closed(_)
        | Outcome::Redirect(_)
        | Outcome::Elsewhere { .. }
        | Outcome::Text { .. }
        | Outcome::Preflight(_)
        | Outcome::Answer(_) => true,
        Outcome::Refused(_) => false,
    }
}

/// The guard, if any, that has closed what the request asks for since it was routed, or the backend it was routed to. It
/// is routed anew then: it may lead to pods that are open.
fn closed_since(worker: &Worker, plan: &Plan<'_>) -> Option<String> {
    let table = worker.table();
    if table.generation == plan.generation {
        return None;
    }
    let decision = decide(&table, plan.ask, plan.canonical, &worker.settings.rules());
    let guard = match decision.outcome {
        Outcome::Closed(guard) => Some(guard),
        _ => table.backend(plan.backend.id)?.guard.as_ref(),
    };
    guard.map(ToString::to_string)
}

/// Takes a response's head in. Whether its connection may serve another request.
fn accept(plan: &Plan<'_>, head: &mut message::Response) -> Result<bool, ProxyError> {
    let upgraded = head.status == StatusCode::SWITCHING_PROTOCOLS;
    if upgraded && !(plan.upgrade && upgrade::is_websocket(&head.fields)) {
        return Err(ProxyError::UnaskedUpgrade);
    }
    if let Some(key) = plan.key {
        key.check(head.status, &mut head.fields)?;
    }
    let personal = plan.facts.binds_identity || response_fields::binds_identity(head.status, &head.fields);
    let reusable = clean_response(&mut head.fields)? && !personal && !upgraded;
    let settings = plan.settings;
    let reusable = reusable && settings.proxy_protocol != Some(true) && settings.one_request != Some(true);
    if upgraded {
        // What follows has no length, whatever the pod says (RFC 9110, section 8.6).
        head.fields.remove(&Name::ContentLength);
        if plan.key.is_none() {
            upgrade::agree(&mut head.fields);
        }
    }
    plan.upload.keep_no_more();
    Ok(reusable)
}

impl Plan<'_> {
    /// Writes the fields that a pod gets.
    fn write_fields(&self, out: &mut impl Sink, client: &Client, endpoint: &LiveEndpoint<ClientBody>, chunked: bool) {
        let trace = self.trail.trace();
        let forwarded = Forwarded {
            chunked,
            multiplexed: self.protocol == Protocol::Http2,
            upgrade: self.upgrade,
            key: self.key,
            trace: trace.as_ref(),
            closes: self.settings.one_request == Some(true),
            ..self.forwarded(endpoint.endpoint.address)
        };
        headers::write_fields(out, &self.request.fields, client, &forwarded);
    }

    /// What a backend is told of the request, whichever it is and however it is asked.
    #[inline]
    fn forwarded(&self, endpoint: SocketAddr) -> Forwarded<'_> {
        let asked_host = self.canonical.host_header.map(str::as_bytes);
        Forwarded {
            host: self.host.as_deref().or(asked_host),
            asked_host,
            endpoint,
            port: self.canonical.port,
            request_id: self.trail.request_id().as_bytes(),
            hops: self.hops,
            chunked: false,
            multiplexed: false,
            upgrade: false,
            key: None,
            trace: None,
            facts: self.facts,
            granted: self.granted,
            told: self.told,
            changes: self.changes.as_deref(),
            closes: false,
            mode: self.settings.forwarded_fields.unwrap_or_default(),
        }
    }

    /// The head of a copy that another backend gets, without its last line and without what frames a body.
    pub fn head_of_copy(&self, client: &Client, target: Option<&str>, host: Option<&str>) -> Vec<u8> {
        let told = self.forwarded(client.peer.local);
        let forwarded = Forwarded {
            host: host.map(str::as_bytes).or(told.host),
            ..told
        };
        let mut head = Vec::with_capacity(self.request.fields.size() + ROOM);
        head.extend_from_slice(self.request.method.as_str().as_bytes());
        head.push(b' ');
        head.extend_from_slice(target.map_or(self.target(), str::as_bytes));
        head.extend_from_slice(b" HTTP/1.1\r\n");
        headers::write_fields(&mut Unframed(&mut head), &self.request.fields, client, &forwarded);
        head
    }

    fn target(&self) -> &[u8] {
        self.target.as_deref().map_or(self.request.target(), str::as_bytes)
    }

    /// The request as a pod gets it over HTTP/1.1.
    fn http1(
        &self,
        client: &Client,
        endpoint: &LiveEndpoint<ClientBody>,
        body: &ClientBody,
        buffers: &Buffers,
    ) -> RequestOut {
        let length = self.facts.length.and_then(|length| length.to_str()?.parse().ok());
        let encoder = match length {
            _ if body.is_end_stream() => None,
            Some(length) if !self.facts.chunked => Some(Encoder::Length(length)),
            _ => Some(Encoder::Chunked),
        };
        let chunked = encoder == Some(Encoder::Chunked);
        let mut head = buffers.head();
        head.reserve(self.request.fields.size() + ROOM);
        head.extend_from_slice(self.request.method.as_str().as_bytes());
        head.push(b' ');
        head.extend_from_slice(self.target());
        head.extend_from_slice(b" HTTP/1.1\r\n");
        self.write_fields(&mut head, client, endpoint, chunked);
        head.extend_from_slice(b"\r\n");
        let announced = if chunked {
            self.request.fields.announced()
        } else {
            Vec::new()
        };
        RequestOut {
            head,
            is_head: self.request.method == Method::HEAD,
            encoder,
            announced,
        }
    }

    /// The same over HTTP/2.
    fn http2(
        &self,
        client: &Client,
        endpoint: &LiveEndpoint<ClientBody>,
        body: ClientBody,
    ) -> Result<Request<ClientBody>, ProxyError> {
        let mut fields = HeaderMap::with_capacity(self.request.fields.len() + 8);
        // HTTP/2 frames bodies itself, so one without a length has no field that says so.
        self.write_fields(&mut fields, client, endpoint, false);
        let mut request = Request::new(body);
        *request.method_mut() = self.request.method.clone();
        let target = PathAndQuery::try_from(self.target()).map_err(|_| ProxyError::BadTarget)?;
        *request.uri_mut() = target.into();
        *request.headers_mut() = fields;
        *request.version_mut() = Version::HTTP_2;
        name_authority(&mut request, self.backend.terms.tls.is_some())?;
        Ok(request)
    }
}

/// A head of HTTP/1.1 without what frames a body.
struct Unframed<'h>(&'h mut Vec<u8>);

impl Sink for Unframed<'_> {
    fn field(&mut self, name: &'static str, value: &[u8]) {
        if !matches!(
            name,
            "Content-Length: " | "Transfer-Encoding: " | "TE: " | "Connection: "
        ) {
            self.0.field(name, value);
        }
    }

    fn lines(&mut self, fields: &message::Fields, lines: Range<usize>) {
        for (place, field) in fields.iter().enumerate().skip(lines.start).take(lines.len()) {
            if !matches!(field.known, Name::ContentLength | Name::Trailer) {
                fields.write_lines(place..place + 1, self.0);
            }
        }
    }
}

/// Over HTTP/2 the host is part of the target (RFC 9113, section 8.3.1).
fn name_authority(request: &mut Request<ClientBody>, secure: bool) -> Result<(), ProxyError> {
    let host = request
        .headers_mut()
        .remove(http::header::HOST)
        .ok_or(ProxyError::MissingHost)?;
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(if secure { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = Some(Authority::try_from(host.as_bytes()).map_err(|_| ProxyError::BadTarget)?);
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| ProxyError::BadTarget)?;
    Ok(())
}
