//! Which certificates of pods are trusted where that is not only up to the authorities of the system.

use super::certificate::{self, validity_of};
use super::secrets::Authorities;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};
use std::sync::Arc;

/// Which certificates of pods are trusted. Whatever they are, a pod must have the key of its certificate.
#[derive(Debug)]
pub(super) struct Trust {
    algorithms: WebPkiSupportedAlgorithms,
    trusted: Trusted,
}

#[derive(Debug)]
enum Trusted {
    /// `backend-verify: "false"`: any certificate will do.
    Any,
    /// The authorities of a Secret or a Route. Certificates that they have signed are trusted, and their own too: `openssl req
    /// -x509` makes a pod the certificate of an authority that signs only itself, and OpenSSL trusts such a one if it is in the
    /// list.
    By {
        authorities: Arc<WebPkiServerVerifier>,
        themselves: Vec<CertificateDer<'static>>,
    },
}

impl Trust {
    /// Trusts any certificate.
    pub fn any(provider: &CryptoProvider) -> Self {
        Self {
            algorithms: provider.signature_verification_algorithms,
            trusted: Trusted::Any,
        }
    }

    /// Trusts authorities.
    ///
    /// # Errors
    /// What is wrong with the authorities.
    pub fn by(authorities: &Authorities, provider: &Arc<CryptoProvider>) -> Result<Self, String> {
        let signed = WebPkiServerVerifier::builder_with_provider(authorities.roots.clone(), provider.clone()).build();
        Ok(Self {
            algorithms: provider.signature_verification_algorithms,
            trusted: Trusted::By {
                authorities: signed.map_err(|error| error.to_string())?,
                themselves: certificate::chain(&authorities.pem)?,
            },
        })
    }
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let (authorities, themselves) = match &self.trusted {
            Trusted::Any => return Ok(ServerCertVerified::assertion()),
            Trusted::By {
                authorities,
                themselves,
            } => (authorities, themselves),
        };
        let refused = match authorities.verify_server_cert(shown, others, name, ocsp, now) {
            Ok(verified) => return Ok(verified),
            Err(refused) => refused,
        };
        if !themselves.contains(shown) {
            return Err(refused);
        }
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        match validity_of(shown) {
            Some(valid) if now < *valid.start() => return Err(CertificateError::NotValidYet.into()),
            Some(valid) if now > *valid.end() => return Err(CertificateError::Expired.into()),
            Some(_) => {}
            None => return Err(refused),
        }
        verify_server_name(&ParsedCertificate::try_from(shown)?, name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
