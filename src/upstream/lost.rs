//! Pods whose node has gone without a word: the kernel finds out, in seconds and not in the minute that a response may
//! take. What was asked of them may then be asked of others.

use super::Stream;
use socket2::{SockRef, TcpKeepalive};
use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// How long what was sent may go without being acknowledged (tcp(7), `TCP_USER_TIMEOUT`).
const SILENCE: Duration = Duration::from_secs(3);
/// And where it may be much: then a pod that does not read for a while, whose window is closed, would count as silent too.
const SILENCE_OF_A_READER: Duration = Duration::from_secs(60);
/// On a connection that many requests share, which its pod reads whatever the requests' own windows are.
const SILENCE_OF_MANY: Duration = Duration::from_secs(20);
/// When nothing comes for so long, the other side's kernel is asked, and asked again.
const QUIET: Duration = Duration::from_secs(3);
const PROBES: Duration = Duration::from_secs(1);

/// Has the kernel notice when nobody is there any more.
///
/// # Errors
/// What the kernel says.
pub fn notice(tcp: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(tcp);
    socket.set_tcp_user_timeout(Some(SILENCE))?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(QUIET).with_interval(PROBES))
}

/// For a connection that many requests share, any of which may take long.
///
/// # Errors
/// What the kernel says.
pub fn share(tcp: &TcpStream) -> io::Result<()> {
    SockRef::from(tcp).set_tcp_user_timeout(Some(SILENCE_OF_MANY))
}

/// A connection that is given more time while something long is sent on it, and no more when that is over: the next
/// request may be a short one, to a node that is gone by then.
///
/// After a failed write nothing more is written, but what the pod has said is still read: it may have answered without
/// waiting for the whole request, and closed (RFC 9112, section 9.5). The kernel keeps such an answer over a reset, and
/// the reader sees the end behind it.
pub struct Watchful {
    stream: Stream,
    wanted: Rc<Cell<bool>>,
    patient: bool,
    deaf: bool,
}

impl Watchful {
    /// `wanted` says when something long is sent.
    pub fn new(stream: Stream, wanted: Rc<Cell<bool>>) -> Self {
        Self {
            stream,
            wanted,
            patient: false,
            deaf: false,
        }
    }

    /// The connection below.
    pub fn into_inner(self) -> Stream {
        self.stream
    }

    fn set_patience(&mut self) -> io::Result<()> {
        let wanted = self.wanted.get();
        if self.patient != wanted {
            self.patient = wanted;
            let silence = if wanted { SILENCE_OF_A_READER } else { SILENCE };
            SockRef::from(self.stream.tcp()).set_tcp_user_timeout(Some(silence))?;
        }
        Ok(())
    }

    /// Writes, unless that has failed before. Its failure is no news for who writes: the reader finds out.
    fn write<T>(&mut self, write: impl FnOnce(Pin<&mut Stream>) -> Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if self.deaf {
            return Poll::Pending;
        }
        let poll = match self.set_patience() {
            Ok(()) => write(Pin::new(&mut self.stream)),
            Err(error) => Poll::Ready(Err(error)),
        };
        self.deaf = matches!(poll, Poll::Ready(Err(_)));
        if self.deaf { Poll::Pending } else { poll }
    }
}

impl AsyncRead for Watchful {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Watchful {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().write(|stream| stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().write(|stream| stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().write(|stream| stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    #[tokio::test]
    async fn patience_lasts_as_long_as_what_is_long() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        notice(&tcp).unwrap();
        let wanted = Rc::new(Cell::new(false));
        let mut watchful = Watchful::new(Stream::Plain(tcp), wanted.clone());
        for (long, silence) in [(false, SILENCE), (true, SILENCE_OF_A_READER), (false, SILENCE)] {
            wanted.set(long);
            watchful.write_all(b"x").await.unwrap();
            let now = SockRef::from(watchful.stream.tcp()).tcp_user_timeout().unwrap();
            assert_eq!(now, Some(silence), "long: {long}");
        }
    }
}
