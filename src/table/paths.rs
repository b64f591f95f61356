//! The paths of one host: the longest that fits, exact before prefix, in time that depends on the request's path
//! and not on how many routes there are.

use super::parts::Parts;
use super::route::{PathKind, PathPattern, Route};
use foldhash::fast::FixedState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

/// One path of a host with the routes it has; at least one, and the path is theirs.
#[derive(Clone, Debug, Default)]
struct Entry {
    exact: Option<Arc<Route>>,
    prefix: Option<Arc<Route>>,
}

impl Entry {
    fn key(&self) -> &str {
        match (&self.exact, &self.prefix) {
            (Some(route), _) | (None, Some(route)) => route.path.as_ref().map_or("", PathPattern::key),
            (None, None) => "",
        }
    }
}

/// All paths of one host. A prefix is stored without its closing slash, so `/` is the empty prefix.
#[derive(Clone, Debug, Default)]
pub struct Paths {
    entries: Parts<Entry>,
    /// Bit n: some prefix has n elements; the last bit stands for all deeper ones. Removed paths leave their bit
    /// behind: it may name too many depths, never too few.
    prefixes: u64,
    /// The same for exact paths.
    exacts: u64,
}

/// Hashes a path element by element, so that one walk over a request's path yields the hash of each of its prefixes.
struct Walk<'p> {
    path: &'p str,
    at: usize,
    depth: u32,
    hash: u64,
}

// Table lookups are not a place for per-process seeds: tenants write paths, but a part is found by content hash and
// compared by text, and a tenant who makes collisions slows only the hosts he owns.
const HASHER: FixedState = FixedState::with_seed(0x006e_6172_7468_6578);

impl<'p> Walk<'p> {
    fn new(path: &'p str) -> Self {
        Self {
            path,
            at: 0,
            depth: 0,
            hash: 0x51_7c_c1_b7_27_22_0a_95,
        }
    }

    /// The prefix walked over so far.
    fn prefix(&self) -> &'p str {
        self.path.get(..self.at).unwrap_or_default()
    }

    fn at_end(&self) -> bool {
        self.at >= self.path.len()
    }

    fn step(&mut self) {
        let rest = self.path.as_bytes().get(self.at + 1..).unwrap_or_default();
        let length = memchr::memchr(b'/', rest).unwrap_or(rest.len());
        let mut hasher = HASHER.build_hasher();
        hasher.write(rest.get(..length).unwrap_or_default());
        self.hash = (self.hash.rotate_left(23) ^ hasher.finish()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.at += 1 + length;
        self.depth += 1;
    }

    fn into_end(mut self) -> (u64, u32) {
        while !self.at_end() {
            self.step();
        }
        (self.hash, self.depth)
    }
}

fn depth_bit(depth: u32) -> u64 {
    1 << depth.min(63)
}

/// How a prefix is stored: `/foo/` and `/foo` are the same, `/` is empty. All closing slashes go, for a rule that
/// keeps empty segments may end in several; so the key of a key is the key.
pub fn prefix_key(path: &str) -> &str {
    path.trim_end_matches('/')
}

impl Paths {
    /// Puts a route under its own pattern, or takes away what is under a pattern.
    pub fn set(&mut self, pattern: &PathPattern, route: Option<Arc<Route>>) {
        let key = pattern.key();
        let (hash, depth) = Walk::new(key).into_end();
        match pattern.kind {
            PathKind::Exact => self.exacts |= depth_bit(depth),
            PathKind::Prefix => self.prefixes |= depth_bit(depth),
        }
        self.entries.update(
            hash,
            |entry| entry.key() == key,
            Entry::default,
            |entry| {
                match pattern.kind {
                    PathKind::Exact => entry.exact = route,
                    PathKind::Prefix => entry.prefix = route,
                }
                entry.exact.is_some() || entry.prefix.is_some()
            },
        );
    }

    /// The route with exactly this pattern.
    pub fn get(&self, pattern: &PathPattern) -> Option<&Arc<Route>> {
        let key = pattern.key();
        let (hash, _) = Walk::new(key).into_end();
        let entry = self.entries.find(hash, |entry| entry.key() == key)?;
        match pattern.kind {
            PathKind::Exact => entry.exact.as_ref(),
            PathKind::Prefix => entry.prefix.as_ref(),
        }
    }

    /// The best route for a canonical path among those `accept` lets through: the exact one, else the longest
    /// prefix by element.
    pub fn find(&self, path: &str, accept: impl Fn(&Route) -> bool) -> Option<&Arc<Route>> {
        let mut best = None;
        let mut walk = Walk::new(path);
        loop {
            let end = walk.at_end();
            let bit = depth_bit(walk.depth);
            if self.prefixes & bit != 0 || (end && self.exacts & bit != 0) {
                let prefix = walk.prefix();
                if let Some(entry) = self.entries.find(walk.hash, |entry| entry.key() == prefix) {
                    if end && let Some(route) = entry.exact.as_ref().filter(|route| accept(route)) {
                        return Some(route);
                    }
                    if let Some(route) = entry.prefix.as_ref().filter(|route| accept(route)) {
                        best = Some(route);
                    }
                }
            }
            if end || !self.has_deeper(walk.depth) {
                return best;
            }
            walk.step();
        }
    }

    /// Whether any path has more elements than this: bounds the walk whatever a client sends.
    fn has_deeper(&self, depth: u32) -> bool {
        let all = self.prefixes | self.exacts;
        if depth < 63 { all >> depth > 1 } else { all >> 63 != 0 }
    }

    /// Every route, in no order.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.entries
            .iter()
            .flat_map(|entry| entry.exact.iter().chain(entry.prefix.iter()))
    }

    /// Whether there is no route.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
