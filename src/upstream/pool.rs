//! Connections to one endpoint: kept, found again, thrown away.

use super::clock::{Clock, Tick};
use super::h2;
use super::lost::{self, Watchful};
use super::stream::Stream;
use super::tls;
use crate::table::BackendTls;
use bytes::Bytes;
use futures_util::future::Either;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use hyper_util::rt::TokioIo;
use rustix::io::Errno;
use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::AbortHandle;

/// A connection's part of [`Sockets`], until dropped.
pub type Socket = OwnedSemaphorePermit;

/// How to connect and how long to keep.
#[derive(Clone, Debug)]
pub struct PoolSettings {
    /// How long a connect may take.
    pub connect_timeout: Duration,
    /// How long an idle connection is kept: below what common servers keep (Node.js: 5 s).
    pub idle_timeout: Duration,
    /// Connections there may be, idle or not, in the whole process: file descriptors that clients leave.
    pub sockets: Sockets,
    /// How many idle connections are kept per endpoint and shard.
    pub max_idle: usize,
    /// The largest response head, in bytes.
    pub max_response_head: usize,
}

/// Connections to pods there may be, and how many there are.
#[derive(Clone, Debug)]
pub struct Sockets {
    free: Arc<Semaphore>,
    most: usize,
}

impl Sockets {
    /// So many, and none of them open.
    pub fn new(most: usize) -> Self {
        let most = most.min(Semaphore::MAX_PERMITS);
        let free = Arc::new(Semaphore::new(most));
        Self { free, most }
    }

    /// How many are open, or being opened.
    pub fn open(&self) -> usize {
        self.most.saturating_sub(self.free.available_permits())
    }

    /// One more, if there may be.
    fn take(&self) -> io::Result<Socket> {
        let socket = self.free.clone().try_acquire_owned();
        socket.map_err(|_| io::Error::from(Errno::MFILE))
    }
}

/// A place for one request.
pub enum Connection<B> {
    /// A connection of its own.
    Http1(Http1<B>),
    /// A stream of one it shares.
    Http2(h2::Stream<B>),
}

/// What comes of a request: the response, or hyper's error, with the request if nothing of it was sent.
pub type Sent<B> = Result<Response<Incoming>, TrySendError<Request<B>>>;

impl<B> Connection<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Whether requests were served on it before: then its end may be a keep-alive race.
    pub fn reused(&self) -> bool {
        match self {
            Connection::Http1(connection) => connection.reused,
            Connection::Http2(stream) => stream.reused,
        }
    }

    /// Sends the one request. The future does not hold it, so that it is not moved along.
    pub fn send(&mut self, request: Request<B>) -> impl Future<Output = Sent<B>> + use<B> {
        match self {
            Connection::Http1(connection) => {
                connection
                    .long
                    .set(connection.upgrade.get() || !request.body().is_end_stream());
                Either::Left(connection.sender.try_send_request(request))
            }
            Connection::Http2(stream) => Either::Right(stream.sender().try_send_request(request)),
        }
    }
}

/// One HTTP/1.1 connection to an endpoint, free for one request.
pub struct Http1<B> {
    /// Where requests go in.
    pub sender: http1::SendRequest<B>,
    /// Whether it has served a request before: then its end may be a keep-alive race.
    pub reused: bool,
    upgrade: Rc<Cell<bool>>,
    /// Whether what is sent may be more than fits into a window.
    long: Rc<Cell<bool>>,
    upgraded: oneshot::Receiver<Upgraded>,
    task: AbortHandle,
}

/// A connection that speaks another protocol now, with what was read of it already.
pub struct Upgraded {
    /// The connection.
    pub stream: Stream,
    /// Its first bytes.
    pub read: Bytes,
    /// Its file descriptor.
    pub socket: Socket,
}

impl<B> Http1<B> {
    /// The next request may change the protocol (RFC 9110, section 7.8).
    pub fn expect_upgrade(&self) {
        self.upgrade.set(true);
    }

    /// The connection itself after an expected 101; absent if it ended instead.
    pub async fn upgraded(&mut self) -> Option<Upgraded> {
        (&mut self.upgraded).await.ok()
    }
}

impl<B> Drop for Http1<B> {
    /// Closes it at once. Its task would go on sending an upload that nobody waits for, or stick in one that the pod
    /// does not take.
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Idle<B> {
    connection: Http1<B>,
    since: Tick,
}

/// The idle connections of one endpoint, the last used first.
pub struct Pool<B> {
    idle: RefCell<Vec<Idle<B>>>,
}

impl<B> Default for Pool<B> {
    fn default() -> Self {
        Self {
            idle: RefCell::default(),
        }
    }
}

impl<B> Pool<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// The idle connection that was used last and still lives.
    pub async fn take(&self, clock: &Clock, settings: &PoolSettings) -> Option<Http1<B>> {
        loop {
            let idle = self.idle.borrow_mut().pop()?;
            let connection = idle.connection;
            if connection.sender.is_closed() || clock.passed(idle.since, settings.idle_timeout) {
                continue;
            }
            // Its task may not have come round yet since the last response ended. Longer is not waited: a pod that
            // answered early may still not take the rest of its request.
            if !connection.sender.is_ready() {
                tokio::task::yield_now().await;
            }
            if connection.sender.is_ready() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection whose response has been read to its end.
    pub fn put(&self, mut connection: Http1<B>, clock: &Clock, settings: &PoolSettings) {
        let mut idle = self.idle.borrow_mut();
        if !connection.sender.is_closed() && idle.len() < settings.max_idle {
            connection.reused = true;
            connection.upgrade.set(false);
            let since = clock.now();
            idle.push(Idle { connection, since });
        }
    }

    /// Closes what has been idle too long.
    pub fn sweep(&self, clock: &Clock, settings: &PoolSettings) {
        self.idle
            .borrow_mut()
            .retain(|idle| !idle.connection.sender.is_closed() && !clock.passed(idle.since, settings.idle_timeout));
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.idle.borrow().len()
    }

    /// Closes all.
    pub fn clear(&self) {
        self.idle.borrow_mut().clear();
    }
}

/// Whether a connect failed because this machine lacks something (descriptors, ports, memory), which says nothing
/// about the endpoint.
pub fn is_local(error: &io::Error) -> bool {
    let lacking = [
        Errno::MFILE,
        Errno::NFILE,
        Errno::ADDRNOTAVAIL,
        Errno::NOMEM,
        Errno::NOBUFS,
    ];
    error
        .raw_os_error()
        .is_some_and(|code| lacking.iter().any(|lacking| lacking.raw_os_error() == code))
}

/// How a connection to an endpoint is opened.
pub struct Dial<'d> {
    /// What holds for all.
    pub settings: &'d PoolSettings,
    /// How long the socket may take.
    pub patience: Duration,
    /// What is sent before anything else: a PROXY header. Such a connection is for one client, and never shared.
    pub prelude: Option<Vec<u8>>,
    /// The TLS that comes next, where it does.
    pub tls: Option<&'d BackendTls>,
    /// The shard's.
    pub clock: &'d Clock,
}

impl Dial<'_> {
    /// Opens a connection to an endpoint, whatever is to be spoken on it.
    ///
    /// # Errors
    /// What the kernel says, `TimedOut`, or what [`tls::shake_hands`] says.
    pub async fn open(&self, address: SocketAddr) -> io::Result<(Stream, Socket)> {
        let socket = self.settings.sockets.take()?;
        let mut stream = tokio::time::timeout(self.patience, TcpStream::connect(address))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        stream.set_nodelay(true)?;
        lost::notice(&stream)?;
        if let Some(prelude) = &self.prelude {
            // It fits into the socket's buffer, so nobody waits.
            stream.write_all(prelude).await?;
        }
        let stream = match self.tls {
            None => Stream::Plain(stream),
            Some(tls) => tls::shake_hands(stream, tls).await?,
        };
        Ok((stream, socket))
    }
}

/// Opens a connection. Its task runs on the present shard until either side closes it.
///
/// # Errors
/// What the kernel says, or `TimedOut`.
pub async fn connect<B>(address: SocketAddr, dial: &Dial<'_>) -> io::Result<Http1<B>>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let ((stream, socket), settings) = (dial.open(address).await?, dial.settings);
    let long = Rc::new(Cell::new(false));
    let (sender, mut connection) = http1::Builder::new()
        .max_buf_size(settings.max_response_head.max(64 << 10))
        .max_header_size(settings.max_response_head)
        .max_headers(256)
        // A proxy takes the blank away (RFC 9112, section 5.1).
        .allow_spaces_after_header_name_in_responses(true)
        .handshake(TokioIo::new(Watchful::new(stream, long.clone())))
        .await
        .map_err(io::Error::other)?;
    let upgrade = Rc::new(Cell::new(false));
    let (hand_over, upgraded) = oneshot::channel();
    let wanted = upgrade.clone();
    let task = tokio::task::spawn_local(async move {
        // Its errors reach the request that was under way; an idle one has nobody to tell.
        let ended = (&mut connection).await;
        if ended.is_ok() && wanted.get() {
            let parts = connection.into_parts();
            let (stream, read) = (parts.io.into_inner().into_inner(), parts.read_buf);
            let _ = hand_over.send(Upgraded { stream, read, socket });
        }
    });
    Ok(Http1 {
        sender,
        reused: false,
        upgrade,
        long,
        upgraded,
        task: task.abort_handle(),
    })
}
