//! The PROXY protocol towards pods, version 2 only: whom a connection is for
//! (<https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>, section 2.2).

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, command PROXY.
const PROXY: u8 = 0x21;
/// TCP over IPv4 and IPv6.
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
/// PP2_TYPE_SSL, PP2_SUBTYPE_SSL_VERSION, PP2_CLIENT_SSL (section 2.2.5).
const SSL: u8 = 0x20;
const SSL_VERSION: u8 = 0x21;
const CLIENT_SSL: u8 = 0x01;
/// Zero would say that the client has shown a certificate and that it was good.
const NOT_VERIFIED: [u8; 4] = 1_u32.to_be_bytes();

/// The header that a connection to a pod begins with: the client's address, the one it connected to, and the version
/// of TLS it spoke, if it did (`TLSv1.3`). Addresses of two families are both told as IPv6.
pub fn header(source: SocketAddr, destination: SocketAddr, tls_version: Option<&str>) -> Vec<u8> {
    let (family, mut rest) = match (source.ip().to_canonical(), destination.ip().to_canonical()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => (TCP4, [source.octets(), destination.octets()].concat()),
        (source, destination) => (TCP6, [in_v6(source).octets(), in_v6(destination).octets()].concat()),
    };
    rest.extend(source.port().to_be_bytes());
    rest.extend(destination.port().to_be_bytes());
    if let Some(version) = tls_version {
        let mut ssl = vec![CLIENT_SSL];
        ssl.extend(NOT_VERIFIED);
        add_field(&mut ssl, SSL_VERSION, version.as_bytes());
        add_field(&mut rest, SSL, &ssl);
    }
    let mut header = SIGNATURE.to_vec();
    header.extend([PROXY, family]);
    header.extend(length(&rest));
    header.extend(rest);
    header
}

fn in_v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

fn add_field(to: &mut Vec<u8>, kind: u8, value: &[u8]) {
    to.push(kind);
    to.extend(length(value));
    to.extend(value);
}

/// All of a header is shorter than 64 KiB by far.
fn length(bytes: &[u8]) -> [u8; 2] {
    u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ppp::v2;

    fn decoded(source: &str, destination: &str, tls_version: Option<&str>) -> (v2::Addresses, Vec<(u8, Vec<u8>)>) {
        let bytes = header(source.parse().unwrap(), destination.parse().unwrap(), tls_version);
        let decoded = v2::Header::try_from(&bytes[..]).unwrap();
        assert_eq!(decoded.len(), bytes.len());
        assert_eq!(
            (decoded.command, decoded.protocol),
            (v2::Command::Proxy, v2::Protocol::Stream)
        );
        let fields = decoded.tlvs().map(|field| field.unwrap());
        let fields = fields.map(|field| (field.kind, field.value.into_owned())).collect();
        (decoded.addresses, fields)
    }

    fn pair(source: &str, destination: &str) -> v2::Addresses {
        (
            source.parse::<SocketAddr>().unwrap(),
            destination.parse::<SocketAddr>().unwrap(),
        )
            .into()
    }

    #[test]
    fn addresses_come_back_as_they_went() {
        for (source, destination, as_source, as_destination) in [
            ("192.0.2.1:4711", "10.0.0.1:80", "192.0.2.1:4711", "10.0.0.1:80"),
            (
                "[2001:db8::1]:1",
                "[fd00::1]:65535",
                "[2001:db8::1]:1",
                "[fd00::1]:65535",
            ),
            // As a socket that listens for both families names IPv4.
            (
                "[::ffff:192.0.2.1]:4711",
                "10.0.0.1:80",
                "192.0.2.1:4711",
                "10.0.0.1:80",
            ),
            (
                "192.0.2.1:4711",
                "[fd00::1]:443",
                "[::ffff:192.0.2.1]:4711",
                "[fd00::1]:443",
            ),
            (
                "[2001:db8::1]:1",
                "10.0.0.1:80",
                "[2001:db8::1]:1",
                "[::ffff:10.0.0.1]:80",
            ),
        ] {
            let (addresses, fields) = decoded(source, destination, None);
            assert_eq!(addresses, pair(as_source, as_destination));
            assert!(fields.is_empty());
        }
    }

    #[test]
    fn a_client_that_spoke_tls_is_told_with_its_version() {
        let (addresses, fields) = decoded("192.0.2.1:4711", "10.0.0.1:443", Some("TLSv1.3"));
        assert_eq!(addresses, pair("192.0.2.1:4711", "10.0.0.1:443"));
        let [(kind, value)] = &fields[..] else {
            panic!("{fields:?}")
        };
        assert_eq!(*kind, u8::from(v2::Type::SSL));
        let (client, rest) = value.split_first().unwrap();
        let (verify, inner) = rest.split_at(4);
        assert_eq!(
            *client, 1,
            "over TLS, with no certificate on this connection or session"
        );
        assert_ne!(verify, [0; 4], "no certificate was verified");
        let inner: Vec<_> = v2::TypeLengthValues::from(inner).map(|field| field.unwrap()).collect();
        assert_eq!(inner, [v2::TypeLengthValue::new(v2::Type::SSLVersion, b"TLSv1.3")]);
    }
}
