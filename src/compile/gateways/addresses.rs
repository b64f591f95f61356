//! Which addresses Gateways have: those that they share with the flags, or some of `--gateway-addresses` for themselves.

use super::listeners::Why;
use crate::compile::State;
use crate::dialect::gateway::Gateway;
use crate::model::ObjectRef;
use crate::table::AddressPool;
use std::collections::{BTreeMap, HashSet};
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
    /// Gives addresses to Gateways, which come in the order of their age: first those that they name, then any that is free.
    /// A Gateway keeps what its status says, and where nobody writes statuses what it had before.
    pub(super) fn place_gateways<'g>(&'g self, gateways: &'g [(&'g Gateway, ObjectRef)]) -> Vec<Placed> {
        let pool = &self.options.gateway_addresses;
        let wishes: Vec<Wish> = gateways.iter().map(|(gateway, _)| wish(gateway, pool)).collect();
        let mut taken: HashSet<IpAddr> = HashSet::new();
        let mut placed: Vec<Placed> = Vec::new();
        for wish in &wishes {
            let mut unusable = wish.unusable.clone();
            let mut own = Vec::new();
            for address in wish.values.iter().filter(|_| wish.refused.is_none()) {
                if taken.insert(*address) {
                    own.push(*address);
                } else if !own.contains(address) {
                    unusable.get_or_insert(("AddressNotUsable", format!("an older Gateway has {address}")));
                }
            }
            placed.push(Placed {
                place: Place::Own(own),
                refused: wish.refused.clone(),
                unusable,
            });
        }
        let mut free = pool.hosts();
        // Those that have an address come before those that need one.
        let needs = |new: bool| {
            let all = gateways.iter().zip(&wishes).enumerate();
            all.filter(|(_, (_, wish))| wish.any && wish.refused.is_none() && !pool.is_empty())
                .filter(move |(_, (known, _))| self.had(known).is_empty() == new)
                .map(|(place, (known, _))| (place, known))
                .collect::<Vec<_>>()
        };
        for (index, known) in needs(false).into_iter().chain(needs(true)) {
            let is_free = |address: &IpAddr| pool.contains(*address) && !taken.contains(address);
            let kept = self.had(known).iter().copied().find(|address| is_free(address));
            let found = kept.or_else(|| free.find(|address| !taken.contains(address)));
            let Some(Placed { place, unusable, .. }) = placed.get_mut(index) else {
                continue;
            };
            match (found, place) {
                (Some(address), Place::Own(own)) => {
                    taken.insert(address);
                    own.push(address);
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
        if !gateway.had.is_empty() {
            return &gateway.had;
        }
        self.gateways.given.get(object).map(Vec::as_slice).unwrap_or_default()
    }
}

/// The addresses of Gateways, to be kept.
pub(super) type Given = BTreeMap<ObjectRef, Vec<IpAddr>>;
