//! The hosts that `spec.tls` stands for, of one object.

use crate::dialect::reading::TlsEntry;
use crate::table::route::wildcard_suffix;
use crate::table::{Certificate, HostPattern};
use std::collections::HashSet;
use std::sync::Arc;

/// Some of an object's hosts.
pub(super) enum Hosts<'r> {
    /// Every one, and rules without a host.
    All,
    /// What tls entries are for: the hosts they list, and where one lists none, what its certificate is for.
    Some {
        listed: HashSet<&'r HostPattern>,
        certificates: Vec<&'r Certificate>,
    },
}

impl Default for Hosts<'_> {
    fn default() -> Self {
        Self::Some {
            listed: HashSet::new(),
            certificates: Vec::new(),
        }
    }
}

impl<'r> Hosts<'r> {
    /// What entries are for. Certificates are asked only of those that list no hosts, so that a missing Secret changes
    /// nothing for the others.
    pub fn of(entries: &'r [TlsEntry], certificate: impl Fn(&Arc<str>) -> Option<&'r Certificate>) -> Self {
        let whole = entries.iter().filter(|entry| entry.whole);
        Self::Some {
            listed: entries
                .iter()
                .flat_map(|entry| &entry.hosts)
                .map(|(_, host)| host)
                .collect(),
            certificates: whole.filter_map(|entry| certificate(&entry.secret)).collect(),
        }
    }

    /// Whether a rule's host is among them.
    pub fn has(&self, host: &HostPattern) -> bool {
        let (listed, certificates) = match self {
            Hosts::All => return true,
            Hosts::Some { listed, certificates } => (listed, certificates),
        };
        let wildcard = || match host {
            HostPattern::Exact(name) => wildcard_suffix(name).map(|suffix| HostPattern::Wildcard(suffix.into())),
            HostPattern::Wildcard(_) | HostPattern::Any => None,
        };
        listed.contains(host)
            || (!listed.is_empty() && wildcard().is_some_and(|wildcard| listed.contains(&wildcard)))
            || certificates.iter().any(|certificate| certificate.covers(host))
    }
}
