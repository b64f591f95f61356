//! TLS that is passed on by name: it ends at the pod, and who may say so.

use crate::openshift::{FLAGS, ask, route};
use crate::rig::{Rig, eventually, get, ingress, slice};
use crate::tls_rig::{Made, Tls, config, make, secret, secure};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

/// A pod that speaks TLS itself, and answers each request with its own name.
pub fn tls_pod(made: &Made, name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let chain = vec![CertificateDer::from_pem_slice(made.certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(made.key.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.unwrap().with_no_client_auth().with_single_cert(chain, key);
    let config = Arc::new(config.unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let config = config.clone();
            std::thread::spawn(move || {
                let connection = rustls::ServerConnection::new(config).unwrap();
                let mut tls = rustls::StreamOwned::new(connection, stream.unwrap());
                let mut said = Vec::new();
                let mut piece = [0; 1024];
                while let Ok(count @ 1..) = tls.read(&mut piece) {
                    said.extend_from_slice(&piece[..count]);
                    if said.ends_with(b"\r\n\r\n") {
                        let reply = format!(
                            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nX-Pod: {name}\r\n\r\n{name}",
                            name.len()
                        );
                        if tls.write_all(reply.as_bytes()).is_err() {
                            return;
                        }
                        said.clear();
                    }
                }
            });
        }
    });
    address
}

/// A Service with one endpoint.
pub fn service(name: &str, address: SocketAddr) -> String {
    format!("apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: [{{port: 80}}]}}\n---\n")
        + &slice(name, address, name)
}

pub fn passing(name: &str, host: &str, service: &str, more: &str) -> String {
    let extra = format!(", annotations: {{narthex.io/tls-passthrough: \"true\"{more}}}");
    ingress(name, host, "/", service, &extra)
}

/// The certificate that is shown for a name, and what is answered there.
fn asked(rig: &Rig, name: &str) -> Option<(Vec<u8>, String)> {
    let mut client = Tls::with(rig.https, Some(name), Arc::new(config(rustls::ALL_VERSIONS))).ok()?;
    let shown = client.certificate();
    Some((shown, client.get(name, "/").1))
}

/// A file for the access log, and what it says of connections for a name.
struct Log(tempfile::TempDir);

impl Log {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> String {
        self.0.path().join("access.log").to_str().unwrap().to_owned()
    }

    fn line(&self, name: &str) -> serde_json::Value {
        eventually("it is in the access log", || {
            let text = std::fs::read_to_string(self.path()).unwrap_or_default();
            let lines = text
                .lines()
                .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            let mut of_name = lines.filter(|line| line["scheme"] == "tls" && line["host"] == name);
            of_name.next()
        })
    }
}

#[test]
fn a_pod_shows_its_own_certificate_and_rules_have_plain() {
    let (own, ours) = (make(&["a.test", "x.w.test"]), make(&["a.test", "b.test"]));
    let pod = tls_pod(&own, "itself");
    let log = Log::new();
    let flags = ["--access-log", "json", "--access-log-file", &log.path()];
    let rig = Rig::with(1, &flags, |pods| {
        [
            service("tls", pod),
            service("web", pods[0].address),
            secret("ours", &ours.certificate, &ours.key),
            secure("b", "b.test", "b.test, a.test", "ours", ""),
            passing("a", "a.test", "tls", ""),
            passing("wild", "\"*.w.test\"", "tls", ""),
            // What is plain on its host is for another Service.
            ingress("plain", "a.test", "/plain", "web", ""),
        ]
        .concat()
    });
    for name in ["a.test", "x.w.test"] {
        let (shown, said) = asked(&rig, name).unwrap();
        assert_eq!(shown, own.der, "{name}");
        assert!(said.contains("x-pod: itself"), "{name}: {said}");
    }
    let (shown, said) = asked(&rig, "b.test").unwrap();
    assert_eq!(shown, ours.der);
    assert!(!said.contains("x-pod: itself"), "{said}");
    let answer = rig
        .client()
        .send("GET /plain HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .answer();
    assert_eq!(answer.status, 200);
    // The certificate covers both, but the rules have plain alone.
    let mut client = Tls::open(&rig, "b.test");
    for (host, path, status) in [("b.test", "/", 200), ("a.test", "/plain", 421), ("x.w.test", "/", 421)] {
        assert_eq!(client.get(host, path).0, status, "{host}{path}");
    }
    let line = log.line("a.test");
    assert_eq!(line["status"], 200);
    assert_eq!(line["endpoint"], pod.to_string());
    assert!(
        line["bytes_in"].as_u64().unwrap() > 100 && line["bytes_out"].as_u64().unwrap() > 500,
        "{line}"
    );
    assert_eq!(line["route"], "a.test (TLS passthrough)");
    let said = get(rig.admin, "/api/v1/explain?url=https://a.test/").1;
    assert!(said.contains("connections are passed on to default/tls"), "{said}");
    let routes = get(rig.admin, "/api/v1/routes").1;
    assert!(routes.contains("\"path_type\": \"Passthrough\""), "{routes}");
}

#[test]
fn it_begins_and_ends_while_narthex_runs() {
    let own = make(&["a.test"]);
    let pod = tls_pod(&own, "itself");
    let rig = Rig::with(1, &[], |pods| service("tls", pod) + &service("web", pods[0].address));
    let file = rig.manifest("a.yaml");
    let rule = passing("a", "a.test", "tls", "");
    for _ in 0..2 {
        std::fs::write(&file, &rule).unwrap();
        eventually("it is passed on", || {
            (asked(&rig, "a.test")?.0 == own.der).then_some(())
        });
        std::fs::write(&file, ingress("a", "a.test", "/", "web", "")).unwrap();
        eventually("TLS ends here", || (asked(&rig, "a.test")?.0 != own.der).then_some(()));
    }
}

#[test]
fn only_the_namespace_that_has_a_host_may_pass_it_on() {
    let own = make(&["a.test", "b.test"]);
    let pod = tls_pod(&own, "theirs");
    let in_zzz = |text: String| text.replace("metadata: {name: ", "metadata: {namespace: zzz, name: ");
    let rig = Rig::with(1, &[], |pods| {
        [
            service("web", pods[0].address),
            in_zzz(service("tls", pod)),
            ingress("a", "a.test", "/", "web", ""),
            in_zzz(passing("a", "a.test", "tls", "")),
            in_zzz(passing("b", "b.test", "tls", "")),
        ]
        .concat()
    });
    assert_ne!(asked(&rig, "a.test").unwrap().0, own.der);
    assert_eq!(asked(&rig, "b.test").unwrap().0, own.der);
    let problems = get(rig.admin, "/api/v1/diagnostics").1;
    assert!(problems.contains("a.test belongs to another namespace"), "{problems}");
    // The owner goes, and another comes.
    let file = rig.manifest("all.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(
        &file,
        text.replace(
            "host: a.test\n    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web",
            "host: c.test\n    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web",
        ),
    )
    .unwrap();
    eventually("it is theirs", || (asked(&rig, "a.test")?.0 == own.der).then_some(()));
    std::fs::write(&file, &text).unwrap();
    eventually("it is not theirs", || {
        (asked(&rig, "a.test")?.0 != own.der).then_some(())
    });
}

#[test]
fn what_guards_an_ingress_guards_what_is_passed_on() {
    let own = make(&["a.test"]);
    let pod = tls_pod(&own, "itself");
    let nginx = |annotation: &str| {
        let prefix = "nginx.ingress.kubernetes.io";
        let extra = format!(", annotations: {{{prefix}/ssl-passthrough: \"true\", {prefix}/{annotation}}}");
        ingress("a", "a.test", "/", "tls", &extra).replace("spec:\n", "spec:\n  ingressClassName: nginx\n")
    };
    for (annotation, passes) in [
        ("whitelist-source-range: 127.0.0.0/8", true),
        ("whitelist-source-range: 10.0.0.0/8", false),
        ("denylist-source-range: 127.0.0.1", false),
        ("whitelist-source-range: 10.0.0.0/33", false),
        (
            "auth-type: basic, nginx.ingress.kubernetes.io/auth-secret: users",
            false,
        ),
        ("auth-url: http://auth.default.svc/", false),
        ("auth-tls-secret: default/ca", false),
        ("enable-modsecurity: \"true\"", false),
    ] {
        let log = Log::new();
        let path = log.path();
        let mut flags = vec!["--drop-in", "ingress-nginx"];
        flags.extend(["--access-log", "json", "--access-log-file", &path]);
        let rig = Rig::with(1, &flags, |_| service("tls", pod) + &nginx(annotation));
        let found = asked(&rig, "a.test");
        assert_eq!(found.is_some(), passes, "{annotation}");
        let line = log.line("a.test");
        assert_eq!(line["status"] == 200, passes, "{annotation}: {line}");
    }
}

/// A Route with a termination.
fn terminating(name: &str, age: u32, host: &str, to: &str, tls: &str) -> String {
    let spec = format!("  host: {host}\n  to: {{name: {to}}}\n  tls: {{termination: {tls}}}");
    route("default", name, age, &spec)
}

#[test]
fn a_route_passes_tls_through_and_excludes_others_with_tls() {
    let own = make(&["a.test", "b.test", "c.test"]);
    let pod = tls_pod(&own, "itself");
    let manifests = |web: &[crate::rig::Pod], with_first: bool| {
        let first = terminating("first", 9, "a.test", "tls", "passthrough");
        [
            service("tls", pod),
            service("web", web[0].address),
            if with_first { first } else { String::new() },
            terminating("edge", 5, "a.test", "web", "edge, insecureEdgeTerminationPolicy: Allow"),
            route(
                "default",
                "plain",
                1,
                "  host: a.test\n  path: /plain\n  to: {name: web}",
            ),
            terminating(
                "redirects",
                5,
                "b.test",
                "tls",
                "passthrough, insecureEdgeTerminationPolicy: Redirect",
            ),
            // Here TLS ends already, so the younger one is refused.
            terminating(
                "older",
                9,
                "c.test",
                "web",
                "edge, insecureEdgeTerminationPolicy: Allow",
            ),
            terminating("younger", 5, "c.test", "tls", "passthrough"),
        ]
        .concat()
    };
    let rig = Rig::with(1, FLAGS, |pods| manifests(pods, true));
    let is_pods_own =
        |name: &str| asked(&rig, name).is_some_and(|(shown, said)| shown == own.der && said.contains("itself"));
    assert!(is_pods_own("a.test") && is_pods_own("b.test"));
    assert!(!is_pods_own("c.test"));
    for (host, path, status) in [
        ("a.test", "/plain", 200),
        // The Route with edge is excluded, and what passes TLS through has no plain.
        ("a.test", "/", 503),
        ("b.test", "/", 302),
        ("c.test", "/", 200),
    ] {
        assert_eq!(ask(&rig, host, path).status, status, "{host}{path}");
    }
    let (_, said) = get(rig.admin, "/api/v1/explain?url=tls://a.test");
    for part in [
        "passed on to default/tls",
        "Route default/edge",
        "is older, so this Route is not served",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }

    // When it goes, the next one has the host.
    std::fs::write(rig.manifest("all.yaml"), manifests(&rig.pods, false)).unwrap();
    eventually("the Route with edge is served", || {
        (ask(&rig, "a.test", "/").status == 200).then_some(())
    });
    assert!(!is_pods_own("a.test"));
    std::fs::write(rig.manifest("all.yaml"), manifests(&rig.pods, true)).unwrap();
    eventually("the older one has it again", || is_pods_own("a.test").then_some(()));
}
