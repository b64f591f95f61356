//! The annotations of an Ingress that narthex acts on, each defined once: its name, what it does, the form of its
//! value. Parsing, the diagnostics and docs/annotations.md all come from the one list.

use super::hsts;
use crate::model::object::Meta;
use crate::model::{Code, Diagnostic, ObjectRef};
use crate::table::Policies;
use http::HeaderValue;
use std::fmt::Write;

/// What the names of all annotations of ours begin with.
const PREFIX: &str = "narthex.io/";

/// The annotation of others that is read as a class (see [`super::classes`]).
const CLASS: &str = "kubernetes.io/ingress.class";

/// How many slips of the pen a name may be away from one that is known, to be taken for it.
const NEAR: usize = 2;

/// What the annotations of one Ingress say; where it has none, what holds without.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// `merge-slashes: "false"`.
    pub keep_slashes: bool,
    /// `ssl-redirect`; none leaves it to `--ssl-redirect` and `spec.tls`.
    pub ssl_redirect: Option<bool>,
    /// `hsts`.
    pub hsts: Option<HeaderValue>,
}

impl Settings {
    /// What a route gets of it, with what was found out about its host.
    pub fn policies(&self, https_redirect: bool) -> Policies {
        Policies {
            keep_slashes: self.keep_slashes,
            https_redirect,
            hsts: self.hsts.clone(),
        }
    }
}

/// A kind of value, and where a value of that kind goes. A kind more is a variant more; an annotation more of a kind
/// there is needs its entry in [`ALL`] and a field to go to, and nothing else.
enum Value {
    /// `"true"` or `"false"`.
    Switch(fn(&mut Settings, bool)),
    /// The value of a header field, or `"false"` or `"off"` for none.
    Header {
        /// How the value is written, for people.
        form: &'static str,
        /// Checks a value and puts it in its normal form; the error says what would be right.
        read: fn(&str) -> Result<String, String>,
        set: fn(&mut Settings, Option<HeaderValue>),
    },
}

impl Value {
    /// How a value is written, in Markdown.
    fn form(&self) -> String {
        match self {
            Value::Switch(_) => "`\"true\"` or `\"false\"`".to_owned(),
            Value::Header { form, .. } => format!("{form}; `\"false\"` or `\"off\"` for none"),
        }
    }

    /// Reads a value and puts it in its place; the error says what is wrong with it.
    fn apply(&self, text: &str, settings: &mut Settings) -> Result<(), String> {
        match self {
            Value::Switch(set) => match text {
                "true" => set(settings, true),
                "false" => set(settings, false),
                other => return Err(format!("\"{other}\" is neither \"true\" nor \"false\"")),
            },
            Value::Header { read, set, .. } => {
                let value = match text {
                    "false" | "off" => None,
                    text => {
                        let wrong = |why: String| format!("\"{text}\" is left out: {why}");
                        let value = read(text).map_err(wrong)?;
                        let value = HeaderValue::try_from(value);
                        Some(value.map_err(|_| wrong("it has a character no header field may have".to_owned()))?)
                    }
                };
                set(settings, value);
            }
        }
        Ok(())
    }
}

/// One annotation.
struct Annotation {
    /// Its name after the prefix.
    name: &'static str,
    /// What it does, in a sentence of Markdown.
    about: &'static str,
    /// What holds where it is missing or wrong, in a diagnostic and on the page.
    default: &'static str,
    /// A value that makes sense.
    example: &'static str,
    value: Value,
}

/// All of them, by name.
static ALL: &[Annotation] = &[
    Annotation {
        name: "hsts",
        about: "Replies over TLS carry `Strict-Transport-Security` with this value (RFC 6797): browsers then use \
                HTTPS only, for as long as `max-age` says.",
        default: "none is sent",
        example: "max-age=31536000; includeSubDomains",
        value: Value::Header {
            form: "`max-age=SECONDS`, then `includeSubDomains` and `preload` as wanted, with `;` between",
            read: hsts::normalise,
            set: |settings, value| settings.hsts = value,
        },
    },
    Annotation {
        name: "merge-slashes",
        about: "Whether empty path segments are left out before paths are compared and forwarded: `/a//b` is `/a/b`.",
        default: "\"true\" is used",
        example: "false",
        value: Value::Switch(|settings, merge| settings.keep_slashes = !merge),
    },
    Annotation {
        name: "ssl-redirect",
        about: "Whether plain HTTP is sent to HTTPS with 308. `\"true\"` does so for all rules, also those without a \
                host and those without an entry in `spec.tls`.",
        default: "hosts that spec.tls covers are redirected, unless --ssl-redirect=false",
        example: "false",
        value: Value::Switch(|settings, redirect| settings.ssl_redirect = Some(redirect)),
    },
];

/// Reads the annotations of an Ingress, and says which of them are wrong or do nothing.
pub(super) fn read(meta: &Meta, object: &ObjectRef, findings: &mut Vec<Diagnostic>) -> Settings {
    let mut settings = Settings::default();
    for (name, value) in &meta.annotations {
        let mut say = |code, message| {
            let field = format!("metadata.annotations[{name}]");
            findings.push(Diagnostic::new(code, object, field, message));
        };
        let Some(ours) = name.strip_prefix(PREFIX) else {
            if name != CLASS {
                let message = "narthex does not act on this annotation yet";
                say(Code::NotYet, message.to_owned());
            }
            continue;
        };
        match ALL.iter().find(|known| known.name == ours) {
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

/// docs/annotations.md.
pub fn markdown() -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_page(&mut out);
    out
}

fn write_page(out: &mut String) -> std::fmt::Result {
    writeln!(out, "# Annotations\n")?;
    writeln!(
        out,
        "What an Ingress can ask for beyond its fields. A value is always a string, so numbers and booleans are quoted. \
         One that is wrong is reported and changes nothing. Made from the code; a test compares the two."
    )?;
    for annotation in ALL {
        writeln!(out, "\n## `{PREFIX}{}`\n\n{}\n", annotation.name, annotation.about)?;
        writeln!(out, "- value: {}", annotation.value.form())?;
        writeln!(out, "- without it: {}", annotation.default)?;
        writeln!(
            out,
            "- example: `{PREFIX}{}: \"{}\"`",
            annotation.name, annotation.example
        )?;
    }
    Ok(())
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
