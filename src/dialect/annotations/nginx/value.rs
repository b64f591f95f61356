//! How ingress-nginx writes values.

use crate::dialect::annotations::Settings;
use crate::dialect::annotations::value::{Value, token};
use crate::table::{
    Balance, Exchanged, HashKey, Networks, OnlyVersion, RetryOn, Template, UpstreamHost, canonical_host,
};
use http::{HeaderValue, StatusCode};
use ipnet::IpNet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// The longest time that makes sense: a year.
const LONGEST: u32 = 365 * 86_400;

/// A boolean, in any of the ways that Go reads one.
pub(super) const fn switch(read: fn(&mut Settings, &str) -> Result<(), String>) -> Value {
    Value::Text {
        form: "`\"true\"` or `\"false\"`",
        pattern: "^(1|t|T|TRUE|true|True|0|f|F|FALSE|false|False)$",
        read,
    }
}

/// Networks.
pub(super) const fn list(read: fn(&mut Settings, &str) -> Result<(), String>) -> Value {
    Value::Text {
        form: "networks and addresses, separated by commas",
        pattern: "^[0-9a-fA-F.:/, ]+$",
        read,
    }
}

/// A number of which 0 sets no limit.
pub(super) const fn limit(read: fn(&mut Settings, &str) -> Result<(), String>) -> Value {
    Value::Text {
        form: "a whole number; 0 for no limit",
        pattern: "^[0-9]+$",
        read,
    }
}

/// Where a redirect leads.
pub(super) const fn place(read: fn(&mut Settings, &str) -> Result<(), String>) -> Value {
    Value::Text {
        form: "a URL, or a path",
        pattern: "^(/|https?://)[^\\s$]*$",
        read,
    }
}

pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        other => Err(format!("\"{other}\" is neither \"true\" nor \"false\"")),
    }
}

/// The only version of TLS where one of the two that narthex has is named alone, and the names of those that it does not
/// have.
pub(super) fn tls_versions(text: &str) -> Result<(Option<OnlyVersion>, Vec<String>), String> {
    let (mut old, mut new, mut absent) = (false, false, Vec::new());
    for name in text.split_ascii_whitespace() {
        match name {
            "TLSv1.2" => old = true,
            "TLSv1.3" => new = true,
            "SSLv2" | "SSLv3" | "TLSv1" | "TLSv1.1" => absent.push(name.to_owned()),
            other => {
                return Err(format!(
                    "\"{}\" is not a version of TLS such as TLSv1.3",
                    other.escape_debug()
                ));
            }
        }
    }
    match (old, new) {
        (true, true) => Ok((None, absent)),
        (true, false) => Ok((Some(OnlyVersion::Tls12), absent)),
        (false, true) => Ok((Some(OnlyVersion::Tls13), absent)),
        (false, false) => Err(format!(
            "\"{}\" names no version of TLS that narthex has",
            text.escape_debug()
        )),
    }
}

/// `on` or `off`.
pub(super) fn on_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        other => Err(format!("\"{other}\" is neither \"on\" nor \"off\"")),
    }
}

pub(super) fn number(text: &str) -> Result<u32, String> {
    // `parse` alone would take a sign too.
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.then(|| text.parse::<i32>().ok()).flatten();
    number
        .and_then(|number| u32::try_from(number).ok())
        .ok_or_else(|| format!("\"{text}\" is not a whole number"))
}

/// A whole number of seconds.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    match number(text) {
        Ok(0) => Err("0 seconds are too short".to_owned()),
        Ok(number) if number > LONGEST => Err(format!("\"{text}\" seconds are more than a year")),
        Ok(number) => Ok(super::seconds(number)),
        Err(_) => Err(format!("\"{text}\" is not a whole number of seconds, without a unit")),
    }
}

/// A number of bytes, or of `k`, `m` or `g`, in any case.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("\"{text}\" is not a number of bytes, or of k, m or g");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or_else(wrong)?;
    let shift = match unit {
        "" | "b" | "B" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

/// Statuses of errors, with commas between.
pub(in crate::dialect::annotations) fn errors(text: &str) -> Result<Box<[StatusCode]>, String> {
    let read = |one: &str| {
        let code = number(one).ok().and_then(|code| u16::try_from(code).ok());
        let status = code.filter(|code| (400..600).contains(code));
        let status = status.and_then(|code| StatusCode::from_u16(code).ok());
        status.ok_or_else(|| format!("\"{one}\" is not a status from 400 to 599"))
    };
    let given = text.split(',').map(str::trim).filter(|one| !one.is_empty());
    given.map(read).collect()
}

/// Networks and addresses, with commas between.
pub(in crate::dialect::annotations) fn networks(text: &str) -> Result<Networks, String> {
    let read = |one: &str| {
        let network = one.parse::<IpNet>().ok();
        let network = network.or_else(|| one.parse::<IpAddr>().ok().map(IpNet::from));
        network.ok_or_else(|| format!("\"{one}\" is not a network such as 10.0.0.0/8"))
    };
    let given = text.split(',').map(str::trim).filter(|one| !one.is_empty());
    let all: Vec<IpNet> = given.map(read).collect::<Result<_, _>>()?;
    if all.is_empty() {
        return Err("it names no network".to_owned());
    }
    Ok(Networks::new(all))
}

/// Where a redirect leads: a URL, or a path of the same host.
pub(super) fn target(text: &str) -> Result<Template, String> {
    let wrong = |why: &str| format!("\"{text}\" {why}");
    if text.contains('$') {
        return Err(wrong("has a variable, which ingress-nginx does not allow here"));
    }
    if text.contains(char::is_whitespace) {
        return Err(wrong("has a blank"));
    }
    let template = Template::new(text).map_err(|why| wrong(&why))?;
    let leads = ["/", "http://", "https://"]
        .iter()
        .any(|beginning| template.starts_with(beginning));
    if leads {
        Ok(template)
    } else {
        Err(wrong("is neither a URL nor a path"))
    }
}

/// The status of a redirect; another number leaves the usual one.
pub(super) fn status(text: &str, most: u16) -> Result<StatusCode, String> {
    let wrong = || format!("\"{text}\" is not from 300 to {most}");
    let code = number(text).map_err(|_| wrong())?;
    let code = u16::try_from(code).ok().filter(|code| (300..=most).contains(code));
    code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or_else(wrong)
}

/// Words with commas between, as the value of a field has them.
pub(super) fn words(text: &str) -> Result<HeaderValue, String> {
    let fits = |one: &str| {
        !one.is_empty()
            && one
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_*".contains(&byte))
    };
    let wrong = || format!("\"{text}\" is not a list of names with commas between");
    let all = text
        .trim()
        .trim_end_matches(',')
        .split([',', ' '])
        .filter(|one| !one.is_empty());
    let good = !text.trim().is_empty() && all.into_iter().all(fits);
    if good {
        HeaderValue::from_str(text.trim()).map_err(|_| wrong())
    } else {
        Err(wrong())
    }
}

/// The Secret that an annotation names: its namespace has to be that of the Ingress.
pub(super) fn secret(settings: &Settings, text: &str) -> Result<Arc<str>, String> {
    let own = &*settings.namespace;
    let name = match text.split_once('/') {
        Some((namespace, _)) if namespace != own => {
            return Err(format!(
                "\"{text}\" is of another namespace than the Ingress, which is \"{own}\""
            ));
        }
        Some((_, name)) => name,
        None => text,
    };
    crate::dialect::annotations::value::object_name(name)
}

/// A path or a domain, as the attribute of a cookie has it.
pub(in crate::dialect::annotations) fn attribute(text: &str) -> Result<Arc<str>, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/!$&'()*+=:@%".contains(&byte);
    if !text.is_empty() && text.len() <= 1024 && text.bytes().all(fits) {
        Ok(text.into())
    } else {
        Err(format!("\"{text}\" cannot be the attribute of a cookie"))
    }
}

/// Two texts with a blank between, of which the second takes the place of the first; absent for `off`.
pub(in crate::dialect::annotations) fn exchanged(text: &str) -> Result<Option<Exchanged>, String> {
    if text == "off" {
        return Ok(None);
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let [from, to] = words.as_slice() else {
        return Err(format!("\"{text}\" is neither \"off\" nor two words"));
    };
    let part = |part: &str| match redirect_part(part)? {
        Some(template) => Ok(template),
        None => Err(format!("\"{text}\" names nothing")),
    };
    let (from, to) = (part(from)?, part(to)?);
    Ok(Some(Exchanged { from, to }))
}

/// A text that is looked for, or that takes its place; absent where nothing is to be changed.
pub(super) fn redirect_part(text: &str) -> Result<Option<Template>, String> {
    if text == "off" || text == "default" {
        return Ok(None);
    }
    let wrong = |why: &str| format!("\"{}\" {why}", text.escape_debug());
    if text.starts_with('~') {
        return Err(wrong("is a regular expression, which narthex does not know here"));
    }
    if text.is_empty() || text.contains([' ', ';', '"', '\'']) {
        return Err(wrong("is not a word without quotes and semicolons"));
    }
    Template::new(text).map(Some).map_err(|why| wrong(&why))
}

/// `upstream-vhost` with variables.
pub(super) fn vhost_template(text: &str) -> Result<Template, String> {
    let wrong = |why: &str| format!("\"{}\" {why}", text.escape_debug());
    if text.contains(' ') {
        return Err(wrong("has a blank"));
    }
    Template::new(text).map_err(|why| wrong(&why))
}

/// `upstream-vhost`.
pub(super) fn vhost(text: &str) -> Result<UpstreamHost, String> {
    let wrong = |why: String| format!("\"{text}\" is not a host: {why}");
    canonical_host(text).map_err(|error| wrong(error.to_string()))?;
    let host = HeaderValue::from_str(text).map_err(|error| wrong(error.to_string()))?;
    Ok(UpstreamHost::Named(host))
}

/// `upstream-hash-by`, as far as narthex hashes the same.
pub(super) fn hash_by(text: &str) -> Result<Balance, String> {
    let key = match text.trim_matches(['{', '}']).trim_start_matches('$') {
        "request_uri" | "uri" => HashKey::Uri,
        "remote_addr" | "binary_remote_addr" => HashKey::SourceIp,
        name => match (name.strip_prefix("http_"), name.strip_prefix("cookie_")) {
            (Some(field), _) => HashKey::Header(token(&field.replace('_', "-").to_ascii_lowercase())?),
            (_, Some(cookie)) => HashKey::Cookie(token(cookie)?),
            _ => {
                return Err(format!(
                    "\"{text}\" is not one of $request_uri, $uri, $remote_addr, $http_NAME, $cookie_NAME"
                ));
            }
        },
    };
    if text.starts_with('$') {
        Ok(Balance::Hash(key))
    } else {
        Err(format!("\"{text}\" is no variable"))
    }
}

/// `proxy-next-upstream`; absent for `off`.
pub(super) fn next_upstream(text: &str) -> Result<Option<RetryOn>, String> {
    let mut on = RetryOn::NONE;
    for word in text.split_whitespace() {
        match word {
            "off" => return Ok(None),
            "error" => on.reset = true,
            "timeout" => on.timeout = true,
            "non_idempotent" => on.non_idempotent = true,
            // What it is about is always an error here: the pod's response cannot be read.
            "invalid_header" => {}
            other => {
                let status = other.strip_prefix("http_").and_then(|status| status.parse().ok());
                if !status.is_some_and(|status| on.add_status(status)) {
                    return Err(format!(
                        "\"{other}\" is not one of error, timeout, invalid_header, http_500, http_502, http_503, http_504, \
                         http_403, http_404, http_429, non_idempotent, off"
                    ));
                }
            }
        }
    }
    Ok(Some(on))
}
