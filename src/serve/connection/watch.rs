//! What ends a connection early: a client that is silent, slow or gone, and a process that ends.

use super::Conn;
use crate::http1::Position;
use crate::proxy::{Peer, Silence, Timeouts};
use crate::serve::fresh::FRESH;
use crate::serve::pace::Slow;
use crate::serve::shard::Swept;
use crate::table::ListenerId;
use crate::upstream::Tick;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

/// A connection that is silent for this long gives memory back.
const RESTS: Duration = Duration::from_secs(5);

/// What the sweeper found a connection guilty of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expired {
    /// Idle too long: closed unless a request has come meanwhile.
    Idle,
    /// A head that does not end.
    Head,
    /// A reader that does not read.
    Send,
    /// A client that broke off.
    Gone,
}

impl Conn {
    /// Whether it is time to close as soon as nothing is left to do. While the process ends, whoever has asked
    /// before is told so by the reply to the next request, and then the connection closes; or is let go, being idle.
    /// Whoever has not asked yet cannot know that no answer will come.
    pub(super) fn is_to_end(&self) -> bool {
        let unasked = self.draining.get() && self.heads.get() == 0;
        self.expired.get().is_some() || (unasked && self.clock().passed(self.since.get(), FRESH))
    }

    /// Whether the sweeper ended it.
    pub(in crate::serve) fn is_expired(&self) -> bool {
        self.expired.get().is_some()
    }

    /// Whether the client of the request under way has left. Nobody reads from it while it waits for its reply.
    fn has_left(&self) -> bool {
        // Once only the end is left to do, nobody is served any more.
        let Ok(stream) = self.stream.try_borrow() else {
            return false;
        };
        let closed = stream.closed();
        // Both ways are closed by a reset. An end of its input alone means the same, unless the client may wait so for
        // its reply, or has asked for more already, which may say so.
        let waits =
            self.shard.serves_half_closed || self.client.flags.may_half_close.get() || self.input.borrow().has_more();
        closed.read && (closed.write || !waits)
    }

    /// Has the task woken when the client of a request leaves that takes longer than a tick; quick ones are spared
    /// that. Whether it has left.
    pub(super) fn leaves(&self, cx: &mut Context<'_>) -> bool {
        if self.is_idle() || self.watched.get() != Some(self.heads.get()) {
            return false;
        }
        // Whoever reads the request's body is told of its end, and may be another task.
        if self.position() == Position::Body {
            return false;
        }
        let readable = self.stream.borrow().poll_read_ready(cx).is_ready();
        readable && self.has_left()
    }

    fn check(&self, timeouts: &Timeouts) {
        let (clock, since) = (self.clock(), self.since.get());
        self.client.wait.check(clock, timeouts);
        self.pace.look(clock);
        let passed = |limit| clock.passed(since, limit);
        if self.is_listening() && passed(RESTS) {
            self.input.borrow_mut().rest();
        }
        if self.draining.get() && self.is_to_end() {
            self.client.wait.wake();
        }
        let limits = self.client.wait.limits.get();
        if let Some(since) = self.write_since.get()
            && self.client.wait.is_silent(clock, since, limits.send.or(timeouts.send))
        {
            self.client.wait.ends_by(Silence::Taking);
            return self.expire(Expired::Send);
        }
        if !self.is_idle() {
            if self.has_left() {
                return self.expire(Expired::Gone);
            }
            let heads = Some(self.heads.get());
            if self.watched.replace(heads) != heads {
                self.client.wait.wake();
            }
        }
        if self.fault.get().is_some() {
            return;
        }
        match self.position() {
            Position::Body => {
                let limit = limits.body.or(timeouts.body);
                let late = self.reading.get() && self.client.wait.is_silent(clock, since, limit);
                if late && !self.client.wait.body_late.replace(true) {
                    self.client.wait.ends_by(Silence::Upload);
                    self.shard.worker.counters.timeouts.add();
                    self.wake_reader();
                    self.client.wait.wake();
                }
            }
            // Only a silence while we read, and have nothing left to say, is the client's.
            _ if !self.is_listening() => {}
            Position::Head if passed(timeouts.head) => self.expire(Expired::Head),
            Position::Between if self.heads.get() == 0 && passed(timeouts.head) => self.expire(Expired::Idle),
            Position::Between if self.heads.get() > 0 && passed(timeouts.idle) => self.expire(Expired::Idle),
            Position::Head | Position::Between => {}
        }
    }

    /// Whether all replies are out and the next request is being read.
    pub(super) fn is_listening(&self) -> bool {
        self.is_idle() && self.reading.get() && self.write_since.get().is_none()
    }

    fn expire(&self, what: Expired) {
        self.expired.set(Some(what));
        if what == Expired::Idle {
            // A request that comes at this very moment is still answered, and its answer says that it is the last.
            self.client.flags.last.set(true);
        }
        self.client.wait.wake();
    }

    pub(super) fn note_written(&self, poll: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = poll {
            self.pace.passed(*bytes);
        }
        self.note_write(poll);
    }

    pub(super) fn note_write<T>(&self, poll: &Poll<T>) {
        match poll {
            Poll::Ready(_) => self.write_since.set(None),
            Poll::Pending if self.write_since.get().is_none() => self.write_since.set(Some(self.clock().now())),
            Poll::Pending => {}
        }
    }
}

impl Swept for Conn {
    fn sweep(&self, timeouts: &Timeouts) {
        self.check(timeouts);
    }

    fn drain(&self, _: Duration) {
        self.draining.set(true);
        self.client.flags.last.set(true);
    }

    fn listener(&self) -> Option<ListenerId> {
        Some(self.client.peer.listener)
    }

    fn peer(&self) -> Option<&Peer> {
        Some(&self.client.peer)
    }

    fn idle(&self) -> Option<Tick> {
        let between = self.position() == Position::Between;
        let idle = between && self.is_listening() && self.fault.get().is_none() && self.expired.get().is_none();
        idle.then(|| self.since.get())
    }

    fn let_go(&self) {
        self.expire(Expired::Idle);
    }

    fn slow(&self) -> Option<Slow> {
        let waits = match self.position() {
            _ if self.lingers.get() => return Some(Slow { shared: false, rate: 0 }),
            _ if self.write_since.get().is_some() => true,
            Position::Head => self.is_listening(),
            // Where the reply flows already, a request that stands still may be meant to.
            Position::Body => self.reading.get() && !self.client.wait.is_answered(),
            Position::Between => false,
        };
        let rate = self.pace.slow().filter(|_| waits)?;
        Some(Slow { shared: false, rate })
    }

    fn cut_short(&self) {
        tracing::debug!(peer = %self.client.peer.socket, "closing a slow client to make room for others (--max-connections)");
        self.cut_short.set(true);
        match self.position() {
            _ if self.lingers.get() => {}
            _ if self.write_since.get().is_some() => {
                self.client.wait.ends_by(Silence::Room);
                self.expire(Expired::Send);
            }
            Position::Body => {
                self.client.wait.body_late.set(true);
                self.wake_reader();
                self.client.wait.wake();
            }
            Position::Head | Position::Between => self.expire(Expired::Head),
        }
    }
}
