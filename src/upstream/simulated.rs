//! Byte streams without a kernel, for simulations: a network with a seed says how bytes are cut, and when they arrive.
//!
//! An [`End`] behaves as a socket of Linux does to whoever polls it. A read takes what has arrived and a write what there is
//! room for, or less. Only the waker that came last is told. What has arrived can be read before a reset is noticed, and an
//! end that is dropped with something unread resets the connection.

mod end;

pub use end::End;

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Bytes under way from one end to the other, at most.
const ROOM: usize = 64 << 10;
/// And at the least, for a side that is slow.
const LEAST_ROOM: usize = 512;
/// Bytes of a stream that come in the smallest pieces, where any do.
const DRIBBLED: u64 = 400;

/// Opens a connection to a pod.
pub type Dialling = Pin<Box<dyn Future<Output = io::Result<End>>>>;

/// What opens connections to pods.
type Dialler = Rc<dyn Fn(SocketAddr) -> Dialling>;

thread_local! {
    static PODS: RefCell<Option<Dialler>> = RefCell::default();
}

/// All of a simulation runs on one thread, but hyper wants streams that can be sent to another.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// On this thread, connections to pods are opened by this from now on; absent, by the kernel.
pub fn set_pods(dial: Option<Dialler>) {
    PODS.set(dial);
}

/// Opens a connection to a pod, if pods are simulated on this thread.
pub(super) fn dial(address: SocketAddr) -> Option<Dialling> {
    PODS.with_borrow(|pods| pods.as_ref().map(|dial| dial(address)))
}

/// How the bytes of one direction are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// Not at all.
    Whole,
    /// Into a few pieces, with pauses.
    Pieces,
    /// Into the smallest pieces at first.
    Dribble,
}

/// One direction.
struct Pipe {
    bytes: VecDeque<u8>,
    /// Of these, the ones that have arrived.
    arrived: usize,
    /// Bytes that were written, and read, so far.
    written: u64,
    read: u64,
    style: Style,
    room: usize,
    /// When the last piece arrives that was written; none comes before another.
    last: Instant,
    /// Nothing is taken before.
    shut: Option<Instant>,
    /// Whether the end was sent, and whether it has arrived.
    ended: bool,
    end_arrived: bool,
    /// Whether it was reset, and the reader told so.
    reset: bool,
    reset_told: bool,
    /// Whether the reader is gone.
    unread: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// What was written when the reader had enough of an idle connection.
    idle: Option<u64>,
    /// What was written when the writer last had to wait.
    waits_at: Option<u64>,
    /// All that was written, where that is to be looked at.
    record: Option<Vec<u8>>,
}

impl Pipe {
    fn wake(waker: &mut Option<Waker>) {
        if let Some(waker) = waker.take() {
            waker.wake();
        }
    }
}

/// A connection. Side 0 is the client or the pod, side 1 is narthex.
pub struct Link {
    /// What it is called in a history.
    pub name: String,
    network: Arc<Network>,
    /// By the side that writes.
    pipes: [Mutex<Pipe>; 2],
}

/// What happens in the network at some time.
enum Event {
    Arrive(usize),
    End,
    Reset,
    Writable,
}

struct Due {
    at: Instant,
    number: u64,
    link: Arc<Link>,
    /// The side that has written the bytes.
    side: usize,
    event: Event,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// All connections of one simulation.
pub struct Network {
    random: Mutex<fastrand::Rng>,
    due: Mutex<BinaryHeap<Reverse<Due>>>,
    numbers: AtomicU64,
    sooner: Notify,
    began: Instant,
    /// Whether nothing is cut.
    whole: bool,
    /// What has happened, if anybody wants to know.
    log: Mutex<Option<Vec<String>>>,
    /// Connections whose end at narthex is open.
    held: AtomicUsize,
    /// What narthex did that it must not do.
    faults: Mutex<Vec<String>>,
}

impl Network {
    /// A network whose seed is this. `log` says whether it remembers what happens, `whole` that nothing is cut.
    pub fn new(seed: u64, whole: bool, log: bool) -> Arc<Self> {
        Arc::new(Self {
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
            due: Mutex::default(),
            numbers: AtomicU64::new(0),
            sooner: Notify::new(),
            began: Instant::now(),
            whole,
            log: Mutex::new(log.then(Vec::new)),
            held: AtomicUsize::new(0),
            faults: Mutex::default(),
        })
    }

    /// Remembers a line of the history.
    pub fn note(&self, who: &str, what: impl FnOnce() -> String) {
        if let Some(log) = &mut *lock(&self.log) {
            let now = self.began.elapsed().as_millis();
            log.push(format!("{now:>7} ms  {who:<12} {}", what()));
        }
    }

    /// The history, as far as it was remembered.
    pub fn take_log(&self) -> Vec<String> {
        lock(&self.log).as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// What narthex did that it must not do.
    pub fn take_faults(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.faults))
    }

    /// Connections that narthex holds.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// A connection: the end of a client or a pod, and that of narthex. `record` says whether all is kept that narthex
    /// writes.
    pub fn connect(self: &Arc<Self>, name: String, record: bool) -> (End, End) {
        let pipe = |record: bool| {
            let mut random = lock(&self.random);
            let style = match random.u8(..10) {
                _ if self.whole => Style::Whole,
                0..5 => Style::Whole,
                5..9 => Style::Pieces,
                _ => Style::Dribble,
            };
            let narrow = style != Style::Whole && random.u8(..4) == 0;
            Mutex::new(Pipe {
                bytes: VecDeque::new(),
                arrived: 0,
                written: 0,
                read: 0,
                style,
                room: if narrow { LEAST_ROOM } else { ROOM },
                last: Instant::now(),
                shut: None,
                ended: false,
                end_arrived: false,
                reset: false,
                reset_told: false,
                unread: false,
                reader: None,
                writer: None,
                idle: None,
                waits_at: None,
                record: record.then(Vec::new),
            })
        };
        let link = Arc::new(Link {
            name,
            network: self.clone(),
            pipes: [pipe(false), pipe(record)],
        });
        self.held.fetch_add(1, Ordering::Relaxed);
        (End::new(&link, 0), End::new(&link, 1))
    }

    fn schedule(&self, at: Instant, link: &Arc<Link>, side: usize, event: Event) {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let link = link.clone();
        lock(&self.due).push(Reverse(Due {
            at,
            number,
            link,
            side,
            event,
        }));
        self.sooner.notify_one();
    }

    /// Lets happen what is due, for ever.
    pub async fn run(self: Arc<Self>) {
        loop {
            let next = lock(&self.due).peek().map(|Reverse(due)| due.at);
            match next {
                None => self.sooner.notified().await,
                Some(at) if at > Instant::now() => {
                    let _ = tokio::time::timeout_at(at, self.sooner.notified()).await;
                }
                Some(_) => {
                    let due = lock(&self.due).pop();
                    if let Some(Reverse(due)) = due {
                        due.link.happen(due.side, due.event);
                    }
                }
            }
        }
    }
}

impl Link {
    /// Bytes that one side has written.
    pub fn written_by(&self, side: usize) -> u64 {
        lock(&self.pipes[side]).written
    }

    /// The client or the pod says something, or closes, though nothing is asked of it. narthex must not ask anything
    /// more on this connection once that has arrived.
    pub fn stays_idle(&self) {
        let mut pipe = lock(&self.pipes[1]);
        if pipe.bytes.is_empty() {
            pipe.idle = Some(pipe.written);
        }
    }

    /// Bytes that one side has read.
    pub fn read_by(&self, side: usize) -> u64 {
        lock(&self.pipes[1 - side]).read
    }

    /// What narthex has written, where that is kept.
    pub fn record(&self) -> Vec<u8> {
        lock(&self.pipes[1]).record.clone().unwrap_or_default()
    }

    fn who(&self, side: usize) -> &str {
        if side == 0 { &self.name } else { "narthex" }
    }

    fn happen(self: &Arc<Self>, side: usize, event: Event) {
        let mut pipe = lock(&self.pipes[side]);
        match event {
            Event::Writable => Pipe::wake(&mut pipe.writer),
            Event::Arrive(_) if pipe.unread => {
                // Nobody is there any more: the kernel answers with a reset.
                drop(pipe);
                self.reset(1 - side);
            }
            Event::Arrive(count) => {
                pipe.arrived = (pipe.arrived + count).min(pipe.bytes.len());
                Pipe::wake(&mut pipe.reader);
            }
            Event::End => {
                pipe.end_arrived = true;
                Pipe::wake(&mut pipe.reader);
            }
            Event::Reset => {
                pipe.reset = true;
                Pipe::wake(&mut pipe.reader);
                drop(pipe);
                let mut back = lock(&self.pipes[1 - side]);
                back.unread = true;
                Pipe::wake(&mut back.writer);
            }
        }
    }

    /// One side resets the connection. What is under way from it is lost.
    fn reset(self: &Arc<Self>, side: usize) {
        let mut pipe = lock(&self.pipes[side]);
        if pipe.reset {
            return;
        }
        let arrived = pipe.arrived;
        pipe.bytes.truncate(arrived);
        pipe.ended = true;
        let pause = match pipe.style {
            Style::Whole => 0,
            _ => lock(&self.network.random).u64(..3),
        };
        drop(pipe);
        let at = Instant::now() + Duration::from_millis(pause);
        self.network.schedule(at, self, side, Event::Reset);
    }

    fn end(self: &Arc<Self>, side: usize) {
        let mut pipe = lock(&self.pipes[side]);
        if !std::mem::replace(&mut pipe.ended, true) {
            let at = pipe.last.max(Instant::now());
            self.network.schedule(at, self, side, Event::End);
        }
    }
}
