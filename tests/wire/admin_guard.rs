//! Rows 36, 39, 40, 42 and 43: who may ask the admin side what, and what it never says.

use crate::rig::{Client, Rig, eventually, get, ingress, service};
use base64::Engine;
use std::fmt::Write as _;
use std::net::{SocketAddr, TcpStream};

/// Asks with these fields, and closes.
fn ask(admin: SocketAddr, line: &str, fields: &str) -> (u16, String) {
    let mut client = Client::connect(admin);
    client.send(format!("{line} HTTP/1.0\r\n{fields}\r\n"));
    let answer = String::from_utf8_lossy(&client.rest()).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or(0), answer)
}

const QUESTIONS: [&str; 12] = [
    "/api/v1/version",
    "/api/v1/overview",
    "/api/v1/routes",
    "/api/v1/hosts",
    "/api/v1/backends",
    "/api/v1/endpoints",
    "/api/v1/certificates",
    "/api/v1/diagnostics",
    "/api/v1/changes",
    "/api/v1/errors",
    "/api/v1/config",
    "/api/v1/explain?url=http://a.test/",
];

#[test]
fn row_40_it_answers_questions_only_and_tells_browsers_to_keep_out() {
    let rig = Rig::new(1, &[]);
    for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FROB"] {
        let (status, _) = ask(
            rig.admin,
            &format!("{method} /api/v1/overview"),
            "Content-Length: 0\r\n",
        );
        assert_eq!(status, 405, "{method}");
    }
    for path in QUESTIONS
        .into_iter()
        .chain(["/", "/dashboard/", "/metrics", "/healthz", "/nowhere"])
    {
        let (_, answer) = ask(rig.admin, &format!("GET {path}"), "Origin: http://evil.test\r\n");
        let head = answer.split("\r\n\r\n").next().unwrap().to_lowercase();
        for field in [
            "content-security-policy: default-src 'none'",
            "x-frame-options: deny",
            "x-content-type-options: nosniff",
            "cross-origin-resource-policy: same-origin",
            "cache-control: no-",
        ] {
            assert!(head.contains(field), "{path} lacks {field}:\n{head}");
        }
        assert!(
            !head.contains("access-control-"),
            "{path} lets other origins in:\n{head}"
        );
    }
}

#[test]
fn row_40_a_name_that_is_not_ours_gets_nothing_but_probes() {
    let rig = Rig::new(1, &["--admin-host", "ops.example.com"]);
    for path in QUESTIONS.into_iter().chain(["/dashboard/", "/metrics"]) {
        let line = format!("GET {path}");
        for host in ["evil.test", "a.test:8080", "127.0.0.1.evil.test", "", "a b"] {
            assert_eq!(
                ask(rig.admin, &line, &format!("Host: {host}\r\n")).0,
                403,
                "{path} {host}"
            );
        }
        for host in ["127.0.0.1:8080", "localhost", "narthex.ingress.svc", "ops.example.com"] {
            assert_eq!(
                ask(rig.admin, &line, &format!("Host: {host}\r\n")).0,
                200,
                "{path} {host}"
            );
        }
        let two = "Host: localhost\r\nHost: evil.test\r\n";
        assert_eq!(ask(rig.admin, &line, two).0, 403, "{path}: two");
        let absolute = format!("GET http://evil.test{path}");
        assert_eq!(
            ask(rig.admin, &absolute, "Host: localhost\r\n").0,
            403,
            "{path}: absolute"
        );
    }
    for path in ["/healthz", "/readyz", "/ping"] {
        assert_eq!(
            ask(rig.admin, &format!("GET {path}"), "Host: evil.test\r\n").0,
            200,
            "{path}"
        );
    }
}

#[test]
fn rows_36_and_40_no_rule_leads_to_it() {
    let rig = Rig::new(1, &[]);
    let manifest = service("admin", &[(rig.admin, "p")]) + &ingress("admin", "admin.test", "/", "admin", "");
    std::fs::write(rig.manifest("admin.yaml"), manifest).unwrap();
    let client = |host: &str| {
        let answer = rig
            .client()
            .send(format!("GET /api/v1/overview HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .answer();
        answer.status
    };
    eventually("the rule is live", || (client("admin.test") != 404).then_some(()));
    assert_eq!(client("admin.test"), 503);
    eventually("the reason is said", || {
        let said = get(rig.admin, "/api/v1/diagnostics").1;
        (said.contains("EndpointRefused") && said.contains("admin address")).then_some(())
    });
    // Another node's admin side, which nobody here knows for one, sees where it comes from.
    for path in QUESTIONS.into_iter().chain(["/", "/metrics", "/healthz"]) {
        let (status, _) = ask(rig.admin, &format!("GET {path}"), "X-Narthex-Hops: 1\r\n");
        assert_eq!(status, 403, "{path}");
    }
}

#[test]
fn row_40_a_token_is_asked_for_where_there_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "s3cret-one\n").unwrap();
    let rig = Rig::new(1, &["--admin-token-file", file.to_str().unwrap()]);
    let bearing = |token: &str| format!("Authorization: {token}\r\n");
    // The page itself holds nothing, and asks for the token.
    for path in ["/", "/dashboard/"] {
        assert!(ask(rig.admin, &format!("GET {path}"), "").0 < 400, "{path}");
    }
    for path in QUESTIONS.into_iter().chain(["/nowhere"]) {
        let line = format!("GET {path}");
        for wrong in [
            String::new(),
            bearing("Bearer s3cret-on"),
            bearing("Bearer s3cret-onee"),
            bearing("Bearer "),
            bearing("s3cret-one"),
            bearing("Basic s3cret-one"),
            bearing("Bearer s3cret-two") + &bearing("Bearer s3cret-one"),
        ] {
            let (status, answer) = ask(rig.admin, &line, &wrong);
            assert_eq!(status, 401, "{path} {wrong}");
            assert!(answer.to_lowercase().contains("www-authenticate: bearer"), "{answer}");
        }
        assert_ne!(ask(rig.admin, &line, &bearing("bearer s3cret-one")).0, 401, "{path}");
    }
    for path in ["/healthz", "/readyz", "/ping", "/metrics"] {
        assert_eq!(ask(rig.admin, &format!("GET {path}"), "").0, 200, "{path}");
    }
    // A Secret that is mounted changes under the process.
    std::fs::write(&file, "s3cret-two").unwrap();
    assert_eq!(
        ask(rig.admin, "GET /api/v1/version", &bearing("Bearer s3cret-one")).0,
        401
    );
    assert_eq!(
        ask(rig.admin, "GET /api/v1/version", &bearing("Bearer s3cret-two")).0,
        200
    );
    std::fs::write(&file, "\n").unwrap();
    assert_eq!(
        ask(rig.admin, "GET /api/v1/version", &bearing("Bearer ")).0,
        503,
        "an empty token lets anybody in"
    );
    // The command line has it too.
    std::fs::write(&file, "s3cret-two").unwrap();
    let explain = |flags: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_narthex"));
        command
            .args(["explain", "http://a.test/", "--admin", &rig.admin.to_string()])
            .args(flags);
        command.output().unwrap().status.success()
    };
    assert!(!explain(&[]));
    assert!(explain(&["--admin-token-file", file.to_str().unwrap()]));
}

#[test]
fn row_40_who_holds_it_up_holds_up_no_other_side() {
    let rig = Rig::new(1, &["--max-connections", "8"]);
    // All places for clients are taken, and the admin side answers.
    let held: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(rig.http).unwrap()).collect();
    assert_eq!(get(rig.admin, "/healthz").0, 200);
    assert_eq!(get(rig.admin, "/readyz").0, 200);
    drop(held);
    // And the other way round.
    let _held: Vec<TcpStream> = (0..300).map(|_| TcpStream::connect(rig.admin).unwrap()).collect();
    assert!(rig.client().goes_on());
}

#[test]
fn row_39_no_secret_is_ever_shown() {
    let data = |file: &str| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tls");
        std::fs::read_to_string(format!("{folder}/{file}")).unwrap()
    };
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let (key, other) = (data("a-ecdsa.key"), data("b-ecdsa.key"));
    let secret = |name: &str, kind: &str, entries: &[(&str, &str)]| {
        let mut text = format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\ntype: {kind}\ndata:\n");
        for (entry, value) in entries {
            writeln!(text, "  {entry}: {}", encode(value)).unwrap();
        }
        text + "---\n"
    };
    let tls = "kubernetes.io/tls";
    let certificate = data("a-ecdsa.crt");
    // A good one, one whose halves do not fit, one that is broken, one of another type.
    let secrets = secret("good", tls, &[("tls.crt", &certificate), ("tls.key", &key)])
        + &secret("unfit", tls, &[("tls.crt", &certificate), ("tls.key", &other)])
        + &secret("broken", tls, &[("tls.crt", "MARKER-ONE"), ("tls.key", "MARKER-TWO")])
        + &secret(
            "opaque",
            "Opaque",
            &[("password", "MARKER-THREE"), ("tls.key", "MARKER-FOUR")],
        );
    let rig = Rig::with(1, &[], |pods| {
        let mut all = service("web", &[(pods[0].address, "p")]) + &secrets;
        for name in ["good", "unfit", "broken", "opaque"] {
            let host = format!("{name}.test");
            all += &ingress(name, &host, "/", "web", "").replacen(
                "spec:\n",
                &format!("spec:\n  tls: [{{hosts: [{host}], secretName: {name}}}]\n"),
                1,
            );
        }
        all
    });
    let mut said = rig.log();
    for path in QUESTIONS
        .into_iter()
        .chain(["/", "/metrics", "/healthz", "/readyz", "/ping", "/nowhere"])
    {
        said += &get(rig.admin, path).1;
    }
    for name in ["good", "unfit", "broken", "opaque"] {
        said += &get(rig.admin, &format!("/api/v1/explain?url=https://{name}.test/")).1;
    }
    assert!(
        said.contains("InvalidCertificate"),
        "nothing is said of the broken ones:\n{said}"
    );
    let mut hidden = vec!["MARKER".to_owned(), "PRIVATE KEY".to_owned(), encode("MARKER-TWO")];
    for text in [&key, &other, &encode(&key), &encode(&other)] {
        // Any line of a key, whatever it is wrapped in.
        let lines = text.lines().filter(|line| !line.starts_with("-----"));
        hidden.extend(lines.map(|line| line.get(..40).unwrap_or(line).to_owned()));
    }
    for secret in hidden {
        assert!(!said.contains(&secret), "a Secret is shown: {secret}");
    }
}

#[test]
fn row_42_what_clients_make_up_adds_nothing_to_the_metrics() {
    let rig = Rig::new(1, &[]);
    assert_eq!(
        rig.client()
            .send("GET / HTTP/1.1\r\nHost: none.test\r\n\r\n")
            .answer()
            .status,
        404
    );
    let size = || get(rig.admin, "/metrics").1.lines().count();
    let before = size();
    for thousand in 0..100 {
        let mut client = rig.client();
        let mut reader = Client::over(client.stream.try_clone().unwrap());
        let mut requests = String::new();
        for one in 0..1000 {
            let number = thousand * 1000 + one;
            write!(
                requests,
                "M{number} /p{number} HTTP/1.1\r\nHost: h{number}.test\r\nUser-Agent: u{number}\r\n\r\n"
            )
            .unwrap();
        }
        let sender = std::thread::spawn(move || {
            client.send(requests);
            client
        });
        for _ in 0..1000 {
            assert_eq!(reader.answer().status, 404);
        }
        sender.join().unwrap();
    }
    assert!(rig.counter("requests_total") >= 100_000);
    assert_eq!(size(), before);
}
