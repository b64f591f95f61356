//! The API of Traefik 1.7, as the scripts of its users know it.

use crate::admin::ask;
use crate::rig::{Client, Pod, Reply, Rig, eventually, get, ingress, service, service_with, slice};
use serde_json::{Value, json};

const PROVIDER: &str = "/api/providers/kubernetes";

/// The walkthrough's two hosts, and some that 1.7 named in other ways.
fn walkthrough() -> Rig {
    Rig::with(2, &[], |pods| {
        service(
            "deploy1",
            &[(pods[0].address, "deploy1-a"), (pods[1].address, "deploy1-b")],
        ) + &ingress("one", "www.example.com", "/", "deploy1", "")
            + &ingress("foo", "www.example.com", "/foo", "deploy1", "")
            + &ingress("none", "www.yolo.org", "/", "nowhere", "")
    })
}

fn servers(rig: &Rig) -> Value {
    let url = |pod: &Pod| json!({"url": format!("http://{}", pod.address), "weight": 1});
    json!({"deploy1-a": url(&rig.pods[0]), "deploy1-b": url(&rig.pods[1])})
}

fn frontend(host: &str, path: &str) -> Value {
    json!({
        "entryPoints": ["http"], "backend": format!("{host}{path}"), "passHostHeader": true, "priority": 0,
        "routes": {path: {"rule": format!("PathPrefix:{path}")}, host: {"rule": format!("Host:{host}")}},
    })
}

#[test]
fn frontends_and_backends_have_the_names_and_shapes_of_1_7() {
    let rig = walkthrough();
    let backend = json!({"servers": servers(&rig), "loadBalancer": {"method": "wrr"}});
    let frontends = json!({
        "www.example.com/": frontend("www.example.com", "/"),
        "www.example.com/foo": frontend("www.example.com", "/foo"),
        "www.yolo.org/": frontend("www.yolo.org", "/"),
    });
    let backends = json!({
        "www.example.com/": backend, "www.example.com/foo": backend,
        "www.yolo.org/": {"loadBalancer": {"method": "wrr"}},
    });
    let provider = json!({"backends": backends, "frontends": frontends});
    for path in ["/api", "/api/", "/api/providers", "/api/providers/"] {
        assert_eq!(ask(&rig, path), json!({"kubernetes": provider}), "{path}");
    }
    for (path, answer) in [
        ("", &provider),
        ("/", &provider),
        ("/backends", &backends),
        ("/frontends", &frontends),
        ("/backends/www.example.com%2Ffoo", &backend),
        ("/backends/www.example.com/foo", &backend),
        ("/backends/www.example.com//servers", &servers(&rig)),
        ("/backends/www.example.com%2F/servers", &servers(&rig)),
        (
            "/backends/www.example.com/foo/servers/deploy1-b",
            &servers(&rig)["deploy1-b"],
        ),
        ("/frontends/www.yolo.org%2F", &frontends["www.yolo.org/"]),
        ("/frontends/www.yolo.org/", &frontends["www.yolo.org/"]),
        (
            "/frontends/www.example.com%2Ffoo/routes",
            &frontends["www.example.com/foo"]["routes"],
        ),
        (
            "/frontends/www.example.com/foo/routes/www.example.com",
            &json!({"rule": "Host:www.example.com"}),
        ),
        (
            "/frontends/www.example.com/foo/routes/%2Ffoo",
            &json!({"rule": "PathPrefix:/foo"}),
        ),
        (
            "/frontends/www.example.com/foo/routes//foo",
            &json!({"rule": "PathPrefix:/foo"}),
        ),
    ] {
        assert_eq!(&ask(&rig, &format!("{PROVIDER}{path}")), answer, "{path}");
    }
    for path in [
        "/api/providers/docker",
        "/api/providers/kubernetesx",
        "/api/providers/kubernetes/nothing",
        "/api/providers/kubernetes/backends/www.nobody.org%2F",
        "/api/providers/kubernetes/backends/www.yolo.org//servers/p",
        "/api/providers/kubernetes/frontends/www.yolo.org//servers",
        "/api/nothing",
    ] {
        let (status, said) = get(rig.admin, path);
        assert!(
            status == 404 && said.ends_with("\r\n\r\n404 page not found\n"),
            "{path}: {said}"
        );
    }
    // A script that greps finds what it looks for.
    let (_, said) = get(rig.admin, "/api");
    assert!(
        said.contains(&format!("\"url\":\"http://{}\"", rig.pods[0].address)),
        "{said}"
    );
    assert!(said.contains("content-type: application/json"), "{said}");
}

#[test]
fn what_1_7_named_in_other_ways_is_there_too() {
    let rig = Rig::with(1, &[], |pods| {
        let class = "narthex.io/sticky-cookie: keep, narthex.io/max-in-flight: \"9\"";
        let tls = "narthex.io/backend-protocol: https, narthex.io/backend-verify: \"false\"";
        let exact = ingress("exact", "a.test", "/foo", "web", "").replace("Prefix", "Exact");
        service_with("web", pods, class)
            + &service_with("secure", pods, tls)
            + &slice("web", pods[0].address, "again").replace("name: again, uid: again", "name: p0, uid: p0b")
            + &ingress("prefix", "a.test", "/foo", "web", "")
            + &exact
            + &ingress("wildcard", "\"*.b.test\"", "/", "secure", "")
            + &ingress("any", "\"\"", "/any", "web", "")
            + "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: default}\nspec:\n  \
               defaultBackend: {service: {name: web, port: {number: 80}}}\n---\n"
    });
    let all = ask(&rig, PROVIDER);
    let (frontends, backends) = (&all["frontends"], &all["backends"]);
    let mut names: Vec<&String> = frontends.as_object().unwrap().keys().collect();
    names.sort();
    assert_eq!(
        names,
        [
            "*.b.test/",
            "/any",
            "a.test/foo",
            "a.test/foo (exact)",
            "global-default-frontend"
        ]
    );
    assert_eq!(frontends["a.test/foo (exact)"]["routes"]["/foo"]["rule"], "Path:/foo");
    assert_eq!(
        frontends["*.b.test/"]["routes"]["*.b.test"]["rule"],
        "HostRegexp:{subdomain:[A-Za-z0-9-_]+}.b.test"
    );
    assert_eq!(
        frontends["/any"]["routes"],
        json!({"/any": {"rule": "PathPrefix:/any"}})
    );
    let default = &frontends["global-default-frontend"];
    assert_eq!(default["routes"], json!({"/": {"rule": "PathPrefix:/"}}));
    assert_eq!(default["backend"], "global-default-backend");
    let default = &backends["global-default-backend"];
    assert_eq!(
        default["loadBalancer"],
        json!({"method": "wrr", "stickiness": {"cookieName": "keep"}})
    );
    assert_eq!(
        default["maxConn"],
        json!({"amount": 9, "extractorFunc": "request.host"})
    );
    let secure = &backends["*.b.test/"]["servers"]["p0"]["url"];
    assert_eq!(secure, &json!(format!("https://{}", rig.pod().address)));
}

#[test]
fn health_has_counts_times_and_failures() {
    let rig = walkthrough();
    let empty = ask(&rig, "/health");
    assert_eq!(
        (&empty["total_count"], &empty["recent_errors"]),
        (&json!(0), &json!([]))
    );
    let get_host = |host: &str| {
        let request = format!("GET /foo?secret=1 HTTP/1.1\r\nHost: {host}\r\n\r\n");
        rig.client().send(request).answer().status
    };
    rig.pods[0].answers(Reply::text("HTTP/1.1 201 Made\r\ncontent-length: 0\r\n\r\n"));
    rig.pods[1].answers(Reply::text("HTTP/1.1 201 Made\r\ncontent-length: 0\r\n\r\n"));
    for (host, status) in [("www.example.com", 201), ("www.nobody.org", 404), ("www.yolo.org", 503)] {
        for _ in 0..12 {
            assert_eq!(get_host(host), status);
        }
    }
    let health = eventually("the times are there", || {
        let health = ask(&rig, "/health");
        (health["total_response_time_sec"].as_f64()? > 0.0).then_some(health)
    });
    let names: Vec<&str> = health.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = vec![
        "pid",
        "uptime",
        "uptime_sec",
        "time",
        "unixtime",
        "status_code_count",
        "total_status_code_count",
        "count",
        "total_count",
        "total_response_time",
        "total_response_time_sec",
        "average_response_time",
        "average_response_time_sec",
        "recent_errors",
    ];
    expected.sort_unstable();
    assert_eq!(names, expected);
    assert_eq!(health["pid"], rig.child.id());
    assert_eq!(
        health["total_status_code_count"],
        json!({"201": 12, "404": 12, "503": 12})
    );
    assert_eq!(health["total_count"], 36);
    let errors = health["recent_errors"].as_array().unwrap();
    assert_eq!(errors.len(), 10);
    let mut error = errors[0].clone();
    let time = error.as_object_mut().unwrap().remove("time").unwrap();
    assert!(time.as_str().unwrap().ends_with('Z'), "{time}");
    assert_eq!(
        error,
        json!({
            "status_code": 503, "status": "Service Unavailable", "method": "GET", "host": "www.yolo.org", "path": "/foo",
        })
    );
    // What comes is counted by second: somebody who looks sees it once.
    eventually("a second's requests are seen", || {
        get_host("www.example.com");
        let health = ask(&rig, "/health");
        let count = health["status_code_count"]["201"].as_u64()?;
        (health["count"].as_u64()? >= count && count > 0).then_some(())
    });
}

#[test]
fn version_ping_and_leader_answer() {
    let rig = walkthrough();
    let version = ask(&rig, "/api/version");
    assert_eq!(version["Version"], format!("v{}", env!("CARGO_PKG_VERSION")));
    assert_eq!(version["Codename"], "narthex");
    assert!(version["startDate"].as_str().unwrap().ends_with('Z'), "{version}");
    assert_eq!(ask(&rig, "/cluster/leader"), json!({"leader": true}));
    let mut client = Client::connect(rig.admin);
    client.send("HEAD /ping HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.answer_to("HEAD").unwrap().status, 200);
    client.send("HEAD /api HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.answer_to("HEAD").unwrap().status, 200);
    client.send("DELETE /api/providers HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(client.answer().status, 405);
}
