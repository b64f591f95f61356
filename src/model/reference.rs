//! Names of Kubernetes objects: which one, how old, and which rule of it.

use super::kind::Kind;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// One object's kind, namespace (empty where it has none) and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectRef {
    pub kind: Kind,
    /// Its namespace; empty for a cluster-scoped kind.
    pub namespace: Arc<str>,
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
    /// The UID, in a dialect that puts objects of one second in its order; otherwise zeros.
    pub uid: [u8; 16],
}

impl Seniority {
    /// Nothing comes before this.
    pub const FIRST: Seniority = Seniority {
        canary: false,
        leaving: false,
        created: Timestamp(i64::MIN),
        uid: [0; 16],
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

/// A form that the fields have which routes of a kind come from.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct FieldForm {
    /// The field, with `[]` for each index: `spec.rules[].http.paths[]`.
    pub text: &'static str,
    /// The list each of whose entries makes routes of its own: what is said of another entry does not concern a route.
    pub list: &'static str,
    /// The field that names the host, with the same indices.
    pub host: &'static str,
}

/// A field of an object, as `kubectl explain` writes it but with indices: `spec.rules[0].http.paths[1]`.
///
/// It is known by its form and indices, for every route has one, and its text would be as long as a route's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Field {
    form: &'static FieldForm,
    at: [u32; 2],
}

impl Field {
    /// A field without indices. It comes after all that have some.
    pub const fn new(form: &'static FieldForm) -> Self {
        Self {
            form,
            at: [u32::MAX; 2],
        }
    }

    /// A field with one index. It comes after those that have the same and a second one.
    pub const fn at(form: &'static FieldForm, index: u32) -> Self {
        Self {
            form,
            at: [index, u32::MAX],
        }
    }

    /// A field with two indices.
    pub const fn within(form: &'static FieldForm, index: u32, inner: u32) -> Self {
        Self {
            form,
            at: [index, inner],
        }
    }

    /// Where it stands among the fields of its object that routes come from.
    pub fn order(&self) -> [u32; 2] {
        self.at
    }

    /// Whether it is of this form.
    pub fn is(&self, form: &FieldForm) -> bool {
        *self.form == *form
    }

    /// Whether what is said of another field of the object concerns what comes from this one.
    pub fn concerns(&self, other: &str) -> bool {
        let entry = other.strip_prefix(self.form.list);
        if !entry.is_some_and(|entry| entry.starts_with('[')) {
            return true;
        }
        let own = self.to_string();
        other.starts_with(&own) || own.starts_with(other)
    }
}

impl Field {
    /// The field that names the host of what comes from this one.
    pub fn host(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(self.form.host, &mut text);
        text
    }

    fn write(&self, form: &str, out: &mut impl fmt::Write) -> fmt::Result {
        let mut parts = form.split("[]");
        out.write_str(parts.next().unwrap_or_default())?;
        for (part, index) in parts.zip(self.at) {
            write!(out, "[{index}]{part}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(self.form.text, f)
    }
}

/// Whose rule a route is: what a log line, an error and `explain` name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The object that says so.
    pub object: ObjectRef,
    /// Where in the object.
    pub field: Field,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.object, self.field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: FieldForm = FieldForm {
        text: "spec.rules[].http.paths[]",
        list: "spec.rules",
        host: "spec.rules[].host",
    };
    const DEFAULT: FieldForm = FieldForm {
        text: "spec.defaultBackend",
        list: "spec.rules",
        host: "spec.defaultBackend",
    };

    #[test]
    fn a_field_has_its_indices_where_its_form_says() {
        assert_eq!(Field::within(&PATH, 0, 12).to_string(), "spec.rules[0].http.paths[12]");
        assert_eq!(Field::within(&PATH, 3, 12).host(), "spec.rules[3].host");
        assert_eq!(Field::new(&DEFAULT).to_string(), "spec.defaultBackend");
    }

    #[test]
    fn what_is_said_of_another_entry_does_not_concern_a_route() {
        let path = Field::within(&PATH, 1, 1);
        for (said, concerns) in [
            ("spec.rules[1].http.paths[1].backend", true),
            ("spec.rules[1]", true),
            ("spec.rules[1].http.paths[2]", false),
            ("spec.rules[0]", false),
            ("spec.tls[0]", true),
            ("annotation narthex.io/hsts", true),
            ("", true),
        ] {
            assert_eq!(path.concerns(said), concerns, "{said}");
        }
        assert!(!Field::new(&DEFAULT).concerns("spec.rules[0]"));
        assert!(Field::new(&DEFAULT).concerns("spec.defaultBackend"));
    }
}
