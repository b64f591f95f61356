//! Ingresses of ingress-nginx, served by its rules: what clients get and pods see, and the same from `explain`.

use crate::rig::{Answer, Client, Pod, Rig, eventually, get, service_with};

/// An Ingress of the class `nginx`, with one rule of this host.
pub fn nginx(host: &str, annotations: &[(&str, &str)], paths: &[(&str, &str)]) -> String {
    let name = host.replace(['*', '.'], "-");
    let annotations: Vec<String> = annotations
        .iter()
        .map(|(name, value)| match name.contains('/') {
            true => format!("{name}: '{value}'"),
            false => format!("nginx.ingress.kubernetes.io/{name}: '{value}'"),
        })
        .collect();
    let backend = "backend: {service: {name: web, port: {number: 80}}}";
    let paths: Vec<String> = paths
        .iter()
        .map(|(kind, path)| format!("{{path: '{path}', pathType: {kind}, {backend}}}"))
        .collect();
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: 'x{name}', annotations: {{{}}}}}\n\
         spec: {{ingressClassName: nginx, rules: [{{host: '{host}', http: {{paths: [{}]}}}}]}}\n---\n",
        annotations.join(", "),
        paths.join(", ")
    )
}

const ALL: &[(&str, &str)] = &[("Prefix", "/")];

pub fn rig(flags: &[&str], manifests: impl FnOnce() -> String) -> Rig {
    let mut all = vec!["--drop-in", "ingress-nginx"];
    all.extend(flags);
    Rig::with(1, &all, |pods: &[Pod]| service_with("web", pods, "") + &manifests())
}

/// Sends a request and asks `explain` about it; both have to say the same.
pub fn ask(rig: &Rig, method: &str, host: &str, target: &str, fields: &[(&str, &str)]) -> Answer {
    let lines: String = fields
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let request = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n");
    let answer = rig.client().send(request).answer_to(method).expect("a reply");
    let escape = |text: &str| {
        text.replace('%', "%25")
            .replace('&', "%26")
            .replace(' ', "%20")
            .replace('+', "%2B")
    };
    let mut question = format!(
        "/api/v1/explain?url={}&method={method}&from=127.0.0.1",
        escape(&format!("http://{host}{target}"))
    );
    for (name, value) in fields {
        question += &format!("&header={}", escape(&format!("{name}: {value}")));
    }
    let (status, text) = get(rig.admin, &question);
    assert_eq!(status, 200, "{question}: {text}");
    let body = text.split_once("\r\n\r\n").unwrap().1;
    let explained: serde_json::Value = serde_json::from_str(body).unwrap();
    let status = explained["status"].as_u64().unwrap_or(200);
    assert_eq!(
        status,
        u64::from(answer.status),
        "{method} {host}{target} {fields:?}: {explained}"
    );
    assert_eq!(
        explained["location"].as_str(),
        answer.field("location"),
        "{method} {host}{target}"
    );
    answer
}

#[test]
fn without_the_flag_they_are_not_served() {
    let rig = Rig::with(1, &[], |pods| {
        service_with("web", pods, "") + &nginx("a.test", &[], ALL)
    });
    assert_eq!(
        rig.client()
            .send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            .answer()
            .status,
        404
    );
}

#[test]
fn a_body_that_is_too_long_is_refused() {
    let rig = rig(&[], || {
        nginx("small.test", &[("proxy-body-size", "8k")], ALL)
            + &nginx("any.test", &[("proxy-body-size", "0")], ALL)
            + &nginx("usual.test", &[], ALL)
    });
    let post = |host: &str, length: usize| {
        let head = format!("POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n");
        let mut client = rig.client();
        client.send(head).send(vec![b'x'; length]).answer().status
    };
    assert_eq!((post("small.test", 8192), post("small.test", 8193)), (200, 413));
    assert_eq!(
        (post("usual.test", 1 << 20), post("usual.test", (1 << 20) + 1)),
        (200, 413)
    );
    assert_eq!(post("any.test", (1 << 20) + 1), 200);
    let before = rig.pod().requests().len();
    // Its length is known before anything of it is read, so the client is not told to go on.
    let mut client = rig.client();
    client.send("POST / HTTP/1.1\r\nHost: small.test\r\nContent-Length: 9000\r\nExpect: 100-continue\r\n\r\n");
    let answer = client.answer();
    assert_eq!(
        (answer.status, answer.body.as_slice()),
        (413, &b"content too large\n"[..])
    );
    assert_eq!(rig.pod().requests().len(), before, "no pod has seen it");
    assert_eq!(
        ask(&rig, "POST", "small.test", "/", &[("Content-Length", "9000")]).status,
        413
    );
    // A body whose length is not said is broken off where it becomes too long.
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(4096));
    let chunked = |count: usize| {
        let mut client = rig.client();
        client.send("POST / HTTP/1.1\r\nHost: small.test\r\nTransfer-Encoding: chunked\r\n\r\n");
        for _ in 0..count {
            client.send(&chunk);
        }
        client.send("0\r\n\r\n").answer().status
    };
    assert_eq!((chunked(2), chunked(3)), (200, 413));
}

#[test]
fn addresses_that_are_not_allowed_get_403() {
    type Case<'c> = (&'c str, &'c [(&'c str, &'c str)], u16);
    let lists: &[Case<'_>] = &[
        ("allowed.test", &[("whitelist-source-range", "127.0.0.0/8")], 200),
        ("alone.test", &[("allowlist-source-range", "127.0.0.1")], 200),
        ("others.test", &[("whitelist-source-range", "10.0.0.0/8,::1/128")], 403),
        ("denied.test", &[("denylist-source-range", "127.0.0.1/32")], 403),
        (
            "both.test",
            &[
                ("denylist-source-range", "127.0.0.1"),
                ("whitelist-source-range", "127.0.0.0/8"),
            ],
            403,
        ),
        ("broken.test", &[("whitelist-source-range", "127.0.0.0/33")], 503),
    ];
    let rig = rig(&[], || {
        lists
            .iter()
            .map(|(host, annotations, _)| nginx(host, annotations, ALL))
            .collect()
    });
    for (host, _, status) in lists {
        assert_eq!(ask(&rig, "GET", host, "/", &[]).status, *status, "{host}");
    }
    assert_eq!(rig.pod().requests().len(), 2);
    let answer = ask(&rig, "GET", "broken.test", "/", &[]);
    assert_eq!(answer.body, b"guard invalid\n");
}

#[test]
fn the_client_that_a_trusted_proxy_names_is_the_one_that_is_let_in() {
    let rig = rig(&["--trusted-proxies", "127.0.0.0/8"], || {
        nginx("a.test", &[("whitelist-source-range", "192.0.2.0/24")], ALL)
    });
    assert_eq!(
        ask(&rig, "GET", "a.test", "/", &[("X-Forwarded-For", "192.0.2.7")]).status,
        200
    );
    assert_eq!(
        ask(
            &rig,
            "GET",
            "a.test",
            "/",
            &[("X-Forwarded-For", "192.0.2.7, 198.51.100.1")]
        )
        .status,
        403
    );
    assert_eq!(ask(&rig, "GET", "a.test", "/", &[]).status, 403);
}

#[test]
fn redirects_are_those_of_the_annotations() {
    let rig = rig(&[], || {
        nginx("p.test", &[("permanent-redirect", "https://new.test/x?y=1")], ALL)
            + &nginx(
                "c.test",
                &[("permanent-redirect", "/moved"), ("permanent-redirect-code", "308")],
                ALL,
            )
            + &nginx(
                "r.test",
                &[("permanent-redirect", "/moved"), ("relative-redirects", "true")],
                ALL,
            )
            + &nginx(
                "t.test",
                &[
                    ("temporal-redirect", "http://new.test/"),
                    ("permanent-redirect", "http://old.test/"),
                    ("whitelist-source-range", "10.0.0.0/8"),
                ],
                ALL,
            )
            + &nginx(
                "f.test",
                &[("force-ssl-redirect", "true"), ("whitelist-source-range", "10.0.0.0/8")],
                ALL,
            )
    });
    for (host, status, location) in [
        ("p.test", 301, "https://new.test/x?y=1"),
        ("c.test", 308, "http://c.test/moved"),
        ("r.test", 301, "/moved"),
        ("t.test", 302, "http://new.test/"),
    ] {
        let answer = ask(&rig, "GET", host, "/a?b", &[]);
        assert_eq!(
            (answer.status, answer.field("location")),
            (status, Some(location)),
            "{host}"
        );
    }
    let answer = ask(&rig, "GET", "f.test", "/a/?b", &[]);
    assert_eq!(answer.status, 308);
    let location = answer.field("location").unwrap();
    assert!(
        location.starts_with("https://f.test:") && location.ends_with("/a/?b"),
        "{location}"
    );
    assert!(rig.pod().requests().is_empty());
}

#[test]
fn browsers_are_told_what_holds_for_other_origins() {
    let rig = rig(&[], || {
        nginx("any.test", &[("enable-cors", "true")], ALL)
            + &nginx(
                "some.test",
                &[
                    ("enable-cors", "true"),
                    ("cors-allow-origin", "https://*.a.test, https://b.test:8443"),
                    ("cors-allow-methods", "PUT, GET"),
                    ("cors-allow-headers", "X-One,X-Two"),
                    ("cors-expose-headers", "X-Three"),
                    ("cors-allow-credentials", "false"),
                    ("cors-max-age", "600"),
                    ("whitelist-source-range", "10.0.0.0/8"),
                ],
                ALL,
            )
            + &nginx("off.test", &[("cors-allow-origin", "https://a.test")], ALL)
            + &nginx(
                "moved.test",
                &[("enable-cors", "true"), ("permanent-redirect", "https://new.test/")],
                ALL,
            )
    });
    let origin = |text| [("Origin", text)];
    let answer = ask(&rig, "OPTIONS", "any.test", "/", &[]);
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    for (name, value) in [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "GET, PUT, POST, DELETE, PATCH, OPTIONS"),
        ("access-control-max-age", "1728000"),
    ] {
        assert_eq!(answer.field(name), Some(value), "{name}");
    }
    assert!(rig.pod().requests().is_empty(), "no pod is asked");
    // The pod's own words are replaced.
    rig.pod().answers(crate::rig::Reply::text(
        "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: https://pod.test\r\ncontent-length: 0\r\n\r\n",
    ));
    let answer = ask(&rig, "GET", "any.test", "/", &origin("https://x.test"));
    let said = answer
        .head
        .to_lowercase()
        .matches("access-control-allow-origin")
        .count();
    assert_eq!((answer.field("access-control-allow-origin"), said), (Some("*"), 1));
    // The addresses come behind it.
    let answer = ask(&rig, "OPTIONS", "some.test", "/", &origin("https://x.a.test"));
    assert_eq!(answer.status, 204);
    for (name, value) in [
        ("access-control-allow-origin", Some("https://x.a.test")),
        ("access-control-allow-credentials", None),
        ("access-control-allow-methods", Some("PUT, GET")),
        ("access-control-allow-headers", Some("X-One,X-Two")),
        ("access-control-expose-headers", Some("X-Three")),
        ("access-control-max-age", Some("600")),
    ] {
        assert_eq!(answer.field(name), value, "{name}");
    }
    let answer = ask(&rig, "OPTIONS", "some.test", "/", &origin("https://evil.test"));
    assert_eq!(
        (answer.status, answer.field("access-control-allow-origin")),
        (403, None)
    );
    let answer = ask(&rig, "GET", "off.test", "/", &origin("https://a.test"));
    assert_eq!(answer.field("access-control-allow-origin"), Some("https://pod.test"));
    let answer = ask(&rig, "GET", "moved.test", "/", &[]);
    assert_eq!(
        (answer.status, answer.field("access-control-allow-origin")),
        (301, Some("*"))
    );
}

/// What was allowed when a request came is what holds for it; the next one goes by what was said meanwhile.
#[test]
fn a_list_that_changes_holds_at_once() {
    let rig = rig(&[], || nginx("a.test", &[], ALL));
    assert_eq!(ask(&rig, "GET", "a.test", "/", &[]).status, 200);
    let manifests =
        service_with("web", &rig.pods, "") + &nginx("a.test", &[("denylist-source-range", "127.0.0.1")], ALL);
    std::fs::write(rig.manifest("all.yaml"), manifests).unwrap();
    eventually("the list holds", || {
        let mut client = Client::connect(rig.http);
        let answer = client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").answer();
        (answer.status == 403).then_some(())
    });
}

#[test]
fn the_cookie_of_a_sticky_session_is_written_as_there() {
    let rig = rig(&[], || {
        nginx("a.test", &[("affinity", "cookie")], &[("Prefix", "/shop")])
            + &nginx(
                "b.test",
                &[
                    ("affinity", "cookie"),
                    ("session-cookie-name", "route"),
                    ("session-cookie-path", "/x"),
                    ("session-cookie-domain", "b.test"),
                    ("session-cookie-max-age", "60"),
                    ("session-cookie-samesite", "None"),
                    ("session-cookie-secure", "true"),
                ],
                ALL,
            )
            + &nginx(
                "c.test",
                &[
                    ("affinity", "cookie"),
                    ("session-cookie-expires", "60"),
                    ("session-cookie-path", "/;x"),
                ],
                ALL,
            )
    });
    let cookie = |host: &str, path: &str| {
        let answer = ask(&rig, "GET", host, path, &[]);
        let cookie = answer.field("set-cookie").unwrap().to_owned();
        let (value, attributes) = cookie.split_once("; ").unwrap();
        (value.split_once('=').unwrap().0.to_owned(), attributes.to_owned())
    };
    let wanted = |name: &str, attributes: &str| (name.to_owned(), attributes.to_owned());
    assert_eq!(
        cookie("a.test", "/shop/1"),
        wanted("INGRESSCOOKIE", "Path=/shop; HttpOnly")
    );
    let attributes = "Path=/x; HttpOnly; Domain=b.test; Max-Age=60; SameSite=None; Secure";
    assert_eq!(cookie("b.test", "/"), wanted("route", attributes));
    let (_, attributes) = cookie("c.test", "/");
    assert!(
        attributes.starts_with("Path=/; HttpOnly; Expires=") && attributes.ends_with(" GMT"),
        "{attributes}"
    );
}
