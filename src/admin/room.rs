//! Long answers of the admin side: how many are made at a time, and how much memory they take until clients have read them.
//!
//! Answers to the same question share their bytes, and all long ones together have a bound. Where it is reached, the
//! clients that have been behind with reading for the longest time are let go first, so that others are still answered.

use super::connections::Connections;
use super::reply::{Reply, complain};
use crate::control::Shared;
use crate::model::Report;
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode, response};
use http_body_util::{BodyExt, Collected, Full};
use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

/// Bytes of long answers that clients have not read yet, all together. A single answer may be longer than that.
const ROOM: u32 = 16 << 20;
/// Answers up to this many bytes are neither shared nor counted: there are no more of them than connections.
const SHORT: usize = 16 << 10;
/// Questions longer than this do not share their answers.
const LONGEST_KEY: usize = 1 << 10;
/// Answers that are made at once, as their making takes several times their memory.
const TURNS: usize = 2;
/// How long a question may wait for its turn, and then its answer for room.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a client that is let go may take to notice.
const NOTICE: Duration = Duration::from_millis(100);
/// How long an answer may be given to others who ask the same question, while table and report stay the same.
const FRESH: Duration = Duration::from_millis(500);

/// Whose turn it is. Each kind has turns of its own: whoever asks for lists does not hold up a scraper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A question to this narthex.
    Question,
    /// A question to all narthexes.
    ForAll,
    /// `/metrics` as Prometheus's own format has them.
    Metrics,
    /// `/metrics` as OpenMetrics has them.
    OpenMetrics,
}

/// What an answer was made from.
#[derive(Debug)]
pub struct AsOf {
    generation: u64,
    report: Weak<Report>,
    /// When it was made; absent where only the report matters.
    at: Option<Instant>,
}

impl AsOf {
    /// What an answer would be made from now.
    pub fn now(shared: &Shared, is_timeless: bool) -> Self {
        Self {
            generation: shared.tables.load().generation,
            report: Arc::downgrade(&shared.report.load()),
            at: (!is_timeless).then(Instant::now),
        }
    }

    fn is_good_for(&self, asked: &Self) -> bool {
        let is_fresh = match (self.at, asked.at) {
            (Some(made), Some(asked)) => asked.saturating_duration_since(made) < FRESH,
            _ => true,
        };
        is_fresh && self.generation == asked.generation && Weak::ptr_eq(&self.report, &asked.report)
    }
}

/// The bytes of a long answer, and their part of the room until the last client has read them.
#[derive(Debug)]
struct Held {
    bytes: Bytes,
    _part: OwnedSemaphorePermit,
}

/// One client's hold on them.
struct Hold(Arc<Held>);

impl AsRef<[u8]> for Hold {
    fn as_ref(&self) -> &[u8] {
        &self.0.bytes
    }
}

/// An answer that somebody is still reading.
struct Kept {
    as_of: AsOf,
    head: response::Parts,
    held: Weak<Held>,
}

/// Turns and memory.
pub struct AnswerLimits {
    bytes: Arc<Semaphore>,
    kept: Mutex<HashMap<String, Kept>>,
    questions: Semaphore,
    for_all: Semaphore,
    metrics: Semaphore,
}

impl Default for AnswerLimits {
    fn default() -> Self {
        Self {
            bytes: Arc::new(Semaphore::new(ROOM as usize)),
            kept: Mutex::default(),
            questions: Semaphore::new(TURNS),
            for_all: Semaphore::new(TURNS),
            metrics: Semaphore::new(1),
        }
    }
}

impl AnswerLimits {
    /// The answer to a question: one that others are reading, if it is still right, or a new one.
    pub async fn answer(
        &self,
        (asked, target): (Asked, &str),
        as_of: impl Fn() -> AsOf,
        connections: &Connections,
        make: impl Future<Output = Reply>,
    ) -> Reply {
        let key = (target.len() <= LONGEST_KEY).then(|| format!("{asked:?} {target}"));
        if let Some(reply) = self.find(key.as_deref(), &as_of()) {
            return reply;
        }
        let turns = match asked {
            Asked::Question => &self.questions,
            Asked::ForAll => &self.for_all,
            Asked::Metrics | Asked::OpenMetrics => &self.metrics,
        };
        let Ok(Ok(_turn)) = timeout(PATIENCE, turns.acquire()).await else {
            return busy(target);
        };
        let as_of = as_of();
        // Somebody who asked the same may have had the turn before.
        if let Some(reply) = self.find(key.as_deref(), &as_of) {
            return reply;
        }
        let (head, body) = make.await.into_parts();
        let bytes = body.collect().await.map(Collected::to_bytes);
        let bytes = bytes.unwrap_or_else(|never| match never {});
        if bytes.len() <= SHORT {
            return response(head, bytes);
        }
        let Some(part) = self.part(bytes.len(), connections).await else {
            return busy(target);
        };
        let held = Arc::new(Held { bytes, _part: part });
        if let Some(key) = key {
            let kept = Kept {
                as_of,
                head: head.clone(),
                held: Arc::downgrade(&held),
            };
            let mut all = self.kept();
            all.retain(|_, kept| kept.held.strong_count() > 0);
            all.insert(key, kept);
        }
        response(head, Bytes::from_owner(Hold(held)))
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<String, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, key: Option<&str>, as_of: &AsOf) -> Option<Reply> {
        let all = self.kept();
        let kept = all.get(key?).filter(|kept| kept.as_of.is_good_for(as_of))?;
        let held = kept.held.upgrade()?;
        Some(response(kept.head.clone(), Bytes::from_owner(Hold(held))))
    }

    /// Makes room for this many bytes. Slow clients lose their connections for it if need be.
    async fn part(&self, bytes: usize, connections: &Connections) -> Option<OwnedSemaphorePermit> {
        let wanted = u32::try_from(bytes).unwrap_or(ROOM).min(ROOM);
        let until = Instant::now() + PATIENCE;
        // It is asked for only once, so that whoever wants less and comes later does not get it first.
        let mut part = pin!(self.bytes.clone().acquire_many_owned(wanted));
        loop {
            if let Ok(part) = timeout(NOTICE, &mut part).await {
                return part.ok();
            }
            if Instant::now() >= until {
                return None;
            }
            connections.end_slowest();
        }
    }
}

fn response(head: response::Parts, bytes: Bytes) -> Reply {
    Response::from_parts(head, Full::new(bytes).boxed_unsync())
}

fn busy(target: &str) -> Reply {
    let said = "too many long answers are being read already: ask again in a moment";
    let mut reply = complain(target, StatusCode::SERVICE_UNAVAILABLE, said);
    let fields = reply.headers_mut();
    fields.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    reply
}

#[cfg(test)]
mod tests {
    use super::super::reply::text;
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    async fn ask(room: &AnswerLimits, target: &str, as_of: &AsOf, bytes: usize, made: &AtomicUsize) -> Reply {
        let as_of = || AsOf {
            report: as_of.report.clone(),
            ..*as_of
        };
        let make = async {
            made.fetch_add(1, Ordering::Relaxed);
            text(StatusCode::OK, "x".repeat(bytes))
        };
        let asked = (Asked::Question, target);
        room.answer(asked, as_of, &Connections::default(), make).await
    }

    fn as_of(generation: u64, report: &Arc<Report>) -> AsOf {
        AsOf {
            generation,
            report: Arc::downgrade(report),
            at: Some(Instant::now()),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_shared_while_it_is_right_and_somebody_reads_it() {
        let (room, made, report) = (AnswerLimits::default(), AtomicUsize::new(0), Arc::default());
        let long = SHORT * 2;
        let ask = |generation, target| {
            let (room, made, now) = (&room, &made, as_of(generation, &report));
            async move { ask(room, target, &now, long, made).await }
        };
        let first = ask(1, "/a").await;
        let second = ask(1, "/a").await;
        assert_eq!(made.load(Ordering::Relaxed), 1);
        assert_eq!(room.bytes.available_permits(), ROOM as usize - long);
        let _other = ask(1, "/b").await;
        let _newer = ask(2, "/a").await;
        assert_eq!(made.load(Ordering::Relaxed), 3);
        tokio::time::advance(FRESH).await;
        let _later = ask(2, "/a").await;
        assert_eq!(made.load(Ordering::Relaxed), 4);
        drop(first);
        assert_eq!(room.bytes.available_permits(), ROOM as usize - 4 * long);
        let body = second.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body.len(), long);
        drop(body);
        assert_eq!(room.bytes.available_permits(), ROOM as usize - 3 * long);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_waits_for_room_and_then_is_refused() {
        let (room, made, report) = (AnswerLimits::default(), AtomicUsize::new(0), Arc::default());
        let now = as_of(1, &report);
        let first = ask(&room, "/a", &now, ROOM as usize + 1, &made).await;
        assert_eq!(first.status(), StatusCode::OK, "longer than the room, but alone");
        let second = ask(&room, "/b", &now, SHORT + 1, &made).await;
        assert_eq!(second.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(second.headers()[header::RETRY_AFTER], "1");
        let short = ask(&room, "/c", &now, SHORT, &made).await;
        assert_eq!(short.status(), StatusCode::OK);
        drop(first);
        assert_eq!(ask(&room, "/b", &now, SHORT + 1, &made).await.status(), StatusCode::OK);
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_answer_gets_its_room_before_smaller_ones_that_come_later() {
        let (room, made, report) = (AnswerLimits::default(), AtomicUsize::new(0), Arc::default());
        let now = as_of(1, &report);
        let half = ROOM as usize / 2;
        let first = ask(&room, "/first", &now, half, &made).await;
        let large = async { ask(&room, "/large", &now, half * 2, &made).await.status() };
        let small = async {
            tokio::time::sleep(NOTICE / 2).await;
            ask(&room, "/small", &now, half, &made).await
        };
        let leaves = async {
            tokio::time::sleep(NOTICE * 5).await;
            drop(first);
        };
        let (large, small, ()) = tokio::join!(large, small, leaves);
        assert_eq!((large, small.status()), (StatusCode::OK, StatusCode::OK));
    }
}
