//! A client's address as it is counted.

use std::net::{IpAddr, Ipv6Addr};

/// An address that requests are counted by.
pub trait Counted {
    /// The number it is counted by. IPv4 in IPv6 is the same client as IPv4 alone. A network of 64 bits is one client of
    /// IPv6 where `by_network` says so, since a client can have all of its addresses.
    fn counted(self, by_network: bool) -> u128;
}

impl Counted for IpAddr {
    fn counted(self, by_network: bool) -> u128 {
        match self.to_canonical() {
            IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
            IpAddr::V6(address) if by_network => Ipv6Addr::to_bits(address) >> 64 << 64,
            IpAddr::V6(address) => Ipv6Addr::to_bits(address),
        }
    }
}
