//! A reply's body on its way to the client.
//!
//! The h2 crate is given no more of it than the client's windows admit, so that whatever waits for a window waits here,
//! where it is counted and timed.

use crate::proxy::{Client, ReplyBody};
use crate::upstream::Clock;
use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body;
use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A reply whose head is out.
pub(super) struct Sending {
    output: SendStream<Bytes>,
    body: ReplyBody,
    /// What is left of the present piece, and whether it is the last one.
    piece: Bytes,
    last: bool,
}

impl Sending {
    pub(super) fn new(output: SendStream<Bytes>, body: ReplyBody) -> Self {
        Self {
            output,
            body,
            piece: Bytes::new(),
            last: false,
        }
    }

    /// Ready when all of it is on its way, or the stream has ended before.
    pub(super) fn poll(&mut self, client: &Client, clock: &Clock, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            // Asked first in each turn, for only then does a reset wake the task.
            if self.output.poll_reset(cx).is_ready() {
                return Poll::Ready(());
            }
            if !self.piece.is_empty() {
                let Poll::Ready(room) = poll_window(&mut self.output, self.piece.len(), cx) else {
                    // A client that sends first, and reads then, makes room only when its request is out.
                    self.body.poll_upload(cx);
                    return Poll::Pending;
                };
                let Some(room) = room else { return Poll::Ready(()) };
                let part = self.piece.split_to(room);
                let last = self.last && self.piece.is_empty();
                if self.output.send_data(part, last).is_err() || last {
                    return Poll::Ready(());
                }
                client.wait.takes(room, clock);
                continue;
            }
            // What is to be sent is there before a window is asked for it: one that is held for a piece that does not come
            // yet is kept from other streams.
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => {
                    self.output.send_reset(reason(&*error));
                    return Poll::Ready(());
                }
                None => {
                    let _ = self.output.send_data(Bytes::new(), true);
                    return Poll::Ready(());
                }
            };
            match frame.into_data() {
                Ok(data) => {
                    self.last = self.body.is_end_stream();
                    if data.is_empty() && self.last {
                        let _ = self.output.send_data(data, true);
                        return Poll::Ready(());
                    }
                    self.piece = data;
                }
                Err(frame) => {
                    if let Ok(fields) = frame.into_trailers() {
                        let _ = self.output.send_trailers(fields);
                        return Poll::Ready(());
                    }
                }
            }
        }
    }
}

/// How many of so many bytes the client's windows admit now. Absent if the stream has ended.
pub(super) fn poll_window(output: &mut SendStream<Bytes>, wanted: usize, cx: &mut Context<'_>) -> Poll<Option<usize>> {
    let mut capacity = output.capacity();
    if capacity < wanted {
        output.reserve_capacity(wanted);
        capacity = output.capacity();
    }
    while capacity == 0 {
        match ready!(output.poll_capacity(cx)) {
            Some(Ok(more)) => capacity = more,
            Some(Err(_)) | None => return Poll::Ready(None),
        }
    }
    Poll::Ready(Some(capacity.min(wanted)))
}

/// The code of HTTP/2 for what broke a body off: the pod's own, where it speaks HTTP/2.
fn reason(error: &(dyn Error + 'static)) -> Reason {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(reason) = error.downcast_ref::<h2::Error>().and_then(h2::Error::reason) {
            return reason;
        }
        cause = error.source();
    }
    Reason::INTERNAL_ERROR
}
