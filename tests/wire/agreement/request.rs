//! Generated requests: as they are sent, and as questions.

use super::world::{Flags, World};
use http::uri::PathAndQuery;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// A request over HTTP/1 or HTTP/2.
pub struct Request {
    pub tls: bool,
    /// The name in the TLS handshake.
    pub server_name: Option<String>,
    /// The client and what it connected to, by a PROXY header.
    proxied: Option<(IpAddr, SocketAddr)>,
    method: String,
    target: String,
    version: &'static str,
    /// Over HTTP/2: `:authority`.
    authority: String,
    fields: Vec<(String, String)>,
    body: &'static str,
}

fn one<'c, T>(rng: &mut fastrand::Rng, choices: &'c [T]) -> &'c T {
    &choices[rng.usize(..choices.len())]
}

fn often(rng: &mut fastrand::Rng, percent: u32) -> bool {
    rng.u32(..100) < percent
}

const METHODS: [&str; 12] = [
    "POST",
    "PUT",
    "HEAD",
    "OPTIONS",
    "DELETE",
    "PATCH",
    "TRACE",
    "CONNECT",
    "get",
    "M-SEARCH",
    "AVERYLONGMETHODTHATNOBODYEVERSENTTOUS",
    "G(T",
];
const ODD_HOSTS: [&str; 14] = [
    "",
    "nobody.test",
    "10.0.0.1",
    "127.0.0.1:8080",
    "[::1]",
    "[::1]:443",
    "[::1",
    "a..test",
    "a test",
    "user@a.test",
    "a.test:0",
    "a.test:99999",
    "a,b.test",
    "xn--bcher-kva.test",
];
const ENDINGS: [&str; 10] = [
    "/",
    "/x",
    "//x",
    "/./x",
    "/../x",
    "/..",
    "/%2e%2e/x",
    "x",
    "//",
    "/x;y=1",
];
const ODD_ENDINGS: [&str; 15] = [
    "/../../..",
    "/%2E/x",
    "%2Fx",
    "%5cx",
    "/%zz",
    "/%00",
    "/%",
    "/a b",
    "/a\\b",
    "/é",
    "/%E4%b8",
    "/..;/x",
    "/{x}",
    "/<x>",
    "/x\u{7f}",
];
const QUERIES: [&str; 8] = [
    "?",
    "?a=1",
    "?a=1&b=%2F",
    "?a=\"<>\"",
    "?a=1#f",
    "?a=/../b",
    "?é",
    "?a b",
];
const ODD_TARGETS: [&str; 8] = [
    "*",
    "x",
    "",
    "a.test:80",
    "ftp://a.test/",
    "http:///x",
    "//a.test/x",
    "?x",
];

/// A name a client may put in its handshake.
fn is_name(host: &str) -> bool {
    rustls::pki_types::DnsName::try_from(host).is_ok()
        && host.contains('.')
        && !host.starts_with(|first: char| first.is_ascii_digit())
}

fn vary(rng: &mut fastrand::Rng, host: &str) -> String {
    match rng.u32(..10) {
        0 => host.to_uppercase(),
        1 => format!("{host}."),
        2 => format!("{host}:{}", rng.u16(..)),
        3 => format!("x.{host}"),
        4 => format!("{host}:"),
        _ => host.to_owned(),
    }
}

impl Request {
    pub fn make(rng: &mut fastrand::Rng, world: &World, flags: &Flags, agent: &str) -> Self {
        let tls = flags.https && often(rng, 40);
        let host = match often(rng, 5) {
            true => (*one(rng, &ODD_HOSTS)).to_owned(),
            false => one(rng, &world.hosts).clone(),
        };
        let server_name = match rng.u32(..10) {
            0 => None,
            1 | 2 => Some(one(rng, &world.hosts).clone()),
            _ => Some(host.clone()),
        };
        let host = vary(rng, &host);
        let method = match often(rng, 25) {
            true => *one(rng, &METHODS),
            false => "GET",
        };
        let mut request = Self {
            tls,
            server_name: server_name.filter(|name| tls && is_name(name)),
            proxied: None,
            method: method.to_owned(),
            target: target(rng, world, method),
            version: if often(rng, 8) { "1.0" } else { "1.1" },
            authority: String::new(),
            fields: vec![("Host".to_owned(), host)],
            body: "",
        };
        if flags.proxy_protocol && often(rng, 60) {
            let client = *one(rng, &["192.0.2.7", "127.0.0.9"]);
            let port = *one(rng, &[80, 443, 8443]);
            request.proxied = Some((client.parse().unwrap(), SocketAddr::from(([127, 0, 0, 1], port))));
        }
        match rng.u32(..40) {
            0 => request.fields.push(("Host".to_owned(), one(rng, &world.hosts).clone())),
            // A question over HTTPS always names a host.
            1 if !tls => request.fields.clear(),
            _ => {}
        }
        request.add_fields(rng);
        request.fields.push(("User-Agent".to_owned(), agent.to_owned()));
        if often(rng, 30) {
            request.make_http2(rng, world, flags);
        }
        request
    }

    pub fn is_http2(&self) -> bool {
        self.version == "2"
    }

    /// Makes it one over HTTP/2, if clients of that can send it at all.
    fn make_http2(&mut self, rng: &mut fastrand::Rng, world: &World, flags: &Flags) {
        let is_host = |(name, _): &&(String, String)| name == "Host";
        let Some((_, authority)) = self.fields.iter().find(is_host).cloned() else {
            return;
        };
        // There is no form of a target but this one, and no fragment.
        let Ok(target) = PathAndQuery::try_from(self.target.as_str()) else {
            return;
        };
        let mut fields: Vec<(String, String)> = Vec::new();
        match rng.u32(..20) {
            0 | 1 => fields.push(("host".to_owned(), authority.clone())),
            2 => fields.push(("host".to_owned(), authority.to_uppercase())),
            3 => fields.push(("host".to_owned(), one(rng, &world.hosts).clone())),
            4 => fields.extend(["a.test", "a.test"].map(|host| ("host".to_owned(), host.to_owned()))),
            _ => {}
        }
        let mut body = self.body;
        for (name, value) in &self.fields {
            match name.as_str() {
                // What is about a connection of HTTP/1.1 does not exist here.
                "Host" | "Connection" => {}
                "Transfer-Encoding" => body = "",
                // The h2 crate resets the streams of all others that do not fit the body.
                "Content-Length" if !matches!(value.as_str(), "" | "0" | "3") => {}
                _ => fields.push((name.to_lowercase(), value.clone())),
            }
        }
        let crumbs = match rng.u32(..20) {
            0..4 => rng.usize(1..4),
            4 => rng.usize(15..110),
            _ => 0,
        };
        fields.extend((0..crumbs).map(|number| ("cookie".to_owned(), format!("c{number}=1"))));
        if often(rng, 10) {
            fields.push(("te".to_owned(), "trailers".to_owned()));
        }
        let request = Self {
            tls: self.tls,
            server_name: self.server_name.clone(),
            proxied: self.proxied,
            method: self.method.clone(),
            target: target.as_str().to_owned(),
            version: "2",
            authority,
            fields,
            body,
        };
        // From four times the limit on, it is not an answer that a client gets, but the end of its connection.
        let is_far_too_large = flags.has_small_heads() && request.bytes().len() > 6000;
        if request.try_http2().is_some() && self.method != "CONNECT" && !is_far_too_large {
            *self = request;
        }
    }

    fn try_http2(&self) -> Option<http::Request<()>> {
        let scheme = if self.tls { "https" } else { "http" };
        let uri = http::Uri::builder().scheme(scheme).authority(self.authority.as_str());
        let uri = uri.path_and_query(self.target.as_str()).build().ok()?;
        let mut request = http::Request::builder().method(self.method.as_str()).uri(uri);
        for (name, value) in &self.fields {
            request = request.header(name, value.as_bytes());
        }
        request.version(http::Version::HTTP_2).body(()).ok()
    }

    /// Head and body of one over HTTP/2.
    pub fn http2(&self) -> (http::Request<()>, &'static str) {
        (self.try_http2().unwrap(), self.body)
    }

    fn add(&mut self, name: &str, value: impl Into<String>) {
        self.fields.push((name.to_owned(), value.into()));
    }

    fn add_fields(&mut self, rng: &mut fastrand::Rng) {
        if often(rng, 15) {
            self.add(
                "Expect",
                *one(rng, &["100-continue", "100-Continue", "foo", "", "100-continue, x"]),
            );
        }
        if often(rng, 15) {
            let names: Vec<String> = (0..70).map(|number| format!("x-{number}")).collect();
            let value = match rng.u32(..6) {
                0 => "close".to_owned(),
                1 => "keep-alive".to_owned(),
                2 => "x-narthex-hops, host".to_owned(),
                3 => names[..64].join(","),
                4 => names[..65].join(", "),
                _ => ",,close,, te".to_owned(),
            };
            self.add("Connection", value);
        }
        if often(rng, 15) {
            self.add(
                "X-Narthex-Hops",
                *one(rng, &["0", "1", "4", "5", "6", "255", "256", "x", "-1", ""]),
            );
        }
        if often(rng, 30) {
            self.add(
                "X-Forwarded-Proto",
                *one(rng, &["https", "http", "wss", "HTTPS", "x", "https, http", ""]),
            );
        }
        if often(rng, 15) {
            self.add(
                "X-Forwarded-For",
                *one(rng, &["192.0.2.1", "192.0.2.1, 127.0.0.2", "127.0.0.2", "x"]),
            );
        }
        if often(rng, 15) {
            self.add(
                "Forwarded",
                *one(
                    rng,
                    &[
                        "proto=https",
                        "for=192.0.2.1;proto=https",
                        "proto=http",
                        "for=x;proto=https;host=b.test",
                    ],
                ),
            );
        }
        match rng.u32(..100) {
            0 => (0..rng.usize(15..110)).for_each(|number| self.add(&format!("x-{number}"), "1")),
            1 => self.add("X-Long", "y".repeat(rng.usize(1000..40_000))),
            2 => self.add("Bad Name", "1"),
            3 => self.add("Bad-Value", "a\u{1}b"),
            4 => self.add("Name ", "1"),
            5 => self.add("X-Text", "é"),
            6 => {
                self.add("Content-Length", "3");
                self.body = "abc";
            }
            7 => self.add(
                "Content-Length",
                *one(rng, &["x", "", "-1", "99999999999999999999", "1, 1"]),
            ),
            8 => {
                self.add("Transfer-Encoding", "chunked");
                self.body = "3\r\nabc\r\n0\r\n\r\n";
            }
            9 => self.add(
                "Transfer-Encoding",
                *one(rng, &["gzip", "gzip, chunked", "identity", "xchunked"]),
            ),
            10 => {
                self.add("Content-Length", "0");
                self.add("Transfer-Encoding", "chunked");
            }
            11 => {
                self.add("Content-Length", "0");
                self.add("Content-Length", "0");
            }
            12 => self.add("Content-Type", "application/grpc"),
            _ => {}
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/{}\r\n", self.method, self.target, self.version).into_bytes();
        if self.is_http2() {
            bytes.extend_from_slice(format!(":authority: {}\r\n", self.authority).as_bytes());
        }
        for (name, value) in &self.fields {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(self.body.as_bytes());
        bytes
    }

    /// What a balancer says before the first byte.
    pub fn proxy_header(&self) -> Option<String> {
        let (client, to) = self.proxied?;
        Some(format!("PROXY TCP4 {client} {} 40000 {}\r\n", to.ip(), to.port()))
    }

    /// The same for `explain`.
    pub fn question(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        // An address is never named in a handshake.
        let base = match (
            &self.server_name,
            self.tls,
            self.is_http2() || self.fields.iter().any(|(name, _)| name == "Host"),
        ) {
            (Some(name), true, _) => format!("{scheme}://{name}"),
            (None, true, _) => format!("{scheme}://127.0.0.1"),
            (_, false, true) => format!("{scheme}://a.test"),
            (_, false, false) => String::new(),
        };
        let as_url = self.target.starts_with('/') && !self.target.contains('#');
        let target = if as_url { self.target.as_str() } else { "/" };
        let mut question = format!(
            "/api/v1/explain?url={}&method={}&version={}",
            escape(&format!("{base}{target}")),
            escape(&self.method),
            self.version
        );
        if !as_url {
            question += &format!("&target={}", escape(&self.target));
        }
        let from = self.proxied.map_or(IpAddr::from([127, 0, 0, 1]), |(client, _)| client);
        question += &format!("&from={from}");
        if let Some((_, to)) = self.proxied {
            question += &format!("&to={}", escape(&to.to_string()));
        }
        if self.is_http2() {
            question += &format!("&header={}", escape(&format!(":authority:{}", self.authority)));
        }
        for (name, value) in &self.fields {
            question += &format!("&header={}", escape(&format!("{name}:{value}")));
        }
        question
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(header) = self.proxy_header() {
            write!(f, "{header:?} ")?;
        }
        let name = self.server_name.as_deref().unwrap_or("no name");
        let came = if self.tls {
            format!("TLS for {name}")
        } else {
            "plain".to_owned()
        };
        let text = String::from_utf8_lossy(&self.bytes()).into_owned();
        writeln!(f, "{came}: {:?}", shorten(&text))
    }
}

fn target(rng: &mut fastrand::Rng, world: &World, method: &str) -> String {
    if method == "OPTIONS" && often(rng, 40) {
        return "*".to_owned();
    }
    if method == "CONNECT" && often(rng, 70) {
        return "a.test:443".to_owned();
    }
    if often(rng, 3) {
        return (*one(rng, &ODD_TARGETS)).to_owned();
    }
    let mut path = one(rng, &world.paths).clone();
    for _ in 0..rng.u32(..3) {
        path += match often(rng, 10) {
            true => *one(rng, &ODD_ENDINGS),
            false => *one(rng, &ENDINGS),
        };
    }
    match rng.u32(..100) {
        0 => path += &"/long".repeat(rng.usize(20..4000)),
        1..12 => path = path.replacen('a', "%61", 1),
        12..16 => path = path.replace('/', "//"),
        _ => {}
    }
    if often(rng, 20) {
        path += *one(rng, &QUERIES);
    }
    if often(rng, 8) {
        let host = match often(rng, 15) {
            true => (*one(rng, &ODD_HOSTS)).to_owned(),
            false => one(rng, &world.hosts).clone(),
        };
        let scheme = *one(rng, &["http", "https", "HTTP"]);
        let path = if often(rng, 15) { "" } else { &path };
        return format!("{scheme}://{host}{path}");
    }
    path
}

/// The beginning and the end of a text.
pub fn shorten(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    match letters.len() {
        0..2000 => text.to_owned(),
        length => letters[..1000]
            .iter()
            .chain(&['…'])
            .chain(&letters[length - 1000..])
            .collect(),
    }
}

fn escape(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            other => out += &format!("%{other:02X}"),
        }
    }
    out
}
