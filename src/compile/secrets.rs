//! What is known of Secrets: each is read once per version, and only when something needs it.

use super::links::Cause;
use super::{Key, State, certificate};
use crate::dialect::openshift::OWN_SECRET;
use crate::model::object::Secret;
use crate::model::{Code, Diagnostic, Kind, ObjectRef, Timestamp};
use crate::table::{Certificate, CertificateSet, DigestUsers, DigestUsersRead, HostPattern, Users, UsersRead};
use rustls::RootCertStore;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// The entry of a Secret that is a file by htpasswd.
const FILE: &str = "auth";

/// A Secret that is there.
#[derive(Debug)]
pub(super) struct Known {
    pub secret: Arc<Secret>,
    /// What came of reading that; none until somebody needs it.
    reading: Option<Result<Arc<Certificate>, String>>,
    /// The last version that could be read, where the last of all cannot.
    good: Option<(Arc<Secret>, Arc<Certificate>)>,
    /// Likewise what comes of its `ca.crt`.
    authorities: Option<Result<Arc<Authorities>, String>>,
    good_authorities: Option<(Arc<Secret>, Arc<Authorities>)>,
    /// The users of its entry `auth`, and those of all its entries, where somebody needs them.
    users: [Option<UsersRead>; 2],
    /// Likewise those whose digests are asked for.
    digests: [Option<DigestUsersRead>; 2],
}

/// Whom pods' certificates may be signed by.
#[derive(Debug)]
pub(super) struct Authorities {
    pub pem: Arc<[u8]>,
    /// As rustls has them.
    pub roots: Arc<RootCertStore>,
}

impl Known {
    fn new(secret: Arc<Secret>) -> Self {
        Self {
            secret,
            reading: None,
            good: None,
            authorities: None,
            good_authorities: None,
            users: [None, None],
            digests: [None, None],
        }
    }

    /// The users in it, once they were read: from its entry `auth`, or from one entry for each user (`map`).
    pub fn users(&self, map: bool) -> Option<&UsersRead> {
        self.users.get(usize::from(map))?.as_ref()
    }

    /// Likewise those whose digests are asked for.
    pub fn digests(&self, map: bool) -> Option<&DigestUsersRead> {
        self.digests.get(usize::from(map))?.as_ref()
    }

    fn entries(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.secret.others.iter().map(|(name, value)| (&**name, &**value))
    }

    fn file(&self) -> Result<&[u8], Vec<String>> {
        let file = self.entries().find(|(name, _)| *name == FILE);
        file.map(|(_, text)| text)
            .ok_or_else(|| vec![format!("there is no entry \"{FILE}\" in it")])
    }

    fn read_users(&mut self, map: bool) {
        let new = match self.file() {
            _ if map => Users::of_map(self.entries()),
            Ok(text) => Users::of_file(text),
            Err(wrong) => UsersRead { users: None, wrong },
        };
        if let Some(known) = self.users.get_mut(usize::from(map)) {
            known.get_or_insert(new);
        }
    }

    fn read_digests(&mut self, map: bool) {
        let new = match self.file() {
            _ if map => DigestUsers::of_map(self.entries()),
            Ok(text) => DigestUsers::of_file(text),
            Err(wrong) => DigestUsersRead { users: None, wrong },
        };
        if let Some(known) = self.digests.get_mut(usize::from(map)) {
            known.get_or_insert(new);
        }
    }

    fn read(&mut self) -> &Result<Arc<Certificate>, String> {
        let secret = &self.secret;
        self.reading
            .get_or_insert_with(|| certificate::read(secret).map(Arc::new))
    }

    /// The certificate in use: that of the last version that could be read.
    pub fn certificate(&self) -> Option<&Arc<Certificate>> {
        match self.reading.as_ref()? {
            Ok(certificate) => Some(certificate),
            Err(_) => self.good.as_ref().map(|(_, certificate)| certificate),
        }
    }

    /// What is wrong with the last version, once it was read.
    pub fn fault(&self) -> Option<&str> {
        self.reading.as_ref()?.as_ref().err().map(String::as_str)
    }

    /// The version whose certificate is in use.
    pub fn secret_in_use(&self) -> &Arc<Secret> {
        self.good.as_ref().map_or(&self.secret, |(secret, _)| secret)
    }

    fn read_authorities(&mut self) -> &Result<Arc<Authorities>, String> {
        let secret = &self.secret;
        self.authorities
            .get_or_insert_with(|| certificate::authorities(secret).map(Arc::new))
    }

    /// The authorities in use: those of the last version that could be read.
    pub fn authorities(&self) -> Option<&Arc<Authorities>> {
        match self.authorities.as_ref()? {
            Ok(authorities) => Some(authorities),
            Err(_) => self.good_authorities.as_ref().map(|(_, authorities)| authorities),
        }
    }

    /// What is wrong with those of the last version, once they were read.
    pub fn authorities_fault(&self) -> Option<&str> {
        self.authorities.as_ref()?.as_ref().err().map(String::as_str)
    }

    /// What is in use of earlier versions, since the last of all cannot be read: each by itself, so that it does not
    /// matter which came first.
    pub fn last_good(&self) -> Vec<Arc<Secret>> {
        let certificate = self.good.iter().map(|(secret, _)| Secret {
            ca: None,
            ..Secret::clone(secret)
        });
        let authorities = self.good_authorities.iter().map(|(secret, _)| Secret {
            certificate: None,
            key: None,
            ..Secret::clone(secret)
        });
        certificate.chain(authorities).map(Arc::new).collect()
    }

    /// Takes a new version. It is read at once, and so is the old one where the new is bad: whether somebody needs it
    /// now must not decide what is left of it later.
    fn replace(&mut self, secret: Arc<Secret>) {
        let same = self.secret.certificate == secret.certificate && self.secret.key == secret.key;
        if same && self.secret.ca == secret.ca {
            self.secret = secret;
            self.users = [None, None];
            self.digests = [None, None];
            return;
        }
        let mut new = Known::new(secret);
        if new.read_authorities().is_err() {
            let old = self.read_authorities().clone();
            new.good_authorities = match old {
                Ok(authorities) => Some((self.secret.clone(), authorities)),
                Err(_) => self.good_authorities.take(),
            };
        }
        if same {
            new.reading = self.reading.take();
            new.good = self.good.take();
        } else if new.read().is_err() {
            let old = self.read().clone();
            new.good = match old {
                Ok(certificate) => Some((self.secret.clone(), certificate)),
                Err(_) => self.good.take(),
            };
        }
        *self = new;
    }
}

/// The Secrets that are there.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    known: HashMap<Key, Known>,
    /// The first seconds at which a certificate in use is, or is no longer, valid.
    turns: BTreeSet<(Timestamp, Key)>,
}

impl Secrets {
    /// How many the source has told of.
    pub fn count(&self) -> usize {
        let own = |key: &&Key| key.1.starts_with(OWN_SECRET);
        self.known.len() - self.known.keys().filter(own).count()
    }

    /// Authorities that a flag names.
    pub fn set_authorities(&mut self, key: &Key, pem: &Arc<[u8]>) {
        let mut known = Known::new(Arc::new(Secret {
            ca: Some(pem.clone()),
            ..Secret::default()
        }));
        let _ = known.read_authorities();
        self.known.insert(key.clone(), known);
    }

    pub fn keys(&self) -> impl Iterator<Item = &Key> + Clone {
        self.known.keys()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Known> {
        self.known.values()
    }

    pub fn get(&self, key: &Key) -> Option<&Known> {
        self.known.get(key)
    }

    /// Reads who may sign in by a Secret, if it is there.
    pub fn need_users(&mut self, key: &Key, map: bool) {
        if let Some(known) = self.known.get_mut(key) {
            known.read_users(map);
        }
    }

    /// Likewise whose digests are asked for.
    pub fn need_digests(&mut self, key: &Key, map: bool) {
        if let Some(known) = self.known.get_mut(key) {
            known.read_digests(map);
        }
    }

    /// The certificate in use of a Secret, once it was read.
    pub fn certificate(&self, key: &Key) -> Option<&Arc<Certificate>> {
        self.known.get(key)?.certificate()
    }

    /// Reads the authorities of a Secret, if it is there.
    pub fn need_authorities(&mut self, key: &Key) {
        if let Some(known) = self.known.get_mut(key) {
            let _ = known.read_authorities();
        }
    }

    /// Reads a Secret that somebody needs.
    pub fn need(&mut self, key: &Key) {
        let Some(known) = self.known.get_mut(key) else { return };
        let _ = known.read_authorities();
        if known.reading.is_none() {
            let _ = known.read();
            self.note_turns(key);
        }
    }

    fn put(&mut self, key: &Key, secret: Arc<Secret>) {
        self.forget_turns(key);
        match self.known.get_mut(key) {
            Some(known) => known.replace(secret),
            None => {
                self.known.insert(key.clone(), Known::new(secret));
            }
        }
        self.note_turns(key);
    }

    fn remove(&mut self, key: &Key) -> bool {
        self.forget_turns(key);
        self.known.remove(key).is_some()
    }

    fn turns_of(&self, key: &Key) -> Option<[(Timestamp, Key); 3]> {
        let certificate = self.certificate(key)?;
        Some(turns(certificate).map(|turn| (turn, key.clone())))
    }

    fn note_turns(&mut self, key: &Key) {
        let turns = self.turns_of(key);
        self.turns.extend(turns.into_iter().flatten());
    }

    fn forget_turns(&mut self, key: &Key) {
        for turn in self.turns_of(key).into_iter().flatten() {
            self.turns.remove(&turn);
        }
    }

    /// The Secrets whose certificates may be valid at one of two times and not at the other.
    fn turning(&self, one: Timestamp, other: Timestamp) -> BTreeSet<Key> {
        let (from, to) = (one.min(other), one.max(other));
        // While nobody has said what time it is, all are valid.
        let least = if to == Timestamp::UNKNOWN {
            Timestamp(i64::MIN)
        } else {
            Timestamp(from.0.saturating_add(1))
        };
        self.turns
            .range((least, Key::default())..)
            .take_while(|(turn, _)| *turn <= to)
            .map(|(_, key)| key.clone())
            .collect()
    }
}

/// How long before its end a certificate should have been renewed: two weeks, but of one that is valid for less than
/// three months only a sixth of its time.
const SOON: i64 = 14 * 86400;
const PART: i64 = 6;

/// The first second in which a certificate is valid, the first in which it should have been renewed, and the first in
/// which it is not valid any more.
fn turns(certificate: &Certificate) -> [Timestamp; 3] {
    let (begin, end) = (certificate.not_before.0, certificate.not_after.0.saturating_add(1));
    let soon = end.saturating_sub(SOON.min(end.saturating_sub(begin) / PART));
    [begin, soon, end].map(Timestamp)
}

/// Where a certificate stands in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Validity {
    Valid,
    NotYet,
    Expired,
}

/// RFC 5280 section 4.1.2.5: both ends belong to the time in which it is valid.
pub(super) fn validity(certificate: &Certificate, now: Timestamp) -> Validity {
    let [begin, _, end] = turns(certificate);
    if now == Timestamp::UNKNOWN || (begin <= now && now < end) {
        Validity::Valid
    } else if now < begin {
        Validity::NotYet
    } else {
        Validity::Expired
    }
}

impl State {
    pub(super) fn put_secret(&mut self, key: &Key, secret: Arc<Secret>) {
        if self.secrets.get(key).is_some_and(|known| known.secret == secret) {
            return;
        }
        let before = self.secrets.certificate(key).cloned();
        self.secrets.put(key, secret);
        self.secret_changed(key, before.as_ref());
    }

    pub(super) fn delete_secret(&mut self, key: &Key) {
        let before = self.secrets.certificate(key).cloned();
        if self.secrets.remove(key) {
            self.secret_changed(key, before.as_ref());
        }
    }

    /// Replaces a Secret, or removes it. Nothing of the old one stays in use.
    pub(super) fn replace_secret(&mut self, key: &Key, secret: Option<Arc<Secret>>) {
        let before = self.secrets.certificate(key).cloned();
        self.secrets.remove(key);
        if let Some(secret) = secret {
            self.secrets.put(key, secret);
        }
        self.secret_changed(key, before.as_ref());
    }

    fn secret_changed(&mut self, key: &Key, before: Option<&Arc<Certificate>>) {
        let is_default = self.options.default_certificate.as_ref() == Some(key);
        let cause = Cause::secret(key.clone());
        if is_default || self.links.is_used(&cause) {
            self.secrets.need(key);
        }
        if is_default {
            self.default_changed();
        }
        self.gateway_secret_changed(key);
        self.tls_secret_changed(key);
        self.stale.insert_users(cause);
        self.forget_keys(&(Kind::Secret, key.clone()));
        self.offer_anew(key, before);
        self.recompile_routes_with(key);
        self.recompile_users(&Cause::Users(key.clone()));
    }

    /// The default certificate's Secret is another, or its validity.
    fn default_changed(&mut self) {
        let Some(key) = &self.options.default_certificate else {
            return;
        };
        self.stale
            .insert(ObjectRef::new(Kind::Secret, key.0.clone(), key.1.clone()));
        let set = self.secrets.certificate(key).cloned();
        let set = set.map(|certificate| Arc::new(CertificateSet::new([certificate])));
        self.table.set_certificates(&HostPattern::Any, set);
        self.changed = true;
    }

    /// Takes in what time it is: certificates begin and cease to be valid.
    pub(super) fn set_now(&mut self, now: Timestamp) {
        let turning = self.secrets.turning(self.now, now);
        self.now = now;
        self.note_time_of_empty();
        for key in turning {
            self.stale.insert_users(Cause::secret(key.clone()));
            let certificate = self.secrets.certificate(&key).cloned();
            if self.options.default_certificate.as_ref() == Some(&key) {
                self.stale
                    .insert(ObjectRef::new(Kind::Secret, key.0.clone(), key.1.clone()));
            }
            self.offer_anew(&key, certificate.as_ref());
        }
    }

    /// What is to be said of a Secret itself: something only where it is the default certificate, for of the others
    /// it is said where they are named.
    pub(super) fn diagnose_secret(&self, object: &ObjectRef, said: &mut Vec<Diagnostic>) {
        let key = super::key(object);
        if self.options.default_certificate.as_ref() != Some(&key) {
            return;
        }
        let mut problems = self.diagnose_certificate(&key);
        for problem in &mut problems {
            problem.1.push_str(" (it is the --default-certificate)");
        }
        said.extend(
            problems
                .into_iter()
                .map(|(code, message)| Diagnostic::new(code, object, "", message)),
        );
    }

    /// What is wrong with a Secret as a certificate, whatever it is used for.
    pub(super) fn diagnose_certificate(&self, key: &Key) -> Vec<(Code, String)> {
        let (namespace, name) = key;
        let Some(known) = self.secrets.get(key) else {
            return vec![self.no_secret(namespace, name)];
        };
        let mut said = Vec::new();
        if let Some(fault) = known.fault() {
            let stays = match known.certificate() {
                Some(_) => "; its last good certificate stays in use",
                None => "",
            };
            said.push((Code::InvalidCertificate, format!("{fault}{stays}")));
        }
        let Some(certificate) = known.certificate() else {
            return said;
        };
        match validity(certificate, self.now) {
            Validity::Valid => {
                let [_, soon, _] = turns(certificate);
                if self.now >= soon && self.now != Timestamp::UNKNOWN {
                    said.push((
                        Code::CertificateExpiresSoon,
                        format!(
                            "the certificate of Secret \"{name}\" expires on {} and has not been renewed",
                            certificate::moment(certificate.not_after)
                        ),
                    ));
                }
            }
            Validity::Expired => said.push((
                Code::CertificateExpired,
                format!(
                    "the certificate of Secret \"{name}\" expired on {}",
                    certificate::moment(certificate.not_after)
                ),
            )),
            Validity::NotYet => said.push((
                Code::CertificateNotYetValid,
                format!(
                    "the certificate of Secret \"{name}\" is valid only from {}",
                    certificate::moment(certificate.not_before)
                ),
            )),
        }
        said
    }
}
