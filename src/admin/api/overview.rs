//! This narthex at a glance.

use super::super::Admin;
use super::super::sampler::TrafficView;
use crate::control::lock;
use crate::model::{Report, Severity};
use crate::source::Phase;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

/// Which narthex it is.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Version {
    name: Cow<'static, str>,
    pub(crate) version: Cow<'static, str>,
    /// What it calls itself: its pod's name.
    pub(crate) pod: String,
    /// When it began (RFC 3339).
    started: String,
}

/// This narthex at a glance.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Overview {
    #[serde(flatten)]
    pub(crate) version: Version,
    /// Whether requests are answered from a complete table.
    pub(crate) ready: bool,
    /// Counts the tables of this process.
    generation: u64,
    swaps: u64,
    pub(crate) uptime_seconds: u64,
    /// Objects that are known, by kind.
    objects: BTreeMap<Cow<'static, str>, usize>,
    pub(crate) counts: Counts,
    pub(crate) problems: Problems,
    pub(crate) traffic: TrafficView,
    /// Client connections that are open.
    pub(crate) connections: usize,
    connections_by_shard: Vec<usize>,
    /// Resident memory.
    pub(crate) memory_bytes: Option<u64>,
    watches: Vec<WatchInfo>,
}

/// What the table holds.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    hosts: usize,
    pub(crate) routes: usize,
    backends: usize,
    endpoints: usize,
    certificates: usize,
}

/// How many problems there are.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Problems {
    pub(crate) error: usize,
    pub(crate) warning: usize,
    info: usize,
}

/// Where a source of objects stands.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct WatchInfo {
    name: String,
    /// Whether readiness waits for it.
    required: bool,
    synced: bool,
    /// `listing`, `live`, or `failing: ` and why.
    state: String,
    /// Since its last event or bookmark.
    silent_seconds: Option<f64>,
}

impl Problems {
    /// Those of a report.
    pub fn of(report: &Report) -> Self {
        let by = |severity| report.iter().filter(|problem| problem.severity() == severity).count();
        Self {
            error: by(Severity::Error),
            warning: by(Severity::Warning),
            info: by(Severity::Info),
        }
    }
}

impl Admin {
    pub(super) fn version(&self) -> Version {
        Version {
            name: "narthex".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            pod: self.identity.pod.clone(),
            started: self.identity.started.to_string(),
        }
    }

    pub(super) fn overview(&self) -> Overview {
        let table = self.shared.tables.load();
        let counts = self.shared.object_counts();
        let watches = self
            .shared
            .watches
            .snapshot()
            .into_iter()
            .map(|(name, watch)| WatchInfo {
                name,
                required: watch.required,
                synced: watch.synced,
                state: match &watch.phase {
                    Phase::Listing => "listing".to_owned(),
                    Phase::Live => "live".to_owned(),
                    Phase::Failing(why) => format!("failing: {why}"),
                },
                silent_seconds: watch.last_event.map(|at| at.elapsed().as_secs_f64()),
            });
        let watches = watches.collect();
        let connections = lock(&self.server).connections_by_shard();
        Overview {
            version: self.version(),
            ready: self.shared.is_ready(),
            generation: table.generation,
            swaps: self.shared.swaps.load(Ordering::Relaxed),
            uptime_seconds: self.shared.started.elapsed().as_secs(),
            objects: counts
                .iter()
                .map(|(kind, count)| (kind.plural().into(), *count))
                .collect(),
            counts: Counts {
                hosts: table.hosts().filter(|(_, host)| !host.is_empty()).count(),
                routes: table.routes().count(),
                backends: table.backends().count(),
                endpoints: table.backends().map(|backend| backend.endpoints.len()).sum(),
                certificates: table.all_certificates().count(),
            },
            problems: Problems::of(&self.shared.report.load()),
            traffic: self.sampler().all(),
            connections: connections.iter().sum(),
            connections_by_shard: connections,
            memory_bytes: crate::serve::memory::resident(),
            watches,
        }
    }
}
