//! Flags about Routes of OpenShift.

use super::RouteOwnership;
use clap::Args;
use std::path::PathBuf;
use std::sync::Arc;

/// Which Routes are served with `--drop-in openshift`, and how.
#[derive(Args, Clone, Debug)]
pub struct RouteArgs {
    /// Domain of Routes without a host: they get SUBDOMAIN.DOMAIN, or NAME-NAMESPACE.DOMAIN. Without it they are not served.
    #[arg(long, env = "NARTHEX_ROUTE_DOMAIN", value_name = "DOMAIN", value_parser = domain)]
    pub route_domain: Option<Arc<str>>,
    /// Serve Routes with `wildcardPolicy: Subdomain`, which are for all hosts of a domain.
    #[arg(long, env = "NARTHEX_ROUTE_WILDCARDS")]
    pub route_wildcards: bool,
    /// Serve only Routes whose labels fit this selector, such as `type=sharded` or `tier in (a,b)`.
    #[arg(long, env = "NARTHEX_ROUTE_LABELS", value_name = "SELECTOR")]
    pub route_labels: Option<String>,
    /// Serve only Routes of namespaces whose labels fit this selector.
    #[arg(long, env = "NARTHEX_NAMESPACE_LABELS", value_name = "SELECTOR")]
    pub namespace_labels: Option<String>,
    /// Namespaces that may have paths of a host that a Route claims: the one of the oldest Route or Ingress of the host, or any.
    #[arg(
        long,
        env = "NARTHEX_ROUTE_OWNERSHIP",
        value_name = "WHO",
        value_enum,
        default_value = "namespace"
    )]
    pub route_ownership: RouteOwnership,
    /// File with the certificate authorities, in PEM, of pods whose Route says `reencrypt` and names no authorities itself
    /// [default: the authorities of this system].
    #[arg(long, env = "NARTHEX_ROUTE_SERVICE_CA", value_name = "PATH")]
    pub route_service_ca: Option<PathBuf>,
}

fn domain(text: &str) -> Result<Arc<str>, String> {
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    let text = text.trim_matches('.').to_ascii_lowercase();
    if text.is_empty() || !text.bytes().all(is_host) {
        return Err("write a domain such as apps.example.com".to_owned());
    }
    Ok(text.into())
}
