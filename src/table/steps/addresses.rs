//! Lists of networks, and who may come in by them.

use ipnet::IpNet;
use std::net::{IpAddr, Ipv6Addr};

/// A set of networks. Sorted ranges that do not overlap, so that a look costs the logarithm of their number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Networks {
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u128)]>,
}

impl Networks {
    /// These networks. IPv4 in IPv6 counts as IPv4.
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            match (network.network(), network.broadcast()) {
                (IpAddr::V4(first), IpAddr::V4(last)) => v4.push((first.to_bits(), last.to_bits())),
                (IpAddr::V6(first), IpAddr::V6(last)) => match (first.to_ipv4_mapped(), last.to_ipv4_mapped()) {
                    (Some(first), Some(last)) => v4.push((first.to_bits(), last.to_bits())),
                    _ => {
                        v6.push((first.to_bits(), last.to_bits()));
                        if network.contains(&IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0))) {
                            v4.push((0, u32::MAX));
                        }
                    }
                },
                _ => {}
            }
        }
        Self {
            v4: merged(v4),
            v6: merged(v6),
        }
    }

    /// Whether an address is in one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => is_within(&self.v4, address.to_bits()),
            IpAddr::V6(address) => is_within(&self.v6, address.to_bits()),
        }
    }

    /// Whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// How many ranges there are.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }
}

/// Ranges in order, those that overlap made one.
fn merged<N: Ord + Copy>(mut ranges: Vec<(N, N)>) -> Box<[(N, N)]> {
    ranges.sort_unstable();
    let mut out: Vec<(N, N)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match out.last_mut() {
            Some(before) if first <= before.1 => before.1 = before.1.max(last),
            _ => out.push((first, last)),
        }
    }
    out.into()
}

fn is_within<N: Ord + Copy>(ranges: &[(N, N)], address: N) -> bool {
    let behind = ranges.partition_point(|(first, _)| *first <= address);
    let before = behind.checked_sub(1).and_then(|at| ranges.get(at));
    before.is_some_and(|(_, last)| address <= *last)
}

/// Which client addresses are let in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Addresses {
    /// Only they may; everybody if absent.
    pub allow: Option<Networks>,
    /// They may not, also those that are allowed.
    pub deny: Networks,
}

impl Addresses {
    /// Whether a client at an address may come in.
    pub fn admits(&self, address: IpAddr) -> bool {
        !self.deny.contains(address) && self.allow.as_ref().is_none_or(|allow| allow.contains(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Networks {
        Networks::new(texts.iter().map(|text| text.parse().unwrap()))
    }

    #[test]
    fn what_a_list_contains_is_what_its_networks_contain() {
        let texts = [
            "10.0.0.0/8",
            "10.1.0.0/16",
            "192.0.2.7/32",
            "::ffff:198.51.100.0/120",
            "2001:db8::/32",
        ];
        let list = networks(&texts);
        assert_eq!(list.len(), 4, "one lies within another");
        for (address, is_in) in [
            ("10.0.0.0", true),
            ("10.255.255.255", true),
            ("11.0.0.0", false),
            ("9.255.255.255", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("198.51.100.9", true),
            ("::ffff:10.2.3.4", true),
            ("::ffff:11.2.3.4", false),
            ("2001:db8::1", true),
            ("2001:db9::", false),
        ] {
            assert_eq!(list.contains(address.parse().unwrap()), is_in, "{address}");
        }
        assert!(!Networks::default().contains("10.0.0.1".parse().unwrap()));
        assert!(
            networks(&["::/0"]).contains("10.0.0.1".parse().unwrap()),
            "all of IPv6 has IPv4 within it"
        );
    }

    #[test]
    fn what_is_denied_comes_first() {
        let addresses = Addresses {
            allow: Some(networks(&["10.0.0.0/8"])),
            deny: networks(&["10.0.0.1/32"]),
        };
        for (address, admitted) in [("10.0.0.1", false), ("10.0.0.2", true), ("192.0.2.1", false)] {
            assert_eq!(addresses.admits(address.parse().unwrap()), admitted, "{address}");
        }
        assert!(Addresses::default().admits("192.0.2.1".parse().unwrap()));
        let nobody = Addresses {
            allow: Some(Networks::default()),
            ..Addresses::default()
        };
        assert!(
            !nobody.admits("192.0.2.1".parse().unwrap()),
            "an empty list allows nobody"
        );
    }
}
