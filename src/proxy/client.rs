//! The client's side of a request: who it is, and how long it has been silent.

use super::error::Side;
use super::headers::Fields;
use super::peer::Peer;
use super::trust::TrustedProxies;
use crate::upstream::frames::Earned;
use crate::upstream::{Clock, Tick};
use http::{HeaderMap, HeaderValue, Version};
use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
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

/// The version of HTTP that a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.1, and HTTP/1.0: one request at a time.
    Http1,
    /// HTTP/2: each request has a stream of its own.
    Http2,
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

/// The time-outs of one request, where its backend has its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// For the response head.
    pub head: Option<Duration>,
    /// Without a byte of the response body from the pod.
    pub stream: Option<Duration>,
    /// Without a byte of the request body from the client.
    pub body: Option<Duration>,
    /// Without a byte of the response being taken by the client.
    pub send: Option<Duration>,
}

/// What a reply holds of memory while its client does not take it, about: the pod's connection with its buffers, and the
/// piece that waits.
const STANDING_REPLY: usize = 24 << 10;

/// Bytes of a piece of a reply that a client has to take for its time-out to begin anew.
const LEAST_TAKEN: usize = 1 << 10;

/// What one of many requests of a connection holds, counted there until dropped.
#[derive(Default)]
pub struct Hold {
    earned: Option<Rc<Earned>>,
    bytes: Cell<usize>,
}

impl Hold {
    /// From now on it holds so much.
    pub fn set(&self, bytes: usize) {
        let before = self.bytes.replace(bytes);
        if let Some(earned) = &self.earned {
            earned.held.set((earned.held.get() + bytes).saturating_sub(before));
            if bytes < before && earned.waiting.get() > 0 {
                earned.queue.take().into_iter().for_each(Waker::wake);
            }
        }
    }

    /// What it holds.
    pub fn get(&self) -> usize {
        self.bytes.get()
    }

    /// So much more, if its connection may hold that.
    pub fn add(&self, bytes: usize) -> bool {
        let Some(earned) = &self.earned else { return true };
        let may = earned.held.get() + bytes <= KEPT_PARTS;
        if may {
            self.set(self.get() + bytes);
        }
        may
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// What all requests of a connection may hold, and more of them be kept for another attempt.
const KEPT_PARTS: usize = 1 << 20;

/// The flags of a connection that speaks HTTP/1.1. Its requests come one after the other and share them.
#[derive(Default)]
pub struct Flags {
    /// Whether it ends with the next reply, which says so.
    pub last: Cell<bool>,
    /// Whether the present request or its reply has said that it ends.
    pub said_last: Cell<bool>,
    /// Whether the present reply ends where the connection does (HTTP/1.0).
    pub ends_by_close: Cell<bool>,
    /// Whether the present request comes from a client that may close its half of the connection and wait for the
    /// reply: one that sends no other request on it.
    pub may_half_close: Cell<bool>,
    /// Replies given so far, complete to their last byte.
    pub replies: Cell<u32>,
    /// Whether the connection's task must look again when a reply is complete.
    pub wake_on_reply: Cell<bool>,
}

/// A client as one request sees it: who it is, and what is waited for. Over HTTP/1.1 one serves all requests of a
/// connection, for they come one after the other.
pub struct Client {
    /// Who it is.
    pub peer: Rc<Peer>,
    address: Cell<IpAddr>,
    /// Whether it came by HTTPS, by the words of a trusted proxy; none where that says nothing of it.
    told_https: Cell<Option<bool>>,
    /// The host it asked for, by `Forwarded` of a trusted proxy.
    told_host: RefCell<Option<HeaderValue>>,
    /// Set before the connection breaks off a stalled request body.
    pub body_late: Cell<bool>,
    /// What its connection speaks.
    pub http: HttpVersion,
    /// The flags of its connection, for HTTP/1.1.
    pub flags: Flags,
    /// What its connection has been sent, where it has others.
    pub earned: Option<Rc<Earned>>,
    /// What it holds of memory, by estimate.
    pub hold: Hold,
    /// When its body last moved, until that is complete.
    uploading: Cell<Option<Tick>>,
    /// Since when a request body has stood still, and who is to be told; for HTTP/2, where the connection goes on.
    upload: Cell<Option<Tick>>,
    uploader: RefCell<Option<Waker>>,
    /// Since when a piece of the reply has not been taken; likewise.
    sending: Cell<Option<Tick>>,
    /// Bytes of that piece that were taken since.
    taken: Cell<usize>,
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
}

impl Client {
    /// Nothing is waited for yet.
    pub fn new(peer: Rc<Peer>) -> Self {
        Self {
            address: Cell::new(peer.ip),
            told_https: Cell::new(None),
            told_host: RefCell::default(),
            peer,
            http: HttpVersion::Http1,
            flags: Flags::default(),
            earned: None,
            hold: Hold::default(),
            uploading: Cell::new(None),
            upload: Cell::new(None),
            uploader: RefCell::default(),
            sending: Cell::new(None),
            taken: Cell::new(0),
            task: RefCell::default(),
            body_late: Cell::new(false),
            limits: Cell::default(),
            moved: Cell::new(None),
            silence: Cell::new(None),
            waiting: Cell::new(None),
            late: Cell::new(false),
            waker: RefCell::default(),
        }
    }

    /// One of many requests of a connection.
    pub fn multiplexed(peer: Rc<Peer>, earned: Rc<Earned>) -> Self {
        Self {
            http: HttpVersion::Http2,
            hold: Hold {
                earned: Some(earned.clone()),
                bytes: Cell::new(0),
            },
            earned: Some(earned),
            ..Self::new(peer)
        }
    }

    /// Whether its connection has other requests at the same time.
    pub fn is_multiplexed(&self) -> bool {
        self.http == HttpVersion::Http2
    }

    /// A request begins. What it says of where it comes from is looked at only if a trusted proxy says it.
    pub fn begins(&self, headers: &HeaderMap, trusted: &TrustedProxies) {
        self.flags.said_last.set(false);
        self.flags.may_half_close.set(false);
        self.limits.set(Limits::default());
        self.moved.set(None);
        if self.peer.trusted {
            let told = trusted.told(self.peer.ip, headers);
            self.address.set(told.client);
            self.told_https.set(told.https);
            let host = told.host.and_then(|host| HeaderValue::from_str(&host).ok());
            self.told_host.replace(host);
        }
    }

    /// The host it asked for, where a trusted proxy names it in `Forwarded`.
    pub fn told_host(&self) -> Option<HeaderValue> {
        self.told_host.borrow().clone()
    }

    /// Whether it speaks HTTPS, to us or to a trusted proxy before us that says so.
    pub fn is_secure(&self) -> bool {
        self.peer.scheme == "https" || self.told_https.get() == Some(true)
    }

    /// `http` or `https`, as a trusted proxy says, and else as it comes to us.
    pub fn scheme(&self) -> &'static str {
        match self.told_https.get() {
            Some(true) => "https",
            Some(false) => "http",
            None => self.peer.scheme,
        }
    }

    /// What the present request says of its connection's end (RFC 9112, section 9.3).
    pub fn asks(&self, version: Version, fields: &Fields<'_>) {
        let old = version == Version::HTTP_10;
        self.flags.said_last.set(fields.close || (old && !fields.keep_alive));
        self.flags.may_half_close.set(fields.close || old);
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
            Silence::Room => None,
        };
        Some((silence, silence.limit(own.is_some())))
    }

    /// The client's address, for all that goes by it: the connection's, or behind a trusted proxy the one it names.
    pub fn address(&self) -> IpAddr {
        self.address.get()
    }

    /// The task that answers it, to be ended if its reply is not taken.
    pub fn set_task(&self, task: AbortHandle) {
        self.task.replace(Some(task));
    }

    /// A piece of the request body is waited for, or (none) there.
    pub fn awaits_upload(&self, waiting: Option<(&Waker, &Clock)>) {
        match waiting {
            Some((waker, clock)) if self.is_multiplexed() => {
                self.uploader.replace(Some(waker.clone()));
                if self.upload.get().is_none() {
                    self.upload.set(Some(clock.now()));
                }
            }
            _ => self.upload.set(None),
        }
    }

    /// A piece of the reply was handed out, or (none) the next is asked for.
    pub fn sends(&self, clock: Option<&Clock>) {
        self.taken.set(0);
        self.sending
            .set(clock.filter(|_| self.is_multiplexed()).map(Clock::now));
        if let Some(earned) = &self.earned {
            self.hold.set(if clock.is_some() { STANDING_REPLY } else { 0 });
            if clock.is_some() {
                earned.piece();
            }
        }
    }

    /// So many bytes of the reply were handed out, and are held until the client takes them.
    pub fn holds(&self, length: usize) {
        self.hold.set(STANDING_REPLY + length);
    }

    /// The same for a piece that was the last one, so that the pod's connection serves others already.
    pub fn holds_alone(&self, length: usize) {
        self.hold.set(length);
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
    pub fn check_stream(&self, clock: &Clock, body: Duration, send: Duration) -> bool {
        let limits = self.limits.get();
        let (body, send) = (limits.body.unwrap_or(body), limits.send.unwrap_or(send));
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

    /// Looks whether the wait has been too long; the sweeper's part. `upload` is how long the client may be silent in
    /// its body: while that is not complete, it is the client's time that runs, and only then the pod's.
    pub fn check(&self, clock: &Clock, head: Duration, body: Duration, upload: Duration) {
        let Some((what, since)) = self.waiting.get() else {
            return;
        };
        let limits = self.limits.get();
        let head = limits.head.unwrap_or(head);
        let late = match what {
            Waiting::Head => clock.passed(since, head),
            Waiting::Upload => clock.passed(since, head + limits.body.unwrap_or(upload)),
            Waiting::Body => self.is_silent(clock, since, limits.stream.unwrap_or(body)),
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_now_and_then_does_not_keep_a_reply() {
        let clock = Clock::default();
        let ends = Ends {
            client: ([127, 0, 0, 1], 1).into(),
            local: ([127, 0, 0, 1], 2).into(),
            tls_version: None,
            silent_on_tls: false,
        };
        let peer = Rc::new(Peer::new(ends, false, None, None));
        let limit = Duration::from_secs(1);
        for (bytes, ended) in [(1, true), (LEAST_TAKEN, false)] {
            let client = Client::multiplexed(peer.clone(), Rc::default());
            client.flows(&clock);
            client.sends(Some(&clock));
            let mut was_ended = false;
            for _ in 0..10 {
                clock.advance();
                client.takes(bytes, &clock);
                was_ended |= client.check_stream(&clock, limit, limit);
            }
            assert_eq!(was_ended, ended, "{bytes}");
        }
    }
}
