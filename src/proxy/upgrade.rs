//! WebSockets over HTTP/1.1 (RFC 6455): the one protocol a connection may change to.
//!
//! Any other `Upgrade` is taken out like the other fields of one hop: a pod that then changed to h2c would see bytes
//! that no rule has looked at (reliability row 12).

use super::headers::Fields;
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, Version};

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// Whether a request asks for a WebSocket as it should (RFC 6455, section 4.1).
pub fn is_asked_for(parts: &Parts, fields: &Fields<'_>, empty: bool) -> bool {
    let Some(protocol) = fields.upgrade else { return false };
    let names_websocket = protocol.as_bytes().eq_ignore_ascii_case(WEBSOCKET.as_bytes());
    names_websocket
        && empty
        && parts.method == Method::GET
        && parts.version == Version::HTTP_11
        && has_option(&parts.headers)
}

/// Whether a response agrees to it.
pub fn is_websocket(headers: &HeaderMap) -> bool {
    let mut protocols = headers.get_all(header::UPGRADE).iter();
    let (first, second) = (protocols.next(), protocols.next());
    let websocket = first.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(WEBSOCKET.as_bytes()));
    websocket && second.is_none() && has_option(headers)
}

/// Puts in the fields that ask for it, or agree.
pub fn ask(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, WEBSOCKET);
}

fn has_option(headers: &HeaderMap) -> bool {
    headers.get_all(header::CONNECTION).iter().any(|line| {
        line.as_bytes()
            .split(|byte| *byte == b',')
            .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
    })
}
