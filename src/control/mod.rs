//! Owns the objects and the compile state: applies changes, swaps tables, says when narthex is ready.

mod changes;
mod checks;
mod external;
mod guard;
mod key_sets;

pub use changes::{ChangeRecord, Changes};
pub use guard::Guard;

use crate::dialect::Change;
use crate::model::{Code, Diagnostic, Kind, ObjectRef, Report, Severity, Timestamp};
use crate::peers::MOST_PEERS;
use crate::serve::{BindError, Bound, Server};
use crate::source::{Event, Wanted, Watches};
use crate::table::{DesiredStatus, Table};
use arc_swap::ArcSwap;
use changes::MOST_OBJECTS;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};

/// Changes taken in before the table is swapped: what came together is swapped together, but nothing is waited for.
const BATCH: usize = 2048;
/// How often the report is published at most: requests do not wait for it.
const REPORT_PAUSE: Duration = Duration::from_millis(200);
/// Problems logged at once; a cluster that loses a namespace has thousands, and all are in the report.
const LOGGED: usize = 50;
/// How often the control task shows that it makes progress.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How often the compiler is told the time.
const TIME: Duration = Duration::from_secs(60);
/// Old tables kept for requests that still read them; freed here, never on a shard.
const OLD_TABLES: usize = 64;

/// Admin addresses, each with its pod where that is known.
pub type Members = BTreeMap<SocketAddr, Option<Arc<str>>>;

/// What the admin side sees of the control task.
pub struct Shared {
    pub tables: Arc<ArcSwap<Table>>,
    /// What is wrong with objects.
    pub report: ArcSwap<Report>,
    /// What the statuses of Gateway API objects should say, without addresses and times.
    pub statuses: ArcSwap<BTreeMap<ObjectRef, DesiredStatus>>,
    /// Where the sources stand.
    pub watches: Arc<Watches>,
    /// Whether the table is live and narthex listens.
    pub ready: AtomicBool,
    /// Set at SIGTERM: not ready any more.
    pub ending: AtomicBool,
    /// How many objects there are.
    pub counts: Mutex<BTreeMap<Kind, usize>>,
    /// The last changes of the table.
    pub changes: Changes,
    /// The addresses and pods behind the admin Service.
    pub members: ArcSwap<Members>,
    /// Table swaps.
    pub swaps: AtomicU64,
    /// When the process began.
    pub started: Instant,
    heartbeat: AtomicU64,
}

impl Shared {
    /// A process that has just begun.
    pub fn new(watches: Arc<Watches>) -> Self {
        Self {
            tables: Arc::default(),
            report: ArcSwap::default(),
            statuses: ArcSwap::default(),
            watches,
            ready: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            counts: Mutex::default(),
            changes: Changes::default(),
            members: ArcSwap::default(),
            swaps: AtomicU64::new(0),
            started: Instant::now(),
            heartbeat: AtomicU64::new(0),
        }
    }

    /// Whether requests are answered from a complete table, and the process is not ending.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire) && !self.ending.load(Ordering::Acquire)
    }

    /// How many objects there are, by kind.
    pub fn object_counts(&self) -> BTreeMap<Kind, usize> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How long the control task has not been heard of.
    pub fn silence(&self) -> Duration {
        let last = Duration::from_millis(self.heartbeat.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(last)
    }

    fn beat(&self) {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heartbeat.store(now, Ordering::Relaxed);
    }
}

/// The control task's own things.
pub struct Control {
    pub guard: Guard,
    /// What sources send.
    pub events: mpsc::Receiver<Event>,
    /// For the resolver of ExternalNames, which is a source too.
    pub sender: mpsc::Sender<Event>,
    /// Where the source learns which Secrets are needed.
    pub secrets: watch::Sender<Wanted>,
    /// What the admin side sees.
    pub shared: Arc<Shared>,
    /// The shards.
    pub server: Arc<Mutex<Server>>,
    /// Sockets that will listen once the table is live.
    pub bound: Vec<Bound>,
    /// `--admin-service`: whose members are peers.
    pub admin_service: Option<(Arc<str>, Arc<str>)>,
    /// Tasks that wait for that.
    pub live: Option<oneshot::Sender<()>>,
}

impl Control {
    /// Runs until the sources end.
    ///
    /// # Errors
    /// When a bound address cannot be listened on after all.
    pub async fn run(mut self) -> Result<(), BindError> {
        let (names, wanted) = watch::channel(BTreeSet::new());
        tokio::spawn(external::run(wanted, self.sender.clone()));
        let (key_sets, wanted) = watch::channel(BTreeMap::new());
        tokio::spawn(key_sets::run(wanted, self.shared.tables.clone(), self.sender.clone()));
        let (swapped, swaps) = watch::channel(0);
        let commons = lock(&self.server).commons();
        tokio::spawn(checks::run(self.shared.tables.clone(), commons, swaps));
        let mut beats = tokio::time::interval(HEARTBEAT);
        // Certificates begin and expire.
        let mut times = tokio::time::interval(TIME);
        let mut report_due: Option<Instant> = None;
        let mut old: Vec<Arc<Table>> = Vec::new();
        let mut batch = Vec::with_capacity(BATCH);
        // Before any object, or all certificates of the first table count as not valid yet.
        batch.push(Event::Change(Change::Time(Timestamp::now())));
        loop {
            let due = report_due.unwrap_or_else(|| Instant::now() + HEARTBEAT);
            tokio::select! {
                count = self.events.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        return Ok(());
                    }
                }
                () = tokio::time::sleep_until(due.into()), if report_due.is_some() => {
                    // Of a world that is half there nothing true can be said: Ingresses come before their Services.
                    if self.is_live() {
                        self.publish_report();
                    }
                    report_due = None;
                }
                _ = beats.tick() => {
                    if self.closed_listeners() != self.shared.report.load().listeners {
                        report_due.get_or_insert_with(Instant::now);
                    }
                    if self.guard.state.awaits_time() {
                        batch.push(Event::Change(Change::Time(Timestamp::now())));
                    }
                }
                _ = times.tick() => batch.push(Event::Change(Change::Time(Timestamp::now()))),
            }
            self.shared.beat();
            if batch.is_empty() {
                old.retain(|table| Arc::strong_count(table) > 1);
                continue;
            }
            let (came, objects) = (Instant::now(), named(&batch));
            let moves = batch.iter().any(moves_endpoints);
            let Some(synced) = self.take(&mut batch) else {
                tracing::error!("the compiler fails: the last good routing table stays in use and is not updated");
                return self.stand_still().await;
            };
            if let Some(before) = self.swap(came, objects) {
                old.push(before);
                swapped.send_modify(|swaps| *swaps += 1);
            }
            if old.len() > OLD_TABLES {
                old.retain(|table| Arc::strong_count(table) > 1);
            }
            if moves {
                self.find_members();
            }
            for watch in synced {
                self.shared.watches.synced(&watch);
            }
            let wanted = self.guard.state.external_names();
            names.send_if_modified(|names| {
                let changed = *names != wanted;
                *names = wanted;
                changed
            });
            let wanted = self.guard.state.wanted_key_sets();
            key_sets.send_if_modified(|sets| {
                let changed = *sets != wanted;
                *sets = wanted;
                changed
            });
            self.want_secrets();
            report_due.get_or_insert_with(|| Instant::now() + REPORT_PAUSE);
            if !self.is_live() && self.shared.watches.all_synced() {
                // What is empty now counts as long empty, also in the first table.
                if !self.guard.apply(Change::Listed) {
                    return self.stand_still().await;
                }
                self.publish_report();
                self.go_live()?;
            }
        }
    }

    /// Tells the source which Secrets, ConfigMaps and nodes the state needs. After the watches are marked, so that a complete world is.
    fn want_secrets(&mut self) {
        let complete = self.shared.watches.all_listed();
        let changed = self.guard.state.wanted_secrets_changed() | self.guard.state.wanted_nodes_changed();
        if !changed && self.secrets.borrow().complete == complete {
            return;
        }
        let wanted = Wanted {
            names: self.guard.state.wanted_secrets(),
            config_maps: self.guard.state.wanted_config_maps(),
            nodes: self.guard.state.wanted_nodes(),
            complete,
        };
        self.secrets.send_if_modified(|known| {
            let changed = *known != wanted;
            *known = wanted;
            changed
        });
    }

    /// Looks up the endpoints of the admin Service.
    fn find_members(&self) {
        let Some(service) = &self.admin_service else { return };
        let members = self.guard.state.members(service, MOST_PEERS);
        if **self.shared.members.load() != members {
            self.shared.members.store(Arc::new(members));
        }
    }

    /// What is to be said of listeners that cannot be opened.
    fn closed_listeners(&self) -> Vec<Diagnostic> {
        let failed = lock(&self.server).sockets().failed();
        let reasons = failed.values();
        reasons
            .map(|why| Diagnostic::general(Code::ListenerNotOpen, why))
            .collect()
    }

    fn is_live(&self) -> bool {
        self.bound.is_empty()
    }

    /// Applies what came, and says which watches it completes; absent if the state cannot be repaired.
    fn take(&mut self, batch: &mut Vec<Event>) -> Option<Vec<String>> {
        let mut synced = Vec::new();
        for event in batch.drain(..) {
            match event {
                Event::Change(change) => {
                    if !self.guard.apply(change) {
                        return None;
                    }
                }
                Event::Together(changes) => {
                    if !changes.into_iter().all(|change| self.guard.apply(change)) {
                        return None;
                    }
                }
                Event::Synced(watch) => synced.push(watch),
            }
        }
        Some(synced)
    }

    /// Keeps the sources from waiting for ever, and `/healthz` from saying that all is well.
    async fn stand_still(mut self) -> Result<(), BindError> {
        while self.events.recv().await.is_some() {}
        Ok(())
    }

    /// Makes the new table live and gives back the old one.
    fn swap(&mut self, came: Instant, objects: Vec<String>) -> Option<Arc<Table>> {
        if !self.guard.state.changed() {
            return None;
        }
        self.guard.settle();
        let table = Arc::new(self.guard.state.table());
        let old = self.shared.tables.swap(table.clone());
        self.shared.swaps.fetch_add(1, Ordering::Relaxed);
        lock(&self.server).table_changed(&table);
        let journal = self.guard.state.take_journal();
        if !journal.is_empty() {
            self.shared.changes.push(ChangeRecord {
                at: jiff::Timestamp::now(),
                generation: table.generation,
                objects,
                journal,
                took: came.elapsed(),
            });
        }
        tracing::debug!(generation = table.generation, "the new routing table is live");
        Some(old)
    }

    fn go_live(&mut self) -> Result<(), BindError> {
        let bound = std::mem::take(&mut self.bound);
        let addresses: Vec<String> = bound
            .iter()
            .map(|bound| format!("{} {}", bound.role(), bound.address()))
            .collect();
        lock(&self.server).listen(bound)?;
        self.shared.ready.store(true, Ordering::Release);
        if let Some(live) = self.live.take() {
            let _ = live.send(());
        }
        let routes = self.shared.tables.load().routes().count();
        let problems = self
            .shared
            .report
            .load()
            .iter()
            .filter(|problem| problem.severity() != Severity::Info)
            .count();
        tracing::info!(
            routes,
            problems,
            listening = addresses.join(", "),
            "ready: the routing table is live and requests are served"
        );
        Ok(())
    }

    fn publish_report(&mut self) {
        let Some(mut report) = self.guard.report() else { return };
        report.listeners = self.closed_listeners();
        let before = self.shared.report.load();
        let mut logged = 0;
        for diagnostic in report.iter() {
            let known = match &diagnostic.object {
                Some(object) => before
                    .objects
                    .get(object)
                    .is_some_and(|known| known.contains(diagnostic)),
                None => before.files.contains(diagnostic) || before.listeners.contains(diagnostic),
            };
            if known {
                continue;
            }
            match diagnostic.severity() {
                Severity::Error | Severity::Warning => {
                    logged += 1;
                    if logged <= LOGGED {
                        tracing::warn!(code = diagnostic.code.name(), "{diagnostic}");
                    }
                }
                // That an Ingress is another controller's is no news.
                Severity::Info => tracing::debug!(code = diagnostic.code.name(), "{diagnostic}"),
            }
        }
        if logged > LOGGED {
            let more = logged - LOGGED;
            tracing::warn!("and {more} more problems: see /api/v1/diagnostics on the admin address");
        }
        drop(before);
        let statuses = self.guard.state.gateway_statuses();
        if **self.shared.statuses.load() != *statuses {
            self.shared.statuses.store(Arc::new(statuses.clone()));
        }
        self.shared.report.store(Arc::new(report));
        *self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner) = self.guard.state.counts();
    }
}

/// Whether an event may be about pods' addresses.
fn moves_endpoints(event: &Event) -> bool {
    event.changes().iter().any(|change| {
        let kind = match change {
            Change::Apply(object) => object.kind(),
            Change::Delete(object) => object.kind,
            Change::Replace { kind, .. } => *kind,
            _ => return false,
        };
        matches!(kind, Kind::EndpointSlice | Kind::Endpoints)
    })
}

/// The objects that a batch is about, the first of them.
fn named(batch: &[Event]) -> Vec<String> {
    let changes = batch.iter().flat_map(Event::changes);
    let names = changes.filter_map(|change| match change {
        Change::Apply(object) => Some(object.reference().to_string()),
        Change::Delete(object) => Some(object.to_string()),
        Change::Replace { kind, objects, .. } => Some(format!("{} {} from a full list", objects.len(), kind.plural())),
        _ => None,
    });
    names.take(MOST_OBJECTS).collect()
}

/// Locks the server; a panic of another holder does not end the control task.
pub fn lock(server: &Mutex<Server>) -> std::sync::MutexGuard<'_, Server> {
    server.lock().unwrap_or_else(PoisonError::into_inner)
}
