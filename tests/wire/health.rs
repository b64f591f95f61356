//! Pods that fail: passive health, retries, and limits of one backend.

use crate::rig::{Reply, Rig, eventually, ingress, service, service_with};
use crate::told_pod::{Then, ToldPod};
use std::io::Read;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const GET: &str = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
const BAD: &str = "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n";

fn rig(pods: usize, annotations: &str) -> Rig {
    Rig::with(pods, &["--shards", "1"], |pods| {
        service_with("web", pods, annotations) + &ingress("web", "a.test", "/", "web", "")
    })
}

fn post(body: &str) -> String {
    format!(
        "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn a_pod_that_fails_is_set_aside_but_never_too_many() {
    let rig = rig(3, "narthex.io/eject-after: \"3\"");
    rig.pods[0].answers(Reply::text(BAD));
    let statuses: Vec<u16> = (0..60).map(|_| rig.client().send(GET).answer().status).collect();
    let failed = statuses.iter().filter(|status| **status == 503).count();
    assert_eq!(failed, 3, "{statuses:?}");
    rig.logged("an endpoint is ejected for a while");
    // A second would be more than half of three.
    rig.pods[1].answers(Reply::text(BAD));
    let statuses: Vec<u16> = (0..60).map(|_| rig.client().send(GET).answer().status).collect();
    let failed = statuses.iter().filter(|status| **status == 503).count();
    assert!(failed >= 25, "{failed} of 60");
}

#[test]
fn without_an_annotation_five_failures_set_a_pod_aside_and_0_means_never() {
    for (annotation, least, most) in [("", 5, 5), ("narthex.io/eject-after: \"0\"", 15, 60)] {
        let rig = rig(2, annotation);
        rig.pods[0].answers(Reply::text(BAD));
        let failed = (0..60)
            .filter(|_| rig.client().send(GET).answer().status == 503)
            .count();
        assert!((least..=most).contains(&failed), "{annotation}: {failed}");
    }
}

#[test]
fn what_a_client_breaks_is_not_the_pods_failure() {
    let rig = rig(2, "narthex.io/eject-after: \"1\"");
    for _ in 0..10 {
        let mut client = rig.client();
        client.send("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n");
        assert_eq!(client.answer().status, 400);
    }
    // Neither is what cannot be done.
    rig.pods[0].answers(Reply::text("HTTP/1.1 501 No\r\ncontent-length: 0\r\n\r\n"));
    for _ in 0..10 {
        rig.client().send(GET).answer();
    }
    assert_eq!(rig.counter("ejections_total"), 0);
}

/// A pod that was set aside is tried by one request. If that tells nothing of it, the next one tries at once.
#[test]
fn a_try_that_tells_nothing_keeps_the_pod_out_no_longer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let well = ToldPod::start(Then::SaysAndCloses(
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    ));
    let rig = Rig::with(0, &["--shards", "1"], |_| {
        service("web", &[(well.address, "p0"), (address, "p1")]) + &ingress("web", "a.test", "/", "web", "")
    });
    // Its body never comes, so a connection that ends tells nothing of the pod.
    let ask = || {
        let request = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000\r\n\r\nx";
        rig.client().send(request).answer().status
    };
    eventually("the pod is found unreachable", || {
        ask();
        (rig.counter("upstream_connect_failures_total") > 0).then_some(())
    });
    let listener = TcpListener::bind(address).unwrap();
    let tried = Arc::new(AtomicUsize::new(0));
    let count = tried.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 1024]);
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    eventually("one request tries it", || (ask() == 502).then_some(()));
    let before = tried.load(Ordering::SeqCst);
    let failed = (0..20).filter(|_| ask() == 502).count();
    assert!(
        failed > 0 && tried.load(Ordering::SeqCst) > before,
        "nobody tries again"
    );
}

#[test]
fn a_slow_pod_is_set_aside() {
    let rig = rig(3, "narthex.io/eject-slower: \"4\"");
    rig.pods[0].takes(Duration::from_millis(60));
    let before = |pod: usize| rig.pods[pod].requests().len();
    eventually("the slow one is set aside", || {
        rig.client().send(GET).answer();
        (rig.counter("ejections_total") == 1).then_some(())
    });
    let slow = before(0);
    for _ in 0..20 {
        rig.client().send(GET).answer();
    }
    assert_eq!(before(0), slow);
}

#[test]
fn a_bad_answer_is_tried_again_elsewhere() {
    let rig = rig(2, "narthex.io/retries: \"1\", narthex.io/eject-after: \"0\"");
    rig.pods[0].answers(Reply::text(BAD));
    for _ in 0..4 {
        assert_eq!(rig.client().send(GET).answer().status, 200);
    }
    // A POST may not be sent twice, unless the annotation says so.
    let statuses: Vec<u16> = (0..4).map(|_| rig.client().send(post("x")).answer().status).collect();
    assert!(statuses.contains(&503), "{statuses:?}");
}

#[test]
fn bodies_are_sent_again_as_far_as_they_are_kept() {
    let rig = rig(
        2,
        "narthex.io/retries: \"1\", narthex.io/retry-on: \"503, non-idempotent\", narthex.io/retry-buffer: \"1000\", \
         narthex.io/eject-after: \"0\"",
    );
    rig.pods[0].answers(Reply::text(BAD));
    let chunked =
        "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n";
    for (request, body) in [(post("hello"), "hello"), (chunked.to_owned(), "abc")] {
        for _ in 0..2 {
            assert_eq!(rig.client().send(&request).answer().status, 200);
        }
        let got = rig.pods[1].last().text();
        assert!(got.contains(body), "{got}");
    }
    let all: Vec<String> = rig.pods[1].requests().iter().map(|got| got.text()).collect();
    assert!(
        all.iter()
            .all(|got| got.ends_with("hello") || got.ends_with("0\r\n\r\n")),
        "{all:?}"
    );
    assert_eq!(all.iter().filter(|got| got.contains("defg")).count(), 2);
    let large = post(&"x".repeat(2000));
    let statuses: Vec<u16> = (0..4).map(|_| rig.client().send(&large).answer().status).collect();
    assert!(
        statuses.contains(&503),
        "what is not kept is not sent again: {statuses:?}"
    );
}

#[test]
fn retries_have_a_budget() {
    let rig = rig(2, "narthex.io/retries: \"3\", narthex.io/eject-after: \"0\"");
    for pod in &rig.pods {
        pod.answers(Reply::text(BAD));
    }
    for _ in 0..100 {
        assert_eq!(rig.client().send(GET).answer().status, 503);
    }
    let sent: usize = rig.pods.iter().map(|pod| pod.requests().len()).sum();
    assert!((115..=125).contains(&sent), "100 requests became {sent}");
}

#[test]
fn one_try_that_takes_too_long_is_given_up_for_another() {
    let rig = rig(2, "narthex.io/retries: \"1\", narthex.io/per-try-timeout: 50ms");
    rig.pods[0].answers(Reply::Silence);
    for _ in 0..4 {
        assert_eq!(rig.client().send(GET).answer().status, 200);
    }
}

/// It would only be cut off.
#[test]
fn a_request_that_cannot_be_sent_again_has_all_the_time_there_is() {
    let rig = rig(1, "narthex.io/retries: \"2\", narthex.io/per-try-timeout: 50ms");
    rig.pod().takes(Duration::from_millis(300));
    assert_eq!(rig.client().send(post("once")).answer().status, 200);
    assert_eq!(rig.pod().requests().len(), 1);
}

#[test]
fn a_pod_that_lets_the_time_of_requests_run_out_fails() {
    let rig = rig(
        2,
        "narthex.io/request-timeout: 200ms, narthex.io/eject-after: \"2\", narthex.io/balance: round-robin",
    );
    rig.pods[0].answers(Reply::Silence);
    let late = (0..20)
        .filter(|_| rig.client().send(GET).answer().status == 504)
        .count();
    assert_eq!(late, 2);
}

#[test]
fn times_of_a_backend_are_its_own() {
    let rig = rig(1, "narthex.io/response-timeout: 100ms");
    rig.pod().answers(Reply::Silence);
    assert_eq!(rig.client().send(GET).answer().status, 504);
    assert_eq!(rig.client().send(post("x")).answer().status, 504);
    let stalled = self::rig(1, "narthex.io/stream-timeout: 1s");
    stalled
        .pod()
        .answers(Reply::text("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nx"));
    let mut client = stalled.client();
    client.send(GET);
    assert!(!client.ends(), "the head comes, and then the end");
}

#[test]
fn a_whole_request_has_its_time() {
    let rig = rig(1, "narthex.io/request-timeout: 300ms");
    assert_eq!(rig.client().send(GET).answer().status, 200);
    rig.pod().answers(Reply::Silence);
    assert_eq!(rig.client().send(GET).answer().status, 504);
    // Within the response the connection ends, so that the client can tell.
    rig.pod()
        .answers(Reply::text("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nx"));
    let mut client = rig.client();
    client.send(GET);
    assert!(client.answer_to("GET").is_none(), "the response is not complete");
}

#[test]
fn a_connect_has_its_own_time() {
    // Nobody answers at this address (RFC 5737, TEST-NET-1), or the way there is refused at once.
    let dead: std::net::SocketAddr = "192.0.2.1:80".parse().unwrap();
    let rig = Rig::with(0, &["--attempts", "1", "--connect-timeout", "10m"], |_| {
        service_with("web", &[], "narthex.io/connect-timeout: 50ms")
            + &crate::rig::slice("web", dead, "x")
            + &ingress("web", "a.test", "/", "web", "")
    });
    let status = rig.client().send(GET).answer().status;
    assert!(status == 504 || status == 502, "{status}");
}

#[test]
fn what_is_beyond_the_limit_is_told_to_come_again() {
    // One place for the process, however many shards it has.
    let rig = Rig::with(1, &["--shards", "4"], |pods| {
        service_with("web", pods, "narthex.io/max-in-flight: \"1\"") + &ingress("web", "a.test", "/", "web", "")
    });
    rig.pod().takes(Duration::from_secs(1));
    let mut first = rig.client();
    first.send(GET);
    rig.pod().last();
    for _ in 0..4 {
        let answer = rig.client().send(GET).answer();
        assert_eq!((answer.status, answer.field("retry-after")), (503, Some("1")));
    }
    assert_eq!(first.answer().status, 200);
    assert_eq!(rig.client().send(GET).answer().status, 200);
}

#[test]
fn some_may_wait_for_their_turn() {
    let rig = rig(
        1,
        "narthex.io/max-in-flight: \"1\", narthex.io/max-pending: \"2\", narthex.io/queue-timeout: 30s",
    );
    rig.pod().takes(Duration::from_millis(100));
    let mut clients: Vec<_> = (0..4).map(|_| rig.client()).collect();
    for client in &mut clients {
        client.send(GET);
    }
    let mut statuses: Vec<u16> = clients.iter_mut().map(|client| client.answer().status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 503]);
}

#[test]
fn how_many_may_be_set_aside_can_be_said() {
    // A third of three is one, a tenth is none, and all are all.
    for (share, aside) in [("34", 1), ("10", 0), ("100", 3)] {
        let annotations = format!("narthex.io/eject-after: \"1\", narthex.io/eject-share: \"{share}\"");
        let rig = rig(3, &annotations);
        for pod in &rig.pods {
            pod.answers(Reply::text(BAD));
        }
        for _ in 0..30 {
            assert_eq!(rig.client().send(GET).answer().status, 503);
        }
        assert_eq!(rig.counter("ejections_total"), aside, "{share} %");
    }
}

#[test]
fn who_waits_too_long_for_a_turn_is_told_to_come_again() {
    let rig = rig(
        1,
        "narthex.io/max-in-flight: \"1\", narthex.io/max-pending: \"5\", narthex.io/queue-timeout: 50ms",
    );
    rig.pod().answers(Reply::Silence);
    let mut first = rig.client();
    first.send(GET);
    rig.pod().last();
    let answer = rig.client().send(GET).answer();
    assert_eq!((answer.status, answer.field("retry-after")), (503, Some("1")));
}
