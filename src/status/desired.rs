//! What the status of objects should be, and what of that is to be written next. No clock, no network.

pub use crate::dialect::status::Address;
use crate::dialect::status::rules;
use crate::model::{Kind, ObjectRef};
use crate::table::Served;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// The status that objects of each kind should have, where narthex writes one.
pub fn by_kind(addresses: &BTreeSet<Address>) -> BTreeMap<Kind, Value> {
    let kinds = Kind::ALL.into_iter();
    kinds
        .filter_map(|kind| Some((kind, (rules(kind)?.desired)(addresses))))
        .collect()
}

/// The status of an object, as far as narthex writes it; absent where it writes nothing for such objects.
pub fn current(kind: Kind, status: &Value) -> Option<Value> {
    Some((rules(kind)?.current)(status))
}

/// The uid of an object, and the status that it has.
pub type Known = (Arc<str>, Value);

/// The status that an object has; absent where only one that is gone had its name.
pub fn known_of<'k>(known: &'k HashMap<ObjectRef, Known>, served: &Served) -> Option<&'k Value> {
    let known = known.get(&served.object);
    known
        .filter(|(uid, _)| *uid == served.revision.uid)
        .map(|(_, status)| status)
}

/// The next writes: objects whose status differs from what it should be, newest first, up to a limit.
/// Whoever has just made one waits for it; all others can be a little late.
pub fn next<'s>(
    served: impl Iterator<Item = &'s Arc<Served>>,
    known: &HashMap<ObjectRef, Known>,
    desired: &BTreeMap<Kind, Value>,
    most: usize,
) -> Vec<&'s Arc<Served>> {
    let differs = |served: &Served| {
        let kind = served.object.kind;
        let Some(desired) = desired.get(&kind) else {
            return false;
        };
        match known_of(known, served) {
            Some(known) => known != desired,
            None => current(kind, &Value::Null).as_ref() != Some(desired),
        }
    };
    let mut due: Vec<_> = served.filter(|served| differs(served)).collect();
    let order = |served: &&Arc<Served>| (std::cmp::Reverse(served.created.0), served.object.clone());
    if due.len() > most {
        due.select_nth_unstable_by_key(most, order);
        due.truncate(most);
    }
    due.sort_by_cached_key(order);
    due
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Revision, Timestamp};

    fn object(name: &str) -> ObjectRef {
        ObjectRef::new(Kind::Ingress, "default", name)
    }

    #[test]
    fn the_newest_that_differ_come_first() {
        let served: Vec<_> = (0..100)
            .map(|index| {
                Arc::new(Served {
                    object: object(&format!("i{index:03}")),
                    created: Timestamp(index),
                    revision: Revision::default(),
                    admission: None,
                })
            })
            .collect();
        let addresses = BTreeSet::from([Address::new("10.0.0.1"), Address::new("edge.example.com")]);
        let desired = by_kind(&addresses);
        let shown = |addresses: &[&str]| {
            let addresses = addresses.iter().copied().map(Address::new).collect();
            by_kind(&addresses).remove(&Kind::Ingress).unwrap()
        };
        let mut known: HashMap<_, _> = HashMap::new();
        let due = |known: &HashMap<_, _>, most| -> Vec<ObjectRef> {
            let due = next(served.iter(), known, &desired, most);
            due.into_iter().map(|ingress| ingress.object.clone()).collect()
        };
        assert_eq!(due(&known, 3), [object("i099"), object("i098"), object("i097")]);
        for index in 10..100 {
            known.insert(
                object(&format!("i{index:03}")),
                (Arc::default(), desired[&Kind::Ingress].clone()),
            );
        }
        assert_eq!(due(&known, 3)[0], object("i009"));
        assert_eq!(due(&known, 50).len(), 10);
        known.insert(object("i050"), (Arc::default(), shown(&["10.0.0.1"])));
        assert_eq!(due(&known, 1), [object("i050")]);
        // What is not ours is left alone, whatever it says.
        known.insert(object("theirs"), (Arc::default(), shown(&["10.9.9.9"])));
        assert_eq!(due(&known, 500).len(), 11);
        // An object that is gone had this status, and not the one that has its name now.
        known.insert(object("i060"), ("gone".into(), desired[&Kind::Ingress].clone()));
        assert_eq!(due(&known, 500).len(), 12);
    }

    #[test]
    fn a_status_is_compared_whoever_wrote_it() {
        let desired = by_kind(&BTreeSet::from([
            Address::new("edge.example.com"),
            Address::new("10.0.0.1"),
        ]));
        let status = serde_json::json!({"loadBalancer": {"ingress": [
            {"hostname": "edge.example.com", "ports": [{"port": 80}]},
            {"ip": "10.0.0.1"},
        ]}, "conditions": []});
        assert_eq!(current(Kind::Ingress, &status).as_ref(), desired.get(&Kind::Ingress));
        let none = current(Kind::Ingress, &Value::Null);
        assert_eq!(none.as_ref(), by_kind(&BTreeSet::new()).get(&Kind::Ingress));
        assert_eq!(current(Kind::Service, &status), None);
    }
}
