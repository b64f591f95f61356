//! `--yield-empty`: a claim whose Service has had no ready endpoint for some seconds yields to the next that has some.

use super::State;
use super::claims::Claimed;
use super::links::Cause;
use super::passthrough::passing;
use crate::dialect::reading::{BackendKey, Spot};
use crate::model::Timestamp;
use crate::table::{Backend, BackendId, BackendState, HostPattern};
use std::collections::{BTreeSet, HashMap, HashSet};

/// The backends without ready endpoints. The time counts for their pods: see [`State::empty_like`]. Kept only where `--yield-empty` is on.
#[derive(Debug, Default)]
pub(super) struct Empty {
    /// Each with when it was found to have none.
    since: HashMap<BackendId, (Timestamp, BackendKey)>,
    /// Those that have had none for less than the time that counts, in order.
    waiting: BTreeSet<(Timestamp, BackendId)>,
    /// Backends whose users' claims are to be judged again.
    changed: HashSet<BackendKey>,
    /// Hosts whose claims are to be judged again.
    changed_hosts: BTreeSet<HostPattern>,
    /// Whether all there is has been listed: before that, nothing is known of how long.
    listed: bool,
}

/// Whether a backend has no pod that is ready. One that is set up wrongly may have some, so it does not count.
fn is_empty(backend: &Backend) -> bool {
    matches!(
        backend.state,
        BackendState::NoEndpoints | BackendState::OnlyTerminating | BackendState::ServiceNotFound
    )
}

/// Whether a claim may be given to a backend, as another one has none that are ready.
fn has_some(backend: &Backend) -> bool {
    matches!(backend.state, BackendState::Ready) && !backend.endpoints.is_empty()
}

impl State {
    /// Whether the compiler is to be told the time each second: somebody is about to yield.
    pub fn awaits_time(&self) -> bool {
        !self.empty.waiting.is_empty()
    }

    /// All there is has been listed.
    pub(super) fn set_listed(&mut self) {
        self.empty.listed = true;
    }

    pub(super) fn is_listed(&self) -> bool {
        self.empty.listed
    }

    /// Notes whether a backend has ready endpoints now. It is absent before it comes and when it is gone.
    pub(super) fn note_endpoints(
        &mut self,
        key: &BackendKey,
        id: BackendId,
        (before, backend): (Option<&Backend>, Option<&Backend>),
    ) {
        if self.options.yield_empty.is_none() {
            return;
        }
        // One that is ready from now on, or was until now, may get a claim or lose it.
        if before.is_some_and(has_some) != backend.is_some_and(has_some) {
            self.empty.changed.insert(key.clone());
        }
        let empty = backend.is_some_and(is_empty);
        if empty == self.empty.since.contains_key(&id) {
            return;
        }
        if empty {
            let known = backend.and_then(|backend| self.empty_like(key, backend));
            let (since, waits) = match known {
                Some((since, other)) => (since, self.empty.waiting.contains(&(since, other))),
                None if self.empty.listed => (self.now, true),
                None => (Timestamp(i64::MIN), false),
            };
            self.empty.since.insert(id, (since, key.clone()));
            if waits {
                self.empty.waiting.insert((since, id));
            }
        } else if let Some((since, _)) = self.empty.since.remove(&id) {
            self.empty.waiting.remove(&(since, id));
        }
        self.empty.changed.insert(key.clone());
    }

    /// Another backend with the same pods that is known to have no ready endpoints, and since when. Other annotations make
    /// another backend, but they give the pods no more time.
    fn empty_like(&self, key: &BackendKey, backend: &Backend) -> Option<(Timestamp, BackendId)> {
        let service = key.service_key();
        let mut others = self.backends_of(&service);
        others.find_map(|other| {
            let (since, _) = self.empty.since.get(&other.id)?;
            (other.id != backend.id && other.pods == backend.pods).then_some((*since, other.id))
        })
    }

    /// Notes that a backend is closed by a guard from now on, or is not any more.
    pub(super) fn note_guard(&mut self, key: &BackendKey) {
        if self.options.yield_empty.is_some() {
            self.empty.changed.insert(key.clone());
        }
    }

    /// Notes that a host has got or lost a guard.
    pub(super) fn note_host_guard(&mut self, host: &HostPattern) {
        if self.options.yield_empty.is_some() {
            self.empty.changed_hosts.insert(host.clone());
        }
    }

    /// Takes in what time it is, for backends that have been empty for long enough by now.
    pub(super) fn note_time_of_empty(&mut self) {
        let (Some(patience), now) = (self.options.yield_empty, self.now) else {
            return;
        };
        if now == Timestamp::UNKNOWN {
            return;
        }
        // The clock may have been set back, or not be known before.
        while let Some((since, id)) = self.empty.waiting.last().copied().filter(|(since, _)| *since > now) {
            self.empty.waiting.remove(&(since, id));
            self.empty.waiting.insert((now, id));
            if let Some(known) = self.empty.since.get_mut(&id) {
                known.0 = now;
            }
        }
        let due = now.0.saturating_sub_unsigned(patience);
        while let Some((since, id)) = self.empty.waiting.first().copied().filter(|(since, _)| since.0 <= due) {
            self.empty.waiting.remove(&(since, id));
            if let Some((_, key)) = self.empty.since.get(&id) {
                self.empty.changed.insert(key.clone());
            }
        }
    }

    /// Judges the claims again that lead to backends which have got or lost endpoints, and those to hosts which have got or
    /// lost a guard.
    pub(super) fn settle_empty(&mut self) {
        for host in std::mem::take(&mut self.empty.changed_hosts) {
            let of_host = self.losers.keys().filter(|spot| *spot.host() == host);
            for spot in of_host.cloned().collect::<Vec<_>>() {
                self.settle_spot(spot, |_| {});
            }
        }
        for key in std::mem::take(&mut self.empty.changed) {
            for spot in self.contested(&key) {
                self.settle_spot(spot, |_| {});
            }
        }
    }

    /// What Ingresses claim with a backend and others claim too.
    fn contested(&self, backend: &BackendKey) -> Vec<Spot> {
        let mut spots = Vec::new();
        let cause = self.backend(backend).map(|backend| Cause::Backend(backend.id.slot));
        let users = cause
            .into_iter()
            .flat_map(|cause| self.links.objects(&cause).collect::<Vec<_>>());
        for known in users.filter_map(|slot| self.claimants.at(slot)) {
            if !known.served {
                continue;
            }
            let reading = known
                .claimant
                .read(self.options.context(known.dialect, known.beside.as_ref()));
            let claims = reading
                .claims
                .into_iter()
                .filter(|claim| claim.backends().any(|(_, other)| other == backend));
            spots.extend(claims.map(|claim| claim.spot));
        }
        spots.retain(|spot| self.losers.contains_key(spot));
        spots
    }

    /// The place in a list of claims, the first first, of the one that gets what is claimed; absent if that is nobody. A canary
    /// never does: it is of another Ingress with the same host and path, and narthex does not split requests.
    pub(super) fn winner(&self, spot: &Spot, list: &[Claimed]) -> Option<usize> {
        // Canaries come last.
        let ends = list.partition_point(|claim| !claim.age.seniority.canary);
        let list = list.get(..ends).filter(|list| !list.is_empty())?;
        if let Some(host) = passing(spot) {
            return self.passes_host(host, list);
        }
        let first = list.iter().position(|claim| !self.is_denied(spot, claim))?;
        if self.options.yield_empty.is_none() || list.len() < 2 {
            return Some(first);
        }
        let admitted = list
            .iter()
            .enumerate()
            .filter(|(_, claim)| !self.is_denied(spot, claim));
        for (place, claim) in admitted {
            let id = claim.to.main();
            let backend = id.and_then(|id| self.table.backend(id)).map(|backend| &**backend);
            if place > first && backend.is_some_and(has_some) {
                return Some(place);
            }
            let guarded = claim.policies.guard.is_some()
                || self.host_guards.closes(&claim.owner().namespace, spot.host())
                || backend.is_some_and(|backend| backend.guard.is_some());
            if guarded || (place == first && !id.is_some_and(|id| self.yields(id))) {
                return Some(first);
            }
        }
        Some(first)
    }

    /// Whether a backend has been without ready endpoints for long enough to yield.
    pub(super) fn yields(&self, backend: BackendId) -> bool {
        let since = self.empty.since.get(&backend).map(|(since, _)| *since);
        since.is_some_and(|since| !self.empty.waiting.contains(&(since, backend)))
    }
}
