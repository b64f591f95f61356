//! The fast lookup against a naive one that knows nothing but the definitions: all routes, those that match, the
//! greatest by precedence.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use narthex::compile::{Options, State};
use narthex::model::object::{Ingress, IngressBackend, IngressPath, IngressRule, Meta, PortRef};
use narthex::model::{Change, Object, Timestamp};
use narthex::table::route::HostRank;
use narthex::table::{CanonicalPath, Route, Table, canonical_host, canonical_path, explain};
use proptest::prelude::*;
use std::sync::Arc;

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
    (rules, any::<bool>(), any::<bool>(), 0_i64..3).prop_map(|(rules, default, keep, created)| {
        let mut meta = Meta {
            created: Timestamp(created),
            ..Meta::default()
        };
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
        for (index, mut ingress) in ingresses.into_iter().enumerate() {
            ingress.meta.namespace = "n".into();
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
            // The explanation tells the same story.
            let explained = explain::explain(&table, host.as_deref(), &path);
            prop_assert_eq!(&explained.route, &wanted);
            prop_assert!(explained.lost.iter().all(|(_, why)| !why.is_empty()));
        }
    }
}
