//! `narthex tap`: requests as they end, to those who ask for them.

use crate::rig::{Reply, Rig, eventually, free_address, get, ingress, service};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

/// A `narthex tap` in JSON, with what it has printed.
struct Tap {
    child: Child,
    lines: Arc<Mutex<Vec<Value>>>,
}

impl Tap {
    /// Waits until it taps: a request that ended before is not shown.
    fn start(rig: &Rig, flags: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_narthex"))
            .args(["tap", "--output", "json", "--admin", &rig.admin.to_string()])
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines: Arc<Mutex<Vec<Value>>> = Arc::default();
        let (told, output) = (lines.clone(), BufReader::new(child.stdout.take().unwrap()));
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                told.lock().unwrap().push(serde_json::from_str(&line).unwrap());
            }
        });
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert!(line.starts_with("showing requests of "), "{line}");
        Self { child, lines }
    }

    fn shows(&self, count: usize) -> Vec<Value> {
        eventually("requests are shown", || {
            let lines = self.lines.lock().unwrap();
            (lines.len() >= count).then(|| lines.clone())
        })
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ask(rig: &Rig, host: &str, target: &str, fields: &str) -> u16 {
    let mut client = rig.client();
    client.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"));
    client.answer().status
}

/// `a.test` has a pod that works, `dead.test` one that does not listen.
fn rig(flags: &[&str]) -> Rig {
    Rig::with(1, flags, |pods| {
        service("web", &[(pods[0].address, "web-1")])
            + &ingress("web", "a.test", "/", "web", "")
            + &service("dead", &[(free_address(), "dead-1")])
            + &ingress("dead", "dead.test", "/", "dead", "")
    })
}

#[test]
fn requests_are_shown_with_route_pod_and_reason_and_without_secrets() {
    let rig = rig(&[]);
    let tap = Tap::start(&rig, &[]);
    let secret = "Authorization: Bearer s3cret\r\nCookie: session=s3cret\r\n";
    assert_eq!(ask(&rig, "a.test", "/x?token=s3cret", secret), 200);
    assert_eq!(ask(&rig, "dead.test", "/", secret), 502);
    assert_eq!(ask(&rig, "nobody.test", "/", secret), 404);
    let shown = tap.shows(3);
    let of = |host: &str| shown.iter().find(|one| one["host"] == host).unwrap();
    let good = of("a.test");
    assert_eq!(
        (good["status"].as_u64(), good["path"].as_str(), good["method"].as_str()),
        (Some(200), Some("/x"), Some("GET"))
    );
    assert_eq!(
        (good["service"].as_str(), good["reason"].as_str()),
        (Some("default/web:80"), None),
        "{good}"
    );
    assert_eq!(
        (
            good["attempts"][0]["pod"].as_str(),
            good["attempts"][0]["status"].as_u64()
        ),
        (Some("web-1"), Some(200))
    );
    assert!(
        good["total_ms"].as_f64().unwrap() > 0.0 && good["attempts"][0]["response_ms"].is_f64(),
        "{good}"
    );
    assert!(good["origin"].as_str().unwrap().contains("default/web"), "{good}");
    let dead = of("dead.test");
    assert_eq!(
        (dead["status"].as_u64(), dead["reason"].as_str(), dead["side"].as_str()),
        (Some(502), Some("connect"), Some("upstream"))
    );
    assert_eq!(dead["attempts"][0]["pod"], "dead-1");
    assert_eq!(
        (
            of("nobody.test")["status"].as_u64(),
            of("nobody.test")["attempts"].as_array().unwrap().len()
        ),
        (Some(404), 0)
    );
    assert!(!Value::from(shown.clone()).to_string().contains("s3cret"), "{shown:?}");
}

#[test]
fn only_what_fits_the_filter_is_shown() {
    let rig = rig(&[]);
    let failed = Tap::start(&rig, &["--status", "5xx"]);
    let place = Tap::start(&rig, &["a.test/api"]);
    let pod = Tap::start(&rig, &["--pod", "web", "--count", "1"]);
    let slow = Tap::start(&rig, &["--slower", "200ms"]);
    for (host, target) in [
        ("dead.test", "/api"),
        ("a.test", "/"),
        ("A.test:80", "/api/users"),
        ("nobody.test", "/api"),
    ] {
        ask(&rig, host, target, "");
    }
    rig.pod().takes(std::time::Duration::from_millis(300));
    ask(&rig, "a.test", "/slow", "");
    rig.pod().takes(std::time::Duration::ZERO);
    // What comes last shows that nothing else comes before it.
    rig.pod().answers(Reply::text(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
    ));
    ask(&rig, "a.test", "/api/last", "");
    let shown = |tap: &Tap, count: usize| -> Vec<String> {
        let of = |one: &Value| format!("{} {}", one["host"].as_str().unwrap(), one["path"].as_str().unwrap());
        tap.shows(count).iter().map(of).collect()
    };
    assert_eq!(shown(&failed, 2), ["dead.test /api", "a.test /api/last"]);
    assert_eq!(shown(&place, 2), ["A.test:80 /api/users", "a.test /api/last"]);
    assert_eq!(shown(&pod, 1), ["a.test /"]);
    assert_eq!(shown(&slow, 1), ["a.test /slow"]);
    for wrong in [
        "status=teapot",
        "slower=soon",
        "path=api",
        "rate=0",
        "route=x",
        "scope=cluster",
        "host=a&host=b",
    ] {
        assert_eq!(get(rig.admin, &format!("/api/v1/tap?{wrong}")).0, 400, "{wrong}");
    }
}

#[test]
fn requests_that_are_left_out_of_the_access_log_are_not_shown() {
    let rig = Rig::with(1, &["--shards", "1"], |pods| {
        service("web", &[(pods[0].address, "web-1")])
            + &ingress("web", "a.test", "/", "web", "")
            + &ingress(
                "quiet",
                "quiet.test",
                "/",
                "web",
                ", annotations: {narthex.io/access-log: 'false'}",
            )
    });
    let tap = Tap::start(&rig, &[]);
    assert_eq!(ask(&rig, "quiet.test", "/", ""), 200);
    // What comes last shows that nothing else comes before it.
    assert_eq!(ask(&rig, "a.test", "/", ""), 200);
    assert_eq!(tap.shows(1)[0]["host"], "a.test");
}

#[test]
fn the_token_is_asked_for_and_the_number_of_taps_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "open sesame\n").unwrap();
    let rig = rig(&["--admin-token-file", file.to_str().unwrap()]);
    let begin = |token: &str| {
        let mut stream = TcpStream::connect(rig.admin).unwrap();
        stream.set_read_timeout(Some(crate::rig::PATIENCE)).unwrap();
        write!(stream, "GET /api/v1/tap HTTP/1.1\r\nHost: {}\r\n{token}\r\n", rig.admin).unwrap();
        let mut line = String::new();
        BufReader::new(stream.try_clone().unwrap())
            .read_line(&mut line)
            .unwrap();
        (line.split(' ').nth(1).unwrap().parse::<u16>().unwrap(), stream)
    };
    assert_eq!(begin("").0, 401);
    let token = "Authorization: Bearer open sesame\r\n";
    let taps: Vec<_> = (0..8).map(|_| begin(token)).collect();
    assert!(taps.iter().all(|(status, _)| *status == 200));
    assert_eq!(begin(token).0, 503);
    drop(taps);
    eventually("there is room again", || (begin(token).0 == 200).then_some(()));
}
