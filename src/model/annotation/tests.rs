use super::*;

fn none() -> Annotations {
    Annotations::default()
}

#[test]
fn guards_of_known_vendors_close() {
    let text = "
        nginx.ingress.kubernetes.io/auth-type: basic
        nginx.ingress.kubernetes.io/auth-secret: users
        nginx.ingress.kubernetes.io/auth-url: https://auth.example.com/
        nginx.ingress.kubernetes.io/auth-signin: https://auth.example.com/
        nginx.ingress.kubernetes.io/auth-snippet: deny all;
        nginx.ingress.kubernetes.io/whitelist-source-range: 10.0.0.0/8
        nginx.ingress.kubernetes.io/allowlist-source-range: 10.0.0.0/8
        nginx.ingress.kubernetes.io/denylist-source-range: 0.0.0.0/0
        nginx.ingress.kubernetes.io/configuration-snippet: deny all;
        nginx.ingress.kubernetes.io/stream-snippet: deny all;
        nginx.ingress.kubernetes.io/limit-rps: 5
        nginx.ingress.kubernetes.io/limit-rpm: 5
        nginx.ingress.kubernetes.io/limit-connections: 5
        nginx.ingress.kubernetes.io/limit-rate: 100
        nginx.ingress.kubernetes.io/global-rate-limit: 100
        nginx.ingress.kubernetes.io/enable-modsecurity: true
        nginx.ingress.kubernetes.io/enable-owasp-core-rules: true
        nginx.ingress.kubernetes.io/modsecurity-snippet: SecRuleEngine On
        nginx.ingress.kubernetes.io/enable-global-auth: true
        nginx.ingress.kubernetes.io/wallarm-mode: block
        nginx.ingress.kubernetes.io/authurl: misspelled
        nginx.ingress.kubernetes.io/whitelist-source-ranges: misspelled
        ingress.kubernetes.io/auth-type: basic
        ingress.kubernetes.io/whitelist-source-range: 10.0.0.0/8
        ingress.kubernetes.io/rate-limit: rateset
        ingress.kubernetes.io/allowed-hosts: a.test
        traefik.ingress.kubernetes.io/auth-secret: users
        traefik.ingress.kubernetes.io/whitelist-source-range: 10.0.0.0/8
        traefik.ingress.kubernetes.io/router.middlewares: default-auth@kubernetescrd
        traefik.ingress.kubernetes.io/service.middlewares: default-auth@kubernetescrd
        traefik.ingress.kubernetes.io/router.entrypoints: internal
        traefik.ingress.kubernetes.io/max-conn-extractor-func: client.ip
        bunkerweb.io/USE_BAD_BEHAVIOR: yes
        bunkerweb.io/USE_DNSBL: yes
        traefik.frontend.auth.basic: a:b
        traefik.frontend.auth.basic.users: a:b
        traefik.frontend.auth.forward.address: https://auth.example.com/
        traefik.frontend.auth.digest.usersFile: /users
        traefik.frontend.whiteList.sourceRange: 10.0.0.0/8
        traefik.frontend.whitelistSourceRange: 10.0.0.0/8
        traefik.frontend.rateLimit.extractorFunc: client.ip
        haproxy.org/auth-type: basic-auth
        haproxy.org/allow-list: 10.0.0.0/8
        haproxy.org/deny-list: 10.0.0.0/8
        haproxy.org/whitelist: 10.0.0.0/8
        haproxy.org/rate-limit-requests: 10
        haproxy.org/backend-config-snippet: http-request deny
        haproxy.org/route-acl: hdr(x) -m found
        haproxy-ingress.github.io/auth-secret: users
        haproxy-ingress.github.io/oauth: oauth2_proxy
        haproxy-ingress.github.io/waf: modsecurity
        haproxy-ingress.github.io/config-backend: http-request deny
        haproxy-ingress.github.io/denylist-source-range: 10.0.0.0/8
        konghq.com/plugins: key-auth
        konghq.com/override: kong-ingress
        konghq.com/methods: GET
        konghq.com/headers.x-secret: abc
        configuration.konghq.com: kong-ingress
        plugins.konghq.com: key-auth
        rate-limiting.plugin.konghq.com: a
        nginx.org/basic-auth-secret: users
        nginx.org/policies: jwt
        nginx.org/location-snippets: deny all;
        nginx.org/limit-req-rate: 10r/s
        nginx.com/jwt-key: key
        appprotect.f5.com/app-protect-policy: default/p
        appprotect.f5.com/app-protect-enable: True
        appprotectdos.f5.com/app-protect-dos-resource: dos
        virtual-server.f5.com/allow-source-range: 10.0.0.0/8
        alb.ingress.kubernetes.io/auth-type: oidc
        alb.ingress.kubernetes.io/auth-idp-oidc: {\"issuer\":\"x\"}
        alb.ingress.kubernetes.io/wafv2-acl-arn: arn:aws:wafv2
        alb.ingress.kubernetes.io/inbound-cidrs: 10.0.0.0/8
        alb.ingress.kubernetes.io/security-groups: sg-1
        alb.ingress.kubernetes.io/conditions.web: [{\"field\":\"source-ip\"}]
        alb.ingress.kubernetes.io/shield-advanced-protection: true
        alb.ingress.kubernetes.io/scheme: internal
        alb.ingress.kubernetes.io/acl-id: acl-1
        appgw.ingress.kubernetes.io/waf-policy-for-path: /subscriptions/x
        appgw.ingress.kubernetes.io/use-private-ip: true
        cloud.google.com/backend-config: {\"default\": \"iap\"}
        beta.cloud.google.com/backend-config: {\"default\": \"iap\"}
        getambassador.io/config: kind: Mapping
        k8s.apisix.apache.org/plugin-config-name: auth
        k8s.apisix.apache.org/auth-type: keyAuth
        k8s.apisix.apache.org/blocklist-source-range: 10.0.0.0/8
        k8s.apisix.apache.org/http-allow-methods: GET
        k8s.apisix.apache.org/enable-csrf: true
        zalando.org/skipper-filter: oauthTokeninfoAllScope(\"uid\")
        zalando.org/skipper-predicate: Source(\"10.0.0.0/8\")
        higress.io/blacklist-source-range: 10.0.0.0/8
        higress.io/route-limit-rps: 10
        higress.io/wasmplugin: {}{}{x}
        mse.ingress.kubernetes.io/blacklist-source-range: 10.0.0.0/8
        ingress.pomerium.io/policy: allow
        ingress.pomerium.io/allowed_domains: [\"example.com\"]
        ingress.pomerium.io/allow_any_authenticated_user: true
        ingress.pomerium.io/allow_public_unauthenticated_access: false
        ingress.pomerium.io/pass_identity_headers: true
        hub.traefik.io/access-control-policy: jwt
        cloud.google.com/armor-config: policy
        gravitee.io/template: secured
        zalando.org/aws-waf-web-acl-id: x
        alb.ingress.kubernetes.io/jwt-validation: {\"issuer\": \"x\"}
        alb.ingress.kubernetes.io/web-acl-id: x
        alb.ingress.kubernetes.io/security-group-prefix-lists: pl-1
        alb.ingress.kubernetes.io/traffic-limit-qps: 5
        ingress.citrix.com/frontend-sslprofile: {\"clientauth\":\"ENABLED\"}
        k8s.ngrok.com/modules: oauth
        k8s.ngrok.com/traffic-policy: deny
        tyk.io/template: secured
        ingress.appscode.com/auth-type: basic
        ingress.appscode.com/whitelist-source-range: 10.0.0.0/8
        ingress.citrix.com/rewrite-responder: policy
        haproxy.router.openshift.io/ip_whitelist: 10.0.0.0/8
        haproxy.router.openshift.io/ip_allowlist: 10.0.0.0/8
        haproxy.router.openshift.io/rate-limit-connections: true
        ingress.bluemix.net/appid-auth: bindSecret=x
        oci-native-ingress.oraclecloud.com/waf-policy-ocid: ocid1
        bfe.ingress.kubernetes.io/router.header: x:y
        caddy.ingress.kubernetes.io/basic-auth: users
        networking.knative.dev/visibility: cluster-local
        kubernetes.io/elb.acl-id: acl-1
    ";
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (key, value) = line.split_once(": ").unwrap();
        assert!(guard(key, value, &none()).is_some(), "{line}");
        assert!(is_kept(key), "{key}");
    }
}

#[test]
fn guards_of_vendors_nobody_knows_close() {
    for (key, value) in [
        ("gateway.acme.example/auth", "oidc"),
        ("gateway.acme.example/authn-provider", "corp"),
        ("gateway.acme.example/require-login", "true"),
        ("gateway.acme.example/allow-list", "10.0.0.0/8"),
        ("gateway.acme.example/allowedCIDRs", "10.0.0.0/8"),
        ("gateway.acme.example/allow-from", "10.0.0.0/8"),
        ("gateway.acme.example/ip_whitelist", "10.0.0.0/8"),
        ("gateway.acme.example/ip-restriction", "office"),
        ("gateway.acme.example/source-ranges", "10.0.0.0/8"),
        ("gateway.acme.example/deny", "all"),
        ("gateway.acme.example/block-countries", "XX"),
        ("gateway.acme.example/rate-limit", "10/s"),
        ("gateway.acme.example/ratelimit", "10/s"),
        ("gateway.acme.example/requests-limit", "10"),
        ("gateway.acme.example/max-rps", "10"),
        ("gateway.acme.example/throttle", "10"),
        ("gateway.acme.example/waf", "on"),
        ("gateway.acme.example/web-application-firewall", "on"),
        ("gateway.acme.example/modsecurity-rules", "crs"),
        ("gateway.acme.example/owasp", "on"),
        ("gateway.acme.example/jwt-issuer", "https://issuer"),
        ("gateway.acme.example/oidc", "corp"),
        ("gateway.acme.example/oauth2-proxy", "true"),
        ("gateway.acme.example/saml-metadata", "https://issuer"),
        ("gateway.acme.example/api-key-secret", "keys"),
        ("gateway.acme.example/hmac-secret", "keys"),
        ("gateway.acme.example/plugins", "key-auth"),
        ("gateway.acme.example/middleware", "auth@file"),
        ("gateway.acme.example/location-snippet", "deny all;"),
        ("gateway.acme.example/lua-script", "deny()"),
        ("gateway.acme.example/access-policy", "internal"),
        ("gateway.acme.example/policies", "internal"),
        ("gateway.acme.example/filters", "ip"),
        ("gateway.acme.example/basicAuthSecret", "users"),
        ("gateway.acme.example/mtls", "required"),
        ("gateway.acme.example/client-ca-secret", "ca"),
        ("gateway.acme.example/verify-client", "on"),
        ("gateway.acme.example/bot-protection", "on"),
        ("gateway.acme.example/geo-block", "XX"),
        ("gateway.acme.example/disable-auth", "false"),
        ("gateway.acme.example/allow-anonymous", "false"),
        ("gateway.acme.example/public-access", "false"),
        ("gateway.acme.example/guard", "strict"),
        ("gateway.acme.example/internal-only", "true"),
        ("gateway.acme.example/required-roles", "admin"),
        ("gateway.acme.example/allowed-roles", "admin"),
        ("gateway.acme.example/security-profile", "strict"),
        ("gateway.acme.example/private", "true"),
        ("gateway.acme.example/internal", "true"),
        ("gateway.acme.example/private-access", "true"),
        ("gateway.acme.example/secure-access", "corp"),
        ("gateway.acme.example/permissions", "read"),
        ("gateway.acme.example/permit", "10.0.0.0/8"),
        ("gateway.acme.example/methods-allowed", "GET"),
        ("gateway.acme.example/valid-referers", "a.test"),
        ("gateway.acme.example/hotlink-protect", "on"),
        ("gateway.acme.example/signed-urls", "key"),
        ("gateway.acme.example/token-review", "corp"),
        ("gateway.acme.example/verify-session", "corp"),
        ("gateway.acme.example/identity-provider", "corp"),
        ("gateway.acme.example/okta-tenant", "corp"),
        ("gateway.acme.example/zero-trust", "corp"),
        ("gateway.acme.example/spoe-agent", "corp"),
        ("gateway.acme.example/drop", "XX"),
        ("gateway.acme.example/maintenance-mode", "true"),
        ("gateway.acme.example/WAFPolicy", "strict"),
        ("gateway.acme.example/JWTSecret", "keys"),
        ("gateway.acme.example/jwtsecret", "keys"),
        ("gateway.acme.example/wafprofile", "strict"),
        ("gateway.acme.example/requests-per-second", "5"),
        ("gateway.acme.example/max-requests-per-ip", "5"),
        ("gateway.acme.example/business-hours-only", "true"),
        ("gateway.acme.example/users", "alice"),
        ("gateway.acme.example/http-methods", "GET"),
        ("gateway.acme.example/countries", "XX"),
        ("gateway.acme.example/raw-config", "deny all;"),
        ("gateway.acme.example/directives", "deny all;"),
        ("gateway.acme.example/sqli-detection", "on"),
        ("gateway.acme.example/vpn", "corp"),
        ("gateway.acme.example/paywall", "on"),
        ("gateway.acme.example/read-only", "true"),
        ("gateway.acme.example/readonly", "true"),
        ("gateway.acme.example/age-gate", "18"),
        ("gateway.acme.example/tenant-isolation", "strict"),
        ("gateway.acme.example/concurrency", "5"),
        ("gateway.acme.example/burst", "5"),
        ("auth.acme.example/realm", "corp"),
        ("waf.edge.acme.example/mode", "block"),
    ] {
        assert!(guard(key, value, &none()).is_some(), "{key}: {value}");
        assert!(is_kept(key), "{key}");
    }
}

#[test]
fn what_does_not_guard_stays_open() {
    for key in [
        "nginx.ingress.kubernetes.io/enable-cors",
        "nginx.ingress.kubernetes.io/cors-allow-origin",
        "nginx.ingress.kubernetes.io/cors-allow-methods",
        "nginx.ingress.kubernetes.io/cors-allow-credentials",
        "nginx.ingress.kubernetes.io/proxy-body-size",
        "nginx.ingress.kubernetes.io/client-body-buffer-size",
        "nginx.ingress.kubernetes.io/proxy-buffer-size",
        "nginx.ingress.kubernetes.io/proxy-buffers-number",
        "nginx.ingress.kubernetes.io/proxy-max-temp-file-size",
        "nginx.ingress.kubernetes.io/proxy-read-timeout",
        "nginx.ingress.kubernetes.io/proxy-ssl-secret",
        "nginx.ingress.kubernetes.io/proxy-ssl-verify",
        "nginx.ingress.kubernetes.io/auth-keepalive",
        "nginx.ingress.kubernetes.io/auth-keepalive-timeout",
        "nginx.ingress.kubernetes.io/auth-keepalive-share-vars",
        "nginx.ingress.kubernetes.io/auth-cache-key",
        "nginx.ingress.kubernetes.io/limit-whitelist",
        "nginx.ingress.kubernetes.io/limit-rate-after",
        "keel.sh/policy",
        "checksum/auth-secret",
        "kubernetes.civo.com/firewall-id",
        "nginx.ingress.kubernetes.io/rewrite-target",
        "nginx.ingress.kubernetes.io/app-root",
        "nginx.ingress.kubernetes.io/canary-by-header",
        "nginx.ingress.kubernetes.io/session-cookie-samesite",
        "nginx.ingress.kubernetes.io/upstream-vhost",
        "nginx.ingress.kubernetes.io/custom-http-errors",
        "nginx.ingress.kubernetes.io/ssl-ciphers",
        "nginx.org/client-max-body-size",
        "nginx.org/limit-req-zone-size",
        "nginx.org/proxy-buffer-size",
        "traefik.ingress.kubernetes.io/router.tls",
        "traefik.ingress.kubernetes.io/rule-type",
        "traefik.frontend.rule.type",
        "traefik.frontend.priority",
        "traefik.backend.loadbalancer.method",
        "ingress.kubernetes.io/frame-deny",
        "ingress.kubernetes.io/browser-xss-filter",
        "ingress.kubernetes.io/content-security-policy",
        "ingress.kubernetes.io/referrer-policy",
        "ingress.kubernetes.io/whitelist-x-forwarded-for",
        "konghq.com/strip-path",
        "konghq.com/client-cert",
        "konghq.com/upstream-policy",
        "alb.ingress.kubernetes.io/ssl-policy",
        "alb.ingress.kubernetes.io/target-type",
        "alb.ingress.kubernetes.io/manage-backend-security-group-rules",
        "gateway.acme.example/proxy-body-size-limit",
        "gateway.acme.example/max-request-body",
        "gateway.acme.example/header-limit",
        "gateway.acme.example/auth-timeout",
        "gateway.acme.example/ssl-policy",
        "gateway.acme.example/retry-policy",
        "gateway.acme.example/maintenance-window",
        "gateway.acme.example/https-only",
        "gateway.acme.example/HTTPRedirect",
        "gateway.acme.example/wafer-size",
        "gateway.acme.example/session-affinity",
        "gateway.acme.example/drop-headers",
        "gateway.acme.example/internal-port",
        "gateway.acme.example/author",
        "gateway.acme.example/authority",
        "gateway.acme.example/access-control-allow-origin",
        "gateway.acme.example/revision-history-limit",
        "cert-manager.io/cluster-issuer",
        "acme.cert-manager.io/http01-edit-in-place",
        "external-dns.alpha.kubernetes.io/hostname",
        "external-dns.alpha.kubernetes.io/aws-geolocation-country-code",
        "kubectl.kubernetes.io/last-applied-configuration",
        "service.beta.kubernetes.io/azure-allowed-ip-ranges",
        "service.beta.kubernetes.io/aws-load-balancer-security-groups",
        "meta.helm.sh/release-name",
        "argocd.argoproj.io/sync-options",
        "field.cattle.io/publicEndpoints",
        "linkerd.io/inject",
        "policies.kyverno.io/category",
        "kubernetes.io/ingress.class",
        "kubernetes.io/ingress.allow-http",
        "kubernetes.io/tls-acme",
        "cloud.google.com/neg",
        "networking.gke.io/v1beta1.FrontendConfig",
        "example.com/team",
        "auth",
    ] {
        assert_eq!(guard(key, "true", &none()), None, "{key}");
    }
    let open = [
        ("traefik.ingress.kubernetes.io/router.entrypoints", "websecure"),
        ("traefik.ingress.kubernetes.io/router.entrypoints", "web, internal"),
        ("traefik.ingress.kubernetes.io/frontend-entry-points", "http,https"),
        ("traefik.ingress.kubernetes.io/router.tls.options", "default"),
        ("alb.ingress.kubernetes.io/scheme", "internet-facing"),
    ];
    for (key, value) in open {
        assert_eq!(guard(key, value, &none()), None, "{key}: {value}");
    }
}

#[test]
fn a_guard_may_be_off() {
    for (key, values) in [
        (
            "nginx.ingress.kubernetes.io/enable-modsecurity",
            &["false", "False", "off", "no", " false "][..],
        ),
        (
            "nginx.ingress.kubernetes.io/whitelist-source-range",
            &["", " ", "0.0.0.0/0", "0.0.0.0/0,::/0"],
        ),
        ("zalando.org/aws-load-balancer-scheme", &["internet-facing"]),
        ("ingress.appscode.com/type", &["LoadBalancer"]),
        ("k8s.ngrok.com/bindings", &["public"]),
        ("bool.service.tyk.io/use-keyless", &["true"]),
        ("nginx.ingress.kubernetes.io/auth-url", &[""]),
        ("nginx.ingress.kubernetes.io/limit-rps", &["0"]),
        ("nginx.ingress.kubernetes.io/enable-global-auth", &["false"]),
        ("alb.ingress.kubernetes.io/auth-type", &["none"]),
        ("konghq.com/plugins", &["", "[]", ","]),
        ("gateway.acme.example/waf", &["off", "disabled", "{}"]),
        ("gateway.acme.example/disable-auth", &["true"]),
        ("gateway.acme.example/allow-anonymous", &["true"]),
        ("ingress.pomerium.io/allow_public_unauthenticated_access", &["true"]),
    ] {
        for value in values {
            assert_eq!(guard(key, value, &none()), None, "{key}: {value}");
        }
    }
    for (key, value) in [
        ("nginx.ingress.kubernetes.io/denylist-source-range", "0.0.0.0/0"),
        ("gateway.acme.example/allow-list", "none"),
        (
            "nginx.ingress.kubernetes.io/whitelist-source-range",
            "10.0.0.0/8, 0.0.0.0/01",
        ),
        (
            "haproxy-ingress.github.io/allowlist-source-range",
            "0.0.0.0/0,!10.1.0.0/16",
        ),
        ("gateway.acme.example/reject-source", "0.0.0.0/0"),
        ("gateway.acme.example/ban-cidr", "0.0.0.0/0"),
        ("zalando.org/aws-load-balancer-scheme", "internal"),
        ("ingress.appscode.com/type", "Internal"),
        ("k8s.ngrok.com/bindings", "internal"),
        ("bool.service.tyk.io/use-keyless", "false"),
    ] {
        assert!(guard(key, value, &none()).is_some(), "{key}: {value}");
    }
}

#[test]
fn one_annotation_may_turn_others_off() {
    for (switch, off, key) in [
        (
            "nginx.ingress.kubernetes.io/auth-tls-verify-client",
            "off",
            "nginx.ingress.kubernetes.io/auth-tls-secret",
        ),
        (
            "alb.ingress.kubernetes.io/auth-type",
            "none",
            "alb.ingress.kubernetes.io/auth-scope",
        ),
        (
            "nginx.ingress.kubernetes.io/enable-modsecurity",
            "false",
            "nginx.ingress.kubernetes.io/modsecurity-snippet",
        ),
        (
            "ingress.pomerium.io/allow_public_unauthenticated_access",
            "true",
            "ingress.pomerium.io/policy",
        ),
    ] {
        let all = Annotations::from_iter([(switch.to_owned(), off.to_owned()), (key.to_owned(), "x".to_owned())]);
        assert_eq!(guard(key, "x", &all), None, "{key}");
        let on = Annotations::from_iter([
            (switch.to_owned(), "other".to_owned()),
            (key.to_owned(), "x".to_owned()),
        ]);
        assert!(guard(key, "x", &on).is_some(), "{key}");
    }
    // ingress-nginx compares this value by the letter, and takes any other for "on".
    let (switch, key) = (
        "nginx.ingress.kubernetes.io/auth-tls-verify-client",
        "nginx.ingress.kubernetes.io/auth-tls-secret",
    );
    let all = Annotations::from_iter([(switch.to_owned(), "OFF".to_owned()), (key.to_owned(), "x".to_owned())]);
    assert!(guard(key, "x", &all).is_some());
}

#[test]
fn some_guards_hold_for_a_host() {
    for key in [
        "nginx.ingress.kubernetes.io/auth-tls-secret",
        "nginx.ingress.kubernetes.io/auth-tls-verify-client",
        "nginx.ingress.kubernetes.io/auth-tls-pass-certificate-to-upstream",
        "nginx.ingress.kubernetes.io/server-snippet",
        "nginx.org/server-snippets",
        "haproxy-ingress.github.io/auth-tls-secret",
        "traefik.ingress.kubernetes.io/router.tls.options",
        "alb.ingress.kubernetes.io/mutual-authentication",
        "appgw.ingress.kubernetes.io/appgw-ssl-profile",
        "mse.ingress.kubernetes.io/domain-whitelist-source-range",
        "gateway.acme.example/mtls",
        "gateway.acme.example/client-ca-secret",
    ] {
        assert_eq!(guard(key, "x", &none()), Some(Reach::Host), "{key}");
    }
    let key = "nginx.org/location-snippets";
    assert_eq!(guard(key, "deny all;", &none()), Some(Reach::Rules));
    let master = Annotations::from_iter([(NGINX_MASTER.to_owned(), "master".to_owned())]);
    assert_eq!(guard(key, "deny all;", &master), Some(Reach::Host));
}

#[test]
fn patterns() {
    for (pattern, text, wanted) in [
        ("a/b", "a/b", true),
        ("a/b", "a/bc", false),
        ("a/*", "a/bc", true),
        ("*", "", true),
        ("*/auth-*", "x.io/auth-url", true),
        ("*/auth-*", "x.io/no-auth", false),
        ("a*b*c", "abc", true),
        ("a*b*c", "acb", false),
        ("a*a", "a", false),
    ] {
        assert_eq!(matches(pattern, text), wanted, "{pattern} {text}");
    }
}
