//! Routes that are not served: what is said of them, and what they close.

use crate::openshift::{FLAGS, annotated, ask, route, to_web, within};
use crate::rig::{Rig, eventually, get, service_with};
use crate::tls_rig::Tls;
use std::process::Command;

const LIST: (&str, &str) = ("haproxy.router.openshift.io/ip_allowlist", "127.0.0.1");

#[test]
fn explain_names_the_routes_of_a_host_that_are_not_admitted() {
    let rig = Rig::with(1, FLAGS, |pods| {
        service_with("web", pods, "")
            + &within("other", &service_with("web", pods, ""))
            + &route("default", "first", 9, &to_web("host: a.test"))
            + &route("other", "second", 1, &to_web("host: a.test"))
            + &route("other", "elsewhere", 1, &to_web("host: b.test"))
    });
    let said = get(rig.admin, "/api/v1/explain?url=http://a.test/").1;
    assert!(
        said.contains("Route other/second") && said.contains("belongs to namespace"),
        "{said}"
    );
    assert!(!said.contains("elsewhere"), "{said}");
}

#[test]
fn a_port_that_no_pod_has_is_named() {
    let rig = Rig::with(1, FLAGS, |pods| {
        service_with("web", pods, "")
            + &route("default", "r", 1, &to_web("host: a.test\n  port: {targetPort: 1}"))
            + &route("default", "good", 1, &to_web("host: b.test"))
    });
    let said = get(rig.admin, "/api/v1/diagnostics").1;
    let port = rig.pods[0].address.port();
    let wanted = format!("no endpoint of Service \\\"web\\\" has port 1 (ports: {port}); requests get 503");
    assert!(said.contains("PortNotFound") && said.contains(&wanted), "{said}");
    assert_eq!(ask(&rig, "a.test", "/").status, 503);
}

#[test]
fn check_prints_the_statuses_of_routes() {
    let folder = tempfile::tempdir().unwrap();
    let text =
        route("default", "good", 9, &to_web("host: a.test")) + &route("other", "late", 1, &to_web("host: a.test"));
    std::fs::write(folder.path().join("all.yaml"), text).unwrap();
    let command = Command::new(env!("CARGO_BIN_EXE_narthex"))
        .args(["check", "--statuses", "--drop-in", "openshift"])
        .arg(folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8(command.stdout).unwrap();
    let (good, late) = text.split_once("  name: \"late\"").unwrap_or_else(|| panic!("{text}"));
    for wanted in [
        "kind: \"Route\"",
        "routerName: \"narthex\"",
        "host: \"a.test\"",
        "status: \"True\"",
    ] {
        assert!(good.contains(wanted), "{wanted}: {text}");
    }
    assert!(
        late.contains("reason: \"HostAlreadyClaimed\"") && late.contains("status: \"False\""),
        "{text}"
    );
}

#[test]
fn without_tls_a_route_is_served_in_plain_only() {
    let rig = Rig::with(1, FLAGS, |pods| {
        service_with("web", pods, "")
            + &route("default", "plain", 1, &to_web("host: a.test"))
            + &route(
                "default",
                "edge",
                1,
                &to_web("host: b.test\n  tls: {termination: edge}"),
            )
    });
    for (host, plain, secure) in [("a.test", 200, 503), ("b.test", 503, 200)] {
        assert_eq!(ask(&rig, host, "/").status, plain, "{host}");
        assert_eq!(Tls::open(&rig, host).get(host, "/").0, secure, "{host}");
    }
    rig.logged("tls_not_served");
    let said = get(rig.admin, "/api/v1/explain?url=https://a.test/").1;
    assert!(said.contains("the route is served over plain HTTP only"), "{said}");
}

#[test]
fn a_guard_of_a_route_that_cannot_be_decoded_closes() {
    let broken =
        |name: &str, host: &str| annotated("default", name, 1, &[LIST], &format!("  host: {host}\n  path: [x]"));
    let manifests = |pods: &[crate::rig::Pod], known: String| {
        service_with("web", pods, "")
            + &known
            + &broken("never", "b.test")
            + &route("default", "other", 9, &to_web("host: b.test"))
            + &route("default", "free", 9, &to_web("host: c.test"))
    };
    let good = annotated("default", "known", 1, &[LIST], &to_web("host: a.test"));
    let rig = Rig::with(1, FLAGS, |pods| manifests(pods, good));
    for (host, status) in [("a.test", 200), ("b.test", 503), ("c.test", 200)] {
        assert_eq!(ask(&rig, host, "/").status, status, "{host}");
    }
    let text = manifests(&rig.pods, broken("known", "a.test"));
    std::fs::write(rig.manifest("all.yaml"), text).unwrap();
    eventually("the last good version is closed", || {
        (ask(&rig, "a.test", "/").status == 503).then_some(())
    });
    assert_eq!(ask(&rig, "c.test", "/").status, 200);
    let said = get(rig.admin, "/api/v1/diagnostics").1;
    assert!(
        said.contains("GuardNotEnforced") && said.contains("cannot be decoded"),
        "{said}"
    );
}
