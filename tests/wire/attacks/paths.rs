//! Row 18: one form of a path, matched and forwarded.

use super::{Case, case};

fn path(name: &str, path: &str) -> Case {
    case(
        18,
        format!("{name}: `{path}`"),
        format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    )
}

pub fn cases() -> Vec<Case> {
    let dots = "narthex resolves dots before it compares rules, so a pod never gets a path that was not compared";
    let above = "nothing is above the root, so narthex answers 400 instead of guessing";
    let kept = "narthex treats an encoded slash as data and not as a separator; --encoded-slash=reject refuses it";
    vec![
        path("dots", "/a/../b").passes("GET /b").why(dots),
        path("a dot", "/a/./b").passes("GET /a/b").why(dots),
        path("dots at the end", "/a/b/..").passes("GET /a/").why(dots),
        path("encoded dots", "/a/%2e%2e/b").passes("GET /b").why(dots),
        path("half-encoded dots", "/a/.%2E/b").passes("GET /b").why(dots),
        path("above the root", "/../b").refused(400).why(above),
        path("above the root, encoded", "/%2e%2e/b").refused(400).why(above),
        path("above the root, later", "/a/../../b").refused(400).why(above),
        path("above the root, by empty segments", "//../b")
            .refused(400)
            .why(above),
        path("dots with a parameter", "/a/..;/b")
            .passes("GET /a/..;/b")
            .why("`..;` is a name like any other by RFC 3986; a rule for /a is asked, and the pod gets it as it is"),
        path("a parameter", "/a;x=1/b").passes("GET /a;x=1/b"),
        path("empty segments", "/a//b")
            .passes("GET /a/b")
            .why("narthex merges slashes, as most servers do, unless the rule has narthex.io/merge-slashes: \"false\""),
        path("empty segments first", "//a")
            .passes("GET /a")
            .why("narthex merges slashes, as most servers do, unless the rule has narthex.io/merge-slashes: \"false\""),
        path("an encoded slash", "/a%2fb").passes("GET /a%2Fb").why(kept),
        path("dots between encoded slashes", "/a%2f..%2fb")
            .passes("GET /a%2F..%2Fb")
            .why(kept),
        path("dots before an encoded slash", "/..%2fb")
            .passes("GET /..%2Fb")
            .why(kept),
        path("an encoded backslash", "/a%5c..%5cb")
            .passes("GET /a%5C..%5Cb")
            .why(kept),
        path("twice encoded dots", "/%252e%252e/b").passes("GET /%252e%252e/b"),
        path("overlong UTF-8", "/%c0%ae%c0%ae/b")
            .passes("GET /%C0%AE%C0%AE/b")
            .why("narthex decodes only letters, digits and -._~"),
        path("encoded letters", "/%61%7e")
            .passes("GET /a~")
            .why("narthex decodes them, because RFC 3986 calls the two forms equivalent; rules for /a~ apply"),
        path("lower-case hex", "/%e4%b8")
            .passes("GET /%E4%B8")
            .why("narthex normalizes the spelling of escapes"),
        path("an encoded NUL", "/a%00b")
            .refused(400)
            .why("NUL ends a string in some servers, and no path needs it"),
        path("an encoded line end", "/a%0d%0aX:%20y")
            .passes("GET /a%0D%0AX:%20y")
            .why("it stays encoded, so it ends no line"),
        path("an encoded question mark", "/a%3fb")
            .passes("GET /a%3Fb")
            .why("narthex normalizes the spelling of escapes"),
        path("an encoded hash", "/a%23b").passes("GET /a%23b"),
        path("a broken escape", "/a%zz")
            .refused(400)
            .why("the meaning is undefined"),
        path("an escape cut short", "/a%4")
            .refused(400)
            .why("the meaning is undefined"),
        path("a percent sign alone", "/a%")
            .refused(400)
            .why("the meaning is undefined"),
        path("dots in the query", "/a?x=/../b//c").passes("GET /a?x=/../b//c"),
        path("anything in the query", "/a?%zz%00")
            .passes("GET /a?%zz%00")
            .why("no rule looks at it; it passes as it is"),
        path("a hash in the query", "/a?x#y")
            .refused(400)
            .why("clients never send one"),
    ]
}
