//! What the admin API and the commands show, as JSON and as text: one set of types for both.

use crate::model::visible::{Keep, visible};
use crate::model::{Code, Diagnostic, Report};
use crate::proxy::headers::Fields;
use crate::proxy::{ProxyError, Settings, TrustedProxies};
use crate::serve::strict::is_target;
use crate::table::canonical::{HostError, canonical_host};
use crate::table::decide::{self, Ask, Canonical, Door, Outcome, Refusal, Rules, Subject};
use crate::table::explain::{Explanation, explain};
use crate::table::{Backend, HostPattern, Route, Table};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
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

/// What is said of something that is not there for a mistake in it.
const LEAVES_OUT: [Code; 5] = [
    Code::InvalidManifest,
    Code::InvalidObject,
    Code::InvalidHost,
    Code::InvalidPath,
    Code::InvalidPathType,
];

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
    /// If it is redirected: the URL.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub location: Option<String>,
    /// The route that matches, by its id in `/api/v1/routes`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub route: Option<String>,
    /// For an HTTPS URL: whose certificate is shown.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub certificate: Option<String>,
    /// The rule that answers.
    pub rule: Option<Rule>,
    /// Claims to the very same host and path that lost to it.
    pub shadows: Vec<String>,
    /// Those among them that would have the place by their age but have yielded it, each with the reason.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub yielded: Vec<String>,
    /// The endpoints behind it.
    pub endpoints: Vec<Address>,
    /// The hosts asked, best first, with the number of rules of each.
    pub hosts: Vec<(String, usize)>,
    /// Rules that came close, with why they lost.
    pub lost: Vec<(Rule, String)>,
    /// What is wrong with the Ingress that answers, or with any that nearly did; where none does, what was left out for a
    /// mistake in it.
    pub problems: Vec<Problem>,
}

fn rule(route: &Route, table: &Table) -> Rule {
    Rule {
        host: route.host.to_string(),
        path: route
            .path
            .as_ref()
            .map_or("default backend".to_owned(), ToString::to_string),
        object: route.origin.object.to_string(),
        field: route.origin.field(),
        backend: table
            .backend(route.backend)
            .map_or("(none)".to_owned(), |backend| backend_name(backend)),
    }
}

fn backend_name(backend: &Backend) -> String {
    if backend.service.is_empty() {
        "(no Service)".to_owned()
    } else {
        backend.to_string()
    }
}

/// A question: which rule answers this?
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// `http://host:port/path?query`, or just a path.
    pub url: String,
    /// The method.
    pub method: String,
    /// Header fields; `Host` counts instead of the URL's.
    pub headers: Vec<(String, String)>,
    /// The name in the TLS handshake (SNI), if it is not the URL's host; for HTTPS.
    pub server_name: Option<String>,
    /// The address of the peer: it may be one of `--trusted-proxies`.
    pub from: Option<IpAddr>,
}

impl Question {
    /// Adds a header field, given as `Name: value`. `:protocol` makes a CONNECT that of HTTP/2 (RFC 8441).
    ///
    /// # Errors
    /// When there is no colon in it.
    pub fn add_field(&mut self, text: &str) -> Result<(), String> {
        let colon = text.char_indices().skip(1).find(|(_, one)| *one == ':');
        let (name, value) = colon
            .map(|(at, _)| text.split_at(at))
            .ok_or_else(|| format!("\"{text}\" is not a header field: write Name: value"))?;
        let value = value.trim_start_matches(':').trim();
        self.headers.push((name.trim().to_owned(), value.to_owned()));
        Ok(())
    }
}

/// The settings by which a narthex decides.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// Those of the request's road.
    pub rules: Rules,
    /// `--trusted-proxies`.
    pub trusted_proxies: TrustedProxies,
}

impl Terms {
    /// Those of a running narthex.
    pub fn of(settings: &Settings) -> Self {
        Self {
            rules: settings.rules(),
            trusted_proxies: settings.trusted_proxies.clone(),
        }
    }
}

/// Decides as a request would be, and says why.
///
/// # Errors
/// When the URL is invalid. A URL that a request could carry but that narthex refuses is a decision, not an error.
pub fn decide(table: &Table, report: &Report, question: &Question, terms: &Terms) -> Result<Decision, String> {
    let (scheme, host, target) = split(&question.url)?;
    let mut decision = Decision {
        method: if question.method.is_empty() {
            "GET".to_owned()
        } else {
            question.method.clone()
        },
        path: path_of(&target).to_owned(),
        ..Decision::default()
    };
    // What a client would name in its handshake (SNI); an address is never named.
    let name = question.server_name.as_deref().or(host.as_deref());
    let name = name.and_then(|name| canonical_host(name).ok());
    let name = name.map(|host| host.name.into_owned());
    let name = name.filter(|name| !name.starts_with('[') && name.parse::<std::net::Ipv4Addr>().is_err());
    if scheme == Scheme::Https {
        decision.certificate = Some(certificate(table, name.as_deref()));
    }
    let mut head = match Head::of(question, &decision.method, host.as_deref()) {
        Ok(head) => head,
        Err(error) => {
            decision.refuse(error, None);
            return Ok(decision);
        }
    };
    let is_server = target == "*" && head.method == Method::OPTIONS;
    if !is_server && !target.starts_with(['/', '?']) {
        decision.refuse(ProxyError::BadTarget, None);
        return Ok(decision);
    }
    let fields = Fields::of(&head.fields);
    let trusted = question.from.filter(|from| terms.trusted_proxies.contains(*from));
    let told = trusted.and_then(|proxy| terms.trusted_proxies.told(proxy, &head.fields).https);
    let tls = scheme == Scheme::Https;
    let method = std::mem::take(&mut head.method);
    let ask = Ask {
        door: if tls { Door::Tls(name.as_deref()) } else { Door::Plain },
        trusted: trusted.is_some(),
        secure: tls || told == Some(true),
        method: &method,
        version: head.version,
        authority: None,
        path: path_of(&target),
        query: target.split_once('?').map(|(_, query)| query),
        host: fields.host,
        second_host: fields.second_host,
        expect: fields.expect,
        hops: fields.hops,
        lists_too_much: fields.lists_too_much(&head.fields),
        websocket: head.websocket,
    };
    match ask.subject(&terms.rules) {
        Ok(Subject::Server) => {
            decision.answer(
                204,
                "OPTIONS * is about the server as a whole, so no pod is asked".to_owned(),
            );
        }
        Ok(Subject::Resource(canonical)) if is_target(target.as_bytes()) => {
            decision.host = canonical.host.as_deref().map(str::to_owned);
            let explanation = explain(table, canonical.host.as_deref(), &canonical.path);
            decision.fill(table, report, &canonical.path, &explanation);
            decision.follow(&decide::decide(table, &ask, &canonical, &terms.rules), &ask, &canonical);
        }
        Ok(Subject::Resource(_)) => decision.refuse(ProxyError::BadTarget, None),
        Err(refusal) => {
            let host = fields.host.and_then(|host| canonical_host(host.to_str().ok()?).ok());
            decision.host = host.map(|host| host.name.into_owned());
            decision.refuse(refusal.into(), None);
        }
    }
    Ok(decision)
}

/// The head of the request that a question describes.
struct Head {
    method: Method,
    version: Version,
    fields: HeaderMap,
    websocket: bool,
}

impl Head {
    fn of(question: &Question, method: &str, host: Option<&str>) -> Result<Self, ProxyError> {
        let mut head = Self {
            method: Method::from_bytes(method.as_bytes()).map_err(|_| ProxyError::Malformed)?,
            version: Version::HTTP_11,
            fields: HeaderMap::new(),
            websocket: false,
        };
        for (name, value) in &question.headers {
            if name.eq_ignore_ascii_case(":protocol") && head.method == Method::CONNECT {
                if !value.eq_ignore_ascii_case("websocket") {
                    return Err(ProxyError::UnknownProtocol);
                }
                head.websocket = true;
                continue;
            }
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| ProxyError::Malformed)?;
            let value = HeaderValue::from_str(value).map_err(|_| ProxyError::Malformed)?;
            head.fields.append(name, value);
        }
        if head.websocket {
            (head.method, head.version) = (Method::GET, Version::HTTP_2);
        }
        match host {
            _ if head.fields.contains_key(http::header::HOST) => {}
            Some(host) => {
                let value = HeaderValue::from_str(host).map_err(|_| ProxyError::BadHost(HostError::Invalid))?;
                head.fields.append(http::header::HOST, value);
            }
            // Only HTTP/1.0 has requests without a host.
            None => head.version = Version::HTTP_10,
        }
        Ok(head)
    }
}

/// Scheme, host and path of a URL; a bare path or host is fine.
fn split(url: &str) -> Result<(Scheme, Option<String>, String), String> {
    // What comes later may be part of a query.
    let is_scheme = |text: &str| {
        text.starts_with(|first: char| first.is_ascii_alphabetic())
            && text
                .chars()
                .all(|one| one.is_ascii_alphanumeric() || "+.-".contains(one))
    };
    let (scheme, rest) = match url.split_once("://").filter(|(scheme, _)| is_scheme(scheme)) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Scheme::Http, rest),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Scheme::Https, rest),
        Some((scheme, _)) => return Err(format!("\"{url}\": {scheme} is neither http nor https")),
        None if url.starts_with('/') || url == "*" => return Ok((Scheme::Http, None, cut(url))),
        None => (Scheme::Http, url),
    };
    let at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(at);
    if host.is_empty() {
        return Err(format!("\"{url}\" names no host: write http://HOST/PATH"));
    }
    Ok((scheme, Some(host.to_owned()), cut(path)))
}

/// How the client would come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

/// The target that a client would send: without a fragment, and with a path.
fn cut(path: &str) -> String {
    let target = path.split('#').next().unwrap_or_default();
    if target.is_empty() || target.starts_with('?') {
        format!("/{target}")
    } else {
        target.to_owned()
    }
}

fn path_of(target: &str) -> &str {
    target.split('?').next().unwrap_or_default()
}

/// What a client that asks for a host is shown.
fn certificate(table: &Table, host: Option<&str>) -> String {
    let set = table.certificates(host);
    let secrets: Vec<String> = set
        .iter()
        .flat_map(|set| set.iter())
        .map(|one| one.secret.to_string())
        .collect();
    if secrets.is_empty() {
        "narthex's own, self-signed: no Secret has one for this host".to_owned()
    } else {
        secrets.join(" and ")
    }
}

impl Decision {
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
        let route = decided.route.map(|route| &**route);
        match &decided.outcome {
            Outcome::Refused(Refusal::Misdirected) => {
                let name = match ask.door {
                    Door::Tls(name) => name.unwrap_or_default(),
                    Door::Plain => "",
                };
                let asked = canonical.host.as_deref().unwrap_or("(no host)");
                let why = format!(
                    "the connection is for {name}, and the certificate shown for that name does not cover {asked}"
                );
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
                    "{what} is closed{}, because narthex does not enforce {guard}",
                    of_host.unwrap_or_default()
                );
                self.refuse(ProxyError::GuardNotEnforced, Some(why));
            }
            Outcome::Redirect(redirect) => {
                self.location = Some(redirect.location());
                let whose = route.map(|route| route.origin.object.to_string()).unwrap_or_default();
                self.answer(
                    308,
                    format!("{whose} has TLS for this host, so plain HTTP is sent to HTTPS"),
                );
            }
            Outcome::Forward { route, backend, .. } if backend.endpoints.is_empty() => {
                let (what, backend_name, state) = (route.describe(), backend_name(backend), backend.state.reason());
                self.answer(503, format!("{what} answers, but {backend_name}: {state}"));
            }
            Outcome::Forward { route, backend, .. } => {
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
            self.path = path.form(route.policies.keep_slashes).to_owned();
            self.answered_by(table, route);
        }
        let concerned = explanation
            .route
            .iter()
            .chain(explanation.lost.iter().map(|(route, _)| route))
            .map(|route| &route.origin.object);
        let concerned: std::collections::BTreeSet<_> = concerned.collect();
        let of_concerned = concerned
            .into_iter()
            .filter_map(|object| report.objects.get(object))
            .flatten();
        // Where nothing answers, what would have answered may have been left out.
        let left_out = report
            .iter()
            .filter(|diagnostic| explanation.route.is_none() && LEAVES_OUT.contains(&diagnostic.code));
        self.problems = of_concerned.chain(left_out).take(50).map(Problem::from).collect();
    }

    fn answered_by(&mut self, table: &Table, route: &Arc<Route>) {
        self.rule = Some(rule(route, table));
        self.shadows = route.shadows.iter().map(|shadow| shadow.origin.to_string()).collect();
        let yielded = route.shadows.iter().filter_map(|shadow| {
            let why = shadow.yields?.reason();
            Some(format!("{}: {why}", shadow.origin))
        });
        self.yielded = yielded.collect();
        let Some(backend) = table.backend(route.backend) else {
            return;
        };
        self.endpoints = backend
            .endpoints
            .iter()
            .map(|endpoint| Address {
                address: endpoint.address.to_string(),
                pod: endpoint.pod.as_deref().map(str::to_owned),
            })
            .collect();
    }

    /// The decision for people.
    pub fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut |line: String| {
            out += &visible(&line, Keep::Nothing);
            out.push('\n');
        });
        out
    }

    fn write(&self, line: &mut dyn FnMut(String)) {
        let host = self.host.as_deref().unwrap_or("(no host)");
        line(format!("{} {host} {}", self.method, self.path));
        line(format!("  {}", self.summary));
        if let Some(location) = &self.location {
            line(format!("  location  {location}"));
        }
        if let Some(certificate) = &self.certificate {
            line(format!("  shows     {certificate}"));
        }
        if let Some(rule) = &self.rule {
            line(format!("  rule      {} {}", rule.host, rule.path));
            line(format!("  from      {} {}", rule.object, rule.field));
            line(format!("  backend   {}", rule.backend));
            for endpoint in &self.endpoints {
                let pod = endpoint
                    .pod
                    .as_deref()
                    .map(|pod| format!("  {pod}"))
                    .unwrap_or_default();
                line(format!("  endpoint  {}{pod}", endpoint.address));
            }
            for yielded in &self.yielded {
                line(format!("  instead of {yielded}"));
            }
            let younger = self.shadows.iter().filter(|shadow| {
                let whose = format!("{shadow}: ");
                !self.yielded.iter().any(|yielded| yielded.starts_with(&whose))
            });
            for shadow in younger {
                line(format!(
                    "  beats     {shadow}: the same host and path, but younger or later by name"
                ));
            }
        }
        let hosts: Vec<String> = self
            .hosts
            .iter()
            .map(|(host, rules)| format!("{host} ({rules} rules)"))
            .collect();
        if !hosts.is_empty() {
            line(format!("  hosts asked, in order: {}", hosts.join(", ")));
        }
        if !self.lost.is_empty() {
            line("  came close:".to_owned());
        }
        for (rule, why) in &self.lost {
            line(format!(
                "    {} {} → {} ({}): {why}",
                rule.host, rule.path, rule.backend, rule.object
            ));
        }
        for problem in &self.problems {
            let object = problem.object.as_deref().unwrap_or_default();
            line(format!(
                "  {}: {object}: {}: {}",
                problem.severity, problem.field, problem.message
            ));
        }
    }
}
