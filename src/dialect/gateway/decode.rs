//! Decodes the kinds of Gateway API. No Kubernetes crate knows v1.7 of it. The two versions of each kind have the same fields.

use super::grpc_route::GrpcRule;
use super::object::{
    AddressAsked, Gateway, GatewayAsk, GatewayClass, GatewayListener, GatewayObject, GrantFrom, GrantTo, ParentRef,
    ReferenceGrant,
};
use super::stream_route::StreamRule;
use super::{GatewayRoute, HttpMatch, HttpRule};
use crate::dialect::decode::{Encoded, Mistake, meta, read, revision};
use crate::model::Kind;
use crate::model::shared::shared;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;

/// What every object has around its spec.
#[derive(Deserialize)]
struct Whole<S, T = IgnoredAny> {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(default)]
    metadata: ObjectMeta,
    spec: S,
    /// Written by controllers. The compiler wants only to know which addresses a Gateway had.
    #[serde(default = "Option::default")]
    status: Option<T>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClassSpec {
    controller_name: String,
    #[serde(default)]
    parameters_ref: Option<IgnoredAny>,
    #[serde(default, rename = "description")]
    _description: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GatewaySpec {
    gateway_class_name: String,
    #[serde(default)]
    listeners: Option<Vec<GatewayListener>>,
    #[serde(default)]
    addresses: Option<Vec<AddressAsked>>,
    #[serde(default)]
    infrastructure: Option<Infrastructure>,
    #[serde(default)]
    allowed_listeners: Option<IgnoredAny>,
    #[serde(default)]
    tls: Option<GatewayTls>,
    #[serde(default)]
    default_scope: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Infrastructure {
    labels: Option<IgnoredAny>,
    annotations: Option<IgnoredAny>,
    parameters_ref: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct GatewayTls {
    frontend: Option<IgnoredAny>,
    backend: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RouteSpec<R> {
    #[serde(default)]
    parent_refs: Option<Vec<ParentRef>>,
    #[serde(default)]
    hostnames: Option<Vec<String>>,
    #[serde(default = "Option::default")]
    rules: Option<Vec<R>>,
    #[serde(default)]
    use_default_gateways: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct GrantSpec {
    from: Vec<GrantFrom>,
    to: Vec<GrantTo>,
}

pub(in crate::dialect) fn gateway_class(encoded: Encoded<'_>) -> Result<GatewayObject, Mistake> {
    let mut whole: Whole<ClassSpec> = read(encoded.value, encoded.unknown)?;
    Ok(GatewayObject::Class(GatewayClass {
        revision: revision(&mut whole.metadata),
        meta: meta(whole.metadata),
        controller: whole.spec.controller_name.into(),
        has_parameters: whole.spec.parameters_ref.is_some(),
    }))
}

pub(in crate::dialect) fn gateway(encoded: Encoded<'_>) -> Result<GatewayObject, Mistake> {
    let mut whole: Whole<GatewaySpec, Value> = read(encoded.value, encoded.unknown)?;
    let spec = whole.spec;
    let (infrastructure, tls) = (spec.infrastructure.unwrap_or_default(), spec.tls.unwrap_or_default());
    let asks_for = [
        (GatewayAsk::Parameters, infrastructure.parameters_ref.is_some()),
        (
            GatewayAsk::Infrastructure,
            infrastructure.labels.is_some() || infrastructure.annotations.is_some(),
        ),
        (GatewayAsk::Listeners, spec.allowed_listeners.is_some()),
        (GatewayAsk::ClientCertificates, tls.frontend.is_some()),
        (GatewayAsk::OwnCertificate, tls.backend.is_some()),
        (GatewayAsk::Scope, spec.default_scope.is_some()),
    ];
    let had = whole.status.as_ref().and_then(|status| status["addresses"].as_array());
    let had = had
        .into_iter()
        .flatten()
        .filter_map(|one| one["value"].as_str()?.parse().ok());
    let asks_for = asks_for.into_iter().filter(|(_, is_there)| *is_there);
    Ok(GatewayObject::Gateway(Gateway {
        revision: revision(&mut whole.metadata),
        meta: meta(whole.metadata),
        class: shared(&spec.gateway_class_name),
        listeners: spec.listeners.unwrap_or_default().into(),
        addresses: spec.addresses.unwrap_or_default().into(),
        had: had.collect(),
        asks_for: asks_for.map(|(ask, _)| ask).collect(),
    }))
}

pub(in crate::dialect) fn http_route(encoded: Encoded<'_>) -> Result<GatewayObject, Mistake> {
    route::<HttpRule>(encoded, Kind::HTTPRoute)
}

pub(in crate::dialect) fn grpc_route(encoded: Encoded<'_>) -> Result<GatewayObject, Mistake> {
    route::<GrpcRule>(encoded, Kind::GRPCRoute)
}

pub(in crate::dialect) fn tls_route(encoded: Encoded<'_>) -> Result<GatewayObject, Mistake> {
    route::<StreamRule>(encoded, Kind::TLSRoute)
}

pub(in crate::dialect) fn tcp_route(encoded: Encoded<'_>) -> Result<GatewayObject, Mistake> {
    let object = route::<StreamRule>(encoded, Kind::TCPRoute)?;
    match &object {
        GatewayObject::Route(route) if !route.hostnames.is_empty() => {
            let why = "connections of TCP name no host, so a TCPRoute has no hostnames";
            Err(("spec.hostnames".to_owned(), why.to_owned()))
        }
        _ => Ok(object),
    }
}

fn route<R>(encoded: Encoded<'_>, kind: Kind) -> Result<GatewayObject, Mistake>
where
    R: DeserializeOwned + Into<HttpRule>,
{
    let mut whole: Whole<RouteSpec<R>> = read(encoded.value, encoded.unknown)?;
    let spec = whole.spec;
    // Without rules the API has one for all requests, which leads nowhere.
    let one = || {
        vec![HttpRule {
            matches: Some(vec![HttpMatch::default()]),
            ..HttpRule::default()
        }]
    };
    Ok(GatewayObject::Route(GatewayRoute {
        revision: revision(&mut whole.metadata),
        meta: meta(whole.metadata),
        parents: spec.parent_refs.unwrap_or_default().into(),
        hostnames: spec.hostnames.into_iter().flatten().map(Into::into).collect(),
        rules: spec
            .rules
            .map_or_else(one, |rules| rules.into_iter().map(Into::into).collect())
            .into(),
        uses_default_gateways: spec.use_default_gateways.is_some(),
        kind,
    }))
}

pub(in crate::dialect) fn reference_grant(encoded: Encoded<'_>) -> Result<GatewayObject, Mistake> {
    let whole: Whole<GrantSpec> = read(encoded.value, encoded.unknown)?;
    Ok(GatewayObject::Grant(ReferenceGrant {
        meta: meta(whole.metadata),
        from: whole.spec.from.into(),
        to: whole.spec.to.into(),
    }))
}
