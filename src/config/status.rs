//! Flags of what the cluster is told.

use clap::Args;

/// What the cluster is told of Ingresses: their addresses, and Events about what is wrong.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Status")]
pub struct StatusArgs {
    /// Write the status of Ingresses and Events. Only the narthex that holds the Lease writes, and only in a cluster.
    #[arg(long, env = "NARTHEX_UPDATE_STATUS", value_name = "BOOL", default_value_t = true,
          action = clap::ArgAction::Set)]
    pub update_status: bool,
    /// Addresses or names to show as the status of Ingresses [default: the addresses of the nodes whose narthex is ready].
    #[arg(
        long,
        env = "NARTHEX_PUBLISH_ADDRESS",
        value_name = "ADDR or NAME",
        value_delimiter = ','
    )]
    pub publish_address: Vec<String>,
    /// Show the addresses of this Service (status and externalIPs) instead.
    #[arg(
        long,
        env = "NARTHEX_PUBLISH_SERVICE",
        value_name = "NAMESPACE/NAME",
        value_parser = service,
        conflicts_with = "publish_address"
    )]
    pub publish_service: Option<(String, String)>,
    /// Show names of nodes (ExternalDNS, or else Hostname) instead of addresses (ExternalIP, or else InternalIP).
    #[arg(long, env = "NARTHEX_PUBLISH_HOSTNAMES", value_name = "BOOL", default_value_t = false,
          action = clap::ArgAction::Set,
          conflicts_with_all = ["publish_address", "publish_service"])]
    pub publish_hostnames: bool,
    /// Maximum number of status writes per second.
    #[arg(long, env = "NARTHEX_STATUS_RATE", value_name = "N", default_value_t = 20)]
    pub status_rate: u32,
    /// Name of this router in the status of Routes (--drop-in openshift). Each router needs one of its own.
    #[arg(long, env = "NARTHEX_ROUTER_NAME", value_name = "NAME", default_value = "narthex")]
    pub router_name: String,
    /// Host name under which clients reach this router, for the status of Routes.
    #[arg(long, env = "NARTHEX_ROUTER_HOSTNAME", value_name = "NAME")]
    pub router_hostname: Option<String>,
    /// Namespace of narthex's pods and Lease [default: the namespace of the service account].
    #[arg(long, env = "NARTHEX_NAMESPACE", value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// Labels of narthex's pods.
    #[arg(
        long,
        env = "NARTHEX_POD_SELECTOR",
        value_name = "LABELS",
        default_value = "app.kubernetes.io/name=narthex"
    )]
    pub pod_selector: String,
    /// Name of the Lease. Use different names for narthexes with different classes in the same namespace.
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
