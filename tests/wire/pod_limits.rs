//! How many requests each pod may have at a time.

use crate::openshift::{FLAGS, annotated, to_web};
use crate::rig::{Client, Reply, Rig, eventually, ingress, service_with};

const LIMIT: &str = "haproxy.router.openshift.io/pod-concurrent-connections";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

fn send(rig: &Rig, host: &str) -> Client {
    let mut client = Client::connect(rig.http);
    client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    client
}

fn requests(rig: &Rig) -> Vec<usize> {
    rig.pods.iter().map(|pod| pod.requests().len()).collect()
}

#[test]
fn each_pod_has_so_many_requests_and_others_wait() {
    let hold = [(LIMIT, "2"), ("narthex.io/queue-timeout", "1m")];
    let rig = Rig::with(2, &[FLAGS, &["--shards", "2"]].concat(), |pods| {
        let quick = [(LIMIT, "2"), ("narthex.io/queue-timeout", "100ms")];
        service_with("web", pods, "")
            + &annotated("default", "r", 1, &hold, &to_web("host: a.test"))
            + &annotated("default", "q", 1, &quick, &to_web("host: b.test"))
            + &annotated("default", "wrong", 1, &[(LIMIT, "none")], &to_web("host: c.test"))
    });
    for pod in &rig.pods {
        pod.answers(Reply::Silence);
    }
    // Each Route counts by itself, and all of one shard's connections may go to one pod without a limit.
    let mut held: Vec<Client> = Vec::new();
    for sent in 1..=4 {
        held.push(send(&rig, "b.test"));
        eventually("a pod has the request", || {
            (requests(&rig).iter().sum::<usize>() == sent).then_some(())
        });
    }
    assert_eq!(requests(&rig), [2, 2], "no pod has more than it may have");
    let late = send(&rig, "b.test").answer();
    assert_eq!((late.status, late.field("retry-after")), (503, Some("1")));
    rig.logged("backend_full");
    drop(held);

    let mut held: Vec<Client> = (0..4).map(|_| send(&rig, "a.test")).collect();
    eventually("the pods have these", || (requests(&rig) == [4, 4]).then_some(()));
    let mut waits = send(&rig, "a.test");
    let other = send(&rig, "c.test");
    eventually("a Route without a limit goes on", || {
        (requests(&rig).iter().sum::<usize>() == 9).then_some(())
    });
    for pod in &rig.pods {
        pod.answers(Reply::text(OK));
    }
    assert_eq!(requests(&rig).iter().sum::<usize>(), 9, "it waits");
    held.pop();
    assert_eq!(waits.answer().status, 200, "the next gets the place of one that ended");
    drop((held, other));
}

#[test]
fn what_a_service_limits_is_counted_for_all() {
    let rig = Rig::with(1, &["--shards", "1"], |pods| {
        service_with("web", pods, "narthex.io/max-in-flight: \"1\"")
            + &ingress("plain", "a.test", "/", "web", "")
            + &ingress(
                "own",
                "b.test",
                "/",
                "web",
                ", annotations: {narthex.io/max-in-flight-per-pod: \"5\"}",
            )
            + &ingress(
                "more",
                "c.test",
                "/",
                "web",
                ", annotations: {narthex.io/max-in-flight: \"5\"}",
            )
    });
    rig.pod().answers(Reply::Silence);
    let _held = send(&rig, "a.test");
    eventually("the pod has it", || (requests(&rig) == [1]).then_some(()));
    assert_eq!(
        send(&rig, "b.test").answer().status,
        503,
        "the Service's limit holds beside one of its own"
    );
    let _other = send(&rig, "c.test");
    eventually("the Ingress's own limit replaces the Service's", || {
        (requests(&rig) == [2]).then_some(())
    });
}

#[test]
fn a_pod_that_is_well_and_full_is_waited_for() {
    // Nobody listens at the second address.
    let gone = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let rig = Rig::with(1, &["--shards", "1"], |pods| {
        let both = [(pods[0].address, "p0"), (gone, "p1")];
        let limit = ", annotations: {narthex.io/max-in-flight-per-pod: \"1\", narthex.io/queue-timeout: 1m}";
        crate::rig::service("web", &both) + &ingress("web", "a.test", "/", "web", limit)
    });
    for _ in 0..6 {
        assert_eq!(
            send(&rig, "a.test").answer().status,
            200,
            "it was found at the other pod"
        );
    }
    rig.pod().answers(Reply::Silence);
    let before = rig.pod().requests().len();
    let held = send(&rig, "a.test");
    eventually("it has one", || (rig.pod().requests().len() > before).then_some(()));
    let mut waits = send(&rig, "a.test");
    rig.pod().answers(Reply::text(OK));
    drop(held);
    assert_eq!(waits.answer().status, 200);
}

#[test]
fn those_that_wait_come_before_those_that_come_later() {
    let rig = Rig::with(1, &["--shards", "1"], |pods| {
        let limit = ", annotations: {narthex.io/max-in-flight-per-pod: \"1\", narthex.io/queue-timeout: 1m}";
        service_with("web", pods, "") + &ingress("web", "a.test", "/", "web", limit)
    });
    let lines = || {
        let got = rig.pod().requests().into_iter();
        got.map(|got| got.line()).collect::<Vec<_>>()
    };
    // The pod has sent the head of its reply, and not the body.
    rig.pod()
        .answers(Reply::text("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n"));
    let mut first = Client::connect(rig.http);
    let ask = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n");
    first.send(ask("/first"));
    eventually("the pod has the first", || (lines().len() == 1).then_some(()));
    let waiting = |text: String| {
        let mut client = Client::connect(rig.http);
        client.send(text);
        // Another request has its reply, so the shard has seen this one.
        assert_eq!(send(&rig, "none.test").answer().status, 404);
        client
    };
    // The last one comes as soon as the one before it has its reply, when the place becomes free.
    let mut one = waiting(ask("/0") + &ask("/late"));
    let mut others = [waiting(ask("/1")), waiting(ask("/2"))];
    rig.pod().answers(Reply::text(OK));
    drop(first);
    for client in &mut others {
        assert_eq!(client.answer().status, 200);
    }
    assert_eq!((one.answer().status, one.answer().status), (200, 200));
    let wanted = ["/first", "/0", "/1", "/2", "/late"].map(|path| format!("GET {path} HTTP/1.1"));
    assert_eq!(lines(), wanted);
}
