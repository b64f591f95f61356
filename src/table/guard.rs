//! What closes a route: a guard that its author asked for and that narthex does not enforce.

use crate::model::ObjectRef;
use std::fmt;

/// The name of the guard that an IngressClass has by its parameters.
pub const PARAMETERS: &str = "spec.parameters";

/// An annotation (or the parameters of an IngressClass) that restricts who may come in or what they may do, and that
/// narthex does not act on, or cannot for what its value is. To serve the route without it would open what is meant to be
/// guarded.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Guard {
    /// The object that carries it.
    pub object: ObjectRef,
    /// The annotation's name, [`PARAMETERS`], or the field of a path.
    pub name: Box<str>,
    /// Whether narthex acts on it, but not with the value that it has.
    pub invalid: bool,
}

impl Guard {
    /// Why the route is closed, with the guard.
    pub fn why(&self) -> String {
        if self.invalid {
            format!("narthex cannot read {self}")
        } else {
            format!("narthex does not enforce {self}")
        }
    }

    /// The field of the object, as diagnostics write it.
    pub fn field(&self) -> String {
        if &*self.name == PARAMETERS || self.name.starts_with("spec.rules[") {
            self.name.to_string()
        } else {
            format!("annotation {}", self.name)
        }
    }
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.field(), self.object)
    }
}
