//! Any object narthex reads, and what a source says of it.

use super::claimant::Claimant;
use super::gateway::GatewayObject;
use crate::model::kind::with_kinds;
use crate::model::object::{ConfigMap, Endpoints, IngressClass, Meta, Namespace, Secret, Service, Undecoded};
use crate::model::{Diagnostic, Kind, ObjectRef, Timestamp};
use std::sync::Arc;

macro_rules! make_object {
    ($($kind:ident {
        plural: $plural:literal, short: $short:tt, versions: $versions:tt, scope: $scope:ident,
        watch: $watch:ident, events: $events:literal, metadata_only: $metadata_only:literal,
        $(decoder: $decoder:ident,)? $(dialect: $dialect:ident,)?
    })*) => {
        /// Any object narthex reads: those that every dialect builds on, and those of the dialects.
        #[allow(missing_docs)]
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Object {
            IngressClass(Arc<IngressClass>),
            Service(Arc<Service>),
            /// An EndpointSlice or Endpoints.
            Endpoints(Arc<Endpoints>),
            Secret(Arc<Secret>),
            ConfigMap(Arc<ConfigMap>),
            Namespace(Arc<Namespace>),
            /// Any object of Gateway API.
            Gateways(Arc<GatewayObject>),
            $($($kind(Arc<super::$dialect::$kind>),)?)*
        }

        impl Object {
            /// What kind it is.
            pub fn kind(&self) -> Kind {
                match self {
                    Object::IngressClass(_) => Kind::IngressClass,
                    Object::Service(_) => Kind::Service,
                    Object::Endpoints(endpoints) => endpoints.kind,
                    Object::Secret(_) => Kind::Secret,
                    Object::ConfigMap(_) => Kind::ConfigMap,
                    Object::Namespace(_) => Kind::Namespace,
                    Object::Gateways(object) => object.kind(),
                    $($(Object::$kind(_) => { let _: Option<super::$dialect::$kind> = None; Kind::$kind })?)*
                }
            }

            /// Name, age, annotations.
            pub fn meta(&self) -> &Meta {
                match self {
                    Object::IngressClass(object) => &object.meta,
                    Object::Service(object) => &object.meta,
                    Object::Endpoints(object) => &object.meta,
                    Object::Secret(object) => &object.meta,
                    Object::ConfigMap(object) => &object.meta,
                    Object::Namespace(object) => &object.meta,
                    Object::Gateways(object) => object.meta(),
                    $($(Object::$kind(object) => { let object: &super::$dialect::$kind = object; &object.meta })?)*
                }
            }

            pub(super) fn meta_mut(&mut self) -> &mut Meta {
                match self {
                    Object::IngressClass(object) => &mut Arc::make_mut(object).meta,
                    Object::Service(object) => &mut Arc::make_mut(object).meta,
                    Object::Endpoints(object) => &mut Arc::make_mut(object).meta,
                    Object::Secret(object) => &mut Arc::make_mut(object).meta,
                    Object::ConfigMap(object) => &mut Arc::make_mut(object).meta,
                    Object::Namespace(object) => &mut Arc::make_mut(object).meta,
                    Object::Gateways(object) => Arc::make_mut(object).meta_mut(),
                    $($(Object::$kind(object) => {
                        let object: &mut super::$dialect::$kind = Arc::make_mut(object);
                        &mut object.meta
                    })?)*
                }
            }

            /// The object of a dialect, to be changed where it is not shared.
            pub(super) fn claimant_mut(&mut self) -> Option<&mut dyn Claimant> {
                match self {
                    $($(Object::$kind(object) => {
                        let object: &mut super::$dialect::$kind = Arc::make_mut(object);
                        Some(object)
                    })?)*
                    _ => None,
                }
            }

            /// The same as an object of a dialect, where it is one.
            pub(crate) fn claimant(&self) -> Option<Arc<dyn Claimant>> {
                match self {
                    $($(Object::$kind(object) => {
                        let object: Arc<super::$dialect::$kind> = object.clone();
                        Some(object)
                    })?)*
                    _ => None,
                }
            }
        }
    };
}
with_kinds!(make_object);

impl Object {
    /// This version, and what is known of one that cannot be decoded.
    #[must_use]
    pub fn with_undecoded(mut self, undecoded: Option<Arc<Undecoded>>) -> Self {
        let is_without = matches!(
            self,
            Object::Endpoints(_)
                | Object::Secret(_)
                | Object::ConfigMap(_)
                | Object::Namespace(_)
                | Object::Gateways(_)
        );
        if !is_without {
            self.meta_mut().undecoded = undecoded;
        }
        self
    }

    /// Which object it is.
    pub fn reference(&self) -> ObjectRef {
        let meta = self.meta();
        ObjectRef::new(self.kind(), meta.namespace.clone(), meta.name.clone())
    }
}

/// One step of the world: what a source saw.
#[derive(Clone, Debug)]
pub enum Change {
    /// An object is new or different.
    Apply(Object),
    /// An object is gone.
    Delete(ObjectRef),
    /// All objects of a kind, from a full list: those not in it are gone.
    Replace {
        /// The kind listed.
        kind: Kind,
        /// The namespace listed; none for all.
        namespace: Option<Arc<str>>,
        /// What the list held.
        objects: Vec<Object>,
        /// Objects that the list held but that could not be decoded: their last good state stays.
        broken: Vec<Diagnostic>,
    },
    /// An object could not be decoded: its last good state stays, and this is said of it.
    Broken(Diagnostic),
    /// What a source says of its files: replaces all it said before.
    Files(Vec<Diagnostic>),
    /// All there is has been listed once. What has no ready endpoint by then is taken to have had none for long.
    Listed,
    /// What time it is: the compiler has no clock, but certificates expire.
    Time(Timestamp),
    /// A set of keys for tokens that a Service was asked for.
    KeySet {
        /// The URL that it was asked by.
        url: Arc<str>,
        /// The set as the Service sent it, or why it did not.
        said: Result<Arc<[u8]>, String>,
    },
    /// An ExternalName's addresses, as last resolved; empty where it does not resolve.
    Resolved {
        name: Arc<str>,
        /// Its addresses, both families.
        addresses: Vec<std::net::IpAddr>,
    },
    /// Whether Kubernetes has lost sight of a node that was asked about, so that it does not know how the node's pods are.
    Node { name: Arc<str>, lost: bool },
}
