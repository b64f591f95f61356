//! gRPC: errors of narthex in its own words, and deadlines kept.

use crate::h2_rig::{Answer, H2Pod, Manner, ask, connect, request, run, world};
use crate::rig::{Rig, eventually};
use bytes::Bytes;
use h2::Reason;
use std::time::{Duration, Instant};

fn call(uri: &str, timeout: &str) -> http::request::Builder {
    request("POST", uri)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", timeout)
}

#[test]
fn grpc_clients_are_told_in_their_own_words() {
    let rig = Rig::new(0, &[]);
    run(async {
        let mut sender = connect(&rig).await;
        let call = |uri: &str, kind: &str| {
            request("POST", uri)
                .header("content-type", kind)
                .header("te", "trailers")
        };
        for (uri, status) in [
            ("http://a.test/pkg.Service/Method", "14"),
            ("http://nobody.test/pkg.Service/Method", "12"),
        ] {
            let asked = call(uri, "application/grpc+proto").body(()).unwrap();
            let answer = ask(&mut sender, asked, Some((Bytes::new(), None))).await.unwrap();
            assert_eq!(answer.status, 200);
            assert_eq!(answer.field("content-type"), "application/grpc");
            assert_eq!(answer.field("grpc-status"), status);
            assert!(!answer.field("grpc-message").is_empty());
        }
        let web = call("http://a.test/", "application/grpc-web+proto").body(()).unwrap();
        let answer = ask(&mut sender, web, Some((Bytes::new(), None))).await.unwrap();
        assert_eq!(answer.status, 503, "gRPC-Web is HTTP");
    });
}

fn resets(pod: &H2Pod) -> Vec<Reason> {
    pod.resets.lock().unwrap().clone()
}

#[test]
fn a_deadline_that_passes_before_the_answer_is_told() {
    let pod = H2Pod::start(Manner::Silent, 100);
    let rig = world(&pod, &["--response-timeout", "60s"]);
    run(async {
        let mut sender = connect(&rig).await;
        // With its message complete, and with more to come.
        for (count, upload) in [(1, Some((Bytes::from_static(b"abc"), None))), (2, None)] {
            let asked = call("http://h2.test/t.S/M", "200m").body(()).unwrap();
            let began = Instant::now();
            let answer = match upload {
                Some(_) => ask(&mut sender, asked, upload).await.unwrap(),
                None => {
                    let (response, _open) = sender.send_request(asked, false).unwrap();
                    let (parts, body) = response.await.unwrap().into_parts();
                    assert!(body.is_end_stream());
                    Answer {
                        status: parts.status,
                        headers: parts.headers,
                        body: Vec::new(),
                        trailers: None,
                    }
                }
            };
            assert!(began.elapsed() >= Duration::from_millis(200), "not early");
            assert_eq!((answer.status.as_u16(), answer.field("grpc-status")), (200, "4"));
            assert_eq!(answer.field("grpc-message"), "deadline exceeded");
            eventually("the pod's stream is reset", || {
                (resets(&pod).len() == count).then_some(())
            });
        }
        assert_eq!(resets(&pod), [Reason::CANCEL; 2]);
    });
    assert_eq!(pod.connections(), 1, "the connection goes on");
    rig.logged("grpc-timeout");
}

#[test]
fn a_deadline_that_passes_within_the_answer_resets_it() {
    // The rest is waited for; or the client does not take what is there.
    for said in [10, 1 << 20] {
        let pod = H2Pod::start(Manner::Stalls(said), 100);
        let rig = world(&pod, &["--stream-timeout", "60s", "--send-timeout", "60s"]);
        run(async {
            let mut sender = connect(&rig).await;
            let asked = call("http://h2.test/t.S/M", "300m").body(()).unwrap();
            let (response, _stream) = sender.send_request(asked, true).unwrap();
            let mut body = response.await.unwrap().into_body();
            let error = loop {
                match body.data().await.expect("a reset, not an end") {
                    Ok(_) => {}
                    Err(error) => break error,
                }
            };
            assert_eq!(error.reason(), Some(Reason::CANCEL));
            eventually("the pod's stream is reset", || {
                (resets(&pod) == [Reason::CANCEL]).then_some(())
            });
        });
    }
}

#[test]
fn what_is_answered_in_time_or_has_no_deadline_is_left_alone() {
    let pod = H2Pod::start(Manner::Echo, 100);
    let rig = world(&pod, &[]);
    let silent = H2Pod::start(Manner::Silent, 100);
    run(async {
        let mut sender = connect(&rig).await;
        for timeout in ["20S", "99999999H", "0S", "1s", "-1S", "100000000n"] {
            let asked = call("http://h2.test/t.S/M", timeout).body(()).unwrap();
            let answer = ask(&mut sender, asked, Some((Bytes::from_static(b"abc"), None)))
                .await
                .unwrap();
            assert_eq!(answer.body, b"abc", "{timeout}");
            assert!(answer.field("x-fields").contains("grpc-timeout"), "the pod is told");
        }
        // Not gRPC: nobody has promised anything.
        let rig = world(&silent, &["--response-timeout", "500ms"]);
        let mut sender = connect(&rig).await;
        let asked = request("POST", "http://h2.test/")
            .header("grpc-timeout", "1n")
            .body(())
            .unwrap();
        let answer = ask(&mut sender, asked, Some((Bytes::new(), None))).await.unwrap();
        assert_eq!(answer.status, 504);
        rig.logged("response_timeout");
    });
}
