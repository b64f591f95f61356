//! `spec.tls`: who offers a certificate for which name, and which is shown.
//!
//! An entry counts for a name that its own namespace owns (by the oldest rule for it) or nobody does. Of the offers
//! for a name the best is taken: one that covers the name before one that does not, a valid one before one that is
//! not, one listed under `hosts` before one that only happens to cover the name, the oldest Ingress before others.

use super::certificate;
use super::read::TlsEntry;
use super::{Key, State};
use crate::model::object::{Ingress, Meta, Secret};
use crate::model::{Code, Diagnostic, Kind, ObjectRef, Timestamp};
use crate::table::route::Age;
use crate::table::{Certificate, CertificateSet, HostPattern};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// A Secret as read last.
#[derive(Debug, Default)]
struct Read {
    /// The last certificate that was good.
    good: Option<Arc<Certificate>>,
    /// What is wrong with what it holds now.
    problem: Option<String>,
}

/// One Ingress's offer of a certificate for a name. In the order in which they are taken, all else being equal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Offer {
    /// Not listed: the certificate happens to cover the name.
    implicit: bool,
    /// The Ingress, and as place the entry.
    age: Age,
    secret: Key,
}

/// Everything about TLS that is known.
#[derive(Debug, Default)]
pub(super) struct Tls {
    read: HashMap<Key, Read>,
    /// Ingresses that name a Secret.
    users: HashMap<Key, BTreeSet<Key>>,
    offers: HashMap<HostPattern, BTreeSet<Offer>>,
    /// What was last said of each name that is offered.
    verdicts: HashMap<HostPattern, Verdict>,
    /// Whether the Secrets in `users` are the same as when they were asked for last.
    pub(super) wanted_known: bool,
    /// What each Ingress has in the two above.
    of_ingress: HashMap<Key, Given>,
}

/// What the reports of those who offer a certificate for a name depend on.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    owner: Option<Arc<str>>,
    best: Vec<Offer>,
}

/// What one Ingress gives.
#[derive(Debug)]
struct Given {
    offers: Vec<(HostPattern, Offer)>,
    secrets: Vec<Key>,
}

impl Tls {
    /// Secrets that Ingresses name.
    pub(super) fn wanted(&self) -> impl Iterator<Item = &Key> {
        self.users.keys()
    }

    /// The certificate of a Secret, good or the last that was.
    pub(super) fn certificate(&self, secret: &Key) -> Option<&Arc<Certificate>> {
        self.read.get(secret)?.good.as_ref()
    }
}

/// Where a certificate stands in time: too early, in it, too late. Before the compiler is told the time, all are in it.
fn standing(certificate: &Certificate, now: Timestamp) -> Ordering {
    match now {
        Timestamp::UNKNOWN => Ordering::Equal,
        now if now < certificate.not_before => Ordering::Less,
        now if now > certificate.not_after => Ordering::Greater,
        _ => Ordering::Equal,
    }
}

fn in_time(certificate: &Certificate, now: Timestamp) -> bool {
    standing(certificate, now).is_eq()
}

impl State {
    /// Takes a Secret in, and looks again at the Ingresses that name it.
    pub(super) fn put_secret(&mut self, key: Key, secret: Arc<Secret>) {
        if self.secrets.get(&key) == Some(&secret) {
            return;
        }
        let read = self.tls.read.entry(key.clone()).or_default();
        match certificate::parse(&secret) {
            Ok(good) => {
                *read = Read {
                    good: Some(Arc::new(good)),
                    problem: None,
                }
            }
            Err(problem) => read.problem = Some(problem),
        }
        self.secrets.insert(key.clone(), secret);
        self.secret_changed(&key);
    }

    /// Lets a Secret go.
    pub(super) fn delete_secret(&mut self, key: &Key) {
        self.secrets.remove(key);
        if self.tls.read.remove(key).is_some() {
            self.secret_changed(key);
        }
    }

    fn secret_changed(&mut self, secret: &Key) {
        self.stale
            .insert(ObjectRef::new(Kind::Secret, secret.0.clone(), secret.1.clone()));
        let users = self.tls.users.get(secret).cloned().unwrap_or_default();
        for user in users {
            if let Some(known) = self.ingresses.get(&user) {
                let ingress = known.ingress.clone();
                self.recompile_ingress(user, ingress);
            }
        }
        if self.options.default_certificate.as_ref() == Some(secret) {
            let set = self
                .tls
                .certificate(secret)
                .map(|one| Arc::new(CertificateSet::new([one.clone()])));
            self.table.set_certificates(&HostPattern::Any, set);
            self.changed = true;
        }
    }

    /// What time it is: certificates begin and expire.
    pub(super) fn set_time(&mut self, now: Timestamp) {
        let before = std::mem::replace(&mut self.now, now);
        let changed: Vec<Key> = self
            .tls
            .read
            .iter()
            .filter(|(_, read)| {
                let good = read.good.as_ref();
                good.is_some_and(|good| standing(good, before) != standing(good, now))
            })
            .map(|(key, _)| key.clone())
            .collect();
        for secret in changed {
            self.secret_changed(&secret);
        }
    }

    /// Puts the offers of one Ingress in the place of those it had. `hosts` are those whose owner may have changed.
    pub(super) fn settle_tls(&mut self, key: &Key, new: Option<(&Meta, &[TlsEntry])>, hosts: BTreeSet<HostPattern>) {
        let mut touched: BTreeSet<HostPattern> = hosts
            .into_iter()
            .filter(|host| self.tls.offers.contains_key(host))
            .collect();
        if let Some(Given { offers, secrets }) = self.tls.of_ingress.remove(key) {
            for (name, offer) in offers {
                if let Some(known) = self.tls.offers.get_mut(&name) {
                    known.remove(&offer);
                }
                touched.insert(name);
            }
            for secret in secrets {
                if let Some(users) = self.tls.users.get_mut(&secret) {
                    users.remove(key);
                    if users.is_empty() {
                        self.tls.wanted_known = false;
                        self.tls.users.remove(&secret);
                    }
                }
            }
        }
        if let Some((meta, entries)) = new.filter(|(_, entries)| !entries.is_empty()) {
            let offers = self.offers_of(meta, entries);
            for (name, offer) in &offers {
                self.tls.offers.entry(name.clone()).or_default().insert(offer.clone());
                touched.insert(name.clone());
            }
            let secrets: Vec<Key> = entries.iter().filter_map(|entry| entry.secret.clone()).collect();
            for secret in &secrets {
                let users = self.tls.users.entry(secret.clone()).or_default();
                self.tls.wanted_known &= !users.is_empty();
                users.insert(key.clone());
            }
            self.tls.of_ingress.insert(key.clone(), Given { offers, secrets });
        }
        for name in touched {
            self.show_best(&name);
        }
    }

    fn offers_of(&self, meta: &Meta, entries: &[TlsEntry]) -> Vec<(HostPattern, Offer)> {
        let mut offers = Vec::new();
        for entry in entries {
            let Some(secret) = &entry.secret else { continue };
            let offer = |implicit| Offer {
                implicit,
                age: Age {
                    created: meta.created,
                    namespace: meta.namespace.clone(),
                    name: meta.name.clone(),
                    place: (entry.index, 0),
                },
                secret: secret.clone(),
            };
            let listed = entry.hosts.iter().map(|(_, host)| (host.clone(), offer(false)));
            offers.extend(listed);
            let names = self
                .tls
                .certificate(secret)
                .map(|one| one.names.as_slice())
                .unwrap_or_default();
            let others = names
                .iter()
                .filter(|name| entry.hosts.iter().all(|(_, host)| host != *name));
            offers.extend(others.map(|name| (name.clone(), offer(!entry.hosts.is_empty()))));
        }
        offers.sort();
        offers.dedup();
        offers
    }

    /// The namespace of the oldest rule for exactly this host.
    fn owner(&self, host: &HostPattern) -> Option<Arc<str>> {
        let table = self.table.host(host)?;
        let routes = table.paths.routes().chain(table.default.iter());
        let oldest = routes.min_by(|one, other| one.age().cmp(&other.age()))?;
        Some(oldest.origin.object.namespace.clone())
    }

    /// The offers that are taken for a name, the best first.
    fn taken(&self, name: &HostPattern) -> Vec<(&Offer, &Arc<Certificate>)> {
        let Some(offers) = self.tls.offers.get(name) else {
            return Vec::new();
        };
        let owner = self.owner(name);
        let may = |offer: &&Offer| owner.as_ref().is_none_or(|owner| *owner == offer.age.namespace);
        let mut best: Option<(bool, bool, &Offer)> = None;
        for offer in offers.iter().filter(may) {
            let Some(certificate) = self.tls.certificate(&offer.secret) else {
                continue;
            };
            let rank = (!certificate.covers(name), !in_time(certificate, self.now), offer);
            if best.as_ref().is_none_or(|best| rank < *best) {
                best = Some(rank);
            }
            if let Some((false, false, _)) = best {
                break;
            }
        }
        let Some((uncovered, late, best)) = best else {
            return Vec::new();
        };
        // Another kind of key stands beside it only if the same Ingress says so.
        let beside = offers.iter().filter(|offer| {
            offer.implicit == best.implicit
                && (&offer.age.namespace, &offer.age.name) == (&best.age.namespace, &best.age.name)
        });
        let mut taken: Vec<(&Offer, &Arc<Certificate>)> = Vec::new();
        for offer in std::iter::once(best).chain(beside) {
            let Some(certificate) = self.tls.certificate(&offer.secret) else {
                continue;
            };
            let as_good = (!certificate.covers(name), !in_time(certificate, self.now)) <= (uncovered, late);
            if as_good && taken.iter().all(|(_, known)| known.algorithm != certificate.algorithm) {
                taken.push((offer, certificate));
            }
        }
        taken
    }

    fn show_best(&mut self, name: &HostPattern) {
        if *name == HostPattern::Any {
            return;
        }
        let taken = self.taken(name);
        let verdict = Verdict {
            owner: self.owner(name),
            best: taken.iter().map(|(offer, _)| (*offer).clone()).collect(),
        };
        let set = CertificateSet::new(taken.into_iter().map(|(_, certificate)| certificate.clone()));
        let some = set.iter().next().is_some();
        let set = some.then_some(set);
        let before = self.table.certificate_set(name);
        let same = match (&set, before) {
            (Some(set), Some(before)) => set.is_same(before),
            (None, None) => true,
            _ => false,
        };
        if !same {
            self.table.set_certificates(name, set.map(Arc::new));
            self.changed = true;
        }
        // What is said of those that are not taken names the one that is, or the owner.
        if self.tls.verdicts.get(name) != Some(&verdict) {
            self.tls.verdicts.insert(name.clone(), verdict);
            for offer in self.tls.offers.get(name).into_iter().flatten() {
                let age = &offer.age;
                self.stale
                    .insert(ObjectRef::new(Kind::Ingress, age.namespace.clone(), age.name.clone()));
            }
        }
        if self.tls.offers.get(name).is_some_and(BTreeSet::is_empty) {
            self.tls.offers.remove(name);
            self.tls.verdicts.remove(name);
        }
    }

    /// Whether an Ingress's own `spec.tls` covers a host.
    pub(super) fn is_covered(&self, entries: &[TlsEntry], host: &HostPattern) -> bool {
        entries.iter().any(|entry| {
            if entry.hosts.is_empty() {
                let certificate = entry.secret.as_ref().and_then(|secret| self.tls.certificate(secret));
                return certificate.is_some_and(|certificate| certificate.covers(host));
            }
            entry.hosts.iter().any(|(_, listed)| match (listed, host) {
                (HostPattern::Wildcard(_), HostPattern::Exact(name)) => listed.matches(Some(name)),
                (listed, host) => listed == host,
            })
        })
    }

    /// What is wrong with the certificate of a Secret, with the code for it.
    fn problem_of(&self, secret: &Key) -> Option<(Code, String)> {
        let (namespace, name) = secret;
        let Some(read) = self.tls.read.get(secret) else {
            return Some((
                Code::SecretNotFound,
                format!(
                    "there is no Secret \"{name}\" in namespace \"{namespace}\" (or narthex may not read it); its hosts \
                     get the default certificate"
                ),
            ));
        };
        if let Some(problem) = &read.problem {
            let then = match read.good {
                Some(_) => "the certificate it held before stays in use",
                None => "its hosts get the default certificate",
            };
            return Some((Code::InvalidCertificate, format!("Secret \"{name}\" {problem}; {then}")));
        }
        let certificate = read.good.as_ref()?;
        Some(match standing(certificate, self.now) {
            Ordering::Equal => return None,
            Ordering::Greater => {
                let when = certificate.not_after;
                (
                    Code::CertificateExpired,
                    format!("the certificate of Secret \"{name}\" expired at {when}: renew it"),
                )
            }
            Ordering::Less => {
                let when = certificate.not_before;
                (
                    Code::CertificateNotYetValid,
                    format!("the certificate of Secret \"{name}\" is valid only from {when}"),
                )
            }
        })
    }

    pub(super) fn diagnose_secret(&self, object: &ObjectRef, said: &mut Vec<Diagnostic>) {
        let key = super::key(object);
        if self.options.default_certificate.as_ref() == Some(&key)
            && let Some((code, message)) = self.problem_of(&key)
        {
            let message = format!("--default-certificate: {message}");
            said.push(Diagnostic::new(code, object, "", message));
        }
    }

    pub(super) fn diagnose_tls(
        &self,
        object: &ObjectRef,
        ingress: &Ingress,
        entries: &[TlsEntry],
        said: &mut Vec<Diagnostic>,
    ) {
        let mut seen: BTreeMap<&Key, ()> = BTreeMap::new();
        for entry in entries {
            let Some(secret) = &entry.secret else { continue };
            let field = format!("spec.tls[{}]", entry.index);
            if seen.insert(secret, ()).is_none()
                && let Some((code, message)) = self.problem_of(secret)
            {
                said.push(Diagnostic::new(code, object, format!("{field}.secretName"), message));
            }
            let certificate = self.tls.certificate(secret);
            for (index, host) in &entry.hosts {
                let field = format!("{field}.hosts[{index}]");
                if let Some(owner) = self.owner(host)
                    && owner != ingress.meta.namespace
                {
                    let message = format!(
                        "{host} belongs to namespace \"{owner}\", whose rule for it is the oldest; this certificate is \
                         not used for it"
                    );
                    said.push(Diagnostic::new(Code::HostOfOtherNamespace, object, field, message));
                    continue;
                }
                let Some(certificate) = certificate else { continue };
                if !certificate.covers(host) {
                    let names: Vec<String> = certificate.names.iter().take(5).map(ToString::to_string).collect();
                    let names = if names.is_empty() {
                        "no name at all".to_owned()
                    } else {
                        names.join(", ")
                    };
                    let message = format!(
                        "the certificate of Secret \"{}\" is for {names}, not for {host}",
                        secret.1
                    );
                    said.push(Diagnostic::new(Code::CertificateNameMismatch, object, &field, message));
                }
                let taken = self.taken(host);
                let used = taken.iter().any(|(offer, _)| offer.secret == *secret);
                if let (false, Some((best, _))) = (used, taken.first()) {
                    let message = format!(
                        "{host} has the certificate of Secret \"{}\", from Ingress {}/{}; this one is not used",
                        best.secret.1, best.age.namespace, best.age.name
                    );
                    said.push(Diagnostic::new(Code::CertificateConflict, object, field, message));
                }
            }
        }
    }
}
