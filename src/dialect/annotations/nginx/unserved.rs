//! The annotations of ingress-nginx that narthex does not act on.

use super::Verdict::{NoEffect, NotYet, Refused};
use super::{Unserved, Verdict};

const fn row(names: &'static [&'static str], verdict: Verdict, why: &'static str) -> Unserved {
    Unserved { names, verdict, why }
}

/// All of them, those of one kind together.
pub(super) static ALL: &[Unserved] = &[
    row(
        &["affinity-mode"],
        NoEffect,
        "a client always stays at its pod as long as that is there",
    ),
    row(
        &[
            "auth-keepalive",
            "auth-keepalive-requests",
            "auth-keepalive-share-vars",
            "auth-keepalive-timeout",
        ],
        NoEffect,
        "connections are kept as --upstream-idle-timeout says",
    ),
    row(
        &[
            "client-body-buffer-size",
            "proxy-buffering",
            "proxy-buffers-number",
            "proxy-busy-buffers-size",
            "proxy-max-temp-file-size",
            "proxy-request-buffering",
        ],
        NoEffect,
        "bodies are passed on as they arrive, and nothing is written to files",
    ),
    row(
        &["proxy-buffer-size"],
        NoEffect,
        "heads of responses may be as long as --max-response-head says",
    ),
    row(&["proxy-http-version"], NoEffect, "pods are spoken to by HTTP/1.1"),
    row(
        &["enable-rewrite-log", "http2-push-preload", "ssl-prefer-server-ciphers"],
        NoEffect,
        "there is nothing like it",
    ),
    row(
        &["preserve-trailing-slash"],
        NoEffect,
        "a slash at the end of the path always stays",
    ),
    row(&["proxy-ssl-server-name"], NoEffect, "the server's name is always sent"),
    row(
        &[
            "enable-opentelemetry",
            "opentelemetry-operation-name",
            "opentelemetry-trust-incoming-span",
        ],
        NoEffect,
        "with --otlp-endpoint requests of all routes are traced; spans are named by method and path, and a trace that comes in \
         goes on",
    ),
    row(
        &["proxy-ssl-verify-depth"],
        NotYet,
        "certificates of pods may have any number of others between them and an authority",
    ),
    row(
        &["server-snippet", "stream-snippet", "modsecurity-snippet"],
        Refused,
        "configuration of nginx is not interpreted",
    ),
    row(
        &[
            "enable-modsecurity",
            "enable-owasp-core-rules",
            "modsecurity-transaction-id",
        ],
        Refused,
        "there is no web application firewall",
    ),
    row(
        &["fastcgi-index", "fastcgi-params-configmap"],
        Refused,
        "pods are spoken to by HTTP only",
    ),
];
