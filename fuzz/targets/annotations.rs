//! Any text in any annotation: it is taken, or refused by name, and nothing else of the world suffers.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use narthex::testing::compile::{Options, State};
use narthex::testing::dialect::Object;
use narthex::testing::dialect::annotations;
use narthex::testing::dialect::ingress::{Ingress, IngressBackend, IngressPath, IngressRule};
use narthex::testing::model::Timestamp;
use narthex::testing::model::object::{Meta, PortRef, Service, ServicePort};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

#[derive(Arbitrary, Debug)]
struct Said {
    on_service: bool,
    pairs: Vec<(u8, String)>,
}

fn names() -> &'static [String] {
    static NAMES: OnceLock<Vec<String>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let schema: serde_json::Value = serde_json::from_str(&annotations::schema()).expect("JSON");
        let properties = schema["properties"].as_object().expect("an object");
        properties.keys().cloned().collect()
    })
}

fn meta(name: &str, said: &BTreeMap<String, String>) -> Meta {
    Meta {
        namespace: "default".into(),
        name: name.into(),
        created: Timestamp(1),
        annotations: said.iter().map(|(key, value)| (key, value.as_str())).collect(),
        ..Meta::default()
    }
}

fuzz_target!(|said: Said| {
    let names = names();
    let pairs: BTreeMap<String, String> = said
        .pairs
        .into_iter()
        .take(8)
        .map(|(name, text)| (names[usize::from(name) % names.len()].clone(), text))
        .collect();
    let (on_service, on_ingress) = if said.on_service {
        (pairs.clone(), BTreeMap::new())
    } else {
        (BTreeMap::new(), pairs.clone())
    };
    let service = Service {
        meta: meta("web", &on_service),
        ports: vec![ServicePort {
            port: 80,
            ..ServicePort::default()
        }],
        ..Service::default()
    };
    let rule = |host: &str| IngressRule {
        host: Some(host.into()),
        paths: Some(Box::new([IngressPath {
            path: Some("/".into()),
            path_type: Some("Prefix".into()),
            backend: IngressBackend::Service {
                name: "web".into(),
                port: PortRef::Number(80),
            },
            ..IngressPath::default()
        }])),
        ..IngressRule::default()
    };
    let ingress = |name: &str, host: &str, said: &BTreeMap<String, String>| {
        Object::Ingress(Arc::new(Ingress {
            meta: meta(name, said),
            rules: Box::new([rule(host)]),
            ..Ingress::default()
        }))
    };
    let objects = [
        Object::Service(service.into()),
        ingress("web", "a.test", &on_ingress),
        ingress("other", "b.test", &BTreeMap::new()),
    ];
    let mut state = State::compile(Options::default(), objects);
    let table = state.table();
    assert!(
        table.routes().any(|route| route.host.to_string() == "b.test"),
        "another Ingress suffers"
    );
    for diagnostic in state.refresh().iter() {
        assert!(diagnostic.message.len() < 64 << 10, "a diagnostic without end");
    }
});
