//! Backends: a Service port as rules name it, and the endpoints behind it.

use super::backend_tls::Needed;
use super::links::{Cause, User};
use super::pods::Located;
use super::{Key, OfService, State, annotations};
use crate::dialect::Dialect;
use crate::dialect::reading::{BackendKey, OUTSIDE};
use crate::model::object::{EndpointSubset, Endpoints, Meta, PortRef, Service, ServicePort};
use crate::model::{Diagnostic, Kind, ObjectRef};
use crate::table::backend::protocol;
use crate::table::{Backend, BackendId, BackendSettings, BackendState, Check, Endpoint, PodSet, Terms, UpstreamHost};
use http::HeaderValue;
use std::net::IpAddr;
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct BackendEntry {
    pub backend: Arc<Backend>,
    /// The Secrets it needs for TLS to its pods.
    secrets: Needed,
}

impl BackendEntry {
    /// Its slot and its Secrets, to be replaced.
    fn take_secrets(&mut self) -> (u32, Needed) {
        (self.backend.id.slot, std::mem::take(&mut self.secrets))
    }
}

impl State {
    /// Notes that an object leads to a backend, which is there from now on.
    pub(super) fn hold_backend(&mut self, key: &BackendKey, user: User) {
        if let Some(entry) = self.backends.get(key) {
            self.links.link(Cause::Backend(entry.backend.id.slot), user);
            return;
        }
        let id = self.free_slots.pop().unwrap_or_else(|| {
            let slot = self.next_slot;
            self.next_slot += 1;
            BackendId { slot, generation: 0 }
        });
        self.links.link(Cause::Backend(id.slot), user);
        self.meet_outside(key);
        let secrets = self.need_tls(key, id.slot, &Needed::new());
        self.ensure_pods(key);
        let backend = Arc::new(self.resolve(key, id));
        self.table.set_backend(id.slot, Some(backend.clone()));
        self.note_endpoints(key, id, (None, Some(&backend)));
        self.changed = true;
        if self
            .links
            .link(Cause::service(key.service_key()), User::Backend(id.slot))
        {
            // Its guards matter from now on.
            self.stale.insert(service_of(key));
        }
        self.backend_keys.insert(id.slot, key.clone());
        self.backends.insert(key.clone(), BackendEntry { backend, secrets });
        self.settle_pods(&key.service_key());
    }

    /// Notes that an object leads to a backend no more; the backend goes with its last.
    pub(super) fn drop_backend(&mut self, key: &BackendKey, user: User) {
        let Some(entry) = self.backends.get(key) else {
            return;
        };
        let (id, before) = (entry.backend.id, entry.backend.clone());
        if !self.links.unlink(&Cause::Backend(id.slot), user) {
            return;
        }
        let backend = User::Backend(id.slot);
        for secret in self.backends.remove(key).into_iter().flat_map(|entry| entry.secrets) {
            self.links.unlink(&Cause::secret(secret), backend);
        }
        self.backend_keys.remove(&id.slot);
        let service = key.service_key();
        if self.links.unlink(&Cause::service(service.clone()), backend) {
            self.stale.insert(service_of(key));
            self.outside.remove(&service);
        }
        self.table.set_backend(id.slot, None);
        self.note_endpoints(key, id, (Some(&before), None));
        self.changed = true;
        self.free_slots.push(BackendId {
            slot: id.slot,
            generation: id.generation.wrapping_add(1),
        });
        self.settle_pods(&service);
    }

    /// A Service, or what stands for one.
    pub(super) fn service(&self, key: &Key) -> Option<&Arc<Service>> {
        self.services.get(key).or_else(|| self.outside.get(key))
    }

    /// Makes what stands for a Service where a backend names a host outside of the cluster.
    fn meet_outside(&mut self, key: &BackendKey) {
        if let Some(host) = key.service.strip_prefix(OUTSIDE) {
            let service = || {
                let meta = Meta {
                    name: key.service.clone(),
                    ..Meta::default()
                };
                Arc::new(Service {
                    meta,
                    external_name: Some(host.to_owned()),
                    ..Service::default()
                })
            };
            self.outside.entry(key.service_key()).or_insert_with(service);
        }
    }

    /// The backends that refer to something.
    pub(super) fn backends_using(&self, cause: &Cause) -> Vec<BackendKey> {
        let slots = self.links.backends(cause);
        slots.filter_map(|slot| self.backend_keys.get(&slot).cloned()).collect()
    }

    /// The backends of a Service, as last resolved.
    pub(super) fn backends_of(&self, service: &Key) -> impl Iterator<Item = &Arc<Backend>> {
        let slots = self.links.backends(&Cause::service(service.clone()));
        slots.filter_map(|slot| self.backend(self.backend_keys.get(&slot)?))
    }

    /// The id of a backend that is held.
    pub(super) fn backend_id(&self, key: &BackendKey) -> BackendId {
        self.backends.get(key).map_or(
            BackendId {
                slot: u32::MAX,
                generation: 0,
            },
            |entry| entry.backend.id,
        )
    }

    /// The backend as last resolved.
    pub(super) fn backend(&self, key: &BackendKey) -> Option<&Arc<Backend>> {
        self.backends.get(key).map(|entry| &entry.backend)
    }

    /// A Service, or where its pods are, changed: its backends are resolved again.
    pub(super) fn service_changed(&mut self, service: &Key) {
        self.doubt(service);
        self.follow_pods(service);
        for key in self.backends_using(&Cause::service(service.clone())) {
            if let Some((slot, before)) = self.backends.get_mut(&key).map(BackendEntry::take_secrets) {
                let secrets = self.need_tls(&key, slot, &before);
                self.backends
                    .entry(key.clone())
                    .and_modify(|entry| entry.secrets = secrets);
            }
            self.resolve_again(&key);
        }
        self.settle_pods(service);
    }

    /// Something a backend is made of changed. Its pods are to be settled afterwards.
    pub(super) fn resolve_again(&mut self, key: &BackendKey) {
        self.ensure_pods(key);
        let Some(entry) = self.backends.get(key) else { return };
        let backend = self.resolve(key, entry.backend.id);
        // Of one that has trouble the words may differ even where the backend does not: "ports: 80/http".
        let quiet = self.is_quiet(&entry.backend) && self.is_quiet(&backend);
        let same = *entry.backend == backend;
        if !quiet {
            self.stale.insert_users(Cause::Backend(entry.backend.id.slot));
        }
        if same {
            return;
        }
        let guarded_otherwise = entry.backend.guard.is_some() != backend.guard.is_some();
        self.journal.backend(&entry.backend, &backend);
        let (before, backend) = (entry.backend.clone(), Arc::new(backend));
        self.table.set_backend(backend.id.slot, Some(backend.clone()));
        self.note_endpoints(key, backend.id, (Some(&before), Some(&backend)));
        if guarded_otherwise {
            self.note_guard(key);
        }
        self.changed = true;
        if let Some(entry) = self.backends.get_mut(key) {
            entry.backend = backend;
        }
    }

    /// Whether nothing is said of a backend, whatever its endpoints are.
    fn is_quiet(&self, backend: &Backend) -> bool {
        // Of TLS there is more to say than the backend shows.
        let plain = backend.tls.is_none() && backend.unknown_protocol().is_none() && backend.guard.is_none();
        plain && backend.state == BackendState::Ready && self.own_endpoint(backend).is_none()
    }

    /// An endpoint that is narthex itself.
    pub(super) fn own_endpoint<'b>(&self, backend: &'b Backend) -> Option<&'b Endpoint> {
        let own = &self.options.own_addresses;
        backend.endpoints.iter().find(|endpoint| {
            own.contains(&endpoint.address) || endpoint.alternate.is_some_and(|address| own.contains(&address))
        })
    }

    pub(super) fn put_endpoints(&mut self, object: ObjectRef, endpoints: Arc<Endpoints>) {
        let owner = endpoints
            .service
            .as_ref()
            .map(|service| (endpoints.meta.namespace.clone(), service.clone()));
        let name = (object.kind, object.name.clone());
        let old = self.slices.insert(object.clone(), (owner.clone(), endpoints.clone()));
        if old.as_ref().is_some_and(|(_, old)| *old == endpoints) {
            return;
        }
        let before = old.as_ref().map(|(_, old)| &**old);
        self.note_lapsed(&object, before, &endpoints);
        self.stale.insert(object);
        // The new Service gets it before the old one loses it.
        if let Some(owner) = &owner {
            self.endpoints
                .entry(owner.clone())
                .or_default()
                .insert(name.clone(), endpoints);
            self.service_changed(owner);
        }
        if let Some((Some(old), _)) = old
            && Some(&old) != owner.as_ref()
        {
            self.forget_endpoints(&old, &name);
        }
    }

    pub(super) fn delete_endpoints(&mut self, object: &ObjectRef) {
        self.nodes.forget(object);
        if let Some((Some(owner), _)) = self.slices.remove(object) {
            self.forget_endpoints(&owner, &(object.kind, object.name.clone()));
        }
    }

    fn forget_endpoints(&mut self, owner: &Key, name: &(Kind, Arc<str>)) {
        if let Some(of_service) = self.endpoints.get_mut(owner) {
            of_service.remove(name);
            if of_service.is_empty() {
                self.endpoints.remove(owner);
            }
        }
        self.service_changed(owner);
    }

    pub(super) fn set_resolved(&mut self, name: Arc<str>, addresses: Vec<IpAddr>) {
        self.resolved.insert(name.clone(), addresses);
        let concerned: Vec<Key> = self
            .services
            .iter()
            .chain(&self.outside)
            .filter(|(_, service)| service.external_name.as_deref() == Some(&*name))
            .map(|(key, _)| key.clone())
            .collect();
        for service in concerned {
            self.service_changed(&service);
        }
    }

    fn resolve(&self, key: &BackendKey, id: BackendId) -> Backend {
        let (mut state, app_protocol, set) = match self.locate(key) {
            Located::Nowhere(state) => (state, None, None),
            Located::Port(port) => {
                let set = self.pods_at(&key.service_key(), &port);
                let state = set.map_or(BackendState::NoEndpoints, |set| set.state);
                (state, port.app_protocol, set)
            }
        };
        let mut endpoints = set.map(|set| set.endpoints.clone()).unwrap_or_default();
        let settings = self.with_external_host(key, self.backend_settings(key));
        let found = self.find_tls(key, &settings, app_protocol.as_deref());
        if found.wanted && found.tls.is_none() && !endpoints.is_empty() {
            // Nobody is asked in plain, or without the certificate that was to be shown.
            (state, endpoints) = (BackendState::TlsUnready, Arc::default());
        }
        let terms = Terms {
            protocol: protocol(&settings, app_protocol.as_deref()),
            tls: found.tls.clone(),
            proxied: settings.proxy_protocol == Some(true),
        };
        Backend {
            id,
            namespace: key.namespace.clone(),
            service: key.service.clone(),
            port: key.port.to_string().into(),
            state,
            app_protocol,
            asked: key.settings.clone(),
            terms: self.share_terms(set, terms),
            check: Check::of(&settings).map(|check| share(set.map(|set| &set.checks), check)),
            limited_by: key.limited_by.clone(),
            pods: set.map(|set| set.id),
            settings,
            tls: found.tls,
            guard: self.service_guard(key),
            endpoints,
        }
    }

    /// The settings, with the name of an ExternalName instead of the word for it.
    fn with_external_host(&self, key: &BackendKey, settings: Arc<BackendSettings>) -> Arc<BackendSettings> {
        if settings.upstream_host != Some(UpstreamHost::ExternalName) {
            return settings;
        }
        let name = self
            .external_name(key)
            .and_then(|name| HeaderValue::from_str(name).ok());
        let mut settings = BackendSettings::clone(&settings);
        settings.upstream_host = name.map(UpstreamHost::Named);
        Arc::new(settings)
    }

    fn share_terms(&self, set: Option<&Arc<PodSet>>, terms: Terms) -> Arc<Terms> {
        if terms == *self.common.terms {
            return self.common.terms.clone();
        }
        share(set.map(|set| &set.terms), terms)
    }

    /// What the Ingress says of a backend, then its Service.
    pub(super) fn backend_settings(&self, key: &BackendKey) -> Arc<BackendSettings> {
        let service = self.service(&key.service_key());
        let ignored = &self.options.ignored_annotations;
        let said = service.map(|service| service_settings(service, ignored, &mut Vec::new()));
        match (&key.settings, said) {
            (None, None) => self.common.settings.clone(),
            (None, Some(service)) if service == BackendSettings::default() => self.common.settings.clone(),
            (None, Some(service)) => Arc::new(service),
            (Some(ingress), None) => ingress.clone(),
            (Some(ingress), Some(service)) => Arc::new(ingress.over(&service)),
        }
    }
}

/// What is known already and equal to something new, or the new thing: so that backends which agree share one.
fn share<T: PartialEq>(known: Option<&Vec<Arc<T>>>, new: T) -> Arc<T> {
    let known = known.into_iter().flatten().find(|known| ***known == new);
    known.cloned().unwrap_or_else(|| Arc::new(new))
}

fn service_of(key: &BackendKey) -> ObjectRef {
    ObjectRef::new(Kind::Service, key.namespace.clone(), key.service.clone())
}

/// What the annotations of a Service say of its backends, and what is wrong with them.
pub(super) fn service_settings(
    service: &Service,
    ignored: &annotations::Ignored,
    findings: &mut Vec<Diagnostic>,
) -> BackendSettings {
    let meta = &service.meta;
    if meta.annotations.is_empty() {
        return BackendSettings::default();
    }
    let object = ObjectRef::new(Kind::Service, meta.namespace.clone(), meta.name.clone());
    annotations::read((Dialect::Narthex, None), meta, (&object, ""), ignored, findings).backend
}

pub(super) fn is_tcp(protocol: Option<&str>) -> bool {
    protocol.is_none_or(|protocol| protocol.is_empty() || protocol == "TCP")
}

/// The TCP port of a Service that a rule names.
pub(super) fn find_port<'s>(service: &'s Service, wanted: &PortRef) -> Option<&'s ServicePort> {
    service
        .ports
        .iter()
        .filter(|port| is_tcp(port.protocol.as_deref()))
        .find(|port| match wanted {
            PortRef::Number(number) => port.port == *number,
            PortRef::Name(name) => port.name == *name,
            PortRef::First | PortRef::Every => true,
            PortRef::OfPods(number) => port.target.map_or(port.port, i32::from) == i32::from(*number),
            PortRef::Missing => false,
        })
}

/// What says where a Service's pods are: the slices or Endpoints in use with their subsets, but for address types that nobody knows.
pub(super) fn subsets_in_use(of_service: &OfService) -> impl Iterator<Item = (&(Kind, Arc<str>), &EndpointSubset)> {
    let wanted = kind_in_use(of_service);
    of_service
        .iter()
        .filter(move |((kind, _), endpoints)| *kind == wanted && endpoints.unsupported_type.is_none())
        .flat_map(|(name, endpoints)| endpoints.subsets.iter().map(move |subset| (name, subset)))
}

/// Whether slices or Endpoints say where a Service's pods are: slices, as soon as there is one.
pub(super) fn kind_in_use(of_service: &OfService) -> Kind {
    if of_service.keys().any(|(kind, _)| *kind == Kind::EndpointSlice) {
        Kind::EndpointSlice
    } else {
        Kind::Endpoints
    }
}
