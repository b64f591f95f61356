//! A reply on its way to the client: its head, and the body behind it.

use super::Conn;
use crate::http1::{Encoder, Outgoing};
use crate::message::{Field, Fields, Name, Request, Response};
use crate::proxy::{Reply, ReplyBody};
use crate::upstream::http1::{put_field, trailer_lines};
use bytes::{Buf, Bytes, BytesMut};
use http::{Method, StatusCode, Version};
use http_body::{Body, Frame};
use std::io::Write;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

/// What a reply's form depends on in its request.
pub(super) struct Asked {
    is_head: bool,
    is_old: bool,
    /// Whether the client takes trailers (RFC 9110, section 6.5.1).
    takes_trailers: bool,
}

impl Asked {
    pub(super) fn of(request: &Request) -> Self {
        Self {
            is_head: request.method == Method::HEAD,
            is_old: request.version == Version::HTTP_10,
            takes_trailers: request.fields.has_option(&Name::Te, b"trailers"),
        }
    }
}

/// A reply that breaks off.
#[derive(Debug)]
pub(super) struct BrokenOff;

/// A reply that is being written.
pub(super) struct Sending<'r> {
    /// Until all of it is in `out`. The request is counted by then, so that a client which has its reply finds it counted.
    body: Option<&'r mut ReplyBody>,
    out: Outgoing,
    encoder: Encoder,
    /// Fields that may stand behind the body.
    trailers: Vec<Box<[u8]>>,
    closes: bool,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// More of the body comes.
    Body,
    /// All of it is in `out`.
    Ended,
    /// The body broke off; what came before it is still written.
    Broken,
}

impl<'r> Sending<'r> {
    pub(super) fn new(conn: &Conn, reply: &'r mut Reply, asked: &Asked) -> Self {
        let Reply { head, body } = reply;
        let status = head.status;
        let upgrades = status == StatusCode::SWITCHING_PROTOCOLS;
        let is_bodiless =
            asked.is_head || upgrades || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
        let (encoder, has_body) = match body.size_hint().exact() {
            _ if is_bodiless || body.is_end_stream() => (Encoder::Length(0), false),
            Some(length) => (Encoder::Length(length), true),
            None => match head.fields.length() {
                Some(length) => (Encoder::Length(length), true),
                None if asked.is_old => (Encoder::UntilClose, true),
                None => (Encoder::Chunked, true),
            },
        };
        let says_close = head.fields.has_option(&Name::Connection, b"close");
        let closes = says_close || conn.client.flags.said_last.get() || encoder == Encoder::UntilClose;
        let buffers = &conn.shard.worker.buffers;
        let mut out = Outgoing::default();
        *out.head() = buffers.head();
        conn.take_interim();
        if !conn.pending.borrow().is_empty() {
            out.head().extend_from_slice(&conn.pending.take());
        }
        let chunked = encoder == Encoder::Chunked;
        let trailers = if chunked && asked.takes_trailers {
            head.fields.announced()
        } else {
            Vec::new()
        };
        write_status(out.head(), head, asked.is_old);
        // A reply to HEAD says how long its body would be.
        let keeps_length = encoder != Encoder::Chunked && (has_body || asked.is_head);
        let stays = |field: Field<'_>| match field.known {
            Name::TransferEncoding => false,
            Name::Trailer => chunked,
            Name::ContentLength => keeps_length,
            _ => true,
        };
        write_lines(out.head(), &head.fields, stays);
        if !(keeps_length && head.fields.contains(&Name::ContentLength)) {
            write_framing(out.head(), &encoder, is_bodiless);
        }
        if upgrades {
        } else if closes && !says_close {
            out.head().extend_from_slice(b"connection: close\r\n");
        } else if asked.is_old && !closes {
            out.head().extend_from_slice(b"connection: keep-alive\r\n");
        }
        if !head.fields.contains(&Name::Date)
            && let Some(date) = conn.shard.date.now(conn.clock())
        {
            put_field(out.head(), "date", date.as_bytes());
        }
        out.head().extend_from_slice(b"\r\n");
        buffers.return_fields(std::mem::take(&mut head.fields));
        if !has_body {
            body.finish();
        }
        Self {
            stage: if has_body { Stage::Body } else { Stage::Ended },
            body: has_body.then_some(body),
            out,
            encoder,
            trailers,
            closes,
        }
    }

    /// Whether the connection closes behind it.
    pub(super) fn closes(&self) -> bool {
        self.closes
    }

    /// Ready when all of it is written.
    pub(super) fn poll(&mut self, conn: &Conn, cx: &mut Context<'_>) -> Poll<Result<(), BrokenOff>> {
        loop {
            let mut waits = false;
            if self.stage == Stage::Body && self.out.has_room() {
                waits = self.poll_piece(cx).is_pending();
                if self.stage != Stage::Body
                    && let Some(body) = self.body.take()
                {
                    body.finish();
                }
            }
            if self.out.is_empty() {
                ready!(poll_flush(conn, cx)).map_err(|_| BrokenOff)?;
                match self.stage {
                    Stage::Body if waits => return Poll::Pending,
                    Stage::Body => continue,
                    Stage::Ended => return Poll::Ready(Ok(())),
                    Stage::Broken => return Poll::Ready(Err(BrokenOff)),
                }
            }
            match poll_write(conn, &self.out, cx) {
                Poll::Ready(Ok(count)) if count > 0 => {
                    self.out.advance(count);
                    conn.shard.worker.buffers.return_head(self.out.take_head());
                }
                Poll::Ready(_) => return Poll::Ready(Err(BrokenOff)),
                Poll::Pending => {
                    // A client may not read before it has sent all of its request.
                    if let Some(body) = &mut self.body {
                        body.poll_upload(cx);
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// Puts the next piece of the body in.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(body) = &mut self.body else {
            self.stage = Stage::Ended;
            return Poll::Ready(());
        };
        let put = match ready!(Pin::new(&mut **body).poll_frame(cx)) {
            Some(Ok(frame)) => {
                let last = body.is_end_stream();
                self.put(frame, last)
            }
            Some(Err(_)) => {
                self.stage = Stage::Broken;
                return Poll::Ready(());
            }
            None => self.end(b""),
        };
        if put.is_err() {
            self.stage = Stage::Broken;
        }
        Poll::Ready(())
    }

    fn put(&mut self, frame: Frame<Bytes>, last: bool) -> Result<(), BrokenOff> {
        match frame.into_data() {
            Ok(data) => {
                self.encoder.piece(&mut self.out, data, last).map_err(|_| BrokenOff)?;
                if last {
                    self.stage = Stage::Ended;
                }
                Ok(())
            }
            Err(frame) => {
                let lines = trailer_lines(&frame.into_trailers().unwrap_or_default(), &self.trailers);
                self.end(&lines)
            }
        }
    }

    fn end(&mut self, trailers: &[u8]) -> Result<(), BrokenOff> {
        self.stage = Stage::Ended;
        self.encoder.end(&mut self.out, trailers).map_err(|_| BrokenOff)
    }
}

impl Conn {
    /// Sends the client the interim responses that have come.
    pub(super) fn inform(&self, cx: &mut Context<'_>) {
        self.take_interim();
        // What cannot be written now leaves before the reply, and a connection that is broken shows by that.
        let _ = self.poll_pending(cx);
    }

    #[inline]
    fn take_interim(&self) {
        if self.client.is_informed() {
            self.write_interim();
        }
    }

    #[cold]
    fn write_interim(&self) {
        for head in self.client.take_interim() {
            let mut bytes = Vec::new();
            write_status(&mut bytes, &head, false);
            head.fields.write_lines(0..head.fields.len(), &mut bytes);
            bytes.extend_from_slice(b"\r\n");
            self.pending.borrow_mut().extend_from_slice(&bytes);
        }
    }

    /// Writes interim responses.
    #[inline]
    pub(super) fn poll_pending(&self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        if self.pending.borrow().is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.write_pending(cx)
    }

    #[cold]
    fn write_pending(&self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let mut pending = self.pending.borrow_mut();
        let mut stream = self.stream.borrow_mut();
        while !pending.is_empty() {
            let poll = Pin::new(&mut *stream).poll_write(cx, &pending);
            self.note_written(&poll);
            let count = ready!(poll)?;
            pending.advance(count);
        }
        *pending = BytesMut::new();
        Pin::new(&mut *stream).poll_flush(cx)
    }
}

fn poll_write(conn: &Conn, out: &Outgoing, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
    let poll = conn.stream.borrow_mut().poll_write_out(out, cx);
    conn.note_written(&poll);
    poll
}

fn poll_flush(conn: &Conn, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
    let poll = Pin::new(&mut *conn.stream.borrow_mut()).poll_flush(cx);
    // TLS takes in what the socket does not; only here it is seen that it does not leave.
    conn.note_write(&poll);
    poll
}

fn write_status(out: &mut Vec<u8>, head: &Response, is_old: bool) {
    out.reserve(96 + head.fields.len() * 40);
    if head.status == StatusCode::OK && !is_old && head.reason.is_none() {
        return out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    }
    let version = if is_old { &b"HTTP/1.0 "[..] } else { b"HTTP/1.1 " };
    out.extend_from_slice(version);
    out.extend_from_slice(head.status.as_str().as_bytes());
    out.push(b' ');
    match &head.reason {
        Some(reason) => out.extend_from_slice(reason),
        None => out.extend_from_slice(head.status.canonical_reason().unwrap_or_default().as_bytes()),
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes the lines that are to stay, as they came.
fn write_lines(out: &mut Vec<u8>, fields: &Fields, stays: impl Fn(Field<'_>) -> bool) {
    let mut run = 0..0;
    for field in fields.iter() {
        if !stays(field) {
            if !run.is_empty() {
                fields.write_lines(run.clone(), out);
            }
            run.start = run.end + 1;
        }
        run.end += 1;
    }
    fields.write_lines(run, out);
}

/// Says how the body is framed. What never has a body needs no word of it.
fn write_framing(out: &mut Vec<u8>, encoder: &Encoder, is_bodiless: bool) {
    match encoder {
        Encoder::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Encoder::UntilClose => {}
        Encoder::Length(_) if is_bodiless => {}
        Encoder::Length(length) => {
            // Writing to a Vec does not fail.
            let _ = write!(out, "content-length: {length}\r\n");
        }
    }
}
