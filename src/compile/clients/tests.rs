//! Whatever objects come in whatever order: a host whose clients are to be verified serves nobody else, and none at all
//! while what verifies them is missing.

use crate::compile::{Options, State};
use crate::dialect::ingress::{Ingress, IngressBackend, IngressPath, IngressRule};
use crate::dialect::{Change, Object};
use crate::message::Fields;
use crate::model::object::{Meta, PortRef, Secret, Service, ServicePort};
use crate::model::{Annotations, Kind, ObjectRef, Revision, Timestamp};
use crate::table::decide::{Ask, Outcome, Refusal, Rules, Subject, decide};
use crate::table::{ListenerId, Presented, Table, TlsProfile};
use http::{Method, Version};
use std::collections::BTreeMap;
use std::sync::Arc;

const NAMES: &[&str] = &["i0", "i1", "i2", "i3"];
const NAMESPACES: &[&str] = &["m", "n"];
const HOSTS: &[&str] = &["a.test", "b.test"];

/// What an Ingress says of its clients.
const SAYS: &[&[(&str, &str)]] = &[
    &[],
    &[("client-ca-secret", "s0")],
    &[("client-ca-secret", "s1")],
    &[("client-ca-secret", "s0"), ("client-verify", "never")],
    &[("client-ca-secret", "S!")],
    &[("client-verify", "required")],
];

/// What a Secret holds.
#[derive(Clone, Copy, PartialEq)]
enum Holds {
    Authority,
    Nonsense,
    BadList,
    Nothing,
}

fn pem() -> Arc<[u8]> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tls");
    std::fs::read(format!("{folder}/clients-ca.crt")).unwrap().into()
}

fn meta(namespace: &str, name: &str) -> Meta {
    Meta {
        namespace: namespace.into(),
        name: name.into(),
        created: Timestamp(1),
        ..Meta::default()
    }
}

fn secret(namespace: &str, name: &str, holds: Holds) -> Object {
    let text = |text: &[u8]| Some(Arc::<[u8]>::from(text));
    let (ca, revoked) = match holds {
        Holds::Authority => (Some(pem()), None),
        Holds::Nonsense => (text(b"x"), None),
        Holds::BadList => (Some(pem()), text(b"x")),
        Holds::Nothing => (None, None),
    };
    Object::Secret(Arc::new(Secret {
        meta: meta(namespace, name),
        ca,
        revoked,
        ..Secret::default()
    }))
}

fn service(namespace: &str) -> Object {
    Object::Service(Arc::new(Service {
        meta: meta(namespace, "web"),
        ports: vec![ServicePort {
            port: 80,
            ..ServicePort::default()
        }],
        ..Service::default()
    }))
}

fn ingress((namespace, name): (&str, &str), host: &str, says: &[(&str, &str)]) -> Object {
    let named = |(name, value): &(&str, &str)| (format!("narthex.io/{name}"), (*value).to_owned());
    let path = IngressPath {
        // Each has a path of its own, so that none loses it to another.
        path: Some(format!("/{namespace}/{name}").into()),
        path_type: Some("Prefix".into()),
        backend: IngressBackend::Service {
            name: "web".into(),
            port: PortRef::Number(80),
        },
        unclear: false,
    };
    Object::Ingress(Arc::new(Ingress {
        meta: Meta {
            annotations: Annotations::from_iter(says.iter().map(named)),
            ..meta(namespace, name)
        },
        revision: Revision {
            uid: name.into(),
            generation: 1,
        },
        class: Some("narthex".into()),
        rules: [IngressRule {
            host: Some(host.into()),
            paths: Some([path].into()),
            unclear: false,
        }]
        .into(),
        ..Ingress::default()
    }))
}

/// Namespace and name.
type Named = (&'static str, &'static str);

#[derive(Default)]
struct World {
    /// The host of each, and what it says, by its place in [`SAYS`].
    ingresses: BTreeMap<Named, (&'static str, usize)>,
    secrets: BTreeMap<Named, Holds>,
}

/// What becomes of requests.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// Anybody is served.
    Open,
    /// Clients are, that show a certificate.
    Verified,
    Closed,
}

impl World {
    /// What becomes of requests for a path of a host: by the oldest Ingress that the host belongs to.
    fn fate(&self, host: &str, asked: Named) -> Fate {
        let mut of_host = self.ingresses.iter().filter(|(_, (other, _))| *other == host);
        let (first, _) = of_host.clone().next().unwrap();
        let owner = first.0;
        let asks = |says: usize| !SAYS[says].is_empty();
        let decides = of_host.find(|(named, (_, says))| named.0 == owner && asks(*says));
        let (_, mine) = self.ingresses[&asked];
        let Some((named, (_, decides))) = decides else {
            return if asks(mine) { Fate::Closed } else { Fate::Open };
        };
        let secret = match SAYS[*decides] {
            [("client-ca-secret", secret @ ("s0" | "s1"))] => *secret,
            _ => return Fate::Closed,
        };
        if self.secrets.get(&(named.0, secret)) != Some(&Holds::Authority) {
            return Fate::Closed;
        }
        let differs = asks(mine) && (asked.0 != owner || SAYS[mine] != SAYS[*decides]);
        if differs { Fate::Closed } else { Fate::Verified }
    }
}

/// What becomes of a GET.
fn outcome(table: &Table, host: &str, path: &str, tls: bool, shown: Option<&Presented>) -> String {
    let fields = Fields::new();
    let ask = Ask {
        listener: ListenerId {
            slot: u32::from(tls),
            generation: 1,
        },
        server_name: Some(host).filter(|_| tls),
        tls,
        shown,
        trusted: false,
        secure: tls,
        client: None,
        known_host: None,
        method: &Method::GET,
        version: Version::HTTP_2,
        authority: Some(host),
        path,
        query: None,
        fields: &fields,
        host: None,
        second_host: false,
        expect: None,
        hops: None,
        lists_too_much: false,
        length: None,
        websocket: false,
        draw: |_| 0,
        share: Default::default(),
    };
    let rules = Rules::default();
    let Ok(Subject::Resource(canonical)) = ask.subject(&rules) else {
        panic!("{path}");
    };
    match decide(table, &ask, &canonical, &rules).outcome {
        Outcome::Forward { .. } => "forward".to_owned(),
        Outcome::Closed(_) => "closed".to_owned(),
        Outcome::Refused(Refusal::NoClientCertificate) => "none".to_owned(),
        Outcome::Refused(Refusal::Misdirected) => "misdirected".to_owned(),
        other => format!("{other:?}"),
    }
}

fn check(world: &World, table: &Table, at: &str) {
    for (named, (host, _)) in &world.ingresses {
        let (fate, path) = (world.fate(host, *named), format!("/{}/{}", named.0, named.1));
        let listener = ListenerId { slot: 1, generation: 1 };
        let profile = table.profile(listener, Some(host)).cloned();
        let shows = |subject| {
            profile
                .as_ref()
                .map(|profile: &Arc<TlsProfile>| profile.suppose(subject))
        };
        let (nobody, somebody) = (shows(None), shows(Some("CN=x")));
        let plain = outcome(table, host, &path, false, None);
        let without = outcome(table, host, &path, true, nobody.as_ref());
        let with = outcome(table, host, &path, true, somebody.as_ref());
        let stranger = outcome(table, host, &path, true, None);
        let found = [plain, without, with, stranger];
        let wanted = match (fate, &profile) {
            (Fate::Open, None) => ["forward"; 4],
            (Fate::Verified, Some(_)) => ["none", "none", "forward", "misdirected"],
            (Fate::Closed, _) => ["closed"; 4],
            other => panic!("{at}: {other:?}"),
        };
        assert_eq!(found, wanted, "{at}: {host}{path}");
    }
}

fn history(seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut state = State::new(Options::default());
    let mut world = World::default();
    for namespace in NAMESPACES {
        state.apply(Change::Apply(service(namespace)));
    }
    for step in 0..40 {
        let named = (
            NAMESPACES[rng.usize(..NAMESPACES.len())],
            NAMES[rng.usize(..NAMES.len())],
        );
        let of_secret = (named.0, ["s0", "s1"][rng.usize(..2)]);
        let change = match rng.u8(..10) {
            0..5 => {
                let (host, says) = (HOSTS[rng.usize(..HOSTS.len())], rng.usize(..SAYS.len()));
                world.ingresses.insert(named, (host, says));
                Change::Apply(ingress(named, host, SAYS[says]))
            }
            5 => {
                world.ingresses.remove(&named);
                Change::Delete(ObjectRef::new(Kind::Ingress, named.0, named.1))
            }
            6..9 => {
                let holds = [
                    Holds::Authority,
                    Holds::Authority,
                    Holds::Nonsense,
                    Holds::BadList,
                    Holds::Nothing,
                ];
                let holds = holds[rng.usize(..holds.len())];
                world.secrets.insert(of_secret, holds);
                Change::Apply(secret(of_secret.0, of_secret.1, holds))
            }
            _ => {
                world.secrets.remove(&of_secret);
                Change::Delete(ObjectRef::new(Kind::Secret, of_secret.0, of_secret.1))
            }
        };
        state.apply(change);
        let table = state.table();
        check(&world, &table, &format!("seed {seed}, step {step}"));
        state.refresh();
    }
    for (namespace, name) in std::mem::take(&mut world.ingresses).into_keys() {
        state.apply(Change::Delete(ObjectRef::new(Kind::Ingress, namespace, name)));
    }
    assert!(state.clients.hosts.is_empty() && state.wanted_secrets().is_empty());
    assert!(state.table().hosts().all(|(_, host)| host.clients.is_none()));
}

#[test]
fn a_host_whose_clients_cannot_be_verified_serves_nobody() {
    for seed in 0..400 {
        history(seed);
    }
}

#[test]
fn hosts_that_ask_for_the_same_share_a_profile_and_a_change_makes_another() {
    let mut state = State::new(Options::default());
    state.apply(Change::Apply(secret("n", "s0", Holds::Authority)));
    state.apply(Change::Apply(service("n")));
    for (name, host) in [("i0", "a.test"), ("i1", "b.test")] {
        state.apply(Change::Apply(ingress(("n", name), host, SAYS[1])));
    }
    let listener = ListenerId { slot: 1, generation: 1 };
    let profile = |state: &mut State, host| state.table().profile(listener, Some(host)).cloned().unwrap();
    let (one, other) = (profile(&mut state, "a.test"), profile(&mut state, "b.test"));
    assert!(Arc::ptr_eq(&one, &other));
    let changes = state.table().profile_changes();
    // What changes nothing of it leaves it as it is.
    state.apply(Change::Apply(ingress(("n", "i2"), "a.test", SAYS[0])));
    state.apply(Change::Apply(service("m")));
    assert!(Arc::ptr_eq(&one, &profile(&mut state, "a.test")));
    assert_eq!(state.table().profile_changes(), changes);
    let says = [("client-ca-secret", "s0"), ("client-verify", "optional")];
    state.apply(Change::Apply(ingress(("n", "i1"), "b.test", &says)));
    assert!(Arc::ptr_eq(&one, &profile(&mut state, "a.test")));
    assert!(!Arc::ptr_eq(&one, &profile(&mut state, "b.test")));
    assert_ne!(state.table().profile_changes(), changes);
}
