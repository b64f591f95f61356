//! Requests of the specification's tables, and the rule that answers each.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use narthex::testing::compile::{Options, State};
use narthex::testing::dialect::ingress::{Ingress, IngressBackend, IngressPath, IngressRule};
use narthex::testing::dialect::{Change, Object};
use narthex::testing::model::Timestamp;
use narthex::testing::model::object::{Meta, PortRef};
use narthex::testing::table::{
    HostPattern, HostSet, Hosts, Listener, ListenerId, PathKind, PathPattern, PathRegex, Pattern, Patterns, Route,
    Says, Serves, Table, canonical_host, canonical_path, explain,
};
use std::sync::Arc;

fn backend(name: &str) -> IngressBackend {
    IngressBackend::Service {
        name: name.into(),
        port: PortRef::Number(80),
    }
}

/// A rule `host path -> service`; a path is `=/exact`, `~/implementation-specific` or `/prefix`; none is no http.
type Rule<'r> = (&'r str, &'r str, &'r str);

fn ingress(name: &str, rules: &[Rule<'_>], default: Option<&str>) -> Object {
    let rules = rules.iter().map(|(host, path, service)| IngressRule {
        host: Some((*host).into()),
        paths: (!path.is_empty()).then(|| {
            let (kind, path) = match path.split_at(1) {
                ("=", path) => ("Exact", path),
                ("~", path) => ("ImplementationSpecific", path),
                _ => ("Prefix", *path),
            };
            Box::from([IngressPath {
                path: Some(path.into()),
                path_type: Some(kind.into()),
                backend: backend(service),
                ..IngressPath::default()
            }])
        }),
        ..IngressRule::default()
    });
    Object::Ingress(
        Ingress {
            meta: Meta {
                namespace: "default".into(),
                name: name.into(),
                created: Timestamp(1),
                ..Meta::default()
            },
            rules: rules.collect(),
            default_backend: default.map(backend).map(Box::new),
            ..Ingress::default()
        }
        .into(),
    )
}

fn table(objects: Vec<Object>) -> Table {
    let mut state = State::new(Options::default());
    for object in objects {
        state.apply(Change::Apply(object));
    }
    state.table()
}

/// The Service that answers, as a request comes: raw Host and path.
fn ask(table: &Table, host: &str, path: &str) -> String {
    let host = (!host.is_empty()).then(|| canonical_host(host).unwrap());
    let path = canonical_path(path, false).unwrap();
    table
        .lookup(host.as_ref().map(|host| &*host.name), &path)
        .map_or("404".to_owned(), |route| {
            table.backend_of(route).unwrap().service.to_string()
        })
}

fn check(rules: &[Rule<'_>], default: Option<&str>, requests: &[(&str, &str, &str)]) {
    let table = table(vec![ingress("web", rules, default)]);
    for (host, path, wanted) in requests {
        assert_eq!(ask(&table, host, path), *wanted, "{host}{path} under {rules:?}");
    }
}

/// The documentation's table of examples: kind, paths of the rules, request path, which answers.
#[test]
fn the_documentations_path_table() {
    for (rules, path, wanted) in [
        (&["/"][..], "/anything/at/all", "0"),
        (&["=/foo"], "/foo", "0"),
        (&["=/foo"], "/bar", "404"),
        (&["=/foo"], "/foo/", "404"),
        (&["=/foo/"], "/foo", "404"),
        (&["/foo"], "/foo", "0"),
        (&["/foo"], "/foo/", "0"),
        (&["/foo/"], "/foo", "0"),
        (&["/foo/"], "/foo/", "0"),
        (&["/aaa/bb"], "/aaa/bbb", "404"),
        (&["/aaa/bbb"], "/aaa/bbb", "0"),
        (&["/aaa/bbb/"], "/aaa/bbb", "0"),
        (&["/aaa/bbb"], "/aaa/bbb/", "0"),
        (&["/aaa/bbb"], "/aaa/bbb/ccc", "0"),
        (&["/aaa/bbb"], "/aaa/bbbxyz", "404"),
        (&["/", "/aaa"], "/aaa/ccc", "1"),
        (&["/", "/aaa", "/aaa/bbb"], "/aaa/bbb", "2"),
        (&["/", "/aaa", "/aaa/bbb"], "/ccc", "0"),
        (&["/aaa"], "/ccc", "404"),
        (&["/foo", "=/foo"], "/foo", "1"),
    ] {
        let numbers: Vec<String> = (0..rules.len()).map(|index| index.to_string()).collect();
        let forth: Vec<Rule<'_>> = rules
            .iter()
            .zip(&numbers)
            .map(|(path, number)| ("h.example", *path, &**number))
            .collect();
        let back: Vec<Rule<'_>> = forth.iter().rev().copied().collect();
        check(&forth, None, &[("h.example", path, wanted)]);
        check(&back, None, &[("h.example", path, wanted)]);
    }
}

#[test]
fn the_documentations_wildcard_table() {
    check(
        &[("*.foo.com", "/", "wild")],
        None,
        &[
            ("bar.foo.com", "/", "wild"),
            ("baz.bar.foo.com", "/", "404"),
            ("foo.com", "/", "404"),
            ("barfoo.com", "/", "404"),
            ("bar.foo.com.example", "/", "404"),
        ],
    );
}

#[test]
fn name_based_virtual_hosting() {
    let rules = [
        ("foo.bar.com", "/", "one"),
        ("bar.foo.com", "/", "two"),
        ("", "/", "rest"),
    ];
    check(
        &rules,
        None,
        &[
            ("foo.bar.com", "/x", "one"),
            ("bar.foo.com", "/", "two"),
            ("other.com", "/", "rest"),
            ("10.0.0.1", "/", "rest"),
            ("", "/", "rest"),
        ],
    );
    check(&rules[..2], None, &[("other.com", "/", "404"), ("", "/", "404")]);
}

#[test]
fn hosts_match_whatever_their_spelling() {
    check(
        &[
            ("www.example.com", "/", "www"),
            ("*.Example.com", "/", "wild"),
            ("xn--bcher-kva.example", "/", "books"),
            ("2001:db8::1", "/", "six"),
            ("192.0.2.1", "/", "four"),
        ],
        None,
        &[
            ("WWW.Example.Com", "/", "www"),
            ("www.example.com.", "/", "www"),
            ("www.example.com:8443", "/", "www"),
            ("www.example.com.:80", "/", "www"),
            ("other.EXAMPLE.com:80", "/", "wild"),
            ("a.b.example.com", "/", "404"),
            ("example.com", "/", "404"),
            ("XN--Bcher-KVA.example", "/", "books"),
            ("[2001:DB8:0:0::1]", "/", "six"),
            ("[2001:db8::1]:80", "/", "six"),
            ("192.0.2.1:80", "/", "four"),
            ("[2001:db8::2]", "/", "404"),
        ],
    );
}

#[test]
fn what_a_host_does_not_list_falls_through() {
    let rules = [
        ("www.example.com", "/app", "exact"),
        ("*.example.com", "/app", "wild-app"),
        ("*.example.com", "/wild", "wild"),
        ("", "/", "any"),
        ("", "/app/deeper/still", "any-deep"),
    ];
    check(
        &rules,
        None,
        &[
            ("www.example.com", "/app/x", "exact"),
            // Host before path: the longer path of a lesser host does not win.
            ("www.example.com", "/app/deeper/still", "exact"),
            ("www.example.com", "/wild/x", "wild"),
            ("www.example.com", "/none", "any"),
            ("other.example.com", "/app", "wild-app"),
            ("example.com", "/app", "any"),
        ],
    );
}

#[test]
fn paths_are_compared_in_canonical_form() {
    check(
        &[
            ("", "/a/b", "ab"),
            ("", "=/x/%7Ey", "tilde"),
            ("", "~/i", "specific"),
            ("", "/g%2Fh", "slash"),
        ],
        None,
        &[
            ("h", "//a///b", "ab"),
            ("h", "/a/./b", "ab"),
            ("h", "/z/../a/%62", "ab"),
            ("h", "/a%2Fb", "404"),
            ("h", "/x/~y", "tilde"),
            ("h", "/x/%7ey", "tilde"),
            ("h", "/i", "specific"),
            ("h", "/i/j", "specific"),
            ("h", "/ij", "404"),
            ("h", "/g%2fh", "slash"),
            ("h", "/g/h", "404"),
            ("h", "/A/b", "404"),
        ],
    );
}

#[test]
fn default_backends_answer_last() {
    let table = table(vec![
        ingress("a", &[("www.example.com", "/x", "x")], Some("exact-default")),
        ingress("b", &[("*.example.com", "/y", "y")], Some("wild-default")),
        ingress("c", &[("", "/z", "z")], None),
        ingress("d", &[], Some("last")),
    ]);
    for (host, path, wanted) in [
        ("www.example.com", "/x", "x"),
        ("www.example.com", "/y", "y"),
        ("www.example.com", "/z", "z"),
        ("www.example.com", "/none", "exact-default"),
        ("other.example.com", "/x", "wild-default"),
        ("other.example.com", "/z", "z"),
        ("example.com", "/x", "last"),
        ("", "/x", "last"),
        ("", "/z", "z"),
    ] {
        assert_eq!(ask(&table, host, path), wanted, "{host}{path}");
    }
}

#[test]
fn a_rule_without_paths_takes_its_host() {
    let table = table(vec![
        ingress("a", &[("www.example.com", "", "")], Some("mine")),
        ingress(
            "b",
            &[("*.example.com", "/", "wild"), ("www.example.com", "/deeper", "deeper")],
            None,
        ),
    ]);
    assert_eq!(ask(&table, "www.example.com", "/x"), "mine");
    assert_eq!(ask(&table, "www.example.com", "/deeper/x"), "deeper");
    assert_eq!(ask(&table, "other.example.com", "/x"), "wild");
}

#[test]
fn the_deepest_paths_match_too() {
    let deep: String = "/d".repeat(80);
    let longer = format!("{deep}/e");
    let exact = format!("={longer}");
    let rules = [("", &*deep, "deep"), ("", &exact, "longer"), ("", "/d", "top")];
    check(
        &rules,
        None,
        &[
            ("h", &longer, "longer"),
            ("h", &format!("{longer}/"), "deep"),
            ("h", &deep, "deep"),
            ("h", &"/d".repeat(79), "top"),
        ],
    );
}

/// A regular expression that leads where a plain route of the same host leads.
fn pattern(table: &Table, host: &HostPattern, like: &str, text: &str) -> Pattern {
    let mut rules = table.host(host).unwrap().rules();
    let plain = rules.find(|route| route.path.as_ref().unwrap().path.as_ref() == like);
    let mut route = plain.unwrap().clone();
    Arc::make_mut(&mut route).path = Some(PathPattern {
        kind: PathKind::RegularExpression,
        path: text.into(),
    });
    Pattern {
        regex: PathRegex::new(text).unwrap(),
        route,
    }
}

#[test]
fn regular_expressions_are_asked_in_order_before_and_after_plain_paths() {
    let plain = [
        ("h.test", "/one", "one"),
        ("h.test", "/two", "two"),
        ("h.test", "/plain", "plain"),
        ("other.test", "/plain", "other"),
    ];
    let mut table = table(vec![ingress("web", &plain, None)]);
    let host = HostPattern::Exact("h.test".into());
    let [one, two, slashes, after] = [
        ("/one", "^/(?i:api)/v[0-9]+$"),
        ("/two", "^/api/"),
        ("/one", "^/raw//x"),
        ("/two", "^/plain|^/late"),
    ]
    .map(|(like, text)| pattern(&table, &host, like, text));
    let mut slashes = slashes;
    Arc::make_mut(&mut slashes.route).keep_slashes = true;
    let patterns = Patterns::new(vec![one, two, slashes], vec![after]);
    table.update_host(&host, |host| host.patterns = patterns);

    for (path, wanted) in [
        ("/api/v12", "one"),
        ("/API/v1", "one"),
        ("/api/v12/x", "two"),
        ("/api/", "two"),
        ("/plain/x", "plain"),
        ("/plainer", "two"),
        ("/late", "two"),
        ("/one", "one"),
        ("/raw//x", "one"),
        ("/raw/x", "404"),
        ("/none", "404"),
        // Dot segments are gone before any expression sees the path.
        ("/late/../api/v1", "one"),
    ] {
        assert_eq!(ask(&table, "h.test", path), wanted, "{path}");
        let path = canonical_path(path, false).unwrap();
        let explained = explain::explain(table.ingress_hosts(), Some("h.test"), &path, &Says::default());
        let found = table.lookup(Some("h.test"), &path);
        assert_eq!(explained.route.as_ref(), found, "{path:?}");
    }
    assert_eq!(ask(&table, "other.test", "/api/v1"), "404");
    assert_eq!(ask(&table, "other.test", "/plain"), "other");

    let explained = |path: &str| {
        let path = canonical_path(path, false).unwrap();
        let lost = explain::explain(table.ingress_hosts(), Some("h.test"), &path, &Says::default()).lost;
        lost.into_iter().map(|(_, why)| why).collect::<Vec<_>>()
    };
    let why = explained("/api/v1");
    let order = "it matches, but h.test^/(?i:api)/v[0-9]+$ comes before it in the order of its host";
    assert!(why.iter().any(|why| why == order), "{why:?}");
    let no = "RegularExpression ^/raw//x does not match /api/v1";
    assert!(why.iter().any(|why| why == no), "{why:?}");
}

/// A guard of a host closes that host where it is served, and not the same host of another listener.
#[test]
fn a_guard_holds_for_the_hosts_it_is_among() {
    let Object::Ingress(mut guarded) = ingress("guarded", &[("h.test", "/a", "one")], None) else {
        panic!("an Ingress");
    };
    let snippet = ("nginx.ingress.kubernetes.io/server-snippet", "deny all;");
    Arc::make_mut(&mut guarded).meta.annotations = [snippet].into_iter().collect();
    let plain = ingress("plain", &[("h.test", "/b", "two")], None);
    let mut table = table(vec![Object::Ingress(guarded), plain]);
    let is_plain = |route: &Route| &*route.origin.object.name == "plain";
    let route = table.routes().find(|route| is_plain(route)).unwrap().clone();
    let mut own = Hosts::default();
    own.update(&route.host.clone(), |host| {
        host.paths.set(&route.path.clone().unwrap(), Some(route));
    });
    let listener = Listener {
        id: ListenerId { slot: 9, generation: 1 },
        address: "127.0.0.1:9".parse().unwrap(),
        serves: Serves::Http(HostSet::Own(Arc::new(own))),
    };
    table.set_listener(9, Some(Arc::new(listener)));
    let found = table.matches().filter(|found| is_plain(found.route));
    let closed: Vec<_> = found.map(|found| table.guard_of(found).is_some()).collect();
    assert_eq!(closed, [true, false], "the hosts of Ingresses come first");
}

#[test]
fn a_regular_expression_that_is_wrong_or_too_large_is_an_error() {
    for (text, wanted) in [
        ("^/(a", "is not a valid regular expression: unclosed group"),
        ("/a(?=b)", "is not a valid regular expression: look-around"),
        ("(a{1000}){1000}", "needs more than 65536 bytes of memory"),
        (&"a".repeat(2049), "is longer than 2048 bytes"),
    ] {
        let said = PathRegex::new(text).unwrap_err();
        assert!(said.starts_with(wanted) && !said.contains('\n'), "{said}");
    }
    // Engines that go back and try again do not come to an end here.
    let path = format!("/{}", "a".repeat(60_000));
    assert!(!PathRegex::new("^/(a*)*(a*)*(a*)*b$").unwrap().matches(&path));
}
