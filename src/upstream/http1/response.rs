//! The head of a pod's response.

use crate::http1::{Fault, Name, ResponseHead, Span};
use bytes::{Bytes, BytesMut};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode, Version};
use hyper::ext::ReasonPhrase;

/// What is wrong with the head of a response.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// It breaks the rules of HTTP/1.1.
    #[error("the response head is not valid HTTP/1.1: {0}")]
    Fault(#[from] Fault),
    /// A status, a name or a value that is too large to be one.
    #[error("the response head has an invalid status or field")]
    Field,
    /// More interim responses than anybody needs.
    #[error("the response comes behind too many interim ones")]
    Interim,
}

/// Takes a head that was read, and which is at the beginning of `input`, with whether the pod keeps the connection. Its
/// fields go into `fields`, which is empty.
pub(super) fn take(
    input: &mut BytesMut,
    head: &ResponseHead,
    fields: &mut HeaderMap,
) -> Result<(Response<()>, bool), HeadError> {
    let bytes = input.split_to(head.length.min(input.len())).freeze();
    let (mut closes, mut keeps) = (head.has_both_framings, head.version > 10);
    fields.reserve(head.lines.len());
    for line in &head.lines {
        let name = HeaderName::from_bytes(line.name.of(&bytes));
        let value = HeaderValue::from_maybe_shared(part(&bytes, line.value));
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(HeadError::Field);
        };
        if line.known == Name::Connection {
            closes |= has_option(&value, b"close");
            keeps |= has_option(&value, b"keep-alive");
        }
        fields.append(name, value);
    }
    let mut response = Response::new(());
    let status = StatusCode::from_u16(head.status).map_err(|_| HeadError::Field)?;
    *response.status_mut() = status;
    *response.version_mut() = match head.version {
        10 => Version::HTTP_10,
        _ => Version::HTTP_11,
    };
    *response.headers_mut() = std::mem::take(fields);
    if status.canonical_reason().map(str::as_bytes) != Some(head.reason.of(&bytes))
        && let Ok(phrase) = ReasonPhrase::try_from(part(&bytes, head.reason))
    {
        response.extensions_mut().insert(phrase);
    }
    Ok((response, keeps && !closes))
}

/// A part of the head that shares its memory.
fn part(bytes: &Bytes, span: Span) -> Bytes {
    bytes.slice_ref(span.of(bytes))
}

fn has_option(line: &HeaderValue, wanted: &[u8]) -> bool {
    let mut options = line.as_bytes().split(|byte| *byte == b',');
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(wanted))
}
