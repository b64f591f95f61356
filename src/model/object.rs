//! Kubernetes objects as narthex keeps them: the fields that route, and nothing else.
//!
//! Sources decode the API's types into these on arrival, so managedFields, last-applied annotations and the rest
//! never stay in memory, and the compiler needs no Kubernetes crate. Field names and meaning follow the API
//! reference (networking.k8s.io/v1, core/v1, discovery.k8s.io/v1); nothing is validated here.

use super::annotations::Annotations;
use super::kind::Kind;
use super::reference::Timestamp;
use std::sync::Arc;

/// What every object has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// The namespace; empty for a cluster-scoped object.
    pub namespace: Arc<str>,
    pub name: Arc<str>,
    /// When it was made.
    pub created: Timestamp,
    /// Whether it is being deleted: `metadata.deletionTimestamp` is set.
    pub deleting: bool,
    /// Annotations that narthex or an ingress controller reads: see [`is_kept`](super::annotation::is_kept).
    pub annotations: Annotations,
    /// What is known of its current version, if that cannot be decoded and has guards. All else is of its last good one.
    pub undecoded: Option<Arc<Undecoded>>,
}

/// What is known of a version of an object that cannot be decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Undecoded {
    /// Its annotations, those that are kept.
    pub annotations: Annotations,
    /// The hosts of an Ingress's rules; absent is any host.
    pub hosts: Vec<Option<String>>,
    /// `spec.parameters` of an IngressClass, as far as they can be read.
    pub parameters: Option<String>,
}

/// The annotation that named the class before `spec.ingressClassName`.
pub const OLD_CLASS: &str = "kubernetes.io/ingress.class";

/// `service.port` of a backend: a number or a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PortRef {
    /// `number`, as written (may be out of range).
    Number(i32),
    /// `name`.
    Name(Arc<str>),
    /// The first that the Service has.
    First,
    /// This port of its pods, whichever port of the Service leads there.
    OfPods(u16),
    /// All ports that the Service has.
    Every,
    /// Neither.
    #[default]
    Missing,
}

impl std::fmt::Display for PortRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PortRef::Number(number) => write!(f, "{number}"),
            PortRef::Name(name) => f.write_str(name),
            PortRef::First => f.write_str("(first)"),
            PortRef::OfPods(number) => write!(f, "{number}"),
            PortRef::Every => f.write_str("(every)"),
            PortRef::Missing => f.write_str("(none)"),
        }
    }
}

/// networking.k8s.io/v1 IngressClass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IngressClass {
    /// Name, age, annotations.
    pub meta: Meta,
    /// `spec.controller`.
    pub controller: String,
    /// `spec.parameters`: kind and name of an object that narthex does not read.
    pub parameters: Option<String>,
}

impl IngressClass {
    /// `spec.parameters`, also of a version that cannot be decoded.
    pub fn parameters(&self) -> Option<&str> {
        let undecoded = self.meta.undecoded.as_ref();
        let undecoded = undecoded.and_then(|undecoded| undecoded.parameters.as_deref());
        self.parameters.as_deref().or(undecoded)
    }
}

/// core/v1 Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Name, age, annotations.
    pub meta: Meta,
    /// `spec.externalName`, for `type: ExternalName` only.
    pub external_name: Option<String>,
    /// `spec.ports`.
    pub ports: Vec<ServicePort>,
    /// Whether `spec.ipFamilies[0]` is IPv6.
    pub ipv6_first: bool,
    /// `spec.clusterIP`, where it has one.
    pub cluster_ip: Option<std::net::IpAddr>,
}

impl Service {
    /// Whether its external name is written as an address, which DNS has no names for.
    pub fn external_name_is_address(&self) -> bool {
        let name = self.external_name.as_deref();
        name.is_some_and(|name| name.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok())
    }
}

/// One of a Service's `spec.ports`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServicePort {
    /// `name`; empty if the port has none.
    pub name: Arc<str>,
    /// `port`.
    pub port: i32,
    /// `targetPort`, where it is a number.
    pub target: Option<u16>,
    /// `protocol`; TCP where not given.
    pub protocol: Option<String>,
    /// `appProtocol` (KEP-1422), kept for the protocol work to come.
    pub app_protocol: Option<String>,
}

/// Where a Service's pods are: an EndpointSlice, or an Endpoints object taken apart the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// Name, age.
    pub meta: Meta,
    /// [`Kind::EndpointSlice`] or [`Kind::Endpoints`].
    pub kind: Kind,
    /// The Service's name: the label `kubernetes.io/service-name`, or an Endpoints' own name.
    pub service: Option<Arc<str>>,
    /// Sets of addresses with the ports they share: one for a slice, one a subset for Endpoints.
    pub subsets: Vec<EndpointSubset>,
    /// `addressType` where it is neither IPv4 nor IPv6.
    pub unsupported_type: Option<String>,
}

/// Addresses that share ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointSubset {
    pub ports: Vec<EndpointPort>,
    pub endpoints: Vec<EndpointAddress>,
}

/// A port that endpoints listen on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointPort {
    /// The name of the Service port that this belongs to; empty if it has none.
    pub name: Arc<str>,
    /// The number; none means "as the Service says".
    pub port: Option<i32>,
    /// `protocol`; TCP where not given.
    pub protocol: Option<String>,
}

/// One endpoint of a subset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointAddress {
    /// `addresses`, as written: the API promises they are fungible, so the first is used.
    pub addresses: Vec<String>,
    /// `conditions.ready`.
    pub ready: Option<bool>,
    /// `conditions.serving`.
    pub serving: Option<bool>,
    /// `conditions.terminating`.
    pub terminating: Option<bool>,
    /// `targetRef.name`: the pod.
    pub pod: Option<Arc<str>>,
    /// `targetRef.uid`.
    pub uid: Option<Arc<str>>,
    /// `nodeName`.
    pub node: Option<Arc<str>>,
    /// `zone`.
    pub zone: Option<Arc<str>>,
    /// `hints`: for whom it is meant.
    pub hints: Option<Arc<Hints>>,
}

/// The hints of an endpoint (KEP-2433, KEP-4444): the nodes and zones it is meant for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Hints {
    /// `forNodes`.
    pub nodes: Vec<Arc<str>>,
    /// `forZones`.
    pub zones: Vec<Arc<str>>,
}

/// An entry of a Secret.
pub type SecretEntry = (Arc<str>, Arc<[u8]>);

/// core/v1 ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigMap {
    /// Name, age.
    pub meta: Meta,
    /// `data`, as far as it is text.
    pub data: std::collections::BTreeMap<Arc<str>, Arc<str>>,
    /// The keys of `data` whose values are not text, as only files can have them.
    pub not_text: Vec<Arc<str>>,
}

/// core/v1 Secret: the entries narthex reads of it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret {
    /// Name, age.
    pub meta: Meta,
    /// `type`.
    pub kind: Option<String>,
    /// `tls.crt`: a certificate chain in PEM, the leaf first.
    pub certificate: Option<Arc<[u8]>>,
    /// `tls.key`: its private key in PEM.
    pub key: Option<Arc<[u8]>>,
    /// `ca.crt`: certificates in PEM that others are verified by.
    pub ca: Option<Arc<[u8]>>,
    /// `ca.crl`: lists of those of them that are revoked, in PEM.
    pub revoked: Option<Arc<[u8]>>,
    /// All other entries, in order of their names, where it is of a type that may name users.
    pub others: Box<[SecretEntry]>,
}

impl std::fmt::Debug for Secret {
    /// Never the contents.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret")
            .field("meta", &self.meta)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// core/v1 Namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Its name, and whether it is being deleted.
    pub meta: Meta,
    /// `metadata.labels`.
    pub labels: Annotations,
}
