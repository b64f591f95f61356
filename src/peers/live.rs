//! What narthexes ask each other before an Ingress gets its address: whoever reads one asks there at once.

use crate::model::{Kind, ObjectRef, Revision};
use crate::table::{Served, Table};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Ingresses that are asked for at once, at `/api/v1/live`.
pub const MOST_ASKED: usize = 100;

/// Whether Ingresses are in the live table, and in which revision.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Live {
    /// Whether all are that were asked about, and any was.
    live: bool,
    /// Those that are, by NAMESPACE/NAME.
    found: BTreeMap<String, LiveRevision>,
    generation: u64,
}

/// `metadata.uid` and `metadata.generation` of an Ingress as it is served; where a file does not say, empty and 0.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
struct LiveRevision {
    uid: String,
    generation: i64,
}

impl Live {
    /// The answer of a table.
    pub fn of<'a>(table: &Table, asked: impl Iterator<Item = &'a str>) -> Self {
        let served = |name: &str| {
            let object = object_of(name)?;
            table
                .served(&object)
                .map(|ingress| (name.to_owned(), LiveRevision::from(&ingress.revision)))
        };
        let asked: BTreeSet<&str> = asked.collect();
        let found: BTreeMap<_, _> = asked.iter().copied().filter_map(served).collect();
        Self {
            live: !asked.is_empty() && found.len() == asked.len(),
            found,
            generation: table.generation,
        }
    }

    /// Whether this answer has an Ingress as it is here, or as it became later.
    pub fn serves(&self, ingress: &Served) -> bool {
        let theirs = self.found.get(&name_of(&ingress.object));
        theirs.is_some_and(|theirs| Revision::from(theirs).is_as_of(&ingress.revision))
    }
}

/// What an object is asked for by: NAMESPACE/NAME for an Ingress, as releases before asked for no other kind, and
/// KIND/NAMESPACE/NAME for all others.
pub fn name_of(object: &ObjectRef) -> String {
    match object.kind {
        Kind::Ingress => object.path(),
        kind => format!("{kind}/{}", object.path()),
    }
}

fn object_of(name: &str) -> Option<ObjectRef> {
    let parts: Vec<&str> = name.split('/').collect();
    match parts[..] {
        [namespace, name] => Some(ObjectRef::new(Kind::Ingress, namespace, name)),
        [kind, namespace, name] => Some(ObjectRef::new(Kind::named(kind)?, namespace, name)),
        _ => None,
    }
}

impl From<&Revision> for LiveRevision {
    fn from(revision: &Revision) -> Self {
        Self {
            uid: revision.uid.to_string(),
            generation: revision.generation,
        }
    }
}

impl From<&LiveRevision> for Revision {
    fn from(said: &LiveRevision) -> Self {
        Self {
            uid: said.uid.as_str().into(),
            generation: said.generation,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    fn ingress(uid: &str, generation: i64) -> Served {
        Served {
            object: ObjectRef::new(Kind::Ingress, "shop", "web"),
            created: Timestamp(1),
            admission: None,
            revision: Revision {
                uid: uid.into(),
                generation,
            },
        }
    }

    #[test]
    fn a_peer_that_is_behind_does_not_serve_it() {
        let mut table = Table::default();
        table.set_served(&ingress("a", 3).object, Some(ingress("a", 3)));
        let said = serde_json::to_string(&Live::of(&table, ["shop/web", "shop/other"].into_iter())).unwrap();
        let said: Live = serde_json::from_str(&said).unwrap();
        assert!(!said.live);
        assert!(said.serves(&ingress("a", 3)));
        assert!(said.serves(&ingress("a", 2)), "it became another later");
        assert!(!said.serves(&ingress("a", 4)), "a change has not come there");
        assert!(!said.serves(&ingress("b", 1)), "it was deleted and made again");
        assert!(Live::of(&table, ["shop/web"].into_iter()).live);
        table.set_served(&ingress("a", 3).object, None);
        assert!(!Live::of(&table, ["shop/web"].into_iter()).serves(&ingress("a", 3)));
    }
}
