//! What hyper makes of a connection's input.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::{Request, Response, Version};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What hyper made of a connection.
#[derive(Debug, Default)]
pub struct Heard {
    /// Body bytes, and whether the body came to its end.
    pub requests: Vec<(u64, bool)>,
    /// Whether a request was the last of its connection by its own words.
    pub closed: bool,
    pub replies: Vec<u8>,
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
pub fn hyper_hears(pieces: &[&[u8]]) -> Heard {
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

pub fn count(haystack: &[u8], needle: &[u8]) -> usize {
    memchr::memmem::find_iter(haystack, needle).count()
}
