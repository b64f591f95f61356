//! References read backwards: who must be compiled or diagnosed again when something changes.
//!
//! Users are kept by number, not by name: there may be a hundred thousand of them, and each refers to several things.

use super::{Key, State};
use crate::model::{Kind, ObjectRef};
use crate::table::HostPattern;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// What is referred to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause {
    /// An object, be it there or not.
    Object(Kind, Key),
    /// The backend in this slot of the table.
    Backend(u32),
    /// What a Secret says of who may come in: its users, or its authorities.
    Users(Key),
}

impl Cause {
    pub fn service(key: Key) -> Self {
        Self::Object(Kind::Service, key)
    }

    pub fn secret(key: Key) -> Self {
        Self::Object(Kind::Secret, key)
    }

    pub fn config_map(key: Key) -> Self {
        Self::Object(Kind::ConfigMap, key)
    }

    pub fn class(name: &str) -> Self {
        Self::Object(Kind::IngressClass, (Arc::default(), name.into()))
    }

    pub fn namespace(name: &Arc<str>) -> Self {
        Self::Object(Kind::Namespace, (Arc::default(), name.clone()))
    }
}

/// An object or a backend that refers to something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum User {
    /// The object in this slot of [`Claimants`](super::claimants::Claimants).
    Object(u32),
    /// The backend in this slot of the table.
    Backend(u32),
    /// The paths that have canaries: see [`Canaries`](super::canaries::Canaries).
    Canaries,
    /// The routes of Gateways: see [`Gateways`](super::gateways::Gateways).
    Gateways,
}

/// A set that is never empty, and most of the time holds one.
#[derive(Debug)]
enum Few {
    One(User),
    Many(BTreeSet<User>),
}

impl Few {
    fn insert(&mut self, user: User) {
        match self {
            Few::One(one) if *one == user => {}
            Few::One(one) => *self = Few::Many(BTreeSet::from([*one, user])),
            Few::Many(many) => {
                many.insert(user);
            }
        }
    }

    /// Whether nothing is left.
    fn remove(&mut self, user: User) -> bool {
        match self {
            Few::One(one) => *one == user,
            Few::Many(many) => {
                many.remove(&user);
                many.is_empty()
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = User> {
        let (one, many) = match self {
            Few::One(one) => (Some(*one), None),
            Few::Many(many) => (None, Some(many)),
        };
        one.into_iter().chain(many.into_iter().flatten().copied())
    }
}

/// All references, from what is referred to.
#[derive(Debug, Default)]
pub(super) struct Links {
    objects: HashMap<Kind, HashMap<Key, Few>>,
    backends: HashMap<u32, Few>,
    users: HashMap<Key, Few>,
    /// Whether somebody was told of all Secrets and ConfigMaps that are referred to.
    secrets_known: bool,
}

fn insert<K: std::hash::Hash + Eq>(all: &mut HashMap<K, Few>, key: K, user: User) -> bool {
    match all.entry(key) {
        std::collections::hash_map::Entry::Occupied(mut known) => {
            known.get_mut().insert(user);
            false
        }
        std::collections::hash_map::Entry::Vacant(entry) => {
            entry.insert(Few::One(user));
            true
        }
    }
}

fn remove<K: std::hash::Hash + Eq>(all: &mut HashMap<K, Few>, key: &K, user: User) -> bool {
    let emptied = all.get_mut(key).is_some_and(|users| users.remove(user));
    if emptied {
        all.remove(key);
    }
    emptied
}

/// Whether objects of a kind are asked for by name.
fn is_asked_for(kind: Kind) -> bool {
    matches!(kind, Kind::Secret | Kind::ConfigMap)
}

impl Links {
    /// Notes that others may be wanted though no reference has changed.
    pub fn wants_others(&mut self) {
        self.secrets_known = false;
    }

    /// Notes a reference. Says whether it is the first to that.
    pub fn link(&mut self, cause: Cause, user: User) -> bool {
        match cause {
            Cause::Backend(slot) => insert(&mut self.backends, slot, user),
            Cause::Users(secret) => insert(&mut self.users, secret, user),
            Cause::Object(kind, key) => {
                let first = insert(self.objects.entry(kind).or_default(), key, user);
                self.secrets_known &= !(first && is_asked_for(kind));
                first
            }
        }
    }

    /// Forgets a reference. Says whether it was the last to that.
    pub fn unlink(&mut self, cause: &Cause, user: User) -> bool {
        match cause {
            Cause::Backend(slot) => remove(&mut self.backends, slot, user),
            Cause::Users(secret) => remove(&mut self.users, secret, user),
            Cause::Object(kind, key) => {
                let of_kind = self.objects.get_mut(kind);
                let last = of_kind.is_some_and(|of_kind| remove(of_kind, key, user));
                self.secrets_known &= !(last && is_asked_for(*kind));
                last
            }
        }
    }

    /// Replaces what somebody refers to. New references come first, so that what stays is never without one.
    pub fn relink(&mut self, old: &BTreeSet<Cause>, new: &BTreeSet<Cause>, user: User) {
        for cause in new.difference(old) {
            self.link(cause.clone(), user);
        }
        for cause in old.difference(new) {
            self.unlink(cause, user);
        }
    }

    fn find(&self, cause: &Cause) -> Option<&Few> {
        match cause {
            Cause::Backend(slot) => self.backends.get(slot),
            Cause::Users(secret) => self.users.get(secret),
            Cause::Object(kind, key) => self.objects.get(kind)?.get(key),
        }
    }

    pub fn is_used(&self, cause: &Cause) -> bool {
        self.find(cause).is_some()
    }

    pub fn users<'l>(&'l self, cause: &Cause) -> impl Iterator<Item = User> + use<'l> {
        self.find(cause).into_iter().flat_map(Few::iter)
    }

    /// The slots of the objects that refer to something.
    pub fn objects<'l>(&'l self, cause: &Cause) -> impl Iterator<Item = u32> + use<'l> {
        self.users(cause).filter_map(|user| match user {
            User::Object(slot) => Some(slot),
            User::Backend(_) | User::Canaries | User::Gateways => None,
        })
    }

    /// The slots of the backends that refer to something.
    pub fn backends<'l>(&'l self, cause: &Cause) -> impl Iterator<Item = u32> + use<'l> {
        self.users(cause).filter_map(|user| match user {
            User::Backend(slot) => Some(slot),
            User::Object(_) | User::Canaries | User::Gateways => None,
        })
    }

    /// The objects of a kind that somebody refers to.
    pub fn used(&self, kind: Kind) -> impl Iterator<Item = &Key> {
        self.objects.get(&kind).into_iter().flat_map(HashMap::keys)
    }

    /// Whether other Secrets are referred to than when this was asked last.
    pub fn secrets_changed(&mut self) -> bool {
        !std::mem::replace(&mut self.secrets_known, true)
    }
}

/// What must be diagnosed again. There may be many users of one thing, so they are named only when the report is.
#[derive(Debug, Default)]
pub(super) struct Stale {
    objects: BTreeSet<ObjectRef>,
    users_of: BTreeSet<Cause>,
    /// Names that have another certificate or owner.
    names: BTreeSet<HostPattern>,
    /// Hosts whose guards have changed.
    guarded: BTreeSet<HostPattern>,
}

impl Stale {
    pub fn insert(&mut self, object: ObjectRef) {
        self.objects.insert(object);
    }

    /// All that refer to something, by themselves or with a backend.
    pub fn insert_users(&mut self, of: Cause) {
        self.users_of.insert(of);
    }

    /// The objects whose certificate for a name is another, or is no longer used for it.
    pub fn insert_name(&mut self, name: HostPattern) {
        self.names.insert(name);
    }

    /// The objects that guard a host or claim something of it.
    pub fn insert_guarded(&mut self, host: HostPattern) {
        self.guarded.insert(host);
    }

    pub fn extend_names(&mut self, names: impl IntoIterator<Item = HostPattern>) {
        self.names.extend(names);
    }
}

impl Extend<ObjectRef> for Stale {
    fn extend<T: IntoIterator<Item = ObjectRef>>(&mut self, objects: T) {
        self.objects.extend(objects);
    }
}

impl FromIterator<ObjectRef> for Stale {
    fn from_iter<T: IntoIterator<Item = ObjectRef>>(objects: T) -> Self {
        Self {
            objects: objects.into_iter().collect(),
            ..Self::default()
        }
    }
}

impl State {
    /// What must be diagnosed again, each object by its name.
    pub(super) fn take_stale(&mut self) -> BTreeSet<ObjectRef> {
        let Stale {
            mut objects,
            users_of,
            names,
            guarded,
        } = std::mem::take(&mut self.stale);
        let mut slots = BTreeSet::new();
        for cause in users_of {
            for user in self.links.users(&cause) {
                match user {
                    User::Object(slot) => {
                        slots.insert(slot);
                    }
                    User::Backend(slot) => slots.extend(self.links.objects(&Cause::Backend(slot))),
                    User::Canaries => {}
                    User::Gateways => objects.extend(self.gateways.users(&cause, &self.backend_keys)),
                }
            }
        }
        let known = slots.into_iter().filter_map(|slot| self.claimants.at(slot));
        objects.extend(known.map(|known| known.claimant.reference()));
        for name in names {
            objects.extend(self.offers.concerned(&name));
        }
        if !guarded.is_empty() {
            // A canary alone claims what no route of the table has.
            let of_hosts = self.losers.iter().filter(|(spot, _)| guarded.contains(spot.host()));
            objects.extend(of_hosts.flat_map(|(_, lost)| lost.iter().map(|claimed| claimed.owner().clone())));
        }
        for host in guarded {
            objects.extend(self.host_guards.holders(&host));
            objects.extend(self.claimants_of(&host));
        }
        objects
    }

    /// Compiles all objects again that refer to something by themselves.
    pub(super) fn recompile_users(&mut self, of: &Cause) {
        let slots: Vec<u32> = self.links.objects(of).collect();
        for slot in slots {
            if let Some(known) = self.claimants.at(slot) {
                let claimant = known.claimant.clone();
                self.recompile(claimant.reference(), claimant);
            }
        }
    }

    /// Compiles the Routes again that name a Secret: whether they are admitted depends on it.
    pub(super) fn recompile_routes_with(&mut self, secret: &Key) {
        let slots: Vec<u32> = self.links.objects(&Cause::secret(secret.clone())).collect();
        for slot in slots {
            let known = self.claimants.at(slot);
            if let Some(known) = known.filter(|known| known.claimant.kind() == Kind::Route) {
                let claimant = known.claimant.clone();
                self.recompile(claimant.reference(), claimant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_stays_as_long_as_somebody_has_it() {
        let secret = Cause::secret(("shop".into(), "tls".into()));
        let [one, other] = [User::Object(1), User::Backend(1)];
        let mut links = Links::default();
        assert!(links.secrets_changed());
        assert!(!links.secrets_changed());
        assert!(links.link(secret.clone(), one));
        assert!(links.secrets_changed());
        assert!(!links.link(secret.clone(), one));
        assert!(!links.link(secret.clone(), other));
        assert!(!links.secrets_changed(), "it was referred to before");
        assert_eq!(links.objects(&secret).collect::<Vec<_>>(), [1]);
        assert_eq!(links.backends(&secret).collect::<Vec<_>>(), [1]);
        assert!(!links.unlink(&secret, one));
        assert!(!links.unlink(&secret, User::Object(2)));
        assert!(links.is_used(&secret));
        assert!(links.unlink(&secret, other));
        assert!(!links.unlink(&secret, other));
        assert!(!links.is_used(&secret) && links.used(Kind::Secret).next().is_none());
        assert!(links.secrets_changed());
    }

    #[test]
    fn references_are_replaced_without_a_gap() {
        let causes = |slots: &[u32]| slots.iter().copied().map(Cause::Backend).collect::<BTreeSet<_>>();
        let mut links = Links::default();
        links.relink(&causes(&[]), &causes(&[1, 2]), User::Object(7));
        links.relink(&causes(&[1, 2]), &causes(&[2, 3]), User::Object(7));
        let used = |slot| links.is_used(&Cause::Backend(slot));
        assert_eq!([1, 2, 3].map(used), [false, true, true]);
    }
}
