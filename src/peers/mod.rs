//! The other narthexes: where they are, and how they are asked.

pub mod live;

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Which narthex answers: its pod's name.
pub const POD: HeaderName = HeaderName::from_static("narthex-pod");
/// And when it began.
pub const STARTED: HeaderName = HeaderName::from_static("narthex-started");
/// Set on questions of one narthex to another, which asks no further.
pub const SCOPE: HeaderName = HeaderName::from_static("narthex-scope");

/// Peers that are known at once. More would be more nodes than a cluster may have.
pub const MOST_PEERS: usize = 5_000;

/// An admin address of a narthex.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    /// `HOST:PORT`.
    pub address: Arc<str>,
    /// Its pod, where that is known.
    pub pod: Option<Arc<str>>,
}

/// Why a peer's answer is not there. One line each.
#[derive(Debug, thiserror::Error)]
pub enum Silence {
    /// There is no way to it.
    #[error("cannot be reached: {0}")]
    Unreachable(#[from] std::io::Error),
    /// What it says is no HTTP, or breaks off.
    #[error("does not answer in HTTP: {0}")]
    Broken(#[from] hyper::Error),
    /// What it says is more than there is room for.
    #[error("its answer is too long: ask for less, with per_page")]
    TooLong,
    /// The question cannot be written.
    #[error("cannot be asked this: {0}")]
    Question(#[from] http::Error),
}

/// What answers may hold, all together.
#[derive(Debug)]
pub struct AnswerBudget(AtomicUsize);

impl AnswerBudget {
    /// With room for this many bytes.
    pub fn new(bytes: usize) -> Self {
        Self(AtomicUsize::new(bytes))
    }

    fn take(&self, bytes: usize) -> Result<(), Silence> {
        let left = |left: usize| left.checked_sub(bytes);
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left);
        taken.map(drop).map_err(|_| Silence::TooLong)
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    /// The pod that says it.
    pub pod: Option<String>,
    /// When that began.
    pub started: Option<String>,
    /// What it says.
    pub body: Bytes,
}

/// Asks one question. The caller sees to the time: dropped, nothing goes on.
///
/// # Errors
/// Why there is no answer.
pub async fn ask(
    address: &str,
    target: &str,
    token: Option<&HeaderValue>,
    room: &AnswerBudget,
) -> Result<Answer, Silence> {
    let stream = TcpStream::connect(address).await?;
    // By its address, which every narthex knows for its own; by another name it might not.
    let host = stream.peer_addr().map(canonical)?.to_string();
    let mut request = Request::get(target)
        .header(header::HOST, host)
        .header(header::CONNECTION, "close")
        .header(SCOPE, "node");
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, token);
    }
    let request = request.body(Empty::<Bytes>::new())?;
    let reply = exchange(stream, request, room).await?;
    let text = |name| Some(reply.headers().get(name)?.to_str().ok()?.to_owned());
    Ok(Answer {
        status: reply.status(),
        pod: text(POD),
        started: text(STARTED),
        body: reply.into_body(),
    })
}

/// Sends one request on a connection of its own, and reads the whole answer, for which there is so much room.
///
/// # Errors
/// Why there is no answer.
pub async fn exchange<S, B>(stream: S, request: Request<B>, room: &AnswerBudget) -> Result<Response<Bytes>, Silence>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(64 << 10)
        .handshake(TokioIo::new(stream))
        .await?;
    let exchange = async {
        let reply = sender.send_request(request).await?;
        let (head, mut body) = reply.into_parts();
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame?.into_data() {
                room.take(data.len())?;
                bytes.extend_from_slice(&data);
            }
        }
        Ok(Response::from_parts(head, bytes.freeze()))
    };
    let connection = async {
        // What it fails with, the exchange fails with too; and what came before it ended is still to be read.
        let _ = connection.await;
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        answer = exchange => answer,
        never = connection => match never {},
    }
}

/// `::ffff:10.0.0.1` is 10.0.0.1.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
