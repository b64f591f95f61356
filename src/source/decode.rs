//! From the API's types to the slim ones of [`crate::model::object`].
//!
//! Both sources decode here, so an object means the same whether an API server or a file said it. What is not kept
//! (managedFields, status, most of a Secret's data) is dropped here and never stays in memory. Nothing is validated: the compiler
//! does that, and names the object and field.

mod legacy;
mod secret;

use crate::model::diagnostic::shortened;
use crate::model::object::{
    EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Hints, Ingress, IngressBackend, IngressClass,
    IngressPath, IngressRule, IngressTls, Meta, Namespace, PortRef, Service, ServicePort, keep_annotation,
};
use crate::model::{Code, Diagnostic, Kind, Object, ObjectRef, Revision, Timestamp};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use k8s_openapi::api::networking::v1 as networking;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt;
use std::sync::Arc;

/// The label that names the Service an EndpointSlice belongs to.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// An object whose fields do not fit its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct DecodeError {
    /// Which object, where that much could be read.
    pub object: Option<ObjectRef>,
    /// The field that does not fit: `spec.rules[0].http.paths[0].backend.service.port.number`.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

impl From<DecodeError> for Diagnostic {
    fn from(error: DecodeError) -> Self {
        Diagnostic {
            object: error.object,
            field: shortened(error.field),
            code: Code::InvalidObject,
            message: shortened(error.message),
            location: None,
        }
    }
}

/// Decodes an object of any kind and version narthex reads, by its `apiVersion` and `kind`.
///
/// `Ok(None)` is an object of another kind (or no document at all), which is none of our business. An object of a
/// namespaced kind that names no namespace is in `default`, as `kubectl apply` has it.
///
/// # Errors
/// When a field does not fit, when there is no name, or when a kind of ours is given in a version that never was.
pub fn from_value(value: Value) -> Result<Option<Object>, DecodeError> {
    if value.is_null() {
        return Ok(None);
    }
    let api_version = text(&value, "/apiVersion");
    let Some(kind_name) = text(&value, "/kind") else {
        return Err(failure(None, "kind", "missing: this is no Kubernetes object"));
    };
    let Some(api_version) = api_version else {
        return Err(failure(
            None,
            "apiVersion",
            format!("missing: which {kind_name} is this?"),
        ));
    };
    let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.name() == kind_name) else {
        return Ok(None);
    };
    let object = text(&value, "/metadata/name")
        .filter(|name| !name.is_empty())
        .map(|name| {
            let namespace = match text(&value, "/metadata/namespace") {
                _ if !kind.namespaced() => "",
                None | Some("") => "default",
                Some(namespace) => namespace,
            };
            ObjectRef::new(kind, namespace, name)
        });
    // Said before the value is taken apart, so that a mistake deep inside still knows whose it is.
    let whose = object.clone();
    let version = match (kind, api_version) {
        (Kind::Ingress, "networking.k8s.io/v1")
        | (Kind::IngressClass, "networking.k8s.io/v1")
        | (Kind::EndpointSlice, "discovery.k8s.io/v1")
        | (Kind::Service | Kind::Endpoints | Kind::Secret | Kind::Namespace, "v1") => Version::Current,
        (Kind::Ingress, "networking.k8s.io/v1beta1" | "extensions/v1beta1")
        | (Kind::IngressClass, "networking.k8s.io/v1beta1")
        | (Kind::EndpointSlice, "discovery.k8s.io/v1beta1") => Version::Beta,
        _ => return other_version(kind, api_version, object),
    };
    let Some(object) = object else {
        return Err(failure(
            None,
            "metadata.name",
            format!("missing: every {kind} needs a name"),
        ));
    };
    decode(kind, version, value)
        .map(|decoded| Some(with_name(decoded, &object)))
        .map_err(|(field, message)| DecodeError {
            object: whose,
            field,
            message,
        })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Current,
    Beta,
}

/// The field and what is wrong with it.
type Mistake = (String, String);

fn decode(kind: Kind, version: Version, mut value: Value) -> Result<Object, Mistake> {
    match (kind, version) {
        (Kind::Ingress, Version::Current) => Ok(Object::Ingress(Arc::new(ingress(typed(value)?)))),
        (Kind::Ingress, Version::Beta) => Ok(Object::Ingress(Arc::new(typed::<legacy::Ingress>(value)?.into()))),
        (Kind::IngressClass, _) => {
            // The two versions have the same fields.
            set(&mut value, "apiVersion", "networking.k8s.io/v1");
            Ok(Object::IngressClass(Arc::new(ingress_class(typed(value)?))))
        }
        (Kind::Service, _) => Ok(Object::Service(Arc::new(service(typed(value)?)))),
        (Kind::EndpointSlice, _) => {
            if version == Version::Beta {
                legacy::modernise_slice(&mut value);
                set(&mut value, "apiVersion", "discovery.k8s.io/v1");
            }
            Ok(Object::Endpoints(Arc::new(endpoint_slice(typed(value)?))))
        }
        (Kind::Endpoints, _) => Ok(Object::Endpoints(Arc::new(endpoints(typed(value)?)))),
        (Kind::Secret, _) => Ok(Object::Secret(Arc::new(secret::secret(value)?))),
        (Kind::Namespace, _) => Ok(Object::Namespace(Arc::new(namespace(typed(value)?)))),
    }
}

/// A kind of our name in a version that is not ours: another group's kind (OpenShift and Knative have an Ingress
/// too) is left alone, a slip of the pen is said.
fn other_version(kind: Kind, api_version: &str, object: Option<ObjectRef>) -> Result<Option<Object>, DecodeError> {
    let right = match kind {
        Kind::Ingress | Kind::IngressClass => "networking.k8s.io/v1",
        Kind::EndpointSlice => "discovery.k8s.io/v1",
        Kind::Service | Kind::Endpoints | Kind::Secret | Kind::Namespace => "v1",
    };
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    if !matches!(group, "" | "extensions" | "networking.k8s.io" | "discovery.k8s.io") {
        return Ok(None);
    }
    Err(failure(
        object,
        "apiVersion",
        format!("there is no {kind} in \"{api_version}\"; the current one is \"{right}\""),
    ))
}

fn failure(object: Option<ObjectRef>, field: &str, message: impl Into<String>) -> DecodeError {
    DecodeError {
        object,
        field: field.to_owned(),
        message: message.into(),
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

fn set(value: &mut Value, field: &str, text: &str) {
    if let Some(fields) = value.as_object_mut() {
        fields.insert(field.to_owned(), Value::from(text));
    }
}

fn typed<T: DeserializeOwned>(value: Value) -> Result<T, Mistake> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { String::new() } else { path };
        (field, error.into_inner().to_string())
    })
}

/// Puts the namespace in that the object left to be guessed.
fn with_name(mut object: Object, name: &ObjectRef) -> Object {
    if object.meta().namespace == name.namespace {
        return object;
    }
    let meta = match &mut object {
        Object::Ingress(object) => &mut Arc::make_mut(object).meta,
        Object::IngressClass(object) => &mut Arc::make_mut(object).meta,
        Object::Service(object) => &mut Arc::make_mut(object).meta,
        Object::Endpoints(object) => &mut Arc::make_mut(object).meta,
        Object::Secret(object) => &mut Arc::make_mut(object).meta,
        Object::Namespace(object) => &mut Arc::make_mut(object).meta,
    };
    meta.namespace = name.namespace.clone();
    object
}

fn meta(meta: ObjectMeta) -> Meta {
    Meta {
        namespace: meta.namespace.unwrap_or_default().into(),
        name: meta.name.unwrap_or_default().into(),
        created: meta
            .creation_timestamp
            .map_or(Timestamp::UNKNOWN, |Time(at)| Timestamp(at.as_second())),
        deleting: meta.deletion_timestamp.is_some(),
        annotations: meta
            .annotations
            .unwrap_or_default()
            .into_iter()
            .filter(|(key, _)| keep_annotation(key))
            .collect(),
    }
}

fn revision(meta: &mut ObjectMeta) -> Revision {
    Revision {
        uid: meta.uid.take().unwrap_or_default().into(),
        generation: meta.generation.unwrap_or_default(),
    }
}

fn name(name: Option<String>) -> Arc<str> {
    name.unwrap_or_default().into()
}

/// networking.k8s.io/v1 Ingress.
pub fn ingress(mut object: networking::Ingress) -> Ingress {
    let spec = object.spec.unwrap_or_default();
    Ingress {
        revision: revision(&mut object.metadata),
        meta: meta(object.metadata),
        class: spec.ingress_class_name,
        default_backend: spec.default_backend.map(ingress_backend),
        rules: spec.rules.unwrap_or_default().into_iter().map(ingress_rule).collect(),
        tls: spec.tls.unwrap_or_default().into_iter().map(ingress_tls).collect(),
        legacy: false,
    }
}

fn ingress_rule(rule: networking::IngressRule) -> IngressRule {
    let path = |path: networking::HTTPIngressPath| IngressPath {
        path: path.path,
        // Required by the API, so k8s-openapi has no word for "missing" but the empty one.
        path_type: Some(path.path_type).filter(|path_type| !path_type.is_empty()),
        backend: ingress_backend(path.backend),
    };
    IngressRule {
        host: rule.host,
        paths: rule.http.map(|http| http.paths.into_iter().map(path).collect()),
    }
}

fn ingress_tls(tls: networking::IngressTLS) -> IngressTls {
    IngressTls {
        hosts: tls.hosts.unwrap_or_default(),
        secret: tls.secret_name,
    }
}

fn ingress_backend(backend: networking::IngressBackend) -> IngressBackend {
    if let Some(service) = backend.service {
        let port = service.port.unwrap_or_default();
        let port = match (port.name.filter(|name| !name.is_empty()), port.number) {
            (Some(name), _) => PortRef::Name(name.into()),
            (None, Some(number)) => PortRef::Number(number),
            (None, None) => PortRef::Missing,
        };
        IngressBackend::Service {
            name: service.name.into(),
            port,
        }
    } else if let Some(resource) = backend.resource {
        resource_backend(resource)
    } else {
        IngressBackend::Missing
    }
}

fn resource_backend(resource: core::TypedLocalObjectReference) -> IngressBackend {
    let kind = match resource.api_group {
        Some(group) if !group.is_empty() => format!("{group}/{}", resource.kind),
        _ => resource.kind,
    };
    IngressBackend::Resource {
        kind,
        name: resource.name,
    }
}

/// core/v1 Namespace.
pub fn namespace(object: core::Namespace) -> Namespace {
    Namespace {
        meta: meta(object.metadata),
    }
}

/// networking.k8s.io/v1 IngressClass.
pub fn ingress_class(object: networking::IngressClass) -> IngressClass {
    IngressClass {
        meta: meta(object.metadata),
        controller: object.spec.and_then(|spec| spec.controller).unwrap_or_default(),
    }
}

/// core/v1 Service.
pub fn service(object: core::Service) -> Service {
    let spec = object.spec.unwrap_or_default();
    let port = |port: core::ServicePort| ServicePort {
        name: name(port.name),
        port: port.port,
        // A named target port differs from pod to pod, and a number out of range from nothing at all: endpoints say
        // what is meant either way.
        target: match port.target_port {
            Some(IntOrString::Int(number)) => u16::try_from(number).ok(),
            Some(IntOrString::String(number)) => number.parse().ok(),
            None => None,
        }
        .filter(|number| *number != 0),
        protocol: port.protocol,
        app_protocol: port.app_protocol,
    };
    let external = spec.type_.as_deref() == Some("ExternalName");
    Service {
        meta: meta(object.metadata),
        external_name: spec.external_name.filter(|_| external),
        ports: spec.ports.unwrap_or_default().into_iter().map(port).collect(),
        ipv6_first: spec
            .ip_families
            .is_some_and(|families| families.first().is_some_and(|family| family == "IPv6")),
    }
}

/// discovery.k8s.io/v1 EndpointSlice.
pub fn endpoint_slice(object: discovery::EndpointSlice) -> Endpoints {
    let service = object
        .metadata
        .labels
        .as_ref()
        .and_then(|labels| labels.get(SERVICE_NAME));
    let service = service.filter(|name| !name.is_empty()).map(|name| name.as_str().into());
    let port = |port: discovery::EndpointPort| EndpointPort {
        name: name(port.name),
        port: port.port,
        protocol: port.protocol,
    };
    let endpoint = |endpoint: discovery::Endpoint| {
        let conditions = endpoint.conditions.unwrap_or_default();
        let (pod, uid) = target(endpoint.target_ref);
        EndpointAddress {
            addresses: endpoint.addresses,
            ready: conditions.ready,
            serving: conditions.serving,
            terminating: conditions.terminating,
            pod,
            uid,
            zone: endpoint.zone.map(Arc::from),
            hints: endpoint.hints.map(hints).map(Arc::new),
        }
    };
    Endpoints {
        meta: meta(object.metadata),
        kind: Kind::EndpointSlice,
        service,
        subsets: vec![EndpointSubset {
            ports: object.ports.unwrap_or_default().into_iter().map(port).collect(),
            endpoints: object.endpoints.unwrap_or_default().into_iter().map(endpoint).collect(),
        }],
        unsupported_type: Some(object.address_type).filter(|family| family != "IPv4" && family != "IPv6"),
    }
}

fn hints(hints: discovery::EndpointHints) -> Hints {
    let nodes = hints.for_nodes.unwrap_or_default();
    let zones = hints.for_zones.unwrap_or_default();
    Hints {
        nodes: nodes.into_iter().map(|node| node.name.into()).collect(),
        zones: zones.into_iter().map(|zone| zone.name.into()).collect(),
    }
}

/// core/v1 Endpoints, taken apart as a slice would be: a not-ready address is one that does not serve either.
pub fn endpoints(object: core::Endpoints) -> Endpoints {
    let port = |port: core::EndpointPort| EndpointPort {
        name: name(port.name),
        port: Some(port.port),
        protocol: port.protocol,
    };
    let endpoint = |ready: bool| {
        move |address: core::EndpointAddress| {
            let (pod, uid) = target(address.target_ref);
            EndpointAddress {
                addresses: vec![address.ip],
                ready: Some(ready),
                serving: Some(ready),
                terminating: None,
                pod,
                uid,
                zone: None,
                hints: None,
            }
        }
    };
    let subset = |subset: core::EndpointSubset| EndpointSubset {
        ports: subset.ports.unwrap_or_default().into_iter().map(port).collect(),
        endpoints: subset
            .addresses
            .unwrap_or_default()
            .into_iter()
            .map(endpoint(true))
            .chain(
                subset
                    .not_ready_addresses
                    .unwrap_or_default()
                    .into_iter()
                    .map(endpoint(false)),
            )
            .collect(),
    };
    let meta = meta(object.metadata);
    Endpoints {
        service: Some(meta.name.clone()),
        meta,
        kind: Kind::Endpoints,
        subsets: object.subsets.unwrap_or_default().into_iter().map(subset).collect(),
        unsupported_type: None,
    }
}

fn target(reference: Option<core::ObjectReference>) -> (Option<Arc<str>>, Option<Arc<str>>) {
    let reference = reference.unwrap_or_default();
    (reference.name.map(Arc::from), reference.uid.map(Arc::from))
}

#[cfg(test)]
mod tests;
