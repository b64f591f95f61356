//! Authentication by a service, as Ingresses of ingress-nginx ask for it.

use crate::ingress_nginx::nginx;
use crate::rig::{Answer, Got, Pod, Reply, Rig, eventually, get, service_with};
use std::time::Duration;

const ALL: &[(&str, &str)] = &[("Prefix", "/")];
const URL: (&str, &str) = ("auth-url", "http://auth.default.svc.cluster.local/verify");

/// A pod, and a service behind `auth` that says who may come in.
fn rig(manifests: impl FnOnce() -> String) -> Rig {
    let flags = ["--drop-in", "ingress-nginx", "--shards", "1"];
    Rig::with(2, &flags, |pods: &[Pod]| {
        service_with("web", &pods[..1], "") + &service_with("auth", &pods[1..], "") + &manifests()
    })
}

fn auth(rig: &Rig) -> &Pod {
    &rig.pods[1]
}

fn answers(rig: &Rig, text: &str) {
    auth(rig).answers(Reply::text(text));
}

fn ask(rig: &Rig, host: &str, fields: &[(&str, &str)]) -> Answer {
    ask_for(rig, host, "/a?b=c", fields)
}

fn ask_for(rig: &Rig, host: &str, target: &str, fields: &[(&str, &str)]) -> Answer {
    let lines: String = fields
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    rig.client()
        .send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n"))
        .answer()
}

fn one(got: &Got, name: &str) -> String {
    let all = got.field(name);
    assert!(all.len() == 1, "{name}: {all:?} in {}", got.text());
    all[0].clone()
}

#[test]
fn a_service_lets_clients_in_and_the_pod_learns_who_they_are() {
    let rig = rig(|| {
        nginx(
            "a.test",
            &[
                URL,
                ("auth-response-headers", "X-Auth-User, Authorization,X-Auth-Groups"),
            ],
            ALL,
        )
    });
    answers(
        &rig,
        "HTTP/1.1 200 OK\r\nX-Auth-User: ann\r\nAuthorization: Bearer t\r\nX-Other: 1\r\nSet-Cookie: s=1; Path=/\r\nSet-Cookie: \
         t=2\r\nContent-Length: 2\r\n\r\nok",
    );
    let answer = ask(
        &rig,
        "a.test",
        &[
            ("X-Auth-User", "root"),
            ("x_auth_user", "root"),
            ("X-AUTH_GROUPS", "admin"),
            ("Authorization", "Basic x"),
            ("Cookie", "c=1"),
        ],
    );
    assert_eq!(answer.status, 200);
    let pod = rig.pod().last();
    assert_eq!(one(&pod, "x-auth-user"), "ann");
    assert_eq!(one(&pod, "authorization"), "Bearer t");
    assert_eq!(one(&pod, "cookie"), "c=1");
    for gone in ["x_auth_user", "x-auth_groups", "x-auth-groups", "x-other"] {
        assert!(pod.field(gone).is_empty(), "{gone}: {}", pod.text());
    }
    let cookies: Vec<&str> = answer
        .head
        .lines()
        .filter(|line| line.to_lowercase().starts_with("set-cookie"))
        .collect();
    assert_eq!(cookies.len(), 2, "{}", answer.head);
    // Without the field in its answer, the pod gets none at all.
    answers(&rig, "HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(ask(&rig, "a.test", &[("X-Auth-User", "root")]).status, 200);
    assert!(rig.pod().last().field("x-auth-user").is_empty());
    let connections = auth(&rig).connections.load(std::sync::atomic::Ordering::SeqCst);
    assert_eq!(connections, 1, "its connection is kept");
    let (_, explained) = get(rig.admin, "/api/v1/explain?url=http://a.test/");
    assert!(
        explained.contains("access(external(auth.default.svc.cluster.local))"),
        "{explained}"
    );
}

#[test]
fn the_service_is_told_of_the_request() {
    let rig = rig(|| {
        nginx("a.test", &[URL], ALL)
            + &nginx(
                "b.test",
                &[
                    (
                        "auth-url",
                        "http://auth.default.svc/v?u=$request_uri&h=$host&x=$http_x_any",
                    ),
                    ("auth-method", "POST"),
                    ("auth-request-redirect", "https://$host/back"),
                ],
                ALL,
            )
    });
    let fields = [
        ("X-Original-URL", "http://evil.test/"),
        ("X-Original-Method", "EVIL"),
        ("X_Original_Method", "EVIL"),
        ("X-Auth-Request-Redirect", "/evil"),
        ("X-Forwarded-For", "6.6.6.6"),
        ("X-Forwarded-Proto", "https"),
        ("Connection", "X-Gone"),
        ("X-Gone", "1"),
        ("Cookie", "c=1"),
        ("X-Any", "a b"),
    ];
    assert_eq!(ask_for(&rig, "a.test", "/p/../q/%2e/x?y=z", &fields).status, 200);
    let got = auth(&rig).last();
    assert_eq!(got.line(), "GET /verify HTTP/1.1");
    for (name, value) in [
        ("host", "auth.default.svc.cluster.local"),
        ("x-original-url", "http://a.test/q/x?y=z"),
        ("x-original-method", "GET"),
        ("x-sent-from", "nginx-ingress-controller"),
        ("x-auth-request-redirect", "/q/x?y=z"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-real-ip", "127.0.0.1"),
        ("cookie", "c=1"),
    ] {
        assert_eq!(one(&got, name), value, "{name}");
    }
    for gone in [
        "x-forwarded-proto",
        "x_original_method",
        "x-gone",
        "connection",
        "x-original-uri",
        "x-scheme",
    ] {
        assert!(got.field(gone).is_empty(), "{gone}: {}", got.text());
    }
    assert_eq!(one(&got, "x-request-id"), one(&rig.pod().last(), "x-request-id"));
    // Its own method, and the body of the request stays with the pod.
    let mut client = rig.client();
    let post = "POST /a HTTP/1.1\r\nHost: b.test\r\nX-Any: a b\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    client.send(post);
    let got = eventually("it is asked", || auth(&rig).requests().get(1).cloned());
    assert_eq!(got.line(), "POST /v?u=/a&h=b.test&x=a%20b HTTP/1.1");
    assert_eq!(
        (one(&got, "x-original-uri"), one(&got, "x-scheme")),
        ("/a".into(), "http".into())
    );
    assert_eq!(one(&got, "x-auth-request-redirect"), "https://b.test/back");
    assert_eq!(one(&got, "x-original-method"), "POST");
    for gone in ["content-length", "expect", "transfer-encoding"] {
        assert!(got.field(gone).is_empty(), "{gone}");
    }
    client.send("body");
    let mut answer = client.answer();
    if answer.status == 100 {
        answer = client.answer();
    }
    assert_eq!(answer.status, 200);
    assert!(rig.pod().last().text().ends_with("\r\n\r\nbody"));
}

#[test]
fn only_2xx_lets_clients_in() {
    let rig = rig(|| {
        nginx("a.test", &[URL, ("proxy-read-timeout", "1")], ALL)
            + &nginx("always.test", &[URL, ("auth-always-set-cookie", "true")], ALL)
    });
    let reply = |status: &str, more: &str| format!("HTTP/1.1 {status}\r\n{more}Content-Length: 0\r\n\r\n");
    let wanted = reply(
        "401 Unauthorized",
        "WWW-Authenticate: Bearer realm=x\r\nSet-Cookie: s=1\r\nX-A: b\r\n",
    );
    answers(&rig, &wanted);
    let answer = ask(&rig, "a.test", &[]);
    assert_eq!(
        (answer.status, answer.field("www-authenticate"), &*answer.body),
        (401, Some("Bearer realm=x"), &b"unauthorized\n"[..])
    );
    assert_eq!((answer.field("set-cookie"), answer.field("x-a")), (None, None));
    assert_eq!(ask(&rig, "always.test", &[]).field("set-cookie"), Some("s=1"));
    let long = format!("HTTP/1.1 200 OK\r\nContent-Length: 65537\r\n\r\n{}", "x".repeat(65537));
    let chunks = format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n11000\r\n{}\r\n0\r\n\r\n",
        "x".repeat(0x11000)
    );
    let cases: Vec<(&str, Reply, u16)> = vec![
        ("403", Reply::text(&reply("403 Forbidden", "")), 403),
        (
            "302",
            Reply::text(&reply("302 Found", "Location: http://evil.test/\r\n")),
            500,
        ),
        ("404", Reply::text(&reply("404 Not Found", "")), 500),
        ("500", Reply::text(&reply("500 Internal Server Error", "")), 500),
        (
            "101",
            Reply::text("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
            500,
        ),
        ("700", Reply::text(&reply("700 Odd", "")), 500),
        ("garbage", Reply::Last(b"garbage\r\n\r\n".to_vec()), 500),
        (
            "two lengths",
            Reply::Last(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx".to_vec()),
            500,
        ),
        ("nothing", Reply::Last(Vec::new()), 500),
        ("half a head", Reply::Last(b"HTTP/1.1 200 OK\r\nX-A".to_vec()), 500),
        (
            "half a body",
            Reply::Last(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx".to_vec()),
            500,
        ),
        ("silence", Reply::Silence, 500),
        ("too long", Reply::Last(long.into_bytes()), 500),
        ("long chunks", Reply::Last(chunks.into_bytes()), 500),
        (
            "early hints",
            Reply::text("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"),
            401,
        ),
    ];
    for (name, reply, status) in cases {
        auth(&rig).answers(reply);
        let answer = ask(&rig, "a.test", &[]);
        assert_eq!(answer.status, status, "{name}");
        assert_eq!(answer.field("location"), None, "{name}");
    }
    assert!(rig.pod().requests().is_empty(), "no pod has seen any of these");
    answers(&rig, &reply("299 Fine", ""));
    assert_eq!(ask(&rig, "a.test", &[]).status, 200);
    // One that is slow holds up those who need it, and nobody else.
    auth(&rig).takes(Duration::from_millis(300));
    assert_eq!(ask(&rig, "a.test", &[]).status, 200);
}

#[test]
fn clients_are_sent_where_they_can_sign_in() {
    let rig = rig(|| {
        let with = |more: &[(&'static str, &'static str)]| [&[URL], more].concat();
        nginx("a.test", &with(&[("auth-signin", "https://login.test/start")]), ALL)
            + &nginx(
                "b.test",
                &with(&[("auth-signin", "https://$host/oauth2/start?x=1")]),
                ALL,
            )
            + &nginx(
                "c.test",
                &with(&[("auth-signin", "https://login.test/?rd=$escaped_request_uri")]),
                ALL,
            )
            + &nginx(
                "d.test",
                &with(&[
                    ("auth-signin", "https://login.test/?rd=x"),
                    ("auth-signin-redirect-param", "next"),
                ]),
                ALL,
            )
            + &nginx(
                "e.test",
                &with(&[("auth-signin", "https://login.test/"), ("enable-cors", "true")]),
                ALL,
            )
    });
    answers(
        &rig,
        "HTTP/1.1 401 Unauthorized\r\nSet-Cookie: state=1\r\nContent-Length: 0\r\n\r\n",
    );
    for (host, location) in [
        ("a.test", "https://login.test/start?rd=http://a.test%2Fa%3Fb%3Dc"),
        ("b.test", "https://b.test/oauth2/start?x=1&rd=http://b.test%2Fa%3Fb%3Dc"),
        ("c.test", "https://login.test/?rd=%2Fa%3Fb%3Dc"),
        ("d.test", "https://login.test/?rd=x&next=http://d.test%2Fa%3Fb%3Dc"),
    ] {
        let answer = ask(&rig, host, &[]);
        assert_eq!(
            (answer.status, answer.field("location")),
            (302, Some(location)),
            "{host}"
        );
        assert_eq!(answer.field("set-cookie"), Some("state=1"), "{host}");
    }
    let answer = ask(&rig, "e.test", &[("Origin", "https://x.test")]);
    assert_eq!(
        (answer.status, answer.field("access-control-allow-origin")),
        (302, Some("*"))
    );
    answers(&rig, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(ask(&rig, "a.test", &[]).status, 403);
    assert!(rig.pod().requests().is_empty());
}

#[test]
fn what_cannot_be_asked_lets_nobody_in() {
    type Case<'c> = (&'c str, &'c [(&'c str, &'c str)], u16, &'c str);
    let cases: &[Case<'_>] = &[
        (
            "none.test",
            &[("auth-url", "http://none.default.svc/")],
            500,
            "no such Service",
        ),
        (
            "port.test",
            &[("auth-url", "http://auth.default.svc:81/")],
            500,
            "no such port",
        ),
        (
            "loop.test",
            &[("auth-url", "http://127.0.0.1:1/")],
            500,
            "does not resolve to any address",
        ),
        (
            "meta.test",
            &[("auth-url", "http://169.254.169.254/")],
            500,
            "does not resolve to any address",
        ),
        (
            "six.test",
            &[("auth-url", "http://[::1]:80/")],
            500,
            "does not resolve to any address",
        ),
        (
            "var.test",
            &[("auth-url", "http://$http_x/")],
            503,
            "has a variable in its host",
        ),
        ("ftp.test", &[("auth-url", "ftp://a.test/")], 503, "neither an HTTP"),
        ("text.test", &[("auth-url", "auth")], 503, "is not a URL"),
        ("user.test", &[("auth-url", "http://a@b.test/")], 503, "auth-url"),
        ("line.test", &[("auth-url", "http://a.test/\r\nX: y")], 503, "auth-url"),
        ("name.test", &[("auth-url", "http://a.test/$unknown")], 503, "$unknown"),
        (
            "method.test",
            &[URL, ("auth-method", "TRACE")],
            503,
            "is not one of GET",
        ),
        (
            "fields.test",
            &[URL, ("auth-response-headers", "X-A b")],
            503,
            "is not a token",
        ),
        (
            "host.test",
            &[URL, ("auth-response-headers", "Content-Length")],
            503,
            "is not a service's to say",
        ),
        (
            "snippet.test",
            &[URL, ("auth-snippet", "proxy_pass http://evil;")],
            503,
            "proxy_pass",
        ),
    ];
    let rig = rig(|| {
        let all = cases
            .iter()
            .map(|(host, annotations, ..)| nginx(host, annotations, ALL));
        all.collect::<String>() + &nginx("good.test", &[URL], ALL)
    });
    let (_, problems) = get(rig.admin, "/api/v1/diagnostics");
    for (host, _, status, why) in cases {
        assert_eq!(ask(&rig, host, &[]).status, *status, "{host}");
        let object = format!("default/x{}", host.replace(['*', '.'], "-"));
        let said = problems
            .split(&object)
            .skip(1)
            .any(|said| said.split("\"severity\"").next().unwrap().contains(why));
        assert!(said, "{host}: {why}: {problems}");
    }
    assert!(rig.pod().requests().is_empty() && auth(&rig).requests().is_empty());
    assert_eq!(ask(&rig, "good.test", &[]).status, 200);
}

#[test]
fn the_host_of_the_request_may_be_where_the_service_is() {
    let rig = rig(|| {
        let service = |host: &str, path: &str| {
            nginx(host, &[], &[("Prefix", path)])
                .replace(
                    &format!("name: 'x{}'", host.replace(['*', '.'], "-")),
                    &format!("name: 'y{}'", host.replace(['*', '.'], "-")),
                )
                .replace("name: web", "name: auth")
        };
        nginx("a.test", &[("auth-url", "https://$host/oauth2/auth")], ALL)
            + &service("a.test", "/oauth2")
            + &nginx("itself.test", &[("auth-url", "https://$host/any")], ALL)
            + &nginx("nobody.test", &[("auth-url", "https://$host/any")], &[("Prefix", "/a")])
            + &nginx("*.wild.test", &[("auth-url", "https://$host/oauth2/auth")], ALL)
            + &service("*.wild.test", "/oauth2")
            + &service("tenant.wild.test", "/oauth2").replace("ingressClassName: nginx, ", "")
    });
    answers(&rig, "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(ask(&rig, "a.test", &[]).status, 200);
    let got = auth(&rig).last();
    assert_eq!(
        (got.line().as_str(), one(&got, "host").as_str()),
        ("GET /oauth2/auth HTTP/1.1", "a.test")
    );
    answers(&rig, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(ask(&rig, "a.test", &[]).status, 403);
    assert_eq!(
        ask(&rig, "itself.test", &[]).status,
        500,
        "it would ask itself who may ask"
    );
    assert_eq!(ask(&rig, "nobody.test", &[]).status, 500);
    answers(&rig, "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(
        ask(&rig, "tenant.wild.test", &[]).status,
        500,
        "who has a rule for one host does not let clients in by a rule for more"
    );
    assert_eq!(rig.pod().requests().len(), 1);
}

#[test]
fn one_way_to_come_in_may_be_enough() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: users}\ntype: Opaque\nstringData: {auth: 'ann:{PLAIN}p'}\n---\n";
    let rig = rig(|| {
        let basic = [("auth-type", "basic"), ("auth-secret", "users")];
        let any = ("satisfy", "any");
        let here = ("whitelist-source-range", "127.0.0.0/8");
        let elsewhere = ("whitelist-source-range", "10.0.0.0/8");
        let denies = ("denylist-source-range", "10.0.0.1");
        let with = |more: &[(&'static str, &'static str)]| [&basic[..], more].concat();
        secret.to_owned()
            + &nginx("here.test", &with(&[any, here]), ALL)
            + &nginx("elsewhere.test", &with(&[any, elsewhere]), ALL)
            + &nginx("all.test", &with(&[elsewhere]), ALL)
            + &nginx("both.test", &with(&[URL]), ALL)
            + &nginx("either.test", &with(&[URL, any, elsewhere]), ALL)
            + &nginx("alone.test", &[any, elsewhere], ALL)
            + &nginx("service.test", &[any, elsewhere, URL], ALL)
            + &nginx("wrong.test", &with(&[("satisfy", "some"), here]), ALL)
            + &nginx("denies.test", &with(&[any, denies]), ALL)
            + &nginx("alone-denies.test", &[any, denies], ALL)
            + &nginx(
                "old-name.test",
                &[elsewhere, ("allowlist-source-range", "127.0.0.0/8")],
                ALL,
            )
            + &nginx("new-name.test", &[here, ("allowlist-source-range", "10.0.0.0/8")], ALL)
            + &nginx("empty.test", &[("auth-url", " ")], ALL)
    });
    let right = [("Authorization", "Basic YW5uOnA=")];
    let wrong = [("Authorization", "Basic YW5uOng=")];
    let status = |host: &str, fields: &[(&str, &str)]| ask(&rig, host, fields).status;
    let refused = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    assert_eq!((status("here.test", &[]), status("here.test", &wrong)), (200, 200));
    assert_eq!(
        (status("elsewhere.test", &[]), status("elsewhere.test", &right)),
        (401, 200)
    );
    assert_eq!((status("all.test", &right), status("alone.test", &right)), (403, 403));
    assert_eq!((status("wrong.test", &right), status("empty.test", &[])), (503, 503));
    assert_eq!(
        (status("denies.test", &[]), status("denies.test", &right)),
        (401, 200),
        "whoever is not denied has not shown who it is"
    );
    assert_eq!(status("alone-denies.test", &[]), 200);
    assert_eq!((status("old-name.test", &[]), status("new-name.test", &[])), (200, 403));
    assert_eq!((status("both.test", &right), status("both.test", &wrong)), (200, 401));
    assert_eq!(
        (status("either.test", &wrong), status("either.test", &right)),
        (200, 200)
    );
    answers(&rig, refused);
    assert_eq!((status("both.test", &right), status("both.test", &wrong)), (403, 401));
    let answer = ask(&rig, "either.test", &wrong);
    assert_eq!(
        (answer.status, answer.field("www-authenticate")),
        (401, Some("Basic realm=\"\""))
    );
    assert_eq!((status("either.test", &right), status("service.test", &[])), (200, 403));
    auth(&rig).answers(Reply::Last(Vec::new()));
    assert_eq!((status("either.test", &wrong), status("service.test", &[])), (500, 500));
}
