//! What is said of a request that failed, in the log and where recent failures are shown.

use super::Trail;
use crate::message::Request;
use crate::model::RouteKey;
use crate::proxy::client::Client;
use crate::proxy::error::Side;
use crate::proxy::forward::ForwardError;
use crate::table::Route;
use crate::telemetry::traffic::RecentError;
use http::StatusCode;

/// Bytes of a host or path that are remembered.
const LONGEST: usize = 256;

/// A route in words.
pub struct Named {
    route: String,
    origin: String,
    key: RouteKey,
}

impl Named {
    /// Describes a route.
    pub fn of(route: &Route) -> Self {
        Self {
            route: route.describe(),
            origin: route.origin.to_string(),
            key: route.key,
        }
    }

    /// Which route it is.
    pub fn key(&self) -> RouteKey {
        self.key
    }
}

/// What went wrong.
pub struct Said {
    /// What the client gets.
    pub status: StatusCode,
    /// As metrics have it.
    pub reason: &'static str,
    /// Whose fault it is.
    pub side: Side,
    /// The last endpoint that was tried.
    pub endpoint: Option<String>,
    /// What exactly, where that is known.
    pub cause: Option<String>,
}

/// Text of a client's, cut to a bound.
fn text(bytes: &[u8]) -> Box<str> {
    String::from_utf8_lossy(bytes.get(..LONGEST).unwrap_or(bytes)).into()
}

impl Trail {
    /// Puts a failure among the recent ones.
    pub(super) fn remember(&self, request: &Request, named: Option<&Named>, said: Said) {
        self.worker.counters.traffic.remember(RecentError {
            at: jiff::Timestamp::now(),
            status: said.status.as_u16(),
            reason: said.reason,
            side: said.side.name(),
            method: request.method.as_str().into(),
            host: text(request.host()),
            path: text(request.path().as_bytes()),
            route: named.map(|named| named.key),
            origin: named.map(|named| named.origin.clone()),
            endpoint: said.endpoint,
            cause: said.cause,
            request_id: self.request_id.as_str().into(),
        });
    }

    /// Writes the one line of the log that a failure has.
    pub(super) fn log(&self, client: &Client, named: Option<&Named>, failure: &ForwardError) {
        let verdict = failure.error.verdict();
        let request_id = self.request_id.as_str();
        let (route, origin) = (named.map(|named| &named.route), named.map(|named| &named.origin));
        let (endpoint, cause) = (&failure.endpoint, &failure.cause);
        let (status, side, label, error) = (
            verdict.status.as_u16(),
            verdict.side.name(),
            verdict.label,
            failure.error,
        );
        let (peer, client) = (client.peer.socket, client.address());
        // A client's faults are a client's to cause at any rate it likes, so they are not for the everyday log.
        if verdict.side == Side::Client {
            tracing::debug!(status, side, reason = label, %error, cause, route, origin, endpoint, %client, %peer, request_id, "request failed");
        } else {
            tracing::warn!(status, side, reason = label, %error, cause, route, origin, endpoint, %client, %peer, request_id, "request failed");
        }
    }
}
