//! Where objects come from: a cluster's API server, or a folder of manifests. Both yield the same [`Change`]s.

pub mod cluster;
pub mod directory;

use crate::dialect::Change;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::mpsc;

/// What a source sends to the control task, in order.
#[derive(Debug)]
pub enum Event {
    /// The world changed.
    Change(Change),
    /// It changed in several ways at once, as files do: no table is to have only some of them.
    Together(Vec<Change>),
    /// Everything the named watch's first full list held has been sent before this.
    Synced(String),
}

impl Event {
    /// The changes in it.
    pub fn changes(&self) -> &[Change] {
        match self {
            Event::Change(change) => std::slice::from_ref(change),
            Event::Together(changes) => changes,
            Event::Synced(_) => &[],
        }
    }
}

/// What the control task asks a source for: Secrets that must be known whatever their type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Their namespaces and names.
    pub names: BTreeSet<(Arc<str>, Arc<str>)>,
    /// Those of ConfigMaps, of which no others are known.
    pub config_maps: BTreeSet<(Arc<str>, Arc<str>)>,
    /// Nodes without which Services have no ready endpoint, each with how many of their pods became unready.
    pub nodes: BTreeMap<Arc<str>, usize>,
    /// Whether all objects that want some are known: everything readiness waits for but [`NAMED_SECRETS`] and
    /// [`NAMED_CONFIG_MAPS`].
    pub complete: bool,
}

/// The watch that stands for all Secrets asked for by name. It is synced once each that the first full table wants
/// has been asked for.
pub const NAMED_SECRETS: &str = "secrets by name";

/// The same for ConfigMaps.
pub const NAMED_CONFIG_MAPS: &str = "configmaps by name";

/// The way from the sources to the control task. Bounded: a source that outruns the compiler waits.
pub type Sender = mpsc::Sender<Event>;

/// How many events may wait for the compiler. A full list is one event, so this is bursts of single changes.
pub const EVENT_QUEUE: usize = 4096;

/// Where a watch stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The first full list is not there yet.
    Listing,
    /// Listed and following changes.
    Live,
    /// Something is wrong; the last good state stays in use. Says what, and what to do about it.
    Failing(String),
}

/// One watch, as `/readyz` and the metrics show it.
#[derive(Clone, Debug)]
pub struct Watch {
    /// Whether readiness waits for it.
    pub required: bool,
    /// Where it stands.
    pub phase: Phase,
    /// Whether its first full list is in the live table.
    pub synced: bool,
    /// When its last event or bookmark came.
    pub last_event: Option<Instant>,
}

impl Watch {
    fn new() -> Self {
        Self {
            required: false,
            phase: Phase::Listing,
            synced: false,
            last_event: None,
        }
    }
}

/// All watches of all sources, by name (`ingresses`, `services in team-a`, `manifests /etc/narthex`).
#[derive(Debug, Default)]
pub struct Watches {
    by_name: Mutex<BTreeMap<String, Watch>>,
}

impl Watches {
    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<String, Watch>) -> T) -> T {
        act(&mut self.by_name.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Announces a watch, before its first event. Called again, it changes whether the watch is required.
    pub fn register(&self, name: &str, required: bool) {
        self.with(|watches| {
            watches.entry(name.to_owned()).or_insert_with(Watch::new).required = required;
        });
    }

    /// Forgets a watch that another one replaces (EndpointSlices by Endpoints).
    pub fn forget(&self, name: &str) {
        self.with(|watches| watches.remove(name));
    }

    /// One watch stands in for another: readiness waits for it if it still waits for the other, which from now on it
    /// no longer does. So a change of watch in a running narthex does not make it unready.
    pub fn hand_over(&self, old: &str, new: &str) {
        self.with(|watches| {
            let waiting = watches.get_mut(old).is_some_and(|old| {
                let waiting = old.required && !old.synced;
                old.required = false;
                waiting
            });
            watches.entry(new.to_owned()).or_insert_with(Watch::new).required = waiting;
        });
    }

    /// Notes that the API server said something (an event or a bookmark), which also ends a failure.
    pub fn seen(&self, name: &str) {
        self.with(|watches| {
            if let Some(watch) = watches.get_mut(name) {
                watch.last_event = Some(Instant::now());
                watch.phase = Phase::Live;
            }
        });
    }

    /// Notes that all is well with a watch that stands for several, of which each hears for itself.
    pub fn live(&self, name: &str) {
        self.with(|watches| {
            if let Some(watch) = watches.get_mut(name) {
                watch.phase = Phase::Live;
            }
        });
    }

    /// Notes what is wrong with a watch.
    pub fn failing(&self, name: &str, why: impl Into<String>) {
        let why = why.into();
        self.with(|watches| {
            if let Some(watch) = watches.get_mut(name) {
                watch.phase = Phase::Failing(why);
            }
        });
    }

    /// Notes that the table with a watch's first full list is live. Only the control task calls this.
    pub fn synced(&self, name: &str) {
        self.with(|watches| {
            if let Some(watch) = watches.get_mut(name) {
                watch.synced = true;
            }
        });
    }

    /// Whether every required watch's first full list is in the live table.
    pub fn all_synced(&self) -> bool {
        self.with(|watches| !watches.is_empty() && watches.values().all(|watch| watch.synced || !watch.required))
    }

    /// The same of all that are not of objects asked for by name.
    pub fn all_listed(&self) -> bool {
        self.with(|watches| {
            let by_name = [NAMED_SECRETS, NAMED_CONFIG_MAPS];
            let mut others = watches.iter().filter(|(other, _)| !by_name.contains(&other.as_str()));
            others.all(|(_, watch)| watch.synced || !watch.required)
        })
    }

    /// Every watch as it stands.
    pub fn snapshot(&self) -> BTreeMap<String, Watch> {
        self.with(|watches| watches.clone())
    }
}
