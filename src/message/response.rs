//! The head of a response.

use super::Fields;
use bytes::Bytes;
use http::StatusCode;

/// The head of a response.
#[derive(Debug, Default)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The reason, where it is not the usual one.
    pub reason: Option<Bytes>,
    /// The fields.
    pub fields: Fields,
}
