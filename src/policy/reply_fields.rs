//! Fields that replies get.

use crate::message::{Fields, Name};
use http::header::HeaderValue;

/// Sets `Strict-Transport-Security`. Only over HTTPS: a client ignores it elsewhere (RFC 6797, section 7.2).
pub fn set_hsts(value: &HeaderValue, secure: bool, reply: &mut Fields) {
    if secure {
        reply.insert(&Name::StrictTransportSecurity, value);
    }
}

/// Adds `Server`, unless the pod has named itself.
pub fn add_server(value: &HeaderValue, reply: &mut Fields) {
    if !reply.contains(&Name::Server) {
        reply.append(&Name::Server, value);
    }
}
