//! Flags and environment variables, read once into plain values. Unknown or contradictory settings are errors here.
//! Every default and bound of the program is written here, with its reason. No other part of the program is imported;
//! `cli/serve/assemble.rs` turns these values into the settings of each part.

mod access;
mod descriptors;
mod logs;
mod metrics;
mod peers;
mod routes;
mod secret_url;
mod status;
pub(crate) mod values;

pub use access::{Format, Shown, StatusRange};
pub use descriptors::Shares;
pub use logs::{AccessArgs, LogArgs, TraceArgs};
pub use metrics::{MetricsArgs, MetricsLabel};
pub use peers::PeerArgs;
pub use routes::RouteArgs;
pub use secret_url::SecretUrl;
pub use status::StatusArgs;
pub use values::{
    DropIn, EncodedSlash, Listen, ListenAddress, Listening, LogFormat, MaxMemory, Protocol, ProxyProtocol,
    RouteOwnership, TlsVersion, annotation,
};

use clap::Args;
use http::HeaderValue;
use ipnet::IpNet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
pub use values::{bytes, net};
use values::{duration, grace, header, max_memory, secret, window};

/// Where objects come from.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Sources")]
pub struct SourceArgs {
    /// File or folder of Kubernetes manifests to serve instead of a cluster. narthex watches it for changes. Can be repeated.
    #[arg(long, env = "NARTHEX_MANIFESTS", value_name = "PATH", value_delimiter = ',')]
    pub manifests: Vec<PathBuf>,
    /// Kubeconfig file for the cluster [default: the service account of the pod, $KUBECONFIG or ~/.kube/config].
    #[arg(long, env = "NARTHEX_KUBECONFIG", value_name = "PATH")]
    pub kubeconfig: Option<PathBuf>,
    /// Watch only this namespace. Can be repeated.
    #[arg(
        long,
        env = "NARTHEX_WATCH_NAMESPACE",
        value_name = "NAMESPACE",
        value_delimiter = ','
    )]
    pub watch_namespace: Vec<String>,
}

/// Which objects are served.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Rules")]
pub struct RuleArgs {
    /// Class of the Ingresses to serve. No IngressClass object of that name is needed.
    #[arg(long, env = "NARTHEX_INGRESS_CLASS", value_name = "NAME", default_value = "narthex")]
    pub ingress_class: String,
    /// Serve Ingresses without a class.
    #[arg(long, env = "NARTHEX_CLASS_LESS", value_name = "BOOL", default_value_t = true,
          action = clap::ArgAction::Set)]
    pub class_less: bool,
    /// Class of the Gateways to serve. No GatewayClass object of that name is needed.
    #[arg(long, env = "NARTHEX_GATEWAY_CLASS", value_name = "NAME", default_value = "narthex")]
    pub gateway_class: String,
    /// Ports that listeners of Gateways may have beside those of --listen-http and --listen-https.
    #[arg(
        long,
        env = "NARTHEX_GATEWAY_PORTS",
        value_name = "PORTS",
        value_delimiter = ',',
        default_value = "80,443,1024-29999",
        value_parser = values::ports
    )]
    pub gateway_ports: Vec<RangeInclusive<u16>>,
    /// Addresses that Gateways have for themselves: each gets one, or those that it names. Without them, Gateways share the
    /// addresses of --listen-http and --listen-https with each other and with Ingresses.
    #[arg(
        long,
        env = "NARTHEX_GATEWAY_ADDRESSES",
        value_name = "CIDR,…",
        value_delimiter = ',',
        value_parser = net
    )]
    pub gateway_addresses: Vec<IpNet>,
    /// Allow ExternalName Services as backends. They can lead anywhere.
    #[arg(long, env = "NARTHEX_ALLOW_EXTERNAL_NAMES")]
    pub allow_external_names: bool,
    /// Reserve a host for a namespace: a name, `*.` and a name for one label before it, or `*` for all hosts. Rules and
    /// certificates of other namespaces for the host are left out. Can be repeated, also to give a host several owners.
    #[arg(
        long,
        env = "NARTHEX_HOST_OWNERS",
        value_name = "NAMESPACE=HOST",
        value_delimiter = ','
    )]
    pub host_owners: Vec<Arc<str>>,
    /// Secret with the certificate for names that have no other [default: a self-signed certificate, created at start].
    #[arg(long, env = "NARTHEX_DEFAULT_CERTIFICATE", value_name = "NAMESPACE/NAME", value_parser = secret)]
    pub default_certificate: Option<(Arc<str>, Arc<str>)>,
    /// Zone of this node, for the topology hints of EndpointSlices [default: the label topology.kubernetes.io/zone of --node].
    #[arg(long, env = "NARTHEX_ZONE", value_name = "ZONE")]
    pub zone: Option<Arc<str>>,
    /// Name of this node, for the topology hints of EndpointSlices.
    #[arg(long, env = "NARTHEX_NODE", value_name = "NAME")]
    pub node: Option<Arc<str>>,
    /// Serve routes without this annotation, which restricts access but is not enforced by narthex, instead of closing
    /// them. A name, or a pattern with `*`. Can be repeated.
    #[arg(long, env = "NARTHEX_IGNORE_ANNOTATION", value_name = "PATTERN", value_delimiter = ',', value_parser = annotation)]
    pub ignore_annotation: Vec<Arc<str>>,
    /// Serve the Ingresses of this controller too, by its own rules as far as narthex knows them. Can be repeated.
    #[arg(long, env = "NARTHEX_DROP_IN", value_name = "CONTROLLER", value_delimiter = ',')]
    pub drop_in: Vec<DropIn>,
    /// ConfigMap of ingress-nginx, whose keys hold for the Ingresses of --drop-in ingress-nginx and are followed while narthex
    /// runs.
    #[arg(long, env = "NARTHEX_NGINX_CONFIGMAP", value_name = "NAMESPACE/NAME", value_parser = values::object)]
    pub nginx_configmap: Option<(Arc<str>, Arc<str>)>,
    /// Service whose first port answers paths that no rule of a host lists, for hosts of --drop-in ingress-nginx, and makes the
    /// pages of custom-http-errors.
    #[arg(long, env = "NARTHEX_NGINX_DEFAULT_BACKEND", value_name = "NAMESPACE/NAME", value_parser = values::object)]
    pub nginx_default_backend: Option<(Arc<str>, Arc<str>)>,
    /// Which Routes are served, and how.
    #[command(flatten)]
    pub routes: RouteArgs,
    /// Redirect plain HTTP to HTTPS (308) for hosts in `spec.tls`. An Ingress can override this with narthex.io/ssl-redirect.
    #[arg(long, env = "NARTHEX_SSL_REDIRECT", value_name = "BOOL", default_value_t = true,
          action = clap::ArgAction::Set)]
    pub ssl_redirect: bool,
    /// Let an Ingress whose Service has had no ready endpoint for this long (5s without a value) yield its host and path to
    /// the next Ingress that claims them and has ready endpoints. It gets them back with its first ready endpoint. Routes that
    /// a guard closes never yield, and no Ingress yields past one.
    #[arg(long, env = "NARTHEX_YIELD_EMPTY", value_name = "DURATION", value_parser = values::seconds,
          num_args = 0..=1, require_equals = true, default_missing_value = "5s")]
    pub yield_empty: Option<Duration>,
}

/// All flags of `serve`.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    /// Where objects come from.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Which are served.
    #[command(flatten)]
    pub rules: RuleArgs,
    /// Where requests and questions come in.
    #[command(flatten)]
    pub listen: ListenArgs,
    /// Bounds on what clients do.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// Time-outs.
    #[command(flatten)]
    pub timeouts: TimeoutArgs,
    /// TLS.
    #[command(flatten)]
    pub tls: TlsArgs,
    /// Headers and paths.
    #[command(flatten)]
    pub http: HttpArgs,
    /// What the cluster is told.
    #[command(flatten)]
    pub status: StatusArgs,
    /// Other narthexes.
    #[command(flatten)]
    pub peers: PeerArgs,
    /// The end.
    #[command(flatten)]
    pub end: EndArgs,
    /// The log.
    #[command(flatten)]
    pub log: LogArgs,
    /// What is counted apart.
    #[command(flatten)]
    pub metrics: MetricsArgs,
    /// The access log.
    #[command(flatten)]
    pub access: AccessArgs,
    /// Traces.
    #[command(flatten)]
    pub traces: TraceArgs,
    /// Flags of Traefik 1.7.
    #[command(flatten)]
    pub traefik: TraefikArgs,
}

/// Addresses and shards.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Listening")]
pub struct ListenArgs {
    /// Address to listen on for HTTP, or `off` [default: `[::]:80`].
    #[arg(long, env = "NARTHEX_LISTEN_HTTP", value_name = "ADDR")]
    pub listen_http: Option<Listen>,
    /// Address to listen on for HTTPS, or `off` [default: `[::]:443`, or off if only --listen-http is given].
    #[arg(long, env = "NARTHEX_LISTEN_HTTPS", value_name = "ADDR")]
    pub listen_https: Option<Listen>,
    /// Address of the admin API, the dashboard, metrics and probes.
    #[arg(long, env = "NARTHEX_ADMIN", value_name = "ADDR", default_value = ":8080")]
    pub admin: ListenAddress,
    /// Additional host names that the admin address accepts, besides addresses, names without a dot and names of Services.
    #[arg(long, env = "NARTHEX_ADMIN_HOST", value_name = "NAME", value_delimiter = ',')]
    pub admin_host: Vec<String>,
    /// File with a token that the admin address requires (Authorization: Bearer) except for probes and /metrics.
    #[arg(long, env = "NARTHEX_ADMIN_TOKEN_FILE", value_name = "PATH")]
    pub admin_token_file: Option<PathBuf>,
    /// Unix socket to create for probes of this process. It serves /healthz and /readyz.
    #[arg(long, env = "NARTHEX_PROBE_SOCKET", value_name = "PATH")]
    pub probe_socket: Option<PathBuf>,
    /// Let other processes of the same user listen on the same addresses (SO_REUSEPORT), for upgrades.
    #[arg(long, env = "NARTHEX_SHARE_PORTS")]
    pub share_ports: bool,
    /// Take over the listening sockets of the narthex that uses this name on this node, and later hand them over to the next
    /// narthex with this name. An upgrade then loses no connection.
    #[arg(long, env = "NARTHEX_HAND_OVER", value_name = "NAME")]
    pub hand_over: Option<String>,
    /// Name of this narthex in answers of its admin API [default: the host name].
    #[arg(long, env = "NARTHEX_POD", value_name = "NAME")]
    pub pod: Option<String>,
    /// Accept a PROXY protocol header (v1 or v2) from --trusted-proxies; `required` closes all other connections.
    #[arg(
        long,
        env = "NARTHEX_PROXY_PROTOCOL",
        value_name = "MODE",
        value_enum,
        default_value = "off"
    )]
    pub proxy_protocol: ProxyProtocol,
    /// Number of threads that serve requests; 0 means one per processor.
    #[arg(long, env = "NARTHEX_SHARDS", value_name = "N", default_value_t = 0)]
    pub shards: usize,
}

/// Bounds of a request's head, which `explain` applies as well.
#[derive(Args, Clone, Debug)]
pub struct HeadArgs {
    /// Maximum size of a request head; a larger one gets 431.
    #[arg(long, env = "NARTHEX_MAX_HEAD", value_name = "BYTES", default_value = "32KiB", value_parser = bytes)]
    pub max_head: usize,
    /// Maximum size of a request target; a larger one gets 414.
    #[arg(long, env = "NARTHEX_MAX_URI", value_name = "BYTES", default_value = "16KiB", value_parser = bytes)]
    pub max_uri: usize,
    /// Maximum number of header fields in a request; more get 431.
    #[arg(long, env = "NARTHEX_MAX_HEADERS", value_name = "N", default_value_t = 100)]
    pub max_headers: usize,
}

/// Bounds on what clients do.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Limits")]
pub struct LimitArgs {
    /// Maximum number of client connections; 0 means half of the process's file descriptors, minus a reserve. To make room
    /// for new connections, narthex closes those that have been idle longest, then those whose clients send or receive
    /// less than 500 bytes a second while narthex waits for them. If no connection can be closed, it refuses new ones.
    #[arg(long, env = "NARTHEX_MAX_CONNECTIONS", value_name = "N", default_value_t = 0)]
    pub max_connections: usize,
    /// Maximum number of requests in flight in the whole process; more get 503.
    #[arg(long, env = "NARTHEX_MAX_IN_FLIGHT", value_name = "N", default_value_t = 100_000)]
    pub max_in_flight: u32,
    /// Maximum memory, in bytes or as a percentage of the container's limit (cgroup v2). Above it, most requests get 503 and
    /// idle connections are closed. `off`, or a percentage without a container limit, means no maximum.
    #[arg(long, env = "NARTHEX_MAX_MEMORY", value_name = "BYTES|%", default_value = "90%", value_parser = max_memory)]
    pub max_memory: MaxMemory,
    /// Bounds of a request's head.
    #[command(flatten)]
    pub head: HeadArgs,
    /// Flow-control window of a request body over HTTP/2, from 64KiB to 16MiB: the bytes that a client may send before the
    /// pod reads them. It limits what one round trip carries: 1MiB allows 10 MB/s at 100 ms.
    #[arg(long, env = "NARTHEX_HTTP2_STREAM_WINDOW", value_name = "BYTES", default_value = "1MiB", value_parser = window)]
    pub http2_stream_window: u32,
    /// Maximum size of a response head; a larger one causes 502.
    #[arg(long, env = "NARTHEX_MAX_RESPONSE_HEAD", value_name = "BYTES", default_value = "64KiB", value_parser = bytes)]
    pub max_response_head: usize,
    /// Maximum number of idle connections kept per endpoint and shard.
    #[arg(long, env = "NARTHEX_UPSTREAM_MAX_IDLE", value_name = "N", default_value_t = 128)]
    pub upstream_max_idle: usize,
    /// Maximum memory for compressing replies. If it has no room for another encoder (0.4 to 2.4 MiB), the reply is sent uncompressed.
    #[arg(long, env = "NARTHEX_COMPRESSION_MEMORY", value_name = "BYTES", default_value = "256MiB", value_parser = bytes)]
    pub compression_memory: usize,
    /// Maximum number of endpoints tried per request. Up to eight unreachable ones are not counted.
    #[arg(long, env = "NARTHEX_ATTEMPTS", value_name = "N", default_value_t = 3)]
    pub attempts: usize,
}

/// Time-outs.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Time-outs")]
pub struct TimeoutArgs {
    /// Time for a complete request head; then 408.
    #[arg(long, env = "NARTHEX_HEAD_TIMEOUT", value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub head_timeout: Duration,
    /// Time that a client connection may be idle between requests. The default is longer than the 60 s of common load balancers.
    #[arg(long, env = "NARTHEX_IDLE_TIMEOUT", value_name = "TIME", default_value = "75s", value_parser = duration)]
    pub idle_timeout: Duration,
    /// Maximum pause in a request body; then 408. Once the response has begun, maximum pause in both directions.
    #[arg(long, env = "NARTHEX_BODY_TIMEOUT", value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub body_timeout: Duration,
    /// Time in which a client may neither read any of a response nor send anything.
    #[arg(long, env = "NARTHEX_SEND_TIMEOUT", value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub send_timeout: Duration,
    /// Maximum pause of a WebSocket in both directions.
    #[arg(long, env = "NARTHEX_TUNNEL_TIMEOUT", value_name = "TIME", default_value = "1h", value_parser = duration)]
    pub tunnel_timeout: Duration,
    /// Time for one connect to a pod.
    #[arg(long, env = "NARTHEX_CONNECT_TIMEOUT", value_name = "TIME", default_value = "1s", value_parser = duration)]
    pub connect_timeout: Duration,
    /// Time from the last byte of the request to the response head; then 504.
    #[arg(long, env = "NARTHEX_RESPONSE_TIMEOUT", value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub response_timeout: Duration,
    /// Time in which a pod may neither send any of a response body nor receive any of the request.
    #[arg(long, env = "NARTHEX_STREAM_TIMEOUT", value_name = "TIME", default_value = "5m", value_parser = duration)]
    pub stream_timeout: Duration,
    /// Time that an idle connection to a pod is kept. The default is shorter than the 5 s of Node.js.
    #[arg(long, env = "NARTHEX_UPSTREAM_IDLE_TIMEOUT", value_name = "TIME", default_value = "4s", value_parser = duration)]
    pub upstream_idle_timeout: Duration,
}

/// TLS towards clients.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "TLS")]
pub struct TlsArgs {
    /// Minimum TLS version.
    #[arg(
        long,
        env = "NARTHEX_TLS_MIN_VERSION",
        value_name = "VERSION",
        value_enum,
        default_value = "1.2"
    )]
    pub tls_min_version: TlsVersion,
    /// Refuse TLS clients that send no server name (SNI), or one without a certificate.
    #[arg(long, env = "NARTHEX_STRICT_SNI")]
    pub strict_sni: bool,
    /// Port in redirects to HTTPS [default: the port of --listen-https].
    #[arg(long, env = "NARTHEX_HTTPS_PORT", value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub https_port: Option<u16>,
    /// Time for a complete TLS handshake.
    #[arg(long, env = "NARTHEX_HANDSHAKE_TIMEOUT", value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub handshake_timeout: Duration,
    /// Maximum number of concurrent TLS handshakes; others wait.
    #[arg(long, env = "NARTHEX_MAX_HANDSHAKES", value_name = "N", default_value_t = 4096)]
    pub max_handshakes: usize,
}

/// What a request means; `explain` has to know it too.
#[derive(Args, Clone, Debug)]
pub struct ReadingArgs {
    /// Addresses or networks of the peers whose X-Forwarded-* fields and PROXY headers are trusted.
    #[arg(long, env = "NARTHEX_TRUSTED_PROXIES", value_name = "CIDR,…", value_delimiter = ',', value_parser = net)]
    pub trusted_proxies: Vec<IpNet>,
    /// How to treat %2F and %5C in a path.
    #[arg(
        long,
        env = "NARTHEX_ENCODED_SLASH",
        value_name = "WHAT",
        value_enum,
        default_value = "keep"
    )]
    pub encoded_slash: EncodedSlash,
}

impl ReadingArgs {
    /// Whether %2F and %5C in a path are refused.
    pub fn rejects_encoded_slash(&self) -> bool {
        self.encoded_slash == EncodedSlash::Reject
    }
}

/// Headers and paths.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "HTTP")]
pub struct HttpArgs {
    /// How requests are understood.
    #[command(flatten)]
    pub reading: ReadingArgs,
    /// Send the reply to a client that has closed its side of the connection. Otherwise such a client counts as gone, unless
    /// it used HTTP/1.0 or `Connection: close`.
    #[arg(long, env = "NARTHEX_SERVE_HALF_CLOSED")]
    pub serve_half_closed: bool,
    /// Value of `Server` for responses without one.
    #[arg(long, env = "NARTHEX_SERVER_HEADER", value_name = "NAME", value_parser = header)]
    pub server_header: Option<HeaderValue>,
}

/// The end.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Shutdown")]
pub struct EndArgs {
    /// How long to accept connections after SIGTERM, so that load balancers notice.
    #[arg(long, env = "NARTHEX_DRAIN_GRACE", value_name = "TIME", default_value = "3s", value_parser = grace)]
    pub drain_grace: Duration,
    /// Period over which idle connections are then closed, starting with those idle longest. If all closed at once, their
    /// clients would also reconnect at once.
    #[arg(long, env = "NARTHEX_DRAIN_SPREAD", value_name = "TIME", default_value = "5s", value_parser = grace)]
    pub drain_spread: Duration,
    /// How long the remaining requests may then take.
    #[arg(long, env = "NARTHEX_DRAIN_DEADLINE", value_name = "TIME", default_value = "25s", value_parser = grace)]
    pub drain_deadline: Duration,
}

/// Flags of Traefik 1.7 that its DaemonSets carry: accepted, with a note, and without effect.
#[derive(Args, Clone, Debug, Default)]
pub struct TraefikArgs {
    /// Traefik 1.7: the admin API is always on.
    #[arg(long, hide = true)]
    pub api: bool,
    /// Traefik 1.7: the cluster is the source unless --manifests is given.
    #[arg(long, hide = true)]
    pub kubernetes: bool,
}

impl ServeArgs {
    /// Checks what clap cannot.
    ///
    /// # Errors
    /// One line that names the flags.
    pub fn check(&self) -> Result<(), String> {
        self.traces.check()?;
        if !self.source.manifests.is_empty() && self.source.kubeconfig.is_some() {
            return Err(
                "--manifests and --kubeconfig cannot be combined: objects come either from files or from a cluster"
                    .to_owned(),
            );
        }
        let listening = self.listening();
        let admin = self.listen.admin.0;
        let mut taken = vec![("--admin", admin)];
        for one in &listening {
            let flag = match one.protocol {
                Protocol::Https => "--listen-https",
                Protocol::Http => "--listen-http",
            };
            if one.address.port() != 0
                && let Some((other, address)) = taken.iter().find(|(_, address)| *address == one.address)
            {
                return Err(format!("{flag} and {other} are both {address}: use different ports"));
            }
            taken.push((flag, one.address));
        }
        let of_gateways = |address: &IpAddr| self.rules.gateway_addresses.iter().any(|net| net.contains(address));
        if let Some((flag, address)) = taken.iter().find(|(_, address)| of_gateways(&address.ip())) {
            return Err(format!(
                "{flag} has {address}, which is one of --gateway-addresses: those are for Gateways alone"
            ));
        }
        if listening.is_empty() {
            return Err("--listen-http and --listen-https are both off, so narthex would serve nothing".to_owned());
        }
        if self.listen.proxy_protocol != ProxyProtocol::Off && self.http.reading.trusted_proxies.is_empty() {
            return Err(
                "--proxy-protocol requires --trusted-proxies: list the addresses of the load balancer there".to_owned(),
            );
        }
        if self.limits.attempts == 0 {
            return Err("--attempts 0 would reach no endpoint: write 1 or more".to_owned());
        }
        self.access.check()
    }

    /// The listeners for requests. Neither flag given, both defaults; only --listen-http given, no HTTPS.
    pub fn listening(&self) -> Vec<Listening> {
        let (http, https) = (self.listen.listen_http, self.listen.listen_https);
        let default = |port| ListenAddress(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port));
        let both = [
            (Protocol::Http, http, http.unwrap_or(Listen::At(default(80)))),
            (
                Protocol::Https,
                https,
                match (http, https) {
                    (_, Some(https)) => https,
                    (Some(Listen::At(_)), None) => Listen::Off,
                    _ => Listen::At(default(443)),
                },
            ),
        ];
        let decided = both.into_iter().filter_map(|(protocol, asked, decided)| match decided {
            Listen::At(ListenAddress(address)) => Some(Listening {
                protocol,
                address,
                named: asked.is_some(),
            }),
            Listen::Off => None,
        });
        decided.collect()
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        match self.listen.shards {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            shards => shards,
        }
    }

    /// How many connections there may be, given the file descriptors the process may have.
    pub fn shares(&self, descriptors: usize) -> Shares {
        Shares::of(descriptors, self.limits.max_connections)
    }
}
