//! Exchanges that are open in both directions: they last as long as either side goes on, and the log says what ended
//! those that do not.

use crate::access_log::Log;
use crate::rig::{Client, Rig, ingress, slice};
use crate::told_pod::{Then, ToldPod};
use std::time::{Duration, Instant};

const POST: &str = "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
const REPLY: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n";
const MORE: &str = "3\r\nand\r\n";
const SHORT: &[&str] = &["--body-timeout", "1s", "--stream-timeout", "1s", "--send-timeout", "1s"];
/// Longer than any of these, and a tick or two.
const LONG: Duration = Duration::from_secs(4);

fn rig(pod: &ToldPod, log: &Log, flags: &[&str], annotations: &str) -> Rig {
    Rig::with(0, &log.flags(flags), |_| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: web, annotations: {{{annotations}}}}}\n\
             spec: {{ports: [{{port: 80}}]}}\n---\n"
        ) + &slice("web", pod.address, "p0")
            + &ingress("web", "a.test", "/", "web", "")
    })
}

/// Reads for so long; whether the connection is still open then.
fn reads(client: &mut Client, time: Duration) -> bool {
    let until = Instant::now() + time;
    client
        .stream
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    while Instant::now() < until {
        match std::io::Read::read(&mut client.stream, &mut [0; 4096]) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock) => {}
            Err(_) => return false,
        }
    }
    true
}

#[test]
fn an_upload_that_stands_still_goes_on_while_the_reply_flows() {
    let (log, pod) = (
        Log::new(),
        ToldPod::start(Then::Repeats(REPLY, MORE, Duration::from_millis(300))),
    );
    let rig = rig(&pod, &log, SHORT, "");
    let mut client = rig.client();
    client.send(POST);
    assert!(
        reads(&mut client, LONG),
        "it was cut: {:?}",
        std::fs::read_to_string(&log.path)
    );
}

#[test]
fn a_reply_that_stands_still_goes_on_while_the_upload_flows() {
    let (log, pod) = (Log::new(), ToldPod::start(Then::Says(vec![REPLY], Duration::ZERO)));
    let rig = rig(&pod, &log, SHORT, "");
    let mut client = rig.client();
    client.send(POST);
    let began = Instant::now();
    while began.elapsed() < LONG {
        client.send("3\r\nand\r\n");
        assert!(reads(&mut client, Duration::from_millis(300)), "it was cut");
    }
}

#[test]
fn the_log_names_the_silence_that_ended_it() {
    for (flags, annotations, reason, side, cause) in [
        (
            &["--body-timeout", "1s"][..],
            "",
            "body_timeout",
            "client",
            "--body-timeout",
        ),
        (
            &["--stream-timeout", "1s"],
            "",
            "stream_timeout",
            "upstream",
            "--stream-timeout",
        ),
        (
            &[],
            "narthex.io/body-timeout: 1s",
            "body_timeout",
            "client",
            "narthex.io/body-timeout",
        ),
        (
            &[],
            "narthex.io/stream-timeout: 1s",
            "stream_timeout",
            "upstream",
            "narthex.io/stream-timeout",
        ),
    ] {
        let (log, pod) = (Log::new(), ToldPod::start(Then::Says(vec![REPLY], Duration::ZERO)));
        let rig = rig(&pod, &log, flags, annotations);
        let mut client = rig.client();
        client.send(POST);
        let line = log.status(200);
        assert_eq!(
            (line["reason"].as_str(), line["side"].as_str(), line["cause"].as_str()),
            (Some(reason), Some(side), Some(cause)),
            "{line}"
        );
        assert!(!reads(&mut client, LONG), "it goes on");
    }
}

#[test]
fn a_reply_that_is_not_taken_names_its_limit_too() {
    let (log, pod) = (Log::new(), ToldPod::start(Then::Says(vec![], Duration::ZERO)));
    drop(pod);
    for (flags, annotations, cause) in [
        (&["--send-timeout", "1s"][..], "", "--send-timeout"),
        (&[], "narthex.io/send-timeout: 1s", "narthex.io/send-timeout"),
    ] {
        let large: &'static str = Box::leak(
            format!(
                "HTTP/1.1 200 OK\r\ncontent-length: 30000000\r\n\r\n{}",
                "x".repeat(30_000_000)
            )
            .into_boxed_str(),
        );
        let pod = ToldPod::start(Then::Says(vec![large], Duration::ZERO));
        let rig = rig(&pod, &log, flags, annotations);
        let mut client = rig.client();
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let line = log.line("the silence is named", |line| line["cause"] == cause);
        assert_eq!(
            (line["reason"].as_str(), line["side"].as_str()),
            (Some("send_timeout"), Some("client")),
            "{line}"
        );
        drop(client);
    }
}

#[test]
fn annotations_allow_what_the_flags_do_not() {
    let (log, pod) = (Log::new(), ToldPod::start(Then::Says(vec![REPLY], Duration::ZERO)));
    let rig = rig(
        &pod,
        &log,
        SHORT,
        "narthex.io/body-timeout: 1h, narthex.io/stream-timeout: 1h",
    );
    let mut client = rig.client();
    client.send(POST);
    assert!(reads(&mut client, LONG), "it was cut");
}
