//! Who may sign in with a password: names with hashes, as htpasswd writes them.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use twox_hash::XxHash3_64;

/// Users that are kept of one Secret. An API server takes Secrets of up to 1 MiB, in which there are fewer.
pub(super) const MOST_USERS: usize = 100_000;
/// Lines that are named where something is wrong with them.
const NAMED: usize = 3;
/// The greatest cost of a hash by bcrypt: one more takes twice as long, and 14 takes more than a second.
const MOST_COST: u32 = 14;
/// The most rounds of `$5$` and `$6$`, which take about as long.
const MOST_ROUNDS: u32 = 1_000_000;

/// Who may sign in.
pub struct Users {
    /// Of all that they were made of. Two that say the same have the same.
    digest: [u8; 32],
    /// By name, in order.
    all: Box<[(Box<[u8]>, PasswordHash)]>,
}

/// A hash of a password.
pub enum PasswordHash {
    /// `$2y$` and the like.
    Bcrypt(Box<str>),
    /// `$5$` and `$6$`.
    ShaCrypt(Box<str>),
    /// `$apr1$` and `$1$`: which of them, the salt, and the rest.
    Md5 {
        magic: &'static str,
        salt: Box<str>,
        sum: Box<str>,
    },
    /// `{SHA}` and `{SSHA}`, which has a salt.
    Sha1 { sum: [u8; 20], salt: Box<[u8]> },
    /// `{PLAIN}`.
    Plain(Box<[u8]>),
}

/// What came of reading the users of a Secret.
#[derive(Clone, Debug, Default)]
pub struct UsersRead {
    /// Those that can sign in; absent where nobody can.
    pub users: Option<Arc<Users>>,
    /// What is wrong, in sentences without a full stop.
    pub wrong: Vec<String>,
}

impl PartialEq for Users {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for Users {}

impl std::hash::Hash for Users {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

impl fmt::Debug for Users {
    /// Never who they are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Users({})", self.all.len())
    }
}

impl Users {
    /// Those of a file by htpasswd: a user in each line, and behind a colon the hash.
    pub fn of_file(text: &[u8]) -> UsersRead {
        let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
        let lines = (1_usize..).zip(lines);
        let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with(b"#"));
        Self::gather(
            text,
            lines.map(|(number, line)| {
                let user = split_once_at(line, b':').ok_or("has no colon").map(|(name, hash)| {
                    // What stands behind another colon is a comment.
                    let hash = split_once_at(hash, b':').map_or(hash, |(hash, _)| hash);
                    (name, hash)
                });
                (format!("line {number}"), user)
            }),
        )
    }

    /// Those of a map of names and hashes.
    pub fn of_map<'m>(entries: impl Iterator<Item = (&'m str, &'m [u8])>) -> UsersRead {
        let entries: Vec<_> = entries.collect();
        let mut whole = Vec::new();
        for (name, value) in &entries {
            for part in [name.as_bytes(), value] {
                whole.extend_from_slice(&part.len().to_be_bytes());
                whole.extend_from_slice(part);
            }
        }
        let users = entries
            .iter()
            .map(|(name, value)| (format!("entry \"{name}\""), Ok((name.as_bytes(), value.trim_ascii()))));
        Self::gather(&whole, users)
    }

    fn gather<'u>(
        whole: &[u8],
        users: impl Iterator<Item = (String, Result<(&'u [u8], &'u [u8]), &'static str>)>,
    ) -> UsersRead {
        let mut all: Vec<(Box<[u8]>, PasswordHash)> = Vec::new();
        let mut known = HashSet::new();
        let (mut faults, mut plain) = (Few::default(), Few::default());
        for (place, user) in users {
            let read = user.and_then(|(name, hash)| {
                if name.is_empty() {
                    return Err("names no user");
                }
                if known.len() >= MOST_USERS {
                    return Err("is one user too many");
                }
                let hash = PasswordHash::read(hash)?;
                // The first line of a user counts.
                known.insert(name).then_some((name, hash)).ok_or("names a user again")
            });
            match read {
                Ok((name, hash)) => {
                    if matches!(hash, PasswordHash::Plain(_)) {
                        plain.add(|| place);
                    }
                    all.push((Box::from(name), hash));
                }
                Err(why) => faults.add(|| format!("{place} {why}")),
            }
        }
        let mut wrong = Vec::new();
        wrong.extend(faults.said().map(|said| format!("{said}, so nobody signs in by that")));
        wrong.extend(plain.said().map(|said| format!("{said} has a password in plain text")));
        if all.is_empty() {
            wrong.push("there is no user in it who could sign in".to_owned());
            return UsersRead { users: None, wrong };
        }
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut sum = [0; 32];
        sum.copy_from_slice(digest::digest(&digest::SHA256, whole).as_ref());
        let users = Some(Arc::new(Self {
            digest: sum,
            all: all.into(),
        }));
        UsersRead { users, wrong }
    }

    /// Of all that they were made of.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// The hash of a user's password, or of somebody else's where there is no such user: to compare with that takes as
    /// long. Whether it is the user's own.
    pub fn find(&self, name: &[u8]) -> Option<(&PasswordHash, bool)> {
        let found = self.all.binary_search_by(|(known, _)| (**known).cmp(name));
        let other = || {
            let number = XxHash3_64::oneshot(name).checked_rem(self.all.len() as u64)?;
            usize::try_from(number).ok()
        };
        let (_, hash) = self.all.get(found.ok().or_else(other)?)?;
        Some((hash, found.is_ok()))
    }
}

/// The first few things that are wrong, and how many more there are.
#[derive(Default)]
pub(super) struct Few {
    named: Vec<String>,
    count: usize,
}

impl Few {
    pub fn add(&mut self, what: impl FnOnce() -> String) {
        if self.named.len() < NAMED {
            self.named.push(what());
        }
        self.count += 1;
    }

    pub fn said(mut self) -> Option<String> {
        if self.count > self.named.len() {
            self.named.push(format!("and {} more", self.count - self.named.len()));
        }
        (!self.named.is_empty()).then(|| self.named.join(", "))
    }
}

/// What stands before and behind the first such byte.
pub(super) fn split_once_at(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let place = memchr::memchr(byte, text)?;
    Some((text.get(..place)?, text.get(place + 1..)?))
}

impl PasswordHash {
    /// Reads a hash.
    ///
    /// # Errors
    /// Why nobody can sign in by it.
    fn read(text: &[u8]) -> Result<Self, &'static str> {
        const MALFORMED: &str = "has a hash that is malformed";
        if let Some(plain) = text.strip_prefix(b"{PLAIN}") {
            return Ok(Self::Plain(plain.into()));
        }
        let text = std::str::from_utf8(text).map_err(|_| MALFORMED)?;
        if let Some(sum) = text.strip_prefix("{SHA}").or_else(|| text.strip_prefix("{SSHA}")) {
            let bytes = STANDARD.decode(sum).map_err(|_| MALFORMED)?;
            let (sum, salt) = bytes.split_first_chunk().ok_or(MALFORMED)?;
            let salted = text.starts_with("{SSHA}");
            return match salt.is_empty() {
                empty if empty == salted => Err(MALFORMED),
                _ => Ok(Self::Sha1 {
                    sum: *sum,
                    salt: salt.into(),
                }),
            };
        }
        for magic in ["$apr1$", "$1$"] {
            if let Some(rest) = text.strip_prefix(magic) {
                let (salt, sum) = rest.split_once('$').ok_or(MALFORMED)?;
                let fits = salt.len() <= 8 && sum.len() == 22;
                return fits
                    .then(|| Self::Md5 {
                        magic,
                        salt: salt.into(),
                        sum: sum.into(),
                    })
                    .ok_or(MALFORMED);
            }
        }
        if ["$2a$", "$2b$", "$2y$"].iter().any(|magic| text.starts_with(magic)) {
            let parts: bcrypt::HashParts = text.parse().map_err(|_| MALFORMED)?;
            return match parts.get_cost() {
                0..4 => Err(MALFORMED),
                4..=MOST_COST => Ok(Self::Bcrypt(text.into())),
                _ => Err("has a hash by bcrypt with a cost above 14, which takes too long"),
            };
        }
        if let Some(rest) = text.strip_prefix("$5$").or_else(|| text.strip_prefix("$6$")) {
            let (rounds, rest) = match rest.strip_prefix("rounds=") {
                None => (None, rest),
                Some(rest) => rest
                    .split_once('$')
                    .map(|(rounds, rest)| (Some(rounds), rest))
                    .ok_or(MALFORMED)?,
            };
            if let Some(rounds) = rounds {
                let rounds: u32 = rounds.parse().map_err(|_| MALFORMED)?;
                if rounds > MOST_ROUNDS {
                    return Err("has a hash of more than 1000000 rounds, which takes too long");
                }
                if rounds < sha_crypt::Params::ROUNDS_MIN {
                    return Err(MALFORMED);
                }
            }
            let length = if text.starts_with("$5$") { 43 } else { 86 };
            let (salt, sum) = rest.split_once('$').ok_or(MALFORMED)?;
            let fits = salt.len() <= 16 && sum.len() == length && sha_crypt::PasswordHashRef::new(text).is_ok();
            return fits.then(|| Self::ShaCrypt(text.into())).ok_or(MALFORMED);
        }
        if text.len() == 13 && !text.starts_with(['$', '{']) {
            return Err("has a hash by DES, which narthex does not support");
        }
        Err("has a hash of a kind that narthex does not know")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BCRYPT: &str = "$2y$05$WqmhP2z1sbD8E2gLRTCcHOSqgZ6JBDFd3nmCmCCcVfmTfjd8QFbPu";

    fn wrong(text: &str) -> (usize, Vec<String>) {
        let reading = Users::of_file(text.as_bytes());
        (reading.users.map_or(0, |users| users.count()), reading.wrong)
    }

    #[test]
    fn lines_that_cannot_be_used_are_named_and_the_others_stay() {
        let cost = |cost: &str| BCRYPT.replace("$05$", cost);
        for (line, why) in [
            ("nocolon".to_owned(), "has no colon"),
            (":$apr1$a$b".to_owned(), "names no user"),
            ("b:".to_owned(), "kind that narthex does not know"),
            ("b:rqXexS6ZhobKA".to_owned(), "DES"),
            (format!("b:{}", cost("$15$")), "above 14"),
            (format!("b:{}", cost("$31$")), "above 14"),
            (format!("b:{}", cost("$03$")), "malformed"),
            ("b:$2y$05$short".to_owned(), "malformed"),
            ("b:{SHA}nonsense".to_owned(), "malformed"),
            ("b:{SSHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=".to_owned(), "malformed"),
            ("b:$apr1$toolongasalt$0123456789012345678901".to_owned(), "malformed"),
            (format!("b:$6$rounds=999999999$salt${}", "a".repeat(86)), "too long"),
            (format!("a:{BCRYPT}"), "names a user again"),
        ] {
            let (count, said) = wrong(&format!("a:{BCRYPT}:comment\r\n\n# a comment\n{line}\n"));
            assert_eq!(count, 1, "{line}");
            assert!(
                said.len() == 1 && said[0].starts_with("line 4 ") && said[0].contains(why),
                "{line}: {said:?}"
            );
        }
        assert_eq!(wrong(&format!("a:{BCRYPT}")), (1, vec![]));
        let (count, said) = wrong("a:{PLAIN}secret\nb:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n");
        assert_eq!(
            (count, &said[..]),
            (2, &["line 1 has a password in plain text".to_owned()][..])
        );
    }

    #[test]
    fn many_lines_are_said_in_a_few_words() {
        let (count, said) = wrong(&"no colon\n".repeat(50_000));
        assert_eq!((count, said.len()), (0, 2));
        assert!(said[0].contains("line 3 has no colon, and 49997 more"), "{said:?}");
        let lines: String = (0..50_000)
            .map(|n| format!("u{n}:{{SHA}}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n"))
            .collect();
        assert_eq!(wrong(&lines), (50_000, vec![]));
        assert_eq!(wrong("").0, 0);
    }

    #[test]
    fn an_unknown_user_is_compared_with_a_known_one() {
        let users = Users::of_file(format!("b:{BCRYPT}\na:{{PLAIN}}x\n").as_bytes())
            .users
            .unwrap();
        assert!(matches!(users.find(b"a"), Some((PasswordHash::Plain(_), true))));
        assert!(matches!(users.find(b"b"), Some((PasswordHash::Bcrypt(_), true))));
        let met: HashSet<bool> = (0..100)
            .map(|n| {
                let (hash, own) = users.find(format!("c{n}").as_bytes()).unwrap();
                assert!(!own);
                matches!(hash, PasswordHash::Plain(_))
            })
            .collect();
        assert_eq!(met.len(), 2, "every hash is one that others are compared with");
    }

    #[test]
    fn what_says_the_same_is_the_same() {
        let of = |text: &str| Users::of_file(text.as_bytes()).users.unwrap();
        assert_eq!(of("a:{PLAIN}x"), of("a:{PLAIN}x"));
        assert_ne!(of("a:{PLAIN}x"), of("a:{PLAIN}y"));
        let map = |entries: &[(&str, &str)]| {
            let entries = entries.iter().map(|(name, value)| (*name, value.as_bytes()));
            Users::of_map(entries).users.unwrap()
        };
        assert_ne!(
            map(&[("a", "{PLAIN}xb{PLAIN}y")]),
            map(&[("a", "{PLAIN}x"), ("b", "{PLAIN}y")])
        );
        assert_eq!(format!("{:?}", of("a:{PLAIN}secret")), "Users(1)");
    }
}
