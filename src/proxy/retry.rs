//! Whether a request that failed, or got a bad answer, is sent again.
//!
//! What nothing can be lost by is always tried again: a connection that could not be opened, a request of which nothing
//! was sent or that may be sent twice. What may be a load or a change at a pod is tried again where the backend's
//! `retries` says so, within a budget of all its requests.

use super::body::ClientBody;
use super::error::{ProxyError, Retry, idempotent};
use super::forward::Plan;
use super::worker::Worker;
use crate::table::{Protocol, RetryOn};
use crate::upstream::{Lease, LiveEndpoint};
use http::StatusCode;
use smallvec::SmallVec;
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// Bytes of a request body that are kept for another attempt, where nothing else is said.
const KEPT: usize = 64 << 10;

/// Endpoints that may turn out not to be there without that counting as an attempt. When many pods go at once and word of
/// it comes late, three attempts may all meet such.
const ABSENT: usize = 8;

/// Endpoints that this request has failed at.
pub type Tried = SmallVec<[Rc<LiveEndpoint<ClientBody>>; 3]>;

/// The attempts of one request.
pub struct Retries<'r> {
    plan: &'r Plan<'r>,
    /// Attempts that count for `--attempts`.
    pub attempts: usize,
    most: usize,
    /// Endpoints that were not there.
    absent: usize,
    /// Attempts that are left by `retries`.
    left: u32,
    on: RetryOn,
    /// Whether there was no body from the beginning.
    empty: bool,
    idempotent: bool,
    /// Where it failed.
    pub tried: Tried,
}

impl<'r> Retries<'r> {
    /// None made yet.
    pub fn new(worker: &Worker, plan: &'r Plan<'r>) -> Self {
        let empty = plan.upload.is_empty();
        let settings = plan.settings;
        let left = settings.retries.unwrap_or(0);
        // A WebSocket's key must not be answered twice.
        let left = if plan.upgrade { 0 } else { left };
        let on = settings.retry_on.unwrap_or_default();
        let allowed = idempotent(&plan.request.method) || on.non_idempotent;
        if !empty {
            if left > 0 && allowed {
                plan.upload.keep(settings.retry_buffer.unwrap_or(KEPT));
            } else if plan.protocol == Protocol::Http2 {
                // A pod may say that it has not processed a request, at any time (RFC 9113, sections 6.8 and 8.7).
                plan.upload.keep(KEPT);
            }
        }
        Self {
            attempts: 0,
            most: worker.settings.attempts,
            absent: 0,
            left,
            on,
            empty,
            idempotent: idempotent(&plan.request.method),
            tried: Tried::new(),
            plan,
        }
    }

    /// How long the response head may take in this attempt, where the backend has a time of its own.
    pub fn limit(&self) -> Option<Duration> {
        let settings = self.plan.settings;
        let another = self.left > 0 && self.is_repeatable();
        settings.try_timeout.filter(|_| another).or(settings.response_timeout)
    }

    /// Whether a response is thrown away for another attempt.
    pub fn again_for(&mut self, lease: &Lease<ClientBody>, status: StatusCode) -> bool {
        self.left > 0 && self.on.status(status.as_u16()) && self.is_in_time() && self.once_more(lease)
    }

    /// Whether there is another attempt after one in which no connection was opened.
    pub fn again_unconnected(&mut self, cause: &io::Error) -> bool {
        if !self.is_in_time() {
            return false;
        }
        let is_absent = matches!(
            cause.kind(),
            io::ErrorKind::ConnectionRefused
                | io::ErrorKind::TimedOut
                | io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable
        );
        // Once all endpoints have been tried, they are tried again, which is no news.
        let is_new = self.tried.len() >= self.absent;
        if is_absent && is_new && self.absent < ABSENT {
            self.absent += 1;
            self.attempts -= 1;
            return true;
        }
        self.attempts < self.most
    }

    /// Whether there is another attempt after one without a response; `unsent` says that nothing of it left.
    pub fn again_after(&mut self, lease: &Lease<ClientBody>, error: ProxyError, unsent: bool) -> bool {
        if !self.is_in_time() {
            return false;
        }
        if self.is_safe(error, unsent) && self.attempts < self.most {
            return true;
        }
        let wanted = match error {
            ProxyError::Closed | ProxyError::StreamRefused => self.on.reset,
            ProxyError::ResponseTimeout => self.on.timeout || self.plan.settings.try_timeout.is_some(),
            _ => false,
        };
        wanted && self.left > 0 && self.once_more(lease)
    }

    /// Whether nothing can be lost by another attempt.
    pub fn is_safe(&self, error: ProxyError, unsent: bool) -> bool {
        match error.verdict().retry {
            Retry::Never => false,
            Retry::Always => unsent || self.empty || self.plan.upload.is_kept(),
            Retry::IfIdempotent => unsent || (self.empty && self.idempotent),
        }
    }

    /// Whether the request may be sent again after a pod had it, and can be.
    fn is_repeatable(&self) -> bool {
        (self.idempotent || self.on.non_idempotent) && (self.empty || self.plan.upload.is_kept())
    }

    /// Whether another attempt may still begin.
    fn is_in_time(&self) -> bool {
        let limit = self.plan.settings.retry_time;
        limit.is_none_or(|limit| self.plan.trail.began().elapsed() < limit)
    }

    /// Whether one of `retries` can be made, which it then is.
    fn once_more(&mut self, lease: &Lease<ClientBody>) -> bool {
        if !self.is_repeatable() || !lease.may_retry() {
            return false;
        }
        self.left -= 1;
        true
    }

    /// Goes on with the next attempt, at another endpoint if there is one.
    pub fn go_on(&mut self, failed: Option<Rc<LiveEndpoint<ClientBody>>>) {
        self.plan.trail.retried();
        self.plan.upload.next_attempt();
        self.tried.extend(failed);
    }
}
