//! A request of narthex's own to a backend, of which all of the reply is read.

use super::attempt::Attempt;
use super::body::{ClientBody, Upload};
use super::client::Client;
use super::dial::connect_error;
use super::error::{ProxyError, idempotent};
use super::request_body::RequestBody;
use super::response_fields::{binds_identity, clean_response};
use super::retry::Tried;
use super::worker::Worker;
use crate::http1::Encoder;
use crate::message::Response;
use crate::table::{Backend, BackendState};
use crate::upstream::http1::{Http1, RequestOut};
use crate::upstream::pool::{Dial, connect, is_local};
use crate::upstream::{Affinity, Lease, Picked, proxy_protocol};
use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Endpoints that are tried.
const ATTEMPTS: usize = 3;

/// What is asked, and of whom. It goes over HTTP/1.1.
pub struct SubRequest<'s> {
    pub backend: &'s Arc<Backend>,
    pub method: &'s Method,
    /// Its head, with the empty line behind it.
    pub head: Vec<u8>,
    /// Its body, if it has one. The head says how long it is.
    pub body: Option<Bytes>,
    /// How long all of it may take.
    pub patience: Duration,
    /// Bytes that the reply's body may have.
    pub most: usize,
    /// Whether somebody wants that body.
    pub keeps: bool,
}

/// What came back.
pub struct Answered {
    pub head: Response,
    pub body: Bytes,
}

/// Why there is no reply.
pub struct NoReply {
    /// What exactly.
    pub cause: String,
    /// The endpoint, if it got that far.
    pub endpoint: Option<String>,
}

impl From<&str> for NoReply {
    fn from(cause: &str) -> Self {
        Self {
            cause: cause.to_owned(),
            endpoint: None,
        }
    }
}

/// What came of one attempt.
enum Came {
    Reply(Box<Answered>),
    /// It may be made again on a new connection: the one that it was made on had ended.
    Stale,
    /// It may be made elsewhere: no connection could be opened.
    Unconnected(NoReply),
    Failed(NoReply),
}

/// Asks.
///
/// # Errors
/// Why there is no reply, or none that can be used.
pub async fn send(worker: &Rc<Worker>, client: &Rc<Client>, asked: &SubRequest<'_>) -> Result<Answered, NoReply> {
    let until = Instant::now() + asked.patience;
    let reply = timeout_at(until, attempts(worker, client, asked, until)).await;
    reply.unwrap_or_else(|_| Err("it did not answer in time".into()))
}

async fn attempts(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    asked: &SubRequest<'_>,
    until: Instant,
) -> Result<Answered, NoReply> {
    let backend = asked.backend;
    if let Some(guard) = &backend.guard {
        return Err(NoReply {
            cause: guard.why(),
            endpoint: None,
        });
    }
    if backend.pods.is_none() || backend.state == BackendState::TlsUnready {
        return Err(backend.state.reason().into());
    }
    let live = |pods| worker.table().pods(pods).cloned();
    let target = worker.upstreams.target(live, backend, &worker.clock);
    let target = target.ok_or("its pods are gone")?;
    let (mut tried, mut fresh) = (Tried::new(), false);
    loop {
        let lease = match target.pick(&worker.table(), &tried, Affinity::default(), &worker.clock) {
            Picked::Lease(lease) => lease,
            Picked::Nobody(_) if !tried.is_empty() => return Err("no endpoint accepts a connection".into()),
            Picked::Nobody(state) => return Err(state.reason().into()),
            Picked::Gone => return Err("its pods are gone".into()),
            Picked::Full => return Err("each of its pods has as many requests as it may have".into()),
        };
        let endpoint = lease.endpoint.clone();
        match attempt(worker, client, asked, &lease, fresh, until).await {
            Came::Reply(reply) => return Ok(*reply),
            Came::Stale => fresh = true,
            Came::Unconnected(_) if tried.len() + 1 < ATTEMPTS => tried.push(endpoint),
            Came::Unconnected(why) | Came::Failed(why) => {
                let endpoint = Some(endpoint.endpoint.to_string());
                return Err(NoReply { endpoint, ..why });
            }
        }
    }
}

async fn attempt(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    asked: &SubRequest<'_>,
    lease: &Lease<ClientBody>,
    fresh: bool,
    until: Instant,
) -> Came {
    let attempt = Attempt::new(worker, lease, Some(until));
    let pool = &lease.connections.pool;
    let settings = &worker.settings.pool;
    let kept = (!fresh && !lease.connections.terms.proxied).then(|| pool.take(&worker.clock, settings));
    let mut connection = match kept.flatten() {
        Some(connection) => connection,
        None => match open(worker, client, lease).await {
            Ok(connection) => connection,
            Err(cause) => {
                if is_local(&cause) {
                    attempt.tells_nothing();
                } else {
                    attempt.unreachable(&cause);
                }
                let why = format!("{}: {cause}", connect_error(&cause));
                return Came::Unconnected(why.as_str().into());
            }
        },
    };
    let reused = connection.reused;
    let request = RequestOut {
        head: asked.head.clone(),
        is_head: *asked.method == Method::HEAD,
        encoder: asked.body.as_ref().map(|body| Encoder::Length(body.len() as u64)),
        announced: Vec::new(),
    };
    connection.send(request, body_of(worker, client, asked), false);
    let (head, reusable) = match read_head(&mut connection).await {
        Ok(read) => read,
        Err(Faulty { error, cause }) => {
            attempt.failed(error, reused);
            if error == ProxyError::Closed && reused && !fresh && idempotent(asked.method) {
                return Came::Stale;
            }
            return Came::Failed(cause.as_str().into());
        }
    };
    attempt.answered(head.status, None);
    let body = match read_body(&mut connection, (asked.most, asked.keeps)).await {
        Ok(body) => body,
        Err(cause) => return Came::Failed(cause.as_str().into()),
    };
    if reusable && connection.is_ended() && !lease.connections.closed.get() {
        pool.put(connection, &worker.clock, settings);
    }
    Came::Reply(Box::new(Answered { head, body }))
}

fn body_of(worker: &Rc<Worker>, client: &Rc<Client>, asked: &SubRequest<'_>) -> ClientBody {
    let Some(body) = &asked.body else {
        return worker.no_upload.again(client, worker);
    };
    let body = RequestBody::Whole(Some(body.clone()));
    let upload = Upload::of(&body, worker);
    ClientBody::new(body, &upload, client, worker)
}

/// Opens a connection, at the pod's other address if the first cannot be reached.
async fn open(worker: &Worker, client: &Client, lease: &Lease<ClientBody>) -> io::Result<Box<Http1<ClientBody>>> {
    let (terms, endpoint) = (&lease.connections.terms, &lease.endpoint.endpoint);
    let settings = &worker.settings.pool;
    let peer = &client.peer;
    let dial = Dial {
        settings,
        patience: settings.connect_timeout,
        prelude: (terms.proxied).then(|| proxy_protocol::header(peer.socket, peer.local, peer.tls_version.as_deref())),
        tls: terms.tls.as_deref(),
        notices_later: false,
        clock: &worker.clock,
    };
    let opened = connect(endpoint.address, &dial, &worker.buffers).await;
    let opened = match (opened, endpoint.alternate) {
        (Err(_), Some(alternate)) => connect(alternate, &dial, &worker.buffers).await,
        (opened, _) => opened,
    };
    match &opened {
        Ok(_) => worker.counters.upstream_connects.add(),
        Err(_) => worker.counters.upstream_connect_failures.add(),
    }
    opened
}

/// What is wrong with a reply.
struct Faulty {
    error: ProxyError,
    cause: String,
}

/// Reads the head behind interim ones. Whether the connection may serve another request.
async fn read_head(connection: &mut Http1<ClientBody>) -> Result<(Response, bool), Faulty> {
    use crate::upstream::http1::SendError;
    let mut head = Response::default();
    loop {
        let read = poll_fn(|cx| connection.poll_response(&mut head, cx)).await;
        if let Err(failure) = read {
            let error = match failure {
                SendError::Head(_) => ProxyError::BadResponse,
                SendError::Upload(_) => ProxyError::Unsendable,
                SendError::Ended | SendError::Broken(_) => ProxyError::Closed,
            };
            let cause = failure.to_string();
            return Err(Faulty { error, cause });
        }
        if !head.status.is_informational() {
            break;
        }
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Faulty {
                error: ProxyError::BadResponse,
                cause: ProxyError::UnaskedUpgrade.to_string(),
            });
        }
    }
    let personal = binds_identity(head.status, &head.fields);
    let clean = clean_response(&mut head.fields).ok();
    // Statuses end at 599 (RFC 9110, section 15).
    match clean.filter(|_| head.status.as_u16() < 600) {
        Some(reusable) => Ok((head, reusable && !personal)),
        None => Err(Faulty {
            error: ProxyError::BadResponse,
            cause: "its answer is not valid HTTP".to_owned(),
        }),
    }
}

/// Reads a body to its end. The connection does not serve another request before.
async fn read_body(connection: &mut Http1<ClientBody>, (most, keeps): (usize, bool)) -> Result<Bytes, String> {
    let (mut body, mut length) = (BytesMut::new(), 0);
    while let Some(frame) = poll_fn(|cx| connection.poll_frame(cx)).await {
        let frame = frame.map_err(|error| error.to_string())?;
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        if length > most {
            return Err(format!("its answer is longer than {most} bytes"));
        }
        if keeps {
            body.extend_from_slice(&data);
        }
    }
    Ok(body.freeze())
}
