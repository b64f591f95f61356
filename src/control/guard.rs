//! Keeps a bug in the compiler from taking the service down: an object that makes it panic is left out, and named.

use crate::compile::State;
use crate::dialect::{Change, Object};
use crate::model::{Code, Diagnostic, ObjectRef, Report};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How often a new beginning may fail before the last state is kept as it is.
const BEGINNINGS: usize = 16;

/// The compile state, and what it must not be given again.
pub struct Guard {
    /// The state. Whole, unless [`Guard::apply`] said otherwise.
    pub state: State,
    poison: BTreeSet<ObjectRef>,
    apply: fn(&mut State, Change),
    settle: fn(&mut State),
}

impl Guard {
    /// Over a state; changes go to [`State::apply`].
    pub fn new(state: State) -> Self {
        Self {
            state,
            poison: BTreeSet::new(),
            apply: State::apply,
            settle: State::settle_gateways,
        }
    }

    /// Takes one step; a full list that panics is taken object by object, and deletes nothing more. False if that panicked and could not be mended: then the state is not to be read any more.
    #[must_use]
    pub fn apply(&mut self, change: Change) -> bool {
        // A new version may be a good one.
        if let Change::Apply(object) = &change
            && !self.poison.is_empty()
        {
            self.poison.remove(&object.reference());
        }
        let copy = change.clone();
        let apply = self.apply;
        let state = &mut self.state;
        if catch_unwind(AssertUnwindSafe(|| apply(state, change))).is_ok() {
            return true;
        }
        tracing::error!("a change made the compiler panic: starting again without it");
        (0..BEGINNINGS).any(|_| self.begin_again(&copy))
    }

    /// Brings what Gateways have up to date. The objects of Gateway API that make this panic are left out.
    pub fn settle(&mut self) {
        if self.try_settle() {
            return;
        }
        tracing::error!("objects of Gateway API made the compiler panic: looking for those that do");
        let objects = self.state.gateway_objects();
        for object in &objects {
            self.state.apply(Change::Delete(object.reference()));
        }
        if self.try_settle() {
            self.settle_with(&objects);
        }
    }

    /// Whether it did not panic.
    fn try_settle(&mut self) -> bool {
        let (settle, state) = (self.settle, &mut self.state);
        catch_unwind(AssertUnwindSafe(|| settle(state))).is_ok()
    }

    /// Puts these objects back, but for those that make the compiler panic.
    fn settle_with(&mut self, objects: &[Object]) {
        for object in objects {
            self.state.apply(Change::Apply(object.clone()));
        }
        if self.try_settle() {
            return;
        }
        for object in objects {
            self.state.apply(Change::Delete(object.reference()));
        }
        match objects {
            [] => {}
            [object] => {
                let object = object.reference();
                tracing::error!(%object, "the compiler panics on this object, which is left out: this is a bug in narthex, please report it");
                self.state.apply(left_out(&object));
                self.poison.insert(object);
            }
            _ => {
                let (some, others) = objects.split_at(objects.len() / 2);
                self.settle_with(some);
                self.settle_with(others);
            }
        }
    }

    /// The diagnostics of objects; absent if that panicked, and then the last report stays.
    pub fn report(&mut self) -> Option<Report> {
        let state = &mut self.state;
        let report = catch_unwind(AssertUnwindSafe(|| state.refresh().clone()));
        if report.is_err() {
            tracing::error!(
                "the compiler panics while it diagnoses objects: this is a bug in narthex, please report it"
            );
        }
        report.ok()
    }

    /// The state from its objects and a last change, step by step. False if that panics; what did is then known.
    fn begin_again(&mut self, last: &Change) -> bool {
        let apply = self.apply;
        let Ok((mut next, changes)) = catch_unwind(AssertUnwindSafe(|| self.state.begin_again())) else {
            return false;
        };
        let steps = changes.into_iter().chain([last.clone()]).flat_map(Change::in_steps);
        for (object, step) in steps {
            if object.as_ref().is_some_and(|object| self.poison.contains(object)) {
                continue;
            }
            if catch_unwind(AssertUnwindSafe(|| apply(&mut next, step))).is_err() {
                let Some(object) = object else { continue };
                tracing::error!(%object, "the compiler panics on this object, which is left out: this is a bug in narthex, please report it");
                self.poison.insert(object);
                return false;
            }
        }
        for object in &self.poison {
            next.apply(left_out(object));
        }
        self.state = next;
        true
    }
}

/// What is said of an object that makes the compiler panic.
fn left_out(object: &ObjectRef) -> Change {
    let message = "left out, since narthex fails on it: a bug, please report it with this object";
    Change::Broken(Diagnostic::new(Code::InvalidObject, object, "", message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::Options;
    use crate::dialect::ingress::{Ingress, IngressBackend, IngressPath, IngressRule};
    use crate::model::object::{Meta, PortRef};
    use std::sync::Arc;

    fn ingress(name: &str) -> Object {
        let path = IngressPath {
            path: Some(format!("/{name}").into()),
            path_type: Some("Prefix".into()),
            backend: IngressBackend::Service {
                name: "web".into(),
                port: PortRef::Number(80),
            },
            ..IngressPath::default()
        };
        Object::Ingress(Arc::new(Ingress {
            meta: Meta {
                namespace: "default".into(),
                name: name.into(),
                ..Meta::default()
            },
            rules: Box::new([IngressRule {
                host: None,
                paths: Some(Box::new([path])),
                ..IngressRule::default()
            }]),
            ..Ingress::default()
        }))
    }

    /// Goes wrong in the middle, as a bug would.
    fn bug(state: &mut State, change: Change) {
        let objects = match &change {
            Change::Apply(object) => std::slice::from_ref(object),
            Change::Replace { objects, .. } => objects,
            _ => &[],
        };
        let bad = objects.iter().any(|object| &*object.meta().name == "bad");
        state.apply(change);
        assert!(!bad, "a bug");
    }

    #[test]
    fn an_object_that_makes_the_compiler_panic_costs_only_itself() {
        let mut guard = Guard::new(State::new(Options::default()));
        guard.apply = bug;
        assert!(guard.apply(Change::Apply(ingress("first"))));
        let generation = guard.state.table().generation;
        assert!(guard.apply(Change::Apply(ingress("bad"))));
        assert!(guard.apply(Change::Replace {
            kind: crate::model::Kind::Ingress,
            namespace: None,
            objects: ["first", "second", "bad", "third"].map(ingress).into(),
            broken: Vec::new(),
        }));
        assert!(guard.apply(Change::Apply(ingress("fourth"))));
        let table = guard.state.table();
        assert!(table.generation > generation);
        let routes: BTreeSet<String> = table
            .routes()
            .map(|route| route.origin.object.name.to_string())
            .collect();
        assert_eq!(routes, ["first", "fourth", "second", "third"].map(String::from).into());
        let report = guard.state.refresh();
        assert!(
            report.iter().any(|said| said.message.contains("left out")),
            "{report:?}"
        );
        guard.apply = State::apply;
        assert!(guard.apply(Change::Apply(ingress("bad"))));
        assert_eq!(guard.state.table().routes().count(), 5);
        let report = guard.state.refresh();
        assert!(
            !report.iter().any(|said| said.message.contains("left out")),
            "{report:?}"
        );
    }

    fn gateway(name: &str) -> Object {
        let object = serde_json::json!({
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"gatewayClassName": "x", "listeners": [{"name": "web", "port": 80, "protocol": "HTTP"}]},
        });
        crate::dialect::decode::from_value(object).unwrap().unwrap()
    }

    #[test]
    fn an_object_that_makes_the_plan_of_gateways_panic_costs_only_itself() {
        let mut guard = Guard::new(State::new(Options::default()));
        guard.settle = |state| {
            state.settle_gateways();
            let bad = |object: &Object| object.meta().name.starts_with("bad");
            assert!(!state.gateway_objects().iter().any(bad), "a bug");
        };
        let names = ["a", "bad-1", "b", "c", "bad-2", "d"];
        for name in names {
            assert!(guard.apply(Change::Apply(gateway(name))));
        }
        guard.settle();
        let left: BTreeSet<String> = guard
            .state
            .gateway_objects()
            .iter()
            .map(|object| object.meta().name.to_string())
            .collect();
        assert_eq!(left, ["a", "b", "c", "d"].map(String::from).into());
        let report = guard.state.refresh();
        let said = report.iter().filter(|said| said.message.contains("left out"));
        assert_eq!(said.count(), 2, "{report:?}");
    }
}
