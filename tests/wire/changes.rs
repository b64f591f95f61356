//! What requests and pods notice of a change of an Ingress or a Service: nothing, as far as the pods stay who they are.

#[path = "changes/load.rs"]
mod load;
#[path = "changes/under_load.rs"]
mod under_load;

use crate::rig::{Client, Pod, Reply, Rig, eventually, ingress, service, service_with, slice};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const GET: &str = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
const BAD: &str = "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n";

/// Writes other manifests, and waits until they are live.
fn change(rig: &Rig, manifests: &str) {
    static MARK: AtomicUsize = AtomicUsize::new(0);
    // What is written at once is live at once, also where nothing else is different.
    let mark = format!("mark{}.test", MARK.fetch_add(1, Ordering::SeqCst));
    let manifests = manifests.to_owned() + &ingress("mark", &mark, "/", "no-such-service", "");
    // The file is replaced as a whole: one that is being written could be read by halves.
    std::fs::write(rig.manifest(".new"), manifests).unwrap();
    std::fs::rename(rig.manifest(".new"), rig.manifest("all.yaml")).unwrap();
    eventually("the change is live", || {
        let status = rig
            .client()
            .send(format!("GET / HTTP/1.1\r\nHost: {mark}\r\n\r\n"))
            .answer()
            .status;
        (status == 503).then_some(())
    });
}

/// One Service `web` with these annotations on the one Ingress that leads to it.
fn world(pods: &[Pod], annotations: &str) -> String {
    service_with("web", pods, "") + &annotated("web", "web", annotations)
}

/// An Ingress for `a.test` with annotations.
fn annotated(name: &str, service: &str, annotations: &str) -> String {
    ingress(
        name,
        "a.test",
        "/",
        service,
        &format!(", annotations: {{{annotations}}}"),
    )
}

fn counts(rig: &Rig) -> Vec<usize> {
    rig.pods.iter().map(|pod| pod.requests().len()).collect()
}

/// So many clients, each with a request under way.
fn ask(rig: &Rig, count: usize) -> Vec<Client> {
    let mut clients: Vec<_> = (0..count).map(|_| rig.client()).collect();
    for client in &mut clients {
        client.send(GET);
    }
    clients
}

fn statuses(clients: &mut [Client]) -> Vec<u16> {
    clients.iter_mut().map(|client| client.answer().status).collect()
}

#[test]
fn requests_that_wait_for_their_turn_keep_it() {
    let limited = |more: &str| format!("narthex.io/max-in-flight: \"2\", narthex.io/max-pending: \"50\", {more}");
    let changed = [
        limited("narthex.io/queue-timeout: 21s"),
        limited("narthex.io/queue-timeout: 20s, narthex.io/max-pending: \"0\"")
            .replace("narthex.io/max-pending: \"50\", ", ""),
        limited("narthex.io/queue-timeout: 20s, narthex.io/balance: ewma, narthex.io/response-timeout: 30s"),
        "narthex.io/response-timeout: 30s".to_owned(),
    ];
    for changed in changed {
        let rig = Rig::with(1, &["--shards", "2"], |pods| {
            world(pods, &limited("narthex.io/queue-timeout: 20s"))
        });
        rig.pod().takes(Duration::from_millis(400));
        let mut clients = ask(&rig, 10);
        eventually("two are at the pod", || (counts(&rig) == [2]).then_some(()));
        change(&rig, &world(&rig.pods, &changed));
        assert_eq!(statuses(&mut clients), [200; 10], "{changed}");
    }
}

#[test]
fn a_limit_that_is_raised_lets_in_those_who_wait_and_keeps_count() {
    let limited = |most: u32| {
        format!("narthex.io/max-in-flight: \"{most}\", narthex.io/max-pending: \"50\", narthex.io/queue-timeout: 20s")
    };
    let rig = Rig::with(1, &["--shards", "2"], |pods| world(pods, &limited(1)));
    rig.pod().takes(Duration::from_secs(3));
    let mut clients = ask(&rig, 6);
    eventually("one is at the pod", || (counts(&rig) == [1]).then_some(()));
    change(&rig, &world(&rig.pods, &limited(4)));
    eventually("four are at the pod", || (counts(&rig) == [4]).then_some(()));
    // Lowered again, those four still count.
    change(&rig, &world(&rig.pods, &limited(2)));
    rig.pod().takes(Duration::ZERO);
    assert_eq!(statuses(&mut clients), [200; 6]);
}

/// Two Services of which a rule leads to one.
fn blue_or_green(blue: &[(std::net::SocketAddr, &str)], green: &Pod, to: &str) -> String {
    let blue = if blue.is_empty() {
        String::new()
    } else {
        service("blue", blue)
    };
    blue + &service("green", &[(green.address, "g")]) + &ingress("web", "a.test", "/", to, "")
}

/// The pods but the last are blue, and break the connection of each request after a while.
fn blue_that_breaks(pods: usize) -> (Rig, Vec<(std::net::SocketAddr, &'static str)>) {
    const NAMES: [&str; 4] = ["b0", "b1", "b2", "b3"];
    let blue = |pods: &[Pod]| -> Vec<_> {
        let (_, blue) = pods.split_last().unwrap();
        blue.iter().zip(NAMES).map(|(pod, name)| (pod.address, name)).collect()
    };
    let rig = Rig::with(pods, &["--shards", "2"], |pods| {
        blue_or_green(&blue(pods), pods.last().unwrap(), "blue")
    });
    for pod in rig.pods.split_last().unwrap().1 {
        pod.takes(Duration::from_secs(1));
        pod.answers(Reply::Last(Vec::new()));
    }
    let blue = blue(&rig.pods);
    (rig, blue)
}

#[test]
fn a_request_under_way_at_blue_is_tried_again_when_the_rule_has_gone_to_green() {
    let (rig, blue) = blue_that_breaks(2);
    let mut clients = ask(&rig, 6);
    eventually("six are at blue", || (counts(&rig)[0] == 6).then_some(()));
    change(&rig, &blue_or_green(&blue, &rig.pods[1], "green"));
    assert_eq!(statuses(&mut clients), [200; 6]);
    assert_eq!(
        counts(&rig)[1],
        6,
        "blue breaks every attempt, so green is asked in the end"
    );
}

#[test]
fn a_request_keeps_the_backend_it_was_routed_to() {
    let (rig, blue) = blue_that_breaks(3);
    let mut clients = ask(&rig, 6);
    eventually("six are at blue", || {
        (counts(&rig)[..2].iter().sum::<usize>() == 6).then_some(())
    });
    for pod in &rig.pods[..2] {
        pod.takes(Duration::ZERO);
    }
    change(&rig, &blue_or_green(&blue, &rig.pods[2], "green"));
    for pod in &rig.pods[..2] {
        pod.answers(Reply::text("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
    }
    // Those that wait took what the pod was told before they began to wait; they are broken and tried again at blue.
    let found = statuses(&mut clients);
    assert_eq!(found, [200; 6]);
    assert_eq!(rig.client().send(GET).answer().status, 200);
    eventually("only the new request is at green", || {
        (counts(&rig)[2] == 1).then_some(())
    });
}

#[test]
fn a_request_whose_backend_is_gone_is_routed_anew() {
    let (rig, _) = blue_that_breaks(2);
    let mut clients = ask(&rig, 6);
    let mut posts: Vec<_> = (0..2).map(|_| rig.client()).collect();
    for client in &mut posts {
        client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n\r\nx");
    }
    eventually("all are at blue", || (counts(&rig)[0] == 8).then_some(()));
    change(&rig, &blue_or_green(&[], &rig.pods[1], "green"));
    assert_eq!(statuses(&mut clients), [200; 6]);
    assert_eq!(statuses(&mut posts), [502; 2], "a POST is not sent twice");
    assert_eq!(counts(&rig), [8, 6]);
}

#[test]
fn every_step_of_the_new_route_is_taken() {
    let (rig, _) = blue_that_breaks(2);
    let mut clients = ask(&rig, 2);
    eventually("both are at blue", || (counts(&rig)[0] == 2).then_some(()));
    let green = service("green", &[(rig.pods[1].address, "g")]);
    change(
        &rig,
        &(green + &annotated("web", "green", "narthex.io/ssl-redirect: \"true\"")),
    );
    assert_eq!(statuses(&mut clients), [308; 2]);
    assert_eq!(counts(&rig)[1], 0);
}

#[test]
fn a_request_whose_service_is_gone_and_that_leads_nowhere_else_gets_503() {
    let (rig, _) = blue_that_breaks(2);
    let mut clients = ask(&rig, 2);
    eventually("both are at blue", || (counts(&rig)[0] == 2).then_some(()));
    change(&rig, &blue_or_green(&[], &rig.pods[1], "blue"));
    assert_eq!(statuses(&mut clients), [503; 2]);
}

#[test]
fn who_waits_for_a_backend_that_is_gone_is_routed_anew() {
    let limits = "narthex.io/max-in-flight: \"1\", narthex.io/max-pending: \"9\", narthex.io/queue-timeout: 20s";
    let rig = Rig::with(2, &["--shards", "1"], |pods| {
        service_with("blue", &pods[..1], limits) + &ingress("web", "a.test", "/", "blue", "")
    });
    rig.pods[0].takes(Duration::from_secs(1));
    let mut clients = ask(&rig, 4);
    eventually("one is at blue", || (counts(&rig)[0] == 1).then_some(()));
    change(&rig, &blue_or_green(&[], &rig.pods[1], "green"));
    assert_eq!(statuses(&mut clients), [200; 4]);
    assert_eq!(counts(&rig), [1, 3]);
}

#[test]
fn who_waits_for_its_turn_sees_the_guard_that_came_meanwhile() {
    let limits = "narthex.io/max-in-flight: \"1\", narthex.io/max-pending: \"9\", narthex.io/queue-timeout: 60s";
    for guarded in ["ingress", "service", "host"] {
        let rig = Rig::with(1, &["--shards", "1"], |pods| {
            service_with("web", pods, limits) + &ingress("web", "a.test", "/", "web", "")
        });
        rig.pods[0].answers(Reply::Silence);
        let first = ask(&rig, 1);
        eventually("one is at the pod", || (counts(&rig)[0] == 1).then_some(()));
        let before = rig.counter("requests_total");
        let mut waiting = ask(&rig, 3);
        eventually("three wait", || {
            (rig.counter("requests_total") == before + 3).then_some(())
        });
        let guard = "konghq.com/plugins: key-auth";
        let open = ingress("web", "a.test", "/", "web", "");
        change(
            &rig,
            &match guarded {
                "ingress" => service_with("web", &rig.pods, limits) + &annotated("web", "web", guard),
                "service" => service_with("web", &rig.pods, &format!("{limits}, {guard}")) + &open,
                _ => {
                    let snippet = ", annotations: {nginx.ingress.kubernetes.io/server-snippet: deny all;}";
                    service_with("web", &rig.pods, limits) + &open + &ingress("guard", "a.test", "/x", "web", snippet)
                }
            },
        );
        rig.pods[0].answers(Reply::text("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n"));
        drop(first);
        for client in &mut waiting {
            let answer = client.answer();
            let body = String::from_utf8_lossy(&answer.body).into_owned();
            assert_eq!((answer.status, &*body), (503, "guard not enforced\n"), "{guarded}");
        }
        assert_eq!(counts(&rig), [1], "{guarded}: the pod got none of them");
    }
}

/// Worlds that say the same of who the pods of `web` are.
fn worlds(pods: &[Pod], common: &str) -> Vec<(&'static str, String)> {
    let named = |port: &str| {
        service_with("web", pods, "")
            .replace("[{port: 80}]", &format!("[{{name: {port}, port: 80}}]"))
            .replace("ports: [{port: ", &format!("ports: [{{name: {port}, port: "))
    };
    let by_name = |port: &str| annotated("web", "web", common).replace("number: 80", &format!("name: {port}"));
    let plain = world(pods, common);
    vec![
        (
            "annotation",
            world(pods, &format!("{common}, narthex.io/response-timeout: 31s")),
        ),
        ("no annotation", world(pods, common)),
        (
            "limit",
            world(pods, &format!("{common}, narthex.io/max-in-flight: \"100\"")),
        ),
        (
            "annotation of the Service",
            service_with("web", pods, "narthex.io/balance: round-robin") + &annotated("web", "web", common),
        ),
        (
            "label of the Service",
            plain.replacen("metadata: {name: web", "metadata: {labels: {a: b}, name: web", 1),
        ),
        ("port by name", named("web") + &by_name("web")),
        ("another name of the port", named("other") + &by_name("other")),
        ("port by number", named("other") + &annotated("web", "web", common)),
        (
            "class",
            plain.replace("spec:\n  rules", "spec:\n  ingressClassName: narthex\n  rules"),
        ),
        (
            "another Ingress",
            service_with("web", pods, "") + &annotated("moved", "web", common),
        ),
        ("no Ingress", service_with("web", pods, "")),
        ("made again", plain),
    ]
}

#[test]
fn a_pod_that_fails_its_check_stays_out_whatever_else_changes() {
    let checked = "narthex.io/health-path: /health, narthex.io/health-interval: 100ms, narthex.io/health-fall: \"2\", \
                   narthex.io/eject-after: \"0\"";
    // The first failing pod is found by quick questions; then they are rare, so that nothing is found anew.
    let rare = checked.replace("100ms", "1h").replace("\"2\"", "\"100\"");
    let rig = Rig::with(2, &["--shards", "2"], |pods| world(pods, checked));
    rig.pods[0].answers(Reply::text(BAD));
    rig.logged("an endpoint fails its health check");
    for (what, manifests) in worlds(&rig.pods, &rare) {
        change(&rig, &manifests);
        if what == "no Ingress" {
            continue;
        }
        for _ in 0..12 {
            assert_eq!(rig.client().send(GET).answer().status, 200, "{what}");
        }
    }
    // The path itself may change too.
    change(&rig, &world(&rig.pods, &rare.replace("/health,", "/other,")));
    for _ in 0..12 {
        assert_eq!(rig.client().send(GET).answer().status, 200);
    }
}

#[test]
fn a_pod_that_is_set_aside_stays_so_and_connections_are_kept() {
    let common = "narthex.io/eject-after: \"3\"";
    let rig = Rig::with(2, &["--shards", "1"], |pods| world(pods, common));
    rig.pods[0].answers(Reply::text(BAD));
    eventually("it is set aside", || {
        rig.client().send(GET).answer();
        (rig.counter("ejections_total") == 1).then_some(())
    });
    let (failed, opened) = (counts(&rig)[0], rig.pods[1].connections.load(Ordering::SeqCst));
    for (what, manifests) in worlds(&rig.pods, common) {
        change(&rig, &manifests);
        if what != "no Ingress" {
            for _ in 0..6 {
                assert_eq!(rig.client().send(GET).answer().status, 200, "{what}");
            }
        }
    }
    assert_eq!(counts(&rig)[0], failed);
    assert_eq!(
        rig.pods[1].connections.load(Ordering::SeqCst),
        opened,
        "connections are used again"
    );
}

#[test]
fn a_pod_that_starts_slowly_goes_on_doing_so() {
    let common = "narthex.io/slow-start: 10m";
    let rig = Rig::with(3, &["--shards", "1"], |pods| world(&pods[..2], common));
    for _ in 0..6 {
        rig.client().send(GET).answer();
    }
    change(&rig, &world(&rig.pods, common));
    rig.client().send(GET).answer();
    change(
        &rig,
        &world(&rig.pods, &format!("{common}, narthex.io/response-timeout: 31s")),
    );
    let before = counts(&rig)[2];
    for _ in 0..100 {
        assert_eq!(rig.client().send(GET).answer().status, 200);
    }
    let share = counts(&rig)[2] - before;
    assert!(share < 25, "a new pod got {share} of 100");
}

/// Health does not depend on how connections are opened; connections do.
#[test]
fn other_terms_mean_other_connections_but_the_same_health() {
    let common = "narthex.io/eject-after: \"3\"";
    let pods = load::Chameleon::some(2);
    let manifests = |annotations: &str| {
        let mut out = service_with("web", &[], "");
        for (pod, name) in pods.iter().zip(["p0", "p1"]) {
            out += &slice("web", pod.address, name);
        }
        out + &annotated("web", "web", annotations)
    };
    let rig = Rig::with(0, &["--shards", "1"], |_| manifests(common));
    pods[0].fails.store(true, Ordering::SeqCst);
    eventually("it is set aside", || {
        rig.client().send(GET).answer();
        (rig.counter("ejections_total") == 1).then_some(())
    });
    let asked = pods[0].requests.load(Ordering::SeqCst);
    let mut opened = BTreeSet::from([pods[1].connections.load(Ordering::SeqCst)]);
    let mut kept = vec!["http/1.1"];
    for (terms, spoken) in [
        ("backend-protocol: H2C", "h2"),
        ("backend-proxy-protocol: v2", "proxied http/1.1"),
    ] {
        change(&rig, &manifests(&format!("{common}, narthex.io/{terms}")));
        eventually("the idle connections on the old terms are closed", || {
            (pods[1].open.load(Ordering::SeqCst) == 0).then_some(())
        });
        for _ in 0..4 {
            assert_eq!(rig.client().send(GET).answer().status, 200, "{terms}");
        }
        assert!(
            opened.insert(pods[1].connections.load(Ordering::SeqCst)),
            "{terms}: a new connection"
        );
        kept.push(spoken);
        assert_eq!(*pods[1].spoken.lock().unwrap(), kept);
    }
    assert_eq!(pods[0].requests.load(Ordering::SeqCst), asked, "it is still set aside");
}
