//! Why no rule matches, as far as the table does not say it: what is not served, and what is nearly the same.

use super::question::Url;
use crate::model::nearest::{is_near, nearest};
use crate::model::{Code, Diagnostic, ObjectRef, Report};
use crate::table::{CanonicalPath, HostPattern, ListenerProtocol, PathKind, PathPattern, Route, Says, Scheme, Table};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The group of Gateway API.
const GATEWAY_API: &str = "gateway.networking.k8s.io";
/// How many things are said of each kind.
const EACH: usize = 5;
/// Shorter paths have nothing left if letters of them are wrong; with the slash.
const SHORTEST_PATH: usize = 4;

/// What may be why no rule matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hint {
    /// `other-class` (an object of another class has the host), `left-out` (a rule for it is not served), `not-owned` (the
    /// host is other namespaces'), `path-case`, `near-path`, `near-host`, `other-scheme`, or `no-listener`.
    pub kind: String,
    /// One sentence.
    pub message: String,
    /// The URL that may be meant.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub url: Option<String>,
}

/// A request that no rule matches.
pub(super) struct Asked<'a> {
    pub url: &'a Url,
    pub host: Option<&'a str>,
    pub path: &'a CanonicalPath<'a>,
    pub says: &'a Says<'a>,
}

impl Asked<'_> {
    fn url(&self, https: bool, host: &str, path: &str) -> String {
        let scheme = if https { "https" } else { "http" };
        let query = self.url.target.split_once('?').map_or("", |(_, query)| query);
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{scheme}://{host}{path}{mark}{query}")
    }
}

fn hint(kind: &str, message: String, url: Option<String>) -> Hint {
    Hint {
        kind: kind.to_owned(),
        message,
        url,
    }
}

/// Says if narthex does not listen for the scheme of a URL at all.
pub(super) fn not_listening(table: &Table, url: &Url) -> Option<Hint> {
    let serves = table.listeners().any(|one| match one.protocol() {
        ListenerProtocol::Http => !url.tls,
        ListenerProtocol::Https | ListenerProtocol::Tls => url.tls,
        // Whatever is sent there, it is not read as HTTP.
        ListenerProtocol::Tcp | ListenerProtocol::Udp => false,
    });
    if serves {
        return None;
    }
    let message = match url.tls {
        true => "narthex does not listen for HTTPS: only a balancer before it can take https:// for it",
        false => "narthex does not listen for plain HTTP: only a balancer before it can take http:// for it",
    };
    Some(hint("no-listener", message.to_owned(), None))
}

/// Looks for reasons why no rule matches, the most probable first.
pub(super) fn look(table: &Table, report: &Report, asked: &Asked<'_>) -> Vec<Hint> {
    let unserved = asked.host.into_iter().flat_map(|host| unserved(report, host));
    let mut unserved: Vec<(Fit, Hint)> = unserved.collect();
    unserved.sort_by_key(|(fit, _)| *fit);
    let is_named = unserved.first().is_some_and(|(fit, _)| *fit == Fit::Named);
    let mut hints: Vec<Hint> = unserved.into_iter().take(EACH).map(|(_, hint)| hint).collect();
    paths(table, asked, &mut hints);
    // What is known of the very host makes another one improbable.
    if let Some(host) = asked.host.filter(|_| !is_named) {
        hints.extend(near_host(table, asked, host));
    }
    hints
}

/// How a rule is for a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    /// It names the host, or a wildcard that has it.
    Named,
    /// It is for any host, which says nothing of this one.
    Any,
}

/// What is said of objects that are for the host and are not served, or not for this host.
fn unserved<'r>(report: &'r Report, host: &'r str) -> impl Iterator<Item = (Fit, Hint)> + 'r {
    let fitting = report.hosts_of.iter().filter_map(move |(object, hosts)| {
        let rules = (0..).zip(hosts.iter());
        let rules: Vec<(usize, Fit)> = rules.filter_map(|(at, other)| Some((at, fit(other, host)?))).collect();
        (!rules.is_empty()).then(|| (object, report.objects.get(object), rules))
    });
    fitting.flat_map(move |(object, said, rules)| {
        let said = said.into_iter().flatten().filter(|one| one.code.leaves_out());
        said.filter_map(move |one| {
            let fit = concerns(object, one, &rules)?;
            let is_for = match fit {
                Fit::Named => format!("names {host}"),
                Fit::Any => "is for any host".to_owned(),
            };
            let message = match one.code {
                Code::OtherClass | Code::ClassMisspelled => format!("{object} {is_for}, but is {}", one.message),
                _ => format!("{object} {is_for}, but {}: {}", one.field, one.message),
            };
            let kind = match one.code {
                Code::OtherClass | Code::ClassMisspelled => "other-class",
                Code::HostNotOwned | Code::HostAlreadyClaimed => "not-owned",
                _ => "left-out",
            };
            Some((fit, hint(kind, message, None)))
        })
    })
}

/// How a host, as an object writes it, is for the one that was asked for; absent if it is not.
fn fit(written: &str, host: &str) -> Option<Fit> {
    let written = written.trim_end_matches('.');
    if written.is_empty() {
        return Some(Fit::Any);
    }
    let is_named = match written.strip_prefix("*.") {
        Some(suffix) => host
            .split_once('.')
            .is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(suffix)),
        None => written.eq_ignore_ascii_case(host),
    };
    is_named.then_some(Fit::Named)
}

/// How what is said concerns the host: by one of these rules, or by the object as a whole. Absent if it is about others.
fn concerns(object: &ObjectRef, said: &Diagnostic, rules: &[(usize, Fit)]) -> Option<Fit> {
    let rule = said.field.strip_prefix("spec.rules[");
    let number = rule.and_then(|rest| rest.split(']').next()?.parse::<usize>().ok());
    // Routes of Gateway API have rules too, but their hosts are not those of the rules.
    let number = number.filter(|_| object.kind.group() != GATEWAY_API);
    let concerned = rules.iter().filter(|(at, _)| number.is_none_or(|number| number == *at));
    concerned.map(|(_, fit)| *fit).min()
}

/// Says if the TLS connections for a host are passed on, where plain HTTP is refused.
pub(super) fn passed_on(table: &Table, asked: &Asked<'_>) -> Option<Hint> {
    let is_passed = |route: &&Arc<Route>| {
        route.path.as_ref() == Some(&PathPattern::passthrough()) && route.host.matches(asked.host)
    };
    let host = asked.host.filter(|_| !asked.url.tls)?;
    let route = table.routes().find(is_passed)?;
    let object = &route.origin.object;
    let message = format!("{object} has the TLS connections for {host} passed on as they come: use https://");
    Some(hint(
        "other-scheme",
        message,
        Some(asked.url(true, host, asked.path.form(false))),
    ))
}

/// Rules of the host that have nearly this path, or this path for the other scheme.
fn paths(table: &Table, asked: &Asked<'_>, hints: &mut Vec<Hint>) {
    let mut found: BTreeSet<(u8, String, String)> = BTreeSet::new();
    let host = asked.host.unwrap_or("*");
    let mut of_other_scheme = None;
    for route in table.routes().filter(|route| route.host.matches(asked.host)) {
        let Some(pattern) = &route.path else { continue };
        let text = asked.path.form(route.keep_slashes);
        if pattern.matches(text) {
            if !route.policies.schemes.include(asked.says.scheme) {
                of_other_scheme = Some(route);
            }
        } else if let Some((rank, meant)) = nearly(pattern, text) {
            found.insert((rank, meant, route.describe()));
        }
    }
    if let Some(route) = of_other_scheme {
        let (served, https) = match asked.says.scheme {
            Scheme::Https => ("plain HTTP", false),
            Scheme::Http | Scheme::HttpsToProxy => ("HTTPS", true),
        };
        let message = format!(
            "{} of {} is served over {served} only",
            route.describe(),
            route.origin.object
        );
        let url = asked.url(https, host, asked.path.form(false));
        hints.push(hint("other-scheme", message, asked.host.map(|_| url)));
    }
    for (rank, meant, rule) in found.into_iter().take(EACH) {
        let url = asked.host.map(|host| asked.url(asked.url.tls, host, &meant));
        hints.push(match rank {
            0 => hint(
                "path-case",
                format!("there is a rule for {rule}: paths with other capital letters are other paths"),
                url,
            ),
            _ => hint(
                "near-path",
                format!("there is a rule for {rule}: did you mean {meant}?"),
                url,
            ),
        });
    }
}

/// The path that was meant, if a pattern is for nearly the one that was asked for: 0 if only capital letters differ, else 1.
fn nearly(pattern: &PathPattern, asked: &str) -> Option<(u8, String)> {
    let key = match pattern.kind {
        PathKind::Exact | PathKind::Prefix | PathKind::Below => pattern.key(),
        PathKind::RegularExpression | PathKind::Passthrough => return None,
    };
    // Of a prefix, only as many elements as it has are compared.
    let elements = key.matches('/').count();
    let end = match pattern.kind {
        PathKind::Exact => asked.len(),
        _ => asked.match_indices('/').nth(elements).map_or(asked.len(), |(at, _)| at),
    };
    let (begin, rest) = asked.split_at_checked(end)?;
    let meant = format!("{key}{rest}");
    if begin.eq_ignore_ascii_case(key) {
        return (begin != key).then_some((0, meant));
    }
    (key.len() >= SHORTEST_PATH && is_near(begin, key)).then_some((1, meant))
}

/// The host that was meant, if no rule names the one that was asked for.
fn near_host(table: &Table, asked: &Asked<'_>, host: &str) -> Option<Hint> {
    let named = |route: &Route| route.host != HostPattern::Any && route.host.matches(Some(host));
    if table.routes().any(|route| named(route)) {
        return None;
    }
    let (mut names, mut suffixes): (BTreeSet<&str>, BTreeSet<&str>) = Default::default();
    for route in table.routes() {
        match &route.host {
            HostPattern::Exact(name) => names.insert(name),
            HostPattern::Wildcard(suffix) => suffixes.insert(suffix),
            HostPattern::Any => continue,
        };
    }
    let near = |word: &str, known: &BTreeSet<&'_ str>| {
        // Comparing takes long where there are many.
        let known = known.iter().filter(|one| one.len().abs_diff(word.len()) <= 2).copied();
        nearest(word, known).map(str::to_owned)
    };
    // A wildcard stands for any first label, so only what follows can be wrong.
    let by_wildcard = || {
        let (label, rest) = host.split_once('.')?;
        Some(format!("{label}.{}", near(rest, &suffixes)?))
    };
    let meant = near(host, &names).or_else(by_wildcard)?;
    let url = asked.url(asked.url.tls, &meant, asked.path.form(false));
    let message = format!("no rule names {host}, but there is one for {meant}: did you mean that?");
    Some(hint("near-host", message, Some(url)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Kind;
    use crate::table::{Destination, Listener, Serves};

    #[test]
    fn a_scheme_that_nobody_listens_for_is_said() {
        let url = |tls| Url {
            tls,
            bare: false,
            host: None,
            target: "/".to_owned(),
        };
        let mut table = Table::default();
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 80));
        table.set_listener(0, Some(Arc::new(Listener::http(0, address))));
        assert_eq!(not_listening(&table, &url(true)).unwrap().kind, "no-listener");
        assert_eq!(not_listening(&table, &url(false)), None);
        let mut raw = Table::default();
        let tcp = Listener {
            serves: Serves::Tcp(Destination::Nowhere),
            ..Listener::http(0, address)
        };
        raw.set_listener(0, Some(Arc::new(tcp)));
        for tls in [false, true] {
            assert_eq!(not_listening(&raw, &url(tls)).unwrap().kind, "no-listener");
        }
    }

    #[test]
    fn rules_of_gateway_api_are_not_told_apart_by_their_hosts() {
        let said = |kind: Kind| {
            let object = ObjectRef::new(kind, "default", "x");
            let at = |field: &str| {
                let said = Diagnostic::new(Code::PathConflict, &object, field, "");
                concerns(&object, &said, &[(0, Fit::Named), (2, Fit::Any)])
            };
            [
                at("spec"),
                at("spec.rules[0].x"),
                at("spec.rules[1].x"),
                at("spec.rules[2].x"),
            ]
        };
        let (named, any) = (Some(Fit::Named), Some(Fit::Any));
        assert_eq!(said(Kind::Ingress), [named, named, None, any]);
        let of_gateways = Kind::ALL.into_iter().filter(|kind| kind.group() == GATEWAY_API);
        let of_gateways: Vec<Kind> = of_gateways.collect();
        assert!(of_gateways.contains(&Kind::HTTPRoute));
        for kind in of_gateways {
            assert_eq!(said(kind), [named; 4], "{kind}");
        }
    }

    #[test]
    fn paths_that_are_nearly_what_was_asked_for() {
        let pattern = |kind, path: &str| PathPattern {
            kind,
            path: path.into(),
        };
        for (kind, path, asked, wanted) in [
            (PathKind::Prefix, "/api", "/API/users", Some((0, "/api/users"))),
            (PathKind::Prefix, "/api", "/ap/users", Some((1, "/api/users"))),
            (
                PathKind::Prefix,
                "/api/v1",
                "/api/v2x/users",
                Some((1, "/api/v1/users")),
            ),
            (PathKind::Prefix, "/a", "/b", None),
            (PathKind::Prefix, "/static", "/api", None),
            (PathKind::Exact, "/healthz", "/healthz/", Some((1, "/healthz"))),
            (PathKind::Exact, "/Login", "/login", Some((0, "/Login"))),
            (PathKind::Exact, "/login", "/login/deep/down", None),
        ] {
            let found = nearly(&pattern(kind, path), asked);
            let found = found.as_ref().map(|(rank, meant)| (*rank, meant.as_str()));
            assert_eq!(found, wanted, "{path} {asked}");
        }
    }

    #[test]
    fn hosts_as_objects_write_them() {
        for (written, host, wanted) in [
            ("Shop.Example.com", "shop.example.com", Some(Fit::Named)),
            ("*.example.com", "shop.example.com", Some(Fit::Named)),
            ("*.example.com", "example.com", None),
            ("", "shop.example.com", Some(Fit::Any)),
            ("example.com", "shop.example.com", None),
        ] {
            assert_eq!(fit(written, host), wanted, "{written} {host}");
        }
    }
}
