//! Versions and cipher suites of TLS by host: what is refused in the handshake, and that no other connection leads around it.

use crate::ingress_nginx::nginx;
use crate::native::{ALL, native, problems};
use crate::rig::{Pod, Rig, eventually, get, service_with};
use crate::tls_rig::{TakeAny, Tls, config};
use rustls::client::Resumption;
use rustls::{CipherSuite, ClientConfig, HandshakeKind, SupportedProtocolVersion};
use std::sync::Arc;

const ALL_VERSIONS: &[&SupportedProtocolVersion] = rustls::ALL_VERSIONS;
const OLD: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
const CHACHA: CipherSuite = CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256;
const AES: CipherSuite = CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;

fn rig(flags: &[&str], manifests: impl FnOnce() -> String) -> Rig {
    let flags = [&["--drop-in", "ingress-nginx"], flags].concat();
    Rig::with(1, &flags, |pods: &[Pod]| service_with("web", pods, "") + &manifests())
}

fn connect(rig: &Rig, name: &str, config: ClientConfig) -> Option<Tls> {
    Tls::with(rig.https, Some(name), Arc::new(config)).ok()
}

/// A client of TLS 1.2 that knows one suite.
fn with_suite(suite: CipherSuite) -> ClientConfig {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites.retain(|known| known.suite() == suite);
    ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(OLD)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TakeAny))
        .with_no_client_auth()
}

#[test]
fn an_old_version_is_refused_in_the_handshake() {
    let rig = rig(&[], || {
        native("new.test", &[("tls-min-version", "1.3")], ALL)
            + &native("old.test", &[("tls-min-version", "1.2")], ALL)
            + &native("open.test", &[], ALL)
    });
    assert!(connect(&rig, "new.test", config(OLD)).is_none());
    let mut new = connect(&rig, "new.test", config(ALL_VERSIONS)).unwrap();
    assert_eq!(new.get("new.test", "/").0, 200);
    assert!(
        rig.pod().last().field("ssl-client-verify").is_empty(),
        "nobody was asked for a certificate"
    );
    for name in ["old.test", "open.test"] {
        let mut old = connect(&rig, name, config(OLD)).unwrap();
        let served = rig.pod().requests().len();
        assert_eq!(
            old.get("new.test", "/").0,
            421,
            "{name}: not by another name's connection"
        );
        assert_eq!(rig.pod().requests().len(), served);
        let mut old = connect(&rig, name, config(OLD)).unwrap();
        assert_eq!(old.get(name, "/").0, 200);
    }
    // A connection without a name has the usual versions.
    let mut nameless = Tls::with(rig.https, None, Arc::new(config(OLD))).unwrap();
    assert_eq!(nameless.get("new.test", "/").0, 421);
    let mut new = connect(&rig, "new.test", config(ALL_VERSIONS)).unwrap();
    assert_eq!(new.get("open.test", "/").0, 421);
    let plain = rig
        .client()
        .send("GET / HTTP/1.1\r\nHost: new.test\r\n\r\n")
        .answer()
        .status;
    assert_eq!(plain, 200, "plain requests have no version");
    let (_, explained) = get(rig.admin, "/api/v1/explain?url=https://new.test/");
    assert!(explained.contains("the connection has to use TLS 1.3"), "{explained}");
}

#[test]
fn only_suites_that_are_named_are_taken() {
    let suites = "ECDHE-ECDSA-CHACHA20-POLY1305:AES128-SHA";
    let rig = rig(&[], || {
        native("own.test", &[("tls-ciphers", suites)], ALL)
            + &nginx(
                "nginx.test",
                &[
                    ("nginx.ingress.kubernetes.io/ssl-ciphers", "HIGH:!aNULL:!AES"),
                    ("nginx.ingress.kubernetes.io/ssl-prefer-server-ciphers", "true"),
                ],
                ALL,
            )
            + &nginx("open.test", &[], ALL)
    });
    for name in ["own.test", "nginx.test"] {
        assert!(connect(&rig, name, with_suite(AES)).is_none(), "{name}");
        let mut tls = connect(&rig, name, with_suite(CHACHA)).unwrap();
        assert_eq!(tls.get(name, "/").0, 200, "{name}");
        let mut tls = connect(&rig, name, config(ALL_VERSIONS)).unwrap();
        assert_eq!(tls.get(name, "/").0, 200, "{name}: TLS 1.3 stays");
        let mut other = connect(&rig, "open.test", with_suite(AES)).unwrap();
        assert_eq!(other.get(name, "/").0, 421, "{name}");
    }
    let said = problems(&rig, "own.test");
    assert!(
        said.contains("InvalidAnnotation") && said.contains("named AES128-SHA"),
        "{said}"
    );
}

#[test]
fn sessions_are_resumed_for_their_own_name_alone() {
    let rig = rig(&[], || {
        native("a.test", &[("tls-min-version", "1.3")], ALL)
            + &native(
                "b.test",
                &[("tls-min-version", "1.3"), ("tls-ciphers", "ECDHE+AES256")],
                ALL,
            )
    });
    let shared = Arc::new(rustls::client::ClientSessionMemoryCache::new(16));
    let mut client = config(ALL_VERSIONS);
    client.resumption = Resumption::store(shared);
    let client = Arc::new(client);
    let mut kinds = Vec::new();
    for name in ["a.test", "a.test", "b.test", "b.test"] {
        let mut tls = Tls::with(rig.https, Some(name), client.clone()).unwrap();
        assert_eq!(tls.get(name, "/").0, 200);
        kinds.push(tls.0.conn.handshake_kind());
    }
    assert_eq!(
        kinds,
        [
            Some(HandshakeKind::Full),
            Some(HandshakeKind::Resumed),
            Some(HandshakeKind::Full),
            Some(HandshakeKind::Resumed)
        ]
    );
}

#[test]
fn what_cannot_be_read_closes_the_host() {
    let rig = rig(&[], || {
        native("version.test", &[("tls-min-version", "1.1")], ALL)
            + &native("suites.test", &[("tls-ciphers", "RC4-SHA:AES128-SHA")], ALL)
            + &nginx(
                "nginx.test",
                &[("nginx.ingress.kubernetes.io/ssl-ciphers", "RC4-SHA")],
                ALL,
            )
            + &native(
                "passed.test",
                &[("tls-min-version", "1.3"), ("tls-passthrough", "true")],
                ALL,
            )
    });
    for (host, why) in [
        ("version.test", "neither 1.2 nor 1.3"),
        ("suites.test", "names no cipher suite"),
        ("nginx.test", "names no cipher suite"),
    ] {
        let answer = rig
            .client()
            .send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .answer();
        assert_eq!((answer.status, &*answer.body), (503, &b"guard invalid\n"[..]), "{host}");
        let said = problems(&rig, host);
        assert!(said.contains("GuardInvalid") && said.contains(why), "{host}: {said}");
    }
    assert!(connect(&rig, "passed.test", config(ALL_VERSIONS)).is_none());
    assert!(problems(&rig, "passed.test").contains("TLS connections are passed on"));
    assert!(rig.pod().requests().is_empty());
}

#[test]
fn all_ingresses_of_a_host_count_and_changes_hold_for_new_connections() {
    let rig = rig(&[], || {
        native("a.test", &[("tls-ciphers", "ECDHE-ECDSA-CHACHA20-POLY1305")], ALL)
    });
    let second = |annotations: &[(&str, &str)]| {
        native("a.test", annotations, &[("Prefix", "/b")]).replace("name: 'xa-test'", "name: 'second'")
    };
    let mut first = connect(&rig, "a.test", with_suite(CHACHA)).unwrap();
    assert_eq!(first.get("a.test", "/").0, 200);
    let file = rig.manifest("second.yaml");
    std::fs::write(&file, second(&[("tls-min-version", "1.3")])).unwrap();
    eventually("the version holds", || {
        connect(&rig, "a.test", with_suite(CHACHA)).is_none().then_some(())
    });
    let mut new = connect(&rig, "a.test", config(ALL_VERSIONS)).unwrap();
    assert_eq!(new.get("a.test", "/b").0, 200);
    std::fs::write(&file, second(&[("tls-ciphers", "ECDHE+AES")])).unwrap();
    eventually("no suite is left", || {
        let answer = rig.client().send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").answer();
        (answer.status == 503).then_some(())
    });
    eventually("it is said", || {
        let (_, said) = get(rig.admin, "/api/v1/diagnostics");
        said.contains("leaves no cipher suite that older Ingresses of the host take")
            .then_some(())
    });
    std::fs::remove_file(&file).unwrap();
    eventually("it is as before", || {
        connect(&rig, "a.test", with_suite(CHACHA)).map(|_| ())
    });
}
