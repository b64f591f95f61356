//! The annotations of one object.

use super::shared::shared;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Those annotations of an object that are kept, sorted by key. Most objects have a few, for which the node of a map
/// would be ten times as large.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotations(Box<[(Arc<str>, Box<str>)]>);

impl Annotations {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|(other, _)| (**other).cmp(key)).ok()?;
        self.0.get(at).map(|(_, value)| &**value)
    }

    /// Whether there is a value for a key.
    pub fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Whether there are no annotations.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keys and values, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }

    /// The keys, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.iter().map(|(key, _)| key)
    }
}

impl<K: AsRef<str>, V: Into<Box<str>>> FromIterator<(K, V)> for Annotations {
    /// Of equal keys the last one counts.
    fn from_iter<T: IntoIterator<Item = (K, V)>>(all: T) -> Self {
        let all = all.into_iter();
        let sorted: BTreeMap<_, _> = all.map(|(key, value)| (shared(key.as_ref()), value.into())).collect();
        Self(sorted.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_key() {
        let all = Annotations::from_iter([("b", "1"), ("a", "2"), ("c", "3"), ("b", "4")]);
        assert_eq!(all.iter().collect::<Vec<_>>(), [("a", "2"), ("b", "4"), ("c", "3")]);
        assert_eq!((all.get("b"), all.get("d")), (Some("4"), None));
        assert!(all.contains_key("c") && !all.is_empty());
    }
}
