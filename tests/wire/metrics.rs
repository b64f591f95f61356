//! `/metrics`: what is counted, by rule and endpoint, in either format, and bounded.

use crate::rig::{Client, Rig, eventually, get, ingress, service};
use std::io::{Read, Write};
use std::net::TcpStream;

fn ask(rig: &Rig, host: &str, path: &str) -> u16 {
    let mut client = rig.client();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    client.answer().status
}

/// The value of a line.
fn value(text: &str, line: &str) -> Option<f64> {
    text.lines().find_map(|one| one.strip_prefix(line)?.trim().parse().ok())
}

#[test]
fn rules_and_endpoints_are_counted_apart() {
    let rig = Rig::with(1, &["--shards", "2"], |pods| {
        service("web", &[(pods[0].address, "web-1")])
            + &ingress("shop", "a.test", "/", "web", "")
            + &ingress("gone", "gone.test", "/", "nowhere", "")
    });
    for _ in 0..3 {
        assert_eq!(ask(&rig, "a.test", "/"), 200);
    }
    assert_eq!(ask(&rig, "gone.test", "/"), 503);
    assert_eq!(ask(&rig, "nobody.test", "/"), 404);
    let shop = r#"{namespace="default",ingress="shop",service="web""#;
    let all = eventually("all are counted", || {
        let text = get(rig.admin, "/metrics").1;
        let line = format!("narthex_route_requests_total{shop},code=\"2xx\",protocol=\"http/1\"}}");
        (value(&text, &line) == Some(3.0)).then_some(text)
    });
    let duration = format!("narthex_route_request_duration_seconds_count{shop}}}");
    assert_eq!(value(&all, &duration), Some(3.0), "{all}");
    let gone = r#"narthex_route_requests_total{namespace="default",ingress="gone",service="nowhere",code="5xx",protocol="http/1"}"#;
    assert_eq!(value(&all, gone), Some(1.0), "{all}");
    let other =
        r#"narthex_route_requests_total{namespace="",ingress="(other)",service="",code="4xx",protocol="http/1"}"#;
    assert_eq!(value(&all, other), Some(1.0), "what has no rule");
    let endpoint = format!(
        r#"narthex_endpoint_requests_total{{namespace="default",service="web",port="80",pod="web-1",address="{}"}}"#,
        rig.pod().address
    );
    assert_eq!(value(&all, &endpoint), Some(3.0), "{all}");
    for (line, least) in [
        ("narthex_table_routes", 2.0),
        ("narthex_ready", 1.0),
        (
            concat!("narthex_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}"),
            1.0,
        ),
        ("process_resident_memory_bytes", 1e6),
        ("process_open_fds", 10.0),
        ("narthex_change_duration_seconds_count", 1.0),
        ("narthex_responses_total{code=\"404\"}", 1.0),
        (
            "narthex_requests_failed_total{reason=\"no_route\",side=\"client\"}",
            1.0,
        ),
        (
            "narthex_requests_failed_total{reason=\"no_backend\",side=\"upstream\"}",
            1.0,
        ),
        ("narthex_pod_connections", 1.0),
    ] {
        assert!(value(&all, line).is_some_and(|value| value >= least), "{line}\n{all}");
    }
    let kept = format!(
        r#"narthex_endpoint_pooled_connections{{namespace="default",service="web",port="80",pod="web-1",address="{}"}}"#,
        rig.pod().address
    );
    eventually("its connections are counted by the next tick", || {
        value(&get(rig.admin, "/metrics").1, &kept).filter(|kept| *kept >= 1.0)
    });
    assert!(
        all.contains("# TYPE narthex_route_requests_total counter"),
        "the older format"
    );
    assert!(!all.contains("# EOF"));
}

#[test]
fn an_empty_list_of_labels_leaves_only_totals() {
    let rig = Rig::with(1, &["--metrics-labels="], |pods| {
        service("web", &[(pods[0].address, "p")]) + &ingress("shop", "shop.test", "/", "web", "")
    });
    assert_eq!(ask(&rig, "shop.test", "/"), 200);
    let text = get(rig.admin, "/metrics").1;
    assert!(
        value(&text, "narthex_ready").is_some() && !text.contains("{namespace="),
        "{text}"
    );
}

#[test]
fn openmetrics_is_spoken_to_those_who_ask_for_it() {
    let rig = Rig::new(1, &[]);
    let mut stream = TcpStream::connect(rig.admin).unwrap();
    let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2";
    write!(
        stream,
        "GET /metrics HTTP/1.0\r\nHost: {}\r\nAccept: {accept}\r\n\r\n",
        rig.admin
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(
        answer.contains("content-type: application/openmetrics-text"),
        "{answer}"
    );
    assert!(answer.contains("# TYPE narthex_requests counter"), "{answer}");
    assert!(answer.ends_with("# EOF\n"), "{answer}");
}

#[test]
fn row_42_no_client_and_no_number_of_rules_makes_series_without_end() {
    let rig = Rig::with(1, &["--metrics-series", "10"], |pods| {
        let mut all = service("web", &[(pods[0].address, "p")]);
        for index in 0..50 {
            all += &ingress(&format!("i{index}"), &format!("h{index}.test"), "/", "web", "");
        }
        all
    });
    let lines = || get(rig.admin, "/metrics").1.lines().count();
    for index in 0..50 {
        assert_eq!(ask(&rig, &format!("h{index}.test"), "/"), 200);
    }
    let before = eventually("all are counted", || (rig.counter("requests_total") >= 50).then(lines));
    // Hosts, methods and paths of a client's own invention.
    for index in 0..500 {
        let mut client = Client::connect(rig.http);
        client.send(format!("M{index} /{index} HTTP/1.1\r\nHost: x{index}.test\r\n\r\n"));
        assert_eq!(client.answer().status, 404);
    }
    let after = lines();
    assert!(after <= before + 20, "{before} lines, then {after}");
    let text = get(rig.admin, "/metrics").1;
    let apart = text
        .lines()
        .filter(|line| line.starts_with("narthex_route_retries_total{"))
        .count();
    assert_eq!(apart, 11, "ten, and the others together");
}

#[test]
fn routes_are_not_counted_where_that_is_not_wanted() {
    let rig = Rig::with(1, &["--count-routes=false"], |pods| {
        service("web", &[(pods[0].address, "web-1")]) + &ingress("shop", "a.test", "/", "web", "")
    });
    for _ in 0..3 {
        assert_eq!(ask(&rig, "a.test", "/"), 200);
    }
    let text = eventually("the whole is counted", || {
        let text = get(rig.admin, "/metrics").1;
        (value(&text, "narthex_responses_total{code=\"200\"}") == Some(3.0)).then_some(text)
    });
    let by_route = text
        .lines()
        .filter(|line| line.starts_with("narthex_route_requests_total{"));
    assert_eq!(by_route.count(), 0, "{text}");
}
