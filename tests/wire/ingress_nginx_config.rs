//! The ConfigMap of ingress-nginx: what it says holds where an Ingress says nothing, and is followed while narthex runs.

use crate::ingress_nginx::{ask, nginx, rig};
use crate::rig::{Reply, eventually, service_with};
use std::process::Command;

const ALL: &[(&str, &str)] = &[("Prefix", "/")];
pub const FLAGS: &[&str] = &["--nginx-configmap", "ingress-nginx/controller"];

pub fn config_map(namespace: &str, name: &str, data: &[(&str, &str)]) -> String {
    let data: Vec<String> = data.iter().map(|(key, value)| format!("{key}: {value}")).collect();
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: {namespace}}}\ndata: {{{}}}\n---\n",
        data.join(", ")
    )
}

pub fn global(data: &[(&str, &str)]) -> String {
    config_map("ingress-nginx", "controller", data)
}

#[test]
fn what_it_says_holds_where_an_ingress_says_nothing() {
    let rig = rig(FLAGS, || {
        global(&[
            ("proxy-body-size", "'8'"),
            ("hide-headers", "X-Pod,X-Other"),
            ("add-headers", "ingress-nginx/added"),
            ("proxy-set-headers", "ingress-nginx/sent"),
            ("proxy-add-original-uri-header", "'true'"),
            ("force-ssl-redirect", "'false'"),
            ("denylist-source-range", "192.0.2.0/24"),
            ("global-allowed-response-headers", "'X-Custom, X-More'"),
            ("hsts-max-age", "many"),
            ("proxy-read-timeout", "30"),
        ]) + &config_map("ingress-nginx", "added", &[("X-Added", "$host")])
            + &config_map("ingress-nginx", "sent", &[("X-Sent", "$scheme")])
            + &config_map("default", "custom", &[("X-Custom", "a$b")])
            + &config_map("default", "more", &[("X-Forbidden", "1")])
            + &nginx("a.test", &[], ALL)
            + &nginx("own.test", &[("proxy-body-size", "1m")], ALL)
            + &nginx("denied.test", &[("denylist-source-range", "127.0.0.1")], ALL)
            + &nginx("custom.test", &[("custom-headers", "default/custom")], ALL)
            + &nginx("forbidden.test", &[("custom-headers", "more")], ALL)
            + &nginx("missing.test", &[("custom-headers", "none")], ALL)
            + &nginx("native.test", &[], ALL).replace("ingressClassName: nginx", "ingressClassName: narthex")
    });
    rig.pod().answers(Reply::text(
        "HTTP/1.1 200 OK\r\nX-Pod: 1\r\nX-Kept: 1\r\ncontent-length: 0\r\n\r\n",
    ));
    let answer = ask(&rig, "GET", "a.test", "/x?y", &[]);
    for (name, value) in [
        ("x-pod", None),
        ("x-kept", Some("1")),
        ("x-added", Some("a.test")),
        ("x-custom", None),
    ] {
        assert_eq!(answer.field(name), value, "{name}: {}", answer.head);
    }
    let got = rig.pod().last();
    assert_eq!(got.field("x-sent"), ["http"]);
    assert_eq!(got.field("x-original-uri"), ["/x?y"]);
    let long = [("Content-Length", "9")];
    assert_eq!(ask(&rig, "POST", "a.test", "/", &long).status, 413);
    assert_eq!(ask(&rig, "GET", "denied.test", "/", &[]).status, 403);
    let answer = ask(&rig, "GET", "custom.test", "/", &[]);
    assert_eq!(answer.field("x-custom"), Some("a$b"), "a dollar is a dollar");
    for host in ["forbidden.test", "missing.test"] {
        assert_eq!(ask(&rig, "GET", host, "/", &[]).status, 503, "{host}");
    }
    let answer = ask(&rig, "GET", "native.test", "/", &[]);
    assert_eq!((answer.field("x-pod"), answer.field("x-added")), (Some("1"), None));
    let mut client = rig.client();
    let answer = client
        .send("POST / HTTP/1.1\r\nHost: own.test\r\nContent-Length: 9\r\n\r\n123456789")
        .answer();
    assert_eq!(answer.status, 200);
}

#[test]
fn it_is_followed_and_what_is_wrong_in_it_is_said() {
    let manifests = |rig: &crate::rig::Rig, data: &[(&str, &str)]| {
        service_with("web", &rig.pods, "") + &global(data) + &nginx("a.test", &[], ALL) + &nginx("b.test", &[], ALL)
    };
    let rig = rig(FLAGS, || {
        global(&[("proxy-body-size", "'8'")]) + &nginx("a.test", &[], ALL) + &nginx("b.test", &[], ALL)
    });
    let status = |length: usize| {
        let request = format!("POST / HTTP/1.1\r\nHost: b.test\r\nContent-Length: {length}\r\n\r\n");
        let mut client = rig.client();
        client.send(request).send(vec![b'x'; length]).answer().status
    };
    assert_eq!((status(8), status(9)), (200, 413));
    let write = |data: &[(&str, &str)]| std::fs::write(rig.manifest("all.yaml"), manifests(&rig, data)).unwrap();
    write(&[("proxy-body-size", "'16'")]);
    eventually("the new size holds", || (status(9) == 200).then_some(()));
    assert_eq!(status(17), 413);
    // A value that is no text costs no other, and the usual size holds again.
    write(&[
        ("proxy-body-size", "32"),
        ("whitelist-source-range", "10.0.0.0/8"),
        ("use-gzip", "'true'"),
    ]);
    eventually("the list holds", || (status(1) == 403).then_some(()));
    // One that cannot be read lets nobody in.
    write(&[("whitelist-source-range", "10.0.0.0/33")]);
    eventually("the routes are closed", || (status(1) == 503).then_some(()));
    // Without it the defaults of ingress-nginx hold.
    let without = service_with("web", &rig.pods, "") + &nginx("b.test", &[], ALL);
    std::fs::write(rig.manifest("all.yaml"), without).unwrap();
    eventually("the defaults hold", || (status(17) == 200).then_some(()));
}

#[test]
fn check_says_each_key_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.yaml");
    let text = global(&[
        ("proxy-body-size", "32"),
        ("hsts-max-age", "many"),
        ("use-forwarded-headers", "'true'"),
        ("worker-processes", "'4'"),
    ]) + &nginx("a.test", &[], ALL)
        + &nginx("b.test", &[], ALL);
    std::fs::write(&file, text).unwrap();
    let out = Command::new(env!("CARGO_BIN_EXE_narthex"))
        .args(["check", "--drop-in", "ingress-nginx"])
        .args(FLAGS)
        .arg(&file)
        .output()
        .unwrap();
    let said = String::from_utf8(out.stdout).unwrap() + &String::from_utf8(out.stderr).unwrap();
    for (key, count) in [
        ("data.proxy-body-size", 1),
        ("data.hsts-max-age", 1),
        ("data.use-forwarded-headers", 1),
        ("--trusted-proxies", 1),
        ("worker-processes", 0),
    ] {
        assert_eq!(said.matches(key).count(), count, "{key}: {said}");
    }
}
