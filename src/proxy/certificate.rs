//! What pods, and services that say who may come in, are told of a client's certificate, in the fields of ingress-nginx.

use crate::http1::fold;
use crate::message::Fields;
use crate::table::{ClientRules, NOTHING, Presented};
use std::borrow::Cow;

const VERDICT: &str = "ssl-client-verify";
const SUBJECT: &str = "ssl-client-subject-dn";
const ISSUER: &str = "ssl-client-issuer-dn";
const CERTIFICATE: &str = "ssl-client-cert";

/// What is told.
pub struct Told {
    pub fields: Fields,
}

impl Told {
    /// What a host has told; absent where that is nothing.
    pub fn of(clients: &ClientRules, shown: Option<&Presented>) -> Option<Box<Self>> {
        if !clients.told {
            return None;
        }
        let shown = clients.counts(shown);
        let mut fields = Fields::new();
        let verdict = shown.map_or(Cow::Borrowed(NOTHING), Presented::verdict);
        if let Some(certificate) = shown.and_then(|shown| shown.certificate.as_ref()) {
            if clients.passed {
                fields.append(CERTIFICATE, certificate.escaped_pem());
            }
            fields.append(VERDICT, &*verdict);
            fields.append(SUBJECT, &*certificate.subject);
            fields.append(ISSUER, &*certificate.issuer);
        } else {
            fields.append(VERDICT, &*verdict);
        }
        Some(Box::new(Self { fields }))
    }

    /// Whether a field of a client's may be taken for one that tells of certificates, by a pod that does not tell some
    /// characters apart.
    pub fn takes(name: &[u8]) -> bool {
        let same = |one: u8, other: u8| fold(one) == fold(other);
        [VERDICT, SUBJECT, ISSUER, CERTIFICATE]
            .iter()
            .any(|ours| ours.len() == name.len() && ours.bytes().zip(name).all(|(one, other)| same(one, *other)))
    }
}
