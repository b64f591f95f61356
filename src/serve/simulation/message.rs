//! Messages as clients and pods here write and read them. Every byte of a body says whose it is and where it stands.

use super::world::World;
use crate::upstream::simulated::End;
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// Bytes of a body that tell whose it is.
const BLOCK: usize = 16;

/// Bytes that are read at once.
const PIECE: usize = 8 << 10;

/// Whose body it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Of the request with this number.
    Request(usize),
    /// Of the answer with this number.
    Answer(usize),
}

impl Whose {
    /// A block of its body.
    fn block(self, place: usize) -> [u8; BLOCK] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let (letter, number) = match self {
            Self::Request(number) => (b'q', number),
            Self::Answer(number) => (b'p', number),
        };
        let mut block = [b'\n'; BLOCK];
        block[0] = letter;
        for digit in 0..7 {
            block[1 + digit] = DIGITS[(number >> (4 * (6 - digit))) & 15];
            block[8 + digit] = DIGITS[(place >> (4 * (6 - digit))) & 15];
        }
        block
    }

    /// A body of this length.
    fn bytes(self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + BLOCK);
        for place in 0..length.div_ceil(BLOCK) {
            bytes.extend_from_slice(&self.block(place));
        }
        bytes.truncate(length);
        bytes
    }

    /// Whether these are bytes of its body from there on.
    fn has(self, mut at: usize, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let block = self.block(at / BLOCK);
            let rest = &block[at % BLOCK..];
            let count = rest.len().min(bytes.len());
            if bytes[..count] != rest[..count] {
                return false;
            }
            bytes = &bytes[count..];
            at += count;
        }
        true
    }
}

/// How a body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Empty,
    Length(usize),
    Chunked,
    UntilClose,
}

/// A body that is to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Body {
    pub length: usize,
    pub framing: Framing,
    pub trailers: bool,
}

impl Body {
    /// The fields that say how it is framed.
    pub fn fields(&self) -> String {
        match self.framing {
            Framing::Length(length) => format!("content-length: {length}\r\n"),
            Framing::Chunked if self.trailers => "transfer-encoding: chunked\r\ntrailer: x-sum\r\n".to_owned(),
            Framing::Chunked => "transfer-encoding: chunked\r\n".to_owned(),
            Framing::Empty | Framing::UntilClose => String::new(),
        }
    }

    /// Its bytes, framed.
    pub fn bytes(&self, whose: Whose, world: &World) -> Vec<u8> {
        let bytes = whose.bytes(self.length);
        if self.framing != Framing::Chunked {
            return bytes;
        }
        let mut out = Vec::with_capacity(bytes.len() + 64);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let most = if world.chance(1, 8) {
                rest.len().min(3)
            } else {
                rest.len()
            };
            let count = 1 + world.below(most);
            let extension = if world.chance(1, 10) { ";x=y" } else { "" };
            out.extend_from_slice(format!("{count:x}{extension}\r\n").as_bytes());
            out.extend_from_slice(&rest[..count]);
            out.extend_from_slice(b"\r\n");
            rest = &rest[count..];
        }
        out.extend_from_slice(b"0\r\n");
        if self.trailers {
            out.extend_from_slice(format!("x-sum: {}\r\n", sum(whose)).as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out
    }
}

/// What a trailer says.
pub fn sum(whose: Whose) -> String {
    format!("{whose:?}")
}

/// A head that was read.
#[derive(Debug)]
pub struct Head {
    /// Its first line, by words.
    pub line: Vec<String>,
    fields: Vec<(String, String)>,
}

impl Head {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut lines = text.strip_suffix("\r\n\r\n")?.split("\r\n");
        let line = lines.next()?.splitn(3, ' ').map(str::to_owned).collect();
        let fields = lines.map(|line| {
            let (name, value) = line.split_once(": ")?;
            Some((name.to_ascii_lowercase(), value.to_owned()))
        });
        let fields = fields.collect::<Option<_>>()?;
        Some(Self { line, fields })
    }

    /// The only value of a field, if it is there.
    ///
    /// # Errors
    /// If there are several.
    pub fn get(&self, name: &str) -> Result<Option<&str>, String> {
        let mut values = self.fields.iter().filter(|(known, _)| known == name);
        let first = values.next().map(|(_, value)| &**value);
        match values.next() {
            None => Ok(first),
            Some(_) => Err(format!("several fields {name}")),
        }
    }

    /// The number that a field holds.
    ///
    /// # Errors
    /// If there are several, or it is no number.
    pub fn number(&self, name: &str) -> Result<Option<usize>, String> {
        let value = self.get(name)?;
        value
            .map(|value| value.parse().map_err(|_| format!("{name}: {value}")))
            .transpose()
    }

    /// How the body is framed; absent where nothing says so.
    ///
    /// # Errors
    /// If the fields are wrong.
    pub fn framing(&self) -> Result<Option<Framing>, String> {
        match (self.get("transfer-encoding")?, self.number("content-length")?) {
            (None, None) => Ok(None),
            (Some("chunked"), None) => Ok(Some(Framing::Chunked)),
            (None, Some(0)) => Ok(Some(Framing::Empty)),
            (None, Some(length)) => Ok(Some(Framing::Length(length))),
            (coding, length) => Err(format!("transfer-encoding {coding:?} and content-length {length:?}")),
        }
    }

    /// Whether it says that the connection ends.
    pub fn closes(&self) -> bool {
        self.fields
            .iter()
            .any(|(name, value)| name == "connection" && value == "close")
    }
}

/// What came of reading.
#[derive(Debug)]
pub enum Stop {
    /// The connection ended, before the message or in it; by a reset or in order.
    End { inside: bool, reset: bool },
    /// What came is wrong.
    Wrong(String),
}

/// A body that was read to its end.
#[derive(Debug)]
pub struct Read {
    pub length: usize,
    pub trailer: Option<String>,
}

/// Reads messages from a connection.
pub struct Reader {
    end: Rc<End>,
    bytes: Vec<u8>,
    /// Where bytes are read, since whoever reads may be interrupted.
    scratch: Vec<u8>,
    /// How many reads are slow, how many bytes each of these takes, and the pause before.
    pub slow: usize,
    pub piece: usize,
    pub pause: Duration,
}

impl Reader {
    /// One that reads as fast as it can.
    pub fn new(end: Rc<End>) -> Self {
        Self {
            end,
            bytes: Vec::new(),
            scratch: vec![0; PIECE],
            slow: 0,
            piece: 0,
            pause: Duration::ZERO,
        }
    }

    /// Whether something was read that is not part of a message yet.
    pub fn has_begun(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// Reads more. False at the end.
    async fn fill(&mut self) -> io::Result<bool> {
        let mut piece = PIECE;
        if self.slow > 0 {
            self.slow -= 1;
            piece = self.piece;
            tokio::time::sleep(self.pause).await;
        }
        let read = self.end.take(&mut self.scratch[..piece]).await?;
        self.bytes.extend_from_slice(&self.scratch[..read]);
        Ok(read > 0)
    }

    /// Reads all that comes, without looking at it.
    pub async fn skip_all(&mut self) {
        while self.fill().await.is_ok_and(|more| more) {}
        self.bytes.clear();
    }

    /// Reads bytes that nobody looks at.
    ///
    /// # Errors
    /// If the connection ends in them.
    pub async fn skip(&mut self, length: usize) -> Result<(), Stop> {
        while self.bytes.len() < length {
            self.more(true).await?;
        }
        self.bytes.drain(..length);
        Ok(())
    }

    async fn more(&mut self, inside: bool) -> Result<(), Stop> {
        match self.fill().await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Stop::End { inside, reset: false }),
            Err(_) => Err(Stop::End { inside, reset: true }),
        }
    }

    /// The next head.
    ///
    /// # Errors
    /// The connection ended, or the bytes are not a head.
    pub async fn head(&mut self) -> Result<Head, Stop> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.bytes, b"\r\n\r\n") {
                let head: Vec<u8> = self.bytes.drain(..at + 4).collect();
                return Head::parse(&head).ok_or_else(|| wrong("a head", &head));
            }
            let begun = self.has_begun();
            self.more(begun).await?;
        }
    }

    /// The line that comes next, without its end.
    async fn line(&mut self) -> Result<String, Stop> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.bytes, b"\r\n") {
                let line: Vec<u8> = self.bytes.drain(..at + 2).collect();
                return String::from_utf8(line[..at].to_vec()).map_err(|_| wrong("a line", &line));
            }
            self.more(true).await?;
        }
    }

    /// Reads a piece of a body that goes on for `left` bytes, as much as there is. How much that is.
    async fn piece(&mut self, left: usize, at: usize, whose: Whose) -> Result<usize, Stop> {
        if self.bytes.is_empty() {
            self.more(true).await?;
        }
        let count = self.bytes.len().min(left);
        if !whose.has(at, &self.bytes[..count]) {
            return Err(wrong(
                &format!("byte {at} of the body of {whose:?}"),
                &self.bytes[..count],
            ));
        }
        self.bytes.drain(..count);
        Ok(count)
    }

    /// Reads a body and checks each byte. `at` counts the bytes.
    ///
    /// # Errors
    /// If the connection ends in it, or it is another's.
    pub async fn body(&mut self, framing: Framing, whose: Whose, at: &mut usize) -> Result<Read, Stop> {
        let mut trailer = None;
        match framing {
            Framing::Empty => {}
            Framing::Length(length) => {
                while *at < length {
                    *at += self.piece(length - *at, *at, whose).await?;
                }
            }
            Framing::Chunked => loop {
                let line = self.line().await?;
                let size = line.split(';').next().unwrap_or_default();
                let size = usize::from_str_radix(size, 16).map_err(|_| wrong("a chunk's line", line.as_bytes()))?;
                if size == 0 {
                    loop {
                        let line = self.line().await?;
                        match line.split_once(": ") {
                            Some((name, value)) if name.eq_ignore_ascii_case("x-sum") => {
                                trailer = Some(value.to_owned())
                            }
                            None if line.is_empty() => break,
                            _ => return Err(wrong("a trailer", line.as_bytes())),
                        }
                    }
                    break;
                }
                let mut left = size;
                while left > 0 {
                    let count = self.piece(left, *at, whose).await?;
                    (*at, left) = (*at + count, left - count);
                }
                if !self.line().await?.is_empty() {
                    return Err(wrong("the end of a chunk", b""));
                }
            },
            Framing::UntilClose => loop {
                match self.piece(usize::MAX, *at, whose).await {
                    Ok(count) => *at += count,
                    Err(Stop::End { reset: false, .. }) => break,
                    Err(stop) => return Err(stop),
                }
            },
        }
        if trailer.as_ref().is_some_and(|trailer| *trailer != sum(whose)) {
            return Err(wrong("a trailer", trailer.unwrap_or_default().as_bytes()));
        }
        Ok(Read { length: *at, trailer })
    }
}

fn wrong(what: &str, bytes: &[u8]) -> Stop {
    let bytes = bytes.get(..200).unwrap_or(bytes);
    Stop::Wrong(format!("no {what}: \"{}\"", bytes.escape_ascii()))
}
