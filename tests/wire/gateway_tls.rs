//! Listeners of Gateways for HTTPS, references to other namespaces, and what `explain` and `check` say.

use crate::gateway::{FLAGS, connect, gateway, get, http, route, route_of, rule, services};
use crate::openshift::within;
use crate::rig::{Rig, eventually, free_address, ingress, service_with};
use crate::tls_rig::{Tls, config, make, secret, secure};
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;

/// A listener for HTTPS.
fn https(name: &str, port: u16, hostname: &str, secret: &str) -> String {
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

/// Trap 13: the handshake chooses the listener, and a host of another one is misdirected, though all have one certificate.
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

/// Traps 20 and 21: a grant that comes or goes holds for what comes after it.
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
    assert!(
        std::net::TcpStream::connect(address).is_err(),
        "without a certificate nobody listens"
    );
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
