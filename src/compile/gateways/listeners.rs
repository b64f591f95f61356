//! Gateways and their listeners by themselves: whose they are, what keeps one from being served, and which routes it takes.

use super::addresses::{Place, Placed};
use super::backends::Refused;
use crate::compile::{Key, State};
use crate::dialect::gateway::{
    GATEWAY_CONTROLLER, GROUP, Gateway, GatewayAsk, GatewayClass, GatewayListener, ObjectReference,
};
use crate::model::{Annotations, Code, Diagnostic, Kind, ObjectRef};
use crate::table::canonical::canonical_host;
use crate::table::{CertificateSet, HostPattern, ListenerProtocol};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

/// Why something is not as its author wants it: the reason in the status, and a sentence.
pub(super) type Why = (&'static str, String);

/// A Gateway of ours.
pub(super) struct Seen<'g> {
    pub gateway: &'g Gateway,
    pub object: ObjectRef,
    /// Why it is not accepted.
    pub refused: Option<Why>,
    /// Why it does not have all the addresses that it asks for.
    pub unusable: Option<Why>,
    pub place: Place,
    pub listeners: Vec<SeenListener<'g>>,
}

/// A listener of a Gateway of ours.
pub(super) struct SeenListener<'g> {
    pub listener: &'g GatewayListener,
    pub index: usize,
    /// Absent where the hostname cannot be read.
    pub hostname: Option<HostPattern>,
    pub port: u16,
    /// Absent where narthex does not serve it.
    pub protocol: Option<ListenerProtocol>,
    /// The kinds of routes that it takes.
    pub kinds: Vec<&'static str>,
    pub refused: Option<Why>,
    /// Another listener that it cannot stand beside.
    pub conflict: Option<Why>,
    /// What it refers to and cannot be used.
    pub unresolved: Option<Refused>,
    pub certificates: Option<Arc<CertificateSet>>,
    /// Whether some of its certificates are never shown.
    pub has_more_certificates: bool,
    /// How many routes it has.
    pub attached: usize,
}

impl Seen<'_> {
    /// Whether its listeners are served, as far as it is up to the Gateway.
    pub fn is_served(&self) -> bool {
        self.refused.is_none() && self.place != Place::Nowhere
    }
}

impl SeenListener<'_> {
    /// Whether its routes are served.
    pub fn is_served(&self) -> bool {
        let has_certificate = !self.ends_tls() || self.certificates.is_some();
        self.refused.is_none() && self.conflict.is_none() && has_certificate
    }

    /// Whether TLS ends there.
    fn ends_tls(&self) -> bool {
        match self.protocol {
            Some(ListenerProtocol::Https) => true,
            Some(ListenerProtocol::Tls) => self.mode() != PASSTHROUGH,
            _ => false,
        }
    }

    /// What it does with TLS.
    fn mode(&self) -> &str {
        let tls = self.listener.tls.as_ref();
        tls.and_then(|tls| tls.mode.as_deref()).unwrap_or(TERMINATE)
    }

    pub fn field(&self, name: &str) -> String {
        format!("spec.listeners[{}].{name}", self.index)
    }
}

/// What a listener may do with TLS.
const TERMINATE: &str = "Terminate";
const PASSTHROUGH: &str = "Passthrough";

/// The kinds of routes that narthex serves on listeners for a protocol.
fn kinds_of(protocol: ListenerProtocol) -> &'static [&'static str] {
    match protocol {
        ListenerProtocol::Http | ListenerProtocol::Https => &["HTTPRoute", "GRPCRoute"],
        ListenerProtocol::Tls => &["TLSRoute"],
        ListenerProtocol::Tcp => &["TCPRoute"],
        ListenerProtocol::Udp => &[],
    }
}

/// A hostname of a listener or route.
pub(super) fn hostname(text: &str) -> Result<HostPattern, String> {
    let invalid = |why: &str| format!("\"{text}\" is not a valid hostname: {why}");
    let (wildcard, name) = match text.strip_prefix("*.") {
        Some(name) => (true, name),
        None => (false, text),
    };
    let canonical = canonical_host(name).map_err(|error| invalid(&error.to_string()))?;
    if canonical.port.is_some() || name.contains([':', '[', '*']) || name.parse::<std::net::Ipv4Addr>().is_ok() {
        return Err(invalid("write a DNS name, or *. and a DNS name"));
    }
    Ok(match wildcard {
        true => HostPattern::Wildcard(canonical.name.into()),
        false => HostPattern::Exact(canonical.name.into()),
    })
}

/// Whether some host fits both. A wildcard stands for any number of labels.
pub(super) fn intersects(one: &HostPattern, other: &HostPattern) -> bool {
    let below = |name: &str, suffix: &str| name.strip_suffix(suffix).is_some_and(|rest| rest.ends_with('.'));
    match (one, other) {
        (HostPattern::Any, _) | (_, HostPattern::Any) => true,
        (HostPattern::Exact(one), HostPattern::Exact(other)) => one == other,
        (HostPattern::Exact(name), HostPattern::Wildcard(suffix))
        | (HostPattern::Wildcard(suffix), HostPattern::Exact(name)) => below(name, suffix),
        (HostPattern::Wildcard(one), HostPattern::Wildcard(other)) => {
            one == other || below(one, other) || below(other, one)
        }
    }
}

impl State {
    /// Whether a Gateway is ours, and if it is, why its class is not accepted.
    fn class_of(&self, gateway: &Gateway) -> Option<Option<Why>> {
        let class = self.gateways.classes().find(|class| class.meta.name == gateway.class);
        match class {
            Some(class) if *class.controller == *GATEWAY_CONTROLLER => Some(class_refused(class)),
            Some(_) => None,
            None => (*gateway.class == *self.options.gateway_class).then_some(None),
        }
    }

    /// The Secrets that listeners of ours name.
    pub(super) fn listener_secrets(&self) -> BTreeSet<Key> {
        let ours = self
            .gateways
            .gateways()
            .filter(|gateway| self.class_of(gateway).is_some());
        let named = ours.flat_map(|gateway| {
            let listeners = gateway.listeners.iter().filter_map(|listener| listener.tls.as_ref());
            let refs = listeners.flat_map(|tls| tls.certificate_refs.iter().flatten());
            refs.map(|named| self.secret_key(gateway, named))
        });
        named.collect()
    }

    fn secret_key(&self, gateway: &Gateway, named: &ObjectReference) -> Key {
        let namespace = named.namespace.as_deref().map(Arc::from);
        (
            namespace.unwrap_or_else(|| gateway.meta.namespace.clone()),
            (&*named.name).into(),
        )
    }

    /// All Gateways of ours, the oldest first, with what is found out of their listeners.
    pub(super) fn see_gateways(&self, findings: &mut Vec<Diagnostic>) -> Vec<Seen<'_>> {
        let mut ours = Vec::new();
        let mut classes = Vec::new();
        for gateway in self.gateways.gateways() {
            let object = ObjectRef::new(Kind::Gateway, gateway.meta.namespace.clone(), gateway.meta.name.clone());
            let Some(refused) = self.class_of(gateway) else {
                let message = format!(
                    "not served here: its class \"{}\" is neither a GatewayClass of {GATEWAY_CONTROLLER} nor --gateway-class ({})",
                    gateway.class, self.options.gateway_class
                );
                findings.push(Diagnostic::new(
                    Code::OtherClass,
                    &object,
                    "spec.gatewayClassName",
                    message,
                ));
                continue;
            };
            ours.push((gateway, object));
            classes.push(refused);
        }
        let mut order: Vec<usize> = (0..ours.len()).collect();
        order.sort_by_key(|place| ours.get(*place).map(|(gateway, object)| (gateway.meta.created, object)));
        let ours: Vec<_> = order.iter().filter_map(|place| ours.get(*place).cloned()).collect();
        let classes = order.iter().filter_map(|place| classes.get(*place).cloned());
        let classes: Vec<_> = classes.collect();
        let is_refused = |((gateway, _), class): (&(&Gateway, _), &Option<Why>)| {
            class.is_some() || gateway.asks_for.contains(&GatewayAsk::Parameters)
        };
        let refused: Vec<bool> = ours.iter().zip(&classes).map(is_refused).collect();
        let placed = self.place_gateways(&ours, &refused);
        let mut all: Vec<Seen<'_>> = (ours.into_iter().zip(classes).zip(placed))
            .map(|(((gateway, object), class), placed)| self.see(gateway, object, (class, placed), findings))
            .collect();
        give_ports(&mut all);
        for seen in &all {
            report(seen, findings);
        }
        all
    }

    fn see<'g>(
        &self,
        gateway: &'g Gateway,
        object: ObjectRef,
        (class, placed): (Option<Why>, Placed),
        findings: &mut Vec<Diagnostic>,
    ) -> Seen<'g> {
        let mut refused = class.or(placed.refused);
        for (_, why) in refused
            .iter()
            .filter(|(reason, _)| *reason == "UnsupportedAddress")
            .chain(&placed.unusable)
        {
            let field = "spec.addresses";
            findings.push(Diagnostic::new(Code::UnsupportedValue, &object, field, why));
        }
        let mut no_https = false;
        for ask in &gateway.asks_for {
            let said = match ask {
                GatewayAsk::Parameters => {
                    let why = "narthex reads no parameters of Gateways yet, so it is not served";
                    refused = Some(("InvalidParameters", why.to_owned()));
                    (Code::UnsupportedValue, why)
                }
                GatewayAsk::ClientCertificates => {
                    no_https = true;
                    let why = "narthex does not ask clients of Gateways for certificates yet, so listeners for HTTPS are not \
                               served";
                    (Code::UnsupportedValue, why)
                }
                GatewayAsk::OwnCertificate => (Code::NotYet, "narthex does not show pods a Gateway's certificate yet"),
                GatewayAsk::Infrastructure => (Code::NotYet, "narthex makes no Services for Gateways yet"),
                GatewayAsk::Listeners => (Code::NotYet, "narthex does not read ListenerSets yet"),
                GatewayAsk::Scope => (Code::NotYet, "narthex knows no default Gateways"),
            };
            findings.push(Diagnostic::new(said.0, &object, ask.field(), said.1));
        }
        let mut listeners: Vec<SeenListener<'g>> = gateway
            .listeners
            .iter()
            .enumerate()
            .map(|(index, listener)| {
                let mut seen = self.see_listener((gateway, &placed.place), listener, index);
                if no_https && seen.ends_tls() {
                    let why =
                        "it would have to ask clients for certificates, which narthex does not do for Gateways yet";
                    seen.refused.get_or_insert(("UnsupportedValue", why.to_owned()));
                }
                seen
            })
            .collect();
        conflicts(&mut listeners);
        Seen {
            gateway,
            object,
            refused,
            unusable: placed.unusable,
            place: placed.place,
            listeners,
        }
    }

    fn see_listener<'g>(
        &self,
        (gateway, place): (&Gateway, &Place),
        listener: &'g GatewayListener,
        index: usize,
    ) -> SeenListener<'g> {
        let protocol = match &*listener.protocol {
            "HTTP" => Some(ListenerProtocol::Http),
            "HTTPS" => Some(ListenerProtocol::Https),
            "TLS" => Some(ListenerProtocol::Tls),
            "TCP" => Some(ListenerProtocol::Tcp),
            _ => None,
        };
        let named = listener.hostname.as_deref().filter(|text| !text.is_empty());
        let hostname = match named {
            Some(_) if protocol == Some(ListenerProtocol::Tcp) => {
                Err("connections of TCP name no host, and the listener has a hostname".to_owned())
            }
            named => named.map_or(Ok(HostPattern::Any), hostname),
        };
        let port = u16::try_from(listener.port).unwrap_or_default();
        let mut refused = None;
        if let Err(why) = &hostname {
            refused = Some(("UnsupportedValue", why.clone()));
        }
        match protocol {
            None => {
                let why = format!(
                    "narthex does not serve the protocol \"{}\" for Gateways yet",
                    listener.protocol
                );
                refused = Some(("UnsupportedProtocol", why));
            }
            Some(protocol) => {
                let read = match port {
                    0 => Err(format!("{} is not a port from 1 to 65535", listener.port)),
                    port => self.port_for(port, protocol, place),
                };
                if let Err(why) = read {
                    refused.get_or_insert(("PortUnavailable", why));
                }
            }
        }
        if let Ok(hostname) = &hostname
            && protocol != Some(ListenerProtocol::Tcp)
            && let Some(owners) = self
                .options
                .host_owners
                .against_listener(&gateway.meta.namespace, hostname)
        {
            let why = format!("--host-owners gives {hostname} to {owners}");
            refused.get_or_insert(("HostNotOwned", why));
        }
        if let Some(why) = bad_namespaces(listener) {
            refused.get_or_insert(("UnsupportedValue", why));
        }
        let (kinds, unresolved) = kinds(listener, protocol);
        let mut seen = SeenListener {
            listener,
            index,
            hostname: hostname.ok(),
            port,
            protocol,
            kinds,
            refused,
            conflict: None,
            unresolved,
            certificates: None,
            has_more_certificates: false,
            attached: 0,
        };
        self.see_tls(gateway, &mut seen);
        seen
    }

    /// Finds the certificates of a listener.
    fn see_tls(&self, gateway: &Gateway, seen: &mut SeenListener<'_>) {
        let wrong = match (seen.protocol, seen.mode()) {
            (Some(ListenerProtocol::Https), TERMINATE) => None,
            (Some(ListenerProtocol::Https), _) => Some("a listener for HTTPS needs the mode Terminate".to_owned()),
            (Some(ListenerProtocol::Tls), TERMINATE | PASSTHROUGH) => None,
            (Some(ListenerProtocol::Tls), mode) => {
                Some(format!("tls.mode is \"{mode}\", and neither Terminate nor Passthrough"))
            }
            _ => None,
        };
        if let Some(why) = wrong {
            seen.refused.get_or_insert(("UnsupportedValue", why));
        }
        if !seen.ends_tls() {
            return;
        }
        let Some(tls) = &seen.listener.tls else {
            seen.unresolved.get_or_insert((
                "InvalidCertificateRef",
                "it has no tls with a certificate".to_owned(),
                Code::NoCertificate,
            ));
            return;
        };
        let refs = tls.certificate_refs.as_deref().unwrap_or_default();
        if refs.is_empty() {
            let why = "it names no certificate".to_owned();
            seen.unresolved
                .get_or_insert(("InvalidCertificateRef", why, Code::NoCertificate));
        }
        let mut certificates = Vec::new();
        for named in refs {
            match self.listener_certificate(gateway, named) {
                Ok(certificate) => certificates.push(certificate),
                Err(why) => {
                    seen.unresolved.get_or_insert(why);
                }
            }
        }
        if !certificates.is_empty() {
            let count = certificates.len();
            let set = CertificateSet::new(certificates);
            seen.has_more_certificates = set.iter().count() < count;
            seen.certificates = Some(Arc::new(set));
        }
    }

    fn listener_certificate(
        &self,
        gateway: &Gateway,
        named: &ObjectReference,
    ) -> Result<Arc<crate::table::Certificate>, Refused> {
        let (group, kind) = (named.group.as_deref(), named.kind.as_deref());
        if group.is_some_and(|group| !group.is_empty()) || kind.is_some_and(|kind| kind != "Secret") {
            let what = kind.unwrap_or("Secret");
            let why = format!(
                "{what} \"{}\" is no Secret, and only Secrets have certificates",
                named.name
            );
            return Err(("InvalidCertificateRef", why, Code::ListenerRefused));
        }
        let key = self.secret_key(gateway, named);
        // Whether it exists must not be told without a grant.
        self.is_granted(("Gateway", &gateway.meta.namespace), ("", "Secret", &key))?;
        match (self.secrets.certificate(&key), self.secrets.get(&key)) {
            (Some(certificate), _) => Ok(certificate.clone()),
            (None, Some(known)) => {
                let fault = known.fault().unwrap_or("it has no certificate");
                let why = format!("Secret \"{}\" cannot be used: {fault}", key.1);
                Err(("InvalidCertificateRef", why, Code::InvalidCertificate))
            }
            (None, None) => {
                let why = format!("there is no Secret \"{}\" in namespace \"{}\"", key.1, key.0);
                Err(("InvalidCertificateRef", why, Code::SecretNotFound))
            }
        }
    }

    /// The addresses where a port is, or is to be, listened on for Gateways, beside those that the flags name.
    pub(super) fn gateway_addresses(&self, port: u16, protocol: ListenerProtocol) -> Vec<SocketAddr> {
        let flags = &self.options.listeners;
        if flags.iter().any(|listener| listener.address.port() == port) {
            return Vec::new();
        }
        let same = flags
            .iter()
            .filter(|listener| stands_for(listener.protocol(), protocol));
        let addresses = same.map(|listener| SocketAddr::new(listener.address.ip(), port));
        addresses.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Whether a port can be served for a protocol, as far as the flags say.
    fn port_for(&self, port: u16, protocol: ListenerProtocol, place: &Place) -> Result<(), String> {
        let (flags, own) = (&self.options.listeners, place.own());
        let here = flags.iter().find(|listener| listener.address.port() == port);
        if let Some(here) = here.filter(|_| own.is_empty()) {
            let is_same = here.protocol().socket() == protocol.socket();
            return is_same
                .then_some(())
                .ok_or_else(|| format!("port {port} is one for {}, by the flags of narthex", here.protocol()));
        }
        let mut admins = self.options.admin_addresses.iter();
        if admins.any(|admin| admin.port() == port && (own.is_empty() || own.contains(&admin.ip()))) {
            return Err(format!("port {port} is that of narthex's admin address"));
        }
        if !self.options.gateway_ports.iter().any(|range| range.contains(&port)) {
            return Err(format!("port {port} is not one of --gateway-ports"));
        }
        // Without HTTPS in the flags, narthex has no settings for TLS.
        if !flags.iter().any(|listener| stands_for(listener.protocol(), protocol)) {
            return Err(format!("narthex listens nowhere for {}", protocol.socket()));
        }
        Ok(())
    }

    /// Whether a listener takes routes of a namespace.
    pub(super) fn takes_namespace(&self, seen: &Seen<'_>, listener: &GatewayListener, namespace: &Arc<str>) -> bool {
        let namespaces = listener
            .allowed_routes
            .as_ref()
            .and_then(|allowed| allowed.namespaces.as_ref());
        let from = namespaces
            .and_then(|namespaces| namespaces.from.as_deref())
            .unwrap_or("Same");
        match from {
            "All" => true,
            "Same" => seen.gateway.meta.namespace == *namespace,
            "Selector" => {
                let selector = namespaces.and_then(|namespaces| namespaces.selector.as_ref());
                selector.is_some_and(|selector| {
                    let known = self.namespaces.get(namespace);
                    let labels = known.into_iter().flat_map(|known| known.labels.iter());
                    // A namespace has this label also where nobody wrote it down.
                    let name = [("kubernetes.io/metadata.name", &**namespace)];
                    selector.selects(&labels.chain(name).collect::<Annotations>(), known.is_some())
                })
            }
            _ => false,
        }
    }
}

/// Whether the flags have narthex listen for a protocol of a Gateway's listener, by having it listen for another one. Any
/// address will do for connections of which nothing is read.
fn stands_for(flag: ListenerProtocol, wanted: ListenerProtocol) -> bool {
    wanted == ListenerProtocol::Tcp || flag.socket() == wanted.socket()
}

/// Why a class is not accepted.
pub(super) fn class_refused(class: &GatewayClass) -> Option<Why> {
    let why = "narthex reads no parameters of GatewayClasses yet";
    class.has_parameters.then(|| ("InvalidParameters", why.to_owned()))
}

/// What is wrong with the namespaces whose routes a listener takes.
fn bad_namespaces(listener: &GatewayListener) -> Option<String> {
    let namespaces = listener.allowed_routes.as_ref()?.namespaces.as_ref()?;
    match namespaces.from.as_deref()? {
        "All" | "Same" | "None" => None,
        "Selector" if namespaces.selector.is_some() => None,
        "Selector" => Some("its allowedRoutes.namespaces has no selector".to_owned()),
        other => Some(format!(
            "allowedRoutes.namespaces.from is \"{other}\" and not one of All, Same, Selector"
        )),
    }
}

/// The kinds of routes that a listener takes, and what it asks for beside those that narthex knows.
fn kinds(listener: &GatewayListener, protocol: Option<ListenerProtocol>) -> (Vec<&'static str>, Option<Refused>) {
    let served = protocol.map_or(&[][..], kinds_of);
    let wanted = listener
        .allowed_routes
        .as_ref()
        .and_then(|allowed| allowed.kinds.as_ref());
    let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) else {
        return (served.to_vec(), None);
    };
    let (mut kinds, mut unresolved) = (Vec::new(), None);
    for one in wanted {
        let group = one.group.as_deref().unwrap_or(GROUP);
        match served.iter().find(|kind| **kind == &*one.kind && group == GROUP) {
            Some(kind) => kinds.push(*kind),
            None => {
                let why = format!(
                    "routes of the kind {} cannot be served on a listener for {}",
                    one.kind, listener.protocol
                );
                unresolved.get_or_insert(("InvalidRouteKinds", why, Code::UnsupportedValue));
            }
        }
    }
    (kinds, unresolved)
}

/// Marks the listeners of one Gateway that cannot stand beside each other: none of them wins.
fn conflicts(listeners: &mut [SeenListener<'_>]) {
    let found: Vec<Option<Why>> = listeners
        .iter()
        .map(|one| {
            let others = listeners
                .iter()
                .filter(|other| other.index != one.index && other.port == one.port);
            let mut others =
                others.filter(|other| (&*one.listener.protocol == "UDP") == (&*other.listener.protocol == "UDP"));
            others.find_map(|other| {
                // HTTPS and TLS share a port by their hostnames.
                let by_name = |protocol: &str| if protocol == "TLS" { "HTTPS" } else { protocol }.to_owned();
                let (own, theirs) = (by_name(&one.listener.protocol), by_name(&other.listener.protocol));
                let name = &other.listener.name;
                if own != theirs {
                    let why = format!("listener \"{name}\" has another protocol on the same port");
                    return Some(("ProtocolConflict", why));
                }
                let has_hosts = own == "HTTP" || own == "HTTPS";
                let is_same = !has_hosts || one.hostname == other.hostname;
                is_same.then(|| {
                    (
                        "HostnameConflict",
                        format!("listener \"{name}\" has the same port and hostname"),
                    )
                })
            })
        })
        .collect();
    for (listener, conflict) in listeners.iter_mut().zip(found) {
        listener.conflict = conflict;
    }
}

/// Gives each port, and each hostname on it, to the oldest Gateway that has it: all share the same addresses.
fn give_ports(all: &mut [Seen<'_>]) {
    let mut given: Vec<(u16, ListenerProtocol, Option<HostPattern>, ObjectRef)> = Vec::new();
    for seen in all {
        if !seen.is_served() || seen.place != Place::Shared {
            continue;
        }
        for listener in &mut seen.listeners {
            let Some(protocol) = listener.protocol.filter(|_| listener.is_served()) else {
                continue;
            };
            let other = given.iter().find(|(port, known, hostname, owner)| {
                *port == listener.port
                    && *owner != seen.object
                    && (known.socket() != protocol.socket() || *hostname == listener.hostname)
            });
            match other {
                Some((.., owner)) => {
                    let why = format!(
                        "port {} of the shared addresses is that of {owner} for this hostname or another protocol, and that \
                         is older",
                        listener.port
                    );
                    listener.refused = Some(("PortUnavailable", why));
                }
                None => given.push((listener.port, protocol, listener.hostname.clone(), seen.object.clone())),
            }
        }
    }
}

/// Says what keeps listeners from being served.
fn report(seen: &Seen<'_>, findings: &mut Vec<Diagnostic>) {
    if seen.listeners.is_empty() {
        let message = "it has no listeners, so it serves nothing";
        findings.push(Diagnostic::new(
            Code::NothingToServe,
            &seen.object,
            "spec.listeners",
            message,
        ));
    }
    for listener in &seen.listeners {
        let mut say = |field: &str, code, why: &str| {
            let message = format!("{why}, so listener \"{}\" is not served", listener.listener.name);
            findings.push(Diagnostic::new(code, &seen.object, listener.field(field), message));
        };
        if let Some((reason, why)) = &listener.refused {
            let field = match *reason {
                "UnsupportedProtocol" => "protocol",
                "PortUnavailable" => "port",
                "HostNotOwned" => "hostname",
                _ if listener.hostname.is_none() => "hostname",
                _ if bad_namespaces(listener.listener).is_some() => "allowedRoutes.namespaces",
                _ => "tls",
            };
            say(field, Code::ListenerRefused, why);
        }
        if let Some((reason, why)) = &listener.conflict {
            let field = if *reason == "HostnameConflict" {
                "hostname"
            } else {
                "protocol"
            };
            say(field, Code::ListenerRefused, why);
        }
        match &listener.unresolved {
            Some(("InvalidRouteKinds", why, code)) => {
                findings.push(Diagnostic::new(
                    *code,
                    &seen.object,
                    listener.field("allowedRoutes.kinds"),
                    why,
                ));
            }
            Some((_, why, code)) if listener.certificates.is_none() => say("tls.certificateRefs", *code, why),
            Some((_, why, code)) => {
                findings.push(Diagnostic::new(
                    *code,
                    &seen.object,
                    listener.field("tls.certificateRefs"),
                    why,
                ));
            }
            None => {}
        }
        if listener.has_more_certificates {
            let why =
                "narthex shows only the first certificate for each kind of key yet, whatever name a client asks for";
            let field = listener.field("tls.certificateRefs");
            findings.push(Diagnostic::new(Code::NotYet, &seen.object, field, why));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostnames_intersect_if_a_host_fits_both() {
        for (one, other, wanted) in [
            ("a.test", "a.test", true),
            ("a.test", "b.test", false),
            ("*.test", "a.b.test", true),
            ("*.test", "test", false),
            ("*.b.test", "*.test", true),
            ("*.b.test", "*.c.test", false),
            ("*.xtest", "a.test", false),
        ] {
            let (one, other) = (hostname(one).unwrap(), hostname(other).unwrap());
            assert_eq!(intersects(&one, &other), wanted, "{one} {other}");
            assert_eq!(intersects(&other, &one), wanted, "{other} {one}");
        }
        for text in ["1.2.3.4", "[::1]", "a.test:80", "*", "a.*.test", "*.*.test"] {
            assert!(hostname(text).is_err(), "{text}");
        }
    }
}
