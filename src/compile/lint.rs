//! Advice that needs all objects at once, so only `check` gives it.

use super::State;
use crate::model::{Code, Diagnostic};
use crate::table::route::wildcard_suffix;
use crate::table::{CanonicalPath, HostPattern, PathKind, PathPattern, Route};
use std::borrow::Cow;
use std::sync::Arc;

/// How many paths of a wildcard, or of "any host", are tried on each exact host.
const TRIED: usize = 256;

/// Names hosts whose unlisted paths a wildcard or any-host rule answers: as the specification has it, but not as
/// nginx's server blocks do.
pub fn lint(state: &State) -> Vec<Diagnostic> {
    let any = shortest_first(state, &HostPattern::Any);
    let all = PathPattern {
        kind: PathKind::Prefix,
        path: "/".into(),
    };
    let mut said = Vec::new();
    for (pattern, table) in state.table.hosts() {
        let HostPattern::Exact(host) = &pattern else { continue };
        if table.paths.get(&all).is_some() {
            continue;
        }
        let Some(owner) = table.rules().map(|route| route.age()).min() else {
            continue;
        };
        let wildcard = wildcard_suffix(host).map(|suffix| HostPattern::Wildcard(suffix.into()));
        let wildcard = wildcard
            .map(|wildcard| shortest_first(state, &wildcard))
            .unwrap_or_default();
        let Some(other) = wildcard.iter().chain(&any).find(|route| answers(state, host, route)) else {
            continue;
        };
        said.push(Diagnostic::new(
            Code::FallsThrough,
            &owner.origin.object,
            owner.origin.field.host(),
            format!(
                "paths of {host} that no rule of it lists are answered by {} of {} (as the Ingress specification \
                 says; ingress-nginx would answer 404)",
                other.describe(),
                other.origin.object
            ),
        ));
    }
    said.sort();
    said
}

/// The routes of a host that have a path, those that fit most first.
fn shortest_first(state: &State, pattern: &HostPattern) -> Vec<Arc<Route>> {
    let Some(host) = state.table.host(pattern) else {
        return Vec::new();
    };
    let mut routes: Vec<_> = host.paths.routes().cloned().collect();
    routes.sort_by_cached_key(|route| {
        (
            route.precedence().path_length,
            route.path.as_ref().map(ToString::to_string),
        )
    });
    routes.truncate(TRIED);
    routes
}

/// Whether a wildcard's or any host's route answers requests for its own path on this host.
fn answers(state: &State, host: &str, route: &Arc<Route>) -> bool {
    let Some(pattern) = &route.path else { return false };
    let path = CanonicalPath {
        merged: Cow::Borrowed(&pattern.path),
        kept: None,
    };
    state
        .table
        .lookup(Some(host), &path)
        .is_some_and(|found| Arc::ptr_eq(found, route))
}
