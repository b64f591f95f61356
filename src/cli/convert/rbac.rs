//! Roles that named what has moved since: ingresses left `extensions`, and endpoints come in slices.

use super::{remove, set};
use crate::source::directory::node::{Node, Value};

const READ: [&str; 3] = ["get", "list", "watch"];
const NETWORKING: &str = "networking.k8s.io";
const DISCOVERY: &str = "discovery.k8s.io";

/// The texts of a list that is a field of a rule.
fn texts<'a>(rule: &'a Node, field: &str) -> Vec<&'a str> {
    rule.get(field)
        .map(Node::items)
        .unwrap_or_default()
        .iter()
        .filter_map(Node::as_str)
        .collect()
}

fn grant(group: &str, resources: &[&str], verbs: &[&str]) -> Node {
    Node::map([
        ("apiGroups", Node::texts([group])),
        ("resources", Node::texts(resources.iter().copied())),
        ("verbs", Node::texts(verbs.iter().copied())),
    ])
}

fn is_ingress(resource: &str) -> bool {
    resource == "ingresses" || resource.starts_with("ingresses/")
}

/// Whether a rule lets somebody read a resource, whichever of its objects.
fn reads(rule: &Node, group: &str, resource: &str) -> bool {
    let any = |field: &str, wanted: &[&str]| {
        texts(rule, field)
            .iter()
            .any(|text| *text == "*" || wanted.contains(text))
    };
    let verbs = texts(rule, "verbs");
    any("apiGroups", &[group])
        && any("resources", &[resource])
        && (verbs.contains(&"*") || READ.iter().all(|verb| verbs.contains(verb)))
        && texts(rule, "resourceNames").is_empty()
}

/// Rewrites a role's rules. `cluster` says that it is a ClusterRole, which alone can grant ingressclasses.
pub fn rules(role: &mut Node, cluster: bool, notes: &mut Vec<String>) {
    let Some(rules) = role.get_mut("rules").and_then(Node::items_mut) else {
        return;
    };
    let granted = |rules: &[Node], group, resource| rules.iter().any(|rule| reads(rule, group, resource));
    let mut slices = granted(rules, DISCOVERY, "endpointslices");
    let before = std::mem::take(rules);
    let mut moved = false;
    for rule in &before {
        let ingresses = ingresses(rule, &before);
        moved |= !matches!(ingresses, Ingresses::None);
        match ingresses {
            Ingresses::None => rules.push(rule.clone()),
            Ingresses::Moved(instead) => {
                notes.push(format!(
                    "its rule for ingresses of extensions is for those of {NETWORKING} now"
                ));
                rules.push(instead);
            }
            Ingresses::Beside(other) => {
                notes.push(format!(
                    "a rule for ingresses of {NETWORKING} stands beside the one for those of extensions"
                ));
                rules.extend([rule.clone(), other]);
            }
        }
        if !slices && reads_endpoints(rule) {
            notes.push(format!("reads endpointslices of {DISCOVERY} beside endpoints"));
            rules.push(grant(DISCOVERY, &["endpointslices"], &READ));
            slices = true;
        }
    }
    if cluster && moved && !granted(rules, NETWORKING, "ingressclasses") {
        // A rule that only reads ingresses can do the same for their classes.
        match rules.iter_mut().find(|rule| only_reads_ingresses(rule)) {
            Some(rule) => {
                if let Some(resources) = rule.get_mut("resources").and_then(Node::items_mut) {
                    resources.push(Node::text("ingressclasses"));
                }
            }
            None => rules.push(grant(NETWORKING, &["ingressclasses"], &READ)),
        }
        notes.push(format!("reads ingressclasses of {NETWORKING} as well"));
    }
}

/// What becomes of a rule that may name ingresses of `extensions`.
enum Ingresses {
    /// It does not, or another rule says the same of today's.
    None,
    /// It names nothing else, and this is what it says today.
    Moved(Node),
    /// It names other things too, so it stays, and this one stands beside it.
    Beside(Node),
}

fn ingresses(rule: &Node, all: &[Node]) -> Ingresses {
    let groups = texts(rule, "apiGroups");
    let resources = texts(rule, "resources");
    let mut moved: Vec<&str> = resources.iter().copied().filter(|name| is_ingress(name)).collect();
    let alone = moved.len() == resources.len() && groups.iter().all(|group| ["extensions", NETWORKING].contains(group));
    if resources.contains(&"*") {
        moved = vec!["ingresses", "ingresses/status"];
    }
    if !groups.contains(&"extensions") || moved.is_empty() {
        return Ingresses::None;
    }
    if alone {
        let mut instead = rule.clone();
        set(&mut instead, "apiGroups", Node::texts([NETWORKING]).value);
        return Ingresses::Moved(instead);
    }
    let verbs = texts(rule, "verbs");
    let names = rule.get("resourceNames");
    let says_so = |other: &Node| {
        texts(other, "apiGroups").contains(&NETWORKING)
            && moved.iter().all(|name| texts(other, "resources").contains(name))
            && verbs.iter().all(|verb| texts(other, "verbs").contains(verb))
            && texts(other, "resourceNames") == texts(rule, "resourceNames")
    };
    if all.iter().any(says_so) {
        return Ingresses::None;
    }
    let mut beside = grant(NETWORKING, &moved, &verbs);
    if let Some(names) = names {
        set(&mut beside, "resourceNames", names.value.clone());
    }
    Ingresses::Beside(beside)
}

fn only_reads_ingresses(rule: &Node) -> bool {
    texts(rule, "apiGroups") == [NETWORKING]
        && texts(rule, "resources") == ["ingresses"]
        && texts(rule, "verbs").iter().all(|verb| READ.contains(verb))
}

/// Whether a rule is for reading Endpoints, so that reading the slices that hold the same today is in its spirit: one
/// for some named Endpoints (a leader's lock), or one that only writes them, is not.
fn reads_endpoints(rule: &Node) -> bool {
    let verbs = texts(rule, "verbs");
    texts(rule, "apiGroups").contains(&"")
        && texts(rule, "resources").contains(&"endpoints")
        && verbs.iter().any(|verb| *verb == "*" || READ.contains(verb))
        && texts(rule, "resourceNames").is_empty()
}

/// v1alpha1 named a subject's group by `apiVersion`, and everybody by the user `*`.
pub fn subjects(binding: &mut Node, notes: &mut Vec<String>) {
    let subjects = binding.get_mut("subjects").and_then(Node::items_mut);
    for subject in subjects.into_iter().flatten() {
        remove(subject, "apiVersion");
        if subject.str_at("kind") == Some("User") && subject.str_at("name") == Some("*") {
            set(subject, "kind", Value::String("Group".to_owned()));
            set(subject, "name", Value::String("system:authenticated".to_owned()));
            notes.push("the user `*` is the group system:authenticated now".to_owned());
        }
        if matches!(subject.str_at("kind"), Some("User" | "Group")) && subject.get("apiGroup").is_none() {
            set(
                subject,
                "apiGroup",
                Value::String("rbac.authorization.k8s.io".to_owned()),
            );
        }
    }
}
