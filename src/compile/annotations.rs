//! The annotations that narthex acts on, each defined once: its name, what it does, the form of its value. Parsing, the
//! diagnostics, docs/annotations.md and its JSON schema all come from the one list.

mod list;
mod page;
mod value;

pub use page::{markdown, schema};

use crate::model::nearest::nearest;
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
                let hint = match nearest(ours, ALL.iter().map(|known| known.name)) {
                    Some(known) => format!(": did you mean {PREFIX}{known}?"),
                    None => String::new(),
                };
                say(Code::InvalidAnnotation, format!("{message}{hint}"));
            }
        }
    }
    settings
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
}
