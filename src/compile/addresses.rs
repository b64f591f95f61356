//! Addresses that no rule may lead to, whoever writes it (reliability rows 35 and 36).
//!
//! narthex is on the node's network, so what an address means there is not what it means in a pod: loopback is the
//! kubelet and etcd, link-local the cloud's metadata with the node's credentials.

use super::Options;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Where clouds answer a node's questions about itself, beyond 169.254.0.0/16: Azure, Alibaba, Oracle; AWS over IPv6.
const METADATA: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

impl Options {
    /// Why an address of a slice is left out, where it is.
    pub(super) fn refuses(&self, address: SocketAddr) -> Option<&'static str> {
        if self.admin_addresses.contains(&canonical(address)) {
            return Some("narthex's own admin address");
        }
        if self.local_endpoints {
            return None;
        }
        refused_from_outside(address.ip())
    }

    /// The same of what an external name resolves to: a name can lead anywhere at any time.
    pub(super) fn refuses_external(&self, address: SocketAddr) -> Option<&'static str> {
        let address = canonical(address);
        let own = self.admin_addresses.contains(&address) || self.own_addresses.contains(&address);
        own.then_some("narthex itself")
            .or_else(|| refused_from_outside(address.ip()))
    }
}

/// `::ffff:10.0.0.1` is 10.0.0.1.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn refused_from_outside(address: IpAddr) -> Option<&'static str> {
    let address = address.to_canonical();
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    match address {
        address if address.is_loopback() || address.is_unspecified() => Some("the node itself"),
        address if link_local || METADATA.contains(&address) => Some("for the node alone (link-local, cloud metadata)"),
        address if address.is_multicast() => Some("of a group"),
        _ => None,
    }
}
