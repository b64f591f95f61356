//! What a client sends: heads, which become requests, and the bodies behind them.

use super::Conn;
use crate::http1::{Decoder, Fault, Framing, Limits, Position, RequestHead, RequestReader, Span};
use crate::proxy::{self, BoxError, Http1Body, ProxyError, RequestBody};
use crate::upstream::frames::PREFACE;
use crate::upstream::http1::fields;
use bytes::{Buf, Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Uri, Version};
use http_body::{Frame, SizeHint};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// Bytes of a body that are read at once, at most; and how many there has to be room for.
const PIECE: usize = 64 << 10;
const LEAST: usize = 8 << 10;
/// Said to a client that waits with its body until it is wanted (RFC 9110, section 10.1.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What a client has sent and was not taken yet.
pub(super) struct Input {
    buffer: BytesMut,
    reader: RequestReader,
    head: RequestHead,
    limits: Limits,
    /// Whether the connection may turn out to speak HTTP/2 by its first bytes (RFC 9113, section 3.3).
    may_be_http2: bool,
    /// The body of the present request, until all of it was read.
    body: Option<Decoder>,
    /// The rest of a 100 that is to be sent before the body is read.
    unsaid: &'static [u8],
    /// The task that waits for more of the body.
    waker: Option<Waker>,
}

/// What a client wants next.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are requests, and a box would be one allocation more for each"
)]
pub(super) enum Heard {
    Request(Request<RequestBody>),
    /// The connection speaks HTTP/2, and these are its first bytes.
    Http2(Bytes),
    /// Nothing any more, or a fault.
    End,
}

impl Input {
    /// Nothing but `held` has come yet.
    pub(super) fn new(limits: &Limits, may_be_http2: bool, held: &[u8]) -> Self {
        Self {
            buffer: BytesMut::from(held),
            reader: RequestReader::new(*limits),
            head: RequestHead::default(),
            limits: *limits,
            may_be_http2,
            body: None,
            unsaid: b"",
            waker: None,
        }
    }

    pub(super) fn position(&self) -> Position {
        match (&self.body, self.buffer.is_empty()) {
            (Some(_), _) => Position::Body,
            (None, true) => Position::Between,
            // What is there was looked at, unless a request is under way.
            (None, false) => self.reader.position(),
        }
    }

    /// Whether the client has sent something behind the present request.
    pub(super) fn has_more(&self) -> bool {
        self.body.is_none() && !self.buffer.is_empty()
    }

    /// What the bytes that are there begin with.
    fn look(&mut self) -> Result<Look, Fault> {
        if self.buffer.is_empty() {
            return Ok(Look::More);
        }
        if self.may_be_http2 {
            if self.buffer.starts_with(PREFACE) {
                return Ok(Look::Http2);
            }
            if PREFACE.starts_with(&self.buffer) {
                return Ok(Look::More);
            }
            self.may_be_http2 = false;
        }
        let complete = self.reader.read(&self.buffer, &mut self.head)?;
        Ok(if complete { Look::Head } else { Look::More })
    }

    /// Takes the head that was read, and makes ready for the body behind it.
    fn take_head(&mut self) -> Option<Head> {
        let bytes = self.buffer.split_to(self.head.length).freeze();
        if self.buffer.is_empty() {
            // An idle connection keeps no memory.
            self.buffer = BytesMut::new();
        }
        let head = Head::of(&bytes, &self.head)?;
        self.unsaid = b"";
        self.body = match self.head.framing {
            Framing::None | Framing::Length(0) => None,
            framing => {
                let waits = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
                if head.headers.get(header::EXPECT).is_some_and(waits) && head.version == Version::HTTP_11 {
                    self.unsaid = CONTINUE;
                }
                Some(Decoder::new(framing, &self.limits))
            }
        };
        Some(head)
    }

    /// What the present body goes on with; absent if more has to be read first.
    fn decode(&mut self) -> Result<Option<Decoded>, Fault> {
        let Some(decoder) = &mut self.body else {
            return Ok(Some(Decoded::End));
        };
        loop {
            let part = decoder.next(&self.buffer)?;
            self.buffer.advance(part.framing);
            if part.data > 0 {
                let data = self.buffer.split_to(part.data).freeze();
                if decoder.is_done() {
                    self.end_body();
                }
                return Ok(Some(Decoded::Data(data)));
            }
            if decoder.is_done() {
                let trailers = decoder.take_trailers();
                self.end_body();
                return Ok(Some(
                    trailers.map_or(Decoded::End, |trailers| Decoded::Trailers(fields(&trailers))),
                ));
            }
            if part.framing == 0 {
                return Ok(None);
            }
        }
    }

    fn end_body(&mut self) {
        self.body = None;
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
    }
}

/// What a body goes on with.
enum Decoded {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
}

/// What the bytes that are there begin with.
enum Look {
    More,
    Head,
    Http2,
}

/// A head in the terms of the `http` crate.
struct Head {
    method: Method,
    uri: Uri,
    version: Version,
    headers: HeaderMap,
}

impl Head {
    fn of(bytes: &Bytes, head: &RequestHead) -> Option<Self> {
        let part = |span: Span| bytes.slice(span.start as usize..span.end as usize);
        let target = match &head.encoded {
            Some(encoded) => Bytes::copy_from_slice(encoded),
            None => part(head.target),
        };
        let mut headers = HeaderMap::with_capacity(head.lines.len());
        for line in &head.lines {
            let name = HeaderName::from_bytes(line.name.of(bytes)).ok()?;
            headers.append(name, HeaderValue::from_maybe_shared(part(line.value)).ok()?);
        }
        Some(Self {
            method: Method::from_bytes(head.method.of(bytes)).ok()?,
            uri: Uri::from_maybe_shared(target).ok()?,
            version: if head.version == 10 {
                Version::HTTP_10
            } else {
                Version::HTTP_11
            },
            headers,
        })
    }
}

impl Conn {
    /// The next request.
    pub(super) fn poll_request(self: &Rc<Self>, cx: &mut Context<'_>) -> Poll<Heard> {
        loop {
            let mut input = self.input.borrow_mut();
            let began = input.reader.position() == Position::Head;
            let look = match input.look() {
                Ok(look) => look,
                Err(fault) => {
                    drop(input);
                    self.note_fault(fault);
                    return Poll::Ready(Heard::End);
                }
            };
            let is_head = matches!(look, Look::Head) || input.reader.position() == Position::Head;
            if is_head && !began {
                self.since.set(self.clock().now());
                self.pace.begin(self.clock());
            }
            match look {
                Look::More => {}
                Look::Http2 => return Poll::Ready(Heard::Http2(std::mem::take(&mut input.buffer).freeze())),
                Look::Head => {
                    let Some(head) = input.take_head() else {
                        drop(input);
                        self.refuse();
                        return Poll::Ready(Heard::End);
                    };
                    self.heads.set(self.heads.get().wrapping_add(1));
                    let body = input.body.is_some();
                    drop(input);
                    return Poll::Ready(Heard::Request(self.request(head, body)));
                }
            }
            drop(input);
            match ready!(self.poll_fill_head(cx)) {
                Ok(count) if count > 0 => {}
                Ok(_) | Err(_) => return Poll::Ready(Heard::End),
            }
        }
    }

    fn request(self: &Rc<Self>, head: Head, has_body: bool) -> Request<RequestBody> {
        let mut request = Request::new(if has_body {
            RequestBody::Http1(Box::new(Body {
                conn: self.clone(),
                number: self.heads.get(),
            }))
        } else {
            RequestBody::Empty
        });
        *request.method_mut() = head.method;
        *request.uri_mut() = head.uri;
        *request.version_mut() = head.version;
        *request.headers_mut() = head.headers;
        request
    }

    fn note_fault(&self, fault: Fault) {
        self.fault.set(Some(fault));
        self.shard.worker.counters.refused_by_filter.add();
    }

    /// The `http` crate does not take what the reader has taken, which is a fault of narthex.
    fn refuse(&self) {
        let worker = &self.shard.worker;
        worker.counters.refused_by_hyper.add();
        self.fault.set(Some(Fault::Target));
        proxy::refused(worker, &self.client.peer, ProxyError::Refused, "", None);
        tracing::warn!(peer = %self.client.peer.socket, "the HTTP library refused a request that narthex accepted: please report this");
    }

    /// Reads bytes of a head. While none come, no memory is held for them.
    fn poll_fill_head(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut scratch = self.shard.scratch.borrow_mut();
        let mut read = ReadBuf::new(&mut scratch);
        let poll = Pin::new(&mut *self.stream.borrow_mut()).poll_read(cx, &mut read);
        let count = read.filled().len();
        self.input.borrow_mut().buffer.extend_from_slice(read.filled());
        let in_head = self.position() == Position::Head;
        self.note_read(poll.map_ok(|()| count), in_head)
    }

    /// Reads bytes of a body, into the memory that they are passed on from.
    fn poll_fill_body(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut input = self.input.borrow_mut();
        let input = &mut *input;
        let left = input.body.as_ref().and_then(Decoder::left).unwrap_or(u64::MAX);
        if input.buffer.capacity() - input.buffer.len() < LEAST {
            input
                .buffer
                .reserve(usize::try_from(left).map_or(PIECE, |left| left.clamp(LEAST, PIECE)));
        }
        let mut stream = self.stream.borrow_mut();
        let poll = pin!(stream.read_buf(&mut input.buffer)).poll(cx);
        if poll.is_pending() {
            input.waker = Some(cx.waker().clone());
        }
        self.note_read(poll, false)
    }

    fn note_read(&self, poll: Poll<io::Result<usize>>, in_head: bool) -> Poll<io::Result<usize>> {
        match &poll {
            Poll::Pending => {
                // The time of a head runs from its first byte; any other silence begins here.
                if !self.reading.replace(true) && !in_head {
                    self.since.set(self.clock().now());
                }
            }
            Poll::Ready(result) => {
                self.reading.set(false);
                match result {
                    Ok(0) => self.ended.set(true),
                    Ok(count) => self.pace.passed(*count),
                    Err(_) => {}
                }
            }
        }
        poll
    }

    /// Wakes whoever waits for more of the request's body.
    pub(super) fn wake_reader(&self) {
        if let Some(waker) = self.input.borrow_mut().waker.take() {
            waker.wake();
        }
    }

    /// Whether the client has sent something behind the present request, which has no body.
    pub(super) fn has_spoken(&self) -> bool {
        if self.input.borrow().body.is_some() || self.input.borrow().has_more() {
            return true;
        }
        let mut byte = [0];
        let mut read = ReadBuf::new(&mut byte);
        let mut cx = Context::from_waker(Waker::noop());
        let poll = Pin::new(&mut *self.stream.borrow_mut()).poll_read(&mut cx, &mut read);
        poll.is_ready()
    }

    /// Skips what is left of the request's body, if all of it has come. Whether another request may follow.
    pub(super) fn skip_body(&self) -> bool {
        // A client that was not told to go on sends no body.
        self.input.borrow_mut().unsaid = b"";
        let mut cx = Context::from_waker(Waker::noop());
        let mut skipped = 0;
        while skipped < PIECE {
            match self.poll_body(&mut cx) {
                Poll::Ready(Some(Ok(frame))) => skipped += frame.data_ref().map_or(0, Bytes::len),
                Poll::Ready(None) => return true,
                Poll::Ready(Some(Err(_))) | Poll::Pending => return false,
            }
        }
        false
    }

    /// Tells a client to go on that waits with its body.
    fn poll_continue(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let unsaid = self.input.borrow().unsaid;
            if unsaid.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let mut stream = self.stream.borrow_mut();
            let poll = Pin::new(&mut *stream).poll_write(cx, unsaid);
            self.note_written(&poll);
            let count = ready!(poll)?;
            // What TLS holds back of it leaves with the reply at the latest.
            let _ = Pin::new(&mut *stream).poll_flush(cx);
            self.input.borrow_mut().unsaid = unsaid.get(count..).unwrap_or_default();
        }
    }

    /// The next piece of the present request's body.
    fn poll_body(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            if self.client.wait.body_late.get() {
                return Poll::Ready(Some(Err(io::Error::from(io::ErrorKind::TimedOut).into())));
            }
            let decoded = self.input.borrow_mut().decode();
            match decoded {
                Ok(Some(Decoded::Data(data))) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Some(Decoded::Trailers(fields))) => return Poll::Ready(Some(Ok(Frame::trailers(fields)))),
                Ok(Some(Decoded::End)) => return Poll::Ready(None),
                Ok(None) => {}
                Err(fault) => {
                    self.note_fault(fault);
                    return Poll::Ready(Some(Err(fault.into())));
                }
            }
            ready!(self.poll_continue(cx)?);
            if ready!(self.poll_fill_body(cx)?) == 0 {
                return Poll::Ready(Some(Err(io::Error::from(io::ErrorKind::UnexpectedEof).into())));
            }
        }
    }
}

/// The body of one request, which the connection reads.
struct Body {
    conn: Rc<Conn>,
    /// Which request it is of, by the number of heads.
    number: u32,
}

impl Body {
    /// Whether the connection has come to another request.
    fn is_over(&self) -> bool {
        self.conn.heads.get() != self.number
    }
}

impl Http1Body for Body {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.is_over() {
            return Poll::Ready(Some(Err("the reply has come before the whole request".into())));
        }
        self.conn.poll_body(cx)
    }

    fn is_end_stream(&self) -> bool {
        !self.is_over() && self.conn.input.borrow().body.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let input = self.conn.input.borrow();
        match &input.body {
            None => SizeHint::with_exact(0),
            Some(decoder) => decoder.left().map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}
