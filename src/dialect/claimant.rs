//! What the compiler asks of an object that claims hosts and paths, of whatever dialect.

use super::Object;
use super::annotations::Ignored;
use super::annotations::nginx::Beside;
use super::decode::{Effect, Unknown};
use super::drop_in::Dialect;
use super::openshift::RouteOptions;
use super::owners::HostOwners;
use super::reading::{Reading, own_seniority};
use crate::model::object::{Meta, Secret};
use crate::model::{Annotations, Kind, ObjectRef, Revision, Seniority};
use std::fmt;
use std::sync::Arc;

/// What a reading hangs on beside the object.
#[derive(Clone, Copy)]
pub(crate) struct Context<'c> {
    /// By whose rules it is read.
    pub dialect: Dialect,
    /// What that dialect has beside the object.
    pub beside: Option<&'c Arc<Beside>>,
    pub owners: &'c HostOwners,
    pub ignored: &'c Ignored,
    pub routes: &'c RouteOptions,
}

/// An object of a dialect.
pub(crate) trait Claimant: fmt::Debug + Send + Sync {
    fn kind(&self) -> Kind;

    fn meta(&self) -> &Meta;

    /// Which state of it this is.
    fn revision(&self) -> &Revision;

    /// The class it is of; absent where it names none.
    fn class(&self) -> Option<&str>;

    /// The field, or annotation, that names the class.
    fn class_field(&self) -> String;

    /// The dialect that its kind belongs to; absent where its class decides.
    fn own_dialect(&self) -> Option<Dialect> {
        None
    }

    /// Why flags leave it to another controller, though its dialect is served. The labels of its namespace are absent if that
    /// is not known.
    fn why_not(&self, _: &RouteOptions, _: Option<&Annotations>) -> Option<String> {
        None
    }

    /// What it says by itself of its place among others; its namespace may have a say too.
    fn seniority(&self) -> Seniority {
        own_seniority(self.meta())
    }

    /// The Secret that stands for the certificates which are written into it.
    fn secret(&self) -> Option<Arc<Secret>> {
        None
    }

    /// The hosts that it names as they are written, in the order of its rules; an empty one is any host.
    fn hosts(&self) -> Vec<Arc<str>>;

    /// What it says, apart from all other objects.
    fn read(&self, context: Context<'_>) -> Reading;

    /// Whether it claims nothing: of a version that cannot be decoded, only the guards are known.
    fn is_bare(&self) -> bool {
        false
    }

    /// Leaves out what an unknown field leaves open.
    fn leave_out(&mut self, field: &Unknown) -> Effect;

    /// The same as any object.
    fn object(self: Arc<Self>) -> Object;

    /// Which object it is.
    fn reference(&self) -> ObjectRef {
        let meta = self.meta();
        ObjectRef::new(self.kind(), meta.namespace.clone(), meta.name.clone())
    }
}
