//! Copies of requests, and the pace of replies, as Ingresses of ingress-nginx ask for them.

use crate::ingress_nginx::nginx;
use crate::rig::{Answer, Pod, Reply, Rig, eventually, get, service_with};
use std::time::{Duration, Instant};

const ALL: &[(&str, &str)] = &[("Prefix", "/")];

/// A pod, and a Service that gets copies.
fn rig(manifests: impl FnOnce() -> String) -> Rig {
    let flags = ["--drop-in", "ingress-nginx", "--shards", "1"];
    Rig::with(2, &flags, |pods: &[Pod]| {
        service_with("web", &pods[..1], "") + &service_with("copies", &pods[1..], "") + &manifests()
    })
}

fn send(rig: &Rig, request: &str) -> Answer {
    rig.client().send(request).answer()
}

fn copies(rig: &Rig) -> &Pod {
    &rig.pods[1]
}

#[test]
fn another_service_gets_a_copy_of_each_request() {
    let rig = rig(|| {
        let to = |url: &'static str| ("mirror-target", url);
        nginx("a.test", &[to("http://copies.default.svc$request_uri")], ALL)
            + &nginx(
                "b.test",
                &[
                    to("http://copies.default.svc:80/x?u=$uri"),
                    ("mirror-host", "m.test"),
                    ("mirror-request-body", "off"),
                ],
                ALL,
            )
            + &nginx(
                "c.test",
                &[to("http://copies.default.svc"), ("permanent-redirect", "/y")],
                &[("Exact", "/x")],
            )
            + &nginx("d.test", &[to("http://$host/")], ALL)
    });
    copies(&rig).answers(Reply::text(
        "HTTP/1.1 500 Internal Server Error\r\nX-Copy: 1\r\nContent-Length: 4\r\n\r\ncopy",
    ));
    let request = "POST /p/../q?y=z HTTP/1.1\r\nHost: a.test\r\nX-Any: 1\r\nConnection: X-Gone\r\nX-Gone: 1\r\n\
                   Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    let answer = send(&rig, request);
    assert_eq!((answer.status, answer.field("x-copy")), (200, None));
    let copy = copies(&rig).last();
    assert_eq!(copy.line(), "POST /q?y=z HTTP/1.1");
    for (name, value) in [
        ("host", "copies.default.svc"),
        ("x-any", "1"),
        ("x-forwarded-host", "a.test"),
        ("x-forwarded-for", "127.0.0.1"),
        ("content-length", "5"),
        ("x-narthex-hops", "1"),
    ] {
        assert_eq!(copy.field(name), [value], "{name}: {}", copy.text());
    }
    for gone in ["transfer-encoding", "x-gone", "connection"] {
        assert!(copy.field(gone).is_empty(), "{gone}: {}", copy.text());
    }
    assert!(copy.text().ends_with("\r\n\r\nabcde"), "{}", copy.text());
    let id = copy.field("x-request-id");
    assert_eq!(id, rig.pod().last().field("x-request-id"));
    // Without a body, a request without one has no length.
    assert_eq!(send(&rig, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").status, 200);
    let copy = eventually("a copy", || copies(&rig).requests().get(1).cloned());
    assert_eq!(
        (copy.line().as_str(), copy.field("content-length").len()),
        ("GET / HTTP/1.1", 0)
    );
    let with_length = "POST /a%20b HTTP/1.1\r\nHost: b.test\r\nContent-Length: 3\r\n\r\nabc";
    assert_eq!(send(&rig, with_length).status, 200);
    let copy = eventually("a copy", || copies(&rig).requests().get(2).cloned());
    assert_eq!(
        (copy.line().as_str(), copy.field("host")),
        ("POST /x?u=/a%20b HTTP/1.1", vec!["m.test".to_owned()])
    );
    assert!(copy.field("content-length").is_empty() && copy.text().ends_with("\r\n\r\n"));
    assert_eq!(
        send(&rig, "GET /x HTTP/1.1\r\nHost: c.test\r\n\r\n").status,
        301,
        "what no pod gets is not copied"
    );
    assert_eq!(send(&rig, "GET /x HTTP/1.1\r\nHost: d.test\r\n\r\n").status, 200);
    eventually("all are counted", || {
        (rig.counter("mirrored_requests_total") == 3).then_some(())
    });
    assert_eq!(
        (
            copies(&rig).requests().len(),
            rig.counter("mirrored_requests_lost_total")
        ),
        (3, 0)
    );
    let (_, problems) = get(rig.admin, "/api/v1/diagnostics");
    assert!(problems.contains("has a variable in its host"), "{problems}");
}

#[test]
fn the_original_never_waits_and_lost_copies_are_counted() {
    let rig = rig(|| {
        let to = ("mirror-target", "http://copies.default.svc$request_uri");
        nginx("a.test", &[to, ("proxy-body-size", "0")], ALL)
            + &nginx("gone.test", &[("mirror-target", "http://gone.default.svc/")], ALL)
    });
    let lost = || rig.counter("mirrored_requests_lost_total");
    copies(&rig).answers(Reply::Silence);
    // More than may be under way on a shard.
    for _ in 0..140 {
        assert_eq!(send(&rig, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").status, 200);
    }
    assert_eq!((lost(), rig.counter("mirrored_requests_total")), (12, 0));
    // A body that is longer than a copy may have.
    let rig = rig_of_long();
    let lost = || rig.counter("mirrored_requests_lost_total");
    let mut long = format!(
        "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n",
        (1 << 20) + 1
    )
    .into_bytes();
    long.resize(long.len() + (1 << 20) + 1, b'x');
    assert_eq!(rig.client().send(long).answer().status, 200);
    eventually("it is lost", || (lost() == 1).then_some(()));
    assert!(copies(&rig).requests().is_empty());
    // Nobody to send it to.
    assert_eq!(send(&rig, "GET / HTTP/1.1\r\nHost: gone.test\r\n\r\n").status, 200);
    eventually("it is lost", || (lost() == 2).then_some(()));
    copies(&rig).answers(Reply::Last(Vec::new()));
    assert_eq!(send(&rig, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").status, 200);
    eventually("it is lost", || (lost() == 3).then_some(()));
}

fn rig_of_long() -> Rig {
    rig(|| {
        let to = ("mirror-target", "http://copies.default.svc$request_uri");
        nginx("a.test", &[to, ("proxy-body-size", "0")], ALL)
            + &nginx("gone.test", &[("mirror-target", "http://gone.default.svc/")], ALL)
    })
}

#[test]
fn a_mirror_of_itself_ends() {
    let rig = rig(|| {
        nginx(
            "a.test",
            &[("mirror-target", "http://web.default.svc/"), ("mirror-host", "a.test")],
            ALL,
        )
    });
    assert_eq!(send(&rig, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").status, 200);
    eventually("the copy", || {
        (rig.counter("mirrored_requests_total") == 1).then_some(())
    });
    assert_eq!(rig.pod().requests().len(), 2);
}

#[test]
fn a_reply_is_sent_at_its_pace_and_others_do_not_wait() {
    let rig = rig(|| {
        nginx("slow.test", &[("limit-rate", "8"), ("limit-rate-after", "16")], ALL) + &nginx("a.test", &[], ALL)
    });
    let body = "x".repeat(24 << 10);
    rig.pod().answers(Reply::text(&format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )));
    let began = Instant::now();
    let mut slow = rig.client();
    slow.send("GET / HTTP/1.1\r\nHost: slow.test\r\n\r\n");
    assert_eq!(
        send(&rig, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").body.len(),
        body.len()
    );
    let answer = slow.answer();
    assert_eq!(answer.body.len(), body.len());
    // 24 KiB without the first 16, less what is sent at once, at 8 KiB a second. It may take longer, but never less.
    let least = Duration::from_millis(700);
    assert!(began.elapsed() >= least, "{:?}", began.elapsed());
    // Without a known length too.
    let chunks = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4800\r\n{}\r\n0\r\n\r\n",
        "x".repeat(0x4800)
    );
    rig.pod().answers(Reply::text(&chunks));
    let answer = slow.send("GET / HTTP/1.1\r\nHost: slow.test\r\n\r\n").answer();
    let data = answer.body.iter().filter(|byte| **byte == b'x').count();
    assert_eq!(data, 0x4800, "chunks stand between");
}
