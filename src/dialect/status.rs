//! What the status of an object should say: one pure function for each kind that has one.

use crate::model::Kind;
use crate::model::kind::with_kinds;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// An address by which clients reach narthex.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Address {
    Ip(IpAddr),
    Name(String),
}

impl Address {
    /// An address or a name, as a flag or the API has it.
    pub fn new(text: &str) -> Self {
        text.parse()
            .map_or_else(|_| Address::Name(text.to_owned()), Address::Ip)
    }
}

/// What narthex writes into the status of a kind's objects.
#[derive(Clone, Copy)]
pub(crate) struct StatusRules {
    /// What the status should say: the fields that narthex writes, and no others.
    pub desired: fn(&BTreeSet<Address>) -> Value,
    /// The same fields of a status as it is, in the same form.
    pub current: fn(&Value) -> Value,
    /// The class that an object names, as the API server has it; absent where it names none.
    pub class: fn(&Value) -> Option<&str>,
}

macro_rules! rules_by_kind {
    ($($kind:ident {
        plural: $plural:literal, short: $short:tt, versions: $versions:tt, scope: $scope:ident,
        watch: $watch:ident, events: $events:literal, metadata_only: $metadata_only:literal,
        $(decoder: $decoder:ident,)? $(dialect: $dialect:ident,)?
    })*) => {
        /// What narthex writes into the status of a kind; absent where it writes nothing.
        pub(crate) fn rules(kind: Kind) -> Option<StatusRules> {
            match kind {
                $($(Kind::$kind => super::$dialect::STATUS,)?)*
                _ => None,
            }
        }
    };
}
with_kinds!(rules_by_kind);

/// Addresses as `loadBalancer` fields have them: each entry has an `ip` or a `hostname`.
pub(super) fn load_balancer(addresses: &BTreeSet<Address>) -> Value {
    let entry = |address: &Address| match address {
        Address::Ip(ip) => json!({"ip": ip.to_string()}),
        Address::Name(name) => json!({"hostname": name}),
    };
    addresses.iter().map(entry).collect()
}

/// The addresses of such entries, in the order that ours have, whoever wrote them.
pub(super) fn addresses(entries: &Value) -> BTreeSet<Address> {
    let entries = entries.as_array().into_iter().flatten();
    let text = |entry: &Value| {
        let text = entry["ip"].as_str().or_else(|| entry["hostname"].as_str())?;
        Some(Address::new(text))
    };
    entries.filter_map(text).collect()
}
