//! Advice that needs all objects at once, so only `check` gives it.

use super::State;
use crate::model::{Code, Diagnostic};
use crate::table::{CanonicalPath, HostPattern, PathKind};
use std::borrow::Cow;

/// Names hosts whose unlisted paths a wildcard or any-host rule answers: as the specification has it, but not as
/// nginx's server blocks do.
pub fn lint(state: &State) -> Vec<Diagnostic> {
    let root = CanonicalPath {
        merged: Cow::Borrowed("/"),
        kept: None,
    };
    let mut said = Vec::new();
    for (pattern, claims) in &state.hosts {
        let HostPattern::Exact(host) = pattern else { continue };
        let all = claims
            .paths
            .keys()
            .any(|path| path.kind == PathKind::Prefix && &*path.path == "/");
        let owner = claims.paths.values().filter_map(|list| list.first()).min_by_key(|claimed| &claimed.age);
        let (false, Some(owner)) = (all, owner) else { continue };
        let Some(other) = state.table.lookup(Some(host), &root) else { continue };
        if other.path.is_some() && other.host != *pattern {
            let object = crate::model::ObjectRef::new(
                crate::model::Kind::Ingress,
                owner.age.namespace.clone(),
                owner.age.name.clone(),
            );
            said.push(Diagnostic::new(
                Code::FallsThrough,
                &object,
                format!("spec.rules[{}].host", owner.age.place.0),
                format!(
                    "paths of {host} that no rule lists are answered by {} of {} (as the Ingress specification says; \
                     ingress-nginx would answer 404)",
                    other.describe(),
                    other.origin.object
                ),
            ));
        }
    }
    said.sort();
    said
}
