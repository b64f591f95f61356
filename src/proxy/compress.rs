//! Compresses replies, as the policy says.

use super::body::BoxError;
use super::client::Client;
use super::exchange::Exchange;
use super::reply::Draft;
use super::worker::Worker;
use crate::message::Request;
use crate::policy::compress::{Compressor, MemoryPermit, plan};
use crate::table::Compression;
use bytes::Bytes;
use http::Method;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Compresses a pod's reply, if it is one to be compressed and the client takes it. Without memory for another encoder
/// it goes as it is.
pub fn compress(worker: &Rc<Worker>, settings: &Compression, request: &Request, draft: &mut Draft<'_>) {
    let bodiless = request.method == Method::HEAD;
    let empty = !bodiless && draft.source.is_end_stream();
    let status = draft.head.status;
    let Some(plan) = plan(settings, request, status, &mut draft.head.fields, empty) else {
        return;
    };
    if !bodiless {
        let Some(room) = worker.settings.compression_memory.room(plan.coding) else {
            worker.counters.compressions_refused.add();
            return;
        };
        let compressor = Compressor::new(plan);
        draft.source.compress(|exchange| Compressed {
            exchange,
            compressor,
            room: Some(room),
        });
        worker.counters.compressions.add();
    }
    plan.mark(&mut draft.head.fields);
}

/// A pod's reply on its way through an encoder.
pub struct Compressed {
    /// The plain reply.
    pub exchange: Exchange,
    compressor: Compressor,
    /// Given back as soon as the encoder is done, for the client may take long over what came out of it.
    room: Option<MemoryPermit>,
}

impl Compressed {
    /// The next piece.
    pub fn poll_frame(
        &mut self,
        client: &Client,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let exchange = &mut self.exchange;
        let poll = self.compressor.poll_frame(&mut Plain { exchange, client }, cx);
        if self.compressor.is_done() {
            self.room = None;
        }
        if poll.is_ready() {
            // What was flushed while the pod pauses is the client's to take, and the pod is not asked meanwhile.
            client.wait.waited();
        }
        poll
    }

    /// Whether there is no next piece.
    pub fn is_end_stream(&self) -> bool {
        self.compressor.is_closed()
    }
}

/// The pod's body, waited for on behalf of a client.
struct Plain<'a> {
    exchange: &'a mut Exchange,
    client: &'a Client,
}

impl Body for Plain<'_> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let client = self.client;
        self.exchange.poll_frame(client, cx)
    }

    fn is_end_stream(&self) -> bool {
        self.exchange.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.exchange.size_hint()
    }
}
