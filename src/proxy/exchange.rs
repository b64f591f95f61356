//! A pod's response with what it holds, as long as the client is sent it.

use super::body::{BoxError, Upload};
use super::client::Client;
use super::wait::Waiting;
use super::worker::Worker;
use crate::policy::under_way::Place;
use crate::proxy::body::ClientBody;
use crate::upstream::http1::{BodyError, Http1};
use crate::upstream::{Connection, Lease, RequestPermit};
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

/// A pod's response body with what it holds: the endpoint, and the connection to give back.
pub struct Exchange {
    /// The rest of the response, where it comes by HTTP/2.
    pub incoming: Option<Incoming>,
    /// Its first piece, where that was there with the head.
    pub first: Option<First>,
    /// Where it comes from. Closed by being dropped, so it stays until the response is read, kept afterwards or not.
    pub connection: Option<Connection<ClientBody>>,
    /// Whether the connection may serve another request.
    pub reusable: bool,
    /// Counts the request in the endpoint's load.
    pub lease: Lease<ClientBody>,
    /// Its place among the requests under way to the backend, where these have a limit.
    #[expect(dead_code, reason = "it is given back when it is dropped")]
    pub place: Option<RequestPermit>,
    /// Its place among the requests of its client, once it is a tunnel.
    pub counted: Option<Box<Place>>,
    /// How far the request's body has come.
    pub upload: Rc<Upload>,
    /// Whether the response was read to its end; over HTTP/2 one without a length never says so by itself.
    pub ended: bool,
    /// What broke the response, if it is not told yet.
    pub error: Option<BodyError>,
    /// The shard.
    pub worker: Rc<Worker>,
}

/// The first piece of a response's body.
pub enum First {
    /// Bytes.
    Data(Bytes),
    /// The trailers, and so the end. Boxed, for few responses have nothing else.
    Trailers(Box<HeaderMap>),
}

impl First {
    /// Looks whether something of a body is there already. A fault in it is found while the client can still be told.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of_http1(connection: &mut Http1<ClientBody>) -> Result<Option<Self>, BodyError> {
        Ok(connection.buffered()?.and_then(Self::from_frame))
    }

    /// The same for a body that comes by HTTP/2.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of_http2(incoming: &mut Incoming) -> hyper::Result<Option<Self>> {
        if incoming.is_end_stream() {
            return Ok(None);
        }
        // Whoever sends the response on asks again, and is woken then.
        let first = Pin::new(incoming).poll_frame(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(Some(frame)) = first else {
            return Ok(None);
        };
        Ok(Self::from_frame(frame?))
    }

    fn from_frame(frame: Frame<Bytes>) -> Option<Self> {
        match frame.into_data() {
            Ok(data) => Some(Self::Data(data)),
            Err(frame) => frame
                .into_trailers()
                .ok()
                .map(|fields| Self::Trailers(Box::new(fields))),
        }
    }

    fn into_frame(self) -> Frame<Bytes> {
        match self {
            Self::Data(data) => Frame::data(data),
            Self::Trailers(fields) => Frame::trailers(*fields),
        }
    }
}

impl Exchange {
    /// Whether no more of the response comes.
    pub fn is_end_stream(&self) -> bool {
        self.first.is_none() && (self.ended || self.is_read())
    }

    /// Whether the connection says that it has given all of the response.
    fn is_read(&self) -> bool {
        match (&self.connection, &self.incoming) {
            (Some(Connection::Http1(connection)), _) => connection.is_ended(),
            (_, Some(incoming)) => incoming.is_end_stream(),
            (_, None) => true,
        }
    }

    /// How much of it comes, as far as that is known.
    pub fn size_hint(&self) -> SizeHint {
        let mut hint = match (&self.connection, &self.incoming) {
            (Some(Connection::Http1(connection)), _) => connection.size_hint(),
            (_, Some(incoming)) => incoming.size_hint(),
            (_, None) => SizeHint::default(),
        };
        if let Some(First::Data(first)) = &self.first {
            let more = first.len() as u64;
            let (lower, upper) = (hint.lower() + more, hint.upper().map(|upper| upper + more));
            hint = SizeHint::new();
            if let Some(upper) = upper {
                hint.set_upper(upper);
            }
            hint.set_lower(lower);
        }
        hint
    }

    /// Has the connection, if others share it, know what was read.
    fn note_read(&self, frame: &Frame<Bytes>) {
        if let Some(Connection::Http2(stream)) = &self.connection {
            stream.read(frame.data_ref().map_or(0, Bytes::len));
        }
    }

    /// Goes on with the request's body while the client does not take the response. An error in it is found when more of
    /// the response is asked for.
    pub(super) fn poll_upload(&mut self, cx: &mut Context<'_>) {
        if let Some(Connection::Http1(connection)) = &mut self.connection {
            connection.poll_upload(cx);
        }
    }

    fn poll_pod(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(Connection::Http1(connection)) = &mut self.connection {
            if let Some(error) = self.error.take() {
                return Poll::Ready(Some(Err(error.into())));
            }
            return match ready!(connection.poll_frame(cx)) {
                Some(Err(error)) => {
                    // What came before is to be written first: whoever writes the reply may throw away the rest when told.
                    self.error = Some(error);
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                Some(Ok(frame)) => Poll::Ready(Some(Ok(frame))),
                None => Poll::Ready(None),
            };
        }
        let Some(incoming) = &mut self.incoming else {
            return Poll::Ready(None);
        };
        let poll = Pin::new(&mut *incoming).poll_frame(cx);
        // To hyper a stream that was reset without an error has ended, but only END_STREAM says that all of the response
        // was there (RFC 9113, section 8.1).
        if matches!(poll, Poll::Ready(None)) && !incoming.is_end_stream() {
            let error = "the pod ended its stream in the middle of the response";
            return Poll::Ready(Some(Err(error.into())));
        }
        poll.map(|frame| frame.map(|frame| frame.map_err(Into::into)))
    }

    /// The next piece of the response, waited for on behalf of a client.
    #[inline]
    pub(super) fn poll_frame(
        &mut self,
        client: &Client,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(first) = self.first.take() {
            client.wait.moved(&self.worker.clock);
            self.ended |= matches!(first, First::Trailers(_));
            let frame = first.into_frame();
            self.note_read(&frame);
            return Poll::Ready(Some(Ok(frame)));
        }
        match self.poll_pod(cx) {
            Poll::Ready(frame) => {
                client.wait.waited();
                client.wait.moved(&self.worker.clock);
                if let Some(Ok(frame)) = &frame {
                    self.note_read(frame);
                }
                let trailers = matches!(&frame, Some(Ok(frame)) if frame.is_trailers());
                self.ended |= trailers || frame.is_none();
                Poll::Ready(frame)
            }
            Poll::Pending if client.wait.take_late() => {
                Poll::Ready(Some(Err("the pod stopped in the middle of its response".into())))
            }
            Poll::Pending => {
                client.wait.register(cx.waker());
                client.wait.wait_for(Waiting::Body, &self.worker.clock);
                Poll::Pending
            }
        }
    }
}

impl Drop for Exchange {
    /// Gives the connection back if both messages ended as they should; otherwise it closes by being dropped.
    fn drop(&mut self) {
        if !self.upload.is_done()
            && !self.upload.abandon()
            && let Some(Connection::Http2(stream)) = &self.connection
        {
            // hyper keeps the stream open until the pod makes room, which it may never do. The pod's limit of streams
            // must not fill up with such ones.
            stream.retire();
        }
        if let Some(connection) = self.connection.take()
            && self.reusable
            && self.is_end_stream()
            && self.upload.is_done()
            && !self.lease.connections.closed.get()
        {
            let settings = &self.worker.settings.pool;
            // A stream is given back by being dropped.
            let Connection::Http1(connection) = connection else {
                return;
            };
            self.lease
                .connections
                .pool
                .put(connection, &self.worker.clock, settings);
        }
    }
}
