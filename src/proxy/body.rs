//! Bodies on their way: the client's to the pod, the pod's to the client.

use super::client::{Client, Waiting};
use super::error::ProxyError;
use super::worker::Worker;
use crate::upstream::{Connection, Lease};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A request body, as sent to a pod. Remembers whose fault its end was.
pub struct ClientBody {
    incoming: Option<Incoming>,
    client: Rc<Client>,
    worker: Rc<Worker>,
}

impl ClientBody {
    /// The body of the client's present request.
    pub fn new(incoming: Incoming, client: &Rc<Client>, worker: &Rc<Worker>) -> Self {
        let ended = incoming.is_end_stream();
        client.body_done.set(ended);
        client.body_error.set(None);
        Self {
            incoming: (!ended).then_some(incoming),
            client: client.clone(),
            worker: worker.clone(),
        }
    }

    /// A body for another attempt at a request that had none.
    pub fn empty(client: &Rc<Client>, worker: &Rc<Worker>) -> Self {
        Self {
            incoming: None,
            client: client.clone(),
            worker: worker.clone(),
        }
    }

    /// Whether there is nothing in it, so that it can be made again.
    pub fn is_empty(&self) -> bool {
        self.incoming.is_none()
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let Some(incoming) = &mut this.incoming else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(&mut *incoming).poll_frame(cx));
        // An upload that moves is no pod that keeps us waiting.
        this.client.progress(&this.worker.clock);
        match frame {
            Some(Ok(frame)) => {
                if incoming.is_end_stream() {
                    this.client.body_done.set(true);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                let late = this.client.body_late.get();
                this.client.body_error.set(Some(if late {
                    ProxyError::BodyTimeout
                } else {
                    ProxyError::BadBody
                }));
                Poll::Ready(Some(Err(error.into())))
            }
            None => {
                this.client.body_done.set(true);
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

/// A pod's response body with what it holds: the endpoint, and the connection to give back.
pub struct Exchange {
    /// The rest of the response.
    pub incoming: Incoming,
    /// Where it comes from.
    pub connection: Option<Connection<ClientBody>>,
    /// Counts the request in the endpoint's load.
    pub lease: Lease<ClientBody>,
    /// The shard.
    pub worker: Rc<Worker>,
}

impl Drop for Exchange {
    /// Gives the connection back if both messages ended as they should; otherwise it closes by being dropped.
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take()
            && self.incoming.is_end_stream()
            && !self.lease.endpoint.gone.get()
        {
            let settings = &self.worker.settings.pool;
            self.lease.endpoint.pool.put(connection, &self.worker.clock, settings);
        }
    }
}

/// Where a reply's bytes come from.
enum Source {
    Ours(Option<Bytes>),
    Pod(Exchange),
}

/// What the client gets. The request is under way until this is dropped.
pub struct ReplyBody {
    source: Source,
    client: Rc<Client>,
    worker: Rc<Worker>,
}

impl ReplyBody {
    /// A reply of our own.
    pub fn ours(text: Bytes, client: &Rc<Client>, worker: &Rc<Worker>) -> Self {
        Self {
            source: Source::Ours(Some(text).filter(|text| !text.is_empty())),
            client: client.clone(),
            worker: worker.clone(),
        }
    }

    /// A pod's reply.
    pub fn pod(exchange: Exchange, client: &Rc<Client>) -> Self {
        Self {
            client: client.clone(),
            worker: exchange.worker.clone(),
            source: Source::Pod(exchange),
        }
    }
}

impl Drop for ReplyBody {
    fn drop(&mut self) {
        // A connection that cannot be used again was not to be given back while the request was still being read.
        if let Source::Pod(exchange) = &mut self.source
            && !self.client.body_done.get()
        {
            exchange.connection = None;
        }
        self.client.waited();
        let in_flight = &self.worker.in_flight;
        in_flight.set(in_flight.get().saturating_sub(1));
        self.client.replies.set(self.client.replies.get().wrapping_add(1));
        if self.client.wake_on_reply.get() {
            self.client.wake();
        }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let exchange = match &mut this.source {
            Source::Ours(text) => return Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Source::Pod(exchange) => exchange,
        };
        match Pin::new(&mut exchange.incoming).poll_frame(cx) {
            Poll::Ready(frame) => {
                this.client.waited();
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending if this.client.take_late() => {
                Poll::Ready(Some(Err("the pod stopped in the middle of its response".into())))
            }
            Poll::Pending => {
                this.client.wait_for(Waiting::Body, &exchange.worker.clock);
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Ours(text) => text.is_none(),
            Source::Pod(exchange) => exchange.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Ours(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Source::Pod(exchange) => exchange.incoming.size_hint(),
        }
    }
}
