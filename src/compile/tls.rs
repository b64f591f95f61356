//! `spec.tls` of one Ingress by itself: which hosts, which Secret.

use super::owners::HostOwners;
use super::read::read_host;
use crate::model::object::Ingress;
use crate::model::{Code, Diagnostic, ObjectRef};
use crate::table::route::wildcard_suffix;
use crate::table::{Certificate, HostPattern};
use std::collections::HashSet;
use std::sync::Arc;

/// One of `spec.tls`.
#[derive(Debug)]
pub(super) struct TlsEntry {
    /// Its index.
    pub index: u32,
    /// The hosts that can be read, each once, with their index in `hosts`.
    pub hosts: Vec<(u32, HostPattern)>,
    /// No host is listed: the entry stands for all names of its certificate.
    pub whole: bool,
    /// `secretName`; empty where there is none.
    pub secret: Arc<str>,
}

impl TlsEntry {
    /// `spec.tls[0]`.
    pub fn field(&self) -> String {
        format!("spec.tls[{}]", self.index)
    }
}

/// Some of an Ingress's hosts.
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

/// Reads `spec.tls`, and says which hosts in it are none.
pub(super) fn read_tls(
    ingress: &Ingress,
    object: &ObjectRef,
    owners: &HostOwners,
    findings: &mut Vec<Diagnostic>,
) -> Vec<TlsEntry> {
    let mut entries = Vec::with_capacity(ingress.tls.len());
    for (index, tls) in (0_u32..).zip(&ingress.tls) {
        let mut entry = TlsEntry {
            index,
            hosts: Vec::with_capacity(tls.hosts.len()),
            whole: tls.hosts.is_empty(),
            secret: tls.secret.as_deref().unwrap_or_default().into(),
        };
        let mut known = HashSet::new();
        for (place, host) in (0_u32..).zip(&tls.hosts) {
            let pattern = match host.as_str() {
                "*" => Err("omit the hosts to use all names of the certificate".to_owned()),
                host => read_host(host),
            };
            let owners = pattern
                .as_ref()
                .ok()
                .and_then(|pattern| owners.against(&ingress.meta.namespace, pattern));
            match pattern {
                Ok(pattern) if owners.is_some() => findings.push(Diagnostic::new(
                    Code::HostNotOwned,
                    object,
                    format!("{}.hosts[{place}]", entry.field()),
                    format!(
                        "--host-owners gives {pattern} to {}, so this certificate is not shown for it",
                        owners.unwrap_or_default()
                    ),
                )),
                Ok(pattern) => {
                    if known.insert(pattern.clone()) {
                        entry.hosts.push((place, pattern));
                    }
                }
                Err(why) => findings.push(Diagnostic::new(
                    Code::InvalidHost,
                    object,
                    format!("{}.hosts[{place}]", entry.field()),
                    format!("\"{host}\" is not a valid host for a certificate, so it is left out: {why}"),
                )),
            }
        }
        entries.push(entry);
    }
    entries
}
