//! Texts of which policies are made: files of htpasswd, templates, snippets of nginx, sets of keys, and the tokens that
//! clients show.

#![no_main]

use arbitrary::Arbitrary;
use http::Method;
use libfuzzer_sys::fuzz_target;
use narthex::testing::compile::{Options, State};
use narthex::testing::dialect::ingress::{Ingress, IngressBackend, IngressPath, IngressRule};
use narthex::testing::dialect::{Dialect, Object};
use narthex::testing::message::Fields;
use narthex::testing::model::Timestamp;
use narthex::testing::model::object::{Meta, PortRef};
use narthex::testing::table::{Jwt, JwtKeys, Known, Template, Users};
use std::sync::Arc;

#[derive(Arbitrary, Debug)]
enum Text {
    Users(Vec<u8>),
    Template {
        text: String,
        query: String,
        value: Vec<u8>,
    },
    Snippet(String),
    Keys(Vec<u8>),
    Token {
        header: String,
        claims: String,
        signature: String,
    },
}

const KEYS: &[u8] = br#"{"keys": [
    {"kty": "OKP", "crv": "Ed25519", "kid": "1", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
    {"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
     "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

fn jwt(text: &[u8]) -> Option<Jwt> {
    let read = JwtKeys::read(text, None);
    assert!(read.keys.is_some() || !read.wrong.is_empty(), "nothing is said of it");
    Some(Jwt::new(
        read.keys?,
        (Box::default(), Box::default()),
        0,
        Box::default(),
    ))
}

/// Base64 without padding, for URLs.
fn encoded(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digit = |number: u32, at: u32| char::from(DIGITS[(number >> (18 - 6 * at) & 63) as usize]);
    let mut out = String::new();
    for part in bytes.chunks(3) {
        let number = (0..3).fold(0, |all, at| all << 8 | u32::from(part.get(at).copied().unwrap_or(0)));
        (0..=part.len() as u32).for_each(|at| out.push(digit(number, at)));
    }
    out
}

fn expand(text: &str, query: &str, value: &[u8]) {
    let Ok(template) = Template::new(text) else { return };
    // What readers of heads let through.
    let is_text = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
    if !value.iter().all(is_text) || !query.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return;
    }
    let mut fields = Fields::new();
    for name in ["X-A", "Cookie", "X-Forwarded-For"] {
        fields.append(name, value);
    }
    let expanded = template.expand(&Known {
        secure: true,
        host: Some("a.test"),
        http_host: Some("a.test:80"),
        path: "/a%20b",
        query: Some(query),
        method: &Method::GET,
        client: Some([10, 0, 0, 1].into()),
        fields: &fields,
        request_id: Some("id"),
        route: None,
        backend: None,
        shown: None,
    });
    assert!(
        !expanded.contains(['\r', '\n', '\0']),
        "{text} ends a field: {expanded:?}"
    );
}

fn snippet(text: &str) {
    let name = "nginx.ingress.kubernetes.io/configuration-snippet";
    let ingress = Ingress {
        meta: Meta {
            namespace: "default".into(),
            name: "web".into(),
            created: Timestamp(1),
            annotations: [(name, text)].into_iter().collect(),
            ..Meta::default()
        },
        class: Some("nginx".into()),
        rules: Box::new([IngressRule {
            host: Some("a.test".into()),
            paths: Some(Box::new([IngressPath {
                path: Some("/".into()),
                path_type: Some("Prefix".into()),
                backend: IngressBackend::Service {
                    name: "web".into(),
                    port: PortRef::Number(80),
                },
                ..IngressPath::default()
            }])),
            ..IngressRule::default()
        }]),
        ..Ingress::default()
    };
    let options = Options {
        drop_in: vec![Dialect::IngressNginx],
        ..Options::default()
    };
    let mut state = State::compile(options, [Object::Ingress(Arc::new(ingress))]);
    let closed = state.table().routes().all(|route| route.policies.guard.is_some());
    let refused = state
        .refresh()
        .iter()
        .any(|diagnostic| diagnostic.code.name() == "GuardInvalid");
    assert_eq!(
        closed, refused,
        "what is refused closes the routes, and nothing else does"
    );
}

fuzz_target!(|text: Text| match text {
    Text::Users(text) => {
        let read = Users::of_file(&text);
        assert!(read.users.is_some() || !read.wrong.is_empty(), "nothing is said of it");
    }
    Text::Template { text, query, value } => expand(&text, &query, &value),
    Text::Snippet(text) => snippet(&text),
    Text::Keys(text) => {
        if let Some(jwt) = jwt(&text) {
            assert!(jwt.verify(b"e30.e30.").is_err());
        }
    }
    Text::Token {
        header,
        claims,
        signature,
    } => {
        let jwt = jwt(KEYS).expect("keys");
        let raw = format!("{header}.{claims}.{signature}");
        let made = format!(
            "{}.{}.{signature}",
            encoded(header.as_bytes()),
            encoded(claims.as_bytes())
        );
        assert!(jwt.verify(raw.as_bytes()).is_err() && jwt.verify(made.as_bytes()).is_err());
    }
});
