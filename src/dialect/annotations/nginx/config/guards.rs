//! Keys of the ConfigMap of ingress-nginx that keep requests from pods. One that cannot be read closes what it guards.

use super::Config;
use super::keys::Known;
use crate::dialect::annotations::nginx::auth::{Url, cache_key, cache_times, fields, method, returns_to, sign_in};
use crate::dialect::annotations::nginx::value::{boolean, networks, number};
use crate::dialect::annotations::value::token;
use crate::table::{Blocked, BlockedField, Networks, PathRegex};
use http::StatusCode;
use std::sync::Arc;

/// The most texts and expressions of one list.
const MOST_BLOCKED: usize = 256;

/// The most paths of one list.
const MOST_PATHS: usize = 256;

pub(super) static ALL: &[Known] = &[
    Known {
        name: "whitelist-source-range",
        read: |config, text| {
            config.allow = Some(closing(config, "whitelist-source-range", text)?);
            Ok(())
        },
    },
    Known {
        name: "denylist-source-range",
        read: |config, text| {
            config.deny = Some(closing(config, "denylist-source-range", text)?);
            Ok(())
        },
    },
    Known {
        name: "block-cidrs",
        read: |config, text| {
            config.blocked = Some(closing(config, "block-cidrs", text)?);
            Ok(())
        },
    },
    Known {
        name: "block-user-agents",
        read: |config, text| block(config, ("block-user-agents", BlockedField::UserAgent), text),
    },
    Known {
        name: "block-referers",
        read: |config, text| block(config, ("block-referers", BlockedField::Referer), text),
    },
    Known {
        name: "global-auth-url",
        read: |config, text| {
            asked(config, "global-auth-url", |global| {
                global.url = Some(Url::new(text)?);
                Ok(())
            })
        },
    },
    Known {
        name: "global-auth-method",
        read: |config, text| {
            asked(config, "global-auth-method", |global| {
                global.method = Some(method(text)?);
                Ok(())
            })
        },
    },
    Known {
        name: "global-auth-response-headers",
        read: |config, text| {
            asked(config, "global-auth-response-headers", |global| {
                global.fields = fields(text)?;
                Ok(())
            })
        },
    },
    Known {
        name: "global-auth-signin",
        read: |config, text| {
            config.global_auth.sign_in = Some(sign_in(text)?);
            Ok(())
        },
    },
    Known {
        name: "global-auth-signin-redirect-param",
        read: |config, text| {
            config.global_auth.parameter = Some((*token(text)?).into());
            Ok(())
        },
    },
    Known {
        name: "global-auth-request-redirect",
        read: |config, text| {
            config.global_auth.returns_to = Some(returns_to(text)?);
            Ok(())
        },
    },
    Known {
        name: "global-auth-always-set-cookie",
        read: |config, text| {
            config.global_auth.always_sets_cookies = boolean(text)?;
            Ok(())
        },
    },
    Known {
        name: "global-auth-cache-key",
        read: |config, text| {
            config.global_auth.cache_key = Some(cache_key(text)?);
            Ok(())
        },
    },
    Known {
        name: "global-auth-cache-duration",
        read: |config, text| {
            config.global_auth.cache_times = Some(cache_times(text)?);
            Ok(())
        },
    },
    Known {
        name: "global-auth-snippet",
        read: |config, _| {
            asked(config, "global-auth-snippet", |_| {
                Err("configuration of nginx is not interpreted".to_owned())
            })
        },
    },
    Known {
        name: "no-auth-locations",
        read: |config, text| {
            config.unasked = paths(text)?;
            Ok(())
        },
    },
    Known {
        name: "no-tls-redirect-locations",
        read: |config, text| {
            config.plain = paths(text)?;
            Ok(())
        },
    },
    Known {
        name: "limit-req-status-code",
        read: |config, text| {
            config.rate_status = limit_status(text)?;
            Ok(())
        },
    },
    Known {
        name: "limit-conn-status-code",
        read: |config, text| {
            config.connections_status = limit_status(text)?;
            Ok(())
        },
    },
    Known {
        name: "enable-modsecurity",
        read: |config, text| firewall(config, "enable-modsecurity", text),
    },
    Known {
        name: "enable-owasp-modsecurity-crs",
        read: |config, text| firewall(config, "enable-owasp-modsecurity-crs", text),
    },
];

/// A list of networks. One that cannot be read lets nobody in: what it says of addresses is not known.
fn closing(config: &mut Config, key: &'static str, text: &str) -> Result<Networks, String> {
    networks(text).inspect_err(|_| config.closed_by = Some(key))
}

/// A web application firewall is not there, so whoever wants one is not served without.
fn firewall(config: &mut Config, key: &'static str, text: &str) -> Result<(), String> {
    if boolean(text) == Ok(false) {
        return Ok(());
    }
    config.closed_by = Some(key);
    Err("there is no web application firewall".to_owned())
}

/// What is said of the service that says for all Ingresses who may come in. If it cannot be read, those it is for are closed.
fn asked(
    config: &mut Config,
    key: &'static str,
    read: impl FnOnce(&mut super::External) -> Result<(), String>,
) -> Result<(), String> {
    read(&mut config.global_auth).inspect_err(|_| config.auth_closed_by = Some(key))
}

/// A list of texts, and of regular expressions behind a `~` or, for any case, a `~*`.
fn block(config: &mut Config, (key, field): (&'static str, BlockedField), text: &str) -> Result<(), String> {
    let read = || {
        let (mut texts, mut expressions) = (Vec::new(), Vec::new());
        for one in text.split(',').map(str::trim).filter(|one| !one.is_empty()) {
            match one.strip_prefix('~') {
                None => texts.push(one.into()),
                Some(regex) => {
                    let compiled = match regex.strip_prefix('*') {
                        Some(regex) => PathRegex::new(&format!("(?i){regex}")),
                        None => PathRegex::new(regex),
                    };
                    expressions.push(compiled.map_err(|why| format!("\"{one}\" {why}"))?);
                }
            }
        }
        if texts.len() + expressions.len() > MOST_BLOCKED {
            return Err(format!("it has more than {MOST_BLOCKED} texts"));
        }
        Ok(Blocked {
            field,
            texts: texts.into(),
            expressions: expressions.into(),
        })
    };
    let blocked: Blocked = read().inspect_err(|_: &String| config.closed_by = Some(key))?;
    config.unwanted.push(Arc::new(blocked));
    Ok(())
}

/// Beginnings of paths as rules write them.
fn paths(text: &str) -> Result<Arc<[Box<str>]>, String> {
    let all = || text.split(',').map(str::trim).filter(|one| !one.is_empty());
    if let Some(wrong) = all().find(|one| !one.starts_with('/')) {
        return Err(format!("\"{wrong}\" does not begin with a slash"));
    }
    if all().count() > MOST_PATHS {
        return Err(format!("it has more than {MOST_PATHS} paths"));
    }
    Ok(all().map(Into::into).collect())
}

/// The status of a request beyond a limit.
fn limit_status(text: &str) -> Result<StatusCode, String> {
    let status = number(text)?;
    let status = u16::try_from(status).ok().filter(|status| (400..600).contains(status));
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    status.ok_or_else(|| format!("\"{text}\" is not a status from 400 to 599"))
}
