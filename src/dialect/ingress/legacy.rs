//! The versions of Ingress that Kubernetes no longer serves: extensions/v1beta1 and networking.k8s.io/v1beta1 (until
//! 1.22). k8s-openapi has dropped them; manifests and old clusters have not.

use super::decode::{ingress_tls, resource_backend};
use super::object::{self, IngressBackend, IngressPath, IngressRule};
use crate::dialect::decode::{meta, revision};
use crate::model::object::PortRef;
use crate::model::shared::shared;
use k8s_openapi::api::core::v1::TypedLocalObjectReference;
use k8s_openapi::api::networking::v1 as networking;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// v1beta1 Ingress, the same in both groups.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Ingress {
    #[serde(rename = "apiVersion")]
    _api_version: IgnoredAny,
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    metadata: ObjectMeta,
    spec: Option<Spec>,
    #[serde(rename = "status")]
    _status: Option<networking::IngressStatus>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename = "OldIngressSpec", rename_all = "camelCase")]
struct Spec {
    ingress_class_name: Option<String>,
    backend: Option<Backend>,
    rules: Option<Vec<Rule>>,
    tls: Option<Vec<networking::IngressTLS>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Rule {
    host: Option<String>,
    http: Option<Http>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Http {
    paths: Option<Vec<Path>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Path {
    path: Option<String>,
    path_type: Option<String>,
    backend: Option<Backend>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename = "OldIngressBackend", rename_all = "camelCase")]
struct Backend {
    service_name: Option<String>,
    service_port: Option<IntOrString>,
    resource: Option<TypedLocalObjectReference>,
}

impl From<Ingress> for object::Ingress {
    fn from(mut ingress: Ingress) -> Self {
        let spec = ingress.spec.unwrap_or_default();
        object::Ingress {
            revision: revision(&mut ingress.metadata),
            meta: meta(ingress.metadata),
            class: spec.ingress_class_name.map(Into::into),
            default_backend: spec.backend.map(backend).map(Box::new),
            rules: spec.rules.unwrap_or_default().into_iter().map(rule).collect(),
            tls: spec.tls.unwrap_or_default().into_iter().map(ingress_tls).collect(),
            legacy: true,
        }
    }
}

fn rule(rule: Rule) -> IngressRule {
    let path = |path: Path| IngressPath {
        path: path.path.as_deref().map(shared),
        path_type: path.path_type.as_deref().map(shared),
        backend: path.backend.map_or(IngressBackend::Missing, backend),
        unclear: false,
    };
    IngressRule {
        host: rule.host.as_deref().map(shared),
        paths: rule
            .http
            .map(|http| http.paths.unwrap_or_default().into_iter().map(path).collect()),
        unclear: false,
    }
}

fn backend(backend: Backend) -> IngressBackend {
    match (backend.service_name.filter(|name| !name.is_empty()), backend.resource) {
        (Some(name), _) => IngressBackend::Service {
            name: shared(&name),
            port: backend.service_port.map_or(PortRef::Missing, port),
        },
        (None, Some(resource)) => resource_backend(resource),
        (None, None) => IngressBackend::Missing,
    }
}

/// A quoted number is a number: no port name is without a letter (RFC 6335 §5.1), and charts quoted them.
fn port(port: IntOrString) -> PortRef {
    match port {
        IntOrString::Int(number) => PortRef::Number(number),
        IntOrString::String(name) if name.is_empty() => PortRef::Missing,
        IntOrString::String(name) => match name.parse() {
            Ok(number) => PortRef::Number(number),
            Err(_) => PortRef::Name(name.into()),
        },
    }
}
