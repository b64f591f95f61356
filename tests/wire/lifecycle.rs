//! Time-outs, limits, the beginning and the end.

use crate::rig::{Client, Reply, Rig, eventually, get, ingress, service};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const GET: &str = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

#[test]
fn slow_clients_are_told_and_let_go() {
    let rig = Rig::new(
        1,
        &[
            "--head-timeout",
            "500ms",
            "--body-timeout",
            "500ms",
            "--idle-timeout",
            "500ms",
        ],
    );
    let mut head = rig.client();
    head.send("GET / HTTP/1.1\r\nHo");
    let mut body = rig.client();
    body.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\n\r\nx");
    let mut silent = rig.client();
    let mut idle = rig.client();
    assert!(idle.goes_on());
    assert_eq!(head.answer().status, 408);
    assert!(head.ends());
    assert_eq!(body.answer().status, 408);
    assert!(body.ends());
    assert!(silent.ends() && idle.ends());
}

#[test]
fn a_head_that_trickles_is_not_kept_alive_by_its_bytes() {
    let rig = Rig::new(1, &["--head-timeout", "700ms"]);
    let mut client = rig.client();
    client.stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let begun = Instant::now();
    client.send("GET / HTTP/1.1\r\nX: ");
    while begun.elapsed() < Duration::from_secs(10) {
        client.send("x");
        let mut one = [0];
        if std::io::Read::read(&mut client.stream, &mut one).is_ok() {
            return;
        }
    }
    panic!("a trickling head was still open after 10 s");
}

#[test]
fn pods_that_do_not_answer_are_504() {
    let rig = Rig::new(1, &["--response-timeout", "500ms", "--stream-timeout", "500ms"]);
    rig.pod().answers(Reply::Silence);
    let mut client = rig.client();
    assert_eq!(client.send(GET).answer().status, 504);
    rig.pod()
        .answers(Reply::text("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"));
    assert!(
        client.send(GET).answer_to("GET").is_none(),
        "a stalled body ended as if it were whole"
    );
}

#[test]
fn connections_beyond_the_limit_wait_their_turn() {
    let rig = Rig::new(1, &["--max-connections", "2"]);
    let (mut first, mut second) = (rig.client(), rig.client());
    assert!(first.goes_on() && second.goes_on());
    let mut third = rig.client();
    third.send(GET);
    third.stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut one = [0];
    let early = std::io::Read::read(&mut third.stream, &mut one);
    assert!(early.is_err(), "a third connection was served");
    third.stream.set_read_timeout(Some(crate::rig::PATIENCE)).unwrap();
    drop(first);
    assert_eq!(third.answer().status, 200);
}

#[test]
fn sigterm_finishes_what_is_under_way() {
    let mut rig = Rig::new(1, &["--drain-grace", "300ms"]);
    let mut idle = rig.client();
    assert!(idle.goes_on());
    let mut upload = rig.client();
    upload.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nx");
    eventually("the upload is under way", || {
        (rig.counter("requests_total") >= 2).then_some(())
    });
    signal(rig.child.id(), "TERM");
    eventually("readiness is off", || {
        (get(rig.admin, "/readyz").0 == 503).then_some(())
    });
    assert_eq!(get(rig.admin, "/healthz").0, 200);
    assert!(
        Client::connect(rig.http).goes_on(),
        "it does not accept during the grace"
    );
    assert!(idle.ends(), "an idle connection stays open");
    let answer = upload.send("y").answer();
    assert_eq!((answer.status, answer.field("connection")), (200, Some("close")));
    assert!(rig.child.wait().unwrap().success());
}

#[test]
fn a_second_interrupt_ends_it_at_once() {
    let mut rig = Rig::new(1, &["--drain-deadline", "60s"]);
    rig.pod().answers(Reply::Silence);
    let mut client = rig.client();
    client.send(GET);
    eventually("the request is under way", || {
        (!rig.pod().requests().is_empty()).then_some(())
    });
    signal(rig.child.id(), "INT");
    eventually("it is ending", || (get(rig.admin, "/readyz").0 == 503).then_some(()));
    assert!(rig.child.try_wait().unwrap().is_none(), "one interrupt cut a request");
    signal(rig.child.id(), "INT");
    eventually("it has ended", || rig.child.try_wait().unwrap());
}

/// Sockets are opened again if their acceptor ends by itself, but not when the process ends.
#[test]
fn what_ends_does_not_listen_anew() {
    for _ in 0..12 {
        let mut rig = Rig::new(1, &["--drain-grace", "0s", "--log-level", "warn"]);
        signal(rig.child.id(), "TERM");
        assert!(rig.child.wait().unwrap().success());
        let log = rig.log();
        assert!(!log.contains("listening anew"), "{log}");
    }
}

fn signal(pid: u32, name: &str) {
    assert!(
        Command::new("kill")
            .args([&format!("-{name}"), &pid.to_string()])
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn what_makes_serving_impossible_is_one_line_and_exit_2() {
    let rig = Rig::new(1, &[]);
    let (taken, folder) = (rig.http.to_string(), rig.folder.path().to_str().unwrap());
    for (flags, said) in [
        (
            vec!["--manifests", folder, "--listen-http", &taken, "--admin", "127.0.0.1:0"],
            "is in use",
        ),
        (
            vec!["--manifests", folder, "--listen-http", "127.0.0.1:0", "--admin", &taken],
            "is in use",
        ),
        (
            vec![
                "--manifests",
                folder,
                "--listen-http",
                "192.0.2.1:80",
                "--admin",
                "127.0.0.1:0",
            ],
            "192.0.2.1:80",
        ),
        (
            vec![
                "--kubeconfig",
                "/nowhere",
                "--listen-http",
                "127.0.0.1:0",
                "--admin",
                "127.0.0.1:0",
            ],
            "/nowhere",
        ),
        (vec!["--listen-http", "nonsense"], "IP:PORT"),
    ] {
        let out = Command::new(env!("CARGO_BIN_EXE_narthex"))
            .arg("serve")
            .args(&flags)
            .env_remove("KUBERNETES_SERVICE_HOST")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{flags:?}: {error}");
        assert!(error.contains(said), "{flags:?}: {error}");
    }
}

#[test]
fn nobody_listens_before_the_first_table() {
    // A folder that is a named pipe nobody writes to would block; a cluster that does not answer is the real case.
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n\
         clusters: [{{name: c, cluster: {{server: \"http://{}\"}}}}]\nusers: [{{name: u, user: {{}}}}]\n",
        dead.local_addr().unwrap()
    );
    std::fs::write(&config, text).unwrap();
    let free = || {
        std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
    };
    let (http, admin) = (free(), free());
    let mut child = Command::new(env!("CARGO_BIN_EXE_narthex"))
        .args([
            "serve",
            "--listen-http",
            &http.to_string(),
            "--admin",
            &admin.to_string(),
            "--kubeconfig",
        ])
        .arg(&config)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the admin side answers", || {
        (get(admin, "/readyz").0 == 503).then_some(())
    });
    assert_eq!(get(admin, "/healthz").0, 200);
    let refused = std::net::TcpStream::connect(http);
    let _ = child.kill();
    let _ = child.wait();
    assert!(refused.is_err(), "it listens without a table");
}

#[test]
fn too_few_descriptors_neither_spin_nor_kill() {
    let rig = Rig::new(1, &["--max-connections", "1000"]);
    let pid = rig.child.id().to_string();
    assert!(
        Command::new("prlimit")
            .args(["--pid", &pid, "--nofile=64:64"])
            .status()
            .unwrap()
            .success()
    );
    let crowd: Vec<Client> = (0..200).map(|_| rig.client()).collect();
    let used = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<u64> = stat
            .rsplit(") ")
            .next()
            .unwrap()
            .split(' ')
            .filter_map(|field| field.parse().ok())
            .collect();
        // utime and stime, in ticks of 10 ms; the state letter before them did not parse.
        fields[10] + fields[11]
    };
    let before = used();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(used() - before < 50, "it spins while it cannot accept");
    drop(crowd);
    eventually("it serves again", || Client::connect(rig.http).goes_on().then_some(()));
}

#[test]
fn requests_that_are_broken_off_are_not_counted_for_ever() {
    let rig = Rig::new(1, &["--shards", "1", "--max-in-flight", "4"]);
    rig.pod().answers(Reply::Silence);
    for _ in 0..40 {
        let mut client = rig.client();
        client.send("POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
        let socket = socket2::SockRef::from(&client.stream);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }
    rig.pod()
        .answers(Reply::text("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
    eventually("requests are taken again", || {
        let status = rig.client().send(GET).answer().status;
        (status == 200).then_some(())
    });
    for _ in 0..10 {
        assert_eq!(rig.client().send(GET).answer().status, 200);
    }
}

#[test]
fn a_limit_of_the_process_is_not_one_of_each_shard() {
    // Two requests on one of three shards are more than its share, and two on others make the limit.
    let rig = Rig::new(1, &["--shards", "3", "--max-in-flight", "4"]);
    rig.pod().answers(Reply::Silence);
    let mut hanging = Vec::new();
    for count in 1..=4 {
        let mut client = rig.client();
        client.send(GET);
        eventually("it is at the pod", || {
            (rig.pod().requests().len() == count).then_some(())
        });
        hanging.push(client);
    }
    let answer = rig.client().send(GET).answer();
    assert_eq!((answer.status, answer.field("retry-after")), (503, Some("1")));
}

#[test]
fn a_head_that_waits_behind_a_slow_reply_is_not_late() {
    let rig = Rig::new(1, &["--head-timeout", "500ms"]);
    let body = vec![b'z'; 8 << 20];
    let mut reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    reply.extend_from_slice(&body);
    rig.pod().answers(Reply::Bytes(reply));
    let mut client = rig.client();
    client.send(format!("{GET}G"));
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1500) {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(client.answer().body, body, "something was written into the reply");
    client.send("ET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(client.answer().status, 200);
}

#[test]
fn a_client_that_breaks_off_ends_the_request_at_the_pod() {
    let rig = Rig::new(1, &["--shards", "1"]);
    // A pod that never answers.
    let pod = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = service("mute", &[(pod.local_addr().unwrap(), "mute")]) + &ingress("mute", "mute.test", "/", "mute", "");
    std::fs::write(rig.manifest("mute.yaml"), text).unwrap();
    eventually("the rule is live", || {
        let (_, said) = get(rig.admin, "/api/v1/explain?url=http://mute.test/");
        said.contains("\"mute\"").then_some(())
    });
    let mut client = rig.client();
    client.send("GET / HTTP/1.1\r\nHost: mute.test\r\n\r\n");
    let (mut taken, _) = pod.accept().unwrap();
    taken.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let read = std::io::Read::read(&mut taken, &mut [0; 1024]).unwrap();
    assert!(read > 0);
    socket2::SockRef::from(&client.stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(client);
    let read = std::io::Read::read(&mut taken, &mut [0; 1024]);
    assert_eq!(read.unwrap(), 0, "the pod works on for nobody");
}
