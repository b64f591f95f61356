//! Rows 11, 12, 24 and what happens when pods misbehave, go, or come.

use crate::rig::{Pod, Reply, Rig, eventually, ingress, service, slice};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::Ordering;

const GET: &str = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

#[test]
fn requests_rotate_over_pods_whatever_the_shards() {
    for shards in ["1", "2", "16"] {
        let rig = Rig::new(3, &["--shards", shards]);
        for _ in 0..6 {
            assert!(rig.client().goes_on());
        }
        for pod in &rig.pods {
            assert_eq!(pod.requests().len(), 2, "{shards} shards");
        }
    }
}

#[test]
fn connections_to_pods_are_used_again() {
    let rig = Rig::new(1, &["--shards", "1"]);
    for _ in 0..5 {
        assert!(rig.client().goes_on());
    }
    assert_eq!(rig.pod().connections.load(Ordering::SeqCst), 1);
}

#[test]
fn row_24_a_connection_with_an_identity_is_not_shared() {
    let rig = Rig::new(1, &["--shards", "1"]);
    rig.pod().answers(Reply::text(
        "HTTP/1.1 401 No\r\nWWW-Authenticate: NTLM abc\r\nContent-Length: 0\r\n\r\n",
    ));
    for _ in 0..3 {
        assert_eq!(rig.client().send(GET).answer().status, 401);
    }
    assert_eq!(rig.pod().connections.load(Ordering::SeqCst), 3);
}

#[test]
fn a_dead_kept_connection_costs_no_request() {
    let rig = Rig::new(1, &["--shards", "1"]);
    let fine = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec();
    // The pod answers as if it kept the connection, and closes it: the keep-alive race.
    rig.pod().answers(Reply::Last(fine));
    let mut client = rig.client();
    for _ in 0..20 {
        assert_eq!(client.send(GET).answer().status, 200);
        client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n");
        let status = client.answer().status;
        assert!(status == 200 || status == 502, "{status}");
    }
}

#[test]
fn a_request_that_was_sent_is_repeated_only_if_that_is_safe() {
    let rig = Rig::new(1, &[]);
    rig.pod().answers(Reply::Last(Vec::new()));
    assert_eq!(rig.client().send(GET).answer().status, 502);
    assert_eq!(
        rig.pod().requests().len(),
        3,
        "a GET is tried as often as --attempts says"
    );
    rig.client()
        .send("POST /p HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n\r\nx")
        .answer();
    let posts = rig
        .pod()
        .requests()
        .iter()
        .filter(|got| got.line().starts_with("POST"))
        .count();
    assert_eq!(posts, 1, "a POST that reached the pod is not sent twice");
}

#[test]
fn unreachable_pods_are_passed_over() {
    let gone = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dead = [gone(), gone()];
    let rig = Rig::with(1, &["--shards", "1"], |pods| {
        service("web", &[(dead[0], "x"), (dead[1], "y"), (pods[0].address, "z")])
            + &ingress("web", "a.test", "/", "web", "")
    });
    for _ in 0..20 {
        let answer = rig
            .client()
            .send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n\r\nx")
            .answer();
        assert_eq!(answer.status, 200);
    }
    assert!(
        rig.counter("upstream_connect_failures_total") < 12,
        "unreachable pods are not set aside"
    );
}

#[test]
fn all_pods_unreachable_is_502_and_none_is_503() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let rig = Rig::with(0, &[], |_| {
        service("web", &[(gone, "x")])
            + &ingress("web", "a.test", "/", "web", "")
            + &ingress("none", "b.test", "/", "none", "")
    });
    assert_eq!(rig.client().send(GET).answer().status, 502);
    let answer = rig.client().send("GET / HTTP/1.1\r\nHost: b.test\r\n\r\n").answer();
    assert_eq!(
        (answer.status, answer.body.as_slice()),
        (503, b"no available server\n".as_slice())
    );
}

#[test]
fn answers_that_are_no_http_are_502() {
    let rig = Rig::new(1, &[]);
    for (name, reply, status) in [
        ("garbage", "garbage\r\n\r\n", 502),
        (
            "row 12: unasked 101",
            "HTTP/1.1 101 Go\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            502,
        ),
        (
            "row 11: gzip, chunked",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            502,
        ),
        (
            "a status above 599",
            "HTTP/1.1 600 Odd\r\nContent-Length: 0\r\n\r\n",
            502,
        ),
        (
            "the last of these",
            "HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n",
            502,
        ),
        (
            "a chunk's size that is none, right behind the head",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            502,
        ),
        (
            "a bare LF behind a chunk's size",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
            502,
        ),
    ] {
        rig.pod().answers(Reply::Last(reply.as_bytes().to_vec()));
        assert_eq!(rig.client().send(GET).answer().status, status, "{name}");
    }
}

/// A proxy takes the blank away before the colon (RFC 9112, section 5.1), and may take a bare LF for the end of a line
/// (section 2.2): what it passes on has neither.
#[test]
fn small_faults_of_a_pods_head_are_mended() {
    let rig = Rig::new(1, &[]);
    for reply in [
        "HTTP/1.1 200 OK\r\nX-A : b\r\nX-B\t: c\r\nContent-Length: 3\r\n\r\nok\n",
        "HTTP/1.1 200 OK\nX-A: b\nX-B: c\nContent-Length: 3\n\nok\n",
    ] {
        rig.pod().answers(Reply::text(reply));
        let mut client = rig.client();
        let answer = client.send(GET).answer();
        assert_eq!(
            (answer.status, answer.body.as_slice()),
            (200, &b"ok\n"[..]),
            "{reply:?}"
        );
        assert_eq!(
            (answer.field("x-a"), answer.field("x-b")),
            (Some("b"), Some("c")),
            "{reply:?}"
        );
        assert!(!answer.head.replace("\r\n", "").contains('\n'), "{reply:?}");
    }
}

#[test]
fn row_11_a_response_with_both_framings_is_read_as_chunked_and_its_connection_not_reused() {
    let rig = Rig::new(1, &["--shards", "1"]);
    rig.pod().answers(Reply::text(
        "HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ));
    let mut client = rig.client();
    for _ in 0..2 {
        let answer = client.send(GET).answer();
        assert!(answer.field("content-length").is_none(), "{}", answer.head);
        assert_eq!(answer.body, b"3\r\nabc\r\n0\r\n\r\n");
    }
    assert_eq!(rig.pod().connections.load(Ordering::SeqCst), 2);
}

#[test]
fn a_response_cut_short_does_not_look_whole() {
    let rig = Rig::new(1, &[]);
    rig.pod().answers(Reply::Last(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n".to_vec(),
    ));
    let mut client = rig.client();
    assert!(
        client.send(GET).answer_to("GET").is_none(),
        "it ended as if it were whole"
    );
}

#[test]
fn head_and_bodiless_answers_end_where_they_should() {
    let rig = Rig::new(1, &[]);
    let mut client = rig.client();
    for (reply, length) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Some("5")),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", None),
    ] {
        rig.pod().answers(Reply::text(reply));
        let answer = client
            .send("HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            .answer_to("HEAD")
            .unwrap();
        assert_eq!(
            (answer.status, answer.field("content-length")),
            (200, length),
            "{}",
            answer.head
        );
    }
    for status in [204, 304] {
        rig.pod().answers(Reply::text(&format!("HTTP/1.1 {status} X\r\n\r\n")));
        assert_eq!(client.send(GET).answer().status, status);
    }
    rig.pod()
        .answers(Reply::text("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    assert!(client.goes_on());
}

#[test]
fn row_9_an_early_reply_reaches_a_client_that_still_uploads() {
    let rig = Rig::new(1, &[]);
    // All at once, for each of them reads only when it cannot write any more.
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                let body = vec![b'x'; 8 << 20];
                let mut client = rig.client();
                client.send(format!(
                    "POST / HTTP/1.1\r\nHost: nobody.test\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                ));
                client.send(&body);
                assert_eq!(client.answer().status, 404);
            });
        }
    });
}

#[test]
fn large_bodies_pass_whole() {
    let rig = Rig::new(1, &[]);
    let body = vec![b'y'; 5 << 20];
    let mut client = rig.client();
    client.send(format!(
        "PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n",
        body.len()
    ));
    assert_eq!(client.send(&body).answer().status, 200);
    assert!(rig.pod().last().bytes.ends_with(&body));
    let mut reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    reply.extend_from_slice(&body);
    rig.pod().answers(Reply::Bytes(reply));
    assert_eq!(client.send(GET).answer().body, body);
}

#[test]
fn endpoints_that_go_get_nothing_more_and_new_ones_serve() {
    let rig = Rig::new(1, &["--shards", "1"]);
    assert!(rig.client().goes_on());
    let second = Pod::start();
    std::fs::write(rig.manifest("second.yaml"), slice("web", second.address, "second")).unwrap();
    eventually("the new pod serves", || {
        rig.client().goes_on();
        (!second.requests().is_empty()).then_some(())
    });
    let first = rig.pod().requests().len();
    let ingress = ingress("web", "a.test", "/", "web", "");
    let service = service("web", &[]);
    std::fs::write(rig.manifest("all.yaml"), service + &ingress).unwrap();
    let settled = eventually("the old pod is left alone", || {
        let before = rig.pod().requests().len();
        for _ in 0..4 {
            assert!(rig.client().goes_on());
        }
        (rig.pod().requests().len() == before).then_some(before)
    });
    assert!(settled >= first);
}

#[test]
fn a_request_that_comes_back_is_stopped_and_the_cause_named() {
    let rig = Rig::new(1, &[]);
    let again = ingress("self", "loop.test", "/", "self", "");
    std::fs::write(
        rig.manifest("loop.yaml"),
        service("self", &[(rig.http, "self")]) + &again,
    )
    .unwrap();
    let answer = eventually("the loop is live", || {
        let answer = rig.client().send("GET / HTTP/1.1\r\nHost: loop.test\r\n\r\n").answer();
        (answer.status != 404).then_some(answer)
    });
    assert_eq!(answer.status, 508);
    assert_eq!(rig.counter("request_loops_total"), 1);
    eventually("the diagnostic is there", || {
        crate::rig::get(rig.admin, "/api/v1/diagnostics")
            .1
            .contains("EndpointIsSelf")
            .then_some(())
    });
    rig.logged("loop.test/");
}

#[test]
fn empty_segments_are_kept_where_a_rule_says_so() {
    let rig = Rig::with(1, &[], |pods| {
        let kept = ", annotations: {narthex.io/merge-slashes: \"false\"}";
        service("web", &[(pods[0].address, "p")])
            + &ingress("web", "a.test", "/", "web", "")
            + &ingress("kept", "a.test", "/kept", "web", kept)
    });
    for (sent, wanted) in [("/a//b", "/a/b"), ("/kept//b", "/kept//b")] {
        rig.client()
            .send(format!("GET {sent} HTTP/1.1\r\nHost: a.test\r\n\r\n"))
            .answer();
        assert_eq!(rig.pod().last().line(), format!("GET {wanted} HTTP/1.1"));
    }
}

#[test]
fn connections_of_chunked_replies_are_used_again() {
    let rig = Rig::new(1, &["--shards", "1"]);
    rig.pod().answers(Reply::text(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ));
    for _ in 0..5 {
        assert_eq!(rig.client().send(GET).answer().status, 200);
    }
    assert_eq!(rig.pod().connections.load(Ordering::SeqCst), 1);
}

#[test]
fn row_24_an_identity_that_a_client_brings_is_not_shared() {
    let rig = Rig::new(1, &["--shards", "1"]);
    for _ in 0..3 {
        let request = "GET / HTTP/1.1\r\nHost: a.test\r\nAuthorization: Negotiate abc\r\n\r\n";
        assert_eq!(rig.client().send(request).answer().status, 200);
    }
    assert_eq!(rig.pod().connections.load(Ordering::SeqCst), 3);
}

#[test]
fn versions_and_lengths_are_of_this_hop() {
    let rig = Rig::new(1, &[]);
    rig.pod()
        .answers(Reply::Last(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_vec()));
    let mut client = rig.client();
    assert!(client.send(GET).answer().head.starts_with("HTTP/1.1 200 OK\r\n"));
    rig.pod()
        .answers(Reply::text("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nhi"));
    assert_eq!(client.send(GET).answer().status, 502);
}

#[test]
fn a_request_without_host_has_one_for_the_pod() {
    let rig = Rig::with(1, &[], |pods| {
        service("web", &[(pods[0].address, "p")]) + &ingress("web", "\"\"", "/", "web", "")
    });
    assert_eq!(rig.client().send("GET / HTTP/1.0\r\n\r\n").answer().status, 200);
    assert_eq!(rig.pod().last().field("host"), [rig.pod().address.to_string()]);
}

#[test]
fn a_reply_that_comes_early_ends_the_upload_it_answers() {
    let rig = Rig::new(1, &["--shards", "1"]);
    // A pod that answers at the head, and neither reads on nor closes.
    let pod = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = pod.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for mut stream in pod.incoming().flatten() {
            let mut head = [0; 1024];
            let read = std::io::Read::read(&mut stream, &mut head).unwrap();
            // It answers once on a connection, so only the upload's may seem to be kept.
            let close = if head[..read].starts_with(b"GET") {
                "Connection: close\r\n"
            } else {
                ""
            };
            let reply = format!("HTTP/1.1 413 No\r\n{close}Content-Length: 0\r\n\r\n");
            let _ = std::io::Write::write_all(&mut stream, reply.as_bytes());
            kept.push(stream);
        }
    });
    let text = service("deaf", &[(address, "deaf")]) + &ingress("deaf", "deaf.test", "/", "deaf", "");
    std::fs::write(rig.manifest("deaf.yaml"), text).unwrap();
    eventually("the rule is live", || {
        let answer = rig.client().send("GET / HTTP/1.1\r\nHost: deaf.test\r\n\r\n").answer();
        (answer.status == 413).then_some(())
    });
    let mut client = rig.client();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: deaf.test\r\nContent-Length: {}\r\n\r\n",
        64 << 20
    ));
    client.send(vec![b'x'; 1 << 20]);
    assert_eq!(client.answer().status, 413);
    assert!(client.ends(), "the rest of the upload is waited for");
}

#[test]
fn many_pods_that_have_gone_at_once_hide_none_that_is_there() {
    let rig = Rig::with(1, &[], |pods| {
        let gone: Vec<TcpListener> = (0..7).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let named: Vec<(SocketAddr, String)> = gone
            .iter()
            .map(|listener| listener.local_addr().unwrap())
            .chain([pods[0].address])
            .enumerate()
            .map(|(index, address)| (address, format!("p{index}")))
            .collect();
        let endpoints: Vec<(SocketAddr, &str)> =
            named.iter().map(|(address, name)| (*address, name.as_str())).collect();
        (0..6)
            .map(|index| {
                let name = format!("s{index}");
                service(&name, &endpoints) + &ingress(&name, &format!("h{index}.test"), "/", &name, "")
            })
            .collect()
    });
    // Each backend learns for itself which endpoints are gone, with its first request.
    for index in 0..6 {
        let mut client = rig.client();
        client.send(format!("GET / HTTP/1.1\r\nHost: h{index}.test\r\n\r\n"));
        assert_eq!(client.answer().status, 200, "h{index}.test");
    }
}
