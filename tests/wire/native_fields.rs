//! Fields, cookies and places that narthex's own annotations change.

use crate::access_log::Log;
use crate::ingress_nginx::ask;
use crate::native::{ALL, native, problems, rig};
use crate::rig::{Reply, Rig};

/// An Ingress with annotations of several lines.
fn with_lines(host: &str, annotations: &[(&str, &str)]) -> String {
    let json: Vec<(String, String)> = annotations
        .iter()
        .map(|(name, text)| ((*name).to_owned(), serde_json::to_string(text).unwrap()))
        .collect();
    let mut text = native(host, &[], ALL);
    let all: Vec<String> = json
        .iter()
        .map(|(name, text)| format!("narthex.io/{name}: {text}"))
        .collect();
    text = text.replace("annotations: {}", &format!("annotations: {{{}}}", all.join(", ")));
    text
}

fn get(rig: &Rig, host: &str, fields: &[(&str, &str)]) -> crate::rig::Answer {
    ask(rig, "GET", host, "/a/b?c=d", fields)
}

/// Without `explain`, which does not know what the pod says.
fn plain(rig: &Rig, host: &str) -> crate::rig::Answer {
    let request = format!("GET /a/b?c=d HTTP/1.1\r\nHost: {host}\r\n\r\n");
    rig.client().send(request).answer()
}

#[test]
fn pods_get_what_the_route_says_and_no_client_can_say_it() {
    let rig = rig(&[], || {
        with_lines(
            "a.test",
            &[
                (
                    "request-headers-set",
                    "X-User: $http_x_name\nX-Path: $uri$is_args$args\n\n  X-Client:$remote_addr  \nX-Empty: $arg_none",
                ),
                ("request-headers-add", "X-Via: narthex"),
                ("request-headers-remove", "X-Debug, x-internal"),
            ],
        )
    });
    let fields = [
        ("X-User", "forged"),
        ("x_user", "forged"),
        ("X-Name", "ann"),
        ("X-Via", "client"),
        ("X-Debug", "1"),
        ("X_Internal", "1"),
        ("X-Empty", "forged"),
        ("X-Other", "kept"),
    ];
    assert_eq!(get(&rig, "a.test", &fields).status, 200);
    let got = rig.pod().last();
    for (name, wanted) in [
        ("x-user", vec!["ann"]),
        ("x_user", vec![]),
        ("x-path", vec!["/a/b?c=d"]),
        ("x-client", vec!["127.0.0.1"]),
        ("x-via", vec!["client", "narthex"]),
        ("x-debug", vec![]),
        ("x_internal", vec![]),
        ("x-empty", vec![]),
        ("x-other", vec!["kept"]),
    ] {
        assert_eq!(got.field(name), wanted, "{name}: {}", got.text());
    }
}

#[test]
fn clients_get_what_the_route_says() {
    let rig = rig(&[], || {
        with_lines(
            "a.test",
            &[
                ("response-headers-set", "X-Frame-Options: DENY\nX-Host: $host"),
                ("response-headers-add", "Link: </a.css>; rel=preload"),
                ("response-headers-remove", "X-Powered-By, X-Internal-*"),
            ],
        ) + &with_lines(
            "places.test",
            &[
                ("rewrite-location", "http://web:8080/ $scheme://$http_host/app/"),
                ("rewrite-cookie-path", "/ /app/"),
                ("rewrite-cookie-domain", "pod.internal $host"),
            ],
        ) + &with_lines(
            "denied.test",
            &[
                ("response-headers-set", "X-Inside: 1"),
                ("allow-addresses", "10.0.0.0/8"),
            ],
        )
    });
    rig.pod().answers(Reply::text(
        "HTTP/1.1 200 OK\r\nX-Frame-Options: ALLOW\r\nLink: </b.css>\r\nX-Powered-By: x\r\nX-Internal-Id: 7\r\n\
         Location: http://web:8080/x\r\nSet-Cookie: a=1; Path=/; Domain=pod.internal\r\nContent-Length: 0\r\n\r\n",
    ));
    let answer = plain(&rig, "a.test");
    for wanted in [
        "x-frame-options: deny\r\n",
        "x-host: a.test\r\n",
        "link: </b.css>\r\n",
        "link: </a.css>; rel=preload\r\n",
    ] {
        let head = answer.head.to_lowercase();
        assert_eq!(head.matches(wanted).count(), 1, "{wanted}: {head}");
    }
    for gone in ["x-powered-by", "x-internal-id"] {
        assert_eq!(answer.field(gone), None);
    }
    let answer = plain(&rig, "places.test");
    assert_eq!(answer.field("location"), Some("http://places.test/app/x"));
    assert_eq!(answer.field("set-cookie"), Some("a=1; Path=/app/; Domain=places.test"));
    // What is refused before this step does not have its fields.
    let answer = plain(&rig, "denied.test");
    assert_eq!((answer.status, answer.field("x-inside")), (403, None));
}

#[test]
fn sticky_cookies_have_the_attributes_that_are_asked_for() {
    let rig = rig(&[], || {
        native("usual.test", &[("sticky-cookie", "s")], ALL)
            + &native(
                "all.test",
                &[
                    ("sticky-cookie", "s"),
                    ("sticky-cookie-domain", "all.test"),
                    ("sticky-cookie-max-age", "60"),
                    ("sticky-cookie-path", "/a"),
                    ("sticky-cookie-samesite", "None"),
                    ("sticky-cookie-secure", "true"),
                ],
                ALL,
            )
            + &native(
                "one.test",
                &[("sticky-cookie", "s"), ("sticky-cookie-max-age", "60")],
                ALL,
            )
            + &native(
                "bad.test",
                &[("sticky-cookie", "s"), ("sticky-cookie-domain", "a;b")],
                ALL,
            )
            + &native("name.test", &[("sticky-cookie", "s;t")], ALL)
    });
    for (host, wanted) in [
        ("usual.test", "; Path=/; HttpOnly; SameSite=Lax"),
        (
            "all.test",
            "; Path=/a; HttpOnly; Domain=all.test; Max-Age=60; SameSite=None; Secure",
        ),
        ("one.test", "; Path=/; HttpOnly; Max-Age=60; SameSite=Lax"),
        ("bad.test", "; Path=/; HttpOnly; SameSite=Lax"),
    ] {
        let answer = get(&rig, host, &[]);
        let cookie = answer.field("set-cookie").unwrap();
        assert_eq!(
            cookie.split_once(';').map(|(_, rest)| format!(";{rest}")).as_deref(),
            Some(wanted),
            "{host}"
        );
    }
    assert_eq!(get(&rig, "name.test", &[]).field("set-cookie"), None);
}

#[test]
fn the_access_log_leaves_out_what_is_not_to_be_in_it() {
    let log = Log::new();
    let rig = rig(&log.flags(&[]), || {
        native("quiet.test", &[("access-log", "false")], ALL) + &native("loud.test", &[], ALL)
    });
    for host in ["quiet.test", "loud.test"] {
        assert_eq!(get(&rig, host, &[]).status, 200);
    }
    log.line("a line of the other", |line| line["host"] == "loud.test");
    assert!(!std::fs::read_to_string(&log.path).unwrap().contains("quiet.test"));
}

#[test]
fn fields_that_nobody_may_say_are_refused() {
    type Case<'c> = (&'c str, &'c [(&'c str, &'c str)], &'c str);
    let cases: &[Case<'_>] = &[
        (
            "a1.test",
            &[("request-headers-set", "Host: b.test")],
            "narthex itself sets",
        ),
        (
            "a2.test",
            &[("request-headers-set", "X_Forwarded_For: 1")],
            "narthex itself sets",
        ),
        (
            "a3.test",
            &[("request-headers-add", "Transfer-Encoding: chunked")],
            "narthex itself sets",
        ),
        (
            "a4.test",
            &[("request-headers-remove", "Connection")],
            "narthex itself sets",
        ),
        (
            "a5.test",
            &[("request-headers-set", "no colon")],
            "is not a line such as",
        ),
        ("a6.test", &[("request-headers-set", "X A: b")], "is not a token"),
        ("a7.test", &[("request-headers-set", "")], "it names no field"),
        (
            "a8.test",
            &[("request-headers-set", "X-A: $unknown")],
            "the variable $unknown",
        ),
        ("a9.test", &[("request-headers-set", "X-A: a\rb")], "has to be escaped"),
        (
            "b1.test",
            &[("response-headers-set", "Content-Length: 5")],
            "where a message ends",
        ),
        ("b2.test", &[("response-headers-remove", "*")], "is not a token"),
        (
            "b3.test",
            &[("response-headers-add", "X-A: a\u{0}b")],
            "has to be escaped",
        ),
        ("b4.test", &[("rewrite-location", "one")], "two words"),
        (
            "b5.test",
            &[("rewrite-cookie-path", "/a $unknown")],
            "the variable $unknown",
        ),
    ];
    let rig = rig(&[], || {
        cases
            .iter()
            .map(|(host, annotations, _)| with_lines(host, annotations))
            .collect()
    });
    for (host, annotations, why) in cases {
        let said = problems(&rig, host);
        assert!(
            said.contains("InvalidAnnotation") && said.contains(why),
            "{annotations:?}: {said}"
        );
        assert_eq!(get(&rig, host, &[]).status, 200, "{host}");
    }
}
