//! Tokens that were verified lately, so that the same token need not be verified for each request.

use crate::message::Fields;
use crate::table::{Jwt, Verified};
use foldhash::fast::RandomState;
use lru::LruCache;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Parts that are locked one by one.
const PARTS: usize = 16;

/// Bytes of tokens, and of what they say, that each part keeps. Beyond them, the token that was shown the longest time ago
/// goes.
const MOST_BYTES: usize = 1 << 20;

/// What an entry takes beside these.
const OVERHEAD: usize = 256;

/// A token, and the step that it was shown to.
type Key = (u64, Box<[u8]>);

/// A token that was right.
struct Entry {
    jwt: Arc<Jwt>,
    verified: Verified,
}

impl Entry {
    fn size(&self, token: &[u8]) -> usize {
        token.len() + self.verified.fields.size() + OVERHEAD
    }
}

struct Part {
    known: LruCache<Key, Entry, RandomState>,
    bytes: usize,
}

/// The tokens that were verified lately.
pub struct Tokens {
    parts: Box<[Mutex<Part>]>,
    hasher: RandomState,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

impl Default for Tokens {
    fn default() -> Self {
        let part = || Part {
            known: LruCache::unbounded_with_hasher(RandomState::default()),
            bytes: 0,
        };
        Self {
            parts: (0..PARTS).map(|_| Mutex::new(part())).collect(),
            hasher: RandomState::default(),
        }
    }
}

impl Tokens {
    /// What a token says that is to be believed, and how many others were forgotten for it.
    ///
    /// # Errors
    /// Why it is not to be believed.
    pub fn check(&self, jwt: &Arc<Jwt>, token: &[u8]) -> Result<(Fields, u32), String> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(u64::MAX, |now| now.as_secs());
        self.check_at(jwt, token, now)
    }

    fn check_at(&self, jwt: &Arc<Jwt>, token: &[u8], now: u64) -> Result<(Fields, u32), String> {
        let hash = self.hasher.hash_one(token);
        let part = usize::try_from(hash >> 60)
            .ok()
            .and_then(|at| self.parts.get(at % PARTS));
        let Some(part) = part else {
            return Ok((jwt.verify(token)?.fields, 0));
        };
        let key: Key = (jwt.id(), token.into());
        let mut kept = part.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = kept.known.get_mut(&key) {
            // A table that was made anew has a copy of what it had before.
            let same = Arc::ptr_eq(&entry.jwt, jwt) || entry.jwt == *jwt;
            if same && now <= entry.verified.until {
                entry.jwt = jwt.clone();
                return Ok((entry.verified.fields.clone(), 0));
            }
        }
        // Others may look meanwhile.
        drop(kept);
        let verified = jwt.verify(token)?;
        let fields = verified.fields.clone();
        let entry = Entry {
            jwt: jwt.clone(),
            verified,
        };
        let mut kept = part.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes += entry.size(token);
        if let Some(before) = kept.known.put(key, entry) {
            kept.bytes -= before.size(token);
        }
        let mut forgotten = 0;
        while kept.bytes > MOST_BYTES {
            let Some(((_, token), gone)) = kept.known.pop_lru() else {
                break;
            };
            kept.bytes -= gone.size(&token);
            forgotten += 1;
        }
        Ok((fields, forgotten))
    }
}
