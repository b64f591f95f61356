//! One Ingress put in the place of the one there was: its claims and backends.

use super::backends::BackendKey;
use super::claims::{Claimed, Edits, Spot};
use super::classes::class_of;
use super::links::{Cause, User};
use super::read::{DEFAULT, Reading, read};
use super::tls::Hosts;
use super::{Key, State};
use crate::model::object::{Ingress, Meta};
use crate::model::{Kind, ObjectRef, Origin, Seniority};
use crate::table::route::Age;
use crate::table::{BackendSettings, Before, Destination, Guard, HostPattern, Policies, ServedIngress, Terms};
use hashbrown::HashTable;
use std::collections::{BTreeSet, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

/// An Ingress that is known. What it claims is not kept: reading it again, when it goes or is spoken of, costs less
/// than keeping it.
#[derive(Debug)]
pub(super) struct Known {
    pub ingress: Arc<Ingress>,
    /// Whether it is ours.
    pub served: bool,
    /// Where its claims stand among those of others.
    pub seniority: Seniority,
}

/// The known Ingresses by namespace and name, each in a slot that others refer to it by. Their names are their own: a
/// map would keep each a second time.
#[derive(Debug, Default)]
pub(super) struct Ingresses {
    slots: Vec<Option<Known>>,
    free: Vec<u32>,
    by_name: HashTable<u32>,
    hasher: RandomState,
}

/// The slot an Ingress has, or is to have.
pub(super) type Slot = u32;

impl Ingresses {
    fn hash(&self, namespace: &str, name: &str) -> u64 {
        self.hasher.hash_one((namespace, name))
    }

    pub fn at(&self, slot: Slot) -> Option<&Known> {
        self.slots.get(slot as usize)?.as_ref()
    }

    pub fn get(&self, (namespace, name): &Key) -> Option<&Known> {
        let is_it = |slot: &Slot| self.at(*slot).is_some_and(|known| known.is(namespace, name));
        let slot = self.by_name.find(self.hash(namespace, name), is_it)?;
        self.at(*slot)
    }

    /// Takes an Ingress out, but keeps its slot, or one for it where it is not known.
    fn take(&mut self, (namespace, name): &Key) -> (Slot, Option<Known>) {
        let hash = self.hash(namespace, name);
        let slots = &mut self.slots;
        let found = self.by_name.find_entry(hash, |slot| {
            let known = slots.get(*slot as usize).and_then(Option::as_ref);
            known.is_some_and(|known| known.is(namespace, name))
        });
        if let Ok(found) = found {
            let (slot, _) = found.remove();
            return (slot, slots.get_mut(slot as usize).and_then(Option::take));
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            slots.push(None);
            Slot::try_from(slots.len() - 1).unwrap_or(Slot::MAX)
        });
        (slot, None)
    }

    /// Puts an Ingress, or nothing, into the slot that [`Ingresses::take`] gave.
    fn put(&mut self, slot: Slot, known: Option<Known>) {
        let Some(known) = known else {
            self.free.push(slot);
            return;
        };
        let hash = self.hash(&known.ingress.meta.namespace, &known.ingress.meta.name);
        if let Some(place) = self.slots.get_mut(slot as usize) {
            *place = Some(known);
        }
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.by_name.insert_unique(hash, slot, |slot| {
            let known = slots.get(*slot as usize).and_then(Option::as_ref);
            known.map_or(0, |known| {
                let meta = &known.ingress.meta;
                hasher.hash_one((&*meta.namespace, &*meta.name))
            })
        });
    }

    pub fn iter(&self) -> impl Iterator<Item = &Known> {
        self.slots.iter().flatten()
    }

    pub fn len(&self) -> usize {
        self.by_name.len()
    }
}

impl Known {
    pub fn object(&self) -> ObjectRef {
        let meta = &self.ingress.meta;
        ObjectRef::new(Kind::Ingress, meta.namespace.clone(), meta.name.clone())
    }

    /// What it refers to by itself, beside its backends: with `reading` where it is served.
    fn causes(&self, reading: Option<&Reading>) -> BTreeSet<Cause> {
        let namespace = &self.ingress.meta.namespace;
        let entries = reading.into_iter().flat_map(|reading| &reading.tls);
        let secrets = entries
            .filter(|entry| !entry.secret.is_empty())
            .map(|entry| Cause::secret((namespace.clone(), entry.secret.clone())));
        let class = class_of(&self.ingress).map(Cause::class);
        secrets.chain(class).chain([Cause::namespace(namespace)]).collect()
    }

    fn is(&self, namespace: &str, name: &str) -> bool {
        let meta = &self.ingress.meta;
        &*meta.name == name && &*meta.namespace == namespace
    }
}

impl State {
    pub(super) fn put_ingress(&mut self, key: Key, ingress: Arc<Ingress>) {
        if self.ingresses.get(&key).is_none_or(|old| old.ingress != ingress) {
            self.recompile_ingress(key, ingress);
        }
    }

    pub(super) fn recompile_ingress(&mut self, key: Key, ingress: Arc<Ingress>) {
        let served = self.serves(&ingress).is_ok();
        let seniority = self.seniority(&ingress);
        self.swap_ingress(
            key,
            Some(Known {
                ingress,
                served,
                seniority,
            }),
        );
    }

    pub(super) fn delete_ingress(&mut self, key: &Key) {
        self.swap_ingress(key.clone(), None);
        self.forget_namespace(key);
    }

    fn swap_ingress(&mut self, key: Key, new: Option<Known>) {
        let object = ObjectRef::new(Kind::Ingress, key.0.clone(), key.1.clone());
        self.stale.insert(object.clone());
        let (slot, old) = self.ingresses.take(&key);
        let user = User::Object(slot);
        let read = |known: &'_ Known| {
            let mut reading = read(&known.ingress, &self.options);
            reading.seniority = known.seniority;
            reading
        };
        let old_reading = old
            .as_ref()
            .filter(|old| old.served)
            .map(|old| (read(old), &old.ingress.meta));
        let new_reading = new
            .as_ref()
            .filter(|new| new.served)
            .map(|new| (read(new), &new.ingress.meta));
        let old_backends = backends(old_reading.as_ref().map(|(reading, _)| reading));
        let new_backends = backends(new_reading.as_ref().map(|(reading, _)| reading));
        let causes = |known: &Option<Known>, read: &Option<(Reading, &Meta)>| {
            let reading = read.as_ref().map(|(reading, _)| reading);
            known.as_ref().map(|known| known.causes(reading)).unwrap_or_default()
        };
        self.links
            .relink(&causes(&old, &old_reading), &causes(&new, &new_reading), user);
        // The new backends are held before the old are let go, so that one that stays keeps its identity.
        for backend in &new_backends {
            self.hold_backend(backend, user);
        }
        let old_guards = old_reading.as_ref().map(|(reading, _)| &reading.guards);
        let class_guard = new.as_ref().and_then(|new| self.class_guard(&new.ingress));
        let new_guards = new_reading
            .as_ref()
            .map(|(reading, _)| (&reading.guards, class_guard.as_ref()));
        let readings = old_reading.iter().chain(&new_reading);
        let touched = readings.flat_map(|(reading, _)| hosts(reading));
        self.guard_hosts(&key, old_guards, new_guards, touched);
        let mut edits = Edits::new();
        for spot in old_reading.iter().flat_map(|(reading, _)| spots(reading)) {
            edits.entry(spot).or_default();
        }
        if let Some((reading, meta)) = &new_reading {
            self.need_secrets(reading, meta);
            let guard = reading.guards.rules.as_ref().or(class_guard.as_ref());
            self.claim(&object, (reading, meta), guard, &mut edits);
        }
        for backend in old_backends.difference(&new_backends) {
            self.drop_backend(backend, user);
        }
        let served = new_reading
            .as_ref()
            .is_some_and(|(reading, _)| spots(reading).next().is_some());
        let served = new.as_ref().filter(|_| served).map(|new| ServedIngress {
            object: object.clone(),
            created: new.ingress.meta.created,
            revision: new.ingress.revision.clone(),
        });
        self.changed |= self.table.set_ingress(&object, served);
        self.settle(&object, edits);
        self.settle_tls(&key, old_reading.as_ref(), new_reading.as_ref());
        self.ingresses.put(slot, new);
    }

    fn claim(
        &self,
        object: &ObjectRef,
        (reading, meta): (&Reading, &Meta),
        guard: Option<&Arc<Guard>>,
        edits: &mut Edits,
    ) {
        let redirected = self.redirected(reading, meta);
        let make = |redirect| self.share_policies(reading.settings.policies(redirect, guard.cloned()));
        let (plain, redirecting) = (make(false), make(true));
        let policies = |host: &HostPattern| {
            if redirected.has(host) {
                redirecting.clone()
            } else {
                plain.clone()
            }
        };
        let claimed = |backend, field, policies| Claimed {
            age: Age {
                seniority: reading.seniority,
                origin: Origin {
                    object: object.clone(),
                    field,
                },
            },
            to: Destination::Backend(self.backend_id(backend)),
            keep_slashes: reading.settings.keep_slashes,
            policies,
        };
        for claim in &reading.claims {
            let spot = Spot::Path(claim.host.clone(), claim.path.clone());
            let policies = policies(&claim.host);
            edits
                .entry(spot)
                .or_default()
                .push(claimed(&claim.backend, claim.field, policies));
        }
        if let Some((backend, _)) = &reading.default {
            for spot in default_spots(reading) {
                let policies = policies(spot.host());
                edits.entry(spot).or_default().push(claimed(backend, DEFAULT, policies));
            }
        }
    }

    /// The hosts of an Ingress that are sent to HTTPS.
    fn redirected<'r>(&'r self, reading: &'r Reading, meta: &Meta) -> Hosts<'r> {
        match reading.settings.ssl_redirect {
            Some(true) => Hosts::All,
            Some(false) => Hosts::default(),
            None if !self.options.ssl_redirect => Hosts::default(),
            None => Hosts::of(&reading.tls, |secret| {
                self.secrets
                    .certificate(&(meta.namespace.clone(), secret.clone()))
                    .map(|certificate| &**certificate)
            }),
        }
    }

    fn share_policies(&self, policies: Policies) -> Arc<Policies> {
        let known = self.common.policies.iter().find(|known| ***known == policies);
        known.cloned().unwrap_or_else(|| Arc::new(policies))
    }
}

/// What most routes and backends have: all that ask for no more share these.
#[derive(Debug)]
pub(super) struct Common {
    policies: [Arc<Policies>; 2],
    pub settings: Arc<BackendSettings>,
    pub terms: Arc<Terms>,
}

impl Default for Common {
    fn default() -> Self {
        let redirect = Policies {
            before: Box::new([Before::RedirectToHttps]),
            ..Policies::default()
        };
        Self {
            policies: [Arc::default(), Arc::new(redirect)],
            settings: Arc::default(),
            terms: Arc::default(),
        }
    }
}

fn backends(reading: Option<&Reading>) -> HashSet<&BackendKey> {
    let claims = reading.into_iter().flat_map(|reading| &reading.claims);
    let default = reading.and_then(|reading| reading.default.as_ref());
    claims
        .map(|claim| &claim.backend)
        .chain(default.map(|(backend, _)| backend))
        .collect()
}

/// What an Ingress claims.
fn spots(reading: &Reading) -> impl Iterator<Item = Spot> {
    let paths = reading.claims.iter();
    paths
        .map(|claim| Spot::Path(claim.host.clone(), claim.path.clone()))
        .chain(default_spots(reading))
}

/// The hosts it claims something of.
pub(super) fn hosts(reading: &Reading) -> HashSet<HostPattern> {
    spots(reading).map(|spot| spot.host().clone()).collect()
}

/// What its default backend claims: its hosts', or that of all hosts where it has no rules.
pub(super) fn default_spots(reading: &Reading) -> impl Iterator<Item = Spot> {
    let hosts = reading.default.as_ref().map(|(_, hosts)| hosts);
    let of_all = hosts.is_some_and(Vec::is_empty).then_some(Spot::Fallback);
    let of_hosts = hosts.into_iter().flatten();
    of_hosts.cloned().map(Spot::Default).chain(of_all)
}
