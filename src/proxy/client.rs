//! The client's side of a request: who it is, and how long it has been silent.

use super::facts::Facts;
use super::peer::Peer;
use super::trust::TrustedProxies;
use super::wait::Wait;
use crate::message::{Fields, Response};
use crate::upstream::Clock;
use crate::upstream::frames::Earned;
use http::Version;
use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::task::Waker;

/// The version of HTTP that a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.1, and HTTP/1.0: one request at a time.
    Http1,
    /// HTTP/2: each request has a stream of its own.
    Http2,
}

/// What a reply holds of memory while its client does not take it, about: the pod's connection with its buffers, and the
/// piece that waits.
const STANDING_REPLY: usize = 24 << 10;

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
    told_host: RefCell<Option<Box<str>>>,
    /// What its connection speaks.
    pub http: HttpVersion,
    /// What is waited for.
    pub wait: Wait,
    /// The flags of its connection, for HTTP/1.1.
    pub flags: Flags,
    /// What its connection has been sent, where it has others.
    pub earned: Option<Rc<Earned>>,
    /// What it holds of memory, by estimate.
    pub hold: Hold,
    /// Interim responses to the present request that were not sent yet. How many there are is bounded where they are read.
    interim: RefCell<Vec<Response>>,
    /// Whether it understands them: HTTP/1.0 does not.
    takes_interim: Cell<bool>,
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
            wait: Wait::new(false),
            flags: Flags::default(),
            earned: None,
            hold: Hold::default(),
            interim: RefCell::default(),
            takes_interim: Cell::new(false),
        }
    }

    /// One of many requests of a connection.
    pub fn multiplexed(peer: Rc<Peer>, earned: Rc<Earned>) -> Self {
        Self {
            http: HttpVersion::Http2,
            wait: Wait::new(true),
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
    pub fn begins(&self, fields: &Fields, trusted: &TrustedProxies) {
        self.flags.said_last.set(false);
        self.flags.may_half_close.set(false);
        self.wait.begins();
        self.interim.borrow_mut().clear();
        if self.peer.trusted {
            let told = trusted.told(self.peer.ip, fields);
            self.address.set(told.client);
            self.told_https.set(told.https);
            let host = told.host.map(|host| host.into_owned().into_boxed_str());
            self.told_host.replace(host);
        }
    }

    /// The host it asked for, where a trusted proxy names it in `Forwarded`.
    pub fn told_host(&self) -> Option<Box<str>> {
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
    pub fn asks(&self, version: Version, facts: &Facts<'_>) {
        let old = version == Version::HTTP_10;
        self.flags.said_last.set(facts.close || (old && !facts.keep_alive));
        self.flags.may_half_close.set(facts.close || old);
        self.takes_interim.set(!old);
    }

    /// Has an interim response sent to it (RFC 9110, section 15.2).
    pub fn informs(&self, response: Response) {
        if self.takes_interim.get() {
            self.interim.borrow_mut().push(response);
        }
    }

    /// Whether there are interim responses to be sent.
    pub fn is_informed(&self) -> bool {
        !self.interim.borrow().is_empty()
    }

    /// Those.
    pub fn take_interim(&self) -> Vec<Response> {
        self.interim.take()
    }

    /// The client's address, for all that goes by it: the connection's, or behind a trusted proxy the one it names.
    pub fn address(&self) -> IpAddr {
        self.address.get()
    }

    /// A piece of the reply was handed out, or (none) the next is asked for.
    pub fn sends(&self, clock: Option<&Clock>) {
        self.wait.sends(clock);
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
}
