//! Listeners, shards and client connections: everything around a request.

pub mod connection;
mod date;
mod farewell;
mod fresh;
mod h2;
pub mod handover;
pub mod heap;
mod hello;
pub mod listener;
pub mod memory;
mod pace;
mod proxy_protocol;
mod relay;
mod room;
pub mod shard;
#[cfg(test)]
mod simulation;
mod sockets;
pub mod tls;
mod tunnel;

pub use h2::check_head as check_http2_head;
pub use handover::Role;
pub use listener::{BindError, Binding, Bound, bind};
pub use shard::{ShardSettings, Stage};
pub use tls::{Tls, TlsSettings};

use crate::http1::Limits;
use crate::proxy::{Counters, Settings, Worker};
use crate::table::Table;
use crate::upstream::Commons;
use arc_swap::ArcSwap;
use handover::Holdings;
use listener::ToShard;
use room::Room;
use sockets::{Opened, Sockets, SocketsState};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, watch};

/// Says that what accepts has ended, however it did.
struct Ended(Arc<AtomicBool>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// All shards and the acceptor.
pub struct Server {
    stage: watch::Sender<Stage>,
    shards: Vec<ToShard>,
    counters: Vec<Arc<Counters>>,
    commons: Arc<Commons>,
    room: Arc<Room>,
    settings: Arc<Settings>,
    limits: Limits,
    holdings: Holdings,
    threads: Vec<JoinHandle<()>>,
    accepts_no_more: Arc<AtomicBool>,
    begin: mpsc::UnboundedSender<Vec<Opened>>,
    sockets: Arc<SocketsState>,
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
            // As a task: before the runtime goes on with a future that it blocks on, it asks the kernel once more for events.
            Ok(runtime) => runtime.block_on(async { drop(tokio::task::spawn_local(run()).await) }),
            Err(error) => tracing::error!(%error, "cannot create the runtime of a thread"),
        }
    })
}

impl Server {
    /// Starts the shards and what accepts for them; nothing listens yet.
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
        let (begin, begun) = mpsc::unbounded_channel();
        let all: Arc<[Arc<Counters>]> = (0..shards.max(1)).map(|_| Arc::default()).collect();
        let (ways, queues): (Vec<_>, Vec<_>) = all.iter().map(|_| ToShard::new()).unzip();
        let mut server = Self {
            stage,
            shards: ways,
            counters: all.to_vec(),
            commons: Arc::default(),
            room: Arc::new(Room::new(max_connections)),
            settings: settings.clone(),
            limits: shard_settings.limits,
            holdings: Holdings::default(),
            threads: Vec::new(),
            accepts_no_more: Arc::default(),
            begin,
            sockets: Arc::default(),
        };
        let sockets = Sockets {
            tables: tables.clone(),
            shards: server.shards.clone(),
            room: server.room.clone(),
            holdings: server.holdings.clone(),
            binding: shard_settings.binding.clone(),
            state: server.sockets.clone(),
        };
        let ended = Ended(server.accepts_no_more.clone());
        let (acceptor_stage, has_one) = (server.stage.subscribe(), all.len() == 1);
        let accept = async move {
            let _ended = ended;
            sockets.run(begun, acceptor_stage).await;
        };
        // Where there is one shard, it accepts for itself: another thread would have to wake it for each connection.
        let mut accept = Some(accept);
        let mut beside = if has_one { accept.take() } else { None };
        for (index, (counters, queue)) in all.iter().cloned().zip(queues).enumerate() {
            let (tables, settings, commons) = (tables.clone(), settings.clone(), server.commons.clone());
            let (all, beside) = (all.clone(), beside.take());
            let (shard_settings, room) = (shard_settings.clone(), server.room.clone());
            let stage = server.stage.subscribe();
            let run = move || {
                let worker = Worker::new(tables, settings, counters, all, commons);
                async move {
                    if let Some(accept) = beside {
                        tokio::task::spawn_local(accept);
                    }
                    shard::run(worker, shard_settings, room, queue, stage).await;
                }
            };
            server.threads.push(thread(format!("shard-{index}"), run)?);
        }
        if let Some(accept) = accept {
            server.threads.push(thread("accept".to_owned(), || accept)?);
        }
        Ok(server)
    }

    /// Begins to listen and accept on these sockets, and from now on opens and closes sockets as the listeners of the
    /// table come and go.
    ///
    /// # Errors
    /// When another process took the address in the meantime.
    pub fn listen(&mut self, bound: Vec<Bound>) -> Result<(), BindError> {
        let opened = bound.into_iter().map(|bound| Opened::new(bound, &self.holdings));
        let opened = opened.collect::<Result<Vec<_>, _>>()?;
        // A thread that is gone ends the process soon.
        let _ = self.begin.send(opened);
        Ok(())
    }

    /// What is known of the listening sockets.
    pub fn sockets(&self) -> &SocketsState {
        &self.sockets
    }

    /// Tells the shards of a new table, so that connections to endpoints that are gone are closed.
    pub fn table_changed(&self, table: &Table) {
        self.commons.retain(table);
        self.stage.send_if_modified(|stage| stage.follow(table.generation));
    }

    /// Accepts no more. Connections close with their next reply; those that are idle within `spread`, not all at once,
    /// for their clients come back elsewhere.
    pub fn drain(&self, spread: Duration) {
        // The stage comes first: an acceptor that ends in any other stage is replaced.
        self.stage.send_replace(Stage::Draining(spread));
        self.holdings.close();
    }

    /// What it listens on, for a successor.
    pub fn holdings(&self) -> Holdings {
        self.holdings.clone()
    }

    /// Whether, after [`Server::drain`], nothing is left to do.
    pub fn is_drained(&self) -> bool {
        self.accepts_no_more.load(Ordering::Acquire) && self.open_connections() == 0
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
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Whether every thread still runs: one that ended while serving is a bug the process should not survive.
    pub fn is_whole(&self) -> bool {
        let accepts = !self.accepts_no_more.load(Ordering::Acquire);
        accepts && self.threads.iter().all(|thread| !thread.is_finished())
    }
}
