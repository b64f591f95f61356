//! narthex's own policies by annotations: patterns, rewrites and redirects. The other files named `native_*` have the rest.

use crate::ingress_nginx::{ask, nginx};
use crate::rig::{Pod, Rig, eventually, get, service_with};

/// An Ingress of narthex's own class with these annotations of its own.
pub fn native(host: &str, annotations: &[(&str, &str)], paths: &[(&str, &str)]) -> String {
    let named: Vec<(String, &str)> = annotations
        .iter()
        .map(|(name, value)| (format!("narthex.io/{name}"), *value))
        .collect();
    let named: Vec<(&str, &str)> = named.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    nginx(host, &named, paths).replace("ingressClassName: nginx", "ingressClassName: narthex")
}

pub const ALL: &[(&str, &str)] = &[("Prefix", "/")];

pub fn rig(flags: &[&str], manifests: impl FnOnce() -> String) -> Rig {
    Rig::with(1, flags, |pods: &[Pod]| service_with("web", pods, "") + &manifests())
}

/// What is said of the Ingress of a host, one problem a line, as JSON.
pub fn problems(rig: &Rig, host: &str) -> String {
    let (status, reply) = get(rig.admin, "/api/v1/diagnostics");
    assert_eq!(status, 200, "{reply}");
    let (_, body) = reply.split_once("\r\n\r\n").unwrap();
    let all: Vec<serde_json::Value> = serde_json::from_str(body).unwrap();
    let object = format!("Ingress default/x{}", host.replace('.', "-"));
    let of_host = all.iter().filter(|said| said["object"] == *object);
    of_host.map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// The target that the pod gets.
fn forwarded(rig: &Rig, host: &str, target: &str) -> String {
    let answer = ask(rig, "GET", host, target, &[]);
    assert_eq!(answer.status, 200, "{host}{target}: {}", answer.head);
    let line = rig.pod().last().line();
    line.split(' ').nth(1).unwrap().to_owned()
}

#[test]
fn prefixes_and_whole_paths_are_rewritten() {
    let rig = rig(&[], || {
        native("strip.test", &[("strip-prefix", "/api/")], ALL)
            + &native("add.test", &[("add-prefix", "/v1")], ALL)
            + &native("both.test", &[("strip-prefix", "/api"), ("add-prefix", "/v1")], ALL)
            + &native("whole.test", &[("rewrite-target", "/index.html")], ALL)
    });
    for (host, target, wanted) in [
        ("strip.test", "/api/users?a=%2e", "/users?a=%2e"),
        ("strip.test", "/api", "/"),
        ("strip.test", "/apis", "/apis"),
        ("strip.test", "/x/../api/a%2Fb", "/a%2Fb"),
        ("add.test", "/a/b/", "/v1/a/b/"),
        ("add.test", "/", "/v1/"),
        ("both.test", "/api/users", "/v1/users"),
        ("both.test", "/other", "/other"),
        ("whole.test", "/deep/link?q", "/index.html?q"),
    ] {
        assert_eq!(forwarded(&rig, host, target), wanted, "{host}{target}");
    }
}

#[test]
fn patterns_match_whole_paths_of_their_ingress_alone() {
    let any = ("ImplementationSpecific", "/users/([0-9]+)(/.*)?");
    let rig = rig(&[], || {
        let patterns = native(
            "a.test",
            &[("path-regex", "true"), ("rewrite-target", "/v1/$1$2")],
            &[any, ("Prefix", "/plain.x"), ("Exact", "/users/7")],
        );
        let other = native(
            "a.test",
            &[],
            &[("Prefix", "/users"), ("ImplementationSpecific", "/none(x)")],
        )
        .replace("'xa-test'", "other");
        patterns
            + &other
            + &native(
                "c.test",
                &[("path-regex", "true")],
                &[("ImplementationSpecific", "/a|/b")],
            )
    });
    for (target, wanted) in [
        ("/users/12", "/v1/12"),
        ("/users/12/posts?x=1", "/v1/12/posts?x=1"),
        ("/users/12/caf%C3%A9", "/v1/12/caf%C3%A9"),
        // An exact path comes first, and it is no expression.
        ("/users/7", "/users/7"),
        // The prefix of the other Ingress has the rest, since the expression is for whole paths and case matters.
        ("/users/12x", "/users/12x"),
        ("/users/x/12", "/users/x/12"),
        ("/plain.x/y", "/plain.x/y"),
        ("/none(x)", "/none(x)"),
    ] {
        assert_eq!(forwarded(&rig, "a.test", target), wanted, "{target}");
    }
    for target in ["/Users/12", "/x/users/12", "/plainyx", "/nonex"] {
        assert_eq!(ask(&rig, "GET", "a.test", target, &[]).status, 404, "{target}");
    }
    assert_eq!(ask(&rig, "GET", "c.test", "/a", &[]).status, 200);
    assert_eq!(ask(&rig, "GET", "c.test", "/ab", &[]).status, 404);
}

#[test]
fn a_pattern_that_cannot_be_compiled_closes_its_paths_alone() {
    let long = format!("/{}", "a".repeat(1100));
    let bad = ["/a(?=x)", "/b(", "/c)|(/d", "/e(x)\\1", "/f((a{1000}){1000})", &long];
    let rig = rig(&[], || {
        bad.iter()
            .enumerate()
            .map(|(n, text)| {
                let paths = [("ImplementationSpecific", *text), ("Prefix", "/good")];
                native(&format!("h{n}.test"), &[("path-regex", "true")], &paths)
            })
            .collect::<String>()
            + &native(
                "slow.test",
                &[("path-regex", "true")],
                &[("ImplementationSpecific", "/(a+)+x")],
            )
    });
    for (n, text) in bad.iter().enumerate() {
        let host = format!("h{n}.test");
        let said = problems(&rig, &host);
        assert!(said.contains("InvalidPath"), "{text}: {said}");
        let closed = format!(
            "/{}",
            text.chars()
                .nth(1)
                .unwrap()
                .to_string()
                .repeat(if n == 5 { 1100 } else { 1 })
        );
        assert_eq!(ask(&rig, "GET", &host, &closed, &[]).status, 503, "{text}");
        assert_eq!(ask(&rig, "GET", &host, "/good", &[]).status, 200, "{text}");
    }
    // It takes linear time.
    assert_eq!(
        ask(&rig, "GET", "slow.test", &format!("/{}", "a".repeat(3000)), &[]).status,
        404
    );
}

#[test]
fn requests_are_redirected_but_never_to_themselves() {
    let rig = rig(&[], || {
        native(
            "a.test",
            &[("redirect", "https://b.test$request_uri"), ("redirect-status", "307")],
            ALL,
        ) + &native(
            "path.test",
            &[("redirect", "/new?from=$escaped_request_uri")],
            &[("Exact", "/old")],
        ) + &native("self.test", &[("redirect", "/here")], ALL)
            + &native(
                "secure.test",
                &[("redirect", "https://$host$request_uri"), ("redirect-status", "301")],
                ALL,
            )
    });
    for (host, target, status, location) in [
        ("a.test", "/x/./y?a=b", 307, "https://b.test/x/y?a=b"),
        ("path.test", "/old?a=b", 302, "/new?from=%2Fold%3Fa%3Db"),
        ("self.test", "/there", 302, "/here"),
        ("secure.test", "/x", 301, "https://secure.test/x"),
    ] {
        let answer = ask(&rig, "GET", host, target, &[]);
        assert_eq!(
            (answer.status, answer.field("location")),
            (status, Some(location)),
            "{host}{target}"
        );
    }
    let answer = ask(&rig, "GET", "self.test", "/here", &[]);
    assert_eq!((answer.status, &*answer.body), (508, &b"loop detected\n"[..]));
    assert_eq!(ask(&rig, "GET", "self.test", "/here?x", &[]).status, 302);
    assert!(problems(&rig, "secure.test").contains("would lead https://secure.test/ to itself"));
    assert!(rig.pod().requests().is_empty());
}

#[test]
fn what_cannot_be_read_is_said_and_left_out() {
    type Case<'c> = (&'c str, &'c [(&'c str, &'c str)], &'c str);
    let cases: &[Case<'_>] = &[
        ("a1.test", &[("strip-prefix", "api")], "strip-prefix"),
        ("a2.test", &[("add-prefix", "/")], "has no element"),
        ("a3.test", &[("add-prefix", "/a?b")], "is not a path alone"),
        (
            "a4.test",
            &[("rewrite-target", "/$1")],
            "has groups, which only paths with path-regex have",
        ),
        (
            "a5.test",
            &[("rewrite-target", "/a"), ("strip-prefix", "/b")],
            "rewrite-target says what paths become",
        ),
        (
            "a6.test",
            &[("redirect", "ftp://b.test/")],
            "is neither a URL nor a path",
        ),
        ("a7.test", &[("redirect", "https://$unknown/")], "the variable $unknown"),
        ("a8.test", &[("redirect", "/a b")], "has a blank"),
        (
            "a9.test",
            &[("redirect-status", "307")],
            "it does nothing without redirect",
        ),
        ("b1.test", &[("redirect-status", "200")], "not one of 301"),
        ("b2.test", &[("path-regex", "yes")], "neither"),
        ("b3.test", &[("rewrite-target", "/{x}")], "is not a path of letters"),
        ("b4.test", &[("strip-prefix", "/a/../..")], "strip-prefix"),
    ];
    let control = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: control, annotations: \
                   {narthex.io/redirect: \"/a\\r\\nb\", narthex.io/strip-prefix: \"/\\0\", narthex.io/rewrite-target: \
                   \"/a\\n\"}}\nspec: {ingressClassName: narthex, rules: [{host: control.test, http: {paths: [{path: /, \
                   pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]}\n---\n";
    let rig = rig(&[], || {
        let all = cases
            .iter()
            .map(|(host, annotations, _)| native(host, annotations, ALL));
        all.collect::<String>() + control
    });
    for (host, _, why) in cases {
        let said = problems(&rig, host);
        assert!(
            said.contains("InvalidAnnotation") && said.contains(why),
            "{host}: {said}"
        );
        assert_eq!(ask(&rig, "GET", host, "/x", &[]).status, 200, "{host}");
    }
    let (_, all) = get(rig.admin, "/api/v1/diagnostics");
    assert_eq!(all.matches("default/control\"").count(), 3, "{all}");
    assert_eq!(ask(&rig, "GET", "control.test", "/x", &[]).status, 200);
}

#[test]
fn in_an_ingress_of_another_controller_they_win() {
    let rig = rig(&["--drop-in", "ingress-nginx"], || {
        let own = |host: &str, own: (&str, &str), other: (&str, &str)| {
            nginx(host, &[(&format!("narthex.io/{}", own.0), own.1), other], ALL)
        };
        own("path.test", ("strip-prefix", "/api"), ("rewrite-target", "/other"))
            + &own(
                "moved.test",
                ("redirect", "/own"),
                ("permanent-redirect", "https://other.test/"),
            )
            + &own("size.test", ("max-request-body", "4KiB"), ("proxy-body-size", "1k"))
            + &own(
                "who.test",
                ("allow-addresses", "127.0.0.0/8"),
                ("whitelist-source-range", "10.0.0.0/8"),
            )
            + &own(
                "fields.test",
                ("request-headers-set", "X-Own: 1"),
                ("x-forwarded-prefix", "/p"),
            )
    });
    assert_eq!(forwarded(&rig, "path.test", "/api/x"), "/x");
    assert_eq!(
        ask(&rig, "GET", "moved.test", "/x", &[]).field("location"),
        Some("/own")
    );
    assert_eq!(ask(&rig, "GET", "who.test", "/x", &[]).status, 200);
    let mut client = rig.client();
    let head = "POST /x HTTP/1.1\r\nHost: size.test\r\nContent-Length: 2000\r\n\r\n";
    assert_eq!(client.send(head).send(vec![b'x'; 2000]).answer().status, 200);
    assert_eq!(ask(&rig, "GET", "fields.test", "/x", &[]).status, 200);
    let got = rig.pod().last();
    assert_eq!(
        (got.field("x-own"), got.field("x-scheme")),
        (vec!["1".to_owned()], vec!["http".to_owned()])
    );
}

#[test]
fn a_host_has_at_most_a_thousand_patterns() {
    let paths: Vec<String> = (0..1000).map(|number| format!("/p{number}/x[0-9]+")).collect();
    let paths: Vec<(&str, &str)> = paths.iter().map(|path| ("ImplementationSpecific", &**path)).collect();
    let regex = ("path-regex", "true");
    let rig = rig(&[], || {
        let late = [
            ("ImplementationSpecific", "/late/[a-z]+"),
            ("ImplementationSpecific", "/p7/y+"),
        ];
        native("a.test", &[regex], &paths)
            + &native("a.test", &[regex], &late).replace("name: 'xa-test'", "name: 'xlate'")
            + &native("a.test", &[], ALL).replace("name: 'xa-test'", "name: 'xrest'")
            + &native("b.test", &[regex], &paths[..5])
    });
    for (target, status) in [
        ("/p7/x7", 200),
        ("/p999/x0", 200),
        ("/late/abc", 503),
        ("/LATE/0", 503),
        ("/p7/y", 503),
        ("/other", 200),
    ] {
        assert_eq!(ask(&rig, "GET", "a.test", target, &[]).status, status, "{target}");
    }
    assert_eq!(ask(&rig, "GET", "b.test", "/p1/x1", &[]).status, 200);
    eventually("it is said of both paths", || {
        let said = problems(&rig, "late");
        (said.matches("has more than 1000 paths").count() == 2).then_some(())
    });
}

#[test]
fn what_has_no_effect_beside_an_own_annotation_is_said() {
    let rig = rig(&["--drop-in", "ingress-nginx"], || {
        nginx(
            "a.test",
            &[("rewrite-target", "/theirs"), ("narthex.io/rewrite-target", "/own")],
            ALL,
        ) + &nginx("self.test", &[("mirror-target", "http://web.default.svc/")], ALL)
    });
    assert_eq!(forwarded(&rig, "a.test", "/x"), "/own");
    let said = problems(&rig, "a.test");
    assert!(
        said.contains("ingress.kubernetes.io/rewrite-target") && said.contains("wins"),
        "{said}"
    );
    let said = problems(&rig, "self.test");
    assert!(said.contains("gets each of them twice"), "{said}");
}
