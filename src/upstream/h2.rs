//! HTTP/2 connections to one endpoint: each carries many requests, and there are as many as those need.

use super::clock::Clock;
use super::frames::{Earned, Frames, PROVOKED_IN_A_LIFE};
use super::lost;
use super::pool::Dial;
use super::stream::Stream as Bytestream;
use super::tls::HandshakeError;
use bytes::Bytes;
use http_body::Body;
use hyper::client::conn::http2;
use hyper_util::rt::TokioIo;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Semaphore, oneshot};

/// Requests at once on one connection, if the endpoint allows as many (RFC 9113, section 6.5.2 advises 100 at least).
const MAX_STREAMS: usize = 100;
/// What hyper takes for the endpoint's limit until that is known; no limit anybody sets.
const UNKNOWN: usize = 12_345;
/// Bytes of one response that may come before they are asked for.
const STREAM_WINDOW: u32 = 64 << 10;
/// And of all of a connection: more than all streams may take together, so that a client that does not read holds up no
/// other's response. How much more decides how many small frames may wait to be read before the h2 crate gives up the
/// connection: it charges each frame below 256 bytes by what it lacks, up to half of this. So there may be some 200,000.
const CONNECTION_WINDOW: u32 = 100 << 20;
/// With so much charged, no more requests are sent on a connection: some of those it has are not read.
const RISK: u64 = 2 << 20;
/// Streams that were reset are remembered, for what was under way on them is no fault.
const RESET_STREAMS: usize = 1000;

/// One connection, for as long as the pool or a request holds it.
struct Shared<B> {
    sender: http2::SendRequest<B>,
    streams: Cell<usize>,
    /// How many streams the endpoint allows.
    limit: Rc<Cell<usize>>,
    /// How many it has shown to allow, by refusing one more.
    learned: Cell<usize>,
    /// Whether it takes no more streams, or its one request is to have no neighbours.
    closed: Cell<bool>,
    earned: Rc<Earned>,
}

impl<B> Shared<B> {
    fn has_room(&self) -> bool {
        !self.closed.get()
            && !self.sender.is_closed()
            && self.streams.get() < self.limit.get().min(self.learned.get())
            && self.earned.small.get() < RISK
    }
}

/// One request's part of a connection.
pub struct Stream<B> {
    shared: Rc<Shared<B>>,
    /// Whether the connection has served a request before.
    pub reused: bool,
}

impl<B> Drop for Stream<B> {
    fn drop(&mut self) {
        let streams = &self.shared.streams;
        streams.set(streams.get().saturating_sub(1));
        if streams.get() == 0 {
            // What was not read of them is gone with them.
            self.shared.earned.small.set(0);
        }
    }
}

impl<B> Stream<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn new(shared: Rc<Shared<B>>, reused: bool) -> Self {
        shared.streams.set(shared.streams.get() + 1);
        Self { shared, reused }
    }

    /// Where its request goes in.
    pub fn sender(&self) -> http2::SendRequest<B> {
        self.shared.sender.clone()
    }

    /// A piece of the response was read.
    pub fn read(&self, length: usize) {
        self.shared.earned.read(length);
    }

    /// The endpoint has refused this stream, unprocessed: for now it takes fewer than these.
    pub fn refused(&self) {
        let fewer = self.shared.streams.get().saturating_sub(1).max(1);
        self.shared.learned.set(self.shared.learned.get().min(fewer));
    }

    /// The connection takes no more requests.
    pub fn retire(&self) {
        self.shared.closed.set(true);
    }
}

/// Why no connection could be opened, for those who waited for it.
struct ConnectError(io::ErrorKind, Option<HandshakeError>);

impl ConnectError {
    fn of(error: &io::Error) -> Self {
        Self(error.kind(), HandshakeError::of(error).cloned())
    }

    fn error(&self) -> io::Error {
        match &self.1 {
            Some(fault) => io::Error::other(fault.clone()),
            None => self.0.into(),
        }
    }
}

/// The connections to one endpoint.
pub struct H2Pool<B> {
    connections: RefCell<Vec<Rc<Shared<B>>>>,
    /// One connects, and the others wait for what comes of it.
    connecting: Semaphore,
    failures: Cell<u32>,
    failure: RefCell<Option<ConnectError>>,
    /// Whether the endpoint has sent what ended a whole connection.
    faulty: Cell<bool>,
}

impl<B> Default for H2Pool<B> {
    fn default() -> Self {
        Self {
            connections: RefCell::default(),
            connecting: Semaphore::new(1),
            failures: Cell::new(0),
            failure: RefCell::default(),
            faulty: Cell::new(false),
        }
    }
}

impl<B> H2Pool<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// A connection with room for one more request. One that is `unsafe_to_repeat` has no neighbours at an endpoint whose
    /// faults have ended whole connections.
    pub fn find(&self, unsafe_to_repeat: bool) -> Option<Stream<B>> {
        let mut connections = self.connections.borrow_mut();
        connections.retain(|shared| !shared.sender.is_closed());
        let alone = unsafe_to_repeat && self.faulty.get();
        // The first with room, so that those opened for a rush empty and can be closed.
        let shared = connections
            .iter()
            .find(|shared| shared.has_room() && (!alone || shared.streams.get() == 0))?;
        Some(self.begin(shared, unsafe_to_repeat, true))
    }

    fn begin(&self, shared: &Rc<Shared<B>>, unsafe_to_repeat: bool, reused: bool) -> Stream<B> {
        if unsafe_to_repeat && self.faulty.get() {
            shared.closed.set(true);
        }
        Stream::new(shared.clone(), reused)
    }

    /// The endpoint has sent what ended a whole connection, with all requests on it.
    pub fn note_fault(&self) {
        self.faulty.set(true);
    }

    /// Finds a connection with room, or opens one. Who comes while one is being opened waits for that, and fails with
    /// it too.
    ///
    /// # Errors
    /// What the kernel says, `TimedOut`, or `InvalidData` from an endpoint that does not speak HTTP/2.
    pub async fn take(&self, address: SocketAddr, dial: &Dial<'_>, unsafe_to_repeat: bool) -> io::Result<Stream<B>> {
        if let Some(stream) = self.find(unsafe_to_repeat) {
            return Ok(stream);
        }
        let before = self.failures.get();
        let _turn = self.connecting.acquire().await;
        if let Some(stream) = self.find(unsafe_to_repeat) {
            return Ok(stream);
        }
        if let (true, Some(failure)) = (self.failures.get() != before, &*self.failure.borrow()) {
            return Err(failure.error());
        }
        match connect(address, dial).await {
            Ok(shared) => {
                let shared = Rc::new(shared);
                self.connections.borrow_mut().push(shared.clone());
                Ok(self.begin(&shared, unsafe_to_repeat, false))
            }
            Err(error) => {
                self.failures.set(self.failures.get().wrapping_add(1));
                self.failure.replace(Some(ConnectError::of(&error)));
                Err(error)
            }
        }
    }

    /// Opens a connection that serves one request and no other.
    ///
    /// # Errors
    /// As [`H2Pool::take`].
    pub async fn own(address: SocketAddr, dial: &Dial<'_>) -> io::Result<Stream<B>> {
        let shared = connect(address, dial).await?;
        Ok(Stream::new(Rc::new(shared), false))
    }

    /// Lets go of connections that are closed, and of all but one that nobody uses.
    pub fn sweep(&self) {
        let mut kept = false;
        self.connections.borrow_mut().retain(|shared| {
            let idle = shared.streams.get() == 0;
            let wanted = !idle || (!shared.closed.get() && !std::mem::replace(&mut kept, true));
            // One that refused a stream may have room again.
            shared.learned.set(MAX_STREAMS);
            !shared.sender.is_closed() && wanted
        });
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.connections.borrow().len()
    }

    /// Lets go of those that nobody uses.
    pub fn close_idle(&self) {
        self.connections.borrow_mut().retain(|shared| shared.streams.get() > 0);
    }

    /// Lets go of all; each closes when its last request is done.
    pub fn clear(&self) {
        self.connections.borrow_mut().clear();
    }
}

/// Starts hyper's tasks on the present shard. One of them reads, and nobody else hears of what it reads; so each wakes
/// whoever waits for SETTINGS.
#[derive(Clone, Default)]
struct OnShard(Rc<RefCell<Option<Waker>>>);

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for OnShard {
    fn execute(&self, task: F) {
        let waiting = self.0.clone();
        tokio::task::spawn_local(async move {
            let mut task = pin!(task);
            poll_fn(|cx| {
                let poll = task.as_mut().poll(cx);
                if let Some(waker) = waiting.take() {
                    waker.wake();
                }
                poll
            })
            .await;
        });
    }
}

async fn connect<B>(address: SocketAddr, dial: &Dial<'_>) -> io::Result<Shared<B>>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let ((stream, socket), settings) = (dial.open(address).await?, dial.settings);
    lost::share(&stream)?;
    let tasks = OnShard::default();
    let head_bytes = u32::try_from(settings.max_response_head).unwrap_or(u32::MAX);
    let earned = Rc::<Earned>::default();
    let watched = Watched {
        stream,
        frames: Frames::of_pod(dial.clock),
        earned: earned.clone(),
        clock: dial.clock.clone(),
        address,
    };
    let (sender, mut connection) = http2::Builder::new(tasks.clone())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(head_bytes)
        .initial_max_send_streams(UNKNOWN)
        .max_concurrent_reset_streams(RESET_STREAMS)
        .max_local_error_reset_streams(PROVOKED_IN_A_LIFE)
        .handshake(TokioIo::new(watched))
        .await
        .map_err(io::Error::other)?;
    let limit = Rc::new(Cell::new(UNKNOWN));
    let (known, settings_came) = oneshot::channel();
    let (mut known, shared_limit) = (Some(known), limit.clone());
    tokio::task::spawn_local(async move {
        let _socket = socket;
        // Its errors reach the requests that were under way.
        let ended = poll_fn(|cx| {
            let poll = Pin::new(&mut connection).poll(cx);
            shared_limit.set(connection.current_max_send_streams());
            if shared_limit.get() == UNKNOWN {
                tasks.0.replace(Some(cx.waker().clone()));
            } else if let Some(known) = known.take() {
                let _ = known.send(Ok(()));
            }
            poll
        })
        .await;
        if let Some(known) = known.take() {
            let _ = known.send(ended);
        }
    });
    // Who does not send SETTINGS first speaks something else (RFC 9113, section 3.4), and how many requests the
    // connection takes is known only then.
    match tokio::time::timeout(dial.patience, settings_came).await {
        Ok(Ok(Ok(()))) if limit.get() != UNKNOWN => {}
        // That HTTP/2 is spoken was agreed on in the handshake.
        Ok(Ok(Err(error))) if dial.tls.is_some() => {
            return Err(io::Error::other(HandshakeError::silent_end(&root(&error))));
        }
        Ok(_) => return Err(io::ErrorKind::InvalidData.into()),
        Err(_) => return Err(io::ErrorKind::TimedOut.into()),
    }
    Ok(Shared {
        sender,
        streams: Cell::new(0),
        limit,
        learned: Cell::new(MAX_STREAMS),
        closed: Cell::new(false),
        earned,
    })
}

/// A connection whose frames are counted.
struct Watched {
    stream: Bytestream,
    frames: Frames,
    earned: Rc<Earned>,
    clock: Clock,
    address: SocketAddr,
}

impl Watched {
    fn sent<'b>(&mut self, poll: &Poll<io::Result<usize>>, slices: impl IntoIterator<Item = &'b [u8]>) {
        let Poll::Ready(Ok(written)) = poll else { return };
        let mut left = *written;
        for slice in slices {
            let slice = slice.get(..left).unwrap_or(slice);
            self.frames.sent(slice, &self.earned);
            left -= slice.len();
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        let bytes = buffer.filled().get(before..).unwrap_or_default();
        let Err(flood) = this.frames.read(bytes, &this.earned, &this.clock) else {
            return Poll::Ready(Ok(()));
        };
        tracing::warn!(
            endpoint = %this.address,
            frames = flood.name(),
            "a pod sends too many HTTP/2 frames: closing its connection with ENHANCE_YOUR_CALM"
        );
        // It is not waited for a pod that does not read.
        if let Some(goodbye) = this.frames.goodbye() {
            let _ = Pin::new(&mut this.stream).poll_write(cx, &goodbye)?;
            let _ = Pin::new(&mut this.stream).poll_flush(cx)?;
        }
        Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.sent(&poll, [bytes]);
        poll
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.sent(&poll, slices.iter().map(|slice| &**slice));
        poll
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// What is at the bottom of an error.
fn root(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
