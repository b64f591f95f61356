//! The paths of one host: the longest that fits, exact before prefix, in time that depends on the request's path
//! and not on how many routes there are.

use super::CanonicalPath;
use super::decide::ACME;
use super::parts::Parts;
use super::policies::Schemes;
use super::route::{PathKind, PathPattern, Route};
use super::when::{Says, Scheme};
use foldhash::fast::FixedState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

/// One path of a host with the routes it has; at least one, and the path is theirs. Every path of every host has one, so
/// it is small.
#[derive(Clone, Debug, Default)]
struct Entry {
    /// The routes without conditions.
    exact: Option<Arc<Route>>,
    prefix: Option<Arc<Route>>,
    /// Routes with conditions. Few paths have any, so they are on the heap and usually absent.
    narrow: Option<Box<Narrow>>,
}

/// What few paths have: routes with conditions, the best first, and the route of what is below the path.
#[derive(Clone, Debug, Default)]
struct Narrow {
    exact: Box<[Arc<Route>]>,
    prefix: Box<[Arc<Route>]>,
    below: Option<Arc<Route>>,
}

impl Narrow {
    fn of(&self, kind: PathKind) -> &[Arc<Route>] {
        match kind {
            PathKind::Exact => &self.exact,
            PathKind::Prefix => &self.prefix,
            PathKind::Below | PathKind::RegularExpression | PathKind::Passthrough => &[],
        }
    }

    fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.prefix.is_empty() && self.below.is_none()
    }
}

impl Entry {
    fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        let narrow = self.narrow.iter();
        let narrow = narrow.flat_map(|narrow| narrow.exact.iter().chain(&narrow.prefix).chain(&narrow.below));
        narrow.chain(&self.exact).chain(&self.prefix)
    }

    fn key(&self) -> &str {
        // Nearly all are found by the first two looks.
        let plain = self.prefix.as_ref().or(self.exact.as_ref());
        let route = plain.or_else(|| self.routes().next());
        route.and_then(|route| route.path.as_ref()).map_or("", PathPattern::key)
    }

    fn plain(&self, kind: PathKind) -> Option<&Arc<Route>> {
        match kind {
            PathKind::Exact => self.exact.as_ref(),
            PathKind::Prefix => self.prefix.as_ref(),
            PathKind::Below => self.narrow.as_ref()?.below.as_ref(),
            PathKind::RegularExpression | PathKind::Passthrough => None,
        }
    }

    fn set_plain(&mut self, kind: PathKind, route: Option<Arc<Route>>) {
        match kind {
            PathKind::Exact => self.exact = route,
            PathKind::Prefix => self.prefix = route,
            PathKind::Below => self.change_narrow(|narrow| narrow.below = route),
            PathKind::RegularExpression | PathKind::Passthrough => {}
        }
    }

    fn set_narrow(&mut self, kind: PathKind, routes: Vec<Arc<Route>>) {
        self.change_narrow(|narrow| match kind {
            PathKind::Exact => narrow.exact = routes.into(),
            PathKind::Prefix => narrow.prefix = routes.into(),
            PathKind::Below | PathKind::RegularExpression | PathKind::Passthrough => {}
        });
    }

    fn change_narrow(&mut self, change: impl FnOnce(&mut Narrow)) {
        let narrow = self.narrow.get_or_insert_default();
        change(narrow);
        if narrow.is_empty() {
            self.narrow = None;
        }
    }

    /// The route of what is below this path.
    #[inline]
    fn below(&self, accept: impl Fn(&Route) -> bool) -> Option<&Arc<Route>> {
        let below = self.narrow.as_ref()?.below.as_ref();
        below.filter(|route| accept(route))
    }

    fn is_empty(&self) -> bool {
        self.exact.is_none() && self.prefix.is_none() && self.narrow.is_none()
    }

    /// Counts routes.
    fn count(&self, is_counted: fn(&Route) -> bool) -> u32 {
        self.routes().map(|route| u32::from(is_counted(route))).sum()
    }

    /// The first of a kind that `accept` lets through and whose conditions hold.
    #[inline]
    fn best(&self, kind: PathKind, says: &Says<'_>, accept: impl Fn(&Route) -> bool) -> Option<&Arc<Route>> {
        if let Some(narrow) = &self.narrow
            && let Some(route) = (narrow.of(kind).iter()).find(|route| accept(route) && route.holds(says))
        {
            return Some(route);
        }
        self.plain(kind).filter(|route| accept(route))
    }
}

/// All paths of one host. A prefix is stored without its closing slash, so `/` is the empty prefix.
#[derive(Clone, Debug, Default)]
pub struct Paths {
    entries: Parts<Entry>,
    /// Bit n: some prefix has n elements; the last bit stands for all deeper ones. Removed paths leave their bit
    /// behind: it may name too many depths, never too few.
    prefixes: u32,
    /// The same for exact paths.
    exacts: u32,
    /// How many routes keep empty segments.
    keeping: u32,
    /// How many routes are for plain HTTP alone, or for HTTPS alone.
    of_one_scheme: u32,
    /// How many of them redirect plain HTTP.
    redirecting: u32,
}

fn keeps_slashes(route: &Route) -> bool {
    route.keep_slashes
}

fn is_of_one_scheme(route: &Route) -> bool {
    !matches!(route.policies.schemes, Schemes::All | Schemes::Both)
}

fn is_redirected(route: &Route) -> bool {
    route.policies.schemes == Schemes::Redirected
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

fn depth_bit(depth: u32) -> u32 {
    1 << depth.min(31)
}

/// How a prefix is stored: `/foo/` and `/foo` are the same, `/` is empty. All closing slashes go, for a rule that
/// keeps empty segments may end in several; so the key of a key is the key.
pub fn prefix_key(path: &str) -> &str {
    path.trim_end_matches('/')
}

impl Paths {
    /// Puts a route without conditions under its own pattern, or takes away what is under a pattern.
    pub fn set(&mut self, pattern: &PathPattern, route: Option<Arc<Route>>) {
        self.change(pattern, |entry| entry.set_plain(pattern.kind, route));
    }

    /// Replaces the routes with conditions of a pattern; the best comes first.
    pub fn set_narrow(&mut self, pattern: &PathPattern, routes: Vec<Arc<Route>>) {
        self.change(pattern, |entry| entry.set_narrow(pattern.kind, routes));
    }

    fn change(&mut self, pattern: &PathPattern, change: impl FnOnce(&mut Entry)) {
        let key = pattern.key();
        let (hash, depth) = Walk::new(key).into_end();
        match pattern.kind {
            PathKind::Exact => self.exacts |= depth_bit(depth),
            PathKind::Prefix | PathKind::Below => self.prefixes |= depth_bit(depth),
            // They have a list of their own.
            PathKind::RegularExpression | PathKind::Passthrough => return,
        }
        let mut counts = [
            (&mut self.keeping, keeps_slashes as fn(&Route) -> bool),
            (&mut self.of_one_scheme, is_of_one_scheme),
            (&mut self.redirecting, is_redirected),
        ];
        self.entries.update(
            hash,
            |entry| entry.key() == key,
            Entry::default,
            |entry| {
                for (count, is_counted) in &mut counts {
                    **count = count.saturating_sub(entry.count(*is_counted));
                }
                change(entry);
                for (count, is_counted) in &mut counts {
                    **count += entry.count(*is_counted);
                }
                !entry.is_empty()
            },
        );
    }

    /// The route without conditions that has exactly this pattern.
    pub fn get(&self, pattern: &PathPattern) -> Option<&Arc<Route>> {
        let key = pattern.key();
        let (hash, _) = Walk::new(key).into_end();
        let entry = self.entries.find(hash, |entry| entry.key() == key)?;
        entry.plain(pattern.kind)
    }

    /// The best route for a canonical path: the exact one, else the longest prefix by element. Of those with the same
    /// pattern, the first whose conditions hold.
    pub fn find(&self, path: &CanonicalPath<'_>, says: &Says<'_>) -> Option<&Arc<Route>> {
        match self.of_one_scheme {
            0 => self.find_among(path, says, |_| true),
            _ => self.find_by_scheme(path, says),
        }
    }

    /// The same where some routes are for one scheme only. The best of the routes for the request's scheme answers. If there is
    /// none, the best of all routes is found, and that one refuses the request.
    #[inline(never)]
    fn find_by_scheme(&self, path: &CanonicalPath<'_>, says: &Says<'_>) -> Option<&Arc<Route>> {
        let found = self.find_among(path, says, |route| route.policies.schemes.include(says.scheme));
        let Some(found) = found else {
            return self.find_among(path, says, |_| true);
        };
        let comes_first = says.scheme == Scheme::Http
            && self.redirecting > 0
            && found.policies.schemes.yield_to_redirects()
            && !path.merged.starts_with(ACME);
        let redirect = comes_first.then(|| self.find_among(path, says, is_redirected));
        redirect.flatten().or(Some(found))
    }

    /// The best route among those that `accept` lets through.
    #[inline]
    fn find_among(
        &self,
        path: &CanonicalPath<'_>,
        says: &Says<'_>,
        accept: impl Fn(&Route) -> bool,
    ) -> Option<&Arc<Route>> {
        let kept = match &path.kept {
            Some(kept) if self.keeping > 0 => kept,
            _ => return self.longest(&path.merged, says, accept),
        };
        let merged = self.longest(&path.merged, says, |route| !route.keep_slashes && accept(route));
        let kept = self.longest(kept, says, |route| route.keep_slashes && accept(route));
        match (merged, kept) {
            (Some(merged), Some(kept)) if merged.precedence() >= kept.precedence() => Some(merged),
            (merged, None) => merged,
            (_, kept) => kept,
        }
    }

    /// The best route for one form of a path among those `accept` lets through.
    fn longest(&self, path: &str, says: &Says<'_>, accept: impl Fn(&Route) -> bool) -> Option<&Arc<Route>> {
        let mut best = None;
        let mut walk = Walk::new(path);
        loop {
            let end = walk.at_end();
            let bit = depth_bit(walk.depth);
            if self.prefixes & bit != 0 || (end && self.exacts & bit != 0) {
                let prefix = walk.prefix();
                if let Some(entry) = self.entries.find(walk.hash, |entry| entry.key() == prefix) {
                    if end && let Some(route) = entry.best(PathKind::Exact, says, &accept) {
                        return Some(route);
                    }
                    let below = (!end).then(|| entry.below(&accept)).flatten();
                    if let Some(route) = below.or_else(|| entry.best(PathKind::Prefix, says, &accept)) {
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
        if depth < 31 { all >> depth > 1 } else { all >> 31 != 0 }
    }

    /// Every route, in no order.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.entries.iter().flat_map(Entry::routes)
    }

    /// Whether there is no route.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
