//! A body compressed as it comes: no more of it is held than an encoder needs.

use super::encoder::Encoder;
use super::{BoxError, Plan, remove_digests};
use bytes::Bytes;
use http_body::{Body, Frame};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

/// How many bytes are compressed before what comes out is passed on. A piece of a body may be larger by far.
const PIECE: usize = 16 << 10;
/// How many bytes are compressed before others have their turn on the shard: about a millisecond of brotli. All is
/// flushed then, which costs next to no size at this distance, and bounds what brotli takes: it would go on to gather
/// what it is about to write.
pub(super) const STRETCH: usize = 64 << 10;
/// What comes out is gathered to as much, while more is coming: a gzip stream says ten bytes as soon as it begins.
const WORTH_SENDING: usize = 4 << 10;

type Polled = Poll<Option<Result<Frame<Bytes>, BoxError>>>;

/// Compresses one body.
pub struct Compressor {
    plan: Plan,
    /// Made with the first byte, gone with the last.
    encoder: Option<Encoder>,
    /// What has come and is not compressed yet.
    input: Bytes,
    /// Whether something was taken in that cannot be decoded yet.
    unflushed: bool,
    /// Whether others have had a turn since the source had nothing.
    waited: bool,
    /// Bytes compressed since others had a turn.
    stretch: usize,
    stage: Stage,
}

enum Stage {
    Open,
    /// All is compressed; what is left to say: trailers, or what broke the body.
    Closing(Result<Frame<Bytes>, BoxError>),
    Closed,
}

impl Compressor {
    /// A compressor for the body of the reply that the plan is for.
    pub fn new(plan: Plan) -> Self {
        Self {
            plan,
            encoder: None,
            input: Bytes::new(),
            unflushed: false,
            waited: false,
            stretch: 0,
            stage: Stage::Open,
        }
    }

    /// Whether it needs no more memory than what was handed out.
    pub fn is_done(&self) -> bool {
        !matches!(self.stage, Stage::Open)
    }

    /// Whether all was handed out.
    pub fn is_closed(&self) -> bool {
        matches!(self.stage, Stage::Closed)
    }

    /// The next piece of the compressed body of which `source` is the plain one. It does not read ahead: the source is
    /// asked only when all that it gave is compressed and handed out.
    ///
    /// When the source pauses, what it gave so far is flushed. First, though, whoever feeds the source has a turn:
    /// between two pieces that are there already is no pause, and a flush for each would cost size.
    ///
    /// An error of the source comes out after what came before it, and the stream is not finished, so that it looks
    /// whole to nobody.
    pub fn poll_frame<B>(&mut self, source: &mut B, cx: &mut Context<'_>) -> Polled
    where
        B: Body<Data = Bytes, Error = BoxError> + Unpin,
    {
        loop {
            if self.stretch >= STRETCH {
                self.stretch = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            match std::mem::replace(&mut self.stage, Stage::Closed) {
                Stage::Open => self.stage = Stage::Open,
                Stage::Closing(last) => return Poll::Ready(Some(last)),
                Stage::Closed => return Poll::Ready(None),
            }
            let step = if self.input.is_empty() {
                match Pin::new(&mut *source).poll_frame(cx) {
                    Poll::Pending => return self.pause(cx),
                    Poll::Ready(Some(Ok(frame))) => self.receive(frame, source.is_end_stream()),
                    Poll::Ready(Some(Err(error))) => self.break_off(error),
                    Poll::Ready(None) => self.finish(Stage::Closed),
                }
            } else {
                self.compress(source.is_end_stream())
            };
            match step {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Err(error) => {
                    self.encoder = None;
                    self.stage = Stage::Closed;
                    return Poll::Ready(Some(Err(error.into())));
                }
            }
        }
    }

    fn receive(&mut self, frame: Frame<Bytes>, last: bool) -> io::Result<Bytes> {
        match frame.into_data() {
            Ok(data) => {
                self.input = data;
                self.waited = false;
                self.compress(last)
            }
            Err(frame) => match frame.into_trailers() {
                Ok(mut trailers) => {
                    remove_digests(&mut trailers);
                    self.finish(Stage::Closing(Ok(Frame::trailers(trailers))))
                }
                // There are no other frames.
                Err(_) => Ok(Bytes::new()),
            },
        }
    }

    /// Compresses a piece of what has come; `last` is whether nothing comes after that.
    fn compress(&mut self, last: bool) -> io::Result<Bytes> {
        let piece = self.input.split_to(self.input.len().min(PIECE));
        if !piece.is_empty() {
            self.stretch += piece.len();
            self.unflushed = true;
            self.encoder()?.write(&piece)?;
        }
        if last && self.input.is_empty() {
            return self.finish(Stage::Closed);
        }
        if self.stretch >= STRETCH {
            return self.flush();
        }
        let ready = self.encoder.as_mut().filter(|encoder| encoder.ready() >= WORTH_SENDING);
        Ok(ready.map(Encoder::take).unwrap_or_default())
    }

    fn pause(&mut self, cx: &Context<'_>) -> Polled {
        self.stretch = 0;
        if !self.unflushed {
            return Poll::Pending;
        }
        if !std::mem::replace(&mut self.waited, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match self.flush() {
            Ok(bytes) if bytes.is_empty() => Poll::Pending,
            Ok(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            Err(error) => {
                self.stage = Stage::Closed;
                Poll::Ready(Some(Err(error.into())))
            }
        }
    }

    fn flush(&mut self) -> io::Result<Bytes> {
        if !std::mem::replace(&mut self.unflushed, false) {
            return Ok(Bytes::new());
        }
        let encoder = self.encoder()?;
        encoder.flush()?;
        Ok(encoder.take())
    }

    /// What came before an error, which is said when that has had its turn to be written: hyper throws away what it
    /// holds when it is told of one.
    fn break_off(&mut self, error: BoxError) -> io::Result<Bytes> {
        let bytes = self.flush()?;
        self.encoder = None;
        self.stretch = STRETCH;
        self.stage = Stage::Closing(Err(error));
        Ok(bytes)
    }

    /// The end of the stream, which a body without a byte has too.
    fn finish(&mut self, then: Stage) -> io::Result<Bytes> {
        self.encoder()?;
        let bytes = self.encoder.take().map(Encoder::finish).transpose()?;
        self.stretch = 0;
        self.stage = then;
        Ok(bytes.unwrap_or_default())
    }

    fn encoder(&mut self) -> io::Result<&mut Encoder> {
        match &mut self.encoder {
            Some(encoder) => Ok(encoder),
            slot => Ok(slot.insert(Encoder::new(self.plan.coding, self.plan.length)?)),
        }
    }
}
