//! `narthex.io/compress`: replies are compressed for clients that take it (RFC 9110, section 12.5.3).
//!
//! Off unless a route asks for it: a reply that holds a secret beside something that the sender of a request chose
//! tells the secret by its size (BREACH). docs/compression.md says more, also what is compressed and what it costs.

mod encoder;
mod kind;
mod memory;
mod negotiate;
mod stream;

pub use memory::{Memory, MemoryPermit};
pub use stream::Compressor;

use crate::table::{Coding, Compression};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, StatusCode, Version};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Fields that are a digest of bytes that the client does not get (RFC 9530; RFC 3230 and RFC 1864 are its forebears).
/// Who wants them to arrive says `Cache-Control: no-transform`.
const DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];

/// A reply to be compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How.
    pub coding: Coding,
    /// How many bytes it has as it is, if it says so.
    pub length: Option<u64>,
}

/// Decides whether a pod's reply is compressed. A reply that is for one client and not for another says so from now on
/// (`Vary`), either way. `empty` is whether it is known to have no content, which that to a HEAD is not.
pub fn plan(
    settings: &Compression,
    request: &Parts,
    status: StatusCode,
    reply: &mut HeaderMap,
    empty: bool,
) -> Option<Plan> {
    if status == StatusCode::NOT_MODIFIED {
        follow_validator(settings, request, reply);
        return None;
    }
    let length = reply.get(header::CONTENT_LENGTH).and_then(|value| {
        let text = value.to_str().ok()?;
        text.parse().ok()
    });
    let worth_it = !empty && length.is_none_or(|length| length >= settings.least);
    if !worth_it || !has_content(&request.method, status) || !is_plain(reply) {
        return None;
    }
    vary(reply);
    // A reply without a length can end for HTTP/1.0 only as one that was cut short does.
    if request.version < Version::HTTP_11 || forbids(&request.headers) {
        return None;
    }
    let coding = negotiate::choose(&request.headers, &settings.codings)?;
    Some(Plan { coding, length })
}

impl Plan {
    /// Has a reply's fields say what becomes of it. To a HEAD they say what a GET would get; there as here nobody knows
    /// how long that is.
    pub fn mark(&self, reply: &mut HeaderMap) {
        reply.insert(header::CONTENT_ENCODING, HeaderValue::from_static(self.coding.name()));
        reply.remove(header::CONTENT_LENGTH);
        // A range would be one of the bytes that the pod has.
        reply.remove(header::ACCEPT_RANGES);
        remove_digests(reply);
        weaken(reply);
    }
}

/// Whether a response may have content that stands for itself: not a piece of something (206), nor a difference (226),
/// nor a tunnel (CONNECT). Redirects are not worth it.
fn has_content(method: &Method, status: StatusCode) -> bool {
    let status_has = match status.as_u16() {
        204..=206 | 226 => false,
        status => (200..300).contains(&status) || status >= 400,
    };
    status_has && *method != Method::CONNECT
}

/// Whether a reply is in its plain form, of a kind that gets smaller, and not to be left alone.
fn is_plain(reply: &HeaderMap) -> bool {
    let kind = reply.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    kind.is_some_and(kind::is_compressible)
        && !reply.contains_key(header::CONTENT_ENCODING)
        && !reply.contains_key(header::CONTENT_RANGE)
        && !forbids(reply)
}

/// `Cache-Control: no-transform`, of a request or a response (RFC 9111, sections 5.2.1.6 and 5.2.2.6).
fn forbids(headers: &HeaderMap) -> bool {
    lists(headers, &header::CACHE_CONTROL, b"no-transform")
}

/// Whether a field that is a list has an element, in any case.
fn lists(headers: &HeaderMap, name: &HeaderName, wanted: &[u8]) -> bool {
    headers.get_all(name).iter().any(|line| {
        let mut elements = line.as_bytes().split(|byte| *byte == b',');
        elements.any(|element| element.trim_ascii().eq_ignore_ascii_case(wanted))
    })
}

/// Adds `Accept-Encoding` to `Vary`. In one line, for some caches read only the first.
fn vary(reply: &mut HeaderMap) {
    if lists(reply, &header::VARY, b"*") || lists(reply, &header::VARY, b"accept-encoding") {
        return;
    }
    let before = reply.get_all(header::VARY).iter().map(HeaderValue::as_bytes);
    let mut names: Vec<&[u8]> = before.filter(|line| !line.trim_ascii().is_empty()).collect();
    names.push(b"Accept-Encoding");
    // What was header text before is so with commas between.
    if let Ok(all) = HeaderValue::from_bytes(&names.join(&b", "[..])) {
        reply.insert(header::VARY, all);
    }
}

/// A strong validator is for the very bytes (RFC 9110, section 8.8.1); what is compressed means the same and is not the
/// same. One that violates the grammar is dropped.
fn weaken(reply: &mut HeaderMap) {
    let Some(tag) = reply.get(header::ETAG).map(HeaderValue::as_bytes) else {
        return;
    };
    if tag.starts_with(b"W/") {
        return;
    }
    let quoted = tag.len() >= 2 && tag.starts_with(b"\"") && tag.ends_with(b"\"");
    match HeaderValue::from_bytes(&[b"W/", tag].concat()) {
        Ok(weak) if quoted => {
            reply.insert(header::ETAG, weak);
        }
        _ => {
            reply.remove(header::ETAG);
        }
    }
}

/// A 304 has the validator and the `Vary` of what the client keeps (RFC 9110, section 15.4.5): for one that asks by
/// our weak form of the pod's strong one, that is ours.
fn follow_validator(settings: &Compression, request: &Parts, reply: &mut HeaderMap) {
    let Some(tag) = reply.get(header::ETAG).map(HeaderValue::as_bytes) else {
        return;
    };
    let weak = [b"W/", tag].concat();
    let asked = tag.starts_with(b"\"") && lists(&request.headers, &header::IF_NONE_MATCH, &weak);
    if asked && negotiate::choose(&request.headers, &settings.codings).is_some() {
        weaken(reply);
        vary(reply);
    }
}

/// Takes digests of the plain bytes out of fields or trailers.
fn remove_digests(fields: &mut HeaderMap) {
    for name in DIGESTS {
        fields.remove(name);
    }
}

#[cfg(test)]
mod tests;
