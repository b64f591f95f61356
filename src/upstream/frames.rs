//! Counts the HTTP/2 frames of a peer, client or pod, that cost it little and us more, and says when there are too many.
//! The h2 crate bounds what they may take of memory, but not how often they come.
//!
//! What a peer sends in proportion to what we sent it is no flood: gRPC libraries send a PING and a WINDOW_UPDATE for each
//! piece they read. So every piece that is sent to a peer allows it some frames more.

use super::clock::{Clock, Tick};
use std::cell::{Cell, RefCell};
use std::task::Waker;
use std::time::Duration;

/// What an HTTP/2 connection begins with (RFC 9113, section 3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frames are counted over this time.
const WINDOW: Duration = Duration::from_secs(10);
/// RST_STREAM frames in a window, and one more for each message head that was sent. A browser that leaves a page resets
/// what it still waits for.
pub const RESETS: u32 = 500;
/// PING and SETTINGS frames, each of which wants an answer; one more for each piece that was sent.
const QUESTIONS: u32 = 200;
/// PING and SETTINGS frames with ACK. Only a few questions are ever sent that these could answer.
const ANSWERS: u32 = 200;
/// GOAWAY frames. One says that the peer is about to leave, and another names the last stream.
const GOODBYES: u32 = 20;
/// PRIORITY frames and those of unknown types, which are read for nothing; one more for each piece that was sent.
const IDLE: u32 = 2000;
/// WINDOW_UPDATE frames; one more for each [`BYTES_PER_UPDATE`] bytes, and two more for each piece that was sent, since a
/// connection and a stream have a window each. Streams may begin with one.
const UPDATES: u32 = 300;
const BYTES_PER_UPDATE: u64 = 256;
const UPDATES_PER_PIECE: u64 = 2;
/// HEADERS frames of a pod, and [`HEADS_PER_REQUEST`] more for each request: an interim response or two, the response and
/// its trailers.
const HEADS: u32 = 2000;
const HEADS_PER_REQUEST: u64 = 8;
/// Streams that a peer has us reset by frames that break the rules or come too late (CVE-2025-8671), and streams above the
/// limit that are refused.
const PROVOKED: u32 = 1000;
const REFUSED: u32 = 5000;
/// The same for the h2 crate, which counts both over the life of a connection.
pub const PROVOKED_IN_A_LIFE: usize = 1_000_000;
/// The h2 crate charges the frames of a body that are smaller than this, by what they lack, until they are read.
const SMALL: usize = 256;
/// The length of a frame's head (RFC 9113, section 4.1).
const HEAD: usize = 9;
/// Frame types (RFC 9113, section 6).
const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const RST_STREAM: u8 = 0x3;
const SETTINGS: u8 = 0x4;
const PUSH_PROMISE: u8 = 0x5;
const PING: u8 = 0x6;
const GOAWAY: u8 = 0x7;
const WINDOW_UPDATE: u8 = 0x8;
const CONTINUATION: u8 = 0x9;
/// Error codes (RFC 9113, section 7).
const PROTOCOL_ERROR: u32 = 0x1;
const FLOW_CONTROL_ERROR: u32 = 0x3;
const STREAM_CLOSED: u32 = 0x5;
const REFUSED_STREAM: u32 = 0x7;
const ENHANCE_YOUR_CALM: u8 = 0xb;

/// What there was too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flood {
    /// RST_STREAM.
    Resets,
    /// PING or SETTINGS.
    Questions,
    /// The same with ACK.
    Answers,
    /// GOAWAY.
    Goodbyes,
    /// PRIORITY, or a type that nobody knows.
    Idle,
    /// WINDOW_UPDATE.
    Updates,
    /// HEADERS that begin no request.
    Heads,
    /// Frames for which we had to reset streams.
    Provoked,
    /// Streams above the limit.
    Refused,
}

impl Flood {
    /// For the log.
    pub fn name(self) -> &'static str {
        match self {
            Flood::Resets => "RST_STREAM",
            Flood::Questions => "PING or SETTINGS",
            Flood::Answers => "PING or SETTINGS with ACK",
            Flood::Goodbyes => "GOAWAY",
            Flood::Idle => "PRIORITY or unknown types",
            Flood::Updates => "WINDOW_UPDATE",
            Flood::Heads => "HEADERS",
            Flood::Provoked => "frames that break the rules of their stream",
            Flood::Refused => "HEADERS above the limit of concurrent streams",
        }
    }
}

/// What passes on a connection: what was sent to the peer, by which it earns frames, and what is held of it.
#[derive(Debug, Default)]
pub struct Earned {
    /// Pieces of messages: heads, and bodies as they came from the other side. Not DATA frames, for a peer whose windows
    /// are tiny could have as many of these as it likes.
    pub pieces: Cell<u64>,
    /// Heads alone.
    pub heads: Cell<u64>,
    /// What small frames of bodies that came lack to [`SMALL`] bytes, until they are read.
    pub small: Cell<u64>,
    /// Bytes of requests' bodies that have come from a client and were not read.
    pub unread: Cell<u64>,
    /// Bytes that a client's requests hold, by estimate.
    pub held: Cell<usize>,
    /// Bytes of requests that wait until others hold less, and whom to wake then.
    pub waiting: Cell<usize>,
    /// See `waiting`.
    pub queue: RefCell<Vec<Waker>>,
}

impl Earned {
    /// A piece of a message is sent.
    pub fn piece(&self) {
        self.pieces.set(self.pieces.get().wrapping_add(1));
    }

    /// A piece of a body was read that came from the peer.
    pub fn read(&self, length: usize) {
        self.small.set(self.small.get().saturating_sub(lack(length)));
        self.unread.set(self.unread.get().saturating_sub(length as u64));
    }

    /// The head of a message is sent.
    pub fn head(&self) {
        self.heads.set(self.heads.get().wrapping_add(1));
        self.piece();
    }
}

/// What a piece of a body lacks to be worth its frame.
fn lack(length: usize) -> u64 {
    if length == 0 {
        0
    } else {
        SMALL.saturating_sub(length) as u64
    }
}

/// What is in a frame's head.
#[derive(Clone, Copy, Debug)]
struct Head {
    kind: u8,
    flags: u8,
    stream: u32,
    length: usize,
}

/// Finds the frames in bytes that come in pieces.
#[derive(Debug, Default)]
struct Walk {
    /// Bytes that belong to no frame's head: the preface at first, then payloads.
    skip: usize,
    head: [u8; HEAD],
    have: usize,
}

impl Walk {
    fn after(preface: bool) -> Self {
        Self {
            skip: if preface { PREFACE.len() } else { 0 },
            ..Self::default()
        }
    }

    /// The next frame that begins in these bytes, which are shortened to those behind its head.
    fn next(&mut self, bytes: &mut &[u8]) -> Option<Head> {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        *bytes = bytes.get(skipped..).unwrap_or_default();
        if bytes.is_empty() {
            return None;
        }
        let taken = (HEAD - self.have).min(bytes.len());
        let (now, rest) = bytes.split_at(taken);
        if let Some(place) = self.head.get_mut(self.have..self.have + taken) {
            place.copy_from_slice(now);
        }
        (self.have, *bytes) = (self.have + taken, rest);
        if self.have < HEAD {
            return None;
        }
        let [high, middle, low, kind, flags, stream @ ..] = self.head;
        let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        (self.have, self.skip) = (0, length);
        Some(Head {
            kind,
            flags,
            stream: u32::from_be_bytes(stream) & 0x7fff_ffff,
            length,
        })
    }

    /// Whether a frame may begin here.
    fn is_between(&self) -> bool {
        self.skip == 0 && self.have == 0
    }
}

/// Which peer is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Client,
    Pod,
}

/// Follows the frames of one connection, in both directions.
#[derive(Debug)]
pub struct Frames {
    side: Side,
    theirs: Walk,
    ours: Walk,
    /// The last stream that the client opened.
    last_stream: u32,
    /// What is still to be read of the error code of an RST_STREAM that we send.
    code: (u32, usize),
    /// Streams that we reset because their frames break the rules.
    malformed: u32,
    /// Bytes sent in this window.
    sent: u64,
    window: Window,
    /// What had been earned when the window began.
    earned: (u64, u64),
}

/// What came in a window.
#[derive(Debug, Default)]
struct Window {
    began: Tick,
    resets: u32,
    questions: u32,
    answers: u32,
    goodbyes: u32,
    idle: u32,
    updates: u32,
    heads: u32,
    provoked: u32,
    refused: u32,
}

impl Frames {
    /// A connection of a client, which begins with its preface.
    pub fn of_client(clock: &Clock) -> Self {
        Self::new(Side::Client, clock)
    }

    /// A connection to a pod, which begins with ours.
    pub fn of_pod(clock: &Clock) -> Self {
        Self::new(Side::Pod, clock)
    }

    fn new(side: Side, clock: &Clock) -> Self {
        Self {
            side,
            theirs: Walk::after(side == Side::Client),
            ours: Walk::after(side == Side::Pod),
            last_stream: 0,
            code: (0, 0),
            malformed: 0,
            sent: 0,
            window: Window {
                began: clock.now(),
                ..Window::default()
            },
            earned: (0, 0),
        }
    }

    /// These bytes were sent to the peer. A pod earns frames by what is sent in them, a client by what pods sent.
    pub fn sent(&mut self, mut bytes: &[u8], earned: &Earned) {
        self.sent += bytes.len() as u64;
        self.read_code(bytes);
        while let Some(head) = self.ours.next(&mut bytes) {
            match (head.kind, self.side) {
                (DATA, Side::Pod) => earned.piece(),
                (HEADERS, Side::Pod) => earned.head(),
                (RST_STREAM, _) => {
                    self.code = (0, 4.min(head.length));
                    self.read_code(bytes);
                }
                _ => {}
            }
        }
    }

    fn read_code(&mut self, bytes: &[u8]) {
        let (mut code, mut left) = self.code;
        if left == 0 {
            return;
        }
        for byte in bytes.iter().take(left) {
            code = code << 8 | u32::from(*byte);
            left -= 1;
        }
        self.code = (code, left);
        if left > 0 {
            return;
        }
        self.malformed += u32::from(code == PROTOCOL_ERROR);
        match code {
            PROTOCOL_ERROR | FLOW_CONTROL_ERROR | STREAM_CLOSED => self.window.provoked += 1,
            REFUSED_STREAM => self.window.refused += 1,
            _ => {}
        }
    }

    /// How many streams were reset since this was last asked, because what the peer sent on them breaks the rules.
    pub fn take_malformed(&mut self) -> u32 {
        std::mem::take(&mut self.malformed)
    }

    /// What tells a peer why it has to go, if it can be told here: GOAWAY with ENHANCE_YOUR_CALM.
    pub fn goodbye(&self) -> Option<[u8; HEAD + 8]> {
        let [a, b, c, d] = self.last_stream.to_be_bytes();
        self.ours
            .is_between()
            .then_some([0, 0, 8, GOAWAY, 0, 0, 0, 0, 0, a, b, c, d, 0, 0, 0, ENHANCE_YOUR_CALM])
    }

    /// The next bytes from the peer.
    ///
    /// # Errors
    /// When there are too many frames of a kind.
    pub fn read(&mut self, mut bytes: &[u8], earned: &Earned, clock: &Clock) -> Result<(), Flood> {
        if clock.passed(self.window.began, WINDOW) {
            self.window = Window {
                began: clock.now(),
                ..Window::default()
            };
            self.sent = 0;
            self.earned = (earned.pieces.get(), earned.heads.get());
        }
        while let Some(head) = self.theirs.next(&mut bytes) {
            if head.kind == HEADERS && self.side == Side::Client {
                self.last_stream = self.last_stream.max(head.stream);
            }
            // The last frame of a body is not charged.
            if head.kind == DATA && head.flags & 1 == 0 {
                earned.small.set(earned.small.get() + lack(head.length));
            }
            if head.kind == DATA {
                earned.unread.set(earned.unread.get() + head.length as u64);
            }
            self.count(head, earned)?;
        }
        match (self.window.provoked, self.window.refused) {
            (PROVOKED.., _) => Err(Flood::Provoked),
            (_, REFUSED..) => Err(Flood::Refused),
            _ => Ok(()),
        }
    }

    fn count(&mut self, head: Head, earned: &Earned) -> Result<(), Flood> {
        let pieces = earned.pieces.get().wrapping_sub(self.earned.0);
        let heads = earned.heads.get().wrapping_sub(self.earned.1);
        let window = &mut self.window;
        let (count, most, flood) = match (head.kind, head.flags & 1) {
            (RST_STREAM, _) => (&mut window.resets, u64::from(RESETS) + heads, Flood::Resets),
            (SETTINGS | PING, 0) => (&mut window.questions, u64::from(QUESTIONS) + pieces, Flood::Questions),
            (SETTINGS | PING, _) => (&mut window.answers, ANSWERS.into(), Flood::Answers),
            (GOAWAY, _) => (&mut window.goodbyes, GOODBYES.into(), Flood::Goodbyes),
            (WINDOW_UPDATE, _) => {
                let most = u64::from(UPDATES) + self.sent / BYTES_PER_UPDATE + pieces * UPDATES_PER_PIECE;
                (&mut window.updates, most, Flood::Updates)
            }
            (HEADERS, _) if self.side == Side::Pod => {
                let most = u64::from(HEADS) + heads * HEADS_PER_REQUEST;
                (&mut window.heads, most, Flood::Heads)
            }
            // The h2 crate bounds these.
            (DATA | HEADERS | CONTINUATION | PUSH_PROMISE, _) => return Ok(()),
            _ => (&mut window.idle, u64::from(IDLE) + pieces, Flood::Idle),
        };
        *count = count.saturating_add(1);
        if u64::from(*count) > most { Err(flood) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let mut frame = vec![0, 0, u8::try_from(length).unwrap(), kind, flags, 0, 0, 0, 1];
        frame.resize(HEAD + length, 0x3);
        frame
    }

    fn begun(clock: &Clock) -> (Frames, Earned) {
        let (mut frames, earned) = (Frames::of_client(clock), Earned::default());
        frames.read(PREFACE, &earned, clock).unwrap();
        (frames, earned)
    }

    #[test]
    fn frames_are_found_however_they_are_cut() {
        for piece in [1, 2, 7, 9, 10, 1000] {
            let clock = Clock::default();
            let (mut frames, earned) = (Frames::of_client(&clock), Earned::default());
            let mut bytes = PREFACE.to_vec();
            // Payloads that look like frames are not frames.
            bytes.extend(
                (0..50).flat_map(|_| [frame(DATA, 0, 100), frame(RST_STREAM, 0, 4), frame(PING, 1, 8)].concat()),
            );
            for piece in bytes.chunks(piece) {
                frames.read(piece, &earned, &clock).unwrap();
            }
            let window = &frames.window;
            let counted = (window.resets, window.questions, window.answers, window.idle);
            assert_eq!(counted, (50, 0, 50, 0), "{piece}");
        }
    }

    #[test]
    fn our_own_resets_are_found_however_they_are_cut() {
        let mut reset = frame(RST_STREAM, 0, 4);
        reset.splice(9.., [0, 0, 0, 1]);
        let mut cancel = frame(RST_STREAM, 0, 4);
        cancel.splice(9.., [0, 0, 0, 8]);
        let bytes = [frame(HEADERS, 4, 30), reset.clone(), cancel, frame(DATA, 0, 10), reset].concat();
        for piece in 1..bytes.len() {
            let (mut frames, earned) = begun(&Clock::default());
            for piece in bytes.chunks(piece) {
                frames.sent(piece, &earned);
            }
            assert_eq!(frames.take_malformed(), 2, "{piece}");
            assert!(frames.goodbye().is_some());
            frames.sent(&frame(DATA, 0, 10)[..12], &earned);
            assert!(frames.goodbye().is_none(), "it would be part of a frame");
        }
    }

    #[test]
    fn too_many_are_too_many_until_time_has_passed() {
        let clock = Clock::default();
        for (kind, flags, most, flood) in [
            (RST_STREAM, 0, RESETS, Flood::Resets),
            (PING, 0, QUESTIONS, Flood::Questions),
            (SETTINGS, 0, QUESTIONS, Flood::Questions),
            (PING, 1, ANSWERS, Flood::Answers),
            (SETTINGS, 1, ANSWERS, Flood::Answers),
            (GOAWAY, 0, GOODBYES, Flood::Goodbyes),
            (0x2, 0, IDLE, Flood::Idle),
            (0xfa, 0, IDLE, Flood::Idle),
            (WINDOW_UPDATE, 0, UPDATES, Flood::Updates),
        ] {
            let (mut frames, earned) = begun(&clock);
            for _ in 0..most {
                frames.read(&frame(kind, flags, 8), &earned, &clock).unwrap();
            }
            assert_eq!(frames.read(&frame(kind, flags, 8), &earned, &clock), Err(flood));
        }
        let (mut frames, earned) = begun(&clock);
        for _ in 0..3 {
            for _ in 0..RESETS {
                frames.read(&frame(RST_STREAM, 0, 4), &earned, &clock).unwrap();
            }
            for _ in 0..42 {
                clock.advance();
            }
        }
        frames.read(&frame(RST_STREAM, 0, 4), &earned, &clock).unwrap();
    }

    #[test]
    fn what_is_sent_allows_frames() {
        let clock = Clock::default();
        let (mut frames, earned) = begun(&clock);
        // A long download wants many updates.
        frames.sent(&vec![0; 1 << 20], &earned);
        for _ in 0..4096 {
            frames.read(&frame(WINDOW_UPDATE, 0, 4), &earned, &clock).unwrap();
        }
        // A gRPC client asks after each message how far it is to us.
        for _ in 0..10_000 {
            earned.piece();
            frames.read(&frame(PING, 0, 8), &earned, &clock).unwrap();
            frames.read(&frame(WINDOW_UPDATE, 0, 4), &earned, &clock).unwrap();
        }
        frames.read(&frame(PING, 0, 8).repeat(200), &earned, &clock).unwrap();
        // What was earned long ago is forgotten.
        for _ in 0..42 {
            clock.advance();
        }
        assert_eq!(
            frames.read(&frame(PING, 0, 8).repeat(201), &earned, &clock),
            Err(Flood::Questions)
        );
    }

    #[test]
    fn a_pod_earns_by_the_frames_it_is_sent() {
        let clock = Clock::default();
        let (mut frames, earned) = (Frames::of_pod(&clock), Earned::default());
        frames.sent(PREFACE, &earned);
        for _ in 0..10_000 {
            frames.sent(&[frame(HEADERS, 4, 20), frame(DATA, 0, 20)].concat(), &earned);
            let back = [
                frame(HEADERS, 4, 9),
                frame(PING, 0, 8),
                frame(WINDOW_UPDATE, 0, 4),
                frame(HEADERS, 5, 9),
            ];
            frames.read(&back.concat(), &earned, &clock).unwrap();
        }
        let (mut frames, earned) = (Frames::of_pod(&clock), Earned::default());
        assert_eq!(
            frames.read(&frame(HEADERS, 4, 9).repeat(2001), &earned, &clock),
            Err(Flood::Heads)
        );
    }
}
