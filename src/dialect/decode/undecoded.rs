//! What is known of an object that cannot be decoded. Where it has guards, these close what is known of its hosts: to serve
//! its last good version, or others' rules in its place, would open what is meant to be guarded.

use super::text;
use crate::dialect::Object;
use crate::dialect::ingress::Ingress;
use crate::dialect::openshift::Route;
use crate::model::annotation;
use crate::model::object::{IngressClass, Meta, OLD_CLASS, Service, Undecoded};
use crate::model::{Annotations, Kind, ObjectRef};
use serde_json::Value;
use std::sync::Arc;

/// The object with nothing but its guards, if it has some.
pub fn guards(kind: Kind, object: &ObjectRef, value: &Value) -> Option<Object> {
    if !matches!(kind, Kind::Ingress | Kind::IngressClass | Kind::Route | Kind::Service) {
        return None;
    }
    let annotations = value.pointer("/metadata/annotations").and_then(Value::as_object);
    let annotations = annotations
        .into_iter()
        .flatten()
        .filter(|(name, _)| annotation::is_kept(name))
        .map(|(name, value)| {
            // A number that should be in quotes is a common reason why an object cannot be decoded.
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            (name.clone(), text)
        })
        .collect::<Annotations>();
    let parameters = (kind == Kind::IngressClass).then(|| parameters(value)).flatten();
    if parameters.is_none() && !annotation::may_guard(&annotations) {
        return None;
    }
    let meta = Meta {
        namespace: object.namespace.clone(),
        name: object.name.clone(),
        annotations: (annotations.get(OLD_CLASS).into_iter())
            .map(|class| (OLD_CLASS, class))
            .collect(),
        undecoded: Some(Arc::new(Undecoded {
            hosts: if kind == Kind::Route {
                route_host(value)
            } else {
                hosts(value)
            },
            annotations,
            parameters,
        })),
        ..Meta::default()
    };
    Some(match kind {
        Kind::Ingress => Object::Ingress(Arc::new(Ingress {
            meta,
            class: text(value, "/spec/ingressClassName").map(Into::into),
            ..Ingress::default()
        })),
        Kind::IngressClass => Object::IngressClass(Arc::new(IngressClass {
            meta,
            // Without one it is nobody's, and its Ingresses are not served.
            controller: text(value, "/spec/controller").unwrap_or_default().into(),
            ..IngressClass::default()
        })),
        Kind::Route => {
            let labels = value.pointer("/metadata/labels").and_then(Value::as_object);
            let labels = labels.into_iter().flatten();
            let text = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
            Object::Route(Arc::new(Route {
                meta,
                // Whose Route it is goes by these.
                labels: labels.filter_map(text).collect(),
                ..Route::default()
            }))
        }
        _ => Object::Service(Arc::new(Service {
            meta,
            ..Service::default()
        })),
    })
}

/// What an IngressClass names as its parameters; whatever stands there may be meant to guard.
fn parameters(value: &Value) -> Option<String> {
    let named = value.pointer("/spec/parameters").filter(|named| !named.is_null())?;
    Some(match (text(named, "/kind"), text(named, "/name")) {
        (Some(kind), Some(name)) => format!("{kind} \"{name}\""),
        _ => "what they name".to_owned(),
    })
}

/// The host of a Route, if it can be read. One that is made of its name is not known here.
fn route_host(value: &Value) -> Vec<Option<String>> {
    let Some(host) = text(value, "/spec/host") else {
        return Vec::new();
    };
    let is_wildcard = text(value, "/spec/wildcardPolicy") == Some("Subdomain");
    let domain = host.split_once('.').filter(|_| is_wildcard);
    vec![Some(
        domain.map_or_else(|| host.to_owned(), |(_, domain)| format!("*.{domain}")),
    )]
}

/// The hosts of an Ingress's rules, as far as they can be read; absent is any host.
fn hosts(value: &Value) -> Vec<Option<String>> {
    let spec = |field| value.pointer("/spec").and_then(|spec| spec.get(field));
    let Some(rules) = spec("rules") else {
        let default = spec("defaultBackend").or_else(|| spec("backend"));
        return default.map(|_| None).into_iter().collect();
    };
    let rules = rules.as_array().into_iter().flatten();
    rules
        .filter_map(|rule| match rule.get("host") {
            None | Some(Value::Null) => Some(None),
            Some(Value::String(host)) => Some(Some(host.clone())),
            Some(_) => None,
        })
        .collect()
}
