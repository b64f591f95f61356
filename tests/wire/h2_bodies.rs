//! HTTP/2 messages whole or cut, sent again or not, and the fields that say how long they are (RFC 9110, RFC 9113).

use crate::h2_rig::{Answer, H2Pod, Manner, ask, connect, manifest, request, run, world};
use crate::raw_h2::{
    self, CANCEL, DATA, END_HEADERS, END_STREAM, HEADERS, NO_ERROR, OK, PING, RST_STREAM, Raw, SETTINGS, frame,
};
use crate::rig::{Reply, Rig, eventually, get};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// narthex before one ordinary pod (`a.test`) and this one (`h2.test`).
pub fn before(pod: SocketAddr, annotations: &str, flags: &[&str]) -> Rig {
    let rig = Rig::new(1, flags);
    let annotated =
        format!("metadata: {{name: h2, namespace: default, annotations: {{{annotations}}}}}\nspec: {{ports");
    let text = manifest(pod, "kubernetes.io/h2c")
        .replace("metadata: {name: h2, namespace: default}\nspec: {ports", &annotated);
    assert!(text.contains("annotations"));
    std::fs::write(rig.manifest("h2.yaml"), text).unwrap();
    eventually("the rule is live", || {
        let (_, said) = get(rig.admin, "/api/v1/explain?url=http://h2.test/");
        said.contains("\"h2\"").then_some(())
    });
    rig
}

/// What a pod does after half of a response.
fn breaks_off(how: &'static str) -> SocketAddr {
    raw_h2::pod(move |mut pod, _| {
        while let Some(asked) = pod.until(HEADERS) {
            let stream = asked.stream;
            pod.send(frame(HEADERS, END_HEADERS, stream, OK));
            pod.send(frame(DATA, 0, stream, b"half"));
            match how {
                "RST_STREAM" => {
                    pod.send(raw_h2::reset(stream, NO_ERROR));
                }
                "GOAWAY" => {
                    pod.send(raw_h2::goaway(stream, NO_ERROR));
                    return;
                }
                _ => return,
            }
        }
    })
}

#[test]
fn a_response_without_its_end_is_cut_for_the_client_too() {
    for how in ["RST_STREAM", "GOAWAY", "close"] {
        let rig = before(breaks_off(how), "", &[]);
        let mut client = rig.client();
        client.send("GET / HTTP/1.1\r\nHost: h2.test\r\n\r\n");
        let said = String::from_utf8(client.rest()).unwrap();
        // What breaks off at once may have no head either.
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 200"), "{how}: {said}");
        assert!(!said.ends_with("0\r\n\r\n"), "{how}: it looks whole: {said}");
        run(async {
            let mut sender = connect(&rig).await;
            let asked = request("GET", "http://h2.test/").body(()).unwrap();
            assert!(ask(&mut sender, asked, None).await.is_err(), "{how}");
        });
    }
}

#[test]
fn a_request_without_its_end_is_cut_for_the_pod_too() {
    let rig = Rig::new(1, &[]);
    let mut client = Raw::connect(rig.http);
    client.send(frame(HEADERS, END_HEADERS, 1, &raw_h2::head("POST", "a.test", &[])));
    client.send(frame(DATA, 0, 1, b"half"));
    eventually("the pod has begun to read", || {
        (rig.pod().connections.load(Ordering::SeqCst) > 0).then_some(())
    });
    client.send(raw_h2::reset(1, NO_ERROR));
    let got = rig.pod().last().text();
    assert!(got.contains("POST"), "{got}");
    assert!(!got.ends_with("0\r\n\r\n"), "it looks whole: {got}");
}

/// A pod that takes its first connections' requests and says of none of them that it was processed.
fn leaves_at_first(connections: usize) -> (SocketAddr, Arc<Mutex<Vec<Vec<u8>>>>) {
    let bodies: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
    let seen = bodies.clone();
    let address = raw_h2::pod(move |mut pod, index| {
        let mut body = Vec::new();
        while let Some(frame_of) = pod.next() {
            if frame_of.kind == DATA {
                body.extend(&frame_of.payload);
            }
            // What is long waits for the window to be opened again.
            if matches!(frame_of.kind, DATA | HEADERS) && (frame_of.ends() || body.len() > 60_000) {
                if index < connections {
                    pod.send(raw_h2::goaway(0, NO_ERROR));
                    // It goes when narthex goes.
                    while pod.next().is_some() {}
                    return;
                }
                seen.lock().unwrap().push(std::mem::take(&mut body));
                pod.send(frame(HEADERS, END_HEADERS | END_STREAM, frame_of.stream, OK));
            }
        }
    });
    (address, bodies)
}

#[test]
fn what_a_pod_never_processed_goes_to_another_connection_with_its_body() {
    let (address, bodies) = leaves_at_first(2);
    let rig = before(address, "", &["--shards", "1"]);
    let mut client = rig.client();
    client.send("POST / HTTP/1.1\r\nHost: h2.test\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(client.answer().status, 200);
    assert_eq!(*bodies.lock().unwrap(), [b"hello".to_vec()]);
    assert_eq!(rig.counter("ejections_total"), 0);
}

#[test]
fn a_body_that_is_too_long_to_be_kept_is_not_sent_twice() {
    let (address, bodies) = leaves_at_first(1);
    let rig = before(address, "", &["--shards", "1"]);
    let mut client = rig.client();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: h2.test\r\nContent-Length: {}\r\n\r\n",
        100_000
    ));
    // The pod's windows are never opened again, so not all of it is asked for.
    client.send(vec![b'x'; 100_000]);
    assert_eq!(client.answer().status, 502);
    assert!(bodies.lock().unwrap().is_empty());
}

#[test]
fn a_stream_that_a_pod_refuses_is_sent_again_with_its_body() {
    let pod = H2Pod::start(Manner::RefuseFirst, 100);
    let rig = world(&pod, &["--shards", "1"]);
    run(async {
        let mut sender = connect(&rig).await;
        let asked = request("POST", "http://h2.test/").body(()).unwrap();
        let answer = ask(&mut sender, asked, Some(("hello".into(), None))).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.body.as_slice()), (200, &b"hello"[..]));
    });
    assert_eq!(pod.requests(), 2);
}

/// A gRPC call has a body always, and is a POST.
#[test]
fn retries_hold_over_http2_too() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let pod = raw_h2::pod(move |mut pod, _| {
        let mut body = Vec::new();
        while let Some(frame_of) = pod.next() {
            if frame_of.kind == DATA {
                body.extend(&frame_of.payload);
            }
            if matches!(frame_of.kind, DATA | HEADERS) && frame_of.ends() {
                let body = std::mem::take(&mut body);
                if count.fetch_add(1, Ordering::SeqCst) == 0 {
                    pod.send(raw_h2::reset(frame_of.stream, 2));
                } else {
                    pod.send(frame(HEADERS, END_HEADERS, frame_of.stream, OK));
                    pod.send(frame(DATA, END_STREAM, frame_of.stream, &body));
                }
            }
        }
    });
    let annotations = r#"narthex.io/retries: "2", narthex.io/retry-on: "reset, non-idempotent""#;
    let rig = before(pod, annotations, &["--shards", "1"]);
    run(async {
        let mut sender = connect(&rig).await;
        let call = request("POST", "http://h2.test/")
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let answer = ask(&mut sender, call.body(()).unwrap(), Some(("call".into(), None)))
            .await
            .unwrap();
        assert_eq!((answer.status.as_u16(), answer.body.as_slice()), (200, &b"call"[..]));
    });
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

async fn over_h2(rig: &Rig, method: &str, uri: &str) -> Answer {
    let mut sender = connect(rig).await;
    ask(&mut sender, request(method, uri).body(()).unwrap(), None)
        .await
        .unwrap()
}

#[test]
fn a_status_without_content_has_no_length() {
    let rig = Rig::new(1, &[]);
    for status in [204, 304] {
        let reply = format!("HTTP/1.1 {status} Some\r\nContent-Length: 5\r\nX-A: b\r\n\r\n");
        rig.pod().answers(Reply::Last(reply.into_bytes()));
        let answer = run(over_h2(&rig, "GET", "http://a.test/"));
        assert_eq!((answer.status.as_u16(), answer.field("x-a")), (status, "b"));
        assert_eq!(answer.field("content-length"), "", "{status}");
        let mut client = rig.client();
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let answer = client.answer();
        assert_eq!((answer.status, answer.field("content-length")), (status, None));
    }
    // The length of what a GET would get stays.
    rig.pod()
        .answers(Reply::Last(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".to_vec()));
    assert_eq!(
        run(over_h2(&rig, "HEAD", "http://a.test/")).field("content-length"),
        "5"
    );
}

#[test]
fn the_crumbs_of_a_cookie_are_one_field() {
    let rig = Rig::new(1, &["--max-headers", "20"]);
    run(async {
        let mut sender = connect(&rig).await;
        let crumbs = |count: usize, others: usize| {
            let mut asked = request("GET", "http://a.test/");
            for index in 0..count {
                asked = asked.header("cookie", format!("c{index}=1"));
            }
            for index in 0..others {
                asked = asked.header(format!("x-{index}"), "1");
            }
            asked.body(()).unwrap()
        };
        assert_eq!(ask(&mut sender, crumbs(180, 19), None).await.unwrap().status, 200);
        assert_eq!(ask(&mut sender, crumbs(180, 20), None).await.unwrap().status, 431);
    });
    let cookies = rig.pod().last().field("cookie");
    assert_eq!(cookies.len(), 1);
    assert_eq!(cookies[0].split("; ").count(), 180);
}

#[test]
fn the_value_of_a_length_is_checked() {
    let rig = Rig::new(1, &["--shards", "1"]);
    let before = rig.pod().requests().len();
    for (length, wanted) in [
        ("", 400),
        (" ", 400),
        ("+0", 400),
        ("0x0", 400),
        ("0,0", 400),
        ("00000000000000000000", 400),
        ("000", 200),
        ("0", 200),
    ] {
        let mut client = Raw::connect(rig.http);
        let head = raw_h2::head("GET", "a.test", &[("content-length", length)]);
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &head));
        let frames = client.stream_of(1);
        let first = frames.first().expect("an answer");
        // What the h2 crate refuses is a reset of the stream.
        let refused = first.kind == RST_STREAM || first.payload.first() == Some(&0x8c);
        assert_eq!(refused, wanted == 400, "{length:?}: {first:?}");
        // The connection goes on.
        let head = raw_h2::head("GET", "a.test", &[]);
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, 3, &head));
        assert_eq!(
            client.stream_of(3).first().unwrap().payload.first(),
            Some(&OK[0]),
            "{length:?}"
        );
    }
    let got = rig.pod().requests();
    let lengths: Vec<_> = got[before..]
        .iter()
        .flat_map(|got| got.field("content-length"))
        .collect();
    assert_eq!(lengths, ["0", "0"], "as every server reads it");
    assert_eq!(rig.counter("ejections_total"), 0);
    let mut client = rig.client();
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0005\r\n\r\nhello");
    assert_eq!(client.answer().status, 200);
    assert_eq!(rig.pod().last().field("content-length"), ["5"]);
}

#[test]
fn a_stream_that_breaks_the_rules_is_reset_counted_and_logged() {
    let rig = Rig::new(1, &["--shards", "1"]);
    let mut client = Raw::connect(rig.http);
    let before = rig.counter("invalid_requests_total");
    for (index, field) in [("connection", "close"), ("te", "gzip")].into_iter().enumerate() {
        let stream = u32::try_from(index).unwrap() * 2 + 1;
        let head = raw_h2::head("GET", "a.test", &[field]);
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, &head));
        let frames = client.stream_of(stream);
        let first = frames.first().expect("an answer");
        assert_eq!(
            (first.kind, first.code()),
            (RST_STREAM, raw_h2::PROTOCOL_ERROR),
            "{field:?}"
        );
    }
    eventually("they are counted", || {
        (rig.counter("invalid_requests_total") == before + 2).then_some(())
    });
    rig.logged("breaks the rules of HTTP/2");
}

/// hyper does not look at a body that it cannot send, so it keeps the stream of a client that has gone.
#[test]
fn a_stream_that_its_client_left_behind_a_full_window_takes_no_room_from_others() {
    let pod = raw_h2::pod(|mut pod, _| {
        while let Some(asked) = pod.until(HEADERS) {
            pod.send(frame(HEADERS, END_HEADERS, asked.stream, OK));
            if asked.ends() {
                pod.send(frame(DATA, END_STREAM, asked.stream, b"ok"));
            }
        }
    });
    // More than a stream may have until the pod makes room, and less.
    for (length, connections) in [(100_000, 2), (1000, 1)] {
        let rig = before(pod, "", &["--shards", "1"]);
        let mut client = Raw::connect(rig.http);
        // The window of a stream is larger as soon as narthex knows that its SETTINGS are known.
        client.until(SETTINGS).expect("SETTINGS");
        client.send(frame(PING, 0, 0, &[0; 8]));
        client.until(PING).expect("an answer to PING");
        client.send(frame(HEADERS, END_HEADERS, 1, &raw_h2::head("POST", "h2.test", &[])));
        for piece in vec![b'x'; length].chunks(10_000) {
            client.send(frame(DATA, 0, 1, piece));
        }
        let answer = client.until(HEADERS).expect("the pod answers before it has read");
        assert_eq!(answer.stream, 1);
        client.send(raw_h2::reset(1, CANCEL));
        eventually("the request has ended", || {
            let metrics = get(rig.admin, "/metrics").1;
            let mut lines = metrics
                .lines()
                .filter(|line| line.starts_with("narthex_endpoint_requests_in_flight{"));
            lines
                .all(|line| line.rsplit(' ').next().and_then(|count| count.parse::<f64>().ok()) == Some(0.0))
                .then_some(())
        });
        client.send(frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            3,
            &raw_h2::head("GET", "h2.test", &[]),
        ));
        let answer = client.stream_of(3);
        assert!(answer.last().is_some_and(|frame| frame.ends()), "{answer:?}");
        assert_eq!(rig.counter("upstream_connects_total"), connections, "{length}");
    }
}
