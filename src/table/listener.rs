//! The addresses that narthex listens on, and what each of them serves.

use super::destination::Destination;
use super::gateways::GatewayPort;
use super::hosts::Hosts;
use super::route::wildcard_suffix;
use super::slots::Placed;
use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// A listener's identity: a slot and a generation. A listener of another address or protocol has another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId {
    /// Its place in the table.
    pub slot: u32,
    /// Which of those that had this slot.
    pub generation: u32,
}

/// An address and port that narthex listens on.
#[derive(Clone, Debug)]
pub struct Listener {
    pub id: ListenerId,
    /// Where, as it was asked for: the port may be 0.
    pub address: SocketAddr,
    /// What is served there.
    pub serves: Serves,
}

/// What a listener serves.
#[derive(Clone, Debug)]
pub enum Serves {
    /// HTTP without TLS.
    Http(HostSet),
    /// TLS, by the name that a client asks for.
    Tls(Arc<Names>),
    /// Connections, whose bytes are passed on as they come.
    Tcp(Destination),
    /// Datagrams.
    Udp(Destination),
}

/// The hosts of a listener.
#[derive(Clone, Debug)]
pub enum HostSet {
    /// Those of Ingresses, which all of their listeners share.
    Ingress,
    Own(Arc<Hosts>),
    /// What the listeners of Gateways have; behind them perhaps those of Ingresses.
    Gateways(Arc<GatewayPort>),
}

/// What is done with TLS, by the name that a client asks for (SNI).
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// By the very name.
    pub exact: HashMap<Box<str>, TlsMode>,
    /// By what follows the first label of a name.
    pub wildcard: HashMap<Box<str>, TlsMode>,
    /// For all other names, and for clients that ask for none.
    pub any: Option<TlsMode>,
}

/// What is done with a TLS connection.
#[derive(Clone, Debug)]
pub enum TlsMode {
    /// TLS ends here, and HTTP is spoken under it.
    Terminate(HostSet),
    /// The bytes are passed on as they come, so that TLS ends elsewhere.
    Passthrough(Destination),
}

impl Names {
    /// What is done for a name; absent where a client is sent away.
    pub fn find(&self, name: Option<&str>) -> Option<&TlsMode> {
        let exact = || self.exact.get(name?);
        let wildcard = || self.wildcard.get(wildcard_suffix(name?)?);
        let named = match (self.exact.is_empty(), self.wildcard.is_empty()) {
            (true, true) => None,
            _ => exact().or_else(wildcard),
        };
        named.or(self.any.as_ref())
    }

    fn modes(&self) -> impl Iterator<Item = &TlsMode> {
        self.exact.values().chain(self.wildcard.values()).chain(&self.any)
    }

    /// Whether some connections are passed on as they come.
    pub fn passes_some(&self) -> bool {
        self.modes().any(|mode| matches!(mode, TlsMode::Passthrough(_)))
    }
}

impl Listener {
    /// A listener for HTTP that serves what Ingresses have.
    pub fn http(slot: u32, address: SocketAddr) -> Self {
        let id = ListenerId { slot, generation: 1 };
        let serves = Serves::Http(HostSet::Ingress);
        Self { id, address, serves }
    }

    /// A listener for HTTPS that serves what Ingresses have.
    pub fn https(slot: u32, address: SocketAddr) -> Self {
        let id = ListenerId { slot, generation: 1 };
        let names = Names {
            any: Some(TlsMode::Terminate(HostSet::Ingress)),
            ..Names::default()
        };
        let serves = Serves::Tls(Arc::new(names));
        Self { id, address, serves }
    }

    /// The same listener with what Gateways have on its port before what Ingresses have.
    #[must_use]
    pub fn with_gateways(&self, port: &Arc<GatewayPort>) -> Self {
        let hosts = HostSet::Gateways(port.clone());
        let serves = match &self.serves {
            Serves::Tls(names) => Serves::Tls(Arc::new(Names {
                any: Some(TlsMode::Terminate(hosts)),
                ..Names::clone(names)
            })),
            _ => Serves::Http(hosts),
        };
        Self { serves, ..self.clone() }
    }

    /// What is spoken there.
    pub fn protocol(&self) -> ListenerProtocol {
        match &self.serves {
            Serves::Http(_) => ListenerProtocol::Http,
            Serves::Tls(names) if names.passes_some() => ListenerProtocol::Tls,
            Serves::Tls(_) => ListenerProtocol::Https,
            Serves::Tcp(_) => ListenerProtocol::Tcp,
            Serves::Udp(_) => ListenerProtocol::Udp,
        }
    }

    /// Whether the listeners of Gateways have some connections of TLS passed on there as they come.
    pub fn passes_for_gateways(&self) -> bool {
        let Serves::Tls(names) = &self.serves else { return false };
        names
            .modes()
            .any(|mode| matches!(mode, TlsMode::Terminate(HostSet::Gateways(port)) if port.passes_some))
    }

    /// What is done with a client that asks for this name in its handshake; absent if it is sent away, or there is no TLS.
    pub fn tls(&self, server_name: Option<&str>) -> Option<&TlsMode> {
        match &self.serves {
            Serves::Tls(names) => names.find(server_name),
            Serves::Http(_) | Serves::Tcp(_) | Serves::Udp(_) => None,
        }
    }

    /// The hosts that are served there, under TLS to a client that asks for this name.
    pub fn hosts(&self, server_name: Option<&str>) -> Option<&HostSet> {
        match &self.serves {
            Serves::Http(hosts) => Some(hosts),
            Serves::Tls(names) => match names.find(server_name)? {
                TlsMode::Terminate(hosts) => Some(hosts),
                TlsMode::Passthrough(_) => None,
            },
            Serves::Tcp(_) | Serves::Udp(_) => None,
        }
    }

    /// Hosts that only this listener has.
    pub fn own_hosts(&self) -> impl Iterator<Item = &Hosts> {
        let (plain, names) = match &self.serves {
            Serves::Http(hosts) => (Some(hosts), None),
            Serves::Tls(names) => (None, Some(names)),
            Serves::Tcp(_) | Serves::Udp(_) => (None, None),
        };
        let under_tls = names.into_iter().flat_map(|names| names.modes());
        let under_tls = under_tls.filter_map(|mode| match mode {
            TlsMode::Terminate(hosts) => Some(hosts),
            TlsMode::Passthrough(_) => None,
        });
        plain.into_iter().chain(under_tls).filter_map(|hosts| match hosts {
            HostSet::Ingress | HostSet::Gateways(_) => None,
            HostSet::Own(hosts) => Some(&**hosts),
        })
    }
}

impl Placed for Listener {
    type Id = ListenerId;

    fn id(&self) -> ListenerId {
        self.id
    }

    fn slot(id: ListenerId) -> usize {
        id.slot as usize
    }
}

/// What is spoken on a listener, in the words of Gateway API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ListenerProtocol {
    /// HTTP without TLS.
    Http,
    /// HTTP under TLS.
    Https,
    /// TLS that is passed on, for some names or all.
    Tls,
    /// Any connection.
    Tcp,
    /// Datagrams.
    Udp,
}

impl ListenerProtocol {
    /// What a socket for it is for: whether TLS ends here is known by the name that a client asks for.
    #[must_use]
    pub fn socket(self) -> Self {
        match self {
            Self::Tls => Self::Https,
            other => other,
        }
    }

    /// Whether a connection begins with a handshake of TLS.
    pub fn begins_with_tls(self) -> bool {
        matches!(self, Self::Https | Self::Tls)
    }
}

impl fmt::Display for ListenerProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "HTTP",
            Self::Https => "HTTPS",
            Self::Tls => "TLS",
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RouteKey;
    use crate::table::{BackendId, HostPattern, PathKind, PathPattern, Table, route_key};
    use twox_hash::XxHash3_64;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn backend(slot: u32) -> Destination {
        Destination::Backend(BackendId { slot, generation: 1 })
    }

    #[test]
    fn the_very_name_comes_before_a_wildcard_and_that_before_all_others() {
        let pass = |slot| TlsMode::Passthrough(backend(slot));
        let mut names = Names::default();
        assert!(names.find(Some("a.test")).is_none());
        names.any = Some(pass(0));
        names.wildcard.insert("test".into(), pass(1));
        names.exact.insert("a.test".into(), pass(2));
        let found = |name| match names.find(name) {
            Some(TlsMode::Passthrough(Destination::Backend(id))) => id.slot,
            other => panic!("{other:?}"),
        };
        assert_eq!(found(Some("a.test")), 2);
        assert_eq!(found(Some("b.test")), 1);
        assert_eq!(found(Some("b.a.test")), 0);
        assert_eq!(found(None), 0);
    }

    #[test]
    fn a_listener_leads_to_its_own_hosts_or_to_those_of_ingresses() {
        let mut table = Table::default();
        let own = Arc::new(Hosts::default());
        let (id, gone) = (
            ListenerId { slot: 2, generation: 7 },
            ListenerId { slot: 2, generation: 6 },
        );
        let mut names = Names::default();
        let terminate = TlsMode::Terminate(HostSet::Own(own.clone()));
        names.exact.insert("a.test".into(), terminate);
        names.exact.insert("p.test".into(), TlsMode::Passthrough(backend(0)));
        let serves = Serves::Tls(Arc::new(names));
        let mixed = Listener {
            id,
            address: address(3),
            serves,
        };
        assert_eq!(mixed.protocol(), ListenerProtocol::Tls);
        let two = [Listener::http(0, address(1)), Listener::https(1, address(2))];
        for listener in two.iter().chain([&mixed]) {
            table.set_listener(listener.id.slot, Some(Arc::new(listener.clone())));
        }
        let hosts = |id, name| table.hosts_of(id, name).map(std::ptr::from_ref);
        let shared = Some(std::ptr::from_ref(table.ingress_hosts()));
        assert_eq!(hosts(two[0].id, None), shared);
        assert_eq!(hosts(two[1].id, Some("a.test")), shared);
        assert_eq!(hosts(id, Some("a.test")), Some(Arc::as_ptr(&own)));
        for name in [Some("p.test"), Some("other.test"), None] {
            assert_eq!(hosts(id, name), None, "{name:?}");
        }
        assert_eq!(hosts(gone, Some("a.test")), None);
    }

    #[test]
    fn a_key_tells_listeners_apart_and_is_the_old_one_for_ingresses() {
        let host = HostPattern::Exact("a.test".into());
        let path = PathPattern {
            kind: PathKind::Prefix,
            path: "/x".into(),
        };
        let key = |listeners| route_key(listeners, &host, Some(&path), None);
        assert_eq!(key(None), RouteKey(XxHash3_64::oneshot(b"a.test Prefix /x")));
        assert_ne!(key(None), key(Some("infra/gateway/web")));
        assert_ne!(key(Some("infra/gateway/web")), key(Some("infra/gateway/api")));
    }
}
