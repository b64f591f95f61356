//! Annotations by which clients have to show who they are.

use super::super::auth::{Scheme, Url, cache_key, cache_times, fields, method, realm, returns_to, sign_in};
use super::super::config::told;
use super::super::snippet::Snippet;
use super::super::value::{boolean, secret, switch};
use super::super::{Served, Wrong};
use crate::dialect::annotations::value::{Value, token};

pub(super) static ALL: &[Served] = &[
    Served {
        name: "auth-cache-duration",
        differs: "what is for one client alone (`Set-Cookie`, `Cache-Control: private`, `Vary`) is not remembered, and each \
                  node remembers for itself",
        wrong: Wrong::Default("200, 202 and 401 are remembered for 5 minutes"),
        value: Value::Text {
            form: "lists of statuses with a time behind each, separated by commas, such as `200 202 10m, 401 1m`",
            pattern: "^[ -~]+$",
            read: |settings, text| {
                settings.nginx.auth.external.cache_times = Some(cache_times(text)?);
                Ok(())
            },
        },
    },
    Served {
        name: "auth-cache-key",
        differs: "",
        wrong: Wrong::Default("no answer is remembered"),
        value: Value::Text {
            form: "a text with variables",
            pattern: "^[ -~]+$",
            read: |settings, text| {
                settings.nginx.auth.external.cache_key = Some(cache_key(text)?);
                Ok(())
            },
        },
    },
    Served {
        name: "auth-always-set-cookie",
        differs: "",
        wrong: Wrong::Default("cookies are set with statuses below 400 only"),
        value: switch(|settings, text| {
            settings.nginx.auth.external.always_sets_cookies = boolean(text)?;
            Ok(())
        }),
    },
    Served {
        name: "auth-method",
        differs: "",
        wrong: Wrong::Closes,
        value: Value::Text {
            form: "one of `GET`, `HEAD`, `POST`, `PUT`, `PATCH`, `DELETE`, `OPTIONS`",
            pattern: "^(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS)$",
            read: |settings, text| {
                settings.nginx.auth.external.method = Some(method(text)?);
                Ok(())
            },
        },
    },
    Served {
        name: "auth-proxy-set-headers",
        differs: "fields that name the client or are about a connection close the routes",
        wrong: Wrong::Closes,
        value: Value::Text {
            form: "a ConfigMap in the namespace of the Ingress, whose fields the service gets",
            pattern: "^([-a-z0-9]+/)?[-a-z0-9.]+$",
            read: |settings, text| {
                settings.nginx.auth.external.told = told(text, &settings.namespace, &settings.beside)?;
                Ok(())
            },
        },
    },
    Served {
        name: "auth-realm",
        differs: "",
        wrong: Wrong::Closes,
        value: Value::Text {
            form: "printable ASCII without quotes and backslashes",
            pattern: "^[ !#-\\[\\]-~]{0,256}$",
            read: |settings, text| {
                settings.nginx.auth.realm = Some(realm(text)?);
                Ok(())
            },
        },
    },
    Served {
        name: "auth-request-redirect",
        differs: "",
        wrong: Wrong::Default("the target of the request is told"),
        value: Value::Text {
            form: "a text with variables",
            pattern: "^[ -~]+$",
            read: |settings, text| {
                settings.nginx.auth.external.returns_to = Some(returns_to(text)?);
                Ok(())
            },
        },
    },
    Served {
        name: "auth-response-headers",
        differs: "fields that name the client or are about a connection close the routes",
        wrong: Wrong::Closes,
        value: Value::Text {
            form: "names of fields, separated by commas",
            pattern: "^[ -~]+$",
            read: |settings, text| {
                settings.nginx.auth.external.fields = fields(text)?;
                Ok(())
            },
        },
    },
    Served {
        name: "auth-secret",
        differs: "lines with hashes by DES, or by bcrypt with a cost above 14, are reported, and their users cannot sign in; without `auth-type` it closes the routes",
        wrong: Wrong::Closes,
        value: Value::Text {
            form: "the name of a Secret in the namespace of the Ingress, perhaps with that before a `/`",
            pattern: "^[a-z0-9./-]+$",
            read: |settings, text| {
                settings.nginx.auth.secret = Some(secret(settings, text)?);
                Ok(())
            },
        },
    },
    Served {
        name: "auth-secret-type",
        differs: "",
        wrong: Wrong::Closes,
        value: Value::Text {
            form: "`auth-file` or `auth-map`",
            pattern: "^auth-(file|map)$",
            read: |settings, text| {
                settings.nginx.auth.map = match text {
                    "" | "auth-file" => false,
                    "auth-map" => true,
                    other => return Err(format!("\"{other}\" is neither auth-file nor auth-map")),
                };
                Ok(())
            },
        },
    },
    Served {
        name: "auth-signin",
        differs: "",
        wrong: Wrong::Default("clients get 401"),
        value: Value::Text {
            form: "a URL or a path, with variables",
            pattern: "^[ -~]+$",
            read: |settings, text| {
                settings.nginx.auth.external.sign_in = Some(sign_in(text)?);
                Ok(())
            },
        },
    },
    Served {
        name: "auth-signin-redirect-param",
        differs: "",
        wrong: Wrong::Default("rd is used"),
        value: Value::Text {
            form: "the name of a parameter",
            pattern: "^[!-~]+$",
            read: |settings, text| {
                settings.nginx.auth.external.parameter = Some((*token(text)?).into());
                Ok(())
            },
        },
    },
    Served {
        name: "auth-snippet",
        differs: "only `proxy_set_header` and `more_set_input_headers` are translated; any other directive closes the routes",
        wrong: Wrong::Closes,
        value: Value::Text {
            form: "directives of nginx",
            pattern: "^[\\s\\S]*$",
            read: |settings, text| {
                settings.nginx.auth.external.of_snippet = Snippet::new(text)?.only_for_pods()?;
                Ok(())
            },
        },
    },
    Served {
        name: "auth-type",
        differs: "with `digest`, a client also has to show that nobody repeats its request, and SHA-256 is known beside MD5; without `auth-realm`, the realm is that of the users in the Secret",
        wrong: Wrong::Closes,
        value: Value::Text {
            form: "`basic` or `digest`",
            pattern: "^(basic|digest)$",
            read: |settings, text| {
                settings.nginx.auth.scheme = match text.trim() {
                    // Without a value it is as if it were not there.
                    "" => None,
                    "basic" => Some(Scheme::Basic),
                    "digest" => Some(Scheme::Digest),
                    other => return Err(format!("\"{other}\" is neither basic nor digest")),
                };
                Ok(())
            },
        },
    },
    Served {
        name: "auth-url",
        differs: "the client's request is told in canonical form; the host may be `$host`, which is looked up in the rules, but has no other variable; certificates are verified, except those of Services",
        wrong: Wrong::Closes,
        value: Value::Text {
            form: "a URL, with variables in its path and query",
            pattern: "^https?://[!-~]+$",
            read: |settings, text| {
                settings.nginx.auth.external.url = Some(Url::new(text.trim())?);
                Ok(())
            },
        },
    },
    Served {
        name: "enable-global-auth",
        differs: "",
        wrong: Wrong::Default("\"true\" applies"),
        value: switch(|settings, text| {
            settings.nginx.auth.no_global = !boolean(text)?;
            Ok(())
        }),
    },
    Served {
        name: "satisfy",
        differs: "",
        wrong: Wrong::Closes,
        value: Value::Text {
            form: "`all` or `any`",
            pattern: "^(all|any)$",
            read: |settings, text| {
                settings.nginx.auth.any = match text {
                    "" | "all" => false,
                    "any" => true,
                    other => return Err(format!("\"{other}\" is neither all nor any")),
                };
                Ok(())
            },
        },
    },
];
