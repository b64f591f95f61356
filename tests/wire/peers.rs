//! `?scope=cluster`: one question to several narthexes, some of which do not answer.

use crate::admin::ask;
use crate::rig::{Client, Pod, Rig, eventually, get, ingress, service, service_with, slice};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::net::SocketAddr;

fn nodes(rig: &Rig, path: &str) -> Vec<Value> {
    let said = ask(rig, path);
    assert_eq!(said.as_object().unwrap().len(), 1, "{said}");
    said["nodes"].as_array().unwrap().clone()
}

fn signal(rig: &Rig, signal: Signal) {
    kill_process(Pid::from_child(&rig.child), signal).unwrap();
}

/// Three narthexes, each of which knows all three by the slices of their Service.
fn three() -> Vec<Rig> {
    let rigs: Vec<Rig> = (0..3)
        .map(|index| {
            let pod = format!("n{index}");
            Rig::new(1, &["--pod", &pod, "--admin-service", "default/narthex"])
        })
        .collect();
    let mut members = service("narthex", &[]);
    for (index, rig) in rigs.iter().enumerate() {
        members += &slice("narthex", rig.admin, &format!("n{index}"));
    }
    for rig in &rigs {
        std::fs::write(rig.manifest("members.yaml"), &members).unwrap();
    }
    for rig in &rigs {
        eventually("all are known", || {
            (nodes(rig, "/api/v1/version?scope=cluster").len() == 3).then_some(())
        });
    }
    rigs
}

#[test]
fn a_stopped_peer_is_shown_as_silent_and_hides_no_other() {
    let mut rigs = three();
    let path = "/api/v1/routes?q=a.test&scope=cluster&per_page=1";
    let said = nodes(&rigs[1], path);
    assert_eq!(
        (&said[0]["pod"], &said[0]["address"]),
        (&json!("n1"), &json!(rigs[1].admin.to_string()))
    );
    let mut pods: Vec<&str> = said.iter().map(|node| node["pod"].as_str().unwrap()).collect();
    pods.sort_unstable();
    assert_eq!(pods, ["n0", "n1", "n2"]);
    for node in &said {
        assert_eq!(
            (&node["silent"], node.get("error"), &node["answer"]["total"]),
            (&json!(false), None, &json!(1))
        );
        // Not what all say: they were asked for themselves alone.
        assert_eq!(node["answer"]["items"][0]["host"], "a.test");
    }
    signal(&rigs[0], Signal::STOP);
    let said = nodes(&rigs[1], path);
    let silent: Vec<&Value> = said.iter().filter(|node| node["silent"] == true).collect();
    assert_eq!(
        silent,
        [&json!({
            "pod": "n0", "address": rigs[0].admin.to_string(), "silent": true, "error": "no answer within 2 s",
        })]
    );
    let answers = said.iter().filter(|node| node["answer"]["total"] == 1);
    assert_eq!(answers.count(), 2);
    signal(&rigs[0], Signal::CONT);
    assert!(nodes(&rigs[1], path).iter().all(|node| node["silent"] == false));
    // One that is gone says so at once.
    let gone = rigs.remove(2).admin;
    let said = nodes(&rigs[1], path);
    let node = said.iter().find(|node| node["silent"] == true).unwrap();
    assert_eq!(node["address"], gone.to_string());
    assert!(
        node["error"].as_str().unwrap().starts_with("cannot be reached: "),
        "{node}"
    );
}

#[test]
fn what_is_asked_of_all_is_asked_once() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "s3cret").unwrap();
    // Something that is no narthex records what it is asked, and answers nonsense.
    let stranger = Pod::start();
    let (other, token) = (Rig::new(1, &["--pod", "other"]), token.to_str().unwrap());
    let peers = format!("{},{}", stranger.address, other.admin);
    let rig = Rig::new(1, &["--pod", "one", "--peers", &peers, "--admin-token-file", token]);
    let ask = |path: &str, fields: &str| {
        let mut client = Client::connect(rig.admin);
        let token = "Authorization: Bearer s3cret\r\n";
        client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n{token}{fields}\r\n"));
        let answer = client.answer();
        (answer.status, String::from_utf8(answer.body).unwrap())
    };
    let (status, said) = ask("/api/v1/hosts?scope=cluster&sort=-rate", "Cookie: private=1\r\n");
    assert_eq!(status, 200);
    let said: Value = serde_json::from_str(&said).unwrap();
    let by_address = |address: SocketAddr| {
        let mut nodes = said["nodes"].as_array().unwrap().iter();
        nodes.find(|node| node["address"] == address.to_string()).unwrap()
    };
    assert_eq!(by_address(other.admin)["pod"], "other");
    assert_eq!(by_address(other.admin)["answer"]["total"], 1);
    let nonsense = by_address(stranger.address);
    assert_eq!(
        (&nonsense["silent"], &nonsense["error"]),
        (&json!(false), &json!("200, and not in JSON"))
    );
    let got = stranger.requests();
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].line(), "GET /api/v1/hosts?sort=-rate HTTP/1.1");
    assert_eq!(got[0].field("narthex-scope"), ["node"]);
    assert_eq!(got[0].field("authorization"), ["Bearer s3cret"]);
    assert!(
        got[0].field("cookie").is_empty(),
        "what a browser says is not passed on"
    );
    // What a peer passes on goes no further, whatever it says.
    let (status, said) = ask("/api/v1/version?scope=cluster", "Narthex-Scope: node\r\n");
    assert!(
        status == 200 && said.contains("\"pod\": \"one\"") && !said.contains("nodes"),
        "{said}"
    );
    // A question that is wrong is wrong everywhere, and one that nobody may ask is passed on to nobody.
    for (path, status) in [
        ("/api/v1/routes?page=0&scope=cluster", 400),
        ("/api/v1/routes?scope=all", 400),
        ("/api/v1/nothing?scope=cluster", 404),
        ("/api/v1/stream?scope=cluster", 400),
    ] {
        assert_eq!(ask(path, "").0, status, "{path}");
    }
    assert_eq!(get(rig.admin, "/api/v1/hosts?scope=cluster").0, 401);
    assert_eq!(stranger.requests().len(), 1);
}

#[test]
fn who_has_something_else_says_so_for_itself() {
    let other = Rig::with(1, &["--pod", "other"], |pods| {
        service_with("web", pods, "") + &ingress("only", "only.test", "/", "web", "")
    });
    let rig = Rig::new(1, &["--pod", "one", "--peers", &other.admin.to_string()]);
    let id = ask(&other, "/api/v1/routes?q=only.test")["items"][0]["id"].clone();
    let said = nodes(&rig, &format!("/api/v1/routes/{}?scope=cluster", id.as_str().unwrap()));
    assert!(
        said[0]["error"].as_str().unwrap().starts_with("404: no route"),
        "{said:?}"
    );
    assert_eq!(said[1]["answer"]["host"], "only.test");
}
