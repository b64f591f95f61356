//! The API of Traefik 1.7, for the scripts and checks of its users: same paths, same JSON.
//!
//! A frontend is a route, and its backend is named like it: host and path. A server is a pod. What 1.7 had no field for
//! is at `/api/v1`.

mod health;

use super::api::has_certificate;
use super::reply::{Reply, json_reply, text};
use super::{Admin, unescape_path};
use crate::table::{Backend, HostPattern, PathKind, Protocol, Route, Table};
use http::StatusCode;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::json;
use std::collections::BTreeMap;

/// The one provider: objects are Kubernetes', wherever they come from.
const PROVIDER: &str = "kubernetes";
/// What an Ingress without rules is called. 1.7 had two names for it: this one with one of the two endings.
const DEFAULT: &str = "global-default";
const OF_FRONTEND: &str = "-frontend";
const OF_BACKEND: &str = "-backend";

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct BackendView {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    servers: BTreeMap<String, Server>,
    load_balancer: LoadBalancer,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_conn: Option<MaxConn>,
    #[serde(skip_serializing_if = "Option::is_none")]
    health_check: Option<HealthCheck>,
}

#[derive(Debug, Serialize)]
struct Server {
    url: String,
    weight: u32,
}

#[derive(Debug, Serialize)]
struct LoadBalancer {
    method: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    stickiness: Option<Stickiness>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Stickiness {
    cookie_name: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct MaxConn {
    amount: u32,
    extractor_func: &'static str,
}

#[derive(Debug, Serialize)]
struct HealthCheck {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FrontendView {
    entry_points: Vec<&'static str>,
    backend: String,
    routes: BTreeMap<String, Rule>,
    pass_host_header: bool,
    priority: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    redirect: Option<Redirect>,
}

#[derive(Debug, Serialize)]
struct Rule {
    rule: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Redirect {
    entry_point: &'static str,
    permanent: bool,
}

/// What a route is called, as 1.7 did: host and path.
fn name(route: &Route) -> String {
    let path = route.path.as_ref().map(|pattern| &*pattern.path);
    match (&route.host, path) {
        (HostPattern::Any, None) => DEFAULT.to_owned(),
        (HostPattern::Any, Some(path)) => path.to_owned(),
        (host, path) => format!("{host}{}", path.unwrap_or_default()),
    }
}

/// The routes by their names, each of which is given once. 1.7 could not have two kinds of path beside each other.
fn named(table: &Table) -> BTreeMap<String, &Route> {
    let mut routes: Vec<&Route> = table.routes().map(|route| &**route).collect();
    let kind = |route: &Route| route.path.as_ref().map(|path| path.kind);
    // What has the name in most clusters comes first and keeps it.
    routes.sort_by_key(|route| (kind(route).is_none(), kind(route), route.host.clone(), route.key));
    let mut by_name = BTreeMap::new();
    for route in routes {
        let mut name = name(route);
        if by_name.contains_key(&name) {
            name += match kind(route) {
                Some(PathKind::Exact) => " (exact)",
                Some(PathKind::Prefix) => " (prefix)",
                Some(PathKind::Below) => " (below)",
                Some(PathKind::RegularExpression) => " (regular expression)",
                Some(PathKind::Passthrough) => " (TLS passthrough)",
                None => " (default backend)",
            };
        }
        by_name.insert(name, route);
    }
    by_name
}

fn rules(route: &Route) -> BTreeMap<String, Rule> {
    let mut rules = BTreeMap::new();
    match &route.host {
        HostPattern::Any => {}
        HostPattern::Exact(host) => {
            let rule = format!("Host:{host}");
            rules.insert(host.to_string(), Rule { rule });
        }
        HostPattern::Wildcard(suffix) => {
            let rule = format!("HostRegexp:{{subdomain:[A-Za-z0-9-_]+}}.{suffix}");
            rules.insert(format!("*.{suffix}"), Rule { rule });
        }
    }
    let path = route.path.as_ref().map(|pattern| (&*pattern.path, pattern.kind));
    let any = (rules.is_empty()).then_some(("/", PathKind::Prefix));
    if let Some((path, kind)) = path.or(any) {
        let matcher = match kind {
            PathKind::Prefix | PathKind::Below => "PathPrefix",
            PathKind::Exact => "Path",
            PathKind::RegularExpression => "PathRegexp",
            PathKind::Passthrough => "TLSPassthrough",
        };
        let rule = format!("{matcher}:{path}");
        rules.insert(path.to_owned(), Rule { rule });
    }
    rules
}

fn frontend(table: &Table, route: &Route, backend: String) -> FrontendView {
    let mut entry_points = vec!["http"];
    if has_certificate(table, route) {
        entry_points.push("https");
    }
    FrontendView {
        entry_points,
        backend,
        routes: rules(route),
        pass_host_header: true,
        priority: 0,
        redirect: route.policies.redirects_to_https().then_some(Redirect {
            entry_point: "https",
            permanent: true,
        }),
    }
}

fn backend(backend: &Backend) -> BackendView {
    let scheme = match (backend.tls.is_some(), backend.protocol()) {
        (true, _) => "https",
        (false, Protocol::Http1) => "http",
        (false, Protocol::Http2) => "h2c",
    };
    let mut servers = BTreeMap::new();
    for endpoint in &*backend.endpoints {
        let url = format!("{scheme}://{}", endpoint.address);
        // A pod may be there on two ports.
        let pod = endpoint.pod.as_deref().filter(|pod| !servers.contains_key(*pod));
        let name = pod.map_or_else(|| url.clone(), str::to_owned);
        servers.insert(name, Server { url, weight: 1 });
    }
    let settings = &backend.settings;
    BackendView {
        servers,
        load_balancer: LoadBalancer {
            method: "wrr",
            stickiness: settings.sticky_cookie.as_ref().map(|name| Stickiness {
                cookie_name: name.to_string(),
            }),
        },
        max_conn: settings.max_in_flight.map(|amount| MaxConn {
            amount,
            extractor_func: "request.host",
        }),
        health_check: settings.health_path.as_ref().map(|path| HealthCheck {
            path: path.to_string(),
            interval: settings.health_interval.map(health::go_duration),
        }),
    }
}

/// A route's name as a frontend, or as a backend.
fn with_ending(name: &str, ending: &str) -> String {
    match name {
        DEFAULT => format!("{DEFAULT}{ending}"),
        _ => name.to_owned(),
    }
}

/// What a provider says. Each part is made when it is written, since all of them together take many times as much memory
/// as the answer.
struct Configuration<'a> {
    table: &'a Table,
    routes: BTreeMap<String, &'a Route>,
}

impl<'a> Configuration<'a> {
    fn new(table: &'a Table) -> Self {
        let routes = named(table);
        Self { table, routes }
    }

    fn route(&self, id: &str, ending: &str) -> Option<&'a Route> {
        let name = match id.strip_suffix(ending) {
            Some(DEFAULT) => DEFAULT,
            _ if id == DEFAULT => return None,
            _ => id,
        };
        self.routes.get(name).copied()
    }

    fn backend(&self, id: &str) -> Option<BackendView> {
        let route = self.route(id, OF_BACKEND)?;
        self.table.backend_of(route).map(|known| backend(known))
    }

    fn frontend(&self, id: &str) -> Option<FrontendView> {
        let route = self.route(id, OF_FRONTEND)?;
        Some(frontend(self.table, route, with_ending(id, OF_BACKEND)))
    }

    fn backends(&self) -> impl Iterator<Item = (String, BackendView)> {
        self.routes.iter().filter_map(|(name, route)| {
            let known = self.table.backend_of(route)?;
            Some((with_ending(name, OF_BACKEND), backend(known)))
        })
    }

    fn frontends(&self) -> impl Iterator<Item = (String, FrontendView)> {
        self.routes.iter().map(|(name, route)| {
            let of_backend = with_ending(name, OF_BACKEND);
            (with_ending(name, OF_FRONTEND), frontend(self.table, route, of_backend))
        })
    }
}

impl Serialize for Configuration<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if self.backends().next().is_some() {
            map.serialize_entry("backends", &Each(|| self.backends()))?;
        }
        if !self.routes.is_empty() {
            map.serialize_entry("frontends", &Each(|| self.frontends()))?;
        }
        map.end()
    }
}

/// A map whose entries are made one after the other.
struct Each<F>(F);

impl<F, I, T> Serialize for Each<F>
where
    F: Fn() -> I,
    I: Iterator<Item = (String, T)>,
    T: Serialize,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map((self.0)())
    }
}

/// One thing of a kind, what it has, or one of what it has: `ID`, `ID/servers`, `ID/servers/NAME`. An id has slashes of
/// its own, plain or percent-encoded, so the longest that there is counts.
enum Asked<T> {
    One(T),
    Parts(T),
    Part(T, String),
}

fn find<T>(get: impl Fn(&str) -> Option<T>, rest: &str, parts: &str) -> Option<Asked<T>> {
    let get = |id: &str| get(&unescape_path(id));
    if let Some(one) = get(rest) {
        return Some(Asked::One(one));
    }
    if let Some(one) = rest.strip_suffix(parts).and_then(get) {
        return Some(Asked::Parts(one));
    }
    let within = format!("{parts}/");
    rest.rmatch_indices(&within).find_map(|(at, found)| {
        let (id, part) = (rest.get(..at)?, rest.get(at + found.len()..)?);
        Some(Asked::Part(get(id)?, unescape_path(part)))
    })
}

fn found(value: Option<impl Serialize>) -> Option<Reply> {
    value.map(|value| json_reply(StatusCode::OK, serde_json::to_string(&value)))
}

fn part<T: Serialize, U: Serialize>(
    get: impl Fn(&str) -> Option<T>,
    rest: &str,
    word: &str,
    parts: impl Fn(&T) -> &BTreeMap<String, U>,
) -> Option<Reply> {
    match find(get, rest, word)? {
        Asked::One(one) => found(Some(one)),
        Asked::Parts(one) => found(Some(parts(&one))),
        Asked::Part(one, name) => found(parts(&one).get(&name)),
    }
}

impl Admin {
    /// Answers as Traefik 1.7 would; absent if the path is not one of its paths.
    pub(super) fn answer_traefik(&self, path: &str) -> Option<Reply> {
        let trimmed = path.strip_suffix('/').unwrap_or(path);
        Some(match trimmed {
            "/api" | "/api/providers" => {
                let table = self.shared.tables.load();
                return found(Some(BTreeMap::from([(PROVIDER, Configuration::new(&table))])));
            }
            "/api/version" => {
                let version = json!({
                    "Version": concat!("v", env!("CARGO_PKG_VERSION")), "Codename": "narthex",
                    "startDate": self.identity.started.to_string(),
                });
                return found(Some(version));
            }
            "/health" => return found(Some(self.traefik_health())),
            // Every narthex serves by itself. Balancers that send to the leader alone, as 1.7's were told to, send to all.
            "/cluster/leader" | "/api/cluster/leader" => return found(Some(json!({"leader": true}))),
            _ => {
                let rest = path.strip_prefix("/api/providers/")?;
                self.answer_provider(rest)
                    .unwrap_or_else(|| text(StatusCode::NOT_FOUND, "404 page not found\n"))
            }
        })
    }

    fn answer_provider(&self, path: &str) -> Option<Reply> {
        let rest = path.strip_prefix(PROVIDER)?;
        if !rest.is_empty() && !rest.starts_with('/') {
            return None;
        }
        let table = self.shared.tables.load();
        let all = Configuration::new(&table);
        match rest {
            "" | "/" => found(Some(all)),
            "/backends" | "/backends/" => found(Some(Each(|| all.backends()))),
            "/frontends" | "/frontends/" => found(Some(Each(|| all.frontends()))),
            _ => {
                if let Some(rest) = rest.strip_prefix("/backends/") {
                    return part(|id| all.backend(id), rest, "/servers", |backend| &backend.servers);
                }
                let rest = rest.strip_prefix("/frontends/")?;
                part(|id| all.frontend(id), rest, "/routes", |frontend| &frontend.routes)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_slashes_of_their_own() {
        let all: BTreeMap<String, u8> = [("a.test/", 1), ("a.test/servers", 2), ("a.test/x y", 3)]
            .into_iter()
            .map(|(name, number)| (name.to_owned(), number))
            .collect();
        let find = |rest: &str| match find(|id| all.get(id), rest, "/servers") {
            Some(Asked::One(one)) => format!("{one}"),
            Some(Asked::Parts(one)) => format!("{one}/*"),
            Some(Asked::Part(one, name)) => format!("{one}/{name}"),
            None => "none".to_owned(),
        };
        for (asked, answer) in [
            ("a.test/", "1"),
            ("a.test%2F", "1"),
            ("a.test/servers", "2"),
            ("a.test//servers", "1/*"),
            ("a.test%2f/servers", "1/*"),
            ("a.test/servers/servers", "2/*"),
            ("a.test%2Fservers/servers/pod", "2/pod"),
            ("a.test%2F/servers/http:%2F%2F10.0.0.1:80", "1/http://10.0.0.1:80"),
            ("a.test%2Fx%20y", "3"),
            ("a.test%2Fx+y", "none"),
            ("a.test", "none"),
            ("", "none"),
            ("/servers", "none"),
            ("%", "none"),
        ] {
            assert_eq!(find(asked), answer, "{asked}");
        }
    }
}
