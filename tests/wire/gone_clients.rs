//! Clients that leave: the pod is told, the place is free again, and the log says who ended it.

use crate::access_log::Log;
use crate::rig::{Client, Rig, eventually, ingress, slice};
use crate::tls_rig::Tls;
use crate::told_pod::{Then, ToldPod};
use std::io::Write;
use std::net::Shutdown;
use std::time::Duration;

const GET: &str = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
const NEVER: Duration = Duration::from_secs(60);

fn rig(pod: &ToldPod, flags: &[&str], annotations: &str) -> Rig {
    Rig::with(0, flags, |_| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: web, annotations: {{{annotations}}}}}\n\
             spec: {{ports: [{{port: 80}}]}}\n---\n"
        ) + &slice("web", pod.address, "p0")
            + &ingress("web", "a.test", "/", "web", "")
    })
}

fn silent() -> ToldPod {
    ToldPod::start(Then::Says(vec![], Duration::ZERO))
}

#[test]
fn a_client_that_leaves_before_the_reply_is_499_and_the_pod_is_told() {
    let (log, pod) = (Log::new(), silent());
    let rig = rig(&pod, &log.flags(&[]), "");
    let mut client = rig.client();
    client.send(GET);
    pod.asked(1);
    client.stream.shutdown(Shutdown::Write).unwrap();
    pod.ended(1);
    let line = log.status(499);
    assert_eq!(
        (&line["reason"], &line["side"]),
        (&"client_gone".into(), &"client".into()),
        "{line}"
    );
    assert!(client.ends(), "nothing more is said");
}

#[test]
fn a_client_that_leaves_within_a_reply_ends_it_before_the_next_byte() {
    let (log, pod) = (
        Log::new(),
        ToldPod::start(Then::Says(
            vec!["HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n"],
            Duration::ZERO,
        )),
    );
    let rig = rig(&pod, &log.flags(&[]), "");
    let mut client = rig.client();
    client.send(GET);
    eventually("the reply flows", || {
        let head = client.bytes(1);
        (head == b"1").then_some(())
    });
    client.stream.shutdown(Shutdown::Write).unwrap();
    pod.ended(1);
    let line = log.line("a line", |line| line["reason"] == "client_gone");
    assert_eq!(line["side"], "client", "{line}");
}

#[test]
fn who_leaves_gives_its_place_back() {
    let pod = silent();
    let rig = rig(&pod, &[], "narthex.io/max-in-flight: \"2\"");
    for round in 1..=3 {
        let clients: Vec<Client> = (0..2)
            .map(|_| {
                let mut client = rig.client();
                client.send(GET);
                client
            })
            .collect();
        pod.asked(2 * round);
        for client in &clients {
            client.stream.shutdown(Shutdown::Write).unwrap();
        }
        pod.ended(2 * round);
    }
}

/// An end of its output waits behind what it could not send. A reset does not.
#[test]
fn a_client_that_resets_an_upload_that_stands_still_is_noticed() {
    let (log, pod) = (Log::new(), ToldPod::start(Then::Says(vec![""], NEVER)));
    let rig = rig(&pod, &log.flags(&[]), "");
    let mut client = rig.client();
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000000\r\n\r\n");
    client.stream.set_nonblocking(true).unwrap();
    let piece = vec![b'x'; 1 << 20];
    let mut stuck = 0;
    while stuck < 20 {
        match client.stream.write(&piece) {
            Ok(written) if written > 0 => stuck = 0,
            _ => {
                stuck += 1;
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
    socket2::SockRef::from(&client.stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(client);
    let line = log.status(499);
    assert_eq!(
        (&line["reason"], &line["side"]),
        (&"client_gone".into(), &"client".into()),
        "{line}"
    );
}

#[test]
fn a_client_that_leaves_under_tls_is_noticed() {
    let (log, pod) = (Log::new(), silent());
    let rig = rig(&pod, &log.flags(&[]), "");
    for (count, says_so) in [(1, false), (2, true)] {
        let mut client = Tls::open(&rig, "a.test");
        client.0.write_all(GET.as_bytes()).unwrap();
        pod.asked(count);
        if says_so {
            client.0.conn.send_close_notify();
            client.0.flush().unwrap();
        }
        drop(client);
        pod.ended(count);
    }
    assert_eq!(log.status(499)["side"], "client");
}

#[test]
fn who_asks_for_one_reply_only_may_close_its_half() {
    let pod = ToldPod::start(Then::Says(
        vec![
            "",
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\no",
            "k\n",
        ],
        Duration::from_millis(700),
    ));
    let rig = rig(&pod, &[], "");
    for request in [
        "GET / HTTP/1.0\r\nHost: a.test\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: x, Close\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
    ] {
        let mut client = rig.client();
        client.send(request);
        client.stream.shutdown(Shutdown::Write).unwrap();
        let answer = client.answer();
        assert_eq!(
            (answer.status, answer.body.as_slice()),
            (200, &b"ok\n"[..]),
            "{request}"
        );
    }
    // The last of several says so.
    let mut client = rig.client();
    client.send(format!(
        "{GET}GET /2 HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
    ));
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!((client.answer().status, client.answer().status), (200, 200));
}

#[test]
fn a_flag_has_all_that_closed_their_half_served() {
    let pod = ToldPod::start(Then::Says(
        vec!["", "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n"],
        Duration::from_millis(700),
    ));
    let rig = rig(&pod, &["--serve-half-closed"], "");
    let mut client = rig.client();
    client.send(GET);
    client.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.answer().status, 200);
    assert!(client.ends());
}
