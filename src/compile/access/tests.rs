//! Whatever objects come in whatever order: no route that asks for a guard forwards without it.

use crate::compile::{Options, State};
use crate::dialect::ingress::{Ingress, IngressBackend, IngressPath, IngressRule};
use crate::dialect::{Change, Dialect, Object};
use crate::model::object::{Meta, PortRef, Secret, Service, ServicePort};
use crate::model::{Annotations, Kind, ObjectRef, Revision, Timestamp};
use crate::table::{Access, At, BackendState, Before, Policies, Satisfy, Users};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

const PREFIX: &str = "nginx.ingress.kubernetes.io/";

/// Annotations that guard, with values that can be read and values that cannot.
const GUARDS: &[(&str, &[&str], &[&str])] = &[
    ("auth-type", &["basic", "digest"], &["ldap", "Basic"]),
    ("auth-secret", &["s0", "s1", "s2", "n/s0"], &["other/s0", "s 0", "/"]),
    ("auth-secret-type", &["auth-file", "auth-map"], &["file"]),
    ("auth-realm", &["Staff", ""], &["a\"b", "a\r\nb", "\0"]),
    (
        "auth-url",
        &[
            "http://auth.n.svc/",
            "https://auth.n.svc.cluster.local:8443/v?u=$uri",
            "http://auth.example.com/",
            "http://$host/x",
        ],
        &[
            "auth",
            "ftp://a/",
            "http://$http_x/",
            "http:///",
            "http://a b/",
            "http://a/$unknown",
            "http://a.b.c.svc/",
        ],
    ),
    ("auth-method", &["GET", "POST"], &["get", "TRACE", "G T"]),
    (
        "auth-response-headers",
        &["X-User", "X-User,Authorization", ""],
        &["X User", "Host", "a\r\nb"],
    ),
    ("satisfy", &["all", "any"], &["some"]),
    (
        "whitelist-source-range",
        &["10.0.0.0/8", "10.0.0.0/8,::1"],
        &["10.0.0.0/33", "", "office"],
    ),
    ("denylist-source-range", &["10.0.0.0/8"], &["10.0.0.0/8;", ","]),
    ("limit-rate", &["5"], &["fast"]),
    ("auth-snippet", &["proxy_set_header X-A b;"], &["deny all;"]),
    ("limit-rps", &["5"], &["five", "-1", ""]),
    ("limit-connections", &["5"], &["many", "1.5"]),
    ("limit-whitelist", &["10.0.0.0/8"], &["x"]),
];

/// Annotations that narthex does not act on, and that guard.
const NOT_ENFORCED: &[(&str, &str)] = &[
    ("server-snippet", "deny all;"),
    ("enable-modsecurity", "true"),
    ("modsecurity-snippet", "x"),
];

type Entries = &'static [(&'static str, &'static str)];

/// What a Secret may hold, and whether somebody can sign in by it: with a password as a file, with one as a map, with a
/// digest as a file, with one as a map.
const SECRETS: &[(Entries, [bool; 4])] = &[
    (&[("auth", "ann:{PLAIN}p\n")], [true, false, false, false]),
    (&[("auth", "ann:{PLAIN}p\nbob\n")], [true, false, false, false]),
    (&[("auth", "no colon")], [false; 4]),
    (
        &[("auth", "ann:Staff:939e7578ed9e3c518a452acee763bce9\n")],
        [false, false, true, false],
    ),
    (
        &[(
            "auth",
            "ann:Other:939e7578ed9e3c518a452acee763bce9\nann:Third:939e7578ed9e3c518a452acee763bce9",
        )],
        [false; 4],
    ),
    (
        &[("ann", "Staff:939e7578ed9e3c518a452acee763bce9")],
        [false, false, false, true],
    ),
    (
        &[(
            "auth",
            "ann:$2y$31$WqmhP2z1sbD8E2gLRTCcHOSqgZ6JBDFd3nmCmCCcVfmTfjd8QFbPu",
        )],
        [false; 4],
    ),
    (&[("ann", "{PLAIN}p"), ("bob", "x")], [false, true, false, false]),
    (&[("auth", "{PLAIN}ann:p")], [false, true, false, false]),
    (&[], [false; 4]),
];

const NAMES: &[&str] = &["i0", "i1", "i2"];
const HOSTS: &[&str] = &["a.test", "b.test"];

/// What there is, beside the compiler.
#[derive(Default)]
struct World {
    ingresses: BTreeMap<usize, Vec<(String, String)>>,
    /// By number: what each holds.
    secrets: BTreeMap<usize, usize>,
}

impl World {
    /// Whether an Ingress asks for something that cannot be enforced as things are.
    fn is_broken(&self, annotations: &[(String, String)]) -> bool {
        let value = |name: &str| {
            let mut all = annotations.iter();
            all.find(|(other, _)| other == name).map(|(_, value)| value.as_str())
        };
        let unreadable = annotations.iter().any(|(name, value)| {
            GUARDS
                .iter()
                .any(|(known, _, bad)| known == name && bad.contains(&value.as_str()))
                || NOT_ENFORCED.iter().any(|(known, _)| known == name)
        });
        let users = || {
            let name = value("auth-secret")?.trim_start_matches("n/");
            let number: usize = name.strip_prefix('s')?.parse().ok()?;
            let (_, fits) = SECRETS[*self.secrets.get(&number)?];
            let is_map = value("auth-secret-type") == Some("auth-map");
            let is_digest = value("auth-type") == Some("digest");
            fits[usize::from(is_map) + 2 * usize::from(is_digest)].then_some(())
        };
        // What names users without saying how they sign in closes too.
        let wanted = value("auth-type").is_some() || value("auth-secret").is_some();
        unreadable || value("auth-type").is_some() != value("auth-secret").is_some() || (wanted && users().is_none())
    }
}

fn name_of(number: usize) -> String {
    format!("s{number}")
}

fn secret(number: usize, holds: usize) -> Object {
    let entries = SECRETS[holds].0.iter();
    Object::Secret(Arc::new(Secret {
        meta: meta(&name_of(number)),
        kind: Some("Opaque".to_owned()),
        others: entries
            .map(|(name, text)| (Arc::from(*name), text.as_bytes().into()))
            .collect(),
        ..Secret::default()
    }))
}

fn meta(name: &str) -> Meta {
    Meta {
        namespace: "n".into(),
        name: name.into(),
        created: Timestamp(1),
        ..Meta::default()
    }
}

fn ingress(name: &str, host: &str, annotations: &[(String, String)]) -> Object {
    let named = |(name, value): &(String, String)| (format!("{PREFIX}{name}"), value.clone());
    let path = |path: &str| IngressPath {
        path: Some(path.into()),
        path_type: Some("Prefix".into()),
        backend: IngressBackend::Service {
            name: "web".into(),
            port: PortRef::Number(80),
        },
        unclear: false,
    };
    Object::Ingress(Arc::new(Ingress {
        meta: Meta {
            annotations: Annotations::from_iter(annotations.iter().map(named)),
            ..meta(name)
        },
        revision: Revision {
            uid: name.into(),
            generation: 1,
        },
        class: Some("nginx".into()),
        rules: [IngressRule {
            host: Some(host.into()),
            paths: Some([path("/"), path("/x")].into()),
            unclear: false,
        }]
        .into(),
        ..Ingress::default()
    }))
}

fn service(name: &str) -> Object {
    Object::Service(Arc::new(Service {
        meta: meta(name),
        ports: vec![ServicePort {
            port: 80,
            ..ServicePort::default()
        }],
        ..Service::default()
    }))
}

fn annotations(rng: &mut fastrand::Rng) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (name, good, bad) in GUARDS {
        let values = match rng.u8(..12) {
            0..3 => good,
            3 => bad,
            _ => continue,
        };
        all.push(((*name).to_owned(), values[rng.usize(..values.len())].to_owned()));
    }
    if rng.u8(..20) == 0 {
        let (name, value) = NOT_ENFORCED[rng.usize(..NOT_ENFORCED.len())];
        all.push((name.to_owned(), value.to_owned()));
    }
    all
}

/// Whether the steps of a route do all that its annotations ask for.
fn guards_all(policies: &Policies, annotations: &[(String, String)]) -> Result<(), String> {
    let value = |name: &str| {
        let mut all = annotations.iter();
        all.find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    };
    let steps = &policies.before;
    let access: Option<&Arc<Access>> = steps.iter().find_map(|step| match step {
        Before::Access(access) => Some(access),
        _ => None,
    });
    let wants_basic = value("auth-type") == Some("basic");
    let wants_digest = value("auth-type") == Some("digest");
    let wants_external = value("auth-url").is_some();
    let any = value("satisfy") == Some("any") && (wants_basic || wants_digest || wants_external);
    let lists = value("whitelist-source-range").is_some() || value("denylist-source-range").is_some();
    let has = |found: bool, what: &str| {
        if found {
            Ok(())
        } else {
            Err(format!("no step for {what}"))
        }
    };
    has(
        !wants_basic || access.is_some_and(|access| access.basic.is_some()),
        "auth-type",
    )?;
    has(
        !wants_digest || access.is_some_and(|access| access.digest.is_some()),
        "auth-type",
    )?;
    has(
        !wants_external || access.is_some_and(|access| access.external.is_some()),
        "auth-url",
    )?;
    let in_access = access.is_some_and(|access| matches!(access.satisfy, Satisfy::Any(Some(_))));
    let alone = steps.iter().any(|step| matches!(step, Before::Addresses(_)));
    has(!lists || (if any { in_access } else { alone }), "addresses")?;
    has(
        any || access.is_none_or(|access| access.satisfy == Satisfy::All),
        "satisfy",
    )?;
    let rates = steps.iter().any(|step| matches!(step, Before::Rates(_)));
    has(value("limit-rps").is_none() || rates, "limit-rps")?;
    let connections = steps.iter().any(|step| matches!(step, Before::Connections(_)));
    has(value("limit-connections").is_none() || connections, "limit-connections")
}

fn history(seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut state = State::new(Options {
        drop_in: vec![Dialect::IngressNginx],
        ..Options::default()
    });
    let mut world = World::default();
    for name in ["web", "auth"] {
        if rng.bool() {
            state.apply(Change::Apply(service(name)));
        }
    }
    for step in 0..40 {
        let change = match rng.u8(..10) {
            0..4 => {
                let which = rng.usize(..NAMES.len());
                let asked = annotations(&mut rng);
                let host = HOSTS[rng.usize(..HOSTS.len())];
                world.ingresses.insert(which, asked.clone());
                Change::Apply(ingress(NAMES[which], host, &asked))
            }
            4 => {
                let which = rng.usize(..NAMES.len());
                world.ingresses.remove(&which);
                Change::Delete(ObjectRef::new(Kind::Ingress, "n", NAMES[which]))
            }
            5..8 => {
                let (number, holds) = (rng.usize(..3), rng.usize(..SECRETS.len()));
                world.secrets.insert(number, holds);
                Change::Apply(secret(number, holds))
            }
            8 => {
                let number = rng.usize(..3);
                world.secrets.remove(&number);
                Change::Delete(ObjectRef::new(Kind::Secret, "n", name_of(number).as_str()))
            }
            _ => match rng.bool() {
                true => Change::Apply(service("auth")),
                false => Change::Delete(ObjectRef::new(Kind::Service, "n", "auth")),
            },
        };
        state.apply(change);
        let table = state.table();
        for route in table.routes() {
            let which = NAMES
                .iter()
                .position(|name| *name == &*route.origin.object.name)
                .unwrap();
            let asked = &world.ingresses[&which];
            let closed = route.policies.guard.is_some();
            if world.is_broken(asked) {
                assert!(
                    closed,
                    "seed {seed}, step {step}: {} is open: {asked:?}",
                    route.describe()
                );
            } else {
                assert!(
                    !closed,
                    "seed {seed}, step {step}: {} is closed: {asked:?}",
                    route.describe()
                );
                if let Err(why) = guards_all(&route.policies, asked) {
                    panic!("seed {seed}, step {step}: {}: {why}: {asked:?}", route.describe());
                }
            }
        }
    }
    // Nothing stays of what was asked for.
    for name in NAMES {
        state.apply(Change::Delete(ObjectRef::new(Kind::Ingress, "n", *name)));
    }
    assert!(state.outside.is_empty() && state.wanted_secrets().is_empty() && state.external_names().is_empty());
    assert!(state.backends.is_empty());
}

#[test]
fn no_route_with_a_guard_that_did_not_compile_forwards() {
    for seed in 0..400 {
        history(seed);
    }
}

/// A state with one Ingress whose auth-url this is.
fn asking(url: &str) -> State {
    let mut state = State::new(Options {
        drop_in: vec![Dialect::IngressNginx],
        ..Options::default()
    });
    let asked = [("auth-url".to_owned(), url.to_owned())];
    state.apply(Change::Apply(ingress("i0", "a.test", &asked)));
    state
}

/// Where the service that is asked is.
fn asked_at(state: &mut State) -> (BackendState, Vec<String>) {
    let table = state.table();
    let route = table.routes().next().unwrap();
    let at = route.policies.before.iter().find_map(|step| match step {
        Before::Access(access) => access.external.as_ref().map(|external| external.at.clone()),
        _ => None,
    });
    let Some(At::Backend(id, _)) = at else {
        panic!("{:?}", route.policies);
    };
    let backend = table.backend(id).unwrap();
    let endpoints = backend.endpoints.iter().map(|endpoint| endpoint.address.to_string());
    (backend.state, endpoints.collect())
}

#[test]
fn hosts_outside_of_the_cluster_are_resolved_and_guarded() {
    let mut state = asking("http://auth.example.com:8443/verify");
    assert_eq!(
        state.external_names().into_iter().collect::<Vec<_>>(),
        [Arc::from("auth.example.com")]
    );
    assert_eq!(asked_at(&mut state).0, BackendState::ExternalNameUnresolved);
    let addresses: Vec<IpAddr> = ["203.0.113.7", "127.0.0.1", "169.254.169.254", "::1"]
        .iter()
        .map(|text| text.parse().unwrap())
        .collect();
    let name: Arc<str> = "auth.example.com".into();
    state.apply(Change::Resolved {
        name: name.clone(),
        addresses,
    });
    assert_eq!(
        asked_at(&mut state),
        (BackendState::Ready, vec!["203.0.113.7:8443".to_owned()])
    );
    state.apply(Change::Resolved {
        name,
        addresses: vec!["127.0.0.1".parse().unwrap()],
    });
    assert_eq!(asked_at(&mut state), (BackendState::ExternalNameUnresolved, vec![]));
    // An address needs nobody to resolve it, but is guarded in the same way.
    for (url, found) in [
        ("http://203.0.113.7/", vec!["203.0.113.7:80".to_owned()]),
        ("http://[2001:db8::7]:81/", vec!["[2001:db8::7]:81".to_owned()]),
        ("http://127.0.0.1/", vec![]),
        ("http://169.254.169.254/", vec![]),
        ("http://[::ffff:127.0.0.1]/", vec![]),
    ] {
        let mut state = asking(url);
        assert!(state.external_names().is_empty(), "{url}");
        assert_eq!(asked_at(&mut state).1, found, "{url}");
    }
}

#[test]
fn a_service_of_the_cluster_is_a_backend_like_any_other() {
    let mut state = asking("http://auth.n.svc.cluster.local:80/verify");
    assert_eq!(asked_at(&mut state).0, BackendState::ServiceNotFound);
    state.apply(Change::Apply(service("auth")));
    assert_eq!(asked_at(&mut state).0, BackendState::NoEndpoints);
    assert!(state.external_names().is_empty());
}

#[test]
fn a_secret_is_watched_only_while_somebody_names_it() {
    let asked = |secret: &str| {
        vec![
            ("auth-type".to_owned(), "basic".to_owned()),
            ("auth-secret".to_owned(), secret.to_owned()),
        ]
    };
    let mut state = State::new(Options {
        drop_in: vec![Dialect::IngressNginx],
        ..Options::default()
    });
    let wanted = |state: &State| {
        state
            .wanted_secrets()
            .into_iter()
            .map(|(_, name)| name)
            .collect::<Vec<_>>()
    };
    assert!(wanted(&state).is_empty());
    state.apply(Change::Apply(ingress("i0", "a.test", &asked("s0"))));
    assert_eq!(wanted(&state), [Arc::from("s0")]);
    state.apply(Change::Apply(ingress("i0", "a.test", &asked("s1"))));
    assert_eq!(wanted(&state), [Arc::from("s1")]);
    state.apply(Change::Delete(ObjectRef::new(Kind::Ingress, "n", "i0")));
    assert!(wanted(&state).is_empty());
    assert!(Users::of_file(b"a:{PLAIN}b").users.is_some());
}
