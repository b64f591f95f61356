//! Rows 1-8, 10, 13, 14, 16, 18: what is no HTTP never reaches a pod, and the connection ends with it.

use crate::rig::{Reply, Rig};

const HOST: &str = "Host: a.test\r\n";

/// Sends bytes to a fresh connection, expects this status, the end of the connection, and nothing at the pod.
fn refused(rig: &Rig, name: &str, bytes: impl AsRef<[u8]>, status: u16) {
    let before = rig.pod().requests().len();
    let mut client = rig.client();
    let answer = client.send(bytes).answer();
    assert_eq!(answer.status, status, "{name}");
    assert!(answer.field("x-request-id").is_some(), "{name}: no X-Request-Id");
    assert_eq!(answer.field("connection"), Some("close"), "{name}");
    assert!(client.ends(), "{name}: the connection goes on");
    assert_eq!(rig.pod().requests().len(), before, "{name}: the pod got something");
}

#[test]
fn framing_that_two_parsers_may_read_differently_is_refused() {
    let rig = Rig::new(1, &[]);
    let smuggled = "3\r\nabc\r\n0\r\n\r\nGET /smug HTTP/1.1\r\nHost: a.test\r\n\r\n";
    let length = "Content-Length: 3\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    let post = |fields: &str, rest: &str| format!("POST / HTTP/1.1\r\n{HOST}{fields}\r\n{rest}");
    refused(
        &rig,
        "row 1: CL before TE",
        post(&format!("{length}{chunked}"), smuggled),
        400,
    );
    refused(
        &rig,
        "row 1: TE before CL",
        post(&format!("{chunked}{length}"), smuggled),
        400,
    );
    for coding in [
        "chunked, chunked",
        "gzip, chunked",
        "xchunked",
        ",chunked",
        "identity",
        "chunked\t,",
        "\"chunked\"",
    ] {
        refused(
            &rig,
            coding,
            post(&format!("Transfer-Encoding: {coding}\r\n"), "0\r\n\r\n"),
            400,
        );
    }
    refused(
        &rig,
        "row 2: two TE lines",
        post(&format!("Transfer-Encoding: identity\r\n{chunked}"), "0\r\n\r\n"),
        400,
    );
    refused(
        &rig,
        "row 2: TE on 1.0",
        format!("POST / HTTP/1.0\r\n{HOST}{chunked}\r\n0\r\n\r\n"),
        400,
    );
    for number in ["+3", "3,3", "0x3", "3 3", "", "-0", "3;", "18446744073709551616"] {
        refused(&rig, number, post(&format!("Content-Length: {number}\r\n"), "abc"), 400);
    }
    refused(
        &rig,
        "row 3: twice the same",
        post(&format!("{length}{length}"), "abc"),
        400,
    );
}

#[test]
fn bytes_that_are_no_http_are_refused() {
    let rig = Rig::new(1, &[]);
    for (name, bytes, status) in [
        ("row 4: bare LF", "GET / HTTP/1.1\nHost: a.test\n\n".to_owned(), 400),
        (
            "row 4: bare LF in one line",
            "GET / HTTP/1.1\r\nHost: a.test\nX: y\r\n\r\n".to_owned(),
            400,
        ),
        (
            "row 4: bare CR",
            format!("GET / HTTP/1.1\r\n{HOST}X: a\rb\r\n\r\n"),
            400,
        ),
        ("row 4: NUL", format!("GET / HTTP/1.1\r\n{HOST}X: a\0b\r\n\r\n"), 400),
        (
            "row 4: obs-fold",
            format!("GET / HTTP/1.1\r\n{HOST}X: a\r\n b\r\n\r\n"),
            400,
        ),
        (
            "row 4: space before colon",
            format!("GET / HTTP/1.1\r\n{HOST}X : a\r\n\r\n"),
            400,
        ),
        ("row 4: no name", format!("GET / HTTP/1.1\r\n{HOST}: a\r\n\r\n"), 400),
        ("two spaces", format!("GET  / HTTP/1.1\r\n{HOST}\r\n"), 400),
        ("no version", format!("GET /\r\n{HOST}\r\n"), 400),
        ("HTTP/1.2", format!("GET / HTTP/1.2\r\n{HOST}\r\n"), 505),
        ("HTTP/2.0", format!("GET / HTTP/2.0\r\n{HOST}\r\n"), 505),
        (
            "row 13: CONNECT",
            "CONNECT a.test:80 HTTP/1.1\r\nHost: a.test:80\r\n\r\n".to_owned(),
            405,
        ),
        ("row 13: TRACE", format!("TRACE / HTTP/1.1\r\n{HOST}\r\n"), 405),
        ("row 14: GET *", format!("GET * HTTP/1.1\r\n{HOST}\r\n"), 400),
        ("row 14: no slash", format!("GET foo HTTP/1.1\r\n{HOST}\r\n"), 400),
        ("row 14: ftp", format!("GET ftp://a.test/ HTTP/1.1\r\n{HOST}\r\n"), 400),
        (
            "row 14: user",
            format!("GET http://u:p@a.test/ HTTP/1.1\r\n{HOST}\r\n"),
            400,
        ),
        ("row 16: no Host", "GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("row 16: two Hosts", format!("GET / HTTP/1.1\r\n{HOST}{HOST}\r\n"), 400),
        (
            "row 16: bad Host",
            "GET / HTTP/1.1\r\nHost: a/../b@c d\r\n\r\n".to_owned(),
            400,
        ),
        (
            "row 16: bad port",
            "GET / HTTP/1.1\r\nHost: a.test:99999\r\n\r\n".to_owned(),
            400,
        ),
        (
            "row 18: above the root",
            format!("GET /a/../../b HTTP/1.1\r\n{HOST}\r\n"),
            400,
        ),
        ("row 18: encoded", format!("GET /%2e%2e/b HTTP/1.1\r\n{HOST}\r\n"), 400),
        ("row 18: NUL", format!("GET /%00 HTTP/1.1\r\n{HOST}\r\n"), 400),
        ("row 18: fragment", format!("GET /a#b HTTP/1.1\r\n{HOST}\r\n"), 400),
        (
            "row 32: long target",
            format!("GET /{} HTTP/1.1\r\n{HOST}\r\n", "a".repeat(17 << 10)),
            414,
        ),
        (
            "row 32: large head",
            format!("GET / HTTP/1.1\r\n{HOST}X: {}\r\n\r\n", "a".repeat(40 << 10)),
            431,
        ),
        (
            "row 32: many fields",
            format!("GET / HTTP/1.1\r\n{HOST}{}\r\n", "X: y\r\n".repeat(120)),
            431,
        ),
        (
            "other expectation",
            format!("POST / HTTP/1.1\r\n{HOST}Expect: tea\r\nContent-Length: 1\r\n\r\n"),
            417,
        ),
    ] {
        refused(&rig, name, bytes, status);
    }
    assert_eq!(rig.counter("http_library_refusals_total"), 0);
}

#[test]
fn a_fault_lets_earlier_replies_out() {
    let rig = Rig::new(1, &[]);
    let mut client = rig.client();
    client.send(format!(
        "GET /1 HTTP/1.1\r\n{HOST}\r\nGET /2 HTTP/1.1\r\n{HOST}\r\nGET /3 HTTP/1.1\n{HOST}\r\n"
    ));
    let statuses: Vec<u16> = (0..3).map(|_| client.answer().status).collect();
    assert_eq!(statuses, [200, 200, 400]);
    assert!(client.ends());
    let lines: Vec<String> = rig.pod().requests().iter().map(|got| got.line()).collect();
    assert_eq!(lines, ["GET /1 HTTP/1.1", "GET /2 HTTP/1.1"]);
}

#[test]
fn row_5_chunk_extensions_are_read_and_not_forwarded() {
    let rig = Rig::new(1, &[]);
    let mut client = rig.client();
    client.send(format!(
        "POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n3;a=b;c=\"d\"\r\nabc\r\n0\r\n\r\n"
    ));
    assert_eq!(client.answer().status, 200);
    assert!(rig.pod().last().text().ends_with("\r\n\r\n3\r\nabc\r\n0\r\n\r\n"));
    assert!(client.goes_on());
}

#[test]
fn row_7_a_chunked_get_keeps_its_body() {
    let rig = Rig::new(1, &[]);
    let mut client = rig.client();
    client.send(format!(
        "GET /_search HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    ));
    assert_eq!(client.answer().status, 200);
    let got = rig.pod().last();
    assert_eq!(got.field("transfer-encoding"), ["chunked"]);
    assert!(got.text().ends_with("3\r\nabc\r\n0\r\n\r\n"));
    assert!(client.goes_on());
}

#[test]
fn row_10_a_broken_chunk_is_the_clients_fault() {
    let rig = Rig::new(2, &[]);
    for _ in 0..4 {
        let mut client = rig.client();
        client.send(format!(
            "POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
        ));
        client.send("ZZ\r\n");
        assert_eq!(client.answer().status, 400);
        assert!(client.ends());
    }
    // Neither pod is set aside for it: both still take their turn.
    for _ in 0..4 {
        assert!(rig.client().goes_on());
    }
    for pod in &rig.pods {
        assert!(
            pod.requests().iter().any(|got| got.line().starts_with("GET /again")),
            "a pod was set aside"
        );
    }
}

#[test]
fn paths_are_forwarded_as_they_are_matched() {
    let rig = Rig::new(1, &[]);
    for (sent, wanted) in [
        ("/a/%2e%2E/b//c?x=//..", "/b/c?x=//.."),
        ("/a%2fb%5C", "/a%2Fb%5C"),
        ("/%61%7e", "/a~"),
        ("/a/./b/..", "/a/"),
        ("http://a.test:80/x?y", "/x?y"),
        ("http://a.test", "/"),
    ] {
        let mut client = rig.client();
        client.send(format!("GET {sent} HTTP/1.1\r\n{HOST}\r\n"));
        assert_eq!(client.answer().status, 200, "{sent}");
        assert_eq!(rig.pod().last().line(), format!("GET {wanted} HTTP/1.1"), "{sent}");
    }
    let strict = Rig::new(1, &["--encoded-slash=reject"]);
    refused(
        &strict,
        "--encoded-slash=reject",
        format!("GET /a%2Fb HTTP/1.1\r\n{HOST}\r\n"),
        400,
    );
}

#[test]
fn http_1_0_without_host_reaches_any_host_rules_only() {
    let rig = Rig::new(1, &[]);
    let mut client = rig.client();
    assert_eq!(client.send("GET / HTTP/1.0\r\n\r\n").answer().status, 404);
    assert!(client.ends());
    let mut client = rig.client();
    client.send(format!("GET / HTTP/1.0\r\n{HOST}Connection: keep-alive\r\n\r\n"));
    assert_eq!(client.answer().status, 200);
    assert!(client.goes_on());
}

#[test]
fn an_absolute_target_overrules_host() {
    let rig = Rig::new(1, &[]);
    let mut client = rig.client();
    client.send("GET http://a.test/x HTTP/1.1\r\nHost: other.test\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    assert_eq!(rig.pod().last().field("host"), ["a.test"]);
}

#[test]
fn a_body_is_asked_for_only_when_it_is_wanted() {
    let rig = Rig::new(1, &[]);
    let mut client = rig.client();
    client.send(format!(
        "POST / HTTP/1.1\r\n{HOST}Expect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    ));
    assert_eq!(client.answer().status, 100);
    assert_eq!(client.send("abc").answer().status, 200);
    assert!(rig.pod().last().text().ends_with("\r\n\r\nabc"));
    // No rule, so no body is asked for.
    let mut client = rig.client();
    client.send("POST / HTTP/1.1\r\nHost: nobody.test\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    assert_eq!(client.answer().status, 404);
}

#[test]
fn trailers_pass_both_ways() {
    let rig = Rig::new(1, &[]);
    rig.pod().answers(Reply::text(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n",
    ));
    let mut client = rig.client();
    client.send(format!(
        "POST / HTTP/1.1\r\n{HOST}TE: trailers\r\nTrailer: x-up\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-up: 1\r\n\r\n"
    ));
    let answer = client.answer();
    assert!(String::from_utf8_lossy(&answer.body).contains("x-sum: 7"), "{answer:?}");
    assert!(rig.pod().last().text().contains("x-up: 1"));
}

#[test]
fn options_asterisk_is_about_the_server() {
    let rig = Rig::new(1, &[]);
    let answer = rig.client().send(format!("OPTIONS * HTTP/1.1\r\n{HOST}\r\n")).answer();
    assert_eq!(answer.status, 204);
    assert!(answer.field("allow").is_some());
    for request in [
        format!("OPTIONS * HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n"),
        format!("OPTIONS * HTTP/1.0\r\n{HOST}\r\n"),
    ] {
        let mut client = rig.client();
        let answer = client.send(&*request).answer();
        assert_eq!(
            (answer.status, answer.field("connection")),
            (204, Some("close")),
            "{request}"
        );
        assert!(client.ends(), "{request}");
    }
    assert!(rig.pod().requests().is_empty());
}

#[test]
fn row_33_a_compressed_body_is_nothing_to_be_unpacked() {
    let rig = Rig::new(1, &[]);
    // Were it looked into, it would be found to be no gzip at all.
    let (body, fields) = ("bomb", "Content-Encoding: gzip\r\nContent-Length: 4\r\n");
    rig.pod()
        .answers(Reply::text(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n{body}")));
    let mut client = rig.client();
    client.send(format!("POST / HTTP/1.1\r\n{HOST}{fields}\r\n{body}"));
    let answer = client.answer();
    assert_eq!((answer.status, answer.body.as_slice()), (200, body.as_bytes()));
    assert_eq!(answer.field("content-encoding"), Some("gzip"));
    let got = rig.pod().last();
    assert_eq!(got.field("content-encoding"), ["gzip"]);
    assert!(got.text().ends_with("\r\n\r\nbomb"));
}
