//! A client: sends requests on one connection, looks at what comes, and judges whether that may be.

mod judge;

use super::message::{Body, Framing, Head, Reader, Stop, Whose};
use super::process::{IDLE, prefix};
use super::world::{Ask, World};
use crate::upstream::simulated::End;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Where a client leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    Never,
    /// In the head of the request with this place.
    Head(usize),
    /// In its body.
    Body(usize),
    /// Some time after it was sent.
    Later(usize),
}

/// What the two halves of a client tell each other.
#[derive(Default)]
struct Talk {
    /// Requests whose final response has come.
    answered: Cell<usize>,
    /// Requests that may go on with their body.
    continued: Cell<usize>,
    /// Whether nothing more is to be sent.
    over: Cell<bool>,
    /// Whether the client has left, or closed its half.
    left: Cell<bool>,
    /// Whether it was slower than narthex allows.
    slow: Cell<bool>,
    /// Where in the stream each request begins.
    begins: RefCell<Vec<u64>>,
    changed: Notify,
    gone: Notify,
}

impl Talk {
    fn tell(&self) {
        self.changed.notify_one();
    }

    /// Waits until something is so, or nothing more is to be sent.
    async fn until(&self, is: impl Fn(&Self) -> bool) {
        while !self.over.get() && !is(self) {
            self.changed.notified().await;
        }
    }
}

/// One connection of a client.
pub struct Client {
    world: Rc<World>,
    end: Rc<End>,
    talk: Rc<Talk>,
    /// The requests' numbers.
    asks: Vec<usize>,
    pipelines: bool,
    leave: Leave,
    /// Whether it closes its half when all is sent.
    half_closes: bool,
    serves_half_closed: bool,
    /// Whether it may think for a while.
    pauses: bool,
}

/// Makes a request.
pub fn ask(world: &World) -> usize {
    let method = world.one(&[
        "GET", "GET", "GET", "HEAD", "POST", "POST", "PUT", "DELETE", "OPTIONS", "PATCH",
    ]);
    let old = world.chance(1, 40);
    let may_have_body = matches!(method, "POST" | "PUT" | "PATCH") || world.chance(1, 20);
    let length = match world.below(20) {
        0..2 => 0,
        2..17 => world.below(400),
        17 | 18 => world.below(9000),
        _ => world.below(90_000),
    };
    let framing = if old || world.chance(1, 2) {
        Framing::Length(length)
    } else {
        Framing::Chunked
    };
    let body = (may_have_body && world.chance(9, 10)).then(|| Body {
        length,
        framing,
        trailers: framing == Framing::Chunked && world.chance(1, 3),
    });
    let mut asks = world.asks.borrow_mut();
    let id = asks.len();
    asks.push(Ask {
        id,
        route: usize::from(world.chance(1, 4)),
        method,
        old,
        expects: !old && body.is_some_and(|body| body.length > 0) && world.chance(1, 6),
        body,
        closes: world.chance(1, 40),
        takes_trailers: world.chance(1, 2),
        began: Instant::now(),
        head_sent: false,
        sent: false,
        taken: false,
    });
    id
}

impl Client {
    /// A client that has connected just now.
    pub fn new(world: Rc<World>, end: End, serves_half_closed: bool) -> Self {
        let weather = world.weather.get();
        let count = 1 + world.below(20);
        let place = world.below(count);
        let leave = match world.below(8) {
            0 if weather.goes => Leave::Head(place),
            1 if weather.goes => Leave::Body(place),
            2 if weather.goes => Leave::Later(place),
            _ => Leave::Never,
        };
        Self {
            asks: (0..count).map(|_| ask(&world)).collect(),
            pipelines: world.chance(1, 3),
            leave,
            half_closes: weather.goes && world.chance(1, 8),
            end: Rc::new(end),
            talk: Rc::default(),
            serves_half_closed,
            pauses: true,
            world,
        }
    }

    /// One that sends a single plain request, and has to be answered by a pod.
    pub fn plain(world: Rc<World>, end: End, route: usize) -> Self {
        let id = ask(&world);
        {
            let mut asks = world.asks.borrow_mut();
            (asks[id].route, asks[id].method, asks[id].body, asks[id].old) = (route, "GET", None, false);
            asks[id].expects = false;
        }
        Self {
            asks: vec![id],
            pipelines: false,
            leave: Leave::Never,
            half_closes: false,
            end: Rc::new(end),
            talk: Rc::default(),
            serves_half_closed: false,
            pauses: false,
            world,
        }
    }

    /// Sends, reads and judges until the connection ends. How many of its requests pods have answered in full.
    pub async fn run(self) -> usize {
        let sender = Rc::new(self);
        let sending = tokio::task::spawn_local({
            let sender = sender.clone();
            async move { sender.send().await }
        });
        let reading = pin!(sender.read());
        let gone = pin!(sender.talk.gone.notified());
        let read = first(reading, gone).await.unwrap_or(0);
        sender.talk.over.set(true);
        sending.abort();
        if sending.await.is_err_and(|error| error.is_panic()) {
            sender.world.fault("a client panics".to_owned());
        }
        read
    }

    fn note(&self, what: impl FnOnce() -> String) {
        self.world.network.note(&self.end.link().name, what);
    }

    /// Leaves, in order or by a reset.
    fn leaves(&self) {
        self.note(|| "leaves".to_owned());
        self.talk.left.set(true);
        if self.world.chance(1, 3) {
            self.end.reset_when_dropped();
        }
        self.talk.gone.notify_one();
    }

    async fn send(&self) {
        let (world, talk) = (&self.world, &self.talk);
        for (place, id) in self.asks.iter().enumerate() {
            if self.pipelines {
                world.pause(world.one(&[0, 0, 3, 30])).await;
            } else {
                talk.until(|talk| talk.answered.get() >= place).await;
                if self.pauses {
                    world.pause(world.one(&[0, 0, 0, 0, 0, 5, 30, 600, 6000])).await;
                }
            }
            if talk.over.get() {
                return;
            }
            let ask = {
                let mut asks = world.asks.borrow_mut();
                asks[*id].began = Instant::now();
                asks[*id].clone()
            };
            talk.begins.borrow_mut().push(self.end.link().written_by(0));
            let head = head(&ask);
            let head = head.as_bytes();
            if self.leave == Leave::Head(place) {
                let _ = self.end.give(&head[..world.below(head.len())]).await;
                world.pause(20).await;
                return self.leaves();
            }
            if self.give(head).await.is_err() {
                return;
            }
            world.asks.borrow_mut()[*id].head_sent = true;
            if let Some(body) = &ask.body {
                let bytes = body.bytes(Whose::Request(*id), world);
                if ask.expects {
                    let patience = Duration::from_millis(1500);
                    let waits = talk.until(|talk| talk.continued.get() > place || talk.answered.get() > place);
                    let _ = tokio::time::timeout(patience, waits).await;
                    if talk.answered.get() > place && talk.continued.get() <= place {
                        // It is not wanted, and nothing else is sent on this connection.
                        return;
                    }
                }
                if self.leave == Leave::Body(place) {
                    let _ = self.end.give(&bytes[..world.below(bytes.len().max(1))]).await;
                    world.pause(20).await;
                    return self.leaves();
                }
                if !bytes.is_empty() && self.give(&bytes).await.is_err() {
                    return;
                }
            }
            world.asks.borrow_mut()[*id].sent = true;
            if self.leave == Leave::Later(place) {
                world.pause(world.one(&[0, 5, 100, 1000])).await;
                return self.leaves();
            }
        }
        if self.half_closes {
            let old = world
                .asks
                .borrow()
                .get(self.asks[self.asks.len() - 1])
                .is_some_and(|ask| ask.old || ask.closes);
            // Whether the last request says so is not known while the body of one before it is unread.
            if !self.serves_half_closed && (!old || self.pipelines) {
                talk.left.set(true);
            }
            self.end.end();
        }
        std::future::pending().await
    }

    /// Sends bytes, with pauses.
    async fn give(&self, mut bytes: &[u8]) -> std::io::Result<()> {
        let world = &self.world;
        while !bytes.is_empty() {
            let count = if world.chance(2, 3) {
                bytes.len()
            } else {
                1 + world.below(bytes.len())
            };
            let (piece, rest) = bytes.split_at(count);
            self.end.give(piece).await?;
            bytes = rest;
            if bytes.is_empty() {
                break;
            }
            world.pause(30).await;
            if world.weather.get().slow && world.chance(1, 6) {
                self.talk.slow.set(true);
                self.note(|| "stands still".to_owned());
                world.pause(6000).await;
            }
        }
        Ok(())
    }

    /// Reads all responses.
    async fn read(&self) -> usize {
        let (world, talk) = (&self.world, &self.talk);
        let mut reader = Reader::new(self.end.clone());
        if world.weather.get().slow && world.chance(1, 3) {
            talk.slow.set(true);
            let (slow, piece, pause) = world.one(&[(200, 1, 1), (100, 50, 20), (20, 3000, 400), (2, 100, 6000)]);
            (reader.slow, reader.piece, reader.pause) = (slow, piece, Duration::from_millis(pause));
        }
        let mut by_pods = 0;
        let mut last = Instant::now();
        for (place, id) in self.asks.iter().enumerate() {
            let closes = match self.response(&mut reader, place, *id, &mut by_pods).await {
                Ok(closes) => closes,
                Err(Stop::Wrong(what)) => {
                    world.fault(format!("{}: {what} (to request {id})", self.end.link().name));
                    return by_pods;
                }
                Err(Stop::End { inside, reset }) => {
                    if let Some(what) = self.judge_end((place, *id), last, (inside, reset)) {
                        let how = if reset { "a reset" } else { "the end" };
                        world.fault(format!(
                            "{}: {how} instead of the answer to request {id}: {what}",
                            self.end.link().name
                        ));
                    }
                    return by_pods;
                }
            };
            last = Instant::now();
            talk.answered.set(place + 1);
            talk.tell();
            if closes {
                talk.over.set(true);
                talk.tell();
                self.expect_silence(&mut reader).await;
                return by_pods;
            }
        }
        if world.chance(1, 4) {
            let _ = tokio::time::timeout(IDLE * 2, self.expect_silence(&mut reader)).await;
        }
        by_pods
    }

    async fn expect_silence(&self, reader: &mut Reader) {
        let head = reader.head().await;
        if !matches!(head, Err(Stop::End { inside: false, .. })) {
            self.world
                .fault(format!("{}: {head:?} behind the last answer", self.end.link().name));
        }
    }

    /// Reads a response. Whether the connection ends with it.
    async fn response(&self, reader: &mut Reader, place: usize, id: usize, by_pods: &mut usize) -> Result<bool, Stop> {
        let (world, talk) = (&self.world, &self.talk);
        let wrong = |what: String| Stop::Wrong(what);
        let ask = || world.asks.borrow()[id].clone();
        let head = loop {
            let head = reader.head().await?;
            let status = status(&head).map_err(wrong)?;
            if talk.begins.borrow().len() <= place {
                return Err(Stop::Wrong(format!("a response to what was not asked: {head:?}")));
            }
            if status >= 200 {
                break head;
            }
            let of = head.number("x-id").map_err(wrong)?;
            if ask().old || of.is_some_and(|of| of != id) || status == 101 || (status != 100 && of.is_none()) {
                return Err(Stop::Wrong(format!("an interim response {head:?}")));
            }
            if status == 100 {
                talk.continued.set(place + 1);
                talk.tell();
            }
        };
        let (ask, status) = (ask(), status(&head).map_err(wrong)?);
        // Whoever has not sent all of a head has not asked for one alone.
        let bodiless = (ask.method == "HEAD" && ask.head_sent) || status == 204 || status == 304;
        let framing = match head.framing().map_err(wrong)? {
            _ if bodiless => Framing::Empty,
            Some(framing) => framing,
            None => Framing::UntilClose,
        };
        if framing == Framing::UntilClose && !ask.old {
            return Err(Stop::Wrong(format!("no framing in {head:?}")));
        }
        let closes = head.closes() || framing == Framing::UntilClose || ask.closes || ask.old;
        let Some(number) = head.number("x-answer").map_err(wrong)? else {
            self.judge_own(&ask, status, &head).map_err(Stop::Wrong)?;
            if status == 408 && head.number("x-unasked").map_err(wrong)?.is_none() {
                // It may have come before the head was sent. Then narthex did not know that no body is wanted.
                reader.skip_all().await;
                return Ok(true);
            }
            let Framing::Length(length) = framing else {
                return Ok(closes);
            };
            reader.skip(length).await?;
            return Ok(closes);
        };
        let given = world.given.borrow().get(number).cloned();
        let given = given.ok_or_else(|| Stop::Wrong(format!("answer {number}, which nobody gave")))?;
        if given.ask != id || head.number("x-id").map_err(wrong)? != Some(id) || given.status != status {
            return Err(Stop::Wrong(format!(
                "{head:?}, which is the answer to request {}",
                given.ask
            )));
        }
        let mut at = 0;
        let read = reader.body(framing, Whose::Answer(number), &mut at).await?;
        // A pod that leaves in the middle of a body which goes on to the end of the connection has told nobody.
        let may_be_cut = given.body.framing == Framing::UntilClose && given.breaks && read.length < given.body.length;
        if read.length != given.body.length && !may_be_cut {
            let wanted = given.body.length;
            return Err(Stop::Wrong(format!(
                "{} of {wanted} bytes of answer {number}, as if they were all",
                read.length
            )));
        }
        if read.trailer.is_some() && !(ask.takes_trailers && given.body.trailers) {
            return Err(Stop::Wrong(format!("a trailer of answer {number}")));
        }
        *by_pods += 1;
        Ok(closes)
    }
}

fn status(head: &Head) -> Result<u16, String> {
    let status = head.line.get(1).and_then(|status| status.parse().ok());
    let version = head.line.first().is_some_and(|version| version.starts_with("HTTP/1."));
    status
        .filter(|_| version)
        .ok_or(format!("the status line {:?}", head.line))
}

fn head(ask: &Ask) -> String {
    let (version, prefix) = (u8::from(!ask.old), prefix(ask.route));
    let mut head = format!(
        "{} {prefix}/{} HTTP/1.{version}\r\nHost: a.example\r\nX-Id: {}\r\n",
        ask.method, ask.id, ask.id
    );
    if let Some(body) = &ask.body {
        head += &body.fields();
        if body.framing == Framing::Empty {
            head += "content-length: 0\r\n";
        }
    }
    for (is, line) in [
        (ask.expects, "Expect: 100-continue\r\n"),
        (ask.closes, "Connection: close\r\n"),
        (ask.takes_trailers, "TE: trailers\r\n"),
    ] {
        if is {
            head += line;
        }
    }
    head + "\r\n"
}

/// The first future's outcome; absent if the second is ready before.
async fn first<T>(one: impl Future<Output = T> + Unpin, other: impl Future<Output = ()> + Unpin) -> Option<T> {
    match futures_util::future::select(one, other).await {
        futures_util::future::Either::Left((outcome, _)) => Some(outcome),
        futures_util::future::Either::Right(_) => None,
    }
}
