//! One Ingress by itself: what it claims, and what is wrong with it whatever the others say.

use super::object::{Ingress, IngressBackend, IngressPath, IngressRule};
use crate::dialect::Dialect;
use crate::dialect::annotations::{self, Settings};
use crate::dialect::claimant::Context;
use crate::dialect::host::read_host;
use crate::dialect::owners::HostOwners;
use crate::dialect::reading::{BackendKey, Claim, Guards, Reading, Spot, own_seniority};
use crate::dialect::tls::read_tls;
use crate::model::nearest::nearest;
use crate::model::object::PortRef;
use crate::model::{Code, Diagnostic, Field, FieldForm, Kind, ObjectRef, annotation};
use crate::table::canonical::{PathError, canonical_rule_path};
use crate::table::paths::prefix_key;
use crate::table::{BackendSettings, Before, Guard, HostPattern, PathKind, PathPattern, PathRegex, Rewrite};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock};

/// Characters that make an ImplementationSpecific path look like a regular expression.
const REGEX_CHARACTERS: &[char] = &['(', ')', '[', ']', '{', '}', '*', '+', '?', '|', '^', '$', '\\'];

/// What makes even an Exact or Prefix path look like one: ingress-nginx reads those too, once an annotation says so.
const REGEX_SIGNS: &[&str] = &[".*", ".+", "(/", "(?", "[^", "\\d", "\\w"];

/// A path of a rule.
const PATH: FieldForm = FieldForm {
    text: "spec.rules[].http.paths[]",
    list: "spec.rules",
    host: "spec.rules[].host",
};

/// A rule without paths.
const RULE: FieldForm = FieldForm {
    text: "spec.rules[]",
    ..PATH
};

/// What a path leads to.
const PATH_BACKEND: FieldForm = FieldForm {
    text: "spec.rules[].http.paths[].backend",
    ..PATH
};

/// The default backend.
const DEFAULT: Field = Field::new(&FieldForm {
    text: "spec.defaultBackend",
    host: "spec.defaultBackend",
    ..PATH
});

/// The path all prefixes begin with; most rules have it, and share this one.
static ROOT: LazyLock<Arc<str>> = LazyLock::new(|| "/".into());

/// Reads one Ingress, apart from all others.
pub(super) fn read(ingress: &Ingress, context: Context<'_>) -> Reading {
    let mut reader = Reader::new(ingress, context);
    let entries = ingress.tls.iter().map(|tls| (&tls.hosts[..], tls.secret.as_ref()));
    let issued = annotation::has_issuer(&ingress.meta.annotations);
    let tls = read_tls(entries, &reader.object, issued, context.owners, &mut reader.findings);
    for (index, rule) in (0_u32..).zip(&ingress.rules) {
        reader.rule(index, rule);
    }
    let is_default = reader.default_backend();
    reader.canary_service();
    reader.mirrors();
    reader.circles();
    reader.passthrough();
    reader.undecoded(context);
    let spare = reader.spare();
    let rest = reader
        .settings
        .default_backend()
        .map(|(namespace, service)| BackendKey {
            service: service.clone(),
            port: PortRef::First,
            ..BackendKey::none(namespace)
        });
    // The Service of the annotation speaks plain HTTP for pages, whatever is said of the rule's.
    let own = spare.clone().map(|spare| BackendKey {
        settings: None,
        ..spare
    });
    let wanted = reader.settings.error_pages.as_ref();
    let error_pages = wanted.and_then(|wanted| wanted.from.clone().or(own).or_else(|| rest.clone()));
    let mut guards = reader.guards;
    if guards.rules.is_some() || !guards.unclear.is_empty() {
        guards.hosts = reader.hosts;
    }
    if ingress.rules.is_empty() {
        guards.hosts.extend(is_default.then_some(HostPattern::Any));
    }
    if annotations::uses_regex(&ingress.meta) && context.dialect == Dialect::Narthex {
        guards.unclear = guards.hosts.iter().cloned().collect();
    }
    Reading {
        spare,
        error_pages,
        rest,
        patterns: reader.patterns,
        guards,
        claims: reader.claims,
        settings: reader.settings,
        seniority: own_seniority(&ingress.meta),
        tls,
        findings: reader.findings,
        admission: None,
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
    /// Those whose paths are patterns because of this object.
    patterns: Vec<HostPattern>,
    guards: Guards,
    findings: Vec<Diagnostic>,
}

impl<'i> Reader<'i> {
    fn new(ingress: &'i Ingress, context: Context<'i>) -> Self {
        let object = ObjectRef::new(Kind::Ingress, ingress.meta.namespace.clone(), ingress.meta.name.clone());
        let mut findings = Vec::new();
        let whose = (&object, &*ingress.revision.uid);
        let dialect = (context.dialect, context.beside);
        let settings = annotations::read(dialect, &ingress.meta, whose, context.ignored, &mut findings);
        let guards = Guards::of(&object, &ingress.meta, context);
        let guards = guards.with_invalid(&object, settings.closed_by.as_deref());
        let said = settings.backend != BackendSettings::default();
        Self {
            backend_settings: said.then(|| Arc::new(settings.backend.clone())),
            settings,
            object,
            ingress,
            owners: context.owners,
            guards,
            claims: Vec::new(),
            seen: HashMap::new(),
            hosts: Vec::new(),
            patterns: Vec::new(),
            known_hosts: HashSet::new(),
            findings,
        }
    }

    /// The backend for while others have no endpoints.
    fn spare(&self) -> Option<BackendKey> {
        let service = self.settings.spare.clone()?;
        Some(BackendKey {
            service,
            port: PortRef::First,
            settings: self.backend_settings.clone(),
            ..BackendKey::none(&self.ingress.meta.namespace)
        })
    }

    /// Gives each claim the other Service that gets some of its requests.
    fn canary_service(&mut self) {
        let Some(canary) = &self.settings.canary_service else {
            return;
        };
        for claim in &mut self.claims {
            let port = canary.port.clone().unwrap_or_else(|| claim.backend.port.clone());
            if claim.backend.service.is_empty() {
                continue;
            }
            claim.canary = Some(BackendKey {
                service: canary.service.clone(),
                port,
                ..claim.backend.clone()
            });
        }
    }

    /// Says which copies go to the Service that the requests are for.
    fn mirrors(&mut self) {
        let is_own = |mirror: &&annotations::MirrorWanted| {
            let mut backends = self.claims.iter().map(|claim| &claim.backend);
            backends.any(|own| own.namespace == mirror.to.namespace && own.service == mirror.to.service)
        };
        let own = self.settings.mirrors.iter().find(is_own);
        if let Some(field) = own.map(|mirror| mirror.named_by) {
            let message = "copies go to the Service that answers the requests, which so gets each of them twice";
            self.say(Code::InvalidAnnotation, field, message.to_owned());
        }
    }

    /// Says which requests a redirect would lead to where they are for.
    fn circles(&mut self) {
        let steps = self.settings.chain.behind.iter();
        let redirection = steps
            .filter(|_| !self.settings.chain.follows_patterns)
            .find_map(|step| match step {
                Before::Redirect(redirection) => Some(redirection),
                _ => None,
            });
        let Some(redirection) = redirection else { return };
        let spots = self.claims.iter().filter_map(|claim| match &claim.spot {
            Spot::Path(HostPattern::Exact(host), path) if path.kind != PathKind::RegularExpression => {
                Some((host, path))
            }
            _ => None,
        });
        let found = spots.flat_map(|(host, path)| [false, true].map(|secure| (host, path, secure)));
        let mut found = found
            .filter(|(host, path, secure)| redirection.leads_to_itself(host, &path.path, *secure))
            .map(|(host, path, secure)| format!("{}://{host}{}", if secure { "https" } else { "http" }, path.path));
        let url = found.next();
        drop(found);
        if let Some(url) = url {
            let message = format!("it would lead {url} to itself; such requests get 508");
            self.say(Code::InvalidAnnotation, "annotation narthex.io/redirect", message);
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
        let Some(host) = self.host(rule.host.as_ref(), &field) else {
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
            let is_canary = self.settings.canary.is_some() && !path.unclear;
            if is_canary {
                self.canary_path(path, &host, (index, path_index));
                continue;
            }
            let read = if path.unclear {
                None
            } else if let Some(pattern) = self.pattern(path) {
                let is_own = self.settings.paths.are_whole;
                if !is_own && !self.patterns.contains(&host) {
                    self.patterns.push(host.clone());
                }
                Some((pattern, false))
            } else {
                self.path(path, &field)
            };
            if read.as_ref().is_none_or(|(_, literally)| *literally) {
                self.guards.unclear.insert(host.clone());
            }
            let Some((pattern, _)) = read else { continue };
            let backend = self.backend(&path.backend, &format!("{field}.backend"));
            let named = Field::within(&PATH_BACKEND, index, path_index);
            let (rewrite, guard) = self.compiled(&pattern, &field);
            let written = path.path.as_deref().unwrap_or_default();
            let closing_slash = pattern.kind == PathKind::Prefix
                && self.settings.chain.follows_patterns
                && written.len() > 1
                && written.ends_with('/');
            self.claim(host.clone(), pattern, backend, (place, Some(named)));
            if let Some(claim) = self.claims.last_mut() {
                (claim.rewrite, claim.guard) = (rewrite, guard);
                claim.closing_slash = closing_slash;
            }
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
        let backend =
            backend_key(backend, ingress, settings).unwrap_or_else(|_| BackendKey::none(&ingress.meta.namespace));
        let all = PathPattern {
            kind: PathKind::Prefix,
            path: ROOT.clone(),
        };
        self.claim(host.clone(), all, backend, (Field::at(&RULE, index), None));
    }

    fn claim(
        &mut self,
        host: HostPattern,
        path: PathPattern,
        backend: BackendKey,
        (field, named): (Field, Option<Field>),
    ) {
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
            spot: Spot::Path(host, path),
            backend,
            field,
            named,
            shares: Box::default(),
            rewrite: None,
            guard: None,
            canary: None,
            closing_slash: false,
        });
    }

    /// Claims what the default backend is for: its hosts, or all hosts where there are no rules. Says whether it claims
    /// anything.
    fn default_backend(&mut self) -> bool {
        let ingress = self.ingress;
        let Some(backend) = &ingress.default_backend else {
            if ingress.rules.is_empty() && ingress.meta.undecoded.is_none() {
                self.say(
                    Code::NothingToServe,
                    "spec",
                    "it has neither rules nor a defaultBackend, so it has no effect".to_owned(),
                );
            }
            return false;
        };
        let backend = self.backend(backend, "spec.defaultBackend");
        let spots: Vec<Spot> = if ingress.rules.is_empty() {
            if let Some(owners) = self.owners.against(&ingress.meta.namespace, &HostPattern::Any) {
                let message = format!("--host-owners gives all hosts to {owners}, so the default backend is left out");
                self.say(Code::HostNotOwned, "spec.defaultBackend", message);
                return false;
            }
            vec![Spot::Fallback]
        } else {
            // An Ingress all of whose hosts are broken must not become the default of the whole cluster.
            self.hosts.iter().cloned().map(Spot::Default).collect()
        };
        let mut named = Some(DEFAULT);
        self.claims.extend(spots.into_iter().map(|spot| Claim {
            spot,
            backend: backend.clone(),
            field: DEFAULT,
            named: named.take(),
            shares: Box::default(),
            rewrite: None,
            guard: None,
            canary: None,
            closing_slash: false,
        }));
        named.is_none()
    }

    /// Claims the TLS connections of its hosts, where they are to be passed on: for the backend of the path `/`, else for the
    /// default backend.
    fn passthrough(&mut self) {
        if !self.settings.passes_tls || self.settings.canary.is_some() {
            return;
        }
        let is_root = |claim: &&Claim| matches!(&claim.spot, Spot::Path(_, path) if *path.path == **ROOT);
        let is_default = |claim: &&Claim| matches!(claim.spot, Spot::Default(_));
        let guard = self.passthrough_guard();
        for host in self.hosts.clone() {
            let of_host = self.claims.iter().filter(|claim| *claim.spot.host() == host);
            let found = of_host
                .clone()
                .find(is_root)
                .or_else(|| of_host.clone().find(is_default));
            let what = match found {
                _ if host == HostPattern::Any => Err("a rule without a host is for all names".to_owned()),
                None => Err(format!("{host} has neither the path / nor a default backend")),
                Some(found) => Ok(found.clone()),
            };
            match what {
                Ok(found) => self.claims.push(Claim {
                    spot: Spot::Path(host, PathPattern::passthrough()),
                    named: None,
                    rewrite: None,
                    guard: guard.clone(),
                    closing_slash: false,
                    ..found
                }),
                Err(why) => {
                    let message = format!("{why}, so its TLS connections are not passed on");
                    self.say(Code::InvalidAnnotation, "metadata.annotations", message);
                }
            }
        }
    }

    /// What closes TLS connections that are passed on: nobody can be asked who it is there.
    fn passthrough_guard(&mut self) -> Option<Arc<Guard>> {
        let settings = &self.settings;
        let clients = settings.clients.concerns_tls().then(|| settings.clients.named_by());
        let name = settings.access.named_by().or(clients)?;
        let message = "nobody can be asked who it is where TLS connections are passed on, so these are refused";
        self.say(Code::GuardInvalid, &format!("annotation {name}"), message.to_owned());
        Some(Arc::new(Guard {
            object: self.object.clone(),
            name: name.into(),
            invalid: true,
        }))
    }

    /// What is known of a version that cannot be decoded: its guards, and of its hosts nobody knows which requests they
    /// guard.
    fn undecoded(&mut self, context: Context<'_>) {
        let (hosts, said) = self.guards.take_undecoded(&self.object, &self.ingress.meta, context);
        for host in hosts {
            if self.known_hosts.insert(host.clone()) {
                self.hosts.push(host);
            }
        }
        self.findings.extend(said);
    }

    fn host(&mut self, host: Option<&Arc<str>>, field: &str) -> Option<HostPattern> {
        let Some(host) = host.filter(|host| !host.is_empty()) else {
            return Some(HostPattern::Any);
        };
        match read_host(host) {
            // The name needs no second copy where it is written in canonical form.
            Ok(HostPattern::Exact(name)) if name == *host => Some(HostPattern::Exact(host.clone())),
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

    /// Claims the path of a canary both as it is written and as a regular expression: which of them it is, the Ingress that it
    /// is the canary of says.
    fn canary_path(&mut self, path: &IngressPath, host: &HostPattern, (index, path_index): (u32, u32)) {
        let place = Field::within(&PATH, index, path_index);
        let field = place.to_string();
        let backend = self.backend(&path.backend, &format!("{field}.backend"));
        let mut named = Some(Field::within(&PATH_BACKEND, index, path_index));
        let pattern = written_path(path).map(|path| PathPattern {
            kind: PathKind::RegularExpression,
            path,
        });
        // What may be wrong with the path, the other Ingress is told.
        let said = self.findings.len();
        let plain = self.path(path, &field);
        self.findings.truncate(said);
        let plain = plain.map(|(plain, _)| plain);
        for pattern in plain.into_iter().chain(pattern) {
            self.claim(host.clone(), pattern, backend.clone(), (place, named.take()));
        }
    }

    /// The path as a regular expression, where the dialect reads it as one.
    fn pattern(&self, path: &IngressPath) -> Option<PathPattern> {
        let paths = &self.settings.paths;
        if paths.are_whole {
            let is_plain = matches!(path.path_type.as_deref(), Some("Exact" | "Prefix"));
            let text = path.path.as_ref().filter(|path| path.starts_with('/'));
            let text = text.filter(|_| paths.are_patterns && !is_plain)?;
            return Some(PathPattern {
                kind: PathKind::RegularExpression,
                path: text.clone(),
            });
        }
        let text = written_path(path)?;
        let is_pattern = paths.are_patterns || paths.rewrite(&text).is_some();
        is_pattern.then_some(PathPattern {
            kind: PathKind::RegularExpression,
            path: text,
        })
    }

    /// What a pattern becomes, and what closes it where it cannot be compiled.
    fn compiled(&mut self, pattern: &PathPattern, field: &str) -> (Option<Arc<Rewrite>>, Option<Arc<Guard>>) {
        if pattern.kind != PathKind::RegularExpression {
            return (None, None);
        }
        let regex = if self.settings.paths.are_whole {
            PathRegex::whole(&pattern.path)
        } else {
            PathRegex::open(&pattern.path)
        };
        match regex {
            Ok(regex) => {
                let to = self.settings.paths.rewrite(&pattern.path).cloned();
                let rewrite = to.map(|to| Arc::new(Rewrite::Pattern { pattern: regex, to }));
                (rewrite, None)
            }
            Err(why) => {
                let field = format!("{field}.path");
                let message = format!("\"{}\" {why}; all paths that begin as it does get 503", pattern.path);
                self.say(Code::InvalidPath, &field, message);
                let guard = Guard {
                    object: self.object.clone(),
                    name: field.into(),
                    invalid: true,
                };
                (None, Some(Arc::new(guard)))
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
                PathKind::Exact | PathKind::Below | PathKind::RegularExpression | PathKind::Passthrough => {
                    "looks like a regular expression, but is taken literally".to_owned()
                }
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
                let text = match kind {
                    PathKind::Prefix => prefix_key(&canonical),
                    PathKind::Exact | PathKind::Below | PathKind::RegularExpression | PathKind::Passthrough => {
                        &canonical
                    }
                };
                let path = match &path.path {
                    _ if matches!(text, "" | "/") => ROOT.clone(),
                    Some(written) if **written == *text => written.clone(),
                    _ => text.into(),
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
                    format!(
                        "\"{other}\" is not one of Exact, Prefix, ImplementationSpecific{}, so the path is left out",
                        nearest(other, ["Exact", "Prefix", "ImplementationSpecific"])
                            .map_or_else(String::new, |meant| format!(" (did you mean {meant}?)"))
                    ),
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
            BackendKey::none(&self.ingress.meta.namespace)
        })
    }
}

/// The path as a rule writes it, and `/` where it writes none; absent where it does not begin with a slash.
fn written_path(path: &IngressPath) -> Option<Arc<str>> {
    match &path.path {
        Some(text) if text.starts_with('/') => Some(text.clone()),
        Some(text) if !text.is_empty() => None,
        _ => Some(ROOT.clone()),
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
                    .filter(|settings| settings.is_limited())
                    .map(|_| ingress.meta.name.clone()),
                settings,
            }),
        },
        IngressBackend::Resource(resource) => Err((
            Code::ResourceBackend,
            format!(
                "it names the resource {} \"{}\", but narthex supports only Services: write a service",
                resource.kind, resource.name
            ),
        )),
        IngressBackend::Missing => invalid("it names no Service: write service.name and service.port".to_owned()),
    }
}
