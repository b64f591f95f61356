//! Certificates: which is shown for which name, and when it changes.

use crate::rig::{eventually, ingress};
use crate::tls_rig::{TakeAny, Tls, make, make_with, secret, secure, shown, world};
use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use rustls::ClientConfig;
use std::sync::Arc;

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
    let problems = eventually("it is said", || {
        let problems = crate::rig::get(rig.admin, "/api/v1/diagnostics").1;
        (problems.contains("HostOfOtherNamespace") && problems.contains("CertificateExpired")).then_some(problems)
    });
    // It would say that the expired one is used. This was never so, not even before narthex first looked at the clock.
    let logged = rig.log();
    for said in [problems, logged] {
        assert!(!said.contains("CertificateConflict"), "{said}");
    }
}

#[test]
fn a_host_with_an_owner_is_never_shown_another_namespaces_wildcard() {
    let (wild, own_wild, other) = (make(&["*.corp.test"]), make(&["*.corp.test"]), make(&["x.corp.test"]));
    let of_other = |text: String| text.replace("metadata: {name: ", "metadata: {namespace: zzz, name: ");
    let manifests = [
        // The host is this namespace's, and its Secret is missing.
        secure("s", "s.corp.test", "s.corp.test", "missing", ""),
        ingress("plain", "plain.corp.test", "/", "web", ""),
        of_other(secret("wild", &wild.certificate, &wild.key)),
        of_other(secure("wild", "y.corp.test", "\"*.corp.test\"", "wild", "")),
        of_other(secret("x", &other.certificate, &other.key)),
        of_other(secure("x", "elsewhere.test", "x.corp.test", "x", "")),
        ingress("x", "x.corp.test", "/", "web", ""),
    ]
    .concat();
    let rig = world(&[], &manifests);
    let default = shown(&rig, "nobody.test");
    assert_eq!(shown(&rig, "y.corp.test"), wild.der);
    assert_eq!(shown(&rig, "free.corp.test"), wild.der);
    for name in ["s.corp.test", "plain.corp.test", "x.corp.test"] {
        assert_eq!(shown(&rig, name), default, "{name}");
    }
    let said = crate::rig::get(rig.admin, "/api/v1/explain?url=https://s.corp.test/").1;
    assert!(said.contains("self-signed"), "{said}");
    // A wildcard of its own namespace is used, though the other's is used for names that nobody has.
    let file = rig.manifest("own.yaml");
    let own = secret("own", &own_wild.certificate, &own_wild.key) + &secure("z", "z.corp.test", "", "own", "");
    std::fs::write(&file, own).unwrap();
    eventually("the own wildcard is shown", || {
        (shown(&rig, "s.corp.test") == own_wild.der).then_some(())
    });
    assert_eq!(shown(&rig, "plain.corp.test"), own_wild.der);
    assert_eq!(shown(&rig, "y.corp.test"), wild.der);
    std::fs::remove_file(&file).unwrap();
    eventually("it is gone", || (shown(&rig, "s.corp.test") == default).then_some(()));
    // Without the rule the host has no owner any more.
    let all = rig.manifest("all.yaml");
    let text = std::fs::read_to_string(&all).unwrap();
    std::fs::write(&all, text.replace("host: plain.corp.test", "host: other.test")).unwrap();
    eventually("the wildcard covers what nobody has", || {
        (shown(&rig, "plain.corp.test") == wild.der).then_some(())
    });
    assert_eq!(shown(&rig, "s.corp.test"), default);
}
