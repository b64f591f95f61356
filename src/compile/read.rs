//! One Ingress by itself: what it claims, and what is wrong with it whatever the others say.

use super::Options;
use super::annotations::{self, Settings};
use super::backends::BackendKey;
use super::claims::Claim;
use super::owners::HostOwners;
use super::tls::{TlsEntry, read_tls};
use crate::model::annotation::Reach;
use crate::model::object::{Ingress, IngressBackend, IngressPath, IngressRule, Meta, PortRef};
use crate::model::{Code, Diagnostic, Field, FieldForm, Kind, ObjectRef, Seniority};
use crate::table::canonical::{PathError, canonical_host, canonical_rule_path};
use crate::table::paths::prefix_key;
use crate::table::{BackendSettings, Guard, HostPattern, PathKind, PathPattern};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock};

/// Characters that make an ImplementationSpecific path look like a regular expression.
const REGEX_CHARACTERS: &[char] = &['(', ')', '[', ']', '{', '}', '*', '+', '?', '|', '^', '$', '\\'];

/// What makes even an Exact or Prefix path look like one: ingress-nginx reads those too, once an annotation says so.
const REGEX_SIGNS: &[&str] = &[".*", ".+", "(/", "(?", "[^", "\\d", "\\w"];

/// A path of a rule.
pub(super) const PATH: FieldForm = FieldForm {
    text: "spec.rules[].http.paths[]",
    list: "spec.rules",
};

/// A rule without paths.
pub(super) const RULE: FieldForm = FieldForm {
    text: "spec.rules[]",
    ..PATH
};

/// The default backend.
pub(super) const DEFAULT: Field = Field::new(&FieldForm {
    text: "spec.defaultBackend",
    ..PATH
});

/// The path all prefixes begin with; most rules have it, and share this one.
static ROOT: LazyLock<Arc<str>> = LazyLock::new(|| "/".into());

/// What an Ingress says.
pub(super) struct Reading {
    pub claims: Vec<Claim>,
    /// The default backend and the hosts it is for; no hosts for an Ingress without rules.
    pub default: Option<(BackendKey, Vec<HostPattern>)>,
    /// What its annotations say.
    pub settings: Settings,
    /// Where its claims stand among those of others. The caller knows whether its namespace is being deleted.
    pub seniority: Seniority,
    /// `spec.tls`.
    pub tls: Vec<TlsEntry>,
    /// What its own annotations guard.
    pub guards: Guards,
    /// What is wrong with it by itself.
    pub findings: Vec<Diagnostic>,
}

/// What an Ingress's own annotations guard and narthex does not enforce.
#[derive(Default)]
pub(super) struct Guards {
    /// The first of its guards, which closes its routes.
    pub rules: Option<Arc<Guard>>,
    /// The first that holds for whole hosts.
    pub host: Option<Arc<Guard>>,
    /// The hosts of its rules.
    pub hosts: Vec<HostPattern>,
    /// Those of them with a path that cannot be read as it is meant: nobody knows which requests it guards.
    pub unclear: HashSet<HostPattern>,
}

impl Guards {
    /// Whether one of them holds for whole hosts by what it is.
    pub fn is_for_host(&self) -> bool {
        self.host.is_some()
    }
}

/// Reads one Ingress, apart from all others.
pub(super) fn read(ingress: &Ingress, options: &Options) -> Reading {
    let owners = &options.host_owners;
    let mut reader = Reader::new(ingress, options);
    let tls = read_tls(ingress, &reader.object, owners, &mut reader.findings);
    for (index, rule) in (0_u32..).zip(&ingress.rules) {
        reader.rule(index, rule);
    }
    let default = reader.default_backend();
    reader.undecoded(options);
    let mut guards = reader.guards;
    if guards.rules.is_some() || !guards.unclear.is_empty() {
        guards.hosts = reader.hosts;
    }
    if ingress.rules.is_empty() {
        guards.hosts.extend(default.is_some().then_some(HostPattern::Any));
    }
    if annotations::uses_regex(&ingress.meta) {
        guards.unclear = guards.hosts.iter().cloned().collect();
    }
    Reading {
        guards,
        claims: reader.claims,
        default,
        settings: reader.settings,
        seniority: own_seniority(&ingress.meta),
        tls,
        findings: reader.findings,
    }
}

/// What an object says by itself of its place among others; its namespace may have a say too.
pub(super) fn own_seniority(meta: &Meta) -> Seniority {
    Seniority {
        canary: annotations::is_canary(meta),
        leaving: meta.deleting,
        created: meta.created,
    }
}

struct Reader<'i> {
    object: ObjectRef,
    ingress: &'i Ingress,
    owners: &'i HostOwners,
    settings: Settings,
    /// What of them is about backends, where something is.
    backend_settings: Option<Arc<BackendSettings>>,
    claims: Vec<Claim>,
    /// Where each host and path stands first.
    seen: HashMap<(HostPattern, PathPattern), Field>,
    /// The hosts, each once, and in order.
    hosts: Vec<HostPattern>,
    known_hosts: HashSet<HostPattern>,
    guards: Guards,
    findings: Vec<Diagnostic>,
}

impl<'i> Reader<'i> {
    fn new(ingress: &'i Ingress, options: &'i Options) -> Self {
        let object = ObjectRef::new(Kind::Ingress, ingress.meta.namespace.clone(), ingress.meta.name.clone());
        let mut findings = Vec::new();
        let ignored = &options.ignored_annotations;
        let settings = annotations::read(&ingress.meta, &object, ignored, &mut findings);
        let guard = |reach: Option<Reach>| {
            let mut all = annotations::guards(&ingress.meta, ignored);
            let (name, _) = all.find(|(_, other)| reach.is_none_or(|reach| reach == *other))?;
            Some(Arc::new(Guard {
                object: object.clone(),
                name: name.into(),
            }))
        };
        let guards = Guards {
            rules: guard(None),
            host: guard(Some(Reach::Host)),
            ..Guards::default()
        };
        let said = settings.backend != BackendSettings::default();
        Self {
            backend_settings: said.then(|| Arc::new(settings.backend.clone())),
            settings,
            object,
            ingress,
            owners: &options.host_owners,
            guards,
            claims: Vec::new(),
            seen: HashMap::new(),
            hosts: Vec::new(),
            known_hosts: HashSet::new(),
            findings,
        }
    }

    fn say(&mut self, code: Code, field: &str, message: String) {
        self.findings.push(Diagnostic::new(code, &self.object, field, message));
    }

    fn rule(&mut self, index: u32, rule: &IngressRule) {
        // Its source has said so, and why.
        if rule.unclear {
            return;
        }
        let field = format!("spec.rules[{index}]");
        let Some(host) = self.host(rule.host.as_deref(), &field) else {
            return;
        };
        if let Some(owners) = self.owners.against(&self.ingress.meta.namespace, &host) {
            let message = match &host {
                HostPattern::Exact(name) => format!("--host-owners gives {name} to {owners}, so the rule is left out"),
                many => format!("{many} matches hosts that --host-owners gives to {owners}, so the rule is left out"),
            };
            self.say(Code::HostNotOwned, &format!("{field}.host"), message);
            return;
        }
        if self.known_hosts.insert(host.clone()) {
            self.hosts.push(host.clone());
        }
        let paths = rule.paths.as_deref().unwrap_or_default();
        if paths.is_empty() {
            self.catch_all(index, &host, &field);
        }
        for (path_index, path) in (0_u32..).zip(paths) {
            let place = Field::within(&PATH, index, path_index);
            let field = place.to_string();
            let read = if path.unclear { None } else { self.path(path, &field) };
            if read.as_ref().is_none_or(|(_, literally)| *literally) {
                self.guards.unclear.insert(host.clone());
            }
            let Some((pattern, _)) = read else { continue };
            let backend = self.backend(&path.backend, &format!("{field}.backend"));
            self.claim(host.clone(), pattern, backend, place);
        }
    }

    /// A rule without paths: "if unspecified, the rule defaults to a http catch-all" (API reference,
    /// IngressRule), which goes to the default backend.
    fn catch_all(&mut self, index: u32, host: &HostPattern, field: &str) {
        let ingress = self.ingress;
        let Some(backend) = &ingress.default_backend else {
            self.say(
                Code::NothingToServe,
                field,
                format!(
                    "the rule for host {host} has neither http.paths nor a spec.defaultBackend for all \
                     requests, so it has no effect: add paths"
                ),
            );
            return;
        };
        let settings = self.backend_settings.clone();
        let backend = backend_key(backend, ingress, settings).unwrap_or_else(|_| no_backend(ingress));
        let all = PathPattern {
            kind: PathKind::Prefix,
            path: ROOT.clone(),
        };
        self.claim(host.clone(), all, backend, Field::at(&RULE, index));
    }

    fn claim(&mut self, host: HostPattern, path: PathPattern, backend: BackendKey, field: Field) {
        match self.seen.entry((host.clone(), path.clone())) {
            Entry::Occupied(first) => {
                let first = first.get();
                let message = format!("{host} {path} is already defined at {first}, which is used");
                self.say(Code::DuplicatePath, &field.to_string(), message);
            }
            Entry::Vacant(entry) => {
                entry.insert(field);
            }
        }
        self.claims.push(Claim {
            host,
            path,
            backend,
            field,
        });
    }

    /// The default backend, and the hosts it is for.
    fn default_backend(&mut self) -> Option<(BackendKey, Vec<HostPattern>)> {
        let ingress = self.ingress;
        let Some(backend) = &ingress.default_backend else {
            if ingress.rules.is_empty() && ingress.meta.undecoded.is_none() {
                self.say(
                    Code::NothingToServe,
                    "spec",
                    "it has neither rules nor a defaultBackend, so it has no effect".to_owned(),
                );
            }
            return None;
        };
        let backend = self.backend(backend, "spec.defaultBackend");
        let hosts = self.hosts.clone();
        // An Ingress all of whose hosts are broken must not become the default of the whole cluster.
        if !ingress.rules.is_empty() {
            return (!hosts.is_empty()).then_some((backend, hosts));
        }
        if let Some(owners) = self.owners.against(&ingress.meta.namespace, &HostPattern::Any) {
            let message = format!("--host-owners gives all hosts to {owners}, so the default backend is left out");
            self.say(Code::HostNotOwned, "spec.defaultBackend", message);
            return None;
        }
        Some((backend, hosts))
    }

    /// What is known of a version that cannot be decoded: its guards, and of its hosts nobody knows which requests they
    /// guard.
    fn undecoded(&mut self, options: &Options) {
        let ingress = self.ingress;
        let Some(undecoded) = &ingress.meta.undecoded else {
            return;
        };
        let mut guards = annotations::undecoded_guards(&ingress.meta, &options.ignored_annotations);
        let Some((name, _)) = guards.next() else { return };
        for host in &undecoded.hosts {
            let pattern = match host.as_deref().filter(|host| !host.is_empty()) {
                None => HostPattern::Any,
                Some(host) => match read_host(host) {
                    Ok(pattern) => pattern,
                    Err(_) => continue,
                },
            };
            if self.known_hosts.insert(pattern.clone()) {
                self.hosts.push(pattern.clone());
            }
            self.guards.unclear.insert(pattern);
        }
        let message = format!(
            "{}, and the object cannot be decoded, so its routes and all routes of its hosts in this namespace are closed: \
             requests get 503 (to serve them without it, start narthex with --ignore-annotation={name})",
            annotations::NOT_ENFORCED
        );
        self.say(Code::GuardNotEnforced, &format!("annotation {name}"), message);
    }

    fn host(&mut self, host: Option<&str>, field: &str) -> Option<HostPattern> {
        let Some(host) = host.filter(|host| !host.is_empty()) else {
            return Some(HostPattern::Any);
        };
        match read_host(host) {
            Ok(pattern) => Some(pattern),
            Err(why) => {
                self.say(
                    Code::InvalidHost,
                    &format!("{field}.host"),
                    format!("\"{host}\" is not a valid host, so the rule is left out: {why}"),
                );
                None
            }
        }
    }

    /// The path, and whether it is taken literally though it was meant otherwise.
    fn path(&mut self, path: &IngressPath, field: &str) -> Option<(PathPattern, bool)> {
        let kind = self.path_kind(path, field)?;
        let text = path.path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/");
        let specific = !matches!(path.path_type.as_deref(), Some("Exact" | "Prefix"));
        let signs = REGEX_SIGNS.iter().any(|sign| text.contains(sign));
        let literally = if let Some(whole) = text.strip_suffix("/*").filter(|_| specific) {
            Some(format!(
                "is taken literally: pathType Prefix with \"{whole}/\" matches all paths below it"
            ))
        } else if signs || (specific && text.contains(REGEX_CHARACTERS)) {
            Some(match kind {
                PathKind::Exact => "looks like a regular expression, but is taken literally".to_owned(),
                PathKind::Prefix => {
                    "looks like a regular expression, but is taken literally, as a prefix by path element".to_owned()
                }
            })
        } else {
            text.contains('?').then(|| {
                "contains \"?\", but paths are compared without the query: remove it and everything after it".to_owned()
            })
        };
        match canonical_rule_path(text, self.settings.keep_slashes) {
            Ok(canonical) => {
                let is_literal = literally.is_some();
                if let Some(literally) = literally {
                    let message = format!("\"{text}\" {literally}");
                    self.say(Code::PathTakenLiterally, &format!("{field}.path"), message);
                }
                let path = match kind {
                    PathKind::Prefix => prefix_key(&canonical),
                    PathKind::Exact => &canonical,
                };
                let path = if matches!(path, "" | "/") {
                    ROOT.clone()
                } else {
                    path.into()
                };
                Some((PathPattern { kind, path }, is_literal))
            }
            Err(error) => {
                let hint = match error {
                    PathError::NotAbsolute => format!(": write /{text}"),
                    PathError::BadEscape => ": write a percent sign as %25".to_owned(),
                    _ => String::new(),
                };
                self.say(
                    Code::InvalidPath,
                    &format!("{field}.path"),
                    format!("\"{text}\" is left out, because {error}{hint}"),
                );
                None
            }
        }
    }

    fn path_kind(&mut self, path: &IngressPath, field: &str) -> Option<PathKind> {
        let field = format!("{field}.pathType");
        match path.path_type.as_deref() {
            Some("Exact") => Some(PathKind::Exact),
            Some("Prefix" | "ImplementationSpecific") => Some(PathKind::Prefix),
            None | Some("") => {
                if !self.ingress.legacy {
                    self.say(
                        Code::MissingPathType,
                        &field,
                        "it is missing, so Prefix is used; a cluster requires one of Exact, Prefix, \
                         ImplementationSpecific"
                            .to_owned(),
                    );
                }
                Some(PathKind::Prefix)
            }
            Some(other) => {
                self.say(
                    Code::InvalidPathType,
                    &field,
                    format!("\"{other}\" is not one of Exact, Prefix, ImplementationSpecific, so the path is left out"),
                );
                None
            }
        }
    }

    /// The backend a path names. One that names nothing keeps its path, which answers 503: a shorter prefix must not
    /// answer in its place.
    fn backend(&mut self, backend: &IngressBackend, field: &str) -> BackendKey {
        backend_key(backend, self.ingress, self.backend_settings.clone()).unwrap_or_else(|(code, wrong)| {
            self.say(code, field, format!("{wrong}; requests get 503"));
            no_backend(self.ingress)
        })
    }
}

/// The rule that a field of it is in.
pub(super) fn rule_field(field: Field) -> Field {
    Field::at(&RULE, field.order()[0])
}

/// A rule's host in the form requests have; the error says what would be right.
pub(super) fn read_host(host: &str) -> Result<HostPattern, String> {
    // An IPv6 address is written bare in manifests and in brackets in requests.
    let bracketed;
    let address = match host.parse::<std::net::Ipv6Addr>() {
        Ok(_) => {
            bracketed = format!("[{host}]");
            &bracketed
        }
        Err(_) => host,
    };
    let (wildcard, name) = match address.strip_prefix("*.") {
        Some(name) => (true, name),
        None => (false, address),
    };
    if wildcard && (name.starts_with('[') || name.parse::<std::net::Ipv6Addr>().is_ok()) {
        return Err("a wildcard must be followed by a DNS name, as in *.example.com".to_owned());
    }
    let has_port = match name.rsplit_once(']') {
        Some((_, after)) => !after.is_empty(),
        None => name.contains(':'),
    };
    match canonical_host(name) {
        _ if host == "*" => Err("omit the host to match all hosts".to_owned()),
        _ if !host.is_ascii() => Err("write it as an A-label (xn--...), as requests do".to_owned()),
        _ if name.contains('*') => Err("a wildcard must be the whole first label, as in *.example.com".to_owned()),
        _ if name.contains('/') => Err("write only the name, without scheme or path".to_owned()),
        _ if has_port => Err("omit the port; a rule applies to all ports".to_owned()),
        Ok(canonical) if wildcard => Ok(HostPattern::Wildcard(canonical.name.into())),
        Ok(canonical) => Ok(HostPattern::Exact(canonical.name.into())),
        Err(error) => Err(error.to_string()),
    }
}

fn no_backend(ingress: &Ingress) -> BackendKey {
    BackendKey {
        namespace: ingress.meta.namespace.clone(),
        service: "".into(),
        port: PortRef::Missing,
        settings: None,
        limited_by: None,
    }
}

/// The Service port a backend names, or what is wrong with it.
fn backend_key(
    backend: &IngressBackend,
    ingress: &Ingress,
    settings: Option<Arc<BackendSettings>>,
) -> Result<BackendKey, (Code, String)> {
    let invalid = |wrong| Err((Code::InvalidBackend, wrong));
    match backend {
        IngressBackend::Service { name, .. } if name.is_empty() => {
            invalid("service.name is empty: write the name of a Service".to_owned())
        }
        IngressBackend::Service { name, port } => match port {
            PortRef::Missing => invalid(format!(
                "service.port of \"{name}\" has neither number nor name: write one of them"
            )),
            PortRef::Number(number) if u16::try_from(*number).map_or(true, |port| port == 0) => invalid(format!(
                "service.port.number of \"{name}\" is {number}, but ports range from 1 to 65535"
            )),
            _ => Ok(BackendKey {
                namespace: ingress.meta.namespace.clone(),
                service: name.clone(),
                port: port.clone(),
                limited_by: (settings.as_ref())
                    .filter(|settings| settings.max_in_flight.is_some())
                    .map(|_| ingress.meta.name.clone()),
                settings,
            }),
        },
        IngressBackend::Resource { kind, name } => Err((
            Code::ResourceBackend,
            format!("it names the resource {kind} \"{name}\", but narthex supports only Services: write a service"),
        )),
        IngressBackend::Missing => invalid("it names no Service: write service.name and service.port".to_owned()),
    }
}
