//! Rows 4, 20, 22 and 32: the lines of a head and their bytes (RFC 9112, sections 2.2 and 5).

use super::{Case, case};

fn head(row: u8, name: &str, lines: impl AsRef<[u8]>) -> Case {
    let bytes = [b"GET / HTTP/1.1\r\nHost: a.test\r\n", lines.as_ref(), b"\r\n"].concat();
    case(row, name, bytes)
}

pub fn cases() -> Vec<Case> {
    let lf = "RFC 9112, section 2.2, allows servers to take it for a line end, so two servers may see two heads";
    let odd = "no field may contain this byte";
    let mut all = vec![
        case(4, "bare LFs throughout", "GET / HTTP/1.1\nHost: a.test\n\n")
            .refused(400)
            .why(lf),
        case(
            4,
            "a bare LF behind the request line",
            "GET / HTTP/1.1\nHost: a.test\r\n\r\n",
        )
        .refused(400)
        .why(lf),
        case(
            4,
            "a bare LF for the empty line",
            "GET / HTTP/1.1\r\nHost: a.test\r\n\n",
        )
        .refused(400)
        .why(lf),
        case(4, "CR CR LF at the end", "GET / HTTP/1.1\r\nHost: a.test\r\r\n\r\n")
            .refused(400)
            .why(odd),
        case(4, "LF CR LF at the end", "GET / HTTP/1.1\r\nHost: a.test\n\r\n")
            .refused(400)
            .why(lf),
        head(4, "a bare LF behind a field", "X: y\n").refused(400).why(lf),
        head(4, "a bare LF in a value", "X: a\nb\r\n").refused(400).why(lf),
        head(4, "a bare CR in a value", "X: a\rb\r\n").refused(400).why(odd),
        head(4, "a bare CR in a name", "X\rY: a\r\n").refused(400).why(odd),
        head(4, "NUL in a value", "X: a\0b\r\n").refused(400).why(odd),
        head(4, "NUL in a name", "X\0: a\r\n").refused(400).why(odd),
        head(4, "a bell in a value", "X: a\x07b\r\n").refused(400).why(odd),
        head(4, "DEL in a value", "X: a\x7fb\r\n").refused(400).why(odd),
        head(4, "a bell in a name", "X\x07: a\r\n").refused(400).why(odd),
        head(4, "a parenthesis in a name", "X(: a\r\n")
            .refused(400)
            .why("a name is a token"),
        head(4, "a letter beyond ASCII in a name", "X\u{e9}: a\r\n")
            .refused(400)
            .why("a name is a token"),
        head(4, "a space in a name", "X Y: a\r\n")
            .refused(400)
            .why("a name is a token"),
        head(4, "a space before the colon", "X : a\r\n").refused(400),
        head(4, "a tab before the colon", "X\t: a\r\n").refused(400),
        head(4, "no name", ": a\r\n").refused(400),
        head(4, "no colon", "X\r\n")
            .refused(400)
            .why("a line without a colon is not a field"),
        head(4, "a folded line", "X: a\r\n b\r\n")
            .refused(400)
            .why("a server must refuse it or replace it with a space (RFC 9112, section 5.2)"),
        head(4, "a line folded with a tab", "X: a\r\n\tb\r\n")
            .refused(400)
            .why("a server must refuse it or replace it with a space (RFC 9112, section 5.2)"),
        case(
            4,
            "a folded first line",
            "GET / HTTP/1.1\r\n X: y\r\nHost: a.test\r\n\r\n",
        )
        .refused(400),
        head(4, "a tab in a value", "X: a\tb\r\n")
            .passes("GET /")
            .field("x", &["a\tb"]),
        head(4, "bytes beyond ASCII in a value", b"X: \xff\xfe\r\n").passes("GET /"),
        head(4, "an empty value", "X:\r\n").passes("GET /").field("x", &[""]),
        head(4, "a request in a value", "X: GET /smuggled HTTP/1.1\r\n").passes("GET /"),
        head(32, "a head of 40 KiB", format!("X: {}\r\n", "a".repeat(40 << 10)))
            .refused(431)
            .why("--max-head, 32 KiB by default"),
        head(32, "120 fields", "X: y\r\n".repeat(120))
            .refused(431)
            .why("--max-headers is 100 by default"),
        head(22, "X_Forwarded_For", "X_Forwarded_For: 6.6.6.6\r\n")
            .passes("GET /")
            .field("x_forwarded_for", &[])
            .why("behind CGI or WSGI it looks like the real field"),
        head(20, "X-Forwarded-For from a stranger", "X-Forwarded-For: 6.6.6.6\r\n")
            .passes("GET /")
            .field("x-forwarded-for", &["127.0.0.1"])
            .why("overwritten, unless --trusted-proxies names the peer"),
        head(20, "X-Original-URL from a stranger", "X-Original-URL: /admin\r\n")
            .passes("GET /")
            .field("x-original-url", &[])
            .why("some frameworks route by it"),
        head(
            21,
            "Connection: x-forwarded-for, host",
            "Connection: x-forwarded-for, host\r\n",
        )
        .passes("GET /")
        .field("x-forwarded-for", &["127.0.0.1"])
        .why("a client takes away its own fields only"),
    ];
    for name in [
        "TE: gzip",
        "Keep-Alive: 5",
        "Proxy-Connection: keep-alive",
        "Proxy-Authorization: x",
    ] {
        let field: &'static str = name.split(':').next().unwrap_or_default();
        let lower: &'static str = match field {
            "TE" => "te",
            "Keep-Alive" => "keep-alive",
            "Proxy-Connection" => "proxy-connection",
            _ => "proxy-authorization",
        };
        all.push(
            head(21, name, format!("{name}\r\n"))
                .passes("GET /")
                .field(lower, &[])
                .why("it is meant for the next hop, which is narthex (RFC 9110, section 7.6.1)"),
        );
    }
    all
}
