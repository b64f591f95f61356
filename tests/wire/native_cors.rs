//! Requests from other origins by narthex's own annotations (Fetch standard, section 3.2).

use crate::ingress_nginx::ask;
use crate::native::{ALL, native, problems, rig};
use crate::rig::{Answer, Reply, Rig};

fn said(answer: &Answer) -> Vec<(String, String)> {
    let lines = answer.head.lines().filter_map(|line| line.split_once(": "));
    let lines = lines.map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    let mut all: Vec<_> = lines
        .filter(|(name, _)| name.starts_with("access-control-") || name == "vary")
        .map(|(name, value)| (name.replace("access-control-", ""), value))
        .collect();
    all.sort();
    all
}

fn is(answer: &Answer, wanted: &[(&str, &str)]) {
    let wanted: Vec<_> = wanted
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    assert_eq!(said(answer), wanted, "{}", answer.head);
}

fn preflight(rig: &Rig, host: &str, origin: &str) -> Answer {
    let fields = [("Origin", origin), ("Access-Control-Request-Method", "PUT")];
    ask(rig, "OPTIONS", host, "/", &fields)
}

#[test]
fn preflight_requests_are_answered_and_replies_say_what_holds() {
    let rig = rig(&[], || {
        native(
            "some.test",
            &[
                ("cors-allow-origin", "https://x.test, https://*.y.test"),
                ("cors-allow-credentials", "true"),
                ("cors-allow-methods", "GET, PUT"),
                ("cors-allow-headers", "X-A"),
                ("cors-expose-headers", "X-B"),
                ("cors-max-age", "60"),
            ],
            ALL,
        ) + &native("any.test", &[("cors-allow-origin", "*")], ALL)
    });
    rig.pod().answers(Reply::text(
        "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: https://pod.test\r\nAccess-Control-Allow-Credentials: true\r\n\
         Vary: Accept-Encoding\r\nContent-Length: 0\r\n\r\n",
    ));
    let answer = preflight(&rig, "some.test", "https://x.test");
    assert_eq!(answer.status, 204);
    is(
        &answer,
        &[
            ("allow-credentials", "true"),
            ("allow-headers", "X-A"),
            ("allow-methods", "GET, PUT"),
            ("allow-origin", "https://x.test"),
            ("max-age", "60"),
            ("vary", "Origin"),
        ],
    );
    // No pod is asked what an origin may do that is not named.
    let answer = preflight(&rig, "some.test", "https://evil.test");
    assert_eq!(answer.status, 204);
    is(&answer, &[("vary", "Origin")]);
    is(
        &preflight(&rig, "any.test", "https://evil.test"),
        &[
            (
                "allow-headers",
                "Accept, Authorization, Content-Type, Range, X-Requested-With",
            ),
            ("allow-methods", "GET, HEAD, POST, PUT, PATCH, DELETE"),
            ("allow-origin", "*"),
            ("max-age", "600"),
        ],
    );
    assert!(rig.pod().requests().is_empty());
    let answer = ask(&rig, "GET", "some.test", "/", &[("Origin", "https://b.y.test")]);
    is(
        &answer,
        &[
            ("allow-credentials", "true"),
            ("allow-origin", "https://b.y.test"),
            ("expose-headers", "X-B"),
            ("vary", "Accept-Encoding"),
            ("vary", "Origin"),
        ],
    );
    // What the pod says of other origins does not count.
    for fields in [&[("Origin", "https://evil.test")][..], &[]] {
        let answer = ask(&rig, "GET", "some.test", "/", fields);
        is(&answer, &[("vary", "Accept-Encoding"), ("vary", "Origin")]);
    }
    // An OPTIONS that is no preflight request is the pod's.
    let answer = ask(&rig, "OPTIONS", "some.test", "/", &[("Origin", "https://x.test")]);
    assert_eq!(answer.status, 200);
    assert!(rig.pod().last().line().starts_with("OPTIONS "));
}

#[test]
fn what_browsers_would_refuse_is_an_error() {
    let rig = rig(&[], || {
        native(
            "star.test",
            &[("cors-allow-origin", "*"), ("cors-allow-credentials", "true")],
            ALL,
        ) + &native("origin.test", &[("cors-allow-origin", "x.test/")], ALL)
            + &native(
                "words.test",
                &[("cors-allow-origin", "*"), ("cors-allow-methods", "GET\rX")],
                ALL,
            )
    });
    assert!(problems(&rig, "star.test").contains("browsers refuse credentials"));
    let answer = ask(&rig, "GET", "star.test", "/", &[("Origin", "https://x.test")]);
    is(&answer, &[("allow-origin", "*")]);
    assert!(problems(&rig, "origin.test").contains("names no origin"));
    assert_eq!(
        preflight(&rig, "origin.test", "https://x.test").status,
        200,
        "it is the pod's"
    );
    assert!(problems(&rig, "words.test").contains("InvalidAnnotation"));
}
