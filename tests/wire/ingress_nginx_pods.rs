//! Which pods get requests of Ingresses of ingress-nginx: subsets, other tries, cookies.

use crate::backend_tls::{NAME, TlsPod, pod_of};
use crate::ingress_nginx::nginx;
use crate::native::problems;
use crate::rig::{Pod, Reply, Rig, service_with, slice};
use crate::tls_rig::make;

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

#[test]
fn pods_are_offered_the_versions_and_suites_that_are_named() {
    let made = make(&[NAME]);
    let (tls12, tls13) = (&[&rustls::version::TLS12][..], &[&rustls::version::TLS13][..]);
    let pods = [
        ("old", TlsPod::start(pod_of(&made, tls12, ""))),
        ("new", TlsPod::start(pod_of(&made, tls13, ""))),
        ("chacha", TlsPod::start(pod_of(&made, tls12, "CHACHA20"))),
    ];
    let versions = |text| ("proxy-ssl-protocols", text);
    let suites = |text| ("proxy-ssl-ciphers", text);
    // What of three pods each can be asked, and what is said of it.
    let cases = [
        ("plain", vec![], [true, true, true], ""),
        (
            "only12",
            vec![versions("TLSv1 TLSv1.2")],
            [true, false, true],
            "narthex has no version of TLS named TLSv1,",
        ),
        ("only13", vec![versions("TLSv1.3")], [false, true, false], ""),
        ("both", vec![versions("TLSv1.2 TLSv1.3")], [true, true, true], ""),
        (
            "gone",
            vec![versions("SSLv3")],
            [true, true, true],
            "names no version of TLS that narthex has",
        ),
        (
            "aes",
            vec![suites("AES128-SHA:ECDHE-ECDSA-AES128-GCM-SHA256")],
            [true, true, false],
            "narthex has no cipher suite of TLS 1.2 named AES128-SHA,",
        ),
        ("suite", vec![suites("HIGH:!AES")], [true, true, true], ""),
        (
            "rc4",
            vec![suites("RC4-SHA")],
            [true, true, true],
            "names no cipher suite",
        ),
    ];
    let rig = Rig::with(0, &["--drop-in", "ingress-nginx"], |_| {
        let services = pods.iter().map(|(name, pod)| {
            let service = format!(
                "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: [{{port: 80}}]}}\n---\n"
            );
            service + &slice(name, pod.address, name)
        });
        let ingresses = cases.iter().flat_map(|(case, annotations, ..)| {
            pods.iter().map(move |(pod, _)| {
                let mut all = vec![("backend-protocol", "HTTPS")];
                all.extend(annotations.iter().copied());
                nginx(&format!("{case}.{pod}"), &all, ALL).replace("name: web", &format!("name: {pod}"))
            })
        });
        services.chain(ingresses).collect()
    });
    for (case, _, asked, said) in &cases {
        for ((pod, _), asked) in pods.iter().zip(asked) {
            let host = format!("{case}.{pod}");
            let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let status = rig.client().send(request).answer().status;
            assert_eq!(status, if *asked { 200 } else { 502 }, "{host}");
            let found = problems(&rig, &host);
            assert!(found.contains(said), "{host}: {found}");
            assert_eq!(found.contains("InvalidAnnotation"), !said.is_empty(), "{host}: {found}");
        }
    }
}
