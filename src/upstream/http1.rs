//! One HTTP/1.1 connection to an endpoint. It has no task of its own: whoever has a request on it polls it, and nobody
//! does while it is idle.

mod outgoing;
mod response;
#[cfg(test)]
mod tests;

pub use outgoing::{RequestOut, UploadError, put_field, trailer_lines};
pub use response::HeadError;

use super::lost::Patience;
use super::pool::Socket;
use super::stream::Stream;
use crate::http1::{Decoder, Fault, Framing, Part, ResponseHead, ResponseLimits, ResponseReader, Trailers};
use crate::message::{Buffers, FIRST_READ, Response};
use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body::{Body, Frame, SizeHint};
use outgoing::Outgoing;
use std::error::Error;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// Room for what is read at once when much comes.
const LONG_READ: usize = 64 << 10;
/// Interim responses to one request, and the bytes that they may have together. Servers send a handful.
const INTERIM_MOST: u32 = 1000;
const INTERIM_BYTES: usize = 256 << 10;

/// Why a request got no response.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Its body could not be sent.
    #[error(transparent)]
    Upload(#[from] UploadError),
    /// What came is no response.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The connection has ended.
    #[error("the connection ended before the response")]
    Ended,
    /// The connection broke.
    #[error(transparent)]
    Broken(#[from] io::Error),
}

/// Why a response has no end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The request's body could not be sent to its end.
    #[error(transparent)]
    Upload(#[from] UploadError),
    /// What came is no body, or not all of it.
    #[error("the pod's response is broken: {0}")]
    Framing(#[from] Fault),
    /// The connection broke.
    #[error("the pod's connection broke in the middle of the response: {0}")]
    Broken(#[from] io::Error),
}

/// What is read next.
enum Reading {
    /// Nothing, for no request is under way.
    Idle,
    Head,
    Body(Decoder),
    /// Nothing, but these are still to be taken.
    Trailers(Box<HeaderMap>),
    /// Nothing, for the response has been read to its end.
    Ended,
    /// Nothing ever again.
    Failed,
}

/// An HTTP/1.1 connection, for one request at a time.
pub struct Http1<B> {
    stream: Stream,
    socket: Socket,
    /// Whether it has served a request before: then its end may be a keep-alive race.
    pub reused: bool,
    reading: Reading,
    /// What was read and not taken. Without memory while the connection is idle.
    input: BytesMut,
    /// Bytes at the beginning of `input` that are known to be data of the body.
    data: usize,
    reader: ResponseReader,
    /// The head that is being read.
    head: ResponseHead,
    /// How much room the next read gets.
    room: usize,
    /// Whether nothing was read since a request was begun.
    is_sent: bool,
    outgoing: Outgoing<B>,
    /// Why the request's body ended too early.
    upload_error: Option<UploadError>,
    /// Whether TLS may hold back some of what was written.
    unflushed: bool,
    /// Whether a write has failed. Nothing more is written then, but what the pod has said is still read: it may have
    /// answered without waiting for the whole request, and closed (RFC 9112, section 9.5). The kernel keeps such an answer
    /// over a reset, and the end is behind it.
    deaf: bool,
    patience: Patience,
    /// Whether the request changes the protocol, or sends more than may fit into a window.
    is_long: bool,
    /// Whether its method is HEAD.
    is_head: bool,
    /// Whether the pod keeps the connection.
    keeps: bool,
    /// Whether the response says how long its body is.
    has_length: bool,
    interim: u32,
    interim_bytes: usize,
    buffers: Rc<Buffers>,
    limits: ResponseLimits,
}

/// A connection that speaks another protocol now, with what was read of it already.
pub struct Upgraded {
    /// The connection.
    pub stream: Stream,
    /// Its first bytes.
    pub read: Bytes,
    /// Its file descriptor.
    pub socket: Socket,
}

impl<B> Http1<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// One that was opened just now.
    pub(super) fn new(stream: Stream, socket: Socket, max_response_head: usize, buffers: &Rc<Buffers>) -> Self {
        Self {
            stream,
            socket,
            reused: false,
            reading: Reading::Idle,
            input: BytesMut::new(),
            data: 0,
            reader: ResponseReader::new(ResponseLimits::new(max_response_head)),
            head: ResponseHead::default(),
            room: FIRST_READ,
            is_sent: false,
            outgoing: Outgoing::default(),
            upload_error: None,
            unflushed: false,
            deaf: false,
            patience: Patience::default(),
            is_long: false,
            is_head: false,
            keeps: false,
            has_length: false,
            interim: 0,
            interim_bytes: 0,
            buffers: buffers.clone(),
            limits: ResponseLimits::new(max_response_head),
        }
    }

    /// Begins a request, which may be one to change the protocol (RFC 9110, section 7.8). It is sent by polling.
    pub fn send(&mut self, request: RequestOut, body: B, upgrade: bool) {
        self.is_long = upgrade || !body.is_end_stream();
        self.is_head = request.is_head;
        self.outgoing = Outgoing::new(request, body);
        self.reading = Reading::Head;
        self.is_sent = true;
        (self.interim, self.interim_bytes) = (0, 0);
    }

    /// The next response: an interim one (1xx), or the final one, which 101 is too. Its body is then asked for by
    /// [`Http1::poll_frame`].
    pub fn poll_response(&mut self, response: &mut Response, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        let poll = self.poll_head(response, cx);
        if matches!(poll, Poll::Ready(Err(_))) {
            self.reading = Reading::Failed;
        }
        poll
    }

    fn poll_head(&mut self, response: &mut Response, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        self.poll_upload(cx);
        if let Some(error) = self.upload_error.take() {
            return Poll::Ready(Err(error.into()));
        }
        loop {
            if self.take_head(response)? {
                return Poll::Ready(Ok(()));
            }
            if ready!(self.poll_read(cx))? == 0 {
                return Poll::Ready(Err(SendError::Ended));
            }
        }
    }

    /// Whether a head was there.
    fn take_head(&mut self, response: &mut Response) -> Result<bool, HeadError> {
        if self.input.is_empty() {
            return Ok(false);
        }
        if self.head.lines.capacity() == 0 {
            self.head.lines = self.buffers.lines();
        }
        let (input, reader, buffers) = (&mut self.input, &mut self.reader, &self.buffers);
        if !reader
            .read(input, &mut self.head, self.is_head)
            .map_err(HeadError::from)?
        {
            return Ok(false);
        }
        response::take(input, &mut self.head, response, buffers)?;
        let (head, status) = (&self.head, response.status);
        if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
            self.interim += 1;
            self.interim_bytes += head.length;
            if self.interim > INTERIM_MOST || self.interim_bytes > INTERIM_BYTES {
                return Err(HeadError::Interim);
            }
            return Ok(true);
        }
        let keeps = response::keeps(&response.fields, head.version) && !head.has_both_framings;
        self.keeps = keeps && head.framing != Framing::UntilClose && !status.is_informational();
        self.has_length = matches!(head.framing, Framing::Length(_) | Framing::None);
        self.reading = match head.framing {
            Framing::None | Framing::Length(0) => Reading::Ended,
            framing => Reading::Body(Decoder::of_response(framing, &self.limits)),
        };
        Ok(true)
    }

    /// The next piece of the response's body, or its trailers. The request's body goes on meanwhile.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let poll = self.poll_body(cx);
        if matches!(poll, Poll::Ready(Err(_))) {
            self.reading = Reading::Failed;
        }
        poll.map(Result::transpose)
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, BodyError>> {
        self.poll_upload(cx);
        if let Some(error) = self.upload_error.take() {
            return Poll::Ready(Err(error.into()));
        }
        loop {
            if let Some(frame) = self.buffered()? {
                return Poll::Ready(Ok(Some(frame)));
            }
            match self.reading {
                Reading::Body(_) => {}
                Reading::Ended => return Poll::Ready(Ok(None)),
                _ => return Poll::Ready(Err(Fault::Incomplete.into())),
            }
            if ready!(self.poll_read(cx))? == 0
                && let Reading::Body(decoder) = &mut self.reading
            {
                decoder.end()?;
            }
        }
    }

    /// The next piece of the response's body as far as it was read already, or its trailers.
    ///
    /// # Errors
    /// What is wrong with the body.
    pub fn buffered(&mut self) -> Result<Option<Frame<Bytes>>, BodyError> {
        self.decode()?;
        if self.data > 0 {
            let data = self.input.split_to(self.data).freeze();
            self.data = 0;
            // The end may be behind it. A fault there is found again with the next piece.
            let _ = self.decode();
            return Ok(Some(Frame::data(data)));
        }
        let Reading::Trailers(trailers) = &mut self.reading else {
            return Ok(None);
        };
        let trailers = std::mem::take(&mut **trailers);
        self.reading = Reading::Ended;
        Ok(Some(Frame::trailers(trailers)))
    }

    /// Looks at what was read until it is data, or the body's end.
    fn decode(&mut self) -> Result<(), Fault> {
        let Reading::Body(decoder) = &mut self.reading else {
            return Ok(());
        };
        while self.data == 0 && !decoder.is_done() {
            let part = decoder.next(&self.input)?;
            if part == Part::default() {
                return Ok(());
            }
            self.input.advance(part.framing);
            self.data = part.data;
        }
        if self.data == 0 {
            self.reading = match decoder.take_trailers() {
                Some(trailers) => Reading::Trailers(Box::new(fields(&trailers))),
                None => Reading::Ended,
            };
        }
        Ok(())
    }

    /// Whether the response has been read to its end.
    pub fn is_ended(&self) -> bool {
        matches!(self.reading, Reading::Ended)
    }

    /// How much of the response's body comes, as far as the response says.
    pub fn size_hint(&self) -> SizeHint {
        let left = match &self.reading {
            _ if !self.has_length => None,
            Reading::Ended => Some(0),
            Reading::Body(decoder) => decoder.left().map(|left| left + self.data as u64),
            _ => None,
        };
        left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    /// Sends what can be sent of the request now. Whoever asks for the response does this too.
    pub fn poll_upload(&mut self, cx: &mut Context<'_>) {
        if self.deaf || self.upload_error.is_some() || (self.outgoing.is_done() && !self.unflushed) {
            return;
        }
        if let Err(error) = self.write(cx) {
            self.upload_error = Some(error);
        }
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Result<(), UploadError> {
        let patience = self.patience.set(&self.stream, self.is_long);
        self.deaf = patience.is_err();
        while !self.deaf {
            self.outgoing.take_piece(cx)?;
            if self.outgoing.is_written() {
                break;
            }
            match self.outgoing.poll_write(&mut self.stream, cx) {
                Poll::Ready(Ok(())) => self.unflushed = matches!(self.stream, Stream::Tls(_)),
                Poll::Ready(Err(_)) => self.deaf = true,
                Poll::Pending => return Ok(()),
            }
        }
        if self.unflushed
            && !self.deaf
            && let Poll::Ready(flushed) = Pin::new(&mut self.stream).poll_flush(cx)
        {
            self.unflushed = false;
            self.deaf = flushed.is_err();
        }
        Ok(())
    }

    /// Reads more. 0 is the end of the connection.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let is_first = std::mem::take(&mut self.is_sent);
        if self.input.capacity() == 0 && (is_first || self.room > FIRST_READ) && !matches!(self.stream, Stream::Tls(_))
        {
            // What waits for its pod needs no memory for that. A usual buffer is at hand, but not a large one. No pod answers
            // as soon as it is asked.
            ready!(self.stream.poll_read_ready(cx))?;
        }
        let known = match &self.reading {
            Reading::Body(decoder) => decoder.left(),
            _ => None,
        };
        let most = known.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
        // With room behind the body's end the last read is a short one, after which the kernel need not be asked whether the
        // pod has said anything else.
        let wanted = self.room.min(most.saturating_add(1));
        if self.input.capacity() == 0 && wanted <= FIRST_READ {
            self.input = self.buffers.input();
        } else if self.input.capacity() - self.input.len() < wanted {
            self.input.reserve(wanted);
        }
        let room = self.input.capacity() - self.input.len();
        let poll = pin!(self.stream.read_buf(&mut self.input)).poll(cx);
        if poll.is_pending() && self.input.is_empty() && self.room == FIRST_READ {
            self.buffers.return_input(std::mem::take(&mut self.input));
        }
        let count = ready!(poll)?;
        if count == room {
            self.room = LONG_READ;
        }
        Poll::Ready(Ok(count))
    }

    /// The request's body, if nothing of the request was sent: then it may be sent elsewhere.
    pub fn take_unsent(&mut self) -> Option<B> {
        self.outgoing.unsent()
    }

    /// The connection itself behind an expected 101.
    pub fn upgraded(self) -> Upgraded {
        Upgraded {
            stream: self.stream,
            read: self.input.freeze(),
            socket: self.socket,
        }
    }

    /// Makes it ready for another request, if that is possible: both messages have ended, neither side closes, and nothing
    /// was read behind the response. Whether something has come that was not read is looked at when it is used again.
    pub(super) fn rest(&mut self) -> bool {
        let both_ended = self.is_ended() && self.outgoing.is_done() && !self.unflushed && !self.deaf;
        if !both_ended || !self.keeps || !self.input.is_empty() {
            return false;
        }
        self.reading = Reading::Idle;
        let input = std::mem::take(&mut self.input);
        // What was read at once more than once is larger than what is usual.
        if std::mem::replace(&mut self.room, FIRST_READ) == FIRST_READ {
            self.buffers.return_input(input);
        }
        self.buffers.return_head(self.outgoing.take_head());
        self.reused = true;
        true
    }

    /// Whether the pod has neither closed nor said anything since, as far as the kernel has told. What it says unasked
    /// must not be taken for a response.
    pub(super) fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        match &mut self.stream {
            // The kernel is asked only if it has told of something.
            Stream::Plain(tcp) => {
                let read = tcp.try_read(&mut byte);
                read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
            }
            // There may be messages for TLS alone, such as tickets for later sessions.
            stream => {
                let mut context = Context::from_waker(Waker::noop());
                let read = Pin::new(stream).poll_read(&mut context, &mut ReadBuf::new(&mut byte));
                read.is_pending()
            }
        }
    }
}

/// The fields of a trailer section in the terms of the `http` crate.
pub fn fields(trailers: &Trailers) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for (name, value) in trailers.fields() {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            fields.append(name, value);
        }
    }
    fields
}
