//! What is noted of a request, from its head to the end of its reply.
//!
//! One trail hears that the request began, what was decided, which attempts were made, and that it was answered or
//! failed. The counters, the recent failures, the access log and the spans read it.

mod failures;
mod story;
mod words;

pub use story::{refused, unread};
pub use words::Dictionary;

use super::body::{ClientBody, Upload};
use super::client::{Client, HttpVersion};
use super::error::{ProxyError, Side};
use super::forward::ForwardError;
use super::headers::Trace;
use super::request_id::RequestId;
use super::wait::Silence;
use super::worker::Worker;
use crate::message::{Fields, Request};
use crate::policy::under_way::Place;
use crate::table::decide::Decision;
use crate::table::{Connections, Route, Table};
use crate::telemetry::traffic::Traffic;
use crate::upstream::LiveEndpoint;
use failures::{Named, Said};
use http::StatusCode;
use std::cell::{Cell, OnceCell, RefCell, RefMut};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use story::{Passed, Story};

/// A request under way. It is lent to all that happens until the reply is made, goes into the reply's body then, and is
/// counted and told of when it is dropped.
pub struct Trail {
    /// The shard.
    pub worker: Rc<Worker>,
    began: Instant,
    http: HttpVersion,
    request_id: RequestId,
    /// Whether the client expects gRPC.
    grpc: Cell<bool>,
    /// Where its route is counted.
    traffic: RefCell<Option<Arc<Traffic>>>,
    /// From sending the last attempt to its response head.
    pod: Cell<Option<Duration>>,
    /// Attempts after the first.
    retries: Cell<u32>,
    upload: OnceCell<Rc<Upload>>,
    /// Its place among the requests of its client that are under way, where they are counted.
    place: Cell<Option<Box<Place>>>,
    /// The route of a request that fails.
    named: RefCell<Option<Box<Named>>>,
    status: Option<StatusCode>,
    /// Bytes of its reply.
    pub sent: u64,
    /// What the access log and its span will say, where there is one of them.
    story: Option<Box<RefCell<Story>>>,
}

impl Trail {
    /// A request begins.
    pub fn begins(worker: &Rc<Worker>, client: &Client, request: &Rc<Request>, request_id: RequestId) -> Self {
        worker.counters.requests.add();
        let in_flight = &worker.counters.in_flight;
        in_flight.set(in_flight.get() + 1);
        Self {
            worker: worker.clone(),
            began: Instant::now(),
            http: client.http,
            grpc: Cell::new(false),
            traffic: RefCell::new(None),
            pod: Cell::new(None),
            retries: Cell::new(0),
            upload: OnceCell::new(),
            place: Cell::new(None),
            named: RefCell::new(None),
            status: None,
            sent: 0,
            story: Story::of(worker, client, request),
            request_id,
        }
    }

    /// When its head was there.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// The id it came with or got.
    pub fn request_id(&self) -> &RequestId {
        &self.request_id
    }

    /// Whether its client expects gRPC.
    pub fn is_grpc(&self) -> bool {
        self.grpc.get()
    }

    /// Its client expects gRPC, or does not.
    pub fn expects_grpc(&self, grpc: bool) {
        self.grpc.set(grpc);
    }

    /// Takes a place among the requests of its client that are under way, unless it has one. Whether there was one.
    pub fn counts(&self, limit: &Connections, client: &Client) -> bool {
        let known = self.place.take();
        if known.as_ref().is_some_and(|place| place.is_of(limit)) {
            self.place.set(known);
            return true;
        }
        // It must not have two.
        drop(known);
        let (may, place) = self.worker.settings.under_way.enter(limit, client.address());
        self.place.set(place.map(Box::new));
        may
    }

    /// Its place, for what goes on after its reply.
    pub fn take_place(&self) -> Option<Box<Place>> {
        self.place.take()
    }

    /// It has a body.
    pub fn receives(&self, upload: &Rc<Upload>) {
        let _ = self.upload.set(upload.clone());
    }

    /// It is decided, perhaps anew. The last decision counts.
    pub fn decided(&self, table: &Table, decision: &Decision<'_>) {
        let Some(route) = decision.route else { return };
        if self.worker.settings.count_routes {
            let traffic = self.worker.traffic(route);
            traffic.in_flight.set(traffic.in_flight.get() + 1);
            if let Some(before) = self.traffic.replace(Some(traffic)) {
                before.in_flight.set(before.in_flight.get().saturating_sub(1));
            }
        }
        if let Some(mut story) = self.story() {
            let words = self.worker.words.borrow_mut().of(table, route);
            story.decided(route.key, words, decision.backend.is_some());
            story.is_unlogged = route.policies.is_unlogged;
        }
    }

    /// An attempt at this endpoint begins.
    pub fn attempt(&self, endpoint: &Rc<LiveEndpoint<ClientBody>>, secure: bool) {
        if let Some(mut story) = self.story() {
            story.attempt(endpoint, secure);
        }
    }

    /// For the attempt, opening a connection has taken this long, whether or not it worked.
    pub fn dialled(&self, time: Duration) {
        if let Some(mut story) = self.story() {
            story.note(|attempt| attempt.connect = Some(time));
        }
    }

    /// The pod has taken this long to send its response head, or to fail.
    pub fn pod_took(&self, time: Duration) {
        self.pod.set(Some(time));
        if let Some(mut story) = self.story() {
            story.note(|attempt| attempt.pod = Some(time));
        }
    }

    /// What came of the attempt.
    pub fn came_to(&self, outcome: Result<StatusCode, ProxyError>) {
        if let Some(mut story) = self.story() {
            story.note(|attempt| {
                attempt.outcome = Some(outcome);
                attempt.ended = outcome.is_err().then(Instant::now);
            });
        }
    }

    /// It is sent again.
    pub fn retried(&self) {
        self.worker.counters.retries.add();
        self.retries.set(self.retries.get() + 1);
    }

    /// How the attempt's span is named to the pod, if it is recorded. Otherwise what the client says of traces goes through.
    pub fn trace(&self) -> Option<Trace> {
        self.story()?.trace()
    }

    /// A pod has answered that it failed.
    pub fn pod_failed(
        &self,
        request: &Request,
        route: &Route,
        endpoint: &LiveEndpoint<ClientBody>,
        status: StatusCode,
    ) {
        self.remember(
            request,
            Some(&Named::of(route)),
            Said {
                status,
                reason: "pod_answered",
                side: Side::Upstream,
                endpoint: Some(endpoint.endpoint.to_string()),
                cause: None,
            },
        );
    }

    /// Its client is sent to a page of this route where it can sign in.
    pub fn has_to_sign_in(&self, route: &Route) {
        self.worker.counters.traffic.refused(Named::of(route).key(), "sign_in");
    }

    /// It fails on this route.
    pub fn fails_on(&self, route: &Route) {
        self.named.replace(Some(Box::new(Named::of(route))));
    }

    /// It has failed.
    pub fn failed(&mut self, client: &Client, request: &Request, failure: &ForwardError) {
        let verdict = failure.error.verdict();
        self.worker.counters.failed(failure.error);
        let named = self.named.take();
        if let Some(named) = named.as_ref().filter(|_| failure.error.is_by_route()) {
            self.worker.counters.traffic.refused(named.key(), verdict.label);
        }
        self.log(client, named.as_deref(), failure);
        // A client's faults are a client's to cause at any rate it likes.
        if verdict.side != Side::Client {
            let said = Said {
                status: verdict.status,
                reason: verdict.label,
                side: verdict.side,
                endpoint: failure.endpoint.clone(),
                cause: failure.cause.clone().or_else(|| Some(failure.error.to_string())),
            };
            self.remember(request, named.as_deref(), said);
        }
        self.broken(failure.error, failure.cause.as_deref());
    }

    /// Its reply is on its way.
    pub fn answered(&mut self, status: StatusCode, fields: &Fields) {
        self.worker.counters.response(status);
        self.status = Some(status);
        if let Some(story) = &mut self.story {
            story.get_mut().answered(&self.worker, fields);
        }
        if let Some(traffic) = self.traffic.borrow().as_deref().or_else(|| self.rest()) {
            if let Some(pod) = self.pod.get() {
                traffic.pod.record(pod);
            }
            traffic.retries.add_many(self.retries.get().into());
        }
    }

    /// Its reply broke off for this.
    pub fn broken(&mut self, error: ProxyError, cause: Option<&str>) {
        if let Some(story) = &mut self.story {
            story.get_mut().failed(error, cause);
        }
    }

    /// It was ended for a silence whose limit was set by `limit`.
    pub fn fell_silent(&mut self, silence: Silence, limit: &'static str) {
        if let Some(story) = &mut self.story {
            story.get_mut().fell_silent(silence, limit);
        }
    }

    /// Its reply was not read to the end: it broke off, or the client left.
    pub fn broken_off(&mut self, by_pod: bool) {
        if let Some(story) = &mut self.story {
            story.get_mut().broken_off(by_pod);
        }
    }

    fn story(&self) -> Option<RefMut<'_, Story>> {
        self.story.as_ref().map(|story| story.borrow_mut())
    }

    /// Where requests without a route are counted; absent without `--count-routes`.
    fn rest(&self) -> Option<&Traffic> {
        let counts = self.worker.settings.count_routes;
        counts.then(|| &*self.worker.counters.traffic.rest)
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        let in_flight = &self.worker.counters.in_flight;
        in_flight.set(in_flight.get().saturating_sub(1));
        let traffic = self.traffic.take();
        if let Some(traffic) = &traffic {
            traffic.in_flight.set(traffic.in_flight.get().saturating_sub(1));
        }
        let total = self.began.elapsed();
        if let Some(story) = &mut self.story {
            let passed = Passed {
                status: self.status.map(|status| status.as_u16()),
                bytes_in: self.upload.get().map_or(0, |upload| upload.bytes()),
                bytes_out: self.sent,
                total,
                quiet: in_flight.get() == 0,
            };
            story.get_mut().tell(&self.worker, &self.request_id, &passed);
        }
        let Some(traffic) = traffic.as_deref().or_else(|| self.rest()) else {
            return;
        };
        let Some(status) = self.status else {
            traffic.abandoned.add();
            return;
        };
        let class = usize::from(status.as_u16() / 100).wrapping_sub(1);
        let codes = traffic.codes.get(usize::from(self.http == HttpVersion::Http2));
        if let Some(code) = codes.and_then(|codes| codes.get(class)) {
            code.add();
        }
        traffic.whole.record(total);
        traffic.bytes_out.add_many(self.sent);
        if let Some(upload) = self.upload.get() {
            traffic.bytes_in.add_many(upload.bytes());
        }
    }
}
