//! What is right and does not come out so yet, and why. Each test is expected to fail; when it does not, its
//! `should_panic` goes.

use crate::raw_h2::{END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, frame, literal};
use crate::rig::{Client, Reply, Rig};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n\
                     HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n";

/// Interim responses are forwarded (RFC 9110, section 15.2). hyper's HTTP/1.1 server has no way to send one, and its
/// HTTP/2 server none either.
#[test]
#[should_panic(expected = "the hints are there")]
fn interim_responses_pass() {
    let rig = Rig::new(1, &[]);
    rig.pod().answers(Reply::text(HINTS));
    let mut client = rig.client();
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let first = client.answer();
    assert_eq!(first.status, 103, "the hints are there");
    assert_eq!(client.answer().status, 200);
}

/// What does come out: the final response, whole.
#[test]
fn interim_responses_do_no_harm() {
    let rig = Rig::new(1, &[]);
    rig.pod().answers(Reply::text(HINTS));
    for version in ["1.1", "1.0"] {
        let mut client = Client::connect(rig.http);
        client.send(format!("GET / HTTP/{version}\r\nHost: a.test\r\n\r\n"));
        let answer = client.answer();
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"ok\n"[..]));
    }
}

/// A query passes as it came. The h2 crate makes a URI of `:path` before anybody sees it, which has no `"`, `<` or `>`,
/// and resets the stream.
#[test]
#[should_panic(expected = "the pod is asked")]
fn raw_quotes_in_queries_pass_over_http2() {
    let rig = Rig::new(1, &[]);
    let mut stream = TcpStream::connect(rig.http).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    let mut head = vec![0x82, 0x86];
    head.extend(literal(":path", "/api/v1/query?query=up{job=\"x\"}"));
    head.extend(literal(":authority", "a.test"));
    let asks = frame(HEADERS, END_HEADERS | END_STREAM, 1, &head);
    stream
        .write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), &asks].concat())
        .unwrap();
    // Until the reset, or the end of the reply.
    let mut heard = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(count) = stream.read(&mut piece) {
        heard.extend_from_slice(&piece[..count]);
        if count == 0 || heard.len() > 60 {
            break;
        }
    }
    assert_eq!(rig.pod().requests().len(), 1, "the pod is asked");
}
