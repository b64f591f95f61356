//! Which rule answers, which came close, and why not.

use super::route::{HostPattern, PathKind, Route};
use super::{CanonicalPath, GatewayPort, HostTable, Hosts, Pattern, Says, Scheme, Schemes};
use std::cmp::Reverse;
use std::sync::Arc;

/// How many rules that lost are named.
const NEAR_MISSES: usize = 12;

/// The decision for one host and path.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The route that answers; none is 404.
    pub route: Option<Arc<Route>>,
    /// The hosts asked, best first, and how many rules each has.
    pub hosts: Vec<(HostPattern, usize)>,
    /// Rules that came close, best first, each with the reason it lost.
    pub lost: Vec<(Arc<Route>, String)>,
}

/// Decides as a request is decided ([`Hosts::find`]), and says why the others lost.
pub fn explain(hosts: &Hosts, host: Option<&str>, path: &CanonicalPath<'_>, says: &Says<'_>) -> Explanation {
    let route = hosts.find(host, path, says).map(|found| found.route.clone());
    let mut patterns = Vec::new();
    if let Some(host) = host {
        patterns.push(HostPattern::Exact(host.into()));
        if let Some(suffix) = super::route::wildcard_suffix(host) {
            patterns.push(HostPattern::Wildcard(suffix.into()));
        }
    }
    patterns.push(HostPattern::Any);
    let tables = patterns.into_iter().filter_map(|pattern| {
        let table = hosts.host(&pattern).or_else(|| hosts.alias(&pattern))?;
        Some((pattern, &**table))
    });
    explain_among(route, tables.collect(), hosts.fallback(), path, says)
}

/// The same of the listener of a Gateway that a host belongs to; absent where that has no route for the request.
pub fn explain_gateways(
    port: &GatewayPort,
    ingresses: &Hosts,
    host: Option<&str>,
    path: &CanonicalPath<'_>,
    says: &Says<'_>,
) -> Option<Explanation> {
    let listener = port.listener(host)?;
    let route = listener.find(host, path, says)?.clone();
    if listener.yields(&route, ingresses, host, path, says) {
        return None;
    }
    // A table has routes of one hostname.
    let tables = listener.hosts.fitting(host).filter_map(|table| {
        let pattern = table.routes().next()?.host.clone();
        Some((pattern, table))
    });
    Some(explain_among(Some(route), tables.collect(), None, path, says))
}

fn explain_among(
    route: Option<Arc<Route>>,
    tables: Vec<(HostPattern, &HostTable)>,
    fallback: Option<&Arc<Route>>,
    path: &CanonicalPath<'_>,
    says: &Says<'_>,
) -> Explanation {
    let mut asked = Vec::new();
    let mut candidates: Vec<Arc<Route>> = Vec::new();
    for (pattern, table) in &tables {
        let routes: Vec<_> = table.routes().cloned().collect();
        asked.push((pattern.clone(), routes.len()));
        candidates.extend(routes);
    }
    candidates.extend(fallback.cloned());
    if let Some(winner) = &route {
        candidates.retain(|candidate| !Arc::ptr_eq(candidate, winner));
    }
    // Those that match come first, in order of precedence; then those whose path is most alike.
    candidates.sort_by_cached_key(|candidate| {
        let text = path.form(candidate.keep_slashes);
        let fits = fits(&tables, candidate, path) && candidate.holds(says);
        let alike = candidate.path.as_ref().map_or(0, |pattern| common(&pattern.path, text));
        Reverse((fits, candidate.path.is_some(), alike, candidate.precedence()))
    });
    candidates.truncate(NEAR_MISSES);
    let lost = candidates
        .into_iter()
        .map(|candidate| {
            let fits = fits(&tables, &candidate, path);
            let reason = why_lost(&candidate, route.as_deref(), (path, fits), says);
            (candidate, reason)
        })
        .collect();
    Explanation {
        route,
        hosts: asked,
        lost,
    }
}

fn common(a: &str, b: &str) -> usize {
    a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count()
}

/// Whether a path fits a route: by definition, or by its compiled expression.
fn fits(tables: &[(HostPattern, &HostTable)], route: &Arc<Route>, path: &CanonicalPath<'_>) -> bool {
    let text = path.form(route.keep_slashes);
    let compiled = || {
        let mut patterns = tables.iter().filter_map(|(_, table)| table.patterns.as_ref());
        let is_mine = |pattern: &&Pattern| Arc::ptr_eq(&pattern.route, route);
        let mine = patterns.find_map(|patterns| patterns.iter().find(is_mine))?;
        Some(mine.regex.matches(text))
    };
    match &route.path {
        None => true,
        Some(pattern) => compiled().unwrap_or_else(|| pattern.matches(text)),
    }
}

fn why_lost(
    candidate: &Route,
    winner: Option<&Route>,
    (path, fits): (&CanonicalPath<'_>, bool),
    says: &Says<'_>,
) -> String {
    let text = path.form(candidate.keep_slashes);
    let Some(pattern) = &candidate.path else {
        return match winner {
            Some(winner) if winner.path.is_some() => "a default backend answers only when no rule matches".to_owned(),
            _ => "an earlier default backend answers: exact host, then wildcard, then any".to_owned(),
        };
    };
    if !fits {
        return match pattern.kind {
            PathKind::Exact if text == format!("{}/", pattern.path) || pattern.path.as_ref() == format!("{text}/") => {
                format!("Exact {} matches that path only: a trailing slash counts", pattern.path)
            }
            PathKind::Exact => format!("Exact {} is not {text}", pattern.path),
            PathKind::Prefix if text.starts_with(&*pattern.path) => format!(
                "Prefix {} goes by path element, so it does not match {text}",
                pattern.path
            ),
            PathKind::Prefix => format!("Prefix {} is not a prefix of {text}", pattern.path),
            PathKind::Below => format!("{text} is not below {}", pattern.path),
            PathKind::RegularExpression => format!("RegularExpression {} does not match {text}", pattern.path),
            PathKind::Passthrough => "it is for TLS connections as a whole".to_owned(),
        };
    }
    if !candidate.holds(says) {
        return "the path matches, but not what it says of method, fields or query".to_owned();
    }
    let Some(winner) = winner else {
        return "it matches".to_owned();
    };
    let (mine, best) = (candidate.precedence(), winner.precedence());
    let (schemes, others) = (candidate.policies.schemes, winner.policies.schemes);
    if mine.host < best.host {
        format!("it matches, but host {} comes before {}", winner.host, candidate.host)
    } else if others.include(says.scheme) && !schemes.include(says.scheme) {
        let scheme = if says.scheme == Scheme::Http {
            "HTTPS"
        } else {
            "plain HTTP"
        };
        format!("it matches, but it is for {scheme} only")
    } else if mine.path_length > best.path_length && others == Schemes::Redirected && schemes.yield_to_redirects() {
        format!(
            "it matches, but {} redirects plain HTTP, and redirects come before longer paths",
            winner.origin.object
        )
    } else if ([candidate, winner].iter()).any(|route| route.is_pattern() || route.policies.follows_patterns) {
        format!(
            "it matches, but {} comes before it in the order of its host",
            winner.describe()
        )
    } else if mine.path_length < best.path_length {
        format!(
            "it matches, but {} is longer",
            winner.path.as_ref().map_or("", |pattern| &pattern.path)
        )
    } else if mine.kind < best.kind {
        "it matches, but Exact comes before Prefix".to_owned()
    } else if mine.conditions < best.conditions {
        format!("it matches, but {} has more conditions", winner.origin.object)
    } else {
        format!(
            "it matches, but {} is older or comes first by name",
            winner.origin.object
        )
    }
}
