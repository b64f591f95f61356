//! The head of a pod's response.

use crate::http1::Framing;
use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode, Version};
use httparse::{Header, ParserConfig, Status};
use hyper::ext::ReasonPhrase;
use smallvec::SmallVec;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Fields a response may have.
const FIELDS: usize = 256;
/// Most responses have fewer, and need no allocation for their lines.
const USUAL: usize = 24;

/// What is wrong with the head of a response.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// It is not HTTP.
    #[error("the response head is not HTTP/1.1: {0}")]
    Syntax(#[from] httparse::Error),
    /// A name or a value that HTTP does not allow.
    #[error("the response head has an invalid status or field")]
    Field,
    /// More bytes than `--max-response-head`.
    #[error("the response head is too large (--max-response-head)")]
    TooLarge,
    /// `Content-Length` is not a number, or several.
    #[error("the response has an invalid Content-Length")]
    Length,
    /// HTTP/1.0 has no transfer codings.
    #[error("the response is of HTTP/1.0 and has a Transfer-Encoding")]
    Coding,
    /// More interim responses than anybody needs.
    #[error("the response comes behind too many interim ones")]
    Interim,
}

/// A head, and what follows from it.
pub(super) struct Head {
    pub response: Response<()>,
    pub framing: Framing,
    /// Whether the pod keeps the connection.
    pub keeps: bool,
    /// Bytes that it had.
    pub length: usize,
}

/// What is read of the fields on the way.
#[derive(Default)]
struct Said {
    closes: bool,
    keeps: bool,
    /// Whether there is a transfer coding, and the last one is `chunked`.
    coding: Option<bool>,
    length: Option<Result<u64, HeadError>>,
}

/// Whether the end of a head may be in `input`, of which the first `before` bytes held none.
pub(super) fn may_end(input: &[u8], before: usize) -> bool {
    let rest = input.get(before.saturating_sub(3)..).unwrap_or_default();
    memchr::memchr_iter(b'\n', rest).any(|at| {
        let next = rest.get(at + 1..).unwrap_or_default();
        next.starts_with(b"\n") || next.starts_with(b"\r\n")
    })
}

/// Takes a head from what was read, once it is complete. Its fields go into `fields`, which is empty.
pub(super) fn take(
    input: &mut BytesMut,
    fields: &mut HeaderMap,
    answers_head: bool,
    most: usize,
) -> Result<Option<Head>, HeadError> {
    let mut lines = SmallVec::<[(Range<usize>, Range<usize>); USUAL]>::new();
    let (length, version, status, reason) = {
        let mut headers = [const { MaybeUninit::<Header<'_>>::uninit() }; FIELDS];
        let mut response = httparse::Response::new(&mut []);
        let mut config = ParserConfig::default();
        // A proxy takes the blank away (RFC 9112, section 5.1).
        config.allow_spaces_after_header_name_in_responses(true);
        let parsed = config.parse_response_with_uninit_headers(&mut response, input, &mut headers)?;
        let Status::Complete(length) = parsed else {
            return if input.len() >= most {
                Err(HeadError::TooLarge)
            } else {
                Ok(None)
            };
        };
        if length > most {
            return Err(HeadError::TooLarge);
        }
        let start = input.as_ptr().addr();
        let place = |bytes: &[u8]| {
            let at = bytes.as_ptr().addr().wrapping_sub(start);
            at..at + bytes.len()
        };
        let all = response.headers.iter();
        lines.extend(all.map(|line| (place(line.name.as_bytes()), place(line.value))));
        let status = response.code.and_then(|code| StatusCode::from_u16(code).ok());
        let status = status.ok_or(HeadError::Field)?;
        let reason = response
            .reason
            .filter(|reason| Some(*reason) != status.canonical_reason());
        let version = match response.version {
            Some(1) => Version::HTTP_11,
            _ => Version::HTTP_10,
        };
        (length, version, status, reason.map(|reason| place(reason.as_bytes())))
    };
    let bytes = input.split_to(length).freeze();
    let mut said = Said::default();
    fields.reserve(lines.len());
    for (name, value) in lines {
        let name = bytes.get(name).and_then(|name| HeaderName::from_bytes(name).ok());
        let value = HeaderValue::from_maybe_shared(part(&bytes, value)).ok();
        let (Some(name), Some(value)) = (name, value) else {
            return Err(HeadError::Field);
        };
        said.hear(&name, &value);
        fields.append(name, value);
    }
    let framing = said.framing(status, version, answers_head)?;
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.version_mut() = version;
    *response.headers_mut() = std::mem::take(fields);
    if let Some(reason) = reason {
        // A phrase that was read as one is one.
        if let Ok(phrase) = ReasonPhrase::try_from(part(&bytes, reason)) {
            response.extensions_mut().insert(phrase);
        }
    }
    Ok(Some(Head {
        response,
        framing,
        keeps: said.is_kept(version),
        length,
    }))
}

/// A part of the head that shares its memory.
fn part(bytes: &Bytes, place: Range<usize>) -> Bytes {
    bytes.get(place).map(|part| bytes.slice_ref(part)).unwrap_or_default()
}

impl Said {
    fn hear(&mut self, name: &HeaderName, value: &HeaderValue) {
        match name.as_str().len() {
            10 if *name == header::CONNECTION => {
                self.closes |= has_option(value, b"close");
                self.keeps |= has_option(value, b"keep-alive");
            }
            14 if *name == header::CONTENT_LENGTH => {
                let before = self.length.take();
                self.length = Some(lengths(value, before));
            }
            17 if *name == header::TRANSFER_ENCODING => {
                let last = value.as_bytes().rsplit(|byte| *byte == b',').next();
                let chunked = last.is_some_and(|last| last.trim_ascii().eq_ignore_ascii_case(b"chunked"));
                self.coding = Some(chunked);
            }
            _ => {}
        }
    }

    /// What ends the body (RFC 9112, section 6.3).
    fn framing(&mut self, status: StatusCode, version: Version, answers_head: bool) -> Result<Framing, HeadError> {
        let bodiless = status.is_informational() || matches!(status.as_u16(), 204 | 304) || answers_head;
        match (self.coding, self.length.take()) {
            _ if bodiless => Ok(Framing::None),
            (Some(_), _) if version == Version::HTTP_10 => Err(HeadError::Coding),
            (Some(true), _) => Ok(Framing::Chunked),
            (Some(false), _) | (None, None) => Ok(Framing::UntilClose),
            (None, Some(length)) => length.map(Framing::Length),
        }
    }

    fn is_kept(&self, version: Version) -> bool {
        !self.closes && (version == Version::HTTP_11 || self.keeps)
    }
}

fn has_option(line: &HeaderValue, wanted: &[u8]) -> bool {
    let mut options = line.as_bytes().split(|byte| *byte == b',');
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(wanted))
}

/// The one length that a line and those before it say.
fn lengths(line: &HeaderValue, before: Option<Result<u64, HeadError>>) -> Result<u64, HeadError> {
    let mut known = before.transpose()?;
    for number in line.as_bytes().split(|byte| *byte == b',') {
        let number = number.trim_ascii();
        let digits = number.iter().all(u8::is_ascii_digit);
        let length = std::str::from_utf8(number).ok().filter(|_| digits);
        let length = length.and_then(|text| text.parse().ok()).ok_or(HeadError::Length)?;
        if known.is_some_and(|known| known != length) {
            return Err(HeadError::Length);
        }
        known = Some(length);
    }
    known.ok_or(HeadError::Length)
}
