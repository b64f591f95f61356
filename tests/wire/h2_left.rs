//! What the libraries below narthex do not allow yet. Each test says what is right and is expected to fail; when one
//! does not, its `should_panic` goes.

use crate::h2_bodies::before;
use crate::raw_h2::{
    self, DATA, END_HEADERS, END_STREAM, HEADERS, OK, PROTOCOL_ERROR, RST_STREAM, Raw, frame, literal,
};
use crate::rig::Rig;

/// One stream breaks a rule, and another that was there before it is answered.
pub fn only_its_own_stream(flags: u8, fields: &[u8]) {
    let rig = Rig::new(1, &["--shards", "1"]);
    let mut client = Raw::connect(rig.http);
    client.send(frame(HEADERS, END_HEADERS, 1, &raw_h2::head("POST", "a.test", &[])));
    client.send(frame(HEADERS, END_HEADERS | flags, 3, fields));
    let reset = client.stream_of(3);
    assert!(
        reset
            .iter()
            .any(|frame| frame.kind == RST_STREAM && frame.code() == PROTOCOL_ERROR),
        "{reset:?}"
    );
    client.send(frame(DATA, END_STREAM, 1, b"abc"));
    let answer = client.stream_of(1);
    assert_eq!(
        answer.first().and_then(|frame| frame.payload.first()),
        Some(&OK[0]),
        "{answer:?}"
    );
}

/// The h2 crate ends the connection for a field name in upper case (RFC 9113, section 8.2.1: malformed).
#[test]
#[should_panic]
fn a_name_in_upper_case_ends_its_stream_alone() {
    only_its_own_stream(END_STREAM, &raw_h2::head("GET", "a.test", &[("Upper", "1")]));
}

/// The h2 crate ends the connection for a control byte in a value (RFC 9113, section 8.2.1: malformed).
#[test]
#[should_panic]
fn a_control_byte_ends_its_stream_alone() {
    only_its_own_stream(END_STREAM, &raw_h2::head("GET", "a.test", &[("x-a", "\u{1}")]));
}

/// The h2 crate drops pseudo-fields of trailers without a word (RFC 9113, section 8.1: malformed).
#[test]
#[should_panic]
fn pseudo_fields_in_trailers_are_refused() {
    let rig = Rig::new(1, &["--shards", "1"]);
    let mut client = Raw::connect(rig.http);
    client.send(frame(HEADERS, END_HEADERS, 1, &raw_h2::head("POST", "a.test", &[])));
    client.send(frame(DATA, 0, 1, b"abc"));
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &literal(":path", "/admin")));
    let frames = client.stream_of(1);
    let last = frames.last().expect("an answer");
    assert_eq!((last.kind, last.code()), (RST_STREAM, PROTOCOL_ERROR), "{frames:?}");
}

/// The h2 crate ends the connection for a control byte in a pod's field, and a POST beside it gets 502.
#[test]
#[should_panic]
fn a_control_byte_from_a_pod_ends_its_own_response_alone() {
    let pod = raw_h2::pod(|mut pod, _| {
        let mut streams = Vec::new();
        while let Some(asked) = pod.until(HEADERS) {
            streams.push(asked.stream);
            if let [first, second] = streams[..] {
                let bad = [OK, &literal("x-a", "\u{1}")].concat();
                pod.send(frame(HEADERS, END_HEADERS | END_STREAM, second, &bad));
                pod.send(frame(HEADERS, END_HEADERS | END_STREAM, first, OK));
            }
        }
    });
    let rig = before(pod, "", &["--shards", "1"]);
    let mut first = Raw::connect(rig.http);
    first.send(frame(HEADERS, END_HEADERS, 1, &raw_h2::head("POST", "h2.test", &[])));
    crate::rig::eventually("the pod has it", || {
        (rig.counter("upstream_connects_total") == 1).then_some(())
    });
    let mut second = rig.client();
    second.send("GET / HTTP/1.1\r\nHost: h2.test\r\n\r\n");
    let answer = first.stream_of(1);
    assert_eq!(
        answer.first().and_then(|frame| frame.payload.first()),
        Some(&OK[0]),
        "{answer:?}"
    );
}
