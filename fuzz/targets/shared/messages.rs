//! Requests as narthex's reader and decoder read them.

use narthex::testing::http1::{Decoder, Fault, Limits, RequestHead, RequestReader};

type Field = (Vec<u8>, Vec<u8>);

/// A request as it was read.
#[derive(Debug, Default, PartialEq)]
pub struct Message {
    /// Method, target and version.
    pub line: Vec<u8>,
    pub fields: Vec<Field>,
    pub body: Vec<u8>,
    pub trailers: Vec<Field>,
    /// Whether all of its body was there.
    pub whole: bool,
}

/// What came of a connection's bytes.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    pub messages: Vec<Message>,
    pub fault: Option<Fault>,
}

/// Reads bytes that come in pieces of these sizes, over and over; whole if there are no sizes.
pub fn read(bytes: &[u8], cuts: &[u8]) -> Outcome {
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
                            let trailers = body.take_trailers().unwrap_or_default();
                            let fields = trailers.fields().map(|(name, value)| (name.into(), value.into()));
                            message.trailers = fields.collect();
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
