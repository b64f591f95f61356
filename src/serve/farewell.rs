//! The end of an HTTP/1.1 connection: the one error reply that belongs to no request, and a close that lets the client
//! read what was said.

use super::connection::Conn;
use crate::http1::Position;
use crate::proxy::{self, ProxyError, RawReply, RequestId};
use bytes::Buf;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};

/// How long a closed connection's unread bytes are read and thrown away, lest a reset takes the reply from the
/// client (nginx: `lingering_time`, `lingering_timeout`).
const LINGER: Duration = Duration::from_secs(10);
const LINGER_IDLE: Duration = Duration::from_secs(2);
/// So many bytes are read at a time, and then none for a while: 64 KiB a second. Whoever was refused may go on sending,
/// but not at our cost.
const LINGER_PIECE: usize = 16 << 10;
const LINGER_PAUSE: Duration = Duration::from_millis(250);

/// How the last exchange ended.
pub enum End {
    /// Orderly; the reply to a fault may be due.
    Done,
    /// Given up: nothing more is written but this.
    GivenUp(Option<ProxyError>),
    /// The body of a reply broke off.
    BrokenOff,
}

/// Writes the one error reply that belongs to no request, and closes so that the client can read it.
#[expect(clippy::await_holding_refcell_ref, reason = "whoever else borrows it is gone by now")]
pub async fn finish(conn: &Conn, end: End) {
    let error = match end {
        // After an orderly end such a client would take what it has for the whole of the reply.
        End::GivenUp(None) | End::BrokenOff if conn.client.flags.ends_by_close.get() => {
            conn.stream.borrow().reset_when_dropped();
            return;
        }
        End::GivenUp(error) => error,
        End::BrokenOff => None,
        // A fault in a body was answered by the request it belongs to.
        End::Done if conn.position() == Position::Body => None,
        // What follows the last request of a connection is no request (RFC 9112, section 9.6).
        End::Done if conn.client.flags.said_last.get() => None,
        End::Done => conn.fault.get().filter(|_| conn.is_idle()).map(ProxyError::from),
    };
    let mut stream = conn.stream.borrow_mut();
    if let Some(error) = error {
        let request_id = RequestId::new();
        let request_id = request_id.as_str();
        let fault = conn.fault.get().map(|fault| fault.to_string());
        proxy::unread(&conn.shard.worker, &conn.client.peer, error, request_id, fault);
        let mut reply = io::Cursor::new(RawReply { error, request_id }.to_string());
        while reply.has_remaining() {
            match tokio::time::timeout(LINGER_IDLE, stream.write_buf(&mut reply)).await {
                Ok(Ok(_)) => {}
                _ => return,
            }
        }
    }
    if stream.shutdown().await.is_err() || conn.ended.get() {
        return;
    }
    // Bytes that are still under way must be read, or the kernel answers them with a reset that overtakes the reply.
    let busy = conn.fault.get().is_some() || conn.position() != Position::Between;
    if !busy && conn.is_expired() {
        return;
    }
    conn.lingers.set(true);
    let _ = tokio::time::timeout(LINGER, async {
        while !conn.cut_short.get() {
            let read = poll_fn(|cx| {
                let mut scratch = conn.shard.scratch.borrow_mut();
                let mut piece = ReadBuf::new(scratch.get_mut(..LINGER_PIECE).unwrap_or_default());
                let poll = Pin::new(&mut *stream).poll_read(cx, &mut piece);
                poll.map_ok(|()| piece.filled().len())
            });
            match tokio::time::timeout(LINGER_IDLE, read).await {
                Ok(Ok(count)) if count > 0 => tokio::time::sleep(LINGER_PAUSE).await,
                _ => return,
            }
        }
    })
    .await;
}
