//! Gateways and HTTPRoutes, from manifests: which route answers, and what it does.

use crate::rig::{Answer, Client, Pod, Rig, eventually, free_address, ingress, service_with};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A narthex whose Gateways may have any port.
pub const FLAGS: &[&str] = &["--gateway-ports", "1-65535", "--shards", "1"];

/// A Gateway with these entries of `spec.listeners`.
pub fn gateway(name: &str, listeners: &[String]) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: {name}}}\n\
         spec: {{gatewayClassName: narthex, listeners: [{}]}}\n---\n",
        listeners.join(", ")
    )
}

/// A listener for HTTP.
pub fn http(name: &str, port: u16, more: &str) -> String {
    format!("{{name: {name}, protocol: HTTP, port: {port}{more}}}")
}

/// An HTTPRoute, of the Gateway `gw`.
pub fn route(name: &str, hostnames: &str, rules: &str) -> String {
    route_of(name, "[{name: gw}]", hostnames, rules)
}

pub fn route_of(name: &str, parents: &str, hostnames: &str, rules: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: {name}}}\n\
         spec: {{parentRefs: {parents}, hostnames: [{hostnames}], rules: [{rules}]}}\n---\n"
    )
}

/// A Service for each pod: `s0`, `s1` and so on.
pub fn services(pods: &[Pod]) -> String {
    let one = |(index, pod)| service_with(&format!("s{index}"), std::slice::from_ref(pod), "");
    pods.iter().enumerate().map(one).collect()
}

/// A rule that leads to the Service of a pod.
pub fn rule(matches: &str, pod: usize) -> String {
    format!("{{matches: [{matches}], backendRefs: [{{name: s{pod}, port: 80}}]}}")
}

/// A client of a listener, which may open a moment later than narthex is ready.
pub fn connect(port: u16) -> Client {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    Client::over(eventually("the port is open", || TcpStream::connect(address).ok()))
}

/// The answer for a GET.
pub fn get(port: u16, host: &str, path: &str) -> Answer {
    request(port, &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
}

pub fn request(port: u16, text: &str) -> Answer {
    connect(port).send(text).answer()
}

/// Which pod answers a request.
fn answering(rig: &Rig, port: u16, text: &str) -> Option<usize> {
    let before: Vec<usize> = rig.pods.iter().map(|pod| pod.requests().len()).collect();
    if request(port, text).status != 200 {
        return None;
    }
    (0..rig.pods.len()).find(|pod| rig.pods[*pod].requests().len() > before[*pod])
}

fn path(kind: &str, value: &str) -> String {
    format!("{{path: {{type: {kind}, value: {value:?}}}}}")
}

#[test]
fn the_order_of_matches_is_that_of_gateway_api() {
    let port = free_address().port();
    let rig = Rig::with(8, FLAGS, |pods| {
        let with = |more: &str| format!("{{path: {{value: /m}}, {more}}}");
        let header = "headers: [{name: X-Color, value: blue}]";
        let rules = [
            rule(&path("PathPrefix", "/"), 0),
            rule(&path("PathPrefix", "/a/b"), 1),
            rule(&path("RegularExpression", "/a/b/[0-9]+"), 2),
            rule(&path("Exact", "/a/b/1"), 3),
            rule(&with(header), 4),
            rule(&with("method: POST"), 5),
            rule(&with("queryParams: [{name: q, value: x y}]"), 6),
            rule(
                &with("headers: [{name: x-color, type: RegularExpression, value: 'b.*'}, {name: x-size, value: '1'}]"),
                7,
            ),
        ];
        services(pods) + &gateway("gw", &[http("web", port, "")]) + &route("r", "", &rules.join(", "))
    });
    for (line, fields, wanted) in [
        ("GET /", "", 0),
        ("GET /a/bc", "", 0),
        ("GET /a/b", "", 1),
        ("GET /a/b/", "", 1),
        ("GET /a/b/x", "", 1),
        ("GET /a/b/2", "", 2),
        ("GET /a/b/2/3", "", 1),
        ("GET /a/b/1", "", 3),
        ("GET /a/b/1/", "", 1),
        ("GET /m", "", 0),
        ("GET /m/x", "X-Color: blue\r\n", 4),
        ("GET /m", "X-Color: red\r\n", 0),
        ("GET /m", "X-Color: blue\r\nX-Color: red\r\n", 0),
        ("POST /m", "X-Color: blue\r\nContent-Length: 0\r\n", 5),
        ("GET /m?q=x%20y", "", 6),
        ("GET /m?q=x+y&q=z", "X-Color: blue\r\n", 4),
        ("GET /m?Q=x+y", "", 0),
        ("GET /m", "X-Color: blue\r\nX-Size: 1\r\n", 7),
        ("GET /m", "X-Color: black\r\nX-Size: 1\r\n", 7),
    ] {
        let text = format!("{line} HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n");
        assert_eq!(answering(&rig, port, &text), Some(wanted), "{line} {fields}");
    }
}

/// The best listener alone answers, and in it the best hostname comes first.
#[test]
fn a_request_is_for_the_best_listener_and_its_best_hostname() {
    let port = free_address().port();
    let rig = Rig::with(5, FLAGS, |pods| {
        let named = |name: &str, host: &str| http(name, port, &format!(", hostname: \"{host}\""));
        let listeners = [
            http("any", port, ""),
            named("wide", "*.example.com"),
            named("narrow", "*.foo.example.com"),
            named("exact", "abc.foo.example.com"),
        ];
        let of = |section: &str| format!("[{{name: gw, sectionName: {section}}}]");
        services(pods)
            + &gateway("gw", &listeners)
            + &route_of("any", &of("any"), "", &rule(&path("PathPrefix", "/any"), 0))
            + &route_of("wide", &of("wide"), "", &rule(&path("PathPrefix", "/wide"), 1))
            + &route_of("narrow", &of("narrow"), "", &rule(&path("PathPrefix", "/narrow"), 2))
            // The wider hostname is the older one, and has the longer path.
            + &route_of("a-com", &of("exact"), "\"*.com\"", &rule(&path("PathPrefix", "/exact/long"), 3))
            + &route_of("b-foo", &of("exact"), "\"*.foo.example.com\"", &rule(&path("PathPrefix", "/exact"), 4))
    });
    let ask = |host: &str, path: &str| answering(&rig, port, &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    for (host, path, wanted) in [
        ("other.test", "/any", Some(0)),
        ("example.com", "/any", Some(0)),
        ("x.example.com", "/any", None),
        ("x.example.com", "/wide", Some(1)),
        ("x.y.z.example.com", "/wide", Some(1)),
        ("x.example.com:8080", "/wide", Some(1)),
        ("x.foo.example.com", "/wide", None),
        ("x.foo.example.com", "/narrow", Some(2)),
        ("foo.example.com", "/wide", Some(1)),
        ("abc.foo.example.com", "/narrow", None),
        ("abc.foo.example.com", "/exact/long", Some(4)),
        ("abc.foo.example.com", "/exact", Some(4)),
    ] {
        assert_eq!(ask(host, path), wanted, "{host}{path}");
    }
}

/// An invalid backend is 500 and an empty Service 503; and what falls to the rules of Ingresses.
#[test]
fn what_no_backend_can_answer_has_the_status_that_says_why() {
    let port = free_address().port();
    let rig = Rig::with(2, FLAGS, |pods| {
        let to = |at: &str, refs: &str| format!("{{matches: [{}], backendRefs: [{refs}]}}", path("PathPrefix", at));
        let rules = [
            to("/none", ""),
            to("/missing", "{name: nobody, port: 80}"),
            to("/port", "{name: s0, port: 81}"),
            to("/kind", "{name: s0, kind: Bucket, group: a.test, port: 80}"),
            to("/foreign", "{name: s0, namespace: other, port: 80}"),
            to("/zero", "{name: s0, port: 80, weight: 0}"),
            to("/empty", "{name: empty, port: 80}"),
            to("/filter", "{name: s0, port: 80}").replace(
                "backendRefs",
                "filters: [{type: ExtensionRef, extensionRef: {group: a.test, kind: X, name: x}}], backendRefs",
            ),
            to("/good", "{name: s0, port: 80}"),
            rule(&path("RegularExpression", "/good/[a-z]+"), 0).replace(
                "backendRefs",
                "filters: [{type: ExternalAuth, externalAuth: {protocol: HTTP}}], backendRefs",
            ),
        ];
        services(pods)
            + &service_with("empty", &[], "")
            + &gateway("gw", &[http("web", port, "")])
            + &route("r", "a.test", &rules.join(", "))
            + &ingress("i", "a.test", "/ingress", "s1", "")
    });
    for (path, status) in [
        ("/none", 500),
        ("/missing", 500),
        ("/port", 500),
        ("/kind", 500),
        ("/foreign", 500),
        ("/zero", 500),
        ("/empty", 503),
        ("/filter", 500),
        ("/good", 200),
        ("/good/x", 500),
        ("/nothing", 404),
        ("/ingress", 200),
    ] {
        assert_eq!(get(port, "a.test", path).status, status, "{path}");
    }
    assert_eq!(get(port, "b.test", "/good").status, 404);
    assert_eq!(rig.pods[1].requests().len(), 1, "a rule of an Ingress has answered");
    // On the address of Ingresses nobody sees the Gateway.
    let plain = rig.client().send("GET /good HTTP/1.1\r\nHost: a.test\r\n\r\n").answer();
    assert_eq!(plain.status, 404);
}

#[test]
fn requests_are_spread_by_weight_and_an_invalid_share_gets_500() {
    let port = free_address().port();
    let rig = Rig::with(3, FLAGS, |pods| {
        let split = "{backendRefs: [{name: s0, port: 80, weight: 6}, {name: s1, port: 80, weight: 2}, \
                     {name: s2, port: 80, weight: 0}, {name: nobody, port: 80, weight: 2}]}";
        services(pods) + &gateway("gw", &[http("web", port, "")]) + &route("r", "", split)
    });
    let mut client = connect(port);
    let mut failed = 0;
    const ALL: usize = 1000;
    for _ in 0..ALL {
        let answer = client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").answer();
        failed += usize::from(answer.status == 500);
    }
    let count = |pod: usize| rig.pods[pod].requests().len();
    assert_eq!(count(0) + count(1) + failed, ALL);
    assert_eq!(count(2), 0);
    // Five standard deviations.
    assert!(count(0).abs_diff(600) < 78, "{}", count(0));
    assert!(count(1).abs_diff(200) < 64, "{}", count(1));
    assert!(failed.abs_diff(200) < 64, "{failed}");
}

/// A Service without endpoints keeps its share: its requests get 503, and no other Service gets them.
#[test]
fn an_empty_service_keeps_its_share() {
    let port = free_address().port();
    let rig = Rig::with(1, FLAGS, |pods| {
        let split = "{backendRefs: [{name: s0, port: 80}, {name: empty, port: 80}]}";
        services(pods)
            + &service_with("empty", &[], "")
            + &gateway("gw", &[http("web", port, "")])
            + &route("r", "", split)
    });
    let mut client = connect(port);
    const ALL: usize = 600;
    let mut failed = 0;
    for _ in 0..ALL {
        let answer = client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").answer();
        failed += usize::from(answer.status == 503);
    }
    assert_eq!(rig.pods[0].requests().len() + failed, ALL);
    // Five standard deviations.
    assert!(failed.abs_diff(ALL / 2) < 62, "{failed}");
}

/// `add` makes one value.
#[test]
fn filters_change_what_pods_and_clients_get() {
    let port = free_address().port();
    let rig = Rig::with(2, FLAGS, |pods| {
        let request = "{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-Set, value: s}], \
                       add: [{name: X-Add, value: added}], remove: [X-Gone]}}";
        let reply = "{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: X-Set, value: r}], \
                     add: [{name: X-Add, value: added}], remove: [X-Gone]}}";
        let rewrite = "{type: URLRewrite, urlRewrite: {hostname: inner.test, \
                       path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}}";
        let whole = "{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /one}}}";
        let with = |at: &str, filters: &str| {
            rule(&path("PathPrefix", at), 0).replace("backendRefs", &format!("filters: [{filters}], backendRefs"))
        };
        let of_backend = format!(
            "{{matches: [{}], filters: [{request}], backendRefs: [{{name: s1, port: 80, filters: [{rewrite}]}}, \
             {{name: s0, port: 80, weight: 0}}]}}",
            path("PathPrefix", "/backend")
        );
        let rules = [
            with("/fields", &format!("{request}, {reply}")),
            with("/old", rewrite),
            with("/whole", whole),
            of_backend,
        ];
        services(pods) + &gateway("gw", &[http("web", port, "")]) + &route("r", "", &rules.join(", "))
    });
    rig.pods[0].answers(crate::rig::Reply::text(
        "HTTP/1.1 200 OK\r\nX-Add: own\r\nX-Set: own\r\nX-Gone: own\r\ncontent-length: 0\r\n\r\n",
    ));
    let ask = |path: &str| {
        let fields = "X-Add: one\r\nX-Add: two\r\nX-Set: c\r\nX-Gone: c\r\n";
        request(port, &format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n"))
    };
    let answer = ask("/fields");
    let of_answer = |name| answer.field(name);
    assert_eq!(of_answer("x-set"), Some("r"));
    assert_eq!(of_answer("x-add"), Some("own,added"));
    assert_eq!(of_answer("x-gone"), None);
    let got = rig.pods[0].last();
    assert_eq!(got.field("x-set"), ["s"]);
    assert_eq!(got.field("x-add"), ["one,two,added"]);
    assert!(got.field("x-gone").is_empty());
    assert_eq!(got.field("host"), ["a.test"]);
    for (path, wanted) in [
        ("/old", "/new"),
        ("/old/", "/new/"),
        ("/old/x?q=1", "/new/x?q=1"),
        ("/whole/x?q=1", "/one?q=1"),
    ] {
        assert_eq!(ask(path).status, 200);
        assert_eq!(rig.pods[0].last().line(), format!("GET {wanted} HTTP/1.1"));
    }
    assert_eq!(ask("/backend/x").status, 200);
    let got = rig.pods[1].last();
    assert_eq!(
        (got.line().as_str(), got.field("host")),
        ("GET /new/x HTTP/1.1", vec!["inner.test".to_owned()])
    );
    assert_eq!(
        got.field("x-add"),
        ["one,two,added"],
        "the rule's filters hold for the backend too"
    );
}

#[test]
fn what_cannot_be_read_of_a_match_is_closed() {
    let port = free_address().port();
    let _rig = Rig::with(1, FLAGS, |pods| {
        let rules = [
            rule(&path("RegularExpression", "/admin/(?!public).*"), 0),
            rule(
                "{path: {type: PathPrefix, value: /fields}, headers: [{name: \"a b\", value: x}]}",
                0,
            ),
            rule(&path("PathPrefix", "/"), 0),
        ];
        services(pods) + &gateway("gw", &[http("web", port, "")]) + &route("r", "", &rules.join(", "))
    });
    for (path, status) in [
        ("/", 200),
        ("/admi", 200),
        ("/admin/x", 500),
        ("/fields", 500),
        ("/fields/x", 500),
    ] {
        assert_eq!(get(port, "a.test", path).status, status, "{path}");
    }
}

#[test]
fn annotations_that_restrict_access_close_a_route() {
    let port = free_address().port();
    let _rig = Rig::with(1, FLAGS, |pods| {
        let guarded = |name: &str, annotation: &str| {
            let host = format!("{name}.test");
            route(name, &host, &rule(&path("PathPrefix", "/"), 0))
                .replace("metadata: {", &format!("metadata: {{annotations: {{{annotation}}}, "))
        };
        services(pods)
            + &gateway("gw", &[http("web", port, "")])
            + &guarded(
                "vendor",
                "nginx.ingress.kubernetes.io/whitelist-source-range: 10.0.0.0/8",
            )
            + &guarded("own", "narthex.io/allow-addresses: 10.0.0.0/8")
            + &guarded("open", "example.com/team: web")
    });
    for (host, status) in [("vendor.test", 500), ("own.test", 500), ("open.test", 200)] {
        assert_eq!(get(port, host, "/").status, status, "{host}");
    }
}

#[test]
fn a_value_that_a_filter_replaced_does_not_come_back() {
    let port = free_address().port();
    let rig = Rig::with(1, FLAGS, |pods| {
        let of_rule = "{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-Role, value: user}], \
                       remove: [X-Team], add: [{name: X-More, value: more}]}}";
        let of_backend = "{type: RequestHeaderModifier, requestHeaderModifier: {add: [{name: X-Role, value: a}, \
                          {name: X-Team, value: t}, {name: X-More, value: most}]}}";
        let cookies = "{type: ResponseHeaderModifier, responseHeaderModifier: {add: [{name: Set-Cookie, value: c=3}]}}";
        let rule = format!(
            "{{filters: [{of_rule}, {cookies}], backendRefs: [{{name: s0, port: 80, filters: [{of_backend}]}}]}}"
        );
        services(pods) + &gateway("gw", &[http("web", port, "")]) + &route("r", "", &rule)
    });
    rig.pods[0].answers(crate::rig::Reply::text(
        "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\ncontent-length: 0\r\n\r\n",
    ));
    let fields = "X-Role: admin\r\nX-Team: all\r\nX-More: c\r\n";
    let answer = request(port, &format!("GET / HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n"));
    let got = rig.pods[0].last();
    assert_eq!(got.field("x-role"), ["user,a"]);
    assert_eq!(got.field("x-team"), ["t"]);
    assert_eq!(got.field("x-more"), ["c,more,most"]);
    let lines = answer.head.to_lowercase();
    assert_eq!(lines.matches("set-cookie: ").count(), 3, "{lines}");
}

/// A redirect has the port of its own, or the usual one of its scheme, or the listener's.
#[test]
fn redirects_change_parts_of_the_url() {
    let port = free_address().port();
    let _rig = Rig::with(1, FLAGS, |pods| {
        let to = |at: &str, redirect: &str| {
            format!(
                "{{matches: [{}], filters: [{{type: RequestRedirect, requestRedirect: {{{redirect}}}}}]}}",
                path("PathPrefix", at)
            )
        };
        let rules = [
            to("/host", "hostname: other.test"),
            to("/scheme", "scheme: https, statusCode: 301"),
            to("/port", "port: 8443"),
            to("/both", "scheme: https, port: 443, statusCode: 308"),
            to("/plain", "scheme: http, port: 80, statusCode: 303"),
            to(
                "/prefix",
                "path: {type: ReplacePrefixMatch, replacePrefixMatch: /x/}, statusCode: 307",
            ),
            to("/full", "path: {type: ReplaceFullPath, replaceFullPath: /x}"),
            to("/empty", "path: {type: ReplacePrefixMatch, replacePrefixMatch: \"\"}"),
        ];
        services(pods) + &gateway("gw", &[http("web", port, "")]) + &route("r", "", &rules.join(", "))
    });
    for (path, status, wanted) in [
        ("/host/a?b=c", 302, format!("http://other.test:{port}/host/a?b=c")),
        ("/scheme", 301, "https://a.test/scheme".to_owned()),
        ("/port", 302, "http://a.test:8443/port".to_owned()),
        ("/both", 308, "https://a.test/both".to_owned()),
        ("/plain", 303, "http://a.test/plain".to_owned()),
        ("/prefix/y", 307, format!("http://a.test:{port}/x/y")),
        ("/prefix", 307, format!("http://a.test:{port}/x")),
        ("/full/y", 302, format!("http://a.test:{port}/x")),
        ("/empty", 302, format!("http://a.test:{port}/")),
    ] {
        let answer = get(port, &format!("a.test:{port}"), path);
        assert_eq!(
            (answer.status, answer.field("location")),
            (status, Some(&*wanted)),
            "{path}"
        );
    }
}

/// Behind a proxy that ends TLS the client has not used the listener's port.
#[test]
fn a_redirect_behind_a_trusted_proxy_has_no_port_of_the_listener() {
    let port = free_address().port();
    let flags = [FLAGS, &["--trusted-proxies", "127.0.0.1"]].concat();
    let _rig = Rig::with(1, &flags, |pods| {
        let redirect = "{filters: [{type: RequestRedirect, requestRedirect: {path: {type: ReplaceFullPath, \
                        replaceFullPath: /x}}}]}";
        services(pods) + &gateway("gw", &[http("web", port, "")]) + &route("r", "", redirect)
    });
    for (told, wanted) in [
        ("X-Forwarded-Proto: https\r\n", "https://a.test/x".to_owned()),
        ("", format!("http://a.test:{port}/x")),
    ] {
        let answer = request(port, &format!("GET / HTTP/1.1\r\nHost: a.test\r\n{told}\r\n"));
        assert_eq!(answer.field("location"), Some(&*wanted), "{told}");
    }
}

#[test]
fn mirrors_get_copies_and_nobody_waits_for_them() {
    let port = free_address().port();
    let rig = Rig::with(3, FLAGS, |pods| {
        let mirror = |pod: usize, more: &str| {
            format!("{{type: RequestMirror, requestMirror: {{backendRef: {{name: s{pod}, port: 80}}{more}}}}}")
        };
        let none = mirror(2, ", percent: 0");
        let set = "{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-Set, value: s}]}}";
        let filters = format!("filters: [{set}, {}, {none}], backendRefs", mirror(1, ""));
        let rules = rule(&path("PathPrefix", "/"), 0).replace("backendRefs", &filters);
        services(pods) + &gateway("gw", &[http("web", port, "")]) + &route("r", "", &rules)
    });
    rig.pods[1].takes(Duration::from_secs(5));
    assert_eq!(get(port, "a.test", "/x").status, 200);
    let copy = rig.pods[1].last();
    assert_eq!(
        (copy.line().as_str(), copy.field("x-set")),
        ("GET /x HTTP/1.1", vec!["s".to_owned()])
    );
    assert!(rig.pods[2].requests().is_empty());
}

#[test]
fn a_request_that_takes_too_long_gets_504() {
    let port = free_address().port();
    let rig = Rig::with(1, FLAGS, |pods| {
        let with = |at: &str, timeouts: &str| {
            let timeouts = format!("timeouts: {{{timeouts}}}, backendRefs");
            rule(&path("PathPrefix", at), 0).replace("backendRefs", &timeouts)
        };
        let rules = [
            with("/request", "request: 100ms"),
            with("/backend", "request: 10s, backendRequest: 100ms"),
            with("/none", "request: 0s"),
        ];
        services(pods) + &gateway("gw", &[http("web", port, "")]) + &route("r", "", &rules.join(", "))
    });
    rig.pod().takes(Duration::from_millis(1000));
    for (path, status) in [("/request", 504), ("/backend", 504), ("/none", 200)] {
        assert_eq!(get(port, "a.test", path).status, status, "{path}");
    }
}

/// Ports open and close with their listeners, and others go on.
#[test]
fn listeners_come_and_go_with_the_files() {
    let (port, other) = (free_address().port(), free_address().port());
    let rig = Rig::with(1, FLAGS, |pods| {
        services(pods) + &route("r", "", &rule(&path("PathPrefix", "/"), 0))
    });
    let file = rig.folder.path().join("gateway.yaml");
    let write = |listeners: &[String]| std::fs::write(&file, gateway("gw", listeners)).unwrap();
    write(&[http("web", port, "")]);
    let mut kept = connect(port);
    assert_eq!(kept.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").answer().status, 200);
    write(&[http("web", port, ""), http("more", other, "")]);
    assert_eq!(get(other, "a.test", "/").status, 200);
    assert_eq!(kept.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").answer().status, 200);
    write(&[http("web", port, "")]);
    let address = SocketAddr::from(([127, 0, 0, 1], other));
    eventually("the port is closed", || {
        TcpStream::connect(address).is_err().then_some(())
    });
    assert_eq!(kept.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").answer().status, 200);
}
