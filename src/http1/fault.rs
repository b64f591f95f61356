//! What can be wrong with the bytes of a message.

/// The status a [`Fault`] calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The bytes break the grammar or the framing rules: 400 (RFC 9110 15.5.1).
    BadRequest,
    /// The request target is longer than allowed: 414 (RFC 9110 15.5.15).
    UriTooLong,
    /// A head or a trailer section is larger than allowed: 431 (RFC 6585 5).
    HeadTooLarge,
    /// A version that is neither 1.0 nor 1.1: 505 (RFC 9110 15.6.6).
    UnsupportedVersion,
}

/// Why a connection's input was refused. The text is one short sentence that
/// holds nothing of the client's bytes, so it is safe in logs and replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Fault {
    /// More empty lines before a request line than RFC 9112 2.2 has use for.
    #[error("too many empty lines before the request line")]
    EmptyLines,
    /// A line feed that ends no CRLF (RFC 9112 2.2).
    #[error("line feed without carriage return")]
    BareLf,
    /// A carriage return that begins no CRLF (RFC 9112 2.2).
    #[error("carriage return without line feed")]
    BareCr,
    /// The method is missing or not a token (RFC 9110 5.6.2, 9.1).
    #[error("malformed method")]
    Method,
    /// The method is longer than 32 bytes.
    #[error("method too long")]
    MethodTooLong,
    /// The request target is empty or has a byte that may not be there
    /// (RFC 9112 3.2, RFC 3986 3).
    #[error("malformed request target")]
    Target,
    /// The request target has a form that its method may not use (RFC 9112 3.2).
    #[error("request target form does not suit the method")]
    TargetForm,
    /// The request target is longer than [`Limits::uri_bytes`](super::Limits).
    #[error("request target too long")]
    TargetTooLong,
    /// The version is missing or malformed (RFC 9112 2.3).
    #[error("malformed http version")]
    Version,
    /// The version is neither 1.0 nor 1.1 (RFC 9112 2.3).
    #[error("unsupported http version")]
    UnsupportedVersion,
    /// The status is missing, not three digits from 100 on, or has a reason with
    /// a control character (RFC 9112 4).
    #[error("malformed status line")]
    Status,
    /// A field line that begins with whitespace (RFC 9112 2.2, 5.2).
    #[error("field line begins with whitespace")]
    Fold,
    /// A field name is empty, not a token or not followed by a colon
    /// (RFC 9110 5.1, RFC 9112 5.1).
    #[error("malformed field name")]
    FieldName,
    /// A control character in a field value (RFC 9110 5.5).
    #[error("control character in a field value")]
    FieldValue,
    /// The head is longer than [`Limits::head_bytes`](super::Limits).
    #[error("head too large")]
    HeadTooLong,
    /// More fields than [`Limits::header_count`](super::Limits).
    #[error("too many fields")]
    TooManyFields,
    /// No Host in an HTTP/1.1 request (RFC 9112 3.2).
    #[error("host field missing")]
    HostMissing,
    /// A second Host (RFC 9112 3.2).
    #[error("more than one host field")]
    HostRepeated,
    /// A Host that says nothing. RFC 9112 3.2 wants this from a target without
    /// an authority, which no target we serve is.
    #[error("empty host field")]
    HostEmpty,
    /// Content-Length is not 1 to 19 digits, or in a response more than fits 64
    /// bits (RFC 9110 8.6).
    #[error("malformed content-length")]
    Length,
    /// A second Content-Length (RFC 9112 6.3; equal ones are refused as well).
    #[error("more than one content-length field")]
    LengthRepeated,
    /// A transfer coding other than exactly `chunked` (RFC 9112 6.1).
    #[error("unsupported transfer-encoding")]
    Coding,
    /// A second Transfer-Encoding (RFC 9112 6.1).
    #[error("more than one transfer-encoding field")]
    CodingRepeated,
    /// Transfer-Encoding in HTTP/1.0 (RFC 9112 6.1).
    #[error("transfer-encoding in http/1.0")]
    CodingInOldVersion,
    /// Both Transfer-Encoding and Content-Length (RFC 9112 6.1).
    #[error("both transfer-encoding and content-length")]
    LengthAndCoding,
    /// A chunk size is not 1 to 16 hexadecimal digits (RFC 9112 7.1).
    #[error("malformed chunk size")]
    ChunkSize,
    /// A chunk extension breaks the grammar (RFC 9112 7.1.1).
    #[error("malformed chunk extension")]
    ChunkExtension,
    /// A body's chunk extensions exceed
    /// [`Limits::chunk_ext_bytes`](super::Limits).
    #[error("too many chunk extension bytes")]
    ChunkExtensionsTooLong,
    /// Chunk data is not followed by CRLF (RFC 9112 7.1).
    #[error("chunk data not followed by an end of line")]
    ChunkEnd,
    /// The trailer section is longer than
    /// [`Limits::trailer_bytes`](super::Limits).
    #[error("trailer section too large")]
    TrailersTooLong,
    /// A field that may not be a trailer (RFC 9110 6.5.1).
    #[error("field not allowed in a trailer section")]
    TrailerForbidden,
    /// The connection ended before the message did (RFC 9112 8).
    #[error("connection closed inside a message")]
    Incomplete,
}

impl Fault {
    /// Which status answers this fault.
    #[must_use]
    pub fn kind(self) -> FaultKind {
        match self {
            Self::TargetTooLong => FaultKind::UriTooLong,
            Self::HeadTooLong | Self::TooManyFields | Self::TrailersTooLong => FaultKind::HeadTooLarge,
            Self::UnsupportedVersion => FaultKind::UnsupportedVersion,
            _ => FaultKind::BadRequest,
        }
    }
}

/// The fault of a byte that may not be where it is: a line feed has one of its own everywhere.
#[cold]
pub(super) fn odd(byte: u8, fault: Fault) -> Fault {
    if byte == b'\n' { Fault::BareLf } else { fault }
}
