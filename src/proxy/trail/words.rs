//! Rules in words, for logs and traces: made once for each table, not for each request.

use crate::model::RouteKey;
use crate::table::{Protocol, Route, Table};
use foldhash::HashMap;
use std::rc::Rc;

/// Rules that are kept in words; beyond these it begins anew.
const MOST: usize = 10_000;

/// A rule in words.
pub struct Words {
    /// Host and path.
    pub route: String,
    /// The path alone, where there is one.
    pub pattern: Option<String>,
    /// Where it stands.
    pub origin: String,
    /// Its Service and port.
    pub service: Option<String>,
    /// Whether its pods speak HTTP/2.
    pub to_h2: bool,
}

impl Words {
    fn of(table: &Table, route: &Route) -> Self {
        let backend = table.backend_of(route);
        Self {
            route: route.describe(),
            pattern: route.path.as_ref().map(|path| path.path.to_string()),
            origin: route.origin.to_string(),
            service: backend.map(ToString::to_string),
            to_h2: backend.is_some_and(|backend| backend.protocol() == Protocol::Http2),
        }
    }
}

/// The rules of one table that a shard has met.
#[derive(Default)]
pub struct Dictionary {
    generation: u64,
    by_key: HashMap<RouteKey, Rc<Words>>,
}

impl Dictionary {
    /// A rule's words.
    pub fn of(&mut self, table: &Table, route: &Route) -> Rc<Words> {
        if self.generation != table.generation || self.by_key.len() >= MOST {
            self.generation = table.generation;
            self.by_key.clear();
        }
        let words = self.by_key.entry(route.key);
        words.or_insert_with(|| Rc::new(Words::of(table, route))).clone()
    }
}
