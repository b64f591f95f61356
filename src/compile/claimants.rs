//! Replaces one object of a dialect by its new version: its claims and its backends.

use super::State;
use super::canaries::beside;
use super::claims::{Claimed, Edits};
use super::host_wide::Part;
use super::links::{Cause, User};
use super::tls::Hosts;
use crate::dialect::annotations::AccessWanted;
use crate::dialect::annotations::nginx::Beside;
use crate::dialect::claimant::Claimant;
use crate::dialect::reading::{BackendKey, Claim, Reading, Spot};
use crate::dialect::{Dialect, Object};
use crate::model::object::{Meta, Secret};
use crate::model::{Kind, ObjectRef, Origin, Seniority};
use crate::table::route::Age;
use crate::table::{BackendSettings, Before, Canary, Destination, Guard, HostPattern, Policies, Served, Split, Terms};
use hashbrown::HashTable;
use http::StatusCode;
use std::collections::{BTreeSet, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

/// An object of a dialect that is known. What it claims is not kept: reading it again, when it goes or is spoken of, costs
/// less than keeping it.
#[derive(Debug)]
pub(super) struct Known {
    pub claimant: Arc<dyn Claimant>,
    /// Whether it is ours.
    pub served: bool,
    /// By whose rules it is read.
    pub dialect: Dialect,
    /// What it is read with beside itself, by that dialect.
    pub beside: Option<Arc<Beside>>,
    /// Whether it or its namespace is being deleted.
    leaving: bool,
    /// Whether it claims what it says and shows its certificates: a Route may be refused as a whole.
    admitted: bool,
}

/// The known objects of dialects by kind, namespace and name, each in a slot that others refer to it by. Their names are
/// their own: a map would keep each a second time.
#[derive(Debug, Default)]
pub(super) struct Claimants {
    slots: Vec<Option<Known>>,
    free: Vec<u32>,
    by_name: HashTable<u32>,
    hasher: RandomState,
}

/// The slot an object has, or is to have.
pub(super) type Slot = u32;

impl Claimants {
    fn hash(&self, object: &ObjectRef) -> u64 {
        self.hasher.hash_one(object)
    }

    pub fn at(&self, slot: Slot) -> Option<&Known> {
        self.slots.get(slot as usize)?.as_ref()
    }

    pub fn get(&self, object: &ObjectRef) -> Option<&Known> {
        let is_it = |slot: &Slot| self.at(*slot).is_some_and(|known| known.is(object));
        let slot = self.by_name.find(self.hash(object), is_it)?;
        self.at(*slot)
    }

    /// Takes an object out, but keeps its slot, or one for it where it is not known.
    fn take(&mut self, object: &ObjectRef) -> (Slot, Option<Known>) {
        let hash = self.hash(object);
        let slots = &mut self.slots;
        let found = self.by_name.find_entry(hash, |slot| {
            let known = slots.get(*slot as usize).and_then(Option::as_ref);
            known.is_some_and(|known| known.is(object))
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

    /// Puts an object, or nothing, into the slot that [`Claimants::take`] gave.
    fn put(&mut self, slot: Slot, known: Option<Known>) {
        let Some(known) = known else {
            self.free.push(slot);
            return;
        };
        let hash = self.hash(&known.claimant.reference());
        if let Some(place) = self.slots.get_mut(slot as usize) {
            *place = Some(known);
        }
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.by_name.insert_unique(hash, slot, |slot| {
            let known = slots.get(*slot as usize).and_then(Option::as_ref);
            known.map_or(0, |known| hasher.hash_one(known.claimant.reference()))
        });
    }

    pub fn iter(&self) -> impl Iterator<Item = &Known> {
        self.slots.iter().flatten()
    }
}

impl Known {
    /// Where its claims stand among those of others.
    pub fn seniority(&self) -> Seniority {
        Seniority {
            leaving: self.leaving,
            ..self.claimant.seniority()
        }
    }

    /// What it refers to by itself, beside its backends: with `reading` where it is served.
    fn causes(&self, reading: Option<&Reading>) -> BTreeSet<Cause> {
        let namespace = &self.claimant.meta().namespace;
        let entries = reading.into_iter().flat_map(|reading| &reading.tls);
        let secrets = entries
            .filter(|entry| !entry.secret.is_empty())
            .map(|entry| Cause::secret((namespace.clone(), entry.secret.clone())));
        let access = reading.map(|reading| &reading.settings.access);
        let users = access.into_iter().flat_map(AccessWanted::secrets);
        let users = users.map(|name| (namespace.clone(), name.clone()));
        let authorities = reading.and_then(|reading| reading.settings.clients.secret.as_ref());
        let authorities = authorities.map(|(_, name)| (namespace.clone(), name.clone()));
        let read = users.chain(authorities);
        let read = read.flat_map(|secret| [Cause::secret(secret.clone()), Cause::Users(secret)]);
        let keys = access.and_then(|access| access.keys(Kind::ConfigMap));
        let keys = keys.map(|name| Cause::config_map((namespace.clone(), name.clone())));
        let key_set = access.and_then(|access| access.key_set());
        let key_set = key_set.map(|url| Cause::Users(super::token_keys::of_url(url)));
        let class = self.claimant.class().map(Cause::class);
        secrets
            .chain(read)
            .chain(keys)
            .chain(key_set)
            .chain(class)
            .chain([Cause::namespace(namespace)])
            .collect()
    }

    fn is(&self, object: &ObjectRef) -> bool {
        let meta = self.claimant.meta();
        meta.name == object.name && meta.namespace == object.namespace && self.claimant.kind() == object.kind
    }
}

impl State {
    pub(super) fn put_claimant(&mut self, reference: ObjectRef, object: &Object, claimant: Arc<dyn Claimant>) {
        let known = self.claimants.get(&reference);
        if known.is_none_or(|old| old.claimant.clone().object() != *object) {
            self.recompile(reference, claimant);
        }
    }

    pub(super) fn recompile(&mut self, object: ObjectRef, claimant: Arc<dyn Claimant>) {
        let dialect = self.serves(&*claimant);
        let beside = self.beside(&*claimant, dialect.as_ref().copied().unwrap_or_default());
        let leaving = self.is_leaving(claimant.meta());
        self.swap(
            object,
            Some(Known {
                beside,
                claimant,
                served: dialect.is_ok(),
                dialect: dialect.unwrap_or_default(),
                leaving,
                admitted: false,
            }),
        );
    }

    pub(super) fn delete_claimant(&mut self, object: &ObjectRef) {
        self.swap(object.clone(), None);
        self.forget_namespace(&object.namespace);
    }

    fn swap(&mut self, object: ObjectRef, new: Option<Known>) {
        self.stale.insert(object.clone());
        let (slot, old) = self.claimants.take(&object);
        let user = User::Object(slot);
        let read = |known: &'_ Known| {
            let mut reading = known
                .claimant
                .read(self.options.context(known.dialect, known.beside.as_ref()));
            reading.seniority.leaving = known.leaving;
            reading
        };
        let old_reading = old
            .as_ref()
            .filter(|old| old.served)
            .map(|old| (read(old), old.claimant.meta()));
        let new_reading = new
            .as_ref()
            .filter(|new| new.served)
            .map(|new| (read(new), new.claimant.meta()));
        let old_backends = backends(old_reading.as_ref().map(|(reading, _)| reading));
        let new_backends = backends(new_reading.as_ref().map(|(reading, _)| reading));
        let causes = |known: &Option<Known>, read: &Option<(Reading, &Meta)>| {
            let reading = read.as_ref().map(|(reading, _)| reading);
            let mut causes = known.as_ref().map(|known| known.causes(reading)).unwrap_or_default();
            if let Some(known) = known {
                causes.extend(self.config_maps_of(&*known.claimant, known.dialect));
            }
            causes
        };
        let (old_causes, new_causes) = (causes(&old, &old_reading), causes(&new, &new_reading));
        self.links.relink(&old_causes, &new_causes, user);
        // The new backends are held before the old are let go, so that one that stays keeps its identity.
        for backend in &new_backends {
            self.hold_backend(backend, user);
        }
        let old_guards = old_reading.as_ref().map(|(reading, _)| &reading.guards);
        let class_guard = new.as_ref().and_then(|new| self.class_guard(&*new.claimant));
        let new_guards = new_reading
            .as_ref()
            .map(|(reading, _)| (&reading.guards, class_guard.as_ref()));
        let readings = old_reading.iter().chain(&new_reading);
        let touched = readings.flat_map(|(reading, _)| hosts(reading));
        self.guard_hosts(&object, old_guards, new_guards, touched);
        let mut edits = Edits::new();
        for spot in old_reading.iter().flat_map(|(reading, _)| spots(reading)) {
            edits.entry(spot).or_default();
        }
        let mut parts = Vec::new();
        self.set_own_secret(old.as_ref(), new.as_ref());
        if let Some((reading, meta)) = &new_reading {
            self.need_secrets(reading, meta);
            self.need_users(reading, meta);
        }
        // What is not admitted claims nothing.
        let admitted = new_reading
            .as_ref()
            .filter(|(reading, meta)| self.refused(reading, meta).is_none());
        let contested = self.claim_hosts(&object, old_reading.as_ref(), admitted);
        if let Some((reading, meta)) = admitted {
            let guard = reading.guards.rules.as_ref().or(class_guard.as_ref());
            parts = self.claim(&object, (reading, meta), guard, &mut edits);
        }
        self.set_host_parts(&object, old_reading.as_ref().map(|(reading, _)| reading), parts);
        for backend in old_backends.difference(&new_backends) {
            self.drop_backend(backend, user);
        }
        let served = new_reading
            .as_ref()
            .is_some_and(|(reading, _)| !reading.claims.is_empty());
        let served = new.as_ref().filter(|_| served).map(|new| Served {
            object: object.clone(),
            created: new.claimant.meta().created,
            revision: new.claimant.revision().clone(),
            admission: None,
        });
        if object.kind != Kind::Route {
            self.changed |= self.table.set_served(&object, served);
        }
        let hosts = |reading: &'_ Option<(Reading, &Meta)>| {
            let hosts = reading.as_ref().map(|(reading, _)| reading.patterns.clone());
            hosts.unwrap_or_default()
        };
        self.set_client_parts(&object, &old_reading, &new_reading);
        self.set_pattern_hosts(&object, &hosts(&old_reading), &hosts(&new_reading));
        self.settle(&object, edits);
        for (host, all) in contested {
            self.settle_claims_of(&host, all);
        }
        self.note_admission(&object);
        // Of one that was refused nothing was shown, so there is nothing that could stay.
        let was_admitted = old.as_ref().is_some_and(|old| old.admitted);
        let shown = old_reading.as_ref().filter(|_| was_admitted);
        let is_admitted = admitted.is_some();
        self.settle_tls(&object, shown, admitted);
        let new = new.map(|new| Known {
            admitted: is_admitted,
            ..new
        });
        self.claimants.put(slot, new);
    }

    /// Gives what it claims, and what it decides for its hosts.
    fn claim(
        &self,
        object: &ObjectRef,
        (reading, meta): (&Reading, &Meta),
        guard: Option<&Arc<Guard>>,
        edits: &mut Edits,
    ) -> Vec<(HostPattern, Part)> {
        let redirected = self.redirected(reading, meta);
        let (settings, closed) = self.with_access(object, reading);
        let settings = self.with_mirrors(self.with_error_pages(settings, reading));
        let guard = guard.or(closed.as_ref());
        let make = |redirect| self.share_policies(settings.policies(redirect, guard.cloned(), None));
        let (plain, redirecting) = (make(false), make(true));
        let policies = |claim: &Claim| {
            let host = claim.spot.host();
            let begins = |with: &[Box<str>]| with.iter().any(|with| claim.spot.path().starts_with(&**with));
            let unasked = !settings.access.is_empty() && begins(&settings.unasked);
            let stays_plain = redirected.has(host) && begins(&settings.plain);
            if claim.rewrite.is_some() || claim.guard.is_some() || claim.closing_slash || unasked || stays_plain {
                let guard = guard.or(claim.guard.as_ref());
                let redirect = redirected.has(host) && !stays_plain;
                let mut policies = settings.policies(redirect, guard.cloned(), claim.rewrite.as_ref());
                if unasked {
                    policies.ask_nobody();
                }
                Arc::new(Policies {
                    closing_slash: claim.closing_slash,
                    ..policies
                })
            } else if redirected.has(host) {
                redirecting.clone()
            } else {
                plain.clone()
            }
        };
        let spare = reading.spare.as_ref().map(|spare| self.backend_id(spare));
        let rule = reading.settings.canary_service.as_ref().map(|canary| &canary.rule);
        let canary = |claim: &Claim| {
            Some(Canary {
                to: self.backend_id(claim.canary.as_ref()?),
                rule: rule?.clone(),
                own: true,
            })
        };
        let claimed = |claim: &Claim, to, policies| Claimed {
            age: Age {
                seniority: reading.seniority,
                origin: Origin {
                    object: object.clone(),
                    field: claim.field,
                },
            },
            to,
            keep_slashes: reading.settings.keep_slashes,
            policies,
            canary: reading.settings.canary.clone(),
        };
        for claim in &reading.claims {
            let policies = policies(claim);
            let to = if claim.shares.is_empty() {
                beside(self.backend_id(&claim.backend), canary(claim), spare)
            } else {
                let shares = claim.shares.iter();
                let shares = shares.map(|share| (self.backend_id(&share.backend), share.weight));
                Destination::Split(Arc::new(Split(shares.collect())))
            };
            edits
                .entry(claim.spot.clone())
                .or_default()
                .push(claimed(claim, to, policies));
        }
        self.host_parts(object, reading, |host| {
            let policies = if redirected.has(host) { &redirecting } else { &plain };
            policies.clone()
        })
    }

    /// Replaces the Secret that stands for what is written into an object.
    fn set_own_secret(&mut self, old: Option<&Known>, new: Option<&Known>) {
        let secret = |known: Option<&Known>| known.filter(|known| known.served)?.claimant.secret();
        let (old, new) = (secret(old), secret(new));
        if old == new {
            return;
        }
        let key = |secret: &Secret| (secret.meta.namespace.clone(), secret.meta.name.clone());
        if let Some(key) = old.iter().chain(&new).map(|secret| key(secret)).next() {
            self.replace_secret(&key, new);
        }
    }

    /// The hosts of an object that are sent to HTTPS.
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
            before: Box::new([Before::RedirectToHttps(StatusCode::PERMANENT_REDIRECT)]),
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
    let asked = reading
        .into_iter()
        .flat_map(|reading| reading.settings.access.backends());
    let of_claims = claims.flat_map(|claim| {
        let backends = claim.backends().map(|(_, backend)| backend);
        backends.chain(&claim.canary)
    });
    let others = reading.into_iter().flat_map(|reading| {
        let others = [&reading.spare, &reading.error_pages, &reading.rest];
        others.into_iter().flatten()
    });
    let mirrors = reading.into_iter().flat_map(|reading| &reading.settings.mirrors);
    let all = of_claims.chain(asked).chain(others);
    all.chain(mirrors.map(|mirror| &mirror.to)).collect()
}

/// What an object claims.
fn spots(reading: &Reading) -> impl Iterator<Item = Spot> {
    reading.claims.iter().map(|claim| claim.spot.clone())
}

/// The hosts it claims something of.
pub(super) fn hosts(reading: &Reading) -> HashSet<HostPattern> {
    reading.claims.iter().map(|claim| claim.spot.host().clone()).collect()
}
