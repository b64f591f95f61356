//! Certificates, Secrets, and clients that speak TLS and look at it.

use crate::rig::{Rig, ingress, service};
use base64::Engine;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, SignatureAlgorithm};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// A certificate and its key.
pub struct Made {
    pub der: Vec<u8>,
    pub certificate: String,
    pub key: String,
}

pub fn make(names: &[&str]) -> Made {
    make_with(names, &PKCS_ECDSA_P256_SHA256, |_| {})
}

pub fn make_with(
    names: &[&str],
    algorithm: &'static SignatureAlgorithm,
    change: impl FnOnce(&mut CertificateParams),
) -> Made {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut parameters = CertificateParams::new(names).unwrap();
    change(&mut parameters);
    let key = KeyPair::generate_for(algorithm).unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    Made {
        der: certificate.der().to_vec(),
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    }
}

pub fn secret(name: &str, certificate: &str, key: &str) -> String {
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\ntype: kubernetes.io/tls\n\
         data: {{tls.crt: {}, tls.key: {}}}\n---\n",
        encode(certificate),
        encode(key)
    )
}

/// An Ingress of a host with one entry in `spec.tls`.
pub fn secure(name: &str, host: &str, hosts: &str, secret: &str, annotations: &str) -> String {
    let extra = format!(", annotations: {{{annotations}}}");
    let rules = ingress(name, host, "/", "web", &extra);
    let tls = format!("spec:\n  tls: [{{hosts: [{hosts}], secretName: {secret}}}]\n");
    rules.replace("spec:\n", &tls)
}

/// Takes any certificate: the tests look at it themselves.
#[derive(Debug)]
pub struct TakeAny;

impl ServerCertVerifier for TakeAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::RSA_PSS_SHA256,
            SignatureScheme::RSA_PKCS1_SHA256,
        ]
    }
}

pub fn config(versions: &[&'static rustls::SupportedProtocolVersion]) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TakeAny))
        .with_no_client_auth()
}

/// A client that has shaken hands.
pub struct Tls(pub StreamOwned<ClientConnection, TcpStream>);

impl Tls {
    pub fn with(address: SocketAddr, name: Option<&str>, config: Arc<ClientConfig>) -> std::io::Result<Self> {
        // Without a name there is an address, which is never sent.
        let server = match name {
            Some(name) => ServerName::try_from(name.to_owned()).unwrap(),
            None => ServerName::from(address.ip()),
        };
        Self::over(TcpStream::connect(address)?, server, config)
    }

    /// Shakes hands over a connection that is there.
    pub fn over(tcp: TcpStream, server: ServerName<'static>, config: Arc<ClientConfig>) -> std::io::Result<Self> {
        let connection = ClientConnection::new(config, server).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(20)))?;
        let mut stream = StreamOwned::new(connection, tcp);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self(stream))
    }

    pub fn open(rig: &Rig, name: &str) -> Self {
        Self::with(rig.https, Some(name), Arc::new(config(rustls::ALL_VERSIONS))).unwrap()
    }

    pub fn certificate(&self) -> Vec<u8> {
        self.0.conn.peer_certificates().unwrap()[0].to_vec()
    }

    /// Status and head of the reply to a GET.
    pub fn get(&mut self, host: &str, path: &str) -> (u16, String) {
        write!(self.0, "GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
        let mut said = Vec::new();
        let mut piece = [0; 4096];
        while crate::rig::message_length(&said).is_none_or(|length| said.len() < length) {
            let count = self.0.read(&mut piece).unwrap();
            assert!(
                count > 0,
                "the connection ends after {:?}",
                String::from_utf8_lossy(&said)
            );
            said.extend_from_slice(&piece[..count]);
        }
        let head = String::from_utf8(said).unwrap();
        (
            head.split(' ').nth(1).unwrap().parse().unwrap(),
            head.to_ascii_lowercase(),
        )
    }
}

pub fn shown(rig: &Rig, name: &str) -> Vec<u8> {
    Tls::open(rig, name).certificate()
}

/// narthex with what `manifests` says, and one pod behind Service `web`.
pub fn world(flags: &[&str], manifests: &str) -> Rig {
    Rig::with(1, flags, |pods| service("web", &[(pods[0].address, "p0")]) + manifests)
}
