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
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;

/// The one provider: objects are Kubernetes', wherever they come from.
const PROVIDER: &str = "kubernetes";

/// What a provider says.
#[derive(Debug, Default, Serialize)]
struct Configuration {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    backends: BTreeMap<String, BackendView>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    frontends: BTreeMap<String, FrontendView>,
}

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
        (HostPattern::Any, None) => "global-default".to_owned(),
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
            PathKind::Prefix => "PathPrefix",
            PathKind::Exact => "Path",
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

/// A route's frontend and backend. 1.7 had two names for that of an Ingress without rules.
fn names(name: String) -> (String, String) {
    match name.as_str() {
        "global-default" => (format!("{name}-frontend"), format!("{name}-backend")),
        _ => (name.clone(), name),
    }
}

fn configuration(table: &Table) -> Configuration {
    let mut all = Configuration::default();
    for (name, route) in named(table) {
        let (of_frontend, of_backend) = names(name);
        if let Some(known) = table.backend_of(route) {
            all.backends.insert(of_backend.clone(), backend(known));
        }
        all.frontends.insert(of_frontend, frontend(table, route, of_backend));
    }
    all
}

/// One thing of a kind, what it has, or one of what it has: `ID`, `ID/servers`, `ID/servers/NAME`. An id has slashes of
/// its own, plain or percent-encoded, so the longest that there is counts.
enum Asked<'a, T> {
    One(&'a T),
    Parts(&'a T),
    Part(&'a T, String),
}

fn find<'a, T>(all: &'a BTreeMap<String, T>, rest: &str, parts: &str) -> Option<Asked<'a, T>> {
    let get = |id: &str| all.get(&unescape_path(id));
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
    all: &BTreeMap<String, T>,
    rest: &str,
    word: &str,
    parts: impl Fn(&T) -> &BTreeMap<String, U>,
) -> Option<Reply> {
    match find(all, rest, word)? {
        Asked::One(one) => found(Some(one)),
        Asked::Parts(one) => found(Some(parts(one))),
        Asked::Part(one, name) => found(parts(one).get(&name)),
    }
}

impl Admin {
    /// Answers as Traefik 1.7 would; absent if the path is not one of its paths.
    pub(super) fn answer_traefik(&self, path: &str) -> Option<Reply> {
        let trimmed = path.strip_suffix('/').unwrap_or(path);
        Some(match trimmed {
            "/api" | "/api/providers" => {
                let all = configuration(&self.shared.tables.load());
                return found(Some(BTreeMap::from([(PROVIDER, all)])));
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
        let all = configuration(&self.shared.tables.load());
        match rest {
            "" | "/" => found(Some(all)),
            "/backends" | "/backends/" => found(Some(all.backends)),
            "/frontends" | "/frontends/" => found(Some(all.frontends)),
            _ => {
                if let Some(rest) = rest.strip_prefix("/backends/") {
                    return part(&all.backends, rest, "/servers", |backend| &backend.servers);
                }
                let rest = rest.strip_prefix("/frontends/")?;
                part(&all.frontends, rest, "/routes", |frontend| &frontend.routes)
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
        let find = |rest: &str| match find(&all, rest, "/servers") {
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
