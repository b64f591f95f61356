//! Interim responses of pods (RFC 9110, section 15.2).

use crate::raw_h2::{self, END_HEADERS, END_STREAM, HEADERS, OK, Raw, frame};
use crate::rig::{Client, Reply, Rig};

const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n";
const FINAL: &str = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n";

fn rig(before: &str) -> Rig {
    let rig = Rig::new(1, &[]);
    rig.pod().answers(Reply::text(&format!("{before}{FINAL}")));
    rig
}

#[test]
fn they_pass_in_order_without_what_is_for_one_hop() {
    let rig = rig(&format!("{HINTS}HTTP/1.1 102 Processing\r\n\r\n{HINTS}"));
    let mut client = rig.client();
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        for wanted in [103, 102, 103] {
            let interim = client.answer();
            assert_eq!(interim.status, wanted);
            assert_eq!(interim.field("x-hop"), None);
            assert_eq!(interim.field("link").is_some(), wanted == 103);
        }
        let answer = client.answer();
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"ok\n"[..]));
    }
}

/// HTTP/1.0 has none, and a 100 is an answer to narthex, which tells clients itself to go on.
#[test]
fn who_does_not_understand_them_gets_none() {
    let rig = rig(&format!("HTTP/1.1 100 Continue\r\n\r\n{HINTS}"));
    let mut old = Client::connect(rig.http);
    old.send("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n");
    assert_eq!(old.answer().status, 200);
    let mut client = rig.client();
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(client.answer().status, 103);
    assert_eq!(client.answer().status, 200);
}

#[test]
fn they_pass_over_http2() {
    let rig = rig(HINTS);
    let mut client = Raw::connect(rig.http);
    let head = raw_h2::head("GET", "a.test", &[]);
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &head));
    let frames = client.stream_of(1);
    let heads: Vec<_> = frames.iter().filter(|frame| frame.kind == HEADERS).collect();
    let [interim, last] = heads[..] else {
        panic!("{frames:?}");
    };
    assert_ne!(interim.payload.first(), Some(&OK[0]));
    assert_eq!(last.payload.first(), Some(&OK[0]));
}

#[test]
fn however_many_there_are() {
    let rig = rig(&HINTS.repeat(300));
    let mut client = rig.client();
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    for _ in 0..300 {
        assert_eq!(client.answer().status, 103);
    }
    assert_eq!(client.answer().status, 200);
}
