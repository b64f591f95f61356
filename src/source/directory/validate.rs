//! What the API server would refuse in a manifest, although narthex makes do: only `check` asks.
//!
//! The rules are those of Kubernetes' own validation of networking.k8s.io/v1 Ingress, of Services, Secrets and names of objects.

use super::node::Node;
use super::parse::location;
use crate::model::nearest::nearest;
use crate::model::{Code, Diagnostic, Kind, ObjectRef};
use std::path::Path;

/// Looks at an object of a file, if narthex reads its kind and version. What cannot be read at all is said elsewhere.
pub fn object(node: &Node, (kind, version): (&str, &str), path: &Path, said: &mut Vec<Diagnostic>) {
    let Some(kind) = Kind::named(kind).filter(|kind| kind.versions().contains(&version)) else {
        return;
    };
    let text = |field: &str| node.find(field).and_then(Node::as_str);
    let Some(name) = text("metadata.name") else { return };
    let namespace = text("metadata.namespace").filter(|namespace| !namespace.is_empty());
    let object = ObjectRef::new(
        kind,
        if kind.namespaced() {
            namespace.unwrap_or("default")
        } else {
            ""
        },
        name,
    );
    let mut checked = Checked {
        node,
        path,
        object,
        said,
    };
    // Both versions of the kinds of Gateway API are served.
    let is_served = kind.versions().contains(&version) && version.starts_with("gateway.networking.k8s.io/");
    if kind.versions().first() != Some(&version) && !is_served {
        let current = kind.versions().first().copied().unwrap_or_default();
        let message =
            format!("Kubernetes does not serve {version} of {kind} any more: `narthex convert` writes {current}");
        checked.say(Code::OldVersion, "apiVersion", message);
    }
    checked.name(kind, name);
    if let Some(namespace) = namespace
        && !is_label(namespace)
    {
        checked.refuse("metadata.namespace", namespace, LABEL);
    }
    match kind {
        Kind::Ingress if kind.versions().first() == Some(&version) => checked.ingress(),
        Kind::Service => checked.service(),
        _ => {}
    }
}

const LABEL: &str = "use at most 63 lower-case letters, digits and `-`, with a letter or digit at both ends";
const SUBDOMAIN: &str =
    "use at most 253 lower-case letters, digits, `-` and `.`, with a letter or digit at both ends of each part";
const SERVICE: &str = "use at most 63 lower-case letters, digits and `-`, with a letter at the beginning";

/// One object.
struct Checked<'a> {
    node: &'a Node,
    path: &'a Path,
    object: ObjectRef,
    said: &'a mut Vec<Diagnostic>,
}

impl Checked<'_> {
    fn say(&mut self, code: Code, field: impl Into<String>, message: impl Into<String>) {
        let field = field.into();
        let mut diagnostic = Diagnostic::new(code, &self.object, field, message.into());
        diagnostic.location = Some(location(self.path, self.node.locate(&diagnostic.field)));
        self.said.push(diagnostic);
    }

    fn refuse(&mut self, field: impl Into<String>, value: &str, remedy: &str) {
        self.say(
            Code::NotAccepted,
            field,
            format!("the API server refuses \"{value}\": {remedy}"),
        );
    }

    fn name(&mut self, kind: Kind, name: &str) {
        let (fits, remedy) = match kind {
            Kind::Service => (is_service(name), SERVICE),
            Kind::Namespace => (is_label(name), LABEL),
            _ => (is_subdomain(name), SUBDOMAIN),
        };
        if !fits {
            self.refuse("metadata.name", name, remedy);
        }
    }

    fn service(&mut self) {
        let node = self.node;
        let ports = node.find("spec.ports").map(Node::items).unwrap_or_default();
        let is_external = node.find("spec.type").and_then(Node::as_str) == Some("ExternalName");
        if ports.is_empty() && !is_external {
            let message = "the API server refuses a Service without ports: write at least one `port`";
            self.say(Code::NotAccepted, "spec.ports", message);
        }
        let mut names = Vec::new();
        for (index, port) in ports.iter().enumerate() {
            let name = port.str_at("name").unwrap_or_default();
            let field = format!("spec.ports[{index}].name");
            if name.is_empty() && ports.len() > 1 {
                let message = "the API server refuses ports without a name where there are several: name each";
                self.say(Code::NotAccepted, format!("spec.ports[{index}]"), message);
            } else if !name.is_empty() && !is_label(name) {
                self.refuse(field, name, LABEL);
            } else if !name.is_empty() && names.contains(&name) {
                self.refuse(field, name, "another port has this name");
            }
            names.push(name);
        }
    }

    fn ingress(&mut self) {
        let node = self.node;
        let Some(spec) = node.get("spec") else { return };
        let rules = spec.get("rules").map(Node::items).unwrap_or_default();
        if rules.is_empty() && spec.get("defaultBackend").is_none() {
            let message =
                "the API server refuses an Ingress without rules and without defaultBackend: write one of them";
            self.say(Code::NotAccepted, "spec", message);
        }
        if let Some(backend) = spec.get("defaultBackend") {
            self.backend(backend, "spec.defaultBackend");
        }
        let class = spec.str_at("ingressClassName");
        if class.is_some() && node.find("metadata.annotations[kubernetes.io/ingress.class]").is_some() {
            let message = "the API server refuses the annotation kubernetes.io/ingress.class beside ingressClassName: \
                           remove the annotation";
            self.say(Code::NotAccepted, "spec.ingressClassName", message);
        }
        if let Some(class) = class.filter(|class| !is_subdomain(class)) {
            self.refuse("spec.ingressClassName", class, SUBDOMAIN);
        }
        let mut hosts = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            if let Some(host) = rule.str_at("host").filter(|host| !host.is_empty()) {
                hosts.push(host);
                self.host(host, format!("spec.rules[{index}].host"));
            }
            let paths = rule.find("http.paths").map(Node::items).unwrap_or_default();
            for (place, path) in paths.iter().enumerate() {
                let field = format!("spec.rules[{index}].http.paths[{place}]");
                self.path(path, &field);
                if let Some(backend) = path.get("backend") {
                    self.backend(backend, &format!("{field}.backend"));
                }
            }
        }
        for (index, tls) in spec.get("tls").map(Node::items).unwrap_or_default().iter().enumerate() {
            for (place, host) in tls.get("hosts").map(Node::items).unwrap_or_default().iter().enumerate() {
                let Some(host) = host.as_str() else { continue };
                let field = format!("spec.tls[{index}].hosts[{place}]");
                self.host(host, field.clone());
                let meant = nearest(host, hosts.iter().copied()).filter(|_| !hosts.contains(&host));
                if let Some(meant) = meant {
                    let message = format!("no rule of this Ingress is for \"{host}\" (did you mean \"{meant}\"?)");
                    self.say(Code::TlsHostUnused, field, message);
                }
            }
            if let Some(secret) = tls.str_at("secretName").filter(|secret| !is_subdomain(secret)) {
                self.refuse(format!("spec.tls[{index}].secretName"), secret, SUBDOMAIN);
            }
        }
    }

    fn host(&mut self, host: &str, field: String) {
        let name = host.strip_prefix("*.").unwrap_or(host);
        if is_subdomain(name) && host.parse::<std::net::IpAddr>().is_err() {
            return;
        }
        if host.parse::<std::net::IpAddr>().is_ok() {
            let remedy = "a host is a DNS name, and not an address: leave it out to answer for all names and addresses";
            return self.refuse(field, host, remedy);
        }
        let lower = host.to_ascii_lowercase();
        let lower = lower.trim_end_matches('.');
        if is_subdomain(lower.strip_prefix("*.").unwrap_or(lower)) {
            return self.refuse(field, host, &format!("write \"{lower}\""));
        }
        self.refuse(
            field,
            host,
            &format!("{SUBDOMAIN}; a wildcard is `*.` at the beginning"),
        );
    }

    fn path(&mut self, path: &Node, field: &str) {
        let Some(text) = path.str_at("path") else { return };
        // Others are read as the controller likes.
        if !matches!(path.str_at("pathType"), Some("Exact" | "Prefix")) {
            return;
        }
        let inside = ["//", "/./", "/../", "%2f", "%2F"]
            .into_iter()
            .find(|part| text.contains(part));
        let part = inside.or_else(|| ["/..", "/."].into_iter().find(|part| text.ends_with(part)));
        if let Some(part) = part {
            let remedy = format!("a path of type Exact or Prefix must not contain \"{part}\"");
            self.refuse(format!("{field}.path"), text, &remedy);
        }
    }

    fn backend(&mut self, backend: &Node, field: &str) {
        let Some(service) = backend.get("service") else { return };
        if backend.get("resource").is_some() {
            let message = "the API server refuses a backend with both service and resource: write one of them";
            self.say(Code::NotAccepted, field, message);
        }
        if let Some(name) = service.str_at("name").filter(|name| !is_service(name)) {
            self.refuse(format!("{field}.service.name"), name, SERVICE);
        }
        let Some(port) = service.get("port") else { return };
        let name = port.str_at("name").filter(|name| !name.is_empty());
        if name.is_some() && port.get("number").is_some() {
            let message = "the API server refuses a port with both name and number: write one of them";
            self.say(Code::NotAccepted, format!("{field}.service.port"), message);
        } else if let Some(name) = name.filter(|name| !is_port(name)) {
            let remedy = "use at most 15 lower-case letters, digits and `-`, with at least one letter";
            self.refuse(format!("{field}.service.port.name"), name, remedy);
        }
    }
}

fn is_word(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_end = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    is_end(bytes.first())
        && is_end(bytes.last())
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-')
}

/// A label of DNS, as RFC 1123 has it.
fn is_label(text: &str) -> bool {
    text.len() <= 63 && is_word(text)
}

/// Names that DNS joins by dots (RFC 1123), whose parts the API server does not measure.
pub(in crate::source) fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_word)
}

/// The name of a Service (RFC 1035).
fn is_service(text: &str) -> bool {
    is_label(text) && text.starts_with(|first: char| first.is_ascii_lowercase())
}

/// The name of a port (RFC 6335).
fn is_port(text: &str) -> bool {
    text.len() <= 15 && is_word(text) && !text.contains("--") && text.contains(|one: char| one.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_name_of_dns_goes_into_no_request() {
        assert!(is_subdomain("node-1.example.com"));
        for name in ["", "a/proxy", "..", "a..b", "a?b", "A"] {
            assert!(!is_subdomain(name), "{name:?}");
        }
    }
}
