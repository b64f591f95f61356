//! What flags say of Routes.

use super::Route;
use super::selector::Selector;
use crate::model::Annotations;
use std::sync::Arc;

/// The flags about Routes.
#[derive(Clone, Debug, Default)]
pub struct RouteOptions {
    /// `--route-domain`: what the hosts of Routes without one are below.
    pub domain: Option<Arc<str>>,
    /// `--route-wildcards`: Routes may be for all hosts of a domain.
    pub wildcards: bool,
    /// `--route-labels`.
    pub labels: Selector,
    /// `--namespace-labels`.
    pub namespace_labels: Selector,
    /// `--route-ownership=any`: Routes of several namespaces may have paths of one host.
    pub any_namespace: bool,
    /// `--route-service-ca`: the authorities of pods whose Route names none, in PEM.
    pub service_ca: Option<Arc<[u8]>>,
}

impl RouteOptions {
    /// Why a Route is another router's; absent where it is ours. The labels of its namespace are absent if that is not known.
    pub(crate) fn why_not(&self, route: &Annotations, namespace: Option<&Annotations>) -> Option<String> {
        if !self.labels.fits(route) {
            return Some(format!("its labels do not fit --route-labels={}", self.labels));
        }
        if self.namespace_labels.is_empty() || namespace.is_some_and(|labels| self.namespace_labels.fits(labels)) {
            return None;
        }
        let whose = if namespace.is_some() {
            "the labels of its namespace do not fit"
        } else {
            "its namespace is not known, and so cannot fit"
        };
        Some(format!("{whose} --namespace-labels={}", self.namespace_labels))
    }
}

impl Route {
    /// The host it asks for; the error says why it gets none.
    pub(super) fn wanted_host(&self, options: &RouteOptions) -> Result<String, &'static str> {
        if !self.host.is_empty() {
            return Ok(self.host.to_string());
        }
        let Some(domain) = &options.domain else {
            return Err("it has no host, and without --route-domain none is made for it: write spec.host");
        };
        Ok(if self.subdomain.is_empty() {
            format!("{}-{}.{domain}", self.meta.name, self.meta.namespace)
        } else {
            format!("{}.{domain}", self.subdomain)
        })
    }
}
