//! Routes of OpenShift, from manifests: hosts, paths, Services and their weights.

use crate::rig::{Answer, Rig, eventually, service_with};

/// A Route of a namespace with what stands in its spec.
pub fn route(namespace: &str, name: &str, age: u32, spec: &str) -> String {
    annotated(namespace, name, age, &[], spec)
}

/// The same with annotations.
pub fn annotated(namespace: &str, name: &str, age: u32, annotations: &[(&str, &str)], spec: &str) -> String {
    let annotations: String = annotations
        .iter()
        .map(|(name, value)| format!("    {name}: {value:?}\n"))
        .collect();
    format!(
        "apiVersion: route.openshift.io/v1\nkind: Route\nmetadata:\n  name: {name}\n  namespace: {namespace}\n  \
         creationTimestamp: \"2026-01-01T00:00:{:02}Z\"\n  annotations:\n    a.test/b: c\n{annotations}spec:\n{spec}\n---\n",
        60 - age
    )
}

/// What leads to the Service `web`.
pub fn to_web(more: &str) -> String {
    format!("  {more}\n  to: {{kind: Service, name: web}}")
}

pub fn ask(rig: &Rig, host: &str, path: &str) -> Answer {
    ask_with(rig, host, path, "")
}

pub fn ask_with(rig: &Rig, host: &str, path: &str, fields: &str) -> Answer {
    let mut client = rig.client();
    client
        .send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"))
        .answer()
}

pub const FLAGS: &[&str] = &["--drop-in", "openshift"];

/// Manifests of the namespace `default`, in another one.
pub fn within(namespace: &str, manifests: &str) -> String {
    manifests.replace("metadata: {name", &format!("metadata: {{namespace: {namespace}, name"))
}

/// Which pod answers.
pub fn answering(rig: &Rig, host: &str, path: &str) -> Option<usize> {
    let before: Vec<usize> = rig.pods.iter().map(|pod| pod.requests().len()).collect();
    if ask(rig, host, path).status != 200 {
        return None;
    }
    (0..rig.pods.len()).find(|pod| rig.pods[*pod].requests().len() > before[*pod])
}

#[test]
fn a_route_leads_to_the_pods_of_its_service() {
    let flags = [FLAGS, &["--route-domain", "Apps.test"]].concat();
    let rig = Rig::with(1, &flags, |pods| {
        service_with("web", pods, "")
            + &route("default", "whole", 1, &to_web("host: A.test"))
            + &route("default", "part", 1, &to_web("host: b.test\n  path: /x"))
            + &route("default", "below", 1, &to_web("host: c.test\n  path: /x/"))
            + &route("default", "named", 1, &to_web("subdomain: shop"))
            + &route("default", "bare", 1, &to_web("path: /"))
    });
    for (host, path, status) in [
        ("a.test", "/any/path", 200),
        ("b.test", "/x", 200),
        ("b.test", "/x/", 200),
        ("b.test", "/x/y", 200),
        ("b.test", "/xy", 503),
        ("b.test", "/", 503),
        ("c.test", "/x", 503),
        ("c.test", "/x/", 200),
        ("c.test", "/x/y", 200),
        ("shop.apps.test", "/", 200),
        ("bare-default.apps.test", "/", 200),
        ("d.test", "/", 404),
    ] {
        assert_eq!(ask(&rig, host, path).status, status, "{host}{path}");
    }
}

#[test]
fn the_longest_path_wins_whatever_it_ends_in() {
    let rig = Rig::with(3, FLAGS, |pods| {
        let service = |name: &str, pod: usize| service_with(name, &pods[pod..=pod], "");
        let to = |path: &str, name: &str| format!("  host: a.test\n  path: {path}\n  to: {{name: {name}}}");
        service("s0", 0)
            + &service("s1", 1)
            + &service("s2", 2)
            + &route("default", "r0", 1, &to("/", "s0"))
            + &route("default", "r1", 1, &to("/x", "s1"))
            + &route("default", "r2", 1, &to("/x/", "s2"))
    });
    for (path, pod) in [("/", 0), ("/y", 0), ("/x", 1), ("/x/", 2), ("/x/y/z", 2), ("/xx", 0)] {
        assert_eq!(answering(&rig, "a.test", path), Some(pod), "{path}");
    }
}

#[test]
fn without_the_flag_nobody_serves_a_route() {
    let rig = Rig::with(1, &[], |pods| {
        service_with("web", pods, "") + &route("default", "r", 1, &to_web("host: a.test"))
    });
    assert_eq!(ask(&rig, "a.test", "/").status, 404);
}

#[test]
fn labels_choose_the_routes_of_a_router() {
    let flags = [
        FLAGS,
        &["--route-labels", "shard in (a,b)", "--namespace-labels", "tier=front"],
    ]
    .concat();
    let labelled =
        |text: String, labels: &str| text.replace("  annotations:", &format!("  labels: {labels}\n  annotations:"));
    let namespace = |name: &str, tier: &str| {
        format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{tier: {tier}}}}}\n---\n")
    };
    let manifests = |pods: &[crate::rig::Pod], tier: &str| {
        service_with("web", pods, "")
            + &within("team", &service_with("web", pods, ""))
            + &namespace("default", "front")
            + &namespace("team", tier)
            + &labelled(route("default", "ours", 1, &to_web("host: a.test")), "{shard: b}")
            + &route("default", "theirs", 1, &to_web("host: b.test"))
            + &labelled(route("team", "other", 1, &to_web("host: c.test")), "{shard: a}")
            + &labelled(route("unknown", "other", 1, &to_web("host: d.test")), "{shard: a}")
    };
    let rig = Rig::with(1, &flags, |pods| manifests(pods, "back"));
    for (host, status) in [("a.test", 200), ("b.test", 404), ("c.test", 404), ("d.test", 404)] {
        assert_eq!(ask(&rig, host, "/").status, status, "{host}");
    }
    std::fs::write(rig.manifest("all.yaml"), manifests(&rig.pods, "front")).unwrap();
    eventually("the namespace fits", || {
        (ask(&rig, "c.test", "/").status == 200).then_some(())
    });
}

#[test]
fn wildcards_need_a_flag() {
    let manifests = |pods: &[crate::rig::Pod]| {
        service_with("web", pods, "")
            + &route(
                "default",
                "r",
                1,
                &to_web("host: www.a.test\n  wildcardPolicy: Subdomain"),
            )
    };
    let rig = Rig::with(1, FLAGS, manifests);
    assert_eq!(ask(&rig, "www.a.test", "/").status, 404);
    let rig = Rig::with(1, &[FLAGS, &["--route-wildcards"]].concat(), manifests);
    for (host, status) in [
        ("www.a.test", 200),
        ("b.a.test", 200),
        ("a.test", 404),
        ("c.b.a.test", 404),
    ] {
        assert_eq!(ask(&rig, host, "/").status, status, "{host}");
    }
}

#[test]
fn requests_follow_the_weights_of_services_whatever_their_pods() {
    let flags = [FLAGS, &["--route-domain", "apps.test"]].concat();
    let rig = Rig::with(4, &flags, |pods| {
        let spec = |weights: [u32; 2]| {
            format!(
                "  to: {{kind: Service, name: one, weight: {}}}\n  alternateBackends:\n  - {{kind: Service, name: three, weight: {}}}",
                weights[0], weights[1]
            )
        };
        service_with("one", &pods[..1], "")
            + &service_with("three", &pods[1..], "")
            + &service_with("nobody", &[], "")
            + &route("default", "both", 1, &("  host: a.test\n".to_owned() + &spec([20, 80])))
            + &route("default", "none", 1, &("  host: b.test\n".to_owned() + &spec([0, 0])))
            + &route("default", "second", 1, &("  host: c.test\n".to_owned() + &spec([0, 1])))
            + &route(
                "default",
                "empty",
                1,
                "  host: d.test\n  to: {name: nobody, weight: 1}\n  alternateBackends: [{name: one, weight: 1}]",
            )
            + &route("default", "alone", 1, "  host: e.test\n  to: {name: nobody}")
    });
    let asked: usize = if std::env::var_os("NARTHEX_LONG").is_some() {
        100_000
    } else {
        2_000
    };
    let mut client = rig.client();
    for _ in 0..asked {
        assert_eq!(
            client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").answer().status,
            200
        );
    }
    let one = rig.pods[0].requests().len();
    println!("{one} of {asked} requests went to the Service with 20 of 100");
    let expected = asked / 5;
    // Five standard deviations.
    let most = 5 * (asked * 4 / 25).isqrt();
    assert!(one.abs_diff(expected) <= most, "{one} of {asked}");
    for pod in &rig.pods[1..] {
        assert!(
            pod.requests().len() > asked / 6,
            "its Service's share is spread over all its pods"
        );
    }
    assert_eq!(ask(&rig, "b.test", "/").status, 503);
    for _ in 0..20 {
        assert_ne!(answering(&rig, "c.test", "/"), Some(0));
        assert_eq!(
            answering(&rig, "d.test", "/"),
            Some(0),
            "a Service without pods has no share"
        );
    }
    assert_eq!(ask(&rig, "e.test", "/").status, 503);
}

#[test]
fn a_client_stays_with_its_pod_also_where_the_weight_is_0() {
    let manifests = |pods: &[crate::rig::Pod], weight: u32| {
        service_with("one", &pods[..1], "")
            + &service_with("two", &pods[1..], "")
            + &route(
                "default",
                "r",
                1,
                &format!(
                    "  host: a.test\n  to: {{name: one, weight: {weight}}}\n  alternateBackends: [{{name: two, weight: 1}}]"
                ),
            )
            + &annotated(
                "default",
                "off",
                1,
                &[("haproxy.router.openshift.io/disable_cookies", "true")],
                "  host: b.test\n  to: {name: one}",
            )
    };
    let rig = Rig::with(2, FLAGS, |pods| manifests(pods, 256));
    let cookie = eventually("the first Service answers", || {
        let before = rig.pods[0].requests().len();
        let answer = ask(&rig, "a.test", "/");
        let cookie = answer.field("set-cookie").unwrap().to_owned();
        (rig.pods[0].requests().len() > before).then_some(cookie)
    });
    assert!(
        cookie.contains("; Path=/; HttpOnly") && !cookie.contains("Secure"),
        "{cookie}"
    );
    std::fs::write(rig.manifest("all.yaml"), manifests(&rig.pods, 0)).unwrap();
    let pair = cookie.split(';').next().unwrap();
    let mut strangers = 0;
    eventually("those without a cookie go elsewhere", || {
        strangers = if answering(&rig, "a.test", "/") == Some(1) {
            strangers + 1
        } else {
            0
        };
        (strangers == 100).then_some(())
    });
    for _ in 0..10 {
        let before = rig.pods[0].requests().len();
        let answer = ask_with(&rig, "a.test", "/", &format!("Cookie: {pair}\r\n"));
        assert_eq!((answer.status, answer.field("set-cookie")), (200, None));
        assert_eq!(rig.pods[0].requests().len(), before + 1);
    }
    assert_eq!(ask(&rig, "b.test", "/").field("set-cookie"), None);
}

#[test]
fn a_port_is_that_of_the_pods() {
    let rig = Rig::with(2, FLAGS, |pods| {
        let [one, two] = [0, 1].map(|pod| pods[pod].address.port());
        let service = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: web}}\nspec: {{ports: [{{name: one, port: 80, targetPort: a}}, \
             {{name: two, port: 81, targetPort: b}}]}}\n---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata: {{name: web, labels: {{kubernetes.io/service-name: web}}}}\naddressType: IPv4\n\
             ports: [{{name: one, port: {one}}}, {{name: two, port: {two}}}]\nendpoints: [{{addresses: [127.0.0.1]}}]\n---\n"
        );
        let port = |name: &str, host: &str, port: &str| {
            route(
                "default",
                name,
                1,
                &to_web(&format!("host: {host}\n  port: {{targetPort: {port}}}")),
            )
        };
        service
            + &port("number", "a.test", &two.to_string())
            + &port("text", "b.test", &format!("\"{one}\""))
            + &port("name", "c.test", "two")
            + &port("none", "d.test", "80")
            + &port("unknown", "e.test", "three")
            + &route("default", "every", 1, &to_web("host: f.test"))
    });
    assert_eq!(answering(&rig, "a.test", "/"), Some(1));
    assert_eq!(answering(&rig, "b.test", "/"), Some(0));
    assert_eq!(answering(&rig, "c.test", "/"), Some(1));
    assert_eq!(ask(&rig, "d.test", "/").status, 503, "no pod has the Service's port");
    assert_eq!(ask(&rig, "e.test", "/").status, 503);
    let mut seen = [false; 2];
    eventually("every port of the Service gets requests", || {
        if let Some(pod) = answering(&rig, "f.test", "/") {
            seen[pod] = true;
        }
        (seen == [true; 2]).then_some(())
    });
}

#[test]
fn a_host_is_the_namespaces_that_had_it_first() {
    let manifests = |pods: &[crate::rig::Pod], with_first: bool| {
        let of = |namespace: &str, pod: usize| within(namespace, &service_with("web", &pods[pod..=pod], ""));
        let first = route("first", "r", 9, &to_web("host: a.test\n  path: /first"));
        of("first", 0)
            + &of("second", 1)
            + &of("third", 2)
            + if with_first { &first } else { "" }
            + &route("second", "r", 8, &to_web("host: a.test"))
            + &route("second", "younger", 1, &to_web("host: a.test"))
            + &route("third", "r", 7, &to_web("host: a.test\n  path: /third"))
    };
    let rig = Rig::with(3, FLAGS, |pods| manifests(pods, true));
    assert_eq!(answering(&rig, "a.test", "/first"), Some(0));
    assert_eq!(ask(&rig, "a.test", "/").status, 503, "nobody else answers for the host");
    assert_eq!(ask(&rig, "a.test", "/third").status, 503);
    std::fs::write(rig.manifest("all.yaml"), manifests(&rig.pods, false)).unwrap();
    // From the first namespace to the second, and never to the third.
    let strangers = rig.pods[2].requests().len();
    eventually("the next has the host", || {
        ask(&rig, "a.test", "/third");
        (answering(&rig, "a.test", "/first") == Some(1)).then_some(())
    });
    assert_eq!(answering(&rig, "a.test", "/third"), Some(1));
    assert_eq!(rig.pods[2].requests().len(), strangers);
}

#[test]
fn namespaces_share_a_host_where_a_flag_says_so() {
    let flags = [FLAGS, &["--route-ownership", "any"]].concat();
    let rig = Rig::with(2, &flags, |pods| {
        let of = |namespace: &str, pod: usize| within(namespace, &service_with("web", &pods[pod..=pod], ""));
        of("first", 0)
            + &of("second", 1)
            + &route("first", "r", 9, &to_web("host: a.test\n  path: /first"))
            + &route("second", "r", 8, &to_web("host: a.test"))
    });
    assert_eq!(answering(&rig, "a.test", "/first"), Some(0));
    assert_eq!(answering(&rig, "a.test", "/"), Some(1));
}

#[test]
fn an_older_ingress_keeps_its_host_and_a_younger_one_loses_it() {
    let aged = |namespace: &str, age: u32, host: &str, path: &str| {
        let at = format!("{namespace}, creationTimestamp: \"2026-01-01T00:00:{:02}Z\"", 60 - age);
        crate::rig::ingress("i", host, path, "web", &format!(", namespace: {at}"))
            .replace("name: i,", &format!("name: i{age},"))
    };
    let rig = Rig::with(3, FLAGS, |pods| {
        let of = |namespace: &str, pod: usize| within(namespace, &service_with("web", &pods[pod..=pod], ""));
        of("first", 0)
            + &of("second", 1)
            + &of("third", 2)
            + &aged("first", 9, "old.test", "/a")
            + &aged("third", 7, "old.test", "/c")
            + &route("second", "late", 8, &to_web("host: old.test"))
            + &aged("first", 5, "new.test", "/a")
            + &route("second", "early", 6, &to_web("host: new.test\n  path: /b"))
    });
    assert_eq!(answering(&rig, "old.test", "/a"), Some(0));
    assert_eq!(
        answering(&rig, "old.test", "/c"),
        Some(2),
        "Ingresses share a host by paths, whatever Routes want"
    );
    assert_eq!(ask(&rig, "old.test", "/").status, 404);
    assert_eq!(answering(&rig, "new.test", "/b"), Some(1));
    assert_eq!(ask(&rig, "new.test", "/a").status, 503);
}

#[test]
fn what_the_api_would_refuse_is_not_served_and_takes_nothing_from_others() {
    let long = format!("{}.test", "a".repeat(300));
    let label = format!("{}.test", "a".repeat(64));
    let rig = Rig::with(1, FLAGS, |pods| {
        let alone = |name: &str, spec: &str| route("default", name, 9, spec);
        service_with("web", pods, "")
            + &route("default", "good", 1, &to_web("host: a.test"))
            + &alone("host", &to_web(&format!("host: {long}")))
            + &alone("label", &to_web(&format!("host: {label}")))
            + &alone("star", &to_web("host: \"*.b.test\""))
            + &alone("weight", "  host: c.test\n  to: {name: web, weight: 257}")
            + &alone("negative", "  host: d.test\n  to: {name: web, weight: -1}")
            + &alone("kind", "  host: e.test\n  to: {kind: Pod, name: web}")
            + &alone("none", "  host: f.test\n  to: {}")
            + &alone("path", &to_web("host: g.test\n  path: x"))
            + &alone("policy", &to_web("host: h.test\n  wildcardPolicy: All"))
            + &alone("termination", &to_web("host: i.test\n  tls: {termination: other}"))
            + &alone(
                "insecure",
                &to_web("host: j.test\n  tls: {termination: edge, insecureEdgeTerminationPolicy: Some}"),
            )
            + &alone(
                "pass",
                &to_web("host: k.test\n  path: /x\n  tls: {termination: passthrough}"),
            )
            + &alone("bare", &to_web("path: /"))
    });
    assert_eq!(ask(&rig, "a.test", "/").status, 200);
    for host in [
        "x.b.test", "c.test", "d.test", "e.test", "f.test", "g.test", "h.test", "i.test", "j.test", "k.test",
    ] {
        assert_eq!(ask(&rig, host, "/").status, 404, "{host}");
    }
}

#[test]
fn fields_about_the_client_are_kept_only_from_trusted_proxies() {
    let flags = [FLAGS, &["--trusted-proxies", "127.0.0.1"]].concat();
    let manifests = |pods: &[crate::rig::Pod]| {
        let modes = ["append", "replace", "if-none", "never"];
        let routes = modes.map(|mode| {
            let key = ("haproxy.router.openshift.io/set-forwarded-headers", mode);
            annotated("default", mode, 1, &[key], &to_web(&format!("host: {mode}.test")))
        });
        service_with("web", pods, "") + &routes.concat()
    };
    let list = "X-Forwarded-For";
    let trusting = Rig::with(1, &flags, manifests);
    let strict = Rig::with(1, FLAGS, manifests);
    let told = |rig: &Rig, mode: &str, fields: &str| {
        assert_eq!(ask_with(rig, &format!("{mode}.test"), "/", fields).status, 200);
        let got = rig.pods[0].last();
        (got.field(list).join("|"), got.field("X-Forwarded-Proto").join("|"))
    };
    let said = "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\n";
    for (mode, wanted, without, from_others) in [
        (
            "append",
            ("192.0.2.7, 127.0.0.1", "https"),
            ("127.0.0.1", "http"),
            "127.0.0.1",
        ),
        ("replace", ("127.0.0.1", "http"), ("127.0.0.1", "http"), "127.0.0.1"),
        ("if-none", ("192.0.2.7", "https"), ("127.0.0.1", "http"), "127.0.0.1"),
        ("never", ("192.0.2.7", "https"), ("", ""), ""),
    ] {
        let owned = |(list, scheme): (&str, &str)| (list.to_owned(), scheme.to_owned());
        assert_eq!(told(&trusting, mode, said), owned(wanted), "{mode}");
        assert_eq!(told(&trusting, mode, ""), owned(without), "{mode}, without any");
        assert_eq!(told(&strict, mode, said).0, from_others, "{mode}, of a stranger");
    }
}

#[test]
fn all_services_of_a_route_are_shown_with_their_weights() {
    let rig = Rig::with(2, FLAGS, |pods| {
        let spec = "  host: a.test\n  to: {name: one, weight: 20}\n  alternateBackends: [{name: two, weight: 80}]";
        service_with("one", &pods[..1], "") + &service_with("two", &pods[1..], "") + &route("default", "r", 1, spec)
    });
    let asked = |path: &str| {
        let (_, said) = crate::rig::get(rig.admin, path);
        let (_, body) = said.split_once("\r\n\r\n").unwrap();
        serde_json::from_str::<serde_json::Value>(body).unwrap()
    };
    let decision = asked("/api/v1/explain?url=http://a.test/");
    let shares: Vec<_> = decision["shares"]
        .as_array()
        .unwrap()
        .iter()
        .map(|share| &share["weight"])
        .collect();
    assert_eq!(shares, [20, 80], "{decision}");
    assert_eq!(decision["endpoints"].as_array().unwrap().len(), 2);
    let backend = decision["rule"]["backend"].as_str().unwrap();
    assert!(
        backend.contains("default/one") && backend.contains("(80 of 100)"),
        "{backend}"
    );
    let page = asked("/api/v1/routes");
    let item = page["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|item| item["name"] == "r")
        .unwrap();
    assert_eq!(item["shares"][1]["endpoints"], 1, "{item}");
    assert_eq!(item["endpoints"].as_array().unwrap().len(), 2);
}
