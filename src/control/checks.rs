//! Active health checks: asks the pods of backends that want it, once for the whole process, and tells the shards.

use crate::table::backend::EndpointIdentity;
use crate::table::{Backend, Check, Endpoint, HealthProtocol, PodSetId, Protocol, Table, Terms, UpstreamHost};
use crate::upstream::{Commons, Stream, proxy_protocol, tls};
use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// How often a pod is asked, how long it may take, and how many answers decide, where annotations do not say
/// (Kubernetes' probes have the same).
const INTERVAL: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(1);
const RISE: u32 = 2;
const FALL: u32 = 3;
/// The first question comes this soon after a pod.
const FIRST: Duration = Duration::from_secs(1);
/// How much the time between two questions varies, so that pods are not asked all at once.
const JITTER: f64 = 0.1;
/// Tables are looked at so often at most.
const PAUSE: Duration = Duration::from_millis(100);
/// What is read of an answer.
const ANSWER_BYTES: usize = 64 << 10;

/// The task that runs the checks.
const AGENT: &str = concat!("narthex-health/", env!("CARGO_PKG_VERSION"));

/// One pod to ask.
#[derive(Clone, PartialEq)]
struct Plan {
    endpoint: Endpoint,
    backend: String,
    terms: Arc<Terms>,
    check: Arc<Check>,
}

/// What one pod is asked, for whoever wants to know it.
type Asked = (PodSetId, Arc<Check>, EndpointIdentity);

/// A task that ends when it is not wanted any more.
struct Task {
    plan: Plan,
    handle: AbortHandle,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

/// Follows the tables until there are none any more; `swapped` says when there is another.
pub async fn run(tables: Arc<ArcSwap<Table>>, commons: Arc<Commons>, mut swapped: watch::Receiver<u64>) {
    let mut tasks: HashMap<Asked, Task> = HashMap::new();
    while swapped.changed().await.is_ok() {
        let table = tables.load_full();
        let mut wanted: HashMap<Asked, Plan> = HashMap::new();
        for (asked, plan) in table.backends().flat_map(plans) {
            // Several backends may want to know the same; the first says on what terms.
            wanted.entry(asked).or_insert(plan);
        }
        drop(table);
        tasks.retain(|key, task| wanted.get(key) == Some(&task.plan));
        for (key, plan) in wanted {
            if tasks.contains_key(&key) {
                continue;
            }
            let well = commons.of(key.0).checked(&key.2, &key.1);
            let handle = tokio::spawn(watch_pod(plan.clone(), well)).abort_handle();
            tasks.insert(key, Task { plan, handle });
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn plans(backend: &Arc<Backend>) -> impl Iterator<Item = (Asked, Plan)> + use<'_> {
    let wanted = backend.pods.zip(backend.check.clone());
    wanted.into_iter().flat_map(move |(pods, check)| {
        backend.endpoints.iter().map(move |endpoint| {
            let plan = Plan {
                // For whom it is meant makes no difference here.
                endpoint: Endpoint {
                    near: true,
                    zone: None,
                    ..endpoint.clone()
                },
                backend: backend.to_string(),
                terms: backend.terms.clone(),
                check: check.clone(),
            };
            ((pods, check.clone(), endpoint.identity()), plan)
        })
    })
}

/// Asks one pod again and again.
async fn watch_pod(plan: Plan, well: Arc<AtomicBool>) {
    let check = &plan.check;
    let interval = check.interval.unwrap_or(INTERVAL);
    let (rise, fall) = (check.rise.unwrap_or(RISE), check.fall.unwrap_or(FALL));
    let mut pause = interval.min(FIRST).mul_f64(fastrand::f64());
    let (mut good, mut bad, mut first) = (0_u32, 0_u32, true);
    loop {
        tokio::time::sleep(pause).await;
        // After the first, which is soon, they are spread over the interval.
        pause = match std::mem::take(&mut first) {
            true => interval.mul_f64(fastrand::f64()),
            false => interval.mul_f64(1.0 - JITTER + 2.0 * JITTER * fastrand::f64()),
        };
        let timeout = check.timeout.unwrap_or(TIMEOUT);
        let answer = tokio::time::timeout(timeout, ask(&plan)).await;
        let answer = answer.unwrap_or_else(|_| Err(format!("it did not answer within {timeout:?}")));
        let (endpoint, backend) = (&plan.endpoint, &plan.backend);
        match answer {
            Ok(()) => {
                (good, bad) = (good.saturating_add(1), 0);
                if good >= rise && !well.swap(true, Ordering::Relaxed) {
                    tracing::info!(%endpoint, backend, "an endpoint passes its health check again and gets requests");
                }
            }
            Err(why) => {
                (good, bad) = (0, bad.saturating_add(1));
                if bad >= fall && well.swap(false, Ordering::Relaxed) {
                    tracing::warn!(%endpoint, backend, why, "an endpoint fails its health check and gets no requests");
                }
            }
        }
    }
}

/// Asks once; the error says what is wrong.
async fn ask(plan: &Plan) -> Result<(), String> {
    let grpc = plan.check.protocol == HealthProtocol::Grpc;
    let http2 = grpc || plan.terms.protocol == Protocol::Http2;
    let request = question(plan, grpc, http2)?;
    let stream = connect(plan.endpoint.address, &plan.terms).await?;
    let (response, _driver) = exchange(stream, request, http2).await?;
    judge(response, grpc).await
}

/// Opens a connection to a pod; the error says what is wrong.
pub(super) async fn connect(address: SocketAddr, terms: &Terms) -> Result<Stream, String> {
    let unreachable = |error: std::io::Error| format!("it cannot be reached: {error}");
    let mut stream = TcpStream::connect(address).await.map_err(unreachable)?;
    if terms.proxied {
        let own = stream.local_addr().map_err(unreachable)?;
        let header = proxy_protocol::header(own, address, None);
        stream.write_all(&header).await.map_err(unreachable)?;
    }
    match &terms.tls {
        None => Ok(Stream::Plain(stream)),
        Some(tls) => tls::shake_hands(stream, tls).await.map_err(|error| error.to_string()),
    }
}

/// Sends one request over a connection. Its body can be read as long as the second value is there.
pub(super) async fn exchange(
    stream: Stream,
    request: Request<Full<Bytes>>,
    http2: bool,
) -> Result<(Response<Incoming>, Driver), String> {
    let broken = |error: hyper::Error| format!("it does not answer as it should: {error}");
    let stream = TokioIo::new(stream);
    if http2 {
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.map_err(broken)?;
        let driver = Driver(tokio::spawn(connection).abort_handle());
        let response = sender.send_request(request).await.map_err(broken)?;
        return Ok((response, driver));
    }
    let (mut sender, connection) = http1::handshake(stream).await.map_err(broken)?;
    let driver = Driver(tokio::spawn(connection).abort_handle());
    let response = sender.send_request(request).await.map_err(broken)?;
    Ok((response, driver))
}

/// The task of a connection, which ends with it.
pub(super) struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn question(plan: &Plan, grpc: bool, http2: bool) -> Result<Request<Full<Bytes>>, String> {
    let address = plan.endpoint.address;
    let path = match &plan.check.path {
        _ if grpc => "/grpc.health.v1.Health/Check",
        Some(path) => path,
        None => "/",
    };
    let target = if http2 {
        let scheme = if plan.terms.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{address}{path}")
    } else {
        path.to_owned()
    };
    let uri = Uri::try_from(target).map_err(|error| format!("\"{path}\" is not a path: {error}"))?;
    // An empty message: the health of the server as a whole (gRPC Health Checking Protocol).
    let body = if grpc {
        Bytes::from_static(&[0; 5])
    } else {
        Bytes::new()
    };
    let mut request = Request::new(Full::new(body));
    *request.uri_mut() = uri;
    let fields = request.headers_mut();
    fields.insert(header::USER_AGENT, HeaderValue::from_static(AGENT));
    if grpc {
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        fields.insert(header::TE, HeaderValue::from_static("trailers"));
        *request.method_mut() = Method::POST;
    }
    if !http2 {
        let host = match &plan.check.host {
            Some(UpstreamHost::Named(host)) => host.clone(),
            _ => HeaderValue::from_str(&address.to_string()).map_err(|error| error.to_string())?,
        };
        request.headers_mut().insert(header::HOST, host);
        request
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(request)
}

async fn judge(response: Response<Incoming>, grpc: bool) -> Result<(), String> {
    let status = response.status();
    if !grpc {
        let well = status.is_success() || status.is_redirection();
        return well.then_some(()).ok_or_else(|| format!("it answered {status}"));
    }
    if status != StatusCode::OK {
        return Err(format!("it answered {status}"));
    }
    let code = |fields: &http::HeaderMap| fields.get("grpc-status").cloned();
    let mut said = code(response.headers());
    let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await;
    let body = body.map_err(|error| format!("its answer broke off: {error}"))?;
    said = said.or_else(|| body.trailers().and_then(code));
    match said {
        Some(ok) if ok == "0" => {}
        Some(other) => {
            return Err(format!(
                "it answered with grpc-status {}",
                other.to_str().unwrap_or("?")
            ));
        }
        None => return Err("its answer has no grpc-status".to_owned()),
    }
    // A message of one field: its number and kind, then SERVING.
    match body.to_bytes().get(5..) {
        Some([0x08, 0x01]) => Ok(()),
        _ => Err("it says that it does not serve".to_owned()),
    }
}
