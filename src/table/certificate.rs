//! Certificates, by the name a client asks for (SNI, RFC 6066 section 3).

use super::route::{HostPattern, wildcard_suffix};
use crate::model::{ObjectRef, Timestamp};
use rustls::sign::CertifiedKey;
use rustls::{SignatureAlgorithm, SignatureScheme};
use smallvec::SmallVec;
use std::fmt;
use std::sync::Arc;

/// A chain with its private key, ready to sign.
#[derive(Clone)]
pub struct Certificate {
    /// The Secret it came from.
    pub secret: ObjectRef,
    /// The DNS names and addresses it is for (its subjectAltNames), in canonical form.
    pub names: Vec<HostPattern>,
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid until.
    pub not_after: Timestamp,
    /// The kind of its key.
    pub algorithm: SignatureAlgorithm,
    /// What rustls signs with.
    pub key: Arc<CertifiedKey>,
}

impl Certificate {
    /// Whether one of its names is, or as a wildcard covers, what is asked for.
    pub fn covers(&self, host: &HostPattern) -> bool {
        self.names.iter().any(|name| match (name, host) {
            (HostPattern::Wildcard(suffix), HostPattern::Exact(host)) => wildcard_suffix(host) == Some(suffix),
            (name, host) => name == host,
        })
    }

    /// The same for a host in canonical form.
    pub fn covers_name(&self, host: &str) -> bool {
        self.names.iter().any(|name| match name {
            HostPattern::Any => false,
            name => name.matches(Some(host)),
        })
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("secret", &self.secret)
            .field("names", &self.names)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// What is offered for one name: at most one certificate for each kind of key, ECDSA before RSA.
#[derive(Clone, Debug, Default)]
pub struct CertificateSet(SmallVec<[Arc<Certificate>; 2]>);

impl CertificateSet {
    /// A set; of two with the same kind of key the first is taken.
    pub fn new(certificates: impl IntoIterator<Item = Arc<Certificate>>) -> Self {
        let mut set: SmallVec<[Arc<Certificate>; 2]> = SmallVec::new();
        for certificate in certificates {
            if set.iter().all(|known| known.algorithm != certificate.algorithm) {
                set.push(certificate);
            }
        }
        set.sort_by_key(|certificate| certificate.algorithm == SignatureAlgorithm::RSA);
        Self(set)
    }

    /// Whether there is none in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        self.0.iter()
    }

    /// The first that a client with these signature schemes understands; else the first of all.
    pub fn choose(&self, schemes: &[SignatureScheme]) -> Option<&Arc<Certificate>> {
        self.0
            .iter()
            .find(|certificate| certificate.key.key.choose_scheme(schemes).is_some())
            .or(self.0.first())
    }

    /// Whether both offer the same.
    pub fn is_same(&self, other: &CertificateSet) -> bool {
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(|(a, b)| Arc::ptr_eq(a, b))
    }
}
