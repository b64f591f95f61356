//! Bytes that clients put into queries although the grammar of URIs has no place for them.

use crate::access_log::Log;
use crate::rig::Rig;

#[test]
fn queries_pass_as_they_are_or_encoded() {
    let rig = Rig::new(1, &[]);
    for (sent, wanted) in [
        (
            "/api/v1/query?query=up{job=\"x\"}",
            "/api/v1/query?query=up{job=%22x%22}",
        ),
        ("/?a=<b>&c=d", "/?a=%3Cb%3E&c=d"),
        ("/?\"", "/?%22"),
        ("/?a\\b|c^d`e{f}", "/?a\\b|c^d`e{f}"),
        ("http://a.test?\"<>", "/?%22%3C%3E"),
        ("//a//b?<", "/a/b?%3C"),
    ] {
        for split in [false, true] {
            let mut client = rig.client();
            let text = format!("GET {sent} HTTP/1.1\r\nHost: a.test\r\n\r\n");
            match split {
                true => text.bytes().for_each(|byte| {
                    client.send([byte]);
                }),
                false => {
                    client.send(text);
                }
            }
            assert_eq!(client.answer().status, 200, "{sent}");
            assert_eq!(rig.pod().last().line(), format!("GET {wanted} HTTP/1.1"));
            assert!(client.goes_on(), "{sent}");
        }
    }
    assert_eq!(rig.counter("http_library_refusals_total"), 0);
}

#[test]
fn long_ones_and_several_requests_at_once_pass_too() {
    let rig = Rig::new(1, &[]);
    let mut client = rig.client();
    let quotes = "\"".repeat(5000);
    let request = format!("POST /?{quotes} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello");
    client.send(request.repeat(3));
    for _ in 0..3 {
        assert_eq!(client.answer().status, 200);
    }
    let wanted = "%22".repeat(5000);
    for got in rig.pod().requests() {
        assert_eq!(got.line(), format!("POST /?{wanted} HTTP/1.1"));
        assert!(got.text().ends_with("\r\n\r\nhello"), "the body is whole");
    }
    // What they become counts for the limit.
    let mut client = rig.client();
    client.send(format!("GET /?{} HTTP/1.1\r\nHost: a.test\r\n\r\n", "\"".repeat(6000)));
    assert_eq!(client.answer().status, 414);
    assert_eq!(rig.counter("http_library_refusals_total"), 0);
}

#[test]
fn what_stays_refused_is_counted_and_logged() {
    let log = Log::new();
    let rig = Rig::new(1, &log.flags(&[]));
    for (count, target) in ["/?a\x01b", "/?a#b", "/a\\b", "/a<b>"].into_iter().enumerate() {
        let mut client = rig.client();
        client.send(format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n"));
        assert_eq!(client.answer().status, 400, "{target}");
        assert_eq!(rig.counter("invalid_requests_total"), count as u64 + 1);
    }
    let line = log.status(400);
    assert_eq!(
        (line["reason"].as_str(), line["side"].as_str()),
        (Some("malformed"), Some("client")),
        "{line}"
    );
    assert!(rig.pod().requests().is_empty());
}
