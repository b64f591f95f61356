//! Each annotation with its verdict.

use super::Unserved;
use super::value::{networks, time};
use crate::dialect::annotations::hsts;
use crate::dialect::annotations::nginx::{Served, Wrong};
use crate::dialect::annotations::value::{Value, token};
use crate::table::{Balance, ForwardedFields, HashKey, Target};
use http::HeaderValue;

/// A switch that is on by `true` alone, in any case.
const fn switch(read: fn(&mut crate::dialect::annotations::Settings, &str) -> Result<(), String>) -> Value {
    Value::Text {
        form: "`\"true\"` or `\"false\"`",
        pattern: "^(?i)(true|false)$",
        read,
    }
}

fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("\"{text}\" is neither \"true\" nor \"false\"")),
    }
}

const TIME: &str = "a whole number with `us`, `ms`, `s`, `m`, `h` or `d`; without a unit milliseconds";
const TIME_PATTERN: &str = "^[1-9][0-9]*(us|ms|s|m|h|d)?$";

const fn duration(read: fn(&mut crate::dialect::annotations::Settings, &str) -> Result<(), String>) -> Value {
    Value::Text {
        form: TIME,
        pattern: TIME_PATTERN,
        read,
    }
}

const fn list(read: fn(&mut crate::dialect::annotations::Settings, &str) -> Result<(), String>) -> Value {
    Value::Text {
        form: "networks and addresses, separated by blanks",
        pattern: "^[0-9a-fA-F.:/ ]+$",
        read,
    }
}

const fn limit(read: fn(&mut crate::dialect::annotations::Settings, &str) -> Result<(), String>) -> Value {
    Value::Text {
        form: "a whole number of at least 1",
        pattern: "^[1-9][0-9]*$",
        read,
    }
}

fn number(text: &str) -> Result<u32, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.then(|| text.parse().ok()).flatten().filter(|number| *number > 0);
    number.ok_or_else(|| format!("\"{text}\" is not a whole number of at least 1"))
}

pub(super) static SERVED: &[Served] = &[
    Served {
        name: "haproxy.router.openshift.io/balance",
        differs: "`leastconn` and `random` both choose the less loaded of two random pods, and other pods are chosen for the \
                  same address",
        wrong: Wrong::Default("random applies, and roundrobin to several Services"),
        value: Value::Text {
            form: "one of `random`, `roundrobin`, `leastconn`, `source`",
            pattern: "^(random|roundrobin|leastconn|source)$",
            read: |settings, text| {
                settings.openshift.balance = Some(match text {
                    "random" | "leastconn" => Balance::P2c,
                    "roundrobin" => Balance::RoundRobin,
                    "source" => Balance::Hash(HashKey::SourceIp),
                    _ => {
                        return Err(format!(
                            "\"{text}\" is not one of random, roundrobin, leastconn, source"
                        ));
                    }
                });
                Ok(())
            },
        },
    },
    Served {
        name: "haproxy.router.openshift.io/disable_cookies",
        differs: "",
        wrong: Wrong::Default("\"false\" applies"),
        value: switch(|settings, text| {
            settings.openshift.no_cookie = boolean(text)?;
            Ok(())
        }),
    },
    Served {
        name: "haproxy.router.openshift.io/hsts_header",
        differs: "a value that browsers would leave out is an error",
        wrong: Wrong::Default("replies have no such field"),
        value: Value::Text {
            form: "directives such as `max-age=31536000;includeSubDomains;preload`",
            pattern: "^[\\x20-\\x7e]+$",
            read: |settings, text| {
                let value = hsts::normalise(text)?;
                settings.hsts = HeaderValue::from_str(&value).ok();
                Ok(())
            },
        },
    },
    Served {
        name: "haproxy.router.openshift.io/ip_allowlist",
        differs: "a client at another address gets 403, where OpenShift's router ends the connection",
        wrong: Wrong::Closes,
        value: list(|settings, text| {
            settings.openshift.allow = Some(networks(text)?);
            Ok(())
        }),
    },
    Served {
        name: "haproxy.router.openshift.io/ip_whitelist",
        differs: "as ip_allowlist, which wins",
        wrong: Wrong::Closes,
        value: list(|settings, text| {
            settings.openshift.old_allow = Some(networks(text)?);
            Ok(())
        }),
    },
    Served {
        name: "haproxy.router.openshift.io/pod-concurrent-connections",
        differs: "requests under way are counted, and connections where TLS is passed through",
        wrong: Wrong::Default("pods get any number"),
        value: limit(|settings, text| {
            settings.openshift.per_pod = Some(number(text)?);
            Ok(())
        }),
    },
    Served {
        name: "haproxy.router.openshift.io/rate-limit-connections",
        differs: "each node counts by itself, and a client that is over a limit gets 429",
        wrong: Wrong::Closes,
        value: switch(|settings, text| {
            settings.openshift.limits = boolean(text)?;
            Ok(())
        }),
    },
    Served {
        name: "haproxy.router.openshift.io/rate-limit-connections.concurrent-tcp",
        differs: "requests under way are counted, not connections",
        wrong: Wrong::Closes,
        value: limit(|settings, text| {
            settings.openshift.connections = Some(number(text)?);
            Ok(())
        }),
    },
    Served {
        name: "haproxy.router.openshift.io/rate-limit-connections.rate-http",
        differs: "a bucket that empties at a steady pace counts, not a window of ten seconds",
        wrong: Wrong::Closes,
        value: limit(|settings, text| {
            settings.openshift.rate = Some(number(text)?);
            Ok(())
        }),
    },
    Served {
        name: "haproxy.router.openshift.io/rate-limit-connections.rate-tcp",
        differs: "requests are counted, and connections only where TLS is passed through; a bucket that empties at a steady \
                  pace counts, not a window of three seconds",
        wrong: Wrong::Closes,
        value: limit(|settings, text| {
            settings.openshift.rate_tcp = Some(number(text)?);
            Ok(())
        }),
    },
    Served {
        name: "haproxy.router.openshift.io/rewrite-target",
        differs: "",
        wrong: Wrong::Default("pods get the path as it came"),
        value: Value::Text {
            form: "a path; `/` takes the Route's path away",
            pattern: "^/[0-9A-Za-z._~/:-]*$",
            read: |settings, text| {
                if !text.starts_with('/') || text.contains('$') {
                    return Err(format!("\"{text}\" is not a path"));
                }
                Target::new(text).map_err(|why| format!("\"{text}\" {why}"))?;
                settings.openshift.rewrite = Some(text.into());
                Ok(())
            },
        },
    },
    Served {
        name: "haproxy.router.openshift.io/set-forwarded-headers",
        differs: "what clients say that are no `--trusted-proxies` is never kept",
        wrong: Wrong::Default("append applies"),
        value: Value::Text {
            form: "one of `append`, `replace`, `if-none`, `never`",
            pattern: "^(append|replace|if-none|never)$",
            read: |settings, text| {
                settings.backend.forwarded_fields = Some(match text {
                    "append" => ForwardedFields::Append,
                    "replace" => ForwardedFields::Replace,
                    "if-none" => ForwardedFields::IfNone,
                    "never" => ForwardedFields::Never,
                    _ => return Err(format!("\"{text}\" is not one of append, replace, if-none, never")),
                });
                Ok(())
            },
        },
    },
    Served {
        name: "haproxy.router.openshift.io/timeout",
        differs: "it is for the response's head and for each pause in its body",
        wrong: Wrong::Default("30s apply"),
        value: duration(|settings, text| {
            settings.openshift.timeout = Some(time(text)?);
            Ok(())
        }),
    },
    Served {
        name: "haproxy.router.openshift.io/timeout-tunnel",
        differs: "",
        wrong: Wrong::Default("--tunnel-timeout applies"),
        value: duration(|settings, text| {
            settings.backend.tunnel_timeout = Some(time(text)?);
            Ok(())
        }),
    },
    Served {
        name: "router.openshift.io/cookie-same-site",
        differs: "",
        wrong: Wrong::Default("the cookie says nothing of it"),
        value: Value::Text {
            form: "`None`, `Lax` or `Strict`",
            pattern: "^(None|Lax|Strict)$",
            read: |settings, text| {
                if !["None", "Lax", "Strict"].contains(&text) {
                    return Err(format!("\"{text}\" is not one of None, Lax, Strict"));
                }
                settings.openshift.same_site = Some(text.into());
                Ok(())
            },
        },
    },
    Served {
        name: "router.openshift.io/cookie_name",
        differs: "the cookie's value is narthex's own, so clients are assigned a pod once more when they come over",
        wrong: Wrong::Default("the name is made of the Route's"),
        value: Value::Text {
            form: "the name of a cookie",
            pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$",
            read: |settings, text| {
                settings.openshift.cookie = Some(token(text)?);
                Ok(())
            },
        },
    },
    Served {
        name: "router.openshift.io/haproxy.health.check.interval",
        differs: "pods are asked only if narthex.io/health-path says what for; pods that fail are noticed by their requests",
        wrong: Wrong::Default("narthex's own interval applies"),
        value: duration(|settings, text| {
            settings.backend.health_interval = Some(time(text)?);
            Ok(())
        }),
    },
];

pub(super) static UNSERVED: &[Unserved] = &[
    Unserved {
        name: "haproxy.router.openshift.io/h1-adjust-case",
        no_effect: true,
        why: "narthex keeps the case of names over HTTP/1.1",
    },
    Unserved {
        name: "router.openshift.io/pool-size",
        no_effect: true,
        why: "narthex needs no servers in reserve",
    },
];
