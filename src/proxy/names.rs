//! Field names as a proxy has to read them: which are for one hop, which are ours to set, and which only look like one
//! of these to the pod.

use crate::http1::fold;
use crate::message::Name;

/// Whether a client's `Connection` may not take this field away (Traefik CVE-2024-45410).
pub fn is_protected(name: Name) -> bool {
    matches!(
        name,
        Name::Host
            | Name::ContentLength
            | Name::TransferEncoding
            | Name::Authorization
            | Name::Cookie
            | Name::CacheControl
            | Name::XNarthexHops
    )
}

/// Fields of one hop only. `Trailer` passes, for it says what stands behind the body.
pub fn is_hop_by_hop(name: Name) -> bool {
    matches!(
        name,
        Name::Te
            | Name::Upgrade
            | Name::Connection
            | Name::KeepAlive
            | Name::Http2Settings
            | Name::ProxyConnection
            | Name::TransferEncoding
            | Name::ProxyAuthenticate
            | Name::ProxyAuthorization
    )
}

const FORWARDED: &[u8] = b"x-forwarded-";

/// Fields by which proxies tell what the client did: from a stranger they are lies.
pub fn is_managed(known: Name, name: &[u8]) -> bool {
    match known {
        Name::XForwardedFor
        | Name::XForwardedHost
        | Name::XForwardedPort
        | Name::XForwardedProto
        | Name::XRealIp
        | Name::XRequestId
        | Name::XOriginalUrl
        | Name::XRewriteUrl
        | Name::XNarthexHops
        | Name::Forwarded => true,
        Name::Other => name
            .get(..FORWARDED.len())
            .is_some_and(|begin| begin.eq_ignore_ascii_case(FORWARDED)),
        _ => false,
    }
}

/// Whether a pod may take this name, which is no well-known one, for one that narthex sets or that frames the body, such
/// as `x.forwarded.for`; or for a variable of its own: `Proxy` becomes HTTP_PROXY, by which programs find a proxy
/// (CVE-2016-5385).
pub fn misleads(known: Name, name: &[u8]) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() | (byte == b'-');
    match (known, name.first()) {
        (Name::Proxy, _) => true,
        // No other letter begins a name that is meant below and has more than one word.
        (Name::Other, Some(b'c' | b't' | b'x' | b'C' | b'T' | b'X'))
            if !name.iter().fold(true, |all, byte| all & is_plain(*byte)) =>
        {
            let folded: Vec<u8> = name.iter().map(|byte| fold(*byte)).collect();
            let known = Name::of(&folded);
            is_managed(known, &folded) || matches!(known, Name::ContentLength | Name::TransferEncoding)
        }
        _ => false,
    }
}
