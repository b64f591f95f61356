//! Compiling 100,000 routes, and one change among them while the table before it is still in use.

#![allow(missing_docs, clippy::unwrap_used)]

mod world;

use divan::Bencher;
use narthex::testing::compile::{Options, State};
use narthex::testing::dialect::Change;
use std::cell::{Cell, RefCell};
use world::{Shape, ingress, objects, slice, state};

const ROUTES: usize = 100_000;

fn main() {
    divan::main();
}

/// From objects to table and report.
#[divan::bench(args = [Shape::Hosts, Shape::OneHost, Shape::OneIngress], sample_count = 5)]
fn all(bencher: Bencher<'_, '_>, shape: Shape) {
    let objects = objects(shape, ROUTES);
    bencher.with_inputs(|| objects.clone()).bench_local_values(|objects| {
        let mut state = State::compile(Options::default(), objects);
        state.refresh();
        (state.table(), state)
    });
}

/// One change: apply it, take the table and the report, while the table before it is held.
fn one(bencher: Bencher<'_, '_>, shape: Shape, change: impl Fn(usize) -> Change) {
    let mut state = state(shape, ROUTES);
    state.refresh();
    let held = RefCell::new(state.table());
    let state = RefCell::new(state);
    let version = Cell::new(0);
    bencher
        .with_inputs(|| {
            version.set(version.get() + 1);
            change(version.get())
        })
        .bench_local_values(|change| {
            let mut state = state.borrow_mut();
            state.apply(change);
            let table = state.table();
            state.refresh();
            // The old table goes only now, as shards let it go after the swap.
            held.replace(table)
        });
}

#[divan::bench(args = [Shape::Hosts, Shape::OneHost], sample_count = 500, sample_size = 1)]
fn one_ingress(bencher: Bencher<'_, '_>, shape: Shape) {
    one(bencher, shape, |version| {
        Change::Apply(ingress(shape, version * 31 % ROUTES, version % 2 + 1))
    });
}

#[divan::bench(args = [Shape::Hosts, Shape::OneHost, Shape::OneIngress], sample_count = 500, sample_size = 1)]
fn one_slice(bencher: Bencher<'_, '_>, shape: Shape) {
    one(bencher, shape, |version| {
        Change::Apply(slice(version * 31 % (ROUTES / 20), version % 200))
    });
}
