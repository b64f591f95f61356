//! What guards and is not enforced is not served: 503 with a reason of its own, and the same from `explain`, the API and
//! `check`.

use crate::rig::{Client, Rig, eventually, get, ingress, service, service_with};
use std::fmt::Write as _;
use std::process::{Command, Output};

fn narthex(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_narthex"))
        .args(arguments)
        .output()
        .unwrap()
}

/// A GET for a host and path; status and body.
fn ask(rig: &Rig, host: &str, path: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let answer = rig.client().send(request).answer();
    (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
}

fn is_closed(rig: &Rig, host: &str, path: &str) -> bool {
    match ask(rig, host, path) {
        (503, body) => {
            assert_eq!(body, "guard not enforced\n", "{host}{path}");
            true
        }
        (200, _) => false,
        (status, body) => panic!("{host}{path}: {status} {body}"),
    }
}

fn annotated(name: &str, value: &str) -> String {
    format!(", annotations: {{\"{name}\": '{value}'}}")
}

/// Names and values as their vendors document them, each for an Ingress of its own.
const INGRESS_GUARDS: &[(&str, &str)] = &[
    ("nginx.ingress.kubernetes.io/auth-type", "basic"),
    ("nginx.ingress.kubernetes.io/auth-url", "https://auth.example.com"),
    ("nginx.ingress.kubernetes.io/whitelist-source-range", "10.0.0.0/8"),
    ("nginx.ingress.kubernetes.io/denylist-source-range", "10.0.0.0/8"),
    ("nginx.ingress.kubernetes.io/auth-tls-secret", "default/ca"),
    ("nginx.ingress.kubernetes.io/server-snippet", "deny all;"),
    ("nginx.ingress.kubernetes.io/limit-rps", "5"),
    (
        "traefik.ingress.kubernetes.io/router.middlewares",
        "default-auth@kubernetescrd",
    ),
    (
        "traefik.ingress.kubernetes.io/router.tls.options",
        "default-mtls@kubernetescrd",
    ),
    ("ingress.kubernetes.io/auth-type", "basic"),
    ("ingress.kubernetes.io/whitelist-source-range", "10.0.0.0/8"),
    ("haproxy.org/auth-type", "basic-auth"),
    ("haproxy-ingress.github.io/auth-secret", "users"),
    ("konghq.com/plugins", "key-auth"),
    ("nginx.org/basic-auth-secret", "users"),
    ("nginx.com/jwt-key", "key"),
    ("alb.ingress.kubernetes.io/auth-type", "oidc"),
    ("appgw.ingress.kubernetes.io/waf-policy-for-path", "/subscriptions/x"),
    ("zalando.org/skipper-filter", "oauthTokeninfoAllScope(\"uid\")"),
    ("k8s.apisix.apache.org/plugin-config-name", "auth"),
    ("higress.io/blacklist-source-range", "10.0.0.0/8"),
    ("ingress.pomerium.io/policy", "- allow"),
    ("k8s.ngrok.com/modules", "oauth"),
    ("virtual-server.f5.com/allow-source-range", "10.0.0.0/8"),
    ("ingress.citrix.com/auth-policy", "x"),
    ("gateway.nobody-knows.example/require-login", "true"),
    ("edge.nobody-knows.example/allowed-cidrs", "10.0.0.0/8"),
    ("narthex.io/require-login", "5"),
];

/// What tunes, or is explicitly off.
const NO_GUARDS: &[(&str, &str)] = &[
    ("nginx.ingress.kubernetes.io/enable-cors", "true"),
    ("nginx.ingress.kubernetes.io/cors-allow-methods", "GET"),
    ("nginx.ingress.kubernetes.io/proxy-body-size", "8m"),
    ("nginx.ingress.kubernetes.io/proxy-buffer-size", "8k"),
    ("nginx.ingress.kubernetes.io/proxy-read-timeout", "60"),
    ("nginx.ingress.kubernetes.io/auth-keepalive", "10"),
    ("nginx.ingress.kubernetes.io/enable-modsecurity", "false"),
    ("nginx.ingress.kubernetes.io/whitelist-source-range", ""),
    ("nginx.ingress.kubernetes.io/limit-rps", "0"),
    ("traefik.ingress.kubernetes.io/router.entrypoints", "websecure"),
    ("alb.ingress.kubernetes.io/auth-type", "none"),
    ("konghq.com/plugins", "[]"),
    ("konghq.com/strip-path", "true"),
    ("cert-manager.io/cluster-issuer", "auth"),
    ("external-dns.alpha.kubernetes.io/hostname", "a.test"),
    ("argocd.argoproj.io/hook-delete-policy", "x"),
];

#[test]
fn no_guard_of_any_vendor_is_served_open() {
    let rig = Rig::with(1, &[], |pods| {
        let mut manifests = service("web", &[(pods[0].address, "p0")]);
        for (index, (name, value)) in INGRESS_GUARDS.iter().enumerate() {
            manifests += &ingress(
                &format!("g{index}"),
                &format!("g{index}.test"),
                "/",
                "web",
                &annotated(name, value),
            );
        }
        for (index, (name, value)) in NO_GUARDS.iter().enumerate() {
            manifests += &ingress(
                &format!("n{index}"),
                &format!("n{index}.test"),
                "/",
                "web",
                &annotated(name, value),
            );
        }
        manifests
    });
    for (index, (name, value)) in NO_GUARDS.iter().enumerate() {
        assert!(!is_closed(&rig, &format!("n{index}.test"), "/x"), "{name}: {value}");
    }
    let served = rig.pod().requests().len();
    for (index, (name, value)) in INGRESS_GUARDS.iter().enumerate() {
        assert!(is_closed(&rig, &format!("g{index}.test"), "/x"), "{name}: {value}");
    }
    assert_eq!(rig.pod().requests().len(), served, "no pod is asked");
    let metrics = get(rig.admin, "/metrics").1;
    let wanted = format!(
        "narthex_requests_failed_total{{reason=\"guard_not_enforced\",side=\"us\"}} {}",
        INGRESS_GUARDS.len()
    );
    assert!(metrics.contains(&wanted), "{metrics}");
    assert!(
        rig.log()
            .contains("annotation konghq.com/plugins of Ingress default/g13")
    );
}

#[test]
fn a_closed_route_says_so_everywhere() {
    let rig = Rig::with(1, &[], |pods| {
        service("web", &[(pods[0].address, "p0")])
            + &ingress(
                "web",
                "a.test",
                "/",
                "web",
                &annotated("nginx.ingress.kubernetes.io/auth-url", "http://auth"),
            )
            + "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: tls, annotations: {haproxy.org/auth-type: x}}\n\
               spec:\n  tls: [{hosts: [tls.test], secretName: gone}]\n  rules:\n  - host: tls.test\n    http: {paths: [{path: /, \
               pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}\n---\n"
    });
    let mut client = rig.client();
    client.send("GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let answer = client.answer();
    assert_eq!(
        (answer.status, answer.field("retry-after")),
        (503, None),
        "{}",
        answer.head
    );
    client.send("POST / HTTP/1.1\r\nHost: a.test\r\ncontent-length: 3\r\n\r\nabc");
    assert_eq!(client.answer().status, 503, "the connection goes on");
    // Not even to HTTPS.
    assert!(is_closed(&rig, "tls.test", "/"));
    assert!(is_closed(&rig, "tls.test", "/.well-known/acme-challenge/token"));
    let admin = rig.admin.to_string();
    let explained = narthex(&["explain", "http://a.test/x", "--admin", &admin]);
    let explained = String::from_utf8(explained.stdout).unwrap();
    let why = "narthex answers 503 itself: a.test/ is closed, because narthex does not enforce annotation \
               nginx.ingress.kubernetes.io/auth-url of Ingress default/web";
    assert!(explained.contains(why), "{explained}");
    assert!(explained.contains("error: Ingress default/web: annotation nginx.ingress.kubernetes.io/auth-url"));
    let routes: serde_json::Value =
        serde_json::from_slice(&narthex(&["routes", "a.test", "--admin", &admin, "-o", "json"]).stdout).unwrap();
    assert_eq!(routes[0]["status"], "error", "{routes}");
    assert_eq!(routes[0]["state"], "closed by a guard that is not enforced");
    assert_eq!(
        routes[0]["guard"],
        "annotation nginx.ingress.kubernetes.io/auth-url of Ingress default/web"
    );
    let (_, said) = get(rig.admin, "/api/v1/diagnostics");
    assert!(said.contains("GuardNotEnforced"), "{said}");
    let folder = rig.folder.path().display().to_string();
    let checked = narthex(&["check", &folder]);
    assert_eq!(checked.status.code(), Some(1));
    let text = String::from_utf8(checked.stdout).unwrap();
    assert!(text.contains("error[GuardNotEnforced]"), "{text}");
    assert!(
        text.contains("--ignore-annotation=nginx.ingress.kubernetes.io/auth-url"),
        "{text}"
    );
}

#[test]
fn the_operator_opens_by_name() {
    let manifests = |pods: &[crate::rig::Pod]| {
        service("web", &[(pods[0].address, "p0")])
            + &ingress(
                "one",
                "one.test",
                "/",
                "web",
                &annotated("nginx.ingress.kubernetes.io/auth-url", "x"),
            )
            + &ingress("two", "two.test", "/", "web", &annotated("konghq.com/plugins", "x"))
            + &ingress(
                "three",
                "three.test",
                "/",
                "web",
                &annotated("haproxy.org/auth-type", "x"),
            )
    };
    let flags = [
        "--ignore-annotation",
        "nginx.ingress.kubernetes.io/*",
        "--ignore-annotation=konghq.com/plugins",
    ];
    let rig = Rig::with(1, &flags, manifests);
    assert!(!is_closed(&rig, "one.test", "/"));
    assert!(!is_closed(&rig, "two.test", "/"));
    assert!(is_closed(&rig, "three.test", "/"));
    let folder = rig.folder.path().display().to_string();
    let checked = narthex(&["check", &folder, flags[0], flags[1], flags[2]]);
    let text = String::from_utf8(checked.stdout).unwrap();
    assert!(text.contains("1 error, 2 warnings"), "{text}");
    assert!(text.contains("warning[GuardIgnored]"), "{text}");
    assert!(
        text.contains("--ignore-annotation=nginx.ingress.kubernetes.io/*"),
        "{text}"
    );
    let url = "http://one.test/";
    let explained = narthex(&["explain", url, "--manifests", &folder, flags[0], flags[1]]);
    let explained = String::from_utf8(explained.stdout).unwrap();
    assert!(
        explained.contains("one.test/ of Ingress default/one answers"),
        "{explained}"
    );
    // By the environment too.
    let environment = [("NARTHEX_IGNORE_ANNOTATION", "*/auth-url,haproxy.org/*")];
    let rig = Rig::within(&environment, 1, &[], manifests);
    assert!(!is_closed(&rig, "one.test", "/"));
    assert!(is_closed(&rig, "two.test", "/"));
    assert!(!is_closed(&rig, "three.test", "/"));
    assert_eq!(
        narthex(&["check", &folder, "--ignore-annotation", " "]).status.code(),
        Some(2)
    );
}

#[test]
fn a_service_closes_every_route_to_it() {
    let rig = Rig::with(2, &[], |pods| {
        service_with("guarded", &pods[..1], "konghq.com/plugins: key-auth")
            + &service("web", &[(pods[1].address, "p1")])
            + &ingress("one", "one.test", "/", "guarded", "")
            + &ingress(
                "two",
                "two.test",
                "/a",
                "guarded",
                ", annotations: {narthex.io/balance: ewma}",
            )
            + &ingress("web", "two.test", "/", "web", "")
    });
    assert!(is_closed(&rig, "one.test", "/"));
    assert!(
        is_closed(&rig, "two.test", "/a/b"),
        "also through backends of their own"
    );
    assert!(!is_closed(&rig, "two.test", "/"));
    let (_, said) = get(rig.admin, "/api/v1/diagnostics");
    assert!(
        said.contains("Service default/guarded") && said.contains("Ingress default/two"),
        "{said}"
    );
    // It opens and closes while narthex runs.
    let slices = crate::rig::slice("guarded", rig.pods[0].address, "p0");
    let open = "apiVersion: v1\nkind: Service\nmetadata: {name: guarded}\nspec: {ports: [{port: 80}]}\n---\n"
        .to_owned()
        + &slices;
    let rest = service("web", &[(rig.pods[1].address, "p1")])
        + &ingress("one", "one.test", "/", "guarded", "")
        + &ingress("web", "two.test", "/", "web", "");
    std::fs::write(rig.manifest("all.yaml"), open + &rest).unwrap();
    eventually("it is open", || (!is_closed(&rig, "one.test", "/")).then_some(()));
    let closed = service_with(
        "guarded",
        &rig.pods[..1],
        "alb.ingress.kubernetes.io/auth-type: cognito",
    );
    std::fs::write(rig.manifest("all.yaml"), closed + &rest).unwrap();
    eventually("it is closed again", || is_closed(&rig, "one.test", "/").then_some(()));
}

#[test]
fn a_class_closes_all_of_its_ingresses() {
    let class = |name: &str, annotations: &str, spec: &str| {
        format!(
            "apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {{name: {name}{annotations}}}\n\
             spec: {{controller: narthex.io/ingress-controller{spec}}}\n---\n"
        )
    };
    let of_class = |name: &str, class: &str| {
        let rule = ingress(name, &format!("{name}.test"), "/", "web", "");
        rule.replace("spec:\n", &format!("spec:\n  ingressClassName: {class}\n"))
    };
    let parameters = ", parameters: {apiGroup: x.example, kind: Params, name: p}";
    let all = |pods: &[crate::rig::Pod], parameters: &str| {
        service("web", &[(pods[0].address, "p0")])
            + &class("guarded", ", annotations: {gateway.example/waf: \"on\"}", "")
            + &class("parameters", "", parameters)
            + &class("plain", "", "")
            + &of_class("one", "guarded")
            + &of_class("two", "parameters")
            + &of_class("three", "plain")
    };
    let rig = Rig::with(1, &[], |pods| all(pods, parameters));
    assert!(is_closed(&rig, "one.test", "/"));
    assert!(is_closed(&rig, "two.test", "/"));
    assert!(!is_closed(&rig, "three.test", "/"));
    let (_, said) = get(rig.admin, "/api/v1/diagnostics");
    assert!(
        said.contains("IngressClass parameters") && said.contains("Params \\\"p\\\""),
        "{said}"
    );
    std::fs::write(rig.manifest("all.yaml"), all(&rig.pods, "")).unwrap();
    eventually("it is open", || (!is_closed(&rig, "two.test", "/")).then_some(()));
    let rig = Rig::with(1, &["--ignore-annotation=spec.parameters"], |pods| {
        all(pods, parameters)
    });
    assert!(!is_closed(&rig, "two.test", "/"));
}

fn in_namespace(manifests: &str, namespace: &str) -> String {
    manifests.replace("metadata: {", &format!("metadata: {{namespace: {namespace}, "))
}

#[test]
fn a_guard_of_a_host_closes_the_hosts_routes_of_its_namespace() {
    let snippet = annotated("nginx.ingress.kubernetes.io/server-snippet", "deny all;");
    let rig = Rig::with(2, &[], |pods| {
        service("web", &[(pods[0].address, "p0")])
            + &ingress("open", "a.test", "/", "web", "")
            + &ingress("other", "b.test", "/", "web", "")
            + &in_namespace(&service("theirs", &[(pods[1].address, "p1")]), "team")
            + &in_namespace(&ingress("theirs", "a.test", "/theirs", "theirs", ""), "team")
    });
    assert!(!is_closed(&rig, "a.test", "/"));
    std::fs::write(
        rig.manifest("guard.yaml"),
        ingress("guard", "a.test", "/guarded", "web", &snippet),
    )
    .unwrap();
    eventually("the whole host is closed", || {
        is_closed(&rig, "a.test", "/").then_some(())
    });
    assert!(is_closed(&rig, "a.test", "/guarded"));
    assert!(!is_closed(&rig, "a.test", "/theirs"), "another namespace's");
    assert!(!is_closed(&rig, "b.test", "/"));
    let both = eventually("both namespaces are told", || {
        let (_, said) = get(rig.admin, "/api/v1/diagnostics");
        (said.matches("GuardOfOtherNamespace").count() == 2).then_some(said)
    });
    assert!(
        both.contains("Ingress team/theirs") && both.contains("Ingress default/open"),
        "{both}"
    );
    std::fs::remove_file(rig.manifest("guard.yaml")).unwrap();
    eventually("it is open again", || (!is_closed(&rig, "a.test", "/")).then_some(()));
    eventually("nobody is told any more", || {
        let (_, said) = get(rig.admin, "/api/v1/diagnostics");
        (!said.contains("Guard")).then_some(())
    });
}

#[test]
fn a_guard_of_a_host_holds_for_paths_it_does_not_list() {
    let snippet = annotated("nginx.ingress.kubernetes.io/server-snippet", "deny all;");
    let default = |name: &str, host: &str| {
        format!(
            "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: {name}}}\nspec:\n  \
             defaultBackend: {{service: {{name: web, port: {{number: 80}}}}}}\n  rules: [{{host: \"{host}\"}}]\n---\n"
        )
    };
    let rig = Rig::with(2, &[], |pods| {
        service("web", &[(pods[0].address, "p0")])
            + &ingress("guard", "a.test", "/guarded", "web", &snippet)
            + &ingress("wide", "\"*.test\"", "/wide", "web", "")
            + &ingress("any", "\"\"", "/any", "web", "")
            + &default("default", "*.test")
            + &in_namespace(&service("theirs", &[(pods[1].address, "p1")]), "team")
            + &in_namespace(&ingress("theirs", "\"*.test\"", "/theirs", "theirs", ""), "team")
    });
    for path in ["/guarded", "/wide", "/any", "/default"] {
        assert!(is_closed(&rig, "a.test", path), "{path}");
        assert!(!is_closed(&rig, "b.test", path), "{path} of another host");
    }
    assert!(!is_closed(&rig, "a.test", "/theirs"), "another namespace's");
    let admin = rig.admin.to_string();
    let explained = narthex(&["explain", "http://a.test/wide", "--admin", &admin]);
    let explained = String::from_utf8(explained.stdout).unwrap();
    let why = "narthex answers 503 itself: *.test/wide is closed for a.test, because narthex does not enforce annotation \
               nginx.ingress.kubernetes.io/server-snippet of Ingress default/guard";
    assert!(explained.contains(why), "{explained}");
}

/// A number without quotes is a common reason: annotations are text.
#[test]
fn an_ingress_that_cannot_be_decoded_closes_what_is_known_of_it() {
    let broken = |name: &str, host: &str, annotation: &str| {
        ingress(name, host, "/app", "web", &format!(", annotations: {{{annotation}}}"))
    };
    let limit = "nginx.ingress.kubernetes.io/limit-rps: 5";
    let rig = Rig::with(1, &[], |pods| {
        service("web", &[(pods[0].address, "p0")])
            + &ingress("any", "\"\"", "/", "web", "")
            + &broken("new", "new.test", limit)
            + &broken(
                "harmless",
                "harmless.test",
                "nginx.ingress.kubernetes.io/proxy-read-timeout: 5",
            )
    });
    std::fs::write(rig.manifest("old.yaml"), ingress("old", "old.test", "/", "web", "")).unwrap();
    eventually("the good version is live", || {
        get(rig.admin, "/api/v1/routes").1.contains("old.test").then_some(())
    });
    // It never was there before, so a rule for all hosts would answer.
    assert!(is_closed(&rig, "new.test", "/app"));
    assert!(is_closed(&rig, "new.test", "/other"));
    assert!(!is_closed(&rig, "harmless.test", "/app"));
    // The last good version stays, but is closed, and so is what the other names.
    std::fs::write(rig.manifest("old.yaml"), broken("old", "added.test", limit)).unwrap();
    eventually("it is closed", || is_closed(&rig, "old.test", "/").then_some(()));
    assert!(is_closed(&rig, "added.test", "/app"));
    let admin = rig.admin.to_string();
    // What is said of objects follows the table.
    eventually("explain says why", || {
        let explained = narthex(&["explain", "http://old.test/", "--admin", &admin]);
        let explained = String::from_utf8(explained.stdout).unwrap();
        let why = "does not enforce annotation nginx.ingress.kubernetes.io/limit-rps of Ingress default/old";
        assert!(explained.contains(why), "{explained}");
        explained.contains("the object cannot be decoded").then_some(())
    });
    std::fs::write(rig.manifest("old.yaml"), ingress("old", "old.test", "/", "web", "")).unwrap();
    eventually("it is open again", || (!is_closed(&rig, "old.test", "/")).then_some(()));
    assert!(!is_closed(&rig, "added.test", "/app"));
    // Of a Service, the last good version is closed too.
    let guarded = "apiVersion: v1\nkind: Service\nmetadata: {name: web, annotations: {haproxy.org/auth-type: 1}}\n\
                   spec: {ports: [{port: 80}]}\n---\n";
    let all = std::fs::read_to_string(rig.manifest("all.yaml")).unwrap();
    let (before, after) = all.split_once("kind: Service").unwrap();
    let (_, slices) = after.split_once("---\n").unwrap();
    let before = before.trim_end_matches("apiVersion: v1\n");
    std::fs::write(rig.manifest("all.yaml"), format!("{before}{guarded}{slices}")).unwrap();
    eventually("the Service is closed", || {
        is_closed(&rig, "old.test", "/").then_some(())
    });
}

#[test]
fn a_canary_alone_is_not_served() {
    let canary = annotated("nginx.ingress.kubernetes.io/canary", "true");
    let rig = Rig::with(1, &[], |pods| {
        service("web", &[(pods[0].address, "p0")]) + &ingress("canary", "a.test", "/", "web", &canary)
    });
    assert_eq!(ask(&rig, "a.test", "/").0, 404);
    let admin = rig.admin.to_string();
    let explained = narthex(&["explain", "http://a.test/", "--admin", &admin]);
    let explained = String::from_utf8(explained.stdout).unwrap();
    let why = "Ingress default/canary names a.test, but spec.rules[0].http.paths[0]: a.test Prefix / is not served: this Ingress is a \
               canary";
    assert!(explained.contains(why), "{explained}");
    // With the Ingress that it is the canary of, that one is served.
    std::fs::write(rig.manifest("main.yaml"), ingress("main", "a.test", "/", "web", "")).unwrap();
    eventually("it is served", || (ask(&rig, "a.test", "/").0 == 200).then_some(()));
    std::fs::remove_file(rig.manifest("main.yaml")).unwrap();
    eventually("it is not any more", || {
        (ask(&rig, "a.test", "/").0 == 404).then_some(())
    });
}

#[test]
fn a_guard_of_paths_that_cannot_be_read_closes_their_host() {
    let guarded = |path: &str| {
        let annotated = annotated("haproxy.org/auth-type", "x");
        let rule = ingress("admin", "a.test", &format!("\"{path}\""), "web", &annotated);
        rule.replace("pathType: Prefix", "pathType: ImplementationSpecific")
    };
    let rig = Rig::with(1, &[], |pods| {
        service("web", &[(pods[0].address, "p0")]) + &ingress("web", "a.test", "/", "web", "")
    });
    std::fs::write(rig.manifest("guard.yaml"), guarded("/admin")).unwrap();
    eventually("the path is closed", || {
        is_closed(&rig, "a.test", "/admin").then_some(())
    });
    assert!(!is_closed(&rig, "a.test", "/"));
    for path in ["/admin/.*", "/admin/(.*)", "/admin(/|$)(.*)", "/admin/*", "admin"] {
        std::fs::write(rig.manifest("guard.yaml"), guarded(path)).unwrap();
        eventually(path, || is_closed(&rig, "a.test", "/admin/x").then_some(()));
        std::fs::remove_file(rig.manifest("guard.yaml")).unwrap();
        eventually("it is gone", || (!is_closed(&rig, "a.test", "/admin/x")).then_some(()));
    }
}

#[test]
fn challenges_of_a_guarded_host_are_answered_by_an_ingress_of_their_own() {
    let solver = |pods: &[crate::rig::Pod]| {
        service("solver", &[(pods[1].address, "p1")])
            + &ingress("solver", "a.test", "/.well-known/acme-challenge/token", "solver", "")
    };
    let rig = Rig::with(2, &[], |pods| {
        service("web", &[(pods[0].address, "p0")])
            + &ingress(
                "web",
                "a.test",
                "/",
                "web",
                &annotated("nginx.ingress.kubernetes.io/auth-url", "x"),
            )
            + &solver(pods)
    });
    assert!(!is_closed(&rig, "a.test", "/.well-known/acme-challenge/token"));
    assert!(is_closed(&rig, "a.test", "/.well-known/acme-challenge/other"));
}

#[test]
fn a_guard_that_comes_closes_connections_that_are_open() {
    let rig = Rig::new(1, &[]);
    let mut client: Client = rig.client();
    client.send("GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    let text = std::fs::read_to_string(rig.manifest("all.yaml")).unwrap();
    let mut guarded = String::new();
    write!(
        guarded,
        "{}",
        text.replace(
            "kind: Ingress\nmetadata: {name: web",
            "kind: Ingress\nmetadata: {name: web, annotations: {konghq.com/plugins: a}"
        )
    )
    .unwrap();
    assert_ne!(guarded, text);
    std::fs::write(rig.manifest("all.yaml"), guarded).unwrap();
    eventually("the same connection is refused", || {
        client.send("GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n");
        (client.answer().status == 503).then_some(())
    });
    std::fs::write(rig.manifest("all.yaml"), text).unwrap();
    eventually("and let through again", || {
        client.send("GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n");
        (client.answer().status == 200).then_some(())
    });
}
