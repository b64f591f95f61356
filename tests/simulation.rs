//! Thousands of random histories: after every few steps the compiler's state must equal a fresh compile of the
//! objects that are left, in whatever order they come.
//!
//! `NARTHEX_SIM_SEEDS=20000 cargo test --test simulation` goes on for longer; a failure names its seed, and
//! `NARTHEX_SIM_SEED=…` runs that one alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[path = "simulation/world.rs"]
mod world;

use narthex::testing::compile::{Options, State};
use narthex::testing::dialect::annotations::Ignored;
use narthex::testing::dialect::owners::{self, HostOwners};
use narthex::testing::dialect::{Change, Dialect, Object};
use narthex::testing::model::object::Secret;
use narthex::testing::model::{Code, Diagnostic, Kind, ObjectRef, Report, Timestamp};
use narthex::testing::table::{
    Backend, BackendState, Certificate, Destination, HostPattern, PodSet, Route, Says, Table, canonical_path, explain,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use world::Rng;

/// What a table says, without what may differ: slots, generations, order.
#[derive(Debug, PartialEq)]
struct Contents {
    routes: BTreeSet<String>,
    ingresses: BTreeSet<String>,
    backends: BTreeSet<String>,
    certificates: BTreeSet<String>,
    wanted: BTreeSet<(Arc<str>, Arc<str>)>,
    report: Vec<String>,
}

fn certificate_text(certificate: &Certificate) -> String {
    let der = certificate.key.cert.first().unwrap();
    let sum = der
        .iter()
        .fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    format!("{} {:?} {sum:x}", certificate.secret, certificate.algorithm)
}

fn certificates(table: &Table) -> BTreeSet<String> {
    table
        .all_certificates()
        .map(|(name, set)| {
            let set: Vec<String> = set.iter().map(|certificate| certificate_text(certificate)).collect();
            format!("{name}: {}", set.join(" and "))
        })
        .chain(ASKED.iter().map(|name| shown(table, name)))
        .collect()
}

/// Names that clients ask for.
const ASKED: &[&str] = &[
    "a.example.com",
    "b.example.com",
    "c.example.com",
    "example.com",
    "shared.example.com",
];

/// What is shown for a name, and that it is of the owner's namespace where the name has an owner.
fn shown(table: &Table, name: &str) -> String {
    let host = table.host(&HostPattern::Exact(name.into()));
    let routes: Vec<_> = host.into_iter().flat_map(|host| host.routes()).collect();
    // Under --yield-empty the owner may be one that has yielded.
    let yields = routes.iter().any(|route| !route.shadows.is_empty());
    let owner = routes
        .iter()
        .map(|route| route.age())
        .min()
        .map(|age| age.origin.object.namespace);
    let set = table
        .certificates_for(Some(name))
        .into_iter()
        .flat_map(|set| set.iter());
    let secrets: Vec<String> = set
        .inspect(|one| {
            assert!(
                yields || owner.as_ref().is_none_or(|owner| *owner == one.secret.namespace),
                "{name} of {owner:?} is shown {}",
                one.secret
            );
        })
        .map(|one| certificate_text(one))
        .collect();
    format!("{name} is shown {}", secrets.join(" and "))
}

fn backend_text(backend: &Backend) -> String {
    format!(
        "{backend} {:?} {:?} {:?} {:?} {:?} {:?}",
        backend.guard,
        backend.tls,
        backend.state,
        backend.app_protocol,
        backend.settings.said(),
        backend.endpoints
    )
}

/// What a route may lead to beside its main backend.
fn beside(table: &Table, route: &Route) -> String {
    let Destination::Choice(choice) = &route.to else {
        return String::new();
    };
    let backends = choice.backends().skip(1).map(|id| {
        table
            .backend(id)
            .map_or("GONE".to_owned(), |backend| backend_text(backend))
    });
    let rule = choice.canary.as_ref().map(|canary| &canary.rule);
    format!("beside {:?} {rule:?}", backends.collect::<Vec<_>>())
}

/// The same without the places that backends have in a table, which depend on the order of the objects.
fn without_slots(text: &str) -> String {
    let mut parts = text.split("BackendId {");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        text + part.split_once('}').map_or(part, |(_, rest)| rest)
    })
}

fn guards_of_hosts(table: &Table) -> impl Iterator<Item = String> {
    let guarded = table
        .hosts()
        .filter(|(_, host)| host.guards.is_some() || host.clients.is_some());
    guarded.map(|(pattern, host)| format!("{pattern} guarded {:?} {:?}", host.guards, host.clients))
}

/// Who answers for names that rules and annotations give, and paths in between.
fn answers(table: &Table) -> impl Iterator<Item = String> {
    let hosts = [
        "a.example.com",
        "www.a.example.com",
        "b.example.com",
        "c.example.com",
        "x.example.com",
        "x.example.org",
        "re7.example",
        "www.example.com",
    ];
    let asked = hosts
        .into_iter()
        .flat_map(|host| ["/", "/x", "/X/y", "/xy", "/none"].map(|path| (host, path)));
    asked.map(|(host, path)| {
        let canonical = canonical_path(path, false).unwrap();
        let found = table.lookup(Some(host), &canonical);
        let found = found.map(|route| format!("{:?} of {} {:?}", route.path, route.host, route.origin));
        format!("{host}{path}: {found:?}")
    })
}

fn contents(state: &mut State) -> Contents {
    let table = state.table();
    let routes = table
        .matches()
        .map(|found| {
            let route = found.route;
            let backend = table
                .backend_of(route)
                .map_or("GONE".to_owned(), |backend| backend_text(backend));
            let path = route.path.as_ref().map(ToString::to_string);
            let guard = table.guard_of(found);
            let policies = without_slots(&format!("{:?}", route.policies));
            format!(
                "{} {path:?} {} {:?} {:?} -> {backend} {} {policies} {guard:?} over {:?}",
                route.host,
                route.origin,
                route.seniority,
                route.keep_slashes,
                beside(&table, route),
                route.shadows
            )
        })
        .chain(guards_of_hosts(&table))
        .chain(answers(&table))
        .collect();
    Contents {
        routes,
        ingresses: table.all_served().map(|ingress| format!("{ingress:?}")).collect(),
        backends: table.backends().map(|backend| backend_text(backend)).collect(),
        certificates: certificates(&table),
        wanted: state.wanted_secrets(),
        report: report_text(state.refresh()),
    }
}

fn report_text(report: &Report) -> Vec<String> {
    report
        .iter()
        .map(|diagnostic| format!("{:?} {diagnostic}", diagnostic.code))
        .collect()
}

/// The objects that are left, as a plain map: what the incremental state is to be equal to.
#[derive(Default)]
struct Mirror {
    objects: BTreeMap<ObjectRef, Object>,
    broken: BTreeMap<ObjectRef, Diagnostic>,
    resolved: BTreeMap<Arc<str>, Vec<std::net::IpAddr>>,
    /// The last version that held a certificate of each Secret whose last version does not: that stays in use.
    good: BTreeMap<ObjectRef, Object>,
    /// Likewise authorities.
    good_authorities: BTreeMap<ObjectRef, Object>,
    now: Timestamp,
    /// Namespaces that went while they were being deleted, as long as Ingresses of theirs are left.
    gone: BTreeMap<Arc<str>, Object>,
}

fn holds_certificate(object: &Object) -> bool {
    matches!(object, Object::Secret(secret) if world::is_good(secret))
}

fn holds_authorities(object: &Object) -> bool {
    matches!(object, Object::Secret(secret) if world::has_authorities(secret))
}

fn without(object: Object, take: impl FnOnce(&mut Secret)) -> Object {
    let Object::Secret(secret) = object else { return object };
    let mut secret = Secret::clone(&secret);
    take(&mut secret);
    Object::Secret(Arc::new(secret))
}

impl Mirror {
    fn put(&mut self, object: Object) {
        let reference = object.reference();
        self.broken.remove(&reference);
        if reference.kind == Kind::Namespace {
            self.gone.remove(&reference.name);
        }
        let is_good = holds_certificate(&object);
        let has_authorities = holds_authorities(&object);
        let old = self.objects.insert(reference.clone(), object);
        if has_authorities {
            self.good_authorities.remove(&reference);
        } else if let Some(old) = old.clone().filter(holds_authorities) {
            let old = without(old, |secret| (secret.certificate, secret.key) = (None, None));
            self.good_authorities.insert(reference.clone(), old);
        }
        if is_good {
            self.good.remove(&reference);
        } else if let Some(old) = old.filter(holds_certificate) {
            self.good.insert(reference, without(old, |secret| secret.ca = None));
        }
    }

    fn mark(&mut self, diagnostic: Diagnostic) {
        self.broken.insert(diagnostic.object.clone().unwrap(), diagnostic);
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Apply(object) => self.put(object),
            Change::Delete(object) => {
                self.take(&object);
                self.good.remove(&object);
                self.good_authorities.remove(&object);
                self.broken.remove(&object);
            }
            Change::Replace {
                kind,
                namespace,
                objects,
                broken,
            } => {
                let named: BTreeSet<ObjectRef> = broken
                    .iter()
                    .filter_map(|diagnostic| diagnostic.object.clone())
                    .collect();
                let gone = |object: &ObjectRef| {
                    object.kind == kind
                        && namespace
                            .as_ref()
                            .is_none_or(|namespace| object.namespace == *namespace)
                        && !named.contains(object)
                };
                let listed: BTreeSet<ObjectRef> = objects.iter().map(Object::reference).collect();
                let gone_for_good = |object: &ObjectRef| gone(object) && !listed.contains(object);
                let there = self.objects.keys();
                let taken: Vec<ObjectRef> = there.filter(|object| gone_for_good(object)).cloned().collect();
                self.good.retain(|object, _| !gone_for_good(object));
                self.good_authorities.retain(|object, _| !gone_for_good(object));
                self.broken.retain(|object, _| !gone(object));
                // As the compiler has it: new ones first.
                objects.into_iter().for_each(|object| self.put(object));
                taken.iter().for_each(|object| self.take(object));
                broken.into_iter().for_each(|diagnostic| self.mark(diagnostic));
            }
            Change::Broken(diagnostic) => self.mark(diagnostic),
            // No node is lost in these histories, and no keys are fetched.
            Change::Files(_) | Change::Listed | Change::Node { .. } | Change::KeySet { .. } => {}
            Change::Time(now) => self.now = now,
            Change::Resolved { name, addresses } => {
                self.resolved.insert(name, addresses);
            }
        }
    }

    fn take(&mut self, object: &ObjectRef) {
        if let Some(Object::Namespace(old)) = self.objects.remove(object)
            && old.meta.deleting
        {
            self.gone.insert(object.name.clone(), Object::Namespace(old));
        }
        let Self { objects, gone, .. } = self;
        gone.retain(|namespace, _| {
            objects
                .keys()
                .any(|object| object.kind == Kind::Ingress && object.namespace == *namespace)
        });
    }

    /// A fresh compile, in an order of its own.
    fn compile(&self, options: Options, rng: &mut Rng) -> State {
        let mut objects: Vec<Object> = self.objects.values().cloned().collect();
        rng.shuffle(&mut objects);
        let good = self.good.values().chain(self.good_authorities.values()).cloned();
        let mut state = State::new(options);
        let early = rng.chance(1, 2);
        let time = |state: &mut State| state.apply(Change::Time(self.now));
        if early {
            time(&mut state);
        }
        for object in self.gone.values().cloned().chain(good).chain(objects) {
            state.apply(Change::Apply(object));
        }
        for namespace in self.gone.values() {
            state.apply(Change::Delete(namespace.reference()));
        }
        if !early {
            time(&mut state);
        }
        for (name, addresses) in &self.resolved {
            state.apply(Change::Resolved {
                name: name.clone(),
                addresses: addresses.clone(),
            });
        }
        for diagnostic in self.broken.values() {
            state.apply(Change::Broken(diagnostic.clone()));
        }
        state.apply(Change::Listed);
        state
    }
}

fn options(rng: &mut Rng) -> Options {
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
        drop_in: if rng.chance(1, 2) {
            vec![Dialect::IngressNginx]
        } else {
            Vec::new()
        },
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

fn change(rng: &mut Rng, mirror: &Mirror) -> Change {
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

/// The state made again from its own objects, as after a panic.
fn anew(state: &State) -> State {
    let (mut next, changes) = state.begin_again();
    for (_, step) in changes.into_iter().flat_map(Change::in_steps) {
        next.apply(step);
    }
    next
}

fn history(seed: u64) {
    let mut rng = Rng::new(seed);
    let options = options(&mut rng);
    let mut state = State::new(options.clone());
    if rng.chance(3, 4) {
        state.apply(Change::Listed);
    }
    let mut mirror = Mirror::default();
    // Tables that are still in use must not change under those who hold them.
    let mut held: Vec<(Table, BTreeSet<String>)> = Vec::new();
    let mut secrets = BTreeSet::new();
    for step in 0..60 {
        let change = change(&mut rng, &mirror);
        let what = format!("{change:?}");
        mirror.apply(change.clone());
        let single = !matches!(change, Change::Replace { .. });
        let steady = match &change {
            Change::Apply(object) => object.kind() != Kind::Service,
            Change::Delete(object) => object.kind != Kind::Service,
            Change::Replace { kind, .. } => *kind != Kind::Service,
            _ => true,
        };
        let before = state.table();
        state.apply(change);
        compare(&before, &state.table(), (single, steady), seed, step);
        let wanted = state.wanted_secrets();
        assert!(
            state.wanted_secrets_changed() || wanted == secrets,
            "seed {seed} step {step}: other Secrets are wanted, and nobody is told"
        );
        secrets = wanted;
        if rng.chance(1, 2) {
            continue;
        }
        if let Some(patience) = options.yield_empty {
            // A fresh compile takes all that is empty for long empty.
            let now = if mirror.now.0 > 3_000_000_000 {
                2_000_000_000
            } else {
                mirror.now.0
            };
            for now in [now, now + i64::try_from(patience).unwrap()] {
                state.apply(Change::Time(Timestamp(now)));
                mirror.now = Timestamp(now);
            }
        }
        let wanted = contents(&mut mirror.compile(options.clone(), &mut rng));
        let found = if rng.chance(1, 8) {
            contents(&mut anew(&state))
        } else {
            contents(&mut state)
        };
        if found != wanted {
            let only = |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).cloned().collect::<Vec<_>>();
            panic!(
                "NARTHEX_SIM_SEED={seed} step {step} after {what}\nroutes too many: {:#?}\nroutes missing: {:#?}\n\
                 backends too many: {:#?}\nbackends missing: {:#?}\ncertificates: {:#?}\nshould be: {:#?}\n\
                 wanted: {:?}\nshould be: {:?}\nreport: {:#?}\nshould be: {:#?}",
                only(&found.routes, &wanted.routes),
                only(&wanted.routes, &found.routes),
                only(&found.backends, &wanted.backends),
                only(&wanted.backends, &found.backends),
                only(&found.certificates, &wanted.certificates),
                only(&wanted.certificates, &found.certificates),
                found.wanted,
                wanted.wanted,
                found
                    .report
                    .iter()
                    .filter(|line| !wanted.report.contains(line))
                    .collect::<Vec<_>>(),
                wanted
                    .report
                    .iter()
                    .filter(|line| !found.report.contains(line))
                    .collect::<Vec<_>>(),
            );
        }
        let table = state.table();
        for (old, routes) in &held {
            assert_eq!(&keys(old), routes, "seed {seed} step {step}: a published table changed");
        }
        let routes = keys(&table);
        held.push((table.clone(), routes));
        if held.len() > 3 {
            held.remove(0);
        }
        walk(&table, &mut rng);
    }
}

/// What holds between a table and the next: another generation where anything differs, and the same identity for a
/// backend that stays, for health, pools and balancing hang on it.
fn compare(before: &Table, after: &Table, (single, steady): (bool, bool), seed: u64, step: usize) {
    if keys(before) != keys(after) {
        assert!(
            before.generation < after.generation,
            "seed {seed} step {step}: same generation"
        );
    }
    // A full list may take a backend from one Ingress before it gives it to another.
    let stays = |one: &Backend, other: &Backend| {
        one.to_string() == other.to_string() && one.asked == other.asked && one.limited_by == other.limited_by
    };
    for backend in before.backends().filter(|_| single) {
        if let Some(same) = after.backends().find(|other| stays(backend, other)) {
            assert_eq!(backend.id, same.id, "seed {seed} step {step}: {backend} is another");
        }
    }
    compare_pods(before, after, steady, seed, step);
}

/// Who the pods are does not depend on who leads to them, nor on what is asked of them: unless a Service changes, all pod
/// sets stay.
fn compare_pods(before: &Table, after: &Table, steady: bool, seed: u64, step: usize) {
    let place = |set: &PodSet| (set.namespace.clone(), set.service.clone(), set.port);
    for set in before.all_pods().filter(|_| steady) {
        let stays = after.pods(set.id).is_some_and(|other| place(other) == place(set));
        assert!(stays, "seed {seed} step {step}: {set:?} is gone");
    }
    // Of a Service port there are the pods, and its own address where an Ingress asks for that. Both stay when nobody does.
    let mut known = BTreeMap::new();
    for set in after.all_pods() {
        let named = after.backends().filter(|backend| backend.pods == Some(set.id)).count();
        let count = known.entry(place(set)).or_insert(0);
        *count += 1;
        assert!(
            *count <= 2 || named > 0,
            "seed {seed} step {step}: {set:?} is there too often"
        );
    }
    for backend in after.backends() {
        let pods = backend.pods.map(|pods| after.pods(pods).unwrap());
        if let Some(set) = pods {
            assert_eq!((&set.service, &set.namespace), (&backend.service, &backend.namespace));
            if backend.state != BackendState::TlsUnready {
                assert_eq!(set.endpoints, backend.endpoints, "seed {seed} step {step}: {backend}");
                assert!(set.terms.contains(&backend.terms), "seed {seed} step {step}: {backend}");
            }
            let wanted = backend.check.iter().all(|check| set.checks.contains(check));
            assert!(wanted, "seed {seed} step {step}: {backend}");
        } else {
            assert!(backend.endpoints.is_empty(), "seed {seed} step {step}: {backend}");
        }
    }
}

fn keys(table: &Table) -> BTreeSet<String> {
    table
        .routes()
        .map(|route| format!("{route:?} {:?}", table.backend_of(route)))
        .chain(certificates(table))
        .chain(guards_of_hosts(table))
        .chain(table.all_served().map(|ingress| format!("{ingress:?}")))
        .collect()
}

/// Asks the table a few things, so that no odd state makes it panic or answer with a backend it has not.
fn walk(table: &Table, rng: &mut Rng) {
    for _ in 0..4 {
        let host = world::request_host(rng);
        let path = world::request_path(rng);
        let path = canonical_path(&path, false).unwrap();
        if let Some(route) = table.lookup(host.as_deref(), &path) {
            assert!(route.to.backends().all(|id| table.backend(id).is_some()), "{route:?}");
        }
        explain::explain(table.ingress_hosts(), host.as_deref(), &path, &Says::default());
    }
}

#[test]
fn any_history_equals_a_fresh_compile() {
    if let Some(seed) = std::env::var("NARTHEX_SIM_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
    {
        return history(seed);
    }
    let seeds = std::env::var("NARTHEX_SIM_SEEDS")
        .ok()
        .and_then(|seeds| seeds.parse().ok())
        .unwrap_or(2000);
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || (thread..seeds).step_by(threads as usize).for_each(history));
        }
    });
}

#[test]
fn the_order_of_arrival_does_not_matter() {
    for seed in 0..200 {
        let mut rng = Rng::new(0x0a11 + seed);
        let options = options(&mut rng);
        let mut mirror = Mirror::default();
        for _ in 0..40 {
            mirror.put(world::object(&mut rng));
        }
        let first = contents(&mut mirror.compile(options.clone(), &mut rng));
        for _ in 0..5 {
            let other = contents(&mut mirror.compile(options.clone(), &mut rng));
            assert_eq!(first, other, "seed {seed}");
        }
    }
}
