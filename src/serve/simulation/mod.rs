//! A simulated data plane: the tasks that serve clients run against clients and pods made up here, over byte streams and a
//! time that are simulated too. A seed makes a history, and the same seed makes the same one.
//!
//! - `NARTHEX_SIMULATION_HISTORIES=N` is how many histories are tried.
//! - `NARTHEX_SIMULATION_SEED=N` tries that one alone, and prints it.
//!
//! `world.rs` says what may happen in a history, and what is known of it; `client.rs` and `pod.rs` look at every byte that
//! they get and say what is wrong with it.

mod allocations;
mod client;
mod message;
mod pod;
mod process;
mod world;

use crate::upstream::simulated::{Dialling, End, set_pods};
use arc_swap::ArcSwap;
use client::Client;
use pod::Serving;
use process::{PodsOfRoute, Process, pod_at, table};
use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::{Builder, LocalOptions};
use world::{PODS, Weather, World};

/// Histories that `cargo test` tries.
const HISTORIES: u64 = 10_000;
/// Histories behind those in which a fault was found, each mended since: an answer that a later reset overtook, and a body that was
/// cut where it was sent again and its answer came early.
const FOUND: [u64; 2] = [120_211, 131_913];
/// How long a history may take in its own time: longer than all time-outs together.
const LONGEST: Duration = Duration::from_secs(300);

/// What came of a history.
struct Outcome {
    faults: Vec<String>,
    history: Vec<String>,
    /// Requests that pods answered in full.
    answered: usize,
    asked: usize,
}

/// Runs the history of a seed. `log` says whether it is remembered.
fn run(seed: u64, log: bool) -> Outcome {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build_local(LocalOptions::default())
        .unwrap();
    fastrand::seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let outcome = runtime.block_on(live(seed, log));
    set_pods(None);
    outcome
}

/// Opens connections to pods.
fn dial(world: &Rc<World>, address: SocketAddr) -> Dialling {
    let (world, pod) = (world.clone(), pod_at(address));
    Box::pin(async move {
        let number = world.to_pods.borrow().len();
        let name = format!("pod-{pod}#{number}");
        world.network.note("narthex", || format!("dials {name}"));
        if world.weather.get().dials {
            world.pause(world.one(&[0, 0, 5, 300])).await;
            if world.chance(1, 5) {
                world.network.note(&name, || "refuses".to_owned());
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            if world.chance(1, 15) {
                world.network.note(&name, || "does not answer".to_owned());
                std::future::pending::<()>().await;
            }
        }
        let (end, narthex) = world.network.connect(name, true);
        world.to_pods.borrow_mut().push(end.link().clone());
        let serving = tokio::task::spawn_local(Serving::new(world.clone(), pod, end).run());
        world.serving.borrow_mut().push(serving);
        Ok(narthex)
    })
}

/// Pods for the routes.
fn routes(world: &World, before: Option<&[PodsOfRoute; 2]>) -> [PodsOfRoute; 2] {
    [0, 1].map(|route| {
        let before = before.map_or(1, |before| before[route].generation);
        PodsOfRoute {
            pods: (0..PODS).filter(|_| world.chance(1, 2)).collect(),
            generation: before + u32::from(world.chance(1, 5)),
        }
    })
}

/// narthex, and its successor while it is replaced.
struct Narthex {
    world: Rc<World>,
    tables: Arc<ArcSwap<crate::table::Table>>,
    routes: RefCell<[PodsOfRoute; 2]>,
    processes: RefCell<Vec<Rc<Process>>>,
    serves_half_closed: bool,
}

impl Narthex {
    fn swap(&self, routes: [PodsOfRoute; 2]) {
        let generation = self.tables.load().generation + 1;
        self.world.table_changes(&routes);
        self.tables
            .store(Arc::new(table(generation, &routes, &self.world.settings)));
        self.routes.replace(routes);
        for process in self.processes.borrow().iter() {
            process.table_changed(&self.tables.load());
        }
    }

    fn accept(&self, number: usize) -> End {
        let (client, narthex) = self.world.network.connect(format!("client-{number}"), false);
        let address = SocketAddr::from(([192, 0, 2, 1], 1000 + u16::try_from(number).unwrap()));
        let process = self.processes.borrow().last().cloned();
        process.unwrap().accept(narthex, address);
        client
    }

    /// Another process takes over.
    fn hand_over(&self) {
        self.world
            .network
            .note("narthex", || "hands over to a successor".to_owned());
        let successor = Rc::new(Process::start(&self.tables, self.serves_half_closed));
        let before = self.processes.borrow().last().cloned();
        self.processes.borrow_mut().push(successor);
        self.world.drained.set(true);
        before.unwrap().drain(Duration::from_secs(1));
    }
}

async fn live(seed: u64, log: bool) -> Outcome {
    let world = Rc::new(World::new(seed, log));
    let weather = world.weather.get();
    let network = tokio::task::spawn_local(world.network.clone().run());
    let pods = world.clone();
    set_pods(Some(Rc::new(move |address| dial(&pods, address))));
    let mut first = routes(&world, None);
    for of in &mut first {
        if of.pods.is_empty() && !weather.swaps {
            of.pods.push(0);
        }
    }
    world.table_changes(&first);
    let serves_half_closed = world.chance(1, 2);
    let tables = Arc::new(ArcSwap::from_pointee(table(1, &first, &world.settings)));
    let narthex = Rc::new(Narthex {
        processes: RefCell::new(vec![Rc::new(Process::start(&tables, serves_half_closed))]),
        world: world.clone(),
        tables,
        routes: RefCell::new(first),
        serves_half_closed,
    });
    let swapping = weather.swaps.then(|| {
        let narthex = narthex.clone();
        tokio::task::spawn_local(async move {
            for _ in 0..1 + narthex.world.below(4) {
                narthex.world.pause(narthex.world.one(&[20, 100, 1000])).await;
                let next = routes(&narthex.world, Some(&narthex.routes.borrow()));
                narthex.swap(next);
            }
        })
    });
    let handing_over = weather.drains.then(|| {
        let narthex = narthex.clone();
        tokio::task::spawn_local(async move {
            narthex.world.pause(narthex.world.one(&[20, 300, 3000])).await;
            narthex.hand_over();
        })
    });
    let clients = (0..1 + world.below(5)).map(|number| {
        let narthex = narthex.clone();
        tokio::task::spawn_local(async move {
            let world = narthex.world.clone();
            world.pause(world.one(&[0, 10, 100])).await;
            Client::new(world, narthex.accept(number), narthex.serves_half_closed)
                .run()
                .await
        })
    });
    let clients: Vec<_> = clients.collect();
    let mut answered = 0;
    let all = async {
        for client in clients {
            answered += client.await.unwrap();
        }
        for task in swapping.into_iter().chain(handing_over) {
            task.await.unwrap();
        }
    };
    if tokio::time::timeout(LONGEST, all).await.is_err() {
        world.fault("somebody waits for ever".to_owned());
    } else {
        calm_down(&narthex).await;
    }
    world.look_at_sent();
    let asked = world.asks.borrow().len();
    for process in narthex.processes.take() {
        let stopped = Rc::into_inner(process).unwrap().stop().await;
        if !stopped {
            world.fault("something still has the shard".to_owned());
        }
    }
    if world.network.held() > 0 {
        world.fault(format!("{} connections are still held", world.network.held()));
    }
    for serving in world.serving.take() {
        // Those that wait for ever do so because narthex does, which was said already.
        serving.abort();
        if serving.await.is_err_and(|error| error.is_panic()) {
            world.fault("a pod panics".to_owned());
        }
    }
    network.abort();
    let mut faults = world.take_faults();
    faults.extend(world.network.take_faults());
    Outcome {
        faults,
        history: world.network.take_log(),
        answered,
        asked,
    }
}

/// Everything works again, so all is answered; and when nobody has asked for a while, nothing is held any more.
async fn calm_down(narthex: &Rc<Narthex>) {
    let world = &narthex.world;
    world.network.note("weather", || "is calm from now on".to_owned());
    world.weather.set(Weather::default());
    let all = narthex.routes.borrow().clone().map(|of| PodsOfRoute {
        pods: (0..PODS).collect(),
        ..of
    });
    narthex.swap(all);
    for route in 0..2 {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let end = narthex.accept(100 + route);
        let answered = Client::plain(world.clone(), end, route).run().await;
        if answered != 1 {
            world.fault(format!("route {route} is not answered by a pod though all is well"));
        }
    }
    let mut holds = Vec::new();
    for _ in 0..80 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        holds.clear();
        for process in narthex.processes.borrow().iter() {
            holds.extend(process.holds(&narthex.tables.load()));
        }
        if holds.is_empty() {
            return;
        }
    }
    world.fault(format!("narthex still holds {}", holds.join(", ")));
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|value| value.parse().unwrap())
}

/// Tries the history of a seed; if it fails, with a history that a person can follow.
fn try_seed(seed: u64) -> Result<(usize, usize), String> {
    let outcome = run(seed, false);
    if outcome.faults.is_empty() {
        return Ok((outcome.answered, outcome.asked));
    }
    let again = run(seed, true);
    let how = format!("NARTHEX_SIMULATION_SEED={seed} cargo test --lib serve::simulation -- --nocapture");
    let (history, faults) = (again.history.join("\n"), outcome.faults.join("\n  "));
    Err(format!(
        "{history}\n\nseed {seed} fails:\n  {faults}\nto repeat it: {how}"
    ))
}

#[test]
fn every_request_has_one_answer_and_no_byte_goes_astray() {
    if let Some(seed) = number("NARTHEX_SIMULATION_SEED") {
        let outcome = run(seed, true);
        println!("{}", outcome.history.join("\n"));
        assert!(outcome.faults.is_empty(), "seed {seed}: {:#?}", outcome.faults);
        return;
    }
    let histories = number("NARTHEX_SIMULATION_HISTORIES").unwrap_or(HISTORIES);
    let (next, answered, asked) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let work = || -> Result<(), String> {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= histories {
                return Ok(());
            }
            let counts = try_seed(seed);
            if counts.is_err() {
                next.store(histories, Ordering::Relaxed);
            }
            let (by_pods, all) = counts?;
            answered.fetch_add(by_pods as u64, Ordering::Relaxed);
            asked.fetch_add(all as u64, Ordering::Relaxed);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, Into::into);
    let failure = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let ends = threads.into_iter().map(|thread| thread.join().unwrap());
        ends.filter_map(Result::err).next()
    });
    if let Some(failure) = failure {
        panic!("{failure}");
    }
    println!("{histories} histories, {asked:?} requests, {answered:?} answered by pods");
}

#[test]
fn faults_that_were_found_do_not_come_again() {
    for seed in FOUND {
        try_seed(seed).unwrap_or_else(|failure| panic!("{failure}"));
    }
}

#[test]
fn a_seed_makes_the_same_history_again() {
    for seed in 0..100 {
        let (one, other) = (run(seed, true), run(seed, true));
        let same = one
            .history
            .iter()
            .zip(&other.history)
            .find(|(one, other)| without_date(one) != without_date(other));
        assert_eq!((same, one.history.len()), (None, other.history.len()), "seed {seed}");
    }
}

/// A line of a history without what the real time may have a part in: the date that narthex gives.
fn without_date(line: &str) -> String {
    let (before, bytes) = line.split_once('"').unwrap_or((line, ""));
    before.to_owned() + &bytes.replace(|letter: char| letter.is_ascii_digit(), "0")
}
