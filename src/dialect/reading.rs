//! What an object says, in words that all dialects share.

use super::annotations::{self, Settings};
use super::claimant::Context;
use super::host::read_host;
pub(crate) use super::tls::{TlsEntry, TlsPlace};
use crate::model::annotation::Reach;
use crate::model::object::{Meta, PortRef};
use crate::model::{Code, Diagnostic, Field, ObjectRef, Seniority};
use crate::table::{BackendSettings, Guard, HostPattern, PathPattern, Rewrite};
use std::collections::HashSet;
use std::sync::Arc;

/// What an object says, apart from all others.
pub(crate) struct Reading {
    /// What it claims, in the order of its fields.
    pub claims: Vec<Claim>,
    /// What its annotations say.
    pub settings: Settings,
    /// Where its claims stand among those of others. The caller knows whether its namespace is being deleted.
    pub seniority: Seniority,
    /// The certificates it offers.
    pub tls: Vec<TlsEntry>,
    /// The backend that gets the requests of others of its while those have no endpoints.
    pub spare: Option<BackendKey>,
    /// The Service that makes its error pages, where it wants some.
    pub error_pages: Option<BackendKey>,
    /// The Service that answers the paths that no rule of its hosts lists, where its dialect has one.
    pub rest: Option<BackendKey>,
    /// What its own annotations guard.
    pub guards: Guards,
    /// The hosts whose paths are patterns because of it.
    pub patterns: Vec<HostPattern>,
    /// What is wrong with it by itself.
    pub findings: Vec<Diagnostic>,
    /// What it asks for as a whole; absent in a dialect whose objects are not admitted or refused as a whole.
    pub admission: Option<Admission>,
}

/// What an object asks for that is admitted or refused as a whole.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    /// The host that it asks for; empty if none could be found.
    pub host: Arc<str>,
    /// Whether it is for all hosts of that one's domain.
    pub wildcard: bool,
    /// Why it is refused, whatever the others say; a sentence about it is in the findings.
    pub refused: Option<Code>,
    /// Where TLS for its host ends; absent where it says nothing of TLS.
    pub tls: Option<TlsEnds>,
}

/// Where TLS ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TlsEnds {
    Here,
    AtPod,
}

/// What can be claimed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Spot {
    /// A path of a host.
    Path(HostPattern, PathPattern),
    /// To be a host's default backend.
    Default(HostPattern),
    /// To be the default backend of all hosts.
    Fallback,
}

impl Spot {
    /// The host it is of.
    pub fn host(&self) -> &HostPattern {
        match self {
            Spot::Path(host, _) | Spot::Default(host) => host,
            Spot::Fallback => &HostPattern::Any,
        }
    }

    /// The path it is of.
    pub fn path(&self) -> &str {
        match self {
            Spot::Path(_, path) => &path.path,
            Spot::Default(_) | Spot::Fallback => "/",
        }
    }
}

/// One object's claim to a host and path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub spot: Spot,
    pub backend: BackendKey,
    /// Where the object says so.
    pub field: Field,
    /// The field that names the backend. Absent where another claim has it already.
    pub named: Option<Field>,
    /// The backends that share its requests, the first of them too; empty if one has them all.
    pub shares: Box<[Share]>,
    /// What its path becomes.
    pub rewrite: Option<Arc<Rewrite>>,
    /// What closes it alone.
    pub guard: Option<Arc<Guard>>,
    /// The backend that gets some of its requests, by a rule of its object.
    pub canary: Option<BackendKey>,
    /// Whether its path is a prefix that was written with a closing slash, and the dialect minds.
    pub closing_slash: bool,
}

/// A backend and its share of the requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub backend: BackendKey,
    pub weight: u32,
    /// The field that names the backend.
    pub field: Field,
}

impl Claim {
    /// The backends that it leads to, each with the field that names it, if it is the first that does.
    pub fn backends(&self) -> impl Iterator<Item = (Option<Field>, &BackendKey)> {
        let one = self.shares.is_empty().then_some((self.named, &self.backend));
        let several = self.shares.iter().map(|share| (Some(share.field), &share.backend));
        one.into_iter().chain(several)
    }
}

/// A Service port as a rule names it. Empty where the rule names none.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct BackendKey {
    pub namespace: Arc<str>,
    pub service: Arc<str>,
    pub port: PortRef,
    /// What the object says of its backends, where it says something: it has backends of its own then.
    pub settings: Option<Arc<BackendSettings>>,
    /// The object, where it limits the requests under way: it has a count of its own then.
    pub limited_by: Option<Arc<str>>,
}

/// What the names of hosts outside of the cluster begin with where they stand for a Service. No Service's name does.
pub(crate) const OUTSIDE: char = '~';

/// The name that a host outside of the cluster has as a Service.
pub(crate) fn outside(host: &str) -> Arc<str> {
    format!("{OUTSIDE}{host}").into()
}

impl BackendKey {
    /// A backend that never answers. A rule that names no Service keeps its path, so that a shorter prefix does not answer
    /// instead.
    pub fn none(namespace: &Arc<str>) -> Self {
        Self {
            namespace: namespace.clone(),
            service: Arc::default(),
            port: PortRef::Missing,
            settings: None,
            limited_by: None,
        }
    }

    /// The namespace and name of the Service.
    pub fn service_key(&self) -> (Arc<str>, Arc<str>) {
        (self.namespace.clone(), self.service.clone())
    }
}

/// What an object's own annotations guard and narthex does not enforce.
#[derive(Default)]
pub(crate) struct Guards {
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
    /// Those that the annotations of an object name, without their hosts.
    pub fn of(object: &ObjectRef, meta: &Meta, context: Context<'_>) -> Self {
        let guard = |reach: Option<Reach>| {
            let mut all = annotations::guards(context.dialect, object.kind, meta, context.ignored);
            let (name, _) = all.find(|(_, other)| reach.is_none_or(|reach| reach == *other))?;
            Some(Arc::new(Guard {
                object: object.clone(),
                name: name.into(),
                invalid: false,
            }))
        };
        Self {
            rules: guard(None),
            host: guard(Some(Reach::Host)),
            ..Self::default()
        }
    }

    /// The same where `name` guards too, but cannot be read.
    #[must_use]
    pub fn with_invalid(mut self, object: &ObjectRef, name: Option<&str>) -> Self {
        let invalid = name.map(|name| {
            Arc::new(Guard {
                object: object.clone(),
                name: name.into(),
                invalid: true,
            })
        });
        self.rules = self.rules.or(invalid);
        self
    }

    /// Takes in what is known of a version that cannot be decoded: its guards, and of its hosts nobody knows which requests
    /// they guard. Returns these hosts, and what is to be said.
    pub fn take_undecoded(
        &mut self,
        object: &ObjectRef,
        meta: &Meta,
        context: Context<'_>,
    ) -> (Vec<HostPattern>, Option<Diagnostic>) {
        let Some(undecoded) = &meta.undecoded else {
            return (Vec::new(), None);
        };
        let mut guards = annotations::undecoded_guards(meta, context.ignored);
        let Some((name, _)) = guards.next() else {
            return (Vec::new(), None);
        };
        let pattern = |host: &Option<String>| match host.as_deref().filter(|host| !host.is_empty()) {
            None => Some(HostPattern::Any),
            Some(host) => read_host(host).ok(),
        };
        let hosts: Vec<HostPattern> = undecoded.hosts.iter().filter_map(pattern).collect();
        self.unclear.extend(hosts.iter().cloned());
        let message = format!(
            "{}, and the object cannot be decoded, so its routes and all routes of its hosts in this namespace are closed: \
             requests get 503 (to serve them without it, start narthex with --ignore-annotation={name})",
            annotations::NOT_ENFORCED
        );
        let field = format!("annotation {name}");
        let said = Diagnostic::new(Code::GuardNotEnforced, object, field, message);
        (hosts, Some(said))
    }

    /// Whether one of them holds for whole hosts by what it is.
    pub fn is_for_host(&self) -> bool {
        self.host.is_some()
    }
}

/// What an object says by itself of its place among others; its namespace may have a say too.
pub(crate) fn own_seniority(meta: &Meta) -> Seniority {
    Seniority {
        canary: annotations::is_canary(meta),
        leaving: meta.deleting,
        created: meta.created,
        uid: [0; 16],
    }
}
