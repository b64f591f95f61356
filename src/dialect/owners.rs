//! `--host-owners`: which namespaces may have rules and certificates for which hosts (docs/security.md, row 38).
//!
//! Without it the oldest Ingress has a host's path. With it, rules of others for a host that has owners are left out
//! and reported, however old they are. A rule for many hosts, a wildcard or one without a host, would answer for what an
//! owner's rules leave open, so it is for those who own all that it fits.

use super::host::read_host;
use crate::table::HostPattern;
use crate::table::route::wildcard_suffix;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Namespaces by what they own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostOwners {
    by_pattern: BTreeMap<HostPattern, BTreeSet<Arc<str>>>,
}

/// One `NAMESPACE=HOST-PATTERN`: a name, `*.example.com` for one label before that, or `*` for rules without a host.
///
/// # Errors
/// Says what would be right.
pub fn parse(text: &str) -> Result<(Arc<str>, HostPattern), String> {
    let wrong = || "write NAMESPACE=HOST, as in shop=*.shop.example.com".to_owned();
    let (namespace, host) = text.split_once('=').ok_or_else(wrong)?;
    let (namespace, host) = (namespace.trim(), host.trim());
    if namespace.is_empty() || host.is_empty() {
        return Err(wrong());
    }
    let pattern = match host {
        "*" => HostPattern::Any,
        host => read_host(host)?,
    };
    Ok((namespace.into(), pattern))
}

impl HostOwners {
    /// Gathers what flags say; a pattern given for several namespaces is for each of them.
    pub fn new(given: &[(Arc<str>, HostPattern)]) -> Self {
        let mut by_pattern: BTreeMap<HostPattern, BTreeSet<Arc<str>>> = BTreeMap::new();
        for (namespace, pattern) in given {
            by_pattern.entry(pattern.clone()).or_default().insert(namespace.clone());
        }
        Self { by_pattern }
    }

    /// Who stands against a namespace's having a host: those to name, none where nobody does.
    pub(crate) fn against(&self, namespace: &str, host: &HostPattern) -> Option<String> {
        if self.by_pattern.is_empty() {
            return None;
        }
        let refuses = |owners: &&BTreeSet<Arc<str>>| !owners.contains(namespace);
        let named = |owners: &BTreeSet<Arc<str>>| owners.iter().map(|name| &**name).collect::<Vec<_>>().join(", ");
        if let Some(owners) = self.by_pattern.get(host) {
            return Some(owners).filter(refuses).map(named);
        }
        match host {
            HostPattern::Exact(name) => {
                let wildcard = HostPattern::Wildcard(wildcard_suffix(name)?.into());
                self.by_pattern.get(&wildcard).filter(refuses).map(named)
            }
            HostPattern::Wildcard(suffix) => {
                let fits = |pattern: &HostPattern| match pattern {
                    HostPattern::Exact(name) => wildcard_suffix(name) == Some(suffix),
                    HostPattern::Wildcard(_) | HostPattern::Any => false,
                };
                let mut fitting = self.by_pattern.iter().filter(|(pattern, _)| fits(pattern));
                fitting.find_map(|(_, owners)| Some(owners).filter(refuses)).map(named)
            }
            HostPattern::Any => Some("nobody".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owners(given: &[&str]) -> HostOwners {
        HostOwners::new(&given.iter().map(|text| parse(text).unwrap()).collect::<Vec<_>>())
    }

    fn host(text: &str) -> HostPattern {
        match text {
            "*" => HostPattern::Any,
            text => read_host(text).unwrap(),
        }
    }

    #[test]
    fn exact_goes_before_wildcard_and_both_before_none() {
        let owners = owners(&["a=*.a.test", "b=b.a.test", "c=b.a.test", "ops=*"]);
        for (namespace, name, may) in [
            ("a", "x.a.test", true),
            ("b", "x.a.test", false),
            ("a", "b.a.test", false),
            ("c", "b.a.test", true),
            ("a", "*.a.test", true),
            ("b", "*.a.test", false),
            ("b", "y.x.a.test", true),
            ("b", "a.test", true),
            ("ops", "*", true),
            ("a", "*", false),
        ] {
            assert_eq!(
                owners.against(namespace, &host(name)).is_none(),
                may,
                "{namespace} {name}"
            );
        }
    }

    #[test]
    fn a_rule_for_many_hosts_is_for_those_who_own_them_all() {
        let owners = owners(&["a=x.a.test", "b=y.a.test", "a=y.a.test"]);
        assert_eq!(owners.against("a", &host("*.a.test")), None);
        assert_eq!(owners.against("b", &host("*.a.test")).as_deref(), Some("a"));
        assert!(owners.against("a", &host("*")).is_some());
        assert_eq!(owners.against("c", &host("*.b.test")), None);
    }

    #[test]
    fn what_is_no_owner_is_said() {
        for text in ["a", "=a.test", "a=", "a=*.*.test", "a=a.test:80", "a=http://a.test"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
