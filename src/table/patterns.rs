//! Routes of one host whose paths are regular expressions: compiled with the table, and asked in order.

use super::CanonicalPath;
use super::paths::Paths;
use super::route::Route;
use super::when::Says;
use regex::bytes::{Regex, RegexBuilder};
use std::sync::Arc;

/// The longest text of a regular expression, so that compiling it takes no notable time.
const MAX_TEXT: usize = 2048;

/// How much memory one compiled expression may take, so that `(a{1000}){1000}` is an error and not an outage.
const MAX_PROGRAM: usize = 64 * 1024;

/// How much memory one expression may take per thread while it is matched. With less, matching is slower but still
/// linear.
const MAX_CACHE: usize = 64 * 1024;

/// A compiled regular expression over a path. It matches anywhere in the path, unless its text says `^` or `$`.
#[derive(Clone, Debug)]
pub struct PathRegex(Regex);

impl PathRegex {
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
            .map(Self)
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

    /// Whether a path matches.
    pub fn matches(&self, path: &str) -> bool {
        self.0.is_match(path.as_bytes())
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
    /// Whether a request is for this route.
    pub fn holds(&self, path: &CanonicalPath<'_>, says: &Says<'_>) -> bool {
        self.regex.matches(path.form(self.route.keep_slashes)) && self.route.holds(says)
    }
}

/// The patterns of one host in the order they are asked, which the compiler decides: dialects differ in it.
#[derive(Clone, Debug)]
pub struct Patterns {
    first: Box<[Pattern]>,
    last: Box<[Pattern]>,
}

impl Patterns {
    /// Patterns that are asked before the plain paths of the host, and patterns that are asked after them; absent if
    /// there are no patterns.
    pub fn new(first: Vec<Pattern>, last: Vec<Pattern>) -> Option<Box<Self>> {
        (!first.is_empty() || !last.is_empty()).then(|| {
            Box::new(Self {
                first: first.into(),
                last: last.into(),
            })
        })
    }

    /// The first route of the host that matches: patterns, plain paths, patterns.
    pub fn find<'t>(&'t self, paths: &'t Paths, path: &CanonicalPath<'_>, says: &Says<'_>) -> Option<&'t Arc<Route>> {
        let among = |patterns: &'t [Pattern]| {
            let found = patterns.iter().find(|pattern| pattern.holds(path, says));
            found.map(|pattern| &pattern.route)
        };
        among(&self.first)
            .or_else(|| paths.find(path, says))
            .or_else(|| among(&self.last))
    }

    /// All patterns, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Pattern> {
        self.first.iter().chain(&self.last)
    }
}
