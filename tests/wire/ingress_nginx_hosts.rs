//! What ingress-nginx does for whole hosts: paths that no rule lists, slashes, other names, redirects.

use crate::ingress_nginx::{ask, nginx, rig};
use crate::rig::{Rig, eventually, service_with};

/// The status and `Location` of a request for a target of a host.
fn get(rig: &Rig, host: &str, target: &str) -> (u16, Option<String>) {
    let answer = ask(rig, "GET", host, target, &[]);
    (answer.status, answer.field("location").map(str::to_owned))
}

/// The status of a request; while the table changes, `explain` may see another one.
fn plain(rig: &Rig, host: &str, target: &str) -> u16 {
    let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    rig.client().send(request).answer().status
}

fn expect(rig: &Rig, cases: &[(&str, &str, u16, Option<&str>)]) {
    for (host, target, status, location) in cases {
        let wanted = (*status, location.map(str::to_owned));
        assert_eq!(get(rig, host, target), wanted, "{host}{target}");
    }
}

/// A rule for all hosts, of narthex's own class.
const FOR_ALL: &str = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: all}\n\
     spec: {ingressClassName: narthex, rules: [{http: {paths: [{path: /, pathType: Prefix, \
     backend: {service: {name: web, port: {number: 80}}}}]}}]}\n---\n";

#[test]
fn paths_that_no_rule_of_a_known_host_lists_are_answered_by_the_host() {
    let default = "defaultBackend: {service: {name: web, port: {number: 80}}}, rules:";
    let rig = rig(&[], || {
        nginx("a.test", &[], &[("Prefix", "/app"), ("Exact", "/one")])
            + &nginx("d.test", &[], &[("Prefix", "/app")]).replace("rules:", default)
            + &nginx(
                "closed.test",
                &[("whitelist-source-range", "192.0.2.0/24")],
                &[("Prefix", "/app")],
            )
            + &nginx(
                "moved.test",
                &[("permanent-redirect", "https://b.test/")],
                &[("Prefix", "/app")],
            )
            + &nginx("*.w.test", &[], &[("Prefix", "/app")])
            + FOR_ALL
    });
    expect(
        &rig,
        &[
            ("unknown.test", "/x", 200, None),
            ("a.test", "/app/x", 200, None),
            ("a.test", "/one", 200, None),
            ("a.test", "/one/x", 404, None),
            ("a.test", "/", 404, None),
            ("d.test", "/other", 200, None),
            ("closed.test", "/other", 403, None),
            ("moved.test", "/other", 301, Some("https://b.test/")),
            ("x.w.test", "/app", 200, None),
            ("x.w.test", "/other", 404, None),
            ("x.y.w.test", "/other", 200, None),
        ],
    );
    // As soon as the host is gone, the rule for all hosts answers again.
    std::fs::write(rig.manifest("all.yaml"), service_with("web", &rig.pods, "") + FOR_ALL).unwrap();
    eventually("the host is gone", || {
        (plain(&rig, "a.test", "/other") == 200).then_some(())
    });
}

#[test]
fn a_path_with_a_slash_alone_gets_those_without_redirected() {
    let rig = rig(&[], || {
        nginx(
            "a.test",
            &[],
            &[("Prefix", "/p/"), ("Exact", "/e/"), ("Prefix", "/deep/er/")],
        ) + &nginx(
            "both.test",
            &[],
            &[("Prefix", "/p/"), ("Exact", "/p"), ("Prefix", "/q")],
        ) + &nginx("regex.test", &[("use-regex", "true")], &[("Prefix", "/p/")])
            + &nginx("flipped.test", &[], &[("Prefix", "/p/"), ("Prefix", "/q")])
            + &nginx(
                "flipped.test",
                &[("use-regex", "true")],
                &[("ImplementationSpecific", "/r.*")],
            )
            .replace("xflipped-test", "flips")
            + &nginx(
                "small.test",
                &[("proxy-body-size", "4"), ("relative-redirects", "true")],
                &[("Prefix", "/p/")],
            )
            + &nginx("port.test", &[("use-port-in-redirects", "true")], &[("Prefix", "/p/")])
    });
    expect(
        &rig,
        &[
            ("a.test", "/p", 301, Some("http://a.test/p/")),
            ("a.test", "/p?x=1", 301, Some("http://a.test/p/?x=1")),
            ("a.test", "/p/", 200, None),
            ("a.test", "/p/x", 200, None),
            ("a.test", "/e", 301, Some("http://a.test/e/")),
            ("a.test", "/e/", 200, None),
            ("a.test", "/deep/er", 301, Some("http://a.test/deep/er/")),
            ("both.test", "/p", 200, None),
            ("both.test", "/q", 200, None),
            ("regex.test", "/p", 404, None),
            ("regex.test", "/p/", 200, None),
            ("flipped.test", "/p", 404, None),
            ("flipped.test", "/p/", 200, None),
            ("flipped.test", "/pq", 404, None),
            ("flipped.test", "/qq", 200, None),
            ("small.test", "/p", 301, Some("/p/")),
            ("port.test:8080", "/p", 301, Some("http://port.test:8080/p/")),
        ],
    );
    let posted = ask(&rig, "POST", "small.test", "/p", &[("Content-Length", "5")]);
    assert_eq!(posted.status, 413);
}

#[test]
fn the_root_of_an_app_and_the_host_with_www_are_redirected() {
    let rig = rig(&[], || {
        nginx("a.test", &[("app-root", "/app")], &[("Exact", "/"), ("Prefix", "/app")])
            + &nginx(
                "r.test",
                &[("app-root", "/in"), ("use-regex", "true")],
                &[("ImplementationSpecific", "/.*")],
            )
            + &nginx("bare.test", &[("from-to-www-redirect", "true")], &[("Prefix", "/")])
            + &nginx("www.long.test", &[("from-to-www-redirect", "true")], &[("Prefix", "/")])
            + &nginx("own.test", &[("from-to-www-redirect", "true")], &[("Prefix", "/")])
            + &nginx("www.own.test", &[], &[("Prefix", "/")])
    });
    expect(
        &rig,
        &[
            ("a.test", "/", 302, Some("http://a.test/app")),
            ("a.test:8080", "/?x=1", 302, Some("http://a.test:8080/app")),
            ("a.test", "/app", 200, None),
            ("a.test", "/none", 404, None),
            ("r.test", "/", 302, Some("http://r.test/in")),
            ("r.test", "/x", 200, None),
            ("bare.test", "/x", 200, None),
            ("www.bare.test", "/x/?y=1", 308, Some("http://bare.test/x/?y=1")),
            ("www.bare.test:8080", "/", 308, Some("http://bare.test:8080/")),
            ("long.test", "/", 308, Some("http://www.long.test/")),
            ("www.own.test", "/", 200, None),
        ],
    );
}

#[test]
fn a_host_goes_by_its_other_names_where_no_rule_has_them() {
    let aliases = [("server-alias", "b.test, *.w.test, ~^re[0-9]+\\.test$, taken.test")];
    let manifests = |app: &str| {
        nginx("a.test", &aliases, &[("Prefix", app)]).replace(
            "annotations:",
            "creationTimestamp: '2026-01-01T00:00:00Z', annotations:",
        ) + &nginx("taken.test", &[], &[("Prefix", "/own")])
            + &nginx(
                "late.test",
                &[("server-alias", "b.test,c.test")],
                &[("Prefix", "/late")],
            )
    };
    let rig = rig(&[], || manifests("/app"));
    expect(
        &rig,
        &[
            ("a.test", "/app", 200, None),
            ("b.test", "/app", 200, None),
            ("b.test", "/late", 404, None),
            ("c.test", "/late", 200, None),
            ("x.w.test", "/app", 200, None),
            ("x.y.w.test", "/app", 404, None),
            ("RE12.test", "/app", 200, None),
            ("xre12.test", "/app", 404, None),
            ("taken.test", "/app", 404, None),
            ("taken.test", "/own", 200, None),
            ("a.test", "/none", 404, None),
        ],
    );
    // The other names follow what the host does.
    std::fs::write(
        rig.manifest("all.yaml"),
        service_with("web", &rig.pods, "") + &manifests("/new"),
    )
    .unwrap();
    eventually("the path is another", || {
        (plain(&rig, "b.test", "/new") == 200).then_some(())
    });
    expect(
        &rig,
        &[("re1.test", "/new", 200, None), ("re1.test", "/app", 404, None)],
    );
}

#[test]
fn a_host_of_two_classes_follows_the_rules_of_its_oldest_ingress() {
    let native = |created: &str| {
        nginx("a.test", &[], &[("Prefix", "/native")])
            .replace("ingressClassName: nginx", "ingressClassName: narthex")
            .replace("xa-test", "native")
            .replace("annotations:", &format!("creationTimestamp: '{created}', annotations:"))
    };
    let theirs = || {
        nginx(
            "a.test",
            &[("app-root", "/app/"), ("use-regex", "true")],
            &[("ImplementationSpecific", "/app/[a-z]+")],
        )
        .replace(
            "annotations:",
            "creationTimestamp: '2026-01-02T00:00:00Z', annotations:",
        )
    };
    let rig = rig(&[], || theirs() + &native("2026-01-03T00:00:00Z") + FOR_ALL);
    expect(
        &rig,
        &[
            ("a.test", "/", 302, Some("http://a.test/app/")),
            ("a.test", "/APP/x", 200, None),
            ("a.test", "/native", 200, None),
            ("a.test", "/none", 404, None),
        ],
    );
    let manifests = service_with("web", &rig.pods, "") + &theirs() + &native("2026-01-01T00:00:00Z") + FOR_ALL;
    std::fs::write(rig.manifest("all.yaml"), manifests).unwrap();
    eventually("the other one is the oldest", || {
        (plain(&rig, "a.test", "/") == 200).then_some(())
    });
    expect(&rig, &[("a.test", "/none", 200, None), ("a.test", "/APP/x", 200, None)]);
    eventually("it is reported", || {
        let (_, report) = crate::rig::get(rig.admin, "/api/v1/diagnostics");
        report.contains("HostOfTwoDialects").then_some(())
    });
}
