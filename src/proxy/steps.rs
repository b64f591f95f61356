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

use super::access::{self, Asked, Granted, Refused, Why};
use super::affinity;
use super::body::{ClientBody, Source, Upload};
use super::canonical::{self, Canonical};
use super::certificate::Told;
use super::client::Client;
use super::compress;
use super::deadline::{self, Alarm};
use super::error::ProxyError;
use super::error_pages::{self, Failed};
use super::facts::Facts;
use super::forward::{self, ForwardError, Luggage, Plan, Stop};
use super::headers::Changes;
use super::mirrors;
use super::pacing::Pacing;
use super::reply::{self, Draft};
use super::request_body::RequestBody;
use super::response_fields;
use super::trail::Trail;
use super::upgrade;
use super::wait::{Limit, Limits};
use super::worker::Worker;
use crate::message::{Fields, Name, Request};
use crate::policy::rate::Asker;
use crate::policy::reply_fields;
use crate::table::decide::{self, Ask, Outcome, Refusal, Subject};
use crate::table::{
    Access, After, Answer, Backend, Before, ErrorPages, Known, Protocol, Route, Table, UpstreamHost, canonical_host,
};
use http::{HeaderValue, StatusCode};
use std::borrow::Cow;
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
    request: &'r Request,
    ask: &'r Ask<'r>,
    canonical: Canonical<'r>,
    /// For a WebSocket over HTTP/2.
    key: Option<upgrade::Key>,
    upload: Rc<Upload>,
    /// When the time is up that a gRPC client gives.
    deadline: Option<Instant>,
}

impl Admitted<'_> {
    /// What the variables of a route's templates stand for.
    fn known<'k>(&'k self, route: &'k Route, backend: Option<&'k Backend>) -> Known<'k> {
        Known {
            request_id: Some(self.trail.request_id().as_str()),
            backend,
            ..decide::known(self.ask, &self.canonical, route)
        }
    }

    /// The request as the Service of its error page is told of it.
    fn failed<'k>(&'k self, table: &'k Table, route: &'k Route, backend: Option<&'k Arc<Backend>>) -> Failed<'k> {
        let main = || table.backend(route.to.main()?);
        Failed {
            worker: self.worker,
            client: self.client,
            table,
            ask: self.ask,
            known: self.known(route, backend.or_else(main).map(|backend| &**backend)),
            id: self.trail.request_id(),
        }
    }
}

/// Takes a request through all its steps. The reply is made whatever happens.
///
/// # Errors
/// Why it is not answered by a pod, nor by a redirect.
pub async fn take(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    (request, body): (&Request, RequestBody),
    trail: &Trail,
    draft: &mut Draft<'_>,
) -> Result<(), ForwardError> {
    let upload = Upload::of(&body, worker);
    let mut luggage = Luggage {
        body: Some(ClientBody::new(body, &upload, client, worker)),
        place: None,
        waited: false,
    };
    let facts = Facts::of(&request.fields);
    let known_host = (facts.host).and_then(|host| worker.known_hosts.find(host.as_bytes()));
    let key = upgrade::Key::of(request);
    let ask = canonical::ask(request, &facts, client, known_host.as_deref(), key.is_some());
    // Looked at where it is, as the plan below: an await would keep room for it in two places.
    let admitted = admit((worker, client, trail), (request, upload), (&facts, &ask), key);
    let request = match admitted {
        Ok(Some(ref request)) => request,
        Ok(None) => {
            reply::server_options(draft);
            return Ok(());
        }
        Err(failure) => {
            reply::error(draft, client, trail.request_id(), failure.error, trail.is_grpc());
            return Err(failure);
        }
    };
    let (mut anew, mut charged, mut mirrored) = (0, None, false);
    let mut granted: Option<Box<Granted>> = None;
    loop {
        let table = worker.table();
        let decision = decide::decide(&table, request.ask, &request.canonical, &worker.settings.rules());
        trail.decided(&table, &decision);
        let told = decision
            .clients
            .and_then(|clients| Told::of(clients, request.ask.shown));
        let mut passed = decision.passed;
        let mut refused = live(request, passed, &mut charged);
        if refused.is_none()
            && let Some((place, wanted)) = access(passed, granted.as_deref())
            && let Some(route) = decision.route
        {
            let asked = Asked {
                worker,
                client,
                request: request.request,
                ask: request.ask,
                canonical: &request.canonical,
                route,
                told: told.as_deref(),
                table: &table,
                id: trail.request_id(),
            };
            // On the heap, for few routes have such a step.
            luggage.waited = true;
            match Box::pin(access::ask(&asked, wanted)).await {
                Ok(_) if anew >= MOST_ANEW => refused = Some((place, Box::new(ProxyError::AccessUnclear.into()))),
                Ok(shown) => {
                    granted = Some(Box::new(shown));
                    // It took time, in which a guard may have come.
                    if worker.table().generation != table.generation {
                        anew += 1;
                        continue;
                    }
                }
                Err(why) => refused = Some((place, Box::new(why))),
            }
        }
        let mut fields = Fields::new();
        let failure = match decision.outcome {
            _ if let Some((place, refused)) = refused => {
                passed = passed.get(..place).unwrap_or_default();
                fields = refused.fields;
                match refused.why {
                    Why::Error(failure) => Some(failure),
                    Why::SignIn(location) => {
                        if let Some(route) = decision.route {
                            trail.has_to_sign_in(route);
                        }
                        let location = Some(location);
                        let status = StatusCode::FOUND;
                        reply::direct(draft, &Answer { status, location });
                        None
                    }
                }
            }
            Outcome::Forward {
                route,
                backend,
                hops,
                path,
            } => {
                let known = (granted.as_deref(), told.as_deref());
                match &before(
                    (request, &facts),
                    table.generation,
                    (route, backend),
                    (hops, path),
                    known,
                ) {
                    Err(error) => Some((*error).into()),
                    Ok(plan) => {
                        if !std::mem::replace(&mut mirrored, true) {
                            mirrors::begin((worker, client), plan, (&table, route), request.ask);
                        }
                        let forwarded = {
                            let forwarding = pin!(forward::forward(worker, client, plan, &mut luggage, draft));
                            match plan.deadline(request) {
                                None => forwarding.await,
                                // On the heap, for few requests need it.
                                Some(at) => Box::pin(deadline::keep(at, forwarding)).await,
                            }
                        };
                        match forwarded {
                            Ok(()) => {
                                let pages = error_pages::wanted(passed, draft.head.status, true);
                                if let Some(pages) = pages.filter(|_| !trail.is_grpc())
                                    && Box::pin(page(request, plan, (&table, pages), draft)).await
                                {
                                    own(request, (route, Some(backend)), passed, draft);
                                } else {
                                    after(request, plan, draft);
                                }
                                return Ok(());
                            }
                            Err(Stop::Anew(_)) if anew < MOST_ANEW => {
                                luggage.waited = true;
                                anew += 1;
                                continue;
                            }
                            Err(Stop::Anew(failure) | Stop::Failed(failure)) => Some(failure),
                        }
                    }
                }
            }
            Outcome::Redirect(to) => {
                reply::redirect(draft, &to);
                None
            }
            Outcome::Answer(answer) => {
                reply::direct(draft, answer);
                None
            }
            Outcome::Elsewhere { status, location } => {
                // A target's text was checked, and what it expands to was read as text of a field.
                let location = HeaderValue::try_from(location).ok();
                reply::direct(draft, &Answer { status, location });
                None
            }
            Outcome::Text { status, text } => {
                reply::text(draft, status, text);
                None
            }
            Outcome::Preflight(cors) => {
                reply::preflight(draft);
                cors.decorate(&request.request.method, &request.request.fields, &mut draft.head.fields);
                None
            }
            Outcome::Closed(guard) => Some(ForwardError {
                error: if guard.invalid {
                    ProxyError::GuardInvalid
                } else {
                    ProxyError::GuardNotEnforced
                },
                endpoint: None,
                cause: Some(guard.to_string()),
            }),
            Outcome::Refused(refusal) => {
                if refusal == Refusal::Loop {
                    worker.counters.loops.add();
                }
                Some(ProxyError::from(refusal).into())
            }
        };
        if let Some(failure) = &failure {
            decision.route.inspect(|route| trail.fails_on(route));
            reply::error(draft, client, trail.request_id(), failure.error, trail.is_grpc());
        }
        draft.head.fields.extend(&fields);
        if let (Some(route), Some(pages)) = (decision.route, error_pages::wanted(passed, draft.head.status, false))
            && !trail.is_grpc()
        {
            let of_guard = failure.as_ref().is_some_and(|failure| failure.error.is_of_guard());
            let failed = request.failed(&table, route, decision.backend);
            Box::pin(error_pages::put(&failed, pages, of_guard, draft)).await;
        }
        if let Some(granted) = &granted {
            granted.decorate(draft.head.status, &mut draft.head.fields);
        }
        if let Some(route) = decision.route {
            own(request, (route, decision.backend), passed, draft);
        }
        return failure.map_or(Ok(()), Err);
    }
}

/// Reads what the request's head says, and refuses what no rule could answer. Absent for `OPTIONS *`.
fn admit<'r>(
    (worker, client, trail): (&'r Rc<Worker>, &'r Rc<Client>, &'r Trail),
    (request, upload): (&'r Request, Rc<Upload>),
    (facts, ask): (&'r Facts<'r>, &'r Ask<'r>),
    key: Option<upgrade::Key>,
) -> Result<Option<Admitted<'r>>, ForwardError> {
    if worker.is_overloaded() {
        return Err(ProxyError::Overloaded.into());
    }
    #[cfg(debug_assertions)]
    super::fail::maybe(request.path());
    if !upload.is_empty() {
        trail.receives(&upload);
    }
    let subject = ask.subject(&worker.settings.rules());
    client.asks(request.version, facts);
    if !matches!(subject, Ok(Subject::Server)) {
        // A gRPC error has status 200, which would agree to a WebSocket.
        trail.expects_grpc(facts.grpc && client.is_multiplexed() && key.is_none());
    }
    let canonical = match subject {
        Ok(Subject::Resource(canonical)) => canonical,
        Ok(Subject::Server) => return Ok(None),
        Err(refusal) => return Err(ProxyError::from(refusal).into()),
    };
    let is_new = ask.host.is_some() && ask.known_host.is_none() && ask.authority.is_none();
    if is_new && let (Some(host), Some(text)) = (&canonical.host, canonical.host_header) {
        worker.known_hosts.put(text, host, canonical.port);
    }
    let deadline = deadline::deadline(&request.fields, facts).filter(|_| trail.is_grpc());
    Ok(Some(Admitted {
        worker,
        client,
        trail,
        request,
        ask,
        canonical,
        key,
        upload,
        deadline: deadline.map(|after| Instant::now() + after),
    }))
}

/// What a client still has to show to be let in, and its place among the steps.
fn access<'d>(passed: &'d [Before], granted: Option<&Granted>) -> Option<(usize, &'d Arc<Access>)> {
    let mut steps = passed.iter().enumerate();
    let found = steps.find_map(|(place, step)| match step {
        Before::Access(access) => Some((place, access)),
        _ => None,
    });
    found.filter(|(_, access)| granted.is_none_or(|granted| !granted.is_by(access)))
}

/// Takes a request through the steps that go by live state. One that is decided anew is not charged again. What refuses it
/// comes with its place among the steps.
fn live(request: &Admitted<'_>, passed: &[Before], charged: &mut Option<u64>) -> Option<(usize, Box<Refused>)> {
    for (place, step) in passed.iter().enumerate() {
        if let Before::Connections(limit) = step
            && !request.trail.counts(limit, request.client)
        {
            let error = ProxyError::TooManyUnderWay(limit.status);
            let refused = if limit.native {
                refused_for(error, 1)
            } else {
                error.into()
            };
            return Some((place, Box::new(refused)));
        }
        let Before::Rates(rates) = step else { continue };
        if charged.replace(rates.id) == Some(rates.id) {
            continue;
        }
        let asker = Asker {
            client: request.client.address(),
            host: request.canonical.host.as_deref(),
            fields: &request.request.fields,
        };
        let admission = request.worker.settings.buckets.admit(rates, &asker);
        if admission.forgotten > 0 {
            request.worker.counters.rates_forgotten.add();
        }
        if !admission.passes {
            let error = ProxyError::TooOften(rates.status);
            let refused = if rates.native {
                refused_for(error, admission.again)
            } else {
                error.into()
            };
            return Some((place, Box::new(refused)));
        }
    }
    None
}

/// A refusal that says in how many seconds the client may come again.
fn refused_for(error: ProxyError, seconds: u64) -> Refused {
    let mut refused = Refused::from(error);
    refused.fields.append(&Name::RetryAfter, seconds.max(1).to_string());
    refused
}

/// Takes an answer of narthex's own through the response side of the steps that the request had passed. HSTS is about the
/// host, so that all answers of the route have it.
fn own(
    request: &Admitted<'_>,
    (route, backend): (&Route, Option<&Arc<Backend>>),
    passed: &[Before],
    draft: &mut Draft<'_>,
) {
    let (status, fields) = (draft.head.status, &mut draft.head.fields);
    for step in passed {
        match step {
            Before::Cors(cors) => cors.decorate(&request.request.method, &request.request.fields, fields),
            Before::Fields(changes) if !changes.reply.is_empty() => {
                let known = request.known(route, backend.map(|backend| &**backend));
                changes.reply.apply(&known, status, fields);
            }
            _ => {}
        }
    }
    for step in &route.policies.after {
        if let After::Hsts(value) = step {
            reply_fields::set_hsts(value, request.client.is_secure(), fields);
        }
    }
}

/// Plans what a pod gets, by the route's and the backend's settings.
fn before<'r>(
    (request, facts): (&'r Admitted<'_>, &'r Facts<'r>),
    generation: u64,
    (route, backend): (&'r Arc<Route>, &'r Arc<Backend>),
    (hops, path): (u8, Option<String>),
    (granted, told): (Option<&'r Granted>, Option<&'r Told>),
) -> Result<Plan<'r>, ProxyError> {
    let (head, client, settings) = (request.request, request.client, &*backend.settings);
    let protocol = backend.protocol();
    request.upload.limit(route.policies.body_limit());
    let host = match &settings.upstream_host {
        Some(UpstreamHost::Named(host)) => Some(Cow::Borrowed(host.as_bytes())),
        _ => None,
    };
    let (changes, host) = if route.policies.changes_fields() {
        let known = request.known(route, Some(backend));
        let host = host.map_or_else(|| own_host(&known, route), |host| Ok(Some(host)))?;
        (changes(&known, route), host)
    } else {
        (None, host)
    };
    client.wait.limits.set(Limits {
        head: Limit::default(),
        stream: settings.stream_timeout.into(),
        body: settings.body_timeout.into(),
        send: settings.send_timeout.into(),
        take: settings.take_timeout.into(),
        tunnel: settings.tunnel_timeout.into(),
    });
    Ok(Plan {
        request: head,
        ask: request.ask,
        canonical: &request.canonical,
        route,
        target: match path {
            Some(path) => Some(with_query(path, head.query())),
            None => request.canonical.target(head, route),
        },
        host,
        changes,
        granted,
        told,
        hops,
        backend,
        generation,
        protocol,
        settings,
        affinity: affinity::affinity(head, &request.canonical, route, backend, client),
        upgrade: request.key.is_some()
            || (protocol == Protocol::Http1 && upgrade::is_asked_for(head, facts, request.upload.is_empty())),
        key: request.key.as_ref(),
        facts,
        upload: &request.upload,
        trail: request.trail,
        until: (settings.request_timeout).map(|after| Instant::from_std(request.trail.began()) + after),
    })
}

/// The fields that a pod gets beside those that all get.
fn changes<'r>(known: &Known<'_>, route: &'r Route) -> Option<Box<Changes<'r>>> {
    let mut steps = route.policies.before.iter();
    let of = steps.find_map(|step| match step {
        Before::Fields(changes) if !changes.request.is_empty() => Some(&changes.request),
        _ => None,
    })?;
    Some(Box::new(Changes {
        of,
        more: of.expand(known),
    }))
}

/// `Host` as a pod gets it, where a step says so.
fn own_host<'r>(known: &Known<'_>, route: &Route) -> Result<Option<Cow<'r, [u8]>>, ProxyError> {
    let template = route.policies.before.iter().find_map(|step| match step {
        Before::Host(template) => Some(template),
        _ => None,
    });
    let Some(template) = template else { return Ok(None) };
    let host = template.expand(known).into_owned();
    canonical_host(&host).map_err(ProxyError::BadHost)?;
    Ok(Some(Cow::Owned(host.into_bytes())))
}

/// A path with the query as it came.
fn with_query(mut path: String, query: Option<&str>) -> String {
    if let Some(query) = query {
        path.push('?');
        path += query;
    }
    path
}

impl Plan<'_> {
    /// When the time of a request is up.
    fn deadline(&self, request: &Admitted<'_>) -> Option<Instant> {
        [request.deadline, self.until].into_iter().flatten().min()
    }
}

/// Puts a page in the place of a pod's error. Whether there is one.
async fn page(
    request: &Admitted<'_>,
    plan: &Plan<'_>,
    (table, pages): (&Table, &ErrorPages),
    draft: &mut Draft<'_>,
) -> bool {
    let Source::Pod(exchange) = &*draft.source else {
        return false;
    };
    let (status, endpoint) = (draft.head.status, exchange.lease.endpoint.clone());
    let failed = request.failed(table, plan.route, Some(plan.backend));
    let put = error_pages::put(&failed, pages, false, draft).await;
    if put && status.is_server_error() {
        request.trail.pod_failed(request.request, plan.route, &endpoint, status);
    }
    put
}

/// Makes of a pod's reply what the client gets: by the backend, then by the route's steps, then by those of all replies.
fn after(request: &Admitted<'_>, plan: &Plan<'_>, draft: &mut Draft<'_>) {
    let (worker, client, asked) = (request.worker, request.client, request.request);
    let Source::Pod(exchange) = &*draft.source else { return };
    let (status, endpoint) = (draft.head.status, &exchange.lease.endpoint);
    if status.is_server_error() {
        request.trail.pod_failed(asked, plan.route, endpoint, status);
    }
    let endpoint = endpoint.id;
    response_fields::forbid_by_status(status, client.is_multiplexed(), &mut draft.head.fields);
    *draft.alarm = plan.deadline(request).map(|at| Alarm::set(at, client));
    affinity::remember(
        plan.backend,
        plan.affinity,
        (endpoint, plan.route),
        (client, &asked.fields),
        &mut draft.head.fields,
    );
    let switches = status == StatusCode::SWITCHING_PROTOCOLS;
    if switches {
        draft.source.begin_tunnel(request.trail.take_place());
    }
    if let Some(granted) = plan.granted {
        granted.decorate(status, &mut draft.head.fields);
    }
    for step in plan.route.policies.after.iter().chain(&*worker.settings.after) {
        match step {
            After::Compress(settings) => compress::compress(worker, settings, asked, draft),
            After::Cors(cors) => cors.decorate(&asked.method, &asked.fields, &mut draft.head.fields),
            After::Fields(changes) => {
                let known = request.known(plan.route, Some(plan.backend));
                changes.reply.clean(&known, &mut draft.head.fields);
                changes.reply.apply(&known, status, &mut draft.head.fields);
            }
            After::Hsts(value) => reply_fields::set_hsts(value, client.is_secure(), &mut draft.head.fields),
            After::Pace(pace) if !switches => *draft.pacing = Some(Box::new(Pacing::new(*pace))),
            After::Pace(_) => {}
            After::Server(value) => reply_fields::add_server(value, &mut draft.head.fields),
        }
    }
    if switches && plan.key.is_some() {
        // HTTP/2 has no 101: the stream is open (RFC 8441, section 5).
        draft.head.status = StatusCode::OK;
    }
}
