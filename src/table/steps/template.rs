//! Texts with variables, such as the target of a redirect. They are taken apart when a table is compiled, against a closed
//! list, and expand to what was checked of a request: nothing that a client sends can end a field.

use crate::message::{Fields, Value};
use crate::table::{Backend, NOTHING, Presented, Route};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, Method};
use std::borrow::Cow;
use std::sync::Arc;

/// A text with variables.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Template(Box<[Part]>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Part {
    Text(Box<str>),
    Variable(Variable),
}

/// What nginx calls these things, as far as they are known here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Variable {
    Scheme,
    /// The host without its port.
    Host,
    /// `Host` as it came.
    HttpHost,
    /// The canonical path with the query.
    RequestUri,
    /// The same, escaped to be part of a query.
    EscapedRequestUri,
    /// The canonical path.
    Uri,
    /// The query.
    Args,
    /// `?` if there is a query.
    IsArgs,
    Method,
    RemoteAddress,
    /// A parameter of the query, as it came.
    Argument(Box<str>),
    /// A field.
    Field(HeaderName),
    /// A cookie.
    Cookie(Box<str>),
    /// Something of a message, changed in this order.
    Changed(Sample, Box<[Converter]>),
    /// The usual port of the scheme.
    Port,
    /// The list of `X-Forwarded-For` with the client's address behind it.
    ForwardedFor,
    RequestId,
    /// Of the Ingress.
    Namespace,
    Ingress,
    /// Of the rule.
    LocationPath,
    /// Of the backend.
    Service,
    ServicePort,
    /// Of the client's certificate.
    Client(OfClient),
}

/// What is known of a client's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum OfClient {
    Verdict,
    Subject,
    Issuer,
    EscapedPem,
}

/// The names of variables with what they stand for, for people.
pub const VARIABLES: &[(&str, &str)] = &[
    ("$scheme", "`http` or `https`, whichever the client speaks"),
    ("$host", "the host, in lower case and without its port"),
    ("$http_host", "`Host` as the client sent it"),
    ("$server_port", "the usual port of the scheme"),
    ("$request_method", "the method"),
    ("$request_uri", "the path, with the query"),
    ("$escaped_request_uri", "the same, escaped to be part of a query"),
    ("$uri", "the path"),
    ("$args", "the query"),
    ("$is_args", "`?` if there is a query"),
    (
        "$arg_NAME",
        "the first parameter NAME of the query, as the client sent it",
    ),
    (
        "$http_NAME",
        "the request field NAME, with `_` for `-`; several lines with commas between",
    ),
    ("$cookie_NAME", "the first cookie NAME"),
    ("$remote_addr", "the client's address"),
    (
        "$proxy_add_x_forwarded_for",
        "`X-Forwarded-For` of the request, with the client's address behind it",
    ),
    ("$request_id", "the id of the request"),
    ("$namespace", "the namespace of the Ingress"),
    ("$ingress_name", "the name of the Ingress"),
    ("$location_path", "the path of the rule"),
    ("$service_name", "the Service that gets the request"),
    ("$service_port", "its port"),
];

/// What HAProxy takes from a message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Sample {
    /// The last line of a field.
    Field(HeaderName),
    /// What an earlier step has made of a field.
    Made(Arc<Template>),
    /// The client's certificate in DER.
    Certificate,
}

/// How HAProxy changes a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Converter {
    Lower,
    Base64,
}

/// A sample, and what changes it.
pub type Changed = (Sample, Vec<Converter>);

/// What is known of a request.
#[derive(Clone, Copy, Debug)]
pub struct Known<'r> {
    pub secure: bool,
    /// The canonical host.
    pub host: Option<&'r str>,
    /// `Host` as it came.
    pub http_host: Option<&'r str>,
    /// The canonical path.
    pub path: &'r str,
    pub query: Option<&'r str>,
    pub method: &'r Method,
    /// The client's address, where it is known.
    pub client: Option<std::net::IpAddr>,
    pub fields: &'r Fields,
    /// The id of the request, where it has one already.
    pub request_id: Option<&'r str>,
    /// What its client has shown in the handshake.
    pub shown: Option<&'r Presented>,
    /// The route it takes.
    pub route: Option<&'r Route>,
    /// Where that leads.
    pub backend: Option<&'r Backend>,
}

impl<'r> Known<'r> {
    /// Of a GET over plain HTTP without a query, of which nothing else is known.
    pub fn of_get(host: Option<&'r str>, path: &'r str, fields: &'r Fields) -> Self {
        Self {
            secure: false,
            host,
            http_host: host,
            path,
            query: None,
            method: &Method::GET,
            client: None,
            fields,
            request_id: None,
            shown: None,
            route: None,
            backend: None,
        }
    }
}

/// The longest text of a template.
const MAX_TEXT: usize = 8 * 1024;

impl Variable {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "scheme" | "pass_access_scheme" => Self::Scheme,
            "host" | "server_name" => Self::Host,
            "http_host" | "best_http_host" => Self::HttpHost,
            "request_uri" => Self::RequestUri,
            "escaped_request_uri" => Self::EscapedRequestUri,
            "uri" | "document_uri" => Self::Uri,
            "args" | "query_string" => Self::Args,
            "is_args" => Self::IsArgs,
            "request_method" => Self::Method,
            "remote_addr" => Self::RemoteAddress,
            "content_type" => Self::Field(http::header::CONTENT_TYPE),
            "content_length" => Self::Field(http::header::CONTENT_LENGTH),
            "server_port" | "pass_server_port" => Self::Port,
            "proxy_add_x_forwarded_for" => Self::ForwardedFor,
            "req_id" | "request_id" => Self::RequestId,
            "namespace" => Self::Namespace,
            "ingress_name" => Self::Ingress,
            "location_path" => Self::LocationPath,
            "service_name" => Self::Service,
            "service_port" => Self::ServicePort,
            "ssl_client_verify" => Self::Client(OfClient::Verdict),
            "ssl_client_s_dn" => Self::Client(OfClient::Subject),
            "ssl_client_i_dn" => Self::Client(OfClient::Issuer),
            "ssl_client_escaped_cert" => Self::Client(OfClient::EscapedPem),
            name => {
                if let Some(field) = name.strip_prefix("http_").filter(|field| !field.is_empty()) {
                    Self::Field(HeaderName::from_bytes(field.replace('_', "-").as_bytes()).ok()?)
                } else if let Some(cookie) = name.strip_prefix("cookie_").filter(|cookie| !cookie.is_empty()) {
                    Self::Cookie(cookie.into())
                } else {
                    let argument = name.strip_prefix("arg_").filter(|argument| !argument.is_empty())?;
                    Self::Argument(argument.into())
                }
            }
        })
    }

    fn expand<'r>(&'r self, known: &Known<'r>) -> Cow<'r, str> {
        let text = |value: Option<&'r str>| Cow::Borrowed(value.unwrap_or_default());
        match self {
            Self::Scheme => Cow::Borrowed(if known.secure { "https" } else { "http" }),
            Self::Host => text(known.host),
            Self::HttpHost => text(known.http_host),
            Self::RequestUri => match known.query {
                Some(query) => Cow::Owned(format!("{}?{query}", known.path)),
                None => Cow::Borrowed(known.path),
            },
            Self::EscapedRequestUri => {
                let mut out = escaped(known.path);
                if let Some(query) = known.query {
                    out += "%3F";
                    out += &escaped(query);
                }
                Cow::Owned(out)
            }
            Self::Uri => Cow::Borrowed(known.path),
            Self::Args => text(known.query),
            Self::IsArgs => text(known.query.filter(|query| !query.is_empty()).map(|_| "?")),
            Self::Method => Cow::Borrowed(known.method.as_str()),
            Self::RemoteAddress => address(known).into(),
            Self::Argument(name) => text(argument(known.query, name)),
            Self::Field(name) => lines(known.fields, name),
            Self::Cookie(name) => text(cookie(known.fields, name)),
            Self::Changed(sample, converters) => {
                let mut value = match sample {
                    Sample::Field(name) => {
                        let last = known.fields.get_all(name).filter_map(Value::to_str).next_back();
                        last.unwrap_or_default().as_bytes().to_vec()
                    }
                    Sample::Made(template) => template.expand(known).into_owned().into_bytes(),
                    Sample::Certificate => {
                        let shown = known.shown.and_then(|shown| shown.certificate.as_ref());
                        shown.map(|shown| shown.der().to_vec()).unwrap_or_default()
                    }
                };
                for converter in converters {
                    match converter {
                        Converter::Lower => value.make_ascii_lowercase(),
                        Converter::Base64 => value = STANDARD.encode(value).into_bytes(),
                    }
                }
                String::from_utf8(value).unwrap_or_default().into()
            }
            Self::Port => Cow::Borrowed(if known.secure { "443" } else { "80" }),
            Self::ForwardedFor => {
                let before = lines(known.fields, &X_FORWARDED_FOR);
                let between = if before.is_empty() { "" } else { ", " };
                format!("{before}{between}{}", address(known)).into()
            }
            Self::RequestId => text(known.request_id),
            Self::Namespace => text(known.route.map(|route| &*route.origin.object.namespace)),
            Self::Ingress => text(known.route.map(|route| &*route.origin.object.name)),
            Self::LocationPath => text(known.route.and_then(|route| Some(&*route.path.as_ref()?.path))),
            Self::Service => text(known.backend.map(|backend| &*backend.service)),
            Self::ServicePort => text(known.backend.map(|backend| &*backend.port)),
            Self::Client(what) => {
                let certificate = known.shown.and_then(|shown| shown.certificate.as_ref());
                match what {
                    OfClient::Verdict => known.shown.map_or(Cow::Borrowed(NOTHING), Presented::verdict),
                    OfClient::Subject => text(certificate.map(|certificate| &*certificate.subject)),
                    OfClient::Issuer => text(certificate.map(|certificate| &*certificate.issuer)),
                    OfClient::EscapedPem => {
                        certificate.map_or(Cow::Borrowed(""), |certificate| certificate.escaped_pem().into())
                    }
                }
            }
        }
    }
}

impl Template {
    /// Takes a text apart. `$name` and `${name}` are variables.
    ///
    /// # Errors
    /// When a variable is not known, or the text is longer than is sensible or has characters that no field may have.
    pub fn new(text: &str) -> Result<Self, String> {
        check(text)?;
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((before, behind)) = rest.split_once('$') {
            if !before.is_empty() {
                parts.push(Part::Text(before.into()));
            }
            let (name, left) = match behind.strip_prefix('{') {
                Some(braced) => braced.split_once('}').ok_or("has a ${ without a }")?,
                None => {
                    let fits = |one: char| one.is_ascii_alphanumeric() || one == '_';
                    let end = behind.find(|one| !fits(one)).unwrap_or(behind.len());
                    behind.split_at(end)
                }
            };
            let variable =
                Variable::of(name).ok_or_else(|| format!("names the variable ${name}, which narthex does not know"))?;
            parts.push(Part::Variable(variable));
            rest = left;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        Ok(Self(parts.into()))
    }

    /// A text in which nothing is a variable.
    ///
    /// # Errors
    /// As those of [`Template::new`].
    pub fn literal(text: &str) -> Result<Self, String> {
        check(text)?;
        let part = (!text.is_empty()).then(|| Part::Text(text.into()));
        Ok(Self(part.into_iter().collect()))
    }

    /// Texts and samples of a message in turn, each sample with what changes it.
    ///
    /// # Errors
    /// As those of [`Template::new`].
    pub fn of_parts(parts: Vec<(String, Option<Changed>)>) -> Result<Self, String> {
        let mut all = Vec::new();
        for (text, sample) in parts {
            check(&text)?;
            all.extend((!text.is_empty()).then(|| Part::Text(text.into())));
            all.extend(sample.map(|(what, converters)| Part::Variable(Variable::Changed(what, converters.into()))));
        }
        Ok(Self(all.into()))
    }

    /// A text without variables, whatever it looks like, and the query of the request behind it.
    pub fn with_query(text: &str) -> Self {
        let text = Part::Text(text.into());
        Self([text, Part::Variable(Variable::IsArgs), Part::Variable(Variable::Args)].into())
    }

    /// The text for a request.
    pub fn expand<'r>(&'r self, known: &Known<'r>) -> Cow<'r, str> {
        match &*self.0 {
            [] => return Cow::Borrowed(""),
            [Part::Text(text)] => return Cow::Borrowed(text),
            [Part::Variable(variable)] => return variable.expand(known),
            _ => {}
        }
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out += text,
                Part::Variable(variable) => out += &variable.expand(known),
            }
        }
        Cow::Owned(out)
    }

    /// The path of a target; absent where it has variables.
    pub fn path(&self) -> Option<&str> {
        let Some(Part::Text(first)) = self.0.first() else {
            return None;
        };
        match first.split_once('?') {
            Some((path, _)) => Some(path),
            None => (self.0.len() == 1).then_some(&**first),
        }
    }

    /// Whether its text begins so, whatever the request.
    pub fn starts_with(&self, beginning: &str) -> bool {
        matches!(self.0.first(), Some(Part::Text(text)) if text.starts_with(beginning))
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whether a text has the characters that a field may have.
fn check(text: &str) -> Result<(), String> {
    if text.len() > MAX_TEXT {
        return Err(format!("is longer than {MAX_TEXT} bytes"));
    }
    match text.chars().find(|one| !matches!(one, ' '..='~')) {
        Some(bad) => Err(format!("contains {bad:?}, which has to be escaped")),
        None => Ok(()),
    }
}

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client's address; empty where it is not known.
fn address(known: &Known<'_>) -> String {
    let client = known.client.map(|client| client.to_canonical().to_string());
    client.unwrap_or_default()
}

/// The values of all lines of a name, with commas between.
fn lines<'r>(fields: &'r Fields, name: &'r HeaderName) -> Cow<'r, str> {
    let mut all = fields.get_all(name).filter_map(Value::to_str);
    let Some(first) = all.next() else {
        return Cow::Borrowed("");
    };
    let mut out = Cow::Borrowed(first);
    for line in all {
        let out = out.to_mut();
        out.push_str(", ");
        out.push_str(line);
    }
    out
}

/// A text as part of a query (RFC 3986, section 2.3).
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out += &format!("%{byte:02X}");
        }
    }
    out
}

/// The first value of a parameter of a query; nginx finds its name in any case.
fn argument<'r>(query: Option<&'r str>, name: &str) -> Option<&'r str> {
    let pairs = query?.split('&').filter_map(|pair| pair.split_once('='));
    let mut named = pairs.filter(|(other, _)| other.eq_ignore_ascii_case(name));
    named.next().map(|(_, value)| value)
}

/// The first cookie of a name.
fn cookie<'r>(fields: &'r Fields, name: &str) -> Option<&'r str> {
    let lines = fields.get_all(&crate::message::Name::Cookie);
    let pairs = lines.filter_map(Value::to_str).flat_map(|line| line.split(';'));
    let mut named = pairs
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(other, _)| *other == name);
    named.next().map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str) -> String {
        let mut fields = Fields::new();
        fields.append("X-User-Id", "7");
        fields.append("X-Many", "1");
        fields.append("X-Many", "2");
        fields.append("X-Forwarded-For", "192.0.2.1");
        fields.append("Cookie", "a=1; b=2");
        let known = Known {
            secure: true,
            http_host: Some("A.test:8443"),
            query: Some("x=1&y=%0d"),
            client: Some("::ffff:10.0.0.1".parse().unwrap()),
            request_id: Some("id"),
            ..Known::of_get(Some("a.test"), "/p%20q", &fields)
        };
        Template::new(text).unwrap().expand(&known).into_owned()
    }

    #[test]
    fn variables_are_those_of_nginx() {
        for (text, wanted) in [
            ("", ""),
            ("https://b.test/x", "https://b.test/x"),
            (
                "$scheme://$http_host$request_uri",
                "https://A.test:8443/p%20q?x=1&y=%0d",
            ),
            ("${scheme}s-$host", "httpss-a.test"),
            ("?rd=$escaped_request_uri", "?rd=%2Fp%2520q%3Fx%3D1%26y%3D%250d"),
            ("$uri$is_args$args", "/p%20q?x=1&y=%0d"),
            ("$arg_Y|$arg_none|$http_x_user_id|$http_none", "%0d||7|"),
            ("$cookie_b$cookie_none $remote_addr $request_method", "2 10.0.0.1 GET"),
            ("$http_x_many;$server_port;$req_id", "1, 2;443;id"),
            ("$proxy_add_x_forwarded_for", "192.0.2.1, 10.0.0.1"),
            ("$service_name", ""),
            ("$ssl_client_verify|$ssl_client_s_dn|$ssl_client_escaped_cert", "NONE||"),
        ] {
            assert_eq!(expand(text), wanted, "{text}");
        }
    }

    #[test]
    fn what_the_page_lists_is_known() {
        for (name, _) in VARIABLES {
            assert!(Template::new(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn what_is_not_known_is_an_error() {
        for text in [
            "$unknown", "$", "$1", "a$$", "${host", "${}", "$http_", "$arg_", "a\r\nb", "\u{e9}", "a\0",
        ] {
            assert!(Template::new(text).is_err(), "{text}");
        }
        assert!(Template::new(&"a".repeat(MAX_TEXT + 1)).is_err());
    }
}
