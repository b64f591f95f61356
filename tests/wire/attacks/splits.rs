//! The reader of requests alone, without a socket: each attack whole, byte by byte, and in every split into two.

use super::all;
use narthex::testing::http1::{Decoder, Fault, Limits, Position, RequestHead, RequestReader};

/// What the reader made of a connection's bytes.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    /// Methods, targets and fields.
    heads: Vec<Vec<String>>,
    bodies: Vec<String>,
    fault: Option<Fault>,
}

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let limits = Limits::default();
    let (mut reader, mut head) = (RequestReader::new(limits), RequestHead::default());
    let (mut outcome, mut input, mut body) = (Outcome::default(), Vec::new(), None::<Decoder>);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut step = |input: &mut Vec<u8>, outcome: &mut Outcome| -> Result<bool, Fault> {
        if let Some(decoder) = &mut body {
            let part = decoder.next(input)?;
            let data = input.drain(..part.framing + part.data).skip(part.framing);
            let data: Vec<u8> = data.collect();
            outcome.bodies.last_mut().unwrap().push_str(&text(&data));
            let is_done = decoder.is_done();
            if is_done {
                body = None;
            }
            return Ok(is_done || part.framing + part.data > 0);
        }
        if !reader.read(input, &mut head)? {
            return Ok(false);
        }
        let target = head.encoded.as_deref().unwrap_or(head.target.of(input));
        let mut parts = vec![text(head.method.of(input)), text(target)];
        for line in &head.lines {
            parts.extend([text(line.name.of(input)), text(line.value.of(input))]);
        }
        outcome.heads.push(parts);
        outcome.bodies.push(String::new());
        input.drain(..head.length);
        body = Some(Decoder::new(head.framing, &limits));
        Ok(true)
    };
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match step(&mut input, &mut outcome) {
                Ok(true) => {}
                Ok(false) => break,
                Err(fault) => {
                    outcome.fault = Some(fault);
                    return outcome;
                }
            }
        }
    }
    outcome
}

#[test]
fn the_reader_does_not_mind_how_hostile_bytes_are_split() {
    for (group, cases) in all() {
        for case in cases {
            let name = format!("{group}, row {}, {}", case.row, case.name);
            let bytes = case.pieces.concat();
            let whole = read([&*bytes]);
            assert_eq!(read(bytes.chunks(1)), whole, "{name}: byte by byte");
            // Every place in what is long would take minutes.
            for cut in (1..bytes.len()).step_by(1 + bytes.len() / 2048) {
                let (one, other) = bytes.split_at(cut);
                assert_eq!(read([one, other]), whole, "{name}: cut at {cut}");
            }
            let refused_with_400 = case.says.last() == Some(&400) && case.closes == Some(true);
            assert!(
                whole.fault.is_none() || refused_with_400 || case.says.iter().any(|status| *status > 400),
                "{name}"
            );
        }
    }
    assert_eq!(RequestReader::new(Limits::default()).position(), Position::Between);
}
