//! Paths that pods get in place of those that clients ask for.

use crate::table::canonical::{PathError, canonical_path};
use crate::table::patterns::{PathRegex, readable};

/// What a path becomes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Rewrite {
    /// A path that matches becomes the target, which refers to the groups of the pattern.
    Pattern { pattern: PathRegex, to: Target },
    /// Every path becomes the target.
    Whole(Target),
    /// The first elements of a path go, and others come before it. A path that does not begin with `strip` stays as it is.
    Prefix {
        /// Without a closing slash; empty where nothing goes.
        strip: Box<str>,
        /// Likewise; empty where nothing comes.
        add: Box<str>,
    },
}

/// The text of the new path, with the groups of a pattern in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target(Box<[Part]>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Part {
    Text(Box<str>),
    /// From 0 to 9.
    Group(usize),
}

impl Target {
    /// Takes a text apart, in which `$1` to `$9` are groups, each of one digit.
    ///
    /// # Errors
    /// Says what is wrong with the text.
    pub fn new(text: &str) -> Result<Self, String> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:$".contains(&byte);
        if text.is_empty() || !text.bytes().all(fits) || text.contains("://") {
            return Err("is not a path of letters, digits, -._~/: and groups such as $1".to_owned());
        }
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((before, behind)) = rest.split_once('$') {
            if !before.is_empty() {
                parts.push(Part::Text(before.into()));
            }
            let digit = behind.chars().next().and_then(|one| one.to_digit(10));
            let digit = digit.ok_or("has a $ without a digit behind it")?;
            parts.push(Part::Group(digit as usize));
            rest = behind.get(1..).unwrap_or_default();
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        Ok(Self(parts.into()))
    }
}

impl Target {
    /// A path in which nothing is a group.
    pub fn literal(path: &str) -> Self {
        Self([Part::Text(path.into())].into())
    }

    /// Whether it refers to groups.
    pub fn has_groups(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Group(_)))
    }

    fn expand(&self, groups: &[&[u8]]) -> String {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out += text,
                Part::Group(number) => escape(groups.get(*number).copied().unwrap_or_default(), &mut out),
            }
        }
        out
    }
}

impl Rewrite {
    /// The path that a pod gets for a canonical path, in canonical form too; absent where it stays as it is.
    ///
    /// # Errors
    /// When it has no canonical form, as where it climbs above the root.
    pub fn apply(&self, path: &str, reject_encoded_slash: bool) -> Result<Option<String>, PathError> {
        let mut out = match self {
            Self::Pattern { pattern, to } => {
                let readable = readable(path);
                let Some(groups) = pattern.groups(&readable) else {
                    return Ok(None);
                };
                to.expand(&groups)
            }
            Self::Whole(to) => to.expand(&[]),
            Self::Prefix { strip, add } => match path.strip_prefix(&**strip) {
                Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("{add}{rest}"),
                _ => return Ok(None),
            },
        };
        if !out.starts_with('/') {
            out.insert(0, '/');
        }
        let canonical = canonical_path(&out, reject_encoded_slash)?;
        Ok(Some(canonical.form(false).to_owned()))
    }
}

/// Adds what was matched, escaped as paths have it. A percent sign is part of an escape that was left as it was.
fn escape(matched: &[u8], out: &mut String) {
    for byte in matched {
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/%".contains(byte) {
            out.push(char::from(*byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(pattern: &str, to: &str, path: &str) -> Result<Option<String>, PathError> {
        let rewrite = Rewrite::Pattern {
            pattern: PathRegex::open(pattern).unwrap(),
            to: Target::new(to).unwrap(),
        };
        let canonical = canonical_path(path, false).unwrap();
        rewrite.apply(canonical.form(false), false)
    }

    #[test]
    fn groups_are_put_where_the_target_names_them() {
        for (pattern, to, path, wanted) in [
            ("/something(/|$)(.*)", "/$2", "/something/new", "/new"),
            ("/something(/|$)(.*)", "/$2", "/something", "/"),
            ("/app", "/", "/app/x/y", "/"),
            ("/x/?(.*)", "$1", "/X/a", "/a"),
            ("/(a)(b)?", "/$1x$2-$3", "/a", "/ax-"),
            ("/(.*)", "/v1/$1", "/a%20b%3Fc%C3%A9", "/v1/a%20b%3Fc%C3%A9"),
            ("/(.*)", "/v1/$1", "/a%2Fb%25", "/v1/a%2Fb%25"),
            ("/a/(.*)", "/$1/$0", "/a/b", "/b/a/b"),
        ] {
            assert_eq!(
                apply(pattern, to, path).unwrap().as_deref(),
                Some(wanted),
                "{pattern} {to} {path}"
            );
        }
        assert_eq!(apply("/a", "/b", "/c").unwrap(), None);
    }

    #[test]
    fn prefixes_go_and_come_by_element() {
        let apply = |strip: &str, add: &str, path: &str| {
            let (strip, add) = (strip.into(), add.into());
            Rewrite::Prefix { strip, add }.apply(path, false).unwrap()
        };
        for (strip, add, path, wanted) in [
            ("/api", "", "/api/x", Some("/x")),
            ("/api", "", "/api", Some("/")),
            ("/api", "", "/apis", None),
            ("/api", "", "/x/api", None),
            ("", "/v1", "/x/", Some("/v1/x/")),
            ("", "/v1", "/", Some("/v1/")),
            ("/api", "/v1", "/api/a%2Fb", Some("/v1/a%2Fb")),
            ("/api", "/v1", "/other", None),
        ] {
            assert_eq!(apply(strip, add, path).as_deref(), wanted, "{strip} {add} {path}");
        }
        let whole = Rewrite::Whole(Target::new("/index.html").unwrap());
        assert_eq!(whole.apply("/a/b", false).unwrap().as_deref(), Some("/index.html"));
    }

    #[test]
    fn a_path_that_climbs_is_refused() {
        assert!(apply("/a/(.*)", "/../$1", "/a/b").is_err());
        assert!(apply("/a(..)", "/$1", "/a%2Fb").is_err(), "half an escape");
    }

    #[test]
    fn what_is_no_target_is_not_one() {
        for text in ["", "/a?b=$1", "/{x}", "/$", "/$x", "/a b", "https://a.test/", "/a\r\nb"] {
            assert!(Target::new(text).is_err(), "{text}");
        }
    }
}
