//! The objects of a history, as a plain map, and what a fresh compile makes of them.

use crate::world::{self, Rng};
use narthex::testing::compile::{Options, State};
use narthex::testing::dialect::{Change, Object};
use narthex::testing::model::object::Secret;
use narthex::testing::model::{Diagnostic, Kind, ObjectRef, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The objects that are left, as a plain map: what the incremental state is to be equal to.
#[derive(Default)]
pub struct Mirror {
    pub objects: BTreeMap<ObjectRef, Object>,
    pub broken: BTreeMap<ObjectRef, Diagnostic>,
    resolved: BTreeMap<Arc<str>, Vec<std::net::IpAddr>>,
    /// The last version that held a certificate of each Secret whose last version does not: that stays in use.
    good: BTreeMap<ObjectRef, Object>,
    /// Likewise authorities.
    good_authorities: BTreeMap<ObjectRef, Object>,
    pub now: Timestamp,
    /// Namespaces that went while they were being deleted, as long as Ingresses or Routes of theirs are left.
    gone: BTreeMap<Arc<str>, Object>,
}

fn holds_certificate(object: &Object) -> bool {
    matches!(object, Object::Secret(secret) if world::is_good(secret))
}

fn holds_authorities(object: &Object) -> bool {
    matches!(object, Object::Secret(secret) if world::has_authorities(secret))
}

fn without(object: Object, take: impl FnOnce(&mut Secret)) -> Object {
    let Object::Secret(secret) = object else { return object };
    let mut secret = Secret::clone(&secret);
    take(&mut secret);
    Object::Secret(Arc::new(secret))
}

impl Mirror {
    pub fn put(&mut self, object: Object) {
        let reference = object.reference();
        self.broken.remove(&reference);
        if reference.kind == Kind::Namespace {
            self.gone.remove(&reference.name);
        }
        let is_good = holds_certificate(&object);
        let has_authorities = holds_authorities(&object);
        let old = self.objects.insert(reference.clone(), object);
        if has_authorities {
            self.good_authorities.remove(&reference);
        } else if let Some(old) = old.clone().filter(holds_authorities) {
            let old = without(old, |secret| (secret.certificate, secret.key) = (None, None));
            self.good_authorities.insert(reference.clone(), old);
        }
        if is_good {
            self.good.remove(&reference);
        } else if let Some(old) = old.filter(holds_certificate) {
            self.good.insert(reference, without(old, |secret| secret.ca = None));
        }
    }

    fn mark(&mut self, diagnostic: Diagnostic) {
        self.broken.insert(diagnostic.object.clone().unwrap(), diagnostic);
    }

    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Apply(object) => self.put(object),
            Change::Delete(object) => {
                self.take(&object);
                self.good.remove(&object);
                self.good_authorities.remove(&object);
                self.broken.remove(&object);
            }
            Change::Replace {
                kind,
                namespace,
                objects,
                broken,
            } => {
                let named: BTreeSet<ObjectRef> = broken
                    .iter()
                    .filter_map(|diagnostic| diagnostic.object.clone())
                    .collect();
                let gone = |object: &ObjectRef| {
                    object.kind == kind
                        && namespace
                            .as_ref()
                            .is_none_or(|namespace| object.namespace == *namespace)
                        && !named.contains(object)
                };
                let listed: BTreeSet<ObjectRef> = objects.iter().map(Object::reference).collect();
                let gone_for_good = |object: &ObjectRef| gone(object) && !listed.contains(object);
                let there = self.objects.keys();
                let taken: Vec<ObjectRef> = there.filter(|object| gone_for_good(object)).cloned().collect();
                self.good.retain(|object, _| !gone_for_good(object));
                self.good_authorities.retain(|object, _| !gone_for_good(object));
                self.broken.retain(|object, _| !gone(object));
                // As the compiler has it: new ones first.
                objects.into_iter().for_each(|object| self.put(object));
                taken.iter().for_each(|object| self.take(object));
                broken.into_iter().for_each(|diagnostic| self.mark(diagnostic));
            }
            Change::Broken(diagnostic) => self.mark(diagnostic),
            // No node is lost in these histories, and no keys are fetched.
            Change::Files(_) | Change::Listed | Change::Node { .. } | Change::KeySet { .. } => {}
            Change::Time(now) => self.now = now,
            Change::Resolved { name, addresses } => {
                self.resolved.insert(name, addresses);
            }
        }
    }

    fn take(&mut self, object: &ObjectRef) {
        if let Some(Object::Namespace(old)) = self.objects.remove(object)
            && old.meta.deleting
        {
            self.gone.insert(object.name.clone(), Object::Namespace(old));
        }
        let Self { objects, gone, .. } = self;
        gone.retain(|namespace, _| {
            objects
                .keys()
                .any(|object| matches!(object.kind, Kind::Ingress | Kind::Route) && object.namespace == *namespace)
        });
    }

    /// A fresh compile, in an order of its own.
    pub fn compile(&self, options: Options, rng: &mut Rng) -> State {
        let mut objects: Vec<Object> = self.objects.values().cloned().collect();
        rng.shuffle(&mut objects);
        let good = self.good.values().chain(self.good_authorities.values()).cloned();
        let mut state = State::new(options);
        let early = rng.chance(1, 2);
        let time = |state: &mut State| state.apply(Change::Time(self.now));
        if early {
            time(&mut state);
        }
        for object in self.gone.values().cloned().chain(good).chain(objects) {
            state.apply(Change::Apply(object));
        }
        for namespace in self.gone.values() {
            state.apply(Change::Delete(namespace.reference()));
        }
        if !early {
            time(&mut state);
        }
        for (name, addresses) in &self.resolved {
            state.apply(Change::Resolved {
                name: name.clone(),
                addresses: addresses.clone(),
            });
        }
        for diagnostic in self.broken.values() {
            state.apply(Change::Broken(diagnostic.clone()));
        }
        state.apply(Change::Listed);
        state
    }
}
