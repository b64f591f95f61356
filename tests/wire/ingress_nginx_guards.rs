//! Keys of the ConfigMap of ingress-nginx that keep requests from pods, and what is remembered of services that are asked.

use crate::ingress_nginx::{ask, nginx};
use crate::ingress_nginx_config::{FLAGS, config_map, global};
use crate::rig::{Pod, Reply, Rig, get, service_with};
use std::process::Command;

const ALL: &[(&str, &str)] = &[("Prefix", "/")];
const AUTH: &str = "http://auth.default.svc/verify";

/// A pod, and a service behind `auth` that says who may come in.
fn rig(manifests: impl FnOnce() -> String) -> Rig {
    let flags = [&["--drop-in", "ingress-nginx", "--shards", "2"], FLAGS].concat();
    Rig::with(2, &flags, |pods: &[Pod]| {
        service_with("web", &pods[..1], "") + &service_with("auth", &pods[1..], "") + &manifests()
    })
}

fn status(rig: &Rig, host: &str, target: &str, fields: &[(&str, &str)]) -> u16 {
    let lines: String = fields
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n");
    rig.client().send(request).answer().status
}

fn asked(rig: &Rig) -> usize {
    rig.pods[1].requests().len()
}

fn refuses(rig: &Rig) {
    rig.pods[1].answers(Reply::text("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"));
}

#[test]
fn one_service_says_for_all_ingresses_who_may_come_in() {
    let rig = rig(|| {
        let any = [("satisfy", "any"), ("whitelist-source-range", "10.0.0.0/8")];
        global(&[
            ("global-auth-url", AUTH),
            ("global-auth-method", "POST"),
            ("global-auth-response-headers", "X-User"),
            ("global-auth-signin", "https://login.test/"),
            ("global-auth-signin-redirect-param", "back"),
            ("no-auth-locations", "'/.well-known/acme-challenge,/open'"),
        ]) + &nginx("a.test", &[], &[("Prefix", "/"), ("Prefix", "/open")])
            + &nginx("out.test", &[("enable-global-auth", "false")], ALL)
            + &nginx("own.test", &[("auth-url", "http://none.default.svc/")], ALL)
            + &nginx("any.test", &any, &[("Prefix", "/"), ("Exact", "/open")])
            + &nginx("native.test", &[], ALL).replace("ingressClassName: nginx", "ingressClassName: narthex")
    });
    rig.pods[1].answers(Reply::text(
        "HTTP/1.1 200 OK\r\nX-User: ann\r\nContent-Length: 0\r\n\r\n",
    ));
    assert_eq!(status(&rig, "a.test", "/x", &[("X-User", "root")]), 200);
    assert_eq!(rig.pods[1].last().line(), "POST /verify HTTP/1.1");
    assert_eq!(rig.pod().last().field("x-user"), ["ann"]);
    refuses(&rig);
    let answer = rig.client().send("GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n").answer();
    let location = answer.field("location");
    assert_eq!(
        (answer.status, location),
        (302, Some("https://login.test/?back=http://a.test%2Fx"))
    );
    let before = (asked(&rig), rig.pod().requests().len());
    for (host, target, wanted) in [
        ("a.test", "/open/x", 200),
        ("out.test", "/", 200),
        ("native.test", "/", 200),
        ("own.test", "/", 500),
        ("any.test", "/open", 403),
    ] {
        assert_eq!(status(&rig, host, target, &[]), wanted, "{host}{target}");
    }
    assert_eq!((asked(&rig), rig.pod().requests().len()), (before.0, before.1 + 3));
    assert_eq!(status(&rig, "any.test", "/", &[]), 302);
}

#[test]
fn clients_are_refused_for_what_they_say_of_themselves() {
    let rig = rig(|| {
        global(&[
            ("block-user-agents", "'evil-bot,~*curl/7,~^Crawl'"),
            ("block-referers", "'~spam[.]test'"),
        ]) + &nginx(
            "a.test",
            &[("enable-cors", "true"), ("permanent-redirect", "https://b.test/")],
            ALL,
        ) + &nginx("b.test", &[], ALL)
    });
    for (name, value, wanted) in [
        ("User-Agent", "evil-bot", 403),
        ("User-Agent", "Evil-Bot", 403),
        ("User-Agent", "evil-bot/1.0", 200),
        ("User-Agent", "a CURL/7.1", 403),
        ("User-Agent", "Crawler", 403),
        ("User-Agent", "a Crawler", 200),
        ("Referer", "http://spam.test/x", 403),
        ("Referer", "http://spamxtest/x", 200),
    ] {
        assert_eq!(
            ask(&rig, "GET", "b.test", "/", &[(name, value)]).status,
            wanted,
            "{name}: {value}"
        );
    }
    assert_eq!(
        ask(&rig, "GET", "a.test", "/", &[("User-Agent", "evil-bot")]).status,
        403
    );
    assert_eq!(ask(&rig, "GET", "a.test", "/", &[]).status, 301);
    assert_eq!(rig.pod().requests().len(), 3);
}

#[test]
fn snippets_are_translated_or_close_what_they_may_guard() {
    let snippet = |key: &str, text: &str| global(&[(key, &format!("'{text}'"))]) + &nginx("a.test", &[], ALL);
    let more = ("configuration-snippet", "add_header X-Own own; deny 10.0.0.1;");
    let rig = rig(|| {
        global(&[("location-snippet", "'more_set_headers \"X-All: all\"; deny 192.0.2.1;'")])
            + &nginx("a.test", &[more], ALL)
            + &nginx("b.test", &[], ALL)
    });
    let answer = ask(&rig, "GET", "a.test", "/", &[]);
    assert_eq!(
        (answer.field("x-all"), answer.field("x-own")),
        (Some("all"), Some("own"))
    );
    assert_eq!(ask(&rig, "GET", "b.test", "/", &[]).field("x-all"), Some("all"));
    let (_, explained) = get(rig.admin, "/api/v1/explain?url=http://a.test/&from=192.0.2.1");
    assert!(explained.contains("\"status\": 403"), "{explained}");
    for (key, text, closes) in [
        ("location-snippet", "deny 192.0.2.1; auth_basic x;", true),
        ("server-snippet", "if ($a) { return 403; }", true),
        ("http-snippet", "include /etc/rules;", true),
        ("main-snippet", "worker_rlimit_nofile 10;", false),
        ("http-snippet", "map $a $b { x y; }", false),
        ("global-auth-snippet", "deny all;", true),
        ("enable-modsecurity", "true", true),
        ("enable-modsecurity", "false", false),
        ("global-auth-url", "nonsense", true),
        ("global-auth-method", "TRACE", true),
        ("block-user-agents", "~(?!a)", true),
        ("block-referers", "~(", true),
        ("block-cidrs", "10.0.0.0/33", true),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let manifests = service_with("web", &[], "") + &snippet(key, text);
        std::fs::write(folder.path().join("all.yaml"), manifests).unwrap();
        let out = Command::new(env!("CARGO_BIN_EXE_narthex"))
            .args(["check", "--drop-in", "ingress-nginx"])
            .args(FLAGS)
            .arg(folder.path())
            .output()
            .unwrap();
        let said = String::from_utf8(out.stdout).unwrap() + &String::from_utf8(out.stderr).unwrap();
        let is_named = said.contains(&format!("data.{key}")) && said.contains("are closed: requests get 503");
        assert_eq!(
            (!out.status.success(), is_named),
            (closes, closes),
            "{key}: {text}: {said}"
        );
    }
}

#[test]
fn what_cannot_be_read_of_the_service_closes_those_it_is_for() {
    let rig = rig(|| {
        global(&[("global-auth-url", "ftp://a/")])
            + &nginx("a.test", &[], ALL)
            + &nginx("out.test", &[("enable-global-auth", "false")], ALL)
            + &nginx("own.test", &[("auth-url", AUTH)], ALL)
    });
    for (host, wanted) in [("a.test", 503), ("out.test", 200), ("own.test", 200)] {
        assert_eq!(status(&rig, host, "/", &[]), wanted, "{host}");
    }
    assert_eq!((rig.pod().requests().len(), asked(&rig)), (2, 1));
}

#[test]
fn statuses_are_those_of_the_config_map() {
    let rig = rig(|| {
        global(&[
            ("http-redirect-code", "'301'"),
            ("limit-req-status-code", "'429'"),
            ("limit-conn-status-code", "'444'"),
            ("no-tls-redirect-locations", "'/plain'"),
            ("server-tokens", "'false'"),
        ]) + &nginx(
            "a.test",
            &[("force-ssl-redirect", "true")],
            &[("Prefix", "/"), ("Prefix", "/plain/x")],
        ) + &nginx("b.test", &[("limit-rpm", "1"), ("limit-burst-multiplier", "0")], ALL)
    });
    rig.pod().answers(Reply::text(
        "HTTP/1.1 200 OK\r\nServer: pod\r\ncontent-length: 0\r\n\r\n",
    ));
    assert_eq!(ask(&rig, "GET", "a.test", "/x", &[]).status, 301);
    let answer = ask(&rig, "GET", "a.test", "/plain/x", &[]);
    assert_eq!((answer.status, answer.field("server")), (200, None));
    assert_eq!(
        [status(&rig, "b.test", "/", &[]), status(&rig, "b.test", "/", &[])],
        [200, 429]
    );
}

#[test]
fn answers_of_a_service_are_remembered_by_key_and_status() {
    let with = |more: &[(&'static str, &'static str)]| {
        let key = ("auth-cache-key", "$cookie_user");
        [&[("auth-url", AUTH), key], more].concat()
    };
    let manifests = move || {
        nginx("a.test", &with(&[("auth-response-headers", "X-User")]), ALL)
            + &nginx("other.test", &with(&[]), ALL)
            + &nginx("few.test", &with(&[("auth-cache-duration", "403 10m,200 202 0s")]), ALL)
            + &nginx("none.test", &[("auth-url", AUTH)], ALL)
    };
    let rig = rig(manifests);
    let cookie = |user: &'static str| [("Cookie", user)];
    rig.pods[1].answers(Reply::text(
        "HTTP/1.1 200 OK\r\nX-User: ann\r\nContent-Length: 0\r\n\r\n",
    ));
    assert_eq!(status(&rig, "a.test", "/x", &cookie("user=ann")), 200);
    refuses(&rig);
    assert_eq!(
        status(&rig, "a.test", "/y", &cookie("user=ann")),
        200,
        "it is remembered"
    );
    assert_eq!(rig.pod().last().field("x-user"), ["ann"]);
    assert_eq!(asked(&rig), 1);
    assert_eq!(status(&rig, "a.test", "/x", &cookie("user=bob")), 401, "another key");
    assert_eq!(
        status(&rig, "other.test", "/x", &cookie("user=ann")),
        401,
        "another Ingress"
    );
    assert_eq!(asked(&rig), 3);
    assert_eq!(status(&rig, "a.test", "/x", &cookie("user=bob")), 401);
    assert_eq!(asked(&rig), 3, "401 is remembered too");
    for _ in 0..2 {
        assert_eq!(status(&rig, "few.test", "/", &cookie("user=ann")), 401);
        assert_eq!(status(&rig, "none.test", "/", &cookie("user=ann")), 401);
    }
    assert_eq!(asked(&rig), 7, "statuses that are not named are asked for again");
    // What is for one client alone is not remembered.
    for field in [
        "Set-Cookie: a=b",
        "Cache-Control: private",
        "Cache-Control: max-age=0",
        "Vary: Cookie",
    ] {
        let before = asked(&rig);
        rig.pods[1].answers(Reply::text(&format!(
            "HTTP/1.1 200 OK\r\n{field}\r\nContent-Length: 0\r\n\r\n"
        )));
        for _ in 0..2 {
            assert_eq!(status(&rig, "a.test", "/x", &cookie("user=cid")), 200, "{field}");
        }
        assert_eq!(asked(&rig), before + 2, "{field}");
    }
    // A changed annotation forgets.
    refuses(&rig);
    let changed = manifests().replace("X-User", "X-Name");
    let all = service_with("web", &rig.pods[..1], "") + &service_with("auth", &rig.pods[1..], "") + &changed;
    std::fs::write(rig.manifest("all.yaml"), all).unwrap();
    crate::rig::eventually("it is asked anew", || {
        (status(&rig, "a.test", "/x", &cookie("user=ann")) == 401).then_some(())
    });
}

#[test]
fn a_config_map_says_what_a_service_is_told() {
    let told = ("auth-proxy-set-headers", "told");
    let rig = rig(|| {
        config_map(
            "default",
            "told",
            &[("X-Told", "'$host'"), ("X-Original-Method", "MINE")],
        ) + &config_map("default", "bad", &[("Content-Length", "'5'")])
            + &nginx("a.test", &[("auth-url", AUTH), told], ALL)
            + &nginx(
                "none.test",
                &[("auth-url", AUTH), ("auth-proxy-set-headers", "none")],
                ALL,
            )
            + &nginx(
                "bad.test",
                &[("auth-url", AUTH), ("auth-proxy-set-headers", "default/bad")],
                ALL,
            )
            + &nginx(
                "else.test",
                &[("auth-url", AUTH), ("auth-proxy-set-headers", "other/told")],
                ALL,
            )
    });
    let fields = [("X-Told", "evil"), ("x_told", "evil")];
    assert_eq!(status(&rig, "a.test", "/", &fields), 200);
    let got = rig.pods[1].last();
    assert_eq!(
        (got.field("x-told"), got.field("x-original-method")),
        (vec!["a.test".to_owned()], vec!["MINE".to_owned()])
    );
    assert!(got.field("x_told").is_empty());
    for host in ["none.test", "bad.test", "else.test"] {
        assert_eq!(status(&rig, host, "/", &[]), 503, "{host}");
    }
    assert_eq!((rig.pod().requests().len(), asked(&rig)), (1, 1));
}
