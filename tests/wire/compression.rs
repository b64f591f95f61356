//! `narthex.io/compress`: what clients get who take codings, and who do not (RFC 9110, section 12.5.3).

use crate::h2_rig::{ask, connect, request, run};
use crate::rig::{Answer, Client, PATIENCE, Reply, Rig, eventually, ingress, message_length, service};
use bytes::Bytes;
use http::{HeaderMap, Response};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::Ordering;

const CODINGS: [&str; 3] = ["gzip", "br", "zstd"];

/// What a decoder makes of a stream or of the beginning of one, and whether it came to its end.
fn decode(coding: &str, coded: &[u8]) -> (Vec<u8>, bool) {
    let mut decoder: Box<dyn Read + '_> = match coding {
        "gzip" => Box::new(flate2::read::MultiGzDecoder::new(coded)),
        "br" => Box::new(brotli::Decompressor::new(coded, 4096)),
        "zstd" => Box::new(zstd::stream::read::Decoder::new(coded).unwrap()),
        other => panic!("no decoder for {other:?}"),
    };
    let mut out = Vec::new();
    let mut piece = [0; 512];
    loop {
        match decoder.read(&mut piece) {
            Ok(0) => return (out, true),
            Ok(count) => out.extend_from_slice(&piece[..count]),
            Err(_) => return (out, false),
        }
    }
}

/// The content of as many chunks as are there.
fn unchunk(mut body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(line) = body.windows(2).position(|window| window == b"\r\n") {
        let size = std::str::from_utf8(&body[..line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        let data = &body[line + 2..];
        if size == 0 || data.len() < size {
            break;
        }
        out.extend_from_slice(&data[..size]);
        body = data.get(size + 2..).unwrap_or_default();
    }
    out
}

/// The content of a reply, and its coding.
fn content(answer: &Answer) -> (Vec<u8>, Option<&str>) {
    let body = match answer.field("transfer-encoding") {
        Some(_) => unchunk(&answer.body),
        None => answer.body.clone(),
    };
    match answer.field("content-encoding") {
        None => (body, None),
        Some(coding) => {
            let (decoded, whole) = decode(coding, &body);
            assert!(whole, "{coding}: the stream has no end");
            (decoded, Some(coding))
        }
    }
}

/// Text of this length, which gets smaller, and has no two parts alike.
fn text(length: usize) -> Vec<u8> {
    let lines = (0..).flat_map(|line: u32| {
        format!("<li id=\"{line}\">item {}</li>\n", line.wrapping_mul(2_654_435_761)).into_bytes()
    });
    lines.take(length).collect()
}

/// A reply of a pod that names its length.
fn page(fields: &str, body: &[u8]) -> Reply {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{fields}\r\n", body.len());
    Reply::Bytes([head.as_bytes(), body].concat())
}

fn html(length: usize) -> (Reply, Vec<u8>) {
    let body = text(length);
    (page("Content-Type: text/html\r\n", &body), body)
}

fn annotated(name: &str, value: &str) -> String {
    let annotations = format!(", annotations: {{narthex.io/compress: \"{value}\"}}");
    ingress(name, &format!("{name}.test"), "/", "web", &annotations)
}

/// narthex before one pod: `a.test` compresses by default, `gzip.test`, `br.test` and `zstd.test` with that alone,
/// `none.test` and `plain.test` not.
fn world(flags: &[&str]) -> Rig {
    Rig::with(1, flags, |pods| manifests(pods[0].address))
}

fn manifests(pod: SocketAddr) -> String {
    let mut all = service("web", &[(pod, "p")]) + &ingress("plain", "plain.test", "/", "web", "");
    for (name, value) in [
        ("a", "true"),
        ("gzip", "gzip"),
        ("br", "br"),
        ("zstd", "zstd"),
        ("none", "off"),
    ] {
        all += &annotated(name, value);
    }
    all
}

fn asking(host: &str, fields: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")
}

#[test]
fn each_coding_is_read_by_its_decoder_and_by_curl() {
    let rig = world(&[]);
    for length in [1024, 200_000, 3 << 20] {
        let (reply, body) = html(length);
        rig.pod().answers(reply);
        let mut client = rig.client();
        for coding in CODINGS {
            let answer = client
                .send(asking(&format!("{coding}.test"), "Accept-Encoding: gzip, br, zstd\r\n"))
                .answer();
            assert_eq!(answer.field("content-encoding"), Some(coding));
            assert_eq!(answer.field("content-length"), None);
            assert!(
                answer.body.len() < length * 2 / 3,
                "{coding}: {} of {length}",
                answer.body.len()
            );
            assert!(content(&answer).0 == body, "{coding} {length}");

            let curl = Command::new("curl")
                .args(["-sS", "--compressed", "--connect-to", &format!("::{}", rig.http)])
                .arg(format!("http://{coding}.test/"))
                .output()
                .expect("curl is there");
            assert!(curl.status.success(), "{}", String::from_utf8_lossy(&curl.stderr));
            assert!(curl.stdout == body, "curl {coding} {length}");
        }
    }
    assert_eq!(rig.counter("compressions_total"), 18);
}

#[test]
fn the_client_chooses_by_weight_and_the_rule_by_order() {
    let rig = world(&[]);
    let (reply, body) = html(5000);
    rig.pod().answers(reply);
    let mut client = rig.client();
    for (fields, wanted) in [
        ("", None),
        ("Accept-Encoding: \r\n", None),
        ("Accept-Encoding: deflate\r\n", None),
        ("Accept-Encoding: gzip, deflate, br\r\n", Some("br")),
        ("Accept-Encoding: gzip\r\nAccept-Encoding: zstd\r\n", Some("zstd")),
        ("Accept-Encoding: gzip;q=0.9, br;q=0.8, zstd;q=0\r\n", Some("gzip")),
        ("Accept-Encoding: *\r\n", Some("zstd")),
        ("Accept-Encoding: identity, *;q=0.5\r\n", None),
        ("Accept-Encoding: gzip;q=0\r\n", None),
        ("Accept-Encoding: gzip\r\nCache-Control: no-transform\r\n", None),
    ] {
        let answer = client.send(asking("a.test", fields)).answer();
        assert!(content(&answer) == (body.clone(), wanted), "{fields}: {}", answer.head);
        assert_eq!(answer.field("vary"), Some("Accept-Encoding"), "{fields}");
        assert_eq!(answer.field("content-length").is_some(), wanted.is_none(), "{fields}");
    }
    let all = "Accept-Encoding: gzip, br, zstd\r\n";
    for host in ["none.test", "plain.test"] {
        let answer = client.send(asking(host, all)).answer();
        assert!(content(&answer) == (body.clone(), None), "{host}");
        assert_eq!(answer.field("vary"), None, "{host}");
    }
    client.send(format!("GET / HTTP/1.0\r\nHost: a.test\r\n{all}\r\n"));
    let answer = client.answer();
    assert!(
        content(&answer) == (body, None),
        "HTTP/1.0 cannot tell the end from a break"
    );
}

#[test]
fn what_gains_nothing_or_must_not_change_passes_untouched() {
    let rig = world(&[]);
    let body = text(4000);
    let mut client = rig.client();
    for (status, fields, sent) in [
        ("200 OK", "Content-Type: text/html\r\n", &body[..1000]),
        ("200 OK", "Content-Type: image/png\r\n", &body),
        ("200 OK", "", &body),
        ("200 OK", "Content-Type: application/grpc+json\r\n", &body),
        ("200 OK", "Content-Type: text/html\r\nContent-Encoding: gzip\r\n", &body),
        (
            "200 OK",
            "Content-Type: text/html\r\nCache-Control: public, no-transform\r\n",
            &body,
        ),
        (
            "206 Partial",
            "Content-Type: text/html\r\nContent-Range: bytes 0-3999/9000\r\n",
            &body,
        ),
        ("302 Found", "Content-Type: text/html\r\n", &body),
    ] {
        let fields = format!(
            "{fields}ETag: \"x\"\r\nAccept-Ranges: bytes\r\nContent-Length: {}\r\n",
            sent.len()
        );
        let reply = format!("HTTP/1.1 {status}\r\n{fields}\r\n");
        rig.pod().answers(Reply::Bytes([reply.as_bytes(), sent].concat()));
        let answer = client.send(asking("a.test", "Accept-Encoding: gzip\r\n")).answer();
        assert!(answer.body == sent, "{status} {fields}");
        for line in fields.lines() {
            let kept = answer.head.lines().any(|got| got.eq_ignore_ascii_case(line));
            assert!(kept, "{line} is missing in {}", answer.head);
        }
        assert_eq!(answer.field("vary"), None, "{status} {fields}");
    }
    rig.pod()
        .answers(Reply::text("HTTP/1.1 204 No\r\nContent-Type: text/html\r\n\r\n"));
    let answer = client.send(asking("a.test", "Accept-Encoding: gzip\r\n")).answer();
    assert_eq!((answer.status, answer.field("content-encoding")), (204, None));
    assert_eq!(client.send(asking("a.test", "")).answer().status, 204);
}

#[test]
fn fields_tell_of_the_coding_to_get_and_head_and_304_alike() {
    let rig = world(&[]);
    let fields = "Content-Type: application/json\r\nETag: \"v1\"\r\nAccept-Ranges: bytes\r\nVary: Origin\r\n\
                  Repr-Digest: sha-256=:AA==:\r\n";
    let body = text(2000);
    let mut client = rig.client();
    for method in ["GET", "HEAD"] {
        let sent = if method == "GET" { &body[..] } else { &[] };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{fields}\r\n", body.len());
        rig.pod().answers(Reply::Bytes([head.as_bytes(), sent].concat()));
        client.send(format!(
            "{method} / HTTP/1.1\r\nHost: a.test\r\nAccept-Encoding: br\r\n\r\n"
        ));
        let answer = client.answer_to(method).unwrap();
        for (name, wanted) in [
            ("content-encoding", Some("br")),
            ("vary", Some("Origin, Accept-Encoding")),
            ("etag", Some("W/\"v1\"")),
            ("content-length", None),
            ("accept-ranges", None),
            ("repr-digest", None),
        ] {
            assert_eq!(answer.field(name), wanted, "{method} {name}");
        }
    }
    rig.pod()
        .answers(Reply::text("HTTP/1.1 304 Same\r\nETag: \"v1\"\r\n\r\n"));
    client.send(asking("a.test", "Accept-Encoding: br\r\nIf-None-Match: W/\"v1\"\r\n"));
    let answer = client.answer();
    assert_eq!(rig.pod().last().field("if-none-match"), ["W/\"v1\""]);
    assert_eq!((answer.status, answer.field("etag")), (304, Some("W/\"v1\"")));
    assert_eq!(answer.field("content-encoding"), None);
}

#[test]
fn connections_to_pods_are_used_again() {
    let rig = world(&["--shards", "1"]);
    let (by_length, body) = html(50_000);
    let mut chunked = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for piece in body.chunks(7000) {
        chunked.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        chunked.extend_from_slice(piece);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    for reply in [by_length, Reply::Bytes(chunked)] {
        rig.pod().answers(reply);
        for coding in CODINGS {
            let fields = format!("Accept-Encoding: {coding}\r\n");
            let answer = rig.client().send(asking("a.test", &fields)).answer();
            assert!(content(&answer) == (body.clone(), Some(coding)));
        }
    }
    assert_eq!(rig.pod().connections.load(Ordering::SeqCst), 1);
}

/// A pod whose part a test plays.
struct Stage {
    listener: TcpListener,
}

impl Stage {
    fn rig(flags: &[&str]) -> (Self, Rig) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let rig = Rig::with(0, flags, |_| manifests(address));
        (Self { listener }, rig)
    }

    /// Takes a request in, and answers with the head of a chunked reply.
    fn begin(&self, kind: &str) -> TcpStream {
        self.listener.set_nonblocking(true).unwrap();
        let mut stream = eventually("a request comes", || self.listener.accept().ok()).0;
        stream.set_nonblocking(false).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut head = Vec::new();
        while message_length(&head).is_none() {
            let mut piece = [0; 4096];
            let count = stream.read(&mut piece).unwrap();
            assert!(count > 0, "the request ends");
            head.extend_from_slice(&piece[..count]);
        }
        let reply = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n");
        stream.write_all(reply.as_bytes()).unwrap();
        stream
    }
}

fn say(pod: &mut TcpStream, text: &[u8]) {
    let chunk = [format!("{:x}\r\n", text.len()).as_bytes(), text, b"\r\n"].concat();
    pod.write_all(&chunk).unwrap();
}

/// The head of a reply, byte by byte so that nothing more is read.
fn head(client: &mut Client) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.extend(client.bytes(1));
    }
    String::from_utf8(head).unwrap()
}

/// The data of the next chunk.
fn chunk(client: &mut Client) -> Vec<u8> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.extend(client.bytes(1));
    }
    let size = std::str::from_utf8(&line).unwrap().trim();
    let size = usize::from_str_radix(size, 16).unwrap();
    let data = client.bytes(size);
    assert_eq!(client.bytes(2), b"\r\n");
    data
}

#[test]
fn events_arrive_one_by_one() {
    let (stage, rig) = Stage::rig(&[]);
    for coding in CODINGS {
        let mut client = rig.client();
        client.send(asking("a.test", &format!("Accept-Encoding: {coding}\r\n")));
        let mut pod = stage.begin("text/event-stream");
        assert!(head(&mut client).contains(coding));
        let (mut coded, mut said) = (Vec::new(), Vec::new());
        for number in 0..5 {
            let event = format!("id: {number}\ndata: something happened\n\n").into_bytes();
            say(&mut pod, &event);
            said.extend_from_slice(&event);
            // The pod says nothing more until this has arrived.
            while decode(coding, &coded).0 != said {
                coded.extend(chunk(&mut client));
            }
        }
        pod.write_all(b"0\r\n\r\n").unwrap();
        loop {
            let last = chunk(&mut client);
            if last.is_empty() {
                break;
            }
            coded.extend(last);
        }
        assert_eq!(decode(coding, &coded), (said, true), "{coding}");
    }
}

#[test]
fn a_body_that_breaks_looks_whole_to_nobody() {
    let (stage, rig) = Stage::rig(&["--stream-timeout", "1s"]);
    for (coding, silent) in [("gzip", false), ("br", false), ("zstd", false), ("zstd", true)] {
        let mut client = rig.client();
        client.send(asking("a.test", &format!("Accept-Encoding: {coding}\r\n")));
        let mut pod = stage.begin("text/plain");
        head(&mut client);
        let said = text(30_000);
        say(&mut pod, &said);
        let mut coded = Vec::new();
        while decode(coding, &coded).0 != said {
            coded.extend(chunk(&mut client));
        }
        if !silent {
            drop(pod);
        }
        assert!(client.ends(), "{coding}: more came, such as an end");
        assert!(!decode(coding, &coded).1, "{coding}: the stream has an end");
    }

    let (reply, body) = html(50_000);
    let Reply::Bytes(mut bytes) = reply else { unreachable!() };
    bytes.truncate(bytes.len() - 1);
    let rig = world(&[]);
    rig.pod().answers(Reply::Last(bytes));
    let mut client = rig.client();
    client.send(asking("a.test", "Accept-Encoding: gzip\r\n"));
    head(&mut client);
    let mut coded = Vec::new();
    while decode("gzip", &coded).0 != body[..body.len() - 1] {
        coded.extend(chunk(&mut client));
    }
    assert!(client.ends() && !decode("gzip", &coded).1, "a byte is missing");
}

#[test]
fn without_memory_for_an_encoder_replies_go_as_they_are() {
    let (stage, rig) = Stage::rig(&["--shards", "1", "--compression-memory", "500KiB"]);
    let gzip = || asking("a.test", "Accept-Encoding: gzip\r\n");
    let mut first = rig.client();
    first.send(gzip());
    let mut streaming = stage.begin("text/plain");
    say(&mut streaming, b"hello");
    assert!(head(&mut first).to_lowercase().contains("content-encoding: gzip"));

    let mut second = rig.client();
    second.send(gzip());
    let mut pod = stage.begin("text/plain");
    say(&mut pod, b"hello");
    let plain = head(&mut second).to_lowercase();
    assert!(
        !plain.contains("content-encoding") && plain.contains("vary: accept-encoding"),
        "{plain}"
    );
    assert_eq!(chunk(&mut second), b"hello");
    assert_eq!(rig.counter("compressions_refused_total"), 1);

    streaming.write_all(b"0\r\n\r\n").unwrap();
    let mut coded = chunk(&mut first);
    while !coded.is_empty() && !decode("gzip", &coded).1 {
        coded.extend(chunk(&mut first));
    }
    // The next request would come on this connection.
    drop(streaming);
    let mut third = rig.client();
    third.send(gzip());
    let _pod = stage.begin("text/plain");
    assert!(head(&mut third).to_lowercase().contains("content-encoding: gzip"));
}

#[test]
fn http2_clients_get_it_too_and_a_break_is_a_reset() {
    let rig = world(&[]);
    let (reply, body) = html(300_000);
    rig.pod().answers(reply.clone());
    run(async {
        let mut sender = connect(&rig).await;
        for coding in CODINGS {
            let asked = request("GET", "http://a.test/").header("accept-encoding", coding);
            let answer = ask(&mut sender, asked.body(()).unwrap(), None).await.unwrap();
            assert_eq!(answer.field("content-encoding"), coding);
            assert!(answer.headers.get("content-length").is_none());
            assert!(decode(coding, &answer.body) == (body.clone(), true), "{coding}");

            let asked = request("HEAD", "http://a.test/").header("accept-encoding", coding);
            let answer = ask(&mut sender, asked.body(()).unwrap(), None).await;
            // This pod answers HEAD with a body, which is none of this test's business.
            assert!(answer.is_ok_and(|answer| answer.field("content-encoding") == coding && answer.body.is_empty()));
        }
        let Reply::Bytes(mut bytes) = reply else { unreachable!() };
        bytes.truncate(100_000);
        rig.pod().answers(Reply::Last(bytes));
        let asked = request("GET", "http://a.test/").header("accept-encoding", "gzip");
        assert!(ask(&mut sender, asked.body(()).unwrap(), None).await.is_err());
    });
}

/// A pod that speaks HTTP/2 in plain, and answers a page with trailers.
fn h2_pod(body: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        run_for_ever(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let body = body.clone();
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    while let Some(Ok((_, mut respond))) = connection.accept().await {
                        let reply = Response::builder()
                            .header("content-type", "application/json")
                            .header("trailer", "x-sum");
                        let mut stream = respond.send_response(reply.body(()).unwrap(), false).unwrap();
                        stream.send_data(Bytes::from(body.clone()), false).unwrap();
                        let mut trailers = HeaderMap::new();
                        trailers.insert("x-sum", "42".parse().unwrap());
                        stream.send_trailers(trailers).unwrap();
                    }
                });
            }
        });
    });
    address
}

fn run_for_ever(task: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(task);
}

#[test]
fn trailers_of_http2_pods_pass() {
    let body = text(100_000);
    let pod = h2_pod(body.clone());
    let rig = Rig::with(0, &[], |_| {
        manifests(pod).replace("{port: 80}", "{port: 80, appProtocol: kubernetes.io/h2c}")
    });
    run(async {
        let mut sender = connect(&rig).await;
        for coding in CODINGS {
            let asked = request("GET", "http://a.test/").header("accept-encoding", coding);
            let answer = ask(&mut sender, asked.body(()).unwrap(), None).await.unwrap();
            assert!(decode(coding, &answer.body) == (body.clone(), true), "{coding}");
            assert_eq!(answer.trailers.unwrap().get("x-sum").unwrap(), "42", "{coding}");
        }
    });
    let mut client = rig.client();
    let answer = client
        .send(asking(
            "a.test",
            "Accept-Encoding: br\r\nTE: trailers\r\nConnection: te\r\n",
        ))
        .answer();
    assert!(content(&answer) == (body, Some("br")));
    assert!(answer.body.ends_with(b"0\r\nx-sum: 42\r\n\r\n"));
}

#[test]
fn a_client_that_goes_leaves_nothing_behind() {
    let (stage, rig) = Stage::rig(&["--shards", "1", "--compression-memory", "500KiB"]);
    for _ in 0..3 {
        let mut client = rig.client();
        client.send(asking("a.test", "Accept-Encoding: gzip\r\n"));
        let mut pod = stage.begin("text/plain");
        let head = head(&mut client).to_lowercase();
        assert!(
            head.contains("content-encoding: gzip"),
            "the memory of the one before is gone: {head}"
        );
        drop(client);
        eventually("the pod is let go of", || {
            let chunk = pod.write_all(b"1\r\nx\r\n");
            chunk.is_err().then_some(())
        });
    }
}
