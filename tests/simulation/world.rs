//! A small universe of objects, small enough that everything collides with everything.

use narthex::testing::dialect::Object;
use narthex::testing::dialect::ingress::{Ingress, IngressBackend, IngressPath, IngressRule, IngressTls, Resource};
use narthex::testing::model::object::{
    EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Hints, IngressClass, Meta, Namespace, PortRef, Secret,
    Service, ServicePort,
};
use narthex::testing::model::{Kind, Revision, Timestamp};
use std::sync::{Arc, LazyLock};

/// A seeded generator (SplitMix64), so that a seed means the same for ever.
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub fn chance(&mut self, in_favour: usize, of: usize) -> bool {
        self.below(of) < in_favour
    }

    pub fn pick<'t, T>(&mut self, from: &'t [T]) -> Option<&'t T> {
        if from.is_empty() {
            None
        } else {
            from.get(self.below(from.len()))
        }
    }

    pub fn one<T: Clone>(&mut self, from: &[T]) -> T {
        self.pick(from).unwrap().clone()
    }

    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for end in (1..list.len()).rev() {
            list.swap(end, self.below(end + 1));
        }
    }

    pub fn addresses(&mut self) -> Vec<std::net::IpAddr> {
        let all = ["203.0.113.7", "2001:db8::7", "127.0.0.1"];
        (0..self.below(3)).map(|_| self.one(&all).parse().unwrap()).collect()
    }
}

const HOSTS: &[&str] = &[
    "a.example.com",
    "A.example.com.",
    "b.example.com",
    "*.example.com",
    "",
    "example.com",
    "bad..host",
];
const PATHS: &[&str] = &["/", "/x", "/x/", "/x//", "/x/y", "/x//y", "/z/*", "relative", ""];
const KINDS: &[&str] = &["Exact", "Prefix", "ImplementationSpecific", "Odd"];
/// Hosts of tls entries: those of rules, and others that certificates are for.
const TLS_HOSTS: &[&str] = &[
    "a.example.com",
    "b.example.com",
    "*.example.com",
    "example.com",
    "Shared.example.com",
    "c.example.org",
    "*",
];
/// Certificate and key by their files in tests/data/tls; the last three make none.
pub const CERTIFICATES: &[(&str, &str)] = &[
    ("a-ecdsa", "a-ecdsa"),
    ("b-ecdsa", "b-ecdsa"),
    ("wildcard", "wildcard"),
    ("a-rsa", "a-rsa"),
    ("expired", "expired"),
    ("future", "future"),
    ("nameless", "nameless"),
    ("a-ecdsa", "b-ecdsa"),
    ("wildcard", ""),
    ("", ""),
];
const GOOD: usize = 7;
const SERVICES: &[&str] = &["one", "two", "three", ""];

pub fn namespace(rng: &mut Rng) -> &'static str {
    rng.one(&["n", "m"])
}

pub fn meta(rng: &mut Rng, names: &[&str]) -> Meta {
    Meta {
        namespace: namespace(rng).into(),
        name: rng.one(names).into(),
        created: rng.one(&[Timestamp(1), Timestamp(2), Timestamp::UNKNOWN]),
        deleting: rng.chance(1, 8),
        ..Meta::default()
    }
}

/// Gives an object one more annotation.
pub fn annotate(meta: &mut Meta, key: &str, value: &str) {
    meta.annotations = meta.annotations.iter().chain([(key, value)]).collect();
}

fn backend(rng: &mut Rng) -> IngressBackend {
    match rng.below(20) {
        0 => IngressBackend::Missing,
        1 => IngressBackend::Resource(Box::new(Resource {
            kind: "k8s.example.com/Bucket".to_owned(),
            name: "b".to_owned(),
        })),
        _ => IngressBackend::Service {
            name: rng.one(SERVICES).into(),
            port: match rng.below(8) {
                0 => PortRef::Missing,
                1 => PortRef::Number(0),
                2 => PortRef::Number(81),
                3 | 4 => PortRef::Name("http".into()),
                _ => PortRef::Number(80),
            },
        },
    }
}

/// Certificate and key.
pub type Pair = (Option<Arc<[u8]>>, Option<Arc<[u8]>>);

/// What a Secret holds, by place in [`CERTIFICATES`].
pub fn pem(place: usize) -> Pair {
    static READ: LazyLock<Vec<Pair>> = LazyLock::new(|| {
        let read = |stem: &str, ending: &str| {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tls");
            (!stem.is_empty()).then(|| std::fs::read(format!("{folder}/{stem}.{ending}")).unwrap().into())
        };
        let both = CERTIFICATES.iter();
        both.map(|(certificate, key)| (read(certificate, "crt"), read(key, "key")))
            .collect()
    });
    READ[place].clone()
}

/// Whether a Secret holds authorities.
pub fn has_authorities(secret: &Secret) -> bool {
    secret.ca.is_some() && (0..2).any(|place| secret.ca == authorities(place))
}

/// Two that are, one that is none, and none.
fn authorities(place: usize) -> Option<Arc<[u8]>> {
    match place {
        0 => pem(3).0,
        1 => pem(1).0,
        2 => pem(3).1,
        _ => None,
    }
}

/// Annotations about TLS to pods.
fn backend_tls(rng: &mut Rng, meta: &mut Meta) {
    for (key, values) in [
        ("narthex.io/backend-protocol", &["HTTPS", "GRPCS", "GRPC", "SPDY"][..]),
        ("narthex.io/backend-ca-secret", &["s1", "s2", "s4", "S!"]),
        ("narthex.io/backend-client-secret", &["s1", "s3", "s4"]),
        ("narthex.io/backend-server-name", &["api.example", "10.0.0.1"]),
        ("narthex.io/backend-verify", &["false", "true"]),
    ] {
        if rng.chance(1, 4) {
            annotate(meta, key, rng.one(values));
        }
    }
}

/// Whether a Secret holds a certificate.
pub fn is_good(secret: &Secret) -> bool {
    (0..GOOD).any(|place| pem(place) == (secret.certificate.clone(), secret.key.clone()))
}

fn secret(rng: &mut Rng) -> Object {
    let (certificate, key) = pem(rng.below(CERTIFICATES.len()));
    Object::Secret(
        Secret {
            meta: meta(rng, &["s1", "s2", "s3"]),
            kind: None,
            certificate,
            key,
            ca: authorities(rng.below(4)),
            revoked: rng.chance(1, 8).then(|| Arc::from(&b"odd"[..])),
            others: Box::default(),
        }
        .into(),
    )
}

fn tls(rng: &mut Rng) -> Box<[IngressTls]> {
    let entries = rng.below(3);
    (0..entries)
        .map(|_| IngressTls {
            hosts: (0..rng.below(4)).map(|_| rng.one(TLS_HOSTS).into()).collect(),
            secret: rng
                .one(&[Some("s1"), Some("s2"), Some("s3"), Some("s4"), None])
                .map(Into::into),
        })
        .collect()
}

/// A moment before, between or after those at which certificates begin and end, or exactly one of them.
pub fn now(rng: &mut Rng) -> Timestamp {
    const END: i64 = 1_767_323_040;
    Timestamp(rng.one(&[0, END - 86400, END, END + 1, 1_893_456_000, 2_000_000_000, i64::MAX]))
}

/// Guards that narthex does not enforce, some of them off.
fn guards(rng: &mut Rng, meta: &mut Meta) {
    for (key, values) in [
        ("nginx.ingress.kubernetes.io/auth-url", &["http://auth", ""][..]),
        ("nginx.ingress.kubernetes.io/auth-tls-secret", &["ca", "s1", "s2"]),
        ("nginx.ingress.kubernetes.io/auth-tls-verify-client", &["on", "off"]),
        ("nginx.ingress.kubernetes.io/server-snippet", &["deny all;", ""]),
        ("konghq.com/plugins", &["key-auth", "[]"]),
        ("narthex.io/rate-limit", &["5", "off"]),
        ("nginx.ingress.kubernetes.io/use-regex", &["true"]),
    ] {
        if rng.chance(1, 5) {
            annotate(meta, key, rng.one(values));
        }
    }
}

fn ingress(rng: &mut Rng) -> Object {
    let mut meta = meta(rng, &["i1", "i2", "i3", "i4"]);
    if rng.chance(1, 4) {
        guards(rng, &mut meta);
    }
    for (key, values) in [
        ("narthex.io/merge-slashes", &["false", "true", "odd"][..]),
        ("narthex.io/ssl-redirect", &["false", "true", "odd"]),
        ("narthex.io/hsts", &["max-age=1", "off", "odd"]),
        ("narthex.io/client-ca-secret", &["s1", "s2", "s4", "S!"]),
        ("narthex.io/client-verify", &["optional", "odd"]),
        ("kubernetes.io/ingress.class", &["ours", "theirs"]),
        ("nginx.ingress.kubernetes.io/rewrite-target", &["/"]),
        ("nginx.ingress.kubernetes.io/canary", &["true", "false"]),
        ("nginx.ingress.kubernetes.io/canary-weight", &["10", "100", "odd"]),
        ("nginx.ingress.kubernetes.io/canary-by-header", &["x-canary"]),
        ("nginx.ingress.kubernetes.io/load-balance", &["ewma"]),
        ("nginx.ingress.kubernetes.io/service-upstream", &["true"]),
        ("nginx.ingress.kubernetes.io/default-backend", &["one", "two"]),
        ("nginx.ingress.kubernetes.io/app-root", &["/app", "app"]),
        ("nginx.ingress.kubernetes.io/from-to-www-redirect", &["true", "odd"]),
        (
            "nginx.ingress.kubernetes.io/server-alias",
            &[
                "c.example.com",
                "b.example.com, *.example.org",
                "~^re[0-9]\\.example",
                "~(",
                "www.a.example.com",
            ],
        ),
        ("narthex.io/backend-protocol", &["HTTP", "GRPC", "GRP"]),
    ] {
        if rng.chance(1, 8) {
            annotate(&mut meta, key, rng.one(values));
        }
    }
    if rng.chance(1, 3) {
        backend_tls(rng, &mut meta);
    }
    let rules = (0..rng.below(4)).map(|_| IngressRule {
        host: Some(rng.one(HOSTS).into()),
        paths: rng.chance(5, 6).then(|| {
            (0..rng.below(4))
                .map(|_| IngressPath {
                    path: Some(rng.one(PATHS).into()),
                    path_type: rng.chance(7, 8).then(|| rng.one(KINDS).into()),
                    backend: backend(rng),
                    ..IngressPath::default()
                })
                .collect()
        }),
        ..IngressRule::default()
    });
    let rules = rules.collect();
    Object::Ingress(
        Ingress {
            meta,
            class: rng.chance(1, 3).then(|| {
                rng.one(&["narthex", "ours", "theirs", "gone", "", "nginx", "nginx", "nginx"])
                    .into()
            }),
            default_backend: rng.chance(1, 2).then(|| Box::new(backend(rng))),
            rules,
            tls: tls(rng),
            legacy: rng.chance(1, 4),
            revision: Revision {
                uid: rng.one(&["a", "b"]).into(),
                generation: rng.one(&[1, 2]),
            },
        }
        .into(),
    )
}

fn service(rng: &mut Rng) -> Object {
    let port = |name: &str, number, protocol: Option<&str>| ServicePort {
        name: name.into(),
        port: number,
        target: Some(8080),
        protocol: protocol.map(str::to_owned),
        app_protocol: None,
    };
    let mut ports = match rng.below(5) {
        0 => Vec::new(),
        1 => vec![port("", 80, None)],
        2 => vec![port("dns", 81, Some("UDP")), port("http", 80, None)],
        _ => vec![port("http", 80, Some("TCP")), port("more", 81, None)],
    };
    if rng.chance(1, 8)
        && let Some(first) = ports.first_mut()
    {
        first.app_protocol = Some("kubernetes.io/h2c".to_owned());
    }
    let mut meta = meta(rng, &["one", "two", "three"]);
    backend_tls(rng, &mut meta);
    if rng.chance(1, 6) {
        guards(rng, &mut meta);
    }
    Object::Service(
        Service {
            meta,
            external_name: rng
                .chance(1, 8)
                .then(|| rng.one(&["out.example.org", "other.example.org"]).to_owned()),
            ports,
            ipv6_first: rng.chance(1, 3),
            cluster_ip: rng.chance(1, 2).then(|| "10.96.0.7".parse().unwrap()),
        }
        .into(),
    )
}

fn endpoints(rng: &mut Rng) -> Object {
    let slice = rng.chance(3, 4);
    let meta = meta(
        rng,
        if slice {
            &["s1", "s2", "s3"]
        } else {
            &["one", "two", "three"]
        },
    );
    let service: Option<Arc<str>> = if slice {
        rng.chance(7, 8).then(|| rng.one(&["one", "two", "three"]).into())
    } else {
        Some(meta.name.clone())
    };
    let condition = |rng: &mut Rng| rng.one(&[None, Some(true), Some(false)]);
    let subsets = (0..1 + rng.below(2)).map(|_| EndpointSubset {
        ports: (0..rng.below(3))
            .map(|_| EndpointPort {
                name: rng.one(&["", "http", "more"]).into(),
                port: rng.one(&[Some(8080), Some(9090), None, Some(0)]),
                protocol: rng.one(&[None, Some("TCP".to_owned()), Some("UDP".to_owned())]),
            })
            .collect(),
        endpoints: (0..rng.below(4))
            .map(|_| {
                let uid = rng.one(&[None, Some("u1"), Some("u2")]);
                EndpointAddress {
                    addresses: vec![rng.one(&["10.0.0.1", "10.0.0.2", "2001:db8::1", "odd"]).to_owned()],
                    ready: condition(rng),
                    serving: condition(rng),
                    terminating: condition(rng),
                    pod: uid.map(Arc::from),
                    uid: uid.map(Arc::from),
                    node: None,
                    zone: None,
                    hints: rng.chance(3, 4).then(|| {
                        let zone = rng.one(&["here", "there"]).to_string();
                        Arc::new(Hints {
                            nodes: Vec::new(),
                            zones: vec![zone.as_str().into()],
                        })
                    }),
                }
            })
            .collect(),
    });
    let subsets = subsets.collect();
    Object::Endpoints(
        Endpoints {
            meta,
            kind: if slice { Kind::EndpointSlice } else { Kind::Endpoints },
            service,
            subsets,
            unsupported_type: (slice && rng.chance(1, 10)).then(|| "FQDN".to_owned()),
        }
        .into(),
    )
}

/// Any object of the universe.
pub fn object(rng: &mut Rng) -> Object {
    match rng.below(27) {
        24.. => crate::routes::route(rng),
        22 | 23 => {
            let mut meta = meta(rng, &["n", "m"]);
            meta.namespace = "".into();
            meta.deleting = rng.chance(1, 2);
            Object::Namespace(
                Namespace {
                    meta,
                    ..Namespace::default()
                }
                .into(),
            )
        }
        0..7 => ingress(rng),
        7..10 => service(rng),
        10..14 => endpoints(rng),
        14 => {
            let mut meta = meta(rng, &["ours", "theirs", "narthex"]);
            meta.namespace = "".into();
            let controller = rng
                .one(&[narthex::testing::compile::CONTROLLER, "k8s.io/other"])
                .to_owned();
            if rng.chance(1, 4) {
                guards(rng, &mut meta);
            }
            let class = IngressClass {
                meta,
                controller,
                parameters: rng.chance(1, 4).then(|| "Parameters \"p\"".to_owned()),
            };
            Object::IngressClass(class.into())
        }
        _ => secret(rng),
    }
}

pub fn request_host(rng: &mut Rng) -> Option<String> {
    rng.one(&[
        None,
        Some("a.example.com"),
        Some("b.example.com"),
        Some("c.example.com"),
        Some("example.com"),
    ])
    .map(str::to_owned)
}

pub fn request_path(rng: &mut Rng) -> String {
    rng.one(&["/", "/x", "/x/", "/x/y", "/x//y", "/z/*", "/none"])
        .to_owned()
}
