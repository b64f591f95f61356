//! A manifest's values, in the order and at the place they were written.
//!
//! Kubernetes tools read YAML through go-yaml, which follows YAML 1.1 for plain scalars (`yes` is a boolean, `0755`
//! is octal). A manifest must mean here what it means to `kubectl apply`, so [`plain`] resolves scalars as that does.

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::Number;

/// A place in a file; lines and columns count from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

/// A value and where it starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it starts.
    pub at: Mark,
    pub value: Value,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing, or `null`.
    Null,
    Bool(bool),
    Number(Number),
    /// Text.
    String(String),
    Seq(Vec<Node>),
    Map(Vec<Entry>),
}

/// One key of a mapping, with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub key: String,
    /// Where the key starts.
    pub at: Mark,
    pub value: Node,
}

impl Value {
    /// What a person calls it.
    pub fn describe(&self) -> &'static str {
        match self {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "text",
            Value::Seq(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

// === impl Node ===

impl Node {
    /// A value that stands in no file.
    pub fn new(value: Value) -> Self {
        Self {
            at: Mark::default(),
            value,
        }
    }

    /// Text that stands in no file.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new(Value::String(text.into()))
    }

    /// A mapping that stands in no file.
    pub fn map(entries: impl IntoIterator<Item = (&'static str, Node)>) -> Self {
        Self::new(Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| Entry {
                    key: key.to_owned(),
                    at: Mark::default(),
                    value,
                })
                .collect(),
        ))
    }

    /// A list of texts that stands in no file.
    pub fn texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        Self::new(Value::Seq(texts.into_iter().map(Node::text).collect()))
    }

    /// The entries of a mapping; none for anything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The entries of a mapping, to change.
    pub fn entries_mut(&mut self) -> Option<&mut Vec<Entry>> {
        match &mut self.value {
            Value::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The items of a list; none for anything else.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::Seq(items) => items,
            _ => &[],
        }
    }

    /// The items of a list, to change.
    pub fn items_mut(&mut self) -> Option<&mut Vec<Node>> {
        match &mut self.value {
            Value::Seq(items) => Some(items),
            _ => None,
        }
    }

    /// A mapping's value for a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries()
            .iter()
            .find(|entry| entry.key == key)
            .map(|entry| &entry.value)
    }

    /// A mapping's value for a key, to change.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.entries_mut()?
            .iter_mut()
            .find(|entry| entry.key == key)
            .map(|entry| &mut entry.value)
    }

    /// The text, where it is text.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The text of a key of a mapping.
    pub fn str_at(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }

    /// The same value as `serde_json` has it.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Number(value) => value.clone().into(),
            Value::String(value) => value.as_str().into(),
            Value::Seq(items) => items.iter().map(Node::to_json).collect(),
            Value::Map(entries) => entries
                .iter()
                .map(|entry| (entry.key.clone(), entry.value.to_json()))
                .collect(),
        }
    }

    /// How many bytes it takes in memory, itself and its text included, and how deep its values nest.
    pub fn measure(&self) -> (usize, usize) {
        let within = |nodes: &mut dyn Iterator<Item = (usize, &Node)>| {
            nodes.fold((size_of::<Node>(), 1), |(bytes, depth): (usize, usize), (own, node)| {
                let (more, deeper) = node.measure();
                (bytes.saturating_add(own).saturating_add(more), depth.max(deeper + 1))
            })
        };
        match &self.value {
            Value::Seq(items) => within(&mut items.iter().map(|item| (0, item))),
            Value::Map(entries) => within(
                &mut entries
                    .iter()
                    .map(|entry| (size_of::<Entry>() + entry.key.len(), &entry.value)),
            ),
            Value::String(text) => (size_of::<Node>() + text.len(), 1),
            Value::Null | Value::Bool(_) | Value::Number(_) => (size_of::<Node>(), 1),
        }
    }

    /// The value of a field, as it is named in [`Node::locate`]; absent where it is not there.
    pub fn find(&self, field: &str) -> Option<&Node> {
        let (found, _, rest) = self.follow(field);
        rest.is_empty().then_some(found)
    }

    /// Where a field stands (`spec.rules[0].http.paths[1].backend`): the value where it is a scalar, else its key.
    /// A field that is missing is found at the nearest thing round it.
    pub fn locate(&self, field: &str) -> Mark {
        self.follow(field).1
    }

    /// Follows a field's name as far as there is something: to which value, where that stands, and what is left.
    fn follow<'f>(&self, field: &'f str) -> (&Node, Mark, &'f str) {
        let mut node = self;
        let mut at = self.at;
        let mut rest = field;
        loop {
            rest = rest.strip_prefix('.').unwrap_or(rest);
            if let Some(bracketed) = rest.strip_prefix('[') {
                let Some((inside, after)) = bracketed.split_once(']') else {
                    return (node, at, rest);
                };
                let inside = inside.trim_matches('"');
                let next = match inside.parse::<usize>() {
                    Ok(index) => node.items().get(index),
                    Err(_) => node.get(inside),
                };
                let Some(next) = next else { return (node, at, rest) };
                (node, at, rest) = (next, next.at, after);
                continue;
            }
            if rest.is_empty() {
                return (node, at, rest);
            }
            // Keys hold dots themselves (annotations do), so the longest key that fits is the one meant.
            let fits = |entry: &&Entry| {
                rest.strip_prefix(entry.key.as_str())
                    .is_some_and(|after| after.is_empty() || after.starts_with(['.', '[']))
            };
            let Some(entry) = node.entries().iter().filter(fits).max_by_key(|entry| entry.key.len()) else {
                return (node, at, rest);
            };
            at = match entry.value.value {
                Value::Seq(_) | Value::Map(_) | Value::Null => entry.at,
                _ => entry.value.at,
            };
            (node, rest) = (&entry.value, &rest[entry.key.len()..]);
        }
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.value {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Number(value) => value.serialize(serializer),
            // A script in a ConfigMap should still look like one.
            Value::String(value) if value.contains('\n') => serde_saphyr::LitStr(value).serialize(serializer),
            Value::String(value) => serializer.serialize_str(value),
            Value::Seq(items) => {
                let mut seq = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    seq.serialize_element(item)?;
                }
                seq.end()
            }
            Value::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for entry in entries {
                    map.serialize_entry(&entry.key, &entry.value)?;
                }
                map.end()
            }
        }
    }
}

/// What a scalar without quotes is, to go-yaml 2 (YAML 1.1, as `kubectl` reads it).
pub fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Value::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number)
}

fn number(text: &str) -> Option<Number> {
    if !text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first)) {
        return None;
    }
    let digits = text.replace('_', "");
    let (negative, unsigned) = match digits.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, digits.strip_prefix('+').unwrap_or(&digits)),
    };
    let (radix, figures) = match unsigned.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &unsigned[2..]),
        [b'0', b'o' | b'O', ..] => (8, &unsigned[2..]),
        [b'0', b'b' | b'B', ..] => (2, &unsigned[2..]),
        [b'0', _, ..] => (8, &unsigned[1..]),
        _ => (10, unsigned),
    };
    if figures.starts_with(|first: char| first.is_digit(radix))
        && let Ok(magnitude) = u64::from_str_radix(figures, radix)
    {
        if !negative {
            return Some(magnitude.into());
        }
        if let Ok(value) = i64::try_from(-i128::from(magnitude)) {
            return Some(value.into());
        }
    }
    let float_like = unsigned
        .bytes()
        .all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte))
        && unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.');
    let value: f64 = float_like.then(|| digits.parse().ok())??;
    // JSON knows one kind of number: `80.0`, like `0080`, is eighty.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() < EXACT {
        return Some((value as i64).into());
    }
    Number::from_f64(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_mean_what_they_mean_to_kubectl() {
        for (text, json) in [
            ("80", "80"),
            ("0080", "80"),
            ("0644", "420"),
            ("0x1F", "31"),
            ("0o17", "15"),
            ("0x_1F", "31"),
            ("07.5", "7.5"),
            ("1.", "1"),
            ("-0", "0"),
            ("1_000", "1000"),
            ("-5", "-5"),
            ("+5", "5"),
            ("1.5", "1.5"),
            ("1e3", "1000"),
            ("80.0", "80"),
            ("9223372036854775808", "9223372036854775808"),
            ("yes", "true"),
            ("off", "false"),
            ("~", "null"),
            ("1.2.3", "\"1.2.3\""),
            ("10.0.0.1", "\"10.0.0.1\""),
            ("1-2", "\"1-2\""),
            ("-", "\"-\""),
            (".", "\".\""),
            ("0x", "\"0x\""),
            ("12:30", "\"12:30\""),
            ("2020-01-31T10:15:21Z", "\"2020-01-31T10:15:21Z\""),
            ("100m", "\"100m\""),
            ("5e", "\"5e\""),
            ("infinity", "\"infinity\""),
        ] {
            assert_eq!(Node::new(plain(text)).to_json().to_string(), json, "{text}");
        }
    }
}
