//! Decodes an Ingress of any version.

use super::legacy;
use super::object::{Ingress, IngressBackend, IngressPath, IngressRule, IngressTls, Resource};
use crate::dialect::decode::{Encoded, Mistake, Version, meta, read, revision};
use crate::model::object::PortRef;
use crate::model::shared::shared;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::networking::v1 as networking;

pub(in crate::dialect) fn decode(encoded: Encoded<'_>) -> Result<Ingress, Mistake> {
    Ok(match encoded.version {
        Version::Current => ingress(read(encoded.value, encoded.unknown)?),
        Version::Beta => {
            let old: legacy::Ingress = read(encoded.value, encoded.unknown)?;
            old.into()
        }
    })
}

/// networking.k8s.io/v1 Ingress.
fn ingress(mut object: networking::Ingress) -> Ingress {
    let spec = object.spec.unwrap_or_default();
    Ingress {
        revision: revision(&mut object.metadata),
        meta: meta(object.metadata),
        class: spec.ingress_class_name.map(Into::into),
        default_backend: spec.default_backend.map(ingress_backend).map(Box::new),
        rules: spec.rules.unwrap_or_default().into_iter().map(ingress_rule).collect(),
        tls: spec.tls.unwrap_or_default().into_iter().map(ingress_tls).collect(),
        legacy: false,
    }
}

fn ingress_rule(rule: networking::IngressRule) -> IngressRule {
    let path = |path: networking::HTTPIngressPath| IngressPath {
        path: path.path.as_deref().map(shared),
        // Required by the API, so k8s-openapi has no word for "missing" but the empty one.
        path_type: Some(&*path.path_type)
            .filter(|path_type| !path_type.is_empty())
            .map(shared),
        backend: ingress_backend(path.backend),
        unclear: false,
    };
    IngressRule {
        host: rule.host.as_deref().map(shared),
        paths: rule.http.map(|http| http.paths.into_iter().map(path).collect()),
        unclear: false,
    }
}

pub(super) fn ingress_tls(tls: networking::IngressTLS) -> IngressTls {
    IngressTls {
        hosts: tls.hosts.iter().flatten().map(|host| shared(host)).collect(),
        secret: tls.secret_name.as_deref().map(shared),
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
            name: shared(&service.name),
            port,
        }
    } else if let Some(resource) = backend.resource {
        resource_backend(resource)
    } else {
        IngressBackend::Missing
    }
}

pub(super) fn resource_backend(resource: core::TypedLocalObjectReference) -> IngressBackend {
    let kind = match resource.api_group {
        Some(group) if !group.is_empty() => format!("{group}/{}", resource.kind),
        _ => resource.kind,
    };
    IngressBackend::Resource(Box::new(Resource {
        kind,
        name: resource.name,
    }))
}
