//! Rows 1 to 3, 5 and 6: where a request ends (RFC 9112, sections 6 and 7).

use super::{Case, case};

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";
const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
const LENGTH: &str = "Content-Length: 3\r\n";

fn post(row: u8, name: impl Into<String>, fields: &str, rest: &str) -> Case {
    case(
        row,
        name,
        format!("POST / HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n{rest}"),
    )
}

pub fn lengths() -> Vec<Case> {
    let both = format!("3\r\nabc\r\n0\r\n\r\n{SMUGGLED}");
    let mut all = vec![
        post(
            1,
            "Content-Length, then Transfer-Encoding",
            &format!("{LENGTH}{CHUNKED}"),
            &both,
        )
        .refused(400)
        .why("RFC 9112, section 6.1, lets a server refuse it, and only attackers send it"),
        post(
            1,
            "Transfer-Encoding, then Content-Length",
            &format!("{CHUNKED}{LENGTH}"),
            &both,
        )
        .refused(400)
        .why("RFC 9112, section 6.1, lets a server refuse it, and only attackers send it"),
        post(
            1,
            "Content-Length: 0 and Transfer-Encoding",
            &format!("Content-Length: 0\r\n{CHUNKED}"),
            &both,
        )
        .refused(400)
        .why("RFC 9112, section 6.1, lets a server refuse it, and only attackers send it"),
        case(
            1,
            "both, in a GET",
            format!("GET / HTTP/1.1\r\nHost: a.test\r\n{LENGTH}{CHUNKED}\r\n{both}"),
        )
        .refused(400)
        .why("RFC 9112, section 6.1, lets a server refuse it, and only attackers send it"),
        case(
            2,
            "chunked in HTTP/1.0",
            format!("POST / HTTP/1.0\r\nHost: a.test\r\n{CHUNKED}\r\n{both}"),
        )
        .refused(400)
        .why("the framing is faulty (RFC 9112, section 6.1)"),
        post(
            2,
            "Chunked, in capitals",
            "Transfer-Encoding: CHUNKED\r\n",
            "3\r\nabc\r\n0\r\n\r\n",
        )
        .passes("POST /")
        .body("abc"),
        post(
            2,
            "a tab before chunked",
            "Transfer-Encoding:\tchunked\r\n",
            "3\r\nabc\r\n0\r\n\r\n",
        )
        .passes("POST /")
        .body("abc")
        .why("whitespace around a value is not part of it (RFC 9110, section 5.5)"),
    ];
    for coding in [
        "chunked, chunked",
        "gzip, chunked",
        "chunked, gzip",
        "chunked, identity",
        "identity",
        "xchunked",
        "chunkedx",
        "chunked;q=1",
        "\"chunked\"",
        "'chunked'",
        ",chunked",
        "chunked,",
        "",
        "chun ked",
        "\u{c}chunked",
        "\u{b}chunked",
        "chunked\0",
        "\u{a0}chunked",
    ] {
        let name = format!("Transfer-Encoding: `{}`", coding.escape_debug());
        let case = post(2, name, &format!("Transfer-Encoding: {coding}\r\n"), &both);
        all.push(
            case.refused(400)
                .why("narthex refuses everything except exactly `chunked`, because other codings are not supported or are attacks"),
        );
    }
    for (name, fields) in [
        (
            "two Transfer-Encodings",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        ),
        (
            "two Transfer-Encodings, one identity",
            "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        ),
        ("a space before its colon", "Transfer-Encoding : chunked\r\n"),
        ("a tab before its colon", "Transfer-Encoding\t: chunked\r\n"),
        ("a space before its name", " Transfer-Encoding: chunked\r\n"),
        ("its value folded", "Transfer-Encoding:\r\n chunked\r\n"),
        ("behind a bare LF", "X: y\nTransfer-Encoding: chunked\r\n"),
        ("behind a bare CR", "X: y\rTransfer-Encoding: chunked\r\n"),
        (
            "its name with a control character",
            "Transfer-Encoding\x01: chunked\r\n",
        ),
        ("two lengths that differ", "Content-Length: 3\r\nContent-Length: 4\r\n"),
        ("the same length twice", "Content-Length: 3\r\nContent-Length: 3\r\n"),
        ("a length behind a space", "Content-Length: 3\r\n Content-Length: 0\r\n"),
    ] {
        all.push(
            post(2, name, fields, &both)
                .refused(400)
                .why("the framing is ambiguous"),
        );
    }
    for length in [
        "+3",
        "-0",
        "-3",
        "3,3",
        "3, 3",
        "0x3",
        "3 3",
        "3;",
        "3.0",
        "1e0",
        "",
        "\u{663}",
        "18446744073709551619",
        "99999999999999999999",
    ] {
        let name = format!("Content-Length: `{}`", length.escape_debug());
        let case = post(3, name, &format!("Content-Length: {length}\r\n"), "abc");
        all.push(case.refused(400).why("a length consists of digits and is given once"));
    }
    all.extend(passing_lengths());
    all
}

fn passing_lengths() -> Vec<Case> {
    vec![
        post(3, "Content-Length: `003`", "Content-Length: 003\r\n", "abc")
            .passes("POST /")
            .body("abc")
            .field("content-length", &["3"])
            .why("the value consists of digits, and no server reads them as octal"),
        post(3, "spaces round a length", "Content-Length:  3 \t\r\n", "abc")
            .passes("POST /")
            .body("abc")
            .why("whitespace around a value is not part of it (RFC 9110, section 5.5)"),
        post(3, "no length, and a request for a body", "", SMUGGLED)
            .passes("POST /")
            .passes("GET /smuggled"),
        case(
            7,
            "a chunked GET",
            format!("GET / HTTP/1.1\r\nHost: a.test\r\n{CHUNKED}\r\n3\r\nabc\r\n0\r\n\r\n"),
        )
        .passes("GET /")
        .body("abc"),
        case(
            3,
            "a GET with a length",
            format!("GET / HTTP/1.1\r\nHost: a.test\r\n{LENGTH}\r\nabc"),
        )
        .passes("GET /")
        .body("abc"),
        post(
            21,
            "Connection takes the length away",
            &format!("Connection: Content-Length\r\n{LENGTH}"),
            "abc",
        )
        .passes("POST /")
        .body("abc"),
        post(
            21,
            "Connection takes the coding away",
            &format!("Connection: transfer-encoding\r\n{CHUNKED}"),
            "3\r\nabc\r\n0\r\n\r\n",
        )
        .passes("POST /")
        .body("abc"),
        post(
            22,
            "Transfer_Encoding beside a length",
            &format!("Transfer_Encoding: chunked\r\n{LENGTH}"),
            "abc",
        )
        .passes("POST /")
        .body("abc")
        .field("transfer_encoding", &[])
        .why("behind CGI or WSGI it looks like the real field, so narthex drops it"),
        post(
            22,
            "Content_Length beside a length",
            &format!("Content_Length: 0\r\n{LENGTH}"),
            "abc",
        )
        .passes("POST /")
        .body("abc")
        .field("content_length", &[])
        .why("behind CGI or WSGI it looks like the real field, so narthex drops it"),
    ]
}

fn chunk(row: u8, name: &str, body: impl AsRef<str>) -> Case {
    post(row, name, CHUNKED, body.as_ref())
}

pub fn chunks() -> Vec<Case> {
    let size = "a size has 1 to 16 hexadecimal digits";
    let end = "CRLF must follow a chunk; otherwise the sizes are wrong";
    let mut all = vec![
        chunk(5, "two chunks", "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
            .passes("POST /")
            .body("abcde"),
        chunk(5, "an extension", "3;a=b;c=\"d\"\r\nabc\r\n0;e\r\n\r\n")
            .passes("POST /")
            .body("abc"),
        chunk(5, "leading zeros", "0003\r\nabc\r\n000\r\n\r\n")
            .passes("POST /")
            .body("abc"),
        chunk(5, "a space before the size", " 3\r\nabc\r\n0\r\n\r\n")
            .broken()
            .why(size),
        chunk(5, "a space behind the size", "3 \r\nabc\r\n0\r\n\r\n")
            .broken()
            .why("whitespace is allowed only before an extension, and none follows"),
        chunk(5, "0x before the size", "0x3\r\nabc\r\n0\r\n\r\n")
            .broken()
            .why(size),
        chunk(5, "a sign", "+3\r\nabc\r\n0\r\n\r\n").broken().why(size),
        chunk(5, "a negative size", "-1\r\nabc\r\n0\r\n\r\n").broken().why(size),
        chunk(5, "no size", "\r\nabc\r\n0\r\n\r\n").broken().why(size),
        chunk(5, "an underscore", "1_0\r\nabc\r\n0\r\n\r\n").broken().why(size),
        chunk(5, "17 digits", "10000000000000003\r\nabc\r\n0\r\n\r\n")
            .broken()
            .why(size),
        chunk(5, "17 digits, 16 of them zero", "00000000000000003\r\nabc\r\n0\r\n\r\n")
            .broken()
            .why(size),
        chunk(5, "data longer than its size", "3\r\nabcd\r\n0\r\n\r\n")
            .broken()
            .why(end),
        chunk(5, "data without its line end", "3\r\nabc0\r\n\r\n")
            .broken()
            .why(end),
        chunk(5, "a bare LF behind a size", "3\nabc\r\n0\r\n\r\n")
            .broken()
            .why("a line ends with CRLF"),
        chunk(5, "a bare LF behind data", "3\r\nabc\n0\r\n\r\n")
            .broken()
            .why(end),
        chunk(5, "a bare CR behind a size", "3\rabc\r\n0\r\n\r\n")
            .broken()
            .why("a line ends with CRLF"),
        chunk(5, "a bare LF in an extension", "3;a\nb\r\nabc\r\n0\r\n\r\n")
            .broken()
            .why("who takes it for a line end reads another body (TERM.EXT)"),
        chunk(5, "a bare CR in an extension", "3;a\rb\r\nabc\r\n0\r\n\r\n")
            .broken()
            .why("who takes it for a line end reads another body (TERM.EXT)"),
        chunk(5, "a bare LF in a quoted extension", "3;a=\"\n\"\r\nabc\r\n0\r\n\r\n")
            .broken()
            .why("who takes it for a line end reads another body (TERM.EXT)"),
        chunk(5, "NUL in an extension", "3;a=\0\r\nabc\r\n0\r\n\r\n")
            .broken()
            .why("no extension contains one"),
        chunk(
            5,
            "an extension of 17 KiB",
            format!("3;{}\r\nabc\r\n0\r\n\r\n", "a".repeat(17 << 10)),
        )
        .broken()
        .why("4 KiB in one body are more than any client needs"),
        chunk(6, "a trailer that was announced", "3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n")
            .passes("POST /")
            .body("abc")
            .why("narthex passes a trailer on only if Trailer names it"),
        post(
            6,
            "a trailer that Trailer names",
            &format!("Trailer: x-sum\r\n{CHUNKED}"),
            "3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n",
        )
        .passes("POST /")
        .body("abc")
        .why("narthex passes a trailer on if Trailer names it"),
    ];
    for trailer in [
        "Content-Length: 5",
        "Transfer-Encoding: chunked",
        "Host: other.test",
        "Authorization: x",
        "Cookie: a=b",
        "X-Forwarded-For: 6.6.6.6",
        "X-Forwarded-Prefix: /admin",
        "X-Forwarded-By-A-Name-That-Is-Longer-Than-Most: x",
        "X-Real-IP: 6.6.6.6",
        "X-Original-URL: /admin",
        "X-Request-Id: theirs",
        "X_Forwarded_For: 6.6.6.6",
    ] {
        let fields = format!(
            "Trailer: {}\r\n{CHUNKED}",
            trailer.split(':').next().unwrap_or_default()
        );
        let case = post(
            6,
            format!("the trailer `{trailer}`"),
            &fields,
            &format!("3\r\nabc\r\n0\r\n{trailer}\r\n\r\n"),
        );
        all.push(
            case.broken()
                .why("a trailer may not affect framing, routing or identity (RFC 9110, section 6.5.1)"),
        );
    }
    for (name, section) in [
        ("a trailer with a bare LF", "X: y\n\r\n"),
        ("a trailer with a bare CR", "X: y\rz\r\n\r\n"),
        ("a folded trailer", "X: y\r\n z\r\n\r\n"),
        ("a trailer without a colon", "X\r\n\r\n"),
        (
            "a request for a trailer",
            "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n",
        ),
    ] {
        all.push(
            chunk(6, name, format!("3\r\nabc\r\n0\r\n{section}"))
                .broken()
                .why("trailers are parsed as strictly as fields of a head"),
        );
    }
    all
}
