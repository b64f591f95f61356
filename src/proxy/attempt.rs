//! What an attempt tells of the endpoint it was made at.

use super::body::ClientBody;
use super::error::ProxyError;
use super::worker::Worker;
use crate::upstream::Lease;
use crate::upstream::health::Why;
use http::StatusCode;
use std::time::Instant;

/// An attempt of which nothing is known yet. If it is dropped so, the client has gone or the time is up, and only if
/// that was the backend's own time does it tell of the endpoint.
pub struct Attempt<'a> {
    worker: &'a Worker,
    lease: &'a Lease<ClientBody>,
    until: Option<tokio::time::Instant>,
    settled: bool,
}

impl<'a> Attempt<'a> {
    /// One that begins; `until` is when the backend's own time is up.
    pub fn new(worker: &'a Worker, lease: &'a Lease<ClientBody>, until: Option<tokio::time::Instant>) -> Self {
        Self {
            worker,
            lease,
            until,
            settled: false,
        }
    }

    /// What came of it is known.
    pub fn settled(mut self) {
        self.settled = true;
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let late = self.until.is_some_and(|until| tokio::time::Instant::now() >= until);
        if !late {
            self.lease.endpoint.health.unsettled();
        } else if self.lease.failed(&self.worker.clock) {
            set_aside(self.worker, self.lease, Why::Failing);
        }
    }
}

/// Tells the endpoint's health what came back. What a request asks for that cannot be done (501, 505) is no sign of
/// bad health.
pub fn note_answer(worker: &Worker, lease: &Lease<ClientBody>, status: StatusCode, began: Option<Instant>) {
    let failed = status.is_server_error()
        && status != StatusCode::NOT_IMPLEMENTED
        && status != StatusCode::HTTP_VERSION_NOT_SUPPORTED;
    let mut aside = None;
    if failed {
        aside = lease.failed(&worker.clock).then_some(Why::Failing);
    } else {
        lease.endpoint.health.good(&worker.clock);
    }
    if let Some(began) = began
        && lease.measured(&worker.clock, began.elapsed().as_secs_f32())
    {
        aside = Some(Why::Slow);
    }
    if let Some(why) = aside {
        set_aside(worker, lease, why);
    }
}

/// Likewise of an attempt that got no answer. `chance` says that the end of the connection tells nothing of the pod: one
/// that had served before may have been closed just now, and one that ends during an upload may have been ended for what
/// is uploaded. What was the client's fault tells nothing either.
pub fn note_failure(worker: &Worker, lease: &Lease<ClientBody>, error: ProxyError, chance: bool) {
    match error {
        ProxyError::Closed if chance => {}
        ProxyError::Closed | ProxyError::TlsRefused | ProxyError::ResponseTimeout | ProxyError::BadResponse
            if lease.failed(&worker.clock) =>
        {
            set_aside(worker, lease, Why::Failing);
        }
        _ => {}
    }
}

fn set_aside(worker: &Worker, lease: &Lease<ClientBody>, why: Why) {
    worker.counters.ejections.add();
    tracing::warn!(endpoint = %lease.endpoint.endpoint, reason = why.name(), "an endpoint is set aside for a while");
}
