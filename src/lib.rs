//! narthex: a Kubernetes ingress controller and L7 reverse proxy.
//!
//! Two roads meet in one place. The road of a change (`source` → `compile` → `table`) turns Kubernetes objects
//! into an immutable routing table; the road of a request (`serve` → `proxy` → `upstream`) reads it.
//! `docs/architecture.md` draws both.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

pub mod admin;
pub mod cli;
pub mod compile;
pub mod config;
pub mod control;
pub mod dialect;
pub mod model;
pub mod peers;
pub mod policy;
pub mod proxy;
pub mod serve;
pub mod source;
pub mod status;
pub mod table;
pub mod telemetry;
pub mod upstream;
