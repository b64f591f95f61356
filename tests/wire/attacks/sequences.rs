//! Rows 9, 10 and 12: what comes behind a request, and where one could hide in another.

use super::{Case, case};

const GET: &str = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";
const SETTINGS: &str = "HTTP2-Settings: AAMAAABkAAQAAP__\r\n";
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

fn get(name: &str, fields: &str, rest: &str) -> Case {
    case(
        12,
        name,
        format!("GET / HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n{rest}"),
    )
}

pub fn upgrades() -> Vec<Case> {
    let other = "narthex passes on only websocket, because with any other protocol the pod would see bytes that no rule was applied to";
    vec![
        get("h2c", &format!("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n{SETTINGS}"), "")
            .passes("GET /")
            .field("upgrade", &[])
            .field("http2-settings", &[])
            .why(other),
        get("h2c without Connection", &format!("Upgrade: h2c\r\n{SETTINGS}"), "")
            .passes("GET /")
            .field("upgrade", &[])
            .field("http2-settings", &[])
            .why(other),
        get("h2c, with HTTP/2 right behind it", &format!("Connection: Upgrade\r\nUpgrade: h2c\r\n{SETTINGS}"), "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .passes("GET /")
            .field("upgrade", &[])
            .closes()
            .why(other)
            .then_says(505),
        get("TLS", "Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n", "").passes("GET /").field("upgrade", &[]).why(other),
        get("a WebSocket", &format!("Connection: Upgrade\r\nUpgrade: websocket\r\n{KEY}"), "")
            .passes("GET /")
            .field("upgrade", &["websocket"])
            .why("passed on without an annotation"),
        get("a WebSocket or h2c", &format!("Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n{KEY}"), "")
            .passes("GET /")
            .field("upgrade", &[])
            .why(other),
        get("two Upgrades", &format!("Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n{KEY}"), "")
            .passes("GET /")
            .field("upgrade", &[])
            .why(other),
        get("a WebSocket without Connection", &format!("Upgrade: websocket\r\n{KEY}"), "").passes("GET /").field("upgrade", &[])
        .why("Upgrade counts only if Connection names it (RFC 9110, section 7.8)"),
        get("a WebSocket and a request behind it, declined", &format!("Connection: Upgrade\r\nUpgrade: websocket\r\n{KEY}"), SMUGGLED)
            .passes("GET /")
            .passes("GET /smuggled")
            .why("a pod that declines has not changed protocols, so what follows is a request with rules of its own"),
        case(12, "a WebSocket with a body", format!("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n{KEY}\r\nabc"))
            .passes("GET /")
            .body("abc")
            .field("upgrade", &[])
            .why("a handshake has no body (RFC 6455), so this is not one"),
        case(12, "a WebSocket by POST", format!("POST / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n{KEY}\r\n"))
            .passes("POST /")
            .field("upgrade", &[])
            .why("a handshake is a GET"),
        case(12, "a WebSocket in HTTP/1.0", format!("GET / HTTP/1.0\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{KEY}\r\n"))
            .passes("GET /")
            .field("upgrade", &[])
            .closes()
            .why("HTTP/1.0 has no Upgrade (RFC 9110, section 7.8)"),
    ]
}

impl Case {
    /// Another status, behind the others.
    fn then_says(mut self, status: u16) -> Self {
        self.says.push(status);
        self
    }
}

pub fn pipelines() -> Vec<Case> {
    let post = |fields: &str, rest: &str| format!("POST / HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n{rest}");
    let none = |fields: &str, rest: &str| format!("POST / HTTP/1.1\r\nHost: none.test\r\n{fields}\r\n{rest}");
    let length = |text: &str| format!("Content-Length: {}\r\n", text.len());
    vec![
        case(
            9,
            "two requests",
            format!("{GET}GET /2 HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        )
        .passes("GET /")
        .passes("GET /2"),
        case(
            9,
            "a bad one behind a good one",
            format!("{GET}GET /2 HTTP/1.1\nHost: a.test\r\n\r\n"),
        )
        .passes("GET /")
        .refused(400)
        .why("narthex answers the first and refuses the second, as if they had come alone"),
        case(
            9,
            "a good one behind a bad one",
            format!("GET / HTTP/1.1\r\nHost: a b\r\n\r\n{SMUGGLED}"),
        )
        .refused(400)
        .why("the Host is invalid, and narthex reads nothing after an invalid request"),
        case(
            9,
            "one behind a refused method",
            format!("TRACE / HTTP/1.1\r\nHost: a.test\r\n\r\n{SMUGGLED}"),
        )
        .refused(405)
        .why("narthex reads nothing more after a refusal"),
        case(
            9,
            "one behind a 404",
            format!("GET / HTTP/1.1\r\nHost: none.test\r\n\r\n{SMUGGLED}"),
        )
        .answered(404)
        .passes("GET /smuggled")
        .why("a 404 breaks no framing, so the connection goes on"),
        case(9, "a request for the body of a 404", none(&length(SMUGGLED), SMUGGLED))
            .answered(404)
            .ends_either_way()
            .why("the body is read and thrown away as a body, never as a request"),
        case(
            9,
            "a request for the chunked body of a 404",
            none(
                "Transfer-Encoding: chunked\r\n",
                &format!("{:x}\r\n{SMUGGLED}\r\n0\r\n\r\n", SMUGGLED.len()),
            ),
        )
        .answered(404)
        .ends_either_way(),
        case(9, "a request for a body", post(&length(SMUGGLED), SMUGGLED))
            .passes("POST /")
            .body(SMUGGLED),
        case(
            9,
            "a request for the body of a refused method",
            format!("TRACE / HTTP/1.1\r\nHost: a.test\r\n{}\r\n{SMUGGLED}", length(SMUGGLED)),
        )
        .refused(405)
        .why("narthex reads nothing more after a refusal"),
        case(
            9,
            "a request for the body of an absolute 404",
            format!(
                "POST http://none.test/ HTTP/1.1\r\nHost: a.test\r\n{}\r\n{SMUGGLED}",
                length(SMUGGLED)
            ),
        )
        .answered(404)
        .ends_either_way()
        .why("the target wins over Host, so no rule matches"),
        case(
            9,
            "Expect, then the body",
            post("Expect: 100-continue\r\nContent-Length: 3\r\n", ""),
        )
        .then("abc")
        .interim(100)
        .passes("POST /")
        .body("abc"),
        case(
            9,
            "Expect, and a request for the body",
            post(&format!("Expect: 100-continue\r\n{}", length(SMUGGLED)), ""),
        )
        .then(SMUGGLED)
        .interim(100)
        .passes("POST /")
        .body(SMUGGLED),
        case(
            9,
            "Expect with its body at once",
            post("Expect: 100-continue\r\nContent-Length: 3\r\n", "abc"),
        )
        .passes("POST /")
        .body("abc"),
        case(
            9,
            "Expect without a body",
            "GET / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\n\r\n",
        )
        .passes("GET /"),
        case(
            9,
            "another expectation",
            post("Expect: tea\r\nContent-Length: 3\r\n", "abc"),
        )
        .refused(417)
        .why("RFC 9110, section 10.1.1, lets a server refuse it"),
        case(
            9,
            "two expectations",
            post(
                "Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 3\r\n",
                "abc",
            ),
        )
        .passes("POST /")
        .body("abc")
        .why("both fields say the same"),
        case(
            9,
            "Connection: close, and one behind it",
            format!("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n{SMUGGLED}"),
        )
        .passes("GET /")
        .closes(),
        case(
            9,
            "HTTP/1.0, and one behind it",
            format!("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n{SMUGGLED}"),
        )
        .passes("GET /")
        .closes(),
    ]
}

impl Case {
    /// A status of the proxy's own before the next.
    fn interim(mut self, status: u16) -> Self {
        self.says.push(status);
        self
    }
}
