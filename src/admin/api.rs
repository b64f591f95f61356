//! `/api/v1`: what the table holds, what passes over it, what is wrong, what changed. JSON, read-only.

mod live;
mod objects;
mod openapi;
mod overview;
mod query;
mod routes;
mod tap;

pub use live::stream;
use objects::{backends, certificates, endpoints, hosts};
pub use openapi::text as openapi_text;
pub use overview::Overview;
use query::MOST_PER_PAGE;
pub use query::{Page, Query};
pub use routes::{EndpointInfo, RouteInfo, SORTS, endpoints_of, has_certificate};
pub use tap::{LeftOut, tap};

use super::Admin;
use super::reply::{Reply, as_json, json_reply};
use super::view::Problem;
use crate::control::{ChangeRecord, lock};
use crate::model::Severity;
use crate::peers::live::{Live, MOST_ASKED};
use crate::telemetry::traffic::RecentError;
use http::StatusCode;
use http::header::{self, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Failures that are shown.
const MOST_ERRORS: usize = 100;

/// How well something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
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

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Warning => "warning",
            Status::Error => "error",
        }
    }
}

/// A failure, as it is shown.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RecentError")]
pub struct ErrorView {
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
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Change")]
pub struct ChangeView<'a> {
    at: String,
    generation: u64,
    objects: &'a [String],
    added: &'a [String],
    removed: &'a [String],
    altered: &'a [String],
    counts: ChangeCounts,
    live_ms: f64,
}

/// How much there is of each, though only the first are named.
#[derive(Debug, Serialize, JsonSchema)]
struct ChangeCounts {
    added: usize,
    removed: usize,
    altered: usize,
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
            counts: ChangeCounts {
                added: journal.added.count,
                removed: journal.removed.count,
                altered: journal.altered.count,
            },
            live_ms: (change.took.as_secs_f64() * 1e6).round() / 1e3,
        }
    }
}

/// What problems are sorted by where nothing else is asked for: the worst first.
fn rank(problem: &Problem) -> &str {
    match problem.severity.as_str() {
        "error" => "0",
        "warning" => "1",
        _ => "2",
    }
}

/// What is wrong with a question.
pub fn bad(said: impl std::fmt::Display) -> Reply {
    as_json(StatusCode::BAD_REQUEST, &json!({"error": said.to_string()}))
}

impl Admin {
    /// Answers paths below `/api/v1/`; absent if there is no such path.
    pub fn answer_api(&self, path: &str, query: &str) -> Option<Reply> {
        let query = match Query::parse(query) {
            Ok(query) => query,
            Err(error) => return Some(bad(error)),
        };
        Some(match path {
            "overview" => as_json(StatusCode::OK, &self.overview()),
            "routes" => self.routes(&query),
            "hosts" => query.answer(hosts(self), |host| &host.host),
            "backends" => query.answer(backends(self), |backend| &backend.name),
            "endpoints" => query.answer(endpoints(self), |endpoint| &endpoint.backend),
            "certificates" => query.answer(certificates(self), |one| one.names.first().map_or("", String::as_str)),
            "diagnostics" => self.diagnostics(&query),
            "changes" => self.changes(&query),
            "errors" => as_json(StatusCode::OK, &self.errors(|_| true)),
            "config" => as_json(StatusCode::OK, &self.config),
            "version" => as_json(StatusCode::OK, &self.version()),
            "openapi.json" => json_reply(StatusCode::OK, Ok(openapi_text().trim_end().to_owned())),
            "explain" => self.explain(&query),
            "live" => self.live(&query),
            _ => return path.strip_prefix("routes/").map(|id| self.route(id)),
        })
    }

    /// Whether Ingresses are in the live table: what peers ask before they give one its address.
    fn live(&self, query: &Query) -> Reply {
        if query.all("ingress").count() > MOST_ASKED {
            return bad(format!("more than {MOST_ASKED} Ingresses at once"));
        }
        let table = self.shared.tables.load();
        as_json(StatusCode::OK, &Live::of(&table, query.all("ingress")))
    }

    /// What is wrong, the worst first. Without a page, as many as the longest page has; `Link` then says where the others
    /// are (RFC 8288).
    fn diagnostics(&self, query: &Query) -> Reply {
        let report = self.shared.report.load();
        if query.is_paged() {
            return query.answer(report.iter().map(Problem::from).collect(), rank);
        }
        let mut worst: Vec<_> = report.iter().collect();
        worst.sort_by_key(|problem| std::cmp::Reverse(Status::of(problem.severity())));
        let more = worst.len() > MOST_PER_PAGE;
        let problems: Vec<Problem> = worst.into_iter().take(MOST_PER_PAGE).map(Problem::from).collect();
        let mut reply = as_json(StatusCode::OK, &problems);
        if more {
            let next = HeaderValue::from_static("</api/v1/diagnostics?page=2&per_page=1000>; rel=\"next\"");
            reply.headers_mut().insert(header::LINK, next);
        }
        reply
    }

    fn changes(&self, query: &Query) -> Reply {
        let changes = self.shared.changes.all();
        let all: Vec<ChangeView<'_>> = changes.iter().rev().map(|change| ChangeView::from(&**change)).collect();
        let page = Page::of(all, query);
        as_json(StatusCode::OK, &page)
    }

    /// The last failures of all shards, the newest first.
    fn errors(&self, is_meant: impl Fn(&RecentError) -> bool) -> Vec<ErrorView> {
        let errors = self.recent_errors(is_meant);
        errors.into_iter().map(ErrorView::from).collect()
    }

    /// The same as they were noted.
    pub(super) fn recent_errors(&self, is_meant: impl Fn(&RecentError) -> bool) -> Vec<RecentError> {
        let shards = lock(&self.server).counters().to_vec();
        let mut errors: Vec<RecentError> = shards.iter().flat_map(|shard| shard.traffic.errors()).collect();
        errors.retain(is_meant);
        errors.sort_by_key(|error| std::cmp::Reverse(error.at));
        errors.truncate(MOST_ERRORS);
        errors
    }
}
