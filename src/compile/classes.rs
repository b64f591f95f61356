//! Which Ingresses are ours.

use super::{CONTROLLER, State};
use crate::model::object::Ingress;
use crate::model::object::OLD_CLASS;

/// The class an Ingress asks for: the field before the annotation; an empty annotation is none.
pub(super) fn class_of(ingress: &Ingress) -> Option<&str> {
    ingress
        .class
        .as_deref()
        .or_else(|| ingress.meta.annotations.get(OLD_CLASS).map(String::as_str))
        .filter(|class| !class.is_empty())
}

/// The field [`class_of`] reads, for diagnostics.
pub(super) fn class_field(ingress: &Ingress) -> String {
    if ingress.class.is_none() && ingress.meta.annotations.contains_key(OLD_CLASS) {
        format!("annotation {OLD_CLASS}")
    } else {
        "spec.ingressClassName".to_owned()
    }
}

impl State {
    /// Whether an Ingress is served here; the error says why not.
    ///
    /// A class another controller owns is never touched, even one named like `--ingress-class`.
    pub(super) fn serves(&self, ingress: &Ingress) -> Result<(), String> {
        let Some(class) = class_of(ingress) else {
            return if self.options.class_less {
                Ok(())
            } else {
                Err("it has no class, and --class-less=false excludes such Ingresses".to_owned())
            };
        };
        match self.classes.get(class) {
            Some(known) if known.controller == CONTROLLER => Ok(()),
            Some(known) => Err(format!(
                "its class \"{class}\" belongs to the controller \"{}\"",
                known.controller
            )),
            None if class == self.options.ingress_class => Ok(()),
            None => Err(format!(
                "its class \"{class}\" is neither an IngressClass of {CONTROLLER} nor --ingress-class ({})",
                self.options.ingress_class
            )),
        }
    }
}
