//! What the admin API and the commands show, as JSON and as text: one set of types for both.

use crate::model::visible::{Keep, visible};
use crate::model::{Code, Diagnostic, Report};
use crate::proxy::ACME;
use crate::table::canonical::{canonical_host, canonical_path};
use crate::table::explain::{Explanation, explain};
use crate::table::{Backend, Route, Table};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
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
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
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
}

/// Decides as a request would be, and says why.
///
/// # Errors
/// When the URL is none. A URL that a request could carry but that narthex refuses is a decision, not an error.
pub fn decide(table: &Table, report: &Report, question: &Question) -> Result<Decision, String> {
    let (scheme, host, path) = split(&question.url)?;
    // What a client would name in its handshake (SNI); an address is never named.
    let name = host.as_deref().and_then(|host| canonical_host(host).ok());
    let name = name.map(|host| host.name.into_owned());
    let name = name.filter(|name| !name.starts_with('[') && name.parse::<std::net::Ipv4Addr>().is_err());
    let host = question
        .headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("host"))
        .map(|(_, value)| value.clone())
        .or(host);
    let mut decision = Decision {
        method: if question.method.is_empty() {
            "GET".to_owned()
        } else {
            question.method.clone()
        },
        host: None,
        path: path.clone(),
        status: None,
        summary: String::new(),
        certificate: None,
        rule: None,
        shadows: Vec::new(),
        yielded: Vec::new(),
        endpoints: Vec::new(),
        hosts: Vec::new(),
        lost: Vec::new(),
        problems: Vec::new(),
    };
    if matches!(decision.method.as_str(), "CONNECT" | "TRACE") {
        decision.refuse(405, format!("{} is not forwarded", decision.method));
        return Ok(decision);
    }
    let canonical = match host.as_deref().map(canonical_host).transpose() {
        Ok(canonical) => canonical,
        Err(error) => {
            decision.refuse(400, error.to_string());
            return Ok(decision);
        }
    };
    decision.host = canonical.map(|host| host.name.into_owned());
    let canonical = match canonical_path(&path, false) {
        Ok(canonical) => canonical,
        Err(error) => {
            decision.refuse(400, error.to_string());
            return Ok(decision);
        }
    };
    let explanation = explain(table, decision.host.as_deref(), &canonical);
    decision.fill(table, report, &canonical, &explanation);
    let closed = explanation.route.as_ref().and_then(|route| table.guard_of(route));
    match (scheme, &explanation.route) {
        (Scheme::Https, _) => {
            decision.certificate = Some(certificate(table, name.as_deref()));
            if !table.may_ask(name.as_deref(), decision.host.as_deref()) {
                let asked = decision.host.as_deref().unwrap_or("(no host)");
                let why = format!(
                    "the connection is for {}, and the certificate shown for that name does not cover {asked}",
                    name.as_deref().unwrap_or_default()
                );
                decision.refuse(421, why);
            }
        }
        (Scheme::Http, _) if closed.is_some() => {}
        (Scheme::Http, Some(route)) if route.policies.https_redirect && !decision.path.starts_with(ACME) => {
            let why = format!(
                "{} has TLS for this host, so plain HTTP is sent to HTTPS",
                route.origin.object
            );
            decision.refuse(308, why);
        }
        (Scheme::Http, _) => {}
    }
    Ok(decision)
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
        None if url.starts_with('/') => return Ok((Scheme::Http, None, cut(url))),
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

fn cut(path: &str) -> String {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    if path.is_empty() {
        "/".to_owned()
    } else {
        path.to_owned()
    }
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
    fn refuse(&mut self, status: u16, why: String) {
        self.status = Some(status);
        self.summary = format!("narthex answers {status} itself: {why}");
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
        } else {
            self.refuse(404, "no rule matches, and there is no default backend".to_owned());
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
        if let Some(guard) = table.guard_of(route) {
            let why = format!(
                "{} is closed, because narthex does not enforce {guard}",
                route.describe()
            );
            self.refuse(503, why);
        } else if backend.endpoints.is_empty() {
            self.refuse(
                503,
                format!(
                    "{} answers, but {}: {}",
                    route.describe(),
                    backend_name(backend),
                    backend.state.reason()
                ),
            );
        } else {
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
