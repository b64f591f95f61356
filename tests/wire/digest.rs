//! Digest authentication (RFC 7616): with curl as a real client, and by hand for what no client does.

use crate::ingress_nginx::nginx;
use crate::ingress_nginx_auth::{basic, secret};
use crate::native::{ALL, native, problems};
use crate::rig::{Answer, Pod, Rig, eventually, get, service_with};
use aws_lc_rs::digest::{SHA256, digest};
use md5::{Digest as _, Md5};
use std::process::Command;

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn md5(text: &str) -> String {
    hexadecimal(&Md5::digest(text))
}

fn sha256(text: &str) -> String {
    hexadecimal(digest(&SHA256, text.as_bytes()).as_ref())
}

/// Lines by htdigest for a user of a realm, by both hashes.
fn lines(user: &str, realm: &str, password: &str) -> [String; 2] {
    let text = format!("{user}:{realm}:{password}");
    [md5(&text), sha256(&text)].map(|sum| format!("{user}:{realm}:{sum}\n"))
}

fn rig(manifests: impl FnOnce() -> String) -> Rig {
    let [short, long] = lines("ann", "Staff", "secret");
    Rig::with(1, &["--drop-in", "ingress-nginx"], |pods: &[Pod]| {
        service_with("web", pods, "")
            + &secret("users", &[("auth", &short)])
            + &secret("both", &[("auth", &(short.clone() + &long))])
            + &secret("map", &[("ann", short.trim().split_once(':').unwrap().1)])
            + &secret("passwords", &[("auth", "bob:{PLAIN}word")])
            + &manifests()
    })
}

const DIGEST: &[(&str, &str)] = &[
    ("auth-type", "digest"),
    ("auth-secret", "users"),
    ("auth-realm", "Staff"),
];

fn ask(rig: &Rig, host: &str, authorization: &str) -> Answer {
    let request = format!("GET /a?b=c HTTP/1.1\r\nHost: {host}\r\nAuthorization: {authorization}\r\n\r\n");
    rig.client().send(request).answer()
}

/// The nonce of a challenge.
fn nonce(challenge: &str) -> &str {
    let (_, rest) = challenge.split_once("nonce=\"").unwrap();
    rest.split('"').next().unwrap()
}

/// What a client says that knows the password.
fn shown(nonce: &str, count: u32) -> String {
    let (user, request) = (md5("ann:Staff:secret"), md5("GET:/a?b=c"));
    let response = md5(&format!("{user}:{nonce}:{count:08x}:xyz:auth:{request}"));
    format!(
        "Digest username=\"ann\", realm=\"Staff\", nonce=\"{nonce}\", uri=\"/a?b=c\", response=\"{response}\", \
         algorithm=MD5, cnonce=\"xyz\", qop=auth, nc={count:08x}"
    )
}

#[test]
fn curl_signs_in() {
    let rig = rig(|| {
        nginx("nginx.test", DIGEST, ALL)
            + &nginx(
                "map.test",
                &[
                    ("auth-type", "digest"),
                    ("auth-secret", "map"),
                    ("auth-secret-type", "auth-map"),
                ],
                ALL,
            )
            + &native("native.test", &[("auth-digest-secret", "both")], ALL)
    });
    let port = rig.http.port();
    let curl = |host: &str, user: &str| {
        let url = format!("http://{host}:{port}/a?b=c");
        let resolve = format!("{host}:{port}:127.0.0.1");
        let output = Command::new("curl")
            .args([
                "--digest",
                "-s",
                "-o",
                "/dev/null",
                "-w",
                "%{http_code}",
                "--resolve",
                &resolve,
            ])
            .args(["-u", user, &url])
            .output()
            .ok()?;
        Some(String::from_utf8(output.stdout).unwrap())
    };
    if curl("nginx.test", "ann:secret").is_none() {
        // curl is not installed.
        return;
    }
    for host in ["nginx.test", "map.test", "native.test"] {
        let before = rig.pod().requests().len();
        for user in ["ann:wrong", "bob:secret", "ann:"] {
            assert_eq!(curl(host, user).as_deref(), Some("401"), "{host} {user}");
        }
        assert_eq!(rig.pod().requests().len(), before);
        assert_eq!(curl(host, "ann:secret").as_deref(), Some("200"), "{host}");
        assert!(rig.pod().last().field("authorization").is_empty(), "{host}");
        assert_eq!(rig.pod().last().line(), "GET /a?b=c HTTP/1.1");
    }
    let (_, explained) = get(rig.admin, "/api/v1/explain?url=http://nginx.test/");
    assert!(explained.contains("access(digest(users=1))"), "{explained}");
}

#[test]
fn a_nonce_is_used_once_for_each_count() {
    let rig = rig(|| nginx("a.test", DIGEST, ALL));
    let mut client = rig.client();
    let challenge = client.send("GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n").answer();
    assert_eq!((challenge.status, &*challenge.body), (401, &b"unauthorized\n"[..]));
    let challenge = challenge.field("www-authenticate").unwrap();
    assert!(
        challenge.starts_with("Digest realm=\"Staff\", qop=\"auth\", algorithm=MD5, nonce=\""),
        "{challenge}"
    );
    assert!(!challenge.contains("stale"), "{challenge}");
    let nonce = nonce(challenge);
    for count in [1, 2, 7, 3] {
        assert_eq!(ask(&rig, "a.test", &shown(nonce, count)).status, 200, "{count}");
    }
    let before = rig.pod().requests().len();
    for count in [1, 2, 7, 3, 0] {
        let answer = ask(&rig, "a.test", &shown(nonce, count));
        assert_eq!(answer.status, 401, "{count}");
        let stale = answer.field("www-authenticate").unwrap().ends_with("stale=true");
        assert_eq!(stale, count > 0, "a right password needs a new nonce only");
    }
    // For another request, the same digest is worth nothing.
    let moved = shown(nonce, 9);
    let mut client = rig.client();
    for line in ["POST /a?b=c", "GET /a?b=d", "GET /a"] {
        let request = format!("{line} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\nAuthorization: {moved}\r\n\r\n");
        assert_eq!(client.send(request).answer().status, 401, "{line}");
    }
    // A nonce of somebody else, as of another node or an earlier process, is a stale one.
    let other = nonce.chars().rev().collect::<String>();
    let answer = ask(&rig, "a.test", &shown(&other, 1));
    assert!(answer.field("www-authenticate").unwrap().ends_with("stale=true"));
    assert_eq!(rig.pod().requests().len(), before);
    assert_eq!(ask(&rig, "a.test", &moved).status, 200);
}

#[test]
fn garbage_signs_nobody_in() {
    let rig = rig(|| {
        nginx("a.test", DIGEST, ALL)
            + &native(
                "any.test",
                &[
                    ("auth-digest-secret", "users"),
                    ("auth-basic-secret", "passwords"),
                    ("auth-satisfy", "any"),
                ],
                ALL,
            )
    });
    let good = {
        let answer = ask(&rig, "a.test", "Digest");
        let nonce = nonce(answer.field("www-authenticate").unwrap()).to_owned();
        move |count| shown(&nonce, count)
    };
    for text in [
        basic("ann", "secret"),
        "Digest ".to_owned(),
        format!("Digest {}", ",".repeat(4000)),
        format!("Digest {}", "a=b,".repeat(1000)),
        good(1).replace("qop=auth", "qop=auth-int"),
        good(1).replace("qop=auth, ", ""),
        good(1).replace("algorithm=MD5", "algorithm=SHA-256"),
        good(1).replace("algorithm=MD5", "algorithm=none"),
        good(1).replace("realm=\"Staff\"", "realm=\"staff\""),
        good(1).replace("username=\"ann\"", "username=\"\""),
        good(1).replace("username=\"ann\"", "username=\"ann\", username=\"ann\""),
        good(1).replace("nc=00000001", "nc=1"),
        good(1).replace("cnonce=\"xyz\"", "cnonce=\"xyz"),
        good(1) + &format!(", x=\"{}\"", "y".repeat(17 << 10)),
        good(1) + "\r\nAuthorization: " + &good(2),
    ] {
        let answer = ask(&rig, "a.test", &text);
        assert_eq!(answer.status, 401, "{text:.300}");
        assert!(!answer.head.contains("stale"), "{text:.300}");
    }
    assert!(rig.pod().requests().is_empty());
    // Either way is enough, and clients are told of both.
    let answer = ask(&rig, "any.test", "Bearer x");
    assert_eq!(answer.status, 401);
    assert!(
        answer.head.contains("Basic realm=") && answer.head.contains("Digest realm="),
        "{}",
        answer.head
    );
    assert_eq!(ask(&rig, "any.test", &good(3)).status, 200);
    assert!(rig.pod().last().field("authorization").is_empty());
    assert_eq!(ask(&rig, "any.test", &basic("bob", "word")).status, 200);
    assert!(rig.pod().last().field("authorization").is_empty());
    assert_eq!(ask(&rig, "any.test", &basic("ann", "secret")).status, 401);
}

#[test]
fn without_users_who_could_sign_in_the_routes_are_closed() {
    type Case<'c> = (&'c str, &'c [(&'c str, &'c str)], &'c str);
    let cases: &[Case<'_>] = &[
        (
            "a1.test",
            &[("auth-digest-secret", "none")],
            "does not exist in namespace",
        ),
        (
            "a2.test",
            &[("auth-digest-secret", "passwords")],
            "line 1 has no realm between two colons",
        ),
        (
            "a3.test",
            &[("auth-digest-secret", "users"), ("auth-digest-realm", "Other")],
            "there is no user of the realm",
        ),
        (
            "a4.test",
            &[("auth-digest-realm", "Staff")],
            "it needs narthex.io/auth-digest-secret",
        ),
        (
            "a5.test",
            &[("auth-digest-secret", "users"), ("auth-basic-secret", "passwords")],
            "use auth-satisfy: any",
        ),
    ];
    let rig = rig(|| {
        let own = cases
            .iter()
            .map(|(host, annotations, _)| native(host, annotations, ALL));
        own.collect::<String>() + &nginx("b1.test", &[("auth-secret", "users")], ALL)
    });
    let told = cases.iter().map(|(host, _, why)| (*host, *why));
    for (host, why) in told.chain([("b1.test", "it needs auth-type")]) {
        let said = problems(&rig, host);
        let code = if host == "a1.test" {
            "SecretNotFound"
        } else {
            "GuardInvalid"
        };
        assert!(said.contains(code) && said.contains(why), "{host}: {said}");
        let answer = ask(&rig, host, "Digest");
        assert_eq!((answer.status, &*answer.body), (503, &b"guard invalid\n"[..]), "{host}");
    }
    assert!(rig.pod().requests().is_empty());
}

#[test]
fn a_file_that_changes_holds_at_once() {
    let rig = rig(|| native("a.test", &[("auth-digest-secret", "later")], ALL));
    assert_eq!(ask(&rig, "a.test", "Digest").status, 503);
    let file = rig.manifest("secret.yaml");
    let signs_in = || {
        let answer = ask(&rig, "a.test", "Digest");
        answer.field("www-authenticate").map(|challenge| {
            let shown = shown(nonce(challenge), 1);
            ask(&rig, "a.test", &shown).status
        })
    };
    for (password, status) in [("secret", 200), ("other", 401)] {
        let [line, _] = lines("ann", "Staff", password);
        std::fs::write(&file, secret("later", &[("auth", &line)])).unwrap();
        eventually("the Secret holds", || (signs_in() == Some(status)).then_some(()));
    }
    std::fs::remove_file(&file).unwrap();
    eventually("the Secret is gone", || signs_in().is_none().then_some(()));
}
