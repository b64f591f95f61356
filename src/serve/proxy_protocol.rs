//! The PROXY protocol towards us: a balancer says before all else whom a connection is from
//! (<https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>).
//!
//! Not a byte more than the header is read from the socket: what follows belongs to TLS or HTTP.

pub use crate::config::ProxyProtocol;
use crate::proxy::Ends;
use ppp::{v1, v2};
use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// How a line of version 1 begins (section 2.1).
const V1: &[u8] = b"PROXY ";
/// A whole line of version 1, with its end (section 2.1).
const V1_MAX: usize = 107;
/// How a header of version 2 begins (section 2.2).
const V2: &[u8] = v2::PROTOCOL_PREFIX;
/// Version, command, family and length, which come after that.
const V2_FIXED: usize = 4;
/// Addresses and TLVs of version 2. The protocol allows 64 KiB; what balancers send is a tenth of this.
const V2_MAX: usize = 4 << 10;
/// PP2_CLIENT_SSL: the client spoke TLS (section 2.2.5).
const CLIENT_SSL: u8 = 0x01;
/// Client and verify of PP2_TYPE_SSL, before its own TLVs.
const SSL_FIXED: usize = 5;
/// A name of a TLS version, such as `TLSv1.3`.
const VERSION_MAX: usize = 16;

/// Why a connection ends before it began.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// Closed without a byte, as probes of balancers do.
    #[error("closed before it said anything")]
    Closed,
    /// Whoever comes round the balancer.
    #[error("only --trusted-proxies are served with --proxy-protocol required")]
    Untrusted,
    /// Something else came.
    #[error("there is no PROXY header")]
    Missing,
    /// Longer than V1_MAX or V2_MAX.
    #[error("the PROXY header is too long")]
    TooLong,
    /// It cannot be read.
    #[error("the PROXY header is malformed")]
    Malformed,
    /// Not there within `--head-timeout`.
    #[error("the PROXY header did not come in time")]
    Late,
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What a connection begins with.
#[derive(Debug, PartialEq, Eq)]
enum Opening {
    /// No header. These bytes were read before that was known.
    Absent(&'static [u8]),
    /// A header that names nobody: the balancer speaks for itself.
    Local,
    /// A header that names the client.
    Proxied(Ends),
}

/// A connection after its header.
pub struct Opened {
    /// Between whom it is; none if no header says so.
    pub ends: Option<Ends>,
    /// What was read and is no header, to be put before the rest.
    pub held: &'static [u8],
}

impl Opened {
    /// As it comes, without a header.
    pub const PLAIN: Self = Self { ends: None, held: b"" };
}

impl ProxyProtocol {
    /// Whether a connection may begin with a header. `trusted` is whether the socket's other end is.
    ///
    /// # Errors
    /// Where only balancers are served, and this is another client.
    pub fn may_begin(self, trusted: bool) -> Result<bool, HeaderError> {
        match (self, trusted) {
            (Self::Off, _) | (Self::Optional, false) => Ok(false),
            (Self::Required, false) => Err(HeaderError::Untrusted),
            (Self::Optional | Self::Required, true) => Ok(true),
        }
    }

    /// Reads the header, however long that takes.
    ///
    /// # Errors
    /// Why the connection is to be closed without a word.
    pub async fn read(self, tcp: &mut TcpStream) -> Result<Opened, HeaderError> {
        match read(tcp).await? {
            Opening::Absent(_) if self == Self::Required => Err(HeaderError::Missing),
            Opening::Absent(held) => Ok(Opened { ends: None, held }),
            Opening::Local => Ok(Opened::PLAIN),
            Opening::Proxied(ends) => Ok(Opened {
                ends: Some(ends),
                held: b"",
            }),
        }
    }
}

/// Reads what begins like a header. What is peeked at and may be part of one is taken from the socket, so that the
/// next look waits for more; should it turn out to be none, it is a part of V1 or V2, and known.
async fn read(tcp: &mut TcpStream) -> Result<Opening, HeaderError> {
    let mut ahead = [0; V2.len()];
    if tcp.peek(&mut ahead[..1]).await? == 0 {
        return Err(HeaderError::Closed);
    }
    let signature = match ahead[0] {
        b'P' => V1,
        b'\r' => V2,
        _ => return Ok(Opening::Absent(b"")),
    };
    let mut known = 0;
    while known < signature.len() {
        let (held, wanted) = signature.split_at(known);
        let seen = peek(tcp, &mut ahead, wanted.len()).await?;
        if seen.is_empty() || !wanted.starts_with(seen) {
            return Ok(Opening::Absent(held));
        }
        let count = seen.len();
        take(tcp, &mut ahead, count).await?;
        known += count;
    }
    if signature == V1 {
        read_v1(tcp).await
    } else {
        read_v2(tcp).await
    }
}

/// Looks at no more than `limit` bytes; none is the end.
async fn peek<'b>(tcp: &TcpStream, buffer: &'b mut [u8], limit: usize) -> io::Result<&'b [u8]> {
    let count = tcp.peek(buffer.get_mut(..limit).unwrap_or_default()).await?;
    Ok(buffer.get(..count).unwrap_or_default())
}

/// Takes bytes from the socket that were seen there.
async fn take<'b>(tcp: &mut TcpStream, buffer: &'b mut [u8], count: usize) -> io::Result<&'b [u8]> {
    let place = buffer.get_mut(..count).unwrap_or_default();
    tcp.read_exact(place).await?;
    Ok(place)
}

async fn read_v1(tcp: &mut TcpStream) -> Result<Opening, HeaderError> {
    let mut line = V1.to_vec();
    let mut ahead = [0; V1_MAX];
    while !line.ends_with(b"\n") {
        let room = V1_MAX - line.len();
        if room == 0 {
            return Err(HeaderError::TooLong);
        }
        let seen = peek(tcp, &mut ahead, room).await?;
        if seen.is_empty() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let count = memchr::memchr(b'\n', seen).map_or(seen.len(), |end| end + 1);
        line.extend_from_slice(take(tcp, &mut ahead, count).await?);
    }
    parse_v1(&line).ok_or(HeaderError::Malformed)
}

async fn read_v2(tcp: &mut TcpStream) -> Result<Opening, HeaderError> {
    let mut fixed = [0; V2_FIXED];
    tcp.read_exact(&mut fixed).await?;
    let length = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    if length > V2_MAX {
        return Err(HeaderError::TooLong);
    }
    let mut header = [V2, &fixed].concat();
    let start = header.len();
    header.resize(start + length, 0);
    tcp.read_exact(header.get_mut(start..).unwrap_or_default()).await?;
    parse_v2(&header).ok_or(HeaderError::Malformed)
}

/// A whole line of version 1, with its end.
fn parse_v1(line: &[u8]) -> Option<Opening> {
    // Whatever stands behind UNKNOWN is to be ignored, which the library does for the usual fields only.
    if let Some(rest) = line.strip_prefix(b"PROXY UNKNOWN") {
        return (rest == b"\r\n" || (rest.starts_with(b" ") && rest.ends_with(b"\r\n"))).then_some(Opening::Local);
    }
    // The library reads up to the first CR, and takes ports with a sign.
    if memchr::memchr(b'\r', line) != Some(line.len().checked_sub(2)?) || line.contains(&b'+') {
        return None;
    }
    let (client, local): (SocketAddr, SocketAddr) = match v1::Header::try_from(line).ok()?.addresses {
        v1::Addresses::Tcp4(ip) => (
            (ip.source_address, ip.source_port).into(),
            (ip.destination_address, ip.destination_port).into(),
        ),
        v1::Addresses::Tcp6(ip) => (
            (ip.source_address, ip.source_port).into(),
            (ip.destination_address, ip.destination_port).into(),
        ),
        v1::Addresses::Unknown => return Some(Opening::Local),
    };
    Some(Opening::Proxied(Ends {
        client,
        local,
        tls_version: None,
        silent_on_tls: true,
    }))
}

/// A whole header of version 2.
fn parse_v2(header: &[u8]) -> Option<Opening> {
    // Of LOCAL all the rest is to be ignored, whatever it says.
    if header.get(V2.len()) == Some(&0x20) {
        return Some(Opening::Local);
    }
    let header = v2::Header::try_from(header).ok()?;
    let (client, local): (SocketAddr, SocketAddr) = match (header.protocol, header.addresses) {
        (v2::Protocol::Stream, v2::Addresses::IPv4(ip)) => (
            (ip.source_address, ip.source_port).into(),
            (ip.destination_address, ip.destination_port).into(),
        ),
        (v2::Protocol::Stream, v2::Addresses::IPv6(ip)) => (
            (ip.source_address, ip.source_port).into(),
            (ip.destination_address, ip.destination_port).into(),
        ),
        // A Unix socket, or a family that is left open: no address that a client of ours could have.
        _ => return Some(Opening::Local),
    };
    let (mut tls_version, mut silent_on_tls) = (None, true);
    for field in header.tlvs() {
        let field = field.ok()?;
        if field.kind == u8::from(v2::Type::SSL) {
            tls_version = client_tls(&field.value)?;
            silent_on_tls = false;
        }
    }
    Some(Opening::Proxied(Ends {
        client,
        local,
        tls_version,
        silent_on_tls,
    }))
}

/// What PP2_TYPE_SSL says: the version of TLS the client spoke, or that it spoke none. None at all if malformed.
#[expect(clippy::option_option, reason = "the outer one is a fault, the inner an answer")]
fn client_tls(value: &[u8]) -> Option<Option<Cow<'static, str>>> {
    let (fixed, fields) = value.split_at_checked(SSL_FIXED)?;
    if fixed.first()? & CLIENT_SSL == 0 {
        return Some(None);
    }
    let mut version = Cow::Borrowed("unknown");
    for field in v2::TypeLengthValues::from(fields) {
        let field = field.ok()?;
        let short = field.value.len() <= VERSION_MAX && field.value.iter().all(u8::is_ascii_graphic);
        if field.kind == u8::from(v2::Type::SSLVersion) && short {
            version = Cow::Owned(String::from_utf8_lossy(&field.value).into_owned());
        }
    }
    Some(Some(version))
}

#[cfg(test)]
mod tests;
