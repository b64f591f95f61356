//! Connections to the admin side: how many there may be, and which of them ends when another needs its place.
//!
//! A newcomer always gets a place, so a probe is answered however many connections others hold: the connection on which
//! nothing has moved for the longest time is closed instead.

use super::Admin;
use super::patient::{Patient, Stream};
use super::reply::{Reply, unless_known};
use crate::serve::handover::Intake;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// Connections to one address at once.
const MOST: usize = 256;
/// How long a client may be behind with reading before its connection may be closed to make room for other answers.
const PATIENCE: Duration = Duration::from_secs(1);
/// What the kernel keeps for a client that reads slowly. It doubles the number: with [`MOST`] connections, 32 MiB.
const SEND_BUFFER: usize = 64 << 10;
/// How long a request head may take, and a connection be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the kernel may keep what a client does not acknowledge.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes of a request head.
const HEAD_BYTES: usize = 64 << 10;

/// One connection, as others see it.
#[derive(Debug)]
pub struct Conversation {
    marks: Mutex<Marks>,
    end: Notify,
}

#[derive(Debug)]
struct Marks {
    /// When a byte was last read or written.
    moved: Instant,
    /// Since when bytes wait that the client does not take.
    behind: Option<Instant>,
    /// Whether the client waits for us: its request is there, and the answer is not made yet.
    answering: bool,
}

impl Conversation {
    /// One that begins now.
    pub fn new() -> Self {
        let marks = Marks {
            moved: Instant::now(),
            behind: None,
            answering: false,
        };
        Self {
            marks: Mutex::new(marks),
            end: Notify::new(),
        }
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A byte was read or written.
    pub fn moved(&self) {
        self.marks().moved = Instant::now();
    }

    /// A request was read, or its answer is made.
    fn set_answering(&self, answering: bool) {
        let mut marks = self.marks();
        marks.answering = answering;
        marks.moved = Instant::now();
    }

    /// The client is, or is no longer, behind with reading.
    pub fn set_behind(&self, since: Option<Instant>) {
        self.marks().behind = since;
    }
}

/// The connections to one address.
#[derive(Debug, Default)]
pub struct Connections(Mutex<Vec<Arc<Conversation>>>);

impl Connections {
    fn all(&self) -> MutexGuard<'_, Vec<Arc<Conversation>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more connection.
    pub fn enter(self: &Arc<Self>) -> ConnectionGuard {
        let conversation = Arc::new(Conversation::new());
        let mut all = self.all();
        if all.len() >= MOST {
            // A client that waits for us is not still for its own sake.
            let still = all.iter().enumerate().min_by_key(|(_, one)| {
                let marks = one.marks();
                (marks.answering, marks.moved)
            });
            if let Some(index) = still.map(|(index, _)| index) {
                all.swap_remove(index).end.notify_one();
            }
        }
        all.push(conversation.clone());
        ConnectionGuard {
            among: self.clone(),
            conversation,
        }
    }

    /// Closes the connection whose client has been behind with reading for the longest time, if there is one.
    pub fn end_slowest(&self) -> bool {
        let mut all = self.all();
        let behind = all.iter().enumerate();
        let behind = behind.filter_map(|(index, one)| Some((one.marks().behind?, index)));
        let slowest = behind.filter(|(since, _)| since.elapsed() >= PATIENCE).min();
        let Some((_, index)) = slowest else { return false };
        all.swap_remove(index).end.notify_one();
        true
    }
}

/// A connection's place, given back when it ends.
#[derive(Debug)]
pub struct ConnectionGuard {
    among: Arc<Connections>,
    conversation: Arc<Conversation>,
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        let mut all = self.among.all();
        all.retain(|other| !Arc::ptr_eq(other, &self.conversation));
    }
}

/// Answers on the admin address until the process ends.
pub async fn run(listener: std::net::TcpListener, admin: Arc<Admin>, mut intake: watch::Receiver<Intake>) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "the admin address cannot be served");
            return;
        }
    };
    loop {
        if intake.wait_for(|intake| *intake == Intake::Open).await.is_err() {
            return;
        }
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = intake.changed() => continue,
        };
        let (stream, from) = match accepted {
            Ok((stream, from)) => (stream, from.ip()),
            Err(error) => {
                tracing::debug!(%error, "the admin address cannot accept connections at the moment");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let socket = SockRef::from(&stream);
        let _ = socket.set_send_buffer_size(SEND_BUFFER);
        // The end of an answer may lie in the kernel when the connection is closed already.
        let _ = socket.set_tcp_user_timeout(Some(WRITE_TIMEOUT));
        let place = admin.connections.enter();
        let admin = admin.clone();
        tokio::spawn(converse(stream, place, move |request| {
            let admin = admin.clone();
            async move {
                let reply = admin.answer(&request, from).await;
                admin.identity.mark(unless_known(&request, reply))
            }
        }));
    }
}

/// One connection, to its end.
pub async fn converse<S, F>(stream: S, place: ConnectionGuard, answer: impl Fn(Request<()>) -> F)
where
    S: Stream,
    F: Future<Output = Reply>,
{
    let conversation = &*place.conversation;
    let service = service_fn(|request: Request<Incoming>| {
        conversation.set_answering(true);
        let answering = answer(request.map(drop));
        async {
            let reply = answering.await;
            conversation.set_answering(false);
            Ok::<_, Infallible>(reply)
        }
    });
    let patient = Patient::new(stream, place.conversation.clone());
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(patient), service);
    tokio::select! {
        served = serving => if let Err(error) = served {
            tracing::debug!(%error, "a connection to the admin address broke off");
        },
        () = place.conversation.end.notified() => {
            tracing::debug!("a connection to the admin address was closed to make room for others");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_connection_on_which_nothing_moves_makes_room() {
        let connections = Arc::new(Connections::default());
        let mut places = Vec::new();
        for _ in 0..MOST {
            places.push(connections.enter());
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        // The oldest has just been heard of, so the second oldest goes.
        places[0].conversation.moved();
        let _newcomer = connections.enter();
        assert_eq!(connections.all().len(), MOST);
        places[1].conversation.end.notified().await;
        drop(places);
        assert_eq!(connections.all().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn only_who_is_behind_for_a_while_is_closed_for_others() {
        let connections = Arc::new(Connections::default());
        let (first, second) = (connections.enter(), connections.enter());
        assert!(!connections.end_slowest(), "nobody is behind");
        second.conversation.set_behind(Some(Instant::now()));
        assert!(!connections.end_slowest(), "not for long yet");
        tokio::time::advance(PATIENCE).await;
        first.conversation.set_behind(Some(Instant::now()));
        assert!(connections.end_slowest());
        second.conversation.end.notified().await;
        assert!(!connections.end_slowest(), "the other has just begun to be");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_an_answer_keeps_the_connection() {
        let connections = Arc::new(Connections::default());
        let scrape = connections.enter();
        scrape.conversation.set_answering(true);
        let mut idle = Vec::new();
        for _ in 1..MOST {
            tokio::time::advance(Duration::from_millis(1)).await;
            idle.push(connections.enter());
        }
        let is_there = |place: &ConnectionGuard| {
            connections
                .all()
                .iter()
                .any(|one| Arc::ptr_eq(one, &place.conversation))
        };
        let _newcomer = connections.enter();
        assert!(is_there(&scrape) && !is_there(&idle[0]), "the oldest that is idle goes");
        scrape.conversation.set_answering(false);
        for _ in 0..=MOST {
            tokio::time::advance(Duration::from_millis(1)).await;
            idle.push(connections.enter());
        }
        assert!(!is_there(&scrape), "its answer is made, and nothing has moved since");
    }
}
