//! One object of an old version to today's.

use super::{rbac, remove, rename, set};
use crate::model::object::OLD_CLASS;
use crate::source::directory::node::{Node, Value};

/// Rewrites an object in place, and says what was done, if anything.
pub fn rewrite(object: &mut Node) -> Vec<String> {
    let mut notes = Vec::new();
    let (Some(kind), Some(version)) = (object.str_at("kind"), object.str_at("apiVersion")) else {
        return notes;
    };
    let (kind, version) = (kind.to_owned(), version.to_owned());
    let (group, old) = version.split_once('/').unwrap_or(("", &version));
    let today = match (group, old, kind.as_str()) {
        ("extensions" | "networking.k8s.io", "v1beta1", "Ingress") => "networking.k8s.io/v1",
        ("networking.k8s.io", "v1beta1", "IngressClass") => "networking.k8s.io/v1",
        ("extensions", "v1beta1", "NetworkPolicy") => "networking.k8s.io/v1",
        ("extensions", "v1beta1", "Deployment" | "DaemonSet" | "ReplicaSet")
        | ("apps", "v1beta1" | "v1beta2", "Deployment" | "DaemonSet" | "ReplicaSet" | "StatefulSet") => "apps/v1",
        (
            "rbac.authorization.k8s.io",
            "v1alpha1" | "v1beta1",
            "Role" | "ClusterRole" | "RoleBinding" | "ClusterRoleBinding",
        ) => "rbac.authorization.k8s.io/v1",
        ("discovery.k8s.io", "v1beta1", "EndpointSlice") => "discovery.k8s.io/v1",
        _ => &version,
    };
    if today != version {
        set(object, "apiVersion", Value::String(today.to_owned()));
        notes.push(format!("{version} is now {today}"));
        match kind.as_str() {
            "Ingress" => ingress(object, &mut notes),
            "Deployment" | "DaemonSet" | "ReplicaSet" | "StatefulSet" => workload(object, &kind, &mut notes),
            "RoleBinding" | "ClusterRoleBinding" if old == "v1alpha1" => rbac::subjects(object, &mut notes),
            "EndpointSlice" => endpoint_slice(object, &mut notes),
            _ => {}
        }
    }
    if group == "rbac.authorization.k8s.io" && matches!(kind.as_str(), "Role" | "ClusterRole") {
        rbac::rules(object, kind == "ClusterRole", &mut notes);
    }
    notes
}

fn ingress(object: &mut Node, notes: &mut Vec<String>) {
    let annotated = object
        .get("metadata")
        .and_then(|metadata| metadata.get("annotations"))
        .and_then(|annotations| annotations.str_at(OLD_CLASS));
    if let Some(class) = annotated {
        notes.push(format!(
            "the annotation {OLD_CLASS}: {class} stays and still counts; `spec.ingressClassName: {class}` is today's way, \
             and only one of the two may be given"
        ));
    }
    let Some(spec) = object.get_mut("spec") else {
        return;
    };
    rename(spec, "backend", "defaultBackend");
    if let Some(default) = spec.get_mut("defaultBackend") {
        backend(default, "spec.defaultBackend", notes);
    }
    let rules = spec.get_mut("rules").and_then(Node::items_mut);
    let mut untyped = 0;
    for (rule, node) in rules.into_iter().flatten().enumerate() {
        let paths = node
            .get_mut("http")
            .and_then(|http| http.get_mut("paths"))
            .and_then(Node::items_mut);
        for (path, node) in paths.into_iter().flatten().enumerate() {
            if let Some(node) = node.get_mut("backend") {
                backend(node, &format!("spec.rules[{rule}].http.paths[{path}].backend"), notes);
            }
            if node.get("pathType").is_none_or(|given| given.value == Value::Null) {
                set(node, "pathType", Value::String("ImplementationSpecific".to_owned()));
                untyped += 1;
            }
        }
    }
    if untyped > 0 {
        let paths = if untyped == 1 { "path" } else { "paths" };
        notes.push(format!(
            "{untyped} {paths} without pathType: ImplementationSpecific, which narthex takes as Prefix"
        ));
    }
}

/// `serviceName` and `servicePort` to `service`; a `resource` stays.
fn backend(node: &mut Node, field: &str, notes: &mut Vec<String>) {
    let name = remove(node, "serviceName");
    let port = remove(node, "servicePort");
    if name.is_none() && port.is_none() {
        return;
    }
    let mut service = Vec::new();
    if let Some(name) = name {
        service.push(("name", name));
    }
    if let Some(port) = port {
        let number = port.as_str().and_then(|text| text.parse::<u16>().ok());
        let port = match (number, &port.value) {
            // No Service port is named by digits alone, so a number was meant, and v1 refuses the text.
            (Some(number), _) => {
                notes.push(format!(
                    "{field}: servicePort \"{number}\" was text; it is a number now"
                ));
                ("number", Node::new(Value::Number(number.into())))
            }
            (None, Value::String(_)) => ("name", port),
            (None, _) => ("number", port),
        };
        service.push(("port", Node::map([port])));
    }
    set(node, "service", Node::map(service).value);
}

/// What apps/v1 demands and its forerunners did not, and what it no longer knows.
fn workload(object: &mut Node, kind: &str, notes: &mut Vec<String>) {
    let Some(spec) = object.get_mut("spec") else {
        return;
    };
    for gone in ["rollbackTo", "templateGeneration"] {
        if remove(spec, gone).is_some() {
            notes.push(format!("spec.{gone} is gone from apps/v1: left out"));
        }
    }
    if spec
        .get("selector")
        .is_none_or(|selector| selector.value == Value::Null)
    {
        let labels = spec
            .get("template")
            .and_then(|template| template.get("metadata"))
            .and_then(|metadata| metadata.get("labels"))
            .cloned();
        match labels {
            Some(labels) => {
                remove(spec, "selector");
                if let Some(entries) = spec.entries_mut() {
                    let selector = Node::map([("selector", Node::map([("matchLabels", labels)]))]);
                    entries.splice(0..0, selector.entries().iter().cloned());
                }
                notes.push("spec.selector is required: made from spec.template.metadata.labels".to_owned());
            }
            None => notes.push("spec.selector is required, and spec.template has no labels to make it from".to_owned()),
        }
    }
    let strategy = spec.get("updateStrategy").is_some();
    if matches!(kind, "DaemonSet" | "StatefulSet") && !strategy {
        notes.push("without spec.updateStrategy, apps/v1 replaces pods after an edit (RollingUpdate)".to_owned());
    }
}

/// `topology` became `nodeName` and `zone`.
fn endpoint_slice(object: &mut Node, notes: &mut Vec<String>) {
    let endpoints = object.get_mut("endpoints").and_then(Node::items_mut);
    for (index, endpoint) in endpoints.into_iter().flatten().enumerate() {
        let Some(topology) = remove(endpoint, "topology") else {
            continue;
        };
        for entry in topology.entries() {
            let field = match entry.key.as_str() {
                "kubernetes.io/hostname" => "nodeName",
                "topology.kubernetes.io/zone" => "zone",
                other => {
                    notes.push(format!(
                        "endpoints[{index}].topology: {other} has no place in v1: left out"
                    ));
                    continue;
                }
            };
            if endpoint.get(field).is_none() {
                set(endpoint, field, entry.value.value.clone());
            }
        }
    }
}
