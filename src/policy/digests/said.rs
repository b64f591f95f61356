//! `Authorization: Digest`, as a client writes it.

use crate::table::DigestHash;

/// The longest field that is looked at.
const LONGEST: usize = 16 << 10;
/// The most parameters of it. The specification has twelve.
const MOST_PARAMETERS: usize = 24;

/// What a client says (RFC 7616, section 3.4).
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    pub name: Vec<u8>,
    pub realm: Vec<u8>,
    pub nonce: Vec<u8>,
    pub uri: Vec<u8>,
    pub hash: DigestHash,
    pub response: Vec<u8>,
    pub client_nonce: Vec<u8>,
    pub count: u32,
    /// The same in the digits that are part of the digest.
    pub count_text: Vec<u8>,
}

impl Said {
    /// Reads it; absent where it is something else, or says something that narthex did not ask for.
    pub fn read(authorization: &[u8]) -> Option<Self> {
        let (scheme, rest) = authorization.split_at_checked(7)?;
        if !scheme.eq_ignore_ascii_case(b"Digest ") || rest.len() > LONGEST {
            return None;
        }
        let parameters = parameters(rest)?;
        let find = |name: &str| {
            let mut those = parameters
                .iter()
                .filter(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()));
            match (those.next(), those.next()) {
                (Some((_, value)), None) => Some(value.clone()),
                // Of two nobody knows which counts.
                _ => None,
            }
        };
        let has = |name: &str| {
            parameters
                .iter()
                .any(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()))
        };
        let hash = match find("algorithm") {
            None if !has("algorithm") => DigestHash::Md5,
            given => {
                let given = given?;
                let all = [DigestHash::Md5, DigestHash::Sha256];
                all.into_iter()
                    .find(|hash| given.eq_ignore_ascii_case(hash.name().as_bytes()))?
            }
        };
        let count_text = find("nc")?;
        let is_count = count_text.len() == 8 && count_text.iter().all(u8::is_ascii_hexdigit);
        let count = std::str::from_utf8(&count_text).ok().filter(|_| is_count)?;
        let count = u32::from_str_radix(count, 16).ok().filter(|count| *count > 0)?;
        (find("qop")? == b"auth").then_some(())?;
        Some(Self {
            name: find("username")?,
            realm: find("realm")?,
            nonce: find("nonce")?,
            uri: find("uri")?,
            hash,
            response: find("response")?.to_ascii_lowercase(),
            client_nonce: find("cnonce")?,
            count,
            count_text,
        })
    }
}

/// Names and values, with commas between. A value is a token, or stands between quotes.
fn parameters(mut rest: &[u8]) -> Option<Vec<(&[u8], Vec<u8>)>> {
    let mut all = Vec::new();
    loop {
        rest = rest.trim_ascii_start();
        let Some(first) = rest.first() else { return Some(all) };
        if *first == b',' {
            rest = rest.get(1..)?;
            continue;
        }
        if all.len() >= MOST_PARAMETERS {
            return None;
        }
        let equals = memchr::memchr(b'=', rest)?;
        let name = rest.get(..equals)?.trim_ascii_end();
        let is_name = !name.is_empty()
            && name
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_*".contains(byte));
        is_name.then_some(())?;
        rest = rest.get(equals + 1..)?.trim_ascii_start();
        let (value, behind) = if rest.first() == Some(&b'"') {
            quoted(rest.get(1..)?)?
        } else {
            let end = memchr::memchr(b',', rest).unwrap_or(rest.len());
            let (value, behind) = rest.split_at_checked(end)?;
            let value = value.trim_ascii_end();
            let is_plain = !value.is_empty() && value.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'"');
            (is_plain.then(|| value.to_vec())?, behind)
        };
        rest = behind.trim_ascii_start();
        matches!(rest.first(), None | Some(b',')).then_some(())?;
        all.push((name, value));
    }
}

/// The text up to a quote, and what stands behind it.
fn quoted(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut value = Vec::new();
    let mut bytes = text.iter().enumerate();
    while let Some((place, byte)) = bytes.next() {
        match byte {
            b'"' => return Some((value, text.get(place + 1..)?)),
            b'\\' => value.push(*bytes.next()?.1),
            byte => value.push(*byte),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "Digest username=\"a\\\"b\", realm=\"r\", nonce=\"n\", uri=\"/\", qop=auth, nc=0000000a, cnonce=\"c,d\", response=\"AB\"";

    #[test]
    fn parameters_are_read_in_all_their_forms() {
        let said = Said::read(GOOD.as_bytes()).unwrap();
        assert_eq!(
            (&*said.name, &*said.client_nonce, said.count, said.hash, &*said.response),
            (&b"a\"b"[..], &b"c,d"[..], 10, DigestHash::Md5, &b"ab"[..])
        );
        for text in [
            GOOD.replace("Digest", "dIGEST"),
            GOOD.replace("qop=auth", "qop = \"auth\" ,, opaque=\"\""),
            GOOD.replace(", ", ","),
            GOOD.replace("realm=\"r\"", "REALM=r"),
            format!("{GOOD}, "),
            format!("{GOOD}, algorithm=\"md5\""),
        ] {
            assert_eq!(Said::read(text.as_bytes()).as_ref(), Some(&said), "{text}");
        }
    }

    #[test]
    fn what_was_not_asked_for_is_nothing() {
        for text in [
            String::new(),
            "Digest".to_owned(),
            "Digest ".to_owned(),
            GOOD.replace("Digest", "Basic"),
            GOOD.replace("qop=auth", "qop=auth-int"),
            GOOD.replace("qop=auth, ", ""),
            GOOD.replace("nc=0000000a", "nc=a"),
            GOOD.replace("nc=0000000a", "nc=+000000a"),
            GOOD.replace("nc=0000000a", "nc=00000000"),
            GOOD.replace("cnonce=\"c,d\", ", ""),
            GOOD.replace("\"c,d\"", "\"c,d"),
            GOOD.replace("\"c,d\"", "\"c,d\"x"),
            GOOD.replace("\"c,d\"", "\"c,d\\"),
            GOOD.replace("realm=\"r\"", "realm"),
            GOOD.replace("realm=\"r\"", "=\"r\""),
            GOOD.replace("username=", "username*="),
            format!("{GOOD}, realm=\"s\""),
            format!("{GOOD}, algorithm=MD5, algorithm=SHA-256"),
            format!("{GOOD}, algorithm=SHA-1"),
            format!("{GOOD}{}", ", x=y".repeat(30)),
            format!("{GOOD}, x=\"{}\"", "y".repeat(LONGEST)),
        ] {
            assert_eq!(Said::read(text.as_bytes()), None, "{text:.200}");
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut rng = fastrand::Rng::with_seed(17);
        for _ in 0..20_000 {
            let mut text = GOOD.as_bytes().to_vec();
            for _ in 0..rng.usize(1..4) {
                let place = rng.usize(7..text.len());
                match rng.u8(..3) {
                    0 => text[place] = rng.u8(..),
                    1 => drop(text.remove(place)),
                    _ => text.truncate(place),
                }
                if text.len() < 9 {
                    break;
                }
            }
            let _ = Said::read(&text);
        }
    }
}
