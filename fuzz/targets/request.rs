//! The reader of requests with the decoder behind it: whole, in pieces or byte by byte they find the same, and a parser that
//! reads as strictly as RFC 9112 allows finds the same requests.

#![no_main]

#[path = "shared/messages.rs"]
mod messages;
#[path = "shared/pieces.rs"]
mod pieces;
#[path = "shared/strict.rs"]
mod strict;

use libfuzzer_sys::fuzz_target;

/// A request line with the bytes percent-encoded that its query may have and that are passed on so.
fn encoded(line: &[u8]) -> Vec<u8> {
    let query = line.iter().position(|byte| *byte == b'?').unwrap_or(line.len());
    let bytes = line.iter().enumerate().flat_map(|(at, byte)| match byte {
        b'"' if at > query => b"%22".to_vec(),
        b'<' => b"%3C".to_vec(),
        b'>' => b"%3E".to_vec(),
        other => vec![*other],
    });
    bytes.collect()
}

fn owned(fields: &[strict::Field<'_>]) -> Vec<(Vec<u8>, Vec<u8>)> {
    fields
        .iter()
        .map(|(name, value)| (name.to_vec(), value.to_vec()))
        .collect()
}

fuzz_target!(|data: &[u8]| {
    let (bytes, cuts) = pieces::split(data);
    let whole = messages::read(bytes, &[]);
    assert_eq!(messages::read(bytes, cuts), whole, "pieces differ");
    assert_eq!(messages::read(bytes, &[0]), whole, "single bytes differ");
    let (mut rest, mut left) = (Some(bytes), whole.messages.len());
    for message in &whole.messages {
        left -= 1;
        // What is behind the fault is nobody's business.
        if left == 0 && !message.whole && whole.fault.is_some() {
            return;
        }
        let theirs = strict::next(rest.expect("another request")).expect("a head");
        assert_eq!(encoded(theirs.line), message.line);
        assert_eq!(owned(&theirs.fields), message.fields);
        assert_eq!(theirs.body, message.body);
        assert_eq!(theirs.rest.is_some(), message.whole);
        if message.whole {
            assert_eq!(owned(&theirs.trailers), message.trailers);
        }
        rest = theirs.rest;
    }
});
