//! networking.k8s.io/v1 Ingress, and its older versions.

mod decode;
mod legacy;
mod object;
mod read;
mod unclear;

use super::claimant::{Claimant, Context};
use super::decode::{Effect, Unknown};
use super::reading::Reading;
use super::status::{StatusRules, addresses, load_balancer};
use crate::model::object::{Meta, OLD_CLASS};
use crate::model::{Kind, Revision};
pub(super) use decode::decode;
pub use object::{Ingress, IngressBackend, IngressPath, IngressRule, IngressTls, Resource};
use serde_json::json;
use std::sync::Arc;

/// An Ingress shows the addresses by which it is reached.
pub(super) const STATUS: Option<StatusRules> = Some(StatusRules {
    desired: |addresses| json!({"loadBalancer": {"ingress": load_balancer(addresses)}}),
    current: |status| json!({"loadBalancer": {"ingress": load_balancer(&addresses(&status["loadBalancer"]["ingress"]))}}),
    class: |object| {
        let field = object["spec"]["ingressClassName"].as_str();
        let class = field.or_else(|| object["metadata"]["annotations"][OLD_CLASS].as_str());
        class.filter(|class| !class.is_empty())
    },
});

impl Claimant for Ingress {
    fn kind(&self) -> Kind {
        Kind::Ingress
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn revision(&self) -> &Revision {
        &self.revision
    }

    /// The field comes before the annotation. An empty annotation names no class.
    fn class(&self) -> Option<&str> {
        self.class
            .as_deref()
            .or_else(|| self.meta.annotations.get(OLD_CLASS))
            .filter(|class| !class.is_empty())
    }

    fn class_field(&self) -> String {
        if self.class.is_none() && self.meta.annotations.contains_key(OLD_CLASS) {
            format!("annotation {OLD_CLASS}")
        } else {
            "spec.ingressClassName".to_owned()
        }
    }

    fn hosts(&self) -> Vec<Arc<str>> {
        let hosts = self.rules.iter().map(|rule| rule.host.clone().unwrap_or_default());
        hosts.collect()
    }

    fn read(&self, context: Context<'_>) -> Reading {
        read::read(self, context)
    }

    fn is_bare(&self) -> bool {
        self.rules.is_empty() && self.default_backend.is_none()
    }

    fn leave_out(&mut self, field: &Unknown) -> Effect {
        unclear::leave_out(self, field)
    }

    fn object(self: Arc<Self>) -> super::Object {
        super::Object::Ingress(self)
    }
}
