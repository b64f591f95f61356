//! Which fields may stand behind a body (RFC 9110, section 6.5.1; docs/security.md, row 6).
//!
//! A recipient may merge trailers into the head after all was decided by the head alone. So none may be one that frames
//! the message, routes it, is about this connection, says who the sender is, modifies how the request is handled, or
//! says how to read the content.

use super::names::fold;
use http::HeaderMap;

/// Their names, but for those that begin with `x-forwarded-`.
pub const FORBIDDEN: &[&str] = &[
    // framing and routing
    "content-length",
    "transfer-encoding",
    "host",
    "max-forwards",
    // the connection
    "connection",
    "keep-alive",
    "proxy",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
    "http2-settings",
    // who sent it
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "forwarded",
    "x-real-ip",
    "x-request-id",
    "x-narthex-hops",
    "x-original-url",
    "x-rewrite-url",
    // request modifiers
    "cache-control",
    "expect",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "range",
    // content
    "content-encoding",
    "content-range",
    "content-type",
];

const FORWARDED: &str = "x-forwarded-";

/// Whether a field of this name may not be a trailer, however it is spelled: see [`fold`].
pub fn is_forbidden(name: &[u8]) -> bool {
    let begins = |with: &str| name.len() >= with.len() && name.iter().zip(with.bytes()).all(|(a, b)| fold(*a) == b);
    begins(FORWARDED) || FORBIDDEN.iter().any(|other| other.len() == name.len() && begins(other))
}

/// Takes out those that may not be there. Over HTTP/1.1 the strict filter has refused them already.
pub fn clean(trailers: &mut HeaderMap) {
    let forbidden: Vec<_> = trailers
        .keys()
        .filter(|name| is_forbidden(name.as_str().as_bytes()))
        .cloned()
        .collect();
    for name in forbidden {
        trailers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_disguises_nothing() {
        for name in [
            "Host",
            "X_Real_IP",
            "x-forwarded-PREFIX",
            "X_Forwarded-For",
            "content-Length",
            "X.Forwarded.For",
            "x!real~ip",
            "Proxy",
        ] {
            assert!(is_forbidden(name.as_bytes()), "{name}");
        }
        for name in [
            "x-sum",
            "grpc-status",
            "hos",
            "hosts",
            "x-forwarded",
            "x-real",
            "proxy-status",
            "x--real-ip",
            "",
        ] {
            assert!(!is_forbidden(name.as_bytes()), "{name}");
        }
    }
}
