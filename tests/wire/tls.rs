//! TLS: which host, which protocol, and nothing that hurts another.

use crate::rig::{Rig, eventually, ingress, service};
use crate::tls_rig::{Tls, config, make, secret, secure, shown, world};
use rustls::HandshakeKind;
use std::io::Read;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

#[test]
fn row_17_a_host_of_another_certificate_is_misdirected() {
    let (one, two, wild) = (make(&["one.test"]), make(&["two.test"]), make(&["*.w.test", "w.test"]));
    let (both, own) = (make(&["both.test", "one.test"]), make(&["own.w.test"]));
    let manifests = [
        secret("both", &both.certificate, &both.key),
        secret("own", &own.certificate, &own.key),
        secure("both", "both.test", "both.test", "both", ""),
        secure("own", "own.w.test", "own.w.test", "own", ""),
        secret("one", &one.certificate, &one.key),
        secret("two", &two.certificate, &two.key),
        secret("wild", &wild.certificate, &wild.key),
        secure("one", "one.test", "one.test", "one", ""),
        secure("two", "two.test", "two.test", "two", ""),
        secure("wild", "a.w.test", "\"*.w.test\", w.test", "wild", ""),
        ingress("b", "b.w.test", "/", "web", ""),
        ingress("w", "w.test", "/", "web", ""),
        ingress("plain", "plain.test", "/", "web", ""),
        ingress("other", "other.test", "/", "web", ""),
    ]
    .concat();
    let rig = world(&[], &manifests);
    for (name, host, status) in [
        (Some("one.test"), "one.test", 200),
        (Some("one.test"), "ONE.test.:443", 200),
        (Some("one.test"), "two.test", 421),
        (Some("one.test"), "Two.Test.", 421),
        (Some("one.test"), "plain.test", 421),
        (Some("plain.test"), "one.test", 421),
        (Some("plain.test"), "other.test", 200),
        (Some("a.w.test"), "b.w.test", 200),
        (Some("a.w.test"), "w.test", 200),
        (Some("a.w.test"), "one.test", 421),
        // A balancer that names nobody, as nginx does by default, asks for whatever its clients ask for.
        (None, "one.test", 200),
        (None, "a.w.test", 200),
        (None, "plain.test", 200),
        // Hosts with certificates of their own, which the certificate that is shown covers as well.
        (Some("both.test"), "one.test", 200),
        (Some("one.test"), "both.test", 421),
        (Some("a.w.test"), "own.w.test", 200),
        (Some("own.w.test"), "a.w.test", 421),
    ] {
        let config = Arc::new(config(rustls::ALL_VERSIONS));
        let mut client = Tls::with(rig.https, name, config).unwrap();
        assert_eq!(client.get(host, "/").0, status, "{name:?} {host}");
        let Some(name) = name else { continue };
        let path = format!("/api/v1/explain?url=https://{name}/&header=Host:%20{host}");
        let said = crate::rig::get(rig.admin, &path).1;
        assert_eq!(said.contains("\"status\": 421"), status == 421, "{name} {host}: {said}");
    }
}

#[test]
fn a_trusted_proxy_may_ask_for_any_host_on_any_connection() {
    let (one, two) = (make(&["one.test"]), make(&["two.test"]));
    let manifests = [
        secret("one", &one.certificate, &one.key),
        secret("two", &two.certificate, &two.key),
        secure("one", "one.test", "one.test", "one", ""),
        secure("two", "two.test", "two.test", "two", ""),
    ]
    .concat();
    let rig = world(&["--trusted-proxies", "127.0.0.1"], &manifests);
    for name in [Some("one.test"), Some("two.test"), Some("proxy.internal"), None] {
        let mut client = Tls::with(rig.https, name, Arc::new(config(rustls::ALL_VERSIONS))).unwrap();
        for host in ["one.test", "two.test", "one.test"] {
            assert_eq!(client.get(host, "/").0, 200, "{name:?} {host}");
        }
    }
}

#[test]
fn plain_requests_are_sent_to_https() {
    let one = make(&["one.test"]);
    let manifests = [
        secret("one", &one.certificate, &one.key),
        secure(
            "one",
            "one.test",
            "one.test",
            "one",
            "narthex.io/hsts: \"max-age=600; includeSubDomains\"",
        ),
        secure(
            "not",
            "not.test",
            "not.test",
            "one",
            "narthex.io/ssl-redirect: \"false\"",
        ),
        ingress(
            "forced",
            "forced.test",
            "/",
            "web",
            ", annotations: {narthex.io/ssl-redirect: \"true\"}",
        ),
        ingress("plain", "plain.test", "/", "web", ""),
    ]
    .concat();
    let rig = world(&["--trusted-proxies", "127.0.0.1"], &manifests);
    let ask = |host: &str, path: &str, fields: &str| {
        let mut client = rig.client();
        client.send(format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n{fields}\r\n"
        ));
        client.answer()
    };
    let answer = ask("one.test:8080", "/a//b?c=d", "");
    assert_eq!(answer.status, 308);
    let wanted = format!("https://one.test:{}/a/b?c=d", rig.https.port());
    assert_eq!(answer.field("location"), Some(wanted.as_str()));
    assert_eq!(answer.field("strict-transport-security"), None, "not over plain HTTP");
    assert_eq!(ask("forced.test", "/", "").status, 308);
    for (host, path, fields) in [
        ("not.test", "/", ""),
        ("plain.test", "/", ""),
        ("one.test", "/.well-known/acme-challenge/token", ""),
        ("one.test", "/", "X-Forwarded-Proto: https\r\n"),
        ("one.test", "/", "X-Forwarded-Proto: wss\r\n"),
        ("one.test", "/", "Forwarded: for=192.0.2.1;proto=https\r\n"),
    ] {
        assert_eq!(ask(host, path, fields).status, 200, "{host}{path} {fields}");
    }
    for fields in [
        "X-Forwarded-Proto: ws\r\n",
        "Forwarded: proto=http\r\n",
        // Who knows which of the two a stranger has sent?
        "X-Forwarded-Proto: http\r\nForwarded: proto=https\r\n",
        "X-Forwarded-Proto: https\r\nForwarded: proto=http\r\n",
        "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https, http\r\n",
    ] {
        assert_eq!(ask("one.test", "/", fields).status, 308, "{fields}");
    }
    let said = ask("one.test", "/", "X-Forwarded-Proto: https\r\n");
    assert_eq!(
        said.field("strict-transport-security"),
        Some("max-age=600; includeSubDomains")
    );
    let (status, head) = Tls::open(&rig, "one.test").get("one.test", "/");
    assert_eq!(status, 200);
    assert!(
        head.contains("strict-transport-security: max-age=600; includesubdomains"),
        "{head}"
    );

    let untrusting = world(&["--ssl-redirect=true"], &manifests);
    let mut client = untrusting.client();
    client.send("GET / HTTP/1.1\r\nHost: one.test\r\nX-Forwarded-Proto: https\r\n\r\n");
    assert_eq!(client.answer().status, 308, "anybody can say that");
    let off = world(&["--ssl-redirect=false"], &manifests);
    let mut client = off.client();
    client.send("GET / HTTP/1.1\r\nHost: one.test\r\n\r\n");
    assert_eq!(client.answer().status, 200);
}

#[test]
fn what_the_operator_forbids_is_refused() {
    let one = make(&["one.test"]);
    let manifests = secret("one", &one.certificate, &one.key) + &secure("one", "one.test", "one.test", "one", "");
    let rig = world(
        &[
            "--strict-sni",
            "--tls-min-version",
            "1.3",
            "--handshake-timeout",
            "500ms",
        ],
        &manifests,
    );
    assert_eq!(shown(&rig, "one.test"), one.der);
    let any = Arc::new(config(rustls::ALL_VERSIONS));
    assert!(Tls::with(rig.https, Some("nobody.test"), any.clone()).is_err());
    assert!(Tls::with(rig.https, None, any).is_err());
    let old = Arc::new(config(&[&rustls::version::TLS12]));
    assert!(Tls::with(rig.https, Some("one.test"), old).is_err());
    // One who says nothing.
    let mut silent = TcpStream::connect(rig.https).unwrap();
    silent.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(silent.read(&mut [0; 16]).unwrap(), 0);
    eventually("all are counted", || {
        (rig.counter("tls_handshake_failures_total") >= 4).then_some(())
    });
    // One who speaks plain HTTP is told.
    let mut client = crate::rig::Client::connect(rig.https);
    client.send("GET / HTTP/1.1\r\nHost: one.test\r\n\r\n");
    let answer = client.answer();
    assert_eq!(answer.status, 400);
    assert!(String::from_utf8_lossy(&answer.body).contains("speaks HTTPS"));
}

#[test]
fn sessions_are_resumed_on_any_shard() {
    let one = make(&["one.test"]);
    let manifests = secret("one", &one.certificate, &one.key) + &secure("one", "one.test", "one.test", "one", "");
    let rig = world(&["--shards", "4"], &manifests);
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let config = Arc::new(config(&[version]));
        let mut kept = Vec::new();
        for round in 0..8 {
            let mut client = Tls::with(rig.https, Some("one.test"), config.clone()).unwrap();
            // Tickets come with the first reply.
            assert_eq!(client.get("one.test", "/").0, 200);
            let wanted = if round == 0 {
                HandshakeKind::Full
            } else {
                HandshakeKind::Resumed
            };
            assert_eq!(client.0.conn.handshake_kind(), Some(wanted), "{version:?} {round}");
            kept.push(client);
        }
    }
}

#[test]
fn alpn_chooses_the_protocol() {
    let rig = world(&[], &ingress("web", "a.test", "/", "web", ""));
    for (offered, chosen) in [
        (vec!["h2", "http/1.1"], Some("h2")),
        (vec!["http/1.1"], Some("http/1.1")),
        (vec![], None),
    ] {
        let mut config = config(rustls::ALL_VERSIONS);
        config.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
        let client = Tls::with(rig.https, Some("a.test"), Arc::new(config)).unwrap();
        assert_eq!(client.0.conn.alpn_protocol(), chosen.map(str::as_bytes), "{offered:?}");
    }
}

#[test]
fn row_23_a_redirect_leads_to_the_same_host_whatever_the_path_says() {
    let annotations = ", annotations: {narthex.io/ssl-redirect: \"true\", narthex.io/merge-slashes: \"false\"}";
    let rig = Rig::with(1, &[], |pods| {
        service("web", &[(pods[0].address, "p0")]) + &ingress("web", "a.test", "/", "web", annotations)
    });
    for (path, wanted) in [
        ("//evil.test/x", "//evil.test/x"),
        ("/%0d%0aSet-Cookie:%20a=b", "/%0D%0ASet-Cookie:%20a=b"),
        ("/@evil.test", "/@evil.test"),
        ("http://a.test//evil.test", "//evil.test"),
    ] {
        let answer = rig
            .client()
            .send(format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n"))
            .answer();
        assert_eq!(answer.status, 308, "{path}");
        let wanted = format!("https://a.test:{}{wanted}", rig.https.port());
        assert_eq!(answer.field("location"), Some(wanted.as_str()), "{path}");
        assert_eq!(answer.field("set-cookie"), None, "{path}");
    }
}

#[test]
fn a_redirect_names_the_port_that_clients_come_in_by() {
    let annotations = ", annotations: {narthex.io/ssl-redirect: \"true\"}";
    for (port, wanted) in [("443", "https://a.test/"), ("30443", "https://a.test:30443/")] {
        let rig = Rig::with(1, &["--https-port", port], |pods| {
            service("web", &[(pods[0].address, "p0")]) + &ingress("web", "a.test", "/", "web", annotations)
        });
        let answer = rig.client().send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").answer();
        assert_eq!(answer.field("location"), Some(wanted));
    }
}
