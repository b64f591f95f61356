//! What is to be said of guards that narthex does not enforce, given all objects.

use crate::compile::claimants::hosts;
use crate::compile::{CONTROLLER, Dialect, State, annotations};
use crate::dialect::claimant::Claimant;
use crate::dialect::reading::{BackendKey, Reading};
use crate::model::{Code, Diagnostic, ObjectRef};
use crate::table::{Guard, HostPattern, PARAMETERS};
use std::collections::BTreeSet;
use std::sync::Arc;

/// How many namespaces are named of one host.
const NAMED: usize = 4;

impl State {
    /// What is wrong with an IngressClass of ours.
    pub(super) fn diagnose_class(&self, object: &ObjectRef, said: &mut Vec<Diagnostic>) {
        let Some(class) = self.classes.get(&object.name) else {
            return;
        };
        if class.controller != CONTROLLER {
            return;
        }
        let ignored = &self.options.ignored_annotations;
        annotations::read((Dialect::Narthex, None), &class.meta, (object, ""), ignored, said);
        if let Some(parameters) = class.parameters() {
            let (code, message) = match ignored.by(PARAMETERS) {
                Some(pattern) => (
                    Code::GuardIgnored,
                    format!("{}, {}", annotations::NOT_ENFORCED, annotations::without(pattern)),
                ),
                None => (
                    Code::GuardNotEnforced,
                    format!(
                        "narthex does not support parameters, and {parameters} may restrict access, so all routes of this class are closed: \
                         requests get 503 (to serve them without it, start narthex with --ignore-annotation={PARAMETERS})"
                    ),
                ),
            };
            said.push(Diagnostic::new(code, object, PARAMETERS, message));
        }
    }

    /// That the Service a path leads to closes it.
    pub(super) fn diagnose_service_guard(
        &self,
        object: &ObjectRef,
        key: &BackendKey,
        field: &str,
    ) -> Option<Diagnostic> {
        let guard = self.backend(key)?.guard.as_ref()?;
        let message = format!("{}; requests get 503", guard.why());
        Some(Diagnostic::new(Code::GuardNotEnforced, object, field, message))
    }

    /// What closes an Ingress's routes beside its own annotations, and what of its guards does not reach others.
    pub(super) fn diagnose_guards(
        &self,
        object: &ObjectRef,
        claimant: &dyn Claimant,
        reading: &Reading,
        said: &mut Vec<Diagnostic>,
    ) {
        let mut say = |code, field: &str, message| said.push(Diagnostic::new(code, object, field, message));
        if let Some(guard) = self.class_guard(claimant) {
            let message = format!("{}, so its routes are closed: requests get 503", guard.why());
            say(Code::GuardNotEnforced, &claimant.class_field(), message);
        }
        if self.host_guards.is_empty() {
            return;
        }
        let hosts: BTreeSet<HostPattern> = hosts(reading).into_iter().collect();
        for host in hosts {
            let field = host_field(reading, &host);
            let own = self.host_guard(&object.namespace, &host);
            if let Some(guard) = own {
                if guard.object == *object {
                    if !reading.guards.is_for_host() {
                        let message = format!(
                            "{}, and cannot interpret one of its paths as intended, so all routes of {host} in this \
                             namespace are closed: requests get 503",
                            guard.why()
                        );
                        say(Code::GuardNotEnforced, &field, message);
                    }
                } else {
                    let message = format!(
                        "{} for all of {host}, so its routes are closed: requests get 503",
                        guard.why()
                    );
                    say(Code::GuardNotEnforced, &field, message);
                }
            }
            let (count, others) = self.host_guards.of_others(&object.namespace, &host);
            let others: Vec<&Arc<Guard>> = others.take(NAMED).collect();
            match *others {
                [] => {}
                [guard] => {
                    let message = format!(
                        "{} for all of {host}; this closes the routes of namespace \"{}\" but not those of this namespace",
                        guard.why(),
                        guard.object.namespace
                    );
                    say(Code::GuardOfOtherNamespace, &field, message);
                }
                _ => {
                    let named = others.iter().map(ToString::to_string).collect();
                    let message = format!(
                        "{count} other namespaces have guards for all of {host} that narthex does not enforce; these close \
                         their routes but not those of this namespace: {}",
                        with_rest(named, count)
                    );
                    say(Code::GuardOfOtherNamespace, &field, message);
                }
            }
            if own.is_some_and(|guard| guard.object == *object) {
                let (open, count) = self.strangers_on(&host, &object.namespace);
                if count > 0 {
                    let message = format!(
                        "{host} also has routes of namespace {}, which this does not close",
                        with_rest(open, count)
                    );
                    say(Code::GuardOfOtherNamespace, &field, message);
                }
            }
        }
    }

    /// The first of the other namespaces that have routes for a host, and how many there are.
    fn strangers_on(&self, host: &HostPattern, namespace: &str) -> (Vec<String>, usize) {
        let table = self.table.host(host);
        let routes = table.into_iter().flat_map(|table| table.routes());
        let fallback = self.table.fallback().filter(|_| *host == HostPattern::Any);
        let namespaces: BTreeSet<&str> = routes
            .chain(fallback)
            .map(|route| &*route.origin.object.namespace)
            .filter(|other| *other != namespace)
            .collect();
        let named = namespaces.iter().take(NAMED).map(|name| format!("\"{name}\""));
        (named.collect(), namespaces.len())
    }
}

/// The first of `count` things, and how many more there are.
fn with_rest(mut first: Vec<String>, count: usize) -> String {
    if count > first.len() {
        first.push(format!("and {} more", count - first.len()));
    }
    first.join(", ")
}

/// Where an object first names a host.
pub(in crate::compile) fn host_field(reading: &Reading, host: &HostPattern) -> String {
    let first = reading.claims.iter().find(|claim| claim.spot.host() == host);
    first.map(|claim| claim.field.host()).unwrap_or_default()
}
