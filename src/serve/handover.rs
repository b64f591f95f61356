//! Listening sockets outlive the process: a successor on the same node takes them over, so that nobody who is in the
//! kernel's queue or still in the handshake of TCP is lost.
//!
//! The one that serves listens on an abstract Unix socket (unix(7)), which all processes of a network namespace see, so
//! also pods with hostNetwork. A successor asks there for the sockets it is to listen on, gets duplicates of them, and
//! says so when it accepts. Then the other one accepts no more. It keeps its duplicates: should the successor end while
//! the other is still there, that one accepts again.

mod wire;

#[cfg(test)]
mod tests;

pub use wire::{Role, SocketKey, Transport};

use rustix::net::SocketType;
use rustix::net::sockopt::{socket_acceptconn, socket_type};
use rustix::process::{getegid, geteuid};
use socket2::Socket;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use wire::{MOST, Message};

/// How long the other process may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a name that somebody has is tried again.
const AGAIN: Duration = Duration::from_millis(100);
/// Successors at once that have asked and do not serve yet.
const MOST_WAITING: usize = 4;

/// What an acceptor is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intake {
    /// Accept.
    Open,
    /// Leave the queue to the successor.
    Paused,
    /// Close the socket; who is in the queue is accepted first, unless there is a successor.
    Closed,
}

/// A socket as it can be handed over.
struct Held {
    place: SocketKey,
    duplicate: OwnedFd,
    intake: watch::Sender<Intake>,
}

/// All sockets the process listens on.
#[derive(Clone, Default)]
pub struct Holdings(Arc<Mutex<Vec<Held>>>);

impl Holdings {
    fn lock(&self) -> MutexGuard<'_, Vec<Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more, and what its acceptor is to go by.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn add(&self, place: SocketKey, socket: impl AsFd) -> io::Result<watch::Receiver<Intake>> {
        let (intake, receiver) = watch::channel(Intake::Open);
        let duplicate = socket.as_fd().try_clone_to_owned()?;
        self.lock().push(Held {
            place,
            duplicate,
            intake,
        });
        Ok(receiver)
    }

    /// A socket is not held any more. Its acceptor closes it, and accepts whoever is in its queue first, unless it has
    /// paused.
    pub fn remove(&self, place: SocketKey) {
        self.lock().retain(|held| held.place != place);
    }

    /// Whether a successor has all that clients connect to.
    pub fn is_handed_over(&self) -> bool {
        let held = self.lock();
        let mut listeners = held.iter().filter(|held| held.place.role != Role::Admin);
        !held.is_empty() && listeners.all(|held| *held.intake.borrow() == Intake::Paused)
    }

    /// Closes what clients connect to, for good.
    pub fn close(&self) {
        self.lock().retain(|held| {
            let stays = held.place.role == Role::Admin;
            // An acceptor that has paused sees its sender go, and leaves the queue alone.
            if !stays && *held.intake.borrow() == Intake::Open {
                held.intake.send_replace(Intake::Closed);
            }
            stays
        });
    }

    fn duplicates(&self, wanted: &[SocketKey]) -> (Vec<SocketKey>, Vec<OwnedFd>) {
        let held = self.lock();
        let found = wanted.iter().filter_map(|wanted| {
            let held = held.iter().find(|held| held.place == *wanted)?;
            Some((*wanted, held.duplicate.try_clone().ok()?))
        });
        found.take(MOST).unzip()
    }

    fn set(&self, places: &[SocketKey], intake: Intake) {
        for held in self.lock().iter().filter(|held| places.contains(&held.place)) {
            held.intake.send_replace(intake);
        }
    }
}

/// A name on the node, for one narthex and its successors.
#[derive(Clone, Debug)]
pub struct Name(UnixAddress);

impl Name {
    /// A name as the flag has it.
    ///
    /// # Errors
    /// When it is too long for the kernel.
    pub fn new(name: &str) -> io::Result<Self> {
        UnixAddress::from_abstract_name(format!("narthex/{name}")).map(Self)
    }

    fn connect(&self) -> io::Result<UnixStream> {
        let stream = StdUnixStream::connect_addr(&self.0)?;
        stream.set_nonblocking(true)?;
        UnixStream::from_std(stream)
    }

    fn bind(&self) -> io::Result<UnixListener> {
        let listener = StdUnixListener::bind_addr(&self.0)?;
        listener.set_nonblocking(true)?;
        UnixListener::from_std(listener)
    }
}

/// Names in this namespace belong to nobody, so each side looks who the other is.
fn is_ours(stream: &UnixStream) -> bool {
    stream
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == geteuid().as_raw() && peer.gid() == getegid().as_raw())
}

async fn timely<T>(what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(PATIENCE, what)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// The process whose sockets these were.
pub struct Predecessor {
    stream: UnixStream,
    name: Name,
    places: Vec<SocketKey>,
}

/// A socket that was handed over.
pub struct Inherited {
    /// What it is.
    pub place: SocketKey,
    /// The socket, which listens or takes datagrams.
    pub socket: Socket,
}

/// Asks whoever serves under this name for its sockets; absent if nobody does.
///
/// # Errors
/// When somebody is there who does not hand over: another user, another program, or one that is stuck.
pub async fn ask(name: &Name, wanted: &[SocketKey]) -> io::Result<Option<(Predecessor, Vec<Inherited>)>> {
    let questions = questions(wanted);
    let all = ask_each(name, &questions).await;
    match all {
        // A release that takes only one question hangs up on the second one. It has nothing that is not in the first.
        Err(error) if has_hung_up(&error) && questions.len() > 1 => {
            ask_each(name, questions.get(..1).unwrap_or_default()).await
        }
        other => other,
    }
}

fn has_hung_up(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | BrokenPipe | ConnectionReset)
}

/// What is asked for at a time: first what earlier releases know. To them a place that carries datagrams would be the one
/// for TCP at the same address.
fn questions(wanted: &[SocketKey]) -> Vec<Vec<SocketKey>> {
    let (connections, datagrams): (Vec<SocketKey>, Vec<SocketKey>) =
        wanted.iter().partition(|place| place.transport == Transport::Tcp);
    let mut questions: Vec<_> = connections.chunks(MOST).map(<[SocketKey]>::to_vec).collect();
    questions.extend(datagrams.chunks(MOST).map(<[SocketKey]>::to_vec));
    questions
}

async fn ask_each(name: &Name, questions: &[Vec<SocketKey>]) -> io::Result<Option<(Predecessor, Vec<Inherited>)>> {
    let stream = match name.connect() {
        Ok(stream) => stream,
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(None),
        Err(error) => return Err(error),
    };
    if !is_ours(&stream) {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "a process of another user has this name",
        ));
    }
    let (mut places, mut inherited) = (Vec::new(), Vec::new());
    for wanted in questions {
        for (place, descriptor) in timely(ask_for(&stream, wanted)).await? {
            places.push(place);
            let socket = Socket::from(descriptor);
            inherited.push(Inherited { place, socket });
        }
    }
    let predecessor = Predecessor {
        stream,
        name: name.clone(),
        places,
    };
    Ok(Some((predecessor, inherited)))
}

async fn ask_for(stream: &UnixStream, wanted: &[SocketKey]) -> io::Result<Vec<(SocketKey, OwnedFd)>> {
    wire::send(stream, &Message::Wants(wanted.to_vec()), &[]).await?;
    let (Message::Gives(places), descriptors) = wire::receive(stream).await? else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    if places.len() != descriptors.len() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut given = Vec::new();
    for (place, descriptor) in places.into_iter().zip(descriptors) {
        let fits = match place.transport {
            Transport::Tcp => socket_acceptconn(&descriptor)?,
            Transport::Udp => socket_type(&descriptor)? == SocketType::DGRAM,
        };
        if !fits || !wanted.contains(&place) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        given.push((place, descriptor));
    }
    Ok(given)
}

impl Predecessor {
    /// Tells it that its sockets are accepted on here, and gives back what must be kept as long as that is so. It may
    /// have ended in the meantime, or handed over to another, which is then the one to be told.
    pub async fn take_over(self) -> Option<UnixStream> {
        match self.tell().await {
            Ok(()) => return Some(self.stream),
            Err(error) => tracing::debug!(%error, "the previous narthex is gone"),
        }
        let (other, _) = ask(&self.name, &self.places).await.ok().flatten()?;
        other.tell().await.is_ok().then_some(other.stream)
    }

    async fn tell(&self) -> io::Result<()> {
        timely(async {
            wire::send(&self.stream, &Message::Serves, &[]).await?;
            match wire::receive(&self.stream).await? {
                (Message::Yours, _) => Ok(()),
                _ => Err(io::ErrorKind::InvalidData.into()),
            }
        })
        .await
    }
}

/// A successor that has said it serves.
struct Successor {
    stream: UnixStream,
    places: Vec<SocketKey>,
}

/// Offers the sockets to successors, until the process ends. `taken` tells whether one has them.
pub async fn offer(name: Name, holdings: Holdings, taken: watch::Sender<bool>) {
    loop {
        let listener = own(&name).await;
        let successor = wait_for_successor(listener, &holdings).await;
        holdings.set(&successor.places, Intake::Paused);
        tracing::info!("handed over: the next narthex accepts connections from now on");
        taken.send_replace(true);
        let told = timely(wire::send(&successor.stream, &Message::Yours, &[])).await;
        // It says nothing more, so whatever comes is its end.
        while told.is_ok() && wire::receive(&successor.stream).await.is_ok() {}
        taken.send_replace(false);
        tracing::warn!("the next narthex has exited: this process accepts connections again");
        holdings.set(&successor.places, Intake::Open);
    }
}

/// The name, as soon as nobody else has it.
async fn own(name: &Name) -> UnixListener {
    let mut said = false;
    loop {
        match name.bind() {
            Ok(listener) => return listener,
            Err(error) => {
                if !std::mem::replace(&mut said, true) {
                    tracing::debug!(%error, "the name for hand-overs is not free yet");
                }
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Hands duplicates to whoever asks, until one of them serves. The listener ends with this, and others that have asked
/// are hung up on: they find the successor by the name.
async fn wait_for_successor(listener: UnixListener, holdings: &Holdings) -> Successor {
    let (serves, mut serving) = mpsc::channel(1);
    let mut asking = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if asking.len() < MOST_WAITING => match accepted {
                Ok((stream, _)) if is_ours(&stream) => {
                    asking.spawn(give(stream, holdings.clone(), serves.clone()));
                }
                Ok(_) => tracing::warn!("refused the listening sockets to a process of another user"),
                Err(error) => {
                    tracing::debug!(%error, "cannot accept a successor at the moment");
                    tokio::time::sleep(AGAIN).await;
                }
            },
            Some(ended) = asking.join_next() => {
                if let Ok(Err(error)) = ended {
                    tracing::debug!(%error, "a successor did not take over");
                }
            }
            Some(successor) = serving.recv() => return successor,
        }
    }
}

async fn give(stream: UnixStream, holdings: Holdings, serves: mpsc::Sender<Successor>) -> io::Result<()> {
    let mut given: Vec<SocketKey> = Vec::new();
    let mut heard = timely(wire::receive(&stream)).await?;
    while let (Message::Wants(mut wanted), _) = heard {
        // Each is given once, so that what is given is bounded by what there is.
        wanted.retain(|place| !given.contains(place));
        let (places, duplicates) = holdings.duplicates(&wanted);
        let descriptors: Vec<BorrowedFd<'_>> = duplicates.iter().map(AsFd::as_fd).collect();
        timely(wire::send(&stream, &Message::Gives(places.clone()), &descriptors)).await?;
        drop(duplicates);
        given.extend(places);
        // It is not ready before its table is, which may take as long as the API server does.
        heard = wire::receive(&stream).await?;
    }
    match heard {
        (Message::Serves, _) => {
            let places = given;
            let _ = serves.send(Successor { stream, places }).await;
            Ok(())
        }
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}
