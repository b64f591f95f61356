//! The body of a client's request, by whichever version of HTTP it comes.

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A request's body as it is read from the client.
pub enum RequestBody {
    /// It comes on a connection that speaks HTTP/1.1.
    Http1(Incoming),
    /// It comes on a stream of a connection that speaks HTTP/2.
    Http2(Incoming),
}

impl RequestBody {
    /// Whether it ended before all of it was there. To hyper, a stream of HTTP/2 that was reset without an error has
    /// ended, but only END_STREAM says that all of the request was there (RFC 9113, section 8.1).
    pub fn is_cut_off(&self) -> bool {
        matches!(self, Self::Http2(incoming) if !incoming.is_end_stream())
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Http1(incoming) | Self::Http2(incoming) => Pin::new(incoming).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(incoming) | Self::Http2(incoming) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(incoming) | Self::Http2(incoming) => incoming.size_hint(),
        }
    }
}
