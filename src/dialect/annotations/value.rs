//! The kinds of values annotations have: how each is written, read, and described to people and to machines.

use super::Settings;
use crate::table::{Balance, Coding, Compression, HashKey, RetryOn, UpstreamHost, canonical_host};
use http::HeaderValue;
use serde_json::{Value as Json, json};
use std::sync::Arc;
use std::time::Duration;

/// A kind of value, and where a value of that kind goes. A kind more is a variant more; an annotation more of a kind
/// there is needs its entry in the list and a field to go to, and nothing else.
pub(super) enum Value {
    /// `"true"` or `"false"`.
    Switch(fn(&mut Settings, bool)),
    /// One of several words, in any case.
    Choice {
        of: &'static [&'static str],
        set: fn(&mut Settings, &str),
    },
    /// Several of several words, with commas between.
    Words {
        of: &'static [&'static str],
        set: fn(&mut Settings, &[&str]),
    },
    /// A length of time such as `10s`.
    Time {
        least: Duration,
        most: Duration,
        set: fn(&mut Settings, Duration),
    },
    Integer {
        least: u32,
        most: u32,
        set: fn(&mut Settings, u32),
    },
    /// A number of bytes such as `64KiB`.
    Bytes { most: usize, set: fn(&mut Settings, usize) },
    /// The value of a header field, or `"false"` or `"off"` for none.
    Header {
        /// How the value is written, for people.
        form: &'static str,
        /// Checks a value and puts it in its normal form; the error says what would be right.
        read: fn(&str) -> Result<String, String>,
        set: fn(&mut Settings, Option<HeaderValue>),
    },
    /// Any other text.
    Text {
        /// How it is written, for people.
        form: &'static str,
        /// A regular expression (ECMA-262) that all values fit.
        pattern: &'static str,
        /// Checks a value and puts it in its place; the error says what would be right.
        read: fn(&mut Settings, &str) -> Result<(), String>,
    },
}

/// What a name of an object looks like.
pub(super) const OBJECT_NAME: &str = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$";

/// The name of a Secret.
pub(super) const fn secret(read: fn(&mut Settings, &str) -> Result<(), String>) -> Value {
    Value::Text {
        form: "the name of a Secret in the same namespace",
        pattern: OBJECT_NAME,
        read,
    }
}

impl Value {
    /// How a value is written, in Markdown.
    pub fn form(&self) -> String {
        match self {
            Value::Switch(_) => "`\"true\"` or `\"false\"`".to_owned(),
            Value::Choice { of, .. } => format!("one of {}", code(of)),
            Value::Words { of, .. } => format!("one or more of {}, separated by commas", code(of)),
            Value::Time { least, most, .. } => format!(
                "a duration such as `500ms`, `10s` or `1m`, from {} to {}",
                time(*least),
                time(*most)
            ),
            Value::Integer { least, most, .. } => format!("a whole number from {least} to {most}"),
            Value::Bytes { most, .. } => format!("a number of bytes, or of `KiB` or `MiB`, up to {}", size(*most)),
            Value::Header { form, .. } => format!("{form}; `\"false\"` or `\"off\"` for none"),
            Value::Text { form, .. } => (*form).to_owned(),
        }
    }

    /// The same for machines: a JSON schema of the text.
    pub fn schema(&self) -> Json {
        match self {
            Value::Switch(_) => json!({ "enum": ["true", "false"] }),
            Value::Choice { of, .. } => json!({ "enum": of }),
            Value::Words { of, .. } => {
                let word = of.join("|");
                json!({ "pattern": format!("^\\s*({word})(\\s*,\\s*({word}))*\\s*$") })
            }
            Value::Time { .. } => json!({ "pattern": "^([0-9]+ ?[a-z]+ ?)+$" }),
            Value::Integer { .. } => json!({ "pattern": "^[0-9]{1,10}$" }),
            Value::Bytes { .. } => json!({ "pattern": "^[0-9]+(B|k|K|KiB|M|MiB)?$" }),
            Value::Header { .. } => json!({ "pattern": "^[\\x20-\\x7e]+$" }),
            Value::Text { pattern, .. } => json!({ "pattern": pattern }),
        }
    }

    /// Reads a value and puts it in its place; the error says what is wrong with it.
    pub fn apply(&self, text: &str, settings: &mut Settings) -> Result<(), String> {
        match self {
            Value::Switch(set) => match text {
                "true" => set(settings, true),
                "false" => set(settings, false),
                other => return Err(format!("\"{other}\" is neither \"true\" nor \"false\"")),
            },
            Value::Choice { of, set } => set(settings, choose(text, of)?),
            Value::Words { of, set } => {
                let words: Result<Vec<_>, _> = text.split(',').map(|word| choose(word.trim(), of)).collect();
                set(settings, &words?);
            }
            Value::Time { least, most, set } => {
                let wrong = |why: &str| format!("\"{text}\" {why}");
                let given =
                    humantime::parse_duration(text).map_err(|_| wrong("is not a duration: write 500ms, 10s or 1m"))?;
                if given < *least || given > *most {
                    return Err(wrong(&format!("is not from {} to {}", time(*least), time(*most))));
                }
                set(settings, given);
            }
            Value::Integer { least, most, set } => {
                // `parse` alone would take a sign too.
                let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
                let given = digits.then(|| text.parse::<u32>().ok()).flatten();
                let fits = given.filter(|given| (least..=most).contains(&given));
                set(
                    settings,
                    fits.ok_or_else(|| format!("\"{text}\" is not a whole number from {least} to {most}"))?,
                );
            }
            Value::Bytes { most, set } => {
                let given = bytes(text).filter(|given| given <= most);
                set(
                    settings,
                    given.ok_or_else(|| {
                        format!("\"{text}\" is not a number of bytes, KiB or MiB up to {}", size(*most))
                    })?,
                );
            }
            Value::Header { read, set, .. } => {
                let value =
                    match text {
                        "false" | "off" => None,
                        text => {
                            let wrong = |why: String| format!("\"{text}\" is invalid: {why}");
                            let value = read(text).map_err(wrong)?;
                            let value = HeaderValue::try_from(value);
                            Some(value.map_err(|_| {
                                wrong("it has a character that header fields may not contain".to_owned())
                            })?)
                        }
                    };
                set(settings, value);
            }
            Value::Text { read, .. } => read(settings, text)?,
        }
        Ok(())
    }
}

/// The word as the list has it.
fn choose(text: &str, of: &'static [&'static str]) -> Result<&'static str, String> {
    of.iter()
        .find(|known| known.eq_ignore_ascii_case(text))
        .copied()
        .ok_or_else(|| format!("\"{text}\" is not one of {}", of.join(", ")))
}

fn code(words: &[&str]) -> String {
    let each: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    each.join(", ")
}

fn time(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

fn size(bytes: usize) -> String {
    match bytes {
        whole if whole % (1 << 20) == 0 => format!("{} MiB", whole >> 20),
        whole if whole % (1 << 10) == 0 => format!("{} KiB", whole >> 10),
        bytes => bytes.to_string(),
    }
}

fn bytes(text: &str) -> Option<usize> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit: usize = match unit {
        "" | "B" => 1,
        "k" | "K" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(unit)
}

/// The name of an object such as a Secret (Kubernetes docs, "DNS Subdomain Names").
pub(super) fn object_name(text: &str) -> Result<Arc<str>, String> {
    let fits = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let all = text.as_bytes();
    if text.len() <= 253 && all.iter().all(fits) && ends(all.first()) && ends(all.last()) {
        Ok(text.into())
    } else if text.contains('/') {
        Err(format!(
            "\"{text}\" is not a name: leave the namespace out, because the Secret is in the namespace of this object"
        ))
    } else {
        Err(format!("\"{text}\" is not the name of an object"))
    }
}

/// A token, as names of fields and cookies are (RFC 9110, section 5.6.2).
pub(super) fn token(text: &str) -> Result<Arc<str>, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !text.is_empty() && text.len() <= 128 && text.bytes().all(fits) {
        Ok(text.into())
    } else {
        Err(format!(
            "\"{text}\" is not a token of at most 128 letters, digits and !#$%&'*+-.^_`|~"
        ))
    }
}

/// `upstream-host`.
pub(super) fn upstream_host(text: &str) -> Result<UpstreamHost, String> {
    if text == "external-name" {
        return Ok(UpstreamHost::ExternalName);
    }
    let wrong = |why: String| format!("\"{text}\" is not a host: {why}");
    canonical_host(text).map_err(|error| wrong(error.to_string()))?;
    let host = HeaderValue::from_str(text).map_err(|error| wrong(error.to_string()))?;
    Ok(UpstreamHost::Named(host))
}

/// `balance`.
pub(super) fn balance(text: &str) -> Result<Balance, String> {
    const FORMS: &str = "p2c, round-robin, ewma, hash:source-ip, hash:header:NAME, hash:cookie:NAME, hash:uri";
    let key = match text {
        "p2c" => return Ok(Balance::P2c),
        "round-robin" => return Ok(Balance::RoundRobin),
        "ewma" => return Ok(Balance::Ewma),
        "hash:source-ip" => HashKey::SourceIp,
        "hash:uri" => HashKey::Uri,
        text => match (text.strip_prefix("hash:header:"), text.strip_prefix("hash:cookie:")) {
            // Field names are compared without regard to case (RFC 9110, section 5.1), cookies' are not.
            (Some(name), _) => HashKey::Header(token(&name.to_ascii_lowercase())?),
            (_, Some(name)) => HashKey::Cookie(token(name)?),
            _ => return Err(format!("\"{text}\" is not one of {FORMS}")),
        },
    };
    Ok(Balance::Hash(key))
}

/// `retry-on`.
pub(super) fn retry_on(words: &[&str]) -> RetryOn {
    let mut on = RetryOn::NONE;
    for word in words {
        match *word {
            "reset" => on.reset = true,
            "timeout" => on.timeout = true,
            "5xx" => on.any_5xx = true,
            "non-idempotent" => on.non_idempotent = true,
            status => {
                // The list of words has no other statuses.
                let _ = status.parse().is_ok_and(|status| on.add_status(status));
            }
        }
    }
    on
}

/// `compress`: the codings in the order they are named, or all in ours.
pub(super) fn compression(text: &str) -> Result<Option<Compression>, String> {
    let words = text.trim();
    let is = |known: &str| words.eq_ignore_ascii_case(known);
    if is("false") || is("off") {
        return Ok(None);
    }
    if is("true") {
        return Ok(Compression::of(Coding::ALL));
    }
    let coding = |word: &str| {
        let mut known = Coding::ALL.into_iter();
        known
            .find(|coding| coding.name().eq_ignore_ascii_case(word.trim()))
            .ok_or_else(|| format!("\"{}\" is not one of zstd, br, gzip", word.trim()))
    };
    let codings: Result<Vec<_>, _> = words.split(',').map(coding).collect();
    Ok(Compression::of(codings?))
}

/// A path as it stands in a request line (RFC 9112, section 3.2.1).
pub(super) fn path(text: &str) -> Result<Arc<str>, String> {
    if text.starts_with('/') && text.len() <= 1024 && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text.into())
    } else {
        Err(format!(
            "\"{text}\" is not a path: it must start with / and contain no spaces"
        ))
    }
}

/// What a certificate is for: a DNS name or an address.
pub(super) fn server_name(text: &str) -> Result<Arc<str>, String> {
    match rustls::pki_types::ServerName::try_from(text) {
        Ok(_) => Ok(text.into()),
        Err(_) => Err(format!("\"{text}\" is neither a DNS name nor an address")),
    }
}
