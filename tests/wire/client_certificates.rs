//! Certificates of clients: who comes in, and that nobody comes in by another way.

use crate::client_rig::{Authority, Client, authorities, config, connect, status};
use crate::h2_rig::{ask, request, run};
use crate::rig::{Rig, eventually, get, ingress, service};
use crate::tls_rig::{Tls, world};
use rustls::HandshakeKind;
use rustls::client::Tls13ClientSessionValue;
use rustls::client::{ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue};
use rustls::pki_types::ServerName;
use std::io::Write;
use std::sync::Arc;

/// An Ingress of a host whose clients need a certificate.
fn guarded(name: &str, host: &str, secret: &str, more: &str) -> String {
    let extra = format!(", annotations: {{narthex.io/client-ca-secret: {secret}{more}}}");
    ingress(name, host, "/", "web", &extra)
}

/// Two hosts with an authority each, and one without.
fn three_hosts(a: &Authority, b: &Authority) -> String {
    [
        authorities("a", &a.pem, None),
        authorities("b", &b.pem, None),
        guarded("a", "a.test", "a", ""),
        guarded("b", "b.test", "b", ""),
        ingress("open", "open.test", "/", "web", ""),
    ]
    .concat()
}

fn seen(rig: &Rig) -> usize {
    rig.pod().requests().len()
}

#[test]
fn a_certificate_for_one_host_never_opens_another() {
    let (a, b) = (Authority::new("A"), Authority::new("B"));
    let (of_a, of_b) = (a.signs("anna"), b.signs("bob"));
    // Neither does it help to be trusted.
    for flags in [&[][..], &["--trusted-proxies", "127.0.0.1"]] {
        let rig = world(flags, &three_hosts(&a, &b));
        let mut served = 0;
        for (name, client, asked) in [
            (
                Some("a.test"),
                Some(&of_a),
                [
                    ("a.test", 200),
                    ("b.test", 421),
                    ("open.test", 421),
                    ("none.test", 421),
                    ("a.test", 200),
                ],
            ),
            (
                Some("a.test"),
                Some(&of_b),
                [
                    ("a.test", 400),
                    ("b.test", 421),
                    ("open.test", 421),
                    ("none.test", 421),
                    ("a.test", 400),
                ],
            ),
            (
                Some("a.test"),
                None,
                [
                    ("a.test", 400),
                    ("b.test", 421),
                    ("open.test", 421),
                    ("none.test", 421),
                    ("a.test", 400),
                ],
            ),
            (
                Some("open.test"),
                Some(&of_a),
                [
                    ("a.test", 421),
                    ("b.test", 421),
                    ("open.test", 200),
                    ("none.test", 404),
                    ("a.test", 421),
                ],
            ),
            (
                None,
                Some(&of_a),
                [
                    ("a.test", 421),
                    ("b.test", 421),
                    ("open.test", 200),
                    ("none.test", 404),
                    ("a.test", 421),
                ],
            ),
            (
                Some("none.test"),
                Some(&of_b),
                [
                    ("b.test", 421),
                    ("B.Test.:443", 421),
                    ("open.test", 200),
                    ("none.test", 404),
                    ("b.test", 421),
                ],
            ),
        ] {
            let mut connection = connect(&rig, name, client);
            for (host, wanted) in asked {
                assert_eq!(connection.get(host, "/").0, wanted, "{name:?} {host} {flags:?}");
                served += usize::from(wanted == 200);
                assert_eq!(seen(&rig), served, "{name:?} {host}");
            }
        }
        // Over plain HTTP there is no certificate at all.
        for (host, wanted) in [("a.test", 400), ("b.test", 400), ("open.test", 200)] {
            let answer = rig
                .client()
                .send(format!(
                    "GET / HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-Proto: https\r\n\r\n"
                ))
                .answer();
            assert_eq!(answer.status, wanted, "{host}");
        }
        assert_eq!(seen(&rig), served + 1);
    }
}

#[test]
fn a_certificate_for_one_host_never_opens_another_over_http2() {
    let (a, b) = (Authority::new("A"), Authority::new("B"));
    let of_a = a.signs("anna");
    let rig = world(&[], &three_hosts(&a, &b));
    run(async {
        for (name, asked) in [
            (
                "a.test",
                [("a.test", 200), ("b.test", 421), ("open.test", 421), ("a.test", 200)],
            ),
            (
                "b.test",
                [("b.test", 400), ("a.test", 421), ("open.test", 421), ("b.test", 400)],
            ),
            (
                "open.test",
                [("open.test", 200), ("a.test", 421), ("b.test", 421), ("open.test", 200)],
            ),
        ] {
            let mut sender = over_http2(&rig, name, Some(&of_a)).await.0;
            for (host, wanted) in asked {
                let request = request("GET", &format!("https://{host}/")).body(()).unwrap();
                let answer = ask(&mut sender, request, None).await.unwrap();
                assert_eq!(answer.status, wanted, "{name} {host}");
            }
        }
    });
    assert_eq!(seen(&rig), 4);
}

/// A connection over HTTP/2, and what ends with it.
async fn over_http2(
    rig: &Rig,
    name: &'static str,
    client: Option<&Client>,
) -> (h2::client::SendRequest<bytes::Bytes>, tokio::task::JoinHandle<()>) {
    let mut config = config(client, rustls::ALL_VERSIONS);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tcp = tokio::net::TcpStream::connect(rig.https).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = connector
        .connect(ServerName::try_from(name).unwrap(), tcp)
        .await
        .unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    let ended = tokio::spawn(async {
        let _ = connection.await;
    });
    (sender.ready().await.unwrap(), ended)
}

/// Sessions that are resumed whatever name they were for.
#[derive(Debug)]
struct AnyName(ClientSessionMemoryCache);

fn one_name() -> ServerName<'static> {
    ServerName::try_from("any.test").unwrap()
}

impl ClientSessionStore for AnyName {
    fn set_kx_hint(&self, _: ServerName<'static>, group: rustls::NamedGroup) {
        self.0.set_kx_hint(one_name(), group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<rustls::NamedGroup> {
        self.0.kx_hint(&one_name())
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.set_tls12_session(one_name(), value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(&one_name())
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.remove_tls12_session(&one_name());
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(one_name(), value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&one_name())
    }
}

#[test]
fn a_resumed_session_opens_nothing() {
    let (a, b) = (Authority::new("A"), Authority::new("B"));
    let of_a = a.signs("anna");
    let rig = world(&[], &three_hosts(&a, &b));
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let mut config = config(Some(&of_a), &[version]);
        config.resumption = Resumption::store(Arc::new(AnyName(ClientSessionMemoryCache::new(8))));
        let config = Arc::new(config);
        let mut kinds = Vec::new();
        for (name, host, wanted) in [
            ("open.test", "open.test", 200),
            ("open.test", "open.test", 200),
            ("a.test", "a.test", 200),
            ("a.test", "a.test", 200),
            ("b.test", "b.test", 400),
            ("open.test", "a.test", 421),
            ("b.test", "a.test", 421),
            ("a.test", "b.test", 421),
        ] {
            let mut connection = Tls::with(rig.https, Some(name), config.clone()).unwrap();
            assert_eq!(connection.get(host, "/").0, wanted, "{name} {host} {version:?}");
            kinds.push((name, connection.0.conn.handshake_kind().unwrap()));
        }
        // Sessions are resumed where nobody is asked for a certificate, and only there.
        assert_eq!(kinds[1], ("open.test", HandshakeKind::Resumed), "{version:?}");
        let guarded = kinds.iter().filter(|(name, _)| *name != "open.test");
        for (name, kind) in guarded {
            assert_ne!(*kind, HandshakeKind::Resumed, "{name} {version:?}");
        }
    }
}

#[test]
fn changed_authorities_end_what_was_opened_under_the_old_ones() {
    let (old, new) = (Authority::new("Old"), Authority::new("New"));
    let (anna, bob) = (old.signs("anna"), new.signs("bob"));
    let rig = world(&[], &guarded("a", "a.test", "ca", ""));
    let file = rig.manifest("ca.yaml");
    std::fs::write(&file, authorities("ca", &old.pem, None)).unwrap();
    eventually("it is live", || {
        (status(&rig, "a.test", Some(&anna)) == 200).then_some(())
    });
    let mut http1 = connect(&rig, Some("a.test"), Some(&anna));
    assert_eq!(http1.get("a.test", "/").0, 200);
    run(async {
        let (mut http2, ended) = over_http2(&rig, "a.test", Some(&anna)).await;
        let root = || request("GET", "https://a.test/").body(()).unwrap();
        assert_eq!(ask(&mut http2, root(), None).await.unwrap().status, 200);
        std::fs::write(&file, authorities("ca", &new.pem, None)).unwrap();
        eventually("the new ones are live", || {
            (status(&rig, "a.test", Some(&bob)) == 200).then_some(())
        });
        let before = seen(&rig);
        // What still comes is refused, and the connection ends by itself.
        if let Ok(answer) = ask(&mut http2, root(), None).await {
            assert_eq!(answer.status, 421);
        }
        ended.await.unwrap();
        assert_eq!(seen(&rig), before);
    });
    let before = seen(&rig);
    let _ = write!(http1.0, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let mut said = Vec::new();
    let _ = std::io::Read::read_to_end(&mut http1.0, &mut said);
    let said = String::from_utf8_lossy(&said);
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 421 "), "{said}");
    assert_eq!(seen(&rig), before);
    assert_eq!(status(&rig, "a.test", Some(&anna)), 400);
    assert_eq!(status(&rig, "a.test", Some(&bob)), 200);
}

#[test]
fn a_host_that_begins_to_ask_ends_what_was_opened_before() {
    let ca = Authority::new("CA");
    let anna = ca.signs("anna");
    let rig = world(&[], &authorities("ca", &ca.pem, None));
    let file = rig.manifest("a.yaml");
    std::fs::write(&file, ingress("a", "a.test", "/", "web", "")).unwrap();
    eventually("it is live", || (status(&rig, "a.test", None) == 200).then_some(()));
    let mut open = connect(&rig, Some("a.test"), None);
    assert_eq!(open.get("a.test", "/").0, 200);
    std::fs::write(&file, guarded("a", "a.test", "ca", "")).unwrap();
    eventually("it asks", || (status(&rig, "a.test", None) == 400).then_some(()));
    let before = seen(&rig);
    let _ = write!(open.0, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let mut said = Vec::new();
    let _ = std::io::Read::read_to_end(&mut open.0, &mut said);
    let said = String::from_utf8_lossy(&said);
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 421 "), "{said}");
    assert_eq!(seen(&rig), before);
    assert_eq!(status(&rig, "a.test", Some(&anna)), 200);
}

#[test]
fn without_its_authorities_a_host_is_closed() {
    let ca = Authority::new("CA");
    let anna = ca.signs("anna");
    let manifests = guarded("a", "a.test", "ca", "") + &ingress("also", "a.test", "/also", "web", "");
    let rig = world(&[], &manifests);
    let file = rig.manifest("ca.yaml");
    let good = authorities("ca", &ca.pem, None);
    let nothing = "apiVersion: v1\nkind: Secret\nmetadata: {name: ca}\ndata: {x: eA==}\n".to_owned();
    for (manifest, said) in [
        (None, "does not exist"),
        (Some(nothing), "has no ca.crt"),
        (Some(good.clone()), ""),
        (Some(authorities("ca", "nonsense", None)), "holds no certificate"),
        (Some(authorities("ca", &ca.pem, Some(&ca.revokes(&[])))), ""),
        (Some(authorities("ca", &ca.pem, Some("nonsense"))), "holds no list"),
        (Some(authorities("ca", &ca.pem, None)), ""),
        (None, "does not exist"),
    ] {
        match &manifest {
            Some(manifest) => std::fs::write(&file, manifest).unwrap(),
            None => drop(std::fs::remove_file(&file)),
        }
        let wanted = if said.is_empty() { 200 } else { 503 };
        eventually(&format!("{wanted}: {said}"), || {
            let problems = get(rig.admin, "/api/v1/diagnostics").1;
            let is_said = said.is_empty() != problems.contains("all routes of a.test are closed");
            (is_said && problems.contains(said) && status(&rig, "a.test", Some(&anna)) == wanted).then_some(())
        });
        let before = seen(&rig);
        for path in ["/", "/also", "/also/x"] {
            assert_eq!(
                connect(&rig, Some("a.test"), Some(&anna)).get("a.test", path).0,
                wanted,
                "{said}"
            );
        }
        assert_eq!(seen(&rig), before + if wanted == 200 { 3 } else { 0 });
        if wanted == 503 {
            assert_eq!(connect(&rig, None, None).get("a.test", "/").0, 503);
            let answer = rig.client().send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").answer();
            assert_eq!(answer.status, 503);
        }
        let explained = get(
            rig.admin,
            "/api/v1/explain?url=https://a.test/&client_subject=CN%3Danna",
        )
        .1;
        assert_eq!(explained.contains("\"status\": 503"), wanted == 503, "{explained}");
        assert_eq!(
            explained.contains("verified by Secret default/ca"),
            wanted == 200,
            "{explained}"
        );
    }
}

#[test]
fn a_revoked_certificate_is_refused_as_soon_as_the_list_says_so() {
    let ca = Authority::new("CA");
    let serial = |number: u64| {
        move |parameters: &mut rcgen::CertificateParams| {
            parameters.serial_number = Some(rcgen::SerialNumber::from(number));
        }
    };
    let (anna, bob) = (ca.signs_with("anna", serial(17)), ca.signs_with("bob", serial(18)));
    let rig = world(&[], &guarded("a", "a.test", "ca", ""));
    let file = rig.manifest("ca.yaml");
    std::fs::write(&file, authorities("ca", &ca.pem, Some(&ca.revokes(&[])))).unwrap();
    eventually("it is live", || {
        (status(&rig, "a.test", Some(&anna)) == 200).then_some(())
    });
    run(async {
        let (mut http2, ended) = over_http2(&rig, "a.test", Some(&anna)).await;
        let root = || request("GET", "https://a.test/").body(()).unwrap();
        assert_eq!(ask(&mut http2, root(), None).await.unwrap().status, 200);
        std::fs::write(&file, authorities("ca", &ca.pem, Some(&ca.revokes(&[17])))).unwrap();
        eventually("it is revoked", || {
            (status(&rig, "a.test", Some(&anna)) == 400).then_some(())
        });
        if let Ok(answer) = ask(&mut http2, root(), None).await {
            assert_eq!(answer.status, 421);
        }
        ended.await.unwrap();
    });
    assert_eq!(status(&rig, "a.test", Some(&bob)), 200);
    // A list of somebody else says nothing of these.
    let other = Authority::new("Other");
    std::fs::write(&file, authorities("ca", &ca.pem, Some(&other.revokes(&[])))).unwrap();
    eventually("nobody says so", || {
        (status(&rig, "a.test", Some(&bob)) == 400).then_some(())
    });
}

#[test]
fn certificates_as_openssl_makes_them_are_accepted() {
    let read = |file: &str| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tls");
        std::fs::read_to_string(format!("{folder}/{file}")).unwrap()
    };
    let (v1, signs) = (Client::of_file("client-v1"), Client::of_file("client-signs"));
    let ca = read("clients-ca.crt");
    for (list, wanted) in [
        (None, 200),
        (Some(read("clients-none.crl")), 200),
        (Some(read("clients.crl")), 400),
    ] {
        let manifests = authorities("ca", &ca, list.as_deref()) + &guarded("a", "a.test", "ca", "");
        let rig = world(&[], &manifests);
        for (name, client) in [("v1", &v1), ("signs", &signs)] {
            for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
                let config = Arc::new(config(Some(client), &[version]));
                let mut connection = Tls::with(rig.https, Some("a.test"), config).unwrap();
                assert_eq!(
                    connection.get("a.test", "/").0,
                    wanted,
                    "{name} {version:?} {}",
                    list.is_some()
                );
            }
        }
    }
    // They are not taken for certificates of another authority of the same name.
    let other = Authority::new("Clients");
    let rig = world(
        &[],
        &(authorities("ca", &other.pem, None) + &guarded("a", "a.test", "ca", "")),
    );
    for client in [&v1, &signs] {
        assert_eq!(status(&rig, "a.test", Some(client)), 400);
    }
}

#[test]
fn a_chain_may_be_as_long_as_is_said_and_a_certificate_has_to_be_for_clients() {
    let root = Authority::new("Root");
    let (middle, first) = root.below("Middle");
    let (last, second) = middle.below("Last");
    let with = |mut client: Client, chain: &[&rustls::pki_types::CertificateDer<'static>]| {
        client.chain.extend(chain.iter().map(|one| (*one).clone()));
        client
    };
    let direct = root.signs("direct");
    let deeper = with(middle.signs("deeper"), &[&first]);
    let deepest = with(last.signs("deepest"), &[&second, &first]);
    let alone = middle.signs("alone");
    let expired = root.signs_with("expired", |parameters| {
        parameters.not_after = rcgen::date_time_ymd(2002, 2, 3);
    });
    let server = root.signs_with("server", |parameters| {
        parameters.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    });
    let depth = |depth: &str| format!(", narthex.io/client-verify-depth: \"{depth}\"");
    let manifests = [
        authorities("ca", &root.pem, None),
        guarded("none", "none.test", "ca", &depth("0")),
        guarded("one", "one.test", "ca", ""),
        guarded("two", "two.test", "ca", &depth("2")),
    ];
    let rig = world(&[], &manifests.concat());
    for (client, wanted) in [
        (&direct, [200, 200, 200]),
        (&deeper, [400, 200, 200]),
        (&deepest, [400, 400, 200]),
        (&alone, [400; 3]),
        (&expired, [400; 3]),
        (&server, [400; 3]),
    ] {
        let found = ["none.test", "one.test", "two.test"].map(|host| status(&rig, host, Some(client)));
        assert_eq!(found, wanted);
    }
}

#[test]
fn annotations_that_make_no_sense_close_the_host() {
    let ca = Authority::new("CA");
    let anna = ca.signs("anna");
    for wrong in [
        "narthex.io/client-ca-secret: other/ca",
        "narthex.io/client-ca-secret: \"\"",
        "narthex.io/client-ca-secret: ca, narthex.io/client-verify: \"off\"",
        "narthex.io/client-ca-secret: ca, narthex.io/client-verify: \"no\"",
        "narthex.io/client-ca-secret: ca, narthex.io/client-verify-depth: \"-1\"",
        "narthex.io/client-ca-secret: ca, narthex.io/client-verify-depth: \"+1\"",
        "narthex.io/client-ca-secret: ca, narthex.io/client-subject: \"CN=(\"",
        "narthex.io/client-ca-secret: ca, narthex.io/client-subject: \"CN=a)|(x\"",
        "narthex.io/client-verify: required",
        "narthex.io/client-subject: CN=anna",
    ] {
        let extra = format!(", annotations: {{{wrong}}}");
        let manifests = [
            authorities("ca", &ca.pem, None),
            ingress("a", "a.test", "/", "web", &extra),
            ingress("z", "a.test", "/z", "web", ""),
            ingress("open", "open.test", "/", "web", ""),
        ];
        let rig = world(&[], &manifests.concat());
        for path in ["/", "/z"] {
            let found = connect(&rig, Some("a.test"), Some(&anna)).get("a.test", path).0;
            assert_eq!(found, 503, "{wrong}");
        }
        assert_eq!(status(&rig, "open.test", None), 200, "{wrong}");
        assert_eq!(seen(&rig), 1, "{wrong}");
        let problems = get(rig.admin, "/api/v1/diagnostics").1;
        assert!(problems.contains("GuardInvalid"), "{wrong}: {problems}");
    }
}

#[test]
fn an_object_of_another_namespace_asks_for_nothing_of_a_host_and_is_closed() {
    let (ca, other) = (Authority::new("CA"), Authority::new("Other"));
    let (anna, bob) = (ca.signs("anna"), other.signs("bob"));
    let in_zzz = |text: String| text.replace("metadata: {name: ", "metadata: {namespace: zzz, name: ");
    let rig = Rig::with(1, &[], |pods| {
        [
            service("web", &[(pods[0].address, "p0")]),
            in_zzz(service("web", &[(pods[0].address, "p0")])),
            authorities("ca", &ca.pem, None),
            in_zzz(authorities("ca", &other.pem, None)),
            guarded("a", "a.test", "ca", ""),
            in_zzz(guarded("a", "a.test", "ca", "").replace("path: /", "path: /theirs")),
            ingress("open", "open.test", "/", "web", ""),
            in_zzz(guarded("open", "open.test", "ca", "").replace("path: /", "path: /theirs")),
            // Of the same namespace, and asking for something else.
            guarded("b", "a.test", "ca", ", narthex.io/client-verify: optional").replace("path: /", "path: /second"),
        ]
        .concat()
    });
    for (name, client, path, wanted) in [
        ("a.test", Some(&anna), "/", 200),
        ("a.test", Some(&bob), "/", 400),
        ("a.test", Some(&anna), "/theirs", 503),
        ("a.test", Some(&bob), "/theirs", 503),
        ("a.test", Some(&anna), "/second", 503),
        ("open.test", None, "/", 200),
        ("open.test", Some(&bob), "/theirs", 503),
    ] {
        let found = connect(&rig, Some(name), client).get(name, path).0;
        assert_eq!(found, wanted, "{name}{path}");
    }
    let problems = get(rig.admin, "/api/v1/diagnostics").1;
    assert!(
        problems.contains("asks for something else, so its routes are closed"),
        "{problems}"
    );
}

#[test]
fn wildcards_and_any_host_keep_their_own_certificates() {
    let (one, any) = (Authority::new("One"), Authority::new("Any"));
    let (anna, bob) = (one.signs("anna"), any.signs("bob"));
    let manifests = [
        authorities("one", &one.pem, None),
        authorities("any", &any.pem, None),
        guarded("wild", "\"*.w.test\"", "one", ""),
        // It has rules of its own, and so is not asked for what the wildcard is.
        ingress("own", "own.w.test", "/own", "web", ""),
        guarded("all", "", "any", ""),
    ];
    let rig = world(&[], &manifests.concat());
    for (name, client, host, path, wanted) in [
        (Some("x.w.test"), Some(&anna), "x.w.test", "/", 200),
        (Some("x.w.test"), Some(&anna), "y.w.test", "/", 200),
        (Some("x.w.test"), Some(&bob), "x.w.test", "/", 400),
        (Some("x.w.test"), None, "x.w.test", "/", 400),
        (Some("own.w.test"), None, "own.w.test", "/own", 200),
        // What it does not list is the wildcard's, which asks for a certificate that nobody can show under this name.
        (Some("own.w.test"), Some(&anna), "own.w.test", "/", 400),
        (Some("x.w.test"), Some(&anna), "own.w.test", "/own", 421),
        (Some("else.test"), Some(&bob), "else.test", "/", 200),
        (Some("else.test"), Some(&anna), "else.test", "/", 400),
        (None, Some(&bob), "else.test", "/", 200),
        (None, Some(&bob), "x.w.test", "/", 421),
        (None, Some(&bob), "own.w.test", "/own", 421),
        (Some("else.test"), Some(&bob), "x.w.test", "/", 421),
    ] {
        let found = connect(&rig, name, client).get(host, path).0;
        assert_eq!(found, wanted, "{name:?} {host}{path}");
    }
}
