//! Pod sets: which there are of a Service, what is in them, and what backends ask of them.

use super::backends::{find_port, is_tcp, subsets_in_use};
use super::hints::Near;
use super::{Key, OfService, State};
use crate::dialect::reading::{BackendKey, OUTSIDE};
use crate::model::object::{EndpointAddress, EndpointPort, EndpointSubset, PortRef, Service, ServicePort};
use crate::model::{Kind, ObjectRef};
use crate::table::{Backend, BackendState, Endpoint, InFlightLimit, PodSet, PodSetId};
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// A pod set of a Service.
#[derive(Debug)]
pub(super) struct KnownPods {
    /// The Service port's name; its number is in the set.
    name: Arc<str>,
    whose: Whose,
    set: Arc<PodSet>,
}

/// Which endpoints of a Service are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// Those of one port of the Service.
    OfPort,
    /// The Service's own address alone.
    ByAddress,
    /// Those that have this port, whichever port of the Service leads there.
    Numbered(u16),
    /// Those of all its ports.
    Every,
}

/// Those of one Service.
pub(super) type OfPods = SmallVec<[KnownPods; 1]>;

/// A port of a Service.
pub(super) struct Port {
    number: i32,
    name: Arc<str>,
    pub app_protocol: Option<Arc<str>>,
    whose: Whose,
}

/// What the name of a backend resolves to.
pub(super) enum Located {
    /// Nothing, and why.
    Nowhere(BackendState),
    Port(Port),
}

/// What is known of one address of a Service, over all slices.
#[derive(Default)]
struct Merged<'a> {
    ready: bool,
    serving: bool,
    terminating: bool,
    /// Whether nobody knows if it is ready.
    unknown: bool,
    pod: Option<&'a EndpointAddress>,
}

impl State {
    /// The Service port that a backend names.
    pub(super) fn locate(&self, key: &BackendKey) -> Located {
        if key.service.is_empty() {
            return Located::Nowhere(BackendState::Invalid);
        }
        let Some(service) = self.service(&key.service_key()) else {
            return Located::Nowhere(BackendState::ServiceNotFound);
        };
        if service.external_name.is_some() {
            return self.locate_external(service, &key.port);
        }
        let asked = key.settings.as_ref().and_then(|settings| settings.service_upstream);
        let mut tcp = service.ports.iter().filter(|port| is_tcp(port.protocol.as_deref()));
        let whose = match key.port {
            PortRef::OfPods(number) => Whose::Numbered(number),
            PortRef::Every if tcp.nth(1).is_some() => Whose::Every,
            _ if asked == Some(true) && service.cluster_ip.is_some() => Whose::ByAddress,
            _ => Whose::OfPort,
        };
        let port = find_port(service, &key.port);
        match (whose, port) {
            (Whose::Numbered(number), port) => Located::Port(Port {
                number: number.into(),
                name: Arc::default(),
                app_protocol: port.and_then(|port| port.app_protocol.as_deref()).map(Arc::from),
                whose,
            }),
            (_, None) => Located::Nowhere(BackendState::PortNotFound),
            (_, Some(port)) => Located::Port(Port {
                number: port.port,
                name: port.name.clone(),
                app_protocol: port.app_protocol.as_deref().map(Arc::from),
                whose,
            }),
        }
    }

    fn locate_external(&self, service: &Service, port: &PortRef) -> Located {
        if !self.options.allow_external_names && !is_outside(service) {
            return Located::Nowhere(BackendState::ExternalNameRefused);
        }
        // An ExternalName Service often lists no ports: then the rule's number is the target's.
        let listed = find_port(service, port);
        let number = listed.map(|port| port.port).or(match port {
            PortRef::Number(number) => Some(*number),
            PortRef::OfPods(number) => Some(i32::from(*number)),
            _ => None,
        });
        match number.filter(|number| u16::try_from(*number).is_ok()) {
            None => Located::Nowhere(BackendState::PortNotFound),
            Some(number) => Located::Port(Port {
                number,
                name: Arc::default(),
                app_protocol: listed.and_then(|port| port.app_protocol.as_deref()).map(Arc::from),
                whose: Whose::OfPort,
            }),
        }
    }

    /// The pod set of a Service port.
    pub(super) fn pods_at(&self, service: &Key, port: &Port) -> Option<&Arc<PodSet>> {
        let known = self.pods.get(service)?;
        let found = known.iter().find(|known| known.is(port.number, &port.name, port.whose));
        found.map(|known| &known.set)
    }

    /// Every pod set of a Service.
    pub(super) fn pods_of(&self, service: &Key) -> impl Iterator<Item = &Arc<PodSet>> {
        self.pods.get(service).into_iter().flatten().map(|known| &known.set)
    }

    /// Makes the pod set that a backend leads to, where there is none yet.
    pub(super) fn ensure_pods(&mut self, key: &BackendKey) {
        let Located::Port(port) = self.locate(key) else { return };
        let service = key.service_key();
        if self.pods_at(&service, &port).is_some() {
            return;
        }
        let Some(object) = self.service(&service).cloned() else {
            return;
        };
        let (state, endpoints) = self.endpoints_of(&object, port.number, &port.name, port.whose);
        let id = self.free_pods.pop().unwrap_or_else(|| {
            let slot = self.next_pods;
            self.next_pods += 1;
            PodSetId { slot, generation: 0 }
        });
        let set = Arc::new(PodSet {
            id,
            namespace: key.namespace.clone(),
            service: key.service.clone(),
            port: port.number,
            state,
            endpoints: endpoints.into(),
            terms: Vec::new(),
            checks: Vec::new(),
            limits: Vec::new(),
        });
        self.table.set_pods(id.slot, Some(set.clone()));
        self.changed = true;
        self.nodes.note_use(&service);
        let name = port.name;
        let whose = port.whose;
        let known = KnownPods { name, whose, set };
        self.pods.entry(service).or_default().push(known);
    }

    /// A Service, or where its pods are, changed: its pod sets follow. A set goes when its Service port does.
    pub(super) fn follow_pods(&mut self, service: &Key) {
        let Some(before) = self.pods.remove(service) else {
            return;
        };
        let mut after = OfPods::new();
        for known in &before {
            let object = self.service(service).cloned();
            let port = object
                .as_deref()
                .and_then(|object| self.same_port(object, known, &before))
                .filter(|(number, name)| !after.iter().any(|other| other.is(*number, name, known.whose)));
            let (Some(object), Some((number, name))) = (object, port) else {
                let id = known.set.id;
                self.table.set_pods(id.slot, None);
                self.changed = true;
                self.free_pods.push(PodSetId {
                    slot: id.slot,
                    generation: id.generation.wrapping_add(1),
                });
                continue;
            };
            let (state, endpoints) = self.endpoints_of(&object, number, &name, known.whose);
            let same = (number, state) == (known.set.port, known.set.state) && endpoints[..] == known.set.endpoints[..];
            let mut set = known.set.clone();
            if !same {
                set = Arc::new(PodSet {
                    port: number,
                    state,
                    endpoints: endpoints.into(),
                    ..PodSet::clone(&set)
                });
                self.table.set_pods(set.id.slot, Some(set.clone()));
                self.changed = true;
            }
            let whose = known.whose;
            after.push(KnownPods { name, whose, set });
        }
        if !after.is_empty() {
            self.pods.insert(service.clone(), after);
        }
    }

    /// The port that a pod set is for, as its Service has it now. One that has another name or another number than
    /// before, but not both, is still the same.
    fn same_port(&self, service: &Service, known: &KnownPods, all: &OfPods) -> Option<(i32, Arc<str>)> {
        if service.external_name.is_some() {
            let allowed = self.options.allow_external_names || is_outside(service);
            let stays = allowed && known.name.is_empty();
            return stays.then(|| (known.set.port, known.name.clone()));
        }
        match known.whose {
            Whose::ByAddress if service.cluster_ip.is_none() => return None,
            Whose::Numbered(_) => return Some((known.set.port, known.name.clone())),
            Whose::OfPort | Whose::ByAddress | Whose::Every => {}
        }
        let ports = || {
            let ports = service.ports.iter();
            ports.filter(|port| is_tcp(port.protocol.as_deref()))
        };
        let is_other = |port: &ServicePort| all.iter().any(|other| other.is(port.port, &port.name, known.whose));
        let exact = ports().find(|port| known.is(port.port, &port.name, known.whose));
        let port = exact
            .or_else(|| ports().find(|port| port.port == known.set.port && !is_other(port)))
            .or_else(|| ports().find(|port| port.name == known.name && !is_other(port)))?;
        Some((port.port, port.name.clone()))
    }

    /// Backends changed what they ask of a Service's pods.
    pub(super) fn settle_pods(&mut self, service: &Key) {
        let Some(mut known) = self.pods.remove(service) else {
            return;
        };
        for known in &mut known {
            let Some(asked) = self.asked_of(service, &known.set) else {
                continue;
            };
            if asked == *known.set {
                continue;
            }
            known.set = Arc::new(asked);
            self.table.set_pods(known.set.id.slot, Some(known.set.clone()));
            self.changed = true;
        }
        self.pods.insert(service.clone(), known);
    }

    /// A pod set with what backends ask of it now; absent where none leads there.
    fn asked_of(&self, service: &Key, set: &Arc<PodSet>) -> Option<PodSet> {
        let leads_here = |backend: &&Arc<Backend>| backend.pods == Some(set.id);
        let backends = self.backends_of(service).filter(leads_here);
        let mut asked: Option<PodSet> = None;
        for backend in backends {
            let asked = asked.get_or_insert_with(|| PodSet {
                terms: Vec::new(),
                checks: Vec::new(),
                limits: Vec::new(),
                ..PodSet::clone(set)
            });
            if backend.state != BackendState::TlsUnready && !asked.terms.contains(&backend.terms) {
                asked.terms.push(backend.terms.clone());
            }
            if let Some(check) = backend.check.as_ref().filter(|check| !asked.checks.contains(check)) {
                asked.checks.push(check.clone());
            }
            if let Some(most) = backend.settings.max_in_flight {
                let by = backend.counts_for().cloned();
                if !asked.limits.iter().any(|limit| limit.by == by) {
                    asked.limits.push(InFlightLimit { by, most });
                }
            }
        }
        asked
    }

    fn endpoints_of(&self, service: &Service, number: i32, name: &str, whose: Whose) -> (BackendState, Vec<Endpoint>) {
        if let Some(external) = &service.external_name {
            return self.external(service, external, number);
        }
        let ports = || service.ports.iter().filter(|port| is_tcp(port.protocol.as_deref()));
        let port = ports().find(|port| port.port == number && *port.name == *name);
        if port.is_none() && !matches!(whose, Whose::Numbered(_)) {
            return (BackendState::NoEndpoints, Vec::new());
        }
        if let Some(address) = service.cluster_ip.filter(|_| whose == Whose::ByAddress) {
            return self.by_address(address, number);
        }
        let numbers = |subset: &EndpointSubset| -> BTreeSet<u16> {
            match whose {
                Whose::OfPort | Whose::ByAddress => port.map(|port| ports_of(subset, port)).unwrap_or_default(),
                Whose::Every => ports().flat_map(|port| ports_of(subset, port)).collect(),
                Whose::Numbered(number) => numbered(subset, number),
            }
        };
        let key = (service.meta.namespace.clone(), service.meta.name.clone());
        let endpoints = self.endpoints.get(&key);
        endpoints.map_or((BackendState::NoEndpoints, Vec::new()), |of_service| {
            self.merge(service, numbers, of_service)
        })
    }

    /// The address of a Service as its only endpoint.
    fn by_address(&self, address: IpAddr, number: i32) -> (BackendState, Vec<Endpoint>) {
        let address = SocketAddr::new(address, u16::try_from(number).unwrap_or_default());
        if address.port() == 0 || self.options.refuses(address).is_some() {
            return (BackendState::NoEndpoints, Vec::new());
        }
        let endpoint = Endpoint {
            address,
            alternate: None,
            uid: None,
            pod: None,
            zone: None,
            near: true,
        };
        (BackendState::Ready, vec![endpoint])
    }

    fn external(&self, service: &Service, name: &str, number: i32) -> (BackendState, Vec<Endpoint>) {
        let number = u16::try_from(number).unwrap_or_default();
        // A Service's external name is a DNS name, even where it is written as an address.
        let literal = is_outside(service).then(|| name.trim_matches(['[', ']']).parse::<IpAddr>().ok());
        let resolved = self.resolved.get(name).into_iter().flatten().copied();
        let mut addresses: Vec<Endpoint> = literal
            .flatten()
            .into_iter()
            .chain(resolved)
            .map(|address| SocketAddr::new(address, number))
            .filter(|address| self.options.refuses_external(*address).is_none())
            .map(|address| Endpoint {
                address,
                alternate: None,
                uid: None,
                pod: None,
                zone: None,
                near: true,
            })
            .collect();
        addresses.sort();
        addresses.dedup();
        if addresses.is_empty() {
            return (BackendState::ExternalNameUnresolved, addresses);
        }
        (BackendState::Ready, addresses)
    }

    /// All usable endpoints of a Service port over all slices; slices win where Endpoints describe the Service too.
    fn merge(
        &self,
        service: &Service,
        numbers: impl Fn(&EndpointSubset) -> BTreeSet<u16>,
        of_service: &OfService,
    ) -> (BackendState, Vec<Endpoint>) {
        let mut merged: BTreeMap<SocketAddr, Merged<'_>> = BTreeMap::new();
        for (slice, subset) in subsets_in_use(of_service) {
            for number in numbers(subset) {
                for endpoint in &subset.endpoints {
                    let Some(address) = endpoint.addresses.first().and_then(|text| text.parse::<IpAddr>().ok()) else {
                        continue;
                    };
                    let address = SocketAddr::new(address, number);
                    if self.options.refuses(address).is_some() {
                        continue;
                    }
                    let ready = endpoint.ready.unwrap_or(true);
                    let one = merged.entry(address).or_default();
                    one.ready |= ready;
                    one.serving |= endpoint.serving.unwrap_or(ready);
                    one.terminating |= endpoint.terminating.unwrap_or(false);
                    one.unknown |= !ready && self.is_unknown(service, slice, endpoint);
                    // A slice that calls it ready knows more of it than one that does not.
                    if one.pod.is_none() || ready {
                        one.pod = Some(endpoint);
                    }
                }
            }
        }
        let has = |wanted: fn(&Merged<'_>) -> bool| merged.values().any(wanted);
        let drains = |one: &Merged<'_>| one.serving && one.terminating;
        let state = if has(|one| one.ready) {
            BackendState::Ready
        } else if has(|one| one.unknown) {
            BackendState::ReadinessUnknown
        } else if has(drains) {
            BackendState::OnlyTerminating
        } else {
            BackendState::NoEndpoints
        };
        let usable = merged.iter().filter(|(_, one)| match state {
            BackendState::Ready => one.ready,
            _ => one.unknown || drains(one),
        });
        let usable: Vec<_> = usable.collect();
        let hints = usable
            .iter()
            .map(|(_, one)| one.pod.and_then(|pod| pod.hints.as_deref()));
        let near = Near::of(&self.options, hints);
        let endpoints = join_families(usable.into_iter(), service.ipv6_first, |pod| {
            near.is(pod.hints.as_deref())
        });
        (state, endpoints)
    }

    /// Whether nobody knows if an endpoint that is not marked as ready is.
    fn is_unknown(&self, service: &Service, (kind, slice): &(Kind, Arc<str>), endpoint: &EndpointAddress) -> bool {
        // Nearly always there is nothing to look up, and no name is to be made.
        self.nodes.has_lapsed()
            && self.nodes.is_unknown(
                &ObjectRef::new(*kind, service.meta.namespace.clone(), slice.clone()),
                endpoint,
            )
    }
}

/// Whether a Service stands for a host outside of the cluster that an annotation names.
pub(super) fn is_outside(service: &Service) -> bool {
    service.meta.name.starts_with(OUTSIDE)
}

impl KnownPods {
    fn is(&self, number: i32, name: &str, whose: Whose) -> bool {
        self.set.port == number && *self.name == *name && self.whose == whose
    }
}

/// A number, if a slice says that its endpoints have it.
fn numbered(subset: &EndpointSubset, number: u16) -> BTreeSet<u16> {
    let tcp = subset.ports.iter().filter(|port| is_tcp(port.protocol.as_deref()));
    let is_it = |port: &EndpointPort| port.port.is_none_or(|other| other == i32::from(number));
    tcp.filter(|port| is_it(port)).map(|_| number).collect()
}

/// The numbers a slice's port of the Service port's name has.
fn ports_of(subset: &EndpointSubset, port: &ServicePort) -> BTreeSet<u16> {
    subset
        .ports
        .iter()
        .filter(|other| is_tcp(other.protocol.as_deref()) && other.name == port.name)
        .filter_map(|other| match other.port {
            Some(number) => u16::try_from(number).ok(),
            // Not restricted: the Service's own target then says which.
            None => port.target.or_else(|| u16::try_from(port.port).ok()),
        })
        .filter(|number| *number != 0)
        .collect()
}

/// One endpoint per pod: its two families' addresses together, the Service's first family first.
fn join_families<'a>(
    usable: impl Iterator<Item = (&'a SocketAddr, &'a Merged<'a>)>,
    ipv6_first: bool,
    near: impl Fn(&EndpointAddress) -> bool,
) -> Vec<Endpoint> {
    let mut endpoints: Vec<Endpoint> = Vec::new();
    let mut by_pod: HashMap<(Arc<str>, u16), usize> = HashMap::new();
    for (address, one) in usable {
        let Some(known) = one.pod else { continue };
        let identity = known.uid.as_ref().map(|uid| (uid.clone(), address.port()));
        let other = identity.as_ref().and_then(|identity| by_pod.get(identity)).copied();
        if let Some(endpoint) = other.and_then(|index| endpoints.get_mut(index))
            && endpoint.alternate.is_none()
            && endpoint.address.is_ipv6() != address.is_ipv6()
        {
            endpoint.alternate = Some(*address);
            continue;
        }
        if let Some(identity) = identity {
            by_pod.insert(identity, endpoints.len());
        }
        endpoints.push(Endpoint {
            address: *address,
            alternate: None,
            uid: known.uid.clone(),
            pod: known.pod.clone(),
            zone: known.zone.clone(),
            near: near(known),
        });
    }
    for endpoint in &mut endpoints {
        if let Some(alternate) = endpoint.alternate
            && alternate.is_ipv6() == ipv6_first
        {
            endpoint.alternate = Some(std::mem::replace(&mut endpoint.address, alternate));
        }
    }
    endpoints.sort();
    endpoints
}
