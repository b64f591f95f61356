//! What the words in an annotation's name say of it, whoever's annotation it is.

use super::Reach;

/// The words of a name, in lower case: `limit-rps`, `ip_whitelist`, `allowSourceRange` and `WAFPolicy` alike.
pub(super) struct Words(Vec<String>);

/// Whether the capital letter here begins a word behind others: the P of `WAFPolicy`, and not the R of `CIDRs`.
fn ends_capitals(name: &str, at: usize) -> bool {
    let is_behind_one = name
        .get(..at)
        .is_some_and(|before| before.ends_with(|last: char| last.is_ascii_uppercase()));
    let mut after = name.get(at..).unwrap_or_default().chars().skip(1);
    let (next, second) = (after.next(), after.next());
    let is_plural = next == Some('s') && !second.is_some_and(|second| second.is_ascii_lowercase());
    is_behind_one && next.is_some_and(|next| next.is_ascii_lowercase()) && !is_plural
}

impl Words {
    pub fn of(name: &str) -> Self {
        let mut words = vec![String::new()];
        let mut was_small = false;
        for (at, character) in name.char_indices() {
            let is_large = character.is_ascii_uppercase();
            if !character.is_ascii_alphanumeric() || (is_large && (was_small || ends_capitals(name, at))) {
                words.push(String::new());
            }
            was_small = character.is_ascii_lowercase() || character.is_ascii_digit();
            if character.is_ascii_alphanumeric()
                && let Some(word) = words.last_mut()
            {
                word.push(character.to_ascii_lowercase());
            }
        }
        words.retain(|word| !word.is_empty());
        Self(words)
    }

    fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether one of these words is in it.
    pub fn any(&self, of: &[&str]) -> bool {
        self.iter().any(|word| of.contains(&word))
    }

    /// Whether a word of the first list is followed at once by one of the second.
    fn pair(&self, first: &[&str], second: &[&str]) -> bool {
        let mut pairs = self.iter().zip(self.iter().skip(1));
        pairs.any(|(one, other)| first.contains(&one) && second.contains(&other))
    }

    /// Whether the name is one of these words and nothing else.
    fn is(&self, of: &[&str]) -> bool {
        matches!(&*self.0, [word] if of.contains(&word.as_str()))
    }

    fn contain(&self, parts: &[&str]) -> bool {
        self.iter().any(|word| parts.iter().any(|part| word.contains(part)))
    }

    fn last(&self) -> &str {
        self.iter().last().unwrap_or_default()
    }

    /// Whether the name says that a guard is absent where its value is true: `disable-auth`, `allow-anonymous`.
    pub fn is_inverted(&self) -> bool {
        self.any(&[
            "disable",
            "disabled",
            "skip",
            "bypass",
            "anonymous",
            "unauthenticated",
            "unrestricted",
            "public",
        ])
    }

    /// Whether the name is that of a list of those who may come in.
    pub fn is_allow_list(&self) -> bool {
        let denies = self.contain(&["deny", "denied", "black", "block", "reject", "forbid", "exclu"])
            || self.any(&["ban", "banned", "banlist", "drop", "except"]);
        let allows = self.contain(&["allow", "white"]) || self.any(&["source", "cidr", "cidrs"]);
        allows && !denies
    }

    /// Whether its value is the name of a kind, for which "none" is a word.
    pub fn is_kind(&self) -> bool {
        matches!(self.last(), "type" | "mode" | "method" | "provider")
    }

    /// Whether these words speak of a guard, and of how much.
    pub fn guard(&self) -> Option<Reach> {
        if self.is_tuning() {
            return None;
        }
        let backends = self.any(&["upstream", "backend", "backends", "proxy"]);
        if self.is_server_snippet() || (self.is_client_certificate() && !backends) {
            return Some(Reach::Host);
        }
        let guards = self.is_identity()
            || self.is_list()
            || self.is_refusal()
            || self.is_inspection()
            || self.is_code()
            || self.is_policy()
            || self.is_limit();
        guards.then_some(Reach::Rules)
    }

    /// Time-outs, caches and connections of a guard are not the guard; nor is what a browser is told.
    fn is_tuning(&self) -> bool {
        self.any(&[
            "cors",
            "timeout",
            "timeouts",
            "keepalive",
            "cache",
            "caching",
            "duration",
            "ttl",
            "interval",
        ]) || self.pair(&["time"], &["out", "outs"])
            || self.pair(&["keep"], &["alive"])
            || self.pair(&["frame", "iframe"], &["deny", "options", "policy"])
            || self.pair(&["xss"], &["filter", "protection"])
            || self.pair(&["content"], &["security"])
            || self.pair(&["control"], &["allow", "expose", "max", "request"])
            || self.pair(&["deletion", "termination"], &["protection"])
    }

    fn is_server_snippet(&self) -> bool {
        self.pair(&["server", "host"], &["snippet", "snippets"])
    }

    /// TLS is agreed on before there is a path, so a client's certificate is asked for by host.
    fn is_client_certificate(&self) -> bool {
        self.any(&["mtls", "truststore"])
            || self.pair(&["auth"], &["tls", "ssl"])
            || self.pair(&["mutual"], &["tls", "ssl", "auth", "authentication"])
            || self.pair(
                &["client"],
                &[
                    "cert",
                    "certs",
                    "certificate",
                    "certificates",
                    "ca",
                    "cas",
                    "crt",
                    "tls",
                    "ssl",
                    "auth",
                    "verify",
                    "verification",
                ],
            )
            || self.pair(&["verify", "require", "requires", "request"], &["client"])
            || self.pair(&["trust"], &["store", "stores"])
    }

    /// Whether the name is about the identity of a client.
    fn is_identity(&self) -> bool {
        // "author" and "authority" begin like "auth" and are something else.
        let other =
            |word: &str| word.starts_with("author") && !word.starts_with("authoriz") && !word.starts_with("authoris");
        self.iter().any(|word| word.contains("auth") && !other(word))
            || self.contain(&[
                "jwt", "oidc", "oauth", "saml", "openid", "keycloak", "cognito", "kerberos", "htpasswd", "pomerium",
                "zitadel",
            ])
            || self.any(&[
                "jwks",
                "jwk",
                "sso",
                "ldap",
                "spnego",
                "iap",
                "login",
                "signin",
                "password",
                "passwd",
                "apikey",
                "apikeys",
                "hmac",
                "bearer",
                "opa",
                "rbac",
                "abac",
                "dex",
                "anonymous",
                "okta",
                "entra",
                "azuread",
                "ztna",
                "spoe",
                "presigned",
                "x509",
                "spiffe",
                "entitlements",
            ])
            || self.is(&[
                "permission",
                "permissions",
                "users",
                "groups",
                "roles",
                "scopes",
                "claims",
                "accounts",
                "credentials",
                "realm",
            ])
            || self.pair(&["zero"], &["trust"])
            || self.pair(
                &["identity"],
                &["provider", "providers", "aware", "check", "checks", "required"],
            )
            || self.pair(
                &["token", "tokens", "session", "signature", "signatures"],
                &[
                    "review",
                    "introspection",
                    "check",
                    "checks",
                    "verify",
                    "verification",
                    "validate",
                    "validation",
                    "required",
                ],
            )
            || self.pair(
                &["signed"],
                &[
                    "url", "urls", "cookie", "cookies", "request", "requests", "link", "links",
                ],
            )
            || self.pair(
                &["require", "required", "requires", "verify", "validate", "check"],
                &["token", "tokens", "session", "signature", "signatures", "identity"],
            )
            || self.pair(&["api", "access"], &["key", "keys", "token", "tokens"])
            || self.pair(&["sign"], &["in"])
    }

    /// Whether the name is about a list of clients.
    fn is_list(&self) -> bool {
        const LISTED: &[&str] = &[
            "ip",
            "ips",
            "cidr",
            "cidrs",
            "source",
            "sources",
            "range",
            "ranges",
            "network",
            "networks",
            "subnet",
            "subnets",
            "host",
            "hosts",
            "user",
            "users",
            "group",
            "groups",
            "role",
            "roles",
            "scope",
            "scopes",
            "domain",
            "domains",
            "email",
            "emails",
            "method",
            "methods",
            "country",
            "countries",
            "client",
            "clients",
            "referer",
            "referers",
            "referrers",
            "agents",
            "from",
            "only",
            "list",
            "lists",
            "prefix",
            "prefixes",
            "address",
            "addresses",
            "access",
            "traffic",
            "remote",
        ];
        self.contain(&[
            "allowlist",
            "whitelist",
            "denylist",
            "blacklist",
            "blocklist",
            "accesslist",
            "safelist",
            "banlist",
        ]) || self.any(&["acl", "acls", "cidr", "cidrs"])
            || self.pair(&["allow", "allowed", "permit", "permitted", "accept", "valid"], LISTED)
            || self.pair(LISTED, &["allow", "allowed", "permit", "permitted", "denied"])
            || self.is(&["allow", "allowed", "permit", "permits"])
            || self.pair(&["http"], &["methods"])
            || self.pair(
                &["white", "black", "access", "safe", "block", "ban"],
                &["list", "lists", "listed"],
            )
            || self.pair(&["source", "src"], &["range", "ranges"])
            || self.pair(
                &["ip", "ips", "address", "source", "client"],
                &[
                    "allow",
                    "allowed",
                    "access",
                    "filter",
                    "filters",
                    "filtering",
                    "rule",
                    "rules",
                    "control",
                    "list",
                    "lists",
                ],
            )
            || self.pair(&["public", "secure", "secured", "private", "internal"], &["access"])
            || self.is(&["private", "internal", "intranet", "countries"])
            || self.pair(&["access"], &["control", "rule", "rules", "from", "restriction"])
            || self.pair(
                &["security"],
                &[
                    "group", "groups", "rule", "rules", "level", "mode", "profile", "check", "checks",
                ],
            )
            || self.pair(
                &["require", "required", "requires"],
                &[
                    "role",
                    "roles",
                    "scope",
                    "scopes",
                    "group",
                    "groups",
                    "claim",
                    "claims",
                    "user",
                    "users",
                    "header",
                    "headers",
                    "permission",
                    "permissions",
                ],
            )
            || (self.last() == "only"
                && !self.any(&[
                    "https", "http", "tls", "ssl", "http2", "h2", "grpc", "ipv4", "ipv6", "dns", "read",
                ]))
    }

    /// Whether the name is about clients that are refused.
    fn is_refusal(&self) -> bool {
        self.contain(&["restrict", "forbid", "firewall", "captcha", "hotlink"])
            || self.is(&["drop", "drops", "maintenance"])
            || self.pair(&["maintenance"], &["mode"])
            || self.any(&[
                "deny",
                "denied",
                "denies",
                "block",
                "blocked",
                "blocks",
                "blocking",
                "reject",
                "rejects",
                "ban",
                "banned",
                "prohibit",
                "prohibited",
                "protect",
                "protected",
                "protection",
                "shield",
                "guard",
                "guards",
                "armor",
                "bouncer",
                "vpn",
                "paywall",
                "embargo",
                "readonly",
            ])
            || self.pair(&["read"], &["only"])
            || self.pair(&["age"], &["gate", "check", "verification"])
            || self.pair(&["tenant", "network"], &["isolation"])
    }

    /// What looks into requests.
    fn is_inspection(&self) -> bool {
        self.iter()
            .any(|word| (word.starts_with("waf") && !word.starts_with("wafer")) || word.ends_with("waf"))
            || self.contain(&[
                "modsec",
                "crowdsec",
                "wallarm",
                "appprotect",
                "antibot",
                "geoip",
                "geoblock",
            ])
            || self.any(&[
                "owasp",
                "sqli",
                "threat",
                "threats",
                "turnstile",
                "coraza",
                "naxsi",
                "ddos",
                "dos",
                "csrf",
                "crs",
                "bot",
                "bots",
                "geo",
            ])
            || self.pair(&["mod"], &["security"])
    }

    /// What may do anything, so that nobody can say it does not guard.
    fn is_code(&self) -> bool {
        self.contain(&["plugin", "middleware", "snippet", "wasm"])
            || self.any(&[
                "lua",
                "predicate",
                "predicates",
                "responder",
                "script",
                "scripts",
                "interceptor",
                "interceptors",
                "directive",
                "directives",
            ])
            || self.pair(
                &["raw", "custom", "extra", "additional"],
                &["config", "conf", "configuration"],
            )
            || self.pair(&["ext", "external"], &["proc", "processor", "processing"])
            || (self.any(&["filter", "filters"]) && !self.any(&["log", "logs", "log4j", "metrics", "trace", "tracing"]))
    }

    /// A policy may ask for anything, unless its name says for what.
    fn is_policy(&self) -> bool {
        self.any(&["policy", "policies"])
            && !self.any(&[
                "ssl",
                "tls",
                "cipher",
                "ciphers",
                "referrer",
                "referer",
                "csp",
                "retry",
                "balancing",
                "balancer",
                "lb",
                "balance",
                "cookie",
                "cookies",
                "retention",
                "backup",
                "update",
                "upgrade",
                "redirect",
                "failover",
                "health",
                "sticky",
                "affinity",
                "session",
                "delete",
                "deletion",
                "reclaim",
                "restart",
                "pull",
                "sync",
                "routing",
                "scaling",
                "dns",
                "merge",
                "conflict",
                "path",
                "rewrite",
                "compression",
                "upstream",
                "traffic",
                "opener",
                "embedder",
                "resource",
            ])
    }

    /// How much one may ask for, but not of what size.
    fn is_limit(&self) -> bool {
        let rate = self.contain(&["ratelimit", "throttl"])
            || self.any(&["rps", "rpm", "rph", "qps", "quota", "quotas"])
            || self.is(&["rate", "rates"])
            || self.any(&["burst", "concurrency"])
            || self.pair(
                &["per"],
                &[
                    "second", "sec", "minute", "min", "hour", "day", "ip", "ips", "client", "user", "address",
                ],
            )
            || self.pair(
                &["rate", "connection", "connections", "request", "requests"],
                &["limit", "limits"],
            );
        if rate && !self.any(&["body", "bodies", "size", "sizes"]) {
            return true;
        }
        let limit = self
            .iter()
            .any(|word| word.contains("limit") && !word.starts_with("unlimit"));
        let rated = self.any(&["rate", "by", "connections", "conn"]);
        let sized = self.any(&[
            "size", "sizes", "body", "bodies", "buffer", "buffers", "header", "headers", "head", "heads", "uri", "url",
            "bytes", "length", "field", "fields",
        ]) && !rated;
        let elsewhere = self.any(&[
            "history",
            "revision",
            "memory",
            "cpu",
            "storage",
            "log",
            "logs",
            "retry",
            "retries",
            "resource",
            "resources",
            "replicas",
            "scale",
            "depth",
            "redirects",
        ]);
        limit && !sized && !elsewhere
    }
}
