//! What may happen in a history, and under which options.

use crate::mirror::Mirror;
use crate::routes;
use crate::world::{self, Rng};
use narthex::testing::compile::Options;
use narthex::testing::dialect::annotations::Ignored;
use narthex::testing::dialect::owners::{self, HostOwners};
use narthex::testing::dialect::{Change, Dialect, Object};
use narthex::testing::model::{Code, Diagnostic, Kind, ObjectRef};
use std::collections::BTreeMap;
use std::sync::Arc;

pub fn options(rng: &mut Rng) -> Options {
    Options {
        class_less: rng.chance(4, 5),
        allow_external_names: rng.chance(1, 2),
        own_addresses: if rng.chance(1, 3) {
            vec!["10.0.0.1:8080".parse().unwrap()]
        } else {
            Vec::new()
        },
        default_certificate: rng.chance(1, 3).then(|| (world::namespace(rng).into(), "s1".into())),
        admin_addresses: if rng.chance(1, 3) {
            vec!["10.0.0.2:8080".parse().unwrap()]
        } else {
            Vec::new()
        },
        local_endpoints: rng.chance(1, 2),
        host_owners: owners(rng),
        zone: rng.chance(1, 2).then(|| "here".into()),
        ssl_redirect: rng.chance(4, 5),
        yield_empty: rng.chance(1, 3).then_some(5),
        ignored_annotations: ignored(rng),
        drop_in: [Dialect::IngressNginx, Dialect::OpenShift]
            .into_iter()
            .filter(|_| rng.chance(1, 2))
            .collect(),
        routes: routes::options(rng),
        ..Options::default()
    }
}

/// Mostly none.
fn ignored(rng: &mut Rng) -> Ignored {
    let patterns = ["*/auth-*", "spec.parameters", "konghq.com/plugins"];
    let given = patterns.into_iter().filter(|_| rng.chance(1, 8)).map(Arc::from);
    Ignored::new(&given.collect::<Vec<_>>())
}

/// Mostly none.
fn owners(rng: &mut Rng) -> HostOwners {
    let given = ["a.example.com", "*.example.com", "example.com", "*"]
        .into_iter()
        .filter_map(|host| {
            let owner = format!("{}={host}", world::namespace(rng));
            rng.chance(1, 6).then(|| owners::parse(&owner).unwrap())
        });
    HostOwners::new(&given.collect::<Vec<_>>())
}

fn broken(object: ObjectRef, rng: &mut Rng) -> Diagnostic {
    Diagnostic::new(
        Code::InvalidObject,
        &object,
        "spec",
        format!("does not fit ({})", rng.below(3)),
    )
}

pub fn change(rng: &mut Rng, mirror: &Mirror) -> Change {
    match rng.below(22) {
        0..11 => Change::Apply(world::object(rng)),
        11..15 => {
            let there: Vec<_> = mirror.objects.keys().chain(mirror.broken.keys()).collect();
            match rng.pick(&there) {
                Some(object) => Change::Delete((*object).clone()),
                None => Change::Delete(world::object(rng).reference()),
            }
        }
        15..17 => relist(rng, mirror),
        17 => Change::Broken(broken(world::object(rng).reference(), rng)),
        18 => Change::Resolved {
            name: "out.example.org".into(),
            addresses: rng.addresses(),
        },
        19 | 20 => Change::Time(world::now(rng)),
        // The same again changes nothing.
        _ => mirror.objects.values().next().map_or_else(
            || Change::Apply(world::object(rng)),
            |object| Change::Apply(object.clone()),
        ),
    }
}

/// A full list of a kind: most objects as they are, some gone, some new or different, some broken.
fn relist(rng: &mut Rng, mirror: &Mirror) -> Change {
    let kind = *rng.pick(&Kind::ALL).unwrap();
    let namespace: Option<Arc<str>> = (kind.namespaced() && rng.chance(1, 3)).then(|| world::namespace(rng).into());
    let belongs =
        |object: &ObjectRef| object.kind == kind && namespace.as_ref().is_none_or(|name| object.namespace == *name);
    let mut objects: BTreeMap<ObjectRef, Object> = mirror
        .objects
        .iter()
        .filter(|(object, _)| belongs(object) && rng.chance(3, 4))
        .map(|(reference, object)| (reference.clone(), object.clone()))
        .collect();
    for _ in 0..rng.below(8) {
        let object = world::object(rng);
        if belongs(&object.reference()) {
            objects.insert(object.reference(), object);
        }
    }
    let mut spoiled = Vec::new();
    objects.retain(|reference, _| {
        let spoil = rng.chance(1, 10);
        if spoil {
            spoiled.push(broken(reference.clone(), rng));
        }
        !spoil
    });
    let mut objects: Vec<Object> = objects.into_values().collect();
    rng.shuffle(&mut objects);
    Change::Replace {
        kind,
        namespace,
        objects,
        broken: spoiled,
    }
}
