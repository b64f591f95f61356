//! Rates of requests by client, over all shards: the generic cell rate algorithm, which keeps one number for each client
//! and limit, the time at which its bucket is empty again.

use super::counted::Counted;
use crate::message::Fields;
use crate::table::{Rate, RateKey, Rates};
use lru::LruCache;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
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
    /// Texts of requests become keys by these, so that nobody can choose texts that share a bucket.
    hashers: [RandomState; 2],
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
            hashers: [RandomState::new(), RandomState::new()],
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
    /// In how many seconds it may come again if it may not go on.
    pub again: u64,
}

/// What of a request may be counted.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'r> {
    pub client: IpAddr,
    pub host: Option<&'r str>,
    pub fields: &'r Fields,
}

impl Buckets {
    /// Whether a request may go on now. If it may not by one of its rates, it counts for none of them.
    pub fn admit(&self, rates: &Rates, asker: &Asker<'_>) -> Admission {
        let now = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.admit_at(rates, asker, now)
    }

    /// Whose bucket it is.
    fn key(&self, rates: &Rates, asker: &Asker<'_>) -> u128 {
        let text = |text: &[u8]| {
            let [high, low] = self.hashers.each_ref().map(|hasher| u128::from(hasher.hash_one(text)));
            (high << 64) | low
        };
        let named = match &rates.key {
            RateKey::Client => None,
            RateKey::Header(name) => asker.fields.get(name).map(|value| text(value.as_bytes())),
            RateKey::Host => Some(text(asker.host.unwrap_or_default().as_bytes())),
        };
        named.unwrap_or_else(|| asker.client.counted(rates.native))
    }

    fn admit_at(&self, rates: &Rates, asker: &Asker<'_>, now: u64) -> Admission {
        let mut admission = Admission {
            passes: true,
            forgotten: 0,
            again: 0,
        };
        if rates.exempt.contains(asker.client) {
            return admission;
        }
        let client = self.key(rates, asker);
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
        let longest = limits()
            .map(|(key, rate)| wait(rate, buckets.get(&key).copied(), now))
            .max();
        let longest = longest.unwrap_or(0);
        admission.passes = longest == 0;
        admission.again = longest.div_ceil(1_000_000_000);
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

/// In how many nanoseconds there is room in a bucket that is empty at a time; 0 if there is now.
fn wait(rate: &Rate, empty_at: Option<u64>, now: u64) -> u64 {
    let filled = empty_at.unwrap_or(0).saturating_sub(now);
    filled.saturating_sub(rate.interval.saturating_mul(rate.burst.into()))
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
            key: RateKey::Client,
            native: false,
        }
    }

    fn passes(buckets: &Buckets, rates: &Rates, client: &str, now: u64) -> bool {
        admit(buckets, rates, client.parse().unwrap(), now).passes
    }

    fn admit(buckets: &Buckets, rates: &Rates, client: IpAddr, now: u64) -> Admission {
        let asker = Asker {
            client,
            host: Some("a.test"),
            fields: &Fields::new(),
        };
        buckets.admit_at(rates, &asker, now)
    }

    #[test]
    fn who_is_counted_together() {
        let buckets = Buckets::default();
        let native = |id, key| Rates {
            key,
            native: true,
            ..rates(id, &[Rate::new(1, 60, 0).unwrap()])
        };
        let by_client = native(1, RateKey::Client);
        let clients = [
            "2001:db8::1",
            "2001:db8::ffff:2",
            "2001:db8:0:1::1",
            "10.0.0.1",
            "10.0.0.2",
        ];
        let passed = clients.map(|client| passes(&buckets, &by_client, client, SECOND));
        assert_eq!(passed, [true, false, true, true, true], "IPv6 by its first 64 bits");
        let refused = admit(&buckets, &by_client, "10.0.0.1".parse().unwrap(), SECOND * 2 + 1);
        assert_eq!(refused.again, 59);
        let by_host = native(2, RateKey::Host);
        let passed = ["10.0.0.1", "10.0.0.2"].map(|client| passes(&buckets, &by_host, client, SECOND));
        assert_eq!(passed, [true, false]);
        let by_key = native(3, RateKey::Header(http::HeaderName::from_static("x-key")));
        let ask = |key: Option<&str>, client: &str| {
            let mut fields = Fields::new();
            if let Some(key) = key {
                fields.append("X-Key", key);
            }
            let client = client.parse().unwrap();
            let host = None;
            let fields = &fields;
            buckets
                .admit_at(&by_key, &Asker { client, host, fields }, SECOND)
                .passes
        };
        let asked = [
            (Some("a"), "10.0.0.1"),
            (Some("a"), "10.0.0.2"),
            (Some("b"), "10.0.0.1"),
            (None, "10.0.0.1"),
            (None, "10.0.0.1"),
            (None, "10.0.0.2"),
        ];
        let passed = asked.map(|(key, client)| ask(key, client));
        assert_eq!(passed, [true, false, true, true, false, true]);
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
            forgotten += admit(&buckets, &rates, client(number), 1).forgotten as usize;
        }
        let kept: usize = buckets.parts.iter().map(|part| part.lock().unwrap().len()).sum();
        assert!(kept <= PARTS * MOST, "{kept}");
        assert_eq!(kept + forgotten, many as usize);
        assert!(admit(&buckets, &rates, client(0), 1).passes, "it was forgotten");
        assert!(!admit(&buckets, &rates, client(many - 1), 1).passes, "it was not");
    }

    #[test]
    fn a_changed_number_holds_for_those_who_are_there() {
        let buckets = Buckets::default();
        let of = |burst| rates(1, &[Rate::new(1, 1, burst).unwrap()]);
        assert_eq!((0..20).filter(|_| passes(&buckets, &of(4), "10.0.0.1", 1)).count(), 5);
        assert_eq!((0..20).filter(|_| passes(&buckets, &of(6), "10.0.0.1", 1)).count(), 2);
    }
}
