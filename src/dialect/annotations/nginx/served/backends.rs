//! Annotations of what pods are spoken to: protocol, certificates, balancing, cookies, times, retries.

use super::super::value::{
    attribute, boolean, hash_by, next_upstream, number, on_off, secret, switch, time, tls_versions, vhost,
    vhost_template,
};
use super::super::{MOST_SUBSET, MOST_TRIES, Served, Wrong};
use crate::dialect::annotations::value::{Value, server_name, token};
use crate::table::{BackendProtocol, Balance, CipherSuites};

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
        name: "connection-proxy-header",
        differs: "",
        wrong: Wrong::Default("connections are kept"),
        value: Value::Text {
            form: "`close` or `keep-alive`",
            pattern: "^(close|keep-alive)$",
            read: |settings, text| {
                settings.backend.one_request = match text {
                    "close" => Some(true),
                    "keep-alive" => None,
                    _ => return Err(format!("\"{text}\" is neither close nor keep-alive")),
                };
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
        name: "proxy-connect-timeout",
        differs: "",
        wrong: Wrong::Default("5 s apply"),
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
        differs: "retries stay within a budget",
        wrong: Wrong::Default("`error timeout` applies"),
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
        name: "proxy-next-upstream-timeout",
        differs: "",
        wrong: Wrong::Default("the time is not limited"),
        value: Value::Text {
            form: "a whole number of seconds; 0 for no limit",
            pattern: "^[0-9]+$",
            read: |settings, text| {
                settings.nginx.retry_time = Some(match number(text)? {
                    0 => None,
                    _ => Some(time(text)?),
                });
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
        differs: "where nothing is said, WebSockets have --tunnel-timeout",
        wrong: Wrong::Default("60 s apply"),
        value: Value::Text {
            form: "a whole number of seconds",
            pattern: "^[0-9]+$",
            read: |settings, text| {
                let time = time(text)?;
                settings.backend.response_timeout = Some(time);
                settings.backend.stream_timeout = Some(time);
                settings.backend.tunnel_timeout = Some(time);
                Ok(())
            },
        },
    },
    Served {
        name: "proxy-send-timeout",
        differs: "",
        wrong: Wrong::Default("60 s apply"),
        value: Value::Text {
            form: "a whole number of seconds",
            pattern: "^[0-9]+$",
            read: |settings, text| {
                settings.backend.take_timeout = Some(time(text)?);
                Ok(())
            },
        },
    },
    Served {
        name: "proxy-ssl-ciphers",
        differs: "suites that narthex does not have are reported and left out, those of TLS 1.3 are always offered, and it \
                  holds without `proxy-ssl-secret` too",
        wrong: Wrong::Default("pods are offered all suites that narthex has"),
        value: Value::Text {
            form: "a list of OpenSSL, such as `ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-CHACHA20-POLY1305`",
            pattern: "^[!-~ ]+$",
            read: |settings, text| {
                let list = CipherSuites::read(text)?;
                settings.backend.cipher_suites = Some(list.suites);
                settings.nginx.absent_suites = list.unknown;
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
        name: "proxy-ssl-protocols",
        differs: "versions before TLS 1.2 are reported and left out, where nothing is said pods are offered TLS 1.2 and 1.3, \
                  and it holds without `proxy-ssl-secret` too",
        wrong: Wrong::Default("pods are offered TLS 1.2 and 1.3"),
        value: Value::Text {
            form: "versions, separated by blanks: `TLSv1.2`, `TLSv1.3`, and older ones",
            pattern: "^(SSLv2|SSLv3|TLSv1|TLSv1\\.1|TLSv1\\.2|TLSv1\\.3| )+$",
            read: |settings, text| {
                let (version, absent) = tls_versions(text)?;
                settings.backend.tls_version = version;
                settings.nginx.absent_versions = absent;
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
        name: "session-cookie-change-on-failure",
        differs: "a client whose pod fails always gets another one, and the cookie with it",
        wrong: Wrong::Default("the cookie changes with the pod"),
        value: switch(|_, text| boolean(text).map(drop)),
    },
    Served {
        name: "session-cookie-conditional-samesite-none",
        differs: "",
        wrong: Wrong::Default("all browsers get the same"),
        value: switch(|settings, text| {
            settings.nginx.attributes.conditional_none = boolean(text)?;
            Ok(())
        }),
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
        name: "upstream-hash-by-subset",
        differs: "other pods make a subset, and the less loaded of two of them gets the request",
        wrong: Wrong::Default("a key has one pod"),
        value: switch(|settings, text| {
            settings.nginx.subset = boolean(text)?;
            Ok(())
        }),
    },
    Served {
        name: "upstream-hash-by-subset-size",
        differs: "at most 64",
        wrong: Wrong::Default("3 applies"),
        value: Value::Text {
            form: "a whole number",
            pattern: "^[0-9]+$",
            read: |settings, text| {
                settings.nginx.subset_size = Some(number(text)?.clamp(1, MOST_SUBSET));
                Ok(())
            },
        },
    },
    Served {
        name: "upstream-vhost",
        differs: "if it is not a host once its variables are expanded, the client gets 400",
        wrong: Wrong::Default("pods get the client's Host"),
        value: Value::Text {
            form: "a host, which may have variables",
            pattern: "^[^ ]+$",
            read: |settings, text| {
                if text.contains('$') {
                    settings.nginx.fields.host = Some(vhost_template(text)?);
                } else {
                    settings.backend.upstream_host = Some(vhost(text)?);
                }
                Ok(())
            },
        },
    },
];
