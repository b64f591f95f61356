//! The filters of rules and backends: read into what the table's steps are made of.

use super::backends::Refused;
use crate::compile::State;
use crate::dialect::annotations::nginx::is_ours;
use crate::dialect::gateway::{HeaderFilter, HttpFilter, Mirror, PathModifier, Redirect};
use crate::dialect::reading::BackendKey;
use crate::model::Kind;
use crate::table::{After, PathKind, Policies};
use crate::table::{
    Before, Edit, FieldChanges, FieldPattern, NewPath, NewPort, PathPattern, Replies, ReplyFields, RequestFields,
    Rewrite, SendTo, Share, Target, Template, What, may_be_replied,
};
use http::header::{HOST, SET_COOKIE};
use http::{HeaderName, StatusCode};
use std::sync::Arc;

/// What filters come to.
#[derive(Clone, Debug, Default)]
pub(super) struct Filters {
    fields: Vec<Change>,
    edits: Vec<Edit>,
    host: Option<Template>,
    rewrite: Option<Rewrite>,
    redirect: Option<SendTo>,
    /// Whether a redirect goes to the port of its listener.
    to_own_port: bool,
    pub mirrors: Vec<(BackendKey, Share)>,
}

/// What becomes of a field of requests.
#[derive(Clone, Debug)]
struct Change {
    name: HeaderName,
    /// Empty where the field goes.
    text: Box<str>,
    /// Whether the text comes behind what the client says.
    is_added: bool,
}

/// What cannot be acted on: the field below the list of filters, and why.
pub(super) type Unfit = (String, String);

impl Filters {
    /// Whether the client is sent elsewhere, so that no backend is asked.
    pub fn redirects(&self) -> bool {
        self.redirect.is_some()
    }

    /// These, and behind them those of a backend.
    pub fn with(&self, of_backend: &Filters) -> Filters {
        let mut all = self.clone();
        let one = of_backend.clone();
        for Change { name, text, is_added } in one.fields {
            all.change(name, text, is_added);
        }
        all.edits.extend(one.edits);
        all.mirrors.extend(one.mirrors);
        all.host = one.host.or(all.host);
        all.rewrite = one.rewrite.or(all.rewrite);
        if one.redirect.is_some() {
            (all.redirect, all.to_own_port) = (one.redirect, one.to_own_port);
        }
        all
    }

    /// The steps of a route on a listener of this port, which has TLS or not. `mirrors` are made of [`Filters::mirrors`].
    pub fn policies(&self, (port, tls): (u16, bool), mirrors: Vec<Before>) -> Policies {
        let mut before = Vec::new();
        let (mut set, mut joined) = (Vec::new(), Vec::new());
        for Change { name, text, is_added } in &self.fields {
            match is_added {
                true => joined.push((name.clone(), text.clone())),
                // It was read once before.
                false => set.push((name.as_str().into(), Template::literal(text).unwrap_or_default())),
            }
        }
        let changes = FieldChanges {
            request: RequestFields::new(set).with_joined(joined),
            reply: ReplyFields {
                edits: self.edits.clone().into(),
                ..ReplyFields::default()
            },
        };
        let changes = (!changes.request.is_empty() || !changes.reply.is_empty()).then(|| Arc::new(changes));
        before.extend(changes.clone().map(Before::Fields));
        if let Some(redirect) = &self.redirect {
            let mut redirect = redirect.clone();
            if self.to_own_port {
                redirect.port = NewPort::Own { port, tls };
            }
            before.push(Before::SendTo(Arc::new(redirect)));
        }
        before.extend(self.host.clone().map(|host| Before::Host(Arc::new(host))));
        before.extend(self.rewrite.clone().map(|rewrite| Before::Rewrite(Arc::new(rewrite))));
        before.extend(mirrors);
        let after = changes.filter(|changes| !changes.reply.is_empty()).map(After::Fields);
        Policies {
            before: before.into(),
            after: after.into_iter().collect(),
            ..Policies::default()
        }
    }
}

impl State {
    /// Reads the filters of a rule or backend, whose requests are for these paths. Mirrors whose Services cannot be used
    /// are left out and said in `unresolved`.
    pub(super) fn read_filters(
        &self,
        whose: (Kind, &Arc<str>),
        filters: &[HttpFilter],
        paths: &[PathPattern],
        unresolved: &mut Vec<(String, Refused)>,
    ) -> Result<Filters, Unfit> {
        let mut all = Filters::default();
        for (index, filter) in filters.iter().enumerate() {
            let at = |(field, why): Unfit| (format!("filters[{index}]{field}"), why);
            let missing = |field: &str| at((String::new(), format!("{field} is missing")));
            match &*filter.kind {
                "RequestHeaderModifier" => {
                    let said = filter.request_header_modifier.as_ref();
                    let said = said.ok_or_else(|| missing("requestHeaderModifier"))?;
                    all.change_request(said).map_err(at)?;
                }
                "ResponseHeaderModifier" => {
                    let said = filter.response_header_modifier.as_ref();
                    let said = said.ok_or_else(|| missing("responseHeaderModifier"))?;
                    all.change_reply(said).map_err(at)?;
                }
                "RequestRedirect" => {
                    let said = filter.request_redirect.as_ref();
                    let said = said.ok_or_else(|| missing("requestRedirect"))?;
                    all.redirect(said, paths).map_err(at)?;
                }
                "URLRewrite" => {
                    let said = filter.url_rewrite.as_ref().ok_or_else(|| missing("urlRewrite"))?;
                    if let Some(host) = &said.hostname {
                        let read =
                            super::listeners::hostname(host).map_err(|why| at((".urlRewrite.hostname".into(), why)))?;
                        let text = Template::literal(&read.to_string());
                        all.host = Some(text.map_err(|why| at((".urlRewrite.hostname".into(), format!("it {why}"))))?);
                    }
                    if let Some(path) = &said.path {
                        all.rewrite = Some(rewrite(path, paths).map_err(|why| at((".urlRewrite.path".into(), why)))?);
                    }
                }
                "RequestMirror" => {
                    let said = filter.request_mirror.as_ref().ok_or_else(|| missing("requestMirror"))?;
                    let share = share(said).map_err(|why| at((".requestMirror".into(), why)))?;
                    match self.route_backend(whose, &said.backend_ref, None) {
                        Ok(key) => all.mirrors.push((key, share)),
                        Err(why) => {
                            unresolved.push((format!("filters[{index}].requestMirror.backendRef"), why));
                        }
                    }
                }
                other => {
                    let why = format!("narthex cannot act on a filter of the type \"{other}\" yet");
                    return Err(at((String::new(), why)));
                }
            }
        }
        if all.redirect.is_some() && (all.rewrite.is_some() || all.host.is_some()) {
            let why = "RequestRedirect and URLRewrite exclude each other".to_owned();
            return Err(("filters".to_owned(), why));
        }
        Ok(all)
    }
}

impl Filters {
    /// Changes a field after all changes so far: what was set or taken away does not come back from the client.
    fn change(&mut self, name: HeaderName, text: Box<str>, is_added: bool) {
        match self.fields.iter_mut().find(|known| known.name == name) {
            Some(known) if is_added && !known.text.is_empty() => {
                known.text = format!("{},{text}", known.text).into();
            }
            Some(known) => {
                known.text = text;
                known.is_added &= is_added;
            }
            None => self.fields.push(Change { name, text, is_added }),
        }
    }

    fn change_request(&mut self, said: &HeaderFilter) -> Result<(), Unfit> {
        let at = |list: &str, index: usize, why: String| (format!(".requestHeaderModifier.{list}[{index}]"), why);
        for (index, header) in said.set.iter().flatten().enumerate() {
            let name = requested(&header.name).map_err(|why| at("set", index, why))?;
            Template::literal(&header.value).map_err(|why| at("set", index, format!("the value {why}")))?;
            self.change(name, header.value.clone(), false);
        }
        for (index, name) in said.remove.iter().flatten().enumerate() {
            let name = requested(name).map_err(|why| at("remove", index, why))?;
            self.change(name, Box::default(), false);
        }
        for (index, header) in said.add.iter().flatten().enumerate() {
            let name = requested(&header.name).map_err(|why| at("add", index, why))?;
            Template::literal(&header.value).map_err(|why| at("add", index, format!("the value {why}")))?;
            self.change(name, header.value.clone(), true);
        }
        Ok(())
    }

    fn change_reply(&mut self, said: &HeaderFilter) -> Result<(), Unfit> {
        let at = |list: &str, index: usize, why: String| (format!(".responseHeaderModifier.{list}[{index}]"), why);
        let mut edit = |what| {
            self.edits.push(Edit {
                what,
                when: Replies::default(),
            });
        };
        for (index, header) in said.set.iter().flatten().enumerate() {
            let name = replied(&header.name).map_err(|why| at("set", index, why))?;
            let value = Template::literal(&header.value).map_err(|why| at("set", index, format!("the value {why}")))?;
            edit(What::Set(name.as_str().into(), value));
        }
        for (index, header) in said.add.iter().flatten().enumerate() {
            let name = replied(&header.name).map_err(|why| at("add", index, why))?;
            let value = Template::literal(&header.value).map_err(|why| at("add", index, format!("the value {why}")))?;
            // Cookies stay on lines of their own (RFC 9110, section 5.3).
            edit(match name == SET_COOKIE {
                true => What::Add(name.as_str().into(), value),
                false => What::Join(name, header.value.clone()),
            });
        }
        for (index, name) in said.remove.iter().flatten().enumerate() {
            let name = replied(name).map_err(|why| at("remove", index, why))?;
            edit(What::Clear(FieldPattern {
                name: name.as_str().into(),
                open: false,
            }));
        }
        Ok(())
    }

    fn redirect(&mut self, said: &Redirect, paths: &[PathPattern]) -> Result<(), Unfit> {
        let at = |field: &str, why: String| (format!(".requestRedirect.{field}"), why);
        let status = said.status_code.unwrap_or(302);
        if ![301, 302, 303, 307, 308].contains(&status) {
            return Err(at(
                "statusCode",
                format!("{status} is not one of 301, 302, 303, 307, 308"),
            ));
        }
        let status = u16::try_from(status)
            .ok()
            .and_then(|status| StatusCode::from_u16(status).ok());
        let scheme = match said.scheme.as_deref() {
            None => None,
            Some(scheme @ ("http" | "https")) => Some(scheme.into()),
            Some(other) => return Err(at("scheme", format!("\"{other}\" is neither http nor https"))),
        };
        let host = said.hostname.as_deref().map(super::listeners::hostname).transpose();
        let host = host.map_err(|why| at("hostname", why))?;
        let port = match said.port {
            None => None,
            Some(port) => match u16::try_from(port) {
                Ok(port) if port > 0 => Some(port),
                _ => return Err(at("port", format!("{port} is not from 1 to 65535"))),
            },
        };
        let path = match &said.path {
            None => NewPath::Same,
            Some(path) => match rewrite(path, paths).map_err(|why| at("path", why))? {
                Rewrite::Prefix { add, .. } => NewPath::Prefix(add),
                _ => NewPath::Whole(path.replace_full_path.clone().unwrap_or_default()),
            },
        };
        self.to_own_port = port.is_none() && scheme.is_none();
        self.redirect = Some(SendTo {
            status: status.unwrap_or(StatusCode::FOUND),
            scheme,
            host: host.map(|host| host.to_string().into()),
            port: port.map_or(NewPort::Usual, NewPort::Named),
            path,
        });
        Ok(())
    }
}

/// A field of requests that filters may change: none that says where a message ends, for whom it is, or what becomes of
/// its connection, for whoever could change that could smuggle requests.
fn requested(name: &str) -> Result<HeaderName, String> {
    let read = field_name(name)?;
    match read == HOST || !may_be_replied(read.as_str()) || is_ours(read.as_str()) {
        true => Err(format!(
            "{name} is a field that narthex itself sets, or one that is about the connection"
        )),
        false => Ok(read),
    }
}

/// The same of replies.
fn replied(name: &str) -> Result<HeaderName, String> {
    let read = field_name(name)?;
    match may_be_replied(read.as_str()) {
        true => Ok(read),
        false => Err(format!("{name} says where a message ends or is about the connection")),
    }
}

fn field_name(name: &str) -> Result<HeaderName, String> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("\"{name}\" is not a valid name of a field"))
}

/// What becomes of a path.
fn rewrite(path: &PathModifier, paths: &[PathPattern]) -> Result<Rewrite, String> {
    let checked = |text: &str| {
        let fits = text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"?#\"<>\\^`{|}".contains(&byte));
        let fits = fits && (text.is_empty() || text.starts_with('/'));
        fits.then_some(()).ok_or_else(|| format!("\"{text}\" is not a path"))
    };
    match (&*path.kind, &path.replace_full_path, &path.replace_prefix_match) {
        ("ReplaceFullPath", Some(text), _) => {
            checked(text)?;
            Ok(Rewrite::Whole(Target::literal(text)))
        }
        ("ReplacePrefixMatch", _, Some(text)) => {
            checked(text)?;
            let [prefix] = paths else {
                return Err(
                    "ReplacePrefixMatch needs exactly one match, with a path of the type PathPrefix".to_owned(),
                );
            };
            if prefix.kind != PathKind::Prefix {
                return Err("ReplacePrefixMatch needs a match with a path of the type PathPrefix".to_owned());
            }
            Ok(Rewrite::Prefix {
                strip: prefix.key().into(),
                add: text.trim_end_matches('/').into(),
            })
        }
        ("ReplaceFullPath", None, _) => Err("replaceFullPath is missing".to_owned()),
        ("ReplacePrefixMatch", _, None) => Err("replacePrefixMatch is missing".to_owned()),
        (other, ..) => Err(format!("\"{other}\" is neither ReplaceFullPath nor ReplacePrefixMatch")),
    }
}

/// Of how many requests a copy is made.
fn share(said: &Mirror) -> Result<Share, String> {
    let (part, whole) = match (said.percent, &said.fraction) {
        (Some(_), Some(_)) => return Err("percent and fraction exclude each other".to_owned()),
        (None, None) => return Ok(Share::ALL),
        (Some(percent), None) => (percent, 100),
        (None, Some(fraction)) => (fraction.numerator, fraction.denominator.unwrap_or(100)),
    };
    match (u32::try_from(part), u32::try_from(whole)) {
        (Ok(part), Ok(whole)) if whole > 0 && part <= whole => Ok(Share { part, whole }),
        _ => Err(format!("{part} of {whole} is not a part of a whole")),
    }
}
