//! Other Services that narthex's own annotations name: for copies of requests and for error pages. And the pace of replies.

use crate::native::{ALL, native, problems};
use crate::rig::{Answer, Pod, Reply, Rig, eventually, get, service_with};
use std::time::Instant;

/// A pod, and another Service.
fn rig(manifests: impl FnOnce() -> String) -> Rig {
    Rig::with(2, &["--shards", "1"], |pods: &[Pod]| {
        service_with("web", &pods[..1], "") + &service_with("other", &pods[1..], "") + &manifests()
    })
}

fn ask(rig: &Rig, host: &str) -> Answer {
    let request = format!("POST /a?b=c HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3\r\n\r\nabc");
    rig.client().send(request).answer()
}

#[test]
fn another_service_gets_copies() {
    let rig = rig(|| {
        let to = ("mirror-service", "other");
        native("a.test", &[to, ("strip-prefix", "/a")], ALL)
            + &native("b.test", &[to, ("mirror-body", "false")], ALL)
            + &native("none.test", &[to, ("mirror-share", "0")], ALL)
            + &native("gone.test", &[("mirror-service", "gone:80")], ALL)
            + &native("wrong.test", &[("mirror-service", "a/b"), ("mirror-share", "5")], ALL)
    });
    let copies = || rig.pods[1].requests();
    assert_eq!(ask(&rig, "none.test").status, 200);
    assert_eq!(ask(&rig, "gone.test").status, 200);
    assert_eq!(ask(&rig, "a.test").status, 200);
    eventually("the copy comes", || (copies().len() == 1).then_some(()));
    let copy = rig.pods[1].last();
    assert_eq!(copy.line(), "POST /?b=c HTTP/1.1");
    assert_eq!(copy.field("host"), ["a.test"]);
    assert!(copy.text().ends_with("abc"), "{}", copy.text());
    assert_eq!(ask(&rig, "b.test").status, 200);
    eventually("the second copy comes", || (copies().len() == 2).then_some(()));
    assert!(!rig.pods[1].last().text().ends_with("abc"));
    assert_eq!(ask(&rig, "wrong.test").status, 200);
    assert!(problems(&rig, "gone.test").contains("no copies of requests can be sent"));
    let said = problems(&rig, "wrong.test");
    assert!(said.contains("it does nothing without mirror-service"), "{said}");
    let (_, explained) = get(rig.admin, "/api/v1/explain?url=http://a.test/");
    assert!(explained.contains("mirror"), "{explained}");
}

#[test]
fn another_service_makes_error_pages() {
    let rig = rig(|| {
        let from = ("error-pages-service", "other:80");
        native("a.test", &[("error-pages", "404,503"), from], ALL)
            + &native(
                "own.test",
                &[("error-pages", "404,503"), from, ("error-pages-of-pods", "false")],
                ALL,
            )
            + &native(
                "guard.test",
                &[("error-pages", "403"), from, ("deny-addresses", "127.0.0.1")],
                ALL,
            )
            + &native("lone.test", &[("error-pages", "404")], ALL)
            + &native("idle.test", &[from], ALL)
            + &native(
                "gone.test",
                &[("error-pages", "404"), ("error-pages-service", "gone")],
                ALL,
            )
            + &native("wrong.test", &[("error-pages", "200"), from], ALL)
    });
    rig.pod()
        .answers(Reply::text("HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\npod"));
    rig.pods[1].answers(Reply::text(
        "HTTP/1.1 200 OK\r\nX-Page: 1\r\nContent-Length: 5\r\n\r\nsorry",
    ));
    let answer = ask(&rig, "a.test");
    assert_eq!(
        (&*answer.body, answer.field("x-page")),
        (&b"sorry"[..], Some("1")),
        "{}",
        answer.head
    );
    let got = rig.pods[1].last();
    assert_eq!(
        (got.field("x-code"), got.field("x-original-uri")),
        (vec!["404".to_owned()], vec!["/a?b=c".to_owned()])
    );
    for host in ["own.test", "lone.test", "idle.test", "gone.test", "wrong.test"] {
        let answer = ask(&rig, host);
        assert_eq!((answer.status, &*answer.body), (404, &b"pod"[..]), "{host}");
    }
    let answer = ask(&rig, "guard.test");
    assert_eq!(
        (answer.status, &*answer.body),
        (403, &b"sorry"[..]),
        "a guard keeps its status"
    );
    for (host, why) in [
        ("lone.test", "it needs error-pages-service"),
        ("idle.test", "it does nothing without error-pages"),
        ("gone.test", "no error pages can be had"),
        ("wrong.test", "is not a status from 400 to 599"),
    ] {
        let said = problems(&rig, host);
        assert!(said.contains(why), "{host}: {said}");
    }
}

#[test]
fn replies_have_a_pace() {
    let rig = rig(|| {
        native("a.test", &[("reply-rate", "8KiB"), ("reply-rate-after", "8KiB")], ALL)
            + &native("lone.test", &[("reply-rate-after", "8KiB")], ALL)
    });
    let body = "x".repeat(16 << 10);
    rig.pod().answers(Reply::text(&format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )));
    let began = Instant::now();
    let answer = ask(&rig, "a.test");
    assert_eq!((answer.status, answer.body.len()), (200, body.len()));
    // At least: how much longer depends on the machine.
    assert!(began.elapsed().as_millis() >= 500, "{:?}", began.elapsed());
    assert_eq!(ask(&rig, "lone.test").status, 200);
    assert!(problems(&rig, "lone.test").contains("it does nothing without reply-rate"));
}
