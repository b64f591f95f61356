//! Request lines and fields.

use super::{GET, bad, check_splits, good, head};
use crate::serve::strict::{Fault, Limits};

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
    let outcome = check_splits(
        "raw",
        Limits::default(),
        b"GET /?a=\"<\\>|^`{} HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    assert_eq!(outcome.fault, None);
    assert_eq!(outcome.passed, b"GET /?a=%22%3C\\%3E|^`{} HTTP/1.1\r\nHost: a\r\n\r\n");
    let limits = Limits {
        uri_bytes: 6,
        ..Limits::default()
    };
    let (end, fault) = (b" HTTP/1.1\r\nHost: a\r\n\r\n", Fault::TargetTooLong);
    assert_eq!(
        check_splits("six", limits, &[b"GET /?a<", &end[..]].concat()).fault,
        None
    );
    assert_eq!(
        check_splits("seven", limits, &[b"GET /?ab<", &end[..]].concat()).fault,
        Some(fault)
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
