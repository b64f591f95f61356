//! Whose word is taken for where a request comes from.

use http::header::{HeaderMap, HeaderValue};
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// How many addresses of `X-Forwarded-For` are looked at: more proxies in a row than there are.
const MAX_PROXIES: usize = 32;

/// `--trusted-proxies`.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Arc<[IpNet]>);

impl TrustedProxies {
    /// These networks.
    pub fn new(nets: &[IpNet]) -> Self {
        Self(nets.into())
    }

    /// Whether an address is in them. IPv4 in IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|net| net.contains(&address))
    }

    /// The client of a request that came from a trusted proxy: in `X-Forwarded-For`, from the right, the first
    /// address that is not trusted itself. Where all are, the last one seen; what is no address ends the list, for
    /// nobody who is trusted wrote what stands to its left.
    pub fn client(&self, proxy: IpAddr, headers: &HeaderMap) -> IpAddr {
        let lines = headers.get_all("x-forwarded-for").iter().rev();
        let elements = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        let mut client = proxy;
        for element in elements.take(MAX_PROXIES) {
            let element = element.trim_ascii();
            if element.is_empty() {
                continue;
            }
            let Some(address) = address(element) else { break };
            client = address;
            if !self.contains(address) {
                break;
            }
        }
        client
    }
}

/// An address as proxies write it: alone, or with a port.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let ip = bare.unwrap_or(text).parse();
    let ip: IpAddr = ip.or_else(|_| text.parse().map(|both: SocketAddr| both.ip())).ok()?;
    Some(ip.to_canonical())
}

/// An address as header text, IPv4 in IPv6 unwrapped.
pub fn address_value(address: IpAddr) -> HeaderValue {
    // An address is always header text.
    HeaderValue::from_str(&address.to_canonical().to_string()).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(lines: &[&str]) -> String {
        let nets: Vec<IpNet> = ["10.0.0.0/8", "fd00::/8"]
            .iter()
            .map(|net| net.parse().unwrap())
            .collect();
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", HeaderValue::from_str(line).unwrap());
        }
        TrustedProxies::new(&nets)
            .client("10.0.0.1".parse().unwrap(), &headers)
            .to_string()
    }

    #[test]
    fn the_rightmost_address_that_is_not_trusted_is_the_client() {
        for (lines, wanted) in [
            (&[][..], "10.0.0.1"),
            (&[""], "10.0.0.1"),
            (&["192.0.2.1"], "192.0.2.1"),
            (&["6.6.6.6, 192.0.2.1"], "192.0.2.1"),
            (&["6.6.6.6, 192.0.2.1, 10.0.0.2"], "192.0.2.1"),
            (&["6.6.6.6", "192.0.2.1,10.0.0.2", "10.0.0.3 , "], "192.0.2.1"),
            (&["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            (&["192.0.2.1:4711"], "192.0.2.1"),
            (&["::ffff:192.0.2.1, ::ffff:10.0.0.2"], "192.0.2.1"),
            (&["2001:db8::1, fd00::1"], "2001:db8::1"),
            (&["[2001:db8::1]:4711, [fd00::1]"], "2001:db8::1"),
            (&["192.0.2.1, unknown, 10.0.0.2"], "10.0.0.2"),
            (&["192.0.2.1, _hidden"], "10.0.0.1"),
        ] {
            assert_eq!(client(lines), wanted, "{lines:?}");
        }
    }

    #[test]
    fn a_list_without_end_is_not_walked_to_its_end() {
        let list = format!("192.0.2.1{}", ", 10.0.0.2".repeat(MAX_PROXIES));
        assert_eq!(client(&[&list]), "10.0.0.2");
    }
}
