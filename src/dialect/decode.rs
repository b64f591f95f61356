//! From the API's types to the slim ones of [`crate::model::object`] and of the dialects.
//!
//! Both sources decode here, so an object means the same whether an API server or a file said it. What is not kept
//! (managedFields, status, most of a Secret's data) is dropped here and never stays in memory. Nothing is validated: the compiler
//! does that, and names the object and field.

mod config_map;
mod decoders;
mod endpoints;
mod fields;
mod kinds;
mod secret;
mod unclear;
mod undecoded;

use super::object::Object;
use crate::model::annotation;
use crate::model::diagnostic::shortened;
use crate::model::kind::with_kinds;
use crate::model::object::{IngressClass, Meta, Namespace, Service, ServicePort};
use crate::model::shared::shared;
use crate::model::{Annotations, Code, Diagnostic, Kind, ObjectRef, Revision, Timestamp};
use config_map::config_map;
pub(super) use decoders::Encoded;
pub(super) use fields::Unknown;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::networking::v1 as networking;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use serde_json::Value;
use std::fmt;
use std::sync::Arc;
pub(super) use unclear::Effect;

/// An object whose fields do not fit its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct DecodeError {
    /// Which object, where that much could be read.
    pub object: Option<ObjectRef>,
    /// The field that does not fit: `spec.rules[0].http.paths[0].backend.service.port.number`.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
    /// The object with nothing but its guards, if it has some.
    pub guarded: Option<Box<Object>>,
}

impl DecodeError {
    fn guarded_by(self, guarded: Option<Object>) -> Self {
        Self {
            guarded: guarded.map(Box::new),
            ..self
        }
    }
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

/// What a manifest holds.
#[derive(Debug, Default)]
pub struct Manifest {
    /// The object, where it is of a kind narthex reads.
    pub object: Option<Object>,
    /// Fields it should not have.
    pub said: Vec<Diagnostic>,
}

/// Decodes an object of any kind and version narthex reads, by its `apiVersion` and `kind`, as an API server sends it:
/// one that has been checked. Fields that are not known belong to a newer Kubernetes.
///
/// `Ok(None)` is an object of another kind (or no document at all), which is none of our business. An object of a
/// namespaced kind that names no namespace is in `default`, as `kubectl apply` has it.
///
/// # Errors
/// When a field does not fit, when there is no name, or when a kind of ours is given in a version that never was.
pub fn from_value(value: Value) -> Result<Option<Object>, DecodeError> {
    let Some(Known { kind, version, object }) = identify(&value)? else {
        return Ok(None);
    };
    let guarded = undecoded::guards(kind, &object, &value);
    let encoded = Encoded {
        version,
        value,
        unknown: None,
    };
    match decode(kind, encoded) {
        Ok(decoded) => Ok(Some(with_name(decoded, &object))),
        Err(mistake) => Err(of_object(object, mistake).guarded_by(guarded)),
    }
}

/// The same of what a person wrote and nobody has checked.
///
/// # Errors
/// As [`from_value`], and when a field that does not exist leaves open what the object means.
pub fn from_manifest(value: Value) -> Result<Manifest, DecodeError> {
    let Some(Known { kind, version, object }) = identify(&value)? else {
        return Ok(Manifest::default());
    };
    if let Some(message) = no_name(&object) {
        return Err(failure(None, "metadata.name", message));
    }
    let guarded = undecoded::guards(kind, &object, &value);
    let mut unknown = Vec::new();
    let encoded = Encoded {
        version,
        value,
        unknown: Some(&mut unknown),
    };
    match decode(kind, encoded) {
        Ok(decoded) => {
            let mut decoded = with_name(decoded, &object);
            let said = match unclear::leave_out(&mut decoded, &object, unknown) {
                Ok(said) => said,
                Err(error) => return Err(error.guarded_by(guarded)),
            };
            Ok(Manifest {
                object: Some(decoded),
                said,
            })
        }
        Err(mistake) => Err(of_object(object, mistake).guarded_by(guarded)),
    }
}

/// Why a kind does not exist, where it seems to be meant for one that narthex reads.
pub fn unknown_kind(api_version: &str, kind: &str) -> Option<String> {
    kinds::unknown(api_version, kind)
}

fn of_object(object: ObjectRef, (field, message): Mistake) -> DecodeError {
    DecodeError {
        object: Some(object),
        field,
        message,
        guarded: None,
    }
}

/// An object of a kind narthex reads.
struct Known {
    kind: Kind,
    version: Version,
    object: ObjectRef,
}

/// Finds out what an object is; none of our business is absent.
fn identify(value: &Value) -> Result<Option<Known>, DecodeError> {
    if value.is_null() {
        return Ok(None);
    }
    let Some(kind_name) = text(value, "/kind") else {
        return Err(failure(None, "kind", "missing: this is not a Kubernetes object"));
    };
    let Some(api_version) = text(value, "/apiVersion") else {
        return Err(failure(
            None,
            "apiVersion",
            format!("missing: which {kind_name} is this?"),
        ));
    };
    let Some(kind) = Kind::named(kind_name) else {
        return Ok(None);
    };
    let name = text(value, "/metadata/name").filter(|name| !name.is_empty());
    let object = name.map(|name| {
        let namespace = match text(value, "/metadata/namespace") {
            _ if !kind.namespaced() => "",
            None | Some("") => "default",
            Some(namespace) => namespace,
        };
        ObjectRef::new(kind, namespace, name)
    });
    let version = match kind.versions().iter().position(|known| *known == api_version) {
        Some(0) => Version::Current,
        Some(_) => Version::Beta,
        // It belongs to another group, unless the group has a slip in it.
        None => {
            return match kinds::wrong_version(kind, api_version) {
                Some(message) => Err(failure(object, "apiVersion", message)),
                None => Ok(None),
            };
        }
    };
    match object {
        Some(object) => Ok(Some(Known { kind, version, object })),
        None => {
            let said = value.pointer("/metadata/name").is_some_and(|name| !name.is_string());
            let wrong = if said { "it has to be text" } else { "missing" };
            Err(failure(
                None,
                "metadata.name",
                format!("{wrong}: every {kind} needs a name"),
            ))
        }
    }
}

/// What is wrong with a manifest's name or namespace as such. An API server demands more; this keeps out what could be
/// no part of a path, a label or a line.
fn no_name(object: &ObjectRef) -> Option<String> {
    let fits = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte))
    };
    [("name", &object.name), ("namespace", &object.namespace)]
        .into_iter()
        .find(|(_, text)| !fits(text))
        .map(|(what, text)| format!("\"{text}\" is not a valid {what}: use letters, digits, `-` and `.`"))
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Current,
    Beta,
}

/// The field and what is wrong with it.
pub(super) type Mistake = (String, String);

macro_rules! decode_by_kind {
    ($($kind:ident {
        plural: $plural:literal, short: $short:tt, versions: $versions:tt, scope: $scope:ident,
        watch: $watch:ident, events: $events:literal, metadata_only: $metadata_only:literal,
        $(decoder: $decoder:ident,)? $(dialect: $dialect:ident,)?
    })*) => {
        /// Decodes what an object is known to be.
        fn decode(kind: Kind, encoded: Encoded<'_>) -> Result<Object, Mistake> {
            match kind {
                $(
                    $(Kind::$kind => decoders::$decoder(encoded),)?
                    $(Kind::$kind => Ok(Object::$kind(Arc::new(super::$dialect::decode(encoded)?))),)?
                )*
            }
        }
    };
}
with_kinds!(decode_by_kind);

/// Reads a value as a type, and notes the fields that the type does not have where somebody wants to know them.
pub(super) fn read<T: DeserializeOwned>(value: Value, unknown: Option<&mut Vec<Unknown>>) -> Result<T, Mistake> {
    let Some(unknown) = unknown else {
        return typed(value);
    };
    let (object, found) = fields::checked(&value)?;
    unknown.extend(found);
    Ok(object)
}

fn failure(object: Option<ObjectRef>, field: &str, message: impl Into<String>) -> DecodeError {
    DecodeError {
        object,
        field: field.to_owned(),
        message: message.into(),
        guarded: None,
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

pub(super) fn set(value: &mut Value, field: &str, text: &str) {
    if let Some(fields) = value.as_object_mut() {
        fields.insert(field.to_owned(), Value::from(text));
    }
}

fn typed<'v, T: Deserialize<'v>>(value: impl Deserializer<'v>) -> Result<T, Mistake> {
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
    object.meta_mut().namespace = name.namespace.clone();
    object
}

pub(super) fn meta(meta: ObjectMeta) -> Meta {
    Meta {
        namespace: shared(&meta.namespace.unwrap_or_default()),
        name: meta.name.unwrap_or_default().into(),
        created: meta
            .creation_timestamp
            .map_or(Timestamp::UNKNOWN, |Time(at)| Timestamp(at.as_second())),
        deleting: meta.deletion_timestamp.is_some(),
        annotations: meta
            .annotations
            .unwrap_or_default()
            .into_iter()
            .filter(|(key, _)| annotation::is_kept(key))
            .collect(),
        undecoded: None,
    }
}

pub(super) fn revision(meta: &mut ObjectMeta) -> Revision {
    Revision {
        uid: meta.uid.take().unwrap_or_default().into(),
        generation: meta.generation.unwrap_or_default(),
    }
}

pub(super) fn name(name: Option<String>) -> Arc<str> {
    name.unwrap_or_default().into()
}

/// core/v1 Namespace.
pub fn namespace(mut object: core::Namespace) -> Namespace {
    Namespace {
        labels: labels(&mut object.metadata),
        meta: meta(object.metadata),
    }
}

/// All labels of an object.
pub(super) fn labels(meta: &mut ObjectMeta) -> Annotations {
    meta.labels.take().unwrap_or_default().into_iter().collect()
}

/// networking.k8s.io/v1 IngressClass.
pub fn ingress_class(object: networking::IngressClass) -> IngressClass {
    let spec = object.spec.unwrap_or_default();
    IngressClass {
        meta: meta(object.metadata),
        controller: spec.controller.unwrap_or_default(),
        parameters: spec
            .parameters
            .map(|named| format!("{} \"{}\"", named.kind, named.name)),
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
        cluster_ip: spec.cluster_ip.and_then(|address| address.parse().ok()),
        ipv6_first: spec
            .ip_families
            .is_some_and(|families| families.first().is_some_and(|family| family == "IPv6")),
    }
}

#[cfg(test)]
mod tests;
