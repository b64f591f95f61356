//! Pods and clients that speak HTTP/2, through the h2 crate.

use crate::rig::{Rig, eventually, get, ingress};
use crate::serving::serve_each;
use bytes::Bytes;
use h2::{Reason, RecvStream, client, server};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpStream;

pub const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a test's client on a runtime of its own, whose connections go on while the test waits for a pod.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await.expect("it takes too long") })
}

pub async fn read(body: &mut RecvStream) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let mut all = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        all.extend_from_slice(&piece);
    }
    Ok((all, body.trailers().await?))
}

/// A pod that speaks HTTP/2 in plain, and says of each request what it got.
pub struct H2Pod {
    pub address: SocketAddr,
    pub connections: Arc<AtomicUsize>,
    pub requests: Arc<AtomicUsize>,
    /// Why streams were reset by narthex.
    pub resets: Arc<Mutex<Vec<Reason>>>,
}

/// What it does with a request.
#[derive(Clone, Copy, PartialEq)]
pub enum Manner {
    /// Answers, with trailers.
    Echo,
    /// Refuses the first stream of each connection.
    RefuseFirst,
    /// Says goodbye after each answer.
    GoAway,
    /// Answers only when so many requests are there.
    Together(usize),
    /// Answers at the head, and neither reads nor resets.
    Early,
    /// Never answers.
    Silent,
    /// Resets every stream when it has read the request.
    Resets,
    /// Begins to answer, with this many bytes, and never ends.
    Stalls(usize),
}

impl H2Pod {
    pub fn start(manner: Manner, max_streams: u32) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let pod = Self {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
            requests: Arc::default(),
            resets: Arc::default(),
        };
        let (connections, requests, resets) = (pod.connections.clone(), pod.requests.clone(), pod.resets.clone());
        serve_each(listener, move |stream| {
            connections.fetch_add(1, Ordering::SeqCst);
            converse(stream, manner, max_streams, requests.clone(), resets.clone())
        });
        pod
    }

    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn converse(
    stream: TcpStream,
    manner: Manner,
    max_streams: u32,
    requests: Arc<AtomicUsize>,
    resets: Arc<Mutex<Vec<Reason>>>,
) {
    let mut builder = server::Builder::new();
    builder.max_concurrent_streams(max_streams);
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else {
        return;
    };
    let mut first = true;
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let count = requests.fetch_add(1, Ordering::SeqCst) + 1;
        if manner == Manner::RefuseFirst && std::mem::take(&mut first) {
            respond.send_reset(Reason::REFUSED_STREAM);
            continue;
        }
        if manner == Manner::Resets {
            respond.send_reset(Reason::INTERNAL_ERROR);
            continue;
        }
        if manner == Manner::GoAway {
            connection.graceful_shutdown();
        }
        let (requests, resets) = (requests.clone(), resets.clone());
        tokio::spawn(async move {
            let (parts, mut body) = request.into_parts();
            if let Manner::Silent | Manner::Stalls(_) = manner {
                let reset = stall(respond, manner).await;
                return resets.lock().unwrap().extend(reset);
            }
            if manner == Manner::Early {
                let reply = Response::builder().status(413).body(()).unwrap();
                respond.send_response(reply, true).unwrap();
                return tokio::time::sleep(PATIENCE).await;
            }
            if let Manner::Together(wanted) = manner
                && count <= wanted
            {
                while requests.load(Ordering::SeqCst) < wanted {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
            let Ok((said, trailers)) = read(&mut body).await else {
                return;
            };
            let status = parts.uri.path().trim_start_matches("/status/").parse().unwrap_or(200);
            let cookies: Vec<_> = parts
                .headers
                .get_all("cookie")
                .iter()
                .map(|line| line.to_str().unwrap())
                .collect();
            let mut reply = Response::builder()
                .status(status)
                .header("x-method", parts.method.as_str())
                .header(
                    "x-authority",
                    parts.uri.authority().map_or("", |authority| authority.as_str()),
                )
                .header("x-path", parts.uri.path())
                .header("x-cookies", cookies.join("|"))
                .header(
                    "x-fields",
                    parts
                        .headers
                        .keys()
                        .map(|name| name.as_str())
                        .collect::<Vec<_>>()
                        .join(" "),
                )
                .header("x-large", "y".repeat(20_000));
            if let Some(trailers) = trailers {
                reply = reply.header("x-request-trailer", trailers.get("x-sum").unwrap());
            }
            let bodiless = parts.method == Method::HEAD || status == 204 || status == 304;
            let mut stream = respond.send_response(reply.body(()).unwrap(), bodiless).unwrap();
            if !bodiless {
                stream.send_data(said.into(), false).unwrap();
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", "0".parse().unwrap());
                stream.send_trailers(trailers).unwrap();
            }
        });
    }
}

/// Says nothing, or not all, until narthex resets the stream; why it does.
async fn stall(mut respond: server::SendResponse<Bytes>, manner: Manner) -> Option<Reason> {
    let Manner::Stalls(said) = manner else {
        return poll_fn(|cx| respond.poll_reset(cx)).await.ok();
    };
    let reply = Response::builder()
        .header("content-type", "application/grpc")
        .body(())
        .unwrap();
    let mut stream = respond.send_response(reply, false).unwrap();
    stream.send_data(vec![0; said].into(), false).unwrap();
    poll_fn(|cx| stream.poll_reset(cx)).await.ok()
}

pub fn manifest(pod: SocketAddr, protocol: &str) -> String {
    format!(
        r#"---
apiVersion: v1
kind: Service
metadata: {{name: h2, namespace: default}}
spec: {{ports: [{{name: http, port: 80, appProtocol: {protocol}}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: h2, namespace: default, labels: {{kubernetes.io/service-name: h2}}}}
addressType: IPv4
ports: [{{name: http, port: {}}}]
endpoints: [{{addresses: ["127.0.0.1"], conditions: {{ready: true}}, targetRef: {{kind: Pod, name: h2}}}}]
---
"#,
        pod.port()
    ) + &ingress("h2", "h2.test", "/", "h2", "")
}

/// narthex before one ordinary pod (`a.test`) and one that speaks HTTP/2 (`h2.test`).
pub fn world(pod: &H2Pod, flags: &[&str]) -> Rig {
    let rig = Rig::new(1, flags);
    std::fs::write(rig.manifest("h2.yaml"), manifest(pod.address, "kubernetes.io/h2c")).unwrap();
    eventually("the rule is live", || {
        let (_, said) = get(rig.admin, "/api/v1/explain?url=http://h2.test/");
        said.contains("\"h2\"").then_some(())
    });
    rig
}

/// A client's connection over HTTP/2, and what ends with it.
pub async fn connect_and_watch(rig: &Rig) -> (client::SendRequest<Bytes>, tokio::task::JoinHandle<()>) {
    let stream = TcpStream::connect(rig.http).await.unwrap();
    let (sender, connection) = client::handshake(stream).await.unwrap();
    let ended = tokio::spawn(async {
        let _ = connection.await;
    });
    (sender.ready().await.unwrap(), ended)
}

pub async fn connect(rig: &Rig) -> client::SendRequest<Bytes> {
    connect_and_watch(rig).await.0
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
}

impl Answer {
    pub fn field(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

pub async fn ask(
    sender: &mut client::SendRequest<Bytes>,
    request: Request<()>,
    body: Option<(Bytes, Option<HeaderMap>)>,
) -> Result<Answer, h2::Error> {
    let (response, mut stream) = sender.send_request(request, body.is_none())?;
    if let Some((bytes, trailers)) = body {
        // narthex may have answered already; what it said is what counts.
        let sent = stream.send_data(bytes, trailers.is_none());
        if let (Ok(()), Some(trailers)) = (sent, trailers) {
            let _ = stream.send_trailers(trailers);
        }
    }
    let (parts, mut body) = response.await?.into_parts();
    let (body, trailers) = read(&mut body).await?;
    Ok(Answer {
        status: parts.status,
        headers: parts.headers,
        body,
        trailers,
    })
}

pub fn request(method: &str, uri: &str) -> http::request::Builder {
    Request::builder().method(method).uri(uri)
}
