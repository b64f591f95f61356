//! How fast a reply is sent.

/// The pace of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pace {
    /// Bytes a second; more than 0.
    pub rate: u64,
    /// Bytes that are sent before that counts.
    pub after: u64,
}
