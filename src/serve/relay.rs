//! Connections whose bytes are passed on as they come, to an endpoint of what their name or their listener leads to.

use super::shard::Shard;
use super::tls::Passed;
use super::tunnel;
use crate::message::Fields;
use crate::proxy::body::ClientBody;
use crate::proxy::{Ends, PassedOn, ProxyError, address_key};
use crate::table::{Backend, Balance, Destination, HashKey, ListenerId};
use crate::upstream::pool::{Dial, Socket};
use crate::upstream::{Affinity, Lease, Picked, RequestPermit, Stream, proxy_protocol};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

/// Serves a connection. `first` was read from it already.
pub async fn run(
    shard: Rc<Shard>,
    client: Stream,
    first: Vec<u8>,
    (passed, listener): (Passed, ListenerId),
    ends: Ends,
) {
    let worker = &shard.worker;
    let began = Instant::now();
    let draw = |below: u32| fastrand::u32(..below);
    let share = match &passed.to {
        Destination::Shares(shares) => shares.choose(draw).cloned(),
        _ => None,
    };
    let route = share.as_ref().or(passed.rule.as_ref().map(|rule| &rule.route));
    let said = (if passed.is_tls { "tls" } else { "tcp" }, passed.server_name.as_deref());
    let mut noted = PassedOn::begins(worker, route, said, &ends);
    let table = worker.table();
    let backend = match share.as_ref().map_or(&passed.to, |share| &share.to) {
        Destination::Split(split) => split.choose_in(&table, &Fields::new(), draw).cloned(),
        to => to.choose(draw).and_then(|id| table.backend(id)).cloned(),
    };
    drop(table);
    let guard = passed.rule.as_ref().and_then(|rule| rule.guard.as_ref());
    let guard = guard.or_else(|| backend.as_ref()?.guard.as_ref());
    let admitted = noted.admit(worker, route.map(|route| &**route), guard.map(|guard| &**guard));
    let backend = admitted.and_then(|()| backend.ok_or(ProxyError::BackendGone));
    let backend = match backend {
        Ok(backend) => backend,
        Err(error) => {
            tracing::debug!(peer = %ends.client, %error, "connection refused");
            refuse(&client, &passed);
            return noted.ends(worker, Err(error), None);
        }
    };
    // On the heap, which is given back when the connection is there.
    let length = first.len();
    match Box::pin(connect(&shard, &backend, &ends, first)).await {
        Ok((lease, pod, _held)) => {
            noted.connected(began.elapsed());
            let endpoint = lease.endpoint.endpoint.clone();
            let terms = (backend.settings.tunnel_timeout, listener);
            let (up, down) = tunnel::relay(&shard, client, pod, &endpoint, terms).await;
            noted.bytes = (up + length as u64, down);
            noted.ends(&shard.worker, Ok(()), Some(&endpoint));
        }
        Err(error) => {
            tracing::debug!(peer = %ends.client, %backend, %error, "connection closed: it cannot be passed on");
            refuse(&client, &passed);
            noted.ends(&shard.worker, Err(ProxyError::Connect), None);
        }
    }
}

/// Has a client that nobody serves see that: an orderly end would look like one of a conversation. That of TLS has no place before
/// the handshake, which the client sees fail.
fn refuse(client: &Stream, passed: &Passed) {
    if !passed.is_tls || !matches!(client, Stream::Plain(_)) {
        client.reset_when_dropped();
    }
}

/// A connection to one of the endpoints, on which `first` is sent, and what it holds; others are tried where one cannot be reached.
async fn connect(
    shard: &Rc<Shard>,
    backend: &Arc<Backend>,
    ends: &Ends,
    mut first: Vec<u8>,
) -> io::Result<(Lease<ClientBody>, Stream, (Socket, Option<RequestPermit>))> {
    let worker = &shard.worker;
    let live = |pods| worker.table().pods(pods).cloned();
    let target = worker.upstreams.target(live, backend, &worker.clock);
    let target = target.ok_or(io::ErrorKind::NotFound)?;
    // For `max-in-flight`, a connection counts as one request.
    let place = match target.limit() {
        None => None,
        Some(limit) => {
            let (pending, patience) = target.queue();
            let place = limit.enter(pending, patience).await;
            Some(place.ok_or_else(|| io::Error::other("max-in-flight of its backend is reached"))?)
        }
    };
    let affinity = Affinity {
        key: match &backend.settings.balance {
            Some(Balance::Hash(HashKey::SourceIp)) => Some(address_key(ends.client.ip().to_canonical())),
            _ => None,
        },
        sticky: None,
    };
    if backend.terms.proxied {
        let header = proxy_protocol::header(ends.client, ends.local, ends.tls_version.as_deref());
        first.splice(..0, header);
    }
    let pool = &worker.settings.pool;
    let dial = Dial {
        settings: pool,
        patience: backend.settings.connect_timeout.unwrap_or(pool.connect_timeout),
        prelude: Some(first).filter(|first| !first.is_empty()),
        tls: None,
        notices_later: true,
        clock: &worker.clock,
    };
    let (mut tried, mut last) = (Vec::new(), io::Error::from(io::ErrorKind::NotFound));
    for _ in 0..worker.settings.attempts.max(1) {
        let pick = || target.pick(&worker.table(), &tried, affinity, &worker.clock);
        let lease = match Box::pin(target.room(tried.is_empty(), pick)).await {
            Picked::Lease(lease) => lease,
            Picked::Full => return Err(io::Error::other("each pod has as many connections as it may have")),
            Picked::Nobody(_) | Picked::Gone => break,
        };
        let endpoint = &lease.endpoint.endpoint;
        let opened = match (dial.open(endpoint.address).await, endpoint.alternate) {
            (Err(_), Some(alternate)) => dial.open(alternate).await,
            (opened, _) => opened,
        };
        match opened {
            Ok((stream, socket)) => {
                worker.counters.upstream_connects.add();
                return Ok((lease, stream, (socket, place)));
            }
            Err(error) => {
                lease.unreachable(&worker.clock, &error);
                tried.push(lease.endpoint.clone());
                last = error;
            }
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_task<F>(_: impl Fn(Rc<Shard>, Stream, Vec<u8>, (Passed, ListenerId), Ends) -> F) -> usize {
        size_of::<F>()
    }

    /// Most connections that are passed on say nothing most of the time.
    #[test]
    fn a_connection_that_is_passed_on_stays_small() {
        let size = size_of_task(run);
        assert!(size <= 1664, "{size} bytes");
    }
}
