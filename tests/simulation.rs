//! Thousands of random histories: after every few steps the compiler's state must equal a fresh compile of the
//! objects that are left, in whatever order they come.
//!
//! `NARTHEX_SIM_SEEDS=20000 cargo test --test simulation` goes on for longer; a failure names its seed, and
//! `NARTHEX_SIM_SEED=…` runs that one alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[path = "simulation/changes.rs"]
mod changes;
#[path = "simulation/contents.rs"]
mod contents;
#[path = "simulation/mirror.rs"]
mod mirror;
#[path = "simulation/routes.rs"]
mod routes;
#[path = "simulation/world.rs"]
mod world;

use changes::{change, options};
use contents::{certificates, contents, guards_of_hosts};
use mirror::Mirror;
use narthex::testing::compile::State;
use narthex::testing::dialect::Change;
use narthex::testing::model::{Kind, Timestamp};
use narthex::testing::table::{Backend, BackendState, PodSet, Says, Table, canonical_path, explain};
use std::collections::{BTreeMap, BTreeSet};
use world::Rng;

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
        .unwrap_or(1000);
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
