//! Requests of every kind while everything changes that does not change who the pods are.

use super::load::{Chameleon, Load};
use super::{annotated, change};
use crate::rig::{Rig, ingress, service_with, slice};
use std::time::{Duration, Instant};

/// Fast, slow and broken ones, and some of each that wait for their turn.
const KINDS: [(&str, &str); 5] = [
    ("a.test", "/"),
    ("a.test", "/slow"),
    ("a.test", "/flaky"),
    ("queue.test", "/slow"),
    ("queue.test", "/flaky"),
];

/// What is changed.
struct World<'p> {
    pods: &'p [Chameleon],
    annotations: String,
    of_service: String,
    labels: &'static str,
    port: &'static str,
    named: bool,
    class: &'static str,
    name: &'static str,
}

impl<'p> World<'p> {
    fn new(pods: &'p [Chameleon]) -> Self {
        Self {
            pods,
            annotations: String::new(),
            of_service: String::new(),
            labels: "",
            port: "http",
            named: false,
            class: "",
            name: "web",
        }
    }

    fn manifests(&self) -> String {
        let port = self.port;
        let mut out = service_with("web", &[], &self.of_service)
            .replace("{port: 80}", &format!("{{name: {port}, port: 80}}"))
            .replacen("{name: web", &format!("{{{}name: web", self.labels), 1);
        for (index, pod) in self.pods.iter().enumerate() {
            let slice = slice("web", pod.address, &format!("p{index}"));
            out += &slice.replace("ports: [{", &format!("ports: [{{name: {port}, "));
        }
        let limits = "narthex.io/max-in-flight: \"2\", narthex.io/max-pending: \"100\", narthex.io/queue-timeout: 20s";
        let queue = ingress(
            "queue",
            "queue.test",
            "/",
            "web",
            &format!(", annotations: {{{limits}{}}}", more(&self.annotations, limits)),
        );
        let mut rules = annotated(self.name, "web", &self.annotations) + &queue;
        if self.named {
            rules = rules.replace("number: 80", &format!("name: {port}"));
        }
        out + &rules.replace("spec:\n  rules", &format!("spec:\n{}  rules", self.class))
    }
}

/// Annotations beside others, unless they are among them.
fn more(annotations: &str, others: &str) -> String {
    let name = annotations.split(':').next().unwrap();
    if name.is_empty() || others.contains(name) {
        String::new()
    } else {
        format!(", {annotations}")
    }
}

/// What the log says of requests that failed, the first of it.
fn failures(rig: &Rig) -> String {
    let log = rig.log();
    let lines = log
        .lines()
        .filter(|line| line.contains("request failed") && !line.contains("mark"));
    lines.take(12).collect::<Vec<_>>().join("\n")
}

/// Annotations that decide what clients get, and not only how pods are asked. With these, other answers are right.
const ABOUT_CLIENTS: &[&str] = &[
    "add-prefix",
    "allow-addresses",
    "auth-",
    "canary-service",
    "client-",
    "deny-addresses",
    "limit-exempt",
    "max-in-flight-per-client",
    "path-regex",
    "rate-limit",
    "redirect",
    "rewrite-target",
    "strip-prefix",
    "tls-passthrough",
];

/// Every annotation about how pods are asked with a value that makes sense, from the code's own list.
fn every_annotation() -> Vec<String> {
    let schema: serde_json::Value = serde_json::from_str(&narthex::testing::dialect::annotations::schema()).unwrap();
    let known = schema["properties"].as_object().unwrap();
    let about_pods = known.iter().filter(|(name, _)| {
        let name = name.trim_start_matches("narthex.io/");
        !ABOUT_CLIENTS.iter().any(|beginning| name.starts_with(beginning))
    });
    let each = about_pods.map(|(name, schema)| {
        let example = schema["examples"][0].as_str().unwrap();
        match name.as_str() {
            // The time is for a machine that does nothing else.
            "narthex.io/queue-timeout" | "narthex.io/per-try-timeout" | "narthex.io/connect-timeout" => {
                format!("{name}: 21s")
            }
            _ => format!("{name}: \"{example}\""),
        }
    });
    each.collect()
}

/// `NARTHEX_SOAK_REQUESTS` says how many requests it goes on for at least.
#[test]
fn nothing_is_lost_while_everything_changes() {
    let wanted = std::env::var("NARTHEX_SOAK_REQUESTS")
        .ok()
        .and_then(|wanted| wanted.parse().ok())
        .unwrap_or(500);
    let pods = Chameleon::some(3);
    let rig = Rig::with(0, &["--shards", "2", "--log-level", "warn"], |_| {
        World::new(&pods).manifests()
    });
    let load = Load::on(&rig, &KINDS);
    let mut passes = 0;
    while passes == 0 || load.answered() < wanted {
        change_everything(&rig, &pods, passes);
        passes += 1;
    }
    let outcome = load.end();
    assert!(outcome.failed.is_empty(), "{outcome:?}\n{}", failures(&rig));
    println!(
        "{} requests, {passes} passes over all changes, none failed",
        outcome.answered
    );
}

/// Changes what can be without the pods being others.
fn change_everything(rig: &Rig, pods: &[Chameleon], pass: usize) {
    let apply = |world: World<'_>| change(rig, &world.manifests());
    let new = || World::new(pods);
    let annotations = every_annotation();
    assert!(annotations.len() > 30, "{annotations:?}");
    for annotation in &annotations {
        let mut world = new();
        world.annotations.clone_from(annotation);
        apply(world);
        let of_rules = ["compress", "hsts", "merge-slashes", "ssl-redirect"];
        if of_rules.iter().all(|name| !annotation.contains(&format!("/{name}:"))) {
            let mut world = new();
            world.of_service.clone_from(annotation);
            apply(world);
        }
    }
    for round in 0..3 {
        let most = 1 + (pass + round) % 3;
        let limits = format!(
            "narthex.io/max-in-flight: \"{most}\", narthex.io/max-pending: \"100\", narthex.io/queue-timeout: 20s"
        );
        let with = |annotations: &str| World {
            annotations: annotations.to_owned(),
            ..new()
        };
        for world in [
            World {
                labels: "labels: {round: a}, ",
                ..new()
            },
            World { named: true, ..new() },
            World {
                named: true,
                port: "other",
                ..new()
            },
            World { port: "third", ..new() },
            World {
                class: "  ingressClassName: narthex\n",
                ..new()
            },
            World { name: "moved", ..new() },
            with("narthex.io/backend-protocol: H2C"),
            with("narthex.io/backend-protocol: GRPC"),
            with("narthex.io/backend-protocol: HTTP"),
            with(&limits),
            new(),
        ] {
            apply(world);
        }
    }
}

/// Each change hits some request between its routing and its pod.
#[test]
fn a_path_that_moves_to_and_fro_loses_no_request() {
    let pods = Chameleon::some(2);
    let of = |name: &str, pod: &Chameleon| {
        service_with(name, &[], "").replace("{port: 80}", "{name: http, port: 80}")
            + &slice(name, pod.address, "p").replace("ports: [{", "ports: [{name: http, ")
    };
    let services = of("blue", &pods[0]) + &of("green", &pods[1]);
    let manifests =
        |to: &str, by: &str| services.clone() + &ingress("web", "a.test", "/", to, "").replace("number: 80", by);
    let rig = Rig::with(0, &["--shards", "2"], |_| manifests("blue", "number: 80"));
    let load = Load::on(&rig, &[("a.test", "/"), ("a.test", "/slow"), ("a.test", "/flaky")]);
    let until = Instant::now() + Duration::from_secs(5);
    while Instant::now() < until {
        for (to, by) in [
            ("green", "number: 80"),
            ("green", "name: http"),
            ("blue", "name: http"),
            ("blue", "number: 80"),
        ] {
            change(&rig, &manifests(to, by));
        }
    }
    let outcome = load.end();
    assert!(outcome.failed.is_empty(), "{outcome:?}\n{}", failures(&rig));
    assert!(outcome.answered > 100, "{outcome:?}");
}
