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

    /// As [`HostOwners::against`], for a wildcard that stands for any number of labels. Who owns that wildcard has it for
    /// one label, and not for deeper names of others.
    pub(crate) fn against_below(&self, namespace: &str, host: &HostPattern) -> Option<String> {
        let HostPattern::Wildcard(suffix) = host else {
            return self.against(namespace, host);
        };
        let below = |name: &str| name.strip_suffix(&**suffix).is_some_and(|rest| rest.ends_with('.'));
        let deeper = |pattern: &HostPattern| match pattern {
            HostPattern::Exact(name) => below(name) && wildcard_suffix(name) != Some(suffix),
            HostPattern::Wildcard(name) => below(name),
            HostPattern::Any => false,
        };
        self.against(namespace, host).or_else(|| {
            let mut fitting = self.by_pattern.iter().filter(|(pattern, _)| deeper(pattern));
            let (_, owners) = fitting.find(|(_, owners)| !owners.contains(namespace))?;
            Some(names(owners))
        })
    }

    /// The owners of a host because of whom a namespace may not have a listener of a Gateway for it; absent if it may. A listener
    /// for all hosts needs no right: it takes no host from a listener that names the host, and its routes are checked one by one.
    pub(crate) fn against_listener(&self, namespace: &str, host: &HostPattern) -> Option<String> {
        let is_owner = self
            .by_pattern
            .get(host)
            .is_some_and(|owners| owners.contains(namespace));
        match host {
            HostPattern::Any => None,
            _ if is_owner => None,
            host => self.against_below(namespace, host),
        }
    }

    /// Who stands against a namespace's having a host: those to name, none where nobody does.
    pub(crate) fn against(&self, namespace: &str, host: &HostPattern) -> Option<String> {
        if self.by_pattern.is_empty() {
            return None;
        }
        let refuses = |owners: &&BTreeSet<Arc<str>>| !owners.contains(namespace);
        let named = names;
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

fn names(owners: &BTreeSet<Arc<str>>) -> String {
    owners.iter().map(|name| &**name).collect::<Vec<_>>().join(", ")
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
    fn a_wildcard_that_spans_labels_is_against_deeper_owners_too() {
        let owners = owners(&["ops=*.test", "bank=x.b.test", "shop=*.c.test"]);
        for (namespace, name, may, may_listen) in [
            ("evil", "*.test", false, false),
            ("evil", "*.b.test", false, false),
            ("evil", "x.b.test", false, false),
            ("evil", "y.b.test", true, true),
            ("evil", "*.d.c.test", true, true),
            ("evil", "*", false, true),
            ("ops", "*.test", false, true),
            ("bank", "*.b.test", true, true),
            ("shop", "*.c.test", true, true),
        ] {
            let host = host(name);
            assert_eq!(
                owners.against_below(namespace, &host).is_none(),
                may,
                "{namespace} {name}"
            );
            let listener = owners.against_listener(namespace, &host);
            assert_eq!(listener.is_none(), may_listen, "{namespace} {name}");
        }
    }

    #[test]
    fn what_is_no_owner_is_said() {
        for text in ["a", "=a.test", "a=", "a=*.*.test", "a=a.test:80", "a=http://a.test"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
