//! Rows 13, 14 and 32: the first line (RFC 9112, section 3).

use super::{Case, case};

const HOST: &str = "Host: a.test\r\n\r\n";

fn line(row: u8, name: &str, line: &str) -> Case {
    case(row, name, format!("{line}\r\n{HOST}"))
}

pub fn cases() -> Vec<Case> {
    let mut all = versions();
    all.extend(methods());
    all.extend(targets());
    all
}

fn versions() -> Vec<Case> {
    vec![
        line(14, "a plain GET", "GET / HTTP/1.1").passes("GET /"),
        line(14, "HTTP/1.0", "GET / HTTP/1.0").passes("GET /").closes(),
        case(14, "HTTP/0.9", "GET /\r\n")
            .refused(400)
            .why("no version means no fields, so no Host to route by"),
        line(14, "HTTP/0.9 with fields behind it", "GET /")
            .refused(400)
            .why("no version means no fields, so no Host to route by"),
        line(14, "version 1.2", "GET / HTTP/1.2")
            .refused(505)
            .why("narthex does not speak versions that may be framed differently"),
        line(14, "version 2.0", "GET / HTTP/2.0")
            .refused(505)
            .why("narthex does not speak versions that may be framed differently"),
        line(14, "version 3.0", "GET / HTTP/3.0")
            .refused(505)
            .why("narthex does not speak versions that may be framed differently"),
        line(14, "version 1.10", "GET / HTTP/1.10")
            .refused(400)
            .why("a version has one digit on each side of the dot"),
        line(14, "version 1", "GET / HTTP/1").refused(400),
        line(14, "lower-case http/1.1", "GET / http/1.1").refused(400),
        line(14, "a word that is not HTTP", "GET / HTPT/1.1").refused(400),
        line(14, "a space behind the version", "GET / HTTP/1.1 ")
            .refused(400)
            .why("RFC 9112 lets servers be lenient here, but two lenient servers may see two targets, so narthex is strict"),
        line(14, "two versions", "GET / HTTP/1.1 HTTP/1.1").refused(400),
        case(
            14,
            "HTTP/2's preface, with the wrong second line",
            "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        )
        .refused(505),
    ]
}

fn methods() -> Vec<Case> {
    vec![
        line(14, "two spaces behind the method", "GET  / HTTP/1.1")
            .refused(400)
            .why("the grammar has exactly one space"),
        line(14, "two spaces behind the target", "GET /  HTTP/1.1")
            .refused(400)
            .why("the grammar has exactly one space"),
        line(14, "tabs for spaces", "GET\t/\tHTTP/1.1")
            .refused(400)
            .why("the grammar has exactly one space"),
        line(14, "a space before the method", " GET / HTTP/1.1").refused(400),
        case(14, "an empty line first", format!("\r\nGET / HTTP/1.1\r\n{HOST}")).passes("GET /"),
        case(
            14,
            "ten empty lines first",
            format!("{}GET / HTTP/1.1\r\n{HOST}", "\r\n".repeat(10)),
        )
        .refused(400)
        .why("old clients sent one empty line (RFC 9112, section 2.2); narthex skips two"),
        line(14, "a method in lower case", "get / HTTP/1.1")
            .passes("get /")
            .why("methods are case-sensitive, and any token is valid; the pod decides"),
        line(14, "a method nobody knows", "FROB / HTTP/1.1").passes("FROB /"),
        line(14, "a method that is no token", "G@T / HTTP/1.1").refused(400),
        line(14, "no method", "/ HTTP/1.1").refused(400),
        line(14, "a method of 40 letters", &format!("{} / HTTP/1.1", "A".repeat(40)))
            .refused(400)
            .why("registered methods have at most 17 letters; narthex accepts 32"),
        line(13, "CONNECT to a host", "CONNECT a.test:80 HTTP/1.1")
            .refused(405)
            .why("narthex offers no tunnels, so it asks no pod"),
        line(13, "CONNECT to a path", "CONNECT / HTTP/1.1")
            .refused(400)
            .why("CONNECT has no other form than host and port, and no tunnel here"),
        line(13, "TRACE", "TRACE / HTTP/1.1")
            .refused(405)
            .why("the reply repeats what a browser hides from scripts: cookies and narthex's own fields"),
        case(
            13,
            "CONNECT with a request behind it",
            format!("CONNECT a.test:80 HTTP/1.1\r\n{HOST}GET /smuggled HTTP/1.1\r\n{HOST}"),
        )
        .refused(405)
        .why("narthex offers no tunnels, so it asks no pod"),
    ]
}

fn targets() -> Vec<Case> {
    let long = "a".repeat(17 << 10);
    vec![
        line(14, "OPTIONS *", "OPTIONS * HTTP/1.1")
            .answered(204)
            .why("the request is about the server itself, and not about a pod behind one of many rules"),
        line(14, "GET *", "GET * HTTP/1.1").refused(400)
            .why("only OPTIONS allows this target, and nothing may follow it"),
        line(14, "a target without a slash", "GET admin HTTP/1.1").refused(400),
        line(14, "OPTIONS */x", "OPTIONS */x HTTP/1.1").refused(400)
            .why("only OPTIONS allows this target, and nothing may follow it"),
        line(14, "an absolute target", "GET http://a.test/x HTTP/1.1")
            .passes("GET /x")
            .field("host", &["a.test"])
            .why("the pod gets only the path, as RFC 9112, section 3.2.1, requires for an origin server"),
        case(
            14,
            "an absolute target, another Host",
            "GET http://a.test/x HTTP/1.1\r\nHost: other.test\r\n\r\n",
        )
        .passes("GET /x")
        .field("host", &["a.test"])
        .why("the target wins, and narthex sets Host to match (RFC 9112, section 3.2.2)"),
        case(
            14,
            "an absolute target of another host, our Host",
            "GET http://other.test/x HTTP/1.1\r\nHost: a.test\r\n\r\n",
        )
        .answered(404)
        .why("the target wins, so the rules of Host do not apply"),
        line(14, "an absolute target without a path", "GET http://a.test?x HTTP/1.1")
            .passes("GET /?x")
            .why("an empty path means the root, and every pod gets a target with a slash"),
        line(14, "an absolute target in capitals", "GET HTTP://A.TEST/x HTTP/1.1").passes("GET /x")
            .why("schemes and hosts are case-insensitive; the pod gets only the path"),
        line(14, "an absolute target with a user", "GET http://u:p@a.test/ HTTP/1.1").refused(400)
            .why("an authority consists of a host and a port (RFC 9110, section 4.2.4)"),
        line(14, "an absolute target without a host", "GET http:///x HTTP/1.1").refused(400)
            .why("an authority consists of a host and a port (RFC 9110, section 4.2.4)"),
        line(14, "an absolute target with one slash", "GET http:/a.test/x HTTP/1.1").refused(400),
        line(14, "an absolute target of ftp", "GET ftp://a.test/ HTTP/1.1")
            .refused(400)
            .why("narthex serves only http and https"),
        line(
            14,
            "an absolute target with a bad port",
            "GET http://a.test:99999/ HTTP/1.1",
        )
        .refused(400)
            .why("an authority consists of a host and a port (RFC 9110, section 4.2.4)"),
        line(14, "two slashes and a host", "GET //other.test/x HTTP/1.1")
            .passes("GET /other.test/x")
            .why("the path has an empty segment, which narthex removes unless the rule has narthex.io/merge-slashes: \"false\""),
        line(14, "a space in the target", "GET /a b HTTP/1.1").refused(400),
        case(4, "NUL in the target", format!("GET /a\0b HTTP/1.1\r\n{HOST}")).refused(400),
        case(4, "a bare LF in the target", format!("GET /a\nb HTTP/1.1\r\n{HOST}")).refused(400),
        case(4, "a bare CR in the target", format!("GET /a\rb HTTP/1.1\r\n{HOST}")).refused(400),
        line(18, "a fragment", "GET /a#b HTTP/1.1")
            .refused(400)
            .why("clients never send one, and servers that cut it off see another path than those that do not"),
        line(18, "a backslash", "GET /a\\..\\b HTTP/1.1")
            .refused(400)
            .why("some servers take it for a slash, and RFC 3986 does not allow it in a path"),
        line(18, "letters beyond ASCII", "GET /\u{e9} HTTP/1.1")
            .refused(400)
            .why("RFC 3986 requires them to be encoded, and their meaning is undefined otherwise"),
        line(18, "marks that want encoding", "GET /a|b{c}^\"d\" HTTP/1.1")
            .passes("GET /a|b{c}^\"d\"")
            .why("they separate nothing, and browsers send some of them"),
        line(18, "angle brackets", "GET /<script> HTTP/1.1")
            .refused(400)
            .why("RFC 3986 requires them to be encoded, and every browser does so"),
        line(32, "a target of 17 KiB", &format!("GET /{long} HTTP/1.1"))
            .refused(414)
            .why("--max-uri, 16 KiB by default"),
    ]
}
