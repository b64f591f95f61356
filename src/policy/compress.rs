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

use crate::message::{Fields, Name, Request, Value};
use crate::table::{Coding, Compression};
use http::header::{HeaderMap, HeaderName};
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
    request: &Request,
    status: StatusCode,
    reply: &mut Fields,
    empty: bool,
) -> Option<Plan> {
    if status == StatusCode::NOT_MODIFIED {
        follow_validator(settings, request, reply);
        return None;
    }
    let length = reply.get(&Name::ContentLength);
    let length = length.and_then(|value| value.to_str()?.parse().ok());
    let worth_it = !empty && length.is_none_or(|length| length >= settings.least);
    if !worth_it || !has_content(&request.method, status) || !is_plain(reply) {
        return None;
    }
    vary(reply);
    // A reply without a length can end for HTTP/1.0 only as one that was cut short does.
    if request.version < Version::HTTP_11 || forbids(&request.fields) {
        return None;
    }
    let coding = negotiate::choose(&request.fields, &settings.codings)?;
    Some(Plan { coding, length })
}

impl Plan {
    /// Has a reply's fields say what becomes of it. To a HEAD they say what a GET would get; there as here nobody knows
    /// how long that is.
    pub fn mark(&self, reply: &mut Fields) {
        reply.insert(&Name::ContentEncoding, self.coding.name());
        reply.remove(&Name::ContentLength);
        // A range would be one of the bytes that the pod has.
        reply.remove(&Name::AcceptRanges);
        for name in DIGESTS {
            reply.remove(&name);
        }
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
fn is_plain(reply: &Fields) -> bool {
    let kind = reply.get(&Name::ContentType).map(Value::as_bytes);
    kind.is_some_and(kind::is_compressible)
        && !reply.contains(&Name::ContentEncoding)
        && !reply.contains(&Name::ContentRange)
        && !forbids(reply)
}

/// `Cache-Control: no-transform`, of a request or a response (RFC 9111, sections 5.2.1.6 and 5.2.2.6).
fn forbids(fields: &Fields) -> bool {
    fields.has_option(&Name::CacheControl, b"no-transform")
}

/// Adds `Accept-Encoding` to `Vary`. In one line, for some caches read only the first.
fn vary(reply: &mut Fields) {
    if reply.has_option(&Name::Vary, b"*") || reply.has_option(&Name::Vary, b"accept-encoding") {
        return;
    }
    let before = reply.get_all(&Name::Vary).map(Value::as_bytes);
    let mut names: Vec<&[u8]> = before.filter(|line| !line.trim_ascii().is_empty()).collect();
    names.push(b"Accept-Encoding");
    let all = names.join(&b", "[..]);
    reply.insert(&Name::Vary, all);
}

/// A strong validator is for the very bytes (RFC 9110, section 8.8.1); what is compressed means the same and is not the
/// same. One that violates the grammar is dropped.
fn weaken(reply: &mut Fields) {
    let Some(tag) = reply.get(&Name::Etag).map(Value::as_bytes) else {
        return;
    };
    if tag.starts_with(b"W/") {
        return;
    }
    let quoted = tag.len() >= 2 && tag.starts_with(b"\"") && tag.ends_with(b"\"");
    if quoted {
        let weak = [b"W/", tag].concat();
        reply.insert(&Name::Etag, weak);
    } else {
        reply.remove(&Name::Etag);
    }
}

/// A 304 has the validator and the `Vary` of what the client keeps (RFC 9110, section 15.4.5): for one that asks by
/// our weak form of the pod's strong one, that is ours.
fn follow_validator(settings: &Compression, request: &Request, reply: &mut Fields) {
    let Some(tag) = reply.get(&Name::Etag).map(Value::as_bytes) else {
        return;
    };
    let weak = [b"W/", tag].concat();
    let asked = tag.starts_with(b"\"") && request.fields.has_option(&Name::IfNoneMatch, &weak);
    if asked && negotiate::choose(&request.fields, &settings.codings).is_some() {
        weaken(reply);
        vary(reply);
    }
}

/// Takes digests of the plain bytes out of trailers.
fn remove_digests(fields: &mut HeaderMap) {
    for name in DIGESTS {
        fields.remove(name);
    }
}

#[cfg(test)]
mod tests;
