//! The annotations that narthex acts on, each defined once: its name, what it does, the form of its value. Parsing, the
//! diagnostics, docs/annotations.md and its JSON schema all come from the one list.

mod list;
mod page;
mod value;

pub use page::{markdown, schema};

use crate::model::object::Meta;
use crate::model::object::OLD_CLASS;
use crate::model::{Code, Diagnostic, Kind, ObjectRef};
use crate::table::{BackendSettings, Compression, Policies};
use http::HeaderValue;
use list::ALL;
use value::Value;

/// What the names of all annotations of ours begin with.
const PREFIX: &str = "narthex.io/";

/// Those by which Traefik lets a Service say how it is spoken to.
const TRAEFIK: &str = "traefik.ingress.kubernetes.io/";

/// How many slips of the pen a name may be away from one that is known, to be taken for it.
const NEAR: usize = 2;

/// What the annotations of one object say; where it has none, what holds without.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// `merge-slashes: "false"`.
    pub keep_slashes: bool,
    /// `ssl-redirect`; none leaves it to `--ssl-redirect` and `spec.tls`.
    pub ssl_redirect: Option<bool>,
    /// `hsts`.
    pub hsts: Option<HeaderValue>,
    /// `compress`.
    pub compression: Option<Compression>,
    /// What is said of the backends.
    pub backend: BackendSettings,
}

impl Settings {
    /// What a route gets of it, with what was found out about its host.
    pub fn policies(&self, https_redirect: bool) -> Policies {
        Policies {
            keep_slashes: self.keep_slashes,
            https_redirect,
            hsts: self.hsts.clone(),
            compression: self.compression.clone(),
            guard: None,
        }
    }
}

/// What an annotation is about, and so where it may stand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// The requests of an Ingress's rules: on that Ingress.
    Route,
    /// A Service: on it, or on an Ingress for what that sends to it.
    Backend,
}

/// One annotation.
struct Annotation {
    /// Its name after the prefix.
    name: &'static str,
    scope: Scope,
    /// What it does, in a sentence of Markdown.
    about: &'static str,
    /// What holds where it is missing or wrong, in a diagnostic and on the page.
    default: &'static str,
    /// A value that makes sense.
    example: &'static str,
    value: Value,
}

/// Reads the annotations of an Ingress or a Service, and says which of them are wrong or do nothing.
pub(super) fn read(meta: &Meta, object: &ObjectRef, findings: &mut Vec<Diagnostic>) -> Settings {
    let mut settings = Settings::default();
    for (name, value) in &meta.annotations {
        let mut say = |code, message| {
            findings.push(Diagnostic::new(code, object, format!("annotation {name}"), message));
        };
        let Some(ours) = name.strip_prefix(PREFIX) else {
            // A Service has annotations for many; an Ingress for its controller.
            let asks = match object.kind {
                Kind::Ingress => name != OLD_CLASS,
                _ => name.starts_with(TRAEFIK),
            };
            if asks {
                let message = "narthex does not act on this annotation yet";
                say(Code::NotYet, message.to_owned());
            }
            continue;
        };
        match ALL.iter().find(|known| known.name == ours) {
            Some(known) if known.scope == Scope::Route && object.kind != Kind::Ingress => say(
                Code::InvalidAnnotation,
                "it is about the rules of an Ingress, and does nothing here: put it there".to_owned(),
            ),
            Some(known) => {
                if let Err(wrong) = known.value.apply(value, &mut settings) {
                    say(Code::InvalidAnnotation, format!("{wrong}; {}", known.default));
                }
            }
            None => {
                let message = "narthex knows no such annotation, so it does nothing";
                let hint = match nearest(ours) {
                    Some(known) => format!(": did you mean {PREFIX}{known}?"),
                    None => String::new(),
                };
                say(Code::InvalidAnnotation, format!("{message}{hint}"));
            }
        }
    }
    settings
}

/// The known name that an unknown one was meant to be.
fn nearest(name: &str) -> Option<&'static str> {
    ALL.iter()
        .map(|known| (distance(&name.to_ascii_lowercase(), known.name), known.name))
        .filter(|(distance, _)| *distance <= NEAR)
        .min()
        .map(|(_, known)| known)
}

/// How many characters have to be put in, left out or replaced to make one text of the other.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (above, a) in one.chars().enumerate() {
        let mut diagonal = above;
        let mut left = above + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, b) in row.iter_mut().skip(1).zip(other.chars()) {
            let replaced = diagonal + usize::from(a != b);
            diagonal = *cell;
            left = replaced.min(left + 1).min(*cell + 1);
            *cell = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_order_and_examples_are_right() {
        assert!(ALL.is_sorted_by(|one, other| one.name < other.name));
        for known in ALL {
            let applied = known.value.apply(known.example, &mut Settings::default());
            assert_eq!(applied, Ok(()), "{}", known.name);
        }
    }

    #[test]
    fn distances() {
        for (one, other, wanted) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("abc", "abc", 0),
            ("abc", "abd", 1),
            ("abc", "ac", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(one, other), wanted, "{one} {other}");
        }
        assert_eq!(nearest("merge-slash"), Some("merge-slashes"));
        assert_eq!(nearest("SSL-redirect"), Some("ssl-redirect"));
        assert_eq!(nearest("nosuch"), None);
    }
}
