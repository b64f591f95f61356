//! Flags and environment variables, read once into plain values. Unknown or contradictory settings are errors here.
//! Every default and bound of the program is written here, with its reason. No other part of the program is imported;
//! `cli/serve/assemble.rs` turns these values into the settings of each part.

mod access;
mod descriptors;
mod logs;
mod metrics;
mod peers;
mod secret_url;
mod status;
pub(crate) mod values;

pub use access::{Format, Shown, StatusRange};
pub use descriptors::Shares;
pub use logs::{AccessArgs, LogArgs, TraceArgs};
pub use metrics::{MetricsArgs, MetricsLabel};
pub use peers::PeerArgs;
pub use secret_url::SecretUrl;
pub use status::StatusArgs;
pub use values::{
    EncodedSlash, Listen, ListenAddress, Listening, LogFormat, MaxMemory, Protocol, ProxyProtocol, TlsVersion,
    annotation,
};

use clap::Args;
use http::HeaderValue;
use ipnet::IpNet;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
pub use values::{bytes, net};
use values::{duration, grace, header, max_memory, secret, window};

/// Where objects come from.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Sources")]
pub struct SourceArgs {
    /// File or folder of Kubernetes manifests to serve, watched; may be given again. No cluster is asked then.
    #[arg(long, env = "NARTHEX_MANIFESTS", value_name = "PATH", value_delimiter = ',')]
    pub manifests: Vec<PathBuf>,
    /// How to reach the cluster; without it the pod's own account, $KUBECONFIG or ~/.kube/config.
    #[arg(long, env = "NARTHEX_KUBECONFIG", value_name = "PATH")]
    pub kubeconfig: Option<PathBuf>,
    /// Watch only this namespace; may be given again.
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
    /// Ingresses of this class are ours, also where there is no IngressClass object of that name.
    #[arg(long, env = "NARTHEX_INGRESS_CLASS", value_name = "NAME", default_value = "narthex")]
    pub ingress_class: String,
    /// Whether Ingresses without a class are served.
    #[arg(long, env = "NARTHEX_CLASS_LESS", value_name = "BOOL", default_value_t = true,
          action = clap::ArgAction::Set)]
    pub class_less: bool,
    /// Whether ExternalName Services may be backends: they can lead anywhere.
    #[arg(long, env = "NARTHEX_ALLOW_EXTERNAL_NAMES")]
    pub allow_external_names: bool,
    /// A namespace that alone may have a host, or one label before it with `*.`, or all hosts with `*`; may be given again,
    /// for several namespaces too. Others' rules and certificates for it are left out.
    #[arg(
        long,
        env = "NARTHEX_HOST_OWNERS",
        value_name = "NAMESPACE=HOST",
        value_delimiter = ','
    )]
    pub host_owners: Vec<Arc<str>>,
    /// The Secret whose certificate names get that have no other [default: a self-signed one, made at start].
    #[arg(long, env = "NARTHEX_DEFAULT_CERTIFICATE", value_name = "NAMESPACE/NAME", value_parser = secret)]
    pub default_certificate: Option<(Arc<str>, Arc<str>)>,
    /// The zone this node is in, for the hints of EndpointSlices [default: the label topology.kubernetes.io/zone of --node].
    #[arg(long, env = "NARTHEX_ZONE", value_name = "ZONE")]
    pub zone: Option<Arc<str>>,
    /// The name of this node, for the hints of EndpointSlices.
    #[arg(long, env = "NARTHEX_NODE", value_name = "NAME")]
    pub node: Option<Arc<str>>,
    /// An annotation that guards routes and that narthex does not enforce, by name or by a pattern with `*`: routes are
    /// served without it instead of being closed. May be given again.
    #[arg(long, env = "NARTHEX_IGNORE_ANNOTATION", value_name = "PATTERN", value_delimiter = ',', value_parser = annotation)]
    pub ignore_annotation: Vec<Arc<str>>,
    /// Whether hosts in `spec.tls` send plain HTTP to HTTPS (308). An Ingress can decide with narthex.io/ssl-redirect.
    #[arg(long, env = "NARTHEX_SSL_REDIRECT", value_name = "BOOL", default_value_t = true,
          action = clap::ArgAction::Set)]
    pub ssl_redirect: bool,
    /// Let an Ingress whose Service has had no ready endpoint for this long (5s without a value) yield its host and path to the next Ingress that claims them and has some. It gets them back with its first ready endpoint. Never from or past a route that a guard closes.
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
    /// Who else there is.
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
    /// Where HTTP requests come in, or `off` [default: `[::]:80`].
    #[arg(long, env = "NARTHEX_LISTEN_HTTP", value_name = "ADDR")]
    pub listen_http: Option<Listen>,
    /// Where HTTPS requests come in, or `off` [default: `[::]:443`, but off where only --listen-http is given].
    #[arg(long, env = "NARTHEX_LISTEN_HTTPS", value_name = "ADDR")]
    pub listen_https: Option<Listen>,
    /// Where probes, metrics and questions come in.
    #[arg(long, env = "NARTHEX_ADMIN", value_name = "ADDR", default_value = ":8080")]
    pub admin: ListenAddress,
    /// Names the admin side may be asked by, besides addresses, names without a dot and those of Services.
    #[arg(long, env = "NARTHEX_ADMIN_HOST", value_name = "NAME", value_delimiter = ',')]
    pub admin_host: Vec<String>,
    /// A file with a token that the admin side demands (Authorization: Bearer) for all but probes and /metrics.
    #[arg(long, env = "NARTHEX_ADMIN_TOKEN_FILE", value_name = "PATH")]
    pub admin_token_file: Option<PathBuf>,
    /// A Unix socket to make, for probes of this process alone: answers /healthz and /readyz.
    #[arg(long, env = "NARTHEX_PROBE_SOCKET", value_name = "PATH")]
    pub probe_socket: Option<PathBuf>,
    /// Let another process of the same user listen on the same addresses (SO_REUSEPORT), for upgrades.
    #[arg(long, env = "NARTHEX_SHARE_PORTS")]
    pub share_ports: bool,
    /// Take over the listening sockets of the narthex that serves under this name on this node, and hand them to the next
    /// one that asks: an upgrade loses no connection.
    #[arg(long, env = "NARTHEX_HAND_OVER", value_name = "NAME")]
    pub hand_over: Option<String>,
    /// What this narthex calls itself in answers of its admin side [default: the host's name].
    #[arg(long, env = "NARTHEX_POD", value_name = "NAME")]
    pub pod: Option<String>,
    /// Whether connections from --trusted-proxies begin with a PROXY header (v1 or v2); "required" closes all others.
    #[arg(
        long,
        env = "NARTHEX_PROXY_PROTOCOL",
        value_name = "WHETHER",
        value_enum,
        default_value = "off"
    )]
    pub proxy_protocol: ProxyProtocol,
    /// Threads that serve requests; 0 is one per processor.
    #[arg(long, env = "NARTHEX_SHARDS", value_name = "N", default_value_t = 0)]
    pub shards: usize,
}

/// Bounds on what clients do.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Limits")]
pub struct LimitArgs {
    /// Client connections at once; 0 is half the file descriptors the process may have, less a reserve. Where more
    /// come, those that have been idle longest are closed, then those whose clients send or take less than 500 bytes a
    /// second of what is waited for. If there are none, more are refused.
    #[arg(long, env = "NARTHEX_MAX_CONNECTIONS", value_name = "N", default_value_t = 0)]
    pub max_connections: usize,
    /// Requests under way at once in the whole process; more get 503.
    #[arg(long, env = "NARTHEX_MAX_IN_FLIGHT", value_name = "N", default_value_t = 100_000)]
    pub max_in_flight: u32,
    /// Memory, in bytes or as a share of the container's limit (cgroup v2): above it most requests get 503 and idle
    /// connections are closed. `off`, or a share where there is no limit, is none.
    #[arg(long, env = "NARTHEX_MAX_MEMORY", value_name = "BYTES|%", default_value = "90%", value_parser = max_memory)]
    pub max_memory: MaxMemory,
    /// Size of a request head; a larger one gets 431.
    #[arg(long, env = "NARTHEX_MAX_HEAD", value_name = "BYTES", default_value = "32KiB", value_parser = bytes)]
    pub max_head: usize,
    /// Size of a request target; a larger one gets 414.
    #[arg(long, env = "NARTHEX_MAX_URI", value_name = "BYTES", default_value = "16KiB", value_parser = bytes)]
    pub max_uri: usize,
    /// Fields of a request head; more get 431.
    #[arg(long, env = "NARTHEX_MAX_HEADERS", value_name = "N", default_value_t = 100)]
    pub max_headers: usize,
    /// Bytes of one request body over HTTP/2 that a client may send before the pod reads on, from 64KiB to 16MiB. One
    /// round trip carries no more: 1MiB is 10 MB/s at 100 ms.
    #[arg(long, env = "NARTHEX_HTTP2_STREAM_WINDOW", value_name = "BYTES", default_value = "1MiB", value_parser = window)]
    pub http2_stream_window: u32,
    /// Size of a response head; a larger one gets 502.
    #[arg(long, env = "NARTHEX_MAX_RESPONSE_HEAD", value_name = "BYTES", default_value = "64KiB", value_parser = bytes)]
    pub max_response_head: usize,
    /// Idle connections kept per endpoint and shard.
    #[arg(long, env = "NARTHEX_UPSTREAM_MAX_IDLE", value_name = "N", default_value_t = 128)]
    pub upstream_max_idle: usize,
    /// Memory for compressing replies; without room for another encoder (0.4 to 2.4 MiB) a reply goes uncompressed.
    #[arg(long, env = "NARTHEX_COMPRESSION_MEMORY", value_name = "BYTES", default_value = "256MiB", value_parser = bytes)]
    pub compression_memory: usize,
    /// Endpoints a request is sent to; up to eight that are not there do not count.
    #[arg(long, env = "NARTHEX_ATTEMPTS", value_name = "N", default_value_t = 3)]
    pub attempts: usize,
}

/// Time-outs.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Time-outs")]
pub struct TimeoutArgs {
    /// For a whole request head; then 408.
    #[arg(long, env = "NARTHEX_HEAD_TIMEOUT", value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub head_timeout: Duration,
    /// Between two requests of a connection. Above the 60 s that load balancers keep theirs.
    #[arg(long, env = "NARTHEX_IDLE_TIMEOUT", value_name = "TIME", default_value = "75s", value_parser = duration)]
    pub idle_timeout: Duration,
    /// Without a byte of a request body; then 408. Once the response has begun, without a byte in either direction.
    #[arg(long, env = "NARTHEX_BODY_TIMEOUT", value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub body_timeout: Duration,
    /// Without a byte of a reply being taken by the client, nor one coming from it.
    #[arg(long, env = "NARTHEX_SEND_TIMEOUT", value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub send_timeout: Duration,
    /// Without a byte in either direction of a WebSocket.
    #[arg(long, env = "NARTHEX_TUNNEL_TIMEOUT", value_name = "TIME", default_value = "1h", value_parser = duration)]
    pub tunnel_timeout: Duration,
    /// For one connect to a pod.
    #[arg(long, env = "NARTHEX_CONNECT_TIMEOUT", value_name = "TIME", default_value = "1s", value_parser = duration)]
    pub connect_timeout: Duration,
    /// For the head of a response, from the last byte of the request; then 504.
    #[arg(long, env = "NARTHEX_RESPONSE_TIMEOUT", value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub response_timeout: Duration,
    /// Without a byte of a response body from the pod, nor one of the request going to it.
    #[arg(long, env = "NARTHEX_STREAM_TIMEOUT", value_name = "TIME", default_value = "5m", value_parser = duration)]
    pub stream_timeout: Duration,
    /// For an idle connection to a pod. Below the 5 s that Node.js keeps its own.
    #[arg(long, env = "NARTHEX_UPSTREAM_IDLE_TIMEOUT", value_name = "TIME", default_value = "4s", value_parser = duration)]
    pub upstream_idle_timeout: Duration,
}

/// TLS towards clients.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "TLS")]
pub struct TlsArgs {
    /// The oldest version of TLS spoken.
    #[arg(
        long,
        env = "NARTHEX_TLS_MIN_VERSION",
        value_name = "VERSION",
        value_enum,
        default_value = "1.2"
    )]
    pub tls_min_version: TlsVersion,
    /// Refuse clients that ask for a name without a certificate, or for none.
    #[arg(long, env = "NARTHEX_STRICT_SNI")]
    pub strict_sni: bool,
    /// The port redirects to HTTPS name, where clients come in by another than that of --listen-https.
    #[arg(long, env = "NARTHEX_HTTPS_PORT", value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub https_port: Option<u16>,
    /// For a whole TLS handshake.
    #[arg(long, env = "NARTHEX_HANDSHAKE_TIMEOUT", value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub handshake_timeout: Duration,
    /// Connections in their TLS handshake at once; others wait in turn.
    #[arg(long, env = "NARTHEX_MAX_HANDSHAKES", value_name = "N", default_value_t = 4096)]
    pub max_handshakes: usize,
}

/// Headers and paths.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "HTTP")]
pub struct HttpArgs {
    /// Peers whose X-Forwarded-* fields and PROXY headers are believed: addresses or networks.
    #[arg(long, env = "NARTHEX_TRUSTED_PROXIES", value_name = "CIDR,…", value_delimiter = ',', value_parser = net)]
    pub trusted_proxies: Vec<IpNet>,
    /// What becomes of %2F and %5C in a path.
    #[arg(
        long,
        env = "NARTHEX_ENCODED_SLASH",
        value_name = "WHAT",
        value_enum,
        default_value = "keep"
    )]
    pub encoded_slash: EncodedSlash,
    /// Whether a client that closes its half of a connection still gets the reply to its request. Otherwise it counts as
    /// gone, unless it asked with HTTP/1.0 or `Connection: close`.
    #[arg(long, env = "NARTHEX_SERVE_HALF_CLOSED")]
    pub serve_half_closed: bool,
    /// `Server` for responses whose pod sent none.
    #[arg(long, env = "NARTHEX_SERVER_HEADER", value_name = "NAME", value_parser = header)]
    pub server_header: Option<HeaderValue>,
}

/// The end.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Shutdown")]
pub struct EndArgs {
    /// How long connections are still accepted after SIGTERM, so that load balancers notice.
    #[arg(long, env = "NARTHEX_DRAIN_GRACE", value_name = "TIME", default_value = "3s", value_parser = grace)]
    pub drain_grace: Duration,
    /// How long idle connections are then closed over, those first that have been idle longest. All at once, their clients
    /// would come back at once too.
    #[arg(long, env = "NARTHEX_DRAIN_SPREAD", value_name = "TIME", default_value = "5s", value_parser = grace)]
    pub drain_spread: Duration,
    /// How long requests may then take to finish.
    #[arg(long, env = "NARTHEX_DRAIN_DEADLINE", value_name = "TIME", default_value = "25s", value_parser = grace)]
    pub drain_deadline: Duration,
}

/// Flags of Traefik 1.7 that its DaemonSets carry: accepted, with a note, and without effect.
#[derive(Args, Clone, Debug, Default)]
pub struct TraefikArgs {
    /// Traefik 1.7: the admin API is always there.
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
            return Err("--manifests and --kubeconfig contradict each other: objects come from one place".to_owned());
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
                return Err(format!(
                    "{flag} and {other} are both {address}: give one of them another port"
                ));
            }
            taken.push((flag, one.address));
        }
        if listening.is_empty() {
            return Err("--listen-http and --listen-https are both off: nothing would be served".to_owned());
        }
        if self.listen.proxy_protocol != ProxyProtocol::Off && self.http.trusted_proxies.is_empty() {
            return Err(
                "--proxy-protocol believes nobody without --trusted-proxies: name the balancer's addresses there"
                    .to_owned(),
            );
        }
        if self.limits.attempts == 0 {
            return Err("--attempts 0 would try no endpoint: give 1 or more".to_owned());
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
