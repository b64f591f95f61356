//! Brings offers, and the table's certificates, up to date with a change.

use super::{Owner, Use, Uses, same_secrets, wildcard_of};
use crate::compile::{Key, State};
use crate::dialect::reading::{Reading, Spot};
use crate::model::object::Meta;
use crate::model::{Kind, ObjectRef};
use crate::table::{Certificate, CertificateSet, HostPattern};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// An object as read, and whose it is.
type Read<'i> = (Reading, &'i Meta);

/// One thing an object says of a Secret.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    secret: Key,
    what: What,
    by: Use,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Entry,
    Whole,
    Host(HostPattern),
}

fn parts(kind: Kind, read: Option<&Read<'_>>) -> BTreeSet<Part> {
    let mut parts = BTreeSet::new();
    // A canary serves no request, so no client is shown its certificates; ingress-nginx ignores them too.
    let Some((reading, meta)) = read.filter(|(reading, _)| !reading.seniority.canary) else {
        return parts;
    };
    for entry in &reading.tls {
        let part = |what| Part {
            secret: (meta.namespace.clone(), entry.secret.clone()),
            what,
            by: Use {
                seniority: reading.seniority,
                name: meta.name.clone(),
                kind,
                entry: entry.index,
            },
        };
        parts.insert(part(What::Entry));
        if entry.whole {
            parts.insert(part(What::Whole));
        }
        parts.extend(entry.hosts.iter().map(|(_, host)| part(What::Host(host.clone()))));
    }
    parts
}

/// The hosts an object has a rule or a default backend for.
fn hosts(read: Option<&Read<'_>>) -> BTreeSet<HostPattern> {
    let claims = read.into_iter().flat_map(|(reading, _)| &reading.claims);
    let of_hosts = claims.filter(|claim| !matches!(claim.spot, Spot::Fallback));
    of_hosts.map(|claim| claim.spot.host().clone()).collect()
}

impl Uses {
    fn insert(&mut self, part: &Part) {
        match &part.what {
            What::Entry => self.entries.insert(part.by.clone()),
            What::Whole => self.whole.insert(part.by.clone()),
            What::Host(host) => self.listed.insert((host.clone(), part.by.clone())),
        };
    }

    fn remove(&mut self, part: &Part) {
        match &part.what {
            What::Entry => self.entries.remove(&part.by),
            What::Whole => self.whole.remove(&part.by),
            What::Host(host) => self.listed.remove(&(host.clone(), part.by.clone())),
        };
    }

    /// What the offers for names nobody lists hang on.
    fn firsts(&self) -> (Option<&Use>, Option<&Use>) {
        (self.entries.first(), self.whole.first())
    }
}

impl State {
    /// Reads the Secrets that an object is about to name: its policies may hang on them.
    pub(in crate::compile) fn need_secrets(&mut self, reading: &Reading, meta: &Meta) {
        for entry in &reading.tls {
            self.secrets.need(&(meta.namespace.clone(), entry.secret.clone()));
        }
    }

    /// Replaces the certificates that one Ingress offers. Its routes are in the table by now.
    pub(in crate::compile) fn settle_tls(
        &mut self,
        object: &ObjectRef,
        old: Option<&Read<'_>>,
        new: Option<&Read<'_>>,
    ) {
        let mut dirty = BTreeSet::new();
        let (old_parts, new_parts) = (parts(object.kind, old), parts(object.kind, new));
        let mut changed: BTreeMap<&Key, Vec<(&Part, bool)>> = BTreeMap::new();
        for part in old_parts.difference(&new_parts) {
            changed.entry(&part.secret).or_default().push((part, false));
        }
        for part in new_parts.difference(&old_parts) {
            changed.entry(&part.secret).or_default().push((part, true));
        }
        for (secret, parts) in changed {
            let uses = self.offers.uses.entry(secret.clone()).or_default();
            let (entry, whole) = uses.firsts();
            let before = (entry.cloned(), whole.cloned());
            for (part, is_new) in parts {
                if is_new {
                    uses.insert(part);
                } else {
                    uses.remove(part);
                }
                if let What::Host(host) = &part.what {
                    dirty.insert((self.table.share_host(host), secret.clone()));
                }
            }
            if (before.0.as_ref(), before.1.as_ref()) != uses.firsts()
                && let Some(certificate) = self.secrets.certificate(secret)
            {
                let names = certificate.names.iter().cloned();
                dirty.extend(names.map(|name| (name, secret.clone())));
            }
            if uses.entries.is_empty() {
                self.offers.uses.remove(secret);
            }
        }
        let mut names = self.place(dirty);
        names.extend(self.settle_owners(object, old, new));
        self.settle_names(names);
    }

    /// Offers a Secret anew that changed, or that came or went, or whose validity did; `before` is the certificate it
    /// had.
    pub(in crate::compile) fn offer_anew(&mut self, secret: &Key, before: Option<&Arc<Certificate>>) {
        let Some(uses) = self.offers.uses.get(secret) else {
            return;
        };
        let names_of = |certificate: Option<&Arc<Certificate>>| match certificate {
            Some(certificate) => certificate.names.clone(),
            None => Vec::new(),
        };
        let (old_names, new_names) = (names_of(before), names_of(self.secrets.certificate(secret)));
        // An entry without hosts is for what its certificate is for, and so are its Ingress's redirects.
        let recompiled: BTreeSet<ObjectRef> = if old_names == new_names {
            BTreeSet::new()
        } else {
            let whole = uses.whole.iter();
            whole.map(|by| by.object(&secret.0)).collect()
        };
        let listed = uses.listed.iter().map(|(host, _)| host.clone());
        let dirty = old_names
            .into_iter()
            .chain(new_names)
            .chain(listed)
            .map(|name| (name, secret.clone()))
            .collect();
        let mut names = self.place(dirty);
        // The certificate may be another even where the offer is the same.
        let below: Vec<HostPattern> = names.iter().flat_map(|name| self.offers.below(name)).collect();
        names.extend(below);
        self.settle_names(names);
        for object in recompiled {
            if let Some(known) = self.claimants.get(&object) {
                let claimant = known.claimant.clone();
                self.recompile(object, claimant);
            }
        }
    }

    /// Puts offers in their places, and gives back the names they are for.
    fn place(&mut self, dirty: BTreeSet<(HostPattern, Key)>) -> BTreeSet<HostPattern> {
        let mut names = BTreeSet::new();
        for (name, secret) in dirty {
            if self.offers.place(&name, &secret, &self.secrets, self.now) {
                names.extend(self.offers.below(&name));
            }
            names.insert(name);
        }
        names
    }

    /// Finds out who owns the hosts of an object now, and gives back those whose owner changed.
    fn settle_owners(
        &mut self,
        object: &ObjectRef,
        old: Option<&Read<'_>>,
        new: Option<&Read<'_>>,
    ) -> Vec<HostPattern> {
        let mut changed = Vec::new();
        let new_hosts = hosts(new);
        // A canary alone has no routes, and otherwise another Ingress comes first.
        let me = new.filter(|(reading, _)| !reading.seniority.canary);
        let me = me.map(|(reading, meta)| Owner {
            seniority: reading.seniority,
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
            kind: object.kind,
        });
        for host in hosts(old).union(&new_hosts) {
            let ruled = self.is_ruled(host);
            let Some(known) = self.offers.names.get(host) else {
                self.offers.note_below(host, ruled);
                if ruled && wildcard_of(host).is_some_and(|wildcard| self.offers.is_ranked(&wildcard)) {
                    changed.push(host.clone());
                }
                continue;
            };
            let me = me.as_ref().filter(|_| new_hosts.contains(host));
            let owner = match &known.owner {
                // Who is next is found only by asking all its routes: the oldest Ingress of a host alone costs that.
                Some(owner) if owner.object() == *object && Some(owner) != me => self.find_owner(host),
                owner => owner.iter().chain(me).min().cloned(),
            };
            if owner == known.owner {
                continue;
            }
            if let Some(name) = self.offers.names.get_mut(host) {
                name.owner = owner;
            }
            self.stale.insert_name(host.clone());
            changed.push(host.clone());
        }
        changed
    }

    /// Whether there is a rule, or a default backend, for exactly a host.
    fn is_ruled(&self, host: &HostPattern) -> bool {
        self.rules_of(host).next().is_some()
    }

    fn find_owner(&self, host: &HostPattern) -> Option<Owner> {
        let oldest = self.rules_of(host).map(|route| self.oldest(route)).min();
        oldest.map(|age| Owner {
            seniority: age.seniority,
            namespace: age.origin.object.namespace,
            name: age.origin.object.name,
            kind: age.origin.object.kind,
        })
    }

    /// Chooses again for names of which an offer or the owner changed. Wildcards come before the names they cover.
    fn settle_names(&mut self, mut names: BTreeSet<HostPattern>) {
        while let Some(host) = names.pop_first() {
            let offered = self.offers.secrets_of(&host).next().is_some();
            let ruled = self.is_ruled(&host);
            let covered = || wildcard_of(&host).is_some_and(|wildcard| self.offers.is_ranked(&wildcard));
            let kept = offered || (ruled && covered());
            self.offers.note_below(&host, offered || ruled);
            let before = self.offers.names.remove(&host);
            if !kept && before.is_none() {
                continue;
            }
            let known = before.is_some();
            let mut name = before.unwrap_or_default();
            if !known {
                name.owner = self.find_owner(&host);
            }
            let owner = name.owner.as_ref().map(|owner| &owner.namespace);
            let chosen = self.offers.choose(&host, owner);
            if name.chosen != chosen {
                self.stale.insert_name(host.clone());
            }
            if !same_secrets(&name.chosen, &chosen) {
                names.extend(self.offers.below(&host));
            }
            name.chosen = chosen;
            let shown = self.offers.shown(&host, &name).filter(|_| kept);
            let set = shown.map(|ranks| {
                let secrets = ranks.into_iter().map(|rank| (rank.namespace, rank.secret));
                CertificateSet::new(secrets.filter_map(|secret| self.secrets.certificate(&secret).cloned()))
            });
            let same = match (&name.set, &set) {
                (Some(old), Some(new)) => old.is_same(new),
                (old, new) => old.is_none() && new.is_none(),
            };
            if !same {
                name.set = set.map(Arc::new);
                self.table.set_certificates(&host, name.set.clone());
                self.changed = true;
                // What is said of an entry without a certificate says what its hosts get instead.
                self.stale.extend_names(self.offers.below(&host));
                self.stale.insert_name(host.clone());
            }
            if kept {
                self.offers.names.insert(host, name);
            }
        }
    }
}
