//! What of a request decides for a pod: the key of hashed balancing, and the cookie of a sticky session.

use super::canonical::Canonical;
use super::client::Client;
use crate::table::{BackendSettings, Balance, HashKey, Route};
use crate::upstream::Affinity;
use http::header::{self, HeaderMap, HeaderValue};
use http::request::Parts;
use std::net::IpAddr;
use twox_hash::XxHash3_64;

/// Reads it. Costs nothing where the backend asks for none.
pub fn affinity(
    parts: &Parts,
    canonical: &Canonical<'_>,
    route: &Route,
    settings: &BackendSettings,
    client: &Client,
) -> Affinity {
    let key = match &settings.balance {
        Some(Balance::Hash(key)) => key_of(key, parts, canonical, route, client),
        _ => None,
    };
    let sticky = settings.sticky_cookie.as_ref().and_then(|name| {
        let value = cookie(&parts.headers, name)?;
        let text = std::str::from_utf8(value).ok().filter(|text| text.len() == 16)?;
        u64::from_str_radix(text, 16).ok()
    });
    Affinity { key, sticky }
}

fn key_of(key: &HashKey, parts: &Parts, canonical: &Canonical<'_>, route: &Route, client: &Client) -> Option<u64> {
    let hash = XxHash3_64::oneshot;
    match key {
        HashKey::SourceIp => Some(match client.address() {
            IpAddr::V4(v4) => hash(&v4.octets()),
            IpAddr::V6(v6) => hash(&v6.octets()),
        }),
        HashKey::Header(name) => parts.headers.get(&**name).map(|value| hash(value.as_bytes())),
        HashKey::Cookie(name) => cookie(&parts.headers, name).map(hash),
        HashKey::Uri => {
            let path = canonical.path.form(route.policies.keep_slashes);
            match parts.uri.query() {
                None => Some(hash(path.as_bytes())),
                Some(query) => Some(hash(format!("{path}?{query}").as_bytes())),
            }
        }
    }
}

/// The first value of a cookie (RFC 6265, section 5.4: names are compared as they are).
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h [u8]> {
    let lines = headers.get_all(header::COOKIE).iter();
    let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs.map(<[u8]>::trim_ascii).find_map(|pair| {
        pair.strip_prefix(name.as_bytes())
            .and_then(|rest| rest.strip_prefix(b"="))
    })
}

/// Has the client come back to the endpoint that answered, unless its cookie names that one already.
pub fn remember(settings: &BackendSettings, affinity: Affinity, endpoint: u64, client: &Client, reply: &mut HeaderMap) {
    let Some(name) = &settings.sticky_cookie else { return };
    if affinity.sticky == Some(endpoint) {
        return;
    }
    let secure = if client.is_secure() { "; Secure" } else { "" };
    let cookie = format!("{name}={endpoint:016x}; Path=/; HttpOnly; SameSite=Lax{secure}");
    // A name is a token, and the rest is ours.
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        reply.append(header::SET_COOKIE, cookie);
    }
}
