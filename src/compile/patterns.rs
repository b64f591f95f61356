//! Hosts whose paths are patterns, as ingress-nginx has it: one Ingress that uses regular expressions, or rewrites its paths,
//! makes patterns of all paths of its hosts that the dialect has.

use super::State;
use super::host_wide::{OwnRoutes, own_route};
use crate::dialect::reading::{Reading, Spot};
use crate::model::{Code, Diagnostic, ObjectRef};
use crate::table::{
    Destination, Guard, HostPattern, PathKind, PathPattern, PathRegex, Pattern, Patterns, Policies, Route,
};
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// The annotation by which paths are regular expressions.
const USES_REGEX: &str = "narthex.io/path-regex";

/// The most patterns of one host: each takes memory, and those that begin alike are asked one after the other.
const MOST: usize = 1000;

/// The most expressions that close what begins as the patterns do that are left out.
const MOST_CLOSING: usize = 16;

/// The hosts whose paths are patterns.
#[derive(Debug, Default)]
pub(super) struct PatternHosts {
    hosts: HashMap<HostPattern, OfHost>,
    /// Those whose patterns are to be put in order again.
    stale: HashSet<HostPattern>,
}

/// What is known of one of them.
#[derive(Debug, Default)]
struct OfHost {
    /// The objects that make it one.
    because_of: BTreeSet<ObjectRef>,
    /// The routes whose paths are regular expressions as written.
    routes: HashMap<PathPattern, Arc<Route>>,
    /// The paths that are left out, since there are too many.
    left_out: HashSet<PathPattern>,
}

impl PatternHosts {
    /// The route that has a regular expression.
    pub fn get(&self, host: &HostPattern, path: &PathPattern) -> Option<&Arc<Route>> {
        self.hosts.get(host)?.routes.get(path)
    }

    /// Replaces the route that has a regular expression.
    pub fn set(&mut self, host: &HostPattern, path: &PathPattern, route: Option<Arc<Route>>) {
        let of_host = self.hosts.entry(host.clone()).or_default();
        match route {
            Some(route) => of_host.routes.insert(path.clone(), route),
            None => of_host.routes.remove(path),
        };
        self.stale.insert(host.clone());
    }

    /// The object that makes the paths of a host patterns: the first by name.
    pub fn reason(&self, host: &HostPattern) -> Option<&ObjectRef> {
        self.hosts.get(host)?.because_of.first()
    }

    /// The routes of a host whose paths are regular expressions as written.
    pub fn routes<'p>(&'p self, host: &HostPattern) -> impl Iterator<Item = &'p Arc<Route>> + use<'p> {
        self.hosts
            .get(host)
            .into_iter()
            .flat_map(|of_host| of_host.routes.values())
    }

    /// A host is to be settled again.
    pub fn mark(&mut self, host: &HostPattern) {
        self.stale.insert(host.clone());
    }

    /// A plain path of a host changed.
    pub fn touch(&mut self, host: &HostPattern) {
        if !self.hosts.is_empty() && self.hosts.contains_key(host) {
            self.stale.insert(host.clone());
        }
    }

    /// Replaces the hosts that an object makes such.
    pub fn replace(&mut self, object: &ObjectRef, old: &[HostPattern], new: &[HostPattern]) {
        for host in old.iter().filter(|host| !new.contains(host)) {
            if let Some(of_host) = self.hosts.get_mut(host) {
                of_host.because_of.remove(object);
                self.stale.insert(host.clone());
            }
        }
        for host in new {
            let of_host = self.hosts.entry(host.clone()).or_default();
            of_host.because_of.insert(object.clone());
            self.stale.insert(host.clone());
        }
    }
}

impl State {
    /// Replaces the hosts whose paths are patterns because of an object.
    pub(super) fn set_pattern_hosts(&mut self, object: &ObjectRef, old: &[HostPattern], new: &[HostPattern]) {
        let reasons = |state: &Self| -> Vec<Option<ObjectRef>> {
            let hosts = old.iter().chain(new);
            hosts.map(|host| state.patterns.reason(host).cloned()).collect()
        };
        let before = reasons(self);
        self.patterns.replace(object, old, new);
        let after = reasons(self);
        // Those that claim something of the host are told why their paths are patterns.
        for (host, _) in old
            .iter()
            .chain(new)
            .zip(before.iter().zip(&after))
            .filter(|(_, (before, after))| before != after)
        {
            self.stale.extend(self.claimants_of(host));
        }
    }

    /// Which paths of an object are left out.
    pub(super) fn diagnose_left_out(&self, object: &ObjectRef, reading: &Reading, said: &mut Vec<Diagnostic>) {
        for claim in &reading.claims {
            let Spot::Path(host, path) = &claim.spot else { continue };
            let known = self.patterns.hosts.get(host);
            if known.is_some_and(|known| known.left_out.contains(path)) {
                let message = format!(
                    "{host} has more than {MOST} paths that are regular expressions, and those of older Ingresses come first, \
                     so this one is left out: requests whose path begins as it does, and that no other expression is for, get \
                     503"
                );
                said.push(Diagnostic::new(
                    Code::GuardInvalid,
                    object,
                    claim.field.to_string(),
                    message,
                ));
            }
        }
    }

    /// Why the paths of an object are patterns, where that is because of another one.
    pub(super) fn diagnose_patterns(&self, object: &ObjectRef, reading: &Reading, said: &mut Vec<Diagnostic>) {
        let mut hosts = HashSet::new();
        for claim in &reading.claims {
            let Spot::Path(host, _) = &claim.spot else { continue };
            let reason = self.patterns.reason(host).filter(|_| !reading.patterns.contains(host));
            if let Some(reason) = reason.filter(|_| hosts.insert(host)) {
                let message = format!(
                    "all paths of {host} are regular expressions because of {reason}: they match from the start of a path, \
                     without regard to case, and are open at the end"
                );
                said.push(Diagnostic::new(
                    Code::PathsArePatterns,
                    object,
                    claim.field.host(),
                    message,
                ));
            }
        }
    }

    /// Notes which paths of a host are left out.
    fn note_left_out(&mut self, host: &HostPattern, left_out: HashSet<PathPattern>) {
        let Some(known) = self.patterns.hosts.get_mut(host) else {
            return;
        };
        if known.left_out != left_out {
            known.left_out = left_out;
            self.stale.extend(self.claimants_of(host));
        }
    }

    /// The routes that objects claim of a host.
    pub(super) fn rules_of<'s>(&'s self, host: &HostPattern) -> impl Iterator<Item = &'s Arc<Route>> + use<'s> {
        let table = self.table.host(host);
        let plain = table
            .into_iter()
            .flat_map(|table| table.paths.routes().chain(&table.default).chain(&table.passes));
        plain.chain(self.patterns.routes(host))
    }

    /// Puts the patterns of hosts in order that changed, and brings up to date what is decided for whole hosts.
    pub(super) fn settle_hosts(&mut self) {
        if self.patterns.stale.is_empty() {
            return;
        }
        let mut settled: Vec<HostPattern> = std::mem::take(&mut self.patterns.stale).into_iter().collect();
        settled.sort();
        for host in &settled {
            let own = self.settle_host(host);
            self.settle_patterns(host, own);
        }
        self.settle_aliases(&settled);
    }

    /// Puts the patterns of a host in order.
    fn settle_patterns(&mut self, host: &HostPattern, own: OwnRoutes) {
        let known = self.patterns.hosts.get(host);
        // Those of narthex's own annotation hang on nobody else.
        let own_patterns = known.into_iter().flat_map(|known| known.routes.values());
        let own_patterns = own_patterns.filter(|route| !route.policies.follows_patterns);
        let mut whole: Vec<Arc<Route>> = own_patterns.cloned().collect();
        let mut routes: Vec<Arc<Route>> = Vec::new();
        let stranger = self.host_wide.stranger(host).is_some();
        if let Some(known) = known.filter(|known| !known.because_of.is_empty()) {
            // Where the host follows the rules of another dialect, only what is written as a pattern is one.
            let table = self.table.host(host).filter(|_| !stranger);
            let plain = table.into_iter().flat_map(|table| table.paths.routes());
            let plain = plain.filter(|route| route.policies.follows_patterns);
            let written = known.routes.values().filter(|route| route.policies.follows_patterns);
            routes.extend(written.chain(plain).cloned());
        }
        let left_out = leave_out(&mut whole, &mut routes);
        for routes in [&mut whole, &mut routes] {
            routes.sort_by_cached_key(|route| {
                let kind = route.path.as_ref().map(|pattern| Reverse(pattern.kind));
                let text = text_of(route);
                (Reverse(text.len()), Reverse(text), kind)
            });
        }
        let before = self.table.host(host).and_then(|table| table.patterns.clone());
        let compiled = |route: Arc<Route>| {
            let text = text_of(&route);
            let follows = route.policies.follows_patterns;
            let same = |pattern: &&Pattern| {
                pattern.route.policies.follows_patterns == follows && text_of(&pattern.route) == text
            };
            let known = before.as_ref().and_then(|patterns| patterns.iter().find(same));
            match known {
                Some(known) => Some(Pattern {
                    regex: known.regex.clone(),
                    route,
                }),
                None if follows => Pattern::open(&text, route).ok(),
                None => Pattern::whole(&text, route).ok(),
            }
        };
        // What cannot be compiled, and may be for any path, must not come before what others have.
        let is_known = |route: &Arc<Route>| {
            let text = text_of(route);
            PathRegex::is_beginning_known(&text) || PathRegex::whole(&text).is_ok()
        };
        let (whole, unknown): (Vec<_>, Vec<_>) = whole.into_iter().partition(is_known);
        let mut whole: Vec<Pattern> = whole.into_iter().filter_map(&compiled).collect();
        let unknown: Vec<Pattern> = unknown.into_iter().filter_map(&compiled).collect();
        let (mut first, mut last) = (routes.into_iter().filter_map(compiled).collect(), Vec::new());
        if stranger {
            std::mem::swap(&mut first, &mut last);
        }
        last.extend(unknown);
        let (close_first, close_last) = closing(host, &left_out);
        whole.extend(close_first);
        last.extend(close_last);
        let left_out = left_out.iter().filter_map(|route| route.path.clone()).collect();
        self.note_left_out(host, left_out);
        let patterns = Patterns::with_redirects(own.redirects, first, whole, last);
        self.table
            .update_host(host, |table| (table.patterns, table.rest) = (patterns, own.rest));
        self.changed = true;
        let is_over = |known: &OfHost| known.because_of.is_empty() && known.routes.is_empty();
        if self.patterns.hosts.get(host).is_some_and(is_over) {
            self.patterns.hosts.remove(host);
        }
    }
}

/// Leaves out what is too much for one host: the routes of the youngest objects.
fn leave_out(whole: &mut Vec<Arc<Route>>, routes: &mut Vec<Arc<Route>>) -> Vec<Arc<Route>> {
    if whole.len() + routes.len() <= MOST {
        return Vec::new();
    }
    let mut all: Vec<Arc<Route>> = whole.drain(..).chain(routes.drain(..)).collect();
    all.sort_by(|one, other| one.cmp_age(other));
    let left_out = all.split_off(MOST);
    (*routes, *whole) = all.into_iter().partition(|route| route.policies.follows_patterns);
    left_out
}

/// What closes the paths that begin as those do that are left out: before the prefixes of the host, and, where it is not
/// known how they begin, behind all else.
fn closing(host: &HostPattern, left_out: &[Arc<Route>]) -> (Vec<Pattern>, Vec<Pattern>) {
    let Some(first) = left_out.first() else {
        return (Vec::new(), Vec::new());
    };
    let policies = Arc::new(Policies {
        guard: Some(Arc::new(Guard {
            object: first.origin.object.clone(),
            name: USES_REGEX.into(),
            invalid: true,
        })),
        ..Policies::default()
    });
    let path = PathPattern {
        kind: PathKind::RegularExpression,
        path: "".into(),
    };
    let route = Arc::new(own_route(host, path, &first.age(), Destination::Nowhere, policies));
    let texts: Vec<Arc<str>> = left_out.iter().map(|route| text_of(route)).collect();
    let (known, unknown): (Vec<&str>, Vec<&str>) = texts
        .iter()
        .map(|text| &**text)
        .partition(|text| PathRegex::is_beginning_known(text));
    let patterns = |texts: Vec<&str>| -> Vec<Pattern> {
        let some = !texts.is_empty();
        let all = some.then(|| PathRegex::beginnings_of(texts.into_iter(), MOST_CLOSING));
        let all = all.and_then(Result::ok).into_iter().flatten();
        all.map(|regex| Pattern {
            regex,
            route: route.clone(),
        })
        .collect()
    };
    (patterns(known), patterns(unknown))
}

/// The path of a route as it was written.
fn text_of(route: &Route) -> Arc<str> {
    match &route.path {
        Some(pattern) if route.policies.closing_slash => format!("{}/", pattern.path).into(),
        Some(pattern) => pattern.path.clone(),
        None => Arc::default(),
    }
}
