//! Which addresses Gateways have: those that they share with the flags, or some of `--gateway-addresses` for themselves.

use super::listeners::Why;
use crate::compile::State;
use crate::dialect::gateway::Gateway;
use crate::model::ObjectRef;
use crate::table::AddressPool;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

/// Where a Gateway is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// At the addresses of the flags, beside others and Ingresses.
    Shared,
    /// At these, which nobody else has.
    Own(Vec<IpAddr>),
    Nowhere,
}

impl Place {
    /// The Gateway's own addresses.
    pub fn own(&self) -> &[IpAddr] {
        match self {
            Self::Own(addresses) => addresses,
            Self::Shared | Self::Nowhere => &[],
        }
    }
}

/// What a Gateway gets of the addresses that it asks for.
pub(super) struct Placed {
    pub place: Place,
    /// Why it is not accepted.
    pub refused: Option<Why>,
    /// Why it does not have all that it asks for.
    pub unusable: Option<Why>,
}

/// What a Gateway asks for.
#[derive(Default)]
struct Wish {
    values: Vec<IpAddr>,
    /// Whether it takes any address that is free.
    any: bool,
    refused: Option<Why>,
    unusable: Option<Why>,
}

const IP_ADDRESS: &str = "IPAddress";

fn wish(gateway: &Gateway, pool: &AddressPool) -> Wish {
    let mut wish = Wish {
        any: gateway.addresses.is_empty(),
        ..Wish::default()
    };
    for (index, asked) in gateway.addresses.iter().enumerate() {
        let kind = asked.kind.as_deref().unwrap_or(IP_ADDRESS);
        if kind != IP_ADDRESS {
            let why = format!(
                "spec.addresses[{index}] is of the type \"{kind}\", and narthex has addresses of the type {IP_ADDRESS} only"
            );
            wish.refused.get_or_insert(("UnsupportedAddress", why));
            continue;
        }
        let Some(value) = asked.value.as_deref().filter(|value| !value.is_empty()) else {
            wish.any = true;
            continue;
        };
        let mut unusable = |why: String| {
            wish.unusable.get_or_insert(("AddressNotUsable", why));
        };
        match value.parse::<IpAddr>() {
            _ if pool.is_empty() => {
                unusable(format!(
                    "narthex has no addresses for Gateways alone, so it cannot have {value}: --gateway-addresses names some"
                ));
            }
            Ok(address) if pool.contains(address) => wish.values.push(address.to_canonical()),
            Ok(_) => unusable(format!("{value} is not one of --gateway-addresses")),
            Err(_) => unusable(format!("\"{value}\" is not an IP address")),
        }
    }
    wish
}

impl State {
    /// Gives addresses to Gateways, which come in the order of their age and with what keeps them from being accepted. A Gateway
    /// keeps what it has: otherwise whoever names an address would get the clients of another one. After that come the addresses
    /// that Gateways name, and then any that is free.
    pub(super) fn place_gateways<'g>(
        &'g self,
        gateways: &'g [(&'g Gateway, ObjectRef)],
        refused: &[bool],
    ) -> Vec<Placed> {
        let pool = &self.options.gateway_addresses;
        let mut wishes: Vec<Wish> = gateways.iter().map(|(gateway, _)| wish(gateway, pool)).collect();
        for (wish, is_refused) in wishes.iter_mut().zip(refused) {
            if *is_refused || wish.refused.is_some() {
                (wish.values, wish.any) = (Vec::new(), false);
            }
        }
        let mut taken: HashMap<IpAddr, usize> = HashMap::new();
        // Those of the flags are Ingresses'.
        let flags = self.options.listeners.iter();
        taken.extend(flags.map(|listener| (listener.address.ip(), usize::MAX)));
        for (index, (known, wish)) in gateways.iter().zip(&wishes).enumerate() {
            let had = self.had(known).iter();
            let kept = had.filter(|address| pool.contains(**address) && (wish.any || wish.values.contains(address)));
            for address in kept.take(if wish.any { 1 } else { usize::MAX }) {
                taken.entry(*address).or_insert(index);
            }
        }
        let mut placed: Vec<Placed> = Vec::new();
        for (index, wish) in wishes.iter().enumerate() {
            let mut unusable = wish.unusable.clone();
            let mut own = Vec::new();
            for address in &wish.values {
                let holder = *taken.entry(*address).or_insert(index);
                if holder != index {
                    let whose = match gateways.get(holder) {
                        Some((_, other)) => other.to_string(),
                        None => "a flag of narthex".to_owned(),
                    };
                    unusable.get_or_insert(("AddressNotUsable", format!("{whose} has {address}")));
                } else if !own.contains(address) {
                    own.push(*address);
                }
            }
            placed.push(Placed {
                place: Place::Own(own),
                refused: wish.refused.clone(),
                unusable,
            });
        }
        let mut free = pool.hosts();
        for (index, (known, Placed { place, unusable, .. })) in gateways.iter().zip(&mut placed).enumerate() {
            if pool.is_empty() || !wishes.get(index).is_some_and(|wish| wish.any) {
                continue;
            }
            // What it keeps is its own already.
            let mut kept = self.had(known).iter().copied();
            let kept = kept.find(|address| taken.get(address) == Some(&index));
            let found = kept.or_else(|| free.find(|address| !taken.contains_key(address)));
            match (found, place) {
                (Some(address), Place::Own(own)) => {
                    taken.insert(address, index);
                    if !own.contains(&address) {
                        own.push(address);
                    }
                }
                _ => {
                    let why = "all of --gateway-addresses are taken".to_owned();
                    unusable.get_or_insert(("AddressNotAssigned", why));
                }
            }
        }
        for (placed, (gateway, _)) in placed.iter_mut().zip(gateways) {
            if placed.place.own().is_empty() {
                let is_shared = pool.is_empty() && gateway.addresses.iter().all(|asked| asked.value.is_none());
                placed.place = if is_shared { Place::Shared } else { Place::Nowhere };
            }
        }
        placed
    }

    /// The addresses that a Gateway had so far.
    fn had<'g>(&'g self, (gateway, object): &'g (&'g Gateway, ObjectRef)) -> &'g [IpAddr] {
        // What stands there may be from a time without these addresses.
        let pool = &self.options.gateway_addresses;
        if gateway.had.iter().any(|address| pool.contains(*address)) {
            return &gateway.had;
        }
        self.gateways.given.get(object).map(Vec::as_slice).unwrap_or_default()
    }
}

/// The addresses of Gateways, to be kept.
pub(super) type Given = BTreeMap<ObjectRef, Vec<IpAddr>>;
