//! What is known of a request when its reply has gone out: for the numbers, and for the access log.

use super::body::{ClientBody, Upload};
use super::client::{HttpVersion, Silence};
use super::error::ProxyError;
use super::forward::Failure;
use super::story::{Passed, Story};
use super::worker::Worker;
use crate::table::{Route, Table};
use crate::telemetry::trace_context::{TRACEPARENT, TRACESTATE};
use crate::telemetry::traces::{self, Traced};
use crate::telemetry::traffic::Traffic;
use crate::upstream::LiveEndpoint;
use http::{HeaderMap, StatusCode};
use std::cell::{Cell, Ref, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How the time of a request went by. Written on its road.
#[derive(Default)]
pub struct Timing {
    /// For opening a connection to a pod, where that was needed.
    pub connect: Cell<Option<Duration>>,
    /// From sending the last attempt to its response head.
    pub pod: Cell<Option<Duration>>,
    /// Attempts after the first.
    pub retries: Cell<u32>,
    attempts: Option<Rc<Attempts>>,
}

impl Timing {
    /// Of a request that begins.
    pub fn of(running: &Running) -> Self {
        Self {
            attempts: running.story.as_ref().map(|story| story.attempts()),
            ..Self::default()
        }
    }

    /// An attempt at this endpoint begins.
    pub fn begins(&self, endpoint: &Rc<LiveEndpoint<ClientBody>>, secure: bool) {
        if let Some(attempts) = &self.attempts {
            attempts.last(|before| before.ended = before.ended.or_else(|| Some(Instant::now())));
            attempts.begins(endpoint, secure);
        }
    }

    /// Opening a connection has taken so long, whatever came of it.
    pub fn dialled(&self, time: Duration) {
        self.connect.set(Some(time));
        if let Some(attempts) = &self.attempts {
            attempts.last(|attempt| attempt.connect = Some(time));
        }
    }

    /// The pod's response head, or its failing, has taken so long.
    pub fn answered(&self, time: Duration) {
        self.pod.set(Some(time));
        if let Some(attempts) = &self.attempts {
            attempts.last(|attempt| attempt.pod = Some(time));
        }
    }

    /// What came of the attempt.
    pub fn came_to(&self, outcome: Result<StatusCode, ProxyError>) {
        if let Some(attempts) = &self.attempts {
            attempts.last(|attempt| {
                attempt.outcome = Some(outcome);
                attempt.ended = outcome.is_err().then(Instant::now);
            });
        }
    }

    /// Names the attempt's span to the pod, if it is recorded. Otherwise what the client says of traces goes through.
    pub fn trace(&self, headers: &mut HeaderMap) {
        let Some(attempts) = &self.attempts else { return };
        let Some(traced) = attempts.traced else { return };
        let span = attempts.list.borrow().last().map(|attempt| attempt.span);
        if let Some(named) = span.and_then(|span| traced.traceparent(span)) {
            headers.insert(TRACEPARENT, named);
        }
        if traced.parent.is_none() {
            // It belongs to a trace that is not this one.
            headers.remove(TRACESTATE);
        }
    }
}

/// The attempts of a request that is told of.
#[derive(Default)]
pub struct Attempts {
    list: RefCell<Vec<Attempt>>,
    /// Where it belongs, if it is recorded.
    pub traced: Option<Traced>,
}

/// One of them.
pub struct Attempt {
    /// Where.
    pub endpoint: Rc<LiveEndpoint<ClientBody>>,
    /// Whether by TLS.
    pub secure: bool,
    /// For opening a connection, where that was needed.
    pub connect: Option<Duration>,
    /// From sending the request to the response head.
    pub pod: Option<Duration>,
    /// Its span, if it is recorded.
    pub span: u64,
    /// When it began.
    pub began: Instant,
    /// When it failed, or its answer was thrown away.
    pub ended: Option<Instant>,
    /// What the pod answered, or why it did not.
    pub outcome: Option<Result<StatusCode, ProxyError>>,
}

impl Attempts {
    /// None made yet.
    pub fn of(traced: Option<Traced>) -> Self {
        Self {
            traced,
            ..Self::default()
        }
    }

    fn begins(&self, endpoint: &Rc<LiveEndpoint<ClientBody>>, secure: bool) {
        self.list.borrow_mut().push(Attempt {
            endpoint: endpoint.clone(),
            secure,
            connect: None,
            pod: None,
            span: self.traced.map_or(0, |_| traces::new_span()),
            began: Instant::now(),
            ended: None,
            outcome: None,
        });
    }

    fn last(&self, change: impl FnOnce(&mut Attempt)) {
        if let Some(last) = self.list.borrow_mut().last_mut() {
            change(last);
        }
    }

    /// All of them.
    pub fn list(&self) -> Ref<'_, Vec<Attempt>> {
        self.list.borrow()
    }
}

/// A request under way, counted until dropped.
pub struct Running {
    /// The shard.
    pub worker: Rc<Worker>,
    began: Instant,
    traffic: Option<Arc<Traffic>>,
    http: HttpVersion,
    status: Option<StatusCode>,
    /// Bytes of its reply.
    pub sent: u64,
    upload: Option<Rc<Upload>>,
    /// What will be told of it, where that is wanted.
    pub story: Option<Box<Story>>,
}

impl Running {
    /// One more.
    pub fn new(worker: &Rc<Worker>, http: HttpVersion) -> Self {
        let in_flight = &worker.counters.in_flight;
        in_flight.set(in_flight.get() + 1);
        Self {
            worker: worker.clone(),
            began: Instant::now(),
            traffic: None,
            http,
            status: None,
            sent: 0,
            upload: None,
            story: None,
        }
    }

    /// Whose bytes its body's are.
    pub fn receives(&mut self, upload: &Rc<Upload>) {
        self.upload = Some(upload.clone());
    }

    /// When its head was there.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// Its rule is known, and so where it is counted. The last one counts, where it is routed anew.
    pub fn routed(&mut self, table: &Table, route: &Route) {
        if self.worker.settings.count_routes {
            let traffic = self.worker.traffic(route);
            if let Some(before) = self.traffic.take() {
                before.in_flight.set(before.in_flight.get().saturating_sub(1));
            }
            traffic.in_flight.set(traffic.in_flight.get() + 1);
            self.traffic = Some(traffic);
        }
        if let Some(story) = &mut self.story {
            let words = self.worker.words.borrow_mut().of(table, route);
            story.routed(route.key, words);
        }
    }

    /// It got so far that its Service is known.
    pub fn has_service(&mut self) {
        if let Some(story) = &mut self.story {
            story.has_service();
        }
    }

    /// It failed.
    pub fn failed(&mut self, failure: &Failure) {
        if let Some(story) = &mut self.story {
            story.failed(failure);
        }
    }

    /// It was ended for a silence, which `limit` names the limit of.
    pub fn fell_silent(&mut self, silence: Silence, limit: &'static str) {
        if let Some(story) = &mut self.story {
            story.fell_silent(silence, limit);
        }
    }

    /// Its reply was not read to the end: it broke off, or the client left.
    pub fn broken_off(&mut self, by_pod: bool) {
        if let Some(story) = &mut self.story {
            story.broken_off(by_pod);
        }
    }

    /// Its reply is on its way.
    pub fn answered(&mut self, status: StatusCode, fields: &HeaderMap, timing: &Timing) {
        self.status = Some(status);
        if let Some(story) = &mut self.story {
            story.answered(&self.worker, fields);
        }
        let Some(traffic) = self.traffic() else { return };
        if let Some(pod) = timing.pod.get() {
            traffic.pod.record(pod);
        }
        traffic.retries.add_many(timing.retries.get().into());
    }

    /// Where it is counted: with its route, or with all that have none; nowhere without `--count-routes`.
    fn traffic(&self) -> Option<&Traffic> {
        let rest = || {
            self.worker
                .settings
                .count_routes
                .then(|| &*self.worker.counters.traffic.rest)
        };
        self.traffic.as_deref().or_else(rest)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let in_flight = &self.worker.counters.in_flight;
        in_flight.set(in_flight.get().saturating_sub(1));
        if let Some(traffic) = &self.traffic {
            traffic.in_flight.set(traffic.in_flight.get().saturating_sub(1));
        }
        if let Some(story) = self.story.take() {
            let passed = Passed {
                status: self.status.map(|status| status.as_u16()),
                bytes_in: self.upload.as_ref().map_or(0, |upload| upload.bytes()),
                bytes_out: self.sent,
                total: self.began.elapsed(),
                quiet: in_flight.get() == 0,
            };
            story.tell(&self.worker, &passed);
        }
        let Some(status) = self.status else { return };
        let Some(traffic) = self.traffic() else { return };
        let class = usize::from(status.as_u16() / 100).wrapping_sub(1);
        let codes = traffic.codes.get(usize::from(self.http == HttpVersion::Http2));
        if let Some(code) = codes.and_then(|codes| codes.get(class)) {
            code.add();
        }
        traffic.whole.record(self.began.elapsed());
        traffic.bytes_out.add_many(self.sent);
        if let Some(upload) = &self.upload {
            traffic.bytes_in.add_many(upload.bytes());
        }
    }
}
