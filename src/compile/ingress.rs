//! One Ingress: what it claims, and what is wrong with it whatever the others say.

use super::backends::BackendKey;
use super::claims::{Claim, Claimed, Touched};
use super::{Key, State};
use crate::model::object::{Ingress, IngressBackend, IngressPath, PortRef};
use crate::model::{Code, Diagnostic, Kind, ObjectRef};
use crate::table::canonical::{HostError, canonical_host, canonical_rule_path};
use crate::table::paths::prefix_key;
use crate::table::route::Age;
use crate::table::{HostPattern, PathKind, PathPattern, Policies};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Characters that make an ImplementationSpecific path look like a regular expression.
const REGEX_CHARACTERS: &[char] = &['(', ')', '[', ']', '{', '}', '*', '+', '?', '|', '^', '$', '\\'];

/// An Ingress as compiled.
#[derive(Debug)]
pub(super) struct Compiled {
    pub ingress: Arc<Ingress>,
    /// Whether it is ours; otherwise why not.
    pub served: Result<(), String>,
    pub claims: Vec<Claim>,
    /// The default backend and the hosts it is for; no hosts for an Ingress without rules.
    pub default: Option<(BackendKey, Vec<HostPattern>)>,
    /// What is wrong with it by itself.
    pub findings: Vec<Diagnostic>,
}

impl Compiled {
    fn backends(&self) -> impl Iterator<Item = &BackendKey> {
        let default = self.default.iter().map(|(backend, _)| backend);
        self.claims.iter().map(|claim| &claim.backend).chain(default)
    }

    /// The age of a claim at a place in this Ingress.
    pub fn age(&self, place: (u32, u32)) -> Age {
        let meta = &self.ingress.meta;
        Age {
            created: meta.created,
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
            place,
        }
    }

    /// The age of its default backend.
    pub fn default_age(&self) -> Age {
        self.age((u32::MAX, u32::MAX))
    }
}

impl State {
    pub(super) fn put_ingress(&mut self, key: Key, ingress: Arc<Ingress>) {
        if self.ingresses.get(&key).is_none_or(|old| old.ingress != ingress) {
            self.recompile_ingress(key, ingress);
        }
    }

    pub(super) fn recompile_ingress(&mut self, key: Key, ingress: Arc<Ingress>) {
        let served = self.serves(&ingress);
        let compiled = if served.is_ok() {
            compile(ingress, served)
        } else {
            Compiled {
                ingress,
                served,
                claims: Vec::new(),
                default: None,
                findings: Vec::new(),
            }
        };
        self.swap_ingress(key, Some(compiled));
    }

    pub(super) fn delete_ingress(&mut self, key: &Key) {
        self.swap_ingress(key.clone(), None);
    }

    /// Puts the claims of one Ingress in the place of those it had.
    fn swap_ingress(&mut self, key: Key, new: Option<Compiled>) {
        let old = self.ingresses.remove(&key);
        self.stale.insert(ObjectRef::new(Kind::Ingress, key.0.clone(), key.1.clone()));
        let mut touched = Touched::default();
        // The new backends are held before the old are let go, so that one that stays keeps its identity.
        if let Some(new) = &new {
            for backend in new.backends() {
                self.hold_backend(backend, &key);
            }
        }
        let had_fallback = old.as_ref().is_some_and(|old| self.release(old, &mut touched));
        let has_fallback = new.as_ref().is_some_and(|new| self.claim(&key, new, &mut touched));
        if let Some(old) = &old {
            for backend in old.backends() {
                self.drop_backend(backend, &key);
            }
        }
        self.settle(touched);
        if had_fallback || has_fallback {
            self.settle_fallback();
        }
        if let Some(new) = new {
            self.ingresses.insert(key, new);
        }
    }

    fn claim(&mut self, key: &Key, new: &Compiled, touched: &mut Touched) -> bool {
        let policies = Arc::new(policies(&new.ingress, &mut Vec::new()));
        for claim in &new.claims {
            touched.path(&claim.host, &claim.path);
            let claimed = Claimed {
                age: new.age(claim.place),
                backend: self.backend_id(&claim.backend),
                policies: policies.clone(),
            };
            self.claim_path(&claim.host, &claim.path, claimed);
        }
        let Some((backend, hosts)) = &new.default else { return false };
        let backend = self.backend_id(backend);
        for host in hosts {
            touched.default_backend(host);
            let claimed = Claimed {
                age: new.default_age(),
                backend,
                policies: policies.clone(),
            };
            self.claim_default(host, claimed);
        }
        if hosts.is_empty() {
            self.fallbacks.insert(new.default_age(), (key.clone(), backend));
        }
        hosts.is_empty()
    }

    fn release(&mut self, old: &Compiled, touched: &mut Touched) -> bool {
        for claim in &old.claims {
            touched.path(&claim.host, &claim.path);
            self.release_path(&claim.host, &claim.path, &old.age(claim.place));
        }
        let Some((_, hosts)) = &old.default else { return false };
        for host in hosts {
            touched.default_backend(host);
            self.release_default(host, &old.default_age());
        }
        hosts.is_empty() && {
            let owners: Vec<_> = self
                .fallbacks
                .values()
                .map(|((namespace, name), _)| ObjectRef::new(Kind::Ingress, namespace.clone(), name.clone()))
                .collect();
            self.stale.extend(owners);
            self.fallbacks.remove(&old.default_age()).is_some()
        }
    }
}

/// Reads one Ingress, apart from all others.
fn compile(ingress: Arc<Ingress>, served: Result<(), String>) -> Compiled {
    let mut reader = Reader {
        object: ObjectRef::new(
            Kind::Ingress,
            ingress.meta.namespace.clone(),
            ingress.meta.name.clone(),
        ),
        findings: Vec::new(),
    };
    let policies = policies(&ingress, &mut reader.findings);
    reader.unsupported(&ingress);
    let mut claims: Vec<Claim> = Vec::new();
    let mut hosts: Vec<HostPattern> = Vec::new();
    let mut seen = BTreeMap::new();
    for (rule_index, rule) in (0_u32..).zip(&ingress.rules) {
        let field = format!("spec.rules[{rule_index}]");
        let Some(host) = reader.host(rule.host.as_deref(), &field) else {
            continue;
        };
        if !hosts.contains(&host) {
            hosts.push(host.clone());
        }
        let paths = rule.paths.as_deref().unwrap_or_default();
        if paths.is_empty() && ingress.default_backend.is_none() {
            reader.say(
                Code::NothingToServe,
                &field,
                format!("the rule for \"{host}\" has no http.paths, and there is no spec.defaultBackend to send it to"),
            );
        }
        for (path_index, path) in (0_u32..).zip(paths) {
            let field = format!("{field}.http.paths[{path_index}]");
            let Some(pattern) = reader.path(path, &ingress, &policies, &field) else {
                continue;
            };
            let first = seen.entry((host.clone(), pattern.path.clone(), pattern.kind));
            if let std::collections::btree_map::Entry::Occupied(first) = &first {
                let first: &String = first.get();
                reader.say(
                    Code::DuplicatePath,
                    &field,
                    format!("{host} {pattern} stands already at {first}, which is the one that counts"),
                );
            }
            first.or_insert_with(|| field.clone());
            claims.push(Claim {
                host: host.clone(),
                path: pattern,
                backend: reader.backend(&path.backend, &ingress, &format!("{field}.backend")),
                place: (rule_index, path_index),
            });
        }
    }
    let default = ingress.default_backend.as_ref().map(|backend| {
        let backend = reader.backend(backend, &ingress, "spec.defaultBackend");
        (backend, if ingress.rules.is_empty() { Vec::new() } else { hosts })
    });
    if ingress.rules.is_empty() && ingress.default_backend.is_none() {
        reader.say(
            Code::NothingToServe,
            "spec",
            "it has neither rules nor a defaultBackend".to_owned(),
        );
    }
    // An Ingress all of whose hosts are broken must not become the default of the whole cluster.
    let default = default.filter(|(_, hosts)| ingress.rules.is_empty() || !hosts.is_empty());
    Compiled {
        ingress,
        served,
        claims,
        default,
        findings: reader.findings,
    }
}

/// Reads the annotations of ours.
fn policies(ingress: &Ingress, findings: &mut Vec<Diagnostic>) -> Policies {
    let object = ObjectRef::new(
        Kind::Ingress,
        ingress.meta.namespace.clone(),
        ingress.meta.name.clone(),
    );
    let mut policies = Policies::default();
    for (name, value) in &ingress.meta.annotations {
        let Some(ours) = name.strip_prefix("narthex.io/") else { continue };
        let field = format!("metadata.annotations[{name}]");
        match (ours, value.as_str()) {
            ("merge-slashes", "true") => policies.keep_slashes = false,
            ("merge-slashes", "false") => policies.keep_slashes = true,
            ("merge-slashes", other) => findings.push(Diagnostic::new(
                Code::InvalidAnnotation,
                &object,
                field,
                format!("\"{other}\" is neither \"true\" nor \"false\"; \"true\" is used"),
            )),
            _ => findings.push(Diagnostic::new(
                Code::InvalidAnnotation,
                &object,
                field,
                "narthex knows no such annotation; known: narthex.io/merge-slashes",
            )),
        }
    }
    policies
}

struct Reader {
    object: ObjectRef,
    findings: Vec<Diagnostic>,
}

impl Reader {
    fn say(&mut self, code: Code, field: &str, message: String) {
        self.findings.push(Diagnostic::new(code, &self.object, field, message));
    }

    /// Names what the object asks for and narthex does not do yet.
    fn unsupported(&mut self, ingress: &Ingress) {
        if !ingress.tls.is_empty() {
            self.say(
                Code::NotYet,
                "spec.tls",
                "narthex does not serve HTTPS yet: the hosts answer over HTTP only".to_owned(),
            );
        }
        for name in ingress.meta.annotations.keys() {
            if !name.starts_with("narthex.io/") && name != "kubernetes.io/ingress.class" {
                self.say(
                    Code::NotYet,
                    &format!("metadata.annotations[{name}]"),
                    "narthex does not act on this annotation yet".to_owned(),
                );
            }
        }
    }

    fn host(&mut self, host: Option<&str>, field: &str) -> Option<HostPattern> {
        let Some(host) = host.filter(|host| !host.is_empty()) else {
            return Some(HostPattern::Any);
        };
        let field = format!("{field}.host");
        let (wildcard, name) = match host.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, host),
        };
        // An address is written bare in manifests and in brackets in requests.
        let bracketed = format!("[{name}]");
        let name = if name.parse::<std::net::Ipv6Addr>().is_ok() { &bracketed } else { name };
        match canonical_host(name) {
            Ok(canonical) if canonical.port.is_some() => {
                self.say(
                    Code::InvalidHost,
                    &field,
                    format!("\"{host}\" has a port; a rule's host is a name alone and fits every port"),
                );
                None
            }
            Ok(canonical) if wildcard && canonical.name.starts_with('[') => {
                self.say(Code::InvalidHost, &field, format!("\"{host}\" is no wildcard of a DNS name"));
                None
            }
            Ok(canonical) if wildcard => Some(HostPattern::Wildcard(canonical.name.into())),
            Ok(canonical) => Some(HostPattern::Exact(canonical.name.into())),
            Err(error) => {
                let hint = if host == "*" {
                    "leave host out to mean any host".to_owned()
                } else if !host.is_ascii() {
                    "write it as an A-label (xn--…), as requests do".to_owned()
                } else if host.contains('*') {
                    "a wildcard is the whole first label: *.example.com".to_owned()
                } else if error == HostError::Port || host.contains(':') {
                    "a rule's host has no port".to_owned()
                } else {
                    error.to_string()
                };
                self.say(
                    Code::InvalidHost,
                    &field,
                    format!("\"{host}\" is no host name, so the rule is left out: {hint}"),
                );
                None
            }
        }
    }

    fn path(
        &mut self,
        path: &IngressPath,
        ingress: &Ingress,
        policies: &Policies,
        field: &str,
    ) -> Option<PathPattern> {
        let kind = match path.path_type.as_deref() {
            Some("Exact") => PathKind::Exact,
            Some("Prefix" | "ImplementationSpecific") => PathKind::Prefix,
            None | Some("") => {
                if !ingress.legacy {
                    self.say(
                        Code::MissingPathType,
                        &format!("{field}.pathType"),
                        "it is missing, so ImplementationSpecific (here: Prefix) is used; a cluster demands one"
                            .to_owned(),
                    );
                }
                PathKind::Prefix
            }
            Some(other) => {
                self.say(
                    Code::InvalidPathType,
                    &format!("{field}.pathType"),
                    format!("\"{other}\" is none of Exact, Prefix, ImplementationSpecific, so the path is left out"),
                );
                return None;
            }
        };
        let text = path.path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/");
        let specific = !matches!(path.path_type.as_deref(), Some("Exact" | "Prefix"));
        if specific && text.contains(REGEX_CHARACTERS) {
            self.say(
                Code::PathTakenLiterally,
                &format!("{field}.path"),
                format!("\"{text}\" looks like a regular expression, but is taken literally, as a prefix"),
            );
        }
        match canonical_rule_path(text, policies.keep_slashes) {
            Ok(canonical) => {
                let path = match kind {
                    PathKind::Prefix => match prefix_key(&canonical) {
                        "" => "/",
                        prefix => prefix,
                    },
                    PathKind::Exact => &canonical,
                };
                Some(PathPattern {
                    kind,
                    path: path.into(),
                })
            }
            Err(error) => {
                self.say(
                    Code::InvalidPath,
                    &format!("{field}.path"),
                    format!("\"{text}\" is left out: {error}"),
                );
                None
            }
        }
    }

    /// The backend a path names. One that names nothing keeps its path, which answers 503: a shorter prefix must not
    /// answer in its place.
    fn backend(&mut self, backend: &IngressBackend, ingress: &Ingress, field: &str) -> BackendKey {
        let namespace = ingress.meta.namespace.clone();
        let nothing = BackendKey {
            namespace: namespace.clone(),
            service: "".into(),
            port: PortRef::Missing,
        };
        match backend {
            IngressBackend::Service { name, port } => {
                let wrong = match port {
                    _ if name.is_empty() => Some("service.name is empty".to_owned()),
                    PortRef::Missing => Some(format!("service.port of \"{name}\" has neither number nor name")),
                    PortRef::Number(number) if u16::try_from(*number).map_or(true, |port| port == 0) => {
                        Some(format!("service.port.number {number} is not from 1 to 65535"))
                    }
                    _ => None,
                };
                match wrong {
                    Some(wrong) => {
                        self.say(Code::InvalidBackend, field, format!("{wrong}; requests get 503"));
                        nothing
                    }
                    None => BackendKey {
                        namespace,
                        service: name.clone(),
                        port: port.clone(),
                    },
                }
            }
            IngressBackend::Resource { kind, name } => {
                self.say(
                    Code::ResourceBackend,
                    field,
                    format!("resource {kind} \"{name}\" is no Service, which is all narthex sends to; requests get 503"),
                );
                nothing
            }
            IngressBackend::Missing => {
                self.say(
                    Code::InvalidBackend,
                    field,
                    "it names no Service; requests get 503".to_owned(),
                );
                nothing
            }
        }
    }
}
