//! What is known of the annotations of ingress controllers, and of tools that only pass by.

/// What an annotation is by its own name, before the words in it are asked.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// It guards the rules it is for.
    Guard,
    /// It guards the whole host.
    Host,
    /// It guards where its value says so, and otherwise only asks for something.
    If(fn(&str) -> bool),
    /// It does not guard, whatever words are in it.
    Asks,
}

/// Whose annotations, by the end of their prefix, which of them, by patterns in which `*` stands for anything, and what
/// they are. The first that fits counts.
pub(super) type Entry = (&'static [&'static str], &'static [&'static str], Rule);

const NGINX_LIKE: &[&str] = &[
    "ingress.kubernetes.io",
    "haproxy-ingress.github.io",
    "higress.io",
    "appscode.com",
];

/// Names whose words alone would not do.
pub(super) const ENTRIES: &[Entry] = &[
    // What tunes a guard that another annotation asks for.
    (
        NGINX_LIKE,
        &[
            "auth-keepalive*",
            "auth-cache-*",
            "limit-whitelist",
            "limit-allowlist",
            "limit-burst-multiplier",
            "limit-rate-after",
            "modsecurity-transaction-id",
            "whitelist-x-forwarded-for",
        ],
        Rule::Asks,
    ),
    // What browsers are told.
    (
        &["ingress.kubernetes.io"],
        &[
            "browser-xss-filter",
            "frame-deny",
            "*-security-policy",
            "referrer-policy",
        ],
        Rule::Asks,
    ),
    // A client's certificate is asked for before its path is known, and such a snippet is in the server block.
    (NGINX_LIKE, &["auth-tls-*", "server-snippet*"], Rule::Host),
    (
        &["ingress.kubernetes.io", "higress.io"],
        &["domain-*list-*"],
        Rule::Host,
    ),
    // Pods that decide by a client's certificate would believe a field that anybody can send.
    (
        &["ingress.kubernetes.io"],
        &["pass-client-tls-cert", "pass-tls-cert"],
        Rule::Guard,
    ),
    // Traefik: TLS options hold for a host, entry points are ports, and what middlewares do stands elsewhere.
    (
        &["traefik.ingress.kubernetes.io"],
        &["router.tls.options"],
        Rule::If(|value| value != "default"),
    ),
    (
        &["ingress.kubernetes.io"],
        &["router.entrypoints", "frontend-entry-points"],
        Rule::If(is_other_entry_point),
    ),
    (
        &["ingress.kubernetes.io"],
        &["max-conn-extractor-func"],
        Rule::If(|value| value.trim_start().starts_with("client.") || value.contains("header")),
    ),
    (&["ingress.kubernetes.io"], &["max-conn-amount"], Rule::Asks),
    // AWS, and Alibaba's of the same prefix.
    (&["alb.ingress.kubernetes.io"], &["mutual-authentication*"], Rule::Host),
    (
        &["alb.ingress.kubernetes.io"],
        &["manage-backend-security-group-rules", "ssl-policy"],
        Rule::Asks,
    ),
    (
        &["alb.ingress.kubernetes.io"],
        &["scheme"],
        Rule::If(|value| value.eq_ignore_ascii_case("internal")),
    ),
    (&["alb.ingress.kubernetes.io"], &["conditions.*"], Rule::Guard),
    // Others for whom a rule may be for the inside only.
    (
        &["zalando.org"],
        &["aws-load-balancer-scheme"],
        Rule::If(|value| value.eq_ignore_ascii_case("internal")),
    ),
    (
        &["appscode.com"],
        &["type"],
        Rule::If(|value| value.eq_ignore_ascii_case("internal")),
    ),
    (
        &["ngrok.com"],
        &["bindings"],
        Rule::If(|value| !value.contains("public")),
    ),
    // Azure.
    (&["appgw.ingress.kubernetes.io"], &["appgw-ssl-profile"], Rule::Host),
    (&["appgw.ingress.kubernetes.io"], &["use-private-ip"], Rule::Guard),
    // Google: the object that is named may hold Cloud Armor or IAP.
    (&["cloud.google.com"], &["backend-config"], Rule::Guard),
    // BFE, Higress and MSE: rules that hold only for some requests.
    (
        &["ingress.kubernetes.io", "higress.io"],
        &[
            "router.header",
            "router.cookie",
            "*match-header-*",
            "*match-query-*",
            "match-method",
        ],
        Rule::Guard,
    ),
    // HAProxy: lines of its configuration, and rules that hold only for some requests.
    (
        &["haproxy-ingress.github.io", "ingress.kubernetes.io"],
        &["config-*", "http-header-match*"],
        Rule::Guard,
    ),
    // Kong: by these a route is for some requests only; of other objects nothing is known here.
    (
        &["konghq.com"],
        &["override", "methods", "headers.*", "snis", "configuration.konghq.com"],
        Rule::Guard,
    ),
    (&["konghq.com"], &["client-cert", "*upstream-policy"], Rule::Asks),
    // Ambassador: mappings and filters in one text.
    (&["getambassador.io"], &["config"], Rule::Guard),
    (&["zalando.org"], &["skipper-routes"], Rule::Guard),
    (&["tyk.io"], &["template*"], Rule::Guard),
    (
        &["service.tyk.io"],
        &["use-keyless"],
        Rule::If(|value| value == "false"),
    ),
    (&["ngrok.com"], &["modules", "*policy"], Rule::Guard),
    (&["tailscale.com"], &["tags"], Rule::Guard),
    // Pomerium asks everybody who they are, unless it is told not to.
    (&["pomerium.io"], &["*"], Rule::Guard),
    // A profile may ask clients for a certificate.
    (&["ingress.citrix.com"], &["frontend-sslprofile"], Rule::Host),
    (&["gravitee.io"], &["template*"], Rule::Guard),
    // F5: what these name looks into requests; its log does not.
    (&["appprotect.f5.com", "appprotectdos.f5.com"], &["*-log*"], Rule::Asks),
    (&["appprotect.f5.com", "appprotectdos.f5.com"], &["*"], Rule::Guard),
    (
        &["bunkerweb.io"],
        &["*BAD_BEHAVIOR*", "*COUNTRY*", "*DNSBL*", "*REVERSE_SCAN*"],
        Rule::Guard,
    ),
    // Knative: an Ingress for the cluster alone.
    (
        &["networking.knative.dev"],
        &["visibility"],
        Rule::If(|value| value == "cluster-local"),
    ),
    // Kubernetes: plain HTTP is refused; see the equivalents.
    (&["kubernetes.io"], &["ingress.allow-http"], Rule::Asks),
];

/// Whose annotations are for an ingress controller: those that guard nothing are reported too.
pub(super) const CONTROLLERS: &[&str] = &[
    "ingress.kubernetes.io",
    "haproxy.org",
    "haproxy-ingress.github.io",
    // The annotations of haproxy.router.openshift.io too.
    "router.openshift.io",
    "konghq.com",
    "nginx.org",
    "nginx.com",
    "f5.com",
    "projectcontour.io",
    "ingress.cilium.io",
    "getambassador.io",
    "solo.io",
    "k8s.apisix.apache.org",
    "higress.io",
    "appscode.com",
    "zalando.org",
    "pomerium.io",
    "tyk.io",
    "ngrok.com",
    "ingress.citrix.com",
    "oci-native-ingress.oraclecloud.com",
    "ingress.bluemix.net",
];

/// Whose annotations say nothing to an ingress controller, whatever words are in them: of tools for certificates, DNS,
/// deployment, monitoring and meshes, and those of load balancers that stand before a Service of type LoadBalancer.
pub(super) const BYSTANDERS: &[&str] = &[
    "cert-manager.io",
    "certmanager.k8s.io",
    "external-dns.alpha.kubernetes.io",
    "external-dns.kubernetes.io",
    "kubectl.kubernetes.io",
    "app.kubernetes.io",
    "config.kubernetes.io",
    "applyset.kubernetes.io",
    "ingressclass.kubernetes.io",
    "endpoints.kubernetes.io",
    "control-plane.alpha.kubernetes.io",
    "pod-security.kubernetes.io",
    "service.alpha.kubernetes.io",
    "service.beta.kubernetes.io",
    "service.kubernetes.io",
    "helm.sh",
    "argoproj.io",
    "fluxcd.io",
    "cattle.io",
    "linkerd.io",
    "prometheus.io",
    "coreos.com",
    "stakater.com",
    "pusher.com",
    "datadoghq.com",
    "dynatrace.com",
    "newrelic.com",
    "opentelemetry.io",
    "hashicorp.com",
    "fairwinds.com",
    "kyverno.io",
    "gatekeeper.sh",
    "kube-linter.io",
    "checkov.io",
    "velero.io",
    "keda.sh",
    "pulumi.com",
    "crossplane.io",
    "skaffold.dev",
    "okteto.com",
    "spinnaker.io",
    "weave.works",
    "flagger.app",
    "gethomepage.dev",
    "hajimari.io",
    "backstage.io",
    "a8r.io",
    "gitlab.com",
    "kompose.io",
    "openshift.io",
    "lbipam.cilium.io",
    "service.cilium.io",
    "kube-vip.io",
    "metallb.io",
    "metallb.universe.tf",
    "purelb.io",
    "oci.oraclecloud.com",
    "loadbalancer.openstack.org",
    "load-balancer.hetzner.cloud",
    "kubernetes.digitalocean.com",
    "kubernetes.civo.com",
    "keel.sh",
    "pagerduty.com",
    // Charts write what they were rendered from: checksum/auth-secret.
    "checksum",
    "service.cloud.tencent.com",
];

/// Whose guards are all off where one annotation has one of these values: domain, the switch, its values, what it turns
/// off.
pub(super) const SWITCHES: &[(&str, &str, &[&str], &str)] = &[
    (
        "ingress.kubernetes.io",
        "auth-tls-verify-client",
        &["off"],
        "auth-tls-*",
    ),
    (
        "haproxy-ingress.github.io",
        "auth-tls-verify-client",
        &["off"],
        "auth-tls-*",
    ),
    ("alb.ingress.kubernetes.io", "auth-type", &["none"], "auth-*"),
    (
        "ingress.kubernetes.io",
        "enable-modsecurity",
        &["false"],
        "*modsecurity*",
    ),
    (
        "ingress.kubernetes.io",
        "enable-modsecurity",
        &["false"],
        "enable-owasp-*",
    ),
    ("pomerium.io", "allow_public_unauthenticated_access", &["true"], "*"),
];

/// Entry points that every installation has and that are open to everybody. Others may be for some only, so a rule that
/// is for none of these is guarded by its port.
fn is_other_entry_point(value: &str) -> bool {
    const OPEN: &[&str] = &["http", "https", "web", "websecure", "web-secure"];
    !value.split(',').any(|name| OPEN.contains(&name.trim()))
}

/// Whether a prefix is of a domain: it, or one below it.
pub(super) fn is_of(prefix: &str, domain: &str) -> bool {
    prefix
        .strip_suffix(domain)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}
