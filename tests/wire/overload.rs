//! More connections, descriptors or memory wanted than there are, and a panic: what goes on is served, what is too much
//! is told so.

use crate::admin::ask;
use crate::rig::{Client, PATIENCE, Pod, Reply, Rig, eventually, get, ingress, service};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const GET: &str = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

fn gauge(rig: &Rig, name: &str) -> u64 {
    let metrics = get(rig.admin, "/metrics").1;
    let prefix = format!("narthex_{name} ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&prefix));
    // Gauges are written as 8.0.
    line.and_then(|value| value.split('.').next()?.parse().ok())
        .unwrap_or(0)
}

fn silent(rig: &Rig, count: usize) -> Vec<TcpStream> {
    (0..count).map(|_| TcpStream::connect(rig.http).unwrap()).collect()
}

/// How many have been closed by narthex. Looks without waiting.
fn closed(streams: &mut [TcpStream]) -> usize {
    streams
        .iter_mut()
        .filter_map(|stream| {
            stream.set_nonblocking(true).unwrap();
            matches!(stream.read(&mut [0; 1]), Ok(0)).then_some(())
        })
        .count()
}

#[test]
fn who_has_been_idle_longest_makes_room() {
    let rig = Rig::new(1, &["--max-connections", "8", "--shards", "1"]);
    let mut busy = rig.client();
    busy.send(GET);
    assert_eq!(busy.answer().status, 200);
    let mut silent = silent(&rig, 7);
    eventually("all are open", || (gauge(&rig, "open_connections") == 8).then_some(()));
    // There is no place left, until one of the silent has been so for a second.
    let mut late = rig.client();
    late.send(GET);
    busy.send(GET);
    assert_eq!(busy.answer().status, 200, "who is busy goes on");
    assert_eq!(late.answer().status, 200);
    assert!(closed(&mut silent) > 0);
    assert!(rig.counter("connections_evicted_total") > 0);
    assert_eq!(gauge(&rig, "connections_refused_total"), 0);
}

/// Those who only connect stand before a client in the kernel's queue. They go all at once, so it is served before the
/// client's patience ends, which a client on a bad day counts in seconds.
#[test]
fn silent_clients_hold_up_nobody_for_long() {
    let rig = Rig::new(1, &["--max-connections", "8", "--shards", "1"]);
    let _silent = silent(&rig, 200);
    for _ in 0..3 {
        let mut late = rig.client();
        late.send(GET);
        assert_eq!(late.answer().status, 200);
    }
    assert!(rig.counter("connections_evicted_total") >= 192);
    assert_eq!(gauge(&rig, "connections_refused_total"), 0);
}

/// Connections that have not sent their PROXY header yet, or only the beginning of it.
#[test]
fn clients_silent_before_their_proxy_header_make_room_too() {
    for begun in ["", "PROXY TCP4 192.0.2.1"] {
        let flags = ["--proxy-protocol", "required", "--trusted-proxies", "127.0.0.0/8"];
        let rig = Rig::new(1, &[&flags[..], &["--max-connections", "8", "--shards", "1"]].concat());
        let mut silent = silent(&rig, 8);
        for stream in &mut silent {
            stream.write_all(begun.as_bytes()).unwrap();
        }
        eventually("all are open", || (gauge(&rig, "open_connections") == 8).then_some(()));
        let mut late = rig.client();
        late.send(format!("PROXY TCP4 192.0.2.1 127.0.0.1 4711 80\r\n{GET}"));
        assert_eq!(late.answer().status, 200, "{begun:?}");
        assert!(closed(&mut silent) > 0, "{begun:?}");
        assert!(rig.counter("connections_evicted_total") > 0);
        assert_eq!(gauge(&rig, "connections_refused_total"), 0);
        assert_eq!(rig.counter("proxy_protocol_failures_total"), 0, "nobody was late");
    }
}

#[test]
fn where_none_is_idle_more_are_refused_in_words() {
    let rig = Rig::new(1, &["--max-connections", "4", "--shards", "1"]);
    // Longer than a place is waited for, which is three seconds.
    rig.pod().takes(Duration::from_secs(5));
    let mut busy: Vec<Client> = (0..4).map(|_| rig.client()).collect();
    for client in &mut busy {
        client.send(GET);
    }
    eventually("all are under way", || (rig.pod().requests().len() == 4).then_some(()));
    let mut late = rig.client();
    late.send(GET);
    let told = late.answer();
    assert_eq!((told.status, told.field("retry-after")), (503, Some("1")));
    assert!(late.ends(), "it is closed");
    assert!(gauge(&rig, "connections_refused_total") > 0);
    assert_eq!(get(rig.admin, "/readyz").0, 200, "the admin side has its own");
    drop(busy);
    eventually("there is room again", || {
        rig.pod()
            .answers(Reply::text("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
        let mut client = rig.client();
        client.send(GET);
        client.answer_to("GET").filter(|answer| answer.status == 200)
    });
}

/// Heads and bodies that come byte by byte, from clients that come again as soon as they are closed.
#[test]
fn slow_clients_make_room_when_places_are_gone() {
    let rig = Rig::new(1, &["--max-connections", "20", "--shards", "1"]);
    // A slow reply is nobody's fault but the pod's.
    rig.pod().takes(Duration::from_secs(4));
    let mut patient = rig.client();
    patient.send(GET);
    eventually("it is under way", || (!rig.pod().requests().is_empty()).then_some(()));
    rig.pod().takes(Duration::ZERO);
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for index in 0..26 {
            let (over, http) = (&over, rig.http);
            scope.spawn(move || {
                while !over.load(std::sync::atomic::Ordering::SeqCst) {
                    let Ok(mut stream) = TcpStream::connect(http) else {
                        continue;
                    };
                    let begin = match index % 2 {
                        0 => "GET / HTTP/1.1\r\nHost: a.test\r\nX: ",
                        _ => "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000\r\n\r\n",
                    };
                    let mut sent = stream.write_all(begin.as_bytes());
                    while sent.is_ok() && !over.load(std::sync::atomic::Ordering::SeqCst) {
                        std::thread::sleep(Duration::from_millis(50));
                        sent = stream.write_all(b"x");
                    }
                }
            });
        }
        eventually("all places are taken", || {
            (gauge(&rig, "open_connections") >= 20).then_some(())
        });
        let answers: Vec<u16> = (0..20)
            .map(|_| {
                let mut client = rig.client();
                client.send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
                client.answer_to("GET").map_or(0, |answer| answer.status)
            })
            .collect();
        over.store(true, std::sync::atomic::Ordering::SeqCst);
        assert_eq!(answers, [200; 20]);
    });
    assert_eq!(patient.answer().status, 200, "who waits for a pod is not slow");
    assert!(rig.counter("connections_evicted_total") > 0);
}

/// Processor time of the process so far, in clock ticks (proc(5), `stat`, fields 14 and 15).
fn ticks(rig: &Rig) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", rig.child.id())).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn descriptors_that_run_out_hurt_nobody_who_has_one() {
    let rig = Rig::new(1, &["--shards", "1"]);
    let mut old = rig.client();
    old.send(GET);
    assert_eq!(old.answer().status, 200);
    // From now on there are none: the lowest number that is free is beyond the limit.
    let process = rustix::process::Pid::from_raw(i32::try_from(rig.child.id()).unwrap()).unwrap();
    let is_open = |number: &u64| std::fs::symlink_metadata(format!("/proc/{}/fd/{number}", rig.child.id())).is_ok();
    let lowest = (0_u64..).find(|number| !is_open(number));
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", rig.child.id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let few = rustix::process::Rlimit {
        current: lowest,
        maximum: line.split_whitespace().nth(4).unwrap().parse().ok(),
    };
    let before = rustix::process::prlimit(Some(process), rustix::process::Resource::Nofile, few).unwrap();
    let mut waiting: Vec<Client> = (0..50).map(|_| rig.client()).collect();
    for client in &mut waiting {
        client.send(GET);
    }
    let spent = ticks(&rig);
    for _ in 0..50 {
        old.send(GET);
        assert_eq!(old.answer().status, 200);
        std::thread::sleep(Duration::from_millis(20));
    }
    // An acceptor that spins would take all of that second, which is 100 ticks.
    let spent = ticks(&rig) - spent;
    assert!(
        spent < 60,
        "{spent} ticks of processor time while nothing could be accepted"
    );
    rustix::process::prlimit(Some(process), rustix::process::Resource::Nofile, before).unwrap();
    for client in &mut waiting {
        assert_eq!(
            client.answer().status,
            200,
            "who waited is served when there are some again"
        );
    }
}

#[test]
fn clients_leave_descriptors_for_pods() {
    // 300 for clients at most: three quarters of what is left of 512.
    let pods = 2;
    let rig = Rig::limited(512, pods, &["--shards", "1", "--max-connections", "10000"], |pods| {
        let named: Vec<_> = pods.iter().map(|pod| (pod.address, "p")).collect();
        service("web", &named[..1])
            + &ingress("web", "a.test", "/", "web", "")
            + &service("other", &named[1..])
            + &ingress("other", "b.test", "/", "other", "")
    });
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..150 {
        let mut client = rig.client();
        client.send(GET);
        assert_eq!(client.answer().status, 200);
        clients.push(client);
    }
    let _silent = silent(&rig, 400);
    // A pod that was never asked is reached all the same.
    clients[0].send("GET / HTTP/1.1\r\nHost: b.test\r\n\r\n");
    assert_eq!(clients[0].answer().status, 200);
}

#[test]
fn short_of_memory_most_requests_are_refused_and_idle_connections_go() {
    let rig = Rig::new(1, &["--shards", "1", "--max-memory", "1MiB"]);
    let mut idle = silent(&rig, 3);
    eventually("it is seen", || {
        (gauge(&rig, "memory_limit_exceeded") == 1).then_some(())
    });
    // A few are served all the same: what is short may not come back by itself.
    rig.pod().answers(Reply::Silence);
    let mut clients: Vec<Client> = (0..30).map(|_| rig.client()).collect();
    for client in &mut clients {
        client.send(GET);
    }
    let asked = eventually("the few are with the pod", || {
        let count = rig.pod().requests().len();
        (count >= 8 && rig.counter("requests_total") >= 30).then_some(count)
    });
    assert!(asked < 12, "{asked} of 30 requests were let through");
    eventually("who is idle goes", || (closed(&mut idle) == 3).then_some(()));
    assert_eq!(get(rig.admin, "/readyz").0, 200);
}

#[test]
fn a_panic_is_one_requests_and_is_counted() {
    let rig = Rig::within(
        &[("NARTHEX_TEST_PANIC", "/boom")],
        1,
        &["--shards", "1"],
        |pods: &[Pod]| service("web", &[(pods[0].address, "p")]) + &ingress("web", "a.test", "/", "web", ""),
    );
    let mut other = rig.client();
    other.send(GET);
    assert_eq!(other.answer().status, 200);
    for _ in 0..3 {
        let mut client = rig.client();
        client.send("GET /boom HTTP/1.1\r\nHost: a.test\r\n\r\n");
        assert_eq!(client.answer().status, 500);
        other.send(GET);
        assert_eq!(other.answer().status, 200, "others on the same shard go on");
    }
    assert_eq!(rig.counter("panics_total"), 3);
    let errors = ask(&rig, "/api/v1/errors");
    assert_eq!(
        (&errors[0]["reason"], &errors[0]["host"], &errors[0]["path"]),
        (&"panic".into(), &"a.test".into(), &"/boom".into()),
        "what was asked is said"
    );
}

#[test]
fn a_window_of_nothing_holds_up_its_own_connection_only() {
    // Replies that nobody reads: --send-timeout ends them, and what they hold is bounded by the socket.
    let rig = Rig::new(1, &["--shards", "1", "--send-timeout", "1s"]);
    let body = vec![b'x'; 8 << 20];
    let mut reply = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
    reply.extend(&body);
    rig.pod().answers(Reply::Bytes(reply));
    let deaf: Vec<TcpStream> = (0..10)
        .map(|_| {
            let mut stream = TcpStream::connect(rig.http).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(GET.as_bytes()).unwrap();
            stream
        })
        .collect();
    eventually("all are given up", || {
        (rig.counter("client_timeouts_total") >= 10).then_some(())
    });
    rig.pod()
        .answers(Reply::text("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
    let mut client = rig.client();
    client.send(GET);
    assert_eq!(client.answer().status, 200);
    drop(deaf);
}
