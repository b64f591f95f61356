//! What is logged, and how.

pub use crate::config::{Format, Shown, StatusRange};
use std::num::NonZeroU32;
use std::time::Duration;

/// What is logged, and how. The defaults are in `config/logs.rs`.
#[derive(Clone, Debug)]
pub struct AccessOptions {
    /// How.
    pub format: Format,
    /// Statuses that are logged in any case.
    pub statuses: Vec<StatusRange>,
    /// Requests that take so long are, too.
    pub min_duration: Option<Duration>,
    /// Of all other requests, log one in this many per route.
    pub sample: Option<NonZeroU32>,
    /// Fields that are shown.
    pub headers: Vec<Shown>,
}
