//! Who is behind a Service, well or not: for narthex's own, whose silent pods are to be seen too.

use super::State;
use super::backends::{is_tcp, subsets_in_use};
use crate::model::object::EndpointSubset;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The name that the port of the admin Service has, unless it is the only one.
const PORT: &str = "admin";

impl State {
    /// The addresses of a Service's pods by its slices, ready or not, each with its pod; at most so many.
    pub fn members(&self, service: &(Arc<str>, Arc<str>), most: usize) -> BTreeMap<SocketAddr, Option<Arc<str>>> {
        let mut members = BTreeMap::new();
        let Some(of_service) = self.endpoints.get(service) else {
            return members;
        };
        for (_, subset) in subsets_in_use(of_service) {
            let Some(port) = port(subset) else { continue };
            for endpoint in &subset.endpoints {
                let Some(address) = endpoint.addresses.first().and_then(|text| text.parse::<IpAddr>().ok()) else {
                    continue;
                };
                if members.len() < most {
                    members.insert(SocketAddr::new(address.to_canonical(), port), endpoint.pod.clone());
                }
            }
        }
        members
    }
}

fn port(subset: &EndpointSubset) -> Option<u16> {
    let ports = || subset.ports.iter().filter(|port| is_tcp(port.protocol.as_deref()));
    let port = ports().find(|port| &*port.name == PORT).or_else(|| ports().next())?;
    u16::try_from(port.port?).ok().filter(|port| *port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::Options;
    use crate::dialect::{Change, Object};
    use crate::model::object::{EndpointAddress, EndpointPort, Endpoints, Meta};
    use crate::model::{Kind, ObjectRef};

    fn slice(name: &str, port: (&str, i32), addresses: &[(&str, bool)]) -> Object {
        let ports = [("http", 80), port].map(|(name, port)| EndpointPort {
            name: name.into(),
            port: Some(port),
            protocol: None,
        });
        let endpoints = addresses.iter().map(|(address, ready)| EndpointAddress {
            addresses: vec![(*address).to_owned()],
            ready: Some(*ready),
            pod: Some(format!("pod-{address}").into()),
            ..EndpointAddress::default()
        });
        Object::Endpoints(Arc::new(Endpoints {
            meta: Meta {
                namespace: "narthex-system".into(),
                name: name.into(),
                ..Meta::default()
            },
            kind: Kind::EndpointSlice,
            service: Some("narthex".into()),
            subsets: vec![EndpointSubset {
                ports: ports.into(),
                endpoints: endpoints.collect(),
            }],
            unsupported_type: None,
        }))
    }

    #[test]
    fn pods_that_are_not_ready_are_members_too() {
        let mut state = State::new(Options::default());
        let service = ("narthex-system".into(), "narthex".into());
        assert!(state.members(&service, 9).is_empty());
        state.apply(Change::Apply(slice(
            "a",
            ("admin", 8080),
            &[("10.0.0.1", true), ("10.0.0.2", false)],
        )));
        state.apply(Change::Apply(slice(
            "b",
            ("other", 9),
            &[("fd00::3", true), ("nonsense", true)],
        )));
        let members = state.members(&service, 9);
        let said: Vec<String> = members
            .iter()
            .map(|(address, pod)| format!("{address} {}", pod.as_deref().unwrap_or("?")))
            .collect();
        assert_eq!(
            said,
            [
                "10.0.0.1:8080 pod-10.0.0.1",
                "10.0.0.2:8080 pod-10.0.0.2",
                "[fd00::3]:80 pod-fd00::3"
            ]
        );
        assert_eq!(state.members(&service, 1).len(), 1);
        state.apply(Change::Delete(ObjectRef::new(
            Kind::EndpointSlice,
            "narthex-system",
            "a",
        )));
        assert_eq!(state.members(&service, 9).len(), 1);
    }
}
