//! TLS towards clients: one configuration for all shards, a certificate for each name from the live table.

use super::fresh::Fresh;
use super::hello::Hello;
use super::shard::Shard;
use crate::config::TlsVersion;
use crate::proxy::Handshake;
use crate::table::{
    CertificateSet, Destination, Guard, Listener, ListenerId, ListenerProtocol, PassedStream, Route, Table, TlsMode,
    TlsProfile, public_key,
};
use crate::upstream::Stream;
use arc_swap::ArcSwap;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme, SupportedProtocolVersion,
};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::StartHandshake;
use webpki::RawPublicKeyEntity;

/// What the operator decided about TLS.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// The oldest version spoken.
    pub min_version: TlsVersion,
    /// Refuse names for which there is no certificate.
    pub strict_sni: bool,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
    /// How many connections may be in their handshake, in the whole process; others wait in turn.
    pub max_handshakes: usize,
}

/// All that shards need for handshakes.
pub struct Tls {
    /// For names without a profile.
    config: Arc<ServerConfig>,
    versions: &'static [&'static SupportedProtocolVersion],
    provider: Arc<CryptoProvider>,
    chooser: Arc<Chooser>,
    timeout: Duration,
    places: Arc<Semaphore>,
}

/// Why there can be no TLS at all.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// rustls refuses its settings.
    #[error("TLS cannot be set up: {0}")]
    Rustls(#[from] rustls::Error),
    /// No certificate could be made.
    #[error("cannot make a certificate for names that have none: {0}")]
    Certificate(#[from] rcgen::Error),
}

impl Tls {
    /// Makes the configuration, and a certificate for names that have none.
    ///
    /// # Errors
    /// What the libraries say; nothing a user could mend.
    pub fn new(settings: &TlsSettings, tables: Arc<ArcSwap<Table>>) -> Result<Self, TlsError> {
        let versions = versions(settings.min_version);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let chooser = Arc::new(Chooser {
            tables,
            own: own_certificate(&provider)?,
            strict: settings.strict_sni,
        });
        let builder = ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions)?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(chooser.clone());
        set_up(&mut config);
        // Tickets are sealed by keys that rotate every six hours and are the same for all shards, so that a client
        // resumes wherever it lands and the server keeps nothing. No session of another profile is sealed by them.
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        Ok(Self {
            config: Arc::new(config),
            versions,
            provider,
            chooser,
            timeout: settings.handshake_timeout,
            places: Arc::new(Semaphore::new(settings.max_handshakes)),
        })
    }

    /// The configuration for the connections of a profile. A client that shows a certificate resumes no session: the
    /// certificate is shown, and verified, with each connection.
    fn config_of(&self, profile: &TlsProfile) -> Option<Arc<ServerConfig>> {
        let make = || {
            let terms = profile.made_of.terms;
            let provider = match terms.suites {
                None => self.provider.clone(),
                Some(suites) => suites.of(&self.provider),
            };
            let versions = if terms.only_13 {
                versions(TlsVersion::Tls13)
            } else {
                self.versions
            };
            let builder = ServerConfig::builder_with_provider(provider);
            let builder = builder.with_protocol_versions(versions).ok()?;
            let mut config = match &profile.authorities {
                Some(authorities) => {
                    let takes_any = Arc::new(TakesAny {
                        names: authorities.names(),
                        algorithms: *authorities.algorithms(),
                    });
                    let builder = builder.with_client_cert_verifier(takes_any);
                    let mut config = builder.with_cert_resolver(self.chooser.clone());
                    config.send_tls13_tickets = 0;
                    config
                }
                None => {
                    let mut config = builder.with_no_client_auth().with_cert_resolver(self.chooser.clone());
                    // Sessions of other profiles are not resumed under this one.
                    config.ticketer = aws_lc_rs::Ticketer::new().ok()?;
                    config
                }
            };
            set_up(&mut config);
            Some(Arc::new(config))
        };
        profile.config(make).cloned()
    }
}

fn versions(least: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    static ALL: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];
    match least {
        TlsVersion::Tls12 => &ALL,
        TlsVersion::Tls13 => ALL.get(..1).unwrap_or_default(),
    }
}

/// What all configurations have.
fn set_up(config: &mut ServerConfig) {
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    // 0-RTT can be replayed (RFC 8446, section 8).
    config.max_early_data_size = 0;
}

/// Asks clients for a certificate and takes whatever comes, so that who is refused learns it by HTTP. Only that a client
/// has the key of the certificate is verified here; whose it is, [`TlsProfile::look_at`] says after the handshake.
#[derive(Debug)]
struct TakesAny {
    names: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for TakesAny {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.names
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let key = key_of(certificate)?;
        let key = RawPublicKeyEntity::try_from(&key).map_err(|_| BAD)?;
        let known = self.algorithms.mapping.iter();
        let mut fitting = known
            .filter(|(scheme, _)| *scheme == signed.scheme)
            .flat_map(|(_, all)| *all);
        let is_right = fitting.any(|algorithm| key.verify_signature(*algorithm, message, signed.signature()).is_ok());
        if is_right {
            Ok(HandshakeSignatureValid::assertion())
        } else {
            Err(CertificateError::BadSignature.into())
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature_with_raw_key(message, &key_of(certificate)?, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// What is no certificate.
const BAD: rustls::Error = rustls::Error::InvalidCertificate(CertificateError::BadEncoding);

/// rustls reads no certificates of X.509 version 1, which clients may have.
fn key_of(certificate: &CertificateDer<'_>) -> Result<SubjectPublicKeyInfoDer<'static>, rustls::Error> {
    public_key(certificate).ok_or(BAD)
}

/// Self-signed, for names that have no other: a client that insists on none can still be served, and one that does
/// not sees why.
fn own_certificate(provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, TlsError> {
    let mut parameters = rcgen::CertificateParams::new(vec!["default-certificate.narthex.invalid".to_owned()])?;
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters
        .distinguished_name
        .push(rcgen::DnType::CommonName, "narthex default certificate");
    let key = rcgen::KeyPair::generate()?;
    let certificate = parameters.self_signed(&key)?;
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let chain = vec![certificate.der().clone()];
    Ok(Arc::new(CertifiedKey::from_der(chain, key, provider)?))
}

/// Chooses the certificate of a handshake from the table that is live then.
struct Chooser {
    tables: Arc<ArcSwap<Table>>,
    own: Arc<CertifiedKey>,
    strict: bool,
}

impl fmt::Debug for Chooser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Chooser")
    }
}

impl ResolvesServerCert for Chooser {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let table = self.tables.load();
        let name = hello.server_name();
        if self.strict && table.certificates_for(name).is_none() {
            return None;
        }
        let set = table.certificates(name);
        let chosen = set.and_then(|set| set.choose(hello.signature_schemes()));
        Some(chosen.map_or_else(|| self.own.clone(), |chosen| chosen.key.clone()))
    }
}

/// The certificates of a listener of a Gateway, whatever others have for the name.
#[derive(Debug)]
struct OfListener(Arc<CertificateSet>);

impl ResolvesServerCert for OfListener {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0
            .choose(hello.signature_schemes())
            .map(|chosen| chosen.key.clone())
    }
}

/// Where a connection goes that is passed on.
pub struct Passed {
    pub to: Destination,
    /// Whether it is TLS, wherever that ends.
    pub is_tls: bool,
    /// The name that its client asked for.
    pub server_name: Option<Box<str>>,
    /// By which rule, and what that asks of it; absent where its listener says so itself.
    pub rule: Option<Rule>,
}

impl Passed {
    /// A connection that is no TLS, as far as is known.
    pub fn connection(to: Destination) -> Self {
        Self {
            to,
            is_tls: false,
            server_name: None,
            rule: None,
        }
    }
}

/// A rule by which connections are passed on.
pub struct Rule {
    pub route: Arc<Route>,
    /// What closes it.
    pub guard: Option<Arc<Guard>>,
}

/// What came of a ClientHello.
pub enum Greeted {
    /// TLS ends here.
    Shaken(Shaken),
    /// TLS ends here, and what is said under it is passed on.
    Unwrapped(Shaken, Passed),
    /// TLS ends elsewhere: nothing was said to the client yet.
    Passed {
        /// The connection.
        stream: TcpStream,
        /// What was read from it.
        bytes: Vec<u8>,
        /// Where it goes.
        to: Passed,
    },
}

/// A connection after its handshake.
pub struct Shaken {
    /// Its bytes.
    pub stream: Stream,
    /// What was agreed.
    pub handshake: Handshake,
    /// Whether HTTP/2 was chosen (ALPN, RFC 7301).
    pub h2: bool,
}

impl Tls {
    /// Reads what a client says first, and shakes hands if TLS ends here for the name it asks for. One handshake of a
    /// shard computes at a time: those that wait for it are woken one by one, behind all else the shard has to do, so
    /// that a thousand handshakes do not hold up requests.
    ///
    /// # Errors
    /// What went wrong, for the log; the client has been told as far as TLS allows.
    pub async fn greet(
        &self,
        tcp: TcpStream,
        fresh: &Fresh,
        listener: &Listener,
        shard: &Shard,
    ) -> io::Result<Greeted> {
        let late = || io::Error::new(io::ErrorKind::TimedOut, "the handshake took too long");
        let shaken = fresh.within(self.try_greet(tcp, fresh, listener, shard)).await;
        shaken.ok_or_else(late)?
    }

    /// How long a handshake may take, from accept.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Whether new handshakes wait until others are done. Then clients have less time for their part.
    pub fn is_full(&self) -> bool {
        self.places.available_permits() == 0
    }

    async fn try_greet(
        &self,
        mut tcp: TcpStream,
        fresh: &Fresh,
        listener: &Listener,
        shard: &Shard,
    ) -> io::Result<Greeted> {
        fresh.awaits_us();
        let _place = self.places.acquire().await;
        fresh.awaits_client();
        let keeps = {
            let table = shard.worker.table();
            let now = table.listener(listener.id);
            table.ingress_hosts().passes_some()
                || listener.protocol() == ListenerProtocol::Tls
                || now.is_some_and(|listener| listener.passes_for_gateways())
        };
        let Hello { accepted, bytes } = Hello::read(&mut tcp, &shard.scratch, keeps).await?;
        let (mut of_gateway, mut unwrapped) = (None, None);
        let profile = match terms(shard, listener.id, accepted.client_hello().server_name()) {
            Some(Terms::Ends(profile)) => profile,
            Some(Terms::OfGateway(certificates)) => {
                of_gateway = Some(certificates);
                None
            }
            Some(Terms::Unwraps(certificates, to)) => {
                of_gateway = Some(certificates);
                unwrapped = Some(to);
                None
            }
            Some(Terms::Passes(to)) if keeps => {
                return Ok(Greeted::Passed { stream: tcp, bytes, to });
            }
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::NotFound,
                    "nothing is served for this name",
                ));
            }
        };
        drop(bytes);
        let config = match (&profile, of_gateway) {
            (None, None) => self.config.clone(),
            (None, Some(certificates)) => {
                let mut config = ServerConfig::clone(&self.config);
                config.cert_resolver = Arc::new(OfListener(certificates));
                if unwrapped.is_some() {
                    // What is spoken under it is for the client and the pod to know.
                    config.alpn_protocols.clear();
                }
                Arc::new(config)
            }
            (Some(profile), _) => self.config_of(profile).ok_or(io::ErrorKind::InvalidData)?,
        };
        let start = StartHandshake::from_parts(accepted, tcp);
        let mut rest = pin!(start.into_stream(config));
        let mut first = {
            fresh.awaits_us();
            let _turn = shard.handshake_turn.acquire().await;
            // All the costly work is in this one step; what follows waits for the client.
            Some(poll_fn(|cx| Poll::Ready(rest.as_mut().poll(cx))).await)
        };
        fresh.awaits_client();
        let stream = poll_fn(|cx| match first.take() {
            Some(poll) => poll,
            None => rest.as_mut().poll(cx),
        })
        .await?;
        let server_name = stream.get_ref().1.server_name().map(Box::from);
        let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let version = match stream.get_ref().1.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        };
        let shown = match profile {
            None => None,
            Some(profile) => {
                let _turn = shard.handshake_turn.acquire().await;
                let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
                Some(Box::new(profile.look_at(chain, UnixTime::now())))
            }
        };
        let shaken = Shaken {
            h2,
            stream: Stream::Tls(Box::new(stream.into())),
            handshake: Handshake {
                server_name,
                version,
                shown,
            },
        };
        Ok(match unwrapped {
            None => Greeted::Shaken(shaken),
            Some(to) => Greeted::Unwrapped(shaken, to),
        })
    }
}

/// What the live table does with a connection.
enum Terms {
    /// TLS ends here, with the profile of its name.
    Ends(Option<Arc<TlsProfile>>),
    /// The same at a listener of a Gateway, which has certificates of its own.
    OfGateway(Arc<CertificateSet>),
    /// The same, and what is said under TLS is passed on.
    Unwraps(Arc<CertificateSet>, Passed),
    Passes(Passed),
}

/// What the live table does for a name.
fn terms(shard: &Shard, listener: ListenerId, server_name: Option<&str>) -> Option<Terms> {
    let table = shard.worker.table();
    let to = |to, rule| Passed {
        to,
        is_tls: true,
        server_name: server_name.map(Box::from),
        rule,
    };
    let passed = |destination, rule| Some(Terms::Passes(to(destination, rule)));
    if let TlsMode::Passthrough(to) = table.listener(listener)?.tls(server_name)? {
        return passed(to.clone(), None);
    }
    // Names that a Gateway with an address of its own does not have are nobody's there.
    let own = table
        .gateways_of(listener, server_name)
        .filter(|port| !port.then_ingresses);
    if own.is_some_and(|port| port.listener(server_name).is_none()) {
        return None;
    }
    if let Some(stream) = table.stream(listener, server_name) {
        let PassedStream { route, certificates } = stream?;
        let rule = Rule {
            route: route.clone(),
            guard: route.policies.guard.clone(),
        };
        let to = to(route.to.clone(), Some(rule));
        return Some(match certificates {
            Some(certificates) => Terms::Unwraps(certificates.clone(), to),
            None => Terms::Passes(to),
        });
    }
    if let Some(certificates) = table.gateway_certificates(listener, server_name) {
        return Some(Terms::OfGateway(certificates.clone()));
    }
    match table
        .hosts_of(listener, server_name)
        .and_then(|hosts| hosts.passes(server_name))
    {
        Some(found) => {
            let asks = found.asked_host.filter(|clients| clients.profile().is_some());
            let guard = found.guard(None).or(asks.map(|clients| &clients.guard)).cloned();
            let route = found.route.clone();
            passed(route.to.clone(), Some(Rule { route, guard }))
        }
        None => Some(Terms::Ends(table.profile(listener, server_name).cloned())),
    }
}
