//! `narthex check` as a gate in pipelines: exit codes, Secrets that are elsewhere, SARIF.

use crate::rig::{ingress, service};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

/// Checks files by their names and contents, in a folder that `check` runs in.
fn check(files: &[(&str, &str)], flags: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::create_dir_all(folder.path().join(Path::new(name).parent().unwrap())).unwrap();
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_narthex"));
    command.current_dir(&folder).arg("check").args(flags).arg(".");
    command.output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn web(extra: &str) -> String {
    service("web", &[("127.0.0.1:80".parse().unwrap(), "p0")]) + &ingress("web", "a.test", "/", "web", extra)
}

fn with_tls(annotations: &str) -> String {
    web(annotations).replace(
        "spec:\n  rules",
        "spec:\n  tls: [{hosts: [a.test], secretName: cert}]\n  rules",
    )
}

#[test]
fn warnings_fail_where_that_is_wanted() {
    let warned = web("").replace(", pathType: Prefix", "");
    let files = [("web.yaml", &*warned)];
    let said = check(&files, &[]);
    assert!(text(&said).ends_with("0 errors, 1 warning\n"), "{}", text(&said));
    assert_eq!(said.status.code(), Some(0));
    assert_eq!(check(&files, &["--strict"]).status.code(), Some(1));
    assert_eq!(check(&[("web.yaml", &*web(""))], &["--strict"]).status.code(), Some(0));
    assert_eq!(check(&files, &["--no-such-flag"]).status.code(), Some(2));
}

#[test]
fn a_secret_that_is_elsewhere_is_an_error_only_where_all_are_there() {
    let plain = with_tls("");
    assert!(plain.contains("secretName"), "{plain}");
    let files = [("web.yaml", &*plain)];
    let said = check(&files, &["--strict"]);
    assert_eq!(said.status.code(), Some(0), "{}", text(&said));
    assert!(
        text(&said).contains("info[SecretNotFound]: Secret \"cert\" does not exist")
            && text(&said).contains("--secrets complete"),
        "{}",
        text(&said)
    );
    let said = check(&files, &["--secrets", "complete"]);
    assert_eq!(said.status.code(), Some(1));
    assert!(text(&said).contains("error[SecretNotFound]"), "{}", text(&said));

    // cert-manager makes it once the Ingress is there.
    let issued = with_tls(", annotations: {cert-manager.io/cluster-issuer: letsencrypt}");
    for secrets in ["partial", "complete"] {
        let said = check(&[("web.yaml", &*issued)], &["--strict", "--secrets", secrets]);
        assert_eq!(said.status.code(), Some(0), "{}", text(&said));
        assert!(
            text(&said).contains("info[CertificateNotIssued]") && text(&said).contains("yet: cert-manager makes it"),
            "{}",
            text(&said)
        );
    }
    // So are what verifies certificates of clients, and the keys of tokens.
    for annotation in ["client-ca-secret", "auth-jwt-secret"] {
        let asks = with_tls(&format!(", annotations: {{narthex.io/{annotation}: users}}"));
        let files = [("web.yaml", &*asks)];
        let said = check(&files, &[]);
        assert_eq!(said.status.code(), Some(0), "{}", text(&said));
        assert!(
            text(&said).contains("info[SecretNotFound]: Secret \"users\" does not exist"),
            "{}",
            text(&said)
        );
        let said = check(&files, &["--secrets", "complete"]);
        assert_eq!(said.status.code(), Some(1), "{}", text(&said));
    }
    // Passwords are Secrets too.
    let guarded = web(
        ", annotations: {nginx.ingress.kubernetes.io/auth-type: basic, nginx.ingress.kubernetes.io/auth-secret: users}",
    )
    .replace("spec:\n  rules", "spec:\n  ingressClassName: nginx\n  rules");
    let files = [("web.yaml", &*guarded)];
    let dialect = ["--drop-in", "ingress-nginx"];
    let said = check(&files, &dialect);
    assert_eq!(said.status.code(), Some(0), "{}", text(&said));
    assert!(
        text(&said).contains("info[SecretNotFound]: Secret \"users\" does not exist"),
        "{}",
        text(&said)
    );
    let said = check(&files, &[&dialect[..], &["--secrets", "complete"]].concat());
    assert_eq!(said.status.code(), Some(1));
}

#[test]
fn sarif_names_file_line_object_and_field() {
    let broken = web("").replace("name: web, port: {number: 80}", "name: wbe, port: {number: 80}");
    let warned = "apiVersion: v1\nkind: Service\nmetadata: {name: other}\nspec: {prots: []}\n";
    let files = [("apps/a b.yaml", &*broken), ("apps/other.yaml", warned)];
    let said = check(&files, &["--output", "sarif"]);
    assert_eq!(said.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(report["version"], "2.1.0");
    let run = &report["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    let results = run["results"].as_array().unwrap();
    let of = |code: &str| {
        let found = results.iter().find(|result| result["ruleId"] == code);
        found.unwrap_or_else(|| panic!("{code} is missing: {report:#}"))
    };
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
    }
    let missing = of("ServiceNotFound");
    assert_eq!(missing["level"], "error");
    let place = &missing["locations"][0];
    let file = &place["physicalLocation"]["artifactLocation"]["uri"];
    assert_eq!(file, "apps/a%20b.yaml");
    assert!(place["physicalLocation"]["region"]["startLine"].as_u64().unwrap() > 1);
    let name = place["logicalLocations"][0]["fullyQualifiedName"].as_str().unwrap();
    assert_eq!(name, "Ingress default/web: spec.rules[0].http.paths[0].backend");
    assert_eq!(of("UnknownField")["level"], "error", "kubectl would refuse it");
}

/// On a terminal the line itself is shown, with a mark below the place.
#[test]
fn a_terminal_shows_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let broken = web("").replace("name: web, port: {number: 80}", "name: wbe, port: {number: 80}");
    std::fs::write(folder.path().join("web.yaml"), broken).unwrap();
    let program = env!("CARGO_BIN_EXE_narthex");
    let mut command = Command::new("script");
    command.current_dir(&folder).env("NO_COLOR", "1");
    let said = command
        .args(["-qec", &format!("{program} check web.yaml"), "/dev/null"])
        .output()
        .unwrap();
    let said = text(&said).replace('\r', "");
    let lines: Vec<&str> = said.lines().collect();
    let mark = lines
        .iter()
        .position(|line| line.ends_with(" ^^^^^^^^"))
        .unwrap_or_else(|| panic!("no mark: {said}"));
    let column = lines[mark].find('^').unwrap();
    assert_eq!(&lines[mark - 1][column..column + 8], "backend:", "{said}");
}
