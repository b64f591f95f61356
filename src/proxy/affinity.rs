//! What of a request decides for a pod: the key of hashed balancing, and the cookie of a sticky session.

use super::canonical::Canonical;
use super::client::Client;
use crate::message::{Fields, Name, Request, Value};
use crate::policy::same_site::misreads_none;
use crate::table::sticky::{MOST_NAMED, Named, backend_hash, cookies, named};
use crate::table::{Backend, Balance, CookieAttributes, HashKey, Route};
use crate::upstream::{Affinity, stable_id};
use smallvec::SmallVec;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};
use twox_hash::XxHash3_64;

/// Reads it. Costs nothing where the backend asks for none.
pub fn affinity(
    request: &Request,
    canonical: &Canonical<'_>,
    route: &Route,
    backend: &Backend,
    client: &Client,
) -> Affinity {
    let settings = &backend.settings;
    let key = match &settings.balance {
        Some(Balance::Hash(key)) => key_of(key, request, canonical, route, client),
        _ => None,
    };
    let name = settings.sticky_cookie.as_ref();
    let sticky = name.and_then(|name| sticky(&request.fields, name, backend));
    Affinity { key, sticky }
}

/// The key of a client's address.
pub fn address_key(client: IpAddr) -> u64 {
    match client {
        IpAddr::V4(v4) => XxHash3_64::oneshot(&v4.octets()),
        IpAddr::V6(v6) => XxHash3_64::oneshot(&v6.octets()),
    }
}

fn key_of(key: &HashKey, request: &Request, canonical: &Canonical<'_>, route: &Route, client: &Client) -> Option<u64> {
    let hash = XxHash3_64::oneshot;
    match key {
        HashKey::SourceIp => Some(address_key(client.address())),
        HashKey::Header(name) => request.fields.get(&**name).map(|value| hash(value.as_bytes())),
        HashKey::Cookie(name) => cookies(&request.fields, name).next().map(hash),
        HashKey::Uri => {
            let path = canonical.path.form(route.keep_slashes);
            match request.query() {
                None => Some(hash(path.as_bytes())),
                Some(query) => Some(hash(format!("{path}?{query}").as_bytes())),
            }
        }
    }
}

/// The endpoint of this backend that a client's cookies name. An entry for the backend goes first. Others count too if
/// they name one of its endpoints: an id is a pod's own, and a cookie of an earlier version says no more.
fn sticky(fields: &Fields, name: &str, backend: &Backend) -> Option<u64> {
    let all = named(fields, name);
    let hash = (!all.is_empty()).then(|| backend_hash(backend))?;
    let own = all.iter().filter(|entry| entry.backend == Some(hash));
    let others = all.iter().filter(|entry| entry.backend != Some(hash));
    let candidates: SmallVec<[u64; MOST_NAMED]> = own.chain(others).map(|entry| entry.endpoint).collect();
    match *candidates {
        [only] => Some(only),
        _ => {
            let there: SmallVec<[u64; 16]> = backend.endpoints.iter().map(stable_id).collect();
            candidates.into_iter().find(|candidate| there.contains(candidate))
        }
    }
}

/// Has the client come back to the endpoint that answered, unless its cookie names that one already. What it says of
/// other backends stays: paths of one host may lead to several.
pub fn remember(
    backend: &Backend,
    affinity: Affinity,
    (endpoint, route): (u64, &Route),
    (client, request): (&Client, &Fields),
    reply: &mut Fields,
) {
    let Some(name) = &backend.settings.sticky_cookie else {
        return;
    };
    if affinity.sticky == Some(endpoint) {
        return;
    }
    let own = Named {
        backend: Some(backend_hash(backend)),
        endpoint,
    };
    let mut value = String::new();
    own.write(&mut value);
    let others = named(request, name)
        .into_iter()
        .filter(|other| other.backend != own.backend);
    for other in others.take(MOST_NAMED - 1) {
        other.write(&mut value);
    }
    let secure = if client.is_secure() { "; Secure" } else { "" };
    let cookie = match &backend.settings.sticky_attributes {
        None => format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}"),
        Some(attributes) => format!(
            "{name}={value}{}",
            written(attributes, route, (client.is_secure(), request))
        ),
    };
    reply.append(&Name::SetCookie, cookie);
}

/// The attributes of a cookie as they are written.
fn written(attributes: &CookieAttributes, route: &Route, (secure, request): (bool, &Fields)) -> String {
    let own = route.path.as_ref().filter(|_| !route.is_pattern());
    let path = attributes.path.as_deref().or(own.map(|pattern| &*pattern.path));
    let mut out = format!("; Path={}; HttpOnly", path.unwrap_or("/"));
    if let Some(domain) = &attributes.domain {
        out += &format!("; Domain={domain}");
    }
    if let Some(seconds) = attributes.expires {
        let at = SystemTime::now() + Duration::from_secs(seconds.into());
        out += &format!("; Expires={}", httpdate::fmt_http_date(at));
    }
    if let Some(seconds) = attributes.max_age {
        out += &format!("; Max-Age={seconds}");
    }
    let misreads = || {
        let agent = request.get(&Name::UserAgent).and_then(Value::to_str);
        agent.is_some_and(misreads_none)
    };
    if let Some(same_site) = &attributes.same_site
        && !(attributes.conditional_none && &**same_site == "None" && misreads())
    {
        out += &format!("; SameSite={same_site}");
    }
    if secure || attributes.secure {
        out += "; Secure";
    }
    out
}
