//! HTTP/2 connections to one endpoint: each carries many requests, and there are as many as those need.

use super::lost;
use super::pool::Dial;
use super::tls::Fault;
use bytes::Bytes;
use http_body::Body;
use hyper::client::conn::http2;
use hyper_util::rt::TokioIo;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Waker;
use tokio::sync::{Semaphore, oneshot};

/// Requests at once on one connection, if the endpoint allows as many (RFC 9113, section 6.5.2 advises 100 at least).
const MAX_STREAMS: usize = 100;
/// What hyper takes for the endpoint's limit until that is known; no limit anybody sets.
const UNKNOWN: usize = 12_345;
/// Bytes of one response that may come before they are asked for, and of all of a connection: as many as all streams
/// may take together, so that a client that does not read holds up no other's response.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * 100;

/// One connection, for as long as the pool or a request holds it.
struct Shared<B> {
    sender: http2::SendRequest<B>,
    streams: Cell<usize>,
    /// How many streams the endpoint allows.
    limit: Rc<Cell<usize>>,
}

impl<B> Shared<B> {
    fn has_room(&self) -> bool {
        !self.sender.is_closed() && self.streams.get() < self.limit.get().min(MAX_STREAMS)
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
}

/// Why no connection could be opened, for those who waited for it.
struct Failure(io::ErrorKind, Option<Fault>);

impl Failure {
    fn of(error: &io::Error) -> Self {
        Self(error.kind(), Fault::of(error).cloned())
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
    failure: RefCell<Option<Failure>>,
}

impl<B> Default for H2Pool<B> {
    fn default() -> Self {
        Self {
            connections: RefCell::default(),
            connecting: Semaphore::new(1),
            failures: Cell::new(0),
            failure: RefCell::default(),
        }
    }
}

impl<B> H2Pool<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// A connection with room for one more request.
    pub fn find(&self) -> Option<Stream<B>> {
        let mut connections = self.connections.borrow_mut();
        connections.retain(|shared| !shared.sender.is_closed());
        // The first with room, so that those opened for a rush empty and can be closed.
        let shared = connections.iter().find(|shared| shared.has_room())?;
        Some(Stream::new(shared.clone(), true))
    }

    /// Finds a connection with room, or opens one. Who comes while one is being opened waits for that, and fails with
    /// it too.
    ///
    /// # Errors
    /// What the kernel says, `TimedOut`, or `InvalidData` from an endpoint that does not speak HTTP/2.
    pub async fn take(&self, address: SocketAddr, dial: &Dial<'_>) -> io::Result<Stream<B>> {
        if let Some(stream) = self.find() {
            return Ok(stream);
        }
        let before = self.failures.get();
        let _turn = self.connecting.acquire().await;
        if let Some(stream) = self.find() {
            return Ok(stream);
        }
        if let (true, Some(failure)) = (self.failures.get() != before, &*self.failure.borrow()) {
            return Err(failure.error());
        }
        match connect(address, dial).await {
            Ok(shared) => {
                let shared = Rc::new(shared);
                self.connections.borrow_mut().push(shared.clone());
                Ok(Stream::new(shared, false))
            }
            Err(error) => {
                self.failures.set(self.failures.get().wrapping_add(1));
                self.failure.replace(Some(Failure::of(&error)));
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
            !shared.sender.is_closed() && (!idle || !std::mem::replace(&mut kept, true))
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
    lost::share(stream.tcp())?;
    let tasks = OnShard::default();
    let head_bytes = u32::try_from(settings.max_response_head).unwrap_or(u32::MAX);
    let (sender, mut connection) = http2::Builder::new(tasks.clone())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(head_bytes)
        .initial_max_send_streams(UNKNOWN)
        .handshake(TokioIo::new(stream))
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
        Ok(Ok(Err(error))) if dial.tls.is_some() => return Err(io::Error::other(Fault::silent_end(&root(&error)))),
        Ok(_) => return Err(io::ErrorKind::InvalidData.into()),
        Err(_) => return Err(io::ErrorKind::TimedOut.into()),
    }
    Ok(Shared {
        sender,
        streams: Cell::new(0),
        limit,
    })
}

/// What is at the bottom of an error.
fn root(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
