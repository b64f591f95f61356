//! A stream of HTTP/2 as bytes in both directions (RFC 8441, section 5).

use super::sending::poll_window;
use crate::upstream::frames::Earned;
use bytes::{Buf, Bytes};
use h2::{RecvStream, SendStream};
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A client's stream that has become a tunnel. Dropped before both sides have said their end, it is reset.
pub(in crate::serve) struct Duplex {
    /// By what its connection earns frames.
    earned: Rc<Earned>,
    input: RecvStream,
    /// What was read of it and not taken yet.
    rest: Bytes,
    /// Until the client is told that no more comes.
    output: Rc<RefCell<Option<SendStream<Bytes>>>>,
}

impl Duplex {
    pub(super) fn new(earned: Rc<Earned>, input: RecvStream, output: SendStream<Bytes>) -> Self {
        Self {
            earned,
            input,
            rest: Bytes::new(),
            output: Rc::new(RefCell::new(Some(output))),
        }
    }

    /// Waits until the client resets the stream. After its END_STREAM nobody reads, and may not notice.
    pub(in crate::serve) fn reset(&self) -> impl Future<Output = ()> + use<> {
        let output = self.output.clone();
        poll_fn(move |cx| match &mut *output.borrow_mut() {
            Some(output) => output.poll_reset(cx).map(drop),
            // All is said, so that only the reader can hear of it.
            None => Poll::Pending,
        })
    }
}

impl AsyncRead for Duplex {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.rest.is_empty() {
            let Some(data) = ready!(this.input.poll_data(cx)) else {
                return Poll::Ready(Ok(()));
            };
            this.rest = data.map_err(io::Error::other)?;
            this.earned.read(this.rest.len());
        }
        let length = this.rest.len().min(buffer.remaining());
        buffer.put_slice(this.rest.get(..length).unwrap_or_default());
        this.rest.advance(length);
        // The window opens again. This fails only for a stream that has ended.
        let _ = this.input.flow_control().release_capacity(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Duplex {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let gone = || Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        let mut output = self.output.borrow_mut();
        let Some(output) = &mut *output else { return gone() };
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let Some(room) = ready!(poll_window(output, bytes.len(), cx)) else {
            return gone();
        };
        let part = Bytes::copy_from_slice(bytes.get(..room).unwrap_or_default());
        output.send_data(part, false).map_err(io::Error::other)?;
        Poll::Ready(Ok(room))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let output = self.output.take();
        if let Some(mut output) = output {
            output.send_data(Bytes::new(), true).map_err(io::Error::other)?;
        }
        Poll::Ready(Ok(()))
    }
}
