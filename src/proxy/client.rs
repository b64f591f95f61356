//! The client's side of a request: who it is, and how long it has been silent.

use super::error::ProxyError;
use crate::upstream::{Clock, Tick};
use http::HeaderValue;
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::task::Waker;
use std::time::Duration;

/// What a request waits for on the pod's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// The response head.
    Head,
    /// More of the response body.
    Body,
}

/// One client connection as the requests on it see it.
#[derive(Debug)]
pub struct Client {
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// Its address as header text, IPv4 in IPv6 unwrapped.
    pub address: HeaderValue,
    /// `http`, until TLS comes.
    pub scheme: &'static str,
    /// Whether it is one of `--trusted-proxies`.
    pub trusted: bool,
    /// Whether the request body has been read to its end.
    pub body_done: Cell<bool>,
    /// What broke the request body, where something did.
    pub body_error: Cell<Option<ProxyError>>,
    /// Replies given so far, complete to their last byte.
    pub replies: Cell<u32>,
    /// Whether the connection's task must look again when a reply is complete.
    pub wake_on_reply: Cell<bool>,
    /// Set before the connection breaks off a stalled request body.
    pub body_late: Cell<bool>,
    waiting: Cell<Option<(Waiting, Tick)>>,
    late: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Client {
    /// A new connection from `peer`.
    pub fn new(peer: SocketAddr, trusted: bool) -> Self {
        let address = peer.ip().to_canonical().to_string();
        Self {
            peer,
            // An address is always header text.
            address: HeaderValue::from_str(&address).unwrap_or_else(|_| HeaderValue::from_static("unknown")),
            scheme: "http",
            trusted,
            body_done: Cell::new(false),
            body_error: Cell::new(None),
            replies: Cell::new(0),
            wake_on_reply: Cell::new(false),
            body_late: Cell::new(false),
            waiting: Cell::new(None),
            late: Cell::new(false),
            waker: RefCell::default(),
        }
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

    /// From now on this is waited for.
    pub fn wait_for(&self, what: Waiting, clock: &Clock) {
        self.waiting.set(Some((what, clock.now())));
    }

    /// The wait is over, or starts anew with the next call.
    pub fn waited(&self) {
        self.waiting.set(None);
    }

    /// Something moved, so the wait starts anew.
    pub fn progress(&self, clock: &Clock) {
        if let Some((what, _)) = self.waiting.get() {
            self.waiting.set(Some((what, clock.now())));
        }
    }

    /// Looks whether the wait has been too long; the sweeper's part. `upload` is how long the client may be silent in
    /// its body: while that is not complete, it is the client's time that runs, and only then the pod's.
    pub fn check(&self, clock: &Clock, head: Duration, body: Duration, upload: Duration) {
        if let Some((what, since)) = self.waiting.get() {
            let limit = match what {
                Waiting::Head if self.body_done.get() => head,
                Waiting::Head => head + upload,
                Waiting::Body => body,
            };
            if clock.passed(since, limit) {
                self.waiting.set(None);
                self.late.set(true);
                self.wake();
            }
        }
    }

    /// Whether the wait was found too long; asked by who waits.
    pub fn take_late(&self) -> bool {
        self.late.take()
    }
}
