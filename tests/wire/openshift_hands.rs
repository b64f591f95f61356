//! A host that changes hands under load: who claims it first has it, and no request goes to anybody else, or to nobody.

use crate::openshift::{FLAGS, route, within};
use crate::rig::{Reply, Rig, eventually, service_with};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

const CLIENTS: usize = 4;

#[test]
fn a_host_changes_hands_between_namespaces_under_load() {
    let manifests = |pods: &[crate::rig::Pod], with_older: bool| {
        let spec = "  host: a.test\n  to: {name: web}";
        let of = |namespace: &str, pod: usize| within(namespace, &service_with("web", &pods[pod..=pod], ""));
        let older = route("one", "older", 9, spec);
        of("one", 0) + &of("two", 1) + &route("two", "younger", 5, spec) + if with_older { &older } else { "" }
    };
    let rig = Rig::with(2, FLAGS, |pods| manifests(pods, false));
    for (pod, name) in rig.pods.iter().zip(["1", "2"]) {
        let reply = format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{name}");
        pod.answers(Reply::text(&reply));
    }
    // What each client was answered: when it had asked, and when it had the answer.
    let said: Mutex<Vec<(Instant, Instant, String)>> = Mutex::default();
    let ends = AtomicBool::new(false);
    let phases = std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = rig.client();
                while !ends.load(Ordering::Relaxed) {
                    let asked = Instant::now();
                    let answer = client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").answer();
                    let text = format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body));
                    said.lock().unwrap().push((asked, Instant::now(), text));
                }
            });
        }
        let mut phases = Vec::new();
        for (with_older, owner) in [(false, "200 2"), (true, "200 1"), (false, "200 2")] {
            // Until now the last owner answers; from here on either may, until the new one does.
            let written = Instant::now();
            // At once, so that nobody reads a half of it.
            let next = rig.manifest("next");
            std::fs::write(&next, manifests(&rig.pods, with_older)).unwrap();
            std::fs::rename(next, rig.manifest("all.yaml")).unwrap();
            let last_few = || {
                let said = said.lock().unwrap();
                let last: Vec<_> = said.iter().rev().take(20 * CLIENTS).collect();
                (last.len() == 20 * CLIENTS && last.iter().all(|(_, _, text)| text == owner)).then_some(())
            };
            eventually("the right one answers", last_few);
            phases.push((written, Instant::now(), owner));
        }
        ends.store(true, Ordering::Relaxed);
        phases
    });
    let said = said.into_inner().unwrap();
    for (place, (written, settled, owner)) in phases.iter().enumerate() {
        let next = phases.get(place + 1).map(|(written, ..)| *written);
        let is_before_next = |at: Instant| next.is_none_or(|next| at < next);
        for (asked, answered, text) in &said {
            assert!(
                asked < settled || !is_before_next(*answered) || text == owner,
                "{text} and not {owner}"
            );
        }
        let mut first = said
            .iter()
            .filter(|(_, answered, text)| answered > written && text == owner);
        let first = first.next().map(|(_, answered, _)| *answered - *written);
        println!("{owner}: first answer {first:?} after the file was written");
    }
    assert!(
        said.iter().all(|(.., text)| text == "200 1" || text == "200 2"),
        "nobody was without an answer"
    );
}
