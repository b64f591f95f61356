//! A request is routed without allocating.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use narthex::testing::compile::{Options, State};
use narthex::testing::dialect::ingress::{Ingress, IngressBackend, IngressPath, IngressRule};
use narthex::testing::dialect::{Change, Object};
use narthex::testing::model::object::{Meta, PortRef};
use narthex::testing::table::{Table, canonical_host, canonical_path};

fn table() -> Table {
    let backend = IngressBackend::Service {
        name: "s".into(),
        port: PortRef::Number(80),
    };
    let path = |path: String, kind: &str| IngressPath {
        path: Some(path.into()),
        path_type: Some(kind.into()),
        backend: backend.clone(),
        ..IngressPath::default()
    };
    let rule = |host: String| IngressRule {
        host: Some(host.into()),
        paths: Some(
            (0..100)
                .flat_map(|n| [path(format!("/p{n}/q"), "Prefix"), path(format!("/p{n}/q/r"), "Exact")])
                .collect(),
        ),
        ..IngressRule::default()
    };
    let mut rules: Vec<IngressRule> = (0..300).map(|n| rule(format!("h{n}.example.com"))).collect();
    rules.push(rule("*.example.com".to_owned()));
    rules.push(rule(String::new()));
    let ingress = Ingress {
        meta: Meta {
            namespace: "n".into(),
            name: "i".into(),
            ..Meta::default()
        },
        default_backend: Some(Box::new(backend.clone())),
        rules: rules.into(),
        ..Ingress::default()
    };
    let mut state = State::new(Options::default());
    state.apply(Change::Apply(Object::Ingress(ingress.into())));
    state.table()
}

#[test]
fn a_lookup_allocates_nothing() {
    let table = table();
    for (host, path, finds) in [
        (Some("h7.example.com"), "/p5/q", true),
        (Some("h7.example.com:8080"), "/p5/q/r", true),
        (Some("other.example.com."), "/p99/q/deeper/still", true),
        (Some("stranger.org"), "/p1/q/", true),
        (Some("h7.example.com"), "/nothing/of/this", true),
        (None, "/", false),
        (Some("[::1]"), "/p1", false),
        (None, "/p1/q", true),
    ] {
        // An IPv6 host is the one that is written anew.
        let read = host.map(|host| canonical_host(host).unwrap());
        let mut found = false;
        let counted = allocation_counter::measure(|| {
            let path = canonical_path(path, false).unwrap();
            if let Some(host) = host.filter(|host| !host.starts_with('[')) {
                assert!(canonical_host(host).is_ok());
            }
            let route = table.lookup(read.as_ref().map(|host| &*host.name), &path);
            found = route.is_some_and(|route| table.backend_of(route).is_some());
        });
        assert_eq!(counted.count_total, 0, "{host:?} {path}");
        assert!(found || !finds, "{host:?} {path}");
    }
    // The counter does count.
    assert_ne!(
        allocation_counter::measure(|| drop(canonical_path("/a//b", false))).count_total,
        0
    );
}
