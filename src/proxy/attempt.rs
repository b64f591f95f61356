//! What an attempt tells of the endpoint it was made at.

use super::body::ClientBody;
use super::error::ProxyError;
use super::worker::Worker;
use crate::upstream::Lease;
use crate::upstream::health::Why;
use http::StatusCode;
use std::io;
use std::time::Instant;

/// What is said of an endpoint that takes too long.
const LATE: &str = "not answered in time";

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

    /// It ended without telling anything of the endpoint. If the endpoint had been set aside, the next request may try it.
    pub fn tells_nothing(mut self) {
        self.settled = true;
        self.leave_open();
    }

    /// No connection could be opened.
    pub fn unreachable(mut self, cause: &io::Error) {
        self.settled = true;
        self.lease.unreachable(&self.worker.clock, cause);
    }

    /// Tells the endpoint's health what came back. What a request asks for that cannot be done (501, 505) is no sign of
    /// bad health.
    pub fn answered(mut self, status: StatusCode, began: Option<Instant>) {
        self.settled = true;
        let (worker, lease) = (self.worker, self.lease);
        let failed = status.is_server_error()
            && status != StatusCode::NOT_IMPLEMENTED
            && status != StatusCode::HTTP_VERSION_NOT_SUPPORTED;
        let mut aside = None;
        if failed {
            let what = format!("answered with {}", status.as_u16());
            aside = lease.failed(&worker.clock, what).then_some(Why::Failing);
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

    /// The same for an attempt that got no answer. `chance` says that the end of the connection tells nothing of the pod:
    /// one that had served before may have been closed just now, and one that ends during an upload may have been ended
    /// for what is uploaded. What was the client's fault, or ours, tells nothing either.
    pub fn failed(mut self, error: ProxyError, chance: bool) {
        self.settled = true;
        match error {
            ProxyError::Closed if chance => self.leave_open(),
            ProxyError::Closed | ProxyError::TlsRefused | ProxyError::ResponseTimeout | ProxyError::BadResponse => {
                let what = match error {
                    ProxyError::Closed => "connection closed before an answer",
                    ProxyError::TlsRefused => "TLS handshake refused",
                    ProxyError::ResponseTimeout => LATE,
                    _ => "answered with what is not valid HTTP",
                };
                if self.lease.failed(&self.worker.clock, what) {
                    set_aside(self.worker, self.lease, Why::Failing);
                }
            }
            _ => self.leave_open(),
        }
    }

    fn leave_open(&self) {
        if self.lease.probes {
            self.lease.endpoint.health.unsettled();
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let late = self.until.is_some_and(|until| tokio::time::Instant::now() >= until);
        if !late {
            self.leave_open();
        } else if self.lease.failed(&self.worker.clock, LATE) {
            set_aside(self.worker, self.lease, Why::Failing);
        }
    }
}

fn set_aside(worker: &Worker, lease: &Lease<ClientBody>, why: Why) {
    worker.counters.ejections.add();
    tracing::warn!(endpoint = %lease.endpoint.endpoint, reason = why.name(), "an endpoint is ejected for a while");
}

/// How a stream ended that brought no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// The endpoint has done nothing with this request (RFC 9113, section 8.7).
    Refused,
    /// Nor with this one, and the connection takes no others: GOAWAY names an earlier stream as the last (section 6.8).
    Unprocessed,
    /// What the endpoint sent ended the whole connection.
    Fault,
    /// The library would not send what we gave it, which says nothing of the endpoint.
    Unsendable,
    /// We gave the connection up while the request was under way on it, which says nothing of the endpoint either.
    GivenUp,
    /// In another way.
    Other,
}

impl StreamEnd {
    /// What the error says.
    pub fn of(error: &hyper::Error) -> Self {
        if error.is_user() || error.is_body_write_aborted() {
            // hyper counts this among its user's errors, and nothing but its words tells them apart.
            let given_up = error.to_string().starts_with("dispatch task is gone");
            return if given_up { Self::GivenUp } else { Self::Unsendable };
        }
        let h2 = std::error::Error::source(error).and_then(|source| source.downcast_ref::<h2::Error>());
        match h2 {
            // The h2 crate fails with a GOAWAY only those streams which that says are not processed.
            Some(error) if error.is_remote() && error.is_go_away() => Self::Unprocessed,
            Some(error) if error.is_remote() && error.reason() == Some(h2::Reason::REFUSED_STREAM) => Self::Refused,
            Some(error) if error.is_library() && error.is_go_away() => Self::Fault,
            // What the crate reports of its user has neither.
            Some(error) if error.reason().is_none() && !error.is_io() => Self::Unsendable,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::{Request, Version};
    use http_body_util::combinators::BoxBody;
    use http_body_util::{BodyExt, Empty};
    use hyper_util::rt::{TokioExecutor, TokioIo};

    type Sent = BoxBody<Bytes, std::io::Error>;

    fn empty() -> Sent {
        Empty::new().map_err(|never| match never {}).boxed()
    }

    /// A pod that reads, and never says anything.
    fn pod() -> tokio::io::DuplexStream {
        let (ours, mut theirs) = tokio::io::duplex(1 << 16);
        tokio::spawn(async move { tokio::io::copy(&mut theirs, &mut tokio::io::sink()).await });
        ours
    }

    #[tokio::test]
    async fn what_the_library_will_not_send_is_not_the_pods_fault() {
        // HTTP/2 has no target without an authority.
        let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(pod()))
            .await
            .unwrap();
        tokio::spawn(connection);
        let mut request = Request::new(empty());
        *request.version_mut() = Version::HTTP_2;
        let error = sender.send_request(request).await.unwrap_err();
        assert_eq!(StreamEnd::of(&error), StreamEnd::Unsendable, "{error:?}");
    }
}
