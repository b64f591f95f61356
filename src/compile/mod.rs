//! From objects to the table: pure, step by step, without clock, I/O or Kubernetes client.
//!
//! [`State::apply`] takes one [`Change`] and touches what it touches; [`State::table`] is the next table,
//! [`State::refresh`] what is to be said of the objects. A full compile is the fold of `apply` over all objects, and
//! a simulation in `tests/` shows that both give the same.

mod access;
mod addresses;
mod again;
pub mod backend_tls;
mod backend_trust;
mod backends;
mod canaries;
mod certificate;
mod claimants;
mod claims;
mod classes;
mod clients;
mod config_maps;
mod diagnose;
mod empty;
mod gateways;
mod guards;
mod hints;
mod host_claims;
mod host_wide;
mod journal;
mod links;
pub mod lint;
mod lost_nodes;
mod members;
mod namespaces;
mod offers;
mod passthrough;
mod patterns;
mod pods;
mod secrets;
mod suggest;
mod tls;
mod token_keys;

use crate::dialect::annotations::nginx::Beside;
use crate::dialect::claimant::Context;
use crate::dialect::openshift::{OWN_SECRET, RouteOptions, SERVICE_CA};
use crate::dialect::reading::{BackendKey, Spot};
use crate::dialect::{Change, Dialect, Object, annotations, owners};
use crate::model::object::{Endpoints, IngressClass, Service};
use crate::model::{Diagnostic, Kind, ObjectRef, Report, Timestamp};
use crate::table::{AddressPool, BackendId, Listener, PodSetId, Table};
use backends::BackendEntry;
use claimants::{Claimants, Common};
use claims::Claimed;
use config_maps::ConfigMaps;
use empty::Empty;
use gateways::Gateways;
pub use journal::Journal;
use links::{Cause, Links, Stale};
use namespaces::Namespaces;
use offers::Offers;
use secrets::Secrets;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
pub use token_keys::KeySet;
use token_keys::TokenKeys;

/// The controller name IngressClasses of ours carry.
pub const CONTROLLER: &str = "narthex.io/ingress-controller";

/// What the operator decided; does not change while the process runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// `--ingress-class`: Ingresses of this class are ours even where no IngressClass object says so.
    pub ingress_class: String,
    /// What narthex listens on.
    pub listeners: Vec<Arc<Listener>>,
    /// `--class-less`: Ingresses without a class are ours.
    pub class_less: bool,
    /// `--allow-external-names`.
    pub allow_external_names: bool,
    /// Addresses narthex itself listens on: an endpoint there would go round in circles.
    pub own_addresses: Vec<SocketAddr>,
    /// Whether somebody answers what [`State::wanted_nodes`] asks.
    pub reads_nodes: bool,
    /// Those of its admin side, which no rule may lead to.
    pub admin_addresses: Vec<SocketAddr>,
    /// Whether endpoints may be on the node itself: so in files, which the operator writes, and not in a cluster.
    pub local_endpoints: bool,
    /// `--host-owners`.
    pub host_owners: owners::HostOwners,
    /// `--default-certificate`: namespace and name of a Secret.
    pub default_certificate: Option<(Arc<str>, Arc<str>)>,
    /// The authorities of this system, for pods whose backend names no others.
    pub system_roots: Arc<rustls::RootCertStore>,
    /// `--zone`, or the node's label: the slice hints that are for us.
    pub zone: Option<Arc<str>>,
    /// `--node`: the node whose slice hints are for us.
    pub node: Option<Arc<str>>,
    /// `--yield-empty`: after this many seconds without a ready endpoint, a claim yields to the next that has some.
    pub yield_empty: Option<u64>,
    /// `--ignore-annotation`.
    pub ignored_annotations: annotations::Ignored,
    /// `--drop-in`: the other controllers whose Ingresses are served.
    pub drop_in: Vec<Dialect>,
    /// `--nginx-configmap`: namespace and name of the ConfigMap of ingress-nginx.
    pub nginx_config_map: Option<(Arc<str>, Arc<str>)>,
    /// `--nginx-default-backend`: namespace and name of a Service.
    pub nginx_default_backend: Option<(Arc<str>, Arc<str>)>,
    /// `--ssl-redirect`: hosts with TLS send plain HTTP to HTTPS, unless an annotation says otherwise.
    pub ssl_redirect: bool,
    /// Whether diagnostics say what a name that does not exist was probably meant to be: so in `check`.
    pub suggest: bool,
    /// The flags about Routes.
    pub routes: RouteOptions,
    /// `--gateway-class`: Gateways of this class are ours also where no GatewayClass says so.
    pub gateway_class: String,
    /// `--gateway-ports`: the ports that Gateways may have beside those of the flags.
    pub gateway_ports: Vec<RangeInclusive<u16>>,
    /// `--gateway-addresses`: the addresses that Gateways have for themselves. If it is empty, they share those of the flags.
    pub gateway_addresses: AddressPool,
}

impl Options {
    fn context<'c>(&'c self, dialect: Dialect, beside: Option<&'c Arc<Beside>>) -> Context<'c> {
        Context {
            dialect,
            beside,
            owners: &self.host_owners,
            ignored: &self.ignored_annotations,
            routes: &self.routes,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ingress_class: "narthex".to_owned(),
            listeners: vec![
                Arc::new(Listener::http(0, SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 80))),
                Arc::new(Listener::https(1, SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 443))),
            ],
            class_less: true,
            allow_external_names: false,
            own_addresses: Vec::new(),
            reads_nodes: false,
            admin_addresses: Vec::new(),
            local_endpoints: true,
            host_owners: owners::HostOwners::default(),
            default_certificate: None,
            system_roots: Arc::new(rustls::RootCertStore::empty()),
            zone: None,
            node: None,
            yield_empty: None,
            ignored_annotations: annotations::Ignored::default(),
            drop_in: Vec::new(),
            nginx_config_map: None,
            nginx_default_backend: None,
            ssl_redirect: true,
            suggest: false,
            routes: RouteOptions::default(),
            gateway_class: "narthex".to_owned(),
            gateway_ports: vec![80..=80, 443..=443, 1024..=29999],
            gateway_addresses: AddressPool::default(),
        }
    }
}

/// Namespace and name.
type Key = (Arc<str>, Arc<str>);

fn key(object: &ObjectRef) -> Key {
    (object.namespace.clone(), object.name.clone())
}

/// The slices and Endpoints of one Service, by kind and their own name.
type OfService = BTreeMap<(Kind, Arc<str>), Arc<Endpoints>>;

/// Everything known, and the table made of it.
#[derive(Debug, Default)]
pub struct State {
    options: Options,
    claimants: Claimants,
    namespaces: Namespaces,
    classes: HashMap<Arc<str>, Arc<IngressClass>>,
    services: HashMap<Key, Arc<Service>>,
    /// What stands for Services where annotations name hosts outside of the cluster.
    outside: HashMap<Key, Arc<Service>>,
    /// By Service, then by the slice's (or Endpoints') own name.
    endpoints: HashMap<Key, OfService>,
    /// Which Service an EndpointSlice was last filed under, for labels do change.
    slices: HashMap<ObjectRef, (Option<Key>, Arc<Endpoints>)>,
    secrets: Secrets,
    config_maps: ConfigMaps,
    token_keys: TokenKeys,
    offers: Offers,
    host_guards: guards::HostGuards,
    patterns: patterns::PatternHosts,
    clients: clients::HostsClients,
    passing: passthrough::PassingHosts,
    host_wide: host_wide::HostsWide,
    canaries: canaries::Canaries,
    host_claims: host_claims::HostClaims,
    gateways: Gateways,
    /// Claims that lost to the route the table has, the oldest first.
    losers: HashMap<Spot, Vec<Claimed>>,
    backends: HashMap<BackendKey, BackendEntry>,
    /// The same by the slot they have in the table.
    backend_keys: HashMap<u32, BackendKey>,
    links: Links,
    free_slots: Vec<BackendId>,
    next_slot: u32,
    empty: Empty,
    /// The pod sets of each Service that a backend leads to, or once led to.
    pods: HashMap<Key, pods::OfPods>,
    free_pods: Vec<PodSetId>,
    next_pods: u32,
    resolved: HashMap<Arc<str>, Vec<IpAddr>>,
    nodes: lost_nodes::LostNodes,
    now: Timestamp,
    /// What most routes and backends have.
    common: Common,
    broken: HashMap<ObjectRef, Diagnostic>,
    /// What the source says of objects as they stand in its files.
    of_files: HashMap<ObjectRef, Vec<Diagnostic>>,
    table: Table,
    changed: bool,
    journal: Journal,
    stale: Stale,
    report: Report,
}

impl State {
    /// What changed since this was asked for the last time.
    pub fn take_journal(&mut self) -> Journal {
        std::mem::take(&mut self.journal)
    }

    pub fn new(options: Options) -> Self {
        // A default certificate that never comes is to be reported too.
        let named = |kind| move |(namespace, name): &Key| ObjectRef::new(kind, namespace.clone(), name.clone());
        let certificate = options.default_certificate.iter().map(named(Kind::Secret));
        let config_map = options.nginx_config_map.iter().map(named(Kind::ConfigMap));
        let stale = certificate.chain(config_map).collect();
        let mut secrets = Secrets::default();
        if let Some(pem) = &options.routes.service_ca {
            secrets.set_authorities(&(Arc::default(), SERVICE_CA.into()), pem);
        }
        let mut table = Table::default();
        for listener in &options.listeners {
            table.set_listener(listener.id.slot, Some(listener.clone()));
        }
        Self {
            offers: Offers::new(options.host_owners.clone()),
            config_maps: ConfigMaps::new(options.nginx_default_backend.clone()),
            // Also where there is no object at all, the listeners are to be in a table.
            changed: !options.listeners.is_empty(),
            options,
            secrets,
            stale,
            table,
            ..Self::default()
        }
    }

    /// A full compile.
    pub fn compile(options: Options, objects: impl IntoIterator<Item = Object>) -> Self {
        let mut state = Self::new(options);
        for object in objects {
            state.apply(Change::Apply(object));
        }
        state
    }

    /// Takes one step. Costs what the change touches.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Apply(object) => self.put(object),
            Change::Delete(object) => self.delete(&object),
            Change::Replace {
                kind,
                namespace,
                objects,
                broken,
            } => self.replace(kind, namespace, objects, broken),
            Change::Broken(diagnostic) => self.mark_broken(diagnostic),
            Change::Files(diagnostics) => self.set_files(diagnostics),
            Change::Listed => self.set_listed(),
            Change::Time(now) => self.set_now(now),
            Change::Resolved { name, addresses } => self.set_resolved(name, addresses),
            Change::KeySet { url, said } => self.set_key_set(&url, said),
            Change::Node { name, lost } => self.set_lost(&name, lost),
        }
        self.settle_empty();
        self.settle_passing();
        self.settle_clients();
        self.settle_hosts();
        self.settle_admissions();
    }

    /// All objects of Gateway API.
    pub fn gateway_objects(&self) -> Vec<Object> {
        self.gateways.iter().cloned().map(Object::Gateways).collect()
    }

    /// The table as of now; cheap, for it shares all it can. Its generation rises whenever it differs from the last.
    pub fn table(&mut self) -> Table {
        self.settle_gateways();
        if std::mem::take(&mut self.changed) {
            self.table.generation += 1;
        }
        self.table.clone()
    }

    /// Whether the table differs from the one [`State::table`] gave last.
    pub fn changed(&self) -> bool {
        self.changed
    }

    /// Brings the report up to date; apart from the table, since requests do not wait for it.
    pub fn refresh(&mut self) -> &Report {
        self.settle_gateways();
        for object in self.take_stale() {
            let diagnostics = self.diagnose(&object);
            let (claimants, gateways) = (&self.claimants, &self.gateways);
            let hosts = || match claimants.get(&object) {
                Some(known) => known.claimant.hosts(),
                None => gateways.hosts(&object),
            };
            self.report.set(&object, diagnostics, hosts);
        }
        &self.report
    }

    /// ExternalNames that routes need resolved.
    pub fn external_names(&self) -> BTreeSet<Arc<str>> {
        let allowed = self.options.allow_external_names;
        self.links
            .used(Kind::Service)
            .filter_map(|service| self.service(service))
            .filter(|service| allowed || pods::is_outside(service))
            .filter(|service| !service.external_name_is_address())
            .filter_map(|service| service.external_name.as_deref())
            .map(Arc::from)
            .collect()
    }

    /// Secrets that are needed, by namespace and name: a source need not know any other.
    pub fn wanted_secrets(&self) -> BTreeSet<(Arc<str>, Arc<str>)> {
        let default = self.options.default_certificate.iter();
        let named = self.links.used(Kind::Secret).chain(default);
        // What stands for the certificates of a Route is no Secret of the API's.
        named
            .filter(|(_, name)| !name.starts_with(OWN_SECRET))
            .cloned()
            .collect()
    }

    /// Whether [`State::wanted_secrets`] or [`State::wanted_config_maps`] may differ from what it was when this was asked last.
    pub fn wanted_secrets_changed(&mut self) -> bool {
        self.links.secrets_changed()
    }

    /// How many objects of each kind there are.
    pub fn counts(&self) -> BTreeMap<Kind, usize> {
        let slices = self
            .slices
            .keys()
            .filter(|object| object.kind == Kind::EndpointSlice)
            .count();
        let mut counts = BTreeMap::from([
            (Kind::IngressClass, self.classes.len()),
            (Kind::Service, self.services.len()),
            (Kind::EndpointSlice, slices),
            (Kind::Endpoints, self.slices.len() - slices),
            (Kind::Secret, self.secrets.count()),
            (Kind::ConfigMap, self.config_maps.len()),
            (Kind::Namespace, self.namespaces.len()),
        ]);
        for kind in Kind::ALL.into_iter().filter(|kind| kind.claims()) {
            counts.insert(kind, 0);
        }
        for kind in Kind::ALL.into_iter().filter(|kind| kind.is_of_gateways()) {
            counts.insert(kind, self.gateways.names(kind).count());
        }
        for known in self.claimants.iter() {
            *counts.entry(known.claimant.kind()).or_default() += 1;
        }
        counts
    }

    fn put(&mut self, object: Object) {
        let reference = object.reference();
        if self.broken.remove(&reference).is_some() {
            self.stale.insert(reference.clone());
        }
        let object = self.with_last_good(&reference, object);
        if let Some(claimant) = object.claimant() {
            return self.put_claimant(reference, &object, claimant);
        }
        let key = key(&reference);
        match object {
            Object::IngressClass(class) => {
                let name = class.meta.name.clone();
                if self.classes.get(&name) != Some(&class) {
                    self.stale.insert(reference);
                    self.classes.insert(name.clone(), class);
                    self.recompile_users(&Cause::class(&name));
                }
            }
            Object::Service(service) if self.services.get(&key) != Some(&service) => {
                self.services.insert(key.clone(), service);
                self.stale.insert(reference);
                self.service_changed(&key);
                self.gateways_changed();
            }
            Object::Endpoints(endpoints) => self.put_endpoints(reference, endpoints),
            Object::Secret(secret) => self.put_secret(&key, secret),
            Object::ConfigMap(map) => self.put_config_map(key, map),
            Object::Namespace(namespace) => {
                self.put_namespace(namespace);
                self.gateways_changed();
            }
            Object::Gateways(object) => {
                self.stale.insert(reference.clone());
                self.put_gateway_object(reference, object);
            }
            // The Service is known already, and every other object is a claimant.
            _ => {}
        }
    }

    /// The last good version of an object that cannot be decoded, with the guards that are known of it.
    fn with_last_good(&self, reference: &ObjectRef, object: Object) -> Object {
        let Some(undecoded) = object.meta().undecoded.clone() else {
            return object;
        };
        // A source may have put them together already.
        let key = key(reference);
        let last = match &object {
            Object::IngressClass(_) => self.classes.get(&key.1).cloned().map(Object::IngressClass),
            Object::Service(bare) if bare.ports.is_empty() && bare.external_name.is_none() => {
                self.services.get(&key).cloned().map(Object::Service)
            }
            other => {
                let is_bare = other.claimant().is_some_and(|claimant| claimant.is_bare());
                let known = self.claimants.get(reference).filter(|_| is_bare);
                known.map(|known| known.claimant.clone().object())
            }
        };
        last.map_or(object, |last| last.with_undecoded(Some(undecoded)))
    }

    fn delete(&mut self, object: &ObjectRef) {
        self.broken.remove(object);
        self.stale.insert(object.clone());
        let key = key(object);
        match object.kind {
            Kind::IngressClass => {
                if self.classes.remove(&object.name).is_some() {
                    self.recompile_users(&Cause::class(&object.name));
                }
            }
            Kind::Service => {
                if self.services.remove(&key).is_some() {
                    self.service_changed(&key);
                    self.gateways_changed();
                }
            }
            Kind::EndpointSlice | Kind::Endpoints => self.delete_endpoints(object),
            Kind::Secret => self.delete_secret(&key),
            Kind::ConfigMap => self.delete_config_map(&key),
            Kind::Namespace => {
                self.delete_namespace(&object.name);
                self.gateways_changed();
            }
            kind if kind.is_of_gateways() => {
                self.delete_gateway_object(object);
            }
            // Every other object is a claimant.
            _ => self.delete_claimant(object),
        }
    }

    fn replace(&mut self, kind: Kind, namespace: Option<Arc<str>>, objects: Vec<Object>, broken: Vec<Diagnostic>) {
        let mut gone: BTreeSet<ObjectRef> = self
            .names(kind)
            .into_iter()
            .filter(|object| {
                namespace
                    .as_ref()
                    .is_none_or(|namespace| object.namespace == *namespace)
            })
            .collect();
        for object in &objects {
            gone.remove(&object.reference());
        }
        for object in broken.iter().filter_map(|diagnostic| diagnostic.object.as_ref()) {
            gone.remove(object);
        }
        // New ones first: what moves from one object to another must never be missing in between.
        for object in objects {
            self.put(object);
        }
        for diagnostic in broken {
            self.mark_broken(diagnostic);
        }
        for object in gone {
            self.delete(&object);
        }
    }

    fn names(&self, kind: Kind) -> Vec<ObjectRef> {
        let broken = self.broken.keys().filter(|object| object.kind == kind).cloned();
        let of = |keys: &mut dyn Iterator<Item = &Key>| -> Vec<ObjectRef> {
            keys.map(|(namespace, name)| ObjectRef::new(kind, namespace.clone(), name.clone()))
                .collect()
        };
        let mut names = match kind {
            Kind::Service => of(&mut self.services.keys()),
            Kind::Secret => of(&mut self.secrets.keys().filter(|(_, name)| !name.starts_with(OWN_SECRET))),
            Kind::ConfigMap => of(&mut self.config_maps.keys()),
            Kind::IngressClass => self
                .classes
                .keys()
                .map(|name| ObjectRef::new(kind, "", name.clone()))
                .collect(),
            Kind::Namespace => self
                .namespaces
                .names()
                .map(|name| ObjectRef::new(kind, "", name.clone()))
                .collect(),
            kind if kind.is_of_gateways() => self.gateways.names(kind).cloned().collect(),
            Kind::EndpointSlice | Kind::Endpoints => self
                .slices
                .keys()
                .filter(|object| object.kind == kind)
                .cloned()
                .collect(),
            _ => {
                let known = self.claimants.iter().map(|known| known.claimant.reference());
                known.filter(|object| object.kind == kind).collect()
            }
        };
        names.extend(broken);
        names
    }

    fn set_files(&mut self, said: Vec<Diagnostic>) {
        let mut of_files: HashMap<ObjectRef, Vec<Diagnostic>> = HashMap::new();
        let mut files = Vec::new();
        for diagnostic in said {
            match diagnostic.object.clone() {
                Some(object) => of_files.entry(object).or_default().push(diagnostic),
                None => files.push(diagnostic),
            }
        }
        self.stale.extend(self.of_files.keys().chain(of_files.keys()).cloned());
        self.of_files = of_files;
        self.report.files = files;
    }

    fn mark_broken(&mut self, diagnostic: Diagnostic) {
        if let Some(object) = diagnostic.object.clone() {
            self.stale.insert(object.clone());
            self.broken.insert(object, diagnostic);
        }
    }
}
