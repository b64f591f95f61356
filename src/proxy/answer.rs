//! The outcome of a request that is sent to a pod: the head of the response, or the reason why it did not come.

use super::attempt::StreamEnd;
use super::body::ClientBody;
use super::client::Client;
use super::error::ProxyError;
use super::exchange::First;
use super::forward::Plan;
use super::response_fields::clean_response;
use super::wait::{Limits, Waiting};
use super::worker::Worker;
use crate::message::{self, Fields, Name};
use crate::upstream::endpoint::Connections;
use crate::upstream::h2;
use crate::upstream::http1::{Http1, SendError};
use crate::upstream::tls::HandshakeError;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Sleep;

/// Response heads that may take no longer than this are timed exactly.
const EXACT: Duration = Duration::from_secs(10);

/// An attempt that came to no response head.
pub struct Broken {
    /// What it means.
    pub error: ProxyError,
    /// What exactly, where more is known.
    pub cause: Option<String>,
    /// The body, if nothing of the request was sent.
    pub unsent: Option<ClientBody>,
    /// Whether it was we who gave the connection up.
    pub given_up: bool,
}

impl From<ProxyError> for Broken {
    fn from(error: ProxyError) -> Self {
        Self {
            error,
            cause: None,
            unsent: None,
            given_up: false,
        }
    }
}

/// A response of which the head is there.
pub struct Answer {
    /// Its body, where it comes by HTTP/2.
    pub incoming: Option<Incoming>,
    /// The body's first piece, where that is there too.
    pub first: Option<First>,
}

impl Answer {
    /// One whose first piece was looked for.
    fn new<E: ToString>(
        plan: &Plan<'_>,
        status: StatusCode,
        incoming: Option<Incoming>,
        first: Result<Option<First>, E>,
    ) -> Result<Self, Broken> {
        let cause = match first {
            // Statuses end at 599 (RFC 9110, section 15); what others mean, nobody knows.
            Ok(first) if status.as_u16() < 600 => return Ok(Self { incoming, first }),
            Ok(_) => format!("the status {}", status.as_u16()),
            Err(error) => error.to_string(),
        };
        let error = plan.upload.take_error().unwrap_or(ProxyError::BadResponse);
        Err(Broken {
            cause: Some(cause),
            ..error.into()
        })
    }
}

/// Waits for a response head. Absent if that takes too long: `limit` is how long it may take, where the backend has a time
/// of its own.
pub async fn in_time<T>(
    worker: &Worker,
    client: &Client,
    plan: &Plan<'_>,
    limit: Option<Duration>,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Option<T> {
    let first = if plan.upload.is_done() {
        Waiting::Head
    } else {
        Waiting::Upload
    };
    let own = Limits {
        head: limit.into(),
        ..client.wait.limits.get()
    };
    client.wait.limits.set(own);
    client.wait.wait_for(first, &worker.clock);
    // The sweeper would be late by up to two ticks, which counts where the time is short.
    let exact = limit.filter(|limit| first == Waiting::Head && *limit <= EXACT);
    let mut alarm = exact.map(|limit| Box::pin(tokio::time::sleep(limit)));
    let answer = poll_fn(|cx| {
        let rung = |alarm: &mut Pin<Box<Sleep>>| alarm.as_mut().poll(cx).is_ready();
        if client.wait.take_late() || alarm.as_mut().is_some_and(rung) {
            return Poll::Ready(None);
        }
        client.wait.register(cx.waker());
        poll(cx).map(Some)
    });
    let answer = answer.await;
    client.wait.waited();
    answer
}

/// The response behind the interim ones, which the client gets as they come. A 100 is for us: narthex itself answers clients
/// that wait with their bodies.
pub fn poll_final(
    connection: &mut Http1<ClientBody>,
    client: &Client,
    head: &mut message::Response,
    cx: &mut Context<'_>,
) -> Poll<Result<(), SendError>> {
    loop {
        ready!(connection.poll_response(head, cx))?;
        let status = head.status;
        if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Poll::Ready(Ok(()));
        }
        let mut response = std::mem::take(head);
        if status != StatusCode::CONTINUE && clean_response(&mut response.fields).is_ok() {
            response.fields.remove(&Name::ContentLength);
            client.informs(response);
        }
    }
}

/// What came of an attempt over HTTP/1.1.
pub fn by_http1(
    plan: &Plan<'_>,
    connection: &mut Http1<ClientBody>,
    status: StatusCode,
    answer: Option<Result<(), SendError>>,
) -> Result<Answer, Broken> {
    let failure = match answer {
        None => return Err(ProxyError::ResponseTimeout.into()),
        Some(Ok(())) => return Answer::new(plan, status, None, First::of_http1(connection)),
        Some(Err(failure)) => failure,
    };
    let refusal = match &failure {
        SendError::Broken(error) if !connection.reused => HandshakeError::in_refusal(error),
        _ => None,
    };
    let error = match (plan.upload.take_error(), &failure) {
        (Some(error), _) => error,
        (None, _) if refusal.is_some() => ProxyError::TlsRefused,
        (None, SendError::Upload(_)) => ProxyError::Unsendable,
        (None, SendError::Head(_)) => ProxyError::BadResponse,
        (None, SendError::Ended | SendError::Broken(_)) => ProxyError::Closed,
    };
    let cause = match (refusal, &failure) {
        (Some(fault), _) => Some(fault.why),
        (None, SendError::Ended) => None,
        (None, failure) => Some(failure.to_string()),
    };
    Err(Broken {
        error,
        cause,
        unsent: connection.take_unsent(),
        given_up: false,
    })
}

/// What came of an attempt over HTTP/2.
pub fn by_http2(
    plan: &Plan<'_>,
    stream: &h2::Stream<ClientBody>,
    known: &Connections<ClientBody>,
    head: &mut message::Response,
    answer: Option<Result<Response<Incoming>, TrySendError<Request<ClientBody>>>>,
) -> Result<Answer, Broken> {
    let mut failed = match answer {
        None => return Err(ProxyError::ResponseTimeout.into()),
        Some(Ok(response)) => {
            let (parts, mut incoming) = response.into_parts();
            let first = First::of_http2(&mut incoming);
            *head = message::Response {
                status: parts.status,
                reason: None::<Bytes>,
                fields: Fields::of_map(&parts.headers, 0),
            };
            return Answer::new(plan, parts.status, Some(incoming), first);
        }
        Some(Err(failed)) => failed,
    };
    let unsent = failed.take_message().map(Request::into_body);
    let end = StreamEnd::of(failed.error());
    match end {
        StreamEnd::Refused => stream.refused(),
        StreamEnd::Unprocessed => stream.retire(),
        StreamEnd::Fault => known.h2.note_fault(),
        _ => {}
    }
    let refusal = HandshakeError::in_refusal(failed.error()).filter(|_| !stream.reused);
    let error = match plan.upload.take_error() {
        Some(error) => error,
        None if refusal.is_some() => ProxyError::TlsRefused,
        None if end == StreamEnd::Unsendable => ProxyError::Unsendable,
        None if failed.error().is_parse() => ProxyError::BadResponse,
        None if matches!(end, StreamEnd::Refused | StreamEnd::Unprocessed) => ProxyError::StreamRefused,
        None => ProxyError::Closed,
    };
    Err(Broken {
        error,
        cause: refusal.map(|fault| fault.why),
        unsent,
        given_up: end == StreamEnd::GivenUp,
    })
}
