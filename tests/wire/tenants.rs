//! Rows 37, 38 and 43: what one who may write Ingresses does to the others.

use crate::rig::{Rig, eventually, get, ingress, service};

fn web(rig: &Rig, path: &str) -> u16 {
    let request = format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n");
    rig.client().send(request).answer().status
}

#[test]
fn row_43_thousands_of_rules_of_one_tenant_hold_up_no_request() {
    let rig = Rig::new(1, &["--shards", "1"]);
    // All of them for one host, which is dearer than one host each, and half for one and the same path.
    let mut crowd = String::new();
    for index in 0..3_000 {
        let path = if index % 2 == 0 {
            "/same".to_owned()
        } else {
            format!("/p{index}")
        };
        crowd += &ingress(&format!("i{index:05}"), "crowd.test", &path, "web", "");
    }
    std::fs::write(rig.manifest("crowd.yaml"), &crowd).unwrap();
    let mut asked = 0;
    eventually("all of them are live", || {
        assert_eq!(web(&rig, "/"), 200, "request {asked} is held up");
        asked += 1;
        let (_, said) = get(rig.admin, "/api/v1/overview");
        said.contains("\"ingresses\": 3001").then_some(())
    });
    let answer = rig
        .client()
        .send("GET /p2999/x HTTP/1.1\r\nHost: crowd.test\r\n\r\n")
        .answer();
    assert_eq!(answer.status, 200);
    std::fs::remove_file(rig.manifest("crowd.yaml")).unwrap();
    eventually("they are gone", || {
        assert_eq!(web(&rig, "/"), 200);
        let (_, said) = get(rig.admin, "/api/v1/overview");
        said.contains("\"ingresses\": 1,").then_some(())
    });
}

#[test]
fn row_43_a_value_without_end_is_not_repeated_without_end() {
    let rig = Rig::new(1, &[]);
    let large = "\u{e9}x".repeat(500_000);
    let annotated = format!(", annotations: {{narthex.io/balance: \"{large}\", other.io/text: \"{large}\"}}");
    let manifest = ingress("large", "large.test", "/ok", "web", &annotated)
        + &ingress("host", &large.replace('\u{e9}', "e"), "/", "web", "")
        + &ingress("path", "path.test", &format!("/%zz{large}"), "web", "")
        + &ingress("service", "service.test", "/", &large.replace('\u{e9}', "e"), "");
    std::fs::write(rig.manifest("large.yaml"), manifest).unwrap();
    eventually("they are live and spoken of", || {
        let (_, said) = get(rig.admin, "/api/v1/diagnostics");
        ["InvalidAnnotation", "InvalidHost", "InvalidPath", "ServiceNotFound"]
            .iter()
            .all(|code| said.contains(code))
            .then_some(())
    });
    for path in ["/api/v1/diagnostics", "/api/v1/overview", "/metrics"] {
        let length = get(rig.admin, path).1.len();
        assert!(length < 64 << 10, "{path}: {length} bytes");
    }
    assert!(rig.log().len() < 256 << 10, "the log has {} bytes", rig.log().len());
    assert_eq!(web(&rig, "/"), 200);
}

#[test]
fn row_37_an_annotation_is_a_value_and_never_text_of_another_language() {
    let injected = "narthex.io/backend-server-name: \"x\\r\\nX-Evil: 1\", narthex.io/hsts: \"max-age=1\\r\\nX-Evil: 1\", \
                    narthex.io/sticky-cookie: \"a=b; Domain=.test\\r\\nSet-Cookie: evil=1\", narthex.io/health-path: \"/ HTTP/1.1\\r\\nX-Evil: 1\", \
                    narthex.io/balance: \"hash:header:x\\r\\nevil\", narthex.io/backend-ca-secret: \"other-namespace/secret\", \
                    nginx.ingress.kubernetes.io/configuration-snippet: \"return 200 evil;\"";
    // The snippet would close the route; here it is served, so that what the others put into it shows.
    let rig = Rig::with(1, &["--ignore-annotation", "*/configuration-snippet"], |pods| {
        service("web", &[(pods[0].address, "p0")])
            + &ingress("web", "a.test", "/", "web", &format!(", annotations: {{{injected}}}"))
    });
    let answer = rig.client().send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").answer();
    assert_eq!(answer.status, 200);
    assert!(!answer.head.to_lowercase().contains("evil"), "{}", answer.head);
    assert!(!rig.pod().last().text().to_lowercase().contains("evil"));
    eventually("each is refused", || {
        let (_, said) = get(rig.admin, "/api/v1/diagnostics");
        (said.matches("InvalidAnnotation").count() == 6).then_some(())
    });
}
