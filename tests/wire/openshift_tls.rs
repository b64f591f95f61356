//! Where TLS of a Route ends: certificates in the Route or in a Secret, TLS to pods, and what becomes of plain HTTP.

use crate::backend_tls::{NAME, TlsPod, pod_config};
use crate::openshift::{FLAGS, ask, route};
use crate::rig::{Rig, eventually, service_with, slice};
use crate::tls_rig::{Made, make, secret, shown};
use std::net::SocketAddr;

/// A text in a block of YAML.
fn block(name: &str, text: &str) -> String {
    let lines: String = text.lines().map(|line| format!("      {line}\n")).collect();
    format!("    {name}: |\n{lines}")
}

fn with_tls(host: &str, tls: &str) -> String {
    format!("  host: {host}\n  to: {{name: web}}\n  tls:\n{tls}")
}

/// A Route with a certificate in it.
fn inline(name: &str, host: &str, certificate: &str, key: &str, more: &str) -> String {
    let tls = format!("    termination: edge\n{more}") + &block("certificate", certificate) + &block("key", key);
    route("default", name, 1, &with_tls(host, &tls))
}

/// A Route that speaks TLS to its pods.
fn reencrypt(name: &str, host: &str, authorities: Option<&Made>) -> String {
    let tls = "    termination: reencrypt\n    insecureEdgeTerminationPolicy: Allow\n".to_owned();
    let authorities = authorities.map(|made| block("destinationCACertificate", &made.certificate));
    route(
        "default",
        name,
        1,
        &with_tls(host, &(tls + &authorities.unwrap_or_default())),
    )
}

fn tls_service(pod: SocketAddr) -> String {
    "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 443}]}\n---\n".to_owned()
        + &slice("web", pod, "p0")
}

#[test]
fn a_host_shows_the_certificate_of_its_route() {
    let [own, other, external, wild] = ["a.test", "other.test", "b.test", "*.w.test"].map(|name| make(&[name]));
    let manifests = |pods: &[crate::rig::Pod], external: &Made| {
        let named = "    termination: edge\n    externalCertificate: {name: named}\n";
        service_with("web", pods, "")
            + &secret("named", &external.certificate, &external.key)
            + &inline("own", "a.test", &own.certificate, &own.key, "")
            + &inline("wild", "x.w.test", &wild.certificate, &wild.key, "")
            + &route("default", "external", 1, &with_tls("b.test", named))
            + &inline("wrong-key", "k.test", &make(&["k.test"]).certificate, &own.key, "")
            + &inline("wrong-host", "h.test", &own.certificate, &own.key, "")
            + &inline("no-pem", "n.test", "nothing", "nothing", "")
            + &route(
                "default",
                "missing",
                1,
                &with_tls(
                    "m.test",
                    "    termination: edge\n    externalCertificate: {name: none}\n",
                ),
            )
            + &route("default", "none", 1, &with_tls("d.test", "    termination: edge\n"))
    };
    let rig = Rig::with(1, FLAGS, |pods| manifests(pods, &external));
    for (host, made) in [("a.test", &own), ("b.test", &external), ("x.w.test", &wild)] {
        assert_eq!(shown(&rig, host), made.der, "{host}");
    }
    let default = shown(&rig, "unknown.test");
    for host in ["k.test", "h.test", "n.test", "m.test"] {
        assert_eq!(shown(&rig, host), default, "{host}");
        assert_eq!(ask(&rig, host, "/").status, 404, "{host} is not served");
    }
    assert_eq!(shown(&rig, "d.test"), default);
    // A Secret that stops being for the host takes its Route away, and a right one brings it back.
    std::fs::write(rig.manifest("all.yaml"), manifests(&rig.pods, &other)).unwrap();
    eventually("the Route is not served", || {
        (ask(&rig, "b.test", "/").status == 404).then_some(())
    });
    assert_eq!(
        ask(&rig, "a.test", "/").status,
        503,
        "plain HTTP is refused, so the Route is there"
    );
    let renewed = make(&["b.test"]);
    std::fs::write(rig.manifest("all.yaml"), manifests(&rig.pods, &renewed)).unwrap();
    eventually("the new certificate is shown", || {
        (shown(&rig, "b.test") == renewed.der).then_some(())
    });
    assert_eq!(ask(&rig, "b.test", "/").status, 503);
    for word in ["PRIVATE KEY", own.key.lines().nth(1).unwrap()] {
        assert!(!rig.log().contains(word), "the log has a key");
    }
}

#[test]
fn plain_http_is_refused_allowed_or_sent_to_https() {
    let rig = Rig::with(1, FLAGS, |pods| {
        let policy = |name: &str, host: &str, policy: &str| {
            let tls = format!("    termination: edge\n    insecureEdgeTerminationPolicy: {policy}\n");
            route("default", name, 1, &with_tls(host, &tls))
        };
        service_with("web", pods, "")
            + &policy("none", "none.test", "None")
            + &policy("empty", "empty.test", "\"\"")
            + &policy("allow", "allow.test", "Allow")
            + &policy("redirect", "redirect.test", "Redirect")
    });
    for (host, status) in [
        ("none.test", 503),
        ("empty.test", 503),
        ("allow.test", 200),
        ("redirect.test", 302),
    ] {
        assert_eq!(ask(&rig, host, "/").status, status, "{host}");
    }
    let port = rig.https.port();
    let answer = ask(&rig, "redirect.test", "/x?a=b");
    let wanted = format!("https://redirect.test:{port}/x?a=b");
    assert_eq!((answer.status, answer.field("location")), (302, Some(&*wanted)));
    assert_eq!(rig.pods[0].requests().len(), 1, "only what is allowed reached the pod");
}

#[test]
fn pods_are_verified_by_the_route_or_by_the_flag() {
    let (shown, other, misnamed) = (make(&[NAME]), make(&[NAME]), make(&["other.test"]));
    let pod = TlsPod::start(pod_config(&shown, None));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, &shown.certificate).unwrap();
    let flags = [FLAGS, &["--route-service-ca", file.to_str().unwrap()]].concat();
    let rig = Rig::with(0, &flags, |_| {
        tls_service(pod.address)
            + &reencrypt("own", "own.test", Some(&shown))
            + &reencrypt("flag", "flag.test", None)
            + &reencrypt("other", "other.test", Some(&other))
    });
    for (host, status) in [("own.test", 200), ("flag.test", 200), ("other.test", 502)] {
        let answer = ask(&rig, host, "/");
        assert_eq!(answer.status, status, "{host}");
        if status == 200 {
            assert_eq!(
                String::from_utf8_lossy(&answer.body),
                NAME,
                "the pod is asked for by its Service's name"
            );
        }
    }
    let pod = TlsPod::start(pod_config(&misnamed, None));
    let rig = Rig::with(0, FLAGS, |_| {
        tls_service(pod.address)
            + &reencrypt("name", "name.test", Some(&misnamed))
            + &reencrypt("none", "none.test", None)
    });
    assert_eq!(
        ask(&rig, "name.test", "/").status,
        502,
        "the certificate is for another name"
    );
    assert_ne!(ask(&rig, "none.test", "/").status, 200, "nobody is trusted unverified");
}

#[test]
fn fields_are_set_and_deleted_as_a_route_says() {
    let rig = Rig::with(1, FLAGS, |pods| {
        let actions = "  host: a.test\n  to: {name: web}\n  httpHeaders:\n    actions:\n      request:\n      \
             - {name: X-Set, action: {type: Set, set: {value: \"of %[req.hdr(X-From),lower]\"}}}\n      \
             - {name: X-Gone, action: {type: Delete}}\n      response:\n      \
             - {name: X-Reply, action: {type: Set, set: {value: \"100%%\"}}}\n      \
             - {name: X-Of-Pod, action: {type: Set, set: {value: \"%[res.hdr(Server),base64]\"}}}\n      \
             - {name: Server, action: {type: Delete}}";
        let reserved = "  host: b.test\n  to: {name: web}\n  httpHeaders: {actions: {request: [{name: Host, action: {type: Delete}}]}}";
        service_with("web", pods, "") + &route("default", "r", 1, actions) + &route("default", "bad", 1, reserved)
    });
    rig.pods[0].answers(crate::rig::Reply::text(
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nServer: pod\r\nX-Reply: pod\r\n\r\n",
    ));
    let answer = crate::openshift::ask_with(&rig, "a.test", "/", "X-Set: client\r\nX-Gone: 1\r\nX-From: ME\r\n");
    assert_eq!((answer.field("x-reply"), answer.field("server")), (Some("100%"), None));
    assert_eq!(answer.field("x-of-pod"), Some("cG9k"));
    let got = rig.pods[0].last();
    assert_eq!(
        (got.field("x-set"), got.field("x-gone").len()),
        (vec!["of me".to_owned()], 0)
    );
    assert_eq!(ask(&rig, "b.test", "/").status, 404);
}
