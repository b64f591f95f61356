//! What the status of Ingresses should be, and what of that is to be written next. No clock, no network.

use crate::model::{Kind, ObjectRef, Timestamp};
use crate::table::Table;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

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

/// The Ingresses that the table serves, or that lost to another one there, with their ages.
pub fn served(table: &Table) -> HashMap<ObjectRef, Timestamp> {
    let mut served = HashMap::new();
    for route in table.routes() {
        served.insert(route.origin.object.clone(), route.created);
        for shadow in &route.shadows {
            served.entry(shadow.object.clone()).or_insert(Timestamp::UNKNOWN);
        }
    }
    served.retain(|object, _| object.kind == Kind::Ingress);
    served
}

/// What is to be written next: Ingresses whose status is another than it should be, the newest first, at most so many.
/// Whoever has just made one waits for it; all others can be a little late.
pub fn next<'s>(
    served: &'s HashMap<ObjectRef, Timestamp>,
    known: &HashMap<ObjectRef, BTreeSet<Address>>,
    addresses: &BTreeSet<Address>,
    most: usize,
) -> Vec<&'s ObjectRef> {
    let nothing = BTreeSet::new();
    let differs = |object: &ObjectRef| known.get(object).unwrap_or(&nothing) != addresses;
    let mut due: Vec<_> = served.iter().filter(|(object, _)| differs(object)).collect();
    let order = |(object, created): &(&ObjectRef, &Timestamp)| (std::cmp::Reverse(created.0), (*object).clone());
    if due.len() > most {
        due.select_nth_unstable_by_key(most, order);
        due.truncate(most);
    }
    due.sort_by_cached_key(order);
    due.into_iter().map(|(object, _)| object).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str) -> ObjectRef {
        ObjectRef::new(Kind::Ingress, "default", name)
    }

    #[test]
    fn the_newest_that_differ_come_first() {
        let served: HashMap<_, _> = (0..100)
            .map(|index| (object(&format!("i{index:03}")), Timestamp(index)))
            .collect();
        let addresses = BTreeSet::from([Address::new("10.0.0.1"), Address::new("edge.example.com")]);
        let mut known: HashMap<_, _> = HashMap::new();
        let first: Vec<_> = next(&served, &known, &addresses, 3);
        assert_eq!(first, [&object("i099"), &object("i098"), &object("i097")]);
        for index in 10..100 {
            known.insert(object(&format!("i{index:03}")), addresses.clone());
        }
        assert_eq!(next(&served, &known, &addresses, 3)[0], &object("i009"));
        assert_eq!(next(&served, &known, &addresses, 50).len(), 10);
        known.insert(object("i050"), BTreeSet::from([Address::new("10.0.0.1")]));
        assert_eq!(next(&served, &known, &addresses, 1), [&object("i050")]);
        // What is not ours is left alone, whatever it says.
        known.insert(object("theirs"), BTreeSet::from([Address::new("10.9.9.9")]));
        assert_eq!(next(&served, &known, &addresses, 500).len(), 11);
    }
}
