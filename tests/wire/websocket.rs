//! WebSockets: asked for, agreed to, and then bytes as they come (RFC 6455, docs/security.md, row 12).

use crate::rig::{Client, Rig, eventually, get, ingress, service};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

const ASK: &str = "GET /chat HTTP/1.1\r\nHost: ws.test\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const AGREE: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzhZRbK+xOo=\r\n\r\n";

/// narthex before a pod that answers every head with `reply`, and then says what it hears in capitals.
struct World {
    rig: Rig,
    heads: mpsc::Receiver<String>,
}

fn head_of(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    Some(String::from_utf8(head).unwrap())
}

impl World {
    fn new(reply: &'static str, flags: &[&str]) -> Self {
        let rig = Rig::new(1, flags);
        let pod = TcpListener::bind("127.0.0.1:0").unwrap();
        let text = service("ws", &[(pod.local_addr().unwrap(), "ws")]) + &ingress("ws", "ws.test", "/", "ws", "");
        std::fs::write(rig.manifest("ws.yaml"), text).unwrap();
        eventually("the rule is live", || {
            let (_, said) = get(rig.admin, "/api/v1/explain?url=http://ws.test/");
            said.contains("\"ws\"").then_some(())
        });
        let (sender, heads) = mpsc::channel();
        std::thread::spawn(move || {
            for mut stream in pod.incoming().flatten() {
                let sender = sender.clone();
                std::thread::spawn(move || {
                    let head = head_of(&mut stream)?;
                    sender.send(head).ok()?;
                    stream.write_all(reply.as_bytes()).ok()?;
                    let mut piece = [0; 4096];
                    loop {
                        let count = stream.read(&mut piece).ok()?;
                        if count == 0 {
                            return stream.write_all(b"bye").ok();
                        }
                        piece.make_ascii_uppercase();
                        stream.write_all(&piece[..count]).ok()?;
                    }
                });
            }
        });
        Self { rig, heads }
    }

    fn open(&self) -> Client {
        let mut client = self.rig.client();
        client.send(ASK);
        let answer = client.answer();
        assert_eq!(answer.status, 101);
        assert_eq!(answer.field("upgrade"), Some("websocket"));
        assert!(answer.field("connection").unwrap().eq_ignore_ascii_case("upgrade"));
        assert_eq!(
            answer.field("sec-websocket-accept"),
            Some("s3pPLMBiTxaQ9kYGzhZRbK+xOo=")
        );
        client
    }
}

#[test]
fn bytes_pass_both_ways_until_both_are_done() {
    let world = World::new(AGREE, &[]);
    let mut client = world.open();
    let head = world
        .heads
        .recv_timeout(Duration::from_secs(10))
        .unwrap()
        .to_ascii_lowercase();
    for line in [
        "upgrade: websocket",
        "connection: upgrade",
        "sec-websocket-version: 13",
        "x-forwarded-for: 127.0.0.1",
    ] {
        assert!(head.contains(&format!("{line}\r\n")), "{line}: {head}");
    }
    // Nothing of it is HTTP, and nothing is looked at.
    client.send("get / nonsense\r\n\n\0");
    assert_eq!(client.bytes(18), b"GET / NONSENSE\r\n\n\0");
    let large = vec![b'x'; 4 << 20];
    let mut writer = client.stream.try_clone().unwrap();
    let sending = large.clone();
    let sender = std::thread::spawn(move || writer.write_all(&sending).unwrap());
    assert!(client.bytes(large.len()).iter().all(|byte| *byte == b'X'));
    sender.join().unwrap();
    // One side may have said all while the other goes on.
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.bytes(3), b"bye");
    assert!(client.ends());
}

#[test]
fn what_a_pod_says_right_behind_its_101_is_not_lost() {
    const GREETING: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: upgrade\r\n\
Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzhZRbK+xOo=\r\n\r\nhello";
    let world = World::new(GREETING, &[]);
    assert_eq!(world.open().bytes(5), b"hello");
}

#[test]
fn a_pod_that_declines_answers_as_always() {
    let world = World::new(
        "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        &[],
    );
    let mut client = world.rig.client();
    client.send(ASK);
    assert_eq!(client.answer().status, 426);
    assert!(client.goes_on(), "the connection is still HTTP");
}

#[test]
fn a_protocol_that_was_not_asked_for_is_502() {
    for reply in [
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n",
    ] {
        let world = World::new(reply, &[]);
        let mut client = world.rig.client();
        client.send(ASK);
        assert_eq!(client.answer().status, 502, "{reply}");
        assert!(client.ends());
    }
    let world = World::new(AGREE, &[]);
    let mut client = world.rig.client();
    client.send("GET / HTTP/1.1\r\nHost: ws.test\r\n\r\n");
    assert_eq!(client.answer().status, 502, "nothing was asked for");
}

#[test]
fn only_a_proper_question_is_passed_on() {
    let world = World::new("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", &[]);
    for (line, fields) in [
        (
            "GET / HTTP/1.1",
            "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMA\r\n",
        ),
        ("GET / HTTP/1.1", "Upgrade: websocket, h2c\r\nConnection: Upgrade\r\n"),
        (
            "GET / HTTP/1.1",
            "Upgrade: websocket\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n",
        ),
        ("GET / HTTP/1.1", "Upgrade: websocket\r\n"),
        (
            "POST / HTTP/1.1",
            "Upgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 0\r\n",
        ),
        ("GET / HTTP/1.0", "Upgrade: websocket\r\nConnection: Upgrade\r\n"),
    ] {
        let mut client = world.rig.client();
        client.send(format!("{line}\r\nHost: ws.test\r\n{fields}\r\n"));
        assert_eq!(client.answer().status, 200, "{fields}");
        let head = world
            .heads
            .recv_timeout(Duration::from_secs(10))
            .unwrap()
            .to_ascii_lowercase();
        assert!(
            !head.contains("upgrade") && !head.contains("http2-settings"),
            "{fields}: {head}"
        );
    }
}

#[test]
fn who_speaks_before_the_101_is_cut_off() {
    let world = World::new(AGREE, &[]);
    for early in ["GET /admin HTTP/1.1\r\nHost: ws.test\r\n\r\n", "\u{1}\u{2}frame"] {
        let mut client = world.rig.client();
        client.send(format!("{ASK}{early}"));
        let said = client.answer_to("GET").map(|answer| answer.status);
        assert!(matches!(said, Some(101) | None), "{said:?}");
        assert!(client.ends(), "{early:?} reached the pod: it answered");
    }
}

#[test]
fn a_tunnel_without_a_sign_of_life_ends() {
    let world = World::new(AGREE, &["--tunnel-timeout", "500ms"]);
    let mut client = world.open();
    client.send("a");
    assert_eq!(client.bytes(1), b"A");
    assert!(client.ends());
    eventually("it is counted", || {
        (world.rig.counter("client_timeouts_total") > 0).then_some(())
    });
}
