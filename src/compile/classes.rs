//! Which objects are ours.

use super::{CONTROLLER, State};
use crate::dialect::Dialect;
use crate::dialect::claimant::Claimant;

impl State {
    /// By whose rules an object is served here; the error says why it is not.
    ///
    /// A class another controller owns is never touched, even one named like `--ingress-class`.
    pub(super) fn serves(&self, claimant: &dyn Claimant) -> Result<Dialect, String> {
        if let Some(dialect) = claimant.own_dialect() {
            let namespace = self.namespaces.get(&claimant.meta().namespace);
            if !self.options.drop_in.contains(&dialect) {
                return Err(format!("a {} needs --drop-in {}", claimant.kind(), dialect.flag()));
            }
            let why_not = claimant.why_not(&self.options.routes, namespace.map(|known| &known.labels));
            return why_not.map_or(Ok(dialect), Err);
        }
        let Some(class) = claimant.class() else {
            return if self.options.class_less {
                Ok(Dialect::Narthex)
            } else {
                Err("it has no class, and --class-less=false excludes such Ingresses".to_owned())
            };
        };
        let drop_in = |is: &dyn Fn(Dialect) -> bool| self.options.drop_in.iter().copied().find(|one| is(*one));
        let of_controller = |controller: &str| drop_in(&|one| one.controller() == Some(controller));
        match self.classes.get(class) {
            Some(known) if known.controller == CONTROLLER => Ok(Dialect::Narthex),
            Some(known) => of_controller(&known.controller).ok_or_else(|| {
                format!(
                    "its class \"{class}\" belongs to the controller \"{}\"",
                    known.controller
                )
            }),
            None if class == self.options.ingress_class => Ok(Dialect::Narthex),
            None => drop_in(&|one| one.class() == Some(class)).ok_or_else(|| {
                format!(
                    "its class \"{class}\" is neither an IngressClass of {CONTROLLER} nor --ingress-class ({})",
                    self.options.ingress_class
                )
            }),
        }
    }
}
