//! From a route to a pod's response: pick an endpoint, find a connection, send, and try again where nothing is lost.

use super::body::{ClientBody, Exchange, Upload};
use super::canonical::Canonical;
use super::client::{Client, Waiting};
use super::error::{ProxyError, Retry, idempotent};
use super::headers::{self, Fields, Forwarded};
use super::upgrade;
use super::worker::Worker;
use crate::table::{BackendId, Protocol, Route};
use crate::upstream::pool::{connect, is_local};
use crate::upstream::{Connection, Lease, LiveEndpoint};
use http::header;
use http::request::Parts;
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use smallvec::SmallVec;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

/// A request with all that a pod is to get, for as many attempts as it takes.
pub struct Outgoing<'r> {
    /// The client's request line and fields, untouched.
    pub parts: &'r Parts,
    /// Its canonical form.
    pub canonical: &'r Canonical<'r>,
    /// Where it goes.
    pub route: &'r Route,
    /// Its id.
    pub request_id: &'r HeaderValue,
    /// How often it has passed through narthex.
    pub hops: u8,
    /// What the backend's endpoints speak.
    pub protocol: Protocol,
    /// Whether it asks for a WebSocket.
    pub upgrade: bool,
    /// Over HTTP/2, where the handshake with the pod is ours: its key.
    pub key: Option<&'r upgrade::Key>,
    /// What its fields say.
    pub fields: &'r Fields<'r>,
    /// How far its body has come.
    pub upload: &'r Rc<Upload>,
}

/// Endpoints that could not be reached in this request.
type Tried = SmallVec<[Rc<LiveEndpoint<ClientBody>>; 3]>;

/// Why forwarding failed, and at which endpoint.
pub struct Failure {
    /// Why.
    pub error: ProxyError,
    /// Where, if it got that far.
    pub endpoint: Option<String>,
}

impl Failure {
    fn at(error: ProxyError, endpoint: &LiveEndpoint<ClientBody>) -> Self {
        Self {
            error,
            endpoint: Some(endpoint.endpoint.to_string()),
        }
    }
}

impl From<ProxyError> for Failure {
    fn from(error: ProxyError) -> Self {
        Self { error, endpoint: None }
    }
}

/// Sends a request and waits for the response head. Each attempt picks from the backend's endpoints as they are then.
///
/// # Errors
/// The last attempt's failure.
pub async fn forward(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    outgoing: &Outgoing<'_>,
    body: ClientBody,
) -> Result<(Response<()>, Exchange), Failure> {
    let replayable = body.is_empty();
    let mut body = Some(body);
    let mut tried = Tried::new();
    let mut fresh = false;
    let mut attempt = 0;
    loop {
        attempt += 1;
        let lease = pick(worker, outgoing.route.backend, &mut tried)?;
        let endpoint = lease.endpoint.clone();
        let mut connection = match checkout(worker, &endpoint, outgoing.protocol, fresh).await {
            Ok(connection) => connection,
            Err(cause) => {
                let error = match cause.kind() {
                    io::ErrorKind::TimedOut => ProxyError::ConnectTimeout,
                    io::ErrorKind::InvalidData => ProxyError::NotHttp2,
                    _ => ProxyError::Connect,
                };
                worker.counters.upstream_connect_failures.add();
                if !is_local(&cause) {
                    endpoint.failed(&worker.clock);
                }
                if attempt >= worker.settings.attempts {
                    return Err(Failure::at(error, &endpoint));
                }
                worker.counters.retries.add();
                tried.push(endpoint);
                continue;
            }
        };
        // While the connection was opened, the endpoint may have left the backend.
        if endpoint.gone.get() {
            attempt -= 1;
            continue;
        }
        let reused = connection.reused();
        let request = outgoing
            .request(
                worker,
                client,
                endpoint.endpoint.address,
                body.take()
                    .unwrap_or_else(|| ClientBody::empty(outgoing.upload, client, worker)),
            )
            .map_err(|error| Failure::at(error, &endpoint))?;
        if let (true, Connection::Http1(connection)) = (outgoing.upgrade, &mut connection) {
            connection.expect_upgrade();
        }
        match send(worker, client, outgoing.upload, connection, request).await {
            Ok((response, connection)) => {
                endpoint.reached();
                return accept(worker, outgoing, response, connection, lease)
                    .map_err(|error| Failure::at(error, &endpoint));
            }
            Err((error, unsent)) => {
                // A connection that had served before may have been closed just now; one that was opened for this
                // request tells of the pod.
                if !reused && error == ProxyError::Closed {
                    endpoint.failed(&worker.clock);
                }
                let again = match error.verdict().retry {
                    Retry::Never => false,
                    Retry::Always => unsent.is_some() || replayable,
                    Retry::IfIdempotent => unsent.is_some() || (replayable && idempotent(&outgoing.parts.method)),
                };
                // An old connection that turns out to be dead says nothing about the pod, so it costs no attempt.
                attempt -= usize::from(reused);
                if !again || attempt >= worker.settings.attempts {
                    return Err(Failure::at(error, &endpoint));
                }
                worker.counters.retries.add();
                body = unsent;
                fresh = true;
                if !reused {
                    tried.push(endpoint);
                }
            }
        }
    }
}

/// An endpoint from the live table. When all have been tried, another round begins.
fn pick(worker: &Worker, backend: BackendId, tried: &mut Tried) -> Result<Lease<ClientBody>, ProxyError> {
    let table = worker.table();
    let known = table.backend(backend).ok_or(ProxyError::BackendGone)?;
    let upstream = worker.upstreams.get(&table, backend).ok_or(ProxyError::BackendGone)?;
    upstream
        .pick(tried, &worker.clock)
        .or_else(|| {
            tried.clear();
            upstream.pick(tried, &worker.clock)
        })
        .ok_or(ProxyError::NoBackend(known.state))
}

async fn checkout(
    worker: &Worker,
    endpoint: &LiveEndpoint<ClientBody>,
    protocol: Protocol,
    fresh: bool,
) -> io::Result<Connection<ClientBody>> {
    let settings = &worker.settings.pool;
    let (address, alternate) = (endpoint.endpoint.address, endpoint.endpoint.alternate);
    if protocol == Protocol::Http2 {
        let taken = match (endpoint.h2.take(address, settings).await, alternate) {
            (Err(_), Some(alternate)) => endpoint.h2.take(alternate, settings).await,
            (result, _) => result,
        };
        return taken
            .inspect(|stream| {
                if !stream.reused {
                    worker.counters.upstream_connects.add();
                }
            })
            .map(Connection::Http2);
    }
    if !fresh && let Some(connection) = endpoint.pool.take(&worker.clock, settings).await {
        return Ok(Connection::Http1(connection));
    }
    worker.counters.upstream_connects.add();
    let connected = match (connect(address, settings).await, alternate) {
        (Err(_), Some(alternate)) => connect(alternate, settings).await,
        (result, _) => result,
    };
    connected.map(Connection::Http1)
}

/// One attempt on one connection. Gives the body back if nothing of the request was sent.
async fn send(
    worker: &Worker,
    client: &Client,
    upload: &Upload,
    mut connection: Connection<ClientBody>,
    request: Request<ClientBody>,
) -> Result<(Response<Incoming>, Connection<ClientBody>), (ProxyError, Option<ClientBody>)> {
    let first = if upload.is_done() {
        Waiting::Head
    } else {
        Waiting::Upload
    };
    client.wait_for(first, &worker.clock);
    let outcome = {
        let mut response = pin!(connection.send(request));
        poll_fn(|cx| {
            if client.take_late() {
                return Poll::Ready(None);
            }
            client.register(cx.waker());
            response.as_mut().poll(cx).map(Some)
        })
        .await
    };
    client.waited();
    match outcome {
        None => Err((ProxyError::ResponseTimeout, None)),
        Some(Ok(response)) => Ok((response, connection)),
        Some(Err(mut failed)) => {
            let unsent = failed.take_message().map(Request::into_body);
            let error = match upload.take_error() {
                Some(error) => error,
                None if failed.error().is_parse() => ProxyError::BadResponse,
                None if is_refused(failed.error()) => ProxyError::StreamRefused,
                None => ProxyError::Closed,
            };
            Err((error, unsent))
        }
    }
}

/// Whether an endpoint says that it has done nothing with a request (RFC 9113, section 8.7).
fn is_refused(error: &hyper::Error) -> bool {
    let h2 = std::error::Error::source(error).and_then(|source| source.downcast_ref::<h2::Error>());
    h2.is_some_and(|error| error.is_remote() && error.reason() == Some(h2::Reason::REFUSED_STREAM))
}

/// Takes a response in, with what it says about its connection.
fn accept(
    worker: &Rc<Worker>,
    outgoing: &Outgoing<'_>,
    response: Response<Incoming>,
    connection: Connection<ClientBody>,
    lease: Lease<ClientBody>,
) -> Result<(Response<()>, Exchange), ProxyError> {
    let (mut parts, incoming) = response.into_parts();
    let upgraded = parts.status == StatusCode::SWITCHING_PROTOCOLS;
    if upgraded && !(outgoing.upgrade && upgrade::is_websocket(&parts.headers)) {
        return Err(ProxyError::UnaskedUpgrade);
    }
    if let Some(key) = outgoing.key {
        key.check(parts.status, &mut parts.headers)?;
    }
    // Ours is the version of this hop; the pod's was of the other (RFC 9110 §2.5).
    parts.version = Version::HTTP_11;
    let personal = outgoing.fields.binds_identity || headers::binds_identity(parts.status, &parts.headers);
    let reusable = headers::clean_response(&mut parts.headers)? && !personal && !upgraded;
    if upgraded {
        // What follows has no length, whatever the pod says (RFC 9110, section 8.6).
        parts.headers.remove(header::CONTENT_LENGTH);
        if outgoing.key.is_none() {
            upgrade::ask(&mut parts.headers);
        }
    }
    let exchange = Exchange {
        incoming,
        connection: Some(connection),
        reusable,
        lease,
        upload: outgoing.upload.clone(),
        ended: false,
        worker: worker.clone(),
    };
    Ok((Response::from_parts(parts, ()), exchange))
}

impl Outgoing<'_> {
    fn request(
        &self,
        worker: &Worker,
        client: &Client,
        endpoint: SocketAddr,
        body: ClientBody,
    ) -> Result<Request<ClientBody>, ProxyError> {
        let forwarded = Forwarded {
            host: self.canonical.host_header.as_deref(),
            endpoint,
            port: self.canonical.port,
            request_id: self.request_id,
            hops: self.hops,
            // HTTP/2 frames bodies itself, so one without a length has no field that says so.
            chunked: !body.is_empty() && (self.fields.chunked || (client.multiplexed && !self.fields.length)),
            multiplexed: self.protocol == Protocol::Http2,
            upgrade: self.upgrade,
            fields: self.fields,
        };
        let mut request = Request::new(body);
        *request.method_mut() = self.parts.method.clone();
        *request.uri_mut() = self.canonical.target(self.parts, self.route)?;
        *request.headers_mut() =
            headers::upstream_headers(&self.parts.headers, &client.peer, &forwarded, &worker.template);
        if let Some(key) = self.key {
            key.offer(request.headers_mut());
        }
        if self.protocol == Protocol::Http2 {
            *request.version_mut() = Version::HTTP_2;
            name_authority(&mut request)?;
        }
        Ok(request)
    }
}

/// Over HTTP/2 the host is part of the target (RFC 9113, section 8.3.1).
fn name_authority(request: &mut Request<ClientBody>) -> Result<(), ProxyError> {
    let host = request
        .headers_mut()
        .remove(header::HOST)
        .ok_or(ProxyError::MissingHost)?;
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(Authority::try_from(host.as_bytes()).map_err(|_| ProxyError::BadTarget)?);
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| ProxyError::BadTarget)?;
    Ok(())
}
