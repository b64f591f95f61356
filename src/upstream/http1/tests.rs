//! The connection against a pod that a test plays by hand, so that it decides what comes in one read.

use super::*;
use crate::http1::Encoder;
use crate::upstream::Clock;
use crate::upstream::pool::{Dial, Pool, PoolSettings, Sockets, connect};
use http::Request;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use std::future::poll_fn;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

type Sent = UnsyncBoxBody<Bytes, io::Error>;

fn settings() -> PoolSettings {
    PoolSettings {
        connect_timeout: Duration::from_secs(5),
        idle_timeout: Duration::from_secs(5),
        sockets: Sockets::new(8),
        max_idle: 8,
        max_response_head: 1 << 10,
    }
}

async fn pair() -> (Box<Http1<Sent>>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (settings, clock) = (settings(), Clock::default());
    let dial = Dial {
        settings: &settings,
        patience: Duration::from_secs(5),
        prelude: None,
        tls: None,
        notices_later: false,
        clock: &clock,
    };
    let ours = connect(listener.local_addr().unwrap(), &dial, &Rc::default())
        .await
        .unwrap();
    let (theirs, _) = listener.accept().await.unwrap();
    theirs.set_nodelay(true).unwrap();
    (ours, theirs)
}

/// Begins a request whose fields say how its body is framed; where they do not, it is chunked.
fn ask(ours: &mut Http1<Sent>, request: Request<Sent>) {
    let (mut parts, body) = request.into_parts();
    let length = parts.headers.get("content-length");
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    let chunked = parts.headers.contains_key("transfer-encoding");
    let encoder = match length {
        _ if body.is_end_stream() => None,
        Some(length) if !chunked => Some(Encoder::Length(length)),
        _ => Some(Encoder::Chunked),
    };
    if encoder == Some(Encoder::Chunked) {
        parts.headers.remove("content-length");
        parts
            .headers
            .insert("transfer-encoding", HeaderValue::from_static("chunked"));
    }
    let mut head = format!("{} {} HTTP/1.1\r\n", parts.method, parts.uri);
    for (name, value) in &parts.headers {
        head += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    let announced = parts.headers.get_all("trailer").iter();
    let announced = announced.map(|name| name.as_bytes().into());
    let request = RequestOut {
        head: (head + "\r\n").into_bytes(),
        is_head: parts.method == http::Method::HEAD,
        encoder,
        announced: announced.collect(),
    };
    ours.send(request, body, false);
}

fn get() -> Request<Sent> {
    let body = Full::default().map_err(|never| match never {});
    Request::get("/a?b").body(body.boxed_unsync()).unwrap()
}

fn post(pieces: &[&'static str]) -> Request<Sent> {
    let frames: Vec<_> = pieces
        .iter()
        .map(|piece| Ok(Frame::data(Bytes::from(*piece))))
        .collect();
    let body = StreamBody::new(futures_util::stream::iter(frames));
    Request::post("/").body(body.boxed_unsync()).unwrap()
}

/// What came of a request.
#[derive(Debug, PartialEq)]
struct Came {
    interim: usize,
    status: u16,
    fields: HeaderMap,
    data: Vec<u8>,
    trailers: Option<HeaderMap>,
}

/// Reads a whole response. `turn` is called when more is waited for.
async fn receive(ours: &mut Http1<Sent>, mut turn: impl FnMut(&Http1<Sent>)) -> Result<Came, Box<dyn Error>> {
    let mut interim = 0;
    let mut response = Response::default();
    loop {
        let next = poll_fn(|cx| {
            let poll = ours.poll_response(&mut response, cx);
            turn(ours);
            // What `turn` does may have taken the waker away.
            cx.waker().wake_by_ref();
            poll
        });
        next.await?;
        if !response.status.is_informational() || response.status == StatusCode::SWITCHING_PROTOCOLS {
            break;
        }
        interim += 1;
    }
    let mut came = Came {
        interim,
        status: response.status.as_u16(),
        fields: response.fields.to_map(),
        data: Vec::new(),
        trailers: None,
    };
    drop(response);
    while let Some(frame) = poll_fn(|cx| {
        let poll = ours.poll_frame(cx);
        turn(ours);
        cx.waker().wake_by_ref();
        poll
    })
    .await
    {
        match frame?.into_data() {
            Ok(data) => came.data.extend_from_slice(&data),
            Err(frame) => came.trailers = frame.into_trailers().ok(),
        }
    }
    Ok(came)
}

const CHUNKED: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nX-A : b\r\n\
                       transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nx-sum: 7\r\nhost: evil\r\n\r\n";
const BY_LENGTH: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

#[tokio::test]
async fn a_response_is_the_same_however_it_is_split() {
    for whole in [CHUNKED, BY_LENGTH] {
        let mut expected = None;
        for split in 0..whole.len() {
            let (mut ours, mut theirs) = pair().await;
            ask(&mut ours, get());
            let (first, second) = whole.split_at(split);
            theirs.write_all(first.as_bytes()).await.unwrap();
            let (mut theirs, mut second) = (Some(theirs), Some(second));
            let came = receive(&mut ours, |ours| {
                // All of the first part has been read when nothing of it is left in the socket.
                let mut byte = [0];
                let peeked = ours
                    .stream
                    .tcp()
                    .unwrap()
                    .poll_peek(&mut Context::from_waker(Waker::noop()), &mut ReadBuf::new(&mut byte));
                if let (true, Some(second), Some(theirs)) = (peeked.is_pending(), second.take(), &mut theirs) {
                    assert_eq!(theirs.try_write(second.as_bytes()).unwrap(), second.len());
                }
            });
            let came = came.await.unwrap_or_else(|error| panic!("at {split}: {error}"));
            let expected = expected.get_or_insert_with(|| {
                assert_eq!(came.status, 200);
                assert_eq!(came.data, if whole == CHUNKED { &b"abcde"[..] } else { b"hello" });
                assert_eq!(came.interim, usize::from(whole == CHUNKED));
                let trailers = came
                    .trailers
                    .as_ref()
                    .map(|fields| (fields.len(), fields["x-sum"].clone()));
                assert_eq!(trailers, (whole == CHUNKED).then(|| (1, HeaderValue::from(7))));
                Came {
                    interim: came.interim,
                    status: came.status,
                    fields: came.fields.clone(),
                    data: came.data.clone(),
                    trailers: came.trailers.clone(),
                }
            });
            assert_eq!(&came, expected, "at {split}");
            assert!(ours.rest(), "at {split}");
            assert_eq!(ours.input.capacity(), 0, "memory of an idle connection");
        }
    }
}

/// Sends a request on a new connection; the pod says this and, perhaps, closes.
async fn answered(
    request: Request<Sent>,
    said: &str,
    closes: bool,
) -> (Box<Http1<Sent>>, Result<Came, Box<dyn Error>>) {
    let (mut ours, mut theirs) = pair().await;
    theirs.write_all(said.as_bytes()).await.unwrap();
    let kept = (!closes).then_some(theirs);
    ask(&mut ours, request);
    let came = receive(&mut ours, |_| {}).await;
    drop(kept);
    (ours, came)
}

#[tokio::test]
async fn only_what_both_sides_keep_is_used_again() {
    let head = |fields: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
    for (said, closes, again) in [
        (head("content-length: 0\r\n"), false, true),
        (head("content-length: 0\r\n"), true, false),
        (head("content-length: 0\r\nconnection: x, Close\r\n"), false, false),
        (head("content-length: 0\r\n") + "HTTP/1.1 200 OK\r\n", false, false),
        (head("transfer-encoding: chunked\r\n") + "0\r\n\r\n", false, true),
        (head("transfer-encoding: chunked\r\n") + "0\r\n\r\n.", false, false),
        (head("") + "until the end", true, false),
        ("HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned(), false, false),
        (
            "HTTP/1.0 200 OK\r\ncontent-length: 0\r\nconnection: keep-alive\r\n\r\n".to_owned(),
            false,
            true,
        ),
        ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), false, true),
        (
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n".to_owned(),
            false,
            true,
        ),
        ("HTTP/1.1 101 Go\r\n\r\n".to_owned(), false, false),
    ] {
        let (mut ours, came) = answered(get(), &said, closes).await;
        let came = came.unwrap_or_else(|error| panic!("{said:?}: {error}"));
        assert_eq!(came.data.is_empty(), !said.ends_with("until the end"), "{said:?}");
        // The pool asks the first when it gets a connection back, and the second before it is used again.
        assert_eq!(ours.rest() && ours.is_quiet(), again, "{said:?}");
    }
}

#[tokio::test]
async fn what_is_no_response_is_told_from_an_end() {
    let many = "HTTP/1.1 100 Continue\r\n\r\n".repeat(INTERIM_MOST as usize + 1);
    let large = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(1 << 10));
    for (said, wanted) in [
        ("", "the connection ended before the response"),
        ("HTTP/1.1 200 O", "the connection ended before the response"),
        (
            "HTTP/1.1 100 Continue\r\n\r\n",
            "the connection ended before the response",
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 1, 2\r\n\r\n",
            "the response head is not valid HTTP/1.1: malformed content-length",
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: +1\r\n\r\n",
            "the response head is not valid HTTP/1.1: malformed content-length",
        ),
        (
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            "the response head is not valid HTTP/1.1: transfer-encoding in http/1.0",
        ),
        (&many, "the response comes behind too many interim ones"),
        (&large, "the response head is too large (--max-response-head)"),
        (
            &large[..large.len() - 4],
            "the response head is too large (--max-response-head)",
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc",
            "the pod's response is broken: connection closed inside a message",
        ),
    ] {
        let (mut ours, came) = answered(get(), said, true).await;
        let error = came.expect_err(said).to_string();
        assert!(error.starts_with(wanted), "{said:.60?}: {error}");
        assert!(!ours.rest());
    }
}

#[tokio::test]
async fn bodies_are_framed_as_their_heads_say() {
    let by_length = |length: &'static str, pieces: &[&'static str]| {
        let mut request = post(pieces);
        request
            .headers_mut()
            .insert("content-length", HeaderValue::from_static(length));
        request
    };
    let mut trailed = post(&[]);
    let frames = [
        Ok(Frame::data(Bytes::from("abc"))),
        Ok(Frame::trailers(HeaderMap::from_iter([
            (HeaderName::from_static("x-a"), HeaderValue::from(1)),
            (HeaderName::from_static("x-b"), HeaderValue::from(2)),
        ]))),
    ];
    *trailed.body_mut() = StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync();
    trailed.headers_mut().insert("trailer", HeaderValue::from_static("X-A"));
    for (request, wanted) in [
        (get(), Some("GET /a?b HTTP/1.1\r\n\r\n")),
        (
            by_length("5", &["ab", "", "cde"]),
            Some("POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\nabcde"),
        ),
        (by_length("5", &["ab"]), None),
        (by_length("5", &["ab", "cdef"]), None),
        (
            post(&["ab", "", "0123456789abcdef!"]),
            Some(
                "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n11\r\n0123456789abcdef!\r\n0\r\n\r\n",
            ),
        ),
        (
            trailed,
            Some(
                "POST / HTTP/1.1\r\ntrailer: X-A\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-a: 1\r\n\r\n",
            ),
        ),
    ] {
        let (mut ours, mut theirs) = pair().await;
        ask(&mut ours, request);
        let poll = poll_fn(|cx| Poll::Ready(ours.poll_response(&mut Response::default(), cx))).await;
        let Some(wanted) = wanted else {
            assert!(
                matches!(poll, Poll::Ready(Err(SendError::Upload(UploadError::Length)))),
                "{poll:?}"
            );
            continue;
        };
        assert!(poll.is_pending(), "{poll:?}");
        assert_eq!(ours.input.capacity(), 0, "memory of a request that waits");
        let mut said = vec![0; wanted.len()];
        theirs.read_exact(&mut said).await.unwrap();
        assert_eq!(String::from_utf8(said).unwrap(), wanted);
        assert!(ours.outgoing.is_done());
        assert_eq!(theirs.try_read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}

#[tokio::test]
async fn what_was_not_sent_is_given_back() {
    for (request, given_back) in [(get(), true), (post(&["abc"]), false)] {
        let (mut ours, theirs) = pair().await;
        // A reset, of which the kernel tells the first write.
        socket2::SockRef::from(&theirs)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(theirs);
        ours.stream.tcp().unwrap().readable().await.unwrap();
        ask(&mut ours, request);
        let error = receive(&mut ours, |_| {}).await.unwrap_err();
        assert!(ours.deaf, "{error}");
        assert_eq!(ours.take_unsent().is_some(), given_back, "{error}");
    }
}

#[tokio::test]
async fn a_pool_gives_nothing_that_its_pod_has_closed_or_spoken_on() {
    let (settings, clock) = (settings(), Clock::default());
    let pool = Pool::<Sent>::default();
    let mut theirs = Vec::new();
    for _ in 0..4 {
        let (mut ours, mut pod) = pair().await;
        pod.write_all(BY_LENGTH.as_bytes()).await.unwrap();
        ask(&mut ours, get());
        receive(&mut ours, |_| {}).await.unwrap();
        pool.put(ours, &clock, &settings);
        theirs.push(pod);
    }
    assert_eq!(pool.count(), 4);
    let peers: Vec<_> = theirs.iter().map(|pod| pod.peer_addr().unwrap()).collect();
    let swept = |left| {
        let (pool, clock, settings) = (&pool, &clock, &settings);
        tokio::time::timeout(Duration::from_secs(20), async move {
            while pool.count() > left {
                tokio::task::yield_now().await;
                pool.sweep(clock, settings);
            }
        })
    };
    drop(theirs.remove(3));
    swept(3).await.expect("what a pod has closed is closed here too");
    theirs[2]
        .write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
        .await
        .unwrap();
    swept(2)
        .await
        .expect("a connection on which a pod has spoken unasked is closed");
    let taken = pool.take(&clock, &settings).unwrap();
    assert_eq!(
        taken.stream.tcp().unwrap().local_addr().unwrap(),
        peers[1],
        "the last one that was used"
    );
    assert!(taken.reused);
    drop(theirs.remove(0));
    let known = pool.take(&clock, &settings).unwrap();
    known.stream.tcp().unwrap().readable().await.unwrap();
    pool.put(known, &clock, &settings);
    assert_eq!(pool.count(), 0);
    assert!(pool.take(&clock, &settings).is_none());
}
