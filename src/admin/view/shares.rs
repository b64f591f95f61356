//! Backends that share the requests of a route.

use crate::table::{Backend, Route, Table};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The share that one of several backends has of a route's requests.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BackendShare {
    /// `namespace/service:port`.
    pub backend: String,
    /// Requests are shared in the proportion of these numbers, among the backends that have endpoints.
    pub weight: u32,
    /// How many endpoints it has.
    pub endpoints: usize,
}

/// The shares of a route; none where it leads to one backend.
pub fn shares(table: &Table, route: &Route) -> Vec<BackendShare> {
    let shares = table.shares_of(route);
    let shares = shares.map(|(backend, weight)| BackendShare {
        backend: name(backend),
        weight,
        endpoints: backend.endpoints.len(),
    });
    shares.collect()
}

/// Where a route leads, in words: all backends with their weights, where there are several.
pub fn backend_words(table: &Table, route: &Route) -> String {
    let shares = shares(table, route);
    if shares.is_empty() {
        return table
            .backend_of(route)
            .map_or("(none)".to_owned(), |backend| name(backend));
    }
    let sum: u32 = shares.iter().map(|share| share.weight).sum();
    let each = shares
        .iter()
        .map(|share| format!("{} ({} of {sum})", share.backend, share.weight));
    each.collect::<Vec<_>>().join(", ")
}

/// The backends that a route may lead to.
pub fn backends<'t>(table: &'t Table, route: &Route) -> Vec<&'t Backend> {
    let several: Vec<&Backend> = table.shares_of(route).map(|(backend, _)| &**backend).collect();
    if several.is_empty() {
        return table.backend_of(route).map(|backend| &**backend).into_iter().collect();
    }
    several
}

/// What a backend is called.
pub fn name(backend: &Backend) -> String {
    if backend.service.is_empty() {
        "(no Service)".to_owned()
    } else {
        backend.to_string()
    }
}
