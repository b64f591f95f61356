//! What the changes since the last table have done to it, for people: bounded, and in words.

use crate::table::{Backend, ClientRules, Guard, HostPattern, HostTls, Route};
use std::collections::BTreeSet;

/// Names kept of each kind; the rest is counted.
const MOST: usize = 20;

/// Things of one kind that changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// The first of them.
    pub names: Vec<String>,
    pub count: usize,
}

impl Touched {
    fn note(&mut self, name: impl FnOnce() -> String) {
        self.count += 1;
        if self.names.len() < MOST {
            self.names.push(name());
        }
    }
}

/// What is new, gone and different: `www.example.com/foo` of routes, `default/web:80 10.0.0.1:8080` of endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Journal {
    /// New routes and endpoints.
    pub added: Touched,
    /// Those that are gone.
    pub removed: Touched,
    /// Routes, backends and guards of hosts that are different.
    pub altered: Touched,
}

impl Journal {
    /// Whether nothing happened.
    pub fn is_empty(&self) -> bool {
        self.added.count + self.removed.count + self.altered.count == 0
    }

    pub(super) fn route(&mut self, before: Option<&Route>, after: Option<&Route>) {
        match (before, after) {
            (None, Some(after)) => self.added.note(|| after.describe()),
            (Some(before), None) => self.removed.note(|| before.describe()),
            (Some(_), Some(after)) => self.altered.note(|| after.describe()),
            (None, None) => {}
        }
    }

    pub(super) fn guard(&mut self, host: &HostPattern, namespace: &str, guard: Option<&Guard>) {
        self.altered.note(|| match guard {
            Some(guard) => format!("{host} in namespace {namespace}: closed by {guard}"),
            None => format!("{host} in namespace {namespace}: closed no more"),
        });
    }

    pub(super) fn clients(&mut self, host: &HostPattern, rules: Option<&ClientRules>) {
        self.altered.note(|| match rules.map(|rules| &rules.tls) {
            None | Some(HostTls::Usual) => format!("{host}: clients are asked for no certificate"),
            Some(HostTls::Profile(profile)) => match &profile.made_of.clients {
                Some(clients) => format!("{host}: clients are asked for a certificate by {}", clients.secret),
                None => format!("{host}: clients have to use {}", profile.made_of.terms),
            },
            Some(HostTls::Broken) => format!("{host}: closed, since nothing verifies clients' certificates"),
        });
    }

    pub(super) fn backend(&mut self, before: &Backend, after: &Backend) {
        let of =
            |backend: &Backend| -> BTreeSet<String> { backend.endpoints.iter().map(ToString::to_string).collect() };
        let (old, new) = (of(before), of(after));
        for endpoint in new.difference(&old) {
            self.added.note(|| format!("{after} {endpoint}"));
        }
        for endpoint in old.difference(&new) {
            self.removed.note(|| format!("{after} {endpoint}"));
        }
        if old == new || before.state != after.state {
            self.altered.note(|| format!("{after}: {}", after.state.reason()));
        }
    }
}
