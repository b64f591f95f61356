//! Fields that replies get.

use http::header::{self, HeaderMap, HeaderValue};

/// Sets `Strict-Transport-Security`. Only over HTTPS: a client ignores it elsewhere (RFC 6797, section 7.2).
pub fn set_hsts(value: &HeaderValue, secure: bool, reply: &mut HeaderMap) {
    if secure {
        reply.insert(header::STRICT_TRANSPORT_SECURITY, value.clone());
    }
}

/// Adds `Server`, unless the pod has named itself.
pub fn add_server(value: &HeaderValue, reply: &mut HeaderMap) {
    reply.entry(header::SERVER).or_insert_with(|| value.clone());
}
