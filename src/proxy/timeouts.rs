//! How long clients and pods may take, as the flags say. Annotations of a route go before these.

use std::time::Duration;

/// How long clients and pods may take. Defaults are in `config.rs`.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From the first byte of a head (or from accept) to its last.
    pub head: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// Without a byte of a request body that is waited for.
    pub body: Duration,
    /// Without a byte of a reply being taken.
    pub send: Duration,
    /// Without a byte in either direction of a WebSocket.
    pub tunnel: Duration,
    /// For connections that are passed on, when their listener is gone.
    pub leaving: Duration,
    /// From the last byte of a request to the head of the pod's response.
    pub response: Duration,
    /// Without a byte of a pod's response body that is waited for.
    pub stream: Duration,
}
