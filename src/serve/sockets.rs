//! Which sockets are open follows from the listeners of the table: after each swap, those that came are opened and those
//! that went are closed. One thread accepts on all of them.

use super::handover::{Holdings, Intake, SocketKey, Transport};
use super::listener::{self, BindError, Binding, Bound, ToShard, bind};
use super::room::Room;
use super::shard::Stage;
use crate::table::{Listener, ListenerId, Table};
use arc_swap::ArcSwap;
use socket2::Socket;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinSet};

/// How often an address is tried again that could not be listened on.
const RETRY: Duration = Duration::from_secs(1);
/// Sockets at most. Each takes two descriptors, for a successor gets duplicates.
const MOST: usize = 4096;
/// Sockets that are opened or closed at a time, before connections are accepted again.
const AT_A_TIME: usize = 64;

/// A socket that listens, and what its acceptor goes by.
pub struct Opened {
    place: SocketKey,
    socket: Socket,
    intake: watch::Receiver<Intake>,
}

impl Opened {
    /// Begins to listen, and has the socket handed over when a successor asks for it.
    ///
    /// # Errors
    /// When another process has begun to listen there, or the process has no descriptor left.
    pub fn new(bound: Bound, holdings: &Holdings) -> Result<Self, BindError> {
        let (place, address) = (bound.place(), bound.address());
        let socket = bound.listen()?;
        let intake = holdings.add(place, &socket).map_err(|source| BindError::Other {
            what: place.role,
            address,
            source,
        })?;
        Ok(Self { place, socket, intake })
    }
}

/// What is known of the sockets, for metrics and the report.
#[derive(Debug, Default)]
pub struct SocketsState {
    open: AtomicUsize,
    failures: AtomicU64,
    failed: Mutex<Arc<BTreeMap<ListenerId, String>>>,
}

impl SocketsState {
    /// How many are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// How often one could not be opened.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// The listeners that are not open, each with the reason.
    pub fn failed(&self) -> Arc<BTreeMap<ListenerId, String>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<ListenerId, String>)) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut failed));
    }
}

/// Opens and closes sockets.
pub struct Sockets {
    /// The tables that say which.
    pub tables: Arc<ArcSwap<Table>>,
    /// Where connections go.
    pub shards: Vec<ToShard>,
    /// The places for connections.
    pub room: Arc<Room>,
    /// What a successor may have.
    pub holdings: Holdings,
    /// How they are bound.
    pub binding: Binding,
    /// What is known of them.
    pub state: Arc<SocketsState>,
}

/// A socket's acceptor.
struct Acceptor {
    listener: ListenerId,
    place: SocketKey,
}

/// The sockets as the accepting thread has them.
struct Open {
    sockets: Sockets,
    open: HashMap<ListenerId, SocketKey>,
    tasks: JoinSet<()>,
    acceptors: HashMap<Id, Acceptor>,
    /// Those and the ones that are about to close.
    taken: HashSet<SocketKey>,
    /// Opened before the table was live.
    ready: Vec<Opened>,
    /// Whether something is to be tried again.
    unfinished: bool,
}

impl Sockets {
    /// Follows the tables from the first time that `begin` gives sockets, until the process drains and the last acceptor
    /// has ended.
    pub async fn run(self, mut begin: mpsc::UnboundedReceiver<Vec<Opened>>, mut stage: watch::Receiver<Stage>) {
        let mut open = Open {
            sockets: self,
            open: HashMap::new(),
            tasks: JoinSet::new(),
            acceptors: HashMap::new(),
            taken: HashSet::new(),
            ready: Vec::new(),
            unfinished: false,
        };
        let mut follows = false;
        loop {
            tokio::select! {
                // Before the acceptors, which end because of it.
                biased;
                changed = stage.changed() => {
                    let is_over = changed.is_err() || matches!(*stage.borrow_and_update(), Stage::Draining(_));
                    if is_over {
                        break;
                    }
                }
                Some(opened) = begin.recv() => {
                    open.ready.extend(opened);
                    follows = true;
                }
                Some(ended) = open.tasks.join_next_with_id() => {
                    let task = ended.map_or_else(|error| error.id(), |(task, ())| task);
                    open.ended(task);
                }
                () = tokio::time::sleep(RETRY), if open.unfinished => {}
            }
            if follows {
                open.follow().await;
            }
        }
        // Whoever waits in the kernel's queues is accepted before they close.
        open.sockets.holdings.close();
        while open.tasks.join_next().await.is_some() {}
    }
}

impl Open {
    /// Brings the sockets in line with the live table. Closing comes first, for a listener may come where another went.
    async fn follow(&mut self) {
        let table = self.sockets.tables.load_full();
        let mut turns = 0;
        let gone: Vec<_> = self
            .open
            .keys()
            .filter(|id| table.listener(**id).is_none())
            .copied()
            .collect();
        for id in gone {
            self.close(id);
            rest(&mut turns).await;
        }
        self.unfinished = false;
        // A successor accepts on the sockets, and opens what is new.
        let handed_over = self.sockets.holdings.is_handed_over();
        for listener in table.listeners() {
            let place = SocketKey::of(listener);
            if self.open.contains_key(&listener.id) {
                continue;
            }
            if handed_over || self.taken.contains(&place) {
                self.unfinished = true;
                continue;
            }
            match self.open(listener, place) {
                Ok(()) => self.opened(listener, place),
                Err(error) => self.failed(listener, &error),
            }
            rest(&mut turns).await;
        }
        for unwanted in std::mem::take(&mut self.ready) {
            self.sockets.holdings.remove(unwanted.place);
        }
        let state = &self.sockets.state;
        state.open.store(self.open.len(), Ordering::Relaxed);
        if !state.failed().is_empty() {
            state.change(|failed| failed.retain(|id, _| table.listener(*id).is_some()));
        }
    }

    fn open(&mut self, listener: &Arc<Listener>, place: SocketKey) -> Result<(), BindError> {
        let Sockets { binding, holdings, .. } = &self.sockets;
        let opened = match self.ready.iter().position(|ready| ready.place == place) {
            Some(index) => self.ready.swap_remove(index),
            None if self.open.len() >= MOST => return Err(BindError::TooMany { most: MOST }),
            None => Opened::new(bind(place, binding)?, holdings)?,
        };
        let (shards, room) = (self.sockets.shards.clone(), self.sockets.room.clone());
        let Opened { socket, intake, .. } = opened;
        let task = match place.transport {
            Transport::Tcp => {
                let accepting = listener::accept(socket.into(), listener.clone(), shards, room, intake);
                self.tasks.spawn_local(accepting)
            }
            Transport::Udp => self.tasks.spawn_local(listener::hold(socket, intake)),
        };
        let listener = listener.id;
        self.acceptors.insert(task.id(), Acceptor { listener, place });
        self.open.insert(listener, place);
        self.taken.insert(place);
        Ok(())
    }

    fn opened(&mut self, listener: &Listener, place: SocketKey) {
        if self.sockets.state.failed().contains_key(&listener.id) {
            self.sockets.state.change(|failed| {
                failed.remove(&listener.id);
            });
            tracing::info!(protocol = %place.role, address = %place.address, "listening here at last");
        } else {
            tracing::debug!(protocol = %place.role, address = %place.address, "listening");
        }
    }

    fn failed(&mut self, listener: &Listener, error: &BindError) {
        self.unfinished = true;
        let state = &self.sockets.state;
        state.failures.fetch_add(1, Ordering::Relaxed);
        let text = error.to_string();
        if state.failed().get(&listener.id) != Some(&text) {
            tracing::debug!("a listener is not open: {text}");
            state.change(|failed| {
                failed.insert(listener.id, text);
            });
        }
    }

    /// Has the acceptor close its socket, and no successor get it.
    fn close(&mut self, id: ListenerId) {
        if let Some(place) = self.open.remove(&id) {
            tracing::debug!(protocol = %place.role, address = %place.address, "no longer listening");
            self.sockets.holdings.remove(place);
        }
    }

    /// An acceptor has ended. One that was not told to is replaced.
    fn ended(&mut self, task: Id) {
        let Some(Acceptor { listener, place }) = self.acceptors.remove(&task) else {
            return;
        };
        self.taken.remove(&place);
        if self.open.remove(&listener).is_some() {
            tracing::error!(protocol = %place.role, address = %place.address, "an acceptor has ended: listening anew");
            self.sockets.holdings.remove(place);
        }
    }
}

/// Lets others have the thread now and then.
async fn rest(turns: &mut usize) {
    *turns += 1;
    if turns.is_multiple_of(AT_A_TIME) {
        tokio::task::yield_now().await;
    }
}
