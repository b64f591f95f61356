//! A Route of OpenShift as an Ingress with narthex's own annotations. What an Ingress cannot say is named; where that would send
//! requests elsewhere, the Route stays as it is.

use super::{annotations, set};
use crate::model::annotation::PREFIX;
use crate::source::directory::node::{Node, Value};
use std::collections::HashMap;

/// The ports of the Services that are converted with a Route, by namespace and name.
#[derive(Default)]
pub(super) struct Services(HashMap<(String, String), Vec<ServicePort>>);

struct ServicePort {
    number: i64,
    /// Of the pods: a number, or the name of a port of theirs.
    target: Option<String>,
}

/// What a Route comes to.
pub(super) struct Converted {
    /// The Ingress, and Secrets that it needs; empty if the Route stays.
    pub objects: Vec<Node>,
    pub notes: Vec<String>,
}

fn metadata<'n>(object: &'n Node, field: &str) -> &'n str {
    let metadata = object.get("metadata");
    metadata.and_then(|metadata| metadata.str_at(field)).unwrap_or_default()
}

/// A text or a number, as text.
fn scalar(node: &Node) -> Option<String> {
    match &node.value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn number(node: Option<&Node>) -> Option<i64> {
    scalar(node?)?.parse().ok()
}

fn whole(number: i64) -> Node {
    Node::new(Value::Number(number.into()))
}

impl Services {
    /// Notes a Service.
    pub fn note(&mut self, object: &Node) {
        if object.str_at("kind") != Some("Service") || object.str_at("apiVersion") != Some("v1") {
            return;
        }
        let key = (
            metadata(object, "namespace").to_owned(),
            metadata(object, "name").to_owned(),
        );
        let ports = object.get("spec").and_then(|spec| spec.get("ports"));
        let ports = ports.map(Node::items).unwrap_or_default().iter();
        let ports = ports.filter_map(|port| {
            Some(ServicePort {
                number: number(port.get("port"))?,
                target: port.get("targetPort").and_then(scalar),
            })
        });
        self.0.insert(key, ports.collect());
    }

    /// The port of a Service that a Route means.
    fn port(&self, namespace: &str, service: &str, target: Option<&str>) -> Result<Node, String> {
        let named = target.filter(|target| target.parse::<i64>().is_err());
        if let Some(name) = named {
            return Ok(Node::map([("name", Node::text(name))]));
        }
        let ports = self.0.get(&(namespace.to_owned(), service.to_owned()));
        let ports = ports.ok_or_else(|| {
            format!(
                "a Route names the port of the pods or none, and an Ingress names that of the Service: give `convert` the manifest of \
                 Service \"{service}\" too"
            )
        })?;
        let found = match target {
            None => match ports.as_slice() {
                [only] => Some(only),
                _ => {
                    return Err(format!(
                        "without spec.port.targetPort it uses every port of Service \"{service}\", and an Ingress names one"
                    ));
                }
            },
            Some(target) => ports.iter().find(|port| {
                port.target
                    .as_deref()
                    .map_or(port.number.to_string() == target, |own| own == target)
            }),
        };
        let found = found.ok_or_else(|| {
            let target = target.unwrap_or_default();
            format!("no port of Service \"{service}\" has the targetPort {target}")
        })?;
        Ok(Node::map([("number", whole(found.number))]))
    }
}

/// Whether a document is a Route.
pub(super) fn is_route(object: &Node) -> bool {
    let version = object.str_at("apiVersion").unwrap_or_default();
    object.str_at("kind") == Some("Route") && version == "route.openshift.io/v1"
}

/// Writes a Route as an Ingress.
pub(super) fn convert(route: &Node, services: &Services) -> Converted {
    let mut writer = Writer {
        namespace: metadata(route, "namespace"),
        name: metadata(route, "name"),
        own: Vec::new(),
        objects: Vec::new(),
        notes: Vec::new(),
    };
    match writer.ingress(route, services) {
        Ok(ingress) => {
            writer
                .notes
                .insert(0, "written as an Ingress of the class narthex".to_owned());
            writer.objects.insert(0, ingress);
        }
        Err(why) => {
            writer.objects.clear();
            writer.notes = vec![format!("it stays a Route: {why}")];
        }
    }
    Converted {
        objects: writer.objects,
        notes: writer.notes,
    }
}

pub(super) struct Writer<'r> {
    namespace: &'r str,
    pub(super) name: &'r str,
    /// Annotations of narthex's own, without their prefix.
    own: Vec<(&'static str, String)>,
    objects: Vec<Node>,
    notes: Vec<String>,
}

impl Writer<'_> {
    pub(super) fn say(&mut self, name: &'static str, value: impl Into<String>) {
        self.own.push((name, value.into()));
    }

    pub(super) fn cannot(&mut self, what: impl Into<String>) {
        self.notes.push(what.into());
    }

    fn ingress(&mut self, route: &Node, services: &Services) -> Result<Node, String> {
        let nothing = Node::map([]);
        let spec = route.get("spec").unwrap_or(&nothing);
        let host = self.host(spec)?;
        let path = spec.str_at("path").filter(|path| !path.is_empty()).unwrap_or("/");
        if path.len() > 1 && path.ends_with('/') {
            let bare = path.trim_end_matches('/');
            self.cannot(format!(
                "the Route is for what is below {path}, and the Ingress also for {bare} itself"
            ));
        }
        let backend = self.backend(spec, services)?;
        let several = spec
            .get("alternateBackends")
            .is_some_and(|others| !others.items().is_empty());
        let tls = spec.get("tls").filter(|tls| tls.value != Value::Null);
        let passes = tls.and_then(|tls| tls.str_at("termination")) == Some("passthrough");
        let hosts = self.tls(tls, &host)?;
        self.actions(spec);
        let kept = annotations::convert(self, route, (path, several, passes));
        let own = self
            .own
            .iter()
            .map(|(name, value)| (format!("{PREFIX}{name}"), value.clone()));
        let mut all = Node::map([]);
        // An annotation of narthex's own that the Route has already wins, as it did there.
        for (name, value) in own.chain(kept) {
            set(&mut all, &name, Value::String(value));
        }
        let mut meta = vec![("name", Node::text(self.name))];
        if !self.namespace.is_empty() {
            meta.push(("namespace", Node::text(self.namespace)));
        }
        if let Some(labels) = route.get("metadata").and_then(|metadata| metadata.get("labels")) {
            meta.push(("labels", labels.clone()));
        }
        if !all.entries().is_empty() {
            meta.push(("annotations", all));
        }
        let path = Node::map([
            ("path", Node::text(path)),
            ("pathType", Node::text("Prefix")),
            ("backend", Node::map([("service", backend)])),
        ]);
        let paths = Node::map([("paths", Node::new(Value::Seq(vec![path])))]);
        let rule = Node::map([("host", Node::text(&host)), ("http", paths)]);
        let mut spec = vec![
            ("ingressClassName", Node::text("narthex")),
            ("rules", Node::new(Value::Seq(vec![rule]))),
        ];
        spec.extend(hosts.map(|hosts| ("tls", Node::new(Value::Seq(vec![hosts])))));
        Ok(Node::map([
            ("apiVersion", Node::text("networking.k8s.io/v1")),
            ("kind", Node::text("Ingress")),
            ("metadata", Node::map(meta)),
            ("spec", Node::map(spec)),
        ]))
    }

    fn host(&self, spec: &Node) -> Result<String, String> {
        let host = spec.str_at("host").filter(|host| !host.is_empty());
        let host = host.ok_or("it has no spec.host, and the host that it gets by --route-domain is not known here")?;
        match spec.str_at("wildcardPolicy").unwrap_or("None") {
            "None" | "" => Ok(host.to_owned()),
            "Subdomain" => {
                let domain = host.split_once('.').map(|(_, domain)| domain);
                let domain = domain.filter(|domain| domain.contains('.'));
                domain
                    .map(|domain| format!("*.{domain}"))
                    .ok_or_else(|| "its host has no domain".to_owned())
            }
            other => Err(format!("spec.wildcardPolicy \"{other}\" is not known")),
        }
    }

    /// The Service that gets the requests, and by annotations a second one.
    fn backend(&mut self, spec: &Node, services: &Services) -> Result<Node, String> {
        let target = spec
            .get("port")
            .and_then(|port| port.get("targetPort"))
            .and_then(scalar);
        let target = target.as_deref().filter(|target| !matches!(*target, "" | "0"));
        let others = spec.get("alternateBackends").map(Node::items).unwrap_or_default();
        let all: Vec<&Node> = spec.get("to").into_iter().chain(others).collect();
        let mut shares = Vec::new();
        for one in all {
            let name = one.str_at("name").filter(|name| !name.is_empty());
            let name = name.ok_or("one of its Services has no name")?;
            if one.str_at("kind").is_some_and(|kind| !matches!(kind, "" | "Service")) {
                return Err(format!("\"{name}\" is not a Service"));
            }
            let weight = one.get("weight").filter(|weight| weight.value != Value::Null);
            let weight = weight.map_or(Some(100), |weight| {
                number(Some(weight)).filter(|weight| (0..=256).contains(weight))
            });
            let weight = weight.ok_or_else(|| format!("the weight of Service \"{name}\" is not from 0 to 256"))?;
            let port = services.port(self.namespace, name, target)?;
            shares.push((name, weight, port));
        }
        let total: i64 = shares.iter().map(|(_, weight, _)| weight).sum();
        let (first, second) = match shares.as_slice() {
            [] => return Err("it has no spec.to".to_owned()),
            _ if total == 0 => {
                return Err("all weights are 0, so requests get 503, and an Ingress cannot say that".to_owned());
            }
            [first] => (first, None),
            [first, second] => (first, Some(second)),
            _ => return Err("it names more than two Services".to_owned()),
        };
        if let Some((name, weight, port)) = second {
            let percent = (weight * 100 + total / 2) / total;
            let port = port.get("name").or_else(|| port.get("number")).and_then(scalar);
            self.say("canary-service", format!("{name}:{}", port.unwrap_or_default()));
            self.say("canary-weight", percent.to_string());
            if percent * total != weight * 100 {
                self.cannot(format!(
                    "Service \"{name}\" has {weight} of {total} parts, and gets {percent} %"
                ));
            }
        }
        Ok(Node::map([("name", Node::text(first.0)), ("port", first.2.clone())]))
    }

    /// The entry of `spec.tls`, where there is one.
    fn tls(&mut self, tls: Option<&Node>, host: &str) -> Result<Option<Node>, String> {
        let Some(tls) = tls else {
            self.cannot("without spec.tls a Route is served in plain only, and the Ingress over HTTPS too");
            return Ok(None);
        };
        let text = |field: &str| tls.str_at(field).filter(|text| !text.is_empty());
        let termination = text("termination").unwrap_or_default();
        let insecure = text("insecureEdgeTerminationPolicy").unwrap_or("None");
        match insecure {
            "Allow" if termination != "passthrough" => self.say("ssl-redirect", "false"),
            "Redirect" => self.say("ssl-redirect", "true"),
            "None" => {
                self.say("ssl-redirect", "true");
                self.cannot("plain HTTP is redirected to HTTPS, for an Ingress cannot say that it gets 503");
            }
            other => {
                return Err(format!(
                    "spec.tls.insecureEdgeTerminationPolicy \"{other}\" is not possible here"
                ));
            }
        }
        match termination {
            "edge" => {}
            "reencrypt" => {
                self.say("backend-protocol", "https");
                match text("destinationCACertificate") {
                    Some(authority) => {
                        let name = format!("{}-destination-ca", self.name);
                        self.secret(&name, "Opaque", [("ca.crt", Node::text(authority))]);
                        self.say("backend-ca-secret", name);
                    }
                    None => self.cannot(
                        "without destinationCACertificate the authority of --route-service-ca verifies a Route's pods, and that of \
                         narthex.io/backend-ca-secret an Ingress's",
                    ),
                }
            }
            "passthrough" => {
                self.say("tls-passthrough", "true");
                return Ok(None);
            }
            other => {
                return Err(format!(
                    "spec.tls.termination \"{other}\" is not one of edge, reencrypt, passthrough"
                ));
            }
        }
        let mut entry = vec![("hosts", Node::texts([host]))];
        let external = tls
            .get("externalCertificate")
            .and_then(|external| external.str_at("name"));
        if let Some(secret) = external.filter(|name| !name.is_empty()) {
            entry.push(("secretName", Node::text(secret)));
        } else if let (Some(certificate), Some(key)) = (text("certificate"), text("key")) {
            let chain = text("caCertificate").map_or(certificate.to_owned(), |above| {
                format!("{}\n{above}", certificate.trim_end())
            });
            let name = format!("{}-tls", self.name);
            self.secret(
                &name,
                "kubernetes.io/tls",
                [("tls.crt", Node::text(chain)), ("tls.key", Node::text(key))],
            );
            entry.push(("secretName", Node::text(name)));
        } else if text("certificate").or(text("key")).is_some() {
            return Err("it has a certificate without its key, or a key without its certificate".to_owned());
        }
        Ok(Some(Node::map(entry)))
    }

    fn secret(&mut self, name: &str, kind: &str, data: impl IntoIterator<Item = (&'static str, Node)>) {
        let mut meta = vec![("name", Node::text(name))];
        if !self.namespace.is_empty() {
            meta.push(("namespace", Node::text(self.namespace)));
        }
        self.notes
            .push(format!("what it has in spec.tls stands in the Secret \"{name}\""));
        self.objects.push(Node::map([
            ("apiVersion", Node::text("v1")),
            ("kind", Node::text("Secret")),
            ("metadata", Node::map(meta)),
            ("type", Node::text(kind)),
            ("stringData", Node::map(data)),
        ]));
    }

    /// `spec.httpHeaders.actions`, as far as their values are plain texts.
    fn actions(&mut self, spec: &Node) {
        let actions = spec.get("httpHeaders").and_then(|headers| headers.get("actions"));
        for (side, set_by, removed_by) in [
            ("request", "request-headers-set", "request-headers-remove"),
            ("response", "response-headers-set", "response-headers-remove"),
        ] {
            let all = actions.and_then(|actions| actions.get(side)).map(Node::items);
            let (mut lines, mut names) = (Vec::new(), Vec::new());
            for one in all.unwrap_or_default() {
                let name = one.str_at("name").unwrap_or_default();
                let action = one.get("action");
                let value = action
                    .and_then(|action| action.get("set"))
                    .and_then(|set| set.str_at("value"));
                match (action.and_then(|action| action.str_at("type")), value) {
                    (Some("Delete"), None) => names.push(name.to_owned()),
                    (Some("Set"), Some(value)) if !value.contains(['%', '$', '\n']) => lines.push(format!("{name}: {value}")),
                    _ => self.cannot(format!("the action on the {side} field \"{name}\" is left out: narthex's annotations take plain texts only")),
                }
            }
            if !lines.is_empty() {
                self.say(set_by, lines.join("\n"));
            }
            if !names.is_empty() {
                self.say(removed_by, names.join(", "));
            }
        }
    }
}
