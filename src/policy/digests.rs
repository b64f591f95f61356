//! Digests of passwords that clients show (RFC 7616), and the nonces that they are made with.

mod said;

use crate::table::{Digest, DigestHash};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, hmac, rand};
use md5::{Digest as _, Md5};
use said::Said;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// How long a nonce is good.
const LIFETIME: Duration = Duration::from_secs(300);
/// Parts that are locked one by one.
const PARTS: usize = 16;
/// Nonces whose counts are kept in each part.
const MOST: usize = 4096;
/// How far the counts of requests that overtake each other may lie apart.
const WINDOW: u32 = 128;

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    Right,
    Wrong,
    /// The password is right, but the nonce is not one of ours, is too old, or was used with this count already.
    Stale,
}

/// A request that a digest is for.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    pub method: &'a str,
    /// Path and query, as the client wrote them.
    pub target: &'a [u8],
    pub host: &'a [u8],
}

/// When a nonce was made, and which it was.
#[derive(Clone, Copy)]
struct Nonce {
    /// Milliseconds since the process began to make them.
    made: u64,
    number: u64,
}

/// The counts that a nonce was used with.
struct Counts {
    made: u64,
    highest: u32,
    /// Whether each of the counts from the highest downwards was used.
    used: u128,
}

/// The nonces that were used. They are forgotten in the order in which they were made.
#[derive(Default)]
struct Part {
    used: BTreeMap<u64, Counts>,
    /// The greatest number that was forgotten. Of the numbers up to it nobody knows what they were used with.
    forgotten: Option<u64>,
}

/// The nonces of all shards. One that was made and not used takes no memory.
pub struct Digests {
    /// Made at random for each process; absent where this system gives no random numbers.
    key: OnceLock<Option<hmac::Key>>,
    begun: Instant,
    numbers: AtomicU64,
    parts: Box<[Mutex<Part>]>,
}

impl fmt::Debug for Digests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Digests").finish_non_exhaustive()
    }
}

impl Default for Digests {
    fn default() -> Self {
        Self {
            key: OnceLock::new(),
            begun: Instant::now(),
            numbers: AtomicU64::new(0),
            parts: (0..PARTS).map(|_| Mutex::default()).collect(),
        }
    }
}

impl Digests {
    fn key(&self) -> Option<&hmac::Key> {
        let make = || {
            let mut key = [0; 32];
            rand::fill(&mut key).ok()?;
            Some(hmac::Key::new(hmac::HMAC_SHA256, &key))
        };
        self.key.get_or_init(make).as_ref()
    }

    fn age(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// What a client is asked for, as `WWW-Authenticate` has it: one text for each hash. Absent where no nonce can be made.
    pub fn challenges(&self, digest: &Digest, stale: bool) -> Option<impl Iterator<Item = String>> {
        let nonce = Nonce {
            made: self.age(),
            number: self.numbers.fetch_add(1, Ordering::Relaxed),
        };
        let nonce = nonce.sign(self.key()?);
        let stale = if stale { ", stale=true" } else { "" };
        Some(digest.hashes.iter().map(move |hash| {
            let (realm, hash) = (&digest.realm, hash.name());
            format!("Digest realm=\"{realm}\", qop=\"auth\", algorithm={hash}, nonce=\"{nonce}\"{stale}")
        }))
    }

    /// Whether a client has shown what one of the users would, and how many nonces were forgotten for it.
    pub fn check(&self, digest: &Digest, authorization: &[u8], asked: Asked<'_>) -> (Shown, u32) {
        self.check_at(digest, authorization, asked, self.age())
    }

    fn check_at(&self, digest: &Digest, authorization: &[u8], asked: Asked<'_>, now: u64) -> (Shown, u32) {
        let Some(said) = Said::read(authorization) else {
            return (Shown::Wrong, 0);
        };
        if said.realm != digest.realm.as_bytes() || !is_for(&said.uri, asked) || !said.is_right(digest, asked.method) {
            return (Shown::Wrong, 0);
        }
        let nonce = self.key().and_then(|key| Nonce::read(&said.nonce, key));
        let lifetime = u64::try_from(LIFETIME.as_millis()).unwrap_or(u64::MAX);
        let oldest = now.saturating_sub(lifetime);
        let Some(nonce) = nonce.filter(|nonce| nonce.made >= oldest) else {
            return (Shown::Stale, 0);
        };
        let part = usize::try_from(nonce.number).unwrap_or_default() % PARTS;
        let Some(part) = self.parts.get(part) else {
            return (Shown::Stale, 0);
        };
        let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
        part.take(nonce, said.count, oldest)
    }
}

impl Part {
    /// Takes a count of a nonce, which cannot be used again.
    fn take(&mut self, nonce: Nonce, count: u32, oldest: u64) -> (Shown, u32) {
        if let Some(counts) = self.used.get_mut(&nonce.number) {
            let fresh = counts.take(count);
            return (if fresh { Shown::Right } else { Shown::Stale }, 0);
        }
        if self.forgotten.is_some_and(|forgotten| nonce.number <= forgotten) {
            return (Shown::Stale, 0);
        }
        while let Some(first) = self.used.first_entry() {
            if first.get().made >= oldest {
                break;
            }
            // Too old to be used again.
            first.remove();
        }
        let counts = Counts {
            made: nonce.made,
            highest: count,
            used: 1,
        };
        self.used.insert(nonce.number, counts);
        let mut gone = 0;
        while self.used.len() > MOST {
            let Some((number, _)) = self.used.pop_first() else {
                break;
            };
            self.forgotten = self.forgotten.max(Some(number));
            gone += 1;
        }
        // Where all others are newer, this one is what was forgotten.
        let kept = self.used.contains_key(&nonce.number);
        (if kept { Shown::Right } else { Shown::Stale }, gone)
    }
}

impl Counts {
    /// Whether a count was not used yet, and is now.
    fn take(&mut self, count: u32) -> bool {
        if count > self.highest {
            self.used = self.used.checked_shl(count - self.highest).unwrap_or(0) | 1;
            self.highest = count;
            return true;
        }
        let behind = self.highest - count;
        let bit = 1_u128.checked_shl(behind).unwrap_or(0);
        let fresh = behind < WINDOW && self.used & bit == 0;
        self.used |= bit;
        fresh
    }
}

impl Nonce {
    fn bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        let (made, number) = bytes.split_at_mut(8);
        made.copy_from_slice(&self.made.to_be_bytes());
        number.copy_from_slice(&self.number.to_be_bytes());
        bytes
    }

    fn sign(self, key: &hmac::Key) -> String {
        let bytes = self.bytes();
        hexadecimal(&bytes) + &hexadecimal(hmac::sign(key, &bytes).as_ref())
    }

    /// Reads one that was signed with this key.
    fn read(text: &[u8], key: &hmac::Key) -> Option<Self> {
        let number = |digits: &[u8]| u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
        let nonce = Self {
            made: number(text.get(..16)?)?,
            number: number(text.get(16..32)?)?,
        };
        // It has to be written as we do it.
        let own = nonce.sign(key);
        verify_slices_are_equal(own.as_bytes(), text).ok().map(|()| nonce)
    }
}

/// Whether a digest is for this request and no other.
fn is_for(uri: &[u8], asked: Asked<'_>) -> bool {
    if uri == asked.target {
        return true;
    }
    // A client may write the whole URL.
    let behind = memchr::memmem::find(uri, b"://").and_then(|at| uri.get(at + 3..));
    behind
        .and_then(|behind| behind.strip_prefix(asked.host))
        .is_some_and(|target| target == asked.target)
}

impl Said {
    /// Whether it was made with the password of a user. It takes as long where there is no such user.
    fn is_right(&self, digest: &Digest, method: &str) -> bool {
        if !digest.hashes.contains(&self.hash) {
            return false;
        }
        let known = digest.sum(&self.name, self.hash);
        let user = known.unwrap_or("00000000000000000000000000000000");
        let request = sum(self.hash, &[method.as_bytes(), &self.uri]);
        let wanted = sum(
            self.hash,
            &[
                user.as_bytes(),
                &self.nonce,
                &self.count_text,
                &self.client_nonce,
                b"auth",
                request.as_bytes(),
            ],
        );
        verify_slices_are_equal(wanted.as_bytes(), &self.response).is_ok() && known.is_some()
    }
}

/// The hash of texts with colons between, in hexadecimal digits.
fn sum(hash: DigestHash, parts: &[&[u8]]) -> String {
    let text = parts.join(&b':');
    match hash {
        DigestHash::Md5 => hexadecimal(&Md5::digest(&text)),
        DigestHash::Sha256 => hexadecimal(digest::digest(&digest::SHA256, &text).as_ref()),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::DigestUsers;
    use std::sync::Arc;

    fn digest_of(users: &str) -> Digest {
        DigestUsers::of_file(users.as_bytes())
            .users
            .unwrap()
            .asked_for(None)
            .unwrap()
    }

    /// The user of RFC 7616, section 3.9.1, with both hashes.
    fn mufasa() -> Digest {
        let sums = [DigestHash::Md5, DigestHash::Sha256].map(|hash| {
            let sum = sum(hash, &[b"Mufasa", b"http-auth@example.org", b"Circle of Life"]);
            format!("Mufasa:http-auth@example.org:{sum}\n")
        });
        digest_of(&sums.concat())
    }

    const RFC: &str = "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", uri=\"/dir/index.html\", \
                       algorithm=ALGORITHM, nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", nc=00000001, \
                       cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, response=\"RESPONSE\", \
                       opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"";

    const ASKED: Asked<'static> = Asked {
        method: "GET",
        target: b"/dir/index.html",
        host: b"www.example.org",
    };

    #[test]
    fn the_example_of_the_specification_is_right_but_for_its_nonce() {
        let (digests, digest) = (Digests::default(), mufasa());
        let sha256 = "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1";
        for (hash, response, shown) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec", Shown::Stale),
            ("SHA-256", sha256, Shown::Stale),
            ("sha-256", sha256, Shown::Stale),
            ("MD5", sha256, Shown::Wrong),
            ("SHA-256", "8ca523f5e9506fed4657c9700eebdbec", Shown::Wrong),
            ("SHA-512-256", sha256, Shown::Wrong),
            ("MD5-sess", "8ca523f5e9506fed4657c9700eebdbec", Shown::Wrong),
        ] {
            let text = RFC.replace("ALGORITHM", hash).replace("RESPONSE", response);
            assert_eq!(
                digests.check(&digest, text.as_bytes(), ASKED),
                (shown, 0),
                "{hash} {response}"
            );
            let post = Asked {
                method: "POST",
                ..ASKED
            };
            assert_eq!(digests.check(&digest, text.as_bytes(), post).0, Shown::Wrong, "{hash}");
            let other = Asked {
                target: b"/dir/index.html?",
                ..ASKED
            };
            assert_eq!(digests.check(&digest, text.as_bytes(), other).0, Shown::Wrong, "{hash}");
        }
    }

    /// What a client says that knows the password.
    fn said(digests: &Digests, digest: &Digest, nonce: Option<&str>, count: u32) -> (String, String) {
        let nonce = nonce.map(str::to_owned).unwrap_or_else(|| {
            let challenge = digests.challenges(digest, false).unwrap().next().unwrap();
            let (_, nonce) = challenge.split_once("nonce=\"").unwrap();
            nonce.split('"').next().unwrap().to_owned()
        });
        let user = digest.sum(b"Mufasa", DigestHash::Sha256).unwrap();
        let request = sum(DigestHash::Sha256, &[b"GET", ASKED.target]);
        let counted = format!("{count:08x}");
        let parts: &[&[u8]] = &[
            user.as_bytes(),
            nonce.as_bytes(),
            counted.as_bytes(),
            b"c",
            b"auth",
            request.as_bytes(),
        ];
        let response = sum(DigestHash::Sha256, parts);
        let text = format!(
            "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", uri=\"/dir/index.html\", algorithm=SHA-256, \
             nonce=\"{nonce}\", nc={counted}, cnonce=\"c\", qop=auth, response=\"{response}\""
        );
        (text, nonce)
    }

    #[test]
    fn each_count_of_a_nonce_is_good_once() {
        let (digests, digest) = (Digests::default(), mufasa());
        let (first, nonce) = said(&digests, &digest, None, 1);
        let check = |text: &str| digests.check(&digest, text.as_bytes(), ASKED).0;
        assert_eq!(check(&first), Shown::Right);
        assert_eq!(check(&first), Shown::Stale);
        for (count, shown) in [
            (3, Shown::Right),
            (2, Shown::Right),
            (3, Shown::Stale),
            (2, Shown::Stale),
            (0, Shown::Stale),
            (400, Shown::Right),
            (273, Shown::Right),
            (272, Shown::Stale),
            (4, Shown::Stale),
            (u32::MAX, Shown::Right),
            (u32::MAX, Shown::Stale),
        ] {
            let shown = if count == 0 { Shown::Wrong } else { shown };
            let text = said(&digests, &digest, Some(&nonce), count).0;
            assert_eq!(check(&text), shown, "{count}");
        }
        // Another process has another key.
        assert_eq!(
            Digests::default().check(&digest, first.as_bytes(), ASKED).0,
            Shown::Stale
        );
        let forged = nonce.replace(&nonce[..32], &"0".repeat(32));
        let forged = said(&digests, &digest, Some(&forged), 9).0;
        assert_eq!(check(&forged), Shown::Stale);
    }

    #[test]
    fn a_nonce_lasts_for_a_time() {
        let (digests, digest) = (Digests::default(), mufasa());
        let (text, nonce) = said(&digests, &digest, None, 1);
        let late = u64::try_from(LIFETIME.as_millis()).unwrap() + digests.age() + 1;
        let check = |text: &str, now| digests.check_at(&digest, text.as_bytes(), ASKED, now).0;
        assert_eq!(check(&text, late), Shown::Stale);
        assert_eq!(check(&text, digests.age()), Shown::Right);
        let again = said(&digests, &digest, Some(&nonce), 2).0;
        assert_eq!(check(&again, late), Shown::Stale);
    }

    #[test]
    fn what_was_forgotten_is_not_good_again() {
        let mut part = Part::default();
        let nonce = |number| Nonce { made: 5, number };
        let most = MOST as u64;
        for number in 1..=most {
            assert_eq!(part.take(nonce(number), 1, 0), (Shown::Right, 0));
        }
        assert_eq!(
            part.take(nonce(0), 1, 0),
            (Shown::Stale, 1),
            "older than all that are kept"
        );
        assert_eq!(part.take(nonce(most + 1), 1, 0), (Shown::Right, 1));
        assert_eq!(part.take(nonce(1), 1, 0), (Shown::Stale, 0));
        assert_eq!(part.take(nonce(1), 2, 0), (Shown::Stale, 0));
        assert_eq!(part.take(nonce(2), 2, 0), (Shown::Right, 0));
        assert_eq!(part.used.len(), MOST);
        // Those that are too old make room.
        assert_eq!(
            part.take(
                Nonce {
                    made: 9,
                    number: 9 * most
                },
                1,
                6
            ),
            (Shown::Right, 0)
        );
        assert_eq!(part.used.len(), 1);
    }

    #[test]
    fn each_challenge_names_a_hash_and_a_nonce() {
        let (digests, digest) = (Digests::default(), mufasa());
        let all = || digests.challenges(&digest, true).unwrap().collect::<Vec<_>>();
        let (one, other) = (all(), all());
        assert_eq!(one.len(), 2);
        assert!(
            one[0].starts_with("Digest realm=\"http-auth@example.org\", qop=\"auth\", algorithm=SHA-256, nonce=\"")
        );
        assert!(one[1].contains("algorithm=MD5") && one[1].ends_with(", stale=true"));
        assert_ne!(one, other);
        assert_eq!(Arc::strong_count(&digest.users), 1);
    }
}
