//! TLS to the pods of a backend, ready to be spoken.

use super::client_tls::CipherSuites;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::fmt;
use std::sync::Arc;

/// What is asked of pods, and shown to them.
#[derive(Clone)]
pub struct BackendTls {
    /// The name their certificates must be for, and that is asked for by SNI.
    pub server_name: ServerName<'static>,
    /// Whether they are to speak HTTP/2 in it.
    pub http2: bool,
    /// The rest, as rustls has it.
    pub config: Arc<ClientConfig>,
    /// What it was made of: by this two are compared.
    pub made_of: Ingredients,
}

/// As it stands in a Secret.
type Pem = Arc<[u8]>;

/// The only version of TLS that pods are offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OnlyVersion {
    Tls12,
    Tls13,
}

/// What decides about TLS to pods.
#[derive(Clone, PartialEq, Eq)]
pub struct Ingredients {
    pub server_name: String,
    /// Whether HTTP/2 is spoken.
    pub http2: bool,
    /// Whether certificates are verified.
    pub verify: bool,
    /// The authorities, in PEM; none for the system's.
    pub authorities: Option<Pem>,
    /// The certificate that is shown, with its key, in PEM; none for none.
    pub shown: Option<(Pem, Pem)>,
    /// The only version; absent for all that narthex has.
    pub version: Option<OnlyVersion>,
    /// The suites of TLS 1.2; absent for all that narthex has.
    pub suites: Option<CipherSuites>,
}

impl PartialEq for BackendTls {
    fn eq(&self, other: &Self) -> bool {
        self.made_of == other.made_of
    }
}

impl Eq for BackendTls {}

impl fmt::Debug for BackendTls {
    /// Never a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ingredients {
            server_name,
            http2,
            verify,
            authorities,
            shown,
            version,
            suites,
        } = &self.made_of;
        f.debug_struct("BackendTls")
            .field("server_name", server_name)
            .field("http2", http2)
            .field("verify", verify)
            .field("own_authorities", &authorities.is_some())
            .field("shows_certificate", &shown.is_some())
            .field("version", version)
            .field("suites", suites)
            .finish()
    }
}
