//! What two processes say to each other when sockets are handed over: lines of JSON on a Unix socket, the first answer
//! with the file descriptors beside it (unix(7), SCM_RIGHTS).

use crate::table::{Listener, ListenerProtocol};
use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// Sockets in one answer, and in one question. Releases that ask only once have room for no more.
pub const MOST: usize = 8;
/// Bytes of a message.
const LONGEST: usize = 4 << 10;

/// What a socket carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Transport {
    /// Connections.
    #[default]
    Tcp,
    /// Datagrams.
    Udp,
}

impl Transport {
    fn is_tcp(&self) -> bool {
        *self == Self::Tcp
    }
}

/// What a listening socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "Word", from = "Word")]
pub enum Role {
    /// A listener of the table.
    Listener(ListenerProtocol),
    /// The admin address.
    Admin,
}

/// A role as it is written in messages.
#[derive(Clone, Copy, Serialize, Deserialize)]
enum Word {
    Http,
    Https,
    Tls,
    Tcp,
    Udp,
    Admin,
}

impl From<Role> for Word {
    fn from(role: Role) -> Self {
        match role {
            Role::Listener(ListenerProtocol::Http) => Self::Http,
            Role::Listener(ListenerProtocol::Https) => Self::Https,
            Role::Listener(ListenerProtocol::Tls) => Self::Tls,
            Role::Listener(ListenerProtocol::Tcp) => Self::Tcp,
            Role::Listener(ListenerProtocol::Udp) => Self::Udp,
            Role::Admin => Self::Admin,
        }
    }
}

impl From<Word> for Role {
    fn from(word: Word) -> Self {
        Self::Listener(match word {
            Word::Http => ListenerProtocol::Http,
            Word::Https => ListenerProtocol::Https,
            Word::Tls => ListenerProtocol::Tls,
            Word::Tcp => ListenerProtocol::Tcp,
            Word::Udp => ListenerProtocol::Udp,
            Word::Admin => return Self::Admin,
        })
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listener(protocol) => protocol.fmt(f),
            Self::Admin => f.write_str("admin"),
        }
    }
}

/// A socket by what it is for and the address that was asked for, which may have port 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SocketKey {
    /// What it is for.
    #[serde(rename = "purpose")]
    pub role: Role,
    /// As the flag has it.
    pub address: SocketAddr,
    /// What it carries. Earlier releases know only TCP and say nothing of it, so nothing is said of it for TCP.
    #[serde(default, skip_serializing_if = "Transport::is_tcp")]
    pub transport: Transport,
}

impl SocketKey {
    /// The key of a listener's socket.
    pub fn of(listener: &Listener) -> Self {
        let protocol = listener.protocol();
        Self {
            role: Role::Listener(protocol),
            address: listener.address,
            transport: match protocol {
                ListenerProtocol::Udp => Transport::Udp,
                _ => Transport::Tcp,
            },
        }
    }

    /// One for connections.
    pub fn tcp(role: Role, address: SocketAddr) -> Self {
        Self {
            role,
            address,
            transport: Transport::Tcp,
        }
    }
}

/// What is said. A process that hears something else hangs up.
#[derive(Debug, Serialize, Deserialize)]
pub enum Message {
    /// The successor: these are wanted. It may ask for others when it has the answer.
    Wants(Vec<SocketKey>),
    /// The predecessor: here they are, in this order.
    Gives(Vec<SocketKey>),
    /// The successor: it accepts on them from now on.
    Serves,
    /// The predecessor: it accepts no more, and has let go of the name.
    Yours,
}

/// Sends a message, with descriptors if there are any.
///
/// # Errors
/// When the other end is gone, or a message is not taken whole at once, as ours always are.
pub async fn send(stream: &UnixStream, message: &Message, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    let sent = stream
        .async_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST))];
            let mut beside = SendAncillaryBuffer::new(&mut space);
            if !descriptors.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(descriptors)) {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            let slices = [IoSlice::new(&text), IoSlice::new(b"\n")];
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            Ok(sendmsg(stream.as_fd(), &slices, &mut beside, flags)?)
        })
        .await?;
    if sent == text.len() + 1 {
        Ok(())
    } else {
        Err(io::ErrorKind::WriteZero.into())
    }
}

/// Receives the next message and the descriptors that came with it.
///
/// # Errors
/// When the other end is gone, or says what is no message.
pub async fn receive(stream: &UnixStream) -> io::Result<(Message, Vec<OwnedFd>)> {
    let (mut text, mut descriptors) = (Vec::new(), Vec::new());
    loop {
        let mut piece = [0; LONGEST];
        let count = stream
            .async_io(Interest::READABLE, || {
                let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST))];
                let mut beside = RecvAncillaryBuffer::new(&mut space);
                let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
                let got = recvmsg(stream.as_fd(), &mut [IoSliceMut::new(&mut piece)], &mut beside, flags)?;
                for message in beside.drain() {
                    if let RecvAncillaryMessage::ScmRights(came) = message {
                        descriptors.extend(came);
                    }
                }
                Ok(got.bytes)
            })
            .await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        text.extend_from_slice(piece.get(..count).unwrap_or_default());
        // One side speaks, then the other: nothing comes behind a line.
        if let Some(line) = text.strip_suffix(b"\n") {
            return Ok((serde_json::from_slice(line)?, descriptors));
        }
        if text.len() > LONGEST || descriptors.len() > MOST {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}
