//! One Ingress put in the place of the one there was: its claims and backends.

use super::backends::BackendKey;
use super::claims::{Claimed, Edits, Spot};
use super::read::{Reading, read};
use super::tls::Hosts;
use super::{Key, State};
use crate::model::object::{Ingress, Meta};
use crate::model::{Kind, ObjectRef, Seniority};
use crate::table::route::Age;
use crate::table::{BackendSettings, Guard, HostPattern, Policies, ServedIngress, Terms};
use hashbrown::HashTable;
use std::collections::HashSet;
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

/// The known Ingresses by namespace and name. Their names are their own: a map would keep each a second time.
#[derive(Debug, Default)]
pub(super) struct Ingresses {
    table: HashTable<Known>,
    hasher: RandomState,
}

impl Ingresses {
    fn hash(&self, namespace: &str, name: &str) -> u64 {
        self.hasher.hash_one((namespace, name))
    }

    pub fn get(&self, (namespace, name): &Key) -> Option<&Known> {
        self.table
            .find(self.hash(namespace, name), |known| known.is(namespace, name))
    }

    /// Puts an Ingress that is not in it.
    pub fn insert(&mut self, known: Known) {
        let hasher = &self.hasher;
        let hash = |known: &Known| {
            let meta = &known.ingress.meta;
            hasher.hash_one((&*meta.namespace, &*meta.name))
        };
        self.table.insert_unique(hash(&known), known, hash);
    }

    pub fn remove(&mut self, (namespace, name): &Key) -> Option<Known> {
        let hash = self.hash(namespace, name);
        let found = self.table.find_entry(hash, |known| known.is(namespace, name)).ok()?;
        Some(found.remove().0)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Known> {
        self.table.iter()
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }
}

impl Known {
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
        let old = self.ingresses.remove(&key).filter(|old| old.served);
        let read = |known: &'_ Known| {
            let mut reading = read(&known.ingress, &self.options);
            reading.seniority = known.seniority;
            reading
        };
        let old_reading = old.as_ref().map(|old| (read(old), &old.ingress.meta));
        let new_reading = new
            .as_ref()
            .filter(|new| new.served)
            .map(|new| (read(new), &new.ingress.meta));
        let old_backends = backends(old_reading.as_ref().map(|(reading, _)| reading));
        let new_backends = backends(new_reading.as_ref().map(|(reading, _)| reading));
        // The new backends are held before the old are let go, so that one that stays keeps its identity.
        for backend in &new_backends {
            self.hold_backend(backend, &key.1);
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
            self.claim(reading, meta, guard, &mut edits);
        }
        for backend in old_backends.difference(&new_backends) {
            self.drop_backend(backend, &key.1);
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
        self.settle(&key, edits);
        self.settle_tls(&key, old_reading.as_ref(), new_reading.as_ref());
        if let Some(new) = new {
            self.ingresses.insert(new);
        }
    }

    fn claim(&self, reading: &Reading, meta: &Meta, guard: Option<&Arc<Guard>>, edits: &mut Edits) {
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
        let claimed = |backend, place, policies| Claimed {
            age: Age {
                seniority: reading.seniority,
                namespace: meta.namespace.clone(),
                name: meta.name.clone(),
                place,
            },
            backend: self.backend_id(backend),
            policies,
        };
        for claim in &reading.claims {
            let spot = Spot::Path(claim.host.clone(), claim.path.clone());
            let policies = policies(&claim.host);
            edits
                .entry(spot)
                .or_default()
                .push(claimed(&claim.backend, claim.place, policies));
        }
        if let Some((backend, _)) = &reading.default {
            for spot in default_spots(reading) {
                let policies = policies(spot.host());
                edits
                    .entry(spot)
                    .or_default()
                    .push(claimed(backend, (u32::MAX, u32::MAX), policies));
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
            https_redirect: true,
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
