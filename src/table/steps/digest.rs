//! The users who may sign in with a digest of their password (RFC 7616), as files by htdigest list them.

use super::users::{Few, MOST_USERS, split_once_at};
use aws_lc_rs::digest;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

/// A hash that digests are made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DigestHash {
    Md5,
    Sha256,
}

impl DigestHash {
    /// As `algorithm` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
        }
    }

    /// The hash whose hexadecimal form has this length.
    fn of_length(length: usize) -> Option<Self> {
        match length {
            32 => Some(Self::Md5),
            64 => Some(Self::Sha256),
            _ => None,
        }
    }
}

/// What a client has to show: a digest of the password of one of these users.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Digest {
    pub realm: Box<str>,
    /// The hashes that clients may use, those of most users first.
    pub hashes: Box<[DigestHash]>,
    pub users: Arc<DigestUsers>,
}

/// Users, each with a hash of the name, the realm and the password.
pub struct DigestUsers {
    /// Of all that they were made of. Two that say the same have the same.
    digest: [u8; 32],
    /// By realm, name and hash, in order.
    all: Box<[Line]>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    realm: Box<str>,
    name: Box<[u8]>,
    hash: DigestHash,
    /// In hexadecimal digits, in lower case.
    sum: Box<str>,
}

/// What came of reading the users of a Secret.
#[derive(Clone, Debug, Default)]
pub struct DigestUsersRead {
    /// Those that can sign in; absent where nobody can.
    pub users: Option<Arc<DigestUsers>>,
    /// What is wrong, in sentences without a full stop.
    pub wrong: Vec<String>,
}

impl PartialEq for DigestUsers {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for DigestUsers {}

impl std::hash::Hash for DigestUsers {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

impl fmt::Debug for DigestUsers {
    /// Never who they are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DigestUsers({})", self.all.len())
    }
}

impl DigestUsers {
    /// Those of a file by htdigest: in each line a user, a realm and a hash, with colons between.
    pub fn of_file(text: &[u8]) -> DigestUsersRead {
        let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
        let lines = (1_usize..).zip(lines);
        let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with(b"#"));
        Self::gather(lines.map(|(number, line)| {
            let user = split_once_at(line, b':').ok_or("has no colon");
            (format!("line {number}"), user)
        }))
    }

    /// Those of a map: the names of users, and behind each a realm and a hash, with a colon between.
    pub fn of_map<'m>(entries: impl Iterator<Item = (&'m str, &'m [u8])>) -> DigestUsersRead {
        Self::gather(
            entries.map(|(name, value)| (format!("entry \"{name}\""), Ok((name.as_bytes(), value.trim_ascii())))),
        )
    }

    fn gather<'u>(
        users: impl Iterator<Item = (String, Result<(&'u [u8], &'u [u8]), &'static str>)>,
    ) -> DigestUsersRead {
        let mut all: Vec<Line> = Vec::new();
        let mut known = HashSet::new();
        let mut faults = Few::default();
        for (place, user) in users {
            let read = user.and_then(|(name, rest)| {
                if name.is_empty() {
                    return Err("names no user");
                }
                if known.len() >= MOST_USERS {
                    return Err("is one user too many");
                }
                let (realm, sum) = split_once_at(rest, b':').ok_or("has no realm between two colons")?;
                let realm = std::str::from_utf8(realm).ok().filter(|realm| is_realm(realm));
                let realm = realm.ok_or("has a realm with a character that a realm may not have")?;
                let hash = DigestHash::of_length(sum.len()).filter(|_| sum.iter().all(u8::is_ascii_hexdigit));
                let hash = hash.ok_or("has a hash that is neither MD5 nor SHA-256 in hexadecimal digits")?;
                let line = Line {
                    realm: realm.into(),
                    name: name.into(),
                    hash,
                    sum: String::from_utf8_lossy(sum).to_ascii_lowercase().into(),
                };
                // The first line of a user counts.
                known
                    .insert((name, realm, hash))
                    .then_some(line)
                    .ok_or("names a user again")
            });
            match read {
                Ok(line) => all.push(line),
                Err(why) => faults.add(|| format!("{place} {why}")),
            }
        }
        let said = faults.said();
        let mut wrong: Vec<String> = said
            .map(|said| format!("{said}, so nobody signs in by that"))
            .into_iter()
            .collect();
        if all.is_empty() {
            wrong.push("there is no user in it who could sign in".to_owned());
            return DigestUsersRead { users: None, wrong };
        }
        all.sort();
        let mut context = digest::Context::new(&digest::SHA256);
        for line in &all {
            for part in [line.realm.as_bytes(), &line.name, line.sum.as_bytes()] {
                context.update(&part.len().to_be_bytes());
                context.update(part);
            }
        }
        let mut sum = [0; 32];
        sum.copy_from_slice(context.finish().as_ref());
        let users = Some(Arc::new(Self {
            digest: sum,
            all: all.into(),
        }));
        DigestUsersRead { users, wrong }
    }

    fn of_realm(&self, realm: &str) -> &[Line] {
        let start = self.all.partition_point(|line| *line.realm < *realm);
        let end = self.all.partition_point(|line| *line.realm <= *realm);
        self.all.get(start..end).unwrap_or_default()
    }

    /// What clients have to show: the users of a realm, and where none is named, of the only one.
    ///
    /// # Errors
    /// Why nobody could sign in.
    pub fn asked_for(self: &Arc<Self>, realm: Option<&str>) -> Result<Digest, String> {
        let realm = match (realm, &*self.all) {
            (Some(realm), _) => realm,
            (None, [first, .., last]) if first.realm != last.realm => {
                return Err("its users are of several realms, so one must be named".to_owned());
            }
            (None, all) => all.first().map_or("", |line| &line.realm),
        };
        let users = self.of_realm(realm);
        if users.is_empty() {
            return Err(format!("there is no user of the realm \"{realm}\" in it"));
        }
        let count = |hash| users.iter().filter(|line| line.hash == hash).count();
        let mut hashes = vec![DigestHash::Sha256, DigestHash::Md5];
        hashes.retain(|hash| count(*hash) > 0);
        // Clients use the first that they know.
        hashes.sort_by_key(|hash| std::cmp::Reverse(count(*hash)));
        Ok(Digest {
            realm: realm.into(),
            hashes: hashes.into(),
            users: self.clone(),
        })
    }
}

impl Digest {
    /// The hash of a user's name, realm and password; absent where there is no such user.
    pub fn sum(&self, name: &[u8], hash: DigestHash) -> Option<&str> {
        let lines = self.users.of_realm(&self.realm);
        let place = lines.binary_search_by(|line| (&*line.name, line.hash).cmp(&(name, hash)));
        lines.get(place.ok()?).map(|line| &*line.sum)
    }

    /// How many can sign in: one with two hashes is two.
    pub fn count(&self) -> usize {
        self.users.of_realm(&self.realm).len()
    }
}

/// Whether a text can be a realm: it stands between quotes, and none of it needs an escape.
pub fn is_realm(text: &str) -> bool {
    text.len() <= 256
        && text
            .bytes()
            .all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MD5: &str = "939e7578ed9e3c518a452acee763bce9";
    const SHA256: &str = "7987c64c30e25f1b74be53f966b49b90f2808aa92faf9a00262392d7b4794232";

    fn read(text: &str) -> DigestUsersRead {
        DigestUsers::of_file(text.as_bytes())
    }

    #[test]
    fn lines_that_cannot_be_used_are_named_and_the_others_stay() {
        for (line, why) in [
            ("nocolon", "has no colon"),
            ("b:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "has no realm"),
            (&*format!(":r:{MD5}"), "names no user"),
            (&*format!("b:r\"x:{MD5}"), "a realm may not have"),
            ("b:r:0123", "neither MD5 nor SHA-256"),
            (&*format!("b:r:{}", MD5.replace('9', "g")), "neither MD5 nor SHA-256"),
            (&*format!("a:r:{MD5}"), "names a user again"),
        ] {
            let read = read(&format!("a:r:{MD5}\r\n\n# a comment\n{line}\n"));
            assert_eq!(read.users.unwrap().all.len(), 1, "{line}");
            assert!(
                read.wrong.len() == 1 && read.wrong[0].starts_with("line 4 ") && read.wrong[0].contains(why),
                "{line}: {:?}",
                read.wrong
            );
        }
        let none = read(&"no colon\n".repeat(50_000));
        assert!(none.users.is_none() && none.wrong.len() == 2, "{:?}", none.wrong);
    }

    #[test]
    fn users_are_of_a_realm() {
        let users = read(&format!("a:r:{MD5}\na:s:{MD5}\nb:s:{MD5}\nb:s:{SHA256}\n"))
            .users
            .unwrap();
        assert!(users.asked_for(None).unwrap_err().contains("several realms"));
        assert!(users.asked_for(Some("t")).unwrap_err().contains("no user of the realm"));
        let s = users.asked_for(Some("s")).unwrap();
        assert_eq!((s.count(), &*s.hashes), (3, &[DigestHash::Md5, DigestHash::Sha256][..]));
        assert_eq!(s.sum(b"a", DigestHash::Md5), Some(MD5));
        assert_eq!(s.sum(b"a", DigestHash::Sha256), None);
        assert_eq!(s.sum(b"b", DigestHash::Sha256), Some(SHA256));
        let one = read(&format!("b:s:{MD5}\nb:s:{SHA256}\n")).users.unwrap();
        let one = one.asked_for(None).unwrap();
        assert_eq!(
            &*one.hashes,
            &[DigestHash::Sha256, DigestHash::Md5],
            "the better one first"
        );
        let map = [("b", format!("s:{MD5}\n")), ("c", "nonsense".to_owned())];
        let map = DigestUsers::of_map(map.iter().map(|(name, text)| (*name, text.as_bytes())));
        assert_eq!(map.users.unwrap().asked_for(Some("s")).unwrap().count(), 1);
        assert!(map.wrong[0].contains("entry \"c\""), "{:?}", map.wrong);
    }
}
