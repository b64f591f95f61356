//! Paths as ingress-nginx reads them: regular expressions for whole hosts, and what they become.

use crate::ingress_nginx::{ask, nginx, rig};
use crate::rig::{Rig, eventually, service_with};

/// The target that a pod gets for one of a client's; absent if no pod gets it.
fn seen(rig: &Rig, host: &str, target: &str) -> Option<String> {
    let before = rig.pod().requests().len();
    let answer = ask(rig, "GET", host, target, &[]);
    (answer.status == 200).then(|| {
        let got = rig.pod().requests();
        let line = got.get(before).expect("the pod has answered").line();
        line.split(' ').nth(1).unwrap().to_owned()
    })
}

#[test]
fn paths_are_rewritten() {
    let specific = "ImplementationSpecific";
    let rig = rig(&[], || {
        nginx(
            "g.test",
            &[("rewrite-target", "/$2")],
            &[(specific, "/something(/|$)(.*)")],
        ) + &nginx("r.test", &[("rewrite-target", "/")], &[("Prefix", "/app")])
            + &nginx(
                "o.test",
                &[("rewrite-target", "/v1/$1"), ("use-regex", "true")],
                &[(specific, "/x/?(.*)")],
            )
            + &nginx("same.test", &[("rewrite-target", "/app")], &[("Prefix", "/app")])
            + &nginx("up.test", &[("rewrite-target", "/../$1")], &[(specific, "/(.*)")])
            + &nginx("wrong.test", &[("rewrite-target", "/$1?x=$2")], &[("Prefix", "/app")])
    });
    for (host, target, wanted) in [
        ("g.test", "/something", Some("/")),
        ("g.test", "/something/", Some("/")),
        ("g.test", "/something/new?a=%20&b", Some("/new?a=%20&b")),
        ("g.test", "/SomeThing/New", Some("/New")),
        ("g.test", "/somethingelse", None),
        ("g.test", "/something/a%2Fb%20c", Some("/a%2Fb%20c")),
        ("r.test", "/app/x/y?z", Some("/?z")),
        ("r.test", "/apples", Some("/")),
        ("r.test", "/other", None),
        ("o.test", "/xy", Some("/v1/y")),
        ("o.test", "/x", Some("/v1/")),
        ("same.test", "/app/x", Some("/app/x")),
        ("same.test", "/apples", None),
        ("up.test", "/a", None),
        ("wrong.test", "/app/x", Some("/app/x")),
    ] {
        assert_eq!(seen(&rig, host, target).as_deref(), wanted, "{host}{target}");
    }
    assert_eq!(ask(&rig, "GET", "up.test", "/a", &[]).status, 400);
}

#[test]
fn one_ingress_makes_patterns_of_all_paths_of_its_host() {
    let specific = "ImplementationSpecific";
    let plain = || {
        nginx(
            "a.test",
            &[],
            &[("Exact", "/exact"), ("Prefix", "/api/v1.0"), ("Prefix", "/foo")],
        )
    };
    let other =
        || nginx("a.test", &[("use-regex", "true")], &[(specific, "/foo/bar/[a-z]{3}$")]).replace("xa-test", "other");
    let rig = rig(&[], || plain() + &nginx("b.test", &[], &[("Prefix", "/foo")]));
    let is = |target: &str, served: bool| assert_eq!(seen(&rig, "a.test", target).is_some(), served, "{target}");
    for (target, served) in [
        ("/exact", true),
        ("/exactly", false),
        ("/EXACT", false),
        ("/foobar", false),
        ("/api/v1x0", false),
    ] {
        is(target, served);
    }
    let write = |more: &str| {
        let manifests =
            service_with("web", &rig.pods, "") + &plain() + more + &nginx("b.test", &[], &[("Prefix", "/foo")]);
        std::fs::write(rig.manifest("all.yaml"), manifests).unwrap();
    };
    let answers = |target: &str| {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n\r\n");
        rig.client().send(request).answer().status == 200
    };
    write(&other());
    eventually("the paths are patterns", || answers("/exactly").then_some(()));
    for target in ["/exact", "/EXACT/x", "/foobar", "/Foo", "/api/v1x0/", "/foo/bar/abc"] {
        is(target, true);
    }
    is("/bar/exact", false);
    assert!(seen(&rig, "b.test", "/foobar").is_none(), "another host stays as it is");
    write("");
    eventually("the paths are as they were", || (!answers("/exactly")).then_some(()));
    is("/exact", true);
    is("/foobar", false);
}

#[test]
fn the_longest_text_comes_first_and_a_broken_pattern_closes_what_begins_as_it() {
    let specific = "ImplementationSpecific";
    let rig = rig(&[], || {
        nginx(
            "a.test",
            &[("rewrite-target", "/long")],
            &[(specific, "/foo/bar/[A-Z0-9]{3}")],
        ) + &nginx("a.test", &[("rewrite-target", "/short")], &[("Prefix", "/foo/bar/bar")])
            .replace("xa-test", "second")
            + &nginx(
                "c.test",
                &[("rewrite-target", "/x")],
                &[(specific, "/api/(?!internal).*"), (specific, "/")],
            )
            + &nginx(
                "d.test",
                &[("use-regex", "true")],
                &[(specific, "^/admin"), (specific, "/open")],
            )
    });
    assert_eq!(seen(&rig, "a.test", "/foo/bar/bar").as_deref(), Some("/long"));
    assert_eq!(seen(&rig, "a.test", "/foo/bar/b").as_deref(), None);
    assert_eq!(ask(&rig, "GET", "c.test", "/api/internal", &[]).status, 503);
    assert_eq!(ask(&rig, "GET", "c.test", "/API/x", &[]).status, 503);
    assert_eq!(seen(&rig, "c.test", "/other").as_deref(), Some("/x"));
    // A path that is misspelled is for no request, and not for all.
    assert_eq!(ask(&rig, "GET", "d.test", "/any", &[]).status, 404);
    assert_eq!(ask(&rig, "GET", "d.test", "/open", &[]).status, 200);
    assert_eq!(rig.log().matches("panic").count(), 0);
}
