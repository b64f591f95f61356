//! narthex's own equivalents of what the annotations of other ingress controllers ask for: one table for all of them.

use super::PREFIX;
use crate::model::annotation::matches;

/// What one or more foreign annotations ask for, and how narthex is asked for it.
pub(super) struct Equivalent {
    /// The ends of the prefixes of those who have it.
    domains: &'static [&'static str],
    /// Patterns of names.
    names: &'static [&'static str],
    /// narthex's own, without their prefix.
    pub own: &'static [&'static str],
    /// What else does it.
    pub note: &'static str,
}

const fn own(
    domains: &'static [&'static str],
    names: &'static [&'static str],
    own: &'static [&'static str],
) -> Equivalent {
    Equivalent {
        domains,
        names,
        own,
        note: "",
    }
}

const fn note(
    domains: &'static [&'static str],
    names: &'static [&'static str],
    own: &'static [&'static str],
    note: &'static str,
) -> Equivalent {
    Equivalent {
        domains,
        names,
        own,
        note,
    }
}

const ALL: &[&str] = &[""];
const TRAEFIK: &[&str] = &["traefik.ingress.kubernetes.io", "ingress.kubernetes.io"];
const ALB: &[&str] = &["alb.ingress.kubernetes.io"];
const APPGW: &[&str] = &["appgw.ingress.kubernetes.io"];
const HAPROXY: &[&str] = &[
    "haproxy.org",
    "haproxy-ingress.github.io",
    "haproxy.router.openshift.io",
    "ingress.kubernetes.io",
];
const NGINX_INC: &[&str] = &["nginx.org", "nginx.com"];
const CONTOUR: &[&str] = &["projectcontour.io"];
const PROTOCOL: &str = "or set appProtocol of the Service port";

/// The first that fits counts.
pub(super) static TABLE: &[Equivalent] = &[
    // HTTPS.
    own(
        ALL,
        &[
            "ssl-redirect",
            "force-ssl-redirect",
            "redirect-entry-point",
            "redirect-to-https",
            "https-redirect-status-code",
            "http-to-https",
            "force-https",
            "ingress.allow-http",
            "ssl-temporary-redirect",
        ],
        &["ssl-redirect"],
    ),
    own(ALL, &["hsts", "hsts-*", "hsts_header", "force-hsts"], &["hsts"]),
    // What pods speak.
    note(
        ALL,
        &[
            "backend-protocol",
            "backend-protocol-version",
            "secure-backends",
            "grpc-backend",
            "ssl-services",
            "grpc-services",
            "upstream-scheme",
            "upstream-protocol.*",
            "service.serversscheme",
            "protocol",
            "server-ssl",
            "server-proto",
        ],
        &["backend-protocol"],
        PROTOCOL,
    ),
    own(
        ALL,
        &["proxy-ssl-secret"],
        &["backend-client-secret", "backend-ca-secret"],
    ),
    own(ALL, &["proxy-ssl-verify"], &["backend-verify"]),
    own(
        ALL,
        &["proxy-ssl-name", "secure-verify-hostname", "secure-sni"],
        &["backend-server-name"],
    ),
    own(
        HAPROXY,
        &["server-ca", "secure-verify-ca-secret"],
        &["backend-ca-secret"],
    ),
    own(
        HAPROXY,
        &["server-crt", "secure-crt-secret"],
        &["backend-client-secret"],
    ),
    own(
        HAPROXY,
        &["send-proxy-protocol", "proxy-protocol"],
        &["backend-proxy-protocol"],
    ),
    own(
        ALL,
        &["upstream-vhost", "backend-hostname", "host-header"],
        &["upstream-host"],
    ),
    // Which pod is chosen.
    own(
        ALL,
        &[
            "affinity",
            "session-cookie-name",
            "service.sticky.cookie",
            "service.sticky.cookie.name",
            "cookie-persistence",
            "cookie-based-affinity",
            "sticky-cookie-services",
            "cookie_name",
        ],
        &["sticky-cookie"],
    ),
    own(
        ALL,
        &[
            "load-balance",
            "upstream-hash-by",
            "load-balancer-method",
            "balance-algorithm",
            "lb-method",
            "balance",
        ],
        &["balance"],
    ),
    own(ALL, &["slow-start"], &["slow-start"]),
    // Time-outs.
    own(
        ALL,
        &[
            "proxy-connect-timeout",
            "timeout-connect",
            "connect-timeout",
            "upstream-connect-timeout",
        ],
        &["connect-timeout"],
    ),
    own(
        ALL,
        &[
            "proxy-read-timeout",
            "timeout-server",
            "read-timeout",
            "upstream-read-timeout",
        ],
        &["response-timeout", "stream-timeout"],
    ),
    own(HAPROXY, &["timeout"], &["response-timeout", "stream-timeout"]),
    own(HAPROXY, &["timeout-queue"], &["queue-timeout"]),
    own(APPGW, &["request-timeout"], &["response-timeout"]),
    own(CONTOUR, &["response-timeout"], &["request-timeout"]),
    own(CONTOUR, &["per-try-timeout"], &["per-try-timeout"]),
    // Retries.
    own(ALL, &["proxy-next-upstream", "retry-on"], &["retry-on"]),
    own(
        ALL,
        &[
            "proxy-next-upstream-tries",
            "num-retries",
            "retries",
            "upstream-retries",
        ],
        &["retries"],
    ),
    own(ALL, &["proxy-next-upstream-timeout"], &["request-timeout"]),
    own(TRAEFIK, &["buffering"], &["retry-buffer"]),
    // How much pods get.
    own(
        ALL,
        &[
            "max-conn-amount",
            "max-conns",
            "pod-maxconn",
            "maxconn-server",
            "max-connections",
            "max-requests",
        ],
        &["max-in-flight"],
    ),
    own(ALL, &["maxqueue-server", "max-pending-requests"], &["max-pending"]),
    own(
        ALL,
        &["circuit-breaker-expression", "max-fails"],
        &["eject-after", "eject-slower"],
    ),
    // Health.
    own(
        ALB,
        &["healthcheck-path", "healthcheck-protocol"],
        &["health-path", "health-protocol"],
    ),
    own(ALB, &["healthcheck-interval-seconds"], &["health-interval"]),
    own(ALB, &["healthcheck-timeout-seconds"], &["health-timeout"]),
    own(ALB, &["healthy-threshold-count"], &["health-rise"]),
    own(ALB, &["unhealthy-threshold-count"], &["health-fall"]),
    own(APPGW, &["health-probe-path"], &["health-path"]),
    own(APPGW, &["health-probe-interval"], &["health-interval"]),
    own(APPGW, &["health-probe-timeout"], &["health-timeout"]),
    own(APPGW, &["health-probe-unhealthy-threshold"], &["health-fall"]),
    own(NGINX_INC, &["health-checks"], &["health-path"]),
    own(HAPROXY, &["check", "check-http", "health-check-uri"], &["health-path"]),
    own(
        HAPROXY,
        &["check-interval", "health-check-interval"],
        &["health-interval"],
    ),
    own(HAPROXY, &["health-check-rise-count"], &["health-rise"]),
    own(HAPROXY, &["health-check-fall-count"], &["health-fall"]),
    // What the rules themselves say, or what is always so.
    note(
        TRAEFIK,
        &["rule-type", "router.pathmatcher"],
        &[],
        "use pathType: Prefix or pathType: Exact",
    ),
    note(
        TRAEFIK,
        &["router.entrypoints", "frontend-entry-points"],
        &[],
        "it is not needed, because rules apply to both ports",
    ),
    note(TRAEFIK, &["router.tls"], &["ssl-redirect"], "spec.tls lists the hosts"),
    note(
        ALL,
        &["preserve-host", "service.passhostheader"],
        &[],
        "pods always get the client's Host",
    ),
    note(
        TRAEFIK,
        &["responseforwarding-flushinterval"],
        &[],
        "it is not needed, because bytes are passed on as they arrive",
    ),
    note(
        TRAEFIK,
        &["priority", "router.priority"],
        &[],
        "the most specific rule wins, then that of the oldest Ingress",
    ),
    // What is done to requests and replies.
    own(ALL, &["proxy-body-size", "client-max-body-size"], &["max-request-body"]),
    own(ALL, &["use-regex"], &["path-regex"]),
    own(
        ALL,
        &["rewrite-target"],
        &["rewrite-target", "strip-prefix", "add-prefix"],
    ),
    own(
        ALL,
        &["path-rewrite", "backend-path-prefix"],
        &["strip-prefix", "add-prefix"],
    ),
    own(
        ALL,
        &[
            "permanent-redirect",
            "temporal-redirect",
            "redirect-to",
            "request-redirect",
        ],
        &["redirect", "redirect-status"],
    ),
    own(ALL, &["cors-*", "enable-cors"], &["cors-allow-origin"]),
    own(ALL, &["enable-access-log"], &["access-log"]),
    own(
        ALL,
        &["custom-request-headers", "request-set-header"],
        &["request-headers-set"],
    ),
    own(
        ALL,
        &["custom-headers", "custom-response-headers", "response-set-header"],
        &["response-headers-set"],
    ),
    own(ALL, &["proxy-cookie-path"], &["rewrite-cookie-path"]),
    own(ALL, &["proxy-cookie-domain"], &["rewrite-cookie-domain"]),
    own(
        ALL,
        &["proxy-redirect-from", "proxy-redirect-to"],
        &["rewrite-location"],
    ),
    own(ALL, &["canary-weight"], &["canary-service", "canary-weight"]),
    note(
        ALL,
        &["proxy-buffering", "proxy-request-buffering"],
        &[],
        "bodies are passed on as they arrive",
    ),
];

impl Equivalent {
    /// narthex's own, and what else there is to know.
    pub fn text(&self) -> String {
        let own: Vec<String> = self.own.iter().map(|name| format!("{PREFIX}{name}")).collect();
        let own = own.join(" and ");
        let both = !own.is_empty() && !self.note.is_empty();
        format!("{own}{}{}", if both { "; " } else { "" }, self.note)
    }

    /// The foreign names.
    pub fn foreign(&self) -> impl Iterator<Item = &'static str> {
        self.names.iter().copied()
    }
}

/// What to do instead of using a foreign annotation.
pub(super) fn of(key: &str) -> Option<String> {
    let (prefix, name) = key.split_once('/')?;
    let fits = |one: &&Equivalent| {
        one.domains.iter().any(|domain| prefix.ends_with(domain)) && one.names.iter().any(|names| matches(names, name))
    };
    let found = TABLE.iter().find(fits)?;
    let verb = if found.own.is_empty() { "" } else { "use " };
    Some(format!("{verb}{}", found.text()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_is_there() {
        for one in TABLE {
            for name in one.own {
                assert!(super::super::all().iter().any(|known| known.name == *name), "{name}");
            }
            assert!(!one.text().is_empty(), "{:?}", one.names);
        }
    }

    #[test]
    fn one_table_for_all() {
        for (key, wanted) in [
            (
                "nginx.ingress.kubernetes.io/proxy-connect-timeout",
                "use narthex.io/connect-timeout",
            ),
            (
                "nginx.ingress.kubernetes.io/proxy-read-timeout",
                "use narthex.io/response-timeout and narthex.io/stream-timeout",
            ),
            ("haproxy.org/load-balance", "use narthex.io/balance"),
            (
                "traefik.ingress.kubernetes.io/service.sticky.cookie",
                "use narthex.io/sticky-cookie",
            ),
            ("projectcontour.io/num-retries", "use narthex.io/retries"),
            ("kubernetes.io/ingress.allow-http", "use narthex.io/ssl-redirect"),
        ] {
            assert_eq!(of(key).as_deref(), Some(wanted), "{key}");
        }
        assert_eq!(of("nginx.ingress.kubernetes.io/server-alias"), None);
    }
}
