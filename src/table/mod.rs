//! The routing table: immutable plain data, shared by all shards, swapped as a whole.
//!
//! It knows nothing of Kubernetes but the [`Origin`](crate::model::Origin) on every route.

pub mod aliases;
pub mod backend;
mod backend_tls;
pub mod canonical;
pub mod certificate;
mod choice;
mod client_tls;
mod compression;
pub mod decide;
mod destination;
pub mod explain;
pub mod gateways;
mod guard;
mod hosts;
mod known_hosts;
mod listener;
mod parts;
pub mod paths;
mod patterns;
pub mod pods;
mod policies;
mod pool;
pub mod route;
mod served;
pub mod settings;
mod slots;
mod steps;
pub mod sticky;
pub mod when;

pub use aliases::HostRegex;
pub use backend::{Backend, BackendId, BackendState, Endpoint, Protocol};
pub use backend_tls::{BackendTls, Ingredients, OnlyVersion};
pub use canonical::{CanonicalPath, canonical_host, canonical_path};
pub use certificate::{Certificate, CertificateSet};
pub use choice::{Canary, CanaryHeader, CanaryRule, Choice, HeaderRegex};
pub use client_tls::{
    Authorities, CipherSuites, ClientParts, ClientRules, HostTls, NOTHING, Presented, ProfileParts, Shown,
    SubjectPattern, TlsProfile, TlsTerms, Verify, public_key,
};
pub use compression::{Coding, Compression};
pub use destination::{Answer, Destination, Shares, Split};
pub use gateways::{Asked, GatewayListener, GatewayPort, PassedStream};
pub use guard::{Guard, PARAMETERS};
pub use hosts::{HostTable, Hosts, Match};
pub use known_hosts::{KnownHost, KnownHosts};
pub use listener::{HostSet, Listener, ListenerId, ListenerProtocol, Names, Serves, TlsMode};
pub use patterns::{PathRegex, Pattern, Patterns};
pub use pods::{Check, InFlightLimit, PodSet, PodSetId, Terms};
pub use policies::{After, Before, Policies, Schemes};
pub use pool::AddressPool;
pub use route::{HostPattern, PathKind, PathPattern, Route, Shadow, Yields, route_key};
pub use served::{DesiredStatus, RouteAdmission, Served};
pub use settings::{
    BackendProtocol, BackendSettings, Balance, CookieAttributes, ForwardedFields, HashKey, HealthProtocol, RetryOn,
    UpstreamHost,
};
pub use slots::Slots;
pub use steps::{
    Access, Addresses, At, Basic, Blocked, BlockedField, Claims, Connections, Converter, Cors, Digest, DigestHash,
    DigestUsers, DigestUsersRead, Edit, ErrorPages, Exchanged, External, FieldChanges, FieldPattern, Jwt, JwtKeys,
    JwtKeysRead, KeyMissing, Known, Mirror, Networks, NewPath, NewPort, Origin, Origins, Pace, PasswordHash, Places,
    Rate, RateKey, Rates, Redirection, Remembered, Replies, ReplyFields, RequestFields, Returned, Rewrite, Sample,
    Satisfy, SendTo, Share, Target, Template, Texts, Users, UsersRead, VARIABLES, Verified, What, is_realm,
    is_same_name, may_be_replied,
};
pub use when::{Expressions, Says, Scheme, When};

use foldhash::fast::FixedState;
use parts::Parts;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

type Certificates = Parts<(HostPattern, Arc<CertificateSet>)>;

/// Everything a request needs to be routed.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Counts the tables of this process.
    pub generation: u64,
    listeners: Slots<Listener>,
    /// What Ingresses have; all of their listeners share it.
    ingress_hosts: Hosts,
    served: Parts<Arc<Served>>,
    backends: Slots<Backend>,
    pods: Slots<PodSet>,
    certificates: Certificates,
    default_certificate: Option<Arc<CertificateSet>>,
    /// Counts the changes of what hosts ask of their clients' connections.
    client_rules: u64,
    /// What Gateways have, by port; those of one port are shared by all listeners of the port.
    gateway_ports: Arc<[Arc<GatewayPort>]>,
}

fn hash(name: &str) -> u64 {
    const HASHER: FixedState = FixedState::with_seed(0x6e74_7874_626c);
    let mut hasher = HASHER.build_hasher();
    hasher.write(name.as_bytes());
    hasher.finish()
}

fn certificate_hash(wildcard: bool, name: &str) -> u64 {
    hash(name).wrapping_add(u64::from(wildcard))
}

impl Table {
    /// A listener as this table knows it; absent if it is gone.
    pub fn listener(&self, id: ListenerId) -> Option<&Arc<Listener>> {
        self.listeners.get(id)
    }

    /// Every listener, by slot.
    pub fn listeners(&self) -> impl Iterator<Item = &Arc<Listener>> {
        self.listeners.iter()
    }

    /// The same in the table's own form, which tells whether they have changed.
    pub fn all_listeners(&self) -> &Slots<Listener> {
        &self.listeners
    }

    /// The hosts that answer requests of a listener; for TLS those of the name in the handshake. Absent if the listener
    /// is gone, or has no hosts for that name.
    pub fn hosts_of(&self, listener: ListenerId, server_name: Option<&str>) -> Option<&Hosts> {
        match self.listener(listener)?.hosts(server_name)? {
            HostSet::Ingress => Some(&self.ingress_hosts),
            HostSet::Own(hosts) => Some(hosts),
            HostSet::Gateways(port) => port.then_ingresses.then_some(&self.ingress_hosts),
        }
    }

    /// What Gateways have for the connections of a listener.
    pub fn gateways_of(&self, listener: ListenerId, server_name: Option<&str>) -> Option<&Arc<GatewayPort>> {
        match self.listener(listener)?.hosts(server_name)? {
            HostSet::Gateways(port) => Some(port),
            HostSet::Ingress | HostSet::Own(_) => None,
        }
    }

    /// What becomes of a connection of TLS that the listeners of Gateways have passed on: see [`GatewayPort::stream`].
    pub fn stream(&self, listener: ListenerId, name: Option<&str>) -> Option<Option<PassedStream<'_>>> {
        self.gateways_of(listener, name)?.stream(&self.ingress_hosts, name)
    }

    /// Replaces what Gateways have. For the compiler, which puts the same into listeners.
    pub fn set_gateway_ports(&mut self, ports: Arc<[Arc<GatewayPort>]>) {
        self.gateway_ports = ports;
    }

    /// What Gateways have, by port.
    pub fn gateway_ports(&self) -> &[Arc<GatewayPort>] {
        &self.gateway_ports
    }

    /// The profile of connections to a listener whose clients ask for a name in their handshake, or for none.
    pub fn profile(&self, listener: ListenerId, server_name: Option<&str>) -> Option<&Arc<TlsProfile>> {
        self.hosts_of(listener, server_name)?
            .client_rules(server_name)?
            .profile()
    }

    /// Counts the changes of profiles: while it is the same, every name has the profile that it had.
    pub fn profile_changes(&self) -> u64 {
        self.client_rules
    }

    /// What Ingresses have.
    pub fn ingress_hosts(&self) -> &Hosts {
        &self.ingress_hosts
    }

    /// The route of Ingresses that answers a GET for a canonical host and path that says nothing else.
    pub fn lookup(&self, host: Option<&str>, path: &CanonicalPath<'_>) -> Option<&Arc<Route>> {
        let found = self.ingress_hosts.find(host, path, &Says::default());
        found.map(|found| found.route)
    }

    /// What a client gets that asks for a name (none: it named none): the very name's, else its wildcard's, else the
    /// default. None where only a certificate of our own making is left.
    pub fn certificates(&self, name: Option<&str>) -> Option<&Arc<CertificateSet>> {
        self.certificates_for(name).or(self.default_certificate.as_ref())
    }

    /// What a client gets at a listener: where a listener of a Gateway has the name, what that one has.
    pub fn certificates_at(&self, listener: Option<ListenerId>, name: Option<&str>) -> Option<&Arc<CertificateSet>> {
        if self.gateway_ports.is_empty() {
            return self.certificates(name);
        }
        let own = listener.and_then(|listener| self.gateway_certificates(listener, name));
        own.or_else(|| self.certificates(name))
    }

    /// What the listener of a Gateway shows clients that ask for a name. Absent where no Gateway has the name, and where an
    /// Ingress has it: with a pattern for fewer hosts, or with the same one and passed-on connections, client certificates
    /// or another namespace's certificate. Then all that the Ingress says of TLS holds.
    pub fn gateway_certificates(&self, listener: ListenerId, name: Option<&str>) -> Option<&Arc<CertificateSet>> {
        let port = self.gateways_of(listener, name)?;
        let gateway = port.listener(name).filter(|gateway| !gateway.is_of_streams())?;
        let rank = gateway.hostname.rank();
        let is_kept = |of_ingress: usize, is_kept_if_same: bool| {
            port.then_ingresses && (of_ingress > rank || (of_ingress == rank && is_kept_if_same))
        };
        let hosts = &self.ingress_hosts;
        let has_profile = || hosts.client_rules(name).is_some_and(|rules| rules.profile().is_some());
        if is_kept(hosts.rank(name), hosts.passes(name).is_some() || has_profile()) {
            return None;
        }
        if let Some((pattern, set)) = self.named_certificates(name) {
            let is_foreign = set.iter().any(|one| one.secret.namespace != gateway.namespace);
            if is_kept(pattern.rank(), is_foreign) {
                return None;
            }
        }
        gateway.certificates.as_ref()
    }

    /// As [`Table::certificates`], but without the default. An exact name for which the compiler put down an empty set
    /// has none, whatever its wildcard has: that is another namespace's.
    pub fn certificates_for(&self, name: Option<&str>) -> Option<&Arc<CertificateSet>> {
        self.named_certificates(name)
            .map(|(_, set)| set)
            .filter(|set| !set.is_empty())
    }

    /// The best pattern of a certificate that fits a name, with what the compiler put down for it.
    fn named_certificates(&self, name: Option<&str>) -> Option<&(HostPattern, Arc<CertificateSet>)> {
        if self.certificates.is_empty() {
            return None;
        }
        let name = name?;
        let exact = self.certificates.find(
            certificate_hash(false, name),
            |(pattern, _)| matches!(pattern, HostPattern::Exact(other) if **other == *name),
        );
        exact.or_else(|| {
            let suffix = route::wildcard_suffix(name)?;
            self.certificates.find(
                certificate_hash(true, suffix),
                |(pattern, _)| matches!(pattern, HostPattern::Wildcard(other) if **other == *suffix),
            )
        })
    }

    /// Whether a host may be asked for on a connection that was opened for a name (RFC 9110, section 15.5.20): where
    /// the certificate that the name is shown covers the host, or the host would be shown the same. A client that
    /// named nobody contradicts nothing.
    pub fn may_ask(&self, name: Option<&str>, host: Option<&str>) -> bool {
        if name.is_none() || name == host {
            return true;
        }
        match (self.certificates(name), self.certificates(host)) {
            (Some(shown), Some(other)) if shown.is_same(other) => true,
            // Which of them was shown depends on what the client can verify.
            (Some(shown), _) => host.is_some_and(|host| shown.iter().all(|one| one.covers_name(host))),
            (None, None) => true,
            (None, Some(_)) => false,
        }
    }

    /// Every name with what is offered for it, in no order; the default certificate is that of [`HostPattern::Any`].
    pub fn all_certificates(&self) -> impl Iterator<Item = (&HostPattern, &Arc<CertificateSet>)> {
        let default = self.default_certificate.iter().map(|set| (&HostPattern::Any, set));
        let named = self.certificates.iter().map(|(pattern, set)| (pattern, set));
        named.chain(default).filter(|(_, set)| !set.is_empty())
    }

    /// Replaces what is offered for a name; none takes it away. For the compiler.
    pub fn set_certificates(&mut self, pattern: &HostPattern, set: Option<Arc<CertificateSet>>) {
        let hash = match pattern {
            HostPattern::Exact(name) => certificate_hash(false, name),
            HostPattern::Wildcard(suffix) => certificate_hash(true, suffix),
            HostPattern::Any => {
                self.default_certificate = set;
                return;
            }
        };
        if set.is_none() && self.certificates.find(hash, |(other, _)| other == pattern).is_none() {
            return;
        }
        self.certificates.update(
            hash,
            |(other, _)| other == pattern,
            || (pattern.clone(), Arc::default()),
            |(_, known)| match set {
                Some(set) => {
                    *known = set;
                    true
                }
                None => false,
            },
        );
    }

    /// A backend as this table knows it; absent if it is gone.
    pub fn backend(&self, id: BackendId) -> Option<&Arc<Backend>> {
        self.backends.get(id)
    }

    /// The backend that gets most of a route's requests, as this table knows it.
    pub fn backend_of(&self, route: &Route) -> Option<&Arc<Backend>> {
        self.backend(route.to.main()?)
    }

    /// The backends that share a route's requests by weight, each with its weight; none where there is only one.
    pub fn shares_of(&self, route: &Route) -> impl Iterator<Item = (&Arc<Backend>, u32)> {
        let shares: &[_] = match &route.to {
            Destination::Split(split) => &split.0,
            _ => &[],
        };
        shares
            .iter()
            .filter_map(|(id, weight)| Some((self.backend(*id)?, *weight)))
    }

    /// The guard that closes a route: its own, else that of its host, else that of the Service it leads to.
    pub fn guard_of<'t>(&'t self, found: Match<'t>) -> Option<&'t Arc<Guard>> {
        found.guard(self.backend_of(found.route).map(|backend| &**backend))
    }

    pub fn backends(&self) -> impl Iterator<Item = &Arc<Backend>> {
        self.backends.iter()
    }

    /// A pod set as this table knows it; absent if it is gone.
    pub fn pods(&self, id: PodSetId) -> Option<&Arc<PodSet>> {
        self.pods.get(id)
    }

    /// Every pod set, also those that no route leads to at present.
    pub fn all_pods(&self) -> impl Iterator<Item = &Arc<PodSet>> {
        self.pods.iter()
    }

    /// Every route of every listener, default backends too, with the guard of its host, in no order.
    pub fn matches(&self) -> impl Iterator<Item = Match<'_>> {
        let own = self.listeners().flat_map(|listener| listener.own_hosts());
        let of_gateways = self.gateway_ports.iter().flat_map(|port| port.matches());
        let all = std::iter::once(&self.ingress_hosts).chain(own);
        all.flat_map(Hosts::matches).chain(of_gateways)
    }

    /// The routes alone.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.matches().map(|found| found.route)
    }

    /// What Ingresses have for one host pattern.
    pub fn host(&self, pattern: &HostPattern) -> Option<&Arc<HostTable>> {
        self.ingress_hosts.host(pattern)
    }

    /// Every host pattern of Ingresses with its table, in no order; any host's may be empty.
    pub fn hosts(&self) -> impl Iterator<Item = (HostPattern, &Arc<HostTable>)> {
        self.ingress_hosts.iter()
    }

    /// What answers when nothing else does: the default backend of the oldest Ingress without rules.
    pub fn fallback(&self) -> Option<&Arc<Route>> {
        self.ingress_hosts.fallback()
    }

    /// A host pattern with the name this table has for it, so that routes share one text. For the compiler.
    pub fn share_host(&self, pattern: &HostPattern) -> HostPattern {
        self.ingress_hosts.share(pattern)
    }

    /// Changes what Ingresses have for one host; one left without routes and guards goes. For the compiler.
    pub fn update_host(&mut self, pattern: &HostPattern, change: impl FnOnce(&mut HostTable)) {
        self.ingress_hosts.update(pattern, change);
    }

    /// Replaces or removes what answers a host that no rule of an Ingress names. For the compiler.
    pub fn set_alias(&mut self, pattern: &HostPattern, table: Option<Arc<HostTable>>) {
        self.ingress_hosts.set_alias(pattern, table);
    }

    /// Replaces the expressions that fit hosts which no rule of an Ingress names. For the compiler.
    pub fn set_alias_expressions(&mut self, expressions: Vec<(HostRegex, Arc<HostTable>)>) {
        self.ingress_hosts.set_alias_expressions(expressions);
    }

    /// Replaces or removes the guard that closes a namespace's routes for a host. For the compiler.
    pub fn set_guard(&mut self, pattern: &HostPattern, namespace: &Arc<str>, guard: Option<Arc<Guard>>) {
        self.ingress_hosts.set_guard(pattern, namespace, guard);
    }

    /// Replaces or removes what a host asks of its clients. For the compiler.
    pub fn set_client_rules(&mut self, pattern: &HostPattern, rules: Option<Arc<ClientRules>>) {
        self.client_rules += 1;
        self.ingress_hosts.set_client_rules(pattern, rules);
    }

    /// Replaces the default backend of Ingresses without rules. For the compiler.
    pub fn set_fallback(&mut self, route: Option<Arc<Route>>) {
        self.ingress_hosts.set_fallback(route);
    }

    /// Replaces or removes a listener. For the compiler.
    pub fn set_listener(&mut self, slot: u32, listener: Option<Arc<Listener>>) {
        self.listeners.set(slot, listener);
    }

    /// Replaces or removes a backend. For the compiler.
    pub fn set_backend(&mut self, slot: u32, backend: Option<Arc<Backend>>) {
        self.backends.set(slot, backend);
    }

    /// Replaces or removes a pod set. For the compiler.
    pub fn set_pods(&mut self, slot: u32, pods: Option<Arc<PodSet>>) {
        self.pods.set(slot, pods);
    }
}
