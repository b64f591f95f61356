//! A request on its way to a pod: its head, then its body, of which one piece at a time is held.

use crate::upstream::Stream;
use bytes::{Buf, Bytes};
use http::header::{self, HeaderMap, HeaderName};
use http::request::Parts;
use http_body::{Body, Frame};
use std::error::Error;
use std::io::{self, IoSlice, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

/// Room for a request line without its target, and for each field line. More is allocated where that is too little.
const LINE: usize = 48;

/// What ends a chunk, and what ends the last one and the body with it.
const CHUNK_END: &[u8] = b"\r\n";
const LAST_CHUNK_END: &[u8] = b"\r\n0\r\n\r\n";
/// What ends a chunked body whose last chunk has ended.
const END: &[u8] = b"0\r\n\r\n";

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

/// How a request's body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// There is none, or it has been taken in to its end.
    Done,
    /// So many bytes are still to come.
    Length(u64),
    Chunked,
}

/// A request that is being written.
pub(super) struct Outgoing<B> {
    /// The head, and the lines between pieces of a chunked body.
    lines: Vec<u8>,
    /// How much of that was written.
    written: usize,
    piece: Bytes,
    /// What comes behind the piece.
    tail: &'static [u8],
    framing: Framing,
    body: Option<B>,
    /// The fields that may stand behind the body, since `Trailer` has announced them.
    announced: Vec<HeaderName>,
    /// Whether a byte was written, or something of the body was taken.
    begun: bool,
}

impl<B> Default for Outgoing<B> {
    fn default() -> Self {
        Self {
            lines: Vec::new(),
            written: 0,
            piece: Bytes::new(),
            tail: b"",
            framing: Framing::Done,
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
        let framing = if body.is_end_stream() {
            headers.remove(header::TRANSFER_ENCODING);
            Framing::Done
        } else if headers.contains_key(header::TRANSFER_ENCODING) {
            headers.remove(header::CONTENT_LENGTH);
            Framing::Chunked
        } else if let Some(length) = length(headers) {
            Framing::Length(length)
        } else {
            headers.insert(header::TRANSFER_ENCODING, header::HeaderValue::from_static("chunked"));
            Framing::Chunked
        };
        let announced = match framing {
            Framing::Chunked => announced(headers),
            Framing::Done | Framing::Length(_) => Vec::new(),
        };
        Self {
            lines: head(parts),
            framing,
            body: Some(body),
            announced,
            ..Self::default()
        }
    }

    /// Whether all of it was written.
    pub(super) fn is_done(&self) -> bool {
        self.framing == Framing::Done && self.is_written()
    }

    /// Whether all that was taken of it was written.
    pub(super) fn is_written(&self) -> bool {
        self.written == self.lines.len() && self.piece.is_empty() && self.tail.is_empty()
    }

    /// The body, if nothing of the request was sent.
    pub(super) fn unsent(&mut self) -> Option<B> {
        self.body.take().filter(|_| !self.begun)
    }

    /// Takes the next piece of the body if it is there and the one before has been written.
    pub(super) fn take_piece(&mut self, cx: &mut Context<'_>) -> Result<(), UploadError> {
        while self.framing != Framing::Done && self.piece.is_empty() && self.tail.is_empty() {
            let Some(body) = &mut self.body else { return Ok(()) };
            let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) else {
                return Ok(());
            };
            self.begun = true;
            let last = body.is_end_stream();
            match frame.transpose().map_err(|error| UploadError::Broken(error.into()))? {
                Some(frame) => self.take_frame(frame, last)?,
                None => self.end(END)?,
            }
        }
        Ok(())
    }

    fn take_frame(&mut self, frame: Frame<Bytes>, last: bool) -> Result<(), UploadError> {
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                return self.end_with(&trailers);
            }
        };
        match (self.framing, data.is_empty()) {
            (Framing::Length(left), _) => {
                let left = left.checked_sub(data.len() as u64).ok_or(UploadError::Length)?;
                self.framing = Framing::Length(left);
                self.piece = data;
                if left == 0 || last {
                    return self.end(END);
                }
            }
            (Framing::Chunked, true) if last => return self.end(END),
            (Framing::Chunked, false) => {
                // A `Vec` takes all that is written to it.
                let _ = write!(self.lines, "{:x}\r\n", data.len());
                self.piece = data;
                self.tail = CHUNK_END;
                if last {
                    self.end(b"")?;
                    self.tail = LAST_CHUNK_END;
                }
            }
            (Framing::Chunked, true) | (Framing::Done, _) => {}
        }
        Ok(())
    }

    /// The body is complete; `mark` says so where it is chunked.
    fn end(&mut self, mark: &[u8]) -> Result<(), UploadError> {
        match std::mem::replace(&mut self.framing, Framing::Done) {
            Framing::Length(0) | Framing::Done => {}
            Framing::Length(_) => return Err(UploadError::Length),
            Framing::Chunked => self.lines.extend_from_slice(mark),
        }
        self.body = None;
        Ok(())
    }

    fn end_with(&mut self, trailers: &HeaderMap) -> Result<(), UploadError> {
        let mut end = b"0\r\n".to_vec();
        for (name, value) in trailers {
            if self.announced.contains(name) {
                put_line(&mut end, name, value.as_bytes());
            }
        }
        end.extend_from_slice(b"\r\n");
        self.end(&end)
    }

    /// Writes all that was taken.
    pub(super) fn poll_write(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.is_written() {
            let lines = self.lines.get(self.written..).unwrap_or_default();
            let mut stream = Pin::new(&mut *stream);
            let count = match (lines, &*self.piece, self.tail) {
                (only, [], []) | ([], only, []) | ([], [], only) => ready!(stream.poll_write(cx, only))?,
                (lines, piece, tail) => {
                    let slices = [IoSlice::new(lines), IoSlice::new(piece), IoSlice::new(tail)];
                    ready!(stream.as_mut().poll_write_vectored(cx, &slices))?
                }
            };
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.begun = true;
            self.advance(count);
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, count: usize) {
        let of_lines = count.min(self.lines.len() - self.written);
        self.written += of_lines;
        if self.written == self.lines.len() {
            self.written = 0;
            match self.framing {
                Framing::Chunked => self.lines.clear(),
                Framing::Done | Framing::Length(_) => self.lines = Vec::new(),
            }
        }
        let of_piece = (count - of_lines).min(self.piece.len());
        self.piece.advance(of_piece);
        if self.piece.is_empty() {
            // The memory may be a large buffer of the client's connection.
            self.piece = Bytes::new();
        }
        self.tail = self.tail.get(count - of_lines - of_piece..).unwrap_or_default();
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
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// `Content-Length`, which was checked when the request came in.
fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn announced(headers: &HeaderMap) -> Vec<HeaderName> {
    let lines = headers.get_all(header::TRAILER).into_iter();
    let names = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    names
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect()
}
