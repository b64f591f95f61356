//! What a client sends: heads, which become requests, and the bodies behind them.

use super::Conn;
use crate::http1::{Decoder, Fault, Framing, Limits, Position, RequestHead, RequestReader};
use crate::message::{Buffers, FIRST_READ, Name, Request};
use crate::proxy::{self, BoxError, Http1Body, ProxyError, RequestBody};
use crate::upstream::frames::PREFACE;
use crate::upstream::http1::fields;
use bytes::{Buf, Bytes, BytesMut};
use http::Version;
use http::header::HeaderMap;
use http_body::{Frame, SizeHint};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

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
    /// Whether the connection may turn out to speak HTTP/2 by its first bytes (RFC 9113, section 3.3).
    may_be_http2: bool,
    /// The body of the present request, until all of it was read.
    body: Option<Decoder>,
    /// Whether the client waits with its body until it is told to go on.
    waits: bool,
    /// The task that waits for more of the body.
    waker: Option<Waker>,
}

/// What a client wants next.
pub(super) enum Heard {
    Request(Rc<Request>, RequestBody),
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
            may_be_http2,
            body: None,
            waits: false,
            waker: None,
        }
    }

    /// Gives back what is only there for speed.
    pub(super) fn rest(&mut self) {
        self.reader.rest();
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

    /// What the bytes that are there begin with. They are in the buffer, or were just read and are nowhere else.
    fn look(&mut self, read: Option<&[u8]>, buffers: &Buffers) -> Result<Look, Fault> {
        let bytes = read.unwrap_or(&self.buffer);
        if bytes.is_empty() {
            return Ok(Look::More);
        }
        if self.may_be_http2 {
            if bytes.starts_with(PREFACE) {
                return Ok(Look::Http2);
            }
            if PREFACE.starts_with(bytes) {
                return Ok(Look::More);
            }
            self.may_be_http2 = false;
        }
        if self.head.lines.capacity() == 0 {
            self.head.lines = buffers.lines();
        }
        let complete = self.reader.read(bytes, &mut self.head)?;
        Ok(if complete { Look::Head } else { Look::More })
    }

    /// Keeps bytes that were read.
    fn keep(&mut self, read: &[u8], buffers: &Buffers) {
        if read.is_empty() {
            return;
        }
        if self.buffer.capacity() == 0 && read.len() <= FIRST_READ {
            self.buffer = buffers.input();
        }
        self.buffer.extend_from_slice(read);
    }

    /// Takes the head that was read, and makes ready for the body behind it.
    fn take_head(&mut self, read: Option<&[u8]>, buffers: &Buffers, limits: &Limits) -> Option<Rc<Request>> {
        let mut shared = buffers.request();
        let request = Rc::get_mut(&mut shared)?;
        let (head, behind) = read.unwrap_or(&self.buffer).split_at_checked(self.head.length)?;
        if !request.set_head(head, &mut self.head) {
            return None;
        }
        let is_all = behind.is_empty();
        match read.and_then(|read| read.get(self.head.length..)) {
            Some(behind) => self.keep(behind, buffers),
            None if is_all => buffers.return_input(std::mem::take(&mut self.buffer)),
            None => self.buffer.advance(self.head.length),
        }
        self.waits = false;
        self.body = match self.head.framing {
            Framing::None | Framing::Length(0) => None,
            framing => {
                let expects = request.fields.get(&Name::Expect);
                let waits = expects.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
                self.waits = waits && request.version == Version::HTTP_11;
                Some(Decoder::new(framing, limits))
            }
        };
        Some(shared)
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

impl Conn {
    /// The next request.
    pub(super) fn poll_request(self: &Rc<Self>, cx: &mut Context<'_>) -> Poll<Heard> {
        loop {
            // Mostly nothing has come yet.
            let is_empty = self.input.borrow().buffer.is_empty();
            if !is_empty && let Some(heard) = self.look(None) {
                return Poll::Ready(heard);
            }
            match ready!(self.poll_fill_head(cx)) {
                Ok(None) => {}
                Ok(Some(heard)) => return Poll::Ready(heard),
                Err(_) => return Poll::Ready(Heard::End),
            }
        }
    }

    /// What the bytes that are there say; absent if more have to be read. They are in the buffer, or were just read.
    fn look(self: &Rc<Self>, read: Option<&[u8]>) -> Option<Heard> {
        let buffers = &self.shard.worker.buffers;
        let mut input = self.input.borrow_mut();
        let began = input.reader.position() == Position::Head;
        let look = match input.look(read, buffers) {
            Ok(look) => look,
            Err(fault) => {
                // What follows a fault is thrown away, but it is there.
                input.keep(read.unwrap_or_default(), buffers);
                drop(input);
                self.note_fault(fault);
                return Some(Heard::End);
            }
        };
        let is_head = matches!(look, Look::Head) || input.reader.position() == Position::Head;
        if is_head && !began {
            self.since.set(self.clock().now());
            self.pace.begin(self.clock());
        }
        match look {
            Look::More => {
                input.keep(read.unwrap_or_default(), buffers);
                None
            }
            Look::Http2 => {
                input.keep(read.unwrap_or_default(), buffers);
                Some(Heard::Http2(std::mem::take(&mut input.buffer).freeze()))
            }
            Look::Head => {
                let Some(request) = input.take_head(read, buffers, &self.shard.limits) else {
                    drop(input);
                    self.refuse();
                    return Some(Heard::End);
                };
                self.heads.set(self.heads.get().wrapping_add(1));
                let has_body = input.body.is_some();
                drop(input);
                let body = if has_body { self.body() } else { RequestBody::Empty };
                Some(Heard::Request(request, body))
            }
        }
    }

    fn body(self: &Rc<Self>) -> RequestBody {
        RequestBody::Http1(Box::new(Body {
            conn: self.clone(),
            number: self.heads.get(),
        }))
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

    /// Reads bytes of a head, and looks at them. While none come, no memory is held for them, and none is needed for a head
    /// that comes whole.
    fn poll_fill_head(self: &Rc<Self>, cx: &mut Context<'_>) -> Poll<io::Result<Option<Heard>>> {
        let mut scratch = self.shard.scratch.borrow_mut();
        let mut read = ReadBuf::new(&mut scratch);
        let poll = Pin::new(&mut *self.stream.borrow_mut()).poll_read(cx, &mut read);
        let read = read.filled();
        let mut input = self.input.borrow_mut();
        let is_new = input.buffer.is_empty();
        if !is_new {
            input.keep(read, &self.shard.worker.buffers);
        }
        drop(input);
        let in_head = self.position() == Position::Head;
        if ready!(self.note_read(poll.map_ok(|()| read.len()), in_head))? == 0 {
            return Poll::Ready(Ok(Some(Heard::End)));
        }
        Poll::Ready(Ok(if is_new { self.look(Some(read)) } else { None }))
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
        self.input.borrow_mut().waits = false;
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
            if std::mem::take(&mut self.input.borrow_mut().waits) {
                self.pending.borrow_mut().extend_from_slice(CONTINUE);
            }
            let _ = self.poll_pending(cx)?;
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
