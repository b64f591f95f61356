//! One client connection that speaks HTTP/2 (RFC 9113): over TLS, or in plain by prior knowledge.
//!
//! The h2 crate reads and writes frames and bounds what a client may do with them. Here are the time-outs it does not
//! have.

mod head;
mod hold;

use super::Timeouts;
use super::pace::{Pace, Slow};
use super::shard::{Shard, Swept};
use super::tunnel;
use crate::proxy::{self, Client, Exchange, Peer, ProxyError, RequestBody};
use crate::upstream::Stream;
use crate::upstream::frames::{Earned, Flood, Frames, PROVOKED_IN_A_LIFE, RESETS};
use crate::upstream::{Clock, Tick};
use bytes::{Buf, Bytes};
use hold::Turn;
use http::{Method, Request};
use hyper::body::Body as _;
use hyper::body::Incoming;
use hyper::rt::{Executor, ReadBufCursor};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Requests at once on one connection (nginx: 128, Envoy's advice: 100).
const MAX_STREAMS: u32 = 100;
/// Bytes of one reply that are held for a client that does not take them.
const SEND_BUFFER: usize = 64 << 10;
/// Bytes that are read of one connection before others have their turn.
const READ_AT_ONCE: usize = 64 << 10;
/// How long a connection that was told to end may go on before it is cut.
const GOODBYE: Duration = Duration::from_secs(5);
/// What is still read of a client that sends too much, so that it hears why: a reset that answers unread bytes could
/// overtake the GOAWAY.
const LAST_BYTES: usize = 1 << 20;

/// One connection.
struct Conn {
    peer: Rc<Peer>,
    shard: Rc<Shard>,
    stream: RefCell<Stream>,
    /// Bytes that were read before it was known that this is HTTP/2.
    prefix: RefCell<Bytes>,
    /// Requests under way; those that ended are swept away.
    requests: RefCell<Vec<Weak<Client>>>,
    /// The request whose task hyper is about to start.
    newest: RefCell<Option<Rc<Client>>>,
    /// The tunnel whose sending task hyper is about to start.
    newest_tunnel: RefCell<Option<oneshot::Sender<JoinHandle<()>>>>,
    /// When it was last seen busy.
    since: Cell<Tick>,
    served: Cell<bool>,
    write_since: Cell<Option<Tick>>,
    ending: Cell<Option<Tick>>,
    /// Since when it is to end, and how long that may take.
    draining: Cell<Option<(Tick, Duration)>>,
    cut: Cell<bool>,
    frames: RefCell<Frames>,
    /// By what the client earns frames.
    earned: Rc<Earned>,
    /// What it sent too much of.
    flood: Cell<Option<Flood>>,
    /// Whether nothing is read from it for now.
    paused: Cell<bool>,
    pace: Pace,
    /// Bytes that were read in this turn.
    read: Cell<usize>,
    waker: RefCell<Option<Waker>>,
}

impl Conn {
    fn clock(&self) -> &Clock {
        &self.shard.worker.clock
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// No more requests from now on; those under way finish.
    fn end(&self) {
        if self.ending.get().is_none() {
            self.ending.set(Some(self.clock().now()));
            self.wake();
        }
    }

    fn cut(&self) {
        self.cut.set(true);
        self.wake();
    }

    fn begin(self: &Rc<Self>, request: &Request<Incoming>) -> (Rc<Client>, Result<Option<Turn>, ProxyError>) {
        let client = Rc::new(Client::multiplexed(self.peer.clone(), self.earned.clone()));
        client.uploads(!request.body().is_end_stream(), self.clock());
        self.served.set(true);
        self.requests.borrow_mut().push(Rc::downgrade(&client));
        self.newest.replace(Some(client.clone()));
        // Of a tunnel that did not come about: the next task is not its own.
        self.newest_tunnel.take();
        let checked = head::check(request, &self.shard.limits);
        let admitted = checked.and_then(|()| self.admit(&client, request));
        if let Err(ProxyError::ConnectionFull) = admitted {
            self.note_refused(ProxyError::ConnectionFull, "its connection holds too much");
        }
        (client, admitted)
    }

    /// Passes the bytes of a stream on whose request has become a tunnel.
    fn carry(&self, client: Rc<Client>, upgrade: OnUpgrade, exchange: Exchange) {
        let (hand_over, sending) = oneshot::channel();
        self.newest_tunnel.replace(Some(hand_over));
        tokio::task::spawn_local(tunnel::over_h2(self.shard.clone(), client, upgrade, sending, exchange));
    }

    /// Looks at what a client sends too often. An error ends the connection.
    fn note_frames(&self, bytes: &[u8]) -> io::Result<()> {
        let unread = self.earned.unread.get();
        let flood = self.frames.borrow_mut().read(bytes, &self.earned, self.clock());
        self.note_read(unread);
        flood.map_err(|flood| {
            self.shard.worker.counters.floods.add();
            tracing::info!(
                peer = %self.peer.socket,
                frames = flood.name(),
                "an HTTP/2 client sends too many frames: its connection ends with ENHANCE_YOUR_CALM"
            );
            self.flood.set(Some(flood));
            self.cut();
            io::ErrorKind::ConnectionAborted.into()
        })
    }

    /// These bytes, of which so many could be written, are frames of ours.
    fn note_sent<'b>(&self, poll: &Poll<io::Result<usize>>, slices: impl IntoIterator<Item = &'b [u8]>) {
        if let Poll::Ready(Ok(written)) = poll {
            self.pace.passed(*written);
            let (mut frames, mut left) = (self.frames.borrow_mut(), *written);
            for slice in slices {
                let slice = slice.get(..left).unwrap_or(slice);
                frames.sent(slice, &self.earned);
                left -= slice.len();
            }
            // The h2 crate has reset streams whose frames break the rules of HTTP/2. Nobody else hears of it.
            for _ in 0..frames.take_malformed() {
                self.shard.worker.counters.refused_by_filter.add();
                self.note_refused(ProxyError::Malformed, "it breaks the rules of HTTP/2");
            }
        }
        self.note_write(poll);
    }

    fn note_write<T>(&self, poll: &Poll<T>) {
        match poll {
            Poll::Ready(_) => self.write_since.set(None),
            Poll::Pending if self.write_since.get().is_none() => self.write_since.set(Some(self.clock().now())),
            Poll::Pending => {}
        }
    }
}

impl Swept for Conn {
    fn sweep(&self, timeouts: &Timeouts, stream: Duration, response: Duration) {
        let clock = self.clock();
        self.pace.look(clock);
        let mut requests = self.requests.borrow_mut();
        requests.retain(|request| request.strong_count() > 0);
        self.sweep_held(&requests);
        for client in requests.iter().filter_map(Weak::upgrade) {
            client.check(clock, response, stream, timeouts.body);
            if client.check_stream(clock, timeouts.body, timeouts.send) {
                self.shard.worker.counters.timeouts.add();
            }
        }
        if self
            .write_since
            .get()
            .is_some_and(|since| clock.passed(since, timeouts.send))
        {
            self.shard.worker.counters.timeouts.add();
            return self.cut();
        }
        // Whatever is under way: a client that is told so goes on elsewhere and loses nothing (RFC 9113, section 6.8).
        if self
            .draining
            .get()
            .is_some_and(|(began, pause)| clock.passed(began, pause))
        {
            self.end();
        }
        if !requests.is_empty() {
            return self.since.set(clock.now());
        }
        let patience = if self.served.get() {
            timeouts.idle
        } else {
            timeouts.head
        };
        if clock.passed(self.since.get(), patience) {
            self.end();
        }
        if self.ending.get().is_some_and(|since| clock.passed(since, GOODBYE)) {
            self.cut();
        }
    }

    fn drain(&self, pause: Duration) {
        self.draining.set(Some((self.clock().now(), pause)));
        if pause.is_zero() {
            self.end();
        }
    }

    fn idle(&self) -> Option<Tick> {
        let idle =
            self.ending.get().is_none() && self.requests.borrow().iter().all(|request| request.strong_count() == 0);
        idle.then(|| self.since.get())
    }

    fn let_go(&self) {
        self.end();
    }

    /// One whose client keeps all its streams waiting.
    fn slow(&self) -> Option<Slow> {
        let requests = self.requests.borrow();
        let mut clients = requests.iter().filter_map(Weak::upgrade).peekable();
        // One without requests is idle, or will be in a second.
        clients.peek()?;
        let rate = self
            .pace
            .slow()
            .filter(|_| clients.all(|client| client.keeps_waiting()))?;
        Some(Slow { shared: true, rate })
    }

    fn cut_short(&self) {
        self.cut();
    }

    fn stuck(&self) -> (usize, usize) {
        self.stuck()
    }

    fn end_stuck(&self) -> usize {
        self.end_stuck()
    }
}

/// Starts hyper's tasks on the shard, and remembers which is whose.
#[derive(Clone)]
struct OnShard(Rc<Conn>);

impl<F: Future<Output = ()> + 'static> Executor<F> for OnShard {
    fn execute(&self, task: F) {
        let task = tokio::task::spawn_local(task);
        if let Some(client) = self.0.newest.take() {
            client.set_task(task.abort_handle());
        } else if let Some(tunnel) = self.0.newest_tunnel.take() {
            let _ = tunnel.send(task);
        }
    }
}

/// What hyper reads from and writes to.
struct Io(Rc<Conn>);

impl hyper::rt::Read for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        if self.0.is_paused() {
            return Poll::Pending;
        }
        if self.0.read.get() >= READ_AT_ONCE {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut prefix = self.0.prefix.borrow_mut();
        if !prefix.is_empty() {
            let length = prefix.remaining().min(buffer.remaining());
            let prefix = prefix.split_to(length);
            buffer.put_slice(&prefix);
            return Poll::Ready(self.0.note_frames(&prefix));
        }
        let mut scratch = self.0.shard.scratch.borrow_mut();
        let room = scratch.len().min(buffer.remaining());
        let mut read = ReadBuf::new(scratch.get_mut(..room).unwrap_or_default());
        ready!(Pin::new(&mut *self.0.stream.borrow_mut()).poll_read(cx, &mut read))?;
        self.0.since.set(self.0.clock().now());
        self.0.pace.passed(read.filled().len());
        self.0.read.set(self.0.read.get() + read.filled().len());
        buffer.put_slice(read.filled());
        Poll::Ready(self.0.note_frames(read.filled()))
    }
}

impl hyper::rt::Write for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut *self.0.stream.borrow_mut()).poll_write(cx, bytes);
        self.0.note_sent(&poll, [bytes]);
        poll
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut *self.0.stream.borrow_mut()).poll_flush(cx);
        self.0.note_write(&poll);
        poll
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.stream.borrow_mut()).poll_shutdown(cx)
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
        self.0.note_sent(&poll, slices.iter().map(|slice| &**slice));
        poll
    }
}

/// Serves a connection from its preface, of which `prefix` may have been read already, to its end.
pub async fn run(shard: Rc<Shard>, stream: Stream, peer: Rc<Peer>, prefix: Bytes) {
    shard.worker.counters.connections_h2.add();
    let conn = Rc::new(Conn {
        peer,
        stream: RefCell::new(stream),
        prefix: RefCell::new(prefix),
        requests: RefCell::default(),
        newest: RefCell::default(),
        newest_tunnel: RefCell::default(),
        since: Cell::new(shard.worker.clock.now()),
        served: Cell::new(false),
        write_since: Cell::new(None),
        ending: Cell::new(None),
        draining: Cell::new(None),
        cut: Cell::new(false),
        frames: RefCell::new(Frames::of_client(&shard.worker.clock)),
        earned: Rc::default(),
        flood: Cell::new(None),
        paused: Cell::new(false),
        pace: Pace::new(&shard.worker.clock),
        read: Cell::new(0),
        waker: RefCell::default(),
        shard: shard.clone(),
    });
    if shard.draining.get() {
        conn.end();
    }
    let _listed = shard.list(conn.clone());
    let service = service_fn(|mut request: Request<Incoming>| {
        let worker = conn.shard.worker.clone();
        let (client, admitted) = conn.begin(&request);
        let upgrade = (*request.method() == Method::CONNECT)
            .then(|| (conn.clone(), client.clone(), hyper::upgrade::on(&mut request)));
        // What is refused is let go of at once: many come at a time, and their tasks later.
        let full = matches!(admitted, Err(ProxyError::ConnectionFull));
        let request = (!full).then_some(request);
        async move {
            let Some(request) = request else {
                // The client may send it again: nothing was done with it (RFC 9113, section 8.7).
                return Err(h2::Error::from(h2::Reason::REFUSED_STREAM));
            };
            match admitted {
                Ok(None) => {}
                Ok(Some(turn)) => Box::pin(turn.comes(&client)).await,
                Err(error) => return Ok(proxy::refuse(&worker, &client, &request, error)),
            }
            let earned = client.earned.clone();
            // Boxed, so that a stream that is refused takes little.
            let request = request.map(RequestBody::Http2);
            let Ok(mut reply) = Box::pin(proxy::respond(worker, client, request)).await;
            if let Some(earned) = earned {
                earned.head();
            }
            if let Some((conn, client, upgrade)) = upgrade
                && let Some(exchange) = reply.body_mut().take_tunnel()
            {
                conn.carry(client, upgrade, exchange);
            }
            Ok(reply)
        }
    });
    let head_bytes = u32::try_from(shard.limits.head_bytes).unwrap_or(u32::MAX);
    let hyper = http2::Builder::new(OnShard(conn.clone()))
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(shard.http2_window())
        // As much as all streams may take together, so that uploads which no pod reads hold up no other's.
        .initial_connection_window_size(shard.http2_connection_window())
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(head_bytes)
        // Else the h2 crate would end a connection for fewer at once than are allowed here in a while.
        .max_pending_accept_reset_streams(RESETS as usize)
        // Counted over the life of a connection, where a balancer's is shared by many people; `frames` counts by time.
        .max_local_error_reset_streams(PROVOKED_IN_A_LIFE)
        .enable_connect_protocol()
        .serve_connection(Io(conn.clone()), service);
    let mut hyper = Box::pin(hyper);
    let mut told = false;
    let result = poll_fn(|cx| {
        conn.waker.replace(Some(cx.waker().clone()));
        conn.read.set(0);
        if conn.cut.get() {
            return Poll::Ready(Ok(()));
        }
        if conn.ending.get().is_some() && !std::mem::replace(&mut told, true) {
            hyper.as_mut().graceful_shutdown();
        }
        hyper.as_mut().poll(cx)
    })
    .await;
    if let Err(error) = result {
        tracing::debug!(peer = %conn.peer.socket, %error, "an HTTP/2 connection broke off");
    }
    // Its streams end with it.
    drop(hyper);
    if conn.flood.get().is_some() {
        let _ = tokio::time::timeout(Duration::from_secs(1), calm(&conn)).await;
    }
    // Says goodbye where TLS wants that; a connection that is gone already cannot hear it.
    let last = poll_fn(|cx| Pin::new(&mut *conn.stream.borrow_mut()).poll_shutdown(cx));
    let _ = tokio::time::timeout(Duration::from_secs(1), last).await;
}

/// Tells a client that sends too many frames why its connection ends.
#[expect(
    clippy::await_holding_refcell_ref,
    reason = "hyper, the only other borrower, is gone by now"
)]
async fn calm(conn: &Conn) -> io::Result<()> {
    let mut stream = conn.stream.borrow_mut();
    let Some(goodbye) = conn.frames.borrow().goodbye() else {
        return Ok(());
    };
    stream.write_all(&goodbye).await?;
    stream.shutdown().await?;
    let (mut sink, mut left) = ([0; 4096], LAST_BYTES);
    while left > 0 {
        match stream.read(&mut sink).await? {
            0 => break,
            count => left = left.saturating_sub(count),
        }
    }
    Ok(())
}
