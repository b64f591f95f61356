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

/// The next writes: objects whose status differs from what it should be, newest first, up to a limit.
/// Whoever has just made one waits for it; all others can be a little late.
pub fn next<'s>(
    served: impl Iterator<Item = &'s Arc<Served>>,
    known: &HashMap<ObjectRef, Value>,
    desired: &BTreeMap<Kind, Value>,
    most: usize,
) -> Vec<&'s Arc<Served>> {
    let differs = |object: &ObjectRef| {
        let Some(desired) = desired.get(&object.kind) else {
            return false;
        };
        match known.get(object) {
            Some(known) => known != desired,
            None => current(object.kind, &Value::Null).as_ref() != Some(desired),
        }
    };
    let mut due: Vec<_> = served.filter(|served| differs(&served.object)).collect();
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
            known.insert(object(&format!("i{index:03}")), desired[&Kind::Ingress].clone());
        }
        assert_eq!(due(&known, 3)[0], object("i009"));
        assert_eq!(due(&known, 50).len(), 10);
        known.insert(object("i050"), shown(&["10.0.0.1"]));
        assert_eq!(due(&known, 1), [object("i050")]);
        // What is not ours is left alone, whatever it says.
        known.insert(object("theirs"), shown(&["10.9.9.9"]));
        assert_eq!(due(&known, 500).len(), 11);
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
