//! One shard: a thread with its own runtime, connections, pools and counters.

mod closing;

use super::connection::{self, Turns};
use super::date::Date;
use super::fresh::Fresh;
use super::h2;
use super::listener::Binding;
use super::pace::Slow;
use super::proxy_protocol::{HeaderError, Opened, ProxyProtocol};
use super::relay;
use super::room::Room;
use super::tls::{Greeted, Passed, Shaken, Tls};
use crate::http1::Limits;
use crate::proxy::{Ends, Peer, Timeouts, Worker};
use crate::table::{Listener, ListenerId, Serves, Slots};
use crate::upstream::{Stream, TICK, Tick};
use bytes::Bytes;
use slab::Slab;
use std::cell::{Cell, Ref, RefCell};
use std::io;
use std::net::{SocketAddr, TcpStream as StdStream};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

/// How long a connection that got the last place may be silent while another waits for it. A client's first bytes come
/// right behind the end of its TCP handshake.
const LAST_SILENT: Duration = Duration::from_millis(100);

/// Bytes read from a client at once. One such buffer serves all connections of a shard.
const SCRATCH: usize = 64 << 10;

/// Where the process stands, as shards see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Serving; counts the tables, so that shards see that there is a new one.
    Serving(u64),
    /// Finishing: connections close with their next reply, those that are idle within this time.
    Draining(Duration),
}

impl Stage {
    /// There is a table of another generation. Whether that matters: a process that ends does not follow tables.
    pub fn follow(&mut self, generation: u64) -> bool {
        let serving = matches!(self, Self::Serving(_));
        if serving {
            *self = Self::Serving(generation);
        }
        serving
    }
}

/// A connection on its way to its shard.
pub struct Accepted {
    /// The socket, not yet known to any runtime.
    pub stream: StdStream,
    /// The other end.
    pub peer: SocketAddr,
    /// The listener it came in by.
    pub listener: Arc<Listener>,
    /// Its place.
    pub place: ConnectionPermit,
}

/// A connection's place on its shard, and its part of `--max-connections`, until dropped.
pub struct ConnectionPermit {
    open: Arc<AtomicUsize>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl ConnectionPermit {
    /// One more of those that `open` counts.
    pub fn new(open: Arc<AtomicUsize>, permit: Option<OwnedSemaphorePermit>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self { open, _permit: permit }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a shard needs to know of the process.
#[derive(Clone)]
pub struct ShardSettings {
    /// Limits of what clients may send.
    pub limits: Limits,
    /// Whether clients that have closed their half of a connection are served as if they had not.
    pub serves_half_closed: bool,
    /// Whether connections begin with a PROXY header.
    pub proxy_protocol: ProxyProtocol,
    /// For HTTPS, where that is listened for.
    pub tls: Option<Arc<Tls>>,
    /// How addresses of listeners that come later are bound.
    pub binding: Binding,
    /// `--http2-stream-window`.
    pub http2_window: u32,
}

/// A connection as the sweeper sees it.
pub trait Swept {
    /// Looks for what takes too long; called every tick.
    fn sweep(&self, timeouts: &Timeouts);

    /// Finishes what is under way and then closes; after `pause` also if nothing is.
    fn drain(&self, pause: Duration);

    /// The listener it came in by, unless it goes on when that is gone.
    fn listener(&self) -> Option<ListenerId> {
        None
    }

    /// Its client, where requests come on it.
    fn peer(&self) -> Option<&Peer> {
        None
    }

    /// Since when nothing is asked of it, where that is so: then it may be closed for another's sake.
    fn idle(&self) -> Option<Tick> {
        None
    }

    /// Whether nothing has come on it yet.
    fn is_silent(&self) -> bool {
        false
    }

    /// Closes it, being idle.
    fn let_go(&self) {}

    /// How many of its requests wait for their client, and how much those hold that have stood still for long.
    fn stuck(&self) -> (usize, usize) {
        (0, 0)
    }

    /// Ends the latter; how many.
    fn end_stuck(&self) -> usize {
        0
    }

    /// Whether its client keeps us waiting, and sends or takes what is waited for too slowly.
    fn slow(&self) -> Option<Slow> {
        None
    }

    /// Closes it, being slow.
    fn cut_short(&self) {}
}

/// A connection's place in the shard's list, until dropped.
pub struct Listed<'s> {
    shard: &'s Shard,
    key: usize,
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.shard.connections.borrow_mut().remove(self.key);
    }
}

/// A shard's state, shared by its tasks.
pub struct Shard {
    /// The road of requests.
    pub worker: Rc<Worker>,
    /// Bounds on what clients may send.
    pub limits: Limits,
    /// Where clients' bytes are read before they are looked at.
    pub scratch: RefCell<Vec<u8>>,
    /// Where bytes are read that tunnels pass on.
    pub passing: Cell<Vec<u8>>,
    /// Futures that answer requests.
    pub turns: Turns,
    /// What replies over HTTP/2 say of the time.
    pub date: Date,
    /// All client connections.
    connections: RefCell<Slab<Rc<dyn Swept>>>,
    /// Whether clients that have closed their half of a connection are served as if they had not.
    pub serves_half_closed: bool,
    /// Whether new connections are to close after what they sent already.
    draining: Cell<bool>,
    /// The listeners that were there when it was last looked for connections whose listener is gone.
    listeners: RefCell<Slots<Listener>>,
    /// The changes of profiles that had been made then: see [`Table::profile_changes`](crate::table::Table::profile_changes).
    profile_changes: Cell<u64>,
    /// Whether there may be such connections.
    orphans: Cell<bool>,
    /// When that began, and how long connections that are idle then are closed over.
    spread: Cell<Option<(Tick, Duration)>>,
    /// One handshake computes at a time: see [`Tls::greet`].
    pub handshake_turn: Semaphore,
    settings: ShardSettings,
    room: Arc<Room>,
    /// What [`Room::wanted`] was when it was last looked at.
    wanted: Cell<u64>,
    /// Bytes of requests over HTTP/2 that have come and pods have not read. Corrected by the sweeper.
    pub unread: Cell<u64>,
}

/// Runs a shard until it is told to stop.
pub async fn run(
    worker: Worker,
    settings: ShardSettings,
    room: Arc<Room>,
    accepted: mpsc::UnboundedReceiver<Accepted>,
    stage: watch::Receiver<Stage>,
) {
    Shard::new(worker, settings, room).run(accepted, stage).await;
}

impl Shard {
    /// A shard without connections.
    pub(super) fn new(worker: Worker, settings: ShardSettings, room: Arc<Room>) -> Rc<Self> {
        Rc::new(Self {
            worker: Rc::new(worker),
            limits: settings.limits,
            scratch: RefCell::new(vec![0; SCRATCH]),
            passing: Cell::default(),
            turns: Turns::default(),
            date: Date::default(),
            connections: RefCell::default(),
            serves_half_closed: settings.serves_half_closed,
            draining: Cell::new(false),
            spread: Cell::new(None),
            listeners: RefCell::default(),
            profile_changes: Cell::new(0),
            orphans: Cell::new(false),
            handshake_turn: Semaphore::new(1),
            settings,
            wanted: Cell::new(room.wanted()),
            room,
            unread: Cell::new(0),
        })
    }

    /// Takes connections, and follows what becomes of the process, until it is told to stop.
    pub(super) async fn run(
        self: Rc<Self>,
        mut accepted: mpsc::UnboundedReceiver<Accepted>,
        mut stage: watch::Receiver<Stage>,
    ) {
        let mut sweeper = tokio::task::spawn_local(sweep(self.clone()));
        loop {
            tokio::select! {
                Some(accepted) = accepted.recv() => self.clone().take(accepted),
                // Without it no time-out would ever come: the process ends, and another begins.
                _ = &mut sweeper => return,
                changed = stage.changed() => {
                    let now = *stage.borrow_and_update();
                    match now {
                        Stage::Serving(_) => {
                            self.worker.upstreams.follow(&self.worker.table(), &self.worker.clock);
                            self.follow_table();
                        }
                        Stage::Draining(spread) => self.drain(spread),
                    }
                    if changed.is_err() {
                        break;
                    }
                }
            }
        }
        sweeper.abort();
    }

    /// Has a connection swept.
    pub fn list(&self, conn: Rc<dyn Swept>) -> Listed<'_> {
        let key = self.connections.borrow_mut().insert(conn);
        Listed { shard: self, key }
    }

    fn take(self: Rc<Self>, accepted: Accepted) {
        self.worker.counters.connections.add();
        // The acceptor has set it non-blocking; what can still fail here is the runtime being out of memory.
        let Ok(stream) = TcpStream::from_std(accepted.stream) else {
            return;
        };
        tokio::task::spawn_local(async move {
            let _place = accepted.place;
            self.begin(stream, accepted.peer, &accepted.listener).await;
        });
    }

    /// Serves a connection: its PROXY header, its TLS, its requests.
    async fn begin(self: Rc<Self>, mut stream: TcpStream, socket: SocketAddr, listener: &Listener) {
        if self.is_stray(&stream, listener) {
            self.worker.counters.strays.add();
            Stream::Plain(stream).reset_when_dropped();
            return;
        }
        let Some((ends, trusted, held)) = self.open(listener, &mut stream, socket).await else {
            return;
        };
        if let Serves::Tcp(to) = &listener.serves {
            // Where it leads may have changed since its socket was opened.
            let now = self.worker.table().listener(listener.id).map(|now| now.serves.clone());
            let to = match now {
                Some(Serves::Tcp(now)) => now,
                _ => to.clone(),
            };
            // Whichever side speaks first, nothing is waited for here.
            let (client, to) = (Stream::Plain(stream), (Passed::connection(to), listener.id));
            return Box::pin(relay::run(self.clone(), client, held.to_vec(), to, ends)).await;
        }
        let begins_with_tls = listener.protocol().begins_with_tls();
        let limit = match &self.settings.tls {
            Some(tls) if begins_with_tls => tls.timeout(),
            _ => self.worker.settings.timeouts.head,
        };
        let fresh = Fresh::new(&self, listener.id, limit);
        let listed = fresh.listed();
        if held.is_empty() && !self.hears_from(&fresh, &stream).await {
            if fresh.is_late() {
                let counters = &self.worker.counters;
                let late = if begins_with_tls {
                    &counters.handshake_failures
                } else {
                    &counters.timeouts
                };
                late.add();
            }
            return;
        }
        // What is large is allocated only now: a silent client would hold it for nothing. The memory of a handshake is given
        // back before what follows it, which may last for days.
        if begins_with_tls {
            let next = Box::pin(self.begin_tls(&fresh, listed, stream, listener, (ends, trusted, held))).await;
            drop(fresh);
            if let Some(next) = next {
                next.await;
            }
            return;
        }
        drop(listed);
        let peer = Rc::new(Peer::new(
            listener.id,
            ends,
            trusted,
            None,
            self.worker.settings.https_port,
        ));
        Box::pin(connection::run(self, Stream::Plain(stream), peer, held)).await;
    }

    /// Whether a connection has come to an address that Gateways have for themselves by a socket for all addresses: no Gateway
    /// that has the address listens on the port.
    fn is_stray(&self, stream: &TcpStream, listener: &Listener) -> bool {
        let gateways = &self.settings.binding.gateways;
        !gateways.is_empty()
            && !gateways.contains(listener.address.ip())
            && stream.local_addr().is_ok_and(|local| gateways.contains(local.ip()))
    }

    /// Waits for a client's first byte. Whether it came in time.
    async fn hears_from(&self, fresh: &Fresh, stream: &TcpStream) -> bool {
        if self.room.is_full() {
            // In a box, as silent connections are to take little memory.
            let spoken = Box::pin(tokio::time::timeout(LAST_SILENT, fresh.speaks(stream))).await;
            if let Ok(spoken) = spoken {
                return spoken;
            }
            if self.room.is_awaited() {
                self.worker.counters.let_go.add();
                return false;
            }
        }
        fresh.speaks(stream).await
    }

    async fn begin_tls(
        self: &Rc<Self>,
        fresh: &Fresh,
        listed: Listed<'_>,
        stream: TcpStream,
        listener: &Listener,
        (ends, trusted, held): (Ends, bool, &'static [u8]),
    ) -> Option<Pin<Box<dyn Future<Output = ()>>>> {
        let tls = self.settings.tls.as_ref()?;
        let peer = ends.client;
        // No TLS begins like a PROXY header, so what is held back is neither.
        let greeted = match held {
            [] => tls.greet(stream, fresh, listener, self).await,
            _ => Err(io::ErrorKind::InvalidData.into()),
        };
        drop(listed);
        match greeted {
            Ok(Greeted::Passed { stream, bytes, to }) => {
                let client = Stream::Plain(stream);
                Some(Box::pin(relay::run(
                    self.clone(),
                    client,
                    bytes,
                    (to, listener.id),
                    ends,
                )))
            }
            Ok(Greeted::Unwrapped(Shaken { stream, handshake, .. }, to)) => {
                self.worker.counters.handshakes.add();
                // For a PROXY header to the pod.
                let ends = Ends {
                    tls_version: Some(handshake.version.into()),
                    ..ends
                };
                Some(Box::pin(relay::run(
                    self.clone(),
                    stream,
                    Vec::new(),
                    (to, listener.id),
                    ends,
                )))
            }
            Ok(Greeted::Shaken(Shaken { stream, handshake, h2 })) => {
                self.worker.counters.handshakes.add();
                let peer = Rc::new(Peer::new(listener.id, ends, trusted, Some(handshake), None));
                if h2 {
                    Some(Box::pin(h2::run(self.clone(), stream, peer, Bytes::new())))
                } else {
                    Some(Box::pin(connection::run(self.clone(), stream, peer, b"")))
                }
            }
            Err(error) => {
                self.worker.counters.handshake_failures.add();
                tracing::debug!(%peer, %error, "TLS handshake failed");
                None
            }
        }
    }

    /// Between whom a connection is, whether the client is trusted, and what was read that is no PROXY header. None if
    /// it is to be closed.
    async fn open(
        self: &Rc<Self>,
        listener: &Listener,
        stream: &mut TcpStream,
        socket: SocketAddr,
    ) -> Option<(Ends, bool, &'static [u8])> {
        let proxies = &self.worker.settings.trusted_proxies;
        let trusted = proxies.contains(socket.ip());
        let opened = match self.settings.proxy_protocol.may_begin(trusted) {
            Ok(true) => Box::pin(self.read_header(listener.id, stream)).await?,
            Ok(false) => Ok(Opened::PLAIN),
            Err(error) => Err(error),
        };
        match opened {
            Ok(Opened { ends: Some(ends), .. }) => {
                // The balancer is trusted to name its client, which makes the client no proxy.
                let trusted = proxies.contains(ends.client.ip());
                Some((ends, trusted, b""))
            }
            Ok(Opened { ends: None, held }) => {
                let ends = Ends {
                    client: socket,
                    local: local_address(stream, listener)?,
                    tls_version: None,
                    silent_on_tls: false,
                };
                Some((ends, trusted, held))
            }
            Err(error) => {
                if !matches!(error, HeaderError::Closed) {
                    self.worker.counters.proxy_protocol_failures.add();
                }
                tracing::debug!(peer = %socket, %error, "connection closed before its first request");
                None
            }
        }
    }

    /// Waits for a connection's PROXY header. Absent if the connection is closed meanwhile, to make room or because the
    /// process ends.
    async fn read_header(
        self: &Rc<Self>,
        listener: ListenerId,
        stream: &mut TcpStream,
    ) -> Option<Result<Opened, HeaderError>> {
        let fresh = Fresh::new(self, listener, self.worker.settings.timeouts.head);
        let _listed = fresh.listed();
        let mut opened = None;
        if self.hears_from(&fresh, stream).await {
            fresh.awaits_client();
            opened = fresh.within(self.settings.proxy_protocol.read(stream)).await;
        }
        opened.or_else(|| fresh.is_late().then_some(Err(HeaderError::Late)))
    }

    /// Bytes of one request over HTTP/2 that may come before they are asked for.
    pub fn http2_window(&self) -> u32 {
        self.settings.http2_window
    }

    /// All client connections.
    pub fn connections(&self) -> Ref<'_, Slab<Rc<dyn Swept>>> {
        self.connections.borrow()
    }

    /// Whether new handshakes wait until others are done.
    pub fn is_short_of_handshakes(&self) -> bool {
        self.settings.tls.as_ref().is_some_and(|tls| tls.is_full())
    }
}

/// What a client connected to. The kernel is asked only where the listener does not say it, which saves a system call for each
/// connection.
fn local_address(stream: &TcpStream, listener: &Listener) -> Option<SocketAddr> {
    let known = !listener.address.ip().is_unspecified() && listener.address.port() != 0;
    if known {
        Some(listener.address)
    } else {
        stream.local_addr().ok()
    }
}

/// Advances the clock and looks for what is late.
async fn sweep(shard: Rc<Shard>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let worker = &shard.worker;
        worker.clock.advance();
        shard.unread.set(0);
        for (_, conn) in shard.connections.borrow().iter() {
            conn.sweep(&worker.settings.timeouts);
        }
        shard.end_stuck();
        shard.make_room();
        shard.close_idle();
        shard.close_orphans();
        worker.upstreams.sweep(&worker.clock, &worker.settings.pool);
        worker.tidy();
    }
}
