//! The statuses of all objects, as narthex wants them to be: pure, without addresses and times, which whoever writes them
//! adds. `check --statuses` prints them.

use super::addresses::Place;
use super::attach::AtParent;
use super::listeners::{Seen, SeenListener, Why, class_refused};
use super::rules::RulePlan;
use crate::dialect::gateway::{GATEWAY_CONTROLLER, GROUP, GatewayClass, GatewayRoute};
use serde_json::{Value, json};

/// The features of Gateway API that a GatewayClass of ours has, sorted.
const FEATURES: &[&str] = &[
    "GRPCRoute",
    "GRPCRouteNamedRouteRule",
    "Gateway",
    "GatewayAddressEmpty",
    "GatewayHTTPListenerIsolation",
    "GatewayHTTPSListenerDetectMisdirectedRequests",
    "GatewayPort8080",
    "GatewayRouteHostnameIntersectionPrecedence",
    "GatewayStaticAddresses",
    "HTTPRoute",
    "HTTPRoute303RedirectStatusCode",
    "HTTPRoute307RedirectStatusCode",
    "HTTPRoute308RedirectStatusCode",
    "HTTPRouteBackendProtocolH2C",
    "HTTPRouteBackendProtocolWebSocket",
    "HTTPRouteBackendRequestHeaderModification",
    "HTTPRouteBackendTimeout",
    "HTTPRouteBackendURLRewrite",
    "HTTPRouteDestinationPortMatching",
    "HTTPRouteHostRewrite",
    "HTTPRouteMethodMatching",
    "HTTPRouteNamedRouteRule",
    "HTTPRouteParentRefPort",
    "HTTPRoutePathRedirect",
    "HTTPRoutePathRewrite",
    "HTTPRoutePortRedirect",
    "HTTPRouteQueryParamMatching",
    "HTTPRouteRequestMirror",
    "HTTPRouteRequestMultipleMirrors",
    "HTTPRouteRequestPercentageMirror",
    "HTTPRouteRequestTimeout",
    "HTTPRouteResponseHeaderModification",
    "HTTPRouteSchemeRedirect",
    "ReferenceGrant",
    "TCPRoute",
    "TLSRoute",
    "TLSRouteModeMixed",
    "TLSRouteModeTerminate",
];

/// Those that need addresses for Gateways alone.
const OF_POOL: &[&str] = &["GatewayAddressEmpty", "GatewayStaticAddresses"];

/// The longest message of a condition, in bytes: the API allows 32,768 characters, and nobody reads as many.
const LONGEST: usize = 1024;

fn condition(kind: &str, is_so: bool, (reason, message): (&str, &str), generation: i64) -> Value {
    let end = message.floor_char_boundary(LONGEST);
    json!({
        "type": kind,
        "status": if is_so { "True" } else { "False" },
        "reason": reason,
        "message": message.get(..end).unwrap_or_default(),
        "observedGeneration": generation,
    })
}

/// A condition that is true unless something speaks against it.
fn unless(kind: &str, why: Option<&Why>, otherwise: &'static str, generation: i64) -> Value {
    match why {
        Some((reason, message)) => condition(kind, false, (reason, message), generation),
        None => condition(kind, true, (otherwise, ""), generation),
    }
}

/// `has_pool` says whether there are addresses for Gateways alone.
pub(super) fn class(class: &GatewayClass, has_pool: bool) -> Value {
    let accepted = unless(
        "Accepted",
        class_refused(class).as_ref(),
        "Accepted",
        class.revision.generation,
    );
    let features: Vec<Value> = (FEATURES.iter())
        .filter(|name| has_pool || !OF_POOL.contains(name))
        .map(|name| json!({"name": name}))
        .collect();
    json!({"conditions": [accepted], "supportedFeatures": features})
}

pub(super) fn gateway(seen: &Seen<'_>) -> Value {
    let generation = seen.gateway.revision.generation;
    let good = seen.listeners.iter().filter(|listener| listener.is_served()).count();
    let is_all = good == seen.listeners.len() && seen.listeners.iter().all(|listener| listener.unresolved.is_none());
    let accepted = match &seen.refused {
        Some((reason, why)) => condition("Accepted", false, (reason, why), generation),
        None if is_all => condition("Accepted", true, ("Accepted", ""), generation),
        // One good listener is enough.
        None => {
            let why = match good == seen.listeners.len() {
                true => "its listeners are served, but something that they refer to cannot be used",
                false => "not all of its listeners can be served",
            };
            condition("Accepted", good > 0, ("ListenersNotValid", why), generation)
        }
    };
    let programmed = match (&seen.refused, &seen.unusable) {
        (Some((_, why)), _) => condition("Programmed", false, ("Invalid", why), generation),
        (None, Some((reason, why))) => condition("Programmed", false, (reason, why), generation),
        (None, None) if good > 0 => condition("Programmed", true, ("Programmed", ""), generation),
        (None, None) => {
            let why = "none of its listeners can be served";
            condition("Programmed", false, ("Invalid", why), generation)
        }
    };
    let is_served = seen.is_served();
    let listeners = seen.listeners.iter().map(|one| listener(one, is_served, generation));
    let listeners: Vec<Value> = listeners.collect();
    let mut status = json!({"conditions": [accepted, programmed], "listeners": listeners});
    // Those that are shared, whoever writes the status knows.
    if seen.place != Place::Shared {
        let own = seen.place.own().iter().filter(|_| is_served);
        status["addresses"] = own
            .map(|ip| json!({"type": "IPAddress", "value": ip.to_string()}))
            .collect();
    }
    status
}

fn listener(seen: &SeenListener<'_>, gateway_is_served: bool, generation: i64) -> Value {
    let against = seen.conflict.as_ref().or(seen.refused.as_ref());
    let accepted = unless("Accepted", against, "Accepted", generation);
    let conflicted = match &seen.conflict {
        Some((reason, why)) => condition("Conflicted", true, (reason, why), generation),
        None => condition("Conflicted", false, ("NoConflicts", ""), generation),
    };
    let resolved = match &seen.unresolved {
        Some((reason, why, _)) => condition("ResolvedRefs", false, (reason, why), generation),
        None => condition("ResolvedRefs", true, ("ResolvedRefs", ""), generation),
    };
    let programmed = match (against, seen.is_served() && gateway_is_served) {
        (_, true) => condition("Programmed", true, ("Programmed", ""), generation),
        // A conflict's reason is said here too.
        (Some((reason, why)), _) if seen.conflict.is_some() => {
            condition("Programmed", false, (reason, why), generation)
        }
        (Some((_, why)), _) => condition("Programmed", false, ("Invalid", why), generation),
        (None, _) => {
            let why = "it has no certificate, or its Gateway is not served";
            condition("Programmed", false, ("Invalid", why), generation)
        }
    };
    let kinds: Vec<Value> = seen
        .kinds
        .iter()
        .map(|kind| json!({"group": GROUP, "kind": kind}))
        .collect();
    json!({
        "name": seen.listener.name,
        "supportedKinds": kinds,
        "attachedRoutes": seen.attached,
        "conditions": [accepted, conflicted, programmed, resolved],
    })
}

pub(super) fn route(route: &GatewayRoute, parents: &[AtParent<'_>], rules: &[RulePlan]) -> Value {
    let generation = route.revision.generation;
    let unresolved = rules.iter().flat_map(|rule| &rule.unresolved).next();
    let unfit: Vec<String> = rules
        .iter()
        .enumerate()
        .filter_map(|(index, rule)| {
            let (field, why) = rule.unfit.first()?;
            Some(format!("rules[{index}].{field}: {why}"))
        })
        .collect();
    let parents = parents.iter().map(|at| {
        let accepted = unless("Accepted", at.refused.as_ref(), "Accepted", generation);
        let resolved = match unresolved {
            Some((_, (reason, why, _))) => condition("ResolvedRefs", false, (reason, why), generation),
            None => condition("ResolvedRefs", true, ("ResolvedRefs", ""), generation),
        };
        let mut conditions = vec![accepted, resolved];
        if at.refused.is_none() && !unfit.is_empty() {
            // Set only where it is so.
            let why = format!("Dropped Rule: {}: {}", route.refused("the rule"), unfit.join("; "));
            conditions.push(condition(
                "PartiallyInvalid",
                true,
                ("UnsupportedValue", &why),
                generation,
            ));
        }
        json!({
            "parentRef": at.parent.to_value(),
            "controllerName": GATEWAY_CONTROLLER,
            "conditions": conditions,
        })
    });
    let parents: Vec<Value> = parents.collect();
    json!({"parents": parents})
}
