//! How long a request has been waiting, and for whom.

use super::error::Side;
use super::timeouts::Timeouts;
use crate::upstream::{Clock, Tick};
use std::cell::{Cell, RefCell};
use std::task::Waker;
use std::time::Duration;
use tokio::task::AbortHandle;

/// What a request waits for on the pod's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// That it takes the request's body, and then the response head.
    Upload,
    /// The response head.
    Head,
    /// More of the response body.
    Body,
}

/// A silence that lasted too long and ended an exchange whose response head was there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// The client did not go on with the request's body.
    Upload,
    /// The pod did not go on with the response's body.
    Reply,
    /// The client did not take the response.
    Taking,
    /// The client was slow to take it, and others had no room.
    Room,
}

impl Silence {
    /// The reason that logs give.
    pub fn label(self) -> &'static str {
        match self {
            Self::Upload => "body_timeout",
            Self::Reply => "stream_timeout",
            Self::Taking => "send_timeout",
            Self::Room => "no_room",
        }
    }

    /// Whose it was.
    pub fn side(self) -> Side {
        match self {
            Self::Upload | Self::Taking | Self::Room => Side::Client,
            Self::Reply => Side::Upstream,
        }
    }

    /// What set its limit.
    pub fn limit(self, by_annotation: bool) -> &'static str {
        match (self, by_annotation) {
            (Self::Upload, false) => "--body-timeout",
            (Self::Upload, true) => "narthex.io/body-timeout",
            (Self::Reply, false) => "--stream-timeout",
            (Self::Reply, true) => "narthex.io/stream-timeout",
            (Self::Taking, false) => "--send-timeout",
            (Self::Taking, true) => "narthex.io/send-timeout",
            (Self::Room, _) => "--max-connections",
        }
    }
}

/// A time-out, if there is one. Every idle connection has room for some of them, so they are counted in milliseconds, and 0
/// means that there is none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limit(u32);

impl From<Option<Duration>> for Limit {
    fn from(limit: Option<Duration>) -> Self {
        // More than 49 days are as good as 49 days.
        let millis = |limit: Duration| u32::try_from(limit.as_millis()).unwrap_or(u32::MAX).max(1);
        Self(limit.map_or(0, millis))
    }
}

impl Limit {
    /// The time-out, if there is one.
    pub fn get(self) -> Option<Duration> {
        (self.0 > 0).then(|| Duration::from_millis(self.0.into()))
    }

    /// The time-out, or this one.
    pub fn or(self, other: Duration) -> Duration {
        self.get().unwrap_or(other)
    }
}

/// The time-outs of one request, where its backend has its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// For the response head.
    pub head: Limit,
    /// Without a byte of the response body from the pod.
    pub stream: Limit,
    /// Without a byte of the request body from the client.
    pub body: Limit,
    /// Without a byte of the response being taken by the client.
    pub send: Limit,
    /// Without a byte of the request body being taken by the pod.
    pub take: Limit,
    /// Without a byte in either direction of a WebSocket.
    pub tunnel: Limit,
}

/// Bytes of a piece of a reply that a client has to take for its time-out to begin anew.
const LEAST_TAKEN: usize = 1 << 10;

/// What one request waits for: looked at by the sweeper, which wakes or ends what waits for too long.
#[derive(Default)]
pub struct Wait {
    /// Whether the request has a stream of its own, which can end without its connection (HTTP/2).
    streams: bool,
    /// Set before the connection breaks off a stalled request body.
    pub body_late: Cell<bool>,
    /// When its body last moved, until that is complete.
    uploading: Cell<Option<Tick>>,
    /// Since when a request body has stood still, and who is to be told; for HTTP/2, where the connection goes on.
    upload: Cell<Option<Tick>>,
    uploader: RefCell<Option<Waker>>,
    /// Whether more of the request body was asked for and the client has not sent it yet.
    asks_client: Cell<bool>,
    /// Since when a piece of the reply has waited for the client; for HTTP/2 as well.
    sending: Cell<Option<Tick>>,
    task: RefCell<Option<AbortHandle>>,
    /// The present request's own time-outs.
    pub limits: Cell<Limits>,
    /// When a byte last passed in either direction, once the response head is there.
    moved: Cell<Option<Tick>>,
    /// Which silence ended the exchange.
    silence: Cell<Option<Silence>>,
    waiting: Cell<Option<(Waiting, Tick)>>,
    late: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    /// Bytes of that piece that were taken since.
    taken: Cell<usize>,
}

impl Wait {
    /// Nothing is waited for yet; `streams` says that the request has a stream of its own.
    pub fn new(streams: bool) -> Self {
        Self {
            streams,
            ..Self::default()
        }
    }

    /// A request begins, whose time-outs are those of the flags until its backend is known.
    pub fn begins(&self) {
        self.limits.set(Limits::default());
        self.moved.set(None);
        self.asks_client.set(false);
    }

    /// A piece of the reply was handed out, or (none) the next is asked for.
    pub fn sends(&self, clock: Option<&Clock>) {
        self.taken.set(0);
        self.sending.set(clock.filter(|_| self.streams).map(Clock::now));
    }

    /// The response head is there: from now on silences count from the last byte of either side.
    pub fn flows(&self, clock: &Clock) {
        self.moved.set(Some(clock.now()));
    }

    /// Whether it is there.
    pub fn is_answered(&self) -> bool {
        self.moved.get().is_some()
    }

    /// Whether the client is what its stream waits for: it neither goes on with its request, which is not answered yet,
    /// nor takes what there is of the reply.
    pub fn keeps_waiting(&self) -> bool {
        self.sending.get().is_some() || (self.upload.get().is_some() && !self.is_answered())
    }

    /// A byte has passed.
    pub fn moved(&self, clock: &Clock) {
        if self.moved.get().is_some() {
            self.moved.set(Some(clock.now()));
        }
    }

    /// Whether a silence that began then has lasted for longer than `limit`. A byte in the other direction ends it too.
    pub fn is_silent(&self, clock: &Clock, since: Tick, limit: Duration) -> bool {
        clock.passed(since, limit) && self.moved.get().is_none_or(|moved| clock.passed(moved, limit))
    }

    /// Remembers what ends the exchange, if its response head was there.
    pub fn ends_by(&self, silence: Silence) {
        if self.moved.get().is_some() {
            self.silence.set(Some(silence));
        }
    }

    /// The silence that ended the exchange, where one did, and what set its limit.
    pub fn take_silence(&self) -> Option<(Silence, &'static str)> {
        let (silence, limits) = (self.silence.take()?, self.limits.get());
        let own = match silence {
            Silence::Upload => limits.body,
            Silence::Reply => limits.stream,
            Silence::Taking => limits.send,
            Silence::Room => Limit::default(),
        };
        Some((silence, silence.limit(own.get().is_some())))
    }

    /// The task that answers it, to be ended if its reply is not taken.
    pub fn set_task(&self, task: AbortHandle) {
        self.task.replace(Some(task));
    }

    /// A piece of the request body is waited for, or (none) there.
    pub fn awaits_upload(&self, waiting: Option<(&Waker, &Clock)>) {
        self.asks_client.set(waiting.is_some());
        match waiting {
            Some((waker, clock)) if self.streams => {
                self.uploader.replace(Some(waker.clone()));
                if self.upload.get().is_none() {
                    self.upload.set(Some(clock.now()));
                }
            }
            _ => self.upload.set(None),
        }
    }

    /// Whether it has a body, of which this is the beginning.
    pub fn uploads(&self, body: bool, clock: &Clock) {
        self.uploading.set(body.then(|| clock.now()));
    }

    /// Whether its body is not complete yet.
    pub fn is_uploading(&self) -> bool {
        self.uploading.get().is_some()
    }

    /// Whether for so long the client has not taken what there is of the reply, or the pod not what there is of the
    /// request.
    pub fn stands_still(&self, clock: &Clock, least: Duration) -> bool {
        let still = |since: Option<Tick>| since.is_some_and(|since| clock.since(since) >= least);
        still(self.sending.get()) || (still(self.uploading.get()) && self.upload.get().is_none() && !least.is_zero())
    }

    /// Ends the task that answers it, which resets its stream (HTTP/2).
    pub fn reset(&self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }

    /// Ends a stream whose client is silent in its body or does not take its reply. Whether it did.
    pub fn check_stream(&self, clock: &Clock, timeouts: &Timeouts) -> bool {
        let limits = self.limits.get();
        let body = limits.body.or(timeouts.body);
        let send = limits.send.or(timeouts.send);
        if self
            .upload
            .get()
            .is_some_and(|since| self.is_silent(clock, since, body))
        {
            self.upload.set(None);
            self.body_late.set(true);
            self.ends_by(Silence::Upload);
            if let Some(waker) = self.uploader.take() {
                waker.wake();
            }
            return true;
        }
        let stuck = self
            .sending
            .get()
            .is_some_and(|since| self.is_silent(clock, since, send));
        if stuck {
            self.ends_by(Silence::Taking);
            self.reset();
        }
        stuck
    }

    /// Remembers the connection's task, to wake it when something is late.
    pub fn register(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }

    /// Has the connection's task look again.
    pub fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// From now on this is waited for, unless it is already.
    pub fn wait_for(&self, what: Waiting, clock: &Clock) {
        if self.waiting.get().is_some_and(|(waiting, _)| waiting == what) {
            return;
        }
        self.late.set(false);
        self.waiting.set(Some((what, clock.now())));
    }

    /// The wait is over, in time.
    pub fn waited(&self) {
        self.late.set(false);
        self.waiting.set(None);
    }

    /// The upload moved, or is complete: then it is the pod's turn.
    pub fn upload_moved(&self, complete: bool, clock: &Clock) {
        self.moved(clock);
        if self.uploading.get().is_some() {
            self.uploading.set((!complete).then(|| clock.now()));
        }
        if let Some((Waiting::Upload, _)) = self.waiting.get() {
            let what = if complete { Waiting::Head } else { Waiting::Upload };
            self.waiting.set(Some((what, clock.now())));
        }
    }

    /// Looks whether the wait has been too long; the sweeper's part. While the request's body is not
    /// complete, it is the client's time that runs, and only then the pod's.
    pub fn check(&self, clock: &Clock, timeouts: &Timeouts) {
        let Some((what, since)) = self.waiting.get() else {
            return;
        };
        let limits = self.limits.get();
        let head = limits.head.or(timeouts.response);
        let is_pod_slow =
            || !self.asks_client.get() && limits.take.get().is_some_and(|limit| clock.passed(since, limit));
        let late = match what {
            Waiting::Head => clock.passed(since, head),
            Waiting::Upload if is_pod_slow() => true,
            Waiting::Upload => clock.passed(since, head + limits.body.or(timeouts.body)),
            Waiting::Body => self.is_silent(clock, since, limits.stream.or(timeouts.stream)),
        };
        if late {
            if what == Waiting::Body {
                self.ends_by(Silence::Reply);
            }
            self.waiting.set(None);
            self.late.set(true);
            self.wake();
        }
    }

    /// Whether the wait was found too long; asked by who waits.
    pub fn take_late(&self) -> bool {
        self.late.take()
    }

    /// The client has taken so many bytes of a piece, and not all of it. Its time begins anew only for as many as a slow
    /// client takes; else a byte now and then would keep the rest in memory for as long as the client likes.
    pub fn takes(&self, bytes: usize, clock: &Clock) {
        let taken = self.taken.get() + bytes;
        if taken < LEAST_TAKEN {
            return self.taken.set(taken);
        }
        self.taken.set(0);
        if self.sending.get().is_some() {
            self.sending.set(Some(clock.now()));
        }
        self.moved(clock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_now_and_then_does_not_keep_a_reply() {
        let clock = Clock::default();
        let limit = Duration::from_secs(1);
        let timeouts = Timeouts {
            head: limit,
            idle: limit,
            body: limit,
            send: limit,
            tunnel: limit,
            leaving: limit,
            response: limit,
            stream: limit,
        };
        for (bytes, ended) in [(1, true), (LEAST_TAKEN, false)] {
            let wait = Wait::new(true);
            wait.flows(&clock);
            wait.sends(Some(&clock));
            let mut was_ended = false;
            for _ in 0..10 {
                clock.advance();
                wait.takes(bytes, &clock);
                was_ended |= wait.check_stream(&clock, &timeouts);
            }
            assert_eq!(was_ended, ended, "{bytes}");
        }
    }
}
