//! How many requests of a client may be under way.

use super::addresses::Networks;
use http::StatusCode;

/// The most requests that each client of a route may have under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Connections {
    /// By this its state is known, over changes of the table and of the number.
    pub id: u64,
    /// Clients that may have as many as they like.
    pub exempt: Networks,
    pub most: u32,
    /// What a request gets beyond them.
    pub status: StatusCode,
    /// Whether it is narthex's own limit: see [`Rates::native`](super::Rates::native).
    pub native: bool,
}
