//! The futures that answer requests, one after the other.
//!
//! The future of a request and its reply is large. It is not part of a connection, which would hold its memory while it is
//! idle, and it is not made for each request, which would cost an allocation and a copy. One that has nothing to do waits in
//! its shard for the next request of any connection.

use super::reply::{Asked, Sending};
use super::{Conn, Next};
use crate::message::Request;
use crate::proxy::{self, Reply, RequestBody};
use crate::serve::farewell::End;
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

/// How many futures of a shard are kept while there is nothing to answer.
const MOST: usize = 64;

/// A future that answers requests.
pub struct Turn {
    answering: Pin<Box<dyn Future<Output = Infallible>>>,
    desk: Rc<Desk>,
}

type Job = (Rc<Conn>, Rc<Request>, RequestBody);

/// What goes in and out.
#[derive(Default)]
struct Desk {
    job: Cell<Option<Job>>,
    done: Cell<Option<Done>>,
}

/// What follows an answer.
pub(super) enum Done {
    /// Another request may.
    Answered,
    Next(Next),
}

impl Turn {
    fn new() -> Self {
        let desk: Rc<Desk> = Rc::default();
        let given = desk.clone();
        let answering = async move {
            loop {
                let (conn, request, body) = poll_fn(|_| match given.job.take() {
                    Some(job) => Poll::Ready(job),
                    None => Poll::Pending,
                })
                .await;
                let done = pin!(answer(&conn, request, body)).await;
                drop(conn);
                given.done.set(Some(done));
            }
        };
        Self {
            answering: Box::pin(answering),
            desk,
        }
    }

    /// Answers a request and sends the reply.
    pub(super) async fn answer(&mut self, conn: Rc<Conn>, request: Rc<Request>, body: RequestBody) -> Done {
        self.desk.job.set(Some((conn, request, body)));
        poll_fn(|cx| {
            let Poll::Pending = self.answering.as_mut().poll(cx);
            match self.desk.done.take() {
                Some(done) => Poll::Ready(done),
                None => Poll::Pending,
            }
        })
        .await
    }
}

async fn answer(conn: &Rc<Conn>, request: Rc<Request>, body: RequestBody) -> Done {
    let asked = Asked::of(&request);
    let (worker, client) = (&conn.shard.worker, &conn.client);
    let (sent, closes, tunnel, quiet) = {
        let mut reply = Reply::new(client);
        // Pinned where it is made, since it is large.
        pin!(proxy::respond(worker, client, &request, body, &mut reply)).await;
        let tunnel = reply.body.take_tunnel().map(Box::new);
        // A client that speaks before the 101 does not keep to RFC 6455, and what it said might have been a request.
        let quiet = tunnel.is_none() || !conn.has_spoken();
        let mut sending = Sending::new(conn, &mut reply, &asked);
        let sent = poll_fn(|cx| sending.poll(conn, cx)).await;
        (sent, sending.closes(), tunnel, quiet)
    };
    worker.buffers.return_request(request);
    match tunnel {
        _ if sent.is_err() => Done::Next(Next::Close(End::BrokenOff)),
        Some(exchange) if quiet => Done::Next(Next::Tunnel(exchange)),
        Some(_) => Done::Next(Next::Close(End::Done)),
        None if closes || !conn.skip_body() => Done::Next(Next::Close(End::Done)),
        None => Done::Answered,
    }
}

/// Those of a shard that have nothing to answer.
#[derive(Default)]
pub struct Turns(RefCell<Vec<Turn>>);

impl Turns {
    /// One that has nothing to answer.
    pub(super) fn take(&self) -> Turn {
        let kept = self.0.borrow_mut().pop();
        kept.unwrap_or_else(Turn::new)
    }

    /// Takes one back that has answered. One that is dropped instead gives its request up.
    pub(super) fn put(&self, turn: Turn) {
        let mut kept = self.0.borrow_mut();
        if kept.len() < MOST {
            kept.push(turn);
        }
    }
}
