//! Hosts that requests have asked for lately, with their canonical form. Most requests ask for one of a few hosts, and
//! comparing bytes takes less time than reading them.

use super::canonical::CanonicalHost;
use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

/// How many hosts a shard remembers. A power of two.
const MOST: usize = 128;
/// No longer host is remembered.
const LONGEST: usize = 128;

/// A `Host` that was found to be valid.
#[derive(Debug)]
pub struct KnownHost {
    /// As it came.
    text: Box<str>,
    /// The length of its name, which it begins with and which is in lower case.
    name: usize,
    port: Option<u16>,
}

impl KnownHost {
    /// As it came.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its canonical form.
    pub fn canonical(&self) -> CanonicalHost<'_> {
        CanonicalHost {
            name: Cow::Borrowed(self.text.get(..self.name).unwrap_or_default()),
            port: self.port,
        }
    }
}

/// The hosts of one shard's requests. Each has one place, by its bytes, and the last one there stays.
#[derive(Debug)]
pub struct KnownHosts(RefCell<Box<[Option<Rc<KnownHost>>]>>);

impl Default for KnownHosts {
    fn default() -> Self {
        Self(RefCell::new(vec![None; MOST].into()))
    }
}

impl KnownHosts {
    /// What is known of a `Host` as it came.
    pub fn find(&self, host: &[u8]) -> Option<Rc<KnownHost>> {
        let hosts = self.0.borrow();
        let known = hosts.get(place(host))?.as_ref()?;
        (known.text.as_bytes() == host).then(|| known.clone())
    }

    /// Remembers one, unless its name has to be changed to be canonical.
    pub fn put(&self, text: &str, name: &str, port: Option<u16>) {
        if text.len() > LONGEST || !text.starts_with(name) {
            return;
        }
        if let Some(slot) = self.0.borrow_mut().get_mut(place(text.as_bytes())) {
            *slot = Some(Rc::new(KnownHost {
                text: text.into(),
                name: name.len(),
                port,
            }));
        }
    }
}

/// Its place, by its length and its first and last bytes: names of one domain differ at their beginning, and names of one
/// cluster at their end.
fn place(host: &[u8]) -> usize {
    let first = host.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let last = host.last_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let mixed = (first ^ last.rotate_left(29) ^ host.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as usize % MOST
}

#[cfg(test)]
mod tests {
    use super::super::canonical::canonical_host;
    use super::*;

    #[test]
    fn a_host_is_known_by_all_its_bytes() {
        let hosts = KnownHosts::default();
        for text in [
            "a.test",
            "a.test:8080",
            "www.example.com.",
            "10.0.0.1",
            "x",
            "Upper.test",
            "[::1]:80",
        ] {
            let canonical = canonical_host(text).unwrap();
            hosts.put(text, &canonical.name, canonical.port);
            if let Some(known) = hosts.find(text.as_bytes()) {
                assert_eq!(known.canonical(), canonical, "{text}");
                assert_eq!(known.text(), text);
            } else {
                assert!(text == "Upper.test", "{text}");
            }
        }
        assert!(hosts.find(b"a.tesT").is_none() && hosts.find(b"").is_none() && hosts.find(b"b.test").is_none());
    }

    #[test]
    fn another_host_of_the_same_place_is_not_taken_for_it() {
        let hosts = KnownHosts::default();
        let names: Vec<String> = (0..1_000).map(|n| format!("host-{n}.example.com")).collect();
        for name in &names {
            hosts.put(name, name, None);
        }
        let known = names
            .iter()
            .filter_map(|name| Some((name, hosts.find(name.as_bytes())?)));
        let mut count = 0;
        for (name, known) in known {
            assert_eq!(known.text(), name);
            count += 1;
        }
        assert!((1..=MOST).contains(&count), "{count}");
    }
}
