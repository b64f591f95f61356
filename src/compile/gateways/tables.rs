//! What the plan comes to in the table.

use super::attach::{ListenerPlan, Plan, PortKey, RoutePlan};
use super::filters::Filters;
use super::rules::{MatchPlan, RulePlan, To};
use crate::compile::State;
use crate::dialect::reading::BackendKey;
use crate::model::Origin;
use crate::table::gateways::ByHost;
use crate::table::route::MAX_SHADOWS;
use crate::table::{
    Answer, Before, Destination, GatewayListener, GatewayPort, HostPattern, HostSet, HostTable, Listener, ListenerId,
    ListenerProtocol, Mirror, Names, PathKind, PathPattern, Pattern, Patterns, Policies, Route, Serves, Shadow, Shares,
    TlsMode, route_key,
};
use http::StatusCode;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// A listener that is there because of Gateways.
pub(super) fn listener(
    id: ListenerId,
    address: SocketAddr,
    socket: ListenerProtocol,
    port: &Arc<GatewayPort>,
) -> Listener {
    let hosts = HostSet::Gateways(port.clone());
    let serves = match socket {
        ListenerProtocol::Http => Serves::Http(hosts),
        ListenerProtocol::Https | ListenerProtocol::Tls => Serves::Tls(Arc::new(Names {
            any: Some(TlsMode::Terminate(hosts)),
            ..Names::default()
        })),
        ListenerProtocol::Tcp | ListenerProtocol::Udp => Serves::Tcp(connections(port)),
    };
    Listener { id, address, serves }
}

/// Where the connections of a port go on which no name is asked for: by the one route there, so that they are counted as its.
fn connections(port: &GatewayPort) -> Destination {
    let route = port.listener(None).and_then(|listener| listener.stream(None));
    match route {
        None => Destination::Nowhere,
        Some(route) if matches!(route.to, Destination::Shares(_)) => route.to.clone(),
        Some(route) => Destination::Shares(Arc::new(Shares([(route.clone(), 1)].into()))),
    }
}

/// What becomes of what no backend is to have.
fn refused(refusal: Option<StatusCode>) -> Destination {
    refusal.map_or(Destination::Nowhere, answer)
}

/// An answer of narthex's own.
fn answer(status: StatusCode) -> Destination {
    Destination::Answer(Arc::new(Answer { status, location: None }))
}

impl State {
    /// The tables of all ports. The backends of the plan are there by now.
    pub(super) fn gateway_tables(&self, plan: &Plan) -> BTreeMap<PortKey, Arc<GatewayPort>> {
        let mut ports = BTreeMap::new();
        for (key, port) in &plan.ports {
            let (owner, number) = key;
            let mut table = GatewayPort {
                then_ingresses: owner.is_none(),
                ..GatewayPort::default()
            };
            for listener in &port.listeners {
                let of_listener = self.gateway_listener(listener, *number, plan);
                table.passes_some |= of_listener.passes_tls();
                table.listeners.insert(listener.hostname.clone(), of_listener);
            }
            ports.insert(key.clone(), Arc::new(table));
        }
        ports
    }

    fn gateway_listener(&self, listener: &ListenerPlan, port: u16, plan: &Plan) -> GatewayListener {
        let mut by_host: BTreeMap<HostPattern, Vec<Ranked>> = BTreeMap::new();
        for route in listener.routes.iter().filter_map(|index| plan.routes.get(*index)) {
            let whose = (route.object.kind, &*route.object.namespace);
            let hosts = route.hosts.iter();
            let hosts = hosts.filter(|host| self.serves_host(whose, &listener.hostname, host).is_ok());
            for rule in &route.rules {
                // On each listener the same, whatever the host and the match.
                let mut made = None;
                for one in &rule.matches {
                    let own = (port, listener.certificates.is_some());
                    let lead = || self.lead(rule, own, route.refusal);
                    let (to, policies) = made.get_or_insert_with(lead).clone();
                    for host in hosts.clone() {
                        let entry = make(&listener.name, route, (host, one), (to.clone(), policies.clone()));
                        by_host.entry(host.clone()).or_default().push((one.lengths, entry));
                    }
                }
            }
        }
        let mut table = GatewayListener {
            name: listener.name.clone(),
            namespace: listener.namespace.clone(),
            hostname: listener.hostname.clone(),
            protocol: listener.protocol,
            certificates: listener.certificates.clone(),
            hosts: ByHost::default(),
        };
        for (host, routes) in by_host {
            *table.hosts.entry(&host) = host_table(routes);
        }
        table
    }

    /// Where the requests of a rule go, and by which steps, on a port with TLS or without. Those that go nowhere get `refusal`,
    /// and connections are closed.
    fn lead(&self, rule: &RulePlan, port: (u16, bool), refusal: Option<StatusCode>) -> (Lead, Arc<Policies>) {
        let steps = |filters: &Filters| Arc::new(filters.policies(port, self.mirrors(filters)));
        let plain = Arc::<Policies>::default();
        let shares = match &rule.to {
            To::Error => return (Lead::To(refused(refusal)), plain),
            To::Redirect(filters) => {
                return (Lead::To(refused(refusal)), steps(filters));
            }
            To::Shares(shares) => shares,
        };
        match &**shares {
            [(Some((key, filters)), weight)] if *weight > 0 => {
                (Lead::To(Destination::Backend(self.backend_id(key))), steps(filters))
            }
            shares if shares.iter().all(|(share, weight)| share.is_none() || *weight == 0) => {
                (Lead::To(refused(refusal)), plain)
            }
            shares => {
                let share = |(share, weight): &(Option<(BackendKey, Filters)>, u32)| {
                    let to = match share {
                        Some((key, filters)) => (Destination::Backend(self.backend_id(key)), steps(filters)),
                        None => (refused(refusal), plain.clone()),
                    };
                    (to, *weight)
                };
                (Lead::Shares(shares.iter().map(share).collect()), plain)
            }
        }
    }

    fn mirrors(&self, filters: &Filters) -> Vec<Before> {
        let mirrors = filters.mirrors.iter().map(|(key, share)| {
            Before::Mirror(Arc::new(Mirror {
                to: self.backend_id(key),
                target: None,
                host: None,
                body: true,
                share: *share,
            }))
        });
        mirrors.collect()
    }
}

/// Where a rule leads.
#[derive(Clone)]
enum Lead {
    To(Destination),
    Shares(Arc<[ShareLead]>),
}

/// Where a share leads and by which steps, and its weight.
type ShareLead = ((Destination, Arc<Policies>), u32);

/// The route for a host and a match of a rule.
fn make(
    listener: &Arc<str>,
    route: &RoutePlan,
    (host, one): (&HostPattern, &MatchPlan),
    (lead, policies): (Lead, Arc<Policies>),
) -> Route {
    let mut made = Route {
        key: route_key(Some(listener), host, Some(&one.path), one.when.as_deref()),
        origin: Origin {
            object: route.object.clone(),
            field: one.field,
        },
        seniority: route.seniority,
        host: host.clone(),
        path: Some(one.path.clone()),
        keep_slashes: false,
        when: one.when.clone(),
        to: Destination::Nowhere,
        policies,
        shadows: Box::default(),
    };
    match lead {
        Lead::To(to) => made.to = to,
        Lead::Shares(shares) => {
            let share = |((to, policies), weight): &ShareLead| {
                let route = Route {
                    to: to.clone(),
                    policies: policies.clone(),
                    ..made.clone()
                };
                (Arc::new(route), *weight)
            };
            let shares = shares.iter().map(share).collect();
            made.to = Destination::Shares(Arc::new(Shares(shares)));
        }
    }
    made
}

/// See [`MatchPlan::lengths`].
type Lengths = (usize, usize);

type Ranked = (Lengths, Route);

/// Puts the routes of a host in order: by conditions, then by age.
fn host_table(mut routes: Vec<Ranked>) -> HostTable {
    let conditions = |route: &Route| Reverse(route.when.as_deref().map_or((false, 0, 0), |when| when.count()));
    routes.sort_by(|(_, one), (_, other)| conditions(one).cmp(&conditions(other)).then_with(|| one.cmp_age(other)));
    let mut by_path: BTreeMap<(PathKind, Arc<str>), (Lengths, Vec<Route>)> = BTreeMap::new();
    for (lengths, route) in routes {
        if let Some(path) = &route.path {
            let (known, routes) = by_path.entry((path.kind, path.path.clone())).or_default();
            *known = lengths;
            routes.push(route);
        }
    }
    let mut table = HostTable::default();
    let mut expressions: Vec<(Lengths, Arc<Route>)> = Vec::new();
    for ((kind, path), (lengths, routes)) in by_path {
        let (narrow, plain): (Vec<_>, Vec<_>) = routes.into_iter().partition(|route| route.when.is_some());
        let narrow: Vec<Arc<Route>> = narrow.into_iter().map(Arc::new).collect();
        // What comes behind the first without conditions is never asked.
        let mut plain = plain.into_iter();
        let plain = plain.next().map(|mut first| {
            let shadow = |lost: Route| Shadow {
                origin: lost.origin,
                yields: None,
            };
            first.shadows = plain.take(MAX_SHADOWS).map(shadow).collect();
            Arc::new(first)
        });
        if kind == PathKind::Passthrough {
            table.passes = plain;
            continue;
        }
        if kind == PathKind::RegularExpression {
            expressions.extend(narrow.into_iter().chain(plain).map(|route| (lengths, route)));
            continue;
        }
        let path = PathPattern { kind, path };
        table.paths.set(&path, plain);
        if !narrow.is_empty() {
            table.paths.set_narrow(&path, narrow);
        }
    }
    // The longest text comes first; of one text its routes stay in their order.
    expressions.sort_by_key(|(lengths, _)| Reverse(*lengths));
    let patterns = expressions.into_iter().filter_map(|(_, route)| {
        let text = route.path.as_ref().map(|path| path.path.clone()).unwrap_or_default();
        Pattern::whole(&text, route).ok()
    });
    table.patterns = Patterns::with_redirects(Vec::new(), Vec::new(), patterns.collect(), Vec::new());
    table
}
