//! Which namespaces are being deleted: what they hold yields its place to all others.

use super::State;
use super::links::Cause;
use crate::model::Annotations;
use crate::model::object::{Meta, Namespace};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The namespaces that are known. Without the right to watch them it stays empty, and nothing waits for it.
#[derive(Debug, Default)]
pub(super) struct Namespaces {
    known: HashMap<Arc<str>, Arc<Namespace>>,
    /// Those that were deleted while objects of theirs are still known: another watch is behind, and these must not
    /// get their places back in between.
    gone: HashSet<Arc<str>>,
}

impl Namespaces {
    pub fn len(&self) -> usize {
        self.known.len()
    }

    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.known.keys()
    }

    pub fn get(&self, name: &Arc<str>) -> Option<&Arc<Namespace>> {
        self.known.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Namespace>> {
        self.known.values()
    }

    /// Those that were deleted while objects of theirs are still known, as they were before.
    pub fn gone(&self) -> impl Iterator<Item = Arc<Namespace>> {
        self.gone.iter().map(|name| {
            Arc::new(Namespace {
                meta: Meta {
                    name: name.clone(),
                    deleting: true,
                    ..Meta::default()
                },
                labels: Annotations::default(),
            })
        })
    }

    fn is_leaving(&self, name: &Arc<str>) -> bool {
        self.known.get(name).is_some_and(|namespace| namespace.meta.deleting) || self.gone.contains(name)
    }
}

impl State {
    /// Whether an object or its namespace is being deleted.
    pub(super) fn is_leaving(&self, meta: &Meta) -> bool {
        meta.deleting || self.namespaces.is_leaving(&meta.namespace)
    }

    pub(super) fn put_namespace(&mut self, namespace: Arc<Namespace>) {
        let name = namespace.meta.name.clone();
        let before = self.namespaces.is_leaving(&name);
        self.namespaces.gone.remove(&name);
        let labels = namespace.labels.clone();
        let old = self.namespaces.known.insert(name.clone(), namespace);
        if !self.options.routes.namespace_labels.is_empty() && old.is_none_or(|old| old.labels != labels) {
            return self.recompile_users(&Cause::namespace(&name));
        }
        self.namespace_changed(&name, before);
    }

    pub(super) fn delete_namespace(&mut self, name: &Arc<str>) {
        let before = self.namespaces.is_leaving(name);
        let Some(old) = self.namespaces.known.remove(name) else {
            return;
        };
        if old.meta.deleting && self.has_claimants(name) {
            self.namespaces.gone.insert(name.clone());
        }
        if !self.options.routes.namespace_labels.is_empty() {
            return self.recompile_users(&Cause::namespace(name));
        }
        self.namespace_changed(name, before);
    }

    /// An object went: with its last one, a namespace that is gone is forgotten.
    pub(super) fn forget_namespace(&mut self, namespace: &Arc<str>) {
        if self.namespaces.gone.contains(namespace) && !self.has_claimants(namespace) {
            self.namespaces.gone.remove(namespace);
        }
    }

    fn has_claimants(&self, namespace: &Arc<str>) -> bool {
        self.links.is_used(&Cause::namespace(namespace))
    }

    fn namespace_changed(&mut self, name: &Arc<str>, before: bool) {
        if before != self.namespaces.is_leaving(name) {
            self.recompile_users(&Cause::namespace(name));
        }
    }
}
