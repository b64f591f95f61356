//! What a field that does not exist leaves open. Most are ignored, and said. But where something that narrows what an
//! object means is missing, and an unknown field stands where it belongs, the object, the rule or the path is left out:
//! what was meant may be less than what would be served.

use super::fields::{Step, Unknown};
use super::{DecodeError, failure};
use crate::model::diagnostic::shortened;
use crate::model::nearest::is_near;
use crate::model::object::{Ingress, OLD_CLASS};
use crate::model::{Code, Diagnostic, Object, ObjectRef};
use std::sync::Arc;

/// What becomes of an unknown field.
enum Effect {
    /// It is ignored.
    Ignored,
    /// This rule is left out.
    Rule(usize),
    /// This path of it is.
    Path(usize, usize),
    /// So is the whole object; says why.
    Object(&'static str),
}

/// Leaves out of an object what its unknown fields leave open, and says what becomes of each.
///
/// # Errors
/// When that is all of it.
pub fn leave_out(
    object: &mut Object,
    reference: &ObjectRef,
    unknown: Vec<Unknown>,
) -> Result<Vec<Diagnostic>, DecodeError> {
    let mut said = Vec::with_capacity(unknown.len());
    for field in &unknown {
        let (code, ending) = match effect(object, field) {
            Effect::Ignored => (Code::UnknownField, "so it is ignored"),
            Effect::Rule(rule) => {
                edit(object, |ingress| {
                    if let Some(rule) = ingress.rules.get_mut(rule) {
                        rule.unclear = true;
                    }
                });
                (
                    Code::InvalidObject,
                    "so the rule is left out: what it is for cannot be known",
                )
            }
            Effect::Path(rule, path) => {
                edit(object, |ingress| {
                    let paths = ingress.rules.get_mut(rule).and_then(|rule| rule.paths.as_mut());
                    if let Some(path) = paths.and_then(|paths| paths.get_mut(path)) {
                        path.unclear = true;
                    }
                });
                (
                    Code::InvalidObject,
                    "so the path is left out: what it is for cannot be known",
                )
            }
            Effect::Object(why) => {
                let message = format!(
                    "there is no such field, and {why}, so the object is not used{}",
                    field.hint()
                );
                return Err(failure(Some(reference.clone()), &field.field(), message));
            }
        };
        said.push(Diagnostic {
            object: Some(reference.clone()),
            field: shortened(field.field()),
            code,
            message: shortened(format!("there is no such field{}, {ending}", field.hint())),
            location: None,
        });
    }
    Ok(said)
}

fn edit(object: &mut Object, change: impl FnOnce(&mut Ingress)) {
    if let Object::Ingress(ingress) = object {
        change(Arc::make_mut(ingress));
    }
}

fn effect(object: &Object, field: &Unknown) -> Effect {
    let path: Vec<&str> = field
        .path
        .iter()
        .map(|step| match step {
            Step::Key(key) => key.as_str(),
            Step::Index(_) => "[]",
        })
        .collect();
    let index = |at: usize| match field.path.get(at) {
        Some(Step::Index(index)) => *index,
        _ => usize::MAX,
    };
    let name = field.name();
    let meta = object.meta();
    // At the top, in the metadata or in the spec.
    let outermost = matches!(*path, [_] | ["metadata" | "spec", _]);
    if outermost && is_near(name, "annotations") {
        return Effect::Object("annotations may say who may come in");
    }
    if matches!(*path, [_] | ["metadata", _]) && (is_near(name, "namespace") || name == "ns") {
        return Effect::Object("without it the object would be in the namespace \"default\"");
    }
    let Object::Ingress(ingress) = object else {
        return Effect::Ignored;
    };
    let classless = ingress.class.as_deref().is_none_or(str::is_empty) && !meta.annotations.contains_key(OLD_CLASS);
    if outermost && classless && name.to_lowercase().contains("class") {
        return Effect::Object("an Ingress without a class may be another controller's");
    }
    let rule = |at: usize| ingress.rules.get(at);
    let hostless = |at: usize| rule(at).is_some_and(|rule| rule.host.as_deref().is_none_or(str::is_empty));
    let pathless = |at: usize| rule(at).is_some_and(|rule| rule.paths.as_ref().is_none_or(Vec::is_empty));
    match *path {
        // The default backend of an Ingress without rules is that of all hosts.
        [_] | ["spec", _] if ingress.rules.is_empty() && ingress.default_backend.is_some() => {
            Effect::Object("without rules its default backend would be that of all hosts")
        }
        [_] | ["spec", _] if means_host(name) && (0..ingress.rules.len()).any(hostless) => {
            Effect::Object("a rule without a host would be for all hosts")
        }
        ["spec", "rules", _, _] if hostless(index(2)) || pathless(index(2)) => Effect::Rule(index(2)),
        ["spec", "rules", _, "http", _] if pathless(index(2)) => Effect::Rule(index(2)),
        ["spec", "rules", _, "http", _] | ["spec", "rules", _, "http", "paths", _, _]
            if means_host(name) && hostless(index(2)) =>
        {
            Effect::Rule(index(2))
        }
        ["spec", "rules", _, "http", "paths", _, _] => {
            let paths = rule(index(2)).and_then(|rule| rule.paths.as_ref());
            let Some(path) = paths.and_then(|paths| paths.get(index(5))) else {
                return Effect::Ignored;
            };
            let no_path = path.path.as_deref().is_none_or(str::is_empty);
            let no_type = path.path_type.as_deref().is_none_or(str::is_empty);
            if no_path || (no_type && is_near(name, "pathType")) {
                Effect::Path(index(2), index(5))
            } else {
                Effect::Ignored
            }
        }
        _ => Effect::Ignored,
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
