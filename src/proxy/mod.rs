//! One request, from its head to the reply.

mod affinity;
mod answer;
mod attempt;
pub mod body;
pub mod canonical;
pub mod client;
mod compress;
mod deadline;
mod dial;
pub mod error;
mod exchange;
mod facts;
#[cfg(debug_assertions)]
pub mod fail;
mod forward;
mod forwarded;
pub mod headers;
pub mod names;
mod peer;
pub mod reply;
mod request_body;
mod response_fields;
mod retry;
mod steps;
mod timeouts;
mod trail;
pub mod trailers;
mod trust;
pub mod upgrade;
mod wait;
pub mod worker;

pub use body::{BoxError, ReplyBody};
pub use client::Client;
pub use error::ProxyError;
pub use exchange::Exchange;
pub use facts::Facts;
pub use peer::{Ends, Handshake, Peer};
pub use reply::{RawReply, Reply};
pub use request_body::{Http1Body, RequestBody, StreamBody};
pub use timeouts::Timeouts;
pub use trail::{refused, unread};
pub use trust::TrustedProxies;
pub use wait::Silence;
pub use worker::{Counters, Settings, Worker};

use crate::message::{Name, Request};
use http::header::HeaderValue;
use http::{Method, StatusCode, Version};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use trail::Trail;

/// Answers a request, whatever happens: errors and panics become replies here and nowhere else.
pub fn respond(
    worker: Rc<Worker>,
    client: Rc<Client>,
    request: Rc<Request>,
    body: RequestBody,
) -> impl Future<Output = Reply> {
    client.begins(&request.fields, &worker.settings.trusted_proxies);
    let request_id = request_id(&request, &client);
    let mut trail = Trail::begins(&worker, &client, &request, request_id);
    // What comes before stays out of the future, which would keep room for the request as it came.
    async move {
        let answered = {
            // Pinned where it is made: it is large, and `catch_unwind` as a future would move it.
            let mut answering = pin!(steps::take(&worker, &client, (&request, body), &trail));
            poll_fn(|cx| {
                let mut poll = Poll::Pending;
                let polled = catch_unwind(AssertUnwindSafe(|| poll = answering.as_mut().poll(cx)));
                if polled.is_err() {
                    worker.counters.panics.add();
                    poll = Poll::Ready(Err(ProxyError::Panic.into()));
                }
                poll
            })
            .await
        };
        let mut reply = answered.unwrap_or_else(|failure| {
            trail.failed(&client, &request, &failure);
            reply::error(&client, trail.request_id(), failure.error, trail.is_grpc())
        });
        if request.method == Method::HEAD {
            reply::leave_out_body(&mut reply);
        }
        let upgraded = reply.head.status == StatusCode::SWITCHING_PROTOCOLS;
        // HTTP/1.0 knows the end of such a reply by that of the connection only.
        let by_end = request.version == Version::HTTP_10 && !reply.body.has_length();
        if (client.flags.last.get() || by_end) && !upgraded {
            reply.head.fields.insert(&Name::Connection, "close");
            client.flags.said_last.set(true);
            client.flags.ends_by_close.set(by_end);
        }
        trail.answered(reply.head.status, &reply.head.fields);
        reply.body.hold(trail);
        reply
    }
}

/// Answers a request that is not even looked at.
pub fn refuse(worker: &Rc<Worker>, client: &Rc<Client>, request: &Rc<Request>, error: ProxyError) -> Reply {
    let mut trail = Trail::begins(worker, client, request, new_request_id());
    trail.failed(client, request, &error.into());
    let mut reply = reply::error(client, trail.request_id(), error, false);
    if request.method == Method::HEAD {
        reply::leave_out_body(&mut reply);
    }
    trail.answered(reply.head.status, &reply.head.fields);
    reply.body.hold(trail);
    reply
}

/// A trusted proxy's id, or a new one.
fn request_id(request: &Request, client: &Client) -> HeaderValue {
    if client.peer.trusted
        && let Some(id) = request.fields.get(&Name::XRequestId)
        && let Some(id) = id.to_header()
    {
        return id;
    }
    new_request_id()
}

/// 128 random bits in hexadecimal.
pub fn new_request_id() -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut bits = fastrand::u128(..);
    let mut text = [0; 32];
    for place in &mut text {
        *place = DIGITS[(bits & 15) as usize];
        bits >>= 4;
    }
    // Hexadecimal digits are header text.
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_answer<F>(_: impl Fn(Rc<Worker>, Rc<Client>, Rc<Request>, RequestBody) -> F) -> usize {
        size_of::<F>()
    }

    /// Each request allocates and copies it. jemalloc has slabs of eight for this size, but of one or two for 3 or 4 KiB.
    #[test]
    fn the_future_of_a_request_stays_small() {
        let size = size_of_answer(respond);
        assert!(size <= 2560, "{size} bytes");
    }
}
