//! Heads that were read: where their parts lie in the bytes.

use super::{Framing, Line, Span};

/// The head of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestHead {
    /// The method.
    pub method: Span,
    /// The target as it came.
    pub target: Span,
    /// 10 or 11.
    pub version: u8,
    /// The field lines in order.
    pub lines: Vec<Line>,
    /// How the body is framed.
    pub framing: Framing,
    /// How many bytes the head has, with the empty lines before it and the one that ends it.
    pub length: usize,
    /// The target with raw `"`, `<` and `>` of its query percent-encoded; absent where nothing had to be encoded.
    pub encoded: Option<Box<[u8]>>,
}

/// The head of a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseHead {
    /// 10 or 11.
    pub version: u8,
    /// From 100 to 999.
    pub status: u16,
    /// The field lines in order.
    pub lines: Vec<Line>,
    /// How the body is framed.
    pub framing: Framing,
    /// How many bytes the head has, with the empty line that ends it.
    pub length: usize,
}
