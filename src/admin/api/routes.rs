//! Routes, each with where it comes from, where it leads, and what passes over it.

use super::super::Admin;
use super::super::reply::{Reply, as_json};
use super::super::sampler::{Sampler, TrafficView};
use super::super::view::{BackendShare, Problem, backend_words, backends, concerning, shares};
use super::query::{Page, Query};
use super::{ErrorView, Status, bad};
use crate::control::lock;
use crate::model::{ObjectRef, Report, RouteKey};
use crate::source::directory;
use crate::table::{Backend, BackendState, Match, Route, Table};
use crate::telemetry::traffic::{EndpointFailure, Refusals};
use crate::upstream::Commons;
use crate::upstream::health::Why;
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// An endpoint, over all shards.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EndpointInfo {
    pub(crate) address: String,
    pub(crate) pod: Option<String>,
    pub(crate) zone: Option<String>,
    pub(crate) near: bool,
    pub(crate) requests: u64,
    pub(crate) failures: u64,
    pub(crate) in_flight: u64,
    pub(crate) rate: f64,
    pub(crate) check: Option<Cow<'static, str>>,
    pub(crate) set_aside: Option<SetAside>,
    /// Whether its pod is being deleted, and answers only because no other pod is ready.
    #[serde(default)]
    pub(crate) terminating: bool,
    /// Attempts of the last minute.
    #[serde(default)]
    pub(crate) attempts_in_minute: u64,
    /// Of these, those that failed by its fault.
    #[serde(default)]
    pub(crate) failures_in_minute: u64,
    /// Since when every attempt has failed; absent where the last one did not.
    #[serde(default)]
    pub(crate) failing_since: Option<String>,
    /// How the last attempt that failed did so.
    #[serde(default)]
    pub(crate) last_failure: Option<FailedAttempt>,
}

/// How an attempt at an endpoint failed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FailedAttempt {
    /// When (RFC 3339).
    pub(crate) at: String,
    /// What happened: `connection refused`.
    pub(crate) what: String,
}

impl From<EndpointFailure> for FailedAttempt {
    fn from(failure: EndpointFailure) -> Self {
        Self {
            at: format!("{:.3}", failure.at),
            what: failure.what.into(),
        }
    }
}

/// That shards pass an endpoint over, for what it answered.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SetAside {
    pub(crate) why: Cow<'static, str>,
    pub(crate) seconds: f64,
    pub(crate) shards: usize,
}

/// A route in a list.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RouteInfo {
    pub(crate) id: String,
    pub(crate) host: String,
    pub(crate) path: Option<String>,
    pub(crate) path_type: Option<String>,
    pub(crate) object: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) field: String,
    pub(crate) backend: String,
    /// The backends that share its requests, where there are several.
    #[serde(default)]
    pub(crate) shares: Vec<BackendShare>,
    pub(crate) service: Option<String>,
    pub(crate) state: Cow<'static, str>,
    /// What closes it: a guard that narthex does not enforce.
    #[serde(default)]
    pub(crate) guard: Option<String>,
    pub(crate) status: Status,
    pub(crate) problems: usize,
    pub(crate) tls: bool,
    pub(crate) endpoints: Vec<EndpointInfo>,
    pub(crate) traffic: TrafficView,
}

/// A route by itself.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RouteDetail {
    #[serde(flatten)]
    info: RouteInfo,
    policies: BTreeMap<&'static str, String>,
    settings: BTreeMap<&'static str, String>,
    /// The steps that requests go through, in their order.
    steps: Vec<String>,
    /// How many requests it has refused since narthex started, by reason.
    refusals: BTreeMap<&'static str, u64>,
    shadows: Vec<String>,
    diagnostics: Vec<Problem>,
    certificate: Option<String>,
    recent_errors: Vec<ErrorView>,
    source: Source,
}

/// Where it is written.
#[derive(Debug, Default, Serialize, JsonSchema)]
struct Source {
    /// `file:line:column`, for objects from files.
    location: Option<String>,
    /// The object's lines as they are written, the first 200 of them.
    yaml: Option<String>,
    /// Why there are none.
    reason: Option<String>,
}

/// The status of a route: its diagnostics, and whether any pod answers.
pub fn status(report: &Report, table: &Table, found: Match<'_>) -> (Status, usize) {
    let route = found.route;
    let mut worst = match table.backend_of(route).map(|backend| backend.state) {
        Some(BackendState::Ready) => Status::Ok,
        Some(BackendState::OnlyTerminating | BackendState::ReadinessUnknown) => Status::Warning,
        Some(_) | None => Status::Error,
    };
    if table.guard_of(found).is_some() {
        worst = Status::Error;
    }
    let mut count = 0;
    for diagnostic in concerning(report, route) {
        let status = Status::of(diagnostic.severity());
        worst = worst.max(status);
        count += usize::from(status != Status::Ok);
    }
    (worst, count)
}

/// A backend's endpoints as shards know them.
pub fn endpoints_of(backend: &Backend, commons: &Commons, sampler: &Sampler) -> Vec<EndpointInfo> {
    let Some(pods) = backend.pods else { return Vec::new() };
    let common = commons.of(pods);
    let each = backend.endpoints.iter().map(|endpoint| {
        let identity = endpoint.identity();
        let shards = common.traffic(&identity);
        let sum = |number: fn(&crate::telemetry::traffic::EndpointTraffic) -> u64| {
            shards.iter().map(|shard| number(shard)).sum::<u64>()
        };
        let aside: Vec<_> = shards.iter().filter_map(|shard| shard.aside()).collect();
        let longest = aside.iter().max_by_key(|(left, _)| *left);
        let set_aside = longest.map(|(left, why)| SetAside {
            why: Why::of(*why).name().into(),
            seconds: (left.as_secs_f64() * 10.0).round() / 10.0,
            shards: aside.len(),
        });
        let check = backend.check.as_ref().and_then(|check| common.check(&identity, check));
        let tries = sampler.attempts(pods, &identity);
        let failures = shards.iter().filter_map(|shard| shard.last_failure());
        let last_failure = failures.max_by_key(|failure| failure.at);
        EndpointInfo {
            address: endpoint.address.to_string(),
            pod: endpoint.pod.as_deref().map(str::to_owned),
            zone: endpoint.zone.as_deref().map(str::to_owned),
            near: endpoint.near,
            requests: sum(|shard| shard.requests.get()),
            failures: sum(|shard| shard.failures.get()),
            in_flight: sum(|shard| shard.in_flight.get()),
            rate: sampler.endpoint_rate(pods, &identity),
            check: check.map(|well| if well { "passing".into() } else { "failing".into() }),
            set_aside,
            terminating: backend.state == BackendState::OnlyTerminating,
            attempts_in_minute: tries.all,
            failures_in_minute: tries.failed,
            failing_since: tries.failing.map(|(since, _)| format!("{since:.0}")),
            last_failure: last_failure.map(FailedAttempt::from),
        }
    });
    each.collect()
}

/// All that a look at routes needs.
struct View<'a> {
    table: &'a Table,
    report: &'a Report,
    commons: Arc<Commons>,
    sampler: &'a Sampler,
}

impl View<'_> {
    fn info(&self, found: Match<'_>) -> RouteInfo {
        let route = found.route;
        let backend = self.table.backend_of(route).map(|backend| &**backend);
        let (status, problems) = status(self.report, self.table, found);
        let object = &route.origin.object;
        let all = backends(self.table, route).into_iter();
        let endpoints = all.flat_map(|backend| endpoints_of(backend, &self.commons, self.sampler));
        let endpoints: Vec<EndpointInfo> = endpoints.collect();
        let guard = self.table.guard_of(found);
        let aside = endpoints.iter().any(|endpoint| endpoint.set_aside.is_some());
        RouteInfo {
            id: route.key.to_string(),
            host: route.host.to_string(),
            path: route.path.as_ref().map(|path| path.path.to_string()),
            path_type: route.path.as_ref().map(|path| format!("{:?}", path.kind)),
            object: object.to_string(),
            namespace: object.namespace.to_string(),
            name: object.name.to_string(),
            field: route.origin.field.to_string(),
            backend: backend_words(self.table, route),
            shares: shares(self.table, route),
            service: backend
                .filter(|backend| !backend.service.is_empty())
                .map(|backend| backend.service.to_string()),
            state: state(guard.is_some(), backend).into(),
            guard: guard.map(ToString::to_string),
            status: if aside { status.max(Status::Warning) } else { status },
            problems,
            tls: has_certificate(self.table, route),
            endpoints,
            traffic: self.sampler.route(route.key),
        }
    }
}

/// How a route is, in a few words.
fn state(closed: bool, backend: Option<&Backend>) -> &'static str {
    if closed {
        return "closed by a guard that is not enforced";
    }
    backend.map_or("(none)", |backend| backend.state.reason())
}

/// Whether clients that ask for the route's host by HTTPS see a certificate that is meant for it.
pub fn has_certificate(table: &Table, route: &Route) -> bool {
    let host = route.host.to_string();
    table.certificates_for(Some(&host.replacen('*', "x", 1))).is_some()
}

/// What routes can be sorted by.
pub const SORTS: [&str; 11] = [
    "host",
    "path",
    "namespace",
    "object",
    "name",
    "backend",
    "status",
    "rate",
    "requests",
    "error_share",
    "p99_ms",
];

fn fits(found: Match<'_>, table: &Table, words: &[String]) -> bool {
    let route = found.route;
    let backend = table.backend_of(route);
    let mut text = format!("{} {} {}", route.describe(), route.host, route.origin).to_lowercase();
    if let Some(backend) = backend {
        let state = state(table.guard_of(found).is_some(), Some(backend));
        text += &format!(" {backend} {state}").to_lowercase();
    }
    words.iter().all(|word| {
        text.contains(word.as_str())
            || backend.is_some_and(|backend| {
                let mut endpoints = backend.endpoints.iter();
                endpoints.any(|endpoint| endpoint.to_string().to_lowercase().contains(word.as_str()))
            })
    })
}

fn policies(route: &Route) -> BTreeMap<&'static str, String> {
    let (mut said, policies) = (BTreeMap::new(), &route.policies);
    if policies.redirects_to_https() {
        said.insert("https-redirect", "308".to_owned());
    }
    if let Some(hsts) = policies.hsts() {
        said.insert("hsts", String::from_utf8_lossy(hsts.as_bytes()).into_owned());
    }
    if route.keep_slashes {
        said.insert("merge-slashes", "false".to_owned());
    }
    if let Some(compression) = policies.compression() {
        said.insert("compress", format!("{compression:?}"));
    }
    said
}

impl Admin {
    /// The part of all routes that is asked for.
    pub(super) fn routes(&self, query: &Query) -> Reply {
        let table = self.shared.tables.load();
        let report = self.shared.report.load();
        let sampler = self.sampler();
        let (words, namespace) = (query.words(), query.get("namespace").filter(|text| !text.is_empty()));
        let mut found: Vec<Match<'_>> = table
            .matches()
            .filter(|one| namespace.is_none_or(|wanted| &*one.route.origin.object.namespace == wanted))
            .filter(|one| words.is_empty() || fits(*one, &table, &words))
            .filter(|one| query.status().is_none() || query.means(status(&report, &table, *one).0))
            .collect();
        let (sort, reverse) = query.sort().unwrap_or(("host", false));
        let rate = |route: &Route| sampler.route(route.key);
        match sort {
            "host" => found.sort_by_cached_key(|one| (one.route.host.to_string(), path_of(one.route))),
            "path" => found.sort_by_cached_key(|one| (path_of(one.route), one.route.host.to_string())),
            "namespace" | "object" | "name" => found.sort_by_cached_key(|one| one.route.origin.to_string()),
            "backend" => found.sort_by_cached_key(|one| table.backend_of(one.route).map(|one| one.to_string())),
            "status" => found.sort_by_cached_key(|one| status(&report, &table, *one).0),
            "rate" => found.sort_by_cached_key(|one| (rate(one.route).rate * 1000.0) as u64),
            "requests" => found.sort_by_cached_key(|one| rate(one.route).requests),
            "error_share" => found.sort_by_cached_key(|one| (rate(one.route).error_share * 1e6) as u64),
            "p99_ms" => found.sort_by_cached_key(|one| (rate(one.route).p99_ms.unwrap_or(0.0) * 1000.0) as u64),
            other => return bad(format!("sort={other}: there is no such field")),
        }
        if reverse {
            found.reverse();
        }
        let view = View {
            table: &table,
            report: &report,
            commons: lock(&self.server).commons(),
            sampler: &sampler,
        };
        let page = Page::of(found, query).map(|one| view.info(one));
        as_json(StatusCode::OK, &page)
    }

    /// Where an object is written, and how.
    fn source(&self, object: &ObjectRef) -> Source {
        let Some(places) = &self.around.places else {
            let (namespace, name) = (&object.namespace, &object.name);
            return Source {
                reason: Some(format!(
                    "it is the API server's: kubectl get -n {namespace} {} {name} -o yaml",
                    object.kind.name().to_lowercase()
                )),
                ..Source::default()
            };
        };
        let Some(place) = places.of(object) else {
            return Source {
                reason: Some("no file has it any more".to_owned()),
                ..Source::default()
            };
        };
        let (yaml, reason) = match directory::lines(object, &place) {
            Ok(lines) => (Some(lines), None),
            Err(why) => (None, Some(why.to_string())),
        };
        Source {
            location: Some(place.to_string()),
            yaml,
            reason,
        }
    }

    /// One route, with all there is to say.
    pub(super) fn route(&self, id: &str) -> Reply {
        let Ok(key) = id.parse::<RouteKey>() else {
            return bad(format!(
                "\"{id}\" is not the id of a route: an id has 16 digits of 0-9 and a-f"
            ));
        };
        let table = self.shared.tables.load();
        let Some(found) = table.matches().find(|found| found.route.key == key) else {
            let said = format!("no route has the id {id}: it may have gone, or its host or path changed");
            return as_json(StatusCode::NOT_FOUND, &json!({"error": said}));
        };
        let route = found.route;
        let report = self.shared.report.load();
        let sampler = self.sampler();
        let view = View {
            table: &table,
            report: &report,
            commons: lock(&self.server).commons(),
            sampler: &sampler,
        };
        let host = route.host.to_string();
        let set = table.certificates(Some(&host.replacen('*', "x", 1)));
        let certificate = set.and_then(|set| set.iter().next()).map(|one| one.secret.to_string());
        let settings = table.backend_of(route).map(|backend| backend.settings.said());
        let detail = RouteDetail {
            info: view.info(found),
            policies: policies(route),
            settings: settings.unwrap_or_default().into_iter().collect(),
            steps: route.policies.steps().collect(),
            refusals: self.refusals(key),
            shadows: route.shadows.iter().map(|shadow| shadow.origin.to_string()).collect(),
            diagnostics: concerning(&report, route).map(Problem::from).collect(),
            certificate,
            recent_errors: self.errors(|error| error.route == Some(key)),
            source: self.source(&route.origin.object),
        };
        as_json(StatusCode::OK, &detail)
    }
}

impl Admin {
    /// How many requests a route has refused, by reason.
    fn refusals(&self, key: RouteKey) -> BTreeMap<&'static str, u64> {
        let shards = lock(&self.server).counters().to_vec();
        let mut all = Refusals::default();
        shards.iter().for_each(|shard| shard.traffic.collect_refused(&mut all));
        all.remove(&key).unwrap_or_default()
    }
}

fn path_of(route: &Route) -> String {
    route
        .path
        .as_ref()
        .map(|path| path.path.to_string())
        .unwrap_or_default()
}
