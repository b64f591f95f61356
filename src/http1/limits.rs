//! Bounds on what a message may hold besides its body.

/// Bounds on what a client may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a head, from the method to the empty line, both included.
    pub head_bytes: usize,
    /// Bytes of a request target.
    pub uri_bytes: usize,
    /// Fields in a head and, counted anew, in a trailer section.
    pub header_count: usize,
    /// Bytes of chunk extensions in one body, with their whitespace and semicolons.
    pub chunk_ext_bytes: usize,
    /// Bytes of a trailer section with its final empty line.
    pub trailer_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 32 << 10,
            uri_bytes: 16 << 10,
            header_count: 100,
            chunk_ext_bytes: 4 << 10,
            trailer_bytes: 8 << 10,
        }
    }
}

/// Bounds on what a pod may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseLimits {
    /// Bytes of a head, from the version to the empty line, both included.
    pub head_bytes: usize,
    /// Fields in a head and, counted anew, in a trailer section.
    pub header_count: usize,
    /// Bytes of chunk extensions in one body, with their whitespace and semicolons.
    pub chunk_ext_bytes: usize,
    /// Bytes of a trailer section with its final empty line.
    pub trailer_bytes: usize,
}

impl ResponseLimits {
    /// Those that follow from `--max-response-head`.
    pub fn new(head_bytes: usize) -> Self {
        Self {
            head_bytes,
            header_count: 256,
            chunk_ext_bytes: 16 << 10,
            trailer_bytes: head_bytes,
        }
    }
}
