//! Bodies on their way: the client's to the pod, and the reply's to the client.

use super::client::Client;
use super::compress::Compressed;
use super::deadline::Alarm;
use super::error::ProxyError;
use super::exchange::Exchange;
use super::mirrors::Copy;
use super::pacing::Pacing;
use super::request_body::RequestBody;
use super::trail::Trail;
use super::trailers;
use super::worker::Worker;
use crate::policy::under_way::Place;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use smallvec::SmallVec;
use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

/// What breaks a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How far the body of one request has come. Shared by the body, which may outlive its request on the pod's
/// connection, and the reply.
#[derive(Default)]
pub struct Upload {
    /// Here and not in the body, so that it can be let go of while the pod's connection still has that.
    incoming: RefCell<Option<RequestBody>>,
    done: Cell<bool>,
    /// Bytes that came.
    bytes: Cell<u64>,
    /// Bytes that may come, where the route says so.
    most: Cell<Option<u64>>,
    /// Whether there is nothing in it, nor ever was.
    empty: Cell<bool>,
    error: Cell<Option<ProxyError>>,
    /// Which attempt may read: the body of one that was given up may still be held by its connection.
    turn: Cell<u32>,
    /// Who waits for the next piece, to be told when it will not come.
    reader: RefCell<Option<Waker>>,
    /// What was read of it, for another attempt.
    tape: RefCell<Option<Box<Tape>>>,
    /// Copies of the request for others, which get what is read.
    copies: RefCell<Vec<Copy>>,
}

/// What a kept piece counts for at least.
const LEAST_PIECE: usize = 64;

/// The beginning of a request body, kept for another attempt.
struct Tape {
    pieces: SmallVec<[Bytes; 2]>,
    /// Bytes that may still be kept.
    room: usize,
    /// The piece that is sent next, where the body is sent again, and the bytes from there on.
    next: usize,
    left: u64,
    /// All of them.
    length: u64,
    /// Whether the present attempt is the last: then it is there only until all of it has been sent again.
    is_last: bool,
}

impl Upload {
    /// The one of a request without a body, of which nothing ever changes.
    pub fn empty() -> Self {
        let upload = Self::default();
        upload.done.set(true);
        upload.empty.set(true);
        upload
    }

    /// The one of a request with this body.
    pub fn of(body: &RequestBody, worker: &Worker) -> Rc<Self> {
        if body.is_end_stream() {
            worker.no_upload.clone()
        } else {
            Rc::default()
        }
    }

    /// What broke the body, where something did.
    pub fn take_error(&self) -> Option<ProxyError> {
        self.error.take()
    }

    /// Nobody waits for the rest any more: the client is told by not being read from. Whether the pod's connection will
    /// hear of it: one that waits for room to send what it has already does not look at the body meanwhile.
    pub(super) fn abandon(&self) -> bool {
        self.incoming.take();
        self.wake_reader()
    }

    /// The present attempt is given up: what its connection still has of the body is worth nothing from now on.
    pub fn next_attempt(&self) {
        if self.empty.get() {
            return;
        }
        self.turn.set(self.turn.get().wrapping_add(1));
        self.wake_reader();
    }

    fn wake_reader(&self) -> bool {
        let reader = self.reader.take();
        let waits = reader.is_some();
        if let Some(reader) = reader {
            reader.wake();
        }
        waits
    }

    /// A body of more bytes than this is broken off.
    pub fn limit(&self, most: Option<u64>) {
        // What has no body may share this with others.
        if !self.empty.get() {
            self.most.set(most);
        }
    }

    /// Whether more has come than may.
    fn is_too_long(&self) -> bool {
        self.most.get().is_some_and(|most| self.bytes.get() > most)
    }

    /// Bytes that have come.
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Whether the body has been read to its end.
    pub fn is_done(&self) -> bool {
        self.done.get()
    }

    /// Whether there is nothing in it, nor ever was.
    pub fn is_empty(&self) -> bool {
        self.empty.get()
    }

    /// Keeps what is read for another attempt, as long as it is no more than `most` bytes. If some was read already, it
    /// is kept from before or not at all.
    pub fn keep(&self, most: usize) {
        if self.empty.get() || self.is_kept() || self.bytes.get() > 0 {
            return;
        }
        self.tape.replace(Some(Box::new(Tape {
            pieces: SmallVec::new(),
            room: most,
            next: 0,
            left: 0,
            length: 0,
            is_last: false,
        })));
    }

    /// A copy of the request gets what is read of the body, and is sent when all of it is there.
    pub(super) fn copy(&self, copy: Copy) {
        if !self.empty.get() {
            self.copies.borrow_mut().push(copy);
        }
    }

    /// Gives copies a piece that was read for the first time. One that has no room for it is lost.
    fn pass_to_copies(&self, data: Option<&Bytes>, complete: bool) {
        let mut copies = self.copies.borrow_mut();
        if copies.is_empty() {
            return;
        }
        if let Some(data) = data {
            copies.retain_mut(|copy| copy.add(data));
        }
        if complete {
            copies.drain(..).for_each(|copy| copy.send(true));
        }
    }

    /// There will be no other attempt. What the present one has yet to send again stays.
    pub fn keep_no_more(&self) {
        let mut slot = self.tape.borrow_mut();
        match &mut *slot {
            Some(tape) if tape.next < tape.pieces.len() => tape.is_last = true,
            _ => *slot = None,
        }
    }

    /// Whether all that was read is kept.
    pub fn is_kept(&self) -> bool {
        self.tape.borrow().as_ref().is_some_and(|tape| !tape.is_last)
    }

    /// The body for another attempt: from its beginning where it is kept, and empty where there was none. If there was
    /// one and it is not kept, the body is an error, so that nothing is ever taken for the whole of it.
    pub fn again(self: &Rc<Self>, client: &Rc<Client>, worker: &Rc<Worker>) -> ClientBody {
        let mut tape = self.tape.borrow_mut();
        let mut tape = tape.as_deref_mut().filter(|tape| !tape.is_last);
        if let Some(tape) = &mut tape {
            tape.next = 0;
            tape.left = tape.length;
            self.done
                .set(tape.pieces.is_empty() && self.incoming.borrow().is_none());
            self.error.set(None);
        }
        let turn = self.turn.get();
        ClientBody {
            empty: self.empty.get(),
            turn: if self.empty.get() || tape.is_some() {
                turn
            } else {
                turn.wrapping_sub(1)
            },
            upload: self.clone(),
            client: client.clone(),
            worker: worker.clone(),
        }
    }

    /// The next piece that is to be sent again.
    fn replay(&self) -> Option<Bytes> {
        let mut tape = self.tape.borrow_mut();
        let tape = tape.as_mut()?;
        let piece = tape.pieces.get(tape.next)?.clone();
        tape.next += 1;
        tape.left = tape.left.saturating_sub(piece.len() as u64);
        Some(piece)
    }

    /// Keeps a piece that was read for the first time. What cannot be kept makes all of it useless.
    fn record(&self, frame: &Frame<Bytes>) {
        let mut slot = self.tape.borrow_mut();
        let Some(tape) = &mut *slot else { return };
        match frame.data_ref() {
            // A small piece costs more than its bytes.
            Some(data) if !tape.is_last && data.len().max(LEAST_PIECE) <= tape.room => {
                tape.room -= data.len().max(LEAST_PIECE);
                tape.length += data.len() as u64;
                tape.pieces.push(data.clone());
                tape.next = tape.pieces.len();
            }
            _ => *slot = None,
        }
    }

    /// Bytes that are still to be sent again.
    fn left_on_tape(&self) -> u64 {
        self.tape.borrow().as_ref().map_or(0, |tape| tape.left)
    }
}

/// A request body, as sent to a pod. Remembers whose fault its end was.
pub struct ClientBody {
    /// Whether there is nothing in it, nor ever was.
    empty: bool,
    /// Which attempt it is for.
    turn: u32,
    upload: Rc<Upload>,
    client: Rc<Client>,
    worker: Rc<Worker>,
}

impl ClientBody {
    /// The body of the client's present request.
    pub fn new(incoming: RequestBody, upload: &Rc<Upload>, client: &Rc<Client>, worker: &Rc<Worker>) -> Self {
        if !upload.is_empty() {
            upload.incoming.replace(Some(incoming));
        }
        Self {
            empty: upload.is_empty(),
            turn: 0,
            upload: upload.clone(),
            client: client.clone(),
            worker: worker.clone(),
        }
    }

    /// Whether there is nothing in it, so that it can be made again.
    pub fn is_empty(&self) -> bool {
        self.empty
    }

    /// The same for the attempt that is made now, as nothing of it was sent in the one before.
    pub fn unsent(mut self) -> Self {
        self.turn = self.upload.turn.get();
        self
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if this.empty {
            return Poll::Ready(None);
        }
        if this.is_stale() {
            return Poll::Ready(Some(Err("the request is sent again elsewhere".into())));
        }
        if let Some(piece) = this.upload.replay() {
            if this.is_end_stream() {
                this.upload.done.set(true);
                this.client.wait.upload_moved(true, &this.worker.clock);
            }
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        let mut slot = this.upload.incoming.borrow_mut();
        let Some(incoming) = &mut *slot else {
            return Poll::Ready(Some(Err("the reply has come before the whole request".into())));
        };
        if this.client.is_multiplexed() && this.client.wait.body_late.get() {
            this.upload.error.set(Some(ProxyError::BodyTimeout));
            return Poll::Ready(Some(Err("the client stopped in the middle of its request".into())));
        }
        let poll = Pin::new(&mut *incoming).poll_frame(cx);
        if poll.is_pending() {
            this.upload.reader.replace(Some(cx.waker().clone()));
        }
        let waiting = poll.is_pending().then(|| (cx.waker(), &this.worker.clock));
        this.client.wait.awaits_upload(waiting);
        let mut frame = ready!(poll);
        if matches!(frame, Some(Err(_))) {
            let late = this.client.wait.body_late.get();
            let error = if late {
                ProxyError::BodyTimeout
            } else {
                ProxyError::BadBody
            };
            this.upload.error.set(Some(error));
        } else {
            if let Some(Ok(frame)) = &mut frame {
                this.upload.reader.take();
                let length = frame.data_ref().map_or(0, Bytes::len);
                this.upload.bytes.set(this.upload.bytes.get() + length as u64);
                if this.upload.is_too_long() {
                    this.upload.error.set(Some(ProxyError::BodyTooLarge));
                    return Poll::Ready(Some(Err("the body is longer than its route allows".into())));
                }
                if let Some(fields) = frame.trailers_mut() {
                    trailers::clean(fields);
                }
                if let Some(earned) = &this.client.earned {
                    earned.read(length);
                }
                this.upload.record(frame);
                if this.client.is_multiplexed() && this.upload.is_kept() && !this.client.hold.add(length) {
                    this.upload.keep_no_more();
                }
            }
            let complete = frame.is_none() || incoming.is_end_stream();
            let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
            this.upload.pass_to_copies(data, complete);
            this.upload.done.set(complete);
            this.client.wait.upload_moved(complete, &this.worker.clock);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.empty
            || (self.upload.incoming.borrow().as_ref().is_some_and(Body::is_end_stream)
                && self.upload.left_on_tape() == 0)
    }

    fn size_hint(&self) -> SizeHint {
        if self.empty {
            return SizeHint::with_exact(0);
        }
        let incoming = self.upload.incoming.borrow();
        let mut hint = incoming.as_ref().map_or_else(SizeHint::default, Body::size_hint);
        let again = self.upload.left_on_tape();
        if again > 0 {
            let (lower, upper) = (hint.lower(), hint.upper());
            hint = SizeHint::new();
            if let Some(upper) = upper {
                hint.set_upper(upper + again);
            }
            hint.set_lower(lower + again);
        }
        hint
    }
}

impl ClientBody {
    /// Whether a later attempt sends the body now.
    fn is_stale(&self) -> bool {
        self.upload.turn.get() != self.turn
    }
}

/// Where a reply's bytes come from.
pub enum Source {
    /// narthex makes the reply. Absent when it was read, or has no body.
    Ours(Option<Bytes>),
    /// A pod.
    Pod(Exchange),
    /// A pod, by way of an encoder.
    Compressed(Box<Compressed>),
    /// The reply has no body, and what follows it is the connection's to pass on.
    Tunnel(Exchange),
}

impl Source {
    /// What broke the request's body, where something did: then the pod's connection has ended for that.
    fn upload_error(&self) -> Option<ProxyError> {
        match self {
            Self::Ours(_) | Self::Tunnel(_) => None,
            Self::Pod(exchange) => exchange.upload.take_error(),
            Self::Compressed(reply) => reply.exchange.upload.take_error(),
        }
    }

    /// Leaves out the text of a reply of our own, and says how long it was.
    pub fn leave_out(&mut self) -> Option<usize> {
        match self {
            Self::Ours(text) => text.take().map(|text| text.len()),
            Self::Tunnel(_) | Self::Pod(_) | Self::Compressed(_) => None,
        }
    }

    /// Makes a pod's reply, which changes the protocol, one without a body. The place of the request among those of its
    /// client is held as long as the tunnel.
    pub fn begin_tunnel(&mut self, counted: Option<Box<Place>>) {
        self.turn_into(|mut exchange| {
            exchange.counted = counted;
            Self::Tunnel(exchange)
        });
    }

    /// Has a pod's reply come out compressed.
    pub fn compress(&mut self, compressed: impl FnOnce(Exchange) -> Compressed) {
        self.turn_into(|exchange| Self::Compressed(Box::new(compressed(exchange))));
    }

    fn turn_into(&mut self, change: impl FnOnce(Exchange) -> Self) {
        *self = match std::mem::replace(self, Self::Ours(None)) {
            Self::Pod(exchange) => change(exchange),
            other => other,
        };
    }

    /// Whether no more comes of it.
    pub fn is_end_stream(&self) -> bool {
        match self {
            Self::Ours(text) => text.is_none(),
            Self::Tunnel(_) => true,
            Self::Pod(exchange) => exchange.is_end_stream(),
            Self::Compressed(reply) => reply.is_end_stream(),
        }
    }

    /// How much of it comes, as far as that is known.
    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Ours(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Self::Tunnel(_) => SizeHint::with_exact(0),
            Self::Pod(exchange) => exchange.size_hint(),
            Self::Compressed(_) => SizeHint::default(),
        }
    }

    /// Whether its length is known before it is read.
    pub fn has_length(&self) -> bool {
        self.is_end_stream() || self.size_hint().exact().is_some()
    }
}

/// What the client gets.
pub struct ReplyBody {
    source: Source,
    client: Rc<Client>,
    trail: Option<Trail>,
    alarm: Option<Alarm>,
    pacing: Option<Box<Pacing>>,
    /// Whether the reply is on its way, and not counted as given yet.
    under_way: bool,
}

impl ReplyBody {
    /// One of which nothing is known yet.
    pub(super) fn new(client: &Rc<Client>) -> Self {
        Self {
            source: Source::Ours(None),
            client: client.clone(),
            trail: None,
            alarm: None,
            pacing: None,
            under_way: false,
        }
    }

    /// The parts that are made while the request is answered.
    pub(super) fn parts(
        &mut self,
    ) -> (
        &mut Source,
        &mut Option<Alarm>,
        &mut Option<Box<Pacing>>,
        &mut Option<Trail>,
    ) {
        (&mut self.source, &mut self.alarm, &mut self.pacing, &mut self.trail)
    }

    /// The reply is complete as far as it is known. The request is under way until the reply is out. From now on it is the
    /// client's to take it.
    pub(super) fn send(&mut self) {
        self.client.sends(self.trail.as_ref().map(|trail| &trail.worker.clock));
        self.under_way = true;
    }

    /// The reply is out, or will not be: what it holds is let go, and it is counted.
    pub fn finish(&mut self) {
        if !std::mem::take(&mut self.under_way) {
            return;
        }
        let ended = Body::is_end_stream(self);
        if let Some(trail) = self.trail.as_mut().filter(|_| !ended) {
            match self.client.wait.take_silence() {
                Some((silence, limit)) => trail.fell_silent(silence, limit),
                None => trail.broken_off(false),
            }
        }
        self.client.wait.waited();
        self.client.sends(None);
        let replies = &self.client.flags.replies;
        replies.set(replies.get().wrapping_add(1));
        self.source = Source::Ours(None);
        self.trail = None;
        self.alarm = None;
        self.pacing = None;
    }

    /// The pod's side of a tunnel. The connection takes it over when it has written the reply.
    pub fn take_tunnel(&mut self) -> Option<Exchange> {
        if !matches!(self.source, Source::Tunnel(_)) {
            return None;
        }
        match std::mem::replace(&mut self.source, Source::Ours(None)) {
            Source::Tunnel(exchange) => Some(exchange),
            _ => None,
        }
    }

    /// Goes on with the request's body while the client does not take the reply.
    pub fn poll_upload(&mut self, cx: &mut Context<'_>) {
        match &mut self.source {
            Source::Ours(_) | Source::Tunnel(_) => {}
            Source::Pod(exchange) => exchange.poll_upload(cx),
            Source::Compressed(reply) => reply.exchange.poll_upload(cx),
        }
    }
}

impl Drop for ReplyBody {
    fn drop(&mut self) {
        self.finish();
    }
}

impl ReplyBody {
    /// The next piece, not before it may be sent.
    fn poll_paced(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let rung = self.alarm.as_ref().is_some_and(Alarm::has_rung);
        let waiting = self.pacing.as_ref().is_some_and(|pacing| pacing.waiting() > 0);
        if rung || !waiting {
            let frame = ready!(self.poll_source(cx));
            let Some(Ok(frame)) = frame else {
                return Poll::Ready(frame);
            };
            match frame.into_data() {
                Ok(data) if !data.is_empty() => self.pacing.iter_mut().for_each(|pacing| pacing.hold(data.clone())),
                Ok(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Err(frame) => return Poll::Ready(Some(Ok(frame))),
            }
        }
        let Some(pacing) = &mut self.pacing else {
            return Poll::Ready(None);
        };
        // It is not the client that takes its time.
        self.client.sends(None);
        let part = ready!(pacing.poll_part(cx));
        self.client.sends(self.trail.as_ref().map(|trail| &trail.worker.clock));
        self.client.holds(part.len() + pacing.waiting());
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self;
        this.client.sends(None);
        if this.alarm.as_ref().is_some_and(Alarm::has_rung) {
            if let Some(trail) = &mut this.trail {
                trail.broken(ProxyError::Deadline, None);
            }
            return Poll::Ready(Some(Err("the time for the request is up".into())));
        }
        let (frame, clock) = match &mut this.source {
            Source::Ours(text) => {
                let clock = this.trail.as_ref().map(|trail| &trail.worker.clock);
                this.client.sends(clock.filter(|_| text.is_some()));
                this.client.holds_alone(text.as_ref().map_or(0, Bytes::len));
                if let (Some(trail), Some(text)) = (&mut this.trail, &*text) {
                    trail.sent += text.len() as u64;
                }
                return Poll::Ready(text.take().map(|text| Ok(Frame::data(text))));
            }
            Source::Tunnel(_) => return Poll::Ready(None),
            Source::Pod(exchange) => (ready!(exchange.poll_frame(&this.client, cx)), &exchange.worker.clock),
            Source::Compressed(reply) => {
                let frame = ready!(reply.poll_frame(&this.client, cx));
                (frame, &reply.exchange.worker.clock)
            }
        };
        if let Some(frame) = &frame {
            this.client.sends(Some(clock));
            let length = frame.as_ref().ok().and_then(Frame::data_ref).map_or(0, Bytes::len);
            this.client.holds(length);
            if let Some(trail) = &mut this.trail {
                trail.sent += length as u64;
                if frame.is_err() {
                    match (this.client.wait.take_silence(), this.source.upload_error()) {
                        (Some((silence, limit)), _) => trail.fell_silent(silence, limit),
                        (None, Some(error)) => trail.broken(error, None),
                        (None, None) => trail.broken_off(true),
                    }
                }
            }
        }
        // The pod's connection does not wait for a client that does not take what is there already.
        if let Source::Pod(exchange) = &this.source
            && exchange.is_end_stream()
        {
            this.source = Source::Ours(None);
            let length = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
            this.client.holds_alone(length.map_or(0, Bytes::len));
        }
        Poll::Ready(frame)
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.pacing.is_some() {
            self.poll_paced(cx)
        } else {
            self.poll_source(cx)
        }
    }

    fn is_end_stream(&self) -> bool {
        self.waiting() == 0 && self.source.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.source.size_hint();
        match (self.waiting() as u64, hint.exact()) {
            (0, _) => hint,
            (waiting, Some(length)) => SizeHint::with_exact(length + waiting),
            (_, None) => SizeHint::default(),
        }
    }
}

impl ReplyBody {
    /// Bytes that were read of the reply and wait for their time.
    fn waiting(&self) -> usize {
        self.pacing.as_ref().map_or(0, |pacing| pacing.waiting())
    }
}
