//! Places that change hands: by the deletion of a namespace or an Ingress, and by `--yield-empty`.

use crate::rig::{Client, Reply, Rig, eventually, get, ingress, service};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// The same objects in a namespace, with an age.
fn within(namespace: &str, created: &str, manifests: &str) -> String {
    let meta = format!("metadata: {{namespace: {namespace}, creationTimestamp: \"{created}\", name: ");
    manifests.replace("metadata: {name: ", &meta)
}

fn namespace(name: &str, more: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}{more}}}\n---\n")
}

const DELETED: &str = ", deletionTimestamp: \"2026-01-01T00:00:00Z\"";
const OLD: &str = "2020-01-01T00:00:00Z";
const NEW: &str = "2021-01-01T00:00:00Z";

/// Two pods that say which they are, and nothing else yet.
fn two_pods(flags: &[&str]) -> Rig {
    let rig = Rig::with(2, flags, |_| namespace("none", ""));
    for (pod, word) in rig.pods.iter().zip(["old", "new"]) {
        pod.answers(Reply::text(&format!(
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{word}"
        )));
    }
    rig
}

fn write(path: &Path, text: &str) {
    // Whole or not at all, as a mounted ConfigMap changes.
    let hidden = path.with_file_name(".next");
    std::fs::write(&hidden, text).unwrap();
    std::fs::rename(&hidden, path).unwrap();
}

fn ask(rig: &Rig, host: &str) -> String {
    let mut client = rig.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    let answer = client.answer();
    format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body))
}

fn answered_by(rig: &Rig, host: &str, word: &str) {
    let wanted = format!("200 {word}");
    eventually(&wanted, || (ask(rig, host) == wanted).then_some(()));
}

/// Asks on two connections until it is told to stop; how many requests, and how many were not answered by a pod.
struct Load {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    tasks: Vec<std::thread::JoinHandle<Vec<String>>>,
}

impl Load {
    fn start(http: SocketAddr, hosts: &'static [&'static str]) -> Self {
        let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let tasks = hosts.iter().map(|host| {
            let (stop, asked) = (stop.clone(), asked.clone());
            std::thread::spawn(move || {
                let mut failed = Vec::new();
                let mut client = Client::connect(http);
                while !stop.load(Ordering::SeqCst) {
                    client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
                    let answer = client.answer();
                    if answer.status != 200 {
                        failed.push(answer.head);
                    }
                    asked.fetch_add(1, Ordering::SeqCst);
                }
                failed
            })
        });
        let tasks = tasks.collect();
        Self { stop, asked, tasks }
    }

    /// Waits for this many more requests.
    fn go_on(&self) {
        let before = self.asked.load(Ordering::SeqCst);
        eventually("requests are answered", || {
            (self.asked.load(Ordering::SeqCst) > before + 50).then_some(())
        });
    }

    fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::SeqCst);
        self.tasks.into_iter().flat_map(|task| task.join().unwrap()).collect()
    }
}

/// A rule for one host, one for all hosts, and a default backend of everything.
fn claims() -> String {
    let everything = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: default}\n\
         spec: {defaultBackend: {service: {name: web, port: {number: 80}}}}\n---\n";
    let all = ingress("all", "X", "/all", "web", "").replace("host: X\n    http", "http");
    ingress("web", "a.test", "/", "web", "") + &all + everything
}

#[test]
fn a_namespace_that_is_deleted_under_load_yields_to_a_newer_one_and_no_request_fails() {
    let rig = two_pods(&[]);
    let (old, new) = (rig.pods[0].address, rig.pods[1].address);
    let file = |name: &str| rig.manifest(name);
    write(&file("old-namespace.yaml"), &namespace("old", ""));
    write(&file("old-rules.yaml"), &within("old", OLD, &claims()));
    write(
        &file("old-pods.yaml"),
        &within("old", OLD, &service("web", &[(old, "p0")])),
    );
    answered_by(&rig, "a.test", "old");
    answered_by(&rig, "b.test", "old");
    let load = Load::start(rig.http, &["a.test", "b.test"]);
    let text = namespace("new", "") + &within("new", NEW, &(claims() + &service("web", &[(new, "p1")])));
    write(&file("new.yaml"), &text);
    eventually("the newer one is known", || {
        let said = get(rig.admin, "/api/v1/diagnostics").1;
        (said.contains("PathConflict") && said.contains("DefaultBackendConflict")).then_some(())
    });
    load.go_on();
    assert_eq!(ask(&rig, "a.test"), "200 old", "the older one keeps its places");
    // As the API server does it: the namespace is marked, then its pods go, then its objects.
    write(&file("old-namespace.yaml"), &namespace("old", DELETED));
    for host in ["a.test", "b.test"] {
        answered_by(&rig, host, "new");
    }
    let said = get(rig.admin, "/api/v1/explain?url=http://a.test/").1;
    assert!(said.contains("is being deleted"), "{said}");
    load.go_on();
    write(&file("old-pods.yaml"), &within("old", OLD, &service("web", &[])));
    eventually("the pods are gone", || {
        get(rig.admin, "/api/v1/diagnostics")
            .1
            .contains("NoEndpoints")
            .then_some(())
    });
    load.go_on();
    // The namespace is known to be gone before its Ingresses are.
    std::fs::remove_file(file("old-namespace.yaml")).unwrap();
    load.go_on();
    assert_eq!(ask(&rig, "a.test"), "200 new");
    std::fs::remove_file(file("old-rules.yaml")).unwrap();
    std::fs::remove_file(file("old-pods.yaml")).unwrap();
    eventually("nothing is left of it", || {
        let said = get(rig.admin, "/api/v1/diagnostics").1;
        (!said.contains("old/")).then_some(())
    });
    load.go_on();
    let failed = load.end();
    assert!(failed.is_empty(), "{} failed: {:?}", failed.len(), failed.first());
}

#[test]
fn an_ingress_that_is_deleted_serves_until_somebody_else_claims_its_place() {
    let rig = two_pods(&[]);
    let (old, new) = (rig.pods[0].address, rig.pods[1].address);
    let rules = ingress("web", "a.test", "/", "web", DELETED);
    let text = within("old", OLD, &(rules + &service("web", &[(old, "p0")])));
    write(&rig.manifest("old.yaml"), &text);
    answered_by(&rig, "a.test", "old");
    let rules = ingress("web", "a.test", "/", "web", "");
    let text = within("new", NEW, &(rules + &service("web", &[(new, "p1")])));
    write(&rig.manifest("new.yaml"), &text);
    answered_by(&rig, "a.test", "new");
    std::fs::remove_file(rig.manifest("new.yaml")).unwrap();
    answered_by(&rig, "a.test", "old");
}

#[test]
fn with_yield_empty_traffic_moves_while_the_older_one_has_no_endpoints() {
    let rig = two_pods(&["--yield-empty=1s"]);
    let (old, new) = (rig.pods[0].address, rig.pods[1].address);
    let rules = ingress("web", "a.test", "/", "web", "");
    write(&rig.manifest("old.yaml"), &within("old", OLD, &rules));
    let pods = |pods: &[(SocketAddr, &str)]| {
        write(
            &rig.manifest("old-pods.yaml"),
            &within("old", OLD, &service("web", pods)),
        );
    };
    pods(&[(old, "p0")]);
    let text = within("new", NEW, &(rules.clone() + &service("web", &[(new, "p1")])));
    write(&rig.manifest("new.yaml"), &text);
    eventually("the newer one is known", || {
        get(rig.admin, "/api/v1/diagnostics")
            .1
            .contains("PathConflict")
            .then_some(())
    });
    assert_eq!(ask(&rig, "a.test"), "200 old");
    for _ in 0..2 {
        pods(&[]);
        answered_by(&rig, "a.test", "new");
        let said = get(rig.admin, "/api/v1/explain?url=http://a.test/").1;
        assert!(said.contains("no ready endpoints (--yield-empty)"), "{said}");
        eventually("it is said", || {
            let said = get(rig.admin, "/api/v1/diagnostics").1;
            (said.contains("PlaceYielded") && !said.contains("PathConflict")).then_some(())
        });
        pods(&[(old, "p0")]);
        answered_by(&rig, "a.test", "old");
    }
    // A short gap moves nothing.
    let slow = two_pods(&["--yield-empty=1h"]);
    write(
        &slow.manifest("old.yaml"),
        &within(
            "old",
            OLD,
            &(rules.clone() + &service("web", &[(slow.pods[0].address, "p0")])),
        ),
    );
    answered_by(&slow, "a.test", "old");
    let text = within(
        "new",
        NEW,
        &(rules.clone() + &service("web", &[(slow.pods[1].address, "p1")])),
    );
    write(&slow.manifest("new.yaml"), &text);
    write(
        &slow.manifest("old.yaml"),
        &within("old", OLD, &(rules + &service("web", &[]))),
    );
    eventually("its pods are gone", || {
        (ask(&slow, "a.test").starts_with("503")).then_some(())
    });
    std::thread::sleep(Duration::from_millis(1500));
    assert!(ask(&slow, "a.test").starts_with("503"));
}
