//! HTTP/2 clients that send what costs them little and us more (reliability rows 28 to 31). Each is let go, and another
//! client is served all the while.

use crate::rig::{PATIENCE, Rig, eventually};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: u8 = 0x4;
const HEADERS: u8 = 0x1;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// `GET / a.test` without any table: static entries, and a literal authority (RFC 7541).
fn head() -> Vec<u8> {
    let mut head = vec![0x82, 0x84, 0x86, 0x01, 6];
    head.extend(b"a.test");
    head
}

fn opened(stream: u32, end: bool) -> Vec<u8> {
    let flags = END_HEADERS | if end { END_STREAM } else { 0 };
    frame(HEADERS, flags, stream, &head())
}

/// Sends frames until narthex ends the connection; how many that took.
fn until_cut(rig: &Rig, mut next: impl FnMut(u32) -> Vec<u8>) -> u32 {
    let mut stream = TcpStream::connect(rig.http).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // What narthex says is read and thrown away, or it would wait for us.
    let mut reader = stream.try_clone().unwrap();
    let reading = std::thread::spawn(move || while reader.read(&mut [0; 65536]).is_ok_and(|count| count > 0) {});
    stream.write_all(PREFACE).unwrap();
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut count = 0;
    while stream.write_all(&next(count)).is_ok() {
        count += 1;
        assert!(Instant::now() < deadline, "{count} frames, and still open");
    }
    reading.join().unwrap();
    count
}

fn others_are_served(rig: &Rig) {
    for _ in 0..5 {
        let mut client = rig.client();
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        assert_eq!(client.answer().status, 200);
    }
}

#[test]
fn row_28_streams_that_are_reset_at_once_end_the_connection() {
    let rig = Rig::new(1, &["--shards", "1"]);
    until_cut(&rig, |count| {
        let stream = count * 2 + 1;
        [opened(stream, true), frame(0x3, 0, stream, &8_u32.to_be_bytes())].concat()
    });
    others_are_served(&rig);
    assert!(rig.counter("floods_total") <= 1);
    // What was begun for them is given up, and no pod is connected to for each.
    assert!(rig.counter("upstream_connects_total") < 700);
    eventually("nothing is left of them", || {
        let metrics = crate::rig::get(rig.admin, "/metrics").1;
        metrics.contains("narthex_open_connections 0").then_some(())
    });
}

/// CVE-2025-8671: the client has the server reset its own streams.
#[test]
fn row_29_streams_that_we_are_made_to_reset_end_the_connection() {
    type Break = fn(u32) -> Vec<u8>;
    let ways: [(&str, Break); 3] = [
        ("a window that grows by nothing", |stream| {
            frame(0x8, 0, stream, &[0; 4])
        }),
        ("a window that overflows", |stream| {
            frame(0x8, 0, stream, &0x7fff_ffff_u32.to_be_bytes())
        }),
        ("a stream that depends on itself", |stream| {
            let mut payload = stream.to_be_bytes().to_vec();
            payload.push(1);
            frame(0x2, 0, stream, &payload)
        }),
    ];
    for (what, broken) in ways {
        let rig = Rig::new(1, &["--shards", "1"]);
        let count = until_cut(&rig, |count| {
            let stream = count * 2 + 1;
            [opened(stream, false), broken(stream)].concat()
        });
        // What the kernel holds has been written too.
        assert!(count < 1_000_000, "{what}: {count}");
        others_are_served(&rig);
    }
}

#[test]
fn row_30_frames_that_do_nothing_end_the_connection_when_there_are_too_many() {
    type Make = fn(u32) -> Vec<u8>;
    let floods: [(&str, Make); 6] = [
        ("PING", |_| frame(0x6, 0, 0, &[7; 8])),
        ("SETTINGS", |_| frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])),
        ("PRIORITY", |_| frame(0x2, 0, 1, &[0, 0, 0, 0, 9])),
        ("WINDOW_UPDATE", |_| frame(0x8, 0, 0, &1_u32.to_be_bytes())),
        ("a type that nobody knows", |_| frame(0xfa, 0, 0, b"x")),
        ("DATA without any", |count| match count {
            0 => opened(1, false),
            _ => frame(0x0, 0, 1, &[]),
        }),
    ];
    for (what, make) in floods {
        let rig = Rig::new(1, &["--shards", "1"]);
        let count = until_cut(&rig, make);
        // What the kernel holds has been written too.
        assert!(count < 1_000_000, "{what}: {count}");
        others_are_served(&rig);
    }
}

#[test]
fn row_30_a_head_without_end_ends_the_connection() {
    let rig = Rig::new(1, &["--shards", "1"]);
    until_cut(&rig, |count| match count {
        0 => frame(HEADERS, 0, 1, &head()),
        _ => frame(0x9, 0, 1, &[]),
    });
    until_cut(&rig, |count| match count {
        0 => frame(HEADERS, 0, 1, &head()),
        // A literal field each time, never indexed.
        _ => frame(0x9, 0, 1, &[&[0x10, 1, b'x', 120][..], &[b'y'; 120]].concat()),
    });
    others_are_served(&rig);
}

/// One byte names a field of the table that is 4 KiB long.
#[test]
fn row_31_fields_that_unpack_to_much_are_refused() {
    let rig = Rig::new(1, &["--shards", "1"]);
    let mut long = vec![0x40, 1, b'x', 0x7f, 0x80 | 33, 30];
    long.extend(vec![b'y'; 127 + 33 + 30 * 128]);
    let mut stream = TcpStream::connect(rig.http).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(PREFACE).unwrap();
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).unwrap();
    stream
        .write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &[head(), long].concat()))
        .unwrap();
    for stream_id in 1..50 {
        let bomb = [head(), vec![0xbe; 8000]].concat();
        if stream
            .write_all(&frame(HEADERS, END_HEADERS | END_STREAM, stream_id * 2 + 1, &bomb))
            .is_err()
        {
            break;
        }
    }
    others_are_served(&rig);
    // One of them at most was a request.
    assert!(rig.pod().requests().len() <= 6);
}
