//! Every reply that narthex makes itself. Which status and text an error gets is in [`ProxyError::verdict`].

use super::body::{ReplyBody, Source};
use super::client::Client;
use super::deadline::Alarm;
use super::error::{ProxyError, Side, Verdict};
use super::pacing::Pacing;
use super::request_id::RequestId;
use crate::message::{Fields, Name, Response};
use crate::table::Answer;
use crate::table::decide::Redirect;
use bytes::Bytes;
use http::StatusCode;
use std::fmt;
use std::rc::Rc;

const TEXT: &str = "text/plain; charset=utf-8";
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// A reply: its head, and its body. It is large, so it is made where it stays.
pub struct Reply {
    /// The head.
    pub head: Response,
    /// The body.
    pub body: ReplyBody,
}

impl Reply {
    /// Nothing is in it yet.
    pub fn new(client: &Rc<Client>) -> Self {
        Self {
            head: Response::default(),
            body: ReplyBody::new(client),
        }
    }
}

/// The parts of a reply that the steps of its request make. What is noted of the request is read meanwhile.
pub struct Draft<'r> {
    /// The head.
    pub head: &'r mut Response,
    /// Where the body comes from.
    pub source: &'r mut Source,
    /// When the body is to be out.
    pub alarm: &'r mut Option<Alarm>,
    /// How fast it is sent, where its route says so.
    pub pacing: &'r mut Option<Box<Pacing>>,
}

/// The bytes that a client in plain gets when there is no room for its connection. It has no request yet.
pub const NO_ROOM: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 20\r\n\
retry-after: 1\r\nconnection: close\r\n\r\nservice unavailable\n";

/// The bytes that a client gets which speaks plain HTTP to the HTTPS port. nginx answers with 400 too.
pub const PLAIN_ON_HTTPS: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 50\r\n\
Connection: close\r\n\r\nthis port speaks HTTPS: write https:// in the URL\n";

/// A redirect to HTTPS. 308 keeps method and body (RFC 9110 §15.4.9).
pub fn redirect(draft: &mut Draft<'_>, to: &Redirect<'_>) {
    let text = match to.status {
        StatusCode::PERMANENT_REDIRECT => Bytes::from_static(b"Permanent Redirect\n"),
        other => Bytes::from(format!("{}\n", other.canonical_reason().unwrap_or_default())),
    };
    let fields = own(draft, to.status, text);
    // The canonical form of host and path is header text, and so is the query that was read.
    fields.append(&Name::Location, to.location());
    fields.append(&Name::ContentType, TEXT);
}

/// What a route says that narthex answers.
pub fn direct(draft: &mut Draft<'_>, answer: &Answer) {
    let reason = answer.status.canonical_reason().unwrap_or_default();
    let fields = own(draft, answer.status, Bytes::from(format!("{reason}\n")));
    fields.append(&Name::ContentType, TEXT);
    if let Some(location) = &answer.location {
        fields.append(&Name::Location, location);
    }
}

/// What a step of a route says that clients get.
pub fn text(draft: &mut Draft<'_>, status: StatusCode, text: Option<String>) {
    let Some(text) = text else {
        return direct(draft, &Answer { status, location: None });
    };
    let is_bodiless = status == StatusCode::NO_CONTENT || text.is_empty();
    let text = if is_bodiless { String::new() } else { text };
    let fields = own(draft, status, Bytes::from(text));
    if !is_bodiless {
        fields.append(&Name::ContentType, TEXT);
        fields.append(&Name::XContentTypeOptions, "nosniff");
    }
}

/// What a browser gets that asks which requests of other origins it may send. The fields that say so come after it.
pub fn preflight(draft: &mut Draft<'_>) {
    own(draft, StatusCode::NO_CONTENT, Bytes::new());
}

/// `OPTIONS *` is about the server as a whole (RFC 9110 §9.3.7), so no pod is asked.
pub fn server_options(draft: &mut Draft<'_>) {
    let fields = own(draft, StatusCode::NO_CONTENT, Bytes::new());
    fields.append(&Name::Allow, METHODS);
}

/// The reply to a request that failed; `grpc` says that its client expects gRPC.
pub fn error(draft: &mut Draft<'_>, client: &Client, request_id: &RequestId, error: ProxyError, grpc: bool) {
    let verdict = error.verdict();
    if grpc {
        return grpc_error(draft, request_id, &verdict);
    }
    let fields = own(draft, verdict.status, Bytes::from(format!("{}\n", verdict.body)));
    fields.append(&Name::ContentType, TEXT);
    fields.append(&Name::XContentTypeOptions, "nosniff");
    fields.append(&Name::XRequestId, request_id.as_bytes());
    // HTTP/2 has no such field, and one request's fault is no other's.
    if verdict.close && !client.is_multiplexed() {
        fields.append(&Name::Connection, "close");
        client.flags.said_last.set(true);
    }
    // A closed route stays closed until somebody changes it, so there is no time to name.
    let passes = !matches!(error, ProxyError::GuardNotEnforced | ProxyError::GuardInvalid);
    if verdict.status == StatusCode::SERVICE_UNAVAILABLE && verdict.side == Side::Us && passes {
        fields.append(&Name::RetryAfter, "1");
    }
    if verdict.status == StatusCode::METHOD_NOT_ALLOWED {
        fields.append(&Name::Allow, METHODS);
    }
}

/// A gRPC client looks for its own status, in a response of a head alone (gRPC over HTTP/2, "Trailers-Only").
fn grpc_error(draft: &mut Draft<'_>, request_id: &RequestId, verdict: &Verdict) {
    let fields = own(draft, StatusCode::OK, Bytes::new());
    fields.append(&Name::ContentType, "application/grpc");
    fields.append(&Name::GrpcStatus, verdict.grpc.to_string());
    fields.append(&Name::GrpcMessage, verdict.body);
    fields.append(&Name::XRequestId, request_id.as_bytes());
}

/// Ends a reply to HEAD with its head, which says how long the body would have been (RFC 9110, section 9.3.2).
pub fn leave_out_body(draft: &mut Draft<'_>) {
    if let Some(length) = draft.source.leave_out()
        && !draft.head.fields.contains(&Name::ContentLength)
    {
        draft.head.fields.append(&Name::ContentLength, length.to_string());
    }
}

/// Begins a reply of our own, whatever was made before. Its fields are still to be added.
fn own<'d>(draft: &'d mut Draft<'_>, status: StatusCode, text: Bytes) -> &'d mut Fields {
    *draft.head = Response {
        status,
        ..Response::default()
    };
    *draft.source = Source::Ours(Some(text).filter(|text| !text.is_empty()));
    *draft.alarm = None;
    *draft.pacing = None;
    &mut draft.head.fields
}

/// An error reply as raw bytes, for a connection whose next head could not be read.
pub struct RawReply<'a> {
    /// What went wrong.
    pub error: ProxyError,
    /// The request's id.
    pub request_id: &'a str,
}

impl fmt::Display for RawReply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = self.error.verdict();
        let reason = verdict.status.canonical_reason().unwrap_or("Error");
        write!(
            f,
            "HTTP/1.1 {} {reason}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\nx-request-id: {}\r\n\
             connection: close\r\ndate: {}\r\n\r\n{}\n",
            verdict.status.as_u16(),
            verdict.body.len() + 1,
            self.request_id,
            httpdate::HttpDate::from(std::time::SystemTime::now()),
            verdict.body,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raw_reply_counts_its_body() {
        let reply = RawReply {
            error: ProxyError::HeadTimeout,
            request_id: "x",
        }
        .to_string();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 408 Request Timeout\r\n"));
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())));
    }

    #[test]
    fn replies_of_fixed_bytes_count_their_body() {
        for reply in [NO_ROOM, PLAIN_ON_HTTPS] {
            let (head, body) = std::str::from_utf8(reply).unwrap().split_once("\r\n\r\n").unwrap();
            let length = format!("content-length: {}", body.len());
            assert!(head.lines().any(|line| line.eq_ignore_ascii_case(&length)), "{head}");
        }
    }
}
