//! The annotations of OpenShift's router, and what becomes of each where narthex stands in for it.

mod list;
mod page;
mod value;

pub use page::markdown;

use super::Settings;
use super::nginx::Served;
use crate::table::{
    Addresses, After, Balance, Before, Connections, CookieAttributes, HashKey, Networks, PathRegex, Rate, RateKey,
    Rates, Rewrite, Schemes, Target,
};
use http::StatusCode;
use std::sync::Arc;
use std::time::Duration;
use twox_hash::XxHash3_64;

/// What the names of its annotations begin with.
const PREFIXES: [&str; 2] = ["haproxy.router.openshift.io/", "router.openshift.io/"];

/// `timeout` where nothing is said.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long requests wait for a pod with room: that router's time for connections holds for its queues too.
const QUEUE: Duration = Duration::from_secs(5);

/// The time in which `rate-limit-connections.rate-http` counts requests.
pub(crate) const RATE_SECONDS: u32 = 10;

/// The time in which `rate-limit-connections.rate-tcp` counts.
pub(crate) const TCP_RATE_SECONDS: u32 = 3;

/// What an annotation asks for of which narthex takes no notice.
pub(super) struct Unserved {
    /// With its prefix.
    name: &'static str,
    /// Whether clients and pods would not see a difference.
    no_effect: bool,
    /// A sentence without a full stop.
    why: &'static str,
}

/// An annotation that narthex acts on, by its name with the prefix.
pub(super) fn served(name: &str) -> Option<&'static Served> {
    let known = PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    list::SERVED.iter().find(|served| known && served.name == name)
}

/// Whether an annotation asks for nothing that would show.
pub(super) fn has_no_effect(name: &str) -> bool {
    let mut unserved = list::UNSERVED.iter();
    unserved.any(|known| known.no_effect && known.name == name)
}

/// What the annotations of a Route ask for, before they are put together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    timeout: Option<Duration>,
    balance: Option<Balance>,
    no_cookie: bool,
    cookie: Option<Arc<str>>,
    same_site: Option<Arc<str>>,
    allow: Option<Networks>,
    /// `ip_whitelist`, which is the older name.
    old_allow: Option<Networks>,
    limits: bool,
    connections: Option<u32>,
    /// `pod-concurrent-connections`.
    per_pod: Option<u32>,
    rate: Option<u32>,
    rate_tcp: Option<u32>,
    /// What takes the place of the Route's path.
    rewrite: Option<Box<str>>,
}

impl Settings {
    /// Puts together what a Route asks for. `several` tells whether it names more than one Service, `path` is where it is, and
    /// `passes` whether TLS is passed through.
    pub(crate) fn settle_route(&mut self, (route, path): (&str, &str), several: bool, passes: bool) {
        let asked = std::mem::take(&mut self.openshift);
        let backend = &mut self.backend;
        let timeout = asked.timeout.unwrap_or(TIMEOUT);
        for time in [&mut backend.response_timeout, &mut backend.stream_timeout] {
            time.get_or_insert(timeout);
        }
        let usual = match passes {
            // Nobody can set a cookie there.
            true => Some(Balance::Hash(HashKey::SourceIp)),
            false => several.then_some(Balance::RoundRobin),
        };
        if passes {
            backend.tunnel_timeout = backend.tunnel_timeout.or(asked.timeout);
        }
        backend.balance = backend.balance.take().or(asked.balance).or(usual);
        if !asked.no_cookie && !passes && backend.sticky_cookie.is_none() {
            let name = asked.cookie.unwrap_or_else(|| cookie_name(route));
            backend.sticky_cookie = Some(name);
            backend.sticky_attributes.get_or_insert_with(|| {
                Arc::new(CookieAttributes {
                    path: Some("/".into()),
                    same_site: asked.same_site,
                    ..CookieAttributes::default()
                })
            });
        }
        if backend.max_in_flight_per_pod.is_none() && asked.per_pod.is_some() {
            backend.max_in_flight_per_pod = asked.per_pod;
            backend.queue_timeout.get_or_insert(QUEUE);
        }
        let id = self.identity;
        let connections = asked.connections.filter(|_| asked.limits).map(|most| {
            Before::Connections(Arc::new(Connections {
                id,
                exempt: Networks::default(),
                most,
                status: StatusCode::TOO_MANY_REQUESTS,
                native: true,
            }))
        });
        let rates = [
            (asked.rate.filter(|_| !passes), RATE_SECONDS),
            (asked.rate_tcp, TCP_RATE_SECONDS),
        ];
        let rates = rates.into_iter().filter(|_| asked.limits);
        let rates = rates.filter_map(|(most, seconds)| Rate::new(most?, seconds, most?.saturating_sub(1)));
        let rates: Box<[Rate]> = rates.collect();
        let rate = (!rates.is_empty()).then(|| {
            Before::Rates(Arc::new(Rates {
                id,
                exempt: Networks::default(),
                limits: rates,
                status: StatusCode::TOO_MANY_REQUESTS,
                key: RateKey::Client,
                native: true,
            }))
        });
        let allow = asked.allow.or(asked.old_allow).map(|allow| {
            Before::Addresses(Arc::new(Addresses {
                allow: Some(allow),
                deny: Networks::default(),
            }))
        });
        let rewrite = asked.rewrite.and_then(|to| rewritten(path, &to));
        let rewrite = rewrite.map(|rewrite| Before::Rewrite(Arc::new(rewrite)));
        // Clients that are not allowed are refused first. The steps that narthex's own annotations ask for stay.
        self.chain.before = allow.into_iter().chain(connections).chain(rate).collect();
        let inner = std::mem::take(&mut self.chain.inner);
        self.chain.inner = inner.into_iter().chain(rewrite).collect();
    }

    /// Has the fields of requests and responses changed.
    pub(crate) fn change_fields(&mut self, before: Before, after: After) {
        let behind = std::mem::take(&mut self.chain.behind);
        self.chain.behind = behind.into_iter().chain([before]).collect();
        self.chain.after = Box::new([after]);
    }

    /// Says by which schemes requests may come, and what becomes of others where no other Route takes them.
    pub(crate) fn serve_by(&mut self, schemes: Schemes) {
        self.chain.schemes = schemes;
        let step = match schemes {
            Schemes::All | Schemes::Both => return,
            Schemes::Http => Before::PlainOnly,
            Schemes::Https => Before::HttpsOnly,
            Schemes::Redirected => Before::RedirectToHttps(StatusCode::FOUND),
        };
        let behind = std::mem::take(&mut self.chain.behind);
        self.chain.behind = [step].into_iter().chain(behind).collect();
    }
}

/// The name of a Route's cookie: nobody can tell the Route by it.
fn cookie_name(route: &str) -> Arc<str> {
    let hash = |text: &str| XxHash3_64::oneshot(text.as_bytes());
    format!("{:016x}{:016x}", hash(route), hash(&format!("{route}\n"))).into()
}

/// `rewrite-target`: `/` takes the Route's path away, anything else takes its place; what is behind it stays.
fn rewritten(path: &str, to: &str) -> Option<Rewrite> {
    let mut pattern = String::new();
    for one in path.chars() {
        if one.is_ascii_punctuation() && one != '/' && one != '-' && one != '_' {
            pattern.push('\\');
        }
        pattern.push(one);
    }
    let (pattern, to) = match to {
        "/" => (format!("^{pattern}/?(.*)$"), "/$1".to_owned()),
        to => (format!("^{pattern}(.*)$"), format!("{to}$1")),
    };
    Some(Rewrite::Pattern {
        pattern: PathRegex::new(&pattern).ok()?,
        to: Target::new(&to).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_route_is_taken_away_or_replaced() {
        for (path, to, asked, wanted) in [
            ("/foo", "/", "/foo", "/"),
            ("/foo", "/", "/foo/", "/"),
            ("/foo", "/", "/foo/bar", "/bar"),
            ("/foo", "/bar", "/foo", "/bar"),
            ("/foo", "/bar", "/foo/x", "/bar/x"),
            ("/foo/", "/", "/foo/x", "/x"),
            ("/foo/", "/bar/", "/foo/x/y", "/bar/x/y"),
            ("/a.b(c)", "/", "/a.b(c)/x", "/x"),
            ("/", "/app", "/x", "/appx"),
            ("/", "/app/", "/x", "/app/x"),
        ] {
            let rewrite = rewritten(path, to).unwrap();
            let got = rewrite.apply(asked, false).unwrap();
            assert_eq!(got.as_deref(), Some(wanted), "{path} {to} {asked}");
        }
    }

    #[test]
    fn names_of_cookies_differ_by_route() {
        assert_ne!(cookie_name("a/b"), cookie_name("a/c"));
        assert_eq!(cookie_name("a/b").len(), 32);
    }
}
