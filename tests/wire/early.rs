//! Pods that answer before they have read the whole request, and close (RFC 9112, section 9.5).

use crate::rig::{Client, Rig, eventually, ingress, service};
use crate::told_pod::{Then, ToldPod};
use std::io::Write;

const REFUSAL: &str = "HTTP/1.1 413 Content Too Large\r\ncontent-length: 8\r\nconnection: close\r\n\r\ntoo big\n";
const SIZE: usize = 8 << 20;

fn rig(pods: &[&ToldPod]) -> Rig {
    Rig::with(0, &["--shards", "1"], |_| {
        let names: Vec<String> = (0..pods.len()).map(|index| format!("p{index}")).collect();
        let endpoints: Vec<_> = pods
            .iter()
            .zip(&names)
            .map(|(pod, name)| (pod.address, name.as_str()))
            .collect();
        service("web", &endpoints) + &ingress("web", "a.test", "/", "web", "")
    })
}

/// Sends what it can of a request with a large body, while the reply is read.
fn upload(rig: &Rig, head: &str, chunked: bool) -> Option<crate::rig::Answer> {
    let mut client: Client = rig.client();
    client.send(head);
    let mut writer = client.stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        let piece = vec![b'x'; 64 << 10];
        for _ in 0..SIZE / piece.len() {
            let framed = match chunked {
                true => [b"10000\r\n", &piece[..], b"\r\n"].concat(),
                false => piece.clone(),
            };
            if writer.write_all(&framed).is_err() {
                return;
            }
        }
    });
    let answer = client.answer_to("POST");
    drop(client.stream.shutdown(std::net::Shutdown::Both));
    sending.join().unwrap();
    answer
}

#[test]
fn the_answer_is_passed_on_although_the_pod_closes_on_the_rest() {
    let pods = [
        ToldPod::start(Then::SaysAndCloses(REFUSAL)),
        ToldPod::start(Then::SaysAndCloses(REFUSAL)),
    ];
    let rig = rig(&[&pods[0], &pods[1]]);
    for round in 0..30 {
        let length = format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {SIZE}\r\n\r\n");
        let chunked = "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n";
        for (head, is_chunked) in [(length.as_str(), false), (chunked, true)] {
            let answer = upload(&rig, head, is_chunked).expect("a reply");
            assert_eq!(
                (answer.status, answer.body.as_slice()),
                (413, &b"too big\n"[..]),
                "round {round}"
            );
        }
    }
    assert_eq!(
        rig.counter("ejections_total"),
        0,
        "what a client sends says nothing of a pod"
    );
}

#[test]
fn a_connection_that_ends_within_an_upload_says_nothing_of_the_pod() {
    let pods = [
        ToldPod::start(Then::SaysAndCloses("")),
        ToldPod::start(Then::SaysAndCloses("")),
    ];
    let rig = rig(&[&pods[0], &pods[1]]);
    let head = format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {SIZE}\r\n\r\n");
    for _ in 0..15 {
        assert_eq!(upload(&rig, &head, false).expect("a reply").status, 502);
    }
    assert_eq!(rig.counter("ejections_total"), 0);
    // Without a body it does.
    for _ in 0..15 {
        rig.client()
            .send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n")
            .answer();
    }
    eventually("a pod is set aside", || {
        (rig.counter("ejections_total") > 0).then_some(())
    });
}
