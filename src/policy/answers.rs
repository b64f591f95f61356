//! What services that say who may come in have answered lately, over all shards.

use crate::message::Fields;
use aws_lc_rs::{hmac, rand};
use http::StatusCode;
use lru::LruCache;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Parts that are locked one by one.
const PARTS: usize = 16;
/// Answers that are remembered in each part.
const MOST: usize = 1024;
/// The longest answer that is remembered, by the bytes of its fields.
const LONGEST: usize = 4096;

/// What an answer is remembered by. Whoever reads it learns nothing of the request that it was given for.
pub type Tag = [u8; 32];

/// As much of an answer as counts.
#[derive(Debug)]
pub struct Remembered {
    pub status: StatusCode,
    pub fields: Fields,
}

/// The answers that are remembered.
#[derive(Default)]
pub struct Answers(std::sync::OnceLock<Option<Known>>);

struct Known {
    /// Made at random for each process.
    key: hmac::Key,
    parts: Box<[Part]>,
}

/// Answers with the time until which they count.
type Part = Mutex<LruCache<Tag, (Instant, Arc<Remembered>)>>;

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers").finish_non_exhaustive()
    }
}

impl Answers {
    /// Absent where this system gives no random numbers: then nothing is remembered.
    fn known(&self) -> Option<&Known> {
        let known = || {
            let mut key = [0; 32];
            rand::fill(&mut key).ok()?;
            Some(Known {
                key: hmac::Key::new(hmac::HMAC_SHA256, &key),
                parts: (0..PARTS).map(|_| Mutex::new(LruCache::unbounded())).collect(),
            })
        };
        self.0.get_or_init(known).as_ref()
    }

    /// What the answer to a question is remembered by.
    pub fn tag(&self, parts: &[&[u8]]) -> Option<Tag> {
        let mut context = hmac::Context::with_key(&self.known()?.key);
        for part in parts {
            // With the lengths, no two lists of parts look the same.
            context.update(&part.len().to_le_bytes());
            context.update(part);
        }
        context.sign().as_ref().first_chunk().copied()
    }

    fn part(&self, tag: &Tag) -> Option<&Part> {
        self.known()?.parts.get(usize::from(tag[0]) % PARTS)
    }

    /// The answer to a question, if it was given lately.
    pub fn get(&self, tag: &Tag) -> Option<Arc<Remembered>> {
        self.get_at(tag, Instant::now())
    }

    fn get_at(&self, tag: &Tag, now: Instant) -> Option<Arc<Remembered>> {
        let mut known = self.part(tag)?.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, answer) = known.get(tag)?;
        if now < *until {
            return Some(answer.clone());
        }
        known.pop(tag);
        None
    }

    /// Remembers an answer for so long. Says how many others had to go for it.
    pub fn remember(&self, tag: Tag, answer: Remembered, time: Duration) -> u32 {
        self.remember_at(tag, answer, time, Instant::now())
    }

    fn remember_at(&self, tag: Tag, answer: Remembered, time: Duration, now: Instant) -> u32 {
        let (Some(part), Some(until)) = (self.part(&tag), now.checked_add(time)) else {
            return 0;
        };
        if answer.fields.size() > LONGEST {
            return 0;
        }
        let mut known = part.lock().unwrap_or_else(PoisonError::into_inner);
        known.put(tag, (until, Arc::new(answer)));
        let mut forgotten = 0;
        while known.len() > MOST {
            // One that is over is no loss.
            forgotten += u32::from(known.pop_lru().is_some_and(|(_, (until, _))| now < until));
        }
        forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Remembered {
        Remembered {
            status: StatusCode::OK,
            fields: Fields::new(),
        }
    }

    #[test]
    fn an_answer_is_forgotten_in_time() {
        let answers = Answers::default();
        let now = Instant::now();
        let tag = answers.tag(&[b"a", b"bc"]).unwrap();
        assert_ne!(Some(tag), answers.tag(&[b"ab", b"c"]));
        answers.remember_at(tag, answer(), Duration::from_secs(5), now);
        let at = |seconds| answers.get_at(&tag, now + Duration::from_secs(seconds)).is_some();
        assert_eq!([at(0), at(4), at(5), at(4)], [true, true, false, false]);
    }

    #[test]
    fn there_is_a_bound_and_the_longest_idle_goes() {
        let answers = Answers::default();
        let now = Instant::now();
        let mut forgotten = 0;
        for number in 0..2 * PARTS * MOST {
            let tag = answers.tag(&[&number.to_le_bytes()]).unwrap();
            forgotten += answers.remember_at(tag, answer(), Duration::from_secs(5), now) as usize;
        }
        let kept: usize = answers
            .known()
            .unwrap()
            .parts
            .iter()
            .map(|part| part.lock().unwrap().len())
            .sum();
        assert!(kept <= PARTS * MOST, "{kept}");
        assert_eq!(kept + forgotten, 2 * PARTS * MOST);
        let mut long = answer();
        long.fields.append("X-Long", "x".repeat(LONGEST));
        let tag = answers.tag(&[b"long"]).unwrap();
        answers.remember_at(tag, long, Duration::from_secs(5), now);
        assert!(answers.get_at(&tag, now).is_none());
    }
}
