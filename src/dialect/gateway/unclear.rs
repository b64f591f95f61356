//! What an unknown field of a Gateway API object leaves open.

use super::GatewayObject;
use crate::dialect::decode::{Effect, Unknown};
use crate::model::nearest::is_near;

/// Says whether an object is left out because of an unknown field: what is misspelled must not make it be for more than
/// is meant.
pub(in crate::dialect) fn leave_out(object: &GatewayObject, field: &Unknown) -> Effect {
    let (path, name) = (field.keys(), field.name());
    match (object, &*path) {
        (GatewayObject::Route(route), ["spec", _])
            if route.hostnames.is_empty() && near(name, &["hostnames", "hosts"]) =>
        {
            Effect::Object("without hostnames it would be for all hosts")
        }
        (GatewayObject::Route(_), ["spec", "rules", "[]", _]) if near(name, &["matches"]) => {
            Effect::Object("without matches a rule would be for all requests")
        }
        (GatewayObject::Route(_), ["spec", "rules", "[]", "matches", ..]) => {
            Effect::Object("a match without one of its conditions would be for more requests")
        }
        (GatewayObject::Route(_), ["spec", "rules", "[]", _] | ["spec", "rules", "[]", "backendRefs", "[]", _])
            if near(name, &["filters"]) =>
        {
            Effect::Object("without its filters a rule would do less than is meant")
        }
        (GatewayObject::Route(_), ["spec", "parentRefs", "[]", _]) => {
            Effect::Object("a parent without its section or port would be all listeners of a Gateway")
        }
        (GatewayObject::Gateway(_), ["spec", "listeners", "[]", "allowedRoutes", "namespaces", "selector", ..]) => {
            Effect::Object("a selector without one of its requirements would select more namespaces")
        }
        (GatewayObject::Gateway(_), ["spec", "listeners", "[]", _]) if near(name, &["hostname"]) => {
            Effect::Object("without a hostname a listener would be for all hosts")
        }
        (GatewayObject::Grant(_), ["spec", "to", "[]", _]) => {
            Effect::Object("without a name a grant would be for all objects of a kind")
        }
        _ => Effect::Ignored,
    }
}

fn near(name: &str, known: &[&str]) -> bool {
    let name = name.to_lowercase();
    known.iter().any(|known| is_near(&name, known) || name == *known)
}
