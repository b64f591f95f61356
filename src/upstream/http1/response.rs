//! The head of a pod's response.

use crate::http1::{Fault, ResponseHead};
use crate::message::{Buffers, Fields, Name, Response};
use bytes::{Buf, Bytes, BytesMut};
use http::StatusCode;

/// What is wrong with the head of a response.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// It is not HTTP/1.1.
    #[error("the response head is not valid HTTP/1.1: {0}")]
    Invalid(Fault),
    /// More bytes than `--max-response-head`.
    #[error("the response head is too large (--max-response-head)")]
    TooLarge,
    /// More interim responses than anybody needs.
    #[error("the response comes behind too many interim ones")]
    Interim,
}

impl From<Fault> for HeadError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::HeadTooLong => Self::TooLarge,
            fault => Self::Invalid(fault),
        }
    }
}

/// Takes a head that was read from the input.
pub(super) fn take(
    input: &mut BytesMut,
    head: &mut ResponseHead,
    response: &mut Response,
    buffers: &Buffers,
) -> Result<(), HeadError> {
    let status = StatusCode::from_u16(head.status).map_err(|_| HeadError::Invalid(Fault::Status))?;
    let bytes = input.get(..head.length).unwrap_or_default();
    let reason = head.reason.of(bytes);
    let is_usual = status
        .canonical_reason()
        .is_some_and(|usual| usual.as_bytes() == reason);
    response.status = status;
    response.reason = (!is_usual).then(|| Bytes::copy_from_slice(reason));
    response.fields = buffers.fields();
    response.fields.set(bytes, std::mem::take(&mut head.lines));
    input.advance(head.length);
    Ok(())
}

/// Whether the pod keeps the connection (RFC 9112, section 9.3).
pub(super) fn keeps(fields: &Fields, version: u8) -> bool {
    let (mut closes, mut keeps) = (false, version == 11);
    for line in fields.get_all(&Name::Connection) {
        match line.as_bytes() {
            // Nearly all that say something say this, and taking a list apart takes longer.
            b"keep-alive" => keeps = true,
            b"close" => closes = true,
            _ => {
                closes |= line.has_option(b"close");
                keeps |= line.has_option(b"keep-alive");
            }
        }
    }
    keeps && !closes
}
