//! The decoder of each kind that is of no dialect: what the rows of [`crate::model::kind`] name.

use super::fields::Unknown;
use super::{Mistake, Version, endpoints, read, secret as secrets, set};
use crate::dialect::Object;
use crate::dialect::gateway;
use serde_json::Value;
use std::sync::Arc;

/// An object of which kind and version are known. Its fields are compared with those of its kind where `unknown` is there
/// to hold those that are not among them.
pub(in crate::dialect) struct Encoded<'u> {
    pub version: Version,
    pub value: Value,
    pub unknown: Option<&'u mut Vec<Unknown>>,
}

/// The two versions have the same fields.
pub(super) fn ingress_class(mut encoded: Encoded<'_>) -> Result<Object, Mistake> {
    set(&mut encoded.value, "apiVersion", "networking.k8s.io/v1");
    let class = super::ingress_class(read(encoded.value, encoded.unknown)?);
    Ok(Object::IngressClass(Arc::new(class)))
}

pub(super) fn service(encoded: Encoded<'_>) -> Result<Object, Mistake> {
    let service = super::service(read(encoded.value, encoded.unknown)?);
    Ok(Object::Service(Arc::new(service)))
}

pub(super) fn endpoint_slice(mut encoded: Encoded<'_>) -> Result<Object, Mistake> {
    if encoded.version == Version::Beta {
        endpoints::modernise_slice(&mut encoded.value);
        set(&mut encoded.value, "apiVersion", "discovery.k8s.io/v1");
    }
    let slice = endpoints::endpoint_slice(read(encoded.value, encoded.unknown)?);
    Ok(Object::Endpoints(Arc::new(slice)))
}

pub(super) fn endpoints(encoded: Encoded<'_>) -> Result<Object, Mistake> {
    let endpoints = endpoints::endpoints(read(encoded.value, encoded.unknown)?);
    Ok(Object::Endpoints(Arc::new(endpoints)))
}

pub(super) fn secret(encoded: Encoded<'_>) -> Result<Object, Mistake> {
    let secret = secrets::secret(encoded.value, encoded.unknown)?;
    Ok(Object::Secret(Arc::new(secret)))
}

pub(super) fn config_map(encoded: Encoded<'_>) -> Result<Object, Mistake> {
    let map = super::config_map(encoded.value, encoded.unknown)?;
    Ok(Object::ConfigMap(Arc::new(map)))
}

pub(super) fn namespace(encoded: Encoded<'_>) -> Result<Object, Mistake> {
    let namespace = super::namespace(read(encoded.value, encoded.unknown)?);
    Ok(Object::Namespace(Arc::new(namespace)))
}

pub(super) fn gateway_class(encoded: Encoded<'_>) -> Result<Object, Mistake> {
    Ok(Object::Gateways(Arc::new(gateway::gateway_class(encoded)?)))
}

pub(super) fn gateway(encoded: Encoded<'_>) -> Result<Object, Mistake> {
    Ok(Object::Gateways(Arc::new(gateway::gateway(encoded)?)))
}

pub(super) fn grpc_route(encoded: Encoded<'_>) -> Result<Object, Mistake> {
    Ok(Object::Gateways(Arc::new(gateway::grpc_route(encoded)?)))
}

pub(super) fn tls_route(encoded: Encoded<'_>) -> Result<Object, Mistake> {
    Ok(Object::Gateways(Arc::new(gateway::tls_route(encoded)?)))
}

pub(super) fn tcp_route(encoded: Encoded<'_>) -> Result<Object, Mistake> {
    Ok(Object::Gateways(Arc::new(gateway::tcp_route(encoded)?)))
}

pub(super) fn http_route(encoded: Encoded<'_>) -> Result<Object, Mistake> {
    Ok(Object::Gateways(Arc::new(gateway::http_route(encoded)?)))
}

pub(super) fn reference_grant(encoded: Encoded<'_>) -> Result<Object, Mistake> {
    Ok(Object::Gateways(Arc::new(gateway::reference_grant(encoded)?)))
}
