//! Beginning again from the objects, when a step went wrong half-way.

use super::State;
use super::gateways::Gateways;
use crate::dialect::{Change, Object};
use crate::model::ObjectRef;

impl State {
    /// An empty state that follows this one, and the changes that make it whole again. Slots are not used again, for
    /// requests under way may still hold them.
    pub fn begin_again(&self) -> (State, Vec<Change>) {
        let mut next = State::new(self.options.clone());
        next.next_slot = self.next_slot;
        next.next_pods = self.next_pods;
        next.nodes = self.nodes.clone();
        next.table.generation = self.table.generation;
        next.gateways = Gateways::after(&self.gateways);
        next.stale.extend(self.report.objects.keys().cloned());
        let claimants = self.claimants.iter().map(|known| known.claimant.clone().object());
        // A Secret that went bad comes in its last good version first, so that its certificate stays in use.
        let secrets = self
            .secrets
            .iter()
            .flat_map(|known| known.last_good().into_iter().chain([known.secret.clone()]));
        let objects = (self.classes.values().cloned().map(Object::IngressClass))
            .chain(self.namespaces.iter().cloned().map(Object::Namespace))
            .chain(self.services.values().cloned().map(Object::Service))
            .chain(self.slices.values().map(|(_, slice)| Object::Endpoints(slice.clone())))
            .chain(secrets.map(Object::Secret))
            .chain(self.gateways.iter().cloned().map(Object::Gateways))
            .chain(self.config_maps.iter().cloned().map(Object::ConfigMap))
            .chain(claimants);
        let mut changes = vec![Change::Time(self.now)];
        changes.extend(
            self.namespaces
                .gone()
                .map(|gone| Change::Apply(Object::Namespace(gone))),
        );
        changes.extend(objects.map(Change::Apply));
        let gone = self.namespaces.gone();
        changes.extend(gone.map(|gone| Change::Delete(Object::Namespace(gone).reference())));
        changes.extend(self.broken.values().cloned().map(Change::Broken));
        changes.extend(self.resolved.iter().map(|(name, addresses)| Change::Resolved {
            name: name.clone(),
            addresses: addresses.clone(),
        }));
        changes.extend(self.fetched_key_sets().map(|(url, text)| Change::KeySet {
            url: url.clone(),
            said: Ok(text.clone()),
        }));
        if self.is_listed() {
            changes.push(Change::Listed);
        }
        let of_files = self.of_files.values().flatten();
        changes.push(Change::Files(
            self.report.files.iter().chain(of_files).cloned().collect(),
        ));
        (next, changes)
    }
}

impl Change {
    /// The same in steps of one object each, and the object of each where it has one.
    pub fn in_steps(self) -> Vec<(Option<ObjectRef>, Change)> {
        match self {
            Change::Replace { objects, broken, .. } => objects
                .into_iter()
                .map(Change::Apply)
                .chain(broken.into_iter().map(Change::Broken))
                .flat_map(Change::in_steps)
                .collect(),
            Change::Apply(object) => vec![(Some(object.reference()), Change::Apply(object))],
            Change::Delete(object) => vec![(Some(object.clone()), Change::Delete(object))],
            other => vec![(None, other)],
        }
    }
}
