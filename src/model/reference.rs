//! Names of Kubernetes objects: which one, how old, and which rule of it.

use super::kind::Kind;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// One object's kind, namespace (empty where it has none) and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectRef {
    /// What it is.
    pub kind: Kind,
    /// Its namespace; empty for a cluster-scoped kind.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

impl ObjectRef {
    /// Names an object.
    pub fn new(kind: Kind, namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self {
            kind,
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// `namespace/name`, or just the name of a cluster-scoped object.
    pub fn path(&self) -> String {
        if self.namespace.is_empty() {
            self.name.to_string()
        } else {
            format!("{}/{}", self.namespace, self.name)
        }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// When the API server made an object, in seconds since 1970; [`Timestamp::UNKNOWN`] where a manifest does not say.
///
/// Only ever compared with other objects' stamps, so no clock of ours matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// No `creationTimestamp`: counts as younger than any object that has one.
    pub const UNKNOWN: Timestamp = Timestamp(i64::MAX);

    /// The time of the system's clock. Not for the compiler, which is told.
    pub fn now() -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self(since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX)))
    }
}

impl Default for Timestamp {
    fn default() -> Self {
        Self::UNKNOWN
    }
}

/// Which of several claims to the same thing comes first: a canary comes last, then what is being deleted, else the
/// oldest comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seniority {
    /// Whether the object says that it is another's canary, which never stands in for that: its guards are the other's.
    pub canary: bool,
    /// Whether the object or its namespace is being deleted.
    pub leaving: bool,
    /// When the object was made.
    pub created: Timestamp,
}

impl Seniority {
    /// Nothing comes before this.
    pub const FIRST: Seniority = Seniority {
        canary: false,
        leaving: false,
        created: Timestamp(i64::MIN),
    };
}

/// Which state of an object one has. Not its resourceVersion, which rises with every write, of status too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revision {
    /// `metadata.uid`: another one for an object made again under its name. Empty where a manifest does not say.
    pub uid: Arc<str>,
    /// `metadata.generation`: rises whenever the spec changes. 0 where a manifest does not say.
    pub generation: i64,
}

impl Revision {
    /// Whether whoever has this state has seen that other one, or what came after it.
    pub fn is_as_of(&self, other: &Self) -> bool {
        self.uid == other.uid && self.generation >= other.generation
    }
}

/// What a route is known by: the same for the same host and path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteKey(pub u64);

impl fmt::Display for RouteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// As it is displayed, and in no other way.
impl FromStr for RouteKey {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let is_digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 16 || !text.bytes().all(is_digit) {
            return Err(());
        }
        u64::from_str_radix(text, 16).map(Self).map_err(drop)
    }
}

/// Whose rule a route is: what a log line, an error and `explain` name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The object that says so.
    pub object: ObjectRef,
    /// The index in `spec.rules`; none for `spec.defaultBackend`.
    pub rule: Option<u32>,
    /// The index in that rule's `http.paths`; none for a rule without paths.
    pub path: Option<u32>,
}

impl Origin {
    /// The field of the object, as `kubectl explain` writes it: `spec.rules[0].http.paths[1]`.
    pub fn field(&self) -> String {
        match (self.rule, self.path) {
            (Some(rule), Some(path)) => format!("spec.rules[{rule}].http.paths[{path}]"),
            (Some(rule), None) => format!("spec.rules[{rule}]"),
            _ => "spec.defaultBackend".to_owned(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.object, self.field())
    }
}
