//! Replies that are sent no faster than their route says. One that waits holds nothing of its shard but a timer.

use crate::table::Pace;
use bytes::Bytes;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// The longest piece that is sent at once.
const MOST: u64 = 64 << 10;

/// The pace of one reply.
pub struct Pacing {
    pace: Pace,
    began: Instant,
    sent: u64,
    /// What was read of the reply and is still to be sent.
    piece: Bytes,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Pacing {
    pub fn new(pace: Pace) -> Self {
        Self {
            pace,
            began: Instant::now(),
            sent: 0,
            piece: Bytes::new(),
            timer: None,
        }
    }

    /// Bytes that were read of the reply and are still to be sent.
    pub fn waiting(&self) -> usize {
        self.piece.len()
    }

    /// Takes the next piece in. The one before has to be out.
    pub fn hold(&mut self, piece: Bytes) {
        self.piece = piece;
    }

    /// How much is sent at once: a quarter of a second's.
    fn step(&self) -> u64 {
        (self.pace.rate / 4).clamp(1, MOST)
    }

    /// Bytes that may be sent by now beyond those that were.
    fn room(&self, now: Instant) -> u64 {
        let nanos = now.saturating_duration_since(self.began).as_nanos();
        let earned = nanos * u128::from(self.pace.rate) / 1_000_000_000;
        let earned = u64::try_from(earned).unwrap_or(u64::MAX);
        let all = self.pace.after.saturating_add(self.step()).saturating_add(earned);
        all.saturating_sub(self.sent)
    }

    /// The next part of the piece, once it may be sent.
    pub fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        loop {
            let wanted = self.step().min(self.piece.len() as u64);
            let room = self.room(Instant::now());
            if room >= wanted {
                self.timer = None;
                let part = room.min(self.piece.len() as u64);
                self.sent += part;
                let part = usize::try_from(part).unwrap_or(usize::MAX).min(self.piece.len());
                return Poll::Ready(self.piece.split_to(part));
            }
            let lacks = wanted - room;
            let nanos = u128::from(lacks) * 1_000_000_000 / u128::from(self.pace.rate) + 1;
            let time = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(time)));
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.timer = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[tokio::test(start_paused = true)]
    async fn a_reply_takes_as_long_as_its_pace_says() {
        for (rate, after, length, least, most) in [
            (1024, 0, 10 * 1024, 9_700, 10_001),
            (1024, 8 * 1024, 10 * 1024, 1_700, 2_001),
            (1 << 20, 0, 2 << 20, 1_900, 2_001),
            (1, 0, 3, 1_900, 3_001),
            (u64::MAX, u64::MAX, 1 << 20, 0, 1),
        ] {
            let mut pacing = Pacing::new(Pace { rate, after });
            let (began, mut left) = (Instant::now(), length);
            while left > 0 {
                pacing.hold(Bytes::from(vec![0; left.min(100_000)]));
                while pacing.waiting() > 0 {
                    let part = poll_fn(|cx| pacing.poll_part(cx)).await;
                    assert!(!part.is_empty());
                    left -= part.len();
                }
            }
            let took = began.elapsed().as_millis();
            assert!((least..=most).contains(&took), "{rate} {after} {length}: {took} ms");
        }
    }
}
