//! RBAC grants what the table of kinds watches and what the code asks for besides, and nothing else.

use std::collections::BTreeSet;
use std::fs;

use narthex::testing::model::Kind;

use crate::rooms::root;

/// An API group, a resource and a verb.
type Right = (String, String, String);

#[derive(Default)]
struct Rule {
    groups: Vec<String>,
    resources: Vec<String>,
    verbs: Vec<String>,
}

impl Rule {
    fn rights(&self) -> impl Iterator<Item = Right> {
        self.groups.iter().flat_map(move |group| {
            self.resources.iter().flat_map(move |resource| {
                let right = move |verb: &String| (group.clone(), resource.clone(), verb.clone());
                self.verbs.iter().map(right)
            })
        })
    }
}

/// The `rules:` of all roles in a file, which may be a template: only lists of rules are read of it.
fn rules(path: &str) -> Vec<Rule> {
    let text = fs::read_to_string(root().join(path)).expect("the file is there");
    // A template keeps some rules in strings.
    let text = text.replace("\\n", "\n").replace("\\\"", "\"");
    let mut found = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    for (start, line) in lines
        .iter()
        .enumerate()
        .filter(|(_, line)| line.contains("- apiGroups:"))
    {
        let mut rule = Rule::default();
        // Each list is on the line of its name.
        let after = lines
            .iter()
            .skip(start + 1)
            .take_while(|line| !line.contains("- apiGroups:"));
        for line in std::iter::once(line).chain(after) {
            let list = |name: &str| {
                let (_, after) = line.split_once(name)?;
                let (inside, _) = after.trim_start().strip_prefix('[')?.split_once(']')?;
                Some(
                    inside
                        .split(',')
                        .map(|item| item.trim().trim_matches('"').to_owned())
                        .collect(),
                )
            };
            rule.groups = list("apiGroups:").unwrap_or(rule.groups);
            rule.resources = list("resources:").unwrap_or(rule.resources);
            rule.verbs = list("verbs:").unwrap_or(rule.verbs);
        }
        let whole = !rule.groups.is_empty() && !rule.resources.is_empty() && !rule.verbs.is_empty();
        assert!(whole, "{path}: {line}");
        found.push(rule);
    }
    found
}

fn granted(paths: &[&str]) -> BTreeSet<Right> {
    paths
        .iter()
        .flat_map(|path| rules(path))
        .flat_map(|rule| rule.rights().collect::<Vec<_>>())
        .collect()
}

fn right(group: &str, resource: &str, verb: &str) -> Right {
    (group.to_owned(), resource.to_owned(), verb.to_owned())
}

/// What the source watches, for each row of the table of kinds.
fn watched() -> BTreeSet<Right> {
    let both = |kind: Kind| ["list", "watch"].map(|verb| right(kind.group(), kind.plural(), verb));
    Kind::ALL.into_iter().flat_map(both).collect()
}

/// What the code asks for by name, or writes, and where it does.
fn asked() -> BTreeSet<Right> {
    let mut asked: BTreeSet<Right> = [
        // The zone of its own node (source/cluster/node.rs) and nodes' addresses (status/addresses.rs).
        right("", "nodes", "get"),
        // status/addresses.rs
        right("", "pods", "list"),
        // status/mod.rs
        right("networking.k8s.io", "ingresses/status", "patch"),
        // status/routes.rs
        right("route.openshift.io", "routes/status", "update"),
        // status/gateways.rs
        right("gateway.networking.k8s.io", "gatewayclasses", "get"),
        right("gateway.networking.k8s.io", "gatewayclasses/status", "update"),
        right("gateway.networking.k8s.io", "gateways/status", "update"),
        right("gateway.networking.k8s.io", "httproutes/status", "update"),
        right("gateway.networking.k8s.io", "grpcroutes/status", "update"),
        right("gateway.networking.k8s.io", "tlsroutes/status", "update"),
        right("gateway.networking.k8s.io", "tcproutes/status", "update"),
        // status/events.rs
        right("events.k8s.io", "events", "create"),
        right("events.k8s.io", "events", "get"),
        right("events.k8s.io", "events", "patch"),
        // status/lease.rs
        right("coordination.k8s.io", "leases", "create"),
        right("coordination.k8s.io", "leases", "get"),
        right("coordination.k8s.io", "leases", "update"),
        // The Service whose addresses are published (status/addresses.rs).
        right("", "services", "get"),
    ]
    .into();
    // Objects that Events are about are asked for their uid (status/events.rs); Secrets are not.
    let about = Kind::ALL
        .into_iter()
        .filter(|kind| kind.facts().events && *kind != Kind::Secret);
    asked.extend(about.map(|kind| right(kind.group(), kind.plural(), "get")));
    asked
}

#[test]
fn rbac_grants_what_is_asked_for_and_nothing_else() {
    let expected: BTreeSet<Right> = watched().union(&asked()).cloned().collect();
    for paths in [
        ["rbac/clusterrole.yaml", "rbac/secrets.yaml", "rbac/status.yaml"],
        [
            "charts/narthex/templates/rights-to-read.yaml",
            "charts/narthex/templates/rights-to-secrets.yaml",
            "charts/narthex/templates/rights-to-status.yaml",
        ],
    ] {
        let granted = granted(&paths);
        let missing: Vec<_> = expected.difference(&granted).collect();
        let unused: Vec<_> = granted.difference(&expected).collect();
        assert!(
            missing.is_empty() && unused.is_empty(),
            "{paths:?}: missing {missing:?}, unused {unused:?}"
        );
    }
}
