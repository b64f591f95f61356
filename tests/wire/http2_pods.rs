//! Pods that speak HTTP/2: connections shared, refusals, goodbyes, early answers (RFC 9113).

use crate::h2_rig::{H2Pod, Manner, ask, connect, manifest, request, run, world};
use crate::rig::{Rig, eventually};

#[test]
fn requests_share_connections_as_far_as_the_pod_allows() {
    for (streams, wanted) in [(100, 1..=1), (5, 4..=8)] {
        let pod = H2Pod::start(Manner::Together(20), streams);
        let rig = world(&pod, &["--shards", "1"]);
        run(async {
            let sender = connect(&rig).await;
            // The first tells narthex how many streams the pod allows.
            let tasks: Vec<_> = (0..20)
                .map(|_| {
                    let mut sender = sender.clone();
                    tokio::spawn(async move {
                        let asked = request("GET", "http://h2.test/").body(()).unwrap();
                        ask(&mut sender, asked, None).await.unwrap().status
                    })
                })
                .collect();
            for task in tasks {
                assert_eq!(task.await.unwrap(), 200);
            }
        });
        assert!(wanted.contains(&pod.connections()), "{streams}: {}", pod.connections());
    }
}

#[test]
fn a_pod_that_speaks_something_else_is_named() {
    let rig = Rig::new(1, &[]);
    std::fs::write(
        rig.manifest("h2.yaml"),
        manifest(rig.pod().address, "kubernetes.io/h2c"),
    )
    .unwrap();
    eventually("it is said", || {
        let mut client = rig.client();
        client.send("GET / HTTP/1.1\r\nHost: h2.test\r\n\r\n");
        (client.answer().status == 502 && rig.log().contains("does not speak HTTP/2")).then_some(())
    });
}

#[test]
fn what_a_pod_gives_back_untouched_is_sent_again() {
    let pod = H2Pod::start(Manner::RefuseFirst, 100);
    let rig = world(&pod, &[]);
    let mut client = rig.client();
    // Even a POST, for the pod has done nothing with it; but only without a body that is gone.
    client.send("POST / HTTP/1.1\r\nHost: h2.test\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    assert_eq!(rig.counter("retries_total"), 1);
}

#[test]
fn a_pod_that_says_goodbye_costs_no_request() {
    let pod = H2Pod::start(Manner::GoAway, 100);
    let rig = world(&pod, &[]);
    let mut client = rig.client();
    for _ in 0..20 {
        client.send("GET / HTTP/1.1\r\nHost: h2.test\r\n\r\n");
        assert_eq!(client.answer().status, 200);
    }
}

#[test]
fn an_early_reply_over_http2_ends_the_upload_it_answers() {
    let pod = H2Pod::start(Manner::Early, 100);
    let rig = world(&pod, &[]);
    let mut client = rig.client();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: h2.test\r\nContent-Length: {}\r\n\r\n",
        64 << 20
    ));
    client.send(vec![b'x'; 1 << 20]);
    assert_eq!(client.answer().status, 413);
    assert!(client.ends(), "the rest of the upload is waited for");
}

/// The second attempt may come upon the same connection, so that it looks like one that was about to close each time.
#[test]
fn a_pod_that_resets_every_stream_is_not_asked_for_ever() {
    let pod = H2Pod::start(Manner::Resets, 100);
    let rig = world(&pod, &["--attempts", "3", "--shards", "1"]);
    for asked in 1..=3 {
        let before = pod.requests();
        let mut client = rig.client();
        client.send("GET / HTTP/1.1\r\nHost: h2.test\r\n\r\n");
        assert_eq!(client.answer().status, 502);
        let sent = pod.requests() - before;
        assert!((1..=4).contains(&sent), "request {asked} was sent {sent} times");
    }
}
