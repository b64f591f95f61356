//! What is known of a request when its reply has gone out: for the numbers.

use super::body::Upload;
use super::worker::Worker;
use crate::telemetry::traffic::Traffic;
use http::StatusCode;
use std::cell::Cell;
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
}

/// A request under way, counted until dropped.
pub struct Running {
    /// The shard.
    pub worker: Rc<Worker>,
    began: Instant,
    traffic: Option<Arc<Traffic>>,
    http2: bool,
    status: Option<StatusCode>,
    /// Bytes of its reply.
    pub sent: u64,
    upload: Option<Rc<Upload>>,
}

impl Running {
    /// One more.
    pub fn new(worker: &Rc<Worker>, http2: bool) -> Self {
        let in_flight = &worker.counters.in_flight;
        in_flight.set(in_flight.get() + 1);
        Self {
            worker: worker.clone(),
            began: Instant::now(),
            traffic: None,
            http2,
            status: None,
            sent: 0,
            upload: None,
        }
    }

    /// Its route is known, and so where it is counted.
    pub fn counts_for(&mut self, traffic: Arc<Traffic>) {
        traffic.in_flight.set(traffic.in_flight.get() + 1);
        self.traffic = Some(traffic);
    }

    /// Whose bytes its body's are.
    pub fn receives(&mut self, upload: &Rc<Upload>) {
        self.upload = Some(upload.clone());
    }

    /// Its reply is on its way.
    pub fn answered(&mut self, status: StatusCode, timing: &Timing) {
        self.status = Some(status);
        let traffic = self.traffic();
        if let Some(pod) = timing.pod.get() {
            traffic.pod.record(pod);
        }
        traffic.retries.add_many(timing.retries.get().into());
    }

    fn traffic(&self) -> &Traffic {
        self.traffic.as_ref().unwrap_or(&self.worker.counters.traffic.rest)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let in_flight = &self.worker.counters.in_flight;
        in_flight.set(in_flight.get().saturating_sub(1));
        if let Some(traffic) = &self.traffic {
            traffic.in_flight.set(traffic.in_flight.get().saturating_sub(1));
        }
        let Some(status) = self.status else { return };
        let traffic = self.traffic();
        let class = usize::from(status.as_u16() / 100).wrapping_sub(1);
        let codes = traffic.codes.get(usize::from(self.http2));
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
