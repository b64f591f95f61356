//! The routing table: immutable plain data, shared by all shards, swapped as a whole.
//!
//! It knows nothing of Kubernetes but the [`Origin`](crate::model::Origin) on every route.

pub mod backend;
mod backend_tls;
pub mod canonical;
pub mod certificate;
mod compression;
pub mod decide;
mod destination;
pub mod explain;
mod guard;
mod parts;
pub mod paths;
pub mod pods;
mod policies;
pub mod route;
mod served;
pub mod settings;
mod slots;
pub mod when;

pub use backend::{Backend, BackendId, BackendState, Endpoint, Protocol};
pub use backend_tls::{BackendTls, Ingredients};
pub use canonical::{CanonicalPath, canonical_host, canonical_path};
pub use certificate::{Certificate, CertificateSet};
pub use compression::{Coding, Compression};
pub use destination::{Answer, Destination, Split};
pub use guard::{Guard, PARAMETERS};
pub use pods::{Check, InFlightLimit, PodSet, PodSetId, Terms};
pub use policies::{After, Before, Policies};
pub use route::{HostPattern, PathKind, PathPattern, Precedence, Route, Shadow, Yields, route_key};
pub use served::Served;
pub use settings::{BackendProtocol, BackendSettings, Balance, HashKey, HealthProtocol, RetryOn, UpstreamHost};
pub use when::{Says, When};

use foldhash::fast::FixedState;
use parts::Parts;
use paths::Paths;
use slots::Slots;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

/// One host (or wildcard, or "any"): its paths, and what answers when none fits.
#[derive(Clone, Debug, Default)]
pub struct HostTable {
    /// The paths.
    pub paths: Paths,
    /// The default backend of the oldest Ingress that names this host and has one.
    pub default: Option<Arc<Route>>,
    /// Guards that hold for the whole host, by the namespace whose routes they close; absent where it has none.
    pub guards: Option<Arc<BTreeMap<Arc<str>, Arc<Guard>>>>,
}

impl HostTable {
    /// Whether it has no routes.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty() && self.default.is_none()
    }

    /// The guard that closes all routes of a namespace for this host.
    pub fn guard(&self, namespace: &str) -> Option<&Arc<Guard>> {
        self.guards.as_ref()?.get(namespace)
    }
}

/// What answers a host and path.
#[derive(Clone, Copy, Debug)]
pub struct Match<'t> {
    /// The route.
    pub route: &'t Arc<Route>,
    /// The guard of a whole host that holds for it: see [`Table::find`].
    host_guard: Option<&'t Arc<Guard>>,
}

impl<'t> Match<'t> {
    /// The guard that closes the route for this host: its own, else that of the host, else that of the Service it
    /// leads to. All of its requests are refused then, by the one check in [`decide`].
    pub fn guard<'g>(&self, backend: Option<&'g Backend>) -> Option<&'g Arc<Guard>>
    where
        't: 'g,
    {
        let own = self.route.policies.guard.as_ref();
        own.or(self.host_guard).or_else(|| backend?.guard.as_ref())
    }
}

type Hosts = Parts<(Arc<str>, Arc<HostTable>)>;
type Certificates = Parts<(HostPattern, Arc<CertificateSet>)>;

/// Everything a request needs to be routed.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Counts the tables of this process.
    pub generation: u64,
    exact: Hosts,
    wildcard: Hosts,
    any: Arc<HostTable>,
    fallback: Option<Arc<Route>>,
    served: Parts<Arc<Served>>,
    backends: Slots<Backend>,
    pods: Slots<PodSet>,
    certificates: Certificates,
    default_certificate: Option<Arc<CertificateSet>>,
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

fn find<'t>(hosts: &'t Hosts, name: &str) -> Option<&'t Arc<HostTable>> {
    if hosts.is_empty() {
        return None;
    }
    hosts
        .find(hash(name), |(other, _)| &**other == name)
        .map(|(_, host)| host)
}

impl Table {
    /// The route that answers a GET for a canonical host and path that says nothing else.
    pub fn lookup(&self, host: Option<&str>, path: &CanonicalPath<'_>) -> Option<&Arc<Route>> {
        self.find(host, path, &Says::default()).map(|found| found.route)
    }

    /// The route that answers a request for a canonical host and path, and the guard of a whole host that holds for it.
    ///
    /// Each level is asked in turn (exact host, wildcard, any); a host that lists no fitting path falls through.
    /// Default backends are asked only when no rule matches, in the same order, and last that of the oldest Ingress
    /// without rules.
    ///
    /// A guard of a whole host also holds for the paths that the host does not list, so it closes what answers them, if
    /// that is a route of the guard's namespace.
    pub fn find(&self, host: Option<&str>, path: &CanonicalPath<'_>, says: &Says<'_>) -> Option<Match<'_>> {
        let exact = host.and_then(|host| find(&self.exact, host));
        if let Some((exact, route)) = exact.and_then(|host| Some((host, host.paths.find(path, says)?))) {
            let host_guard = exact.guard(&route.origin.object.namespace);
            return Some(Match { route, host_guard });
        }
        let wildcard = host
            .and_then(route::wildcard_suffix)
            .and_then(|suffix| find(&self.wildcard, suffix));
        let rule = wildcard
            .and_then(|host| Some((2, host.paths.find(path, says)?)))
            .or_else(|| Some((3, self.any.paths.find(path, says)?)));
        let (levels, route) = rule
            .or_else(|| Some((1, exact?.default.as_ref()?)))
            .or_else(|| Some((2, wildcard?.default.as_ref()?)))
            .or_else(|| Some((3, self.any.default.as_ref().or(self.fallback.as_ref())?)))?;
        // The host of the route, and those that come before it.
        let hosts = [exact, wildcard, Some(&self.any)].into_iter().take(levels).flatten();
        let namespace = &route.origin.object.namespace;
        let host_guard = hosts.filter_map(|host| host.guard(namespace)).next();
        Some(Match { route, host_guard })
    }

    /// What a client gets that asks for a name (none: it named none): the very name's, else its wildcard's, else the
    /// default. None where only a certificate of our own making is left.
    pub fn certificates(&self, name: Option<&str>) -> Option<&Arc<CertificateSet>> {
        self.certificates_for(name).or(self.default_certificate.as_ref())
    }

    /// As [`Table::certificates`], but without the default. An exact name for which the compiler put down an empty set
    /// has none, whatever its wildcard has: that is another namespace's.
    pub fn certificates_for(&self, name: Option<&str>) -> Option<&Arc<CertificateSet>> {
        if self.certificates.is_empty() {
            return None;
        }
        let name = name?;
        let exact = self.certificates.find(
            certificate_hash(false, name),
            |(pattern, _)| matches!(pattern, HostPattern::Exact(other) if **other == *name),
        );
        let found = exact.or_else(|| {
            let suffix = route::wildcard_suffix(name)?;
            self.certificates.find(
                certificate_hash(true, suffix),
                |(pattern, _)| matches!(pattern, HostPattern::Wildcard(other) if **other == *suffix),
            )
        });
        found.map(|(_, set)| set).filter(|set| !set.is_empty())
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

    /// The guard that closes a route for all requests: its own, else that of its host, else that of the Service it leads
    /// to.
    pub fn guard_of<'t>(&'t self, route: &'t Route) -> Option<&'t Arc<Guard>> {
        let of_host = || self.host(&route.host)?.guard(&route.origin.object.namespace);
        let own = route.policies.guard.as_ref();
        own.or_else(of_host).or_else(|| self.backend_of(route)?.guard.as_ref())
    }

    /// Every backend.
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

    /// Every route, default backends too, in no order.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.exact
            .iter()
            .chain(self.wildcard.iter())
            .map(|(_, host)| host)
            .chain(std::iter::once(&self.any))
            .flat_map(|host| host.paths.routes().chain(host.default.iter()))
            .chain(self.fallback.iter())
    }

    /// The table of one host pattern.
    pub fn host(&self, pattern: &HostPattern) -> Option<&Arc<HostTable>> {
        match pattern {
            HostPattern::Exact(name) => find(&self.exact, name),
            HostPattern::Wildcard(suffix) => find(&self.wildcard, suffix),
            HostPattern::Any => Some(&self.any),
        }
    }

    /// Every host pattern with its table, in no order; any host's may be empty.
    pub fn hosts(&self) -> impl Iterator<Item = (HostPattern, &Arc<HostTable>)> {
        let exact = self
            .exact
            .iter()
            .map(|(name, host)| (HostPattern::Exact(name.clone()), host));
        let wildcard = self
            .wildcard
            .iter()
            .map(|(name, host)| (HostPattern::Wildcard(name.clone()), host));
        exact
            .chain(wildcard)
            .chain(std::iter::once((HostPattern::Any, &self.any)))
    }

    /// What answers when nothing else does: the default backend of the oldest Ingress without rules.
    pub fn fallback(&self) -> Option<&Arc<Route>> {
        self.fallback.as_ref()
    }

    /// A host pattern with the name this table has for it, so that routes share one text. For the compiler.
    pub fn share_host(&self, pattern: &HostPattern) -> HostPattern {
        let name_of = |hosts: &Hosts, name: &Arc<str>| {
            hosts
                .find(hash(name), |(other, _)| other == name)
                .map_or_else(|| name.clone(), |(known, _)| known.clone())
        };
        match pattern {
            HostPattern::Exact(name) => HostPattern::Exact(name_of(&self.exact, name)),
            HostPattern::Wildcard(name) => HostPattern::Wildcard(name_of(&self.wildcard, name)),
            HostPattern::Any => HostPattern::Any,
        }
    }

    /// Changes one host's table; one left without routes and guards takes the host away. For the compiler.
    pub fn update_host(&mut self, pattern: &HostPattern, change: impl FnOnce(&mut HostTable)) {
        let (hosts, name) = match pattern {
            HostPattern::Exact(name) => (&mut self.exact, name),
            HostPattern::Wildcard(suffix) => (&mut self.wildcard, suffix),
            HostPattern::Any => {
                change(Arc::make_mut(&mut self.any));
                return;
            }
        };
        hosts.update(
            hash(name),
            |(other, _)| other == name,
            || (name.clone(), Arc::default()),
            |(_, host)| {
                let host = Arc::make_mut(host);
                change(host);
                !host.is_empty() || host.guards.is_some()
            },
        );
    }

    /// Replaces or removes the guard that closes a namespace's routes for a host. For the compiler.
    pub fn set_guard(&mut self, pattern: &HostPattern, namespace: &Arc<str>, guard: Option<Arc<Guard>>) {
        self.update_host(pattern, |host| {
            let mut guards = host.guards.take().unwrap_or_default();
            let known = Arc::make_mut(&mut guards);
            match guard {
                Some(guard) => known.insert(namespace.clone(), guard),
                None => known.remove(namespace),
            };
            host.guards = (!guards.is_empty()).then_some(guards);
        });
    }

    /// Replaces the default backend of Ingresses without rules. For the compiler.
    pub fn set_fallback(&mut self, route: Option<Arc<Route>>) {
        self.fallback = route;
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
