//! What a field that does not exist leaves open. Most are ignored, and said. But where something that narrows what an
//! object means is missing, and an unknown field stands where it belongs, the object, the rule or the path is left out:
//! what was meant may be less than what would be served.

use super::fields::Unknown;
use super::{DecodeError, failure};
use crate::dialect::{Object, gateway};
use crate::model::diagnostic::shortened;
use crate::model::nearest::is_near;
use crate::model::{Code, Diagnostic, ObjectRef};

/// What becomes of an unknown field.
pub(crate) enum Effect {
    /// It is ignored.
    Ignored,
    /// A part of the object is left out: says which.
    Part(&'static str),
    /// The whole object is left out: says why.
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
            Effect::Ignored => (Code::UnknownField, "so it is ignored".to_owned()),
            Effect::Part(part) => (
                Code::InvalidObject,
                format!("so the {part} is left out: what it is for cannot be known"),
            ),
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

fn effect(object: &mut Object, field: &Unknown) -> Effect {
    let (path, name) = (field.keys(), field.name());
    // At the top, in the metadata or in the spec.
    let outermost = matches!(*path, [_] | ["metadata" | "spec", _]);
    if outermost && is_near(name, "annotations") {
        return Effect::Object("annotations may say who may come in");
    }
    if matches!(*path, [_] | ["metadata", _]) && (is_near(name, "namespace") || name == "ns") {
        return Effect::Object("without it the object would be in the namespace \"default\"");
    }
    if let Object::Gateways(object) = object {
        return gateway::leave_out(object, field);
    }
    let claimant = object.claimant_mut();
    claimant.map_or(Effect::Ignored, |claimant| claimant.leave_out(field))
}
