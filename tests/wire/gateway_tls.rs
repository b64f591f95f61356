//! Listeners of Gateways for HTTPS, references to other namespaces, and what `explain` and `check` say.

use crate::gateway::{FLAGS, connect, gateway, get, http, route, route_of, rule, services};
use crate::openshift::within;
use crate::rig::{Rig, eventually, free_address, ingress, service_with};
use crate::tls_rig::{Tls, config, make, secret, secure};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;

/// A listener for HTTPS.
pub fn https(name: &str, port: u16, hostname: &str, secret: &str) -> String {
    let hostname = match hostname {
        "" => String::new(),
        hostname => format!(", hostname: \"{hostname}\""),
    };
    format!("{{name: {name}, protocol: HTTPS, port: {port}{hostname}, tls: {{certificateRefs: [{secret}]}}}}")
}

fn open(port: u16, name: Option<&str>) -> Tls {
    drop(connect(port));
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    Tls::with(address, name, Arc::new(config(rustls::ALL_VERSIONS))).unwrap()
}

fn grant(kind: &str, to: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: ReferenceGrant\nmetadata: {{name: g-{}, namespace: other}}\n\
         spec: {{from: [{{group: gateway.networking.k8s.io, kind: {kind}, namespace: default}}], \
         to: [{{group: \"\", kind: {to}}}]}}\n---\n",
        kind.to_ascii_lowercase()
    )
}

/// The handshake chooses the listener, and a host of another one is misdirected, though all have one certificate.
#[test]
fn the_handshake_chooses_the_listener_and_another_ones_host_is_misdirected() {
    let port = free_address().port();
    let (one, other, theirs) = (make(&["a.test"]), make(&["b.test"]), make(&["a.test"]));
    let rig = Rig::with(3, FLAGS, |pods| {
        let listeners = [
            https("a", port, "a.test", "{name: one}"),
            https("wide", port, "*.a.test", "{name: one}"),
            https("any", port, "", "{name: other}"),
        ];
        let of = |section: &str| format!("[{{name: gw, sectionName: {section}}}]");
        services(pods)
            + &secret("one", &one.certificate, &one.key)
            + &secret("other", &other.certificate, &other.key)
            + &secret("theirs", &theirs.certificate, &theirs.key)
            + &gateway("gw", &listeners)
            + &route_of("a", &of("a"), "", &rule("{path: {value: /a}}", 0))
            + &route_of("any", &of("any"), "", &rule("{path: {value: /any}}", 1))
            // An Ingress with another certificate for the name does not matter at the Gateway's port.
            + &secure("i", "a.test", "a.test", "theirs", "")
    });
    for (name, shown, host, path, status) in [
        (Some("a.test"), &one, "a.test", "/a", 200),
        (Some("a.test"), &one, "a.test", "/nothing", 404),
        (Some("a.test"), &one, "x.a.test", "/a", 421),
        (Some("a.test"), &one, "unknown.test", "/any", 421),
        (Some("x.a.test"), &one, "y.a.test", "/a", 404),
        (Some("x.a.test"), &one, "a.test", "/a", 421),
        (Some("unknown.test"), &other, "unknown.test", "/any", 200),
        (Some("unknown.test"), &other, "second.test", "/any", 200),
        (Some("unknown.test"), &other, "a.test", "/a", 421),
        (None, &other, "b.test", "/any", 200),
    ] {
        let mut client = open(port, name);
        assert!(client.certificate() == shown.der, "{name:?}");
        let expected = match (path, status) {
            // What no route of the listener is for falls to the rule of the Ingress, whose Service is not there.
            ("/nothing", 404) => 503,
            _ => status,
        };
        assert_eq!(client.get(host, path).0, expected, "{name:?} {host}{path}");
    }
    assert!(crate::tls_rig::shown(&rig, "a.test") == theirs.der);
}

/// A grant that comes or goes holds for what comes after it.
#[test]
fn references_to_other_namespaces_hold_as_long_as_their_grants() {
    let (port, tls) = (free_address().port(), free_address().port());
    let made = make(&["a.test"]);
    let rig = Rig::with(1, FLAGS, |pods| {
        let to = "{backendRefs: [{name: web, namespace: other, port: 80}]}";
        within("other", &service_with("web", pods, ""))
            + &within("other", &secret("foreign", &made.certificate, &made.key))
            + &gateway(
                "gw",
                &[
                    http("web", port, ""),
                    https("tls", tls, "a.test", "{name: foreign, namespace: other}"),
                ],
            )
            + &route("r", "", to)
    });
    let grants = rig.folder.path().join("grants.yaml");
    assert_eq!(get(port, "a.test", "/").status, 500);
    let address = SocketAddr::from(([127, 0, 0, 1], tls));
    // Another test may have been given the port for a moment.
    eventually("nobody listens without a certificate", || {
        std::net::TcpStream::connect(address).is_err().then_some(())
    });
    // Each grant is for one kind.
    std::fs::write(&grants, grant("Gateway", "Service") + &grant("HTTPRoute", "Secret")).unwrap();
    assert_eq!(get(port, "a.test", "/").status, 500);
    std::fs::write(&grants, grant("HTTPRoute", "Service") + &grant("Gateway", "Secret")).unwrap();
    eventually("the grant holds", || {
        (get(port, "a.test", "/").status == 200).then_some(())
    });
    assert!(open(tls, Some("a.test")).certificate() == made.der);
    std::fs::remove_file(&grants).unwrap();
    eventually("the grant is gone", || {
        (get(port, "a.test", "/").status == 500).then_some(())
    });
    eventually("the listener is gone", || {
        std::net::TcpStream::connect(address).is_err().then_some(())
    });
}

#[test]
fn explain_names_the_route_and_its_rule_and_why_others_lost() {
    let port = free_address().port();
    let rig = Rig::with(1, FLAGS, |pods| {
        let rules = [
            rule("{path: {value: /x}}", 0),
            rule("{path: {value: /x}, headers: [{name: x-a, value: b}]}", 0),
            rule("{path: {type: RegularExpression, value: '/r/[0-9]+'}}", 0),
        ];
        services(pods)
            + &gateway("gw", &[http("web", port, "")])
            + &route("r", "a.test", &rules.join(", "))
            + &ingress("i", "a.test", "/", "s0", "")
    });
    drop(connect(port));
    let ask = |path: &str| {
        let (status, text) = crate::rig::get(rig.admin, &format!("/api/v1/explain?url=http://a.test:{port}{path}"));
        assert_eq!(status, 200, "{text}");
        serde_json::from_str::<serde_json::Value>(text.split_once("\r\n\r\n").unwrap().1).unwrap()
    };
    let explained = ask("/x/y");
    assert_eq!(explained["rule"]["object"], "HTTPRoute default/r");
    assert_eq!(explained["rule"]["field"], "spec.rules[0].matches[0]");
    let lost = explained["lost"].to_string();
    assert!(
        lost.contains("spec.rules[1].matches[0]") && lost.contains("but not what it says of method"),
        "{lost}"
    );
    assert!(lost.contains("RegularExpression /r/[0-9]+ does not match"), "{lost}");
    assert_eq!(ask("/r/1")["rule"]["field"], "spec.rules[2].matches[0]");
    assert_eq!(ask("/other")["rule"]["object"], "Ingress default/i");
    let (_, routes) = crate::rig::get(rig.admin, "/api/v1/routes?limit=100");
    assert!(routes.contains("HTTPRoute default/r"), "{routes}");
}

#[test]
fn check_prints_the_statuses_as_yaml() {
    let folder = tempfile::tempdir().unwrap();
    let text = gateway("gw", &[http("web", 80, "")]) + &route("r", "", "{backendRefs: [{name: none, port: 80}]}");
    std::fs::write(folder.path().join("all.yaml"), text).unwrap();
    let command = Command::new(env!("CARGO_BIN_EXE_narthex"))
        .args(["check", "--statuses"])
        .arg(folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8(command.stdout).unwrap();
    let begin = "---\napiVersion: \"gateway.networking.k8s.io/v1\"\nkind: \"Gateway\"\nmetadata:\n  name: \"gw\"\n  \
                 namespace: \"default\"\nstatus:\n  conditions:\n  - message: \"\"\n    observedGeneration: 0\n";
    assert!(text.starts_with(begin), "{text}");
    let parent = "  - conditions:\n    - message: \"\"\n      observedGeneration: 0\n      reason: \"Accepted\"\n";
    assert!(text.contains(parent), "{text}");
    assert!(
        text.contains("      reason: \"BackendNotFound\"\n      status: \"False\"\n"),
        "{text}"
    );
}

/// A Gateway in the namespace `evil` asks for every host of every Ingress.
#[test]
fn a_gateway_takes_nothing_from_the_ingress_of_another_namespace() {
    let (ours, theirs) = (make(&["a.test", "*.b.test", "c.test"]), make(&["a.test", "x.test"]));
    let rig = Rig::with(2, FLAGS, |pods| {
        let passed = ingress(
            "p",
            "p.test",
            "/",
            "web",
            ", annotations: {narthex.io/tls-passthrough: \"true\"}",
        );
        service_with("web", &pods[..1], "")
            + &secret("ours", &ours.certificate, &ours.key)
            + &secure("a", "a.test", "a.test", "ours", "")
            + &secure("b", "'*.b.test'", "'*.b.test'", "ours", "")
            + &secure("c", "c.test", "c.test", "ours", "")
            + &passed
    });
    let port = rig.https.port();
    let listeners = [
        https("any", port, "", "{name: theirs}"),
        https("deep", port, "*.test", "{name: theirs}"),
        https("same", port, "c.test", "{name: theirs}"),
        https("own", port, "x.y.b.test", "{name: theirs}"),
    ];
    let evil = services(&rig.pods)
        + &secret("theirs", &theirs.certificate, &theirs.key)
        + &gateway("gw", &listeners)
        + &route("r", "", &rule("{path: {value: /}}", 1));
    std::fs::write(rig.manifest("evil.yaml"), within("evil", &evil)).unwrap();
    eventually("the Gateway is served", || {
        (open(port, Some("x.test")).certificate() == theirs.der).then_some(())
    });
    for (name, shown, pod) in [
        ("a.test", &ours, 0),
        ("x.b.test", &ours, 0),
        ("c.test", &ours, 0),
        // No Ingress names these.
        ("x.test", &theirs, 1),
        ("x.y.b.test", &theirs, 1),
    ] {
        let mut client = open(port, Some(name));
        assert!(client.certificate() == shown.der, "{name}");
        let before = rig.pods[pod].requests().len();
        assert_eq!(client.get(name, "/").0, 200, "{name}");
        assert_eq!(rig.pods[pod].requests().len(), before + 1, "{name}");
    }
    // TLS for this name would end at the pod, which does not speak it.
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    assert!(Tls::with(address, Some("p.test"), Arc::new(config(rustls::ALL_VERSIONS))).is_err());
}

#[test]
fn host_owners_hold_for_listeners_and_for_routes_without_hostnames() {
    let port = free_address().port();
    let flags = [
        FLAGS,
        &["--host-owners", "bank=bank.test", "--host-owners", "bank=x.b.test"],
    ]
    .concat();
    let _rig = Rig::with(2, &flags, |pods| {
        let all = ", allowedRoutes: {namespaces: {from: All}}";
        let evil = services(pods)
            + &gateway(
                "gw",
                &[
                    http("bank", port, ", hostname: bank.test"),
                    http("deep", port, ", hostname: '*.test'"),
                ],
            )
            + &route("all", "", &rule("{path: {value: /}}", 1));
        let attached = services(pods)
            + &route_of(
                "more",
                "[{name: gw, namespace: default}]",
                "",
                &rule("{path: {value: /}}", 1),
            )
            + &route_of(
                "deep",
                "[{name: gw, namespace: default}]",
                "'*.test'",
                &rule("{path: {value: /}}", 1),
            )
            + &route_of(
                "other",
                "[{name: gw, namespace: default}]",
                "other.test",
                &rule("{path: {value: /}}", 1),
            );
        gateway("gw", &[http("any", port, all)])
            + &within("evil", &(evil + &attached))
            + &within(
                "bank",
                &(services(pods)
                    + &route_of(
                        "r",
                        "[{name: gw, namespace: default}]",
                        "bank.test, x.b.test",
                        &rule("{path: {value: /bank}}", 0),
                    )),
            )
    });
    for (host, path, status) in [
        ("bank.test", "/bank", 200),
        ("x.b.test", "/bank", 200),
        ("bank.test", "/", 404),
        ("x.b.test", "/", 404),
        ("unknown.test", "/", 404),
        ("other.test", "/", 200),
    ] {
        assert_eq!(get(port, host, path).status, status, "{host}{path}");
    }
}

/// The Secret of a listener comes after its Gateway, is replaced, and goes.
#[test]
fn a_listener_follows_its_secret() {
    let port = free_address().port();
    let (one, other) = (make(&["a.test"]), make(&["a.test"]));
    let rig = Rig::with(1, FLAGS, |pods| {
        services(pods)
            + &gateway("gw", &[https("tls", port, "", "{name: late}")])
            + &route("r", "", &rule("{path: {value: /}}", 0))
    });
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let shown = || {
        let tls = Tls::with(address, Some("a.test"), Arc::new(config(rustls::ALL_VERSIONS))).ok()?;
        Some(tls.certificate())
    };
    assert!(std::net::TcpStream::connect(address).is_err());
    let path = rig.manifest("late.yaml");
    for made in [&one, &other] {
        std::fs::write(&path, secret("late", &made.certificate, &made.key)).unwrap();
        eventually("the certificate is shown", || {
            std::net::TcpStream::connect(address).ok()?;
            (shown()? == made.der).then_some(())
        });
    }
    std::fs::remove_file(&path).unwrap();
    eventually("the listener is gone", || {
        std::net::TcpStream::connect(address).is_err().then_some(())
    });
}
