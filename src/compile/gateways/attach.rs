//! Which routes are served by which listeners, and what is to be said of all objects.

use super::addresses::Given;
use super::listeners::{Seen, SeenListener, Why, hostname, intersects};
use super::rules::RulePlan;
use super::statuses;
use crate::compile::State;
use crate::dialect::gateway::{GROUP, GatewayRoute, ParentRef};
use crate::dialect::reading::BackendKey;
use crate::model::{Code, Diagnostic, Kind, ObjectRef, Revision, Seniority};
use crate::table::{CertificateSet, DesiredStatus, HostPattern, ListenerProtocol};
use http::StatusCode;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

/// What all objects of Gateway API come to.
pub(super) struct Plan {
    pub ports: BTreeMap<PortKey, PortPlan>,
    pub routes: Vec<RoutePlan>,
    pub findings: BTreeMap<ObjectRef, Vec<Diagnostic>>,
    pub named: BTreeMap<ObjectRef, Vec<(String, BackendKey)>>,
    pub statuses: BTreeMap<ObjectRef, DesiredStatus>,
    pub given: Given,
    /// Whether there are HTTPRoutes and GRPCRoutes.
    has_both_kinds: bool,
}

/// A port of the addresses that Gateways share, or of those that one of them has for itself.
pub(super) type PortKey = (Option<ObjectRef>, u16);

/// What is served on a port.
pub(super) struct PortPlan {
    /// What its sockets are for.
    socket: ListenerProtocol,
    /// Where it is listened on for Gateways alone.
    addresses: Vec<SocketAddr>,
    pub listeners: Vec<ListenerPlan>,
}

pub(super) struct ListenerPlan {
    /// `namespace/gateway/listener`.
    pub name: Arc<str>,
    /// The namespace of the Gateway.
    pub namespace: Arc<str>,
    pub hostname: HostPattern,
    pub protocol: ListenerProtocol,
    /// What its clients are shown, where TLS ends there.
    pub certificates: Option<Arc<CertificateSet>>,
    /// The places of its routes in the plan.
    pub routes: Vec<usize>,
}

/// A route as the tables are made of it.
pub(super) struct RoutePlan {
    pub object: ObjectRef,
    pub seniority: Seniority,
    /// Whether its listeners count it: one that has nothing to serve is not accepted, and answers 500 all the same.
    is_accepted: bool,
    /// What requests for a rule without a usable backend get; absent for connections, which are closed.
    pub refusal: Option<StatusCode>,
    /// Its own hostnames.
    pub hosts: Vec<HostPattern>,
    pub rules: Vec<RulePlan>,
}

/// What becomes of a route at one of its parents.
pub(super) struct AtParent<'r> {
    pub parent: &'r ParentRef,
    /// Why it is not served there.
    pub refused: Option<Why>,
}

fn desired(revision: &Revision, fields: Value) -> DesiredStatus {
    DesiredStatus {
        uid: revision.uid.clone(),
        fields,
    }
}

impl Plan {
    /// The addresses that are listened on for Gateways alone, and what their sockets are for.
    pub fn addresses_of(&self, port: &PortKey) -> impl Iterator<Item = (SocketAddr, ListenerProtocol)> {
        let port = self.ports.get(port).into_iter();
        port.flat_map(|port| port.addresses.iter().map(|address| (*address, port.socket)))
    }
}

impl State {
    /// Makes the plan from all objects.
    pub(super) fn plan_gateways(&self) -> Plan {
        let mut said = Vec::new();
        let mut gateways = self.see_gateways(&mut said);
        let mut plan = Plan {
            ports: BTreeMap::new(),
            routes: Vec::new(),
            findings: BTreeMap::new(),
            named: BTreeMap::new(),
            statuses: BTreeMap::new(),
            given: Given::new(),
            has_both_kinds: false,
        };
        let mut attached: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
        // The oldest first: a later one of another kind may have to yield to it.
        let mut routes: Vec<&GatewayRoute> = self.gateways.routes().collect();
        let age = |route: &&GatewayRoute| {
            (
                route.meta.created,
                route.meta.namespace.clone(),
                route.meta.name.clone(),
            )
        };
        routes.sort_by_cached_key(age);
        let has = |kind| routes.iter().any(|route| route.kind == kind);
        plan.has_both_kinds = has(Kind::HTTPRoute) && has(Kind::GRPCRoute);
        for route in routes {
            self.plan_route(route, &gateways, &mut plan, &mut attached, &mut said);
        }
        for ((gateway, listener), routes) in &attached {
            if let Some(listener) = gateways
                .get_mut(*gateway)
                .and_then(|seen| seen.listeners.get_mut(*listener))
            {
                let counts = |place: &&usize| plan.routes.get(**place).is_some_and(|route| route.is_accepted);
                listener.attached = routes.iter().filter(counts).count();
            }
        }
        for (place, seen) in gateways.iter().enumerate() {
            let status = desired(&seen.gateway.revision, statuses::gateway(seen));
            plan.statuses.insert(seen.object.clone(), status);
            if !seen.is_served() {
                continue;
            }
            if let own @ [_, ..] = seen.place.own() {
                plan.given.insert(seen.object.clone(), own.to_vec());
            }
            for listener in &seen.listeners {
                let routes = attached.remove(&(place, listener.index)).unwrap_or_default();
                self.plan_listener(seen, listener, routes, &mut plan);
            }
        }
        for class in self.gateways.classes() {
            if *class.controller == *crate::dialect::gateway::GATEWAY_CONTROLLER {
                let object = ObjectRef::new(Kind::GatewayClass, "", class.meta.name.clone());
                if let Some((_, why)) = super::listeners::class_refused(class) {
                    said.push(Diagnostic::new(
                        Code::UnsupportedValue,
                        &object,
                        "spec.parametersRef",
                        why,
                    ));
                }
                let status = statuses::class(class, !self.options.gateway_addresses.is_empty());
                plan.statuses.insert(object, desired(&class.revision, status));
            }
        }
        for diagnostic in said {
            if let Some(object) = diagnostic.object.clone() {
                plan.findings.entry(object).or_default().push(diagnostic);
            }
        }
        plan
    }

    fn plan_listener(&self, seen: &Seen<'_>, listener: &SeenListener<'_>, routes: Vec<usize>, plan: &mut Plan) {
        let (Some(protocol), Some(hostname)) = (listener.protocol, &listener.hostname) else {
            return;
        };
        if !listener.is_served() {
            return;
        }
        let own = seen.place.own();
        let owner = (!own.is_empty()).then(|| seen.object.clone());
        let port = plan.ports.entry((owner, listener.port)).or_insert_with(|| PortPlan {
            socket: protocol.socket(),
            addresses: match own {
                [] => self.gateway_addresses(listener.port, protocol),
                own => own.iter().map(|ip| SocketAddr::new(*ip, listener.port)).collect(),
            },
            listeners: Vec::new(),
        });
        port.listeners.push(ListenerPlan {
            name: format!("{}/{}", seen.object.path(), listener.listener.name).into(),
            namespace: seen.object.namespace.clone(),
            hostname: hostname.clone(),
            protocol,
            certificates: listener.certificates.clone(),
            routes,
        });
    }

    fn plan_route(
        &self,
        route: &GatewayRoute,
        gateways: &[Seen<'_>],
        plan: &mut Plan,
        attached: &mut BTreeMap<(usize, usize), Vec<usize>>,
        said: &mut Vec<Diagnostic>,
    ) {
        let object = ObjectRef::new(route.kind, route.meta.namespace.clone(), route.meta.name.clone());
        let mut hosts = Vec::new();
        let mut findings = Vec::new();
        for (index, text) in route.hostnames.iter().enumerate() {
            match hostname(text) {
                Ok(host) if hosts.contains(&host) => {}
                Ok(host) => hosts.push(host),
                Err(why) => {
                    let field = format!("spec.hostnames[{index}]");
                    findings.push(Diagnostic::new(
                        Code::InvalidHost,
                        &object,
                        field,
                        format!("{why}, so it is left out"),
                    ));
                }
            }
        }
        if route.hostnames.is_empty() {
            hosts.push(HostPattern::Any);
        }
        if !route.parents.is_empty() && route.parents.iter().all(is_of_mesh) {
            // It is another controller's.
            return;
        }
        let all = route.parents.iter();
        let all: Vec<_> = all
            .map(|parent| (parent, find_parent(route, parent, gateways)))
            .collect();
        let rules = if all.iter().any(|(_, found)| found.is_ok()) {
            self.plan_rules(route)
        } else {
            Vec::new()
        };
        // A route all of whose rules are unfit is not accepted.
        let is_unfit = !rules.is_empty() && rules.iter().all(|rule| !rule.unfit.is_empty());
        let place = plan.routes.len();
        let mut parents = Vec::new();
        for (index, (parent, found)) in all.into_iter().enumerate() {
            let field = format!("spec.parentRefs[{index}]");
            let found = match found {
                Ok(found) => found,
                Err(Unowned::NotYet(why)) => {
                    findings.push(Diagnostic::new(Code::NotYet, &object, field, why));
                    continue;
                }
                Err(Unowned::Others) => {
                    let namespace = parent.namespace.as_deref().unwrap_or(&route.meta.namespace);
                    if !self.has_gateway(namespace, &parent.name) {
                        let why = format!("there is no Gateway \"{}\" in namespace \"{namespace}\"", parent.name);
                        findings.push(Diagnostic::new(Code::RouteNotAttached, &object, field, why));
                    }
                    continue;
                }
            };
            let Some(seen) = gateways.get(found) else { continue };
            self.report_owners(&object, &hosts, seen, &mut findings);
            let listeners = self.attach(route, &hosts, parent, seen);
            let listeners = match plan.has_both_kinds {
                true => listeners.and_then(|all| without_rivals((route, &hosts), (found, seen, all), (plan, attached))),
                false => listeners,
            };
            let refused = match listeners {
                Ok(_) if is_unfit => {
                    let why = format!("none of its rules can be served, and {}", route.refused("them"));
                    Some(("UnsupportedValue", why))
                }
                Ok(_) => None,
                Err(ref why) => Some(why.clone()),
            };
            for listener in listeners.iter().flatten() {
                // Two references may lead to the same listener.
                let routes = attached.entry((found, *listener)).or_default();
                if routes.last() != Some(&place) {
                    routes.push(place);
                }
            }
            if let Err((_, why)) = &listeners {
                findings.push(Diagnostic::new(Code::RouteNotAttached, &object, field, why));
            }
            parents.push(AtParent { parent, refused });
        }
        if parents.is_empty() {
            // It is nobody's, or another controller's, and no concern of ours.
            said.extend(findings);
            return;
        }
        let share = match route.refusal() {
            Some(status) => format!("its share of requests gets {}", status.as_u16()),
            None => "its share of connections is closed".to_owned(),
        };
        for (index, rule) in rules.iter().enumerate() {
            for (field, why) in &rule.unfit {
                let message = format!("{why}; {}", route.refused("this rule"));
                let field = format!("spec.rules[{index}].{field}");
                findings.push(Diagnostic::new(Code::UnsupportedValue, &object, field, message));
            }
            for (field, (_, why, code)) in &rule.unresolved {
                let effect = if field.contains("requestMirror") {
                    "no copies are made"
                } else {
                    share.as_str()
                };
                let field = format!("spec.rules[{index}].{field}");
                findings.push(Diagnostic::new(*code, &object, field, format!("{why}; {effect}")));
            }
            let named = rule.named.iter();
            let named = named.map(|(field, key)| (format!("spec.rules[{index}].{field}"), key.clone()));
            plan.named.entry(object.clone()).or_default().extend(named);
        }
        if route.uses_default_gateways {
            let why = "narthex knows no default Gateways";
            findings.push(Diagnostic::new(Code::NotYet, &object, "spec.useDefaultGateways", why));
        }
        let status = statuses::route(route, &parents, &rules);
        plan.statuses.insert(object.clone(), desired(&route.revision, status));
        said.extend(findings);
        plan.routes.push(RoutePlan {
            seniority: Seniority {
                created: route.meta.created,
                ..Seniority::default()
            },
            object,
            is_accepted: !is_unfit,
            refusal: route.refusal(),
            hosts,
            rules,
        });
    }

    fn has_gateway(&self, namespace: &str, name: &str) -> bool {
        let mut gateways = self.gateways.gateways();
        gateways.any(|gateway| *gateway.meta.namespace == *namespace && *gateway.meta.name == *name)
    }

    /// Whether routes of a namespace are served for a host on a listener: the two have a hostname in common, and
    /// `--host-owners` gives it to nobody else. Where it does, the error says to whom.
    pub(super) fn serves_host(
        &self,
        (kind, namespace): (Kind, &str),
        listener: &HostPattern,
        host: &HostPattern,
    ) -> Result<(), Option<(HostPattern, String)>> {
        if !intersects(listener, host) {
            return Err(None);
        }
        // Its connections name no host.
        if kind == Kind::TCPRoute {
            return Ok(());
        }
        let common = if listener.rank() > host.rank() { listener } else { host };
        match self.options.host_owners.against_below(namespace, common) {
            Some(owners) => Err(Some((common.clone(), owners))),
            None => Ok(()),
        }
    }

    /// Says which hosts a route does not get at a Gateway because they are those of other namespaces.
    fn report_owners(
        &self,
        object: &ObjectRef,
        hosts: &[HostPattern],
        seen: &Seen<'_>,
        findings: &mut Vec<Diagnostic>,
    ) {
        let mut refused = BTreeSet::new();
        let takes = |listener: &&SeenListener<'_>| listener.kinds.contains(&object.kind.name());
        let taking = seen.listeners.iter().filter(takes);
        for listener in taking.filter_map(|listener| listener.hostname.as_ref()) {
            let all = hosts.iter();
            refused.extend(all.filter_map(|host| {
                self.serves_host((object.kind, &object.namespace), listener, host)
                    .err()?
            }));
        }
        for (host, owners) in refused {
            let host = match host {
                HostPattern::Any => "all hosts".to_owned(),
                host => host.to_string(),
            };
            let why = format!("--host-owners gives {host} to {owners}, so it is left out");
            findings.push(Diagnostic::new(Code::HostNotOwned, object, "spec.hostnames", why));
        }
    }

    /// The listeners of a Gateway that a route is served by.
    fn attach(
        &self,
        route: &GatewayRoute,
        hosts: &[HostPattern],
        parent: &ParentRef,
        seen: &Seen<'_>,
    ) -> Result<BTreeSet<usize>, Why> {
        let is_named = |listener: &&SeenListener<'_>| {
            let section = parent.section_name.as_deref();
            section.is_none_or(|section| *section == *listener.listener.name)
                && parent.port.is_none_or(|port| port == listener.listener.port)
        };
        let named: Vec<&SeenListener<'_>> = seen.listeners.iter().filter(is_named).collect();
        if named.is_empty() {
            let why = format!("{} has no listener that it names", seen.object);
            return Err(("NoMatchingParent", why));
        }
        let takes = |listener: &&&SeenListener<'_>| {
            listener.kinds.contains(&route.kind.name())
                && self.takes_namespace(seen, listener.listener, &route.meta.namespace)
        };
        let taking: Vec<&&SeenListener<'_>> = named.iter().filter(takes).collect();
        if taking.is_empty() {
            let why = format!(
                "no listener of {} that it names takes {}s of its namespace",
                seen.object, route.kind
            );
            return Err(("NotAllowedByListeners", why));
        }
        let fits = |listener: &&&&SeenListener<'_>| {
            let own = listener.hostname.as_ref();
            let namespace = &route.meta.namespace;
            own.is_some_and(|own| {
                hosts
                    .iter()
                    .any(|host| self.serves_host((route.kind, namespace), own, host).is_ok())
            })
        };
        let fitting: BTreeSet<usize> = taking.iter().filter(fits).map(|listener| listener.index).collect();
        if fitting.is_empty() {
            let why = format!(
                "no listener of {} that takes it has a hostname in common with it, of those that it may have",
                seen.object
            );
            return Err(("NoMatchingListenerHostname", why));
        }
        Ok(fitting)
    }
}

/// The listeners without those where an older route of the other kind has one of the hostnames: gRPC is HTTP, and one kind of route
/// is to have it.
fn without_rivals(
    (route, hosts): (&GatewayRoute, &[HostPattern]),
    (gateway, seen, mut listeners): (usize, &Seen<'_>, BTreeSet<usize>),
    (plan, attached): (&Plan, &BTreeMap<(usize, usize), Vec<usize>>),
) -> Result<BTreeSet<usize>, Why> {
    let mut rival = None;
    listeners.retain(|listener| {
        let others = attached.get(&(gateway, *listener)).into_iter().flatten();
        let mut others = others.filter_map(|place| plan.routes.get(*place));
        let known = seen.listeners.iter().find(|known| known.index == *listener);
        let own = known.and_then(|known| known.hostname.as_ref());
        let is_served = |host: &&HostPattern| own.is_none_or(|own| intersects(own, host));
        let found = others.find(|other| {
            let shared = |host: &HostPattern| {
                other
                    .hosts
                    .iter()
                    .filter(is_served)
                    .any(|theirs| intersects(host, theirs))
            };
            other.object.kind != route.kind && hosts.iter().filter(is_served).any(shared)
        });
        rival = rival.take().or(found.map(|other| &other.object));
        found.is_none()
    });
    match (rival, listeners.is_empty()) {
        (Some(rival), true) => {
            let why = format!("{rival} is older, and has one of its hostnames at the same listener");
            Err(("Conflicted", why))
        }
        _ => Ok(listeners),
    }
}

/// Why a parent is not a Gateway that narthex serves.
enum Unowned {
    /// It is of a kind that narthex does not serve.
    NotYet(String),
    /// It is another controller's, or does not exist.
    Others,
}

/// Whether a parent is a Service, so that its routes are those of a mesh.
fn is_of_mesh(parent: &ParentRef) -> bool {
    parent.group.as_deref() == Some("") && parent.kind.as_deref() == Some("Service")
}

/// The place of the Gateway that a route names.
fn find_parent(route: &GatewayRoute, parent: &ParentRef, gateways: &[Seen<'_>]) -> Result<usize, Unowned> {
    let group = parent.group.as_deref().unwrap_or(GROUP);
    let kind = parent.kind.as_deref().unwrap_or("Gateway");
    if (group, kind) != (GROUP, "Gateway") {
        return Err(Unowned::NotYet(format!(
            "narthex serves no routes of parents of the kind {kind}"
        )));
    }
    let namespace = parent.namespace.as_deref().unwrap_or(&route.meta.namespace);
    let is_it = |seen: &Seen<'_>| *seen.object.namespace == *namespace && *seen.object.name == *parent.name;
    gateways.iter().position(is_it).ok_or(Unowned::Others)
}
