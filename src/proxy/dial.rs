//! A connection to an endpoint: one that is there, or a new one.

use super::body::ClientBody;
use super::client::Client;
use super::error::{ProxyError, idempotent};
use super::forward::Plan;
use super::worker::Worker;
use crate::message::Buffers;
use crate::table::Protocol;
use crate::upstream::endpoint::Connections;
use crate::upstream::h2::H2Pool;
use crate::upstream::pool::{Connection, Dial, connect, is_local};
use crate::upstream::tls::{HandshakeError, HandshakeErrorKind};
use crate::upstream::{Lease, proxy_protocol};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

/// What a client is told of a connection that could not be opened.
pub fn connect_error(cause: &io::Error) -> ProxyError {
    if is_local(cause) {
        return ProxyError::NoDescriptor;
    }
    match (HandshakeError::of(cause).map(|fault| fault.kind), cause.kind()) {
        (Some(HandshakeErrorKind::Untrusted), _) => ProxyError::TlsUntrusted,
        (Some(HandshakeErrorKind::NotTls), _) => ProxyError::NotTls,
        (Some(HandshakeErrorKind::NoHttp2), _) => ProxyError::TlsNoHttp2,
        (Some(HandshakeErrorKind::Refused), _) => ProxyError::TlsRefused,
        (Some(HandshakeErrorKind::Silent), _) | (None, io::ErrorKind::TimedOut) => ProxyError::ConnectTimeout,
        (None, io::ErrorKind::InvalidData) => ProxyError::NotHttp2,
        (None, _) => ProxyError::Connect,
    }
}

/// A connection that is free, unless a `fresh` one is wanted.
///
/// # Errors
/// Why none could be opened.
pub async fn checkout(
    worker: &Worker,
    client: &Client,
    lease: &Lease<ClientBody>,
    plan: &Plan<'_>,
    fresh: bool,
) -> io::Result<Connection<ClientBody>> {
    let known = &lease.connections;
    if known.terms.proxied {
        // For this client only.
    } else if known.terms.protocol == Protocol::Http2 {
        if let Some(stream) = known.h2.find(!idempotent(&plan.request.method)) {
            return Ok(Connection::Http2(stream));
        }
    } else if !fresh && let Some(connection) = known.pool.take(&worker.clock, &worker.settings.pool) {
        return Ok(Connection::Http1(connection));
    }
    let began = Instant::now();
    let opened = Box::pin(open(worker, client, lease, plan)).await;
    plan.trail.dialled(began.elapsed());
    opened
}

/// Opens a connection, at the pod's other address if the first cannot be reached.
async fn open(
    worker: &Worker,
    client: &Client,
    lease: &Lease<ClientBody>,
    plan: &Plan<'_>,
) -> io::Result<Connection<ClientBody>> {
    let (known, endpoint) = (&lease.connections, &lease.endpoint.endpoint);
    let (pool, settings) = (&worker.settings.pool, plan.settings);
    let peer = &client.peer;
    let dial = Dial {
        settings: pool,
        patience: settings.connect_timeout.unwrap_or(pool.connect_timeout),
        prelude: (known.terms.proxied)
            .then(|| proxy_protocol::header(peer.socket, peer.local, peer.tls_version.as_deref())),
        tls: known.terms.tls.as_deref(),
        notices_later: false,
        clock: &worker.clock,
    };
    let buffers = &worker.buffers;
    let opened = open_at(endpoint.address, known, plan, &dial, buffers).await;
    match (opened, endpoint.alternate) {
        (Err(_), Some(alternate)) => open_at(alternate, known, plan, &dial, buffers).await,
        (result, _) => result,
    }
    .inspect(|connection| {
        if !connection.reused() {
            worker.counters.upstream_connects.add();
        }
    })
}

async fn open_at(
    address: SocketAddr,
    known: &Connections<ClientBody>,
    plan: &Plan<'_>,
    dial: &Dial<'_>,
    buffers: &Rc<Buffers>,
) -> io::Result<Connection<ClientBody>> {
    let unsafe_to_repeat = !idempotent(&plan.request.method);
    match (known.terms.protocol, &dial.prelude) {
        (Protocol::Http1, _) => connect(address, dial, buffers).await.map(Connection::Http1),
        (Protocol::Http2, None) => known
            .h2
            .take(address, dial, unsafe_to_repeat)
            .await
            .map(Connection::Http2),
        (Protocol::Http2, Some(_)) => H2Pool::own(address, dial).await.map(Connection::Http2),
    }
}
