//! Worlds of many routes, for the benches: each uses a part of it. Texts are shared as the decoder shares them.

#![allow(dead_code)]

use narthex::testing::compile::{Options, State};
use narthex::testing::dialect::Object;
use narthex::testing::dialect::ingress::{Ingress, IngressBackend, IngressPath, IngressRule};
use narthex::testing::model::object::{
    EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Meta, PortRef, Service, ServicePort,
};
use narthex::testing::model::{Kind, Timestamp, shared};
use std::sync::Arc;

/// How the routes lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Every route on a host of its own, an Ingress each.
    Hosts,
    /// Every route on one and the same host, an Ingress each.
    OneHost,
    /// Every route on one host, all in one Ingress.
    OneIngress,
}

/// Routes a Service has.
const PER_SERVICE: usize = 20;

fn meta(name: String) -> Meta {
    Meta {
        namespace: shared("default"),
        name: name.into(),
        created: Timestamp(1_700_000_000),
        ..Meta::default()
    }
}

fn rule(shape: Shape, index: usize) -> IngressRule {
    let (host, path) = match shape {
        Shape::Hosts => (format!("host-{index}.example.com"), "/".to_owned()),
        _ => (
            "www.example.com".to_owned(),
            format!("/team-{}/app-{index}", index % 97),
        ),
    };
    IngressRule {
        host: Some(shared(&host)),
        paths: Some([path_to(&path, index / PER_SERVICE)].into()),
        ..IngressRule::default()
    }
}

fn path_to(path: &str, service: usize) -> IngressPath {
    IngressPath {
        path: Some(shared(path)),
        path_type: Some(shared("Prefix")),
        backend: IngressBackend::Service {
            name: shared(&format!("service-{service}")),
            port: PortRef::Number(80),
        },
        ..IngressPath::default()
    }
}

/// The Ingress with route `index`; another `version` leads to another Service.
pub fn ingress(shape: Shape, index: usize, version: usize) -> Object {
    let mut rule = rule(shape, index);
    if let Some(path) = rule.paths.as_mut().and_then(|paths| paths.first_mut()) {
        let text = path.path.clone().unwrap_or_default();
        *path = path_to(&text, index / PER_SERVICE + version);
    }
    Object::Ingress(Arc::new(Ingress {
        meta: meta(format!("ingress-{index}")),
        rules: [rule].into(),
        ..Ingress::default()
    }))
}

/// The slice of a Service; each `version` has another pod.
pub fn slice(service: usize, version: usize) -> Object {
    let endpoint = |n: usize| EndpointAddress {
        addresses: vec![format!("10.{}.{}.{}", service >> 8 & 255, service & 255, n & 255)],
        ready: Some(true),
        serving: Some(true),
        terminating: Some(false),
        pod: Some(format!("pod-{service}-{n}").into()),
        uid: Some(format!("uid-{service}-{n}").into()),
        node: None,
        zone: None,
        hints: None,
    };
    Object::Endpoints(Arc::new(Endpoints {
        meta: meta(format!("service-{service}-abcde")),
        kind: Kind::EndpointSlice,
        service: Some(format!("service-{service}").into()),
        subsets: vec![EndpointSubset {
            ports: vec![EndpointPort {
                name: "".into(),
                port: Some(8080),
                protocol: Some("TCP".to_owned()),
            }],
            endpoints: vec![endpoint(version), endpoint(version + 1), endpoint(version + 2)],
        }],
        unsupported_type: None,
    }))
}

/// All objects of a world of `routes` routes.
pub fn objects(shape: Shape, routes: usize) -> Vec<Object> {
    let mut objects = Vec::new();
    for service in 0..=routes / PER_SERVICE {
        objects.push(Object::Service(Arc::new(Service {
            meta: meta(format!("service-{service}")),
            ports: vec![ServicePort {
                port: 80,
                target: Some(8080),
                ..ServicePort::default()
            }],
            ..Service::default()
        })));
        objects.push(slice(service, 0));
    }
    if shape == Shape::OneIngress {
        let paths = (0..routes).map(|index| path_to(&format!("/team-{}/app-{index}", index % 97), index / PER_SERVICE));
        let mut rule = rule(shape, 0);
        rule.paths = Some(paths.collect());
        objects.push(Object::Ingress(Arc::new(Ingress {
            meta: meta("all".to_owned()),
            rules: [rule].into(),
            ..Ingress::default()
        })));
    } else {
        objects.extend((0..routes).map(|index| ingress(shape, index, 0)));
    }
    objects
}

/// A compiled world.
pub fn state(shape: Shape, routes: usize) -> State {
    State::compile(Options::default(), objects(shape, routes))
}
