//! What pods say of where something is, made true for clients: `Location`, `Refresh`, and the paths and domains of cookies.

use super::template::{Known, Template};
use crate::message::{Fields, Name};

/// What is changed of places.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Places {
    /// The beginning of `Location` and of the URL in `Refresh`.
    pub location: Option<Exchanged>,
    /// The beginning of the paths of cookies.
    pub cookie_path: Option<Exchanged>,
    /// The domains of cookies, each as a whole.
    pub cookie_domain: Option<Exchanged>,
}

/// A text, and what takes its place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Exchanged {
    pub from: Template,
    pub to: Template,
}

impl Exchanged {
    /// The text with another beginning, where it begins so.
    fn beginning(&self, text: &str, known: &Known<'_>) -> Option<String> {
        let rest = text.strip_prefix(&*self.from.expand(known))?;
        Some(self.to.expand(known).into_owned() + rest)
    }

    /// What takes the place of a domain, where it is this one. A dot before it says nothing.
    fn domain(&self, text: &str, known: &Known<'_>) -> Option<String> {
        let from = self.from.expand(known);
        let bare = |text: &str| text.strip_prefix('.').unwrap_or(text).to_ascii_lowercase();
        (bare(text) == bare(&from)).then(|| bare(&self.to.expand(known)))
    }
}

impl Places {
    /// Changes the fields of a pod's reply.
    pub fn apply(&self, known: &Known<'_>, fields: &mut Fields) {
        if let Some(location) = &self.location {
            if let Some(text) = fields.get(&Name::Location).and_then(|value| value.to_str())
                && let Some(text) = location.beginning(text, known)
            {
                fields.insert(&Name::Location, text.as_bytes());
            }
            if let Some(text) = fields.get("Refresh").and_then(|value| value.to_str())
                && let Some(text) = refresh(text, location, known)
            {
                fields.insert("Refresh", text.as_bytes());
            }
        }
        if self.cookie_path.is_some() || self.cookie_domain.is_some() {
            self.cookies(known, fields);
        }
    }

    /// Writes all cookies anew if one of them changes.
    fn cookies(&self, known: &Known<'_>, fields: &mut Fields) {
        let mut changed = false;
        let mut all = Vec::new();
        for line in fields.get_all(&Name::SetCookie) {
            let new = line.to_str().and_then(|text| self.cookie(text, known));
            changed |= new.is_some();
            all.push(new.map_or_else(|| line.as_bytes().to_vec(), String::into_bytes));
        }
        if changed {
            fields.remove(&Name::SetCookie);
            for line in all {
                fields.append(&Name::SetCookie, line);
            }
        }
    }

    /// A cookie with other attributes (RFC 6265, section 4.1.1), where they are to change.
    fn cookie(&self, text: &str, known: &Known<'_>) -> Option<String> {
        let (mut out, mut changed) = (String::new(), false);
        for (place, part) in text.split(';').enumerate() {
            let attribute = part.split_once('=').filter(|_| place > 0);
            let new = attribute.and_then(|(name, value)| {
                let (name, value) = (name.trim(), value.trim());
                let value = if name.eq_ignore_ascii_case("path") {
                    self.cookie_path.as_ref()?.beginning(value, known)
                } else if name.eq_ignore_ascii_case("domain") {
                    self.cookie_domain.as_ref()?.domain(value, known)
                } else {
                    None
                }?;
                // What a variable stands for must not end the attribute.
                (!value.contains(';')).then(|| format!(" {name}={value}"))
            });
            if place > 0 {
                out.push(';');
            }
            changed |= new.is_some();
            out += new.as_deref().unwrap_or(part);
        }
        changed.then_some(out)
    }
}

/// `Refresh` with another URL: `5; url=http://a.test/`.
fn refresh(text: &str, location: &Exchanged, known: &Known<'_>) -> Option<String> {
    let at = text.to_ascii_lowercase().find("url=")? + "url=".len();
    let (before, url) = text.split_at_checked(at)?;
    Some(format!("{before}{}", location.beginning(url, known)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchanged(from: &str, to: &str) -> Option<Exchanged> {
        Some(Exchanged {
            from: Template::new(from).unwrap(),
            to: Template::new(to).unwrap(),
        })
    }

    #[test]
    fn what_pods_say_is_made_true_for_clients() {
        let asked = Fields::new();
        let known = Known {
            secure: true,
            query: Some("x=1;y"),
            ..Known::of_get(Some("a.test"), "/", &asked)
        };
        let places = Places {
            location: exchanged("http://pod:8080/", "$scheme://$host/app/"),
            cookie_path: exchanged("/app", "/$args"),
            cookie_domain: exchanged("pod.test", ".$host"),
        };
        for (name, value, wanted) in [
            ("Location", "http://pod:8080/x", "https://a.test/app/x"),
            ("Location", "http://other/", "http://other/"),
            ("Refresh", "5; URL=http://pod:8080/", "5; URL=https://a.test/app/"),
            ("Refresh", "5", "5"),
            (
                "Set-Cookie",
                "a=Domain=pod.test; DOMAIN=.Pod.Test; Secure",
                "a=Domain=pod.test; DOMAIN=a.test; Secure",
            ),
            ("Set-Cookie", "a=1; Path=/app/x", "a=1; Path=/app/x"),
            ("Set-Cookie", "a=1; Domain=other.test", "a=1; Domain=other.test"),
        ] {
            let mut fields = Fields::new();
            fields.append(name, value);
            fields.append(name, "kept");
            places.apply(&known, &mut fields);
            assert_eq!(fields.get(name).unwrap().to_str(), Some(wanted), "{name}: {value}");
        }
        let places = Places {
            cookie_path: exchanged("/app/", "/"),
            ..Places::default()
        };
        let mut fields = Fields::new();
        fields.append("Set-Cookie", "a=1; path=/app/x; HttpOnly");
        fields.append("Set-Cookie", "b=2");
        places.apply(&known, &mut fields);
        let all: Vec<_> = fields
            .get_all("Set-Cookie")
            .map(|line| line.to_str().unwrap())
            .collect();
        assert_eq!(all, ["a=1; path=/x; HttpOnly", "b=2"]);
    }
}
