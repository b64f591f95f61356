//! Who claims which host and path, and who gets it: the oldest.

use super::State;
use super::backends::BackendKey;
use crate::model::{Kind, ObjectRef, Origin};
use crate::table::route::{Age, MAX_SHADOWS};
use crate::table::{BackendId, HostPattern, PathPattern, Policies, Route};
use smallvec::SmallVec;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// One claim to a host and path, in one Ingress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub host: HostPattern,
    pub path: PathPattern,
    pub backend: BackendKey,
    /// Rule and path index; `u32::MAX` for the path of a rule without paths.
    pub place: (u32, u32),
}

/// A claim as its host knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claimed {
    pub age: Age,
    pub backend: BackendId,
    pub policies: Arc<Policies>,
}

/// Claims to the same thing in order of age; the first is the one that counts. Mostly there is one.
pub(super) type Claims = SmallVec<[Claimed; 1]>;

/// All claims to one host.
#[derive(Debug, Default)]
pub(super) struct HostClaims {
    pub paths: HashMap<PathPattern, Claims>,
    pub defaults: Claims,
}

/// What must be looked at again after claims changed, with who had it before.
#[derive(Default)]
pub(super) struct Touched {
    hosts: BTreeMap<HostPattern, TouchedHost>,
    /// Whether the default backends of Ingresses without rules changed.
    fallback: Option<Option<Age>>,
}

#[derive(Default)]
struct TouchedHost {
    paths: HashMap<PathPattern, Option<Age>>,
    default: Option<Option<Age>>,
}

fn insert(list: &mut Claims, claimed: Claimed) {
    let at = list.partition_point(|other| other.age < claimed.age);
    list.insert(at, claimed);
}

fn remove(list: &mut Claims, age: &Age) {
    if let Ok(at) = list.binary_search_by(|other| other.age.cmp(age)) {
        list.remove(at);
    }
}

fn owner(age: &Age) -> ObjectRef {
    ObjectRef::new(Kind::Ingress, age.namespace.clone(), age.name.clone())
}

pub(super) fn origin(age: &Age) -> Origin {
    let (rule, path) = age.place;
    Origin {
        object: owner(age),
        rule: (rule != u32::MAX).then_some(rule),
        path: (path != u32::MAX).then_some(path),
    }
}

fn first(list: Option<&Claims>) -> Option<Age> {
    Some(list?.first()?.age.clone())
}

impl State {
    /// Notes that claims to a path change; call before they do.
    pub(super) fn touch_path(&self, touched: &mut Touched, host: &HostPattern, path: &PathPattern) {
        let of_host = touched.hosts.entry(host.clone()).or_default();
        of_host
            .paths
            .entry(path.clone())
            .or_insert_with(|| first(self.hosts.get(host).and_then(|claims| claims.paths.get(path))));
    }

    /// Notes that claims to be a host's default backend change; call before they do.
    pub(super) fn touch_default(&self, touched: &mut Touched, host: &HostPattern) {
        let of_host = touched.hosts.entry(host.clone()).or_default();
        of_host
            .default
            .get_or_insert_with(|| first(self.hosts.get(host).map(|claims| &claims.defaults)));
    }

    /// Notes that the default backends of Ingresses without rules change; call before they do.
    pub(super) fn touch_fallback(&self, touched: &mut Touched) {
        touched.fallback.get_or_insert_with(|| first(Some(&self.fallbacks)));
    }

    pub(super) fn claim_path(&mut self, host: &HostPattern, path: &PathPattern, claimed: Claimed) {
        let claims = self.hosts.entry(host.clone()).or_default();
        insert(claims.paths.entry(path.clone()).or_default(), claimed);
    }

    pub(super) fn release_path(&mut self, host: &HostPattern, path: &PathPattern, age: &Age) {
        let Some(claims) = self.hosts.get_mut(host) else { return };
        if let Some(list) = claims.paths.get_mut(path) {
            remove(list, age);
            if list.is_empty() {
                claims.paths.remove(path);
            }
        }
        self.drop_empty_host(host);
    }

    pub(super) fn claim_default(&mut self, host: &HostPattern, claimed: Claimed) {
        insert(&mut self.hosts.entry(host.clone()).or_default().defaults, claimed);
    }

    pub(super) fn release_default(&mut self, host: &HostPattern, age: &Age) {
        let Some(claims) = self.hosts.get_mut(host) else { return };
        remove(&mut claims.defaults, age);
        self.drop_empty_host(host);
    }

    pub(super) fn claim_fallback(&mut self, claimed: Claimed) {
        insert(&mut self.fallbacks, claimed);
    }

    pub(super) fn release_fallback(&mut self, age: &Age) {
        remove(&mut self.fallbacks, age);
    }

    fn drop_empty_host(&mut self, host: &HostPattern) {
        if self
            .hosts
            .get(host)
            .is_some_and(|claims| claims.paths.is_empty() && claims.defaults.is_empty())
        {
            self.hosts.remove(host);
        }
    }

    /// Brings the table up to date with the claims to what was touched.
    pub(super) fn settle(&mut self, touched: Touched) {
        for (host, of_host) in touched.hosts {
            let claims = self.hosts.get(&host);
            let mut routes = Vec::with_capacity(of_host.paths.len());
            for (pattern, before) in of_host.paths {
                let list = claims.and_then(|claims| claims.paths.get(&pattern));
                mark_losers(&mut self.stale, before.as_ref(), list);
                let route = list.and_then(|list| make_route(&host, Some(&pattern), list));
                routes.push((pattern, route));
            }
            let default = of_host.default.map(|before| {
                let list = claims.map(|claims| &claims.defaults);
                mark_losers(&mut self.stale, before.as_ref(), list);
                list.and_then(|list| make_route(&host, None, list))
            });
            self.changed = true;
            self.table.update_host(&host, |table| {
                for (pattern, route) in routes {
                    table.paths.set(pattern.kind, &pattern.path, route);
                }
                if let Some(default) = default {
                    table.default = default;
                }
            });
        }
        if let Some(before) = touched.fallback {
            mark_losers(&mut self.stale, before.as_ref(), Some(&self.fallbacks));
            self.table
                .set_fallback(make_route(&HostPattern::Any, None, &self.fallbacks));
            self.changed = true;
        }
    }

    /// Who holds a path.
    pub(super) fn holder(&self, host: &HostPattern, path: &PathPattern) -> Option<&Age> {
        Some(&self.hosts.get(host)?.paths.get(path)?.first()?.age)
    }

    /// Who holds a host's default backend.
    pub(super) fn default_holder(&self, host: &HostPattern) -> Option<&Age> {
        Some(&self.hosts.get(host)?.defaults.first()?.age)
    }

    /// Who holds the last resort.
    pub(super) fn fallback_holder(&self) -> Option<&Age> {
        Some(&self.fallbacks.first()?.age)
    }
}

/// What is said of those that lost names the one that won: it is to be said anew when another does.
fn mark_losers(stale: &mut std::collections::BTreeSet<ObjectRef>, before: Option<&Age>, list: Option<&Claims>) {
    let Some(list) = list else { return };
    if before != list.first().map(|claimed| &claimed.age) {
        stale.extend(list.iter().map(|claimed| owner(&claimed.age)));
    }
}

fn make_route(host: &HostPattern, path: Option<&PathPattern>, list: &[Claimed]) -> Option<Arc<Route>> {
    let (first, rest) = list.split_first()?;
    Some(Arc::new(Route {
        origin: origin(&first.age),
        created: first.age.created,
        host: host.clone(),
        path: path.cloned(),
        backend: first.backend,
        policies: first.policies.clone(),
        shadows: rest
            .iter()
            .take(MAX_SHADOWS)
            .map(|claimed| origin(&claimed.age))
            .collect(),
    }))
}
