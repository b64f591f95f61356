//! Listening sockets: bound at start, listening only when the table is live, accepted in one place.

use super::handover::{self, Inherited, Intake, Role, Transport};
use super::room::Room;
use super::shard::{Accepted, ConnectionPermit};
use crate::table::{AddressPool, Listener};
use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

/// Connections the kernel may hold for us; it caps this at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Connections that are accepted before others have their turn on the thread.
const AT_A_TIME: usize = 16;

/// Why a socket cannot be had, with what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody has the port.
    #[error(
        "{what} address {address} is in use: stop the other process, choose another address, or let both have it with --share-ports"
    )]
    InUse {
        /// Which listener.
        what: Role,
        /// Its address.
        address: SocketAddr,
    },
    /// Ports below 1024.
    #[error(
        "no permission to listen on {what} address {address}: run as root or with CAP_NET_BIND_SERVICE, or choose a port above 1023"
    )]
    Denied {
        /// Which listener.
        what: Role,
        /// Its address.
        address: SocketAddr,
    },
    /// There are too many already.
    #[error("there are {most} listening sockets already, which is as many as there can be")]
    TooMany {
        /// How many.
        most: usize,
    },
    /// Anything else.
    #[error("cannot listen on {what} address {address}: {source}")]
    Other {
        /// Which listener.
        what: Role,
        /// Its address.
        address: SocketAddr,
        /// What the kernel says.
        source: io::Error,
    },
}

/// A socket that is bound but does not listen: clients are refused, not left waiting.
#[derive(Debug)]
pub struct Bound {
    place: handover::SocketKey,
    socket: Socket,
    address: SocketAddr,
}

fn explain(what: Role, address: SocketAddr, source: io::Error) -> BindError {
    match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { what, address },
        io::ErrorKind::PermissionDenied => BindError::Denied { what, address },
        _ => BindError::Other { what, address, source },
    }
}

/// How addresses are bound.
#[derive(Clone, Debug, Default)]
pub struct Binding {
    /// Whether other sockets may have the same port (`SO_REUSEPORT`).
    pub share: bool,
    /// The addresses that Gateways have for themselves. They may come to this node later.
    pub gateways: AddressPool,
}

impl Binding {
    /// `share` is what the operator says. Where Gateways have addresses, the sockets for all addresses share their ports with
    /// those for one.
    pub fn new(share: bool, gateways: AddressPool) -> Self {
        Self {
            share: share || !gateways.is_empty(),
            gateways,
        }
    }
}

/// Binds an address. `[::]` takes both families, and falls back to `0.0.0.0` where there is no IPv6.
///
/// # Errors
/// Says which listener, which address, and what to do.
pub fn bind(place: handover::SocketKey, how: &Binding) -> Result<Bound, BindError> {
    let handover::SocketKey { role, address, .. } = place;
    let v4 = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
    let bound = match try_bind(place.transport, address, how) {
        Err(error)
            if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
                && !matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied) =>
        {
            try_bind(place.transport, v4, how).map_err(|error| (v4, error))
        }
        other => other.map_err(|error| (address, error)),
    };
    let socket = bound.map_err(|(address, error)| explain(role, address, error))?;
    let local = socket.local_addr().ok().and_then(|local| local.as_socket());
    let address = local.unwrap_or(address);
    Ok(Bound { place, socket, address })
}

fn try_bind(transport: Transport, address: SocketAddr, how: &Binding) -> io::Result<Socket> {
    let (kind, protocol) = match transport {
        Transport::Tcp => (Type::STREAM, Protocol::TCP),
        Transport::Udp => (Type::DGRAM, Protocol::UDP),
    };
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if transport == Transport::Tcp {
        // For UDP this would let another process take the same port.
        socket.set_reuse_address(true)?;
    }
    if how.share {
        socket.set_reuse_port(true)?;
    }
    if how.gateways.contains(address.ip()) {
        match address {
            SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
            SocketAddr::V6(_) => socket.set_freebind_v6(true)?,
        }
    }
    if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

impl Bound {
    /// What a predecessor has handed over.
    ///
    /// # Errors
    /// When the kernel does not know where it listens.
    pub fn inherited(inherited: Inherited, how: &Binding) -> Result<Self, BindError> {
        let Inherited { place, socket } = inherited;
        let wrong = |error| explain(place.role, place.address, error);
        if how.share {
            // The predecessor may not have shared it.
            socket.set_reuse_port(true).map_err(wrong)?;
        }
        let local = socket.local_addr().map_err(wrong)?;
        let address = local.as_socket().unwrap_or(place.address);
        Ok(Self { place, socket, address })
    }

    /// What it is for, and the address that was asked for.
    pub fn place(&self) -> handover::SocketKey {
        self.place
    }

    /// The address, with the port the kernel chose where 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it is for.
    pub fn role(&self) -> Role {
        self.place.role
    }

    /// Begins to listen.
    ///
    /// # Errors
    /// As [`bind`]: another process that had bound the same address may have begun first.
    pub fn listen(self) -> Result<Socket, BindError> {
        if self.place.transport == Transport::Tcp {
            let listens = self.socket.listen(BACKLOG);
            listens.map_err(|error| explain(self.role(), self.address, error))?;
            // On Linux each connection that is accepted inherits it.
            let _ = self.socket.set_tcp_nodelay(true);
        }
        Ok(self.socket)
    }
}

/// The way to one shard.
#[derive(Clone)]
pub struct ToShard {
    /// Its queue; bounded by `--max-connections`.
    pub accepted: mpsc::UnboundedSender<Accepted>,
    /// How many connections it has.
    pub open: Arc<AtomicUsize>,
}

impl ToShard {
    /// The way to a shard that has no connections yet, and the end where it takes them.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Accepted>) {
        let (accepted, queue) = mpsc::unbounded_channel();
        let open = Arc::default();
        (Self { accepted, open }, queue)
    }
}

/// Accepts connections and gives each to the shard that has fewest, until the intake is closed. Then the socket is too,
/// and who still waits in the kernel's queue is accepted first: closing would reset them.
///
/// One acceptor instead of a socket per shard: `SO_REUSEPORT` spreads by hash, which leaves shards idle when
/// connections are few and long (figures in docs/performance.md), and one socket is one thing to hand over.
pub async fn accept(
    listener: std::net::TcpListener,
    serving: Arc<Listener>,
    shards: Vec<ToShard>,
    room: Arc<Room>,
    mut intake: watch::Receiver<Intake>,
) {
    let mut listener = listener;
    loop {
        let now = *intake.borrow_and_update();
        let goes_on = match now {
            Intake::Closed => false,
            // Not even registered, or each connection of the successor's would wake this thread.
            Intake::Paused => match intake.changed().await {
                Ok(()) => true,
                Err(_) => return,
            },
            Intake::Open => {
                #[expect(
                    deprecated,
                    reason = "its successor is an unsafe function, and std's listener keeps the promise that asks for"
                )]
                let registered = AsyncFd::with_interest(listener, Interest::READABLE);
                let registered = match registered {
                    Ok(registered) => registered,
                    Err(error) => {
                        tracing::error!(%error, "the runtime cannot take a listening socket");
                        return;
                    }
                };
                let goes_on = tokio::select! {
                    () = accept_all(&registered, &serving, &shards, &room) => false,
                    changed = intake.changed() => changed.is_ok(),
                };
                listener = registered.into_inner();
                goes_on
            }
        };
        if !goes_on {
            break;
        }
    }
    // At the limit too: these are the last, and no more than the kernel's queue holds.
    while let Ok((stream, peer)) = accept_one(&listener) {
        hand_over(&shards, stream, peer, &serving, room.try_enter());
    }
}

async fn accept_all(
    listener: &AsyncFd<std::net::TcpListener>,
    serving: &Arc<Listener>,
    shards: &[ToShard],
    room: &Room,
) {
    for count in 1_usize.. {
        // Where it runs beside a shard, the connections that it has accepted are to be served too.
        if count.is_multiple_of(AT_A_TIME) {
            tokio::task::yield_now().await;
        }
        let Ok(mut ready) = listener.readable().await else {
            return;
        };
        // At the limit no more are accepted: the kernel's queue is the waiting room. Not before somebody is there,
        // for other listeners need the places too.
        let place = room.enter().await;
        match ready.try_io(|listener| accept_one(listener.get_ref())) {
            Ok(Ok((stream, peer))) if place.is_some() => hand_over(shards, stream, peer, serving, place),
            Ok(Ok((stream, _))) => room.refuse(&stream, serving.protocol()),
            Ok(Err(error)) => pause_after(&error).await,
            // Nobody is there after all.
            Err(_) => {}
        }
    }
}

/// Keeps a socket for datagrams until the intake is closed. Nothing reads it yet.
pub async fn hold(socket: Socket, mut intake: watch::Receiver<Intake>) {
    let _ = intake.wait_for(|intake| *intake == Intake::Closed).await;
    drop(socket);
}

/// One connection, set up for a runtime by the call that makes it.
fn accept_one(listener: &std::net::TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (socket, peer) = acceptfrom_with(listener, flags)?;
    let peer = peer.ok_or(io::ErrorKind::ConnectionAborted)?;
    let peer = SocketAddr::try_from(peer).map_err(|_| io::Error::from(io::ErrorKind::ConnectionAborted))?;
    Ok((socket.into(), peer))
}

fn hand_over(
    shards: &[ToShard],
    stream: TcpStream,
    peer: SocketAddr,
    listener: &Arc<Listener>,
    permit: Option<OwnedSemaphorePermit>,
) {
    if let Some(shard) = shards.iter().min_by_key(|shard| shard.open.load(Ordering::Relaxed)) {
        let place = ConnectionPermit::new(shard.open.clone(), permit);
        // A shard that is gone ends the process soon.
        let _ = shard.accepted.send(Accepted {
            stream,
            peer,
            listener: listener.clone(),
            place,
        });
    }
}

/// Out of file descriptors or memory, accepting again at once would spin; a client's hasty departure is nothing.
async fn pause_after(error: &io::Error) {
    if matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    ) {
        return;
    }
    tracing::warn!(%error, "cannot accept connections at the moment");
    tokio::time::sleep(Duration::from_millis(fastrand::u64(20..100))).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::handover::SocketKey;

    #[test]
    fn connections_inherit_that_small_writes_are_sent_at_once() {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let place = SocketKey {
            role: Role::Admin,
            transport: Transport::Tcp,
            address,
        };
        let bound = bind(place, &Binding::default()).unwrap();
        let address = bound.address();
        let listener = std::net::TcpListener::from(bound.listen().unwrap());
        listener.set_nonblocking(false).unwrap();
        let _client = TcpStream::connect(address).unwrap();
        let (accepted, _) = accept_one(&listener).unwrap();
        assert!(accepted.nodelay().unwrap());
    }
}
