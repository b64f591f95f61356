//! What objects say: their types, how they are decoded, and how those that claim hosts and paths are read.
//!
//! Each dialect has a folder with the slim type of its kinds, their decoder and their reading. A [`Reading`] says the same
//! things whatever the dialect, so the compiler knows none of them. A row of [`crate::model::kind`] names the folder, and
//! the macros here and in `object.rs` and `decode.rs` make the rest of it.

pub mod annotations;
pub(crate) mod claimant;
pub mod decode;
pub mod drop_in;
pub mod gateway;
mod host;
pub mod ingress;
mod object;
pub mod openshift;
pub mod owners;
pub(crate) mod reading;
pub mod status;
mod tls;

pub use drop_in::Dialect;
pub use object::{Change, Object};
