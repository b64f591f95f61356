//! The admin API: what the table holds, what passes, what failed, what changed.

use crate::rig::{Client, Reply, Rig, eventually, get, ingress, service_with};
use serde_json::Value;

const GET: &str = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

pub fn ask(rig: &Rig, path: &str) -> Value {
    let (status, said) = get(rig.admin, path);
    assert_eq!(status, 200, "{path}: {said}");
    let (_, body) = said.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap()
}

fn many() -> Rig {
    Rig::with(1, &[], |pods| {
        let mut world = service_with("web", pods, "narthex.io/eject-after: \"2\"");
        for index in 0..25 {
            world += &ingress(&format!("i{index:02}"), &format!("h{index:02}.test"), "/", "web", "");
        }
        world + &ingress("web", "a.test", "/", "web", "") + &ingress("gone", "gone.test", "/", "nowhere", "")
    })
}

#[test]
fn lists_are_searched_sorted_and_paged() {
    let rig = many();
    let page = ask(&rig, "/api/v1/routes?per_page=10&page=3");
    assert_eq!((&page["total"], &page["page"]), (&Value::from(27), &Value::from(3)));
    assert_eq!(page["items"].as_array().unwrap().len(), 7);
    let found = ask(&rig, "/api/v1/routes?q=h07.TEST%20web");
    assert_eq!(found["total"], 1);
    assert_eq!(found["items"][0]["object"], "Ingress default/i07");
    assert_eq!(found["items"][0]["endpoints"][0]["pod"], "p0");
    let broken = ask(&rig, "/api/v1/routes?status=error");
    assert_eq!(broken["total"], 1);
    assert_eq!(broken["items"][0]["host"], "gone.test");
    assert_eq!(broken["items"][0]["state"], "no such Service");
    assert_eq!(ask(&rig, "/api/v1/routes?namespace=other")["total"], 0);
    let last = ask(&rig, "/api/v1/hosts?sort=-host&per_page=1");
    assert_eq!(last["items"][0]["host"], "h24.test");
    assert_eq!(ask(&rig, "/api/v1/backends?q=nowhere")["total"], 1);
    assert_eq!(ask(&rig, "/api/v1/endpoints")["total"], 1);
    assert_eq!(ask(&rig, "/api/v1/config")["shards"], "0");
    for (path, word) in [
        ("/api/v1/routes?page=0", "page=0"),
        ("/api/v1/routes?per_page=x", "per_page=x"),
        ("/api/v1/routes?status=bad", "status=bad"),
        ("/api/v1/routes?sort=bad", "sort=bad"),
        ("/api/v1/hosts?sort=bad", "sort=bad"),
        ("/api/v1/routes/x", "\\\"x\\\""),
    ] {
        let (status, said) = get(rig.admin, path);
        assert!(status == 400 && said.contains(word), "{path}: {status} {said}");
    }
    for path in ["/api/v1/routes/0000000000000000", "/api/v1/nothing"] {
        assert_eq!(get(rig.admin, path).0, 404, "{path}");
    }
}

#[test]
fn what_passes_and_what_fails_is_counted_by_route_and_pod() {
    let rig = many();
    for _ in 0..5 {
        assert_eq!(rig.client().send(GET).answer().status, 200);
    }
    rig.pod()
        .answers(Reply::text("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"));
    for _ in 0..3 {
        assert_eq!(rig.client().send(GET).answer().status, 500);
    }
    let route = eventually("the numbers are there", || {
        let found = ask(&rig, "/api/v1/routes?q=a.test");
        let route = found["items"][0].clone();
        (route["traffic"]["requests"] == 8).then_some(route)
    });
    assert_eq!(
        (&route["traffic"]["codes"]["2xx"], &route["traffic"]["codes"]["5xx"]),
        (&5.into(), &3.into())
    );
    assert_eq!(route["endpoints"][0]["requests"], 8);
    assert_eq!(route["endpoints"][0]["failures"], 3);
    assert!(route["traffic"]["p50_ms"].as_f64().unwrap() > 0.0);
    let detail = ask(&rig, &format!("/api/v1/routes/{}", route["id"].as_str().unwrap()));
    assert_eq!(detail["recent_errors"].as_array().unwrap().len(), 3);
    let error = &detail["recent_errors"][0];
    assert_eq!(
        (&error["status"], &error["reason"]),
        (&500.into(), &"pod_answered".into())
    );
    assert_eq!(
        (&error["host"], &error["path"], &error["method"]),
        (&"a.test".into(), &"/".into(), &"GET".into())
    );
    assert_eq!(detail["settings"]["eject_after"], "2");
    let mut client = rig.client();
    client.send("GET /x HTTP/1.1\r\nHost: gone.test\r\n\r\n");
    assert_eq!(client.answer().status, 503);
    let errors = ask(&rig, "/api/v1/errors");
    assert_eq!(errors[0]["host"], "gone.test");
    assert_eq!(errors[0]["origin"], "Ingress default/gone spec.rules[0].http.paths[0]");
    let overview = ask(&rig, "/api/v1/overview");
    assert_eq!(
        (&overview["counts"]["routes"], &overview["counts"]["endpoints"]),
        (&27.into(), &1.into())
    );
}

#[test]
fn changes_are_told_and_streamed() {
    let rig = Rig::new(2, &[]);
    let mut listener = Client::connect(rig.admin);
    listener.send("GET /api/v1/stream HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut seen = String::new();
    let mut hear = |word: &str| {
        while !seen.contains(word) {
            seen += &String::from_utf8(listener.bytes(1)).unwrap();
        }
    };
    hear("event: tick\ndata: {\"at\":");
    std::fs::write(
        rig.manifest("more.yaml"),
        ingress("more", "more.test", "/new", "web", ""),
    )
    .unwrap();
    hear("event: change\ndata: {");
    hear("more.test/new");
    let changes = ask(&rig, "/api/v1/changes");
    let newest = &changes["items"][0];
    assert_eq!(newest["added"], serde_json::json!(["more.test/new"]));
    assert!(newest["objects"].to_string().contains("Ingress default/more"));
    assert!(newest["live_ms"].as_f64().unwrap() > 0.0);
    std::fs::remove_file(rig.manifest("more.yaml")).unwrap();
    eventually("it is gone", || {
        let changes = ask(&rig, "/api/v1/changes");
        (changes["items"][0]["removed"] == serde_json::json!(["more.test/new"])).then_some(())
    });
}

#[test]
fn who_has_an_answer_already_is_not_sent_it_again() {
    let rig = Rig::new(1, &[]);
    let mut client = Client::connect(rig.admin);
    let first = client.send("GET /api/v1/hosts HTTP/1.1\r\nHost: x\r\n\r\n").answer();
    let tag = first.field("etag").unwrap().to_owned();
    client.send(format!(
        "GET /api/v1/hosts HTTP/1.1\r\nHost: x\r\nIf-None-Match: {tag}\r\n\r\n"
    ));
    let second = client.answer();
    assert_eq!((second.status, second.body.len()), (304, 0));
    client.send("GET /api/v1/hosts HTTP/1.1\r\nHost: x\r\nIf-None-Match: \"other\"\r\n\r\n");
    assert_eq!(client.answer().status, 200);
}

#[test]
fn a_route_shows_where_and_how_it_is_written() {
    let rig = Rig::new(1, &[]);
    let id = ask(&rig, "/api/v1/routes?q=a.test")["items"][0]["id"].clone();
    let source = || ask(&rig, &format!("/api/v1/routes/{}", id.as_str().unwrap()))["source"].clone();
    let file = rig.manifest("all.yaml");
    let all = std::fs::read_to_string(&file).unwrap();
    let line = all.lines().position(|line| line.contains("kind: Ingress")).unwrap();
    let shown = source();
    assert_eq!(shown["location"], format!("{}:{line}:1", file.display()));
    let written = ingress("web", "a.test", "/", "web", "").replace("---\n", "");
    assert_eq!((&shown["yaml"], &shown["reason"]), (&written.into(), &Value::Null));
    // Its place moves with it.
    std::fs::write(&file, format!("# more\n# lines\n{all}")).unwrap();
    eventually("its place is known", || {
        let moved = source();
        (moved["location"] == format!("{}:{}:1", file.display(), line + 2) && moved["yaml"].is_string()).then_some(())
    });
}
