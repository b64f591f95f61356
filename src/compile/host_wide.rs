//! What Ingresses of ingress-nginx decide for a whole host: what answers the paths that no rule of it lists, which
//! redirects it has, and by which other names it goes. All of it becomes routes of their own, so that other requests do
//! not pay for it.

mod names;

use super::State;
use super::claimants::hosts;
use crate::dialect::annotations::HostWide;
use crate::dialect::reading::{Reading, Spot};
use crate::model::{Code, Diagnostic, Field, FieldForm, ObjectRef, Origin};
use crate::table::paths::prefix_key;
use crate::table::route::Age;
use crate::table::{
    Before, Destination, HostPattern, HostRegex, PathKind, PathPattern, Policies, Redirection, Route, Schemes,
    Template, route_key,
};
use http::StatusCode;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// The rule that names a host.
const HOST: FieldForm = FieldForm {
    text: "spec.rules[].host",
    list: "spec.rules",
    host: "spec.rules[].host",
};

/// What one object decides for a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// The object and its place among others; its field is that which names the host.
    age: Age,
    wide: Arc<HostWide>,
    /// What its routes do for this host.
    policies: Arc<Policies>,
    /// Where the paths go that no rule lists.
    rest: Destination,
}

/// A host that goes by another name, or is redirected.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Guest {
    age: Age,
    /// The host that answers.
    host: HostPattern,
    /// Whether it is only redirected there.
    redirected: bool,
}

/// What is known of one host.
#[derive(Debug, Default)]
struct OfHost {
    /// In the order of their age.
    parts: Vec<Part>,
    /// The hosts that were made guests of this one.
    guests: Vec<HostPattern>,
    /// What fits its other names.
    expressions: Vec<(Age, HostRegex)>,
    /// The dialect whose rules the host follows, where that is another.
    stranger: Option<ObjectRef>,
}

/// The routes of a host that no rule lists.
#[derive(Default)]
pub(super) struct OwnRoutes {
    pub rest: Option<Arc<Route>>,
    pub redirects: Vec<Arc<Route>>,
}

/// All hosts of the dialect.
#[derive(Debug, Default)]
pub(super) struct HostsWide {
    hosts: HashMap<HostPattern, OfHost>,
    /// Hosts that no rule has to name, with all that claim them.
    guests: HashMap<HostPattern, BTreeSet<Guest>>,
    /// Hosts with expressions.
    with_expressions: BTreeSet<HostPattern>,
    /// Whether the expressions of a host changed.
    expressions_changed: bool,
    /// The objects of which expressions are left out, since there are too many.
    crowded_out: BTreeSet<ObjectRef>,
}

impl HostsWide {
    pub fn contains(&self, host: &HostPattern) -> bool {
        !self.hosts.is_empty() && self.hosts.contains_key(host)
    }

    /// The object of another dialect whose rules a host follows.
    pub fn stranger(&self, host: &HostPattern) -> Option<&ObjectRef> {
        self.hosts.get(host)?.stranger.as_ref()
    }
}

impl State {
    /// Replaces what an object decides for its hosts.
    pub(super) fn set_host_parts(&mut self, object: &ObjectRef, old: Option<&Reading>, new: Vec<(HostPattern, Part)>) {
        let before = old.filter(|reading| reading.settings.host_wide.is_some());
        for host in before.into_iter().flat_map(hosts) {
            if let Some(of_host) = self.host_wide.hosts.get_mut(&host) {
                of_host.parts.retain(|part| part.age.origin.object != *object);
                let roots = of_host.parts.iter().filter(|part| part.wide.app_root.is_some());
                self.stale.extend(roots.map(|part| part.age.origin.object.clone()));
                self.patterns.mark(&host);
            }
        }
        for (host, part) in new {
            let parts = &mut self.host_wide.hosts.entry(host.clone()).or_default().parts;
            if part.wide.app_root.is_some() {
                // Of two, the older counts.
                self.stale
                    .extend(parts.iter().map(|part| part.age.origin.object.clone()));
            }
            let place = parts.partition_point(|other| other.age < part.age);
            parts.insert(place, part);
            self.patterns.mark(&host);
        }
    }

    /// What an object decides for each of its hosts.
    pub(super) fn host_parts(
        &self,
        object: &ObjectRef,
        reading: &Reading,
        policies: impl Fn(&HostPattern) -> Arc<Policies>,
    ) -> Vec<(HostPattern, Part)> {
        let Some(wide) = reading
            .settings
            .host_wide
            .as_ref()
            .filter(|_| !reading.seniority.canary)
        else {
            return Vec::new();
        };
        let rest = reading
            .rest
            .as_ref()
            .map(|rest| Destination::Backend(self.backend_id(rest)));
        let rest = rest.unwrap_or(Destination::Nowhere);
        let mut parts: Vec<(HostPattern, Part)> = Vec::new();
        let mut places: HashMap<&HostPattern, usize> = HashMap::new();
        for claim in &reading.claims {
            let host = claim.spot.host();
            if matches!(claim.spot, Spot::Fallback) {
                continue;
            }
            let place = *places.entry(host).or_insert_with(|| {
                let [index, _] = claim.field.order();
                let age = Age {
                    seniority: reading.seniority,
                    origin: Origin {
                        object: object.clone(),
                        field: Field::at(&HOST, index),
                    },
                };
                let part = Part {
                    age,
                    wide: wide.clone(),
                    policies: policies(host),
                    rest: rest.clone(),
                };
                parts.push((host.clone(), part));
                parts.len() - 1
            });
            if let (Spot::Default(_), Some((_, part))) = (&claim.spot, parts.get_mut(place)) {
                part.rest = Destination::Backend(self.backend_id(&claim.backend));
            }
        }
        parts
    }

    /// Something of a host changed, on which what is decided for the whole of it may hang.
    pub(super) fn touch_host(&mut self, host: &HostPattern) {
        self.clients.touch(host);
        self.passing.touch(host);
        if self.host_wide.contains(host) {
            self.patterns.mark(host);
        } else {
            self.patterns.touch(host);
        }
        // What is said of another name depends on whether there are rules for it.
        let guests = self.host_wide.guests.get(host).into_iter().flatten();
        let hosts = guests.filter_map(|guest| self.host_wide.hosts.get(&guest.host));
        let parts = hosts.flat_map(|of_host| &of_host.parts);
        self.stale.extend(parts.map(|part| part.age.origin.object.clone()));
    }

    /// The oldest object of another dialect, if the host follows that one's rules.
    fn find_stranger(&self, host: &HostPattern) -> Option<ObjectRef> {
        let oldest = self.rules_of(host).min_by(|one, other| one.cmp_age(other))?;
        (!oldest.policies.follows_patterns).then(|| oldest.origin.object.clone())
    }

    /// Brings what is decided for a whole host up to date, and gives the routes that it has of its own.
    pub(super) fn settle_host(&mut self, host: &HostPattern) -> OwnRoutes {
        let Some(of_host) = self.host_wide.hosts.get(host) else {
            return OwnRoutes {
                rest: self.route_rest(host),
                ..OwnRoutes::default()
            };
        };
        let stranger = self.find_stranger(host);
        if of_host.stranger != stranger {
            self.stale
                .extend(of_host.parts.iter().map(|part| part.age.origin.object.clone()));
        }
        // All names of a host, and what it does of its own, are a matter of the dialect that it follows.
        let parts: Vec<Part> = if stranger.is_some() {
            Vec::new()
        } else {
            of_host.parts.clone()
        };
        let rest = self.rest(host, &parts).or_else(|| self.route_rest(host));
        let mut redirects = self.slash_redirects(host, &parts);
        redirects.extend(parts.iter().find_map(|part| app_root(host, part)));
        self.set_guests(host, &parts);
        if let Some(of_host) = self.host_wide.hosts.get_mut(host) {
            of_host.stranger = stranger;
            if of_host.parts.is_empty() {
                self.host_wide.hosts.remove(host);
            }
        }
        OwnRoutes { rest, redirects }
    }

    /// What answers the paths that no rule of a host lists: where the oldest object sends them, with its policies. All
    /// paths of any host are a matter of what else there is.
    fn rest(&self, host: &HostPattern, parts: &[Part]) -> Option<Arc<Route>> {
        let first = parts.first().filter(|_| *host != HostPattern::Any)?;
        let all = pattern(PathKind::Prefix, "/");
        let patterns = self.patterns.reason(host).is_some();
        let is_all = |path: &PathPattern| *path == all || (patterns && *path.path == *all.path);
        let mut listed = self.rules_of(host).filter_map(|route| route.path.as_ref());
        let listed = listed.any(is_all);
        let policies = first.policies.clone();
        (!listed).then(|| Arc::new(own_route(host, all, &first.age, first.rest.clone(), policies)))
    }

    /// The redirects of paths to the same with a slash at the end, where only that is listed.
    fn slash_redirects(&self, host: &HostPattern, parts: &[Part]) -> Vec<Arc<Route>> {
        let mut found = Vec::new();
        let Some(table) = self.table.host(host).filter(|_| self.patterns.reason(host).is_none()) else {
            return found;
        };
        let Some(first) = parts.first() else { return found };
        for route in table.paths.routes() {
            let Some(path) = &route.path else { continue };
            let bare = prefix_key(&path.path);
            let is_closed = match path.kind {
                PathKind::Exact => bare.len() < path.path.len(),
                PathKind::Prefix => route.policies.closing_slash,
                PathKind::Below | PathKind::RegularExpression | PathKind::Passthrough => false,
            };
            if !is_closed || bare.is_empty() || route.keep_slashes || !route.policies.follows_patterns {
                continue;
            }
            let plain = table.paths.get(&pattern(PathKind::Prefix, bare));
            let is_listed = table.paths.get(&pattern(PathKind::Exact, bare)).is_some()
                || plain.is_some_and(|plain| !plain.policies.closing_slash);
            if is_listed {
                continue;
            }
            let part = parts.iter().find(|part| part.age.origin.object == route.origin.object);
            let wide = &part.unwrap_or(first).wide;
            let redirection = Redirection {
                status: StatusCode::MOVED_PERMANENTLY,
                to: Template::with_query(&format!("{bare}/")),
                relative: wide.relative,
                host: None,
                with_port: wide.with_port,
            };
            let limits = route.policies.before.iter();
            let limit = limits.filter(|step| matches!(step, Before::BodyLimit(_))).cloned();
            let policies = Policies {
                guard: route.policies.guard.clone(),
                before: limit.chain([Before::Redirect(Arc::new(redirection))]).collect(),
                after: route.policies.after.clone(),
                follows_patterns: true,
                is_unlogged: route.policies.is_unlogged,
                closing_slash: false,
                schemes: Schemes::All,
            };
            let path = pattern(PathKind::Exact, bare);
            let route = own_route(host, path, &route.age(), Destination::Nowhere, Arc::new(policies));
            found.push(Arc::new(route));
        }
        // Of an exact path and a prefix with the same redirect either may come last, so the order is made one.
        found.sort_by(|one, other| one.cmp_age(other));
        found
    }

    /// What of a host an object does not get because of others.
    pub(super) fn diagnose_host_wide(&self, object: &ObjectRef, reading: &Reading, said: &mut Vec<Diagnostic>) {
        let mut all: Vec<HostPattern> = hosts(reading).into_iter().collect();
        all.sort();
        for host in all {
            let Some(of_host) = self.host_wide.hosts.get(&host) else {
                continue;
            };
            let mine = of_host.parts.iter().find(|part| part.age.origin.object == *object);
            let Some(mine) = mine else { continue };
            let field = mine.age.origin.field.host();
            let mut say = |code, message: String| said.push(Diagnostic::new(code, object, field.clone(), message));
            if let Some(stranger) = self.host_wide.stranger(&host) {
                let message = format!(
                    "{host} follows the rules of {stranger}, which is its oldest Ingress and of another class: paths that it \
                     does not list are answered by rules for more hosts, and nothing is decided for the whole host"
                );
                say(Code::HostOfTwoDialects, message);
                continue;
            }
            let older = of_host
                .parts
                .iter()
                .take_while(|part| part.age.origin.object != *object);
            let mut older = older.filter(|part| part.wide.app_root.is_some() && mine.wide.app_root.is_some());
            if let Some(first) = older.next() {
                let message = format!(
                    "app-root has no effect for {host}: {} is older and says where its / is redirected",
                    first.age.origin.object
                );
                say(Code::InvalidAnnotation, message);
            }
            for message in self.names_not_given(&host, mine) {
                say(Code::HostTaken, message);
            }
        }
    }
}

fn pattern(kind: PathKind, path: &str) -> PathPattern {
    PathPattern {
        kind,
        path: path.into(),
    }
}

/// A route that no rule lists.
pub(super) fn own_route(
    host: &HostPattern,
    path: PathPattern,
    age: &Age,
    to: Destination,
    policies: Arc<Policies>,
) -> Route {
    Route {
        key: route_key(None, host, Some(&path), None),
        origin: age.origin.clone(),
        seniority: age.seniority,
        host: host.clone(),
        path: Some(path),
        keep_slashes: false,
        when: None,
        to,
        policies,
        shadows: Box::default(),
    }
}

/// The redirect of `/`.
fn app_root(host: &HostPattern, part: &Part) -> Option<Arc<Route>> {
    let redirection = Redirection {
        status: StatusCode::FOUND,
        to: part.wide.app_root.clone()?,
        relative: false,
        host: None,
        with_port: false,
    };
    let policies = redirected(part, redirection);
    let path = pattern(PathKind::Exact, "/");
    Some(Arc::new(own_route(
        host,
        path,
        &part.age,
        Destination::Nowhere,
        policies,
    )))
}

/// The policies of a route that only redirects.
fn redirected(part: &Part, redirection: Redirection) -> Arc<Policies> {
    Arc::new(Policies {
        guard: part.policies.guard.clone(),
        before: Box::new([Before::Redirect(Arc::new(redirection))]),
        after: part.policies.after.clone(),
        follows_patterns: true,
        is_unlogged: part.policies.is_unlogged,
        closing_slash: false,
        schemes: Schemes::All,
    })
}
