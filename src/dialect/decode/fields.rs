//! Which fields of a manifest its kind does not have. `kubectl apply` refuses them; read as absent, a misspelled field
//! could mean a lot more than what was written: a rule without a host is for all hosts.
//!
//! The API's types themselves say which fields they have: a value is read as a type by way of [`Checked`], which
//! compares the keys of each mapping with what serde is told of the type.

use super::Mistake;
use crate::model::nearest::nearest;
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::Value;
use std::cell::RefCell;

/// Unknown fields that are told of, of one object: a manifest that is something else has them without end.
const MOST: usize = 50;

/// Fields of types that Kubernetes had once and k8s-openapi has no more: they were valid.
const RETIRED: &[(&str, &str)] = &[
    ("ObjectMeta", "clusterName"),
    ("ObjectMeta", "initializers"),
    ("ServiceSpec", "deprecatedPublicIPs"),
    ("ServiceSpec", "ipFamily"),
    ("ServiceSpec", "topologyKeys"),
];

/// Fields of one version by the name they have in another.
const RENAMED: &[(&str, &str, &str)] = &[
    ("IngressSpec", "backend", "defaultBackend"),
    ("IngressBackend", "serviceName", "service.name"),
    (
        "IngressBackend",
        "servicePort",
        "service.port.number or service.port.name",
    ),
    ("OldIngressSpec", "defaultBackend", "backend"),
    ("OldIngressBackend", "service", "serviceName and servicePort"),
];

/// One step from an object to a field of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A mapping's key.
    Key(String),
    /// A list's index.
    Index(usize),
}

/// A field that its type does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// The way to it; the last step is its name.
    pub path: Vec<Step>,
    /// What was probably meant.
    pub meant: Option<&'static str>,
}

impl Unknown {
    pub fn name(&self) -> &str {
        match self.path.last() {
            Some(Step::Key(name)) => name,
            _ => "",
        }
    }

    /// The way to it, with `[]` for each index.
    pub fn keys(&self) -> Vec<&str> {
        let steps = self.path.iter();
        steps
            .map(|step| match step {
                Step::Key(key) => key.as_str(),
                Step::Index(_) => "[]",
            })
            .collect()
    }

    /// The list index at a step of the path to it; `usize::MAX` if that step is not an index.
    pub fn index(&self, at: usize) -> usize {
        match self.path.get(at) {
            Some(Step::Index(index)) => *index,
            _ => usize::MAX,
        }
    }

    /// `spec.rules[0].hosts`.
    pub fn field(&self) -> String {
        let mut field = String::new();
        for step in &self.path {
            match step {
                Step::Key(name) if field.is_empty() => field.push_str(name),
                Step::Key(name) => field.extend([".", name]),
                Step::Index(index) => field += &format!("[{index}]"),
            }
        }
        field
    }

    /// ` (did you mean host?)`, where that is known.
    pub fn hint(&self) -> String {
        self.meant
            .map(|meant| format!(" (did you mean {meant}?)"))
            .unwrap_or_default()
    }
}

/// Reads a value as a type, and says which of its fields the type does not have.
///
/// # Errors
/// As without that: the field that does not fit, and why.
pub fn checked<T: DeserializeOwned>(value: &Value) -> Result<(T, Vec<Unknown>), Mistake> {
    let unknown = RefCell::default();
    let checked = Checked {
        value,
        path: &Path::Root,
        unknown: &unknown,
    };
    let object = super::typed(checked)?;
    Ok((object, unknown.into_inner()))
}

/// The way to a value, from the innermost step out.
enum Path<'p> {
    Root,
    Key(&'p Path<'p>, &'p str),
    Index(&'p Path<'p>, usize),
}

impl Path<'_> {
    fn steps(&self) -> Vec<Step> {
        let (mut steps, last) = match self {
            Path::Root => return Vec::new(),
            Path::Key(before, key) => (before.steps(), Step::Key((*key).to_owned())),
            Path::Index(before, index) => (before.steps(), Step::Index(*index)),
        };
        steps.push(last);
        steps
    }
}

/// A value that is being read.
#[derive(Clone, Copy)]
struct Checked<'v, 'p> {
    value: &'v Value,
    path: &'p Path<'p>,
    unknown: &'p RefCell<Vec<Unknown>>,
}

impl Checked<'_, '_> {
    fn compare(&self, type_name: &'static str, fields: &'static [&'static str]) {
        let mut unknown = self.unknown.borrow_mut();
        for name in self.value.as_object().into_iter().flat_map(|object| object.keys()) {
            let retired = || RETIRED.contains(&(type_name, name.as_str()));
            if fields.contains(&name.as_str()) || unknown.len() >= MOST || retired() {
                continue;
            }
            let renamed = RENAMED.iter().find(|(of, old, _)| (*of, *old) == (type_name, name));
            let near = || nearest(name, fields.iter().copied());
            let mut path = self.path.steps();
            path.push(Step::Key(name.clone()));
            unknown.push(Unknown {
                path,
                meant: renamed.map(|(_, _, new)| *new).or_else(near),
            });
        }
    }
}

impl<'de> Deserializer<'de> for Checked<'de, '_> {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, serde_json::Error> {
        self.value.deserialize_any(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, serde_json::Error> {
        match self.value {
            // As for kubectl and the API server: `annotations: {a: }` is an annotation without text. Charts write it.
            Value::Null => visitor.visit_borrowed_str(""),
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, serde_json::Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, serde_json::Error> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, serde_json::Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, serde_json::Error> {
        match self.value {
            Value::Array(items) => visitor.visit_seq(Items {
                of: self,
                rest: items.iter().enumerate(),
            }),
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, serde_json::Error> {
        match self.value {
            Value::Object(entries) => visitor.visit_map(Entries {
                of: self,
                rest: entries.iter(),
                value: None,
            }),
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, serde_json::Error> {
        self.compare(name, fields);
        self.deserialize_map(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct tuple
        tuple_struct enum identifier ignored_any
    }
}

struct Items<'v, 'p> {
    of: Checked<'v, 'p>,
    rest: std::iter::Enumerate<std::slice::Iter<'v, Value>>,
}

impl<'v> SeqAccess<'v> for Items<'v, '_> {
    type Error = serde_json::Error;

    fn next_element_seed<T: DeserializeSeed<'v>>(&mut self, seed: T) -> Result<Option<T::Value>, serde_json::Error> {
        let Some((index, value)) = self.rest.next() else {
            return Ok(None);
        };
        let path = &Path::Index(self.of.path, index);
        let unknown = self.of.unknown;
        seed.deserialize(Checked { value, path, unknown }).map(Some)
    }
}

struct Entries<'v, 'p> {
    of: Checked<'v, 'p>,
    rest: serde_json::map::Iter<'v>,
    value: Option<(&'v str, &'v Value)>,
}

impl<'v> MapAccess<'v> for Entries<'v, '_> {
    type Error = serde_json::Error;

    fn next_key_seed<K: DeserializeSeed<'v>>(&mut self, seed: K) -> Result<Option<K::Value>, serde_json::Error> {
        let Some((key, value)) = self.rest.next() else {
            return Ok(None);
        };
        self.value = Some((key, value));
        seed.deserialize(StrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'v>>(&mut self, seed: T) -> Result<T::Value, serde_json::Error> {
        let (key, value) = self
            .value
            .take()
            .ok_or_else(|| serde_json::Error::custom("a value without a key"))?;
        let path = &Path::Key(self.of.path, key);
        let unknown = self.of.unknown;
        seed.deserialize(Checked { value, path, unknown })
    }
}
