//! Every annotation narthex acts on.

use super::value::{Value, balance, compression, object_name, path, retry_on, server_name, token, upstream_host};
use super::{Annotation, Scope};
use crate::compile::hsts;
use crate::table::{BackendProtocol, HealthProtocol};
use std::time::Duration;

/// The shortest and longest times that make sense.
const TIME: Duration = Duration::from_millis(1);
const TENTH: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86400);

/// All of them, by name.
pub(super) static ALL: &[Annotation] = &[
    Annotation {
        name: "backend-ca-secret",
        scope: Scope::Backend,
        about: "The Secret whose `ca.crt` holds the authorities that the pods' certificates must be \
                signed by, where TLS is spoken to them.",
        default: "those of the system are trusted",
        example: "pods-ca",
        value: Value::Text {
            form: "the name of a Secret in the same namespace",
            pattern: "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
            read: |settings, text| {
                settings.backend.ca_secret = Some(object_name(text)?);
                Ok(())
            },
        },
    },
    Annotation {
        name: "backend-client-secret",
        scope: Scope::Backend,
        about: "The Secret (`tls.crt` and `tls.key`) with the certificate that narthex shows to the \
                pods, where TLS is spoken to them.",
        default: "none is shown",
        example: "narthex-client",
        value: Value::Text {
            form: "the name of a Secret in the same namespace",
            pattern: "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
            read: |settings, text| {
                settings.backend.client_secret = Some(object_name(text)?);
                Ok(())
            },
        },
    },
    Annotation {
        name: "backend-protocol",
        scope: Scope::Backend,
        about: "What the pods speak. `H2C` and `GRPC` are HTTP/2 without TLS, by prior knowledge; `HTTPS` is HTTP/1.1 and `GRPCS` HTTP/2 under TLS.",
        default: "appProtocol of the Service port decides, and where it has none, HTTP is spoken",
        example: "GRPC",
        value: Value::Choice {
            of: &["HTTP", "HTTPS", "H2C", "GRPC", "GRPCS"],
            set: |settings, word| {
                settings.backend.protocol = Some(match word {
                    "HTTPS" => BackendProtocol::Https,
                    "GRPCS" => BackendProtocol::Grpcs,
                    "H2C" => BackendProtocol::H2c,
                    "GRPC" => BackendProtocol::Grpc,
                    _ => BackendProtocol::Http,
                });
            },
        },
    },
    Annotation {
        name: "backend-proxy-protocol",
        scope: Scope::Backend,
        about: "Connections to the pods begin with a PROXY protocol header of version 2, which names the \
                client, the address it came to, and the TLS it spoke. Such a connection serves one \
                request and is not kept, as it stands for one client.",
        default: "pods get no such header",
        example: "v2",
        value: Value::Choice {
            of: &["v2", "off"],
            set: |settings, word| settings.backend.proxy_protocol = Some(word == "v2"),
        },
    },
    Annotation {
        name: "backend-server-name",
        scope: Scope::Backend,
        about: "The name the pods' certificates must be for, and that is asked for by SNI, where TLS is \
                spoken to them.",
        default: "it is SERVICE.NAMESPACE.svc, and for a Service of type ExternalName its externalName",
        example: "api.internal.example.com",
        value: Value::Text {
            form: "a DNS name or an address",
            pattern: "^[0-9A-Za-z.:_-]+$",
            read: |settings, text| {
                settings.backend.server_name = Some(server_name(text)?);
                Ok(())
            },
        },
    },
    Annotation {
        name: "backend-verify",
        scope: Scope::Backend,
        about: "Whether the pods' certificates are verified, where TLS is spoken to them.",
        default: "they are",
        example: "false",
        value: Value::Switch(|settings, verify| settings.backend.verify = Some(verify)),
    },
    Annotation {
        name: "balance",
        scope: Scope::Backend,
        about: "How one of several pods is chosen: the less loaded of two at random (`p2c`), one after \
                the other (`round-robin`), of two the one that answers sooner (`ewma`), or always the \
                same for the same client address, header field, cookie or URI (`hash:...`), where few \
                keys move when pods come and go and none gets much more than its share.",
        default: "\"p2c\" is used",
        example: "hash:header:x-user",
        value: Value::Text {
            form: "`p2c`, `round-robin`, `ewma`, `hash:source-ip`, `hash:header:NAME`, `hash:cookie:NAME` or `hash:uri`",
            pattern: "^(p2c|round-robin|ewma|hash:source-ip|hash:uri|hash:(header|cookie):[!#$%&'*+.^_`|~0-9A-Za-z-]+)$",
            read: |settings, text| {
                settings.backend.balance = Some(balance(text)?);
                Ok(())
            },
        },
    },
    Annotation {
        name: "body-timeout",
        scope: Scope::Backend,
        about: "How long a client may be silent within a request body that is waited for; then the \
                request gets 408. Once the response has begun, bytes of the response count too: a \
                stream that is open in both directions lasts as long as either side goes on.",
        default: "--body-timeout holds",
        example: "24h",
        value: Value::Time {
            least: TENTH,
            most: DAY,
            set: |settings, time| settings.backend.body_timeout = Some(time),
        },
    },
    Annotation {
        name: "compress",
        scope: Scope::Route,
        about: "Replies are compressed for clients that take it, with the first of these codings where a client likes \
                several equally well. `\"true\"` is `zstd, br, gzip`. Read about BREACH in \
                [compression](compression.md) first.",
        default: "nothing is compressed",
        example: "br, gzip",
        value: Value::Text {
            form: "one or more of `zstd`, `br`, `gzip`, with commas between; or `\"true\"`; `\"false\"` or `\"off\"` \
                   for none",
            pattern: "^\\s*(true|false|off|(zstd|br|gzip)(\\s*,\\s*(zstd|br|gzip))*)\\s*$",
            read: |settings, text| {
                settings.compression = compression(text)?;
                Ok(())
            },
        },
    },
    Annotation {
        name: "connect-timeout",
        scope: Scope::Backend,
        about: "How long one attempt to connect to a pod may take.",
        default: "--connect-timeout holds",
        example: "500ms",
        value: Value::Time {
            least: TIME,
            most: MINUTE,
            set: |settings, time| settings.backend.connect_timeout = Some(time),
        },
    },
    Annotation {
        name: "eject-after",
        scope: Scope::Backend,
        about: "After how many failures in a row a pod gets no requests for a while: 10 s at first, \
                twice as long each time up to 5 min; then one request tries it. Failures are answers 500 \
                to 599 (but 501 and 505), answers that are no HTTP, and response heads that take too \
                long; never what a client caused. `0` is never. A pod that cannot be reached at all is \
                passed over at once, whatever this says.",
        default: "5 failures in a row are used",
        example: "3",
        value: Value::Integer {
            least: 0,
            most: 1000,
            set: |settings, number| settings.backend.eject_after = Some(number),
        },
    },
    Annotation {
        name: "eject-share",
        scope: Scope::Backend,
        about: "How many of a hundred pods may be set aside for what they answer at the same time.",
        default: "50 of a hundred may be",
        example: "30",
        value: Value::Integer {
            least: 0,
            most: 100,
            set: |settings, number| settings.backend.eject_share = Some(number),
        },
    },
    Annotation {
        name: "eject-slower",
        scope: Scope::Backend,
        about: "A pod whose average time to a response head is more than this many times that of the \
                others is set aside for a while too.",
        default: "slow pods stay",
        example: "5",
        value: Value::Integer {
            least: 2,
            most: 1000,
            set: |settings, number| settings.backend.eject_slower = Some(number),
        },
    },
    Annotation {
        name: "health-fall",
        scope: Scope::Backend,
        about: "After how many bad answers in a row a pod gets no requests.",
        default: "3 is used",
        example: "2",
        value: Value::Integer {
            least: 1,
            most: 100,
            set: |settings, number| settings.backend.health_fall = Some(number),
        },
    },
    Annotation {
        name: "health-interval",
        scope: Scope::Backend,
        about: "How often each pod is asked.",
        default: "10s is used",
        example: "5s",
        value: Value::Time {
            least: TENTH,
            most: HOUR,
            set: |settings, time| settings.backend.health_interval = Some(time),
        },
    },
    Annotation {
        name: "health-path",
        scope: Scope::Backend,
        about: "A path each pod is asked for now and then, once for the whole of narthex: a pod that \
                does not answer 200 to 399 in time gets no requests until it does again. This is besides \
                the pod's readiness, which Kubernetes looks after.",
        default: "no pod is asked",
        example: "/healthz",
        value: Value::Text {
            form: "a path, with a query if wanted",
            pattern: "^/[!-~]*$",
            read: |settings, text| {
                settings.backend.health_path = Some(path(text)?);
                Ok(())
            },
        },
    },
    Annotation {
        name: "health-protocol",
        scope: Scope::Backend,
        about: "How pods are asked: `HTTP`, by a GET of `health-path`, or `gRPC`, by \
                grpc.health.v1.Health/Check, which needs no path.",
        default: "\"HTTP\" is used",
        example: "gRPC",
        value: Value::Choice {
            of: &["HTTP", "gRPC"],
            set: |settings, word| {
                settings.backend.health_protocol = Some(match word {
                    "gRPC" => HealthProtocol::Grpc,
                    _ => HealthProtocol::Http,
                });
            },
        },
    },
    Annotation {
        name: "health-rise",
        scope: Scope::Backend,
        about: "After how many good answers in a row it gets requests again.",
        default: "2 is used",
        example: "1",
        value: Value::Integer {
            least: 1,
            most: 100,
            set: |settings, number| settings.backend.health_rise = Some(number),
        },
    },
    Annotation {
        name: "health-timeout",
        scope: Scope::Backend,
        about: "How long a pod may take to answer that.",
        default: "1s is used",
        example: "500ms",
        value: Value::Time {
            least: TIME,
            most: MINUTE,
            set: |settings, time| settings.backend.health_timeout = Some(time),
        },
    },
    Annotation {
        name: "hsts",
        scope: Scope::Route,
        about: "Replies over TLS carry `Strict-Transport-Security` with this value (RFC 6797): browsers then use \
                HTTPS only, for as long as `max-age` says.",
        default: "none is sent",
        example: "max-age=31536000; includeSubDomains",
        value: Value::Header {
            form: "`max-age=SECONDS`, then `includeSubDomains` and `preload` as wanted, with `;` between",
            read: hsts::normalise,
            set: |settings, value| settings.hsts = value,
        },
    },
    Annotation {
        name: "max-in-flight",
        scope: Scope::Backend,
        about: "How many requests may be under way to the Service's pods at a time, in the whole \
                process. What is beyond waits (`max-pending`) or gets 503 with `Retry-After`.",
        default: "there is no limit but that of the process",
        example: "200",
        value: Value::Integer {
            least: 1,
            most: 1000000,
            set: |settings, number| settings.backend.max_in_flight = Some(number),
        },
    },
    Annotation {
        name: "max-pending",
        scope: Scope::Backend,
        about: "How many requests may wait for one of `max-in-flight` to end.",
        default: "none waits",
        example: "100",
        value: Value::Integer {
            least: 0,
            most: 1000000,
            set: |settings, number| settings.backend.max_pending = Some(number),
        },
    },
    Annotation {
        name: "merge-slashes",
        scope: Scope::Route,
        about: "Whether empty path segments are left out before paths are compared and forwarded: `/a//b` is `/a/b`.",
        default: "\"true\" is used",
        example: "false",
        value: Value::Switch(|settings, merge| settings.keep_slashes = !merge),
    },
    Annotation {
        name: "per-try-timeout",
        scope: Scope::Backend,
        about: "The same for one of several attempts: one that takes longer is given up for the next, as \
                `retries` allows.",
        default: "each attempt may take as long as `response-timeout`",
        example: "2s",
        value: Value::Time {
            least: TIME,
            most: DAY,
            set: |settings, time| settings.backend.try_timeout = Some(time),
        },
    },
    Annotation {
        name: "queue-timeout",
        scope: Scope::Backend,
        about: "How long a request may wait for one of `max-in-flight` to end.",
        default: "1s is used",
        example: "500ms",
        value: Value::Time {
            least: TIME,
            most: MINUTE,
            set: |settings, time| settings.backend.queue_timeout = Some(time),
        },
    },
    Annotation {
        name: "request-timeout",
        scope: Scope::Backend,
        about: "How long a whole request may take, from its head to the last byte of the response. \
                Before the response head the client then gets 504; later the connection, or over HTTP/2 \
                the stream, is cut. WebSockets are not cut. `grpc-timeout` of a gRPC client holds as \
                well.",
        default: "a request may take as long as its parts may",
        example: "30s",
        value: Value::Time {
            least: TIME,
            most: DAY,
            set: |settings, time| settings.backend.request_timeout = Some(time),
        },
    },
    Annotation {
        name: "response-timeout",
        scope: Scope::Backend,
        about: "How long a pod may take to begin its answer, from the last byte of the request; then the \
                client gets 504.",
        default: "--response-timeout holds",
        example: "10s",
        value: Value::Time {
            least: TIME,
            most: DAY,
            set: |settings, time| settings.backend.response_timeout = Some(time),
        },
    },
    Annotation {
        name: "retries",
        scope: Scope::Backend,
        about: "How many more attempts a request may have, at other pods if there are any, when one \
                fails as `retry-on` says. All retries of a Service are at most a fifth of its requests \
                (and 5). Never after a byte of the response was passed on, and with a body only as far \
                as `retry-buffer` holds it.",
        default: "only what nothing can be lost by is tried again: connections that cannot be opened, requests of which nothing was sent or that are idempotent (RFC 9110) and without a body",
        example: "2",
        value: Value::Integer {
            least: 0,
            most: 10,
            set: |settings, number| settings.backend.retries = Some(number),
        },
    },
    Annotation {
        name: "retry-buffer",
        scope: Scope::Backend,
        about: "How much of a request body is kept for another attempt; a longer one has none.",
        default: "64KiB is used",
        example: "256KiB",
        value: Value::Bytes {
            most: 16 << 20,
            set: |settings, bytes| settings.backend.retry_buffer = Some(bytes),
        },
    },
    Annotation {
        name: "retry-on",
        scope: Scope::Backend,
        about: "What `retries` are for: `reset` is a connection that ends before the response head, \
                `timeout` a response head that takes too long, numbers and `5xx` are statuses; with \
                `non-idempotent` also requests whose method may not be sent twice, such as POST.",
        default: "reset, 502, 503, 504 are used",
        example: "reset, timeout, 5xx",
        value: Value::Words {
            of: &[
                "reset",
                "timeout",
                "5xx",
                "408",
                "429",
                "500",
                "502",
                "503",
                "504",
                "non-idempotent",
            ],
            set: |settings, words| settings.backend.retry_on = Some(retry_on(words)),
        },
    },
    Annotation {
        name: "send-timeout",
        scope: Scope::Backend,
        about: "How long a client may take nothing of a response that is there for it; then the response \
                is broken off. Bytes of the request count too.",
        default: "--send-timeout holds",
        example: "5m",
        value: Value::Time {
            least: TENTH,
            most: DAY,
            set: |settings, time| settings.backend.send_timeout = Some(time),
        },
    },
    Annotation {
        name: "slow-start",
        scope: Scope::Backend,
        about: "For how long a pod that joins others gets less than its share, rising from a tenth.",
        default: "a new pod gets its share at once",
        example: "30s",
        value: Value::Time {
            least: SECOND,
            most: HOUR,
            set: |settings, time| settings.backend.slow_start = Some(time),
        },
    },
    Annotation {
        name: "ssl-redirect",
        scope: Scope::Route,
        about: "Whether plain HTTP is sent to HTTPS with 308. `\"true\"` does so for all rules, also those without a \
                host and those without an entry in `spec.tls`.",
        default: "hosts that spec.tls covers are redirected, unless --ssl-redirect=false",
        example: "false",
        value: Value::Switch(|settings, redirect| settings.ssl_redirect = Some(redirect)),
    },
    Annotation {
        name: "sticky-cookie",
        scope: Scope::Backend,
        about: "The name of a cookie that keeps a client at the pod that answered it first. Its value is \
                the same for every narthex, so it holds on all nodes and after restarts; when its pod is \
                gone or unwell, another takes over and the cookie is set anew. It has an entry for each Service, so \
                an Ingress with several keeps a client at one pod of each.",
        default: "no cookie is set",
        example: "narthex-pod",
        value: Value::Text {
            form: "the name of a cookie",
            pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$",
            read: |settings, text| {
                settings.backend.sticky_cookie = Some(token(text)?);
                Ok(())
            },
        },
    },
    Annotation {
        name: "stream-timeout",
        scope: Scope::Backend,
        about: "How long a response body may stand still at the pod's side; then the connection is cut.",
        default: "--stream-timeout holds",
        example: "1h",
        value: Value::Time {
            least: SECOND,
            most: DAY,
            set: |settings, time| settings.backend.stream_timeout = Some(time),
        },
    },
    Annotation {
        name: "upstream-host",
        scope: Scope::Backend,
        about: "The `Host` that pods get instead of the client's, which they find in `X-Forwarded-Host`. \
                `external-name` is the externalName of a Service of type ExternalName, as services outside of the \
                cluster mostly want it.",
        default: "pods get the client's `Host`",
        example: "api.example.org",
        value: Value::Text {
            form: "a host, with a port or without, or `external-name`",
            pattern: "^[0-9A-Za-z._:\\[\\]-]+$",
            read: |settings, text| {
                settings.backend.upstream_host = Some(upstream_host(text)?);
                Ok(())
            },
        },
    },
];
