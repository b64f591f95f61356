//! What a table holds: routes with their place in the order of precedence.

use super::destination::Destination;
use super::policies::Policies;
use super::when::{Says, When};
use crate::model::{Kind, Origin, RouteKey, Seniority};
use std::cmp::{Ordering, Reverse};
use std::fmt;
use std::sync::Arc;
use twox_hash::XxHash3_64;

/// The hosts a route is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// Any host, also none.
    Any,
    /// `*.suffix`: exactly one label before the suffix. Holds the suffix.
    Wildcard(Arc<str>),
    /// One name, in canonical form.
    Exact(Arc<str>),
}

impl HostPattern {
    /// Whether a canonical host fits, by definition and without any index.
    pub fn matches(&self, host: Option<&str>) -> bool {
        match self {
            HostPattern::Any => true,
            HostPattern::Exact(name) => host == Some(name),
            HostPattern::Wildcard(suffix) => host.and_then(wildcard_suffix) == Some(suffix),
        }
    }

    /// How specific it is: of two patterns that fit the same host, the one with the higher rank is for fewer hosts.
    pub fn rank(&self) -> usize {
        match self {
            HostPattern::Any => 0,
            HostPattern::Wildcard(suffix) => suffix.len() + 1,
            HostPattern::Exact(_) => usize::MAX,
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostPattern::Any => f.write_str("*"),
            HostPattern::Wildcard(suffix) => write!(f, "*.{suffix}"),
            HostPattern::Exact(name) => f.write_str(name),
        }
    }
}

/// What is left of a host when its first label goes: the key of the one wildcard that can match it.
pub fn wildcard_suffix(host: &str) -> Option<&str> {
    if host.starts_with('[') {
        return None;
    }
    host.split_once('.').map(|(_, suffix)| suffix)
}

/// How a path is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PathKind {
    /// By path element; a trailing slash does not matter.
    Prefix,
    /// What is below a path, but not that path itself: it is written with a closing slash.
    Below,
    /// As a whole.
    Exact,
    /// By a regular expression: see [`Patterns`](super::Patterns).
    RegularExpression,
    /// Not at all: connections are passed on before anything in them is read.
    Passthrough,
}

/// The paths a route is for, in canonical form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathPattern {
    /// How it is compared.
    pub kind: PathKind,
    /// The path; a prefix without its closing slash, except for `/` itself; of a regular expression its text. Where connections are
    /// passed on for Gateways, what they are: `TLS` or `TCP`.
    pub path: Arc<str>,
}

impl PathPattern {
    /// What stands for all of a host's TLS connections, which are passed on.
    pub fn passthrough() -> Self {
        Self {
            kind: PathKind::Passthrough,
            path: Arc::default(),
        }
    }

    /// What stands for all connections of a listener of a Gateway: of TLS, by the name that clients ask for, or of TCP.
    pub fn connections(is_tcp: bool) -> Self {
        Self {
            kind: PathKind::Passthrough,
            path: Arc::from(if is_tcp { "TCP" } else { "TLS" }),
        }
    }

    /// What it is found by: the path, and of a prefix that without its closing slash.
    pub fn key(&self) -> &str {
        match self.kind {
            PathKind::Exact | PathKind::RegularExpression | PathKind::Passthrough => &self.path,
            PathKind::Prefix | PathKind::Below => super::paths::prefix_key(&self.path),
        }
    }

    /// Whether a canonical path fits, by definition and without any index. Of a regular expression only the list of
    /// its host knows, where it is compiled.
    pub fn matches(&self, path: &str) -> bool {
        match self.kind {
            PathKind::RegularExpression | PathKind::Passthrough => false,
            PathKind::Exact => path == &*self.path,
            PathKind::Below => path.strip_prefix(self.key()).is_some_and(|rest| rest.starts_with('/')),
            PathKind::Prefix => path
                .strip_prefix(self.key())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            PathKind::Prefix => "Prefix",
            PathKind::Below => "Below",
            PathKind::Exact => "Exact",
            PathKind::RegularExpression => "RegularExpression",
            PathKind::Passthrough if self.path.is_empty() => return f.write_str("TLS passthrough"),
            PathKind::Passthrough => return write!(f, "{} connections", self.path),
        };
        write!(f, "{kind} {}", self.path)
    }
}

/// How well a host fits; the greater wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostRank {
    /// Any host.
    Any,
    /// A wildcard; the longer the suffix the better.
    Wildcard(usize),
    /// The very name.
    Exact,
}

/// A route's place in the order of precedence, as data: of all routes that match a request, the greatest answers.
///
/// Ingress specification: exact host before wildcard before any; then the longest path; then Exact before Prefix;
/// then the oldest Ingress, then namespace and name. Gateway API counts conditions after the path: the method, then
/// the number of fields, then that of query parameters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Precedence {
    /// How well the host fits.
    pub host: HostRank,
    /// The length of the path; a prefix without its closing slash.
    pub path_length: usize,
    /// Exact before Prefix.
    pub kind: PathKind,
    /// Whether it names a method, and how many fields and query parameters.
    pub conditions: (bool, usize, usize),
    /// The claim's age and name.
    pub age: Reverse<Age>,
}

/// The order among equal matches: what is not being deleted, then the oldest object, then namespace/name, then the
/// place in the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Age {
    /// Whether the object is being deleted, and when it was made.
    pub seniority: Seniority,
    /// The object, and the field of it.
    pub origin: Origin,
}

/// Everything of an origin by which claims of the same seniority are put in order. Objects of two kinds may have the
/// same name.
fn by_name(origin: &Origin) -> (&str, &str, Kind, [u32; 2]) {
    let object = &origin.object;
    (&object.namespace, &object.name, object.kind, origin.field.order())
}

impl Ord for Age {
    fn cmp(&self, other: &Self) -> Ordering {
        let names = || by_name(&self.origin).cmp(&by_name(&other.origin));
        self.seniority.cmp(&other.seniority).then_with(names)
    }
}

impl PartialOrd for Age {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Age {
    /// Whether this one would come before the other, were it not being deleted.
    pub fn would_be_before(&self, other: &Age) -> bool {
        let before = || {
            let created = self.seniority.created.cmp(&other.seniority.created);
            let uid = || self.seniority.uid.cmp(&other.seniority.uid);
            created
                .then_with(uid)
                .then_with(|| by_name(&self.origin).cmp(&by_name(&other.origin)))
        };
        self.seniority.leaving && !other.seniority.leaving && before() == Ordering::Less
    }
}

/// How many claims that lost a route names: a default page that thousands of Ingresses give must not make each of
/// them cost thousands.
pub const MAX_SHADOWS: usize = 16;

/// A match and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// By this it is known over changes and in all processes: see [`route_key`].
    pub key: RouteKey,
    /// Whose rule it is.
    pub origin: Origin,
    /// Whether that object is being deleted, and when it was made.
    pub seniority: Seniority,
    pub host: HostPattern,
    /// The paths; none for a default backend.
    pub path: Option<PathPattern>,
    /// `narthex.io/merge-slashes: "false"`: empty path segments are matched and forwarded as they came.
    pub keep_slashes: bool,
    /// What else a request has to say; absent where host and path are all.
    pub when: Option<Box<When>>,
    /// Where requests go.
    pub to: Destination,
    /// What else is done to them.
    pub policies: Arc<Policies>,
    /// Claims to the same host and path that lost to this one, the oldest first; at most [`MAX_SHADOWS`], for the
    /// report names every one of them anyhow.
    pub shadows: Box<[Shadow]>,
}

/// A claim that another one came before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shadow {
    /// Whose it is.
    pub origin: Origin,
    /// Why it has yielded a place that it would have by its age.
    pub yields: Option<Yields>,
}

/// Why a claim yields its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Yields {
    /// The Ingress, or its namespace, is being deleted.
    Leaving,
    /// Its Service has had no ready endpoint for as long as `--yield-empty` says.
    Empty,
    /// Its host belongs to another namespace, which has an older Route for it, or it is a Route and that has an older Ingress.
    Stranger,
    /// It is a Route, and an older one says where TLS for its host ends.
    Tls,
}

impl Yields {
    /// In words, behind the claim.
    pub fn reason(self) -> &'static str {
        match self {
            Yields::Leaving => "it, or its namespace, is being deleted",
            Yields::Empty => "its Service has no ready endpoints (--yield-empty)",
            Yields::Stranger => "its host belongs to another namespace (--route-ownership)",
            Yields::Tls => "an older Route says where TLS for its host ends",
        }
    }
}

/// A route's key: a hash of its listeners, host, path and conditions, which are its own in any table. `listeners` is a
/// name for those that share the hosts, the same in all processes; absent for the hosts of Ingresses.
pub fn route_key(
    listeners: Option<&str>,
    host: &HostPattern,
    path: Option<&PathPattern>,
    when: Option<&When>,
) -> RouteKey {
    // No host, path or name of an object has a line feed in it.
    let listeners = listeners.map(|name| format!("{name}\n")).unwrap_or_default();
    let path = path.map_or_else(|| "default".to_owned(), ToString::to_string);
    let when = when.map(|when| format!(" {when}")).unwrap_or_default();
    let text = format!("{listeners}{host} {path}{when}");
    RouteKey(XxHash3_64::oneshot(text.as_bytes()))
}

impl Route {
    /// Whether its path is a regular expression.
    pub fn is_pattern(&self) -> bool {
        let kind = self.path.as_ref().map(|pattern| pattern.kind);
        kind == Some(PathKind::RegularExpression)
    }

    /// The order of precedence, for sorting what matches.
    pub fn precedence(&self) -> Precedence {
        Precedence {
            host: match &self.host {
                HostPattern::Any => HostRank::Any,
                HostPattern::Wildcard(suffix) => HostRank::Wildcard(suffix.len()),
                HostPattern::Exact(_) => HostRank::Exact,
            },
            path_length: self.path.as_ref().map_or(0, |pattern| pattern.key().len()),
            kind: self.path.as_ref().map_or(PathKind::Prefix, |pattern| pattern.kind),
            conditions: self.when.as_deref().map_or((false, 0, 0), When::count),
            age: Reverse(self.age()),
        }
    }

    /// Compares it with another by what [`Route::age`] says.
    pub fn cmp_age(&self, other: &Self) -> Ordering {
        let names = || by_name(&self.origin).cmp(&by_name(&other.origin));
        self.seniority.cmp(&other.seniority).then_with(names)
    }

    /// The order among equal claims.
    pub fn age(&self) -> Age {
        Age {
            seniority: self.seniority,
            origin: self.origin.clone(),
        }
    }

    /// Whether a request says what this route wants beside host and path.
    pub fn holds(&self, says: &Says<'_>) -> bool {
        self.when.as_deref().is_none_or(|when| when.holds(says))
    }

    /// `www.example.com/api`, for logs.
    pub fn describe(&self) -> String {
        match &self.path {
            Some(pattern) if pattern.kind == PathKind::Passthrough => format!("{} ({pattern})", self.host),
            Some(pattern) => format!("{}{}", self.host, pattern.path),
            None => format!("{} (default backend)", self.host),
        }
    }
}
