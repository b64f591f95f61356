//! The live side of backends on one shard: endpoints' state, balance, health, connections.
//!
//! What must survive a swap of tables lives here, found again by identity. Nothing here is shared with another shard
//! but one relaxed counter per backend, which is touched only when the shard has nothing in flight to it.

pub mod clock;
pub mod endpoint;
pub mod h2;
pub mod pool;
pub mod proxy_protocol;

pub use clock::{Clock, TICK, Tick};
pub use endpoint::LiveEndpoint;
pub use pool::{Connection, PoolSettings};

use crate::table::{Backend, BackendId, Table};
use bytes::Bytes;
use foldhash::HashMap;
use http_body::Body;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Start positions, one per backend, shared by all shards: so that few requests spread evenly however many shards
/// there are.
#[derive(Debug, Default)]
pub struct Rotations {
    by_backend: Mutex<HashMap<BackendId, Arc<AtomicUsize>>>,
}

impl Rotations {
    fn of(&self, backend: BackendId) -> Arc<AtomicUsize> {
        self.by_backend
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(backend)
            .or_default()
            .clone()
    }

    /// Forgets backends that are gone from the table.
    pub fn retain(&self, table: &Table) {
        self.by_backend
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|backend, _| table.backend(*backend).is_some());
    }
}

/// One backend's live state on one shard.
pub struct Upstream<B> {
    seen: RefCell<Arc<Backend>>,
    endpoints: RefCell<Vec<Rc<LiveEndpoint<B>>>>,
    in_flight: Cell<u32>,
    rotation: Arc<AtomicUsize>,
}

/// A request's hold on an endpoint: counted in its load until dropped.
pub struct Lease<B> {
    upstream: Rc<Upstream<B>>,
    /// The endpoint.
    pub endpoint: Rc<LiveEndpoint<B>>,
}

impl<B> Drop for Lease<B> {
    fn drop(&mut self) {
        let (upstream, endpoint) = (&self.upstream.in_flight, &self.endpoint.in_flight);
        upstream.set(upstream.get().saturating_sub(1));
        endpoint.set(endpoint.get().saturating_sub(1));
    }
}

impl<B> Upstream<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn new(backend: &Arc<Backend>, rotation: Arc<AtomicUsize>) -> Self {
        let upstream = Self {
            seen: RefCell::new(backend.clone()),
            endpoints: RefCell::default(),
            in_flight: Cell::new(0),
            rotation,
        };
        upstream.replace_endpoints(backend);
        upstream
    }

    /// Follows the table: new endpoints come, gone ones lose their connections, the others keep all they have.
    fn refresh(&self, backend: &Arc<Backend>) {
        if !Arc::ptr_eq(&self.seen.borrow(), backend) {
            self.seen.replace(backend.clone());
            self.replace_endpoints(backend);
        }
    }

    fn replace_endpoints(&self, backend: &Backend) {
        let mut endpoints = self.endpoints.borrow_mut();
        let known = endpoints.drain(..).map(|live| (live.endpoint.identity(), live));
        let mut old: HashMap<_, _> = known.collect();
        for wanted in backend.endpoints.iter() {
            let kept = old.remove(&wanted.identity());
            endpoints.push(kept.unwrap_or_else(|| Rc::new(LiveEndpoint::new(wanted.clone()))));
        }
        for live in old.into_values() {
            live.gone.set(true);
            live.pool.clear();
            live.h2.clear();
        }
    }

    /// Chooses an endpoint that was not tried yet: with nothing in flight the next in turn, else the less loaded of
    /// two at random. Endpoints set aside are passed over as long as there is another.
    pub fn pick(self: &Rc<Self>, tried: &[Rc<LiveEndpoint<B>>], clock: &Clock) -> Option<Lease<B>> {
        let endpoints = self.endpoints.borrow();
        let free = |live: &Rc<LiveEndpoint<B>>| !tried.iter().any(|other| Rc::ptr_eq(live, other));
        let chosen = match endpoints.as_slice() {
            [] => return None,
            [only] => free(only).then_some(only)?,
            all => {
                let usable = |live: &Rc<LiveEndpoint<B>>| free(live) && !live.set_aside(clock);
                self.choose(all, usable).or_else(|| self.choose(all, free))?
            }
        };
        chosen.picked(clock);
        chosen.in_flight.set(chosen.in_flight.get() + 1);
        self.in_flight.set(self.in_flight.get() + 1);
        Some(Lease {
            upstream: self.clone(),
            endpoint: chosen.clone(),
        })
    }

    fn choose<'e>(
        &self,
        all: &'e [Rc<LiveEndpoint<B>>],
        accept: impl Fn(&Rc<LiveEndpoint<B>>) -> bool,
    ) -> Option<&'e Rc<LiveEndpoint<B>>> {
        let from = |start: usize| {
            let (head, tail) = all.split_at(start % all.len());
            tail.iter().chain(head).find(|live| accept(live))
        };
        if self.in_flight.get() == 0 {
            return from(self.rotation.fetch_add(1, Ordering::Relaxed));
        }
        let first = fastrand::usize(..all.len());
        let second = (first + fastrand::usize(1..all.len())) % all.len();
        match (all.get(first), all.get(second)) {
            (Some(a), Some(b)) if accept(a) && accept(b) => {
                Some(if b.in_flight.get() < a.in_flight.get() { b } else { a })
            }
            _ => from(first),
        }
    }
}

/// A slot of the table, with the backend that has it.
type Slot<B> = Option<(BackendId, Rc<Upstream<B>>)>;

/// All backends' live state on one shard, by slot.
pub struct Upstreams<B> {
    by_slot: RefCell<Vec<Slot<B>>>,
    rotations: Arc<Rotations>,
}

impl<B> Upstreams<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Nothing yet; `rotations` is shared by all shards.
    pub fn new(rotations: Arc<Rotations>) -> Self {
        Self {
            by_slot: RefCell::default(),
            rotations,
        }
    }

    /// The live state of a backend, as the table now has it; none if the table has it no more.
    pub fn get(&self, table: &Table, id: BackendId) -> Option<Rc<Upstream<B>>> {
        let backend = table.backend(id)?;
        let slot = id.slot as usize;
        if let Some(Some((known, upstream))) = self.by_slot.borrow().get(slot)
            && *known == id
        {
            upstream.refresh(backend);
            return Some(upstream.clone());
        }
        let mut by_slot = self.by_slot.borrow_mut();
        if by_slot.len() <= slot {
            by_slot.resize_with(slot + 1, || None);
        }
        let upstream = Rc::new(Upstream::new(backend, self.rotations.of(id)));
        if let Some(place) = by_slot.get_mut(slot) {
            // One that stood here is another backend's, gone since; its connections go with it.
            if let Some((_, old)) = place.replace((id, upstream.clone())) {
                old.replace_endpoints_with_none();
            }
        }
        Some(upstream)
    }

    /// Follows a new table: connections to endpoints that are gone are closed at once, used or not.
    pub fn follow(&self, table: &Table) {
        for place in self.by_slot.borrow_mut().iter_mut() {
            let Some((id, upstream)) = place else { continue };
            match table.backend(*id) {
                Some(backend) => upstream.refresh(backend),
                None => {
                    upstream.replace_endpoints_with_none();
                    *place = None;
                }
            }
        }
    }

    /// Closes connections that have been idle too long.
    pub fn sweep(&self, clock: &Clock, settings: &PoolSettings) {
        for (_, upstream) in self.by_slot.borrow().iter().flatten() {
            for live in upstream.endpoints.borrow().iter() {
                live.pool.sweep(clock, settings);
                live.h2.sweep();
            }
        }
    }
}

impl<B> Upstream<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn replace_endpoints_with_none(&self) {
        for live in self.endpoints.take() {
            live.gone.set(true);
            live.pool.clear();
            live.h2.clear();
        }
    }
}
