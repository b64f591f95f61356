//! Connections that end with a reply: HTTP/1.0 and `Connection: close`, and what comes behind such a request.

use crate::rig::{Reply, Rig};
use std::io::{ErrorKind, Read};

const JUNK: &str = "\0\0 this is no request\r\n\r\n";

#[test]
fn nothing_is_said_behind_the_last_reply() {
    let rig = Rig::new(1, &[]);
    for body in ["content-length: 3\r\n\r\nok\n", "\r\nok\n"] {
        rig.pod()
            .answers(Reply::Last(format!("HTTP/1.1 200 OK\r\n{body}").into_bytes()));
        for request in [
            "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, close\r\n\r\n",
            "GET / HTTP/1.0\r\nHost: a.test\r\n\r\n",
        ] {
            let mut client = rig.client();
            client.send(format!("{request}{JUNK}"));
            let said = String::from_utf8_lossy(&client.rest()).into_owned();
            assert!(said.starts_with("HTTP/1."), "{request}: {said}");
            assert_eq!(said.matches("HTTP/1.").count(), 1, "{request}: {said}");
        }
        // Where another request was due, its fault is answered.
        let mut client = rig.client();
        client.send(format!("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n{JUNK}"));
        let said = String::from_utf8_lossy(&client.rest()).into_owned();
        assert_eq!(said.matches("HTTP/1.").count(), 2, "{said}");
    }
}

#[test]
fn an_old_client_is_told_of_a_kept_connection_only_if_it_is_kept() {
    let rig = Rig::new(1, &[]);
    let keep = "GET / HTTP/1.0\r\nHost: a.test\r\nConnection: Keep-Alive\r\n\r\n";
    rig.pod()
        .answers(Reply::text("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n"));
    let mut client = rig.client();
    for _ in 0..3 {
        let answer = client.send(keep).answer();
        assert!(answer.head.starts_with("HTTP/1.0 200 "), "{}", answer.head);
        assert_eq!(answer.field("connection"), Some("keep-alive"), "{}", answer.head);
    }
    for reply in [
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nok\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\nok\n",
    ] {
        rig.pod().answers(Reply::Last(reply.as_bytes().to_vec()));
        let mut client = rig.client();
        client.send(keep);
        let said = String::from_utf8_lossy(&client.rest()).to_lowercase();
        assert!(
            said.starts_with("http/1.0 200 ") && said.ends_with("\r\n\r\nok\n"),
            "{said}"
        );
        assert!(said.contains("\r\nconnection: close\r\n"), "{said}");
    }
    // Without a body the length is known.
    rig.pod().answers(Reply::text("HTTP/1.1 204 No Content\r\n\r\n"));
    let mut client = rig.client();
    for _ in 0..2 {
        assert_eq!(client.send(keep).answer().field("connection"), Some("keep-alive"));
    }
}

#[test]
fn a_version_is_one_digit_on_each_side_or_none_at_all() {
    let rig = Rig::new(1, &[]);
    for (version, status) in [
        ("HTTP/01.01", 400),
        ("HTTP/01.1", 400),
        ("HTTP/1.01", 400),
        ("HTTP/11.1", 400),
        ("HTTP/2", 400),
        ("HTTP/20.0", 400),
        ("HTTP/2.00", 400),
        ("HTTP/2.x", 400),
        ("HTTP/0.9", 505),
        ("HTTP/1.2", 505),
        ("HTTP/2.0", 505),
        ("HTTP/3.9", 505),
    ] {
        for split in [false, true] {
            let mut client = rig.client();
            let text = format!("GET / {version}\r\nHost: a.test\r\n\r\n");
            match split {
                true => text.bytes().for_each(|byte| {
                    client.send([byte]);
                }),
                false => {
                    client.send(text);
                }
            }
            let answer = client.answer();
            assert_eq!(answer.status, status, "{version}");
            assert!(client.ends());
        }
    }
    assert_eq!(rig.counter("http_library_refusals_total"), 0);
}

/// An HTTP/1.0 client knows the end of such a reply by that of the connection, so one that broke off ends with a reset.
#[test]
fn a_reply_that_breaks_off_is_not_taken_for_whole() {
    let rig = Rig::new(1, &[]);
    let end = |reply: &str| {
        rig.pod().answers(Reply::Last(reply.as_bytes().to_vec()));
        let mut client = rig.client();
        client.send("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n");
        let mut said = Vec::new();
        let end = client.stream.read_to_end(&mut said).map_err(|error| error.kind());
        assert!(said.starts_with(b"HTTP/1.0 200 "), "{}", String::from_utf8_lossy(&said));
        end.map(drop)
    };
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nok\n\r\n";
    assert_eq!(end(&format!("{chunked}0\r\n\r\n")), Ok(()));
    assert_eq!(end(chunked), Err(ErrorKind::ConnectionReset));
}
