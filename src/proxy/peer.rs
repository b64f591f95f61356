//! The other end of a client's connection.

use crate::message::Fields;
use crate::table::{ListenerId, Presented};
use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

/// Between whom a connection is: the ends of its socket, or what a PROXY header names.
#[derive(Debug, PartialEq, Eq)]
pub struct Ends {
    /// The client.
    pub client: SocketAddr,
    /// What it connected to.
    pub local: SocketAddr,
    /// The version of TLS that the client spoke to the balancer, by the PROXY header; absent without TLS.
    pub tls_version: Option<Cow<'static, str>>,
    /// Whether they are named by a PROXY header that says nothing of TLS: then the port tells what the client spoke.
    pub silent_on_tls: bool,
}

impl Ends {
    /// Whether the client came by HTTPS to a balancer that ended its TLS.
    pub fn is_https(&self, https_port: Option<u16>) -> bool {
        let port = self.local.port();
        self.tls_version.is_some() || (self.silent_on_tls && (port == 443 || Some(port) == https_port))
    }
}

/// The other end of a client's connection.
#[derive(Debug)]
pub struct Peer {
    /// The listener it connected to.
    pub listener: ListenerId,
    /// The other end, as a PROXY header names it, else the socket's.
    pub socket: SocketAddr,
    /// The address that it connected to, as a PROXY header names it, else the socket's.
    pub local: SocketAddr,
    /// Its address, IPv4 in IPv6 unwrapped.
    pub ip: IpAddr,
    /// `http` or `https`, which it also is if the client spoke TLS to the balancer, by the PROXY header or, where that is
    /// silent on it, by the port the client connected to.
    pub scheme: &'static str,
    /// Whether it is one of `--trusted-proxies`.
    pub trusted: bool,
    /// What the TLS handshake said; none without TLS.
    pub tls: Option<Handshake>,
    /// The version of TLS the client speaks, to us or to the balancer; none in plain.
    pub tls_version: Option<Cow<'static, str>>,
    /// The fields that tell pods of a client that is no trusted proxy. They are the same for all requests of a connection.
    pub origin: Fields,
}

/// What a request must know of the TLS it came by.
#[derive(Debug)]
pub struct Handshake {
    /// The name the client asked for (SNI), in canonical form; none if it named none.
    pub server_name: Option<Box<str>>,
    /// The version agreed on, as OpenSSL names it: `TLSv1.3`.
    pub version: &'static str,
    /// What the client has shown of itself, where its host has a profile.
    pub shown: Option<Box<Presented>>,
}

/// The fields that tell pods of the other end of a connection.
pub fn origin(ip: IpAddr, scheme: &str) -> Fields {
    let (mut origin, address) = (Fields::new(), ip.to_string());
    origin.append("X-Forwarded-For", &address);
    origin.append("X-Forwarded-Proto", scheme);
    origin.append("X-Real-IP", &address);
    // The last line is left out where the request names a port.
    origin.append("X-Forwarded-Port", if scheme == "https" { "443" } else { "80" });
    origin
}

impl Peer {
    /// The other end of a connection. `https_port` is the port by which clients come in over HTTPS.
    pub fn new(
        listener: ListenerId,
        ends: Ends,
        trusted: bool,
        tls: Option<Handshake>,
        https_port: Option<u16>,
    ) -> Self {
        let https = tls.is_some() || ends.is_https(https_port);
        let ip = ends.client.ip().to_canonical();
        let version = tls.as_ref().map(|handshake| Cow::Borrowed(handshake.version));
        let tls_version = version.or(ends.tls_version);
        let scheme = if https { "https" } else { "http" };
        let origin = if trusted { Fields::new() } else { origin(ip, scheme) };
        Self {
            listener,
            socket: ends.client,
            local: ends.local,
            ip,
            scheme,
            trusted,
            origin,
            tls,
            tls_version,
        }
    }
}
