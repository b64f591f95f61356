//! The addresses that Gateways may have for themselves.

use ipnet::IpNet;
use std::net::IpAddr;
use std::sync::Arc;

/// `--gateway-addresses`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressPool(Arc<[IpNet]>);

impl AddressPool {
    /// These networks.
    pub fn new(nets: &[IpNet]) -> Self {
        Self(nets.into())
    }

    /// Whether it has no addresses.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an address is one of them. IPv4 in IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|net| net.contains(&address))
    }

    /// All of them in order, without the first and the last of an IPv4 network, which are no addresses of hosts.
    pub fn hosts(&self) -> impl Iterator<Item = IpAddr> {
        self.0.iter().flat_map(IpNet::hosts)
    }
}
