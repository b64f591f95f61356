//! Sets of keys for tokens: each is read once per version of its Secret or ConfigMap, and only when something needs it.

use super::access::{CLOSED, entries_wrong};
use super::links::Cause;
use super::{Key, State};
use crate::dialect::annotations::{JwtWanted, KeySetWanted};
use crate::dialect::reading::Reading;
use crate::model::{Code, Diagnostic, Kind, ObjectRef};
use crate::table::{BackendId, JwtKeys, JwtKeysRead, KeyMissing};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The entry that has the set; another may have it if it is the only one.
const ENTRY: &str = "jwks.json";

/// Where a set is.
pub(super) type Place = (Kind, Key);

/// The sets that were read.
#[derive(Debug, Default)]
pub(super) struct TokenKeys {
    read: HashMap<Place, JwtKeysRead>,
    /// The URLs that somebody has asked for keys by, and what came of it.
    urls: HashMap<Arc<str>, Fetched>,
}

#[derive(Debug)]
struct Fetched {
    wanted: KeySetWanted,
    /// What the Service has said last; absent if nothing yet.
    text: Option<Arc<[u8]>>,
    /// Why there is nothing, once that is known.
    fault: Option<String>,
    /// Said by tokens that name a key which is not in it.
    missing: KeyMissing,
}

/// A set of keys that is to be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySet {
    /// The backend that serves it.
    pub backend: BackendId,
    /// The `Host` of the request.
    pub host: Box<str>,
    /// Its path and query.
    pub target: Box<str>,
    /// Said by tokens that name a key which it does not have.
    pub missing: KeyMissing,
}

/// The key of a URL. It has no namespace, so it is never the key of a Secret.
pub(super) fn of_url(url: &Arc<str>) -> Key {
    (Arc::default(), url.clone())
}

impl State {
    /// Reads a set of keys that somebody needs, if it is there.
    pub(super) fn need_keys(&mut self, place: Place, from: Option<&KeySetWanted>) {
        let (kind, key) = &place;
        if let Some(from) = from {
            self.token_keys.urls.entry(key.1.clone()).or_insert_with(|| Fetched {
                wanted: from.clone(),
                text: None,
                fault: None,
                missing: KeyMissing::default(),
            });
        }
        if self.token_keys.read.contains_key(&place) {
            return;
        }
        let mut missing = None;
        let text = if *kind == Kind::Service {
            let fetched = self.token_keys.urls.get(&key.1);
            missing = fetched.map(|fetched| fetched.missing.clone());
            fetched.and_then(|fetched| Some(Some(&**fetched.text.as_ref()?)))
        } else if *kind == Kind::Secret {
            let secret = self.secrets.get(key).map(|known| &known.secret);
            secret.map(|secret| the_entry(secret.others.iter().map(|(name, text)| (&**name, &**text))))
        } else {
            let map = self.config_maps.get(key);
            map.map(|map| the_entry(map.data.iter().map(|(name, text)| (&**name, text.as_bytes()))))
        };
        let Some(text) = text else { return };
        let read = match text {
            Some(text) => JwtKeys::read(text, missing),
            None => JwtKeysRead {
                keys: None,
                wrong: vec![format!("there is no entry \"{ENTRY}\" in it")],
            },
        };
        self.token_keys.read.insert(place, read);
    }

    /// The sets of keys that are to be fetched, by their URLs.
    pub fn wanted_key_sets(&mut self) -> BTreeMap<Arc<str>, KeySet> {
        let mut urls = std::mem::take(&mut self.token_keys.urls);
        urls.retain(|url, _| self.links.is_used(&Cause::Users(of_url(url))));
        let sets = urls.iter().map(|(url, fetched)| {
            let set = KeySet {
                backend: self.backend_id(&fetched.wanted.backend),
                host: fetched.wanted.host.clone(),
                target: fetched.wanted.target.clone(),
                missing: fetched.missing.clone(),
            };
            (url.clone(), set)
        });
        let sets = sets.collect();
        self.token_keys.urls = urls;
        sets
    }

    /// What came of asking for a set of keys. One that was had stays in use if there is no other.
    pub(super) fn set_key_set(&mut self, url: &Arc<str>, said: Result<Arc<[u8]>, String>) {
        let Some(fetched) = self.token_keys.urls.get_mut(url) else {
            return;
        };
        let before = fetched.fault.take();
        let mut is_new = false;
        match said {
            Ok(text) if fetched.text.as_ref() == Some(&text) => {}
            // A page for errors, say, does not take the place of keys.
            Ok(text) if fetched.text.is_some() && JwtKeys::read(&text, None).keys.is_none() => {
                fetched.fault = Some("its last answer is no set of keys".to_owned());
            }
            Ok(text) => {
                fetched.text = Some(text);
                is_new = true;
            }
            Err(why) => fetched.fault = Some(why),
        }
        let users = Cause::Users(of_url(url));
        if is_new || before != fetched.fault {
            self.stale.insert_users(users.clone());
        }
        if is_new {
            self.forget_keys(&(Kind::Service, of_url(url)));
            self.recompile_users(&users);
        }
    }

    /// What is known of sets of keys that were fetched.
    pub(super) fn fetched_key_sets(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<[u8]>)> {
        let urls = self.token_keys.urls.iter();
        urls.filter_map(|(url, fetched)| Some((url, fetched.text.as_ref()?)))
    }

    /// A Secret or ConfigMap changed.
    pub(super) fn forget_keys(&mut self, place: &Place) {
        self.token_keys.read.remove(place);
    }

    /// The keys that an object names.
    pub(super) fn keys_of(&self, object: &ObjectRef, jwt: &JwtWanted) -> Option<Arc<JwtKeys>> {
        self.token_keys
            .read
            .get(&place_of(&object.namespace, jwt))?
            .keys
            .clone()
    }

    /// What is wrong with the keys that an object names.
    pub(super) fn diagnose_keys(&self, object: &ObjectRef, reading: &Reading, said: &mut Vec<Diagnostic>) {
        let Some(jwt) = &reading.settings.access.jwt else {
            return;
        };
        let mut say = |code, message| {
            let field = format!("annotation {}", jwt.named_by);
            said.push(Diagnostic::new(code, object, field, message));
        };
        let (kind, name) = (jwt.kind, &jwt.name);
        let unusable = jwt.from.as_ref().and_then(|from| self.unusable(&from.backend));
        let fetched = self.token_keys.urls.get(name).filter(|_| kind == Kind::Service);
        let fault = fetched.and_then(|fetched| fetched.fault.as_ref());
        let Some(read) = self.token_keys.read.get(&place_of(&object.namespace, jwt)) else {
            let (code, message) = match kind {
                Kind::Service => {
                    // Nobody has asked yet, or, as in `check`, nobody will.
                    let fault = fault.map(|fault| (Code::GuardInvalid, fault.clone()));
                    let Some((code, why)) = unusable.or(fault) else { return };
                    (code, format!("{name} has no keys yet ({why})"))
                }
                Kind::Secret => self.no_secret(&object.namespace, name),
                _ => {
                    let message = format!("{kind} \"{name}\" does not exist in namespace \"{}\"", object.namespace);
                    (Code::GuardInvalid, message)
                }
            };
            return say(code, format!("{message}, {CLOSED}"));
        };
        if let Some(fault) = fault {
            let message = format!("{name} gives no keys ({fault}), so those that it had stay in use");
            say(Code::InvalidKey, message);
        }
        let whose = match kind {
            Kind::Service => format!("what {name} answers"),
            _ => format!("{kind} \"{name}\""),
        };
        for (code, message) in entries_wrong(&whose, &read.wrong, (read.keys.is_none(), Code::InvalidKey)) {
            say(code, message);
        }
    }
}

/// The entry with the set of keys.
fn the_entry<'e>(entries: impl Iterator<Item = (&'e str, &'e [u8])>) -> Option<&'e [u8]> {
    let all: Vec<(&str, &[u8])> = entries.collect();
    let named = all.iter().find(|(name, _)| *name == ENTRY);
    let only = || match *all {
        [(_, text)] => Some(text),
        _ => None,
    };
    named.map(|(_, text)| *text).or_else(only)
}

pub(super) fn place_of(namespace: &Arc<str>, jwt: &JwtWanted) -> Place {
    match jwt.kind {
        Kind::Service => (Kind::Service, of_url(&jwt.name)),
        kind => (kind, (namespace.clone(), jwt.name.clone())),
    }
}
