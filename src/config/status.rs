//! Flags of what the cluster is told.

use clap::Args;

/// What the cluster is told of Ingresses: their addresses, and Events about what is wrong.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Status")]
pub struct StatusArgs {
    /// Whether status and Events are written, by the one narthex that holds the Lease. Only in a cluster.
    #[arg(long, env = "NARTHEX_UPDATE_STATUS", value_name = "BOOL", default_value_t = true,
          action = clap::ArgAction::Set)]
    pub update_status: bool,
    /// The addresses or names by which clients reach narthex [default: those of the nodes whose narthex is ready].
    #[arg(
        long,
        env = "NARTHEX_PUBLISH_ADDRESS",
        value_name = "ADDR or NAME",
        value_delimiter = ','
    )]
    pub publish_address: Vec<String>,
    /// Take them from the status and externalIPs of this Service instead.
    #[arg(
        long,
        env = "NARTHEX_PUBLISH_SERVICE",
        value_name = "NAMESPACE/NAME",
        value_parser = service,
        conflicts_with = "publish_address"
    )]
    pub publish_service: Option<(String, String)>,
    /// The names of nodes (ExternalDNS, else Hostname) in the place of their addresses (ExternalIP, else InternalIP).
    #[arg(long, env = "NARTHEX_PUBLISH_HOSTNAMES", value_name = "BOOL", default_value_t = false,
          action = clap::ArgAction::Set,
          conflicts_with_all = ["publish_address", "publish_service"])]
    pub publish_hostnames: bool,
    /// Writes of status a second, at most.
    #[arg(long, env = "NARTHEX_STATUS_RATE", value_name = "N", default_value_t = 20)]
    pub status_rate: u32,
    /// The namespace narthex runs in, with its pods and its Lease [default: that of the service account].
    #[arg(long, env = "NARTHEX_NAMESPACE", value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// The labels of its pods.
    #[arg(
        long,
        env = "NARTHEX_POD_SELECTOR",
        value_name = "LABELS",
        default_value = "app.kubernetes.io/name=narthex"
    )]
    pub pod_selector: String,
    /// The name of the Lease; another one for each narthex with a class of its own in the same namespace.
    #[arg(long, env = "NARTHEX_LEASE", value_name = "NAME", default_value = "narthex")]
    pub lease: String,
}

fn service(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok((namespace.to_owned(), name.to_owned()))
        }
        _ => Err("write NAMESPACE/NAME".to_owned()),
    }
}
