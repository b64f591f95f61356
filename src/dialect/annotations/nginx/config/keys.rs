//! The keys of the ConfigMap of ingress-nginx: what each does here.

use super::super::MOST_TRIES;
use super::super::value::{boolean, errors, exchanged, next_upstream, number, redirect_part, size, status, time};
use super::{Config, guards, snippets};
use crate::dialect::annotations::value::token;
use crate::table::{Balance, FieldPattern};

/// What is to be said of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub key: Box<str>,
    /// Whether its value is wrong; else narthex does not act on it.
    pub is_wrong: bool,
    /// The routes that it closes.
    pub closes: Option<&'static str>,
    pub message: String,
}

impl Finding {
    pub fn wrong(key: &str, message: String) -> Self {
        Self {
            key: key.into(),
            is_wrong: true,
            closes: None,
            message,
        }
    }
}

/// A key that narthex acts on.
pub(super) struct Known {
    pub name: &'static str,
    pub read: fn(&mut Config, &str) -> Result<(), String>,
}

/// Keys that change what clients or pods see, and on which narthex does not act: what to use instead.
const INSTEAD: &[(&[&str], &str)] = &[
    (
        &[
            "use-forwarded-headers",
            "enable-real-ip",
            "forwarded-for-header",
            "proxy-real-ip-cidr",
            "compute-full-forwarded-for",
        ],
        "--trusted-proxies names the proxies whose X-Forwarded-* fields count",
    ),
    (&["use-proxy-protocol"], "use --proxy-protocol"),
    (
        &[
            "ssl-protocols",
            "ssl-ciphers",
            "ssl-ecdh-curve",
            "ssl-reject-handshake",
            "ssl-early-data",
            "enable-ocsp",
        ],
        "TLS has the versions and suites of narthex",
    ),
    (
        &[
            "use-gzip",
            "gzip-level",
            "gzip-types",
            "gzip-min-length",
            "enable-brotli",
            "brotli-level",
            "brotli-types",
        ],
        "use narthex.io/compress",
    ),
    (&["client-header-timeout"], "use --head-timeout"),
    (&["client-body-timeout"], "use --body-timeout"),
    (&["keep-alive"], "use --idle-timeout"),
    (
        &["large-client-header-buffers", "client-header-buffer-size"],
        "use --max-head and --max-uri",
    ),
    (&["proxy-stream-timeout"], "use --tunnel-timeout"),
    (&["log-format-upstream", "log-format-escape-json"], "use --access-log"),
    (
        &["enable-opentelemetry", "otlp-collector-host", "otlp-collector-port"],
        "use --otlp-endpoint",
    ),
    (
        &["main-snippet", "http-snippet", "server-snippet"],
        "configuration of nginx is not interpreted. A directive that may restrict access closes all routes of ingress-nginx",
    ),
    (&["stream-snippet"], "configuration of nginx is not interpreted"),
    (&["modsecurity-snippet"], "there is no web application firewall"),
    (
        &[
            "service-upstream",
            "skip-access-log-urls",
            "enable-underscores-in-headers",
            "ignore-invalid-headers",
            "generate-request-id",
            "use-http2",
            "http2-max-concurrent-streams",
            "keep-alive-requests",
            "annotations-risk-level",
            "allow-cross-namespace-resources",
        ],
        "",
    ),
];

/// Keys without an effect that clients or pods would see, by their beginnings.
const SILENT: &[&str] = &[
    "_",
    "access-log-",
    "allow-snippet-annotations",
    "annotation-value-word-blocklist",
    "bind-address",
    "client-body-buffer-size",
    "debug-connections",
    "disable-ipv6",
    "enable-access-log-for-default-backend",
    "enable-syslog",
    "error-log-",
    "lua-",
    "map-hash-",
    "max-worker-",
    "otel-",
    "opentelemetry-",
    "proxy-buffer",
    "proxy-busy-buffers-size",
    "proxy-headers-hash-",
    "proxy-http-version",
    "proxy-max-temp-file-size",
    "proxy-request-buffering",
    "proxy-ssl-location-only",
    "reuse-port",
    "server-name-hash-",
    "ssl-buffer-size",
    "ssl-dh-param",
    "ssl-session-",
    "strict-validate-path-type",
    "syslog-",
    "upstream-keepalive-",
    "variables-hash-",
    "worker-",
];

static KNOWN: &[Known] = &[
    Known {
        name: "proxy-body-size",
        read: |config, text| {
            config.body = Some(size(text)?);
            Ok(())
        },
    },
    Known {
        name: "custom-http-errors",
        read: |config, text| {
            config.errors = errors(text)?;
            Ok(())
        },
    },
    Known {
        name: "disable-proxy-intercept-errors",
        read: |config, text| {
            config.leaves_errors = boolean(text)?;
            Ok(())
        },
    },
    Known {
        name: "limit-rate",
        read: |config, text| {
            config.limit_rate = number(text)?;
            Ok(())
        },
    },
    Known {
        name: "limit-rate-after",
        read: |config, text| {
            config.limit_rate_after = number(text)?;
            Ok(())
        },
    },
    Known {
        name: "http-redirect-code",
        read: |config, text| {
            let status = status(text, 308)?;
            if !matches!(status.as_u16(), 301 | 302 | 307 | 308) {
                return Err(format!("\"{text}\" is not one of 301, 302, 307, 308"));
            }
            config.redirect_status = status;
            Ok(())
        },
    },
    Known {
        name: "server-tokens",
        read: |config, text| {
            config.hides_server = !boolean(text)?;
            Ok(())
        },
    },
    Known {
        name: "allow-backend-server-header",
        read: |config, text| {
            config.shows_server = boolean(text)?;
            Ok(())
        },
    },
    Known {
        name: "ssl-redirect",
        read: |config, text| {
            config.ssl_redirect = Some(boolean(text)?);
            Ok(())
        },
    },
    Known {
        name: "force-ssl-redirect",
        read: |config, text| {
            config.force_ssl_redirect = boolean(text)?;
            Ok(())
        },
    },
    Known {
        name: "hsts",
        read: |config, text| {
            config.hsts.is_on = boolean(text)?;
            Ok(())
        },
    },
    Known {
        name: "hsts-max-age",
        read: |config, text| {
            config.hsts.max_age = number(text)?;
            Ok(())
        },
    },
    Known {
        name: "hsts-include-subdomains",
        read: |config, text| {
            config.hsts.include_subdomains = boolean(text)?;
            Ok(())
        },
    },
    Known {
        name: "hsts-preload",
        read: |config, text| {
            config.hsts.preload = boolean(text)?;
            Ok(())
        },
    },
    Known {
        name: "proxy-connect-timeout",
        read: |config, text| {
            config.connect = Some(time(text)?);
            Ok(())
        },
    },
    Known {
        name: "proxy-read-timeout",
        read: |config, text| {
            config.read = Some(time(text)?);
            Ok(())
        },
    },
    Known {
        name: "proxy-send-timeout",
        read: |config, text| {
            config.send = Some(time(text)?);
            Ok(())
        },
    },
    Known {
        name: "proxy-next-upstream",
        read: |config, text| {
            config.retry_on = Some(next_upstream(text)?);
            Ok(())
        },
    },
    Known {
        name: "retry-non-idempotent",
        read: |config, text| {
            config.retry_non_idempotent = boolean(text)?;
            Ok(())
        },
    },
    Known {
        name: "proxy-next-upstream-tries",
        read: |config, text| {
            let tries = number(text)?;
            config.tries = Some(if tries == 0 { MOST_TRIES } else { tries.min(MOST_TRIES) });
            Ok(())
        },
    },
    Known {
        name: "proxy-next-upstream-timeout",
        read: |config, text| {
            config.retry_time = match number(text)? {
                0 => None,
                _ => Some(time(text)?),
            };
            Ok(())
        },
    },
    Known {
        name: "load-balance",
        read: |config, text| {
            config.balance = Some(match text {
                "round_robin" => Balance::RoundRobin,
                "ewma" => Balance::Ewma,
                _ => return Err(format!("\"{text}\" is neither round_robin nor ewma")),
            });
            Ok(())
        },
    },
    Known {
        name: "hide-headers",
        read: |config, text| {
            let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
            let pattern = |name| {
                let name = token(name)?;
                let name = (*name).into();
                Ok(FieldPattern { name, open: false })
            };
            config.hidden = names.map(pattern).collect::<Result<_, String>>()?;
            Ok(())
        },
    },
    Known {
        name: "global-allowed-response-headers",
        read: |config, text| {
            let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
            let name = |name: &str| Ok((*token(name)?).to_ascii_lowercase().into());
            config.allowed = names.map(name).collect::<Result<_, String>>()?;
            Ok(())
        },
    },
    // What these name is read elsewhere.
    Known {
        name: "add-headers",
        read: |_, _| Ok(()),
    },
    Known {
        name: "proxy-set-headers",
        read: |_, _| Ok(()),
    },
    Known {
        name: "proxy-add-original-uri-header",
        read: |config, text| {
            config.original_uri = boolean(text)?;
            Ok(())
        },
    },
    Known {
        name: "disable-access-log",
        read: |config, text| {
            config.is_unlogged |= boolean(text)?;
            Ok(())
        },
    },
    Known {
        name: "disable-http-access-log",
        read: |config, text| {
            config.is_unlogged |= boolean(text)?;
            Ok(())
        },
    },
    Known {
        name: "relative-redirects",
        read: |config, text| {
            config.relative = boolean(text)?;
            Ok(())
        },
    },
    Known {
        name: "proxy-cookie-path",
        read: |config, text| {
            config.cookie_path = exchanged(text)?;
            Ok(())
        },
    },
    Known {
        name: "proxy-cookie-domain",
        read: |config, text| {
            config.cookie_domain = exchanged(text)?;
            Ok(())
        },
    },
    Known {
        name: "proxy-redirect-from",
        read: |config, text| {
            config.redirect_from = redirect_part(text)?;
            Ok(())
        },
    },
    Known {
        name: "proxy-redirect-to",
        read: |config, text| {
            config.redirect_to = redirect_part(text)?;
            Ok(())
        },
    },
];

fn all() -> impl Iterator<Item = &'static Known> {
    KNOWN.iter().chain(guards::ALL)
}

/// Reads a key, and says what is to be said of it.
pub(super) fn read(config: &mut Config, name: &str, value: &str) -> Option<Finding> {
    let value = value.trim();
    if let Some(known) = all().find(|known| known.name == name) {
        if value.is_empty() {
            return None;
        }
        let wrong = (known.read)(config, value).err()?;
        let closes = if config.closed_by == Some(known.name) {
            Some("all routes of ingress-nginx")
        } else {
            let closes = config.auth_closed_by == Some(known.name);
            closes.then_some("all routes of ingress-nginx that this service would be asked for")
        };
        return Some(Finding {
            closes,
            ..Finding::wrong(name, wrong)
        });
    }
    if let Some(finding) = snippets::read(config, name, value) {
        return Some(finding);
    }
    if name == "location-snippet" {
        return None;
    }
    let asks_nothing = value.is_empty() || matches!(value, "false" | "0" | "[]");
    if asks_nothing || SILENT.iter().any(|beginning| name.starts_with(beginning)) {
        return None;
    }
    let mut reported = INSTEAD.iter().filter(|(names, _)| names.contains(&name));
    let message = match reported.next() {
        Some((_, "")) => "narthex does not act on this key".to_owned(),
        Some((_, instead)) => format!("narthex does not act on this key: {instead}"),
        None => "narthex does not know this key".to_owned(),
    };
    Some(Finding {
        key: name.into(),
        is_wrong: false,
        closes: None,
        message,
    })
}

/// The names of all keys that narthex acts on.
pub(in crate::dialect::annotations::nginx) fn served() -> impl Iterator<Item = &'static str> {
    all().map(|known| known.name).chain(["location-snippet"])
}

/// The names of those that it does not act on, and what to use instead.
pub(in crate::dialect::annotations::nginx) fn unserved() -> impl Iterator<Item = (&'static [&'static str], &'static str)>
{
    INSTEAD.iter().copied()
}
