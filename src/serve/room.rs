//! How many client connections there may be, and who has to go when there is no room for another.

use crate::proxy::reply::NO_ROOM;
use crate::table::ListenerProtocol;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a new connection waits in the kernel's queue for an idle one to go. Then it is told no, until there is room
/// again.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often shards are told that somebody waits.
const REMINDER: Duration = Duration::from_millis(250);

/// The room for client connections, in the whole process.
#[derive(Debug)]
pub struct Room {
    permits: Arc<Semaphore>,
    /// Changes as long as somebody waits.
    wanted: AtomicU64,
    /// Acceptors that wait for a place.
    waiting: AtomicUsize,
    full: AtomicBool,
    refused: AtomicU64,
}

/// One that waits for a place, until dropped.
struct Waiting<'r>(&'r AtomicUsize);

impl<'r> Waiting<'r> {
    fn new(waiting: &'r AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Room {
    /// For so many.
    pub fn new(connections: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS))),
            wanted: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            full: AtomicBool::new(false),
            refused: AtomicU64::new(0),
        }
    }

    /// A place, at once; none if there is none.
    pub fn try_enter(&self) -> Option<OwnedSemaphorePermit> {
        self.permits.clone().try_acquire_owned().ok()
    }

    /// A place, for which idle connections are asked to go. None if that was waited for in vain, and from then on at
    /// once, until there is room again.
    pub async fn enter(&self) -> Option<OwnedSemaphorePermit> {
        let mut left = if self.full.load(Ordering::Relaxed) {
            0
        } else {
            PATIENCE.as_millis() / REMINDER.as_millis()
        };
        let mut place = self.try_enter();
        let _waiting = place.is_none().then(|| Waiting::new(&self.waiting));
        while place.is_none() {
            self.wanted.fetch_add(1, Ordering::Relaxed);
            if left == 0 {
                if !self.full.swap(true, Ordering::Relaxed) {
                    tracing::warn!("--max-connections is reached and no connection is idle: refusing new connections");
                }
                return None;
            }
            left -= 1;
            place = match tokio::time::timeout(REMINDER, self.permits.clone().acquire_owned()).await {
                Ok(place) => place.ok(),
                Err(_) => None,
            };
        }
        self.full.store(false, Ordering::Relaxed);
        place
    }

    /// Changes as long as somebody waits for a place.
    pub fn wanted(&self) -> u64 {
        self.wanted.load(Ordering::Relaxed)
    }

    /// Whether somebody waits for a place now.
    pub fn is_awaited(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Whether all places are taken.
    pub fn is_full(&self) -> bool {
        self.permits.available_permits() == 0
    }

    /// Connections refused for want of room.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Tells a client that there is no room, and closes.
    pub fn refuse(&self, stream: &TcpStream, spoken: ListenerProtocol) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        if spoken != ListenerProtocol::Http {
            return;
        }
        // A socket just accepted takes this much at once. What came already is read, or closing would be a reset.
        let _ = send(stream, NO_ROOM, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
        let _ = shutdown(stream, Shutdown::Write);
        let _ = recv(stream, &mut [0; 16 << 10], RecvFlags::DONTWAIT);
    }
}
