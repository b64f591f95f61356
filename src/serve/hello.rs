//! The first message of a TLS handshake, read before it is known where TLS ends: the bytes can go on as they came.

use rustls::server::{Accepted, Acceptor};
use std::cell::RefCell;
use std::io;
use tokio::io::AsyncWriteExt;
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
        loop {
            tcp.readable().await?;
            let accepted = {
                let mut scratch = scratch.borrow_mut();
                let piece = scratch.get_mut(..PIECE).unwrap_or_default();
                let read = match tcp.try_read(piece) {
                    Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(read) => read,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                    Err(error) => return Err(error),
                };
                let mut piece = piece.get(..read).unwrap_or_default();
                if keeps && bytes.len() + read > MOST {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "the ClientHello is too long",
                    ));
                }
                if keeps {
                    bytes.extend_from_slice(piece);
                }
                while !piece.is_empty() {
                    acceptor.read_tls(&mut piece)?;
                }
                acceptor.accept()
            };
            match accepted {
                Ok(Some(accepted)) => return Ok(Self { accepted, bytes }),
                Ok(None) => {}
                Err((error, mut alert)) => {
                    let mut told = Vec::new();
                    alert.write_all(&mut told)?;
                    tcp.write_all(&told).await?;
                    return Err(io::Error::new(io::ErrorKind::InvalidData, error));
                }
            }
        }
    }
}
