//! One Ingress put in the place of the one there was: its claims and backends.

use super::backends::BackendKey;
use super::claims::{Claim, Claimed, Touched};
use super::{Key, State, read};
use crate::model::object::Ingress;
use crate::model::{Diagnostic, Kind, ObjectRef};
use crate::table::route::Age;
use crate::table::{HostPattern, Policies};
use std::sync::Arc;

/// An Ingress as compiled.
#[derive(Debug)]
pub(super) struct Compiled {
    pub ingress: Arc<Ingress>,
    /// Whether it is ours; otherwise why not.
    pub served: Result<(), String>,
    pub claims: Vec<Claim>,
    /// The default backend and the hosts it is for; no hosts for an Ingress without rules.
    pub default: Option<(BackendKey, Vec<HostPattern>)>,
    /// What its routes do besides forwarding.
    pub policies: Policies,
    /// What is wrong with it by itself.
    pub findings: Vec<Diagnostic>,
}

impl Compiled {
    fn backends(&self) -> impl Iterator<Item = &BackendKey> {
        let default = self.default.iter().map(|(backend, _)| backend);
        self.claims.iter().map(|claim| &claim.backend).chain(default)
    }

    /// The age of a claim at a place in this Ingress.
    pub fn age(&self, place: (u32, u32)) -> Age {
        let meta = &self.ingress.meta;
        Age {
            created: meta.created,
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
            place,
        }
    }

    /// The age of its default backend.
    pub fn default_age(&self) -> Age {
        self.age((u32::MAX, u32::MAX))
    }
}

impl State {
    pub(super) fn put_ingress(&mut self, key: Key, ingress: Arc<Ingress>) {
        if self.ingresses.get(&key).is_none_or(|old| old.ingress != ingress) {
            self.recompile_ingress(key, ingress);
        }
    }

    pub(super) fn recompile_ingress(&mut self, key: Key, ingress: Arc<Ingress>) {
        let served = self.serves(&ingress);
        let compiled = if served.is_ok() {
            read::read(ingress)
        } else {
            Compiled {
                ingress,
                served,
                claims: Vec::new(),
                default: None,
                policies: Policies::default(),
                findings: Vec::new(),
            }
        };
        self.swap_ingress(key, Some(compiled));
    }

    pub(super) fn delete_ingress(&mut self, key: &Key) {
        self.swap_ingress(key.clone(), None);
    }

    /// Puts the claims of one Ingress in the place of those it had.
    fn swap_ingress(&mut self, key: Key, new: Option<Compiled>) {
        let old = self.ingresses.remove(&key);
        self.stale
            .insert(ObjectRef::new(Kind::Ingress, key.0.clone(), key.1.clone()));
        let mut touched = Touched::default();
        // The new backends are held before the old are let go, so that one that stays keeps its identity.
        if let Some(new) = &new {
            for backend in new.backends() {
                self.hold_backend(backend, &key);
            }
        }
        if let Some(old) = &old {
            self.release(old, &mut touched);
        }
        if let Some(new) = &new {
            self.claim(new, &mut touched);
        }
        if let Some(old) = &old {
            for backend in old.backends() {
                self.drop_backend(backend, &key);
            }
        }
        self.settle(touched);
        if let Some(new) = new {
            self.ingresses.insert(key, new);
        }
    }

    fn claim(&mut self, new: &Compiled, touched: &mut Touched) {
        let policies = self.share_policies(&new.policies);
        for claim in &new.claims {
            self.touch_path(touched, &claim.host, &claim.path);
            let claimed = Claimed {
                age: new.age(claim.place),
                backend: self.backend_id(&claim.backend),
                policies: policies.clone(),
            };
            self.claim_path(&claim.host, &claim.path, claimed);
        }
        let Some((backend, hosts)) = &new.default else { return };
        let claimed = Claimed {
            age: new.default_age(),
            backend: self.backend_id(backend),
            policies,
        };
        for host in hosts {
            self.touch_default(touched, host);
            self.claim_default(host, claimed.clone());
        }
        if hosts.is_empty() {
            self.touch_fallback(touched);
            self.claim_fallback(claimed);
        }
    }

    fn release(&mut self, old: &Compiled, touched: &mut Touched) {
        for claim in &old.claims {
            self.touch_path(touched, &claim.host, &claim.path);
            self.release_path(&claim.host, &claim.path, &old.age(claim.place));
        }
        let Some((_, hosts)) = &old.default else { return };
        for host in hosts {
            self.touch_default(touched, host);
            self.release_default(host, &old.default_age());
        }
        if hosts.is_empty() {
            self.touch_fallback(touched);
            self.release_fallback(&old.default_age());
        }
    }

    /// Most Ingresses have no settings, so all of them share one.
    fn share_policies(&self, policies: &Policies) -> Arc<Policies> {
        if *policies == Policies::default() {
            self.no_policies.clone()
        } else {
            Arc::new(policies.clone())
        }
    }
}
