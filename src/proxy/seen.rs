//! What is said of a request that failed, in the log and where recent failures are shown.

use super::error::Side;
use super::forward::Failure;
use super::worker::Worker;
use crate::model::RouteKey;
use crate::table::Route;
use crate::telemetry::traffic::RecentError;
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode};

/// Bytes of a host or path that are remembered.
const LONGEST: usize = 256;

/// What a request asked for.
pub struct Asked {
    method: Method,
    host: Box<str>,
    path: Box<str>,
}

impl Asked {
    /// As its head has it, cut to a bound.
    pub fn of(parts: &Parts) -> Self {
        let host = parts.headers.get(header::HOST).map(HeaderValue::as_bytes);
        let host = parts
            .uri
            .authority()
            .map(|authority| authority.as_str().as_bytes())
            .or(host);
        Self {
            method: parts.method.clone(),
            host: text(host.unwrap_or_default()),
            path: text(parts.uri.path().as_bytes()),
        }
    }
}

fn text(bytes: &[u8]) -> Box<str> {
    String::from_utf8_lossy(bytes.get(..LONGEST).unwrap_or(bytes)).into()
}

/// What is known of a request that fails; filled in as far as it got.
#[derive(Default)]
pub struct Seen {
    /// Whether the client expects gRPC.
    pub grpc: bool,
    /// The route, in words.
    pub route: Option<String>,
    /// Whose rule that is.
    pub origin: Option<String>,
    /// The pod that answered.
    pub endpoint: Option<String>,
    /// What was asked for.
    pub asked: Option<Asked>,
    key: Option<RouteKey>,
}

impl Seen {
    /// Its route is known.
    pub fn name(&mut self, route: &Route) {
        self.route = Some(route.describe());
        self.origin = Some(route.origin.to_string());
        self.key = Some(route.key);
    }

    /// A failure of ours or of a pod's. A client's are a client's to cause at any rate it likes.
    pub fn remember(&mut self, worker: &Worker, failure: &Failure, request_id: &HeaderValue) {
        let verdict = failure.error.verdict();
        if verdict.side != Side::Client {
            self.endpoint.clone_from(&failure.endpoint);
            let cause = failure.cause.clone().or_else(|| Some(failure.error.to_string()));
            let said = (verdict.status, verdict.label, verdict.side.name());
            self.keep(worker, said, cause, request_id);
        }
    }

    /// A pod's own answer, which says that it failed.
    pub fn remember_pods(&mut self, worker: &Worker, status: StatusCode, request_id: &HeaderValue) {
        self.keep(
            worker,
            (status, "pod_answered", Side::Upstream.name()),
            None,
            request_id,
        );
    }

    fn keep(
        &mut self,
        worker: &Worker,
        (status, reason, side): (StatusCode, &'static str, &'static str),
        cause: Option<String>,
        request_id: &HeaderValue,
    ) {
        let asked = self.asked.take();
        let (method, host, path) = match asked {
            Some(asked) => (asked.method.as_str().into(), asked.host, asked.path),
            None => Default::default(),
        };
        worker.counters.traffic.remember(RecentError {
            at: jiff::Timestamp::now(),
            status: status.as_u16(),
            reason,
            side,
            method,
            host,
            path,
            route: self.key,
            origin: self.origin.clone(),
            endpoint: self.endpoint.clone(),
            cause,
            request_id: request_id.to_str().unwrap_or_default().into(),
        });
    }
}
