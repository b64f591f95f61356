//! `configuration-snippet`: the directives of nginx that say something of fields, addresses or a fixed answer. All others
//! are refused, and with one of them the whole snippet: nobody knows what the rest means without it.

mod words;

use crate::dialect::annotations::value::token;
use crate::table::{
    Addresses, Before, Edit, FieldPattern, Networks, Redirection, Replies, Returned, Template, What, is_same_name,
    may_be_replied,
};
use http::StatusCode;
use ipnet::IpNet;
use std::net::IpAddr;
use std::sync::Arc;
use words::{Directive, directives};

pub(super) use words::outermost;

/// The longest snippet.
const MAX_TEXT: usize = 16 * 1024;

/// The most directives of one, and the most fields that one directive names.
const MAX_DIRECTIVES: usize = 256;

/// What a snippet asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::dialect::annotations) struct Snippet {
    /// Fields that pods get; those without a text go.
    pub request: Vec<(Box<str>, Template)>,
    /// Fields of pods that clients do not get.
    pub hidden: Vec<FieldPattern>,
    pub edits: Vec<Edit>,
    pub addresses: Vec<Addresses>,
    /// What all requests are answered.
    pub returned: Option<Before>,
}

/// Fields that only narthex says, and what a snippet may say of them because pods get that anyway.
const OURS: &[(&str, &[&str])] = &[
    ("host", &["$host", "$http_host", "$best_http_host"]),
    ("x-real-ip", &["$remote_addr"]),
    ("x-forwarded-for", &["$remote_addr", "$proxy_add_x_forwarded_for"]),
    ("x-forwarded-proto", &["$scheme", "$pass_access_scheme"]),
    ("x-forwarded-host", &["$host", "$http_host", "$best_http_host"]),
    ("x-forwarded-port", &["$server_port", "$pass_server_port"]),
    ("x-request-id", &["$req_id", "$request_id"]),
    ("upgrade", &["$http_upgrade"]),
    ("connection", &["upgrade", "Upgrade", "$connection_upgrade", ""]),
    ("content-length", &[]),
    ("expect", &[]),
    ("forwarded", &[]),
    ("http2-settings", &[]),
    ("keep-alive", &[]),
    ("proxy", &[]),
    ("proxy-authorization", &[]),
    ("proxy-connection", &[]),
    ("te", &[]),
    ("traceparent", &[]),
    ("tracestate", &[]),
    ("trailer", &[]),
    ("transfer-encoding", &[]),
    ("x-narthex-hops", &[]),
];

/// Whether narthex alone says a field of requests. A server may read `x_real_ip` as `X-Real-IP`.
pub(crate) fn is_ours(name: &str) -> bool {
    let mut known = OURS.iter().map(|(known, _)| known.as_bytes());
    known.any(|known| is_same_name(known, name.as_bytes()))
}

impl Snippet {
    /// Reads a snippet.
    ///
    /// # Errors
    /// The line, and what is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.len() > MAX_TEXT {
            return Err(format!("the snippet is longer than {MAX_TEXT} bytes"));
        }
        let mut snippet = Self::default();
        let mut access = Access::default();
        let all = directives(text).map_err(|(line, why)| format!("line {line}: {why}"))?;
        if all.len() > MAX_DIRECTIVES {
            return Err(format!("the snippet has more than {MAX_DIRECTIVES} directives"));
        }
        for Directive { line, words } in &all {
            let Some((name, arguments)) = words.split_first() else {
                continue;
            };
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let read = snippet.directive(name, &arguments, &mut access);
            read.map_err(|why| format!("line {line}: \"{name}\" {why}"))?;
        }
        snippet.addresses = access.addresses()?.into_iter().collect();
        Ok(snippet)
    }

    /// The fields that it sets in requests.
    ///
    /// # Errors
    /// When it says anything else.
    pub fn only_for_pods(self) -> Result<Vec<(Box<str>, Template)>, String> {
        let says_more =
            !self.hidden.is_empty() || !self.edits.is_empty() || !self.addresses.is_empty() || self.returned.is_some();
        if says_more {
            return Err("has a directive that says nothing of the request to the service".to_owned());
        }
        Ok(self.request)
    }

    /// Adds what another one says that stands behind this. Addresses have to be let in by both.
    pub fn append(&mut self, other: Self) {
        self.request.extend(other.request);
        self.hidden.extend(other.hidden);
        self.edits.extend(other.edits);
        self.addresses.extend(other.addresses);
        self.returned = self.returned.take().or(other.returned);
    }

    /// Whether replies get a field of this name by it.
    pub fn sets(&self, name: &str) -> bool {
        self.edits.iter().any(|edit| match &edit.what {
            What::Set(other, _) | What::SetFromReply(other, _) | What::Add(other, _) => {
                other.eq_ignore_ascii_case(name)
            }
            What::Join(other, _) => other.as_str().eq_ignore_ascii_case(name),
            What::Clear(pattern) => pattern.name.eq_ignore_ascii_case(name),
        })
    }

    fn directive(&mut self, name: &str, arguments: &[&str], access: &mut Access) -> Result<(), String> {
        match name {
            "more_set_headers" => self.set_headers(arguments),
            "more_clear_headers" => self.clear_headers(arguments),
            "add_header" => self.add_header(arguments),
            "proxy_hide_header" => {
                let [name] = arguments else {
                    return Err("takes the name of a field".to_owned());
                };
                self.hidden.push(pattern(name)?);
                Ok(())
            }
            "proxy_set_header" => {
                let [name, value] = arguments else {
                    return Err("takes a name and a value".to_owned());
                };
                self.set_for_pods(name, value)
            }
            "more_set_input_headers" => {
                if arguments.is_empty() || arguments.len() > MAX_DIRECTIVES {
                    return Err("takes fields such as \"X-Name: value\"".to_owned());
                }
                arguments.iter().try_for_each(|field| {
                    let (name, value) = name_and_value(field)?;
                    self.set_for_pods(name, value)
                })
            }
            "allow" | "deny" => {
                let [network] = arguments else {
                    return Err("takes an address, a network or \"all\"".to_owned());
                };
                access.add(name == "allow", network)
            }
            "return" => {
                let returned = returned(arguments)?;
                if self.returned.is_none() {
                    self.returned = Some(returned);
                }
                Ok(())
            }
            _ => Err("is not a directive that narthex translates".to_owned()),
        }
    }

    fn set_headers(&mut self, arguments: &[&str]) -> Result<(), String> {
        let (when, fields) = options(arguments)?;
        for field in fields {
            let (name, value) = name_and_value(field)?;
            let what = if value.is_empty() {
                What::Clear(pattern(name)?)
            } else {
                What::Set(reply_name(name)?, template(value)?)
            };
            self.edits.push(Edit {
                what,
                when: when.clone(),
            });
        }
        Ok(())
    }

    fn clear_headers(&mut self, arguments: &[&str]) -> Result<(), String> {
        let (when, fields) = options(arguments)?;
        for field in fields {
            let what = What::Clear(pattern(field.trim_end_matches(':').trim())?);
            self.edits.push(Edit {
                what,
                when: when.clone(),
            });
        }
        Ok(())
    }

    fn add_header(&mut self, arguments: &[&str]) -> Result<(), String> {
        let (name, value, when) = match arguments {
            [name, value] => (name, value, Replies::good()),
            [name, value, "always"] => (name, value, Replies::default()),
            _ => return Err("takes a name, a value, and \"always\" or nothing".to_owned()),
        };
        let what = What::Add(reply_name(name)?, template(value)?);
        self.edits.push(Edit { what, when });
        Ok(())
    }

    pub(super) fn set_for_pods(&mut self, name: &str, value: &str) -> Result<(), String> {
        let name = token(name)?;
        let lower = name.to_ascii_lowercase();
        if let Some((_, same)) = OURS.iter().find(|(known, _)| *known == lower) {
            // It says what pods are told anyway.
            if same.contains(&value) {
                return Ok(());
            }
            return Err(format!("may not set {name} to \"{value}\""));
        }
        self.request.push(((*name).into(), template(value)?));
        Ok(())
    }
}

/// The options that stand before fields, and the fields.
fn options<'a>(arguments: &'a [&'a str]) -> Result<(Replies, &'a [&'a str]), String> {
    let (mut when, mut rest) = (Replies::default(), arguments);
    loop {
        match rest {
            ["-s", statuses, more @ ..] => {
                let read = |text: &str| text.parse::<u16>().ok().filter(|status| (100..600).contains(status));
                let all: Option<Vec<u16>> = statuses.split_whitespace().map(read).collect();
                let all = all.filter(|all| !all.is_empty());
                when.statuses = all.ok_or_else(|| format!("has the statuses \"{statuses}\""))?.into();
                rest = more;
            }
            ["-t", types, more @ ..] => {
                when.types = types.split_whitespace().map(Into::into).collect();
                rest = more;
            }
            [option, ..] if option.starts_with('-') => return Err(format!("has the option {option}")),
            [] => return Err("names no field".to_owned()),
            fields if fields.len() > MAX_DIRECTIVES => return Err("names too many fields".to_owned()),
            fields => return Ok((when, fields)),
        }
    }
}

fn name_and_value(field: &str) -> Result<(&str, &str), String> {
    let (name, value) = field.split_once(':').unwrap_or((field, ""));
    Ok((name.trim(), value.trim()))
}

pub(super) fn reply_name(name: &str) -> Result<Box<str>, String> {
    let name = token(name)?;
    if may_be_replied(&name) {
        Ok((*name).into())
    } else {
        Err(format!("may not set {name}"))
    }
}

/// A name that may end with `*` for any text.
fn pattern(name: &str) -> Result<FieldPattern, String> {
    let (text, open) = match name.strip_suffix('*') {
        Some(text) => (text, true),
        None => (name, false),
    };
    if !text.is_empty() || !open {
        token(text)?;
    }
    if !open && !may_be_replied(text) {
        return Err(format!("may not take {name} away"));
    }
    Ok(FieldPattern {
        name: text.into(),
        open,
    })
}

pub(super) fn template(text: &str) -> Result<Template, String> {
    Template::new(text).map_err(|why| format!("has the text \"{}\", which {why}", text.escape_debug()))
}

/// What `return` says.
fn returned(arguments: &[&str]) -> Result<Before, String> {
    let is_url = |text: &str| {
        ["http://", "https://", "$scheme"]
            .iter()
            .any(|with| text.starts_with(with))
    };
    let (code, text) = match arguments {
        [url] if is_url(url) => (302, Some(*url)),
        [code] => (status(code)?, None),
        [code, text] => (status(code)?, Some(*text)),
        _ => return Err("takes a status, and a text or URL".to_owned()),
    };
    let status = StatusCode::from_u16(code).map_err(|_| format!("has the status {code}"))?;
    let text = text.map(template).transpose()?;
    if !matches!(code, 301 | 302 | 303 | 307 | 308) {
        return Ok(Before::Return(Arc::new(Returned { status, text })));
    }
    let to = text.filter(|text| !text.is_empty());
    let to = to.ok_or_else(|| format!("has the status {code} without a URL"))?;
    let relative = false;
    Ok(Before::Redirect(Arc::new(Redirection {
        status,
        to,
        relative,
        host: None,
        with_port: false,
    })))
}

/// A status that a response can have. 444 closes the connection in nginx.
fn status(text: &str) -> Result<u16, String> {
    let code = text.parse::<u16>().ok().filter(|_| text.len() == 3);
    code.filter(|code| (200..600).contains(code) && !matches!(code, 205 | 304 | 444 | 499))
        .ok_or_else(|| format!("has the status \"{text}\""))
}

/// The lists of `allow` and `deny`, of which nginx takes the first that fits.
#[derive(Default)]
struct Access {
    allow: Vec<IpNet>,
    deny: Vec<IpNet>,
    /// What becomes of all others, once that is said; nothing behind it counts.
    others: Option<bool>,
}

impl Access {
    fn add(&mut self, allows: bool, text: &str) -> Result<(), String> {
        if self.others.is_some() {
            return Ok(());
        }
        if text == "all" {
            self.others = Some(allows);
            return Ok(());
        }
        let network = text.parse::<IpNet>().ok();
        let network = network.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        let network = network.ok_or_else(|| format!("has \"{text}\", which is not a network such as 10.0.0.0/8"))?;
        if allows {
            self.allow.push(network);
        } else if self.allow.is_empty() {
            self.deny.push(network);
        } else {
            return Err("stands behind \"allow\" with a network of its own".to_owned());
        }
        Ok(())
    }

    fn addresses(self) -> Result<Option<Addresses>, String> {
        let allow = match self.others {
            Some(false) => Some(Networks::new(self.allow)),
            Some(true) | None => None,
        };
        if allow.is_none() && self.deny.is_empty() {
            return Ok(None);
        }
        Ok(Some(Addresses {
            allow,
            deny: Networks::new(self.deny),
        }))
    }
}

#[cfg(test)]
mod tests;
