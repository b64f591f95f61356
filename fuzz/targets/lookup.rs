//! The fast lookup against all routes one by one, compared by the order of precedence alone.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use narthex::testing::compile::{Options, State};
use narthex::testing::dialect::ingress::{Ingress, IngressBackend, IngressPath, IngressRule};
use narthex::testing::dialect::{Change, Object};
use narthex::testing::model::Timestamp;
use narthex::testing::model::object::{Meta, PortRef};
use narthex::testing::table::{canonical_host, canonical_path};
use std::sync::Arc;

const HOSTS: [&str; 6] = ["a.test", "b.a.test", "*.a.test", "*.test", "", "[::1]"];
const ELEMENTS: [&str; 6] = ["a", "b", "ab", "", "%61", "c.d"];

#[derive(Arbitrary, Debug)]
struct Rule {
    host: u8,
    path: Vec<u8>,
    slash: bool,
    exact: bool,
    created: u8,
    again: bool,
}

#[derive(Arbitrary, Debug)]
struct World {
    rules: Vec<Rule>,
    questions: Vec<(u8, Vec<u8>, bool)>,
    remove: Vec<u8>,
}

fn path(elements: &[u8], slash: bool) -> String {
    let mut path = String::new();
    for element in elements.iter().take(6) {
        path.push('/');
        path += ELEMENTS[usize::from(*element) % ELEMENTS.len()];
    }
    if slash || path.is_empty() {
        path.push('/');
    }
    path
}

fn ingress(index: usize, rule: &Rule) -> Object {
    let host = HOSTS[usize::from(rule.host) % HOSTS.len()];
    let path = IngressPath {
        path: Some(path(&rule.path, rule.slash).into()),
        path_type: Some(if rule.exact { "Exact" } else { "Prefix" }.into()),
        backend: IngressBackend::Service {
            name: "web".into(),
            port: PortRef::Number(80),
        },
        ..IngressPath::default()
    };
    Object::Ingress(Arc::new(Ingress {
        meta: Meta {
            namespace: "default".into(),
            // The same object changed, or another one.
            name: format!("i{}", if rule.again { index / 2 } else { index }).into(),
            created: Timestamp(rule.created.into()),
            ..Meta::default()
        },
        rules: Box::new([IngressRule {
            host: (!host.is_empty()).then(|| host.into()),
            paths: Some(Box::new([path])),
            ..IngressRule::default()
        }]),
        ..Ingress::default()
    }))
}

fuzz_target!(|world: World| {
    let mut state = State::new(Options::default());
    for (index, rule) in world.rules.iter().take(24).enumerate() {
        state.apply(Change::Apply(ingress(index, rule)));
    }
    for index in world.remove.iter().take(8) {
        if let Some(rule) = world.rules.get(usize::from(*index)) {
            state.apply(Change::Delete(ingress(usize::from(*index), rule).reference()));
        }
    }
    let table = state.table();
    for (host, elements, slash) in world.questions.iter().take(16) {
        let host = HOSTS[usize::from(*host) % HOSTS.len()].replace('*', "x");
        let host = canonical_host(&host).ok().map(|host| host.name.into_owned());
        let path = path(elements, *slash);
        let Ok(path) = canonical_path(&path, false) else {
            continue;
        };
        let best = table
            .routes()
            .filter(|route| route.host.matches(host.as_deref()))
            .filter(|route| {
                route
                    .path
                    .as_ref()
                    .is_some_and(|pattern| pattern.matches(path.form(false)))
            })
            .max_by_key(|route| route.precedence());
        let found = table.lookup(host.as_deref(), &path);
        assert_eq!(found, best, "{host:?} {path:?}");
    }
});
