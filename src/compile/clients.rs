//! What hosts ask of the connections of their clients: whose word counts, and what comes of the Secret that it names.
//!
//! A connection is for one name, so a host asks all of its clients for the same. The oldest object of the namespace that
//! has the host decides. Where what it names is missing or cannot be read, all routes of the host are closed. Versions and
//! cipher suites of TLS are those that all objects of that namespace take.

use super::claimants::hosts;
use super::{Key, State, certificate};
use crate::dialect::annotations::{ClientsWanted, VerifyWanted};
use crate::dialect::reading::Reading;
use crate::model::annotation::PREFIX;
use crate::model::object::Meta;
use crate::model::{Code, Diagnostic, ObjectRef, Seniority};
use crate::table::{ClientParts, ClientRules, Guard, HostPattern, HostTls, ProfileParts, TlsProfile, TlsTerms, Verify};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Weak};

/// What one object asks of the clients of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    seniority: Seniority,
    object: ObjectRef,
    wanted: Arc<ClientsWanted>,
}

impl Part {
    fn guard(&self) -> Arc<Guard> {
        Arc::new(Guard {
            object: self.object.clone(),
            name: self.wanted.named_by().into(),
            invalid: true,
        })
    }

    /// Whether it closes its own routes where the host asks for something else. ingress-nginx goes by the oldest Ingress.
    fn insists(&self) -> bool {
        self.wanted.named_by().starts_with(PREFIX)
    }
}

/// Why all routes of a host are closed, for a sentence that goes on.
type Fault = (Code, String);

/// What is known of a host.
#[derive(Debug, Default)]
struct OfHost {
    /// In the order of their age.
    parts: Vec<Part>,
    /// The object that decides.
    decides: Option<ObjectRef>,
    /// Why all routes of the host are closed.
    fault: Option<Fault>,
}

/// The hosts for which something is asked.
#[derive(Debug, Default)]
pub(super) struct HostsClients {
    hosts: HashMap<HostPattern, OfHost>,
    /// Those that are to be settled again.
    stale: BTreeSet<HostPattern>,
    /// Profiles in use, so that hosts which ask for the same share one.
    profiles: HashMap<ProfileParts, Weak<TlsProfile>>,
}

impl HostsClients {
    /// The owner of a host may have changed.
    pub fn touch(&mut self, host: &HostPattern) {
        if !self.hosts.is_empty() && self.hosts.contains_key(host) {
            self.stale.insert(host.clone());
        }
    }
}

impl State {
    /// Replaces what an object asks of the clients of its hosts.
    pub(super) fn set_client_parts(
        &mut self,
        object: &ObjectRef,
        old: &Option<(Reading, &Meta)>,
        new: &Option<(Reading, &Meta)>,
    ) {
        // A canary's hosts are those of the object that it is the canary of.
        let asks =
            |(reading, _): &&(Reading, &Meta)| reading.settings.clients.concerns_tls() && !reading.seniority.canary;
        for host in old.iter().filter(asks).flat_map(|(reading, _)| hosts(reading)) {
            if let Some(of_host) = self.clients.hosts.get_mut(&host) {
                of_host.parts.retain(|part| part.object != *object);
            }
            self.clients.stale.insert(host);
        }
        let Some((reading, meta)) = new.as_ref().filter(asks) else {
            return;
        };
        if let Some((_, secret)) = &reading.settings.clients.secret {
            self.secrets.need_authorities(&(meta.namespace.clone(), secret.clone()));
        }
        let wanted = Arc::new(reading.settings.clients.clone());
        for host in hosts(reading) {
            let part = Part {
                seniority: reading.seniority,
                object: object.clone(),
                wanted: wanted.clone(),
            };
            let parts = &mut self.clients.hosts.entry(host.clone()).or_default().parts;
            parts.push(part);
            parts.sort_by(|one, other| (one.seniority, &one.object).cmp(&(other.seniority, &other.object)));
            self.clients.stale.insert(host);
        }
    }

    /// Brings up to date what hosts ask of their clients.
    pub(super) fn settle_clients(&mut self) {
        for host in std::mem::take(&mut self.clients.stale) {
            self.settle_clients_of(&host);
        }
    }

    fn settle_clients_of(&mut self, host: &HostPattern) {
        let Some(of_host) = self.clients.hosts.get(host) else {
            return;
        };
        let parts = of_host.parts.clone();
        let owner = self.namespace_of_host(host);
        let has_host = |part: &&Part| owner.as_ref() == Some(&part.object.namespace);
        let first = parts.iter().filter(|part| part.wanted.is_asked()).find(has_host);
        let terms = terms_of(parts.iter().filter(has_host));
        let mut fault = None;
        let closed = |part: &&Part| {
            let asks = part.wanted.is_asked();
            let differs = |first: &Part| asks && part.insists() && !part.wanted.asks_as(&first.wanted);
            !has_host(part) || first.is_some_and(differs)
        };
        let closed: Box<[Arc<Guard>]> = parts.iter().filter(closed).map(Part::guard).collect();
        let rules = match first.filter(|_| owner.is_some()) {
            Some(first) => {
                let wanted = &first.wanted;
                let tls = match (wanted.broken, &wanted.secret, wanted.verify) {
                    (None, Some(_), VerifyWanted::Off) => terms.map(|terms| self.usual(terms)),
                    (None, Some((_, secret)), VerifyWanted::As(verify)) => {
                        let key = (first.object.namespace.clone(), secret.clone());
                        let profile = |terms| self.profile(terms, &key, verify, wanted.depth());
                        terms.and_then(profile).map(HostTls::Profile)
                    }
                    _ => Err((Code::GuardInvalid, "its value cannot be read".to_owned())),
                };
                let tls = tls.unwrap_or_else(|why| {
                    fault = Some(why);
                    HostTls::Broken
                });
                Some(ClientRules {
                    guard: first.guard(),
                    tls,
                    subject: wanted.subject.clone(),
                    error_page: wanted.error_page.clone(),
                    told: true,
                    passed: wanted.passed,
                    closed,
                })
            }
            None => {
                let tls = terms.map(|terms| self.usual(terms)).unwrap_or_else(|why| {
                    fault = Some(why);
                    HostTls::Broken
                });
                let is_needed = !closed.is_empty() || tls != HostTls::Usual;
                let part = parts.iter().find(has_host).or(parts.first());
                part.filter(|_| is_needed).map(|part| ClientRules {
                    guard: part.guard(),
                    tls,
                    subject: None,
                    error_page: None,
                    told: false,
                    passed: false,
                    closed,
                })
            }
        };
        let decides = first.map(|first| first.object.clone());
        let known = self.table.host(host).and_then(|table| table.clients.clone());
        let is_same = known.as_deref() == rules.as_ref();
        if let Some(of_host) = self.clients.hosts.get_mut(host) {
            let said_before = (of_host.decides.clone(), of_host.fault.clone());
            (of_host.decides, of_host.fault) = (decides, fault);
            if !is_same || said_before != (of_host.decides.clone(), of_host.fault.clone()) {
                self.stale.insert_guarded(host.clone());
                self.stale.extend(parts.iter().map(|part| part.object.clone()));
            }
        }
        if parts.is_empty() {
            self.clients.hosts.remove(host);
        }
        if is_same {
            return;
        }
        self.journal.clients(host, rules.as_ref());
        self.table.set_client_rules(host, rules.map(Arc::new));
        self.changed = true;
        // Other names of the host have a copy of its table.
        self.touch_host(host);
    }

    /// The namespace of the oldest object with a rule, or a default backend, for exactly a host.
    pub(super) fn namespace_of_host(&self, host: &HostPattern) -> Option<Arc<str>> {
        let fallback = self.table.fallback().filter(|_| *host == HostPattern::Any);
        let routes = self.rules_of(host).chain(fallback);
        let oldest = routes.map(|route| self.oldest(route)).min()?;
        Some(oldest.origin.object.namespace)
    }

    /// TLS of a host that asks clients for no certificate.
    fn usual(&mut self, terms: TlsTerms) -> HostTls {
        if terms == TlsTerms::default() {
            return HostTls::Usual;
        }
        let made_of = ProfileParts { terms, clients: None };
        HostTls::Profile(match self.known_profile(&made_of) {
            Some(profile) => profile,
            None => self.keep_profile(TlsProfile::new(made_of, None)),
        })
    }

    fn known_profile(&self, made_of: &ProfileParts) -> Option<Arc<TlsProfile>> {
        self.clients.profiles.get(made_of).and_then(Weak::upgrade)
    }

    fn keep_profile(&mut self, profile: TlsProfile) -> Arc<TlsProfile> {
        let profile = Arc::new(profile);
        self.clients.profiles.retain(|_, profile| profile.strong_count() > 0);
        self.clients
            .profiles
            .insert(profile.made_of.clone(), Arc::downgrade(&profile));
        profile
    }

    /// The profile that is made of a Secret, or what is wrong with that.
    fn profile(&mut self, terms: TlsTerms, key: &Key, verify: Verify, depth: u32) -> Result<Arc<TlsProfile>, Fault> {
        let (namespace, name) = key;
        let Some(known) = self.secrets.get(key) else {
            return Err(self.no_secret(namespace, name));
        };
        // An older version that could be read is not used: somebody may have been locked out since.
        if let Some(fault) = known.authorities_fault() {
            return Err((Code::GuardInvalid, fault.to_owned()));
        }
        let unread = || (Code::GuardInvalid, "nobody has read it".to_owned());
        let authorities = known.authorities().ok_or_else(unread)?;
        let made_of = ProfileParts {
            terms,
            clients: Some(ClientParts {
                secret: ObjectRef::new(crate::model::Kind::Secret, namespace.clone(), name.clone()),
                authorities: authorities.pem.clone(),
                revoked: known.secret.revoked.clone(),
                verify,
                depth,
            }),
        };
        if let Some(profile) = self.known_profile(&made_of) {
            return Ok(profile);
        }
        let authorities = certificate::client_authorities(&known.secret, authorities)
            .map_err(|fault| (Code::GuardInvalid, fault.to_string()))?;
        Ok(self.keep_profile(TlsProfile::new(made_of, Some(authorities))))
    }

    /// What an object asks of the TLS of its hosts, where that is not as the object wants it.
    fn diagnose_terms(
        &self,
        object: &ObjectRef,
        (host, of_host): (&HostPattern, &OfHost),
        reading: &Reading,
        said: &mut Vec<Diagnostic>,
    ) {
        let asked_by = reading.settings.clients.terms.asked_by();
        let field = match asked_by {
            Some(name) => format!("annotation {name}"),
            None => super::diagnose::host_field(reading, host),
        };
        let is_owner = self.namespace_of_host(host).as_ref() == Some(&object.namespace);
        if asked_by.is_some() && !is_owner {
            let message = format!(
                "another namespace has {host} and decides about its TLS, so the routes of this Ingress for it are closed: \
                 requests get 503"
            );
            said.push(Diagnostic::new(Code::GuardInvalid, object, field, message));
        } else if let (None, Some((code, fault))) = (&of_host.decides, &of_host.fault) {
            let message = format!("{fault}, so all routes of {host} are closed: requests get 503");
            said.push(Diagnostic::new(*code, object, field, message));
        }
    }

    /// What an object's hosts ask of clients, and what of that is not as the object wants it.
    pub(super) fn diagnose_clients(&self, object: &ObjectRef, reading: &Reading, said: &mut Vec<Diagnostic>) {
        if let Some((name, suites)) = &reading.settings.clients.terms.unknown {
            let message = format!("narthex has no cipher suite of TLS 1.2 named {suites}, so clients cannot use it");
            let field = format!("annotation {name}");
            said.push(Diagnostic::new(Code::InvalidAnnotation, object, field, message));
        }
        if self.clients.hosts.is_empty() || reading.seniority.canary {
            return;
        }
        let all: BTreeSet<HostPattern> = hosts(reading).into_iter().collect();
        let wanted = Some(&reading.settings.clients).filter(|wanted| wanted.is_asked());
        for host in all {
            let Some(of_host) = self.clients.hosts.get(&host) else {
                continue;
            };
            self.diagnose_terms(object, (&host, of_host), reading, said);
            let field = match wanted {
                Some(wanted) => format!("annotation {}", wanted.named_by()),
                None => super::diagnose::host_field(reading, &host),
            };
            let mut say = |code, message| said.push(Diagnostic::new(code, object, field.clone(), message));
            let host = match &host {
                HostPattern::Any => "any host".to_owned(),
                host => host.to_string(),
            };
            match (&of_host.decides, wanted) {
                (Some(decides), _) if decides == object => {
                    if let Some((code, fault)) = &of_host.fault {
                        let message = format!("{fault}, so all routes of {host} are closed: requests get 503");
                        say(*code, message);
                    }
                }
                (Some(decides), None) if of_host.fault.is_some() => {
                    let message = format!(
                        "clients of {host} need a certificate because of {decides}, and what verifies them is missing or \
                         broken, so its routes are closed: requests get 503"
                    );
                    say(
                        of_host.fault.as_ref().map_or(Code::GuardInvalid, |(code, _)| *code),
                        message,
                    );
                }
                (Some(decides), None) => {
                    let what = if serves_anybody(decides, &of_host.parts) {
                        "are asked for a certificate"
                    } else {
                        "need a certificate"
                    };
                    let message = format!("clients of {host} {what} because of {decides}");
                    say(Code::HostAsksForCertificates, message);
                }
                (decides, Some(wanted)) => {
                    let whose = decides.as_ref().map(ToString::to_string);
                    let whose = whose.unwrap_or_else(|| "the namespace that has the host".to_owned());
                    let is_own = decides
                        .as_ref()
                        .is_some_and(|decides| decides.namespace == object.namespace);
                    let part = of_host.parts.iter().find(|part| Some(&part.object) == decides.as_ref());
                    let agrees = is_own && part.is_some_and(|part| part.wanted.asks_as(wanted));
                    let insists = wanted.named_by().starts_with(PREFIX);
                    if agrees {
                        let message = format!("clients of {host} need a certificate because of {whose}, too");
                        say(Code::HostAsksForCertificates, message);
                    } else if is_own && !insists {
                        let message = format!(
                            "{whose} is older and decides which certificates clients of {host} need, so this has no effect"
                        );
                        say(Code::ClientCertificatesConflict, message);
                    } else {
                        let message = format!(
                            "{whose} decides which certificates clients of {host} need, and this Ingress asks for something \
                             else, so its routes are closed: requests get 503"
                        );
                        say(Code::GuardInvalid, message);
                    }
                }
                (None, None) => {}
            }
        }
    }
}

/// The versions and suites that all of some objects take.
fn terms_of<'p>(parts: impl Iterator<Item = &'p Part>) -> Result<TlsTerms, Fault> {
    let mut all = TlsTerms::default();
    for part in parts {
        let wanted = &part.wanted.terms;
        let wrong = |why: &str| {
            (
                Code::GuardInvalid,
                format!(
                    "annotation {} of {} {why}",
                    wanted.asked_by().unwrap_or_default(),
                    part.object
                ),
            )
        };
        if wanted.broken.is_some() {
            return Err(wrong("cannot be read"));
        }
        all = all
            .and(wanted.terms)
            .ok_or_else(|| wrong("leaves no cipher suite that older Ingresses of the host take"))?;
    }
    Ok(all)
}

fn serves_anybody(decides: &ObjectRef, parts: &[Part]) -> bool {
    let part = parts.iter().find(|part| part.object == *decides);
    let needs = |part: &Part| part.wanted.subject.is_some() || part.wanted.verify == VerifyWanted::As(Verify::Required);
    part.is_some_and(|part| !needs(part))
}

#[cfg(test)]
mod tests;
