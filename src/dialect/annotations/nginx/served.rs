//! The annotations of ingress-nginx that narthex acts on.

use super::value::{
    attribute, boolean, hash_by, networks, next_upstream, number, on_off, secret, size, status, switch, target, time,
    vhost, words,
};
use super::{Served, Wrong, origins};
use crate::dialect::annotations::value::{Value, server_name, token};
use crate::table::{BackendProtocol, Balance, Origins, Target};

/// The most tries of one request.
const MOST_TRIES: u32 = 10;

/// All of them, by name.
pub(super) static ALL: &[Served] = &[
    Served {
        name: "affinity",
        differs: "the cookie's value is narthex's own, so clients are assigned a pod once more when they come over",
        wrong: Wrong::Default("any pod is chosen"),
        value: Value::Text {
            form: "`cookie`",
            pattern: "^cookie$",
            read: |settings, text| {
                if text != "cookie" {
                    return Err(format!("\"{text}\" is not \"cookie\""));
                }
                settings.nginx.cookie_affinity = true;
                Ok(())
            },
        },
    },
    Served {
        name: "allowlist-source-range",
        differs: "",
        wrong: Wrong::Closes,
        value: Value::Text {
            form: "networks and addresses, separated by commas",
            pattern: "^[0-9a-fA-F.:/, ]+$",
            read: |settings, text| {
                settings.nginx.allow = Some(networks(text)?);
                Ok(())
            },
        },
    },
    Served {
        name: "backend-protocol",
        differs: "`FCGI` and `AUTO_HTTP` are errors, and the server's name is always sent to pods that speak TLS",
        wrong: Wrong::Default("HTTP applies"),
        value: Value::Text {
            form: "one of `HTTP`, `HTTPS`, `GRPC`, `GRPCS`, in any case",
            pattern: "^(?i)(HTTPS?|GRPCS?)$",
            read: |settings, text| {
                settings.nginx.protocol = Some(match text.to_ascii_uppercase().as_str() {
                    "HTTP" => BackendProtocol::Http,
                    "HTTPS" => BackendProtocol::Https,
                    "GRPC" => BackendProtocol::Grpc,
                    "GRPCS" => BackendProtocol::Grpcs,
                    _ => return Err(format!("\"{text}\" is not one of HTTP, HTTPS, GRPC, GRPCS")),
                });
                Ok(())
            },
        },
    },
    Served {
        name: "cors-allow-credentials",
        differs: "",
        wrong: Wrong::Default("\"true\" applies"),
        value: switch(|settings, text| {
            settings.nginx.no_credentials = !boolean(text)?;
            Ok(())
        }),
    },
    Served {
        name: "cors-allow-headers",
        differs: "",
        wrong: Wrong::Default("the usual names are allowed"),
        value: Value::Text {
            form: "names, separated by commas",
            pattern: "^[A-Za-z0-9_*, -]+$",
            read: |settings, text| {
                settings.nginx.headers = Some(words(text)?);
                Ok(())
            },
        },
    },
    Served {
        name: "cors-allow-methods",
        differs: "",
        wrong: Wrong::Default("the usual methods are allowed"),
        value: Value::Text {
            form: "methods, separated by commas",
            pattern: "^[A-Za-z*, ]+$",
            read: |settings, text| {
                settings.nginx.methods = Some(words(text)?);
                Ok(())
            },
        },
    },
    Served {
        name: "cors-allow-origin",
        differs: "an origin is compared as a whole",
        wrong: Wrong::Default("replies say nothing to other origins"),
        value: Value::Text {
            form: "`*`, or origins, separated by commas: `https://a.example.com`, `https://*.example.com:8443`, `null`",
            pattern: "^.+$",
            read: |settings, text| {
                let given = origins(text);
                settings.nginx.origins = Some(given.clone().unwrap_or(Origins::Some(Box::default())));
                given?;
                Ok(())
            },
        },
    },
    Served {
        name: "cors-expose-headers",
        differs: "",
        wrong: Wrong::Default("no names are sent"),
        value: Value::Text {
            form: "names, separated by commas",
            pattern: "^[A-Za-z0-9_*, -]+$",
            read: |settings, text| {
                settings.nginx.expose = Some(words(text)?);
                Ok(())
            },
        },
    },
    Served {
        name: "cors-max-age",
        differs: "",
        wrong: Wrong::Default("1728000 applies"),
        value: Value::Text {
            form: "a whole number of seconds",
            pattern: "^[0-9]+$",
            read: |settings, text| {
                settings.nginx.max_age = Some(number(text)?);
                Ok(())
            },
        },
    },
    Served {
        name: "denylist-source-range",
        differs: "",
        wrong: Wrong::Closes,
        value: Value::Text {
            form: "networks and addresses, separated by commas",
            pattern: "^[0-9a-fA-F.:/, ]+$",
            read: |settings, text| {
                settings.nginx.deny = Some(networks(text)?);
                Ok(())
            },
        },
    },
    Served {
        name: "enable-cors",
        differs: "replies that narthex makes because of an error do not get the fields",
        wrong: Wrong::Default("\"false\" applies"),
        value: switch(|settings, text| {
            settings.nginx.cors = boolean(text)?;
            Ok(())
        }),
    },
    Served {
        name: "force-ssl-redirect",
        differs: "",
        wrong: Wrong::Default("\"false\" applies"),
        value: switch(|settings, text| {
            settings.nginx.force_ssl_redirect = boolean(text)?;
            Ok(())
        }),
    },
    Served {
        name: "limit-allowlist",
        differs: "",
        wrong: Wrong::Closes,
        value: Value::Text {
            form: "networks and addresses, separated by commas",
            pattern: "^[0-9a-fA-F.:/, ]+$",
            read: |settings, text| {
                settings.nginx.exempt = Some(networks(text)?);
                Ok(())
            },
        },
    },
    Served {
        name: "limit-burst-multiplier",
        differs: "0 is no burst",
        wrong: Wrong::Closes,
        value: Value::Text {
            form: "a whole number",
            pattern: "^[0-9]+$",
            read: |settings, text| {
                settings.nginx.burst_multiplier = Some(number(text)?);
                Ok(())
            },
        },
    },
    Served {
        name: "limit-rpm",
        differs: "each node counts by itself, and the status is always 503",
        wrong: Wrong::Closes,
        value: Value::Text {
            form: "a whole number; 0 for no limit",
            pattern: "^[0-9]+$",
            read: |settings, text| {
                settings.nginx.per_minute = number(text)?;
                Ok(())
            },
        },
    },
    Served {
        name: "limit-rps",
        differs: "each node counts by itself, and the status is always 503",
        wrong: Wrong::Closes,
        value: Value::Text {
            form: "a whole number; 0 for no limit",
            pattern: "^[0-9]+$",
            read: |settings, text| {
                settings.nginx.per_second = number(text)?;
                Ok(())
            },
        },
    },
    Served {
        name: "limit-whitelist",
        differs: "",
        wrong: Wrong::Closes,
        value: Value::Text {
            form: "networks and addresses, separated by commas",
            pattern: "^[0-9a-fA-F.:/, ]+$",
            read: |settings, text| {
                settings.nginx.exempt = Some(networks(text)?);
                Ok(())
            },
        },
    },
    Served {
        name: "load-balance",
        differs: "it holds for the requests of this Ingress, and where nothing is said the less loaded of two random pods is chosen",
        wrong: Wrong::Default("narthex's own balancing applies"),
        value: Value::Text {
            form: "`round_robin` or `ewma`",
            pattern: "^(round_robin|ewma)$",
            read: |settings, text| {
                settings.nginx.balance = Some(match text {
                    "round_robin" => Balance::RoundRobin,
                    "ewma" => Balance::Ewma,
                    _ => return Err(format!("\"{text}\" is neither round_robin nor ewma")),
                });
                Ok(())
            },
        },
    },
    Served {
        name: "permanent-redirect",
        differs: "",
        wrong: Wrong::Default("requests are not redirected"),
        value: Value::Text {
            form: "a URL, or a path",
            pattern: "^(/|https?://)[^\\s$]*$",
            read: |settings, text| {
                settings.nginx.permanent = Some(target(text)?);
                Ok(())
            },
        },
    },
    Served {
        name: "permanent-redirect-code",
        differs: "",
        wrong: Wrong::Default("301 applies"),
        value: Value::Text {
            form: "a whole number from 300 to 308",
            pattern: "^30[0-8]$",
            read: |settings, text| {
                settings.nginx.permanent_code = Some(status(text, 308)?);
                Ok(())
            },
        },
    },
    Served {
        name: "proxy-body-size",
        differs: "",
        wrong: Wrong::Default("1m applies"),
        value: Value::Text {
            form: "a number of bytes, or of `k`, `m` or `g`; 0 for no limit",
            pattern: "^[0-9]+[bBkKmMgG]?$",
            read: |settings, text| {
                settings.nginx.body = Some(size(text)?);
                Ok(())
            },
        },
    },
    Served {
        name: "proxy-connect-timeout",
        differs: "where nothing is said, --connect-timeout applies",
        wrong: Wrong::Default("--connect-timeout applies"),
        value: Value::Text {
            form: "a whole number of seconds",
            pattern: "^[0-9]+$",
            read: |settings, text| {
                settings.backend.connect_timeout = Some(time(text)?);
                Ok(())
            },
        },
    },
    Served {
        name: "proxy-next-upstream",
        differs: "retries stay within a budget, and 403 and 404 cannot be named",
        wrong: Wrong::Default("narthex's own retries apply"),
        value: Value::Text {
            form: "conditions, separated by blanks: `error`, `timeout`, `http_503` and others, `non_idempotent`, or `off`",
            pattern: "^[a-z0-9_ ]+$",
            read: |settings, text| {
                settings.nginx.retry_on = next_upstream(text)?;
                settings.nginx.no_retries = settings.nginx.retry_on.is_none();
                Ok(())
            },
        },
    },
    Served {
        name: "proxy-next-upstream-tries",
        differs: "at most 10",
        wrong: Wrong::Default("3 applies"),
        value: Value::Text {
            form: "a whole number; 0 for 10",
            pattern: "^[0-9]+$",
            read: |settings, text| {
                let tries = number(text)?;
                settings.nginx.tries = Some(if tries == 0 { MOST_TRIES } else { tries.min(MOST_TRIES) });
                Ok(())
            },
        },
    },
    Served {
        name: "proxy-read-timeout",
        differs: "where nothing is said, --response-timeout and --stream-timeout apply, and WebSockets have --tunnel-timeout",
        wrong: Wrong::Default("--response-timeout and --stream-timeout apply"),
        value: Value::Text {
            form: "a whole number of seconds",
            pattern: "^[0-9]+$",
            read: |settings, text| {
                let time = time(text)?;
                settings.backend.response_timeout = Some(time);
                settings.backend.stream_timeout = Some(time);
                Ok(())
            },
        },
    },
    Served {
        name: "proxy-ssl-name",
        differs: "",
        wrong: Wrong::Default("the Service's own name is used"),
        value: Value::Text {
            form: "a DNS name or an address",
            pattern: "^[0-9A-Za-z.:_-]+$",
            read: |settings, text| {
                settings.backend.server_name = Some(server_name(text)?);
                Ok(())
            },
        },
    },
    Served {
        name: "proxy-ssl-secret",
        differs: "the Secret must have `tls.crt` and `tls.key`, and `ca.crt` where the pods are verified",
        wrong: Wrong::Default("no certificate is presented"),
        value: Value::Text {
            form: "a Secret as `NAMESPACE/NAME`, in the namespace of the Ingress",
            pattern: "^([-a-z0-9]+/)?[-a-z0-9.]+$",
            read: |settings, text| {
                let name = secret(settings, text)?;
                settings.backend.client_secret = Some(name.clone());
                settings.backend.ca_secret = Some(name);
                Ok(())
            },
        },
    },
    Served {
        name: "proxy-ssl-verify",
        differs: "",
        wrong: Wrong::Default("\"off\" applies"),
        value: Value::Text {
            form: "`on` or `off`",
            pattern: "^(on|off)$",
            read: |settings, text| {
                settings.nginx.verify = on_off(text)?;
                Ok(())
            },
        },
    },
    Served {
        name: "relative-redirects",
        differs: "redirects to HTTPS are always absolute",
        wrong: Wrong::Default("\"false\" applies"),
        value: switch(|settings, text| {
            settings.nginx.relative = boolean(text)?;
            Ok(())
        }),
    },
    Served {
        name: "rewrite-target",
        differs: "`%2F` stays as it is, and what becomes of the path is forwarded in canonical form",
        wrong: Wrong::Default("paths are not rewritten"),
        value: Value::Text {
            form: "a path, with `$1` to `$9` for the groups of the path's pattern",
            pattern: "^/?[A-Za-z0-9._~/:$-]*$",
            read: |settings, text| {
                let target = Target::new(text).map_err(|why| format!("\"{text}\" {why}"))?;
                settings.nginx.rewrite = Some((text.into(), target));
                Ok(())
            },
        },
    },
    Served {
        name: "session-cookie-domain",
        differs: "",
        wrong: Wrong::Default("the cookie has no domain"),
        value: Value::Text {
            form: "a domain",
            pattern: "^[^;, ]+$",
            read: |settings, text| {
                settings.nginx.attributes.domain = Some(attribute(text)?);
                Ok(())
            },
        },
    },
    Served {
        name: "session-cookie-expires",
        differs: "",
        wrong: Wrong::Default("the cookie has no end"),
        value: Value::Text {
            form: "a whole number of seconds",
            pattern: "^[0-9]+$",
            read: |settings, text| {
                settings.nginx.attributes.expires = Some(number(text)?);
                Ok(())
            },
        },
    },
    Served {
        name: "session-cookie-max-age",
        differs: "",
        wrong: Wrong::Default("the cookie has no end"),
        value: Value::Text {
            form: "a whole number of seconds",
            pattern: "^[0-9]+$",
            read: |settings, text| {
                settings.nginx.attributes.max_age = Some(number(text)?);
                Ok(())
            },
        },
    },
    Served {
        name: "session-cookie-name",
        differs: "",
        wrong: Wrong::Default("the name is INGRESSCOOKIE"),
        value: Value::Text {
            form: "the name of a cookie",
            pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$",
            read: |settings, text| {
                settings.nginx.cookie = Some(token(text)?);
                Ok(())
            },
        },
    },
    Served {
        name: "session-cookie-path",
        differs: "",
        wrong: Wrong::Default("the path of the rule applies, and / for a pattern"),
        value: Value::Text {
            form: "a path",
            pattern: "^/[^;, ]*$",
            read: |settings, text| {
                settings.nginx.attributes.path = Some(attribute(text)?);
                Ok(())
            },
        },
    },
    Served {
        name: "session-cookie-samesite",
        differs: "",
        wrong: Wrong::Default("the cookie says nothing of it"),
        value: Value::Text {
            form: "`None`, `Lax` or `Strict`",
            pattern: "^(None|Lax|Strict)$",
            read: |settings, text| {
                if !["None", "Lax", "Strict"].contains(&text) {
                    return Err(format!("\"{text}\" is not one of None, Lax, Strict"));
                }
                settings.nginx.attributes.same_site = Some(text.into());
                Ok(())
            },
        },
    },
    Served {
        name: "session-cookie-secure",
        differs: "",
        wrong: Wrong::Default("the cookie is Secure if the request came over TLS"),
        value: switch(|settings, text| {
            settings.nginx.attributes.secure = boolean(text)?;
            Ok(())
        }),
    },
    Served {
        name: "ssl-redirect",
        differs: "a slash at the end of the path stays",
        wrong: Wrong::Default("--ssl-redirect applies"),
        value: switch(|settings, text| {
            settings.nginx.ssl_redirect = Some(boolean(text)?);
            Ok(())
        }),
    },
    Served {
        name: "temporal-redirect",
        differs: "",
        wrong: Wrong::Default("requests are not redirected"),
        value: Value::Text {
            form: "a URL, or a path",
            pattern: "^(/|https?://)[^\\s$]*$",
            read: |settings, text| {
                settings.nginx.temporal = Some(target(text)?);
                Ok(())
            },
        },
    },
    Served {
        name: "temporal-redirect-code",
        differs: "",
        wrong: Wrong::Default("302 applies"),
        value: Value::Text {
            form: "a whole number from 300 to 307",
            pattern: "^30[0-7]$",
            read: |settings, text| {
                settings.nginx.temporal_code = Some(status(text, 307)?);
                Ok(())
            },
        },
    },
    Served {
        name: "upstream-hash-by",
        differs: "no other texts, and other pods are chosen for the same key",
        wrong: Wrong::Default("load-balance applies"),
        value: Value::Text {
            form: "`$request_uri`, `$uri`, `$remote_addr`, `$http_NAME` or `$cookie_NAME`",
            pattern: "^\\$.+$",
            read: |settings, text| {
                settings.nginx.hash = Some(hash_by(text)?);
                Ok(())
            },
        },
    },
    Served {
        name: "upstream-vhost",
        differs: "without variables",
        wrong: Wrong::Default("pods get the client's Host"),
        value: Value::Text {
            form: "a host",
            pattern: "^[^$]+$",
            read: |settings, text| {
                settings.backend.upstream_host = Some(vhost(text)?);
                Ok(())
            },
        },
    },
    Served {
        name: "use-regex",
        differs: "patterns take linear time, so look-around and back-references are errors that close the route",
        wrong: Wrong::Default("\"false\" applies"),
        value: switch(|settings, text| {
            settings.nginx.use_regex = boolean(text)?;
            Ok(())
        }),
    },
    Served {
        name: "whitelist-source-range",
        differs: "",
        wrong: Wrong::Closes,
        value: Value::Text {
            form: "networks and addresses, separated by commas",
            pattern: "^[0-9a-fA-F.:/, ]+$",
            read: |settings, text| {
                settings.nginx.allow = Some(networks(text)?);
                Ok(())
            },
        },
    },
];
