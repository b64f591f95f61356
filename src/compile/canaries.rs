//! Canaries: Ingresses that get some of the requests of another one with the same host and path, as ingress-nginx has it.

use super::State;
use super::claims::Claimed;
use super::links::User;
use crate::dialect::reading::{BackendKey, Claim, Reading, Spot};
use crate::model::{Code, Diagnostic, ObjectRef};
use crate::table::{BackendId, BackendSettings, Canary, Choice, Destination, PathKind};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

/// The backends that canaries need beside those that objects name.
#[derive(Debug, Default)]
pub(super) struct Canaries {
    /// The backend of the canary of each path that has one.
    of: HashMap<Spot, BackendKey>,
    /// How many paths need each.
    users: HashMap<BackendKey, usize>,
}

/// Where a claim leads by itself, without a canary.
pub(super) fn without_canary(to: &Destination) -> Destination {
    match to {
        Destination::Choice(choice) => {
            let own = choice.canary.clone().filter(|canary| canary.own);
            beside(choice.main, own, choice.spare)
        }
        other => other.clone(),
    }
}

/// A backend and what is beside it.
pub(super) fn beside(main: BackendId, canary: Option<Canary>, spare: Option<BackendId>) -> Destination {
    if canary.is_none() && spare.is_none() {
        return Destination::Backend(main);
    }
    Destination::Choice(Arc::new(Choice { main, canary, spare }))
}

impl State {
    /// The place of the canary in a list of claims, for the one that gets what is claimed: the oldest of its namespace.
    /// Another namespace cannot take requests away.
    pub(super) fn canary_place(&self, list: &[Claimed], winner: usize) -> Option<usize> {
        let main = list.get(winner)?;
        if main.age.seniority.canary || !main.policies.follows_patterns {
            return None;
        }
        let mut all = list.iter().enumerate();
        let found = all.find(|(_, claim)| {
            claim.age.seniority.canary && claim.canary.is_some() && claim.owner().namespace == main.owner().namespace
        });
        found.map(|(place, _)| place)
    }

    /// Where requests go, and the backend of the canary that is needed for that.
    pub(super) fn with_canary(
        &mut self,
        main: &Claimed,
        canary: Option<&Claimed>,
    ) -> (Destination, Option<BackendKey>) {
        let plain = (main.to.clone(), None);
        let Some((canary, rule)) = canary.and_then(|canary| Some((canary, canary.canary.clone()?))) else {
            return plain;
        };
        if matches!(&main.to, Destination::Choice(choice) if choice.canary.is_some()) {
            return plain;
        }
        let keys = main.to.main().zip(canary.to.main());
        let keys = keys.and_then(|(main, canary)| {
            let known = &self.backend_keys;
            Some((known.get(&main.slot)?, known.get(&canary.slot)?))
        });
        let Some(key) = keys.map(|(main, canary)| key_beside(main, canary)) else {
            return plain;
        };
        if *self
            .canaries
            .users
            .entry(key.clone())
            .and_modify(|count| *count += 1)
            .or_insert(1)
            == 1
        {
            self.hold_backend(&key, User::Canaries);
        }
        let spare = match &main.to {
            Destination::Choice(choice) => choice.spare,
            _ => None,
        };
        let to = self.backend_id(&key);
        let main = main.to.main().unwrap_or(to);
        (beside(main, Some(Canary { to, rule, own: false }), spare), Some(key))
    }

    /// Notes which backend the canary of a path needs, and lets the one go that it needed before.
    pub(super) fn set_canary(&mut self, spot: &Spot, key: Option<BackendKey>) {
        let before = match key {
            Some(key) => self.canaries.of.insert(spot.clone(), key),
            None => self.canaries.of.remove(spot),
        };
        let Some(before) = before else { return };
        if let Entry::Occupied(mut count) = self.canaries.users.entry(before.clone()) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
                self.drop_backend(&before, User::Canaries);
            }
        }
    }

    /// Whether an object is the canary of what another one has.
    pub(super) fn is_canary_of(&self, spot: &Spot, object: &ObjectRef) -> bool {
        self.canary_object(spot).is_some_and(|canary| canary == *object)
    }

    /// The canary of what is claimed.
    fn canary_object(&self, spot: &Spot) -> Option<ObjectRef> {
        let holder = self.holder(spot)?;
        let Destination::Choice(choice) = &holder.to else {
            return None;
        };
        choice.canary.as_ref()?;
        let namespace = &holder.origin.object.namespace;
        let mut lost = self.losers.get(spot)?.iter();
        let canary = lost.find(|claim| {
            claim.age.seniority.canary && claim.canary.is_some() && claim.owner().namespace == *namespace
        })?;
        Some(canary.owner().clone())
    }

    /// Why a canary gets no requests though there is another Ingress with the same host and path.
    pub(super) fn why_no_canary(&self, spot: &Spot) -> String {
        match self.canary_object(spot) {
            Some(other) => format!("alone with {other}, which is a canary of it already"),
            None => {
                "alone, because a canary has to be in its namespace, and of the class of ingress-nginx as it".to_owned()
            }
        }
    }

    /// What is said of a canary that no other Ingress is beside. Its path may be meant as a regular expression or not,
    /// whichever the other one has.
    pub(super) fn diagnose_lone_canary(&self, object: &ObjectRef, reading: &Reading, said: &mut Vec<Diagnostic>) {
        let is_pattern = |claim: &Claim| match &claim.spot {
            Spot::Path(_, path) => path.kind == PathKind::RegularExpression,
            Spot::Default(_) | Spot::Fallback => false,
        };
        for claim in &reading.claims {
            let mut same = reading.claims.iter().filter(|other| {
                other.field == claim.field && other.spot != claim.spot && (is_pattern(other) || is_pattern(claim))
            });
            let has_main = |claim: &Claim| self.holder(&claim.spot).is_some();
            let is_second = is_pattern(claim) && same.clone().next().is_some();
            if is_second || has_main(claim) || same.any(has_main) {
                continue;
            }
            let message = self.why_alone(&claim.spot);
            said.push(Diagnostic::new(
                Code::CanaryAlone,
                object,
                claim.field.to_string(),
                message,
            ));
        }
    }
}

/// The backend of a canary: its Service, with all that the main Ingress says of its backends but the balancing.
fn key_beside(main: &BackendKey, canary: &BackendKey) -> BackendKey {
    let balance = canary.settings.as_ref().and_then(|settings| settings.balance.clone());
    let settings = match (&main.settings, balance) {
        (Some(settings), balance) if settings.balance != balance && balance.is_some() => {
            Some(Arc::new(BackendSettings {
                balance,
                ..BackendSettings::clone(settings)
            }))
        }
        (None, Some(balance)) => Some(Arc::new(BackendSettings {
            balance: Some(balance),
            ..BackendSettings::default()
        })),
        (settings, _) => settings.clone(),
    };
    BackendKey {
        settings,
        limited_by: main.limited_by.clone(),
        ..canary.clone()
    }
}
