//! A Secret's certificate and key, parsed and checked (RFC 5280, RFC 7468).

use crate::model::object::Secret;
use crate::model::{Kind, ObjectRef, Timestamp};
use crate::table::{Certificate, HostPattern, canonical_host};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::net::IpAddr;
use std::sync::Arc;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Reads a Secret.
///
/// # Errors
/// What is wrong with it and what would be right, without the Secret's name and never with its contents.
pub(super) fn parse(secret: &Secret) -> Result<Certificate, String> {
    let (Some(certificate), Some(key)) = (&secret.certificate, &secret.key) else {
        let missing = match (&secret.certificate, &secret.key) {
            (None, None) => "has neither tls.crt nor tls.key",
            (None, _) => "has no tls.crt",
            _ => "has no tls.key",
        };
        return Err(format!("{missing}; `kubectl create secret tls` makes one with both"));
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<_, _>>()
        .map_err(|_| "has a tls.crt that is not PEM".to_owned())?;
    let leaf = chain
        .first()
        .ok_or("has a tls.crt without a certificate: it must begin with -----BEGIN CERTIFICATE-----")?;
    let (_, leaf) =
        X509Certificate::from_der(leaf).map_err(|_| "has a tls.crt whose first certificate is not X.509".to_owned())?;
    let names = names(&leaf);
    let validity = leaf.validity();
    let (not_before, not_after) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| {
        "has a tls.key that is not a private key in PEM (PKCS #8, PKCS #1 or SEC 1, without a password)".to_owned()
    })?;
    let key = aws_lc_rs::sign::any_supported_type(&key)
        .map_err(|_| "has a tls.key of a kind that is not supported: use ECDSA, RSA or Ed25519".to_owned())?;
    let algorithm = key.algorithm();
    let certified = CertifiedKey::new(chain, key);
    certified
        .keys_match()
        .map_err(|_| "has a tls.key that does not belong to its certificate".to_owned())?;
    let meta = &secret.meta;
    Ok(Certificate {
        secret: ObjectRef::new(Kind::Secret, meta.namespace.clone(), meta.name.clone()),
        names,
        not_before: Timestamp(not_before),
        not_after: Timestamp(not_after),
        algorithm,
        key: Arc::new(certified),
    })
}

/// The names a certificate is for. The common name counts no more (RFC 9110, section 4.3.4).
fn names(certificate: &X509Certificate<'_>) -> Vec<HostPattern> {
    let Ok(Some(alternatives)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let names = alternatives.value.general_names.iter();
    names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => match name.strip_prefix("*.") {
                Some(suffix) => canonical_host(suffix)
                    .ok()
                    .map(|host| HostPattern::Wildcard(host.name.into())),
                None => canonical_host(name)
                    .ok()
                    .map(|host| HostPattern::Exact(host.name.into())),
            },
            GeneralName::IPAddress(bytes) => {
                let ip = match bytes.len() {
                    4 => <[u8; 4]>::try_from(*bytes).ok().map(IpAddr::from),
                    _ => <[u8; 16]>::try_from(*bytes).ok().map(IpAddr::from),
                };
                ip.map(|ip| {
                    let text = match ip {
                        IpAddr::V4(v4) => v4.to_string(),
                        IpAddr::V6(v6) => format!("[{v6}]"),
                    };
                    HostPattern::Exact(text.into())
                })
            }
            _ => None,
        })
        .collect()
}
