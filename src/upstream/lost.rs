//! Pods whose node has gone without a word: the kernel finds out, in seconds and not in the minute that a response may
//! take. What was asked of them may then be asked of others.

use super::stream::Stream;
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;

/// How long what was sent may go without being acknowledged (tcp(7), `TCP_USER_TIMEOUT`).
const SILENCE: Duration = Duration::from_secs(3);
/// And where it may be much: then a pod that does not read for a while, whose window is closed, would count as silent too.
const SILENCE_OF_A_READER: Duration = Duration::from_secs(60);
/// On a connection that many requests share, which its pod reads whatever the requests' own windows are.
const SILENCE_OF_MANY: Duration = Duration::from_secs(20);
/// When nothing comes for so long, the other side's kernel is asked, and asked again.
const QUIET: Duration = Duration::from_secs(3);
const PROBES: Duration = Duration::from_secs(1);

/// Has the kernel notice when nobody is there any more.
///
/// # Errors
/// What the kernel says.
pub fn notice(tcp: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(tcp);
    socket.set_tcp_user_timeout(Some(SILENCE))?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(QUIET).with_interval(PROBES))
}

/// For a connection that many requests share, any of which may take long.
///
/// # Errors
/// What the kernel says.
pub fn share(stream: &Stream) -> io::Result<()> {
    set_silence(stream, SILENCE_OF_MANY)
}

fn set_silence(stream: &Stream, silence: Duration) -> io::Result<()> {
    stream
        .tcp()
        .map_or(Ok(()), |tcp| SockRef::from(tcp).set_tcp_user_timeout(Some(silence)))
}

/// How long a connection's pod may be silent: longer while something long is sent to it, and no longer when that is over,
/// since the next request may be a short one, to a node that is gone by then.
#[derive(Default)]
pub struct Patience {
    is_long: bool,
}

impl Patience {
    /// Tells the kernel, if it has been told something else.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set(&mut self, stream: &Stream, is_long: bool) -> io::Result<()> {
        if self.is_long == is_long {
            return Ok(());
        }
        self.is_long = is_long;
        let silence = if is_long { SILENCE_OF_A_READER } else { SILENCE };
        set_silence(stream, silence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn patience_lasts_as_long_as_what_is_long() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        notice(&tcp).unwrap();
        let stream = Stream::Plain(tcp);
        let mut patience = Patience::default();
        for (long, silence) in [(false, SILENCE), (true, SILENCE_OF_A_READER), (false, SILENCE)] {
            patience.set(&stream, long).unwrap();
            let now = SockRef::from(stream.tcp().unwrap()).tcp_user_timeout().unwrap();
            assert_eq!(now, Some(silence), "long: {long}");
        }
    }
}
