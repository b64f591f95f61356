//! One request, from its head to the reply.

mod affinity;
mod attempt;
pub mod body;
pub mod canonical;
pub mod client;
mod compress;
mod deadline;
mod dial;
pub mod error;
#[cfg(debug_assertions)]
pub mod fail;
mod forward;
mod forwarded;
pub mod headers;
pub mod names;
mod peer;
pub mod reply;
mod request_body;
mod retry;
mod steps;
mod timeouts;
mod trail;
pub mod trailers;
mod trust;
pub mod upgrade;
mod wait;
pub mod worker;

pub use body::{Exchange, ReplyBody};
pub use client::Client;
pub use error::ProxyError;
pub use peer::{Ends, Handshake, Peer};
pub use reply::RawReply;
pub use request_body::{RequestBody, StreamBody};
pub use timeouts::Timeouts;
pub use trail::{refused, unread};
pub use trust::TrustedProxies;
pub use wait::Silence;
pub use worker::{Counters, Settings, Worker};

use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Version};
use std::convert::Infallible;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use trail::{Head, Trail};

/// Answers a request, whatever happens: errors and panics become replies here and nowhere else.
///
/// # Errors
/// None.
pub async fn respond(
    worker: Rc<Worker>,
    client: Rc<Client>,
    request: Request<RequestBody>,
) -> Result<Response<ReplyBody>, Infallible> {
    let (mut parts, body) = request.into_parts();
    client.begins(&parts.headers, &worker.settings.trusted_proxies);
    let version = parts.version;
    let request_id = request_id(&parts, &client);
    let mut trail = Trail::begins(&worker, &client, Head::from(&parts), request_id);
    let answered = {
        // Pinned where it is made: it is large, and `catch_unwind` as a future would move it.
        let mut answering = pin!(steps::take(&worker, &client, (&mut parts, body), &trail));
        poll_fn(|cx| {
            let poll = catch_unwind(AssertUnwindSafe(|| answering.as_mut().poll(cx)));
            poll.map_or(Poll::Ready(Err(())), |poll| poll.map(Ok))
        })
        .await
    };
    let answered = answered.unwrap_or_else(|()| {
        worker.counters.panics.add();
        Err(ProxyError::Panic.into())
    });
    let mut reply = answered.unwrap_or_else(|failure| {
        trail.failed(&client, Head::from(&parts), &failure);
        reply::error(&client, trail.request_id(), failure.error, trail.is_grpc())
    });
    if parts.method == Method::HEAD {
        reply::leave_out_body(&mut reply);
    }
    let upgraded = reply.status() == StatusCode::SWITCHING_PROTOCOLS;
    // HTTP/1.0 knows the end of such a reply by that of the connection only.
    let by_end = version == Version::HTTP_10 && !reply.body().has_length();
    if (client.flags.last.get() || by_end) && !upgraded {
        let close = HeaderValue::from_static("close");
        reply.headers_mut().insert(header::CONNECTION, close);
        client.flags.said_last.set(true);
        client.flags.ends_by_close.set(by_end);
    }
    if version == Version::HTTP_10 && client.flags.said_last.get() {
        // To a reply of HTTP/1.1, hyper would add that the connection is kept.
        *reply.version_mut() = Version::HTTP_10;
    }
    trail.answered(reply.status(), reply.headers());
    reply.body_mut().hold(trail);
    Ok(reply)
}

/// Answers a request that is not even looked at.
pub fn refuse<B>(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    request: &Request<B>,
    error: ProxyError,
) -> Response<ReplyBody> {
    let mut trail = Trail::begins(worker, client, Head::from(request), new_request_id());
    trail.failed(client, Head::from(request), &error.into());
    let mut reply = reply::error(client, trail.request_id(), error, false);
    if *request.method() == Method::HEAD {
        reply::leave_out_body(&mut reply);
    }
    trail.answered(reply.status(), reply.headers());
    reply.body_mut().hold(trail);
    reply
}

/// A trusted proxy's id, or a new one.
fn request_id(parts: &Parts, client: &Client) -> HeaderValue {
    if client.peer.trusted
        && let Some(id) = parts.headers.get(headers::X_REQUEST_ID)
    {
        return id.clone();
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
