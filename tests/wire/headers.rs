//! Rows 20-22 and what a response keeps.

use crate::h2_rig::{ask, connect, request, run};
use crate::rig::{Reply, Rig, ingress, service};
use http::HeaderMap;

const SPOOFED: &str = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Prefix: /admin\r\n\
    X-Real-IP: 6.6.6.6\r\nX-Request-Id: theirs\r\nForwarded: for=6.6.6.6\r\nX-Original-URL: /admin\r\nX-Rewrite-URL: /admin\r\n\
    X-Forwarded-Tls-Client-Cert: x\r\nX_Forwarded_Proto: https\r\nX-Forwarded_For: 6.6.6.6\r\n";

#[test]
fn a_stranger_cannot_say_where_it_comes_from() {
    let rig = Rig::new(1, &[]);
    let mut client = rig.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: a.test:8000\r\n{SPOOFED}\r\n"));
    assert_eq!(client.answer().status, 200);
    let got = rig.pod().last();
    for (name, wanted) in [
        ("host", "a.test:8000"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "a.test:8000"),
        ("x-forwarded-port", "8000"),
        ("x-real-ip", "127.0.0.1"),
    ] {
        assert_eq!(got.field(name), [wanted], "{name}");
    }
    assert_eq!(got.field("x-request-id").len(), 1);
    for gone in [
        "6.6.6.6",
        "evil",
        "/admin",
        "https",
        "theirs",
        "Tls-Client",
        "tls-client",
    ] {
        assert!(!got.text().contains(gone), "{gone} passed:\n{}", got.text());
    }
}

/// Servers that put names into variables cannot tell `_` and `-` apart; PHP adds the dot to these, others any byte that
/// is neither a letter nor a digit.
fn spelled(between: char) -> String {
    let names = [
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
        "X-Forwarded-Anything",
        "X-Real-IP",
        "X-Request-Id",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Narthex-Hops",
        "Content-Length",
        "Transfer-Encoding",
    ];
    let spelled = |name: &str| {
        let all = name.replace('-', &between.to_string());
        let (first, rest) = name.split_once('-').unwrap();
        format!("{all}: 6.6.6.6\r\n{first}{between}{rest}: 6.6.6.6\r\n")
    };
    names.into_iter().map(spelled).collect()
}

const BETWEEN: &str = "!#$%&'*+.^_`|~";

#[test]
fn no_spelling_of_a_field_that_is_ours_passes() {
    for flags in [&[][..], &["--trusted-proxies", "127.0.0.0/8"]] {
        let rig = Rig::new(1, flags);
        for between in BETWEEN.chars() {
            let mut client = rig.client();
            client.send(format!(
                "GET / HTTP/1.1\r\nHost: a.test\r\n{}Proxy: http://6.6.6.6\r\nX.Own: 1\r\nProxy.Own: 2\r\n\r\n",
                spelled(between)
            ));
            assert_eq!(client.answer().status, 200);
            let got = rig.pod().last();
            assert!(!got.text().contains("6.6.6.6"), "{between}:\n{}", got.text());
            assert_eq!(
                (got.field("x.own"), got.field("proxy.own")),
                (vec!["1".to_owned()], vec!["2".to_owned()])
            );
        }
    }
}

#[test]
fn no_spelling_passes_over_http2_either() {
    let rig = Rig::new(1, &[]);
    run(async {
        let mut sender = connect(&rig).await;
        for between in BETWEEN.chars() {
            let mut asked = request("POST", "http://a.test/").header("proxy", "6.6.6.6");
            let mut trailers = HeaderMap::new();
            for line in spelled(between).to_lowercase().lines() {
                let (name, value) = line.split_once(": ").unwrap();
                asked = asked.header(name, value);
                let name: http::HeaderName = name.parse().unwrap();
                trailers.insert(name, value.parse().unwrap());
            }
            trailers.insert("proxy", "6.6.6.6".parse().unwrap());
            let body = ("hello".into(), Some(trailers));
            let answer = ask(&mut sender, asked.body(()).unwrap(), Some(body)).await.unwrap();
            assert_eq!(answer.status, 200);
            let got = rig.pod().last();
            assert!(!got.text().contains("6.6.6.6"), "{between}:\n{}", got.text());
        }
    });
}

#[test]
fn no_spelling_passes_as_a_trailer() {
    let rig = Rig::new(1, &[]);
    for between in BETWEEN.chars() {
        for line in spelled(between).lines().chain(["Proxy: 6.6.6.6"]) {
            let mut client = rig.client();
            client.send(format!(
                "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n{line}\r\n\r\n"
            ));
            assert_eq!(client.answer().status, 400, "{line}");
        }
    }
}

#[test]
fn connection_takes_away_however_many_fields_it_names() {
    let rig = Rig::new(1, &[]);
    let named = |count: usize| {
        (0..count)
            .map(|index| format!("x-{index}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let mut client = rig.client();
    client.send(format!(
        "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: {}\r\nConnection: {}, x-last\r\nX-Last: 1\r\nX-19: 1\r\n\r\n",
        named(20),
        ",".repeat(20),
    ));
    assert_eq!(client.answer().status, 200);
    let got = rig.pod().last();
    assert!(
        got.field("x-last").is_empty() && got.field("x-19").is_empty(),
        "{}",
        got.text()
    );
    let before = rig.pod().requests().len();
    let mut client = rig.client();
    client.send(format!(
        "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: {}\r\nX-99: 1\r\n\r\n",
        named(100)
    ));
    assert_eq!(client.answer().status, 400);
    assert_eq!(rig.pod().requests().len(), before);
    rig.pod().answers(Reply::text(&format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: {}\r\nX-39: 1\r\n\r\n",
        named(40)
    )));
    let answer = rig.client().send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").answer();
    assert_eq!((answer.status, answer.field("x-39")), (200, None));
}

#[test]
fn a_trusted_proxy_is_believed_and_appended_to() {
    let rig = Rig::new(1, &["--trusted-proxies", "127.0.0.0/8"]);
    let mut client = rig.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: a.test\r\n{SPOOFED}\r\n"));
    assert_eq!(client.answer().status, 200);
    let got = rig.pod().last();
    for (name, wanted) in [
        ("x-forwarded-for", "6.6.6.6, 127.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil"),
        ("x-real-ip", "6.6.6.6"),
        ("x-request-id", "theirs"),
    ] {
        assert_eq!(got.field(name), [wanted], "{name}");
    }
    assert_eq!(got.field("forwarded"), ["for=6.6.6.6", "for=127.0.0.1;proto=http"]);
    assert!(
        !got.text().contains("X_") && !got.text().contains("x_"),
        "an alias passed"
    );
}

/// What a pod is told by each field, of a request with these from a trusted proxy.
fn passed_on(rig: &Rig, host: &str, fields: &str, names: &[&str]) -> Vec<String> {
    let mut client = rig.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"));
    assert_eq!(client.answer().status, 200, "{fields}");
    let got = rig.pod().last();
    names.iter().map(|name| got.field(name).join("|")).collect()
}

#[test]
fn the_port_is_that_of_the_scheme_a_trusted_proxy_names() {
    let rig = Rig::new(1, &["--trusted-proxies", "127.0.0.0/8"]);
    for (host, fields, scheme, port) in [
        ("a.test", "", "http", "80"),
        ("a.test:8000", "", "http", "8000"),
        ("a.test", "X-Forwarded-Proto: https\r\n", "https", "443"),
        ("a.test", "X-Forwarded-Proto: HTTPS\r\n", "HTTPS", "443"),
        ("a.test", "X-Forwarded-Proto: wss\r\n", "wss", "443"),
        ("a.test", "X-Forwarded-Proto: ws\r\n", "ws", "80"),
        ("a.test", "X-Forwarded-Proto: http\r\n", "http", "80"),
        ("a.test:80", "X-Forwarded-Proto: https\r\n", "https", "443"),
        ("a.test:8443", "X-Forwarded-Proto: https\r\n", "https", "8443"),
        (
            "a.test:8443",
            "X-Forwarded-Proto: https\r\nX-Forwarded-Host: b.test\r\n",
            "https",
            "443",
        ),
        (
            "a.test",
            "X-Forwarded-Proto: https\r\nX-Forwarded-Host: b.test:9443\r\n",
            "https",
            "9443",
        ),
        (
            "a.test",
            "X-Forwarded-Proto: https\r\nX-Forwarded-Port: 444\r\n",
            "https",
            "444",
        ),
        ("a.test", "Forwarded: proto=https\r\n", "https", "443"),
        (
            "a.test",
            "Forwarded: proto=https;host=\"b.test:9443\"\r\n",
            "https",
            "9443",
        ),
    ] {
        let got = passed_on(&rig, host, fields, &["x-forwarded-proto", "x-forwarded-port"]);
        assert_eq!(got, [scheme, port], "{host} {fields}");
    }
}

#[test]
fn forwarded_of_a_trusted_proxy_is_taken_as_its_older_brothers_are() {
    let rig = Rig::new(1, &["--trusted-proxies", "127.0.0.0/8,10.0.0.0/8"]);
    let names = ["x-forwarded-for", "x-real-ip", "x-forwarded-proto", "x-forwarded-host"];
    for (fields, wanted) in [
        (
            "Forwarded: for=\"[2001:db8::1]:4711\";proto=https;host=shop.test\r\n",
            ["2001:db8::1, 127.0.0.1", "2001:db8::1", "https", "shop.test"],
        ),
        (
            "Forwarded: for=6.6.6.6;proto=https, for=192.0.2.1;proto=http\r\nForwarded: for=10.0.0.3\r\n",
            ["192.0.2.1, 127.0.0.1", "192.0.2.1", "http", "a.test"],
        ),
        // The field that this proxy is known to write goes first.
        (
            "X-Forwarded-For: 192.0.2.1\r\nForwarded: for=6.6.6.6;host=evil.test\r\n",
            ["192.0.2.1, 127.0.0.1", "192.0.2.1", "http", "a.test"],
        ),
    ] {
        assert_eq!(passed_on(&rig, "a.test", fields, &names), wanted, "{fields}");
    }
    let stranger = Rig::new(1, &[]);
    let fields = "Forwarded: for=6.6.6.6;proto=https;host=evil.test\r\n";
    let wanted = ["127.0.0.1", "127.0.0.1", "http", "a.test"];
    assert_eq!(passed_on(&stranger, "a.test", fields, &names), wanted);
}

#[test]
fn row_21_connection_takes_away_what_it_names_and_no_more() {
    let rig = Rig::new(1, &[]);
    let mut client = rig.client();
    client.send(
        "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: x-drop, X-Forwarded-For, x-real-ip\r\nconnection: Authorization, te, HOST\r\n\
         X-Drop: 1\r\nAuthorization: secret\r\nTE: gzip\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nUpgrade: h2c\r\n\
         HTTP2-Settings: AAAA\r\nX-Keep: a\r\nX-Keep: b\r\n\r\n",
    );
    assert_eq!(client.answer().status, 200);
    let got = rig.pod().last();
    for name in [
        "x-drop",
        "connection",
        "te",
        "keep-alive",
        "proxy-connection",
        "upgrade",
        "http2-settings",
    ] {
        assert!(got.field(name).is_empty(), "{name} passed");
    }
    assert_eq!(got.field("x-keep"), ["a", "b"]);
    assert_eq!(got.field("authorization"), ["secret"]);
    assert_eq!(got.field("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(got.field("host"), ["a.test"]);
}

#[test]
fn names_keep_their_case_and_fields_their_order() {
    let rig = Rig::new(1, &[]);
    let said = "HTTP/1.1 200 OK\r\nX-ZuLu: 1\r\ncontent-length: 2\r\nX-Alpha: 2\r\nx-zulu: 3\r\n";
    rig.pod().answers(Reply::text(&format!("{said}\r\nhi")));
    let asked = "X-CamelCase: 1\r\naccept: a\r\nX-B: 2\r\nx-camelcase: 3\r\nACCEPT: b\r\n";
    let mut client = rig.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: a.test\r\n{asked}\r\n"));
    let answer = client.answer();
    assert!(answer.head.starts_with(said), "{}", answer.head);
    let got = rig.pod().requests().remove(0);
    assert!(got.text().contains(asked), "{}", got.text());
}

#[test]
fn a_response_keeps_what_is_the_pods() {
    let rig = Rig::new(1, &["--server-header", "narthex"]);
    rig.pod().answers(Reply::text(
        "HTTP/1.1 299 Quite Fine\r\nContent-Length: 2\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Hop: 1\r\n\
         Connection: keep-alive, x-hop\r\nKeep-Alive: timeout=5\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\n\r\nhi",
    ));
    let answer = rig.client().send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").answer();
    assert!(
        answer.head.starts_with("HTTP/1.1 299 Quite Fine\r\n"),
        "{}",
        answer.head
    );
    assert_eq!(answer.head.matches("Set-Cookie: ").count(), 2);
    assert_eq!(answer.field("date"), Some("Mon, 01 Jan 2024 00:00:00 GMT"));
    assert_eq!(answer.field("server"), Some("narthex"));
    assert!(
        answer.field("x-hop").is_none() && answer.field("keep-alive").is_none(),
        "{}",
        answer.head
    );
    rig.pod().answers(Reply::text(
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nServer: mine\r\n\r\n",
    ));
    let answer = rig.client().send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").answer();
    assert_eq!(answer.field("server"), Some("mine"));
    assert!(answer.field("date").is_some());
}

#[test]
fn our_own_errors_are_short_and_say_their_id() {
    let rig = Rig::new(1, &[]);
    let mut client = rig.client();
    let answer = client.send("GET / HTTP/1.1\r\nHost: nobody.test\r\n\r\n").answer();
    assert_eq!(
        (answer.status, answer.body.as_slice()),
        (404, b"404 page not found\n".as_slice())
    );
    assert_eq!(answer.field("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(answer.field("x-request-id").map(str::len), Some(32));
    assert!(client.goes_on(), "a 404 is no reason to close");
}

#[test]
fn pods_get_another_host_where_an_annotation_says_so() {
    let annotation = ", annotations: {narthex.io/upstream-host: \"saas.example:8443\"}";
    let rig = Rig::with(1, &[], |pods| {
        service("web", &[(pods[0].address, "p0")]) + &ingress("web", "a.test", "/", "web", annotation)
    });
    let names = ["host", "x-forwarded-host", "x-forwarded-port"];
    let got = passed_on(&rig, "a.test:8000", "", &names);
    assert_eq!(got, ["saas.example:8443", "a.test:8000", "8000"]);
    let answer = rig
        .client()
        .send("GET / HTTP/1.1\r\nHost: saas.example\r\n\r\n")
        .answer();
    assert_eq!(answer.status, 404, "it is no host that clients may ask for");
}

#[test]
fn several_lines_of_cookies_become_one() {
    let rig = Rig::new(1, &[]);
    let mut client = rig.client();
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\nCookie: a=1\r\nCookie:\r\nCookie: b=2\r\nCookie:\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    assert_eq!(rig.pod().last().field("cookie"), ["a=1; b=2"]);
}
