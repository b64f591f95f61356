//! Pods whose readiness nobody knows. While a node's kubelet does not reach the API server, as after an outage of that, Kubernetes
//! marks every pod of the node as unready, although nothing is wrong with the pods. Where a Service has no other endpoints, those
//! that were ready last stay in use until the node is heard of again.

use super::backends::{is_tcp, subsets_in_use};
use super::{Key, OfService, State};
use crate::model::ObjectRef;
use crate::model::object::{EndpointAddress, Endpoints};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// What is known of nodes whose pods are unready.
#[derive(Clone, Debug, Default)]
pub(super) struct LostNodes {
    /// By slice: the addresses that were ready before they became unready, and are not terminating.
    lapsed: HashMap<ObjectRef, HashSet<String>>,
    /// Services without a ready endpoint, with the nodes of their lapsed endpoints and how many there are on each.
    doubted: HashMap<Key, BTreeMap<Arc<str>, usize>>,
    /// Whether Kubernetes has lost sight of a node, as far as somebody has asked.
    lost: HashMap<Arc<str>, bool>,
    changed: bool,
}

impl LostNodes {
    /// Compares a slice with what it was before.
    pub fn note(&mut self, object: &ObjectRef, old: Option<&Endpoints>, new: &Endpoints) {
        let addresses = |endpoints: &Endpoints, wanted: fn(&EndpointAddress) -> bool| -> HashSet<String> {
            let all = endpoints.subsets.iter().flat_map(|subset| &subset.endpoints);
            let some = all.filter(|endpoint| wanted(endpoint));
            some.filter_map(|endpoint| endpoint.addresses.first().cloned())
                .collect()
        };
        let unready = |endpoint: &EndpointAddress| {
            endpoint.ready == Some(false) && endpoint.terminating != Some(true) && endpoint.node.is_some()
        };
        let mut lapsed = addresses(new, unready);
        if !lapsed.is_empty() {
            let ready = old.map(|old| addresses(old, |endpoint| endpoint.ready.unwrap_or(true)));
            let before = self.lapsed.get(object);
            lapsed.retain(|address| {
                ready.as_ref().is_some_and(|ready| ready.contains(address))
                    || before.is_some_and(|before| before.contains(address))
            });
        }
        if lapsed.is_empty() {
            self.lapsed.remove(object);
        } else {
            self.lapsed.insert(object.clone(), lapsed);
        }
    }

    /// A Service is in use from now on.
    pub fn note_use(&mut self, service: &Key) {
        self.changed |= self.doubted.contains_key(service);
    }

    /// Whether any endpoint became unready without terminating.
    pub fn has_lapsed(&self) -> bool {
        !self.lapsed.is_empty()
    }

    pub fn forget(&mut self, object: &ObjectRef) {
        self.lapsed.remove(object);
    }

    /// Whether an endpoint was ready before it became unready.
    fn has_lapsed_at(&self, slice: &ObjectRef, endpoint: &EndpointAddress) -> bool {
        let lapsed = self.lapsed.get(slice).zip(endpoint.addresses.first());
        lapsed.is_some_and(|(lapsed, address)| lapsed.contains(address))
    }

    /// Whether an endpoint was ready before, and its node has been lost since, or may have been.
    pub fn is_unknown(&self, slice: &ObjectRef, endpoint: &EndpointAddress) -> bool {
        let is_here = |node: &Arc<str>| self.lost.get(node) == Some(&false);
        self.has_lapsed_at(slice, endpoint) && endpoint.node.as_ref().is_some_and(|node| !is_here(node))
    }
}

impl State {
    /// A slice is new or different.
    pub(super) fn note_lapsed(&mut self, object: &ObjectRef, old: Option<&Endpoints>, new: &Endpoints) {
        if self.options.reads_nodes {
            self.nodes.note(object, old, new);
        }
    }

    /// The slices of a Service changed: whether its nodes are to be asked about.
    pub(super) fn doubt(&mut self, service: &Key) {
        if !self.options.reads_nodes {
            return;
        }
        let nodes = self
            .endpoints
            .get(service)
            .map(|slices| self.nodes_of_lapsed(service, slices));
        let nodes = nodes.unwrap_or_default();
        let before = self.nodes.doubted.get(service);
        if before.map_or(nodes.is_empty(), |before| *before == nodes) {
            return;
        }
        self.nodes.changed = true;
        if nodes.is_empty() {
            self.nodes.doubted.remove(service);
        } else {
            self.nodes.doubted.insert(service.clone(), nodes);
        }
    }

    /// The nodes of a Service's lapsed endpoints, where none of its endpoints is ready.
    fn nodes_of_lapsed(&self, (namespace, _): &Key, slices: &OfService) -> BTreeMap<Arc<str>, usize> {
        let mut nodes = BTreeMap::new();
        for ((kind, name), subset) in subsets_in_use(slices) {
            if !subset.ports.iter().any(|port| is_tcp(port.protocol.as_deref())) {
                continue;
            }
            let slice = ObjectRef::new(*kind, namespace.clone(), name.clone());
            for endpoint in &subset.endpoints {
                if endpoint.ready.unwrap_or(true) {
                    return BTreeMap::new();
                }
                if let Some(node) = endpoint
                    .node
                    .as_ref()
                    .filter(|_| self.nodes.has_lapsed_at(&slice, endpoint))
                {
                    *nodes.entry(node.clone()).or_default() += 1;
                }
            }
        }
        nodes
    }

    /// The nodes that are to be asked about, each with how many pods on it became unready: one more is a reason to ask again.
    pub fn wanted_nodes(&mut self) -> BTreeMap<Arc<str>, usize> {
        self.nodes.changed = false;
        let mut wanted = BTreeMap::new();
        for (service, nodes) in &self.nodes.doubted {
            if !self.pods.contains_key(service) {
                continue;
            }
            for (node, count) in nodes {
                *wanted.entry(node.clone()).or_default() += count;
            }
        }
        self.nodes.lost.retain(|node, _| wanted.contains_key(node));
        wanted
    }

    /// Whether [`State::wanted_nodes`] may differ from what it was when this was asked last.
    pub fn wanted_nodes_changed(&self) -> bool {
        self.nodes.changed
    }

    pub(super) fn set_lost(&mut self, node: &Arc<str>, lost: bool) {
        if self.nodes.lost.insert(node.clone(), lost) == Some(lost) {
            return;
        }
        let doubted = self.nodes.doubted.iter();
        let services = doubted.filter(|(_, nodes)| nodes.contains_key(node));
        for service in services.map(|(service, _)| service.clone()).collect::<Vec<_>>() {
            self.service_changed(&service);
        }
    }
}

#[cfg(test)]
mod tests;
