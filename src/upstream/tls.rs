//! TLS to pods: the handshake, and the reason in words if it fails.

use super::stream::Stream;
use crate::table::BackendTls;
use rustls::{AlertDescription, CertificateError, Error as TlsError};
use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long a handshake may take. A pod under load computes; a second, as for the socket, would be too short.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeErrorKind {
    /// Its certificate is not one to trust.
    Untrusted,
    /// It speaks something else.
    NotTls,
    /// It does not choose HTTP/2.
    NoHttp2,
    /// It says nothing.
    Silent,
    /// It refuses, or fails in another way.
    Refused,
}

/// Why there is no TLS with a pod.
#[derive(Clone, Debug)]
pub struct HandshakeError {
    /// What it is.
    pub kind: HandshakeErrorKind,
    /// In words, for the log.
    pub why: String,
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl Error for HandshakeError {}

impl HandshakeError {
    /// The fault in an error of a connect, where it is one.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// What a pod refuses after our side of the handshake is done, as it does with certificates under TLS 1.3 (RFC 8446,
    /// section 4.4.2.4): known by the alert at the root of an error. Nothing was done with any request then.
    pub fn in_refusal(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            if let Some(TlsError::AlertReceived(alert)) = inner.and_then(|inner| inner.downcast_ref()) {
                return is_about_us(*alert).then(|| Self::refused(*alert));
            }
            next = error.source();
        }
        None
    }

    /// A pod that ended the connection before it said anything in HTTP/2.
    pub fn silent_end(why: &str) -> Self {
        Self {
            kind: HandshakeErrorKind::Refused,
            why: format!("the pod ended the connection right after the TLS handshake: {why}{CERTIFICATE_HINT}"),
        }
    }

    fn refused(alert: AlertDescription) -> Self {
        let hint = if is_about_us(alert) { CERTIFICATE_HINT } else { "" };
        Self {
            kind: HandshakeErrorKind::Refused,
            why: format!("the pod refuses the TLS handshake with the alert {alert:?}{hint}"),
        }
    }

    fn error(kind: HandshakeErrorKind, why: impl Into<String>) -> io::Error {
        io::Error::other(Self { kind, why: why.into() })
    }
}

const CERTIFICATE_HINT: &str = ": it may ask for a certificate, or another one (narthex.io/backend-client-secret)";

/// Whether an alert is one by which servers refuse a client's certificate, or the lack of one.
fn is_about_us(alert: AlertDescription) -> bool {
    use AlertDescription as Alert;
    matches!(
        alert,
        Alert::CertificateRequired
            | Alert::NoCertificate
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::DecryptError
            | Alert::HandshakeFailure
    )
}

/// Shakes hands with a pod.
///
/// # Errors
/// A [`HandshakeError`], what the kernel says, or `TimedOut`.
pub async fn shake_hands(tcp: TcpStream, tls: &BackendTls) -> io::Result<Stream> {
    let connector = TlsConnector::from(tls.config.clone());
    let handshake = connector.connect(tls.server_name.clone(), tcp);
    let stream = tokio::time::timeout(PATIENCE, handshake)
        .await
        .map_err(|_| {
            let why = format!("the pod does not answer the TLS handshake within {PATIENCE:?}: does it speak TLS?");
            HandshakeError::error(HandshakeErrorKind::Silent, why)
        })?
        .map_err(|error| explain(error, tls))?;
    if tls.http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err(HandshakeError::error(
            HandshakeErrorKind::NoHttp2,
            "the pod speaks TLS, but does not offer HTTP/2 (ALPN h2) in it",
        ));
    }
    Ok(Stream::Tls(Box::new(stream.into())))
}

fn explain(error: io::Error, tls: &BackendTls) -> io::Error {
    let Some(reason) = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()) else {
        // The kernel's errors say what they say; an end within the handshake is a refusal.
        return match error.kind() {
            io::ErrorKind::UnexpectedEof => HandshakeError::error(
                HandshakeErrorKind::Refused,
                "the pod ended the connection within the TLS handshake",
            ),
            _ => error,
        };
    };
    let name = tls.server_name.to_str();
    match reason {
        TlsError::InvalidCertificate(why) => {
            let why = match why {
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    "it is signed by none of the authorities that are trusted (narthex.io/backend-ca-secret)".to_owned()
                }
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    format!("it is not for \"{name}\" (narthex.io/backend-server-name): {why}")
                }
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => format!("it has expired: {why}"),
                why => match why.to_string() {
                    // rustls passes on what webpki says by its name.
                    text if text.contains("CaUsedAsEndEntity") => {
                        "it is that of an authority (CA:TRUE), and not one that is trusted by itself \
                         (narthex.io/backend-ca-secret)"
                            .to_owned()
                    }
                    text => text,
                },
            };
            HandshakeError::error(
                HandshakeErrorKind::Untrusted,
                format!("the pod's certificate is refused: {why}"),
            )
        }
        TlsError::InvalidMessage(_)
        | TlsError::InappropriateMessage { .. }
        | TlsError::InappropriateHandshakeMessage { .. } => HandshakeError::error(
            HandshakeErrorKind::NotTls,
            format!("the pod does not speak TLS ({reason})"),
        ),
        TlsError::AlertReceived(AlertDescription::NoApplicationProtocol) if tls.http2 => HandshakeError::error(
            HandshakeErrorKind::NoHttp2,
            "the pod refuses the protocol: it does not speak HTTP/2 under TLS",
        ),
        TlsError::AlertReceived(AlertDescription::NoApplicationProtocol) => HandshakeError::error(
            HandshakeErrorKind::Refused,
            "the pod refuses the protocol: it does not speak HTTP/1.1 under TLS (narthex.io/backend-protocol: GRPCS is \
             HTTP/2)",
        ),
        TlsError::AlertReceived(alert) => io::Error::other(HandshakeError::refused(*alert)),
        other => HandshakeError::error(
            HandshakeErrorKind::Refused,
            format!("the TLS handshake with the pod failed: {other}"),
        ),
    }
}
