//! Connections to one endpoint: kept, found again, thrown away.

use super::clock::{Clock, Tick};
use super::h2;
use super::http1::Http1;
use super::lost;
#[cfg(test)]
use super::simulated;
use super::stream::Stream;
use super::tls;
use crate::message::Buffers;
use crate::table::BackendTls;
use bytes::Bytes;
use http_body::Body;
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SendFlags, SocketFlags, SocketType};
use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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
    Http1(Box<Http1<B>>),
    /// A stream of one it shares.
    Http2(h2::Stream<B>),
}

impl<B> Connection<B> {
    /// Whether requests were served on it before: then its end may be a keep-alive race.
    pub fn reused(&self) -> bool {
        match self {
            Connection::Http1(connection) => connection.reused,
            Connection::Http2(stream) => stream.reused,
        }
    }
}

struct Idle<B> {
    connection: Box<Http1<B>>,
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
    pub fn take(&self, clock: &Clock, settings: &PoolSettings) -> Option<Box<Http1<B>>> {
        let mut idle = self.idle.borrow_mut();
        while let Some(mut last) = idle.pop() {
            if last.may_serve(clock, settings) {
                return Some(last.connection);
            }
        }
        None
    }

    /// Keeps a connection whose response has been read to its end, if it may be used again.
    pub fn put(&self, mut connection: Box<Http1<B>>, clock: &Clock, settings: &PoolSettings) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < settings.max_idle && connection.rest() {
            let since = clock.now();
            idle.push(Idle { connection, since });
        }
    }

    /// Closes what has been idle too long, and what its pod has closed.
    pub fn sweep(&self, clock: &Clock, settings: &PoolSettings) {
        self.idle
            .borrow_mut()
            .retain_mut(|idle| idle.may_serve(clock, settings));
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

impl<B> Idle<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn may_serve(&mut self, clock: &Clock, settings: &PoolSettings) -> bool {
        !clock.passed(self.since, settings.idle_timeout) && self.connection.is_quiet()
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
    /// What is sent before anything else, such as a PROXY header; not empty. Such a connection is for one client, and never shared.
    pub prelude: Option<Vec<u8>>,
    /// The TLS that comes next, where it does.
    pub tls: Option<&'d BackendTls>,
    /// Whether the caller has the kernel notice a pod that is gone, later: see [`lost::notice`].
    pub notices_later: bool,
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
        #[cfg(test)]
        if let Some(dialling) = simulated::dial(address) {
            let end = tokio::time::timeout(self.patience, dialling)
                .await
                .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            return Ok((Stream::Simulated(end), socket));
        }
        let stream = tokio::time::timeout(self.patience, self.connect(address))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        if !self.notices_later {
            lost::notice(&stream)?;
        }
        let stream = match self.tls {
            None => Stream::Plain(stream),
            Some(tls) => tls::shake_hands(stream, tls).await?,
        };
        Ok((stream, socket))
    }

    /// A socket that is connected, on which what comes first is sent.
    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let Some(prelude) = &self.prelude else {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            return Ok(stream);
        };
        let (mut stream, sent) = begin(address, prelude)?;
        if sent == 0 {
            stream.writable().await?;
            if let Some(error) = stream.take_error()? {
                return Err(error);
            }
        }
        if let Some(rest) = prelude.get(sent..).filter(|rest| !rest.is_empty()) {
            // It fits into the socket's buffer, so nobody waits.
            stream.write_all(rest).await?;
        }
        Ok(stream)
    }
}

/// Begins to connect, and sends `first` if the pod has answered by then, as one on this node has: the runtime would notice that only a
/// turn later. How many bytes were sent: none where the connection is still being opened.
fn begin(address: SocketAddr, first: &[u8]) -> io::Result<(TcpStream, usize)> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = net::socket_with(family, SocketType::STREAM, flags, None)?;
    net::sockopt::set_tcp_nodelay(&socket, true)?;
    match net::connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    let sent = match net::send(&socket, first, SendFlags::NOSIGNAL) {
        Ok(sent) => sent,
        Err(Errno::AGAIN) => 0,
        Err(error) => return Err(error.into()),
    };
    Ok((TcpStream::from_std(socket.into())?, sent))
}

/// Opens a connection.
///
/// # Errors
/// What the kernel says, or `TimedOut`.
pub async fn connect<B>(address: SocketAddr, dial: &Dial<'_>, buffers: &Rc<Buffers>) -> io::Result<Box<Http1<B>>>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (stream, socket) = dial.open(address).await?;
    let connection = Http1::new(stream, socket, dial.settings.max_response_head, buffers);
    Ok(Box::new(connection))
}
