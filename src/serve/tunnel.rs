//! A client and a pod that speak a protocol of their own: bytes are passed on as they come.

use super::h2::Duplex;
use super::shard::{Shard, Swept};
use crate::proxy::{Client, Exchange, Timeouts};
use crate::table::{Endpoint, ListenerId};
use crate::upstream::Stream;
use crate::upstream::frames::Earned;
use crate::upstream::lost;
use crate::upstream::{Clock, Connection, Tick};
use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are read at once, and the most that wait in each direction for the side that does not take them.
const PIECE: usize = 32 << 10;
/// Pieces that one direction passes on before others have their turn.
const TURN: usize = 16;

/// When the tunnel last moved.
struct Pulse {
    shard: Rc<Shard>,
    /// How long it may be silent, where the pod's backend has a time of its own.
    limit: Option<Duration>,
    /// The listener without which it has to end.
    listener: Option<ListenerId>,
    /// Since when that is gone.
    orphaned: Cell<Option<Tick>>,
    last: Cell<Tick>,
    expired: Cell<bool>,
    /// Whether the kernel is to be told to notice when the pod is gone. Many connections are over before that is of use, so it is
    /// done at the first tick.
    notices: Cell<Notices>,
    waker: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Notices {
    Already,
    WithTick,
    Now,
}

impl Pulse {
    fn new(shard: &Rc<Shard>, limit: Option<Duration>, notices: Notices) -> Self {
        Self {
            limit,
            notices: Cell::new(notices),
            listener: None,
            orphaned: Cell::new(None),
            last: Cell::new(shard.worker.clock.now()),
            expired: Cell::new(false),
            waker: RefCell::default(),
            shard: shard.clone(),
        }
    }

    /// Whether its listener has been gone for too long.
    fn is_left(&self, deadline: Duration) -> bool {
        let Some(listener) = self.listener else { return false };
        if self.shard.worker.table().listener(listener).is_some() {
            return false;
        }
        let since = self.orphaned.get().unwrap_or_else(|| self.clock().now());
        self.orphaned.set(Some(since));
        self.clock().passed(since, deadline)
    }

    fn clock(&self) -> &Clock {
        &self.shard.worker.clock
    }

    async fn stops(&self) {
        poll_fn(|cx| {
            self.waker.replace(Some(cx.waker().clone()));
            if self.expired.get() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}

impl Swept for Pulse {
    fn sweep(&self, timeouts: &Timeouts) {
        let limit = self.limit.unwrap_or(timeouts.tunnel);
        let is_expired = self.clock().passed(self.last.get(), limit) || self.is_left(timeouts.leaving);
        let is_first = self.notices.get() == Notices::WithTick;
        if is_expired {
            self.expired.set(true);
        }
        if is_first {
            self.notices.set(Notices::Now);
        }
        if (is_expired || is_first)
            && let Some(waker) = self.waker.take()
        {
            waker.wake();
        }
    }

    /// Tunnels go on: who is in one can be told only by cutting it, and that is for the deadline to do.
    fn drain(&self, _: Duration) {}
}

/// One side, whose every byte is a sign of life.
struct Side<'t, S> {
    stream: S,
    pulse: &'t Pulse,
    /// By what it earns frames, where it is a stream of a client's.
    earned: Option<&'t Earned>,
    /// Bytes that were read from it.
    read: &'t Cell<u64>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Side<'_, S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.read.set(self.read.get() + (buffer.filled().len() - before) as u64);
        if poll.is_ready() {
            self.pulse.last.set(self.pulse.clock().now());
        }
        match poll {
            // An end without close_notify. What came before it is still to be passed on, and a WebSocket's messages say
            // how long they are.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            other => other,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Side<'_, S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let (true, Some(earned)) = (poll.is_ready(), self.earned) {
            earned.piece();
        }
        poll
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// An end of a tunnel.
trait End: AsyncRead + AsyncWrite + Unpin {
    /// Whether dropping it tells the other side no less than shutting it down does.
    fn is_plain(&self) -> bool;
}

impl End for Stream {
    fn is_plain(&self) -> bool {
        matches!(self, Stream::Plain(_))
    }
}

impl End for Duplex {
    fn is_plain(&self) -> bool {
        false
    }
}

/// A client's connection of its own, when the 101 has gone out.
pub async fn run(shard: Rc<Shard>, mut client: Stream, exchange: Exchange, limit: Option<Duration>) {
    pass_on(&shard, (&mut client, None), exchange, limit, pending()).await;
}

/// One of a client's streams (RFC 8441). Where it does not end as it should, it is reset by being dropped: an end must not
/// look like that of a conversation.
pub async fn over_h2(
    shard: Rc<Shard>,
    // As long as somebody has it, its connection is in use.
    client: Rc<Client>,
    mut stream: Duplex,
    exchange: Exchange,
) {
    let (reset, limit) = (stream.reset(), client.wait.limits.get().tunnel.get());
    pass_on(&shard, (&mut stream, client.earned.as_deref()), exchange, limit, reset).await;
}

/// Passes bytes on until both sides are done, one breaks off, or neither says anything for too long. `reset` is ready when
/// the client breaks off unseen by its reader.
async fn pass_on<C: End>(
    shard: &Rc<Shard>,
    client: (&mut C, Option<&Earned>),
    mut exchange: Exchange,
    limit: Option<Duration>,
    reset: impl Future<Output = ()>,
) {
    let Some(Connection::Http1(connection)) = exchange.connection.take() else {
        return;
    };
    let pod = connection.upgraded();
    let endpoint = exchange.lease.endpoint.endpoint.clone();
    let pulse = Rc::new(Pulse::new(shard, limit, Notices::Already));
    between(pulse, client, (pod.stream, pod.read.to_vec()), &endpoint, reset).await;
}

/// A connection that is passed on from its first byte. If the listener goes, the connection may go on for `--drain-deadline`. How many
/// bytes came from the client, and from the pod.
pub async fn relay(
    shard: &Rc<Shard>,
    mut client: Stream,
    pod: Stream,
    endpoint: &Endpoint,
    (limit, listener): (Option<Duration>, ListenerId),
) -> (u64, u64) {
    let pulse = Rc::new(Pulse {
        listener: Some(listener),
        ..Pulse::new(shard, limit, Notices::WithTick)
    });
    between(pulse, (&mut client, None), (pod, Vec::new()), endpoint, pending()).await
}

/// One direction of a tunnel. What is read goes to the other side at once, and only what that does not take is kept, so a
/// tunnel that is silent has no buffers.
struct Direction {
    held: Vec<u8>,
    /// How much of it was written.
    written: usize,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// Something was written that the other side may hold back.
    Unflushed,
    /// The reader has come to the end, which the writer is still to be told.
    Ending,
    Ended,
}

impl Direction {
    fn new(held: Vec<u8>) -> Self {
        Self {
            held,
            written: 0,
            stage: Stage::Open,
        }
    }

    fn has_ended(&self) -> bool {
        self.stage == Stage::Ended
    }

    /// Passes on what there is. Ready when the end was passed on too. If the other direction has ended before and dropping the
    /// writer passes the end on, `is_last`, that is left to it.
    fn poll(
        &mut self,
        (mut from, mut to): (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
        scratch: &mut [u8],
        is_last: bool,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        for _ in 0..TURN {
            ready!(self.poll_held(&mut to, cx))?;
            match self.stage {
                Stage::Ended => return Poll::Ready(Ok(())),
                Stage::Ending => {
                    ready!(Pin::new(&mut to).poll_flush(cx))?;
                    if !is_last {
                        ready!(Pin::new(&mut to).poll_shutdown(cx))?;
                    }
                    self.stage = Stage::Ended;
                    return Poll::Ready(Ok(()));
                }
                Stage::Open | Stage::Unflushed => {}
            }
            let mut read = ReadBuf::new(scratch);
            match Pin::new(&mut from).poll_read(cx, &mut read) {
                Poll::Pending => {
                    if self.stage == Stage::Unflushed {
                        ready!(Pin::new(&mut to).poll_flush(cx))?;
                        self.stage = Stage::Open;
                    }
                    return Poll::Pending;
                }
                Poll::Ready(result) => result?,
            }
            let read = read.filled();
            if read.is_empty() {
                self.stage = Stage::Ending;
                continue;
            }
            self.stage = Stage::Unflushed;
            let taken = match Pin::new(&mut to).poll_write(cx, read) {
                Poll::Ready(taken) => taken?,
                Poll::Pending => 0,
            };
            if let Some(left) = read.get(taken..).filter(|left| !left.is_empty()) {
                self.held = left.to_vec();
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes what is held.
    fn poll_held(&mut self, to: &mut (impl AsyncWrite + Unpin), cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(left) = self.held.get(self.written..).filter(|left| !left.is_empty()) {
            let count = ready!(Pin::new(&mut *to).poll_write(cx, left))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
            self.stage = Stage::Unflushed;
        }
        self.held = Vec::new();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

/// Passes bytes on, beginning with `said`, which was read from the pod already.
async fn between<C: End>(
    pulse: Rc<Pulse>,
    (client, earned): (&mut C, Option<&Earned>),
    (pod, said): (Stream, Vec<u8>),
    endpoint: &Endpoint,
    reset: impl Future<Output = ()>,
) -> (u64, u64) {
    let shard = &pulse.shard;
    let _listed = shard.list(pulse.clone());
    let (up, down) = (Cell::new(0), Cell::new(0));
    let mut client = Side {
        stream: client,
        pulse: &pulse,
        earned,
        read: &up,
    };
    let mut pod_side = Side {
        stream: pod,
        pulse: &pulse,
        earned: None,
        read: &down,
    };
    let (mut to_pod, mut to_client) = (Direction::new(Vec::new()), Direction::new(said));
    let pass_on = poll_fn(|cx| {
        if pulse.notices.get() == Notices::Now {
            pulse.notices.set(Notices::Already);
            // At worst it is noticed by the time-out of the tunnel.
            let _ = pod_side.stream.tcp().map(lost::notice);
        }
        // Taken out, so that nobody comes upon it half used.
        let mut scratch = shard.passing.take();
        scratch.resize(PIECE, 0);
        let is_last = pod_side.stream.is_plain() && to_client.has_ended();
        let up = to_pod.poll((&mut client, &mut pod_side), &mut scratch, is_last, cx);
        let is_last = client.stream.is_plain() && to_pod.has_ended();
        let down = to_client.poll((&mut pod_side, &mut client), &mut scratch, is_last, cx);
        shard.passing.set(scratch);
        match (up, down) {
            (Poll::Ready(Err(error)), _) | (_, Poll::Ready(Err(error))) => Poll::Ready(Err(error)),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    });
    tokio::select! {
        ended = pass_on => {
            if let Err(error) = &ended {
                tracing::debug!(%endpoint, %error, "a tunnel broke off");
            }
        }
        () = pulse.stops() => {
            if pulse.orphaned.get().is_none() {
                shard.worker.counters.timeouts.add();
            }
        }
        () = reset => {}
    }
    (up.get(), down.get())
}
