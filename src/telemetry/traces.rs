//! Traces: which requests are recorded, and the queue to the thread that exports them (OTLP over HTTP).

mod export;
mod http;

pub use export::{ExportOptions, start};

use super::trace_context::TraceContext;
use ::http::HeaderValue;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc as std_mpsc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc;

/// Requests that wait to be exported. Those beyond are lost rather than waited for.
const WAITING: usize = 4096;
/// How long the end of the process waits for what is not yet exported.
const PATIENCE: Duration = Duration::from_secs(2);

enum Message {
    Request(Box<RequestSpan>),
    /// Says so when all before it is exported.
    End(std_mpsc::SyncSender<()>),
}

/// The part of a trace that a request is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traced {
    pub trace: u128,
    /// The span of the request.
    pub span: u64,
    /// The client's span, if it sent one.
    pub parent: Option<u64>,
}

impl Traced {
    /// What a pod is told: a span of its own for each attempt, and that it is recorded.
    pub fn traceparent(&self, span: u64) -> Option<HeaderValue> {
        HeaderValue::from_str(&format!("00-{:032x}-{span:016x}-01", self.trace)).ok()
    }
}

/// A new span's id, which is never 0.
pub fn new_span() -> u64 {
    fastrand::u64(1..)
}

/// A request to a pod.
#[derive(Debug)]
pub struct AttemptSpan {
    /// Its id, which the pod was told.
    pub span: u64,
    /// When it began.
    pub began: Instant,
    /// And ended.
    pub ended: Instant,
    /// Where it was sent.
    pub address: SocketAddr,
    pub pod: Option<Box<str>>,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// `1.1` or `2`.
    pub version: &'static str,
    /// What the pod answered.
    pub status: Option<u16>,
    /// Or why it did not.
    pub error: Option<&'static str>,
}

/// A request that is over, as it is to be exported.
#[derive(Debug)]
pub struct RequestSpan {
    /// Where it belongs.
    pub traced: Traced,
    /// Now, by the clock on the wall, to which the other times relate.
    pub at: (Instant, SystemTime),
    /// When its head was there; it ends now.
    pub took: Duration,
    /// The method as the client sent it; absent if no head could be read.
    pub method: Option<Box<str>>,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// As the client named it.
    pub host: Box<str>,
    /// The path, without its query, which may hold what is nobody else's business.
    pub path: Box<str>,
    /// `1.1` or `2`.
    pub version: &'static str,
    pub client: IpAddr,
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// What the client got.
    pub status: u16,
    /// What went wrong.
    pub error: Option<&'static str>,
    /// The path of the rule.
    pub route: Option<Box<str>>,
    /// Where the rule stands.
    pub origin: Option<Box<str>>,
    /// The request's id.
    pub request_id: Box<str>,
    /// What it took.
    pub attempts: Vec<AttemptSpan>,
}

/// Who decides what is recorded, and takes it.
#[derive(Clone, Debug)]
pub struct Tracer {
    /// Of all numbers of 32 bits, those below are recorded.
    below: u64,
    queue: mpsc::Sender<Message>,
    lost: Arc<AtomicU64>,
}

impl Tracer {
    /// One that records this share of requests, and what it records. `lost` counts what could not be exported.
    fn new(ratio: f64, lost: Arc<AtomicU64>) -> (Self, mpsc::Receiver<Message>) {
        let (queue, requests) = mpsc::channel(WAITING);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 2^32")]
        let below = (ratio.clamp(0.0, 1.0) * (1_u64 << 32) as f64) as u64;
        (Self { below, queue, lost }, requests)
    }

    /// Whether a request is recorded, and as what. A trusted proxy has decided for its own; of all others it is by
    /// chance, not by their ids, which a client could choose so that all are recorded.
    pub fn decide(&self, context: Option<TraceContext>, trusted: bool) -> Option<Traced> {
        let recorded = match context {
            Some(context) if trusted => context.sampled,
            _ => u64::from(fastrand::u32(..)) < self.below,
        };
        recorded.then(|| Traced {
            trace: context.map_or_else(|| fastrand::u128(1..), |context| context.trace),
            span: new_span(),
            parent: context.map(|context| context.span),
        })
    }

    /// Takes what is known of a request; false if there is no room.
    pub fn take(&self, request: RequestSpan) -> bool {
        self.queue.try_send(Message::Request(Box::new(request))).is_ok()
    }

    /// Waits until what was taken is exported, for two seconds at most.
    pub fn finish(&self) {
        let (done, is_done) = std_mpsc::sync_channel(1);
        // Where there is no room, there is no time either.
        if self.queue.try_send(Message::End(done)).is_ok() {
            let _ = is_done.recv_timeout(PATIENCE);
        }
    }

    /// Requests that could not be exported since this was asked last.
    pub fn take_lost(&self) -> u64 {
        match self.lost.load(Ordering::Relaxed) {
            0 => 0,
            _ => self.lost.swap(0, Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Fields, Name};

    #[test]
    fn a_trusted_proxy_decides_for_its_own() {
        let context = |sampled| TraceContext {
            trace: 7,
            span: 8,
            sampled,
        };
        let (none, _none) = Tracer::new(0.0, Arc::default());
        let (all, mut requests) = Tracer::new(1.0, Arc::default());
        for _ in 0..100 {
            assert_eq!(
                none.decide(Some(context(true)), false),
                None,
                "a client's wish is no order"
            );
            assert_eq!(none.decide(None, true), None);
            assert!(all.decide(Some(context(false)), false).is_some());
            assert_eq!(all.decide(Some(context(false)), true), None);
        }
        let traced = none.decide(Some(context(true)), true).unwrap();
        assert_eq!((traced.trace, traced.parent), (7, Some(8)));
        assert_ne!(traced.span, 8);
        let new = all.decide(None, false).unwrap();
        assert_eq!(new.parent, None);
        let said = new.traceparent(0xab).unwrap();
        let mut headers = Fields::new();
        headers.insert(&Name::Traceparent, said);
        let read = TraceContext::of(&headers).unwrap();
        assert_eq!((read.trace, read.span, read.sampled), (new.trace, 0xab, true));
        assert!(requests.try_recv().is_err());
    }
}
