//! `--route-labels` and `--namespace-labels`: which Routes a router has, as label selectors of Kubernetes.

use crate::model::Annotations;
use std::fmt;

/// Conditions on labels, all of which have to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    text: String,
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Condition {
    label: String,
    wanted: Wanted,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    Exists,
    Missing,
    /// One of these.
    In(Vec<String>),
    /// None of these, or no such label.
    NotIn(Vec<String>),
}

impl Selector {
    /// Reads a selector: `a=b`, `a!=b`, `a in (b,c)`, `a notin (b,c)`, `a`, `!a`, with commas between.
    ///
    /// # Errors
    /// Says what would be right.
    pub fn new(text: &str) -> Result<Self, String> {
        let mut conditions = Vec::new();
        for part in parts(text) {
            conditions.push(condition(part.trim())?);
        }
        Ok(Self {
            text: text.to_owned(),
            conditions,
        })
    }

    /// Whether it chooses everything.
    pub fn is_empty(&self) -> bool {
        self.conditions.is_empty()
    }

    /// Whether labels fit.
    pub fn fits(&self, labels: &Annotations) -> bool {
        self.conditions.iter().all(|condition| {
            let value = labels.get(&condition.label);
            let is_one = |values: &[String]| value.is_some_and(|value| values.iter().any(|other| other == value));
            match &condition.wanted {
                Wanted::Exists => value.is_some(),
                Wanted::Missing => value.is_none(),
                Wanted::In(values) => is_one(values),
                Wanted::NotIn(values) => !is_one(values),
            }
        })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The conditions of a selector: commas within brackets part nothing.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_i32;
    text.split(move |one| {
        depth += i32::from(one == '(') - i32::from(one == ')');
        one == ',' && depth == 0
    })
    .filter(|part| !part.trim().is_empty())
}

fn condition(text: &str) -> Result<Condition, String> {
    let wrong =
        || format!("\"{text}\" is not a condition on a label: write a=b, a!=b, a in (b,c), a notin (b,c), a or !a");
    let (label, wanted) = if let Some((label, value)) = text.split_once("!=") {
        (label, Wanted::NotIn(vec![value.trim().to_owned()]))
    } else if let Some((label, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        (label, Wanted::In(vec![value.trim().to_owned()]))
    } else if let Some((head, list)) = text.strip_suffix(')').and_then(|text| text.split_once('(')) {
        let values = list.split(',').map(|value| value.trim().to_owned()).collect();
        match head.trim().split_once(char::is_whitespace) {
            Some((label, word)) if word.trim() == "in" => (label, Wanted::In(values)),
            Some((label, word)) if word.trim() == "notin" => (label, Wanted::NotIn(values)),
            _ => return Err(wrong()),
        }
    } else if let Some(label) = text.strip_prefix('!') {
        (label, Wanted::Missing)
    } else {
        (text, Wanted::Exists)
    };
    let label = label.trim();
    let fits = |text: &str, more: &[u8]| {
        let is_right = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) || more.contains(&byte);
        text.bytes().all(is_right)
    };
    let values = match &wanted {
        Wanted::In(values) | Wanted::NotIn(values) => values.as_slice(),
        Wanted::Exists | Wanted::Missing => &[],
    };
    if label.is_empty() || !fits(label, b"/") || !values.iter().all(|value| fits(value, b"")) {
        return Err(wrong());
    }
    Ok(Condition {
        label: label.to_owned(),
        wanted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_choose_as_those_of_kubernetes() {
        let labels = Annotations::from_iter([("type", "sharded"), ("tier", "front")]);
        for (text, fits) in [
            ("", true),
            ("type=sharded", true),
            ("type == sharded , tier", true),
            ("type=other", false),
            ("type!=other", true),
            ("none!=x", true),
            ("!none", true),
            ("!type", false),
            ("none", false),
            ("type in (a, sharded),tier notin (back)", true),
            ("tier notin (front,back)", false),
            ("none in (a)", false),
        ] {
            assert_eq!(Selector::new(text).unwrap().fits(&labels), fits, "{text}");
        }
        for wrong in ["=a", "a b", "a in b", "a in (b", "a=b c", "(a)", "a like (b)"] {
            assert!(Selector::new(wrong).is_err(), "{wrong}");
        }
    }
}
