//! What clients get in the place of an error's own text.

use super::super::backend::BackendId;
use http::StatusCode;

/// Errors whose replies a Service makes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ErrorPages {
    pub statuses: Box<[StatusCode]>,
    /// Whether the errors of pods are among them; else only narthex's own.
    pub of_pods: bool,
    /// The Service that is asked.
    pub from: BackendId,
}

impl ErrorPages {
    /// Whether there is a page for a status.
    pub fn has(&self, status: StatusCode, of_pod: bool) -> bool {
        (self.of_pods || !of_pod) && self.statuses.contains(&status)
    }
}
