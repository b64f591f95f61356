//! Clients of the admin side that ask for long answers and do not read them.

use crate::rig::{PATIENCE, Rig, eventually, get, service};
use socket2::{Domain, Socket, Type};
use std::fmt::Write as _;
use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Sockets that ask and do not read.
const READERS: usize = 250;
/// What they may add to the memory of narthex, in MiB: the bound of all answers, and what making some takes.
const MOST_MIB: usize = 120;

/// 4,000 rules whose Services are missing.
fn many() -> Rig {
    Rig::with(1, &[], |pods| {
        let mut world = service("web", &[(pods[0].address, "p")]);
        for index in 0..100 {
            write!(
                world,
                "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: i{index}}}\nspec:\n  rules:\n  \
                 - host: h{index}.test\n    http:\n      paths:\n"
            )
            .unwrap();
            for path in 0..40 {
                writeln!(
                    world,
                    "      - {{path: /a-path-of-some-length/{path}, pathType: Prefix, \
                     backend: {{service: {{name: a-service-that-is-missing-{path}, port: {{number: 80}}}}}}}}"
                )
                .unwrap();
            }
            world += "---\n";
        }
        world
    })
}

/// A client that asks and takes next to nothing of the answer.
fn ask_and_wait(admin: SocketAddr, target: &str) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(1 << 10).unwrap();
    socket.connect(&admin.into()).unwrap();
    (&socket)
        .write_all(format!("GET {target} HTTP/1.1\r\nHost: {admin}\r\n\r\n").as_bytes())
        .unwrap();
    socket
}

/// Whether an answer begins to come, or the connection is closed.
fn is_answered(socket: &Socket) -> bool {
    socket.set_nonblocking(true).unwrap();
    match socket.peek(&mut [std::mem::MaybeUninit::uninit(); 1]) {
        Ok(_) => true,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}

fn resident_mib(rig: &Rig) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", rig.child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() >> 10
}

/// Has many clients ask, waits until each has been answered, and says how much memory that took at most.
fn held_by_readers(rig: &Rig, target: impl Fn(usize) -> String) -> usize {
    // What making one such answer takes is not what this is about.
    assert_eq!(get(rig.admin, &target(0)).0, 200);
    let before = resident_mib(rig);
    let held: Vec<Socket> = (0..READERS)
        .map(|index| ask_and_wait(rig.admin, &target(index)))
        .collect();
    let deadline = Instant::now() + PATIENCE * 3;
    while !held.iter().all(is_answered) {
        assert!(Instant::now() < deadline, "some are never answered");
        std::thread::sleep(Duration::from_millis(20));
    }
    // Others are answered meanwhile, and not only probes.
    for path in [
        "/readyz",
        "/healthz",
        "/ping",
        "/metrics",
        "/api/v1/overview",
        "/api/v1/routes",
    ] {
        let (status, said) = get(rig.admin, path);
        assert_eq!(status, 200, "{path}: {said}");
    }
    resident_mib(rig) - before
}

#[test]
fn slow_readers_of_one_answer_share_it() {
    let rig = many();
    let added = held_by_readers(&rig, |_| "/api".to_owned());
    assert!(added < MOST_MIB, "{added} MiB");
}

#[test]
fn slow_readers_of_many_answers_are_let_go_for_others() {
    let rig = many();
    let added = held_by_readers(&rig, |index| format!("/api?anything={index}"));
    assert!(added < MOST_MIB, "{added} MiB");
}

#[test]
fn problems_come_in_pages_and_the_first_of_all_says_where_the_next_are() {
    let rig = many();
    let added = held_by_readers(&rig, |index| format!("/api/v1/diagnostics?anything={index}"));
    assert!(added < MOST_MIB, "{added} MiB");
    let said = get(rig.admin, "/api/v1/diagnostics").1;
    assert!(
        said.contains("\r\nlink: </api/v1/diagnostics?page=2&per_page=1000>; rel=\"next\"\r\n"),
        "{}",
        &said[..1000]
    );
    assert_eq!(said.matches("\"code\"").count(), 1000);
    let next = get(rig.admin, "/api/v1/diagnostics?page=2&per_page=1000").1;
    assert!(next.contains("\"total\": 4000"), "{}", &next[..1000]);
}

#[test]
fn a_client_that_does_not_read_is_cut_off() {
    let rig = many();
    let (stream, api) = (
        ask_and_wait(rig.admin, "/api/v1/stream"),
        ask_and_wait(rig.admin, "/api"),
    );
    eventually("the connection is reset", || api.take_error().unwrap());
    assert!(stream.take_error().unwrap().is_none(), "little is sent on the stream");
}

#[test]
fn probes_are_answered_while_others_hold_all_connections() {
    let rig = Rig::new(1, &[]);
    let held: Vec<Socket> = (0..600)
        .map(|index| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.connect(&rig.admin.into()).unwrap();
            let half = if index % 2 == 0 {
                "GET /readyz HTTP/1.1\r\nHo"
            } else {
                ""
            };
            (&socket).write_all(half.as_bytes()).unwrap();
            socket
        })
        .collect();
    // A head may take ten seconds, which is longer than a probe waits.
    for path in ["/readyz", "/healthz", "/ping"] {
        let probe = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        probe.connect(&rig.admin.into()).unwrap();
        probe.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        (&probe)
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", rig.admin).as_bytes())
            .unwrap();
        let mut answer = [0; 12];
        std::io::Read::read_exact(&mut (&probe), &mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200", "{path}");
    }
    drop(held);
}
