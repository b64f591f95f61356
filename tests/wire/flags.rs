//! Flags: how they are written, what is no value, and that what may be a secret is shown nowhere.

use crate::admin::ask;
use crate::rig::{Rig, eventually, get, ingress, service};
use base64::Engine;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};

fn narthex(words: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_narthex"))
        .args(words)
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn the_password_of_a_collector_is_sent_to_it_and_shown_nowhere() {
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = collector.local_addr().unwrap();
    let url = format!("http://ops:hunter%32@{address}/hunter3/v1/traces?key=hunter4");
    let environment = [("NARTHEX_OTLP_ENDPOINT", &*url)];
    let rig = Rig::within(&environment, 1, &["--otlp-sample", "1"], |pods| {
        service("web", &[(pods[0].address, "p")]) + &ingress("web", "a.test", "/", "web", "")
    });
    let answer = rig.client().send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").answer();
    assert_eq!(answer.status, 200);
    let (mut exporter, _) = collector.accept().unwrap();
    let mut request = Vec::new();
    while !request.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        let mut piece = [0; 4096];
        let count = exporter.read(&mut piece).unwrap();
        assert_ne!(count, 0);
        request.extend_from_slice(&piece[..count]);
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let credentials = base64::engine::general_purpose::STANDARD.encode("ops:hunter2");
    assert!(
        request.starts_with("POST /hunter3/v1/traces?key=hunter4 HTTP/1.1\r\n"),
        "{request}"
    );
    for field in [
        format!("\r\nauthorization: Basic {credentials}\r\n"),
        format!("\r\nhost: {address}\r\n"),
    ] {
        assert!(request.contains(&field), "{field} in {request}");
    }
    // What the collector says is in the log, but not where it is.
    write!(exporter, "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n").unwrap();
    drop((exporter, collector));
    rig.logged("traces cannot be exported");
    assert_eq!(
        ask(&rig, "/api/v1/config")["otlp-endpoint"],
        format!("http://***@{address}/***")
    );
    let shown = [
        "/api/v1/config",
        "/api/v1/overview",
        "/metrics",
        "/api/v1/config?scope=cluster",
    ];
    let shown = shown.map(|path| get(rig.admin, path).1).join("\n") + &rig.log();
    for secret in ["hunter", &*credentials] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}

#[test]
fn no_secret_is_in_help_or_errors() {
    let url = "http://ops:hunter2@collector.test:4318/hunter2";
    for words in [
        &["--help"][..],
        &["-h"],
        &["serve", "--help"],
        &["demo", "--help"],
        &["help", "serve"],
        &["serve", "--otlp-sample", "2"],
        &["serve", "--no-such-flag"],
        &["completions", "bash"],
        &["reference"],
    ] {
        let said = said(&narthex(words, &[("NARTHEX_OTLP_ENDPOINT", url)]));
        assert!(!said.contains("hunter"), "{words:?}: {said}");
    }
    let help = said(&narthex(&["--help"], &[("NARTHEX_POD", "hunter2")]));
    assert!(
        help.contains("[env: NARTHEX_POD]") && !help.contains("hunter"),
        "{help}"
    );
    for wrong in [
        "ftp://ops:hunter2@collector.test",
        "ops:hunter2@collector.test",
        "http://ops:hunter2",
        "http://ops:hunter2@",
        "http://ops:hunter2@collector.test:x",
        "http://ops: hunter2@collector.test",
    ] {
        let output = narthex(&["serve", "--attempts", "0", "--otlp-endpoint", wrong], &[]);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(2), "{wrong}: {said}");
        assert!(
            said.contains("--otlp-endpoint") && said.contains("http://HOST:PORT"),
            "{said}"
        );
        assert!(!said.contains("hunter"), "{said}");
    }
    for command in [&["routes"][..], &["explain", "http://a.test/"], &["healthcheck"]] {
        let words = [command, &["--admin", "http://ops:hunter2@127.0.0.1:1"]].concat();
        let output = narthex(&words, &[]);
        let said = said(&output);
        assert!(!output.status.success() && !said.contains("hunter"), "{said}");
        assert!(said.contains("--admin-token-file"), "{said}");
    }
}

#[test]
fn a_level_that_is_none_is_an_error() {
    for wrong in [
        "verbose",
        "warning",
        "info,proxy",
        "narthex::testing::proxy=loud",
        "=debug",
        "info,",
        "na rthex=info",
        "",
    ] {
        let output = narthex(&["serve", "--attempts", "0", "--log-level", wrong], &[]);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(2), "{wrong}: {said}");
        assert!(said.contains("--log-level"), "{said}");
    }
    let said = said(&narthex(&["serve", "--attempts", "0", "--log-level", "verbose"], &[]));
    assert!(said.contains("error, warn, info, debug, trace, off"), "{said}");
    // These are read, and then something else is wrong.
    for right in ["WARN", "info,narthex::testing::proxy=debug", "off", "fatal"] {
        let output = narthex(&["serve", "--log-level", right, "--attempts", "0"], &[]);
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("--attempts 0"),
            "{right}"
        );
    }
}

#[test]
fn a_boolean_flag_takes_its_value_either_way() {
    for (flags, wanted) in [
        (&["--ssl-redirect", "false", "--class-less"][..], "false"),
        (&["--ssl-redirect=false"], "false"),
        (&["--ssl-redirect", "--class-less=false"], "true"),
        (&["--ssl-redirect", "true"], "true"),
        (&[], "true"),
    ] {
        let rig = Rig::new(1, flags);
        assert_eq!(ask(&rig, "/api/v1/config")["ssl-redirect"], wanted, "{flags:?}");
    }
    let rig = Rig::new(1, &["--strict-sni", "false"]);
    assert_eq!(ask(&rig, "/api/v1/config")["strict-sni"], "false");
    let output = narthex(&["serve", "--attempts", "0", "--ssl-redirect", "maybe"], &[]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
}

#[test]
fn the_demo_stays_on_loopback_and_leaves_nothing_behind() {
    let help = said(&narthex(&["demo", "--help"], &[]));
    for default in ["localhost:8000", "localhost:8443", "localhost:8080"] {
        assert!(help.contains(&format!("[default: {default}]")), "{help}");
    }
    for signal in [Signal::HUP, Signal::INT, Signal::TERM] {
        let folder = tempfile::tempdir().unwrap();
        let admin = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut demo = Command::new(env!("CARGO_BIN_EXE_narthex"))
            .args([
                "demo",
                "--listen-http",
                "127.0.0.1:0",
                "--listen-https",
                "off",
                "--admin",
            ])
            .arg(admin.to_string())
            .env("TMPDIR", folder.path())
            .env("NARTHEX_DRAIN_GRACE", "0s")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let entries = || std::fs::read_dir(folder.path()).unwrap().count();
        // As early as there is something to clear away, and when it serves.
        eventually("its folder is there", || (entries() == 1).then_some(()));
        if signal == Signal::INT {
            eventually("it is ready", || (get(admin, "/readyz").0 == 200).then_some(()));
        }
        kill_process(Pid::from_child(&demo), signal).unwrap();
        let ended = eventually("it ends", || demo.try_wait().unwrap());
        assert!(ended.success(), "{signal:?}: {ended}");
        assert_eq!(entries(), 0, "{signal:?}");
    }
}
