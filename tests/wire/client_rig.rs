//! Authorities, certificates of clients, and clients that show them.

use crate::rig::Rig;
use crate::tls_rig::{TakeAny, Tls};
use base64::Engine;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;

/// Who signs the certificates of clients.
pub struct Authority {
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate of a client, with its chain and its key.
pub struct Client {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

fn parameters(name: &str) -> CertificateParams {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters
}

fn may_sign(name: &str) -> CertificateParams {
    let mut parameters = parameters(name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let (parameters, key) = (may_sign(name), KeyPair::generate().unwrap());
        let pem = parameters.self_signed(&key).unwrap().pem();
        Self {
            pem,
            issuer: Issuer::new(parameters, key),
        }
    }

    /// One that this one has signed, and its certificate.
    pub fn below(&self, name: &str) -> (Self, CertificateDer<'static>) {
        let (parameters, key) = (may_sign(name), KeyPair::generate().unwrap());
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        let authority = Self {
            pem: certificate.pem(),
            issuer: Issuer::new(parameters, key),
        };
        (authority, certificate.der().clone())
    }

    pub fn signs(&self, name: &str) -> Client {
        self.signs_with(name, |_| {})
    }

    pub fn signs_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Client {
        let mut parameters = parameters(name);
        change(&mut parameters);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        Client {
            chain: vec![certificate.der().clone()],
            key: PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        }
    }

    /// A list of those that are revoked, by their serial numbers.
    pub fn revokes(&self, serials: &[u64]) -> String {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: rcgen::date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let parameters = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2020, 1, 1),
            next_update: rcgen::date_time_ymd(2120, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        parameters.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

impl Client {
    /// One of tests/data/tls.
    pub fn of_file(name: &str) -> Self {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tls");
        let read = |kind: &str| std::fs::read(format!("{folder}/{name}.{kind}")).unwrap();
        Self {
            chain: vec![CertificateDer::from_pem_slice(&read("crt")).unwrap()],
            key: PrivateKeyDer::from_pem_slice(&read("key")).unwrap(),
        }
    }
}

/// A Secret with authorities, and perhaps a list of whom they revoke.
pub fn authorities(name: &str, certificates: &str, revoked: Option<&str>) -> String {
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let revoked = revoked.map(|text| format!(", ca.crl: {}", encode(text)));
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\ndata: {{ca.crt: {}{}}}\n---\n",
        encode(certificates),
        revoked.unwrap_or_default()
    )
}

/// What a client that shows this certificate, or none, shakes hands with.
pub fn config(client: Option<&Client>, versions: &[&'static rustls::SupportedProtocolVersion]) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TakeAny));
    match client {
        None => builder.with_no_client_auth(),
        // A client that shows what it has, whoever is asked for: rustls' own would not show a certificate of an authority
        // that the server does not name.
        Some(client) => {
            let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&client.key).unwrap();
            let shown = rustls::sign::CertifiedKey::new(client.chain.clone(), key);
            builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(shown)))
        }
    }
}

/// A connection for a name, or for none.
pub fn connect(rig: &Rig, name: Option<&str>, client: Option<&Client>) -> Tls {
    let config = Arc::new(config(client, rustls::ALL_VERSIONS));
    Tls::with(rig.https, name, config).unwrap()
}

/// The status of a GET of the host's root on a connection of its own that is for it.
pub fn status(rig: &Rig, host: &str, client: Option<&Client>) -> u16 {
    connect(rig, Some(host), client).get(host, "/").0
}
