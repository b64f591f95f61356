//! Gateway API: from GatewayClasses, Gateways, routes and ReferenceGrants to listeners of the table, statuses and
//! diagnostics.
//!
//! Everything here hangs together: a listener's count depends on all routes, and a route on its Gateways, on grants, on
//! labels of namespaces and on Services. So a change only notes that the plan is stale, and the plan is made anew as a
//! whole before the next table. A cluster without Gateways pays nothing for it.

mod addresses;
mod attach;
mod backends;
mod filters;
mod listeners;
mod rules;
mod statuses;
mod tables;

use super::diagnose::GET_503;
use super::links::{Cause, User};
use super::{Key, State};
use crate::dialect::gateway::{Gateway, GatewayClass, GatewayObject, GatewayRoute, ReferenceGrant};
use crate::dialect::reading::BackendKey;
use crate::model::{Diagnostic, Kind, ObjectRef};
use crate::table::{DesiredStatus, GatewayPort, ListenerId, ListenerProtocol};
use addresses::Given;
use attach::{Plan, PortKey};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

/// The objects of Gateway API, and what was made of them last.
#[derive(Debug, Default)]
pub(super) struct Gateways {
    objects: BTreeMap<ObjectRef, Arc<GatewayObject>>,
    /// Whether something changed that the plan depends on.
    stale: bool,
    /// What was found out of each object by itself and with the others.
    findings: BTreeMap<ObjectRef, Vec<Diagnostic>>,
    /// The backends that objects name, each with its field.
    named: BTreeMap<ObjectRef, Vec<(String, BackendKey)>>,
    held: BTreeSet<BackendKey>,
    /// The Secrets that listeners name.
    secrets: BTreeSet<Key>,
    statuses: BTreeMap<ObjectRef, DesiredStatus>,
    /// The listeners of the table that are there because of Gateways, by address and what their sockets are for.
    own: HashMap<(SocketAddr, ListenerProtocol), ListenerId>,
    /// The addresses that Gateways have for themselves.
    given: Given,
    /// Which generation the next listener in a slot gets.
    generation: u32,
    /// Whether listeners of the flags serve what Gateways have.
    shared: bool,
}

impl Gateways {
    /// None yet, but with the listeners that the table before has: those that stay keep their sockets.
    pub fn after(before: &Self) -> Self {
        Self {
            own: before.own.clone(),
            generation: before.generation,
            given: before.given.clone(),
            ..Self::default()
        }
    }

    fn all<'g, T>(&'g self, of: impl Fn(&'g GatewayObject) -> Option<&'g T> + 'g) -> impl Iterator<Item = &'g T>
    where
        T: 'g,
    {
        self.objects.values().filter_map(move |object| of(object))
    }

    fn classes(&self) -> impl Iterator<Item = &GatewayClass> {
        self.all(|object| match object {
            GatewayObject::Class(class) => Some(class),
            _ => None,
        })
    }

    fn gateways(&self) -> impl Iterator<Item = &Gateway> {
        self.all(|object| match object {
            GatewayObject::Gateway(gateway) => Some(gateway),
            _ => None,
        })
    }

    fn routes(&self) -> impl Iterator<Item = &GatewayRoute> {
        self.all(|object| match object {
            GatewayObject::Route(route) => Some(route),
            _ => None,
        })
    }

    fn grants(&self) -> impl Iterator<Item = &ReferenceGrant> {
        self.all(|object| match object {
            GatewayObject::Grant(grant) => Some(grant),
            _ => None,
        })
    }

    /// The objects that name a backend.
    pub fn users<'g>(
        &'g self,
        of: &Cause,
        keys: &HashMap<u32, BackendKey>,
    ) -> impl Iterator<Item = ObjectRef> + use<'g> {
        let key = match of {
            Cause::Backend(slot) => keys.get(slot).cloned(),
            _ => None,
        };
        let names = move |named: &[(String, BackendKey)]| named.iter().any(|(_, other)| key.as_ref() == Some(other));
        let users = self.named.iter().filter(move |(_, named)| names(named));
        users.map(|(object, _)| object.clone())
    }

    /// Every object, to begin again.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<GatewayObject>> {
        self.objects.values()
    }

    /// The hostnames of a route, as it writes them.
    pub fn hosts(&self, object: &ObjectRef) -> Vec<Arc<str>> {
        match self.objects.get(object).map(|known| &**known) {
            Some(GatewayObject::Route(route)) => route.hostnames.iter().map(|host| Arc::from(&**host)).collect(),
            _ => Vec::new(),
        }
    }

    /// The names of a kind.
    pub fn names(&self, kind: Kind) -> impl Iterator<Item = &ObjectRef> {
        self.objects.keys().filter(move |object| object.kind == kind)
    }
}

impl State {
    pub(super) fn put_gateway_object(&mut self, reference: ObjectRef, object: Arc<GatewayObject>) {
        let known = self.gateways.objects.get(&reference);
        if known == Some(&object) {
            return;
        }
        self.gateways.objects.insert(reference, object);
        self.gateways_changed();
    }

    pub(super) fn delete_gateway_object(&mut self, object: &ObjectRef) {
        if self.gateways.objects.remove(object).is_some() {
            self.gateways_changed();
        }
    }

    /// Something changed that Gateways or their routes may depend on.
    pub(super) fn gateways_changed(&mut self) {
        if !self.gateways.objects.is_empty() || !self.gateways.findings.is_empty() || !self.gateways.statuses.is_empty()
        {
            self.gateways.stale = true;
            self.changed = true;
        }
    }

    /// A Secret changed.
    pub(super) fn gateway_secret_changed(&mut self, key: &Key) {
        if self.gateways.secrets.contains(key) {
            self.gateways_changed();
        }
    }

    /// Brings what Gateways have up to date with all changes since the last time.
    pub fn settle_gateways(&mut self) {
        if !std::mem::take(&mut self.gateways.stale) {
            return;
        }
        self.need_listener_secrets();
        let plan = self.plan_gateways();
        self.hold_planned(&plan);
        let ports = self.gateway_tables(&plan);
        self.set_gateway_listeners(&plan, ports);
        let Plan {
            findings,
            statuses,
            named,
            given,
            ..
        } = plan;
        self.gateways.given = given;
        let told = self.gateways.findings.keys().chain(findings.keys());
        let told: Vec<ObjectRef> = told
            .chain(named.keys())
            .chain(self.gateways.named.keys())
            .cloned()
            .collect();
        self.stale.extend(told);
        let held = named.values().flatten().map(|(_, key)| key.clone()).collect();
        let before = std::mem::replace(&mut self.gateways.held, held);
        self.gateways.findings = findings;
        self.gateways.statuses = statuses;
        self.gateways.named = named;
        for key in before {
            if !self.gateways.held.contains(&key) {
                self.drop_backend(&key, User::Gateways);
            }
        }
    }

    /// Reads the Secrets that listeners name, and has the source know which these are.
    fn need_listener_secrets(&mut self) {
        let wanted = self.listener_secrets();
        let before = std::mem::replace(&mut self.gateways.secrets, wanted.clone());
        for key in &wanted {
            self.links.link(Cause::secret(key.clone()), User::Gateways);
            self.secrets.need(key);
        }
        for key in before.difference(&wanted) {
            self.links.unlink(&Cause::secret(key.clone()), User::Gateways);
        }
    }

    /// Has the backends of all rules be there.
    fn hold_planned(&mut self, plan: &Plan) {
        for (_, key) in plan.named.values().flatten() {
            if !self.gateways.held.contains(key) {
                self.hold_backend(key, User::Gateways);
            }
        }
    }

    /// What each object's status should say: the fields that narthex writes, without addresses and times.
    pub fn gateway_statuses(&mut self) -> &BTreeMap<ObjectRef, DesiredStatus> {
        self.settle_gateways();
        &self.gateways.statuses
    }

    /// What is to be said of an object of Gateway API.
    pub(super) fn diagnose_gateway_object(&self, object: &ObjectRef, said: &mut Vec<Diagnostic>) {
        said.extend(self.gateways.findings.get(object).into_iter().flatten().cloned());
        let is_of_streams = object.kind.is_of_streams();
        let then = if is_of_streams {
            "connections are closed"
        } else {
            GET_503
        };
        for (field, key) in self.gateways.named.get(object).into_iter().flatten() {
            said.extend(self.diagnose_backend(object, (field, key), then));
            // What pods speak is nothing to who passes it on.
            if !is_of_streams {
                said.extend(self.diagnose_app_protocol(object, key, field));
            }
        }
    }

    /// Replaces what Gateways have in the table.
    fn set_gateway_listeners(&mut self, plan: &Plan, ports: BTreeMap<PortKey, Arc<GatewayPort>>) {
        let flags = self.options.listeners.clone();
        let is_shared = flags
            .iter()
            .any(|listener| ports.contains_key(&(None, listener.address.port())));
        if is_shared || self.gateways.shared {
            for listener in &flags {
                let changed = match ports.get(&(None, listener.address.port())) {
                    Some(port) => Arc::new(listener.with_gateways(port)),
                    None => listener.clone(),
                };
                self.table.set_listener(listener.id.slot, Some(changed));
            }
        }
        self.gateways.shared = is_shared;
        let mut before = std::mem::take(&mut self.gateways.own);
        let mut own = HashMap::new();
        let mut taken: BTreeSet<u32> = flags.iter().map(|listener| listener.id.slot).collect();
        let mut wanted = Vec::new();
        for (key, port) in &ports {
            for (address, socket) in plan.addresses_of(key) {
                match before.remove(&(address, socket)) {
                    Some(id) => {
                        taken.insert(id.slot);
                        wanted.push((address, socket, Some(id), port));
                    }
                    None => wanted.push((address, socket, None, port)),
                }
            }
        }
        for gone in before.into_values() {
            self.table.set_listener(gone.slot, None);
        }
        let mut free = (0..).filter(|slot| !taken.contains(slot));
        for (address, socket, known, port) in wanted {
            let id = known.or_else(|| {
                self.gateways.generation += 1;
                // The listeners of the flags have the first generation.
                let generation = self.gateways.generation + 1;
                free.next().map(|slot| ListenerId { slot, generation })
            });
            let Some(id) = id else { continue };
            let listener = tables::listener(id, address, socket, port);
            self.table.set_listener(id.slot, Some(Arc::new(listener)));
            own.insert((address, socket), id);
        }
        self.gateways.own = own;
        self.table.set_gateway_ports(ports.into_values().collect());
        self.changed = true;
    }
}
