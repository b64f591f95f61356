//! What a name that does not exist was probably meant to be. Looking takes long where there are many objects, so only `check` does.

use super::{Key, State};
use crate::model::Code;
use crate::model::nearest::nearest;
use crate::model::object::{PortRef, Service};

impl State {
    /// The Service that was meant, in words for the end of a sentence.
    pub(super) fn meant_service(&self, namespace: &str, name: &str) -> String {
        self.meant(self.services.keys(), namespace, name, "Service")
            .unwrap_or_default()
    }

    /// That there is no such Secret, and which was meant.
    pub(super) fn no_secret(&self, namespace: &str, name: &str) -> (Code, String) {
        let meant = self.meant(self.secrets.keys(), namespace, name, "Secret");
        let code = if meant.is_some() {
            Code::SecretMisnamed
        } else {
            Code::SecretNotFound
        };
        let meant = meant.unwrap_or_default();
        (
            code,
            format!("Secret \"{name}\" does not exist in namespace \"{namespace}\"{meant}"),
        )
    }

    /// Whether a class that is not served is nearly one that is, and which.
    pub(super) fn meant_class(&self, class: &str) -> Option<String> {
        let known = std::iter::once(&*self.options.ingress_class);
        let meant = nearest(class, known).filter(|_| self.options.suggest)?;
        Some(format!(" (did you mean \"{meant}\"?)"))
    }

    fn meant<'k>(
        &self,
        known: impl Iterator<Item = &'k Key> + Clone,
        namespace: &str,
        name: &str,
        kind: &str,
    ) -> Option<String> {
        if !self.options.suggest {
            return None;
        }
        let beside = known.clone().filter(|(other, _)| **other == *namespace);
        if let Some(meant) = nearest(name, beside.map(|(_, name)| &**name)) {
            return Some(format!(" (did you mean \"{meant}\"?)"));
        }
        let elsewhere = known
            .filter(|(_, other)| **other == *name)
            .map(|(namespace, _)| namespace)
            .min()?;
        Some(format!(
            " (namespace \"{elsewhere}\" has one, but an object can only name a {kind} of its own namespace)"
        ))
    }

    /// The port of a Service that was meant.
    pub(super) fn meant_port(&self, service: &Service, port: &PortRef) -> String {
        if !self.options.suggest {
            return String::new();
        }
        match port {
            PortRef::Name(name) => {
                let names = service
                    .ports
                    .iter()
                    .map(|port| &*port.name)
                    .filter(|name| !name.is_empty());
                nearest(name, names).map_or_else(String::new, |meant| format!(" (did you mean \"{meant}\"?)"))
            }
            PortRef::Number(number) => {
                let meant = service
                    .ports
                    .iter()
                    .find(|port| port.target.map(i32::from) == Some(*number));
                meant.map_or_else(String::new, |meant| {
                    format!(
                        " ({number} is the targetPort: did you mean {}, the Service's own port?)",
                        meant.port
                    )
                })
            }
            _ => String::new(),
        }
    }
}
