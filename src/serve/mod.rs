//! Listeners, shards and client connections: everything around a request.

pub mod connection;
mod date;
mod farewell;
mod fresh;
mod h2;
pub mod handover;
pub mod heap;
pub mod listener;
pub mod memory;
mod pace;
mod preface;
mod proxy_protocol;
mod room;
pub mod shard;
pub mod strict;
pub mod tls;
mod tunnel;

pub use handover::Role;
pub use listener::{BindError, Bound, bind};
pub use shard::{ShardSettings, Stage};
pub use tls::{Tls, TlsSettings};

use crate::proxy::{Counters, Settings, Worker};
use crate::table::Table;
use crate::upstream::Commons;
use arc_swap::ArcSwap;
use handover::{Holdings, Place};
use listener::ToShard;
use room::Room;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, watch};

/// All shards and the acceptor.
pub struct Server {
    tables: Arc<ArcSwap<Table>>,
    stage: watch::Sender<Stage>,
    shards: Vec<ToShard>,
    counters: Vec<Arc<Counters>>,
    commons: Arc<Commons>,
    room: Arc<Room>,
    settings: Arc<Settings>,
    limits: strict::Limits,
    holdings: Holdings,
    threads: Vec<JoinHandle<()>>,
    acceptors: Vec<JoinHandle<()>>,
}

fn thread<F>(name: String, run: impl FnOnce() -> F + Send + 'static) -> io::Result<JoinHandle<()>>
where
    F: Future<Output = ()> + 'static,
{
    std::thread::Builder::new().name(name).spawn(move || {
        match Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default())
        {
            Ok(runtime) => runtime.block_on(run()),
            Err(error) => tracing::error!(%error, "cannot create the runtime of a thread"),
        }
    })
}

impl Server {
    /// Starts the shards; nothing listens yet.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(
        tables: Arc<ArcSwap<Table>>,
        settings: Arc<Settings>,
        shard_settings: ShardSettings,
        shards: usize,
        max_connections: usize,
    ) -> io::Result<Self> {
        let (stage, _) = watch::channel(Stage::Serving(0));
        let mut server = Self {
            tables: tables.clone(),
            stage,
            shards: Vec::new(),
            counters: Vec::new(),
            commons: Arc::default(),
            room: Arc::new(Room::new(max_connections)),
            settings: settings.clone(),
            limits: shard_settings.limits,
            holdings: Holdings::default(),
            threads: Vec::new(),
            acceptors: Vec::new(),
        };
        let all: Arc<[Arc<Counters>]> = (0..shards.max(1)).map(|_| Arc::default()).collect();
        for (index, counters) in all.iter().enumerate() {
            let (accepted, queue) = mpsc::unbounded_channel();
            let (counters, open) = (counters.clone(), Arc::new(AtomicUsize::new(0)));
            server.shards.push(ToShard { accepted, open });
            server.counters.push(counters.clone());
            let (tables, settings, commons) = (tables.clone(), settings.clone(), server.commons.clone());
            let all = all.clone();
            let (shard_settings, room) = (shard_settings.clone(), server.room.clone());
            let stage = server.stage.subscribe();
            let run = move || {
                let worker = Worker::new(tables, settings, counters, all, commons);
                shard::run(worker, shard_settings, room, queue, stage)
            };
            server.threads.push(thread(format!("shard-{index}"), run)?);
        }
        Ok(server)
    }

    /// Begins to listen and accept.
    ///
    /// # Errors
    /// When another process took the address in the meantime.
    pub fn listen(&mut self, bound: Vec<Bound>) -> Result<(), BindError> {
        let table = self.tables.load();
        for bound in bound {
            let (address, place) = (bound.address(), bound.place());
            let what = place.role;
            let Some(serving) = table.listeners().find(|listener| Place::of(listener) == place).cloned() else {
                continue;
            };
            let listener = bound.listen()?;
            let other = |source| BindError::Other { what, address, source };
            let intake = self.holdings.add(place, &listener).map_err(other)?;
            let (shards, room) = (self.shards.clone(), self.room.clone());
            let run = move || listener::accept(listener, serving, shards, room, intake);
            let started = thread(format!("accept-{}", address.port()), run);
            self.acceptors.push(started.map_err(other)?);
        }
        Ok(())
    }

    /// Tells the shards of a new table, so that connections to endpoints that are gone are closed.
    pub fn table_changed(&self, table: &Table) {
        self.commons.retain(table);
        self.stage.send_if_modified(|stage| {
            let serving = matches!(stage, Stage::Serving(_));
            if serving {
                *stage = Stage::Serving(table.generation);
            }
            serving
        });
    }

    /// Accepts no more. Connections close with their next reply; those that are idle within `spread`, not all at once,
    /// for their clients come back elsewhere.
    pub fn drain(&self, spread: Duration) {
        self.holdings.close();
        self.stage.send_replace(Stage::Draining(spread));
    }

    /// What it listens on, for a successor.
    pub fn holdings(&self) -> Holdings {
        self.holdings.clone()
    }

    /// Whether, after [`Server::drain`], nothing is left to do.
    pub fn is_drained(&self) -> bool {
        self.acceptors.iter().all(JoinHandle::is_finished) && self.open_connections() == 0
    }

    /// What the shards have in common of backends.
    pub fn commons(&self) -> Arc<Commons> {
        self.commons.clone()
    }

    /// Client connections open now.
    pub fn open_connections(&self) -> usize {
        self.shards.iter().map(|shard| shard.open.load(Ordering::Relaxed)).sum()
    }

    /// Client connections refused because there were as many as `--max-connections` allows.
    pub fn connections_refused(&self) -> u64 {
        self.room.refused()
    }

    /// Connections to pods, idle or not.
    pub fn pod_connections(&self) -> usize {
        self.settings.pool.sockets.open()
    }

    /// Whether most requests are refused because of `--max-memory`.
    pub fn is_short_of_memory(&self) -> bool {
        self.settings.short_of_memory.load(Ordering::Relaxed)
    }

    /// Client connections by shard.
    pub fn connections_by_shard(&self) -> Vec<usize> {
        self.shards
            .iter()
            .map(|shard| shard.open.load(Ordering::Relaxed))
            .collect()
    }

    /// What happened, by shard.
    pub fn counters(&self) -> &[Arc<Counters>] {
        &self.counters
    }

    /// The settings of the request's road.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What a client's request head may hold.
    pub fn limits(&self) -> strict::Limits {
        self.limits
    }

    /// Whether every thread still runs: one that ended while serving is a bug the process should not survive.
    pub fn is_whole(&self) -> bool {
        self.threads
            .iter()
            .chain(&self.acceptors)
            .all(|thread| !thread.is_finished())
    }
}
