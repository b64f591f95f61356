//! A set of hosts with their routes, and the lookup in it.

use super::aliases::{Aliases, HostRegex};
use super::client_tls::ClientRules;
use super::guard::Guard;
use super::parts::Parts;
use super::paths::Paths;
use super::patterns::Patterns;
use super::route::{HostPattern, wildcard_suffix};
use super::{Backend, CanonicalPath, Route, Says, hash};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One host (or wildcard, or "any"): its paths, and what answers when none fits.
#[derive(Clone, Debug, Default)]
pub struct HostTable {
    pub paths: Paths,
    /// Paths that are regular expressions, and redirects of the host itself; absent where the host has none, so that no
    /// other host pays for them.
    pub patterns: Option<Box<Patterns>>,
    /// What answers the paths that no rule lists, where rules for more hosts are not to; absent where they are.
    pub rest: Option<Arc<Route>>,
    /// The default backend of the oldest Ingress that names this host and has one.
    pub default: Option<Arc<Route>>,
    /// Guards that hold for the whole host, by the namespace whose routes they close; absent where it has none.
    pub guards: Option<Arc<BTreeMap<Arc<str>, Arc<Guard>>>>,
    /// What the host asks of its clients' certificates; absent where that is nothing.
    pub clients: Option<Arc<ClientRules>>,
    /// Where TLS connections for the host go as they come; absent where TLS ends here.
    pub passes: Option<Arc<Route>>,
}

impl HostTable {
    /// Whether it has no routes that objects claim.
    pub fn is_empty(&self) -> bool {
        let has_patterns = self
            .patterns
            .as_ref()
            .is_some_and(|patterns| patterns.iter().next().is_some());
        self.paths.is_empty() && !has_patterns && self.default.is_none() && self.passes.is_none()
    }

    /// The route that answers a path, if a rule of the host does.
    #[inline]
    pub fn find(&self, path: &CanonicalPath<'_>, says: &Says<'_>) -> Option<&Arc<Route>> {
        let listed = match &self.patterns {
            None => self.paths.find(path, says),
            Some(patterns) => patterns.find(&self.paths, path, says),
        };
        listed.or(self.rest.as_ref())
    }

    /// Every route of its rules, in no order.
    pub fn rules(&self) -> impl Iterator<Item = &Arc<Route>> {
        let patterns = self.patterns.iter().flat_map(|patterns| patterns.iter());
        // A plain path may be a pattern too.
        let patterns = patterns
            .map(|pattern| &pattern.route)
            .filter(|route| route.is_pattern());
        self.paths.routes().chain(patterns)
    }

    /// Every route that an object claims, its default backend too, in no order.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.rules().chain(&self.default).chain(&self.passes)
    }

    /// A route with the guard that this host has for it.
    fn with_guard<'t>(&'t self, route: &'t Arc<Route>) -> Match<'t> {
        let host_guard = self.guard(&route.origin.object.namespace);
        Match {
            route,
            host_guard,
            asked_host: self.clients.as_ref(),
            own_host: self.clients.as_ref(),
        }
    }

    /// The routes that no rule lists: those of the host itself.
    pub fn own_routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        let redirects = self.patterns.iter().flat_map(|patterns| patterns.redirects.routes());
        redirects.chain(&self.rest)
    }

    /// Every route, its own too, with the guard that this host has for it, in no order.
    pub fn matches(&self) -> impl Iterator<Item = Match<'_>> {
        let routes = self.routes().chain(self.own_routes());
        routes.map(|route| self.with_guard(route))
    }

    /// The guard that closes all routes of a namespace for this host.
    pub fn guard(&self, namespace: &str) -> Option<&Arc<Guard>> {
        self.guards.as_ref()?.get(namespace)
    }
}

/// What answers a host and path.
#[derive(Clone, Copy, Debug)]
pub struct Match<'t> {
    pub route: &'t Arc<Route>,
    /// The guard of a whole host that holds for it: see [`Hosts::find`].
    host_guard: Option<&'t Arc<Guard>>,
    /// What the host that was asked for asks of its clients.
    pub asked_host: Option<&'t Arc<ClientRules>>,
    /// The same of the host that the route is of, which may be a wildcard, or any host.
    pub own_host: Option<&'t Arc<ClientRules>>,
}

impl<'t> Match<'t> {
    /// A route of a listener that has no guards of hosts and asks its clients for nothing.
    pub fn plain(route: &'t Arc<Route>) -> Self {
        Self {
            route,
            host_guard: None,
            asked_host: None,
            own_host: None,
        }
    }

    /// The guard that closes the route for this host: its own, else that of the host, else that of the Service it
    /// leads to. All of its requests are refused then, by the one check in [`decide`](super::decide).
    pub fn guard<'g>(&self, backend: Option<&'g Backend>) -> Option<&'g Arc<Guard>>
    where
        't: 'g,
    {
        let own = self.route.policies.guard.as_ref();
        let mut clients = [self.asked_host, self.own_host].into_iter().flatten();
        own.or(self.host_guard)
            .or_else(|| clients.find_map(|clients| clients.closes(Some(&self.route.origin.object))))
            .or_else(|| backend?.guard.as_ref())
    }
}

pub(super) type ByName = Parts<(Arc<str>, Arc<HostTable>)>;

pub(super) fn by_name<'t>(hosts: &'t ByName, name: &str) -> Option<&'t Arc<HostTable>> {
    if hosts.is_empty() {
        return None;
    }
    hosts
        .find(hash(name), |(other, _)| &**other == name)
        .map(|(_, host)| host)
}

/// Hosts and their routes, as one or several listeners serve them.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    exact: ByName,
    wildcard: ByName,
    any: Arc<HostTable>,
    fallback: Option<Arc<Route>>,
    /// Further names of hosts, which are asked where no rule names the host.
    aliases: Option<Arc<Aliases>>,
    /// How many hosts ask something of their clients.
    with_client_rules: usize,
    /// How many hosts have their TLS connections passed on.
    passing: usize,
}

impl Hosts {
    /// The route that answers a request for a canonical host and path, and the guard of a whole host that holds for it.
    ///
    /// Each level is asked in turn (exact host, wildcard, any); a host that lists no fitting path falls through, unless it
    /// has a route for the rest.
    /// Default backends are asked only when no rule matches, in the same order, and last that of the oldest Ingress
    /// without rules.
    ///
    /// A guard of a whole host also holds for the paths that the host does not list, so it closes what answers them, if
    /// that is a route of the guard's namespace.
    pub fn find(&self, host: Option<&str>, path: &CanonicalPath<'_>, says: &Says<'_>) -> Option<Match<'_>> {
        let exact = host.and_then(|host| by_name(&self.exact, host).or_else(|| self.aliases.as_ref()?.exact(host)));
        if let Some((exact, route)) = exact.and_then(|host| Some((host, host.find(path, says)?))) {
            return Some(exact.with_guard(route));
        }
        let wildcard = host
            .and_then(wildcard_suffix)
            .and_then(|suffix| by_name(&self.wildcard, suffix))
            .or_else(|| self.aliases_of(host?));
        let rule = wildcard
            .and_then(|host| Some((2, host.find(path, says)?)))
            .or_else(|| Some((3, self.any.find(path, says)?)));
        let (levels, route) = rule
            .or_else(|| Some((1, exact?.default.as_ref()?)))
            .or_else(|| Some((2, wildcard?.default.as_ref()?)))
            .or_else(|| Some((3, self.any.default.as_ref().or(self.fallback.as_ref())?)))?;
        // The host of the route, and those that come before it.
        let hosts = || [exact, wildcard, Some(&self.any)].into_iter().take(levels).flatten();
        let namespace = &route.origin.object.namespace;
        let host_guard = hosts().filter_map(|host| host.guard(namespace)).next();
        Some(Match {
            route,
            host_guard,
            asked_host: hosts().next().and_then(|host| host.clients.as_ref()),
            own_host: hosts().last().and_then(|host| host.clients.as_ref()),
        })
    }

    /// What a host asks of its clients; without a name, what any host does. A host that has rules answers for itself: what
    /// its wildcard asks is no concern of its.
    pub fn client_rules(&self, host: Option<&str>) -> Option<&Arc<ClientRules>> {
        if self.with_client_rules == 0 {
            return None;
        }
        self.named(host).clients.as_ref()
    }

    /// Where TLS connections for a host go as they come, with the guard of the host; absent where TLS ends here.
    pub fn passes(&self, host: Option<&str>) -> Option<Match<'_>> {
        if self.passing == 0 {
            return None;
        }
        let table = self.named(host);
        table.passes.as_ref().map(|route| table.with_guard(route))
    }

    /// Whether the TLS connections of some host are passed on.
    pub fn passes_some(&self) -> bool {
        self.passing > 0
    }

    /// What a host has: its own table, that of a host whose other name it is, that of its wildcard, or that of any host.
    fn named(&self, host: Option<&str>) -> &HostTable {
        let exact = |host| by_name(&self.exact, host).or_else(|| self.aliases.as_ref()?.exact(host));
        let wildcard = |host| wildcard_suffix(host).and_then(|suffix| by_name(&self.wildcard, suffix));
        let named = host.and_then(|host| exact(host).or_else(|| wildcard(host)).or_else(|| self.aliases_of(host)));
        named.unwrap_or(&self.any)
    }

    /// How specific the best pattern is that names a host, by [`HostPattern::rank`].
    pub fn rank(&self, host: Option<&str>) -> usize {
        let Some(host) = host else { return 0 };
        let aliases = self.aliases.as_ref();
        if by_name(&self.exact, host).is_some() || aliases.is_some_and(|aliases| aliases.exact(host).is_some()) {
            return usize::MAX;
        }
        let Some(suffix) = wildcard_suffix(host) else { return 0 };
        match by_name(&self.wildcard, suffix).or_else(|| self.aliases_of(host)) {
            Some(_) => suffix.len() + 1,
            None => 0,
        }
    }

    /// Whether a host has rules of another namespace.
    pub fn is_of_others(&self, host: Option<&str>, namespace: &str) -> bool {
        let mut routes = self.named(host).routes();
        routes.any(|route| *route.origin.object.namespace != *namespace)
    }

    /// Replaces or removes what a host asks of its clients. For the compiler.
    pub fn set_client_rules(&mut self, pattern: &HostPattern, rules: Option<Arc<ClientRules>>) {
        self.update(pattern, |host| host.clients = rules);
    }

    /// Every route, default backends too, with the guard of its host, in no order.
    pub fn matches(&self) -> impl Iterator<Item = Match<'_>> {
        let named = self.exact.iter().chain(self.wildcard.iter()).map(|(_, host)| host);
        let hosts = named.chain(std::iter::once(&self.any));
        let fallback = self.fallback.iter().map(|route| self.any.with_guard(route));
        let aliases = self.aliases.iter().flat_map(|aliases| aliases.matches());
        hosts.flat_map(|host| host.matches()).chain(fallback).chain(aliases)
    }

    /// What answers a host that no rule names, if its wildcard or an expression is an alias.
    fn aliases_of(&self, host: &str) -> Option<&Arc<HostTable>> {
        let aliases = self.aliases.as_ref()?;
        let wildcard = wildcard_suffix(host).and_then(|suffix| aliases.wildcard(suffix));
        wildcard.or_else(|| aliases.fitting(host))
    }

    /// What answers a pattern that is an alias.
    pub fn alias(&self, pattern: &HostPattern) -> Option<&Arc<HostTable>> {
        self.aliases.as_ref()?.get(pattern)
    }

    /// Replaces or removes what answers a pattern that no rule names. For the compiler.
    pub fn set_alias(&mut self, pattern: &HostPattern, table: Option<Arc<HostTable>>) {
        self.change_aliases(|aliases| aliases.set(pattern, table));
    }

    /// Replaces the expressions that fit hosts which no rule names, in their order. For the compiler.
    pub fn set_alias_expressions(&mut self, expressions: Vec<(HostRegex, Arc<HostTable>)>) {
        self.change_aliases(|aliases| aliases.set_expressions(expressions));
    }

    fn change_aliases(&mut self, change: impl FnOnce(&mut Aliases)) {
        let mut aliases = self.aliases.take().unwrap_or_default();
        change(Arc::make_mut(&mut aliases));
        self.aliases = (!aliases.is_empty()).then_some(aliases);
    }

    /// The table of one host pattern.
    pub fn host(&self, pattern: &HostPattern) -> Option<&Arc<HostTable>> {
        match pattern {
            HostPattern::Exact(name) => by_name(&self.exact, name),
            HostPattern::Wildcard(suffix) => by_name(&self.wildcard, suffix),
            HostPattern::Any => Some(&self.any),
        }
    }

    /// Every host pattern with its table, in no order; any host's may be empty.
    pub fn iter(&self) -> impl Iterator<Item = (HostPattern, &Arc<HostTable>)> {
        let exact = self
            .exact
            .iter()
            .map(|(name, host)| (HostPattern::Exact(name.clone()), host));
        let wildcard = self
            .wildcard
            .iter()
            .map(|(name, host)| (HostPattern::Wildcard(name.clone()), host));
        exact
            .chain(wildcard)
            .chain(std::iter::once((HostPattern::Any, &self.any)))
    }

    /// What answers when nothing else does: the default backend of the oldest Ingress without rules.
    pub fn fallback(&self) -> Option<&Arc<Route>> {
        self.fallback.as_ref()
    }

    /// A host pattern with the name that is known here, so that routes share one text. For the compiler.
    pub fn share(&self, pattern: &HostPattern) -> HostPattern {
        let name_of = |hosts: &ByName, name: &Arc<str>| {
            hosts
                .find(hash(name), |(other, _)| other == name)
                .map_or_else(|| name.clone(), |(known, _)| known.clone())
        };
        match pattern {
            HostPattern::Exact(name) => HostPattern::Exact(name_of(&self.exact, name)),
            HostPattern::Wildcard(name) => HostPattern::Wildcard(name_of(&self.wildcard, name)),
            HostPattern::Any => HostPattern::Any,
        }
    }

    /// Changes one host's table; one left without routes and guards takes the host away. For the compiler.
    pub fn update(&mut self, pattern: &HostPattern, wanted: impl FnOnce(&mut HostTable)) {
        let has = |host: &HostTable| (usize::from(host.clients.is_some()), usize::from(host.passes.is_some()));
        let (mut before, mut after) = ((0, 0), (0, 0));
        let change = |host: &mut HostTable| {
            before = has(host);
            wanted(host);
            after = has(host);
        };
        let named = match pattern {
            HostPattern::Exact(name) => Some((&mut self.exact, name)),
            HostPattern::Wildcard(suffix) => Some((&mut self.wildcard, suffix)),
            HostPattern::Any => None,
        };
        match named {
            None => change(Arc::make_mut(&mut self.any)),
            Some((hosts, name)) => hosts.update(
                hash(name),
                |(other, _)| other == name,
                || (name.clone(), Arc::default()),
                |(_, host)| {
                    let host = Arc::make_mut(host);
                    change(host);
                    !host.is_empty() || host.guards.is_some() || host.clients.is_some()
                },
            ),
        }
        self.with_client_rules = (self.with_client_rules + after.0).saturating_sub(before.0);
        self.passing = (self.passing + after.1).saturating_sub(before.1);
    }

    /// Replaces or removes the guard that closes a namespace's routes for a host. For the compiler.
    pub fn set_guard(&mut self, pattern: &HostPattern, namespace: &Arc<str>, guard: Option<Arc<Guard>>) {
        self.update(pattern, |host| {
            let mut guards = host.guards.take().unwrap_or_default();
            let known = Arc::make_mut(&mut guards);
            match guard {
                Some(guard) => known.insert(namespace.clone(), guard),
                None => known.remove(namespace),
            };
            host.guards = (!guards.is_empty()).then_some(guards);
        });
    }

    /// Replaces the default backend that answers when nothing else does. For the compiler.
    pub fn set_fallback(&mut self, route: Option<Arc<Route>>) {
        self.fallback = route;
    }
}
