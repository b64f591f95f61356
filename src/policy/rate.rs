//! Rates of requests by client, over all shards: the generic cell rate algorithm, which keeps one number for each client
//! and limit, the time at which its bucket is empty again.

use crate::table::{Rate, Rates};
use lru::LruCache;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Parts that are locked one by one.
const PARTS: usize = 16;

/// Buckets that are kept in each part. Beyond them, the one that was asked of the longest time ago goes.
const MOST: usize = 16 * 1024;

/// A bucket: whose limit it is, which of its limits, and for which client.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    id: u64,
    limit: usize,
    client: u128,
}

/// The buckets of all clients that are not empty.
pub struct Buckets {
    parts: Box<[Mutex<LruCache<Key, u64>>]>,
    began: Instant,
}

impl std::fmt::Debug for Buckets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buckets").finish_non_exhaustive()
    }
}

impl Default for Buckets {
    fn default() -> Self {
        Self {
            parts: (0..PARTS).map(|_| Mutex::new(LruCache::unbounded())).collect(),
            began: Instant::now(),
        }
    }
}

/// What is said to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Whether it may go on.
    pub passes: bool,
    /// Buckets of others that had to go for it.
    pub forgotten: u32,
}

impl Buckets {
    /// Whether a client may ask now. If it may not by one of its rates, it counts for none of them.
    pub fn admit(&self, rates: &Rates, client: IpAddr) -> Admission {
        let now = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.admit_at(rates, client, now)
    }

    fn admit_at(&self, rates: &Rates, client: IpAddr, now: u64) -> Admission {
        let mut admission = Admission {
            passes: true,
            forgotten: 0,
        };
        if rates.exempt.contains(client) {
            return admission;
        }
        let client = match client.to_canonical() {
            IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
            IpAddr::V6(address) => Ipv6Addr::to_bits(address),
        };
        // All buckets of a client are in one part, so that one lock is enough.
        let part = usize::try_from(client.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) >> 124);
        let Some(part) = part.ok().and_then(|part| self.parts.get(part)) else {
            return admission;
        };
        let mut buckets = part.lock().unwrap_or_else(PoisonError::into_inner);
        let limits = || {
            let key = |limit| Key {
                id: rates.id,
                limit,
                client,
            };
            rates
                .limits
                .iter()
                .enumerate()
                .map(move |(limit, rate)| (key(limit), rate))
        };
        admission.passes = limits().all(|(key, rate)| fits(rate, buckets.get(&key).copied(), now));
        if admission.passes {
            for (key, rate) in limits() {
                let empty_at = buckets.get(&key).copied().unwrap_or(0).max(now);
                buckets.put(key, empty_at.saturating_add(rate.interval));
            }
            while buckets.len() > MOST {
                // One that is empty by now is no loss.
                let gone = buckets.pop_lru().filter(|(_, empty_at)| *empty_at > now);
                admission.forgotten += u32::from(gone.is_some());
            }
        }
        admission
    }
}

/// Whether there is room in a bucket that is empty at a time.
fn fits(rate: &Rate, empty_at: Option<u64>, now: u64) -> bool {
    let filled = empty_at.unwrap_or(0).saturating_sub(now);
    filled <= rate.interval.saturating_mul(rate.burst.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Networks;

    const SECOND: u64 = 1_000_000_000;

    fn rates(id: u64, limits: &[Rate]) -> Rates {
        Rates {
            id,
            exempt: Networks::new(["10.9.0.0/16".parse().unwrap()]),
            limits: limits.into(),
            status: http::StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn passes(buckets: &Buckets, rates: &Rates, client: &str, now: u64) -> bool {
        buckets.admit_at(rates, client.parse().unwrap(), now).passes
    }

    #[test]
    fn a_burst_passes_at_once_and_then_one_at_a_time() {
        let buckets = Buckets::default();
        let rates = rates(1, &[Rate::new(5, 1, 25).unwrap()]);
        let at_once = (0..60).filter(|_| passes(&buckets, &rates, "10.0.0.1", SECOND)).count();
        assert_eq!(at_once, 26);
        let later = |after: u64| passes(&buckets, &rates, "10.0.0.1", SECOND + after * SECOND / 1000);
        assert_eq!(
            [later(199), later(200), later(201), later(399), later(400)],
            [false, true, false, false, true]
        );
        assert!(
            passes(&buckets, &rates, "10.0.0.2", SECOND),
            "another client has its own"
        );
        assert!(
            (0..100).all(|_| passes(&buckets, &rates, "10.9.0.1", SECOND)),
            "one that is exempt"
        );
        let same = passes(&buckets, &rates, "::ffff:10.0.0.1", SECOND + SECOND / 1000 * 400);
        assert!(!same, "IPv4 in IPv6 is the same client");
    }

    #[test]
    fn who_is_refused_by_one_rate_is_charged_for_none() {
        let buckets = Buckets::default();
        let rates = rates(1, &[Rate::new(1, 1, 9).unwrap(), Rate::new(1, 60, 1).unwrap()]);
        let passed = (0..10).filter(|_| passes(&buckets, &rates, "10.0.0.1", SECOND)).count();
        assert_eq!(passed, 2, "by the second");
        let first_alone = Rates {
            limits: rates.limits.iter().take(1).copied().collect(),
            ..rates
        };
        let passed = (0..20)
            .filter(|_| passes(&buckets, &first_alone, "10.0.0.1", SECOND))
            .count();
        assert_eq!(passed, 8, "the first was charged for two");
    }

    #[test]
    fn there_is_a_bound_and_the_longest_idle_goes() {
        let buckets = Buckets::default();
        let rates = rates(1, &[Rate::new(1, 1_000_000, 0).unwrap()]);
        let client = |number: u32| IpAddr::from(std::net::Ipv4Addr::from_bits(0x0a00_0000 + number));
        let many = u32::try_from(2 * PARTS * MOST).unwrap();
        let mut forgotten = 0;
        for number in 0..many {
            forgotten += buckets.admit_at(&rates, client(number), 1).forgotten as usize;
        }
        let kept: usize = buckets.parts.iter().map(|part| part.lock().unwrap().len()).sum();
        assert!(kept <= PARTS * MOST, "{kept}");
        assert_eq!(kept + forgotten, many as usize);
        assert!(buckets.admit_at(&rates, client(0), 1).passes, "it was forgotten");
        assert!(!buckets.admit_at(&rates, client(many - 1), 1).passes, "it was not");
    }

    #[test]
    fn a_changed_number_holds_for_those_who_are_there() {
        let buckets = Buckets::default();
        let of = |burst| rates(1, &[Rate::new(1, 1, burst).unwrap()]);
        assert_eq!((0..20).filter(|_| passes(&buckets, &of(4), "10.0.0.1", 1)).count(), 5);
        assert_eq!((0..20).filter(|_| passes(&buckets, &of(6), "10.0.0.1", 1)).count(), 2);
    }
}
