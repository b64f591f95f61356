//! Who claims which host and path, and who gets it: the oldest.

use super::backends::BackendKey;
use super::{Key, State};
use crate::model::{Kind, ObjectRef, Origin};
use crate::table::route::Age;
use crate::table::{BackendId, HostPattern, PathPattern, Policies, Route};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// One claim to a host and path, in one Ingress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub host: HostPattern,
    pub path: PathPattern,
    pub backend: BackendKey,
    /// Rule and path index.
    pub place: (u32, u32),
}

/// A claim as its host knows it, in order of age.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claimed {
    pub age: Age,
    pub backend: BackendId,
    pub policies: Arc<Policies>,
}

/// All claims to one host; each list is sorted, and its first is the one that counts.
#[derive(Debug, Default)]
pub(super) struct HostClaims {
    pub paths: HashMap<PathPattern, Vec<Claimed>>,
    pub defaults: Vec<Claimed>,
}

/// What must be looked at again after claims changed.
#[derive(Default)]
pub(super) struct Touched {
    hosts: BTreeMap<HostPattern, (BTreeSet<(Arc<str>, crate::table::PathKind)>, bool)>,
}

impl Touched {
    pub fn path(&mut self, host: &HostPattern, path: &PathPattern) {
        let entry = self.hosts.entry(host.clone()).or_default();
        entry.0.insert((path.path.clone(), path.kind));
    }

    pub fn default_backend(&mut self, host: &HostPattern) {
        self.hosts.entry(host.clone()).or_default().1 = true;
    }
}

fn insert(list: &mut Vec<Claimed>, claimed: Claimed) {
    let at = list.partition_point(|other| other.age < claimed.age);
    list.insert(at, claimed);
}

fn owner(age: &Age) -> ObjectRef {
    ObjectRef::new(Kind::Ingress, age.namespace.clone(), age.name.clone())
}

fn origin(age: &Age) -> Origin {
    let (rule, path) = age.place;
    Origin {
        object: owner(age),
        rule: (rule != u32::MAX).then_some(rule),
        path: (path != u32::MAX).then_some(path),
    }
}

impl State {
    pub(super) fn claim_path(&mut self, host: &HostPattern, path: &PathPattern, claimed: Claimed) {
        let claims = self.hosts.entry(host.clone()).or_default();
        insert(claims.paths.entry(path.clone()).or_default(), claimed);
    }

    pub(super) fn release_path(&mut self, host: &HostPattern, path: &PathPattern, age: &Age) {
        let Some(claims) = self.hosts.get_mut(host) else { return };
        if let Some(list) = claims.paths.get_mut(path) {
            list.retain(|claimed| claimed.age != *age);
            // Those behind it may move up, which changes what is said of them.
            self.stale.extend(list.iter().map(|claimed| owner(&claimed.age)));
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
        claims.defaults.retain(|claimed| claimed.age != *age);
        self.stale.extend(claims.defaults.iter().map(|claimed| owner(&claimed.age)));
        self.drop_empty_host(host);
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
        for (host, (paths, default)) in touched.hosts {
            let claims = self.hosts.get(&host);
            let mut routes = Vec::with_capacity(paths.len());
            for (path, kind) in paths {
                let pattern = PathPattern { kind, path };
                let list = claims.and_then(|claims| claims.paths.get(&pattern));
                if let Some(list) = list
                    && list.len() > 1
                {
                    self.stale.extend(list.iter().map(|claimed| owner(&claimed.age)));
                }
                let route = list.and_then(|list| make_route(&host, Some(&pattern), list));
                routes.push((pattern, route));
            }
            let default = default.then(|| {
                let list = claims.map(|claims| claims.defaults.as_slice()).unwrap_or_default();
                if list.len() > 1 {
                    self.stale.extend(list.iter().map(|claimed| owner(&claimed.age)));
                }
                make_route(&host, None, list)
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
    }

    /// Brings the table's last resort up to date: the default backend of the oldest Ingress without rules.
    pub(super) fn settle_fallback(&mut self) {
        let route = self.fallbacks.iter().next().map(|(age, (_, backend))| {
            Arc::new(Route {
                origin: origin(age),
                created: age.created,
                host: HostPattern::Any,
                path: None,
                backend: *backend,
                policies: Arc::default(),
                shadows: self.fallbacks.keys().skip(1).map(origin).collect(),
            })
        });
        let owners: Vec<ObjectRef> = self.fallbacks.keys().map(owner).collect();
        self.stale.extend(owners);
        self.table.set_fallback(route);
        self.changed = true;
    }

    /// Who holds a path, and whether that is `age`.
    pub(super) fn holder(&self, host: &HostPattern, path: &PathPattern) -> Option<&Age> {
        Some(&self.hosts.get(host)?.paths.get(path)?.first()?.age)
    }

    /// Who holds a host's default backend.
    pub(super) fn default_holder(&self, host: &HostPattern) -> Option<&Age> {
        Some(&self.hosts.get(host)?.defaults.first()?.age)
    }

    /// Who holds the last resort.
    pub(super) fn fallback_holder(&self) -> Option<&Key> {
        self.fallbacks.values().next().map(|(key, _)| key)
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
        shadows: rest.iter().map(|claimed| origin(&claimed.age)).collect(),
    }))
}
