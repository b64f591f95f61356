//! Field names as a proxy has to read them: which are for one hop, which are ours to set, and which only look like one
//! of these to the pod.

use crate::http1::fold;
use http::header::{self, HeaderName};

/// Counts how often a request has passed through narthex.
pub const HOPS: HeaderName = HeaderName::from_static("x-narthex-hops");

/// Fields a client's `Connection` may not take away (Traefik CVE-2024-45410).
pub const PROTECTED: [HeaderName; 7] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::AUTHORIZATION,
    header::COOKIE,
    header::CACHE_CONTROL,
    HOPS,
];

/// Fields of one hop only. `Trailer` passes: without it hyper drops all trailers.
pub fn is_hop_by_hop(name: &HeaderName) -> bool {
    match name.as_str().len() {
        2 => *name == header::TE,
        7 => *name == header::UPGRADE,
        10 => *name == header::CONNECTION || name.as_str() == "keep-alive",
        14 => name.as_str() == "http2-settings",
        16 => name.as_str() == "proxy-connection",
        17 => *name == header::TRANSFER_ENCODING,
        18 => *name == header::PROXY_AUTHENTICATE,
        19 => *name == header::PROXY_AUTHORIZATION,
        _ => false,
    }
}

/// Fields by which proxies tell what the client did: from a stranger they are lies.
pub fn is_managed(name: &str) -> bool {
    match name.as_bytes().first() {
        Some(b'x') => {
            name.starts_with("x-forwarded-")
                || matches!(
                    name,
                    "x-real-ip" | "x-request-id" | "x-original-url" | "x-rewrite-url" | "x-narthex-hops"
                )
        }
        Some(b'f') => name == "forwarded",
        _ => false,
    }
}

/// Whether a pod may take this name, which is in lower case, for one that narthex sets or that frames the body, such as
/// `x.forwarded.for`; or for a variable of its own: `Proxy` becomes HTTP_PROXY, by which programs find a proxy
/// (CVE-2016-5385).
pub fn misleads(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() | (byte == b'-');
    match name.as_bytes().first() {
        Some(b'p') => name == "proxy",
        // No other letter begins a name that is meant below and has more than one word.
        Some(b'c' | b't' | b'x') if !name.bytes().fold(true, |all, byte| all & is_plain(byte)) => {
            let folded: String = name.bytes().map(|byte| char::from(fold(byte))).collect();
            is_managed(&folded) || matches!(&*folded, "content-length" | "transfer-encoding")
        }
        _ => false,
    }
}
