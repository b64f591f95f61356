//! What the listeners of Gateways serve on a port. A request is for the one listener whose hostname fits it best, and no
//! route of another one answers it.

use super::CertificateSet;
use super::canonical::CanonicalPath;
use super::hosts::{HostTable, Hosts, Match};
use super::listener::ListenerProtocol;
use super::route::{HostPattern, Route};
use super::when::Says;
use std::collections::HashMap;
use std::sync::Arc;

/// Things by host. A wildcard stands for any number of labels here, but at least one.
#[derive(Clone, Debug)]
pub struct ByHost<T> {
    exact: HashMap<Arc<str>, T>,
    /// By what follows the `*.`.
    wildcard: HashMap<Arc<str>, T>,
    any: Option<T>,
}

impl<T> Default for ByHost<T> {
    fn default() -> Self {
        Self {
            exact: HashMap::new(),
            wildcard: HashMap::new(),
            any: None,
        }
    }
}

impl<T> ByHost<T> {
    /// Everything that fits a host, the best first: the very name, then the longest wildcard, then what is for any host.
    pub fn fitting<'t, 'h>(&'t self, host: Option<&'h str>) -> impl Iterator<Item = &'t T> + use<'t, 'h, T> {
        let host = host.unwrap_or_default();
        let exact = self.exact.get(host);
        // A host that is an address has no labels.
        let is_name = !self.wildcard.is_empty() && !host.starts_with('[');
        let dots = host.match_indices('.').filter(move |_| is_name);
        let wildcard = dots.filter_map(move |(at, _)| self.wildcard.get(host.get(at + 1..)?));
        exact.into_iter().chain(wildcard).chain(&self.any)
    }

    /// What is there for exactly this pattern, to be changed; made where there is nothing.
    pub fn entry(&mut self, pattern: &HostPattern) -> &mut T
    where
        T: Default,
    {
        match pattern {
            HostPattern::Exact(name) => self.exact.entry(name.clone()).or_default(),
            HostPattern::Wildcard(suffix) => self.wildcard.entry(suffix.clone()).or_default(),
            HostPattern::Any => self.any.get_or_insert_default(),
        }
    }

    /// Puts something where a pattern has nothing yet.
    pub fn insert(&mut self, pattern: HostPattern, thing: T) {
        match pattern {
            HostPattern::Exact(name) => drop(self.exact.insert(name, thing)),
            HostPattern::Wildcard(suffix) => drop(self.wildcard.insert(suffix, thing)),
            HostPattern::Any => self.any = Some(thing),
        }
    }

    /// Everything, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.exact.values().chain(self.wildcard.values()).chain(&self.any)
    }
}

/// A listener of a Gateway.
#[derive(Clone, Debug)]
pub struct GatewayListener {
    /// `namespace/gateway/listener`.
    pub name: Arc<str>,
    /// The namespace of its Gateway.
    pub namespace: Arc<str>,
    pub hostname: HostPattern,
    pub protocol: ListenerProtocol,
    /// Its routes, by the hostnames that they have themselves: the better of two for a request is the one whose own
    /// hostname is the more specific, also where the listener's is narrower than both.
    pub hosts: ByHost<HostTable>,
    /// What its clients are shown, where TLS ends there.
    pub certificates: Option<Arc<CertificateSet>>,
}

/// The listeners of Gateways on a port of the addresses that they share with Ingresses, or on a port that they have for
/// themselves.
#[derive(Clone, Debug, Default)]
pub struct GatewayPort {
    pub listeners: ByHost<GatewayListener>,
    /// Whether a request that no listener has a route for may have a rule of an Ingress.
    pub then_ingresses: bool,
    /// Whether some connections of TLS are passed on as they come.
    pub passes_some: bool,
}

/// A connection of TLS that is passed on.
#[derive(Clone, Copy, Debug)]
pub struct PassedStream<'t> {
    pub route: &'t Arc<Route>,
    /// What the client is shown, where TLS ends here and what it says is passed on.
    pub certificates: Option<&'t Arc<CertificateSet>>,
}

/// What the listeners of Gateways say of a request.
#[derive(Debug)]
pub enum Asked<'t> {
    /// This route answers, unless a rule of an Ingress comes first: see [`GatewayListener::yields`].
    Route(&'t GatewayListener, &'t Arc<Route>),
    /// The connection is for another listener than the host.
    Misdirected,
    /// They have no route for it.
    Nothing,
}

impl GatewayListener {
    /// The route for a host and path. What the best hostname has no rule for falls to the next one.
    pub fn find(&self, host: Option<&str>, path: &CanonicalPath<'_>, says: &Says<'_>) -> Option<&Arc<Route>> {
        let mut hosts = self.hosts.fitting(host);
        hosts.find_map(|host| host.find(path, says))
    }

    /// Whether its connections are passed on, whatever is spoken in them.
    pub fn is_of_streams(&self) -> bool {
        matches!(self.protocol, ListenerProtocol::Tls | ListenerProtocol::Tcp)
    }

    /// Whether TLS ends at its pods.
    pub fn passes_tls(&self) -> bool {
        self.protocol == ListenerProtocol::Tls && self.certificates.is_none()
    }

    /// The route of a connection whose client asks for a name. It is that with the best hostname.
    pub fn stream(&self, name: Option<&str>) -> Option<&Arc<Route>> {
        self.hosts.fitting(name).find_map(|host| host.passes.as_ref())
    }

    /// Whether a rule of an Ingress answers in place of a route: a rule for fewer hosts does, and so does a rule of another
    /// namespace for the same hosts. Nobody takes requests from the Ingress of somebody else.
    pub fn yields(
        &self,
        route: &Route,
        ingresses: &Hosts,
        host: Option<&str>,
        path: &CanonicalPath<'_>,
        says: &Says<'_>,
    ) -> bool {
        let rank = self.hostname.rank().max(route.host.rank());
        ingresses.find(host, path, says).is_some_and(|found| {
            let (theirs, namespace) = (found.route.host.rank(), &found.route.origin.object.namespace);
            theirs > rank || (theirs == rank && *namespace != route.origin.object.namespace)
        })
    }

    /// Every route, in no order.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.hosts.iter().flat_map(HostTable::routes)
    }
}

impl GatewayPort {
    /// The listener that a host belongs to, or a connection by the name that its client asks for.
    pub fn listener(&self, host: Option<&str>) -> Option<&GatewayListener> {
        self.listeners.fitting(host).next()
    }

    /// What becomes of a connection of TLS whose client asks for a name, if it is for a listener whose connections are passed on.
    /// The inner one is absent where no route of the listener is for the name. As with requests, nobody takes a name from the
    /// Ingress of somebody else, and what no route is for may be an Ingress's.
    pub fn stream(&self, ingresses: &Hosts, name: Option<&str>) -> Option<Option<PassedStream<'_>>> {
        let listener = self.listener(name).filter(|listener| listener.is_of_streams())?;
        let Some(route) = listener.stream(name) else {
            return (!self.then_ingresses).then_some(None);
        };
        let is_kept = || {
            let (own, theirs) = (listener.hostname.rank().max(route.host.rank()), ingresses.rank(name));
            theirs > own || (theirs == own && ingresses.is_of_others(name, &route.origin.object.namespace))
        };
        if self.then_ingresses && is_kept() {
            return None;
        }
        let certificates = listener.certificates.as_ref();
        Some(Some(PassedStream { route, certificates }))
    }

    /// Whether Ingresses name a host with a pattern for fewer hosts than the listener that it belongs to.
    pub fn is_ingress_host(&self, ingresses: &Hosts, host: Option<&str>) -> bool {
        let listener = self.listener(host);
        listener.is_none_or(|listener| ingresses.rank(host) > listener.hostname.rank())
    }

    /// What becomes of a request. `connection` is the name that the client of a TLS connection has asked for, if the
    /// connection is bound to that.
    pub fn find(
        &self,
        connection: Option<Option<&str>>,
        host: Option<&str>,
        path: &CanonicalPath<'_>,
        says: &Says<'_>,
    ) -> Asked<'_> {
        let listener = self.listener(host);
        if let Some(name) = connection {
            let of_connection = self.listener(name);
            let is_same = match (of_connection, listener) {
                (Some(one), Some(other)) => std::ptr::eq(one, other),
                (None, Some(_)) => false,
                // No listener has the host, so there is no other connection on which one would answer.
                (_, None) => true,
            };
            if !is_same {
                return Asked::Misdirected;
            }
        }
        let found = listener.and_then(|listener| Some((listener, listener.find(host, path, says)?)));
        match found {
            Some((listener, route)) => Asked::Route(listener, route),
            None => Asked::Nothing,
        }
    }

    /// Every route, in no order.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.listeners.iter().flat_map(GatewayListener::routes)
    }

    /// The same as what is found.
    pub fn matches(&self) -> impl Iterator<Item = Match<'_>> {
        self.routes().map(Match::plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_spans_labels_and_the_longer_one_is_better() {
        let mut all = ByHost::default();
        for (pattern, number) in [
            (HostPattern::Any, 0),
            (HostPattern::Wildcard("test".into()), 1),
            (HostPattern::Wildcard("b.test".into()), 2),
            (HostPattern::Exact("a.b.test".into()), 3),
        ] {
            all.insert(pattern, number);
        }
        for (host, wanted) in [
            (Some("a.b.test"), &[3, 2, 1, 0][..]),
            (Some("x.y.b.test"), &[2, 1, 0]),
            (Some("b.test"), &[1, 0]),
            (Some("test"), &[0]),
            (Some("[::1.test]"), &[0]),
            (None, &[0]),
        ] {
            let found: Vec<i32> = all.fitting(host).copied().collect();
            assert_eq!(found, wanted, "{host:?}");
        }
    }
}
