//! Every case is run whole, cut in two at every place, and byte by byte.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bodies;
mod heads;
mod parity;
mod properties;

use super::*;
use crate::http1::FaultKind;

/// What became of a whole input.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Outcome {
    /// What hyper gets.
    passed: Vec<u8>,
    heads: u32,
    fault: Option<Fault>,
    position: Position,
}

/// Feeds the pieces as a connection task would: nothing after a fault.
fn feed<'a>(limits: Limits, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut framer = Framer::new(limits);
    let mut outcome = Outcome {
        passed: Vec::new(),
        heads: 0,
        fault: None,
        position: Position::Between,
    };
    for piece in pieces {
        let mut scan = framer.scan(piece);
        assert!(scan.accepted <= piece.len());
        outcome.passed.extend_from_slice(&piece[..scan.accepted]);
        let encoded = framer.encode(piece, &mut scan);
        let doomed = framer.state == State::OtherVersion;
        let all = scan.accepted == piece.len() || !encoded.is_empty();
        assert!(scan.fault.is_some() || doomed || all);
        outcome.passed.extend(encoded);
        outcome.heads += scan.heads;
        outcome.fault = scan.fault;
        if scan.fault.is_some() {
            let again = framer.scan(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!((again.accepted, again.heads), (0, 0));
            assert_eq!(again.fault, scan.fault);
            break;
        }
    }
    outcome.position = framer.position();
    outcome
}

/// A message that was followed byte by byte.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Seen {
    /// Body bytes without their framing.
    body: u64,
    /// The offset after its last byte, when that was accepted.
    end: Option<usize>,
}

/// The messages whose head was accepted.
fn follow(limits: Limits, input: &[u8]) -> Vec<Seen> {
    let mut framer = Framer::new(limits);
    let mut seen: Vec<Seen> = Vec::new();
    for (at, byte) in input.iter().enumerate() {
        let data = framer.state == State::Data;
        let scan = framer.scan(std::slice::from_ref(byte));
        if scan.fault.is_some() {
            break;
        }
        if scan.heads == 1 {
            seen.push(Seen::default());
        }
        if let Some(last) = seen.last_mut() {
            last.body += u64::from(data);
            if last.end.is_none() && framer.position() == Position::Between {
                last.end = Some(at + 1);
            }
        }
    }
    seen
}

fn check_splits(name: &str, limits: Limits, input: &[u8]) -> Outcome {
    let whole = feed(limits, [input]);
    for cut in 1..input.len() {
        let (a, b) = input.split_at(cut);
        assert_eq!(feed(limits, [a, b]), whole, "{name}, cut at {cut}");
    }
    assert_eq!(feed(limits, input.chunks(1)), whole, "{name}, byte-wise");
    whole
}

#[track_caller]
fn good_with(limits: Limits, name: &str, messages: &[&[u8]]) {
    let input = messages.concat();
    let outcome = check_splits(name, limits, &input);
    assert_eq!(outcome.fault, None, "{name}");
    assert_eq!(outcome.position, Position::Between, "{name}");
    assert_eq!(outcome.heads as usize, messages.len(), "{name}");
    let mut end = 0;
    let ends: Vec<_> = messages
        .iter()
        .map(|message| {
            end += message.len();
            Some(end)
        })
        .collect();
    let seen: Vec<_> = follow(limits, &input).iter().map(|m| m.end).collect();
    assert_eq!(seen, ends, "{name}");
}

#[track_caller]
fn bad_with(limits: Limits, name: &str, accepted: &[u8], refused: &[u8], fault: Fault) {
    let outcome = check_splits(name, limits, &[accepted, refused].concat());
    assert_eq!(outcome.fault, Some(fault), "{name}");
    assert_eq!(outcome.passed, accepted, "{name}");
}

#[track_caller]
fn good(name: &str, messages: &[&[u8]]) {
    good_with(Limits::default(), name, messages);
    properties::agree(&messages.concat(), &[]).expect(name);
}

#[track_caller]
fn bad(name: &str, accepted: &[u8], refused: &[u8], fault: Fault) {
    bad_with(Limits::default(), name, accepted, refused, fault);
    properties::agree(&[accepted, refused].concat(), &[]).expect(name);
}

/// A good head with `fields`, each with its CRLF.
fn head(fields: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes()
}

fn chunked(body: &str) -> Vec<u8> {
    [head("Transfer-Encoding: chunked\r\n"), body.into()].concat()
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn limits() {
    let limits = Limits {
        head_bytes: 60,
        uri_bytes: 10,
        header_count: 3,
        chunk_ext_bytes: 6,
        trailer_bytes: 20,
    };
    good_with(limits, "uri of 10", &[b"GET /345?7890 HTTP/1.1\r\nHost: a\r\n\r\n"]);
    bad_with(
        limits,
        "uri of 11",
        b"GET /345?78901",
        b"2 HTTP/1.1\r\n",
        Fault::TargetTooLong,
    );
    bad_with(
        limits,
        "uri of 11 ended",
        b"GET /345678901",
        b"\r\n",
        Fault::TargetTooLong,
    );
    let exact = b"GET / HTTP/1.1\r\nHost: a\r\nX: 8901234567890123456789012345\r\n\r\n";
    assert_eq!(exact.len(), 60);
    good_with(limits, "head of 60", &[&[b"\r\n\r\n", &exact[..]].concat(), exact]);
    let more = b"GET / HTTP/1.1\r\nHost: a\r\nX: 89012345678901234567890123456\r\n\r\n";
    bad_with(limits, "head of 61", &more[..60], &more[60..], Fault::HeadTooLong);
    good_with(
        limits,
        "three fields",
        &[b"GET / HTTP/1.1\r\nHost: a\r\na:\r\nb:\r\n\r\n"],
    );
    bad_with(
        limits,
        "four fields",
        b"GET / HTTP/1.1\r\nHost: a\r\na:\r\nb:\r\n",
        b"c:\r\n\r\n",
        Fault::TooManyFields,
    );

    let limits = Limits {
        head_bytes: 99,
        ..limits
    };
    good_with(
        limits,
        "extensions",
        &[&chunked("1;a\r\nx\r\n0;b=c\r\n\r\n"), &chunked("0;a=bcd\r\n\r\n")],
    );
    bad_with(
        limits,
        "more extensions",
        &chunked("1;a\r\nx\r\n0;b=c"),
        b"d\r\n\r\n",
        Fault::ChunkExtensionsTooLong,
    );
    bad_with(
        limits,
        "long quote",
        &chunked("1;a=\"bc"),
        b"d\"\r\n\r\n",
        Fault::ChunkExtensionsTooLong,
    );
    good_with(limits, "trailers", &[&chunked("0\r\na: 456\r\nb: 12345\r\n\r\n")]);
    bad_with(
        limits,
        "more trailers",
        &chunked("0\r\na: 456\r\nb: 123456\r\n\r"),
        b"\n",
        Fault::TrailersTooLong,
    );
    bad_with(
        limits,
        "four trailers",
        &chunked("0\r\na:\r\nb:\r\nc:\r\n"),
        b"d:\r\n\r\n",
        Fault::TooManyFields,
    );
    assert_eq!(Fault::TargetTooLong.kind(), FaultKind::UriTooLong);
    assert_eq!(Fault::TooManyFields.kind(), FaultKind::HeadTooLarge);
    assert_eq!(Fault::UnsupportedVersion.kind(), FaultKind::UnsupportedVersion);
    assert_eq!(Fault::Fold.kind(), FaultKind::BadRequest);
}

#[test]
fn positions() {
    let mut framer = Framer::new(Limits::default());
    let mut at = |bytes: &[u8]| {
        assert_eq!(framer.scan(bytes).fault, None);
        framer.position()
    };
    assert_eq!(at(b""), Position::Between);
    assert_eq!(at(b"\r"), Position::Between);
    assert_eq!(at(b"\n\r\n"), Position::Between);
    assert_eq!(at(b"P"), Position::Head);
    assert_eq!(
        at(b"OST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r"),
        Position::Head
    );
    assert_eq!(at(b"\n"), Position::Body);
    assert_eq!(at(b"x"), Position::Body);
    assert_eq!(at(b"x"), Position::Between);
    assert_eq!(at(&chunked("0\r\nX: y")), Position::Body);
    assert_eq!(at(b"\r\n\r\n"), Position::Between);
}

#[test]
fn is_small() {
    assert!(size_of::<Framer>() <= 200, "{}", size_of::<Framer>());
}
