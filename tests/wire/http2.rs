//! HTTP/2 on either side: the same message, whatever the two sides speak (RFC 9113).

use crate::rig::{Rig, eventually, get, ingress};
use bytes::Bytes;
use h2::{Reason, RecvStream, client, server};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a test's client on a runtime of its own.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await.expect("it takes too long") })
}

async fn read(body: &mut RecvStream) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let mut all = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        all.extend_from_slice(&piece);
    }
    Ok((all, body.trailers().await?))
}

/// A pod that speaks HTTP/2 in plain, and says of each request what it got.
struct H2Pod {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
}

/// What it does with a request.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
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
}

impl H2Pod {
    fn start(manner: Manner, max_streams: u32) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let pod = Self {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
            requests: Arc::default(),
        };
        let (connections, requests) = (pod.connections.clone(), pod.requests.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    connections.fetch_add(1, Ordering::SeqCst);
                    tokio::spawn(converse(stream, manner, max_streams, requests.clone()));
                }
            });
        });
        pod
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn converse(stream: TcpStream, manner: Manner, max_streams: u32, requests: Arc<AtomicUsize>) {
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
        if manner == Manner::GoAway {
            connection.graceful_shutdown();
        }
        let requests = requests.clone();
        tokio::spawn(async move {
            let (parts, mut body) = request.into_parts();
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

fn manifest(pod: SocketAddr, protocol: &str) -> String {
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
fn world(pod: &H2Pod, flags: &[&str]) -> Rig {
    let rig = Rig::new(1, flags);
    std::fs::write(rig.manifest("h2.yaml"), manifest(pod.address, "kubernetes.io/h2c")).unwrap();
    eventually("the rule is live", || {
        let (_, said) = get(rig.admin, "/api/v1/explain?url=http://h2.test/");
        said.contains("\"h2\"").then_some(())
    });
    rig
}

/// A client's connection over HTTP/2, and what ends with it.
async fn connect_and_watch(rig: &Rig) -> (client::SendRequest<Bytes>, tokio::task::JoinHandle<()>) {
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
    status: StatusCode,
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
        stream.send_data(bytes, trailers.is_none())?;
        if let Some(trailers) = trailers {
            stream.send_trailers(trailers)?;
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

#[test]
fn from_http2_to_http2() {
    let pod = H2Pod::start(Manner::Echo, 100);
    let rig = world(&pod, &[]);
    run(async {
        let mut sender = connect(&rig).await;
        let plain = request("GET", "http://h2.test/a//b?c")
            .header("cookie", "a=1")
            .header("cookie", "b=2");
        let answer = ask(&mut sender, plain.body(()).unwrap(), None).await.unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.field("x-authority"), "h2.test");
        assert_eq!(answer.field("x-path"), "/a/b");
        assert_eq!(answer.field("x-cookies"), "a=1; b=2");
        assert_eq!(answer.field("x-large").len(), 20_000);
        for name in ["host", "connection", "transfer-encoding"] {
            assert!(
                !answer.field("x-fields").split(' ').any(|field| field == name),
                "{name}"
            );
        }
        assert!(answer.field("x-fields").contains("x-forwarded-host"));
        assert_eq!(answer.trailers.unwrap().get("grpc-status").unwrap(), "0");

        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "42".parse().unwrap());
        let post = request("POST", "http://h2.test/")
            .header("te", "trailers")
            .body(())
            .unwrap();
        let answer = ask(&mut sender, post, Some(("hello".into(), Some(trailers))))
            .await
            .unwrap();
        assert_eq!(
            (answer.body.as_slice(), answer.field("x-request-trailer")),
            (&b"hello"[..], "42")
        );
        assert!(answer.field("x-fields").contains("te"));

        let head = ask(&mut sender, request("HEAD", "http://h2.test/").body(()).unwrap(), None)
            .await
            .unwrap();
        assert_eq!(
            (head.status.as_u16(), head.field("x-method"), head.body.len()),
            (200, "HEAD", 0)
        );
        for status in [204, 304] {
            let uri = format!("http://h2.test/status/{status}");
            let answer = ask(&mut sender, request("GET", &uri).body(()).unwrap(), None)
                .await
                .unwrap();
            assert_eq!((answer.status.as_u16(), answer.body.len()), (status, 0));
        }
    });
    assert_eq!(rig.counter("refused_by_hyper_total"), 0);
}

#[test]
fn from_http1_to_http2() {
    let pod = H2Pod::start(Manner::Echo, 100);
    let rig = world(&pod, &[]);
    let mut client = rig.client();
    client.send("POST /x HTTP/1.1\r\nHost: h2.test:8080\r\nTransfer-Encoding: chunked\r\nConnection: x-own\r\nX-Own: 1\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    let answer = client.answer();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.field("x-authority"), Some("h2.test:8080"));
    assert!(!answer.field("x-fields").unwrap().contains("x-own"));
    assert!(String::from_utf8_lossy(&answer.body).contains("hello"));
    client.send("HEAD / HTTP/1.1\r\nHost: h2.test\r\n\r\n");
    assert_eq!(client.answer_to("HEAD").unwrap().status, 200);
    client.send("GET /status/304 HTTP/1.1\r\nHost: h2.test\r\n\r\n");
    assert_eq!(client.answer().status, 304);
    client.send("GET / HTTP/1.1\r\nHost: h2.test\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n");
    let answer = client.answer();
    assert_eq!(answer.status, 200, "an upgrade is a matter of HTTP/1.1");
    assert!(!answer.field("x-fields").unwrap().contains("upgrade"));
    assert_eq!(pod.connections(), 1);
}

#[test]
fn from_http2_to_http1() {
    let rig = Rig::new(1, &[]);
    run(async {
        let mut sender = connect(&rig).await;
        let get = request("GET", "http://a.test/x?y")
            .header("cookie", "a=1")
            .header("cookie", "b=2");
        let answer = ask(&mut sender, get.body(()).unwrap(), None).await.unwrap();
        assert_eq!(answer.status, 200);
        assert!(answer.headers.get("connection").is_none());
        let got = rig.pod().last();
        assert_eq!(got.line(), "GET /x?y HTTP/1.1");
        assert_eq!(
            (got.field("host"), got.field("cookie")),
            (vec!["a.test".into()], vec!["a=1; b=2".to_owned()])
        );

        // A body without a length, of a method that need not have one.
        for method in ["POST", "GET", "DELETE"] {
            let asked = request(method, "http://a.test/").body(()).unwrap();
            let answer = ask(&mut sender, asked, Some(("hello".into(), None))).await.unwrap();
            assert_eq!(answer.status, 200);
            let got = rig.pod().last();
            assert_eq!(got.field("transfer-encoding"), ["chunked"], "{method}");
            assert!(got.text().contains("hello"), "{method}");
        }
        let asked = request("PUT", "http://a.test/")
            .header("content-length", "5")
            .body(())
            .unwrap();
        ask(&mut sender, asked, Some(("hello".into(), None))).await.unwrap();
        assert_eq!(rig.pod().last().field("content-length"), ["5"]);
    });
}

#[test]
fn heads_that_no_filter_has_seen_are_checked_too() {
    let rig = Rig::new(1, &["--max-uri", "100", "--max-headers", "20"]);
    let before = rig.pod().requests().len();
    run(async {
        let mut sender = connect(&rig).await;
        let get = |uri: &str| request("GET", uri);
        let mut many = get("http://a.test/");
        for index in 0..30 {
            many = many.header(format!("x-{index}"), "1");
        }
        for (wanted, asked) in [
            (400, get("http://a.test/").header("host", "b.test")),
            (
                400,
                request("POST", "http://a.test/")
                    .header("content-length", "0")
                    .header("content-length", "0"),
            ),
            (414, get(&format!("http://a.test/{}", "x".repeat(200)))),
            (431, many),
            (400, get("http://a.test/a\\b")),
            (400, get("http://a.test/..%2f..%00")),
            (404, get("http://nobody.test/")),
            (200, get("http://a.test/").header("host", "A.test")),
            (200, get("/").header("host", "a.test")),
            (400, get("/")),
        ] {
            let asked = asked.body(()).unwrap();
            let shown = format!("{} {:?}", asked.uri(), asked.headers());
            let answer = ask(&mut sender, asked, None).await.unwrap();
            assert_eq!(answer.status, wanted, "{shown}");
            assert!(answer.headers.get("connection").is_none());
        }
    });
    assert_eq!(
        rig.pod().requests().len(),
        before + 2,
        "only the good ones reached the pod"
    );
}

#[test]
fn requests_share_connections_as_far_as_the_pod_allows() {
    for (streams, wanted) in [(100, 1..=1), (5, 4..=8)] {
        let pod = H2Pod::start(Manner::Together(20), streams);
        let rig = world(&pod, &["--shards", "1"]);
        run(async {
            let sender = connect(&rig).await;
            // The first tells narthex how many streams the pod allows.
            let tasks: Vec<_> = (0..20)
                .map(|_| {
                    let mut sender = sender.clone();
                    tokio::spawn(async move {
                        let asked = request("GET", "http://h2.test/").body(()).unwrap();
                        ask(&mut sender, asked, None).await.unwrap().status
                    })
                })
                .collect();
            for task in tasks {
                assert_eq!(task.await.unwrap(), 200);
            }
        });
        assert!(wanted.contains(&pod.connections()), "{streams}: {}", pod.connections());
    }
}

#[test]
fn a_pod_that_speaks_something_else_is_named() {
    let rig = Rig::new(1, &[]);
    std::fs::write(
        rig.manifest("h2.yaml"),
        manifest(rig.pod().address, "kubernetes.io/h2c"),
    )
    .unwrap();
    eventually("it is said", || {
        let mut client = rig.client();
        client.send("GET / HTTP/1.1\r\nHost: h2.test\r\n\r\n");
        (client.answer().status == 502 && rig.log().contains("does not speak HTTP/2")).then_some(())
    });
}

#[test]
fn what_a_pod_gives_back_untouched_is_sent_again() {
    let pod = H2Pod::start(Manner::RefuseFirst, 100);
    let rig = world(&pod, &[]);
    let mut client = rig.client();
    // Even a POST, for the pod has done nothing with it; but only without a body that is gone.
    client.send("POST / HTTP/1.1\r\nHost: h2.test\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    assert_eq!(rig.counter("retries_total"), 1);
}

#[test]
fn a_pod_that_says_goodbye_costs_no_request() {
    let pod = H2Pod::start(Manner::GoAway, 100);
    let rig = world(&pod, &[]);
    let mut client = rig.client();
    for _ in 0..20 {
        client.send("GET / HTTP/1.1\r\nHost: h2.test\r\n\r\n");
        assert_eq!(client.answer().status, 200);
    }
}

#[test]
fn an_early_reply_over_http2_ends_the_upload_it_answers() {
    let pod = H2Pod::start(Manner::Early, 100);
    let rig = world(&pod, &[]);
    let mut client = rig.client();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: h2.test\r\nContent-Length: {}\r\n\r\n",
        64 << 20
    ));
    client.send(vec![b'x'; 1 << 20]);
    assert_eq!(client.answer().status, 413);
    assert!(client.ends(), "the rest of the upload is waited for");
}

#[test]
fn grpc_clients_are_told_in_their_own_words() {
    let rig = Rig::new(0, &[]);
    run(async {
        let mut sender = connect(&rig).await;
        let call = |uri: &str, kind: &str| {
            request("POST", uri)
                .header("content-type", kind)
                .header("te", "trailers")
        };
        for (uri, status) in [
            ("http://a.test/pkg.Service/Method", "14"),
            ("http://nobody.test/pkg.Service/Method", "12"),
        ] {
            let asked = call(uri, "application/grpc+proto").body(()).unwrap();
            let answer = ask(&mut sender, asked, Some((Bytes::new(), None))).await.unwrap();
            assert_eq!(answer.status, 200);
            assert_eq!(answer.field("content-type"), "application/grpc");
            assert_eq!(answer.field("grpc-status"), status);
            assert!(!answer.field("grpc-message").is_empty());
        }
        let web = call("http://a.test/", "application/grpc-web+proto").body(()).unwrap();
        let answer = ask(&mut sender, web, Some((Bytes::new(), None))).await.unwrap();
        assert_eq!(answer.status, 503, "gRPC-Web is HTTP");
    });
}

#[test]
fn streams_that_stand_still_end_and_the_others_go_on() {
    let rig = Rig::new(
        1,
        &[
            "--body-timeout",
            "500ms",
            "--send-timeout",
            "500ms",
            "--idle-timeout",
            "1s",
        ],
    );
    rig.pod().answers(crate::rig::Reply::Bytes(
        [
            b"HTTP/1.1 200 OK\r\nContent-Length: 4194304\r\n\r\n".to_vec(),
            vec![b'z'; 4 << 20],
        ]
        .concat(),
    ));
    run(async {
        let (mut sender, ended) = connect_and_watch(&rig).await;
        // One who never reads.
        let asked = request("GET", "http://a.test/").body(()).unwrap();
        let (response, _stream) = sender.send_request(asked, true).unwrap();
        let mut unread = response.await.unwrap().into_body();
        // One who never sends.
        let asked = request("POST", "http://a.test/").body(()).unwrap();
        let (response, _open) = sender.send_request(asked, false).unwrap();
        assert_eq!(response.await.unwrap().status(), 408);
        rig.pod()
            .answers(crate::rig::Reply::text("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
        let asked = request("GET", "http://a.test/").body(()).unwrap();
        assert_eq!(ask(&mut sender, asked, None).await.unwrap().status, 200);
        let mut got = 0;
        let end = loop {
            match unread.data().await {
                Some(Ok(piece)) => got += piece.len(),
                Some(Err(error)) => break Some(error),
                None => break None,
            }
        };
        assert!(end.is_some(), "{got} bytes and a clean end");
        assert!(got < 4 << 20);
        // And the connection, when nothing is asked of it any more.
        ended.await.unwrap();
    });
}
