//! The checks of a request head that its reader makes for HTTP/1.1.

use crate::http1::{Limits, is_length, is_target};
use crate::proxy::{self, ProxyError};
use http::header::{self, HeaderValue};
use http::{Method, Request};

/// What the reader checks of an HTTP/1.1 head and h2 does not of this one.
pub fn check<B>(request: &Request<B>, limits: &Limits) -> Result<(), ProxyError> {
    let (uri, fields) = (request.uri(), request.headers());
    let target = uri.path_and_query().map_or("", |target| target.as_str());
    if target.len() > limits.uri_bytes {
        return Err(ProxyError::UriTooLong);
    }
    // A cookie may come in as many fields as it has crumbs (RFC 9113, section 8.2.3).
    let crumbs = || fields.get_all(header::COOKIE).iter().count().saturating_sub(1);
    if fields.len() > limits.header_count && fields.len() - crumbs() > limits.header_count {
        return Err(ProxyError::HeadTooLarge);
    }
    proxy::upgrade::is_extended_connect(request.method(), request.extensions())?;
    let is_server = target == "*" && *request.method() == Method::OPTIONS;
    if !is_server && !is_target(target.as_bytes()) {
        return Err(ProxyError::BadTarget);
    }
    // Without :authority, h2 leaves the scheme out too.
    if !matches!(uri.scheme_str(), None | Some("http" | "https")) {
        return Err(ProxyError::BadTarget);
    }
    // h2 takes an empty one for 0 and lets several pass, and the pod would get them as they are.
    let mut lengths = fields.get_all(header::CONTENT_LENGTH).iter();
    if lengths.next().is_some_and(|length| !is_length(length.as_bytes())) || lengths.next().is_some() {
        return Err(ProxyError::Malformed);
    }
    // RFC 9113, section 8.3.1: they must not disagree.
    let host = fields.get(header::HOST).map(HeaderValue::as_bytes);
    if let (Some(authority), Some(host)) = (uri.authority(), host)
        && !authority.as_str().as_bytes().eq_ignore_ascii_case(host)
    {
        return Err(ProxyError::HostMismatch);
    }
    Ok(())
}
