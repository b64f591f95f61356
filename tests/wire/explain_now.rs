//! What `explain` says of the present: requests that fail, and pods that are to blame; and why no rule matches, beyond
//! what the table says.

use crate::rig::{Reply, Rig, eventually, free_address, get, ingress, service, service_with, slice};
use serde_json::Value;
use std::process::{Command, Stdio};

fn explain(rig: &Rig, url: &str) -> Value {
    let (status, text) = get(rig.admin, &format!("/api/v1/explain?url={url}"));
    assert_eq!(status, 200, "{url}: {text}");
    serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap()
}

fn by_command(rig: &Rig, url: &str) -> String {
    let said = Command::new(env!("CARGO_BIN_EXE_narthex"))
        .args(["explain", url, "--admin", &rig.admin.to_string()])
        .output()
        .unwrap();
    String::from_utf8(said.stdout).unwrap()
}

fn ask(rig: &Rig, host: &str) -> u16 {
    let mut client = rig.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    client.answer().status
}

#[test]
fn a_url_of_which_every_request_fails_is_not_called_answered() {
    // Nobody listens at these addresses.
    let rig = Rig::with(0, &["--shards", "1"], |_| {
        let (one, two) = (free_address(), free_address());
        service("dead", &[(one, "dead-1"), (two, "dead-2")]) + &ingress("dead", "dead.test", "/", "dead", "")
    });
    let before = explain(&rig, "http://dead.test/");
    assert_eq!(
        (before["state"].as_str(), before["now"]["requests"].as_u64()),
        (Some("ok"), Some(0)),
        "{before}"
    );
    let failing = eventually("explain says that every request fails", || {
        assert_eq!(ask(&rig, "dead.test"), 502);
        let said = explain(&rig, "http://dead.test/");
        (said["state"] == "error").then_some(said)
    });
    let summary = failing["summary"].as_str().unwrap();
    assert!(summary.contains("every request fails: 502 since "), "{summary}");
    assert!(summary.ends_with("connection refused by both pods"), "{summary}");
    assert!(
        failing["now"]["failing_since"].is_string() && failing["status"].is_null(),
        "{failing}"
    );
    for endpoint in failing["endpoints"].as_array().unwrap() {
        let now = &endpoint["now"];
        assert_eq!(now["last_failure"]["what"], "connection refused", "{now}");
        assert!(now["failures_in_minute"].as_u64().unwrap() > 0, "{now}");
    }
    let text = by_command(&rig, "http://dead.test/");
    assert!(text.contains("connection refused by both pods"), "{text}");
    assert!(!text.contains("with 2 endpoints"), "{text}");
}

#[test]
fn one_of_two_pods_that_fails_is_named() {
    // Without ejection, it is asked again as soon as it is well.
    let rig = Rig::with(2, &["--shards", "1"], |pods| {
        service_with("web", pods, "narthex.io/eject-after: '0'") + &ingress("web", "a.test", "/", "web", "")
    });
    rig.pods[1].answers(Reply::text(
        "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n",
    ));
    let said = eventually("explain names the pod", || {
        ask(&rig, "a.test");
        let said = explain(&rig, "http://a.test/");
        let summary = said["now"]["summary"].as_str().unwrap_or_default();
        summary.contains("answered with 500 by pod p1").then(|| said.clone())
    });
    assert!(said["now"]["failing_since"].is_null(), "{said}");
    let endpoint = |pod: &str| {
        let all = said["endpoints"].as_array().unwrap();
        all.iter().find(|one| one["pod"] == pod).unwrap()["now"].clone()
    };
    assert!(endpoint("p1")["failing_since"].is_string(), "{said}");
    assert!(endpoint("p0")["last_failure"].is_null(), "{said}");
    // Once it answers again, the past is the past.
    rig.pods[1].answers(Reply::text("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
    eventually("it is well again", || {
        ask(&rig, "a.test");
        let said = explain(&rig, "http://a.test/");
        let all = said["endpoints"].as_array().unwrap();
        all.iter()
            .all(|one| one["now"]["failing_since"].is_null())
            .then_some(())
    });
}

#[test]
fn a_pod_that_leaves_with_a_request_under_way_is_said_to_be_drained() {
    let rig = Rig::new(2, &["--shards", "1"]);
    let text = std::fs::read_to_string(rig.manifest("all.yaml")).unwrap();
    rig.pods.iter().for_each(|pod| pod.answers(Reply::Silence));
    let mut clients: Vec<_> = (0..2).map(|_| rig.client()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    }
    rig.pods.iter().for_each(|pod| drop(pod.last()));
    std::fs::write(
        rig.manifest("all.yaml"),
        text.replace(&slice("web", rig.pods[1].address, "p1"), ""),
    )
    .unwrap();
    eventually("one pod is being drained", || {
        let said = explain(&rig, "http://a.test/");
        let summary = said["now"]["summary"].as_str().unwrap_or_default().to_owned();
        (said["now"]["leaving"] == 1 && summary.ends_with("1 pod being drained, with 1 request under way"))
            .then_some(())
    });
}

#[test]
fn requests_that_hang_or_are_given_up_are_not_called_none() {
    let rig = Rig::new(1, &["--shards", "1"]);
    let summary = || {
        let said = explain(&rig, "http://a.test/");
        (said["now"]["summary"].as_str().unwrap().to_owned(), said)
    };
    assert_eq!(summary().0, "no request came in the last minute");
    rig.pod().answers(Reply::Silence);
    let mut client = rig.client();
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    drop(rig.pod().last());
    eventually("a request is under way", || {
        (summary().0 == "no request was answered in the last minute, 1 is under way").then_some(())
    });
    drop(client);
    let said = eventually("its client has left", || {
        let (summary, said) = summary();
        (summary == "no request was answered in the last minute, 1 client left before an answer").then_some(said)
    });
    assert_eq!(
        (said["state"].as_str(), said["now"]["abandoned"].as_u64()),
        (Some("warning"), Some(1)),
        "{said}"
    );
}

#[test]
fn nothing_is_said_of_requests_that_are_not_counted() {
    let rig = Rig::new(1, &["--count-routes=false"]);
    let said = explain(&rig, "http://a.test/");
    assert_eq!(
        (said["state"].as_str(), &said["now"]),
        (Some("ok"), &Value::Null),
        "{said}"
    );
    assert_eq!(said["endpoints"].as_array().unwrap().len(), 1, "{said}");
}

const BEYOND: &str = "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: other}
spec:
  ingressClassName: somebody-elses
  rules: [{host: other.test, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: wrong}
spec:
  rules:
  - {host: wrong.test, http: {paths: [{path: api, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}
  - {host: fine.test, http: {paths: [{path: /Shop, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}
  - {host: owned.test, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}
---
";

#[test]
fn a_404_is_explained_beyond_the_table() {
    let rig = Rig::with(1, &["--host-owners", "elsewhere=owned.test"], |pods| {
        BEYOND.to_owned()
            + &service("web", &[(pods[0].address, "p0")])
            + &ingress("shop", "shop.example.test", "/api", "web", "")
            + &ingress("wild", "'*.wild.example.test'", "/", "web", "")
    });
    let hints = |url: &str| -> Vec<(String, String, String)> {
        let said = explain(&rig, url);
        assert_eq!(
            (said["status"].as_u64(), said["state"].as_str()),
            (Some(404), Some("error")),
            "{said}"
        );
        let of = |hint: &Value, name: &str| hint[name].as_str().unwrap_or_default().to_owned();
        let hints = said["hints"].as_array().cloned().unwrap_or_default();
        hints
            .iter()
            .map(|one| (of(one, "kind"), of(one, "message"), of(one, "url")))
            .collect()
    };
    for (url, kind, words, meant) in [
        (
            "http://other.test/",
            "other-class",
            "Ingress default/other names other.test, but is not served here",
            "",
        ),
        (
            "http://wrong.test/api",
            "left-out",
            "spec.rules[0].http.paths[0].path",
            "",
        ),
        (
            "http://owned.test/",
            "not-owned",
            "--host-owners gives owned.test to elsewhere",
            "",
        ),
        (
            "http://fine.test/shop/1?x=1",
            "path-case",
            "other capital letters",
            "http://fine.test/Shop/1?x=1",
        ),
        (
            "http://fine.test/shap",
            "near-path",
            "did you mean /Shop?",
            "http://fine.test/Shop",
        ),
        (
            "http://shpo.example.test/api",
            "near-host",
            "shop.example.test",
            "http://shop.example.test/api",
        ),
        (
            "http://a.wield.example.test/",
            "near-host",
            "a.wild.example.test",
            "http://a.wild.example.test/",
        ),
    ] {
        let found = hints(url);
        let fits =
            |(other, message, to): &(String, String, String)| other == kind && message.contains(words) && to == meant;
        assert!(found.iter().any(fits), "{url}: {found:?}");
        assert!(by_command(&rig, url).contains("  perhaps   "), "{url}");
    }
    assert_eq!(hints("http://nothing-of-the-kind.invalid/"), []);
    // What is said of other rules of the same Ingress is no news about a URL that is answered.
    let healthy = explain(&rig, "http://fine.test/Shop");
    assert_eq!(
        (healthy["state"].as_str(), healthy["problems"].as_array().unwrap().len()),
        (Some("ok"), 0),
        "{healthy}"
    );
}

/// Of another class, with a rule for any host.
const CATCH_ALL: &str = "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: other}
spec:
  ingressClassName: somebody-elses
  rules: [{http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]
---
";

#[test]
fn a_rule_for_any_host_that_is_not_served_names_no_host() {
    let rig = Rig::with(1, &[], |pods| {
        CATCH_ALL.to_owned()
            + &service("web", &[(pods[0].address, "p0")])
            + &ingress("shop", "shop.example.test", "/", "web", "")
    });
    let said = explain(&rig, "http://shpo.example.test/");
    let hints = said["hints"].as_array().unwrap();
    let message = |kind: &str| {
        let hint = hints.iter().find(|hint| hint["kind"] == kind);
        hint.unwrap_or_else(|| panic!("no {kind}: {said}"))["message"]
            .as_str()
            .unwrap()
    };
    let other = message("other-class");
    assert!(
        other.starts_with("Ingress default/other is for any host, but is not served here"),
        "{other}"
    );
    assert!(message("near-host").contains("one for shop.example.test"), "{said}");
}

#[test]
fn plain_http_is_told_where_tls_is_passed_on_or_https_is_needed() {
    let rig = Rig::with(1, &["--drop-in", "openshift"], |pods| {
        let route = "apiVersion: route.openshift.io/v1\nkind: Route\nmetadata: {name: passed, namespace: default}\n\
                     spec: {host: passed.test, to: {kind: Service, name: web}, tls: {termination: passthrough}}\n---\n";
        service("web", &[(pods[0].address, "p0")]) + &ingress("web", "a.test", "/", "web", "") + route
    });
    let kinds = |url: &str| -> Vec<String> {
        let said = explain(&rig, url);
        let hints = said["hints"].as_array().cloned().unwrap_or_default();
        hints
            .iter()
            .map(|one| one["kind"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(kinds("http://passed.test/"), ["other-scheme"]);
    assert_eq!(kinds("http://a.test/"), [""; 0]);
}

#[test]
fn a_redirect_is_not_an_error() {
    let rig = Rig::with(1, &[], |pods| {
        let redirected = "narthex.io/redirect: https://elsewhere.test/";
        service("web", &[(pods[0].address, "p0")])
            + &ingress("web", "a.test", "/", "web", &format!(", annotations: {{{redirected}}}"))
    });
    let said = explain(&rig, "http://a.test/");
    assert_eq!(said["state"], "ok", "{said}");
    assert!((300..400).contains(&said["status"].as_u64().unwrap()), "{said}");
}

/// A demo that is killed at the end.
struct Demo(std::process::Child);

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_demo_has_a_bad_day_that_can_be_looked_into() {
    let folder = tempfile::tempdir().unwrap();
    let (http, admin) = (free_address(), free_address());
    let demo = Command::new(env!("CARGO_BIN_EXE_narthex"))
        .args([
            "demo",
            "--drama",
            "--traffic",
            "200",
            "--access-log",
            "off",
            "--listen-https",
            "off",
        ])
        .args(["--listen-http", &http.to_string(), "--admin", &admin.to_string()])
        .env("TMPDIR", folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _demo = Demo(demo);
    for (url, words) in [
        ("http://pay.example.com/", "connection refused by both pods"),
        (
            "http://www.yolo.org/",
            "answered with 500 by pod deploy2-5ff54b6b7b-npnsh",
        ),
        ("http://shop.example.com/", "no such Service"),
        ("http://cart.example.com/cart", "write /cart"),
        ("http://intranet.example.com/", "its class \\\"nginx\\\""),
        ("http://ww.example.com/", "one for www.example.com"),
    ] {
        eventually(&format!("{url}: {words}"), || {
            let said = get(admin, &format!("/api/v1/explain?url={url}")).1;
            said.contains(words).then_some(())
        });
    }
}
