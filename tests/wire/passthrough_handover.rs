//! TLS connections that are passed through while one narthex follows another.

use crate::passthrough::{passing, service, tls_pod};
use crate::rig::{Rig, eventually};
use crate::tls_rig::{Tls, make};
use crate::upgrade::{Next, name, terminate, who};
use std::io::Read;

/// Asks once more on each connection.
fn all_answer(connections: &mut [Tls]) {
    for connection in connections {
        let (status, said) = connection.get("a.test", "/");
        assert!(status == 200 && said.contains("x-pod: itself"), "{said}");
    }
}

#[test]
fn they_outlive_three_successors_and_end_with_the_drain() {
    let own = make(&["a.test"]);
    let pod = tls_pod(&own, "itself");
    let name = name("passed");
    let flags = |pod: &'static str, deadline: &'static str| {
        ["--hand-over", &*name, "--pod", pod, "--drain-deadline", deadline].map(str::to_owned)
    };
    let first = flags("p0", "1h");
    let mut rig = Rig::with(0, &first.each_ref().map(String::as_str), |_| {
        service("tls", pod) + &passing("a", "a.test", "tls", "")
    });
    let mut connections = vec![Tls::open(&rig, "a.test")];
    all_answer(&mut connections);
    let mut next = Vec::new();
    for (pod, deadline) in [("p1", "1h"), ("p2", "1h"), ("p3", "1s")] {
        let flags = flags(pod, deadline);
        next.push(Next::start(&rig, &flags.each_ref().map(String::as_str), &[]));
        eventually("the next one answers", || (who(rig.admin)? == pod).then_some(()));
        connections.push(Tls::open(&rig, "a.test"));
        all_answer(&mut connections);
    }
    assert!(connections.iter().all(|one| one.certificate() == own.der));

    // The last one has a second for them.
    let mut last = next.pop().unwrap();
    terminate(&last.0);
    let mut ended = connections.pop().unwrap();
    assert!(matches!(ended.0.read(&mut [0; 16]), Ok(0) | Err(_)));
    let status = eventually("the last one ends", || last.0.try_wait().unwrap());
    assert!(status.success(), "{status}");
    all_answer(&mut connections);

    // The others end with their connections.
    drop(connections);
    let olds = next.iter_mut().map(|one| &mut one.0);
    for old in std::iter::once(&mut rig.child).chain(olds) {
        let status = eventually("an old one ends", || old.try_wait().unwrap());
        assert!(status.success(), "{status}");
    }
}
