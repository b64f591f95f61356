//! A backend with others beside it: a canary that gets some of its requests, and a spare for when it has no endpoints.

use super::backend::{Backend, BackendId};
use super::patterns::PathRegex;
use super::{Table, sticky};
use crate::message::{Fields, Value};
use http::HeaderName;
use std::sync::Arc;

/// A main backend and others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    pub main: BackendId,
    pub canary: Option<Canary>,
    /// What gets the requests while the one that they are for has no endpoints.
    pub spare: Option<BackendId>,
}

/// A backend that gets some of another's requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canary {
    pub to: BackendId,
    pub rule: Arc<CanaryRule>,
    /// Whether the object itself names it; otherwise another object is the canary.
    pub own: bool,
}

/// Which requests a canary gets: what the field says comes first, then the cookie, then the weight.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CanaryRule {
    pub header: Option<(HeaderName, CanaryHeader)>,
    /// A cookie that says `always` or `never`.
    pub cookie: Option<Box<str>>,
    /// How many of `total` it gets.
    pub weight: u32,
    pub total: u32,
    /// Whether a sticky session does not hold across the two.
    pub forgets_sessions: bool,
}

/// What a field has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CanaryHeader {
    /// `always`, or `never` for the main backend.
    Word,
    /// This; nothing else decides.
    Value(Box<str>),
    /// What this fits; nothing else decides.
    Pattern(HeaderRegex),
    /// A pattern that cannot be compiled: a request with the field is for the main backend.
    Broken,
}

/// A regular expression over the value of a field. It fits anywhere in it, unless its text says `^` or `$`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderRegex(PathRegex);

impl HeaderRegex {
    /// Compiles an expression.
    ///
    /// # Errors
    /// Says in one line what is wrong with the text.
    pub fn new(text: &str) -> Result<Self, String> {
        PathRegex::new(text).map(Self)
    }
}

/// What a word of a field or a cookie decides.
fn word(value: &[u8]) -> Option<bool> {
    match value {
        b"always" => Some(true),
        b"never" => Some(false),
        _ => None,
    }
}

impl CanaryRule {
    /// Whether a request is for the canary.
    fn takes(&self, fields: &Fields, draw: fn(u32) -> u32) -> bool {
        let header = self.header.as_ref();
        let header = header.and_then(|(name, header)| header.decides(fields.get(name)?));
        let cookie = || word(sticky::cookies(fields, self.cookie.as_deref()?).next()?);
        header.or_else(cookie).unwrap_or_else(|| match self.weight {
            0 => false,
            all if all >= self.total => true,
            weight => draw(self.total) < weight,
        })
    }
}

impl CanaryHeader {
    fn decides(&self, value: Value<'_>) -> Option<bool> {
        let value = value.as_bytes();
        match self {
            Self::Word => word(value),
            Self::Value(wanted) => (wanted.as_bytes() == value).then_some(true),
            Self::Pattern(regex) => regex.0.fits(value).then_some(true),
            Self::Broken => Some(false),
        }
    }
}

impl Choice {
    /// Every backend that requests may go to.
    pub fn backends(&self) -> impl Iterator<Item = BackendId> {
        let canary = self.canary.as_ref().map(|canary| canary.to);
        [Some(self.main), canary, self.spare].into_iter().flatten()
    }

    /// The backend of a request.
    pub fn choose<'t>(&self, table: &'t Table, fields: &Fields, draw: fn(u32) -> u32) -> Option<&'t Arc<Backend>> {
        let main = table.backend(self.main);
        let chosen = self.canary(table, main, fields, draw).or(main);
        let spare = || table.backend(self.spare?).filter(|spare| !spare.endpoints.is_empty());
        match chosen {
            Some(backend) if backend.endpoints.is_empty() => spare().or(chosen),
            chosen => chosen,
        }
    }

    /// The canary, where a request is for it. One without endpoints gets none.
    fn canary<'t>(
        &self,
        table: &'t Table,
        main: Option<&'t Arc<Backend>>,
        fields: &Fields,
        draw: fn(u32) -> u32,
    ) -> Option<&'t Arc<Backend>> {
        let canary = self.canary.as_ref()?;
        let backend = table
            .backend(canary.to)
            .filter(|backend| !backend.endpoints.is_empty())?;
        let session = main
            .filter(|_| !canary.rule.forgets_sessions)
            .and_then(|main| session(main, backend, fields));
        session
            .unwrap_or_else(|| canary.rule.takes(fields, draw))
            .then_some(backend)
    }
}

/// Whether the client's session is with the canary; absent if it has none with either.
fn session(main: &Backend, canary: &Backend, fields: &Fields) -> Option<bool> {
    let name = main.settings.sticky_cookie.as_ref()?;
    let entries = sticky::named(fields, name);
    if entries.is_empty() {
        return None;
    }
    let (of_main, of_canary) = (sticky::backend_hash(main), sticky::backend_hash(canary));
    let mut backends = entries.iter().filter_map(|entry| entry.backend);
    backends.find_map(|backend| match backend {
        backend if backend == of_main => Some(false),
        backend if backend == of_canary => Some(true),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::new();
        for (name, value) in lines {
            fields.append(*name, *value);
        }
        fields
    }

    #[test]
    fn a_field_comes_before_a_cookie_and_both_before_the_weight() {
        let header = |header| Some((HeaderName::from_static("x-canary"), header));
        let word = header(CanaryHeader::Word);
        let value = header(CanaryHeader::Value("me".into()));
        let pattern = header(CanaryHeader::Pattern(HeaderRegex::new("^v[0-9]").unwrap()));
        let broken = header(CanaryHeader::Broken);
        for (header, lines, wanted) in [
            (&word, &[("X-Canary", "always"), ("Cookie", "c=never")][..], Some(true)),
            (&word, &[("X-Canary", "never"), ("Cookie", "c=always")], Some(false)),
            (&word, &[("X-Canary", "maybe"), ("Cookie", "c=always")], Some(true)),
            (&word, &[("Cookie", "a=b; c=never")], Some(false)),
            (&word, &[("Cookie", "c=maybe")], None),
            (&value, &[("X-Canary", "me")], Some(true)),
            (&value, &[("X-Canary", "never"), ("Cookie", "c=always")], Some(true)),
            (&value, &[("X-Canary", "always")], None),
            (&pattern, &[("X-Canary", "v2")], Some(true)),
            (&pattern, &[("X-Canary", "w2")], None),
            (&broken, &[("X-Canary", "v2"), ("Cookie", "c=always")], Some(false)),
            (&broken, &[("Cookie", "c=always")], Some(true)),
        ] {
            let rule = CanaryRule {
                header: header.clone(),
                cookie: Some("c".into()),
                weight: 5,
                total: 10,
                forgets_sessions: false,
            };
            let fields = fields(lines);
            let drawn = (rule.takes(&fields, |_| 4), rule.takes(&fields, |_| 5));
            assert_eq!(
                drawn,
                wanted.map_or((true, false), |wanted| (wanted, wanted)),
                "{header:?} {lines:?}"
            );
        }
    }

    #[test]
    fn none_and_all_are_exact() {
        let rule = |weight| CanaryRule {
            weight,
            total: 100,
            ..CanaryRule::default()
        };
        let none = Fields::new();
        assert!(!rule(0).takes(&none, |_| 0));
        assert!(rule(1).takes(&none, |_| 0));
        assert!(rule(100).takes(&none, |total| total - 1));
        assert!(rule(200).takes(&none, |total| total));
    }
}
