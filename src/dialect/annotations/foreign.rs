//! Annotations that narthex does not act on: what is said of them, and which close what they guard.

use super::{Dialect, Scope, all, equivalents};
use crate::model::annotation::{self, Meaning, PREFIX, Reach};
use crate::model::object::Meta;
use crate::model::{Annotations, Code, Kind};
use std::sync::Arc;

/// What is said of each guard.
pub(crate) const NOT_ENFORCED: &str = "narthex does not enforce this guard";

/// `--ignore-annotation`: patterns of the guards that routes are served without.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ignored(Vec<Arc<str>>);

impl Ignored {
    /// Gathers what flags say.
    pub fn new(patterns: &[Arc<str>]) -> Self {
        Self(patterns.to_vec())
    }

    /// The pattern that has an annotation ignored.
    pub(crate) fn by(&self, name: &str) -> Option<&str> {
        let mut patterns = self.0.iter().map(|pattern| &**pattern);
        patterns.find(|pattern| annotation::matches(pattern, name))
    }
}

/// Whether narthex's own guards are acted on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Own {
    All,
    Nothing,
}

impl Own {
    /// They are where there are rules.
    fn of(kind: Kind) -> Self {
        if kind.claims() { Self::All } else { Self::Nothing }
    }
}

/// Whether an annotation guards something that narthex does not enforce, and how far.
fn guard(name: &str, value: &str, annotations: &Annotations, own: Own) -> Option<Reach> {
    match name.strip_prefix(PREFIX) {
        Some(ours) => {
            let guards = match all().iter().find(|known| known.name == ours) {
                // Only objects with rules have it acted on.
                Some(known) => known.scope == Scope::Guard && own == Own::Nothing,
                // One of ours that is misspelled, or from a version to come.
                None => annotation::speaks_of_guard(ours) && !annotation::is_off(name, value, annotations),
            };
            guards.then_some(Reach::Rules)
        }
        None => annotation::guard(name, value, annotations),
    }
}

/// The guards among the annotations of an object that narthex does not enforce, without those that are ignored.
pub(crate) fn guards<'m>(
    dialect: Dialect,
    kind: Kind,
    meta: &'m Meta,
    ignored: &Ignored,
) -> impl Iterator<Item = (&'m str, Reach)> {
    let own = guards_among(&meta.annotations, Own::of(kind), ignored).filter(move |(name, _)| !dialect.acts_on(name));
    // Of a version that cannot be decoded nothing is acted on.
    own.chain(undecoded_guards(meta, ignored))
}

/// Those of a version of it that cannot be decoded.
pub(crate) fn undecoded_guards<'m>(meta: &'m Meta, ignored: &Ignored) -> impl Iterator<Item = (&'m str, Reach)> {
    let undecoded = meta.undecoded.iter();
    undecoded.flat_map(move |undecoded| guards_among(&undecoded.annotations, Own::Nothing, ignored))
}

fn guards_among<'m>(all: &'m Annotations, own: Own, ignored: &Ignored) -> impl Iterator<Item = (&'m str, Reach)> {
    all.iter()
        .filter_map(move |(name, value)| Some((name, guard(name, value, all, own)?)))
        .filter(|(name, _)| ignored.by(name).is_none())
}

/// Whether an Ingress says that its paths are regular expressions.
pub(crate) fn uses_regex(meta: &Meta) -> bool {
    let mut all = meta.annotations.iter();
    all.any(|(name, value)| name.ends_with("/use-regex") && value == "true")
}

/// Whether an Ingress is a canary of ingress-nginx: the one beside it has its guards.
pub(crate) fn is_canary(meta: &Meta) -> bool {
    // As ingress-nginx reads it.
    let is_true = |value: &str| matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True");
    let mut all = meta.annotations.iter();
    all.any(|(name, value)| name.ends_with("ingress.kubernetes.io/canary") && is_true(value))
}

/// What is to be said of an annotation that narthex does not act on, after what it does not do.
pub(super) fn judge(name: &str, value: &str, meta: &Meta, kind: Kind, ignored: &Ignored) -> Option<(Code, String)> {
    if let Some(reach) = guard(name, value, &meta.annotations, Own::of(kind)) {
        let is_known = all().iter().any(|known| name.strip_prefix(PREFIX) == Some(known.name));
        let why = if name.starts_with(PREFIX) && !is_known {
            "its name suggests that it restricts access"
        } else {
            NOT_ENFORCED
        };
        return Some(match ignored.by(name) {
            Some(pattern) => (Code::GuardIgnored, format!("{why}, {}", without(pattern))),
            None => (Code::GuardNotEnforced, format!("{why}, {}", closed(name, kind, reach))),
        });
    }
    // A guard that is off asks for nothing.
    if annotation::meaning(name) != Meaning::Asks || kind == Kind::IngressClass {
        return None;
    }
    let message = match equivalents::of(name) {
        Some(instead) => format!("narthex does not act on this annotation: {instead}"),
        None => "narthex does not act on this annotation yet".to_owned(),
    };
    Some((Code::NotYet, message))
}

/// What a guard closes, and how to open it.
fn closed(name: &str, kind: Kind, reach: Reach) -> String {
    let what = match (kind, reach) {
        (Kind::Service, _) => "all routes to this Service are closed",
        (Kind::IngressClass, _) => "all routes of this class are closed",
        (Kind::Route, _) => "the Route is closed",
        (_, Reach::Rules) => "the routes of this Ingress are closed",
        (_, Reach::Host) => "all routes of its hosts in this namespace are closed",
    };
    format!("so {what}: requests get 503 (to serve them without it, start narthex with --ignore-annotation={name})")
}

/// What becomes of a guard that is left out.
pub(crate) fn without(pattern: &str) -> String {
    format!("and --ignore-annotation={pattern} serves the routes without it")
}
