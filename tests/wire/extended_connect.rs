//! WebSockets over HTTP/2: extended CONNECT on the client's side, an HTTP/1.1 handshake on the pod's (RFC 8441).

use crate::h2_left::only_its_own_stream;
use crate::h2_rig::{H2Pod, Manner, ask, connect, manifest, request, run};
use crate::raw_h2;
use crate::rig::{Rig, eventually, get, ingress, service};
use crate::tls_rig::{config, make, secret, secure};
use base64::Engine;
use bytes::Bytes;
use h2::ext::Protocol;
use h2::{Reason, RecvStream, SendStream, client};
use http::Response;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// narthex before a pod that answers every head as told and then leaves its connection to the test.
struct World {
    rig: Rig,
    pod: mpsc::Receiver<(String, TcpStream)>,
}

/// What a pod says to a handshake.
#[derive(Clone, Copy)]
enum Says {
    /// Yes, and this right behind it.
    Yes(&'static str),
    /// These bytes.
    This(&'static str),
}

fn answer(head: &str, says: Says) -> String {
    let behind = match says {
        Says::Yes(behind) => behind,
        Says::This(bytes) => return bytes.to_owned(),
    };
    let mut hash = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(field(head, "sec-websocket-key").unwrap().as_bytes());
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let accept = base64::engine::general_purpose::STANDARD.encode(hash.finish());
    // A length is wrong here (RFC 9110, section 8.6), and hyper would reset the stream for it.
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 5\r\n\
         Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Accept: {accept}\r\n\r\n{behind}"
    )
}

fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(": "));
    fields
        .find(|(other, _)| other.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

impl World {
    fn new(says: Says, flags: &[&str], more: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let rig = Rig::with(1, flags, |pods| {
            service("web", &[(pods[0].address, "p0")])
                + &ingress("web", "a.test", "/", "web", "")
                + &service("ws", &[(address, "ws")])
                + &ingress("ws", "ws.test", "/", "ws", "")
                + more
        });
        let (sender, pod) = mpsc::channel();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) > 0 {
                    head.push(byte[0]);
                }
                let head = String::from_utf8(head).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream.write_all(answer(&head, says).as_bytes()).unwrap();
                let _ = sender.send((head, stream));
            }
        });
        Self { rig, pod }
    }

    fn pod(&self) -> (String, TcpStream) {
        self.pod.recv_timeout(PATIENCE).unwrap()
    }
}

type Sender = client::SendRequest<Bytes>;

fn extended(uri: &str) -> http::request::Builder {
    request("CONNECT", uri).extension(Protocol::from_static("websocket"))
}

async fn open(sender: &mut Sender, asked: http::request::Builder) -> (Response<RecvStream>, SendStream<Bytes>) {
    eventually_async("the client knows that it may", || {
        sender.is_extended_connect_protocol_enabled()
    })
    .await;
    let (response, stream) = sender.send_request(asked.body(()).unwrap(), false).unwrap();
    (response.await.unwrap(), stream)
}

async fn eventually_async(what: &str, mut look: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !look() {
        assert!(std::time::Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn status(sender: &mut Sender, asked: http::request::Builder) -> u16 {
    open(sender, asked).await.0.status().as_u16()
}

async fn status_of_get(sender: &mut Sender) -> u16 {
    let asked = request("GET", "http://a.test/").body(()).unwrap();
    ask(sender, asked, None).await.unwrap().status.as_u16()
}

/// So many bytes of a stream.
async fn bytes(body: &mut RecvStream, count: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < count {
        let piece = body.data().await.expect("more bytes").unwrap();
        body.flow_control().release_capacity(piece.len()).unwrap();
        all.extend_from_slice(&piece);
    }
    all
}

/// Sends all, at the pace at which it is taken.
async fn send(stream: &mut SendStream<Bytes>, mut all: Bytes) {
    while !all.is_empty() {
        stream.reserve_capacity(all.len());
        let room = std::future::poll_fn(|cx| stream.poll_capacity(cx))
            .await
            .unwrap()
            .unwrap();
        stream.send_data(all.split_to(room.min(all.len())), false).unwrap();
    }
}

/// How a stream ends: with END_STREAM, or by a reset.
async fn ending(body: &mut RecvStream) -> Option<Reason> {
    loop {
        match body.data().await {
            None => return None,
            Some(Ok(piece)) => assert!(piece.is_empty(), "bytes, and no end: {piece:?}"),
            Some(Err(error)) => return Some(error.reason().expect("a reset")),
        }
    }
}

/// A conversation with a pod that says everything back.
async fn converse(world: &World, sender: &mut Sender, scheme: &str) {
    let asked = extended(&format!("{scheme}://ws.test/a//b?c"))
        .header("sec-websocket-protocol", "chat")
        .header("sec-websocket-extensions", "permessage-deflate")
        .header("origin", "https://ws.test");
    let (response, mut stream) = open(sender, asked).await;
    let (head, mut pod) = world.pod();
    assert!(head.starts_with("GET /a/b?c HTTP/1.1\r\n"), "{head}");
    for (name, wanted) in [
        ("host", "ws.test"),
        ("upgrade", "websocket"),
        ("connection", "upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "chat"),
        ("sec-websocket-extensions", "permessage-deflate"),
        ("origin", "https://ws.test"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", scheme),
        ("x-narthex-hops", "1"),
    ] {
        assert_eq!(field(&head, name), Some(wanted), "{name}: {head}");
    }
    assert!(
        !head.contains(":protocol") && !head.to_lowercase().contains("transfer-encoding"),
        "{head}"
    );
    assert_eq!(response.status(), 200);
    let (parts, mut body) = response.into_parts();
    assert_eq!(parts.headers.get("sec-websocket-protocol").unwrap(), "chat");
    for name in ["sec-websocket-accept", "upgrade", "connection", "content-length"] {
        assert!(!parts.headers.contains_key(name), "{name}");
    }
    let echo = std::thread::spawn(move || {
        let mut piece = [0; 65536];
        loop {
            let count = pod.read(&mut piece).unwrap();
            if count == 0 {
                return pod.write_all(b"bye").unwrap();
            }
            pod.write_all(&piece[..count]).unwrap();
        }
    });
    assert_eq!(bytes(&mut body, 2).await, b"hi", "what the pod said behind its 101");
    let large = Bytes::from((0..4 << 20).map(|index: u32| index as u8).collect::<Vec<_>>());
    let (mut stream, said) = tokio::join!(
        async {
            send(&mut stream, large.clone()).await;
            stream
        },
        bytes(&mut body, large.len())
    );
    assert!(said == large, "every byte, in order");
    // One side may have said all while the other goes on.
    stream.send_data(Bytes::new(), true).unwrap();
    assert_eq!(bytes(&mut body, 3).await, b"bye");
    assert_eq!(ending(&mut body).await, None);
    echo.join().unwrap();
}

async fn connect_tls(rig: &Rig, name: &str) -> Sender {
    let mut config = config(rustls::ALL_VERSIONS);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tcp = tokio::net::TcpStream::connect(rig.https).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let tls = connector
        .connect(name.to_owned().try_into().unwrap(), tcp)
        .await
        .unwrap();
    let (sender, connection) = client::handshake(tls).await.unwrap();
    tokio::spawn(connection);
    sender.ready().await.unwrap()
}

#[test]
fn bytes_pass_both_ways_in_plain_and_under_tls() {
    let world = World::new(Says::Yes("hi"), &[], "");
    run(async {
        converse(&world, &mut connect(&world.rig).await, "http").await;
        let mut sender = connect_tls(&world.rig, "ws.test").await;
        converse(&world, &mut sender, "https").await;
        // Each handshake has its own key.
        let mut keys = std::collections::HashSet::new();
        for _ in 0..3 {
            open(
                &mut sender,
                extended("https://ws.test/").header("sec-websocket-key", "mine"),
            )
            .await;
            keys.insert(field(&world.pod().0, "sec-websocket-key").unwrap().to_owned());
        }
        assert!(keys.len() == 3 && keys.iter().all(|key| key.len() == 24), "{keys:?}");
    });
}

#[test]
fn only_websockets_are_passed_on_and_only_where_a_request_would_be() {
    let made = make(&["ws.test", "one.test"]);
    let other = make(&["two.test"]);
    let h2 = H2Pod::start(Manner::Echo, 100);
    let more = [
        secret("one", &made.certificate, &made.key),
        secret("two", &other.certificate, &other.key),
        secure("one", "one.test", "one.test", "one", ""),
        secure("two", "two.test", "two.test", "two", ""),
        manifest(h2.address, "kubernetes.io/h2c"),
    ]
    .concat();
    let world = World::new(Says::Yes(""), &["--max-uri", "100"], &more);
    run(async {
        let mut sender = connect(&world.rig).await;
        let other = |name| request("CONNECT", "http://ws.test/").extension(Protocol::from_static(name));
        for (what, wanted, asked) in [
            ("no :protocol", 405, request("CONNECT", "ws.test:80")),
            ("another", 501, other("connect-udp")),
            ("another", 501, other("h2c")),
            ("two", 501, other("websocket, h2c")),
            ("none that is known", 404, extended("http://nobody.test/")),
            ("a pod that speaks HTTP/2", 501, extended("http://h2.test/")),
            ("to HTTPS first", 308, extended("http://one.test/")),
            (
                "round and round",
                508,
                extended("http://ws.test/").header("x-narthex-hops", "5"),
            ),
            ("two names", 400, extended("http://ws.test/").header("host", "a.test")),
            ("no path", 400, extended("http://ws.test/..%2f..%00")),
            (
                "a long one",
                414,
                extended(&format!("http://ws.test/{}", "x".repeat(200))),
            ),
            ("yes", 200, extended("http://ws.test/")),
            // Errors in gRPC's words are 200, which would agree.
            (
                "not gRPC",
                404,
                extended("http://nobody.test/").header("content-type", "application/grpc"),
            ),
        ] {
            assert_eq!(status(&mut sender, asked).await, wanted, "{what}");
        }
        let mut sender = connect_tls(&world.rig, "one.test").await;
        assert_eq!(status(&mut sender, extended("https://two.test/")).await, 421);
    });
    assert_eq!(world.pod.try_iter().count(), 1, "only the good one reached the pod");
}

#[test]
fn an_answer_that_does_not_agree_is_no_tunnel() {
    const WRONG: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    for (status, says) in [
        (502, WRONG),
        (
            502,
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        ),
        (
            502,
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        ),
        // To the client of a CONNECT this would be a tunnel.
        (502, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno"),
        (502, "HTTP/1.1 204 No Content\r\n\r\n"),
        (403, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"),
        (302, "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 2\r\n\r\nno"),
        (
            426,
            "HTTP/1.1 426 Upgrade Required\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
        ),
    ] {
        let world = World::new(Says::This(says), &[], "");
        run(async {
            let mut sender = connect(&world.rig).await;
            let (response, _stream) = open(&mut sender, extended("http://ws.test/")).await;
            assert_eq!(response.status(), status, "{says}");
            if status != 502 {
                assert_eq!(bytes(&mut response.into_body(), 2).await, b"no", "{says}");
            }
            assert_eq!(status_of_get(&mut sender).await, 200, "the connection goes on");
        });
    }
}

/// Whether a process holds the end of a connection that has this port; one that is closed has no inode (proc_net_tcp).
fn is_open(port: u16) -> bool {
    let local = format!(":{port:04X}");
    let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let mut rows = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.any(|row| row[1].ends_with(&local) && row[9] != "0")
}

#[test]
fn who_breaks_off_is_not_taken_for_one_who_is_done() {
    let world = World::new(Says::Yes(""), &["--tunnel-timeout", "2s"], "");
    run(async {
        let mut sender = connect(&world.rig).await;
        // The client. The pod is not only told that no more comes: its connection is closed.
        let (response, mut stream) = open(&mut sender, extended("http://ws.test/")).await;
        let (_, mut pod) = world.pod();
        let narthex = pod.peer_addr().unwrap().port();
        assert!(is_open(narthex));
        stream.send_reset(Reason::CANCEL);
        drop((response, stream));
        assert_eq!(pod.read(&mut [0; 16]).unwrap_or(0), 0);
        eventually("it is closed", || (!is_open(narthex)).then_some(()));
        assert_eq!(world.rig.counter("client_timeouts_total"), 0, "at once, not by time");

        // The pod: it closes with bytes unread, which is a reset.
        let (response, mut stream) = open(&mut sender, extended("http://ws.test/")).await;
        let (_, pod) = world.pod();
        stream.send_data(Bytes::from_static(b"unread"), false).unwrap();
        pod.peek(&mut [0; 1]).unwrap();
        drop(pod);
        assert_eq!(ending(&mut response.into_body()).await, Some(Reason::CANCEL));

        // Neither: time.
        let (response, _stream) = open(&mut sender, extended("http://ws.test/")).await;
        let (_, _pod) = world.pod();
        assert_eq!(ending(&mut response.into_body()).await, Some(Reason::CANCEL));
        assert_eq!(world.rig.counter("client_timeouts_total"), 1);

        // The pod says all, and the client after it.
        let (response, mut stream) = open(&mut sender, extended("http://ws.test/")).await;
        let (_, mut pod) = world.pod();
        pod.shutdown(Shutdown::Write).unwrap();
        assert_eq!(ending(&mut response.into_body()).await, None);
        stream.send_data(Bytes::from_static(b"bye"), true).unwrap();
        let mut said = Vec::new();
        pod.read_to_end(&mut said).unwrap();
        assert_eq!(said, b"bye");
    });
}

#[test]
fn who_does_not_read_holds_up_who_writes() {
    let world = World::new(Says::Yes(""), &[], "");
    run(async {
        let mut sender = connect(&world.rig).await;
        let (response, mut stream) = open(&mut sender, extended("http://ws.test/")).await;
        let (_, mut pod) = world.pod();
        // Towards the client.
        let writer = pod.try_clone().unwrap();
        let written = tokio::task::spawn_blocking(move || {
            writer.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
            (&writer).write_all(&vec![b'x'; 64 << 20]).is_err()
        });
        assert!(
            written.await.unwrap(),
            "64 MiB were taken in for a client that reads nothing"
        );
        // Others on the same connection are answered, as far as the client's own window lets them.
        let asked = request("HEAD", "http://a.test/").body(()).unwrap();
        assert_eq!(ask(&mut sender, asked, None).await.unwrap().status, 200);
        // Towards the pod.
        let flood = send(&mut stream, Bytes::from(vec![b'y'; 64 << 20]));
        let flooded = tokio::time::timeout(Duration::from_millis(500), flood).await;
        assert!(flooded.is_err(), "64 MiB were taken in for a pod that reads nothing");
        drop((response, stream));
        let ended =
            tokio::task::spawn_blocking(move || while pod.read(&mut [0; 65536]).is_ok_and(|count| count > 0) {});
        ended.await.unwrap();
    });
}

#[test]
fn tunnels_are_last_to_go() {
    let mut world = World::new(Says::Yes(""), &["--idle-timeout", "500ms"], "");
    let (admin, process) = (world.rig.admin, world.rig.child.id());
    run(async {
        let mut sender = connect(&world.rig).await;
        let (response, mut stream) = open(&mut sender, extended("http://ws.test/")).await;
        let (_, mut pod) = world.pod();
        let mut body = response.into_body();
        // A connection with a tunnel is not idle, however quiet that is.
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(status_of_get(&mut sender).await, 200);
        let process = rustix::process::Pid::from_raw(process.try_into().unwrap()).unwrap();
        rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
        eventually_async("it is no longer ready", || get(admin, "/readyz").0 != 200).await;
        // Until GOAWAY comes, which is spread over time, requests are answered as ever. (Each is waited for: given up, they
        // would be resets, and too many of those end the connection.)
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            let asked = request("GET", "http://a.test/").body(()).unwrap();
            let Ok(answer) = ask(&mut sender, asked, None).await else {
                break;
            };
            assert_eq!(answer.status, 200);
            assert!(std::time::Instant::now() < deadline, "never happened: no more is taken");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Longer than a connection may be idle, and the tunnel goes on.
        for _ in 0..8 {
            stream.send_data(Bytes::from_static(b"ping"), false).unwrap();
            let mut said = [0; 4];
            pod.read_exact(&mut said).unwrap();
            pod.write_all(b"pong").unwrap();
            assert_eq!((&said, bytes(&mut body, 4).await.as_slice()), (b"ping", &b"pong"[..]));
            tokio::time::sleep(Duration::from_millis(125)).await;
        }
        stream.send_data(Bytes::new(), true).unwrap();
        drop(pod);
        assert_eq!(ending(&mut body).await, None);
    });
    eventually("the process ends", || world.rig.child.try_wait().unwrap());
}

#[test]
fn a_field_of_the_handshake_that_is_the_clients_own_changes_nothing() {
    let world = World::new(Says::Yes(""), &[], "");
    run(async {
        let mut sender = connect(&world.rig).await;
        let asked = extended("http://ws.test/")
            .header("sec-websocket-version", "14")
            .header("sec-websocket-accept", "x")
            .header("cookie", "a=1")
            .header("cookie", "b=2");
        assert_eq!(status(&mut sender, asked).await, 200);
        let (head, _pod) = world.pod();
        assert_eq!(field(&head, "sec-websocket-version"), Some("14"), "the pod's to judge");
        assert_eq!(field(&head, "cookie"), Some("a=1; b=2"));
    });
}

/// A tunnel has no content (RFC 9110, section 9.3.6).
#[test]
fn a_connect_with_a_length_ends_its_stream_alone() {
    only_its_own_stream(0, &raw_h2::head("CONNECT", "a.test", &[("content-length", "3")]));
}
