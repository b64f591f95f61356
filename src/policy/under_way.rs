//! How many requests of each client are under way, over all shards.

use super::counted::Counted;
use crate::table::Connections;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Parts that are locked one by one.
const PARTS: usize = 16;

/// Whose count it is, and of which client.
type Key = (u64, u128);

/// The counts of all clients that have requests under way. There are no more of them than requests.
#[derive(Debug, Default)]
pub struct UnderWay([Mutex<HashMap<Key, u32>>; PARTS]);

/// A request's place among those under way, until dropped.
#[derive(Debug)]
pub struct Place {
    counts: Arc<UnderWay>,
    key: Key,
}

impl UnderWay {
    fn part(&self, (_, client): Key) -> Option<&Mutex<HashMap<Key, u32>>> {
        let part = client.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) >> 124;
        self.0.get(usize::try_from(part).ok()? % PARTS)
    }

    /// Whether one more may be under way, and its place where that is counted.
    pub fn enter(self: &Arc<Self>, limit: &Connections, client: IpAddr) -> (bool, Option<Place>) {
        if limit.exempt.contains(client) {
            return (true, None);
        }
        let key = (limit.id, client.counted(limit.native));
        let Some(part) = self.part(key) else {
            return (false, None);
        };
        let mut counts = part.lock().unwrap_or_else(PoisonError::into_inner);
        let known = counts.get(&key).copied().unwrap_or(0);
        if known >= limit.most {
            return (false, None);
        }
        counts.insert(key, known + 1);
        let counts = self.clone();
        (true, Some(Place { counts, key }))
    }
}

impl Place {
    /// Whether it is counted for this limit.
    pub fn is_of(&self, limit: &Connections) -> bool {
        self.key.0 == limit.id
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(part) = self.counts.part(self.key) else { return };
        let mut counts = part.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = counts.entry(self.key) {
            if *count.get() <= 1 {
                count.remove();
            } else {
                *count.get_mut() -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Networks;

    fn limit(id: u64, most: u32) -> Connections {
        let exempt = Networks::new(["10.9.0.0/16".parse().unwrap()]);
        Connections {
            id,
            exempt,
            most,
            status: http::StatusCode::SERVICE_UNAVAILABLE,
            native: false,
        }
    }

    #[test]
    fn each_client_of_each_limit_has_its_own_count_and_nothing_stays() {
        let counts = Arc::<UnderWay>::default();
        let enter = |limit: &Connections, client: &str| counts.enter(limit, client.parse().unwrap());
        let (one, other) = (limit(1, 2), limit(2, 2));
        let mut held: Vec<_> = (0..2).map(|_| enter(&one, "10.0.0.1")).collect();
        assert!(held.iter().all(|(may, place)| *may && place.is_some()));
        assert!(!enter(&one, "10.0.0.1").0 && !enter(&one, "::ffff:10.0.0.1").0);
        assert!(enter(&one, "10.0.0.2").0 && enter(&other, "10.0.0.1").0);
        let exempt = enter(&one, "10.9.0.1");
        assert!(exempt.0 && exempt.1.is_none());
        // The number may change while some are under way.
        assert!(enter(&limit(1, 3), "10.0.0.1").0 && !enter(&limit(1, 1), "10.0.0.1").0);
        held.pop();
        assert!(enter(&one, "10.0.0.1").0);
        held.clear();
        let left: usize = counts.0.iter().map(|part| part.lock().unwrap().len()).sum();
        assert_eq!(left, 0);
    }

    #[test]
    fn counts_are_exact_over_threads() {
        let counts = Arc::<UnderWay>::default();
        let limit = limit(1, 5);
        let client = "10.0.0.1".parse().unwrap();
        let now = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..2000 {
                        let (may, place) = counts.enter(&limit, client);
                        if may {
                            use std::sync::atomic::Ordering::SeqCst;
                            assert!(now.fetch_add(1, SeqCst) < 5);
                            now.fetch_sub(1, SeqCst);
                        }
                        drop(place);
                    }
                });
            }
        });
        assert!(counts.0.iter().all(|part| part.lock().unwrap().is_empty()));
    }
}
