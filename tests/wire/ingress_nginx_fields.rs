//! Fields by the rules of ingress-nginx: what pods get of requests, and clients of replies, narthex's own among them.

use crate::ingress_nginx::{ask, nginx, rig};
use crate::rig::{Client, Reply, eventually};
use crate::tls_rig::{Tls, make, secret};
use std::io::{Read, Write};
use std::time::Duration;

const ALL: &[(&str, &str)] = &[("Prefix", "/")];

#[test]
fn pods_get_the_scheme_and_what_the_client_said() {
    let rig = rig(&[], || {
        nginx("a.test", &[], ALL)
            + &nginx("native.test", &[], ALL).replace("ingressClassName: nginx", "ingressClassName: narthex")
    });
    let fields = [
        ("X-Scheme", "https"),
        ("x_scheme", "https"),
        ("X-Forwarded-Scheme", "https"),
        ("X-Original-Forwarded-For", "6.6.6.6"),
        ("X-Forwarded-For", "192.0.2.1"),
        ("X-Forwarded-For", "192.0.2.2"),
        ("X-Forwarded-Host", "evil.test"),
        ("X-Kept", "1"),
    ];
    assert_eq!(ask(&rig, "GET", "a.test", "/", &fields).status, 200);
    let got = rig.pod().last();
    for (name, values) in [
        ("x-scheme", &["http"][..]),
        ("x_scheme", &[]),
        ("x-forwarded-scheme", &["http"]),
        ("x-original-forwarded-for", &["192.0.2.1, 192.0.2.2"]),
        ("x-original-forwarded-host", &["evil.test"]),
        ("x-forwarded-for", &["127.0.0.1"]),
        ("x-kept", &["1"]),
    ] {
        assert_eq!(got.field(name), values, "{name}: {}", got.text());
    }
    assert_eq!(ask(&rig, "GET", "a.test", "/", &[]).status, 200);
    assert!(rig.pod().last().field("x-original-forwarded-for").is_empty());
    // Routes of narthex's own class are as they were.
    assert_eq!(
        ask(&rig, "GET", "native.test", "/", &[("X-Scheme", "mine")]).status,
        200
    );
    let got = rig.pod().last();
    assert_eq!(got.field("x-scheme"), ["mine"]);
    assert!(got.field("x-forwarded-scheme").is_empty());
}

#[test]
fn errors_say_what_holds_for_other_origins_and_for_https() {
    let cors = ("enable-cors", "true");
    let certificate = make(&["a.test"]);
    let rig = rig(&[], || {
        nginx("a.test", &[cors, ("denylist-source-range", "127.0.0.0/8")], ALL)
            .replace("spec: {", "spec: {tls: [{hosts: [a.test], secretName: web}], ")
            + &secret("web", &certificate.certificate, &certificate.key)
            + &nginx("small.test", &[cors, ("proxy-body-size", "1")], ALL)
            + &nginx(
                "often.test",
                &[cors, ("limit-rpm", "1"), ("limit-burst-multiplier", "0")],
                ALL,
            )
            + &nginx("gone.test", &[cors], ALL).replace("name: web, port", "name: none, port")
            + &nginx("closed.test", &[cors, ("whitelist-source-range", "x")], ALL)
            + &nginx("plain.test", &[("denylist-source-range", "127.0.0.0/8")], ALL)
    });
    let said = |host: &str, status: u16, fields: &[(&str, &str)]| {
        let lines: String = fields
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let answer = rig
            .client()
            .send(format!("POST / HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n"))
            .answer();
        assert_eq!(answer.status, status, "{host}: {}", answer.head);
        assert_eq!(answer.field("strict-transport-security"), None, "{host} in plain");
        answer.field("access-control-allow-origin").map(str::to_owned)
    };
    let any = Some("*".to_owned());
    assert_eq!(said("small.test", 413, &[("Content-Length", "2")]), any);
    assert_eq!(said("often.test", 200, &[]), any);
    assert_eq!(said("often.test", 503, &[]), any);
    assert_eq!(said("gone.test", 503, &[]), any);
    assert_eq!(
        said("closed.test", 503, &[]),
        None,
        "nothing comes before a closed guard"
    );
    assert_eq!(said("plain.test", 403, &[]), None);
    rig.pod().answers(Reply::text("nonsense\r\n\r\n"));
    let (status, text) = Tls::open(&rig, "a.test").get("a.test", "/");
    assert_eq!(status, 403, "{text}");
    let text = text.to_lowercase();
    assert!(text.contains("access-control-allow-origin: *"), "{text}");
    assert!(text.contains("strict-transport-security: max-age=31536000"), "{text}");
}

#[test]
fn snippets_of_the_subset_are_done_and_others_close() {
    let rig = rig(&[], || {
        let snippet =
            |host: &str, text: &str| nginx(host, &[("configuration-snippet", &text.replace('\'', "''"))], ALL);
        snippet(
            "fields.test",
            "more_set_headers \"X-Frame-Options: DENY\" \"X-Via: $host$request_uri\";\
             more_set_headers -s \"404\" \"X-Missing: yes\"; more_clear_headers \"X-Powered-*\";\
             add_header X-Added \"1\"; add_header X-Always \"2\" always; proxy_hide_header X-Pod;\
             proxy_set_header l5d-dst-override $service_name.$namespace.svc.cluster.local:$service_port;\
             proxy_set_header Accept-Encoding \"\"; more_set_input_headers \"X-In: $http_x_from\";",
        ) + &snippet("addresses.test", "deny 127.0.0.1; allow all;")
            + &snippet("inside.test", "allow 127.0.0.0/8; deny all;")
            + &snippet("outside.test", "allow 10.0.0.0/8; deny all;")
            + &snippet("text.test", "return 418 \"tea for $host\";")
            + &snippet("moved.test", "return 301 https://new.test$request_uri;")
            + &snippet("closed.test", "add_header X-A b; if ($host) { return 403; }")
            + &nginx("ignored.test", &[("server-snippet", "add_header A b;")], ALL)
    });
    rig.pod().answers(Reply::text(
        "HTTP/1.1 200 OK\r\nX-Frame-Options: SAMEORIGIN\r\nX-Powered-By: PHP\r\nX-Pod: 1\r\nX-Added: pod\r\n\
         content-length: 0\r\n\r\n",
    ));
    let fields = [("X-From", "me"), ("X_In", "forged"), ("Accept-Encoding", "gzip")];
    let answer = ask(&rig, "GET", "fields.test", "/a?b", &fields);
    for (name, value) in [
        ("x-frame-options", Some("DENY")),
        ("x-via", Some("fields.test/a?b")),
        ("x-missing", None),
        ("x-powered-by", None),
        ("x-always", Some("2")),
        ("x-pod", None),
    ] {
        assert_eq!(answer.field(name), value, "{name}: {}", answer.head);
    }
    assert!(answer.head.to_lowercase().contains("x-added: 1"), "{}", answer.head);
    let got = rig.pod().last();
    assert_eq!(got.field("l5d-dst-override"), ["web.default.svc.cluster.local:80"]);
    assert_eq!(got.field("x-in"), ["me"]);
    assert!(got.field("x_in").is_empty() && got.field("accept-encoding").is_empty());
    rig.pod()
        .answers(Reply::text("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"));
    // A pod's own status is no part of the decision, so `explain` is not asked.
    let get = |host: &str| {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        rig.client().send(request).answer()
    };
    let answer = get("fields.test");
    assert_eq!(
        (
            answer.field("x-missing"),
            answer.field("x-added"),
            answer.field("x-always")
        ),
        (Some("yes"), None, Some("2"))
    );
    let before = rig.pod().requests().len();
    for (host, status) in [
        ("addresses.test", 403),
        ("outside.test", 403),
        ("text.test", 418),
        ("moved.test", 301),
        ("closed.test", 503),
        ("ignored.test", 503),
    ] {
        let answer = ask(&rig, "GET", host, "/x?y", &[]);
        assert_eq!(answer.status, status, "{host}");
        match host {
            "text.test" => assert_eq!(answer.body, b"tea for text.test"),
            "moved.test" => assert_eq!(answer.field("location"), Some("https://new.test/x?y")),
            _ => {}
        }
    }
    assert_eq!(rig.pod().requests().len(), before, "no pod was asked");
    assert_eq!(get("inside.test").status, 404);
}

/// Nothing that a client sends ends a field.
#[test]
fn what_a_client_sends_stays_within_a_field() {
    let rig = rig(&[], || {
        let text = "more_set_headers \"X-Echo: $arg_a|$http_x_a|$cookie_a|$request_uri\";\
                    proxy_set_header X-Echo \"$arg_a|$http_x_a|$cookie_a|$request_uri\";";
        nginx("a.test", &[("configuration-snippet", text)], ALL)
    });
    let request =
        "GET /x%0d%0aEvil:%201?a=%0D%0AEvil:1 HTTP/1.1\r\nHost: a.test\r\nX-A: a\tb\x01c\r\nCookie: a=1\r\n\r\n";
    let mut client = rig.client();
    let answer = client.send(request).answer();
    assert!(!answer.head.to_lowercase().contains("\nevil"), "{}", answer.head);
    if answer.status == 200 {
        assert!(!rig.pod().last().text().to_lowercase().contains("\nevil"));
    }
    let request = "GET /?a=%0D%0AEvil:1 HTTP/1.1\r\nHost: a.test\r\nX-A: a\tb\r\n\r\n";
    let answer = rig.client().send(request).answer();
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.field("x-echo"),
        Some("%0D%0AEvil:1|a\tb||/?a=%0D%0AEvil:1"),
        "{}",
        answer.head
    );
}

#[test]
fn what_pods_say_of_places_is_made_true() {
    let rig = rig(&[], || {
        nginx(
            "a.test",
            &[
                ("proxy-redirect-from", "http://pod.test/"),
                ("proxy-redirect-to", "$scheme://$http_host/app/"),
                ("proxy-cookie-path", "/one/ /"),
                ("proxy-cookie-domain", "pod.test $host"),
                ("upstream-vhost", "$service_name.$namespace.svc:$service_port"),
                ("rewrite-target", "/$1"),
                ("x-forwarded-prefix", "/app"),
            ],
            &[("ImplementationSpecific", "/app/(.*)")],
        ) + &nginx("bad.test", &[("upstream-vhost", "$http_x_host")], ALL)
    });
    rig.pod().answers(Reply::text(
        "HTTP/1.1 302 Found\r\nLocation: http://pod.test/x\r\nSet-Cookie: a=1; Path=/one/x; Domain=pod.test\r\n\
         content-length: 0\r\n\r\n",
    ));
    let request = "GET /app/y HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-Prefix: /evil\r\n\r\n";
    let answer = rig.client().send(request).answer();
    assert_eq!(answer.field("location"), Some("http://a.test/app/x"));
    assert_eq!(answer.field("set-cookie"), Some("a=1; Path=/x; Domain=a.test"));
    let got = rig.pod().last();
    assert_eq!(got.field("host"), ["web.default.svc:80"]);
    assert_eq!(got.field("x-forwarded-prefix"), ["/app"]);
    assert_eq!(got.field("x-forwarded-host"), ["a.test"]);
    for (host, status) in [("other.test", 302), ("a b", 400), ("a/../b", 400)] {
        let request = format!("GET / HTTP/1.1\r\nHost: bad.test\r\nX-Host: {host}\r\n\r\n");
        assert_eq!(rig.client().send(request).answer().status, status, "{host}");
    }
    assert_eq!(rig.pod().last().field("host"), ["other.test"]);
}

#[test]
fn a_pod_is_told_that_each_request_is_the_last_one() {
    let rig = rig(&["--shards", "1"], || {
        nginx("close.test", &[("connection-proxy-header", "close")], ALL) + &nginx("kept.test", &[], ALL)
    });
    let connects = || rig.counter("upstream_connects_total");
    for (host, said) in [("close.test", &["close"][..]), ("kept.test", &[])] {
        let before = connects();
        for _ in 0..2 {
            assert_eq!(ask(&rig, "GET", host, "/", &[]).status, 200);
            assert_eq!(rig.pod().last().field("connection"), said, "{host}");
        }
        let opened = connects() - before;
        assert!(
            if said.is_empty() { opened <= 1 } else { opened == 2 },
            "{host}: {opened}"
        );
    }
}

#[test]
fn a_route_is_left_out_of_the_access_log() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let rig = rig(
        &["--access-log", "json", "--access-log-file", file.to_str().unwrap()],
        || nginx("quiet.test", &[("enable-access-log", "false")], ALL) + &nginx("loud.test", &[], ALL),
    );
    for host in ["quiet.test", "loud.test"] {
        assert_eq!(ask(&rig, "GET", host, &format!("/{host}-path"), &[]).status, 200);
    }
    let log = || std::fs::read_to_string(&file).unwrap_or_default();
    eventually("the line is written", || log().contains("loud.test-path").then_some(()));
    assert!(!log().contains("quiet.test-path"));
}

#[test]
fn a_silent_websocket_ends_by_the_time_of_the_annotation() {
    let rig = rig(&["--tunnel-timeout", "1h"], || {
        nginx("a.test", &[("proxy-read-timeout", "1")], ALL)
    });
    rig.pod().answers(Reply::text(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    ));
    let mut client = Client::connect(rig.http);
    let head = client
        .send(
            "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .answer();
    assert_eq!(head.status, 101);
    assert!(client.ends(), "the tunnel ends though --tunnel-timeout is an hour");
}

/// The kernel opens the connection, and nobody reads from it.
#[test]
fn a_pod_that_takes_no_body_is_given_up() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let rig = rig(&["--body-timeout", "1h", "--response-timeout", "1h"], || {
        let annotations = [
            ("proxy-send-timeout", "1"),
            ("proxy-body-size", "0"),
            ("proxy-next-upstream", "off"),
        ];
        crate::rig::service("deaf", &[(address, "deaf")])
            + &nginx("a.test", &annotations, ALL).replace("name: web, port", "name: deaf, port")
    });
    let mut client = std::net::TcpStream::connect(rig.http).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let length = 256 << 20;
    let head = format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {length}\r\n\r\n");
    client.write_all(head.as_bytes()).unwrap();
    let mut sender = client.try_clone().unwrap();
    std::thread::spawn(move || {
        let piece = vec![b'x'; 1 << 16];
        while sender.write_all(&piece).is_ok() {}
    });
    let mut answer = [0; 12];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 504", "{}", String::from_utf8_lossy(&answer));
    drop(silent);
}
