//! Questions about lists: what is looked for, in which order, which page.

use super::super::reply::{Reply, as_json};
use super::super::unescape;
use super::{Status, bad};
use http::StatusCode;
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Entries of a page where nothing is said, and at most.
const PER_PAGE: usize = 50;
pub(super) const MOST_PER_PAGE: usize = 1000;

/// What can be said once. What narthex does not know, it does not look at.
const ONCE: [&str; 15] = [
    "page",
    "per_page",
    "q",
    "namespace",
    "status",
    "sort",
    "scope",
    "url",
    "method",
    "host",
    "path",
    "slower",
    "pod",
    "route",
    "rate",
];

/// What was asked, name by name.
#[derive(Debug, Default)]
pub struct Query(Vec<(String, String)>);

/// A part of a list.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "PageOf{T}")]
pub struct Page<T> {
    /// How many there are in all.
    pub(crate) total: usize,
    /// Which page this is, from 1.
    page: usize,
    /// Its length, if it is not the last.
    per_page: usize,
    pub(crate) items: Vec<T>,
}

impl Query {
    /// Reads a query string without a look at its values.
    ///
    /// # Errors
    /// If something is said twice.
    pub fn read(text: &str) -> Result<Self, String> {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let query = Self(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (unescape(name), unescape(value))
                })
                .collect(),
        );
        for name in ONCE {
            if query.all(name).nth(1).is_some() {
                return Err(format!("{name}: say it once"));
            }
        }
        Ok(query)
    }

    /// Reads a query string about lists and the like.
    ///
    /// # Errors
    /// If a number is invalid, or a word is unknown.
    pub fn parse(text: &str) -> Result<Self, String> {
        let query = Self::read(text)?;
        for name in ["page", "per_page"] {
            if let Some(value) = query.get(name)
                && !(value.bytes().all(|byte| byte.is_ascii_digit())
                    && value
                        .parse::<usize>()
                        .is_ok_and(|number| (1..=1_000_000).contains(&number)))
            {
                return Err(format!("{name}={value}: write a number from 1"));
            }
        }
        if let Some(other) = query
            .get("scope")
            .filter(|scope| !matches!(*scope, "" | "node" | "cluster"))
        {
            return Err(format!("scope={other}: write node or cluster"));
        }
        match query.get("status") {
            None | Some("ok" | "warning" | "error" | "") => Ok(query),
            Some(other) => Err(format!("status={other}: write ok, warning or error")),
        }
    }

    /// What was said for a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    /// All that was said for a name.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let found = self.0.iter().filter(move |(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Whether a part is asked for.
    pub fn is_paged(&self) -> bool {
        ["q", "namespace", "status", "sort", "page", "per_page"]
            .iter()
            .any(|name| self.get(name).is_some())
    }

    /// Words to look for, in lower case.
    pub fn words(&self) -> Vec<String> {
        let text = self.get("q").unwrap_or_default().to_lowercase();
        text.split_whitespace().map(str::to_owned).collect()
    }

    /// The state that is asked for.
    pub fn status(&self) -> Option<&str> {
        self.get("status").filter(|status| !status.is_empty())
    }

    /// Whether a state is meant.
    pub fn means(&self, status: Status) -> bool {
        self.status().is_none_or(|wanted| wanted == status.name())
    }

    /// What to sort by, and whether the greatest comes first.
    pub fn sort(&self) -> Option<(&str, bool)> {
        let sort = self.get("sort").filter(|sort| !sort.is_empty())?;
        Some(sort.strip_prefix('-').map_or((sort, false), |field| (field, true)))
    }

    /// The page's number from 1, and its length.
    pub fn page(&self) -> (usize, usize) {
        let number = |name, default| self.get(name).and_then(|text| text.parse().ok()).unwrap_or(default);
        (number("page", 1), number("per_page", PER_PAGE).min(MOST_PER_PAGE))
    }

    /// The part of a list that is asked for, as its JSON has it. `name` is what it is sorted by otherwise.
    pub fn answer<T: Serialize + JsonSchema>(&self, mut list: Vec<T>, name: impl Fn(&T) -> &str) -> Reply {
        if let Some((field, _)) = self.sort()
            && !fields_of::<T>().iter().any(|known| known == field)
        {
            return bad(format!("sort={field}: there is no such field"));
        }
        list.sort_by(|one, other| name(one).cmp(name(other)));
        // Each item is JSON only while it is looked at: a long list of values takes several times the memory of its text.
        let as_value = |item: &T| serde_json::to_value(item).unwrap_or_default();
        let words = self.words();
        let namespace = self.get("namespace").filter(|text| !text.is_empty());
        if namespace.is_some() || self.status().is_some() || !words.is_empty() {
            list.retain(|item| {
                let item = as_value(item);
                let fits = |field: &str, wanted: Option<&str>| {
                    wanted.is_none_or(|wanted| item.get(field).is_none_or(|value| value == wanted))
                };
                let has_words = || {
                    let text = item.to_string().to_lowercase();
                    words.iter().all(|word| text.contains(word.as_str()))
                };
                fits("namespace", namespace) && fits("status", self.status()) && (words.is_empty() || has_words())
            });
        }
        if let Some((field, reverse)) = self.sort() {
            let mut keyed: Vec<(Option<Value>, T)> = list
                .into_iter()
                .map(|item| (as_value(&item).get_mut(field).map(Value::take), item))
                .collect();
            keyed.sort_by(|(one, _), (other, _)| compare(one.as_ref(), other.as_ref()));
            if reverse {
                keyed.reverse();
            }
            list = keyed.into_iter().map(|(_, item)| item).collect();
        }
        let page = Page::of(list, self).map(|item| as_value(&item));
        as_json(StatusCode::OK, &page)
    }
}

/// The names of a type's fields.
pub fn fields_of<T: JsonSchema>() -> Vec<String> {
    let schema = SchemaGenerator::default().into_root_schema_for::<T>();
    let fields = schema.get("properties").and_then(Value::as_object);
    fields.into_iter().flat_map(|fields| fields.keys().cloned()).collect()
}

/// Numbers as numbers, all else as text.
fn compare(one: Option<&Value>, other: Option<&Value>) -> std::cmp::Ordering {
    match (one.and_then(Value::as_f64), other.and_then(Value::as_f64)) {
        (Some(one), Some(other)) => one.total_cmp(&other),
        _ => {
            let text = |value: Option<&Value>| {
                value.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            };
            text(one).cmp(&text(other))
        }
    }
}

impl<T> Page<T> {
    /// The part of a list that is asked for.
    pub fn of(list: Vec<T>, query: &Query) -> Self {
        let (page, per_page) = query.page();
        let total = list.len();
        let items = list
            .into_iter()
            .skip((page - 1).saturating_mul(per_page))
            .take(per_page);
        Self {
            total,
            page,
            per_page,
            items: items.collect(),
        }
    }

    /// The same page of something else.
    pub fn map<U>(self, change: impl FnMut(T) -> U) -> Page<U> {
        Page {
            total: self.total,
            page: self.page,
            per_page: self.per_page,
            items: self.items.into_iter().map(change).collect(),
        }
    }
}
