//! The body of a client's request, by whichever version of HTTP it comes.

use super::body::BoxError;
use bytes::Bytes;
use h2::RecvStream;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A request's body as it is read from the client.
pub enum RequestBody {
    /// There is nothing in it.
    Empty,
    /// All of it is here, in a request of narthex's own.
    Whole(Option<Bytes>),
    /// It comes on a connection that speaks HTTP/1.1.
    Http1(Box<dyn Http1Body>),
    /// It comes on a stream of a connection that speaks HTTP/2.
    Http2(StreamBody),
}

/// A request's body on a connection that speaks HTTP/1.1, as that connection reads it.
pub trait Http1Body {
    /// The next piece.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>>;

    /// Whether nothing more comes.
    fn is_end_stream(&self) -> bool;

    /// How much still comes, as far as that is known.
    fn size_hint(&self) -> SizeHint;
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Http1(body) => body.poll_frame(cx),
            Self::Http2(stream) => {
                let frame = ready!(stream.poll_frame(cx));
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Whole(bytes) => bytes.is_none(),
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(stream) => stream.recv.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Http1(body) => body.size_hint(),
            Self::Http2(stream) => stream.size_hint(),
        }
    }
}

/// A request's body on a stream of HTTP/2. The h2 crate compares its length with Content-Length.
pub struct StreamBody {
    recv: RecvStream,
    /// How many bytes are still to come, where the request says how many there are.
    left: Option<u64>,
    data_ended: bool,
}

impl StreamBody {
    /// A body of `length` bytes, where that is known.
    pub fn new(recv: RecvStream, length: Option<u64>) -> Self {
        Self {
            recv,
            left: length,
            data_ended: false,
        }
    }

    /// A reset is an error whatever its reason is: only END_STREAM says that all of the request was there (RFC 9113,
    /// section 8.1).
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if !self.data_ended {
            match ready!(self.recv.poll_data(cx)) {
                Some(Ok(data)) => {
                    // The window opens again. This fails only for a stream that has ended.
                    let _ = self.recv.flow_control().release_capacity(data.len());
                    if let Some(left) = &mut self.left {
                        *left = left.saturating_sub(data.len() as u64);
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => self.data_ended = true,
            }
        }
        let trailers = ready!(self.recv.poll_trailers(cx));
        Poll::Ready(trailers.map(|fields| fields.map(Frame::trailers)).transpose())
    }

    fn size_hint(&self) -> SizeHint {
        match self.left {
            _ if self.recv.is_end_stream() => SizeHint::with_exact(0),
            Some(left) => SizeHint::with_exact(left),
            None => SizeHint::default(),
        }
    }
}
