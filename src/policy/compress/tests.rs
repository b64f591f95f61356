//! Which replies are compressed, what becomes of their fields, and of their bodies piece by piece.

use super::encoder::tests::{decode, text};
use super::*;
use bytes::Bytes;
use http_body::{Body, Frame};
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

fn fields(lines: &[(&str, &str)]) -> Fields {
    let mut headers = Fields::new();
    for (name, value) in lines {
        headers.append(*name, value);
    }
    headers
}

fn request(lines: &[(&str, &str)]) -> Request {
    Request::new(Method::GET, Version::HTTP_11, "/", fields(lines))
}

const PAGE: (&str, &str) = ("content-type", "text/html");

fn settings() -> Compression {
    Compression::of(Coding::ALL).unwrap()
}

#[test]
fn what_is_compressed() {
    let asked = request(&[("accept-encoding", "gzip")]);
    for (status, reply, compressed, varies) in [
        (200, &[PAGE][..], true, true),
        (404, &[PAGE], true, true),
        (500, &[PAGE], true, true),
        (101, &[PAGE], false, false),
        (204, &[PAGE], false, false),
        (205, &[PAGE], false, false),
        (206, &[PAGE], false, false),
        (226, &[PAGE], false, false),
        (302, &[PAGE], false, false),
        (304, &[PAGE], false, false),
        (200, &[], false, false),
        (200, &[("content-type", "image/png")], false, false),
        (200, &[("content-type", "application/grpc+json")], false, false),
        (200, &[PAGE, ("content-length", "1023")], false, false),
        (200, &[PAGE, ("content-length", "1024")], true, true),
        (200, &[PAGE, ("content-encoding", "br")], false, false),
        (200, &[PAGE, ("content-range", "bytes 0-9/10")], false, false),
        (200, &[PAGE, ("cache-control", "max-age=1, No-Transform")], false, false),
        (200, &[PAGE, ("cache-control", "private")], true, true),
    ] {
        let mut headers = fields(reply);
        let status = StatusCode::from_u16(status).unwrap();
        let plan = plan(&settings(), &asked, status, &mut headers, false);
        assert_eq!(plan.is_some(), compressed, "{status} {reply:?}");
        assert_eq!(headers.contains("vary"), varies, "{status} {reply:?}");
    }
    assert_eq!(
        plan(&settings(), &asked, StatusCode::OK, &mut fields(&[PAGE]), true),
        None,
        "there is nothing in it"
    );
}

#[test]
fn who_gets_it() {
    let of = |lines: &[(&str, &str)], change: fn(&mut Request)| {
        let mut asked = request(lines);
        change(&mut asked);
        let mut headers = fields(&[PAGE]);
        let plan = plan(&settings(), &asked, StatusCode::OK, &mut headers, false);
        (plan.is_some(), headers.contains("vary"))
    };
    let accepts = ("accept-encoding", "gzip");
    assert_eq!(of(&[accepts], |_| {}), (true, true));
    assert_eq!(of(&[], |_| {}), (false, true));
    assert_eq!(of(&[accepts, ("cache-control", "no-transform")], |_| {}), (false, true));
    assert_eq!(of(&[accepts], |parts| parts.method = Method::HEAD), (true, true));
    assert_eq!(of(&[accepts], |parts| parts.method = Method::CONNECT), (false, false));
    assert_eq!(of(&[accepts], |parts| parts.version = Version::HTTP_10), (false, true));
    assert_eq!(of(&[accepts], |parts| parts.version = Version::HTTP_2), (true, true));
}

#[test]
fn fields_say_what_the_client_gets() {
    let mut headers = fields(&[
        PAGE,
        ("content-length", "5000"),
        ("accept-ranges", "bytes"),
        ("etag", "\"abc\""),
        ("repr-digest", "sha-256=:AA==:"),
        ("content-digest", "sha-256=:AA==:"),
        ("digest", "md5=AA=="),
        ("content-md5", "AA=="),
        ("vary", "Origin"),
        ("vary", "Cookie"),
    ]);
    let asked = request(&[("accept-encoding", "br")]);
    let plan = plan(&settings(), &asked, StatusCode::OK, &mut headers, false).unwrap();
    assert_eq!((plan.coding, plan.length), (Coding::Brotli, Some(5000)));
    plan.mark(&mut headers);
    let wanted = fields(&[
        PAGE,
        ("etag", "W/\"abc\""),
        ("vary", "Origin, Cookie, Accept-Encoding"),
        ("content-encoding", "br"),
    ]);
    assert_eq!(headers, wanted);
}

#[test]
fn vary_and_etag_have_many_forms() {
    for (before, after) in [
        (&["*"][..], "*"),
        (&["Origin, *"], "Origin, *"),
        (&["accept-ENCODING"], "accept-ENCODING"),
        (&["Cookie,Accept-Encoding"], "Cookie,Accept-Encoding"),
        (&[""], "Accept-Encoding"),
        (&["Accept-Encoding-Not"], "Accept-Encoding-Not, Accept-Encoding"),
    ] {
        let lines: Vec<_> = before.iter().map(|line| ("vary", *line)).collect();
        let mut headers = fields(&lines);
        vary(&mut headers);
        assert_eq!(headers, fields(&[("vary", after)]), "{before:?}");
    }
    for (before, after) in [
        ("\"a\"", Some("W/\"a\"")),
        ("\"\"", Some("W/\"\"")),
        ("W/\"a\"", Some("W/\"a\"")),
        ("a", None),
        ("\"", None),
    ] {
        let mut headers = fields(&[("etag", before)]);
        weaken(&mut headers);
        assert_eq!(
            headers.get("etag").map(Value::as_bytes),
            after.map(str::as_bytes),
            "{before}"
        );
    }
}

#[test]
fn a_304_has_the_validator_that_was_asked_for() {
    for (asked, accepted, sent, wanted) in [
        ("W/\"a\"", "gzip", "\"a\"", "W/\"a\""),
        ("\"b\", W/\"a\"", "gzip", "\"a\"", "W/\"a\""),
        ("\"a\"", "gzip", "\"a\"", "\"a\""),
        ("W/\"a\"", "identity", "\"a\"", "\"a\""),
        ("W/\"a\"", "gzip", "W/\"a\"", "W/\"a\""),
    ] {
        let asked = request(&[("if-none-match", asked), ("accept-encoding", accepted)]);
        let mut headers = fields(&[("etag", sent)]);
        let plan = plan(&settings(), &asked, StatusCode::NOT_MODIFIED, &mut headers, false);
        assert_eq!((plan, headers.get("etag").unwrap().to_str().unwrap()), (None, wanted));
        assert_eq!(headers.contains("vary"), sent != wanted);
    }
}

/// A body that gives what it was told to, and counts how often it was asked.
struct Script {
    steps: VecDeque<Step>,
    asked: usize,
}

enum Step {
    Data(Bytes),
    Trailers(HeaderMap),
    Pause,
    Fail,
}

impl Body for Script {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.asked += 1;
        match self.steps.pop_front() {
            None => Poll::Ready(None),
            Some(Step::Data(data)) => Poll::Ready(Some(Ok(Frame::data(data)))),
            Some(Step::Trailers(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Some(Step::Pause) => Poll::Pending,
            Some(Step::Fail) => Poll::Ready(Some(Err("broken".into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.steps.is_empty()
    }
}

fn script(steps: impl IntoIterator<Item = Step>) -> Script {
    Script {
        steps: steps.into_iter().collect(),
        asked: 0,
    }
}

fn compressor(coding: Coding) -> Compressor {
    Compressor::new(Plan { coding, length: None })
}

fn poll(compressor: &mut Compressor, source: &mut Script) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
    compressor.poll_frame(source, &mut Context::from_waker(Waker::noop()))
}

/// Polls until nothing comes for a while, or the end.
fn drain(compressor: &mut Compressor, source: &mut Script) -> (Vec<u8>, Option<HeaderMap>, bool) {
    let (mut bytes, mut trailers, mut failed) = (Vec::new(), None, false);
    for _ in 0..10_000 {
        match poll(compressor, source) {
            Poll::Pending => {}
            Poll::Ready(None) => return (bytes, trailers, failed),
            Poll::Ready(Some(Ok(frame))) if frame.is_data() => bytes.extend(frame.into_data().unwrap()),
            Poll::Ready(Some(Ok(frame))) => trailers = frame.into_trailers().ok(),
            Poll::Ready(Some(Err(_))) => failed = true,
        }
    }
    panic!("it does not end");
}

#[test]
fn a_pause_flushes_what_came_before_it_and_not_sooner_than_the_second_look() {
    for coding in Coding::ALL {
        let hello = || Step::Data("data: hello\n\n".into());
        let mut source = script([hello(), Step::Pause, hello(), Step::Pause, Step::Pause, Step::Pause]);
        let mut compressor = compressor(coding);
        let mut out = Vec::new();
        let mut take = |compressor: &mut Compressor| match poll(compressor, &mut source) {
            Poll::Ready(Some(Ok(frame))) => {
                out.extend(frame.into_data().unwrap());
                Some(decode(coding, &out).0)
            }
            Poll::Pending => None,
            _ => panic!("it ends"),
        };
        assert_eq!(
            take(&mut compressor),
            None,
            "the first look takes in the first piece alone"
        );
        let shown = std::iter::from_fn(|| Some(take(&mut compressor)))
            .take(3)
            .flatten()
            .last();
        assert_eq!(shown.unwrap(), b"data: hello\n\ndata: hello\n\n", "{coding:?}");
    }
}

#[test]
fn trailers_pass_without_digests_and_an_error_leaves_no_whole_stream() {
    for coding in Coding::ALL {
        let page = text(100_000);
        let data = || Step::Data(page.clone().into());
        let trailers = fields(&[("grpc-status", "0"), ("content-digest", "sha-256=:AA==:")]);
        let mut whole = script([data(), Step::Trailers(trailers.to_map())]);
        let (bytes, trailers, failed) = drain(&mut compressor(coding), &mut whole);
        let (decoded, end) = decode(coding, &bytes);
        assert!(decoded == page && end.is_ok() && !failed, "{coding:?}");
        assert_eq!(trailers.unwrap(), fields(&[("grpc-status", "0")]).to_map());

        let mut broken = script([data(), Step::Fail]);
        let (bytes, _, failed) = drain(&mut compressor(coding), &mut broken);
        let (decoded, end) = decode(coding, &bytes);
        assert!(decoded == page && end.is_err() && failed, "{coding:?}: {end:?}");
    }
}

#[test]
fn a_source_is_not_asked_for_more_than_is_handed_out_and_others_have_their_turn() {
    for coding in Coding::ALL {
        let mut random = fastrand::Rng::with_seed(1);
        let noise: Bytes = std::iter::repeat_with(|| random.u8(..)).take(2 << 20).collect();
        let mut source = script([Step::Data(noise.clone()), Step::Data(noise.clone())]);
        let mut compressor = compressor(coding);
        let (mut pieces, mut turns, mut largest) = (0, 0, 0);
        while source.asked < 2 {
            match poll(&mut compressor, &mut source) {
                Poll::Ready(Some(Ok(frame))) => {
                    pieces += 1;
                    largest = largest.max(frame.into_data().unwrap().len());
                }
                Poll::Pending => turns += 1,
                _ => panic!("it ends"),
            }
        }
        assert!(largest <= 512 << 10, "{coding:?}: {largest} at once");
        assert!(pieces >= 4 && turns >= 31, "{coding:?}: {pieces} pieces, {turns} turns");
    }
}

#[test]
fn a_body_without_a_byte_is_a_stream_of_nothing() {
    for coding in Coding::ALL {
        let mut compressor = compressor(coding);
        let (bytes, ..) = drain(&mut compressor, &mut script([]));
        let (decoded, end) = decode(coding, &bytes);
        assert!(!bytes.is_empty() && decoded.is_empty() && end.is_ok(), "{coding:?}");
        assert!(compressor.is_done() && compressor.is_closed());
    }
}
