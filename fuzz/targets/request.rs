//! The reader of requests with the decoder behind it: whole, in pieces or byte by byte they find the same, a parser that reads
//! as strictly as RFC 9112 allows finds the same requests.

#![no_main]

#[path = "shared/strict.rs"]
mod strict;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use narthex::testing::http1::{Decoder, Fault, Limits, RequestHead, RequestReader};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    cuts: Vec<u8>,
    bytes: &'a [u8],
}

/// A request as it was read.
#[derive(Debug, Default, PartialEq)]
struct Message {
    line: Vec<u8>,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
    body: Vec<u8>,
    /// Whether all of its body was there.
    whole: bool,
}

#[derive(Debug, Default, PartialEq)]
struct Outcome {
    messages: Vec<Message>,
    fault: Option<Fault>,
}

fn read(bytes: &[u8], cuts: &[u8]) -> Outcome {
    let limits = Limits::default();
    let (mut reader, mut head) = (RequestReader::new(limits), RequestHead::default());
    let mut outcome = Outcome::default();
    let mut decoder: Option<Decoder> = None;
    let (mut taken, mut seen, mut cuts) = (0, 0, cuts.iter().cycle());
    while seen < bytes.len() {
        let piece = cuts.next().map_or(bytes.len(), |cut| usize::from(*cut) + 1);
        seen = (seen + piece).min(bytes.len());
        loop {
            let input = &bytes[taken..seen];
            let fault = if let Some(body) = &mut decoder {
                match body.next(input) {
                    Ok(part) => {
                        let message = outcome.messages.last_mut().expect("a head");
                        message.body.extend_from_slice(&input[part.framing..][..part.data]);
                        taken += part.framing + part.data;
                        message.whole = body.is_done();
                        if body.is_done() {
                            decoder = None;
                        } else if part.framing + part.data == 0 {
                            break;
                        }
                        continue;
                    }
                    Err(fault) => fault,
                }
            } else {
                match reader.read(input, &mut head) {
                    Ok(false) => break,
                    Ok(true) => {
                        let target = head.encoded.as_deref().unwrap_or(head.target.of(input));
                        let version: &[u8] = if head.version == 11 { b" HTTP/1.1" } else { b" HTTP/1.0" };
                        let lines = head.lines.iter();
                        outcome.messages.push(Message {
                            line: [head.method.of(input), b" ", target, version].concat(),
                            fields: lines
                                .map(|line| (line.name.of(input).into(), line.value.of(input).into()))
                                .collect(),
                            ..Message::default()
                        });
                        taken += head.length;
                        decoder = Some(Decoder::new(head.framing, &limits));
                        continue;
                    }
                    Err(fault) => fault,
                }
            };
            outcome.fault = Some(fault);
            return outcome;
        }
    }
    outcome
}

/// A request line with the bytes percent-encoded that a query may have and that are passed on so.
fn encoded(line: &[u8]) -> Vec<u8> {
    let bytes = line.iter().flat_map(|byte| match byte {
        b'"' => b"%22".to_vec(),
        b'<' => b"%3C".to_vec(),
        b'>' => b"%3E".to_vec(),
        other => vec![*other],
    });
    bytes.collect()
}

fuzz_target!(|input: Input<'_>| {
    let whole = read(input.bytes, &[]);
    assert_eq!(read(input.bytes, &input.cuts), whole, "pieces differ");
    assert_eq!(read(input.bytes, &[0]), whole, "single bytes differ");
    let mut rest = Some(input.bytes);
    for message in &whole.messages {
        let theirs = strict::next(rest.expect("another request")).expect("a head");
        assert_eq!(encoded(theirs.line), message.line);
        let ours = message
            .fields
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), &**value));
        assert!(ours.eq(theirs.fields.iter().map(|(name, value)| (name.clone(), *value))));
        assert_eq!(theirs.rest.is_some(), message.whole);
        rest = theirs.rest;
    }
});
