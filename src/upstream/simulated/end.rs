//! One end of a simulated connection, as a socket is to whoever polls it.

use super::{DRIBBLED, Event, Link, Pipe, Style, lock};
use crate::upstream::stream::Closed;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// One end of a connection.
pub struct End {
    link: Arc<Link>,
    side: usize,
    resets: AtomicBool,
}

impl End {
    /// One of both ends.
    pub(super) fn new(link: &Arc<Link>, side: usize) -> Self {
        Self {
            link: link.clone(),
            side,
            resets: AtomicBool::new(false),
        }
    }

    /// The connection.
    pub fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// Ready when bytes have come, or the end.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut pipe = lock(&self.link.pipes[1 - self.side]);
        if pipe.arrived > 0 || pipe.end_arrived || pipe.reset {
            return Poll::Ready(Ok(()));
        }
        pipe.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// What the other side has closed.
    pub fn closed(&self) -> Closed {
        let pipe = lock(&self.link.pipes[1 - self.side]);
        Closed {
            read: pipe.end_arrived || pipe.reset,
            write: pipe.reset,
        }
    }

    /// Has the connection be reset when this end is dropped.
    pub fn reset_when_dropped(&self) {
        self.resets.store(true, Ordering::Relaxed);
    }

    /// Reads into `buffer`: how many bytes.
    pub fn poll_take(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let (link, network) = (&self.link, &self.link.network);
        let mut pipe = lock(&link.pipes[1 - self.side]);
        if pipe.arrived > 0 && !buffer.is_empty() {
            let mut count = pipe.arrived.min(buffer.len());
            let mut random = lock(&network.random);
            if pipe.style != Style::Whole && random.u8(..4) == 0 {
                count = random.usize(1..=count);
            }
            let (head, tail) = pipe.bytes.as_slices();
            let from_head = count.min(head.len());
            buffer[..from_head].copy_from_slice(&head[..from_head]);
            buffer[from_head..count].copy_from_slice(&tail[..count - from_head]);
            pipe.bytes.drain(..count);
            pipe.arrived -= count;
            pipe.read += count as u64;
            Pipe::wake(&mut pipe.writer);
            network.note(link.who(self.side), || {
                let from = link.who(1 - self.side);
                format!("reads {count} bytes from {from} {}", excerpt(&buffer[..count]))
            });
            return Poll::Ready(Ok(count));
        }
        if pipe.reset && !pipe.reset_told {
            pipe.reset_told = true;
            network.note(link.who(self.side), || {
                format!("finds a reset by {}", link.who(1 - self.side))
            });
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if pipe.end_arrived || pipe.reset || buffer.is_empty() {
            network.note(link.who(self.side), || {
                format!("finds the end of {}", link.who(1 - self.side))
            });
            return Poll::Ready(Ok(0));
        }
        pipe.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Writes some of `bytes`: how many.
    pub fn poll_give(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let (link, network) = (&self.link, &self.link.network);
        let mut pipe = lock(&link.pipes[self.side]);
        let back = lock(&link.pipes[1 - self.side]);
        let is_reset = back.reset;
        // Whoever waits to write has chosen the connection before.
        let is_new = pipe.waits_at != Some(pipe.written);
        if pipe.idle == Some(pipe.written) && is_new && (back.arrived > 0 || back.end_arrived || is_reset) {
            let name = &link.name;
            lock(&network.faults).push(format!(
                "{name} is sent a request though it has closed or said something unasked"
            ));
        }
        drop(back);
        if pipe.ended || is_reset {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let now = Instant::now();
        let room = pipe.room.saturating_sub(pipe.bytes.len());
        if room == 0 || pipe.shut.is_some_and(|until| now < until) {
            pipe.writer = Some(cx.waker().clone());
            pipe.waits_at = Some(pipe.written);
            return Poll::Pending;
        }
        let mut random = lock(&network.random);
        let dribbles = pipe.style == Style::Dribble && pipe.written < DRIBBLED;
        let mut count = bytes.len().min(room);
        if dribbles {
            count = random.usize(1..=count.min(7));
        } else if pipe.style != Style::Whole && random.u8(..4) == 0 {
            count = random.usize(1..=count);
        }
        let (taken, _) = bytes.split_at(count);
        pipe.bytes.extend(taken);
        pipe.written += count as u64;
        if let Some(record) = &mut pipe.record {
            record.extend_from_slice(taken);
        }
        network.note(link.who(self.side), || {
            let (to, all) = (link.who(1 - self.side), bytes.len());
            format!("sends {count} of {all} bytes to {to} {}", excerpt(taken))
        });
        if pipe.style == Style::Whole {
            pipe.arrived += count;
            pipe.last = now;
            let unread = pipe.unread;
            Pipe::wake(&mut pipe.reader);
            drop((pipe, random));
            if unread {
                link.reset(1 - self.side);
            }
            return Poll::Ready(Ok(count));
        }
        let mut left = count;
        while left > 0 {
            let piece = match random.u8(..4) {
                _ if dribbles => random.usize(1..=left.min(3)),
                0 | 1 => left,
                _ => random.usize(1..=left),
            };
            left -= piece;
            let pause = random.u64(..3) * u64::from(random.bool());
            pipe.last = pipe.last.max(now) + Duration::from_millis(pause);
            network.schedule(pipe.last, link, self.side, Event::Arrive(piece));
        }
        if random.u8(..8) == 0 {
            let until = now + Duration::from_millis(random.u64(1..20));
            pipe.shut = Some(until);
            network.schedule(until, link, self.side, Event::Writable);
        }
        Poll::Ready(Ok(count))
    }

    /// Sends the end.
    pub fn end(&self) {
        let link = &self.link;
        link.network.note(link.who(self.side), || {
            format!("ends its side to {}", link.who(1 - self.side))
        });
        link.end(self.side);
    }

    /// Reads some bytes; none at the end.
    ///
    /// # Errors
    /// A reset.
    pub async fn take(&self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_take(cx, buffer)).await
    }

    /// Writes all bytes.
    ///
    /// # Errors
    /// If the other side has reset the connection.
    pub async fn give(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let count = poll_fn(|cx| self.poll_give(cx, bytes)).await?;
            bytes = &bytes[count..];
        }
        Ok(())
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let (link, side) = (&self.link, self.side);
        if side == 1 {
            link.network.held.fetch_sub(1, Ordering::Relaxed);
        }
        let mut incoming = lock(&link.pipes[1 - side]);
        incoming.unread = true;
        let unread = incoming.arrived > 0;
        Pipe::wake(&mut incoming.writer);
        drop(incoming);
        let resets = self.resets.load(Ordering::Relaxed) || unread;
        link.network.note(link.who(side), || {
            let how = if resets { "resets" } else { "closes" };
            format!("{how} the connection to {}", link.who(1 - side))
        });
        if resets {
            link.reset(side);
        } else {
            link.end(side);
        }
    }
}

impl AsyncRead for End {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let poll = self.poll_take(cx, buffer.initialize_unfilled());
        poll.map_ok(|count| buffer.advance(count))
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_give(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut bytes = Vec::with_capacity(slices.iter().map(|slice| slice.len()).sum());
        for slice in slices {
            bytes.extend_from_slice(slice);
        }
        self.poll_give(cx, &bytes)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end();
        Poll::Ready(Ok(()))
    }
}

/// The beginning of some bytes, so that a person can read it.
fn excerpt(bytes: &[u8]) -> String {
    const MOST: usize = 72;
    let text = bytes.get(..MOST).unwrap_or(bytes).escape_ascii().to_string();
    let more = if bytes.len() > MOST { "…" } else { "" };
    format!("\"{text}{more}\"")
}
