//! Rows 15 and 16 over HTTP/2: nothing a stream's fields say may become another request at a pod that speaks HTTP/1.1
//! (RFC 9113, section 8.2.1; "HTTP Desync Attacks: HTTP/2").
//!
//! The frames are made by hand, since a client library would refuse to send them.

use crate::rig::{PATIENCE, Rig, eventually, ingress, service};
use crate::strict_pod::{Seen, StrictPod};
use std::io::{Read, Write};
use std::net::TcpStream;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

type Fields<'a> = Vec<(&'a str, &'a str)>;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Literals that are not indexed and not compressed (RFC 7541, section 6.2.2).
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name, value] {
            assert!(text.len() < 127);
            out.push(u8::try_from(text.len()).unwrap());
            out.extend_from_slice(text.as_bytes());
        }
    }
    out
}

/// What became of a stream.
#[derive(Debug, PartialEq)]
enum Outcome {
    Answered(u16),
    Reset,
    Gone,
}

/// One connection, one stream.
fn ask(rig: &Rig, fields: &[(&str, &str)], body: Option<&str>, trailers: Option<&[(&str, &str)]>) -> Outcome {
    let mut stream = TcpStream::connect(rig.http).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    let last = |more: bool| if more { 0 } else { END_STREAM };
    let head_flags = END_HEADERS | last(body.is_some() || trailers.is_some());
    bytes.extend(frame(HEADERS, head_flags, 1, &block(fields)));
    if let Some(body) = body {
        bytes.extend(frame(DATA, last(trailers.is_some()), 1, body.as_bytes()));
    }
    if let Some(trailers) = trailers {
        bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(trailers)));
    }
    stream.write_all(&bytes).unwrap();
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).is_err() {
            return Outcome::Gone;
        }
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload).unwrap();
        match (head[3], head[4]) {
            (HEADERS, _) => return Outcome::Answered(status(&payload)),
            (RST_STREAM, _) => return Outcome::Reset,
            (GOAWAY, _) => return Outcome::Gone,
            (SETTINGS, flags) if flags & ACK == 0 => stream.write_all(&frame(SETTINGS, ACK, 0, &[])).unwrap(),
            _ => {}
        }
    }
}

/// The status a block begins with: indexed in the static table (RFC 7541, appendix A), or else some other.
fn status(block: &[u8]) -> u16 {
    match block[0] {
        0x88 => 200,
        0x8c => 400,
        0x8d => 404,
        _ => 0,
    }
}

fn world() -> (StrictPod, Rig) {
    let pod = StrictPod::start("127.0.0.1:0");
    let endpoints = [(pod.address, "p0")];
    let rig = Rig::with(0, &[], |_| {
        service("web", &endpoints) + &ingress("web", "a.test", "/", "web", "")
    });
    (pod, rig)
}

fn head<'a>(method: &'a str, path: &'a str, authority: &'a str) -> Fields<'a> {
    vec![
        (":method", method),
        (":scheme", "http"),
        (":path", path),
        (":authority", authority),
    ]
}

fn get<'a>(more: &[(&'a str, &'a str)]) -> Fields<'a> {
    let mut fields = head("GET", "/", "a.test");
    fields.extend_from_slice(more);
    fields
}

fn post<'a>(more: &[(&'a str, &'a str)]) -> Fields<'a> {
    let mut fields = head("POST", "/", "a.test");
    fields.extend_from_slice(more);
    fields
}

const INJECTED: &str = "x\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";

/// Heads that HTTP/1.1 cannot say, or says otherwise.
fn bad_heads() -> Vec<(&'static str, Fields<'static>)> {
    vec![
        ("a request in a value", get(&[("x", INJECTED)])),
        ("CR LF and a field in a value", get(&[("x", "y\r\nhost: other.test")])),
        ("LF in a value", get(&[("x", "a\nb")])),
        ("CR in a value", get(&[("x", "a\rb")])),
        ("NUL in a value", get(&[("x", "a\0b")])),
        (
            "a request in a name",
            get(&[("x: y\r\n\r\nget /smuggled http/1.1\r\nhost", "a.test")]),
        ),
        ("CR LF in a name", get(&[("x\r\ny", "z")])),
        ("a colon in a name", get(&[("transfer-encoding: chunked\r\nx", "y")])),
        ("a space in a name", get(&[("transfer-encoding ", "chunked")])),
        ("capitals in a name", get(&[("Transfer-Encoding", "chunked")])),
        ("no name", get(&[("", "x")])),
        (
            "a line end in :path",
            head("GET", "/ HTTP/1.1\r\nHost: other.test\r\n\r\nGET /x", "a.test"),
        ),
        ("a space in :path", head("GET", "/a HTTP/1.1", "a.test")),
        ("a tab in :path", head("GET", "/a\tb", "a.test")),
        (":path without a slash", head("GET", "admin", "a.test")),
        (":path is *", head("GET", "*", "a.test")),
        (":path is a URL", head("GET", "http://other.test/", "a.test")),
        ("an empty :path", head("GET", "", "a.test")),
        ("a backslash in :path", head("GET", "/a\\..\\b", "a.test")),
        (":path above the root", head("GET", "/a/../../b", "a.test")),
        (
            "a request in :method",
            head("GET / HTTP/1.1\r\nHost: a.test\r\n\r\nGET", "/", "a.test"),
        ),
        ("a space in :method", head("GET /admin", "/", "a.test")),
        ("an empty :method", head("", "/", "a.test")),
        ("a line end in :authority", head("GET", "/", "a.test\r\nx: y")),
        ("a user in :authority", head("GET", "/", "u:p@a.test")),
        ("a path in :authority", head("GET", "/", "a.test/x")),
        ("a space in :authority", head("GET", "/", "a.test x")),
        ("an empty :authority", head("GET", "/", "")),
        ("Host says another", get(&[("host", "other.test")])),
        ("two Hosts", get(&[("host", "a.test"), ("host", "a.test")])),
        (
            "two :authority",
            get(&[]).into_iter().chain([(":authority", "other.test")]).collect(),
        ),
        ("two :path", [vec![(":path", "/admin")], get(&[])].concat()),
        (
            "no :path",
            vec![(":method", "GET"), (":scheme", "http"), (":authority", "a.test")],
        ),
        (
            "no :method",
            vec![(":path", "/"), (":scheme", "http"), (":authority", "a.test")],
        ),
        (
            "no host at all",
            vec![(":method", "GET"), (":scheme", "http"), (":path", "/")],
        ),
        (
            "a pseudo-field behind others",
            [get(&[("x", "y")]), vec![(":path", "/admin")]].concat(),
        ),
        (
            "a pseudo-field that is none",
            [vec![(":host", "a.test")], get(&[])].concat(),
        ),
        (":status in a request", [vec![(":status", "200")], get(&[])].concat()),
        (
            "a request in :scheme",
            vec![
                (":method", "GET"),
                (":scheme", "http://x\r\n\r\n"),
                (":path", "/"),
                (":authority", "a.test"),
            ],
        ),
        (
            ":scheme is ftp",
            vec![
                (":method", "GET"),
                (":scheme", "ftp"),
                (":path", "/"),
                (":authority", "a.test"),
            ],
        ),
        ("transfer-encoding", post(&[("transfer-encoding", "chunked")])),
        ("connection", get(&[("connection", "close")])),
        ("keep-alive", get(&[("keep-alive", "5")])),
        ("proxy-connection", get(&[("proxy-connection", "keep-alive")])),
        ("upgrade", get(&[("upgrade", "h2c")])),
        ("te that is not trailers", get(&[("te", "gzip")])),
        ("CONNECT", vec![(":method", "CONNECT"), (":authority", "a.test:80")]),
        ("TRACE", head("TRACE", "/", "a.test")),
    ]
}

#[test]
fn heads_that_http_1_cannot_say_never_reach_a_pod() {
    let (pod, rig) = world();
    for (name, fields) in bad_heads() {
        let outcome = ask(&rig, &fields, None, None);
        assert_ne!(outcome, Outcome::Answered(200), "{name}");
    }
    assert_eq!(pod.seen(), [], "the pod sees something of them");
    // The h2 crate cuts a fragment off before anybody sees it; what is matched and what the pod gets are the same.
    let fragment = head("GET", "/a#b", "a.test");
    assert_eq!(ask(&rig, &fragment, None, None), Outcome::Answered(200));
    let Some(Seen::Whole(message)) = pod.seen().pop() else {
        panic!("{:?}", pod.seen())
    };
    assert_eq!(message.line, "GET /a HTTP/1.1");
}

#[test]
fn a_length_that_is_not_the_bodys_never_becomes_a_request() {
    let (pod, rig) = world();
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";
    for (name, length, body) in [
        ("less than comes", "0", Some(smuggled)),
        (
            "a little less than comes",
            "3",
            Some("abcGET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        ),
        ("more than comes", "300", Some("abc")),
        ("a body that does not come", "5", None),
        ("a sign", "+3", Some("abc")),
        ("a list", "3,3", Some("abc")),
        ("hexadecimal", "0x3", Some("abc")),
        ("nothing", "", Some("abc")),
        ("more than 64 bits", "18446744073709551619", Some("abc")),
    ] {
        let outcome = ask(&rig, &post(&[("content-length", length)]), body, None);
        assert_ne!(outcome, Outcome::Answered(200), "{name}");
    }
    let twice = [("content-length", "3"), ("content-length", "4")];
    assert_ne!(ask(&rig, &post(&twice), Some("abc"), None), Outcome::Answered(200));
    // What a pod may have of them is a request that was broken off: never a whole one, never a second.
    assert_eq!(ask(&rig, &get(&[]), None, None), Outcome::Answered(200));
    for seen in pod.seen() {
        match seen {
            Seen::Cut(_) => {}
            Seen::Whole(message) => assert_eq!(message.line, "GET / HTTP/1.1"),
            Seen::Fault(why, text) => panic!("{why}: {text}"),
        }
    }
}

#[test]
fn bodies_and_trailers_of_a_stream_are_framed_anew() {
    let (pod, rig) = world();
    // A body that looks like the end of chunks and a request.
    let body = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";
    assert_eq!(ask(&rig, &post(&[]), Some(body), None), Outcome::Answered(200));
    let Some(Seen::Whole(message)) = pod.seen().pop() else {
        panic!("{:?}", pod.seen())
    };
    assert_eq!(
        (message.body.as_str(), message.field("transfer-encoding")),
        (body, vec!["chunked"])
    );
    for (name, value) in [
        ("content-length", "0"),
        ("transfer-encoding", "chunked"),
        ("host", "other.test"),
        ("authorization", "x"),
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-prefix", "/admin"),
        ("x-real-ip", "6.6.6.6"),
        ("x_real_ip", "6.6.6.6"),
    ] {
        let before = pod.seen().len();
        let announced = post(&[("trailer", name)]);
        ask(&rig, &announced, Some("abc"), Some(&[(name, value)]));
        eventually("the pod has seen it, or its beginning", || {
            // A connection of its own behind it: what was broken off has been noted then.
            (ask(&rig, &get(&[]), None, None) == Outcome::Answered(200)).then_some(())
        });
        for seen in pod.seen().into_iter().skip(before) {
            match seen {
                Seen::Cut(_) => {}
                Seen::Whole(message) => assert_eq!(message.trailers, [], "{name} passed as a trailer"),
                Seen::Fault(why, text) => panic!("{name}: {why}: {text}"),
            }
        }
    }
}
