//! A client and a pod that speak a protocol of their own: bytes are passed on as they come.

use super::Timeouts;
use super::shard::{Shard, Swept};
use super::stream::Stream;
use crate::proxy::Exchange;
use crate::upstream::{Clock, Connection, Tick};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

/// Bytes under way in each direction.
const BUFFER: usize = 16 << 10;

/// When the tunnel last moved.
struct Pulse {
    shard: Rc<Shard>,
    last: Cell<Tick>,
    expired: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Pulse {
    fn clock(&self) -> &Clock {
        &self.shard.worker.clock
    }

    async fn stops(&self) {
        poll_fn(|cx| {
            self.waker.replace(Some(cx.waker().clone()));
            if self.expired.get() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}

impl Swept for Pulse {
    fn sweep(&self, timeouts: &Timeouts, _: Duration, _: Duration) {
        if self.clock().passed(self.last.get(), timeouts.tunnel) {
            self.expired.set(true);
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        }
    }

    /// Tunnels go on: who is in one can be told only by cutting it, and that is for the deadline to do.
    fn drain(&self) {}
}

/// One side, whose every byte is a sign of life.
struct Side<S> {
    stream: S,
    pulse: Rc<Pulse>,
}

impl<S> Side<S> {
    fn new(stream: S, pulse: &Rc<Pulse>) -> Self {
        let pulse = pulse.clone();
        Self { stream, pulse }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Side<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if poll.is_ready() {
            self.pulse.last.set(self.pulse.clock().now());
        }
        poll
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Side<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Passes bytes on until both sides are done, one breaks off, or neither says anything for too long.
pub async fn run(shard: Rc<Shard>, client: Stream, mut exchange: Exchange) {
    let Some(Connection::Http1(connection)) = &mut exchange.connection else {
        return;
    };
    let Some(pod) = connection.upgraded().await else { return };
    let pulse = Rc::new(Pulse {
        last: Cell::new(shard.worker.clock.now()),
        expired: Cell::new(false),
        waker: RefCell::default(),
        shard: shard.clone(),
    });
    let _listed = shard.list(pulse.clone());
    let (mut client, mut pod_side) = (Side::new(client, &pulse), Side::new(pod.stream, &pulse));
    let pass_on = async {
        // What the pod said right behind its 101.
        client.write_all(&pod.read).await?;
        tokio::io::copy_bidirectional_with_sizes(&mut client, &mut pod_side, BUFFER, BUFFER).await
    };
    tokio::select! {
        ended = pass_on => {
            if let Err(error) = ended {
                tracing::debug!(endpoint = %exchange.lease.endpoint.endpoint, %error, "a tunnel broke off");
            }
        }
        () = pulse.stops() => shard.worker.counters.timeouts.add(),
    }
}
