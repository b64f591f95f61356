//! How narthex's own policies are written.

use crate::dialect::annotations::KeySetWanted;
use crate::dialect::annotations::nginx::auth::Url;
use crate::dialect::annotations::nginx::is_ours;
use crate::dialect::annotations::value::{object_name, token};
use crate::dialect::reading::OUTSIDE;
use crate::model::object::PortRef;
use crate::table::canonical::canonical_rule_path;
use crate::table::paths::prefix_key;
use crate::table::{Claims, Edit, FieldPattern, Rate, RateKey, Replies, Target, Template, Texts, What, may_be_replied};
use http::{HeaderName, HeaderValue};
use std::sync::Arc;

/// The most fields of one annotation, and the most rates.
const MOST_FIELDS: usize = 64;
const MOST_RATES: usize = 4;

/// The most requests that a rate may allow.
const MOST_REQUESTS: u32 = 1_000_000;

/// A field and its text.
pub type Line = (Box<str>, Template);

/// Lines of `Name: value`.
fn lines(text: &str) -> Result<Vec<Line>, String> {
    let given = text.split('\n').map(str::trim).filter(|line| !line.is_empty());
    let read = |line: &str| {
        let wrong = |why: &str| format!("\"{}\" {why}", line.escape_debug());
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| wrong("is not a line such as Name: value"))?;
        let name = token(name.trim_end())?;
        let value = Template::new(value.trim()).map_err(|why| wrong(&why))?;
        Ok((Box::from(&*name), value))
    };
    few(given.map(read).collect::<Result<_, String>>()?)
}

/// Some, but not too many.
fn few<T>(all: Vec<T>) -> Result<Vec<T>, String> {
    match all.len() {
        0 => Err("it names no field".to_owned()),
        many if many > MOST_FIELDS => Err(format!("it names more than {MOST_FIELDS} fields")),
        _ => Ok(all),
    }
}

/// Names of fields, with commas between.
fn names(text: &str) -> Result<Vec<Box<str>>, String> {
    let given = text.split([',', '\n']).map(str::trim).filter(|name| !name.is_empty());
    few(given
        .map(|name| Ok(Box::from(&*token(name)?)))
        .collect::<Result<_, String>>()?)
}

/// Whether a route may say a field of requests.
fn may_be_requested(name: &str) -> Result<(), String> {
    if is_ours(name) {
        return Err(format!(
            "{name} is a field that narthex itself sets, or one that is about the connection"
        ));
    }
    Ok(())
}

/// `request-headers-set` and `request-headers-add`.
pub fn request_lines(text: &str) -> Result<Vec<Line>, String> {
    let all = lines(text)?;
    all.iter().try_for_each(|(name, _)| may_be_requested(name))?;
    Ok(all)
}

/// `request-headers-remove`.
pub fn request_names(text: &str) -> Result<Vec<Box<str>>, String> {
    let all = names(text)?;
    all.iter().try_for_each(|name| may_be_requested(name))?;
    Ok(all)
}

fn replied(name: &str) -> Result<(), String> {
    if may_be_replied(name) {
        Ok(())
    } else {
        Err(format!("{name} says where a message ends or is about the connection"))
    }
}

/// `response-headers-set` and `response-headers-add`.
pub fn response_lines(text: &str, what: fn(Box<str>, Template) -> What) -> Result<Vec<Edit>, String> {
    let all = lines(text)?;
    all.iter().try_for_each(|(name, _)| replied(name))?;
    let edit = |(name, value)| Edit {
        what: what(name, value),
        when: Replies::default(),
    };
    Ok(all.into_iter().map(edit).collect())
}

/// `response-headers-remove`. A `*` at the end of a name stands for any text.
pub fn response_names(text: &str) -> Result<Vec<Edit>, String> {
    let given = text.split([',', '\n']).map(str::trim).filter(|name| !name.is_empty());
    let read = |text: &str| {
        let name = text.strip_suffix('*').unwrap_or(text);
        replied(name)?;
        Ok(Edit {
            what: What::Clear(FieldPattern {
                name: (&*token(name)?).into(),
                open: name.len() < text.len(),
            }),
            when: Replies::default(),
        })
    };
    few(given.map(read).collect::<Result<_, String>>()?)
}

/// A prefix of a path, in canonical form.
pub fn prefix(text: &str) -> Result<Box<str>, String> {
    let wrong = |why: &str| format!("\"{}\" {why}", text.escape_debug());
    if text.contains(['?', '#']) {
        return Err(wrong("is not a path alone"));
    }
    let path = canonical_rule_path(text, false).map_err(|error| wrong(&error.to_string()))?;
    match prefix_key(&path) {
        "" | "/" => Err(wrong("has no element")),
        prefix => Ok(prefix.into()),
    }
}

/// `rewrite-target`.
pub fn rewrite(text: &str) -> Result<Target, String> {
    let wrong = |why: &str| format!("\"{}\" {why}", text.escape_debug());
    if !text.starts_with('/') {
        return Err(wrong("does not begin with a slash"));
    }
    Target::new(text).map_err(|why| wrong(&why))
}

/// `redirect`.
pub fn redirect(text: &str) -> Result<Template, String> {
    let wrong = |why: &str| format!("\"{}\" {why}", text.escape_debug());
    let template = Template::new(text).map_err(|why| wrong(&why))?;
    if text.contains(' ') {
        return Err(wrong("has a blank"));
    }
    let leads = ["/", "http://", "https://", "$scheme://", "${scheme}://"];
    if leads.iter().any(|beginning| text.starts_with(beginning)) {
        Ok(template)
    } else {
        Err(wrong("is neither a URL nor a path"))
    }
}

/// `rate-limit`: requests and the seconds in which they may come.
pub fn rates(text: &str) -> Result<Vec<(u32, u32)>, String> {
    let read = |one: &str| {
        let wrong = || format!("\"{}\" is not a rate such as 10/s or 300/m", one.escape_debug());
        let (number, unit) = one.split_once('/').ok_or_else(wrong)?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            _ => return Err(wrong()),
        };
        let digits = number.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.then(|| number.parse::<u32>().ok()).flatten();
        let number = number.filter(|number| (1..=MOST_REQUESTS).contains(number));
        Ok((number.ok_or_else(wrong)?, seconds))
    };
    let given = text.split(',').map(str::trim).filter(|one| !one.is_empty());
    let all: Vec<_> = given.map(read).collect::<Result<_, String>>()?;
    match all.len() {
        0 => Err("it names no rate".to_owned()),
        many if many > MOST_RATES => Err(format!("it names more than {MOST_RATES} rates")),
        _ => Ok(all),
    }
}

/// A rate as a bucket. Without a burst of its own, it holds as many requests as the rate names.
pub fn rate((requests, seconds): (u32, u32), burst: Option<u32>) -> Option<Rate> {
    Rate::new(requests, seconds, burst.unwrap_or(requests.saturating_sub(1)))
}

/// `rate-limit-key`.
pub fn rate_key(text: &str) -> Result<RateKey, String> {
    match text {
        "client" => Ok(RateKey::Client),
        "host" => Ok(RateKey::Host),
        other => {
            let name = other.strip_prefix("header:").map(token).transpose()?;
            let name = name.and_then(|name| HeaderName::from_bytes(name.as_bytes()).ok());
            name.map(RateKey::Header)
                .ok_or_else(|| format!("\"{}\" is not one of client, host, header:NAME", other.escape_debug()))
        }
    }
}

/// Names or methods with commas between, as a field has them.
pub fn words(text: &str) -> Result<HeaderValue, String> {
    let given = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    let all: Vec<_> = given
        .map(|word| if word == "*" { Ok("*".into()) } else { token(word) })
        .collect::<Result<_, _>>()?;
    if all.is_empty() {
        return Err("it names nothing".to_owned());
    }
    HeaderValue::from_str(&all.join(", ")).map_err(|error| error.to_string())
}

/// `auth-url`. What the client asks for never decides who is asked.
pub fn auth_url(text: &str) -> Result<Url, String> {
    let url = Url::new(text.trim())?;
    if url.backend.is_none() {
        return Err(format!("\"{text}\" has a variable in its host"));
    }
    Ok(url)
}

/// `auth-jwt-url`: the URL, and where that is. Only Services are asked, since narthex's own network is not the tenant's.
pub fn key_set(text: &str) -> Result<(Arc<str>, KeySetWanted), String> {
    let text = text.trim();
    let wrong = |why: &str| format!("\"{}\" {why}", text.escape_debug());
    if text.contains('$') {
        return Err(wrong("has a variable"));
    }
    let url = auth_url(text)?;
    let backend = url.backend.filter(|backend| !backend.service.starts_with(OUTSIDE));
    let backend = backend.ok_or_else(|| wrong("names no Service: its name is NAME.NAMESPACE.svc"))?;
    let behind = text.split_once("://").map_or(text, |(_, behind)| behind);
    let target = behind.find(['/', '?']).and_then(|at| behind.get(at..)).unwrap_or("/");
    let target = match target.strip_prefix('?') {
        Some(query) => format!("/?{query}"),
        None => target.to_owned(),
    };
    let wanted = KeySetWanted {
        backend,
        host: url.authority,
        target: target.into(),
    };
    Ok((text.into(), wanted))
}

/// `canary-service`.
pub fn canary_service(text: &str) -> Result<(Arc<str>, Option<PortRef>), String> {
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    };
    let wrong = || {
        format!(
            "\"{}\" is neither the number nor the name of a port",
            port.unwrap_or_default().escape_debug()
        )
    };
    let port = match port {
        None => None,
        Some(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            let number = digits.parse::<u16>().ok().filter(|number| *number > 0);
            Some(PortRef::Number(number.ok_or_else(wrong)?.into()))
        }
        Some(name) => {
            let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            let is_name = (1..=15).contains(&name.len()) && name.bytes().all(fits);
            Some(PortRef::Name(is_name.then(|| name.into()).ok_or_else(wrong)?))
        }
    };
    Ok((object_name(name)?, port))
}

/// `auth-jwt-issuer` and `auth-jwt-audience`.
pub fn parties(text: &str) -> Result<Texts, String> {
    let given = text.split(',').map(str::trim).filter(|one| !one.is_empty());
    let all: Texts = given.map(Box::from).collect();
    match all.len() {
        0 => Err("it names nobody".to_owned()),
        many if many > MOST_FIELDS => Err(format!("it names more than {MOST_FIELDS}")),
        _ => Ok(all),
    }
}

/// `auth-jwt-claims`: claims, and the fields that pods get them in.
pub fn claims(text: &str) -> Result<Claims, String> {
    let given = text.split(',').map(str::trim).filter(|one| !one.is_empty());
    let read = |one: &str| -> Result<(Box<str>, Box<str>), String> {
        let pair = one.split_once('=').filter(|(claim, _)| !claim.trim().is_empty());
        let (claim, field) = pair.ok_or_else(|| format!("\"{}\" is not CLAIM=FIELD", one.escape_debug()))?;
        let field = token(field.trim())?;
        may_be_requested(&field)?;
        if field.eq_ignore_ascii_case("authorization") {
            return Err("Authorization has the token".to_owned());
        }
        Ok((claim.trim().into(), (&*field).into()))
    };
    Ok(few(given.map(read).collect::<Result<_, String>>()?)?.into())
}
