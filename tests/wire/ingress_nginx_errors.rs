//! Error pages as Ingresses of ingress-nginx ask for them.

use crate::ingress_nginx::nginx;
use crate::ingress_nginx_config::{FLAGS, global};
use crate::rig::{Answer, Pod, Reply, Rig, get, service_with};

const ALL: &[(&str, &str)] = &[("Prefix", "/")];
const DEFAULT: (&str, &str) = ("default-backend", "errors");

/// A pod, and a Service that makes pages.
fn rig(flags: &[&str], manifests: impl FnOnce() -> String) -> Rig {
    let all = [&["--drop-in", "ingress-nginx", "--shards", "1"], FLAGS, flags].concat();
    Rig::with(2, &all, |pods: &[Pod]| {
        service_with("web", &pods[..1], "") + &service_with("errors", &pods[1..], "") + &manifests()
    })
}

fn ask(rig: &Rig, request: &str) -> Answer {
    let method = request.split(' ').next().unwrap();
    rig.client().send(request).answer_to(method).expect("a reply")
}

fn get_from(rig: &Rig, host: &str, target: &str) -> Answer {
    ask(
        rig,
        &format!(
            "GET {target} HTTP/1.1\r\nHost: {host}\r\nAccept: text/html\r\nX-Request-Id: abc\r\nCookie: c=1\r\n\r\n"
        ),
    )
}

fn page(rig: &Rig, status: &str) {
    let text = format!("HTTP/1.1 {status}\r\nContent-Type: text/html\r\nX-Page: 1\r\nContent-Length: 5\r\n\r\nsorry");
    rig.pods[1].answers(Reply::text(&text));
}

fn pod(rig: &Rig, status: &str) {
    let text = format!("HTTP/1.1 {status}\r\nX-Pod: 1\r\nContent-Length: 3\r\n\r\npod");
    rig.pod().answers(Reply::text(&text));
}

#[test]
fn a_service_makes_the_pages_of_errors() {
    let rig = rig(&[], || {
        let errors = ("custom-http-errors", "404,503,418");
        nginx(
            "a.test",
            &[errors, DEFAULT, ("enable-cors", "true")],
            &[("Prefix", "/a")],
        ) + &nginx(
            "own.test",
            &[errors, DEFAULT, ("disable-proxy-intercept-errors", "true")],
            &[("Prefix", "/a")],
        ) + &nginx("none.test", &[errors], ALL)
            + &nginx("gone.test", &[errors, ("default-backend", "gone")], ALL)
    });
    page(&rig, "404 Not Found");
    pod(&rig, "418 I'm a teapot");
    let answer = get_from(&rig, "a.test", "/a/../a/x?y=z");
    assert_eq!((answer.status, &*answer.body), (404, &b"sorry"[..]), "{}", answer.head);
    for (name, value) in [
        ("x-page", Some("1")),
        ("x-pod", None),
        ("content-type", Some("text/html")),
        ("access-control-allow-origin", Some("*")),
        ("content-length", Some("5")),
    ] {
        assert_eq!(answer.field(name), value, "{name}: {}", answer.head);
    }
    let got = rig.pods[1].last();
    assert_eq!(got.line(), "GET / HTTP/1.1");
    for (name, value) in [
        ("host", "a.test"),
        ("x-code", "418"),
        ("x-format", "text/html"),
        ("x-original-uri", "/a/x?y=z"),
        ("x-namespace", "default"),
        ("x-ingress-name", "xa-test"),
        ("x-service-name", "web"),
        ("x-service-port", "80"),
    ] {
        assert_eq!(got.field(name), [value], "{name}: {}", got.text());
    }
    assert_eq!(
        answer.field("x-request-id"),
        Some(&*got.field("x-request-id")[0]),
        "the same id"
    );
    assert!(got.field("cookie").is_empty());
    // Statuses that are not named, and good ones, are the pod's own.
    for status in ["200 OK", "403 Forbidden"] {
        pod(&rig, status);
        let answer = get_from(&rig, "a.test", "/a");
        assert_eq!(
            (answer.field("x-pod"), answer.field("x-page")),
            (Some("1"), None),
            "{status}"
        );
    }
    // narthex's own errors too, also where those of pods stay.
    for host in ["a.test", "own.test"] {
        let answer = get_from(&rig, host, "/none");
        assert_eq!((answer.status, answer.field("x-page")), (404, Some("1")), "{host}");
    }
    pod(&rig, "418 I'm a teapot");
    assert_eq!(get_from(&rig, "own.test", "/a").field("x-pod"), Some("1"));
    let head = ask(&rig, "HEAD /a HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(
        (head.status, head.field("x-page"), head.field("content-length")),
        (404, Some("1"), Some("5"))
    );
    // The body of the request is not the page's.
    let post = "POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody";
    assert_eq!(ask(&rig, post).status, 404);
    assert_eq!(rig.pods[1].last().line(), "GET / HTTP/1.1");
    let got = rig.pods[1].last();
    assert!(got.field("content-length").is_empty() && got.text().ends_with("\r\n\r\n"));
    // Without a Service, or one that answers, the error stays as it was.
    for host in ["none.test", "gone.test"] {
        assert_eq!(get_from(&rig, host, "/").field("x-pod"), Some("1"), "{host}");
    }
    let (_, problems) = get(rig.admin, "/api/v1/diagnostics");
    assert!(problems.contains("there is no default backend"), "{problems}");
}

#[test]
fn without_a_usable_page_the_error_stays_as_it_was() {
    let rig = rig(&[], || {
        nginx(
            "a.test",
            &[("custom-http-errors", "500"), DEFAULT, ("proxy-read-timeout", "1")],
            ALL,
        )
    });
    pod(&rig, "500 Internal Server Error");
    let long = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n{}",
        "x".repeat(300_000)
    );
    for (name, reply) in [
        ("garbage", Reply::Last(b"garbage\r\n\r\n".to_vec())),
        ("nothing", Reply::Last(Vec::new())),
        (
            "half a body",
            Reply::Last(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx".to_vec()),
        ),
        ("too long", Reply::Last(long.into_bytes())),
        ("silence", Reply::Silence),
    ] {
        rig.pods[1].answers(reply);
        let answer = get_from(&rig, "a.test", "/");
        let wanted = (500, Some("1"), &b"pod"[..]);
        assert_eq!((answer.status, answer.field("x-pod"), &*answer.body), wanted, "{name}");
    }
    page(&rig, "200 OK");
    let answer = get_from(&rig, "a.test", "/");
    assert_eq!(
        (answer.status, &*answer.body),
        (200, &b"sorry"[..]),
        "the page says its status"
    );
}

#[test]
fn what_a_guard_decided_keeps_its_status() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: users}\ntype: Opaque\nstringData: {auth: 'ann:{PLAIN}p'}\n---\n";
    let rig = rig(&[], || {
        let with = |more: &[(&'static str, &'static str)]| {
            [&[("custom-http-errors", "401,403,429,503"), DEFAULT], more].concat()
        };
        let limit = [("limit-rpm", "1"), ("limit-burst-multiplier", "0")];
        secret.to_owned()
            + &global(&[("block-user-agents", "evil")])
            + &nginx(
                "basic.test",
                &with(&[("auth-type", "basic"), ("auth-secret", "users")]),
                ALL,
            )
            + &nginx("addresses.test", &with(&[("denylist-source-range", "127.0.0.1")]), ALL)
            + &nginx("limit.test", &with(&limit), ALL)
            + &nginx("closed.test", &with(&[("denylist-source-range", "x")]), ALL)
    });
    page(&rig, "200 OK");
    assert_eq!(get_from(&rig, "limit.test", "/").status, 200);
    for (host, status, paged) in [
        ("basic.test", 401, true),
        ("addresses.test", 403, true),
        ("limit.test", 503, true),
        ("closed.test", 503, false),
    ] {
        let answer = get_from(&rig, host, "/");
        assert_eq!(
            (answer.status, answer.field("x-page").is_some()),
            (status, paged),
            "{host}"
        );
        assert_eq!(answer.field("www-authenticate").is_some(), status == 401, "{host}");
    }
    let blocked = ask(&rig, "GET / HTTP/1.1\r\nHost: basic.test\r\nUser-Agent: evil\r\n\r\n");
    assert_eq!((blocked.status, blocked.field("x-page")), (403, Some("1")));
    assert_eq!(rig.pod().requests().len(), 1);
}

#[test]
fn the_config_map_and_a_flag_say_it_for_all() {
    let flags = ["--nginx-default-backend", "default/errors"];
    let rig = rig(&flags, || {
        global(&[("custom-http-errors", "'404,503'")])
            + &nginx("a.test", &[], &[("Prefix", "/a")])
            + &nginx("b.test", &[("custom-http-errors", "599")], &[("Prefix", "/a")])
            + &nginx("c.test", &[], ALL).replace("name: web", "name: gone")
    });
    page(&rig, "404 Not Found");
    pod(&rig, "404 Not Found");
    assert_eq!(get_from(&rig, "a.test", "/a").field("x-page"), Some("1"));
    assert_eq!(
        get_from(&rig, "b.test", "/a").field("x-pod"),
        Some("1"),
        "its own list counts"
    );
    page(&rig, "503 Service Unavailable");
    assert_eq!(get_from(&rig, "c.test", "/").field("x-page"), Some("1"));
    let got = rig.pods[1].last();
    assert_eq!(
        (got.field("x-code"), got.field("x-service-name")),
        (vec!["503".to_owned()], vec!["gone".to_owned()])
    );
    // It also answers what no rule lists, as any backend does.
    page(&rig, "200 OK");
    let answer = get_from(&rig, "a.test", "/none");
    assert_eq!((answer.status, answer.field("x-page")), (200, Some("1")));
    assert_eq!(rig.pods[1].last().line(), "GET /none HTTP/1.1");
}
