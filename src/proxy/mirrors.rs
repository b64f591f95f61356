//! Copies of requests for other backends. The original never waits for them: a copy has limits of its own, and beyond them it
//! is lost and counted.

use super::client::Client;
use super::forward::Plan;
use super::subrequest::{self, SubRequest};
use super::worker::Worker;
use crate::table::decide::{Ask, known};
use crate::table::{Backend, Before, Known, Mirror, Protocol, Route, Table};
use bytes::{Bytes, BytesMut};
use http::Method;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Copies that a shard has under way.
const MOST_COPIES: usize = 128;

/// Bytes of a request's body that a copy has.
const MOST_BODY: usize = 1 << 20;

/// Bytes of bodies that the copies of a shard hold together.
const MOST_BODIES: usize = 16 << 20;

/// How long a copy may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes of an answer that are read and thrown away, so that the connection can serve another request.
const LONGEST_ANSWER: usize = 1 << 20;

/// What the copies of a shard hold.
#[derive(Default)]
pub struct Copies {
    under_way: Cell<usize>,
    bytes: Cell<usize>,
}

/// The place of one copy among them, until dropped. One that is dropped before the copy was answered is a copy that is lost.
struct Place {
    worker: Rc<Worker>,
    bytes: usize,
    answered: bool,
}

impl Place {
    fn take(worker: &Rc<Worker>) -> Option<Self> {
        let copies = &worker.copies;
        if copies.under_way.get() >= MOST_COPIES || worker.is_short_of_memory() {
            worker.counters.mirrors_lost.add();
            return None;
        }
        copies.under_way.set(copies.under_way.get() + 1);
        Some(Self {
            worker: worker.clone(),
            bytes: 0,
            answered: false,
        })
    }

    /// Whether it may hold so many bytes more.
    fn holds(&mut self, more: usize) -> bool {
        let bytes = &self.worker.copies.bytes;
        let fits = self.bytes + more <= MOST_BODY && bytes.get() + more <= MOST_BODIES;
        if fits {
            self.bytes += more;
            bytes.set(bytes.get() + more);
        }
        fits
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let copies = &self.worker.copies;
        copies.under_way.set(copies.under_way.get().saturating_sub(1));
        copies.bytes.set(copies.bytes.get().saturating_sub(self.bytes));
        if self.answered {
            self.worker.counters.mirrors.add();
        } else {
            self.worker.counters.mirrors_lost.add();
        }
    }
}

/// A copy that is to be sent once it has all of its body.
pub struct Copy {
    place: Place,
    backend: Arc<Backend>,
    method: Method,
    /// Its head without the last line, and without how long its body is.
    head: Vec<u8>,
    client: Rc<Client>,
    body: BytesMut,
}

impl Copy {
    /// Takes a piece of the body; false if there is no room for it, and then there will be no copy.
    pub fn add(&mut self, data: &[u8]) -> bool {
        let fits = self.place.holds(data.len());
        if fits {
            self.body.extend_from_slice(data);
        }
        fits
    }

    /// The body is complete.
    pub fn send(self, has_body: bool) {
        let Self {
            place,
            backend,
            method,
            mut head,
            client,
            body,
        } = self;
        let body = body.freeze();
        if has_body {
            head.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        }
        head.extend_from_slice(b"\r\n");
        tokio::task::spawn_local(async move {
            // All of it is to be dropped here, and no earlier.
            let mut place = place;
            let worker = place.worker.clone();
            let asked = SubRequest {
                backend: &backend,
                method: &method,
                head,
                body: Some(body).filter(|body: &Bytes| !body.is_empty()),
                patience: PATIENCE,
                most: LONGEST_ANSWER,
                keeps: false,
            };
            match subrequest::send(&worker, &client, &asked).await {
                Ok(_) => place.answered = true,
                Err(why) => tracing::debug!(backend = %backend, cause = %why.cause, "a copy of a request is lost"),
            }
        });
    }
}

/// Begins the copies that a route makes of a request. Those that have its body are sent when all of it has come.
pub fn begin(
    (worker, client): (&Rc<Worker>, &Rc<Client>),
    plan: &Plan<'_>,
    (table, route): (&Table, &Route),
    ask: &Ask<'_>,
) {
    let mirrors = route.policies.before.iter().filter_map(|step| match step {
        Before::Mirror(mirror) => Some(mirror),
        _ => None,
    });
    for mirror in mirrors.filter(|mirror| mirror.share.has(ask.draw)) {
        let Some(place) = Place::take(worker) else { continue };
        let Some(copy) = copy_of(place, client, plan, (table, mirror), &known(ask, plan.canonical, route)) else {
            continue;
        };
        if !mirror.body || plan.upload.is_empty() {
            copy.send(false);
        } else {
            plan.upload.copy(copy);
        }
    }
}

fn copy_of(
    place: Place,
    client: &Rc<Client>,
    plan: &Plan<'_>,
    (table, mirror): (&Table, &Mirror),
    known: &Known<'_>,
) -> Option<Copy> {
    let backend = table.backend(mirror.to)?;
    // A copy is a message of HTTP/1.1, and never a WebSocket.
    if backend.protocol() != Protocol::Http1 || plan.upgrade {
        return None;
    }
    let target = mirror.target.as_ref().map(|target| {
        let graphic = |one: char| one.is_ascii_graphic();
        let target = target.expand(known);
        target.chars().filter(|one| graphic(*one)).collect::<String>()
    });
    Some(Copy {
        place,
        backend: backend.clone(),
        method: plan.request.method.clone(),
        head: plan.head_of_copy(client, target.as_deref(), mirror.host.as_deref()),
        // What is waited for on behalf of the copy is nothing to the client of the original.
        client: Rc::new(Client::new(client.peer.clone())),
        body: BytesMut::new(),
    })
}
