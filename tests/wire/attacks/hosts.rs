//! Row 16: who is asked (RFC 9110, section 7.2).

use super::{Case, case};

fn host(name: &str, value: &str) -> Case {
    case(16, name, format!("GET / HTTP/1.1\r\nHost: {value}\r\n\r\n"))
}

pub fn cases() -> Vec<Case> {
    vec![
        case(16, "no Host", "GET / HTTP/1.1\r\nX: y\r\n\r\n").refused(400),
        case(16, "no Host, HTTP/1.0", "GET / HTTP/1.0\r\n\r\n")
            .answered(404)
            .closes()
            .why("HTTP/1.0 may; only rules for any host apply"),
        case(16, "no Host, an absolute target", "GET http://a.test/ HTTP/1.1\r\n\r\n").refused(400),
        case(
            16,
            "the same Host twice",
            "GET / HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n",
        )
        .refused(400)
        .why("a request has exactly one Host, even if a second one agrees"),
        case(
            16,
            "two Hosts",
            "GET / HTTP/1.1\r\nHost: a.test\r\nHost: other.test\r\n\r\n",
        )
        .refused(400),
        case(
            16,
            "two Hosts, HTTP/1.0",
            "GET / HTTP/1.0\r\nHost: a.test\r\nHost: other.test\r\n\r\n",
        )
        .refused(400),
        host("an empty Host", "").refused(400),
        host("spaces for a Host", "   ").refused(400),
        host("a user", "u@a.test")
            .refused(400)
            .why("a Host is a name and a port; who skips the user and who does not see two hosts"),
        host("a user and a password", "u:p@a.test").refused(400),
        host("a path", "a.test/x").refused(400),
        host("a query", "a.test?x").refused(400),
        host("a URL", "http://a.test").refused(400),
        host("a list", "a.test, other.test")
            .refused(400)
            .why("Host holds exactly one name"),
        host("two names with a space", "a.test other.test").refused(400),
        host("a backslash", "a.test\\other.test").refused(400),
        host("an encoded letter", "%61.test")
            .refused(400)
            .why("no DNS name has a percent sign"),
        host("an empty label", "a..test").refused(400),
        host("a leading dot", ".a.test").refused(400),
        host("a trailing dot", "a.test.")
            .passes("GET /")
            .field("host", &["a.test."])
            .why("this is the same name in absolute form, so the same rules and policies apply"),
        host("capitals", "A.TesT").passes("GET /").field("host", &["A.TesT"]),
        host("a port", "a.test:8000")
            .passes("GET /")
            .field("host", &["a.test:8000"]),
        host("an empty port", "a.test:").passes("GET /"),
        host("port 0", "a.test:0")
            .refused(400)
            .why("a port is a number from 1 to 65535"),
        host("port 99999", "a.test:99999")
            .refused(400)
            .why("a port is a number from 1 to 65535"),
        host("port +80", "a.test:+80")
            .refused(400)
            .why("a port is a number from 1 to 65535"),
        host("two ports", "a.test:80:80")
            .refused(400)
            .why("a port is a number from 1 to 65535"),
        host("an IPv6 zone", "[fe80::1%25eth0]")
            .refused(400)
            .why("a zone means something on one node only"),
        host("a bracket that is not closed", "[::1").refused(400),
        host("what is no IPv6 address, in brackets", "[a.test]").refused(400),
        host("letters beyond ASCII", "\u{e4}.test").refused(400),
        host("a control character", "a.test\x0b").refused(400),
        host("a NUL", "a.test\0.other.test").refused(400),
        case(
            16,
            "a space before the colon",
            "GET / HTTP/1.1\r\nHost : a.test\r\n\r\n",
        )
        .refused(400),
        case(16, "a folded Host", "GET / HTTP/1.1\r\nHost:\r\n a.test\r\n\r\n")
            .refused(400)
            .why("a server must refuse it or replace it with a space (RFC 9112, section 5.2)"),
        case(
            16,
            "a second Host behind a space",
            "GET / HTTP/1.1\r\n Host: other.test\r\nHost: a.test\r\n\r\n",
        )
        .refused(400),
        case(
            16,
            "a bad Host overruled by the target",
            "GET http://a.test/ HTTP/1.1\r\nHost: a b\r\n\r\n",
        )
        .refused(400)
        .why("RFC 9112, section 3.2: an invalid Host is 400 whatever the target says"),
        case(
            16,
            "X-Forwarded-Host beside it",
            "GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-Host: other.test\r\n\r\n",
        )
        .passes("GET /")
        .field("x-forwarded-host", &["a.test"])
        .why("of a stranger it is overwritten"),
    ]
}
