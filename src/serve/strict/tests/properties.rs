//! Properties over random messages, and agreement with hyper.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::{Request, Response, Version};
use hyper_util::rt::TokioIo;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Seen, feed, follow};
use crate::serve::strict::{Fault, Framer, Limits, Position};

fn target() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "/[!$-;=@-_a-z|~\"{}]{0,40}(\\?[!$-;=?-_`a-~]{0,20})?"
            .prop_map(|target| target.replace('\\', "")),
        1 => "(http|HTTPS)://([a-z0-9.-]{1,10}|\\[[0-9a-f:.]{0,8}\\])(:[0-9]{0,5})?(/[a-z?]{0,5}|\\?[a-z?/]{0,5})?",
    ]
}

fn request_line() -> impl Strategy<Value = String> {
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
fn field() -> impl Strategy<Value = Vec<u8>> {
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
fn body() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
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
fn message() -> impl Strategy<Value = Vec<u8>> {
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

fn pipeline() -> impl Strategy<Value = Vec<Vec<u8>>> {
    vec(message(), 1..6)
}

#[derive(Debug, Clone)]
enum Mutation {
    Replace(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index),
    Cut(Index),
}

fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    let odd = || select(b"\r\n\0\t :;,=\"\\/0159afx?#*[]@%\x7f\x80<`".to_vec());
    let words = select(vec![
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
    ]);
    let mutation = prop_oneof![
        6 => (any::<Index>(), odd()).prop_map(|(at, b)| Mutation::Replace(at, b)),
        3 => (any::<Index>(), odd()).prop_map(|(at, b)| Mutation::Insert(at, vec![b])),
        2 => (any::<Index>(), words).prop_map(|(at, s)| Mutation::Insert(at, s.into())),
        3 => any::<Index>().prop_map(Mutation::Remove),
        1 => any::<Index>().prop_map(Mutation::Cut),
    ];
    vec(mutation, 1..4)
}

fn mutate(mut bytes: Vec<u8>, mutations: &[Mutation]) -> Vec<u8> {
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
fn pieces<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
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

/// What hyper made of a connection.
#[derive(Debug, Default)]
struct Heard {
    /// Body bytes, and whether the body came to its end.
    requests: Vec<(u64, bool)>,
    /// Whether a request was the last of its connection by its own words.
    closed: bool,
    replies: Vec<u8>,
}

async fn hear(request: Request<Incoming>, heard: Arc<Mutex<Heard>>) -> Result<Response<Empty<Bytes>>, Infallible> {
    let has = |word: &str| {
        let values = request.headers().get_all(hyper::header::CONNECTION);
        values.iter().any(|value| {
            let value = value.to_str().unwrap_or_default();
            value.split(',').any(|item| item.trim().eq_ignore_ascii_case(word))
        })
    };
    let closes = has("close") || request.version() == Version::HTTP_10 && !has("keep-alive");
    let at = {
        let mut heard = heard.lock().unwrap();
        heard.closed |= closes;
        heard.requests.push((0, false));
        heard.requests.len() - 1
    };
    let mut response = Response::new(Empty::new());
    if request.method() == hyper::Method::CONNECT {
        *response.status_mut() = hyper::StatusCode::METHOD_NOT_ALLOWED;
    }
    let mut body = request.into_body();
    loop {
        let frame = body.frame().await;
        let mut heard = heard.lock().unwrap();
        let (bytes, complete) = &mut heard.requests[at];
        match frame {
            Some(Ok(frame)) => {
                *bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
            }
            Some(Err(_)) => break,
            None => {
                *complete = true;
                break;
            }
        }
    }
    Ok(response)
}

/// Feeds the pieces to a hyper server, followed by the end of the stream.
fn hyper_hears(pieces: &[&[u8]]) -> Heard {
    let heard = Arc::new(Mutex::new(Heard::default()));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let replies = runtime.block_on(async {
        let (client, server) = tokio::io::duplex(1 << 20);
        let shared = Arc::clone(&heard);
        let service = hyper::service::service_fn(move |request| hear(request, Arc::clone(&shared)));
        let serve = hyper::server::conn::http1::Builder::new()
            .half_close(true)
            .serve_connection(TokioIo::new(server), service);
        let (mut reader, mut writer) = tokio::io::split(client);
        let write = async {
            for piece in pieces {
                // hyper may close early, after a message that says so.
                if writer.write_all(piece).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            let _ = writer.shutdown().await;
        };
        let read = async {
            let mut replies = Vec::new();
            let _ = reader.read_to_end(&mut replies).await;
            replies
        };
        let ((), _, replies) = tokio::join!(write, serve, read);
        replies
    });
    let mut heard = std::mem::take(&mut *heard.lock().unwrap());
    heard.replies = replies;
    heard
}

fn count(haystack: &[u8], needle: &[u8]) -> usize {
    memchr::memmem::find_iter(haystack, needle).count()
}

/// Holds what hyper makes of the accepted bytes against what we did.
pub(super) fn agree(input: &[u8], cuts: &[Index]) -> Result<(), TestCaseError> {
    agree_with(Limits::default(), input, cuts)
}

fn agree_with(limits: Limits, input: &[u8], cuts: &[Index]) -> Result<(), TestCaseError> {
    let accepted = &*feed(limits, [input]).passed;
    let seen = follow(limits, accepted);
    let heard = hyper_hears(&pieces(accepted, cuts));
    let shown = accepted.escape_ascii().to_string();
    let ours: Vec<_> = seen.iter().map(|Seen { body, end }| (*body, end.is_some())).collect();
    if heard.closed {
        prop_assert!(ours.starts_with(&heard.requests), "{:?}\n{}", heard, shown);
    } else {
        prop_assert_eq!(&heard.requests, &ours, "{}", shown);
    }
    // The service has but two answers; any other is hyper's own.
    let replies = count(&heard.replies, b"HTTP/1.") - count(&heard.replies, b" 100 Continue\r\n");
    let known = count(&heard.replies, b" 200 OK\r\n") + count(&heard.replies, b" 405 Method Not Allowed\r\n");
    prop_assert_eq!(replies, known, "{}", shown);
    Ok(())
}

/// hyper takes all that the loosest limits let through, and a byte more is a
/// fault of ours.
#[test]
fn limits_are_within_those_of_hyper() {
    let limits = Limits {
        head_bytes: usize::MAX,
        uri_bytes: usize::MAX,
        header_count: 100,
        chunk_ext_bytes: usize::MAX,
        trailer_bytes: usize::MAX,
    };
    let get = |path: usize, name: usize, fields: usize| {
        let path = "p".repeat(path);
        let fields = "f:\r\n".repeat(fields);
        let name = "n".repeat(name);
        format!("\r\n\r\nGET /{path} HTTP/1.1\r\nHost: a\r\n{fields}{name}:\r\n\r\n")
    };
    let chunked = |extension: usize, trailer: usize, trailers: usize| {
        let extension = "e".repeat(extension);
        let trailers = "t:\r\n".repeat(trailers);
        let trailer = "T".repeat(trailer);
        format!(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
             0;{extension}\r\n{trailers}{trailer}:\r\n\r\n"
        )
    };
    let head = 65535 - (get(0, 0, 0).len() - 4);
    let cases = [
        (get(0, head, 0), get(0, head + 1, 0), Fault::HeadTooLong),
        (get(0, 1, 98), get(0, 1, 99), Fault::TooManyFields),
        (
            chunked(16382, 1, 0),
            chunked(16383, 1, 0),
            Fault::ChunkExtensionsTooLong,
        ),
        (chunked(1, 16378, 0), chunked(1, 16379, 0), Fault::TrailersTooLong),
        (chunked(1, 1, 99), chunked(1, 1, 100), Fault::TooManyFields),
    ];
    for (within, beyond, fault) in cases {
        for input in [&within, &beyond] {
            agree_with(limits, input.as_bytes(), &[]).unwrap();
        }
        let good = feed(limits, [within.repeat(2).as_bytes()]);
        assert_eq!((good.fault, good.heads), (None, 2), "{fault}");
        assert_eq!(feed(limits, [beyond.as_bytes()]).fault, Some(fault));
    }
    let limits = Limits {
        uri_bytes: 5000,
        ..limits
    };
    agree_with(limits, get(4999, 1, 0).as_bytes(), &[]).unwrap();
    agree_with(limits, get(5000, 1, 0).as_bytes(), &[]).unwrap();
}

/// Few enough to be quick, unless the environment asks for more.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").map_or(96, |n| n.parse().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases()) })]

    #[test]
    fn valid_pipelines_pass(messages in pipeline(), cuts in vec(any::<Index>(), 0..12)) {
        let input = messages.concat();
        let whole = feed(Limits::default(), [&input[..]]);
        prop_assert_eq!(whole.fault, None, "{}", input.escape_ascii());
        prop_assert_eq!(whole.heads as usize, messages.len());
        prop_assert_eq!(whole.position, Position::Between);
        prop_assert_eq!(&feed(Limits::default(), pieces(&input, &cuts)), &whole);
        prop_assert_eq!(&feed(Limits::default(), input.chunks(1)), &whole);
        let mut end = 0;
        for (message, seen) in messages.iter().zip(follow(Limits::default(), &input)) {
            end += message.len();
            prop_assert_eq!(seen.end, Some(end));
        }
    }

    #[test]
    fn splits_do_not_matter(
        messages in pipeline(),
        mutations in mutations(),
        cuts in vec(any::<Index>(), 0..12),
        tight in any::<bool>(),
    ) {
        let limits = match tight {
            true => Limits {
                head_bytes: 150,
                uri_bytes: 20,
                header_count: 4,
                chunk_ext_bytes: 12,
                trailer_bytes: 40,
            },
            false => Limits::default(),
        };
        let input = mutate(messages.concat(), &mutations);
        let whole = feed(limits, [&input[..]]);
        prop_assert_eq!(&feed(limits, pieces(&input, &cuts)), &whole);
        prop_assert_eq!(&feed(limits, input.chunks(1)), &whole);
        prop_assert_eq!(&feed(limits, input.chunks(7)), &whole);
    }

    #[test]
    fn any_bytes_are_safe(input in vec(any::<u8>(), 0..200), limit in 0..40usize) {
        let limits = Limits {
            head_bytes: limit,
            uri_bytes: limit / 2,
            header_count: limit / 8,
            chunk_ext_bytes: limit / 8,
            trailer_bytes: limit / 4,
        };
        let mut framer = Framer::new(limits);
        prop_assert!(framer.scan(&input).accepted <= input.len());
        prop_assert_eq!(&feed(limits, [&input[..]]), &feed(limits, input.chunks(1)));
    }

    #[test]
    fn hyper_agrees_on_valid_pipelines(messages in pipeline(), cuts in vec(any::<Index>(), 0..6)) {
        agree(&messages.concat(), &cuts)?;
    }

    #[test]
    fn hyper_agrees_on_what_is_left_of_bad_ones(
        messages in pipeline(),
        mutations in mutations(),
        cuts in vec(any::<Index>(), 0..6),
    ) {
        agree(&mutate(messages.concat(), &mutations), &cuts)?;
    }
}
