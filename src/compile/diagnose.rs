//! What is to be said of one object, given all others.

mod guards;
mod tls;

pub(super) use guards::host_field;

use super::backends::{find_port, kind_in_use, service_settings, subsets_in_use};
use super::links::Cause;
use super::passthrough::passing;
use super::{State, key};
use crate::dialect::Dialect;
use crate::dialect::reading::{BackendKey, Claim, Spot};
use crate::model::nearest::nearest;
use crate::model::object::{Meta, PortRef, Service};
use crate::model::{Code, Diagnostic, Kind, ObjectRef, Seniority};
use crate::table::backend::APP_PROTOCOLS;
use crate::table::{BackendState, Route};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// What becomes of requests for a backend that cannot have them.
pub(super) const GET_503: &str = "requests get 503";

impl State {
    pub(super) fn diagnose(&self, object: &ObjectRef) -> Vec<Diagnostic> {
        let mut said: Vec<Diagnostic> = self.broken.get(object).into_iter().cloned().collect();
        said.extend(self.of_files.get(object).into_iter().flatten().cloned());
        match object.kind {
            Kind::EndpointSlice | Kind::Endpoints => self.diagnose_endpoints(object, &mut said),
            Kind::Secret => self.diagnose_secret(object, &mut said),
            Kind::ConfigMap => self.diagnose_config_map(object, &mut said),
            Kind::Service => {
                if let Some(service) = self.services.get(&key(object)) {
                    service_settings(service, &self.options.ignored_annotations, &mut said);
                    diagnose_external(service, object, &mut said);
                }
                if !self.links.is_used(&Cause::service(key(object))) {
                    // Nothing is closed where nothing leads to it.
                    said.retain(|one| !matches!(one.code, Code::GuardNotEnforced | Code::GuardIgnored));
                }
            }
            Kind::IngressClass => self.diagnose_class(object, &mut said),
            Kind::Namespace => {}
            kind if kind.is_of_gateways() => {
                self.diagnose_gateway_object(object, &mut said);
            }
            _ => self.diagnose_claimant(object, &mut said),
        }
        for one in &mut said {
            tls::name_routes(&mut one.message);
        }
        said
    }

    fn diagnose_claimant(&self, object: &ObjectRef, said: &mut Vec<Diagnostic>) {
        let Some(known) = self.claimants.get(object) else {
            return;
        };
        let claimant = &*known.claimant;
        if !known.served {
            let why = self.serves(claimant).err().unwrap_or_default();
            let meant = claimant.class().and_then(|class| self.meant_class(class));
            let code = if meant.is_some() {
                Code::ClassMisspelled
            } else {
                Code::OtherClass
            };
            let message = format!("not served here: {why}{}", meant.unwrap_or_default());
            said.push(Diagnostic::new(code, object, claimant.class_field(), message));
            return;
        }
        let reading = claimant.read(self.options.context(known.dialect, known.beside.as_ref()));
        let (meta, seniority) = (claimant.meta(), known.seniority());
        let refused = self.refused(&reading, meta);
        if let Some((code, field, message)) = refused.clone().filter(|(.., message)| !message.is_empty()) {
            said.push(Diagnostic::new(code, object, field, message));
        }
        self.diagnose_hosts(object, &reading, said);
        for claim in &reading.claims {
            let host = claim.spot.host();
            if refused.is_some() || self.is_strangers(host, object) || self.is_excluded(host, object) {
                continue;
            }
            if let Some(holder) = self.other_holder(&claim.spot, object) {
                if self.is_canary_of(&claim.spot, object) {
                    continue;
                }
                if let Some(host) = passing(&claim.spot) {
                    let message = self.why_not_passed(host, &object.namespace, Some(holder));
                    let code = match object.kind {
                        Kind::Route => Code::HostAlreadyClaimed,
                        _ => Code::PathConflict,
                    };
                    said.push(Diagnostic::new(code, object, claim.field.to_string(), message));
                    continue;
                }
                let yielded = self.why_yielded(holder, (meta, seniority), claim, known.dialect);
                let (code, message) = lost(claim, holder, yielded, meta);
                let code = match object.kind {
                    Kind::Route => Code::HostAlreadyClaimed,
                    _ => code,
                };
                said.push(Diagnostic::new(code, object, claim.field.to_string(), message));
            }
        }
        self.diagnose_passing(object, &reading, said);
        if seniority.canary {
            self.diagnose_lone_canary(object, &reading, said);
        }
        let backends = reading.claims.iter();
        let backends = backends.flat_map(Claim::backends);
        let backends = backends.filter_map(|(field, backend)| Some((field?.to_string(), backend)));
        for (field, backend) in backends {
            said.extend(self.diagnose_backend(object, (&field, backend), GET_503));
            said.extend(self.diagnose_app_protocol(object, backend, &field));
            said.extend(self.diagnose_service_guard(object, backend, &field));
            self.diagnose_backend_tls(object, backend, &field, said);
        }
        if let Some(spare) = &reading.spare {
            let field = "annotation nginx.ingress.kubernetes.io/default-backend";
            said.extend(self.diagnose_backend(object, (field, spare), GET_503));
        }
        let field = "annotation narthex.io/canary-service";
        if let Some(canary) = reading.claims.iter().find_map(|claim| claim.canary.as_ref()) {
            said.extend(self.diagnose_backend(object, (field, canary), "it gets no requests"));
            said.extend(self.diagnose_service_guard(object, canary, field));
        }
        self.diagnose_error_pages(object, &reading, said);
        self.diagnose_mirrors(object, &reading, said);
        let redirected = reading.settings.ssl_redirect.unwrap_or(self.options.ssl_redirect);
        // A canary's certificates are not shown to anybody.
        let shown = !seniority.canary && refused.is_none();
        for entry in reading.tls.iter().filter(|_| shown) {
            self.diagnose_tls((object, seniority), entry, redirected, said);
        }
        // A Route that is not served has nothing of its host, so it is not told what closes that.
        if refused.is_none() {
            self.diagnose_guards(object, claimant, &reading, said);
        }
        self.diagnose_users(object, &reading, said);
        self.diagnose_keys(object, &reading, said);
        self.diagnose_external(object, &reading, said);
        if refused.is_none() || reading.settings.clients.concerns_tls() {
            self.diagnose_clients(object, &reading, said);
        }
        self.diagnose_left_out(object, &reading, said);
        if known.dialect == Dialect::IngressNginx {
            self.diagnose_patterns(object, &reading, said);
            self.diagnose_host_wide(object, &reading, said);
        }
        let is_pattern = |finding: &Diagnostic| {
            let mut claims = reading.claims.iter();
            let claim = claims.find(|claim| finding.field == format!("{}.path", claim.field));
            claim.is_some_and(|claim| self.patterns.reason(claim.spot.host()).is_some())
        };
        // Where all paths of a host are expressions, none is taken literally.
        let is_nginx = known.dialect == Dialect::IngressNginx;
        let stays =
            |finding: &Diagnostic| !(is_nginx && finding.code == Code::PathTakenLiterally && is_pattern(finding));
        said.extend(reading.findings.iter().filter(|finding| stays(finding)).cloned());
    }

    /// The route that has what an Ingress claims, where it is another's.
    fn other_holder(&self, spot: &Spot, object: &ObjectRef) -> Option<&Route> {
        self.holder(spot)
            .map(|route| &**route)
            .filter(|route| route.origin.object != *object)
    }

    /// Why nobody is served what a canary claims: no other Ingress claims it.
    pub(super) fn why_alone(&self, spot: &Spot) -> String {
        let what = match spot {
            Spot::Path(host, path) => format!("{host} {path}"),
            Spot::Default(host) => format!("the default backend of host {host}"),
            Spot::Fallback => "the default backend of all hosts".to_owned(),
        };
        format!(
            "{what} is not served: this Ingress is a canary, and there is no other Ingress with this host and path that \
             it could be the canary of"
        )
    }

    /// Why an Ingress has yielded a place to another, where it would have it by its age.
    fn why_yielded(
        &self,
        holder: &Route,
        (meta, mine): (&Meta, Seniority),
        claim: &Claim,
        dialect: Dialect,
    ) -> Option<String> {
        let (theirs, backend) = (holder.seniority, &claim.backend);
        if mine.canary && !theirs.canary && dialect == Dialect::IngressNginx {
            return Some(self.why_no_canary(&claim.spot));
        }
        if mine.canary && !theirs.canary {
            return Some(
                "alone, because this Ingress is its canary, and narthex does not split requests between them"
                    .to_owned(),
            );
        }
        if mine.leaving && !theirs.leaving {
            return Some("while this Ingress, or its namespace, is being deleted".to_owned());
        }
        let object = &holder.origin.object;
        let first = (mine, &meta.namespace, &meta.name) < (theirs, &object.namespace, &object.name);
        first.then(|| {
            format!(
                "until Service \"{}\" has ready endpoints again (--yield-empty)",
                backend.service
            )
        })
    }

    /// What is wrong with a backend that an object names. `then` says what becomes of what it does not get.
    pub(super) fn diagnose_backend(
        &self,
        object: &ObjectRef,
        (field, key): (&str, &BackendKey),
        then: &str,
    ) -> Option<Diagnostic> {
        let backend = self.backend(key)?;
        let name = &key.service;
        let service = self.service(&(key.namespace.clone(), name.clone()));
        let (code, message) = match backend.state {
            BackendState::Ready => {
                let own = self.own_endpoint(backend)?;
                (
                    Code::EndpointIsSelf,
                    format!(
                        "Service \"{name}\" has {own} as an endpoint, which is narthex itself: requests would loop"
                    ),
                )
            }
            // What is wrong with it was said when it was read, or is said of TLS.
            BackendState::Invalid | BackendState::TlsUnready => return None,
            BackendState::ServiceNotFound => (
                Code::ServiceNotFound,
                format!(
                    "there is no Service \"{name}\" in namespace \"{}\", the namespace of the {}{}; {then}",
                    key.namespace,
                    object.kind,
                    self.meant_service(&key.namespace, name)
                ),
            ),
            BackendState::PortNotFound => {
                let ports = service.map(|service| port_list(service)).unwrap_or_default();
                let meant = service
                    .map(|service| self.meant_port(service, &key.port))
                    .unwrap_or_default();
                (
                    Code::PortNotFound,
                    format!(
                        "Service \"{name}\" has no {} (ports: {ports}){meant}; {then}",
                        match &key.port {
                            PortRef::Name(port) if port.parse::<u16>().is_ok() => {
                                format!("port named \"{port}\": write a number into service.port.number")
                            }
                            PortRef::Name(port) => format!("port named \"{port}\""),
                            other => format!("port {other}"),
                        }
                    ),
                )
            }
            BackendState::NoEndpoints if let Some(ports) = self.other_pod_ports(key) => (
                Code::PortNotFound,
                format!(
                    "no endpoint of Service \"{name}\" has port {} (ports: {ports}); {then}",
                    key.port
                ),
            ),
            BackendState::NoEndpoints => (
                Code::NoEndpoints,
                format!(
                    "Service \"{name}\" has no ready endpoint for port {}{}; {then}",
                    key.port,
                    self.why_no_endpoints(key)
                ),
            ),
            BackendState::OnlyTerminating => (
                Code::OnlyTerminating,
                format!("all endpoints of Service \"{name}\" are terminating; they are used until they are gone"),
            ),
            BackendState::ReadinessUnknown => (
                Code::ReadinessUnknown,
                format!(
                    "Service \"{name}\" has no ready endpoint for port {}, but nodes of its endpoints are not ready, so Kubernetes \
                     does not know whether the pods are; the endpoints that were ready last are used",
                    key.port
                ),
            ),
            BackendState::ExternalNameRefused => (
                Code::ExternalNameRefused,
                format!(
                    "Service \"{name}\" is of type ExternalName, which can lead anywhere: \
                     start narthex with --allow-external-names to allow it; {then}"
                ),
            ),
            BackendState::ExternalNameUnresolved
                if service.is_some_and(|service| service.external_name_is_address()) =>
            {
                (
                    Code::ExternalNameUnresolved,
                    format!(
                        "Service \"{name}\" has the externalName \"{}\", which is an address, but Kubernetes treats it as \
                         a DNS name: write a host name, or use a Service without a selector and an EndpointSlice; {then}",
                        service
                            .and_then(|service| service.external_name.as_deref())
                            .unwrap_or_default()
                    ),
                )
            }
            // Nobody has asked DNS yet, or, as in `check`, nobody will.
            BackendState::ExternalNameUnresolved if !self.is_resolved(service) => return None,
            BackendState::ExternalNameUnresolved => (
                Code::ExternalNameUnresolved,
                format!(
                    "Service \"{name}\" has the externalName \"{}\", which does not resolve to any address that narthex \
                     may use; {then}",
                    service
                        .and_then(|service| service.external_name.as_deref())
                        .unwrap_or_default()
                ),
            ),
        };
        Some(Diagnostic::new(code, object, field, message))
    }

    /// What is to be said of an `appProtocol` that narthex does not know. Of Services that no rule leads to there is
    /// nothing to say: they may speak anything.
    pub(super) fn diagnose_app_protocol(
        &self,
        object: &ObjectRef,
        key: &BackendKey,
        field: &str,
    ) -> Option<Diagnostic> {
        let backend = self.backend(key)?;
        let unknown = backend.unknown_protocol()?;
        let hint = meant_protocol(unknown).map(|meant| format!(": did you mean {meant}?"));
        let message = format!(
            "port {} of Service \"{}\" has the appProtocol \"{unknown}\", which narthex does not know, so narthex uses \
             HTTP/1.1 without TLS{}",
            key.port,
            key.service,
            hint.unwrap_or_default()
        );
        Some(Diagnostic::new(Code::UnknownAppProtocol, object, field, message))
    }

    /// Whether DNS was asked for an ExternalName.
    fn is_resolved(&self, service: Option<&Arc<Service>>) -> bool {
        let name = service.and_then(|service| service.external_name.as_deref());
        name.is_some_and(|name| self.resolved.contains_key(name))
    }

    /// A few words on what there is instead of endpoints.
    /// The ports of a Service's endpoints, where a port of the pods is asked for and none of them has it.
    fn other_pod_ports(&self, key: &BackendKey) -> Option<String> {
        let PortRef::OfPods(wanted) = key.port else { return None };
        let of_service = self.endpoints.get(&(key.namespace.clone(), key.service.clone()))?;
        let mut ports = BTreeSet::new();
        for (_, subset) in subsets_in_use(of_service) {
            for port in &subset.ports {
                // Endpoints that are not restricted to a port may have any.
                ports.insert(port.port?);
            }
        }
        let ports: Vec<String> = match ports.contains(&i32::from(wanted)) || ports.is_empty() {
            true => return None,
            false => ports.iter().map(ToString::to_string).collect(),
        };
        Some(ports.join(", "))
    }

    fn why_no_endpoints(&self, key: &BackendKey) -> String {
        let Some(of_service) = self.endpoints.get(&(key.namespace.clone(), key.service.clone())) else {
            return " (no EndpointSlice or Endpoints describes it)".to_owned();
        };
        let mut total = 0;
        let mut names = BTreeSet::new();
        for (_, subset) in subsets_in_use(of_service) {
            total += subset.endpoints.len();
            names.extend(subset.ports.iter().map(|port| port_name(&port.name)));
        }
        if total == 0 {
            return match of_service
                .values()
                .find_map(|endpoints| endpoints.unsupported_type.as_ref())
            {
                Some(kind) if kind.is_empty() => " (its EndpointSlices lack the addressType: IPv4 or IPv6)".to_owned(),
                Some(kind) => format!(" (it has only EndpointSlices of type {kind}, and narthex reads IPv4 and IPv6)"),
                None => format!(
                    " (its {} empty)",
                    if kind_in_use(of_service) == Kind::Endpoints {
                        "Endpoints are"
                    } else {
                        "EndpointSlices are"
                    }
                ),
            };
        }
        let wanted = self
            .services
            .get(&(key.namespace.clone(), key.service.clone()))
            .and_then(|service| find_port(service, &key.port))
            .map(|port| port_name(&port.name));
        match wanted {
            Some(wanted) if !names.contains(&wanted) => {
                let names: Vec<String> = names.into_iter().collect();
                let names = if names.is_empty() {
                    "none".to_owned()
                } else {
                    names.join(", ")
                };
                format!(" (the port is {wanted} in the Service, but the ports of its endpoints are: {names})")
            }
            _ => format!(" (none of {total} is ready)"),
        }
    }

    fn diagnose_endpoints(&self, object: &ObjectRef, said: &mut Vec<Diagnostic>) {
        let Some((owner, endpoints)) = self.slices.get(object) else {
            return;
        };
        if owner.is_none() {
            said.push(Diagnostic::new(
                Code::OrphanSlice,
                object,
                "metadata.labels",
                "it lacks the label kubernetes.io/service-name, so it belongs to no Service",
            ));
        }
        if let Some(kind) = &endpoints.unsupported_type {
            said.push(Diagnostic::new(
                Code::UnsupportedAddressType,
                object,
                "addressType",
                match kind.as_str() {
                    "" => "it is missing, so its endpoints are left out: write IPv4 or IPv6".to_owned(),
                    kind => {
                        let meant = nearest(kind, ["IPv4", "IPv6"]).map(|meant| format!(": did you mean {meant}?"));
                        let meant = meant.unwrap_or_default();
                        format!("{kind} is neither IPv4 nor IPv6, so its endpoints are left out{meant}")
                    }
                },
            ));
            return;
        }
        for (set, subset) in endpoints.subsets.iter().enumerate() {
            for (index, endpoint) in subset.endpoints.iter().enumerate() {
                let field = match object.kind {
                    Kind::Endpoints => format!("subsets[{set}].addresses[{index}]"),
                    _ => format!("endpoints[{index}].addresses[0]"),
                };
                let wrong = match endpoint.addresses.first().map(|text| (text, text.parse::<IpAddr>())) {
                    Some((text, Ok(address))) => {
                        let numbers = subset.ports.iter().filter_map(|port| u16::try_from(port.port?).ok());
                        let mut places = numbers.chain([0]).map(|number| SocketAddr::new(address, number));
                        let why = places.find_map(|place| self.options.refuses(place));
                        why.map(|why| (Code::EndpointRefused, format!("{text} is {why}")))
                    }
                    Some((text, Err(_))) => Some((Code::InvalidAddress, format!("\"{text}\" is not an IP address"))),
                    None => Some((Code::InvalidAddress, "there is no address".to_owned())),
                };
                said.extend(wrong.map(|(code, what)| {
                    Diagnostic::new(code, object, field, format!("{what}, so the endpoint is left out"))
                }));
            }
        }
    }
}

/// An ExternalName has no pods, so what is said of their port does nothing.
fn diagnose_external(service: &Service, object: &ObjectRef, said: &mut Vec<Diagnostic>) {
    if service.external_name.is_none() {
        return;
    }
    for (index, port) in service.ports.iter().enumerate() {
        if let Some(target) = port.target.filter(|target| i32::from(*target) != port.port) {
            said.push(Diagnostic::new(
                Code::TargetPortUnused,
                object,
                format!("spec.ports[{index}].targetPort"),
                format!(
                    "{target} is not used, because a Service of type ExternalName has no pods: requests go to port {} of \
                     the external name",
                    port.port
                ),
            ));
        }
    }
}

/// What is to be said of a claim that another object's route came before: `yielded` says why, where it is the younger.
fn lost(claim: &Claim, holder: &Route, yielded: Option<String>, meta: &Meta) -> (Code, String) {
    let (other, field) = (&holder.origin.object, &holder.origin.field);
    let what = match &claim.spot {
        Spot::Path(host, path) => match yielded {
            Some(why) => {
                return (
                    Code::PlaceYielded,
                    format!("{host} {path} is served by {other} ({field}) {why}"),
                );
            }
            None => {
                let message = format!(
                    "{host} {path} is taken by {other} ({field}), which {}; this path is not used: change or remove one of \
                     them",
                    first_because(holder, meta)
                );
                return (Code::PathConflict, message);
            }
        },
        Spot::Default(host) => format!("the default backend of host {host} is that of {other}"),
        Spot::Fallback => format!("the default backend of all hosts is that of {other}"),
    };
    match yielded {
        Some(why) => (Code::PlaceYielded, format!("{what} {why}")),
        None => (
            Code::DefaultBackendConflict,
            format!("{what}, which {}; this one is not used", first_because(holder, meta)),
        ),
    }
}

/// Why another Ingress's route comes before this one's.
fn first_because(holder: &Route, meta: &Meta) -> &'static str {
    if holder.seniority.created < meta.created {
        "is older"
    } else {
        "is as old and comes first by namespace and name"
    }
}

/// The `appProtocol` that one was meant to be.
fn meant_protocol(unknown: &str) -> Option<&'static str> {
    match unknown.to_lowercase().as_str() {
        "h2" | "http2" | "http/2" => Some("kubernetes.io/h2c"),
        "http1" | "http/1" | "http/1.1" => Some("http"),
        "ssl" | "tls" => Some("https"),
        "websocket" => Some("kubernetes.io/ws"),
        "grpcs" => None,
        _ => nearest(unknown, APP_PROTOCOLS.iter().copied()),
    }
}

fn port_name(name: &str) -> String {
    if name.is_empty() {
        "unnamed".to_owned()
    } else {
        format!("named \"{name}\"")
    }
}

fn port_list(service: &crate::model::object::Service) -> String {
    let ports: Vec<String> = service
        .ports
        .iter()
        .map(|port| {
            let protocol = port.protocol.as_deref().filter(|protocol| *protocol != "TCP");
            match (port.name.is_empty(), protocol) {
                (true, None) => port.port.to_string(),
                (false, None) => format!("{}/{}", port.port, port.name),
                (true, Some(protocol)) => format!("{} {protocol}", port.port),
                (false, Some(protocol)) => format!("{}/{} {protocol}", port.port, port.name),
            }
        })
        .collect();
    if ports.is_empty() {
        "none".to_owned()
    } else {
        ports.join(", ")
    }
}
