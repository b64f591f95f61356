//! What an unknown field of an Ingress leaves open.

use super::Ingress;
use crate::dialect::decode::{Effect, Unknown};
use crate::model::nearest::is_near;
use crate::model::object::OLD_CLASS;

/// What is left out.
enum LeftOut {
    Nothing,
    Rule(usize),
    /// A path of a rule.
    Path(usize, usize),
    /// The whole object; says why.
    All(&'static str),
}

/// Leaves out what an unknown field leaves open.
pub(super) fn leave_out(ingress: &mut Ingress, field: &Unknown) -> Effect {
    match left_out(ingress, field) {
        LeftOut::Nothing => Effect::Ignored,
        LeftOut::All(why) => Effect::Object(why),
        LeftOut::Rule(rule) => {
            if let Some(rule) = ingress.rules.get_mut(rule) {
                rule.unclear = true;
            }
            Effect::Part("rule")
        }
        LeftOut::Path(rule, path) => {
            let paths = ingress.rules.get_mut(rule).and_then(|rule| rule.paths.as_mut());
            if let Some(path) = paths.and_then(|paths| paths.get_mut(path)) {
                path.unclear = true;
            }
            Effect::Part("path")
        }
    }
}

fn left_out(ingress: &Ingress, field: &Unknown) -> LeftOut {
    let (path, name) = (field.keys(), field.name());
    let outermost = matches!(*path, [_] | ["metadata" | "spec", _]);
    let index = |at| field.index(at);
    let meta = &ingress.meta;
    let classless = ingress.class.as_deref().is_none_or(str::is_empty) && !meta.annotations.contains_key(OLD_CLASS);
    if outermost && classless && name.to_lowercase().contains("class") {
        return LeftOut::All("an Ingress without a class may be another controller's");
    }
    let rule = |at: usize| ingress.rules.get(at);
    let hostless = |at: usize| rule(at).is_some_and(|rule| rule.host.as_deref().is_none_or(str::is_empty));
    let pathless = |at: usize| rule(at).is_some_and(|rule| rule.paths.as_deref().is_none_or(<[_]>::is_empty));
    match *path {
        // The default backend of an Ingress without rules is that of all hosts.
        [_] | ["spec", _] if ingress.rules.is_empty() && ingress.default_backend.is_some() => {
            LeftOut::All("without rules its default backend would be that of all hosts")
        }
        [_] | ["spec", _] if means_host(name) && (0..ingress.rules.len()).any(hostless) => {
            LeftOut::All("a rule without a host would be for all hosts")
        }
        ["spec", "rules", _, _] if hostless(index(2)) || pathless(index(2)) => LeftOut::Rule(index(2)),
        ["spec", "rules", _, "http", _] if pathless(index(2)) => LeftOut::Rule(index(2)),
        ["spec", "rules", _, "http", _] | ["spec", "rules", _, "http", "paths", _, _]
            if means_host(name) && hostless(index(2)) =>
        {
            LeftOut::Rule(index(2))
        }
        ["spec", "rules", _, "http", "paths", _, _] => {
            let paths = rule(index(2)).and_then(|rule| rule.paths.as_ref());
            let Some(path) = paths.and_then(|paths| paths.get(index(5))) else {
                return LeftOut::Nothing;
            };
            let no_path = path.path.as_deref().is_none_or(str::is_empty);
            let no_type = path.path_type.as_deref().is_none_or(str::is_empty);
            if no_path || (no_type && is_near(name, "pathType")) {
                LeftOut::Path(index(2), index(5))
            } else {
                LeftOut::Nothing
            }
        }
        _ => LeftOut::Nothing,
    }
}

/// Whether a name says that its value is a host.
fn means_host(name: &str) -> bool {
    let name = name.to_lowercase();
    is_near(&name, "host")
        || ["host", "domain", "fqdn", "servername"]
            .iter()
            .any(|word| name.contains(word))
}
