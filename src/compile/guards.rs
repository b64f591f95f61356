//! Guards that narthex does not enforce: which routes they close beyond those of the object that carries them.

use super::{CONTROLLER, State};
use crate::dialect::claimant::Claimant;
use crate::dialect::reading::{BackendKey, Guards, Spot};
use crate::dialect::{Dialect, annotations};
use crate::model::object::IngressClass;
use crate::model::{Kind, ObjectRef};
use crate::table::{Guard, HostPattern, PARAMETERS};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// The guards of one host in one namespace, by the object they come from: its name, and its kind.
type InNamespace = BTreeMap<(Arc<str>, Kind), Arc<Guard>>;

/// Guards that hold for whole hosts, by host and by the namespace whose routes they close.
#[derive(Debug, Default)]
pub(super) struct HostGuards(HashMap<HostPattern, BTreeMap<Arc<str>, InNamespace>>);

impl HostGuards {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all routes of a namespace for a host are closed.
    pub fn closes(&self, namespace: &str, host: &HostPattern) -> bool {
        self.first(namespace, host).is_some()
    }

    fn first(&self, namespace: &str, host: &HostPattern) -> Option<&Arc<Guard>> {
        if self.0.is_empty() {
            return None;
        }
        let (_, guard) = self.0.get(host)?.get(namespace)?.first_key_value()?;
        Some(guard)
    }

    fn set(&mut self, object: &ObjectRef, host: &HostPattern, guard: Arc<Guard>) {
        let of_host = self.0.entry(host.clone()).or_default();
        of_host
            .entry(object.namespace.clone())
            .or_default()
            .insert((object.name.clone(), object.kind), guard);
    }

    fn remove(&mut self, object: &ObjectRef, host: &HostPattern) {
        let Some(of_host) = self.0.get_mut(host) else { return };
        if let Some(in_namespace) = of_host.get_mut(&object.namespace) {
            in_namespace.remove(&(object.name.clone(), object.kind));
            if in_namespace.is_empty() {
                of_host.remove(&object.namespace);
            }
        }
        if of_host.is_empty() {
            self.0.remove(host);
        }
    }

    /// The object of each namespace that is named for guarding a host.
    pub fn holders(&self, host: &HostPattern) -> impl Iterator<Item = ObjectRef> {
        let guards = self.0.get(host).into_iter().flat_map(BTreeMap::values);
        let first = guards.filter_map(|of_namespace| of_namespace.first_key_value());
        first.map(|(_, guard)| guard.object.clone())
    }

    /// How many other namespaces guard a host, and the first guard of each.
    pub fn of_others<'g>(
        &'g self,
        namespace: &'g str,
        host: &HostPattern,
    ) -> (usize, impl Iterator<Item = &'g Arc<Guard>>) {
        let all = self.0.get(host);
        let count = all.map_or(0, |all| all.len() - usize::from(all.contains_key(namespace)));
        let others = all.into_iter().flatten();
        let guards = others
            .filter(move |(other, _)| ***other != *namespace)
            .filter_map(|(_, guards)| guards.first_key_value().map(|(_, guard)| guard));
        (count, guards)
    }
}

impl State {
    /// What closes all routes to a Service.
    pub(super) fn service_guard(&self, key: &BackendKey) -> Option<Arc<Guard>> {
        let service = self.services.get(&(key.namespace.clone(), key.service.clone()))?;
        let (name, _) = annotations::guards(
            Dialect::Narthex,
            Kind::Service,
            &service.meta,
            &self.options.ignored_annotations,
        )
        .next()?;
        Some(Arc::new(Guard {
            object: ObjectRef::new(Kind::Service, key.namespace.clone(), key.service.clone()),
            name: name.into(),
            invalid: false,
        }))
    }

    /// What closes all routes of an object's class.
    pub(super) fn class_guard(&self, claimant: &dyn Claimant) -> Option<Arc<Guard>> {
        let class = self.classes.get(claimant.class()?)?;
        self.guard_of_class(class)
    }

    pub(super) fn guard_of_class(&self, class: &IngressClass) -> Option<Arc<Guard>> {
        if class.controller != CONTROLLER {
            return None;
        }
        let ignored = &self.options.ignored_annotations;
        // narthex has no parameters, so what they name is another controller's, and may hold anything.
        let parameters = class
            .parameters()
            .filter(|_| ignored.by(PARAMETERS).is_none())
            .map(|_| PARAMETERS);
        let first = annotations::guards(Dialect::Narthex, Kind::IngressClass, &class.meta, ignored)
            .map(|(name, _)| name)
            .next();
        Some(Arc::new(Guard {
            object: ObjectRef::new(Kind::IngressClass, "", class.meta.name.clone()),
            name: parameters.or(first)?.into(),
            invalid: false,
        }))
    }

    /// What closes the routes that a namespace has for a host.
    pub(super) fn host_guard(&self, namespace: &str, host: &HostPattern) -> Option<&Arc<Guard>> {
        self.host_guards.first(namespace, host)
    }

    /// Replaces an object's guards of whole hosts. `touched` are the hosts that it claimed before or claims now.
    pub(super) fn guard_hosts(
        &mut self,
        object: &ObjectRef,
        old: Option<&Guards>,
        new: Option<(&Guards, Option<&Arc<Guard>>)>,
        touched: impl IntoIterator<Item = HostPattern>,
    ) {
        let mut wanted: HashMap<&HostPattern, Option<Arc<Guard>>> = HashMap::new();
        if !self.host_guards.0.is_empty() {
            wanted.extend(old.into_iter().flat_map(|old| &old.hosts).map(|host| (host, None)));
        }
        if let Some((new, of_class)) = new {
            // Whom it guards is not known, so it is the whole host.
            let unclear = new.rules.as_ref().or(of_class);
            for host in &new.hosts {
                let unclear = unclear.filter(|_| new.unclear.contains(host));
                if let Some(guard) = new.host.as_ref().or(unclear) {
                    wanted.insert(host, Some(guard.clone()));
                }
            }
        }
        if wanted.is_empty() && self.host_guards.0.is_empty() {
            return;
        }
        for (host, guard) in wanted {
            let before = self.host_guards.first(&object.namespace, host).cloned();
            match guard {
                Some(guard) => self.host_guards.set(object, host, guard),
                None => self.host_guards.remove(object, host),
            }
            let after = self.host_guards.first(&object.namespace, host).cloned();
            if after != before {
                self.guard_host(&object.namespace, host, after);
            }
        }
        for host in touched {
            self.stale.extend(self.host_guards.holders(&host));
        }
    }

    /// Closes or opens a host for a namespace, or names another guard.
    fn guard_host(&mut self, namespace: &Arc<str>, host: &HostPattern, guard: Option<Arc<Guard>>) {
        self.journal.guard(host, namespace, guard.as_deref());
        self.table.set_guard(host, namespace, guard);
        self.touch_host(host);
        self.changed = true;
        self.note_host_guard(host);
        // All objects of the host are told of it, but not at each of many changes.
        self.stale.insert_guarded(host.clone());
    }

    /// The objects that claim something of a host.
    pub(super) fn claimants_of(&self, host: &HostPattern) -> BTreeSet<ObjectRef> {
        let mut found = BTreeSet::new();
        let mut add = |spot: Spot| {
            found.extend(self.holder(&spot).map(|route| route.origin.object.clone()));
            let losers = self.losers.get(&spot).into_iter().flatten();
            found.extend(losers.map(|claimed| claimed.owner().clone()));
        };
        if let Some(table) = self.table.host(host) {
            for route in table.rules().chain(&table.passes) {
                if let Some(path) = &route.path {
                    add(Spot::Path(host.clone(), path.clone()));
                }
            }
        }
        add(Spot::Default(host.clone()));
        if *host == HostPattern::Any {
            add(Spot::Fallback);
        }
        found
    }
}
