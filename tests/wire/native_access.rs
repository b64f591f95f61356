//! Who may come in by narthex's own annotations: passwords and services.

use crate::ingress_nginx_auth::{basic, secret};
use crate::native::{ALL, native, problems};
use crate::rig::{Answer, Pod, Reply, Rig, get, service_with};

/// A pod, and a service behind `auth` that says who may come in.
fn rig(flags: &[&str], manifests: impl FnOnce() -> String) -> Rig {
    Rig::with(2, flags, |pods: &[Pod]| {
        service_with("web", &pods[..1], "")
            + &service_with("auth", &pods[1..], "")
            + &secret("users", &[("auth", "ann:{PLAIN}secret")])
            + &manifests()
    })
}

fn ask(rig: &Rig, host: &str, fields: &[(&str, &str)]) -> Answer {
    let lines: String = fields
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let request = format!("GET /a?b=c HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n");
    rig.client().send(request).answer()
}

const USERS: (&str, &str) = ("auth-basic-secret", "users");
const URL: (&str, &str) = ("auth-url", "http://auth.default.svc/verify?m=$request_method");

#[test]
fn a_password_is_asked_for() {
    let rig = rig(&[], || {
        native(
            "a.test",
            &[
                USERS,
                ("response-headers-set", "X-Inside: 1"),
                ("cors-allow-origin", "*"),
            ],
            ALL,
        ) + &native(
            "kept.test",
            &[USERS, ("auth-basic-forward", "true"), ("auth-basic-realm", "Staff")],
            ALL,
        ) + &native("moved.test", &[USERS, ("redirect", "/x")], ALL)
    });
    let ann = basic("ann", "secret");
    let answer = ask(&rig, "a.test", &[("Origin", "https://x.test")]);
    assert_eq!(
        (answer.status, answer.field("www-authenticate")),
        (401, Some("Basic realm=\"Restricted\""))
    );
    assert_eq!(
        answer.field("access-control-allow-origin"),
        Some("*"),
        "the step before has its say"
    );
    assert_eq!(answer.field("x-inside"), None, "the step behind has none");
    let answer = ask(&rig, "a.test", &[("Authorization", &ann)]);
    assert_eq!((answer.status, answer.field("x-inside")), (200, Some("1")));
    assert!(rig.pod().last().field("authorization").is_empty());
    assert_eq!(
        ask(&rig, "a.test", &[("Authorization", &basic("ann", "x"))]).status,
        401
    );
    let answer = ask(&rig, "kept.test", &[]);
    assert_eq!(answer.field("www-authenticate"), Some("Basic realm=\"Staff\""));
    assert_eq!(ask(&rig, "kept.test", &[("Authorization", &ann)]).status, 200);
    assert_eq!(rig.pod().last().field("authorization"), [ann]);
    assert_eq!(ask(&rig, "moved.test", &[]).status, 302, "a redirect comes first");
}

#[test]
fn a_service_is_asked() {
    let rig = rig(&[], || {
        native(
            "a.test",
            &[
                URL,
                ("auth-response-headers", "X-User"),
                ("auth-signin", "https://login.test/start"),
            ],
            ALL,
        ) + &native(
            "post.test",
            &[URL, ("auth-method", "POST"), ("strip-prefix", "/a")],
            ALL,
        )
    });
    let auth = &rig.pods[1];
    auth.answers(Reply::text(
        "HTTP/1.1 200 OK\r\nX-User: ann\r\nContent-Length: 0\r\n\r\n",
    ));
    assert_eq!(
        ask(&rig, "a.test", &[("X-User", "forged"), ("x_user", "forged")]).status,
        200
    );
    assert_eq!(auth.last().line(), "GET /verify?m=GET HTTP/1.1");
    let got = rig.pod().last();
    assert_eq!(
        (got.field("x-user"), got.field("x_user")),
        (vec!["ann".to_owned()], vec![])
    );
    assert_eq!(ask(&rig, "post.test", &[]).status, 200);
    assert!(auth.last().line().starts_with("POST /verify"));
    assert_eq!(rig.pod().last().line(), "GET /?b=c HTTP/1.1");
    let before = rig.pod().requests().len();
    auth.answers(Reply::text("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"));
    let answer = ask(&rig, "a.test", &[]);
    let wanted = "https://login.test/start?rd=http://a.test%2Fa%3Fb%3Dc";
    assert_eq!((answer.status, answer.field("location")), (302, Some(wanted)));
    let (_, metrics) = get(rig.admin, "/metrics");
    let counted = metrics.lines().any(|line| {
        line.starts_with("narthex_route_refusals_total{") && line.contains("reason=\"sign_in\"") && line.ends_with(" 1")
    });
    assert!(counted, "a redirect to the page is a refusal");
    assert_eq!(ask(&rig, "post.test", &[]).status, 401);
    for (reply, status) in [
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", 403),
        ("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", 500),
        ("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", 500),
        ("SSH-2.0-OpenSSH\r\n", 500),
    ] {
        auth.answers(Reply::text(reply));
        assert_eq!(ask(&rig, "a.test", &[]).status, status, "{reply}");
    }
    assert_eq!(rig.pod().requests().len(), before);
}

#[test]
fn a_service_that_is_silent_lets_nobody_in() {
    let rig = rig(&[], || native("a.test", &[URL, ("auth-timeout", "50ms")], ALL));
    rig.pods[1].answers(Reply::Silence);
    assert_eq!(ask(&rig, "a.test", &[]).status, 500);
    assert!(rig.pod().requests().is_empty());
}

#[test]
fn one_of_several_is_enough_where_any_is() {
    let any = ("auth-satisfy", "any");
    let rig = rig(&["--trusted-proxies", "127.0.0.1"], || {
        native("a.test", &[USERS, ("allow-addresses", "10.0.0.0/8"), any], ALL)
            + &native("denied.test", &[USERS, ("deny-addresses", "10.0.0.0/8"), any], ALL)
            + &native("all.test", &[USERS, ("allow-addresses", "10.0.0.0/8")], ALL)
    });
    let ann = basic("ann", "secret");
    let from = |address: &'static str| ("X-Forwarded-For", address);
    for (host, fields, status) in [
        ("a.test", vec![from("10.0.0.1")], 200),
        ("a.test", vec![from("192.0.2.1")], 401),
        ("a.test", vec![from("192.0.2.1"), ("Authorization", &*ann)], 200),
        ("denied.test", vec![from("10.0.0.1"), ("Authorization", &*ann)], 403),
        ("denied.test", vec![from("192.0.2.1"), ("Authorization", &*ann)], 200),
        ("denied.test", vec![from("192.0.2.1")], 401),
        ("all.test", vec![from("10.0.0.1")], 401),
        ("all.test", vec![from("192.0.2.1"), ("Authorization", &*ann)], 403),
        ("all.test", vec![from("10.0.0.1"), ("Authorization", &*ann)], 200),
    ] {
        assert_eq!(ask(&rig, host, &fields).status, status, "{host} {fields:?}");
    }
}

#[test]
fn what_cannot_be_asked_for_closes_the_routes() {
    type Case<'c> = (&'c str, &'c [(&'c str, &'c str)], &'c str);
    let cases: &[Case<'_>] = &[
        (
            "a1.test",
            &[("auth-basic-secret", "none")],
            "does not exist in namespace",
        ),
        (
            "a2.test",
            &[("auth-basic-secret", "other/users")],
            "leave the namespace out",
        ),
        (
            "a3.test",
            &[USERS, ("auth-basic-realm", "a\"b")],
            "a realm may not have",
        ),
        (
            "a4.test",
            &[("auth-basic-realm", "x")],
            "it needs narthex.io/auth-basic-secret",
        ),
        ("a5.test", &[("auth-url", "auth.default.svc")], "is not a URL"),
        (
            "a6.test",
            &[("auth-url", "http://$host/verify")],
            "has a variable in its host",
        ),
        (
            "a7.test",
            &[("auth-url", "https://login.test/verify")],
            "needs --allow-external-names",
        ),
        ("a8.test", &[("auth-signin", "/login")], "it needs narthex.io/auth-url"),
        ("a9.test", &[URL, ("auth-response-headers", "Host")], "is not a service"),
        ("b1.test", &[URL, ("auth-timeout", "soon")], "is not a duration"),
        ("b2.test", &[URL, ("auth-method", "TRACE")], "is not one of GET"),
        ("b3.test", &[USERS, ("auth-satisfy", "some")], "is not one of all, any"),
        (
            "b4.test",
            &[URL, ("auth-signin", "login")],
            "is neither a URL nor a path",
        ),
    ];
    let rig = rig(&[], || {
        cases
            .iter()
            .map(|(host, annotations, _)| native(host, annotations, ALL))
            .collect()
    });
    for (host, annotations, why) in cases {
        let said = problems(&rig, host);
        let code = if *host == "a1.test" {
            "SecretNotFound"
        } else {
            "GuardInvalid"
        };
        assert!(said.contains(code) && said.contains(why), "{annotations:?}: {said}");
        let answer = ask(&rig, host, &[("Authorization", &basic("ann", "secret"))]);
        assert_eq!(
            (answer.status, &*answer.body),
            (503, &b"guard invalid\n"[..]),
            "{annotations:?}"
        );
    }
    assert!(rig.pods.iter().all(|pod| pod.requests().is_empty()));
}
