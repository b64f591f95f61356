//! Every request is read whole, cut in two at every place, and byte by byte.

pub(crate) mod generate;
pub(crate) mod hyper;

mod properties;
mod repeated;
mod requests;
mod responses;

use super::*;

/// A request as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    pub method: Vec<u8>,
    /// As it is passed on.
    pub target: Vec<u8>,
    pub version: u8,
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    pub framing: Framing,
    /// The bytes of the head.
    pub head: Vec<u8>,
    /// The data of the body.
    pub body: Vec<u8>,
    pub trailers: Option<Trailers>,
    /// The offset behind it, when it came to its end.
    pub end: Option<usize>,
    /// Whether something of its target was encoded.
    pub was_encoded: bool,
}

/// A connection's input as its task reads it.
pub(crate) struct Connection {
    limits: Limits,
    reader: RequestReader,
    decoder: Option<Decoder>,
    head: RequestHead,
    buffer: Vec<u8>,
    /// Bytes that were taken out of the buffer.
    taken: usize,
    pub messages: Vec<Message>,
    pub fault: Option<Fault>,
}

impl Connection {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            reader: RequestReader::new(limits),
            decoder: None,
            head: RequestHead::default(),
            buffer: Vec::new(),
            taken: 0,
            messages: Vec::new(),
            fault: None,
        }
    }

    pub fn position(&self) -> Position {
        match self.decoder {
            Some(_) => Position::Body,
            None => self.reader.position(),
        }
    }

    fn take(&mut self, bytes: usize) -> Vec<u8> {
        self.taken += bytes;
        self.buffer.drain(..bytes).collect()
    }

    /// Reads as much of `piece` as there is a use for: all, unless there is a fault.
    pub fn read(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
        if let Err(fault) = self.read_buffer() {
            assert_eq!(self.read_buffer(), Err(fault), "a fault stays");
            self.fault = Some(fault);
        }
    }

    fn read_buffer(&mut self) -> Result<(), Fault> {
        loop {
            if let Some(decoder) = &mut self.decoder {
                let part = decoder.next(&self.buffer)?;
                let is_done = decoder.is_done();
                let mut bytes = self.take(part.framing + part.data);
                let message = self.messages.last_mut().unwrap();
                message.body.extend(bytes.drain(part.framing..));
                if is_done {
                    message.end = Some(self.taken);
                    message.trailers = self.decoder.take().and_then(|mut decoder| decoder.take_trailers());
                } else if part == Part::default() {
                    return Ok(());
                }
            } else {
                if !self.reader.read(&self.buffer, &mut self.head)? {
                    return Ok(());
                }
                let bytes = self.take(self.head.length);
                let head = &self.head;
                let decoder = Decoder::new(head.framing, &self.limits);
                let fields = head.lines.iter().map(|line| {
                    assert_eq!(line.known, Name::of(line.name.of(&bytes)));
                    (line.name.of(&bytes).to_vec(), line.value.of(&bytes).to_vec())
                });
                self.messages.push(Message {
                    method: head.method.of(&bytes).to_vec(),
                    target: head.encoded.as_deref().unwrap_or(head.target.of(&bytes)).to_vec(),
                    version: head.version,
                    fields: fields.collect(),
                    framing: head.framing,
                    was_encoded: head.encoded.is_some(),
                    end: decoder.is_done().then_some(self.taken),
                    head: bytes,
                    ..Message::default()
                });
                self.decoder = Some(decoder).filter(|decoder| !decoder.is_done());
            }
        }
    }
}

/// What became of a whole input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub messages: Vec<Message>,
    pub fault: Option<Fault>,
    pub position: Position,
}

/// Feeds the pieces as a connection's task would: nothing after a fault.
pub(crate) fn feed<'a>(limits: Limits, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut connection = Connection::new(limits);
    for piece in pieces {
        connection.read(piece);
        if connection.fault.is_some() {
            break;
        }
    }
    Outcome {
        position: connection.position(),
        fault: connection.fault,
        messages: connection.messages,
    }
}

/// How many bytes come before the one that is refused.
pub(crate) fn accepted(limits: Limits, input: &[u8]) -> usize {
    let mut connection = Connection::new(limits);
    let is_refused = |byte| {
        connection.read(std::slice::from_ref(byte));
        connection.fault.is_some()
    };
    input.iter().position(is_refused).unwrap_or(input.len())
}

fn check_splits(name: &str, limits: Limits, input: &[u8]) -> Outcome {
    let whole = feed(limits, [input]);
    for cut in 1..input.len() {
        let (a, b) = input.split_at(cut);
        assert_eq!(feed(limits, [a, b]), whole, "{name}, cut at {cut}");
    }
    assert_eq!(feed(limits, input.chunks(1)), whole, "{name}, byte-wise");
    whole
}

#[track_caller]
fn good_with(limits: Limits, name: &str, messages: &[&[u8]]) -> Vec<Message> {
    let input = messages.concat();
    let outcome = check_splits(name, limits, &input);
    assert_eq!(outcome.fault, None, "{name}");
    assert_eq!(outcome.position, Position::Between, "{name}");
    let mut end = 0;
    let ends = messages.iter().map(|message| {
        end += message.len();
        Some(end)
    });
    let ends: Vec<_> = ends.collect();
    let seen: Vec<_> = outcome.messages.iter().map(|message| message.end).collect();
    assert_eq!(seen, ends, "{name}");
    outcome.messages
}

#[track_caller]
fn bad_with(limits: Limits, name: &str, before: &[u8], refused: &[u8], fault: Fault) {
    let input = [before, refused].concat();
    let outcome = check_splits(name, limits, &input);
    assert_eq!(outcome.fault, Some(fault), "{name}");
    let accepted = accepted(limits, &input);
    // A head that has all the bytes it may have and does not end is refused with the last of them.
    let is_full = fault == Fault::HeadTooLong && accepted + 1 == before.len();
    // Of another version it is certain that it is refused before it is known how.
    let is_version = before.windows(5).any(|five| five == b"HTTP/") && accepted > before.len();
    assert!(accepted == before.len() || is_full || is_version, "{name}: {accepted}");
}

#[track_caller]
fn good(name: &str, messages: &[&[u8]]) -> Vec<Message> {
    good_with(Limits::default(), name, messages)
}

#[track_caller]
fn bad(name: &str, before: &[u8], refused: &[u8], fault: Fault) {
    bad_with(Limits::default(), name, before, refused, fault);
}

/// A good head with `fields`, each with its CRLF.
fn head(fields: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes()
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
