//! The request in canonical form: one host, one path, computed once, for matching and forwarding.

use super::client::Client;
use super::error::ProxyError;
use super::headers::Fields;
use super::https;
use super::worker::Settings;
use crate::table::canonical::{HostError, canonical_host, canonical_path};
use crate::table::{CanonicalPath, Route};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Uri, Version};
use std::borrow::Cow;

/// A request as it is matched and forwarded.
pub struct Canonical<'r> {
    /// The host; none for HTTP/1.0 without one, which only any-host rules answer.
    pub host: Option<Cow<'r, str>>,
    /// The port in Host.
    pub port: Option<u16>,
    /// `Host` as the pod gets it: as it came, or the authority of an absolute target (RFC 9112 §3.2.2).
    pub host_header: Option<Cow<'r, HeaderValue>>,
    /// The path.
    pub path: CanonicalPath<'r>,
}

/// Reads host and path of a request (RFC 9110 §7.2, RFC 9112 §3.2).
///
/// # Errors
/// What is wrong with them; nothing of such a request reaches a pod.
pub fn canonical<'r>(parts: &'r Parts, fields: &Fields<'r>, settings: &Settings) -> Result<Canonical<'r>, ProxyError> {
    if parts.method == Method::CONNECT || parts.method == Method::TRACE {
        return Err(ProxyError::MethodNotAllowed);
    }
    if let Some(expect) = fields.expect
        && !expect.as_bytes().eq_ignore_ascii_case(b"100-continue")
    {
        return Err(ProxyError::BadExpectation);
    }
    if fields.second_host {
        return Err(ProxyError::DuplicateHost);
    }
    // Over HTTP/2 an :authority is as good as a Host; an absolute target of HTTP/1.1 comes with one.
    let named = fields.host.is_some() || (parts.version == Version::HTTP_2 && parts.uri.authority().is_some());
    if !named && parts.version >= Version::HTTP_11 {
        return Err(ProxyError::MissingHost);
    }
    // Even where an absolute target overrules it, a malformed Host is refused (RFC 9112 §3.2).
    let named = match fields.host {
        None => None,
        Some(value) => {
            let text = value.to_str().map_err(|_| ProxyError::BadHost(HostError::Invalid))?;
            Some((canonical_host(text).map_err(ProxyError::BadHost)?, Cow::Borrowed(value)))
        }
    };
    let named = match parts.uri.authority() {
        None => named,
        Some(authority) => {
            let text = authority.as_str();
            let host = canonical_host(text).map_err(ProxyError::BadHost)?;
            let value = HeaderValue::from_str(text).map_err(|_| ProxyError::BadHost(HostError::Invalid))?;
            Some((host, Cow::Owned(value)))
        }
    };
    let path = match parts.uri.path() {
        // `http://host` without a path means the root.
        "" if parts.uri.scheme().is_some() => "/",
        path => path,
    };
    let path = canonical_path(path, settings.reject_encoded_slash).map_err(|error| match error {
        crate::table::canonical::PathError::NotAbsolute => ProxyError::BadTarget,
        error => ProxyError::BadPath(error),
    })?;
    let (host, port, host_header) = match named {
        Some((host, value)) => (Some(host.name), host.port, Some(value)),
        None => (None, None, None),
    };
    Ok(Canonical {
        host,
        port,
        host_header,
        path,
    })
}

impl Canonical<'_> {
    /// Where a request is sent that came in plain to a route that wants HTTPS.
    pub fn https_location(
        &self,
        parts: &Parts,
        route: &Route,
        client: &Client,
        settings: &Settings,
    ) -> Option<HeaderValue> {
        if !route.policies.https_redirect {
            return None;
        }
        let path = self.path.form(route.policies.keep_slashes);
        let (host, query) = (self.host.as_deref(), parts.uri.query());
        let port = settings.https_port;
        https::redirect(client, port, host, path, query)
    }

    /// The target a pod gets: the very path that was matched, with the query as it came.
    ///
    /// # Errors
    /// [`ProxyError::BadTarget`] if `http` will not have it, which the checks before rule out.
    pub fn target(&self, parts: &Parts, route: &Route) -> Result<Uri, ProxyError> {
        let path = self.path.form(route.policies.keep_slashes);
        if path == parts.uri.path() && parts.uri.authority().is_none() {
            return Ok(parts.uri.clone());
        }
        let text = match parts.uri.query() {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        };
        PathAndQuery::try_from(text)
            .map(Uri::from)
            .map_err(|_| ProxyError::BadTarget)
    }
}
