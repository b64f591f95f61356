//! Request lines, fields, and what frames the body.

use super::{Connection, GET, bad, bad_with, check_splits, good, good_with, head};
use crate::http1::*;

#[test]
fn good_heads() {
    let get = |line: &str| format!("{line}\r\nHost: a\r\n\r\n").into_bytes();
    good("plain", &[GET]);
    good("pipelined", &[GET, GET, GET]);
    good("empty lines before", &[b"\r\n\r\nGET / HTTP/1.0\r\n\r\n", GET]);
    good(
        "empty lines anew",
        &[GET, &[b"\r\n\r\n", GET].concat(), &[b"\r\n", GET].concat()],
    );
    good(
        "1.0 with and without host",
        &[&get("GET / HTTP/1.0"), b"GET / HTTP/1.0\r\n\r\n"],
    );
    good("any token is a method", &[&get("!#$%&'*+-.^_`|~09azAZ / HTTP/1.1")]);
    good("method of 32 bytes", &[&get(&format!("{} / HTTP/1.1", "M".repeat(32)))]);
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
        &[&get("CONNECT a:443 HTTP/1.1"), &get("CONNECT [::1]:1 HTTP/1.1")],
    );
    good("PRI is a token like others", &[&get("PRI /x HTTP/1.1")]);
    good(
        "values",
        &[&head("A:\r\nB: \t \r\nC:\tx \t y\t\r\nD:\u{e4}\u{80}~!\r\n")],
    );
    good("host with spaces", &[b"GET / HTTP/1.1\r\nhOsT:\t a \t\r\n\r\n"]);
    good(
        "names near ours",
        &[&head(
            "Hos: a\r\nHostt: b\r\nContent-Lengtx: 1\r\nTransfer-Encodin: x\r\n",
        )],
    );
    good("long names", &[&head(&format!("{}: x\r\n", "host".repeat(99)))]);
}

#[test]
fn bad_line_ends() {
    bad("request line LF", b"GET / HTTP/1.1", b"\nHost: a\n\n", Fault::BareLf);
    bad("field LF", b"GET / HTTP/1.1\r\nHost: a", b"\n\r\n", Fault::BareLf);
    bad("last LF", b"GET / HTTP/1.1\r\nHost: a\r\n", b"\n", Fault::BareLf);
    bad("leading LF", b"", b"\nGET", Fault::BareLf);
    bad(
        "CR in value",
        b"GET / HTTP/1.1\r\nHost: a\r",
        b"b\r\n\r\n",
        Fault::BareCr,
    );
    bad("CR CR LF", b"GET / HTTP/1.1\r", b"\r\nHost: a\r\n\r\n", Fault::BareCr);
    bad("CR at the end", b"GET / HTTP/1.1\r\nHost: a\r\n\r", b"x", Fault::BareCr);
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
    bad("long method", &[b'M'; 32], b"M / HTTP/1.1", Fault::MethodTooLong);
    bad("two spaces", b"GET ", b" / HTTP/1.1", Fault::Target);
    bad("two spaces later", b"GET / ", b" HTTP/1.1", Fault::Version);
    bad("simple request", b"GET /", b"\r\n", Fault::Target);
    bad("no version", b"GET / ", b"\r\n", Fault::Version);
    for b in ["#", "\\", "<", ">", "\u{e4}", "\x7f", "\0", "`", "\t"] {
        bad(b, b"GET /a", format!("{b} HTTP/1.1").as_bytes(), Fault::Target);
    }
    for b in ["#", "\u{e4}", "\x7f", "\0"] {
        bad(b, b"GET /?", format!("{b} HTTP/1.1").as_bytes(), Fault::Target);
    }
    bad("relative", b"GET ", b"index.html HTTP/1.1", Fault::TargetForm);
    bad("relative h", b"GET ht", b"ml HTTP/1.1", Fault::TargetForm);
    bad("scheme", b"GET http", b"x://a HTTP/1.1", Fault::TargetForm);
    bad("one slash", b"GET http:/", b"a HTTP/1.1", Fault::TargetForm);
    bad("unfinished scheme", b"GET http:", b" HTTP/1.1", Fault::Target);
    bad("no authority", b"GET http://", b"/ HTTP/1.1", Fault::Target);
    bad("nothing after it", b"GET http://", b" HTTP/1.1", Fault::Target);
    bad("user info", b"GET http://a", b"@b/ HTTP/1.1", Fault::Target);
    bad("user and password", b"GET http://a:", b"b@c/ HTTP/1.1", Fault::Target);
    bad("percent in host", b"GET http://a", b"%41/ HTTP/1.1", Fault::Target);
    bad("long port", b"GET http://a:12345", b"6/ HTTP/1.1", Fault::Target);
    bad("port text", b"GET http://a:", b"x/ HTTP/1.1", Fault::Target);
    bad("open bracket", b"GET http://[::1", b"/ HTTP/1.1", Fault::Target);
    bad("nine colons", b"GET http://[::::::::", b":]/ HTTP/1.1", Fault::Target);
    bad("after bracket", b"GET http://[::1]", b"a/ HTTP/1.1", Fault::Target);
    bad("asterisk", b"GET ", b"* HTTP/1.1", Fault::TargetForm);
    bad("asterisk and more", b"OPTIONS *", b"/ HTTP/1.1", Fault::Target);
    bad("authority", b"GET ", b"a:443 HTTP/1.1", Fault::TargetForm);
    bad("connect origin", b"CONNECT ", b"/ HTTP/1.1", Fault::TargetForm);
    bad("connect absolute", b"CONNECT http:", b"//a:1/ HTTP/1.1", Fault::Target);
    bad("connect no port", b"CONNECT a", b" HTTP/1.1", Fault::Target);
    bad("connect empty port", b"CONNECT a:", b" HTTP/1.1", Fault::Target);
    bad("connect path", b"CONNECT a:1", b"/ HTTP/1.1", Fault::Target);
    bad("lower case", b"GET / ", b"http/1.1\r\n", Fault::Version);
    bad("1.10", b"GET / HTTP/1.1", b"0\r\n", Fault::Version);
    bad("trailing space", b"GET / HTTP/1.1", b" \r\n", Fault::Version);
    bad("no minor", b"GET / HTTP/1", b"\r\n", Fault::Version);
    bad("2.0", b"GET / HTTP/", b"2.0\r\n", Fault::UnsupportedVersion);
    bad("1.2", b"GET / HTTP/1.", b"2\r\n", Fault::UnsupportedVersion);
    bad("0.9", b"GET / HTTP/", b"0.9\r\n", Fault::UnsupportedVersion);
    bad("2", b"GET / HTTP/", b"2\r\n", Fault::Version);
    bad("01.01", b"GET / HTTP/", b"01.01\r\n", Fault::Version);
    bad("2.01", b"GET / HTTP/", b"2.01\r\n", Fault::Version);
    bad("LF behind it", b"GET / HTTP/", b"2.0\n", Fault::BareLf);
    bad("h1", b"GET / HTTP/", b"one\r\n", Fault::Version);
    bad(
        "preface",
        b"PRI * HTTP/",
        b"2.0\r\n\r\nSM\r\n\r\n",
        Fault::UnsupportedVersion,
    );
    bad("not the preface", b"PRI * HTTP/", b"1.1\r\n", Fault::TargetForm);
}

#[test]
fn queries_are_passed_on_encoded() {
    let messages = good("raw", &[b"GET /?a=\"<\\>|^`{}?\" HTTP/1.1\r\nHost: a\r\n\r\n"]);
    assert_eq!(messages[0].target, b"/?a=%22%3C\\%3E|^`{}?%22");
    assert!(!good("plain", &[GET])[0].was_encoded);
    let limits = Limits {
        uri_bytes: 6,
        ..Limits::default()
    };
    let (end, fault) = (b" HTTP/1.1\r\nHost: a\r\n\r\n", Fault::TargetTooLong);
    good_with(limits, "six", &[&[b"GET /?a<", &end[..]].concat()]);
    assert_eq!(
        check_splits("seven", limits, &[b"GET /?ab<", &end[..]].concat()).fault,
        Some(fault)
    );
    let limits = Limits {
        head_bytes: 37,
        ..Limits::default()
    };
    good_with(limits, "37", &[b"GET /?a<>23 HTTP/1.1\r\nHost: a\r\n\r\n"]);
    bad_with(
        limits,
        "38",
        b"GET /?a<>234 HTTP/1.1\r\nHost: a\r\n\r",
        b"\n",
        Fault::HeadTooLong,
    );
}

#[test]
fn bad_fields() {
    let line = b"GET / HTTP/1.1\r\nHost: a\r\n";
    let field = |name: &str, accepted: &str, refused: &str, fault| {
        bad(name, &[line, accepted.as_bytes()].concat(), refused.as_bytes(), fault);
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
    bad("space first", b"GET / HTTP/1.1\r\n", b" Host: a\r\n\r\n", Fault::Fold);
    field("second host", "hOSt", ": a\r\n\r\n", Fault::HostRepeated);
    bad(
        "second host in 1.0",
        b"GET / HTTP/1.0\r\nHost: a\r\nHost",
        b": a\r\n\r\n",
        Fault::HostRepeated,
    );
    bad("no host", b"GET / HTTP/1.1\r\nX: a\r\n\r", b"\n", Fault::HostMissing);
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
        &[&[&head("content-length:\t5 \t\r\n")[..], b"GET /"].concat(), GET],
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
        field(&format!("Content-Length: {accepted}"), refused, Fault::Length);
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
        field(&format!("Transfer-Encoding: {accepted}"), refused, Fault::Coding);
    }
    field("Content-Length: 5\r\nContent-Length", ": 5", Fault::LengthRepeated);
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

    assert_eq!(Fault::TargetTooLong.kind(), FaultKind::UriTooLong);
    assert_eq!(Fault::TooManyFields.kind(), FaultKind::HeadTooLarge);
    assert_eq!(Fault::UnsupportedVersion.kind(), FaultKind::UnsupportedVersion);
    assert_eq!(Fault::Fold.kind(), FaultKind::BadRequest);
}

#[test]
fn positions() {
    let mut connection = Connection::new(Limits::default());
    let mut at = |bytes: &[u8]| {
        connection.read(bytes);
        assert_eq!(connection.fault, None);
        connection.position()
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
    for (input, position) in [
        ("\r\n\r\n\r", Position::Between),
        ("\rG", Position::Between),
        (" ", Position::Head),
        ("GET / HTTP/3.0\r", Position::Head),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx",
            Position::Body,
        ),
    ] {
        let outcome = check_splits(input, Limits::default(), input.as_bytes());
        assert!(outcome.fault.is_some(), "{input:?}");
        assert_eq!(outcome.position, position, "{input:?}");
    }
}

#[test]
fn what_was_read_is_named() {
    let input = b"\r\nPOST http://a/?x HTTP/1.0\r\nhOST:\t a\r\nX-Empty:\r\nx-blank: \t \r\nContent-Length: 03 \r\nCookie: a=b; c=\"d\" \t\r\n\r\nabc";
    let message = good("all", &[input]).remove(0);
    assert_eq!(
        (&*message.method, &*message.target, message.version),
        (&b"POST"[..], &b"http://a/?x"[..], 10)
    );
    let wanted: [(&[u8], &[u8]); 5] = [
        (b"hOST", b"a"),
        (b"X-Empty", b""),
        (b"x-blank", b""),
        (b"Content-Length", b"03"),
        (b"Cookie", b"a=b; c=\"d\""),
    ];
    let fields: Vec<_> = message.fields.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(fields, wanted);
    assert_eq!((message.framing, &*message.body), (Framing::Length(3), &b"abc"[..]));
    assert_eq!(message.head.len(), input.len() - 3);
    assert_eq!(good("none", &[GET])[0].framing, Framing::None);
    let chunked = [
        &head("Transfer-Encoding: chunked\r\n")[..],
        b"1\r\na\r\n0\r\nX: y\r\n\r\n",
    ]
    .concat();
    let message = good("chunked", &[&chunked]).remove(0);
    assert_eq!((message.framing, &*message.body), (Framing::Chunked, &b"a"[..]));
    assert_eq!(message.trailers.unwrap().fields().next(), Some((&b"X"[..], &b"y"[..])));
}

/// Long lines that come byte by byte are looked at once.
#[test]
fn nothing_is_allocated_for_a_kept_head() {
    let mut reader = RequestReader::new(Limits::default());
    let mut head = RequestHead::default();
    // The lines of the second head are kept.
    for _ in 0..2 {
        assert_eq!(reader.read(GET, &mut head), Ok(true));
    }
    let counted = allocation_counter::measure(|| {
        for _ in 0..10 {
            assert_eq!(reader.read(GET, &mut head), Ok(true));
        }
    });
    assert_eq!(counted.count_total, 0);
    assert!(size_of::<RequestReader>() <= 128, "{}", size_of::<RequestReader>());
}
