//! Annotations by which clients have to show who they are.

use super::super::native::value::{auth_url, claims, key_set, parties};
use super::super::nginx::auth::{fields, method, realm, sign_in};
use super::super::value::{OBJECT_NAME, Value, object_name, secret, token};
use super::super::{Annotation, Scope};
use super::CLOSES;
use crate::model::Kind;
use std::time::Duration;

pub(super) static ALL: &[Annotation] = &[
    Annotation {
        name: "auth-basic-forward",
        scope: Scope::Guard,
        about: "Whether pods get the `Authorization` of clients that `auth-basic-secret` lets in.",
        default: CLOSES,
        example: "true",
        value: Value::Switch(|settings, kept| settings.native.auth.is_kept = kept),
    },
    Annotation {
        name: "auth-basic-realm",
        scope: Scope::Guard,
        about: "Realm that clients without a password are told.",
        default: CLOSES,
        example: "Staff only",
        value: Value::Text {
            form: "printable ASCII without quotes and backslashes",
            pattern: "^[ !#-\\[\\]-~]{0,256}$",
            read: |settings, text| {
                settings.native.auth.realm = Some(realm(text)?);
                Ok(())
            },
        },
    },
    Annotation {
        name: "auth-basic-secret",
        scope: Scope::Guard,
        about: "Secret whose entry `auth` is a file by htpasswd: clients have to show the password of one of its users, or get 401. Hashes by bcrypt (with a cost up to 14), apr1, SHA-1, salted SHA-1, SHA-256 and SHA-512 are known.",
        default: CLOSES,
        example: "users",
        value: secret(|settings, text| {
            settings.native.auth.secret = Some(object_name(text)?);
            Ok(())
        }),
    },
    Annotation {
        name: "auth-digest-realm",
        scope: Scope::Guard,
        about: "Realm that clients without a digest are told. Users of other realms cannot sign in. Without this, it is the realm that all users of the Secret have.",
        default: CLOSES,
        example: "Staff only",
        value: Value::Text {
            form: "printable ASCII without quotes and backslashes",
            pattern: "^[ !#-\\[\\]-~]{0,256}$",
            read: |settings, text| {
                settings.native.auth.digest_realm = Some(realm(text)?);
                Ok(())
            },
        },
    },
    Annotation {
        name: "auth-digest-secret",
        scope: Scope::Guard,
        about: "Secret whose entry `auth` is a file by htdigest: clients have to show a digest of the password of one of its users (RFC 7616), or get 401. Hashes are MD5, or SHA-256 with 64 digits. Pods do not get the digest. Use `auth-basic-secret` and TLS unless your clients know nothing else.",
        default: CLOSES,
        example: "users",
        value: secret(|settings, text| {
            settings.native.auth.digest = Some(object_name(text)?);
            Ok(())
        }),
    },
    Annotation {
        name: "auth-jwt-audience",
        scope: Scope::Guard,
        about: "Audiences of which a token has to name one (`aud`). Without this, a token may be for anybody.",
        default: CLOSES,
        example: "https://api.example.com",
        value: Value::Text {
            form: "names, separated by commas",
            pattern: "^[^,]+(,[^,]+)*$",
            read: |settings, text| {
                settings.native.auth.audiences = parties(text)?;
                Ok(())
            },
        },
    },
    Annotation {
        name: "auth-jwt-claims",
        scope: Scope::Guard,
        about: "Claims of the token that pods get as fields. No client can send these fields itself. Lists of texts have commas between them; a claim that is an object, or has control characters, is left out.",
        default: CLOSES,
        example: "sub=X-User, groups=X-Groups",
        value: Value::Text {
            form: "pairs such as `CLAIM=FIELD`, separated by commas",
            pattern: "^[^=,]+=[^=,]+(,[^=,]+=[^=,]+)*$",
            read: |settings, text| {
                settings.native.auth.claims = claims(text)?;
                Ok(())
            },
        },
    },
    Annotation {
        name: "auth-jwt-configmap",
        scope: Scope::Guard,
        about: "ConfigMap with the keys of tokens, as `auth-jwt-secret` has them. The keys are public, so they need not be secret.",
        default: CLOSES,
        example: "login-keys",
        value: Value::Text {
            form: "the name of a ConfigMap in the same namespace",
            pattern: OBJECT_NAME,
            read: |settings, text| {
                settings.native.auth.keys =
                    Some(("narthex.io/auth-jwt-configmap", Kind::ConfigMap, object_name(text)?));
                Ok(())
            },
        },
    },
    Annotation {
        name: "auth-jwt-cookie",
        scope: Scope::Guard,
        about: "Cookie that may have the token as well. `Authorization` counts where it has a token. Browsers send cookies with requests that other sites have them make, so set `SameSite` where you set the cookie. Of two cookies with this name, none counts.",
        default: CLOSES,
        example: "session",
        value: Value::Text {
            form: "the name of a cookie",
            pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$",
            read: |settings, text| {
                settings.native.auth.cookie = Some((&*token(text)?).into());
                Ok(())
            },
        },
    },
    Annotation {
        name: "auth-jwt-issuer",
        scope: Scope::Guard,
        about: "Issuers of which one has to have issued a token (`iss`). Without this, any token that was signed by one of the keys is good.",
        default: CLOSES,
        example: "https://login.example.com",
        value: Value::Text {
            form: "names, separated by commas",
            pattern: "^[^,]+(,[^,]+)*$",
            read: |settings, text| {
                settings.native.auth.issuers = parties(text)?;
                Ok(())
            },
        },
    },
    Annotation {
        name: "auth-jwt-leeway",
        scope: Scope::Guard,
        about: "How much the clock of whoever issued a token may differ. Without this it is 30s.",
        default: CLOSES,
        example: "1m",
        value: Value::Time {
            least: Duration::ZERO,
            most: Duration::from_secs(3600),
            set: |settings, time| settings.native.auth.leeway = Some(time.as_secs()),
        },
    },
    Annotation {
        name: "auth-jwt-secret",
        scope: Scope::Guard,
        about: "Secret whose entry `jwks.json` (or whose only entry) is a JWK Set (RFC 7517): clients have to show a JSON Web Token (RFC 7519) that one of its keys has signed, as `Authorization: Bearer`, or get 401. The algorithms are RS256 to RS512, PS256 to PS512, ES256, ES384 and EdDSA (Ed25519); a token without a signature, or with a shared secret, is never good. A token needs `exp`, and `nbf` counts. Pods get the token.",
        default: CLOSES,
        example: "login-keys",
        value: secret(|settings, text| {
            settings.native.auth.keys = Some(("narthex.io/auth-jwt-secret", Kind::Secret, object_name(text)?));
            Ok(())
        }),
    },
    Annotation {
        name: "auth-jwt-url",
        scope: Scope::Guard,
        about: "URL of a Service in the cluster that has the keys of tokens, as `auth-jwt-secret` has them: `http://NAME.NAMESPACE.svc:PORT/PATH`. narthex asks one of its pods each minute, and within five seconds if a token names a key that is not among them. If that fails, the keys that it had stay in use; until it has some, requests get 503.",
        default: CLOSES,
        example: "http://login.auth.svc:8080/jwks",
        value: Value::Text {
            form: "a URL of a Service, without variables",
            pattern: "^https?://[!-#%-~]+$",
            read: |settings, text| {
                let (url, wanted) = key_set(text)?;
                settings.native.auth.keys = Some(("narthex.io/auth-jwt-url", Kind::Service, url));
                settings.native.auth.key_set = Some(wanted);
                Ok(())
            },
        },
    },
    Annotation {
        name: "auth-method",
        scope: Scope::Guard,
        about: "Method of the requests to `auth-url`.",
        default: CLOSES,
        example: "POST",
        value: Value::Text {
            form: "one of `GET`, `HEAD`, `POST`, `PUT`, `PATCH`, `DELETE`, `OPTIONS`",
            pattern: "^(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS)$",
            read: |settings, text| {
                settings.native.auth.method = Some(method(text)?);
                Ok(())
            },
        },
    },
    Annotation {
        name: "auth-response-headers",
        scope: Scope::Guard,
        about: "Fields of the answer of `auth-url` that pods get. No client can send them itself.",
        default: CLOSES,
        example: "X-Auth-User, X-Auth-Groups",
        value: Value::Text {
            form: "names of fields, separated by commas",
            pattern: "^[ -~]+$",
            read: |settings, text| {
                settings.native.auth.fields = fields(text)?;
                Ok(())
            },
        },
    },
    Annotation {
        name: "auth-satisfy",
        scope: Scope::Guard,
        about: "Whether clients have to satisfy all of `allow-addresses`, `auth-basic-secret`, `auth-digest-secret`, `auth-jwt-secret` and `auth-url`, or any one of them. Clients that `deny-addresses` names stay out in either case.",
        default: CLOSES,
        example: "any",
        value: Value::Choice {
            of: &["all", "any"],
            set: |settings, word| settings.native.auth.any = word == "any",
        },
    },
    Annotation {
        name: "auth-signin",
        scope: Scope::Guard,
        about: "URL, or path of the same host, where clients are sent that `auth-url` answers with 401. It may have [variables](#variables). Unless it has a parameter `rd`, it gets one with the URL that the client asked for.",
        default: CLOSES,
        example: "https://login.example.com/start",
        value: Value::Text {
            form: "a URL or a path, which may have variables",
            pattern: "^[!-~]+$",
            read: |settings, text| {
                settings.native.auth.sign_in = Some(sign_in(text)?);
                Ok(())
            },
        },
    },
    Annotation {
        name: "auth-timeout",
        scope: Scope::Guard,
        about: "How long `auth-url` may take to answer; then the client gets 500.",
        default: CLOSES,
        example: "2s",
        value: Value::Time {
            least: Duration::from_millis(10),
            most: Duration::from_secs(60),
            set: |settings, time| settings.native.auth.patience = Some(time),
        },
    },
    Annotation {
        name: "auth-url",
        scope: Scope::Guard,
        about: "Service that is asked whether a client may come in. It gets the fields of the client's request without the body. A reply with 200 to 299 lets the client in, 401 and 403 keep it out, and everything else, or no reply in time, is 500. `http://NAME.NAMESPACE.svc:PORT/` is asked at its pods; other names need `--allow-external-names`. The path may have [variables](#variables).",
        default: CLOSES,
        example: "http://auth.login.svc:8080/verify",
        value: Value::Text {
            form: "a URL, with variables in its path and query",
            pattern: "^https?://[!-~]+$",
            read: |settings, text| {
                settings.native.auth.url = Some(auth_url(text)?);
                Ok(())
            },
        },
    },
];
