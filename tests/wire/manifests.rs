//! Manifests as people and strangers write them: misspelled, huge, hostile to terminals, or gone.

use crate::rig::{PATIENCE, Rig, eventually, get, ingress, service};
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn narthex(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_narthex"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may end without reading.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

const MISSPELLED: &str = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: web}\nspec:\n  rules:\n  - \
    hosts: a.test\n    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}\n---\n";

#[test]
fn a_rule_whose_host_is_misspelled_answers_nobody() {
    let rig = Rig::with(1, &[], |pods| {
        service("web", &[(pods[0].address, "p0")]) + MISSPELLED + &ingress("good", "good.test", "/", "web", "")
    });
    let status = |host: &str| {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        rig.client().send(request).answer().status
    };
    assert_eq!(
        (status("good.test"), status("a.test"), status("other.test")),
        (200, 404, 404)
    );
    rig.logged("did you mean host?");
    let checked = narthex(&["check", "-"], MISSPELLED);
    assert_eq!(checked.status.code(), Some(1));
    let said = text(&checked.stdout);
    assert!(
        said.contains("error[InvalidObject]") && said.contains("did you mean host?"),
        "{said}"
    );
    assert!(said.contains("--> <stdin>:6:12"), "{said}");
    let why = narthex(&["explain", "http://a.test/", "--admin", &rig.admin.to_string()], "");
    assert!(
        text(&why.stdout).contains("did you mean host?"),
        "{}",
        text(&why.stdout)
    );
    // What is ignored is a warning while it serves, and an error for who is about to apply it.
    let weight = ingress("waits", "a.test", "/", "web", "").replace("{path: /", "{wait: 1, path: /");
    let checked = narthex(&["check", "-o", "json", "-"], &weight);
    let report: serde_json::Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(report["problems"][0]["code"], "UnknownField");
    assert_eq!(report["problems"][0]["severity"], "error");
    assert_eq!(report["problems"][0]["field"], "spec.rules[0].http.paths[0].wait");
    std::fs::write(rig.manifest("more.yaml"), weight).unwrap();
    eventually("it is a warning", || {
        let said = get(rig.admin, "/api/v1/diagnostics").1;
        let said: serde_json::Value = serde_json::from_str(said.split("\r\n\r\n").last()?).ok()?;
        let found = said
            .as_array()?
            .iter()
            .find(|one| one["code"] == "UnknownField")?
            .clone();
        (found["severity"] == "warning").then_some(())
    });
    assert_eq!(status("a.test"), 200);
}

#[test]
fn standard_input_is_read() {
    let good = service("web", &[]) + &ingress("web", "a.test", "/", "web", "");
    let checked = narthex(&["check", "-"], &good);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stdout));
    assert!(text(&checked.stdout).starts_with("2 objects, 1 route, 1 backend: 0 errors"));
    let missing = narthex(&["check", "-"], &ingress("web", "a.test", "/", "web", ""));
    assert_eq!(missing.status.code(), Some(1));
    assert!(
        text(&missing.stdout).contains("--> <stdin>:"),
        "{}",
        text(&missing.stdout)
    );
    let explained = narthex(&["explain", "http://a.test/x", "--manifests", "-"], &good);
    assert!(
        text(&explained.stdout).contains("from      Ingress default/web"),
        "{}",
        text(&explained.stdout)
    );
    let broken = narthex(&["check", "-"], "a: [\n");
    assert_eq!(broken.status.code(), Some(1));
}

#[test]
fn serving_from_what_was_never_there_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nowhere");
    let path = path.to_str().unwrap();
    let ended = narthex(&["serve", "--listen-http", "127.0.0.1:0", "--manifests", path], "");
    assert_eq!(ended.status.code(), Some(2));
    let said = text(&ended.stderr);
    assert_eq!(
        said,
        format!("narthex: --manifests {path}: no such file or directory\n")
    );
}

/// What drives a terminal, or makes a line say something else than it does.
const HOSTILE: [char; 6] = ['\u{1b}', '\u{9b}', '\u{202e}', '\u{2066}', '\u{200b}', '\u{7f}'];

fn is_harmless(text: &str) -> bool {
    !text.contains(HOSTILE) && !text.contains(|one: char| one.is_control() && one != '\n')
}

#[test]
fn nothing_that_a_manifest_says_drives_a_terminal() {
    let hostile = "x\\e[2J\\x9b2J\\u202e\\u2066\\u200b\\x7f\\r\\nerror[Forged]: all is well";
    let mut manifest = service("web", &[]);
    for (index, (from, to)) in [
        ("host: a.test", format!("host: \"{hostile}\"")),
        ("path: /,", format!("path: \"/{hostile}\",")),
        ("pathType: Prefix", format!("pathType: \"{hostile}\"")),
        ("service: {name: web,", format!("service: {{name: \"{hostile}\",")),
        ("{number: 80}", format!("{{name: \"{hostile}\"}}")),
        ("  rules:", format!("  ingressClassName: \"{hostile}\"\n  rules:")),
        ("  rules:", format!("  \"{hostile}\": 1\n  rules:")),
        (
            "  rules:",
            format!("  tls: [{{secretName: \"{hostile}\", hosts: [\"{hostile}\", a.test]}}]\n  rules:"),
        ),
        ("{name: i7", format!("{{name: \"i7{hostile}\"")),
        ("kind: Ingress", format!("kind: \"Ingress{hostile}\"")),
    ]
    .iter()
    .enumerate()
    {
        manifest += &ingress(&format!("i{index}"), "a.test", "/", "web", "").replace(from, to);
    }
    manifest += &ingress(
        "annotated",
        "a.test",
        "/b",
        "web",
        &format!(", annotations: {{\"narthex.io/{hostile}\": \"{hostile}\", narthex.io/hsts: \"{hostile}\"}}"),
    );
    let broken = format!("a: 1\n\"a{hostile}\": 1\n\"a{hostile}\": 2\n");
    for input in [&manifest, &broken] {
        for arguments in [
            &["check", "-"][..],
            &["check", "-o", "json", "-"],
            &["explain", "http://a.test/b", "--manifests", "-"],
            &["explain", "http://a.test/b", "--manifests", "-", "-o", "json"],
        ] {
            let said = narthex(arguments, input);
            let (out, error) = (text(&said.stdout), text(&said.stderr));
            assert!(
                is_harmless(&out) && is_harmless(&error),
                "{arguments:?}: {out:?} {error:?}"
            );
            assert!(!out.lines().any(|line| line.starts_with("error[Forged]")), "{out}");
            if arguments.contains(&"json") {
                serde_json::from_str::<serde_json::Value>(&out).unwrap();
            }
        }
    }
    for format in ["text", "json"] {
        let rig = Rig::with(1, &["--log-format", format], |_| manifest.clone());
        std::fs::write(rig.manifest("broken.yaml"), &broken).unwrap();
        let admin = rig.admin.to_string();
        eventually("both files are spoken of", || {
            let log = rig.log();
            (log.contains("given twice") && log.contains("InvalidHost")).then_some(())
        });
        let log = rig.log();
        assert!(is_harmless(&log), "{log:?}");
        assert!(!log.lines().any(|line| line.starts_with("error[Forged]")), "{log}");
        if format == "json" {
            for line in log.lines() {
                serde_json::from_str::<serde_json::Value>(line).unwrap();
            }
        }
        for arguments in [
            &["routes", "--admin", &admin][..],
            &["routes", "--admin", &admin, "-o", "json"],
            &["explain", "--admin", &admin, "http://a.test/b"],
        ] {
            let said = narthex(arguments, "");
            let out = text(&said.stdout);
            assert!(said.status.success() && is_harmless(&out), "{arguments:?}: {out:?}");
        }
    }
}

fn resident(rig: &Rig) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{}/statm", rig.child.id())).unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[test]
fn what_a_manifest_took_is_given_back() {
    let rig = Rig::with(1, &["--max-memory", "200MiB"], |pods| {
        service("web", &[(pods[0].address, "p0")]) + &ingress("web", "a.test", "/", "web", "")
    });
    let before = resident(&rig);
    // Few lines that would be half a gigabyte.
    let bomb = format!("a: &a \"{}\"\nb:\n{}", "x".repeat(100_000), "- *a\n".repeat(5_000));
    std::fs::write(rig.manifest("bomb.yaml"), bomb).unwrap();
    rig.logged("the aliases of this file");
    std::fs::remove_file(rig.manifest("bomb.yaml")).unwrap();
    // And one that is just long.
    let long = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {{a: \"{}\"}}\n",
        "x".repeat(48 << 20)
    );
    std::fs::write(rig.manifest("long.yaml"), long).unwrap();
    eventually("it is being read", || {
        (resident(&rig) > before + (48 << 20)).then_some(())
    });
    std::fs::remove_file(rig.manifest("long.yaml")).unwrap();
    // The allocator takes its time: some ten seconds, and more on a busy machine.
    let deadline = Instant::now() + 3 * PATIENCE;
    while resident(&rig) > before + (24 << 20) {
        assert!(Instant::now() < deadline, "{before} before, {} after", resident(&rig));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(
        rig.client()
            .send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            .answer()
            .status,
        200
    );
}

#[test]
fn swaps_of_a_config_map_mount_are_quiet() {
    let rig = Rig::new(1, &[]);
    let at = |name: &str| rig.manifest(name);
    let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, at(name)).unwrap();
    let fill = |round: usize| {
        std::fs::create_dir(at(&format!("..{round}"))).unwrap();
        let text = ingress("more", &format!("round-{round}.test"), "/", "web", "");
        std::fs::write(at(&format!("..{round}/more.yaml")), text).unwrap();
    };
    fill(0);
    link("..0", "..data");
    link("..data/more.yaml", "more.yaml");
    for round in 0..5 {
        eventually("the mount is read", || {
            let request = format!("GET / HTTP/1.1\r\nHost: round-{round}.test\r\n\r\n");
            (rig.client().send(request).answer().status == 200).then_some(())
        });
        fill(round + 1);
        link(&format!("..{}", round + 1), "..data_tmp");
        std::fs::rename(at("..data_tmp"), at("..data")).unwrap();
        std::fs::remove_dir_all(at(&format!("..{round}"))).unwrap();
    }
    let log = rig.log();
    assert!(!log.contains("WARN"), "{log}");
}
