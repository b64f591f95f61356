//! The reader of responses with the decoder behind it: whole, in pieces or byte by byte they find the same, and httparse finds
//! the same in the head.

#![no_main]

#[path = "shared/pieces.rs"]
mod pieces;

use libfuzzer_sys::fuzz_target;
use narthex::testing::http1::{Decoder, Fault, Framing, ResponseHead, ResponseLimits, ResponseReader};

struct Input<'a> {
    is_head: bool,
    bytes: &'a [u8],
}

#[derive(Debug, Default, PartialEq)]
struct Outcome {
    /// The head, if all of it is there: version, status, framing and length.
    head: Option<(u8, u16, Framing, usize)>,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
    body: Vec<u8>,
    trailers: Vec<(Vec<u8>, Vec<u8>)>,
    done: bool,
    fault: Option<Fault>,
}

fn read(input: &Input<'_>, cuts: &[u8]) -> Outcome {
    let limits = ResponseLimits::new(64 << 10);
    let (mut reader, mut head) = (ResponseReader::new(limits), ResponseHead::default());
    let mut outcome = Outcome::default();
    let mut decoder: Option<Decoder> = None;
    let (mut taken, mut seen, mut cuts) = (0, 0, cuts.iter().cycle());
    while seen < input.bytes.len() && !outcome.done {
        let piece = cuts.next().map_or(input.bytes.len(), |cut| usize::from(*cut) + 1);
        seen = (seen + piece).min(input.bytes.len());
        loop {
            let bytes = &input.bytes[taken..seen];
            let fault = if let Some(body) = &mut decoder {
                match body.next(bytes) {
                    Ok(part) => {
                        outcome.body.extend_from_slice(&bytes[part.framing..][..part.data]);
                        taken += part.framing + part.data;
                        outcome.done = body.is_done();
                        if outcome.done {
                            let trailers = body.take_trailers().unwrap_or_default();
                            let fields = trailers.fields().map(|(name, value)| (name.into(), value.into()));
                            outcome.trailers = fields.collect();
                        }
                        if outcome.done || part.framing + part.data == 0 {
                            break;
                        }
                        continue;
                    }
                    Err(fault) => fault,
                }
            } else {
                match reader.read(bytes, &mut head, input.is_head) {
                    Ok(false) => break,
                    Ok(true) => {
                        outcome.head = Some((head.version, head.status, head.framing, head.length));
                        let lines = head.lines.iter();
                        let fields = lines.map(|line| (line.name.of(bytes).into(), line.value.of(bytes).into()));
                        outcome.fields = fields.collect();
                        taken += head.length;
                        decoder = Some(Decoder::of_response(head.framing, &limits));
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

fuzz_target!(|data: &[u8]| {
    let (data, cuts) = pieces::split(data);
    let Some((first, bytes)) = data.split_first() else {
        return;
    };
    let is_head = first & 1 == 1;
    let input = Input { is_head, bytes };
    let whole = read(&input, &[]);
    assert_eq!(read(&input, cuts), whole, "pieces differ");
    assert_eq!(read(&input, &[0]), whole, "single bytes differ");
    let Some((version, status, _, length)) = whole.head else {
        return;
    };
    let mut fields = [httparse::EMPTY_HEADER; 256];
    let mut response = httparse::Response::new(&mut fields);
    let mut config = httparse::ParserConfig::default();
    config.allow_spaces_after_header_name_in_responses(true);
    let parsed = config.parse_response(&mut response, input.bytes);
    assert_eq!(parsed, Ok(httparse::Status::Complete(length)));
    assert_eq!((response.version, response.code), (Some(version - 10), Some(status)));
    let theirs = response.headers.iter();
    let theirs: Vec<_> = theirs
        .map(|field| (field.name.as_bytes().to_vec(), field.value.to_vec()))
        .collect();
    assert_eq!(theirs, whole.fields);
});
