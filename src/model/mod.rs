//! The words both roads use. This room imports nothing of ours.

pub mod annotation;
pub mod annotations;
pub mod diagnostic;
pub mod kind;
pub mod nearest;
pub mod object;
pub mod reference;
pub mod shared;
pub mod visible;

pub use annotations::Annotations;
pub use diagnostic::{Code, Diagnostic, Location, Report, Severity};
pub use kind::Kind;
pub use reference::{Field, FieldForm, ObjectRef, Origin, Revision, RouteKey, Seniority, Timestamp};
