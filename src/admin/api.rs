//! `/api/v1`: what the table holds, what passes over it, what is wrong, what changed. JSON, read-only.

mod live;
mod objects;
mod query;
mod routes;

pub use live::stream;
use objects::{backends, certificates, endpoints, hosts};
use query::Page;
pub use query::Query;

use super::sampler::TrafficView;
use super::view::Problem;
use super::{Admin, Reply, as_json};
use crate::control::{ChangeRecord, lock};
use crate::model::{Origin, Severity};
use crate::source::Phase;
use crate::telemetry::traffic::RecentError;
use http::StatusCode;
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

/// Ingresses that one question may name.
const MOST_ASKED: usize = 100;
/// Failures that are shown.
const MOST_ERRORS: usize = 100;

/// How well something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Well.
    #[default]
    Ok,
    /// It works, but.
    Warning,
    /// It does not work.
    Error,
}

impl Status {
    fn of(severity: Severity) -> Self {
        match severity {
            Severity::Error => Status::Error,
            Severity::Warning => Status::Warning,
            Severity::Info => Status::Ok,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Warning => "warning",
            Status::Error => "error",
        }
    }
}

/// A failure, as it is shown.
#[derive(Debug, Serialize)]
struct ErrorView {
    at: String,
    status: u16,
    reason: &'static str,
    side: &'static str,
    method: Box<str>,
    host: Box<str>,
    path: Box<str>,
    route: Option<String>,
    origin: Option<String>,
    endpoint: Option<String>,
    cause: Option<String>,
    request_id: Box<str>,
}

impl From<RecentError> for ErrorView {
    fn from(error: RecentError) -> Self {
        Self {
            at: format!("{:.3}", error.at),
            status: error.status,
            reason: error.reason,
            side: error.side,
            method: error.method,
            host: error.host,
            path: error.path,
            route: error.route.map(|key| key.to_string()),
            origin: error.origin,
            endpoint: error.endpoint,
            cause: error.cause,
            request_id: error.request_id,
        }
    }
}

/// A change of the table, as it is shown.
#[derive(Debug, Serialize)]
struct ChangeView<'a> {
    at: String,
    generation: u64,
    objects: &'a [String],
    added: &'a [String],
    removed: &'a [String],
    altered: &'a [String],
    counts: serde_json::Value,
    live_ms: f64,
}

impl<'a> From<&'a ChangeRecord> for ChangeView<'a> {
    fn from(change: &'a ChangeRecord) -> Self {
        let journal = &change.journal;
        Self {
            at: format!("{:.3}", change.at),
            generation: change.generation,
            objects: &change.objects,
            added: &journal.added.names,
            removed: &journal.removed.names,
            altered: &journal.altered.names,
            counts: json!({
                "added": journal.added.count, "removed": journal.removed.count, "altered": journal.altered.count,
            }),
            live_ms: (change.took.as_secs_f64() * 1e6).round() / 1e3,
        }
    }
}

fn bad(said: impl std::fmt::Display) -> Reply {
    as_json(StatusCode::BAD_REQUEST, &json!({"error": said.to_string()}))
}

impl Admin {
    /// Answers what lies below `/api/v1/`; none if there is nothing of this name.
    pub fn answer_api(&self, path: &str, query: &str) -> Option<Reply> {
        let query = match Query::parse(query) {
            Ok(query) => query,
            Err(error) => return Some(bad(error)),
        };
        Some(match path {
            "overview" => self.overview(),
            "routes" => self.routes(&query),
            "hosts" => query.answer(hosts(self), |host| &host.host),
            "backends" => query.answer(backends(self), |backend| &backend.name),
            "endpoints" => query.answer(endpoints(self), |endpoint| &endpoint.backend),
            "certificates" => query.answer(certificates(self), |one| one.names.first().map_or("", String::as_str)),
            "diagnostics" => self.diagnostics(&query),
            "changes" => self.changes(&query),
            "errors" => as_json(StatusCode::OK, &self.errors(|_| true)),
            "config" => as_json(StatusCode::OK, &self.config),
            "version" => as_json(
                StatusCode::OK,
                &json!({
                    "name": "narthex", "version": env!("CARGO_PKG_VERSION"),
                    "pod": self.identity.pod, "started": self.identity.started.to_string(),
                }),
            ),
            "explain" => self.explain(&query),
            "live" => self.live(&query),
            _ => return path.strip_prefix("routes/").map(|id| self.route(id)),
        })
    }

    /// Whether Ingresses are in the live table: what peers ask before they give one its address.
    fn live(&self, query: &Query) -> Reply {
        let asked: BTreeSet<&str> = query.all("ingress").take(MOST_ASKED).collect();
        let table = self.shared.tables.load();
        let is_asked = |origin: &Origin| asked.contains(origin.object.path().as_str());
        let found: BTreeSet<String> = table
            .routes()
            .flat_map(|route| std::iter::once(&route.origin).chain(&route.shadows))
            .filter(|origin| is_asked(origin))
            .map(|origin| origin.object.path())
            .collect();
        let live = !asked.is_empty() && asked.iter().all(|name| found.contains(*name));
        as_json(
            StatusCode::OK,
            &json!({"live": live, "found": found, "generation": table.generation}),
        )
    }

    fn diagnostics(&self, query: &Query) -> Reply {
        let report = self.shared.report.load();
        let problems = report.iter().map(Problem::from);
        if !query.is_paged() {
            return as_json(StatusCode::OK, &problems.collect::<Vec<_>>());
        }
        query.answer(problems.collect(), |problem| &problem.severity)
    }

    fn changes(&self, query: &Query) -> Reply {
        let changes = self.shared.changes.all();
        let all: Vec<ChangeView<'_>> = changes.iter().rev().map(|change| ChangeView::from(&**change)).collect();
        let page = Page::of(all, query);
        as_json(StatusCode::OK, &page)
    }

    /// The last failures of all shards, the newest first.
    fn errors(&self, is_meant: impl Fn(&RecentError) -> bool) -> Vec<ErrorView> {
        let shards = lock(&self.server).counters().to_vec();
        let mut errors: Vec<RecentError> = shards.iter().flat_map(|shard| shard.traffic.errors()).collect();
        errors.retain(is_meant);
        errors.sort_by_key(|error| std::cmp::Reverse(error.at));
        errors.truncate(MOST_ERRORS);
        errors.into_iter().map(ErrorView::from).collect()
    }

    /// What passed over all routes.
    pub fn all_traffic(&self) -> TrafficView {
        self.sampler().all()
    }

    fn overview(&self) -> Reply {
        let table = self.shared.tables.load();
        let report = self.shared.report.load();
        let counts = self.shared.object_counts();
        let objects: serde_json::Map<String, serde_json::Value> = counts
            .iter()
            .map(|(kind, count)| (kind.plural().to_owned(), json!(count)))
            .collect();
        let by = |severity| report.iter().filter(|problem| problem.severity() == severity).count();
        let watches = self.shared.watches.snapshot().into_iter().map(|(name, watch)| {
            let state = match &watch.phase {
                Phase::Listing => "listing".to_owned(),
                Phase::Live => "live".to_owned(),
                Phase::Failing(why) => format!("failing: {why}"),
            };
            json!({
                "name": name, "required": watch.required, "synced": watch.synced, "state": state,
                "silent_seconds": watch.last_event.map(|at| at.elapsed().as_secs_f64()),
            })
        });
        let watches: Vec<_> = watches.collect();
        let connections = lock(&self.server).connections_by_shard();
        as_json(
            StatusCode::OK,
            &json!({
                "name": "narthex", "version": env!("CARGO_PKG_VERSION"),
                "pod": self.identity.pod, "started": self.identity.started.to_string(),
                "ready": self.shared.is_ready(),
                "generation": table.generation,
                "swaps": self.shared.swaps.load(Ordering::Relaxed),
                "uptime_seconds": self.shared.started.elapsed().as_secs(),
                "objects": objects,
                "counts": {
                    "hosts": table.hosts().filter(|(_, host)| !host.is_empty()).count(),
                    "routes": table.routes().count(),
                    "backends": table.backends().count(),
                    "endpoints": table.backends().map(|backend| backend.endpoints.len()).sum::<usize>(),
                    "certificates": table.all_certificates().count(),
                },
                "problems": {
                    "error": by(Severity::Error), "warning": by(Severity::Warning), "info": by(Severity::Info),
                },
                "traffic": self.all_traffic(),
                "connections": connections.iter().sum::<usize>(),
                "connections_by_shard": connections,
                "memory_bytes": memory(),
                "watches": watches,
            }),
        )
    }
}

/// Resident bytes of this process (proc(5), `statm`).
pub fn memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}
