//! TLS: which certificate, which host, which protocol, and nothing that hurts another.

use crate::rig::{Rig, eventually, ingress, service};
use base64::Engine;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SignatureAlgorithm};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, SignatureScheme, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// A certificate and its key.
pub struct Made {
    der: Vec<u8>,
    pub certificate: String,
    pub key: String,
}

pub fn make(names: &[&str]) -> Made {
    make_with(names, &PKCS_ECDSA_P256_SHA256, |_| {})
}

fn make_with(
    names: &[&str],
    algorithm: &'static SignatureAlgorithm,
    change: impl FnOnce(&mut CertificateParams),
) -> Made {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut parameters = CertificateParams::new(names).unwrap();
    change(&mut parameters);
    let key = KeyPair::generate_for(algorithm).unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    Made {
        der: certificate.der().to_vec(),
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    }
}

pub fn secret(name: &str, certificate: &str, key: &str) -> String {
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\ntype: kubernetes.io/tls\n\
         data: {{tls.crt: {}, tls.key: {}}}\n---\n",
        encode(certificate),
        encode(key)
    )
}

/// An Ingress of a host with one entry in `spec.tls`.
pub fn secure(name: &str, host: &str, hosts: &str, secret: &str, annotations: &str) -> String {
    let extra = format!(", annotations: {{{annotations}}}");
    let rules = ingress(name, host, "/", "web", &extra);
    let tls = format!("spec:\n  tls: [{{hosts: [{hosts}], secretName: {secret}}}]\n");
    rules.replace("spec:\n", &tls)
}

/// Takes any certificate: the tests look at it themselves.
#[derive(Debug)]
struct TakeAny;

impl ServerCertVerifier for TakeAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::RSA_PSS_SHA256,
            SignatureScheme::RSA_PKCS1_SHA256,
        ]
    }
}

pub fn config(versions: &[&'static rustls::SupportedProtocolVersion]) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TakeAny))
        .with_no_client_auth()
}

/// A client that has shaken hands.
pub struct Tls(StreamOwned<ClientConnection, TcpStream>);

impl Tls {
    fn with(address: SocketAddr, name: Option<&str>, config: Arc<ClientConfig>) -> std::io::Result<Self> {
        // Without a name there is an address, which is never sent.
        let server = match name {
            Some(name) => ServerName::try_from(name.to_owned()).unwrap(),
            None => ServerName::from(address.ip()),
        };
        Self::over(TcpStream::connect(address)?, server, config)
    }

    /// Shakes hands over a connection that is there.
    pub fn over(tcp: TcpStream, server: ServerName<'static>, config: Arc<ClientConfig>) -> std::io::Result<Self> {
        let connection = ClientConnection::new(config, server).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(20)))?;
        let mut stream = StreamOwned::new(connection, tcp);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self(stream))
    }

    fn open(rig: &Rig, name: &str) -> Self {
        Self::with(rig.https, Some(name), Arc::new(config(rustls::ALL_VERSIONS))).unwrap()
    }

    fn certificate(&self) -> Vec<u8> {
        self.0.conn.peer_certificates().unwrap()[0].to_vec()
    }

    /// Status and head of the reply to a GET.
    pub fn get(&mut self, host: &str, path: &str) -> (u16, String) {
        write!(self.0, "GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
        let mut said = Vec::new();
        let mut piece = [0; 4096];
        while crate::rig::message_length(&said).is_none_or(|length| said.len() < length) {
            let count = self.0.read(&mut piece).unwrap();
            assert!(
                count > 0,
                "the connection ends after {:?}",
                String::from_utf8_lossy(&said)
            );
            said.extend_from_slice(&piece[..count]);
        }
        let head = String::from_utf8(said).unwrap();
        (
            head.split(' ').nth(1).unwrap().parse().unwrap(),
            head.to_ascii_lowercase(),
        )
    }
}

fn shown(rig: &Rig, name: &str) -> Vec<u8> {
    Tls::open(rig, name).certificate()
}

/// narthex with what `manifests` says, and one pod behind Service `web`.
pub fn world(flags: &[&str], manifests: &str) -> Rig {
    Rig::with(1, flags, |pods| service("web", &[(pods[0].address, "p0")]) + manifests)
}

#[test]
fn each_name_is_shown_its_own_certificate() {
    let (one, two, wild, many) = (
        make(&["one.test"]),
        make(&["two.test"]),
        make(&["*.wild.test"]),
        make(&["many.test", "more.test"]),
    );
    let manifests = [
        secret("one", &one.certificate, &one.key),
        secret("two", &two.certificate, &two.key),
        secret("wild", &wild.certificate, &wild.key),
        secret("many", &many.certificate, &many.key),
        secure("one", "one.test", "one.test", "one", ""),
        secure("two", "two.test", "two.test", "two", ""),
        secure("wild", "a.wild.test", "\"*.wild.test\"", "wild", ""),
        // No hosts: those of the certificate.
        secure("many", "many.test", "", "many", ""),
        // No entry at all, but covered.
        ingress("more", "more.test", "/", "web", ""),
    ]
    .concat();
    let rig = world(&[], &manifests);
    for (name, made) in [
        ("one.test", &one),
        ("two.test", &two),
        ("TWO.test", &two),
        ("a.wild.test", &wild),
        ("b.wild.test", &wild),
        ("many.test", &many),
        ("more.test", &many),
    ] {
        assert_eq!(shown(&rig, name), made.der, "{name}");
    }
    let own = shown(&rig, "nobody.test");
    assert!([&one, &two, &wild, &many].iter().all(|made| made.der != own));
    assert_eq!(shown(&rig, "a.b.wild.test"), own, "a wildcard is one label");
    let mut client = Tls::open(&rig, "one.test");
    let (status, head) = client.get("one.test", "/");
    assert_eq!(status, 200, "{head}");
    assert!(
        rig.pod()
            .last()
            .field("x-forwarded-proto")
            .contains(&"https".to_owned())
    );
    assert!(rig.pod().last().field("x-forwarded-port").contains(&"443".to_owned()));
}

#[test]
fn both_kinds_of_key_serve_one_host() {
    let (ecdsa, rsa) = (
        make(&["both.test"]),
        make_with(&["both.test"], &PKCS_RSA_SHA256, |_| {}),
    );
    let rules = ingress("both", "both.test", "/", "web", "").replace(
        "spec:\n",
        "spec:\n  tls: [{hosts: [both.test], secretName: rsa}, {hosts: [both.test], secretName: ecdsa}]\n",
    );
    let manifests =
        secret("ecdsa", &ecdsa.certificate, &ecdsa.key) + &secret("rsa", &rsa.certificate, &rsa.key) + &rules;
    let rig = world(&[], &manifests);
    assert_eq!(
        shown(&rig, "both.test"),
        ecdsa.der,
        "the cheaper one, if the client knows it"
    );
    // One that knows RSA only, as by the cipher suites it offers.
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider
        .cipher_suites
        .retain(|suite| format!("{:?}", suite.suite()).contains("ECDHE_RSA"));
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TakeAny))
        .with_no_client_auth();
    let client = Tls::with(rig.https, Some("both.test"), Arc::new(config)).unwrap();
    assert_eq!(client.certificate(), rsa.der);
}

#[test]
fn a_changed_secret_is_live_and_open_connections_go_on() {
    let (old, new, other) = (make(&["a.test"]), make(&["a.test"]), make(&["b.test"]));
    let manifests = [
        secret("b", &other.certificate, &other.key),
        secure("a", "a.test", "a.test", "a", ""),
        secure("b", "b.test", "b.test", "b", ""),
    ]
    .concat();
    let rig = world(&[], &manifests);
    let file = rig.manifest("secret.yaml");
    std::fs::write(&file, secret("a", &old.certificate, &old.key)).unwrap();
    eventually("it is shown", || (shown(&rig, "a.test") == old.der).then_some(()));
    let mut open = Tls::open(&rig, "a.test");
    assert_eq!(open.get("a.test", "/").0, 200);
    std::fs::write(&file, secret("a", &new.certificate, &new.key)).unwrap();
    eventually("the new one is shown", || {
        (shown(&rig, "a.test") == new.der).then_some(())
    });
    assert_eq!(open.get("a.test", "/").0, 200, "the old connection goes on");

    // What is no good changes nothing, and is named.
    for (bad, said) in [
        (
            secret("a", &new.certificate, &old.key),
            "does not belong to its certificate",
        ),
        (secret("a", "nonsense", &new.key), "holds no certificate"),
        (secret("a", &new.certificate, "nonsense"), "holds no private key"),
    ] {
        std::fs::write(&file, bad).unwrap();
        eventually(said, || {
            let problems = crate::rig::get(rig.admin, "/api/v1/diagnostics").1;
            (problems.contains(said) && problems.contains("stays in use")).then_some(())
        });
        assert_eq!(shown(&rig, "a.test"), new.der);
        assert_eq!(shown(&rig, "b.test"), other.der);
    }
    std::fs::remove_file(&file).unwrap();
    eventually("it is missed", || {
        let problems = crate::rig::get(rig.admin, "/api/v1/diagnostics").1;
        problems.contains("does not exist").then_some(())
    });
    assert_ne!(shown(&rig, "a.test"), new.der);
    assert_eq!(shown(&rig, "b.test"), other.der);
    assert_eq!(
        Tls::open(&rig, "a.test").get("a.test", "/").0,
        200,
        "under a certificate nobody believes"
    );
}

#[test]
fn times_and_names_that_do_not_fit_are_said() {
    let expired = make_with(&["late.test"], &PKCS_ECDSA_P256_SHA256, |parameters| {
        parameters.not_before = rcgen::date_time_ymd(2001, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2002, 2, 3);
    });
    let wrong = make(&["elsewhere.test"]);
    let manifests = [
        secret("expired", &expired.certificate, &expired.key),
        secret("wrong", &wrong.certificate, &wrong.key),
        secure("expired", "late.test", "late.test", "expired", ""),
        secure("wrong", "here.test", "here.test", "wrong", ""),
    ]
    .concat();
    let rig = world(&[], &manifests);
    eventually("both are said", || {
        let problems = crate::rig::get(rig.admin, "/api/v1/diagnostics").1;
        let expired = problems.contains("expired on 2002-02-03 00:00 UTC");
        let wrong = problems.contains("is for elsewhere.test, not for here.test");
        (expired && wrong).then_some(())
    });
    // There is nothing better.
    assert_eq!(shown(&rig, "late.test"), expired.der);
    assert_eq!(shown(&rig, "here.test"), wrong.der);
}

#[test]
fn row_17_a_host_of_another_certificate_is_misdirected() {
    let (one, two, wild) = (make(&["one.test"]), make(&["two.test"]), make(&["*.w.test", "w.test"]));
    let manifests = [
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
        (None, "one.test", 421),
        (None, "plain.test", 200),
    ] {
        let config = Arc::new(config(rustls::ALL_VERSIONS));
        let mut client = Tls::with(rig.https, name, config).unwrap();
        assert_eq!(client.get(host, "/").0, status, "{name:?} {host}");
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
    ] {
        assert_eq!(ask(host, path, fields).status, 200, "{host}{path} {fields}");
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
        (rig.counter("handshake_failures_total") >= 4).then_some(())
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
fn a_host_is_its_owners_and_the_best_of_its_certificates_is_shown() {
    let (own, theirs, wild) = (make(&["a.test"]), make(&["a.test"]), make(&["*.test"]));
    let expired = make_with(&["b.test"], &PKCS_ECDSA_P256_SHA256, |parameters| {
        parameters.not_after = rcgen::date_time_ymd(2002, 2, 3);
    });
    let good = make(&["b.test"]);
    // All are as old as each other, so this namespace comes first; but it has no rule for the host.
    let of_other = |text: String| text.replace("metadata: {name: ", "metadata: {namespace: aaa, name: ");
    let manifests = [
        secret("own", &own.certificate, &own.key),
        secure("a", "a.test", "a.test", "own", ""),
        // Neither its certificate for the host nor its wildcard counts there.
        of_other(secret("theirs", &theirs.certificate, &theirs.key)),
        of_other(secret("wild", &wild.certificate, &wild.key)),
        of_other(secure("a", "zoo.test", "a.test", "theirs", "")),
        of_other(secure("wild", "yak.test", "\"*.test\"", "wild", "")),
        // Of two offers the valid one, though its Ingress is later.
        secret("expired", &expired.certificate, &expired.key),
        secret("good", &good.certificate, &good.key),
        secure("b1", "b.test", "b.test", "expired", ""),
        secure("b2", "b.test", "b.test", "good", ""),
    ]
    .concat();
    let rig = world(&[], &manifests);
    assert_eq!(shown(&rig, "a.test"), own.der);
    assert_eq!(shown(&rig, "yak.test"), wild.der);
    assert_eq!(shown(&rig, "c.test"), wild.der);
    eventually("the valid one is shown", || {
        (shown(&rig, "b.test") == good.der).then_some(())
    });
    eventually("it is said", || {
        let problems = crate::rig::get(rig.admin, "/api/v1/diagnostics").1;
        (problems.contains("HostOfOtherNamespace") && problems.contains("CertificateConflict")).then_some(())
    });
}
