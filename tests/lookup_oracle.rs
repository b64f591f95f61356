//! The fast lookup against a naive one that knows nothing but the definitions: all routes, those that match, the
//! greatest by precedence.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use narthex::compile::{Options, State};
use narthex::model::object::{Ingress, IngressBackend, IngressPath, IngressRule, Meta, PortRef};
use narthex::model::{Change, Object, Timestamp};
use narthex::table::route::HostRank;
use narthex::table::{CanonicalPath, HostPattern, Route, Table, canonical_host, canonical_path, explain};
use proptest::prelude::*;
use std::sync::Arc;

/// A guard of a whole host.
const SERVER_SNIPPET: &str = "nginx.ingress.kubernetes.io/server-snippet";

/// All routes, filtered by definition, the greatest; then the default backends, host by host, and the last resort.
fn oracle(table: &Table, host: Option<&str>, path: &CanonicalPath<'_>) -> Option<Arc<Route>> {
    let fits = |route: &&Arc<Route>| route.host.matches(host);
    let rule = table
        .routes()
        .filter(fits)
        .filter(|route| {
            let text = path.form(route.policies.keep_slashes);
            route.path.as_ref().is_some_and(|pattern| pattern.matches(text))
        })
        .max_by_key(|route| route.precedence());
    let default = || {
        table
            .routes()
            .filter(fits)
            .filter(|route| route.path.is_none())
            // A host's default is marked by nothing but its place: that of any host comes before the last resort.
            .max_by_key(|route| {
                let of_host = route.precedence().host != HostRank::Any
                    || table
                        .host(&route.host)
                        .and_then(|host| host.default.as_ref())
                        .is_some_and(|own| Arc::ptr_eq(own, route));
                (route.precedence().host, of_host)
            })
    };
    rule.or_else(default).cloned()
}

/// What a guard of a whole host says, as its definition has it: it closes what its namespace has for the host, and what
/// that has for more hosts and answers paths the host does not list.
fn is_closed(ingresses: &[Ingress], route: &Route, host: Option<&str>) -> bool {
    let guarded = ingresses.iter().filter(|ingress| {
        ingress.meta.namespace == route.origin.object.namespace && ingress.meta.annotations.contains_key(SERVER_SNIPPET)
    });
    let hosts = guarded.flat_map(|ingress| {
        let any = (ingress.rules.is_empty() && ingress.default_backend.is_some()).then_some("");
        let named = ingress
            .rules
            .iter()
            .map(|rule| rule.host.as_deref().unwrap_or_default());
        named.chain(any).map(pattern)
    });
    let rank = |pattern: &HostPattern| match pattern {
        HostPattern::Any => 0,
        HostPattern::Wildcard(_) => 1,
        HostPattern::Exact(_) => 2,
    };
    hosts
        .filter(|pattern| pattern.matches(host))
        .any(|pattern| rank(&pattern) >= rank(&route.host))
}

fn pattern(host: &str) -> HostPattern {
    match host.strip_prefix("*.") {
        _ if host.is_empty() => HostPattern::Any,
        Some(suffix) => HostPattern::Wildcard(suffix.into()),
        None => HostPattern::Exact(host.into()),
    }
}

fn label() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "example", "com"]).prop_map(str::to_owned)
}

fn name() -> impl Strategy<Value = String> {
    prop::collection::vec(label(), 1..4).prop_map(|labels| labels.join("."))
}

fn rule_host() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => name(),
        3 => name().prop_map(|name| format!("*.{name}")),
        1 => Just(String::new()),
        1 => Just("[::1]".to_owned()),
    ]
}

fn path() -> impl Strategy<Value = String> {
    let element = prop::sample::select(vec!["", "a", "b", "ab", "a%2Fb", "c"]);
    prop::collection::vec(element, 0..5).prop_map(|elements| format!("/{}", elements.join("/")))
}

fn backend() -> IngressBackend {
    IngressBackend::Service {
        name: "s".into(),
        port: PortRef::Number(80),
    }
}

fn ingress() -> impl Strategy<Value = Ingress> {
    let kind = prop::sample::select(vec!["Exact", "Prefix", "ImplementationSpecific"]);
    let one = (path(), kind).prop_map(|(path, kind)| IngressPath {
        path: Some(path),
        path_type: Some(kind.to_owned()),
        backend: backend(),
        ..IngressPath::default()
    });
    let rule = (
        rule_host(),
        prop::option::weighted(0.9, prop::collection::vec(one, 1..4)),
    );
    let rules = prop::collection::vec(rule, 0..4);
    let guarded = prop::bool::weighted(0.2);
    let meta = (any::<bool>(), guarded, 0_i64..3, prop::sample::select(vec!["m", "n"]));
    (rules, any::<bool>(), meta).prop_map(|(rules, default, (keep, guarded, created, namespace))| {
        let mut meta = Meta {
            namespace: namespace.into(),
            created: Timestamp(created),
            ..Meta::default()
        };
        if guarded {
            meta.annotations
                .insert(SERVER_SNIPPET.to_owned(), "deny all;".to_owned());
        }
        if keep {
            meta.annotations
                .insert("narthex.io/merge-slashes".to_owned(), "false".to_owned());
        }
        Ingress {
            meta,
            rules: rules
                .into_iter()
                .map(|(host, paths)| IngressRule {
                    host: Some(host),
                    paths,
                    ..IngressRule::default()
                })
                .collect(),
            default_backend: default.then(backend),
            ..Ingress::default()
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn lookup_is_the_definition(
        ingresses in prop::collection::vec(ingress(), 1..8),
        requests in prop::collection::vec((prop::option::weighted(0.9, prop_oneof![name(), Just("[::1]".to_owned())]), path()), 1..20),
    ) {
        let mut state = State::new(Options::default());
        for (index, ingress) in ingresses.iter().enumerate() {
            let mut ingress = ingress.clone();
            ingress.meta.name = format!("i{index}").into();
            state.apply(Change::Apply(Object::Ingress(ingress.into())));
        }
        let table = state.table();
        for (host, path) in requests {
            let host = host.map(|host| canonical_host(&host).unwrap().name.into_owned());
            let path = canonical_path(&path, false).unwrap();
            let found = table.lookup(host.as_deref(), &path).cloned();
            let wanted = oracle(&table, host.as_deref(), &path);
            prop_assert_eq!(&found, &wanted, "{:?} {:?}", host, path);
            if let Some(found) = table.find(host.as_deref(), &path) {
                let closed = is_closed(&ingresses, found.route, host.as_deref());
                prop_assert_eq!(found.guard(None).is_some(), closed, "{:?} {:?}", host, path);
            }
            // The explanation tells the same story.
            let explained = explain::explain(&table, host.as_deref(), &path);
            prop_assert_eq!(&explained.route, &wanted);
            prop_assert!(explained.lost.iter().all(|(_, why)| !why.is_empty()));
        }
    }
}
