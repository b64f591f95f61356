//! A pod: reads strictly, looks whether it may have what it gets, and answers in every way there is.

use super::message::{Body, Framing, Head, Reader, Stop, Whose};
use super::process::prefix;
use super::world::{Given, World};
use crate::upstream::simulated::End;
use std::rc::Rc;
use std::time::Duration;

/// When a pod answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// When it has read all of the request.
    Last,
    /// Before it reads the body.
    First,
    /// Before it reads the body, and then it closes.
    FirstAndClose,
}

/// What goes wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    /// Nothing.
    Nothing,
    /// It ends after this many bytes, by a close or by a reset.
    Cut { after: usize, reset: bool },
    /// It sends nothing more after this many bytes.
    Stalls { after: usize },
}

/// How a connection to a pod goes on.
enum Next {
    Request(Head),
    /// The pod has enough.
    Close,
}

/// One connection to a pod.
pub struct Serving {
    world: Rc<World>,
    pod: usize,
    end: Rc<End>,
    reader: Reader,
}

impl Serving {
    /// A connection that was opened just now.
    pub fn new(world: Rc<World>, pod: usize, end: End) -> Self {
        let end = Rc::new(end);
        let reader = Reader::new(end.clone());
        Self {
            world,
            pod,
            end,
            reader,
        }
    }

    fn fault(&self, what: &str) {
        self.world.fault(format!("{}: {what}", self.end.link().name));
    }

    fn note(&self, what: impl FnOnce() -> String) {
        self.world.network.note(&self.end.link().name, what);
    }

    /// Answers requests until one side has enough.
    pub async fn run(mut self) {
        loop {
            match self.next().await {
                Ok(Next::Request(head)) => match self.answer(head).await {
                    Ok(true) => {}
                    Ok(false) | Err(Stop::End { .. }) => return,
                    Err(Stop::Wrong(what)) => return self.fault(&what),
                },
                Ok(Next::Close) | Err(Stop::End { .. }) => return,
                Err(Stop::Wrong(what)) => return self.fault(&what),
            }
        }
    }

    /// Waits for a request. A pod may close meanwhile, or say something unasked.
    async fn next(&mut self) -> Result<Next, Stop> {
        let world = self.world.clone();
        if !world.weather.get().leaves || world.chance(2, 3) {
            return self.reader.head().await.map(Next::Request);
        }
        let patience = Duration::from_millis(world.one(&[0, 1, 2, 20, 300, 2000]));
        if let Ok(head) = tokio::time::timeout(patience, self.reader.head()).await {
            return head.map(Next::Request);
        }
        if self.reader.has_begun() || world.chance(2, 3) {
            self.note(|| "has waited long enough".to_owned());
            if !self.reader.has_begun() {
                self.end.link().stays_idle();
            }
            return Ok(Next::Close);
        }
        self.end.link().stays_idle();
        let unasked = b"HTTP/1.1 408 Request Timeout\r\nx-unasked: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        if self.end.give(unasked).await.is_ok() && world.chance(1, 2) {
            world.pause(10).await;
        }
        Ok(Next::Close)
    }

    /// Whether the pod may have this request, and how its body comes. The number of the request.
    fn look_at(&self, head: &Head) -> Result<(usize, Framing), String> {
        let [method, path, version] = &head.line[..] else {
            return Err(format!("the request line {:?}", head.line));
        };
        let id = path.rsplit('/').next().and_then(|id| id.parse::<usize>().ok());
        let asks = self.world.asks.borrow();
        let ask = id.and_then(|id| asks.get(id)).ok_or(format!("a request for {path}"))?;
        let wanted = format!("{}/{}", prefix(ask.route), ask.id);
        if *method != ask.method || *path != wanted || version != "HTTP/1.1" {
            return Err(format!("{:?} for request {}", head.line, ask.id));
        }
        if head.number("x-id")? != Some(ask.id) || head.get("host")? != Some("a.example") {
            return Err(format!("fields of another request than {}", ask.id));
        }
        if !self.world.led_to(ask.route, self.pod, ask.began) {
            return Err(format!(
                "request {} came to a pod that its route did not lead to",
                ask.id
            ));
        }
        let framing = head.framing()?;
        let is_right = match (ask.body.map(|body| body.framing), framing) {
            (Some(Framing::Length(wanted)), Some(Framing::Length(length))) => wanted == length,
            (Some(Framing::Chunked), Some(Framing::Chunked)) => true,
            (None | Some(Framing::Empty | Framing::Chunked | Framing::Length(0)), None | Some(Framing::Empty)) => true,
            _ => false,
        };
        if !is_right {
            return Err(format!("request {} with {:?} came as {framing:?}", ask.id, ask.body));
        }
        Ok((ask.id, framing.unwrap_or(Framing::Empty)))
    }

    /// Answers one request. Whether the connection goes on.
    async fn answer(&mut self, head: Head) -> Result<bool, Stop> {
        let world = self.world.clone();
        let (ask, framing) = self.look_at(&head).map_err(Stop::Wrong)?;
        let weather = world.weather.get();
        let when = match world.below(4) {
            0 if weather.early => When::First,
            1 if weather.early => When::FirstAndClose,
            _ => When::Last,
        };
        let (number, bytes, closes) = self.plan(ask, when);
        let wrong = self.goes_wrong(&bytes);
        if wrong != Wrong::Nothing || when == When::FirstAndClose {
            world.given.borrow_mut()[number].breaks = true;
        }
        self.note(|| format!("answers request {ask} with answer {number} when {when:?}, wrong: {wrong:?}"));
        if when == When::Last {
            self.read_body(ask, framing).await?;
        }
        world.pause(world.one(&[0, 0, 5, 50])).await;
        let (after, resets) = match wrong {
            Wrong::Nothing => (bytes.len(), false),
            Wrong::Cut { after, reset } => (after, reset),
            Wrong::Stalls { after } => (after, false),
        };
        let mut rest = &bytes[..after];
        while !rest.is_empty() {
            let count = if world.chance(1, 2) {
                rest.len()
            } else {
                1 + world.below(rest.len())
            };
            let (piece, later) = rest.split_at(count);
            if when == When::Last && self.is_asked_more() {
                return Err(Stop::Wrong(format!("more is asked before answer {number} is complete")));
            }
            if self.end.give(piece).await.is_err() {
                return Ok(false);
            }
            rest = later;
            if !rest.is_empty() {
                world.pause(20).await;
            }
        }
        match wrong {
            Wrong::Stalls { .. } => {
                // narthex has to end this.
                let mut bytes = [0; 1000];
                while self.end.take(&mut bytes).await.is_ok_and(|count| count > 0) {
                    if when == When::Last {
                        return Err(Stop::Wrong(format!(
                            "more is asked though answer {number} does not go on"
                        )));
                    }
                }
                return Ok(false);
            }
            Wrong::Cut { .. } => {
                if resets {
                    self.end.reset_when_dropped();
                }
                return Ok(false);
            }
            Wrong::Nothing => {}
        }
        if when == When::First {
            self.read_body(ask, framing).await?;
        }
        Ok(!closes && when != When::FirstAndClose)
    }

    /// Whether narthex has sent something that was not read as part of a request.
    fn is_asked_more(&self) -> bool {
        let link = self.end.link();
        self.reader.has_begun() || link.written_by(1) > link.read_by(0)
    }

    async fn read_body(&mut self, ask: usize, framing: Framing) -> Result<(), Stop> {
        let mut at = 0;
        let read = self.reader.body(framing, Whose::Request(ask), &mut at).await?;
        let mut asks = self.world.asks.borrow_mut();
        let asked = &mut asks[ask];
        let length = asked.body.map_or(0, |body| body.length);
        if read.length != length || (!asked.sent && framing != Framing::Empty) {
            return Err(Stop::Wrong(format!(
                "{} of {length} bytes of request {ask}'s body",
                read.length
            )));
        }
        if read.trailer.is_some() && !asked.body.is_some_and(|body| body.trailers) {
            return Err(Stop::Wrong(format!("a trailer of request {ask}")));
        }
        asked.taken = true;
        Ok(())
    }

    fn goes_wrong(&self, bytes: &[u8]) -> Wrong {
        let (world, weather) = (&self.world, self.world.weather.get());
        let after = match world.below(3) {
            0 => 0,
            1 => world.below(bytes.len().min(200)),
            _ => world.below(bytes.len()),
        };
        match world.below(6) {
            0 if weather.breaks => Wrong::Cut {
                after,
                reset: world.chance(1, 2),
            },
            1 if weather.stalls => Wrong::Stalls { after },
            _ => Wrong::Nothing,
        }
    }

    /// The number of the answer, its bytes, and whether the connection ends with it.
    fn plan(&self, ask: usize, when: When) -> (usize, Vec<u8>, bool) {
        let world = &self.world;
        let method = world.asks.borrow()[ask].method;
        let status = world.one(&[200, 200, 200, 200, 200, 201, 204, 304, 404, 500, 503]);
        let length = match world.below(20) {
            0..4 => 0,
            4..17 => world.below(300),
            17 | 18 => world.below(9000),
            _ => world.below(90_000),
        };
        let is_bodiless = method == "HEAD" || status == 204 || status == 304;
        let framing = match world.below(10) {
            _ if status == 204 => Framing::Empty,
            0..4 => Framing::Chunked,
            4 if !is_bodiless => Framing::UntilClose,
            _ => Framing::Length(length),
        };
        let body = Body {
            length: if framing == Framing::Empty { 0 } else { length },
            framing,
            trailers: framing == Framing::Chunked && world.chance(1, 3),
        };
        let closes = framing == Framing::UntilClose || when == When::FirstAndClose || world.chance(1, 20);
        let number = world.given.borrow().len();
        let sent = Body {
            length: if is_bodiless { 0 } else { body.length },
            ..body
        };
        world.given.borrow_mut().push(Given {
            ask,
            status,
            body: sent,
            breaks: false,
        });
        let mut bytes = String::new();
        for interim in [100, 102, 103] {
            if world.chance(1, 12) {
                bytes += &format!("HTTP/1.1 {interim} Interim\r\nx-id: {ask}\r\n\r\n");
            }
        }
        bytes += &format!(
            "HTTP/1.1 {status} Status\r\nx-answer: {number}\r\nx-id: {ask}\r\n{}",
            body.fields()
        );
        if closes {
            bytes += "connection: close\r\n";
        }
        bytes += "\r\n";
        let mut bytes = bytes.into_bytes();
        if !is_bodiless {
            bytes.extend_from_slice(&body.bytes(Whose::Answer(number), world));
        }
        (number, bytes, closes)
    }
}
