//! Advice that needs all objects at once, so only `check` gives it.

use super::State;
use super::claimants::hosts;
use crate::dialect::reading::{OUTSIDE, Reading};
use crate::model::{Code, Diagnostic};
use crate::table::canonical::canonical_rule_path;
use crate::table::route::wildcard_suffix;
use crate::table::{Before, CanonicalPath, HostPattern, PathKind, PathPattern, Route};
use std::borrow::Cow;
use std::sync::Arc;

/// How many paths of a wildcard, or of "any host", are tried on each exact host.
const TRIED: usize = 256;

/// All of it.
pub fn lint(state: &State) -> Vec<Diagnostic> {
    let mut said = fall_through(state);
    said.extend(asks_itself(state));
    said.sort();
    said
}

/// Names objects whose authentication service is asked by a URL that leads back to rules with an authentication service: nobody
/// can ever come in.
fn asks_itself(state: &State) -> Vec<Diagnostic> {
    let mut said = Vec::new();
    for known in state.claimants.iter().filter(|known| known.served) {
        let reading = known
            .claimant
            .read(state.options.context(known.dialect, known.beside.as_ref()));
        let Some(external) = &reading.settings.access.external else {
            continue;
        };
        let Some(path) = external.target.path() else { continue };
        let Ok(path) = canonical_rule_path(path, false) else {
            continue;
        };
        let path = CanonicalPath {
            merged: Cow::Borrowed(&path),
            kept: None,
        };
        let hosts: Vec<Arc<str>> = match &external.backend {
            // The host of the request.
            None => exact_hosts(&reading),
            Some(backend) => (backend.service.strip_prefix(OUTSIDE).into_iter())
                .map(Arc::from)
                .collect(),
        };
        let asks = |host: &Arc<str>| {
            let route = state.table.lookup(Some(host), &path)?;
            let mut steps = route.policies.before.iter();
            let asks = steps.any(|step| matches!(step, Before::Access(access) if access.external.is_some()));
            asks.then(|| (host.clone(), route))
        };
        let Some((host, route)) = hosts.iter().find_map(asks) else {
            continue;
        };
        let object = known.claimant.reference();
        let message = format!(
            "it leads to {host}{}, which {} serves and for which an authentication service is asked too, so nobody is let in: \
             serve it by an object of its own, without an authentication service",
            path.merged, route.origin.object
        );
        let field = format!("annotation {}", external.named_by);
        said.push(Diagnostic::new(Code::GuardInvalid, &object, field, message));
    }
    said
}

fn exact_hosts(reading: &Reading) -> Vec<Arc<str>> {
    let mut all: Vec<Arc<str>> = (hosts(reading).into_iter())
        .filter_map(|host| match host {
            HostPattern::Exact(host) => Some(host),
            _ => None,
        })
        .collect();
    all.sort();
    all
}

/// Names hosts whose unlisted paths a wildcard or any-host rule answers: as the specification has it, but not as
/// nginx's server blocks do.
fn fall_through(state: &State) -> Vec<Diagnostic> {
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
