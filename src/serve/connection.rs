//! One client connection: the strict filter under hyper, time-outs above it, and a clean end.

use super::farewell::{End, finish};
use super::fresh::FRESH;
use super::h2;
use super::pace::{Pace, Slow};
use super::preface::{Look, Preface};
use super::shard::{Shard, Swept};
use super::strict::{Fault, Framer, Position};
use super::tunnel;
use crate::proxy::{self, Client, Exchange, Peer, ProxyError, RequestBody, Silence, Timeouts};
use crate::table::ListenerId;
use crate::upstream::Stream;
use crate::upstream::{Clock, Tick};
use bytes::Bytes;
use http::Request;
use hyper::body::Incoming;
use hyper::rt::ReadBufCursor;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

/// What the sweeper found a connection guilty of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expired {
    /// Idle too long: closed when hyper has nothing left to do.
    Idle,
    /// A head that does not end.
    Head,
    /// A reader that does not read.
    Send,
    /// A client that broke off.
    Gone,
}

/// The state that hyper's reader, the sweeper and the connection's task share.
pub struct Conn {
    pub(super) client: Rc<Client>,
    pub(super) shard: Rc<Shard>,
    pub(super) stream: RefCell<Stream>,
    framer: RefCell<Framer>,
    heads: Cell<u32>,
    pub(super) fault: Cell<Option<Fault>>,
    pub(super) ended: Cell<bool>,
    /// When the present silence or head began.
    since: Cell<Tick>,
    reading: Cell<bool>,
    /// How many replies were complete when that was.
    seen_replies: Cell<u32>,
    write_since: Cell<Option<Tick>>,
    expired: Cell<Option<Expired>>,
    preface: RefCell<Preface>,
    /// The pod's side, when the protocol has changed.
    tunnel: Cell<Option<Box<Exchange>>>,
    /// What the filter has let through and hyper had no room for.
    left_over: RefCell<Bytes>,
    /// The request that was under way at the last tick, by the number of heads so far: one that takes longer than that
    /// is watched for its client's leaving.
    watched: Cell<Option<u32>>,
    /// Whether the process is ending, and the connection with it.
    draining: Cell<bool>,
    pace: Pace,
    /// Whether all is said, and what the client still sends is thrown away.
    pub(super) lingers: Cell<bool>,
    /// Whether even that is to end.
    pub(super) cut_short: Cell<bool>,
}

impl Conn {
    fn clock(&self) -> &Clock {
        &self.shard.worker.clock
    }

    /// Whether it is time to close as soon as hyper has nothing left to do. While the process ends, whoever has asked
    /// before is told so by the reply to the next request, and then hyper closes; or is let go, being idle. Whoever has
    /// not asked yet cannot know that no answer will come.
    fn is_to_end(&self) -> bool {
        let unasked = self.draining.get() && self.heads.get() == 0;
        self.expired.get().is_some() || (unasked && self.clock().passed(self.since.get(), FRESH))
    }

    /// Where its input stands.
    pub(super) fn position(&self) -> Position {
        self.framer.borrow().position()
    }

    /// Whether the sweeper ended it.
    pub(super) fn is_expired(&self) -> bool {
        self.expired.get().is_some()
    }

    /// Whether the client of the request under way has left. hyper does not look: it has all it wants to read.
    fn has_left(&self) -> bool {
        // Once only the end is left to do, nobody is served any more.
        let Ok(stream) = self.stream.try_borrow() else {
            return false;
        };
        let ready = pin!(stream.tcp().ready(Interest::READABLE | Interest::WRITABLE));
        // The kernel has told already; nothing is waited for.
        let Poll::Ready(Ok(ready)) = ready.poll(&mut Context::from_waker(Waker::noop())) else {
            return false;
        };
        // Both ways are closed by a reset. An end of its input alone means the same, unless the client may wait so for
        // its reply, or has asked for more already, which may say so.
        let more = self.heads.get().wrapping_sub(self.client.flags.replies.get()) > 1;
        let waits = self.shard.serves_half_closed || self.client.flags.may_half_close.get() || more;
        ready.is_read_closed() && (ready.is_write_closed() || !waits)
    }

    /// Has the task woken when the client of a request leaves that takes longer than a tick; quick ones are spared
    /// that. Whether it has left.
    fn leaves(&self, cx: &mut Context<'_>) -> bool {
        if self.is_idle() || self.watched.get() != Some(self.heads.get()) {
            return false;
        }
        let readable = self.stream.borrow().tcp().poll_read_ready(cx).is_ready();
        readable && self.has_left()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.heads.get() == self.client.flags.replies.get()
    }

    fn check(&self, timeouts: &Timeouts) {
        let (clock, since) = (self.clock(), self.since.get());
        self.client.wait.check(clock, timeouts);
        self.pace.look(clock);
        let passed = |limit| clock.passed(since, limit);
        if self.draining.get() && self.is_to_end() {
            self.client.wait.wake();
        }
        let limits = self.client.wait.limits.get();
        if let Some(since) = self.write_since.get()
            && self
                .client
                .wait
                .is_silent(clock, since, limits.send.unwrap_or(timeouts.send))
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
        match self.framer.borrow().position() {
            Position::Body => {
                let limit = limits.body.unwrap_or(timeouts.body);
                let late = self.reading.get() && self.client.wait.is_silent(clock, since, limit);
                if late && !self.client.wait.body_late.replace(true) {
                    self.client.wait.ends_by(Silence::Upload);
                    self.shard.worker.counters.timeouts.add();
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
    fn is_listening(&self) -> bool {
        self.is_idle() && self.reading.get() && self.write_since.get().is_none()
    }

    fn expire(&self, what: Expired) {
        self.expired.set(Some(what));
        self.client.wait.wake();
    }

    fn poll_read(&self, cx: &mut Context<'_>, mut buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        if self.client.wait.body_late.get() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        if self.put_left_over(&mut buffer) {
            return Poll::Ready(Ok(()));
        }
        if self.fault.get().is_some() {
            return self.read_after_fault();
        }
        let mut scratch = self.shard.scratch.borrow_mut();
        let mut preface = self.preface.borrow_mut();
        // What was held back of a preface that is none comes on top.
        let room = scratch.len().min(buffer.remaining().saturating_sub(preface.held()));
        let mut read = ReadBuf::new(scratch.get_mut(..room).unwrap_or_default());
        let poll = Pin::new(&mut *self.stream.borrow_mut()).poll_read(cx, &mut read);
        if poll.is_pending() && !self.reading.replace(true) {
            // A head keeps the time it began, unless a reply had to be finished first; silence begins here.
            let replies = self.client.flags.replies.get();
            if self.seen_replies.replace(replies) != replies || self.framer.borrow().position() != Position::Head {
                self.since.set(self.clock().now());
            }
        }
        ready!(poll)?;
        self.reading.set(false);
        let bytes = read.filled();
        self.pace.passed(bytes.len());
        if bytes.is_empty() {
            self.ended.set(true);
            return Poll::Ready(Ok(()));
        }
        let joined;
        let bytes = match preface.look(bytes) {
            Look::Other => bytes,
            Look::OtherAfter(held) => {
                joined = [held, bytes].concat();
                &joined
            }
            Look::Unclear => {
                drop((preface, scratch));
                return self.poll_read(cx, buffer);
            }
            // To hyper's HTTP/1.1 this is the end.
            Look::Http2 => return Poll::Ready(Ok(())),
        };
        drop(preface);
        let mut framer = self.framer.borrow_mut();
        let before = framer.position();
        let mut scan = framer.scan(bytes);
        let accepted = bytes.get(..scan.accepted).unwrap_or_default();
        buffer.put_slice(accepted);
        let mut nothing = accepted.is_empty();
        if scan.raw.is_some() {
            self.left_over.replace(framer.encode(bytes, &mut scan).into());
            nothing &= !self.put_left_over(&mut buffer);
        }
        if scan.heads > 0 {
            self.heads.set(self.heads.get().wrapping_add(scan.heads));
        }
        if framer.position() == Position::Head && (before != Position::Head || scan.heads > 0) {
            self.since.set(self.clock().now());
            self.pace.begin(self.clock());
        } else if scan.heads > 0 {
            self.pace.begin(self.clock());
        }
        if let Some(fault) = scan.fault {
            self.fault.set(Some(fault));
            self.client.flags.wake_on_reply.set(true);
            self.shard.worker.counters.refused_by_filter.add();
        }
        drop(framer);
        match (nothing, scan.fault) {
            (false, _) => Poll::Ready(Ok(())),
            (true, Some(_)) => self.read_after_fault(),
            // To hyper, nothing would be the end. The filter keeps back what it is about to refuse.
            (true, None) => {
                drop(scratch);
                self.poll_read(cx, buffer)
            }
        }
    }

    /// Hands on what there was no room for. Whether there was something.
    fn put_left_over(&self, buffer: &mut ReadBufCursor<'_>) -> bool {
        let mut left = self.left_over.borrow_mut();
        if left.is_empty() {
            return false;
        }
        let length = left.len().min(buffer.remaining());
        buffer.put_slice(&left.split_to(length));
        true
    }

    /// A broken body fails its request at once; a broken head waits until earlier replies are out, and then hyper
    /// sees the end of the connection.
    fn read_after_fault(&self) -> Poll<io::Result<()>> {
        if self.framer.borrow().position() == Position::Body {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        if self.is_idle() && self.write_since.get().is_none() {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }

    fn note_written(&self, poll: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = poll {
            self.pace.passed(*bytes);
        }
        self.note_write(poll);
    }

    fn note_write<T>(&self, poll: &Poll<T>) {
        match poll {
            Poll::Ready(_) => {
                // hyper does not ask again for what it was refused while a reply was still on its way out.
                if self.write_since.take().is_some() && self.fault.get().is_some() {
                    self.client.wait.wake();
                }
            }
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

    fn idle(&self) -> Option<Tick> {
        let between = self.framer.borrow().position() == Position::Between;
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
                self.client.wait.wake();
            }
            Position::Head | Position::Between => self.expire(Expired::Head),
        }
    }
}

/// What hyper reads from and writes to.
struct Io(Rc<Conn>);

impl hyper::rt::Read for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        self.0.poll_read(cx, buffer)
    }
}

impl hyper::rt::Write for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut *self.0.stream.borrow_mut()).poll_write(cx, bytes);
        self.0.note_written(&poll);
        poll
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut *self.0.stream.borrow_mut()).poll_flush(cx);
        // TLS takes in what the socket does not; only here it is seen that it does not leave.
        self.0.note_write(&poll);
        poll
    }

    /// Left to the connection's task, which may have an error reply to write first.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut *self.0.stream.borrow_mut()).poll_write_vectored(cx, slices);
        self.0.note_written(&poll);
        poll
    }
}

/// Serves one client connection from accept to close. `held` was read from it before and comes first.
pub async fn run(shard: Rc<Shard>, stream: Stream, peer: Rc<Peer>, held: &'static [u8]) {
    let is_leaving = shard.is_leaving(peer.listener);
    let client = Rc::new(Client::new(peer));
    let conn = Rc::new(Conn {
        client: client.clone(),
        stream: RefCell::new(stream),
        framer: RefCell::new(Framer::new(shard.limits)),
        heads: Cell::new(0),
        fault: Cell::new(None),
        ended: Cell::new(false),
        since: Cell::new(shard.worker.clock.now()),
        reading: Cell::new(true),
        seen_replies: Cell::new(0),
        write_since: Cell::new(None),
        expired: Cell::new(None),
        // Under TLS the handshake has said which protocol it is.
        preface: RefCell::new(Preface::seen(client.peer.tls.is_none(), held)),
        tunnel: Cell::new(None),
        left_over: RefCell::default(),
        watched: Cell::new(None),
        draining: Cell::new(is_leaving),
        pace: Pace::new(&shard.worker.clock),
        lingers: Cell::new(false),
        cut_short: Cell::new(false),
        shard: shard.clone(),
    });
    client.flags.last.set(is_leaving);
    let listed = shard.list(conn.clone());
    let end = converse(&conn).await;
    // What comes now lies on the heap: every connection would have room for it all its life.
    let prefix = conn.preface.borrow_mut().take();
    let tunnel = conn.tunnel.take();
    if prefix.is_none() && tunnel.is_none() {
        return Box::pin(finish(&conn, end)).await;
    }
    drop(listed);
    let Some(conn) = Rc::into_inner(conn) else { return };
    // Who speaks before the 101 does not keep to RFC 6455, and its bytes have been read as HTTP.
    let quiet = conn.is_idle() && conn.fault.get().is_none() && conn.framer.borrow().position() == Position::Between;
    let begins = quiet && matches!(end, End::Done);
    let stream = conn.stream.into_inner();
    match (prefix, tunnel) {
        (Some(prefix), _) => Box::pin(h2::run(shard, stream, client.peer.clone(), prefix)).await,
        (None, Some(exchange)) if begins => Box::pin(tunnel::run(shard, stream, *exchange)).await,
        (None, _) => {}
    }
}

async fn converse(conn: &Rc<Conn>) -> End {
    let served = conn.clone();
    // Boxed, for hyper keeps the place of a request's future for as long as the connection lives.
    let service = service_fn(move |request: Request<Incoming>| {
        let (conn, request) = (served.clone(), request.map(RequestBody::Http1));
        let mut reply = Box::pin(proxy::respond(conn.shard.worker.clone(), conn.client.clone(), request));
        poll_fn(move |cx| {
            let mut poll = reply.as_mut().poll(cx);
            if let Poll::Ready(Ok(reply)) = &mut poll
                && let Some(exchange) = reply.body_mut().take_tunnel()
            {
                conn.tunnel.set(Some(Box::new(exchange)));
            }
            poll
        })
    });
    let limits = &conn.shard.limits;
    let hyper = http1::Builder::new()
        .half_close(true)
        .max_headers(limits.header_count + 28)
        .max_buf_size((limits.head_bytes + (8 << 10)).max(64 << 10))
        .serve_connection(Io(conn.clone()), service);
    let mut hyper = pin!(hyper);
    let mut told_to_end = false;
    let result = poll_fn(|cx| {
        conn.client.wait.register(cx.waker());
        match conn.expired.get() {
            Some(Expired::Send | Expired::Gone) => return Poll::Ready(Err(End::GivenUp(None))),
            Some(Expired::Head) => return Poll::Ready(Err(End::GivenUp(Some(ProxyError::HeadTimeout)))),
            Some(Expired::Idle) if conn.heads.get() == 0 => return Poll::Ready(Err(End::GivenUp(None))),
            Some(Expired::Idle) | None => {}
        }
        let mut poll = hyper.as_mut().poll(cx);
        // Told before it has read what is there, hyper would close on a request that is under way.
        let between = conn.framer.borrow().position() != Position::Head;
        if poll.is_pending() && between && conn.is_to_end() && !std::mem::replace(&mut told_to_end, true) {
            hyper.as_mut().graceful_shutdown();
            poll = hyper.as_mut().poll(cx);
        }
        if poll.is_pending() && conn.leaves(cx) {
            conn.expired.set(Some(Expired::Gone));
            return Poll::Ready(Err(End::GivenUp(None)));
        }
        poll.map(Ok)
    })
    .await;
    match result {
        Err(end) => {
            if conn.expired.get() != Some(Expired::Gone) {
                conn.shard.worker.counters.timeouts.add();
            }
            end
        }
        Ok(Ok(())) => End::Done,
        // The only error of ours that hyper knows is that of a body.
        Ok(Err(error)) if error.is_user() => End::BrokenOff,
        Ok(Err(error)) => {
            if error.is_parse() && conn.fault.get().is_none() {
                conn.shard.worker.counters.refused_by_hyper.add();
                let (cause, refused) = (Some(error.to_string()), ProxyError::Refused);
                proxy::refused(&conn.shard.worker, &conn.client.peer, refused, "", cause);
                tracing::warn!(peer = %conn.client.peer.socket, %error, "the HTTP library refused a request that narthex accepted: please report this");
            }
            End::Done
        }
    }
}
