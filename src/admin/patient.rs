//! A connection whose client has to read what it asked for.

use super::connections::Conversation;
use socket2::SockRef;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, Sleep};

/// How long a client may be behind with reading, whatever it reads.
const GRACE: Duration = Duration::from_secs(10);
/// How fast it has to read from then on, in bytes a second. Any connection that an operator works over is faster.
const LEAST_RATE: u64 = 16 << 10;

/// What connections are made of.
pub trait Stream: AsyncRead + AsyncWrite + Unpin {
    /// Has the kernel throw away what the client has not read when the connection is closed.
    fn forget_unread(&self) {}
}

impl Stream for TcpStream {
    fn forget_unread(&self) {
        let _ = SockRef::from(self).set_linger(Some(Duration::ZERO));
    }
}

impl Stream for UnixStream {}

/// A connection that fails when its client is too slow.
#[derive(Debug)]
pub struct Patient<S: Stream> {
    stream: S,
    conversation: Arc<Conversation>,
    behind: Option<Behind>,
    alarm: Pin<Box<Sleep>>,
}

/// Bytes wait that the client does not take.
#[derive(Debug)]
struct Behind {
    since: Instant,
    /// Bytes it has taken since then.
    taken: u64,
}

impl Behind {
    /// When it has been too slow.
    fn due(&self) -> Instant {
        self.since + GRACE + Duration::from_millis(self.taken.saturating_mul(1000) / LEAST_RATE)
    }
}

impl<S: Stream> Patient<S> {
    /// Looks after a connection.
    pub fn new(stream: S, conversation: Arc<Conversation>) -> Self {
        Self {
            stream,
            conversation,
            behind: None,
            alarm: Box::pin(tokio::time::sleep(GRACE)),
        }
    }

    fn judge(&mut self, context: &mut Context<'_>, wrote: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match wrote {
            Poll::Ready(Ok(count)) => {
                self.conversation.moved();
                if let Some(behind) = &mut self.behind {
                    behind.taken += count as u64;
                }
                wrote
            }
            Poll::Ready(Err(_)) => wrote,
            Poll::Pending => {
                let behind = self.behind.get_or_insert_with(|| {
                    let since = Instant::now();
                    self.conversation.set_behind(Some(since));
                    Behind { since, taken: 0 }
                });
                let due = behind.due();
                if self.alarm.deadline() != due {
                    self.alarm.as_mut().reset(due);
                }
                ready!(self.alarm.as_mut().poll(context));
                let said = "the client does not read what it asked for";
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, said)))
            }
        }
    }
}

impl<S: Stream> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        if buffer.filled().len() > before {
            self.conversation.moved();
        }
        Poll::Ready(read)
    }
}

impl<S: Stream> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(context, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.judge(context, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes when it has written all there is.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(context));
        if self.behind.take().is_some() {
            self.conversation.set_behind(None);
        }
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S: Stream> Drop for Patient<S> {
    fn drop(&mut self) {
        if self.behind.is_some() {
            self.stream.forget_unread();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    impl Stream for DuplexStream {}

    fn pair() -> (Patient<DuplexStream>, DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(1 << 10);
        (Patient::new(ours, Arc::new(Conversation::new())), theirs)
    }

    async fn write_all(mut patient: Patient<DuplexStream>, bytes: usize) -> io::Result<Duration> {
        let began = Instant::now();
        patient.write_all(&vec![b'x'; bytes]).await?;
        patient.flush().await?;
        Ok(began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_given_up() {
        let (patient, _theirs) = pair();
        let began = Instant::now();
        let error = write_all(patient, 1 << 20).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed().as_secs(), GRACE.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_a_byte_now_and_then_is_too() {
        let (patient, mut theirs) = pair();
        tokio::spawn(async move {
            while theirs.read_u8().await.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        let began = Instant::now();
        write_all(patient, 1 << 20).await.unwrap_err();
        assert!(began.elapsed() < GRACE * 2, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_on_a_slow_line_gets_all_of_a_long_answer() {
        let (patient, mut theirs) = pair();
        tokio::spawn(async move {
            // 20 KiB a second.
            while theirs.read_exact(&mut [0; 1 << 10]).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        let took = write_all(patient, 2 << 20).await.unwrap();
        assert!(took > GRACE * 5, "{took:?}");
    }
}
