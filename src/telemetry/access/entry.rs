//! What a line is made of.

use http::HeaderName;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A pod that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint<'e> {
    pub address: SocketAddr,
    /// Its name, where it is a pod.
    pub pod: Option<&'e str>,
}

/// All that is known of a request when it is over. What came from a client is as it came: formats escape it.
#[derive(Clone, Debug)]
pub struct Entry<'e> {
    /// When its head was there, since the beginning of 1970 (UTC).
    pub at: Duration,
    /// The client, behind trusted proxies the one they name.
    pub client: IpAddr,
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The version of TLS, where there is any.
    pub tls: Option<&'e str>,
    /// None where no head could be read, as for what follows.
    pub method: Option<&'e str>,
    /// `HTTP/1.1`.
    pub protocol: Option<&'static str>,
    /// As the client named it; empty where it named none.
    pub host: &'e [u8],
    /// Path and query.
    pub target: &'e [u8],
    /// What the client got; 499 if it was gone before there was anything to get.
    pub status: u16,
    /// The stable name of what went wrong, if anything did.
    pub reason: Option<&'static str>,
    /// Whose fault that was.
    pub side: Option<&'static str>,
    /// More on it.
    pub cause: Option<&'e str>,
    /// The rule, in words: host and path.
    pub route: Option<&'e str>,
    /// Where the rule stands.
    pub origin: Option<&'e str>,
    /// The Service and its port.
    pub service: Option<&'e str>,
    /// Who answered, or was asked last.
    pub endpoint: Option<Endpoint<'e>>,
    /// Attempts after the first.
    pub retries: u32,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the reply's body.
    pub bytes_out: u64,
    /// From the head to the end of the reply.
    pub total: Duration,
    /// For opening a connection to the pod, where that was needed.
    pub connect: Option<Duration>,
    /// From sending the last attempt to the pod's response head.
    pub backend: Option<Duration>,
    /// The request's id.
    pub request_id: &'e [u8],
    /// The trace it belongs to (W3C Trace Context), where it does.
    pub trace_id: Option<&'e str>,
    /// Fields of its head that are to be shown.
    pub headers: &'e [(&'e HeaderName, &'e [u8])],
    /// Bytes of the reply's body.
    pub response_headers: &'e [(&'e HeaderName, &'e [u8])],
    /// Requests of this process so far.
    pub count: u64,
}
