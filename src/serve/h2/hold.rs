//! What the requests of an HTTP/2 connection hold of memory, and what becomes of those that hold much and do nothing.
//!
//! A client may open windows as slowly as it likes, and name long fields by a byte each. So the requests of a connection
//! hold no more than [`HELD`] at a time, by estimate. More wait until the others hold less, and above [`WAITING`] they are
//! refused unprocessed. What all connections of a shard hold for clients that stand still is bounded too, and so is what
//! they have sent that pods do not read.

use super::{Conn, MAX_STREAMS};
use crate::proxy::{self, Client, ProxyError, RequestId};
use http::Request;
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

/// Bytes that the requests of one connection may hold by estimate: fields until they are answered, replies that wait for
/// the client to open its window.
const HELD: usize = 512 << 10;
/// And where the connection is slow itself, so that its replies wait for it and not for the client's windows.
const HELD_BY_A_SLOW_ONE: usize = 4 * HELD;
/// And while memory is short.
const HELD_IN_NEED: usize = HELD / 8;
/// How often the fields of a request are in memory: as they came, as the pod gets them, and as they are written.
const COPIES: usize = 3;
/// Bytes of requests that may wait for their turn, and what a field of one takes besides its own.
const WAITING: usize = 768 << 10;
const WAITING_IN_NEED: usize = WAITING / 8;
const FIELD: usize = 64;
/// Bytes that clients have sent on one shard and pods have not read; from there on nothing more is read from connections
/// that hold more than [`FAIR`] of it.
const UNREAD: u64 = 64 << 20;
const FAIR: u64 = 1 << 20;
/// Bytes that requests may hold on one shard, by estimate, while their clients stand still.
const STUCK: usize = 64 << 20;
/// How long they have to have stood still.
const STANDSTILL: Duration = Duration::from_secs(1);

/// A request that waits until others of its connection hold less.
pub(super) struct Turn {
    conn: Rc<Conn>,
    cost: usize,
    waits: usize,
}

impl Turn {
    /// Waits for it.
    pub(super) async fn comes(self, client: &Client) {
        poll_fn(|cx| {
            if self.conn.begins(client, self.cost) {
                return Poll::Ready(());
            }
            self.conn.earned.queue.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let waiting = &self.conn.earned.waiting;
        waiting.set(waiting.get().saturating_sub(self.waits));
    }
}

impl Conn {
    /// What its requests may hold now.
    fn most(&self) -> usize {
        if self.shard.worker.is_short_of_memory() {
            HELD_IN_NEED
        } else if self.write_since.get().is_some() {
            HELD_BY_A_SLOW_ONE
        } else {
            HELD
        }
    }

    /// Whether a request may begin that will hold so much, which is noted then.
    fn begins(&self, client: &Client, cost: usize) -> bool {
        let held = self.earned.held.get();
        let may = held == 0 || held + cost <= self.most();
        if may {
            client.hold.set(cost);
        }
        may
    }

    /// Has a new request begin, or wait for its turn.
    ///
    /// # Errors
    /// If too many wait already.
    pub(super) fn admit<B>(self: &Rc<Self>, client: &Client, request: &Request<B>) -> Result<Option<Turn>, ProxyError> {
        let fields = request.headers();
        let head: usize = fields
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        // One that waits is never counted as nothing: those who wait are woken only if the count says that they are there.
        let (cost, waits) = (head * COPIES, head + (fields.len() + 1) * FIELD);
        if self.begins(client, cost) {
            return Ok(None);
        }
        let waiting = self.earned.waiting.get() + waits;
        let most = if self.shard.worker.is_short_of_memory() {
            WAITING_IN_NEED
        } else {
            WAITING
        };
        if waiting > most {
            return Err(ProxyError::ConnectionFull);
        }
        self.earned.waiting.set(waiting);
        Ok(Some(Turn {
            conn: self.clone(),
            cost,
            waits,
        }))
    }

    /// A request was refused by a reset of its stream.
    pub(super) fn note_refused(&self, error: ProxyError, cause: &str) {
        let (worker, verdict) = (&self.shard.worker, error.verdict());
        worker.counters.requests.add();
        worker.counters.failed(error);
        let request_id = RequestId::new();
        let request_id = request_id.as_str();
        tracing::debug!(
            side = verdict.side.name(), reason = verdict.label, cause, peer = %self.peer.socket, request_id,
            "request refused: resetting its stream"
        );
        proxy::refused(worker, &self.peer, error, request_id, Some(cause.to_owned()));
    }

    /// Whether nothing is read for now: pods have not read what has come already, and this connection has more than a
    /// fair part of that. The sweeper wakes it.
    pub(super) fn is_paused(&self) -> bool {
        let paused = self.shard.unread.get() > UNREAD && self.earned.unread.get() > FAIR;
        self.paused.set(paused);
        paused
    }

    /// So many bytes have come from the client.
    pub(super) fn note_read(&self, before: u64) {
        let come = self.earned.unread.get().saturating_sub(before);
        self.shard.unread.set(self.shard.unread.get() + come);
    }

    /// Corrects what is thought to be unread: what a request leaves behind when it ends is thrown away with it. Wakes the
    /// connection if it was paused, and requests that wait for their turn, for they may hold more when memory is not short
    /// any more.
    pub(super) fn sweep_held(&self, requests: &[Weak<Client>]) {
        let uploads = requests
            .iter()
            .filter_map(Weak::upgrade)
            .filter(|client| client.wait.is_uploading());
        let most = uploads.count() as u64 * u64::from(self.shard.http2_window());
        self.earned.unread.set(self.earned.unread.get().min(most));
        if most == 0 {
            self.earned.small.set(0);
        }
        self.shard
            .unread
            .set(self.shard.unread.get() + self.earned.unread.get());
        if self.paused.get() {
            self.wake();
        }
        self.earned.queue.take().into_iter().for_each(Waker::wake);
    }

    /// Requests whose replies wait for the client to open its window, and that have stood still for so long.
    fn standing(&self, requests: &[Weak<Client>], least: Duration) -> Vec<Rc<Client>> {
        // Otherwise they wait for the connection, as any slow client's do.
        if self.write_since.get().is_some() {
            return Vec::new();
        }
        let all = requests.iter().filter_map(Weak::upgrade);
        all.filter(|client| client.wait.stands_still(self.clock(), least))
            .collect()
    }

    /// How many requests wait for their client, and how much it holds that has stood still for long.
    pub(super) fn stuck(&self) -> (usize, usize) {
        let requests = self.requests.borrow();
        let long = self.standing(&requests, STANDSTILL);
        let unread = if long.iter().any(|client| client.wait.is_uploading()) {
            usize::try_from(self.earned.unread.get()).unwrap_or(usize::MAX)
        } else {
            0
        };
        let held: usize = long.iter().map(|client| client.hold.get()).sum();
        (self.standing(&requests, Duration::ZERO).len(), held + unread)
    }

    /// Ends the requests that have stood still for long; how many.
    pub(super) fn end_stuck(&self) -> usize {
        let long = self.standing(&self.requests.borrow(), STANDSTILL);
        for client in &long {
            client.wait.reset();
        }
        long.len()
    }
}

impl crate::serve::shard::Shard {
    /// Bytes that all requests of a connection may have under way.
    pub(super) fn http2_connection_window(&self) -> u32 {
        self.http2_window().saturating_mul(MAX_STREAMS).min(i32::MAX as u32)
    }

    /// Has the requests end that hold most and have stood still for long, where all of them hold too much or memory is
    /// short. Counts those that wait for their client, for the process can do nothing for them.
    pub(in crate::serve) fn end_stuck(&self) {
        let connections = self.connections();
        let (mut waiting, mut all, mut stuck) = (0, 0, Vec::new());
        for (key, conn) in connections.iter() {
            let (requests, held) = conn.stuck();
            waiting += requests as u64;
            all += held;
            if held > 0 {
                stuck.push((held, key));
            }
        }
        self.worker.waiting_for_clients.set(waiting);
        let unread = usize::try_from(self.unread.get().saturating_sub(UNREAD)).unwrap_or(usize::MAX);
        let most = if self.worker.is_short_of_memory() { 0 } else { STUCK };
        if all <= most && unread == 0 {
            return;
        }
        stuck.sort_unstable();
        let mut ended = 0;
        while let Some((held, key)) = stuck.pop() {
            ended += connections.get(key).map_or(0, |conn| conn.end_stuck());
            all -= held;
            if all <= most {
                break;
            }
        }
        if ended > 0 {
            self.worker.counters.stuck_ended.add_many(ended as u64);
            tracing::info!(
                requests = ended,
                "ending HTTP/2 requests that hold memory while their clients make no progress"
            );
        }
    }
}
