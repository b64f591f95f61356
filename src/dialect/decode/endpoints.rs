//! Where a Service's pods are: EndpointSlices, and the older Endpoints taken apart as one.

use super::{meta, name, set};
use crate::model::Kind;
use crate::model::object::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Hints};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use serde_json::Value;
use std::sync::Arc;

/// The label that names the Service an EndpointSlice belongs to.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

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
            node: endpoint.node_name.map(Arc::from),
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
                node: address.node_name.map(Arc::from),
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

/// discovery.k8s.io/v1beta1 (served until 1.25, dropped by k8s-openapi) kept an endpoint's zone among its `topology` labels,
/// which v1 has not; the rest reads as v1.
pub fn modernise_slice(slice: &mut Value) {
    let endpoints = slice.get_mut("endpoints").and_then(Value::as_array_mut);
    for endpoint in endpoints.into_iter().flatten() {
        let topology = endpoint.as_object_mut().and_then(|fields| fields.remove("topology"));
        let zone = topology
            .as_ref()
            .and_then(|topology| topology.get("topology.kubernetes.io/zone"));
        if let Some(zone) = zone.and_then(Value::as_str) {
            set(endpoint, "zone", zone);
        }
    }
}
