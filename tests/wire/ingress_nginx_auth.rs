//! Basic authentication as Ingresses of ingress-nginx ask for it.

use crate::ingress_nginx::{nginx, rig};
use crate::rig::{Answer, Rig, eventually, get};
use base64::Engine;
use std::process::Command;

const ALL: &[(&str, &str)] = &[("Prefix", "/")];

/// An Opaque Secret with these entries.
pub fn secret(name: &str, entries: &[(&str, &str)]) -> String {
    let entries: Vec<String> = entries
        .iter()
        .map(|(name, text)| {
            let text = base64::engine::general_purpose::STANDARD.encode(text);
            format!("'{name}': '{text}'")
        })
        .collect();
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\ntype: Opaque\ndata: {{{}}}\n---\n",
        entries.join(", ")
    )
}

pub fn basic(user: &str, password: &str) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!("Basic {text}")
}

/// A request with these fields.
fn ask(rig: &Rig, host: &str, fields: &[(&str, &str)]) -> Answer {
    let lines: String = fields
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    rig.client()
        .send(format!("GET /a?b=c HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n"))
        .answer()
}

fn sign_in(rig: &Rig, host: &str, user: &str, password: &str) -> Answer {
    ask(rig, host, &[("Authorization", &basic(user, password))])
}

/// `$2y$` with the cost 4, of the password `secret`.
fn hash(password: &str) -> String {
    bcrypt::hash(password, 4).unwrap()
}

const BASIC: &[(&str, &str)] = &[
    ("auth-type", "basic"),
    ("auth-secret", "users"),
    ("auth-realm", "Staff only"),
];

#[test]
fn who_shows_no_password_is_asked_for_one() {
    let rig = rig(&[], || {
        nginx("a.test", BASIC, ALL)
            + &nginx("open.test", &[], ALL)
            + &secret("users", &[("auth", &format!("ann:{}\n", hash("secret")))])
    });
    let answer = ask(&rig, "a.test", &[]);
    assert_eq!(
        (answer.status, answer.field("www-authenticate"), &*answer.body),
        (401, Some("Basic realm=\"Staff only\""), &b"unauthorized\n"[..])
    );
    for (user, password) in [("ann", "wrong"), ("ann", ""), ("bob", "secret"), ("", "")] {
        let answer = sign_in(&rig, "a.test", user, password);
        assert_eq!(answer.status, 401, "{user} {password}");
        assert!(answer.field("www-authenticate").is_some());
    }
    assert_eq!(ask(&rig, "a.test", &[("Authorization", "Bearer x")]).status, 401);
    let twice = basic("ann", "secret");
    let twice = [("Authorization", &*twice), ("Authorization", &*twice)];
    assert_eq!(ask(&rig, "a.test", &twice).status, 401, "two lines");
    assert!(rig.pod().requests().is_empty());
    for _ in 0..3 {
        assert_eq!(sign_in(&rig, "a.test", "ann", "secret").status, 200);
        let got = rig.pod().last();
        assert!(
            got.field("authorization").is_empty(),
            "the pod does not learn it: {}",
            got.text()
        );
    }
    assert_eq!(sign_in(&rig, "open.test", "ann", "any").status, 200);
    assert_eq!(rig.pod().last().field("authorization"), [basic("ann", "any")]);
    let (_, explained) = get(rig.admin, "/api/v1/explain?url=http://a.test/");
    assert!(explained.contains("access(basic(users=1))"), "{explained}");
}

#[test]
fn what_comes_before_the_password_is_answered_without_one() {
    let rig = rig(&[], || {
        let with = |more: &[(&'static str, &'static str)]| [BASIC, more].concat();
        nginx(
            "addresses.test",
            &with(&[("whitelist-source-range", "10.0.0.0/8")]),
            ALL,
        ) + &nginx("moved.test", &with(&[("permanent-redirect", "https://b.test/")]), ALL)
            + &nginx("cors.test", &with(&[("enable-cors", "true")]), ALL)
            + &secret("users", &[("auth", "ann:{PLAIN}secret")])
    });
    assert_eq!(ask(&rig, "addresses.test", &[]).status, 403);
    assert_eq!(ask(&rig, "moved.test", &[]).status, 301);
    let mut client = rig.client();
    let preflight = "OPTIONS / HTTP/1.1\r\nHost: cors.test\r\nOrigin: https://x.test\r\n\r\n";
    assert_eq!(client.send(preflight).answer_to("OPTIONS").unwrap().status, 204);
    let answer = ask(&rig, "cors.test", &[("Origin", "https://x.test")]);
    assert_eq!(
        (answer.status, answer.field("access-control-allow-origin")),
        (401, Some("*")),
        "the step before it has its say in the answer"
    );
}

#[test]
fn files_of_htpasswd_and_maps_are_read() {
    let made = |kind: &str| {
        let output = Command::new("htpasswd")
            .args(["-n", "-b", kind, "ann", "s\u{e9}cret"])
            .output()
            .ok()?;
        Some(String::from_utf8(output.stdout).unwrap())
    };
    let kinds = ["-B", "-m", "-s", "-2", "-5"];
    let Some(lines) = kinds.map(made).into_iter().collect::<Option<Vec<_>>>() else {
        // apache2-utils is not installed.
        return;
    };
    let hosts = ["b.test", "m.test", "s.test", "sha2.test", "sha5.test"];
    let rig = rig(&[], || {
        let mut all = String::new();
        for (host, line) in hosts.iter().zip(&lines) {
            let name = host.replace('.', "-");
            all += &nginx(host, &[("auth-type", "basic"), ("auth-secret", &name)], ALL);
            all += &secret(&name, &[("auth", line)]);
        }
        let map: Vec<(&str, &str)> = vec![
            ("ann", lines[0].trim().split_once(':').unwrap().1),
            ("bob", "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="),
        ];
        all + &secret("map", &map)
            + &nginx(
                "map.test",
                &[
                    ("auth-type", "basic"),
                    ("auth-secret", "default/map"),
                    ("auth-secret-type", "auth-map"),
                ],
                ALL,
            )
    });
    for host in hosts.iter().chain(&["map.test"]) {
        assert_eq!(sign_in(&rig, host, "ann", "s\u{e9}cret").status, 200, "{host}");
        assert_eq!(sign_in(&rig, host, "ann", "secret").status, 401, "{host}");
    }
    assert_eq!(sign_in(&rig, "map.test", "bob", "password").status, 200);
}

#[test]
fn without_a_secret_that_can_be_read_the_routes_are_closed() {
    type Case<'c> = (&'c str, &'c [(&'c str, &'c str)], &'c str);
    let cases: &[Case<'_>] = &[
        (
            "missing.test",
            &[("auth-type", "basic"), ("auth-secret", "none")],
            "does not exist in namespace",
        ),
        ("alone.test", &[("auth-type", "basic")], "it needs auth-secret"),
        (
            "digest.test",
            &[("auth-type", "digest"), ("auth-secret", "good")],
            "has no realm between two colons",
        ),
        (
            "kind.test",
            &[("auth-type", "ldap"), ("auth-secret", "good")],
            "neither basic nor digest",
        ),
        (
            "other.test",
            &[("auth-type", "basic"), ("auth-secret", "shop/good")],
            "of another namespace",
        ),
        (
            "type.test",
            &[
                ("auth-type", "basic"),
                ("auth-secret", "good"),
                ("auth-secret-type", "file"),
            ],
            "neither auth-file nor auth-map",
        ),
        (
            "realm.test",
            &[("auth-type", "basic"), ("auth-secret", "good"), ("auth-realm", "a\"b")],
            "a realm may not have",
        ),
        (
            "entry.test",
            &[("auth-type", "basic"), ("auth-secret", "entry")],
            "there is no entry",
        ),
        (
            "lines.test",
            &[("auth-type", "basic"), ("auth-secret", "lines")],
            "there is no user",
        ),
        (
            "costly.test",
            &[("auth-type", "basic"), ("auth-secret", "costly")],
            "there is no user",
        ),
    ];
    let lines = "no colon\n".repeat(50_000);
    let costly = format!("ann:{}", hash("secret").replacen("$04$", "$31$", 1));
    let rig = rig(&[], || {
        let ingresses: String = cases
            .iter()
            .map(|(host, annotations, _)| nginx(host, annotations, ALL))
            .collect();
        ingresses
            + &nginx("good.test", &[("auth-type", "basic"), ("auth-secret", "good")], ALL)
            + &secret("good", &[("auth", "ann:{PLAIN}secret\nbob:rqXexS6ZhobKA\nno colon\n")])
            + &secret("entry", &[("users", "ann:{PLAIN}secret")])
            + &secret("lines", &[("auth", &lines)])
            + &secret("costly", &[("auth", &costly)])
    });
    let (_, problems) = get(rig.admin, "/api/v1/diagnostics");
    for (host, _, why) in cases {
        let answer = sign_in(&rig, host, "ann", "secret");
        assert_eq!((answer.status, &*answer.body), (503, &b"guard invalid\n"[..]), "{host}");
        let object = format!("default/x{}", host.replace('.', "-"));
        let said = problems
            .split(&object)
            .skip(1)
            .any(|said| said.split("\"severity\"").next().unwrap().contains(why));
        assert!(said, "{host}: {problems}");
    }
    assert!(rig.pod().requests().is_empty());
    // What is wrong with other lines costs nobody else.
    assert_eq!(sign_in(&rig, "good.test", "ann", "secret").status, 200);
    assert_eq!(sign_in(&rig, "good.test", "bob", "secret").status, 401);
    for why in [
        "line 2 has a hash by DES",
        "line 3 has no colon",
        "line 1 has a password in plain text",
    ] {
        assert!(problems.contains(why), "{why}");
    }
    assert!(!problems.contains("rqXexS6ZhobKA"), "hashes are not told");
}

#[test]
fn a_secret_that_changes_holds_at_once() {
    let ingresses = nginx("a.test", BASIC, ALL);
    let rig = rig(&[], || ingresses.clone());
    assert_eq!(sign_in(&rig, "a.test", "ann", "one").status, 503, "it is not there yet");
    let file = rig.manifest("secret.yaml");
    let becomes = |text: &str, password: &str, status: u16| {
        std::fs::write(&file, secret("users", &[("auth", text)])).unwrap();
        eventually("the Secret holds", || {
            (sign_in(&rig, "a.test", "ann", password).status == status).then_some(())
        });
    };
    becomes("ann:{PLAIN}one", "one", 200);
    assert_eq!(sign_in(&rig, "a.test", "ann", "two").status, 401);
    // What was right is remembered, but only as long as the Secret says so.
    becomes("ann:{PLAIN}two", "two", 200);
    assert_eq!(sign_in(&rig, "a.test", "ann", "one").status, 401);
    becomes("bob:{PLAIN}two", "two", 401);
    becomes("nonsense", "two", 503);
    becomes("ann:{PLAIN}two", "two", 200);
    std::fs::remove_file(&file).unwrap();
    eventually("the Secret is gone", || {
        (sign_in(&rig, "a.test", "ann", "two").status == 503).then_some(())
    });
    let before = rig.pod().requests().len();
    assert_eq!(sign_in(&rig, "a.test", "ann", "two").status, 503);
    assert_eq!(rig.pod().requests().len(), before);
}

#[test]
fn passwords_that_take_long_hold_nobody_else_up() {
    let rig = rig(&["--shards", "1"], || {
        nginx("a.test", BASIC, ALL)
            + &nginx("open.test", &[], ALL)
            + &secret(
                "users",
                &[("auth", &format!("ann:{}\n", bcrypt::hash("secret", 10).unwrap()))],
            )
    });
    // More wrong passwords at once than may wait.
    let mut clients: Vec<_> = (0..200).map(|_| rig.client()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        let field = basic("ann", &n.to_string());
        client.send(format!(
            "GET / HTTP/1.1\r\nHost: a.test\r\nAuthorization: {field}\r\n\r\n"
        ));
    }
    // The shard goes on meanwhile: this is answered while passwords are still being checked.
    assert_eq!(ask(&rig, "open.test", &[]).status, 200);
    let statuses: Vec<u16> = clients.iter_mut().map(|client| client.answer().status).collect();
    let of = |status: u16| statuses.iter().filter(|one| **one == status).count();
    assert_eq!(of(401) + of(503), 200, "{statuses:?}");
    assert!(of(503) > 0 && of(401) > 0, "{statuses:?}");
    assert_eq!(sign_in(&rig, "a.test", "ann", "secret").status, 200);
    assert_eq!(rig.pod().requests().len(), 2);
}
