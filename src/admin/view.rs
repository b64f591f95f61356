//! What the admin API and the commands show, as JSON and as text: one set of types for both.

mod beyond;
mod now;
mod question;
mod shares;
mod text;

pub use beyond::Hint;
pub use now::Now;
pub use question::{Question, Terms};
pub use shares::{BackendShare, backend_words, backends, shares};

use super::{EndpointInfo, Status};
use crate::model::{Code, Diagnostic, ObjectRef, Report, Severity};
use crate::proxy::Facts;
use crate::proxy::ProxyError;
use crate::proxy::canonical::{self, Came};
use crate::table::canonical::canonical_host;
use crate::table::decide::{self, Ask, AtStep, Canonical, Outcome, Refusal, Subject};
use crate::table::explain::{Explanation, explain, explain_gateways};
use crate::table::{
    Destination, HostPattern, Hosts, ListenerId, Match, PathKind, Presented, Route, Served, Shown, Table, TlsTerms,
    Verify,
};
use question::{Head, Refused, Url};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shares::name as backend_name;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One problem.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// `error`, `warning` or `info`.
    pub severity: String,
    /// The stable name of the kind of problem.
    pub code: String,
    /// `Ingress default/web`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub object: Option<String>,
    /// The field.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub field: String,
    /// One sentence.
    pub message: String,
    /// `file:line:column`, for objects from files.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub location: Option<String>,
}

impl From<&Diagnostic> for Problem {
    fn from(diagnostic: &Diagnostic) -> Self {
        Self {
            severity: diagnostic.severity().name().to_owned(),
            code: diagnostic.code.name().to_owned(),
            object: diagnostic.object.as_ref().map(ToString::to_string),
            field: diagnostic.field.clone(),
            message: diagnostic.message.clone(),
            location: diagnostic.location.as_ref().map(ToString::to_string),
        }
    }
}

/// The diagnostics of the part of an object that defines a route, or of the object as a whole.
pub fn concerning<'r>(report: &'r Report, route: &Route) -> impl Iterator<Item = &'r Diagnostic> {
    let field = route.origin.field;
    let all = report.objects.get(&route.origin.object).into_iter().flatten();
    all.filter(move |diagnostic| field.concerns(&diagnostic.field))
}

/// A rule.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Rule {
    /// The host pattern; `*` is any.
    pub host: String,
    /// `Prefix /api`, `Exact /`, or `default backend`.
    pub path: String,
    /// The object: `Ingress default/web`.
    pub object: String,
    /// The field of the object.
    pub field: String,
    /// `namespace/service:port`.
    pub backend: String,
}

/// An endpoint.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Address {
    /// `ip:port`.
    pub address: String,
    /// The pod's name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pod: Option<String>,
    /// How it is at present; only a running narthex knows.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub now: Option<EndpointInfo>,
    /// What is wrong with it at present, in words.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub trouble: Option<String>,
}

/// A step of a route.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// What it is: `rates=2`.
    pub step: String,
    /// What becomes of the request there: `passes`, `changes` (it goes on, with something changed), `depends` (on what the
    /// client has asked before, or can show), `ends` (the client is answered), `not reached`.
    pub outcome: String,
}

/// The decision for one URL.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Decision {
    /// The method asked about.
    pub method: String,
    /// The host in canonical form; none for a request without one.
    pub host: Option<String>,
    /// The path in canonical form, as it is matched and forwarded.
    pub path: String,
    /// What the client gets if narthex answers itself; none if a pod does.
    pub status: Option<u16>,
    /// Why, in one sentence.
    pub summary: String,
    /// `ok` where requests are answered or redirected, `warning` where some of them fail or a pod is not used, `error`
    /// where they are refused or fail.
    #[serde(default)]
    pub state: Status,
    /// What happens now to requests for the route; only a running narthex knows.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub now: Option<Now>,
    /// What the table does not say: that narthex does not listen for the scheme, or has TLS passed on; and where no rule matches, what is not
    /// served, or only nearly what was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub hints: Vec<Hint>,
    /// If it is redirected: the URL.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub location: Option<String>,
    /// The steps of the route in their order, with what becomes of the request at each.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub steps: Vec<Step>,
    /// The path that the pod gets, where the route rewrites it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub forwarded_path: Option<String>,
    /// The route that matches, by its id in `/api/v1/routes`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub route: Option<String>,
    /// For an HTTPS URL: whose certificate is shown.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub certificate: Option<String>,
    /// The rule that answers.
    pub rule: Option<Rule>,
    /// What certificate clients of the host are asked for, and what this one shows, where they are asked.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub client_certificate: Option<String>,
    /// Claims to the very same host and path that lost to it.
    pub shadows: Vec<String>,
    /// Those among them that would have the place by their age but have yielded it, each with the reason.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub yielded: Vec<String>,
    /// The backends that share its requests, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub shares: Vec<BackendShare>,
    /// The endpoints behind it.
    pub endpoints: Vec<Address>,
    /// The hosts asked, best first, with the number of rules of each.
    pub hosts: Vec<(String, usize)>,
    /// Rules that came close, with why they lost.
    pub lost: Vec<(Rule, String)>,
    /// What is wrong with the rule that answers; where none does, with those that nearly did, and what was left out.
    pub problems: Vec<Problem>,
    /// The route that matches.
    #[serde(skip)]
    pub answers: Option<Arc<Route>>,
}

fn rule(route: &Route, table: &Table) -> Rule {
    Rule {
        host: route.host.to_string(),
        path: route
            .path
            .as_ref()
            .map_or("default backend".to_owned(), ToString::to_string),
        object: route.origin.object.to_string(),
        field: route.origin.field.to_string(),
        backend: backend_words(table, route),
    }
}

/// Decides as a request would be, and says why.
///
/// # Errors
/// When the URL is invalid. A URL that a request could carry but that narthex refuses is a decision, not an error.
pub fn decide(table: &Table, report: &Report, question: &Question, terms: &Terms) -> Result<Decision, String> {
    let mut decision = decide_by_table(table, report, question, terms)?;
    decision.state = match decision.status {
        Some(400..) => Status::Error,
        _ => Status::Ok,
    };
    Ok(decision)
}

fn decide_by_table(table: &Table, report: &Report, question: &Question, terms: &Terms) -> Result<Decision, String> {
    let url = Url::of(question)?;
    let mut decision = Decision {
        method: match question.method.as_str() {
            _ if url.bare => "TLS".to_owned(),
            "" => "GET".to_owned(),
            method => method.to_owned(),
        },
        path: url.path().to_owned(),
        ..Decision::default()
    };
    decision.hints.extend(beyond::not_listening(table, &url));
    let name = url.server_name(question);
    if url.tls {
        let listener = question
            .listener(table, &url, name.as_deref())
            .map(|listener| listener.id);
        decision.certificate = Some(certificate(table, listener, name.as_deref()));
    }
    if url.bare {
        decision.path = String::new();
        decision.host.clone_from(&name);
        if decision.pass_through(table, question, &url) {
            decision.refused_for(report, name.as_deref());
        } else {
            decision.summary = "TLS ends at narthex, and requests are answered by the rules for their hosts".to_owned();
        }
        return Ok(decision);
    }
    let Head { request } = match Head::of(question, &decision.method, &url, terms) {
        Ok(head) => head,
        Err(Refused { error, why }) => {
            decision.host = url.host.as_deref().and_then(host_of);
            decision.refuse(error, why);
            return Ok(decision);
        }
    };
    if url.tls && decision.pass_through(table, question, &url) {
        return Ok(decision);
    }
    let facts = Facts::of(&request.fields);
    let trusted = question.from.filter(|from| terms.trusted_proxies.contains(*from));
    let told = trusted.and_then(|proxy| terms.trusted_proxies.told(proxy, &request.fields).https);
    let server_name = name.as_deref().filter(|_| url.tls);
    let listener = question.listener(table, &url, server_name);
    let profile = listener
        .filter(|_| url.tls)
        .and_then(|listener| table.profile(listener.id, server_name));
    let shown = profile.map(|profile| profile.suppose(question.client_subject.as_deref()));
    decision.client_certificate = shown.as_ref().map(asked_for);
    let came = Came {
        listener: listener.map_or(ListenerId::default(), |listener| listener.id),
        server_name,
        tls: url.tls,
        shown: shown.as_ref(),
        trusted: trusted.is_some(),
        secure: url.tls || told == Some(true) || question.is_by_https_port(terms),
        client: question.client.or(trusted.map_or(question.from, |proxy| {
            Some(terms.trusted_proxies.told(proxy, &request.fields).client)
        })),
    };
    let ask = canonical::ask_of(&request, &facts, came, request.websocket);
    match ask.subject(&terms.rules) {
        Ok(Subject::Server) => {
            decision.answer(
                204,
                "OPTIONS * is about the server as a whole, so narthex asks no pod".to_owned(),
            );
        }
        Ok(Subject::Resource(canonical)) => {
            decision.host = canonical.host.as_deref().map(str::to_owned);
            let gateways = table.gateways_of(ask.listener, server_name);
            let none = Hosts::default();
            let hosts = table.hosts_of(ask.listener, server_name);
            let hosts = match gateways {
                Some(port) if !port.then_ingresses => &none,
                _ => hosts.unwrap_or(table.ingress_hosts()),
            };
            let (host, says) = (canonical.host.as_deref(), ask.says());
            let explanation = gateways
                .and_then(|port| explain_gateways(port, hosts, host, &canonical.path, &says))
                .unwrap_or_else(|| explain(hosts, host, &canonical.path, &says));
            decision.fill(table, report, &canonical.path, &explanation);
            decision.follow(&decide::decide(table, &ask, &canonical, &terms.rules), &ask, &canonical);
            let asked = beyond::Asked {
                url: &url,
                host,
                path: &canonical.path,
                says: &says,
            };
            if explanation.route.is_none() {
                decision.hints.extend(beyond::look(table, report, &asked));
            }
            if decision.status.is_some_and(|status| status >= 400) {
                decision.hints.extend(beyond::passed_on(table, &asked));
            }
        }
        Err(refusal) => {
            decision.host = facts.host.and_then(|host| host_of(host.to_str()?));
            decision.refuse(refusal.into(), None);
        }
    }
    Ok(decision)
}

fn host_of(text: &str) -> Option<String> {
    canonical_host(text).ok().map(|host| host.name.into_owned())
}

/// What a client that asks for a host is shown.
fn certificate(table: &Table, listener: Option<ListenerId>, host: Option<&str>) -> String {
    let set = table.certificates_at(listener, host);
    let secrets: Vec<String> = set
        .iter()
        .flat_map(|set| set.iter())
        .map(|one| one.secret.to_string())
        .collect();
    if secrets.is_empty() {
        "narthex's own self-signed certificate: no Secret has one for this host".to_owned()
    } else {
        secrets.join(" and ")
    }
}

/// What becomes of a request at a step, as JSON has it.
fn outcome_words(at: AtStep) -> &'static str {
    match at {
        AtStep::Passes => "passes",
        AtStep::Changes => "changes",
        AtStep::Depends => "depends",
        AtStep::Ends => "ends",
        AtStep::NotReached => "not reached",
    }
}

/// What clients of a profile are asked for.
fn asked_for(shown: &Presented) -> String {
    let terms = shown.profile.made_of.terms;
    let terms = (terms != TlsTerms::default()).then(|| terms.to_string());
    let Some(made_of) = &shown.profile.made_of.clients else {
        return format!("not asked for; the connection has to use {}", terms.unwrap_or_default());
    };
    let terms = terms.map(|terms| format!("; the connection has to use {terms}"));
    let terms = terms.unwrap_or_default();
    let how = match made_of.verify {
        Verify::Required => "required",
        Verify::Optional => "optional",
        Verify::OptionalNoCa => "optional, and of any authority",
    };
    let has = match (&shown.certificate, shown.result) {
        (Some(certificate), Shown::Verified) => format!("this client shows one for {}", certificate.subject),
        _ => "this client shows none (--client-subject supposes one)".to_owned(),
    };
    format!("{how}, verified by {}; {has}{terms}", made_of.secret)
}

impl Decision {
    /// Says where TLS connections for a name go, if they are passed on.
    fn pass_through(&mut self, table: &Table, question: &Question, url: &Url) -> bool {
        let name = url.server_name(question);
        let listener = question.listener(table, url, name.as_deref());
        let hosts = listener.and_then(|listener| table.hosts_of(listener.id, name.as_deref()));
        let stream = listener.and_then(|listener| table.stream(listener.id, name.as_deref()));
        let found = match stream {
            Some(None) => {
                let what = name
                    .as_deref()
                    .map_or("no name".to_owned(), |name| format!("the name {name}"));
                self.host = name;
                self.certificate = None;
                self.summary = format!(
                    "connections that ask for {what} are closed: the listener of the Gateway passes connections on, and has no route \
                     for them"
                );
                return true;
            }
            Some(Some(stream)) => Some(Match::plain(stream.route)),
            None => hosts.and_then(|hosts| hosts.passes(name.as_deref())),
        };
        let Some(found) = found else {
            return false;
        };
        let (route, backend) = (found.route, table.backend_of(found.route));
        self.host = name;
        self.certificate = None;
        self.route = Some(route.key.to_string());
        self.answered_by(table, route);
        let what = route.describe();
        self.summary = match (found.guard(backend.map(|backend| &**backend)), backend) {
            (Some(guard), _) => format!("{what}: connections are refused, because {}", guard.why()),
            (None, None) => format!("{what}: connections are closed, since there is no backend"),
            (None, Some(_)) => {
                let to = backend_words(table, route);
                format!(
                    "{what} of {}: connections are passed on to {to} as they come",
                    route.origin.object
                )
            }
        };
        true
    }

    /// Adds what is said of objects that do not get the TLS connections for a host.
    fn refused_for(&mut self, report: &Report, host: Option<&str>) {
        let Some((host, rule)) = host.zip(self.rule.as_ref()) else {
            return;
        };
        let says = |diagnostic: &&Diagnostic| {
            let (message, code) = (&diagnostic.message, diagnostic.code);
            matches!(code, Code::HostAlreadyClaimed | Code::PathConflict)
                && message.contains(host)
                && message.contains(&rule.object)
        };
        self.problems = report.iter().filter(says).take(50).map(Problem::from).collect();
    }

    fn answer(&mut self, status: u16, why: String) {
        self.status = Some(status);
        self.summary = format!("narthex answers {status} itself: {why}");
    }

    fn refuse(&mut self, error: ProxyError, why: Option<String>) {
        let why = why.unwrap_or_else(|| match error {
            ProxyError::MethodNotAllowed => format!("{} is not forwarded", self.method),
            ProxyError::NoRoute => "no rule matches, and there is no default backend".to_owned(),
            error => error.to_string(),
        });
        self.answer(error.verdict().status.as_u16(), why);
    }

    /// Takes over what was decided.
    fn follow(&mut self, decided: &decide::Decision<'_>, ask: &Ask<'_>, canonical: &Canonical<'_>) {
        self.route = decided.route.map(|route| route.key.to_string());
        let steps = decided.steps().map(|(step, at)| Step {
            step: step.words().unwrap_or_else(|| "https-redirect".to_owned()),
            outcome: outcome_words(at).to_owned(),
        });
        self.steps = steps.collect();
        let route = decided.route.map(|route| &**route);
        match &decided.outcome {
            Outcome::Refused(Refusal::Misdirected) => {
                let name = ask.server_name.unwrap_or_default();
                let asked = canonical.host.as_deref().unwrap_or("(no host)");
                let why = match ask.shown.is_some()
                    || decided.clients.is_some_and(|clients| clients.profile().is_some())
                {
                    true => format!(
                        "the connection is for {name}, which asks something else of clients and their TLS than {asked}"
                    ),
                    false => format!(
                        "the connection is for {name}, and the certificate shown for that name does not cover {asked}"
                    ),
                };
                self.refuse(ProxyError::Misdirected, Some(why));
            }
            Outcome::Refused(refusal) => self.refuse((*refusal).into(), None),
            Outcome::Closed(guard) => {
                let what = route.map(Route::describe).unwrap_or_default();
                // A guard of a whole host closes what answers that host, though it may be a rule for others too.
                let asked = canonical.host.as_deref();
                let many = route.is_some_and(|route| !matches!(route.host, HostPattern::Exact(_)));
                let of_host = asked.filter(|_| many).map(|host| format!(" for {host}"));
                let why = format!(
                    "{what} is closed{}, because {}",
                    of_host.unwrap_or_default(),
                    guard.why()
                );
                let error = if guard.invalid {
                    ProxyError::GuardInvalid
                } else {
                    ProxyError::GuardNotEnforced
                };
                self.refuse(error, Some(why));
            }
            Outcome::Redirect(redirect) => {
                self.location = Some(redirect.location());
                let whose = route.map(|route| route.origin.object.to_string()).unwrap_or_default();
                self.answer(
                    redirect.status.as_u16(),
                    format!("{whose} has TLS for this host, so plain HTTP is redirected to HTTPS"),
                );
            }
            Outcome::Elsewhere { status, location } => {
                self.location = Some(location.clone());
                let what = route.map(Route::describe).unwrap_or_default();
                self.answer(status.as_u16(), format!("{what} is redirected"));
            }
            Outcome::Text { status, .. } => {
                let what = route.map(Route::describe).unwrap_or_default();
                self.answer(status.as_u16(), format!("{what} says so"));
            }
            Outcome::Preflight(_) => {
                let what = route.map(Route::describe).unwrap_or_default();
                self.answer(
                    204,
                    format!("{what} tells browsers which requests of other origins they may send"),
                );
            }
            Outcome::Answer(answer) => {
                let location = answer.location.as_ref();
                self.location = location.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
                let what = route.map(Route::describe).unwrap_or_default();
                self.answer(answer.status.as_u16(), format!("{what} says so"));
            }
            Outcome::Forward { route, backend, .. } if backend.endpoints.is_empty() => {
                let (what, backend_name, state) = (route.describe(), backend_name(backend), backend.state.reason());
                self.answer(503, format!("{what} answers, but {backend_name}: {state}"));
            }
            Outcome::Forward {
                route, backend, path, ..
            } => {
                self.forwarded_path = path.clone();
                if matches!(route.to, Destination::Split(_)) {
                    self.summary = format!(
                        "{} of {} answers: one of {} backends, by weight",
                        route.describe(),
                        route.origin.object,
                        self.shares.len()
                    );
                    return;
                }
                self.summary = format!(
                    "{} of {} answers: {} with {} endpoint{}",
                    route.describe(),
                    route.origin.object,
                    backend_name(backend),
                    backend.endpoints.len(),
                    if backend.endpoints.len() == 1 { "" } else { "s" }
                );
            }
        }
    }

    fn fill(
        &mut self,
        table: &Table,
        report: &Report,
        path: &crate::table::CanonicalPath<'_>,
        explanation: &Explanation,
    ) {
        self.hosts = explanation
            .hosts
            .iter()
            .map(|(host, rules)| (host.to_string(), *rules))
            .collect();
        self.lost = explanation
            .lost
            .iter()
            .map(|(route, why)| (rule(route, table), why.clone()))
            .collect();
        self.path = path.form(false).to_owned();
        if let Some(route) = &explanation.route {
            self.path = path.form(route.keep_slashes).to_owned();
            self.answered_by(table, route);
        }
        // Where a rule answers, what is wrong with others is no news about this URL.
        let losers = explanation.lost.iter().map(|(route, _)| route);
        let losers = losers.filter(|_| explanation.route.is_none());
        let mut concerned: BTreeMap<&ObjectRef, BTreeSet<&Diagnostic>> = BTreeMap::new();
        for route in explanation.route.iter().chain(losers) {
            let of_object = concerned.entry(&route.origin.object).or_default();
            of_object.extend(concerning(report, route));
        }
        // Routes that are not admitted have no rule that could have lost.
        let host = self.host.as_deref().unwrap_or_default();
        let is_refused = |served: &&Arc<Served>| {
            let admission = served.admission.as_ref();
            admission.is_some_and(|asked| asked.refused.is_some() && asked.is_for(host))
        };
        for served in table.all_served().filter(is_refused) {
            let said = report.objects.get(&served.object).into_iter().flatten();
            concerned.entry(&served.object).or_default().extend(said);
        }
        // Where nothing answers, what would have answered may have been left out. Of some it is not known for which hosts.
        let is_known = |object: &ObjectRef| report.hosts_of.contains_key(object);
        let left_out = report.iter().filter(|diagnostic| {
            explanation.route.is_none()
                && diagnostic.code.leaves_out()
                && diagnostic.severity() != Severity::Info
                && !diagnostic.object.as_ref().is_some_and(is_known)
        });
        let said = concerned.into_values().flatten().collect::<Vec<_>>();
        let mut known = BTreeSet::new();
        let said = said.into_iter().chain(left_out).filter(|one| known.insert(*one));
        self.problems = said.take(50).map(Problem::from).collect();
    }

    /// Takes in what happens now, where that is known, and how the pods are, in the order of the endpoints.
    pub fn happens(&mut self, now: Option<Now>, pods: Vec<EndpointInfo>) {
        let connections = self.answers.as_ref().and_then(|route| route.path.as_ref());
        let connections = connections.is_some_and(|path| path.kind == PathKind::Passthrough);
        // Connections that are passed on as they come are no requests, and what narthex answers itself fails at no pod.
        if let Some(now) = now.filter(|_| self.status.is_none() && !connections) {
            self.state = self.state.max(now.status);
            if let Some(route) = self.answers.as_ref().filter(|_| now.status == Status::Error) {
                let (what, object) = (route.describe(), &route.origin.object);
                self.summary = format!("{what} of {object} answers, but {}", now.summary);
            }
            self.now = Some(now);
        }
        for (endpoint, pod) in self.endpoints.iter_mut().zip(pods) {
            endpoint.trouble = now::trouble(&pod);
            endpoint.now = Some(pod);
        }
    }

    fn answered_by(&mut self, table: &Table, route: &Arc<Route>) {
        self.answers = Some(route.clone());
        self.rule = Some(rule(route, table));
        self.shadows = route.shadows.iter().map(|shadow| shadow.origin.to_string()).collect();
        let yielded = route.shadows.iter().filter_map(|shadow| {
            let why = shadow.yields?.reason();
            Some(format!("{}: {why}", shadow.origin))
        });
        self.yielded = yielded.collect();
        self.shares = shares(table, route);
        let backends = backends(table, route);
        let endpoints = backends.iter().flat_map(|backend| backend.endpoints.iter());
        self.endpoints = endpoints
            .map(|endpoint| Address {
                address: endpoint.address.to_string(),
                pod: endpoint.pod.as_deref().map(str::to_owned),
                now: None,
                trouble: None,
            })
            .collect();
    }
}
