//! What HTTP/2 clients and pods may have narthex hold, and that one stream's fault or slowness is no other's.

use crate::h2_bodies::before;
use crate::h2_rig::{ask, connect, request, run};
use crate::raw_h2::{
    self, DATA, END_HEADERS, END_STREAM, HEADERS, OK, RST_STREAM, Raw, SETTINGS, WINDOW_UPDATE, frame,
};
use crate::rig::{Reply, Rig, eventually, get, ingress, service};
use bytes::Bytes;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const REFUSED_STREAM: u32 = 0x7;
/// SETTINGS_INITIAL_WINDOW_SIZE of nothing.
const NO_WINDOW: [u8; 6] = [0, 4, 0, 0, 0, 0];

/// So many requests, each of which names a cookie of 390 bytes seventy times by a byte of the table.
fn bombs(count: u32) -> Vec<u8> {
    let mut all = Vec::new();
    for index in 0..count {
        let mut head = raw_h2::head("GET", "a.test", &[]);
        if index == 0 {
            // A literal that the table takes in.
            head.extend([0x40, 6]);
            head.extend(b"cookie");
            head.extend([0x7f, 0x80 | ((390 - 127) & 0x7f) as u8, ((390 - 127) >> 7) as u8]);
            head.extend(vec![b'x'; 390]);
        }
        head.extend([0xbe; 70]);
        all.extend(frame(HEADERS, END_HEADERS | END_STREAM, index * 2 + 1, &head));
    }
    all
}

fn memory(rig: &Rig) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", rig.child.id())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    resident.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

fn is_served(rig: &Rig) {
    let mut client = rig.client();
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(client.answer().status, 200);
}

#[test]
fn what_the_requests_of_a_connection_hold_is_bounded() {
    let rig = Rig::new(1, &["--shards", "1"]);
    is_served(&rig);
    let before = memory(&rig);
    let mut clients: Vec<_> = (0..50).map(|_| Raw::connect_with(rig.http, &NO_WINDOW)).collect();
    for client in &mut clients {
        assert!(client.send(bombs(100)));
    }
    let asked = |rig: &Rig| rig.counter("requests_total");
    // Of each hundred some wait for their turn.
    eventually("most of them have been looked at", || {
        (asked(&rig) > 3500).then_some(())
    });
    is_served(&rig);
    let more = memory(&rig).saturating_sub(before);
    assert!(more <= 64 << 20, "{} MiB more", more >> 20);
    // Some wait for their windows, and the others may be sent again.
    let client = &mut clients[0];
    let mut refused = 0;
    let mut answered = 0;
    while refused < 30 || answered == 0 {
        let got = client.next().expect("the connection goes on");
        match got.kind {
            RST_STREAM => {
                assert_eq!(got.code(), REFUSED_STREAM);
                refused += 1;
            }
            HEADERS => answered += 1,
            _ => {}
        }
    }
}

#[test]
fn many_requests_with_large_heads_wait_for_their_turn() {
    let rig = Rig::new(1, &["--shards", "1"]);
    rig.pod().takes(Duration::from_millis(200));
    let mut client = Raw::connect(rig.http);
    let value = "v".repeat(100);
    let fields: Vec<(&str, &str)> = (0..60).map(|_| ("x-some", value.as_str())).collect();
    let mut all = Vec::new();
    for index in 0..100_u32 {
        let head = raw_h2::head("GET", "a.test", &fields);
        all.extend(frame(HEADERS, END_HEADERS | END_STREAM, index * 2 + 1, &head));
    }
    client.send(all);
    for _ in 0..100 {
        let got = client.until(HEADERS).expect("an answer");
        assert_eq!(got.payload.first(), Some(&OK[0]));
    }
}

#[test]
fn short_of_memory_those_go_that_hold_it_for_nothing_and_newcomers_are_served() {
    let rig = Rig::new(1, &["--shards", "1", "--max-memory", "1MiB"]);
    rig.logged("more memory than");
    // More than are served in need.
    let mut clients: Vec<_> = (0..10).map(|_| Raw::connect_with(rig.http, &NO_WINDOW)).collect();
    for client in &mut clients {
        for stream in [1, 3, 5] {
            client.send(frame(
                HEADERS,
                END_HEADERS | END_STREAM,
                stream,
                &raw_h2::head("GET", "a.test", &[]),
            ));
        }
    }
    eventually("they are ended", || {
        (rig.counter("http2_stalled_requests_total") >= 8).then_some(())
    });
    for _ in 0..20 {
        eventually("another is served", || {
            let mut client = rig.client();
            client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
            (client.answer().status == 200).then_some(())
        });
    }
}

/// Accepts, and never reads.
fn deaf() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let held: Vec<_> = listener.incoming().collect();
        drop(held);
    });
    address
}

#[test]
fn uploads_that_no_pod_reads_hold_up_no_others() {
    let address = deaf();
    let rig = Rig::with(1, &["--shards", "1"], |pods| {
        service("web", &[(pods[0].address, "p0")])
            + &ingress("web", "a.test", "/", "web", "")
            + &service("deaf", &[(address, "d0")])
            + &ingress("deaf", "deaf.test", "/", "deaf", "")
    });
    run(async {
        let mut sender = connect(&rig).await;
        let sent = Arc::new(AtomicUsize::new(0));
        for _ in 0..6 {
            let asked = request("POST", "http://deaf.test/").body(()).unwrap();
            let (_response, mut upload) = sender.send_request(asked, false).unwrap();
            let sent = sent.clone();
            tokio::spawn(async move {
                let _response = _response;
                let piece = Bytes::from(vec![b'x'; 64 << 10]);
                loop {
                    upload.reserve_capacity(piece.len());
                    let Some(Ok(room)) = std::future::poll_fn(|cx| upload.poll_capacity(cx)).await else {
                        return;
                    };
                    let part = piece.slice(..room.min(piece.len()));
                    sent.fetch_add(part.len(), Ordering::SeqCst);
                    if upload.send_data(part, false).is_err() {
                        return;
                    }
                }
            });
        }
        // Until nothing more is taken of any.
        let (mut before, mut since) = (0, Instant::now());
        while since.elapsed() < Duration::from_millis(500) {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let now = sent.load(Ordering::SeqCst);
            if now != before {
                (before, since) = (now, Instant::now());
            }
        }
        let asked = request("POST", "http://a.test/").body(()).unwrap();
        let answer = ask(&mut sender, asked, Some(("abc".into(), None))).await.unwrap();
        assert_eq!(answer.status, 200);
    });
}

#[test]
fn the_window_of_a_request_is_as_the_flag_says() {
    for (flags, window) in [
        (&[][..], 1_u32 << 20),
        (&["--http2-stream-window", "2MiB"][..], 2 << 20),
    ] {
        let rig = Rig::new(1, flags);
        let mut client = Raw::connect(rig.http);
        let settings = client.until(SETTINGS).unwrap().payload;
        let entry = [&[0, 4][..], &window.to_be_bytes()].concat();
        assert!(settings.chunks(6).any(|one| one == entry), "{settings:?}");
        let more = client.until(WINDOW_UPDATE).unwrap().payload;
        let more = u32::from_be_bytes(more.try_into().unwrap());
        assert_eq!(more + 65_535, window * 100, "all streams may have as much at once");
    }
}

#[test]
fn small_frames_of_an_upload_that_is_not_read_end_no_connection() {
    // A pod that never opens its windows.
    let pod = raw_h2::pod(|mut pod, _| {
        pod.send(frame(SETTINGS, 0, 0, &NO_WINDOW));
        while pod.next().is_some() {}
    });
    let rig = before(pod, "", &["--shards", "1"]);
    let mut client = Raw::connect(rig.http);
    client.send(frame(HEADERS, END_HEADERS, 1, &raw_h2::head("POST", "h2.test", &[])));
    client.send(frame(DATA, 0, 1, b"x").repeat(15_000));
    client.send(frame(
        HEADERS,
        END_HEADERS | END_STREAM,
        3,
        &raw_h2::head("GET", "a.test", &[]),
    ));
    let frames = client.stream_of(3);
    assert_eq!(
        frames.first().and_then(|frame| frame.payload.first()),
        Some(&OK[0]),
        "{frames:?}"
    );
}

#[test]
fn a_client_that_does_not_read_small_frames_ends_no_other_request_to_the_pod() {
    let pod = raw_h2::pod(|mut pod, index| {
        let mut streams = Vec::new();
        while let Some(asked) = pod.until(HEADERS) {
            streams.push(asked.stream);
            if index > 0 {
                pod.send(frame(HEADERS, END_HEADERS | END_STREAM, asked.stream, OK));
            } else if let [first, second] = streams[..] {
                pod.send(frame(HEADERS, END_HEADERS, first, OK));
                pod.send(frame(DATA, 0, first, b"x").repeat(15_000));
                pod.send(frame(HEADERS, END_HEADERS | END_STREAM, second, OK));
            }
        }
    });
    let rig = before(pod, "", &["--shards", "1"]);
    let mut unread = Raw::connect_with(rig.http, &NO_WINDOW);
    unread.send(frame(
        HEADERS,
        END_HEADERS | END_STREAM,
        1,
        &raw_h2::head("GET", "h2.test", &[]),
    ));
    eventually("the pod has it", || {
        (rig.counter("upstream_connects_total") == 1).then_some(())
    });
    let mut client = rig.client();
    client.send("POST / HTTP/1.1\r\nHost: h2.test\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    // What comes now is kept off the connection that is at risk.
    for _ in 0..5 {
        client.send("POST / HTTP/1.1\r\nHost: h2.test\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(client.answer().status, 200);
    }
    assert_eq!(rig.counter("upstream_connects_total"), 2);
    assert!(get(rig.admin, "/readyz").0 == 200);
}

/// After a fault that ended a whole connection, requests that must not be repeated have one of their own.
#[test]
fn a_pod_that_broke_a_connection_gets_no_unsafe_requests_beside_others() {
    let pod = raw_h2::pod(|mut pod, index| {
        while let Some(asked) = pod.until(HEADERS) {
            // A control byte in a field: the first time only.
            let head = if index == 0 {
                [OK, &raw_h2::literal("x-a", "\u{1}")].concat()
            } else {
                OK.to_vec()
            };
            if index == 0 || asked.ends() {
                pod.send(frame(HEADERS, END_HEADERS | END_STREAM, asked.stream, &head));
            }
        }
    });
    let rig = before(pod, "", &["--shards", "1"]);
    let mut client = rig.client();
    client.send("POST / HTTP/1.1\r\nHost: h2.test\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.answer().status, 502);
    // Two that stay, and each is on a connection of its own.
    let mut open: Vec<_> = (0..2).map(|_| Raw::connect(rig.http)).collect();
    for client in &mut open {
        client.send(frame(HEADERS, END_HEADERS, 1, &raw_h2::head("POST", "h2.test", &[])));
    }
    eventually("each has its own", || {
        (rig.counter("upstream_connects_total") == 3).then_some(())
    });
}

#[test]
fn other_requests_wait_for_no_reply_that_is_not_taken() {
    let rig = Rig::new(1, &["--shards", "1"]);
    let body = vec![b'x'; 3000];
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    rig.pod().answers(Reply::Bytes([head.as_bytes(), &body].concat()));
    let mut client = Raw::connect_with(rig.http, &NO_WINDOW);
    for stream in [1, 3, 5, 7] {
        client.send(frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            stream,
            &raw_h2::head("GET", "a.test", &[]),
        ));
        client.until(HEADERS).expect("an answer");
    }
    assert_eq!(
        rig.counter("upstream_connects_total"),
        1,
        "the pod's connection waits for the client"
    );
}

/// Also one of which the window has admitted a byte, and of which nothing more is to be had of the pod.
#[test]
fn a_reply_that_is_not_taken_ends_with_its_time_out() {
    let rig = Rig::new(1, &["--shards", "1", "--send-timeout", "500ms"]);
    let mut client = Raw::connect_with(rig.http, &[0, 4, 0, 0, 0, 1]);
    let asks = |stream| {
        frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            stream,
            &raw_h2::head("GET", "a.test", &[]),
        )
    };
    client.send(asks(1));
    let frames = client.stream_of(1);
    let kinds: Vec<_> = frames.iter().map(|frame| frame.kind).collect();
    assert_eq!(kinds, [HEADERS, DATA, RST_STREAM], "{frames:?}");
    assert_eq!(rig.counter("client_timeouts_total"), 1);
    // The connection goes on.
    client.send(asks(3));
    assert_eq!(client.until(HEADERS).expect("an answer").stream, 3);
}
