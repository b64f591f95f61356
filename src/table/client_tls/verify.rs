//! Whether a client's certificate is by one of the authorities that a host trusts.
//!
//! webpki decides. It does not take two kinds of certificates that OpenSSL makes and nginx accepts: those of X.509
//! version 1, which `openssl x509 -req` makes without an extension file, and those that may themselves sign others, which
//! `openssl req -x509` makes. For them it is checked here that an authority has signed them directly.

use rustls::RootCertStore;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, TrustAnchor,
    UnixTime,
};
use std::fmt;
use std::sync::Arc;
use webpki::{
    CertRevocationList, EndEntityCert, Error, ExpirationPolicy, KeyUsage, OwnedCertRevocationList, RawPublicKeyEntity,
    RevocationCheckDepth, RevocationOptionsBuilder, UnknownStatusPolicy, VerifiedPath, spki_for_anchor,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;
use x509_parser::x509::AlgorithmIdentifier;

/// Whom clients' certificates may be signed by, and which of them are revoked.
pub struct Authorities {
    roots: Arc<RootCertStore>,
    revoked: Box<[Revoked]>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// A list of revoked certificates.
struct Revoked {
    list: CertRevocationList<'static>,
    /// The authorities that have signed it, by their place.
    signed_by: Vec<usize>,
    /// The last second for which it holds, if it says so.
    until: Option<i64>,
}

/// Why a certificate is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unverified {
    UnknownIssuer,
    Expired,
    NotYetValid,
    Revoked,
    /// Nobody says whether it is revoked, or what says so is too old.
    RevocationUnknown,
    /// Too many certificates stand between it and an authority.
    TooDeep,
    /// It is not for clients.
    WrongPurpose,
    /// It breaks another rule of X.509.
    Malformed,
}

impl fmt::Display for Unverified {
    /// In the words of OpenSSL, where it has them, since these are what nginx tells pods.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownIssuer => "unable to get local issuer certificate",
            Self::Expired => "certificate has expired",
            Self::NotYetValid => "certificate is not yet valid",
            Self::Revoked => "certificate revoked",
            Self::RevocationUnknown => "unable to get certificate CRL",
            Self::TooDeep => "certificate chain too long",
            Self::WrongPurpose => "unsupported certificate purpose",
            Self::Malformed => "invalid certificate",
        })
    }
}

impl From<Error> for Unverified {
    fn from(error: Error) -> Self {
        match error {
            Error::UnknownIssuer => Self::UnknownIssuer,
            Error::CertExpired { .. } => Self::Expired,
            Error::CertNotValidYet { .. } => Self::NotYetValid,
            Error::CertRevoked => Self::Revoked,
            Error::UnknownRevocationStatus
            | Error::CrlExpired { .. }
            | Error::InvalidCrlSignatureForPublicKey
            | Error::IssuerNotCrlSigner => Self::RevocationUnknown,
            Error::MaximumPathDepthExceeded | Error::MaximumPathBuildCallsExceeded => Self::TooDeep,
            Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension => Self::WrongPurpose,
            _ => Self::Malformed,
        }
    }
}

impl Authorities {
    /// Reads lists of revoked certificates.
    ///
    /// # Errors
    /// Which of them cannot be read, counted from one.
    pub fn new(
        roots: Arc<RootCertStore>,
        lists: &[CertificateRevocationListDer<'_>],
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Result<Self, usize> {
        let read = |(place, der): (usize, &CertificateRevocationListDer<'_>)| {
            Revoked::read(der, &roots, algorithms).ok_or(place + 1)
        };
        Ok(Self {
            revoked: lists.iter().enumerate().map(read).collect::<Result<_, _>>()?,
            roots,
            algorithms,
        })
    }

    /// The names of those that may sign, which clients choose their certificate by.
    pub fn names(&self) -> Vec<rustls::DistinguishedName> {
        self.roots.subjects()
    }

    pub fn algorithms(&self) -> &WebPkiSupportedAlgorithms {
        &self.algorithms
    }

    /// Verifies a client's certificate.
    ///
    /// # Errors
    /// Why it is not accepted.
    pub fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        depth: u32,
        now: UnixTime,
    ) -> Result<(), Unverified> {
        let certificate = match EndEntityCert::try_from(leaf) {
            Ok(certificate) => certificate,
            Err(Error::UnsupportedCertVersion) => return self.verify_directly(leaf, now),
            Err(error) => return Err(error.into()),
        };
        let lists: Vec<&CertRevocationList<'static>> = self.revoked.iter().map(|revoked| &revoked.list).collect();
        let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|options| {
            let options = options.with_depth(RevocationCheckDepth::Chain);
            let options = options.with_status_policy(UnknownStatusPolicy::Deny);
            options.with_expiration_policy(ExpirationPolicy::Enforce).build()
        });
        let is_short = |path: &VerifiedPath<'_>| {
            let between = path.intermediate_certificates().count();
            let fits = u32::try_from(between).is_ok_and(|between| between <= depth);
            fits.then_some(()).ok_or(Error::MaximumPathDepthExceeded)
        };
        let verified = certificate.verify_for_usage(
            self.algorithms.all,
            &self.roots.roots,
            others,
            now,
            KeyUsage::client_auth(),
            revocation,
            Some(&is_short),
        );
        match verified {
            Ok(_) => Ok(()),
            Err(Error::CaUsedAsEndEntity) => self.verify_directly(leaf, now),
            Err(error) => Err(error.into()),
        }
    }

    /// The same for a certificate that webpki does not take: one of the authorities must have signed it.
    fn verify_directly(&self, leaf: &CertificateDer<'_>, now: UnixTime) -> Result<(), Unverified> {
        let Ok((&[], certificate)) = X509Certificate::from_der(leaf) else {
            return Err(Unverified::Malformed);
        };
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if seconds < certificate.validity().not_before.timestamp() {
            return Err(Unverified::NotYetValid);
        }
        if seconds > certificate.validity().not_after.timestamp() {
            return Err(Unverified::Expired);
        }
        if !is_for_clients(&certificate) {
            return Err(Unverified::WrongPurpose);
        }
        let issuer = content(certificate.issuer().as_raw());
        let signed = Signed {
            text: certificate.tbs_certificate.as_ref(),
            algorithm: &certificate.signature_algorithm,
            signature: &certificate.signature_value.data,
        };
        // What names a constrained authority may sign for is not looked at here, so it may sign for none.
        let may_sign =
            |anchor: &TrustAnchor<'_>| anchor.subject.as_ref() == issuer && anchor.name_constraints.is_none();
        let mut anchors = self.roots.roots.iter().enumerate();
        let signer = anchors.find(|(_, anchor)| may_sign(anchor) && signed.is_by(anchor, self.algorithms.all));
        let Some((place, _)) =
            signer.filter(|_| certificate.tbs_certificate.signature == certificate.signature_algorithm)
        else {
            return Err(Unverified::UnknownIssuer);
        };
        if self.revoked.is_empty() {
            return Ok(());
        }
        let holds = |revoked: &&Revoked| {
            let is_of_issuer = revoked.list.issuer() == issuer && revoked.signed_by.contains(&place);
            is_of_issuer
                && revoked.list.issuing_distribution_point().is_none()
                && revoked.until.is_none_or(|until| seconds <= until)
        };
        let list = self.revoked.iter().find(holds).ok_or(Unverified::RevocationUnknown)?;
        match list.list.find_serial(certificate.tbs_certificate.raw_serial()) {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(Unverified::Revoked),
            Err(_) => Err(Unverified::RevocationUnknown),
        }
    }
}

impl Revoked {
    fn read(
        der: &CertificateRevocationListDer<'_>,
        roots: &RootCertStore,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Option<Self> {
        let list = OwnedCertRevocationList::from_der(der).ok()?;
        let (_, parsed) = CertificateRevocationList::from_der(der).ok()?;
        let signed = Signed {
            text: parsed.tbs_cert_list.as_ref(),
            algorithm: &parsed.signature_algorithm,
            signature: &parsed.signature_value.data,
        };
        let issuer = content(parsed.issuer().as_raw());
        let anchors = roots.roots.iter().enumerate();
        let signers = anchors.filter(|(_, anchor)| anchor.subject.as_ref() == issuer);
        let signed_by = signers.filter(|(_, anchor)| signed.is_by(anchor, algorithms.all));
        Some(Self {
            signed_by: signed_by.map(|(place, _)| place).collect(),
            until: parsed.next_update().map(|until| until.timestamp()),
            list: list.into(),
        })
    }
}

/// What somebody has signed.
struct Signed<'s> {
    text: &'s [u8],
    algorithm: &'s AlgorithmIdentifier<'s>,
    signature: &'s [u8],
}

impl Signed<'_> {
    fn is_by(&self, anchor: &TrustAnchor<'_>, algorithms: &[&dyn SignatureVerificationAlgorithm]) -> bool {
        let key = spki_for_anchor(anchor);
        let Ok(key) = RawPublicKeyEntity::try_from(&key) else {
            return false;
        };
        let named = self.algorithm.algorithm.as_bytes();
        let is_named = |algorithm: &dyn SignatureVerificationAlgorithm| {
            let id = algorithm.signature_alg_id();
            // An object identifier: its tag, its length, and then itself.
            id.as_ref().get(2..).is_some_and(|id| id.starts_with(named))
                && id.as_ref().get(1) == u8::try_from(named.len()).ok().as_ref()
        };
        let mut fitting = algorithms.iter().filter(|algorithm| is_named(**algorithm));
        fitting.any(|algorithm| key.verify_signature(*algorithm, self.text, self.signature).is_ok())
    }
}

/// Whether a certificate may be shown by a client. What its extensions do not say is not restricted.
fn is_for_clients(certificate: &X509Certificate<'_>) -> bool {
    certificate
        .extensions()
        .iter()
        .all(|extension| match extension.parsed_extension() {
            ParsedExtension::ExtendedKeyUsage(usage) => usage.client_auth || usage.any,
            ParsedExtension::KeyUsage(usage) => usage.digital_signature() || usage.key_agreement(),
            ParsedExtension::BasicConstraints(_)
            | ParsedExtension::SubjectAlternativeName(_)
            | ParsedExtension::SubjectKeyIdentifier(_)
            | ParsedExtension::AuthorityKeyIdentifier(_) => true,
            _ => !extension.critical,
        })
}

/// What is in a DER sequence, without its tag and length. All of it where it is none.
fn content(der: &[u8]) -> &[u8] {
    let header = match der.get(1) {
        Some(length) if *length < 0x80 => 2,
        Some(length) => 2 + usize::from(length & 0x7f),
        None => 0,
    };
    der.get(header..).unwrap_or(der)
}

/// The public key in a certificate of whatever version.
pub fn public_key(certificate: &CertificateDer<'_>) -> Option<SubjectPublicKeyInfoDer<'static>> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(SubjectPublicKeyInfoDer::from(certificate.public_key().raw.to_vec()))
}
