//! What an unknown field of a Route leaves open.

use super::Route;
use crate::dialect::decode::{Effect, Unknown};
use crate::model::nearest::is_near;

/// Says whether a Route is left out because of an unknown field.
pub(super) fn leave_out(route: &Route, field: &Unknown) -> Effect {
    let (path, name) = (field.keys(), field.name().to_lowercase());
    let in_spec = matches!(*path, [_] | ["spec", _]);
    if in_spec && route.path.is_empty() && is_near(&name, "path") {
        return Effect::Object("without a path it would be for all paths of its host");
    }
    if in_spec && route.host.is_empty() && (is_near(&name, "host") || name.contains("hostname")) {
        return Effect::Object("without a host it would get one that is made of its name");
    }
    if in_spec && route.tls.is_none() && is_near(&name, "tls") {
        return Effect::Object("without tls it would be served in plain");
    }
    if matches!(*path, ["spec", "tls", _]) && route.tls.as_ref().is_some_and(|tls| tls.termination.is_empty()) {
        return Effect::Object("without a termination nobody knows where TLS ends");
    }
    Effect::Ignored
}
