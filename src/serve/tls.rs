//! TLS towards clients: one configuration for all shards, a certificate for each name from the live table.

use super::fresh::Fresh;
use super::hello::Hello;
use super::shard::Shard;
use crate::config::TlsVersion;
use crate::proxy::Handshake;
use crate::proxy::reply::PLAIN_ON_HTTPS;
use crate::table::{Destination, Listener, ListenerId, ListenerProtocol, Table, TlsMode};
use crate::upstream::Stream;
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::StartHandshake;

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
    config: Arc<ServerConfig>,
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
        let versions: &[&rustls::SupportedProtocolVersion] = match settings.min_version {
            TlsVersion::Tls12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
            TlsVersion::Tls13 => &[&rustls::version::TLS13],
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let chooser = Chooser {
            tables,
            own: own_certificate(&provider)?,
            strict: settings.strict_sni,
        };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(chooser));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Tickets are sealed by keys that rotate every six hours and are the same for all shards, so that a client
        // resumes wherever it lands and the server keeps nothing.
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        // 0-RTT can be replayed (RFC 8446, section 8).
        config.max_early_data_size = 0;
        Ok(Self {
            config: Arc::new(config),
            timeout: settings.handshake_timeout,
            places: Arc::new(Semaphore::new(settings.max_handshakes)),
        })
    }
}

/// Self-signed, for names that have no other: a client that insists on none can still be served, and one that does
/// not sees why.
fn own_certificate(provider: &rustls::crypto::CryptoProvider) -> Result<Arc<CertifiedKey>, TlsError> {
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

/// What came of a ClientHello.
pub enum Greeted {
    /// TLS ends here.
    Shaken(Shaken),
    /// TLS ends elsewhere: nothing was said to the client yet.
    Passed {
        /// The connection.
        stream: TcpStream,
        /// What was read from it.
        bytes: Vec<u8>,
        /// Where it goes.
        to: Destination,
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
        let mut first = [0];
        tcp.peek(&mut first).await?;
        if first[0].is_ascii_uppercase() {
            tcp.write_all(PLAIN_ON_HTTPS).await?;
            tcp.shutdown().await?;
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "plain HTTP on the HTTPS port",
            ));
        }
        let keeps = listener.protocol() == ListenerProtocol::Tls;
        let Hello { accepted, bytes } = Hello::read(&mut tcp, &shard.scratch, keeps).await?;
        match mode(shard, listener.id, accepted.client_hello().server_name()) {
            Some(TlsMode::Terminate(_)) => {}
            Some(TlsMode::Passthrough(to)) if keeps => {
                return Ok(Greeted::Passed { stream: tcp, bytes, to });
            }
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::NotFound,
                    "nothing is served for this name",
                ));
            }
        }
        drop(bytes);
        let start = StartHandshake::from_parts(accepted, tcp);
        let mut rest = pin!(start.into_stream(self.config.clone()));
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
        Ok(Greeted::Shaken(Shaken {
            h2,
            stream: Stream::Tls(Box::new(stream.into())),
            handshake: Handshake { server_name, version },
        }))
    }
}

/// What the live table does for a name.
fn mode(shard: &Shard, listener: ListenerId, server_name: Option<&str>) -> Option<TlsMode> {
    let table = shard.worker.table();
    table.listener(listener)?.tls(server_name).cloned()
}
