//! `spec.tls` of a Route: which Secret stands for its certificates.
//!
//! Certificates that are written into a Route are kept as a Secret of its own, so that everything that is known of a Secret's
//! certificate holds for them: names, validity, order among others, what is said of faults. Its name is one that no Secret can
//! have.

use super::Route;
use crate::model::object::{Meta, Secret};
use std::sync::Arc;

/// What the name of a Secret begins with that stands for what is written into a Route.
pub(crate) const OWN_SECRET: char = '~';

/// The name that stands for `--route-service-ca`, in no namespace.
pub(crate) const SERVICE_CA: &str = "~~route-service-ca";

/// The name of the Secret that stands for what is written into a Route.
pub(super) fn own_secret(route: &Route) -> Arc<str> {
    format!("{OWN_SECRET}{}", route.meta.name).into()
}

/// That Secret; absent where nothing is written there.
pub(super) fn secret(route: &Route) -> Option<Arc<Secret>> {
    let tls = route.tls.as_ref()?;
    let bytes = |text: &str| (!text.is_empty()).then(|| Arc::<[u8]>::from(text.as_bytes()));
    let certificate = match (&*tls.certificate, &*tls.ca_certificate) {
        ("", _) => None,
        (own, "") => bytes(own),
        // Clients that know only the root need what is between.
        (own, authority) => bytes(&format!("{own}\n{authority}")),
    };
    let secret = Secret {
        meta: Meta {
            namespace: route.meta.namespace.clone(),
            name: own_secret(route),
            ..Meta::default()
        },
        kind: None,
        certificate,
        key: bytes(&tls.key),
        ca: bytes(&tls.destination_ca_certificate),
        revoked: None,
        others: Box::default(),
    };
    let is_empty = secret.certificate.is_none() && secret.key.is_none() && secret.ca.is_none();
    (!is_empty).then(|| Arc::new(secret))
}
