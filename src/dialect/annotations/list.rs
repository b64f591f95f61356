//! Every annotation narthex acts on.

mod access;
mod canary;
mod cors;
mod fields;
mod limits;
mod paths;
mod services;
mod sessions;

use super::hsts;
use super::value::{
    Value, balance, compression, object_name, path, retry_on, secret, server_name, token, upstream_host,
};
use super::{Annotation, Scope, clients};
use crate::table::{BackendProtocol, HealthProtocol, SubjectPattern};
use std::sync::LazyLock;
use std::time::Duration;

/// The shortest and longest times that make sense.
const TIME: Duration = Duration::from_millis(1);
const TENTH: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86400);

/// What holds where a guard's value is wrong.
const CLOSES: &str = "nothing is asked for; a value that is wrong closes the routes of the Ingress: requests get 503";

/// All of them, by name.
pub(super) fn all() -> &'static [&'static Annotation] {
    static ALL: LazyLock<Vec<&'static Annotation>> = LazyLock::new(|| {
        let lists = [
            access::ALL,
            BASIC,
            canary::ALL,
            cors::ALL,
            fields::ALL,
            limits::ALL,
            paths::ALL,
            services::ALL,
            sessions::ALL,
        ];
        let mut all: Vec<&Annotation> = lists.into_iter().flatten().collect();
        all.sort_by_key(|annotation| annotation.name);
        all
    });
    &ALL
}

/// Those of connections, pods, replies and TLS.
static BASIC: &[Annotation] = &[
    Annotation {
        name: "backend-ca-secret",
        scope: Scope::Backend,
        about: "Secret whose `ca.crt` holds the authorities that must have signed the pods' certificates, if \
                narthex speaks TLS to the pods.",
        default: "the authorities of the system are trusted",
        example: "pods-ca",
        value: secret(|settings, text| {
            settings.backend.ca_secret = Some(object_name(text)?);
            Ok(())
        }),
    },
    Annotation {
        name: "backend-client-secret",
        scope: Scope::Backend,
        about: "Secret (`tls.crt` and `tls.key`) with the certificate that narthex presents to the pods, if it \
                speaks TLS to them.",
        default: "no certificate is presented",
        example: "narthex-client",
        value: secret(|settings, text| {
            settings.backend.client_secret = Some(object_name(text)?);
            Ok(())
        }),
    },
    Annotation {
        name: "backend-protocol",
        scope: Scope::Backend,
        about: "Protocol of the pods. `H2C` and `GRPC` are HTTP/2 without TLS, by prior knowledge. `HTTPS` is \
                HTTP/1.1 over TLS, and `GRPCS` is HTTP/2 over TLS.",
        default: "the appProtocol of the Service port applies, or else HTTP",
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
        about: "Start connections to the pods with a PROXY protocol header of version 2, which contains the \
                client's address, the address that the client connected to, and its TLS parameters. Such a \
                connection belongs to one client, so it serves one request and is then closed.",
        default: "no header is sent",
        example: "v2",
        value: Value::Choice {
            of: &["v2", "off"],
            set: |settings, word| settings.backend.proxy_protocol = Some(word == "v2"),
        },
    },
    Annotation {
        name: "backend-server-name",
        scope: Scope::Backend,
        about: "Name that the pods' certificates must be for, if narthex speaks TLS to the pods. narthex also \
                sends it by SNI.",
        default: "the name is SERVICE.NAMESPACE.svc, or the externalName of a Service of type ExternalName",
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
        about: "Whether narthex verifies the pods' certificates, if it speaks TLS to the pods.",
        default: "certificates are verified",
        example: "false",
        value: Value::Switch(|settings, verify| settings.backend.verify = Some(verify)),
    },
    Annotation {
        name: "balance",
        scope: Scope::Backend,
        about: "How narthex chooses a pod: the less loaded of two random pods (`p2c`), each in turn \
                (`round-robin`), the faster of two random pods (`ewma`), or always the same pod for the same \
                client address, header field, cookie or URI (`hash:...`). With a hash, few keys move when pods \
                come and go, and no pod gets much more than its share.",
        default: "\"p2c\" applies",
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
        about: "How long a client may pause while narthex waits for the request body; then the request gets 408. \
                Once the response has begun, bytes of the response count too, so a stream that is open in both \
                directions lasts as long as either side continues.",
        default: "--body-timeout applies",
        example: "24h",
        value: Value::Time {
            least: TENTH,
            most: DAY,
            set: |settings, time| settings.backend.body_timeout = Some(time),
        },
    },
    Annotation {
        name: "client-ca-secret",
        scope: Scope::Route,
        about: "Secret whose `ca.crt` holds the authorities that must have signed the certificates of clients, and whose \
                `ca.crl`, if there is one, says which of these are revoked. It applies to all requests for the hosts of \
                this Ingress, also to those that other Ingresses answer; see [TLS](tls.md#client-certificates). Clients \
                without a valid certificate get 400. If the Secret is missing, or an annotation `client-*` has a wrong \
                value, requests for these hosts get 503.",
        default: "clients are not asked for a certificate",
        example: "clients-ca",
        value: secret(|settings, text| {
            let read = |wanted: &mut _| clients::authorities(wanted, "narthex.io/client-ca-secret", text);
            settings.clients.guarded("narthex.io/client-ca-secret", read)
        }),
    },
    Annotation {
        name: "client-error-page",
        scope: Scope::Route,
        about: "Where narthex redirects clients without a valid certificate, with 302. The page must be on another host.",
        default: "they get 400",
        example: "https://help.example.com/certificates",
        value: Value::Text {
            form: "a URL, with variables",
            pattern: "^https?://[!-~]+$",
            read: |settings, text| {
                let page = clients::error_page(text);
                settings.clients.beside("narthex.io/client-error-page", |wanted| {
                    wanted.error_page = Some(page?);
                    Ok(())
                })
            },
        },
    },
    Annotation {
        name: "client-pass-certificate",
        scope: Scope::Route,
        about: "Send the client's certificate to the pods, in the field `ssl-client-cert`: in PEM, escaped as in a URL. \
                They always get `ssl-client-verify` (`SUCCESS`, `NONE`, or `FAILED:` and the reason), \
                `ssl-client-subject-dn` and `ssl-client-issuer-dn`.",
        default: "pods do not get the certificate",
        example: "true",
        value: Value::Switch(|settings, passed| settings.clients.passed = passed),
    },
    Annotation {
        name: "client-subject",
        scope: Scope::Route,
        about: "Regular expression that the whole subject of a client's certificate must match, in the form of RFC 2253. \
                Other clients get 403.",
        default: "any subject will do",
        example: "CN=(billing|shop),O=Example",
        value: Value::Text {
            form: "a regular expression",
            pattern: "^.+$",
            read: |settings, text| {
                settings.clients.guarded("narthex.io/client-subject", |wanted| {
                    let pattern = SubjectPattern::whole(text).map_err(|why| format!("\"{text}\" {why}"))?;
                    wanted.subject = Some(pattern);
                    Ok(())
                })
            },
        },
    },
    Annotation {
        name: "client-verify",
        scope: Scope::Route,
        about: "Whether clients must show a certificate. With `optional`, a client may show none, but one that it shows must \
                be valid. With `optional-no-ca`, it may also be signed by an unknown authority, so that the pods have to \
                look at `ssl-client-verify`.",
        default: "\"required\" applies",
        example: "optional",
        value: Value::Text {
            form: "one of `required`, `optional`, `optional-no-ca`",
            pattern: "^(required|optional|optional-no-ca)$",
            read: |settings, text| {
                settings.clients.guarded("narthex.io/client-verify", |wanted| {
                    wanted.verify = clients::verify(text)?;
                    Ok(())
                })
            },
        },
    },
    Annotation {
        name: "client-verify-depth",
        scope: Scope::Route,
        about: "Maximum number of certificates between that of the client and that of an authority in the Secret.",
        default: "the number is 1",
        example: "2",
        value: Value::Text {
            form: "a whole number from 0 to 10",
            pattern: "^([0-9]|10)$",
            read: |settings, text| {
                settings.clients.guarded("narthex.io/client-verify-depth", |wanted| {
                    let depth = text.parse().ok().filter(|depth| *depth <= 10 && !text.starts_with('+'));
                    wanted.set_depth(depth.ok_or_else(|| format!("\"{text}\" is not a whole number from 0 to 10"))?);
                    Ok(())
                })
            },
        },
    },
    Annotation {
        name: "compress",
        scope: Scope::Route,
        about: "Compress replies for clients that accept it. If a client accepts several codings equally, the \
                first in this list is used. `\"true\"` means `zstd, br, gzip`. Read about BREACH in \
                [compression](compression.md) first.",
        default: "nothing is compressed",
        example: "br, gzip",
        value: Value::Text {
            form: "one or more of `zstd`, `br`, `gzip`, separated by commas; `\"true\"` for all; `\"false\"` or \
                   `\"off\"` for none",
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
        default: "--connect-timeout applies",
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
        about: "Number of consecutive failures after which a pod is ejected, which means that it gets no \
                requests for a while: 10 s at first, then twice as long each time, up to 5 min. Then one request \
                tries the pod. Failures are responses with status 500 to 599 (except 501 and 505), responses \
                that are not valid HTTP, and response heads that take too long, but never errors that the client \
                caused. `0` turns this off. A pod that cannot be reached is always skipped at once.",
        default: "5 consecutive failures eject a pod",
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
        about: "Maximum percentage of the pods that may be ejected for their responses at the same time.",
        default: "at most 50 percent are ejected",
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
        about: "Also eject a pod if its average time to a response head is more than this many times that of the \
                others.",
        default: "slow pods are not ejected",
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
        about: "Number of consecutive failed health checks after which a pod gets no requests.",
        default: "the number is 3",
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
        about: "Interval between health checks of a pod.",
        default: "the interval is 10s",
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
        about: "Path for health checks. The whole narthex process checks each pod once per interval. A pod that \
                does not answer with 200 to 399 in time gets no requests until it does again. This is \
                independent of the pod's readiness in Kubernetes.",
        default: "there are no health checks by HTTP",
        example: "/healthz",
        value: Value::Text {
            form: "a path, with an optional query",
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
        about: "Protocol of health checks: `HTTP` sends a GET of `health-path`, and `gRPC` calls \
                grpc.health.v1.Health/Check, which needs no path.",
        default: "\"HTTP\" applies",
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
        about: "Number of consecutive successful health checks after which a pod gets requests again.",
        default: "the number is 2",
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
        about: "How long a health check may take.",
        default: "the time is 1s",
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
        about: "Send `Strict-Transport-Security` with this value (RFC 6797) in replies over TLS. Browsers then \
                use only HTTPS for the time in `max-age`.",
        default: "the header is not sent",
        example: "max-age=31536000; includeSubDomains",
        value: Value::Header {
            form: "`max-age=SECONDS`, and optionally `includeSubDomains` and `preload`, separated by `;`",
            read: hsts::normalise,
            set: |settings, value| settings.hsts = value,
        },
    },
    Annotation {
        name: "max-in-flight",
        scope: Scope::Backend,
        about: "Maximum number of requests in flight to the Service's pods, in the whole process. Further \
                requests wait (`max-pending`) or get 503 with `Retry-After`.",
        default: "only the limit of the process applies",
        example: "200",
        value: Value::Integer {
            least: 1,
            most: 1000000,
            set: |settings, number| settings.backend.max_in_flight = Some(number),
        },
    },
    Annotation {
        name: "max-in-flight-per-pod",
        scope: Scope::Backend,
        about: "Maximum number of requests in flight to each pod of the Service, in the whole process. Narthex chooses \
                among the pods that have fewer. If all pods have that many, requests wait for `queue-timeout` and then \
                get 503 with `Retry-After`.",
        default: "pods get any number",
        example: "20",
        value: Value::Integer {
            least: 1,
            most: 1000000,
            set: |settings, number| settings.backend.max_in_flight_per_pod = Some(number),
        },
    },
    Annotation {
        name: "max-pending",
        scope: Scope::Backend,
        about: "Maximum number of requests that wait because of `max-in-flight`.",
        default: "requests do not wait",
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
        about: "Whether narthex removes empty path segments before it compares and forwards paths, so that \
                `/a//b` becomes `/a/b`.",
        default: "\"true\" applies",
        example: "false",
        value: Value::Switch(|settings, merge| settings.keep_slashes = !merge),
    },
    Annotation {
        name: "per-try-timeout",
        scope: Scope::Backend,
        about: "Like `response-timeout`, for one of several attempts. An attempt that takes longer is given up \
                for the next one, if `retries` allows another.",
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
        about: "How long a request may wait because of `max-in-flight` or `max-in-flight-per-pod`.",
        default: "the time is 1s",
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
        about: "How long a whole request may take, from its head to the last byte of the response. Before the \
                response head, the client then gets 504. After it, narthex closes the connection, or resets the \
                stream over HTTP/2. WebSockets are exempt. The `grpc-timeout` of a gRPC client applies as well.",
        default: "only the time-outs for parts of the request apply",
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
        about: "How long a pod may take from the last byte of the request to the response head; then the client \
                gets 504.",
        default: "--response-timeout applies",
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
        about: "Number of additional attempts after a failure that `retry-on` names, at other pods if there are \
                any. All retries of a Service are at most a fifth of its requests (plus 5). narthex does not \
                retry after a byte of the response has been passed on, nor a body that `retry-buffer` cannot \
                hold.",
        default: "narthex only retries what is safe: connections that cannot be opened, requests of which \
                  nothing was sent, and requests that are idempotent (RFC 9110) and have no body",
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
        about: "How much of a request body narthex keeps for another attempt. A request with a longer body is \
                not retried.",
        default: "the size is 64KiB",
        example: "256KiB",
        value: Value::Bytes {
            most: 16 << 20,
            set: |settings, bytes| settings.backend.retry_buffer = Some(bytes),
        },
    },
    Annotation {
        name: "retry-on",
        scope: Scope::Backend,
        about: "Failures that `retries` applies to. `reset` is a connection that ends before the response head, \
                `timeout` is a response head that takes too long, and numbers and `5xx` are statuses. \
                `non-idempotent` adds requests whose method is not idempotent, such as POST.",
        default: "reset, 502, 503, 504 apply",
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
        about: "How long a client may read nothing of a response that is ready for it; then narthex closes the \
                connection or resets the stream. Bytes of the request count too.",
        default: "--send-timeout applies",
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
        about: "How long a new pod gets less than its share of requests. The share rises from a tenth.",
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
        about: "Whether plain HTTP is redirected to HTTPS with 308. `\"true\"` redirects all rules, including \
                those without a host and those without an entry in `spec.tls`.",
        default: "hosts in spec.tls are redirected, unless --ssl-redirect=false",
        example: "false",
        value: Value::Switch(|settings, redirect| settings.ssl_redirect = Some(redirect)),
    },
    Annotation {
        name: "sticky-cookie",
        scope: Scope::Backend,
        about: "Name of a cookie that keeps a client at the pod that answered it first. Its value is the same \
                for every narthex, so it works on all nodes and after restarts. When the pod is gone or \
                unhealthy, another pod takes over and the cookie is set again. The cookie has an entry for each \
                Service, so an Ingress with several Services keeps a client at one pod of each.",
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
        about: "How long a pod may pause in a response body; then narthex closes the connection.",
        default: "--stream-timeout applies",
        example: "1h",
        value: Value::Time {
            least: SECOND,
            most: DAY,
            set: |settings, time| settings.backend.stream_timeout = Some(time),
        },
    },
    Annotation {
        name: "tls-ciphers",
        scope: Scope::Route,
        about: "Cipher suites of TLS 1.2 that connections for the hosts of this Ingress may use; those of TLS 1.3 always \
                may. Names are those of OpenSSL or IANA. Where several Ingresses of a host say so, what all of them name \
                counts. A request on a connection for a name with other suites gets 421. See [TLS](tls.md#tls-by-host).",
        default: "all suites of narthex are taken; if no name is known, requests for these hosts get 503",
        example: "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384",
        value: Value::Text {
            form: "names with colons, commas or blanks between",
            pattern: "^[!-~ ]+$",
            read: |settings, text| settings.clients.terms.suites("narthex.io/tls-ciphers", text),
        },
    },
    Annotation {
        name: "tls-min-version",
        scope: Scope::Route,
        about: "Oldest version of TLS that connections for the hosts of this Ingress may use. An older one is refused in its \
                handshake. It cannot be older than `--tls-min-version` says. A request on a connection for a name with \
                another oldest version gets 421. See [TLS](tls.md#tls-by-host).",
        default: "--tls-min-version applies; if the value is wrong, requests for these hosts get 503",
        example: "1.3",
        value: Value::Text {
            form: "`1.2` or `1.3`",
            pattern: "^1\\.[23]$",
            read: |settings, text| settings.clients.terms.least("narthex.io/tls-min-version", text),
        },
    },
    Annotation {
        name: "tls-passthrough",
        scope: Scope::Route,
        about: "Pass TLS connections for the hosts of this Ingress on to the pods as they come, so that TLS ends there. \
                They go to the backend of the path `/`, or else to the default backend. The rules answer plain HTTP only. \
                See [TLS](tls.md#tls-passed-through).",
        default: "TLS ends at narthex",
        example: "true",
        value: Value::Switch(|settings, passes| settings.passes_tls = passes),
    },
    Annotation {
        name: "upstream-host",
        scope: Scope::Backend,
        about: "`Host` that pods get instead of the client's, which they find in `X-Forwarded-Host`. \
                `external-name` means the externalName of a Service of type ExternalName, which services outside \
                of the cluster usually expect.",
        default: "pods get the client's `Host`",
        example: "api.example.org",
        value: Value::Text {
            form: "a host, with or without a port, or `external-name`",
            pattern: "^[0-9A-Za-z._:\\[\\]-]+$",
            read: |settings, text| {
                settings.backend.upstream_host = Some(upstream_host(text)?);
                Ok(())
            },
        },
    },
];
