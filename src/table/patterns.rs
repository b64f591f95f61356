//! Routes of one host whose paths are regular expressions: compiled with the table, and asked in order.

use super::CanonicalPath;
use super::paths::Paths;
use super::route::{PathKind, Route};
use super::when::Says;
use regex::bytes::{Regex, RegexBuilder};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The longest text of a regular expression, so that compiling it takes no notable time.
const MAX_TEXT: usize = 2048;

/// How much memory one compiled expression may take, so that `(a{1000}){1000}` is an error and not an outage.
const MAX_PROGRAM: usize = 64 * 1024;

/// How much memory one expression may take per thread while it is matched. With less, matching is slower but still
/// linear.
const MAX_CACHE: usize = 64 * 1024;

/// The longest regular expression in the path of an Ingress.
pub const MAX_OPEN_TEXT: usize = 1024;

/// A compiled regular expression over a path. It matches anywhere in the path, unless its text says `^` or `$`. What it
/// sees is the canonical path in which most escapes are decoded: see [`readable`].
#[derive(Clone, Debug)]
pub struct PathRegex {
    regex: Regex,
    /// What all that matches begins with, in lower case; empty where that is not known. It is compared first.
    beginning: Box<[u8]>,
}

/// They are equal if their texts are.
impl PartialEq for PathRegex {
    fn eq(&self, other: &Self) -> bool {
        self.regex.as_str() == other.regex.as_str()
    }
}

impl Eq for PathRegex {}

impl Hash for PathRegex {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.regex.as_str().hash(state);
    }
}

/// A path in the form that regular expressions see: with its escapes decoded, except those of `/`, `\`, `%` and of
/// controls, which would not be what they were.
pub fn readable(path: &str) -> Cow<'_, [u8]> {
    let Some(first) = memchr::memchr(b'%', path.as_bytes()) else {
        return Cow::Borrowed(path.as_bytes());
    };
    let (start, mut rest) = path.as_bytes().split_at(first);
    let mut out = start.to_vec();
    while let [byte, after @ ..] = rest {
        let escape = if *byte == b'%' { after.split_at_checked(2) } else { None };
        let decoded = escape.and_then(|(digits, _)| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match (decoded, escape) {
            (Some(decoded), Some((_, left))) if decoded >= 0x20 && !b"/\\%\x7f".contains(&decoded) => {
                out.push(decoded);
                rest = left;
            }
            _ => {
                out.push(*byte);
                rest = after;
            }
        }
    }
    Cow::Owned(out)
}

/// The beginning of a text that is not an operator of regular expressions.
fn plain_beginning(text: &str) -> &str {
    let end = text.find(|one: char| !one.is_ascii() || r".+*?()[]{}^$|\".contains(one));
    let Some(end) = end else { return text };
    // The last character may be optional.
    let optional = text.get(end..).is_some_and(|rest| rest.starts_with(['?', '*', '{']));
    let plain = text
        .get(..end.saturating_sub(usize::from(optional)))
        .unwrap_or_default();
    if has_alternatives(text) { "" } else { plain }
}

/// Whether a bar stands outside of all groups and sets, as far as can be told without parsing: then what comes behind it
/// may begin otherwise.
fn has_alternatives(text: &str) -> bool {
    let mut depth = 0_u32;
    let mut escaped = false;
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            b'|' if depth == 0 => return true,
            _ => {}
        }
    }
    // An odd set such as `[(]` leaves the depth wrong, so the bars behind it count.
    depth != 0 && text.contains('|')
}

impl PathRegex {
    /// Compiles a path as ingress-nginx has it: from the start of the path, without regard to ASCII case, open at the end.
    ///
    /// # Errors
    /// As [`PathRegex::new`].
    pub fn open(text: &str) -> Result<Self, String> {
        if text.len() > MAX_OPEN_TEXT {
            return Err(format!("is longer than {MAX_OPEN_TEXT} bytes"));
        }
        let compiled = Self::new(&format!("(?i)^{text}"))?;
        Ok(Self {
            beginning: plain_beginning(text).to_ascii_lowercase().into_bytes().into(),
            ..compiled
        })
    }

    /// Compiles a path as narthex's own annotation has it: all of the path, and its case matters.
    ///
    /// # Errors
    /// As [`PathRegex::new`].
    pub fn whole(text: &str) -> Result<Self, String> {
        if text.len() > MAX_OPEN_TEXT {
            return Err(format!("is longer than {MAX_OPEN_TEXT} bytes"));
        }
        // By itself first: a parenthesis too many would end the group.
        Self::new(text)?;
        Self::new(&format!("^(?:{text})$"))
    }

    /// Whether it is known what the paths begin with that a text is for, beyond the slash that all begin with.
    pub fn is_beginning_known(text: &str) -> bool {
        plain_beginning(text).len() > 1
    }

    /// The text of an expression, to be matched as a whole, that fits every path which begins as a text does that cannot be
    /// compiled.
    pub fn closing_text(text: &str) -> String {
        let beginning = plain_beginning(text);
        let beginning = beginning.get(..MAX_OPEN_TEXT / 2).unwrap_or(beginning);
        format!("{}.*", regex::escape(beginning))
    }

    /// What matches every path that begins as one of some texts does: as few expressions as that takes, but not more than
    /// `most`. Beyond that, and where no beginning is known, it is one that matches every path.
    ///
    /// # Errors
    /// As [`PathRegex::new`].
    pub fn beginnings_of<'t>(texts: impl Iterator<Item = &'t str>, most: usize) -> Result<Vec<Self>, String> {
        let beginnings: BTreeSet<&str> = texts.map(plain_beginning).collect();
        let everything = || Self::new("").map(|all| vec![all]);
        if beginnings.iter().any(|beginning| beginning.len() <= 1) {
            return everything();
        }
        let mut all: Vec<String> = Vec::new();
        for beginning in beginnings {
            let beginning = regex::escape(beginning.get(..MAX_OPEN_TEXT / 2).unwrap_or(beginning));
            let is_full = all.len() == most;
            match all.last_mut() {
                Some(last) if last.len() + beginning.len() < MAX_TEXT / 2 => *last += &format!("|{beginning}"),
                _ if is_full => return everything(),
                _ => all.push(beginning),
            }
        }
        all.iter().map(|text| Self::new(&format!("(?i)^(?:{text})"))).collect()
    }

    /// What matches every path that begins as a text does which cannot be compiled.
    ///
    /// # Errors
    /// As [`PathRegex::new`].
    pub fn beginning_of(text: &str) -> Result<Self, String> {
        // One that is too long has a beginning that is too.
        let beginning = plain_beginning(text);
        let beginning = beginning.get(..MAX_OPEN_TEXT / 2).unwrap_or(beginning);
        Self::open(&regex::escape(beginning))
    }

    /// Compiles an expression. It sees bytes and no Unicode classes, as a path has escapes for all that is not ASCII.
    ///
    /// # Errors
    /// Says in one line what is wrong with the text.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.len() > MAX_TEXT {
            return Err(format!("is longer than {MAX_TEXT} bytes"));
        }
        RegexBuilder::new(text)
            .unicode(false)
            .size_limit(MAX_PROGRAM)
            .dfa_size_limit(MAX_CACHE)
            .build()
            .map(|regex| Self {
                regex,
                beginning: Box::default(),
            })
            .map_err(|error| match error {
                regex::Error::CompiledTooBig(_) => {
                    format!("needs more than {MAX_PROGRAM} bytes of memory: repeat less, or use several paths")
                }
                error => {
                    // The first lines draw the place; the last one names the error.
                    let text = error.to_string();
                    let last = text.lines().last().unwrap_or_default();
                    format!(
                        "is not a valid regular expression: {}",
                        last.strip_prefix("error: ").unwrap_or(last)
                    )
                }
            })
    }

    /// Its text, as it is compiled.
    pub fn text(&self) -> &str {
        self.regex.as_str()
    }

    /// Whether a path matches.
    pub fn matches(&self, path: &str) -> bool {
        self.matches_readable(&readable(path))
    }

    /// Whether any text matches.
    pub(super) fn fits(&self, text: &[u8]) -> bool {
        self.regex.is_match(text)
    }

    /// The same for a path in readable form.
    fn matches_readable(&self, path: &[u8]) -> bool {
        let beginning = path.get(..self.beginning.len());
        beginning.is_some_and(|beginning| beginning.eq_ignore_ascii_case(&self.beginning)) && self.regex.is_match(path)
    }

    /// What its groups match in a path in readable form, from 0 to 9; empty where a group takes no part. Absent if the path
    /// does not match.
    pub fn groups<'p>(&self, path: &'p [u8]) -> Option<[&'p [u8]; 10]> {
        let captures = self.regex.captures(path)?;
        let group = |number| captures.get(number).map(|found| found.as_bytes());
        Some(std::array::from_fn(|number| group(number).unwrap_or_default()))
    }
}

/// A route, and the expression that its path has to match.
#[derive(Clone, Debug)]
pub struct Pattern {
    pub regex: PathRegex,
    /// The route; its path is the expression's text.
    pub route: Arc<Route>,
}

impl Pattern {
    /// Whether a request is for this route. `path` is in readable form.
    fn holds(&self, path: &[u8], says: &Says<'_>) -> bool {
        self.regex.matches_readable(path) && self.route.holds(says)
    }
}

impl Pattern {
    /// A route of ingress-nginx whose path is a pattern. One that cannot be compiled is for all paths that begin as it does.
    ///
    /// # Errors
    /// As [`PathRegex::new`].
    pub fn open(text: &str, route: Arc<Route>) -> Result<Self, String> {
        let regex = PathRegex::open(text).or_else(|_| PathRegex::beginning_of(text))?;
        Ok(Self { regex, route })
    }

    /// A route whose path is a pattern by narthex's own annotation.
    ///
    /// # Errors
    /// As [`PathRegex::new`].
    pub fn whole(text: &str, route: Arc<Route>) -> Result<Self, String> {
        let regex = PathRegex::whole(text).or_else(|_| PathRegex::beginning_of(text))?;
        Ok(Self { regex, route })
    }
}

/// The patterns of one host in the order they are asked, which the compiler decides: dialects differ in it.
#[derive(Clone, Debug)]
pub struct Patterns {
    /// Redirects of the host itself, by exact path; they come before all else.
    pub(super) redirects: Paths,
    first: Box<[Pattern]>,
    /// Those by narthex's own annotation: they come after exact paths and before prefixes.
    whole: Box<[Pattern]>,
    last: Box<[Pattern]>,
}

impl Patterns {
    /// Patterns that are asked before the plain paths of the host, and patterns that are asked after them; absent if
    /// there are no patterns.
    pub fn new(first: Vec<Pattern>, last: Vec<Pattern>) -> Option<Box<Self>> {
        Self::with_redirects(Vec::new(), first, Vec::new(), last)
    }

    /// The same, with patterns that are asked between the exact paths and the prefixes of the host, and routes that come
    /// before all that the host's rules list.
    pub fn with_redirects(
        redirects: Vec<Arc<Route>>,
        first: Vec<Pattern>,
        whole: Vec<Pattern>,
        last: Vec<Pattern>,
    ) -> Option<Box<Self>> {
        let is_empty = redirects.is_empty() && first.is_empty() && whole.is_empty() && last.is_empty();
        (!is_empty).then(|| {
            let mut paths = Paths::default();
            for route in redirects {
                if let Some(pattern) = route.path.clone() {
                    paths.set(&pattern, Some(route));
                }
            }
            Box::new(Self {
                redirects: paths,
                first: first.into(),
                whole: whole.into(),
                last: last.into(),
            })
        })
    }

    /// The first route of the host that matches: redirects, patterns, plain paths (between exact ones and prefixes narthex's
    /// own patterns), patterns.
    pub fn find<'t>(&'t self, paths: &'t Paths, path: &CanonicalPath<'_>, says: &Says<'_>) -> Option<&'t Arc<Route>> {
        let redirect = self.redirects.find(path, says);
        let is_plain = self.first.is_empty() && self.whole.is_empty() && self.last.is_empty();
        if redirect.is_some() || is_plain {
            return redirect.or_else(|| paths.find(path, says));
        }
        let merged = readable(path.form(false));
        let kept = path.kept.as_deref().map(readable);
        let form = |pattern: &Pattern| match &kept {
            Some(kept) if pattern.route.keep_slashes => kept,
            _ => &merged,
        };
        let among = |patterns: &'t [Pattern]| {
            let found = patterns.iter().find(|pattern| pattern.holds(form(pattern), says));
            found.map(|pattern| &pattern.route)
        };
        // A plain path that is a pattern here was asked as one already.
        let is_plain = |route: &&Arc<Route>| self.first.is_empty() || !route.policies.follows_patterns;
        let listed = || {
            let plain = paths.find(path, says).filter(is_plain);
            let is_exact = |route: &Arc<Route>| route.path.as_ref().is_some_and(|path| path.kind == PathKind::Exact);
            match plain {
                Some(plain) if is_exact(plain) => Some(plain),
                plain => among(&self.whole).or(plain),
            }
        };
        among(&self.first).or_else(listed).or_else(|| among(&self.last))
    }

    /// All patterns, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Pattern> {
        self.first.iter().chain(&self.whole).chain(&self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_escapes_are_decoded() {
        for (path, wanted) in [
            ("/a", &b"/a"[..]),
            ("/caf%C3%A9%20x", b"/caf\xc3\xa9 x"),
            ("/a%2Fb%5Cc%25d", b"/a%2Fb%5Cc%25d"),
            ("/%00%1F%7F%0A", b"/%00%1F%7F%0A"),
            ("/%28%29%3F", b"/()?"),
        ] {
            assert_eq!(&*readable(path), wanted, "{path}");
        }
    }

    #[test]
    fn an_open_pattern_is_as_ingress_nginx_has_it() {
        for (text, path, matches) in [
            ("/foo", "/foobar", true),
            ("/foo", "/FOO/x", true),
            ("/foo", "/x/foo", false),
            ("/api/v1.0/", "/api/v1x0/", true),
            ("/x/?(.*)", "/x", true),
            ("/x(/|$)(.*)", "/xy", false),
            ("/x(/|$)(.*)", "/x/y", true),
            ("/a|/b", "/x/b", true),
            ("/caf\u{e9}", "/CAF%C3%89", false),
            ("/a%2Fb", "/a%2Fb", true),
        ] {
            assert_eq!(PathRegex::open(text).unwrap().matches(path), matches, "{text} {path}");
        }
        let long = "/a".repeat(600);
        for text in ["/(?!a)", "/(a)\\1", "/(", "/(?<=a)b", &long, "/((a{1000}){1000})"] {
            assert!(PathRegex::open(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_a_pattern_begins_with_is_compared_first() {
        for (text, beginning) in [
            ("/foo/(.*)", "/foo/"),
            ("/foo", "/foo"),
            ("/foo/?(.*)", "/foo"),
            ("/fo{0}", "/f"),
            ("/fo+", "/fo"),
            ("/a(/|$)", "/a"),
            ("/a|/b", ""),
            ("/a(b|c)|/d", ""),
            ("/a[(]|/d", ""),
            ("/v1.0", "/v1"),
        ] {
            assert_eq!(plain_beginning(text), beginning, "{text}");
        }
    }
}
