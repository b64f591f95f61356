//! HTTP/2 clients that send what costs them little and us more (docs/security.md, rows 28 to 31). Each is let go, and another
//! client is served all the while.

use crate::h2_bodies::before;
use crate::raw_h2::{
    self, ACK, CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY, HEADERS, OK, PING,
    PREFACE, PRIORITY, Raw, SETTINGS, frame, window_update,
};
use crate::rig::{PATIENCE, Rig, eventually};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

/// `GET / a.test`.
fn head() -> Vec<u8> {
    raw_h2::head("GET", "a.test", &[])
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
        [opened(stream, true), raw_h2::reset(stream, CANCEL)].concat()
    });
    others_are_served(&rig);
    assert!(rig.counter("http2_enhance_your_calm_total") <= 1);
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

type Make = fn(u32) -> Vec<u8>;

/// What costs a client or a pod little, and the name it has in the log.
const FLOODS: [(&str, Make); 8] = [
    ("\"PING or SETTINGS\"", |_| frame(PING, 0, 0, &[7; 8])),
    ("\"PING or SETTINGS\"", |_| frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])),
    ("\"PING or SETTINGS with ACK\"", |_| frame(PING, ACK, 0, &[7; 8])),
    // While nothing is under way, the first would end the connection.
    ("\"GOAWAY\"", |count| match count {
        0 => opened(1, false),
        _ => raw_h2::goaway(0, 0),
    }),
    ("\"PRIORITY or unknown types\"", |_| {
        frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 9])
    }),
    ("\"PRIORITY or unknown types\"", |_| frame(0xfa, 0, 0, b"x")),
    ("\"WINDOW_UPDATE\"", |_| window_update(0, 1)),
    ("\"RST_STREAM\"", |count| {
        let stream = count * 2 + 1;
        [opened(stream, true), raw_h2::reset(stream, CANCEL)].concat()
    }),
];

#[test]
fn row_30_frames_that_do_nothing_end_the_connection_when_there_are_too_many() {
    let rig = Rig::new(1, &["--shards", "1"]);
    for (what, make) in FLOODS {
        let count = until_cut(&rig, make);
        // What the kernel holds has been written too.
        assert!(count < 1_000_000, "{what}: {count}");
        others_are_served(&rig);
    }
    let count = until_cut(&rig, |count| match count {
        0 => opened(1, false),
        _ => frame(DATA, 0, 1, &[]),
    });
    assert!(count < 1_000_000, "DATA without any: {count}");
    others_are_served(&rig);
}

#[test]
fn a_flood_is_told_why_its_connection_ends() {
    for (what, make) in FLOODS {
        let rig = Rig::new(1, &["--shards", "1"]);
        let mut client = Raw::connect(rig.http);
        let mut writer = client.stream.try_clone().unwrap();
        std::thread::spawn(move || (0..100_000).all(|count| writer.write_all(&make(count)).is_ok()));
        let goodbye = client.until(GOAWAY).unwrap_or_else(|| panic!("{what}: no GOAWAY"));
        assert_eq!(goodbye.code(), ENHANCE_YOUR_CALM, "{what}");
        let line = eventually("it is logged", || {
            let log = rig.log();
            log.lines()
                .find(|line| line.contains("too many frames"))
                .map(str::to_owned)
        });
        assert!(line.contains("INFO") && line.contains(what), "{what}: {line}");
        assert_eq!(rig.counter("http2_enhance_your_calm_total"), 1);
    }
}

/// gRPC libraries measure the way to us for each piece that they read (grpc-go's bandwidth estimator).
#[test]
fn what_a_client_sends_for_each_piece_it_reads_is_no_flood() {
    const PIECES: usize = 3000;
    let pod = raw_h2::pod(|mut pod, _| {
        while let Some(asked) = pod.until(HEADERS) {
            pod.send(frame(HEADERS, END_HEADERS, asked.stream, OK));
            let mut writer = pod.stream.try_clone().unwrap();
            std::thread::spawn(move || {
                for piece in 0..PIECES {
                    let flags = if piece + 1 == PIECES { END_STREAM } else { 0 };
                    if writer
                        .write_all(&frame(DATA, flags, asked.stream, &[b'm'; 20]))
                        .is_err()
                    {
                        return;
                    }
                }
            });
        }
    });
    let rig = before(pod, "", &["--shards", "1"]);
    let mut client = Raw::connect(rig.http);
    client.send(frame(
        HEADERS,
        END_HEADERS | END_STREAM,
        1,
        &raw_h2::head("GET", "h2.test", &[]),
    ));
    let mut bytes = 0;
    loop {
        let got = client
            .next()
            .unwrap_or_else(|| panic!("the connection ends after {bytes} bytes"));
        assert_ne!(got.kind, GOAWAY, "after {bytes} bytes: {got:?}");
        if got.kind == DATA {
            bytes += got.payload.len();
            for piece in got.payload.chunks(20) {
                let length = u32::try_from(piece.len()).unwrap();
                client.send(
                    [
                        frame(PING, 0, 0, &[7; 8]),
                        window_update(0, length),
                        window_update(1, length),
                    ]
                    .concat(),
                );
            }
            if got.ends() {
                break;
            }
        }
    }
    assert_eq!(bytes, PIECES * 20);
    assert_eq!(rig.counter("http2_enhance_your_calm_total"), 0);
}

/// Windows of a byte make frames of a byte, of which each wants an update. These are no pieces of the pod's.
#[test]
fn windows_of_a_byte_earn_nothing() {
    let rig = Rig::new(1, &["--shards", "1"]);
    let body = vec![b'x'; 60_000];
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    rig.pod()
        .answers(crate::rig::Reply::Bytes([head.as_bytes(), &body].concat()));
    // SETTINGS_INITIAL_WINDOW_SIZE.
    let mut client = Raw::connect_with(rig.http, &[0, 4, 0, 0, 0, 1]);
    client.send(opened(1, true));
    let mut updates = 0;
    let goodbye = loop {
        let got = client.next().expect("a GOAWAY before the end");
        if got.kind == GOAWAY {
            break got;
        }
        if got.kind == DATA {
            updates += 1;
            client.send(window_update(1, 1));
        }
    };
    assert_eq!(goodbye.code(), ENHANCE_YOUR_CALM);
    assert!(updates < 5000, "{updates}");
    others_are_served(&rig);
}

/// A page that is left cancels all it waits for at once.
#[test]
fn bursts_of_cancelled_requests_end_nothing() {
    let rig = Rig::new(1, &["--shards", "1"]);
    let mut client = Raw::connect(rig.http);
    let mut burst = Vec::new();
    for stream in (1..200).step_by(2) {
        burst.extend([opened(stream, true), raw_h2::reset(stream, CANCEL)].concat());
    }
    client.send([burst, opened(201, true)].concat());
    let frames = client.stream_of(201);
    assert_eq!(
        frames.first().map(|frame| frame.payload.first()),
        Some(Some(&OK[0])),
        "{frames:?}"
    );
    assert_eq!(rig.counter("http2_enhance_your_calm_total"), 0);
}

#[test]
fn a_pod_that_sends_frames_without_end_loses_its_connection() {
    for (what, make) in FLOODS
        .into_iter()
        .filter(|(what, _)| !["\"RST_STREAM\"", "\"GOAWAY\""].contains(what))
    {
        let ended = std::sync::Arc::new(std::sync::Mutex::new(None));
        let told = ended.clone();
        let pod = raw_h2::pod(move |mut pod, index| {
            while let Some(asked) = pod.until(HEADERS) {
                pod.send(frame(HEADERS, END_HEADERS | END_STREAM, asked.stream, OK));
                if index == 0 {
                    let mut writer = pod.stream.try_clone().unwrap();
                    std::thread::spawn(move || (0..10_000_000).all(|count| writer.write_all(&make(count)).is_ok()));
                    let goodbye = pod.until(GOAWAY);
                    *told.lock().unwrap() = Some(goodbye.map(|goodbye| goodbye.code()));
                    return;
                }
            }
        });
        let rig = before(pod, "", &["--shards", "1"]);
        let mut client = rig.client();
        client.send("GET / HTTP/1.1\r\nHost: h2.test\r\n\r\n");
        assert_eq!(client.answer().status, 200);
        let code = eventually("the connection ends", || *ended.lock().unwrap());
        assert!(code.is_none_or(|code| code == ENHANCE_YOUR_CALM), "{what}: {code:?}");
        eventually("it is logged", || {
            let log = rig.log();
            let line = log
                .lines()
                .find(|line| line.contains("a pod sends too many HTTP/2 frames"))?;
            line.contains(what).then_some(())
        });
        others_are_served(&rig);
        client.send("GET / HTTP/1.1\r\nHost: h2.test\r\n\r\n");
        assert_eq!(client.answer().status, 200, "{what}");
    }
}

#[test]
fn row_30_a_head_without_end_ends_the_connection() {
    let rig = Rig::new(1, &["--shards", "1"]);
    until_cut(&rig, |count| match count {
        0 => frame(HEADERS, 0, 1, &head()),
        _ => frame(CONTINUATION, 0, 1, &[]),
    });
    until_cut(&rig, |count| match count {
        0 => frame(HEADERS, 0, 1, &head()),
        // A literal field each time, never indexed.
        _ => frame(CONTINUATION, 0, 1, &[&[0x10, 1, b'x', 120][..], &[b'y'; 120]].concat()),
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
