//! Which certificate a name gets.
//!
//! A Secret is offered for a name where a `spec.tls` entry says so, and for every other name of a certificate that is
//! in use. Offers are kept in the order in which they are taken, so that a change costs the logarithm of how many
//! there are: ten thousand Ingresses may name one host, or one Secret.

mod settle;

use super::Key;
use super::secrets::{Secrets, Validity, validity};
use crate::dialect::owners::HostOwners;
use crate::model::{Kind, ObjectRef, Seniority, Timestamp};
use crate::table::route::wildcard_suffix;
use crate::table::{CertificateSet, HostPattern};
use smallvec::SmallVec;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// An entry of an object that names a Secret, of the same namespace. Their order is that of their age.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Use {
    /// Whether the object is being deleted, and when it was made.
    pub seniority: Seniority,
    pub name: Arc<str>,
    pub kind: Kind,
    /// The index in `spec.tls`.
    pub entry: u32,
}

impl Default for Use {
    /// Nothing comes before this one of the same seniority.
    fn default() -> Self {
        Self {
            seniority: Seniority::default(),
            name: Arc::default(),
            kind: Kind::ALL[0],
            entry: 0,
        }
    }
}

impl Use {
    /// The object that has the entry, which is in the namespace of its Secret.
    pub fn object(&self, namespace: &Arc<str>) -> ObjectRef {
        ObjectRef::new(self.kind, namespace.clone(), self.name.clone())
    }
}

/// Who uses a Secret, and for what.
#[derive(Debug, Default)]
pub(super) struct Uses {
    /// Every entry that names it.
    pub entries: BTreeSet<Use>,
    /// Those without hosts.
    whole: BTreeSet<Use>,
    /// Those with hosts, by host.
    listed: BTreeSet<(HostPattern, Use)>,
}

impl Uses {
    fn listing<'u>(&'u self, name: &'u HostPattern) -> impl Iterator<Item = &'u Use> {
        // Nothing comes before this one of the same name.
        let first = Use {
            seniority: Seniority::FIRST,
            ..Use::default()
        };
        self.listed
            .range((name.clone(), first)..)
            .take_while(move |(listed, _)| listed == name)
            .map(|(_, by)| by)
    }
}

/// A Secret's place among those offered for one name; the least is taken, one for each kind of key.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub namespace: Arc<str>,
    /// The kind of its key, by rustls' number; wider than that so that there is one after the last.
    pub algorithm: u16,
    /// How good it is.
    pub grade: Grade,
    /// The oldest entry that offers it.
    pub by: Use,
    /// The Secret's name.
    pub secret: Arc<str>,
}

/// How good an offer is, as what speaks against it; the least is the best.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Grade {
    /// The certificate is not for the name: clients refuse it.
    pub mismatched: bool,
    /// It is expired or not yet valid: clients refuse it.
    pub out_of_time: bool,
    /// It, or the object that offers it, is being deleted.
    pub leaving: bool,
    /// No entry says that it is for this name.
    pub implicit: bool,
}

impl Grade {
    /// Whether clients take it.
    pub fn is_valid(self) -> bool {
        !self.mismatched && !self.out_of_time
    }

    /// Whether clients would take it as they would the other.
    pub fn as_valid_as(self, other: Grade) -> bool {
        (self.mismatched, self.out_of_time) == (other.mismatched, other.out_of_time)
    }
}

/// The oldest object with a rule, or default backend, for exactly a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Owner {
    pub seniority: Seniority,
    pub namespace: Arc<str>,
    pub name: Arc<str>,
    pub kind: Kind,
}

impl Owner {
    pub fn object(&self) -> ObjectRef {
        ObjectRef::new(self.kind, self.namespace.clone(), self.name.clone())
    }
}

/// A name for which there are offers.
#[derive(Debug, Default)]
pub(super) struct Name {
    /// Whose it is; none where no rule has it.
    pub owner: Option<Owner>,
    pub chosen: SmallVec<[Rank; 1]>,
    /// What the table has.
    set: Option<Arc<CertificateSet>>,
}

/// The wildcard that is asked for a name that has nothing itself.
fn wildcard_of(name: &HostPattern) -> Option<HostPattern> {
    match name {
        HostPattern::Exact(name) => wildcard_suffix(name).map(|suffix| HostPattern::Wildcard(suffix.into())),
        HostPattern::Wildcard(_) | HostPattern::Any => None,
    }
}

/// A host, in the order of the wildcard that covers it.
#[derive(Debug, PartialEq, Eq)]
struct Below(Arc<str>);

impl Below {
    fn key(&self) -> (Option<&str>, &str) {
        (wildcard_suffix(&self.0), &self.0)
    }
}

impl Ord for Below {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for Below {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Whether two choices show the same certificates, whoever offers them.
fn same_secrets(one: &[Rank], other: &[Rank]) -> bool {
    let key = |rank: &Rank| (rank.namespace.clone(), rank.secret.clone(), rank.algorithm, rank.grade);
    one.iter().map(key).eq(other.iter().map(key))
}

#[derive(Debug, Default)]
pub(super) struct Offers {
    /// Who may offer for a name at all.
    owners: HostOwners,
    uses: HashMap<Key, Uses>,
    names: HashMap<HostPattern, Name>,
    /// Which Secrets are offered for a name, or would be if they held a certificate.
    offered: BTreeMap<(HostPattern, Key), Option<Rank>>,
    /// Those that do hold one, in order.
    ranked: BTreeSet<(HostPattern, Rank)>,
    /// The exact names that have a rule or an offer: what they are shown may depend on their wildcard.
    below: BTreeSet<Below>,
}

impl Offers {
    /// None yet.
    pub fn new(owners: HostOwners) -> Self {
        Self {
            owners,
            ..Self::default()
        }
    }

    /// What is known of a name.
    pub fn name(&self, name: &HostPattern) -> Option<&Name> {
        self.names.get(name)
    }

    fn secrets_of<'o>(&'o self, name: &'o HostPattern) -> impl Iterator<Item = &'o Key> {
        self.offered
            .range((name.clone(), Key::default())..)
            .take_while(move |((other, _), _)| other == name)
            .map(|((_, secret), _)| secret)
    }

    /// The objects of which something is said that depends on who gets a name.
    pub fn concerned(&self, name: &HostPattern) -> BTreeSet<ObjectRef> {
        let mut found = BTreeSet::new();
        for secret in self.secrets_of(name) {
            if let Some(uses) = self.uses.get(secret) {
                let by = uses.listing(name).chain(&uses.whole);
                found.extend(by.map(|by| by.object(&secret.0)));
            }
        }
        found
    }

    /// Whether a Secret is offered for a name, and if it holds a certificate, with which rank.
    fn rank(&self, name: &HostPattern, secret: &Key, secrets: &Secrets, now: Timestamp) -> Option<Option<Rank>> {
        let uses = self.uses.get(secret)?;
        if self.owners.against(&secret.0, name).is_some() {
            return None;
        }
        let certificate = secrets.certificate(secret);
        let covers = certificate.is_some_and(|certificate| certificate.names.contains(name));
        let listed = uses.listing(name).next();
        let explicit = listed.into_iter().chain(uses.whole.first().filter(|_| covers)).min();
        let by = explicit.or(uses.entries.first().filter(|_| covers))?;
        Some(certificate.map(|certificate| Rank {
            namespace: secret.0.clone(),
            algorithm: u8::from(certificate.algorithm).into(),
            grade: Grade {
                mismatched: !certificate.covers(name),
                out_of_time: validity(certificate, now) != Validity::Valid,
                leaving: by.seniority.leaving || secrets.get(secret).is_some_and(|known| known.secret.meta.deleting),
                implicit: explicit.is_none(),
            },
            by: by.clone(),
            secret: secret.1.clone(),
        }))
    }

    /// Puts one offer in its place. Says whether the namespace's choice for the name changed by that.
    fn place(&mut self, name: &HostPattern, secret: &Key, secrets: &Secrets, now: Timestamp) -> bool {
        let rank = self.rank(name, secret, secrets, now);
        let pair = (name.clone(), secret.clone());
        let before = match rank.clone() {
            Some(rank) => self.offered.insert(pair, rank),
            None => self.offered.remove(&pair),
        };
        let (before, rank) = (before.flatten(), rank.flatten());
        if before == rank {
            return false;
        }
        let chosen = self.choose(name, Some(&secret.0));
        if let Some(before) = before {
            self.ranked.remove(&(name.clone(), before));
        }
        if let Some(rank) = rank {
            self.ranked.insert((name.clone(), rank));
        }
        !same_secrets(&chosen, &self.choose(name, Some(&secret.0)))
    }

    /// Whether any Secret that holds a certificate is offered for a name.
    fn is_ranked(&self, name: &HostPattern) -> bool {
        let first = Rank {
            by: Use {
                seniority: Seniority::FIRST,
                ..Use::default()
            },
            ..Rank::default()
        };
        let next = self.ranked.range((name.clone(), first)..).next();
        next.is_some_and(|(other, _)| other == name)
    }

    /// What is put into the table for a name; none where its wildcard's certificates, or the default, are right.
    ///
    /// A host with an owner is shown certificates of the owner's namespace only: those for the host, and where none of
    /// them is valid, those for its wildcard. Where there are none at all, the empty choice keeps others' wildcards off.
    fn shown(&self, host: &HostPattern, name: &Name) -> Option<SmallVec<[Rank; 1]>> {
        let is_valid = |ranks: &[Rank]| ranks.first().is_some_and(|best| best.grade.is_valid());
        let chosen = &name.chosen;
        let Some(wildcard) = wildcard_of(host) else {
            return (!chosen.is_empty()).then(|| chosen.clone());
        };
        let inherited = self.names.get(&wildcard).map(|name| &*name.chosen).unwrap_or_default();
        let Some(owner) = &name.owner else {
            let same_namespace = |(one, other): (&Rank, &Rank)| one.namespace == other.namespace;
            let yields = !is_valid(chosen)
                && is_valid(inherited)
                && chosen.first().zip(inherited.first()).is_some_and(same_namespace);
            return (!chosen.is_empty() && !yields).then(|| chosen.clone());
        };
        let mut taken = chosen.clone();
        if !is_valid(&taken) {
            let of_wildcard = self.choose(&wildcard, Some(&owner.namespace));
            if taken.is_empty() || is_valid(&of_wildcard) {
                taken = of_wildcard;
            }
        }
        (!same_secrets(&taken, inherited)).then_some(taken)
    }

    /// The exact names that a wildcard covers, and whose certificates may depend on it.
    fn below<'o>(&'o self, wildcard: &'o HostPattern) -> impl Iterator<Item = HostPattern> + 'o {
        let suffix = match wildcard {
            HostPattern::Wildcard(suffix) => Some(&**suffix),
            HostPattern::Exact(_) | HostPattern::Any => None,
        };
        // No name comes before the one with an empty first label.
        let first = Below(format!(".{}", suffix.unwrap_or_default()).into());
        let covered = move |name: &&Below| suffix.is_some() && wildcard_suffix(&name.0) == suffix;
        let names = self.below.range(first..).take_while(covered);
        names.map(|name| HostPattern::Exact(name.0.clone()))
    }

    /// Notes whether an exact name has a rule or an offer.
    fn note_below(&mut self, name: &HostPattern, there: bool) {
        let HostPattern::Exact(host) = name else { return };
        if wildcard_suffix(host).is_none() {
            return;
        }
        if there {
            self.below.insert(Below(host.clone()));
        } else {
            self.below.remove(&Below(host.clone()));
        }
    }

    /// The offers a name takes: where it has an owner, those of its namespace alone.
    fn choose(&self, name: &HostPattern, owner: Option<&Arc<str>>) -> SmallVec<[Rank; 1]> {
        let mut firsts: Vec<&Rank> = Vec::new();
        let mut from = Rank {
            namespace: owner.cloned().unwrap_or_default(),
            by: Use {
                seniority: Seniority::FIRST,
                ..Use::default()
            },
            ..Rank::default()
        };
        // From each namespace and kind of key the first; those after it are passed over.
        while let Some((_, rank)) = self
            .ranked
            .range((name.clone(), from.clone())..)
            .next()
            .filter(|(other, rank)| other == name && owner.is_none_or(|owner| *owner == rank.namespace))
        {
            firsts.push(rank);
            from.namespace = rank.namespace.clone();
            from.algorithm = rank.algorithm + 1;
        }
        firsts.sort_by_key(|rank| {
            (
                rank.grade,
                rank.by.seniority,
                &rank.namespace,
                &rank.by.name,
                rank.by.kind,
                rank.by.entry,
                &rank.secret,
            )
        });
        let mut chosen: SmallVec<[Rank; 1]> = SmallVec::new();
        for rank in firsts {
            let beside = chosen.first().is_none_or(|best| {
                // Clients choose by what they can verify: beside a good one, none may stand that they then refuse.
                // And beside what somebody asked for, none of a stranger who did not ask for this name.
                rank.grade.as_valid_as(best.grade) && (!rank.grade.implicit || rank.namespace == best.namespace)
            });
            if beside && chosen.iter().all(|other| other.algorithm != rank.algorithm) {
                chosen.push(rank.clone());
            }
        }
        chosen
    }
}
