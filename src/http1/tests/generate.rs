//! Random requests, and what breaks them.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

pub fn target() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "/[!$-;=@-_a-z|~\"{}]{0,40}(\\?[!$-;=?-_`a-~]{0,20})?"
            .prop_map(|target| target.replace('\\', "")),
        1 => "(http|HTTPS)://([a-z0-9.-]{1,10}|\\[[0-9a-f:.]{0,8}\\])(:[0-9]{0,5})?(/[a-z?]{0,5}|\\?[a-z?/]{0,5})?",
    ]
}

pub fn request_line() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => (select(vec!["GET", "POST", "HEAD", "DELETE", "PUT", "OPTIONS"]), target())
            .prop_map(|(method, target)| format!("{method} {target} HTTP/1.1")),
        2 => ("[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}", target())
            .prop_filter("a target form of its own", |(method, _)| method != "CONNECT")
            .prop_map(|(method, target)| format!("{method} {target} HTTP/1.1")),
        1 => Just("OPTIONS * HTTP/1.1".to_owned()),
        1 => "CONNECT ([a-z0-9.-]{1,10}|\\[[0-9a-f:.]{0,8}\\]):[0-9]{1,5} HTTP/1\\.1",
        1 => target().prop_map(|target| format!("GET {target} HTTP/1.0")),
    ]
}

/// A field line that has no part in framing.
pub fn field() -> impl Strategy<Value = Vec<u8>> {
    let value = vec(
        prop_oneof![8 => 0x20u8..0x7f, 1 => Just(b'\t'), 1 => 0x80u8..=0xff],
        0..60,
    );
    prop_oneof![
        4 => ("X-[!#$%&'*+.^_`|~0-9A-Za-z-]{0,30}", value)
            .prop_map(|(name, value)| [name.as_bytes(), b":", &value, b"\r\n"].concat()),
        1 => select(vec![
            "Expect: 100-continue\r\n",
            "Upgrade: websocket\r\n",
            "Connection: upgrade\r\n",
            "TE: trailers\r\n",
            "Trailer: x\r\n",
        ])
        .prop_map(|line| line.as_bytes().to_vec()),
    ]
}

/// Framing fields and a body to go with them.
pub fn body() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let extension = "([ \t]{0,2};[ \t]{0,2}[a-zA-Z!~]{1,6}([ \t]{0,2}=[ \t]{0,2}([a-z0-9!]{1,6}|\"([ -!#-\\[\\]-~\t]|\\\\[\t -~]){0,8}\"))?){0,2}";
    let chunk = (vec(any::<u8>(), 1..40), "0{0,5}", any::<bool>(), extension);
    let trailer = ("X-[a-z]{1,9}", "[ -~\t]{0,20}");
    prop_oneof![
        3 => Just((Vec::new(), Vec::new())),
        2 => (vec(any::<u8>(), 0..80), "[cC]ontent-Length: {0,2}0{0,3}").prop_map(|(body, name)| {
            (format!("{name}{}\r\n", body.len()).into_bytes(), body)
        }),
        3 => (vec(chunk, 0..4), extension, vec(trailer, 0..4)).prop_map(|(chunks, last, trailers)| {
            let mut body = Vec::new();
            for (data, zeros, upper, extension) in chunks {
                let size = if upper {
                    format!("{zeros}{:X}{extension}\r\n", data.len())
                } else {
                    format!("{zeros}{:x}{extension}\r\n", data.len())
                };
                body.extend_from_slice(size.as_bytes());
                body.extend_from_slice(&data);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(format!("0{last}\r\n").as_bytes());
            for (name, value) in trailers {
                body.extend_from_slice(format!("{name}:{value}\r\n").as_bytes());
            }
            body.extend_from_slice(b"\r\n");
            (b"Transfer-encoding: \tChunked \r\n".to_vec(), body)
        }),
    ]
}

/// One valid message after which hyper keeps the connection.
pub fn message() -> impl Strategy<Value = Vec<u8>> {
    (0..3usize, request_line(), vec(field(), 0..6), body(), any::<Index>()).prop_map(
        |(empty, line, mut fields, (framing, body), place)| {
            let old = line.ends_with("1.0");
            let framing = match framing.starts_with(b"T") && old {
                true => b"Content-Length: 0\r\n".to_vec(),
                false => framing,
            };
            let body = if old && framing.ends_with(b": 0\r\n") {
                Vec::new()
            } else {
                body
            };
            fields.insert(place.index(fields.len() + 1), framing);
            fields.insert(place.index(fields.len() + 1), b"Host: example.com\r\n".to_vec());
            if old {
                fields.push(b"Connection: keep-alive\r\n".to_vec());
            }
            let mut message = b"\r\n".repeat(empty);
            message.extend_from_slice(line.as_bytes());
            message.extend_from_slice(b"\r\n");
            message.extend_from_slice(&fields.concat());
            message.extend_from_slice(b"\r\n");
            message.extend_from_slice(&body);
            message
        },
    )
}

pub fn pipeline() -> impl Strategy<Value = Vec<Vec<u8>>> {
    vec(message(), 1..6)
}

#[derive(Debug, Clone)]
pub enum Mutation {
    Replace(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index),
    Cut(Index),
}

/// Words that mean something in a request.
const WORDS: &[&str] = &[
    "\r\n",
    "\r\n\r\n",
    "\n\n",
    "Content-Length: 3\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Host: b\r\n",
    "0\r\n",
    "0\r\n\r\n",
    "GET / HTTP/1.1\r\n",
    " HTTP/1.0",
    "1;a=b\r\n",
    "http://",
    "Connection: close\r\n",
];

pub fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    mutations_of(WORDS)
}

/// Mutations that may insert one of these words.
pub fn mutations_of(words: &'static [&'static str]) -> impl Strategy<Value = Vec<Mutation>> {
    let odd = || select(b"\r\n\0\t :;,=\"\\/0159afx?#*[]@%\x7f\x80<`".to_vec());
    let words = select(words);
    let mutation = prop_oneof![
        6 => (any::<Index>(), odd()).prop_map(|(at, b)| Mutation::Replace(at, b)),
        3 => (any::<Index>(), odd()).prop_map(|(at, b)| Mutation::Insert(at, vec![b])),
        2 => (any::<Index>(), words).prop_map(|(at, s)| Mutation::Insert(at, s.into())),
        3 => any::<Index>().prop_map(Mutation::Remove),
        1 => any::<Index>().prop_map(Mutation::Cut),
    ];
    vec(mutation, 1..4)
}

pub fn mutate(mut bytes: Vec<u8>, mutations: &[Mutation]) -> Vec<u8> {
    for mutation in mutations {
        if bytes.is_empty() {
            break;
        }
        match mutation {
            Mutation::Replace(at, b) => {
                let at = at.index(bytes.len());
                bytes[at] = *b;
            }
            Mutation::Insert(at, new) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, new.iter().copied());
            }
            Mutation::Remove(at) => {
                bytes.remove(at.index(bytes.len()));
            }
            Mutation::Cut(at) => bytes.truncate(at.index(bytes.len())),
        }
    }
    bytes
}

/// Cuts `bytes` at the given places.
pub fn pieces<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    cuts.sort_unstable();
    let mut rest = bytes;
    let mut pieces = Vec::new();
    for cut in cuts.into_iter().rev() {
        let (left, piece) = rest.split_at(cut);
        pieces.push(piece);
        rest = left;
    }
    pieces.push(rest);
    pieces.reverse();
    pieces
}

/// Few enough to be quick, unless the environment asks for more.
pub fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").map_or(96, |n| n.parse().unwrap())
}
