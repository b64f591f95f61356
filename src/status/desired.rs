//! What the status of Ingresses should be, and what of that is to be written next. No clock, no network.

use crate::model::ObjectRef;
use crate::table::Served;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

/// An address by which clients reach Ingresses: one entry of `status.loadBalancer.ingress`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Address {
    /// `ip`.
    Ip(IpAddr),
    /// `hostname`.
    Name(String),
}

impl Address {
    /// An address or a name, as a flag or the API has it.
    pub fn new(text: &str) -> Self {
        text.parse()
            .map_or_else(|_| Address::Name(text.to_owned()), Address::Ip)
    }
}

impl From<&Address> for serde_json::Value {
    fn from(address: &Address) -> Self {
        match address {
            Address::Ip(ip) => serde_json::json!({"ip": ip.to_string()}),
            Address::Name(name) => serde_json::json!({"hostname": name}),
        }
    }
}

/// The next writes: Ingresses whose status differs from what it should be, newest first, up to a limit.
/// Whoever has just made one waits for it; all others can be a little late.
pub fn next<'s>(
    served: impl Iterator<Item = &'s Arc<Served>>,
    known: &HashMap<ObjectRef, BTreeSet<Address>>,
    addresses: &BTreeSet<Address>,
    most: usize,
) -> Vec<&'s Arc<Served>> {
    let nothing = BTreeSet::new();
    let differs = |object: &ObjectRef| known.get(object).unwrap_or(&nothing) != addresses;
    let mut due: Vec<_> = served.filter(|ingress| differs(&ingress.object)).collect();
    let order = |ingress: &&Arc<Served>| (std::cmp::Reverse(ingress.created.0), ingress.object.clone());
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
    use crate::model::{Kind, Revision, Timestamp};

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
                })
            })
            .collect();
        let addresses = BTreeSet::from([Address::new("10.0.0.1"), Address::new("edge.example.com")]);
        let mut known: HashMap<_, _> = HashMap::new();
        let due = |known: &HashMap<_, _>, most| -> Vec<ObjectRef> {
            let due = next(served.iter(), known, &addresses, most);
            due.into_iter().map(|ingress| ingress.object.clone()).collect()
        };
        assert_eq!(due(&known, 3), [object("i099"), object("i098"), object("i097")]);
        for index in 10..100 {
            known.insert(object(&format!("i{index:03}")), addresses.clone());
        }
        assert_eq!(due(&known, 3)[0], object("i009"));
        assert_eq!(due(&known, 50).len(), 10);
        known.insert(object("i050"), BTreeSet::from([Address::new("10.0.0.1")]));
        assert_eq!(due(&known, 1), [object("i050")]);
        // What is not ours is left alone, whatever it says.
        known.insert(object("theirs"), BTreeSet::from([Address::new("10.9.9.9")]));
        assert_eq!(due(&known, 500).len(), 11);
    }
}
