//! Secrets that the wide watch does not deliver, each by a small watch of its own for as long as it is wanted.
//!
//! The wide watch lists certificates only (`type=kubernetes.io/tls`). A Secret of another type, one in a namespace
//! that is not watched, and any at all where listing Secrets is forbidden, is asked for by name; a role that names
//! single Secrets (`resourceNames`) is enough for that. ConfigMaps have no wide watch, so that all of them are asked for by
//! name.

pub mod ledger;

use super::follow::{Closed, Follower};
use super::{ApiError, Cluster, Kind, advice};
use crate::source::{Event, NAMED_CONFIG_MAPS, NAMED_SECRETS, Wanted};
use ledger::{Key, Ledger, Voice};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::mem::{Discriminant, discriminant};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, error, info, warn};

/// How long readiness waits, at most, for an answer on each Secret the first full table wants: then some client may
/// see the default certificate, which is better than no service at all.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// How much longer a named watch stays open than the others: there may be hundreds, and each reopening is a request.
const LONGER: u32 = 6;

/// The kinds of which objects are asked for by name, and the watch that stands for those.
pub const BY_NAME: [(Kind, &str); 2] = [(Kind::Secret, NAMED_SECRETS), (Kind::ConfigMap, NAMED_CONFIG_MAPS)];

/// Keeps a watch for each object of a kind that needs one, until the control task is gone.
pub async fn run(cluster: Cluster, (kind, watch): (Kind, &'static str), mut wanted: watch::Receiver<Wanted>) {
    let ledger = cluster.ledger(kind).clone();
    let mut named = Named {
        kind,
        watch,
        ledger,
        cluster,
        tasks: JoinSet::new(),
        running: HashMap::new(),
        said: BTreeMap::new(),
    };
    let mut deadline = None;
    let mut answered = false;
    loop {
        let mut now = wanted.borrow_and_update().clone();
        if kind == Kind::ConfigMap {
            now.names = std::mem::take(&mut now.config_maps);
        }
        now.names.retain(can_be);
        if named.keep(&now.names).await.is_err() {
            return;
        }
        if now.complete && !answered {
            let until = *deadline.get_or_insert_with(|| Instant::now() + ANSWERS_WITHIN);
            answered = named.all_answered(&now.names, until).await;
            let synced = Event::Synced(watch.to_owned());
            if answered && named.cluster.sender.send(synced).await.is_err() {
                return;
            }
        }
        named.summarise(answered).await;
        let late = deadline.filter(|_| !answered);
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() { return },
            () = named.ledger.changed.notified() => {}
            Some(ended) = named.tasks.join_next_with_id() => named.ended(ended),
            () = sleep_until(late.unwrap_or_else(Instant::now)), if late.is_some() => {}
            () = named.cluster.sender.closed() => return,
        }
    }
}

/// Whether a Secret can have this name in this namespace. No other is asked for: names go into the request.
fn can_be((namespace, name): &Key) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !namespace.is_empty()
        && namespace.bytes().all(is_word)
        && !name.is_empty()
        && name.bytes().all(|byte| is_word(byte) || byte == b'.')
}

/// The named watches that run.
struct Named {
    kind: Kind,
    /// The watch that stands for all of them.
    watch: &'static str,
    ledger: Arc<Ledger>,
    cluster: Cluster,
    tasks: JoinSet<()>,
    running: HashMap<Key, AbortHandle>,
    /// The failures that were logged and are not over. Forbidden is said of each namespace, as each needs a role;
    /// anything else once.
    said: BTreeMap<String, Discriminant<ApiError>>,
}

impl Named {
    /// Begins and ends watches, as these Secrets need them.
    async fn keep(&mut self, wanted: &BTreeSet<Key>) -> Result<(), Closed> {
        let ledger = self.ledger.clone();
        let needed = ledger.needed(wanted).await;
        for key in ledger.named().await {
            if needed.contains(&key) {
                continue;
            }
            if let Some(task) = self.running.remove(&key) {
                task.abort();
            }
            debug!(object = said(&key), "no longer asked for by name");
            ledger.end(&key, &self.cluster.sender).await?;
        }
        for key in needed {
            if !self.running.contains_key(&key) {
                debug!(object = said(&key), "asked for by name");
                ledger.begin(key.clone()).await;
                self.start(key, Duration::ZERO);
            }
        }
        Ok(())
    }

    fn start(&mut self, key: Key, after: Duration) {
        let mut order = self.cluster.order(
            self.kind,
            Some(key.0.to_string()),
            Some(self.cluster.timing.denied_wait),
        );
        order.secrets = Some((self.ledger.clone(), Voice::Named(key.clone())));
        // Registered nowhere: one line for all of them is enough.
        order.name = format!("{} {}", self.kind.name(), said(&key));
        order.timing.watch_time = order.timing.watch_time.saturating_mul(LONGER);
        let task = self.tasks.spawn(async move {
            sleep(after).await;
            Follower::new(order).run().await;
        });
        self.running.insert(key, task);
    }

    /// A watch ends on its own only by a panic, and is started again.
    fn ended(&mut self, ended: Result<(Id, ()), tokio::task::JoinError>) {
        let Err(end) = ended else { return };
        let key = self.running.iter().find(|(_, task)| task.id() == end.id());
        if let Some(key) = key.map(|(key, _)| key.clone()) {
            error!(
                object = said(&key),
                "this is a bug in narthex, the watch is started again: {end}"
            );
            self.start(key, self.cluster.timing.longest_wait);
        }
    }

    /// Whether there is an answer on each of these Secrets, or no more time for one.
    async fn all_answered(&self, wanted: &BTreeSet<Key>, until: Instant) -> bool {
        let missing = self.ledger.unanswered(wanted).await;
        let Some(first) = missing.first() else { return true };
        let late = Instant::now() >= until;
        if late {
            warn!(
                object = said(first),
                missing = missing.len(),
                "no answer about {} within {} s: continuing without them",
                self.kind.plural(),
                ANSWERS_WITHIN.as_secs()
            );
        }
        late
    }

    /// Says how they are, in one line for all; that all is well only once there were answers.
    async fn summarise(&mut self, answered: bool) {
        let troubles = self.ledger.troubles().await;
        let mut before = std::mem::take(&mut self.said);
        for (key, failure) in &troubles {
            let place = if failure.denied() { &*key.0 } else { "" };
            if self.said.contains_key(place) {
                continue;
            }
            let kind = discriminant(failure);
            if before.remove(place) != Some(kind) {
                let advice = self.advice_on(key, failure);
                warn!(object = said(key), error = %failure, "{advice}");
            }
            self.said.insert(place.to_owned(), kind);
        }
        for place in before.keys().filter(|place| !self.said.contains_key(*place)) {
            let place = if place.is_empty() { "everywhere" } else { place };
            info!(
                namespace = place,
                "{} that are watched by name no longer fail",
                self.kind.plural()
            );
        }
        let watches = &self.cluster.watches;
        match troubles.first_key_value() {
            None if answered => watches.live(self.watch),
            None => {}
            Some((key, failure)) => {
                let (failing, all) = (troubles.len(), self.running.len());
                let advice = self.advice_on(key, failure);
                watches.failing(self.watch, format!("{failing} of {all}; {}: {advice}", said(key)));
            }
        }
    }
}

impl Named {
    fn advice_on(&self, (namespace, _): &Key, failure: &ApiError) -> String {
        advice(failure, self.kind, Some(namespace))
    }
}

fn said((namespace, name): &Key) -> String {
    format!("{namespace}/{name}")
}

#[cfg(test)]
mod tests;
