//! Hosts that no rule names: other names of hosts, and hosts that are redirected. They are asked where no rule names
//! exactly the host, so other hosts do not pay for them.

use super::hosts::{ByName, HostTable, by_name};
use super::patterns::PathRegex;
use super::route::HostPattern;
use super::{Match, hash};
use std::sync::Arc;

/// How many regular expressions are tried on a host that no rule names, over all objects.
pub const MAX_EXPRESSIONS: usize = 256;

/// A regular expression that fits hosts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostRegex(PathRegex);

impl HostRegex {
    /// Compiles an expression. It fits anywhere in a host, unless its text says `^` or `$`, and case does not matter.
    ///
    /// # Errors
    /// Says in one line what is wrong with the text.
    pub fn new(text: &str) -> Result<Self, String> {
        PathRegex::new(&format!("(?i){text}")).map(Self)
    }
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct Aliases {
    exact: ByName,
    wildcard: ByName,
    expressions: Arc<[(HostRegex, Arc<HostTable>)]>,
}

impl Aliases {
    /// What answers a host whose very name is an alias.
    pub(super) fn exact(&self, host: &str) -> Option<&Arc<HostTable>> {
        by_name(&self.exact, host)
    }

    /// What answers the hosts of a wildcard.
    pub(super) fn wildcard(&self, suffix: &str) -> Option<&Arc<HostTable>> {
        by_name(&self.wildcard, suffix)
    }

    /// What answers a host that an expression fits; the first counts.
    pub(super) fn fitting(&self, host: &str) -> Option<&Arc<HostTable>> {
        let mut all = self.expressions.iter();
        all.find(|(regex, _)| regex.0.matches(host)).map(|(_, table)| table)
    }

    /// What answers a pattern.
    pub(super) fn get(&self, pattern: &HostPattern) -> Option<&Arc<HostTable>> {
        match pattern {
            HostPattern::Exact(name) => self.exact(name),
            HostPattern::Wildcard(suffix) => self.wildcard(suffix),
            HostPattern::Any => None,
        }
    }

    /// Replaces or removes what answers a pattern.
    pub(super) fn set(&mut self, pattern: &HostPattern, table: Option<Arc<HostTable>>) {
        let (names, name) = match pattern {
            HostPattern::Exact(name) => (&mut self.exact, name),
            HostPattern::Wildcard(suffix) => (&mut self.wildcard, suffix),
            HostPattern::Any => return,
        };
        names.update(
            hash(name),
            |(other, _)| other == name,
            || (name.clone(), Arc::default()),
            |(_, known)| match table {
                Some(table) => {
                    *known = table;
                    true
                }
                None => false,
            },
        );
    }

    /// Replaces the expressions.
    pub(super) fn set_expressions(&mut self, expressions: Vec<(HostRegex, Arc<HostTable>)>) {
        self.expressions = expressions.into();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wildcard.is_empty() && self.expressions.is_empty()
    }

    /// The routes of hosts that are redirected; those of other names are their hosts' own.
    pub(super) fn matches(&self) -> impl Iterator<Item = Match<'_>> {
        let redirected = self.exact.iter().filter(|(_, table)| table.is_empty());
        redirected.flat_map(|(_, table)| table.matches())
    }
}
