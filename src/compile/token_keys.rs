//! Sets of keys for tokens: each is read once per version of its Secret or ConfigMap, and only when something needs it.

use super::access::{CLOSED, entries_wrong};
use super::{Key, State};
use crate::dialect::annotations::JwtWanted;
use crate::dialect::reading::Reading;
use crate::model::{Code, Diagnostic, Kind, ObjectRef};
use crate::table::{JwtKeys, JwtKeysRead};
use std::collections::HashMap;
use std::sync::Arc;

/// The entry that has the set; another may have it if it is the only one.
const ENTRY: &str = "jwks.json";

/// Where a set is.
pub(super) type Place = (Kind, Key);

/// The sets that were read.
#[derive(Debug, Default)]
pub(super) struct TokenKeys(HashMap<Place, JwtKeysRead>);

impl State {
    /// Reads a set of keys that somebody needs, if it is there.
    pub(super) fn need_keys(&mut self, place: Place) {
        if self.token_keys.0.contains_key(&place) {
            return;
        }
        let (kind, key) = &place;
        let text = if *kind == Kind::Secret {
            let secret = self.secrets.get(key).map(|known| &known.secret);
            secret.map(|secret| the_entry(secret.others.iter().map(|(name, text)| (&**name, &**text))))
        } else {
            let map = self.config_maps.get(key);
            map.map(|map| the_entry(map.data.iter().map(|(name, text)| (&**name, text.as_bytes()))))
        };
        let Some(text) = text else { return };
        let read = match text {
            Some(text) => JwtKeys::read(text),
            None => JwtKeysRead {
                keys: None,
                wrong: vec![format!("there is no entry \"{ENTRY}\" in it")],
            },
        };
        self.token_keys.0.insert(place, read);
    }

    /// A Secret or ConfigMap changed.
    pub(super) fn forget_keys(&mut self, place: &Place) {
        self.token_keys.0.remove(place);
    }

    /// The keys that an object names.
    pub(super) fn keys_of(&self, object: &ObjectRef, jwt: &JwtWanted) -> Option<Arc<JwtKeys>> {
        self.token_keys.0.get(&place_of(object, jwt))?.keys.clone()
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
        let Some(read) = self.token_keys.0.get(&place_of(object, jwt)) else {
            let (code, message) = match kind {
                Kind::Secret => self.no_secret(&object.namespace, name),
                _ => {
                    let message = format!("{kind} \"{name}\" does not exist in namespace \"{}\"", object.namespace);
                    (Code::GuardInvalid, message)
                }
            };
            return say(code, format!("{message}, {CLOSED}"));
        };
        let whose = format!("{kind} \"{name}\"");
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

fn place_of(object: &ObjectRef, jwt: &JwtWanted) -> Place {
    (jwt.kind, (object.namespace.clone(), jwt.name.clone()))
}
