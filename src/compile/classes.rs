//! Which objects are ours.

use super::{CONTROLLER, State};
use crate::dialect::claimant::Claimant;

impl State {
    /// Whether an object is served here; the error says why not.
    ///
    /// A class another controller owns is never touched, even one named like `--ingress-class`.
    pub(super) fn serves(&self, claimant: &dyn Claimant) -> Result<(), String> {
        let Some(class) = claimant.class() else {
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
