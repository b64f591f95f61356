//! The ConfigMap of ingress-nginx, which says what holds where an Ingress says nothing.

mod guards;
mod keys;
mod snippets;

use super::HSTS;
use super::auth::External;
use super::snippet::Snippet;
use crate::model::object::{ConfigMap, Meta};
use crate::table::{Balance, Blocked, Exchanged, FieldPattern, Networks, RetryOn, Template};
use http::{HeaderValue, StatusCode};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use keys::Finding;
pub(super) use keys::{served, unserved};

/// The paths that certificate authorities ask for (RFC 8555, section 8.3), as ingress-nginx writes them.
const ACME: &str = "/.well-known/acme-challenge";

/// Namespace and name.
type Key = (Arc<str>, Arc<str>);

/// What an Ingress of ingress-nginx is read with beside itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Beside {
    /// What holds where it says nothing.
    pub config: Arc<Config>,
    /// The ConfigMaps that its annotations name, as far as they are there.
    pub named: Vec<Arc<ConfigMap>>,
    /// `--nginx-default-backend`: the Service that answers what no rule lists, and makes error pages.
    pub default_backend: Option<Key>,
}

/// What a ConfigMap says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    pub body: Option<u64>,
    pub ssl_redirect: Option<bool>,
    pub force_ssl_redirect: bool,
    pub hsts: Hsts,
    pub connect: Option<Duration>,
    pub read: Option<Duration>,
    pub send: Option<Duration>,
    /// Absent in it for no retries.
    pub retry_on: Option<Option<RetryOn>>,
    pub retry_non_idempotent: bool,
    pub tries: Option<u32>,
    pub retry_time: Option<Duration>,
    pub balance: Option<Balance>,
    pub allow: Option<Networks>,
    pub deny: Option<Networks>,
    /// Also where an Ingress has lists of its own.
    pub blocked: Option<Networks>,
    /// Clients that are refused for what they say of themselves.
    pub unwanted: Vec<Arc<Blocked>>,
    /// A guard that cannot be read or enforced: nobody is let in.
    pub closed_by: Option<&'static str>,
    /// The service that says who may come in where an Ingress names none.
    pub(in crate::dialect::annotations) global_auth: External,
    /// What cannot be read of it.
    pub auth_closed_by: Option<&'static str>,
    /// Beginnings of paths whose clients are not asked who they are.
    pub unasked: Arc<[Box<str>]>,
    /// Beginnings of paths that are not redirected to HTTPS.
    pub plain: Arc<[Box<str>]>,
    /// The status of redirects to HTTPS.
    pub redirect_status: StatusCode,
    /// The status of requests beyond a rate.
    pub rate_status: StatusCode,
    /// The status of requests beyond those that may be under way.
    pub connections_status: StatusCode,
    /// `location-snippet`.
    pub(in crate::dialect::annotations) snippet: Snippet,
    /// `server-tokens: "false"`.
    pub hides_server: bool,
    /// `allow-backend-server-header`.
    pub shows_server: bool,
    /// Errors whose replies the default backend makes.
    pub errors: Box<[StatusCode]>,
    /// `disable-proxy-intercept-errors`.
    pub leaves_errors: bool,
    /// KiB of a reply that are sent in a second; 0 for no limit.
    pub limit_rate: u32,
    /// KiB of a reply that are sent before that counts.
    pub limit_rate_after: u32,
    pub hidden: Vec<FieldPattern>,
    /// Fields that all replies get.
    pub added: Vec<(Box<str>, Template)>,
    /// Fields that all pods get.
    pub for_pods: Vec<(Box<str>, Template)>,
    /// Fields that `custom-headers` may set, in lower case.
    pub allowed: BTreeSet<Box<str>>,
    pub original_uri: bool,
    pub is_unlogged: bool,
    pub relative: bool,
    pub cookie_path: Option<Exchanged>,
    pub cookie_domain: Option<Exchanged>,
    pub redirect_from: Option<Template>,
    pub redirect_to: Option<Template>,
}

/// `Strict-Transport-Security`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hsts {
    pub is_on: bool,
    pub max_age: u32,
    pub include_subdomains: bool,
    pub preload: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            body: None,
            ssl_redirect: None,
            force_ssl_redirect: false,
            hsts: Hsts {
                is_on: true,
                max_age: 31_536_000,
                include_subdomains: true,
                preload: false,
            },
            connect: None,
            read: None,
            send: None,
            retry_on: None,
            retry_non_idempotent: false,
            tries: None,
            retry_time: None,
            balance: None,
            allow: None,
            deny: None,
            blocked: None,
            unwanted: Vec::new(),
            closed_by: None,
            global_auth: External::default(),
            auth_closed_by: None,
            unasked: Arc::new([ACME.into()]),
            plain: Arc::new([ACME.into()]),
            redirect_status: StatusCode::PERMANENT_REDIRECT,
            rate_status: StatusCode::SERVICE_UNAVAILABLE,
            connections_status: StatusCode::SERVICE_UNAVAILABLE,
            snippet: Snippet::default(),
            hides_server: false,
            shows_server: false,
            errors: Box::default(),
            leaves_errors: false,
            limit_rate: 0,
            limit_rate_after: 0,
            hidden: Vec::new(),
            added: Vec::new(),
            for_pods: Vec::new(),
            allowed: BTreeSet::new(),
            original_uri: false,
            is_unlogged: false,
            relative: false,
            cookie_path: None,
            cookie_domain: None,
            redirect_from: None,
            redirect_to: None,
        }
    }
}

impl Hsts {
    /// The field; absent where it is off.
    pub fn value(&self) -> Option<HeaderValue> {
        if !self.is_on {
            return None;
        }
        let subdomains = if self.include_subdomains {
            "; includeSubDomains"
        } else {
            ""
        };
        let preload = if self.preload { "; preload" } else { "" };
        let text = format!("max-age={}{subdomains}{preload}", self.max_age);
        Some(HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(HSTS)))
    }
}

impl Config {
    /// Reads a ConfigMap, and says what is wrong with it. `other` finds the ConfigMaps that it names.
    pub fn read(map: &ConfigMap, other: impl Fn(&Key) -> Option<Arc<ConfigMap>>) -> (Self, Vec<Finding>) {
        let mut config = Self::default();
        let mut findings = Vec::new();
        for name in &map.not_text {
            findings.push(Finding::wrong(
                name,
                "it is not text: put the value in quotes".to_owned(),
            ));
        }
        for (name, value) in &map.data {
            if let Some(finding) = keys::read(&mut config, name, value) {
                findings.push(finding);
            }
        }
        for (name, key) in named(map) {
            let fields = match other(&key) {
                Some(other) => fields(&other, name == "proxy-set-headers"),
                None => Err(format!(
                    "there is no ConfigMap \"{}\" in namespace \"{}\"",
                    key.1, key.0
                )),
            };
            match fields {
                Ok(fields) if name == "add-headers" => config.added = fields,
                Ok(fields) => config.for_pods = fields,
                Err(why) => findings.push(Finding::wrong(name, why)),
            }
        }
        (config, findings)
    }

    /// The ConfigMaps that one names.
    pub fn names(map: &ConfigMap) -> BTreeSet<Key> {
        named(map).map(|(_, key)| key).collect()
    }
}

/// The keys that name other ConfigMaps, and what they name.
fn named(map: &ConfigMap) -> impl Iterator<Item = (&'static str, Key)> {
    ["add-headers", "proxy-set-headers"].into_iter().filter_map(|name| {
        let value = map.data.get(name).filter(|value| !value.trim().is_empty())?;
        Some((name, object(value.trim(), &map.meta.namespace)))
    })
}

/// `NAMESPACE/NAME`, or a name in this namespace.
fn object(text: &str, namespace: &Arc<str>) -> Key {
    match text.split_once('/') {
        Some((namespace, name)) => (namespace.into(), name.into()),
        None => (namespace.clone(), text.into()),
    }
}

/// The fields of a ConfigMap.
fn fields(map: &ConfigMap, for_pods: bool) -> Result<Vec<(Box<str>, Template)>, String> {
    let mut snippet = super::snippet::Snippet::default();
    let mut all = Vec::new();
    for (name, value) in &map.data {
        let wrong = |why: String| format!("ConfigMap \"{}\" {why}", map.meta.name);
        if for_pods {
            snippet.set_for_pods(name, value).map_err(wrong)?;
        } else {
            let name = super::snippet::reply_name(name).map_err(wrong)?;
            all.push((name, super::snippet::template(value).map_err(wrong)?));
        }
    }
    Ok(if for_pods { snippet.request } else { all })
}

/// The annotations that name a ConfigMap.
const NAMING: [&str; 2] = ["custom-headers", "auth-proxy-set-headers"];

/// The ConfigMaps that the annotations of an Ingress name, in its own namespace.
pub(crate) fn named_by(meta: &Meta) -> impl Iterator<Item = Key> {
    let names = |name: &str| {
        let name = name.strip_prefix(super::PREFIX);
        name.is_some_and(|name| NAMING.contains(&name))
    };
    let named = meta.annotations.iter().filter(move |(name, _)| names(name));
    let keys = named.map(|(_, text)| object(text, &meta.namespace));
    keys.filter(|key| key.0 == meta.namespace)
}

/// The ConfigMap that an annotation names.
///
/// # Errors
/// When this namespace has no such ConfigMap.
fn other<'b>(text: &str, namespace: &Arc<str>, beside: &'b Beside) -> Result<&'b Arc<ConfigMap>, String> {
    let key = object(text, namespace);
    if key.0 != *namespace {
        return Err(format!("\"{text}\" is of another namespace than the Ingress"));
    }
    let map = beside.named.iter().find(|map| map.meta.name == key.1);
    map.ok_or_else(|| format!("there is no ConfigMap \"{}\" in namespace \"{namespace}\"", key.1))
}

/// The fields that `auth-proxy-set-headers` has a service told.
///
/// # Errors
/// When there is no such ConfigMap, or it has a field that may not be set.
pub(super) fn told(text: &str, namespace: &Arc<str>, beside: &Beside) -> Result<Vec<(Box<str>, Template)>, String> {
    fields(other(text, namespace, beside)?, true)
}

/// The fields that `custom-headers` sets.
///
/// # Errors
/// When there is no such ConfigMap, or it has a field that is not allowed.
pub(super) fn custom(text: &str, namespace: &Arc<str>, beside: &Beside) -> Result<Vec<(Box<str>, Template)>, String> {
    let map = other(text, namespace, beside)?;
    let mut all = Vec::new();
    for (name, value) in &map.data {
        if !beside.config.allowed.contains(&*name.to_ascii_lowercase()) {
            return Err(format!(
                "ConfigMap \"{}\" sets {name}, which global-allowed-response-headers does not name",
                map.meta.name
            ));
        }
        let wrong = |why: String| format!("ConfigMap \"{}\" {why}", map.meta.name);
        let name = super::snippet::reply_name(name).map_err(wrong)?;
        let value = Template::literal(value).map_err(|why| wrong(format!("has a value that {why}")))?;
        all.push((name, value));
    }
    if let Some(name) = map.not_text.first() {
        return Err(format!("ConfigMap \"{}\" has {name}, which is not text", map.meta.name));
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
