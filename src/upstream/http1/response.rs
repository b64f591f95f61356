//! The head of a pod's response.

use crate::http1::{Fault, Framing, ResponseHead, ResponseReader};
use crate::message::{Fields, Name, Response};
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

/// A head, and what follows from it.
pub(super) struct Head {
    pub response: Response,
    pub framing: Framing,
    /// Whether the pod keeps the connection.
    pub keeps: bool,
    /// Bytes that it had.
    pub length: usize,
}

/// Takes a head from what was read, once it is complete. `head` has to be the same until then.
pub(super) fn take(
    input: &mut BytesMut,
    reader: &mut ResponseReader,
    head: &mut ResponseHead,
    answers_head: bool,
) -> Result<Option<Head>, HeadError> {
    if !reader.read(input, head, answers_head)? {
        return Ok(None);
    }
    let status = StatusCode::from_u16(head.status).map_err(|_| HeadError::Invalid(Fault::Status))?;
    let bytes = input.get(..head.length).unwrap_or_default().to_vec();
    input.advance(head.length);
    let reason = head.reason.of(&bytes);
    let is_usual = status
        .canonical_reason()
        .is_some_and(|usual| usual.as_bytes() == reason);
    let reason = (!is_usual).then(|| Bytes::copy_from_slice(reason));
    let fields = Fields::of_head(bytes, std::mem::take(&mut head.lines));
    let keeps = keeps(&fields, head.version) && !head.has_both_framings;
    Ok(Some(Head {
        response: Response { status, reason, fields },
        framing: head.framing,
        keeps,
        length: head.length,
    }))
}

/// Whether the pod keeps the connection (RFC 9112, section 9.3).
fn keeps(fields: &Fields, version: u8) -> bool {
    let (mut closes, mut keeps) = (false, version == 11);
    for line in fields.get_all(&Name::Connection) {
        closes |= line.has_option(b"close");
        keeps |= line.has_option(b"keep-alive");
    }
    keeps && !closes
}
