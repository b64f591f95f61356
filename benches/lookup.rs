//! Finding a request's route among 10, 1,000 and 100,000.

#![allow(missing_docs, clippy::unwrap_used)]

mod world;

use divan::{Bencher, black_box};
use narthex::testing::table::{canonical_host, canonical_path};
use world::{Shape, state};

const ROUTES: [usize; 3] = [10, 1_000, 100_000];
/// Requests asked in turn: more than caches of a table of this size hold would be unfair to the small ones.
const REQUESTS: usize = 1024;

fn main() {
    divan::main();
}

fn ask(bencher: Bencher<'_, '_>, shape: Shape, routes: usize, hot: usize) {
    let table = state(shape, routes).table();
    let requests: Vec<(String, String)> = (0..REQUESTS)
        .map(|n| {
            let index = (n % hot).wrapping_mul(7919) % routes;
            match shape {
                Shape::Hosts => (format!("host-{index}.example.com"), "/api/v1/things/42".to_owned()),
                _ => (
                    "www.example.com".to_owned(),
                    format!("/team-{}/app-{index}/things/42", index % 97),
                ),
            }
        })
        .collect();
    let mut next = 0;
    bencher.bench_local(|| {
        next = (next + 1) % REQUESTS;
        let (host, path) = &requests[next];
        let host = canonical_host(black_box(host)).unwrap();
        let path = canonical_path(black_box(path), false).unwrap();
        table.lookup(Some(&host.name), &path).unwrap().to.main()
    });
}

/// Ten routes are asked for in turn, so that the table's size counts and not the processor's cache.
#[divan::bench(args = ROUTES, sample_count = 200, sample_size = 1024)]
fn hosts(bencher: Bencher<'_, '_>, routes: usize) {
    ask(bencher, Shape::Hosts, routes, 10);
}

/// A thousand routes are asked for in turn.
#[divan::bench(args = ROUTES, sample_count = 200, sample_size = 1024)]
fn hosts_cold(bencher: Bencher<'_, '_>, routes: usize) {
    ask(bencher, Shape::Hosts, routes, REQUESTS);
}

#[divan::bench(args = ROUTES, sample_count = 200, sample_size = 1024)]
fn paths_of_one_host(bencher: Bencher<'_, '_>, routes: usize) {
    ask(bencher, Shape::OneHost, routes, 10);
}

#[divan::bench(args = ROUTES, sample_count = 200, sample_size = 1024)]
fn paths_of_one_host_cold(bencher: Bencher<'_, '_>, routes: usize) {
    ask(bencher, Shape::OneHost, routes, REQUESTS);
}

/// The canonical host and path alone: part of all the figures above.
#[divan::bench(sample_size = 1024)]
fn canonical_alone() -> usize {
    let host = canonical_host(black_box("host-12345.example.com")).unwrap();
    let path = canonical_path(black_box("/api/v1/things/42"), false).unwrap();
    host.name.len() + path.merged.len()
}
