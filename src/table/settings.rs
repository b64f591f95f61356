//! What users set for one backend, as data: how to speak to its pods, how to spread requests over them, how to tell
//! which of them are well, and what to do when one is not. Behaviour is in `upstream` and `proxy`.

use super::backend_tls::OnlyVersion;
use super::client_tls::CipherSuites;
use http::HeaderValue;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident: $kind:ty,)*) => {
        /// What annotations say of one backend. None is "not said": then the flags hold, or what the doc comment says.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct BackendSettings { $($(#[$doc])* pub $name: Option<$kind>,)* }

        impl BackendSettings {
            /// These, and where they say nothing, what `below` says.
            #[must_use]
            pub fn over(&self, below: &Self) -> Self {
                Self { $($name: self.$name.clone().or_else(|| below.$name.clone()),)* }
            }

            /// The settings by name.
            pub fn said(&self) -> Vec<(&'static str, String)> {
                let mut said = Vec::new();
                $(said.extend(self.$name.as_ref().map(|value| (stringify!($name), format!("{value:?}"))));)*
                said
            }
        }
    };
}

settings! {
    /// What its pods speak; else the Service port's `appProtocol` says.
    protocol: BackendProtocol,
    /// The Secret whose `ca.crt` its pods' certificates are verified by; else the system's authorities.
    ca_secret: Arc<str>,
    /// The name its pods' certificates must be for, and that is asked for by SNI; else the Service's own.
    server_name: Arc<str>,
    /// `Host` of requests to its pods; else that of the client's request.
    upstream_host: UpstreamHost,
    /// The Secret with the certificate that narthex shows to its pods; else none is shown.
    client_secret: Arc<str>,
    /// Whether its pods' certificates are verified; they are.
    verify: bool,
    /// The only version of TLS that its pods are offered; absent for all that narthex has.
    tls_version: OnlyVersion,
    /// The suites of TLS 1.2 that its pods are offered; absent for all that narthex has.
    cipher_suites: CipherSuites,
    /// Whether its Service's own address is its only endpoint, where the Service has one; its pods are.
    service_upstream: bool,
    /// Whether connections to its pods begin with a PROXY protocol header, version 2; they do not.
    proxy_protocol: bool,
    /// What becomes of the fields that say where a request comes from; [`ForwardedFields::Append`].
    forwarded_fields: ForwardedFields,
    /// Whether each request is told to be the last one of its connection; it is not.
    one_request: bool,
    /// How a pod is chosen; [`Balance::P2c`].
    balance: Balance,
    /// The cookie that keeps a client at its pod; none.
    sticky_cookie: Arc<str>,
    /// Among how many pods a hash chooses, of which the less loaded gets a request; 1.
    hash_subset: u32,
    /// How this cookie is written; as narthex's own.
    sticky_attributes: Arc<CookieAttributes>,
    /// How long a new pod gets less than its share; not at all.
    slow_start: Duration,
    /// For one connect; `--connect-timeout`.
    connect_timeout: Duration,
    /// For the response head, from the last byte of the request; `--response-timeout`.
    response_timeout: Duration,
    /// Without a byte of the response body; `--stream-timeout`.
    stream_timeout: Duration,
    /// Without a byte of the request body from the client; `--body-timeout`.
    body_timeout: Duration,
    /// Without a byte of the response being taken by the client; `--send-timeout`.
    send_timeout: Duration,
    /// Without a byte of the request body being taken by the pod; no limit of its own.
    take_timeout: Duration,
    /// Without a byte in either direction of a WebSocket; `--tunnel-timeout`.
    tunnel_timeout: Duration,
    /// For the whole request, from its head to the last byte of the response; none.
    request_timeout: Duration,
    /// For the response head in one of several attempts; as `response_timeout`.
    try_timeout: Duration,
    /// How many more attempts a request may have when one fails as `retry_on` says; none.
    retries: u32,
    /// How long after the request's head another attempt is made; no limit.
    retry_time: Duration,
    /// What is worth another attempt; [`RetryOn::default`].
    retry_on: RetryOn,
    /// Bytes of a request body that are kept for another attempt.
    retry_buffer: usize,
    /// After how many failures in a row a pod is set aside; 0 for never.
    eject_after: u32,
    /// The share of the pods that may be set aside at a time, in percent.
    eject_share: u32,
    /// A pod this many times slower than the others is set aside; none.
    eject_slower: u32,
    /// The path that is asked for to see whether a pod is well; none is asked for.
    health_path: Arc<str>,
    /// How it is asked.
    health_protocol: HealthProtocol,
    /// How often.
    health_interval: Duration,
    /// For one answer.
    health_timeout: Duration,
    /// After how many good answers a pod is well again.
    health_rise: u32,
    /// After how many bad answers it is not.
    health_fall: u32,
    /// Requests under way, in the whole process; no limit.
    max_in_flight: u32,
    /// Requests that wait for one of these to end.
    max_pending: u32,
    /// Requests under way to each pod, in the whole process; no limit.
    max_in_flight_per_pod: u32,
    /// How long one waits.
    queue_timeout: Duration,
}

impl BackendSettings {
    /// Whether something is counted for whoever states it.
    pub fn is_limited(&self) -> bool {
        self.max_in_flight.is_some() || self.max_in_flight_per_pod.is_some()
    }

    /// Whether one of the annotations about TLS is among them.
    pub fn names(&self, annotation: &str) -> bool {
        match annotation {
            "backend-ca-secret" => self.ca_secret.is_some(),
            "backend-client-secret" => self.client_secret.is_some(),
            "backend-server-name" => self.server_name.is_some(),
            "backend-verify" => self.verify.is_some(),
            _ => false,
        }
    }

    /// Whether its pods are asked whether they are well.
    pub fn is_checked(&self) -> bool {
        self.health_path.is_some() || self.health_protocol == Some(HealthProtocol::Grpc)
    }
}

/// `narthex.io/upstream-host`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UpstreamHost {
    /// This one.
    Named(HeaderValue),
    /// The external name of the Service, where it has one.
    ExternalName,
}

/// The attributes of a cookie (RFC 6265, section 4.1.2). Where nothing is said there are none, except for `Path`, which is
/// that of the rule, and `Secure`, which goes by the client's connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CookieAttributes {
    pub path: Option<Arc<str>>,
    pub domain: Option<Arc<str>>,
    /// After how many seconds the cookie expires.
    pub expires: Option<u32>,
    pub max_age: Option<u32>,
    pub same_site: Option<Arc<str>>,
    /// Whether `Secure` is always there.
    pub secure: bool,
    /// Whether `SameSite=None` is left out for browsers that misread it.
    pub conditional_none: bool,
}

/// `narthex.io/backend-protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BackendProtocol {
    /// HTTP/1.1.
    Http,
    /// HTTP/1.1 under TLS.
    Https,
    /// HTTP/2 by prior knowledge.
    H2c,
    /// gRPC: HTTP/2 by prior knowledge.
    Grpc,
    /// gRPC under TLS: HTTP/2, chosen by ALPN.
    Grpcs,
}

/// What becomes of `X-Forwarded-For` and its companions where a trusted proxy has written them. Those of anybody else never
/// reach a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ForwardedFields {
    /// They stay, and narthex adds its part.
    #[default]
    Append,
    /// Only what narthex knows itself is said.
    Replace,
    /// They stay as they are, and narthex writes those that are missing.
    IfNone,
    /// They stay as they are, and narthex writes none.
    Never,
}

/// How one of several pods is chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Balance {
    /// The less loaded of two at random.
    #[default]
    P2c,
    /// One after the other.
    RoundRobin,
    /// Of two at random the one that answers sooner, by a moving average that forgets good times faster than bad.
    Ewma,
    /// Always the same for the same key, and few change when pods come and go (rendezvous hashing, bounded load).
    Hash(HashKey),
}

/// What of a request is hashed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HashKey {
    /// The client's address.
    SourceIp,
    /// A header field, by its name in lower case.
    Header(Arc<str>),
    /// A cookie, by its name.
    Cookie(Arc<str>),
    /// Path and query, as they are forwarded.
    Uri,
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Balance::P2c => f.write_str("p2c"),
            Balance::RoundRobin => f.write_str("round-robin"),
            Balance::Ewma => f.write_str("ewma"),
            Balance::Hash(HashKey::SourceIp) => f.write_str("hash:source-ip"),
            Balance::Hash(HashKey::Header(name)) => write!(f, "hash:header:{name}"),
            Balance::Hash(HashKey::Cookie(name)) => write!(f, "hash:cookie:{name}"),
            Balance::Hash(HashKey::Uri) => f.write_str("hash:uri"),
        }
    }
}

/// How a pod is asked whether it is well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HealthProtocol {
    /// By a GET; 200 to 399 is well.
    #[default]
    Http,
    /// By `grpc.health.v1.Health/Check`; SERVING is well.
    Grpc,
}

/// What is worth another attempt, beyond what nothing can be lost by (a connection that could not be opened, a request
/// of which no byte was sent).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RetryOn {
    /// The connection ended before the response head.
    pub reset: bool,
    /// The response head took too long.
    pub timeout: bool,
    /// Statuses: each bit one of [`RetryOn::STATUSES`].
    pub statuses: u8,
    /// Any status from 500 to 599.
    pub any_5xx: bool,
    /// Also requests whose method may not be sent twice (RFC 9110, section 9.2.2).
    pub non_idempotent: bool,
}

impl RetryOn {
    /// The statuses that can be named.
    pub const STATUSES: [u16; 8] = [403, 404, 408, 429, 500, 502, 503, 504];

    /// Nothing.
    pub const NONE: RetryOn = RetryOn {
        reset: false,
        timeout: false,
        statuses: 0,
        any_5xx: false,
        non_idempotent: false,
    };

    /// Whether a response with this status is.
    pub fn status(&self, status: u16) -> bool {
        let named = Self::STATUSES.iter().position(|known| *known == status);
        (self.any_5xx && (500..600).contains(&status)) || named.is_some_and(|bit| self.statuses & (1 << bit) != 0)
    }

    /// Names a status; whether it can be.
    pub fn add_status(&mut self, status: u16) -> bool {
        let named = Self::STATUSES.iter().position(|known| *known == status);
        if let Some(bit) = named {
            self.statuses |= 1 << bit;
        }
        named.is_some()
    }
}

impl Default for RetryOn {
    /// A connection that broke, 502, 503 and 504.
    fn default() -> Self {
        let mut on = Self {
            reset: true,
            ..Self::NONE
        };
        for status in [502, 503, 504] {
            on.add_status(status);
        }
        on
    }
}
