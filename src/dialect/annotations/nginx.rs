//! The annotations of ingress-nginx, and what becomes of each where narthex stands in for it.

pub(super) mod auth;
mod config;
mod fields;
mod page;
mod served;
mod snippet;
mod unserved;
pub(super) mod value;

pub(crate) use config::{Beside, Config, Finding, named_by};
pub use page::markdown;
pub(crate) use snippet::is_ours;

use super::access::AccessWanted;
use super::native::Steps;
use super::value::Value;
use super::{ErrorPagesWanted, HostWide, Paths, Settings};
use crate::table::{
    Addresses, After, BackendProtocol, BackendSettings, Balance, Before, Connections, CookieAttributes, Cors, Networks,
    Origin, Origins, Rate, RateKey, Rates, Redirection, RetryOn, Target, Template,
};
use http::{HeaderValue, StatusCode};
use std::sync::Arc;
use std::time::Duration;

/// What the names of its annotations begin with.
pub(super) const PREFIX: &str = "nginx.ingress.kubernetes.io/";

/// `proxy-body-size` where nothing is said.
const BODY: u64 = 1 << 20;

/// `proxy-connect-timeout` where nothing is said.
const CONNECT: Duration = Duration::from_secs(5);

/// `proxy-read-timeout` and `proxy-send-timeout` where nothing is said.
const READ: Duration = Duration::from_secs(60);

/// `proxy-next-upstream-tries` where nothing is said.
const TRIES: u32 = 3;

/// The most tries of one request.
const MOST_TRIES: u32 = 10;

/// `upstream-hash-by-subset-size` where nothing is said.
const SUBSET: u32 = 3;

/// The largest such size.
const MOST_SUBSET: u32 = 64;

/// The cookie of a sticky session where nothing is said.
const COOKIE: &str = "INGRESSCOOKIE";

/// `Strict-Transport-Security` of all replies over TLS.
const HSTS: &str = "max-age=31536000; includeSubDomains";

/// An annotation that narthex acts on.
pub(super) struct Served {
    pub name: &'static str,
    /// How it differs from the controller whose it is, in a sentence without a full stop; empty where it does not.
    pub differs: &'static str,
    pub wrong: Wrong,
    pub value: Value,
}

/// What becomes of an Ingress where the value is wrong.
#[derive(Clone, Copy)]
pub(super) enum Wrong {
    /// It guards, so the routes are closed.
    Closes,
    /// It is left out, and this holds.
    Default(&'static str),
}

/// An annotation that narthex does not act on.
struct Unserved {
    names: &'static [&'static str],
    verdict: Verdict,
    /// A sentence without a full stop.
    why: &'static str,
}

/// What becomes of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Clients and pods would not see a difference.
    NoEffect,
    /// It is reported, and closes what it guards.
    NotYet,
    /// The same, and it stays so.
    Refused,
}

/// An annotation that narthex acts on, by its name without the prefix.
pub(super) fn served(name: &str) -> Option<&'static Served> {
    served::all().find(|known| known.name == name)
}

/// Whether an annotation asks for nothing that would show.
pub(super) fn has_no_effect(name: &str) -> bool {
    let of = |known: &&Unserved| known.verdict == Verdict::NoEffect && known.names.contains(&name);
    unserved::ALL.iter().any(|known| of(&known))
}

/// What the annotations of an Ingress ask for, before they are put together: one may need another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) auth: auth::Asked,
    use_regex: bool,
    rewrite: Option<(Box<str>, Target)>,
    ssl_redirect: Option<bool>,
    force_ssl_redirect: Option<bool>,
    protocol: Option<BackendProtocol>,
    verify: bool,
    /// Versions and suites of TLS that pods should be offered and that narthex does not have.
    absent_versions: Vec<String>,
    absent_suites: Vec<String>,
    cookie_affinity: bool,
    cookie: Option<Arc<str>>,
    attributes: CookieAttributes,
    no_retries: bool,
    retry_on: Option<RetryOn>,
    tries: Option<u32>,
    /// Absent in it for no limit.
    retry_time: Option<Option<Duration>>,
    balance: Option<Balance>,
    hash: Option<Balance>,
    subset: bool,
    subset_size: Option<u32>,
    pace: served::pace::Wanted,
    per_second: u32,
    per_minute: u32,
    burst_multiplier: Option<u32>,
    under_way: u32,
    exempt: Option<Networks>,
    body: Option<u64>,
    allow: Option<Networks>,
    deny: Option<Networks>,
    permanent: Option<Template>,
    permanent_code: Option<StatusCode>,
    temporal: Option<Template>,
    temporal_code: Option<StatusCode>,
    host_wide: HostWide,
    canary: served::canary::Wanted,
    cors: bool,
    origins: Option<Origins>,
    methods: Option<HeaderValue>,
    headers: Option<HeaderValue>,
    expose: Option<HeaderValue>,
    no_credentials: bool,
    max_age: Option<u32>,
    fields: fields::Fields,
    /// What narthex's own annotations ask for, which win.
    own: Steps,
    mirror: served::mirrors::Wanted,
    /// `custom-http-errors`.
    errors: Option<Box<[StatusCode]>>,
    /// `disable-proxy-intercept-errors`.
    leaves_errors: Option<bool>,
}

impl Asked {
    /// What of TLS to pods narthex does not have: the annotation that names it, and a sentence.
    pub fn absent(&self) -> impl Iterator<Item = (&'static str, String)> {
        let all = [
            ("proxy-ssl-ciphers", "cipher suite of TLS 1.2", &self.absent_suites),
            ("proxy-ssl-protocols", "version of TLS", &self.absent_versions),
        ];
        all.into_iter()
            .filter(|(.., names)| !names.is_empty())
            .map(|(annotation, what, names)| {
                let message = format!(
                    "narthex has no {what} named {}, so pods are not offered it",
                    names.join(", ")
                );
                (annotation, message)
            })
    }

    /// Takes what narthex's own annotations ask for in place of what these say of the same.
    fn take_own(&mut self, mut own: Steps) {
        self.body = own.body.take().or(self.body);
        self.allow = own.allow.take().or(self.allow.take());
        self.deny = own.deny.take().or(self.deny.take());
        if own.paths.rewrite.is_some() || own.rewrite.is_some() {
            self.rewrite = own.paths.rewrite.take();
        }
        self.fields.own = std::mem::take(&mut own.fields);
        self.own = own;
    }

    /// The steps of a request, in the order of ingress-nginx: a list of addresses comes after all redirects.
    fn before(&mut self, config: &Config) -> Vec<Before> {
        let changes = self.fields.changes(config, self.rewrite.is_some());
        let mut steps = vec![Before::Fields(changes)];
        steps.extend(config.unwanted.iter().cloned().map(Before::Blocked));
        steps.extend(self.fields.host.take().map(|host| Before::Host(Arc::new(host))));
        steps.extend(self.cors().map(Before::Cors));
        let body = self.body.or(config.body).unwrap_or(BODY);
        steps.extend((body > 0).then_some(Before::BodyLimit(body)));
        steps.extend(self.fields.snippet.returned.take());
        if let Some(redirect) = self.own.redirect.take() {
            steps.push(redirect);
            return steps;
        }
        let temporal = self
            .temporal
            .take()
            .map(|to| (to, self.temporal_code.unwrap_or(StatusCode::FOUND)));
        let permanent = self.permanent.take();
        let permanent = permanent.map(|to| (to, self.permanent_code.unwrap_or(StatusCode::MOVED_PERMANENTLY)));
        steps.extend(temporal.or(permanent).map(|(to, status)| {
            Before::Redirect(Arc::new(Redirection {
                status,
                to,
                relative: self.host_wide.relative,
                host: None,
                with_port: self.host_wide.with_port,
            }))
        }));
        steps
    }

    /// A bucket holds as many requests as the multiplier says, beside the one that is let through.
    fn rates(&mut self, id: u64, config: &Config) -> Option<Before> {
        if self.own.rates.is_some() {
            return self.own.rates.take();
        }
        let multiplier = self.burst_multiplier.unwrap_or(5);
        let rate = |requests: u32, seconds| Rate::new(requests, seconds, requests.saturating_mul(multiplier));
        let limits = [rate(self.per_second, 1), rate(self.per_minute, 60)];
        let limits: Box<[Rate]> = limits.into_iter().flatten().collect();
        let exempt = self.exempt.clone().unwrap_or_default();
        (!limits.is_empty()).then(|| {
            Before::Rates(Arc::new(Rates {
                id,
                exempt,
                limits,
                status: config.rate_status,
                key: RateKey::Client,
                native: false,
            }))
        })
    }

    /// How many requests of a client may be under way.
    fn connections(&mut self, id: u64, config: &Config) -> Option<Before> {
        if self.own.connections.is_some() {
            return self.own.connections.take();
        }
        let exempt = || self.exempt.clone().unwrap_or_default();
        (self.under_way > 0).then(|| {
            Before::Connections(Arc::new(Connections {
                id,
                exempt: exempt(),
                most: self.under_way,
                status: config.connections_status,
                native: false,
            }))
        })
    }

    fn addresses(&mut self, config: &Config) -> Option<Arc<Addresses>> {
        let allow = self.allow.take().or_else(|| config.allow.clone());
        let deny = self.deny.take().or_else(|| config.deny.clone());
        (allow.is_some() || deny.is_some()).then(|| {
            Arc::new(Addresses {
                allow,
                deny: deny.unwrap_or_default(),
            })
        })
    }

    fn cors(&self) -> Option<Arc<Cors>> {
        const METHODS: HeaderValue = HeaderValue::from_static("GET, PUT, POST, DELETE, PATCH, OPTIONS");
        const HEADERS: HeaderValue = HeaderValue::from_static(
            "DNT,Keep-Alive,User-Agent,X-Requested-With,If-Modified-Since,Cache-Control,Content-Type,Range,Authorization",
        );
        if self.own.cors.is_some() {
            return self.own.cors.clone();
        }
        self.cors.then(|| {
            Arc::new(Cors {
                origins: self.origins.clone().unwrap_or(Origins::Any),
                methods: self.methods.clone().unwrap_or(METHODS),
                headers: self.headers.clone().unwrap_or(HEADERS),
                expose: self.expose.clone(),
                credentials: !self.no_credentials,
                max_age: self.max_age.unwrap_or(1_728_000).into(),
                native: false,
            })
        })
    }

    /// Which failures are worth another try, and how many there are.
    fn retry(&self, config: &Config, backend: &mut BackendSettings) {
        let usual = RetryOn {
            reset: true,
            timeout: true,
            ..RetryOn::NONE
        };
        let on = match (self.no_retries, self.retry_on, config.retry_on) {
            (true, ..) | (false, None, Some(None)) => None,
            (false, Some(on), _) | (false, None, Some(Some(on))) => Some(on),
            (false, None, None) => Some(usual),
        };
        let tries = self.tries.or(config.tries).unwrap_or(TRIES);
        backend.retries = Some(if on.is_some() { tries.saturating_sub(1) } else { 0 });
        backend.retry_on = Some(on.map_or(usual, |on| RetryOn {
            non_idempotent: on.non_idempotent || config.retry_non_idempotent,
            ..on
        }));
        backend.retry_time = self.retry_time.unwrap_or(config.retry_time);
    }

    /// Puts together what was asked for.
    pub fn settle(mut self, own: Steps, settings: &mut Settings) {
        self.take_own(own);
        let beside = settings.beside.clone();
        let config = &*beside.config;
        let of_auth = config.auth_closed_by.filter(|_| self.auth.is_global());
        let said = config
            .closed_by
            .or(of_auth)
            .map(|key| format!("{key} in the ConfigMap of ingress-nginx"));
        if let Some(said) = said {
            settings.closed_by.get_or_insert_with(|| said.into());
        }
        let own = std::mem::replace(&mut self.fields.snippet, config.snippet.clone());
        self.fields.snippet.append(own);
        settings.unasked = config.unasked.clone();
        settings.plain = config.plain.clone();
        settings.redirect_status = Some(config.redirect_status);
        self.host_wide.relative |= config.relative;
        let force = self.force_ssl_redirect.unwrap_or(config.force_ssl_redirect);
        settings.ssl_redirect = match (force, self.ssl_redirect.or(config.ssl_redirect)) {
            (true, _) => Some(true),
            (false, Some(false)) => Some(false),
            // Only hosts with TLS are redirected.
            (false, _) => None,
        };
        // What a snippet says of it is meant to count.
        let says_hsts = self.fields.snippet.sets("strict-transport-security");
        settings.hsts = config.hsts.value().filter(|_| !says_hsts);
        let backend = &mut settings.backend;
        let protocol = self.protocol.unwrap_or(BackendProtocol::Http);
        backend.protocol = Some(protocol);
        if matches!(protocol, BackendProtocol::Https | BackendProtocol::Grpcs) {
            backend.verify = Some(self.verify);
            if !self.verify {
                backend.ca_secret = None;
            }
        } else {
            (backend.ca_secret, backend.client_secret, backend.server_name) = (None, None, None);
            (backend.tls_version, backend.cipher_suites) = (None, None);
        }
        if self.cookie_affinity {
            backend.sticky_cookie = Some(self.cookie.take().unwrap_or_else(|| COOKIE.into()));
            backend.sticky_attributes = Some(Arc::new(std::mem::take(&mut self.attributes)));
        }
        backend.balance = (self.hash.take())
            .or_else(|| self.balance.take())
            .or_else(|| config.balance.clone());
        backend.hash_subset = self.subset.then(|| self.subset_size.unwrap_or(SUBSET));
        backend.connect_timeout.get_or_insert(config.connect.unwrap_or(CONNECT));
        for time in [&mut backend.response_timeout, &mut backend.stream_timeout] {
            time.get_or_insert(config.read.unwrap_or(READ));
        }
        backend.tunnel_timeout = backend.tunnel_timeout.or(config.read);
        backend.take_timeout.get_or_insert(config.send.unwrap_or(READ));
        self.retry(config, backend);
        settings.chain.before = self.before(config).into();
        settings.paths = Paths {
            are_patterns: self.use_regex,
            rewrite: self.rewrite.take(),
            are_whole: false,
        };
        let patience = settings.backend.response_timeout;
        let mut addresses = self.addresses(config);
        let global = (&config.global_auth, settings.identity);
        let asked = std::mem::take(&mut self.auth).settle(global, patience, &mut addresses);
        // One takes the place of the same alone: what guards stays.
        let own = std::mem::take(&mut self.own.access);
        settings.access = AccessWanted {
            basic: own.basic.or(asked.basic),
            digest: own.digest.or(asked.digest),
            jwt: own.jwt.or(asked.jwt),
            external: own.external.or(asked.external),
            any: own.any || asked.any,
            addresses: own.addresses.or(asked.addresses),
        };
        settings.host_wide = Some(Arc::new(std::mem::take(&mut self.host_wide)));
        let mirror = std::mem::take(&mut self.mirror).settle();
        settings.mirrors = self.own.mirror.take().or(mirror).into_iter().collect();
        let own = self.errors.is_some();
        let statuses = self.errors.take().unwrap_or_else(|| config.errors.clone());
        settings.error_pages = (!statuses.is_empty()).then(|| ErrorPagesWanted {
            statuses,
            of_pods: !self.leaves_errors.unwrap_or(config.leaves_errors),
            named_by: own.then_some("nginx.ingress.kubernetes.io/custom-http-errors"),
            from: None,
        });
        settings.error_pages = self.own.error_pages.take().or(settings.error_pages.take());
        settings.canary = std::mem::take(&mut self.canary).rule();
        let of_snippet = std::mem::take(&mut self.fields.snippet.addresses).into_iter();
        let of_snippet = of_snippet.map(|addresses| Before::Addresses(Arc::new(addresses)));
        let blocked = config.blocked.clone().map(|deny| Addresses { allow: None, deny });
        let blocked = blocked.map(|addresses| Before::Addresses(Arc::new(addresses)));
        let behind = [
            self.connections(settings.identity, config),
            self.rates(settings.identity, config),
            blocked,
            addresses.map(Before::Addresses),
        ];
        settings.chain.behind = behind.into_iter().flatten().chain(of_snippet).collect();
        settings.chain.inner = self.own.rewrite.take().map(Before::Rewrite).into_iter().collect();
        let fields = settings.chain.before.iter().find_map(|step| match step {
            Before::Fields(changes) if !changes.reply.is_empty() => Some(After::Fields(changes.clone())),
            _ => None,
        });
        let pace = self.own.pace.or(self.pace.settle(config)).map(After::Pace);
        settings.chain.after = fields
            .into_iter()
            .chain(self.cors().map(After::Cors))
            .chain(pace)
            .collect();
        let is_unlogged = self.fields.is_unlogged || config.is_unlogged;
        settings.chain.is_unlogged = self.own.logged.map_or(is_unlogged, |logged| !logged);
    }
}

/// For a whole number of seconds.
fn seconds(number: u32) -> Duration {
    Duration::from_secs(number.into())
}

/// The origins of `cors-allow-origin`; what is not written like one is left out.
pub(super) fn origins(text: &str) -> Result<Origins, String> {
    let given = || text.split(',').map(str::trim).filter(|one| !one.is_empty());
    if given().any(|one| one == "*") {
        return Ok(Origins::Any);
    }
    let known: Box<[Origin]> = given().filter_map(Origin::new).collect();
    if known.is_empty() {
        return Err(format!(
            "\"{text}\" names no origin such as https://a.example.com or https://*.example.com"
        ));
    }
    Ok(Origins::Some(known))
}

#[cfg(test)]
mod tests;
