//! What frames a body, and chunked bodies.

use super::{GET, bad, chunked, good, head};
use crate::http1::FORBIDDEN;
use crate::serve::strict::Fault;

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
    // Longer than what is kept of a name that straddles two reads.
    let long = "X-Forwarded-By-A-Name-That-Is-Longer-Than-Most";
    for name in FORBIDDEN.iter().chain([&long]) {
        body(
            &format!("0\r\nX: y\r\n{}", name.to_uppercase()),
            ": 1",
            Fault::TrailerForbidden,
        );
    }
}

#[test]
fn chunk_ends() {
    bad("short size", &chunked("4\r\nhell"), b"o\r\n0\r\n\r\n", Fault::ChunkEnd);
    bad("no LF", &chunked("4\r\nhell\r"), b"0\r\n\r\n", Fault::ChunkEnd);
    bad("bare LF", &chunked("4\r\nhell"), b"\n0\r\n\r\n", Fault::ChunkEnd);
}
