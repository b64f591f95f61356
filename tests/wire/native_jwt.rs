//! Tokens that clients show: made here by another library than narthex reads them with.

use crate::ingress_nginx_auth::{basic, secret};
use crate::native::{ALL, native, problems};
use crate::rig::{Answer, Pod, Reply, Rig, eventually, get, service_with};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Signs a text.
type Sign = dyn Fn(&[u8]) -> Vec<u8>;

/// A key pair that signs tokens.
struct Signer {
    algorithm: &'static str,
    id: &'static str,
    key: Value,
    sign: Box<Sign>,
}

impl Signer {
    fn ed25519(id: &'static str) -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        Self {
            algorithm: "EdDSA",
            id,
            key: json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": encoded(pair.public_key())}),
            sign: Box::new(move |text| pair.sign(text).as_ref().to_vec()),
        }
    }

    fn p256(id: &'static str) -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).unwrap();
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        Self {
            algorithm: "ES256",
            id,
            key: json!({"kty": "EC", "crv": "P-256", "use": "sig", "kid": id, "x": encoded(x), "y": encoded(y)}),
            sign: Box::new(move |text| pair.sign(&random, text).unwrap().as_ref().to_vec()),
        }
    }

    fn rsa(id: &'static str, algorithm: &'static str) -> Self {
        let pair = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
        let public = pair.public_key();
        let modulus = public.modulus().big_endian_without_leading_zero();
        let exponent = public.exponent().big_endian_without_leading_zero();
        let key = json!({"kty": "RSA", "kid": id, "n": encoded(modulus), "e": encoded(exponent)});
        let padding: &'static dyn signature::RsaEncoding = match algorithm {
            "RS256" => &signature::RSA_PKCS1_SHA256,
            _ => &signature::RSA_PSS_SHA512,
        };
        Self {
            algorithm,
            id,
            key,
            sign: Box::new(move |text| {
                let mut out = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &SystemRandom::new(), text, &mut out).unwrap();
                out
            }),
        }
    }

    fn header(&self) -> Value {
        json!({"alg": self.algorithm, "kid": self.id, "typ": "JWT"})
    }

    /// A token with this head and these claims.
    fn signed(&self, header: &Value, claims: &Value) -> String {
        let text = format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()));
        let signature = encoded((self.sign)(text.as_bytes()));
        format!("{text}.{signature}")
    }

    fn token(&self, claims: &Value) -> String {
        self.signed(&self.header(), claims)
    }
}

/// Claims that are good, with others in their place.
fn claims(more: Value) -> Value {
    let mut claims = json!({"sub": "ann", "iss": "https://login.test", "aud": ["api", "web"], "exp": now() + 600});
    for (name, value) in more.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

fn set(signers: &[&Signer]) -> String {
    let keys: Vec<&Value> = signers.iter().map(|signer| &signer.key).collect();
    json!({ "keys": keys }).to_string()
}

const KEYS: (&str, &str) = ("auth-jwt-secret", "keys");
const WHOSE: &[(&str, &str)] = &[
    KEYS,
    ("auth-jwt-issuer", "https://login.test, https://other.test"),
    ("auth-jwt-audience", "api"),
    (
        "auth-jwt-claims",
        "sub=X-User,groups=X-Groups,admin=X-Admin,more=X-More,bad=X-Bad",
    ),
];

fn rig(keys: &str, manifests: impl FnOnce() -> String) -> Rig {
    Rig::with(1, &[], |pods: &[Pod]| {
        service_with("web", pods, "") + &secret("keys", &[("jwks.json", keys)]) + &manifests()
    })
}

fn ask(rig: &Rig, host: &str, fields: &[(&str, &str)]) -> Answer {
    let lines: String = fields
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    rig.client()
        .send(format!("GET /a HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n"))
        .answer()
}

fn with_token(rig: &Rig, host: &str, token: &str) -> Answer {
    ask(rig, host, &[("Authorization", &format!("Bearer {token}"))])
}

#[test]
fn tokens_of_all_kinds_of_keys_let_clients_in() {
    let all = [
        Signer::ed25519("ed"),
        Signer::p256("ec"),
        Signer::rsa("rs", "RS256"),
        Signer::rsa("ps", "PS512"),
    ];
    let rig = rig(&set(&all.each_ref()), || native("a.test", WHOSE, ALL));
    let more = claims(json!({"groups": ["a", "b"], "admin": true, "more": {"x": 1}, "bad": "a\r\nX-Admin: 1"}));
    for signer in &all {
        let token = signer.token(&more);
        // The second time it is remembered.
        for _ in 0..2 {
            let fields = [
                ("Authorization", &*format!("Bearer {token}")),
                ("X-User", "forged"),
                ("x_user", "forged"),
                ("X-More", "forged"),
            ];
            assert_eq!(ask(&rig, "a.test", &fields).status, 200, "{}", signer.algorithm);
            let got = rig.pod().last();
            for (name, wanted) in [
                ("x-user", vec!["ann"]),
                ("x_user", vec![]),
                ("x-groups", vec!["a,b"]),
                ("x-admin", vec!["true"]),
                ("x-more", vec![]),
                ("x-bad", vec![]),
            ] {
                assert_eq!(got.field(name), wanted, "{name}: {}", got.text());
            }
            assert_eq!(got.field("authorization"), [format!("Bearer {token}")]);
        }
    }
    let (_, explained) = get(rig.admin, "/api/v1/explain?url=http://a.test/");
    assert!(explained.contains("access(jwt(keys=4))"), "{explained}");
}

#[test]
fn no_other_token_does() {
    let (good, stranger, rsa) = (Signer::ed25519("1"), Signer::ed25519("1"), Signer::rsa("2", "RS256"));
    let rig = rig(&set(&[&good, &rsa]), || native("a.test", WHOSE, ALL));
    let answer = ask(&rig, "a.test", &[]);
    assert_eq!(
        (answer.status, answer.field("www-authenticate")),
        (401, Some("Bearer realm=\"Restricted\""))
    );
    let none = |alg: &str| {
        let header = encoded(json!({ "alg": alg }).to_string());
        format!("{header}.{}.", encoded(claims(json!({})).to_string()))
    };
    // The public key taken for a shared secret.
    let by_secret = |secret: &[u8]| {
        let header = encoded(json!({"alg": "HS256", "kid": "2"}).to_string());
        let text = format!("{header}.{}", encoded(claims(json!({})).to_string()));
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
        let tag = encoded(aws_lc_rs::hmac::sign(&key, text.as_bytes()));
        format!("{text}.{tag}")
    };
    let modulus = rsa.key["n"].as_str().unwrap();
    let whole = good.token(&claims(json!({})));
    let (text, signature) = whole.rsplit_once('.').unwrap();
    let (header, _) = text.split_once('.').unwrap();
    let wrong: Vec<(&str, String)> = vec![
        ("none", none("none")),
        ("nOnE", none("nOnE")),
        ("HS256 without a signature", none("HS256")),
        (
            "the key as a secret",
            by_secret(&URL_SAFE_NO_PAD.decode(modulus).unwrap()),
        ),
        ("its text as a secret", by_secret(modulus.as_bytes())),
        ("another key", stranger.token(&claims(json!({})))),
        (
            "another kind of key",
            good.signed(&json!({"alg": "RS256", "kid": "1"}), &claims(json!({}))),
        ),
        (
            "another key's name",
            good.signed(&json!({"alg": "EdDSA", "kid": "2"}), &claims(json!({}))),
        ),
        (
            "a key of its own",
            stranger.signed(
                &json!({"alg": "EdDSA", "kid": "1", "jwk": stranger.key}),
                &claims(json!({})),
            ),
        ),
        (
            "critical parts nobody knows",
            good.signed(
                &json!({"alg": "EdDSA", "kid": "1", "crit": ["x"], "x": 1}),
                &claims(json!({})),
            ),
        ),
        ("expired", good.token(&claims(json!({"exp": now() - 60})))),
        ("no time", good.token(&claims(json!({ "exp": null })))),
        ("a text for a time", good.token(&claims(json!({"exp": "2100-01-01"})))),
        ("not yet", good.token(&claims(json!({"nbf": now() + 600})))),
        (
            "another issuer",
            good.token(&claims(json!({"iss": "https://evil.test"}))),
        ),
        ("no issuer", good.token(&claims(json!({ "iss": null })))),
        ("another audience", good.token(&claims(json!({"aud": "web"})))),
        ("no audience", good.token(&claims(json!({ "aud": null })))),
        (
            "other claims",
            format!(
                "{header}.{}.{signature}",
                encoded(claims(json!({"sub": "bob"})).to_string())
            ),
        ),
        ("no signature", format!("{text}.")),
        ("two parts", text.to_owned()),
        ("four parts", format!("{whole}.x")),
        ("nothing", String::new()),
        ("garbage", "%%%.###.$$$".to_owned()),
        ("too long", good.token(&claims(json!({"more": "x".repeat(20_000)})))),
    ];
    for (why, token) in &wrong {
        let answer = with_token(&rig, "a.test", token);
        let challenge = answer.field("www-authenticate").map(str::to_owned);
        assert_eq!(answer.status, 401, "{why}: {token}");
        let told = "Bearer realm=\"Restricted\", error=\"invalid_token\"";
        assert!(
            challenge.as_deref() == Some(told) || token.is_empty(),
            "{why}: {challenge:?}"
        );
    }
    // A megabyte of claims is more than a head may have.
    let mut client = rig.client();
    let huge = "x".repeat(1 << 20);
    client.send(format!(
        "GET / HTTP/1.1\r\nHost: a.test\r\nAuthorization: Bearer {huge}\r\n\r\n"
    ));
    assert_eq!(client.answer().status, 431);
    let bearer = format!("Bearer {whole}");
    let twice = [("Authorization", &*bearer), ("Authorization", &*bearer)];
    assert_eq!(ask(&rig, "a.test", &twice).status, 401, "two lines");
    assert!(rig.pod().requests().is_empty());
    // Within the leeway a token is good.
    assert_eq!(
        with_token(&rig, "a.test", &good.token(&claims(json!({"exp": now() - 5})))).status,
        200
    );
    assert_eq!(with_token(&rig, "a.test", &whole).status, 200);
}

#[test]
fn keys_that_are_rotated_hold_at_once() {
    let (old, new) = (Signer::ed25519("1"), Signer::ed25519("2"));
    let rig = rig(&set(&[&old]), || native("a.test", &[KEYS], ALL));
    let (by_old, by_new) = (old.token(&claims(json!({}))), new.token(&claims(json!({}))));
    assert_eq!(with_token(&rig, "a.test", &by_old).status, 200);
    assert_eq!(with_token(&rig, "a.test", &by_new).status, 401);
    let becomes = |keys: &str, token: &str, status: u16| {
        let manifests = service_with("web", &rig.pods, "")
            + &secret("keys", &[("jwks.json", keys)])
            + &native("a.test", &[KEYS], ALL);
        std::fs::write(rig.manifest("all.yaml"), manifests).unwrap();
        eventually("the keys hold", || {
            (with_token(&rig, "a.test", token).status == status).then_some(())
        });
    };
    becomes(&set(&[&old, &new]), &by_new, 200);
    assert_eq!(with_token(&rig, "a.test", &by_old).status, 200);
    // A token that was remembered is not good by a key that is gone.
    becomes(&set(&[&new]), &by_old, 401);
    becomes("{}", &by_new, 503);
    becomes(&set(&[&new]), &by_new, 200);
}

#[test]
fn keys_may_be_in_a_config_map_and_beside_passwords() {
    let signer = Signer::p256("1");
    let rig = rig("{}", || {
        let map = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: keys}}\ndata: {{any: '{}'}}\n---\n",
            set(&[&signer])
        );
        let any = [
            ("auth-jwt-configmap", "keys"),
            ("auth-basic-secret", "users"),
            ("auth-satisfy", "any"),
        ];
        map + &secret("users", &[("auth", "ann:{PLAIN}secret")])
            + &native("a.test", &[("auth-jwt-configmap", "keys")], ALL)
            + &native("any.test", &any, ALL)
    });
    let token = signer.token(&claims(json!({})));
    assert_eq!(with_token(&rig, "a.test", &token).status, 200);
    assert_eq!(with_token(&rig, "any.test", &token).status, 200);
    assert_eq!(rig.pod().last().field("authorization"), [format!("Bearer {token}")]);
    let ann = basic("ann", "secret");
    assert_eq!(ask(&rig, "any.test", &[("Authorization", &ann)]).status, 200);
    assert!(
        rig.pod().last().field("authorization").is_empty(),
        "pods do not learn passwords"
    );
    let answer = ask(&rig, "any.test", &[]);
    let head = answer.head.to_lowercase();
    assert_eq!(
        (answer.status, head.matches("www-authenticate: ").count()),
        (401, 2),
        "{head}"
    );
}

#[test]
fn what_cannot_be_verified_closes_the_routes() {
    let (small, good) = (
        json!({"kty": "RSA", "n": encoded([255; 128]), "e": "AQAB"}),
        Signer::p256("1"),
    );
    let shared = json!({"kty": "oct", "k": encoded("secret")});
    let bad = json!({"kty": "EC", "crv": "P-256", "alg": "RS256", "x": good.key["x"], "y": good.key["y"]});
    let encrypts = json!({"kty": "EC", "crv": "P-256", "use": "enc", "x": good.key["x"], "y": good.key["y"]});
    type Case<'c> = (&'c str, &'c [(&'c str, &'c str)], &'c str);
    let cases: &[Case<'_>] = &[
        ("a1.test", &[("auth-jwt-secret", "none")], "does not exist"),
        ("a2.test", &[("auth-jwt-configmap", "none")], "does not exist"),
        ("a3.test", &[("auth-jwt-secret", "text")], "it is not a JWK Set"),
        (
            "a4.test",
            &[("auth-jwt-secret", "useless")],
            "no key in it that can verify",
        ),
        (
            "a5.test",
            &[("auth-jwt-issuer", "https://login.test")],
            "it needs narthex.io/auth-jwt-secret",
        ),
        (
            "a6.test",
            &[("auth-jwt-secret", "good"), ("auth-jwt-claims", "sub=Host")],
            "narthex itself sets",
        ),
        (
            "a7.test",
            &[("auth-jwt-secret", "good"), ("auth-jwt-claims", "sub")],
            "is not CLAIM=FIELD",
        ),
        (
            "a8.test",
            &[("auth-jwt-secret", "good"), ("auth-jwt-leeway", "long")],
            "is not a duration",
        ),
        (
            "a9.test",
            &[("auth-jwt-secret", "good"), ("auth-jwt-audience", " , ")],
            "it names nobody",
        ),
        (
            "b1.test",
            &[("auth-jwt-secret", "good"), ("auth-basic-secret", "users")],
            "use auth-satisfy: any",
        ),
        ("b2.test", &[("auth-jwt-secret", "several")], "there is no entry"),
    ];
    let useless = json!({"keys": [small, shared, bad, encrypts, {"kty": "EC", "crv": "P-521"}, {"kty": "what"}, 7]});
    let rig = rig("{}", || {
        let all = cases
            .iter()
            .map(|(host, annotations, _)| native(host, annotations, ALL));
        all.collect::<String>()
            + &secret("text", &[("jwks.json", "-----BEGIN PUBLIC KEY-----")])
            + &secret("useless", &[("jwks.json", &useless.to_string())])
            + &secret("good", &[("jwks.json", &set(&[&good]))])
            + &secret("several", &[("a", "{}"), ("b", "{}")])
            + &secret("users", &[("auth", "ann:{PLAIN}secret")])
    });
    let token = good.token(&claims(json!({})));
    for (host, annotations, why) in cases {
        let said = problems(&rig, host);
        assert!(
            (said.contains("GuardInvalid") || said.contains("SecretNotFound")) && said.contains(why),
            "{annotations:?}: {said}"
        );
        let answer = with_token(&rig, host, &token);
        assert_eq!(
            (answer.status, &*answer.body),
            (503, &b"guard invalid\n"[..]),
            "{annotations:?}"
        );
    }
    let said = problems(&rig, "a4.test");
    for why in [
        "less than 2048",
        "is a shared secret",
        "does not fit the key",
        "of a kind that narthex does not know",
    ] {
        assert!(said.contains(why), "{why}: {said}");
    }
    assert!(rig.pod().requests().is_empty());
}

#[test]
fn a_cookie_may_have_the_token() {
    let signer = Signer::ed25519("ed");
    let rig = rig(&set(&[&signer]), || {
        native(
            "a.test",
            &[KEYS, ("auth-jwt-cookie", "session"), ("auth-jwt-claims", "sub=X-User")],
            ALL,
        ) + &native("none.test", &[KEYS], ALL)
            + &native("alone.test", &[("auth-jwt-cookie", "session")], ALL)
    });
    let (ann, bob) = (
        signer.token(&claims(json!({}))),
        signer.token(&claims(json!({"sub": "bob"}))),
    );
    let late = signer.token(&claims(json!({"exp": 1})));
    let bearer = format!("Bearer {bob}");
    let cookie = |token: &str| format!("a=b; session={token}; c=d");
    for (host, fields, wanted) in [
        ("a.test", vec![("Cookie", cookie(&ann))], Some("ann")),
        (
            "a.test",
            vec![("Cookie", cookie(&ann)), ("Authorization", bearer.clone())],
            Some("bob"),
        ),
        (
            "a.test",
            vec![("Cookie", cookie(&ann)), ("Authorization", basic("ann", "x"))],
            Some("ann"),
        ),
        (
            "a.test",
            vec![("Cookie", cookie(&ann)), ("Authorization", format!("Bearer {late}"))],
            None,
        ),
        ("a.test", vec![("Cookie", cookie(&late))], None),
        ("a.test", vec![("Cookie", cookie(""))], None),
        ("a.test", vec![("Cookie", cookie(&ann)), ("Cookie", cookie(&bob))], None),
        ("a.test", vec![("Cookie", format!("Session={ann}"))], None),
        ("a.test", vec![], None),
        ("none.test", vec![("Cookie", cookie(&ann))], None),
    ] {
        let named: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = ask(&rig, host, &named);
        assert_eq!(
            answer.status,
            if wanted.is_some() { 200 } else { 401 },
            "{host} {fields:?}"
        );
        if let Some(user) = wanted {
            assert_eq!(rig.pod().last().field("x-user"), [user]);
        }
    }
    assert!(problems(&rig, "alone.test").contains("it needs narthex.io/auth-jwt-secret"));
}

#[test]
fn a_service_may_have_the_keys() {
    let (old, new) = (Signer::ed25519("old"), Signer::p256("new"));
    let url = ("auth-jwt-url", "http://login.default.svc:80/keys?for=web");
    let rig = Rig::with(2, &[], |pods: &[Pod]| {
        service_with("web", &pods[..1], "")
            + &native("a.test", &[url, ("auth-jwt-claims", "sub=X-User")], ALL)
            + &native("gone.test", &[("auth-jwt-url", "http://gone.default.svc/keys")], ALL)
            + &native("outside.test", &[("auth-jwt-url", "https://login.test/keys")], ALL)
            + &native(
                "variable.test",
                &[("auth-jwt-url", "http://login.default.svc/$host")],
                ALL,
            )
    });
    let answer = |status: &str, body: &str| {
        let length = body.len();
        rig.pods[1].answers(Reply::text(&format!(
            "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}"
        )));
    };
    let (first, second) = (old.token(&claims(json!({}))), new.token(&claims(json!({"sub": "bob"}))));
    for (host, why) in [
        ("outside.test", "names no Service"),
        ("variable.test", "has a variable"),
        ("gone.test", "has no keys yet"),
    ] {
        assert_eq!(with_token(&rig, host, &first).status, 503, "{host}");
        eventually("it is said", || problems(&rig, host).contains(why).then_some(()));
    }
    // The Service comes later, and has no keys at first.
    assert_eq!(with_token(&rig, "a.test", &first).status, 503);
    answer("500 Internal Server Error", "oops");
    let service = rig.manifest("login.yaml");
    std::fs::write(&service, service_with("login", &rig.pods[1..], "")).unwrap();
    eventually("it is asked", || {
        problems(&rig, "a.test").contains("it answered 500").then_some(())
    });
    assert_eq!(with_token(&rig, "a.test", &first).status, 503);
    answer("200 OK", &set(&[&old]));
    eventually("the keys are there", || {
        (with_token(&rig, "a.test", &first).status == 200).then_some(())
    });
    assert_eq!(rig.pod().last().field("x-user"), ["ann"]);
    assert_eq!(rig.pods[1].last().line(), "GET /keys?for=web HTTP/1.1");
    assert_eq!(rig.pods[1].last().field("host"), ["login.default.svc:80"]);
    assert_eq!(with_token(&rig, "a.test", &second).status, 401);
    eventually("nothing is wrong any more", || {
        problems(&rig, "a.test").is_empty().then_some(())
    });
    // A token by a key that is new has the keys be asked for before their minute is over.
    answer("200 OK", &set(&[&old, &new]));
    eventually("the new key is known", || {
        (with_token(&rig, "a.test", &second).status == 200).then_some(())
    });
    // Without the Service, the keys that it had stay in use, also for an Ingress that comes now.
    std::fs::remove_file(&service).unwrap();
    let file = rig.manifest("b.yaml");
    std::fs::write(&file, native("b.test", &[url], ALL)).unwrap();
    eventually("the keys are known", || {
        (with_token(&rig, "b.test", &first).status == 200).then_some(())
    });
    assert_eq!(with_token(&rig, "a.test", &first).status, 200);
}
