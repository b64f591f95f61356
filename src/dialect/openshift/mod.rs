//! route.openshift.io/v1 Route, OpenShift's own rule for a host.

mod api;
mod decode;
mod headers;
mod object;
mod options;
mod read;
mod selector;
mod tls;
mod unclear;

use super::claimant::{Claimant, Context};
use super::decode::{Effect, Unknown};
use super::drop_in::Dialect;
use super::reading::{Reading, own_seniority};
use super::status::StatusRules;
use crate::model::object::{Meta, Secret};
use crate::model::{Annotations, Kind, Revision, Seniority};
pub(super) use decode::decode;
pub use object::{HeaderAction, Route, RouteActions, RouteTarget, RouteTls, TargetPort};
pub use options::RouteOptions;
pub use selector::Selector;
use std::sync::Arc;
pub(crate) use tls::{OWN_SECRET, SERVICE_CA};

/// A Route's status has a list that several routers write, each an entry of its own: see `status/routes.rs`.
pub(super) const STATUS: Option<StatusRules> = None;

impl Claimant for Route {
    fn kind(&self) -> Kind {
        Kind::Route
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn revision(&self) -> &Revision {
        &self.revision
    }

    /// Routes have no class: routers choose them by their labels.
    fn class(&self) -> Option<&str> {
        None
    }

    fn class_field(&self) -> String {
        "kind".to_owned()
    }

    fn own_dialect(&self) -> Option<Dialect> {
        Some(Dialect::OpenShift)
    }

    fn why_not(&self, options: &RouteOptions, namespace: Option<&Annotations>) -> Option<String> {
        options.why_not(&self.labels, namespace)
    }

    /// Of Routes that were made in one second, the one with the lesser UID comes first.
    fn seniority(&self) -> Seniority {
        let uid = self.revision.uid.chars().filter_map(|one| one.to_digit(16));
        let mut bytes = [0; 16];
        for (place, digit) in uid.take(32).enumerate() {
            let shift = if place % 2 == 0 { 4 } else { 0 };
            if let Some(byte) = bytes.get_mut(place / 2) {
                // A digit has four bits.
                *byte |= (digit as u8) << shift;
            }
        }
        Seniority {
            uid: bytes,
            ..own_seniority(&self.meta)
        }
    }

    fn hosts(&self) -> Vec<Arc<str>> {
        let of_domain = (&*self.wildcard_policy == "Subdomain").then(|| self.host.split_once('.'));
        match of_domain.flatten() {
            Some((_, domain)) => vec![format!("*.{domain}").into()],
            None => vec![self.host.clone()],
        }
    }

    fn read(&self, context: Context<'_>) -> Reading {
        read::read(self, context)
    }

    fn is_bare(&self) -> bool {
        self.targets.is_empty() && self.host.is_empty()
    }

    fn secret(&self) -> Option<Arc<Secret>> {
        tls::secret(self)
    }

    fn leave_out(&mut self, field: &Unknown) -> Effect {
        unclear::leave_out(self, field)
    }

    fn object(self: Arc<Self>) -> super::Object {
        super::Object::Route(self)
    }
}
