//! A certificate out of a Secret's two entries, or what is wrong with them. Key material is in no message.

use super::secrets::Authorities;
use crate::model::object::Secret;
use crate::model::{Kind, ObjectRef, Timestamp};
use crate::table::{Authorities as ClientAuthorities, Certificate, HostPattern, canonical_host};
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

/// How many names of a certificate a message lists.
const LISTED: usize = 4;

/// How long the RSA keys are that aws-lc signs with.
const RSA_BITS: RangeInclusive<usize> = 2048..=8192;

/// Reads a Secret's `tls.crt` and `tls.key`. Its type does not matter.
///
/// # Errors
/// What is wrong, and what would be right: a sentence that names the Secret.
pub(super) fn read(secret: &Secret) -> Result<Certificate, String> {
    let name = &secret.meta.name;
    let entry = |entry: &Option<Arc<[u8]>>, field| {
        let bytes = entry.clone().filter(|bytes| !bytes.is_empty());
        bytes.ok_or_else(|| format!("Secret \"{name}\" has no {field}: it needs tls.crt and tls.key, both in PEM"))
    };
    let pem = entry(&secret.certificate, "tls.crt")?;
    let key = entry(&secret.key, "tls.key")?;
    let chain = chain(&pem).map_err(|why| format!("tls.crt of Secret \"{name}\" {why}"))?;
    let mut parsed = Vec::with_capacity(chain.len());
    for (index, der) in chain.iter().enumerate() {
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| {
            format!(
                "certificate {} in tls.crt of Secret \"{name}\" is not an X.509 certificate",
                index + 1
            )
        })?;
        if !rest.is_empty() {
            return Err(format!(
                "certificate {} in tls.crt of Secret \"{name}\" has {} bytes too many at its end",
                index + 1,
                rest.len()
            ));
        }
        parsed.push(certificate);
    }
    let Some((leaf, others)) = parsed.split_first() else {
        return Err(format!("tls.crt of Secret \"{name}\" is empty"));
    };
    let key = signing_key(&key, leaf).map_err(|why| format!("tls.key of Secret \"{name}\" {why}"))?;
    if !belongs(key.as_ref(), leaf) {
        let later = others.iter().position(|other| belongs(key.as_ref(), other));
        return Err(match later {
            Some(index) => format!(
                "tls.key of Secret \"{name}\" belongs to certificate {} in tls.crt: that one should be the first",
                index + 2
            ),
            None => format!("tls.key of Secret \"{name}\" does not belong to its certificate"),
        });
    }
    let names = names(leaf)
        .map_err(|()| format!("the certificate of Secret \"{name}\" has subjectAltNames that cannot be read"))?;
    let validity = leaf.validity();
    let (not_before, not_after) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    drop(parsed);
    Ok(Certificate {
        secret: ObjectRef::new(Kind::Secret, secret.meta.namespace.clone(), name.clone()),
        names,
        not_before: Timestamp(not_before),
        not_after: Timestamp(not_after),
        algorithm: key.algorithm(),
        key: Arc::new(CertifiedKey::new(chain, key)),
    })
}

/// The certificates and the key of two entries that were read before.
///
/// # Errors
/// As [`read`].
pub(super) fn chain_and_key(
    certificate: &[u8],
    key: &[u8],
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let chain = chain(certificate).map_err(|why| format!("tls.crt {why}"))?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| "tls.key is not valid PEM".to_owned())?;
    Ok((chain, key))
}

/// Reads a Secret's `ca.crt`: whom others' certificates may be signed by.
///
/// # Errors
/// What is wrong, and what would be right: a sentence that names the Secret.
pub(super) fn authorities(secret: &Secret) -> Result<Authorities, String> {
    let name = &secret.meta.name;
    let pem = secret.ca.clone().filter(|bytes| !bytes.is_empty());
    let pem =
        pem.ok_or_else(|| format!("Secret \"{name}\" has no ca.crt: it needs one or more certificates there, in PEM"))?;
    let wrong = |why: String| format!("ca.crt of Secret \"{name}\" {why}");
    let mut roots = RootCertStore::empty();
    for (index, der) in chain(&pem).map_err(wrong)?.into_iter().enumerate() {
        let added = roots.add(der);
        added.map_err(|error| {
            wrong(format!(
                "has as certificate {} one that nobody can be verified by: {error}",
                index + 1
            ))
        })?;
    }
    Ok(Authorities {
        pem,
        roots: Arc::new(roots),
    })
}

/// Reads a Secret's `ca.crt` and `ca.crl`: whom clients' certificates may be signed by, and which of them are revoked.
///
/// # Errors
/// As [`authorities`].
pub(super) fn client_authorities(secret: &Secret, known: &Authorities) -> Result<ClientAuthorities, String> {
    let pem = secret
        .revoked
        .clone()
        .filter(|pem| !pem.iter().all(u8::is_ascii_whitespace));
    let wrong = |why: &str| format!("ca.crl of Secret \"{}\" {why}", secret.meta.name);
    let lists = match &pem {
        None => Vec::new(),
        Some(pem) => {
            let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(pem).collect();
            lists.map_err(|_| wrong("is not valid PEM: it may be cut off or encoded twice"))?
        }
    };
    if pem.is_some() && lists.is_empty() {
        return Err(wrong("holds no list: it should begin with -----BEGIN X509 CRL-----"));
    }
    let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
    let read = ClientAuthorities::new(known.roots.clone(), &lists, algorithms);
    read.map_err(|place| wrong(&format!("has as list {place} one that cannot be read")))
}

/// When a certificate is valid, in seconds since 1970; absent if it cannot be read.
pub(super) fn validity_of(certificate: &[u8]) -> Option<RangeInclusive<i64>> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let validity = certificate.validity();
    Some(validity.not_before.timestamp()..=validity.not_after.timestamp())
}

/// The certificates of a text in PEM; one at least.
pub(super) fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match chain {
        Ok(chain) if chain.is_empty() => {
            Err("holds no certificate: it should begin with -----BEGIN CERTIFICATE-----".to_owned())
        }
        Ok(chain) => Ok(chain),
        Err(_) => Err("is not valid PEM: it may be cut off or encoded twice".to_owned()),
    }
}

fn signing_key(pem: &[u8], leaf: &X509Certificate<'_>) -> Result<Arc<dyn SigningKey>, String> {
    let keys: Result<Vec<PrivateKeyDer<'static>>, _> = PrivateKeyDer::pem_slice_iter(pem).collect();
    // What the reader of PEM says may quote the text, which is secret.
    let keys = keys.map_err(|_| "is not valid PEM: it may be cut off or encoded twice".to_owned())?;
    match keys.as_slice() {
        [key] => any_supported_type(key).map_err(|_| match leaf.public_key().parsed() {
            // The key itself does not read; that of its certificate is as long.
            Ok(PublicKey::RSA(rsa)) if !RSA_BITS.contains(&rsa.key_size()) => format!(
                "is an RSA key of {} bits, and narthex signs with {} to {}: make a longer one, or one for ECDSA or Ed25519",
                rsa.key_size(),
                RSA_BITS.start(),
                RSA_BITS.end()
            ),
            _ => "is of a kind narthex cannot sign with: it should be ECDSA, Ed25519 or RSA".to_owned(),
        }),
        [] if memchr::memmem::find(pem, b"ENCRYPTED").is_some() => {
            Err("is encrypted: store it without a passphrase".to_owned())
        }
        [] => Err("holds no private key: it should begin with -----BEGIN PRIVATE KEY-----".to_owned()),
        keys => Err(format!("holds {} private keys, and should hold one", keys.len())),
    }
}

/// Whether a key is a certificate's: both have the same SubjectPublicKeyInfo.
fn belongs(key: &dyn SigningKey, certificate: &X509Certificate<'_>) -> bool {
    key.public_key()
        .is_some_and(|public| public.as_ref() == certificate.tbs_certificate.subject_pki.raw)
}

/// The subjectAltNames in the form hosts have. Others than DNS names and addresses are no concern here, and neither
/// is the common name, which no client reads any more (RFC 9525).
fn names(certificate: &X509Certificate<'_>) -> Result<Vec<HostPattern>, ()> {
    let Some(extension) = certificate.subject_alternative_name().map_err(|_| ())? else {
        return Ok(Vec::new());
    };
    let general = &extension.value.general_names;
    let mut names: Vec<HostPattern> = general.iter().filter_map(host_of).collect();
    names.sort();
    names.dedup();
    Ok(names)
}

fn host_of(name: &GeneralName<'_>) -> Option<HostPattern> {
    match name {
        GeneralName::DNSName(name) => {
            let (wildcard, name) = match name.strip_prefix("*.") {
                Some(suffix) => (true, suffix),
                None => (false, *name),
            };
            let host = canonical_host(name).ok().filter(|host| host.port.is_none())?.name;
            Some(if wildcard {
                HostPattern::Wildcard(host.into())
            } else {
                HostPattern::Exact(host.into())
            })
        }
        GeneralName::IPAddress(bytes) => {
            let address = match <[u8; 4]>::try_from(*bytes) {
                Ok(four) => IpAddr::from(Ipv4Addr::from(four)),
                Err(_) => IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(*bytes).ok()?)),
            };
            Some(HostPattern::Exact(match address {
                IpAddr::V4(address) => address.to_string().into(),
                IpAddr::V6(address) => format!("[{address}]").into(),
            }))
        }
        _ => None,
    }
}

/// The names a certificate is for, for people.
pub(super) fn list_names(certificate: &Certificate) -> String {
    let names = &certificate.names;
    let mut list: Vec<String> = names.iter().take(LISTED).map(ToString::to_string).collect();
    match names.len() {
        0 => return "no name (it has no subjectAltName)".to_owned(),
        count if count > LISTED => list.push(format!("{} more", count - LISTED)),
        _ => {}
    }
    list.join(", ")
}

/// A moment, for people: `2026-01-02 03:04 UTC`.
pub(super) fn moment(at: Timestamp) -> String {
    match jiff::Timestamp::from_second(at.0) {
        Ok(at) => at.strftime("%Y-%m-%d %H:%M UTC").to_string(),
        Err(_) => format!("{} s after 1970", at.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::object::Meta;
    use rustls::SignatureAlgorithm;

    fn data(file: &str) -> Vec<u8> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tls");
        std::fs::read(format!("{folder}/{file}")).unwrap()
    }

    fn secret(certificate: &[u8], key: &[u8]) -> Secret {
        Secret {
            meta: Meta {
                name: "x".into(),
                ..Meta::default()
            },
            certificate: Some(certificate.into()),
            key: Some(key.into()),
            ..Secret::default()
        }
    }

    fn fault(certificate: &[u8], key: &[u8]) -> String {
        read(&secret(certificate, key)).unwrap_err()
    }

    #[test]
    fn names_validity_and_kind_of_key_are_read() {
        let certificate = read(&secret(&data("wildcard.crt"), &data("wildcard.key"))).unwrap();
        let names: Vec<String> = certificate.names.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["*.example.com", "192.0.2.1", "[2001:db8::1]", "example.com"]);
        assert_eq!(moment(certificate.not_before), "2020-01-01 00:00 UTC");
        assert_eq!(moment(certificate.not_after), "2120-01-01 00:00 UTC");
        assert_eq!(certificate.algorithm, SignatureAlgorithm::ECDSA);
        let rsa = read(&secret(&data("a-rsa.crt"), &data("a-rsa.key"))).unwrap();
        assert_eq!(rsa.algorithm, SignatureAlgorithm::RSA);
        let nameless = read(&secret(&data("nameless.crt"), &data("nameless.key"))).unwrap();
        assert!(nameless.names.is_empty());
    }

    #[test]
    fn faults_say_what_would_be_right() {
        let (certificate, key) = (data("a-ecdsa.crt"), data("a-ecdsa.key"));
        let twice = [key.clone(), key.clone()].concat();
        let chained = [data("wildcard.crt"), certificate.clone()].concat();
        let cut = &certificate[..certificate.len() / 2];
        for (certificate, key, wanted) in [
            (&b""[..], &key[..], "has no tls.crt"),
            (&certificate, b"", "has no tls.key"),
            (b"hello", &key, "holds no certificate"),
            (cut, &key, "is not valid PEM"),
            (&certificate, b"hello", "holds no private key"),
            (&certificate, &key[..60], "is not valid PEM"),
            (&certificate, &certificate, "holds no private key"),
            (&certificate, &twice, "holds 2 private keys"),
            (
                &certificate,
                b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
                "is encrypted",
            ),
            (
                &certificate,
                b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
                "of a kind narthex cannot sign with",
            ),
            (
                b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                &key,
                "certificate 1 in tls.crt of Secret \"x\" is not an X.509 certificate",
            ),
            (&data("b-ecdsa.crt"), &key, "does not belong to its certificate"),
            (
                &data("rsa-1024.crt"),
                &data("rsa-1024.key"),
                "is an RSA key of 1024 bits, and narthex signs with 2048 to 8192",
            ),
            (&chained, &key, "belongs to certificate 2 in tls.crt"),
        ] {
            let fault = fault(certificate, key);
            assert!(fault.contains(wanted), "{wanted}: {fault}");
            assert!(fault.contains("Secret \"x\""), "{fault}");
        }
    }

    #[test]
    fn no_message_shows_the_key() {
        let key = data("a-ecdsa.key");
        let text = String::from_utf8(key.clone()).unwrap();
        let body = text.lines().nth(1).unwrap();
        for cut in 0..key.len() {
            if let Err(fault) = read(&secret(&data("a-ecdsa.crt"), &key[..cut])) {
                assert!(!fault.contains(&body[..8]), "{fault}");
            }
        }
    }
}
