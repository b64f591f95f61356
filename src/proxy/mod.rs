//! One request, from its head to the reply.

mod access;
mod affinity;
mod answer;
mod attempt;
pub mod body;
pub mod canonical;
mod certificate;
pub mod client;
mod compress;
mod deadline;
mod dial;
pub mod error;
mod error_pages;
mod exchange;
mod facts;
#[cfg(debug_assertions)]
pub mod fail;
mod forward;
mod forwarded;
pub mod headers;
mod mirrors;
pub mod names;
mod pacing;
mod passed_on;
mod passwords;
mod peer;
mod remembered;
pub mod reply;
mod request_body;
mod request_id;
mod response_fields;
mod retry;
mod steps;
mod subrequest;
mod timeouts;
mod trail;
pub mod trailers;
mod trust;
pub mod upgrade;
mod wait;
pub mod worker;

pub use affinity::address_key;
pub use body::{BoxError, ReplyBody};
pub use client::Client;
pub use error::ProxyError;
pub use exchange::Exchange;
pub use facts::Facts;
pub use passed_on::PassedOn;
pub use peer::{Ends, Handshake, Peer};
pub use reply::{RawReply, Reply};
pub use request_body::{Http1Body, RequestBody, StreamBody};
pub use request_id::RequestId;
pub use timeouts::Timeouts;
pub use trail::{refused, unread};
pub use trust::TrustedProxies;
pub use wait::Silence;
pub use worker::{Counters, Settings, Worker};

use crate::message::{Name, Request};
use http::{Method, StatusCode, Version};
use reply::Draft;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use trail::Trail;

/// Answers a request, whatever happens: errors and panics become replies here and nowhere else. The reply has to be a new
/// one.
pub async fn respond(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    request: &Rc<Request>,
    body: RequestBody,
    reply: &mut Reply,
) {
    client.begins(&request.fields, &worker.settings.trusted_proxies);
    let request_id = RequestId::of(request, client.peer.trusted);
    let (source, alarm, pacing, trail) = reply.body.parts();
    let trail = trail.insert(Trail::begins(worker, client, request, request_id));
    let head = &mut reply.head;
    let mut draft = Draft {
        head,
        source,
        alarm,
        pacing,
    };
    let mut panicked = false;
    let answered = {
        // Pinned where it is made: it is large, and `catch_unwind` as a future would move it.
        let mut answering = pin!(steps::take(worker, client, (request, body), trail, &mut draft));
        poll_fn(|cx| {
            let mut poll = Poll::Pending;
            let polled = catch_unwind(AssertUnwindSafe(|| poll = answering.as_mut().poll(cx)));
            if polled.is_err() {
                worker.counters.panics.add();
                panicked = true;
                poll = Poll::Ready(Err(ProxyError::Panic.into()));
            }
            poll
        })
        .await
    };
    if let Err(failure) = answered {
        trail.failed(client, request, &failure);
        if panicked {
            reply::error(&mut draft, client, trail.request_id(), failure.error, trail.is_grpc());
        }
    }
    if request.method == Method::HEAD {
        reply::leave_out_body(&mut draft);
    }
    let upgraded = draft.head.status == StatusCode::SWITCHING_PROTOCOLS;
    // HTTP/1.0 knows the end of such a reply by that of the connection only.
    let by_end = request.version == Version::HTTP_10 && !draft.source.has_length();
    if (client.flags.last.get() || by_end) && !upgraded {
        draft.head.fields.insert(&Name::Connection, "close");
        client.flags.said_last.set(true);
        client.flags.ends_by_close.set(by_end);
    }
    trail.answered(draft.head.status, &draft.head.fields);
    reply.body.send();
}

/// Answers a request that is not even looked at.
pub fn refuse(worker: &Rc<Worker>, client: &Rc<Client>, request: &Rc<Request>, error: ProxyError) -> Reply {
    let mut reply = Reply::new(client);
    let (source, alarm, pacing, trail) = reply.body.parts();
    let trail = trail.insert(Trail::begins(worker, client, request, RequestId::new()));
    let head = &mut reply.head;
    let mut draft = Draft {
        head,
        source,
        alarm,
        pacing,
    };
    trail.failed(client, request, &error.into());
    reply::error(&mut draft, client, trail.request_id(), error, trail.is_grpc());
    if request.method == Method::HEAD {
        reply::leave_out_body(&mut draft);
    }
    trail.answered(draft.head.status, &draft.head.fields);
    reply.body.send();
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_answer<'a, F>(
        _: impl Fn(&'a Rc<Worker>, &'a Rc<Client>, &'a Rc<Request>, RequestBody, &'a mut Reply) -> F,
    ) -> usize {
        size_of::<F>()
    }

    /// jemalloc has slabs of eight for this size, but of one or two for 3 or 4 KiB.
    #[test]
    fn the_future_of_a_request_stays_small() {
        let size = size_of_answer(respond);
        assert!(size <= 2560, "{size} bytes");
    }
}
