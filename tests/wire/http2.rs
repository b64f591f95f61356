//! HTTP/2 on either side: the same message, whatever the two sides speak (RFC 9113).

use crate::h2_rig::{H2Pod, Manner, ask, connect, connect_and_watch, request, run, world};
use crate::raw_h2::{self, END_HEADERS, END_STREAM, HEADERS, Raw, frame};
use crate::rig::Rig;
use http::HeaderMap;

#[test]
fn from_http2_to_http2() {
    let pod = H2Pod::start(Manner::Echo, 100);
    let rig = world(&pod, &[]);
    run(async {
        let mut sender = connect(&rig).await;
        let plain = request("GET", "http://h2.test/a//b?c")
            .header("cookie", "a=1")
            .header("cookie", "b=2");
        let answer = ask(&mut sender, plain.body(()).unwrap(), None).await.unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.field("x-authority"), "h2.test");
        assert_eq!(answer.field("x-path"), "/a/b");
        assert_eq!(answer.field("x-cookies"), "a=1; b=2");
        assert_eq!(answer.field("x-large").len(), 20_000);
        for name in ["host", "connection", "transfer-encoding"] {
            assert!(
                !answer.field("x-fields").split(' ').any(|field| field == name),
                "{name}"
            );
        }
        assert!(answer.field("x-fields").contains("x-forwarded-host"));
        assert_eq!(answer.trailers.unwrap().get("grpc-status").unwrap(), "0");

        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "42".parse().unwrap());
        let post = request("POST", "http://h2.test/")
            .header("te", "trailers")
            .body(())
            .unwrap();
        let answer = ask(&mut sender, post, Some(("hello".into(), Some(trailers))))
            .await
            .unwrap();
        assert_eq!(
            (answer.body.as_slice(), answer.field("x-request-trailer")),
            (&b"hello"[..], "42")
        );
        assert!(answer.field("x-fields").contains("te"));

        let head = ask(&mut sender, request("HEAD", "http://h2.test/").body(()).unwrap(), None)
            .await
            .unwrap();
        assert_eq!(
            (head.status.as_u16(), head.field("x-method"), head.body.len()),
            (200, "HEAD", 0)
        );
        for status in [204, 304] {
            let uri = format!("http://h2.test/status/{status}");
            let answer = ask(&mut sender, request("GET", &uri).body(()).unwrap(), None)
                .await
                .unwrap();
            assert_eq!((answer.status.as_u16(), answer.body.len()), (status, 0));
        }
    });
    assert_eq!(rig.counter("http_library_refusals_total"), 0);
}

/// RFC 9110, section 9.3.2: such a reply has no content. Not even one of narthex's own, as for a host that nobody has, or
/// a request that is refused before it is routed.
#[test]
fn a_reply_to_head_has_no_body() {
    let rig = Rig::new(1, &[]);
    for (host, fields) in [("nobody.test", &[][..]), ("a.test", &[("host", "b.test")])] {
        let mut client = Raw::connect(rig.http);
        let head = raw_h2::head("HEAD", host, fields);
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &head));
        let frames = client.stream_of(1);
        assert!(
            matches!(&frames[..], [only] if only.kind == HEADERS && only.ends()),
            "{host} {frames:?}"
        );
    }
    run(async {
        let mut sender = connect(&rig).await;
        let asked = request("HEAD", "http://nobody.test/").body(()).unwrap();
        let answer = ask(&mut sender, asked, None).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.field("content-length")), (404, "19"));
    });
    let mut client = rig.client();
    for _ in 0..2 {
        client.send("HEAD / HTTP/1.1\r\nHost: nobody.test\r\n\r\n");
        let answer = client.answer_to("HEAD").unwrap();
        assert_eq!((answer.status, answer.field("content-length")), (404, Some("19")));
    }
}

#[test]
fn from_http1_to_http2() {
    let pod = H2Pod::start(Manner::Echo, 100);
    let rig = world(&pod, &[]);
    let mut client = rig.client();
    client.send("POST /x HTTP/1.1\r\nHost: h2.test:8080\r\nTransfer-Encoding: chunked\r\nConnection: x-own\r\nX-Own: 1\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    let answer = client.answer();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.field("x-authority"), Some("h2.test:8080"));
    assert!(!answer.field("x-fields").unwrap().contains("x-own"));
    assert!(String::from_utf8_lossy(&answer.body).contains("hello"));
    client.send("HEAD / HTTP/1.1\r\nHost: h2.test\r\n\r\n");
    assert_eq!(client.answer_to("HEAD").unwrap().status, 200);
    client.send("GET /status/304 HTTP/1.1\r\nHost: h2.test\r\n\r\n");
    assert_eq!(client.answer().status, 304);
    client.send("GET / HTTP/1.1\r\nHost: h2.test\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n");
    let answer = client.answer();
    assert_eq!(answer.status, 200, "an upgrade is a matter of HTTP/1.1");
    assert!(!answer.field("x-fields").unwrap().contains("upgrade"));
    assert_eq!(pod.connections(), 1);
}

#[test]
fn from_http2_to_http1() {
    let rig = Rig::new(1, &[]);
    run(async {
        let mut sender = connect(&rig).await;
        let get = request("GET", "http://a.test/x?y")
            .header("cookie", "a=1")
            .header("cookie", "b=2");
        let answer = ask(&mut sender, get.body(()).unwrap(), None).await.unwrap();
        assert_eq!(answer.status, 200);
        assert!(answer.headers.get("connection").is_none());
        let got = rig.pod().last();
        assert_eq!(got.line(), "GET /x?y HTTP/1.1");
        assert_eq!(
            (got.field("host"), got.field("cookie")),
            (vec!["a.test".into()], vec!["a=1; b=2".to_owned()])
        );

        // A body without a length, of a method that need not have one.
        for method in ["POST", "GET", "DELETE"] {
            let asked = request(method, "http://a.test/").body(()).unwrap();
            let answer = ask(&mut sender, asked, Some(("hello".into(), None))).await.unwrap();
            assert_eq!(answer.status, 200);
            let got = rig.pod().last();
            assert_eq!(got.field("transfer-encoding"), ["chunked"], "{method}");
            assert!(got.text().contains("hello"), "{method}");
        }
        let asked = request("PUT", "http://a.test/")
            .header("content-length", "5")
            .body(())
            .unwrap();
        ask(&mut sender, asked, Some(("hello".into(), None))).await.unwrap();
        assert_eq!(rig.pod().last().field("content-length"), ["5"]);
    });
}

#[test]
fn heads_that_no_filter_has_seen_are_checked_too() {
    let rig = Rig::new(1, &["--max-uri", "100", "--max-headers", "20"]);
    let before = rig.pod().requests().len();
    run(async {
        let mut sender = connect(&rig).await;
        let get = |uri: &str| request("GET", uri);
        let mut many = get("http://a.test/");
        for index in 0..30 {
            many = many.header(format!("x-{index}"), "1");
        }
        for (wanted, asked) in [
            (400, get("http://a.test/").header("host", "b.test")),
            (
                400,
                request("POST", "http://a.test/")
                    .header("content-length", "0")
                    .header("content-length", "0"),
            ),
            (414, get(&format!("http://a.test/{}", "x".repeat(200)))),
            (431, many),
            (400, get("http://a.test/a\\b")),
            (400, get("http://a.test/..%2f..%00")),
            (404, get("http://nobody.test/")),
            (200, get("http://a.test/").header("host", "A.test")),
            (200, get("/").header("host", "a.test")),
            (400, get("/")),
        ] {
            let asked = asked.body(()).unwrap();
            let shown = format!("{} {:?}", asked.uri(), asked.headers());
            let answer = ask(&mut sender, asked, None).await.unwrap();
            assert_eq!(answer.status, wanted, "{shown}");
            assert!(answer.headers.get("connection").is_none());
        }
    });
    assert_eq!(
        rig.pod().requests().len(),
        before + 2,
        "only the good ones reached the pod"
    );
}

#[test]
fn streams_that_stand_still_end_and_the_others_go_on() {
    let rig = Rig::new(
        1,
        &[
            "--body-timeout",
            "500ms",
            "--send-timeout",
            "500ms",
            "--idle-timeout",
            "1s",
        ],
    );
    rig.pod().answers(crate::rig::Reply::Bytes(
        [
            b"HTTP/1.1 200 OK\r\nContent-Length: 4194304\r\n\r\n".to_vec(),
            vec![b'z'; 4 << 20],
        ]
        .concat(),
    ));
    run(async {
        let (mut sender, ended) = connect_and_watch(&rig).await;
        // One who never reads.
        let asked = request("GET", "http://a.test/").body(()).unwrap();
        let (response, _stream) = sender.send_request(asked, true).unwrap();
        let mut unread = response.await.unwrap().into_body();
        // One who never sends.
        let asked = request("POST", "http://a.test/").body(()).unwrap();
        let (response, _open) = sender.send_request(asked, false).unwrap();
        assert_eq!(response.await.unwrap().status(), 408);
        rig.pod()
            .answers(crate::rig::Reply::text("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
        let asked = request("GET", "http://a.test/").body(()).unwrap();
        assert_eq!(ask(&mut sender, asked, None).await.unwrap().status, 200);
        let mut got = 0;
        let end = loop {
            match unread.data().await {
                Some(Ok(piece)) => got += piece.len(),
                Some(Err(error)) => break Some(error),
                None => break None,
            }
        };
        assert!(end.is_some(), "{got} bytes and a clean end");
        assert!(got < 4 << 20);
        // And the connection, when nothing is asked of it any more.
        ended.await.unwrap();
    });
}
