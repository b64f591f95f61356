//! Routes of OpenShift, which collide with each other and with the Ingresses of the world.

use crate::world::{self, Rng};
use narthex::testing::dialect::Object;
use narthex::testing::dialect::openshift::{Route, RouteOptions, RouteTarget, RouteTls, TargetPort};
use narthex::testing::model::Revision;

const HOSTS: &[&str] = &["a.example.com", "b.example.com", "www.example.com", "", "bad..host"];
const PATHS: &[&str] = &["", "/", "/x", "/x/", "/x/y", "relative"];

pub fn options(rng: &mut Rng) -> RouteOptions {
    RouteOptions {
        domain: rng.chance(1, 2).then(|| "example.com".into()),
        wildcards: rng.chance(1, 2),
        any_namespace: rng.chance(1, 3),
        ..RouteOptions::default()
    }
}

fn tls(rng: &mut Rng) -> RouteTls {
    let text = |bytes: Option<std::sync::Arc<[u8]>>| {
        bytes
            .map(|bytes| String::from_utf8_lossy(&bytes).into())
            .unwrap_or_default()
    };
    let (certificate, key) = match rng.below(3) {
        0 => world::pem(rng.below(world::CERTIFICATES.len())),
        _ => (None, None),
    };
    RouteTls {
        termination: rng.one(&["edge", "edge", "reencrypt", "passthrough", "odd"]).into(),
        certificate: text(certificate),
        key: text(key),
        external_certificate: rng.one(&["", "", "s1", "s4"]).into(),
        insecure_policy: rng.one(&["", "None", "Allow", "Redirect", "odd"]).into(),
        ..RouteTls::default()
    }
}

pub fn route(rng: &mut Rng) -> Object {
    let mut meta = world::meta(rng, &["r1", "r2", "r3"]);
    for (name, values) in [
        ("haproxy.router.openshift.io/ip_allowlist", &["10.0.0.0/8", "odd"][..]),
        ("haproxy.router.openshift.io/rewrite-target", &["/", "/new"]),
        ("haproxy.router.openshift.io/pod-concurrent-connections", &["1", "odd"]),
        ("haproxy.router.openshift.io/disable_cookies", &["true"]),
        ("nginx.ingress.kubernetes.io/auth-url", &["http://auth"]),
        ("konghq.com/plugins", &["key-auth"]),
    ] {
        if rng.chance(1, 8) {
            world::annotate(&mut meta, name, rng.one(values));
        }
    }
    let targets = (0..1 + rng.below(3)).map(|_| RouteTarget {
        kind: rng.chance(1, 12).then(|| "Deployment".into()),
        name: rng.one(&["one", "two", "three", ""]).into(),
        weight: rng.one(&[None, None, Some(0), Some(20), Some(256), Some(257)]),
    });
    let targets = targets.collect();
    Object::Route(
        Route {
            meta,
            revision: Revision {
                uid: rng.one(&["0a", "0b", "0c"]).into(),
                generation: rng.one(&[1, 2]),
            },
            host: rng.one(HOSTS).into(),
            subdomain: rng.one(&["", "", "b"]).into(),
            path: rng.one(PATHS).into(),
            targets,
            port: rng.one(&[
                None,
                Some(TargetPort::Number(8080)),
                Some(TargetPort::Number(1)),
                Some(TargetPort::Name("http".into())),
            ]),
            tls: rng.chance(1, 2).then(|| Box::new(tls(rng))),
            wildcard_policy: rng.one(&["", "None", "None", "Subdomain"]).into(),
            ..Route::default()
        }
        .into(),
    )
}
