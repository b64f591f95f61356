//! Decodes a Route.

use super::api;
use super::object::{HeaderAction, Route, RouteActions, RouteTarget, RouteTls, TargetPort};
use crate::dialect::decode::{Encoded, Mistake, labels, meta, read, revision};
use crate::model::shared::shared;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// What a message about `spec.tls` says in place of serde's words, which may quote a key.
const NOT_TEXT: &str = "does not fit: each of its fields is text, and externalCertificate has a name";

pub(in crate::dialect) fn decode(encoded: Encoded<'_>) -> Result<Route, Mistake> {
    let object: api::Route = read(encoded.value, encoded.unknown).map_err(|(field, message)| {
        let is_tls = field.starts_with("spec.tls");
        (field, if is_tls { NOT_TEXT.to_owned() } else { message })
    })?;
    let api::Route { mut metadata, spec, .. } = object;
    let text = |text: Option<String>| text.unwrap_or_default().into_boxed_str();
    let targets = spec.to.into_iter().chain(spec.alternate_backends.unwrap_or_default());
    Ok(Route {
        revision: revision(&mut metadata),
        labels: labels(&mut metadata),
        meta: meta(metadata),
        host: shared(&spec.host.unwrap_or_default()),
        subdomain: text(spec.subdomain),
        path: shared(&spec.path.unwrap_or_default()),
        targets: targets.map(target).collect(),
        port: spec.port.and_then(|port| target_port(port.target_port)),
        tls: spec.tls.map(|tls| {
            Box::new(RouteTls {
                termination: text(tls.termination),
                certificate: text(tls.certificate),
                key: text(tls.key),
                ca_certificate: text(tls.ca_certificate),
                destination_ca_certificate: text(tls.destination_ca_certificate),
                external_certificate: shared(
                    &tls.external_certificate
                        .and_then(|named| named.name)
                        .unwrap_or_default(),
                ),
                insecure_policy: text(tls.insecure_edge_termination_policy),
            })
        }),
        wildcard_policy: text(spec.wildcard_policy),
        actions: spec.http_headers.and_then(|headers| headers.actions).map(|actions| {
            let all =
                |list: Option<Vec<api::RouteHttpHeader>>| list.unwrap_or_default().into_iter().map(action).collect();
            Box::new(RouteActions {
                request: all(actions.request),
                response: all(actions.response),
            })
        }),
    })
}

fn target(target: api::RouteTargetReference) -> RouteTarget {
    let kind = target.kind.filter(|kind| !kind.is_empty() && kind != "Service");
    RouteTarget {
        kind: kind.map(Into::into),
        name: shared(&target.name.unwrap_or_default()),
        weight: target.weight,
    }
}

/// A number may be written as text; no text and 0 mean every port, as for OpenShift's router.
fn target_port(port: IntOrString) -> Option<TargetPort> {
    match port {
        IntOrString::Int(0) => None,
        IntOrString::Int(number) => Some(TargetPort::Number(number)),
        IntOrString::String(text) if text.is_empty() => None,
        IntOrString::String(text) => Some(match text.parse() {
            Ok(number) => TargetPort::Number(number),
            Err(_) => TargetPort::Name(shared(&text)),
        }),
    }
}

fn action(header: api::RouteHttpHeader) -> HeaderAction {
    let action = header.action.unwrap_or_default();
    HeaderAction {
        name: header.name.unwrap_or_default().into(),
        kind: action.kind.unwrap_or_default().into(),
        value: action.set.and_then(|set| set.value).map(Into::into),
    }
}
