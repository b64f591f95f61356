//! Addresses that no rule may lead to, whoever writes it (docs/security.md, rows 35 and 36).
//!
//! narthex is on the node's network, so what an address means there is not what it means in a pod: loopback is the
//! kubelet and etcd, link-local the cloud's metadata with the node's credentials.

use super::Options;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Where clouds answer a node's questions about itself, beyond 169.254.0.0/16: Azure, Alibaba, Oracle; Google and
/// Scaleway over IPv6. AWS has all of fd00:ec2::/32.
const METADATA: [IpAddr; 5] = [
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42)),
];

impl Options {
    /// Why an address of a slice is left out, where it is.
    pub(super) fn refuses(&self, address: SocketAddr) -> Option<&'static str> {
        if is_one_of(address, &self.admin_addresses) {
            return Some("narthex's own admin address");
        }
        if self.local_endpoints {
            return None;
        }
        refused_from_outside(address.ip())
    }

    /// The same of what an external name resolves to: a name can lead anywhere at any time.
    pub(super) fn refuses_external(&self, address: SocketAddr) -> Option<&'static str> {
        let own = is_one_of(address, &self.admin_addresses) || is_one_of(address, &self.own_addresses);
        own.then_some("narthex itself")
            .or_else(|| refused_from_outside(address.ip()))
    }
}

/// Whether an address may lead to one of these.
fn is_one_of(address: SocketAddr, others: &[SocketAddr]) -> bool {
    meanings(address.ip()).any(|ip| others.contains(&SocketAddr::new(ip, address.port())))
}

/// All that an address may lead to: itself, and the IPv4 address that a gateway or tunnel makes of it.
fn meanings(address: IpAddr) -> impl Iterator<Item = IpAddr> {
    let within = match address {
        IpAddr::V4(_) => Vec::new(),
        IpAddr::V6(address) => within(address),
    };
    std::iter::once(address.to_canonical()).chain(within.into_iter().map(IpAddr::V4))
}

/// The IPv4 addresses that are written into an IPv6 address.
fn within(address: Ipv6Addr) -> Vec<Ipv4Addr> {
    let bits = address.to_bits();
    let at = |shift: u32| Ipv4Addr::from_bits((bits >> shift) as u32);
    let last = at(0);
    match address.segments() {
        // Mapped (::ffff:a.b.c.d), translated (::ffff:0:a.b.c.d, RFC 2765) and compatible (::a.b.c.d, RFC 4291).
        [0, 0, 0, 0, 0, 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => vec![last],
        [0, 0, 0, 0, 0, 0, high, _] if high != 0 => vec![last],
        // NAT64's well-known prefix (RFC 6052).
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => vec![last],
        // Its prefix for local use (RFC 8215), of which a network may take any part: the address stands after 96, 48, 56
        // or 64 bits, in the latter around 8 bits that are always zero. In the other places there is often nothing, which
        // is no address.
        [0x64, 0xff9b, 1, ..] => {
            let high = |bits: u128, from: u32, count: u32| (bits << from >> (128 - count)) as u32;
            let around = |before: u32| {
                let first = 64 - before;
                Ipv4Addr::from_bits(match first {
                    0 => high(bits, 72, 32),
                    _ => high(bits, before, first) << (32 - first) | high(bits, 72, 32 - first),
                })
            };
            let all = [last, around(48), around(56), around(64)].into_iter();
            all.filter(|address| address.octets()[0] != 0 && !address.is_multicast())
                .collect()
        }
        // 6to4 (RFC 3056).
        [0x2002, ..] => vec![at(80)],
        // Teredo (RFC 4380): the server, and the client with all bits turned.
        [0x2001, 0, ..] => vec![at(64), Ipv4Addr::from_bits(!last.to_bits())],
        // ISATAP (RFC 5214).
        [_, _, _, _, 0 | 0x200, 0x5efe, ..] => vec![last],
        _ => Vec::new(),
    }
}

fn refused_from_outside(address: IpAddr) -> Option<&'static str> {
    meanings(address).find_map(refused)
}

fn refused(address: IpAddr) -> Option<&'static str> {
    let (link_local, node, metadata) = match address {
        // All of 0.0.0.0/8 is "this host on this network" (RFC 1122).
        IpAddr::V4(v4) => (v4.is_link_local() || v4.is_broadcast(), v4.octets()[0] == 0, false),
        IpAddr::V6(v6) => {
            let aws = matches!(v6.segments(), [0xfd00, 0xec2, ..]);
            (v6.is_unicast_link_local(), v6.is_unspecified(), aws)
        }
    };
    match address {
        address if address.is_loopback() || node => Some("the node itself"),
        address if link_local || metadata || METADATA.contains(&address) => {
            Some("for the node only (link-local, cloud metadata)")
        }
        address if address.is_multicast() => Some("a multicast address"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(address: &str) -> Option<&'static str> {
        let options = Options {
            local_endpoints: false,
            admin_addresses: vec!["10.0.0.9:8080".parse().unwrap()],
            ..Options::default()
        };
        let address = SocketAddr::new(address.parse().unwrap(), 8080);
        assert_eq!(
            options.refuses(address).is_some(),
            options.refuses_external(address).is_some(),
            "{address}"
        );
        options.refuses(address)
    }

    #[test]
    fn what_is_for_the_node_alone_is_refused_in_every_form() {
        for address in [
            "169.254.169.254",
            "fe80::1",
            "fe80::a9fe:a9fe",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "::ffff:0:169.254.169.254",
            "64:ff9b::169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::169.254.169.254",
            "64:ff9b:1:fffe:0:0:169.254.169.254",
            "64:ff9b:1:a9fe:a9:fe00::",
            "64:ff9b:1:aa:a9:fea9:fe00:0",
            "64:ff9b:1:aa00:a9:fea9:fe00:0",
            "64:ff9b:1:aaa9:fe:a9fe::",
            "2002:a9fe:a9fe::1",
            "2001:0:a9fe:a9fe::1",
            "2001:0:4136:e378:8000:63bf:5601:5601",
            "2001:db8::5efe:169.254.169.254",
            "2001:db8::200:5efe:169.254.169.254",
            "168.63.129.16",
            "64:ff9b::168.63.129.16",
            "2002:6464:64c8::",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "64:ff9b::255.255.255.255",
        ] {
            let why = refused(address);
            assert!(
                why.is_some_and(|why| why.starts_with("for the node only")),
                "{address}: {why:?}"
            );
        }
        for address in [
            "127.0.0.1",
            "0.0.0.0",
            "0.0.0.1",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b::",
            "2002:7f00:1::",
        ] {
            assert_eq!(refused(address), Some("the node itself"), "{address}");
        }
        assert_eq!(refused("64:ff9b::224.0.0.1"), Some("a multicast address"));
        assert_eq!(refused("::ffff:10.0.0.9"), refused("10.0.0.9"));
        assert_eq!(refused("64:ff9b::10.0.0.9"), refused("10.0.0.9"));
        assert!(refused("10.0.0.9").is_some());
    }

    #[test]
    fn pods_are_not() {
        for address in [
            "10.0.0.1",
            "100.64.0.1",
            "192.168.0.1",
            "fd00::1",
            "fd00:ec3::1",
            "2001:db8::1",
            "2001:db8::a9fe:a9fe",
            "2600:1f13::a9fe:a9fe",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::10.0.0.1",
            "64:ff9b:1:fffe::10.1.2.3",
            "64:ff9b:1:a01:203::",
            "2002:a00:1::1",
            "::ffff:10.0.0.1",
        ] {
            assert_eq!(refused(address), None, "{address}");
        }
    }
}
