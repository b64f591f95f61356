//! A request on its way to a pod: its head, then its body, of which one piece at a time is held.

use crate::http1::{self, Encoder, WrongLength};
use crate::upstream::Stream;
use bytes::Bytes;
use http::header::HeaderMap;
use http_body::{Body, Frame};
use std::error::Error;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Why a request's body could not be sent.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// It broke off.
    #[error("the request's body broke off: {0}")]
    Broken(Box<dyn Error + Send + Sync>),
    /// It has another length than the head says.
    #[error("the request's body has another length than its Content-Length")]
    Length,
}

impl From<WrongLength> for UploadError {
    fn from(_: WrongLength) -> Self {
        Self::Length
    }
}

/// The head of a request as it is written.
#[derive(Debug)]
pub struct RequestOut {
    /// Its bytes.
    pub head: Vec<u8>,
    /// Whether its method is HEAD.
    pub is_head: bool,
    /// How the head says that its body is framed; absent if it has no body.
    pub encoder: Option<Encoder>,
    /// The names of the fields that may stand behind the body, since `Trailer` has announced them.
    pub announced: Vec<Box<[u8]>>,
}

/// A request that is being written.
pub(super) struct Outgoing<B> {
    /// The head, and then a piece of the body with its chunk's lines.
    out: http1::Outgoing,
    /// How the body is framed. Absent if the request has no body, or if all of the body is in `out`.
    encoder: Option<Encoder>,
    body: Option<B>,
    /// The names of the fields that may stand behind the body.
    announced: Vec<Box<[u8]>>,
    /// Whether a byte was written, or something of the body was taken.
    begun: bool,
}

impl<B> Default for Outgoing<B> {
    fn default() -> Self {
        Self {
            out: http1::Outgoing::default(),
            encoder: None,
            body: None,
            announced: Vec::new(),
            begun: false,
        }
    }
}

impl<B> Outgoing<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// A request of which nothing is written yet.
    pub(super) fn new(request: RequestOut, body: B) -> Self {
        let mut out = http1::Outgoing::default();
        *out.head() = request.head;
        Self {
            out,
            encoder: request.encoder,
            body: Some(body),
            announced: request.announced,
            begun: false,
        }
    }

    /// Whether all of it was written.
    pub(super) fn is_done(&self) -> bool {
        self.encoder.is_none() && self.is_written()
    }

    /// The memory of a head that has been written.
    pub(super) fn take_head(&mut self) -> Vec<u8> {
        self.out.take_head()
    }

    /// Whether all that was taken of it was written.
    pub(super) fn is_written(&self) -> bool {
        self.out.is_empty()
    }

    /// The body, if nothing of the request was sent.
    pub(super) fn unsent(&mut self) -> Option<B> {
        self.body.take().filter(|_| !self.begun)
    }

    /// Takes the next piece of the body if it is there and the one before has been written.
    pub(super) fn take_piece(&mut self, cx: &mut Context<'_>) -> Result<(), UploadError> {
        while self.out.has_room()
            && let (Some(encoder), Some(body)) = (&mut self.encoder, &mut self.body)
        {
            let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) else {
                return Ok(());
            };
            self.begun = true;
            let mut ends = body.is_end_stream();
            let frame = frame.transpose().map_err(|error| UploadError::Broken(error.into()))?;
            match frame.map(Frame::into_data) {
                Some(Ok(data)) => {
                    encoder.piece(&mut self.out, data, ends)?;
                    ends |= *encoder == Encoder::Length(0);
                }
                Some(Err(frame)) => {
                    let lines = trailer_lines(&frame.into_trailers().unwrap_or_default(), &self.announced);
                    encoder.end(&mut self.out, &lines)?;
                    ends = true;
                }
                None => {
                    encoder.end(&mut self.out, b"")?;
                    ends = true;
                }
            }
            if ends {
                self.encoder = None;
                self.body = None;
            }
        }
        Ok(())
    }

    /// Writes all that was taken.
    pub(super) fn poll_write(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.is_written() {
            // Between two requests on a connection a response is waited for.
            let count = match stream.try_write_out(&self.out) {
                Some(done) => done?,
                None => ready!(stream.poll_write_out(&self.out, cx))?,
            };
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.begun = true;
            self.out.advance(count);
        }
        Poll::Ready(Ok(()))
    }
}

/// Writes a field line.
pub fn put_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// The lines of those trailers that were announced.
pub fn trailer_lines(trailers: &HeaderMap, announced: &[Box<[u8]>]) -> Vec<u8> {
    let mut lines = Vec::new();
    for (name, value) in trailers {
        let text = name.as_str().as_bytes();
        if announced.iter().any(|named| named.eq_ignore_ascii_case(text)) {
            put_field(&mut lines, name.as_str(), value.as_bytes());
        }
    }
    lines
}
