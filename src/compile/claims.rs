//! Who claims which host and path, and who gets it: the oldest.
//!
//! The table itself says who holds what. Only claims that lost are kept beside it.

use super::State;
use super::canaries::without_canary;
use crate::dialect::reading::Spot;
use crate::model::ObjectRef;
use crate::table::route::{Age, MAX_SHADOWS};
use crate::table::{CanaryRule, Destination, HostPattern, PathKind, Policies, Route, Shadow, Yields, route_key};
use smallvec::SmallVec;
use std::collections::HashMap;
use std::sync::Arc;

/// A claim among those of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claimed {
    pub age: Age,
    pub to: Destination,
    pub keep_slashes: bool,
    pub policies: Arc<Policies>,
    /// Which requests of another it gets, where it is a canary.
    pub canary: Option<Arc<CanaryRule>>,
}

/// The claims an object is to have, by what they are to; where it had one before and has none now, the list is
/// empty.
pub(super) type Edits = HashMap<Spot, SmallVec<[Claimed; 1]>>;

impl Claimed {
    /// Whose it is.
    pub fn owner(&self) -> &ObjectRef {
        &self.age.origin.object
    }
}

impl State {
    /// Replaces the claims of one object.
    pub(super) fn settle(&mut self, object: &ObjectRef, edits: Edits) {
        for (spot, new) in edits {
            self.settle_spot(spot, |list| {
                list.retain(|claimed| claimed.owner() != object);
                list.extend(new);
            });
        }
    }

    /// Changes the claims to one thing, and gives it to the one that comes first now.
    pub(super) fn settle_spot(&mut self, spot: Spot, change: impl FnOnce(&mut Vec<Claimed>)) {
        let before = self.holder(&spot).cloned();
        let mut list = self.losers.remove(&spot).unwrap_or_default();
        if let Some(route) = &before {
            let holder = Claimed {
                age: route.age(),
                to: without_canary(&route.to),
                keep_slashes: route.keep_slashes,
                policies: route.policies.clone(),
                canary: None,
            };
            list.insert(0, holder);
        }
        change(&mut list);
        list.sort_by(|one, other| one.age.cmp(&other.age));
        let winner = self.winner(&spot, &list);
        let canary = winner.and_then(|winner| self.canary_place(&list, winner));
        let mut after = winner.and_then(|winner| self.make_route(&spot, &list, (winner, canary)));
        let main = winner.and_then(|winner| list.get(winner));
        let mut canary_key = None;
        if let Some((main, after)) = main.zip(after.as_mut()) {
            let canary = canary.and_then(|canary| list.get(canary));
            (after.to, canary_key) = self.with_canary(main, canary);
        }
        // What is said of those that lost names the one that won: it is to be said anew when another does.
        if before.as_ref().map(|route| route.age()) != after.as_ref().map(Route::age) {
            self.stale.extend(list.iter().map(|claimed| claimed.owner().clone()));
            self.note_admissions(&list);
        }
        let has_canary = |route: Option<&Route>| route.is_some_and(|route| matches!(route.to, Destination::Choice(_)));
        if has_canary(before.as_deref()) || has_canary(after.as_ref()) {
            let canaries = list.iter().filter(|claimed| claimed.age.seniority.canary);
            self.stale.extend(canaries.map(|claimed| claimed.owner().clone()));
        }
        if before.as_deref() != after.as_ref() {
            self.journal.route(before.as_deref(), after.as_ref());
            self.set_route(&spot, after.map(Arc::new));
        }
        self.set_canary(&spot, canary_key);
        self.note_passing(&spot, !list.is_empty());
        if let Some(winner) = winner {
            list.remove(winner);
        }
        if !list.is_empty() {
            self.losers.insert(spot, list);
        }
    }

    /// The oldest of those that claim what a route has: the route's own Ingress, unless the oldest has yielded it.
    pub(super) fn oldest(&self, route: &Route) -> Age {
        let own = route.age();
        if self.options.yield_empty.is_none() {
            return own;
        }
        let spot = match &route.path {
            Some(path) => Spot::Path(route.host.clone(), path.clone()),
            None => Spot::Default(route.host.clone()),
        };
        let losers = self.losers.get(&spot);
        let first = losers.and_then(|losers| losers.iter().find(|claimed| !self.is_denied(&spot, claimed)));
        first.map_or(own.clone(), |first| own.min(first.age.clone()))
    }

    /// The route that has what was claimed.
    pub(super) fn holder(&self, spot: &Spot) -> Option<&Arc<Route>> {
        match spot {
            Spot::Path(host, path) if path.kind == PathKind::RegularExpression => self.patterns.get(host, path),
            Spot::Path(host, path) if path.kind == PathKind::Passthrough => self.table.host(host)?.passes.as_ref(),
            Spot::Path(host, path) => self.table.host(host)?.paths.get(path),
            Spot::Default(host) => self.table.host(host)?.default.as_ref(),
            Spot::Fallback => self.table.fallback(),
        }
    }

    fn set_route(&mut self, spot: &Spot, route: Option<Arc<Route>>) {
        self.changed = true;
        match spot {
            Spot::Path(host, path) if path.kind == PathKind::RegularExpression => {
                self.patterns.set(host, path, route);
                self.touch_host(host);
            }
            Spot::Path(host, path) if path.kind == PathKind::Passthrough => {
                self.table.update_host(host, |table| table.passes = route);
                self.touch_host(host);
            }
            Spot::Path(host, path) => {
                self.table.update_host(host, |table| table.paths.set(path, route));
                self.touch_host(host);
            }
            Spot::Default(host) => {
                self.table.update_host(host, |table| table.default = route);
                self.touch_host(host);
            }
            Spot::Fallback => {
                self.table.set_fallback(route);
                self.clients.touch(&HostPattern::Any);
            }
        }
    }

    fn make_route(&self, spot: &Spot, list: &[Claimed], (winner, canary): (usize, Option<usize>)) -> Option<Route> {
        let first = list.get(winner)?;
        let rest = list.iter().enumerate();
        let rest = rest.filter(|(place, _)| *place != winner && Some(*place) != canary);
        let (host, path) = match spot {
            Spot::Path(host, path) => (self.table.share_host(host), Some(path.clone())),
            Spot::Default(host) => (self.table.share_host(host), None),
            Spot::Fallback => (HostPattern::Any, None),
        };
        Some(Route {
            key: route_key(None, &host, path.as_ref(), None),
            origin: first.age.origin.clone(),
            seniority: first.age.seniority,
            host,
            path,
            keep_slashes: first.keep_slashes,
            when: None,
            to: first.to.clone(),
            policies: first.policies.clone(),
            shadows: rest
                .take(MAX_SHADOWS)
                .map(|(place, claimed)| Shadow {
                    origin: claimed.age.origin.clone(),
                    yields: if self.is_strangers(spot.host(), claimed.owner()) {
                        Some(Yields::Stranger)
                    } else if self.is_excluded(spot.host(), claimed.owner()) {
                        Some(Yields::Tls)
                    } else if place < winner {
                        Some(Yields::Empty)
                    } else {
                        claimed.age.would_be_before(&first.age).then_some(Yields::Leaving)
                    },
                })
                .collect(),
        })
    }
}
