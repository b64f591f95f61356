//! Which endpoints are meant for this node by the hints of their slices, as kube-proxy reads them (KEP-2433, KEP-4444).

use super::Options;
use crate::model::object::Hints;
use std::sync::Arc;

/// Whose hints count.
pub(super) enum Near<'o> {
    /// Nobody's: some endpoint has none, or none is for us.
    All,
    /// Those for this node.
    Node(&'o Arc<str>),
    /// Those for its zone.
    Zone(&'o Arc<str>),
}

impl<'o> Near<'o> {
    /// Looks at the hints of all endpoints that could be used. A hint counts only if every endpoint has one of its kind,
    /// and one is for us: otherwise slices are half-way between two states, or have nothing for this place.
    pub fn of<'h>(options: &'o Options, hints: impl Iterator<Item = Option<&'h Hints>> + Clone) -> Self {
        let counts = |for_us: Option<&Arc<str>>, of: fn(&Hints) -> &Vec<Arc<str>>| {
            let Some(for_us) = for_us else { return false };
            let mut any = false;
            let all = hints.clone().all(|hints| {
                hints.is_some_and(|hints| {
                    any |= of(hints).contains(for_us);
                    !of(hints).is_empty()
                })
            });
            all && any
        };
        match (&options.node, &options.zone) {
            (Some(node), _) if counts(Some(node), |hints| &hints.nodes) => Self::Node(node),
            (_, Some(zone)) if counts(Some(zone), |hints| &hints.zones) => Self::Zone(zone),
            _ => Self::All,
        }
    }

    /// Whether an endpoint is meant for this node.
    pub fn is(&self, hints: Option<&Hints>) -> bool {
        match self {
            Near::All => true,
            Near::Node(node) => hints.is_some_and(|hints| hints.nodes.contains(node)),
            Near::Zone(zone) => hints.is_some_and(|hints| hints.zones.contains(zone)),
        }
    }
}
