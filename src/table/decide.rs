//! What becomes of a request. The request path and `explain` both decide by this.
//!
//! Only what the request, the table and the settings say is decided here. Whether a pod can be reached, or narthex has
//! too much to do, is live state and comes later.

mod clients;

use super::canonical::{HostError, PathError, canonical_host, canonical_path};
use super::steps::is_own_url;
use super::{
    Answer, Asked, Backend, Before, CanonicalPath, ClientRules, Cors, Destination, Guard, HostSet, Known, KnownHost,
    ListenerId, Match, Presented, Protocol, Route, Says, Scheme, Table,
};
use crate::message::{Fields, Value};
use http::{Method, StatusCode, Version};
use std::borrow::Cow;
use std::cell::Cell;
use std::net::IpAddr;
use std::sync::Arc;

/// Paths a certificate authority asks for in plain (RFC 8555, section 8.3).
pub const ACME: &str = "/.well-known/acme-challenge/";
/// How often a request may pass through narthex.
pub const MAX_HOPS: u8 = 5;

/// The settings that decide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// The port that plain requests are redirected to; absent if HTTPS is not listened for.
    pub https_port: Option<u16>,
    /// `--encoded-slash=reject`.
    pub reject_encoded_slash: bool,
}

/// What a request says, as far as it decides.
#[derive(Clone, Debug)]
pub struct Ask<'r> {
    /// The listener it came in by.
    pub listener: ListenerId,
    /// The name that its client asked for in the TLS handshake (SNI); absent if it named none, or there is no TLS.
    pub server_name: Option<&'r str>,
    /// Whether its client's TLS ends here.
    pub tls: bool,
    /// What its client has shown in the handshake, where it was asked for a certificate.
    pub shown: Option<&'r Presented>,
    /// Whether its peer is one of `--trusted-proxies`.
    pub trusted: bool,
    /// Whether its client speaks HTTPS, to us or to a trusted proxy that says so.
    pub secure: bool,
    /// The client's address; absent where a question does not say it, and then no list of addresses refuses.
    pub client: Option<IpAddr>,
    /// The method; that of an extended CONNECT is already the GET that a pod gets.
    pub method: &'r Method,
    /// The version of HTTP.
    pub version: Version,
    /// The authority of the target, where that has one.
    pub authority: Option<&'r str>,
    /// The path of the target.
    pub path: &'r str,
    /// The query of the target.
    pub query: Option<&'r str>,
    /// All fields, for conditions of routes.
    pub fields: &'r Fields,
    /// The first `Host`.
    pub host: Option<Value<'r>>,
    /// What is known of it, if other requests have said the same.
    pub known_host: Option<&'r KnownHost>,
    /// Whether there is another.
    pub second_host: bool,
    /// `Expect`.
    pub expect: Option<Value<'r>>,
    /// How often the request has passed through narthex, by its field.
    pub hops: Option<Value<'r>>,
    /// Whether `Connection` names more fields than can be taken away: none of them may reach the pod.
    pub lists_too_much: bool,
    /// How long its body is, if it says so.
    pub length: Option<u64>,
    /// Whether it asks for a WebSocket over HTTP/2.
    pub websocket: bool,
    /// Draws a number below the one it is given, for routes that split their requests.
    pub draw: fn(u32) -> u32,
    /// Which share of a rule's requests it belongs to, once that is drawn. It stays in its share if it is decided anew.
    pub share: Cell<Option<u32>>,
}

/// Why a request is refused, whatever its backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `Connection` names too many fields.
    Malformed,
    /// CONNECT and TRACE.
    MethodNotAllowed,
    /// `Expect` asks for something else than 100-continue.
    BadExpectation,
    /// HTTP/1.1 without Host.
    MissingHost,
    /// More than one Host.
    DuplicateHost,
    /// Host is invalid.
    BadHost(HostError),
    /// The target is not a path.
    BadTarget,
    /// The path has no canonical form.
    BadPath(PathError),
    /// The host is served under another certificate than the one this connection was shown, or its listener is gone.
    Misdirected,
    /// No rule matches.
    NoRoute,
    /// The route's backend is in no table any more.
    BackendGone,
    /// A WebSocket over HTTP/2 for pods that speak HTTP/2.
    NoWebSocket,
    /// The request has passed through narthex too often.
    Loop,
    /// The body is longer than the route allows.
    BodyTooLarge,
    /// The client's address is not one of those that the route allows.
    AddressNotAllowed,
    /// The client says of itself what the route does not want.
    Blocked,
    /// The redirect of the route leads to where the request is for.
    RedirectsToItself,
    /// The client speaks plain HTTP, and the route is for HTTPS alone.
    PlainNotServed,
    /// The client speaks HTTPS, and the route is for plain HTTP alone.
    TlsNotServed,
    /// The client has shown no certificate, and the host asks for one.
    NoClientCertificate,
    /// The client's certificate cannot be verified.
    BadClientCertificate,
    /// The client's certificate is not of those whom the host allows.
    SubjectNotAllowed,
}

/// What a request is about.
pub enum Subject<'r> {
    /// The server as a whole: `OPTIONS *` (RFC 9110, section 9.3.7). No pod is asked.
    Server,
    /// A host and a path.
    Resource(Canonical<'r>),
}

/// A request as it is matched and forwarded.
pub struct Canonical<'r> {
    /// The host; absent for HTTP/1.0 without one, which only any-host rules answer.
    pub host: Option<Cow<'r, str>>,
    /// The port in Host.
    pub port: Option<u16>,
    /// `Host` as the pod gets it: as it came, or the authority of an absolute target (RFC 9112 §3.2.2).
    pub host_header: Option<&'r str>,
    pub path: CanonicalPath<'r>,
}

/// What becomes of a request for a host and a path.
#[derive(Debug)]
pub struct Decision<'d> {
    /// The route that matches.
    pub route: Option<&'d Arc<Route>>,
    /// Its backend, if neither a guard nor a redirect comes first.
    pub backend: Option<&'d Arc<Backend>>,
    /// The steps of the route that let the request pass. What narthex answers itself goes through their response side.
    pub passed: &'d [Before],
    /// What the host asks of its clients, where it asks for something.
    pub clients: Option<&'d Arc<ClientRules>>,
    /// What follows.
    pub outcome: Outcome<'d>,
}

/// What follows.
#[derive(Debug)]
pub enum Outcome<'d> {
    /// It is refused.
    Refused(Refusal),
    /// The route is closed by a guard that narthex does not enforce.
    Closed(&'d Arc<Guard>),
    /// It is sent to HTTPS.
    Redirect(Redirect<'d>),
    /// It is sent elsewhere, as a step of the route says.
    Elsewhere { status: StatusCode, location: String },
    /// It gets a text, as a step of the route says.
    Text { status: StatusCode, text: Option<String> },
    /// A browser is told which requests of other origins it may send.
    Preflight(&'d Arc<Cors>),
    /// narthex answers it as the route says.
    Answer(&'d Answer),
    /// A pod answers.
    Forward {
        /// The route it takes.
        route: &'d Arc<Route>,
        /// Where that leads.
        backend: &'d Arc<Backend>,
        /// How often it has passed through narthex, this time included.
        hops: u8,
        /// The path that the pod gets, where the route rewrites it.
        path: Option<String>,
    },
}

/// Where a plain request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redirect<'d> {
    pub status: StatusCode,
    pub host: &'d str,
    /// The port of HTTPS.
    pub port: u16,
    /// The path in canonical form.
    pub path: &'d str,
    /// The query as it came.
    pub query: Option<&'d str>,
}

impl Redirect<'_> {
    /// As `Location` has it.
    pub fn location(&self) -> String {
        let Self { host, path, .. } = self;
        let port = match self.port {
            443 => String::new(),
            port => format!(":{port}"),
        };
        let query = self.query.map(|query| format!("?{query}")).unwrap_or_default();
        format!("https://{host}{port}{path}{query}")
    }
}

impl<'r> Ask<'r> {
    /// Reads what the request is about (RFC 9110 §7.2, RFC 9112 §3.2).
    ///
    /// # Errors
    /// What is wrong with it; nothing of such a request reaches a pod, whatever the table.
    pub fn subject(&self, rules: &Rules) -> Result<Subject<'r>, Refusal> {
        if *self.method == Method::OPTIONS && self.path == "*" {
            return Ok(Subject::Server);
        }
        if *self.method == Method::CONNECT || *self.method == Method::TRACE {
            return Err(Refusal::MethodNotAllowed);
        }
        if self.lists_too_much {
            return Err(Refusal::Malformed);
        }
        if let Some(expect) = self.expect
            && !expect.as_bytes().eq_ignore_ascii_case(b"100-continue")
        {
            return Err(Refusal::BadExpectation);
        }
        if self.second_host {
            return Err(Refusal::DuplicateHost);
        }
        // Over HTTP/2 an :authority is as good as a Host; an absolute target of HTTP/1.1 comes with one.
        let named = self.host.is_some() || (self.version == Version::HTTP_2 && self.authority.is_some());
        if !named && self.version >= Version::HTTP_11 {
            return Err(Refusal::MissingHost);
        }
        // Even where an absolute target overrules it, a malformed Host is refused (RFC 9112 §3.2).
        let named = match (self.host, self.known_host) {
            (None, _) => None,
            (Some(value), Some(known)) => {
                debug_assert_eq!(known.text().as_bytes(), value.as_bytes());
                Some((known.canonical(), known.text()))
            }
            (Some(value), None) => {
                // No host has other bytes than ASCII.
                let text = std::str::from_utf8(value.as_bytes()).map_err(|_| Refusal::BadHost(HostError::Invalid))?;
                Some((canonical_host(text).map_err(Refusal::BadHost)?, text))
            }
        };
        let named = match self.authority {
            None => named,
            Some(text) => Some((canonical_host(text).map_err(Refusal::BadHost)?, text)),
        };
        let path = canonical_path(self.path, rules.reject_encoded_slash).map_err(|error| match error {
            PathError::NotAbsolute => Refusal::BadTarget,
            error => Refusal::BadPath(error),
        })?;
        let (host, port, host_header) = match named {
            Some((host, value)) => (Some(host.name), host.port, Some(value)),
            None => (None, None, None),
        };
        Ok(Subject::Resource(Canonical {
            host,
            port,
            host_header,
            path,
        }))
    }

    /// Draws a number below this one, always the same for a request and a number.
    fn share(&self, below: u32) -> u32 {
        let drawn = self.share.get().unwrap_or_else(|| (self.draw)(u32::MAX));
        self.share.set(Some(drawn));
        // A part of what is below it, so it fits.
        (u64::from(drawn) * u64::from(below) / u64::from(u32::MAX)) as u32
    }

    /// What conditions of routes are about.
    pub fn says(&self) -> Says<'r> {
        Says {
            scheme: match (self.tls, self.secure) {
                (true, _) => Scheme::Https,
                (false, true) => Scheme::HttpsToProxy,
                (false, false) => Scheme::Http,
            },
            method: self.method,
            fields: Some(self.fields),
            query: self.query,
        }
    }

    /// How often the request has passed through narthex, this time included.
    fn count_hops(&self) -> Result<u8, Refusal> {
        match self.hops_with_this() {
            hops if hops > MAX_HOPS => Err(Refusal::Loop),
            hops => Ok(hops),
        }
    }

    /// The same, whether that is too often or not.
    pub fn hops_with_this(&self) -> u8 {
        let before = self.hops.and_then(|value| value.to_str()?.parse::<u8>().ok());
        before.unwrap_or(0).saturating_add(1)
    }

    /// Whether the host may be asked for on this connection, by [`Table::may_ask`]. Without that, a client that was let
    /// in for one name could reach another (domain fronting), and browsers that join connections would go astray. A
    /// trusted proxy sends the requests of many clients over a connection that it opened for one of them, so there the
    /// name says nothing.
    fn may_ask(&self, table: &Table, host: Option<&str>) -> bool {
        match self.server_name {
            None => true,
            name => name == host || self.trusted || table.may_ask(name, host),
        }
    }
}

/// Decides a request. It is decided again, with the table of then, when what it was routed to goes away before a pod
/// has had it.
pub fn decide<'d>(table: &'d Table, ask: &'d Ask<'_>, canonical: &'d Canonical<'_>, rules: &Rules) -> Decision<'d> {
    let refused = |refusal| Decision {
        route: None,
        backend: None,
        passed: &[],
        clients: None,
        outcome: Outcome::Refused(refusal),
    };
    let host = canonical.host.as_deref();
    // On a connection of a listener that is gone nothing can be asked any more.
    let hosts = match table
        .listener(ask.listener)
        .and_then(|listener| listener.hosts(ask.server_name))
    {
        None => None,
        Some(HostSet::Ingress) => Some(table.ingress_hosts()),
        Some(HostSet::Own(hosts)) => Some(&**hosts),
        Some(HostSet::Gateways(port)) => {
            // A trusted proxy sends the requests of many clients over a connection that it opened for one of them.
            let connection = (ask.tls && !ask.trusted).then_some(ask.server_name);
            let (path, says) = (&canonical.path, ask.says());
            let ingresses = port.then_ingresses.then(|| table.ingress_hosts());
            match (port.find(connection, host, path, &says), ingresses) {
                (Asked::Route(listener, route), Some(hosts)) if listener.yields(route, hosts, host, path, &says) => {
                    Some(hosts)
                }
                (Asked::Route(_, route), _) => return follow(table, ask, canonical, rules, Match::plain(route)),
                (Asked::Misdirected, Some(hosts)) if port.is_ingress_host(hosts, host) => Some(hosts),
                (Asked::Misdirected, _) => return refused(Refusal::Misdirected),
                (Asked::Nothing, Some(hosts)) => Some(hosts),
                (Asked::Nothing, None) => return refused(Refusal::NoRoute),
            }
        }
    };
    let Some(hosts) = hosts.filter(|_| ask.may_ask(table, host)) else {
        return refused(Refusal::Misdirected);
    };
    if ask.tls && hosts.passes(host).is_some() {
        // Its connections are not ours to answer.
        return refused(Refusal::Misdirected);
    }
    let Some(found) = hosts.find(host, &canonical.path, &ask.says()) else {
        let outcome = clients::unrouted(hosts, ask, canonical).unwrap_or(Outcome::Refused(Refusal::NoRoute));
        return Decision {
            outcome,
            ..refused(Refusal::NoRoute)
        };
    };
    follow(table, ask, canonical, rules, found)
}

/// What becomes of a request whose route has been found.
#[inline]
fn follow<'d>(
    table: &'d Table,
    ask: &'d Ask<'_>,
    canonical: &'d Canonical<'_>,
    rules: &Rules,
    found: Match<'d>,
) -> Decision<'d> {
    let mut route = found.route;
    let clients = found.asked_host.or(found.own_host);
    if let Destination::Shares(shares) = &route.to {
        // The share decides about the steps too, for each has its own.
        if let Some(share) = shares.choose(|below| ask.share(below)) {
            route = share;
        }
    }
    let steps = &*route.policies.before;
    let ended = |passed, outcome| Decision {
        route: Some(route),
        backend: None,
        passed,
        clients,
        outcome,
    };
    if (clients.is_some() || ask.shown.is_some())
        && let Some(outcome) = clients::check(&found, ask, canonical, rules)
    {
        return ended(&[], outcome);
    }
    let backend = match &route.to {
        Destination::Choice(choice) => choice.choose(table, ask.fields, ask.draw),
        Destination::Split(split) => split.choose_in(table, ask.fields, ask.draw),
        to => to.choose(ask.draw).and_then(|id| table.backend(id)),
    };
    if let Some(guard) = found.guard(backend.map(|backend| &**backend)) {
        return ended(&[], Outcome::Closed(guard));
    }
    for (place, step) in steps.iter().enumerate() {
        if let Some(outcome) = take(step, ask, canonical, route, rules) {
            return ended(steps.get(..place).unwrap_or_default(), outcome);
        }
    }
    let Some(backend) = backend else {
        let outcome = match &route.to {
            Destination::Answer(answer) => Outcome::Answer(answer),
            Destination::Nowhere => Outcome::Refused(Refusal::NoRoute),
            Destination::Backend(_) | Destination::Choice(_) | Destination::Split(_) | Destination::Shares(_) => {
                Outcome::Refused(Refusal::BackendGone)
            }
        };
        return ended(steps, outcome);
    };
    let outcome = match ask.count_hops() {
        _ if ask.websocket && backend.protocol() != Protocol::Http1 => Outcome::Refused(Refusal::NoWebSocket),
        Err(refusal) => Outcome::Refused(refusal),
        Ok(hops) => match rewritten(canonical, route, rules) {
            Err(error) => Outcome::Refused(Refusal::BadPath(error)),
            Ok(path) => Outcome::Forward {
                route,
                backend,
                hops,
                path,
            },
        },
    };
    Decision {
        route: Some(route),
        backend: Some(backend),
        passed: steps,
        clients,
        outcome,
    }
}

/// What becomes of a request at one step of its route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtStep {
    /// It goes on.
    Passes,
    /// It goes on, and the step changes what the pod or the client gets.
    Changes,
    /// That depends on more than the request: on what the client has asked before, or what it can show.
    Depends,
    /// It ends here.
    Ends,
    /// It has ended before.
    NotReached,
}

impl Decision<'_> {
    /// All steps of the route in their order, and what becomes of the request at each, as far as it is decided.
    pub fn steps(&self) -> impl Iterator<Item = (&Before, AtStep)> {
        let steps = self.route.map(|route| &*route.policies.before).unwrap_or_default();
        let passed = self.passed.len();
        // A route that is closed, and one whose request is refused for something else, end before or behind all of them.
        let closed = matches!(self.outcome, Outcome::Closed(_));
        steps.iter().enumerate().map(move |(place, step)| {
            let at = match step {
                _ if closed || place > passed => AtStep::NotReached,
                _ if place == passed => AtStep::Ends,
                Before::Rates(_) | Before::Connections(_) | Before::Access(_) => AtStep::Depends,
                Before::Fields(_) | Before::Host(_) | Before::Rewrite(_) | Before::Cors(_) => AtStep::Changes,
                _ => AtStep::Passes,
            };
            (step, at)
        })
    }
}

/// Takes a request through one step of its route; absent where it passes.
fn take<'d>(
    step: &'d Before,
    ask: &'d Ask<'_>,
    canonical: &'d Canonical<'_>,
    route: &'d Route,
    rules: &Rules,
) -> Option<Outcome<'d>> {
    match step {
        Before::RedirectToHttps(status) => redirect(ask, canonical, route, (*status, rules)).map(Outcome::Redirect),
        Before::HttpsOnly => (!ask.secure).then_some(Outcome::Refused(Refusal::PlainNotServed)),
        Before::PlainOnly => ask.tls.then_some(Outcome::Refused(Refusal::TlsNotServed)),
        Before::Blocked(blocked) => (blocked.refuses(ask.fields)).then_some(Outcome::Refused(Refusal::Blocked)),
        Before::BodyLimit(most) => {
            let too_large = ask.length.is_some_and(|length| length > *most);
            too_large.then_some(Outcome::Refused(Refusal::BodyTooLarge))
        }
        Before::Addresses(addresses) => {
            let refused = ask.client.is_some_and(|client| !addresses.admits(client));
            refused.then_some(Outcome::Refused(Refusal::AddressNotAllowed))
        }
        Before::Cors(cors) => cors.answers(ask.method, ask.fields).then_some(Outcome::Preflight(cors)),
        Before::ErrorPages(_)
        | Before::Connections(_)
        | Before::Rates(_)
        | Before::Access(_)
        | Before::Rewrite(_)
        | Before::Mirror(_)
        | Before::Fields(_)
        | Before::Host(_) => None,
        Before::SendTo(change) => Some(Outcome::Elsewhere {
            status: change.status,
            location: change.location(&known(ask, canonical, route), route.path.as_ref()),
        }),
        Before::Return(returned) => Some(Outcome::Text {
            status: returned.status,
            text: returned
                .text
                .as_ref()
                .map(|text| text.expand(&known(ask, canonical, route)).into_owned()),
        }),
        Before::Redirect(redirection) => {
            let known = known(ask, canonical, route);
            let location = redirection.location(&known);
            // ingress-nginx sends clients round in circles.
            let is_same = !route.policies.follows_patterns && is_own_url(&location, &known);
            Some(if is_same {
                Outcome::Refused(Refusal::RedirectsToItself)
            } else {
                let status = redirection.status;
                Outcome::Elsewhere { status, location }
            })
        }
    }
}

/// The path that a pod gets, where the route rewrites it.
fn rewritten(canonical: &Canonical<'_>, route: &Route, rules: &Rules) -> Result<Option<String>, PathError> {
    let rewrite = route.policies.before.iter().find_map(|step| match step {
        Before::Rewrite(rewrite) => Some(rewrite),
        _ => None,
    });
    let path = canonical.path.form(route.keep_slashes);
    rewrite.map_or(Ok(None), |rewrite| rewrite.apply(path, rules.reject_encoded_slash))
}

/// What the variables of templates stand for.
pub fn known<'d>(ask: &'d Ask<'_>, canonical: &'d Canonical<'_>, route: &'d Route) -> Known<'d> {
    known_of(ask, canonical, Some(route))
}

/// The same where no route may answer.
fn known_of<'d>(ask: &'d Ask<'_>, canonical: &'d Canonical<'_>, route: Option<&'d Route>) -> Known<'d> {
    Known {
        secure: ask.secure,
        host: canonical.host.as_deref(),
        http_host: canonical.host_header,
        path: canonical.path.form(route.is_some_and(|route| route.keep_slashes)),
        query: ask.query,
        method: ask.method,
        client: ask.client,
        fields: ask.fields,
        request_id: None,
        shown: ask.shown,
        route,
        backend: None,
    }
}

/// Where a request goes that came in plain to a route that wants HTTPS; absent where it may stay.
///
/// Never where the client spoke HTTPS to a trusted proxy: behind such a one the redirect would come back in plain for
/// ever.
fn redirect<'d>(
    ask: &'d Ask<'_>,
    canonical: &'d Canonical<'_>,
    route: &Route,
    (status, rules): (StatusCode, &Rules),
) -> Option<Redirect<'d>> {
    if ask.secure {
        return None;
    }
    let (port, host) = (rules.https_port?, canonical.host.as_deref()?);
    let path = canonical.path.form(route.keep_slashes);
    (!path.starts_with(ACME)).then_some(Redirect {
        status,
        host,
        port,
        path,
        query: ask.query,
    })
}
