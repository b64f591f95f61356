//! TLSRoute and TCPRoute. Their rules only say where connections go, which a rule of an HTTPRoute says too.

use super::http_route::{BackendRef, HttpRule};
use serde::Deserialize;

/// One of a route's rules.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct StreamRule {
    name: Option<Box<str>>,
    backend_refs: Option<Vec<BackendRef>>,
}

impl From<StreamRule> for HttpRule {
    fn from(said: StreamRule) -> Self {
        Self {
            name: said.name,
            backend_refs: said.backend_refs,
            ..Self::default()
        }
    }
}
