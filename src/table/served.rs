//! Which Ingresses a table serves, and in which revision. Peers are asked for this before an Ingress gets an address.

use super::{Table, hash};
use crate::model::{ObjectRef, Revision, Timestamp};
use serde_json::Value;
use std::sync::Arc;

/// An Ingress with a claim in the table, be it one that lost to another's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    pub object: ObjectRef,
    /// When it was made.
    pub created: Timestamp,
    /// What of it is served.
    pub revision: Revision,
    /// Whether it is admitted; absent for kinds whose objects are not admitted as a whole.
    pub admission: Option<Arc<RouteAdmission>>,
}

/// What the status of an object should say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredStatus {
    /// The object's. One that is made again under the same name has no status yet.
    pub uid: Arc<str>,
    /// The fields that narthex writes, without times, and without addresses that only whoever writes them knows.
    pub fields: Value,
}

/// What becomes of a Route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteAdmission {
    /// The host that it asks for; empty if none could be found.
    pub host: Arc<str>,
    /// Whether it is for all hosts of that one's domain.
    pub wildcard: bool,
    /// Why it is not admitted: the reason and the message of its status.
    pub refused: Option<(&'static str, String)>,
}

impl RouteAdmission {
    /// Whether it is for a host, if it is admitted.
    pub fn is_for(&self, host: &str) -> bool {
        let domain = |host: &str| host.split_once('.').map(|(_, domain)| domain.to_owned());
        *self.host == *host || (self.wildcard && domain(&self.host) == domain(host))
    }
}

impl Served {
    fn hash(object: &ObjectRef) -> u64 {
        hash(&object.name) ^ hash(&object.namespace).rotate_left(1)
    }
}

impl Table {
    /// An Ingress, if it is served.
    pub fn served(&self, object: &ObjectRef) -> Option<&Arc<Served>> {
        if self.served.is_empty() {
            return None;
        }
        self.served
            .find(Served::hash(object), |served| served.object == *object)
    }

    /// All that are served, in no order.
    pub fn all_served(&self) -> impl Iterator<Item = &Arc<Served>> {
        self.served.iter()
    }

    /// Replaces one, or takes it away. Whether that changed anything. For the compiler.
    pub fn set_served(&mut self, object: &ObjectRef, new: Option<Served>) -> bool {
        let known = self.served(object).cloned();
        if known.as_deref() == new.as_ref() {
            return false;
        }
        let stays = new.is_some();
        let Some(entry) = new.map(Arc::new).or(known) else {
            return false;
        };
        self.served.update(
            Served::hash(object),
            |served| served.object == *object,
            || entry.clone(),
            |served| {
                served.clone_from(&entry);
                stays
            },
        );
        true
    }
}
