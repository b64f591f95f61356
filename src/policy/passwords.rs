//! Passwords: whether one fits a hash, which takes time that no shard has, and which did so lately.

use crate::table::{PasswordHash, Users};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lru::LruCache;
use md5::{Digest, Md5};
use sha_crypt::{PasswordVerifier, ShaCrypt};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a password that was right is remembered.
const REMEMBERED: Duration = Duration::from_secs(300);
/// Parts that are locked one by one.
const PARTS: usize = 16;
/// Passwords that are remembered in each part.
const MOST: usize = 4096;
/// The longest password. What the hashes cost rises with the length.
const LONGEST: usize = 512;
/// What makes a right password other than a wrong one to those who do not know it.
const SCHEME: &[u8] = b"basic ";

/// A name and a password, as a client says them.
pub struct Credentials {
    text: Vec<u8>,
    colon: usize,
}

impl Credentials {
    /// Reads `Authorization` (RFC 7617, section 2); absent where that says something else.
    pub fn read(authorization: &[u8]) -> Option<Self> {
        let (scheme, rest) = authorization.split_at_checked(SCHEME.len())?;
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return None;
        }
        let text = STANDARD.decode(rest.trim_ascii()).ok()?;
        let colon = memchr::memchr(b':', &text)?;
        (text.len() - colon <= LONGEST + 1).then_some(Self { text, colon })
    }

    fn name(&self) -> &[u8] {
        self.text.get(..self.colon).unwrap_or_default()
    }

    fn password(&self) -> &[u8] {
        self.text.get(self.colon + 1..).unwrap_or_default()
    }

    /// Whether they are those of one of these users. It takes as long where there is no such user.
    pub fn are_of(&self, users: &Users) -> bool {
        users
            .find(self.name())
            .is_some_and(|(hash, own)| fits(hash, self.password()) && own)
    }
}

/// Whether a password fits a hash.
fn fits(hash: &PasswordHash, password: &[u8]) -> bool {
    let equal = |one: &[u8], other: &[u8]| verify_slices_are_equal(one, other).is_ok();
    match hash {
        PasswordHash::Bcrypt(text) => bcrypt::verify(password, text).unwrap_or(false),
        PasswordHash::ShaCrypt(text) => sha_crypt::PasswordHashRef::new(text)
            .is_ok_and(|hash| ShaCrypt::default().verify_password(password, hash).is_ok()),
        PasswordHash::Md5 { magic, salt, sum } => equal(&md5(magic, salt, password), sum.as_bytes()),
        PasswordHash::Sha1 { sum, salt } => {
            let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
            context.update(password);
            context.update(salt);
            equal(context.finish().as_ref(), sum)
        }
        // Of texts that differ in length the sums are compared too, so that nothing tells which length is right.
        PasswordHash::Plain(text) => {
            let sum = |text: &[u8]| digest::digest(&digest::SHA256, text);
            equal(sum(text).as_ref(), sum(password).as_ref())
        }
    }
}

/// The hash of `$1$` and `$apr1$`, in the alphabet that they have.
fn md5(magic: &str, salt: &str, password: &[u8]) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let sum = |parts: &[&[u8]]| -> [u8; 16] {
        let mut hasher = Md5::new();
        for part in parts {
            hasher.update(part);
        }
        hasher.finalize().into()
    };
    let salt = salt.as_bytes();
    let inner = sum(&[password, salt, password]);
    let mut first = Md5::new();
    first.update(password);
    first.update(magic.as_bytes());
    first.update(salt);
    for piece in password.chunks(inner.len()) {
        first.update(inner.get(..piece.len()).unwrap_or_default());
    }
    let mut bits = password.len();
    while bits > 0 {
        // A bit that is set brings a zero, any other the first byte.
        let byte = if bits & 1 == 1 {
            0
        } else {
            password.first().copied().unwrap_or(0)
        };
        first.update([byte]);
        bits >>= 1;
    }
    let mut last: [u8; 16] = first.finalize().into();
    for round in 0..1000 {
        let odd = round % 2 == 1;
        let salt = if round % 3 == 0 { &[] } else { salt };
        let again = if round % 7 == 0 { &[] } else { password };
        last = if odd {
            sum(&[password, salt, again, &last])
        } else {
            sum(&[&last, salt, again, password])
        };
    }
    let byte = |place: usize| u32::from(last.get(place).copied().unwrap_or(0));
    let mut out = Vec::with_capacity(22);
    let mut write = |mut number: u32, count: usize| {
        for _ in 0..count {
            out.extend(ALPHABET.get((number & 63) as usize));
            number >>= 6;
        }
    };
    for (a, b, c) in [(0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5)] {
        write((byte(a) << 16) | (byte(b) << 8) | byte(c), 4);
    }
    write(byte(11), 2);
    out
}

/// What a right password is remembered by. Whoever reads it learns nothing of the password.
pub type Tag = [u8; 32];

/// The passwords that were right lately.
pub struct Remembered {
    /// Made at random for each process.
    key: hmac::Key,
    parts: Box<[Mutex<LruCache<Tag, Instant>>]>,
}

impl fmt::Debug for Remembered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remembered").finish_non_exhaustive()
    }
}

impl Remembered {
    /// None yet; absent where this system gives no random numbers.
    pub fn new() -> Option<Self> {
        let mut key = [0; 32];
        rand::fill(&mut key).ok()?;
        Some(Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            parts: (0..PARTS).map(|_| Mutex::new(LruCache::unbounded())).collect(),
        })
    }

    /// What a password would be remembered by, for these users and no others.
    pub fn tag(&self, users: &Users, authorization: &[u8]) -> Tag {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(users.digest());
        context.update(authorization);
        let mut tag = Tag::default();
        if let Some(sum) = context.sign().as_ref().first_chunk() {
            tag = *sum;
        }
        tag
    }

    fn part(&self, tag: &Tag) -> Option<&Mutex<LruCache<Tag, Instant>>> {
        self.parts.get(usize::from(tag[0]) % PARTS)
    }

    /// Whether it was right lately.
    pub fn knows(&self, tag: &Tag) -> bool {
        self.knows_at(tag, Instant::now())
    }

    fn knows_at(&self, tag: &Tag, now: Instant) -> bool {
        let Some(part) = self.part(tag) else { return false };
        let mut known = part.lock().unwrap_or_else(PoisonError::into_inner);
        let since = known.get(tag).copied();
        let holds = since.is_some_and(|since| now.saturating_duration_since(since) < REMEMBERED);
        if since.is_some() && !holds {
            known.pop(tag);
        }
        holds
    }

    /// It was right. Says how many others had to go for it.
    pub fn remember(&self, tag: Tag) -> u32 {
        self.remember_at(tag, Instant::now())
    }

    fn remember_at(&self, tag: Tag, now: Instant) -> u32 {
        let Some(part) = self.part(&tag) else { return 0 };
        let mut known = part.lock().unwrap_or_else(PoisonError::into_inner);
        known.put(tag, now);
        let mut forgotten = 0;
        while known.len() > MOST {
            // One that is over is no loss.
            let gone = known.pop_lru();
            let holds = |since: Instant| now.saturating_duration_since(since) < REMEMBERED;
            forgotten += u32::from(gone.is_some_and(|(_, since)| holds(since)));
        }
        forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(text: &str) -> std::sync::Arc<Users> {
        Users::of_file(text.as_bytes()).users.unwrap()
    }

    fn credentials(text: &[u8]) -> Credentials {
        Credentials::read(format!("Basic {}", STANDARD.encode(text)).as_bytes()).unwrap()
    }

    /// Runs a program that makes hashes; absent where it is not installed.
    fn made_by(program: &str, arguments: &[&str]) -> Option<String> {
        let output = std::process::Command::new(program).args(arguments).output().ok()?;
        assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
        Some(String::from_utf8(output.stdout).unwrap().trim().to_owned())
    }

    #[test]
    fn hashes_of_htpasswd_and_openssl_are_understood() {
        let passwords = [
            "secret",
            "",
            "p",
            "exactly sixteen!",
            "a password of more than thirty-two bytes, \u{e4}\u{f6}\u{fc} $",
        ];
        let mut checked = 0;
        for password in passwords {
            let mut lines = Vec::new();
            for kind in ["-B", "-m", "-s", "-2", "-5"] {
                let arguments = [
                    &["-n", "-b"][..],
                    &[kind],
                    if kind == "-B" { &["-C", "4"] } else { &[] },
                    &["user", password],
                ];
                lines.extend(made_by("htpasswd", &arguments.concat()));
            }
            for kind in ["-1", "-apr1", "-5", "-6"] {
                // It reads no empty password from its arguments.
                if !password.is_empty() {
                    let hash = made_by("openssl", &["passwd", kind, "-salt", "ab.C/1", password]);
                    lines.extend(hash.map(|hash| format!("user:{hash}")));
                }
            }
            for line in lines {
                let users = users(&line);
                assert!(
                    credentials(format!("user:{password}").as_bytes()).are_of(&users),
                    "{line} {password:?}"
                );
                assert!(
                    !credentials(format!("user:{password}x").as_bytes()).are_of(&users),
                    "{line} {password:?}"
                );
                assert!(
                    !credentials(format!("other:{password}").as_bytes()).are_of(&users),
                    "{line} {password:?}"
                );
                checked += 1;
            }
        }
        assert!(
            checked > 0 || std::env::var_os("CI").is_none(),
            "neither htpasswd nor openssl is installed"
        );
    }

    #[test]
    fn hashes_that_are_written_down_are_understood() {
        // Of $5$ and $6$ as openssl writes them.
        for (hash, password) in [
            (
                "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
                "Hello world!",
            ),
            (
                "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
                "Hello world!",
            ),
            ("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "password"),
            ("{SSHA}+RFhsab2AfzZ0VfEdyknXtUT06RhYmNk", "secret"),
            ("{PLAIN}a b", "a b"),
        ] {
            let file = format!("u:{hash}");
            let reading = Users::of_file(file.as_bytes());
            let Some(users) = reading.users else {
                panic!("{hash}: {:?}", reading.wrong)
            };
            assert!(credentials(format!("u:{password}").as_bytes()).are_of(&users), "{hash}");
            assert!(!credentials(b"u:other").are_of(&users), "{hash}");
        }
    }

    #[test]
    fn what_is_no_name_with_a_password_is_refused() {
        let long = |length| format!("Basic {}", STANDARD.encode(format!("u:{}", "x".repeat(length))));
        for (text, good) in [
            ("Basic dTpw", true),
            ("bAsIc  dTpw ", true),
            ("Basic dTo=", true),
            ("Basic OnA=", true),
            ("", false),
            ("Basic", false),
            ("Basic ", false),
            ("Basic dXA=", false),
            ("Basic !!", false),
            ("Bearer dTpw", false),
            (&long(LONGEST), true),
            (&long(LONGEST + 1), false),
        ] {
            assert_eq!(Credentials::read(text.as_bytes()).is_some(), good, "{text}");
        }
        assert!(!credentials(b":").are_of(&users("u:{PLAIN}")));
        assert!(credentials(b"u:").are_of(&users("u:{PLAIN}")));
        let sum = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, b"a:b");
        let file = format!("u:{{SHA}}{}", STANDARD.encode(sum.as_ref()));
        assert!(credentials(b"u:a:b").are_of(&users(&file)), "a colon in the password");
    }

    #[test]
    fn what_was_right_is_remembered_for_a_while_and_for_its_users_only() {
        let remembered = Remembered::new().unwrap();
        let (one, other) = (users("u:{PLAIN}p"), users("u:{PLAIN}p\nv:{PLAIN}p"));
        let now = Instant::now();
        let tag = remembered.tag(&one, b"Basic dTpw");
        assert!(!remembered.knows_at(&tag, now));
        remembered.remember_at(tag, now);
        let later = |seconds| now + Duration::from_secs(seconds);
        assert!(remembered.knows_at(&remembered.tag(&one, b"Basic dTpw"), later(299)));
        assert!(
            !remembered.knows_at(&remembered.tag(&other, b"Basic dTpw"), now),
            "the Secret has changed"
        );
        assert!(!remembered.knows_at(&remembered.tag(&one, b"Basic dTpx"), now));
        assert!(!remembered.knows_at(&tag, later(300)));
        assert!(!remembered.knows_at(&tag, now), "it was forgotten");
        assert_ne!(
            Remembered::new().unwrap().tag(&one, b"Basic dTpw"),
            tag,
            "each process has its own key"
        );
    }

    #[test]
    fn there_is_a_bound_and_the_longest_idle_goes() {
        let remembered = Remembered::new().unwrap();
        let (users, now) = (users("u:{PLAIN}p"), Instant::now());
        let tag = |number: usize| remembered.tag(&users, &number.to_be_bytes());
        let many = 2 * PARTS * MOST;
        let forgotten: u32 = (0..many).map(|number| remembered.remember_at(tag(number), now)).sum();
        let kept: usize = remembered.parts.iter().map(|part| part.lock().unwrap().len()).sum();
        assert!(kept <= PARTS * MOST, "{kept}");
        assert_eq!(kept + forgotten as usize, many);
        assert!(!remembered.knows_at(&tag(0), now) && remembered.knows_at(&tag(many - 1), now));
    }
}
