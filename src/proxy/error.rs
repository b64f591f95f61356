//! The one error exit: every way a request can fail, whose fault it is, and what the client gets.

use crate::http1::{Fault, FaultKind};
use crate::table::BackendState;
use crate::table::canonical::{HostError, PathError};
use http::StatusCode;

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// What the client sent, or its silence.
    Client,
    /// The pod, or the way to it.
    Upstream,
    /// Ours, or our limits.
    Us,
}

impl Side {
    /// The word for logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Side::Client => "client",
            Side::Upstream => "upstream",
            Side::Us => "us",
        }
    }
}

/// When the same request may be sent again, to another endpoint or on another connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retry {
    /// Never.
    Never,
    /// If nothing of the request is lost by it: an idempotent method without a body that is gone (RFC 9110 §9.2.2).
    IfIdempotent,
    /// Always: no byte of it was sent.
    Always,
}

/// Why a request was not answered by a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// The bytes are not HTTP/1.1 as RFC 9112 has it; the log says which rule they break.
    #[error("the request breaks the rules of HTTP/1.1")]
    Malformed,
    /// The request target is longer than `--max-uri`.
    #[error("the request target is too long")]
    UriTooLong,
    /// The head is larger than `--max-head` or has more fields than `--max-headers`.
    #[error("the request head is too large")]
    HeadTooLarge,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    #[error("the HTTP version is not supported")]
    UnsupportedVersion,
    /// HTTP/1.1 without Host.
    #[error("an HTTP/1.1 request needs a Host")]
    MissingHost,
    /// More than one Host.
    #[error("the request has more than one Host")]
    DuplicateHost,
    /// Host is no host.
    #[error("{0}")]
    BadHost(HostError),
    /// `:authority` and `Host` disagree.
    #[error(":authority and Host name different hosts")]
    HostMismatch,
    /// The path has no canonical form.
    #[error("{0}")]
    BadPath(PathError),
    /// A request target that names no resource of a server (`OPTIONS *` goes to none either).
    #[error("the request target is not a path")]
    BadTarget,
    /// the HTTP library refused what narthex had read: a bug of ours, but the client's bytes.
    #[error("malformed request")]
    Refused,
    /// The body broke off or broke its framing.
    #[error("the request body is broken")]
    BadBody,
    /// CONNECT and TRACE.
    #[error("method not allowed")]
    MethodNotAllowed,
    /// Extended CONNECT for something else than a WebSocket (RFC 8441, RFC 9220 section 3).
    #[error("the :protocol of a CONNECT is not websocket")]
    UnknownProtocol,
    /// The head took too long.
    #[error("the request head took too long")]
    HeadTimeout,
    /// The body stood still for too long.
    #[error("the request body took too long")]
    BodyTimeout,
    /// `Expect` asks for something else than 100-continue.
    #[error("the only expectation that is supported is 100-continue")]
    BadExpectation,
    /// A host that is served under another certificate than the one this connection was shown.
    #[error("the certificate of this connection is not valid for the host")]
    Misdirected,
    /// No rule matches.
    #[error("no rule matches")]
    NoRoute,
    /// Something that should guard the route is not enforced, so nobody is let through.
    #[error("the route is closed: narthex cannot enforce what restricts access to it")]
    GuardNotEnforced,
    /// Something that should guard the route has a value that cannot be read, so nobody is let through.
    #[error("the route is closed: narthex cannot read what restricts access to it")]
    GuardInvalid,
    /// The body is longer than the route allows.
    #[error("the request body is longer than its route allows")]
    BodyTooLarge,
    /// The client's address is not one of those that the route allows.
    #[error("the client's address is not one that the route allows")]
    AddressNotAllowed,
    /// The client says of itself what the route does not want, such as the name of an unwanted program.
    #[error("the client says of itself what the route does not want")]
    Blocked,
    /// The client speaks plain HTTP, and the route is for HTTPS alone.
    #[error("the route is served over HTTPS only")]
    PlainNotServed,
    /// The client speaks HTTPS, and the route is for plain HTTP alone.
    #[error("the route is served over plain HTTP only")]
    TlsNotServed,
    /// The client has shown no certificate, and the host asks for one.
    #[error("the host asks clients for a certificate, and the client has shown none")]
    NoClientCertificate,
    /// The client's certificate cannot be verified.
    #[error("the client's certificate cannot be verified by the authorities of the host")]
    BadClientCertificate,
    /// The client's certificate is not of those whom the host allows.
    #[error("the subject of the client's certificate is not one that the host allows")]
    SubjectNotAllowed,
    /// The client has not shown who it is.
    #[error("the client has not shown who it is")]
    Unauthorized,
    /// The service that was asked does not let the client in.
    #[error("the client is not let in")]
    NotAdmitted,
    /// The service that says who may come in has not said so, nor the opposite.
    #[error("the service that says who may come in gave no usable answer")]
    AccessUnknown,
    /// Too many passwords wait to be checked.
    #[error("too many passwords wait to be checked")]
    PasswordsBusy,
    /// What a client has to show changes faster than it can be asked for.
    #[error("what the client has to show changes faster than it can be asked for")]
    AccessUnclear,
    /// The client has more requests under way than the route allows.
    #[error("the client has more requests under way than the route allows")]
    TooManyUnderWay(StatusCode),
    /// The client asks more often than the route allows.
    #[error("the client asks more often than the route allows")]
    TooOften(StatusCode),
    /// A redirect that would lead to where the request is for.
    #[error("the redirect of the route would lead to the URL that was asked for")]
    RedirectsToItself,
    /// The rule's backend has nobody to answer.
    #[error("{}", .0.reason())]
    NoBackend(BackendState),
    /// The backend is in no table any more.
    #[error("the backend is gone")]
    BackendGone,
    /// The backend has as many requests under way, and waiting, as its annotations allow.
    #[error("the backend has as many requests under way as narthex.io/max-in-flight allows")]
    BackendFull,
    /// Connections to pods have all file descriptors there are for them.
    #[error("there is no file descriptor left to connect to the pod")]
    NoDescriptor,
    /// No endpoint takes a connection.
    #[error("no endpoint accepts a connection")]
    Connect,
    /// No endpoint takes a connection in time.
    #[error("connecting took too long")]
    ConnectTimeout,
    /// The endpoint does not speak HTTP/2, though `appProtocol` or an annotation says so.
    #[error("the pod does not speak HTTP/2 in plain, as its Service's appProtocol says it does")]
    NotHttp2,
    /// The endpoint's certificate is refused.
    #[error("the pod's certificate is refused")]
    TlsUntrusted,
    /// The endpoint does not speak TLS, though `appProtocol` or an annotation says so.
    #[error("the pod does not speak TLS, as its Service says it does")]
    NotTls,
    /// The endpoint speaks TLS, but not HTTP/2 in it.
    #[error("the pod does not speak HTTP/2 under TLS, as its Service says it does")]
    TlsNoHttp2,
    /// The endpoint refuses the handshake: it may want a certificate of ours.
    #[error("the pod refuses the TLS handshake")]
    TlsRefused,
    /// The connection ended before the response head.
    #[error("the pod closed the connection before it answered")]
    Closed,
    /// The pod gave an HTTP/2 stream back untouched.
    #[error("the pod refused the stream")]
    StreamRefused,
    /// The library that speaks to pods would not send the request: a bug of ours.
    #[error("the request could not be sent to the pod")]
    Unsendable,
    /// The response is not HTTP.
    #[error("the pod's answer is not valid HTTP (if it speaks TLS: narthex.io/backend-protocol: HTTPS)")]
    BadResponse,
    /// 101 without being asked.
    #[error("the pod switched protocols without being asked to")]
    UnaskedUpgrade,
    /// A WebSocket over HTTP/2 for a backend whose endpoints speak HTTP/2.
    #[error("WebSockets over HTTP/2 go to pods that speak HTTP/1.1, and the Service's appProtocol says HTTP/2")]
    NoWebSocket,
    /// The answer to a WebSocket handshake of ours is neither an agreement to it nor an error.
    #[error("the pod's response is not a valid WebSocket handshake")]
    BadWebSocket,
    /// The time a gRPC client gave has passed.
    #[error("the pod did not answer before the client's deadline (grpc-timeout)")]
    Deadline,
    /// The response head took too long.
    #[error("the pod took too long to answer")]
    ResponseTimeout,
    /// The request has come round to narthex too often.
    #[error("the request has passed through narthex too often")]
    Loop,
    /// The requests of an HTTP/2 connection hold too much memory.
    #[error("the requests of the client's HTTP/2 connection hold too much memory")]
    ConnectionFull,
    /// More in flight than allowed.
    #[error("too many requests in flight")]
    Overloaded,
    /// A panic.
    #[error("internal error")]
    Panic,
}

/// What an error means for everybody concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The status the client gets.
    pub status: StatusCode,
    /// The body, without the closing newline.
    pub body: &'static str,
    /// The status a gRPC client gets (gRPC over HTTP/2, "HTTP to gRPC status code mapping").
    pub grpc: u8,
    /// Whose fault.
    pub side: Side,
    /// When to try again.
    pub retry: Retry,
    /// Whether the client's connection ends with it.
    pub close: bool,
    /// The label in metrics and logs.
    pub label: &'static str,
}

impl From<Fault> for ProxyError {
    fn from(fault: Fault) -> Self {
        match fault.kind() {
            FaultKind::BadRequest => Self::Malformed,
            FaultKind::UriTooLong => Self::UriTooLong,
            FaultKind::HeadTooLarge => Self::HeadTooLarge,
            FaultKind::UnsupportedVersion => Self::UnsupportedVersion,
        }
    }
}

impl ProxyError {
    /// Whether a step or a guard of a route refused the request.
    pub fn is_by_route(&self) -> bool {
        matches!(
            self,
            Self::GuardNotEnforced
                | Self::GuardInvalid
                | Self::BodyTooLarge
                | Self::AddressNotAllowed
                | Self::Unauthorized
                | Self::NotAdmitted
                | Self::AccessUnknown
                | Self::AccessUnclear
                | Self::PasswordsBusy
                | Self::Blocked
                | Self::PlainNotServed
                | Self::TlsNotServed
                | Self::TooManyUnderWay(_)
                | Self::TooOften(_)
                | Self::RedirectsToItself
        )
    }

    /// Whether a guard decided so: then nothing but the body of the reply may become another.
    pub fn is_of_guard(&self) -> bool {
        self.is_by_route() && !matches!(self, Self::BodyTooLarge | Self::RedirectsToItself)
    }

    /// The table that maps errors to answers. No status is chosen anywhere else.
    pub fn verdict(&self) -> Verdict {
        use Retry::{Always, IfIdempotent, Never};
        use Side::{Client, Upstream, Us};
        let (status, body, grpc, side, retry, close, label) = match self {
            Self::Malformed => (400, "bad request", 13, Client, Never, true, "malformed"),
            Self::UriTooLong => (414, "uri too long", 13, Client, Never, true, "uri_too_long"),
            Self::HeadTooLarge => (
                431,
                "request header fields too large",
                13,
                Client,
                Never,
                true,
                "head_too_large",
            ),
            Self::UnsupportedVersion => (
                505,
                "http version not supported",
                13,
                Client,
                Never,
                true,
                "http_version",
            ),
            Self::MissingHost => (400, "bad request", 13, Client, Never, true, "missing_host"),
            Self::DuplicateHost => (400, "bad request", 13, Client, Never, true, "duplicate_host"),
            Self::BadHost(_) => (400, "bad request", 13, Client, Never, true, "bad_host"),
            Self::HostMismatch => (400, "bad request", 13, Client, Never, true, "host_mismatch"),
            Self::BadPath(_) => (400, "bad request", 13, Client, Never, true, "bad_path"),
            Self::BadTarget => (400, "bad request", 13, Client, Never, true, "bad_target"),
            Self::Refused => (400, "bad request", 13, Client, Never, true, "refused"),
            Self::BadBody => (400, "bad request", 13, Client, Never, true, "bad_body"),
            Self::MethodNotAllowed => (405, "method not allowed", 12, Client, Never, true, "method_not_allowed"),
            Self::UnknownProtocol => (501, "not implemented", 12, Client, Never, false, "unknown_protocol"),
            Self::HeadTimeout => (408, "request timeout", 4, Client, Never, true, "head_timeout"),
            Self::BodyTimeout => (408, "request timeout", 4, Client, Never, true, "body_timeout"),
            Self::BadExpectation => (417, "expectation failed", 13, Client, Never, true, "bad_expectation"),
            Self::Misdirected => (421, "misdirected request", 13, Client, Never, false, "misdirected"),
            Self::NoRoute => (404, "404 page not found", 12, Client, Never, false, "no_route"),
            Self::GuardNotEnforced => (503, "guard not enforced", 14, Us, Never, false, "guard_not_enforced"),
            Self::GuardInvalid => (503, "guard invalid", 14, Us, Never, false, "guard_invalid"),
            Self::BodyTooLarge => (413, "content too large", 8, Client, Never, false, "body_too_large"),
            Self::AddressNotAllowed => (403, "forbidden", 7, Client, Never, false, "address_not_allowed"),
            Self::Blocked => (403, "forbidden", 7, Client, Never, false, "blocked"),
            Self::PlainNotServed => (503, "service unavailable", 14, Client, Never, false, "plain_not_served"),
            Self::TlsNotServed => (503, "service unavailable", 14, Client, Never, false, "tls_not_served"),
            Self::NoClientCertificate => (
                400,
                "no client certificate",
                16,
                Client,
                Never,
                false,
                "no_client_certificate",
            ),
            Self::BadClientCertificate => (
                400,
                "bad client certificate",
                16,
                Client,
                Never,
                false,
                "bad_client_certificate",
            ),
            Self::SubjectNotAllowed => (403, "forbidden", 7, Client, Never, false, "subject_not_allowed"),
            Self::Unauthorized => (401, "unauthorized", 16, Client, Never, false, "unauthorized"),
            Self::NotAdmitted => (403, "forbidden", 7, Client, Never, false, "not_admitted"),
            Self::AccessUnknown => (
                500,
                "internal server error",
                13,
                Upstream,
                Never,
                false,
                "access_unknown",
            ),
            Self::PasswordsBusy => (503, "service unavailable", 14, Us, Never, false, "passwords_busy"),
            Self::AccessUnclear => (500, "internal server error", 13, Us, Never, false, "access_unclear"),
            Self::TooManyUnderWay(status) => (
                status.as_u16(),
                "too many requests",
                14,
                Us,
                Never,
                false,
                "too_many_under_way",
            ),
            Self::TooOften(status) => (status.as_u16(), "too many requests", 14, Us, Never, false, "too_often"),
            Self::RedirectsToItself => (508, "loop detected", 13, Us, Never, false, "redirects_to_itself"),
            Self::NoBackend(_) => (503, "no available server", 14, Upstream, Never, false, "no_backend"),
            Self::BackendGone => (503, "no available server", 14, Upstream, Never, false, "backend_gone"),
            Self::BackendFull => (503, "service unavailable", 14, Us, Never, false, "backend_full"),
            Self::NoDescriptor => (503, "service unavailable", 14, Us, Always, false, "no_descriptor"),
            Self::Connect => (502, "bad gateway", 14, Upstream, Always, false, "connect"),
            Self::ConnectTimeout => (504, "gateway timeout", 14, Upstream, Always, false, "connect_timeout"),
            Self::NotHttp2 => (502, "bad gateway", 14, Upstream, Always, false, "not_http2"),
            Self::TlsUntrusted => (502, "bad gateway", 14, Upstream, Always, false, "tls_untrusted"),
            Self::NotTls => (502, "bad gateway", 14, Upstream, Always, false, "not_tls"),
            Self::TlsNoHttp2 => (502, "bad gateway", 14, Upstream, Always, false, "tls_no_http2"),
            Self::TlsRefused => (502, "bad gateway", 14, Upstream, Always, false, "tls_refused"),
            Self::Closed => (502, "bad gateway", 14, Upstream, IfIdempotent, false, "closed"),
            Self::StreamRefused => (502, "bad gateway", 14, Upstream, Always, false, "stream_refused"),
            Self::Unsendable => (500, "internal server error", 13, Us, Never, false, "unsendable"),
            Self::BadResponse => (502, "bad gateway", 13, Upstream, Never, false, "bad_response"),
            Self::UnaskedUpgrade => (502, "bad gateway", 13, Upstream, Never, true, "unasked_upgrade"),
            Self::NoWebSocket => (501, "not implemented", 12, Us, Never, false, "no_websocket"),
            Self::BadWebSocket => (502, "bad gateway", 13, Upstream, Never, false, "bad_websocket"),
            Self::Deadline => (504, "deadline exceeded", 4, Upstream, Never, false, "deadline"),
            Self::ResponseTimeout => (504, "gateway timeout", 4, Upstream, Never, false, "response_timeout"),
            Self::Loop => (508, "loop detected", 13, Us, Never, false, "loop"),
            Self::ConnectionFull => (503, "service unavailable", 14, Client, Never, false, "connection_full"),
            Self::Overloaded => (503, "service unavailable", 14, Us, Never, true, "overloaded"),
            Self::Panic => (500, "internal server error", 13, Us, Never, true, "panic"),
        };
        Verdict {
            // All numbers above are valid; the fallback only satisfies the type.
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            body,
            grpc,
            side,
            retry,
            close,
            label,
        }
    }
}

/// `GET`, `HEAD`, `OPTIONS`, `PUT`, `DELETE`: may be sent twice (RFC 9110 §9.2.2). TRACE is never forwarded.
pub fn idempotent(method: &http::Method) -> bool {
    use http::Method;
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE].contains(method)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_of_the_client_that_breaks_framing_closes() {
        for error in [
            ProxyError::Malformed,
            ProxyError::UnsupportedVersion,
            ProxyError::DuplicateHost,
            ProxyError::BadBody,
            ProxyError::BadPath(PathError::Nul),
        ] {
            let verdict = error.verdict();
            assert!(verdict.close, "{error}");
            assert_eq!((verdict.side, verdict.retry), (Side::Client, Retry::Never), "{error}");
        }
    }

    #[test]
    fn statuses_are_those_people_know() {
        for (error, status, body) in [
            (ProxyError::NoRoute, 404, "404 page not found"),
            (
                ProxyError::NoBackend(BackendState::NoEndpoints),
                503,
                "no available server",
            ),
            (ProxyError::Connect, 502, "bad gateway"),
            (ProxyError::ResponseTimeout, 504, "gateway timeout"),
            (ProxyError::Loop, 508, "loop detected"),
            (ProxyError::UriTooLong, 414, "uri too long"),
            (ProxyError::UnsupportedVersion, 505, "http version not supported"),
        ] {
            let verdict = error.verdict();
            assert_eq!((verdict.status.as_u16(), verdict.body), (status, body), "{error}");
        }
    }
}
