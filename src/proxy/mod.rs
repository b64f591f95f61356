//! One request, from its head to the reply.

mod affinity;
mod attempt;
pub mod body;
mod canonical;
pub mod client;
mod compress;
mod deadline;
mod dial;
pub mod error;
#[cfg(debug_assertions)]
pub mod fail;
mod forward;
mod forwarded;
pub mod headers;
mod https;
pub mod names;
mod record;
pub mod reply;
mod request_body;
mod retry;
mod seen;
mod story;
pub mod trailers;
mod trust;
pub mod upgrade;
mod words;
pub mod worker;

pub use body::{Exchange, ReplyBody};
pub use client::{Client, Ends, Handshake, HttpVersion, Peer, Silence};
pub use error::{ProxyError, Side};
pub use reply::RawReply;
pub use request_body::RequestBody;
pub use story::refused;
pub use trust::TrustedProxies;
pub use worker::{Counters, Settings, Worker};

use crate::table::Protocol;
use crate::table::decide::{self, Outcome, Refusal, Subject};
use body::{ClientBody, Upload};
use client::Limits;
use deadline::Alarm;
use forward::{Failure, Luggage, Outgoing, Stop};
use headers::Fields;
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Request, Response, StatusCode, Version};
use record::{Running, Timing};
use seen::{Asked, Seen};
use std::convert::Infallible;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use story::Story;
use tokio::time::Instant;

/// How often a request is routed anew at most. It is so for each change that takes away what it was routed to, while it
/// waits or is tried again; and each of the last ones would be as likely to do so again.
const MOST_ANEW: usize = 3;

/// Answers a request, whatever happens: errors and panics become replies here and nowhere else.
///
/// # Errors
/// None.
pub async fn respond(
    worker: Rc<Worker>,
    client: Rc<Client>,
    request: Request<RequestBody>,
) -> Result<Response<ReplyBody>, Infallible> {
    worker.counters.requests.add();
    let mut running = Running::new(&worker, client.http);
    client.begins(request.headers(), &worker.settings.trusted_proxies);
    let request_id = request_id(&request, &client);
    let version = request.version();
    running.story = Story::of(&worker, &client, &request, &request_id);
    let timing = Timing::of(&running);
    let mut seen = Seen::default();
    let answered = {
        // Pinned where it is made: it is large, and `catch_unwind` as a future would move it.
        let mut answering = pin!(answer(
            &worker,
            &client,
            request,
            &request_id,
            &mut seen,
            (&mut running, &timing)
        ));
        poll_fn(|cx| {
            let poll = catch_unwind(AssertUnwindSafe(|| answering.as_mut().poll(cx)));
            poll.map_or(Poll::Ready(Err(())), |poll| poll.map(Ok))
        })
        .await
    };
    let mut reply = match answered {
        Ok(Ok(reply)) => {
            if reply.status().is_server_error() {
                seen.remember_pods(&worker, reply.status(), &request_id);
            }
            reply
        }
        Ok(Err(failure)) => {
            seen.remember(&worker, &failure, &request_id);
            running.failed(&failure);
            error_reply(&worker, &client, &request_id, &failure, &seen)
        }
        Err(_) => {
            worker.counters.panics.add();
            let failure = ProxyError::Panic.into();
            running.failed(&failure);
            error_reply(&worker, &client, &request_id, &failure, &seen)
        }
    };
    worker.counters.response(reply.status());
    let upgraded = reply.status() == StatusCode::SWITCHING_PROTOCOLS;
    // HTTP/1.0 knows the end of such a reply by that of the connection only.
    let by_end = version == Version::HTTP_10 && !reply.body().has_length();
    if (client.last.get() || by_end) && !upgraded {
        let close = HeaderValue::from_static("close");
        reply.headers_mut().insert(header::CONNECTION, close);
        client.said_last.set(true);
        client.ends_by_close.set(by_end);
    }
    if version == Version::HTTP_10 && client.said_last.get() {
        // To a reply of HTTP/1.1, hyper would add that the connection is kept.
        *reply.version_mut() = Version::HTTP_10;
    }
    running.answered(reply.status(), reply.headers(), &timing);
    reply.body_mut().hold(running);
    Ok(reply)
}

/// Answers a request that is not even looked at.
pub fn refuse<B>(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    request: &Request<B>,
    error: ProxyError,
) -> Response<ReplyBody> {
    worker.counters.requests.add();
    let request_id = new_request_id();
    let mut reply = error_reply(worker, client, &request_id, &error.into(), &Seen::default());
    worker.counters.response(reply.status());
    if let Some(mut story) = Story::of(worker, client, request, &request_id) {
        let mut running = Running::new(worker, client.http);
        story.erred(error);
        running.story = Some(story);
        running.answered(reply.status(), reply.headers(), &Timing::default());
        reply.body_mut().hold(running);
    }
    reply
}

/// The road of a request.
async fn answer(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    request: Request<RequestBody>,
    request_id: &HeaderValue,
    seen: &mut Seen,
    (running, timing): (&mut Running, &Timing),
) -> Result<Response<ReplyBody>, Failure> {
    if worker.is_overloaded() {
        return Err(ProxyError::Overloaded.into());
    }
    #[cfg(debug_assertions)]
    fail::maybe(request.uri().path());
    let (mut parts, body) = request.into_parts();
    let answered = forward_or_answer(worker, client, (&mut parts, body), request_id, seen, (running, timing)).await;
    if !answered.as_ref().is_ok_and(|reply| !reply.status().is_server_error()) {
        seen.asked = Some(Asked::of(&parts));
    }
    answered
}

async fn forward_or_answer(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    (parts, body): (&mut Parts, RequestBody),
    request_id: &HeaderValue,
    seen: &mut Seen,
    (running, timing): (&mut Running, &Timing),
) -> Result<Response<ReplyBody>, Failure> {
    let key = upgrade::Key::of(parts)?;
    let upload: Rc<Upload> = Rc::default();
    let body = ClientBody::new(body, &upload, client, worker);
    if !body.is_empty() {
        running.receives(&upload);
    }
    let parts = &*parts;
    let fields = Fields::of(&parts.headers);
    let (ask, rules) = (
        canonical::ask(parts, &fields, client, key.is_some()),
        worker.settings.rules(),
    );
    let subject = ask.subject(&rules);
    if !matches!(subject, Ok(Subject::Server)) {
        // A gRPC error has status 200, which would agree to a WebSocket.
        seen.grpc = fields.grpc && client.is_multiplexed() && key.is_none();
        client.asks(parts.version, &fields);
    }
    let canonical = match subject.map_err(ProxyError::from)? {
        Subject::Resource(canonical) => canonical,
        Subject::Server => return Ok(reply::server_options(client)),
    };
    let deadline = deadline::deadline(&parts.headers, &fields).filter(|_| seen.grpc);
    let deadline = deadline.map(|after| Instant::now() + after);
    let mut luggage = Luggage {
        body: Some(body),
        place: None,
    };
    let mut anew = 0;
    loop {
        let table = worker.table();
        let decision = decide::decide(&table, &ask, &canonical, &rules);
        if let Some(route) = decision.route {
            running.routed(&table, route);
        }
        if decision.backend.is_some() {
            running.has_service();
        }
        let (route, backend, hops) = match decision.outcome {
            Outcome::Forward { route, backend, hops } => (route, backend, hops),
            Outcome::Redirect(to) => return reply::redirect(client, &to).map_err(Failure::from),
            Outcome::Closed(guard) => {
                decision.route.inspect(|route| seen.name(route));
                return Err(Failure {
                    error: ProxyError::GuardNotEnforced,
                    endpoint: None,
                    cause: Some(guard.to_string()),
                });
            }
            Outcome::Refused(refusal) => {
                if refusal == Refusal::Loop {
                    worker.counters.loops.add();
                }
                decision.backend.and(decision.route).inspect(|route| seen.name(route));
                return Err(ProxyError::from(refusal).into());
            }
        };
        let (protocol, settings) = (backend.protocol(), &*backend.settings);
        client.limits.set(Limits {
            head: None,
            stream: settings.stream_timeout,
            body: settings.body_timeout,
            send: settings.send_timeout,
        });
        let outgoing = Outgoing {
            parts,
            canonical: &canonical,
            route,
            request_id,
            hops,
            backend,
            protocol,
            settings,
            affinity: affinity::affinity(parts, &canonical, route, backend, client),
            upgrade: key.is_some()
                || (protocol == Protocol::Http1 && upgrade::is_asked_for(parts, &fields, upload.is_empty())),
            key: key.as_ref(),
            fields: &fields,
            upload: &upload,
            timing,
            until: (settings.request_timeout).map(|after| Instant::from_std(running.began()) + after),
        };
        let deadline = [deadline, outgoing.until].into_iter().flatten().min();
        let forwarding = pin!(forward::forward(worker, client, &outgoing, luggage));
        let forwarded = match deadline {
            None => forwarding.await,
            // On the heap, for few requests need it.
            Some(at) => Box::pin(deadline::keep(at, forwarding)).await,
        };
        match forwarded {
            Ok(answer) => return Ok(take_answer(worker, client, &outgoing, deadline, answer, seen)),
            Err(Stop::Anew(stopped)) if anew < MOST_ANEW => {
                anew += 1;
                luggage = stopped.luggage;
            }
            Err(Stop::Anew(stopped)) => {
                seen.name(route);
                return Err(stopped.failure);
            }
            Err(Stop::Failed(failure)) => {
                seen.name(route);
                return Err(failure);
            }
        }
    }
}

/// A pod's answer as the client gets it.
fn take_answer(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    outgoing: &Outgoing<'_>,
    deadline: Option<Instant>,
    (response, exchange): (Response<()>, Exchange),
    seen: &mut Seen,
) -> Response<ReplyBody> {
    let (parts, route) = (outgoing.parts, outgoing.route);
    let endpoint = exchange.lease.endpoint.id;
    if response.status().is_server_error() {
        seen.name(route);
        seen.endpoint = Some(exchange.lease.endpoint.endpoint.to_string());
    }
    let mut reply = response.map(|()| ReplyBody::pod(exchange, client));
    headers::forbid_by_status(reply.status(), client.is_multiplexed(), reply.headers_mut());
    reply.body_mut().end_with(deadline.map(|at| Alarm::set(at, client)));
    let answered = reply.headers_mut();
    affinity::remember(
        outgoing.backend,
        outgoing.affinity,
        endpoint,
        (client, &parts.headers),
        answered,
    );
    if reply.status() == StatusCode::SWITCHING_PROTOCOLS {
        reply.body_mut().begin_tunnel();
    }
    if let Some(settings) = &route.policies.compression {
        compress::compress(worker, settings, parts, &mut reply);
    }
    https::add_hsts(&route.policies, client, reply.headers_mut());
    if let Some(server) = &worker.settings.server_header {
        let entry = reply.headers_mut().entry(header::SERVER);
        entry.or_insert_with(|| server.clone());
    }
    if outgoing.key.is_some() && reply.status() == StatusCode::SWITCHING_PROTOCOLS {
        // HTTP/2 has no 101: the stream is open (RFC 8441, section 5).
        *reply.status_mut() = StatusCode::OK;
    }
    reply
}

/// A trusted proxy's id, or a new one.
fn request_id(request: &Request<RequestBody>, client: &Client) -> HeaderValue {
    if client.peer.trusted
        && let Some(id) = request.headers().get(headers::X_REQUEST_ID)
    {
        return id.clone();
    }
    new_request_id()
}

/// 128 random bits in hexadecimal.
pub fn new_request_id() -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut bits = fastrand::u128(..);
    let mut text = [0; 32];
    for place in &mut text {
        *place = DIGITS[(bits & 15) as usize];
        bits >>= 4;
    }
    // Hexadecimal digits are header text.
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("0"))
}

/// Turns an error into the reply and the one log line, and counts it.
fn error_reply(
    worker: &Worker,
    client: &Rc<Client>,
    request_id: &HeaderValue,
    failure: &Failure,
    seen: &Seen,
) -> Response<ReplyBody> {
    worker.counters.failed(failure.error);
    log_failure(client, request_id, failure, seen);
    reply::error(client, request_id, failure.error, seen.grpc)
}

fn log_failure(client: &Client, request_id: &HeaderValue, failure: &Failure, seen: &Seen) {
    let verdict = failure.error.verdict();
    let request_id = request_id.to_str().unwrap_or_default();
    let (route, origin, endpoint, cause) = (&seen.route, &seen.origin, &failure.endpoint, &failure.cause);
    let (status, side, label, error) = (
        verdict.status.as_u16(),
        verdict.side.name(),
        verdict.label,
        failure.error,
    );
    let (peer, client) = (client.peer.socket, client.address());
    // A client's faults are a client's to cause at any rate it likes, so they are not for the everyday log.
    if verdict.side == Side::Client {
        tracing::debug!(status, side, reason = label, %error, cause, route, origin, endpoint, %client, %peer, request_id, "request failed");
    } else {
        tracing::warn!(status, side, reason = label, %error, cause, route, origin, endpoint, %client, %peer, request_id, "request failed");
    }
}
