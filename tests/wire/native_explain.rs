//! What `explain` says of the steps of a route, and how its refusals are counted.

use crate::ingress_nginx_auth::secret;
use crate::native::{ALL, native, rig};
use crate::rig::{Rig, get};
use serde_json::Value;
use std::process::Command;

const STEPS: &[(&str, &str)] = &[
    ("max-request-body", "1KiB"),
    ("allow-addresses", "10.0.0.0/8"),
    ("rate-limit", "1000/s"),
    ("auth-basic-secret", "users"),
    ("request-headers-set", "X-A: 1"),
    ("strip-prefix", "/a"),
];

fn manifests() -> String {
    native("a.test", STEPS, ALL) + &secret("users", &[("auth", "ann:{PLAIN}secret")])
}

fn json(rig: &Rig, path: &str) -> Value {
    let (status, text) = get(rig.admin, path);
    assert_eq!(status, 200, "{path}: {text}");
    serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap()
}

fn outcomes(explained: &Value) -> Vec<(String, String)> {
    let of = |step: &Value, name: &str| step[name].as_str().unwrap().to_owned();
    let steps = explained["steps"].as_array().unwrap();
    steps
        .iter()
        .map(|step| (of(step, "step"), of(step, "outcome")))
        .collect()
}

#[test]
fn all_steps_are_listed_with_what_becomes_of_the_request() {
    let rig = rig(&[], manifests);
    let words = |outcomes: [&str; 6]| -> Vec<(String, String)> {
        let steps = [
            "body-limit=1024",
            "addresses(allow=1 deny=0)",
            "rates=1",
            "access(basic(users=1))",
            "fields",
            "rewrite",
        ];
        let pairs = steps.iter().zip(outcomes);
        pairs
            .map(|(step, outcome)| ((*step).to_owned(), outcome.to_owned()))
            .collect()
    };
    let ask = |more: &str| json(&rig, &format!("/api/v1/explain?url=http://a.test/a/b{more}"));
    let passing = ask("&client=10.1.2.3");
    let all = ["passes", "passes", "depends", "depends", "changes", "changes"];
    assert_eq!(outcomes(&passing), words(all), "{passing}");
    assert_eq!(
        (passing["status"].as_u64(), passing["forwarded_path"].as_str()),
        (None, Some("/b"))
    );
    let refused = ask("&client=192.0.2.1");
    let none = "not reached";
    assert_eq!(outcomes(&refused), words(["passes", "ends", none, none, none, none]));
    assert_eq!(refused["status"], 403);
    let long = ask("&client=10.1.2.3&method=POST&header=Content-Length:2000");
    assert_eq!(outcomes(&long), words(["ends", none, none, none, none, none]));
    assert_eq!(get(rig.admin, "/api/v1/explain?url=http://a.test/&client=me").0, 400);
    let command = Command::new(env!("CARGO_BIN_EXE_narthex"))
        .args(["explain", "http://a.test/a/b", "--client", "192.0.2.1", "--manifests"])
        .arg(rig.manifest("all.yaml"))
        .output()
        .unwrap();
    let text = String::from_utf8(command.stdout).unwrap();
    assert!(text.contains("addresses(allow=1 deny=0): answers"), "{text}");
    assert!(text.contains("rewrite: not reached"), "{text}");
}

#[test]
fn refusals_are_counted_by_route_and_reason() {
    let rig = rig(&["--trusted-proxies", "127.0.0.1"], || {
        manifests() + &native("closed.test", &[("allow-addresses", "nobody")], ALL) + &native("open.test", &[], ALL)
    });
    let ask = |host: &str, client: &str| {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: {client}\r\n\r\n");
        rig.client().send(request).answer().status
    };
    let statuses = [
        ask("a.test", "192.0.2.1"),
        ask("a.test", "192.0.2.1"),
        ask("a.test", "10.0.0.1"),
        ask("closed.test", "10.0.0.1"),
        ask("open.test", "10.0.0.1"),
        ask("none.test", "10.0.0.1"),
    ];
    assert_eq!(statuses, [403, 403, 401, 503, 200, 404]);
    let (_, metrics) = get(rig.admin, "/metrics");
    let counted: Vec<&str> = metrics
        .lines()
        .filter(|line| line.starts_with("narthex_route_refusals_total{"))
        .collect();
    let mut found: Vec<String> = counted
        .iter()
        .map(|line| {
            let label = |name: &str| {
                line.split(&format!("{name}=\""))
                    .nth(1)
                    .unwrap()
                    .split('"')
                    .next()
                    .unwrap()
            };
            format!(
                "{} {} {}",
                label("ingress"),
                label("reason"),
                line.rsplit(' ').next().unwrap()
            )
        })
        .collect();
    found.sort();
    let wanted = [
        "xa-test address_not_allowed 2",
        "xa-test unauthorized 1",
        "xclosed-test guard_invalid 1",
    ];
    assert_eq!(found, wanted, "{counted:?}");
    let explained = json(&rig, "/api/v1/explain?url=http://a.test/");
    let detail = json(
        &rig,
        &format!("/api/v1/routes/{}", explained["route"].as_str().unwrap()),
    );
    assert_eq!(detail["refusals"]["address_not_allowed"], 2, "{detail}");
    assert_eq!(detail["steps"].as_array().unwrap().len(), 6);
}
