//! A request on its way to a pod: its head, then its body, of which one piece at a time is held.

use crate::http1::{self, Encoder, WrongLength};
use crate::upstream::Stream;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName};
use http::request::Parts;
use http_body::{Body, Frame};
use std::error::Error;
use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// Room for a request line without its target, and for each field line. More is allocated where that is too little.
const LINE: usize = 48;

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

/// A request that is being written.
pub(super) struct Outgoing<B> {
    /// The head, and then a piece of the body with its chunk's lines.
    out: http1::Outgoing,
    /// How the body is framed. Absent if there is none, or all of it is in `out`.
    encoder: Option<Encoder>,
    body: Option<B>,
    /// The fields that may stand behind the body, since `Trailer` has announced them.
    announced: Vec<HeaderName>,
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
    /// A request of which nothing is written yet. Its fields say how its body is framed; where they do not, it is chunked.
    pub(super) fn new(parts: &mut Parts, body: B) -> Self {
        let headers = &mut parts.headers;
        let encoder = if body.is_end_stream() {
            headers.remove(header::TRANSFER_ENCODING);
            None
        } else if headers.contains_key(header::TRANSFER_ENCODING) {
            headers.remove(header::CONTENT_LENGTH);
            Some(Encoder::Chunked)
        } else if let Some(length) = length(headers) {
            Some(Encoder::Length(length))
        } else {
            headers.insert(header::TRANSFER_ENCODING, header::HeaderValue::from_static("chunked"));
            Some(Encoder::Chunked)
        };
        let announced = match encoder {
            Some(Encoder::Chunked) => announced(headers),
            _ => Vec::new(),
        };
        let mut out = http1::Outgoing::default();
        *out.head() = head(parts);
        Self {
            out,
            encoder,
            body: Some(body),
            announced,
            begun: false,
        }
    }

    /// Whether all of it was written.
    pub(super) fn is_done(&self) -> bool {
        self.encoder.is_none() && self.is_written()
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
            let count = ready!(stream.poll_write_out(&self.out, cx))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.begun = true;
            self.out.advance(count);
        }
        Poll::Ready(Ok(()))
    }
}

/// The bytes of a request's head.
fn head(parts: &Parts) -> Vec<u8> {
    let (uri, headers) = (&parts.uri, &parts.headers);
    let room = uri.path().len() + LINE * (headers.len() + 2);
    let mut out = Vec::with_capacity(room);
    out.extend_from_slice(parts.method.as_str().as_bytes());
    out.push(b' ');
    if uri.authority().is_some() {
        // A `Vec` takes all that is written to it.
        let _ = write!(out, "{uri}");
    } else {
        out.extend_from_slice(uri.path().as_bytes());
        if let Some(query) = uri.query() {
            out.push(b'?');
            out.extend_from_slice(query.as_bytes());
        }
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    for (name, value) in headers {
        put_line(&mut out, name, value.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out
}

fn put_line(out: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    put_field(out, name.as_str(), value);
}

/// Writes a field line.
pub fn put_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// The lines of those trailers that were announced.
pub fn trailer_lines(trailers: &HeaderMap, announced: &[HeaderName]) -> Vec<u8> {
    let mut lines = Vec::new();
    for (name, value) in trailers.iter().filter(|(name, _)| announced.contains(name)) {
        put_line(&mut lines, name, value.as_bytes());
    }
    lines
}

/// What `Content-Length` says, which was checked when the message came in.
pub fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The fields that `Trailer` names.
pub fn announced(headers: &HeaderMap) -> Vec<HeaderName> {
    let lines = headers.get_all(header::TRAILER).into_iter();
    let names = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    names
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect()
}
