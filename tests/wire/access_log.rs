//! The access log: a line for each request, whatever becomes of it.

use crate::h2_rig;
use crate::rig::{Reply, Rig, eventually, ingress, service};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

const GET: &str = "GET /x?y=1 HTTP/1.1\r\nHost: a.test\r\nUser-Agent: test\r\nCookie: secret=1\r\n\r\n";

/// A folder for the log, which is there before narthex is.
pub struct Log {
    _folder: tempfile::TempDir,
    pub path: PathBuf,
}

impl Log {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        Self { _folder: folder, path }
    }

    pub fn flags<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let mut flags = vec!["--access-log", "json", "--access-log-file", self.path.to_str().unwrap()];
        flags.extend(more);
        flags
    }

    fn read(path: &Path) -> Vec<Value> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        // The last may still be on its way.
        let whole = text.lines().filter(|line| line.ends_with('}'));
        whole.map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub fn line(&self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        eventually(what, || Self::read(&self.path).into_iter().find(|line| is_it(line)))
    }

    pub fn status(&self, status: u16) -> Value {
        self.line(&format!("a line with {status}"), |line| line["status"] == status)
    }
}

fn signal(rig: &Rig, name: &str) {
    let sent = Command::new("kill").args([name, &rig.child.id().to_string()]).status();
    assert!(sent.unwrap().success());
}

#[test]
fn the_scheme_is_the_one_a_trusted_proxy_names() {
    let log = Log::new();
    let rig = Rig::new(1, &log.flags(&["--trusted-proxies", "127.0.0.1"]));
    for (path, fields, scheme) in [
        ("/one", "X-Forwarded-Proto: https\r\n", "https"),
        ("/two", "Forwarded: proto=wss\r\n", "https"),
        ("/three", "", "http"),
    ] {
        let mut client = rig.client();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n"));
        assert_eq!(client.answer().status, 200);
        assert_eq!(
            log.line(path, |line| line["path"] == path)["scheme"],
            scheme,
            "{fields}"
        );
    }
}

#[test]
fn a_request_is_told_with_all_that_is_known() {
    let log = Log::new();
    let rig = Rig::new(
        1,
        &log.flags(&["--access-log-headers", "User-Agent,Cookie,Set-Cookie,X-Pod"]),
    );
    rig.pod().answers(Reply::text(
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\nset-cookie: secret=2\r\nx-pod: 1\r\n\r\nok\n",
    ));
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let mut client = rig.client();
    client.send(format!(
        "POST /x?y=1 HTTP/1.1\r\nHost: a.test\r\nUser-Agent: test\r\nCookie: secret=1\r\nContent-Length: 5\r\n\
         traceparent: 00-{trace}-b7ad6b7169203331-01\r\n\r\nhello"
    ));
    let answer = client.answer();
    assert_eq!(answer.status, 200);
    let line = log.status(200);
    for (name, value) in [
        ("client", "127.0.0.1"),
        ("method", "POST"),
        ("scheme", "http"),
        ("host", "a.test"),
        ("path", "/x"),
        ("query", "y=1"),
        ("protocol", "HTTP/1.1"),
        ("route", "a.test/"),
        ("origin", "Ingress default/web spec.rules[0].http.paths[0]"),
        ("service", "default/web:80"),
        ("endpoint", &rig.pod().address.to_string()),
        ("pod", "p0"),
        ("trace_id", trace),
    ] {
        assert_eq!(line[name], value, "{line}");
    }
    for (name, value) in [("bytes_in", 5), ("bytes_out", 3), ("retries", 0)] {
        assert_eq!(line[name], value, "{line}");
    }
    for name in ["duration_ms", "connect_ms", "backend_ms"] {
        assert!(line[name].as_f64().unwrap() > 0.0, "{name}: {line}");
    }
    assert!(line["duration_ms"].as_f64() >= line["backend_ms"].as_f64(), "{line}");
    assert_eq!(
        line["request_id"].as_str(),
        rig.pod().last().field("x-request-id").first().map(String::as_str)
    );
    assert_eq!(
        line["headers"],
        serde_json::json!({"user-agent": "test", "cookie": "redacted"})
    );
    assert_eq!(
        line["response_headers"],
        serde_json::json!({"set-cookie": "redacted", "x-pod": "1"})
    );
    assert!(
        line["reason"].is_null() && line["time"].as_str().unwrap().ends_with('Z'),
        "{line}"
    );
    assert!(!std::fs::read_to_string(&log.path).unwrap().contains("secret="));
    // The second goes over the same connection to the pod.
    client.send(GET);
    assert_eq!(client.answer().status, 200);
    let again = log.line("the second line", |line| line["method"] == "GET");
    assert!(again["connect_ms"].is_null(), "{again}");
}

#[test]
fn what_never_reaches_a_pod_is_told_too() {
    let log = Log::new();
    let rig = Rig::with(1, &log.flags(&["--head-timeout", "1s", "--max-head", "4KiB"]), |pods| {
        service("web", &[(pods[0].address, "p0")])
            + &ingress("web", "a.test", "/", "web", "")
            + &ingress("gone", "gone.test", "/", "nowhere", "")
    });
    for (request, status, reason) in [
        ("GET / HTTP/1.1\r\nHost: b.test\r\n\r\n".to_owned(), 404, "no_route"),
        (
            "GET / HTTP/1.1\r\nHost: gone.test\r\n\r\n".to_owned(),
            503,
            "no_backend",
        ),
        ("GET / HTTP/1.1\r\nHost : a.test\r\n\r\n".to_owned(), 400, "malformed"),
        (
            format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(8000)),
            431,
            "head_too_large",
        ),
        ("GET / HTTP/1.1\r\nHost: a.te".to_owned(), 408, "head_timeout"),
    ] {
        let mut client = rig.client();
        assert_eq!(client.send(&request).answer().status, status, "{request}");
        let line = log.status(status);
        assert_eq!(
            (&line["reason"], line["client"].as_str()),
            (&reason.into(), Some("127.0.0.1")),
            "{line}"
        );
        assert!(line["request_id"].as_str().is_some_and(|id| id.len() == 32), "{line}");
        assert_eq!(line["method"].is_null(), ![404, 503].contains(&status), "{line}");
    }
    let gone = log.status(503);
    assert_eq!(
        (&gone["origin"], gone["side"].as_str()),
        (
            &"Ingress default/gone spec.rules[0].http.paths[0]".into(),
            Some("upstream")
        )
    );
    assert!(log.status(400)["cause"].is_string(), "which rule it breaks");
}

#[test]
fn who_leaves_early_is_told() {
    let log = Log::new();
    let rig = Rig::new(1, &log.flags(&[]));
    rig.pod().answers(Reply::Silence);
    let mut client = rig.client();
    client.send(GET);
    assert_eq!(rig.pod().last().line(), "GET /x?y=1 HTTP/1.1");
    // With a reset: an end of sending is no end of waiting.
    socket2::SockRef::from(&client.stream)
        .set_linger(Some(std::time::Duration::ZERO))
        .unwrap();
    drop(client);
    let line = log.status(499);
    assert_eq!(
        (&line["reason"], &line["pod"]),
        (&"client_gone".into(), &"p0".into()),
        "{line}"
    );
    // And a pod that breaks off.
    rig.pod().answers(Reply::Last(
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc".to_vec(),
    ));
    let mut client = rig.client();
    client.send("GET /broken HTTP/1.1\r\nHost: a.test\r\n\r\n");
    client.rest();
    let line = log.line("the pod broke off", |line| line["path"] == "/broken");
    assert_eq!(
        (&line["reason"], &line["bytes_out"]),
        (&"broken_off".into(), &3.into()),
        "{line}"
    );
}

#[test]
fn http2_has_lines_too() {
    let log = Log::new();
    let rig = Rig::new(1, &log.flags(&[]));
    h2_rig::run(async {
        let stream = tokio::net::TcpStream::connect(rig.http).await.unwrap();
        let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let two = http::Request::get("http://a.test/two");
        // Refused before anything looks for a route.
        let other = http::Request::get("http://a.test/other").header("host", "b.test");
        for (request, status) in [(two, 200), (other, 400)] {
            let (reply, _) = client.send_request(request.body(()).unwrap(), true).unwrap();
            assert_eq!(reply.await.unwrap().status(), status);
        }
    });
    let line = log.line("a line of HTTP/2", |line| line["path"] == "/two");
    assert_eq!(
        (&line["protocol"], &line["host"]),
        (&"HTTP/2.0".into(), &"a.test".into()),
        "{line}"
    );
    let refused = log.status(400);
    assert_eq!(
        (&refused["reason"], &refused["path"]),
        (&"host_mismatch".into(), &"/other".into()),
        "{refused}"
    );
}

#[test]
fn the_file_is_opened_anew_when_told_to() {
    let log = Log::new();
    let rig = Rig::new(1, &log.flags(&[]));
    let ask = |path: &str| {
        let mut client = rig.client();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n"));
        assert_eq!(client.answer().status, 200);
    };
    ask("/before");
    log.line("the first line", |line| line["path"] == "/before");
    let old = log.path.with_extension("log.1");
    std::fs::rename(&log.path, &old).unwrap();
    ask("/between");
    eventually("it is still written to", || {
        Log::read(&old).into_iter().find(|line| line["path"] == "/between")
    });
    signal(&rig, "-USR1");
    eventually("there is a new file", || log.path.exists().then_some(()));
    ask("/after");
    log.line("a line in the new file", |line| line["path"] == "/after");
    assert_eq!(Log::read(&old).len(), 2);
    assert_eq!(rig.counter("access_log_lines_dropped_total"), 0);
}

#[test]
fn the_last_lines_are_written_before_the_end() {
    let log = Log::new();
    let mut rig = Rig::new(1, &log.flags(&[]));
    let mut clients: Vec<_> = (0..50).map(|_| rig.client()).collect();
    for client in &mut clients {
        client.send(GET);
    }
    for client in &mut clients {
        assert_eq!(client.answer().status, 200);
    }
    signal(&rig, "-TERM");
    assert!(rig.child.wait().unwrap().success());
    assert_eq!(Log::read(&log.path).len(), 50);
}

#[test]
fn without_a_log_the_signal_does_nothing_and_only_picked_requests_have_lines() {
    let rig = Rig::new(1, &[]);
    signal(&rig, "-USR1");
    assert_eq!(rig.client().send(GET).answer().status, 200);
    let log = Log::new();
    let rig = Rig::new(1, &log.flags(&["--access-log-status", "404,500-599"]));
    assert_eq!(rig.client().send(GET).answer().status, 200);
    assert_eq!(
        rig.client()
            .send("GET / HTTP/1.1\r\nHost: no.test\r\n\r\n")
            .answer()
            .status,
        404
    );
    log.status(404);
    assert_eq!(Log::read(&log.path).len(), 1);
}
