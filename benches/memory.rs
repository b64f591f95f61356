//! Bytes a route costs: what stays allocated per route after compiling, table, report and objects together.

#![allow(missing_docs)]

mod world;

use narthex::testing::compile::{Options, State};
use world::{Shape, objects};

fn main() {
    const ROUTES: usize = 100_000;
    println!("bytes a route, of {ROUTES} (20 routes a Service, 3 endpoints each)");
    println!(
        "{:<12} {:>10} {:>14} {:>10}",
        "shape", "all", "objects alone", "compiled"
    );
    for shape in [Shape::Hosts, Shape::OneHost, Shape::OneIngress] {
        let mut kept = None;
        let of_objects = allocation_counter::measure(|| kept = Some(objects(shape, ROUTES)));
        let objects = kept.unwrap_or_default();
        let mut state = None;
        let compiled = allocation_counter::measure(|| {
            let mut compiled = State::compile(Options::default(), objects);
            compiled.refresh();
            let table = compiled.table();
            state = Some((compiled, table));
        });
        let (of_objects, compiled) = (of_objects.bytes_current, compiled.bytes_current);
        let each = |bytes: i64| bytes / ROUTES as i64;
        println!(
            "{:<12} {:>10} {:>14} {:>10}",
            format!("{shape:?}"),
            each(of_objects + compiled),
            each(of_objects),
            each(compiled)
        );
        drop(state);
    }
}
