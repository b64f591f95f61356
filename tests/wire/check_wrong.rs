//! Manifests that people get wrong: `narthex check` names object, field and remedy, as strictly as the API server.

use std::io::Write;
use std::process::{Command, Stdio};

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{name: http, port: 80, targetPort: 8080}, {name: admin, \
                       port: 9000}]}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: far, namespace: other}\nspec: {ports: [{port: 80}]}\n---\n\
                       apiVersion: v1\nkind: Secret\nmetadata: {name: cert, namespace: other}\ntype: kubernetes.io/tls\nstringData: {tls.crt: x, tls.key: x}\n---\n\
                       apiVersion: v1\nkind: Secret\nmetadata: {name: web-tls}\ntype: Opaque\n---\n";

const INGRESS: &str = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: web}\nspec:\n  ingressClassName: narthex\n  rules:\n  \
                       - host: a.test\n    http:\n      paths:\n      - {path: /x, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}\n";

/// What `check` says, and the line that its first place names.
fn check(manifest: &str) -> (String, usize) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_narthex"))
        .args(["check", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(manifest.as_bytes()).unwrap();
    let said = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    let line = said
        .split("--> <stdin>:")
        .nth(1)
        .and_then(|rest| rest.split(':').next());
    let line = line.and_then(|line| line.parse().ok()).unwrap_or_default();
    (said, line)
}

#[test]
fn what_is_right_is_accepted() {
    let (said, _) = check(&format!("{SERVICE}{INGRESS}"));
    assert!(said.ends_with("0 errors, 0 warnings\n"), "{said}");
}

/// What is written, what is written instead, and what is said of it.
const WRONG: &[(&str, &str, &[&str])] = &[
    (
        "a.test",
        "Shop_1.Example.com",
        &["error[NotAccepted]", "spec.rules[0].host", "lower-case"],
    ),
    (
        "a.test",
        "10.0.0.1",
        &["error[NotAccepted]", "is a DNS name, and not an address"],
    ),
    (
        "a.test",
        "Shop.Example.com",
        &["error[NotAccepted]", "write \"shop.example.com\""],
    ),
    ("a.test", "a.test.", &["error[NotAccepted]", "write \"a.test\""]),
    ("a.test", "\"a.*.test\"", &["error[InvalidHost]", "first label"]),
    (
        "path: /x",
        "path: //",
        &["error[NotAccepted]", "must not contain \"//\""],
    ),
    (
        "path: /x",
        "path: /a/../b",
        &["error[NotAccepted]", "must not contain \"/../\""],
    ),
    (
        "path: /x",
        "path: /a/..",
        &["error[NotAccepted]", "must not contain \"/..\""],
    ),
    (
        "path: /x",
        "path: /a%2fb",
        &["error[NotAccepted]", "must not contain \"%2f\""],
    ),
    ("path: /x", "path: x", &["error[InvalidPath]", "write /x"]),
    (
        "{number: 80}",
        "{number: 80, name: http}",
        &["error[NotAccepted]", "service.port", "both name and number"],
    ),
    (
        "{number: 80}",
        "{number: \"80\"}",
        &["error[InvalidObject]", "write 80 without quotes"],
    ),
    (
        "{number: 80}",
        "80",
        &["error[InvalidObject]", "write port: {number: 80}"],
    ),
    (
        "{number: 80}",
        "http",
        &["error[InvalidObject]", "write port: {name: http}"],
    ),
    (
        "{number: 80}",
        "{number: 8080}",
        &["error[PortNotFound]", "8080 is the targetPort: did you mean 80"],
    ),
    (
        "{number: 80}",
        "{name: htp}",
        &["error[PortNotFound]", "did you mean \"http\"?"],
    ),
    (
        "{name: web, port",
        "{name: wbe, port",
        &["error[ServiceNotFound]", "did you mean \"web\"?"],
    ),
    (
        "{name: web, port",
        "{name: far, port",
        &["error[ServiceNotFound]", "namespace \"other\" has one"],
    ),
    (
        "{name: web, port",
        "{name: Web_1, port",
        &["error[ServiceNotFound]", "there is no Service"],
    ),
    (
        "backend: {service: {name: web, port: {number: 80}}}",
        "backend: {serviceName: web, servicePort: 80}",
        &["serviceName", "did you mean service.name?"],
    ),
    (
        "pathType: Prefix",
        "pathType: prefix",
        &["error[InvalidPathType]", "did you mean Prefix?"],
    ),
    (", pathType: Prefix", "", &["warning[MissingPathType]"]),
    (
        "narthex\n",
        "narthx\n",
        &["warning[ClassMisspelled]", "did you mean \"narthex\"?"],
    ),
    (
        "{name: web}\nspec:\n  ing",
        "{name: Web}\nspec:\n  ing",
        &["error[NotAccepted]", "metadata.name", "lower-case"],
    ),
    (
        "{name: web}\nspec:\n  ing",
        "{name: web, namespace: My.Ns}\nspec:\n  ing",
        &["error[NotAccepted]", "metadata.namespace"],
    ),
    (
        "  rules:",
        "  tls: [{hosts: [a.test], secretName: cert}]\n  rules:",
        &["error[SecretMisnamed]", "namespace \"other\" has one"],
    ),
    (
        "  rules:",
        "  tls: [{hosts: [a.test], secretName: web-tsl}]\n  rules:",
        &["error[SecretMisnamed]", "did you mean \"web-tls\"?"],
    ),
    (
        "  rules:",
        "  tls: [{hosts: [b.test], secretName: web-tls}]\n  rules:",
        &["warning[TlsHostUnused]", "did you mean \"a.test\"?"],
    ),
    (
        "networking.k8s.io/v1",
        "networking.k8s.io/v1beta1",
        &["warning[OldVersion]", "narthex convert"],
    ),
    (
        "metadata: {name: web}\nspec:\n  ing",
        "metadata: {name: web, annotations: {kubernetes.io/ingress.class: narthex}}\nspec:\n  ing",
        &["error[NotAccepted]", "remove the annotation"],
    ),
    (
        "[{name: http, port: 80, targetPort: 8080}, {name: admin,",
        "[{port: 80, targetPort: 8080}, {name: admin,",
        &["error[NotAccepted]", "ports without a name"],
    ),
];

#[test]
fn each_mistake_is_named_with_its_remedy() {
    for (right, wrong, wanted) in WRONG {
        let all = format!("{SERVICE}{INGRESS}");
        let at = all.rfind(right).unwrap_or_else(|| panic!("{right}"));
        let manifest = format!("{}{wrong}{}", &all[..at], &all[at + right.len()..]);
        let (said, line) = check(&manifest);
        for part in *wanted {
            assert!(said.contains(part), "{wrong}: {part} is missing in {said}");
        }
        let first = manifest[..at].matches('\n').count() + 1;
        let last = first + wrong.matches('\n').count() + 1;
        assert!((first..=last).contains(&line), "{wrong} is on line {first}: {said}");
    }
}

#[test]
fn one_annotation_without_quotes_does_not_hide_other_errors() {
    let annotations = "{name: web, annotations: {narthex.io/ssl-redirect: true, narthex.io/max-in-flight: 5, narthex.io/request-timeout: soon}}";
    let (said, _) = check(
        &format!("{SERVICE}{INGRESS}")
            .replace("{name: web}\nspec:\n  ing", &format!("{annotations}\nspec:\n  ing"))
            .replace("{number: 80}", "{number: 81}"),
    );
    for part in [
        "put it in quotes: \"true\"",
        "put it in quotes: \"5\"",
        "\"soon\" is not a duration",
        "has no port 81",
        "4 errors",
    ] {
        assert!(said.contains(part), "{part} is missing in {said}");
    }
}
