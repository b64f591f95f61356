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
pub mod reply;
mod request_body;
mod retry;
mod trail;
pub mod trailers;
mod trust;
pub mod upgrade;
pub mod worker;

pub use body::{Exchange, ReplyBody};
pub use client::{Client, Ends, Handshake, HttpVersion, Peer, Silence};
pub use error::{ProxyError, Side};
pub use reply::RawReply;
pub use request_body::RequestBody;
pub use trail::{refused, unread};
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
use std::convert::Infallible;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use tokio::time::Instant;
use trail::{Head, Trail};

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
    let (mut parts, body) = request.into_parts();
    client.begins(&parts.headers, &worker.settings.trusted_proxies);
    let version = parts.version;
    let request_id = request_id(&parts, &client);
    let mut trail = Trail::begins(&worker, &client, Head::from(&parts), request_id);
    let answered = {
        // Pinned where it is made: it is large, and `catch_unwind` as a future would move it.
        let mut answering = pin!(forward_or_answer(&worker, &client, (&mut parts, body), &trail));
        poll_fn(|cx| {
            let poll = catch_unwind(AssertUnwindSafe(|| answering.as_mut().poll(cx)));
            poll.map_or(Poll::Ready(Err(())), |poll| poll.map(Ok))
        })
        .await
    };
    let answered = answered.unwrap_or_else(|()| {
        worker.counters.panics.add();
        Err(ProxyError::Panic.into())
    });
    let mut reply = answered.unwrap_or_else(|failure| {
        trail.failed(&client, Head::from(&parts), &failure);
        reply::error(&client, trail.request_id(), failure.error, trail.is_grpc())
    });
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
    trail.answered(reply.status(), reply.headers());
    reply.body_mut().hold(trail);
    Ok(reply)
}

/// Answers a request that is not even looked at.
pub fn refuse<B>(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    request: &Request<B>,
    error: ProxyError,
) -> Response<ReplyBody> {
    let mut trail = Trail::begins(worker, client, Head::from(request), new_request_id());
    trail.failed(client, Head::from(request), &error.into());
    let mut reply = reply::error(client, trail.request_id(), error, false);
    trail.answered(reply.status(), reply.headers());
    reply.body_mut().hold(trail);
    reply
}

/// The road of a request.
async fn forward_or_answer(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    (parts, body): (&mut Parts, RequestBody),
    trail: &Trail,
) -> Result<Response<ReplyBody>, Failure> {
    if worker.is_overloaded() {
        return Err(ProxyError::Overloaded.into());
    }
    #[cfg(debug_assertions)]
    fail::maybe(parts.uri.path());
    let key = upgrade::Key::of(parts)?;
    let upload: Rc<Upload> = Rc::default();
    let body = ClientBody::new(body, &upload, client, worker);
    if !body.is_empty() {
        trail.receives(&upload);
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
        trail.expects_grpc(fields.grpc && client.is_multiplexed() && key.is_none());
        client.asks(parts.version, &fields);
    }
    let canonical = match subject.map_err(ProxyError::from)? {
        Subject::Resource(canonical) => canonical,
        Subject::Server => return Ok(reply::server_options(client)),
    };
    let deadline = deadline::deadline(&parts.headers, &fields).filter(|_| trail.is_grpc());
    let deadline = deadline.map(|after| Instant::now() + after);
    let mut luggage = Luggage {
        body: Some(body),
        place: None,
    };
    let mut anew = 0;
    loop {
        let table = worker.table();
        let decision = decide::decide(&table, &ask, &canonical, &rules);
        trail.decided(&table, &decision);
        let fails = |failure| {
            decision.route.inspect(|route| trail.fails_on(route));
            failure
        };
        let (route, backend, hops) = match decision.outcome {
            Outcome::Forward { route, backend, hops } => (route, backend, hops),
            Outcome::Redirect(to) => return reply::redirect(client, &to).map_err(|error| fails(error.into())),
            Outcome::Closed(guard) => {
                return Err(fails(Failure {
                    error: ProxyError::GuardNotEnforced,
                    endpoint: None,
                    cause: Some(guard.to_string()),
                }));
            }
            Outcome::Refused(refusal) => {
                if refusal == Refusal::Loop {
                    worker.counters.loops.add();
                }
                return Err(fails(ProxyError::from(refusal).into()));
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
            trail,
            until: (settings.request_timeout).map(|after| Instant::from_std(trail.began()) + after),
        };
        let deadline = [deadline, outgoing.until].into_iter().flatten().min();
        let forwarding = pin!(forward::forward(worker, client, &outgoing, luggage));
        let forwarded = match deadline {
            None => forwarding.await,
            // On the heap, for few requests need it.
            Some(at) => Box::pin(deadline::keep(at, forwarding)).await,
        };
        match forwarded {
            Ok(answer) => return Ok(take_answer(worker, client, &outgoing, deadline, answer)),
            Err(Stop::Anew(stopped)) if anew < MOST_ANEW => {
                anew += 1;
                luggage = stopped.luggage;
            }
            Err(Stop::Anew(stopped)) => return Err(fails(stopped.failure)),
            Err(Stop::Failed(failure)) => return Err(fails(failure)),
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
) -> Response<ReplyBody> {
    let (parts, route) = (outgoing.parts, outgoing.route);
    let endpoint = exchange.lease.endpoint.id;
    if response.status().is_server_error() {
        let head = Head::from(parts);
        outgoing
            .trail
            .pod_failed(head, route, &exchange.lease.endpoint, response.status());
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
fn request_id(parts: &Parts, client: &Client) -> HeaderValue {
    if client.peer.trusted
        && let Some(id) = parts.headers.get(headers::X_REQUEST_ID)
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
