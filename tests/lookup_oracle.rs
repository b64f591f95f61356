//! The fast lookup against a naive one that knows nothing but the definitions: all routes, those that match, the
//! greatest by precedence.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use http::{HeaderName, HeaderValue, Method};
use narthex::testing::compile::{Options, State};
use narthex::testing::dialect::ingress::{Ingress, IngressBackend, IngressPath, IngressRule};
use narthex::testing::dialect::{Change, Object};
use narthex::testing::message::Fields;
use narthex::testing::model::Timestamp;
use narthex::testing::model::object::{Meta, PortRef};
use narthex::testing::model::{Field, FieldForm};
use narthex::testing::table::route::HostRank;
use narthex::testing::table::{
    CanonicalPath, HostPattern, PathPattern, Route, Says, Scheme, Schemes, Table, When, canonical_host, canonical_path,
    explain, route_key,
};
use proptest::prelude::*;
use std::sync::Arc;

/// Where the conditions that this test makes stand.
const MADE: FieldForm = FieldForm {
    text: "made[]",
    list: "made",
    host: "made[]",
};

/// A guard of a whole host.
const SERVER_SNIPPET: &str = "nginx.ingress.kubernetes.io/server-snippet";

/// All routes, filtered by definition, the greatest; then the default backends, host by host, and the last resort.
fn oracle(table: &Table, host: Option<&str>, path: &CanonicalPath<'_>, says: &Says<'_>) -> Option<Arc<Route>> {
    let fits = |route: &&Arc<Route>| route.host.matches(host);
    let rule = table
        .routes()
        .filter(fits)
        .filter(|route| route.holds(says))
        .filter(|route| {
            let text = path.form(route.keep_slashes);
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
        path: Some(path.into()),
        path_type: Some(kind.into()),
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
        let guard = guarded.then_some((SERVER_SNIPPET, "deny all;"));
        let slashes = keep.then_some(("narthex.io/merge-slashes", "false"));
        let meta = Meta {
            namespace: namespace.into(),
            created: Timestamp(created),
            annotations: guard.into_iter().chain(slashes).collect(),
            ..Meta::default()
        };
        Ingress {
            meta,
            rules: rules
                .into_iter()
                .map(|(host, paths)| IngressRule {
                    host: Some(host.into()),
                    paths: paths.map(Into::into),
                    ..IngressRule::default()
                })
                .collect(),
            default_backend: default.then(backend).map(Box::new),
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
            let wanted = oracle(&table, host.as_deref(), &path, &Says::default());
            prop_assert_eq!(&found, &wanted, "{:?} {:?}", host, path);
            if let Some(found) = table.ingress_hosts().find(host.as_deref(), &path, &Says::default()) {
                let closed = is_closed(&ingresses, found.route, host.as_deref());
                prop_assert_eq!(found.guard(None).is_some(), closed, "{:?} {:?}", host, path);
            }
            // The explanation tells the same story.
            let explained = explain::explain(table.ingress_hosts(), host.as_deref(), &path, &Says::default());
            prop_assert_eq!(&explained.route, &wanted);
            prop_assert!(explained.lost.iter().all(|(_, why)| !why.is_empty()));
        }
    }

    #[test]
    fn lookup_with_conditions_is_the_definition(
        ingresses in prop::collection::vec(ingress(), 1..6),
        narrower in prop::collection::vec((any::<prop::sample::Index>(), when(), prop::bool::weighted(0.3)), 1..12),
        requests in prop::collection::vec((name(), path(), said()), 1..20),
    ) {
        let mut state = State::new(Options::default());
        for (index, ingress) in ingresses.iter().enumerate() {
            let mut ingress = ingress.clone();
            ingress.meta.name = format!("i{index}").into();
            state.apply(Change::Apply(Object::Ingress(ingress.into())));
        }
        let mut table = state.table();
        let plain: Vec<Arc<Route>> = table.routes().filter(|route| route.path.is_some()).cloned().collect();
        for (place, (index, when, alone)) in narrower.into_iter().enumerate() {
            let Some(route) = (!plain.is_empty()).then(|| index.get(&plain)) else { continue };
            narrow(&mut table, route, when, place, alone);
        }
        for (host, path, (method, field, query)) in requests {
            let path = canonical_path(&path, false).unwrap();
            let mut fields = Fields::new();
            if let Some(value) = field {
                fields.append("x-tier", &value);
            }
            let says = Says { method: &method, fields: Some(&fields), query: query.as_deref(), ..Says::default() };
            let found = table.ingress_hosts().find(Some(&host), &path, &says).map(|found| found.route.clone());
            let wanted = oracle(&table, Some(&host), &path, &says);
            prop_assert_eq!(&found, &wanted, "{:?} {:?} {:?}", host, path, says);
            let explained = explain::explain(table.ingress_hosts(), Some(&host), &path, &says);
            prop_assert_eq!(&explained.route, &wanted);
        }
        // What is taken away leaves nothing behind.
        for route in &plain {
            table.update_host(&route.host, |host| {
                let pattern = route.path.as_ref().unwrap();
                host.paths.set(pattern, None);
                host.paths.set_narrow(pattern, Vec::new());
            });
        }
        prop_assert!(table.routes().all(|route| route.path.is_none()));
    }
}

/// The same where routes are for some schemes only. The best host with a path that fits decides. Its routes for the request's
/// scheme count, or all its routes if it has none for that scheme. Over plain HTTP, a Route that redirects comes before
/// OpenShift's other Routes.
fn oracle_by_scheme(table: &Table, host: &str, path: &CanonicalPath<'_>, scheme: Scheme) -> Option<Arc<Route>> {
    let fits = |route: &&Arc<Route>| {
        let text = path.form(route.keep_slashes);
        let path_fits = |pattern: &PathPattern| pattern.matches(text);
        route.host.matches(Some(host)) && route.path.as_ref().is_some_and(path_fits)
    };
    let all: Vec<&Arc<Route>> = table.routes().filter(fits).collect();
    let rank = all.iter().map(|route| route.host.rank()).max()?;
    let of_host = || all.iter().copied().filter(|route| route.host.rank() == rank);
    let best = |is: &dyn Fn(&Route) -> bool| {
        of_host()
            .filter(|route| is(route))
            .max_by_key(|route| route.precedence())
    };
    let found = best(&|route| route.policies.schemes.include(scheme));
    let redirect = best(&|route| scheme == Scheme::Http && route.policies.schemes == Schemes::Redirected);
    let gives_way = |route: &&Arc<Route>| matches!(route.policies.schemes, Schemes::Both | Schemes::Http);
    match (found, redirect) {
        (Some(found), Some(redirect)) if gives_way(&found) => Some(redirect.clone()),
        (found, _) => found.or_else(|| best(&|_| true)).cloned(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn lookup_by_scheme_is_the_definition(
        ingresses in prop::collection::vec(ingress(), 1..8),
        schemes in prop::collection::vec(schemes(), 8),
        requests in prop::collection::vec((name(), path(), scheme()), 1..20),
    ) {
        let mut state = State::new(Options::default());
        for (index, ingress) in ingresses.iter().enumerate() {
            let mut ingress = Ingress { default_backend: None, ..ingress.clone() };
            ingress.meta.name = format!("i{index}").into();
            state.apply(Change::Apply(Object::Ingress(ingress.into())));
        }
        let mut table = state.table();
        let routes: Vec<Arc<Route>> = table.routes().cloned().collect();
        for (route, schemes) in routes.iter().zip(schemes.iter().cycle()) {
            let mut made = Route::clone(route);
            Arc::make_mut(&mut made.policies).schemes = *schemes;
            table.update_host(&route.host, |host| host.paths.set(route.path.as_ref().unwrap(), Some(Arc::new(made))));
        }
        for (host, path, scheme) in requests {
            let path = canonical_path(&path, false).unwrap();
            let says = Says { scheme, ..Says::default() };
            let found = table.ingress_hosts().find(Some(&host), &path, &says).map(|found| found.route.clone());
            let wanted = oracle_by_scheme(&table, &host, &path, scheme);
            prop_assert_eq!(&found, &wanted, "{:?} {:?} {:?}", host, path, scheme);
            let explained = explain::explain(table.ingress_hosts(), Some(&host), &path, &says);
            prop_assert_eq!(&explained.route, &wanted);
        }
    }
}

fn schemes() -> impl Strategy<Value = Schemes> {
    let all = [
        Schemes::All,
        Schemes::Both,
        Schemes::Http,
        Schemes::Https,
        Schemes::Redirected,
    ];
    prop::sample::select(all.to_vec())
}

fn scheme() -> impl Strategy<Value = Scheme> {
    prop::sample::select(vec![Scheme::Http, Scheme::Https, Scheme::HttpsToProxy])
}

/// Adds a route with conditions for what a route is for; `alone` takes the latter away.
fn narrow(table: &mut Table, route: &Arc<Route>, when: When, place: usize, alone: bool) {
    let pattern = route.path.as_ref().unwrap();
    let mut made = Route::clone(route);
    made.key = route_key(None, &made.host, Some(pattern), Some(&when));
    made.origin.field = Field::at(&MADE, 1000 + u32::try_from(place).unwrap());
    made.when = Some(Box::new(when));
    table.update_host(&route.host, |host| {
        let of_pattern = |other: &&Arc<Route>| other.path.as_ref() == Some(pattern) && other.when.is_some();
        let mut all: Vec<Arc<Route>> = host.paths.routes().filter(of_pattern).cloned().collect();
        all.push(Arc::new(made));
        all.sort_by_key(|route| std::cmp::Reverse(route.precedence()));
        host.paths.set_narrow(pattern, all);
        if alone {
            host.paths.set(pattern, None);
        }
    });
}

fn method() -> impl Strategy<Value = Method> {
    prop::sample::select(vec![Method::GET, Method::POST])
}

fn value() -> impl Strategy<Value = HeaderValue> {
    prop::sample::select(vec!["a", "b"]).prop_map(HeaderValue::from_static)
}

fn query() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["v=1", "v=2", "v=1&w=1", "w=1&v=2&v=1", "v", ""]).prop_map(str::to_owned)
}

/// Method, field and query of a request.
fn said() -> impl Strategy<Value = (Method, Option<HeaderValue>, Option<String>)> {
    (method(), prop::option::of(value()), prop::option::of(query()))
}

fn when() -> impl Strategy<Value = When> {
    let parameter = prop::sample::select(vec![("v", "1"), ("v", "2"), ("w", "1"), ("v", "")]);
    (
        prop::option::of(method()),
        prop::option::of(value()),
        prop::collection::vec(parameter, 0..3),
    )
        .prop_map(|(method, field, query)| When {
            expressions: None,
            method,
            fields: field
                .map(|value| (HeaderName::from_static("x-tier"), value))
                .into_iter()
                .collect(),
            query: query
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        })
        .prop_filter("without conditions a route is plain", |when| {
            when.count() != (false, 0, 0)
        })
}
