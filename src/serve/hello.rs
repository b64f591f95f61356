//! The first message of a TLS handshake, read before it is known where TLS ends: the bytes can go on as they came.

use crate::proxy::reply::PLAIN_ON_HTTPS;
use rustls::server::{Accepted, Acceptor};
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Poll, ready};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

/// Bytes of a ClientHello that are kept to be passed on, with the records it comes in. A message has at most 64 KiB.
const MOST: usize = 128 << 10;
/// Bytes read at once: as many as rustls takes.
const PIECE: usize = 4 << 10;

/// What a client says first.
pub struct Hello {
    /// As rustls goes on with it.
    pub accepted: Accepted,
    /// As it came, where it is to be kept.
    pub bytes: Vec<u8>,
}

impl Hello {
    /// Reads a ClientHello. `scratch` is where bytes are read before they are looked at.
    ///
    /// # Errors
    /// Where the client says something else, which it has been told, or nothing more.
    pub async fn read(tcp: &mut TcpStream, scratch: &RefCell<Vec<u8>>, keeps: bool) -> io::Result<Self> {
        let mut acceptor = Acceptor::default();
        let mut bytes = Vec::new();
        let mut is_first = true;
        loop {
            // By `poll_read`, which after a short read asks for no more until there is more.
            let read = poll_fn(|cx| {
                let mut scratch = scratch.borrow_mut();
                let mut piece = ReadBuf::new(scratch.get_mut(..PIECE).unwrap_or_default());
                ready!(Pin::new(&mut *tcp).poll_read(cx, &mut piece))?;
                Poll::Ready(io::Result::Ok(piece.filled().len()))
            });
            let read = read.await?;
            let accepted = {
                let scratch = scratch.borrow();
                let mut piece = scratch.get(..read).unwrap_or_default();
                match piece.first() {
                    None => return Err(io::ErrorKind::UnexpectedEof.into()),
                    // No record of TLS begins with a letter.
                    Some(first) if is_first && first.is_ascii_uppercase() => None,
                    Some(_) => {
                        if keeps && bytes.len() + read > MOST {
                            return Err(invalid("the ClientHello is too long"));
                        }
                        if keeps {
                            bytes.extend_from_slice(piece);
                        }
                        while !piece.is_empty() {
                            acceptor.read_tls(&mut piece)?;
                        }
                        Some(acceptor.accept())
                    }
                }
            };
            is_first = false;
            match accepted {
                Some(Ok(Some(accepted))) => return Ok(Self { accepted, bytes }),
                Some(Ok(None)) => {}
                Some(Err((error, mut alert))) => {
                    let mut told = Vec::new();
                    alert.write_all(&mut told)?;
                    tcp.write_all(&told).await?;
                    return Err(invalid(error));
                }
                None => {
                    tcp.write_all(PLAIN_ON_HTTPS).await?;
                    tcp.shutdown().await?;
                    return Err(invalid("plain HTTP on the HTTPS port"));
                }
            }
        }
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
