//! Every case is run whole, cut in two at every place, and byte by byte.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod properties;

use super::*;

/// What became of a whole input.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Outcome {
    accepted: usize,
    heads: u32,
    fault: Option<Fault>,
    position: Position,
}

/// Feeds the pieces as a connection task would: nothing after a fault.
fn feed<'a>(limits: Limits, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut framer = Framer::new(limits);
    let mut outcome = Outcome {
        accepted: 0,
        heads: 0,
        fault: None,
        position: Position::Between,
    };
    for piece in pieces {
        let scan = framer.scan(piece);
        assert!(scan.accepted <= piece.len());
        assert!(scan.fault.is_some() || scan.accepted == piece.len());
        outcome.accepted += scan.accepted;
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
    assert_eq!(outcome.accepted, accepted.len(), "{name}");
}

#[track_caller]
fn good(name: &str, messages: &[&[u8]]) {
    good_with(Limits::default(), name, messages);
}

#[track_caller]
fn bad(name: &str, accepted: &[u8], refused: &[u8], fault: Fault) {
    bad_with(Limits::default(), name, accepted, refused, fault);
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
fn good_heads() {
    let get = |line: &str| format!("{line}\r\nHost: a\r\n\r\n").into_bytes();
    good("plain", &[GET]);
    good("pipelined", &[GET, GET, GET]);
    good(
        "empty lines before",
        &[b"\r\n\r\nGET / HTTP/1.0\r\n\r\n", GET],
    );
    good(
        "empty lines anew",
        &[GET, &[b"\r\n\r\n", GET].concat(), &[b"\r\n", GET].concat()],
    );
    good(
        "1.0 with and without host",
        &[&get("GET / HTTP/1.0"), b"GET / HTTP/1.0\r\n\r\n"],
    );
    good(
        "any token is a method",
        &[&get("!#$%&'*+-.^_`|~09azAZ / HTTP/1.1")],
    );
    good(
        "method of 32 bytes",
        &[&get(&format!("{} / HTTP/1.1", "M".repeat(32)))],
    );
    for target in [
        "/a//b/../%zz?x=/?:@!$&'()*+,;=[]{}|^`~",
        "/\"{}|^[]~",
        "http://a",
        "HTTP://example.com:80/x?y",
        "hTTps://[::1]:8443?q",
        "http://[1:2:3:4:5:6:7:8]/",
        "http://a:/",
    ] {
        good(target, &[&get(&format!("GET {target} HTTP/1.1"))]);
    }
    good("asterisk", &[&get("OPTIONS * HTTP/1.1")]);
    good(
        "authority",
        &[
            &get("CONNECT a:443 HTTP/1.1"),
            &get("CONNECT [::1]:1 HTTP/1.1"),
        ],
    );
    good("PRI is a token like others", &[&get("PRI /x HTTP/1.1")]);
    good(
        "values",
        &[&head(
            "A:\r\nB: \t \r\nC:\tx \t y\t\r\nD:\u{e4}\u{80}~!\r\n",
        )],
    );
    good(
        "host with spaces",
        &[b"GET / HTTP/1.1\r\nhOsT:\t a \t\r\n\r\n"],
    );
    good(
        "names near ours",
        &[&head(
            "Hos: a\r\nHostt: b\r\nContent-Lengtx: 1\r\nTransfer-Encodin: x\r\n",
        )],
    );
    good(
        "long names",
        &[&head(&format!("{}: x\r\n", "host".repeat(99)))],
    );
}

#[test]
fn bad_line_ends() {
    bad(
        "request line LF",
        b"GET / HTTP/1.1",
        b"\nHost: a\n\n",
        Fault::BareLf,
    );
    bad(
        "field LF",
        b"GET / HTTP/1.1\r\nHost: a",
        b"\n\r\n",
        Fault::BareLf,
    );
    bad(
        "last LF",
        b"GET / HTTP/1.1\r\nHost: a\r\n",
        b"\n",
        Fault::BareLf,
    );
    bad("leading LF", b"", b"\nGET", Fault::BareLf);
    bad(
        "CR in value",
        b"GET / HTTP/1.1\r\nHost: a\r",
        b"b\r\n\r\n",
        Fault::BareCr,
    );
    bad(
        "CR CR LF",
        b"GET / HTTP/1.1\r",
        b"\r\nHost: a\r\n\r\n",
        Fault::BareCr,
    );
    bad(
        "CR at the end",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r",
        b"x",
        Fault::BareCr,
    );
    bad("leading CR", b"\r", b"GET", Fault::BareCr);
    bad("three empty lines", b"\r\n\r\n", b"\r\n", Fault::EmptyLines);
    bad(
        "NUL in value",
        b"GET / HTTP/1.1\r\nHost: a",
        b"\0\r\n\r\n",
        Fault::FieldValue,
    );
    bad(
        "DEL in value",
        b"GET / HTTP/1.1\r\nX: abcdefgh",
        b"\x7f\r\n\r\n",
        Fault::FieldValue,
    );
    bad(
        "ESC in value",
        b"GET / HTTP/1.1\r\nX: abcdefghij",
        b"\x1b\r\n\r\n",
        Fault::FieldValue,
    );
}

#[test]
fn bad_request_lines() {
    bad("space first", b"", b" GET / HTTP/1.1", Fault::Method);
    bad("no method", b"", b"\0", Fault::Method);
    bad("tls", b"", b"\x16\x03\x01", Fault::Method);
    bad("tab", b"GET", b"\t/ HTTP/1.1", Fault::Method);
    bad("method only", b"GET", b"\r\n\r\n", Fault::Method);
    bad(
        "long method",
        &[b'M'; 32],
        b"M / HTTP/1.1",
        Fault::MethodTooLong,
    );
    bad("two spaces", b"GET ", b" / HTTP/1.1", Fault::Target);
    bad("two spaces later", b"GET / ", b" HTTP/1.1", Fault::Version);
    bad("simple request", b"GET /", b"\r\n", Fault::Target);
    bad("no version", b"GET / ", b"\r\n", Fault::Version);
    for b in ["#", "\\", "<", ">", "\u{e4}", "\x7f", "\0", "`", "\t"] {
        bad(
            b,
            b"GET /a",
            format!("{b} HTTP/1.1").as_bytes(),
            Fault::Target,
        );
    }
    for b in ["#", "\\", "<", ">", "\u{e4}", "\x7f", "\0", "\""] {
        bad(
            b,
            b"GET /?",
            format!("{b} HTTP/1.1").as_bytes(),
            Fault::Target,
        );
    }
    bad(
        "relative",
        b"GET ",
        b"index.html HTTP/1.1",
        Fault::TargetForm,
    );
    bad("relative h", b"GET ht", b"ml HTTP/1.1", Fault::TargetForm);
    bad("scheme", b"GET http", b"x://a HTTP/1.1", Fault::TargetForm);
    bad("one slash", b"GET http:/", b"a HTTP/1.1", Fault::TargetForm);
    bad(
        "unfinished scheme",
        b"GET http:",
        b" HTTP/1.1",
        Fault::Target,
    );
    bad("no authority", b"GET http://", b"/ HTTP/1.1", Fault::Target);
    bad(
        "nothing after it",
        b"GET http://",
        b" HTTP/1.1",
        Fault::Target,
    );
    bad("user info", b"GET http://a", b"@b/ HTTP/1.1", Fault::Target);
    bad(
        "user and password",
        b"GET http://a:",
        b"b@c/ HTTP/1.1",
        Fault::Target,
    );
    bad(
        "percent in host",
        b"GET http://a",
        b"%41/ HTTP/1.1",
        Fault::Target,
    );
    bad(
        "long port",
        b"GET http://a:12345",
        b"6/ HTTP/1.1",
        Fault::Target,
    );
    bad("port text", b"GET http://a:", b"x/ HTTP/1.1", Fault::Target);
    bad(
        "open bracket",
        b"GET http://[::1",
        b"/ HTTP/1.1",
        Fault::Target,
    );
    bad(
        "nine colons",
        b"GET http://[::::::::",
        b":]/ HTTP/1.1",
        Fault::Target,
    );
    bad(
        "after bracket",
        b"GET http://[::1]",
        b"a/ HTTP/1.1",
        Fault::Target,
    );
    bad("asterisk", b"GET ", b"* HTTP/1.1", Fault::TargetForm);
    bad(
        "asterisk and more",
        b"OPTIONS *",
        b"/ HTTP/1.1",
        Fault::Target,
    );
    bad("authority", b"GET ", b"a:443 HTTP/1.1", Fault::TargetForm);
    bad(
        "connect origin",
        b"CONNECT ",
        b"/ HTTP/1.1",
        Fault::TargetForm,
    );
    bad(
        "connect absolute",
        b"CONNECT http:",
        b"//a:1/ HTTP/1.1",
        Fault::Target,
    );
    bad("connect no port", b"CONNECT a", b" HTTP/1.1", Fault::Target);
    bad(
        "connect empty port",
        b"CONNECT a:",
        b" HTTP/1.1",
        Fault::Target,
    );
    bad("connect path", b"CONNECT a:1", b"/ HTTP/1.1", Fault::Target);
    bad("lower case", b"GET / ", b"http/1.1\r\n", Fault::Version);
    bad("1.10", b"GET / HTTP/1.1", b"0\r\n", Fault::Version);
    bad(
        "trailing space",
        b"GET / HTTP/1.1",
        b" \r\n",
        Fault::Version,
    );
    bad("no minor", b"GET / HTTP/1", b"\r\n", Fault::Version);
    bad("2.0", b"GET / HTTP/2.0", b"\r\n", Fault::UnsupportedVersion);
    bad("1.2", b"GET / HTTP/1.2", b"\r\n", Fault::UnsupportedVersion);
    bad("0.9", b"GET / HTTP/0.9", b"\r\n", Fault::UnsupportedVersion);
    bad(
        "preface",
        b"PRI * HTTP/2.0",
        b"\r\n\r\nSM\r\n\r\n",
        Fault::UnsupportedVersion,
    );
    bad(
        "not the preface",
        b"PRI * HTTP/1.1",
        b"\r\n",
        Fault::TargetForm,
    );
}

#[test]
fn bad_fields() {
    let line = b"GET / HTTP/1.1\r\nHost: a\r\n";
    let field = |name: &str, accepted: &str, refused: &str, fault| {
        bad(
            name,
            &[line, accepted.as_bytes()].concat(),
            refused.as_bytes(),
            fault,
        );
    };
    field("space before colon", "X", " : y\r\n\r\n", Fault::FieldName);
    field("tab before colon", "X", "\t: y\r\n\r\n", Fault::FieldName);
    field("no name", "", ": y\r\n\r\n", Fault::FieldName);
    field("no colon", "X", "\r\n\r\n", Fault::FieldName);
    field("LF in name", "X", "\n: y\r\n\r\n", Fault::BareLf);
    field("not a token", "X", "(y): z\r\n\r\n", Fault::FieldName);
    field("not ASCII", "X", "\u{e4}: z\r\n\r\n", Fault::FieldName);
    field("fold", "X: y\r\n", " z\r\n\r\n", Fault::Fold);
    field("fold with tab", "X: y\r\n", "\tz\r\n\r\n", Fault::Fold);
    bad(
        "space first",
        b"GET / HTTP/1.1\r\n",
        b" Host: a\r\n\r\n",
        Fault::Fold,
    );
    field("second host", "hOSt", ": a\r\n\r\n", Fault::HostRepeated);
    bad(
        "second host in 1.0",
        b"GET / HTTP/1.0\r\nHost: a\r\nHost",
        b": a\r\n\r\n",
        Fault::HostRepeated,
    );
    bad(
        "no host",
        b"GET / HTTP/1.1\r\nX: a\r\n\r",
        b"\n",
        Fault::HostMissing,
    );
    bad(
        "empty host",
        b"GET / HTTP/1.1\r\nHost: \t",
        b"\r\n\r\n",
        Fault::HostEmpty,
    );
}

#[test]
fn framing_fields() {
    good("zero", &[&head("Content-Length: 0\r\n"), GET]);
    good(
        "length",
        &[
            &[&head("content-length:\t5 \t\r\n")[..], b"GET /"].concat(),
            GET,
        ],
    );
    good(
        "zeros",
        &[
            &[&head("Content-Length: 0000000000000000003\r\n")[..], b"abc"].concat(),
            GET,
        ],
    );
    good(
        "coding",
        &[
            &[&head("tRANSFER-eNCODING: CHUNKed \t\r\n")[..], b"0\r\n\r\n"].concat(),
            GET,
        ],
    );
    let line = "POST / HTTP/1.1\r\nHost: a\r\n";
    let field = |accepted: &str, refused: &str, fault| {
        let name = format!("{accepted}{refused}");
        bad(
            &name,
            format!("{line}{accepted}").as_bytes(),
            format!("{refused}\r\n\r\n").as_bytes(),
            fault,
        );
    };
    for (accepted, refused) in [
        ("", ""),
        ("", "+5"),
        ("", "-1"),
        ("5", ", 5"),
        ("0", "x5"),
        ("5", "a"),
        ("5 ", "5"),
        ("1", "."),
        ("", "\0"),
        ("\t ", ""),
        ("1234567890123456789", "0"),
    ] {
        field(
            &format!("Content-Length: {accepted}"),
            refused,
            Fault::Length,
        );
    }
    for (accepted, refused) in [
        ("", ""),
        ("", "gzip"),
        ("", "identity"),
        ("chunked", ", chunked"),
        ("", "gzip, chunked"),
        ("chunked", ";a"),
        ("chunked", "x"),
        ("chunk", ""),
        ("", "\"chunked\""),
        ("chunked ", "x"),
        ("", "\x0bchunked"),
        ("", ",chunked"),
    ] {
        field(
            &format!("Transfer-Encoding: {accepted}"),
            refused,
            Fault::Coding,
        );
    }
    field(
        "Content-Length: 5\r\nContent-Length",
        ": 5",
        Fault::LengthRepeated,
    );
    field(
        "Content-Length: 5\r\nTransfer-Encoding",
        ": chunked",
        Fault::LengthAndCoding,
    );
    field(
        "Transfer-Encoding: chunked\r\nContent-Length",
        ": 5",
        Fault::LengthAndCoding,
    );
    field(
        "Transfer-Encoding: chunked\r\nTransfer-Encoding",
        ": chunked",
        Fault::CodingRepeated,
    );
    bad(
        "1.0",
        b"POST / HTTP/1.0\r\nTransfer-Encoding",
        b": chunked\r\n\r\n",
        Fault::CodingInOldVersion,
    );
}

#[test]
fn chunked_bodies() {
    for body in [
        "0\r\n\r\n",
        "000\r\n\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
        "0000000000000005\r\nhello\r\nA\r\n0123456789\r\na\r\n\r\n34567890\r\n0\r\n\r\n",
        "5;a\r\nhello\r\n0;b=c;d\r\n\r\n",
        "5 \t; \ta \t= \tb \t; c\r\nhello\r\n0 ;d\r\n\r\n",
        "5;a=\"\"\r\nhello\r\n0;a=\"x \t;\\\"\\\\\u{e4}\" ; b=c\r\n\r\n",
        "0\r\nX: y\r\nz:\r\nExpires: 0\r\n\r\n",
    ] {
        good(body, &[&chunked(body), GET]);
    }
    let body = |accepted: &str, refused: &str, fault| {
        bad(
            &format!("{accepted}{refused}"),
            &chunked(accepted),
            format!("{refused}\r\n\r\n").as_bytes(),
            fault,
        );
    };
    for (accepted, refused) in [
        ("", ""),
        ("", " 5"),
        ("", "+5"),
        ("", "-5"),
        ("", "x"),
        ("0", "x5"),
        ("5", "g"),
        ("", ";a"),
        ("0000000000000000", "5"),
        ("fFfFfFfFfFfFfFfF", "0"),
        ("5", "\n"),
        ("5", "\0"),
    ] {
        body(accepted, refused, Fault::ChunkSize);
    }
    for (accepted, refused) in [
        ("5 ", ""),
        ("5\t", "5"),
        ("5;", ""),
        ("5;a", "\0"),
        ("5;a ", ""),
        ("5;a=", ""),
        ("5;a=", ";"),
        ("5;a=b ", ""),
        ("5;a ", "b"),
        ("5;a=b", "=c"),
        ("5;a=\"", "\r\""),
        ("5;a=\"\\", "\x7f"),
        ("5;a=\"b\"", "c"),
        ("5;a=\"b\" ", ""),
        ("5;", "\"a\""),
        ("5 ", "a"),
    ] {
        body(accepted, refused, Fault::ChunkExtension);
    }
    body("5;a", "\n", Fault::BareLf);
    body("5;a=\"", "\n", Fault::BareLf);
    body("5\r", "x", Fault::BareCr);
    body("0\r\nX", " : y", Fault::FieldName);
    body("0\r\n", " X: y", Fault::Fold);
    body("0\r\nX: y", "\n", Fault::BareLf);
    body("0\r\n\r", "x", Fault::BareCr);
    for name in super::head::NOT_TRAILERS {
        body(
            &format!("0\r\nX: y\r\n{}", name.to_uppercase()),
            ": 1",
            Fault::TrailerForbidden,
        );
    }
}

#[test]
fn chunk_ends() {
    bad(
        "short size",
        &chunked("4\r\nhell"),
        b"o\r\n0\r\n\r\n",
        Fault::ChunkEnd,
    );
    bad(
        "no LF",
        &chunked("4\r\nhell\r"),
        b"0\r\n\r\n",
        Fault::ChunkEnd,
    );
    bad(
        "bare LF",
        &chunked("4\r\nhell"),
        b"\n0\r\n\r\n",
        Fault::ChunkEnd,
    );
}

#[test]
fn limits() {
    let limits = Limits {
        head_bytes: 60,
        uri_bytes: 10,
        header_count: 3,
        chunk_ext_bytes: 6,
        trailer_bytes: 20,
    };
    good_with(
        limits,
        "uri of 10",
        &[b"GET /345?7890 HTTP/1.1\r\nHost: a\r\n\r\n"],
    );
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
    good_with(
        limits,
        "head of 60",
        &[&[b"\r\n\r\n", &exact[..]].concat(), exact],
    );
    let more = b"GET / HTTP/1.1\r\nHost: a\r\nX: 89012345678901234567890123456\r\n\r\n";
    bad_with(
        limits,
        "head of 61",
        &more[..60],
        &more[60..],
        Fault::HeadTooLong,
    );
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
        &[
            &chunked("1;a\r\nx\r\n0;b=c\r\n\r\n"),
            &chunked("0;a=bcd\r\n\r\n"),
        ],
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
    good_with(
        limits,
        "trailers",
        &[&chunked("0\r\na: 456\r\nb: 12345\r\n\r\n")],
    );
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
    assert_eq!(
        Fault::UnsupportedVersion.kind(),
        FaultKind::UnsupportedVersion
    );
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
fn tunnels() {
    let mut framer = Framer::new(Limits::default());
    assert_eq!(framer.scan(GET).heads, 1);
    framer.tunnel();
    let scan = framer.scan(b"\x81\x05\n\0\r hello");
    assert_eq!((scan.accepted, scan.heads, scan.fault), (11, 0, None));

    let mut framer = Framer::new(Limits::default());
    assert_eq!(framer.scan(b"\n").fault, Some(Fault::BareLf));
    assert_eq!(framer.position(), Position::Head);
    framer.tunnel();
    assert_eq!(framer.scan(b"x").accepted, 0);
}

#[test]
fn is_small() {
    assert!(size_of::<Framer>() <= 200, "{}", size_of::<Framer>());
}
