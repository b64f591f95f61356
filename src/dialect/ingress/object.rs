//! An Ingress as narthex keeps it. Nothing is validated here.
//!
//! There may be a hundred thousand of them, so what few have is boxed, and texts that many have are
//! [shared](crate::model::shared).

use crate::model::Revision;
use crate::model::object::{Meta, PortRef};
use std::sync::Arc;

/// networking.k8s.io/v1 Ingress.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ingress {
    /// Name, age, annotations.
    pub meta: Meta,
    /// Which state of it this is.
    pub revision: Revision,
    /// `spec.ingressClassName`.
    pub class: Option<Box<str>>,
    /// `spec.defaultBackend`.
    pub default_backend: Option<Box<IngressBackend>>,
    /// `spec.rules`.
    pub rules: Box<[IngressRule]>,
    /// `spec.tls`.
    pub tls: Box<[IngressTls]>,
    /// Whether the object came as v1 (which demands a pathType) or as an older version (which had none).
    pub legacy: bool,
}

/// One of `spec.rules`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IngressRule {
    /// `host`; none or empty is any.
    pub host: Option<Arc<str>>,
    /// `http.paths`; none where the rule has no `http`: all of the host goes to the default backend.
    pub paths: Option<Box<[IngressPath]>>,
    /// Whether a field that does not exist leaves open what the rule is for. It is left out.
    pub unclear: bool,
}

/// One of `http.paths`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IngressPath {
    /// `path`.
    pub path: Option<Arc<str>>,
    /// `pathType`, as written.
    pub path_type: Option<Arc<str>>,
    /// `backend`.
    pub backend: IngressBackend,
    /// As of a rule.
    pub unclear: bool,
}

/// `backend` of a path, or `spec.defaultBackend`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum IngressBackend {
    /// `service`.
    Service {
        /// `service.name`.
        name: Arc<str>,
        /// `service.port`.
        port: PortRef,
    },
    /// `resource`, which narthex does not follow.
    Resource(Box<Resource>),
    /// Neither.
    #[default]
    Missing,
}

/// `resource` of a backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resource {
    /// `apiGroup/kind`.
    pub kind: String,
    pub name: String,
}

/// One of `spec.tls`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IngressTls {
    /// `hosts`.
    pub hosts: Box<[Arc<str>]>,
    /// `secretName`.
    pub secret: Option<Arc<str>>,
}
