//! What the annotations about authentication ask for, before they are put together.

use crate::dialect::annotations::access::{AccessWanted, BasicWanted, DigestWanted, ExternalWanted};
use crate::dialect::annotations::value::token;
use crate::dialect::reading::{BackendKey, outside};
use crate::model::object::PortRef;
use crate::table::{
    Addresses, BackendProtocol, BackendSettings, Remembered, RequestFields, Template, canonical_host, is_realm,
};
use http::{HeaderValue, Method, StatusCode};
use std::sync::Arc;
use std::time::Duration;

/// The annotation that names the Secret.
const SECRET: &str = "nginx.ingress.kubernetes.io/auth-secret";
/// The annotation that names the service.
const URL: &str = "nginx.ingress.kubernetes.io/auth-url";
/// The key that does so for all Ingresses.
const GLOBAL_URL: &str = "global-auth-url in the ConfigMap of ingress-nginx";

/// How long a service may take where nothing is said.
const PATIENCE: Duration = Duration::from_secs(60);

/// Fields of a service's answer that are not the pod's to get: they are about a connection, or narthex says them.
const NOT_ALLOWED: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-narthex-hops",
    "x-real-ip",
    "x-request-id",
];

/// The most statuses that `auth-cache-duration` names.
const MOST_TIMES: usize = 64;

/// The most fields of an answer.
const MOST_FIELDS: usize = 64;

/// For how long answers are remembered, by their status; no status stands for all.
type Times = Box<[(Option<StatusCode>, Duration)]>;

/// What they ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::dialect::annotations) struct Asked {
    /// `auth-type`.
    pub scheme: Option<Scheme>,
    /// `auth-secret`.
    pub secret: Option<Arc<str>>,
    /// `auth-secret-type: auth-map`.
    pub map: bool,
    /// `auth-realm`.
    pub realm: Option<Box<str>>,
    /// The service that is asked.
    pub external: External,
    /// `enable-global-auth: "false"`.
    pub no_global: bool,
    /// `satisfy: any`.
    pub any: bool,
}

/// How passwords are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dialect::annotations) enum Scheme {
    Basic,
    Digest,
}

/// What is asked for of a service that says who may come in: by the annotations of an Ingress, or by the ConfigMap for all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::dialect::annotations) struct External {
    /// `auth-url`.
    pub url: Option<Url>,
    /// `auth-method`.
    pub method: Option<Method>,
    /// `auth-signin`.
    pub sign_in: Option<Box<str>>,
    /// `auth-signin-redirect-param`.
    pub parameter: Option<Box<str>>,
    /// `auth-response-headers`.
    pub fields: Box<[Box<str>]>,
    /// `auth-request-redirect`.
    pub returns_to: Option<Template>,
    /// `auth-always-set-cookie`.
    pub always_sets_cookies: bool,
    /// `auth-proxy-set-headers`.
    pub told: Vec<(Box<str>, Template)>,
    /// `auth-snippet`.
    pub of_snippet: Vec<(Box<str>, Template)>,
    /// `auth-cache-key`.
    pub cache_key: Option<Template>,
    /// `auth-cache-duration`.
    pub cache_times: Option<Times>,
}

/// An annotation that needs another one.
pub(in crate::dialect::annotations) struct Incomplete {
    pub annotation: &'static str,
    pub message: &'static str,
    /// Whether it guards, so that the routes are closed.
    pub closes: bool,
}

impl Asked {
    /// What is missing of what belongs together.
    pub fn incomplete(&self) -> Option<Incomplete> {
        match (self.scheme, &self.secret) {
            (Some(_), None) => Some(Incomplete {
                annotation: "auth-type",
                message: "it needs auth-secret, which is missing or wrong",
                closes: true,
            }),
            // Whoever names users wants somebody to sign in.
            (None, Some(_)) => Some(Incomplete {
                annotation: "auth-secret",
                message: "it needs auth-type, which is missing or wrong",
                closes: true,
            }),
            _ => None,
        }
    }

    /// Whether the service of the ConfigMap is asked, if it names one.
    pub fn is_global(&self) -> bool {
        self.external.url.is_none() && !self.no_global
    }

    /// Puts together what was asked for. With `satisfy: any`, the list of addresses belongs to it. `global` is the service
    /// that the ConfigMap names.
    pub fn settle(
        self,
        (global, id): (&External, u64),
        patience: Option<Duration>,
        addresses: &mut Option<Arc<Addresses>>,
    ) -> AccessWanted {
        let of = |scheme| self.secret.clone().filter(|_| self.scheme == Some(scheme));
        let basic = of(Scheme::Basic).map(|secret| BasicWanted {
            named_by: SECRET,
            secret,
            map: self.map,
            challenge: challenge(self.realm.as_deref().unwrap_or_default()),
            is_kept: false,
        });
        let digest = of(Scheme::Digest).map(|secret| DigestWanted {
            named_by: SECRET,
            secret,
            map: self.map,
            realm: self.realm.clone().filter(|realm| !realm.is_empty()),
        });
        let external = if self.is_global() {
            global.clone().settle(GLOBAL_URL, id, patience)
        } else {
            self.external.settle(URL, id, patience)
        };
        let any = self.any && (basic.is_some() || digest.is_some() || external.is_some());
        AccessWanted {
            basic,
            digest,
            jwt: None,
            external,
            any,
            addresses: if any { addresses.take() } else { None },
        }
    }
}

impl External {
    fn settle(self, named_by: &'static str, id: u64, patience: Option<Duration>) -> Option<ExternalWanted> {
        let sign_in = self.sign_in();
        let url = self.url?;
        let times = self.cache_times;
        let remembered = self.cache_key.map(|key| Remembered {
            id,
            key,
            times: times.unwrap_or_else(usual_times),
        });
        Some(ExternalWanted {
            named_by,
            backend: url.backend,
            host: url.authority,
            secure: url.secure,
            target: url.target,
            tells_more: self.method.is_some(),
            method: self.method.unwrap_or(Method::GET),
            patience: patience.unwrap_or(PATIENCE),
            sign_in,
            fields: self.fields,
            returns_to: self.returns_to,
            always_sets_cookies: self.always_sets_cookies,
            told: RequestFields::new(self.told.into_iter().chain(self.of_snippet).collect()),
            remembered: remembered.map(Box::new),
            needs_flag: false,
        })
    }

    /// Where clients sign in, with where they want to go behind it, unless that is said there.
    fn sign_in(&self) -> Option<Template> {
        sign_in_with(self.sign_in.as_deref()?, self.parameter.as_deref().unwrap_or("rd"))
    }
}

/// A place where clients sign in, with where they want to go behind it as this parameter, unless it has that.
pub(in crate::dialect::annotations) fn sign_in_with(place: &str, parameter: &str) -> Option<Template> {
    let query = place.split_once('?').map(|(_, query)| query);
    let mut names = query.unwrap_or_default().split('&').map(|pair| pair.split('=').next());
    let text = if names.any(|name| name == Some(parameter)) {
        place.to_owned()
    } else {
        let mark = if query.is_some() { '&' } else { '?' };
        format!("{place}{mark}{parameter}=$pass_access_scheme://$http_host$escaped_request_uri")
    };
    Template::new(&text).ok()
}

/// `auth-realm`.
pub(in crate::dialect::annotations) fn realm(text: &str) -> Result<Box<str>, String> {
    is_realm(text)
        .then(|| text.into())
        .ok_or_else(|| format!("\"{text}\" has a character that a realm may not have, or is longer than 256 bytes"))
}

/// A realm as `WWW-Authenticate` has it.
pub(in crate::dialect::annotations) fn challenge(realm: &str) -> HeaderValue {
    HeaderValue::from_str(&format!("Basic realm=\"{realm}\"")).unwrap_or(HeaderValue::from_static("Basic realm=\"\""))
}

/// Where a service is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::dialect::annotations) struct Url {
    pub backend: Option<BackendKey>,
    pub authority: Box<str>,
    pub secure: bool,
    pub target: Template,
}

impl Url {
    /// The backend of `mirror-target`, with the path and query that copies get, where it says them, and their `Host`.
    ///
    /// # Errors
    /// When it names no host of its own.
    pub fn for_copies(text: &str) -> Result<(BackendKey, Option<Template>, Box<str>), String> {
        let url = Self::new(text)?;
        let backend = url
            .backend
            .ok_or_else(|| format!("\"{text}\" has a variable in its host"))?;
        let behind = text.split_once("://").map_or(text, |(_, behind)| behind);
        let target = behind.contains(['/', '?', '$']).then_some(url.target);
        Ok((backend, target, url.authority))
    }

    /// Reads `auth-url`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("\"{text}\" {why}");
        if text.contains(|one: char| one.is_whitespace() || one == '#') {
            return Err(wrong("has a blank or a fragment"));
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong("is not a URL"))?;
        let secure = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err(wrong("is neither an HTTP nor an HTTPS URL")),
        };
        // A path that is a variable needs no slash of its own.
        let variable = rest
            .find("$request_uri")
            .or_else(|| rest.find("$uri"))
            .filter(|at| *at > 0);
        let end = rest
            .find(['/', '?'])
            .unwrap_or(rest.len())
            .min(variable.unwrap_or(rest.len()));
        let (authority, target) = rest.split_at(end);
        let target = if target.starts_with(['/', '$']) {
            target.to_owned()
        } else {
            format!("/{target}")
        };
        let target = Template::new(&target).map_err(|why| wrong(&why))?;
        let backend = if matches!(authority, "$host" | "$http_host" | "$best_http_host") {
            None
        } else if authority.contains('$') {
            return Err(wrong("has a variable in its host, which may only be $host"));
        } else {
            Some(backend(authority, secure).map_err(|why| wrong(&why))?)
        };
        Ok(Self {
            backend,
            authority: authority.into(),
            secure,
            target,
        })
    }
}

/// The backend that a host and port stand for: a Service by its name in the cluster, or a name outside of it.
fn backend(authority: &str, secure: bool) -> Result<BackendKey, String> {
    let host = canonical_host(authority).map_err(|error| error.to_string())?;
    let port = host.port.unwrap_or(if secure { 443 } else { 80 });
    let name = host.name.trim_end_matches('.');
    let service = name.strip_suffix(".cluster.local").unwrap_or(name);
    let service = service.strip_suffix(".svc").and_then(|service| service.split_once('.'));
    let (namespace, service, within) = match service {
        Some((service, namespace)) if !namespace.contains('.') => (namespace.into(), service.into(), true),
        Some(_) => return Err("names no Service: its name is NAME.NAMESPACE.svc".to_owned()),
        None => (Arc::default(), outside(name), false),
    };
    let protocol = if secure {
        BackendProtocol::Https
    } else {
        BackendProtocol::Http
    };
    let settings = BackendSettings {
        protocol: Some(protocol),
        // As for pods: whose certificate would say the name of a Service?
        verify: secure.then_some(!within),
        ..BackendSettings::default()
    };
    Ok(BackendKey {
        namespace,
        service,
        port: PortRef::Number(port.into()),
        settings: Some(Arc::new(settings)),
        limited_by: None,
    })
}

/// `auth-method`.
pub(in crate::dialect::annotations) fn method(text: &str) -> Result<Method, String> {
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    let method = known.contains(&text).then(|| Method::from_bytes(text.as_bytes()).ok());
    method
        .flatten()
        .ok_or_else(|| format!("\"{text}\" is not one of {}", known.join(", ")))
}

/// `auth-signin`: a URL, or a path of the same host.
pub(in crate::dialect::annotations) fn sign_in(text: &str) -> Result<Box<str>, String> {
    let wrong = |why: &str| format!("\"{text}\" {why}");
    Template::new(text).map_err(|why| wrong(&why))?;
    if text.contains(char::is_whitespace) {
        return Err(wrong("has a blank"));
    }
    let leads = ["/", "http://", "https://", "$scheme://", "$pass_access_scheme://"];
    if leads.iter().any(|beginning| text.starts_with(beginning)) {
        Ok(text.into())
    } else {
        Err(wrong("is neither a URL nor a path"))
    }
}

/// `auth-response-headers`.
pub(in crate::dialect::annotations) fn fields(text: &str) -> Result<Box<[Box<str>]>, String> {
    let given = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    let read = |name: &str| {
        let name = token(name)?;
        if NOT_ALLOWED.iter().any(|other| name.eq_ignore_ascii_case(other)) {
            return Err(format!("{name} is not a service's to say"));
        }
        Ok(Box::from(&*name))
    };
    let all: Box<[Box<str>]> = given.map(read).collect::<Result<_, _>>()?;
    if all.len() > MOST_FIELDS {
        return Err(format!("it names more than {MOST_FIELDS} fields"));
    }
    Ok(all)
}

/// `auth-cache-key`.
pub(super) fn cache_key(text: &str) -> Result<Template, String> {
    Template::new(text).map_err(|why| format!("\"{text}\" {why}"))
}

/// `auth-cache-duration` where nothing is said.
fn usual_times() -> Times {
    let time = Duration::from_secs(300);
    [StatusCode::OK, StatusCode::ACCEPTED, StatusCode::UNAUTHORIZED]
        .map(|status| (Some(status), time))
        .into()
}

/// `auth-cache-duration`: lists of statuses with a time behind each, as `proxy_cache_valid` of nginx has them.
pub(super) fn cache_times(text: &str) -> Result<Times, String> {
    let wrong = |one: &str| format!("\"{one}\" is not a list of statuses and a time, such as \"200 202 10m\"");
    let mut all = Vec::new();
    for one in text.split(',').map(str::trim).filter(|one| !one.is_empty()) {
        let words: Vec<&str> = one.split_whitespace().collect();
        let (time, statuses) = words.split_last().ok_or_else(|| wrong(one))?;
        let time = nginx_time(time).ok_or_else(|| wrong(one))?;
        if statuses.is_empty() {
            // As nginx has it.
            let usual = [StatusCode::OK, StatusCode::MOVED_PERMANENTLY, StatusCode::FOUND];
            all.extend(usual.map(|status| (Some(status), time)));
        }
        for status in statuses {
            let known = status
                .parse()
                .ok()
                .and_then(|code: u16| StatusCode::from_u16(code).ok());
            if *status != "any" && known.is_none() {
                return Err(wrong(one));
            }
            all.push((known, time));
        }
    }
    if all.is_empty() || all.len() > MOST_TIMES {
        return Err(wrong(text));
    }
    Ok(all.into())
}

/// A time with one unit of nginx behind it, or in seconds; at most a year.
fn nginx_time(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|one: char| one.is_ascii_alphabetic());
    let unit: u64 = match text.get(digits.len()..)? {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    let number: u64 = digits.parse::<u32>().ok().filter(|_| !digits.starts_with('+'))?.into();
    Some(Duration::from_secs(number.checked_mul(unit)?)).filter(|time| *time <= Duration::from_secs(365 * 86_400))
}

/// `auth-request-redirect`.
pub(super) fn returns_to(text: &str) -> Result<Template, String> {
    Template::new(text).map_err(|why| format!("\"{text}\" {why}"))
}
