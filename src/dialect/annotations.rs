//! The annotations that narthex acts on, each defined once: its name, what it does, the form of its value. Parsing, the
//! diagnostics, docs/annotations.md and its JSON schema all come from the one list.

mod access;
pub(crate) mod clients;
mod equivalents;
mod foreign;
mod host_wide;
mod hsts;
mod list;
mod native;
pub mod nginx;
pub mod openshift;
mod page;
mod value;

pub(crate) use access::{AccessWanted, BasicWanted, DigestWanted, ExternalWanted, JwtWanted, KeySetWanted};
pub(crate) use clients::{ClientsWanted, VerifyWanted};
pub use foreign::Ignored;
pub(crate) use foreign::{NOT_ENFORCED, guards, is_canary, undecoded_guards, uses_regex, without};
pub(crate) use host_wide::{Alias, HostWide};
pub(crate) use native::CanaryService;
pub use page::{markdown, schema};

use super::drop_in::Dialect;
use super::reading::BackendKey;
use crate::model::annotation::PREFIX;
use crate::model::nearest::nearest;
use crate::model::object::Meta;
use crate::model::{Code, Diagnostic, Kind, ObjectRef};
use crate::table::{
    After, BackendSettings, Before, CanaryRule, Compression, Guard, Policies, Rewrite, Schemes, Share, Target, Template,
};
use http::{HeaderValue, StatusCode};
use list::all;
use std::sync::Arc;
use twox_hash::XxHash3_64;
use value::Value;

/// What the annotations of one object say; where it has none, what holds without.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// `merge-slashes: "false"`.
    pub keep_slashes: bool,
    /// `ssl-redirect`; none leaves it to `--ssl-redirect` and `spec.tls`.
    pub ssl_redirect: Option<bool>,
    /// `hsts`.
    pub hsts: Option<HeaderValue>,
    /// `compress`.
    pub compression: Option<Compression>,
    /// What is said of the backends.
    pub backend: BackendSettings,
    /// What the dialect has done to requests.
    pub chain: Chain,
    /// How it reads paths.
    pub paths: Paths,
    /// What clients have to show before they are let in.
    pub access: AccessWanted,
    /// Beginnings of paths whose clients are not asked who they are.
    pub unasked: Arc<[Box<str>]>,
    /// Beginnings of paths that are not redirected to HTTPS.
    pub plain: Arc<[Box<str>]>,
    /// The status of redirects to HTTPS; 308.
    pub redirect_status: Option<StatusCode>,
    /// Whether TLS connections for its hosts are passed on as they come.
    pub passes_tls: bool,
    /// What is asked of the connections of clients, for the whole of its hosts.
    pub clients: ClientsWanted,
    /// What it decides for the whole of its hosts; absent in a dialect that has no such things.
    pub host_wide: Option<Arc<HostWide>>,
    /// The Service that gets requests while those that they are for have no endpoints.
    pub spare: Option<Arc<str>>,
    /// The Services that get copies of requests.
    pub mirrors: Vec<MirrorWanted>,
    /// Which errors get their replies from a Service.
    pub error_pages: Option<ErrorPagesWanted>,
    /// Which requests of another object it gets, where it is a canary.
    pub canary: Option<Arc<CanaryRule>>,
    /// Which requests go to another Service, and to which.
    pub canary_service: Option<CanaryService>,
    /// The annotation that guards and cannot be read.
    pub closed_by: Option<Box<str>>,
    /// The namespace of the object.
    namespace: Arc<str>,
    /// By this its live state is known: see [`identity`].
    identity: u64,
    /// What ingress-nginx has beside the object.
    beside: Arc<nginx::Beside>,
    /// What the annotations of ingress-nginx ask for, before they are put together.
    nginx: nginx::Asked,
    /// Likewise narthex's own.
    native: native::Asked,
    /// The same of OpenShift's router.
    openshift: openshift::Asked,
}

/// How a dialect reads the paths of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Paths {
    /// Whether they are regular expressions.
    pub are_patterns: bool,
    /// What they become, with its text.
    pub rewrite: Option<(Box<str>, Target)>,
    /// Whether they are narthex's own: only those of no other pathType are, they match as a whole, and all become what
    /// `rewrite` says.
    pub are_whole: bool,
}

impl Paths {
    /// What a path becomes, if that is not itself. It is a regular expression then.
    pub fn rewrite(&self, path: &str) -> Option<&Target> {
        let (text, target) = self.rewrite.as_ref()?;
        (self.are_whole || **text != *path).then_some(target)
    }
}

/// The steps that a dialect has beside those that all have, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chain {
    /// Before the redirect to HTTPS.
    pub before: Box<[Before]>,
    /// Behind it, until it is clear who the client is.
    pub behind: Box<[Before]>,
    /// Once that is clear.
    pub inner: Box<[Before]>,
    /// With a reply, before what all have.
    pub after: Box<[After]>,
    /// Whether paths are patterns where their host has patterns.
    pub follows_patterns: bool,
    /// Whether requests are left out of the access log.
    pub is_unlogged: bool,
    /// The schemes that routes are for.
    pub schemes: Schemes,
}

impl Settings {
    /// The Service that answers what no rule lists, where its dialect has one.
    pub fn default_backend(&self) -> Option<&(Arc<str>, Arc<str>)> {
        self.beside.default_backend.as_ref()
    }

    /// What a route gets of it, with what was found out about its host.
    pub fn policies(
        &self,
        https_redirect: bool,
        guard: Option<Arc<Guard>>,
        rewrite: Option<&Arc<Rewrite>>,
    ) -> Policies {
        let status = self.redirect_status.unwrap_or(StatusCode::PERMANENT_REDIRECT);
        let redirect = https_redirect.then_some(Before::RedirectToHttps(status));
        let before = self.chain.before.iter().cloned().chain(redirect);
        let compress = self.compression.iter().cloned().map(After::Compress);
        let hsts = self.hsts.iter().cloned().map(After::Hsts);
        Policies {
            guard,
            before: before
                .chain(self.chain.behind.iter().cloned())
                .chain(self.chain.inner.iter().cloned())
                .chain(rewrite.cloned().map(Before::Rewrite))
                .collect(),
            after: self.chain.after.iter().cloned().chain(compress).chain(hsts).collect(),
            follows_patterns: self.chain.follows_patterns,
            is_unlogged: self.chain.is_unlogged,
            closing_slash: false,
            schemes: self.chain.schemes,
        }
    }
}

/// A backend that gets copies of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MirrorWanted {
    /// The field that names it.
    pub named_by: &'static str,
    pub to: BackendKey,
    /// The path and query of a copy; absent for those that the pod gets.
    pub target: Option<Template>,
    pub host: Option<Box<str>>,
    pub body: bool,
    pub share: Share,
}

/// Errors whose replies the default backend makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ErrorPagesWanted {
    pub statuses: Box<[StatusCode]>,
    /// Whether those of pods are among them.
    pub of_pods: bool,
    /// The annotation that asks for them; absent where it is the ConfigMap.
    pub named_by: Option<&'static str>,
    /// The Service that makes them, where it is not the default backend.
    pub from: Option<BackendKey>,
}

/// What an annotation is about, and so where it may stand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// The requests of an Ingress's rules: on that Ingress.
    Route,
    /// Likewise, and it becomes a step of theirs.
    Policy,
    /// Likewise, and it guards: a value that cannot be read closes the routes.
    Guard,
    /// A Service: on it, or on an Ingress for what that sends to it.
    Backend,
}

struct Annotation {
    /// Its name after the prefix.
    name: &'static str,
    scope: Scope,
    /// What it does, in a sentence of Markdown.
    about: &'static str,
    /// What holds where it is missing or wrong, in a diagnostic and on the page.
    default: &'static str,
    /// A value that makes sense.
    example: &'static str,
    value: Value,
}

impl Scope {
    /// Whether it is for an object with rules.
    fn is_for_rules(self) -> bool {
        self != Self::Backend
    }

    /// Whether it is put together with others.
    fn is_policy(self) -> bool {
        matches!(self, Self::Policy | Self::Guard)
    }
}

/// Reads the annotations of an Ingress or a Service, and says which of them are wrong or do nothing.
pub(crate) fn read(
    (dialect, beside): (Dialect, Option<&Arc<nginx::Beside>>),
    meta: &Meta,
    (object, uid): (&ObjectRef, &str),
    ignored: &Ignored,
    findings: &mut Vec<Diagnostic>,
) -> Settings {
    let mut settings = Settings {
        namespace: meta.namespace.clone(),
        identity: identity(object, uid),
        beside: beside.cloned().unwrap_or_default(),
        ..Settings::default()
    };
    let own = || meta.annotations.iter().filter(|(name, _)| !dialect.acts_on(name));
    let of = |name: &str| {
        let ours = name.strip_prefix(PREFIX)?;
        all().iter().copied().find(|known| known.name == ours)
    };
    let policies = own().filter_map(|(name, value)| {
        let known = of(name).filter(|known| known.scope.is_policy())?;
        Some((known, name, value))
    });
    let steps = if object.kind.claims() {
        read_policies(&mut settings, policies, object, ignored, findings)
    } else {
        native::Steps::default()
    };
    match dialect {
        Dialect::IngressNginx => read_nginx(&mut settings, steps, meta, object, ignored, findings),
        Dialect::OpenShift => {
            steps.settle(&mut settings);
            read_served(openshift::served, &mut settings, (meta, object), ignored, findings);
        }
        Dialect::Narthex => steps.settle(&mut settings),
    }
    // Ours come behind, for they win.
    for (name, value) in own() {
        let known = of(name);
        if known.is_some_and(|known| known.scope.is_policy() && object.kind.claims()) {
            continue;
        }
        let guard = foreign::judge(name, value, meta, object.kind, ignored);
        let mut say = |code, message| {
            findings.push(Diagnostic::new(code, object, format!("annotation {name}"), message));
        };
        let Some(ours) = name.strip_prefix(PREFIX) else {
            if let Some((code, message)) = guard {
                say(code, message);
            }
            continue;
        };
        match known {
            Some(known) if known.scope.is_for_rules() && !object.kind.claims() => {
                let what = "it applies to the rules of an Ingress and does nothing here: put it on the Ingress";
                match guard {
                    Some((code, then)) => say(code, format!("{what}; {then}")),
                    None => say(Code::InvalidAnnotation, what.to_owned()),
                }
            }
            Some(known) => {
                if let Err(wrong) = known.value.apply(value, &mut settings) {
                    say(Code::InvalidAnnotation, format!("{wrong}; {}", known.default));
                }
            }
            None => {
                let hint = match nearest(ours, all().iter().map(|known| known.name)) {
                    Some(known) => format!(" (did you mean {PREFIX}{known}?)"),
                    None => String::new(),
                };
                let (code, then) = guard.unwrap_or((Code::InvalidAnnotation, "so it is ignored".to_owned()));
                let and = if code == Code::InvalidAnnotation { "," } else { ";" };
                say(code, format!("narthex does not know this annotation{hint}{and} {then}"));
            }
        }
    }
    settle_clients(&mut settings, object, findings);
    settings
}

/// What becomes of the routes of an object whose guard cannot be read.
const CLOSED: &str = "so the routes of this Ingress are closed: requests get 503";

/// Reads narthex's own policies, and puts together what they ask for.
fn read_policies<'m>(
    settings: &mut Settings,
    policies: impl Iterator<Item = (&'static Annotation, &'m str, &'m str)>,
    object: &ObjectRef,
    ignored: &Ignored,
    findings: &mut Vec<Diagnostic>,
) -> native::Steps {
    let mut say = |code, name: &str, message| {
        findings.push(Diagnostic::new(code, object, format!("annotation {name}"), message));
    };
    for (known, name, value) in policies {
        if known.scope == Scope::Guard
            && let Some(pattern) = ignored.by(name)
        {
            say(
                Code::GuardIgnored,
                name,
                format!("narthex leaves it out, {}", without(pattern)),
            );
            continue;
        }
        match known.value.apply(value, settings) {
            Ok(()) => {}
            Err(wrong) if known.scope == Scope::Guard => {
                settings.closed_by.get_or_insert_with(|| name.into());
                say(Code::GuardInvalid, name, format!("{wrong}, {CLOSED}"));
            }
            Err(wrong) => say(Code::InvalidAnnotation, name, format!("{wrong}; {}", known.default)),
        }
    }
    let mut closed_by = None;
    let steps = std::mem::take(&mut settings.native).steps(settings, &mut |unfit| {
        let name = format!("{PREFIX}{}", unfit.annotation);
        if unfit.closes && ignored.by(&name).is_none() {
            say(Code::GuardInvalid, &name, format!("{}, {CLOSED}", unfit.message));
            closed_by.get_or_insert(name);
        } else {
            say(Code::InvalidAnnotation, &name, unfit.message);
        }
    });
    settings.closed_by = settings.closed_by.take().or(closed_by.map(Box::from));
    steps
}

/// What is asked of clients beside a Secret that nobody names. Those of narthex close the hosts, since without it nobody
/// would be kept out; those of ingress-nginx do nothing, as there.
fn settle_clients(settings: &mut Settings, object: &ObjectRef, findings: &mut Vec<Diagnostic>) {
    let wanted = &mut settings.clients;
    let Some(beside) = wanted.beside.filter(|_| !wanted.is_asked()) else {
        return;
    };
    if beside.starts_with(PREFIX) {
        wanted.broken = Some(beside);
        return;
    }
    let message = "it does nothing without auth-tls-secret, so nobody is asked for a certificate";
    findings.push(Diagnostic::new(
        Code::InvalidAnnotation,
        object,
        format!("annotation {beside}"),
        message,
    ));
}

/// A hash of an object's UID, or of its name where a manifest does not say one.
fn identity(object: &ObjectRef, uid: &str) -> u64 {
    let name = || format!("{:?} {}/{}", object.kind, object.namespace, object.name);
    let text = if uid.is_empty() { name() } else { uid.to_owned() };
    XxHash3_64::oneshot(text.as_bytes())
}

impl Dialect {
    /// Whether an annotation of another controller does here what it did there.
    fn acts_on(self, name: &str) -> bool {
        let of_nginx = |name: &str| nginx::served(name).is_some() || nginx::has_no_effect(name);
        match self {
            Self::Narthex => false,
            Self::IngressNginx => name.strip_prefix(nginx::PREFIX).is_some_and(of_nginx),
            Self::OpenShift => openshift::served(name).is_some() || openshift::has_no_effect(name),
        }
    }
}

/// Reads those of another controller that narthex acts on: those that `find` knows by their names.
fn read_served(
    find: impl Fn(&str) -> Option<&'static nginx::Served>,
    settings: &mut Settings,
    (meta, object): (&Meta, &ObjectRef),
    ignored: &Ignored,
    findings: &mut Vec<Diagnostic>,
) {
    for (name, value) in meta.annotations.iter() {
        let Some(known) = find(name) else { continue };
        let read = match ignored.by(name) {
            Some(pattern) => Err((
                Code::GuardIgnored,
                format!("narthex leaves it out, {}", without(pattern)),
            )),
            None => known.value.apply(value, settings).map_err(|wrong| match known.wrong {
                nginx::Wrong::Default(then) => (Code::InvalidAnnotation, format!("{wrong}; {then}")),
                nginx::Wrong::Closes => {
                    settings.closed_by.get_or_insert_with(|| name.into());
                    let what = match object.kind {
                        Kind::Route => "the Route is",
                        _ => "the routes of this Ingress are",
                    };
                    if foreign::is_canary(meta) {
                        let then = "but the guards of the Ingress that this one is a canary of count for both";
                        (Code::InvalidAnnotation, format!("{wrong}, {then}"))
                    } else {
                        (
                            Code::GuardInvalid,
                            format!("{wrong}, so {what} closed: requests get 503"),
                        )
                    }
                }
            }),
        };
        let Err((code, message)) = read else { continue };
        findings.push(Diagnostic::new(code, object, format!("annotation {name}"), message));
    }
}

/// Reads those of ingress-nginx that narthex acts on.
fn read_nginx(
    settings: &mut Settings,
    steps: native::Steps,
    meta: &Meta,
    object: &ObjectRef,
    ignored: &Ignored,
    findings: &mut Vec<Diagnostic>,
) {
    let find = |name: &str| name.strip_prefix(nginx::PREFIX).and_then(nginx::served);
    read_served(find, settings, (meta, object), ignored, findings);
    if ignored.by(&format!("{}auth-type", nginx::PREFIX)).is_some() {
        settings.nginx.auth.secret = None;
    }
    if let Some(incomplete) = settings.nginx.auth.incomplete() {
        let name = format!("{}{}", nginx::PREFIX, incomplete.annotation);
        let mut message = incomplete.message.to_owned();
        let mut code = Code::InvalidAnnotation;
        if incomplete.closes && ignored.by(&name).is_none() {
            message += ", so the routes of this Ingress are closed: requests get 503";
            code = Code::GuardInvalid;
            settings.closed_by.get_or_insert_with(|| name.as_str().into());
        }
        findings.push(Diagnostic::new(code, object, format!("annotation {name}"), message));
    }
    for (name, message) in settings.nginx.absent() {
        let field = format!("annotation {}{name}", nginx::PREFIX);
        findings.push(Diagnostic::new(Code::InvalidAnnotation, object, field, message));
    }
    for name in steps.replaced().map(|name| format!("{}{name}", nginx::PREFIX)) {
        if meta.annotations.iter().any(|(known, _)| *known == *name) {
            let message = format!("an annotation with {PREFIX} says the same and wins, so this has no effect");
            findings.push(Diagnostic::new(
                Code::InvalidAnnotation,
                object,
                format!("annotation {name}"),
                message,
            ));
        }
    }
    std::mem::take(&mut settings.nginx).settle(steps, settings);
    settings.chain.follows_patterns = true;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_order_and_examples_are_right() {
        assert!(all().is_sorted_by(|one, other| one.name < other.name));
        for known in all() {
            let applied = known.value.apply(known.example, &mut Settings::default());
            assert_eq!(applied, Ok(()), "{}", known.name);
        }
    }
}
