//! Which pods get requests of Ingresses of ingress-nginx: subsets, other tries, cookies.

use crate::ingress_nginx::nginx;
use crate::rig::{Pod, Reply, Rig, service_with};

const ALL: &[(&str, &str)] = &[("Prefix", "/")];

fn rig(pods: usize, annotations: &[(&str, &str)]) -> Rig {
    Rig::with(pods, &["--drop-in", "ingress-nginx"], |pods: &[Pod]| {
        service_with("web", pods, "") + &nginx("a.test", annotations, ALL)
    })
}

fn counts(rig: &Rig) -> Vec<usize> {
    rig.pods.iter().map(|pod| pod.requests().len()).collect()
}

#[test]
fn a_key_has_some_of_the_pods() {
    let subset = [
        ("upstream-hash-by", "$http_x_key"),
        ("upstream-hash-by-subset", "true"),
        ("upstream-hash-by-subset-size", "2"),
    ];
    let rig = rig(5, &subset);
    for _ in 0..60 {
        let request = "GET / HTTP/1.1\r\nHost: a.test\r\nX-Key: k\r\n\r\n";
        assert_eq!(rig.client().send(request).answer().status, 200);
    }
    let got = counts(&rig);
    let used = got.iter().filter(|count| **count > 0).count();
    assert_eq!((used, got.iter().sum::<usize>()), (2, 60), "{got:?}");
}

#[test]
fn another_pod_is_tried_for_statuses_that_are_named() {
    let rig = rig(2, &[("proxy-next-upstream", "http_404 http_403")]);
    rig.pod()
        .answers(Reply::text("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"));
    for _ in 0..10 {
        let answer = rig.client().send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").answer();
        assert_eq!(answer.status, 200);
    }
    assert!(!rig.pod().requests().is_empty(), "it was asked too");
}

#[test]
fn browsers_that_misread_same_site_get_none() {
    let cookie = [
        ("affinity", "cookie"),
        ("session-cookie-samesite", "None"),
        ("session-cookie-conditional-samesite-none", "true"),
        ("session-cookie-change-on-failure", "false"),
    ];
    let rig = rig(2, &cookie);
    for (agent, said) in [("Chrome/66.0", false), ("Chrome/100.0", true)] {
        let request = format!("GET / HTTP/1.1\r\nHost: a.test\r\nUser-Agent: {agent}\r\n\r\n");
        let answer = rig.client().send(request).answer();
        let cookie = answer.field("set-cookie").unwrap_or_default();
        assert!(cookie.starts_with("INGRESSCOOKIE="), "{cookie}");
        assert_eq!(cookie.contains("SameSite=None"), said, "{agent}: {cookie}");
    }
}
