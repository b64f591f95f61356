//! Hosts whose TLS connections are passed on as they come. All of a host's are or none is, so only the namespace that has the
//! host may say so: else anybody could take what others' guards keep.

use super::State;
use super::claims::Claimed;
use crate::dialect::reading::{Reading, Spot};
use crate::model::{Code, Diagnostic, Kind, ObjectRef};
use crate::table::{HostPattern, PathKind, PathPattern, Route};
use std::collections::{BTreeSet, HashSet};

/// The hosts for which something is passed on, or somebody wants it.
#[derive(Debug, Default)]
pub(super) struct PassingHosts {
    hosts: HashSet<HostPattern>,
    /// Those of which it is to be found out again who may say so.
    stale: BTreeSet<HostPattern>,
}

impl PassingHosts {
    /// The owner of a host may have changed.
    pub fn touch(&mut self, host: &HostPattern) {
        if !self.hosts.is_empty() && self.hosts.contains(host) {
            self.stale.insert(host.clone());
        }
    }
}

/// The host whose TLS connections are claimed.
pub(super) fn passing(spot: &Spot) -> Option<&HostPattern> {
    match spot {
        Spot::Path(host, path) if path.kind == PathKind::Passthrough => Some(host),
        _ => None,
    }
}

impl State {
    /// Notes whether somebody wants a host's TLS connections passed on.
    pub(super) fn note_passing(&mut self, spot: &Spot, wanted: bool) {
        let Some(host) = passing(spot) else { return };
        if wanted {
            self.passing.hosts.insert(host.clone());
        } else {
            self.passing.hosts.remove(host);
        }
    }

    /// Finds out again who may have TLS connections passed on, where who has the host may have changed.
    pub(super) fn settle_passing(&mut self) {
        for host in std::mem::take(&mut self.passing.stale) {
            self.settle_spot(Spot::Path(host, PathPattern::passthrough()), |_| {});
        }
    }

    /// The place in a list of claims of the first by the namespace that has the host: that of the oldest claim to anything
    /// of it.
    pub(super) fn passes_host(&self, host: &HostPattern, list: &[Claimed]) -> Option<usize> {
        let oldest = list.first().map(|claimed| claimed.age.clone());
        // What is passed on is in the list, or is gone.
        let is_passed = |route: &Route| {
            route
                .path
                .as_ref()
                .is_some_and(|path| path.kind == PathKind::Passthrough)
        };
        let rules = self.rules_of(host).filter(|route| !is_passed(route));
        let rules = rules.map(|route| self.oldest(route));
        let owner = rules.chain(oldest).min()?.origin.object.namespace;
        let spot = Spot::Path(host.clone(), PathPattern::passthrough());
        list.iter()
            .position(|claimed| claimed.owner().namespace == owner && !self.is_denied(&spot, claimed))
    }

    /// Why an object's claim to a host's TLS connections has no effect.
    pub(super) fn why_not_passed(&self, host: &HostPattern, namespace: &str, holder: Option<&Route>) -> String {
        match holder {
            Some(holder) if *holder.origin.object.namespace == *namespace => {
                format!(
                    "TLS connections for {host} are passed on as {} says, which is older",
                    holder.origin.object
                )
            }
            _ => format!(
                "{host} belongs to another namespace, which has the oldest rule for it, so its TLS connections are not passed \
                 on as this object says"
            ),
        }
    }

    /// What is wrong with an object's claims to TLS connections that nobody has.
    pub(super) fn diagnose_passing(&self, object: &ObjectRef, reading: &Reading, said: &mut Vec<Diagnostic>) {
        for claim in &reading.claims {
            let Some(host) = passing(&claim.spot).filter(|host| !self.is_excluded(host, object)) else {
                continue;
            };
            let field = claim.field.to_string();
            if self.holder(&claim.spot).is_none() && !reading.seniority.canary {
                let message = self.why_not_passed(host, &object.namespace, None);
                let code = match object.kind {
                    Kind::Route => Code::HostAlreadyClaimed,
                    _ => Code::PathConflict,
                };
                said.push(Diagnostic::new(code, object, field, message));
            } else if let Some(clients) = self.table.host(host).and_then(|table| table.clients.as_ref())
                && clients.profile().is_some()
            {
                let message = format!(
                    "clients of {host} are asked for certificates because of {}, and nobody can ask them where TLS connections \
                     are passed on, so these are refused",
                    clients.guard.object
                );
                said.push(Diagnostic::new(Code::GuardInvalid, object, field, message));
            }
        }
    }
}
