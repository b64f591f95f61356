//! Backends: one Service port each, with the endpoints behind it.

use super::backend_tls::BackendTls;
use super::guard::Guard;
use super::pods::{Check, PodSetId, Terms};
use super::settings::{BackendProtocol, BackendSettings};
use super::slots::Placed;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// Which backend. Slots are used again, with another generation, so that a request that still holds a route of an
/// older table never reaches a stranger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendId {
    /// The place in the table.
    pub slot: u32,
    /// Which of the backends that had this place.
    pub generation: u32,
}

/// What a backend's name resolves to right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BackendState {
    /// There are ready endpoints.
    Ready,
    /// None is ready, but some still serve while they terminate (KEP-1669), and those are used.
    OnlyTerminating,
    /// None is known to be ready, as Kubernetes has lost sight of their nodes. Those that were ready last are used.
    ReadinessUnknown,
    /// The Service has no endpoint that may be used.
    NoEndpoints,
    /// There is no such Service.
    ServiceNotFound,
    /// The Service has no such port.
    PortNotFound,
    /// The rule names no Service and port.
    Invalid,
    /// An ExternalName Service while those are not allowed.
    ExternalNameRefused,
    /// An ExternalName that does not resolve.
    ExternalNameUnresolved,
    /// Its pods speak TLS, and what is needed for that is missing or broken.
    TlsUnready,
}

impl BackendState {
    /// A few words for logs and pages.
    pub fn reason(self) -> &'static str {
        match self {
            BackendState::Ready => "ready",
            BackendState::OnlyTerminating => "only terminating endpoints",
            BackendState::ReadinessUnknown => "the nodes of its endpoints are not ready",
            BackendState::NoEndpoints => "no endpoints",
            BackendState::ServiceNotFound => "no such Service",
            BackendState::PortNotFound => "no such port",
            BackendState::Invalid => "the rule names no Service and port",
            BackendState::ExternalNameRefused => "ExternalName Services are not allowed",
            BackendState::ExternalNameUnresolved => "the ExternalName is not resolved",
            BackendState::TlsUnready => "what TLS to its pods needs is missing or broken",
        }
    }
}

/// What endpoints speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2, by prior knowledge.
    Http2,
}

/// One Service port, as rules name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    pub id: BackendId,
    /// The Service's namespace.
    pub namespace: Arc<str>,
    /// The Service's name; empty where the rule names none.
    pub service: Arc<str>,
    /// The port as the rule names it: a number or a name; `(none)` where the rule names none.
    pub port: Arc<str>,
    /// What it resolves to.
    pub state: BackendState,
    /// `appProtocol` of the Service port (KEP-1422, KEP-3726).
    pub app_protocol: Option<Arc<str>>,
    /// What the annotations of Ingresses say of it. Part of what it is: for Ingresses that say something else, the same
    /// Service port is another backend.
    pub asked: Option<Arc<BackendSettings>>,
    /// What annotations say of it, the Ingresses' before its Service's.
    pub settings: Arc<BackendSettings>,
    /// The pods it leads to; absent where its name resolves to no Service port.
    pub pods: Option<PodSetId>,
    /// On what terms connections to them are opened.
    pub terms: Arc<Terms>,
    /// How they are checked, where they are.
    pub check: Option<Arc<Check>>,
    /// The object that limits the requests under way, where it is not the Service: see [`Self::counts_for`].
    pub limited_by: Option<Arc<str>>,
    /// The TLS that its pods speak, if they do.
    pub tls: Option<Arc<BackendTls>>,
    /// What its Service asks for and narthex does not enforce: every route to it is closed.
    pub guard: Option<Arc<Guard>>,
    /// The endpoints in use, sorted by address; empty unless the state is Ready, OnlyTerminating or ReadinessUnknown.
    pub endpoints: Arc<[Endpoint]>,
}

impl Backend {
    /// For which object `max-in-flight` is counted: the one that states it. Absent for the Service, which counts the requests of
    /// all.
    pub fn counts_for(&self) -> Option<&Arc<str>> {
        self.stated(|asked| asked.max_in_flight)
    }

    /// The same for `max-in-flight-per-pod`.
    pub fn counts_by_pod_for(&self) -> Option<&Arc<str>> {
        self.stated(|asked| asked.max_in_flight_per_pod)
    }

    fn stated(&self, limit: impl Fn(&BackendSettings) -> Option<u32>) -> Option<&Arc<str>> {
        let is_stated = self.asked.as_ref().and_then(|asked| limit(asked)).is_some();
        self.limited_by.as_ref().filter(|_| is_stated)
    }
}

/// Every `appProtocol` that narthex knows: what it means is said below.
pub const APP_PROTOCOLS: &[&str] = &[
    "grpc",
    "h2c",
    "http",
    "https",
    "kubernetes.io/h2c",
    "kubernetes.io/ws",
    "kubernetes.io/wss",
    "ws",
    "wss",
];

/// Whether TLS is to be spoken to pods, and in it HTTP/2.
pub fn tls_wanted(settings: &BackendSettings, app_protocol: Option<&str>) -> Option<bool> {
    match (settings.protocol, app_protocol) {
        (Some(BackendProtocol::Https), _) | (None, Some("https" | "kubernetes.io/wss" | "wss")) => Some(false),
        (Some(BackendProtocol::Grpcs), _) => Some(true),
        _ => None,
    }
}

/// What pods speak.
pub fn protocol(settings: &BackendSettings, app_protocol: Option<&str>) -> Protocol {
    match (settings.protocol, app_protocol) {
        (Some(BackendProtocol::H2c | BackendProtocol::Grpc | BackendProtocol::Grpcs), _) => Protocol::Http2,
        (Some(BackendProtocol::Http | BackendProtocol::Https), _) => Protocol::Http1,
        (None, Some("kubernetes.io/h2c" | "h2c" | "grpc")) => Protocol::Http2,
        (None, _) => Protocol::Http1,
    }
}

impl Backend {
    /// What its endpoints speak.
    pub fn protocol(&self) -> Protocol {
        self.terms.protocol
    }

    /// Its `appProtocol`, where that would say what its endpoints speak but narthex does not know it.
    pub fn unknown_protocol(&self) -> Option<&str> {
        let said = self
            .app_protocol
            .as_deref()
            .filter(|_| self.settings.protocol.is_none())?;
        (!said.is_empty() && !APP_PROTOCOLS.contains(&said)).then_some(said)
    }
}

impl Placed for Backend {
    type Id = BackendId;

    fn id(&self) -> BackendId {
        self.id
    }

    fn slot(id: BackendId) -> usize {
        id.slot as usize
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.service.is_empty() {
            return write!(f, "{}/(no Service)", self.namespace);
        }
        write!(f, "{}/{}:{}", self.namespace, self.service, self.port)
    }
}

/// One pod address; identity for health and pools is `(uid, address)`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// Where to connect.
    pub address: SocketAddr,
    /// The same pod in the other address family, tried when the first cannot be reached.
    pub alternate: Option<SocketAddr>,
    /// `targetRef.uid`.
    pub uid: Option<Arc<str>>,
    /// `targetRef.name`: the pod.
    pub pod: Option<Arc<str>>,
    /// `zone`.
    pub zone: Option<Arc<str>>,
    /// Whether it is meant for this node by the hints of its slice; all are where hints say nothing of use.
    pub near: bool,
}

/// What must stay the same for an endpoint to be the same: all but where the pod runs.
pub type EndpointIdentity = (SocketAddr, Option<SocketAddr>, Option<Arc<str>>, Option<Arc<str>>);

impl Endpoint {
    /// By this it is found again in the next table.
    pub fn identity(&self) -> EndpointIdentity {
        (self.address, self.alternate, self.uid.clone(), self.pod.clone())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.pod {
            Some(pod) => write!(f, "{} ({pod})", self.address),
            None => write!(f, "{}", self.address),
        }
    }
}
