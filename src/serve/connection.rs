//! One client connection that speaks HTTP/1.1: its requests one after the other, time-outs, and a clean end.
//!
//! One task reads a head, has `proxy` answer it, and writes the reply. The request's body is read by whoever sends it on.

mod input;
mod reply;
mod turn;
mod watch;

use super::farewell::{End, finish};
use super::h2;
use super::pace::Pace;
use super::shard::Shard;
use super::tunnel;
use crate::http1::{Fault, Position};
use crate::proxy::{Client, Exchange, Peer, ProxyError};
use crate::upstream::{Clock, Stream, Tick};
use bytes::BytesMut;
use input::{Heard, Input};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use turn::Done;
use watch::Expired;

pub use turn::Turns;

/// The state that the connection's task, the bodies of its requests and the sweeper share.
pub struct Conn {
    pub(super) client: Rc<Client>,
    pub(super) shard: Rc<Shard>,
    pub(super) stream: RefCell<Stream>,
    input: RefCell<Input>,
    /// Interim responses that are being written.
    pending: RefCell<BytesMut>,
    /// Heads that were read.
    heads: Cell<u32>,
    pub(super) fault: Cell<Option<Fault>>,
    pub(super) ended: Cell<bool>,
    /// When the present silence or head began.
    since: Cell<Tick>,
    /// Whether bytes are waited for.
    reading: Cell<bool>,
    /// Since when the client has not taken what is written.
    write_since: Cell<Option<Tick>>,
    expired: Cell<Option<Expired>>,
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

    /// Where its input stands.
    pub(super) fn position(&self) -> Position {
        self.input.borrow().position()
    }

    /// Whether no request is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.heads.get() == self.client.flags.replies.get()
    }
}

/// What follows when no more requests are read.
enum Next {
    Close(End),
    /// The client speaks HTTP/2, and this is what it has said.
    Http2(bytes::Bytes),
    /// The protocol has changed, and this is the pod's side.
    Tunnel(Box<Exchange>),
}

/// Serves one client connection from accept to close. `held` was read from it before and comes first.
pub async fn run(shard: Rc<Shard>, stream: Stream, peer: Rc<Peer>, held: &'static [u8]) {
    let is_leaving = shard.is_leaving(peer.listener, Some(&peer));
    let client = Rc::new(Client::new(peer));
    let conn = Rc::new(Conn {
        // Under TLS the handshake has said which protocol it is.
        input: RefCell::new(Input::new(&shard.limits, client.peer.tls.is_none(), held)),
        pending: RefCell::default(),
        client: client.clone(),
        stream: RefCell::new(stream),
        heads: Cell::new(0),
        fault: Cell::new(None),
        ended: Cell::new(false),
        since: Cell::new(shard.worker.clock.now()),
        reading: Cell::new(true),
        write_since: Cell::new(None),
        expired: Cell::new(None),
        watched: Cell::new(None),
        draining: Cell::new(is_leaving),
        pace: Pace::new(&shard.worker.clock),
        lingers: Cell::new(false),
        cut_short: Cell::new(false),
        shard: shard.clone(),
    });
    client.flags.last.set(is_leaving);
    let listed = shard.list(conn.clone());
    let next = converse(&conn).await;
    // What comes now lies on the heap: every connection would have room for it all its life.
    if let Next::Close(end) = next {
        return Box::pin(finish(&conn, end)).await;
    }
    drop(listed);
    // Only the stream is taken out, since the rest would be part of this future.
    let Some(stream) = Rc::into_inner(conn).map(|conn| conn.stream.into_inner()) else {
        return;
    };
    match next {
        Next::Http2(prefix) => Box::pin(h2::run(shard, stream, client.peer.clone(), prefix)).await,
        Next::Tunnel(exchange) => {
            let limit = client.wait.limits.get().tunnel.get();
            Box::pin(tunnel::run(shard, stream, *exchange, limit)).await;
        }
        Next::Close(_) => {}
    }
}

/// Serves its requests, and looks for what ends them early.
async fn converse(conn: &Rc<Conn>) -> Next {
    let mut serving = pin!(serve(conn));
    let next = poll_fn(|cx| {
        conn.client.wait.register(cx.waker());
        match conn.expired.get() {
            Some(Expired::Send | Expired::Gone) => return Poll::Ready(Err(End::GivenUp(None))),
            Some(Expired::Head) => return Poll::Ready(Err(End::GivenUp(Some(ProxyError::HeadTimeout)))),
            Some(Expired::Idle) if conn.heads.get() == 0 => return Poll::Ready(Err(End::GivenUp(None))),
            Some(Expired::Idle) | None => {}
        }
        // What came meanwhile is served first.
        if let Poll::Ready(next) = serving.as_mut().poll(cx) {
            return Poll::Ready(Ok(next));
        }
        conn.inform(cx);
        // A reply that is still being written is not cut, though its request is counted already.
        if conn.is_listening() && conn.position() == Position::Between && conn.is_to_end() {
            return Poll::Ready(Ok(Next::Close(End::Done)));
        }
        if conn.leaves(cx) {
            conn.expired.set(Some(Expired::Gone));
            return Poll::Ready(Err(End::GivenUp(None)));
        }
        Poll::Pending
    })
    .await;
    next.unwrap_or_else(|end| {
        if conn.expired.get() != Some(Expired::Gone) {
            conn.shard.worker.counters.timeouts.add();
        }
        Next::Close(end)
    })
}

/// Reads requests and answers them until one of both sides has enough.
async fn serve(conn: &Rc<Conn>) -> Next {
    loop {
        let (request, body) = match poll_fn(|cx| conn.poll_request(cx)).await {
            Heard::Request(request, body) => (request, body),
            Heard::Http2(prefix) => return Next::Http2(prefix),
            Heard::End => return Next::Close(End::Done),
        };
        let mut turn = conn.shard.turns.take();
        let done = turn.answer(conn.clone(), request, body).await;
        conn.shard.turns.put(turn);
        if let Done::Next(next) = done {
            return next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_task<F>(_: impl Fn(Rc<Shard>, Stream, Rc<Peer>, &'static [u8]) -> F) -> usize {
        size_of::<F>()
    }

    /// An idle connection has the future of its task and [`Conn`], and little else.
    #[test]
    fn an_idle_connection_stays_small() {
        let (task, conn) = (size_of_task(run), size_of::<Conn>());
        assert!(task + conn <= 864, "{task} and {conn} bytes");
        // With the counts of an `Rc` they fit into the allocator's sizes of 512, 320 and 256 bytes.
        let counts = 2 * size_of::<usize>();
        let sizes = [conn, size_of::<Client>(), size_of::<Peer>()].map(|size| size + counts);
        assert!(sizes[0] <= 512 && sizes[1] <= 320 && sizes[2] <= 256, "{sizes:?}");
    }
}
