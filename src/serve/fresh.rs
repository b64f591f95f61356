//! Connections before their first request: a client that is silent costs its socket and little more, for hyper's part
//! and a TLS session are made only when it speaks.

use super::pace::Slow;
use super::shard::{Listed, Shard, Swept};
use crate::proxy::Timeouts;
use crate::table::ListenerId;
use crate::upstream::{Clock, Tick};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;
use tokio::net::TcpStream;

/// How long a connection may wait for its first request after we stopped to accept others.
pub const FRESH: Duration = Duration::from_secs(1);
/// How long a client may take for its part of a handshake when others wait for a place.
const HURRIED: Duration = Duration::from_secs(1);

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// A first byte.
    Silent,
    /// The client's part of a handshake.
    Client,
    /// Our own part.
    Us,
}

/// A connection that has no request yet, as the sweeper sees it.
pub struct Fresh {
    shard: Rc<Shard>,
    listener: ListenerId,
    limit: Duration,
    since: Tick,
    stage: Cell<(Stage, Tick)>,
    draining: Cell<bool>,
    over: Cell<bool>,
    late: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Fresh {
    /// A connection that has so much time.
    pub fn new(shard: &Rc<Shard>, listener: ListenerId, limit: Duration) -> Rc<Self> {
        let now = shard.worker.clock.now();
        Rc::new(Self {
            listener,
            limit,
            since: now,
            stage: Cell::new((Stage::Silent, now)),
            draining: Cell::new(shard.is_leaving(listener, None)),
            over: Cell::new(false),
            late: Cell::new(false),
            waker: RefCell::default(),
            shard: shard.clone(),
        })
    }

    /// Has it swept.
    pub fn listed(self: &Rc<Self>) -> Listed<'_> {
        self.shard.list(self.clone())
    }

    fn clock(&self) -> &Clock {
        &self.shard.worker.clock
    }

    fn enter(&self, stage: Stage) {
        self.stage.set((stage, self.clock().now()));
    }

    /// From now on it is the client that is waited for.
    pub fn awaits_client(&self) {
        self.enter(Stage::Client);
    }

    /// From now on the client waits for us.
    pub fn awaits_us(&self) {
        self.enter(Stage::Us);
    }

    /// Waits for the client's first byte, or its end. Whether it came in time.
    pub async fn speaks(&self, stream: &TcpStream) -> bool {
        let spoken = self.within(async { stream.readable().await.is_ok() }).await;
        spoken.unwrap_or_default()
    }

    /// Whether it ended because the client took too long, and not for another's sake or because we end.
    pub fn is_late(&self) -> bool {
        self.late.get()
    }

    /// What comes of this, if it comes in time.
    pub async fn within<T>(&self, doing: impl Future<Output = T>) -> Option<T> {
        let mut doing = pin!(doing);
        poll_fn(|cx| {
            if self.over.get() {
                return Poll::Ready(None);
            }
            let poll = doing.as_mut().poll(cx);
            if poll.is_pending() {
                let mut waker = self.waker.borrow_mut();
                if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                    *waker = Some(cx.waker().clone());
                }
            }
            poll.map(Some)
        })
        .await
    }

    fn end(&self) {
        self.over.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Swept for Fresh {
    fn sweep(&self, _: &Timeouts) {
        let (stage, begun) = self.stage.get();
        let passed = |since, limit| self.clock().passed(since, limit);
        let hurried = stage == Stage::Client && self.shard.is_short_of_handshakes() && passed(begun, HURRIED);
        let unwanted = stage == Stage::Silent && self.draining.get() && passed(self.since, FRESH);
        let late = hurried || passed(self.since, self.limit);
        if late || unwanted {
            self.late.set(late);
            self.end();
        }
    }

    fn drain(&self, _: Duration) {
        self.draining.set(true);
    }

    fn listener(&self) -> Option<ListenerId> {
        Some(self.listener)
    }

    fn idle(&self) -> Option<Tick> {
        (self.stage.get().0 == Stage::Silent).then_some(self.since)
    }

    fn is_silent(&self) -> bool {
        true
    }

    fn let_go(&self) {
        self.end();
    }

    /// One whose handshake does not go on.
    fn slow(&self) -> Option<Slow> {
        let (stage, begun) = self.stage.get();
        let waits = stage == Stage::Client && self.clock().passed(begun, HURRIED);
        waits.then_some(Slow { shared: false, rate: 0 })
    }

    fn cut_short(&self) {
        self.end();
    }
}
