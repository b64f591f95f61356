//! What is right and does not come out so yet, and why. Each test is expected to fail; when it does not, its
//! `should_panic` goes.

use crate::raw_h2::{END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, frame, literal};
use crate::rig::Rig;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A query passes as it came. The h2 crate makes a URI of `:path` before anybody sees it, which has no `"`, `<` or `>`,
/// and resets the stream.
#[test]
#[should_panic(expected = "the pod is asked")]
fn raw_quotes_in_queries_pass_over_http2() {
    let rig = Rig::new(1, &[]);
    let mut stream = TcpStream::connect(rig.http).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    let mut head = vec![0x82, 0x86];
    head.extend(literal(":path", "/api/v1/query?query=up{job=\"x\"}"));
    head.extend(literal(":authority", "a.test"));
    let asks = frame(HEADERS, END_HEADERS | END_STREAM, 1, &head);
    stream
        .write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), &asks].concat())
        .unwrap();
    // Until the reset, or the end of the reply.
    let mut heard = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(count) = stream.read(&mut piece) {
        heard.extend_from_slice(&piece[..count]);
        if count == 0 || heard.len() > 60 {
            break;
        }
    }
    assert_eq!(rig.pod().requests().len(), 1, "the pod is asked");
}
