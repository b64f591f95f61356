//! A Route as narthex keeps it. Nothing is validated here.

use crate::model::object::Meta;
use crate::model::{Annotations, Revision};
use std::fmt;
use std::sync::Arc;

/// route.openshift.io/v1 Route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// Name, age, annotations.
    pub meta: Meta,
    /// Which state of it this is.
    pub revision: Revision,
    /// `metadata.labels`, by which a router chooses its Routes.
    pub labels: Annotations,
    /// `spec.host`; empty where it has none.
    pub host: Arc<str>,
    /// `spec.subdomain`; empty where it has none.
    pub subdomain: Box<str>,
    /// `spec.path`; empty where it has none.
    pub path: Arc<str>,
    /// `spec.to`, then `spec.alternateBackends`.
    pub targets: Box<[RouteTarget]>,
    /// `spec.port.targetPort`; absent for every port of the Service.
    pub port: Option<TargetPort>,
    /// `spec.tls`.
    pub tls: Option<Box<RouteTls>>,
    /// `spec.wildcardPolicy`; empty where it has none.
    pub wildcard_policy: Box<str>,
    /// `spec.httpHeaders.actions`.
    pub actions: Option<Box<RouteActions>>,
}

/// One of the Services that a Route names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteTarget {
    /// `kind`, where it is another than `Service`.
    pub kind: Option<Box<str>>,
    pub name: Arc<str>,
    /// `weight`, as written.
    pub weight: Option<i32>,
}

/// `spec.port.targetPort`: a port of the endpoints, not of the Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPort {
    /// As written.
    Number(i32),
    Name(Arc<str>),
}

/// `spec.tls`, each text empty where it says nothing.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RouteTls {
    pub termination: Box<str>,
    pub certificate: Box<str>,
    pub key: Box<str>,
    pub ca_certificate: Box<str>,
    pub destination_ca_certificate: Box<str>,
    /// `externalCertificate.name`: a Secret.
    pub external_certificate: Arc<str>,
    pub insecure_policy: Box<str>,
}

impl fmt::Debug for RouteTls {
    /// Never the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteTls")
            .field("termination", &self.termination)
            .field("external_certificate", &self.external_certificate)
            .field("insecure_policy", &self.insecure_policy)
            .finish_non_exhaustive()
    }
}

/// `spec.httpHeaders.actions`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteActions {
    pub request: Box<[HeaderAction]>,
    pub response: Box<[HeaderAction]>,
}

/// What is done to one field of requests or responses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderAction {
    pub name: Box<str>,
    /// `action.type`, as written.
    pub kind: Box<str>,
    /// `action.set.value`.
    pub value: Option<Box<str>>,
}
