//! The bytes of a connection, with TLS or without, to a client or to a pod.

#[cfg(test)]
use super::simulated;
use crate::http1::Outgoing;
use socket2::SockRef;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

/// Up to this many bytes are written without asking first whether the socket takes any.
const SHORT: usize = 4 << 10;

/// One connection's byte stream.
pub enum Stream {
    /// As it comes.
    Plain(TcpStream),
    /// Under TLS. Boxed, for its state is large and most of it is not looked at.
    Tls(Box<TlsStream<TcpStream>>),
    /// Without a socket, where clients and pods are simulated.
    #[cfg(test)]
    Simulated(simulated::End),
}

/// Which halves of a connection the other side has closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Closed {
    /// Nothing more comes.
    pub read: bool,
    /// Nothing more is taken.
    pub write: bool,
}

impl Stream {
    /// The connection below. Absent where it is simulated.
    pub fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Stream::Plain(tcp) => Some(tcp),
            Stream::Tls(tls) => Some(tls.get_ref().0),
            #[cfg(test)]
            Stream::Simulated(_) => None,
        }
    }

    /// Ready when bytes have come, or the end. Under TLS these may be bytes of TLS alone.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Plain(tcp) => tcp.poll_read_ready(cx),
            Stream::Tls(tls) => tls.get_ref().0.poll_read_ready(cx),
            #[cfg(test)]
            Stream::Simulated(end) => end.poll_read_ready(cx),
        }
    }

    /// What the other side has closed, as far as the kernel has told.
    pub fn closed(&self) -> Closed {
        #[cfg(test)]
        if let Stream::Simulated(end) = self {
            return end.closed();
        }
        let Some(tcp) = self.tcp() else {
            return Closed::default();
        };
        let ready = pin!(tcp.ready(Interest::READABLE | Interest::WRITABLE));
        // The kernel has told already; nothing is waited for.
        let Poll::Ready(Ok(ready)) = ready.poll(&mut Context::from_waker(Waker::noop())) else {
            return Closed::default();
        };
        Closed {
            read: ready.is_read_closed(),
            write: ready.is_write_closed(),
        }
    }

    /// Has the connection be reset when it is dropped, so that the other side does not take that for an orderly end.
    pub fn reset_when_dropped(&self) {
        if let Some(tcp) = self.tcp() {
            let _ = SockRef::from(tcp).set_linger(Some(Duration::ZERO));
        }
        #[cfg(test)]
        if let Stream::Simulated(end) = self {
            end.reset_when_dropped();
        }
    }

    /// Writes what is next on a connection that speaks HTTP/1.1. How many bytes were taken; the caller takes them away.
    pub fn poll_write_out(&mut self, out: &Outgoing, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(b""); 3];
        let count = out.slices(&mut slices);
        match slices.get(..count).unwrap_or_default() {
            // The kernel takes one slice in less time than a list of them.
            [only] => Pin::new(self).poll_write(cx, only),
            slices => Pin::new(self).poll_write_vectored(cx, slices),
        }
    }

    /// The same for what is short, which nearly always fits into the socket's buffer: trying takes less time than asking first
    /// whether there is room. Absent if that has to be asked after all. What is long may fit in part, which only
    /// [`Self::poll_write_out`] remembers. This does not count towards the turn of a task, so whoever calls it has to wait
    /// for something else between two calls.
    pub fn try_write_out(&mut self, out: &Outgoing) -> Option<io::Result<usize>> {
        let Stream::Plain(tcp) = self else { return None };
        let mut slices = [IoSlice::new(b""); 3];
        let count = out.slices(&mut slices);
        let [only] = slices.get(..count)? else { return None };
        if only.len() > SHORT {
            return None;
        }
        let done = tcp.try_write(only);
        (!done
            .as_ref()
            .is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock))
        .then_some(done)
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            Stream::Tls(tls) => {
                let from_client = matches!(**tls, TlsStream::Server(_));
                match Pin::new(tls).poll_read(cx, buffer) {
                    // An end without close_notify. Requests say how long they are, so none can be cut unnoticed. But a
                    // pod's response may go on to the end of the connection, which is its own only if TLS says so
                    // (RFC 9112, section 9.8); one of known length has been read by then.
                    Poll::Ready(Err(error)) if from_client && error.kind() == io::ErrorKind::UnexpectedEof => {
                        Poll::Ready(Ok(()))
                    }
                    other => other,
                }
            }
            #[cfg(test)]
            Stream::Simulated(end) => Pin::new(end).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Stream::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
            #[cfg(test)]
            Stream::Simulated(end) => Pin::new(end).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, slices),
            Stream::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, slices),
            #[cfg(test)]
            Stream::Simulated(end) => Pin::new(end).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Plain(tcp) => tcp.is_write_vectored(),
            Stream::Tls(tls) => tls.is_write_vectored(),
            #[cfg(test)]
            Stream::Simulated(end) => end.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_flush(cx),
            #[cfg(test)]
            Stream::Simulated(end) => Pin::new(end).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
            #[cfg(test)]
            Stream::Simulated(end) => Pin::new(end).poll_shutdown(cx),
        }
    }
}
