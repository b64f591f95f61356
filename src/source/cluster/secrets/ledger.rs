//! What each watch says of Secrets, put together to one story before the control task hears it.
//!
//! Two watches may know the same Secret: the wide one (all certificates of a place) and one for it alone. Where the
//! wide one has it, the wide one is believed; otherwise the other. So neither takes away what the other still has,
//! whichever is ahead, and a full list from the wide watch goes on with what only named watches know in it.

use crate::dialect::{Change, Object};
use crate::model::{Diagnostic, Kind, ObjectRef};
use crate::source::cluster::api::ApiError;
use crate::source::cluster::follow::Closed;
use crate::source::{Event, Sender};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use tokio::sync::{Mutex, Notify};

/// Namespace and name.
pub type Key = (Arc<str>, Arc<str>);

/// Which watch speaks.
#[derive(Clone, Debug)]
pub enum Voice {
    /// The watch on all certificates of a namespace, or of all namespaces if absent.
    Wide(Option<Arc<str>>),
    /// The watch on one Secret of any type.
    Named(Key),
}

/// What all watches of Secrets share, or all of ConfigMaps.
pub struct Ledger {
    kind: Kind,
    // Held while something is sent, so that what is noted and what is sent come in the same order.
    known: Mutex<Known>,
    /// Rung when other named watches may be needed, or one of them got further. For one listener.
    pub changed: Notify,
}

impl Default for Ledger {
    fn default() -> Self {
        Self::new(Kind::Secret)
    }
}

#[derive(Default)]
struct Known {
    wide: BTreeMap<Option<Arc<str>>, Wide>,
    named: HashMap<Key, Named>,
}

#[derive(Default)]
struct Wide {
    phase: Phase,
    has: HashSet<Key>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    /// What it has is not known yet.
    #[default]
    Listing,
    Live,
    /// It has nothing to say until it is allowed to list.
    Denied,
}

#[derive(Default)]
struct Named {
    last: Option<Last>,
    /// Whether there was an answer, if only that it is forbidden.
    asked: bool,
    trouble: Option<ApiError>,
}

/// What a named watch last said.
#[derive(Clone)]
enum Last {
    Object(Object),
    Broken(Diagnostic),
}

impl From<Last> for Change {
    fn from(last: Last) -> Self {
        match last {
            Last::Object(object) => Change::Apply(object),
            Last::Broken(diagnostic) => Change::Broken(diagnostic),
        }
    }
}

// === impl Known ===

impl Known {
    fn wide_of(&self, key: &Key) -> Option<&Wide> {
        let everywhere = self.wide.get(&None);
        everywhere.or_else(|| self.wide.get(&Some(key.0.clone())))
    }

    /// Whether the wide watch delivers it.
    fn covered(&self, key: &Key) -> bool {
        self.wide_of(key).is_some_and(|wide| wide.has.contains(key))
    }

    /// Whether only a named watch can deliver it. Not as long as the wide one may still.
    fn needs_name(&self, key: &Key) -> bool {
        self.wide_of(key)
            .is_none_or(|wide| wide.phase != Phase::Listing && !wide.has.contains(key))
    }
}

// === impl Ledger ===

impl Ledger {
    /// Nothing is known of objects of this kind.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            known: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// Announces the wide watch of a place: until it has listed, or may not, nothing there is asked for by name.
    pub async fn expect(&self, place: Option<Arc<str>>) {
        self.known.lock().await.wide.entry(place).or_default();
    }

    /// Tells the control task what a watch says, as far as that watch is to be believed.
    pub async fn say(&self, voice: &Voice, change: Change, sender: &Sender) -> Result<(), Closed> {
        match voice {
            Voice::Wide(place) => self.say_wide(place, change, sender).await,
            Voice::Named(key) => self.say_named(key, change, sender).await,
        }
    }

    async fn say_wide(&self, place: &Option<Arc<str>>, change: Change, sender: &Sender) -> Result<(), Closed> {
        let mut guard = self.known.lock().await;
        let known = &mut *guard;
        let wide = known.wide.entry(place.clone()).or_default();
        match change {
            Change::Replace {
                kind,
                namespace,
                mut objects,
                mut broken,
            } => {
                let references = broken.iter().filter_map(|diagnostic| diagnostic.object.as_ref());
                let has: HashSet<Key> = objects
                    .iter()
                    .map(|object| key(&object.reference()))
                    .chain(references.map(key))
                    .collect();
                for (key, named) in &known.named {
                    let here = place.as_ref().is_none_or(|place| *place == key.0);
                    match &named.last {
                        Some(Last::Object(object)) if here && !has.contains(key) => objects.push(object.clone()),
                        Some(Last::Broken(said)) if here && !has.contains(key) => broken.push(said.clone()),
                        _ => {}
                    }
                }
                let whole = Change::Replace {
                    kind,
                    namespace,
                    objects,
                    broken,
                };
                send(sender, whole).await?;
                *wide = Wide {
                    phase: Phase::Live,
                    has,
                };
                self.changed.notify_one();
            }
            Change::Delete(reference) => {
                let key = key(&reference);
                let other = known.named.get(&key).and_then(|named| named.last.clone());
                send(sender, other.map_or(Change::Delete(reference), Change::from)).await?;
                wide.has.remove(&key);
                self.changed.notify_one();
            }
            change => {
                let reference = about(&change);
                send(sender, change).await?;
                if let Some(reference) = reference
                    && wide.has.insert(key(&reference))
                {
                    self.changed.notify_one();
                }
            }
        }
        Ok(())
    }

    async fn say_named(&self, of: &Key, change: Change, sender: &Sender) -> Result<(), Closed> {
        let mut known = self.known.lock().await;
        let covered = known.covered(of);
        // A watch that was ended may have had something on its tongue.
        let Some(named) = known.named.get_mut(of) else {
            return Ok(());
        };
        let last = match change {
            Change::Replace { objects, broken, .. } => {
                let object = objects.into_iter().find(|object| key(&object.reference()) == *of);
                let broken = broken.into_iter().next();
                object.map(Last::Object).or(broken.map(Last::Broken))
            }
            Change::Apply(object) => Some(Last::Object(object)),
            Change::Broken(diagnostic) => Some(Last::Broken(diagnostic)),
            _ => None,
        };
        if !covered {
            let gone = || Change::Delete(ObjectRef::new(self.kind, of.0.clone(), of.1.clone()));
            send(sender, last.clone().map_or_else(gone, Change::from)).await?;
        }
        let news = !named.asked || named.trouble.is_some();
        *named = Named {
            last,
            asked: true,
            trouble: None,
        };
        if news {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Notes that a watch fails. What a wide watch had is no longer its own once it is denied.
    pub async fn failed(&self, voice: &Voice, failure: &ApiError) {
        let mut known = self.known.lock().await;
        match voice {
            Voice::Wide(_) if !failure.denied() => return,
            Voice::Wide(place) => {
                let denied = Wide {
                    phase: Phase::Denied,
                    ..Wide::default()
                };
                known.wide.insert(place.clone(), denied);
            }
            Voice::Named(key) => {
                let Some(named) = known.named.get_mut(key) else { return };
                named.asked |= failure.denied();
                named.trouble = Some(failure.clone());
            }
        }
        self.changed.notify_one();
    }

    /// Notes that a watch goes on after a failure.
    pub async fn recovered(&self, voice: &Voice) {
        let Voice::Named(key) = voice else { return };
        if let Some(named) = self.known.lock().await.named.get_mut(key) {
            named.trouble = None;
            self.changed.notify_one();
        }
    }

    /// Notes that there is a named watch now: what it says from here on counts.
    pub async fn begin(&self, key: Key) {
        self.known.lock().await.named.entry(key).or_default();
    }

    /// Notes that there is a named watch no more, and takes away what nobody else has.
    pub async fn end(&self, key: &Key, sender: &Sender) -> Result<(), Closed> {
        let mut known = self.known.lock().await;
        let last = known.named.get(key).and_then(|named| named.last.as_ref());
        if last.is_some() && !known.covered(key) {
            let gone = ObjectRef::new(self.kind, key.0.clone(), key.1.clone());
            send(sender, Change::Delete(gone)).await?;
        }
        known.named.remove(key);
        Ok(())
    }

    /// Every named watch there is.
    pub async fn named(&self) -> Vec<Key> {
        self.known.lock().await.named.keys().cloned().collect()
    }

    /// Which of these need a named watch.
    pub async fn needed(&self, wanted: &BTreeSet<Key>) -> BTreeSet<Key> {
        let known = self.known.lock().await;
        wanted.iter().filter(|key| known.needs_name(key)).cloned().collect()
    }

    /// Which of these nobody has answered for yet.
    pub async fn unanswered(&self, wanted: &BTreeSet<Key>) -> Vec<Key> {
        let known = self.known.lock().await;
        let answered = |key: &Key| known.covered(key) || known.named.get(key).is_some_and(|named| named.asked);
        wanted.iter().filter(|key| !answered(key)).cloned().collect()
    }

    /// The named watches that fail, in order, and why.
    pub async fn troubles(&self) -> BTreeMap<Key, ApiError> {
        let known = self.known.lock().await;
        let trouble = |(key, named): (&Key, &Named)| Some((key.clone(), named.trouble.clone()?));
        known.named.iter().filter_map(trouble).collect()
    }
}

async fn send(sender: &Sender, change: Change) -> Result<(), Closed> {
    sender.send(Event::Change(change)).await.map_err(|_| Closed)
}

fn key(reference: &ObjectRef) -> Key {
    (reference.namespace.clone(), reference.name.clone())
}

fn about(change: &Change) -> Option<ObjectRef> {
    match change {
        Change::Apply(object) => Some(object.reference()),
        Change::Broken(diagnostic) => diagnostic.object.clone(),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
