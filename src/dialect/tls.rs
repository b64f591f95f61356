//! `spec.tls` of one object by itself: which hosts, which Secret.

use super::host::read_host;
use super::owners::HostOwners;
use crate::model::{Code, Diagnostic, ObjectRef};
use crate::table::HostPattern;
use std::collections::HashSet;
use std::sync::Arc;

/// One of `spec.tls`.
#[derive(Debug)]
pub(crate) struct TlsEntry {
    pub index: u32,
    /// The hosts that can be read, each once, with their index in `hosts`.
    pub hosts: Vec<(u32, HostPattern)>,
    /// No host is listed: the entry stands for all names of its certificate.
    pub whole: bool,
    /// `secretName`; empty if the entry names no Secret.
    pub secret: Arc<str>,
    /// Whether cert-manager makes the Secret.
    pub issued: bool,
    pub place: TlsPlace,
}

/// Where an object says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TlsPlace {
    /// In a list, of which `index` is the place.
    List,
    /// The certificate is written into a Route, and the Secret is one that stands for it.
    Inline,
    /// A Route names the Secret.
    External,
}

impl TlsEntry {
    /// `spec.tls[0]`.
    pub fn field(&self) -> String {
        match self.place {
            TlsPlace::List => format!("spec.tls[{}]", self.index),
            TlsPlace::Inline | TlsPlace::External => "spec.tls".to_owned(),
        }
    }

    /// The field that names the Secret, or has the certificate.
    pub fn secret_field(&self) -> String {
        match self.place {
            TlsPlace::List => format!("spec.tls[{}].secretName", self.index),
            TlsPlace::Inline => "spec.tls.certificate".to_owned(),
            TlsPlace::External => "spec.tls.externalCertificate".to_owned(),
        }
    }

    /// The field of one of its hosts.
    pub fn host_field(&self, place: u32) -> String {
        match self.place {
            TlsPlace::List => format!("spec.tls[{}].hosts[{place}]", self.index),
            TlsPlace::Inline | TlsPlace::External => "spec.host".to_owned(),
        }
    }
}

/// Reads the hosts and the Secret's name of each entry of `spec.tls`, and says which hosts are invalid.
pub(super) fn read_tls<'t>(
    written: impl Iterator<Item = (&'t [Arc<str>], Option<&'t Arc<str>>)>,
    object: &ObjectRef,
    issued: bool,
    owners: &HostOwners,
    findings: &mut Vec<Diagnostic>,
) -> Vec<TlsEntry> {
    let mut entries = Vec::new();
    for (index, (hosts, secret)) in (0_u32..).zip(written) {
        let mut entry = TlsEntry {
            index,
            hosts: Vec::with_capacity(hosts.len()),
            whole: hosts.is_empty(),
            secret: secret.cloned().unwrap_or_default(),
            issued,
            place: TlsPlace::List,
        };
        let mut known = HashSet::new();
        for (place, host) in (0_u32..).zip(hosts) {
            let pattern = match &**host {
                "*" => Err("omit the hosts to use all names of the certificate".to_owned()),
                host => read_host(host),
            };
            let owners = pattern
                .as_ref()
                .ok()
                .and_then(|pattern| owners.against(&object.namespace, pattern));
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
