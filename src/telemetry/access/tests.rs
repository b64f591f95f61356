//! Formats, filters, and what happens to lines that cannot be written.

use super::*;
use crate::config::StatusRange;
use http::{HeaderName, header};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;

fn options(format: Format) -> AccessOptions {
    AccessOptions {
        format,
        statuses: Vec::new(),
        min_duration: None,
        sample: None,
        headers: Vec::new(),
    }
}

fn entry<'e>(target: &'e [u8], headers: &'e [(&'e HeaderName, &'e [u8])]) -> Entry<'e> {
    Entry {
        // 2026-11-23T14:51:00.1234Z
        at: Duration::from_micros(1_795_445_460_123_400),
        client: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7)),
        peer: SocketAddr::from(([10, 0, 0, 1], 4242)),
        scheme: "https",
        tls: Some("TLSv1.3"),
        method: Some("GET"),
        protocol: Some("HTTP/2.0"),
        host: b"www.example.com",
        target,
        status: 200,
        reason: None,
        side: None,
        cause: None,
        route: Some("www.example.com/"),
        origin: Some("Ingress default/web spec.rules[0].http.paths[0]"),
        service: Some("default/web:80"),
        endpoint: Some(Endpoint {
            address: SocketAddr::from(([10, 1, 2, 3], 8080)),
            pod: Some("web-1"),
        }),
        retries: 1,
        bytes_in: 5,
        bytes_out: 12,
        total: Duration::from_micros(12_345),
        connect: None,
        backend: Some(Duration::from_micros(9_876)),
        request_id: b"abc",
        trace_id: None,
        headers,
        response_headers: &[],
        count: 7,
    }
}

fn line(format: Format, entry: &Entry<'_>) -> String {
    let mut out = Vec::new();
    format::write(&options(format), entry, &mut format::Second::default(), &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn lines_look_as_others_have_them() {
    let headers = [(&header::USER_AGENT, &b"curl/8.14"[..])];
    let entry = entry(b"/foo?a=b", &headers);
    let combined = "203.0.113.7 - - [23/Nov/2026:14:51:00 +0000] \"GET /foo?a=b HTTP/2.0\" 200 12 \"-\" \"curl/8.14\"";
    assert_eq!(line(Format::Combined, &entry), format!("{combined}\n"));
    assert_eq!(
        line(Format::Traefik, &entry),
        format!("{combined} 7 \"www.example.com/\" \"http://10.1.2.3:8080\" 12ms\n")
    );
    let json = line(Format::Json, &entry);
    let read: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        read,
        serde_json::json!({
            "time": "2026-11-23T14:51:00.123Z", "client": "203.0.113.7", "peer": "10.0.0.1:4242", "method": "GET",
            "scheme": "https", "host": "www.example.com", "path": "/foo", "query": "a=b", "protocol": "HTTP/2.0",
            "tls": "TLSv1.3", "status": 200, "route": "www.example.com/",
            "origin": "Ingress default/web spec.rules[0].http.paths[0]", "service": "default/web:80",
            "endpoint": "10.1.2.3:8080", "pod": "web-1", "retries": 1, "bytes_in": 5, "bytes_out": 12,
            "duration_ms": 12.345, "backend_ms": 9.876, "request_id": "abc", "headers": {"user-agent": "curl/8.14"},
        })
    );
}

/// Row 42 of the threat table: what a client sends cannot end a line, leave its quotes or drive a terminal.
#[test]
fn nothing_of_a_client_breaks_out_of_its_place() {
    let hostile = "/\"\\\n\r\u{1b}[2J\u{7f}\u{9b}31m\u{2028}é".as_bytes();
    let value = &b"x\" 200 \"\t\xff\xfe"[..];
    let headers = [
        (&header::REFERER, value),
        (&header::USER_AGENT, value),
        (&header::USER_AGENT, value),
    ];
    let entry = Entry {
        host: b"a\"\xff",
        request_id: b"\xff\"",
        ..entry(hostile, &headers)
    };
    for format in [Format::Combined, Format::Traefik, Format::Json] {
        let line = line(format, &entry);
        let printed = line.strip_suffix('\n').unwrap();
        assert!(
            printed.chars().all(|one| !one.is_control() && one != '\u{2028}'),
            "{printed}"
        );
        if format == Format::Json {
            let read: serde_json::Value = serde_json::from_str(printed).unwrap();
            assert_eq!(read["path"], String::from_utf8_lossy(hostile).into_owned());
            assert_eq!(read["status"], 200);
            assert_eq!(
                read["headers"]["user-agent"],
                "x\" 200 \"\t\u{fffd}\u{fffd}, x\" 200 \"\t\u{fffd}\u{fffd}"
            );
        } else {
            let quotes = if format == Format::Combined { 6 } else { 10 };
            assert_eq!(printed.matches('"').count(), quotes, "{printed}");
            assert!(
                printed.contains("\\x22\\x5C\\x0A\\x0D\\x1B[2J\\x7F\\xC2\\x9B31m"),
                "{printed}"
            );
        }
    }
}

#[test]
fn a_request_without_a_head_has_a_line() {
    let mut entry = entry(b"", &[]);
    (entry.method, entry.protocol, entry.host) = (None, None, b"");
    (entry.status, entry.reason, entry.endpoint, entry.route) = (400, Some("malformed"), None, None);
    let traefik = line(Format::Traefik, &entry);
    assert!(
        traefik.contains("] \"-\" 400 12 \"-\" \"-\" 7 \"-\" \"-\" 12ms"),
        "{traefik}"
    );
    let read: serde_json::Value = serde_json::from_str(&line(Format::Json, &entry)).unwrap();
    assert_eq!(
        (&read["reason"], read.get("method"), read.get("path")),
        (&"malformed".into(), None, None)
    );
}

#[test]
fn what_is_too_long_is_cut() {
    let long = [b'u'; 30_000];
    let headers = [(&header::USER_AGENT, &long[..])];
    let target = vec![b'p'; 60_000];
    for format in [Format::Combined, Format::Traefik, Format::Json] {
        let line = line(format, &entry(&target, &headers));
        assert!(line.len() < 10_000, "{}", line.len());
    }
}

fn shard(options: AccessOptions, path: &std::path::Path) -> ShardLog {
    ShardLog::new(Arc::new(AccessLog::start(options, Some(path.to_owned())).unwrap()))
}

#[test]
fn filters_pick_and_the_rest_is_sampled_by_route() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let (quick, slow) = (Duration::from_millis(1), Duration::from_secs(2));
    let all = shard(options(Format::Json), &path);
    assert!(all.wants(200, quick, None));
    let picked = AccessOptions {
        statuses: vec!["404".parse().unwrap(), "500-599".parse().unwrap()],
        min_duration: Some(Duration::from_secs(1)),
        ..options(Format::Json)
    };
    let some = shard(picked.clone(), &path);
    for (status, time, wanted) in [
        (404, quick, true),
        (503, quick, true),
        (200, slow, true),
        (200, quick, false),
        (400, quick, false),
    ] {
        assert_eq!(some.wants(status, time, None), wanted, "{status} {time:?}");
    }
    let sampled = shard(
        AccessOptions {
            sample: NonZeroU32::new(3),
            ..picked
        },
        &path,
    );
    let lines = |key: u64| -> Vec<bool> { (0..7).map(|_| sampled.wants(200, quick, Some(RouteKey(key)))).collect() };
    assert_eq!(lines(1), [true, false, false, true, false, false, true]);
    assert!(
        sampled.wants(503, quick, Some(RouteKey(1))),
        "picked, and so not counted"
    );
    assert_eq!(lines(2)[..4], [true, false, false, true], "each route for itself");
    for key in 0..MOST_ROUTES as u64 * 2 {
        sampled.wants(200, quick, Some(RouteKey(key)));
    }
    assert!(sampled.sampled.borrow().len() <= MOST_ROUTES);
}

#[test]
fn flags_are_read() {
    for bad in ["99", "600", "500-400", "4xx", "400-", ""] {
        assert!(bad.parse::<StatusRange>().is_err(), "{bad}");
    }
    let shown = |text: &str| text.parse::<Shown>().unwrap();
    assert!(shown("User-Agent").clear);
    assert!(!shown("Cookie").clear && !shown("AUTHORIZATION").clear);
    assert!(shown("Cookie=clear").clear);
    assert!("Cookie=x".parse::<Shown>().is_err() && "a b".parse::<Shown>().is_err());
}

/// A writer that stands still costs lines, which are counted, and no shard waits.
#[test]
fn what_the_writer_cannot_keep_up_with_is_lost_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    // Opened for reading too, so that opening it for writing does not wait; but nobody reads yet.
    let reader = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let log = shard(options(Format::Json), &path);
    let target = vec![b'p'; 8 << 10];
    let (mut written, mut lost) = (0, 0);
    // Far more than the pipe and the queue hold.
    for _ in 0..4_000 {
        lost += log.write(&entry(&target, &[]), false);
        written += 1;
    }
    lost += log.tick();
    assert!(lost > 1_000 && lost < written, "{lost} of {written}");
    let read = std::thread::spawn(move || {
        let mut reader = std::io::BufReader::new(reader);
        let mut lines = 0;
        let mut line = String::new();
        while lines < written - lost {
            line.clear();
            std::io::BufRead::read_line(&mut reader, &mut line).unwrap();
            lines += u64::from(serde_json::from_str::<serde_json::Value>(&line).is_ok());
        }
        lines
    });
    assert_eq!(read.join().unwrap(), written - lost, "all others are whole");
}

#[test]
fn lines_that_cannot_be_written_are_counted() {
    let log = shard(options(Format::Combined), std::path::Path::new("/dev/full"));
    assert_eq!(log.write(&entry(b"/", &[]), true), 0, "handed over");
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while log.tick() != 1 {
        assert!(std::time::Instant::now() < deadline, "never counted");
        std::thread::yield_now();
    }
}

#[test]
fn times_have_the_digits_that_they_need() {
    let nanos = [
        (0, "0"),
        (499, "0"),
        (500, "0.001"),
        (999_600, "1"),
        (1_500_000, "1.5"),
        (10_010_000, "10.01"),
        (60_000_100_000, "60000.1"),
    ];
    for (nanos, shown) in nanos {
        let mut entry = entry(b"/", &[]);
        entry.total = Duration::from_nanos(nanos);
        let json = line(Format::Json, &entry);
        assert!(json.contains(&format!("\"duration_ms\":{shown},\"")), "{nanos}: {json}");
    }
}

#[test]
fn addresses_of_both_families_are_written() {
    let mut entry = entry(b"/", &[]);
    entry.peer = "[2001:db8::1]:4242".parse().unwrap();
    entry.client = "2001:db8::1".parse().unwrap();
    let json = line(Format::Json, &entry);
    assert!(
        json.contains("\"client\":\"2001:db8::1\",\"peer\":\"[2001:db8::1]:4242\""),
        "{json}"
    );
}
