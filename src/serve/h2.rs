//! One client connection that speaks HTTP/2 (RFC 9113): over TLS, or in plain by prior knowledge.
//!
//! The h2 crate reads and writes frames and bounds what a client may do with them. Here are the time-outs and the other
//! bounds that it does not have, and a task for each stream.

mod duplex;
mod head;
mod hold;
mod sending;
mod stream;

pub(in crate::serve) use duplex::Duplex;
pub use head::check as check_head;

use super::pace::{Pace, Slow};
use super::shard::{Shard, Swept};
use crate::proxy::{Client, Peer, ProxyError, Timeouts};
use crate::table::ListenerId;
use crate::upstream::frames::{Earned, Flood, Frames, PROVOKED_IN_A_LIFE, RESETS};
use crate::upstream::{self, Clock, Tick};
use bytes::{Buf, Bytes};
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream};
use http::{Method, Request};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;
use stream::{Stream, length};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

/// Requests at once on one connection (nginx: 128, Envoy's advice: 100).
const MAX_STREAMS: u32 = 100;
/// Bytes of one reply that the client's windows admit and that wait for its connection.
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
    socket: RefCell<upstream::Stream>,
    /// Bytes that were read before it was known that this is HTTP/2.
    prefix: RefCell<Bytes>,
    /// Requests under way; those that ended are swept away.
    requests: RefCell<Vec<Weak<Client>>>,
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

    /// A stream begins: it is refused, or has a task of its own from now on.
    fn begin(self: &Rc<Self>, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        let is_connect = *request.method() == Method::CONNECT;
        if is_connect && length(request.headers()).is_some_and(|length| length > 0) {
            // A tunnel has no content (RFC 9110, section 9.3.6). What is sent is counted where it is written.
            return respond.send_reset(Reason::PROTOCOL_ERROR);
        }
        let client = Rc::new(Client::multiplexed(self.peer.clone(), self.earned.clone()));
        client
            .wait
            .uploads(!is_connect && !request.body().is_end_stream(), self.clock());
        self.served.set(true);
        let checked = head::check(&request, &self.shard.limits);
        let admitted = checked.and_then(|()| self.admit(&client, &request));
        if let Err(ProxyError::ConnectionFull) = admitted {
            self.note_refused(ProxyError::ConnectionFull, "its connection holds too much");
            // The client may send it again: nothing was done with it (RFC 9113, section 8.7).
            return respond.send_reset(Reason::REFUSED_STREAM);
        }
        self.requests.borrow_mut().push(Rc::downgrade(&client));
        let stream = Stream::new(self.clone(), client.clone(), request, respond, admitted);
        client.wait.set_task(tokio::task::spawn_local(stream).abort_handle());
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
                "an HTTP/2 client sends too many frames: closing its connection with ENHANCE_YOUR_CALM"
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
    fn sweep(&self, timeouts: &Timeouts) {
        let clock = self.clock();
        self.pace.look(clock);
        let mut requests = self.requests.borrow_mut();
        requests.retain(|request| request.strong_count() > 0);
        self.sweep_held(&requests);
        for client in requests.iter().filter_map(Weak::upgrade) {
            client.wait.check(clock, timeouts);
            if client.wait.check_stream(clock, timeouts) {
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

    fn listener(&self) -> Option<ListenerId> {
        Some(self.peer.listener)
    }

    fn peer(&self) -> Option<&Peer> {
        Some(&self.peer)
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
            .filter(|_| clients.all(|client| client.wait.keeps_waiting()))?;
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

/// What the h2 crate reads from and writes to.
struct Io(Rc<Conn>);

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let conn = &self.0;
        if conn.is_paused() {
            return Poll::Pending;
        }
        if conn.read.get() >= READ_AT_ONCE {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut prefix = conn.prefix.borrow_mut();
        if !prefix.is_empty() {
            let length = prefix.remaining().min(buffer.remaining());
            let prefix = prefix.split_to(length);
            buffer.put_slice(&prefix);
            return Poll::Ready(conn.note_frames(&prefix));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut *conn.socket.borrow_mut()).poll_read(cx, buffer))?;
        let read = buffer.filled().get(before..).unwrap_or_default();
        conn.since.set(conn.clock().now());
        conn.pace.passed(read.len());
        conn.read.set(conn.read.get() + read.len());
        Poll::Ready(conn.note_frames(read))
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut *self.0.socket.borrow_mut()).poll_write(cx, bytes);
        self.0.note_sent(&poll, [bytes]);
        poll
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut *self.0.socket.borrow_mut()).poll_flush(cx);
        self.0.note_write(&poll);
        poll
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.socket.borrow_mut()).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut *self.0.socket.borrow_mut()).poll_write_vectored(cx, slices);
        self.0.note_sent(&poll, slices.iter().map(|slice| &**slice));
        poll
    }
}

/// Serves a connection from its preface, of which `prefix` may have been read already, to its end.
pub async fn run(shard: Rc<Shard>, socket: upstream::Stream, peer: Rc<Peer>, prefix: Bytes) {
    shard.worker.counters.connections_h2.add();
    let conn = Rc::new(Conn {
        peer,
        socket: RefCell::new(socket),
        prefix: RefCell::new(prefix),
        requests: RefCell::default(),
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
    if shard.is_leaving(conn.peer.listener, Some(&conn.peer)) {
        conn.end();
    }
    let _listed = shard.list(conn.clone());
    let mut serving = Box::pin(serve(&conn));
    let result = poll_fn(|cx| {
        conn.waker.replace(Some(cx.waker().clone()));
        conn.read.set(0);
        if conn.cut.get() {
            return Poll::Ready(Ok(()));
        }
        serving.as_mut().poll(cx)
    })
    .await;
    if let Err(error) = result {
        tracing::debug!(peer = %conn.peer.socket, %error, "an HTTP/2 connection broke off");
    }
    // Its streams end with it.
    drop(serving);
    if conn.flood.get().is_some() {
        let _ = tokio::time::timeout(Duration::from_secs(1), calm(&conn)).await;
    }
    // Says goodbye where TLS wants that; a connection that is gone already cannot hear it.
    let last = poll_fn(|cx| Pin::new(&mut *conn.socket.borrow_mut()).poll_shutdown(cx));
    let _ = tokio::time::timeout(Duration::from_secs(1), last).await;
}

/// Has the h2 crate read and write, until nothing is left to do.
async fn serve(conn: &Rc<Conn>) -> Result<(), h2::Error> {
    let limits = &conn.shard.limits;
    let head_bytes = u32::try_from(limits.head_bytes).unwrap_or(u32::MAX);
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(MAX_STREAMS)
        .initial_window_size(conn.shard.http2_window())
        // As much as all streams may take together, so that uploads which no pod reads hold up no other's.
        .initial_connection_window_size(conn.shard.http2_connection_window())
        .max_send_buffer_size(SEND_BUFFER)
        .max_header_list_size(head_bytes)
        // Else the h2 crate would end a connection for fewer at once than are allowed here in a while.
        .max_pending_accept_reset_streams(RESETS as usize)
        // Counted over the life of a connection, where a balancer's is shared by many people; `frames` counts by time.
        .max_local_error_reset_streams(Some(PROVOKED_IN_A_LIFE))
        .enable_connect_protocol();
    let mut connection = builder.handshake::<_, Bytes>(Io(conn.clone())).await?;
    let mut told = false;
    poll_fn(|cx| {
        if conn.ending.get().is_some() && !std::mem::replace(&mut told, true) {
            connection.graceful_shutdown();
        }
        while let Some(stream) = ready!(connection.poll_accept(cx)) {
            let (request, respond) = stream?;
            conn.begin(request, respond);
        }
        Poll::Ready(Ok(()))
    })
    .await
}

/// Tells a client that sends too many frames why its connection ends.
#[expect(
    clippy::await_holding_refcell_ref,
    reason = "the h2 crate, the only other borrower, is gone by now"
)]
async fn calm(conn: &Conn) -> io::Result<()> {
    let mut stream = conn.socket.borrow_mut();
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
