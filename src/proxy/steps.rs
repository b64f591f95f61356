//! The steps of a request, in the order in which they are taken.
//!
//! | step | sees | may change | when it fails |
//! |---|---|---|---|
//! | [`admit`] | the client, the request's head, how much is under way | nothing; the body is taken in | an error reply; no rule was looked at |
//! | [`decide`](decide::decide) | the head, the table that is live | nothing; `explain` asks it too | an error reply; a redirect and a closed route end here as well |
//! | [`before`] | the head, the route, its backend | the [`Plan`] | an error reply; no endpoint was chosen |
//! | choose (`pick` in `forward.rs`) | the plan, the endpoints that are live | which endpoint gets the attempt | another endpoint, another decision if the pods are gone, else an error reply |
//! | [`forward`](forward::forward) | the plan, the body | nothing; each attempt's request is made anew from head and plan | another attempt where nothing is lost, another decision if the pods are gone, else an error reply |
//! | [`after`] | the head, the plan, the pod's reply | the reply: its fields, and how its body comes | it does not fail; a step that cannot do its part leaves the reply as it is |
//!
//! The client's head is never changed, so that every attempt starts from the same. What the steps make of the request is
//! in the plan; the route's own steps are in its [`Policies`](crate::table::Policies), in the order of its dialect.

use super::affinity;
use super::body::{ClientBody, ReplyBody, Upload};
use super::canonical::{self, Canonical};
use super::client::Client;
use super::compress;
use super::deadline::{self, Alarm};
use super::error::ProxyError;
use super::exchange::Exchange;
use super::forward::{self, ForwardError, Luggage, Plan, Stop};
use super::headers::{self, Fields};
use super::reply;
use super::request_body::RequestBody;
use super::trail::{Head, Trail};
use super::upgrade;
use super::wait::Limits;
use super::worker::Worker;
use crate::policy::reply_fields;
use crate::table::decide::{self, Ask, Outcome, Refusal, Subject};
use crate::table::{After, Backend, Protocol, Route, UpstreamHost};
use http::request::Parts;
use http::{Response, StatusCode};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use tokio::time::Instant;

/// How often a request is decided anew at most. This happens for each change that takes away what it was routed to while
/// it waits or is tried again, and after three of them another would be as likely.
const MOST_ANEW: usize = 3;

/// A request that was admitted, as all later steps see it.
struct Admitted<'r> {
    worker: &'r Rc<Worker>,
    client: &'r Rc<Client>,
    trail: &'r Trail,
    parts: &'r Parts,
    fields: Fields<'r>,
    ask: Ask<'r>,
    canonical: Canonical<'r>,
    /// For a WebSocket over HTTP/2.
    key: Option<upgrade::Key>,
    upload: Rc<Upload>,
    /// When the time is up that a gRPC client gives.
    deadline: Option<Instant>,
}

/// Takes a request through all its steps.
///
/// # Errors
/// Why it is not answered by a pod, nor by a redirect.
pub async fn take(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    (parts, body): (&mut Parts, RequestBody),
    trail: &Trail,
) -> Result<Response<ReplyBody>, ForwardError> {
    let upload: Rc<Upload> = Rc::default();
    let mut luggage = Luggage {
        body: Some(ClientBody::new(body, &upload, client, worker)),
        place: None,
    };
    // Looked at where it is, as the plan below: an await would keep room for it in two places.
    let admitted = admit(worker, client, (parts, upload), trail);
    let request = match admitted {
        Ok(Some(ref request)) => request,
        Ok(None) => return Ok(reply::server_options(client)),
        Err(failure) => return Err(failure),
    };
    let mut anew = 0;
    loop {
        let table = worker.table();
        let decision = decide::decide(&table, &request.ask, &request.canonical, &worker.settings.rules());
        trail.decided(&table, &decision);
        let failure = match decision.outcome {
            Outcome::Forward { route, backend, hops } => {
                match &before(request, table.generation, (route, backend), hops) {
                    Err(error) => (*error).into(),
                    Ok(plan) => {
                        let forwarding = pin!(forward::forward(worker, client, plan, &mut luggage));
                        let forwarded = match plan.deadline(request) {
                            None => forwarding.await,
                            // On the heap, for few requests need it.
                            Some(at) => Box::pin(deadline::keep(at, forwarding)).await,
                        };
                        match forwarded {
                            Ok(answer) => return Ok(after(request, plan, answer)),
                            Err(Stop::Anew(_)) if anew < MOST_ANEW => {
                                anew += 1;
                                continue;
                            }
                            Err(Stop::Anew(failure) | Stop::Failed(failure)) => failure,
                        }
                    }
                }
            }
            Outcome::Redirect(to) => match reply::redirect(client, &to) {
                Ok(reply) => return Ok(reply),
                Err(error) => error.into(),
            },
            Outcome::Answer(answer) => return Ok(reply::direct(client, answer)),
            Outcome::Closed(guard) => ForwardError {
                error: ProxyError::GuardNotEnforced,
                endpoint: None,
                cause: Some(guard.to_string()),
            },
            Outcome::Refused(refusal) => {
                if refusal == Refusal::Loop {
                    worker.counters.loops.add();
                }
                ProxyError::from(refusal).into()
            }
        };
        decision.route.inspect(|route| trail.fails_on(route));
        return Err(failure);
    }
}

/// Reads what the request's head says, and refuses what no rule could answer. Absent for `OPTIONS *`.
fn admit<'r>(
    worker: &'r Rc<Worker>,
    client: &'r Rc<Client>,
    (parts, upload): (&'r mut Parts, Rc<Upload>),
    trail: &'r Trail,
) -> Result<Option<Admitted<'r>>, ForwardError> {
    if worker.is_overloaded() {
        return Err(ProxyError::Overloaded.into());
    }
    #[cfg(debug_assertions)]
    super::fail::maybe(parts.uri.path());
    let key = upgrade::Key::of(parts)?;
    if !upload.is_empty() {
        trail.receives(&upload);
    }
    let parts = &*parts;
    let fields = Fields::of(&parts.headers);
    let ask = canonical::ask(parts, &fields, client, key.is_some());
    let subject = ask.subject(&worker.settings.rules());
    if !matches!(subject, Ok(Subject::Server)) {
        // A gRPC error has status 200, which would agree to a WebSocket.
        trail.expects_grpc(fields.grpc && client.is_multiplexed() && key.is_none());
        client.asks(parts.version, &fields);
    }
    let canonical = match subject {
        Ok(Subject::Resource(canonical)) => canonical,
        Ok(Subject::Server) => return Ok(None),
        Err(refusal) => return Err(ProxyError::from(refusal).into()),
    };
    let deadline = deadline::deadline(&parts.headers, &fields).filter(|_| trail.is_grpc());
    Ok(Some(Admitted {
        worker,
        client,
        trail,
        parts,
        fields,
        ask,
        canonical,
        key,
        upload,
        deadline: deadline.map(|after| Instant::now() + after),
    }))
}

/// Plans what a pod gets, by the route's and the backend's settings.
fn before<'r>(
    request: &'r Admitted<'_>,
    generation: u64,
    (route, backend): (&'r Arc<Route>, &'r Arc<Backend>),
    hops: u8,
) -> Result<Plan<'r>, ProxyError> {
    let (parts, client, settings) = (request.parts, request.client, &*backend.settings);
    let protocol = backend.protocol();
    client.wait.limits.set(Limits {
        head: None,
        stream: settings.stream_timeout,
        body: settings.body_timeout,
        send: settings.send_timeout,
    });
    Ok(Plan {
        parts,
        ask: &request.ask,
        canonical: &request.canonical,
        route,
        target: request.canonical.target(parts, route)?,
        host: match &settings.upstream_host {
            Some(UpstreamHost::Named(host)) => Some(host),
            _ => None,
        },
        hops,
        backend,
        generation,
        protocol,
        settings,
        affinity: affinity::affinity(parts, &request.canonical, route, backend, client),
        upgrade: request.key.is_some()
            || (protocol == Protocol::Http1
                && upgrade::is_asked_for(parts, &request.fields, request.upload.is_empty())),
        key: request.key.as_ref(),
        fields: &request.fields,
        upload: &request.upload,
        trail: request.trail,
        until: (settings.request_timeout).map(|after| Instant::from_std(request.trail.began()) + after),
    })
}

impl Plan<'_> {
    /// When the time of a request is up.
    fn deadline(&self, request: &Admitted<'_>) -> Option<Instant> {
        [request.deadline, self.until].into_iter().flatten().min()
    }
}

/// Makes of a pod's reply what the client gets: by the backend, then by the route's steps, then by those of all replies.
fn after(
    request: &Admitted<'_>,
    plan: &Plan<'_>,
    (response, exchange): (Response<()>, Exchange),
) -> Response<ReplyBody> {
    let (worker, client, parts) = (request.worker, request.client, request.parts);
    let endpoint = exchange.lease.endpoint.clone();
    if response.status().is_server_error() {
        let head = Head::from(parts);
        request.trail.pod_failed(head, plan.route, &endpoint, response.status());
    }
    let mut reply = response.map(|()| ReplyBody::pod(exchange, client));
    headers::forbid_by_status(reply.status(), client.is_multiplexed(), reply.headers_mut());
    reply
        .body_mut()
        .end_with(plan.deadline(request).map(|at| Alarm::set(at, client)));
    affinity::remember(
        plan.backend,
        plan.affinity,
        endpoint.id,
        (client, &parts.headers),
        reply.headers_mut(),
    );
    let switches = reply.status() == StatusCode::SWITCHING_PROTOCOLS;
    if switches {
        reply.body_mut().begin_tunnel();
    }
    for step in plan.route.policies.after.iter().chain(&*worker.settings.after) {
        match step {
            After::Compress(settings) => compress::compress(worker, settings, parts, &mut reply),
            After::Hsts(value) => reply_fields::set_hsts(value, client.is_secure(), reply.headers_mut()),
            After::Server(value) => reply_fields::add_server(value, reply.headers_mut()),
        }
    }
    if switches && plan.key.is_some() {
        // HTTP/2 has no 101: the stream is open (RFC 8441, section 5).
        *reply.status_mut() = StatusCode::OK;
    }
    reply
}
