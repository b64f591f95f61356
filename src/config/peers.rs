//! Flags of who the other narthexes are.

use clap::Args;
use std::sync::Arc;

/// Peers.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Peers")]
pub struct PeerArgs {
    /// Admin addresses of other narthexes, to which requests with ?scope=cluster are passed on. Can be repeated.
    #[arg(long, env = "NARTHEX_PEERS", value_name = "HOST:PORT", value_delimiter = ',', value_parser = peer)]
    pub peers: Vec<Arc<str>>,
    /// Service of the admin addresses of other narthexes. Its namespace must be watched.
    #[arg(long, env = "NARTHEX_ADMIN_SERVICE", value_name = "NAMESPACE/NAME", value_parser = service)]
    pub admin_service: Option<(Arc<str>, Arc<str>)>,
}

fn peer(text: &str) -> Result<Arc<str>, String> {
    let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    match port.map(|(_, port)| port.parse::<u16>()) {
        Some(Ok(1..)) => Ok(text.into()),
        _ => Err("write HOST:PORT, IP:PORT or [IPv6]:PORT".to_owned()),
    }
}

fn service(text: &str) -> Result<(Arc<str>, Arc<str>), String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok((namespace.into(), name.into()))
        }
        _ => Err("write NAMESPACE/NAME of a Service".to_owned()),
    }
}

impl PeerArgs {
    /// Whether the admin Service is in a namespace that is watched, for only then its endpoints are known.
    pub fn can_be_found(&self, watched: &[String]) -> bool {
        let in_sight = |namespace: &str| watched.is_empty() || watched.iter().any(|one| one == namespace);
        self.admin_service
            .as_ref()
            .is_none_or(|(namespace, _)| in_sight(namespace))
    }
}
