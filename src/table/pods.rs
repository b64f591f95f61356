//! The pods of one Service port, whoever leads to them and whatever is asked of them.
//!
//! A shard keeps health, connections and queues of a pod set, so these survive any change that does not change who the
//! pods are.

use super::backend::{BackendState, Endpoint, Protocol};
use super::backend_tls::BackendTls;
use super::settings::{BackendSettings, HealthProtocol, UpstreamHost};
use super::slots::Placed;
use std::sync::Arc;
use std::time::Duration;

/// Which pod set. Slots are used again, with another generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodSetId {
    /// The place in the table.
    pub slot: u32,
    /// Which of the pod sets that had this place.
    pub generation: u32,
}

/// The pods of one Service port. It stays as long as its Service has that port, also while no route leads there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodSet {
    pub id: PodSetId,
    /// The Service's namespace.
    pub namespace: Arc<str>,
    /// The Service's name.
    pub service: Arc<str>,
    /// The Service port's number.
    pub port: i32,
    /// Whether there are endpoints, and of what kind.
    pub state: BackendState,
    /// The endpoints, sorted by address.
    pub endpoints: Arc<[Endpoint]>,
    /// The terms on which backends connect to them at present. Where no backend leads here any more, the last ones.
    pub terms: Vec<Arc<Terms>>,
    /// How backends have them checked. Likewise.
    pub checks: Vec<Arc<Check>>,
    /// How many requests may be under way. Likewise.
    pub limits: Vec<InFlightLimit>,
}

impl Placed for PodSet {
    type Id = PodSetId;

    fn id(&self) -> PodSetId {
        self.id
    }

    fn slot(id: PodSetId) -> usize {
        id.slot as usize
    }
}

/// On what terms a connection to a pod is opened. Where these change, connections opened on the old ones are closed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    pub protocol: Protocol,
    /// The TLS below; absent without TLS.
    pub tls: Option<Arc<BackendTls>>,
    /// Whether it begins with a PROXY protocol header.
    pub proxied: bool,
}

/// How pods are asked whether they are well. Absent settings leave it to the defaults.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Check {
    /// The path that is asked for.
    pub path: Option<Arc<str>>,
    /// Which host is asked for; the address where none is said.
    pub host: Option<UpstreamHost>,
    /// How it is asked.
    pub protocol: HealthProtocol,
    /// How often.
    pub interval: Option<Duration>,
    /// For one answer.
    pub timeout: Option<Duration>,
    /// After how many good answers a pod is well again.
    pub rise: Option<u32>,
    /// After how many bad answers it is not.
    pub fall: Option<u32>,
}

impl Check {
    /// What a backend's settings ask for; absent where they ask for no check.
    pub fn of(settings: &BackendSettings) -> Option<Self> {
        settings.is_checked().then(|| Self {
            path: settings.health_path.clone(),
            host: settings.upstream_host.clone(),
            protocol: settings.health_protocol.unwrap_or_default(),
            interval: settings.health_interval,
            timeout: settings.health_timeout,
            rise: settings.health_rise,
            fall: settings.health_fall,
        })
    }
}

/// The limit on requests in flight, and the object that sets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InFlightLimit {
    /// The Ingress that says so; absent where the Service does. Each has its own count.
    pub by: Option<Arc<str>>,
    pub most: u32,
}
